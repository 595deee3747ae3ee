// linux.h: inside src/os only. The functions that io_real()'s table is made of.
#pragma once
#include "os/io.h"

// Translate errno, and keep "<what> <name>: <strerror>" for io_last_error_text(). Never OK.
enum { LINUX_ERROR_TEXT_BYTES = 256 };
Err linux_error(const char *what, const char *name);
void linux_error_text_set(const char *text);  // what another thread's io_last_error_text() was

Err linux_file_open(void *world, const char *path, int flags, IoFile **out);
void linux_file_close(void *world, IoFile **file);
Err linux_file_read(void *world,
                    IoFile *file,
                    uint64_t offset,
                    void *into,
                    size_t len,
                    size_t *got);
Err linux_file_read_now(void *world,
                        IoFile *file,
                        uint64_t offset,
                        void *into,
                        size_t len,
                        size_t *got);
Err linux_file_write(void *world, IoFile *file, uint64_t offset, const void *bytes, size_t len);
Err linux_file_sync(void *world, IoFile *file);
Err linux_syncer_open(void *world, void (*wake)(void *ctx), void *ctx, IoSyncer **out);
void linux_syncer_close(void *world, IoSyncer **syncer);
void linux_sync_start(void *world, IoSyncer *syncer, IoFile *file);
bool linux_sync_ended(void *world, IoSyncer *syncer, bool wait, Err *err);
void linux_work_start(void *world, IoSyncer *syncer, Err (*run)(void *ctx), void *ctx);
Err linux_file_size(void *world, IoFile *file, uint64_t *out);
Err linux_file_truncate(void *world, IoFile *file, uint64_t size);
Err linux_file_preallocate(void *world, IoFile *file, uint64_t size);
void linux_file_hint(void *world, IoFile *file, uint64_t offset, uint64_t len);
Err linux_file_lock(void *world, IoFile *file);
Err linux_file_remove(void *world, const char *path);
Err linux_file_rename(void *world, const char *from, const char *to);

Err linux_dir_make(void *world, const char *path);
Err linux_dir_sync(void *world, const char *path);
Err linux_dir_list(void *world,
                   const char *path,
                   Err (*each)(void *ctx, const char *name),
                   void *ctx);

Micros linux_clock_wall(void *world);
int64_t linux_clock_monotonic_ns(void *world);
void linux_random_bytes(void *world, void *into, size_t len);

Err linux_net_listen(void *world, const char *host, uint16_t *port, int *out);
Err linux_net_accept(void *world, int listener, int *out, char *peer, size_t peer_size);
Err linux_net_read(void *world, int socket, void *into, size_t len, size_t *got);
Err linux_net_write(void *world, int socket, const struct iovec *parts, int count, size_t *wrote);
void linux_net_finish(void *world, int socket);
void linux_net_close(void *world, int socket);

Err linux_poller_open(void *world, IoPoller **out);
void linux_poller_close(void *world, IoPoller **poller);
Err linux_poller_watch(void *world, IoPoller *poller, int socket, bool read, bool write, void *tag);
void linux_poller_unwatch(void *world, IoPoller *poller, int socket);
Err linux_poller_poll(void *world,
                      IoPoller *poller,
                      int64_t timeout_us,
                      IoEvent *events,
                      int max,
                      int *count);
void linux_poller_wake(void *world, IoPoller *poller);
