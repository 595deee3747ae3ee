// poller.c: readiness by epoll, and an eventfd in the same set so that other threads can wake it.
#define _GNU_SOURCE  // what Linux has beyond POSIX
#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "os/linux.h"

struct IoPoller {
    int epoll;
    int wake;
    bool has_pwait2;  // until the kernel says otherwise
};

enum { EVENTS_MAX = 256 };  // of one poll; level-triggered, so the rest comes with the next

Err linux_poller_open(void *world, IoPoller **out) {
    IoPoller *poller = MEM_NEW(IoPoller);
    if (!poller) return ERR_NOMEM;
    *poller = (IoPoller){
        .epoll = epoll_create1(EPOLL_CLOEXEC),
        .wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
        .has_pwait2 = true,
    };
    // The poller's own address marks the wake event: no socket's tag can be that.
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = poller};
    if (poller->epoll < 0 || poller->wake < 0 ||
        epoll_ctl(poller->epoll, EPOLL_CTL_ADD, poller->wake, &event) != 0) {
        Err err = linux_error("epoll", "");
        linux_poller_close(world, &poller);
        return err;
    }
    *out = poller;
    return OK;
}

void linux_poller_close(void *world, IoPoller **poller) {
    (void)world;
    if (!*poller) return;
    if ((*poller)->epoll >= 0) close((*poller)->epoll);
    if ((*poller)->wake >= 0) close((*poller)->wake);
    mem_free(*poller);
    *poller = NULL;
}

Err linux_poller_watch(void *world,
                       IoPoller *poller,
                       int socket,
                       bool read,
                       bool write,
                       void *tag) {
    (void)world;
    struct epoll_event event = {
        .events = (read ? EPOLLIN | EPOLLRDHUP : 0u) | (write ? EPOLLOUT : 0u),
        .data.ptr = tag,
    };
    if (epoll_ctl(poller->epoll, EPOLL_CTL_MOD, socket, &event) == 0) return OK;
    if (errno != ENOENT) return linux_error("epoll_ctl", "");
    if (epoll_ctl(poller->epoll, EPOLL_CTL_ADD, socket, &event) == 0) return OK;
    return linux_error("epoll_ctl", "");
}

void linux_poller_unwatch(void *world, IoPoller *poller, int socket) {
    (void)world;
    (void)epoll_ctl(poller->epoll, EPOLL_CTL_DEL, socket, NULL);  // not watched is fine too
}

// epoll_wait knows milliseconds only; where there is nothing better, rounding up keeps a caller
// from spinning until its time has come.
static int wait_events(IoPoller *poller, struct epoll_event *raw, int max, int64_t timeout_us) {
    if (poller->has_pwait2 && timeout_us > 0) {
        struct timespec wait = {timeout_us / 1000000, timeout_us % 1000000 * 1000};
        int count = epoll_pwait2(poller->epoll, raw, max, &wait, NULL);
        if (count >= 0 || errno != ENOSYS) return count;
        poller->has_pwait2 = false;
    }
    int64_t ms = timeout_us < 0 ? -1 : timeout_us / 1000 + (timeout_us % 1000 != 0);
    return epoll_wait(poller->epoll, raw, max, (int)MIN(ms, (int64_t)INT32_MAX));
}

Err linux_poller_poll(void *world,
                      IoPoller *poller,
                      int64_t timeout_us,
                      IoEvent *events,
                      int max,
                      int *count) {
    (void)world;
    struct epoll_event raw[EVENTS_MAX];
    int got = wait_events(poller, raw, MIN(max, (int)EVENTS_MAX), timeout_us);
    *count = 0;
    if (got < 0) return errno == EINTR ? OK : linux_error("epoll_wait", "");
    for (int i = 0; i < got; i++) {
        if (raw[i].data.ptr == poller) {
            uint64_t wakes;
            ssize_t drained = read(poller->wake, &wakes, sizeof wakes);
            (void)drained;  // only to make it unready; another thread may wake it again meanwhile
            continue;
        }
        uint32_t bits = raw[i].events;
        events[(*count)++] = (IoEvent){
            .tag = raw[i].data.ptr,
            .readable = bits & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR),
            .writable = bits & EPOLLOUT,
        };
    }
    return OK;
}

void linux_poller_wake(void *world, IoPoller *poller) {
    (void)world;
    uint64_t one = 1;
    ssize_t wrote = write(poller->wake, &one, sizeof one);
    (void)wrote;  // EAGAIN: the counter is full, so it is ready already
}
