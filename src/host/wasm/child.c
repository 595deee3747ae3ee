// child.c: see child.h.
//
// vfork, not fork: the server's memory is large, and copying its page tables would make the loops
// pay for every page they touch afterwards. Until execve the child shares our memory and may do
// nothing but system calls.
//
// ORPHANS  PR_SET_PDEATHSIG is not inherited, so it ends the compiler's driver and not the compiler. But
// a session has a terminal: each child leads a session of its own on a pseudo-terminal whose other end
// is ours. When the driver is killed, or we end and our end closes, the kernel hangs the terminal up,
// and everybody in the session gets SIGHUP. Without pseudo-terminals, RLIMIT_CPU is the last bound.
#define _GNU_SOURCE
#include "host/wasm/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/background.h"

enum { EXIT_NO_EXEC = 127 };
static const char path_default[] = "/usr/local/bin:/usr/bin:/bin";

// The first executable of that name in PATH.
static bool program_find(const char *name, char *out, size_t out_size) {
    if (strchr(name, '/')) return (size_t)snprintf(out, out_size, "%s", name) < out_size;
    const char *path = getenv("PATH");
    if (!path) path = path_default;
    while (*path) {
        size_t len = strcspn(path, ":");
        size_t wrote = (size_t)snprintf(out, out_size, "%.*s/%s", (int)len, path, name);
        if (len && wrote < out_size && access(out, X_OK) == 0) return true;
        path += len + (path[len] == ':');
    }
    return false;
}

static void limit_set(int what, size_t value) {
    struct rlimit limit = {.rlim_cur = value, .rlim_max = value};
    setrlimit(what, &limit);
}

typedef struct Start {
    const char *program, *directory, *log;
    char *const *argv;
    char *const *environment;
    const ChildLimits *limits;
    pid_t parent;
    const char *tty;  // NULL: none
} Start;

// In the child; never returns.
static void child_become(const Start *s) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != s->parent) _exit(EXIT_NO_EXEC);
    signal(SIGHUP, SIG_DFL);  // nohup's would be inherited
    setsid();
    if (s->tty) (void)!open(s->tty, O_RDWR);  // its first terminal becomes the session's
    if (chdir(s->directory) != 0) _exit(EXIT_NO_EXEC);
    int nothing = open("/dev/null", O_RDONLY);
    int log = open(s->log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (nothing < 0 || log < 0) _exit(EXIT_NO_EXEC);
    if (dup2(nothing, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0) _exit(EXIT_NO_EXEC);
    syscall(SYS_close_range, 3, ~0u, 0);
    limit_set(RLIMIT_CPU, s->limits->cpu_s);
    limit_set(RLIMIT_AS, s->limits->memory_bytes);
    limit_set(RLIMIT_FSIZE, s->limits->file_bytes);
    limit_set(RLIMIT_CORE, 0);
    background_child();
    setpriority(PRIO_PROCESS, 0, THREAD_NICE);
    thread_group_nice(THREAD_NICE);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(s->program, s->argv, s->environment);
    _exit(EXIT_NO_EXEC);
}

// Our end of a new pseudo-terminal; -1: there is none to be had.
static int tty_open(char *name, size_t name_size) {
    int tty = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (tty < 0) return -1;
    if (grantpt(tty) == 0 && unlockpt(tty) == 0 && ptsname_r(tty, name, name_size) == 0) return tty;
    close(tty);
    return -1;
}

Err child_start(const char *const *argv,
                const char *directory,
                const char *log,
                const ChildLimits *limits,
                Child *out) {
    char program[4096], path[8192], temporary[4096];
    if (!program_find(argv[0], program, sizeof program)) return ERR_NOT_FOUND;
    const char *inherited = getenv("PATH");
    snprintf(path, sizeof path, "PATH=%s", inherited ? inherited : path_default);
    snprintf(temporary, sizeof temporary, "TMPDIR=%s", directory);
    char locale[] = "LC_ALL=C", tty[64];
    *out = (Child){.tty = tty_open(tty, sizeof tty)};
    char *environment[] = {path, temporary, locale, NULL};
    Start start = {.program = program,
                   .directory = directory,
                   .log = log,
                   .argv = (char *const *)(void *)(uintptr_t)argv,  // execve does not write to it
                   .environment = environment,
                   .limits = limits,
                   .parent = getpid(),
                   .tty = out->tty >= 0 ? tty : NULL};
    // A handler of ours that ran in the child would run on our memory.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t child = vfork();
    if (child == 0) child_become(&start);
    int error = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    out->pid = child;
    if (child > 0) return OK;
    if (out->tty >= 0) close(out->tty);
    return error == ENOMEM ? ERR_NOMEM : ERR_IO;
}

Err child_wait(const Child *child, const ChildLimits *limits, char *how, size_t how_size) {
    int status;
    pid_t done;
    do {
        done = waitpid(child->pid, &status, 0);
    } while (done < 0 && errno == EINTR);
    if (child->tty >= 0) close(child->tty);
    if (done < 0) return ERR_IO;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return OK;
    if (WIFEXITED(status))
        snprintf(how, how_size, "exited with %d", WEXITSTATUS(status));
    else if (WTERMSIG(status) == SIGXCPU || WTERMSIG(status) == SIGKILL)
        snprintf(how, how_size, "used up its %u s of time", limits->cpu_s);
    else if (WTERMSIG(status) == SIGXFSZ)
        snprintf(how, how_size, "wrote more than %zu bytes", limits->file_bytes);
    else
        snprintf(how, how_size, "was ended by signal %d", WTERMSIG(status));
    return ERR_MODULE;
}
