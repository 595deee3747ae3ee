// stab.h: which groups of one table's queries had a row, or have it. Inside this room only.
//
// A row that left and one that came are tested against the query as it stands, so a change enters,
// leaves or stays. Nothing here depends on how many watch something else.
//
// CALLERS  commit.c, for the commit at hand; tell.c, on a worker, for one that is to come
#pragma once
#include "live/live_private.h"

// The group had the old row, or has the new one, or both. Where its template finds groups in several
// ways it may be told of one change more than once, one after another.
typedef Err (
    *StabTake)(void *ctx, Group *group, const LiveChange *change, bool had_old, bool has_new);

typedef struct Stab {
    StabTake take;
    void *ctx;
    Buf key_old, key_new;    // guard keys of the row at hand
    Buf values;              // Bytes: a group's
    uint64_t tested, seen;   // groups; nodes of ranges
    const LiveChange *last;  // the change at hand
} Stab;

void stab_deinit(Stab *stab);  // a zeroed one with `take` is ready to use
// Every group that the change of a row concerns. ERR_NOMEM, and what `take` answers.
MUST_USE Err stab_change(Stab *stab, const LiveTable *table, const LiveChange *change);
