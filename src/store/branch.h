// branch.h: a second head, changed beside the owner and put in the first one's place. Inside this room;
// what others may do with one is in store.h.
//
// PICTURE
//   owner   ── open ──────────── S₁ ── S₂ ── S₃ ─────────── adopt ─ commit ──
//                │ snapshot        │     │     │               ▲
//   another      └──> the trees of the snapshot, changed;      │ roots
//                     then S₁ S₂ S₃ once more ─────────────────┘
//
//   A branch changes tables as the head does, by the same code: its Store has the snapshot's roots and
//   a Pages in which all that the snapshot sees is frozen. What it copies goes to pages that the owner
//   lent it before. So the pages of one table are
//
//       both  │ only the head's: taken since │ only the branch's: lent │ replaced by one, or by both
//
//   and adopting the branch settles for each page which it is. The head's side of that is written down
//   as it happens (PageWatch), the branch's in its lease.
//
// ALWAYS TRUE
//   (1) Nobody but the branch looks at a page lent to it until it is adopted.
//   (2) Every page of the snapshot stays as long as the branch is open: its view does. So a page that the
//       head no longer refers to, but the branch does, can be taken off the list where it waits.
//   (3) A branch that is closed and was not adopted leaves nothing.
#pragma once
#include "store/page.h"

typedef struct PageRun {
    PageNo no;
    uint32_t run;
} PageRun;

// The pages lent to a branch. PageMeta.run says of each which are in use.
struct PageLease {
    Err (*more)(void *ctx, uint32_t pages);  // have so many lent in one piece
    void *ctx;
    PageNo next;  // the piece being used up
    uint32_t left;
    PageNo *spare;  // single pages that were given up, or left of a piece
    size_t spare_count, spare_cap;
    PageRun *pieces;
    size_t piece_count, piece_cap;
    PageRun *replaced;  // of the snapshot's: the branch no longer refers to them
    size_t replaced_count, replaced_cap;
    uint64_t pages;  // lent
};

// page.c's: taking, giving up and making sure of pages, where Pages.lease is set.
MUST_USE Err lease_reserve(Pages *pages, uint64_t count);
PageNo lease_take(Pages *pages, uint32_t run);
void lease_retire(Pages *pages, PageNo no, uint32_t run);

// What the head's changes of tables took and gave up since the branch was opened, in order.
typedef struct WatchedRun {
    PageNo no;
    uint32_t run;
    uint32_t table_id;
    bool is_taken;
} WatchedRun;

struct PageWatch {
    WatchedRun *runs;
    size_t count, cap;
    bool is_broken;  // memory ran out: the branch cannot be adopted
};

void watch_taken(Pages *pages, PageNo no, uint32_t run);
void watch_retired(Pages *pages, PageNo no, uint32_t run);
