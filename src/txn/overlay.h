// overlay.h: an optimistic transaction beside the head: a snapshot, private writes over it, and the
// set of everything it read.
//
// PICTURE
//   loop      overlay_new ────────────────────────────────> overlay_apply ─> db_commit …
//                │ snapshot                                     ▲ validated against what committed
//                ▼                                              │ since, then applied to the head
//   worker    overlay_access: reads = snapshot + own writes, writes = private, reads recorded
//
// ALWAYS TRUE
//   (1) A transaction that overlay_apply accepted read only what is still true at the head: it is as
//       if all of it had run at that moment. One that wrote nothing is valid at its snapshot and
//       needs no validation.
//   (2) Nothing of an overlay that is freed without being applied can be seen anywhere, sequence
//       values aside: they are not given back, or only while nobody drew behind them.
//   (3) The catalog's structure does not change while an overlay is alive: whoever changes the schema
//       ends overlays first (asserted).
//
// Values of sequences come from the head's sequences in blocks, asked for through OverlayEnv, so that
// they never collide with those the head gives out meanwhile.
#pragma once
#include "txn/db.h"
#include "txn/readset.h"

typedef struct Overlay Overlay;

// How the worker reaches the loop: its functions are called on the worker's thread.
enum { BULK_ROWS_MIN = 1000 };
typedef struct BulkEnv {
    void *ctx;
    Err (*on_loop)(void *ctx, Err (*run)(void *arg), void *arg);  // run it there and wait for it
    bool (*is_stopped)(void *ctx);  // the overlay is about to be freed
    uint64_t rows_min;              // of so few rows the loop makes itself; 0: BULK_ROWS_MIN
    // These rows will be different once the overlay is applied, each table's together; and all that is committed
    // until then leaves them alone. A table of which every row goes and none comes is one change that
    // is_clear: those rows are what `before` has. NULL: nobody asks.
    void (*made)(void *ctx, const TxnChange *changes, size_t count, const Snapshot *before);
} BulkEnv;

typedef struct OverlayEnv {
    void *ctx;
    // Reserve the next `count` values of a sequence for the overlay alone: runs
    // db_sequence_reserve on the loop's thread and waits for it. Called on the worker's thread.
    Err (*reserve)(void *ctx,
                   uint32_t table_id,
                   uint32_t sequence_id,
                   uint32_t count,
                   Int128 *first);
    BulkEnv prepare;    // `on_loop` NULL: nothing is made ready beside the loop
    size_t memory_max;  // bytes of private writes and read set; 0: 256 MiB. Beyond: ABI_FATAL
} OverlayEnv;

// On the loop's thread, between transactions. `info` is copied (its name must stay valid).
MUST_USE Err overlay_new(Db *db, const CommitInfo *info, const OverlayEnv *env, Overlay **out);
// On the loop's thread, after the worker is done with it.
void overlay_free(Overlay **overlay);

// On one worker's thread.
Access *overlay_access(Overlay *overlay);
// For who reads by itself what it writes about: the state that it reads, and where to note what it looked
// at there. Its own writes are not in it.
const Snapshot *overlay_snapshot(const Overlay *overlay);
ReadSet *overlay_reads(Overlay *overlay);
bool overlay_wrote(const Overlay *overlay);
size_t overlay_bytes(const Overlay *overlay);
// Check as much as has committed so far, so that overlay_apply has little left to check.
// ERR_CONFLICT: it is stale already; run it again on a fresh one.
MUST_USE Err overlay_validate(Overlay *overlay);

// Make many writes ready, so that overlay_apply and db_commit take no longer for them than for few: they
// are checked and made on a branch of the tables (bulk.h). A table that it empties takes no time there, but
// who is told of changes is told of its rows (BulkEnv.made). ERR_CONFLICT as of overlay_validate; what else
// goes wrong only means that overlay_apply makes them itself.
MUST_USE Err overlay_prepare(Overlay *overlay);
bool overlay_is_prepared(const Overlay *overlay);
// Bring in the pages that overlay_apply will need on the loop, which should not wait for the disk.
void overlay_touch(Overlay *overlay);

// On the loop's thread, between transactions: check the rest, begin a transaction with the overlay's
// info and make its writes there. On OK the transaction is open and the caller commits it.
//   ERR_CONFLICT  it read something that has changed since; nothing is open
//   ERR_LIMIT, ERR_NOMEM, ERR_IO, ERR_CORRUPT  likewise
MUST_USE Err overlay_apply(Overlay *overlay, Diag *diag);

// On the loop's thread: draw `count` values at once.
MUST_USE Err
db_sequence_reserve(Db *db, uint32_t table_id, uint32_t sequence_id, uint32_t count, Int128 *first);
