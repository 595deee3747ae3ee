// clock.h: the monotonic clock for calls that are shorter than two looks at it (28 ns each here).
//
// The processor's own counter (13 ns), set against abi_monotonic_ns() at the start of each
// host_run. Where there is none that counts evenly, the clock itself.
#pragma once
#include "host/abi.h"

typedef struct GuestClock {
    uint64_t ns, ticks;      // at the same moment
    uint64_t ns_per_tick32;  // fixed point, 32 bits of fraction; 0: look at the clock
} GuestClock;

void guest_clock_start(void);             // once per process, a few milliseconds before it is used
void guest_clock_set(GuestClock *clock);  // to now

static inline uint64_t guest_clock_ns(const GuestClock *clock) {
#if defined(__x86_64__)
    if (LIKELY(clock->ns_per_tick32)) {
        uint64_t ticks = __builtin_ia32_rdtsc() - clock->ticks;
        return clock->ns + (uint64_t)((unsigned __int128)ticks * clock->ns_per_tick32 >> 32);
    }
#endif
    (void)clock;
    return abi_monotonic_ns();
}
