// watch.c: see watch.h. The list is short (one entry an instance) and its lock is held for a whole
// look, so that watch_deinit() returns only when no fire() of that instance runs.
#include "host/watch.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "os/thread.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;  // of `watches`, and of `woken`
static pthread_cond_t woken = PTHREAD_COND_INITIALIZER;
static HostWatch *watches;
static bool started;
atomic_bool watch_asleep;

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t used_cpu_ns(const HostWatch *watch) {
    struct timespec used;
    clockid_t clock = atomic_load_explicit(&watch->clock, memory_order_relaxed);
    if (clock == 0 || clock_gettime(clock, &used) != 0) return 0;
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

static void see(HostWatch *watch, uint64_t word, uint64_t now) {
    if (watch->seen == word) return;
    watch->seen = word;
    watch->seen_ns = now;
    watch->seen_cpu_ns = used_cpu_ns(watch);
}

// Its time is over: was it its own? What it used before it was seen first is not known and not charged.
static bool was_waiting(const HostWatch *watch, uint64_t word, uint64_t now) {
    if (watch->seen_cpu_ns == 0 || now - word > WATCH_GRACE_US * UINT64_C(1000)) return false;
    uint64_t left = word > watch->seen_ns ? word - watch->seen_ns : 0;
    uint64_t used = used_cpu_ns(watch) - watch->seen_cpu_ns;
    return used < MAX(left, WATCH_TICK_US * UINT64_C(1000)) * WATCH_RUN_PERCENT / 100;
}

// The number of the call that is to be fired now; 0: none is.
static uint64_t call_due(HostWatch *watch, uint64_t now) {
    uint64_t call = atomic_load(&watch->call), budget_ns = atomic_load(&watch->budget_ns);
    bool runs =
        (call & 1) && call == atomic_load(&watch->call);  // else the budget may be another's
    if (!runs || call == atomic_load(&watch->call_fired)) return 0;
    if (atomic_load(&watch->stop)) return call;
    if (atomic_load(&watch->call_seen) != call) {
        atomic_store(&watch->call_seen_ns, now);
        atomic_store(&watch->call_seen, call);
    }
    return now - atomic_load(&watch->call_seen_ns) >= budget_ns ? call : 0;
}

// The run cannot end meanwhile: watch_end() waits.
static void look_at_run(HostWatch *watch, uint64_t now) {
    uint64_t call = call_due(watch, now), word = WATCH_RUN;
    if (!call || !atomic_compare_exchange_strong(&watch->word, &word, word | WATCH_FIRING)) return;
    atomic_store(&watch->call_fired, call);
    watch->fire(watch->ctx);
    atomic_store(&watch->word, WATCH_RUN);
}

// Fire the call if it is due. True: a call runs.
static bool look_at(HostWatch *watch, uint64_t now) {
    uint64_t word = atomic_load(&watch->word);
    if (word == 0) return false;
    if (word & WATCH_STATE_BITS) return true;
    if (word == WATCH_RUN) {
        look_at_run(watch, now);
        return true;
    }
    if (!atomic_load(&watch->stop)) {
        see(watch, word, now);
        if (word >= now || was_waiting(watch, word, now)) return true;
    }
    // Fails when the call has just ended, perhaps with another begun since: a word is an end in
    // time, so an equal one of another call would be due as well.
    if (!atomic_compare_exchange_strong(&watch->word, &word, word | WATCH_FIRING)) return true;
    watch->fire(watch->ctx);
    atomic_store(&watch->word, word | WATCH_FIRED);
    return true;
}

static bool look_at_all(void) {
    uint64_t now = now_ns();
    bool any = false;
    for (HostWatch *watch = watches; watch; watch = watch->next)
        any |= look_at(watch, now);
    return any;
}

static void tick_sleep(void) {
    struct timespec tick = {.tv_nsec = WATCH_TICK_US * 1000};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &tick, NULL);
}

// Without calls for this many ticks the thread goes to sleep; waking it costs a call some
// microseconds, so not between any two.
enum { IDLE_TICKS = 50 };

static void *watch_main(void *unused) {
    (void)unused;
    thread_become("watch", THREAD_PROMPT);
    for (int idle = 0;;) {
        pthread_mutex_lock(&lock);
        idle = look_at_all() ? 0 : idle + 1;
        if (idle >= IDLE_TICKS) {
            atomic_store(&watch_asleep, true);
            if (!look_at_all())  // a call that began before it could see us asleep
                while (atomic_load(&watch_asleep))
                    pthread_cond_wait(&woken, &lock);
            atomic_store(&watch_asleep, false);
            idle = 0;
        }
        pthread_mutex_unlock(&lock);
        tick_sleep();
    }
    return NULL;
}

void watch_wake(void) {
    pthread_mutex_lock(&lock);
    atomic_store(&watch_asleep, false);
    pthread_cond_signal(&woken);
    pthread_mutex_unlock(&lock);
}

// Signals are for the threads that expect them.
static void thread_start(void) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    pthread_t thread;
    started = pthread_create(&thread, NULL, watch_main, NULL) == 0;
    if (started) pthread_detach(thread);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void watch_start(void) {
    pthread_once(&once, thread_start);
}

Err watch_init(HostWatch *watch, void (*fire)(void *ctx), void *ctx) {
    watch_start();
    if (!started) return ERR_NOMEM;
    *watch = (HostWatch){.fire = fire, .ctx = ctx};
    pthread_mutex_lock(&lock);
    watch->next = watches;
    if (watches) watches->prev = watch;
    watches = watch;
    pthread_mutex_unlock(&lock);
    return OK;
}

void watch_thread(HostWatch *watch) {
    clockid_t clock;
    bool known = pthread_getcpuclockid(pthread_self(), &clock) == 0;
    atomic_store_explicit(&watch->clock, known ? clock : 0, memory_order_relaxed);
}

void watch_deinit(HostWatch *watch) {
    if (!watch->fire) return;
    pthread_mutex_lock(&lock);
    if (watch->prev)
        watch->prev->next = watch->next;
    else
        watches = watch->next;
    if (watch->next) watch->next->prev = watch->prev;
    pthread_mutex_unlock(&lock);
    watch->fire = NULL;
}

bool watch_end(HostWatch *watch) {
    uint64_t word = atomic_load_explicit(&watch->word, memory_order_relaxed);
    for (;;) {
        if (UNLIKELY(word & WATCH_FIRING)) {  // (1) it is quick; wait for it
            word = atomic_load(&watch->word);
            continue;
        }
        if (atomic_compare_exchange_weak(&watch->word, &word, 0)) return word & WATCH_FIRED;
    }
}

void watch_stop(HostWatch *watch) {
    atomic_store(&watch->stop, true);
    pthread_mutex_lock(&lock);
    if (watch->fire) look_at(watch, 0);  // at once, without waiting for the next tick
    pthread_mutex_unlock(&lock);
}
