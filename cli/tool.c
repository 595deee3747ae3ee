#define _GNU_SOURCE  // posix_spawn_file_actions_addchdir_np, pipe2
#include "cli/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { TOOL_MISSING = 127 };

// Both outputs go to `output`. Gives the pid, or -1 when the program could not be started.
static pid_t tool_start(const char *directory, char *const *words, int output) {
    posix_spawn_file_actions_t actions;
    pid_t child;
    if (posix_spawn_file_actions_init(&actions) != 0) cli_die("out of memory");
    int failed = posix_spawn_file_actions_addchdir_np(&actions, directory);
    if (!failed) failed = posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    if (!failed) failed = posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
    fflush(stdout);
    if (!failed) failed = posix_spawnp(&child, words[0], &actions, NULL, words, environ);
    posix_spawn_file_actions_destroy(&actions);
    return failed ? -1 : child;
}

static int tool_end(pid_t child) {
    int status = 0;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return TOOL_MISSING;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int tool_run(const char *directory, char *const *words) {
    pid_t child = tool_start(directory, words, STDERR_FILENO);
    return child < 0 ? TOOL_MISSING : tool_end(child);
}

int tool_run_lines(const char *directory,
                   char *const *words,
                   void (*on_line)(void *ctx, char *line),
                   void *ctx) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) cli_die_cause(strerror(errno), "Could not run %s", words[0]);
    pid_t child = tool_start(directory, words, ends[1]);
    close(ends[1]);
    FILE *said = fdopen(ends[0], "r");
    if (!said) cli_die("out of memory");
    char *line = NULL;
    size_t cap = 0;
    for (ssize_t len; child >= 0 && (len = getline(&line, &cap, said)) >= 0;) {
        if (len > 0 && line[len - 1] == '\n') line[len - 1] = 0;
        on_line(ctx, line);
    }
    free(line);
    fclose(said);
    return child < 0 ? TOOL_MISSING : tool_end(child);
}

bool tool_exists(const char *name) {
    const char *path = getenv("PATH");
    for (Str rest = str_from(path ? path : "/usr/bin:/bin"); rest.ptr;) {
        const char *colon = memchr(rest.ptr, ':', rest.len);
        size_t len = colon ? (size_t)(colon - rest.ptr) : rest.len;
        if (len > 0 && access(cli_format("%.*s/%s", (int)len, rest.ptr, name), X_OK) == 0)
            return true;
        rest = colon ? (Str){colon + 1, rest.len - len - 1} : STR_NONE;
    }
    return false;
}
