// pg_stream.c: a large answer, made on a worker as fast as the client takes it.
//
// PICTURE
//   worker   statement_run on a snapshot ─> rows, encoded ─> `ready` ── full: waits for the loop
//   loop     pg_stream_take, when what it took before is on its way to the client
//
// ALWAYS TRUE
//   (1) The worker touches the snapshot only while it holds `reading` and was not told to stop, so
//       pg_stream_cancel, which waits for that, may release it.
//   (2) While it waits it holds neither lock, its place among the workers is free, and where the rows do
//       not point into the store it keeps no page in memory either.
//   (3) It does not wait for ever: a client that asks for no more rows for PATIENCE_S ends it.
#include <errno.h>
#include <time.h>

#include "base/mem.h"
#include "node/pg_private.h"

#define CHUNK_BYTES ((size_t)64 << 10)
#define READY_BYTES ((size_t)512 << 10)
#define PATIENCE_S  300
#define STREAMS_MAX 64  // of a database

struct PgStream {
    WorkerJob job;
    LoopTask arrived;
    atomic_uint refs;  // the portal's, the worker's and the task's
    NodeLoop *loop;
    Session *session;  // NULL: cancelled. The loop's
    Snapshot *snapshot;
    Statement *statement;
    bool may_lower;  // (2)
    uint16_t *formats;
    uint32_t format_count;

    pthread_mutex_t reading;  // (1)
    atomic_bool stop;

    // The worker's.
    Buf chunk;
    const StatementColumn *columns;
    uint32_t column_count;

    pthread_mutex_t mutex;
    pthread_cond_t changed;
    // Under it.
    Buf ready;
    bool posted, ended;
    Err err;
    Diag diag;
};

static void release(PgStream *t) {
    if (atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1) return;
    statement_free(&t->statement);
    buf_deinit(&t->chunk);
    buf_deinit(&t->ready);
    mem_free(t->formats);
    pthread_cond_destroy(&t->changed);
    pthread_mutex_destroy(&t->mutex);
    pthread_mutex_destroy(&t->reading);
    mem_free(t);
}

// ── on the worker's thread ─────────────────────────────────────────────────────────────────────

// Tell the loop; under the mutex.
static void post(PgStream *t) {
    if (t->posted) return;
    t->posted = true;
    atomic_fetch_add(&t->refs, 1);
    loop_post(t->loop, &t->arrived);
}

// Wait until the loop has taken what is ready; under the mutex. False: nobody did.
static bool wait_taken(PgStream *t) {
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += PATIENCE_S;
    while (t->ready.len > READY_BYTES && !atomic_load(&t->stop)) {
        if (pthread_cond_timedwait(&t->changed, &t->mutex, &end) != ETIMEDOUT) continue;
        t->err = diag_fail(&t->diag,
                           ERR_DEADLINE,
                           "canceling statement: its rows were not asked for in %d seconds",
                           PATIENCE_S);
        return false;
    }
    return true;
}

static void hand_over(PgStream *t) {
    if (t->ready.len == 0) {
        Buf empty = t->ready;
        t->ready = t->chunk;
        t->chunk = empty;
    } else {
        buf_put_bytes(&t->ready, buf_bytes(&t->chunk));
    }
    buf_clear(&t->chunk);
    post(t);
}

// The chunk goes to the loop. False: there is no point in going on.
static bool flush(PgStream *t) {
    WorkerPool *workers = t->loop->node->workers;
    bool go = true;
    pthread_mutex_lock(&t->mutex);
    if (!buf_ok(&t->chunk)) t->err = ERR_NOMEM;
    if (t->err == OK) hand_over(t);
    if (t->err == OK && t->ready.len > READY_BYTES) {
        if (t->may_lower) store_guard_lower();
        pthread_mutex_unlock(&t->reading);
        worker_wait_begin(workers);
        go = wait_taken(t);
        pthread_mutex_unlock(&t->mutex);  // a place among the workers may take its time
        worker_wait_end(workers);
        pthread_mutex_lock(&t->reading);
        pthread_mutex_lock(&t->mutex);
    }
    go = go && t->err == OK && !atomic_load(&t->stop);
    pthread_mutex_unlock(&t->mutex);
    return go;
}

static bool take_row(void *ctx, Bytes row) {
    PgStream *t = ctx;
    const uint8_t *at = row.ptr;
    size_t begin = pg_row_begin(&t->chunk, t->column_count);
    for (uint32_t i = 0; i < t->column_count; i++) {
        pg_put_value(&t->chunk,
                     t->columns[i].type,
                     at,
                     pg_format_at(t->formats, t->format_count, i));
        at += bsatn_len(t->columns[i].type, at);
    }
    pg_row_end(&t->chunk, begin);
    return t->chunk.len < CHUNK_BYTES ? buf_ok(&t->chunk) : flush(t);
}

static void job_run(WorkerJob *job) {
    PgStream *t = CONTAINER_OF(job, PgStream, job);
    Diag diag;
    diag_clear(&diag);
    pthread_mutex_lock(&t->reading);
    Err err = ERR_CLOSED;
    if (!atomic_load(&t->stop)) err = statement_run(t->statement, t->snapshot, take_row, t, &diag);
    store_guard_lower();
    pthread_mutex_unlock(&t->reading);

    pthread_mutex_lock(&t->mutex);
    if (t->err == OK && err != OK) {
        t->err = err;
        t->diag = diag;
    }
    if (t->err == OK && t->chunk.len) hand_over(t);
    if (!buf_ok(&t->ready)) t->err = ERR_NOMEM;
    t->ended = true;
    post(t);
    pthread_mutex_unlock(&t->mutex);
    release(t);
}

// ── on the loop ────────────────────────────────────────────────────────────────────────────────

static void arrived_run(LoopTask *task, NodeLoop *loop) {
    PgStream *t = CONTAINER_OF(task, PgStream, arrived);
    (void)loop;
    pthread_mutex_lock(&t->mutex);
    t->posted = false;
    pthread_mutex_unlock(&t->mutex);
    if (t->session) session_ready(t->session);
    release(t);
}

bool pg_stream_take(PgStream *t, Buf *rows, bool *ended, Err *err, Diag *diag) {
    pthread_mutex_lock(&t->mutex);
    bool any = t->ready.len > 0;
    if (any) {
        Buf taken = t->ready;
        t->ready = *rows;
        buf_clear(&t->ready);
        *rows = taken;
        pthread_cond_signal(&t->changed);
    }
    *ended = t->ended;
    *err = t->ended ? t->err : OK;
    if (t->ended) *diag = t->diag;
    pthread_mutex_unlock(&t->mutex);
    return any || *ended;
}

static Err prepare(PgStream *t, Session *s, const PgPortal *portal) {
    Database *db = s->database;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&t->changed, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&t->mutex, NULL);
    pthread_mutex_init(&t->reading, NULL);
    atomic_init(&t->refs, 1);
    atomic_init(&t->stop, false);
    diag_clear(&t->diag);
    t->job.run = job_run;
    t->job.payer = (load_u64(s->identity.le) ^ load_u64(db->identity.le)) | 1;
    t->job.payer_max = (uint32_t)db->settings.identity_workers_max;
    t->arrived.run = arrived_run;
    t->loop = db->loop;
    t->session = s;
    t->formats = mem_zalloc((portal->format_count + 1) * sizeof *t->formats);
    if (!t->formats) return ERR_NOMEM;
    t->format_count = portal->format_count;
    if (t->format_count) memcpy(t->formats, portal->formats, t->format_count * sizeof *t->formats);
    Err err = statement_detach(t->statement);
    if (err != OK) return err;
    statement_limit(t->statement, &t->stop, (uint64_t)db->settings.result_rows_max, 0);
    t->columns = statement_columns(t->statement, &t->column_count);
    t->may_lower = statement_gives_copies(t->statement);
    return store_snapshot(db_store(db->db), &t->snapshot);
}

Err pg_stream_begin(Session *s, PgPortal *portal, Statement **statement) {
    Database *db = s->database;
    if (db->streams >= STREAMS_MAX) return ERR_BUSY;
    PgStream *t = MEM_NEW(PgStream);
    if (!t) return ERR_NOMEM;
    t->statement = *statement;
    *statement = NULL;
    Err err = prepare(t, s, portal);
    if (err == OK) {
        atomic_fetch_add(&t->refs, 1);
        if ((err = worker_submit(db->loop->node->workers, &t->job)) != OK)
            atomic_fetch_sub(&t->refs, 1);
    }
    if (err != OK) {
        snapshot_release(&t->snapshot);
        release(t);
        return err;
    }
    db->streams++;
    db->counters.reads++;
    portal->stream = t;
    return OK;
}

void pg_stream_cancel(PgStream **handle) {
    PgStream *t = *handle;
    if (!t) return;
    *handle = NULL;
    atomic_store(&t->stop, true);
    pthread_mutex_lock(&t->mutex);
    bool ended = t->ended;
    pthread_cond_signal(&t->changed);
    pthread_mutex_unlock(&t->mutex);
    pthread_mutex_lock(&t->reading);  // (1)
    pthread_mutex_unlock(&t->reading);
    snapshot_release(&t->snapshot);
    if (!ended) t->session->database->counters.reads_cancelled++;
    t->session->database->streams--;
    t->session = NULL;
    release(t);
}
