// conn.c: what one connection reads, state by state.
//
// PICTURE
//   HTTP   socket ─> conn->in ─> http_parse ─> handler.request      (in stays until the answer)
//   WS     socket ─> loop->scratch ─> ws_read_frame ─> handler.message, unmasked where it lies
//                        │ unfinished frame: copied to conn->in, and back before the next read
//                        └ a frame too large for that: read into conn->in until it is whole
//
// ALWAYS TRUE
//   (1) One read of at most NET_READ_BYTES a connection and turn, and no longer than its go (order.c).
//   (2) While a request is up, conn->in does not move: its handler holds pointers into it. What is
//       pipelined behind it is read only into room that is already there.
//   (3) After a call to a handler the connection may be dead, moving or paused: look again.
//
// CALLERS   loop.c
// START AT  net_test.c, "a session survives being split at every byte".
#include "net/conn.h"

#include <stdio.h>

#include "base/mem.h"

#define HTTP_ROOM_MIN   4096
#define HTTP_BODY_MAX   ((size_t)1 << 30)  // whatever a route asks for
#define DRAIN_BYTES_MAX ((uint64_t)256 << 20)
#define DRAIN_WAIT      ((Micros)5000000)
#define ANSWERS_MAX     ((size_t)1 << 20)  // bytes of answers waiting, then pipelining pauses
#define FRAMES_A_LOOK   16                 // handed up between two looks at the clock

NetConn *conn_new(NetLoop *loop, int socket, const char *peer) {
    NetConn *conn = MEM_NEW(NetConn);
    if (!conn) return NULL;
    conn->loop = loop;
    conn->socket = socket;
    conn->state = CONN_HTTP;
    conn->active_at = loop->now;
    snprintf(conn->peer, sizeof conn->peer, "%s", peer);
    link_init(&conn->in_all);
    link_init(&conn->in_ready);
    link_init(&conn->in_dirty);
    link_init(&conn->in_timer);
    return conn;
}

void conn_free(NetConn **conn) {
    if (!*conn) return;
    out_clear(&(*conn)->out, false);
    buf_deinit(&(*conn)->in);
    ws_reader_deinit(&(*conn)->ws);
    tls_free(&(*conn)->tls);
    mem_free((*conn)->work);
    mem_free(*conn);
    *conn = NULL;
}

bool conn_wants_read(const NetConn *conn) {
    if (conn->peer_ended || conn->has_moved) return false;
    switch ((ConnState)conn->state) {
    case CONN_HTTP: return conn->out.bytes <= ANSWERS_MAX;
    case CONN_DRAINING:
    case CONN_WS_CLOSING: return true;
    case CONN_ANSWERING:
    case CONN_STREAMING:
    case CONN_ANSWERED: return conn->in.len < conn->in.cap;  // (2)
    case CONN_WS: return !conn->paused;
    case CONN_PG: return pg_wants_read(conn);
    case CONN_DEAD: return false;
    }
    UNREACHABLE();
}

bool conn_has_unread(const NetConn *conn) {
    return conn->tls && tls_unread(conn->tls) && conn_wants_read(conn);
}

// Somebody typed http:// where TLS is spoken: they get an answer that they can read.
static void tls_refuse_plain(NetConn *conn) {
    if (conn->state == CONN_PG) {
        conn_kill(conn, "it asked for TLS and does not speak it");
        return;
    }
    tls_free(&conn->tls);
    conn_refuse(conn, 400, "This port speaks TLS: use https:// or wss://.\n");
}

// TLS, as conn_read. The handshake's answers leave with the next net_flush.
static Err tls_receive(NetConn *conn, void *into, size_t room, size_t *got) {
    NetLoop *loop = conn->loop;
    Tls *tls = conn->tls;
    Err err = tls_read(tls, loop->io, conn->socket, into, room, got);
    if (tls_is_plain(tls)) {
        tls_refuse_plain(conn);
        return ERR_AGAIN;
    }
    bool may_send = tls_is_open(tls) && conn->out.count;
    if (may_send || tls_unsent(tls)) conn_dirty(conn);
    return err;
}

// One read of the socket, of at most `room` bytes. ERR_AGAIN: nothing new. Nothing and OK: the peer
// has ended.
static Err conn_read(NetConn *conn, void *into, size_t room, size_t *got) {
    const Io *io = conn->loop->io;
    *got = 0;
    Err err = conn->tls ? tls_receive(conn, into, room, got)
                        : io->net_read(io->world, conn->socket, into, room, got);
    if (err == OK) conn->loop->stats.bytes_in += *got;
    return err;
}

static const char *read_failure(const NetConn *conn, Err err) {
    return conn->tls && err == ERR_INVALID ? tls_why(conn->tls) : "the peer is gone";
}

// HTTP: requests

static void request_view(NetConn *conn) {
    HttpWork *work = conn->work;
    http_request_view(&work->parser, conn->in.ptr, work->headers, &work->request);
}

void conn_refuse(NetConn *conn, int status, const char *why) {
    if (conn->work) request_view(conn);
    conn->keep_alive = false;
    conn->lingers = true;
    conn->state = CONN_ANSWERING;
    http_respond(conn, status, NULL, 0, STR("text/plain; charset=utf-8"), BYTES(why, strlen(why)));
}

static bool work_open(NetConn *conn) {
    if (conn->work) return true;
    conn->work = mem_alloc(sizeof *conn->work);
    if (!conn->work) return false;
    conn->work->request = (HttpRequest){0};
    http_parser_init(&conn->work->parser, conn->loop->limits.head_bytes_max);
    return true;
}

static void head_arrived(NetConn *conn) {
    NetLoop *loop = conn->loop;
    HttpParser *parser = &conn->work->parser;
    request_view(conn);
    size_t limit = 0;
    if (loop->handler.body_limit)
        limit = loop->handler.body_limit(loop->handler.ctx, &conn->work->request);
    parser->body_discard = limit == HTTP_BODY_DISCARD;
    parser->body_max = MIN(limit ? limit : loop->limits.body_bytes_max, HTTP_BODY_MAX);
    bool allowed =
        parser->is_chunked || parser->body_discard || parser->body_left <= parser->body_max;
    bool awaits = parser->is_chunked || parser->body_left > 0;
    if (!parser->expects_continue || !allowed || !awaits || conn->in.len > parser->scan) return;
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    NetFrame *frame = frame_new(sizeof text - 1);
    if (frame) memcpy(frame->bytes, text, sizeof text - 1);
    out_push(conn, frame);
}

static void request_arrived(NetConn *conn) {
    NetLoop *loop = conn->loop;
    HttpWork *work = conn->work;
    request_view(conn);
    conn->keep_alive = work->parser.keep_alive;
    conn->state = CONN_ANSWERING;
    conn_timer(conn);
    loop->handler.request(loop->handler.ctx, conn, &work->request);
}

// Parse what is in conn->in until a request is up, more is needed, or it is refused.
static void http_run(NetConn *conn) {
    if (conn->in.len == 0 || conn->out.bytes > ANSWERS_MAX) return;
    if (!work_open(conn)) {
        conn_kill(conn, "out of memory");
        return;
    }
    HttpParser *parser = &conn->work->parser;
    HttpStep step;
    while ((step = http_parse(parser, conn->in.ptr, &conn->in.len)) == HTTP_HEAD) {
        head_arrived(conn);
        if (conn->state == CONN_DEAD) return;
    }
    if (step == HTTP_WHOLE) request_arrived(conn);
    if (step == HTTP_REFUSED) conn_refuse(conn, parser->status, parser->why);
}

// The request before this was answered: forget it, keep what was pipelined behind it.
static void request_forget(NetConn *conn) {
    size_t used = conn->work ? conn->work->parser.scan : conn->in.len;
    mem_free(conn->work);
    conn->work = NULL;
    conn->in.len -= used;
    if (conn->in.len) {
        memmove(conn->in.ptr, conn->in.ptr + used, conn->in.len);
    } else {
        buf_deinit(&conn->in);
    }
}

void answer_finish(NetConn *conn) {
    conn->state = CONN_ANSWERED;
    conn_ready(conn);
}

// The last answer left: tell the peer that no other follows, so that it ends its side too.
void drain_answered(NetConn *conn) {
    const Io *io = conn->loop->io;
    if (conn->peer_ended || !conn->lingers) {
        conn_kill(conn, "closed");
    } else {
        io->net_finish(io->world, conn->socket);
    }
}

void drain_begin(NetConn *conn) {
    conn->state = CONN_DRAINING;
    conn->deadline = conn->loop->now + DRAIN_WAIT;
    mem_free(conn->work);
    conn->work = NULL;
    buf_deinit(&conn->in);
    conn_timer(conn);
    if (!conn->out.count) drain_answered(conn);
}

static void answered(NetConn *conn) {
    if (!conn->keep_alive || conn->peer_ended) {
        drain_begin(conn);
        return;
    }
    request_forget(conn);
    conn->state = CONN_HTTP;
    conn->active_at = conn->loop->now;
    conn->deadline = conn->active_at + conn->loop->limits.request_timeout;
    conn_timer(conn);
}

// HTTP: reading

static size_t http_room(const NetConn *conn) {
    uint64_t left = conn->work ? conn->work->parser.body_left : 0;
    return (size_t)MIN(MAX(left, (uint64_t)HTTP_ROOM_MIN), (uint64_t)NET_READ_BYTES);
}

// One read to the end of conn->in. False: nothing new.
bool read_append(NetConn *conn) {
    size_t got, room = MIN(conn->in.cap - conn->in.len, (size_t)NET_READ_BYTES);
    Err err = conn_read(conn, conn->in.ptr + conn->in.len, room, &got);
    if (err == ERR_AGAIN) return false;
    if (err != OK) {
        conn_kill(conn, read_failure(conn, err));
        return false;
    }
    if (got == 0) {
        conn->peer_ended = true;
        return false;
    }
    conn->active_at = conn->loop->now;
    conn->in.len += got;
    return true;
}

static void http_readable(NetConn *conn) {
    bool first = conn->in.len == 0;
    size_t room = http_room(conn);
    if (conn->in.cap - conn->in.len < room / 4 && !buf_reserve(&conn->in, room)) {
        conn_kill(conn, "out of memory");
        return;
    }
    if (!read_append(conn)) {
        if (conn->peer_ended) conn_kill(conn, first ? "closed" : "closed inside a request");
        if (conn->state == CONN_HTTP && conn->in.len == 0) buf_deinit(&conn->in);
        return;
    }
    if (first) {
        conn->deadline = conn->loop->now + conn->loop->limits.request_timeout;
        conn_timer(conn);
    }
    conn_run(conn);
}

// While an answer is being made we only want to know whether anybody waits for it.
static void answering_readable(NetConn *conn) {
    if (!conn_wants_read(conn)) return;
    read_append(conn);
    if (conn->peer_ended && conn->state == CONN_STREAMING) conn_kill(conn, "closed");
}

// Draining: an early answer must reach a client that is still sending, so its bytes are read and
// thrown away; closing on it at once would make its kernel discard the answer.
static void drain_readable(NetConn *conn) {
    size_t got;
    Err err = conn_read(conn, conn->loop->scratch, NET_READ_BYTES, &got);
    if (err == ERR_AGAIN) return;
    conn->drained_bytes += got;
    if (err != OK || conn->drained_bytes > DRAIN_BYTES_MAX) {
        conn_kill(conn, "closed");
    } else if (got == 0) {
        conn->peer_ended = true;
        if (!conn->out.count) conn_kill(conn, "closed");
    }
}

// WebSocket

static void ws_peer_closes(NetConn *conn, const WsEvent *event) {
    conn->close_seen = true;
    Bytes reason = BYTES_NONE;
    if (event->code) reason = BYTES(event->payload.ptr + 2, event->payload.len - 2);
    ws_close_begin(conn, event->code, reason, false);
    if (conn->close_sent) conn_kill(conn, conn->why ? conn->why : "closed");
}

// Close codes are sent where the socket could just be dropped: a developer wants to know why.
static void ws_fail(NetConn *conn, const WsEvent *event) {
    conn->ws_failed = true;
    conn->why = event->why;
    ws_close_begin(conn, event->code, BYTES(event->why, strlen(event->why)), false);
}

static void ws_pong(NetConn *conn, Bytes payload) {
    if (conn->out.messages < conn->loop->limits.out_messages_max) {
        out_push_urgent(conn, frame_control(WS_PONG, payload));
        return;
    }
    conn_cut_slow(conn);
}

static void ws_message(NetConn *conn, const WsEvent *event) {
    NetLoop *loop = conn->loop;
    loop->stats.messages_in++;
    bool more = loop->handler.message(loop->handler.ctx, conn, event->payload, event->text);
    if (!more) conn->paused = conn->state == CONN_WS;
}

static void ws_handle(NetConn *conn, WsStep step, const WsEvent *event) {
    bool open = conn->state == CONN_WS;  // else we have said goodbye and wait for the peer's
    switch (step) {
    case WS_STEP_MESSAGE:
        if (open) ws_message(conn, event);
        return;
    case WS_STEP_PING:
        if (open) ws_pong(conn, event->payload);
        return;
    case WS_STEP_PONG: conn->pong_owed = false; return;
    case WS_STEP_CLOSE: ws_peer_closes(conn, event); return;
    case WS_STEP_FAILED: ws_fail(conn, event); return;
    case WS_STEP_MORE:
    case WS_STEP_NOTHING: return;
    }
    UNREACHABLE();
}

static bool ws_listens(const NetConn *conn) {
    if (conn->paused || conn->ws_failed) return false;
    return conn->state == CONN_WS || conn->state == CONN_WS_CLOSING;
}

// Hand up what is whole in bytes[0, len), until its time is over; returns how much is done with.
static size_t ws_consume(NetConn *conn, uint8_t *bytes, size_t len) {
    size_t at = 0;
    conn->need = 0;
    conn->yields = false;
    for (uint32_t frames = 1; at < len && ws_listens(conn); frames++) {
        if (frames % FRAMES_A_LOOK == 0 && order_go_is_over(conn->loop)) {
            conn->yields = true;
            conn_ready(conn);
            break;
        }
        WsEvent event;
        size_t used;
        WsStep step = ws_read_frame(&conn->ws, bytes + at, len - at, &used, &event);
        if (step == WS_STEP_MORE) {
            conn->need = conn->ws.need;
            break;
        }
        at += used;
        ws_handle(conn, step, &event);
    }
    return conn->ws_failed ? len : at;
}

// Go on with what is in conn->in, in place.
static void ws_run(NetConn *conn) {
    if (conn->work) request_forget(conn);  // the upgrade's request
    if (conn->in.len == conn->in_at) return;
    conn->in_at += ws_consume(conn, conn->in.ptr + conn->in_at, conn->in.len - conn->in_at);
    if (conn->in_at < conn->in.len) return;
    buf_deinit(&conn->in);
    conn->in_at = 0;
}

// The frame at the front is too large for the scratch buffer: grow with what arrives (never with
// what was promised), and hand it up from there.
static void ws_read_large(NetConn *conn) {
    if (conn->in_at) {
        conn->in.len -= conn->in_at;
        memmove(conn->in.ptr, conn->in.ptr + conn->in_at, conn->in.len);
        conn->in_at = 0;
    }
    if (conn->in.len == conn->in.cap) {
        size_t missing = conn->need - conn->in.len;
        if (!buf_reserve(&conn->in, MIN(missing, MAX(conn->in.len, (size_t)NET_READ_BYTES)))) {
            conn_kill(conn, "out of memory");
            return;
        }
    }
    if (read_append(conn) && conn->in.len >= conn->need) ws_run(conn);
}

static void ws_read_scratch(NetConn *conn) {
    NetLoop *loop = conn->loop;
    uint8_t *scratch = loop->scratch;
    size_t carry = conn->in.len - conn->in_at;
    size_t got;
    Err err = conn_read(conn, scratch + carry, NET_READ_BYTES, &got);
    if (err == ERR_AGAIN) return;
    if (err != OK || got == 0) {
        conn->peer_ended = true;
        if (err != OK) conn_kill(conn, read_failure(conn, err));
        return;
    }
    conn->active_at = loop->now;
    if (carry) memcpy(scratch, conn->in.ptr + conn->in_at, carry);
    size_t used = ws_consume(conn, scratch, carry + got);
    if (conn->state == CONN_DEAD) return;
    buf_clear(&conn->in);
    conn->in_at = 0;
    size_t rest = carry + got - used;
    buf_put(&conn->in, scratch + used, rest);
    if (!buf_ok(&conn->in)) conn_kill(conn, "out of memory");
    if (!rest) buf_deinit(&conn->in);
}

static void ws_readable(NetConn *conn) {
    // Frames or the upgrade's request are still in conn->in: conn_run comes first.
    if (conn->paused || conn->yields || conn->work) return;
    if (conn->need > NET_READ_BYTES) {
        ws_read_large(conn);
    } else {
        ws_read_scratch(conn);
    }
    if (conn->peer_ended) conn_kill(conn, conn->why ? conn->why : "closed without a goodbye");
}

void conn_readable(NetConn *conn) {
    switch ((ConnState)conn->state) {
    case CONN_HTTP: http_readable(conn); break;
    case CONN_ANSWERING:
    case CONN_STREAMING:
    case CONN_ANSWERED: answering_readable(conn); break;
    case CONN_DRAINING: drain_readable(conn); break;
    case CONN_WS:
    case CONN_WS_CLOSING: ws_readable(conn); break;
    case CONN_PG: pg_readable(conn); break;
    case CONN_DEAD: return;
    }
    if (!conn->move_to) conn_watch(conn);
}

static void tell_moved(NetConn *conn) {
    NetLoop *loop = conn->loop;
    conn->has_moved = false;
    if (conn->state == CONN_PG)
        loop->handler.moved(loop->handler.ctx, conn);
    else
        loop->handler.request(loop->handler.ctx, conn, &conn->work->request);
}

void conn_run(NetConn *conn) {
    if (conn->has_moved) tell_moved(conn);
    // Requests that are answered at once are followed by the next that is buffered, while there is time:
    // it is ready as soon as it was answered (answer_finish).
    for (;;) {
        if (conn->move_to) return;  // (3)
        if (conn->state == CONN_ANSWERED) answered(conn);
        if (conn->state != CONN_HTTP) break;
        http_run(conn);
        if (conn->state != CONN_ANSWERED || order_go_is_over(conn->loop)) break;
    }
    if (conn->move_to) return;
    if (conn->state == CONN_WS || conn->state == CONN_WS_CLOSING) ws_run(conn);
    if (conn->state == CONN_PG) pg_run(conn);
    if (!conn->move_to) conn_watch(conn);
}

void net_request_again(NetConn *conn) {
    NetLoop *loop = conn->loop;
    if (conn->state == CONN_PG && !conn->move_to) {
        loop->handler.moved(loop->handler.ctx, conn);
        if (!conn->move_to) conn_run(conn);
        return;
    }
    if (conn->state != CONN_ANSWERING || conn->move_to) return;
    request_view(conn);
    loop->handler.request(loop->handler.ctx, conn, &conn->work->request);
    if (!conn->move_to) conn_run(conn);
}

void net_resume(NetConn *conn) {
    if (!conn->paused) return;
    conn->paused = false;
    conn->active_at = conn->loop->now;  // it was us who did not listen
    conn_ready(conn);
}

// Time

Micros conn_deadline(const NetConn *conn) {
    const NetLimits *limits = &conn->loop->limits;
    Micros idle = conn->active_at + limits->idle_timeout;
    switch ((ConnState)conn->state) {
    case CONN_HTTP: return conn->in.len ? MIN(conn->deadline, idle) : idle;
    case CONN_ANSWERING:
    case CONN_STREAMING:
    case CONN_ANSWERED: return conn->out.count ? idle : INT64_MAX;
    case CONN_DRAINING:
    case CONN_WS_CLOSING: return conn->deadline;
    case CONN_WS: return conn->paused ? conn->ping_at : MIN(idle, conn->ping_at);
    case CONN_PG: return pg_deadline(conn);
    case CONN_DEAD: return INT64_MAX;
    }
    UNREACHABLE();
}

static void ws_ping(NetConn *conn) {
    conn->ping_at += conn->loop->limits.ping_interval;
    if (conn->ping_at <= conn->loop->now)  // the loop was held up: no burst of pings
        conn->ping_at = conn->loop->now + conn->loop->limits.ping_interval;
    if (conn->pong_owed) return;
    conn->pong_owed = true;
    out_push_urgent(conn, frame_control(WS_PING, BYTES_NONE));
}

void conn_expire(NetConn *conn) {
    Micros now = conn->loop->now;
    if (conn_deadline(conn) > now) return;
    switch ((ConnState)conn->state) {
    case CONN_HTTP:
        if (conn->in.len) {
            conn_refuse(conn, 408, "the request took too long");
            conn_run(conn);
            return;
        }
        break;
    case CONN_WS:
        if (conn->paused || now < conn->active_at + conn->loop->limits.idle_timeout) {
            ws_ping(conn);
            return;
        }
        break;
    case CONN_ANSWERING:
    case CONN_STREAMING:
    case CONN_ANSWERED:
    case CONN_DRAINING:
    case CONN_PG:
    case CONN_WS_CLOSING: break;
    case CONN_DEAD: return;
    }
    if (conn->state != CONN_DRAINING && conn->state != CONN_WS_CLOSING)
        conn->loop->stats.idle_cut++;
    conn_kill(conn, conn->why ? conn->why : conn->state == CONN_DRAINING ? "closed" : "idle");
}

// Small doors of net.h

void *net_conn_data(const NetConn *conn) {
    return conn->data;
}
void net_conn_set_data(NetConn *conn, void *data) {
    conn->data = data;
}
const char *net_conn_peer(const NetConn *conn) {
    return conn->peer;
}
Str net_conn_address(const NetConn *conn) {
    Str peer = str_from(conn->peer);
    while (peer.len && peer.ptr[peer.len - 1] != ':')
        peer.len--;
    return peer;
}
NetLoop *net_conn_loop(const NetConn *conn) {
    return conn->loop;
}
