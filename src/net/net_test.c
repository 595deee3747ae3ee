// net_test.c: a loop over the simulated network, with the test as its peers; and two loops in two
// threads over the real one.
#define _GNU_SOURCE  // memmem
#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/app_testing.h"

// HTTP

TEST(net, requests_are_answered_with_length_type_and_date) {
    App app;
    app_open(&app, NULL);
    expect_answer(&app,
                  "GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n",
                  "HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
                  "content-type: text/plain\r\ncontent-length: 11\r\n\r\nGET /a?b=c ");
    expect_answer(&app,
                  "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "2\r\nhi\r\n0\r\n\r\n",
                  "\r\n\r\nPOST /a? hi");
    expect_answer(&app, "HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n", "content-length: 9\r\n\r\n");
    expect_answer(&app, "GET /v1/odd HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 530 \r\n");
    expect_answer(&app,
                  "GET /v1/odd HTTP/1.1\r\nHost: x\r\n\r\n",
                  "spacetime-energy-used: 0\r\naccess-control-allow-origin: *\r\nvary: origin, "
                  "access-control-request-method, access-control-request-headers\r\n");
    expect_answer(&app,
                  "OPTIONS /v1/x HTTP/1.1\r\nHost: x\r\n\r\n",
                  "access-control-allow-methods: *\r\n"
                  "access-control-allow-headers: authorization,accept,content-type\r\n"
                  "access-control-allow-origin: *\r\n");
    expect_answer(&app,
                  "GET /ws HTTP/1.1\r\nHost: x\r\n\r\n",
                  "connection: upgrade\r\nupgrade: websocket\r\n");
    EXPECT_EQ(app.closes, 7);
    app_close(&app);
}

TEST(net, pipelined_requests_are_answered_one_by_one_in_order) {
    App app;
    app_open(&app, NULL);
    int socket = dial(&app);
    put(&app,
        socket,
        "GET /later HTTP/1.1\r\nHost: x\r\n\r\n"
        "GET /two HTTP/1.1\r\nHost: x\r\n\r\n"
        "POST /three HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
        "GET /four HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    turns(&app, 3);
    EXPECT_EQ(app.requests, 1);
    Buf got = {0};
    EXPECT(!get_some(&app, socket, &got));
    EXPECT_EQ(got.len, 0);
    http_respond(app.waiting, 200, NULL, 0, STR_NONE, BYTES("first", 5));
    http_respond(app.waiting, 200, NULL, 0, STR_NONE, BYTES("twice", 5));  // does nothing
    turns(&app, 4);
    EXPECT_EQ(app.requests, 4);
    EXPECT(get_some(&app, socket, &got));
    uint8_t *first = memmem(got.ptr, got.len, "first", 5);
    uint8_t *two = memmem(got.ptr, got.len, "GET /two?", 9);
    uint8_t *three = memmem(got.ptr, got.len, "POST /three? abc", 16);
    uint8_t *four = memmem(got.ptr, got.len, "GET /four?", 10);
    EXPECT(first && two > first && three > two && four > three);
    EXPECT(!has(&got, "twice"));
    buf_deinit(&got);
    hang_up(&app, socket);
    app_close(&app);
}

TEST(net, a_client_that_waits_for_100_continue_gets_it) {
    App app;
    app_open(&app, NULL);
    int socket = dial(&app);
    Buf got = {0};
    put(&app,
        socket,
        "PUT /big HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    turns(&app, 2);
    get_some(&app, socket, &got);
    EXPECT_BYTES(buf_bytes(&got), BYTES("HTTP/1.1 100 Continue\r\n\r\n", 25));
    buf_clear(&got);
    put(&app, socket, "ok");
    turns(&app, 2);
    get_some(&app, socket, &got);
    expect_has(&got, "PUT /big? ok");
    hang_up(&app, socket);

    socket = dial(&app);
    buf_clear(&got);
    put(&app,
        socket,
        "PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\nExpect: 100-continue\r\n\r\n");
    turns(&app, 3);
    get_some(&app, socket, &got);
    expect_has(&got, "HTTP/1.1 413 Payload Too Large\r\n");
    EXPECT(!has(&got, "100 Continue"));
    buf_deinit(&got);
    hang_up(&app, socket);
    app_close(&app);
}

TEST(net, an_early_refusal_reaches_a_client_that_is_still_sending) {
    App app;
    app_open(&app, NULL);
    uint8_t *body = mem_zalloc(3 << 20);
    const char *heads[] = {"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3145728\r\n\r\n",
                           "POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 3145728\r\n\r\n"};
    const char *answers[] = {"HTTP/1.1 413 ", "HTTP/1.1 404 "};
    for (int i = 0; i < 2; i++) {
        int socket = dial(&app);
        put(&app, socket, heads[i]);
        put_all(&app, socket, BYTES(body, 3 << 20));
        turns(&app, 3);
        Buf got = {0};
        get_some(&app, socket, &got);
        expect_has(&got, answers[i]);
        buf_deinit(&got);
        hang_up(&app, socket);
        turns(&app, 3);
    }
    EXPECT_EQ(app.closes, 2);
    mem_free(body);
    app_close(&app);
}

TEST(net, a_stream_goes_out_in_chunks_until_somebody_ends_it) {
    App app;
    app_open(&app, NULL);
    int socket = dial(&app);
    put(&app, socket, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    turns(&app, 2);
    EXPECT(http_stream_send(app.waiting, BYTES("line 2\n", 7)));
    turns(&app, 1);
    http_stream_end(app.waiting);
    put(&app, socket, "GET /next HTTP/1.1\r\nHost: x\r\n\r\n");
    turns(&app, 3);
    Buf got = {0};
    get_some(&app, socket, &got);
    expect_has(&got,
               "transfer-encoding: chunked\r\n\r\n7\r\nline 1\n\r\n7\r\nline 2\n\r\n0\r\n\r\n");
    expect_has(&got, "GET /next?");
    buf_clear(&got);

    put(&app, socket, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");  // and this one is left
    turns(&app, 2);
    EXPECT(app.waiting != NULL);
    hang_up(&app, socket);
    turns(&app, 3);
    EXPECT(app.waiting == NULL);
    EXPECT_EQ(app.closes, 1);

    socket = dial(&app);
    put(&app, socket, "GET /stream HTTP/1.0\r\n\r\n");
    turns(&app, 2);
    http_stream_end(app.waiting);
    turns(&app, 2);
    EXPECT(get_some(&app, socket, &got));
    expect_has(&got, "connection: close\r\n");
    expect_has(&got, "\r\n\r\nline 1\n");
    EXPECT(!has(&got, "chunked"));
    buf_deinit(&got);
    hang_up(&app, socket);
    app_close(&app);
}

TEST(net, a_slow_request_is_told_so_and_an_idle_connection_just_ends) {
    App app;
    app_open(&app, NULL);
    int slow = dial(&app), idle = dial(&app);
    Buf got = {0};
    for (int i = 0; i < 31; i++) {  // a byte a second never gets there
        put(&app, slow, i == 0 ? "G" : "E");
        pass(&app, SECOND);
    }
    EXPECT(get_some(&app, idle, &got));
    EXPECT_EQ(got.len, 0);
    get_some(&app, slow, &got);
    expect_has(&got, "HTTP/1.1 408 Request Timeout\r\n");
    expect_has(&got, "connection: close\r\n");
    pass(&app, 6 * SECOND);  // and does not stay however long it lingers
    EXPECT_EQ(app.closes, 2);
    EXPECT_EQ(net_stats(app.loop).connections, 0);
    buf_deinit(&got);
    hang_up(&app, slow);
    hang_up(&app, idle);
    app_close(&app);
}

TEST(net, a_half_closed_client_still_gets_its_answer) {
    App app;
    app_open(&app, NULL);
    int socket = dial(&app);
    put(&app, socket, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
    turns(&app, 2);
    hang_up(&app, socket);
    turns(&app, 2);
    EXPECT(app.waiting != NULL);
    http_respond(app.waiting, 200, NULL, 0, STR_NONE, BYTES_NONE);
    turns(&app, 3);
    EXPECT_EQ(app.closes, 1);
    EXPECT_EQ(net_stats(app.loop).connections, 0);
    app_close(&app);
}

TEST(net, too_many_connections_are_refused_politely) {
    App app;
    app_open(&app, &(NetLimits){.connections_max = 2});
    int sockets[3];
    for (int i = 0; i < 3; i++)
        sockets[i] = dial(&app);
    turns(&app, 3);
    Buf got = {0};
    EXPECT(!get_some(&app, sockets[0], &got));
    EXPECT(!get_some(&app, sockets[1], &got));
    EXPECT_EQ(got.len, 0);
    get_some(&app, sockets[2], &got);
    expect_has(&got, "HTTP/1.1 503 ");
    hang_up(&app, sockets[0]);
    turns(&app, 2);
    EXPECT_EQ(net_stats(app.loop).refused, 1);
    expect_answer(&app, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n", "503");  // the refused one lingers
    hang_up(&app, sockets[2]);
    turns(&app, 2);
    expect_answer(&app, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n", "GET /a?");
    buf_deinit(&got);
    hang_up(&app, sockets[1]);
    app_close(&app);
}

// A world whose accept fails, as when the process is out of descriptors.
static Err accept_fails(void *world, int listener, int *out, char *peer, size_t peer_size) {
    (void)world, (void)listener, (void)out, (void)peer, (void)peer_size;
    return ERR_LIMIT;
}

TEST(net, out_of_sockets_it_waits_instead_of_spinning) {
    App app;
    app_open(&app, NULL);
    Io broken = *app.io;
    broken.net_accept = accept_fails;
    app.loop->io = &broken;
    int socket = dial(&app);
    turn(&app);
    EXPECT(!app.loop->listeners[0].is_watched);
    put(&app, socket, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
    app.loop->io = app.io;
    turns(&app, 5);
    EXPECT_EQ(app.requests, 0);
    pass(&app, SECOND / 2);
    EXPECT_EQ(app.requests, 1);
    hang_up(&app, socket);
    app_close(&app);
}

TEST(net, pipelining_pauses_while_nobody_reads_the_answers) {
    App app;
    app_open(&app, NULL);
    sim_net_set_capacity(app.sim, 4096);
    int socket = dial(&app);
    Buf request = {0};
    buf_printf(&request, "POST /big HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n");
    memset(buf_extend(&request, 300000), 'x', 300000);
    size_t sent = 0, total = request.len * 20;
    for (int i = 0; i < 3000; i++) {
        size_t at = sent % request.len;
        if (sent < total) sent += put_some(&app, socket, BYTES(request.ptr + at, request.len - at));
        turn(&app);
    }
    EXPECT(app.requests < 10);
    EXPECT(sent < total);
    Buf got = {0};
    for (int i = 0; i < 10000 && app.requests < 20; i++) {
        size_t at = sent % request.len;
        if (sent < total) sent += put_some(&app, socket, BYTES(request.ptr + at, request.len - at));
        turn(&app);
        get_some(&app, socket, &got);
    }
    EXPECT_EQ(app.requests, 20);
    buf_deinit(&got);
    buf_deinit(&request);
    hang_up(&app, socket);
    app_close(&app);
}

// WebSockets

TEST(net, a_session_survives_being_split_at_every_byte) {
    Buf session = {0};
    buf_printf(&session, "GET /first HTTP/1.1\r\nHost: a\r\n\r\n" UPGRADE);
    put_frame(&session, 0x82, BYTES("whole", 5));
    put_frame(&session, 0x02, BYTES("in ", 3));
    put_frame(&session, 0x89, BYTES("?", 1));
    put_frame(&session, 0x80, BYTES("two", 3));
    put_frame(&session, 0x88, BYTES("\x03\xe8", 2));
    for (size_t cut = 0; cut <= session.len; cut++) {
        App app;
        app_open(&app, NULL);
        app.echo = true;
        int socket = dial(&app);
        put_all(&app, socket, BYTES(session.ptr, cut));
        turns(&app, 2);
        put_all(&app, socket, BYTES(session.ptr + cut, session.len - cut));
        turns(&app, 4);
        Buf got = {0};
        EXPECT(get_some(&app, socket, &got));
        expect_has(&got, "GET /first?");
        expect_has(&got, "\x82\x05whole");
        expect_has(&got, "\x8a\x01?");
        expect_has(&got, "\x82\x06in two");
        EXPECT_BYTES(BYTES(got.ptr + got.len - 4, 4), BYTES("\x88\x02\x03\xe8", 4));
        EXPECT_EQ(app.requests, 2);
        EXPECT_EQ(app.messages, 2);
        EXPECT_EQ(app.closes, 1);
        buf_deinit(&got);
        hang_up(&app, socket);
        app_close(&app);
    }
    buf_deinit(&session);
}

TEST(net, pings_are_answered_before_messages_that_wait) {
    App app;
    app_open(&app, NULL);
    app.echo = true;
    int socket = dial_ws(&app);
    send_frame(&app, socket, 0x82, BYTES("m", 1));
    send_frame(&app, socket, 0x89, BYTES("p", 1));
    expect_bytes_from(&app,
                      socket,
                      "8a01708201"
                      "6d");
    hang_up(&app, socket);
    app_close(&app);
}

TEST(net, violations_are_answered_with_their_code_and_the_end) {
    const struct {
        const char *bytes;
        size_t len;
        uint16_t code;
    } cases[] = {
        {"\x82\x01x", 3, 1002},                    // not masked
        {"\xc2\x81\0\0\0\0x", 7, 1002},            // reserved bit
        {"\x81\x81\0\0\0\0\xff", 7, 1007},         // not UTF-8
        {"\x82\xff\0\0\0\0\x7f\0\0\0", 10, 1009},  // too big
        {"\x88\x82\0\0\0\0\x03\xed", 8, 1002},     // illegal close code
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        App app;
        app_open(&app, NULL);
        int socket = dial_ws(&app);
        put_all(&app, socket, BYTES(cases[i].bytes, cases[i].len));
        turns(&app, 3);
        Buf got = {0};
        get_some(&app, socket, &got);
        EXPECT(got.len >= 4);
        EXPECT_EQ(got.ptr[0], 0x88);
        EXPECT_EQ(got.ptr[2] << 8 | got.ptr[3], cases[i].code);
        put(&app, socket, "what follows is thrown away");
        pass(&app, SECOND / 2);
        EXPECT_EQ(app.closes, 1);
        EXPECT_EQ(app.messages, 0);
        buf_deinit(&got);
        hang_up(&app, socket);
        app_close(&app);
    }
}

TEST(net, a_close_of_ours_waits_for_the_peers_or_a_moment) {
    App app;
    app_open(&app, NULL);
    int socket = dial_ws(&app);
    char reason[300];
    for (size_t i = 0; i < 100; i++)
        memcpy(reason + 3 * i, "\xe2\x82\xac", 3);  // 123 is 41 of them
    ws_close(app.waiting, 1011, (Str){reason, sizeof reason});
    EXPECT(!ws_send(app.waiting, NULL));
    turns(&app, 2);
    Buf got = {0};
    EXPECT(!get_some(&app, socket, &got));
    EXPECT_EQ(got.len, 2 + 2 + 123);
    EXPECT_EQ(got.ptr[1], 125);
    EXPECT(utf8_valid(BYTES(got.ptr + 4, 123)));
    send_frame(&app, socket, 0x82, BYTES("late", 4));
    turns(&app, 2);
    EXPECT_EQ(app.messages, 0);
    EXPECT_EQ(app.closes, 0);
    send_frame(&app, socket, 0x88, BYTES("\x03\xf3", 2));
    turns(&app, 2);
    EXPECT_EQ(app.closes, 1);
    hang_up(&app, socket);

    socket = dial_ws(&app);
    ws_close(app.waiting, 1001, STR("module exited"));
    pass(&app, SECOND / 10);
    EXPECT_EQ(app.closes, 1);
    pass(&app, SECOND / 2);
    EXPECT_EQ(app.closes, 2);
    buf_deinit(&got);
    hang_up(&app, socket);
    app_close(&app);
}

TEST(net, a_silent_peer_is_pinged_and_then_dropped) {
    App app;
    app_open(&app, NULL);
    int silent = dial_ws(&app), lively = dial_ws(&app);
    send_frame(&app, lively, 0x8a, BYTES_NONE);
    pass(&app, 16 * SECOND);
    expect_bytes_from(&app, silent, "");  // the first pong is still outstanding
    expect_bytes_from(&app, lively, "8900");
    send_frame(&app, lively, 0x8a, BYTES_NONE);
    pass(&app, 15 * SECOND);
    EXPECT_EQ(app.closes, 1);
    EXPECT_STR(app.why, "idle");
    expect_bytes_from(&app, lively, "8900");
    EXPECT_EQ(net_stats(app.loop).idle_cut, 1);
    hang_up(&app, silent);
    hang_up(&app, lively);
    app_close(&app);
}

TEST(net, large_and_many_messages_arrive_whole) {
    App app;
    app_open(&app, NULL);
    int socket = dial_ws(&app);
    size_t big = 3000000;
    uint8_t *bytes = mem_zalloc(big);
    const size_t lens[] = {1, 70000, big, 65536, 100, 131072, 5};
    size_t total = 0;
    for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
        send_frame(&app, socket, 0x82, BYTES(bytes, lens[i]));
        total += lens[i];
    }
    Buf many = {0};
    for (int i = 0; i < 5000; i++)
        put_frame(&many, 0x82, BYTES(bytes, 50));
    put_all(&app, socket, buf_bytes(&many));
    turns(&app, 10);
    EXPECT_EQ(app.messages, (int)ARRAY_LEN(lens) + 5000);
    EXPECT_EQ(app.message_bytes, total + 5000 * 50);
    EXPECT_EQ(app.waiting->in.cap, 0);  // nothing is kept of it
    buf_deinit(&many);
    mem_free(bytes);
    hang_up(&app, socket);
    app_close(&app);
}

TEST(net, backpressure_stops_reading_and_resuming_needs_no_new_bytes) {
    App app;
    app_open(&app, NULL);
    int socket = dial_ws(&app);
    app.pause = true;
    Buf many = {0};
    for (int i = 0; i < 10; i++)
        put_frame(&many, 0x82, BYTES("x", 1));
    put_all(&app, socket, buf_bytes(&many));
    turns(&app, 3);
    EXPECT_EQ(app.messages, 1);
    pass(&app, 40 * SECOND);  // it is not idle: it is we who do not listen
    EXPECT_EQ(app.closes, 0);
    for (int i = 2; i <= 10; i++) {
        net_resume(app.waiting);
        turns(&app, 1);
        EXPECT_EQ(app.messages, i);
    }
    app.pause = false;
    net_resume(app.waiting);
    send_frame(&app, socket, 0x82, BYTES("last", 4));
    turns(&app, 2);
    EXPECT_EQ(app.messages, 11);
    EXPECT_STR(app.last, "last");
    buf_deinit(&many);
    hang_up(&app, socket);
    turns(&app, 2);
    EXPECT_EQ(app.closes, 1);
    app_close(&app);
}

TEST(net, backpressure_fills_the_peers_socket_and_no_memory_of_ours) {
    App app;
    app_open(&app, NULL);
    int socket = dial_ws(&app);
    app.pause = true;
    uint8_t kilo[1000] = {0};
    Buf frame = {0};
    put_frame(&frame, 0x82, BYTES(kilo, sizeof kilo));
    size_t sent = 0;
    for (int i = 0; i < 1000; i++) {
        sent += put_some(&app, socket, BYTES(frame.ptr, frame.len));
        turn(&app);
    }
    EXPECT(sent < 300 * 1024);
    EXPECT(app.waiting->in.len <= NET_SCRATCH_BYTES);
    buf_deinit(&frame);
    hang_up(&app, socket);
    app_close(&app);
}

TEST(net, a_slow_reader_is_cut_off_while_others_go_on) {
    App app;
    app_open(&app, &(NetLimits){.out_messages_max = 100});
    sim_net_set_capacity(app.sim, 8192);
    int slow = dial_ws(&app);
    NetConn *slow_conn = app.waiting;
    int quick = dial_ws(&app);
    NetConn *quick_conn = app.waiting;
    uint8_t kilo[1000] = {0};
    NetFrame *frame = net_frame_ws_binary(BYTES(kilo, sizeof kilo));
    size_t frame_bytes = frame->len;
    Buf got = {0};
    bool cut = false;
    int sent = 0;
    for (int i = 0; i < 300; i++) {
        if (!cut) cut = !ws_send(slow_conn, frame);
        if (!cut) EXPECT(net_conn_queued_bytes(slow_conn) <= 100 * frame_bytes);
        sent += ws_send(quick_conn, frame);
        turn(&app);
        get_some(&app, quick, &got);
    }
    turns(&app, 10);
    get_some(&app, quick, &got);
    EXPECT(cut);
    EXPECT_EQ(net_stats(app.loop).slow_cut, 1);
    EXPECT_EQ(sent, 300);
    EXPECT_EQ(got.len, 300 * frame_bytes);
    buf_clear(&got);
    get_some(&app, slow, &got);  // it wakes up: what had begun is finished, then 1008
    turns(&app, 2);
    get_some(&app, slow, &got);
    EXPECT(got.len > 12 && (got.len - 12) % frame_bytes == 0);
    EXPECT_BYTES(BYTES(got.ptr + got.len - 12, 12), BYTES("\x88\x0a\x03\xf0too slow", 12));
    pass(&app, SECOND);
    EXPECT_EQ(app.closes, 1);
    EXPECT_STR(app.why, "too slow");
    EXPECT_EQ(frame->refs, 1);
    net_frame_release(&frame);
    buf_deinit(&got);
    hang_up(&app, slow);
    hang_up(&app, quick);
    app_close(&app);
}

TEST(net, messages_that_leave_together_arrive_and_count_one_by_one) {
    App app;
    app_open(&app, &(NetLimits){.out_messages_max = 100});
    int socket = dial_ws(&app);
    Buf want = {0}, got = {0};
    NetFrame *many = net_frame_ws_room(60 * 200, 60);
    EXPECT(many);
    for (int i = 0; i < 60; i++) {
        uint8_t bytes[200];
        memset(bytes, i, sizeof bytes);
        Bytes parts[2] = {{bytes, 1}, {bytes, (size_t)(i * 3)}};
        net_frame_ws_add(many, false, parts, 2);
        NetFrame *one = net_frame_ws_parts(parts, 2);
        buf_put(&want, one->bytes, one->len);
        net_frame_release(&one);
    }
    EXPECT_EQ(many->messages, 60);
    EXPECT(ws_send(app.waiting, many));
    turns(&app, 2);
    get_some(&app, socket, &got);
    EXPECT(bytes_eq(buf_bytes(&got), buf_bytes(&want)));
    EXPECT_EQ(net_conn_queued_bytes(app.waiting), 0);
    EXPECT(ws_send(app.waiting, many));
    EXPECT(!ws_send(app.waiting, many));  // 120
    EXPECT_EQ(net_stats(app.loop).slow_cut, 1);
    EXPECT_EQ(many->refs, 1);
    net_frame_release(&many);
    buf_deinit(&want);
    buf_deinit(&got);
    hang_up(&app, socket);
    app_close(&app);
}

TEST(net, what_is_queued_leaves_in_order_through_a_narrow_socket) {
    App app;
    app_open(&app, NULL);
    int socket = dial_ws(&app);
    sim_net_set_partial(app.sim, true);
    Buf want = {0}, got = {0};
    for (int i = 0; i < 3000; i++) {
        uint8_t bytes[64];
        memset(bytes, i, sizeof bytes);
        NetFrame *frame = net_frame_ws_binary(BYTES(bytes, (size_t)(i % 64)));
        buf_put(&want, frame->bytes, frame->len);
        if (i % 16 == 3) {
            EXPECT(ws_send(app.waiting, frame));
        } else {
            EXPECT(ws_send_copy(app.waiting, BYTES(bytes, (size_t)(i % 64))));
        }
        net_frame_release(&frame);
        if (i % 7 == 0) {
            turn(&app);
            get_some(&app, socket, &got);
        }
    }
    for (int i = 0; i < 1000 && got.len < want.len; i++) {
        turn(&app);
        get_some(&app, socket, &got);
    }
    EXPECT(bytes_eq(buf_bytes(&got), buf_bytes(&want)));
    EXPECT_EQ(net_conn_queued_bytes(app.waiting), 0);
    buf_deinit(&want);
    buf_deinit(&got);
    hang_up(&app, socket);
    app_close(&app);
}

TEST(net, a_large_message_leaves_in_bites_and_others_are_written_in_between) {
    App app;
    app_open(&app, NULL);
    int reader = dial_ws(&app);
    NetConn *large = app.waiting;
    int other = dial_ws(&app);
    NetConn *small = app.waiting;
    size_t len = 3u << 20;
    uint8_t *bytes = mem_zalloc(len);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(i * 7 >> 4);
    NetFrame *frame = net_frame_ws_binary(BYTES(bytes, len));
    Buf got = {0}, answer = {0};
    EXPECT(ws_send(large, frame));
    uint64_t most = 0, last = 0;
    int turns = 0;
    for (; turns < 1000 && got.len < frame->len; turns++) {
        uint64_t before = net_stats(app.loop).bytes_out;
        EXPECT(ws_send_copy(small, BYTES("x", 1)));
        turn(&app);
        last = net_stats(app.loop).bytes_out - before;
        most = MAX(most, last);
        get_some(&app, reader, &got);
        get_some(&app, other, &answer);
        EXPECT_EQ(answer.len, 3 * ((size_t)turns + 1));  // it did not wait for the large one
    }
    EXPECT(most < 300 * 1024);
    EXPECT(turns > 10);
    EXPECT(bytes_eq(buf_bytes(&got), BYTES(frame->bytes, frame->len)));
    EXPECT_EQ(net_conn_queued_bytes(large), 0);
    net_frame_release(&frame);
    mem_free(bytes);
    buf_deinit(&got);
    buf_deinit(&answer);
    hang_up(&app, reader);
    hang_up(&app, other);
    app_close(&app);
}

TEST(net, a_message_in_pieces_is_one_message_and_taken_as_a_whole) {
    App app;
    app_open(&app, &(NetLimits){.out_bytes_max = 1000});
    int socket = dial_ws(&app);
    uint8_t large[900];
    memset(large, 'l', sizeof large);
    NetFrame *pieces[] = {net_frame_ws_piece(BYTES("begin", 5), NET_FIRST_BINARY),
                          net_frame_ws_piece(BYTES(large, sizeof large), NET_FURTHER),
                          net_frame_ws_piece(BYTES(large, sizeof large), NET_FURTHER),
                          net_frame_ws_piece(BYTES("", 0), NET_LAST)};
    Buf want = {0}, got = {0};
    size_t bytes = 0;
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        bytes += pieces[i]->len;
        buf_put(&want, pieces[i]->bytes, pieces[i]->len);
    }
    EXPECT_BYTES(BYTES(pieces[0]->bytes, 2), BYTES("\x02\x05", 2));
    EXPECT_BYTES(BYTES(pieces[1]->bytes, 2), BYTES("\x00\x7e", 2));
    EXPECT_BYTES(BYTES(pieces[3]->bytes, 2), BYTES("\x80\x00", 2));
    uint64_t before = net_stats(app.loop).messages_out;
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++)  // larger than the limit, and the queue is empty
        EXPECT(ws_send_piece(app.waiting, pieces[i], i == 0 ? bytes : 0));
    EXPECT_EQ(net_stats(app.loop).messages_out, before + 1);
    for (int i = 0; i < 100 && got.len < want.len; i++) {
        turn(&app);
        get_some(&app, socket, &got);
    }
    EXPECT(bytes_eq(buf_bytes(&got), buf_bytes(&want)));
    EXPECT(ws_send_piece(app.waiting, pieces[1], 900));
    EXPECT(!ws_send_piece(app.waiting, pieces[0], 900));  // too much, though this piece were not
    EXPECT_EQ(net_stats(app.loop).slow_cut, 1);
    turns(&app, 4);
    hang_up(&app, socket);
    app_close(&app);
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        EXPECT_EQ(pieces[i]->refs, 1);
        net_frame_release(&pieces[i]);
    }
    buf_deinit(&want);
    buf_deinit(&got);
}

static void note_burial(void *ctx, NetFrame *frame) {
    ++*(int *)ctx;
    net_frame_free(frame);
}

TEST(net, a_frame_is_freed_by_whom_it_names) {
    int buried = 0;
    NetFrame *frame = net_frame_raw(BYTES("x", 1)), *again = frame;
    frame->bury = note_burial;
    frame->bury_ctx = &buried;
    net_frame_retain(frame);
    net_frame_release(&frame);
    EXPECT_EQ(buried, 0);
    net_frame_release(&again);
    EXPECT_EQ(buried, 1);
}

TEST(net, nothing_leaves_before_the_flush) {
    App app;
    app_open(&app, NULL);
    app.echo = true;
    int socket = dial_ws(&app);
    send_frame(&app, socket, 0x82, BYTES("x", 1));
    for (int i = 0; i < 5; i++)
        EXPECT_OK(net_turn(app.loop, 0));
    Buf got = {0};
    get_some(&app, socket, &got);
    EXPECT_EQ(app.messages, 1);
    EXPECT_EQ(got.len, 0);
    net_flush(app.loop);
    get_some(&app, socket, &got);
    EXPECT_HEX(buf_bytes(&got), "820178");
    buf_deinit(&got);
    hang_up(&app, socket);
    app_close(&app);
}

TEST(net, a_cut_connection_is_reported_once) {
    App app;
    app_open(&app, NULL);
    int socket = dial_ws(&app);
    sim_net_cut(app.sim, socket);
    turns(&app, 3);
    EXPECT_EQ(app.closes, 1);
    hang_up(&app, socket);
    socket = dial_ws(&app);
    hang_up(&app, socket);
    turns(&app, 3);
    EXPECT_EQ(app.closes, 2);
    EXPECT_STR(app.why, "closed without a goodbye");
    app_close(&app);
    EXPECT_EQ(app.closes, 2);
}

TEST(net, every_allocation_may_fail_and_the_next_client_is_served) {
    for (int64_t nth = 0; nth < 60; nth++) {
        App app;
        app_open(&app, NULL);
        app.echo = true;
        Buf session = {0};
        buf_printf(&session, "GET /a HTTP/1.1\r\nHost: a\r\n\r\n" UPGRADE);
        put_frame(&session, 0x02, BYTES("x", 1));
        put_frame(&session, 0x80, BYTES("y", 1));
        int socket = dial(&app);
        put_some(&app, socket, BYTES(session.ptr, session.len - 3));
        mem_fault_arm(nth);
        turns(&app, 4);
        mem_fault_arm(-1);
        put_some(&app, socket, BYTES(session.ptr + session.len - 3, 3));
        turns(&app, 4);
        hang_up(&app, socket);
        turns(&app, 4);
        expect_answer(&app, "GET /fine HTTP/1.1\r\nHost: x\r\n\r\n", "GET /fine?");
        EXPECT_EQ(net_stats(app.loop).connections, 0);
        buf_deinit(&session);
        app_close(&app);
    }
}

TEST(net, an_idle_websocket_owns_little_memory) {
    App app;
    app_open(&app, NULL);
    int socket = dial_ws(&app);
    EXPECT(app.waiting->work == NULL);
    EXPECT_EQ(app.waiting->in.cap, 0);
    EXPECT_EQ(app.waiting->out.cap, 0);
    EXPECT(sizeof(NetConn) <= 512);
    hang_up(&app, socket);
    app_close(&app);
}

// Two loops, two threads, the real world.

typedef struct Thread {
    App app;
    pthread_t thread;
    _Atomic bool stop;
} Thread;

static void *thread_run(void *arg) {
    Thread *thread = arg;
    while (!atomic_load(&thread->stop)) {
        if (net_turn(thread->app.loop, 50000) != OK) break;
        net_flush(thread->app.loop);
    }
    return NULL;
}

static void thread_start(Thread *thread) {
    *thread = (Thread){0};
    thread->app.io = io_real();
    thread->app.echo = true;
    NetHandler handler = app_handler(&thread->app);
    EXPECT_OK(net_open(thread->app.io, NULL, &handler, &thread->app.loop));
    EXPECT_OK(net_listen(thread->app.loop, "127.0.0.1", 0, NULL, &thread->app.port, NULL));
}

static void thread_stop(Thread *thread) {
    atomic_store(&thread->stop, true);
    net_wake(thread->app.loop);
    pthread_join(thread->thread, NULL);
    net_close(&thread->app.loop);
}

static int dial_real(uint16_t port) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    EXPECT(connect(fd, (struct sockaddr *)&to, sizeof to) == 0);
    return fd;
}

static void read_until(int fd, Buf *got, const char *text) {
    uint8_t bytes[512];
    while (!has(got, text)) {
        ssize_t n = read(fd, bytes, sizeof bytes);
        EXPECT(n > 0);
        buf_put(got, bytes, (size_t)n);
    }
}

TEST(net, connections_move_between_two_running_loops) {
    static Thread a, b;
    thread_start(&a);
    thread_start(&b);
    enum { CLIENTS = 50 };
    int fds[CLIENTS];
    pthread_create(&b.thread, NULL, thread_run, &b);
    for (int i = 0; i < CLIENTS; i++) {
        a.app.move_to = b.app.loop;  // a's loop runs in this thread
        fds[i] = dial_real(a.app.port);
        EXPECT_EQ(write(fds[i], UPGRADE, sizeof UPGRADE - 1), (ssize_t)sizeof UPGRADE - 1);
        while (a.app.move_to) {
            EXPECT_OK(net_turn(a.app.loop, 1000));
            net_flush(a.app.loop);
        }
        Buf frame = {0}, got = {0};
        put_frame(&frame, 0x82, BYTES("hello", 5));
        read_until(fds[i], &got, "\r\n\r\n");
        EXPECT_EQ(write(fds[i], frame.ptr, frame.len), (ssize_t)frame.len);
        read_until(fds[i], &got, "\x82\x05hello");
        buf_deinit(&frame);
        buf_deinit(&got);
    }
    EXPECT_EQ(net_stats(a.app.loop).connections, 0);
    for (int i = 0; i < CLIENTS; i++)
        close(fds[i]);
    thread_stop(&b);
    EXPECT_EQ(b.app.requests, CLIENTS);
    EXPECT_EQ(b.app.messages, CLIENTS);
    EXPECT_EQ(b.app.closes, CLIENTS);
    EXPECT_EQ(a.app.closes, 0);
    net_close(&a.app.loop);
}

TEST_MAIN()
