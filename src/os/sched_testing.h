// sched_testing.h: for tests only: time, and a core that several threads want. Needs _GNU_SOURCE.
#pragma once
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#include "base/test.h"

static inline int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline void sleep_ms(int64_t ms) {
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

// A thread's main: it computes until *over, an atomic_bool.
static inline void *spin(void *over) {
    while (!atomic_load((atomic_bool *)over))
        continue;
    return NULL;
}

// The first core that the calling thread may run on.
static inline cpu_set_t one_core(void) {
    cpu_set_t may, one;
    EXPECT_EQ(sched_getaffinity(0, sizeof may, &may), 0);
    int core = 0;
    while (!CPU_ISSET(core, &may))
        core++;
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    return one;
}

// The calling thread and so many others, who only compute, share one core until crowd_end(): what the caller does takes
// count + 1 times as long by the clock, and as much processor time as ever.
typedef struct Crowd {
    atomic_bool over;
    cpu_set_t before;
    pthread_t threads[8];
    int count;
} Crowd;

static inline void crowd_begin(Crowd *crowd, int count) {
    *crowd = (Crowd){.count = count};
    cpu_set_t one = one_core();
    EXPECT_EQ(sched_getaffinity(0, sizeof crowd->before, &crowd->before), 0);
    EXPECT_EQ(sched_setaffinity(0, sizeof one, &one), 0);  // what the caller starts inherits it
    for (int i = 0; i < count; i++)
        EXPECT_EQ(pthread_create(&crowd->threads[i], NULL, spin, &crowd->over), 0);
}

static inline void crowd_end(Crowd *crowd) {
    atomic_store(&crowd->over, true);
    for (int i = 0; i < crowd->count; i++)
        pthread_join(crowd->threads[i], NULL);
    EXPECT_EQ(sched_setaffinity(0, sizeof crowd->before, &crowd->before), 0);
}
