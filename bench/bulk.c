// bench/bulk.c: what is left to the loop of a transaction of a million rows that was made ready beside it.
//
//   bulk [rows [dir]]       1 M rows, /tmp
//
// One thread is the loop, another the worker, as in the server; the log is on the disk. Each round
// updates every row of a table with three indexes, one by one. The lines are medians of the loop's
// thread: CPU time, and by the clock what it was away for.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "txn/def_testing.h"
#include "txn/overlay.h"

enum { ROUNDS = 5, STEPS = 6 };

typedef enum Step { APPLY, END_OVERLAY, COMMIT, FLUSH, END_ROWS, LANDED } Step;
static const char *const names[STEPS] = {
    "overlay_apply: the rest is checked, the branch adopted",
    "overlay_free",
    "db_commit: write set, log record",
    "db_flush_start: checksum, write",
    "between turns: what the commit kept goes",
    "until it is durable (and the loop's part of learning it)",
};

typedef struct Figures {
    double cpu[STEPS][ROUNDS], wall[STEPS][ROUNDS];
    int round;
    double cpu_ns, wall_ns;
} Figures;

static double clock_of(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void must(Err err) {
    if (err == OK) return;
    fprintf(stderr, "bulk bench: %s\n", err_name(err));
    exit(1);
}

static void begin(Figures *f) {
    f->cpu_ns = clock_of(CLOCK_THREAD_CPUTIME_ID);
    f->wall_ns = clock_of(CLOCK_MONOTONIC);
}

static void end(Figures *f, Step step) {
    f->cpu[step][f->round] = clock_of(CLOCK_THREAD_CPUTIME_ID) - f->cpu_ns;
    f->wall[step][f->round] = clock_of(CLOCK_MONOTONIC) - f->wall_ns;
    begin(f);
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median_ms(double *rounds) {
    qsort(rounds, ROUNDS, sizeof *rounds, by_value);
    return rounds[ROUNDS / 2] / 1e6;
}

// ── the database ───────────────────────────────────────────────────────────────────────────────

typedef struct World {
    Db *db;
    TestDef def;
    uint32_t item, rows, round;
    uint32_t by_id;
    Overlay *overlay;
} World;

static const CommitInfo info = {.timestamp = 1, .name = {"bench", 5}};

static void row_make(const World *w, uint32_t id, Buf *row) {
    buf_clear(row);
    testdef_item(row, id, "a name", (id + w->round) % 1000, id);
}

static void world_fill(World *w) {
    enum { EACH = 10000 };
    Buf row = {0}, generated = {0};
    for (uint32_t id = 1; id <= w->rows;) {
        const WriteSet *writes;
        bool changed;
        db_begin(w->db, &info);
        for (uint32_t i = 0; i < EACH && id <= w->rows; i++, id++) {
            row_make(w, id, &row);
            Access *access = db_access(w->db);
            buf_clear(&generated);
            if (access->ops->insert(access, w->item, buf_bytes(&row), &generated) != ABI_OK)
                must(ERR_NOMEM);
        }
        must(db_commit(w->db, &writes, &changed));
        must(db_flush(w->db, NULL));
    }
    buf_deinit(&row);
    buf_deinit(&generated);
}

static Err reserve(void *ctx, uint32_t table, uint32_t sequence, uint32_t count, Int128 *first) {
    return db_sequence_reserve(ctx, table, sequence, count, first);
}

static Err on_loop(void *ctx, Err (*run)(void *arg), void *arg) {
    (void)ctx;
    return run(arg);
}

static bool is_stopped(void *ctx) {
    (void)ctx;
    return false;
}

// The worker's thread. The loop's waits for it, so what is the loop's is done here.
static void *worker(void *ctx) {
    World *w = ctx;
    Buf row = {0}, generated = {0};
    Access *access = overlay_access(w->overlay);
    for (uint32_t id = 1; id <= w->rows; id++) {
        row_make(w, id, &row);
        buf_clear(&generated);
        if (access->ops->update(access, w->item, w->by_id, buf_bytes(&row), &generated) != ABI_OK)
            must(ERR_NOMEM);
    }
    must(overlay_validate(w->overlay));
    must(overlay_prepare(w->overlay));
    if (!overlay_is_prepared(w->overlay)) must(ERR_BUSY);
    buf_deinit(&row);
    buf_deinit(&generated);
    return NULL;
}

static void round_run(World *w, Figures *f) {
    OverlayEnv env = {
        .ctx = w->db,
        .reserve = reserve,
        .prepare = {.on_loop = on_loop, .is_stopped = is_stopped},
        .memory_max = (size_t)1 << 30,
    };
    const WriteSet *writes;
    bool changed;
    pthread_t thread;
    w->round++;
    must(overlay_new(w->db, &info, &env, &w->overlay));
    if (pthread_create(&thread, NULL, worker, w)) must(ERR_NOMEM);
    pthread_join(thread, NULL);
    begin(f);
    must(overlay_apply(w->overlay, NULL));
    end(f, APPLY);
    overlay_free(&w->overlay);
    end(f, END_OVERLAY);
    must(db_commit(w->db, &writes, &changed));
    end(f, COMMIT);
    must(db_flush_start(w->db, NULL));
    end(f, FLUSH);
    db_checkpoint_tick(w->db);
    end(f, END_ROWS);
    must(db_flush_poll(w->db, true, NULL));
    end(f, LANDED);
}

static void remove_all(const char *dir) {
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    if (system(command) != 0) fprintf(stderr, "%s stays\n", dir);
}

int main(int argc, char **argv) {
    static Figures f;
    World w = {.rows = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1000000};
    char dir[256];
    uint64_t torn;
    snprintf(dir, sizeof dir, "%s/lightcone-bulk-XXXXXX", argc > 2 ? argv[2] : "/tmp");
    if (!mkdtemp(dir)) must(ERR_IO);
    DbOptions options = {.io = io_real(), .dir = dir};
    must(db_open(&options, &w.db, &torn, NULL));
    testdef_init(&w.def);
    must(testdef_create(w.db, &w.def));
    w.item = testdef_table(w.db, TEST_ITEM)->table_id;
    w.by_id = testdef_index(w.db, "item_id_idx_btree");
    world_fill(&w);
    for (f.round = 0; f.round < ROUNDS; f.round++)
        round_run(&w, &f);
    printf("the loop's part of a commit of %u updates, ms %33s %9s\n", w.rows, "CPU", "clock");
    for (int step = 0; step < STEPS; step++)
        printf("  %-68s %9.2f %9.2f\n",
               names[step],
               median_ms(f.cpu[step]),
               median_ms(f.wall[step]));
    db_close(&w.db);
    testdef_deinit(&w.def);
    remove_all(dir);
    return 0;
}
