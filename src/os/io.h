// io.h: the doors to the world, as one table of functions.
//
// Everything in the server that touches files, sockets, clocks or randomness is handed an Io and
// goes through it. os/ is the real world; sim/ implements the same table over a disk that loses
// power, a clock that is told the time and a network that cuts. Errors of the system become Err;
// `io_last_error_text()` gives the system's own words for the log of the thread that failed.
//
// Paths are UTF-8, relative to the working directory or absolute. Nothing here interprets them.
#pragma once
#include <sys/uio.h>

#include "base/ids.h"

typedef struct Io Io;
typedef struct IoFile IoFile;      // an open file; one owner
typedef struct IoSyncer IoSyncer;  // syncs and writes files beside its owner; one owner

typedef enum IoOpenFlags {
    IO_READ = 1,
    IO_WRITE = 2,
    IO_CREATE = 4,     // make it when it is not there
    IO_EXCLUSIVE = 8,  // with IO_CREATE: ERR_EXISTS when it is there
    IO_TRUNCATE = 16,
    IO_SECRET = 32,  // with IO_CREATE: only the owner may read and write a file made by this
} IoOpenFlags;

// One socket's readiness, as reported by net_poll. A socket whose peer failed is reported readable
// even when nobody asked, so that a connection that is not being read cannot die unnoticed.
typedef struct IoEvent {
    void *tag;      // what was given to net_watch
    bool readable;  // also set when the peer closed or failed: the next read tells
    bool writable;
} IoEvent;

typedef struct IoPoller IoPoller;

struct Io {
    void *world;  // the implementation's own state, passed first to every function

    // Files. All lengths in bytes. Reads and writes at offsets; a short write is never reported as
    // success. A read gives less than was asked for only at the end of the file. Closing takes the
    // address of the handle and is harmless when it holds NULL.
    // Errors: ERR_NOT_FOUND, ERR_EXISTS, ERR_DENIED, ERR_DISK_FULL, ERR_IO, ERR_NOMEM.
    Err (*file_open)(void *world, const char *path, int flags, IoFile **out);
    void (*file_close)(void *world, IoFile **file);
    Err (*file_read)(void *world,
                     IoFile *file,
                     uint64_t offset,
                     void *into,
                     size_t len,
                     size_t *got);
    // The same of bytes that are at hand: ERR_AGAIN where it would have to wait for a device, or
    // cannot be told.
    Err (*file_read_now)(void *world,
                         IoFile *file,
                         uint64_t offset,
                         void *into,
                         size_t len,
                         size_t *got);
    Err (*file_write)(void *world, IoFile *file, uint64_t offset, const void *bytes, size_t len);
    Err (*file_sync)(void *world, IoFile *file);  // data (and size) survive power loss after OK

    // A sync that goes on while its owner does something else: start it, ask whether it has ended. It
    // covers what was written before the start. A syncer has one in flight at most, and its file
    // stays open until it has ended. `wake` (may be NULL) is called, on another thread, when one has
    // ended, so that an owner who sleeps asks soon.
    Err (*syncer_open)(void *world, void (*wake)(void *ctx), void *ctx, IoSyncer **out);
    void (*syncer_close)(void *world, IoSyncer **syncer);  // waits for what is in flight
    void (*sync_start)(void *world, IoSyncer *syncer, IoFile *file);
    // True, once for each start: it has ended, and *err is what file_sync would have returned.
    // `wait`: not before that.
    bool (*sync_ended)(void *world, IoSyncer *syncer, bool wait, Err *err);
    // The same of more than a sync: `run` is called once, beside the owner, and may use all of this
    // table's functions for files. sync_ended gives what it returned, and io_last_error_text is what
    // it left there.
    void (*work_start)(void *world, IoSyncer *syncer, Err (*run)(void *ctx), void *ctx);

    Err (*file_size)(void *world, IoFile *file, uint64_t *out);
    Err (*file_truncate)(void *world, IoFile *file, uint64_t size);
    Err (*file_preallocate)(void *world, IoFile *file, uint64_t size);  // size grows; content zero
    // These bytes will be read soon: a system may fetch them meanwhile. Only a hint.
    void (*file_hint)(void *world, IoFile *file, uint64_t offset, uint64_t len);
    Err (*file_lock)(void *world, IoFile *file);  // exclusive, whole file; ERR_BUSY when taken
    Err (*file_remove)(void *world, const char *path);                  // or an empty directory
    Err (*file_rename)(void *world, const char *from, const char *to);  // replaces `to`
    // Make a directory and its parents; OK when it is there. Directories made survive power loss.
    Err (*dir_make)(void *world, const char *path);
    Err (*dir_sync)(void *world, const char *path);  // names made, renamed, removed survive
    // Call `each` with every name in the directory but . and .. ; stops at the first error.
    Err (*dir_list)(void *world,
                    const char *path,
                    Err (*each)(void *ctx, const char *name),
                    void *ctx);

    // Clocks. Wall time may jump; monotonic time never goes back.
    Micros (*clock_wall)(void *world);
    int64_t (*clock_monotonic_ns)(void *world);
    void (*random_bytes)(void *world, void *into, size_t len);  // unpredictable; cannot fail

    // Sockets: non-blocking stream sockets named by small integers. ERR_AGAIN means "not now",
    // ERR_CLOSED that the connection is gone. listen takes an address or a host name ("": every
    // address) and gives the bound port back through *port. accept: peer ("127.0.0.1:4711",
    // "[::1]:4711") may be NULL; ERR_LIMIT: no file descriptors left, the caller stays pending.
    Err (*net_listen)(void *world, const char *host, uint16_t *port, int *out);
    Err (*net_accept)(void *world, int listener, int *out, char *peer, size_t peer_size);
    Err (*net_read)(void *world, int socket, void *into, size_t len, size_t *got);  // *got 0: end
    Err (*net_write)(void *world, int socket, const struct iovec *parts, int count, size_t *wrote);
    // Nothing more will be written: the peer reads the end after what was. Reading goes on.
    void (*net_finish)(void *world, int socket);
    void (*net_close)(void *world, int socket);
    Err (*net_poller_open)(void *world, IoPoller **out);
    void (*net_poller_close)(void *world, IoPoller **poller);
    // Watch a socket. Changing the interest of a watched socket is the same call. Level-triggered.
    Err (*net_watch)(void *world, IoPoller *poller, int socket, bool read, bool write, void *tag);
    void (*net_unwatch)(void *world, IoPoller *poller, int socket);
    // Wait at most timeout_us (0: only look, -1: for ever) and fill up to `max` events. May return
    // early with none, after a wake or a signal.
    Err (*net_poll)(void *world,
                    IoPoller *poller,
                    int64_t timeout_us,
                    IoEvent *events,
                    int max,
                    int *count);
    // Make a net_poll in progress, or the next one, return; callable from any thread.
    void (*net_wake)(void *world, IoPoller *poller);
};

const Io *io_real(void);  // the one real world; static storage
// "open ./data/x: Permission denied", of this thread's last failed call; valid until the next one.
const char *io_last_error_text(void);

// Conveniences over the table. Paths are built with path_join, which cuts nothing: ERR_TOO_LARGE.
#define IO_PATH_MAX 1024
MUST_USE Err path_join(char out[IO_PATH_MAX], const char *dir, const char *name);
// Append a whole file to *out. ERR_TOO_LARGE: it has more than `max` bytes.
MUST_USE Err io_read_file(const Io *io, const char *path, size_t max, Buf *out);
// Write to a temporary name beside it, sync, rename, sync the directory: after OK the new content
// is there after a power loss, before that the old one. `secret`: IO_SECRET.
MUST_USE Err io_replace_file(const Io *io, const char *path, Bytes content, bool secret);
