// cache.c: lets go of compiled modules that nobody has used for long.
//
// Every version of a module that was ever published leaves an entry of some hundred kilobytes. One
// that is used is touched (object.c), so the time of its last change is that of its last use, and the
// oldest may go: a module that comes back is compiled again.
#define _GNU_SOURCE
#include "host/wasm/cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

enum { UNFINISHED_S = 3600 };  // a file without its final name is what a crash has left

typedef struct Entry {
    struct timespec used;
    char name[NAME_MAX + 1];
} Entry;

static int newest_first(const void *a, const void *b) {
    const struct timespec *x = &((const Entry *)a)->used, *y = &((const Entry *)b)->used;
    if (x->tv_sec != y->tv_sec) return x->tv_sec < y->tv_sec ? 1 : -1;
    return (x->tv_nsec < y->tv_nsec) - (x->tv_nsec > y->tv_nsec);
}

static bool is_finished(const char *name) {
    const char *dot = strrchr(name, '.');
    return dot && strcmp(dot, ".so") == 0;
}

// The finished entries to *out; what a crash left goes. False: out of memory.
static bool entries_read(DIR *directory, Entry **out, size_t *count) {
    size_t cap = 0;
    for (struct dirent *entry; (entry = readdir(directory));) {
        struct stat at;
        if (entry->d_name[0] == '.') continue;
        if (fstatat(dirfd(directory), entry->d_name, &at, AT_SYMLINK_NOFOLLOW) != 0) continue;
        if (!S_ISREG(at.st_mode)) continue;
        if (!is_finished(entry->d_name)) {
            if (time(NULL) - at.st_mtim.tv_sec > UNFINISHED_S)
                unlinkat(dirfd(directory), entry->d_name, 0);
            continue;
        }
        if (*count == cap) {
            cap = cap ? cap * 2 : 64;
            Entry *grown = mem_realloc(*out, cap * sizeof *grown);
            if (!grown) return false;
            *out = grown;
        }
        Entry *one = &(*out)[(*count)++];
        one->used = at.st_mtim;
        snprintf(one->name, sizeof one->name, "%s", entry->d_name);
    }
    return true;
}

void wasm_cache_trim(const char *path, uint32_t keep) {
    DIR *directory = opendir(path);
    if (!directory) return;
    Entry *entries = NULL;
    size_t count = 0;
    if (entries_read(directory, &entries, &count) && count > keep) {
        qsort(entries, count, sizeof *entries, newest_first);
        for (size_t i = keep; i < count; i++)
            unlinkat(dirfd(directory), entries[i].name, 0);
    }
    closedir(directory);
    mem_free(entries);
}

void wasm_cache_used(const char *path) {
    utimensat(AT_FDCWD, path, NULL, 0);
}
