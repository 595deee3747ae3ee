// prepare.h: the inside of LivePrepare (live.h): what a subscription needs before it can be answered, made
// beside the loop. Inside this room only.
//
// PICTURE
//   loop     group or arrangement, empty ── commits: their changes of it ──> log ──┐ swap, apply ── READY
//   worker   └─ filled from a snapshot of the same moment ── log applied ──────────┘
//
// ALWAYS TRUE
//   (1) The log begins at the snapshot: what was filled in and the log, in order, are the head.
//   (2) Between live_prepare_begin and live_prepare_end the worker alone touches what is being filled, and
//       the loop alone the log.
//   (3) A group or arrangement that is not READY is of no use to a commit, which may only note what it
//       missed; one that has FAILED or was abandoned misses that, too.
#pragma once
#include "live/live_private.h"

typedef enum PrepareState {
    PREPARE_NEW,      // nobody works on it yet
    PREPARE_RUNNING,  // begun, and not ended
    PREPARE_READY,
    PREPARE_FAILED,  // why: err, diag
    PREPARE_GONE,    // abandoned: it belongs to nobody
} PrepareState;

struct LivePrepare {
    Live *live;  // NULL: gone
    LivePrepare *next, **link;
    LivePrepare *older;
    PrepareState state;
    Err err;
    Diag diag;
    Group *group;                // either that is counted …
    LiveTable *table;            // … or this table
    TableArrangement *arranged;  // arranged by these columns
    Buf log;
    size_t log_max;
    // The worker's, while it runs.
    Standing *standing;  // of the group, detached
    Tally *tally;
    Arrangement *arrangement;
    ArrangeMemory memory;
    Buf work;  // the log of before
    bool is_filled;
    uint32_t rounds;
};

// Is it too much for the answer at hand to look at so many rows?
bool prepare_is_needed(const Live *live, uint64_t rows);
// Begin one for the answer at hand, unless it has one already: ERR_BUSY, or ERR_NOMEM. The group is placed.
MUST_USE Err prepare_group(Live *live, Group *group);
MUST_USE Err prepare_arrangement(Live *live, LiveTable *table, TableArrangement *arranged);
// What somebody finds who needs it, too: OK, ERR_BUSY, or why it failed.
MUST_USE Err prepare_state(const LivePrepare *prepare, Diag *diag);
// A commit's change: of a combination of `count` rows, or of one row.
void prepare_note(LivePrepare *prepare, bool adds, const Bytes *rows, uint32_t count);
void prepare_abandon(LivePrepare *prepare);
void prepare_abandon_all(Live *live);
// A standing of its own, compiled for the answer's caller, for the group that waits for it.
MUST_USE Err prepare_with(LivePrepare *prepare, Standing **standing);
