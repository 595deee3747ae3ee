#include "txn/lookout.h"

#include "base/mem.h"
#include "base/test.h"
#include "txn/world_testing.h"

static uint32_t items(const World *w) {
    return testdef_table(w->db, TEST_ITEM)->table_id;
}

static AbiErrno insert(const World *w, Access *access, uint64_t id) {
    Buf row = {0}, generated = {0};
    testdef_item(&row, id, "x", 1, (uint32_t)id);
    AbiErrno status = access->ops->insert(access, items(w), buf_bytes(&row), &generated);
    buf_deinit(&row);
    buf_deinit(&generated);
    return status;
}

static void commit_one(World *w, uint64_t id) {
    const WriteSet *writes;
    bool changed;
    db_begin(w->db, &(CommitInfo){.timestamp = 1, .name = {"test", 4}});
    EXPECT_EQ(insert(w, db_access(w->db), id), ABI_OK);
    EXPECT_OK(db_commit(w->db, &writes, &changed));
}

static uint64_t count(const World *w, Access *access) {
    uint64_t rows = 0;
    EXPECT_EQ(access->ops->row_count(access, items(w), &rows), ABI_OK);
    return rows;
}

TEST(lookout, sees_its_moment_and_knows_when_that_is_over) {
    World w;
    Lookout *early, *late, *idle;
    world_init(&w, (DbOptions){.in_memory = true});
    commit_one(&w, 1);
    EXPECT_OK(lookout_new(w.db, &early));
    EXPECT_OK(lookout_new(w.db, &idle));
    EXPECT_EQ(count(&w, lookout_access(early)), 1);
    EXPECT_OK(lookout_fresh(early));
    commit_one(&w, 2);
    EXPECT_EQ(count(&w, lookout_access(early)), 1);
    EXPECT_ERR(lookout_fresh(early), ERR_CONFLICT);
    EXPECT_OK(lookout_fresh(idle));  // it read nothing
    EXPECT_OK(lookout_new(w.db, &late));
    EXPECT_EQ(count(&w, lookout_access(late)), 2);
    EXPECT_OK(lookout_fresh(late));
    EXPECT(lookout_version(late) > lookout_version(early));
    EXPECT(readset_reads_table(lookout_reads(late), items(&w)));
    lookout_free(&early);
    lookout_free(&late);
    lookout_free(&idle);
    world_deinit(&w);
}

TEST(lookout, does_not_write) {
    World w;
    Lookout *lookout;
    world_init(&w, (DbOptions){.in_memory = true});
    EXPECT_OK(lookout_new(w.db, &lookout));
    EXPECT_EQ(insert(&w, lookout_access(lookout), 1), ABI_TRANSACTION_IS_READ_ONLY);
    lookout_free(&lookout);
    world_deinit(&w);
}

TEST(lookout, without_memory_is_none) {
    World w;
    world_init(&w, (DbOptions){.in_memory = true});
    for (int64_t n = 0;; n++) {
        Lookout *lookout = NULL;
        mem_fault_arm(n);
        Err err = lookout_new(w.db, &lookout);
        bool hit = mem_fault_hit();
        mem_fault_arm(-1);
        EXPECT_EQ(err, hit ? ERR_NOMEM : OK);
        lookout_free(&lookout);
        if (!hit) break;
    }
    world_deinit(&w);
}

TEST_MAIN()
