// out.c: what a connection sends.
//
// PICTURE
//   ws_send(conn, frame) ─> conn->out: [frame*|frame*|frame*]   frames are shared, queues are not
//   net_flush ─> for every dirty connection: one writev of its queue
//                     all gone: clean          the socket is full: wait for it to be writable
//                     a bite is gone: so do we wait; others have their turn before the next one
//
// ALWAYS TRUE
//   (1) out.bytes is the sum of the queued frames' lengths minus sent_bytes, out.messages that of their messages.
//   (2) A queue is bounded by limits.out_messages_max and out_bytes_max. Who exceeds them does not
//       read: a WebSocket loses what is queued and gets a Close 1008, an HTTP answer is cut off.
//   (3) A frame that has begun to leave is finished, whatever overtakes or discards the others.
//
// CALLERS   node/ through net.h; conn.c and answer.c through conn.h
// NOT HERE  when to flush: that is the caller's, after the log's sync.
#include <limits.h>

#include "base/mem.h"
#include "net/conn.h"

#define COPY_BLOCK_BYTES 4096
#define WRITE_PARTS_MAX  1024  // IOV_MAX on Linux
// Of one connection in a turn. A socket whose reader keeps up takes tens of megabytes in one write, ten
// milliseconds in which nobody else is answered. Not much less either: each write wakes the reader, who may want
// this core.
#define WRITE_BITE_BYTES ((size_t)256 * 1024)
#define CLOSE_FLUSH_WAIT ((Micros)2000000)  // for what is queued before a Close frame to leave

NetFrame *frame_new(size_t bytes) {
    if (bytes > UINT32_MAX) return NULL;
    size_t size = sizeof(NetFrame) + bytes;
    NetFrame *frame = size < MEM_LARGE ? mem_alloc(size) : mem_large_alloc(size);
    if (!frame) return NULL;
    *frame = (NetFrame){.refs = 1, .len = (uint32_t)bytes, .cap = (uint32_t)bytes, .messages = 1};
    return frame;
}

void net_frame_retain(NetFrame *frame) {
    frame->refs++;
}

void net_frame_release(NetFrame **frame) {
    NetFrame *gone = *frame;
    *frame = NULL;
    if (!gone || --gone->refs) return;
    if (gone->bury) {
        gone->bury(gone->bury_ctx, gone);
    } else {
        net_frame_free(gone);
    }
}

void net_frame_free(NetFrame *frame) {
    ASSERT(frame->refs == 0);
    size_t size = sizeof(NetFrame) + frame->cap;
    if (size < MEM_LARGE)
        mem_free(frame);
    else
        mem_large_free(frame, size);
}

static size_t parts_bytes(const Bytes *parts, int count) {
    size_t bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += parts[i].len;
    return bytes;
}

static void parts_append(NetFrame *frame, const Bytes *parts, int count) {
    uint8_t *into = frame->bytes + frame->len;
    for (int i = 0; i < count; i++) {
        bytes_copy(into, parts[i].ptr, parts[i].len);
        into += parts[i].len;
    }
    frame->len = (uint32_t)(into - frame->bytes);
}

static NetFrame *frame_made(WsOpcode opcode, bool ends, const Bytes *parts, int count) {
    size_t payload = parts_bytes(parts, count);
    uint8_t head[WS_HEAD_MAX];
    size_t head_bytes = ws_head_write(head, opcode, payload);
    if (!ends) head[0] &= (uint8_t)~WS_FINAL;
    NetFrame *frame = frame_new(head_bytes + payload);
    if (!frame) return NULL;
    memcpy(frame->bytes, head, head_bytes);
    frame->len = (uint32_t)head_bytes;
    parts_append(frame, parts, count);
    return frame;
}

NetFrame *net_frame_ws_room(size_t payload_bytes, uint32_t messages) {
    NetFrame *frame = frame_new(payload_bytes + (size_t)messages * WS_HEAD_MAX);
    if (!frame) return NULL;
    frame->len = 0;
    frame->messages = 0;
    return frame;
}

void net_frame_ws_add(NetFrame *frame, bool is_text, const Bytes *parts, int count) {
    size_t payload = parts_bytes(parts, count);
    DEBUG_ASSERT(frame->len + WS_HEAD_MAX + payload <= frame->cap);
    WsOpcode opcode = is_text ? WS_TEXT : WS_BINARY;
    frame->len += (uint32_t)ws_head_write(frame->bytes + frame->len, opcode, payload);
    frame->messages++;
    parts_append(frame, parts, count);
}

static NetFrame *frame_parts(WsOpcode opcode, const Bytes *parts, int count) {
    return frame_made(opcode, true, parts, count);
}

NetFrame *net_frame_ws_piece(Bytes payload, NetPiece which) {
    WsOpcode opcode = which == NET_FIRST_BINARY ? WS_BINARY
                      : which == NET_FIRST_TEXT ? WS_TEXT
                                                : WS_CONTINUATION;
    return frame_made(opcode, which == NET_LAST, &payload, 1);
}

NetFrame *net_frame_ws_parts(const Bytes *parts, int count) {
    return frame_parts(WS_BINARY, parts, count);
}

NetFrame *net_frame_ws_binary(Bytes payload) {
    return frame_parts(WS_BINARY, &payload, 1);
}

NetFrame *net_frame_ws_text(Bytes payload) {
    return frame_parts(WS_TEXT, &payload, 1);
}

NetFrame *net_frame_raw(Bytes bytes) {
    NetFrame *frame = frame_new(bytes.len);
    if (frame && bytes.len) memcpy(frame->bytes, bytes.ptr, bytes.len);
    return frame;
}

NetFrame *frame_control(WsOpcode opcode, Bytes payload) {
    return frame_parts(opcode, &payload, 1);
}

static NetFrame **out_slot(OutQueue *out, uint32_t i) {
    return &out->frames[(out->head + i) & (out->cap - 1)];
}

static bool out_grow(OutQueue *out) {
    uint32_t cap = out->cap ? out->cap * 2 : 8;
    NetFrame **frames = mem_alloc(cap * sizeof *frames);
    if (!frames) return false;
    for (uint32_t i = 0; i < out->count; i++)
        frames[i] = *out_slot(out, i);
    mem_free(out->frames);
    out->frames = frames;
    out->cap = cap;
    out->head = 0;
    return true;
}

static bool out_insert(NetConn *conn, uint32_t place, NetFrame *frame) {
    OutQueue *out = &conn->out;
    if (!frame || (out->count == out->cap && !out_grow(out))) {
        net_frame_release(&frame);
        conn_kill(conn, "out of memory");
        return false;
    }
    for (uint32_t i = out->count; i > place; i--)
        *out_slot(out, i) = *out_slot(out, i - 1);
    *out_slot(out, place) = frame;
    if (place == out->count) out->room = 0;  // a block of copies ends where another frame follows
    out->count++;
    out->messages += frame->messages;
    out->bytes += frame->len;
    conn_dirty(conn);
    return true;
}

bool out_push(NetConn *conn, NetFrame *frame) {
    return out_insert(conn, conn->out.count, frame);
}

bool out_push_urgent(NetConn *conn, NetFrame *frame) {
    OutQueue *out = &conn->out;
    return out_insert(conn, MAX(out->pinned, out->sent_bytes ? 1u : 0u), frame);  // (3)
}

// Forget the first frame, which has been sent or is not wanted.
static void out_pop(OutQueue *out) {
    NetFrame **slot = out_slot(out, 0);
    out->bytes -= (*slot)->len - out->sent_bytes;
    out->messages -= (*slot)->messages;
    out->sent_bytes = 0;
    net_frame_release(slot);
    out->head = (out->head + 1) & (out->cap - 1);
    out->count--;
    if (out->pinned) out->pinned--;
    if (out->count == 0) out->room = 0;
}

void out_clear(OutQueue *out, bool keep_begun) {
    out->room = 0;
    uint32_t keep = keep_begun ? MAX(out->pinned, out->sent_bytes ? 1u : 0u) : 0;
    while (out->count > keep) {
        if (out->count == 1) {
            out_pop(out);
            continue;
        }
        NetFrame **last = out_slot(out, out->count - 1);
        out->bytes -= (*last)->len;
        out->messages -= (*last)->messages;
        net_frame_release(last);
        out->count--;
    }
    if (out->count) return;
    out->pinned = 0;
    mem_free(out->frames);
    out->frames = NULL;
    out->cap = out->head = 0;
}

void net_conn_limit(NetConn *conn, size_t out_messages_max, size_t out_bytes_max) {
    conn->out_messages_max = out_messages_max;
    conn->out_bytes_max = out_bytes_max;
}

static bool out_is_over(const NetConn *conn, size_t more, uint32_t messages) {
    const NetLimits *limits = &conn->loop->limits;
    size_t messages_max =
        conn->out_messages_max ? conn->out_messages_max : limits->out_messages_max;
    size_t bytes_max = conn->out_bytes_max ? conn->out_bytes_max : limits->out_bytes_max;
    const OutQueue *out = &conn->out;
    if (out->messages + (size_t)messages > messages_max) return true;
    if (messages > 1) return out->bytes + more > bytes_max;
    // The last message may exceed the bytes: a queue that is empty takes one of any size, and one that
    // is larger than the limit itself joins those that are within it.
    size_t then = more > bytes_max ? out->bytes : out->bytes + more;
    return out->count && then > bytes_max;
}

size_t net_conn_queued_bytes(const NetConn *conn) {
    return conn->out.bytes;
}

// WebSocket messages

bool net_conn_was_slow(const NetConn *conn) {
    return conn->was_slow;
}

bool conn_cut_slow(NetConn *conn) {
    conn->loop->stats.slow_cut++;
    conn->was_slow = true;
    ws_close_begin(conn, WS_CODE_POLICY, BYTES("too slow", 8), true);  // (2)
    conn->why = "too slow";
    return false;
}

bool ws_send(NetConn *conn, NetFrame *frame) {
    if (UNLIKELY(conn->state == CONN_WS && !frame)) {
        conn_kill(conn, "out of memory");
        return false;
    }
    return ws_send_piece(conn, frame, frame ? frame->len : 0);
}

bool ws_send_piece(NetConn *conn, NetFrame *frame, size_t first_of_bytes) {
    if (UNLIKELY(conn->state != CONN_WS)) return false;
    if (first_of_bytes) {
        if (UNLIKELY(out_is_over(conn, first_of_bytes, frame->messages)))
            return conn_cut_slow(conn);
        conn->loop->stats.messages_out += frame->messages;
    }
    net_frame_retain(frame);
    return out_push(conn, frame);
}

// A block of copies is the queue's last frame and nobody else's, so it may grow where it stands,
// even after a part of it has left.
bool ws_send_copy(NetConn *conn, Bytes payload) {
    if (UNLIKELY(conn->state != CONN_WS)) return false;
    OutQueue *out = &conn->out;
    size_t need = payload.len + WS_HEAD_MAX;
    if (UNLIKELY(out_is_over(conn, need, 1))) return conn_cut_slow(conn);
    if (out->room < need) {
        size_t block = MAX((size_t)COPY_BLOCK_BYTES, need);
        NetFrame *frame = frame_new(block);
        if (frame) frame->len = 0;
        if (!out_push(conn, frame)) return false;
        out->room = (uint32_t)block;
    }
    NetFrame *last = *out_slot(out, out->count - 1);
    size_t head = ws_head_write(last->bytes + last->len, WS_BINARY, payload.len);
    if (payload.len) memcpy(last->bytes + last->len + head, payload.ptr, payload.len);
    uint32_t wrote = (uint32_t)(head + payload.len);
    last->len += wrote;
    out->room -= wrote;
    out->bytes += wrote;
    conn->loop->stats.messages_out++;
    conn_dirty(conn);
    return true;
}

void ws_close_begin(NetConn *conn, uint16_t code, Bytes reason, bool discard_queue) {
    if (conn->state != CONN_WS) return;
    uint8_t payload[WS_CONTROL_MAX];
    size_t len = 0;
    if (code) {
        payload[0] = (uint8_t)(code >> 8);
        payload[1] = (uint8_t)code;
        reason.len = utf8_cut(bytes_str(reason), WS_REASON_MAX);
        if (reason.len) memcpy(payload + 2, reason.ptr, reason.len);
        len = 2 + reason.len;
    }
    if (discard_queue) out_clear(&conn->out, true);
    conn->state = CONN_WS_CLOSING;
    conn->paused = false;
    // Two waits: for the Close to leave (a bounded while), then for its answer (close_timeout).
    conn->deadline = conn->loop->now + CLOSE_FLUSH_WAIT;
    if (!out_push(conn, frame_control(WS_CLOSE, BYTES(payload, len)))) return;
    conn_ready(conn);  // input that is buffered must be thrown away, and reading go on
    conn_timer(conn);
}

void ws_close(NetConn *conn, uint16_t code, Str reason) {
    ws_close_begin(conn, code, str_bytes(reason), false);
}

// Writing

// At most so many bytes.
static int parts_fill(OutQueue *out, size_t bytes, struct iovec *parts) {
    int most = (int)MIN(out->count, (uint32_t)WRITE_PARTS_MAX), count = 0;
    for (; count < most && bytes; count++) {
        NetFrame *frame = *out_slot(out, (uint32_t)count);
        uint32_t skip = count == 0 ? out->sent_bytes : 0;
        parts[count] = (struct iovec){frame->bytes + skip, MIN(frame->len - skip, bytes)};
        bytes -= parts[count].iov_len;
    }
    return count;
}

static void out_advance(OutQueue *out, size_t wrote) {
    while (wrote) {
        NetFrame *first = *out_slot(out, 0);
        size_t left = first->len - out->sent_bytes;
        if (wrote < left) {
            out->sent_bytes += (uint32_t)wrote;
            out->bytes -= wrote;
            return;
        }
        wrote -= left;
        out_pop(out);
    }
}

// All that was queued has left.
static void write_done(NetConn *conn) {
    out_clear(&conn->out, false);  // an idle connection owns no ring
    if (conn->state == CONN_WS_CLOSING && !conn->close_sent) {
        conn->close_sent = true;
        if (conn->close_seen) {  // both said goodbye
            conn_kill(conn, conn->why ? conn->why : "closed");
            return;
        }
        conn->deadline = conn->loop->now + conn->loop->limits.close_timeout;
        conn_timer(conn);
    }
    if (conn->state == CONN_DRAINING) drain_answered(conn);
    // Requests that waited for their predecessors' answers to leave.
    if (conn->state == CONN_HTTP && conn->in.len) conn_ready(conn);
}

static bool has_unsent(const NetConn *conn) {
    return conn->out.count || (conn->tls && tls_unsent(conn->tls));
}

// One write, of what is left of a bite. ERR_AGAIN: the socket takes no more, or TLS is not ready for it.
static Err write_some(NetConn *conn, size_t *bite) {
    const Io *io = conn->loop->io;
    struct iovec parts[WRITE_PARTS_MAX];
    int count = parts_fill(&conn->out, *bite, parts);
    size_t wrote = 0;
    Err err = conn->tls ? tls_write(conn->tls, io, conn->socket, parts, count, &wrote)
                        : io->net_write(io->world, conn->socket, parts, count, &wrote);
    if (err != OK) return err;
    if (count && wrote == 0) return ERR_AGAIN;
    *bite -= wrote;
    conn->loop->stats.bytes_out += wrote;
    if (conn->state != CONN_WS) conn->active_at = conn->loop->now;
    out_advance(&conn->out, wrote);
    if (conn->state == CONN_PG) pg_written(conn);
    return OK;
}

void conn_write(NetConn *conn) {
    Err err = OK;
    size_t bite = WRITE_BITE_BYTES;
    while (err == OK && bite && has_unsent(conn))
        err = write_some(conn, &bite);
    if (err != OK && err != ERR_AGAIN) {
        conn_kill(conn, "the peer is gone");
        return;
    }
    // In a handshake it is the peer's turn, not the socket's. One that would take more is writable at once.
    bool socket_full = err == ERR_AGAIN && (!conn->tls || tls_unsent(conn->tls));
    conn->out_stuck = socket_full || (err == OK && has_unsent(conn));
    if (!has_unsent(conn)) write_done(conn);
    conn_watch(conn);
}

static void write_one(NetLink *first) {
    NetConn *conn = CONTAINER_OF(first, NetConn, in_dirty);
    link_take_out(&conn->in_dirty);
    // One whose socket is full is heard of by its writable event, not by trying again.
    if (!conn->out_stuck) conn_write(conn);
}

// Those that are left when the time is over stay before what came meanwhile.
static void write_all(NetLoop *loop, NetLink *dirty, int64_t span_ns) {
    NetLink writing;  // a write may end connections, and so take others off the list
    link_init(&writing);
    link_splice(&writing, dirty);
    int64_t end_ns = span_ns ? loop_clock_ns(loop) + span_ns : INT64_MAX;
    while (!link_is_alone(&writing)) {
        write_one(writing.next);
        if (span_ns && loop_clock_ns(loop) >= end_ns) break;
    }
    link_splice(&writing, dirty);
    link_splice(dirty, &writing);
}

void net_flush(NetLoop *loop) {
    write_all(loop, &loop->urgent, 0);
    write_all(loop, &loop->dirty, order_is_hasty(loop) ? NET_HASTY_NS : 0);
}
