// background.c: see background.h. The list is short (a thread of the pool each) and its lock is held for a whole look.
#define _GNU_SOURCE  // policies beyond POSIX
#include "os/background.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct Background {
    Background *prev, *next;  // of those that are looked at; under `lock`
    int thread;               // the kernel's number
    int nice;                 // unless it hurries
    int fd;                   // of what the system counts of it
    atomic_bool works;
    uint32_t hurries;  // who waits for it; under `lock`
    // The keeper's.
    bool called_back;
    uint64_t ran_ns;    // when it had enough the last time …
    int64_t since_ns;   // … and when that was; 0: it has not worked since
    int64_t until_ns;   // called back: when it is let go
    int64_t let_go_ns;  // when that was the last time
    int64_t lasts_ns;
};

typedef enum Part { PART_UNKNOWN, PART_NONE, PART_TAKEN } Part;

static _Thread_local Background self;
static _Thread_local Part part;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t leaves;  // its destructor takes a thread that ends from the list
static bool can_call_back;
static int ordinary_nice;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t woken = PTHREAD_COND_INITIALIZER;
static Background *list;
static atomic_bool asleep;  // the keeper; also before there is one
static atomic_ullong count;

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

// Its nice stays what it is. 0: the calling thread.
static bool policy_set(int thread, int policy) {
    return sched_setscheduler(thread, policy, &(struct sched_param){0}) == 0;
}

// ── the keeper ─────────────────────────────────────────────────────────────────────────────────

// The system's line is "ran waited times", the first two in nanoseconds. What it has waited is counted only when that is
// over, so it does not tell who is waiting now.
static bool ran_read(const Background *b, uint64_t *ran_ns) {
    char text[80];
    ssize_t len = pread(b->fd, text, sizeof text - 1, 0);
    if (len <= 0) return false;
    text[len] = 0;
    unsigned long long ran;
    if (sscanf(text, "%llu", &ran) != 1) return false;
    *ran_ns = ran;
    return true;
}

// Not asleep, not waiting for a disk or a lock: "NUMBER (NAME) R ".
static bool is_ready(const Background *b) {
    char path[64], text[128];
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", b->thread);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t len = read(fd, text, sizeof text - 1);
    close(fd);
    if (len <= 0) return false;
    text[len] = 0;
    const char *name_end = strrchr(text, ')');
    return name_end && strncmp(name_end, ") R", 3) == 0;
}

static void call_back(Background *b, int64_t now) {
    if (!policy_set(b->thread, SCHED_BATCH)) return;
    bool again = b->let_go_ns && now - b->let_go_ns < BACKGROUND_SOON_NS;
    b->lasts_ns = again ? MIN(b->lasts_ns * 2, BACKGROUND_LASTS_MAX_NS) : BACKGROUND_LASTS_NS;
    b->until_ns = now + b->lasts_ns;
    b->called_back = true;
    b->since_ns = 0;
    atomic_fetch_add_explicit(&count, 1, memory_order_relaxed);
}

static void let_go(Background *b, int64_t now) {
    if (!policy_set(b->thread, SCHED_IDLE)) return;
    b->called_back = false;
    b->let_go_ns = now;
}

// It gets what it wants, or enough of it.
static bool is_content(const Background *b, uint64_t ran_ns, int64_t now) {
    return (ran_ns - b->ran_ns) * BACKGROUND_SHARE >= (uint64_t)(now - b->since_ns) || !is_ready(b);
}

static void look_at(Background *b, int64_t now) {
    if (b->hurries) return;
    if (b->called_back) {
        if (now >= b->until_ns) let_go(b, now);
        return;
    }
    uint64_t ran_ns;
    if (!atomic_load(&b->works) || !ran_read(b, &ran_ns)) {
        b->since_ns = 0;
    } else if (!b->since_ns || is_content(b, ran_ns, now)) {
        b->ran_ns = ran_ns;
        b->since_ns = now;
    } else if (now - b->since_ns >= BACKGROUND_STARVED_NS) {
        call_back(b, now);
    }
}

static bool look_at_all(void) {
    int64_t now = now_ns();
    bool any = false;
    for (Background *b = list; b; b = b->next) {
        look_at(b, now);
        any |= atomic_load(&b->works) || b->called_back;
    }
    return any;
}

// Without work for this many looks it goes to sleep: to wake it costs who begins some microseconds.
enum { IDLE_LOOKS = 10 };

static void *keeper_main(void *unused) {
    (void)unused;
    thread_become("background", THREAD_PROMPT);
    const struct timespec pause = {.tv_nsec = BACKGROUND_LOOK_NS};
    for (int idle = 0;;) {
        pthread_mutex_lock(&lock);
        idle = look_at_all() ? 0 : idle + 1;
        if (idle >= IDLE_LOOKS) {
            atomic_store(&asleep, true);
            if (!look_at_all())  // one that began before it could see us asleep
                while (atomic_load(&asleep))
                    pthread_cond_wait(&woken, &lock);
            atomic_store(&asleep, false);
            idle = 0;
        }
        pthread_mutex_unlock(&lock);
        clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
    }
    return NULL;
}

static void keeper_wake(void) {
    pthread_mutex_lock(&lock);
    atomic_store(&asleep, false);
    pthread_cond_signal(&woken);
    pthread_mutex_unlock(&lock);
}

// ── who takes part ─────────────────────────────────────────────────────────────────────────────

// (1) On a thread that ends then, whatever the answer.
static void *probe_main(void *out) {
    thread_become("background", THREAD_BACKGROUND);
    *(bool *)out = sched_getscheduler(0) == SCHED_BATCH && policy_set(0, SCHED_IDLE) &&
                   policy_set(0, SCHED_BATCH);
    return NULL;
}

static void leave(void *unused) {
    (void)unused;
    pthread_mutex_lock(&lock);
    if (self.prev)
        self.prev->next = self.next;
    else
        list = self.next;
    if (self.next) self.next->prev = self.prev;
    pthread_mutex_unlock(&lock);
    close(self.fd);
}

// Signals are for the threads that expect them.
static bool thread_start(void *(*run)(void *), void *arg, pthread_t *thread) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    bool started = pthread_create(thread, NULL, run, arg) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

static void start(void) {
    pthread_t thread;
    bool can = false;
    ordinary_nice = getpriority(PRIO_PROCESS, 0);
    if (pthread_key_create(&leaves, leave) != 0) return;
    if (!thread_start(probe_main, &can, &thread)) return;
    pthread_join(thread, NULL);
    if (!can || !thread_start(keeper_main, NULL, &thread)) return;
    pthread_detach(thread);
    can_call_back = true;
}

void background_start(void) {
    pthread_once(&once, start);
}

static Part take_part(void) {
    background_start();
    if (!can_call_back) return PART_NONE;
    // Begun by one that was let go: what a thread leaves its core to is inherited, who looks after it is not.
    if (sched_getscheduler(0) == SCHED_IDLE) (void)policy_set(0, SCHED_BATCH);
    if (sched_getscheduler(0) != SCHED_BATCH) return PART_NONE;
    int fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return PART_NONE;
    self = (Background){.thread = (int)syscall(SYS_gettid),
                        .nice = getpriority(PRIO_PROCESS, 0),
                        .fd = fd};
    uint64_t ran_ns;
    if (!ran_read(&self, &ran_ns) || pthread_setspecific(leaves, &self) != 0 ||
        !policy_set(0, SCHED_IDLE)) {
        pthread_setspecific(leaves, NULL);
        close(fd);
        return PART_NONE;
    }
    pthread_mutex_lock(&lock);
    self.next = list;
    if (list) list->prev = &self;
    list = &self;
    pthread_mutex_unlock(&lock);
    return PART_TAKEN;
}

void background_begin(void) {
    if (UNLIKELY(part == PART_UNKNOWN)) part = take_part();
    if (part == PART_NONE) return;
    // Sequentially consistent, as is the keeper's own pair: it either sees this, or we see that it sleeps.
    atomic_store(&self.works, true);
    if (UNLIKELY(atomic_load(&asleep))) keeper_wake();
}

void background_end(void) {
    if (part == PART_TAKEN) atomic_store(&self.works, false);
}

Background *background_here(void) {
    return part == PART_TAKEN ? &self : NULL;
}

void background_hurry(Background *b) {
    if (!b) return;
    pthread_mutex_lock(&lock);
    if (b->hurries++ == 0) {
        b->since_ns = 0;
        (void)setpriority(PRIO_PROCESS, (id_t)b->thread, ordinary_nice);
        (void)policy_set(b->thread, SCHED_OTHER);
    }
    pthread_mutex_unlock(&lock);
}

void background_hurry_end(Background *b) {
    if (!b) return;
    pthread_mutex_lock(&lock);
    if (--b->hurries == 0) {
        (void)policy_set(b->thread, b->called_back ? SCHED_BATCH : SCHED_IDLE);
        (void)setpriority(PRIO_PROCESS, (id_t)b->thread, b->nice);
    }
    pthread_mutex_unlock(&lock);
}

void background_child(void) {
    if (part == PART_TAKEN) (void)policy_set(0, SCHED_BATCH);
}

uint64_t background_called_back(void) {
    return atomic_load_explicit(&count, memory_order_relaxed);
}
