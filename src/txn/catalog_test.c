#include "txn/catalog.h"

#include "base/mem.h"
#include "base/test.h"
#include "schema/def_text.h"
#include "txn/catalog_rows.h"
#include "txn/writeset.h"

// ── a database: a store, its catalog, and what a log would hold ────────────────────────────────

typedef struct World {
    Store *store;
    Catalog *catalog;
    Buf ops;  // of every commit, as db.c writes them: kind:1 table:4 bytes; kind 0 ends a commit
    Buf lines;
    ModuleDef *def;
    Diag diag;
} World;

static void world_open(World *w) {
    *w = (World){0};
    StoreOptions options = {.address_bytes = 256u << 20};
    EXPECT_OK(store_open(&options, &w->store));
    EXPECT_OK(catalog_open(w->store, &w->catalog, &w->diag));
}

static void world_close(World *w) {
    moduledef_free(&w->def);
    catalog_close(&w->catalog);
    store_close(&w->store);
    buf_deinit(&w->ops);
    buf_deinit(&w->lines);
}

static void put_op(World *w, CommitOpKind kind, uint32_t table, Bytes bytes) {
    buf_put_u8(&w->ops, (uint8_t)kind);
    buf_put_u32(&w->ops, table);
    buf_put_lp(&w->ops, bytes);
}

static void commit(World *w) {
    WriteSet set = {0};
    EXPECT_OK(writeset_collect(&set, w->store, w->catalog));
    for (size_t i = 0; i < set.count; i++) {
        if (set.changes[i].old_row.ptr)
            put_op(w, COMMIT_DELETE, set.changes[i].table_id, set.changes[i].key);
    }
    for (size_t i = 0; i < set.count; i++) {
        if (set.changes[i].new_row.ptr)
            put_op(w, COMMIT_INSERT, set.changes[i].table_id, set.changes[i].new_row);
    }
    buf_put_u8(&w->ops, 0);
    writeset_deinit(&set);
    store_commit(w->store);
}

static void take_line(void *ctx, Str line) {
    World *w = ctx;
    buf_put_str(&w->lines, line);
    buf_put_u8(&w->lines, '\n');
}

static CatalogModule module_of(uint8_t version) {
    return (CatalogModule){.database.le = {1},
                           .owner.le = {2},
                           .program_kind = 1,
                           .program_hash = {version},
                           .program = BYTES("program", 7)};
}

static Err try_publish(World *w, const DefText *text) {
    ModuleDef *def = def_text(text, 10);
    MigratePlan *plan = NULL;
    CatalogModule module = module_of(w->def ? 2 : 1);
    Err err = OK;
    buf_clear(&w->lines);
    if (w->def) {
        err = migrate_plan(w->def, def, &plan, &w->diag);
        EXPECT_OK(err);
    }
    store_begin(w->store);
    err = w->def ? catalog_migrate(w->catalog, plan, def, &module, take_line, w, &w->diag)
                 : catalog_create(w->catalog, def, &module, take_line, w, &w->diag);
    migrate_plan_free(&plan);
    if (err == OK) {
        commit(w);
        moduledef_free(&w->def);
        w->def = def;
    } else {
        store_rollback(w->store);
        EXPECT_OK(catalog_sync(w->catalog, &w->diag));
        moduledef_free(&def);
    }
    return err;
}

static void publish(World *w, const DefText *text) {
    Err err = try_publish(w, text);
    if (err != OK) print_error("%s\n", w->diag.text);
    EXPECT_OK(err);
    EXPECT_OK(store_check(w->store, &w->diag));
}

static CatalogTable *table_named(World *w, const char *name) {
    CatalogTable *table = catalog_table_by_name(w->catalog, str_from(name));
    EXPECT(table != NULL);
    return table;
}

static void insert_hex(World *w, const char *table, const char *hex) {
    Buf row = {0};
    EXPECT(hex_read(str_from(hex), buf_extend(&row, strlen(hex) / 2)));
    store_begin(w->store);
    EXPECT_OK(table_insert(table_named(w, table)->table, buf_bytes(&row), NULL, NULL));
    commit(w);
    buf_deinit(&row);
}

// ── everything a database says, as text ────────────────────────────────────────────────────────

static int by_bytes(const void *a, const void *b) {
    return bytes_cmp(*(const Bytes *)a, *(const Bytes *)b);
}

static void dump_rows(Buf *out, Arena *arena, const CatalogTable *table) {
    size_t count = table_row_count(table->table, NULL), at = 0;
    Bytes *rows = arena_array(arena, Bytes, count);
    TableScan scan;
    Bytes row;
    table_scan_begin(&scan, table->table, NULL, TABLE_ROWS, BYTES_NONE, BYTES_NONE);
    while (table_scan_next(&scan, &row))
        rows[at++] = arena_bytes(arena, row);
    table_scan_end(&scan);
    EXPECT_EQ(at, count);
    qsort(rows, count, sizeof *rows, by_bytes);
    for (size_t i = 0; i < count; i++) {
        buf_put_str(out, STR("    "));
        hex_append(out, rows[i]);
        buf_put_u8(out, '\n');
    }
}

static void dump_table(Buf *out, Arena *arena, const CatalogTable *t) {
    buf_printf(out,
               "%u " STR_FMT "/" STR_FMT " ",
               t->table_id,
               STR_ARG(t->name),
               STR_ARG(t->source));
    buf_printf(out,
               "pk %d public %d event %d system %d ",
               t->primary_key,
               t->is_public,
               t->is_event,
               t->is_system);
    type_print(out, t->row_type);
    buf_printf(out, " schedule %u " STR_FMT "\n", t->schedule_id, STR_ARG(t->schedule_function));
    for (uint32_t i = 0; i < t->column_count; i++)
        buf_printf(out,
                   "  column " STR_FMT "/" STR_FMT "\n",
                   STR_ARG(t->columns[i].name),
                   STR_ARG(t->columns[i].source));
    for (uint32_t i = 0; i < t->index_count; i++) {
        StoreIndexInfo info;
        EXPECT(table_index(t->table, t->indexes[i].index_id, &info));
        EXPECT_EQ(info.unique, t->indexes[i].unique);
        buf_printf(out,
                   "  index %u " STR_FMT "/" STR_FMT " %d %d\n",
                   t->indexes[i].index_id,
                   STR_ARG(t->indexes[i].name),
                   STR_ARG(t->indexes[i].source),
                   t->indexes[i].algorithm,
                   t->indexes[i].unique);
    }
    EXPECT_EQ(table_index_count(t->table), t->index_count);
    for (uint32_t i = 0; i < t->sequence_count; i++)
        buf_printf(out,
                   "  sequence %u column %u allocated %lld\n",
                   t->sequences[i].sequence_id,
                   t->sequences[i].column,
                   (long long)load_u64(t->sequences[i].allocated.le));
    buf_printf(out, "  clustered by %d\n", table_primary_column(t->table));
    dump_rows(out, arena, t);
}

static void dump(World *w, Buf *out) {
    Arena arena = {0};
    for (uint32_t i = 0; i < catalog_table_count(w->catalog); i++)
        dump_table(out, &arena, catalog_table_at(w->catalog, i));
    buf_put_u8(out, 0);
    arena_deinit(&arena);
}

// Replays the whole history into a fresh database and expects the same one.
static void expect_replay(World *w) {
    World fresh;
    world_open(&fresh);
    Reader r = reader_of(buf_bytes(&w->ops));
    bool in_commit = false, schema = false;
    while (r.in.len > 0) {
        if (!in_commit) store_begin(fresh.store);
        in_commit = true;
        CommitOp op = {.kind = (CommitOpKind)reader_u8(&r)};
        if (op.kind == 0) {
            if (schema) EXPECT_OK(catalog_sync(fresh.catalog, &fresh.diag));
            store_commit(fresh.store);
            in_commit = schema = false;
            continue;
        }
        op.table_id = reader_u32(&r);
        op.bytes = reader_lp(&r);
        schema = schema || catalog_is_schema_table(op.table_id);
        Err err = catalog_apply(fresh.catalog, &op, &fresh.diag);
        if (err != OK) print_error("%s\n", fresh.diag.text);
        EXPECT_OK(err);
    }
    Buf want = {0}, got = {0};
    dump(w, &want);
    dump(&fresh, &got);
    EXPECT_STR((char *)got.ptr, (char *)want.ptr);
    EXPECT_OK(store_check(fresh.store, &fresh.diag));
    buf_deinit(&want);
    buf_deinit(&got);
    world_close(&fresh);
}

// Refused, and afterwards everything is as before.
static void expect_refused(World *w, const DefText *text, const char *reason) {
    Buf before = {0}, after = {0};
    dump(w, &before);
    EXPECT_ERR(try_publish(w, text), ERR_INVALID);
    EXPECT_STR(w->diag.text, reason);
    dump(w, &after);
    EXPECT_STR((char *)after.ptr, (char *)before.ptr);
    EXPECT_OK(store_check(w->store, &w->diag));
    buf_deinit(&before);
    buf_deinit(&after);
}

static const char *lines(World *w) {
    buf_put_u8(&w->lines, 0);
    return (const char *)w->lines.ptr;
}

// ── the first publish ──────────────────────────────────────────────────────────────────────────

#define ID_INDEX    .primary_key = "0", .unique = {"0"}, .indexes = {{.name = "t_id", .columns = "0"}}
#define ID_SEQUENCE .sequences = {{.columns = "0"}}

static const DefText first = {
    .types = {"Row: (id: U64, userName: String, state: &2)",
              "Log: (at: Timestamp, text: String)",
              "State: [Off | On: U32]",
              "Timer: (id: U64, at: ScheduleAt)"},
    .tables = {{.name = "zebra", .row = 0, ID_INDEX, ID_SEQUENCE},
               {.name = "logLines",
                .row = 1,
                .is_private = true,
                .indexes = {{.name = "byAt", .columns = "0"},
                            {.name = "both", .algorithm = INDEX_HASH, .columns = "1,0"}}},
               {.name = "events", .row = 1, .is_event = true},
               {.name = "timers",
                .row = 3,
                .primary_key = "0",
                .unique = {"0"},
                .indexes = {{.name = "timers_id", .columns = "0"}},
                ID_SEQUENCE,
                .schedule = {"tick", 1}}},
    .reducers = {{.name = "tick", .params = "(row: &3)"}},
    .views = {{.name = "allRows", .returns = "Array<&0>"}},
    .row_level_security = {"SELECT * FROM zebra WHERE id = 1"},
};

TEST(catalog, begins_with_the_twenty_system_tables_and_ours) {
    World w;
    world_open(&w);
    EXPECT_EQ(catalog_table_count(w.catalog), 21);
    const CatalogTable *st_column = table_named(&w, "st_column");
    EXPECT_EQ(st_column->table_id, ST_COLUMN);
    EXPECT(st_column->is_public && st_column->is_system);
    EXPECT(!table_named(&w, "st_connection_credentials")->is_public);
    const CatalogIndex *index = NULL;
    EXPECT(catalog_index_by_name(w.catalog, STR("st_column_table_id_col_pos_idx_btree"), &index) ==
           st_column);
    EXPECT_EQ(index->index_id, 3);
    EXPECT(index->unique);
    EXPECT(catalog_index_by_id(w.catalog, 29, &index) == table_named(&w, "st_column_accessor"));
    EXPECT(catalog_index_by_id(w.catalog, ST_CALL_ONCE_BY_NUMBER, &index) ==
           table_named(&w, "st_call_once"));
    EXPECT(catalog_index_by_id(w.catalog, 32, &index) == NULL);
    EXPECT(catalog_table(w.catalog, 22) == NULL);
    EXPECT(catalog_table(w.catalog, 0) == NULL);
    EXPECT(catalog_table(w.catalog, UINT32_MAX) == NULL);
    CatalogModule module;
    EXPECT_ERR(catalog_module(w.catalog, &module), ERR_NOT_FOUND);
    world_close(&w);
}

TEST(catalog, creates_tables_in_the_order_of_their_names) {
    World w;
    world_open(&w);
    publish(&w, &first);
    EXPECT_EQ(table_named(&w, "events")->table_id, 4096);
    EXPECT_EQ(table_named(&w, "log_lines")->table_id, 4097);
    EXPECT_EQ(table_named(&w, "timers")->table_id, 4098);
    EXPECT_EQ(table_named(&w, "zebra")->table_id, 4099);
    EXPECT(table_named(&w, "logLines") == table_named(&w, "log_lines"));
    EXPECT_STR(lines(&w),
               "Creating table `events`\nCreating table `log_lines`\nCreating table `timers`\n"
               "Creating table `zebra`\nCreating table for view `all_rows`\n"
               "Creating row level security `SELECT * FROM zebra WHERE id = 1`\n");

    const CatalogTable *zebra = table_named(&w, "zebra");
    EXPECT_EQ(zebra->primary_key, 0);
    EXPECT(zebra->indexes[0].unique);
    EXPECT_EQ(zebra->sequence_count, 1);
    EXPECT_EQ(load_u64(zebra->sequences[0].next.le), 1);
    EXPECT_EQ(load_u64(zebra->sequences[0].allocated.le), 0);
    const CatalogTable *log = table_named(&w, "log_lines");
    EXPECT(!log->is_public);
    EXPECT_EQ(log->index_count, 2);
    EXPECT(!log->indexes[0].unique);
    EXPECT(table_named(&w, "events")->is_event);
    const CatalogTable *timers = table_named(&w, "timers");
    EXPECT_EQ(timers->schedule_id, 4096);
    EXPECT_EQ(timers->schedule_at_column, 1);
    const CatalogIndex *index = NULL;
    EXPECT(catalog_index_by_name(w.catalog, STR("both"), &index) == log);
    EXPECT(catalog_index_by_id(w.catalog, index->index_id, &index) == log);

    CatalogModule module;
    EXPECT_OK(catalog_module(w.catalog, &module));
    EXPECT_EQ(module.program_hash[0], 1);
    EXPECT_BYTES(module.program, BYTES("program", 7));
    expect_replay(&w);
    world_close(&w);
}

static void expect_row_count(World *w, const char *table, uint64_t count) {
    EXPECT_EQ(table_row_count(table_named(w, table)->table, NULL), count);
}

TEST(catalog, describes_every_table_in_the_system_tables) {
    World w;
    world_open(&w);
    publish(&w, &first);
    expect_row_count(&w, "st_table", 20 + 4 + 1);  // the view's
    expect_row_count(&w, "st_column", 74 + 9 + 4);
    expect_row_count(&w, "st_index", 29 + 4 + 1);
    expect_row_count(&w, "st_constraint", 25 + 2);
    expect_row_count(&w, "st_sequence", 7 + 2);
    expect_row_count(&w, "st_scheduled", 1);
    expect_row_count(&w, "st_event_table", 1);
    expect_row_count(&w, "st_view", 1);
    expect_row_count(&w, "st_view_column", 3);
    expect_row_count(&w, "st_table_accessor", 4 + 1);
    expect_row_count(&w, "st_column_accessor", 9 + 3);
    expect_row_count(&w, "st_index_accessor", 4);
    expect_row_count(&w, "st_row_level_security", 1);
    expect_row_count(&w, "st_module", 1);
    world_close(&w);
}

TEST(catalog, writes_the_row_of_st_table_as_documented) {
    World w;
    world_open(&w);
    publish(&w, &first);
    Buf row = {0};
    // SELECT * FROM st_table WHERE table_id = 1: st_table, system, public, primary key [0]
    EXPECT(hex_read(STR("01000000"
                        "0800000073745f7461626c65"
                        "0600000073797374656d"
                        "060000007075626c6963"
                        "00010000000000"),
                    buf_extend(&row, 4 + 12 + 10 + 10 + 7)));
    EXPECT(table_contains(table_named(&w, "st_table")->table, NULL, buf_bytes(&row)));
    buf_deinit(&row);
    world_close(&w);
}

TEST(catalog, leaves_nothing_behind_when_the_first_publish_is_undone) {
    World w;
    world_open(&w);
    ModuleDef *def = def_text(&first, 10);
    CatalogModule module = module_of(1);
    store_begin(w.store);
    EXPECT_OK(catalog_create(w.catalog, def, &module, NULL, NULL, &w.diag));
    EXPECT(catalog_table_by_name(w.catalog, STR("zebra")) != NULL);
    store_rollback(w.store);
    EXPECT_OK(catalog_sync(w.catalog, &w.diag));
    EXPECT_EQ(catalog_table_count(w.catalog), 21);
    EXPECT(store_table(w.store, 4096) == NULL);
    moduledef_free(&def);
    publish(&w, &first);  // and ids begin anew
    EXPECT_EQ(table_named(&w, "events")->table_id, 4096);
    world_close(&w);
}

TEST(catalog, keeps_an_entry_and_its_version_while_nothing_changes) {
    World w;
    world_open(&w);
    publish(&w, &first);
    CatalogTable *zebra = table_named(&w, "zebra");
    uint64_t version = catalog_schema_version(w.catalog);
    insert_hex(&w,
               "zebra",
               "01000000000000000100000061"
               "00");
    EXPECT_OK(catalog_sync(w.catalog, &w.diag));
    EXPECT(table_named(&w, "zebra") == zebra);
    EXPECT_EQ(catalog_schema_version(w.catalog), version);
    world_close(&w);
}

TEST(catalog, refuses_a_rule_about_no_table) {
    World w;
    world_open(&w);
    EXPECT_ERR(try_publish(&w, &(DefText){.row_level_security = {"SELECT * FROM nowhere"}}),
               ERR_INVALID);
    EXPECT_STR(
        w.diag.text,
        "Row-level security invalid: `no such table: `nowhere``, query: `SELECT * FROM nowhere`");
    world_close(&w);
}

// ── sequences ──────────────────────────────────────────────────────────────────────────────────

TEST(catalog, goes_on_behind_what_a_sequence_reserved) {
    World w;
    world_open(&w);
    publish(&w, &first);
    CatalogTable *zebra = table_named(&w, "zebra");
    store_begin(w.store);
    store_u64(zebra->sequences[0].allocated.le, 4096);
    EXPECT_OK(catalog_sequence_store(w.catalog, zebra, &zebra->sequences[0]));
    store_u64(zebra->sequences[0].next.le, 2);
    commit(&w);
    EXPECT_OK(catalog_sync(w.catalog, &w.diag));
    EXPECT_EQ(load_u64(zebra->sequences[0].next.le), 2);  // memory knows better than the row
    expect_replay(&w);                                    // the dump has `allocated`

    // After a restart the block counts as used.
    store_begin(w.store);
    store_u64(zebra->sequences[0].allocated.le, 8192);
    EXPECT_OK(catalog_sequence_store(w.catalog, zebra, &zebra->sequences[0]));
    store_u64(zebra->sequences[0].allocated.le, 4096);
    EXPECT_OK(catalog_sync(w.catalog, &w.diag));
    EXPECT_EQ(load_u64(zebra->sequences[0].next.le), 8193);
    commit(&w);
    world_close(&w);
}

// ── every row of module-abi §6.2 that is carried out ───────────────────────────────────────────

#define T(...)                                                                              \
    {                                                                                       \
        .types = {"Row: (id: U64, name: String)"}, .tables = { {.name = "t", __VA_ARGS__} } \
    }
static const DefText plain = T(ID_INDEX, ID_SEQUENCE);

static void open_with_rows(World *w, const DefText *text) {
    world_open(w);
    publish(w, text);
    insert_hex(w, "t", "01000000000000000100000061");
    insert_hex(w, "t", "02000000000000000100000062");
    insert_hex(w, "t", "03000000000000000100000061");
}

TEST(catalog_migrate, adds_a_table_and_removes_an_empty_one) {
    World w;
    open_with_rows(&w, &plain);
    static const DefText both = {
        .types = {"Row: (id: U64, name: String)"},
        .tables = {{.name = "t", ID_INDEX, ID_SEQUENCE}, {.name = "more"}}};
    publish(&w, &both);
    EXPECT_STR(lines(&w), "Creating table `more`\n");
    EXPECT_EQ(table_named(&w, "more")->table_id, 4097);
    publish(&w, &plain);
    EXPECT_STR(lines(&w), "Dropping table `more`\nDisconnecting all users\n");
    EXPECT(catalog_table_by_name(w.catalog, STR("more")) == NULL);
    EXPECT(catalog_table(w.catalog, 4097) == NULL);
    EXPECT(store_table(w.store, 4097) == NULL);
    publish(&w, &both);
    EXPECT_EQ(table_named(&w, "more")->table_id, 4098);  // ids are never used twice
    expect_replay(&w);
    world_close(&w);
}

TEST(catalog_migrate, does_not_remove_a_table_with_rows) {
    World w;
    open_with_rows(&w, &plain);
    expect_refused(
        &w,
        &(DefText){.types = {"Row: (a: U8)"}, .tables = {{.name = "u"}}},
        "Cannot remove table `t`: table contains data. Clear the table's rows (e.g. via a "
        "reducer) before removing it from your schema.");
    world_close(&w);
}

TEST(catalog_migrate, rewrites_a_table_that_gets_columns) {
    World w;
    open_with_rows(&w, &plain);
    CatalogTable *before = table_named(&w, "t");
    store_begin(w.store);
    store_u64(before->sequences[0].allocated.le, 4096);
    store_u64(before->sequences[0].next.le, 4);
    EXPECT_OK(catalog_sequence_store(w.catalog, before, &before->sequences[0]));
    commit(&w);
    static const DefText wider = {
        .types = {"Row: (id: U64, name: String, age: U32, tag: Option<U8>)"},
        .tables = {
            {.name = "t", ID_INDEX, ID_SEQUENCE, .defaults = {{"2", "2a000000"}, {"3", "01"}}}}};
    publish(&w, &wider);
    const CatalogTable *t = table_named(&w, "t");
    EXPECT_EQ(t->table_id, 4097);
    EXPECT_EQ(t->column_count, 4);
    EXPECT_EQ(t->indexes[0].index_id, 4097);
    EXPECT_EQ(load_u64(t->sequences[0].next.le), 4);  // the position is kept
    EXPECT(store_table(w.store, 4096) == NULL);
    Buf row = {0};
    EXPECT(hex_read(STR("02000000000000000100000062"
                        "2a000000"
                        "01"),
                    buf_extend(&row, 18)));
    EXPECT(table_contains(t->table, NULL, buf_bytes(&row)));
    EXPECT_EQ(table_row_count(t->table, NULL), 3);
    buf_deinit(&row);
    expect_replay(&w);
    world_close(&w);
}

TEST(catalog_migrate, widens_a_sum_in_place) {
    World w;
    world_open(&w);
    publish(&w,
            &(DefText){.types = {"Row: (id: U64, s: &1)", "S: [A | B]"},
                       .tables = {{.name = "t", ID_INDEX}}});
    insert_hex(&w, "t", "010000000000000001");
    publish(&w,
            &(DefText){.types = {"Row: (id: U64, s: &1)", "S: [A | B | C]"},
                       .tables = {{.name = "t", ID_INDEX}}});
    EXPECT_STR(lines(&w), "Changing columns of table `t`\n");
    EXPECT_EQ(table_named(&w, "t")->table_id, 4096);
    EXPECT_EQ(table_named(&w, "t")->row_type->fields[1].type->field_count, 3);
    insert_hex(&w, "t", "020000000000000002");
    expect_replay(&w);
    world_close(&w);
}

TEST(catalog_migrate, gives_an_event_table_any_columns) {
    World w;
    world_open(&w);
    publish(&w,
            &(DefText){.types = {"Row: (id: U64, s: String)"},
                       .tables = {{.name = "t", .is_event = true}}});
    publish(
        &w,
        &(DefText){.types = {"Row: (other: Bool)"}, .tables = {{.name = "t", .is_event = true}}});
    EXPECT_STR(lines(&w), "Changing schema of event table `t`\nDisconnecting all users\n");
    EXPECT_EQ(table_named(&w, "t")->column_count, 1);
    EXPECT(table_named(&w, "t")->is_event);
    expect_replay(&w);
    world_close(&w);
}

TEST(catalog_migrate, changes_access_and_primary_key) {
    World w;
    open_with_rows(&w, &plain);
    static const DefText keyless = T(.is_private = true,
                                     .unique = {"0"},
                                     .indexes = {{.name = "t_id", .columns = "0"}},
                                     ID_SEQUENCE);
    publish(&w, &keyless);
    EXPECT_STR(lines(&w), "Changing primary key for table `t`\n");
    EXPECT(!table_named(&w, "t")->is_public);
    EXPECT_EQ(table_named(&w, "t")->primary_key, -1);
    EXPECT_EQ(table_named(&w, "t")->table_id, 4096);
    publish(&w, &plain);
    EXPECT_EQ(table_named(&w, "t")->primary_key, 0);
    expect_replay(&w);
    world_close(&w);
}

TEST(catalog_migrate, lets_rows_repeat_a_key_that_is_no_longer_unique) {
    World w;
    open_with_rows(&w, &plain);
    static const DefText loose = T(.indexes = {{.name = "t_id", .columns = "0"}});
    publish(&w, &loose);
    insert_hex(&w, "t", "01000000000000000100000063");
    EXPECT_EQ(table_row_count(table_named(&w, "t")->table, NULL), 4);
    expect_replay(&w);
    expect_refused(&w,
                   &plain,
                   "Cannot add unique constraint on table 4097 column(s) 0 (committed state):\n"
                   "1 duplicate group(s) found.\n  - 1 appears 2 times");
    world_close(&w);
}

TEST(catalog_migrate, adds_changes_and_removes_indexes) {
    World w;
    open_with_rows(&w, &plain);
    static const DefText more = {.types = {"Row: (id: U64, name: String)"},
                                 .tables = {{.name = "t",
                                             .primary_key = "0",
                                             .unique = {"0"},
                                             .indexes = {{.name = "t_id", .columns = "0"},
                                                         {.name = "t_name", .columns = "1"}},
                                             ID_SEQUENCE}}};
    publish(&w, &more);
    EXPECT_STR(lines(&w), "Creating index `t_name_idx_btree` on table `t`\n");
    EXPECT_EQ(table_named(&w, "t")->index_count, 2);
    EXPECT_EQ(table_named(&w, "t")->table_id, 4096);
    publish(&w, &plain);
    EXPECT_STR(lines(&w), "Dropping index `t_name_idx_btree` on table `t`\n");
    expect_replay(&w);
    world_close(&w);
}

#define NAME_UNIQUE                                                                             \
    {                                                                                           \
        .types = {"Row: (id: U64, name: String)"}, .tables = {                                  \
            {.name = "t",                                                                       \
             .primary_key = "0",                                                                \
             .unique = {"0", "1"},                                                              \
             .indexes = {{.name = "t_id", .columns = "0"}, {.name = "t_name", .columns = "1"}}, \
             ID_SEQUENCE}                                                                       \
        }                                                                                       \
    }

TEST(catalog_migrate, adds_a_unique_constraint_only_when_there_are_no_duplicates) {
    static const DefText unique = NAME_UNIQUE;
    World w;
    open_with_rows(&w, &plain);
    expect_refused(&w,
                   &unique,
                   "Cannot add unique constraint on table 4096 column(s) 1 (committed state):\n"
                   "1 duplicate group(s) found.\n  - \"a\" appears 2 times");
    store_begin(w.store);
    Buf row = {0};
    EXPECT(hex_read(STR("03000000000000000100000061"), buf_extend(&row, 13)));
    EXPECT_OK(table_delete_row(table_named(&w, "t")->table, buf_bytes(&row)));
    commit(&w);
    publish(&w, &unique);
    EXPECT_STR(lines(&w),
               "Creating index `t_name_idx_btree` on table `t`\n"
               "Adding constraint `t_name_key` on table `t`\n");
    store_begin(w.store);
    EXPECT_ERR(table_insert(table_named(&w, "t")->table, buf_bytes(&row), NULL, NULL), ERR_UNIQUE);
    store_rollback(w.store);
    publish(&w, &plain);  // and it goes again
    insert_hex(&w, "t", "03000000000000000100000061");
    buf_deinit(&row);
    expect_replay(&w);
    world_close(&w);
}

TEST(catalog_migrate, adds_a_sequence_to_an_empty_table_only) {
    static const DefText without = T(ID_INDEX);
    World w;
    world_open(&w);
    publish(&w, &without);
    publish(&w, &plain);
    EXPECT_STR(lines(&w), "Adding sequence `t_id_seq` to table `t`\n");
    EXPECT_EQ(table_named(&w, "t")->sequence_count, 1);
    publish(&w, &without);
    EXPECT_STR(lines(&w), "Dropping sequence `t_id_seq` from table `t`\n");
    insert_hex(&w, "t", "01000000000000000100000061");
    expect_refused(&w,
                   &plain,
                   "Precheck failed: added sequence t_id_seq already has values in range");
    expect_replay(&w);
    world_close(&w);
}

TEST(catalog_migrate, rewrites_aliases_even_when_two_swap) {
#define TWO(a, b)                                                                            \
    {                                                                                        \
        .types = {"Row: (x: U64)"}, .tables = {{.name = a}, {.name = b}}, .keep_case = true, \
        .explicit_names = {                                                                  \
            "table A one",                                                                   \
            "table B two",                                                                   \
            "table C one",                                                                   \
            "table D two"                                                                    \
        }                                                                                    \
    }
    World w;
    world_open(&w);
    publish(&w, &(DefText)TWO("A", "B"));
    publish(&w, &(DefText)TWO("C", "D"));
    EXPECT_STR(lines(&w),
               "Changing table accessor name for `one` to `C`\n"
               "Changing table accessor name for `two` to `D`\n");
    EXPECT_EQ(catalog_table_by_name(w.catalog, STR("C"))->table_id, 4096);
    EXPECT(catalog_table_by_name(w.catalog, STR("A")) == NULL);
    DefText swapped = TWO("D", "C");
    swapped.explicit_names[2] = "table D one";
    swapped.explicit_names[3] = "table C two";
    publish(&w, &swapped);
    EXPECT_EQ(catalog_table_by_name(w.catalog, STR("C"))->table_id, 4097);
    expect_replay(&w);
    world_close(&w);
}

TEST(catalog_migrate, rewrites_the_aliases_of_columns_and_indexes) {
    World w;
    world_open(&w);
    publish(&w,
            &(DefText){.types = {"Row: (userId: U64)"},
                       .tables = {{.name = "t", .indexes = {{.name = "one", .columns = "0"}}}}});
    publish(&w,
            &(DefText){.types = {"Row: (user_id: U64)"},
                       .tables = {{.name = "t", .indexes = {{.name = "two", .columns = "0"}}}}});
    EXPECT_STR(
        lines(&w),
        "Changing index source name for `t_user_id_idx_btree` on table `t` from `one` to `two`\n"
        "Changing column accessor name for `t`.`user_id` to `user_id`\n");
    const CatalogIndex *index;
    EXPECT(catalog_index_by_name(w.catalog, STR("two"), &index) == table_named(&w, "t"));
    EXPECT(catalog_index_by_name(w.catalog, STR("one"), &index) == NULL);
    expect_replay(&w);
    world_close(&w);
}

TEST(catalog_migrate, does_not_change_schedules) {
    static const DefText scheduled = {
        .types = {"Timer: (id: U64, at: ScheduleAt)"},
        .tables = {{.name = "t", .row = 0, ID_INDEX, .schedule = {"tick", 1}}},
        .reducers = {{.name = "tick", .params = "(row: &0)"}}};
    static const DefText idle = {.types = {"Timer: (id: U64, at: ScheduleAt)"},
                                 .tables = {{.name = "t", .row = 0, ID_INDEX}},
                                 .reducers = {{.name = "tick", .params = "(row: &0)"}}};
    World w;
    world_open(&w);
    publish(&w, &scheduled);
    expect_refused(&w, &idle, "Removing schedules is not yet implemented");
    world_close(&w);
    world_open(&w);
    publish(&w, &idle);
    expect_refused(&w, &scheduled, "Adding schedules is not yet implemented");
    world_close(&w);
}

TEST(catalog_migrate, replaces_views_and_rules) {
    DefText with = plain;
    with.views[0] = (DefTextView){.name = "names", .returns = "Array<&0>"};
    with.row_level_security[0] = "SELECT t.* FROM t";
    World w;
    world_open(&w);
    publish(&w, &plain);
    publish(&w, &with);
    EXPECT_STR(lines(&w),
               "Adding row-level security `SELECT t.* FROM t`\nDisconnecting all users\n");
    expect_row_count(&w, "st_view", 1);
    expect_row_count(&w, "st_row_level_security", 1);
    publish(&w, &with);
    expect_row_count(&w, "st_view_column", 2);
    publish(&w, &plain);
    expect_row_count(&w, "st_view", 0);
    expect_row_count(&w, "st_view_column", 0);
    expect_row_count(&w, "st_row_level_security", 0);
    expect_row_count(&w, "st_table_accessor", 1);
    expect_replay(&w);
    world_close(&w);
}

TEST(catalog, gives_a_view_a_table_that_begins_with_whose_the_row_is) {
    DefText with = plain;
    with.views[0] = (DefTextView){.name = "theNames",
                                  .returns = "Array<&0>",
                                  .keys = {"id"},
                                  .is_private = true};
    World w;
    world_open(&w);
    publish(&w, &with);
    const CatalogTable *view = table_named(&w, "the_names");
    EXPECT(view->is_view && !view->is_anonymous_view && !view->is_public);
    EXPECT_EQ(view->primary_key, -1);
    EXPECT_EQ(view->column_count, table_named(&w, "t")->column_count + 1);
    EXPECT(str_eq(view->columns[0].name, STR("arg_hash")));
    EXPECT_EQ(view->columns[0].type->kind, TYPE_U256);
    EXPECT_EQ(view->index_count, 2);
    const CatalogIndex *index = NULL;
    EXPECT(catalog_index_by_name(w.catalog, STR("the_names_arg_hash_idx_btree"), &index) == view);
    EXPECT(!index->unique && index->column_count == 1 && index->columns[0] == 0);
    EXPECT(catalog_index_by_name(w.catalog, STR("the_names_arg_hash_id_idx_btree"), &index) ==
           view);
    EXPECT(index->unique && index->column_count == 2 && index->columns[1] == 1);
    expect_row_count(&w, "st_index_accessor", table_named(&w, "t")->index_count);
    expect_replay(&w);

    // One that stays what it is keeps its table, whoever may read it now.
    uint32_t id = view->table_id;
    with.views[0].is_private = false;
    publish(&w, &with);
    view = table_named(&w, "the_names");
    EXPECT_EQ(view->table_id, id);
    EXPECT(view->is_view && view->is_public);
    expect_replay(&w);
    // One with another result is another.
    with.views[0].is_anonymous = true;
    publish(&w, &with);
    view = table_named(&w, "the_names");
    EXPECT(view->table_id != id && view->is_anonymous_view);
    expect_row_count(&w, "st_table", 20 + 2);
    expect_replay(&w);
    world_close(&w);
}

// ── damage and exhaustion ──────────────────────────────────────────────────────────────────────

TEST(catalog_apply, refuses_what_does_not_fit) {
    World w;
    open_with_rows(&w, &plain);
    static const CommitOp wrong[] = {
        {COMMIT_INSERT, 9999, {NULL, 0}},
        {COMMIT_INSERT, 4096, {(const uint8_t *)"short", 5}},
        {COMMIT_INSERT, 4096, {(const uint8_t *)"\1\0\0\0\0\0\0\0\1\0\0\0a", 13}},
        {COMMIT_INSERT, 4096, {(const uint8_t *)"\1\0\0\0\0\0\0\0\1\0\0\0z", 13}},
        {COMMIT_INSERT, 4096, {(const uint8_t *)"\7\0\0\0\0\0\0\0\0\0\0\0z", 13}},
        {COMMIT_DELETE, 4096, {(const uint8_t *)"nothing", 7}},
        {COMMIT_REPLACE, 4096, {(const uint8_t *)"\7\0\0\0\0\0\0\0\0\0\0\0z", 13}},
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        store_begin(w.store);
        EXPECT_ERR(catalog_apply(w.catalog, &wrong[i], &w.diag), ERR_CORRUPT);
        store_rollback(w.store);
    }
    store_begin(w.store);
    EXPECT_OK(catalog_apply(w.catalog, &(CommitOp){COMMIT_TRUNCATE, 4096, {NULL, 0}}, &w.diag));
    commit(&w);
    expect_row_count(&w, "t", 0);
    world_close(&w);
}

// Whichever allocation fails, a rollback and a sync bring everything back.
static void sweep_publish(World *w, const DefText *text) {
    Err err = ERR_NOMEM;
    ModuleDef *def = def_text(text, 10);
    CatalogModule module = module_of(3);
    MigratePlan *plan = NULL;
    if (w->def) EXPECT_OK(migrate_plan(w->def, def, &plan, &w->diag));
    Buf before = {0};
    dump(w, &before);
    for (int64_t n = 0; err != OK; n++) {
        store_begin(w->store);
        mem_fault_arm(n);
        err = plan ? catalog_migrate(w->catalog, plan, def, &module, NULL, NULL, &w->diag)
                   : catalog_create(w->catalog, def, &module, NULL, NULL, &w->diag);
        bool hit = mem_fault_hit();
        mem_fault_arm(-1);
        if (err == OK) {
            commit(w);
            break;
        }
        if (err != ERR_NOMEM || !hit)
            print_error("allocation %lld: %s, %s\n", (long long)n, err_name(err), w->diag.text);
        EXPECT(hit && err == ERR_NOMEM);
        store_rollback(w->store);
        EXPECT_OK(catalog_sync(w->catalog, &w->diag));
        Buf after = {0};
        if (n % 16 == 0) {
            dump(w, &after);
            EXPECT_STR((char *)after.ptr, (char *)before.ptr);
        }
        buf_deinit(&after);
    }
    buf_deinit(&before);
    migrate_plan_free(&plan);
    moduledef_free(&w->def);
    w->def = def;
}

TEST(catalog, survives_every_failing_allocation) {
    World w;
    world_open(&w);
    sweep_publish(&w, &plain);
    insert_hex(&w, "t", "01000000000000000100000061");
    static const DefText wider = {
        .types = {"Row: (id: U64, name: String, age: U32)"},
        .tables = {{.name = "t", ID_INDEX, ID_SEQUENCE, .defaults = {{"2", "2a000000"}}},
                   {.name = "u"}}};
    sweep_publish(&w, &wider);
    expect_row_count(&w, "t", 1);
    expect_replay(&w);
    world_close(&w);
}

TEST_MAIN()
