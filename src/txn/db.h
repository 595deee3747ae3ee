// db.h: the data of one database, and transactions on its head.
//
// PICTURE
//            db_begin ── Access (head.c): reads and writes ── db_commit ──> write set ──> log batch
//                                  │                              └──> the caller: subscriptions
//                                  └── db_rollback: as if it had never been
//            db_flush: one write, one fdatasync for every commit since the last
//
// A Db knows tables and history, not modules or clients. It belongs to one thread; what runs on
// others reads snapshots and comes back as an overlay (overlay.h). docs/internals/transactions.md tells
// how the two fit together.
//
// ALWAYS TRUE
//   (1) What db_commit made visible is in the log's batch, in the same order.
//   (2) Nothing may be told to a client before log_durable_end covers the commit it depends on;
//       db_flush makes that so for everything committed before it.
//   (3) Replaying the log from the first offset gives the same tables; so does replaying it from the
//       newest checkpoint's offset into that checkpoint (db_open does exactly that).
#pragma once
#include "log/log.h"
#include "txn/access.h"
#include "txn/catalog.h"
#include "txn/writeset.h"

typedef struct Db Db;

typedef struct DbOptions {
    const Io *io;
    const char *dir;         // of this database's log
    bool in_memory;          // no files: every commit is durable at once
    const char *page_file;   // for checkpoints and for more data than memory; NULL: neither
    size_t memory_max;       // bytes of pages in memory, 0: no limit (store.h)
    uint64_t segment_bytes;  // of the log, see LogOptions; 0: its default
    size_t log_large_bytes;  // likewise
    size_t history_max;      // bytes of commits kept for running overlays (history.h); 0: 256 MiB
    uint64_t checkpoint_bytes;  // of log, after which a checkpoint is begun; 0: 64 MiB
    uint64_t checkpoint_rate;   // bytes a second it writes at most; 0: 64 MiB
    LogKeep log_keep;           // what stays of the log although a checkpoint covers it
    // Not OK: only look. The state is that of the commits below `end` (0: all there are), no file is
    // written or locked, and a transaction that would be history is refused with this error.
    Err read_only;
    TxOffset end;
    bool checkpoint_by_hand;  // no thread: db_checkpoint_step writes
    void (*checkpoint_wake)(
        void *ctx);  // may be NULL; from any thread: call db_checkpoint_tick soon
    void *checkpoint_wake_ctx;
    void (*flush_wake)(void *ctx);  // may be NULL; from any thread: call db_flush_poll soon
    void *flush_wake_ctx;
} DbOptions;

// Open: the newest checkpoint, then the log's commits since. *torn_bytes tells how much of a torn tail was cut.
MUST_USE Err db_open(const DbOptions *options, Db **out, uint64_t *torn_bytes, Diag *diag);
void db_close(Db **db);

Store *db_store(const Db *db);
Catalog *db_catalog(const Db *db);
Log *db_log(const Db *db);

// Begin a transaction. `info` is copied into its commit; info->name must stay valid until the end.
void db_begin(Db *db, const CommitInfo *info);
Access *db_access(Db *db);  // the head, inside the open transaction; outside ABI_NOT_IN_TRANSACTION
// *set borrows from the db until the next db_begin. On error the transaction was rolled back.
// `*changed` is false when nothing is different afterwards. Such a transaction has no offset, nor has
// one that changed nothing but results of views.
MUST_USE Err db_commit(Db *db, const WriteSet **set, bool *changed);
// Between db_commit and the next db_begin: the write set with the rows of cleared tables and of those
// that changed in bulk, one by one, for who has to tell of each. On error the set is empty: ERR_NOMEM, ERR_IO, ERR_CORRUPT.
MUST_USE Err db_commit_rows(Db *db, const WriteSet **set);
// What an overlay had prepared of the open transaction and the store's changes do not have: the changes
// of one table after another. *at begins at 0. NULL: there is no more.
const TxnChange *db_bulk_changes(const Db *db, uint32_t *at, size_t *count);
void db_rollback(Db *db);
// What overlays wrote, since the beginning: commits that took over what was made ready beside the loop
// (overlay_prepare) and their rows, and rows that overlay_apply changed one by one.
typedef struct DbApplied {
    uint64_t bulk_commits, bulk_rows, single_rows;
} DbApplied;
DbApplied db_applied(const Db *db);
bool db_in_transaction(const Db *db);

// A call that may begin again elsewhere (Access.may_begin_again) empties a table of at least DB_LARGE_ROWS
// rows on the head: it should, because each of these rows would be looked at here when it is committed, if
// `wanted` says that somebody is told of them, or if it puts others there, before or after. Then the call ends
// with ABI_FATAL, and until the next db_begin db_is_aside says why.
enum { DB_LARGE_ROWS = 1000 };
void db_set_aside(Db *db, bool (*wanted)(void *ctx, uint32_t table_id), void *ctx);
bool db_is_aside(const Db *db);

// Single rows, inside the open transaction, for SQL (rows.c). A column that is generated draws where
// it is 0. *inserted is false when the identical row was there.
//   ERR_UNIQUE  with the constraint's name, columns and value in diag; the row is not there
MUST_USE Err
db_row_insert(Db *db, const CatalogTable *table, Bytes row, bool *inserted, Diag *diag);
MUST_USE Err db_row_delete(Db *db, const CatalogTable *table, Bytes row, Diag *diag);
// Of a table with a primary key: in the place of the row with the same key, if there is one.
MUST_USE Err db_row_upsert(Db *db, const CatalogTable *table, Bytes row, bool *changed, Diag *diag);

// Write and sync everything committed. After an error the database takes no more transactions.
// db_needs_flush: something committed is neither durable nor in flight.
MUST_USE Err db_flush(Db *db, Diag *diag);
bool db_needs_flush(const Db *db);
// The same beside the caller, who goes on with transactions (log.h).
MUST_USE Err db_flush_start(Db *db, Diag *diag);
MUST_USE Err db_flush_poll(Db *db, bool wait, Diag *diag);
bool db_flush_in_flight(const Db *db);

// ── checkpoints (checkpoint.c) ─────────────────────────────────────────────────────────────────
// The store is written down beside the loop, and the log before it let go. All of these are called
// on the database's thread between transactions, when no write set is used any more.

// After each turn: begins a checkpoint when one is due, ends the one that was written. Cheap.
void db_checkpoint_tick(Db *db);
// Begin one now. ERR_AGAIN: one is being written. ERR_UNSUPPORTED: there is no page file.
MUST_USE Err db_checkpoint_begin(Db *db, Diag *diag);
bool db_checkpoint_running(const Db *db);
// With checkpoint_by_hand: write about so many bytes of it.
void db_checkpoint_step(Db *db, size_t bytes);
// Begin one, if anything happened since the last, and wait until it is safe: before a stop, so that the
// next start has nothing to replay.
MUST_USE Err db_checkpoint_now(Db *db, Diag *diag);

typedef struct DbCheckpointStats {
    uint64_t done, failed;
    uint64_t bytes;       // of pages, written by all of them
    int64_t last_ns;      // how long the last one took
    uint64_t log_bytes;   // of log since the last began
    uint64_t log_offset;  // of the last that is safe
    char failure[256];    // why the last one failed; empty when it did not
} DbCheckpointStats;
void db_checkpoint_stats(const Db *db, DbCheckpointStats *out);
