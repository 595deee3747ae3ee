// thread.c: see thread.h.
#define _GNU_SOURCE  // what Linux has beyond POSIX
#include "os/thread.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

// struct sched_attr of the kernel, which not every C library declares.
typedef struct SchedAttr {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns, deadline_ns, period_ns;  // of ordinary threads the first is their slice
} SchedAttr;

#define RESET_ON_FORK 1u  // SCHED_FLAG_RESET_ON_FORK

static bool attr_get(SchedAttr *attr) {
    *attr = (SchedAttr){.size = sizeof *attr};
    return syscall(SYS_sched_getattr, 0, attr, sizeof *attr, 0) == 0;
}

static void attr_set(SchedAttr *attr) {
    attr->size = sizeof *attr;
    (void)!syscall(SYS_sched_setattr, 0, attr, 0);
}

void thread_become(const char *name, ThreadRole role) {
    SchedAttr attr;
    prctl(PR_SET_NAME, name);
    // Somebody made the whole process something else, real-time perhaps: then he knows better.
    if (role == THREAD_ORDINARY || !attr_get(&attr) || attr.policy != SCHED_OTHER) return;
    if (role == THREAD_PROMPT) {
        attr.runtime_ns = THREAD_PROMPT_NS;
        attr.flags = RESET_ON_FORK;
    } else {
        attr.policy = SCHED_BATCH;
        attr.nice = MIN(attr.nice + THREAD_NICE, 19);
        attr.runtime_ns = 0;  // as long as the system thinks right
        attr.flags = 0;
    }
    attr_set(&attr);
}

uint32_t thread_cores(void) {
    cpu_set_t cores;
    if (sched_getaffinity(0, sizeof cores, &cores) == 0) return (uint32_t)MAX(CPU_COUNT(&cores), 1);
    return (uint32_t)MAX(sysconf(_SC_NPROCESSORS_ONLN), 1l);  // more than such a set has room for
}

int64_t thread_cpu_ns(void) {
    struct timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (int64_t)used.tv_sec * 1000000000 + used.tv_nsec;
}

void thread_group_nice(int nice) {
    const char text[2] = {(char)('0' + nice / 10), (char)('0' + nice % 10)};
    int fd = open("/proc/self/autogroup", O_WRONLY | O_CLOEXEC);
    if (fd < 0) return;
    (void)!write(fd, text, sizeof text);
    close(fd);
}
