#include "base/log.h"
#include "base/mem.h"
#include "base/test.h"
#include "sim/sim.h"
#include "store/page.h"
#include "txn/def_testing.h"
#include "txn/restore.h"
#include "txn/verify.h"

// One database over a simulated disk.
typedef struct World {
    Sim *sim;
    Db *db;
    TestDef def;
    bool checkpoints;   // every few transactions
    size_t memory_max;  // with them
} World;

static Err world_open(World *w) {
    uint64_t torn;
    Diag diag = {0};
    // Small segments: a script fills more than one, and a cut disk is quickly made again.
    DbOptions options = {
        .io = sim_io(w->sim),
        .dir = "db",
        .segment_bytes = 16 << 10,
        .page_file = w->checkpoints ? "pages" : NULL,
        .memory_max = w->memory_max,
        .checkpoint_bytes = 5000,
        .checkpoint_by_hand = true,
    };
    Err err = db_open(&options, &w->db, &torn, &diag);
    if (err != OK && err != ERR_IO) print_error("db_open: %s\n", diag.text);
    return err;
}

static void world_make(World *w, uint64_t seed) {
    EXPECT_OK(sim_new(seed, &w->sim));
    testdef_init(&w->def);
    EXPECT_OK(world_open(w));
    EXPECT_OK(testdef_create(w->db, &w->def));
}

static void world_init(World *w, uint64_t seed) {
    *w = (World){0};
    world_make(w, seed);
}

static void world_deinit(World *w) {
    db_close(&w->db);
    testdef_deinit(&w->def);
    sim_free(&w->sim);
}

static void begin(World *w) {
    db_begin(w->db, &(CommitInfo){.timestamp = 1, .name = STR("test")});
}

static size_t commit(World *w) {
    const WriteSet *writes;
    bool changed;
    EXPECT_OK(db_commit(w->db, &writes, &changed));
    return writes->count;
}

static AbiErrno insert_item(World *w,
                            uint64_t id,
                            const char *name,
                            uint32_t v,
                            uint32_t code,
                            uint64_t *generated) {
    Buf row = {0}, gen = {0};
    testdef_item(&row, id, name, v, code);
    Access *access = db_access(w->db);
    AbiErrno status = access->ops->insert(access,
                                          testdef_table(w->db, TEST_ITEM)->table_id,
                                          buf_bytes(&row),
                                          &gen);
    if (generated) *generated = gen.len == 8 ? load_u64(gen.ptr) : 0;
    buf_deinit(&row);
    buf_deinit(&gen);
    return status;
}

// ── Access ─────────────────────────────────────────────────────────────────────────────────────

static bool count_row(void *ctx, Bytes row) {
    (void)row;
    ++*(uint32_t *)ctx;
    return true;
}

static uint32_t range_count(World *w, const char *index, Bytes lower, Bytes upper) {
    uint32_t count = 0;
    AccessRange range = {.lower = lower, .upper = upper};
    Access *access = db_access(w->db);
    EXPECT_EQ(access->ops->scan_range(access,
                                      testdef_index(w->db, index),
                                      &range,
                                      (RowSink){count_row, &count}),
              ABI_OK);
    return count;
}

TEST(head, fills_zero_keys_from_the_sequence_and_reports_them) {
    World w;
    uint64_t id;
    world_init(&w, 1);
    begin(&w);
    EXPECT_EQ(insert_item(&w, 0, "a", 1, 10, &id), ABI_OK);
    EXPECT_EQ(id, 1);
    EXPECT_EQ(insert_item(&w, 77, "b", 1, 11, &id), ABI_OK);
    EXPECT_EQ(id, 0);
    EXPECT_EQ(insert_item(&w, 0, "c", 1, 12, &id), ABI_OK);
    EXPECT_EQ(id, 2);
    EXPECT_EQ(insert_item(&w, 0, "d", 1, 12, &id), ABI_UNIQUE_ALREADY_EXISTS);
    EXPECT(commit(&w) >= 3);
    world_deinit(&w);
}

TEST(head, sequence_values_survive_neither_rollback_nor_restart_twice) {
    World w;
    uint64_t id, last = 0;
    world_init(&w, 1);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 3; i++) {
            begin(&w);
            EXPECT_EQ(insert_item(&w, 0, "a", 1, (uint32_t)(100 * round + i), &id), ABI_OK);
            EXPECT(id > last);
            last = id;
            if (i == 1) {
                db_rollback(w.db);
            } else {
                commit(&w);
            }
        }
        EXPECT_OK(db_flush(w.db, NULL));
        db_close(&w.db);
        EXPECT_OK(world_open(&w));
    }
    world_deinit(&w);
}

TEST(head, scans_by_point_and_range_with_every_bound) {
    World w;
    world_init(&w, 1);
    begin(&w);
    for (uint32_t i = 0; i < 10; i++) {
        EXPECT_EQ(insert_item(&w, 0, "x", i / 2, i, NULL), ABI_OK);
    }
    static const uint8_t in2[] = {0, 2, 0, 0, 0}, ex2[] = {1, 2, 0, 0, 0}, in4[] = {0, 4, 0, 0, 0},
                         ex4[] = {1, 4, 0, 0, 0}, none[] = {2};
    const char *index = "item_v_idx_btree";
    EXPECT_EQ(range_count(&w, index, BYTES(none, 1), BYTES(none, 1)), 10);
    EXPECT_EQ(range_count(&w, index, BYTES(in2, 5), BYTES(in4, 5)), 6);
    EXPECT_EQ(range_count(&w, index, BYTES(ex2, 5), BYTES(in4, 5)), 4);
    EXPECT_EQ(range_count(&w, index, BYTES(in2, 5), BYTES(ex4, 5)), 4);
    EXPECT_EQ(range_count(&w, index, BYTES(ex2, 5), BYTES(none, 1)), 4);
    EXPECT_EQ(range_count(&w, index, BYTES(none, 1), BYTES(ex2, 5)), 4);
    EXPECT_EQ(range_count(&w, index, BYTES(in4, 5), BYTES(in2, 5)), 0);
    EXPECT_EQ(range_count(&w, index, BYTES(in2, 5), BYTES(in2, 5)), 2);

    uint32_t count = 0;
    Access *access = db_access(w.db);
    EXPECT_EQ(access->ops->scan_point(access,
                                      testdef_index(w.db, index),
                                      BYTES(in2 + 1, 4),
                                      (RowSink){count_row, &count}),
              ABI_OK);
    EXPECT_EQ(count, 2);
    EXPECT_EQ(access->ops->scan_point(access,
                                      testdef_index(w.db, index),
                                      BYTES(in2 + 1, 3),
                                      (RowSink){count_row, &count}),
              ABI_BSATN_DECODE_ERROR);
    EXPECT_EQ(
        access->ops->scan_point(access, 999999, BYTES(in2 + 1, 4), (RowSink){count_row, &count}),
        ABI_NO_SUCH_INDEX);
    uint32_t deleted;
    AccessRange range = {.lower = BYTES(ex2, 5), .upper = BYTES(none, 1)};
    EXPECT_EQ(access->ops->delete_range(access, testdef_index(w.db, index), &range, &deleted),
              ABI_OK);
    EXPECT_EQ(deleted, 4);
    EXPECT_EQ(range_count(&w, index, BYTES(none, 1), BYTES(none, 1)), 6);
    db_rollback(w.db);
    EXPECT_EQ(
        access->ops->row_count(access, testdef_table(w.db, TEST_ITEM)->table_id, &(uint64_t){0}),
        ABI_NOT_IN_TRANSACTION);
    world_deinit(&w);
}

TEST(head, refuses_rows_that_are_not_rows) {
    World w;
    Buf gen = {0};
    world_init(&w, 1);
    begin(&w);
    Access *access = db_access(w.db);
    uint32_t item = testdef_table(w.db, TEST_ITEM)->table_id;
    EXPECT_EQ(access->ops->insert(access, item, BYTES("\1\0\0", 3), &gen), ABI_BSATN_DECODE_ERROR);
    EXPECT_EQ(access->ops->insert(access, 424242, BYTES("\1\0\0", 3), &gen), ABI_NO_SUCH_TABLE);
    EXPECT_EQ(access->ops->update(access,
                                  item,
                                  testdef_index(w.db, "item_v_idx_btree"),
                                  BYTES("", 0),
                                  &gen),
              ABI_INDEX_NOT_UNIQUE);
    EXPECT_EQ(commit(&w), 0);
    buf_deinit(&gen);
    world_deinit(&w);
}

// ── commits ────────────────────────────────────────────────────────────────────────────────────

TEST(commit, an_update_is_one_change_and_a_round_trip_is_none) {
    World w;
    Buf row = {0}, gen = {0};
    world_init(&w, 1);
    begin(&w);
    EXPECT_EQ(insert_item(&w, 5, "old", 1, 1, NULL), ABI_OK);
    commit(&w);

    Access *access = db_access(w.db);
    CatalogTable *item = testdef_table(w.db, TEST_ITEM);
    begin(&w);
    testdef_item(&row, 5, "new", 1, 1);
    EXPECT_EQ(access->ops->update(access,
                                  item->table_id,
                                  testdef_index(w.db, "item_id_idx_btree"),
                                  buf_bytes(&row),
                                  &gen),
              ABI_OK);
    const WriteSet *writes;
    bool changed;
    EXPECT_OK(db_commit(w.db, &writes, &changed));
    EXPECT(changed && writes->count == 1 && writes->changes[0].old_row.ptr &&
           writes->changes[0].new_row.ptr);

    begin(&w);
    uint32_t deleted;
    uint8_t five[8] = {5};
    EXPECT_EQ(access->ops->delete_point(access,
                                        testdef_index(w.db, "item_id_idx_btree"),
                                        BYTES(five, 8),
                                        &deleted),
              ABI_OK);
    EXPECT_EQ(deleted, 1);
    EXPECT_EQ(access->ops->insert(access, item->table_id, buf_bytes(&row), &gen), ABI_OK);
    EXPECT_EQ(insert_item(&w, 6, "gone", 1, 2, NULL), ABI_OK);
    uint8_t six[8] = {6};
    EXPECT_EQ(access->ops->delete_point(access,
                                        testdef_index(w.db, "item_id_idx_btree"),
                                        BYTES(six, 8),
                                        &deleted),
              ABI_OK);
    uint64_t end = log_end(db_log(w.db)).v;
    EXPECT_OK(db_commit(w.db, &writes, &changed));
    EXPECT(!changed);
    EXPECT_EQ(log_end(db_log(w.db)).v, end);
    buf_deinit(&row);
    buf_deinit(&gen);
    world_deinit(&w);
}

static void replace_item(World *w, uint64_t id, const char *name, uint32_t v, uint32_t code) {
    Buf row = {0};
    testdef_item(&row, id, name, v, code);
    Table *table = testdef_table(w->db, TEST_ITEM)->table;
    EXPECT_OK(table_replace(table, TABLE_ROWS, buf_bytes(&row), NULL, NULL));
    buf_deinit(&row);
}

static void expect_item(World *w, uint64_t id, const char *name, uint32_t v, uint32_t code) {
    Buf row = {0};
    testdef_item(&row, id, name, v, code);
    EXPECT_OK(table_find_row(testdef_table(w->db, TEST_ITEM)->table, NULL, buf_bytes(&row)));
    buf_deinit(&row);
}

static uint64_t operations_of_commit(World *w) {
    uint64_t before = log_operations(db_log(w->db));
    commit(w);
    return log_operations(db_log(w->db)) - before;
}

// In place where no unique key moves; where one does, old rows go before new ones come.
TEST(commit, an_update_is_replayed_in_place_and_a_swap_of_unique_keys_is_too) {
    World w;
    world_init(&w, 1);
    begin(&w);
    EXPECT_EQ(insert_item(&w, 1, "a", 1, 10, NULL), ABI_OK);
    EXPECT_EQ(insert_item(&w, 2, "b", 1, 20, NULL), ABI_OK);
    commit(&w);
    begin(&w);
    replace_item(&w, 1, "longer", 7, 10);
    EXPECT_EQ(operations_of_commit(&w), 1);
    begin(&w);
    replace_item(&w, 1, "longer", 7, 30);
    replace_item(&w, 2, "b", 1, 10);
    replace_item(&w, 1, "longer", 7, 20);
    EXPECT_EQ(operations_of_commit(&w), 4);
    EXPECT_OK(db_flush(w.db, NULL));
    db_close(&w.db);
    EXPECT_OK(world_open(&w));
    expect_item(&w, 1, "longer", 7, 20);
    expect_item(&w, 2, "b", 1, 10);
    EXPECT_EQ(table_row_count(testdef_table(w.db, TEST_ITEM)->table, NULL), 2);
    world_deinit(&w);
}

static void clear_items(World *w, uint64_t expected) {
    uint64_t deleted;
    Access *access = db_access(w->db);
    CatalogTable *item = testdef_table(w->db, TEST_ITEM);
    EXPECT_EQ(access->ops->clear(access, item->table_id, &deleted), ABI_OK);
    EXPECT_EQ(deleted, expected);
}

static uint64_t items_there(World *w) {
    return table_row_count(testdef_table(w->db, TEST_ITEM)->table, NULL);
}

static void items_make(World *w, uint32_t count) {
    begin(w);
    for (uint32_t i = 1; i <= count; i++)
        EXPECT_EQ(insert_item(w, i, "row", i, i, NULL), ABI_OK);
    commit(w);
}

TEST(commit, a_table_that_is_emptied_is_one_operation_and_its_rows_are_told_when_asked) {
    World w;
    const WriteSet *writes;
    bool changed;
    world_init(&w, 1);
    CatalogTable *tick = testdef_table(w.db, TEST_TICK);
    Access *access = db_access(w.db);
    Buf gen = {0};
    items_make(&w, 100);
    begin(&w);
    clear_items(&w, 100);
    EXPECT_EQ(access->ops->insert(access, tick->table_id, BYTES("\7\1\0\0\0\0\0\0\0", 9), &gen),
              ABI_OK);
    uint64_t operations = log_operations(db_log(w.db));
    EXPECT_OK(db_commit(w.db, &writes, &changed));
    EXPECT(changed && writes->count == 2);
    const TxnChange *clear = &writes->changes[writes->changes[1].is_clear];
    EXPECT(clear->is_clear && clear->table_id == testdef_table(w.db, TEST_ITEM)->table_id);
    EXPECT_EQ(log_operations(db_log(w.db)) - operations, 2);
    EXPECT_OK(db_commit_rows(w.db, &writes));
    EXPECT_EQ(writes->count, 101);  // the event is still told
    uint32_t gone = 0, events = 0;
    for (size_t i = 0; i < writes->count; i++) {
        const TxnChange *change = &writes->changes[i];
        EXPECT(!change->is_clear);
        gone += change->old_row.ptr && !change->new_row.ptr && change->key.len == 8;
        events += change->is_event;
    }
    EXPECT(gone == 100 && events == 1);
    EXPECT_OK(db_flush(w.db, NULL));
    db_close(&w.db);
    EXPECT_OK(world_open(&w));
    EXPECT_EQ(items_there(&w), 0);
    buf_deinit(&gen);
    world_deinit(&w);
}

// Anything else that happens to the table is net of what was there.
TEST(commit, a_table_that_is_emptied_and_changed_is_told_row_by_row) {
    World w;
    world_init(&w, 1);
    items_make(&w, 10);
    begin(&w);
    clear_items(&w, 10);
    EXPECT_EQ(insert_item(&w, 3, "row", 3, 3, NULL), ABI_OK);    // as it was
    EXPECT_EQ(insert_item(&w, 4, "other", 4, 4, NULL), ABI_OK);  // replaced
    EXPECT_EQ(insert_item(&w, 50, "new", 1, 5, NULL), ABI_OK);   // takes a key of one that went
    EXPECT_EQ(operations_of_commit(&w), 8 + 1 + 1);
    begin(&w);
    EXPECT_EQ(insert_item(&w, 60, "short-lived", 1, 6, NULL), ABI_OK);
    clear_items(&w, 4);
    EXPECT_EQ(operations_of_commit(&w), 3);
    begin(&w);
    EXPECT_EQ(insert_item(&w, 70, "kept", 1, 7, NULL), ABI_OK);
    commit(&w);
    begin(&w);
    clear_items(&w, 1);
    db_rollback(w.db);
    expect_item(&w, 70, "kept", 1, 7);
    EXPECT_OK(db_flush(w.db, NULL));
    db_close(&w.db);
    EXPECT_OK(world_open(&w));
    EXPECT_EQ(items_there(&w), 1);
    expect_item(&w, 70, "kept", 1, 7);
    world_deinit(&w);
}

TEST(commit, event_rows_are_in_the_write_set_and_nowhere_afterwards) {
    World w;
    Buf gen = {0};
    world_init(&w, 1);
    CatalogTable *tick = testdef_table(w.db, TEST_TICK);
    Access *access = db_access(w.db);
    begin(&w);
    EXPECT_EQ(access->ops->insert(access, tick->table_id, BYTES("\7\1\0\0\0\0\0\0\0", 9), &gen),
              ABI_OK);
    uint64_t count;
    EXPECT_EQ(access->ops->row_count(access, tick->table_id, &count), ABI_OK);
    EXPECT_EQ(count, 1);
    const WriteSet *writes;
    bool changed;
    EXPECT_OK(db_commit(w.db, &writes, &changed));
    EXPECT(changed && writes->count == 1 && writes->changes[0].is_event);
    EXPECT_EQ(table_row_count(tick->table, NULL), 0);
    EXPECT_OK(db_flush(w.db, NULL));
    db_close(&w.db);
    EXPECT_OK(world_open(&w));
    EXPECT_EQ(table_row_count(testdef_table(w.db, TEST_TICK)->table, NULL), 0);
    buf_deinit(&gen);
    world_deinit(&w);
}

// ── power ──────────────────────────────────────────────────────────────────────────────────────

// A digest of everything every table holds.
static uint64_t digest(const Db *db) {
    const Catalog *catalog = db_catalog(db);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < catalog_table_count(catalog); i++) {
        const CatalogTable *table = catalog_table_at(catalog, i);
        if (!table->table) continue;
        TableScan scan;
        Bytes row;
        table_scan_begin(&scan, table->table, NULL, TABLE_ROWS, BYTES_NONE, BYTES_NONE);
        while (table_scan_next(&scan, &row)) {
            sum += bytes_hash(row) * (table->table_id + 1);
        }
        table_scan_end(&scan);
    }
    return sum;
}

enum { SCRIPT_TXNS = 40 };

typedef struct Script {
    uint64_t digests[SCRIPT_TXNS + 1];  // after each transaction; [0]: after the publish
    uint32_t attempted, acknowledged;   // transactions begun, and known to be on disk
    uint32_t started;                   // those a flush was started for
} Script;

static uint64_t next_random(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

static void script_step(World *w, uint64_t *state) {
    Access *access = db_access(w->db);
    CatalogTable *note = testdef_table(w->db, TEST_NOTE);
    Buf row = {0}, gen = {0};
    uint32_t deleted;
    for (uint64_t n = 1 + next_random(state) % 3; n > 0; n--) {
        char text[600];
        memset(text, 'a' + (int)(next_random(state) % 26), sizeof text);
        text[next_random(state) % (sizeof text)] = 0;
        text[sizeof text - 1] = 0;
        uint8_t id[8] = {0};
        id[0] = (uint8_t)(next_random(state) % 20);
        switch (next_random(state) % 4) {
        case 0:
            (void)insert_item(w,
                              0,
                              text,
                              (uint32_t)next_random(state) % 5,
                              (uint32_t)next_random(state),
                              NULL);
            break;
        case 1:
            (void)access->ops->delete_point(access,
                                            testdef_index(w->db, "item_id_idx_btree"),
                                            BYTES(id, 8),
                                            &deleted);
            break;
        case 2:
            buf_clear(&row);
            testdef_item(&row, id[0] ? id[0] : 1, text, 9, 1000000 + id[0]);
            (void)access->ops->update(access,
                                      testdef_table(w->db, TEST_ITEM)->table_id,
                                      testdef_index(w->db, "item_id_idx_btree"),
                                      buf_bytes(&row),
                                      &gen);
            break;
        default:
            buf_clear(&row);
            testdef_note(&row, text, id[0]);
            (void)access->ops->insert(access, note->table_id, buf_bytes(&row), &gen);
        }
    }
    buf_deinit(&row);
    buf_deinit(&gen);
}

// At once, or beside what comes next: then what was in flight before may have landed.
static Err script_flush(World *w, Script *script, uint64_t *state) {
    bool at_once = next_random(state) % 2;
    Err err = at_once ? db_flush(w->db, NULL) : db_flush_poll(w->db, false, NULL);
    if (err != OK || db_flush_in_flight(w->db)) return err;
    script->acknowledged = at_once ? script->attempted : script->started;
    script->started = script->attempted;
    return db_flush_start(w->db, NULL);
}

// Run transactions, a flush after each one to three, until the end or until the disk fails.
static void script_run(World *w, Script *script, uint64_t seed) {
    uint64_t state = seed;
    script->attempted = script->acknowledged = script->started = 0;
    script->digests[0] = digest(w->db);
    for (uint32_t i = 1; i <= SCRIPT_TXNS; i++) {
        const WriteSet *writes;
        bool changed;
        begin(w);
        script_step(w, &state);
        if (i % 7 == 0) db_rollback(w->db);
        if (i % 7 != 0 && db_commit(w->db, &writes, &changed) != OK) return;
        if (sim_disk_is_off(w->sim))
            return;  // a page was on its way out; nothing of this was flushed
        script->attempted = i;
        script->digests[i] = digest(w->db);
        if (next_random(&state) % 3 == 0) continue;
        if (script_flush(w, script, &state) != OK) return;
        if (w->checkpoints) db_checkpoint_step(w->db, next_random(&state) % 100000);
        db_checkpoint_tick(w->db);
    }
    if (db_flush(w->db, NULL) == OK) script->acknowledged = SCRIPT_TXNS;
}

static void expect_a_prefix(World *w,
                            const Script *script,
                            uint64_t seed,
                            const char *what,
                            uint64_t nth) {
    uint64_t now = digest(w->db);
    for (uint32_t i = script->acknowledged; i <= script->attempted; i++) {
        if (script->digests[i] == now) return;
    }
    print_error(
        "seed %llu, power cut at %s %llu: what is there is no state between transaction %u (acknowledged) and %u\n",
        (unsigned long long)seed,
        what,
        (unsigned long long)nth,
        script->acknowledged,
        script->attempted);
    fail();
}

// `kind`: 0 without checkpoints, 1 with them, 2 in very little memory as well.
static void cut_everywhere(SimOp op, const char *what, uint64_t seed, int kind) {
    for (uint64_t nth = 0;; nth++) {
        World w = {.checkpoints = kind > 0, .memory_max = kind == 2 ? 1 : 0};
        Script script;
        Diag diag = {0};
        world_make(&w, seed);
        sim_disk_cut_at(w.sim, op, nth);
        script_run(&w, &script, seed);
        bool was_cut = sim_disk_is_off(w.sim);
        db_close(&w.db);
        sim_disk_reboot(w.sim, seed + nth);
        EXPECT_OK(world_open(&w));
        expect_a_prefix(&w, &script, seed, what, nth);
        EXPECT_OK(store_check(db_store(w.db), &diag));

        // It goes on from there, and that lasts as well.
        Script more;
        script_run(&w, &more, seed + 1);
        EXPECT_EQ(more.acknowledged, SCRIPT_TXNS);
        db_close(&w.db);
        sim_disk_reboot(w.sim, seed + nth + 1);
        EXPECT_OK(world_open(&w));
        EXPECT_EQ(digest(w.db), more.digests[SCRIPT_TXNS]);
        world_deinit(&w);
        if (!was_cut) return;
    }
}

// `make sim SEED=7` runs one seed; without it the first few.
static uint64_t first_seed(uint64_t *last) {
    const char *text = getenv("SEED");
    uint64_t seed = text ? strtoull(text, NULL, 10) : 1;
    *last = text ? seed : 30;
    return seed;
}

TEST(power, cut_at_every_write_loses_nothing_acknowledged) {
    uint64_t last;
    for (uint64_t seed = first_seed(&last); seed <= last; seed++) {
        cut_everywhere(SIM_WRITE, "write", seed, 0);
    }
}

TEST(power, cut_at_every_sync_loses_nothing_acknowledged) {
    uint64_t last;
    for (uint64_t seed = first_seed(&last); seed <= last; seed++) {
        cut_everywhere(SIM_SYNC, "sync", seed, 0);
    }
}

static void forget_line(void *ctx, Str line) {
    (void)ctx, (void)line;
}

TEST(power, cut_beside_checkpoints_loses_nothing_acknowledged) {
    uint64_t last;
    log_set_writer(forget_line, NULL);  // a dead disk makes it say much
    uint64_t first = first_seed(&last);
    for (uint64_t seed = first; seed <= MIN(last, first + 3); seed++) {
        cut_everywhere(SIM_WRITE, "write", seed, 1 + seed % 2);
        cut_everywhere(SIM_SYNC, "sync", seed, 1 + seed % 2);
    }
    log_set_writer(NULL, NULL);
}

TEST(checkpoint, keeps_the_log_short_and_the_next_start_from_replaying_it) {
    World w = {.checkpoints = true};
    Script script;
    DbCheckpointStats stats;
    world_make(&w, 3);
    for (uint64_t round = 0; round < 10; round++) {
        script_run(&w, &script, round);
    }
    db_checkpoint_stats(w.db, &stats);
    EXPECT(stats.done > 10 && stats.failed == 0);
    EXPECT(log_begin(db_log(w.db)).v > 0);
    EXPECT(log_bytes(db_log(w.db)) < 5 * (16 << 10));
    EXPECT_OK(db_checkpoint_now(w.db, NULL));
    uint64_t expected = digest(w.db), end = log_end(db_log(w.db)).v;
    db_close(&w.db);
    EXPECT_OK(world_open(&w));
    EXPECT_EQ(log_written(db_log(w.db)), 0);
    EXPECT_EQ(log_end(db_log(w.db)).v, end);
    EXPECT_EQ(digest(w.db), expected);
    world_deinit(&w);
}

TEST(checkpoint, without_the_log_it_covers_is_corruption_and_so_is_the_log_without_it) {
    World w = {.checkpoints = true};
    Script script;
    uint64_t torn;
    Diag diag;
    world_make(&w, 3);
    script_run(&w, &script, 1);
    script_run(&w, &script, 2);
    EXPECT_OK(db_checkpoint_now(w.db, NULL));
    EXPECT(log_begin(db_log(w.db)).v > 0);
    db_close(&w.db);
    const Io *io = sim_io(w.sim);
    DbOptions options = {.io = io, .dir = "db", .page_file = "none"};
    EXPECT_ERR(db_open(&options, &w.db, &torn, &diag), ERR_CORRUPT);
    EXPECT(strstr(diag.text, "its first segments are missing, or the checkpoint is"));
    options = (DbOptions){.io = io, .dir = "other", .page_file = "pages"};
    EXPECT_ERR(db_open(&options, &w.db, &torn, &diag), ERR_CORRUPT);
    EXPECT(strstr(diag.text, "the end of the log is lost"));
    EXPECT_OK(world_open(&w));
    world_deinit(&w);
}

static void remember_line(void *ctx, const char *line) {
    snprintf(ctx, 256, "%s", line);
}

// A backup, then more transactions, each of which is a point in time to come back to.
TEST(restore, gives_the_backup_or_any_commit_since) {
    World w = {.checkpoints = true};
    enum { MORE = 12 };
    uint64_t digests[MORE + 1], offsets[MORE + 1], state = 5;
    Script script;
    Diag diag = {0};
    world_make(&w, 3);
    script_run(&w, &script, 1);
    EXPECT_OK(db_checkpoint_now(w.db, &diag));
    const Io *io = sim_io(w.sim);
    StoreImage *image;
    EXPECT_OK(store_image_open(db_store(w.db), &image, &diag));
    Buf bytes = {0};
    size_t len = (size_t)store_image_bytes(image);
    EXPECT_OK(store_image_read(image, 0, buf_extend(&bytes, len), len, &diag));
    store_image_close(db_store(w.db), &image);
    EXPECT_OK(io_replace_file(io, "backup", buf_bytes(&bytes), false));
    buf_deinit(&bytes);
    for (int i = 0; i <= MORE; i++) {
        digests[i] = digest(w.db);
        offsets[i] = log_end(db_log(w.db)).v;
        const WriteSet *writes;
        bool changed;
        db_begin(w.db, &(CommitInfo){.timestamp = INT64_C(2000000000000000) + i, .name = STR("x")});
        script_step(&w, &state);
        EXPECT_OK(db_commit(w.db, &writes, &changed));
        EXPECT_OK(db_flush(w.db, &diag));
    }
    db_close(&w.db);
    for (int i = 0; i <= MORE; i++) {
        char log[32], pages[32];
        snprintf(log, sizeof log, "restored%d", i);
        snprintf(pages, sizeof pages, "restored%d-pages", i);
        DbRestore restore = {
            .io = io,
            .image = "backup",
            .log_from = i ? "db" : NULL,
            .until = {i % 2 ? offsets[i] : UINT64_MAX},
            .until_time = i % 2 ? INT64_MAX : INT64_C(2000000000000000) + i - 1,
            .log_to = log,
            .page_file = pages,
        };
        DbRestored restored;
        Err err = db_restore(&restore, &restored, &diag);
        if (err != OK) print_error("%s\n", diag.text);
        EXPECT_OK(err);
        EXPECT_EQ(restored.end.v, offsets[i]);
        EXPECT_ERR(db_restore(&restore, &restored, &diag), ERR_EXISTS);
        DbOptions options = {.io = io, .dir = log, .page_file = pages, .checkpoint_by_hand = true};
        uint64_t torn;
        EXPECT_OK(db_open(&options, &w.db, &torn, &diag));
        EXPECT_EQ(digest(w.db), digests[i]);
        EXPECT_OK(store_check(db_store(w.db), &diag));
        db_close(&w.db);
    }
    DbRestore early = {
        .io = io,
        .image = "backup",
        .until = {1},
        .until_time = INT64_MAX,
        .log_to = "early",
        .page_file = "early-pages",
    };
    EXPECT_ERR(db_restore(&early, &(DbRestored){0}, &diag), ERR_INVALID);
    EXPECT_OK(world_open(&w));
    world_deinit(&w);
}

TEST(verify, says_what_is_wrong_where_and_nothing_when_nothing_is) {
    World w = {.checkpoints = true};
    Script script;
    DbVerified found;
    char line[256] = "";
    world_make(&w, 3);
    script_run(&w, &script, 1);
    EXPECT_OK(db_checkpoint_now(w.db, NULL));
    begin(&w);
    EXPECT_EQ(insert_item(&w, 0, "after", 1, 424242, NULL), ABI_OK);
    commit(&w);
    EXPECT_OK(db_flush(w.db, NULL));
    DbVerify verify = {sim_io(w.sim), "db", "pages", remember_line, line, 0};
    db_verify(&verify, &found);
    EXPECT_STR(line, "a server has this database open");
    uint64_t end = log_end(db_log(w.db)).v;
    db_close(&w.db);

    db_verify(&verify, &found);
    EXPECT_EQ(found.problems, 0);
    EXPECT(found.pages > 10 && found.rows > 10 && found.checkpoint_offset == end - 1);
    EXPECT_EQ(found.log.end.v, end);
    EXPECT_OK(sim_disk_flip(w.sim, "pages", 5 * PAGE_BYTES + 77, 4));
    db_verify(&verify, &found);
    EXPECT(found.problems == 1 && strstr(line, "page 4, at byte 40960: its checksum is"));
    EXPECT_OK(sim_disk_flip(w.sim, "pages", 5 * PAGE_BYTES + 77, 4));
    char segment[IO_PATH_MAX];
    EXPECT_OK(world_open(&w));
    snprintf(segment,
             sizeof segment,
             "db/%020llu.log",
             (unsigned long long)log_begin(db_log(w.db)).v);
    db_close(&w.db);
    EXPECT_OK(sim_disk_flip(w.sim, segment, 70, 4));
    db_verify(&verify, &found);
    EXPECT(found.problems == 1 && strstr(line, "log: log segment db/"));
    EXPECT_OK(sim_disk_flip(w.sim, segment, 70, 4));
    EXPECT_OK(world_open(&w));
    world_deinit(&w);
}

TEST(disk, full_stops_the_database_with_everything_acknowledged_kept) {
    World w;
    Script script;
    world_init(&w, 5);
    sim_disk_fail_at(w.sim, SIM_SYNC, 6, ERR_DISK_FULL);
    script_run(&w, &script, 5);
    EXPECT(script.acknowledged < SCRIPT_TXNS);
    EXPECT(log_failed(db_log(w.db)) != OK);
    db_close(&w.db);
    sim_disk_reboot(w.sim, 9);
    EXPECT_OK(world_open(&w));
    expect_a_prefix(&w, &script, 5, "sync", 6);
    world_deinit(&w);
}

TEST(memory, the_nth_allocation_failing_never_leaves_half_a_transaction) {
    for (int64_t nth = 0;; nth++) {
        World w;
        world_init(&w, 2);
        begin(&w);
        uint64_t before = digest(w.db);
        mem_fault_arm(nth);
        AbiErrno status = ABI_OK;
        for (uint32_t i = 0; status == ABI_OK && i < 30; i++) {
            status = insert_item(&w, 0, "some text that is long enough", i, i, NULL);
        }
        const WriteSet *writes;
        bool changed;
        Err err = ERR_NOMEM;
        if (status == ABI_OK) {
            err = db_commit(w.db, &writes, &changed);
        } else {
            mem_fault_arm(-1);
            db_rollback(w.db);
        }
        bool hit = mem_fault_hit();
        mem_fault_arm(-1);
        if (err != OK) EXPECT_EQ(digest(w.db), before);
        if (err == OK) EXPECT_EQ(table_row_count(testdef_table(w.db, TEST_ITEM)->table, NULL), 30);
        world_deinit(&w);
        if (!hit) break;
    }
}

TEST_MAIN()
