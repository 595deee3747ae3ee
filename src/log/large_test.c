// Large batches with the threads there are in a server: one fills buffers, one owns the log, one writes.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/test.h"
#include "log/log.h"
#include "log/segment.h"

enum { ROW_BYTES = 100, ROWS = 30000, ROUNDS = 6, SMALL = 5 };

static char dir[] = "/tmp/lightcone-large-XXXXXX";

// A transaction's operations as its worker leaves them.
typedef struct Made {
    uint32_t round;
    Buf deletes, inserts;
    uint32_t count;
} Made;

static void row_of(uint32_t round, uint32_t i, uint8_t row[ROW_BYTES]) {
    memset(row, (int)(round * 7 + i), ROW_BYTES);
    store_u32(row, i);
}

static void *worker(void *ctx) {
    Made *made = ctx;
    uint8_t row[ROW_BYTES];
    for (uint32_t i = 0; i < ROWS; i++) {
        row_of(made->round, i, row);
        commit_op_put(&made->deletes, COMMIT_DELETE, 1, BYTES(row, 8));
        commit_op_put(&made->inserts, COMMIT_INSERT, 1, BYTES(row, ROW_BYTES));
    }
    made->count = 2 * ROWS;
    return NULL;
}

static void small_commit(Log *log, uint32_t round) {
    TxOffset offset;
    log_commit_begin(log, &(CommitInfo){.timestamp = 1, .name = STR("small")});
    log_commit_op(log, COMMIT_INSERT, 2, BYTES(&round, sizeof round));
    EXPECT_OK(log_commit_end(log, &offset));
}

typedef struct Seen {
    uint64_t commits;
    uint32_t large;
    bool wrong;
} Seen;

static Err see(void *ctx, const Commit *commit, Diag *diag) {
    Seen *seen = ctx;
    Bytes ops = commit->ops;
    CommitOp op;
    uint8_t row[ROW_BYTES];
    (void)diag;
    seen->wrong |= commit->offset.v != seen->commits++;
    if (str_eq(commit->info.name, STR("small"))) return OK;
    seen->wrong |= commit->op_count != 2 * ROWS;
    for (uint32_t i = 0; i < 2 * ROWS; i++) {
        row_of(seen->large, i % ROWS, row);
        bool is_delete = i < ROWS;
        seen->wrong |= !commit_next_op(&ops, &op) ||
                       op.kind != (is_delete ? COMMIT_DELETE : COMMIT_INSERT) ||
                       !bytes_eq(op.bytes, BYTES(row, is_delete ? 8 : ROW_BYTES));
    }
    seen->wrong |= commit_next_op(&ops, &op);
    seen->large++;
    return OK;
}

static Err remove_in(void *ctx, const char *name) {
    char path[IO_PATH_MAX];
    (void)ctx;
    EXPECT_OK(path_join(path, dir, name));
    return io_real()->file_remove(NULL, path);
}

static Log *open_log(Seen *seen) {
    Log *log = NULL;
    Diag diag = {0};
    LogOptions options = {.io = io_real(), .dir = dir, .segment_bytes = 1 << 20};
    *seen = (Seen){0};
    EXPECT_OK(log_open(&options, see, seen, &log, NULL, &diag));
    EXPECT(!seen->wrong);
    return log;
}

static void round_run(Log *log, uint32_t round) {
    Made made = {.round = round};
    Diag diag = {0};
    TxOffset offset;
    pthread_t thread;
    EXPECT_EQ(pthread_create(&thread, NULL, worker, &made), 0);
    pthread_join(thread, NULL);
    for (uint32_t i = 0; i < SMALL; i++)
        small_commit(log, round);
    log_commit_begin(log, &(CommitInfo){.timestamp = 1, .name = STR("large")});
    log_commit_take_ops(log, &made.deletes, made.count);
    log_commit_take_ops(log, &made.inserts, 0);
    EXPECT_OK(log_commit_end(log, &offset));
    small_commit(log, round);
    size_t pending = log_pending(log);
    uint64_t bytes = log_bytes(log), durable = log_durable_end(log).v;
    EXPECT(pending > ROWS * ROW_BYTES);
    if (round % 3 == 2) {
        EXPECT_OK(log_flush(log, &diag));
    } else {
        EXPECT_OK(log_flush_start(log, &diag));
        small_commit(log, round);  // while it is in flight, which nothing here can see
        EXPECT_EQ(log_durable_end(log).v, durable);
        EXPECT_EQ(log_bytes(log), bytes);
        EXPECT_OK(log_flush_poll(log, true, &diag));
        EXPECT_OK(log_flush(log, &diag));
    }
    EXPECT_EQ(log_durable_end(log).v, log_end(log).v);
    EXPECT(log_bytes(log) >= bytes + pending);
}

TEST(large, batches_are_written_beside_the_owner_and_read_back_whole) {
    EXPECT(mkdtemp(dir) != NULL);
    Seen seen;
    uint64_t commits = 0;
    for (uint32_t life = 0; life < 2; life++) {
        Log *log = open_log(&seen);
        EXPECT_EQ(seen.commits, commits);
        for (uint32_t round = 0; round < ROUNDS / 2; round++)
            round_run(log, life * ROUNDS / 2 + round);
        commits = log_end(log).v;
        log_close(&log);
    }
    // One that was started and not waited for lands before the log is closed.
    Made made = {.round = ROUNDS};
    TxOffset offset;
    Diag diag = {0};
    Log *log = open_log(&seen);
    worker(&made);
    log_commit_begin(log, &(CommitInfo){.timestamp = 1, .name = STR("large")});
    log_commit_take_ops(log, &made.deletes, made.count);
    log_commit_take_ops(log, &made.inserts, 0);
    EXPECT_OK(log_commit_end(log, &offset));
    EXPECT_OK(log_flush_start(log, &diag));
    log_close(&log);
    log = open_log(&seen);
    EXPECT_EQ(seen.large, ROUNDS + 1);
    EXPECT_EQ(seen.commits, commits + 1);
    log_close(&log);
    EXPECT_OK(io_real()->dir_list(NULL, dir, remove_in, NULL));
    rmdir(dir);
}

TEST_MAIN()
