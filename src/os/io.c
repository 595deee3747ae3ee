// io.c: conveniences that are the same in every world.
#include "os/io.h"

#include <stdio.h>

Err path_join(char out[IO_PATH_MAX], const char *dir, const char *name) {
    size_t dir_len = strlen(dir);
    const char *slash = dir_len == 0 || dir[dir_len - 1] == '/' ? "" : "/";
    int len = snprintf(out, IO_PATH_MAX, "%s%s%s", dir, slash, name);
    return len < 0 || len >= IO_PATH_MAX ? ERR_TOO_LARGE : OK;
}

// The directory part of a path: "." when it has none.
static Err path_dir(char out[IO_PATH_MAX], const char *path) {
    const char *slash = strrchr(path, '/');
    size_t len = slash == path ? 1 : slash ? (size_t)(slash - path) : 0;
    if (!slash) {
        path = ".";
        len = 1;
    }
    if (len >= IO_PATH_MAX) return ERR_TOO_LARGE;
    memcpy(out, path, len);
    out[len] = 0;
    return OK;
}

// Reads until the end rather than trusting the size: the file may grow, and in /proc it has none.
static Err read_to_end(const Io *io, IoFile *file, size_t max, Buf *out) {
    enum { STEP_BYTES_MIN = 4096 };
    uint64_t size = 0;
    Err err = io->file_size(io->world, file, &size);
    size_t total = 0;
    while (err == OK) {
        size_t want = MAX((size_t)MIN(size, max) - MIN(total, (size_t)MIN(size, max)) + 1,
                          (size_t)STEP_BYTES_MIN);
        if (!buf_reserve(out, want)) return ERR_NOMEM;
        size_t got;
        err = io->file_read(io->world, file, total, out->ptr + out->len, want, &got);
        if (err != OK) break;
        total += got;
        if (total > max) return ERR_TOO_LARGE;
        out->len += got;
        if (got < want) break;
    }
    return err;
}

Err io_read_file(const Io *io, const char *path, size_t max, Buf *out) {
    IoFile *file = NULL;
    Err err = io->file_open(io->world, path, IO_READ, &file);
    if (err == OK) err = read_to_end(io, file, max, out);
    io->file_close(io->world, &file);
    return err;
}

static Err write_new_file(const Io *io, const char *path, Bytes content, int flags) {
    IoFile *file = NULL;
    Err err = io->file_open(io->world, path, IO_WRITE | IO_CREATE | IO_EXCLUSIVE | flags, &file);
    if (err == OK) err = io->file_write(io->world, file, 0, content.ptr, content.len);
    if (err == OK) err = io->file_sync(io->world, file);
    io->file_close(io->world, &file);
    return err;
}

Err io_replace_file(const Io *io, const char *path, Bytes content, bool secret) {
    char dir[IO_PATH_MAX], temporary[IO_PATH_MAX];
    Err err = path_dir(dir, path);
    if (err != OK) return err;
    int len = snprintf(temporary, sizeof temporary, "%s.new", path);
    if (len < 0 || (size_t)len >= sizeof temporary) return ERR_TOO_LARGE;

    // One left by a power loss may have other permissions and other content: it is made anew.
    err = io->file_remove(io->world, temporary);
    if (err != OK && err != ERR_NOT_FOUND) return err;
    err = write_new_file(io, temporary, content, secret ? IO_SECRET : 0);
    if (err == OK) err = io->file_rename(io->world, temporary, path);
    if (err != OK) {
        (void)io->file_remove(io->world, temporary);  // the first error is the one to report
        return err;
    }
    return io->dir_sync(io->world, dir);
}
