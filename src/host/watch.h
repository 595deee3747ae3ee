// watch.h: ends calls that outlive their time. One thread looks at all running calls each
// millisecond; a call that ends in time pays a few nanoseconds.
//
// PICTURE
//   an instance's thread                        the watch's thread
//   watch_begin(end_ns)  word = end             each WATCH_TICK_US:
//     … the call …                                end < now, or watch_stop?  word = end|FIRING
//   watch_end()          word = 0                   fire(ctx)                word = end|FIRED
//
//   Firing asks the engine, from outside, to end what its thread runs: a trap that a virtual machine
//   looks for, a signal. It does not wait for that to happen.
//
// ALWAYS TRUE
//   (1) fire() runs between the watch_begin and the watch_end of the call it is meant for, never
//       outside: watch_end waits for one that has begun. What it has requested and the engine has
//       not yet obeyed, watch_end's caller takes back, so the next call never pays for the last.
//   (2) A call is fired at once at most, not before its time.
//   (3) While no call runs, the thread sleeps without a timer.
//
// RUNS  Two locked instructions and a look at the clock are half of what a call into compiled code
//   costs. An engine whose calls can be told apart by the thread that makes them announces a run of
//   calls by watch_begin(watch, WATCH_RUN), and each of them by watch_call_begin() and _end(): three
//   plain stores. The thread notes when it sees a call first, and fires it when its budget is over
//   since then: at the tick at which it would have fired anyway, budgets being whole ticks. It fires
//   within the run, but perhaps when the call has just ended, even in the next one: whoever obeys asks
//   watch_call_is_fired() first.
//
// BUSY MACHINES  A call that is late because its thread had to wait for a processor would only be
//   late again elsewhere, and the machine would do its work twice. So a call is fired when its time
//   is over and its thread has itself run for (nearly) as long as was left when the watch first saw
//   the call, at least for a tick; or when it is late by WATCH_GRACE_US, whatever it waited for.
#pragma once
#include <stdatomic.h>
#include <time.h>

#include "base/base.h"
#include "base/err.h"

#define WATCH_TICK_US     1000
#define WATCH_GRACE_US    100000
#define WATCH_RUN_PERCENT 90  // clocks differ a little

typedef struct HostWatch {
    _Atomic uint64_t word;  // 0: no call runs; else its end (monotonic ns), two low bits: state
    atomic_bool stop;       // watch_stop was called and not yet obeyed
    void (*fire)(void *ctx);
    void *ctx;
    _Atomic clockid_t clock;        // the CPU time of the thread that makes the calls; 0: not known
    uint64_t seen;                  // the watch's own: the call it saw last …
    uint64_t seen_ns, seen_cpu_ns;  // … when it saw it first, and the thread's CPU time then
    // Of a run of calls.
    _Atomic uint64_t call;          // its number, odd; even between two
    _Atomic uint64_t budget_ns;     // of that call; UINT64_MAX: only watch_stop ends it
    _Atomic uint64_t call_seen;     // the number of the call that was seen last …
    _Atomic uint64_t call_seen_ns;  // … and when, for the first time
    _Atomic uint64_t call_fired;    // the number of the call that was fired last
    struct HostWatch *prev, *next;  // of those the thread looks at; under its lock
} HostWatch;

#define WATCH_NO_END     (UINT64_MAX & ~WATCH_STATE_BITS)  // only watch_stop ends the call
#define WATCH_RUN        (WATCH_NO_END - 4)  // a run of calls begins; each says for itself how long
#define WATCH_FIRING     1u
#define WATCH_FIRED      2u
#define WATCH_STATE_BITS UINT64_C(3)

// Begin the thread, if nobody has: it is as ordinary as the caller's.
void watch_start(void);
// Have it look at *watch from now on. `fire` runs on that thread and must be quick; *watch
// must stay where it is. ERR_NOMEM: the thread could not be started.
MUST_USE Err watch_init(HostWatch *watch, void (*fire)(void *ctx), void *ctx);
void watch_deinit(HostWatch *watch);  // harmless when zeroed or never inited

extern atomic_bool watch_asleep;  // private: the thread waits to be woken
void watch_wake(void);            // private

// This thread makes the calls from now on; it must not end before the next one is made elsewhere.
void watch_thread(HostWatch *watch);

// A call runs from now, to end at `end_ns` of abi_monotonic_ns(); WATCH_NO_END.
static inline void watch_begin(HostWatch *watch, uint64_t end_ns) {
    uint64_t word = end_ns & ~WATCH_STATE_BITS;
    // Sequentially consistent, as is the thread's own pair: it either sees this word, or we see
    // that it sleeps. (An exchange; 5 ns.)
    atomic_store(&watch->word, word ? word : WATCH_STATE_BITS + 1);
    if (UNLIKELY(atomic_load(&watch_asleep))) watch_wake();
}

// The call is over. True: it was fired, and the engine may not have noticed yet (1).
bool watch_end(HostWatch *watch);

// One call of a run: from now until watch_call_end(), for `budget_ns`; UINT64_MAX: no limit.
static inline void watch_call_begin(HostWatch *watch, uint64_t budget_ns) {
    uint64_t number = atomic_load_explicit(&watch->call, memory_order_relaxed) + 1;
    atomic_store_explicit(&watch->budget_ns, budget_ns, memory_order_release);
    atomic_store_explicit(&watch->call, number, memory_order_release);
}
// What the thread saw of it: when it saw it first, at most a tick after it began (abi_monotonic_ns).
// 0: it was over before that.
static inline uint64_t watch_call_end(HostWatch *watch) {
    uint64_t number = atomic_load_explicit(&watch->call, memory_order_relaxed);
    atomic_store_explicit(&watch->call, number + 1, memory_order_release);
    if (LIKELY(atomic_load_explicit(&watch->call_seen, memory_order_acquire) != number)) return 0;
    return atomic_load_explicit(&watch->call_seen_ns, memory_order_relaxed);
}
// Is the call that runs the one that was fired? For whoever obeys, on the thread that makes the calls.
static inline bool watch_call_is_fired(const HostWatch *watch) {
    return atomic_load_explicit(&watch->call_fired, memory_order_acquire) ==
           atomic_load_explicit(&watch->call, memory_order_relaxed);
}

// Fire the running call at once, or the next one; from any thread. The request stays until
// watch_stop_take() answers true.
void watch_stop(HostWatch *watch);
static inline bool watch_stop_wanted(const HostWatch *watch) {
    return atomic_load_explicit(&watch->stop, memory_order_relaxed);
}
static inline bool watch_stop_take(HostWatch *watch) {
    return atomic_exchange(&watch->stop, false);
}
