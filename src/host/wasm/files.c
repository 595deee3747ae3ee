// files.c: see files.h.
#include "host/wasm/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static Err errno_err(void) {
    switch (errno) {
    case ENOENT: return ERR_NOT_FOUND;
    case ENOMEM: return ERR_NOMEM;
    case ENOSPC:
    case EDQUOT: return ERR_DISK_FULL;
    default: return ERR_IO;
    }
}

Err file_read_whole(const char *path, Buf *out) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return errno_err();
    Err err = OK;
    for (;;) {
        size_t len = out->len;
        uint8_t *room = buf_extend(out, 1 << 16);
        ssize_t got = room ? read(file, room, 1 << 16) : 0;
        out->len = len + (got > 0 ? (size_t)got : 0);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) err = errno_err();
        if (!room) err = ERR_NOMEM;
        if (got <= 0) break;
    }
    close(file);
    return err;
}

static Err write_all(int file, Bytes content) {
    while (content.len) {
        ssize_t wrote = write(file, content.ptr, content.len);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0) return errno_err();
        content.ptr += wrote;
        content.len -= (size_t)wrote;
    }
    return OK;
}

static Err create(const char *path, Bytes content, bool sync) {
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0) return errno_err();
    Err err = write_all(file, content);
    if (err == OK && sync && fsync(file) != 0) err = errno_err();
    if (close(file) != 0 && err == OK) err = errno_err();
    if (err != OK) unlink(path);
    return err;
}

Err file_write_whole(const char *directory, const char *name, Bytes content) {
    char path[PATH_MAX];
    if ((size_t)snprintf(path, sizeof path, "%s/%s", directory, name) >= sizeof path)
        return ERR_TOO_LARGE;
    return create(path, content, false);
}

static Err directory_sync(const char *path) {
    int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) return errno_err();
    Err err = fsync(directory) == 0 ? OK : errno_err();
    close(directory);
    return err;
}

Err file_publish(const char *directory, const char *name, Bytes content) {
    static _Atomic unsigned count;
    char path[PATH_MAX], beside[PATH_MAX];
    size_t len = (size_t)snprintf(path, sizeof path, "%s/%s", directory, name);
    size_t beside_len = (size_t)
        snprintf(beside, sizeof beside, "%s/%s.%d-%u", directory, name, (int)getpid(), count++);
    if (len >= sizeof path || beside_len >= sizeof beside) return ERR_TOO_LARGE;
    unlink(beside);
    Err err = create(beside, content, true);
    if (err != OK) return err;
    if (rename(beside, path) == 0) return directory_sync(directory);
    err = errno_err();
    unlink(beside);
    return err;
}

Err directory_temporary(const char *parent, char *out, size_t out_size) {
    if (!parent) parent = getenv("TMPDIR");
    if (!parent || !*parent) parent = "/tmp";
    if ((size_t)snprintf(out, out_size, "%s/lightcone-wasm-XXXXXX", parent) >= out_size)
        return ERR_TOO_LARGE;
    return mkdtemp(out) ? OK : errno_err();
}

void directory_remove(const char *path) {
    DIR *directory = opendir(path);
    if (!directory) return;
    for (struct dirent *entry; (entry = readdir(directory));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            unlinkat(dirfd(directory), entry->d_name, 0);
    closedir(directory);
    rmdir(path);
}
