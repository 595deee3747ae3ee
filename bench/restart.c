// bench/restart.c: what a page file costs and what it buys.
//
//   restart [--json] [--only WORD] [rows [dir]]       on the disk to be measured; 10 M rows, /tmp
//
//   restart   a process inserts the rows, one a commit as calls do, and is killed; then others open
//             the database, make transfers (two random rows a commit) and are killed at random
//             moments, beside a checkpoint or not. How long the next one takes to open it, and what
//             the log had since the last safe checkpoint. At the end no transfer may be missing.
//   log       a turn of 16 commits and its fdatasync, alone and while a checkpoint is being written
//   memory    random rows with a memory limit of a quarter of the file, next to random reads of
//             8 KiB from the same file, both with the kernel's cache of it thrown away
//
// Killing a process leaves the kernel's cache of its files, as the crash of a server does.
#define _GNU_SOURCE
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/draw.h"
#include "bench/figures.h"
#include "txn/def_testing.h"

static uint64_t rows = 10000000;
static char log_dir[512], page_file[512];
static Draw draws = {.state = 42};

static uint64_t random_below(uint64_t limit) {
    return draw_u64(&draws) % limit;
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

// Rows of `timer` (id u64, at ScheduleAt): 17 bytes, by primary key. `at` serves as a balance.
enum { ROW_BYTES = 17, BALANCE_AT = 9, BALANCE = 1000000 };

static Bytes timer_row(uint8_t row[ROW_BYTES], uint64_t id, uint64_t at) {
    store_u64(row, id);
    row[8] = 1;
    store_u64(row + BALANCE_AT, at);
    return BYTES(row, ROW_BYTES);
}

static Bytes key_of(uint8_t key[8], uint64_t id) {
    store_u64(key, __builtin_bswap64(id));
    return BYTES(key, 8);
}

static Table *timers(const Db *db) {
    return testdef_table(db, TEST_TIMER)->table;
}

static void begin(Db *db) {
    db_begin(db, &(CommitInfo){.timestamp = 1, .name = STR("bench")});
}

static void commit(Db *db) {
    const WriteSet *writes;
    bool changed;
    must(db_commit(db, &writes, &changed), NULL);
}

static void put(Db *db, uint64_t id, uint64_t balance) {
    uint8_t row[ROW_BYTES];
    Table *table = timers(db);
    uint32_t index = table_index_at(table, 0).index_id;
    must(table_replace(table, index, timer_row(row, id, balance), NULL, NULL), NULL);
}

static uint64_t balance_of(const Db *db, uint64_t id) {
    uint8_t key[8];
    Bytes row;
    must(table_get(timers(db), NULL, key_of(key, id), &row), NULL);
    return load_u64(row.ptr + BALANCE_AT);
}

static void transfer(Db *db) {
    uint64_t from = 1 + random_below(rows), to = 1 + random_below(rows);
    begin(db);
    put(db, from, balance_of(db, from) - 1);
    put(db, to, balance_of(db, to) + 1);
    commit(db);
}

static void read_rows(const Db *db, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        (void)balance_of(db, 1 + random_below(rows));
        store_breathe(db_store(db));
    }
}

// ── restart ────────────────────────────────────────────────────────────────────────────────────

// What a process that will be killed tells the one that looks after it.
typedef struct Told {
    double opened_ns;
    uint64_t replayed_bytes, replayed_operations;
    uint64_t checkpoints;
    _Atomic uint64_t durable;  // commits
    _Atomic bool opened;
} Told;
static Told *told;

enum { TURN_CALLS = 256, KILLS = 9 };

static void turn_end(Db *db) {
    must(db_flush(db, NULL), NULL);
    atomic_store(&told->durable, log_durable_end(db_log(db)).v);
    db_checkpoint_tick(db);
    DbCheckpointStats stats;
    db_checkpoint_stats(db, &stats);
    told->checkpoints = stats.done;
}

static void load(void) {
    TestDef def;
    Db *db = open_db(0);
    testdef_init(&def);
    must(testdef_create(db, &def), NULL);
    uint8_t row[ROW_BYTES];
    for (uint64_t id = 1; id <= rows;) {
        for (int n = 0; n < TURN_CALLS && id <= rows; n++, id++) {
            begin(db);
            must(table_insert(timers(db), timer_row(row, id, BALANCE), NULL, NULL), NULL);
            commit(db);
        }
        turn_end(db);
    }
    raise(SIGKILL);
}

static void open_measured(Db **db) {
    double start = now_ns();
    *db = open_db(0);
    told->opened_ns = now_ns() - start;
    told->replayed_bytes = log_written(db_log(*db));
    told->replayed_operations = log_operations(db_log(*db));
    if (log_end(db_log(*db)).v < atomic_load(&told->durable)) must(ERR_CORRUPT, NULL);
    if (table_row_count(timers(*db), NULL) != rows) must(ERR_CORRUPT, NULL);
    atomic_store(&told->opened, true);
}

static void transfers_for_ever(void) {
    Db *db;
    open_measured(&db);
    for (;;) {
        for (int n = 0; n < TURN_CALLS; n++) {
            transfer(db);
        }
        turn_end(db);
    }
}

// Run it in a process of its own until it kills itself, or so long after it has opened the database.
static void run_and_kill(void (*run)(void), uint64_t after_us) {
    int status = 0;
    atomic_store(&told->opened, false);
    pid_t child = fork();
    if (child == 0) {
        run();
        exit(1);
    }
    if (after_us) {
        while (!atomic_load(&told->opened) && waitpid(child, &status, WNOHANG) == 0) {
            usleep(1000);
        }
        usleep((useconds_t)after_us);
        kill(child, SIGKILL);
    }
    if (!status) waitpid(child, &status, 0);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) must(ERR_CORRUPT, NULL);
}

static void balances_check(const Db *db) {
    TableScan scan;
    Bytes row;
    uint64_t sum = 0, count = 0;
    table_scan_begin(&scan, timers(db), NULL, TABLE_ROWS, BYTES_NONE, BYTES_NONE);
    for (; table_scan_next(&scan, &row); count++) {
        sum += load_u64(row.ptr + BALANCE_AT);
        if (count % TABLE_BREATHE_ROWS == 0) table_breathe(timers(db), NULL);
    }
    table_scan_end(&scan);
    must(scan.err, NULL);
    if (count != rows || sum != rows * BALANCE) must(ERR_CORRUPT, NULL);
}

static void restart(void) {
    double ms[KILLS], log_mib[KILLS];
    for (int i = 0; i < KILLS; i++) {
        run_and_kill(transfers_for_ever, 2000000 + random_below(6000000));
        ms[i] = told->opened_ns / 1e6;
        log_mib[i] = (double)told->replayed_bytes / (1 << 20);
        if (!figures_json)
            printf("  opened in %.0f ms: %.0f MiB of log, %.1f M operations\n",
                   ms[i],
                   log_mib[i],
                   (double)told->replayed_operations / 1e6);
    }
    figure(ms[0], "ms", "opened after kill -9 at the end of the load");
    figure(median(ms + 1, KILLS - 1), "ms", "opened after kill -9 amid transfers, median");
    figure(ms[KILLS - 1], "ms", "opened after kill -9 amid transfers, the slowest");
    figure(median(log_mib + 1, KILLS - 1), "MiB", "log since the safe checkpoint, median");
    figure(log_mib[KILLS - 1], "MiB", "log since the safe checkpoint, the most");
    Db *db;
    Diag diag = {0};
    open_measured(&db);
    balances_check(db);
    must(db_checkpoint_now(db, &diag), &diag);
    db_close(&db);
    double start = now_ns();
    db = open_db(0);
    double opened = now_ns();
    read_rows(db, 1);
    figure((opened - start) / 1e6, "ms", "opened after a stop");
    figure((now_ns() - opened) / 1e6, "ms", "the first read");
    db_close(&db);
}

// ── log ────────────────────────────────────────────────────────────────────────────────────────

enum { SAMPLES_MAX = 400000 };
static double samples[SAMPLES_MAX];

static void latency_figures(const char *what, uint64_t count) {
    if (count == 0) return;
    qsort(samples, count, sizeof samples[0], by_size);
    figure(samples[count / 2] / 1e6, "ms", "%s, p50", what);
    figure(samples[count * 99 / 100] / 1e6, "ms", "%s, p99", what);
    figure(samples[count - 1] / 1e6, "ms", "%s, the slowest", what);
}

// A turn of a loop: some updates of random rows, a flush, a tick.
static void turn(Db *db) {
    for (int n = 0; n < 16; n++) {
        begin(db);
        put(db, 1 + random_below(rows), random_below(1u << 30));
        commit(db);
    }
    turn_end(db);
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
    latency_figures("turn of 16 commits", turns(db, 4000, false));
    Diag diag = {0};
    double start = now_ns();
    must(db_checkpoint_begin(db, &diag), &diag);
    figure((now_ns() - start) / 1e6, "ms", "a checkpoint is begun in");
    uint64_t count = turns(db, SAMPLES_MAX, true);
    DbCheckpointStats stats;
    db_checkpoint_stats(db, &stats);
    figure((double)stats.last_ns / 1e6, "ms", "it takes");
    latency_figures("turn of 16 commits beside it", count);
    db_close(&db);
}

// ── memory ─────────────────────────────────────────────────────────────────────────────────────

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
    figure((double)bytes / (1 << 20), "MiB", "page file");
    figure(raw / 1e3, "us", "the disk's random read of 8 KiB");
    figure(all / 1e3 / READS, "us", "a random row, memory a quarter of the file");
    figure((double)reads / READS, "reads", "page reads for a random row");
    figure(all / (double)reads / raw, "ratio", "a page read / the disk's own");
    read_rows(db, rows / 10);
    after = store_stats(db_store(db));
    figure((double)after.memory_bytes / ((double)bytes / 4),
           "ratio",
           "pages in memory / the limit");
    db_close(&db);
}

static void remove_all(const char *dir) {
    char command[600];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    if (system(command) != 0) fprintf(stderr, "%s stays\n", dir);
}

static void *told_new(void) {
    int flags = MAP_SHARED | MAP_ANONYMOUS;
    void *shared = mmap(NULL, sizeof(Told), PROT_READ | PROT_WRITE, flags, -1, 0);
    if (shared == MAP_FAILED) must(ERR_NOMEM, NULL);
    return shared;
}

int main(int argc, char **argv) {
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'},
        {"only", required_argument, NULL, 'o'},
        {NULL, 0, NULL, 0},
    };
    const char *only = "";
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'j') figures_json = true;
        if (option == 'o') only = optarg;
        if (option == '?') return 2;
    }
    if (optind < argc) rows = strtoull(argv[optind], NULL, 10);
    char dir[256];
    snprintf(dir,
             sizeof dir,
             "%s/lc-restart-XXXXXX",
             optind + 1 < argc ? argv[optind + 1] : "/tmp");
    if (!mkdtemp(dir)) must(ERR_IO, NULL);
    snprintf(log_dir, sizeof log_dir, "%s/log", dir);
    snprintf(page_file, sizeof page_file, "%s/pages", dir);
    told = told_new();
    run_and_kill(load, 0);
    if (strstr("restart", only)) restart();
    if (strstr("log", only)) latency();
    if (strstr("memory", only)) beyond_memory();
    figures_end();
    remove_all(dir);
    return 0;
}
