// linux.c: the real world as one table, its clocks and randomness, and the words for its errors.
#define _GNU_SOURCE  // what Linux has beyond POSIX
#include "os/linux.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>
#include <time.h>

static _Thread_local char last_error[LINUX_ERROR_TEXT_BYTES];

const char *io_last_error_text(void) {
    return last_error;
}

static Err err_from_errno(int code) {
    switch (code) {
    case ENOENT: return ERR_NOT_FOUND;
    case ENOTDIR: return ERR_NOT_FOUND;
    case EEXIST: return ERR_EXISTS;
    case EACCES: return ERR_DENIED;
    case EPERM: return ERR_DENIED;
    case EROFS: return ERR_DENIED;
    case ENOSPC: return ERR_DISK_FULL;
    case EDQUOT: return ERR_DISK_FULL;
    case EFBIG: return ERR_DISK_FULL;
    case ENOMEM: return ERR_NOMEM;
    case ENAMETOOLONG: return ERR_TOO_LARGE;
    case EMFILE: return ERR_LIMIT;
    case ENFILE: return ERR_LIMIT;
    case EADDRINUSE: return ERR_BUSY;
    case EPIPE: return ERR_CLOSED;
    case ECONNRESET: return ERR_CLOSED;
    case ETIMEDOUT: return ERR_CLOSED;
    case ENOTCONN: return ERR_CLOSED;
    default: return ERR_IO;
    }
}

Err linux_error(const char *what, const char *name) {
    int code = errno;
    snprintf(last_error,
             sizeof last_error,
             "%s%s%s: %s",
             what,
             name[0] ? " " : "",
             name,
             strerror(code));
    return err_from_errno(code);
}

void linux_error_text_set(const char *text) {
    snprintf(last_error, sizeof last_error, "%s", text);
}

Micros linux_clock_wall(void *world) {
    (void)world;
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (Micros)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t linux_clock_monotonic_ns(void *world) {
    (void)world;
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

void linux_random_bytes(void *world, void *into, size_t len) {
    (void)world;
    uint8_t *p = into;
    while (len > 0) {
        ssize_t got = getrandom(p, len, 0);
        if (got < 0 && errno == EINTR) continue;
        ASSERT(got > 0);  // identities and tokens must not be guessable: better to stop
        p += got;
        len -= (size_t)got;
    }
}

const Io *io_real(void) {
    static const Io io = {
        .file_open = linux_file_open,
        .file_close = linux_file_close,
        .file_read = linux_file_read,
        .file_read_now = linux_file_read_now,
        .file_write = linux_file_write,
        .file_sync = linux_file_sync,
        .syncer_open = linux_syncer_open,
        .syncer_close = linux_syncer_close,
        .sync_start = linux_sync_start,
        .sync_ended = linux_sync_ended,
        .work_start = linux_work_start,
        .file_size = linux_file_size,
        .file_truncate = linux_file_truncate,
        .file_preallocate = linux_file_preallocate,
        .file_hint = linux_file_hint,
        .file_lock = linux_file_lock,
        .file_remove = linux_file_remove,
        .file_rename = linux_file_rename,
        .dir_make = linux_dir_make,
        .dir_sync = linux_dir_sync,
        .dir_list = linux_dir_list,
        .clock_wall = linux_clock_wall,
        .clock_monotonic_ns = linux_clock_monotonic_ns,
        .random_bytes = linux_random_bytes,
        .net_listen = linux_net_listen,
        .net_accept = linux_net_accept,
        .net_read = linux_net_read,
        .net_write = linux_net_write,
        .net_finish = linux_net_finish,
        .net_close = linux_net_close,
        .net_poller_open = linux_poller_open,
        .net_poller_close = linux_poller_close,
        .net_watch = linux_poller_watch,
        .net_unwatch = linux_poller_unwatch,
        .net_poll = linux_poller_poll,
        .net_wake = linux_poller_wake,
    };
    return &io;
}
