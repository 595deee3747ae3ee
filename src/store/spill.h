// spill.h: dirty pages leave for the page file to make room, and the thread that makes it.
//
// PICTURE
//   owner     picks dirty pages ─ copies them ─ WRITING ─┐          ┌─ settles: their bits
//   sweeper                                              └─ write ──┘  HERE, or DIRTY as before
//             asked to sweep: marks and releases clean pages (cache.h)
//
//   The copy is what makes it safe beside an owner who goes on: a page that is changed meanwhile is
//   DIRTY again and will be written again, one that is freed is free. Copying a page costs less than a
//   microsecond, checksums and writing are the sweeper's.
//
// ALWAYS TRUE
//   (1) One batch of copies is on its way at most. So a page's older bytes never land after its newer
//       ones: a spill begins after the one before, and a checkpoint writes nothing before the spill has
//       ended that was on its way when it was begun (spill_wait).
//   (2) A page that is WRITING when its batch has been written was not changed since it was copied.
//   (3) The dirty bit of such a page goes when the owner settles the batch, and only if the page is not
//       dirty again.
//
// Without a sweeper (tests, simulations, tools) the owner does what it would have done, when it settles
// the batch: later than it began it, so that what happens in between is the same.
#pragma once
#include <pthread.h>

#include "store/pagefile.h"

enum { SPILL_PAGES = 64 };  // in a batch, or one run of any length

typedef struct SpillPage {
    PageNo no;
    uint32_t run;
} SpillPage;

typedef struct Spill {
    // The owner's; the sweeper's while a batch is on its way.
    SpillPage list[SPILL_PAGES];
    uint32_t count;
    uint8_t *bytes;  // the copies, one after another
    size_t len, cap;
    PageFileBatch batch;
    Err err;
    char why[128];

    // The owner's.
    PageNo hand;
    uint32_t pause;         // after a failed write: so many calls without another try
    bool on_its_way;        // a batch was begun and not settled
    bool may_have_sweeper;  // and has one since it was first wanted
    bool has_sweeper;
    pthread_t sweeper;
    uint64_t waits, wait_ns;  // of the owner, for a batch

    _Atomic bool wanted;    // clean pages alone do not make enough room
    _Atomic bool asked;     // to sweep
    pthread_mutex_t mutex;  // guards what follows
    pthread_cond_t changed;
    uint64_t begun, ended;  // batches
    bool stop;
} Spill;

void spill_open(Spill *spill);
void spill_close(Pages *pages);  // what is on its way is written, or was never begun
bool spill_has_sweeper(const PageCache *cache);

// The owner's. Set dirty pages on their way; `far`: look for them everywhere, not only nearby. False:
// there is one on its way, or nothing to write, or no memory for it.
bool spill_begin(Pages *pages, bool far);
// What was on its way has landed, or is waited for (`wait`). True: some pages are clean now.
bool spill_settle(Pages *pages, bool wait);
// Ask for a sweep. False: there is no sweeper, nor can there be.
bool spill_sweep(Pages *pages);

// How many batches were begun, and on any thread: wait until so many have ended.
uint64_t spill_count(PageCache *cache);
void spill_wait(PageCache *cache, uint64_t count);
