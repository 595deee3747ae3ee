// slow_disk.c: loaded before a server (LD_PRELOAD), makes its page files live on a slow disk: a read that
// the system's cache cannot serve takes SLOW_DISK_MS more. What is in the cache is as quick as ever.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static bool is_page_file(int fd) {
    char link[64], path[1024];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof path);
    return len > 6 && memcmp(path + len - 6, "/pages", 6) == 0;
}

static ssize_t read_slowly(int fd, void *into, size_t len, off_t at) {
    static ssize_t (*real)(int, void *, size_t, off_t);
    if (!real) real = (ssize_t(*)(int, void *, size_t, off_t))dlsym(RTLD_NEXT, "pread64");
    if (is_page_file(fd)) {
        struct iovec part = {into, len};
        if (preadv2(fd, &part, 1, at, RWF_NOWAIT) == (ssize_t)len) return (ssize_t)len;
        long ms = atol(getenv("SLOW_DISK_MS"));
        nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
    }
    return real(fd, into, len, at);
}

ssize_t pread(int fd, void *into, size_t len, off_t at) {
    return read_slowly(fd, into, len, at);
}

ssize_t pread64(int fd, void *into, size_t len, off_t at) {
    return read_slowly(fd, into, len, at);
}
