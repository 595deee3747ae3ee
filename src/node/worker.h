// worker.h: threads for work that must not run on a loop: slow reducers, procedures and HTTP handlers
// of modules, queries and views on snapshots.
//
// A bounded queue and a set of threads. A job that is about to wait (for the network, for a time)
// says so, and another thread takes its place meanwhile. A hand-off costs a wake-up (58 to 200 µs),
// so only work that is slow anyway comes here.
#pragma once
#include "node/node.h"
#include <pthread.h>
#include <stdatomic.h>

#include "os/background.h"

typedef struct WorkerPool WorkerPool;
typedef struct WorkerJob WorkerJob;
struct WorkerJob {
    WorkerJob *next;
    void (*run)(WorkerJob *job);  // on a worker's thread; the job is its own from then on
    // Who has to share: of the jobs of one payer at most payer_max run at once (0: one thread less
    // than there are), others go before them. payer 0: nobody.
    uint64_t payer;
    uint32_t payer_max;
    _Atomic(Background *)
        runner;  // whose thread it is or was; NULL: none yet, or it cannot be hurried
};

typedef struct WorkerOptions {
    uint32_t threads;      // run at once; 0: one a core
    uint32_t waiting_max;  // so many more may be asleep in worker_wait_begin
    ThreadRole role;   // in the background, so that a full machine delays slow work before short
    const char *name;  // of each thread: thread.h
} WorkerOptions;

MUST_USE Err worker_pool_new(const WorkerOptions *options, WorkerPool **out);
void worker_pool_free(WorkerPool **pool);  // runs what is queued, joins the threads
// ERR_LIMIT: the queue is full; the caller answers that the server is busy.
MUST_USE Err worker_submit(WorkerPool *pool, WorkerJob *job);
void worker_wait_begin(WorkerPool *pool);  // on a worker's thread
void worker_wait_end(WorkerPool *pool);
// Lock a mutex that the thread which runs this job may hold: until it gives that up, it hurries.
void worker_job_lock(WorkerJob *job, pthread_mutex_t *mutex);

typedef struct WorkerStats {
    uint64_t jobs, queued, running, waiting, refused;
    uint64_t passed_over;  // times that a job was left where it was because its payer had its share
} WorkerStats;
WorkerStats worker_pool_stats(WorkerPool *pool);
