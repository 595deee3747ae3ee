// bulk_testing.h: for tests only: overlays on the one thread there is; and they are made ready (overlay_prepare) however
// few rows they wrote.
#pragma once
#include "txn/overlay.h"

static inline Err bulk_on_this_thread(void *ctx, Err (*run)(void *arg), void *arg) {
    (void)ctx;
    return run(arg);
}

// Waiting for another one to be committed would be for ever.
static inline bool bulk_never_waits(void *ctx) {
    (void)ctx;
    return true;
}

static inline BulkEnv bulk_here(void) {
    return (BulkEnv){.on_loop = bulk_on_this_thread, .is_stopped = bulk_never_waits, .rows_min = 1};
}

// OverlayEnv.reserve where its ctx is the Db.
static inline Err reserve_here(void *db,
                               uint32_t table_id,
                               uint32_t sequence_id,
                               uint32_t count,
                               Int128 *first) {
    return db_sequence_reserve(db, table_id, sequence_id, count, first);
}
