// ideal.c: the server's loop with no engine behind it, as the ceiling of this machine and minute.
//
// It takes WebSockets on any path that ends in /subscribe, reads each CallReducer of protocol v2 or
// v3, appends RECORD_BYTES a call to a file, syncs that file once a turn, and answers "ok" without
// looking at names or arguments. What a real server adds to this is its engine; what it loses
// against this is its to explain.
//
//   ideal [--port N] [--file PATH] [--no-sync]     prints "listening on 127.0.0.1:PORT"
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "net/net.h"

#define RECORD_BYTES   100
#define TAG_PLAIN      0
#define CALL_REDUCER   3
#define INITIAL        0
#define REDUCER_RESULT 6
#define BATCH_BYTES    (512 * 1024)  // of answers in one v3 message

typedef struct Ideal {
    const Io *io;
    NetLoop *loop;
    IoFile *file;
    bool sync;
    uint64_t file_end;
    Buf records;  // of this turn
    Micros now;   // of its first call
    Buf answers;  // to the message being handled
} Ideal;

static volatile sig_atomic_t stopping;

static void stop(int signal) {
    (void)signal;
    stopping = 1;
}

static void fatal(const char *what, Err err) {
    fprintf(stderr, "ideal: %s: %s\n", what, err_text(err));
    exit(1);
}

// Protocol (spec: websocket-and-data-model §6)

typedef struct Reader {
    Bytes rest;
    bool ok;
} Reader;

static const uint8_t *take(Reader *in, size_t len) {
    if (in->rest.len < len) in->ok = false;
    if (!in->ok) return NULL;
    const uint8_t *at = in->rest.ptr;
    in->rest = BYTES(at + len, in->rest.len - len);
    return at;
}

static void take_lp(Reader *in) {
    const uint8_t *len = take(in, 4);
    if (len) take(in, load_u32(len));
}

// CallReducer { request_id, flags, name, args }; returns whether it was one.
static bool take_call(Reader *in, uint32_t *request) {
    const uint8_t *head = take(in, 1 + 4 + 1);
    if (!head || head[0] != CALL_REDUCER) return false;
    *request = load_u32(head + 1);
    take_lp(in);
    take_lp(in);
    return in->ok;
}

// ReducerResult { request_id, timestamp, Ok { ret_value: [], transaction_update: [] } }
static void put_result(Buf *out, uint32_t request, Micros timestamp) {
    uint8_t *at = buf_extend(out, 22);
    if (!at) return;
    at[0] = REDUCER_RESULT;
    store_u32(at + 1, request);
    store_u64(at + 5, (uint64_t)timestamp);
    memset(at + 13, 0, 9);
}

static void send_answers(Ideal *ideal, NetConn *conn) {
    if (!buf_ok(&ideal->answers)) fatal("answers", ERR_NOMEM);
    ws_send_copy(conn, buf_bytes(&ideal->answers));
    buf_clear(&ideal->answers);
    buf_put_u8(&ideal->answers, TAG_PLAIN);
}

static bool on_message(void *ctx, NetConn *conn, Bytes payload, bool text) {
    Ideal *ideal = ctx;
    bool is_v3 = net_conn_data(conn) != NULL;
    Reader in = {payload, !text};
    if (ideal->records.len == 0) ideal->now = ideal->io->clock_wall(ideal->io->world);
    uint32_t calls = 0, request;
    while (in.rest.len && (is_v3 || calls == 0) && take_call(&in, &request)) {
        calls++;
        put_result(&ideal->answers, request, ideal->now);
        if (ideal->answers.len > BATCH_BYTES) send_answers(ideal, conn);
    }
    uint8_t *record = buf_extend(&ideal->records, (size_t)calls * RECORD_BYTES);
    if (!record) fatal("records", ERR_NOMEM);
    for (uint32_t i = 0; i < calls; i++)
        memcpy(record + (size_t)i * RECORD_BYTES,
               payload.ptr,
               MIN(payload.len, (size_t)RECORD_BYTES));
    if (ideal->answers.len > 1) send_answers(ideal, conn);
    if (!in.ok || calls == 0) ws_close(conn, 1011, STR("only CallReducer is spoken here"));
    return true;
}

static void on_request(void *ctx, NetConn *conn, const HttpRequest *request) {
    Ideal *ideal = ctx;
    Str suffix = STR("/subscribe"), path = request->path;
    Str plain = STR("text/plain; charset=utf-8");
    if (path.len < suffix.len ||
        !str_eq((Str){path.ptr + path.len - suffix.len, suffix.len}, suffix)) {
        http_respond(conn, 404, NULL, 0, plain, BYTES_NONE);
        return;
    }
    bool is_v3 = ws_offers(request, STR("v3.bsatn.spacetimedb"));
    bool is_v2 = !is_v3 && ws_offers(request, STR("v2.bsatn.spacetimedb"));
    Str protocol = is_v3   ? STR("v3.bsatn.spacetimedb")
                   : is_v2 ? STR("v2.bsatn.spacetimedb")
                           : STR_NONE;
    int status;
    Diag diag;
    if (ws_accept(conn, protocol, NULL, 0, &status, &diag) != OK) {
        http_respond(conn, status, NULL, 0, plain, str_bytes(str_from(diag.text)));
        return;
    }
    net_conn_set_data(conn, is_v3 ? ideal : NULL);
    uint8_t initial[2 + 32 + 16 + 4] = {TAG_PLAIN, INITIAL};  // identity, connection, no token
    ws_send_copy(conn, BYTES(initial, sizeof initial));
}

static void log_turn(Ideal *ideal) {
    if (ideal->records.len == 0) return;
    const Io *io = ideal->io;
    Err err = io->file_write(io->world,
                             ideal->file,
                             ideal->file_end,
                             ideal->records.ptr,
                             ideal->records.len);
    if (err != OK) fatal("write", err);
    ideal->file_end += ideal->records.len;
    buf_clear(&ideal->records);
    err = ideal->sync ? io->file_sync(io->world, ideal->file) : OK;
    if (err != OK) fatal("sync", err);
}

static void open_all(Ideal *ideal, const char *file, uint16_t port) {
    const Io *io = ideal->io;
    NetHandler handler = {.ctx = ideal, .request = on_request, .message = on_message};
    int flags = IO_READ | IO_WRITE | IO_CREATE | IO_TRUNCATE;
    Diag diag;
    diag_clear(&diag);
    Err err = io->file_open(io->world, file, flags, &ideal->file);
    if (err != OK) fatal(file, err);
    // As a log would: appending into space that is there costs no metadata at each sync.
    err = io->file_preallocate(io->world, ideal->file, 1u << 30);
    if (err != OK) fatal("preallocate", err);
    if ((err = net_open(io, NULL, &handler, &ideal->loop)) != OK) fatal("open", err);
    uint16_t bound;
    if ((err = net_listen(ideal->loop, "127.0.0.1", port, NULL, &bound, &diag)) != OK)
        fatal(diag.text, err);
    printf("listening on 127.0.0.1:%u\n", bound);
    fflush(stdout);
}

int main(int argc, char **argv) {
    static const struct option options[] = {
        {"port", required_argument, NULL, 'p'},
        {"file", required_argument, NULL, 'f'},
        {"no-sync", no_argument, NULL, 'n'},
        {NULL, 0, NULL, 0},
    };
    Ideal ideal = {.io = io_real(), .sync = true};
    const char *file = "ideal.log";
    uint16_t port = 0;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'p') port = (uint16_t)atoi(optarg);
        if (option == 'f') file = optarg;
        if (option == 'n') ideal.sync = false;
        if (option == '?') return 2;
    }
    signal(SIGINT, stop);
    signal(SIGTERM, stop);
    open_all(&ideal, file, port);
    buf_put_u8(&ideal.answers, TAG_PLAIN);
    while (!stopping) {
        Err err = net_turn(ideal.loop, 1000000);
        if (err != OK) fatal("turn", err);
        log_turn(&ideal);
        net_flush(ideal.loop);  // only now may anybody know
    }
    net_close(&ideal.loop);
    ideal.io->file_close(ideal.io->world, &ideal.file);
    ideal.io->file_remove(ideal.io->world, file);
    buf_deinit(&ideal.records);
    buf_deinit(&ideal.answers);
    return 0;
}
