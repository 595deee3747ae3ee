// clock.c: see clock.h. How fast the counter runs is measured once, against the clock.
#include "host/wasm/clock.h"

#include <stdatomic.h>

#if defined(__x86_64__)
#include <cpuid.h>

enum { MEASURE_NS = 5000000 };  // two looks are 50 ns apart at most: right to 1 in 100,000

static GuestClock first;
static _Atomic uint64_t rate;

static bool counter_is_even(void) {  // "invariant": one speed on all cores, also when they sleep
    unsigned a, b, c, d;
    return __get_cpuid(0x80000007, &a, &b, &c, &d) && (d & 1u << 8);
}

void guest_clock_start(void) {
    if (counter_is_even())
        first = (GuestClock){.ns = abi_monotonic_ns(), .ticks = __builtin_ia32_rdtsc()};
}

void guest_clock_set(GuestClock *clock) {
    clock->ns = abi_monotonic_ns();
    clock->ticks = __builtin_ia32_rdtsc();
    clock->ns_per_tick32 = atomic_load_explicit(&rate, memory_order_relaxed);
    if (LIKELY(clock->ns_per_tick32) || !first.ns || clock->ns < first.ns + MEASURE_NS) return;
    unsigned __int128 ns = (unsigned __int128)(clock->ns - first.ns) << 32;
    clock->ns_per_tick32 = (uint64_t)(ns / MAX(clock->ticks - first.ticks, 1));
    atomic_store(&rate, clock->ns_per_tick32);
}
#else
void guest_clock_start(void) {}
void guest_clock_set(GuestClock *clock) {
    *clock = (GuestClock){0};
}
#endif
