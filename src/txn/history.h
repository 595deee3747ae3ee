// history.h: what committed while overlays run, for their validation.
//
// PICTURE
//   loop:    db_commit ── history_append ──> [chunk 7 | full] -> [chunk 8 | full] -> [chunk 9 | ...  ]
//                                                 ^                                       ^
//   workers:              HistoryReader.start ────┘ (taken with the snapshot)   checked ──┘
//
// ALWAYS TRUE
//   (1) Nobody running: nothing is kept, and a commit pays one branch.
//   (2) An entry never changes once `used` covers it, a chunk is full once it has a `next`. The loop
//       publishes both with release, readers load them with acquire; there is no lock.
//   (3) Chunks are freed from the front, by the loop, and only those before the start of every
//       reader that is not doomed. A reader becomes doomed while it is idle or as it ends a check,
//       never during one (HistoryReader.state), so nobody ever stands in a freed chunk.
//   (4) Memory is bounded: what would go beyond it dooms the oldest readers; they learn it as
//       ERR_CONFLICT and run again.
#pragma once
#include <stdatomic.h>

#include "txn/writeset.h"

typedef struct HistoryChunk HistoryChunk;

typedef struct HistoryPlace {
    HistoryChunk *chunk;
    size_t at;  // bytes into it
} HistoryPlace;

typedef struct HistoryReader HistoryReader;
struct HistoryReader {
    HistoryReader *newer, *older;  // the loop's list
    HistoryPlace start;            // of everything newer than the reader's snapshot
    HistoryPlace checked;          // the checking thread's: up to here nothing hit
    atomic_int state;
};

typedef struct History {
    size_t bytes_max;
    size_t bytes;  // of all chunks
    HistoryChunk *oldest, *newest;
    HistoryReader *newest_reader, *oldest_reader;
    uint64_t doomed;  // readers told ERR_CONFLICT for want of memory, since the beginning
} History;

// On the loop's thread, all but history_check.
void history_deinit(History *history);  // no reader is left (asserted)
static inline bool history_wanted(const History *history) {
    return history->newest_reader != NULL;
}
MUST_USE Err history_open(History *history, HistoryReader *reader);  // ERR_NOMEM
void history_close(History *history, HistoryReader *reader);
// Copy a committed write set. Running out of memory dooms every reader, nothing else.
void history_append(History *history, const WriteSet *writes);

// The same in parts, for who writes a history of its own beside the loop and hands it over in one step
// (which empties it): each change, then the end of the commit. False: out of memory.
MUST_USE bool history_put(History *history, const TxnChange *change);
MUST_USE bool history_put_end(History *history);
void history_splice(History *history, History *from);

// Does `hit` say yes to a change published since? From `checked` on, or all over again (`again`).
// ERR_CONFLICT: yes, or the reader is doomed. Otherwise `checked` has moved.
// A change without a table is the end of a commit.
typedef bool (*HistoryHit)(const void *ctx, const TxnChange *change);
MUST_USE Err history_check(HistoryReader *reader, bool again, HistoryHit hit, const void *ctx);
