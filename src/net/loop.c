// loop.c: a turn.
//
// PICTURE
//   net_turn:   reap the dead ─> poll ─> inbox ─> ready list and events (order.c) ─> timers ─> hand-overs
//   (caller)    run what arrived, write the log, sync
//   net_flush:  one writev for each dirty connection
//
//   Timers are a wheel of NET_WHEEL_SLOTS lists, a slot each NET_TICK. Activity does not move a
//   connection in it: when its slot comes up, its real deadline is looked at, and it is put where
//   that is. So a busy connection costs a list operation every half minute and nothing a message.
//
// ALWAYS TRUE
//   (1) A connection's memory outlives the events of the turn in which it died: the poller may
//       still name it.
//   (2) A connection that moves is out of every list of this loop and out of its poller before
//       another thread can see it; it is pushed at the end of the turn, when nobody here has it
//       in hand any more.
//   (3) Nothing spins: what cannot be handled now is not watched.
//
// CALLERS   node/'s loops, bench/ideal.c, sim/ tests (a turn is a function)
#include "net/conn.h"

#include "base/mem.h"

#define ACCEPTS_MAX  64   // a listener and turn
#define REFUSED_MAX  256  // connections above the limit that are still told why
#define ACCEPT_PAUSE NET_TICK

int64_t loop_clock_ns(const NetLoop *loop) {
    return loop->io->clock_monotonic_ns(loop->io->world);
}

static int64_t clock_us(const NetLoop *loop) {
    return loop_clock_ns(loop) / 1000;
}

static void limits_default(NetLimits *limits) {
    if (!limits->head_bytes_max) limits->head_bytes_max = 64 * 1024;
    if (!limits->body_bytes_max) limits->body_bytes_max = 2 * 1024 * 1024;
    if (!limits->message_bytes_max) limits->message_bytes_max = 32 * 1024 * 1024;
    if (!limits->out_messages_max) limits->out_messages_max = 16384;
    if (!limits->out_bytes_max) limits->out_bytes_max = 64 * 1024 * 1024;
    if (!limits->connections_max) limits->connections_max = 20000;
    if (!limits->ping_interval) limits->ping_interval = 15000000;
    if (!limits->idle_timeout) limits->idle_timeout = 30000000;
    if (!limits->close_timeout) limits->close_timeout = 250000;
    if (!limits->request_timeout) limits->request_timeout = 30000000;
}

Err net_open(const Io *io, const NetLimits *limits, const NetHandler *handler, NetLoop **out) {
    NetLoop *loop = MEM_NEW(NetLoop);
    if (!loop) return ERR_NOMEM;
    loop->io = io;
    if (limits) loop->limits = *limits;
    limits_default(&loop->limits);
    loop->handler = *handler;
    loop->date_second = -1;
    link_init(&loop->all);
    link_init(&loop->ready);
    link_init(&loop->dirty);
    link_init(&loop->urgent);
    link_init(&loop->dead);
    link_init(&loop->moving);
    for (size_t i = 0; i < NET_WHEEL_SLOTS; i++)
        link_init(&loop->wheel[i]);
    io->random_bytes(io->world, &loop->address_salt, sizeof loop->address_salt);
    loop->now = clock_us(loop);
    loop->tick = loop->now / NET_TICK;
    Err err = io->net_poller_open(io->world, &loop->poller);
    if (err != OK) {
        mem_free(loop);
        return err;
    }
    *out = loop;
    return OK;
}

// Connections

void conn_ready(NetConn *conn) {
    if (link_is_alone(&conn->in_ready)) link_append(&conn->loop->ready, &conn->in_ready);
}

void net_conn_set_prompt(NetConn *conn, bool prompt) {
    if (conn->is_prompt == prompt) return;
    conn->is_prompt = prompt;
    if (link_is_alone(&conn->in_dirty)) return;
    link_take_out(&conn->in_dirty);
    conn_dirty(conn);
}

void net_set_hasty(NetLoop *loop, bool hasty) {
    loop->is_hasty = hasty;
}

void conn_timer(NetConn *conn) {
    NetLoop *loop = conn->loop;
    Micros deadline = conn_deadline(conn);
    if (deadline == INT64_MAX || conn->move_to) return;
    int64_t tick = deadline / NET_TICK + 1;
    tick = MAX(tick, loop->tick);
    tick = MIN(tick, loop->tick + NET_WHEEL_SLOTS - 1);
    if (!link_is_alone(&conn->in_timer)) {
        if (conn->timer_tick <= tick) return;  // early is fine: it will be looked at and put back
        link_take_out(&conn->in_timer);
    }
    conn->timer_tick = tick;
    link_append(&loop->wheel[tick & (NET_WHEEL_SLOTS - 1)], &conn->in_timer);
}

void conn_watch(NetConn *conn) {
    if (conn->state == CONN_DEAD) return;
    if (conn_has_unread(conn)) conn_ready(conn);
    const Io *io = conn->loop->io;
    bool read = conn_wants_read(conn), write = conn->out_stuck;
    bool same = read == conn->watch_read && write == conn->watch_write;
    if (same && conn->is_watched == (read || write)) return;
    conn->watch_read = read;
    conn->watch_write = write;
    if (!read && !write) {
        io->net_unwatch(io->world, conn->loop->poller, conn->socket);
        conn->is_watched = false;
        return;
    }
    Err err = io->net_watch(io->world, conn->loop->poller, conn->socket, read, write, conn);
    conn->is_watched = err == OK;
    if (err != OK) conn_kill(conn, "the socket cannot be watched");
}

static void conn_unlink(NetConn *conn) {
    NetLoop *loop = conn->loop;
    link_take_out(&conn->in_all);
    link_take_out(&conn->in_ready);
    link_take_out(&conn->in_dirty);
    link_take_out(&conn->in_timer);
    if (conn->is_watched) loop->io->net_unwatch(loop->io->world, loop->poller, conn->socket);
    conn->is_watched = false;
}

void conn_kill(NetConn *conn, const char *why) {
    if (conn->state == CONN_DEAD) return;
    NetLoop *loop = conn->loop;
    conn_unlink(conn);
    if (conn->tls) tls_goodbye(conn->tls, loop->io, conn->socket);
    conn->state = CONN_DEAD;
    conn->why = why;
    conn->move_to = NULL;
    loop->io->net_close(loop->io->world, conn->socket);
    loop->conn_count--;
    link_append(&loop->dead, &conn->in_all);
}

static void reap(NetLoop *loop) {
    while (!link_is_alone(&loop->dead)) {
        NetConn *conn = CONTAINER_OF(loop->dead.next, NetConn, in_all);
        link_take_out(&conn->in_all);
        if (loop->handler.closed) loop->handler.closed(loop->handler.ctx, conn, conn->why);
        conn_free(&conn);
    }
}

// Listening

static Err listen_for(NetLoop *loop,
                      bool pg,
                      const char *host,
                      uint16_t port,
                      NetTls *tls,
                      uint16_t *bound,
                      Diag *diag) {
    const Io *io = loop->io;
    if (loop->listener_count == NET_LISTENERS_MAX)
        return diag_fail(diag, ERR_LIMIT, "at most %d listeners", NET_LISTENERS_MAX);
    NetListener *listener = &loop->listeners[loop->listener_count];
    *listener = (NetListener){.tag = {.is_listener = true, .is_pg = pg}, .tls = tls};
    uint16_t got = port;
    Err err = io->net_listen(io->world, host, &got, &listener->socket);
    if (err != OK)
        return diag_fail(diag, err, "cannot listen on %s:%u: %s", host, port, io_last_error_text());
    err = io->net_watch(io->world, loop->poller, listener->socket, true, false, listener);
    if (err != OK) {
        io->net_close(io->world, listener->socket);
        return diag_fail(diag, err, "cannot watch %s:%u", host, got);
    }
    listener->is_watched = true;
    loop->listener_count++;
    if (bound) *bound = got;
    return OK;
}

Err net_listen(NetLoop *loop,
               const char *host,
               uint16_t port,
               NetTls *tls,
               uint16_t *bound,
               Diag *diag) {
    return listen_for(loop, false, host, port, tls, bound, diag);
}

Err net_listen_pg(NetLoop *loop,
                  const char *host,
                  uint16_t port,
                  NetTls *tls,
                  uint16_t *bound,
                  Diag *diag) {
    return listen_for(loop, true, host, port, tls, bound, diag);
}

void net_stop_listening(NetLoop *loop) {
    const Io *io = loop->io;
    for (uint32_t i = 0; i < loop->listener_count; i++) {
        NetListener *listener = &loop->listeners[i];
        if (listener->is_watched) io->net_unwatch(io->world, loop->poller, listener->socket);
        io->net_close(io->world, listener->socket);
    }
    loop->listener_count = 0;
    loop->accept_again_at = 0;
}

// Out of sockets or memory: the backlog stays readable, so stop looking at it for a while (3).
static void accept_pause(NetLoop *loop, NetListener *listener) {
    loop->io->net_unwatch(loop->io->world, loop->poller, listener->socket);
    listener->is_watched = false;
    loop->accept_again_at = loop->now + ACCEPT_PAUSE;
}

static void accept_resume(NetLoop *loop) {
    const Io *io = loop->io;
    if (!loop->accept_again_at || loop->now < loop->accept_again_at) return;
    loop->accept_again_at = 0;
    for (uint32_t i = 0; i < loop->listener_count; i++) {
        NetListener *listener = &loop->listeners[i];
        if (listener->is_watched) continue;
        Err err = io->net_watch(io->world, loop->poller, listener->socket, true, false, listener);
        listener->is_watched = err == OK;
        if (err != OK) loop->accept_again_at = loop->now + ACCEPT_PAUSE;
    }
}

static void conn_adopt(NetLoop *loop, NetConn *conn) {
    link_append(&loop->all, &conn->in_all);
    loop->conn_count++;
    conn->adopted_ns = conn->tag.went_ns = loop->now * 1000;
    order_address(conn);
    conn_timer(conn);
    conn_watch(conn);
}

static void accept_one(NetLoop *loop, const NetListener *from, int socket, const char *peer) {
    bool pg = from->tag.is_pg;
    NetTls *tls = from->tls;
    uint32_t max = loop->limits.connections_max;
    NetConn *conn = loop->conn_count < max + REFUSED_MAX ? conn_new(loop, socket, peer) : NULL;
    if (conn && tls && !pg && tls_new(tls, &conn->tls) != OK) conn_free(&conn);
    if (!conn) {
        loop->stats.refused++;
        loop->io->net_close(loop->io->world, socket);
        return;
    }
    if (pg) pg_open(conn, tls);
    conn_adopt(loop, conn);
    if (loop->conn_count <= max) {
        loop->stats.accepted++;
        return;
    }
    loop->stats.refused++;
    if (pg) {
        conn_kill(conn, "too many connections");
        return;
    }
    conn_refuse(conn, 503, "too many connections");
}

void accept_some(NetLoop *loop, NetListener *listener) {
    const Io *io = loop->io;
    for (int i = 0; i < ACCEPTS_MAX && !(i && order_go_is_over(loop)); i++) {
        int socket;
        char peer[sizeof((NetConn *)0)->peer] = "";
        Err err = io->net_accept(io->world, listener->socket, &socket, peer, sizeof peer);
        if (err == ERR_AGAIN) return;
        if (err != OK) {
            accept_pause(loop, listener);
            return;
        }
        accept_one(loop, listener, socket, peer);
    }
}

// Moving

Err net_move(NetConn *conn, NetLoop *to) {
    if ((conn->state != CONN_ANSWERING && conn->state != CONN_PG) || conn->move_to)
        return ERR_INVALID;
    conn_unlink(conn);
    conn->move_to = to;
    link_append(&conn->loop->moving, &conn->in_all);
    return OK;
}

static void moving_hand_over(NetLoop *loop) {
    while (!link_is_alone(&loop->moving)) {
        NetConn *conn = CONTAINER_OF(loop->moving.next, NetConn, in_all);
        NetLoop *to = conn->move_to;
        link_take_out(&conn->in_all);
        conn->move_to = NULL;
        conn->loop = NULL;
        loop->conn_count--;
        NetConn *head = atomic_load_explicit(&to->inbox, memory_order_relaxed);
        do
            conn->inbox_next = head;
        while (!atomic_compare_exchange_weak_explicit(&to->inbox,
                                                      &head,
                                                      conn,
                                                      memory_order_release,
                                                      memory_order_relaxed));
        net_wake(to);
    }
}

// Take the whole stack, oldest first.
static NetConn *inbox_take(NetLoop *loop) {
    NetConn *stack = atomic_exchange_explicit(&loop->inbox, NULL, memory_order_acquire);
    NetConn *queue = NULL;
    while (stack) {
        NetConn *next = stack->inbox_next;
        stack->inbox_next = queue;
        queue = stack;
        stack = next;
    }
    return queue;
}

static void moved_in(NetLoop *loop, NetConn *conn) {
    conn->loop = loop;
    conn->active_at = loop->now;
    conn->watch_read = conn->watch_write = conn->out_stuck = false;
    conn->has_moved = true;
    conn_adopt(loop, conn);
    if (conn->state == CONN_DEAD) return;
    if (conn->out.count) conn_dirty(conn);
    conn_ready(conn);
}

static void inbox_run(NetLoop *loop) {
    NetConn *conn = inbox_take(loop);
    while (conn) {
        NetConn *next = conn->inbox_next;
        conn->inbox_next = NULL;
        moved_in(loop, conn);
        conn = next;
    }
}

// A turn

static void timers_run(NetLoop *loop) {
    int64_t due = loop->now / NET_TICK;
    // After a long sleep one round over the wheel sees everybody.
    if (due - loop->tick >= NET_WHEEL_SLOTS) loop->tick = due - NET_WHEEL_SLOTS + 1;
    for (; loop->tick <= due; loop->tick++) {
        NetLink fired;
        link_init(&fired);
        link_splice(&fired, &loop->wheel[loop->tick & (NET_WHEEL_SLOTS - 1)]);
        while (!link_is_alone(&fired)) {
            NetConn *conn = CONTAINER_OF(fired.next, NetConn, in_timer);
            link_take_out(&conn->in_timer);
            conn->timer_tick = loop->tick;
            conn_expire(conn);
            if (conn->state != CONN_DEAD) conn_timer(conn);
        }
    }
    accept_resume(loop);
}

void event_run(const IoEvent *event) {
    NetConn *conn = event->tag;
    if (conn->state == CONN_DEAD || conn->move_to) return;
    if (event->writable && conn->out_stuck) {
        // Only noted: what is queued may wait for the log's sync, so net_flush writes it.
        conn->out_stuck = false;
        conn_dirty(conn);
    }
    if (event->readable) conn_readable(conn);
}

static bool has_unwritten(const NetLoop *loop) {
    return !link_is_alone(&loop->dirty) || !link_is_alone(&loop->urgent);
}

static int64_t wait_bound(const NetLoop *loop, int64_t timeout_us) {
    if (!link_is_alone(&loop->ready) || has_unwritten(loop) || atomic_load(&loop->inbox)) return 0;
    if (loop->conn_count == 0 && !loop->accept_again_at) return timeout_us;
    int64_t next = MAX(loop->tick * NET_TICK - clock_us(loop), (int64_t)0);
    return timeout_us < 0 ? next : MIN(timeout_us, next);
}

Err net_turn(NetLoop *loop, int64_t timeout_us) {
    reap(loop);
    moving_hand_over(loop);  // of what was moved between turns
    int count = 0;
    Err err = loop->io->net_poll(loop->io->world,
                                 loop->poller,
                                 wait_bound(loop, timeout_us),
                                 loop->events,
                                 NET_EVENTS_MAX,
                                 &count);
    if (err != OK) return err;
    loop->now = clock_us(loop);
    inbox_run(loop);
    order_run(loop, count);
    timers_run(loop);  // after reading, so that being held up ourselves makes nobody look idle
    moving_hand_over(loop);
    reap(loop);
    return OK;
}

void net_wake(NetLoop *loop) {
    loop->io->net_wake(loop->io->world, loop->poller);
}

void net_close(NetLoop **loop_ptr) {
    NetLoop *loop = *loop_ptr;
    if (!loop) return;
    *loop_ptr = NULL;
    net_stop_listening(loop);
    for (NetConn *conn = inbox_take(loop), *next; conn; conn = next) {
        next = conn->inbox_next;
        conn->loop = loop;
        loop->conn_count++;
        link_append(&loop->all, &conn->in_all);
    }
    link_splice(&loop->all, &loop->moving);
    while (!link_is_alone(&loop->all))
        conn_kill(CONTAINER_OF(loop->all.next, NetConn, in_all), "the server is stopping");
    reap(loop);
    loop->io->net_poller_close(loop->io->world, &loop->poller);
    mem_free(loop);
}

NetStats net_stats(const NetLoop *loop) {
    NetStats stats = loop->stats;
    stats.connections = loop->conn_count;
    return stats;
}
