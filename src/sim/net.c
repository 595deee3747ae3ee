// net.c: stream sockets in memory. A connection is two sockets that name each other; bytes written
// to one wait in the other's inbox.
#include <stdio.h>
#include <stdlib.h>

#include "sim/internal.h"

// High enough that a real file descriptor never passes for one of ours.
enum { FIRST_SOCKET = 1000000, FIRST_FREE_PORT = 49152, NO_PEER = -1 };

typedef enum SocketKind { SOCKET_FREE, SOCKET_LISTENER, SOCKET_STREAM } SocketKind;

typedef struct Socket {
    SocketKind kind;
    uint16_t port;
    int peer;          // NO_PEER once it has closed
    bool cut;          // the connection broke
    bool finished;     // it will write no more
    uint8_t *inbox;    // of a stream
    size_t inbox_len;  // unread bytes
    int *waiting;      // of a listener: connections not yet accepted
    size_t waiting_count;
} Socket;

typedef struct Watch {
    int socket;
    bool read;
    bool write;
    void *tag;
} Watch;

struct IoPoller {
    Watch *list;
    size_t count;
};

struct SimNet {
    Socket *sockets;
    size_t count;
    size_t capacity;
    bool partial;
    uint16_t next_port;
};

static SimNet *net_of(void *world) {
    return ((Sim *)world)->net;
}

static Socket *socket_get(SimNet *net, int name) {
    ASSERT(name >= FIRST_SOCKET && (size_t)(name - FIRST_SOCKET) < net->count);
    Socket *found = &net->sockets[name - FIRST_SOCKET];
    ASSERT(found->kind != SOCKET_FREE);  // used after net_close
    return found;
}

// Names are never used again, so that a stale one is noticed.
static int socket_new(SimNet *net, SocketKind kind, uint16_t port) {
    net->sockets = sim_grow(net->sockets, (net->count + 1) * sizeof *net->sockets);
    net->sockets[net->count] = (Socket){.kind = kind, .port = port, .peer = NO_PEER};
    return FIRST_SOCKET + (int)net->count++;
}

static Socket *listener_find(SimNet *net, uint16_t port) {
    for (size_t i = 0; i < net->count; i++) {
        Socket *at = &net->sockets[i];
        if (at->kind == SOCKET_LISTENER && at->port == port) return at;
    }
    return NULL;
}

static Err net_listen(void *world, const char *host, uint16_t *port, int *out) {
    (void)host;
    SimNet *net = net_of(world);
    if (*port == 0) *port = net->next_port++;
    if (listener_find(net, *port)) return ERR_BUSY;
    *out = socket_new(net, SOCKET_LISTENER, *port);
    return OK;
}

Err sim_net_connect(Sim *sim, uint16_t port, int *out) {
    SimNet *net = sim->net;
    if (!listener_find(net, port)) return ERR_NOT_FOUND;
    int near = socket_new(net, SOCKET_STREAM, net->next_port++);
    int far = socket_new(net, SOCKET_STREAM, port);
    socket_get(net, near)->peer = far;
    socket_get(net, far)->peer = near;
    Socket *listener = listener_find(net, port);  // socket_new may have moved it
    listener->waiting = sim_grow(listener->waiting, (listener->waiting_count + 1) * sizeof(int));
    listener->waiting[listener->waiting_count++] = far;
    *out = near;
    return OK;
}

void sim_net_set_capacity(Sim *sim, size_t bytes) {
    sim->net->capacity = bytes;
}

void sim_net_set_partial(Sim *sim, bool partial) {
    sim->net->partial = partial;
}

void sim_net_cut(Sim *sim, int name) {
    Socket *near = socket_get(sim->net, name);
    if (near->peer != NO_PEER) {
        Socket *far = socket_get(sim->net, near->peer);
        far->cut = true;
        far->inbox_len = 0;
    }
    near->cut = true;
    near->inbox_len = 0;
}

static Err net_accept(void *world, int name, int *out, char *peer, size_t peer_size) {
    SimNet *net = net_of(world);
    Socket *listener = socket_get(net, name);
    ASSERT(listener->kind == SOCKET_LISTENER);
    if (listener->waiting_count == 0) return ERR_AGAIN;
    *out = listener->waiting[0];
    listener->waiting_count--;
    memmove(listener->waiting,
            listener->waiting + 1,
            listener->waiting_count * sizeof *listener->waiting);
    Socket *accepted = socket_get(net, *out);
    if (peer) {
        uint16_t port = accepted->peer == NO_PEER ? 0 : socket_get(net, accepted->peer)->port;
        snprintf(peer, peer_size, "127.0.0.1:%u", port);
    }
    return OK;
}

// All of `most`, or a part that is not nothing.
static size_t part_of(Sim *sim, size_t most) {
    return sim->net->partial && most > 0 ? 1 + sim_random(sim) % most : most;
}

// Will nothing more come?
static bool at_end(const SimNet *net, const Socket *near) {
    return near->peer == NO_PEER || net->sockets[near->peer - FIRST_SOCKET].finished;
}

static Err net_read(void *world, int name, void *into, size_t len, size_t *got) {
    Socket *near = socket_get(net_of(world), name);
    ASSERT(near->kind == SOCKET_STREAM);
    if (near->cut) return ERR_CLOSED;
    if (near->inbox_len == 0 && !at_end(net_of(world), near)) return ERR_AGAIN;
    *got = part_of(world, MIN(len, near->inbox_len));
    if (*got == 0) return OK;
    memcpy(into, near->inbox, *got);
    near->inbox_len -= *got;
    memmove(near->inbox, near->inbox + *got, near->inbox_len);
    return OK;
}

static size_t room_in(const SimNet *net, const Socket *far) {
    return net->capacity - MIN(net->capacity, far->inbox_len);
}

static Err net_write(void *world, int name, const struct iovec *parts, int count, size_t *wrote) {
    SimNet *net = net_of(world);
    Socket *near = socket_get(net, name);
    ASSERT(near->kind == SOCKET_STREAM);
    if (near->cut || near->finished || near->peer == NO_PEER) return ERR_CLOSED;
    Socket *far = socket_get(net, near->peer);
    size_t total = 0;
    for (int i = 0; i < count; i++) {
        total += parts[i].iov_len;
    }
    size_t room = room_in(net, far);
    if (room == 0 && total > 0) return ERR_AGAIN;
    *wrote = part_of(world, MIN(total, room));
    far->inbox = sim_grow(far->inbox, far->inbox_len + *wrote);
    size_t left = *wrote;
    for (int i = 0; left > 0; i++) {
        size_t n = MIN(left, parts[i].iov_len);
        if (n) memcpy(far->inbox + far->inbox_len, parts[i].iov_base, n);
        far->inbox_len += n;
        left -= n;
    }
    return OK;
}

static void stream_close(SimNet *net, Socket *near) {
    if (near->peer != NO_PEER) socket_get(net, near->peer)->peer = NO_PEER;
    free(near->inbox);
    near->inbox = NULL;
    near->kind = SOCKET_FREE;
}

static void net_finish(void *world, int name) {
    socket_get(net_of(world), name)->finished = true;
}

static void net_close(void *world, int name) {
    SimNet *net = net_of(world);
    Socket *near = socket_get(net, name);
    if (near->kind == SOCKET_LISTENER) {
        for (size_t i = 0; i < near->waiting_count; i++) {
            stream_close(net, socket_get(net, near->waiting[i]));
        }
        free(near->waiting);
        near->waiting = NULL;
        near->kind = SOCKET_FREE;
        return;
    }
    stream_close(net, near);
}

static Err poller_open(void *world, IoPoller **out) {
    (void)world;
    *out = sim_alloc(sizeof **out);
    return OK;
}

static void poller_close(void *world, IoPoller **poller) {
    (void)world;
    if (!*poller) return;
    free((*poller)->list);
    free(*poller);
    *poller = NULL;
}

static Err poller_watch(void *world, IoPoller *poller, int name, bool read, bool write, void *tag) {
    (void)socket_get(net_of(world), name);
    Watch watch = {name, read, write, tag};
    for (size_t i = 0; i < poller->count; i++) {
        if (poller->list[i].socket != name) continue;
        poller->list[i] = watch;
        return OK;
    }
    poller->list = sim_grow(poller->list, (poller->count + 1) * sizeof watch);
    poller->list[poller->count++] = watch;
    return OK;
}

static void poller_unwatch(void *world, IoPoller *poller, int name) {
    (void)world;
    for (size_t i = 0; i < poller->count; i++) {
        if (poller->list[i].socket != name) continue;
        poller->list[i] = poller->list[--poller->count];
        return;
    }
}

static IoEvent event_of(SimNet *net, const Watch *watch) {
    Socket *at = &net->sockets[watch->socket - FIRST_SOCKET];
    IoEvent event = {.tag = watch->tag};
    if (at->kind == SOCKET_LISTENER) event.readable = watch->read && at->waiting_count > 0;
    if (at->kind != SOCKET_STREAM) return event;  // closed: the system forgets it too
    bool gone = at->cut || at->peer == NO_PEER;
    event.readable = at->cut || (watch->read && (gone || at->inbox_len > 0 || at_end(net, at)));
    event.writable = watch->write && (gone || room_in(net, socket_get(net, at->peer)) > 0);
    return event;
}

// Starts at a random watch, so that nobody comes to rely on an order.
static Err poller_poll(void *world,
                       IoPoller *poller,
                       int64_t timeout_us,
                       IoEvent *events,
                       int max,
                       int *count) {
    (void)timeout_us;
    *count = 0;
    size_t start = poller->count ? sim_random(world) % poller->count : 0;
    for (size_t i = 0; i < poller->count && *count < max; i++) {
        IoEvent event = event_of(net_of(world), &poller->list[(start + i) % poller->count]);
        if (event.readable || event.writable) events[(*count)++] = event;
    }
    return OK;
}

// Nothing waits in net_poll, so there is nothing to wake.
static void poller_wake(void *world, IoPoller *poller) {
    (void)world;
    (void)poller;
}

SimNet *sim_net_new(void) {
    SimNet *net = sim_alloc(sizeof *net);
    net->capacity = 65536;
    net->next_port = FIRST_FREE_PORT;
    return net;
}

void sim_net_free(SimNet *net) {
    for (size_t i = 0; i < net->count; i++) {
        free(net->sockets[i].inbox);
        free(net->sockets[i].waiting);
    }
    free(net->sockets);
    free(net);
}

void sim_net_fill_io(Io *io) {
    io->net_listen = net_listen;
    io->net_accept = net_accept;
    io->net_read = net_read;
    io->net_write = net_write;
    io->net_finish = net_finish;
    io->net_close = net_close;
    io->net_poller_open = poller_open;
    io->net_poller_close = poller_close;
    io->net_watch = poller_watch;
    io->net_unwatch = poller_unwatch;
    io->net_poll = poller_poll;
    io->net_wake = poller_wake;
}
