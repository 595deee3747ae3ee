// syncer.c: fdatasync on a thread of its own, or all the writing that comes before it.
//
//   owner    sync_start ── IN_FLIGHT ──────────── sync_ended ── IDLE
//   thread        └────────── fdatasync ── ENDED ──┘
//
// Why a thread and not io_uring: the kernel hands an fsync that comes through a ring to a worker
// thread of its own, so the wake-up is paid all the same. Measured, 8 KiB a sync: 3 µs of the
// owner's time to start either, the same latency, and a container may forbid io_uring.
//
// The thread is made when it is first wanted: most databases never are so busy. Where it cannot be
// had, sync_start syncs before it returns.
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/mem.h"
#include "os/linux.h"
#include "os/thread.h"

typedef enum SyncState { SYNC_IDLE, SYNC_IN_FLIGHT, SYNC_ENDED } SyncState;

struct IoSyncer {
    void (*wake)(void *ctx);
    void *ctx;
    _Atomic SyncState
        state;  // to IN_FLIGHT by the owner, to ENDED by whoever syncs, to IDLE by the owner
    Err (*run)(void *ctx);  // while IN_FLIGHT, with its
    void *run_ctx;
    Err err;  // once ENDED, with its
    char text[LINUX_ERROR_TEXT_BYTES];
    pthread_t thread;
    bool has_thread;

    pthread_mutex_t mutex;  // taken to sleep and to wake up
    pthread_cond_t changed;
    bool closing;
};

static Err sync_file(void *file) {
    return linux_file_sync(NULL, file);
}

// What went wrong is told to another thread.
static void work(IoSyncer *s) {
    s->err = s->run(s->run_ctx);
    if (s->err != OK) snprintf(s->text, sizeof s->text, "%s", io_last_error_text());
}

static SyncState state_of(IoSyncer *s) {
    return atomic_load_explicit(&s->state, memory_order_acquire);
}

// Whoever sleeps looks at the state under the mutex, so that the change cannot fall between its look
// and its sleep.
static void state_set(IoSyncer *s, SyncState state) {
    pthread_mutex_lock(&s->mutex);
    atomic_store_explicit(&s->state, state, memory_order_release);
    pthread_mutex_unlock(&s->mutex);
    pthread_cond_broadcast(&s->changed);  // who is woken runs at once, and would only wait for us
}

static bool wait_for_work(IoSyncer *s) {
    pthread_mutex_lock(&s->mutex);
    while (state_of(s) != SYNC_IN_FLIGHT && !s->closing) {
        pthread_cond_wait(&s->changed, &s->mutex);
    }
    bool work = state_of(s) == SYNC_IN_FLIGHT;
    pthread_mutex_unlock(&s->mutex);
    return work;
}

static void *syncer_main(void *arg) {
    IoSyncer *s = arg;
    thread_become("sync", THREAD_PROMPT);
    while (wait_for_work(s)) {
        work(s);
        state_set(s, SYNC_ENDED);
        if (s->wake) s->wake(s->ctx);
    }
    return NULL;
}

Err linux_syncer_open(void *world, void (*wake)(void *ctx), void *ctx, IoSyncer **out) {
    (void)world;
    IoSyncer *s = MEM_NEW(IoSyncer);
    if (!s) return ERR_NOMEM;
    s->wake = wake;
    s->ctx = ctx;
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->changed, NULL);
    *out = s;
    return OK;
}

void linux_syncer_close(void *world, IoSyncer **syncer) {
    (void)world;
    IoSyncer *s = *syncer;
    if (!s) return;
    *syncer = NULL;
    if (s->has_thread) {
        pthread_mutex_lock(&s->mutex);
        s->closing = true;
        pthread_cond_broadcast(&s->changed);
        pthread_mutex_unlock(&s->mutex);
        pthread_join(s->thread, NULL);
    }
    pthread_mutex_destroy(&s->mutex);
    pthread_cond_destroy(&s->changed);
    mem_free(s);
}

void linux_sync_start(void *world, IoSyncer *s, IoFile *file) {
    linux_work_start(world, s, sync_file, file);
}

void linux_work_start(void *world, IoSyncer *s, Err (*run)(void *ctx), void *ctx) {
    (void)world;
    ASSERT(state_of(s) == SYNC_IDLE);
    if (!s->has_thread) s->has_thread = pthread_create(&s->thread, NULL, syncer_main, s) == 0;
    s->run = run;
    s->run_ctx = ctx;
    if (s->has_thread) {
        state_set(s, SYNC_IN_FLIGHT);
        return;
    }
    work(s);
    atomic_store_explicit(&s->state, SYNC_ENDED, memory_order_release);
    if (s->wake) s->wake(s->ctx);
}

bool linux_sync_ended(void *world, IoSyncer *s, bool wait, Err *err) {
    (void)world;
    ASSERT(state_of(s) != SYNC_IDLE);
    if (state_of(s) != SYNC_ENDED) {
        if (!wait) return false;
        pthread_mutex_lock(&s->mutex);
        while (state_of(s) != SYNC_ENDED) {
            pthread_cond_wait(&s->changed, &s->mutex);
        }
        pthread_mutex_unlock(&s->mutex);
    }
    atomic_store_explicit(&s->state, SYNC_IDLE, memory_order_relaxed);
    *err = s->err;
    if (s->err != OK) linux_error_text_set(s->text);
    return true;
}
