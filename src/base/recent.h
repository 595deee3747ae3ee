// recent.h: how much of something somebody used a moment ago, compared with whoever uses most.
//
//   │      window k-1     │   window k …  now
//   │        last         │      here
//   └── the larger of the two is what was used lately
//
// A flood comes in waves, calls sent and then answers read: a window is longer than one, so that who uses little
// beside it does so all the time.
//
// Times are the caller's, monotonic.      CALLERS  node/fair.c: parties; net/order.c: connections.
#pragma once
#include "base/base.h"

#define RECENT_WINDOW_NS 100000000

typedef struct Recent {
    int64_t window, here, last;
} Recent;

static inline void recent_add(Recent *recent, int64_t used, int64_t now_ns) {
    int64_t window = now_ns / RECENT_WINDOW_NS;
    if (recent->window != window) {
        recent->last = recent->window + 1 == window ? recent->here : 0;
        recent->here = 0;
        recent->window = window;
    }
    recent->here += used;
}

static inline int64_t recent_used(Recent *recent, int64_t now_ns) {
    recent_add(recent, 0, now_ns);
    return MAX(recent->here, recent->last);
}

// `most` becomes what the one who used most has used.
static inline void recent_charge(Recent *recent, Recent *most, int64_t used, int64_t now_ns) {
    recent_add(recent, used, now_ns);
    recent_add(most, 0, now_ns);
    most->here = MAX(most->here, recent->here);
}

// Less than half of what whoever uses most uses beyond `chance`: of many who want alike some have had twice as much as
// others in any window, and these are not little for that.
static inline bool recent_is_little(Recent *recent, Recent *most, int64_t chance, int64_t now_ns) {
    return recent_used(recent, now_ns) * 2 < recent_used(most, now_ns) - chance;
}

// Nothing in this window, nor in the one before.
static inline bool recent_is_over(const Recent *recent, int64_t now_ns) {
    bool any = recent->here || recent->last;
    return !any || now_ns / RECENT_WINDOW_NS - recent->window >= 2;
}
