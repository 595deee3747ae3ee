// checkpoint.c: when the store is written down, who writes, and what becomes of the log before it.
//
//   owner    tick: due? ── begin ──┐                                   ┌── tick: end
//   writer                         └─ pages … sync, meta, sync ─ trim ─┘
//
// A checkpoint never knows more than the log does: while some of what it holds is not durable there,
// it is written but held back before its meta page. So beginning one waits for nothing. The segments that it will make superfluous are chosen then and removed by
// the writer once it is safe, since removing a large file can take a file system milliseconds.
//
// Too many dirty pages are a reason for a checkpoint as well: they cannot leave memory.
#include <stdio.h>
#include <time.h>

#include "base/log.h"
#include "os/background.h"
#include "txn/head.h"

enum {
    DUE_BYTES_DEFAULT = 64 << 20,
    RATE_DEFAULT = 64 << 20,
    STEP_BYTES = 1 << 20,
    // What an operation costs a replay beyond its bytes, in bytes: a million of them take as long as
    // some 40 MB of log.
    OPERATION_BYTES = 40,
};
#define RETRY_NS ((int64_t)10 * 1000 * 1000 * 1000)

static int64_t now_ns(const Checkpointer *c) {
    return c->io->clock_monotonic_ns(c->io->world);
}

static int stage_of(const Db *db) {
    return atomic_load_explicit(&db->checkpointer.stage, memory_order_acquire);
}

// ── the writer ─────────────────────────────────────────────────────────────────────────────────

// Write about so many bytes; true when there is nothing more to do.
static bool write_some(Checkpointer *c, size_t bytes) {
    bool done = false;
    c->err = store_checkpoint_write(c->running, bytes, &done, &c->diag);
    if (c->err != OK) return true;
    if (!done) return false;
    // A segment that cannot be removed now can be after the next checkpoint.
    if (log_trim_run(&c->trim) != OK) {
        log_warn("%s: old log segments could not be removed: %s",
                 c->trim.dir,
                 io_last_error_text());
    }
    return true;
}

static void sleep_ns(int64_t ns) {
    nanosleep(&(struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000}, NULL);
}

// Until it is safe, the next start has all the log to replay since the one before. So it is to be safe
// by the time that as much log was written beside it as made it due.
static bool is_late(const Checkpointer *c) {
    uint64_t beside = atomic_load_explicit(&c->log_now, memory_order_relaxed) - c->log_mark;
    return (double)beside / (double)c->due_bytes > store_checkpoint_share(c->running);
}

// The disk is the log's first: what was written so far may not be ahead of the rate.
static void keep_to_rate(const Checkpointer *c) {
    if (is_late(c)) return;
    double due_ns = (double)store_checkpoint_bytes(c->running) / (double)c->rate * 1e9;
    int64_t ahead = (int64_t)due_ns - (now_ns(c) - c->began_ns);
    if (ahead > 0) sleep_ns(MIN(ahead, (int64_t)100 * 1000 * 1000));
}

// All of it is written, the log is not. False: it is given up.
static bool wait_for_log(Checkpointer *c) {
    pthread_mutex_lock(&c->mutex);
    while (store_checkpoint_is_held(c->running) && !atomic_load(&c->stop)) {
        pthread_cond_wait(&c->changed, &c->mutex);
    }
    pthread_mutex_unlock(&c->mutex);
    return !atomic_load(&c->stop);
}

static void *writer_run(void *ctx) {
    Db *db = ctx;
    Checkpointer *c = &db->checkpointer;
    thread_become("checkpoint", THREAD_BACKGROUND);
    background_begin();
    while (!write_some(c, STEP_BYTES)) {
        if (atomic_load(&c->stop)) break;
        if (store_checkpoint_is_written(c->running) && !wait_for_log(c)) break;
        keep_to_rate(c);
    }
    atomic_store_explicit(&c->stage, CHECKPOINT_WRITTEN, memory_order_release);
    if (c->wake) c->wake(c->wake_ctx);
    return NULL;
}

static uint64_t replay_work(const Db *db) {
    return log_written(db->log) + log_operations(db->log) * OPERATION_BYTES;
}

// ── the owner ──────────────────────────────────────────────────────────────────────────────────

static void give_up(Checkpointer *c) {
    pthread_mutex_lock(&c->mutex);
    atomic_store(&c->stop, true);
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->mutex);
}

void checkpointer_log_landed(Db *db) {
    Checkpointer *c = &db->checkpointer;
    if (LIKELY(!c->held) || log_durable_end(db->log).v < c->offset.v) return;
    c->held = false;
    pthread_mutex_lock(&c->mutex);
    store_checkpoint_hold(c->running, false);
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->mutex);
}

static void failed(Db *db, Err err, const Diag *diag) {
    Checkpointer *c = &db->checkpointer;
    c->stats.failed++;
    c->retry_ns = now_ns(c) + RETRY_NS;
    snprintf(c->stats.failure, sizeof c->stats.failure, "%.200s", diag->text);
    if (err != ERR_CLOSED) log_error("a checkpoint failed, the log goes on: %s", diag->text);
}

static void end(Db *db) {
    Checkpointer *c = &db->checkpointer;
    c->stats.bytes += store_checkpoint_bytes(c->running);
    c->held = false;
    Err err = store_checkpoint_end(db->store, &c->running);
    log_trim_end(db->log, &c->trim);
    atomic_store(&c->stage, CHECKPOINT_IDLE);
    if (err != OK) {
        c->log_mark = c->begun_mark;
        failed(db, err, &c->diag);
        return;
    }
    c->stats.done++;
    c->stats.failure[0] = 0;
    c->stats.last_ns = now_ns(c) - c->began_ns;
}

static Err thread_start(Db *db, Diag *diag) {
    Checkpointer *c = &db->checkpointer;
    if (c->by_hand) return OK;
    if (pthread_create(&c->thread, NULL, writer_run, db) == 0) return OK;
    return diag_fail(diag, ERR_NOMEM, "no thread for a checkpoint");
}

Err db_checkpoint_begin(Db *db, Diag *diag) {
    Checkpointer *c = &db->checkpointer;
    if (!c->io) return diag_fail(diag, ERR_UNSUPPORTED, "this database has no page file");
    if (stage_of(db) != CHECKPOINT_IDLE) return diag_fail(diag, ERR_AGAIN, "one is being written");
    ASSERT(!db->look.open);
    Err err = log_failed(db->log);
    if (err != OK) return diag_fail(diag, err, "the log stopped: %s", err_text(err));
    if (!db_flush_in_flight(db) && (err = db_flush_start(db, diag)) != OK) return err;
    TxOffset offset = log_end(db->log);
    c->began_ns = now_ns(c);
    c->err = OK;
    diag_clear(&c->diag);
    atomic_store(&c->stop, false);
    Micros wall = c->io->clock_wall(c->io->world);
    err = store_checkpoint_begin(db->store, offset.v, wall, &c->running, diag);
    if (err != OK) return err;
    log_trim_plan(db->log, offset, &c->keep, &c->trim);
    c->offset = offset;
    c->held = log_durable_end(db->log).v < offset.v;
    store_checkpoint_hold(c->running, c->held);
    c->begun_mark = c->log_mark;
    c->log_mark = replay_work(db);
    atomic_store_explicit(&c->log_now, c->log_mark, memory_order_relaxed);
    atomic_store(&c->stage, CHECKPOINT_WRITING);
    if ((err = thread_start(db, diag)) != OK) {
        (void)store_checkpoint_end(db->store, &c->running);
        c->held = false;
        c->log_mark = c->begun_mark;
        atomic_store(&c->stage, CHECKPOINT_IDLE);
    }
    return err;
}

bool db_checkpoint_running(const Db *db) {
    return stage_of(db) != CHECKPOINT_IDLE;
}

void db_checkpoint_step(Db *db, size_t bytes) {
    Checkpointer *c = &db->checkpointer;
    ASSERT(c->by_hand);
    if (stage_of(db) != CHECKPOINT_WRITING) return;
    if (write_some(c, bytes)) atomic_store(&c->stage, CHECKPOINT_WRITTEN);
}

static bool is_due(const Db *db) {
    const Checkpointer *c = &db->checkpointer;
    if (replay_work(db) - c->log_mark >= c->due_bytes) return true;
    return store_wants_checkpoint(db->store);
}

void db_checkpoint_tick(Db *db) {
    Checkpointer *c = &db->checkpointer;
    bulk_free(&db->bulk);  // nobody asks for its rows any more, and it keeps a snapshot
    if (!c->io) return;
    int stage = stage_of(db);
    // It waits for what nobody has asked the log to write.
    if (UNLIKELY(c->held) && !db_flush_in_flight(db)) (void)!db_flush_start(db, NULL);
    if (stage == CHECKPOINT_WRITTEN) {
        if (!c->by_hand) pthread_join(c->thread, NULL);
        end(db);
    } else if (UNLIKELY(stage == CHECKPOINT_WRITING)) {
        atomic_store_explicit(&c->log_now, replay_work(db), memory_order_relaxed);
    } else if (stage == CHECKPOINT_IDLE && UNLIKELY(is_due(db))) {
        Diag diag = {0};
        if (log_failed(db->log) != OK || now_ns(c) < c->retry_ns) return;
        Err err = db_checkpoint_begin(db, &diag);
        if (err != OK) failed(db, err, &diag);
    }
}

// Wait for the one being written.
static void settle(Db *db) {
    Checkpointer *c = &db->checkpointer;
    if (stage_of(db) == CHECKPOINT_IDLE) return;
    if (c->held && db_flush(db, NULL) != OK) give_up(c);
    if (c->by_hand) {
        while (stage_of(db) == CHECKPOINT_WRITING && !atomic_load(&c->stop)) {
            db_checkpoint_step(db, SIZE_MAX / 2);
        }
    } else {
        pthread_join(c->thread, NULL);
    }
    end(db);
}

Err db_checkpoint_now(Db *db, Diag *diag) {
    Checkpointer *c = &db->checkpointer;
    if (!c->io) return OK;
    settle(db);
    Err err = db_flush(db, diag);
    if (err != OK) return err;
    if (store_checkpoints(db->store) && store_log_offset(db->store) == log_end(db->log).v)
        return OK;
    if ((err = db_checkpoint_begin(db, diag)) != OK) return err;
    uint64_t done = c->stats.done;
    settle(db);
    if (c->stats.done > done) return OK;
    return diag_fail(diag, c->err, "%s", c->stats.failure);
}

void db_checkpoint_stats(const Db *db, DbCheckpointStats *out) {
    const Checkpointer *c = &db->checkpointer;
    *out = c->stats;
    out->log_bytes = replay_work(db) - c->log_mark;
    out->log_offset = store_log_offset(db->store);
}

void checkpointer_init(Db *db, const DbOptions *options) {
    Checkpointer *c = &db->checkpointer;
    if (options->in_memory || !options->page_file || options->read_only != OK) return;
    c->io = options->io;
    c->due_bytes = options->checkpoint_bytes ? options->checkpoint_bytes : DUE_BYTES_DEFAULT;
    c->rate = options->checkpoint_rate ? options->checkpoint_rate : RATE_DEFAULT;
    c->keep = options->log_keep;
    c->by_hand = options->checkpoint_by_hand;
    c->wake = options->checkpoint_wake;
    c->wake_ctx = options->checkpoint_wake_ctx;
    pthread_mutex_init(&c->mutex, NULL);
    pthread_cond_init(&c->changed, NULL);
}

void checkpointer_deinit(Db *db) {
    Checkpointer *c = &db->checkpointer;
    if (!c->io) return;
    if (stage_of(db) != CHECKPOINT_IDLE) {
        give_up(c);
        if (!c->by_hand) pthread_join(c->thread, NULL);
        end(db);
    }
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->mutex);
}
