// pulse.h: who may have a core is asked again more often than the machine's clock ticks.
//
// Linux decides who runs when a thread is woken, when one sleeps, and at the ticks of its clock: 4 ms apart on
// most servers. A loop that shares a core with its clients uses a little more than its part, so that at some
// wake-ups it is not the one with the best claim, by some microseconds; then whoever has the core keeps it
// until the tick, a worker in the background as well. No weight changes that: what is owed is paid back in
// time, not in weight. With four workers on two cores one call of fifty waited 4 ms so.
//
//   core 0   worker ───────────────────┤ loop              without: from its wake-up to the next tick
//   core 0   worker ───┤pulse├ loop                        with: to the next beat
//
// A pulse is a thread for each core that sleeps PULSE_BEAT_NS, wakes and sleeps again. When it sleeps, the system
// chooses anew. That costs a core some 5 µs a beat, so it beats only while a loop feels that it waits:
// the system counts for each thread how long it was ready to run and did not, and how often
// (proc(5), /proc/PID/schedstat), and each loop looks at its own numbers now and then.
//
// A thread that is not looked at costs nothing; an idle process has no pulse. Where the system does not count, where
// there are so many cores that one is idle when it is wanted, where processor time itself is limited (a beat uses some of
// it, and who has used it up waits for nobody), or threads cannot be had, there is none either, and nothing else is
// different.
//
// CALLERS   node/loop.c.      START AT  pulse_test.c.
#pragma once
#include "base/err.h"

#define PULSE_BEAT_NS   500000
#define PULSE_CORES_MAX 16
// A thread looks at its numbers so often. It is not content when it stood waiting for a core
//   for more than PULSE_IDLE_PERCENT of that time: else it hardly wants one;
//   for more than PULSE_WAITED_PERCENT of the time in which it wanted one: a loop that runs all the time is
//     only disturbed by a pulse, which makes it wait for 6 %;
//   for more than PULSE_WAIT_NS whenever it got one: alone with its clients on two cores it is 0.2 to 3.7 µs,
//     beside workers 4 to 33, and a wait until the tick makes 40 of any such time.
// The pulse goes on for PULSE_LASTS_NS then.
#define PULSE_LOOK_NS        10000000
#define PULSE_IDLE_PERCENT   1
#define PULSE_WAITED_PERCENT 12
#define PULSE_WAIT_NS        10000
#define PULSE_LASTS_NS       500000000

typedef struct Pulse Pulse;

// What a thread knows of itself. Its owner's, and used on that thread alone.
typedef struct PulseMeter {
    int fd;  // of its numbers; -1: the system does not count
    int64_t looked_ns;
    uint64_t ran_ns, waited_ns, times;  // on a core, for one, and how often it got one: as of then
} PulseMeter;

// One a process is enough. NULL where there can be none; all the functions take that.
Pulse *pulse_new(void);
void pulse_free(Pulse **pulse);

// Of the calling thread; its numbers count from `now_ns`, of CLOCK_MONOTONIC, on.
void pulse_meter_open(PulseMeter *meter, int64_t now_ns);
void pulse_meter_close(PulseMeter *meter);

// To be called by a thread as often as it likes: now and then it looks, and if it had to wait, the pulse begins or goes on.
void pulse_feel(Pulse *pulse, PulseMeter *meter, int64_t now_ns);

// How often it has beaten, on all cores together.
uint64_t pulse_beats(const Pulse *pulse);
