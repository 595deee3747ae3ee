// expect.h: whether a batch should wait a moment for somebody who is about to ask again.
//
// Who calls, waits for his answer and calls again does so some microseconds after it has left. Beside others
// who always have something to do, the next batch would be on its way to the disk by then: he would wait for
// that one first, and then for his own. So the disk is left alone for that moment, while calls go on being
// run: anticipatory scheduling, as for several readers of one disk (Iyer and Druschel, SOSP 2001).
//
//   answers leave ────────── asks again ──> the batch, with his call in it
//   |<── at most `window`, as long as a sync ──>| not asked: the batch goes without him
//
// Waiting longer than a sync takes would cost more than it can save, and waiting for one who mostly takes
// longer saves nothing. How often they ask in time is learnt, whether or not there is a batch that waits.
//
// Times are the caller's, monotonic.      CALLERS  turn.c; session.c, session_deliver.c tell it.
#pragma once
#include "base/base.h"

typedef struct Expect {
    int64_t answered_ns;  // when somebody sparse (fair.h) was answered last
    int64_t until_ns;     // expected until then; in the past: nobody is, or not for long enough
    int64_t window_ns;
    uint32_t awaited;  // so many of them have not asked again
    uint32_t in_time;  // of EXPECT_OF, as an average that forgets: so many asked within the window
    uint32_t unexpected;
} Expect;

#define EXPECT_OF 1024

// How long a sync takes at present: it is not waited for longer than that.
void expect_window(Expect *expect, int64_t sync_ns);
void expect_answered(Expect *expect, int64_t now_ns);
void expect_asked(Expect *expect, int64_t now_ns);

static inline bool expect_is_on(const Expect *expect, int64_t now_ns) {
    return now_ns < expect->until_ns;
}
