#include "txn/reader.h"

#include "base/mem.h"
#include "base/test.h"
#include "sim/sim.h"
#include "txn/def_testing.h"

typedef struct World {
    Sim *sim;
    Db *db;
    TestDef def;
    ReadSet *reads;
    uint32_t item, note;
} World;

static void begin(World *w) {
    db_begin(w->db, &(CommitInfo){.name = STR("test")});
}

static AbiErrno insert_item(World *w, uint64_t id, uint32_t v, uint32_t code) {
    Buf row = {0}, gen = {0};
    testdef_item(&row, id, "x", v, code);
    Access *access = db_access(w->db);
    AbiErrno status = access->ops->insert(access, w->item, buf_bytes(&row), &gen);
    buf_deinit(&row);
    buf_deinit(&gen);
    return status;
}

static void world_init(World *w) {
    uint64_t torn;
    Diag diag = {0};
    const WriteSet *writes;
    bool changed;
    *w = (World){0};
    EXPECT_OK(sim_new(1, &w->sim));
    testdef_init(&w->def);
    DbOptions options = {.io = sim_io(w->sim), .dir = "db", .in_memory = true};
    EXPECT_OK(db_open(&options, &w->db, &torn, &diag));
    EXPECT_OK(testdef_create(w->db, &w->def));
    EXPECT_OK(readset_new(&w->reads));
    w->item = testdef_table(w->db, TEST_ITEM)->table_id;
    w->note = testdef_table(w->db, TEST_NOTE)->table_id;
    begin(w);
    for (uint32_t i = 1; i <= 10; i++)
        EXPECT_EQ(insert_item(w, i, i / 2, 100 + i), ABI_OK);
    EXPECT_OK(db_commit(w->db, &writes, &changed));
}

static void world_deinit(World *w) {
    readset_free(&w->reads);
    db_close(&w->db);
    testdef_deinit(&w->def);
    sim_free(&w->sim);
}

static bool count_row(void *ctx, Bytes row) {
    (void)row;
    ++*(uint32_t *)ctx;
    return true;
}

// Whether inserting this row would be seen by what was read.
static bool item_hits(World *w, uint64_t id, uint32_t v, uint32_t code) {
    Buf row = {0}, key = {0};
    Table *table = testdef_table(w->db, TEST_ITEM)->table;
    testdef_item(&row, id, "y", v, code);
    table_row_key(table, buf_bytes(&row), &key);
    TxnChange change = {.table = table,
                        .table_id = w->item,
                        .key = buf_bytes(&key),
                        .new_row = buf_bytes(&row)};
    bool hit = readset_hit(w->reads, &change);
    buf_deinit(&row);
    buf_deinit(&key);
    return hit;
}

TEST(reader, reads_a_snapshot_while_the_head_moves_on) {
    World w;
    Snapshot *snapshot;
    DbReader *then, *now;
    uint64_t count;
    world_init(&w);
    EXPECT_OK(store_snapshot(db_store(w.db), &snapshot));
    EXPECT_OK(reader_new(w.db, snapshot, NULL, &then));
    EXPECT_OK(reader_new(w.db, NULL, NULL, &now));
    begin(&w);
    EXPECT_EQ(insert_item(&w, 50, 1, 1), ABI_OK);
    Access *access = reader_access(then);
    EXPECT_EQ(access->ops->row_count(access, w.item, &count), ABI_OK);
    EXPECT_EQ(count, 10);
    access = reader_access(now);
    EXPECT_EQ(access->ops->row_count(access, w.item, &count), ABI_OK);
    EXPECT_EQ(count, 11);  // the open transaction's own rows
    db_rollback(w.db);
    reader_free(&then);
    reader_free(&now);
    snapshot_release(&snapshot);
    world_deinit(&w);
}

TEST(reader, writes_down_what_it_looked_at) {
    World w;
    DbReader *reader;
    uint32_t rows = 0;
    uint64_t count;
    world_init(&w);
    EXPECT_OK(reader_new(w.db, NULL, w.reads, &reader));
    Access *access = reader_access(reader);
    RowSink sink = {count_row, &rows};
    uint32_t by_v = testdef_index(w.db, "item_v_idx_btree");
    uint32_t by_id = testdef_index(w.db, "item_id_idx_btree");
    uint32_t by_code = testdef_index(w.db, "item_code_idx_btree");

    EXPECT_EQ(access->ops->scan_point(access, by_v, BYTES("\4\0\0\0", 4), sink), ABI_OK);
    EXPECT_EQ(rows, 2);
    EXPECT_EQ(access->ops->scan_point(access, by_id, BYTES("\x63\0\0\0\0\0\0\0", 8), sink), ABI_OK);
    EXPECT_EQ(rows, 2);  // an absent row is a read too
    AccessRange range = {.lower = BYTES("\0\x20\0\0\0", 5), .upper = BYTES("\1\x25\0\0\0", 5)};
    EXPECT_EQ(access->ops->scan_range(access, by_code, &range, sink), ABI_OK);
    EXPECT(item_hits(&w, 20, 4, 1) && !item_hits(&w, 20, 5, 1));
    EXPECT(item_hits(&w, 99, 5, 1) && !item_hits(&w, 98, 5, 1));
    EXPECT(item_hits(&w, 20, 9, 32) && item_hits(&w, 20, 9, 36) && !item_hits(&w, 20, 9, 37));
    EXPECT(!readset_reads_table(w.reads, w.note));
    EXPECT_EQ(access->ops->row_count(access, w.note, &count), ABI_OK);
    EXPECT(readset_reads_table(w.reads, w.note));

    // A range that is a point is read as one.
    readset_clear(w.reads);
    range = (AccessRange){.lower = BYTES("\0\4\0\0\0", 5), .upper = BYTES("\0\4\0\0\0", 5)};
    EXPECT_EQ(access->ops->scan_range(access, by_v, &range, sink), ABI_OK);
    EXPECT(item_hits(&w, 20, 4, 1) && !item_hits(&w, 20, 5, 1) && !item_hits(&w, 20, 3, 1));
    reader_free(&reader);
    world_deinit(&w);
}

TEST(reader, refuses_every_change) {
    World w;
    DbReader *reader;
    Buf gen = {0};
    uint32_t n;
    uint64_t all;
    world_init(&w);
    EXPECT_OK(reader_new(w.db, NULL, w.reads, &reader));
    Access *access = reader_access(reader);
    AccessRange range = {.lower = BYTES("\2", 1), .upper = BYTES("\2", 1)};
    uint32_t by_id = testdef_index(w.db, "item_id_idx_btree");
    AbiErrno refused = ABI_TRANSACTION_IS_READ_ONLY;
    EXPECT_EQ(access->ops->insert(access, w.item, BYTES_NONE, &gen), refused);
    EXPECT_EQ(access->ops->update(access, w.item, by_id, BYTES_NONE, &gen), refused);
    EXPECT_EQ(access->ops->delete_point(access, by_id, BYTES_NONE, &n), refused);
    EXPECT_EQ(access->ops->delete_range(access, by_id, &range, &n), refused);
    EXPECT_EQ(access->ops->delete_all_by_eq(access, w.item, BYTES_NONE, &n), refused);
    EXPECT_EQ(access->ops->clear(access, w.item, &all), refused);
    reader_free(&reader);
    world_deinit(&w);
}

TEST(reader, the_nth_allocation_failing_is_the_end_of_the_call_only) {
    World w;
    world_init(&w);
    for (int64_t nth = 0;; nth++) {
        DbReader *reader = NULL;
        uint32_t rows = 0;
        AbiErrno status = ABI_FATAL;
        readset_clear(w.reads);
        uint32_t by_v = testdef_index(w.db, "item_v_idx_btree");
        mem_fault_arm(nth);
        Err err = reader_new(w.db, NULL, w.reads, &reader);
        if (err == OK) {
            Access *access = reader_access(reader);
            status = access->ops->scan_point(access,
                                             by_v,
                                             BYTES("\4\0\0\0", 4),
                                             (RowSink){count_row, &rows});
        }
        bool hit = mem_fault_hit();
        mem_fault_arm(-1);
        EXPECT_EQ(status, hit ? ABI_FATAL : ABI_OK);
        reader_free(&reader);
        if (!hit) break;
    }
    world_deinit(&w);
}

TEST_MAIN()
