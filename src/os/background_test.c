// background_test.c: what is in the background leaves its core to anybody, and is called back before it starves.
#define _GNU_SOURCE
#include "os/background.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/sched_testing.h"

typedef struct Allowed {
    int background;       // the policy of a thread that became THREAD_BACKGROUND
    bool is_called_back;  // and comes back to it from SCHED_IDLE
} Allowed;

static void *try_it(void *out) {
    Allowed *allowed = out;
    struct sched_param none = {0};
    thread_become("tries", THREAD_BACKGROUND);
    allowed->background = sched_getscheduler(0);
    allowed->is_called_back = allowed->background == SCHED_BATCH &&
                              sched_setscheduler(0, SCHED_IDLE, &none) == 0 &&
                              sched_setscheduler(0, SCHED_BATCH, &none) == 0;
    return NULL;
}

static Allowed allowed_here(void) {
    Allowed allowed = {0};
    pthread_t thread;
    EXPECT_EQ(pthread_create(&thread, NULL, try_it, &allowed), 0);
    pthread_join(thread, NULL);
    return allowed;
}

typedef struct Worker {
    pthread_t thread;
    ThreadRole role;
    Background *background;
    atomic_int number;  // the kernel's, once it works
    atomic_bool over;
    atomic_bool rests, is_resting;  // it is to, and does
} Worker;

static void *work(void *arg) {
    Worker *worker = arg;
    thread_become("works", worker->role);
    background_begin();
    worker->background = background_here();
    atomic_store(&worker->number, (int)syscall(SYS_gettid));
    while (!atomic_load(&worker->over)) {
        if (!atomic_load(&worker->rests)) continue;
        background_end();
        atomic_store(&worker->is_resting, true);
        while (atomic_load(&worker->rests))
            sleep_ms(1);
        background_begin();
    }
    return NULL;
}

static void worker_start(Worker *worker, ThreadRole role) {
    *worker = (Worker){.role = role};
    EXPECT_EQ(pthread_create(&worker->thread, NULL, work, worker), 0);
    while (!atomic_load(&worker->number))
        sleep_ms(1);
}

static void worker_end(Worker *worker) {
    atomic_store(&worker->over, true);
    pthread_join(worker->thread, NULL);
}

static int policy_of(const Worker *worker) {
    return sched_getscheduler(atomic_load(&worker->number));
}

static int nice_of(const Worker *worker) {
    return getpriority(PRIO_PROCESS, (id_t)atomic_load(&worker->number));
}

// False: it did not come to that within ten seconds.
static bool comes_to(const Worker *worker, int policy) {
    for (int64_t began_ns = now_ns(); now_ns() - began_ns < 10000000000; sleep_ms(1)) {
        if (policy_of(worker) == policy) return true;
    }
    return false;
}

// Of the thread whose name is this line; -1: there is none.
static int policy_of_named(const char *line) {
    char path[64], there[32];
    DIR *tasks = opendir("/proc/self/task");
    int policy = -1;
    for (struct dirent *task; tasks && policy < 0 && (task = readdir(tasks));) {
        snprintf(path, sizeof path, "/proc/self/task/%.10s/comm", task->d_name);
        FILE *file = fopen(path, "r");
        bool is_it = file && fgets(there, sizeof there, file) && strcmp(there, line) == 0;
        if (file) fclose(file);
        if (is_it) policy = sched_getscheduler(atoi(task->d_name));
    }
    if (tasks) closedir(tasks);
    return policy;
}

// On a full machine it could not call anybody back in time otherwise.
TEST(background, who_looks_is_prompt_if_an_ordinary_thread_began_it) {
    background_start();
    if (!allowed_here().is_called_back) return;
    int64_t began_ns = now_ns();
    while (policy_of_named("background\n") != (SCHED_OTHER | SCHED_RESET_ON_FORK) &&
           now_ns() - began_ns < 10000000000)
        sleep_ms(1);
    EXPECT_EQ(policy_of_named("background\n"), SCHED_OTHER | SCHED_RESET_ON_FORK);
}

TEST(background, leaves_its_core_to_anybody_where_it_can_be_called_back) {
    Worker worker;
    Allowed allowed = allowed_here();
    worker_start(&worker, THREAD_BACKGROUND);
    EXPECT_EQ(policy_of(&worker), allowed.is_called_back ? SCHED_IDLE : allowed.background);
    worker_end(&worker);
}

TEST(background, is_of_threads_that_became_so) {
    static const ThreadRole roles[] = {THREAD_ORDINARY, THREAD_PROMPT};
    for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
        Worker worker;
        worker_start(&worker, roles[i]);
        EXPECT_EQ(policy_of(&worker) & ~SCHED_RESET_ON_FORK, SCHED_OTHER);
        worker_end(&worker);
    }
}

// One core, which somebody ordinary wants all of: without being called back it would have three of 1,024 parts.
TEST(background, is_called_back_when_others_want_everything_and_let_go_when_they_do_not) {
    if (!allowed_here().is_called_back) return;
    cpu_set_t one = one_core();
    Worker worker;
    worker_start(&worker, THREAD_BACKGROUND);
    uint64_t calls = background_called_back();
    EXPECT_EQ(sched_setaffinity(atomic_load(&worker.number), sizeof one, &one), 0);

    atomic_bool over = false;
    pthread_t other;
    EXPECT_EQ(pthread_create(&other, NULL, spin, &over), 0);
    EXPECT_EQ(pthread_setaffinity_np(other, sizeof one, &one), 0);
    EXPECT(comes_to(&worker, SCHED_BATCH));
    for (int64_t began_ns = now_ns(); now_ns() - began_ns < 10000000000; sleep_ms(1)) {
        if (background_called_back() > calls) break;  // it is counted a moment later
    }
    EXPECT(background_called_back() > calls);
    EXPECT_EQ(nice_of(&worker), getpriority(PRIO_PROCESS, 0) + THREAD_NICE);

    atomic_store(&over, true);
    pthread_join(other, NULL);
    EXPECT(comes_to(&worker, SCHED_IDLE));
    worker_end(&worker);
}

TEST(background, who_rests_is_not_called_back) {
    Worker workers[3];
    for (size_t i = 0; i < ARRAY_LEN(workers); i++) {
        worker_start(&workers[i], THREAD_BACKGROUND);
        atomic_store(&workers[i].rests, true);
    }
    for (size_t i = 0; i < ARRAY_LEN(workers); i++) {
        while (!atomic_load(&workers[i].is_resting))
            sleep_ms(1);
    }
    sleep_ms(50);  // who looks may have seen it work a moment before
    uint64_t calls = background_called_back();
    sleep_ms(200);  // long enough for the keeper to sleep, too
    EXPECT_EQ(background_called_back(), calls);
    for (size_t i = 0; i < ARRAY_LEN(workers); i++) {
        atomic_store(&workers[i].rests, false);
        worker_end(&workers[i]);
    }
}

TEST(background, who_is_waited_for_hurries) {
    if (!allowed_here().is_called_back) return;
    Worker worker;
    worker_start(&worker, THREAD_BACKGROUND);
    for (int i = 0; i < 2; i++)
        background_hurry(worker.background);
    EXPECT_EQ(policy_of(&worker), SCHED_OTHER);
    EXPECT_EQ(nice_of(&worker), getpriority(PRIO_PROCESS, 0));
    sleep_ms(3 * BACKGROUND_LOOK_NS / 1000000);
    background_hurry_end(worker.background);
    EXPECT_EQ(policy_of(&worker), SCHED_OTHER);
    background_hurry_end(worker.background);
    EXPECT(comes_to(&worker, SCHED_IDLE));
    EXPECT_EQ(nice_of(&worker), getpriority(PRIO_PROCESS, 0) + THREAD_NICE);
    worker_end(&worker);

    worker_start(&worker, THREAD_ORDINARY);
    EXPECT(worker.background == NULL);
    background_hurry(worker.background);
    background_hurry_end(worker.background);
    worker_end(&worker);
}

static void *begin_another(void *other) {
    thread_become("begins", THREAD_BACKGROUND);
    background_begin();
    Worker *worker = other;
    EXPECT_EQ(sched_getscheduler(0), SCHED_IDLE);
    EXPECT_EQ(pthread_create(&worker->thread, NULL, work, worker), 0);
    background_end();
    return NULL;
}

TEST(background, who_was_begun_by_one_that_leaves_its_core_is_looked_after_too) {
    if (!allowed_here().is_called_back) return;
    Worker worker = {.role = THREAD_BACKGROUND};
    pthread_t thread;
    EXPECT_EQ(pthread_create(&thread, NULL, begin_another, &worker), 0);
    pthread_join(thread, NULL);
    while (!atomic_load(&worker.number))
        sleep_ms(1);
    EXPECT(worker.background != NULL);
    EXPECT_EQ(sched_getscheduler(worker.number), SCHED_IDLE);
    EXPECT_EQ(getpriority(PRIO_PROCESS, (id_t)worker.number), THREAD_NICE);
    background_hurry(worker.background);
    EXPECT_EQ(sched_getscheduler(worker.number), SCHED_OTHER);
    background_hurry_end(worker.background);
    EXPECT_EQ(sched_getscheduler(worker.number), SCHED_IDLE);
    atomic_store(&worker.over, true);
    pthread_join(worker.thread, NULL);
}

TEST(background, threads_come_and_go) {
    for (int round = 0; round < 200; round++) {
        Worker a, b;
        worker_start(&a, THREAD_BACKGROUND);
        worker_start(&b, THREAD_BACKGROUND);
        worker_end(round % 2 ? &a : &b);
        worker_end(round % 2 ? &b : &a);
    }
}

static void *be_child(void *policy) {
    thread_become("parent", THREAD_BACKGROUND);
    background_begin();
    background_child();
    *(int *)policy = sched_getscheduler(0);
    return NULL;
}

TEST(background, a_child_is_what_a_thread_in_the_background_was_before) {
    int policy = -1;
    pthread_t thread;
    EXPECT_EQ(pthread_create(&thread, NULL, be_child, &policy), 0);
    pthread_join(thread, NULL);
    EXPECT_EQ(policy, allowed_here().background);
}

TEST_MAIN()
