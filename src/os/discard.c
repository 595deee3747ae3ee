// discard.c: a stack that anybody pushes to, and the one thread that takes all of it.
//
// No lock: the thread is in the background and might be set aside while it holds it, and the loop would
// wait for its next turn.
#include "os/discard.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "os/thread.h"

static _Atomic(Discard *) waiting;
static sem_t pushed;
static bool has_thread;

static void end_all(Discard *list) {
    while (list) {
        Discard *what = list;
        list = what->next;
        what->end(what);
    }
}

static void *discard_main(void *arg) {
    (void)arg;
    thread_become("discard", THREAD_BACKGROUND);
    for (;;) {
        if (sem_wait(&pushed) != 0 && errno != EINTR) return NULL;
        end_all(atomic_exchange_explicit(&waiting, NULL, memory_order_acquire));
    }
}

static void begin(void) {
    pthread_t thread;
    if (sem_init(&pushed, 0, 0) || pthread_create(&thread, NULL, discard_main, NULL)) return;
    pthread_detach(thread);
    has_thread = true;
}

void discard_later(Discard *what, void (*end)(Discard *self)) {
    static pthread_once_t begun = PTHREAD_ONCE_INIT;
    pthread_once(&begun, begin);
    if (!has_thread) {
        end(what);
        return;
    }
    what->end = end;
    what->next = atomic_load_explicit(&waiting, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&waiting,
                                                  &what->next,
                                                  what,
                                                  memory_order_release,
                                                  memory_order_relaxed))
        continue;
    sem_post(&pushed);
}
