// tell.h: the inside of LiveTell (live.h): what a large transaction's rows mean to the queries of one
// table, worked out beside the loop before it commits. Inside this room only.
//
// PICTURE
//   loop    live_tell_begin: the groups of these tables stay where they are …        … until live_tell_end
//                │   who would make one waits; who leaves one leaves it empty          │ empty ones go
//   worker       └─ rows ──stab.h──> Told of each group, encoded ──┐                   │
//   loop                                                           └─ live_commit ─────┘
//
// ALWAYS TRUE
//   (1) From live_tell_begin to live_tell_end no guard, list or group of these tables changes but in what
//       a worker does not look at: subscribers and Group.pending. So it reads them without a lock.
//   (2) A query of one table sees nothing but the row, and nobody else changes these rows before the
//       transaction commits, or it does not commit. So what is told is what live_commit would have found.
//   (3) The worker holds `mutex` while it reads groups, and looks at `stop` every few rows: whoever must
//       change them after all waits for it (tell_abandon), and the rows are told as those of any commit.
#pragma once
#include <pthread.h>

#include "live/stab.h"

typedef struct Told Told;
struct Told {  // what a group gains and loses; in order of the first row that concerned it
    Told *next;
    Group *group;
    uint64_t last;  // LiveTell.looked at the row that it was last told of
    RowList inserts, deletes;
    Buf own;                // encoded, if that is large; else in LiveTell.encoded
    size_t at, deletes_at;  // there
    LiveDelta delta;        // but for its id
};

typedef struct ToldTable {
    uint32_t table_id;
    const LiveTable *table;  // NULL: no group of it alone
    Told *first, *last;
} ToldTable;

struct LiveTell {
    Live *live;  // NULL: ended
    LiveTellEnv env;
    ToldTable *tables;
    uint32_t table_count;
    LiveMap left;           // groups that lost their last Sub; the loop's
    bool is_used;           // by the commit that is about to be told
    bool is_ready;          // the worker has done it all
    pthread_mutex_t mutex;  // (3)
    atomic_bool stop;
    // The worker's, then the loop's.
    Stab stab;
    ToldTable *at;  // whose rows are looked at
    LiveMap found;  // Group -> Told
    Told *recent;
    uint64_t looked;   // rows
    uint64_t stop_at;  // Stab.tested at the next look whether to stop
    Arena arena;
    Buf encoded;
    uint64_t rows;
};

// Whether the groups of this table must stay where they are.
bool tell_holds(const Live *live, uint32_t table_id);
// A group lost its last Sub. True: it stays until live_tell_end.
bool tell_keeps(Live *live, Group *group);
// What was told of this table, for the commit at hand; NULL: nothing.
const ToldTable *tell_of(const Live *live, uint32_t table_id);
void tell_used(Live *live);  // that commit has been
// The rows of the transaction will be told as those of any other. Harmless if there is none.
void tell_abandon(Live *live);
