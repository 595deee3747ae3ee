// log.h: durable history. Whatever was acknowledged can be replayed.
//
// The commit log of one database: commits with dense offsets, written in batches. A batch is what
// one turn of the loop committed; it costs one write and one fdatasync however many commits are in
// it. Where batches go is a LogSink: local segment files here, a replicated log later, so appending
// is asynchronous in form: log_flush starts it, the sink reports DURABLE or FENCED.
//
// The file format is documented at the top of segment.c, the commit's in commit.h.
#pragma once
#include "log/commit.h"
#include "os/io.h"

typedef struct Log Log;

typedef struct LogOptions {
    const Io *io;
    const char *dir;         // of this database's segments; made when it is not there
    uint64_t segment_bytes;  // preallocated size of a segment; 0: 64 MiB
    size_t large_bytes;  // what has so many is neither copied nor written by the owner; 0: 1 MiB
    bool in_memory;      // keep nothing: every batch is durable at once
    TxOffset start;      // commits below it are in a checkpoint: they are not replayed
    // Not OK: only look. The commits below `end` are replayed, nothing is written or locked, and
    // every commit is refused with this error.
    Err read_only;
    TxOffset end;             // of what read_only replays; 0: all there is
    bool begins;              // there is no log yet: begin one at `start`. Else ERR_EXISTS
    void (*wake)(void *ctx);  // may be NULL; from any thread: what was in flight is not any more
    void *wake_ctx;
} LogOptions;

// Open for appending. Reads every segment that may hold commits from `start` on once, calling `replay` with each commit in order (NULL:
// only verify). A torn tail is cut and reported in *torn_bytes; damage anywhere else is ERR_CORRUPT
// with file and offset in diag, and nothing is changed; so is a log that ends before `start` or
// begins after it. The commit borrows from the log's buffer
// and is valid during the call only.
typedef Err (*LogReplay)(void *ctx, const Commit *commit, Diag *diag);
MUST_USE Err log_open(const LogOptions *options,
                      LogReplay replay,
                      void *ctx,
                      Log **out,
                      uint64_t *torn_bytes,
                      Diag *diag);
// Waits for a flush in flight; what was not flushed is lost.
void log_close(Log **log);

// Build a commit in the current batch, straight into its buffer: begin, its operations, end. `end`
// gives it its offset. `abandon` removes a begun one. Nothing reaches the disk before log_flush.
void log_commit_begin(Log *log, const CommitInfo *info);
void log_commit_op(Log *log, CommitOpKind kind, uint32_t table_id, Bytes bytes);
// Operations that commit_op_put wrote; they may be given in parts, and `count` with any of them. The
// buffer's memory is the log's from then on, and *ops empty.
void log_commit_take_ops(Log *log, Buf *ops, uint32_t count);
MUST_USE Err log_commit_end(Log *log, TxOffset *out);  // ERR_NOMEM: the commit is not in the batch
void log_commit_abandon(Log *log);

// Make everything ended so far durable. OK: log_durable_end() covers it.
// ERR_IO or ERR_DISK_FULL: the log refuses every later commit with that error (log_failed), since a
// failed fsync says nothing about what is on the disk.
MUST_USE Err log_flush(Log *log, Diag *diag);
// The same beside the caller: log_durable_end() covers it once log_flush_poll has seen it land.
// Nothing may be in flight.
MUST_USE Err log_flush_start(Log *log, Diag *diag);
// Has what is in flight landed? `wait`: not before it has. Errors as of log_flush.
MUST_USE Err log_flush_poll(Log *log, bool wait, Diag *diag);
bool log_in_flight(const Log *log);
size_t log_pending(const Log *log);        // bytes that no flush was started for
TxOffset log_end(const Log *log);          // the next offset to be given out
TxOffset log_durable_end(const Log *log);  // every offset below it is on disk
Err log_failed(const Log *log);            // OK, or why it stopped
uint64_t log_bytes(const Log *log);        // size of all segments
uint64_t log_syncs(const Log *log);        // fdatasyncs done
// Of batches replayed at opening, and since then:
uint64_t log_written(const Log *log);  // bytes
uint64_t log_operations(const Log *log);

// A place in one history: nobody else's log, nor this one after it lost its end, has the same. `offset` is
// where a batch ends, `chain` that batch's checksum, `salt` of the segment that it is in.
typedef struct LogMark {
    TxOffset offset;
    uint64_t salt;
    uint32_t chain;
} LogMark;
// The place that log_durable_end names. False: the log is kept nowhere, or only looked at.
bool log_mark(const Log *log, LogMark *out);

// Read all of a log that nobody has open for writing, changing nothing: every segment there is, of
// which commits from options->start on go to `replay` (may be NULL). Errors as log_open.
typedef struct LogVerified {
    TxOffset begin, end;
    uint64_t segments, bytes, torn_bytes;
} LogVerified;
MUST_USE Err
log_verify(const LogOptions *options, LogReplay replay, void *ctx, LogVerified *out, Diag *diag);

// ── letting the front go ───────────────────────────────────────────────────────────────────────

// What a checkpoint makes superfluous may be worth keeping, for restoring to a point in time: at
// least so many bytes of segments, and every segment with commits of the last so many microseconds.
typedef struct LogKeep {
    uint64_t bytes;
    int64_t us;
} LogKeep;

// Segments that may go. Removing a file takes a file system its time, so it is a step of its own.
typedef struct LogTrim {
    const Io *io;
    char dir[IO_PATH_MAX];
    uint64_t first[32];  // their first offsets
    uint32_t count;
    uint32_t removed;
} LogTrim;
// Once everything below `offset` is safe elsewhere. On the owner's thread.
void log_trim_plan(const Log *log, TxOffset offset, const LogKeep *keep, LogTrim *out);
MUST_USE Err log_trim_run(LogTrim *trim);          // on any thread, the oldest first
void log_trim_end(Log *log, const LogTrim *trim);  // on the owner's thread again
TxOffset log_begin(const Log *log);                // the first offset there is a segment for
