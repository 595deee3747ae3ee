// log.c: the batch of a turn, and what has become durable of it.
//
//            durable_end        started_end                        end
//   ─ on disk ────┼──── in flight ───┼───────────── batch ──────────┤
//                      [room │ …]     [room for the sink's header │ commit │ commit being built …
//                                                                        │  └ begun_at
//                                                                        └ here stands what was handed
//                                                                          over: a piece of its own
// ALWAYS TRUE
//   (1) durable_end <= started_end <= end; those between the first two are in `flying`, which the
//       sink borrows, and those between the last two in `batch`. Nothing is in flight: the first two
//       are the same.
//   (2) The batch's bytes up to begun_at (or its end when no commit is begun) are whole commits.
//   (3) Once `failed` is set nothing is given out or made durable any more.
//
//   (4) Pieces are in the order of their places, each in a commit: behind the place where it begins.
//
// A commit's operations go straight into the batch: no allocation and no second copy for each. Those of a
// million rows come in a buffer that somebody filled beside the loop, and stay there.
#include "log/log.h"

#include "base/mem.h"
#include "log/format.h"
#include "log/sink.h"

typedef struct Batch {
    Buf bytes;
    LogPiece *pieces;
    uint32_t piece_count, piece_cap;
    size_t piece_bytes;  // of all
} Batch;

struct Log {
    LogSink *sink;  // NULL: in memory only
    size_t large_bytes;
    TxOffset end;
    TxOffset started_end;
    TxOffset durable_end;
    Batch batch, flying;
    size_t begun_at;  // 0: no commit is begun
    size_t op_count_at;
    uint32_t op_count;
    uint64_t written, operations;
    Err failed;
};

enum {
    // A turn that was unusually large should not keep its memory for ever.
    BATCH_KEPT_BYTES_MAX = 4 << 20,
    NAME_BYTES_MAX = UINT16_MAX,
};

static void pieces_drop(Batch *batch, uint32_t count) {
    while (batch->piece_count > count) {
        LogPiece *piece = &batch->pieces[--batch->piece_count];
        buf_deinit(&piece->bytes);
    }
}

// Ready for the first commit, or failed with the memory for it not there yet: log_commit_begin
// asks again.
static void batch_reset(Batch *batch) {
    if (batch->bytes.cap > BATCH_KEPT_BYTES_MAX) buf_deinit(&batch->bytes);
    buf_clear(&batch->bytes);
    if (UNLIKELY(batch->piece_count)) pieces_drop(batch, 0);
    batch->piece_bytes = 0;
}

static void batch_deinit(Batch *batch) {
    pieces_drop(batch, 0);
    mem_free(batch->pieces);
    buf_deinit(&batch->bytes);
}

Err log_open(const LogOptions *options,
             LogReplay replay,
             void *ctx,
             Log **out,
             uint64_t *torn_bytes,
             Diag *diag) {
    if (torn_bytes) *torn_bytes = 0;
    Log *log = MEM_NEW(Log);
    if (!log) return diag_fail(diag, ERR_NOMEM, "cannot open the log: %s", err_text(ERR_NOMEM));
    log->large_bytes = log_large_bytes(options);
    if (!options->in_memory) {
        LogOpened opened = {0};
        Err err = options->read_only == OK
                      ? log_local_open(options, replay, ctx, &log->sink, &opened, diag)
                      : log_look(options, replay, ctx, &opened, diag);
        log->failed = options->read_only;
        if (err != OK) {
            log_close(&log);
            return err;
        }
        log->end = log->started_end = log->durable_end = opened.end;
        log->written = opened.replayed_bytes;
        log->operations = opened.replayed_operations;
        if (torn_bytes) *torn_bytes = opened.torn_bytes;
    }
    *out = log;
    return OK;
}

void log_close(Log **log) {
    if (!*log) return;
    if ((*log)->sink) (*log)->sink->ops->close(&(*log)->sink);
    batch_deinit(&(*log)->batch);
    batch_deinit(&(*log)->flying);
    mem_free(*log);
    *log = NULL;
}

void log_commit_begin(Log *log, const CommitInfo *info) {
    ASSERT(log->begun_at == 0);
    Buf *batch = &log->batch.bytes;
    if (batch->len == 0) (void)buf_extend(batch, LOG_BATCH_ROOM_BYTES);
    // After a failure of that very first extend, 0 would mean "none begun": any other place will
    // do, since log_commit_end finds the failure and starts the batch over.
    log->begun_at = MAX(batch->len, (size_t)LOG_BATCH_ROOM_BYTES);
    log->op_count = 0;

    size_t name_len = utf8_cut(info->name, NAME_BYTES_MAX);
    uint8_t *p = buf_extend(batch, COMMIT_HEAD_BYTES + name_len + COMMIT_OP_COUNT_BYTES);
    if (!p) return;  // log_commit_end reports it
    store_u64(p, log->end.v);
    store_u64(p + 8, (uint64_t)info->timestamp);
    memcpy(p + 16, info->caller.le, sizeof info->caller.le);
    memcpy(p + 48, info->connection.le, sizeof info->connection.le);
    store_u16(p + COMMIT_NAME_LEN_AT, (uint16_t)name_len);
    bytes_copy(p + COMMIT_HEAD_BYTES, (const uint8_t *)info->name.ptr, name_len);
    log->op_count_at = batch->len - COMMIT_OP_COUNT_BYTES;
}

void log_commit_op(Log *log, CommitOpKind kind, uint32_t table_id, Bytes bytes) {
    ASSERT(log->begun_at != 0);
    commit_op_put(&log->batch.bytes, kind, table_id, bytes);
    log->op_count++;
}

static bool pieces_reserve(Batch *batch) {
    if (batch->piece_count < batch->piece_cap) return true;
    uint32_t cap = batch->piece_cap * 2 + 4;
    LogPiece *pieces = mem_realloc(batch->pieces, cap * sizeof *pieces);
    if (!pieces) return false;
    batch->pieces = pieces;
    batch->piece_cap = cap;
    return true;
}

void log_commit_take_ops(Log *log, Buf *ops, uint32_t count) {
    ASSERT(log->begun_at != 0);
    Batch *batch = &log->batch;
    log->op_count += count;
    if (ops->len < log->large_bytes || !buf_ok(&batch->bytes)) {
        buf_put_bytes(&batch->bytes, buf_bytes(ops));
        buf_deinit(ops);
    } else if (pieces_reserve(batch)) {
        size_t at = batch->bytes.len - LOG_BATCH_ROOM_BYTES;
        batch->pieces[batch->piece_count++] = (LogPiece){at, *ops};
        batch->piece_bytes += ops->len;
        *ops = (Buf){0};
    } else {
        batch->bytes.failed = true;  // log_commit_end reports it
        buf_deinit(ops);
    }
}

static void pieces_abandon(Log *log) {
    Batch *batch = &log->batch;
    uint32_t kept = batch->piece_count;
    while (kept && batch->pieces[kept - 1].at + LOG_BATCH_ROOM_BYTES > log->begun_at) {
        batch->piece_bytes -= batch->pieces[--kept].bytes.len;
    }
    pieces_drop(batch, kept);
}

void log_commit_abandon(Log *log) {
    ASSERT(log->begun_at != 0);
    Buf *bytes = &log->batch.bytes;
    pieces_abandon(log);
    bytes->failed = false;  // what failed was this commit; those before it are whole (2)
    bytes->len = log->begun_at == LOG_BATCH_ROOM_BYTES ? 0 : log->begun_at;
    log->begun_at = 0;
}

Err log_commit_end(Log *log, TxOffset *out) {
    ASSERT(log->begun_at != 0);
    Err err = log->failed;
    if (err == OK && !buf_ok(&log->batch.bytes)) err = ERR_NOMEM;
    if (err != OK) {
        log_commit_abandon(log);
        return err;
    }
    store_u32(log->batch.bytes.ptr + log->op_count_at, log->op_count);
    log->begun_at = 0;
    *out = log->end;
    log->operations += log->op_count;
    log->end.v++;
    return OK;
}

static Err refuse(const Log *log, Diag *diag) {
    return diag_fail(diag, log->failed, "the log stopped: %s", err_text(log->failed));
}

// Give the batch to the sink; the next is filled from now on.
static Err batch_send(Log *log, bool beside, Diag *diag) {
    Batch *full = &log->batch;
    LogBatch batch = {
        .first = log->started_end,
        .commits = (uint32_t)(log->end.v - log->started_end.v),
        .payload = full->bytes.ptr + LOG_BATCH_ROOM_BYTES,
        .payload_len = full->bytes.len - LOG_BATCH_ROOM_BYTES,
        .pieces = full->pieces,
        .piece_count = full->piece_count,
        .bytes = full->bytes.len - LOG_BATCH_ROOM_BYTES + full->piece_bytes,
    };
    Batch empty = log->flying;
    log->flying = log->batch;
    log->batch = empty;
    log->started_end = log->end;
    log->written += batch.bytes;
    return log->sink->ops->append(log->sink, &batch, beside, diag);
}

Err log_flush_poll(Log *log, bool wait, Diag *diag) {
    if (log->failed != OK) return refuse(log, diag);
    if (!log_in_flight(log)) return OK;
    log->failed = log->sink->ops->poll(log->sink, wait, &log->durable_end, diag);
    if (log->failed == OK && !log_in_flight(log)) batch_reset(&log->flying);
    return log->failed;
}

static Err flush(Log *log, bool beside, Diag *diag) {
    ASSERT(log->begun_at == 0);
    if (log->end.v == log->started_end.v) return OK;
    if (!log->sink) {
        log->durable_end = log->started_end = log->end;
        batch_reset(&log->batch);
        return OK;
    }
    log->failed = batch_send(log, beside, diag);
    return log->failed;
}

Err log_flush_start(Log *log, Diag *diag) {
    ASSERT(!log_in_flight(log));
    return log->failed == OK ? flush(log, true, diag) : refuse(log, diag);
}

Err log_flush(Log *log, Diag *diag) {
    Err err = log_flush_poll(log, true, diag);
    if (err == OK) err = flush(log, false, diag);
    if (err == OK) err = log_flush_poll(log, true, diag);
    ASSERT(err != OK || log->durable_end.v == log->end.v);
    return err;
}

bool log_in_flight(const Log *log) {
    return log->durable_end.v < log->started_end.v;
}

size_t log_pending(const Log *log) {
    return log->batch.bytes.len + log->batch.piece_bytes;
}

TxOffset log_end(const Log *log) {
    return log->end;
}

TxOffset log_durable_end(const Log *log) {
    return log->durable_end;
}

Err log_failed(const Log *log) {
    return log->failed;
}

bool log_mark(const Log *log, LogMark *out) {
    if (!log->sink || log->failed != OK) return false;
    *out = log->sink->ops->mark(log->sink);
    ASSERT(out->offset.v == log->durable_end.v);
    return true;
}

uint64_t log_bytes(const Log *log) {
    return log->sink ? log->sink->ops->bytes(log->sink) : 0;
}

uint64_t log_written(const Log *log) {
    return log->written;
}

uint64_t log_operations(const Log *log) {
    return log->operations;
}

void log_trim_plan(const Log *log, TxOffset offset, const LogKeep *keep, LogTrim *out) {
    out->count = out->removed = 0;
    if (log->sink) log->sink->ops->trim_plan(log->sink, offset, keep, out);
}

void log_trim_end(Log *log, const LogTrim *trim) {
    if (log->sink) log->sink->ops->trim_end(log->sink, trim);
}

TxOffset log_begin(const Log *log) {
    return log->sink ? log->sink->ops->begin(log->sink) : log->end;
}

uint64_t log_syncs(const Log *log) {
    return log->sink ? log->sink->ops->syncs(log->sink) : 0;
}
