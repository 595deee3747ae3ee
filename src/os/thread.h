// thread.h: what a thread is to the machine, and what it has used of it.
//
// Lightcone has few threads, and they want different things of the scheduler. A loop sleeps, is woken by
// a client, works for some microseconds and sleeps again: it needs little, but at once. A worker computes for
// seconds: it needs much, and nobody minds when exactly. Where there are fewer cores than busy threads,
// saying so decides about latency: by default a thread that is woken waits until whoever has the core has used
// up his slice, a millisecond or more, however little it wants.
//
//   THREAD_PROMPT      a short slice: it gets no more of the machine, but gets it when it is woken
//                      (Linux 6.12 and later; before, it is as any other)
//   THREAD_ORDINARY    as the system has it
//   THREAD_BACKGROUND  does not push others aside when it is woken, and steps back by THREAD_NICE. Not further,
//                      unless somebody looks after it (background.h): it may hold a lock for a moment that somebody
//                      prompt wants, and somebody waits for its work as well; on a full machine it gets less,
//                      never nothing
//
// No privilege is needed for any of it. What such a thread starts (an engine's helpers, a compiler) is
// ordinary if the thread was prompt, and in the background if it was.
#pragma once
#include "base/err.h"

typedef enum ThreadRole { THREAD_ORDINARY, THREAD_PROMPT, THREAD_BACKGROUND } ThreadRole;

#define THREAD_NICE      10  // a tenth of an ordinary thread's share, where both want all they can get
#define THREAD_PROMPT_NS 100000  // the shortest slice that Linux gives

// Of the calling thread. `name` is what ps and top show: at most 15 bytes. What the system refuses is left.
void thread_become(const char *name, ThreadRole role);

uint32_t thread_cores(void);  // that this process may run on; at least 1

// Processor time of the calling thread, in nanoseconds; of use as a difference.
int64_t thread_cpu_ns(void);

// The calling process has left its session for one of its own, with all of its weight where the system
// groups threads by session (autogroup): the group steps back by `nice` too, 0 to 19. System calls only.
void thread_group_nice(int nice);
