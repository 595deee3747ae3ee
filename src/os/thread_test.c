// thread_test.c: what a thread says of itself is what the system has of it.
#define _GNU_SOURCE
#include "os/thread.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/test.h"

typedef struct Seen {
    ThreadRole role;
    char name[16];
    int policy, nice;
    uint64_t slice_ns;
    struct Seen *child;  // of a thread that it starts
} Seen;

static void look(Seen *seen) {
    uint64_t attr[8] = {sizeof attr};
    prctl(PR_GET_NAME, seen->name);
    seen->policy = sched_getscheduler(0);
    seen->nice = getpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid));
    if (syscall(SYS_sched_getattr, 0, attr, sizeof attr, 0) == 0) seen->slice_ns = attr[3];
}

static void *run_plain(void *ctx) {
    look(ctx);
    return NULL;
}

static void *run(void *ctx) {
    Seen *seen = ctx;
    pthread_t thread;
    thread_become("a name", seen->role);
    look(seen);
    if (seen->child && pthread_create(&thread, NULL, run_plain, seen->child) == 0)
        pthread_join(thread, NULL);
    return NULL;
}

static void see(Seen *seen) {
    pthread_t thread;
    EXPECT_EQ(pthread_create(&thread, NULL, run, seen), 0);
    pthread_join(thread, NULL);
}

static int nice_here(void) {
    return getpriority(PRIO_PROCESS, 0);
}

// Linux 6.12 and later keep a slice of each thread's own.
static bool has_slices(void) {
    struct utsname of;
    int major = 0, minor = 0;
    uname(&of);
    if (sscanf(of.release, "%d.%d", &major, &minor) != 2) return false;
    return major > 6 || (major == 6 && minor >= 12);
}

TEST(thread, counts_the_cores_that_it_may_run_on) {
    cpu_set_t before, one;
    EXPECT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
    EXPECT_EQ(thread_cores(), CPU_COUNT(&before));
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    EXPECT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    EXPECT_EQ(thread_cores(), 1);
    sched_setaffinity(0, sizeof before, &before);
}

TEST(thread, has_the_name_that_it_was_given) {
    Seen seen = {.role = THREAD_ORDINARY};
    see(&seen);
    EXPECT(strcmp(seen.name, "a name") == 0);
    EXPECT_EQ(seen.nice, nice_here());
    EXPECT_EQ(seen.policy, sched_getscheduler(0));
}

TEST(thread, that_is_prompt_has_a_short_slice_and_no_more_weight) {
    Seen seen = {.role = THREAD_PROMPT};
    if (sched_getscheduler(0) != SCHED_OTHER) return;
    see(&seen);
    EXPECT_EQ(seen.nice, nice_here());
    EXPECT_EQ(seen.policy & ~SCHED_RESET_ON_FORK, SCHED_OTHER);
    if (has_slices()) EXPECT_EQ(seen.slice_ns, THREAD_PROMPT_NS);
}

TEST(thread, that_is_prompt_starts_ordinary_ones) {
    Seen child = {0}, seen = {.role = THREAD_PROMPT, .child = &child}, plain = {0};
    if (sched_getscheduler(0) != SCHED_OTHER) return;
    see(&seen);
    see(&plain);
    EXPECT_EQ(child.policy, SCHED_OTHER);
    EXPECT_EQ(child.nice, nice_here());
    EXPECT_EQ(child.slice_ns, plain.slice_ns);
}

TEST(thread, in_the_background_steps_back_and_so_does_what_it_starts) {
    Seen child = {0}, seen = {.role = THREAD_BACKGROUND, .child = &child};
    if (sched_getscheduler(0) != SCHED_OTHER) return;
    see(&seen);
    int expected = MIN(nice_here() + THREAD_NICE, 19);
    EXPECT_EQ(seen.policy, SCHED_BATCH);
    EXPECT_EQ(seen.nice, expected);
    EXPECT_EQ(child.policy, SCHED_BATCH);
    EXPECT_EQ(child.nice, expected);
}

TEST(thread, knows_the_time_it_used_and_not_what_it_slept) {
    int64_t before = thread_cpu_ns();
    volatile uint64_t sum = 0;
    for (uint64_t i = 0; i < 20000000; i++)
        sum += i;
    int64_t worked = thread_cpu_ns() - before;
    EXPECT(sum > 0);
    nanosleep(&(struct timespec){.tv_nsec = 30000000}, NULL);
    int64_t slept = thread_cpu_ns() - before - worked;
    EXPECT(worked > 1000000);
    EXPECT(slept < 20000000);
}

// In a process of its own, whose session is not anybody else's.
TEST(thread, group_steps_back_as_well) {
    FILE *there = fopen("/proc/self/autogroup", "r");
    if (!there) return;  // a system without
    fclose(there);
    pid_t pid = fork();
    if (pid == 0) {
        char line[64] = "";
        setsid();
        thread_group_nice(7);
        FILE *f = fopen("/proc/self/autogroup", "r");
        if (!f || !fgets(line, sizeof line, f)) _exit(2);
        _exit(strstr(line, " nice 7") ? 0 : 1);
    }
    int status = -1;
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
}

TEST_MAIN()
