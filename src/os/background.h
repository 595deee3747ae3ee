// background.h: threads that compute for long take what is left of the machine, and never wait for long.
//
// A thread in the background (thread.h) steps back, but while it has a core, whoever is woken may have to wait for it
// all the same: the system weighs what each has had, and may find for the one that runs, until the machine's clock
// ticks (4 ms). Of a thread with the policy SCHED_IDLE it does not: that leaves its core to anybody at once. But where
// others want all of the machine it gets about nothing, also while it holds a lock that somebody waits for.
// Hence the aging of priorities, as in textbooks: a thread that is ready to run and does not is called back.
//
//   works, leaves at once to anybody ─── ready, but ran for less than 1/BACKGROUND_SHARE ───> called back: SCHED_BATCH, nice
//        ^                                of the last BACKGROUND_STARVED_NS                          │
//        └──────────────── after BACKGROUND_LASTS_NS; twice as long if it happens again soon ───────┘
//
// And where somebody prompt knows that he waits for such a thread, he says so: it hurries, being as ordinary as the
// process until he has what he waits for.
//
// ALWAYS TRUE
//   (1) A thread is let go only where it can be called back, which is what the system refuses without a privilege: the
//       process needs CAP_SYS_NICE, or a limit RLIMIT_NICE of 20 less the nice of such threads (10). It is tried once,
//       on a thread for that purpose. Where it is refused, threads in the background stay as thread.h has them.
//   (2) Who is called back is what it was before: no more than any thread in the background.
//
// One thread looks, prompt, while any of them works; otherwise it sleeps without a timer. The threads announce
// themselves: a look at the clock of those that work, two system calls each, is all that it costs.
//
// CALLERS   whoever does long work on a thread that became THREAD_BACKGROUND.      START AT  background_test.c.
#pragma once
#include "os/thread.h"

#define BACKGROUND_LOOK_NS      10000000
#define BACKGROUND_STARVED_NS   100000000  // some of them may share what is left of one core
#define BACKGROUND_SHARE        32
#define BACKGROUND_LASTS_NS     100000000
#define BACKGROUND_LASTS_MAX_NS 3200000000ll
#define BACKGROUND_SOON_NS      1000000000

// Begin the thread that looks, if nobody has: it is prompt if the caller is ordinary, else no more than he.
void background_start(void);

// The calling thread computes from now on; until it waits for something outside, or has nothing to do. Of any other
// thread than one that became THREAD_BACKGROUND, nothing.
void background_begin(void);
void background_end(void);  // also without a beginning

// The calling thread, for who will have to wait for it; as long as it lives. NULL: it takes no part.
typedef struct Background Background;
Background *background_here(void);
// It hurries, until as many have said so as before said the other. As ordinary as the process if the limit allows
// (RLIMIT_NICE of 20 less that), else as one that was called back. Of NULL nothing.
void background_hurry(Background *thread);
void background_hurry_end(Background *thread);

// In a child that is to be another program, before that: nobody would call it back. System calls only.
void background_child(void);

// How often a thread was called back, in this process.
uint64_t background_called_back(void);
