// commit.h: one transaction as bytes, in the log and (later) on the way to followers.
//
// Little-endian, widths in bytes:
//   offset:8 timestamp:8 caller:32 connection:16 name_len:2 name op_count:4 then each operation
//   kind:1 table_id:4 len:4 bytes
//
// An insert carries the row's BSATN. A delete carries the row's clustering key; in a table without
// a primary key the row itself, since the key that tells colliding rows apart depends on history.
// A replacement leaves every unique key as it is, so it fits whatever other rows do in its commit.
#pragma once
#include "base/ids.h"

typedef enum CommitOpKind {
    COMMIT_INSERT = 1,
    COMMIT_DELETE = 2,
    COMMIT_EVENT = 3,       // a row of an event table: history only, never replayed into a table
    COMMIT_TRUNCATE = 4,    // the table loses all rows; no bytes
    COMMIT_DELETE_ROW = 5,  // like COMMIT_DELETE, but the bytes are the row
    COMMIT_REPLACE = 6,     // the row takes the place of the one with the same clustering key
} CommitOpKind;

typedef struct CommitInfo {
    Micros timestamp;
    Identity caller;
    ConnectionId connection;  // zero: none
    Str name;                 // of the reducer, or a word in <angle brackets> for what is not one
} CommitInfo;

typedef struct CommitOp {
    CommitOpKind kind;
    uint32_t table_id;
    Bytes bytes;
} CommitOp;

typedef struct Commit {
    TxOffset offset;
    CommitInfo info;
    uint32_t op_count;
    Bytes ops;  // walk with commit_next_op
} Commit;

// Append an operation as a commit has it.
void commit_op_put(Buf *out, CommitOpKind kind, uint32_t table_id, Bytes bytes);
// Parse one commit at the front of *in and advance. ERR_MALFORMED.
MUST_USE Err commit_read(Bytes *in, Commit *out);
// The next operation of commit->ops; false at the end. The ops were checked by commit_read.
bool commit_next_op(Bytes *ops, CommitOp *out);
