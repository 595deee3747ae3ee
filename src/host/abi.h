// abi.h: the module ABI's own state during one call, the same for every engine.
//
// An engine translates its guest's arguments into these calls and their results back. What they
// mean (iterators, chunks, handles, timers, log records) is decided here, once; the data is behind
// txn/access.h. Spec: module-abi §1.4–§1.11.
#pragma once
#include "host/foresee.h"

#define ABI_CHUNK_BYTES 32768  // a chunk of rows is closed when it has grown beyond this (§1.6)

typedef struct AbiIter {
    Buf rows;   // everything the scan found, serialised when it started
    Buf ends;   // u64 each: where a chunk but the last ends in `rows`
    size_t at;  // bytes handed out
    size_t next_chunk;
    struct Abi *abi;     // while a scan fills it
    size_t counted;      // its part of iter_bytes
    uint32_t next_free;  // in the free list while closed: index + 1, 0 ends it
    bool open;
} AbiIter;

typedef struct AbiTimer {
    Buf name;
    uint64_t started_ns;
    uint32_t next_free;
    bool open;
} AbiTimer;

// One for each instance; zeroed, then abi_init. Memory of iterators is kept between calls.
typedef struct Abi {
    const HostEnv *env;
    Access *access;  // NULL: no transaction is open
    Str function;    // of the running call, for log records; ptr NULL when none runs
    bool running;    // a call is running (otherwise the module is being loaded)
    bool fatal;      // a host function failed beyond repair: the call cannot succeed any more
    const HostProcedureOps *procedure;  // of procedures and HTTP handlers
    void *procedure_ctx;
    bool in_procedure_tx;  // `access` belongs to a transaction that abi_tx_begin opened
    Foresee foresee;
    uint64_t waited_ns;  // time of this call spent waiting: not counted against its budget
    AbiIter *iters;
    uint32_t iter_count, iter_cap, iter_free;
    size_t iter_bytes, iter_kept;  // of open ones; of closed ones
    bool iter_overflow;            // open ones have more than they may
    uint32_t open_count;           // iterators and timers
    AbiTimer *timers;
    uint32_t timer_count, timer_cap, timer_free;
} Abi;

void abi_init(Abi *abi, const HostEnv *env);
void abi_deinit(Abi *abi);
void abi_begin(Abi *abi, const HostCall *call);  // which stays valid until abi_end
void abi_end(Abi *abi);                          // closes iterators and timers left open

// Data. ABI_NOT_IN_TRANSACTION without an Access; ABI_FATAL is remembered and every later call of
// the same run answers it.
AbiErrno abi_table_id(Abi *abi, Str name, uint32_t *out);
AbiErrno abi_index_id(Abi *abi, Str name, uint32_t *out);
AbiErrno abi_row_count(Abi *abi, uint32_t table, uint64_t *out);
AbiErrno abi_scan_table(Abi *abi, uint32_t table, uint32_t *iter);
AbiErrno abi_scan_point(Abi *abi, uint32_t index, Bytes point, uint32_t *iter);
AbiErrno abi_scan_range(Abi *abi, uint32_t index, const AccessRange *range, uint32_t *iter);
AbiErrno abi_insert(Abi *abi, uint32_t table, Bytes row, Buf *generated);
AbiErrno abi_update(Abi *abi, uint32_t table, uint32_t index, Bytes row, Buf *generated);
AbiErrno abi_delete_point(Abi *abi, uint32_t index, Bytes point, uint32_t *deleted);
AbiErrno abi_delete_range(Abi *abi, uint32_t index, const AccessRange *range, uint32_t *deleted);
AbiErrno abi_delete_all_by_eq(Abi *abi, uint32_t table, Bytes relation, uint32_t *deleted);
AbiErrno abi_clear(Abi *abi, uint32_t table, uint64_t *deleted);
AbiErrno abi_jwt(Abi *abi, const ConnectionId *connection, Bytes *out);  // until the next call

// Copy as many whole chunks as fit `room` to `out` and set *len. *exhausted: that was everything,
// and the handle is gone.
//   ABI_NO_SUCH_ITER      no such handle
//   ABI_BUFFER_TOO_SMALL  not even one chunk fits; *len is its size and nothing has changed
AbiErrno abi_iter_advance(Abi *abi,
                          uint32_t iter,
                          uint8_t *out,
                          size_t room,
                          size_t *len,
                          bool *exhausted);
// What abi_iter_advance would copy given `room`, without doing it. 0 for an unknown handle.
size_t abi_iter_fitting(const Abi *abi, uint32_t iter, size_t room);
// All rows of a fresh iterator whose rows are one chunk at most; valid until it is closed.
bool abi_iter_whole(const Abi *abi, uint32_t iter, Bytes *out);
AbiErrno abi_iter_close(Abi *abi, uint32_t iter);

// Procedures and HTTP handlers (§1.12). Elsewhere: begin ABI_WOULD_BLOCK_TRANSACTION, commit and
// abort ABI_TRANSACTION_NOT_ANONYMOUS. abi_end aborts a transaction left open and logs that.
AbiErrno abi_tx_begin(Abi *abi, Micros *timestamp);
AbiErrno abi_tx_commit(Abi *abi);
AbiErrno abi_tx_abort(Abi *abi);
// Results as in HostProcedureOps.http (which may be NULL: requests are disabled, an
// ABI_HTTP_ERROR). ABI_WOULD_BLOCK_TRANSACTION with a transaction open or outside a procedure.
AbiErrno abi_http(Abi *abi, Bytes request, Bytes body, Buf *response, Buf *body_out);
// False: not allowed here, *why says it for the trap.
bool abi_sleep_until(Abi *abi, Micros wake, Micros *now, const char **why);
bool abi_may_block(const Abi *abi);  // whether http and sleep are linked to anything

// Console. `level` is the guest's byte; unknown ones mean debug. Texts are UTF-8 already.
void abi_log(Abi *abi, uint8_t level, Str target, Str filename, uint32_t line, Str message);
void abi_log_panic(Abi *abi,
                   Str filename,
                   uint32_t line,
                   Str message,
                   const Str *frames,
                   uint32_t frame_count);
AbiErrno abi_timer_start(Abi *abi, Str name, uint32_t *timer);
AbiErrno abi_timer_end(Abi *abi, uint32_t timer);

// A span of time as timers print it: "1.234ms", "2.5s", "917ns".
void abi_duration_text(uint64_t ns, char out[32]);
uint64_t abi_monotonic_ns(void);

// ---- bytes sources and sinks (abi_bytes.c): how wasm modules get and give byte strings (§1.7)

#define ABI_SINK_BYTES_MAX ((size_t)64 << 20)  // of all sinks of a call

typedef struct AbiSource {
    Bytes left;  // of `own`, or borrowed until the call ends
    Buf own;
    bool open;
} AbiSource;

// One for each instance that needs it; zeroed is ready. Handles count up from 1 in every call.
typedef struct AbiBytes {
    AbiSource *sources;
    uint32_t source_count, source_cap;  // as many as this call made; memory of more is kept
    Buf *sinks;
    uint32_t sink_count, sink_cap;
    size_t sunk_bytes;
} AbiBytes;

void abi_bytes_deinit(AbiBytes *bytes);
void abi_bytes_reset(AbiBytes *bytes);  // the call is over: all handles are gone

// A source of `content`, borrowed until the reset; *source is 0 when it is empty. False: no memory.
bool abi_source_new(AbiBytes *bytes, Bytes content, uint32_t *source);
// The same of bytes that it keeps; *content is empty afterwards.
bool abi_source_take(AbiBytes *bytes, Buf *content, uint32_t *source);
// Copy what fits `room` and set *len. *exhausted: that was the rest, and the handle is gone.
AbiErrno abi_source_read(AbiBytes *bytes,
                         uint32_t source,
                         uint8_t *out,
                         size_t room,
                         size_t *len,
                         bool *exhausted);
AbiErrno abi_source_left(const AbiBytes *bytes, uint32_t source, size_t *len);

bool abi_sink_new(AbiBytes *bytes, uint32_t *sink);  // false: no memory
// ABI_NO_SUCH_BYTES, or ABI_NO_SPACE beyond ABI_SINK_BYTES_MAX; nothing is written then.
AbiErrno abi_sink_write(AbiBytes *bytes, uint32_t sink, Bytes content);
Bytes abi_sink_bytes(const AbiBytes *bytes, uint32_t sink);  // until the reset or the next write
