// What the translator and the compiler leave behind: nothing, whoever dies first.
#include "host/wasm/child.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/test.h"
#include "host/wasm/files.h"

static const ChildLimits limits = {.cpu_s = 60,
                                   .memory_bytes = (size_t)4 << 30,
                                   .file_bytes = 1 << 20};
static char directory[256];

// A driver, as compilers are: it starts the one that works, says its number, and waits for it.
static Err driver_start(Child *child) {
    const char *argv[] = {"sh", "-c", "sleep 60 & echo $! >pid.new; mv pid.new pid; wait", NULL};
    return child_start(argv, directory, "log", &limits, child);
}

static void nap(void) {
    nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
}

static pid_t grandchild(void) {
    char path[300];
    snprintf(path, sizeof path, "%s/pid", directory);
    for (int i = 0; i < 1000; i++, nap()) {
        Buf text = {0};
        Err err = file_read_whole(path, &text);
        buf_put_u8(&text, 0);
        pid_t pid = err == OK ? atoi((const char *)text.ptr) : 0;
        buf_deinit(&text);
        if (pid > 0) return pid;
    }
    fail_msg("the driver did not start");
    return 0;
}

// Gone, or waiting to be reaped by whoever adopted it.
static bool is_over(pid_t pid) {
    char path[64];
    Buf text = {0};
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    Err err = file_read_whole(path, &text);
    buf_put_u8(&text, 0);
    const char *state = err == OK ? strrchr((const char *)text.ptr, ')') : NULL;
    bool over = !state || state[2] == 'Z' || state[2] == 'X';
    buf_deinit(&text);
    return over;
}

static void expect_over(pid_t pid) {
    for (int i = 0; i < 500 && !is_over(pid); i++)
        nap();
    EXPECT(is_over(pid));
}

TEST(child, ends_with_what_it_started_when_the_server_is_killed) {
    EXPECT_OK(directory_temporary(NULL, directory, sizeof directory));
    pid_t server = fork();
    if (server == 0) {
        Child child;
        signal(SIGHUP, SIG_IGN);  // as under nohup
        if (driver_start(&child) != OK) _exit(1);
        for (;;)
            pause();
    }
    pid_t worker = grandchild();
    EXPECT(!is_over(worker));
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    expect_over(worker);
    directory_remove(directory);
}

TEST(child, ends_with_what_it_started_when_it_is_killed) {
    char how[128];
    Child child;
    EXPECT_OK(directory_temporary(NULL, directory, sizeof directory));
    EXPECT_OK(driver_start(&child));
    pid_t worker = grandchild();
    kill(child.pid, SIGKILL);
    EXPECT_ERR(child_wait(&child, &limits, how, sizeof how), ERR_MODULE);
    expect_over(worker);
    directory_remove(directory);
}

TEST_MAIN()
