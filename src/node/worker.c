// worker.c: a bounded queue and the threads that empty it.
//
// PICTURE
//   worker_submit ─> [job|job|job] ─> a thread, while fewer than `threads` run
//                                      │ worker_wait_begin: asleep, its place is free for another
//                                      └ worker_wait_end: goes on at once
//
// ALWAYS TRUE
//   (1) A job is begun only while fewer than `thread_max` run. Those that come back from a wait go
//       on whether there is room or not: they hold something, and others may wait for them.
//   (2) At most `waiting_max` places are given up. A job that may not give up its own keeps it and
//       waits all the same: slower for the others, never wrong.
//   (3) Of the jobs of one payer, fewer run at once than there are threads, so that one identity's
//       endless work leaves room for others'. Those of one payer keep their order.
//   (4) A thread is made when a job finds none idle, and stays until the pool ends.
//   (5) What a thread's allocator keeps for later jobs is given back a second after the last one, and about once a
//       second amid jobs. A dozen threads whose jobs need blocks of all sizes would keep some MiB each, for good.
//
// START AT  worker_test.c.
#include "node/worker.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "base/mem.h"
#include "os/background.h"

#define QUEUED_MAX    4096
#define THREADS_LEAST 4  // also on one core: a slow call of one database does not hold up another's
#define STACK_BYTES   (16u << 20)  // engines recurse
#define SETTLE_NS     1000000000

struct WorkerPool {
    pthread_mutex_t mutex;
    pthread_cond_t work;  // a job or a place has come, or the pool ends
    WorkerJob *first, *last;
    pthread_t *threads;
    uint32_t thread_count, thread_cap;
    uint32_t thread_max, waiting_max;
    ThreadRole role;
    const char *name;
    uint32_t idle;
    bool ending;
    struct {
        uint64_t payer;
        uint32_t running;  // not those that wait
    } * payers;            // who has jobs running
    uint32_t payer_count;
    WorkerStats stats;
};

static _Thread_local bool gave_up_place;   // between worker_wait_begin and _end
static _Thread_local uint64_t payer_here;  // of the job that this thread runs

static Err threads_reserve(WorkerPool *pool) {
    pool->thread_cap = pool->thread_max + pool->waiting_max;
    pool->threads = mem_zalloc(pool->thread_cap * sizeof *pool->threads);
    pool->payers = mem_zalloc(pool->thread_cap * sizeof *pool->payers);
    return pool->threads && pool->payers ? OK : ERR_NOMEM;
}

Err worker_pool_new(const WorkerOptions *options, WorkerPool **out) {
    WorkerPool *pool = MEM_NEW(WorkerPool);
    if (!pool) return ERR_NOMEM;
    pool->thread_max = options->threads ? options->threads : MAX(thread_cores(), THREADS_LEAST);
    pool->waiting_max = options->waiting_max;
    pool->role = options->role;
    pool->name = options->name ? options->name : "worker";
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_condattr_t by_monotonic;
    pthread_condattr_init(&by_monotonic);
    pthread_condattr_setclock(&by_monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&pool->work, &by_monotonic);
    pthread_condattr_destroy(&by_monotonic);
    Err err = threads_reserve(pool);
    if (err != OK) {
        worker_pool_free(&pool);
        return err;
    }
    *out = pool;
    return OK;
}

static uint32_t payer_running(const WorkerPool *pool, uint64_t payer) {
    for (uint32_t i = 0; payer && i < pool->payer_count; i++) {
        if (pool->payers[i].payer == payer) return pool->payers[i].running;
    }
    return 0;
}

// There is room for one more: a running job is on a thread of its own.
static void payer_begins(WorkerPool *pool, uint64_t payer) {
    if (!payer) return;
    for (uint32_t i = 0; i < pool->payer_count; i++) {
        if (pool->payers[i].payer != payer) continue;
        pool->payers[i].running++;
        return;
    }
    pool->payers[pool->payer_count].payer = payer;
    pool->payers[pool->payer_count++].running = 1;
}

static void payer_ends(WorkerPool *pool, uint64_t payer) {
    for (uint32_t i = 0; payer && i < pool->payer_count; i++) {
        if (pool->payers[i].payer != payer) continue;
        if (--pool->payers[i].running == 0) pool->payers[i] = pool->payers[--pool->payer_count];
        return;
    }
}

// (3)
static bool payer_may(const WorkerPool *pool, const WorkerJob *job) {
    uint32_t max = job->payer_max ? job->payer_max : MAX(pool->thread_max - 1, 1);
    return payer_running(pool, job->payer) < max;
}

// The first job that may begin, and what stands before it. NULL: there is none.
static WorkerJob *job_next(const WorkerPool *pool, WorkerJob **before) {
    *before = NULL;
    if (pool->stats.running >= pool->thread_max) return NULL;  // (1)
    WorkerJob *job = pool->first;
    while (job && !payer_may(pool, job)) {
        *before = job;
        job = job->next;
    }
    return job;
}

static bool job_may_begin(const WorkerPool *pool) {
    WorkerJob *before;
    return job_next(pool, &before) != NULL;
}

static WorkerJob *job_take(WorkerPool *pool) {
    WorkerJob *before, *job = job_next(pool, &before);
    if (before) {
        before->next = job->next;
        pool->stats.passed_over++;
    } else {
        pool->first = job->next;
    }
    if (pool->last == job) pool->last = before;
    pool->stats.queued--;
    pool->stats.running++;
    payer_begins(pool, job->payer);
    return job;
}

// (5): of one thread.
typedef struct Settling {
    int64_t done_ns;
    bool wanted;  // there was a job since
} Settling;

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void settle_after_job(Settling *settling) {
    settling->wanted = true;  // what it has freed just now stays for a moment
    if (now_ns() < settling->done_ns + SETTLE_NS) return;
    (void)mem_settle();
    settling->done_ns = now_ns();
}

// A wake-up that comes while it settles finds it not idle, and is not needed: it looks again.
static void work_await(WorkerPool *pool, Settling *settling) {
    int err = 0;
    pool->idle++;
    if (settling->wanted) {
        int64_t until_ns = now_ns() + SETTLE_NS;
        struct timespec until = {.tv_sec = until_ns / 1000000000, .tv_nsec = until_ns % 1000000000};
        err = pthread_cond_timedwait(&pool->work, &pool->mutex, &until);
    } else {
        pthread_cond_wait(&pool->work, &pool->mutex);
    }
    pool->idle--;
    if (err != ETIMEDOUT) return;
    pthread_mutex_unlock(&pool->mutex);
    background_begin();  // a job may come that has to wait for this
    (void)mem_settle();
    background_end();
    settling->wanted = false;
    pthread_mutex_lock(&pool->mutex);
}

static void thread_want(WorkerPool *pool);

static void *worker_main(void *arg) {
    WorkerPool *pool = arg;
    Settling settling = {0};
    thread_become(pool->name, pool->role);
    pthread_mutex_lock(&pool->mutex);
    for (;;) {
        while (!job_may_begin(pool) && !(pool->ending && !pool->first))
            work_await(pool, &settling);
        if (!job_may_begin(pool)) break;
        WorkerJob *job = job_take(pool);
        payer_here = job->payer;
        thread_want(pool);  // one wake-up may have stood for two jobs
        pthread_mutex_unlock(&pool->mutex);
        background_begin();
        atomic_store(&job->runner, background_here());
        job->run(job);
        store_guard_lower();  // whatever it read, it borrows nothing any more
        settle_after_job(&settling);
        background_end();
        pthread_mutex_lock(&pool->mutex);
        pool->stats.running--;
        payer_ends(pool, payer_here);
        pool->stats.jobs++;
        if (pool->first || pool->ending) pthread_cond_broadcast(&pool->work);
    }
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

// Somebody must look: an idle thread, or a new one when there is room for another to run.
static void thread_want(WorkerPool *pool) {
    if (!job_may_begin(pool)) return;
    if (pool->idle) {
        pthread_cond_signal(&pool->work);
        return;
    }
    if (pool->thread_count == pool->thread_cap) return;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    if (pthread_create(&pool->threads[pool->thread_count], &attr, worker_main, pool) == 0)
        pool->thread_count++;
    pthread_attr_destroy(&attr);
}

Err worker_submit(WorkerPool *pool, WorkerJob *job) {
    Err err = OK;
    pthread_mutex_lock(&pool->mutex);
    if (pool->stats.queued == QUEUED_MAX) {
        pool->stats.refused++;
        err = ERR_LIMIT;
        goto done;
    }
    WorkerJob *last = pool->last;
    job->next = NULL;
    if (last) {
        last->next = job;
    } else {
        pool->first = job;
    }
    pool->last = job;
    pool->stats.queued++;
    thread_want(pool);
    if (pool->thread_count == 0) {  // not one thread can be had: nobody would ever look
        pool->first = pool->last = NULL;
        pool->stats.queued--;
        err = ERR_LIMIT;
    }
done:
    pthread_mutex_unlock(&pool->mutex);
    return err;
}

void worker_job_lock(WorkerJob *job, pthread_mutex_t *mutex) {
    if (pthread_mutex_trylock(mutex) == 0) return;
    Background *runner = atomic_load(&job->runner);
    background_hurry(runner);
    pthread_mutex_lock(mutex);
    background_hurry_end(runner);
}

void worker_wait_begin(WorkerPool *pool) {
    background_end();
    pthread_mutex_lock(&pool->mutex);
    gave_up_place = pool->stats.waiting < pool->waiting_max;  // (2)
    if (gave_up_place) {
        pool->stats.waiting++;
        pool->stats.running--;
        payer_ends(pool, payer_here);
        thread_want(pool);
    }
    pthread_mutex_unlock(&pool->mutex);
}

void worker_wait_end(WorkerPool *pool) {
    background_begin();
    if (!gave_up_place) return;
    gave_up_place = false;
    pthread_mutex_lock(&pool->mutex);
    pool->stats.waiting--;
    pool->stats.running++;
    payer_begins(pool, payer_here);
    pthread_mutex_unlock(&pool->mutex);
}

WorkerStats worker_pool_stats(WorkerPool *pool) {
    pthread_mutex_lock(&pool->mutex);
    WorkerStats stats = pool->stats;
    pthread_mutex_unlock(&pool->mutex);
    return stats;
}

void worker_pool_free(WorkerPool **handle) {
    WorkerPool *pool = *handle;
    if (!pool) return;
    *handle = NULL;
    pthread_mutex_lock(&pool->mutex);
    pool->ending = true;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->mutex);
    for (uint32_t i = 0; i < pool->thread_count; i++) {
        pthread_join(pool->threads[i], NULL);
    }
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->mutex);
    mem_free(pool->threads);
    mem_free(pool->payers);
    mem_free(pool);
}
