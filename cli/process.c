#include "cli/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { NOT_FOUND = 127, POLL_MS = 20 };

static void redirect(const char *path, int flags, int to) {
    int fd = open(path, flags | O_CLOEXEC, 0666);
    if (fd < 0 || dup2(fd, to) < 0) _exit(NOT_FOUND);
}

// In the child, before it becomes another program.
static NORETURN void become(const ProcessPlan *plan, pid_t parent) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(NOT_FOUND);  // it ended before we could ask to be told
    if (!plan->asks) {
        setpgid(0, 0);
        redirect("/dev/null", O_RDONLY, STDIN_FILENO);
    }
    if (plan->output) {
        redirect(plan->output, O_WRONLY | O_CREAT | O_TRUNC, STDOUT_FILENO);
        if (dup2(STDOUT_FILENO, STDERR_FILENO) < 0) _exit(NOT_FOUND);
    }
    if (plan->directory && chdir(plan->directory) != 0) {
        fprintf(stderr, "Error: could not enter %s: %s\n", plan->directory, strerror(errno));
        _exit(NOT_FOUND);
    }
    for (size_t i = 0; plan->env && plan->env[i]; i++)
        putenv((char *)plan->env[i]);
    execvp(plan->words[0], (char *const *)plan->words);
    fprintf(stderr, "Error: could not run %s: %s\n", plan->words[0], strerror(errno));
    _exit(NOT_FOUND);
}

pid_t process_start(const ProcessPlan *plan) {
    fflush(stdout);
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0) cli_die_cause(strerror(errno), "Could not start %s", plan->words[0]);
    if (pid == 0) become(plan, parent);
    if (!plan->asks) setpgid(pid, pid);  // here too, so that it is true before we need it
    return pid;
}

static void signal_send(pid_t pid, int signal) {
    if (kill(-pid, signal) != 0) kill(pid, signal);  // no group: it shares ours
}

// Is anything of the group left? The leader is reaped here.
static bool is_alive(pid_t pid) {
    int status;
    while (waitpid(pid, &status, WNOHANG) < 0 && errno == EINTR) {
    }
    return kill(-pid, 0) == 0 || kill(pid, 0) == 0;
}

void processes_end(const pid_t *pids, size_t count, int patience_ms) {
    for (size_t i = 0; i < count; i++)
        if (pids[i] > 0) signal_send(pids[i], SIGTERM);
    for (int waited_ms = 0;; waited_ms += POLL_MS) {
        size_t left = 0;
        for (size_t i = 0; i < count; i++)
            left += pids[i] > 0 && is_alive(pids[i]);
        if (left == 0) return;
        if (waited_ms >= patience_ms) break;
        nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
    }
    for (size_t i = 0; i < count; i++)
        if (pids[i] > 0 && is_alive(pids[i])) signal_send(pids[i], SIGKILL);
}
