// syncway.h: who syncs a batch that somebody waits for: the loop itself, or a thread beside it.
//
// A thread that is handed the sync has to be woken, and has to wake the loop: where cores are busy each of these waits
// for one, and the loop's own system call does not. Where they are idle the loop can run calls meanwhile. Which way is
// quicker is measured: mostly the one that took less time lately, and the other now and then.
//
// One sync that took very long says little about the next ones, and the way not taken is hardly ever measured: a stall
// of the disk would decide for thousands of syncs. So none counts for more than twice what was known.
//
// CALLERS   turn.c.      START AT  syncway_test.c.
#pragma once
#include "base/base.h"

typedef struct SyncWay {
    int64_t here_ns, beside_ns;  // how long one takes, on average; 0: unknown
    uint32_t choices;
} SyncWay;

#define SYNCWAY_OTHER_EVERY 256  // choices: the other way then
#define SYNCWAY_BUSY_TIMES  4

// One took so long; gives how long such a one takes on average.
int64_t syncway_here_took(SyncWay *way, int64_t ns);
int64_t syncway_beside_took(SyncWay *way, int64_t ns);

// Should the loop do the next one itself?
bool syncway_is_here(SyncWay *way);
// The machine is so busy that a thread beside the loop takes many times longer.
bool syncway_is_busy(const SyncWay *way);
