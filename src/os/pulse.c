// pulse.c: see pulse.h. Threads sleep on `begun` while there is nothing to beat for; `until_ns` says how long there is.
#define _GNU_SOURCE  // threads on cores
#include "os/pulse.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "os/thread.h"
#include "os/usage.h"

typedef struct PulseThread {
    Pulse *pulse;
    int core;
    pthread_t thread;
} PulseThread;

struct Pulse {
    atomic_llong until_ns;
    atomic_ullong beats;
    atomic_bool stopping;
    pthread_mutex_t mutex;  // taken to sleep and to wake up
    pthread_cond_t begun;
    uint32_t thread_count;
    PulseThread threads[];
};

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

// ── the threads ────────────────────────────────────────────────────────────────────────────────

static bool beats_now(Pulse *pulse) {
    return now_ns() < atomic_load_explicit(&pulse->until_ns, memory_order_relaxed);
}

static bool is_stopping(Pulse *pulse) {
    return atomic_load_explicit(&pulse->stopping, memory_order_relaxed);
}

static void doze(Pulse *pulse) {
    pthread_mutex_lock(&pulse->mutex);
    while (!is_stopping(pulse) && !beats_now(pulse))
        pthread_cond_wait(&pulse->begun, &pulse->mutex);
    pthread_mutex_unlock(&pulse->mutex);
}

static void *pulse_main(void *arg) {
    PulseThread *self = arg;
    Pulse *pulse = self->pulse;
    const struct timespec beat = {.tv_nsec = PULSE_BEAT_NS};
    cpu_set_t core;
    CPU_ZERO(&core);
    CPU_SET(self->core, &core);
    thread_become("pulse", THREAD_PROMPT);
    (void)prctl(PR_SET_TIMERSLACK, 1UL);  // by default a sleep may be longer by 50 µs
    // Where the core is no longer ours it beats somewhere else, which does no harm.
    (void)sched_setaffinity(0, sizeof core, &core);
    while (!is_stopping(pulse)) {
        if (!beats_now(pulse)) doze(pulse);
        clock_nanosleep(CLOCK_MONOTONIC, 0, &beat, NULL);
        atomic_fetch_add_explicit(&pulse->beats, 1, memory_order_relaxed);
    }
    return NULL;
}

// Signals are for the threads that expect them.
static bool thread_start(PulseThread *thread) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    bool started = pthread_create(&thread->thread, NULL, pulse_main, thread) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

Pulse *pulse_new(void) {
    cpu_set_t cores;
    if (sched_getaffinity(0, sizeof cores, &cores) != 0) return NULL;
    int count = CPU_COUNT(&cores);
    if (count > PULSE_CORES_MAX || usage_cpu_is_limited("/proc/self/cgroup", "/sys/fs/cgroup"))
        return NULL;
    Pulse *pulse = mem_zalloc(sizeof *pulse + (size_t)count * sizeof(PulseThread));
    if (!pulse) return NULL;
    pthread_mutex_init(&pulse->mutex, NULL);
    pthread_cond_init(&pulse->begun, NULL);
    for (int core = 0; core < CPU_SETSIZE; core++) {
        if (!CPU_ISSET(core, &cores)) continue;
        PulseThread *thread = &pulse->threads[pulse->thread_count];
        *thread = (PulseThread){.pulse = pulse, .core = core};
        if (!thread_start(thread)) {  // half of a pulse would be worse to understand than none
            pulse_free(&pulse);
            break;
        }
        pulse->thread_count++;
    }
    return pulse;
}

void pulse_free(Pulse **out) {
    Pulse *pulse = *out;
    *out = NULL;
    if (!pulse) return;
    pthread_mutex_lock(&pulse->mutex);
    atomic_store(&pulse->stopping, true);
    pthread_cond_broadcast(&pulse->begun);
    pthread_mutex_unlock(&pulse->mutex);
    for (uint32_t i = 0; i < pulse->thread_count; i++)
        pthread_join(pulse->threads[i].thread, NULL);
    pthread_cond_destroy(&pulse->begun);
    pthread_mutex_destroy(&pulse->mutex);
    mem_free(pulse);
}

uint64_t pulse_beats(const Pulse *pulse) {
    return pulse ? atomic_load_explicit(&pulse->beats, memory_order_relaxed) : 0;
}

// ── what a thread feels ────────────────────────────────────────────────────────────────────────

// The system's line is "ran waited times", the first two in nanoseconds.
static bool meter_read(PulseMeter *meter) {
    char text[80];
    ssize_t len = pread(meter->fd, text, sizeof text - 1, 0);
    if (len <= 0) return false;
    text[len] = 0;
    unsigned long long ran, waited, times;
    if (sscanf(text, "%llu %llu %llu", &ran, &waited, &times) != 3) return false;
    meter->ran_ns = ran;
    meter->waited_ns = waited;
    meter->times = times;
    return true;
}

void pulse_meter_open(PulseMeter *meter, int64_t now) {
    *meter = (PulseMeter){.fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC),
                          .looked_ns = now};
    if (meter->fd >= 0 && !meter_read(meter)) pulse_meter_close(meter);
}

void pulse_meter_close(PulseMeter *meter) {
    if (meter->fd >= 0) close(meter->fd);
    meter->fd = -1;
}

static void pulse_go_on(Pulse *pulse, int64_t now) {
    bool beaten = now < atomic_load_explicit(&pulse->until_ns, memory_order_relaxed);
    atomic_store_explicit(&pulse->until_ns, now + PULSE_LASTS_NS, memory_order_relaxed);
    if (beaten) return;
    pthread_mutex_lock(&pulse->mutex);  // a thread between its look and its sleep holds it
    pthread_mutex_unlock(&pulse->mutex);
    pthread_cond_broadcast(&pulse->begun);
}

static bool is_content(const PulseMeter *before, const PulseMeter *now) {
    uint64_t passed_ns = (uint64_t)(now->looked_ns - before->looked_ns);
    uint64_t ran_ns = now->ran_ns - before->ran_ns, waited_ns = now->waited_ns - before->waited_ns;
    return waited_ns * 100 <= passed_ns * PULSE_IDLE_PERCENT ||
           waited_ns * 100 <= (ran_ns + waited_ns) * PULSE_WAITED_PERCENT ||
           waited_ns <= (now->times - before->times) * PULSE_WAIT_NS;
}

void pulse_feel(Pulse *pulse, PulseMeter *meter, int64_t now) {
    if (!pulse || meter->fd < 0 || now - meter->looked_ns < PULSE_LOOK_NS) return;
    PulseMeter before = *meter;
    meter->looked_ns = now;
    if (meter_read(meter) && !is_content(&before, meter)) pulse_go_on(pulse, now);
}
