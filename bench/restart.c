// bench/restart.c: what a page file costs and what it buys.
//
// Run it as `build/release/bench/restart [rows [dir]]`, on the disk to be measured. A child process
// loads the rows through the log, as a server does, and kills itself; then
//   restart        opening the database again, and the first reads
//   log flush      a commit and its fdatasync, alone and while a checkpoint is being written
//   beyond memory  random rows with a memory limit of a quarter of the file, next to random reads of
//                  8 KiB from the same file, both with the kernel's cache of it thrown away
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "txn/def_testing.h"

static uint64_t rows = 10000000;
static char log_dir[512], page_file[512];

static double now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static uint64_t random_state = 42;
static uint64_t random_below(uint64_t limit) {
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (z ^ (z >> 31)) % limit;
}

static void must(Err err, const Diag *diag) {
    if (err == OK) return;
    fprintf(stderr, "restart bench: %s %s\n", err_name(err), diag ? diag->text : "");
    exit(1);
}

static Db *open_db(size_t memory_max) {
    Db *db;
    Diag diag = {0};
    uint64_t torn;
    DbOptions options = {
        .io = io_real(),
        .dir = log_dir,
        .page_file = page_file,
        .memory_max = memory_max,
    };
    must(db_open(&options, &db, &torn, &diag), &diag);
    return db;
}

// Rows of `timer` (id u64, at ScheduleAt): 17 bytes, by primary key.
static Bytes timer_row(uint8_t row[17], uint64_t id, uint64_t at) {
    store_u64(row, id);
    row[8] = 1;
    store_u64(row + 9, at);
    return BYTES(row, 17);
}

static Bytes key_of(uint8_t key[8], uint64_t id) {
    store_u64(key, __builtin_bswap64(id));
    return BYTES(key, 8);
}

static void commit(Db *db) {
    const WriteSet *writes;
    bool changed;
    must(db_commit(db, &writes, &changed), NULL);
}

static void load(void) {
    TestDef def;
    Db *db = open_db(0);
    testdef_init(&def);
    must(testdef_create(db, &def), NULL);
    Table *table = testdef_table(db, TEST_TIMER)->table;
    uint8_t row[17];
    for (uint64_t id = 1; id <= rows;) {
        db_begin(db, &(CommitInfo){.timestamp = 1, .name = STR("load")});
        for (int n = 0; n < 100 && id <= rows; n++, id++) {
            must(table_insert(table, timer_row(row, id, id), NULL, NULL), NULL);
        }
        commit(db);
        if (id % 10000 < 100) must(db_flush(db, NULL), NULL);
        db_checkpoint_tick(db);
    }
    must(db_flush(db, NULL), NULL);
    DbCheckpointStats stats;
    db_checkpoint_stats(db, &stats);
    printf("loaded: %llu checkpoints, %.0f MiB of log since the last\n",
           (unsigned long long)stats.done,
           (double)stats.log_bytes / (1 << 20));
    fflush(stdout);
    _exit(0);  // as by kill -9: nothing is closed
}

static void read_rows(const Db *db, uint64_t count) {
    const Table *table = testdef_table(db, TEST_TIMER)->table;
    uint8_t key[8];
    Bytes row;
    for (uint64_t i = 0; i < count; i++) {
        must(table_get(table, NULL, key_of(key, 1 + random_below(rows)), &row), NULL);
        store_breathe(db_store(db));
    }
}

static void restart(void) {
    double start = now_ns();
    Db *db = open_db(0);
    double opened = now_ns();
    read_rows(db, 1);
    double first = now_ns();
    read_rows(db, 100000);
    double warm = now_ns();
    if (table_row_count(testdef_table(db, TEST_TIMER)->table, NULL) != rows)
        must(ERR_CORRUPT, NULL);
    printf("restart                  %8.1f ms   first read after %.2f ms, 100,000 reads %.0f ms\n",
           (opened - start) / 1e6,
           (first - opened) / 1e6,
           (warm - first) / 1e6);
    Diag diag = {0};
    must(db_checkpoint_now(db, &diag), &diag);
    db_close(&db);
    start = now_ns();
    db = open_db(0);
    printf("restart after a stop     %8.1f ms\n", (now_ns() - start) / 1e6);
    db_close(&db);
}

// ── latency ────────────────────────────────────────────────────────────────────────────────────

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

enum { SAMPLES_MAX = 400000 };
static double samples[SAMPLES_MAX];

static void print_latency(const char *what, uint64_t count) {
    qsort(samples, count, sizeof samples[0], compare);
    printf("%-24s %8.3f ms p50  %8.3f ms p99  %8.3f ms p99.9  %8.3f ms most  (%llu)\n",
           what,
           samples[count / 2] / 1e6,
           samples[count * 99 / 100] / 1e6,
           samples[count * 999 / 1000] / 1e6,
           samples[count - 1] / 1e6,
           (unsigned long long)count);
}

// A turn of a loop: some updates of random rows, a flush, a tick.
static void turn(Db *db) {
    Table *table = testdef_table(db, TEST_TIMER)->table;
    uint32_t index = table_index_at(table, 0).index_id;
    uint8_t row[17];
    for (int n = 0; n < 16; n++) {
        db_begin(db, &(CommitInfo){.timestamp = 1, .name = STR("update")});
        Bytes bytes = timer_row(row, 1 + random_below(rows), random_below(1u << 30));
        must(table_replace(table, index, bytes, NULL, NULL), NULL);
        commit(db);
    }
    must(db_flush(db, NULL), NULL);
    db_checkpoint_tick(db);
}

static uint64_t turns(Db *db, uint64_t count, bool while_running) {
    uint64_t n = 0;
    for (; n < count && (!while_running || db_checkpoint_running(db)); n++) {
        double start = now_ns();
        turn(db);
        samples[n] = now_ns() - start;
    }
    return n;
}

static void latency(void) {
    Db *db = open_db(0);
    for (int i = 0; i < 8000; i++) {
        turn(db);  // pages come in, the checkpoint's freeze wears off
    }
    print_latency("turn of 16 commits", turns(db, 4000, false));
    for (int i = 0; i < 3; i++) {
        Diag diag = {0};
        turns(db, 3000, false);
        double start = now_ns();
        must(db_checkpoint_begin(db, &diag), &diag);
        double begun = now_ns();
        uint64_t count = turns(db, SAMPLES_MAX, true);
        DbCheckpointStats stats;
        db_checkpoint_stats(db, &stats);
        printf("  checkpoint: begun in %.2f ms, %.0f ms in all\n",
               (begun - start) / 1e6,
               (double)stats.last_ns / 1e6);
        if (count) print_latency("  turn beside it", count);
    }
    db_close(&db);
}

// ── beyond memory ──────────────────────────────────────────────────────────────────────────────

static void cache_drop(void) {
    int fd = open(page_file, O_RDONLY);
    if (fd < 0) return;
    fdatasync(fd);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
}

static double raw_reads(uint64_t bytes, uint64_t count) {
    static uint8_t page[8192];
    int fd = open(page_file, O_RDONLY);
    posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
    double start = now_ns();
    for (uint64_t i = 0; i < count; i++) {
        if (pread(fd, page, sizeof page, (off_t)(random_below(bytes / 8192) * 8192)) < 0) break;
    }
    double ns = (now_ns() - start) / (double)count;
    close(fd);
    return ns;
}

static void beyond_memory(void) {
    enum { READS = 20000 };
    Db *db = open_db(0);
    uint64_t bytes = store_stats(db_store(db)).file_bytes;
    db_close(&db);
    cache_drop();
    double raw = raw_reads(bytes, READS);
    cache_drop();
    db = open_db(bytes / 4);
    StoreStats before = store_stats(db_store(db));
    double start = now_ns();
    read_rows(db, READS);
    double all = now_ns() - start;
    StoreStats after = store_stats(db_store(db));
    uint64_t reads = after.page_reads - before.page_reads;
    printf("file %.0f MiB, memory %.0f of at most %.0f MiB\n",
           (double)bytes / (1 << 20),
           (double)after.memory_bytes / (1 << 20),
           (double)bytes / 4 / (1 << 20));
    printf("random row               %8.1f us   %.2f page reads each; the disk's read %.1f us\n",
           all / 1e3 / READS,
           (double)reads / READS,
           raw / 1e3);
    printf("a page read costs %.2f times the disk's own\n", all / (double)reads / raw);
    read_rows(db, rows / 10);
    after = store_stats(db_store(db));
    printf("after %llu more: memory %.0f MiB, %llu pages evicted\n",
           (unsigned long long)(rows / 10),
           (double)after.memory_bytes / (1 << 20),
           (unsigned long long)after.pages_evicted);
    db_close(&db);
}

static void remove_all(const char *dir) {
    char command[600];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    if (system(command) != 0) fprintf(stderr, "%s stays\n", dir);
}

int main(int argc, char **argv) {
    if (argc > 1) rows = strtoull(argv[1], NULL, 10);
    char dir[256];
    snprintf(dir, sizeof dir, "%s/lc-bench-restart-XXXXXX", argc > 2 ? argv[2] : "/tmp");
    if (!mkdtemp(dir)) return 1;
    snprintf(log_dir, sizeof log_dir, "%s/log", dir);
    snprintf(page_file, sizeof page_file, "%s/pages", dir);
    printf("%llu rows\n", (unsigned long long)rows);
    fflush(stdout);
    if (fork() == 0) load();
    int status;
    wait(&status);
    if (status == 0) {
        restart();
        latency();
        beyond_memory();
    }
    remove_all(dir);
    return status != 0;
}
