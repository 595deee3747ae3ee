#include "cli/watch.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/mem.h"

// A file counts once it is whole: closed after writing, or put in its place by a rename.
#define EVENTS (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE)

struct Watch {
    int fd;
    const char **paths;  // by watch descriptor; they begin with 1 and are never used again
    size_t path_cap;
    char changed
        [PATH_MAX];  // what watch_read() tells: it may be called for weeks, so the arena is not for it
};

bool watch_wants(const char *name) {
    static const char *const passed_over[] =
        {"target", "build", "bin", "obj", "node_modules", "dist", "venv", "4913"};
    size_t len = strlen(name);
    if (len == 0 || name[0] == '.' || name[len - 1] == '~' || name[0] == '#') return false;
    for (size_t i = 0; i < ARRAY_LEN(passed_over); i++)
        if (strcmp(name, passed_over[i]) == 0) return false;
    return !strstr(name, ".new-");  // ours, on its way to its place
}

static void path_keep(Watch *watch, int descriptor, const char *path) {
    size_t at = (size_t)descriptor;
    if (at >= watch->path_cap) {
        size_t cap = MAX(at + 1, watch->path_cap * 2);
        const char **grown = mem_realloc(watch->paths, cap * sizeof *grown);
        if (!grown) cli_die("out of memory");
        memset(grown + watch->path_cap, 0, (cap - watch->path_cap) * sizeof *grown);
        watch->paths = grown;
        watch->path_cap = cap;
    }
    watch->paths[at] = path;
}

static void tree_add(Watch *watch, const char *directory) {
    int descriptor = inotify_add_watch(watch->fd, directory, EVENTS | IN_ONLYDIR);
    if (descriptor < 0) {
        if (errno == ENOENT || errno == ENOTDIR) return;  // gone again
        cli_die_cause(strerror(errno),
                      "Could not watch %s. The system's limit is fs.inotify.max_user_watches",
                      directory);
    }
    path_keep(watch, descriptor, directory);
    DIR *dir = opendir(directory);
    if (!dir) return;
    for (const struct dirent *entry; (entry = readdir(dir));) {
        if (!watch_wants(entry->d_name)) continue;
        const char *path = cli_join(directory, entry->d_name);
        if (cli_dir_exists(path)) tree_add(watch, path);
    }
    closedir(dir);
}

Watch *watch_open(const char *const *directories, size_t count) {
    Watch *watch = MEM_NEW(Watch);
    if (!watch) cli_die("out of memory");
    watch->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (watch->fd < 0) cli_die_cause(strerror(errno), "The system does not let us watch files");
    for (size_t i = 0; i < count; i++)
        tree_add(watch, directories[i]);
    return watch;
}

void watch_close(Watch *watch) {
    close(watch->fd);
    mem_free(watch->paths);
    mem_free(watch);
}

int watch_fd(const Watch *watch) {
    return watch->fd;
}

// A new directory may have files already, so it counts as a change; a new file does when it is closed.
static const char *event_path(Watch *watch, const struct inotify_event *event) {
    if (event->len == 0 || !watch_wants(event->name)) return NULL;
    if (event->wd < 0 || (size_t)event->wd >= watch->path_cap || !watch->paths[event->wd])
        return NULL;
    const char *directory = watch->paths[event->wd];
    bool is_directory = event->mask & IN_ISDIR;
    if (is_directory && event->mask & (IN_CREATE | IN_MOVED_TO))
        tree_add(watch, cli_join(directory, event->name));
    if (!is_directory && event->mask & IN_CREATE) return NULL;
    snprintf(watch->changed, sizeof watch->changed, "%s/%s", directory, event->name);
    return watch->changed;
}

const char *watch_read(Watch *watch) {
    _Alignas(struct inotify_event) char events[16384];
    const char *changed = NULL;
    for (;;) {
        ssize_t len = read(watch->fd, events, sizeof events);
        if (len <= 0) return changed;
        for (char *at = events; at < events + len;) {
            const struct inotify_event *event = (const struct inotify_event *)at;
            const char *path = event->mask & IN_Q_OVERFLOW ? "more files than could be told"
                                                           : event_path(watch, event);
            if (path) changed = path;
            at += sizeof *event + event->len;
        }
    }
}
