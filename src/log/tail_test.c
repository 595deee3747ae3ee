// What is read back from a mark is what was committed from it on, and a mark of another history is refused.
#include "log/tail.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/test.h"
#include "sim/sim.h"

enum { SEGMENT_BYTES = 4096, MARKS = 400 };

static Sim *sim;
static Log *log_;
static Diag diag;

static uint64_t seed_;
static uint64_t random_below(uint64_t below) {
    seed_ = seed_ * 6364136223846793005u + 1442695040888963407u;
    return (seed_ >> 33) % below;
}

static void log_begin_at(const char *dir) {
    LogOptions options = {.io = sim_io(sim), .dir = dir, .segment_bytes = SEGMENT_BYTES};
    EXPECT_OK(log_open(&options, NULL, NULL, &log_, NULL, &diag));
}

// A commit whose only operation says its offset, and `life`.
static void commit_one(uint32_t life) {
    CommitInfo info = {.name = STR("insert")};
    uint8_t bytes[700];
    TxOffset offset;
    memset(bytes, 1, sizeof bytes);
    store_u64(bytes, log_end(log_).v);
    log_commit_begin(log_, &info);
    log_commit_op(log_, COMMIT_INSERT, life, BYTES(bytes, 8 + random_below(600)));
    EXPECT_OK(log_commit_end(log_, &offset));
}

static void batch(uint32_t life) {
    for (uint64_t i = 1 + random_below(4); i > 0; i--) {
        commit_one(life);
    }
    EXPECT_OK(log_flush(log_, &diag));
}

typedef struct Seen {
    uint64_t next;
    uint32_t life;
    bool wrong;
} Seen;

static Err see(void *ctx, const Commit *commit, Diag *d) {
    Seen *seen = ctx;
    Bytes ops = commit->ops;
    CommitOp op;
    (void)d;
    bool ok = commit_next_op(&ops, &op) && load_u64(op.bytes.ptr) == seen->next &&
              commit->offset.v == seen->next && op.table_id == seen->life;
    seen->wrong |= !ok;
    seen->next++;
    return OK;
}

static void expect_read(LogTail *tail, const LogMark *from, uint64_t to, uint32_t life) {
    Seen seen = {.next = from->offset.v, .life = life};
    EXPECT_OK(log_tail_read(tail, from, (TxOffset){to}, see, &seen, &diag));
    EXPECT(!seen.wrong);
    EXPECT_EQ(seen.next, to);
}

static LogTail *tail_new(const char *dir, uint64_t bytes_max) {
    LogTail *tail = NULL;
    EXPECT_OK(log_tail_new(sim_io(sim), dir, bytes_max, &tail));
    return tail;
}

static LogMark mark_now(void) {
    LogMark mark = {0};
    EXPECT(log_mark(log_, &mark));
    return mark;
}

TEST(tail, gives_the_commits_since_any_mark_across_segments_and_starts) {
    LogMark marks[MARKS];
    EXPECT_OK(sim_new(5, &sim));
    log_begin_at("db/log");
    uint32_t count = 0;
    marks[count++] = mark_now();
    LogTail *tail = tail_new("db/log", 1 << 20);
    while (count < MARKS) {
        batch(1);
        marks[count++] = mark_now();
        if (random_below(40) == 0) {
            log_close(&log_);
            log_begin_at("db/log");
            LogMark again = mark_now();
            EXPECT_EQ(again.offset.v, marks[count - 1].offset.v);
            EXPECT_EQ(again.chain, marks[count - 1].chain);
            if (count < MARKS) marks[count++] = again;
        }
        const LogMark *from = &marks[random_below(count)];
        uint64_t to = from->offset.v + random_below(log_durable_end(log_).v - from->offset.v + 1);
        if (random_below(20) == 0 || log_tail_is_later(tail, from->offset)) {
            log_tail_release(&tail);
            tail = tail_new("db/log", 1 << 20);
        }
        expect_read(tail, from, to, 1);
    }
    log_tail_release(&tail);
    log_close(&log_);
    sim_free(&sim);
}

static Err read_from(const char *dir, const LogMark *from, uint64_t to) {
    LogTail *tail = tail_new(dir, 1 << 20);
    Seen seen = {.next = from->offset.v, .life = 1};
    Err err = log_tail_read(tail, from, (TxOffset){to}, see, &seen, &diag);
    log_tail_release(&tail);
    return err;
}

TEST(tail, refuses_a_mark_of_another_history) {
    EXPECT_OK(sim_new(6, &sim));
    log_begin_at("a/log");
    for (int i = 0; i < 30; i++)
        batch(1);
    LogMark a = mark_now();
    log_close(&log_);
    log_begin_at("b/log");
    for (int i = 0; i < 60; i++)
        batch(1);
    uint64_t end = log_durable_end(log_).v;
    LogMark b = mark_now();
    EXPECT_ERR(read_from("b/log", &a, end), ERR_CONFLICT);
    LogMark wrong = b;
    wrong.chain++;
    EXPECT_ERR(read_from("b/log", &wrong, end), ERR_CONFLICT);
    wrong = b;
    wrong.salt++;
    EXPECT_ERR(read_from("b/log", &wrong, end), ERR_CONFLICT);
    wrong = b;
    wrong.offset.v++;
    EXPECT_ERR(read_from("b/log", &wrong, end), ERR_CONFLICT);
    EXPECT_OK(read_from("b/log", &b, end));
    log_close(&log_);
    sim_free(&sim);
}

// A disk that said "written" and had not: the log is shorter after the start, and goes on differently.
TEST(tail, refuses_a_mark_behind_which_the_log_lost_its_end) {
    EXPECT_OK(sim_new(7, &sim));
    const Io *io = sim_io(sim);
    log_begin_at("db/log");
    for (int i = 0; i < 3; i++)
        commit_one(1);
    EXPECT_OK(log_flush(log_, &diag));
    LogMark kept = mark_now();
    IoFile *file = NULL;
    uint64_t before = 0;
    EXPECT_OK(io->file_open(io->world, "db/log/00000000000000000000.log", IO_READ, &file));
    uint8_t bytes[SEGMENT_BYTES];
    size_t got;
    EXPECT_OK(io->file_read(io->world, file, 0, bytes, sizeof bytes, &got));
    for (before = got; before > 0 && bytes[before - 1] == 0;)
        before--;
    io->file_close(io->world, &file);
    commit_one(1);
    EXPECT_OK(log_flush(log_, &diag));
    LogMark lost = mark_now();
    log_close(&log_);
    EXPECT_OK(
        io->file_open(io->world, "db/log/00000000000000000000.log", IO_READ | IO_WRITE, &file));
    EXPECT_OK(io->file_truncate(io->world, file, before + 20));
    io->file_close(io->world, &file);
    log_begin_at("db/log");
    EXPECT_EQ(log_end(log_).v, kept.offset.v);
    commit_one(1);
    EXPECT_OK(log_flush(log_, &diag));
    EXPECT_EQ(log_durable_end(log_).v, lost.offset.v);
    EXPECT_OK(read_from("db/log", &kept, lost.offset.v));
    EXPECT_ERR(read_from("db/log", &lost, lost.offset.v), ERR_CONFLICT);
    log_close(&log_);
    sim_free(&sim);
}

TEST(tail, refuses_what_was_let_go_and_what_is_too_much) {
    EXPECT_OK(sim_new(8, &sim));
    log_begin_at("db/log");
    batch(1);
    LogMark first = mark_now();
    for (int i = 0; i < 100; i++)
        batch(1);
    uint64_t end = log_durable_end(log_).v;
    LogTail *tail = tail_new("db/log", 10000);
    Seen seen = {.next = first.offset.v, .life = 1};
    EXPECT_ERR(log_tail_read(tail, &first, (TxOffset){end}, see, &seen, &diag), ERR_TOO_LARGE);
    EXPECT_EQ(seen.next, first.offset.v);
    log_tail_release(&tail);

    LogTrim trim;
    LogKeep keep = {0};
    log_trim_plan(log_, (TxOffset){end}, &keep, &trim);
    EXPECT(trim.count > 0);
    EXPECT_OK(log_trim_run(&trim));
    log_trim_end(log_, &trim);
    EXPECT_ERR(read_from("db/log", &first, end), ERR_NOT_FOUND);
    LogMark last = mark_now();
    EXPECT_OK(read_from("db/log", &last, end));
    log_close(&log_);
    sim_free(&sim);
}

TEST(tail, shares_what_it_has_read_with_those_who_come_later) {
    LogMark marks[50];
    EXPECT_OK(sim_new(9, &sim));
    log_begin_at("db/log");
    for (uint32_t i = 0; i < ARRAY_LEN(marks); i++) {
        batch(1);
        marks[i] = mark_now();
    }
    LogTail *tail = tail_new("db/log", 1 << 20);
    uint64_t end = log_durable_end(log_).v;
    expect_read(tail, &marks[10], end, 1);
    // The files are gone; what was read is not.
    LogTail *mine = log_tail_retain(tail);
    log_tail_release(&tail);
    log_close(&log_);
    const Io *io = sim_io(sim);
    EXPECT_OK(io->file_remove(io->world, "db/log/00000000000000000000.log"));
    for (uint32_t i = 10; i < ARRAY_LEN(marks); i++) {
        expect_read(mine, &marks[i], end, 1);
    }
    EXPECT(log_tail_is_later(mine, marks[9].offset));
    EXPECT(!log_tail_is_later(mine, marks[10].offset));
    Seen seen = {0};
    EXPECT_ERR(log_tail_read(mine, &marks[9], (TxOffset){end}, see, &seen, &diag), ERR_NOT_FOUND);
    log_tail_release(&mine);
    sim_free(&sim);
}

typedef struct Readers {
    LogTail *tail;
    const LogMark *marks;
    uint32_t count;
    bool wrong;
} Readers;

static void *reader_main(void *arg) {
    Readers *r = arg;
    Diag d = {0};
    for (uint32_t i = 0; i < r->count; i++) {
        for (uint32_t k = i; k < r->count; k += 1 + i % 5) {
            Seen seen = {.next = r->marks[i].offset.v, .life = 1};
            Err err = log_tail_read(r->tail, &r->marks[i], r->marks[k].offset, see, &seen, &d);
            r->wrong |= err != OK || seen.wrong || seen.next != r->marks[k].offset.v;
        }
    }
    return NULL;
}

// They read, and let it grow, at the same time.
TEST(tail, is_many_readers_at_once) {
    enum { READERS = 4 };
    LogMark marks[60];
    Readers readers[READERS];
    pthread_t threads[READERS];
    EXPECT_OK(sim_new(11, &sim));
    log_begin_at("db/log");
    for (uint32_t i = 0; i < ARRAY_LEN(marks); i++) {
        batch(1);
        marks[i] = mark_now();
    }
    LogTail *tail = tail_new("db/log", 1 << 20);
    expect_read(tail, &marks[0], marks[0].offset.v, 1);  // so that it begins with the first
    for (uint32_t i = 0; i < READERS; i++) {
        readers[i] =
            (Readers){.tail = log_tail_retain(tail), .marks = marks, .count = ARRAY_LEN(marks)};
        EXPECT_EQ(pthread_create(&threads[i], NULL, reader_main, &readers[i]), 0);
    }
    log_tail_release(&tail);
    for (uint32_t i = 0; i < READERS; i++) {
        pthread_join(threads[i], NULL);
        EXPECT(!readers[i].wrong);
        log_tail_release(&readers[i].tail);
    }
    log_close(&log_);
    sim_free(&sim);
}

TEST(tail, survives_every_allocation_that_fails) {
    EXPECT_OK(sim_new(10, &sim));
    log_begin_at("db/log");
    batch(1);
    LogMark first = mark_now();
    for (int i = 0; i < 20; i++)
        batch(1);
    uint64_t end = log_durable_end(log_).v;
    Err err = ERR_NOMEM;
    for (int64_t nth = 1; err != OK; nth++) {
        LogTail *tail = NULL;
        Seen seen = {.next = first.offset.v, .life = 1};
        mem_fault_arm(nth);
        err = log_tail_new(sim_io(sim), "db/log", 1 << 20, &tail);
        if (err == OK) err = log_tail_read(tail, &first, (TxOffset){end}, see, &seen, &diag);
        mem_fault_arm(-1);
        EXPECT(err == OK || err == ERR_NOMEM);
        // What failed can be tried again with the same tail.
        if (tail && err != OK) {
            seen = (Seen){.next = first.offset.v, .life = 1};
            EXPECT_OK(log_tail_read(tail, &first, (TxOffset){end}, see, &seen, &diag));
            EXPECT_EQ(seen.next, end);
        }
        log_tail_release(&tail);
    }
    log_close(&log_);
    sim_free(&sim);
}

TEST_MAIN()
