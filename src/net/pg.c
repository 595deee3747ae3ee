// pg.c: connections that speak PostgreSQL's protocol: messages out of a stream, and back-pressure.
//
// PICTURE
//   socket ─> conn->in ─> pg_message_len (wire/pg.h) ─> handler.message, one at a time
//   handler ─> net_send ─> conn->out ─> socket;   room() when little enough is left of it
//
// ALWAYS TRUE
//   (1) While the handler wants no message, at most READ_AHEAD bytes are read: enough to notice that the
//       peer is gone, and what it sent before it left is still handed up.
//   (2) Handlers are called from net_turn only (net.h): room() too, though it is a write that makes it.
//
// NOT HERE  what the messages mean (node/pg_*.c).
#include "wire/pg.h"
#include "net/conn.h"

#define READ_AHEAD ((size_t)NET_READ_BYTES)

void pg_open(NetConn *conn, NetTls *tls) {
    conn->pg_tls = tls;
    conn->state = CONN_PG;
    conn->tag.is_pg = true;
    conn->pg_bytes_max = PG_STARTUP_MAX;
    conn->deadline = conn->loop->now + conn->loop->limits.request_timeout;
}

bool net_conn_is_pg(const NetConn *conn) {
    return conn->tag.is_pg;
}

bool net_pg_may_encrypt(const NetConn *conn) {
    return conn->pg_tls && !conn->tls;
}

bool net_pg_is_encrypted(const NetConn *conn) {
    return conn->tls != NULL;
}

void net_pg_encrypt(NetConn *conn) {
    conn->pg_encrypt = true;
}

void net_pg_named(NetConn *conn, uint32_t message_bytes_max) {
    conn->pg_named = true;
    conn->pg_bytes_max = message_bytes_max;
}

void net_pg_welcome(NetConn *conn) {
    conn->deadline = INT64_MAX;
}

// ── reading ────────────────────────────────────────────────────────────────────────────────────

bool pg_wants_read(const NetConn *conn) {
    return !conn->paused || conn->in.len - conn->in_at < READ_AHEAD;
}

static void hand_up(NetConn *conn, Bytes message) {
    NetLoop *loop = conn->loop;
    loop->stats.messages_in++;
    bool more = loop->handler.message(loop->handler.ctx, conn, message, false);
    if (!more) conn->paused = conn->state == CONN_PG;
}

// Throw away what was handed up.
static void compact(NetConn *conn) {
    if (conn->in_at == 0) return;
    conn->in.len -= conn->in_at;
    memmove(conn->in.ptr, conn->in.ptr + conn->in_at, conn->in.len);
    conn->in_at = 0;
    if (conn->in.len == 0) buf_deinit(&conn->in);
}

void pg_run(NetConn *conn) {
    if (conn->wants_room && conn->out.bytes <= conn->room_bytes) {
        conn->wants_room = false;
        conn->loop->handler.room(conn->loop->handler.ctx, conn);  // (2)
    }
    while (conn->state == CONN_PG && !conn->paused && !conn->move_to) {
        Bytes rest = {conn->in.ptr + conn->in_at, conn->in.len - conn->in_at};
        bool malformed;
        size_t len = pg_message_len(rest, conn->pg_named, conn->pg_bytes_max, &malformed);
        if (malformed) {
            conn->in_at = conn->in.len;
            hand_up(conn, BYTES_NONE);
            break;
        }
        if (len == 0 || len > rest.len) break;
        conn->in_at += len;
        hand_up(conn, (Bytes){rest.ptr, len});
    }
    if (conn->state != CONN_PG || conn->move_to) return;
    compact(conn);
    if (conn->peer_ended && !conn->paused) conn_kill(conn, "closed");
}

void pg_readable(NetConn *conn) {
    if (!pg_wants_read(conn)) return;
    if (!buf_reserve(&conn->in, READ_AHEAD / 4)) {
        conn_kill(conn, "out of memory");
        return;
    }
    (void)read_append(conn);
    if (conn->state != CONN_PG) return;
    // (1): nobody is there any more, and nothing is left of what it said.
    if (conn->peer_ended && conn->in.len == conn->in_at)
        conn_kill(conn, "closed");
    else
        pg_run(conn);
}

// ── sending ────────────────────────────────────────────────────────────────────────────────────

bool net_send(NetConn *conn, NetFrame *frame) {
    if (conn->state != CONN_PG) return false;
    if (!frame) {
        conn_kill(conn, "out of memory");
        return false;
    }
    net_frame_retain(frame);
    conn->loop->stats.messages_out++;
    if (conn->out.count == 0) conn->active_at = conn->loop->now;
    if (!out_push(conn, frame)) return false;
    conn_timer(conn);
    return true;
}

void net_want_room(NetConn *conn, size_t bytes) {
    conn->wants_room = true;
    conn->room_bytes = bytes;
    if (conn->out.bytes <= bytes) conn_ready(conn);
}

static void encrypt(NetConn *conn) {
    conn->pg_encrypt = false;
    // What came in the clear behind the question was not said by whom we will be talking to.
    if (conn->in.len > conn->in_at)
        conn_kill(conn, "it did not wait for TLS");
    else if (tls_new(conn->pg_tls, &conn->tls) != OK)
        conn_kill(conn, "out of memory");
}

void pg_written(NetConn *conn) {
    if (conn->pg_encrypt && conn->out.count == 0) encrypt(conn);
    if (conn->state != CONN_PG) return;
    if (conn->wants_room && conn->out.bytes <= conn->room_bytes) conn_ready(conn);
}

void net_finish(NetConn *conn) {
    if (conn->state != CONN_PG) return;
    conn->lingers = true;
    conn->in_at = 0;
    conn->wants_room = conn->paused = false;
    drain_begin(conn);
    if (conn->state != CONN_DEAD) conn_ready(conn);
}

// ── time ───────────────────────────────────────────────────────────────────────────────────────

// Who was let in may be silent, but not leave us with what we have to say.
Micros pg_deadline(const NetConn *conn) {
    Micros idle = conn->active_at + conn->loop->limits.idle_timeout;
    return conn->out.count ? MIN(idle, conn->deadline) : conn->deadline;
}
