// app_testing.h: for tests only: a loop of net/ over the simulated network with a small application on it, and the
// test as its peers. The application routes by path and remembers what it saw. Wants _GNU_SOURCE, for memmem.
#pragma once
#include <string.h>

#include "base/mem.h"
#include "base/test.h"
#include "net/conn.h"
#include "sim/sim.h"

#define SECOND ((Micros)1000000)

typedef struct App {
    const Io *io;
    Sim *sim;
    NetLoop *loop;
    uint16_t port;
    int requests, messages, closes;
    size_t message_bytes;
    bool pause;        // message() returns false
    bool echo;         // messages come back
    NetConn *waiting;  // of /later, /stream, and the newest WebSocket
    NetLoop *move_to;
    char last[256];
    char why[64];
    int64_t cost_ns;  // of a message or request, by hand_clock
    char order[128];  // messages of one letter, as they came
} App;

// A clock that goes on when a test says so, over the simulated network.
static int64_t hand_ns;
static inline int64_t hand_clock(void *world) {
    (void)world;
    return hand_ns;
}

static inline size_t app_body_limit(void *ctx, const HttpRequest *head) {
    (void)ctx;
    if (str_eq(head->path, STR("/big"))) return 1 << 20;
    if (str_eq(head->path, STR("/nowhere"))) return HTTP_BODY_DISCARD;
    return 0;
}

static inline void app_echo(NetConn *conn, const HttpRequest *request) {
    Buf body = {0};
    buf_printf(&body,
               STR_FMT " " STR_FMT "?" STR_FMT " ",
               STR_ARG(request->method),
               STR_ARG(request->path),
               STR_ARG(request->query));
    buf_put_bytes(&body, request->body);
    http_respond(conn, 200, NULL, 0, STR("text/plain"), buf_bytes(&body));
    buf_deinit(&body);
}

static inline void app_upgrade(NetConn *conn) {
    int status;
    Diag diag;
    if (ws_accept(conn, STR("v2.test"), NULL, 0, &status, &diag) == OK) return;
    http_respond(conn, status, NULL, 0, STR("text/plain"), str_bytes(str_from(diag.text)));
}

static inline void app_request(void *ctx, NetConn *conn, const HttpRequest *request) {
    App *app = ctx;
    app->requests++;
    hand_ns += app->cost_ns;
    snprintf(app->last, sizeof app->last, STR_FMT, STR_ARG(request->path));
    if (app->move_to) {
        NetLoop *to = app->move_to;
        app->move_to = NULL;
        EXPECT_OK(net_move(conn, to));
    } else if (str_eq(request->path, STR("/ws"))) {
        app->waiting = conn;
        app_upgrade(conn);
    } else if (str_eq(request->path, STR("/later"))) {
        app->waiting = conn;
    } else if (str_eq(request->path, STR("/stream"))) {
        app->waiting = conn;
        http_stream_begin(conn, 200, NULL, 0, STR("application/x-ndjson"));
        http_stream_send(conn, BYTES("line 1\n", 7));
    } else if (str_eq(request->path, STR("/nowhere"))) {
        http_respond(conn, 404, NULL, 0, STR_NONE, BYTES_NONE);
    } else if (str_eq(request->method, STR("OPTIONS"))) {
        http_respond_preflight(conn);
    } else if (str_eq(request->path, STR("/v1/odd"))) {
        HttpHeader header = {STR("spacetime-energy-used"), STR("0")};
        http_respond(conn, 530, &header, 1, STR("application/json"), BYTES("{}", 2));
    } else {
        app_echo(conn, request);
    }
}

static inline bool app_message(void *ctx, NetConn *conn, Bytes payload, bool text) {
    App *app = ctx;
    (void)text;
    app->messages++;
    app->message_bytes += payload.len;
    hand_ns += payload.len == 1 && payload.ptr[0] == 'D' ? 100 * app->cost_ns : app->cost_ns;
    size_t said = strlen(app->order);
    if (payload.len == 1 && said + 1 < sizeof app->order) app->order[said] = (char)payload.ptr[0];
    snprintf(app->last, sizeof app->last, STR_FMT, STR_ARG(bytes_str(payload)));
    if (app->echo) {
        NetFrame *frame = net_frame_ws_binary(payload);
        ws_send(conn, frame);
        net_frame_release(&frame);
    }
    return !app->pause;
}

static inline void app_closed(void *ctx, NetConn *conn, const char *why) {
    App *app = ctx;
    app->closes++;
    snprintf(app->why, sizeof app->why, "%s", why);
    if (app->waiting == conn) app->waiting = NULL;
}

// From here on time is what requests and messages take: so much each, and a hundred times that of a message "D".
static inline void by_hand(App *app, Io *io, int64_t cost_ns) {
    *io = *app->io;
    io->clock_monotonic_ns = hand_clock;
    hand_ns = app->loop->now * 1000 + SECOND * 1000;
    app->loop->io = io;
    app->cost_ns = cost_ns;
}

static inline NetHandler app_handler(App *app) {
    return (NetHandler){.ctx = app,
                        .body_limit = app_body_limit,
                        .request = app_request,
                        .message = app_message,
                        .closed = app_closed};
}

static inline void app_open(App *app, const NetLimits *limits) {
    *app = (App){0};
    EXPECT_OK(sim_new(7, &app->sim));
    app->io = sim_io(app->sim);
    NetHandler handler = app_handler(app);
    EXPECT_OK(net_open(app->io, limits, &handler, &app->loop));
    EXPECT_OK(net_listen(app->loop, "127.0.0.1", 0, NULL, &app->port, NULL));
}

static inline void app_close(App *app) {
    net_close(&app->loop);
    sim_free(&app->sim);
}

static inline void turn(App *app) {
    EXPECT_OK(net_turn(app->loop, 0));
    net_flush(app->loop);
}

static inline void turns(App *app, int count) {
    while (count--)
        turn(app);
}

static inline void pass(App *app, Micros span) {
    for (Micros step = SECOND / 20; span > 0; span -= step) {
        sim_clock_advance(app->sim, step);
        turn(app);
    }
}

// The peer.

static inline int dial(App *app) {
    int socket;
    EXPECT_OK(sim_net_connect(app->sim, app->port, &socket));
    return socket;
}

static inline size_t put_some(App *app, int socket, Bytes bytes) {
    struct iovec part = {(void *)(uintptr_t)bytes.ptr, bytes.len};
    size_t wrote = 0;
    Err err = app->io->net_write(app->io->world, socket, &part, 1, &wrote);
    return err == OK ? wrote : 0;
}

static inline void put_all(App *app, int socket, Bytes bytes) {
    for (int tries = 0; bytes.len && tries < 100000; tries++) {
        size_t wrote = put_some(app, socket, bytes);
        bytes = BYTES(bytes.ptr + wrote, bytes.len - wrote);
        if (bytes.len) turn(app);
    }
    EXPECT_EQ(bytes.len, 0);
}

static inline void put(App *app, int socket, const char *text) {
    put_all(app, socket, BYTES(text, strlen(text)));
}

// Read what is there; true: the connection has ended.
static inline bool get_some(App *app, int socket, Buf *into) {
    uint8_t bytes[4096];
    for (;;) {
        size_t got = 0;
        Err err = app->io->net_read(app->io->world, socket, bytes, sizeof bytes, &got);
        if (err == ERR_AGAIN) return false;
        if (err != OK || got == 0) return true;
        buf_put(into, bytes, got);
    }
}

static inline bool has(const Buf *buf, const char *text) {
    return buf->len && memmem(buf->ptr, buf->len, text, strlen(text)) != NULL;
}

static inline void expect_has(const Buf *buf, const char *text) {
    if (!has(buf, text)) print_error("no %s in:\n%.*s\n", text, (int)buf->len, (char *)buf->ptr);
    EXPECT(has(buf, text));
}

static inline void hang_up(App *app, int socket) {
    app->io->net_close(app->io->world, socket);
}

// Ask, and expect all of `texts` in what comes within a few turns.
static inline void expect_answer(App *app, const char *request, const char *text) {
    int socket = dial(app);
    Buf got = {0};
    put(app, socket, request);
    turns(app, 4);
    get_some(app, socket, &got);
    expect_has(&got, text);
    buf_deinit(&got);
    hang_up(app, socket);
    turns(app, 2);
}

static inline void put_frame(Buf *out, uint8_t first, Bytes payload) {
    uint8_t mask[4] = {9, 8, 7, 6};
    uint8_t head[WS_HEAD_MAX];
    size_t len = ws_head_write(head, WS_BINARY, payload.len);
    head[0] = first;
    head[1] |= 0x80;
    buf_put(out, head, len);
    buf_put(out, mask, 4);
    size_t at = out->len;
    buf_put_bytes(out, payload);
    for (size_t i = 0; i < payload.len; i++)
        out->ptr[at + i] ^= mask[i & 3];
}

static inline void send_frame(App *app, int socket, uint8_t first, Bytes payload) {
    Buf out = {0};
    put_frame(&out, first, payload);
    put_all(app, socket, buf_bytes(&out));
    buf_deinit(&out);
}

#define UPGRADE                                                          \
    "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n" \
    "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"                \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: v2.test\r\n\r\n"

// A WebSocket whose 101 and first ping have been read.
static inline int dial_ws(App *app) {
    int socket = dial(app);
    Buf got = {0};
    put(app, socket, UPGRADE);
    turns(app, 3);
    get_some(app, socket, &got);
    expect_has(&got, "HTTP/1.1 101 Switching Protocols\r\n");
    expect_has(&got, "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n");
    expect_has(&got, "sec-websocket-protocol: v2.test\r\n");
    expect_has(&got, "\r\n\r\n\x89");  // a ping at once
    EXPECT_EQ(got.ptr[got.len - 2], 0x89);
    buf_deinit(&got);
    return socket;
}

static inline void expect_bytes_from(App *app, int socket, const char *hex) {
    Buf got = {0};
    turns(app, 3);
    get_some(app, socket, &got);
    EXPECT_HEX(buf_bytes(&got), hex);
    buf_deinit(&got);
}
