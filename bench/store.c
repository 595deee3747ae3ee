// bench/store.c: what a row costs in a table of a million, beside LMDB and SQLite.
//
//   store [--json] [--only WORD] [rows [dir]]       1 M rows; dir is on the disk to be measured
//
// The engines take turns within each round, a figure is the median of its rounds, and a ratio is the
// median of the rounds' ratios, so that what the machine does meanwhile falls on all alike. Where nothing
// waits for a disk it is the thread's time on a processor that counts, not what others had of it. What
// each engine is given is in peers.h. `--only` runs the figures of Lightcone alone whose name contains the
// word, for a profiler.
//
// Point reads and updates go to random rows. "durable" is a change and its way to the disk; "64 a
// sync" is what a turn of the loop does for 64 clients: 64 transactions and one sync. LMDB and SQLite
// cannot share a sync, so there it is one transaction of 64 changes, which succeed or fail together.
// A row's bytes are those of all pages, by rows; SQLite writes small numbers in fewer bytes.
#include <getopt.h>
#include <unistd.h>

#include "bench/draw.h"
#include "bench/peers.h"

enum { ROUNDS = 7, BATCH = 1000, GROUP = 64, PEERS = 3 };

static uint64_t rows = 1000000;
static const char *only = "";
static char root[256];
static Draw draws = {.state = 42};
static const Peer *const peers[PEERS] = {&lightcone, &lmdb, &sqlite};
static const Peer *const durable_peers[PEERS] = {&lightcone_db, &lmdb, &sqlite};

static uint64_t random_row(void) {
    return draw_u64(&draws) % rows;
}

static void peer_open(const Peer *peer, const char *what, bool durable) {
    char dir[512];
    snprintf(dir, sizeof dir, "%s/%s-%s", root, peer->name, what);
    must(mkdir(dir, 0755) == 0, dir);
    peer->open(dir, durable);
}

// Another number for each number, in no order.
static uint64_t mixed(uint64_t i) {
    Draw draw = {.state = i};
    return draw_u64(&draw);
}

static void fill(const Peer *peer, uint64_t count, bool scattered) {
    for (uint64_t i = 0; i < count;) {
        peer->begin();
        for (int n = 0; n < BATCH && i < count; n++, i++) {
            peer->insert(scattered ? mixed(i) : i, 1000);
        }
        peer->commit();
        if (peer->flush) peer->flush();
    }
}

// ── what is measured, `count` times ────────────────────────────────────────────────────────────

static volatile uint64_t sink;

static void run_reads(const Peer *peer, uint64_t count) {
    peer->reads_begin();
    for (uint64_t i = 0; i < count; i++) {
        sink += peer->read(random_row());
    }
    peer->reads_end();
}

static void run_updates(const Peer *peer, uint64_t count) {
    for (uint64_t i = 0; i < count;) {
        peer->begin();
        for (int n = 0; n < BATCH && i < count; n++, i++) {
            peer->update(random_row(), i);
        }
        peer->commit();
    }
}

static void run_commits(const Peer *peer, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        peer->begin();
        peer->update(random_row(), i);
        peer->commit();
    }
}

static void run_scan(const Peer *peer, uint64_t count) {
    (void)count;
    sink += peer->scan();
}

static void run_transfers(const Peer *peer, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        uint64_t from = random_row(), to = random_row();
        peer->begin();
        peer->update(from, peer->read(from) - 1);
        peer->update(to, peer->read(to) + 1);
        peer->commit();
    }
}

typedef struct Work {
    const char *name;
    void (*run)(const Peer *peer, uint64_t count);
    uint32_t divisor;  // of the rows, for how many times
} Work;

static const Work works[] = {
    {"point read", run_reads, 4},
    {"update, 1,000 a transaction", run_updates, 4},
    {"update and commit", run_commits, 20},
    {"scan, a row", run_scan, 1},
    {"transfer: 2 reads, 2 updates, commit", run_transfers, 20},
};

static double busy_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static double measure(const Work *work, const Peer *peer) {
    uint64_t count = rows / work->divisor + 1;
    double start = busy_ns();
    work->run(peer, count);
    return (busy_ns() - start) / (double)count;
}

// ── the engines in turn ────────────────────────────────────────────────────────────────────────

// The figure of each peer, then ours over theirs.
static void compare(double value[PEERS][ROUNDS], int rounds, const char *unit, const char *name) {
    double ratio[PEERS][ROUNDS];
    for (int p = 1; p < PEERS; p++) {
        for (int r = 0; r < rounds; r++) {
            ratio[p][r] = value[0][r] / value[p][r];
        }
    }
    for (int p = 0; p < PEERS; p++) {
        figure(median(value[p], (size_t)rounds), unit, "%s: %s", name, peers[p]->name);
    }
    for (int p = 1; p < PEERS; p++) {
        figure(median(ratio[p], (size_t)rounds), "ratio", "%s / %s", name, peers[p]->name);
    }
}

static void compare_loads(bool scattered) {
    enum { LOADS = 3 };
    const char *name = scattered ? "insert, scattered keys" : "insert, ascending keys";
    double ns[PEERS][ROUNDS], bytes[PEERS][ROUNDS];
    for (int round = 0; round < LOADS; round++) {
        for (int p = 0; p < PEERS; p++) {
            char what[64];
            snprintf(what, sizeof what, "load-%d-%d", scattered, round);
            peer_open(peers[p], what, false);
            double start = busy_ns();
            fill(peers[p], rows, scattered);
            ns[p][round] = (busy_ns() - start) / (double)rows;
            bytes[p][round] = peers[p]->file_bytes() / (double)rows;
            peers[p]->close();
        }
    }
    compare(ns, LOADS, "ns", name);
    compare(bytes,
            LOADS,
            "bytes",
            scattered ? "a row's bytes, scattered" : "a row's bytes, ascending");
    // Of a row and its key.
    figure(median(bytes[0], LOADS) / (ACCOUNT_BYTES + 8),
           "ratio",
           "memory / a row's bytes and its key's, %s",
           scattered ? "scattered" : "ascending");
}

static void compare_works(void) {
    double ns[PEERS][ROUNDS];
    for (int p = 0; p < PEERS; p++) {
        peer_open(peers[p], "works", false);
        fill(peers[p], rows, false);
    }
    for (size_t w = 0; w < ARRAY_LEN(works); w++) {
        for (int round = 0; round < ROUNDS; round++) {
            for (int p = 0; p < PEERS; p++) {
                ns[p][round] = measure(&works[w], peers[p]);
            }
        }
        compare(ns, ROUNDS, "ns", works[w].name);
    }
    for (int p = 0; p < PEERS; p++) {
        peers[p]->close();
    }
}

// ── durable ────────────────────────────────────────────────────────────────────────────────────

static double durable_rate(const Peer *peer, int group, int syncs) {
    double start = now_ns();
    for (int s = 0; s < syncs; s++) {
        for (int n = 0; n < group; n++) {
            if (n == 0 || peer->flush) peer->begin();
            peer->update(random_row(), (uint64_t)s);
            if (n == group - 1 || peer->flush) peer->commit();
        }
        if (peer->flush) peer->flush();
    }
    return (double)(group * syncs) / (now_ns() - start) * 1e9;
}

static void compare_durable(void) {
    double one[PEERS][ROUNDS], grouped[PEERS][ROUNDS];
    uint64_t all = rows;
    rows = MIN(rows, (uint64_t)100000);
    for (int p = 0; p < PEERS; p++) {
        peer_open(durable_peers[p], "durable", true);
        fill(durable_peers[p], rows, false);
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (int p = 0; p < PEERS; p++) {
            one[p][round] = durable_rate(durable_peers[p], 1, 200);
            grouped[p][round] = durable_rate(durable_peers[p], GROUP, 100);
        }
    }
    compare(one, ROUNDS, "commits/s", "durable, one a sync");
    compare(grouped, ROUNDS, "commits/s", "durable, 64 a sync");
    for (int p = 0; p < PEERS; p++) {
        durable_peers[p]->close();
    }
    rows = all;
}

// ── Lightcone alone ────────────────────────────────────────────────────────────────────────────

static void profile(void) {
    peer_open(&lightcone, "profile", false);
    fill(&lightcone, rows, false);
    for (size_t w = 0; w < ARRAY_LEN(works); w++) {
        double ns[ROUNDS];
        if (!strstr(works[w].name, only)) continue;
        for (int round = 0; round < ROUNDS; round++) {
            ns[round] = measure(&works[w], &lightcone);
        }
        figure(median(ns, ROUNDS), "ns", "%s: Lightcone", works[w].name);
    }
    lightcone.close();
}

static void alone(void) {
    double ns[ROUNDS];
    lc_hashed = true;
    peer_open(&lightcone, "hashed", false);
    double start = busy_ns();
    fill(&lightcone, rows, false);
    figure((busy_ns() - start) / (double)rows, "ns", "insert, no primary key: Lightcone");
    figure(lc_file_bytes() / (double)rows, "bytes", "a row's bytes, no primary key: Lightcone");
    lightcone.close();
    lc_hashed = false;

    peer_open(&lightcone, "snapshot", false);
    fill(&lightcone, rows, false);
    Snapshot *snapshot;
    must(store_snapshot(lc_store, &snapshot) == OK, "store_snapshot");
    static const Work updates = {"", run_commits, 4};
    for (int round = 0; round < ROUNDS; round++) {
        ns[round] = measure(&updates, &lightcone);
    }
    figure(median(ns, ROUNDS), "ns", "update and commit beside a snapshot: Lightcone");
    snapshot_release(&snapshot);
    lightcone.close();
}

int main(int argc, char **argv) {
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'},
        {"only", required_argument, NULL, 'o'},
        {NULL, 0, NULL, 0},
    };
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'j') figures_json = true;
        if (option == 'o') only = optarg;
        if (option == '?') return 2;
    }
    if (optind < argc) rows = strtoull(argv[optind], NULL, 10);
    snprintf(root,
             sizeof root,
             "%s/lc-store-XXXXXX",
             optind + 1 < argc ? argv[optind + 1] : "/tmp");
    must(mkdtemp(root) != NULL, root);
    if (*only) {
        profile();
    } else {
        compare_loads(false);
        compare_loads(true);
        compare_works();
        compare_durable();
        alone();
    }
    figures_end();
    char command[600];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    must(system(command) == 0, command);
    return 0;
}
