// Who is told beside the loop what a transaction will have changed (BulkEnv.made) is told of the rows that the loop
// finds when it makes the transaction by itself: the same, in the same order. `SEED=7 build/…/made_test` repeats one.
#include "base/mem.h"
#include "base/test.h"
#include "txn/bulk_testing.h"
#include "txn/script_testing.h"
#include "txn/world_testing.h"

// Of each row that is different: its table, as it was, as it is.
typedef struct Told {
    Buf rows;
    uint32_t calls, emptied;
} Told;

static const DbOptions options = {.segment_bytes = 64 << 10};
static const CommitInfo info = {.timestamp = 1, .name = {"test", 4}};

static void put_row(Buf *out, uint32_t table_id, Bytes old_row, Bytes new_row) {
    buf_put_u32(out, table_id);
    buf_put_u8(out, old_row.ptr != NULL);
    buf_put_lp(out, old_row);
    buf_put_u8(out, new_row.ptr != NULL);
    buf_put_lp(out, new_row);
}

static void put_table(Buf *out, const Table *table, const Snapshot *before) {
    TableScan scan;
    Bytes row;
    table_scan_begin(&scan, table, before, TABLE_ROWS, BYTES_NONE, BYTES_NONE);
    while (table_scan_next(&scan, &row))
        put_row(out, table_id(table), row, BYTES_NONE);
    EXPECT_OK(scan.err);
    table_scan_end(&scan);
}

static void put_of_table(Told *told,
                         const TxnChange *changes,
                         size_t count,
                         uint32_t table_id,
                         const Snapshot *before) {
    for (size_t i = 0; i < count; i++) {
        const TxnChange *change = &changes[i];
        if (change->table_id != table_id || change->is_event) continue;
        if (change->is_clear) {
            put_table(&told->rows, change->table, before);
            told->emptied++;
        } else {
            put_row(&told->rows, table_id, change->old_row, change->new_row);
        }
    }
}

// Table by table: they come in an order of their own.
static void put_all(Told *told,
                    const Db *db,
                    const TxnChange *changes,
                    size_t count,
                    const Snapshot *before) {
    told->calls++;
    for (int t = 0; t < TEST_TABLES; t++)
        put_of_table(told, changes, count, testdef_table(db, t)->table_id, before);
    EXPECT(buf_ok(&told->rows));
}

typedef struct Teller {
    const Db *db;
    Told told;
} Teller;

static void made(void *ctx, const TxnChange *changes, size_t count, const Snapshot *before) {
    Teller *teller = ctx;
    put_all(&teller->told, teller->db, changes, count, before);
}

// ── a transaction, made ready in one world and by the loop in the other ────────────────────────

static uint64_t next_random(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

static void clear(World *w, Access *access, uint64_t which) {
    uint64_t deleted;
    uint32_t id = testdef_table(w->db, (int)(which % TEST_TABLES))->table_id;
    EXPECT_EQ(access->ops->clear(access, id, &deleted), ABI_OK);
}

static bool keep_row(void *ctx, Bytes row) {
    Buf *relation = ctx;
    store_u32(relation->ptr, load_u32(relation->ptr) + 1);
    buf_put_bytes(relation, row);
    return true;
}

// Each row by itself.
static void delete_all(World *w, Access *access, uint64_t which) {
    Buf relation = {0};
    uint32_t deleted, id = testdef_table(w->db, (int)(which % TEST_TABLES))->table_id;
    buf_put_u32(&relation, 0);
    EXPECT_EQ(access->ops->scan_table(access, id, (RowSink){keep_row, &relation}), ABI_OK);
    EXPECT_EQ(access->ops->delete_all_by_eq(access, id, buf_bytes(&relation), &deleted), ABI_OK);
    EXPECT_EQ(deleted, load_u32(relation.ptr));
    buf_deinit(&relation);
}

static void calls(World *w, Access *access, uint64_t state) {
    Buf record = {0};
    uint8_t bytes[200];
    for (uint64_t part = next_random(&state) % 4; part > 0; part--) {
        size_t len = next_random(&state) % sizeof bytes;
        for (size_t i = 0; i < len; i++)
            bytes[i] = (uint8_t)next_random(&state);
        uint64_t which = next_random(&state);
        if (which & 1024) clear(w, access, which);
        if (which & 2048) delete_all(w, access, which / 4096);
        if (which & 8192) continue;
        Script script = {.at = bytes, .end = bytes + len};
        while (!script_done(&script))
            EXPECT(script_step(&script, w->db, access, &record));
    }
    buf_deinit(&record);
}

static void commit(World *w, Told *told) {
    const WriteSet *writes;
    bool changed;
    EXPECT_OK(db_commit(w->db, &writes, &changed));
    EXPECT_OK(db_commit_rows(w->db, &writes));
    put_all(told, w->db, writes->changes, writes->count, NULL);
}

// What nobody looked at.
static void somebody_else(World *w, uint64_t id) {
    const WriteSet *writes;
    bool changed;
    Buf row = {0}, generated = {0};
    db_begin(w->db, &info);
    Access *access = db_access(w->db);
    testdef_item(&row, id, "other", 77, (uint32_t)id);
    EXPECT_EQ(access->ops->insert(access,
                                  testdef_table(w->db, TEST_ITEM)->table_id,
                                  buf_bytes(&row),
                                  &generated),
              ABI_OK);
    EXPECT_OK(db_commit(w->db, &writes, &changed));
    buf_deinit(&row);
    buf_deinit(&generated);
}

// False: it was refused, here and there.
static bool transaction(World *w, uint64_t state, bool ready, uint64_t other, Told *told) {
    Teller teller = {.db = w->db};
    OverlayEnv env = {.ctx = w->db, .reserve = reserve_here};
    if (ready) {
        env.prepare = bulk_here();
        env.prepare.ctx = &teller;
        env.prepare.made = made;
    }
    Overlay *overlay;
    Told found = {0};
    db_begin(w->db, &info);  // what the last commit kept goes
    db_rollback(w->db);
    EXPECT_OK(overlay_new(w->db, &info, &env, &overlay));
    calls(w, overlay_access(overlay), state);
    EXPECT_OK(overlay_prepare(overlay));
    if (other) somebody_else(w, other);
    Err err = overlay_apply(overlay, NULL);
    overlay_free(&overlay);
    if (err == OK) commit(w, &found);
    if (err == OK && teller.told.calls)
        EXPECT_BYTES(buf_bytes(&teller.told.rows), buf_bytes(&found.rows));
    EXPECT(err == OK || (err == ERR_CONFLICT && other));
    EXPECT(!ready || err != OK || found.rows.len == 0 || teller.told.calls == 1);
    told->emptied += teller.told.emptied;
    buf_put_bytes(&told->rows, buf_bytes(&found.rows));
    buf_deinit(&found.rows);
    buf_deinit(&teller.told.rows);
    return err == OK;
}

TEST(made, is_what_the_loop_finds_of_every_transaction) {
    const char *text = getenv("SEED");
    uint64_t first = text ? strtoull(text, NULL, 10) : 1, last = text ? first : 100;
    uint32_t emptied = 0, committed = 0, refused = 0;
    for (uint64_t seed = first; seed <= last; seed++) {
        World here, there;
        uint64_t state = seed;
        world_init(&here, options);
        world_init(&there, options);
        for (uint64_t round = 0; round < 25; round++) {
            Told ready = {0}, plain = {0};
            uint64_t other = next_random(&state) % 3 ? 0 : 1000000 + round, now = state;
            bool is_done = transaction(&here, now, true, other, &ready);
            EXPECT_EQ(transaction(&there, now, false, other, &plain), is_done);
            EXPECT_BYTES(buf_bytes(&ready.rows), buf_bytes(&plain.rows));
            emptied += ready.emptied;
            committed += is_done;
            refused += !is_done;
            next_random(&state);
            buf_deinit(&ready.rows);
            buf_deinit(&plain.rows);
        }
        Buf a = {0}, b = {0};
        script_dump(here.db, &a);
        script_dump(there.db, &b);
        EXPECT_BYTES(buf_bytes(&a), buf_bytes(&b));
        buf_deinit(&a);
        buf_deinit(&b);
        world_deinit(&here);
        world_deinit(&there);
    }
    if (text) return;
    EXPECT(emptied > 100 && committed > 500 && refused > 20);
}

// ── who goes beside the loop for that ──────────────────────────────────────────────────────────

static bool is_wanted(void *ctx, uint32_t table_id) {
    return *(uint32_t *)ctx == table_id;
}

static AbiErrno put_note(World *w, Access *access, uint32_t n) {
    Buf row = {0}, generated = {0};
    testdef_note(&row, "", n);
    uint32_t id = testdef_table(w->db, TEST_NOTE)->table_id;
    AbiErrno status = access->ops->insert(access, id, buf_bytes(&row), &generated);
    buf_deinit(&row);
    buf_deinit(&generated);
    return status;
}

static void fill(World *w, uint32_t rows) {
    const WriteSet *writes;
    bool changed;
    Access *access = db_access(w->db);
    bool may = access->may_begin_again;
    access->may_begin_again = false;
    db_begin(w->db, &info);
    EXPECT_EQ(access->ops->clear(access, testdef_table(w->db, TEST_NOTE)->table_id, &(uint64_t){0}),
              ABI_OK);
    for (uint32_t n = 0; n < rows; n++)
        EXPECT_EQ(put_note(w, access, n), ABI_OK);
    EXPECT_OK(db_commit(w->db, &writes, &changed));
    access->may_begin_again = may;
}

// In one transaction: a row may come, the table is cleared, a row may come.
static AbiErrno clear_between(World *w, Access *access, bool before, bool after) {
    uint64_t deleted;
    AbiErrno status = before ? put_note(w, access, UINT32_MAX) : ABI_OK;
    if (status == ABI_OK)
        status = access->ops->clear(access, testdef_table(w->db, TEST_NOTE)->table_id, &deleted);
    return status == ABI_OK && after ? put_note(w, access, UINT32_MAX) : status;
}

TEST(made, sends_a_call_beside_the_loop_only_where_it_may_go_and_has_much_to_look_at) {
    World w;
    world_init(&w, options);
    Access *access = db_access(w.db);
    const CatalogTable *note = testdef_table(w.db, TEST_NOTE);
    uint32_t wanted;
    db_set_aside(w.db, is_wanted, &wanted);
    struct {
        uint32_t rows;
        bool may, wants, before, after, goes;
    } cases[] = {
        {DB_LARGE_ROWS, true, true, false, false, true},
        {DB_LARGE_ROWS - 1, true, true, false, true, false},
        {DB_LARGE_ROWS, false, true, true, true, false},
        {DB_LARGE_ROWS, true, false, false, false, false},
        {DB_LARGE_ROWS, true, false, true, false, true},
        {DB_LARGE_ROWS, true, false, false, true, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        fill(&w, cases[i].rows);
        wanted = cases[i].wants ? note->table_id : 0;
        access->may_begin_again = cases[i].may;
        for (bool goes = cases[i].goes;; goes = false) {
            db_begin(w.db, &info);
            EXPECT(!db_is_aside(w.db));
            AbiErrno status = clear_between(&w, access, cases[i].before, cases[i].after);
            EXPECT_EQ(status, goes ? ABI_FATAL : ABI_OK);
            EXPECT_EQ(db_is_aside(w.db), goes);
            if (!goes) break;
            db_rollback(w.db);
            EXPECT_EQ(table_row_count(note->table, NULL), cases[i].rows);
            access->may_begin_again = false;  // as a call that has nowhere else to go
        }
        const WriteSet *writes;
        bool changed;
        EXPECT_OK(db_commit(w.db, &writes, &changed));
        EXPECT(changed);
        EXPECT_EQ(table_row_count(note->table, NULL), cases[i].after);
    }
    world_deinit(&w);
}

TEST_MAIN()
