// bench/txn.c: what transactions beside the head cost: snapshots, overlays, validation, watchers.
//
// Run it as `build/release/bench/txn`. Each line is the median of several rounds, in CPU time of the
// thread: nothing here waits, and other work on the machine should not count.
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "sim/sim.h"
#include "txn/def_testing.h"
#include "txn/overlay.h"
#include "txn/watch.h"

enum { ROUNDS = 9 };

static double now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void must(Err err) {
    if (err == OK) return;
    fprintf(stderr, "txn bench: %s\n", err_name(err));
    exit(1);
}

static void must_abi(AbiErrno status) {
    if (status == ABI_OK) return;
    fprintf(stderr, "txn bench: %s\n", abi_errno_text(status));
    exit(1);
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void report(const char *what, double *rounds) {
    qsort(rounds, ROUNDS, sizeof *rounds, by_value);
    printf("%-62s %12.0f ns\n", what, rounds[ROUNDS / 2]);
}

// ── snapshots ──────────────────────────────────────────────────────────────────────────────────

static void snapshots(uint32_t tables, uint32_t rows) {
    Store *store;
    Arena arena = {0};
    Table *first = NULL;
    static const uint16_t column[] = {0};
    const TypeField fields[] = {{STR("id"), type_simple(TYPE_U64)},
                                {STR("v"), type_simple(TYPE_U64)}};
    const Type *type = type_product(&arena, fields, 2);
    must(store_open(&(StoreOptions){0}, &store));
    store_begin(store);
    for (uint32_t i = 0; i < tables; i++) {
        Table *table;
        StoreIndexSpec index = {i + 1, column, 1, true};
        must(store_table_create(store, &(StoreTableSpec){i + 1, type, 0, &index, 1}, &table));
        if (!first) first = table;
    }
    for (uint64_t i = 0; i < rows; i++) {
        uint8_t row[16] = {0};
        store_u64(row, i);
        must(table_insert(first, BYTES(row, 16), NULL, NULL));
    }
    store_commit(store);

    enum { EACH = 200 };
    double take[ROUNDS], end[ROUNDS];
    for (int round = 0; round < ROUNDS; round++) {
        double taken = 0, ended = 0;
        for (int i = 0; i < EACH; i++) {
            Snapshot *snapshot;
            store_begin(store);
            store_commit(store);  // another version, or the last snapshot would be shared
            double start = now_ns();
            must(store_snapshot(store, &snapshot));
            double middle = now_ns();
            snapshot_release(&snapshot);
            taken += middle - start;
            ended += now_ns() - middle;
        }
        take[round] = taken / EACH;
        end[round] = ended / EACH;
    }
    char text[80];
    snprintf(text, sizeof text, "take a snapshot: %u tables, %u rows", tables, rows);
    report(text, take);
    report("  and end it", end);
    store_close(&store);
    arena_deinit(&arena);
}

// ── overlays ───────────────────────────────────────────────────────────────────────────────────

typedef struct World {
    Sim *sim;
    Db *db;
    TestDef def;
    uint32_t item;
    uint32_t next;
} World;

static const CommitInfo info = {.timestamp = 1, .name = {"bench", 5}};

static void world_init(World *w) {
    uint64_t torn;
    *w = (World){.next = 1};
    must(sim_new(1, &w->sim));
    testdef_init(&w->def);
    DbOptions options = {.io = sim_io(w->sim), .dir = "db", .in_memory = true};
    must(db_open(&options, &w->db, &torn, NULL));
    must(testdef_create(w->db, &w->def));
    w->item = testdef_table(w->db, TEST_ITEM)->table_id;
}

static void world_deinit(World *w) {
    db_close(&w->db);
    testdef_deinit(&w->def);
    sim_free(&w->sim);
}

static Err reserve(void *ctx, uint32_t table, uint32_t sequence, uint32_t count, Int128 *first) {
    return db_sequence_reserve(ctx, table, sequence, count, first);
}

static void insert(World *w, Access *access, uint32_t id) {
    static Buf row, generated;
    buf_clear(&row);
    buf_clear(&generated);
    testdef_item(&row, id, "a name of some length", id % 100, id);
    must_abi(access->ops->insert(access, w->item, buf_bytes(&row), &generated));
}

static void head_commit(World *w, uint32_t rows) {
    const WriteSet *writes;
    bool changed;
    db_begin(w->db, &info);
    for (uint32_t i = 0; i < rows; i++)
        insert(w, db_access(w->db), w->next++);
    must(db_commit(w->db, &writes, &changed));
}

static void transactions(World *w, uint32_t rows, uint32_t each, bool on_overlay) {
    double rounds[ROUNDS];
    for (int round = 0; round < ROUNDS; round++) {
        double start = now_ns();
        for (uint32_t n = 0; n < each; n++) {
            const WriteSet *writes;
            bool changed;
            Overlay *overlay;
            if (!on_overlay) {
                head_commit(w, rows);
                continue;
            }
            OverlayEnv env = {.ctx = w->db, .reserve = reserve};
            must(overlay_new(w->db, &info, &env, &overlay));
            for (uint32_t i = 0; i < rows; i++)
                insert(w, overlay_access(overlay), w->next++);
            must(overlay_validate(overlay));
            must(overlay_apply(overlay, NULL));
            must(db_commit(w->db, &writes, &changed));
            overlay_free(&overlay);
        }
        rounds[round] = (now_ns() - start) / each;
        must(db_flush(w->db, NULL));
    }
    char text[80];
    snprintf(text,
             sizeof text,
             "a transaction of %u inserts %s",
             rows,
             on_overlay ? "on an overlay, applied" : "on the head");
    report(text, rounds);
}

// What a commit pays while somebody runs beside it, and the check of what it left.
static void validation(World *w) {
    enum { COMMITS = 20000 };
    double commit[ROUNDS], alone[ROUNDS], check[ROUNDS];
    for (int round = 0; round < ROUNDS; round++) {
        Overlay *overlay;
        double start = now_ns();
        for (int i = 0; i < COMMITS; i++)
            head_commit(w, 1);
        alone[round] = (now_ns() - start) / COMMITS;
        OverlayEnv env = {.ctx = w->db, .reserve = reserve};
        must(overlay_new(w->db, &info, &env, &overlay));
        for (uint32_t i = 0; i < 100; i++)
            insert(w, overlay_access(overlay), 4000000000u + i);
        start = now_ns();
        for (int i = 0; i < COMMITS; i++)
            head_commit(w, 1);
        commit[round] = (now_ns() - start) / COMMITS;
        start = now_ns();
        must(overlay_validate(overlay));
        check[round] = (now_ns() - start) / COMMITS;
        overlay_free(&overlay);
        must(db_flush(w->db, NULL));
    }
    report("a commit of one insert, nobody beside it", alone);
    report("the same while an overlay runs (history is kept, pages are copied)", commit);
    report("checking one row of history against 100 inserts' reads", check);
}

// ── watchers ───────────────────────────────────────────────────────────────────────────────────

static void nobody(void *ctx, void *owner) {
    (void)ctx, (void)owner;
}

static void watching(World *w, uint32_t count) {
    enum { COMMITS = 100000 };
    Watchers *watchers;
    ReadSet *set;
    Watch **watches = calloc(count, sizeof *watches);
    double rounds[ROUNDS];
    must(watchers_new(&watchers));
    must(readset_new(&set));
    uint32_t index = testdef_index(w->db, "item_v_idx_btree");
    for (uint32_t i = 0; i < count; i++) {
        uint8_t key[4] = {(uint8_t)(i >> 24), (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i};
        readset_clear(set);
        must(readset_point(set, w->item, index, BYTES(key, 4)));
        must(watch_add(watchers, set, NULL, &watches[i]));
    }
    Buf row = {0}, key = {0};
    Table *table = testdef_table(w->db, TEST_ITEM)->table;
    testdef_item(&row, 1, "x", UINT32_MAX, 1);
    table_row_key(table, buf_bytes(&row), &key);
    TxnChange change = {.table = table,
                        .table_id = w->item,
                        .key = buf_bytes(&key),
                        .new_row = buf_bytes(&row)};
    for (int round = 0; round < ROUNDS; round++) {
        double start = now_ns();
        for (int i = 0; i < COMMITS; i++)
            must(watchers_match(watchers, &change, 1, nobody, NULL));
        rounds[round] = (now_ns() - start) / COMMITS;
    }
    char text[80];
    snprintf(text, sizeof text, "matching a row that none of %u watchers wants", count);
    report(text, rounds);
    for (uint32_t i = 0; i < count; i++)
        watch_remove(watchers, &watches[i]);
    free(watches);
    readset_free(&set);
    watchers_free(&watchers);
    buf_deinit(&row);
    buf_deinit(&key);
}

int main(void) {
    World w;
    snapshots(1, 1000000);
    snapshots(20, 1000000);
    snapshots(1000, 1000000);
    world_init(&w);
    transactions(&w, 10, 2000, false);
    transactions(&w, 10, 2000, true);
    transactions(&w, 1000, 20, false);
    transactions(&w, 1000, 20, true);
    validation(&w);
    watching(&w, 1);
    watching(&w, 100000);
    world_deinit(&w);
    return 0;
}
