#define _GNU_SOURCE  // posix_spawn_file_actions_addchdir_np
#include "cli/tool.h"

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

int tool_run(const char *directory, char *const *words) {
    posix_spawn_file_actions_t actions;
    pid_t child;
    if (posix_spawn_file_actions_init(&actions) != 0) cli_die("out of memory");
    int failed = posix_spawn_file_actions_addchdir_np(&actions, directory);
    if (!failed) failed = posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
    fflush(stdout);
    if (!failed) failed = posix_spawnp(&child, words[0], &actions, NULL, words, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failed) return 127;
    int status = 0;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return 127;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
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
