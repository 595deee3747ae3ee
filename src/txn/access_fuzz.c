// access_fuzz.c: calls of the module ABI from the input, on the head of one database and on an
// overlay of its twin. Answers and data must be the same at every step. Every 64 bytes of input are
// one transaction; its first byte says whether it is committed, and whether the overlay's twin makes
// a commit of its own meanwhile, which then has to be the only reason for a conflict.
#include "base/mem.h"
#include "txn/bulk_testing.h"
#include "txn/script_testing.h"
#include "txn/world_testing.h"

static const CommitInfo info = {.timestamp = 1, .name = {"fuzz", 4}};

// Made once, emptied for each input: opening a database is most of what an input would cost.
static void world_empty(World *w) {
    const WriteSet *writes;
    bool changed;
    uint64_t deleted;
    Access *access = db_access(w->db);
    db_begin(w->db, &info);
    for (int i = 0; i < TEST_TABLES; i++) {
        CatalogTable *table = testdef_table(w->db, i);
        ASSERT(access->ops->clear(access, table->table_id, &deleted) == ABI_OK);
        for (uint32_t k = 0; k < table->sequence_count; k++)
            table->sequences[k].next = table->sequences[k].start;
    }
    ASSERT(db_commit(w->db, &writes, &changed) == OK);
}

static void expect_same(const Buf *a, const Buf *b) {
    ASSERT(bytes_eq(buf_bytes(a), buf_bytes(b)));
}

// The same commit on both heads, while the overlay of `here` runs.
static void meanwhile(World *worlds, const Script *script) {
    for (int i = 0; i < 2; i++) {
        const WriteSet *writes;
        bool changed;
        Script copy = *script;
        Buf record = {0};
        db_begin(worlds[i].db, &info);
        (void)script_step(&copy, worlds[i].db, db_access(worlds[i].db), &record);
        ASSERT(db_commit(worlds[i].db, &writes, &changed) == OK);
        buf_deinit(&record);
    }
}

static void transaction(World *worlds, const uint8_t *bytes, size_t len) {
    World *here = &worlds[0], *there = &worlds[1];
    uint8_t how = bytes[0];
    // Beside another transaction the twin's sequences would stand elsewhere.
    Script mine = {bytes + 1, bytes + len, how & 1}, twin = mine, other = mine;
    Buf a = {0}, b = {0};
    Overlay *overlay;
    OverlayEnv env = {.ctx = here->db, .reserve = reserve_here};
    const WriteSet *writes;
    bool changed;
    ASSERT(overlay_new(here->db, &info, &env, &overlay) == OK);
    db_begin(there->db, &info);
    while (!script_done(&mine)) {
        ASSERT(script_step(&mine, here->db, overlay_access(overlay), &a));
        ASSERT(script_step(&twin, there->db, db_access(there->db), &b));
        expect_same(&a, &b);
    }
    if (how & 1) {  // only when nobody committed meanwhile is the overlay sure to pass
        db_rollback(there->db);
        meanwhile(worlds, &other);
        db_begin(there->db, &info);
        twin = other;
        buf_clear(&b);
        while (!script_done(&twin))
            ASSERT(script_step(&twin, there->db, db_access(there->db), &b));
    }
    Err err = overlay_apply(overlay, NULL);
    if (err == OK) {
        if (overlay_wrote(overlay)) expect_same(&a, &b);  // it is as if it had run just now
        ASSERT(db_commit(here->db, &writes, &changed) == OK);
        ASSERT(db_commit(there->db, &writes, &changed) == OK);
    } else {
        ASSERT(err == ERR_CONFLICT && (how & 1));
        db_rollback(there->db);
    }
    overlay_free(&overlay);
    buf_deinit(&a);
    buf_deinit(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static World worlds[2];
    Buf here = {0}, there = {0};
    if (size == 0 || size > 1 << 14) return 0;
    for (int i = 0; i < 2; i++) {
        if (!worlds[i].db) world_init(&worlds[i], (DbOptions){.in_memory = true});
        world_empty(&worlds[i]);
    }
    for (size_t at = 0; at < size; at += 64)
        transaction(worlds, data + at, MIN(size - at, (size_t)64));
    script_dump(worlds[0].db, &here);
    script_dump(worlds[1].db, &there);
    expect_same(&here, &there);
    Diag diag;
    ASSERT(store_check(db_store(worlds[0].db), &diag) == OK);
    buf_deinit(&here);
    buf_deinit(&there);
    return 0;
}
