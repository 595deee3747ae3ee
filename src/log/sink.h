// sink.h: where batches go. Local segment files now; a replicated log can take their place.
//
// Appending is asynchronous: `append` starts it, `poll` tells how far everything is safe. One batch
// is in flight at most. A sink that lost its right to write (another server leads) answers
// ERR_FENCED, for good.
#pragma once
#include "log/log.h"

// Room in front of a batch's payload, where a sink puts its own header, so that header and payload
// leave in one write.
enum { LOG_BATCH_ROOM_BYTES = 64 };

// Part of a payload that was written elsewhere and handed over: it stands where the payload's own
// bytes have come to `at`.
typedef struct LogPiece {
    size_t at;
    Buf bytes;
} LogPiece;

typedef struct LogBatch {
    TxOffset first;
    uint32_t commits;  // at least one
    uint8_t
        *payload;  // the commits, one after another; LOG_BATCH_ROOM_BYTES before it are writable
    size_t payload_len;
    LogPiece *pieces;  // of it; ascending. The sink may free their bytes when it needs them no more
    uint32_t piece_count;
    size_t bytes;  // of all
} LogBatch;

// Operations of fewer bytes are copied into the batch, and a batch of fewer is written by its owner.
static inline size_t log_large_bytes(const LogOptions *options) {
    enum { LARGE_BYTES_DEFAULT = 1 << 20 };
    return options->large_bytes ? options->large_bytes : LARGE_BYTES_DEFAULT;
}

typedef struct LogSink LogSink;
typedef struct LogSinkOps {
    // Start to make a batch durable. What it points to is the log's, until poll says that it is durable.
    // `beside`: this may return before it is; otherwise it is durable on OK. Any error is final: the
    // sink takes no further batch.
    Err (*append)(LogSink *sink, const LogBatch *batch, bool beside, Diag *diag);
    // Every offset below *durable_end is safe. `wait`: for what is in flight.
    Err (*poll)(LogSink *sink, bool wait, TxOffset *durable_end, Diag *diag);
    void (*close)(LogSink **sink);  // waits for what is in flight
    uint64_t (*bytes)(const LogSink *sink);
    uint64_t (*syncs)(const LogSink *sink);
    void (*trim_plan)(const LogSink *sink, TxOffset offset, const LogKeep *keep, LogTrim *out);
    void (*trim_end)(LogSink *sink, const LogTrim *trim);
    TxOffset (*begin)(const LogSink *sink);
    LogMark (*mark)(const LogSink *sink);  // of the durable end
} LogSinkOps;

struct LogSink {  // the first member of every sink
    const LogSinkOps *ops;
};

typedef struct LogOpened {
    TxOffset end;
    uint64_t torn_bytes;
    uint64_t replayed_bytes, replayed_operations;
} LogOpened;

// What is in options->dir, without a sink (LogOptions.read_only).
MUST_USE Err
log_look(const LogOptions *options, LogReplay replay, void *ctx, LogOpened *opened, Diag *diag);
// Segment files in options->dir: replays and verifies them as log_open says.
MUST_USE Err log_local_open(const LogOptions *options,
                            LogReplay replay,
                            void *ctx,
                            LogSink **out,
                            LogOpened *opened,
                            Diag *diag);
