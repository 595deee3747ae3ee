// main.c: make sim. Thousands of runs from thousands of seeds, on all cores; or one again.
//
//   SEED=7    the first seed (default 1); alone it is the only one
//   SEEDS=n   how many
//   STEPS=n   steps of each run (default 200)
//   JOBS=n    processes (default: cores)
//   TRACE=1   tell what happens
//
// Each process takes every JOBS-th seed. A run that fails ends its process, so that an assertion is
// found like any other failure, and is shortened: the fewest steps that still fail are printed too.
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "tests/sim/run.h"

enum { JOBS_MAX = 64, STEPS_DEFAULT = 200, TWICE_EVERY = 64 };

typedef struct Job {  // shared with the process that does it
    uint64_t seed;    // being run
    Tally tally;
    pid_t pid;
} Job;

static uint64_t setting(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text && text[0] ? strtoull(text, NULL, 10) : otherwise;
}

static void job_run(Job *job,
                    uint64_t first,
                    uint64_t end,
                    uint64_t by,
                    uint32_t steps,
                    bool trace) {
    for (job->seed = first; job->seed < end; job->seed += by) {
        uint64_t digest, again;
        run_seed(job->seed, steps, trace, &job->tally, &digest);
        if (job->seed % TWICE_EVERY) continue;
        Tally ignored = {0};
        run_seed(job->seed, steps, false, &ignored, &again);
        if (digest == again) continue;
        fprintf(stderr, "# seed %llu: not twice the same\n", (unsigned long long)job->seed);
        _exit(1);
    }
    _exit(0);
}

static pid_t job_start(Job *job,
                       uint64_t first,
                       uint64_t end,
                       uint64_t by,
                       uint32_t steps,
                       bool trace) {
    fflush(NULL);
    job->pid = fork();
    if (job->pid == 0) job_run(job, first, end, by, steps, trace);
    return job->pid;
}

// Does so short a run fail as well? In silence.
static bool fails_within(Job *job, uint64_t seed, uint32_t steps) {
    int status = 0;
    fflush(NULL);
    job->pid = fork();
    if (job->pid == 0) {
        if (!freopen("/dev/null", "w", stderr)) _exit(0);
        job_run(job, seed, seed + 1, 1, steps, false);
    }
    return waitpid(job->pid, &status, 0) == job->pid && status != 0;
}

// The same steps lead there, so the first number of steps that fails is found by halving.
static uint32_t shorten(Job *job, uint64_t seed, uint32_t steps) {
    uint32_t low = 0, high = steps;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        *(fails_within(job, seed, middle) ? &high : &low) = middle;
    }
    return high;
}

static void say_nothing(void *ctx, Str line) {
    (void)ctx, (void)line;
}

static void tell(const Tally *t) {
    printf("# %llu runs, %llu steps: %llu commits, %llu conflicts, %llu operations\n"
           "# %llu openings again (%llu power losses), %llu checkpoints, %llu pages evicted\n"
           "# %llu faults armed, %llu errors answered, %llu unflushed commits lost\n",
           (unsigned long long)t->runs,
           (unsigned long long)t->steps,
           (unsigned long long)t->commits,
           (unsigned long long)t->conflicts,
           (unsigned long long)t->reads,
           (unsigned long long)t->reopens,
           (unsigned long long)t->power_cuts,
           (unsigned long long)t->checkpoints,
           (unsigned long long)t->evictions,
           (unsigned long long)t->faults,
           (unsigned long long)t->reported,
           (unsigned long long)t->lost);
}

int main(void) {
    bool alone = getenv("SEED") && !getenv("SEEDS");
    uint64_t first = setting("SEED", 1), seeds = setting("SEEDS", alone ? 1 : 3000);
    uint32_t steps = (uint32_t)setting("STEPS", STEPS_DEFAULT);
    uint64_t jobs = setting("JOBS", (uint64_t)sysconf(_SC_NPROCESSORS_ONLN));
    jobs = MAX(1u, MIN(MIN(jobs, seeds), (uint64_t)JOBS_MAX));
    Job *job = mmap(NULL,
                    JOBS_MAX * sizeof *job,
                    PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS,
                    -1,
                    0);
    if (job == MAP_FAILED) return 2;
    log_set_writer(say_nothing, NULL);  // the server's own words about what breaks
    for (uint64_t i = 0; i < jobs; i++)
        job_start(&job[i], first + i, first + seeds, jobs, steps, setting("TRACE", 0) != 0);
    int failed = 0;
    Tally all = {0};
    for (uint64_t i = 0; i < jobs; i++) {
        int status = 0;
        (void)!waitpid(job[i].pid, &status, 0);
        for (size_t n = 0; n < sizeof all / sizeof(uint64_t); n++)
            ((uint64_t *)&all)[n] += ((uint64_t *)&job[i].tally)[n];
        if (status == 0) continue;
        failed++;
        uint64_t seed = job[i].seed;
        printf("# seed %llu failed%s\n",
               (unsigned long long)seed,
               WIFSIGNALED(status) ? ", its process died" : "");
        printf("# shortest: make sim SEED=%llu STEPS=%u TRACE=1\n",
               (unsigned long long)seed,
               shorten(&job[i], seed, steps));
    }
    tell(&all);
    printf("%sok 1 - %llu seeds from %llu\n1..1\n",
           failed ? "not " : "",
           (unsigned long long)seeds,
           (unsigned long long)first);
    return failed != 0;
}
