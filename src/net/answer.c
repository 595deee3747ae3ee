// answer.c: HTTP answers, whole or in pieces, and the one that turns HTTP into a WebSocket.
//
// ALWAYS TRUE
//   (1) A request is answered once. Answering a connection that has ended, or again, does nothing.
//   (2) Every answer tells how long its body is: by Content-Length, by chunks, or, to HTTP/1.0, by
//       closing after it.
//   (3) Nothing here touches the socket or calls a handler.
#include "net/conn.h"

static Str request_path(const NetConn *conn) {
    return conn->work ? conn->work->request.path : STR_NONE;
}

static const char *loop_date(NetLoop *loop) {
    int64_t second = loop->io->clock_wall(loop->io->world) / 1000000;
    if (second != loop->date_second) {
        http_date(second * 1000000, loop->date);
        loop->date_second = second;
    }
    return loop->date;
}

static void head_line(Buf *out, Str name, Str value) {
    buf_put_str(out, name);
    buf_put_str(out, STR(": "));
    buf_put_str(out, value);
    buf_put_str(out, STR("\r\n"));
}

static bool path_has_cors(Str path) {
    return str_starts(path, STR("/v1/")) || str_eq(path, STR("/v1"));
}

// The status line and the headers that every answer has; the caller ends the head.
static void head_begin(NetConn *conn,
                       Buf *out,
                       int status,
                       const HttpHeader *headers,
                       uint32_t header_count) {
    buf_printf(out, "HTTP/1.1 %d %s\r\n", status, http_reason(status));
    head_line(out, STR("date"), str_from(loop_date(conn->loop)));
    for (uint32_t i = 0; i < header_count; i++)
        head_line(out, headers[i].name, headers[i].value);
    if (path_has_cors(request_path(conn))) {
        head_line(out, STR("access-control-allow-origin"), STR("*"));
        head_line(out,
                  STR("vary"),
                  STR("origin, access-control-request-method, access-control-request-headers"));
    }
}

static void head_connection(NetConn *conn, Buf *out, int status) {
    if (status == 426) {
        head_line(out, STR("connection"), STR("upgrade"));
        head_line(out, STR("upgrade"), STR("websocket"));
    } else if (!conn->keep_alive) {
        head_line(out, STR("connection"), STR("close"));
    } else if (conn->work && conn->work->parser.http_1_0) {
        head_line(out, STR("connection"), STR("keep-alive"));
    }
}

// Take ownership of *out's bytes as one frame and queue it.
static bool head_send(NetConn *conn, Buf *out, Bytes body) {
    NetFrame *frame = buf_ok(out) ? frame_new(out->len + body.len) : NULL;
    if (frame) {
        memcpy(frame->bytes, out->ptr, out->len);
        if (body.len) memcpy(frame->bytes + out->len, body.ptr, body.len);
    }
    buf_deinit(out);
    return out_push(conn, frame);
}

static bool is_head_request(const NetConn *conn) {
    return conn->work && str_eq(conn->work->request.method, STR("HEAD"));
}

static bool status_has_body(int status) {
    return status >= 200 && status != 204 && status != 304;
}

// The head of an answer whose body is so long.
static void head_write(NetConn *conn,
                       Buf *out,
                       int status,
                       const HttpHeader *headers,
                       uint32_t header_count,
                       Str content_type,
                       size_t body_len) {
    head_begin(conn, out, status, headers, header_count);
    head_connection(conn, out, status);
    if (content_type.len) head_line(out, STR("content-type"), content_type);
    if (status_has_body(status)) buf_printf(out, "content-length: %zu\r\n", body_len);  // (2)
    buf_put_str(out, STR("\r\n"));
}

void http_respond(NetConn *conn,
                  int status,
                  const HttpHeader *headers,
                  uint32_t header_count,
                  Str content_type,
                  Bytes body) {
    if (conn->state != CONN_ANSWERING) return;  // (1)
    Buf out = {0};
    head_write(conn, &out, status, headers, header_count, content_type, body.len);
    if (is_head_request(conn) || !status_has_body(status)) body = BYTES_NONE;
    if (head_send(conn, &out, body)) answer_finish(conn);
}

void http_respond_frame(NetConn *conn,
                        int status,
                        const HttpHeader *headers,
                        uint32_t header_count,
                        Str content_type,
                        NetFrame *body) {
    if (conn->state != CONN_ANSWERING) return;  // (1)
    Buf out = {0};
    bool bodyless = is_head_request(conn) || !status_has_body(status) || body->len == 0;
    head_write(conn, &out, status, headers, header_count, content_type, body->len);
    if (!head_send(conn, &out, BYTES_NONE)) return;
    if (!bodyless) {
        net_frame_retain(body);
        if (!out_push(conn, body)) return;
    }
    answer_finish(conn);
}

void http_respond_preflight(NetConn *conn) {
    static const HttpHeader headers[] = {
        {STR("access-control-allow-methods"), STR("*")},
        {STR("access-control-allow-headers"), STR("authorization,accept,content-type")},
    };
    http_respond(conn, 200, headers, ARRAY_LEN(headers), STR_NONE, BYTES_NONE);
}

void http_stream_begin(NetConn *conn,
                       int status,
                       const HttpHeader *headers,
                       uint32_t header_count,
                       Str content_type) {
    if (conn->state != CONN_ANSWERING) return;  // (1)
    conn->stream_chunked = !conn->work->parser.http_1_0;
    conn->stream_bodyless = is_head_request(conn) || !status_has_body(status);
    if (!conn->stream_chunked) conn->keep_alive = false;  // (2)
    Buf out = {0};
    head_begin(conn, &out, status, headers, header_count);
    head_connection(conn, &out, status);
    if (content_type.len) head_line(&out, STR("content-type"), content_type);
    if (conn->stream_chunked) head_line(&out, STR("transfer-encoding"), STR("chunked"));
    buf_put_str(&out, STR("\r\n"));
    if (!head_send(conn, &out, BYTES_NONE)) return;
    conn->state = CONN_STREAMING;
    conn_timer(conn);
    if (conn->peer_ended) conn_kill(conn, "closed");  // nobody is there to follow it
}

bool http_stream_send(NetConn *conn, Bytes chunk) {
    if (conn->state != CONN_STREAMING) return false;
    if (chunk.len == 0 || conn->stream_bodyless) return true;  // an empty chunk would be the last
    if (conn->out.bytes + chunk.len > conn->loop->limits.out_bytes_max && conn->out.count) {
        conn->loop->stats.slow_cut++;
        conn_kill(conn, "too slow");
        return false;
    }
    Buf head = {0};
    if (conn->stream_chunked) buf_printf(&head, "%zx\r\n", chunk.len);
    size_t tail = conn->stream_chunked ? 2 : 0;
    NetFrame *frame = buf_ok(&head) ? frame_new(head.len + chunk.len + tail) : NULL;
    if (frame) {
        if (head.len) memcpy(frame->bytes, head.ptr, head.len);
        memcpy(frame->bytes + head.len, chunk.ptr, chunk.len);
        memcpy(frame->bytes + head.len + chunk.len, "\r\n", tail);
    }
    buf_deinit(&head);
    return out_push(conn, frame);
}

void http_stream_break(NetConn *conn, const char *why) {
    if (conn->state == CONN_STREAMING) conn_kill(conn, why);
}

size_t net_conn_queued(const NetConn *conn) {
    return conn->out.bytes;
}

void http_stream_end(NetConn *conn) {
    if (conn->state != CONN_STREAMING) return;
    if (conn->stream_chunked && !conn->stream_bodyless) {
        NetFrame *last = frame_new(5);
        if (last) memcpy(last->bytes, "0\r\n\r\n", 5);
        if (!out_push(conn, last)) return;
    }
    answer_finish(conn);
}

Err ws_accept(NetConn *conn,
              Str protocol,
              const HttpHeader *headers,
              uint32_t header_count,
              int *status,
              Diag *diag) {
    *status = 503;
    if (conn->state != CONN_ANSWERING)
        return diag_fail(diag, ERR_CLOSED, "the connection is closed");
    const HttpRequest *request = &conn->work->request;
    Err err = ws_check_upgrade(request, status, diag);
    if (err != OK) return err;
    if (protocol.len == 0) return diag_fail(diag, ERR_INVALID, "no valid protocol selected");

    char accept[29];
    if (!ws_accept_key(http_header(request, STR("sec-websocket-key")), accept)) {
        *status = 503;
        return diag_fail(diag, ERR_NOMEM, "out of memory");
    }
    Buf out = {0};
    head_begin(conn, &out, 101, headers, header_count);
    head_line(&out, STR("connection"), STR("upgrade"));
    head_line(&out, STR("upgrade"), STR("websocket"));
    head_line(&out, STR("sec-websocket-accept"), str_from(accept));
    head_line(&out, STR("sec-websocket-protocol"), protocol);
    buf_put_str(&out, STR("\r\n"));
    // A failure from here on ends the connection, and closed() will say so.
    if (!head_send(conn, &out, BYTES_NONE)) return OK;
    conn->out.pinned = conn->out.count;
    conn->state = CONN_WS;
    conn->ws = (WsReader){.message_bytes_max = conn->loop->limits.message_bytes_max};
    conn->active_at = conn->loop->now;
    conn->ping_at = conn->active_at + conn->loop->limits.ping_interval;
    conn->pong_owed = true;
    if (!out_push(conn, frame_control(WS_PING, BYTES_NONE))) return OK;
    conn_ready(conn);  // the request's memory goes once its handler has returned
    conn_timer(conn);
    *status = 101;
    return OK;
}
