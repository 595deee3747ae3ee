#define _GNU_SOURCE  // policies
#include "node/worker.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/mem_testing.h"
#include "base/test.h"
#include "os/usage.h"

typedef struct Gate {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int arrived;
    bool open;
} Gate;

static void gate_init(Gate *gate) {
    *gate = (Gate){0};
    pthread_mutex_init(&gate->mutex, NULL);
    pthread_cond_init(&gate->changed, NULL);
}

static void gate_pass(Gate *gate) {
    pthread_mutex_lock(&gate->mutex);
    gate->arrived++;
    pthread_cond_broadcast(&gate->changed);
    while (!gate->open)
        pthread_cond_wait(&gate->changed, &gate->mutex);
    pthread_mutex_unlock(&gate->mutex);
}

static void gate_await(Gate *gate, int count) {
    pthread_mutex_lock(&gate->mutex);
    while (gate->arrived < count)
        pthread_cond_wait(&gate->changed, &gate->mutex);
    pthread_mutex_unlock(&gate->mutex);
}

static void gate_open(Gate *gate) {
    pthread_mutex_lock(&gate->mutex);
    gate->open = true;
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->mutex);
}

typedef struct Job {
    WorkerJob job;
    WorkerPool *pool;
    Gate *gate;
    atomic_int *done, *running, *most;
    bool waits;
} Job;

static void job_run(WorkerJob *base) {
    Job *job = CONTAINER_OF(base, Job, job);
    int now = atomic_fetch_add(job->running, 1) + 1, most = atomic_load(job->most);
    while (now > most && !atomic_compare_exchange_weak(job->most, &most, now)) {
    }
    if (job->gate) {
        if (job->waits) {
            atomic_fetch_sub(job->running, 1);
            worker_wait_begin(job->pool);
        }
        gate_pass(job->gate);
        if (job->waits) {
            worker_wait_end(job->pool);
            atomic_fetch_add(job->running, 1);
        }
    }
    atomic_fetch_sub(job->running, 1);
    atomic_fetch_add(job->done, 1);
}

TEST(worker, runs_every_job_once_and_no_more_at_a_time_than_it_may) {
    enum { COUNT = 1000 };
    static Job jobs[COUNT];
    atomic_int done = 0, running = 0, most = 0;
    WorkerPool *pool = NULL;
    EXPECT_OK(worker_pool_new(&(WorkerOptions){.threads = 3, .waiting_max = 0}, &pool));
    for (int i = 0; i < COUNT; i++) {
        jobs[i] = (Job){.job.run = job_run, .done = &done, .running = &running, .most = &most};
        EXPECT_OK(worker_submit(pool, &jobs[i].job));
    }
    worker_pool_free(&pool);
    EXPECT_EQ(atomic_load(&done), COUNT);
    EXPECT(atomic_load(&most) <= 3);
}

TEST(worker, a_job_that_waits_gives_its_place_to_another) {
    Gate gate;
    atomic_int done = 0, running = 0, most = 0;
    WorkerPool *pool = NULL;
    gate_init(&gate);
    EXPECT_OK(worker_pool_new(&(WorkerOptions){.threads = 1, .waiting_max = 8}, &pool));
    Job jobs[9];
    for (int i = 0; i < 9; i++) {
        jobs[i] = (Job){.job.run = job_run,
                        .pool = pool,
                        .gate = i < 8 ? &gate : NULL,
                        .done = &done,
                        .running = &running,
                        .most = &most,
                        .waits = true};
        EXPECT_OK(worker_submit(pool, &jobs[i].job));
    }
    gate_await(&gate, 8);  // all eight are asleep although only one may run
    while (atomic_load(&done) < 1)
        usleep(1000);  // and the ninth ran beside them
    EXPECT_EQ(worker_pool_stats(pool).waiting, 8);
    gate_open(&gate);
    worker_pool_free(&pool);
    EXPECT_EQ(atomic_load(&done), 9);
}

TEST(worker, a_job_waits_in_its_place_when_enough_are_asleep) {
    Gate gate;
    atomic_int done = 0, running = 0, most = 0;
    WorkerPool *pool = NULL;
    gate_init(&gate);
    EXPECT_OK(worker_pool_new(&(WorkerOptions){.threads = 1, .waiting_max = 1}, &pool));
    Job jobs[3];
    for (int i = 0; i < 3; i++) {
        jobs[i] = (Job){.job.run = job_run,
                        .pool = pool,
                        .gate = &gate,
                        .done = &done,
                        .running = &running,
                        .most = &most,
                        .waits = true};
        EXPECT_OK(worker_submit(pool, &jobs[i].job));
    }
    gate_await(&gate, 2);
    WorkerStats stats = worker_pool_stats(pool);
    EXPECT_EQ(stats.waiting, 1);
    EXPECT_EQ(stats.running, 1);
    EXPECT_EQ(stats.queued, 1);
    gate_open(&gate);
    worker_pool_free(&pool);
    EXPECT_EQ(atomic_load(&done), 3);
}

TEST(worker, the_jobs_of_one_payer_leave_a_thread_to_others) {
    Gate gate;
    atomic_int done = 0, running = 0, most = 0, others = 0;
    WorkerPool *pool = NULL;
    gate_init(&gate);
    EXPECT_OK(worker_pool_new(&(WorkerOptions){.threads = 3, .waiting_max = 0}, &pool));
    Job greedy[6], other[4];
    for (int i = 0; i < 6; i++) {
        greedy[i] = (Job){.job = {.run = job_run, .payer = 7},
                          .gate = &gate,
                          .done = &done,
                          .running = &running,
                          .most = &most};
        EXPECT_OK(worker_submit(pool, &greedy[i].job));
    }
    for (uint64_t i = 0; i < 4; i++) {
        other[i] = (Job){.job = {.run = job_run, .payer = i},
                         .done = &others,
                         .running = &running,
                         .most = &most};
        EXPECT_OK(worker_submit(pool, &other[i].job));
    }
    while (atomic_load(&others) < 4)
        usleep(1000);  // although the six were there before them and end only now
    EXPECT_EQ(worker_pool_stats(pool).running, 2);
    EXPECT(worker_pool_stats(pool).passed_over >= 4);
    gate_open(&gate);
    worker_pool_free(&pool);
    EXPECT_EQ(atomic_load(&done), 6);
}

TEST(worker, a_payer_whose_job_sleeps_may_run_another) {
    Gate gate;
    atomic_int done = 0, running = 0, most = 0;
    WorkerPool *pool = NULL;
    gate_init(&gate);
    EXPECT_OK(worker_pool_new(&(WorkerOptions){.threads = 2, .waiting_max = 4}, &pool));
    Job jobs[5];
    for (int i = 0; i < 5; i++) {
        jobs[i] = (Job){.job = {.run = job_run, .payer = 7, .payer_max = 1},
                        .pool = pool,
                        .gate = i < 4 ? &gate : NULL,
                        .done = &done,
                        .running = &running,
                        .most = &most,
                        .waits = true};
        EXPECT_OK(worker_submit(pool, &jobs[i].job));
    }
    gate_await(&gate, 4);
    while (atomic_load(&done) < 1)
        usleep(1000);
    EXPECT_EQ(atomic_load(&most), 1);
    gate_open(&gate);
    worker_pool_free(&pool);
    EXPECT_EQ(atomic_load(&done), 5);
}

TEST(worker, a_full_queue_refuses_and_says_so) {
    enum { COUNT = 5000 };
    static Job jobs[COUNT];
    Gate gate;
    atomic_int done = 0, running = 0, most = 0;
    WorkerPool *pool = NULL;
    gate_init(&gate);
    EXPECT_OK(worker_pool_new(&(WorkerOptions){.threads = 1, .waiting_max = 0}, &pool));
    int taken = 0, refused = 0;
    for (int i = 0; i < COUNT; i++) {
        jobs[i] = (Job){.job.run = job_run,
                        .gate = i == 0 ? &gate : NULL,
                        .done = &done,
                        .running = &running,
                        .most = &most};
        Err err = worker_submit(pool, &jobs[i].job);
        if (err == OK) taken++;
        if (err == ERR_LIMIT) refused++;
        if (i == 0) gate_await(&gate, 1);
    }
    EXPECT_EQ(taken + refused, COUNT);
    EXPECT(refused > 0);
    EXPECT_EQ(worker_pool_stats(pool).refused, refused);
    gate_open(&gate);
    worker_pool_free(&pool);
    EXPECT_EQ(atomic_load(&done), taken);
}

TEST(worker, a_pool_that_cannot_be_made_leaves_nothing_behind) {
    for (int64_t n = 0;; n++) {
        WorkerPool *pool = NULL;
        mem_fault_arm(n);
        Err err = worker_pool_new(&(WorkerOptions){.threads = 2, .waiting_max = 2}, &pool);
        mem_fault_arm(-1);
        worker_pool_free(&pool);
        if (err == OK) break;
        EXPECT_EQ(err, ERR_NOMEM);
    }
}

typedef struct Holder {
    WorkerJob job;
    pthread_mutex_t mutex;
    atomic_bool holds;
    int before, meanwhile, after;  // the policies of its thread
    atomic_bool over;
} Holder;

// Until somebody who wants the mutex has made it hurry, or did not for ten seconds.
static void hold(WorkerJob *base) {
    Holder *holder = CONTAINER_OF(base, Holder, job);
    pthread_mutex_lock(&holder->mutex);
    holder->before = sched_getscheduler(0);
    atomic_store(&holder->holds, true);
    for (int i = 0; i < 10000 && sched_getscheduler(0) == SCHED_IDLE; i++)
        usleep(1000);
    holder->meanwhile = sched_getscheduler(0);
    pthread_mutex_unlock(&holder->mutex);
    for (int i = 0; i < 10000 && sched_getscheduler(0) != holder->before; i++)
        usleep(1000);
    holder->after = sched_getscheduler(0);
    atomic_store(&holder->over, true);
}

// Where threads in the background can be hurried at all, which is where they leave their core to anybody.
TEST(worker, whose_mutex_is_wanted_hurries) {
    WorkerPool *pool;
    Holder holder = {.job = {.run = hold}, .mutex = PTHREAD_MUTEX_INITIALIZER};
    EXPECT_OK(worker_pool_new(&(WorkerOptions){.role = THREAD_BACKGROUND}, &pool));
    worker_job_lock(&holder.job, &holder.mutex);  // nobody's yet
    pthread_mutex_unlock(&holder.mutex);
    EXPECT_OK(worker_submit(pool, &holder.job));
    while (!atomic_load(&holder.holds))
        usleep(1000);
    if (holder.before == SCHED_IDLE) {
        worker_job_lock(&holder.job, &holder.mutex);
        pthread_mutex_unlock(&holder.mutex);
        while (!atomic_load(&holder.over))
            usleep(1000);
        EXPECT_EQ(holder.meanwhile, SCHED_OTHER);
        EXPECT_EQ(holder.after, SCHED_IDLE);
    }
    worker_pool_free(&pool);
}

#ifndef MEM_IS_WATCHED

typedef struct Wasteful {
    WorkerJob job;
    atomic_bool done;
    int64_t resident;  // bytes of the process at its end
} Wasteful;

static void waste(WorkerJob *base) {
    Wasteful *job = CONTAINER_OF(base, Wasteful, job);
    mem_churn();
    job->resident = usage_memory_bytes();
    atomic_store(&job->done, true);
}

TEST(worker, who_has_nothing_to_do_gives_back_what_jobs_needed) {
    WorkerPool *pool = NULL;
    EXPECT_OK(worker_pool_new(&(WorkerOptions){.threads = 1}, &pool));
    Wasteful job = {.job = {.run = waste}};
    EXPECT_OK(worker_submit(pool, &job.job));
    while (!atomic_load(&job.done))
        usleep(1000);
    EXPECT(job.resident - usage_memory_bytes() < 4 << 20);
    for (int i = 0; i < 1000 && job.resident - usage_memory_bytes() < 8 << 20; i++)
        usleep(10000);  // a second, mostly
    EXPECT(job.resident - usage_memory_bytes() >= 8 << 20);
    worker_pool_free(&pool);
}

#endif

TEST_MAIN()
