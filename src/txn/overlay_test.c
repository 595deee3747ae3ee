#include "txn/overlay.h"

#include "base/mem.h"
#include "base/test.h"
#include "txn/bulk_testing.h"
#include "txn/script_testing.h"
#include "txn/world_testing.h"

static const DbOptions options = {.segment_bytes = 64 << 10};

static DbOptions with_history(size_t bytes_max) {
    DbOptions with = options;
    with.history_max = bytes_max;
    return with;
}

static const CommitInfo info = {.timestamp = 1, .name = {"test", 4}};

static Err overlay_make(World *w, Overlay **out) {
    OverlayEnv env = {.ctx = w->db, .reserve = reserve_here, .prepare = bulk_here()};
    return overlay_new(w->db, &info, &env, out);
}

static uint64_t next_random(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

static AbiErrno insert_item(World *w,
                            Access *access,
                            uint64_t id,
                            uint32_t v,
                            uint32_t code,
                            uint64_t *generated) {
    Buf row = {0}, gen = {0};
    testdef_item(&row, id, "x", v, code);
    AbiErrno status = access->ops->insert(access,
                                          testdef_table(w->db, TEST_ITEM)->table_id,
                                          buf_bytes(&row),
                                          &gen);
    if (generated) *generated = gen.len == 8 ? load_u64(gen.ptr) : 0;
    buf_deinit(&row);
    buf_deinit(&gen);
    return status;
}

static void head_insert(World *w, uint64_t id, uint32_t v, uint32_t code) {
    const WriteSet *writes;
    bool changed;
    db_begin(w->db, &info);
    EXPECT_EQ(insert_item(w, db_access(w->db), id, v, code, NULL), ABI_OK);
    EXPECT_OK(db_commit(w->db, &writes, &changed));
}

// ── the same as on the head ────────────────────────────────────────────────────────────────────

// What a write set says, whatever its order within a table. How far ahead a sequence is reserved on
// disk is left out: an overlay does that once, at its end.
static uint64_t writes_digest(const WriteSet *writes) {
    uint64_t sum = 0;
    for (size_t i = 0; i < writes->count; i++) {
        const TxnChange *change = &writes->changes[i];
        if (change->table_id == ST_SEQUENCE) continue;
        uint64_t one = bytes_hash(change->key) * 3 + change->table_id + change->is_event;
        if (change->old_row.ptr) one += bytes_hash(change->old_row) * 5;
        if (change->new_row.ptr) one += bytes_hash(change->new_row) * 7;
        sum += one * one;
    }
    return sum;
}

static void expect_same(const Buf *a, const Buf *b, uint64_t seed, const char *what) {
    if (a->len == b->len && (a->len == 0 || memcmp(a->ptr, b->ptr, a->len) == 0)) return;
    print_error("seed %llu: %s differs\n", (unsigned long long)seed, what);
    fail();
}

// One transaction from the same bytes, on an overlay here and on the head there.
static void transaction_on_both(World *here, World *there, uint64_t *state, uint64_t seed) {
    uint8_t bytes[900];
    Buf mine = {0}, twin = {0};
    Overlay *overlay;
    const WriteSet *writes;
    bool changed, twin_changed;
    size_t len = next_random(state) % sizeof bytes;
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)next_random(state);
    Script a = {.at = bytes, .end = bytes + len}, b = a;
    EXPECT_OK(overlay_make(here, &overlay));
    db_begin(there->db, &info);
    while (!script_done(&a)) {
        EXPECT(script_step(&a, here->db, overlay_access(overlay), &mine));
        EXPECT(script_step(&b, there->db, db_access(there->db), &twin));
        expect_same(&mine, &twin, seed, "an answer");
    }
    if (next_random(state) % 4 == 0) {
        db_rollback(there->db);
    } else {
        EXPECT_OK(db_commit(there->db, &writes, &twin_changed));
        EXPECT_OK(db_commit_rows(there->db, &writes));  // a table may go whole here, by rows there
        uint64_t twin_digest = writes_digest(writes);
        EXPECT_OK(overlay_validate(overlay));
        if (next_random(state) % 2) EXPECT_OK(overlay_prepare(overlay));
        EXPECT_OK(overlay_apply(overlay, NULL));
        EXPECT_OK(db_commit(here->db, &writes, &changed));
        EXPECT_OK(db_commit_rows(here->db, &writes));
        EXPECT_EQ(changed, twin_changed);
        EXPECT(writes_digest(writes) == twin_digest);
    }
    overlay_free(&overlay);
    buf_clear(&mine);
    buf_clear(&twin);
    script_dump(here->db, &mine);
    script_dump(there->db, &twin);
    expect_same(&mine, &twin, seed, "the data");
    buf_deinit(&mine);
    buf_deinit(&twin);
}

TEST(overlay, answers_every_call_as_the_head_would_and_leaves_the_same_data) {
    const char *text = getenv("SEED");
    uint64_t first = text ? strtoull(text, NULL, 10) : 1, last = text ? first : 40;
    for (uint64_t seed = first; seed <= last; seed++) {
        World here, there;
        uint64_t state = seed;
        world_init(&here, options);
        world_init(&there, options);
        for (int round = 0; round < 25; round++)
            transaction_on_both(&here, &there, &state, seed);
        Diag diag = {0};
        EXPECT_OK(store_check(db_store(here.db), &diag));
        world_deinit(&here);
        world_deinit(&there);
    }
}

// ── validation ─────────────────────────────────────────────────────────────────────────────────

static bool ignore_row(void *ctx, Bytes row) {
    (void)ctx, (void)row;
    return true;
}

static void scan_code(World *w, Access *access, uint32_t code) {
    uint8_t key[4];
    store_u32(key, code);
    EXPECT_EQ(access->ops->scan_point(access,
                                      testdef_index(w->db, "item_code_idx_btree"),
                                      BYTES(key, 4),
                                      (RowSink){ignore_row, NULL}),
              ABI_OK);
}

static void apply_and_commit(World *w, Overlay *overlay) {
    const WriteSet *writes;
    bool changed;
    EXPECT_OK(overlay_apply(overlay, NULL));
    EXPECT_OK(db_commit(w->db, &writes, &changed));
}

TEST(overlay, conflicts_with_what_it_read_and_with_nothing_else) {
    World w;
    Overlay *overlay;
    world_init(&w, options);
    head_insert(&w, 1, 1, 1);

    EXPECT_OK(overlay_make(&w, &overlay));  // another row: both pass
    EXPECT_EQ(insert_item(&w, overlay_access(overlay), 2, 1, 2, NULL), ABI_OK);
    head_insert(&w, 3, 1, 3);
    EXPECT_OK(overlay_validate(overlay));
    apply_and_commit(&w, overlay);
    overlay_free(&overlay);

    EXPECT_OK(overlay_make(&w, &overlay));  // the same unique key
    EXPECT_EQ(insert_item(&w, overlay_access(overlay), 4, 1, 4, NULL), ABI_OK);
    head_insert(&w, 5, 1, 4);
    EXPECT_ERR(overlay_validate(overlay), ERR_CONFLICT);
    EXPECT_ERR(overlay_apply(overlay, NULL), ERR_CONFLICT);
    EXPECT(!db_in_transaction(w.db));
    overlay_free(&overlay);

    EXPECT_OK(overlay_make(&w, &overlay));  // a key it looked for in vain
    scan_code(&w, overlay_access(overlay), 77);
    EXPECT_EQ(insert_item(&w, overlay_access(overlay), 6, 1, 6, NULL), ABI_OK);
    head_insert(&w, 7, 1, 77);
    EXPECT_ERR(overlay_apply(overlay, NULL), ERR_CONFLICT);
    overlay_free(&overlay);

    EXPECT_OK(overlay_make(&w, &overlay));  // only read: valid at its snapshot
    scan_code(&w, overlay_access(overlay), 78);
    head_insert(&w, 8, 1, 78);
    EXPECT(!overlay_wrote(overlay));
    EXPECT_OK(overlay_validate(overlay));
    apply_and_commit(&w, overlay);
    overlay_free(&overlay);
    world_deinit(&w);
}

// Every row by its key, which is no look at the whole table.
static void delete_items(World *w, Access *access, uint64_t last) {
    uint8_t key[8];
    uint32_t deleted;
    for (uint64_t id = 1; id <= last; id++) {
        store_u64(key, id);
        EXPECT_EQ(access->ops->delete_point(access,
                                            testdef_index(w->db, "item_id_idx_btree"),
                                            BYTES(key, 8),
                                            &deleted),
                  ABI_OK);
        EXPECT_EQ(deleted, 1);
    }
}

TEST(overlay, that_deletes_all_rows_one_by_one_clears_the_table_unless_others_came) {
    World w;
    Overlay *overlay, *reader;
    const WriteSet *writes;
    bool changed;
    world_init(&w, options);
    for (uint32_t id = 1; id <= 20; id++)
        head_insert(&w, id, id, id);
    Table *items = testdef_table(w.db, TEST_ITEM)->table;

    EXPECT_OK(overlay_make(&w, &overlay));
    delete_items(&w, overlay_access(overlay), 20);
    head_insert(&w, 99, 1, 99);
    apply_and_commit(&w, overlay);
    overlay_free(&overlay);
    EXPECT_EQ(table_row_count(items, NULL), 1);

    for (uint32_t id = 1; id <= 20; id++)
        head_insert(&w, id, id, id);
    EXPECT_OK(overlay_make(&w, &overlay));
    EXPECT_OK(overlay_make(&w, &reader));
    scan_code(&w, overlay_access(reader), 3);
    EXPECT_EQ(insert_item(&w, overlay_access(reader), 200, 1, 200, NULL), ABI_OK);
    delete_items(&w, overlay_access(overlay), 20);
    uint8_t key[8];
    uint32_t deleted;
    store_u64(key, 99);
    Access *access = overlay_access(overlay);
    EXPECT_EQ(access->ops->delete_point(access,
                                        testdef_index(w.db, "item_id_idx_btree"),
                                        BYTES(key, 8),
                                        &deleted),
              ABI_OK);
    EXPECT_OK(overlay_apply(overlay, NULL));
    EXPECT_OK(db_commit(w.db, &writes, &changed));
    EXPECT(changed && writes->count == 1 && writes->changes[0].is_clear);
    EXPECT_EQ(table_row_count(items, NULL), 0);
    EXPECT_ERR(overlay_validate(reader), ERR_CONFLICT);  // who read one of them is stale
    overlay_free(&overlay);
    overlay_free(&reader);
    world_deinit(&w);
}

TEST(overlay, compares_reads_made_after_a_check_with_what_the_check_had_passed) {
    World w;
    Overlay *overlay;
    world_init(&w, options);
    EXPECT_OK(overlay_make(&w, &overlay));
    EXPECT_EQ(insert_item(&w, overlay_access(overlay), 1, 1, 1, NULL), ABI_OK);
    head_insert(&w, 2, 1, 55);
    EXPECT_OK(overlay_validate(overlay));
    scan_code(&w, overlay_access(overlay), 55);  // the snapshot does not have it
    EXPECT_ERR(overlay_validate(overlay), ERR_CONFLICT);
    overlay_free(&overlay);
    world_deinit(&w);
}

TEST(history, is_kept_only_while_an_overlay_runs_and_dooms_the_oldest_beyond_its_bound) {
    World w;
    Overlay *old, *young;
    world_init(&w, with_history(128 << 10));
    EXPECT_OK(overlay_make(&w, &old));
    EXPECT_EQ(insert_item(&w, overlay_access(old), 1000000, 1, 1000000, NULL), ABI_OK);
    EXPECT_OK(overlay_validate(old));
    for (uint32_t i = 1; i <= 1000; i++)
        head_insert(&w, i, 1, i);
    EXPECT_OK(overlay_make(&w, &young));
    EXPECT_EQ(insert_item(&w, overlay_access(young), 2000000, 1, 2000000, NULL), ABI_OK);
    for (uint32_t i = 1001; i <= 2000; i++)
        head_insert(&w, i, 1, i);
    EXPECT_ERR(overlay_validate(old), ERR_CONFLICT);  // nothing it read changed, but who knows
    EXPECT_ERR(overlay_apply(old, NULL), ERR_CONFLICT);
    apply_and_commit(&w, young);
    overlay_free(&young);
    overlay_free(&old);
    EXPECT_EQ(store_stats(db_store(w.db)).snapshots_live, 0);
    world_deinit(&w);
}

TEST(history, a_commit_larger_than_the_bound_ends_everybody_and_nothing_else) {
    World w;
    Overlay *overlay;
    const WriteSet *writes;
    bool changed;
    world_init(&w, with_history(32 << 10));
    EXPECT_OK(overlay_make(&w, &overlay));
    EXPECT_EQ(insert_item(&w, overlay_access(overlay), 9999, 1, 9999, NULL), ABI_OK);
    db_begin(w.db, &info);
    for (uint32_t i = 1; i <= 1000; i++)
        EXPECT_EQ(insert_item(&w, db_access(w.db), i, 1, i, NULL), ABI_OK);
    EXPECT_OK(db_commit(w.db, &writes, &changed));
    EXPECT_ERR(overlay_apply(overlay, NULL), ERR_CONFLICT);
    overlay_free(&overlay);
    EXPECT_OK(overlay_make(&w, &overlay));
    EXPECT_EQ(insert_item(&w, overlay_access(overlay), 9999, 1, 9999, NULL), ABI_OK);
    apply_and_commit(&w, overlay);
    overlay_free(&overlay);
    world_deinit(&w);
}

// Two rows that are there, then half a row.
static void delete_half_a_relation(World *w, Access *access) {
    Buf relation = {0};
    uint32_t deleted = 0;
    uint64_t count = 0;
    uint32_t table = testdef_table(w->db, TEST_ITEM)->table_id;
    for (uint32_t i = 1; i <= 2; i++)
        EXPECT_EQ(insert_item(w, access, i, 1, i, NULL), ABI_OK);
    buf_put_u32(&relation, 3);
    testdef_item(&relation, 1, "x", 1, 1);
    testdef_item(&relation, 2, "x", 1, 2);
    buf_put_u32(&relation, 3);
    EXPECT_EQ(access->ops->delete_all_by_eq(access, table, buf_bytes(&relation), &deleted),
              ABI_BSATN_DECODE_ERROR);
    EXPECT_EQ(access->ops->row_count(access, table, &count), ABI_OK);
    EXPECT_EQ(count, 2);
    buf_deinit(&relation);
}

TEST(overlay, deletes_no_row_of_a_relation_that_is_malformed_nor_does_the_head) {
    World w;
    Overlay *overlay;
    world_init(&w, options);
    EXPECT_OK(overlay_make(&w, &overlay));
    delete_half_a_relation(&w, overlay_access(overlay));
    overlay_free(&overlay);
    db_begin(w.db, &info);
    delete_half_a_relation(&w, db_access(w.db));
    db_rollback(w.db);
    world_deinit(&w);
}

TEST(overlay, ends_a_call_that_wants_too_much_memory) {
    World w;
    Overlay *overlay;
    world_init(&w, options);
    OverlayEnv env = {.ctx = w.db, .reserve = reserve_here, .memory_max = 64 << 10};
    EXPECT_OK(overlay_new(w.db, &info, &env, &overlay));
    AbiErrno status = ABI_OK;
    uint32_t rows = 0;
    for (; status == ABI_OK && rows < 100000; rows++)
        status = insert_item(&w, overlay_access(overlay), rows + 1, 1, rows, NULL);
    EXPECT_EQ(status, ABI_FATAL);
    EXPECT(rows > 50);
    overlay_free(&overlay);
    world_deinit(&w);
}

TEST(overlay, changing_one_row_again_and_again_takes_no_more_memory) {
    World w;
    Overlay *overlay;
    Buf row = {0}, gen = {0};
    world_init(&w, options);
    head_insert(&w, 1, 1, 1);
    EXPECT_OK(overlay_make(&w, &overlay));
    Access *access = overlay_access(overlay);
    size_t after_first = 0;
    for (uint32_t i = 0; i < 5000; i++) {
        buf_clear(&row);
        testdef_item(&row, 1, i % 2 ? "a longer name than before" : "x", i % 7, i % 5);
        EXPECT_EQ(access->ops->update(access,
                                      testdef_table(w.db, TEST_ITEM)->table_id,
                                      testdef_index(w.db, "item_id_idx_btree"),
                                      buf_bytes(&row),
                                      &gen),
                  ABI_OK);
        if (i == 100) after_first = overlay_bytes(overlay);
    }
    EXPECT(overlay_bytes(overlay) <= after_first + 4096);
    overlay_free(&overlay);
    buf_deinit(&row);
    buf_deinit(&gen);
    world_deinit(&w);
}

// ── sequences ──────────────────────────────────────────────────────────────────────────────────

TEST(sequence, values_of_overlays_and_the_head_never_collide_and_unused_ones_come_back) {
    World w;
    Overlay *overlay;
    uint64_t id, head_id;
    world_init(&w, options);
    EXPECT_OK(overlay_make(&w, &overlay));
    EXPECT_EQ(insert_item(&w, overlay_access(overlay), 0, 1, 1, &id), ABI_OK);
    EXPECT_EQ(id, 1);
    overlay_free(&overlay);

    db_begin(w.db, &info);  // nobody drew behind it: 2 to 16 came back
    EXPECT_EQ(insert_item(&w, db_access(w.db), 0, 1, 2, &head_id), ABI_OK);
    EXPECT_EQ(head_id, 2);
    db_rollback(w.db);

    EXPECT_OK(overlay_make(&w, &overlay));
    EXPECT_EQ(insert_item(&w, overlay_access(overlay), 0, 1, 1, &id), ABI_OK);
    EXPECT_EQ(id, 3);
    db_begin(w.db, &info);
    EXPECT_EQ(insert_item(&w, db_access(w.db), 0, 1, 2, &head_id), ABI_OK);
    EXPECT_EQ(head_id, 19);  // behind the block of 16
    db_rollback(w.db);
    for (uint32_t i = 0; i < 40; i++) {
        uint64_t next;
        EXPECT_EQ(insert_item(&w, overlay_access(overlay), 0, 1, 100 + i, &next), ABI_OK);
        EXPECT(next > id && next != head_id);
        id = next;
    }
    apply_and_commit(&w, overlay);
    overlay_free(&overlay);
    db_begin(w.db, &info);
    EXPECT_EQ(insert_item(&w, db_access(w.db), 0, 1, 3, &head_id), ABI_OK);
    EXPECT_EQ(head_id, id + 1);
    db_rollback(w.db);
    world_deinit(&w);
}

TEST(sequence, a_restart_never_gives_out_a_value_that_an_overlay_committed) {
    World w;
    uint64_t last = 0, id;
    world_init(&w, options);
    for (int round = 0; round < 4; round++) {
        Overlay *overlay;
        EXPECT_OK(overlay_make(&w, &overlay));
        for (int i = 0; i < 3000; i++) {  // four rounds cross a block of 4096 on disk
            EXPECT_EQ(
                insert_item(&w, overlay_access(overlay), 0, 1, (uint32_t)(round * 10000 + i), &id),
                ABI_OK);
            EXPECT(id > last);
            last = id;
        }
        if (round % 2) db_begin(w.db, &info), db_rollback(w.db);
        apply_and_commit(&w, overlay);
        overlay_free(&overlay);
        EXPECT_OK(db_flush(w.db, NULL));
        db_close(&w.db);
        world_open(&w, options);
    }
    world_deinit(&w);
}

// ── memory ─────────────────────────────────────────────────────────────────────────────────────

static uint64_t data_digest(const Db *db) {
    Buf all = {0};
    script_dump(db, &all);
    uint64_t digest = bytes_hash(buf_bytes(&all));
    buf_deinit(&all);
    return digest;
}

TEST(overlay, the_nth_allocation_failing_leaves_the_head_as_it_was) {
    World w;
    world_init(&w, options);
    for (uint32_t i = 1; i < 15; i++)
        head_insert(&w, i, i, i);
    uint64_t before = data_digest(w.db);
    for (int64_t nth = 0;; nth++) {
        Overlay *overlay = NULL;
        uint8_t bytes[300];
        uint64_t state = 7;
        Buf record = {0};
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)next_random(&state);
        Script script = {.at = bytes, .end = bytes + sizeof bytes};
        mem_fault_arm(nth);
        Err err = overlay_make(&w, &overlay);
        bool going = err == OK;
        while (going && !script_done(&script))
            going = script_step(&script, w.db, overlay_access(overlay), &record);
        if (going) {
            err = overlay_validate(overlay);
            if (err == OK && nth % 2) err = overlay_prepare(overlay);
            if (err == OK) err = overlay_apply(overlay, NULL);
        }
        bool hit = mem_fault_hit();
        mem_fault_arm(-1);
        if (going && err == OK) db_rollback(w.db);
        EXPECT(!db_in_transaction(w.db));
        EXPECT(data_digest(w.db) == before);
        overlay_free(&overlay);
        buf_deinit(&record);
        if (!hit && nth % 2) break;
    }
    world_deinit(&w);
}

TEST(history, running_out_of_memory_in_a_commit_ends_overlays_not_the_commit) {
    World w;
    world_init(&w, options);
    uint32_t id = 1;
    for (int64_t nth = 0;; nth++) {
        Overlay *overlay;
        EXPECT_OK(overlay_make(&w, &overlay));
        EXPECT_EQ(insert_item(&w, overlay_access(overlay), 900000, 1, 900000, NULL), ABI_OK);
        for (int i = 0; i < 400; i++, id++)
            head_insert(&w, id, 1, id);
        db_begin(w.db, &info);
        for (int i = 0; i < 200; i++, id++)
            EXPECT_EQ(insert_item(&w, db_access(w.db), id, 1, id, NULL), ABI_OK);
        const WriteSet *writes;
        bool changed;
        mem_fault_arm(nth);
        Err err = db_commit(w.db, &writes, &changed);
        bool hit = mem_fault_hit();
        mem_fault_arm(-1);
        Err valid = overlay_validate(overlay);
        EXPECT(err == OK || valid == OK);  // a commit that failed changed nothing
        EXPECT(hit || (err == OK && valid == OK));
        overlay_free(&overlay);
        if (!hit) break;
    }
    world_deinit(&w);
}

TEST_MAIN()
