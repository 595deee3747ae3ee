// sender.c: a turn's answers leave on another thread while the loop runs the next turn.
//
// PICTURE
//   loop      … turn k ─ net_flush_beside ─ turn k+1 ……………………… sender_collect: what left is forgotten
//   thread                 └─ a write for each connection ─ SENT ─ wake ─┘
//
// Why: where clients pipeline, the kernel's work for a turn's writes takes as long as running a tenth or
// a fifth of its calls, and it needs nothing that belongs to the loop. Handing it over costs one wake-up,
// for all of them.
//
// ALWAYS TRUE
//   (1) Of a connection that is `sending`, the frames that were handed over stay at the front of its
//       queue, whole, until they are collected: they are pinned. What is queued behind them waits.
//   (2) Its socket is neither written nor closed by the loop meanwhile: conn_kill waits for the thread,
//       which never waits for a peer.
//   (3) The thread looks at sockets and bytes only, never at a connection, a queue or a reference count.
//
// CALLERS   loop.c, out.c
// NOT HERE  TLS, HTTP and PostgreSQL's protocol: they leave as ever.
#include <pthread.h>
#include <signal.h>

#include "base/mem.h"
#include "net/conn.h"

#define SEND_ITEMS_MAX 256
#define SEND_LEAST     8  // with fewer the loop has written them before a thread is awake

typedef struct SendItem {
    NetConn *conn;  // the loop's
    int socket, part_count;
    struct iovec parts[SEND_PARTS_MAX];
    size_t bytes, wrote;
    Err err;
} SendItem;

// To SENDING and IDLE by the loop, to SENT by the thread.
typedef enum SendState { SEND_IDLE, SEND_SENDING, SEND_SENT } SendState;

struct Sender {
    NetLoop *loop;  // the thread only wakes it
    _Atomic SendState state;
    bool closing;
    pthread_t thread;
    pthread_mutex_t mutex;  // taken to sleep and to wake up
    pthread_cond_t changed;
    uint32_t count;
    SendItem items[SEND_ITEMS_MAX];
};

static SendState state_of(Sender *s) {
    return atomic_load_explicit(&s->state, memory_order_acquire);
}

// Whoever sleeps looks at the state under the mutex, so that the change cannot fall between its look
// and its sleep.
static void state_set(Sender *s, SendState state) {
    pthread_mutex_lock(&s->mutex);
    atomic_store_explicit(&s->state, state, memory_order_release);
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->mutex);
}

// ── the thread ─────────────────────────────────────────────────────────────────────────────────

static void item_send(const Io *io, SendItem *item) {
    item->err = io->net_write(io->world, item->socket, item->parts, item->part_count, &item->wrote);
    if (item->err != OK) item->wrote = 0;
}

static bool wait_for_work(Sender *s) {
    pthread_mutex_lock(&s->mutex);
    while (state_of(s) != SEND_SENDING && !s->closing)
        pthread_cond_wait(&s->changed, &s->mutex);
    bool work = state_of(s) == SEND_SENDING;
    pthread_mutex_unlock(&s->mutex);
    return work;
}

static void *sender_main(void *arg) {
    Sender *s = arg;
    while (wait_for_work(s)) {
        for (uint32_t i = 0; i < s->count; i++)
            item_send(s->loop->io, &s->items[i]);
        state_set(s, SEND_SENT);
        net_wake(s->loop);
    }
    return NULL;
}

// Signals are for the threads that expect them.
static bool thread_start(Sender *s) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    bool started = pthread_create(&s->thread, NULL, sender_main, s) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

// Made when it is first wanted. NULL: it cannot be had.
static Sender *sender_of(NetLoop *loop) {
    if (loop->sender || !loop->limits.sends_beside) return loop->sender;
    Sender *s = MEM_NEW(Sender);
    if (!s) return NULL;
    s->loop = loop;
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->changed, NULL);
    if (!thread_start(s)) {
        loop->limits.sends_beside = false;
        pthread_mutex_destroy(&s->mutex);
        pthread_cond_destroy(&s->changed);
        mem_free(s);
        return NULL;
    }
    return loop->sender = s;
}

void sender_free(Sender **handle) {
    Sender *s = *handle;
    if (!s) return;
    *handle = NULL;
    pthread_mutex_lock(&s->mutex);
    s->closing = true;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->mutex);
    pthread_join(s->thread, NULL);
    pthread_mutex_destroy(&s->mutex);
    pthread_cond_destroy(&s->changed);
    mem_free(s);
}

// ── the loop ───────────────────────────────────────────────────────────────────────────────────

void sender_collect(NetLoop *loop) {
    Sender *s = loop->sender;
    if (LIKELY(!s || state_of(s) != SEND_SENT)) return;
    atomic_store_explicit(&s->state, SEND_IDLE, memory_order_relaxed);
    for (uint32_t i = 0; i < s->count; i++) {
        const SendItem *item = &s->items[i];
        item->conn->sending = false;
        out_sent(item->conn, item->err, item->wrote, item->wrote < item->bytes);
    }
}

void sender_wait(NetLoop *loop) {
    Sender *s = loop->sender;
    if (!s) return;
    pthread_mutex_lock(&s->mutex);
    while (state_of(s) == SEND_SENDING)
        pthread_cond_wait(&s->changed, &s->mutex);
    pthread_mutex_unlock(&s->mutex);
    sender_collect(loop);
}

static bool may_hand_over(const NetConn *conn) {
    return conn->state == CONN_WS && !conn->tls && !conn->out_stuck && !conn->sending &&
           conn->out.count;
}

static bool are_enough(const NetLoop *loop) {
    uint32_t count = 0;
    for (const NetLink *at = loop->dirty.next; at != &loop->dirty && count < SEND_LEAST;
         at = at->next)
        count += may_hand_over(CONTAINER_OF(at, NetConn, in_dirty));
    return count == SEND_LEAST;
}

static void hand_over(Sender *s, NetConn *conn) {
    SendItem *item = &s->items[s->count++];
    link_take_out(&conn->in_dirty);
    item->conn = conn;
    item->socket = conn->socket;
    item->part_count = out_parts(&conn->out, item->parts, SEND_PARTS_MAX);
    item->bytes = item->wrote = 0;
    for (int i = 0; i < item->part_count; i++)
        item->bytes += item->parts[i].iov_len;
    conn->out.pinned = MAX(conn->out.pinned, (uint32_t)item->part_count);  // (1)
    conn->sending = true;
}

void net_flush_beside(NetLoop *loop) {
    sender_collect(loop);
    Sender *s = are_enough(loop) ? sender_of(loop) : NULL;
    if (s && state_of(s) == SEND_IDLE) {
        s->count = 0;
        for (NetLink *at = loop->dirty.next, *next; at != &loop->dirty; at = next) {
            NetConn *conn = CONTAINER_OF(at, NetConn, in_dirty);
            next = at->next;
            if (s->count < SEND_ITEMS_MAX && may_hand_over(conn)) hand_over(s, conn);
        }
        loop->stats.sent_beside += s->count;
        state_set(s, SEND_SENDING);
    }
    net_flush(loop);  // what cannot leave like that
}
