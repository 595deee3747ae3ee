// access.h: what a running call sees of the data, whichever lane it runs in.
//
// The module host (host/) is written once over this table of functions. Its implementations are
// the head of the database (head.c) and, later, a snapshot with an overlay of private writes. The
// functions speak the module ABI's language (spec: module-abi §1.4–§1.9): BSATN keys and bounds,
// errnos, generated columns.
#pragma once
#include "base/ids.h"
#include "sats/bsatn.h"

typedef enum AbiErrno {
    ABI_OK = 0,
    ABI_HOST_CALL_FAILURE = 1,
    ABI_NOT_IN_TRANSACTION = 2,
    ABI_BSATN_DECODE_ERROR = 3,
    ABI_NO_SUCH_TABLE = 4,
    ABI_NO_SUCH_INDEX = 5,
    ABI_NO_SUCH_ITER = 6,
    ABI_NO_SUCH_CONSOLE_TIMER = 7,
    ABI_NO_SUCH_BYTES = 8,
    ABI_NO_SPACE = 9,
    ABI_WRONG_INDEX_ALGO = 10,
    ABI_BUFFER_TOO_SMALL = 11,
    ABI_UNIQUE_ALREADY_EXISTS = 12,
    ABI_SCHEDULE_AT_DELAY_TOO_LONG = 13,
    ABI_INDEX_NOT_UNIQUE = 14,
    ABI_NO_SUCH_ROW = 15,
    ABI_AUTO_INC_OVERFLOW = 16,
    ABI_WOULD_BLOCK_TRANSACTION = 17,
    ABI_TRANSACTION_NOT_ANONYMOUS = 18,
    ABI_TRANSACTION_IS_READ_ONLY = 19,
    ABI_TRANSACTION_IS_MUT = 20,
    ABI_HTTP_ERROR = 21,
    // Not a number of the ABI: the server itself failed (out of memory, memory limit). The call
    // ends, not catchable by the module.
    ABI_FATAL = 0xffff,
} AbiErrno;

const char *abi_errno_text(AbiErrno errno_);  // §1.4's sentence

// Receives the rows of a scan. The row is valid during the call. Return false to stop the scan
// (out of memory in the sink); the scan then answers ABI_FATAL.
typedef struct RowSink {
    bool (*row)(void *ctx, Bytes row);
    void *ctx;
} RowSink;

// A range over an index as modules pass it (§1.8): BSATN, not yet checked.
typedef struct AccessRange {
    Bytes prefix;
    uint32_t prefix_elems;
    Bytes lower;  // BSATN Bound
    Bytes upper;  // BSATN Bound
} AccessRange;

typedef struct Access Access;
typedef struct AccessOps {
    AbiErrno (*table_id)(Access *access, Str name, uint32_t *out);  // canonical or source name
    AbiErrno (*index_id)(Access *access, Str name, uint32_t *out);
    AbiErrno (*row_count)(Access *access, uint32_t table, uint64_t *out);
    AbiErrno (*scan_table)(Access *access, uint32_t table, RowSink sink);
    AbiErrno (*scan_point)(Access *access, uint32_t index, Bytes point, RowSink sink);
    AbiErrno (*scan_range)(Access *access, uint32_t index, const AccessRange *range, RowSink sink);
    // `generated` receives the BSATN of the generated columns (appended), §1.9.
    AbiErrno (*insert)(Access *access, uint32_t table, Bytes row, Buf *generated);
    AbiErrno (*update)(Access *access, uint32_t table, uint32_t index, Bytes row, Buf *generated);
    AbiErrno (*delete_point)(Access *access, uint32_t index, Bytes point, uint32_t *deleted);
    AbiErrno (*delete_range)(Access *access,
                             uint32_t index,
                             const AccessRange *range,
                             uint32_t *deleted);
    AbiErrno (*delete_all_by_eq)(Access *access, uint32_t table, Bytes relation, uint32_t *deleted);
    AbiErrno (*clear)(Access *access, uint32_t table, uint64_t *deleted);
    // A hint: the row with this key of a unique index is likely to be asked for by this call. False: it
    // is of no use, for this index and for a while. NULL where hints are of no use at all.
    bool (*foresee)(Access *access, uint32_t index, Bytes point);
    // JWT payload JSON of a connection, BYTES_NONE when there is none. Borrowed until the next call.
    AbiErrno (*jwt)(Access *access, const ConnectionId *connection, Bytes *out);
} AccessOps;

struct Access {
    const AccessOps *ops;
    // ABI_FATAL may mean that the call begins again elsewhere: an instance is not worth losing for that,
    // so a call may unwind as after an error. Whatever it does then is forgotten.
    bool may_begin_again;
};
