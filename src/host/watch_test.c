// Calls are ended in time, never too early, and never in the place of another.
#include "host/watch.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "base/test.h"
#include "host/abi.h"

typedef struct Caller {
    HostWatch watch;
    atomic_int inside;    // the running call's number, 0 between calls
    atomic_uint fired;    // how often
    atomic_uint outside;  // … while no call ran
    atomic_uint early;
    _Atomic uint64_t end_ns;
} Caller;

static void caller_fire(void *ctx) {
    Caller *caller = ctx;
    atomic_fetch_add(&caller->fired, 1);
    if (!atomic_load(&caller->inside)) atomic_fetch_add(&caller->outside, 1);
    if (abi_monotonic_ns() < atomic_load(&caller->end_ns)) atomic_fetch_add(&caller->early, 1);
}

static void caller_init(Caller *caller) {
    memset(caller, 0, sizeof *caller);
    EXPECT_OK(watch_init(&caller->watch, caller_fire, caller));
}

static void call_begin(Caller *caller, uint64_t budget_ns) {
    atomic_store(&caller->inside, 1);
    uint64_t end_ns = budget_ns ? abi_monotonic_ns() + budget_ns : WATCH_NO_END;
    atomic_store(&caller->end_ns, budget_ns ? end_ns & ~WATCH_STATE_BITS : 0);
    watch_begin(&caller->watch, end_ns);
}
static bool call_end(Caller *caller) {
    bool fired = watch_end(&caller->watch);
    atomic_store(&caller->inside, 0);
    return fired;
}

static void spin(uint64_t ns) {
    for (uint64_t end = abi_monotonic_ns() + ns; abi_monotonic_ns() < end;) {
    }
}
static bool wait_for_fire(Caller *caller, unsigned count) {  // up to 5 s
    for (uint64_t end = abi_monotonic_ns() + 5000000000u; abi_monotonic_ns() < end;)
        if (atomic_load(&caller->fired) == count) return true;
    return false;
}

TEST(watch, fires_a_call_once_when_its_time_is_over) {
    Caller caller;
    caller_init(&caller);
    call_begin(&caller, 2000000);
    EXPECT(wait_for_fire(&caller, 1));
    spin(5000000);
    EXPECT(call_end(&caller));
    EXPECT_EQ(caller.fired, 1);
    EXPECT_EQ(caller.early, 0);
    watch_deinit(&caller.watch);
}

TEST(watch, leaves_calls_alone_that_end_in_time) {
    Caller caller;
    caller_init(&caller);
    for (int i = 0; i < 20; i++) {
        call_begin(&caller, 10000000000);
        spin(500000);
        EXPECT(!call_end(&caller));
    }
    call_begin(&caller, 0);
    spin(5000000);
    EXPECT(!call_end(&caller));
    EXPECT_EQ(caller.fired, 0);
    watch_deinit(&caller.watch);
}

TEST(watch, wakes_up_for_the_first_call_after_a_rest) {
    Caller caller;
    caller_init(&caller);
    for (uint64_t end = abi_monotonic_ns() + 5000000000u; !atomic_load(&watch_asleep);)
        EXPECT(abi_monotonic_ns() < end);
    call_begin(&caller, 1000000);
    EXPECT(wait_for_fire(&caller, 1));
    EXPECT(call_end(&caller));
    watch_deinit(&caller.watch);
}

// A thread that sleeps uses no time of its own, if it does not wake up all the time.
TEST(watch, is_patient_with_a_thread_that_does_not_run_but_not_for_ever) {
    Caller caller;
    caller_init(&caller);
    watch_thread(&caller.watch);
    uint64_t begin = abi_monotonic_ns();
    call_begin(&caller, 3000000);
    struct timespec nap = {.tv_nsec = 20000000};
    while (atomic_load(&caller.fired) == 0 && abi_monotonic_ns() - begin < 5000000000u)
        clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL);
    EXPECT(abi_monotonic_ns() - begin > WATCH_GRACE_US * UINT64_C(1000));
    EXPECT(call_end(&caller));
    watch_deinit(&caller.watch);
}

// A thread that gets a tenth of a processor has used a tenth of its slice when that is over.
TEST(watch, does_not_charge_for_what_others_used) {
    Caller caller;
    caller_init(&caller);
    watch_thread(&caller.watch);
    struct timespec nap = {.tv_nsec = 4500000};
    for (int round = 0; round < 3; round++) {
        call_begin(&caller, 5000000);
        for (int i = 0; i < 4; i++) {
            spin(150000);  // in all less than a tick
            clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL);
        }
        EXPECT(!call_end(&caller));
    }
    EXPECT_EQ(caller.fired, 0);
    watch_deinit(&caller.watch);
}

TEST(watch, stops_the_running_call_or_the_next_one) {
    Caller caller;
    caller_init(&caller);
    call_begin(&caller, 0);
    watch_stop(&caller.watch);
    EXPECT(wait_for_fire(&caller, 1));
    EXPECT(call_end(&caller));
    EXPECT(watch_stop_take(&caller.watch));
    watch_stop(&caller.watch);
    spin(3000000);
    EXPECT_EQ(caller.fired, 1);  // nobody to fire at
    call_begin(&caller, 0);
    EXPECT(wait_for_fire(&caller, 2));
    EXPECT(call_end(&caller));
    EXPECT(watch_stop_wanted(&caller.watch));
    EXPECT(watch_stop_take(&caller.watch));
    EXPECT(!watch_stop_wanted(&caller.watch));
    EXPECT_EQ(caller.outside, 0);
    watch_deinit(&caller.watch);
}

// Calls of random length around their budget: whatever the interleaving, a fire falls into its own
// call, and watch_end tells of each.
static void *caller_main(void *ctx) {
    Caller *caller = ctx;
    unsigned told = 0;
    uint64_t seed = (uint64_t)(uintptr_t)ctx, begin = abi_monotonic_ns();
    while (abi_monotonic_ns() - begin < 400000000) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        uint64_t budget = 100000 + (seed >> 40) % 1000000;
        call_begin(caller, budget);
        spin((seed >> 33) % 1200000);
        told += call_end(caller);
    }
    return (void *)(uintptr_t)told;
}

TEST(watch, never_fires_outside_a_call_or_without_telling) {
    enum { N = 3 };
    static Caller callers[N];
    pthread_t threads[N];
    for (int i = 0; i < N; i++) {
        caller_init(&callers[i]);
        EXPECT_EQ(pthread_create(&threads[i], NULL, caller_main, &callers[i]), 0);
    }
    for (int i = 0; i < N; i++) {
        void *told;
        pthread_join(threads[i], &told);
        EXPECT_EQ(callers[i].fired, (unsigned)(uintptr_t)told);
        EXPECT_EQ(callers[i].outside, 0);
        EXPECT_EQ(callers[i].early, 0);
        watch_deinit(&callers[i].watch);
    }
}

// ---- runs of calls

TEST(watch, fires_a_call_of_a_run_when_its_budget_is_over_since_it_was_seen) {
    Caller caller;
    caller_init(&caller);
    watch_begin(&caller.watch, WATCH_RUN);
    atomic_store(&caller.inside, 1);
    for (unsigned round = 1; round <= 3; round++) {
        uint64_t begin = abi_monotonic_ns();
        watch_call_begin(&caller.watch, 2000000);
        EXPECT(!watch_call_is_fired(&caller.watch));
        EXPECT(wait_for_fire(&caller, round));
        uint64_t end = abi_monotonic_ns();
        EXPECT(end - begin >= 2000000);
        EXPECT(watch_call_is_fired(&caller.watch));
        spin(3000000);  // once is enough
        EXPECT_EQ(caller.fired, round);
        uint64_t seen = watch_call_end(&caller.watch);
        EXPECT(seen >= begin && seen + 2000000 <= end);
        EXPECT(!watch_call_is_fired(&caller.watch));
    }
    EXPECT(!watch_end(&caller.watch));
    EXPECT_EQ(caller.outside, 0);
    watch_deinit(&caller.watch);
}

TEST(watch, leaves_a_run_alone_whose_calls_end_in_time) {
    Caller caller;
    caller_init(&caller);
    watch_begin(&caller.watch, WATCH_RUN);
    unsigned unseen = 0;
    for (int i = 0; i < 3000; i++) {  // in all longer than the budget of each
        watch_call_begin(&caller.watch, 250000000);
        spin(100000);
        unseen += watch_call_end(&caller.watch) == 0;
    }
    EXPECT(unseen > 500);
    watch_call_begin(&caller.watch, UINT64_MAX);
    spin(5000000);
    EXPECT(watch_call_end(&caller.watch) != 0);
    spin(3000000);  // between two calls
    EXPECT(!watch_end(&caller.watch));
    EXPECT_EQ(caller.fired, 0);
    watch_deinit(&caller.watch);
}

TEST(watch, stops_the_running_call_of_a_run_or_the_next_one) {
    Caller caller;
    caller_init(&caller);
    watch_begin(&caller.watch, WATCH_RUN);
    watch_call_begin(&caller.watch, UINT64_MAX);
    watch_stop(&caller.watch);
    EXPECT(wait_for_fire(&caller, 1));
    EXPECT(watch_call_is_fired(&caller.watch));
    (void)watch_call_end(&caller.watch);
    EXPECT(watch_stop_take(&caller.watch));
    watch_stop(&caller.watch);
    spin(3000000);
    EXPECT_EQ(caller.fired, 1);  // nobody to fire at
    watch_call_begin(&caller.watch, UINT64_MAX);
    EXPECT(wait_for_fire(&caller, 2));
    (void)watch_call_end(&caller.watch);
    EXPECT(!watch_end(&caller.watch));
    watch_deinit(&caller.watch);
}

// A fire may come late; then it is not meant for the call that runs.
static void *run_main(void *ctx) {
    Caller *caller = ctx;
    uint64_t seed = (uint64_t)(uintptr_t)ctx, begin = abi_monotonic_ns();
    uintptr_t wrong = 0;
    while (abi_monotonic_ns() - begin < 400000000) {
        atomic_store(&caller->inside, 1);
        watch_begin(&caller->watch, WATCH_RUN);
        for (int i = 0; i < 5; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            uint64_t budget = 100000 + (seed >> 40) % 1000000, start = abi_monotonic_ns();
            watch_call_begin(&caller->watch, budget);
            spin((seed >> 33) % 1200000);
            bool fired = watch_call_is_fired(&caller->watch);
            wrong += fired && abi_monotonic_ns() - start < budget;
            (void)watch_call_end(&caller->watch);
        }
        (void)watch_end(&caller->watch);
        atomic_store(&caller->inside, 0);
    }
    return (void *)wrong;
}

TEST(watch, never_fires_outside_a_run_or_at_a_call_before_its_time) {
    enum { N = 3 };
    static Caller callers[N];
    pthread_t threads[N];
    for (int i = 0; i < N; i++) {
        caller_init(&callers[i]);
        EXPECT_EQ(pthread_create(&threads[i], NULL, run_main, &callers[i]), 0);
    }
    for (int i = 0; i < N; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        EXPECT_EQ((uintptr_t)wrong, 0u);
        EXPECT_EQ(callers[i].outside, 0);
        watch_deinit(&callers[i].watch);
    }
}

TEST_MAIN()
