#include "txn/def_testing.h"

static const char *const table_names[TEST_TABLES] = {"item", "note", "tick", "pair", "timer"};

static TableDef *declare(TestDef *t,
                         int which,
                         const TypeField *fields,
                         uint16_t count,
                         int32_t key) {
    TableDef *table = &t->def.tables[which];
    *table = (TableDef){
        .name = str_from(table_names[which]),
        .source = str_from(table_names[which]),
        .row_type = type_product(&t->arena, fields, count),
        .columns = arena_array(&t->arena, ColumnDef, count),
        .column_count = count,
        .primary_key = key,
        .is_public = true,
    };
    for (uint16_t i = 0; i < count; i++) {
        table->columns[i] =
            (ColumnDef){.name = fields[i].name, .source = fields[i].name, .type = fields[i].type};
    }
    return table;
}

static Str columns_text(TestDef *t,
                        const TableDef *table,
                        const uint16_t *columns,
                        uint16_t count) {
    Str text = table->columns[columns[0]].name;
    for (uint16_t i = 1; i < count; i++) {
        Str more = table->columns[columns[i]].name;
        text = arena_printf(&t->arena, STR_FMT "_" STR_FMT, STR_ARG(text), STR_ARG(more));
    }
    return text;
}

static void add_index_on(TestDef *t,
                         TableDef *table,
                         const uint16_t *on,
                         uint16_t count,
                         bool unique) {
    uint16_t *columns = arena_array(&t->arena, uint16_t, count);
    memcpy(columns, on, count * sizeof *on);
    Str of = columns_text(t, table, columns, count);
    Str name = arena_printf(&t->arena,
                            STR_FMT "_" STR_FMT "_idx_btree",
                            STR_ARG(table->name),
                            STR_ARG(of));
    table->indexes[table->index_count++] =
        (IndexDef){.name = name, .source = name, .columns = columns, .column_count = count};
    if (!unique) return;
    Str key =
        arena_printf(&t->arena, STR_FMT "_" STR_FMT "_key", STR_ARG(table->name), STR_ARG(of));
    table->constraints[table->constraint_count++] =
        (ConstraintDef){.name = key, .columns = columns, .column_count = count};
}

static void add_index(TestDef *t, TableDef *table, uint16_t column, bool unique) {
    add_index_on(t, table, &column, 1, unique);
}

static void add_parts(TestDef *t, TableDef *table, uint32_t indexes) {
    table->indexes = arena_array(&t->arena, IndexDef, indexes);
    table->constraints = arena_array(&t->arena, ConstraintDef, indexes);
}

static void add_id_sequence(TestDef *t, TableDef *table) {
    table->sequences = arena_new(&t->arena, SequenceDef);
    Str name = arena_printf(&t->arena, STR_FMT "_id_seq", STR_ARG(table->name));
    table->sequences[0] = (SequenceDef){.name = name, .column = 0, .increment = {{1}}};
    table->sequence_count = 1;
}

void testdef_init(TestDef *t) {
    *t = (TestDef){0};
    t->def.arena = &t->arena;
    t->def.version = 10;
    t->def.tables = arena_array(&t->arena, TableDef, TEST_TABLES);
    t->def.table_count = TEST_TABLES;

    const TypeField item[] = {
        {STR("id"), type_simple(TYPE_U64)},
        {STR("name"), type_simple(TYPE_STRING)},
        {STR("v"), type_simple(TYPE_U32)},
        {STR("code"), type_simple(TYPE_U32)},
    };
    TableDef *table = declare(t, TEST_ITEM, item, 4, 0);
    add_parts(t, table, 3);
    add_index(t, table, 0, true);
    add_index(t, table, 2, false);
    add_index(t, table, 3, true);
    add_id_sequence(t, table);

    const TypeField note[] = {{STR("text"), type_simple(TYPE_STRING)},
                              {STR("n"), type_simple(TYPE_U32)}};
    declare(t, TEST_NOTE, note, 2, -1);
    const TypeField tick[] = {{STR("kind"), type_simple(TYPE_U8)},
                              {STR("at"), type_simple(TYPE_I64)}};
    declare(t, TEST_TICK, tick, 2, -1)->is_event = true;

    const TypeField pair[] = {{STR("a"), type_simple(TYPE_U32)}, {STR("b"), type_simple(TYPE_U32)}};
    table = declare(t, TEST_PAIR, pair, 2, -1);
    add_parts(t, table, 2);
    add_index_on(t, table, (const uint16_t[]){0, 1}, 2, false);
    add_index(t, table, 1, true);

    const TypeField timer[] = {{STR("id"), type_simple(TYPE_U64)},
                               {STR("at"), type_special(SPECIAL_SCHEDULE_AT)}};
    table = declare(t, TEST_TIMER, timer, 2, 0);
    add_parts(t, table, 1);
    add_index(t, table, 0, true);
    add_id_sequence(t, table);
    table->schedule = arena_new(&t->arena, ScheduleDef);
    *table->schedule =
        (ScheduleDef){.name = STR("timer_sched"), .at_column = 1, .function = STR("ring")};
}

void testdef_deinit(TestDef *t) {
    arena_deinit(&t->arena);
}

Err testdef_create(Db *db, const TestDef *t) {
    const WriteSet *writes;
    bool changed;
    CatalogModule module = {.program_kind = 1, .program = BYTES("program", 7)};
    db_begin(db, &(CommitInfo){.name = STR("<publish>")});
    Err err = catalog_create(db_catalog(db), &t->def, &module, NULL, NULL, NULL);
    if (err != OK) {
        db_rollback(db);
        return err;
    }
    if ((err = db_commit(db, &writes, &changed)) != OK) return err;
    return db_flush(db, NULL);
}

CatalogTable *testdef_table(const Db *db, int which) {
    return catalog_table_by_name(db_catalog(db), str_from(table_names[which]));
}

uint32_t testdef_index(const Db *db, const char *name) {
    const CatalogIndex *index = NULL;
    ASSERT(catalog_index_by_name(db_catalog(db), str_from(name), &index));
    return index->index_id;
}

void testdef_item(Buf *out, uint64_t id, const char *name, uint32_t v, uint32_t code) {
    buf_put_u64(out, id);
    buf_put_lp(out, str_bytes(str_from(name)));
    buf_put_u32(out, v);
    buf_put_u32(out, code);
}

void testdef_note(Buf *out, const char *text, uint32_t n) {
    buf_put_lp(out, str_bytes(str_from(text)));
    buf_put_u32(out, n);
}
