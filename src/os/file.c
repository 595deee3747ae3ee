// file.c: files and directories on Linux.
//
// A call interrupted by a signal is begun again, and reads and writes go on until they are whole,
// so that nobody above has to think of either.
#define _GNU_SOURCE  // what Linux has beyond POSIX
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "os/linux.h"

struct IoFile {
    int fd;
};

static int open_flags(int flags) {
    int mode = flags & IO_WRITE ? (flags & IO_READ ? O_RDWR : O_WRONLY) : O_RDONLY;
    if (flags & IO_CREATE) mode |= O_CREAT;
    if (flags & IO_EXCLUSIVE) mode |= O_EXCL;
    if (flags & IO_TRUNCATE) mode |= O_TRUNC;
    return mode | O_CLOEXEC;
}

static int open_retrying(const char *path, int flags, mode_t mode) {
    int fd;
    do {
        fd = open(path, flags, mode);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

Err linux_file_open(void *world, const char *path, int flags, IoFile **out) {
    (void)world;
    IoFile *file = MEM_NEW(IoFile);
    if (!file) return ERR_NOMEM;
    file->fd = open_retrying(path, open_flags(flags), flags & IO_SECRET ? 0600 : 0644);
    if (file->fd < 0) {
        Err err = linux_error("open", path);
        mem_free(file);
        return err;
    }
    *out = file;
    return OK;
}

void linux_file_close(void *world, IoFile **file) {
    (void)world;
    if (!*file) return;
    close((*file)->fd);  // its errors concern unsynced data, which nobody was promised
    mem_free(*file);
    *file = NULL;
}

Err linux_file_read(void *world,
                    IoFile *file,
                    uint64_t offset,
                    void *into,
                    size_t len,
                    size_t *got) {
    (void)world;
    *got = 0;
    while (*got < len) {
        ssize_t n = pread(file->fd, (uint8_t *)into + *got, len - *got, (off_t)(offset + *got));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return linux_error("read", "");
        if (n == 0) break;
        *got += (size_t)n;
    }
    return OK;
}

// What the kernel has in its cache is copied, nothing else. A file system that cannot say so refuses.
Err linux_file_read_now(void *world,
                        IoFile *file,
                        uint64_t offset,
                        void *into,
                        size_t len,
                        size_t *got) {
    (void)world;
    *got = 0;
    while (*got < len) {
        struct iovec rest = {(uint8_t *)into + *got, len - *got};
        ssize_t n = preadv2(file->fd, &rest, 1, (off_t)(offset + *got), RWF_NOWAIT);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == EOPNOTSUPP)) return ERR_AGAIN;
        if (n < 0) return linux_error("read", "");
        if (n == 0) break;
        *got += (size_t)n;
    }
    return OK;
}

Err linux_file_write(void *world, IoFile *file, uint64_t offset, const void *bytes, size_t len) {
    (void)world;
    const uint8_t *p = bytes;
    while (len > 0) {
        ssize_t n = pwrite(file->fd, p, len, (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return linux_error("write", "");
        p += n;
        len -= (size_t)n;
        offset += (uint64_t)n;
    }
    return OK;
}

Err linux_file_sync(void *world, IoFile *file) {
    (void)world;
    while (fdatasync(file->fd) != 0) {
        if (errno != EINTR) return linux_error("fdatasync", "");
    }
    return OK;
}

Err linux_file_size(void *world, IoFile *file, uint64_t *out) {
    (void)world;
    struct stat st;
    if (fstat(file->fd, &st) != 0) return linux_error("fstat", "");
    *out = (uint64_t)st.st_size;
    return OK;
}

Err linux_file_truncate(void *world, IoFile *file, uint64_t size) {
    (void)world;
    while (ftruncate(file->fd, (off_t)size) != 0) {
        if (errno != EINTR) return linux_error("ftruncate", "");
    }
    return OK;
}

// Reserves blocks, so that a later write cannot meet a full disk. Where the file system cannot,
// the size grows all the same and such a write reports it.
Err linux_file_preallocate(void *world, IoFile *file, uint64_t size) {
    uint64_t now;
    Err err = linux_file_size(world, file, &now);
    if (err != OK || now >= size) return err;
    while (fallocate(file->fd, 0, 0, (off_t)size) != 0) {
        if (errno == EOPNOTSUPP) return linux_file_truncate(world, file, size);
        if (errno != EINTR) return linux_error("fallocate", "");
    }
    return OK;
}

void linux_file_hint(void *world, IoFile *file, uint64_t offset, uint64_t len) {
    (void)world;
    (void)posix_fadvise(file->fd, (off_t)offset, (off_t)len, POSIX_FADV_WILLNEED);
}

// A lock of the open file and not of the process: a second opening in this process is refused too,
// and closing some other handle of the file does not drop it.
Err linux_file_lock(void *world, IoFile *file) {
    (void)world;
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    while (fcntl(file->fd, F_OFD_SETLK, &whole) != 0) {
        if (errno == EAGAIN || errno == EACCES) {
            (void)linux_error("lock", "");
            return ERR_BUSY;
        }
        if (errno != EINTR) return linux_error("lock", "");
    }
    return OK;
}

Err linux_file_remove(void *world, const char *path) {
    (void)world;
    return remove(path) == 0 ? OK : linux_error("remove", path);
}

Err linux_file_rename(void *world, const char *from, const char *to) {
    (void)world;
    return rename(from, to) == 0 ? OK : linux_error("rename", from);
}

Err linux_dir_sync(void *world, const char *path) {
    (void)world;
    int fd = open_retrying(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0) return linux_error("open", path);
    int failed;
    do {
        failed = fsync(fd);
    } while (failed && errno == EINTR);
    Err err = failed ? linux_error("fsync", path) : OK;
    close(fd);
    return err;
}

// Make the one directory `path`, whose parent (`path` up to `parent_len`) exists.
static Err dir_make_one(void *world, char *path, size_t parent_len) {
    if (mkdir(path, 0755) != 0) {
        if (errno != EEXIST) return linux_error("mkdir", path);
        struct stat st;
        if (stat(path, &st) != 0) return linux_error("stat", path);
        return S_ISDIR(st.st_mode) ? OK : ERR_EXISTS;
    }
    char parent[IO_PATH_MAX] = ".";
    if (path[0] == '/' && parent_len == 0) parent_len = 1;
    if (parent_len > 0) {
        memcpy(parent, path, parent_len);
        parent[parent_len] = 0;
    }
    return linux_dir_sync(world, parent);
}

Err linux_dir_make(void *world, const char *path) {
    char made[IO_PATH_MAX];
    size_t len = strlen(path), parent_len = 0;
    if (len >= sizeof made) return ERR_TOO_LARGE;
    memcpy(made, path, len + 1);
    while (len > 1 && made[len - 1] == '/') {
        made[--len] = 0;
    }
    for (size_t i = 1; i <= len; i++) {
        if (i < len && made[i] != '/') continue;
        char kept = made[i];
        made[i] = 0;
        Err err = dir_make_one(world, made, parent_len);
        made[i] = kept;
        if (err != OK) return err;
        parent_len = i;
    }
    return OK;
}

Err linux_dir_list(void *world,
                   const char *path,
                   Err (*each)(void *ctx, const char *name),
                   void *ctx) {
    (void)world;
    DIR *dir = opendir(path);
    if (!dir) return linux_error("open", path);
    Err err = OK;
    while (err == OK) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (!entry) {
            if (errno) err = linux_error("read", path);
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        err = each(ctx, entry->d_name);
    }
    closedir(dir);
    return err;
}
