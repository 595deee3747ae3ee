// bulk.h: the writes of a large overlay, made ready beside the loop, so that what the loop has left to
// do does not grow with them.
//
// PICTURE
//   worker   overlay's rows ──> a branch of the tables (store.h), the log's operations, the write set,
//                               what other overlays are validated with
//            others' commits ──> the branch, again and again, until few are left
//   loop     those few ──> the branch; adopt it; the operations go into the log as they are
//
// ALWAYS TRUE
//   (1) The branch began as the tables were at `reader`'s start; what others committed to them since is
//       made on it in their order, each commit first what went, then what came. The overlay was
//       validated with each of these, so that they commute with its own rows.
//   (2) Nothing of it is seen before the transaction that adopts it commits.
//   (3) Who needs the rows one by one (subscribers, views) has them in `changes`.
//
// Tables of events, whose rows are nowhere after the commit, are not prepared, nor is a table that is
// only emptied, which costs the loop nothing (own_empties).
#pragma once
#include "os/discard.h"
#include "txn/history.h"
#include "txn/overlay.h"
#include "txn/own.h"

typedef struct BulkTable {
    OwnTable *own;
    Table *table;  // of the branch
    size_t first;  // of its changes
    size_t count;
} BulkTable;

typedef struct Bulk {
    Discard discard;
    Db *db;
    StoreBranch *branch;
    HistoryReader reader;
    bool has_reader;
    BulkTable *tables;  // ascending by table id
    uint32_t table_count;
    TxnChange *changes;
    size_t count, cap;
    Arena bytes;           // of the changes
    Buf deletes, inserts;  // operations for the log: first those, then these
    uint32_t op_count;
    History history;  // as history_append would have written it
    TxnChange *others;
    size_t other_count, other_cap;
    uint64_t repeated;  // others' rows, since the beginning
    Err err;
} Bulk;

// On the loop's thread, between transactions. ERR_BUSY: another one is being prepared.
MUST_USE Err bulk_new(Db *db, Bulk **out);
void bulk_free(Bulk **bulk);

// On the worker's thread. Whatever the error, the overlay can still be applied without it.
MUST_USE Err bulk_make(Bulk *bulk, OwnTable **tables, uint32_t count, const BulkEnv *env);
// Make what others committed since the last time; on the worker's thread, in the end on the loop's.
MUST_USE Err bulk_catch_up(Bulk *bulk);

// On the loop's thread, inside the transaction.
MUST_USE Err bulk_adopt(Bulk *bulk);
bool bulk_has(const Bulk *bulk, const OwnTable *own);
