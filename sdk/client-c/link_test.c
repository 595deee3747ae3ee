// link_test.c: frames, the handshake, addresses, and how a server is found by its name.
#include <stddef.h>

struct addrinfo;
static int getaddrinfo_or_wait(const char *host,
                               const char *port,
                               const struct addrinfo *hints,
                               struct addrinfo **found);
#define LC_CLIENT_GETADDRINFO getaddrinfo_or_wait
#include "client_testing.h"

// ── frames and the handshake ───────────────────────────────────────────────────────────────────

static void put_frame(Out *out, uint8_t first, const void *bytes, size_t len) {
    out_le(out, first, 1);
    out_le(out, len < 126 ? len : 126, 1);
    if (len >= 126) out_le(out, (len & 0xff) << 8 | len >> 8, 2);
    out_bytes(out, bytes, len);
}

static LcError receive(World *world, const uint8_t *bytes, size_t len) {
    out_bytes(&world->client->raw, bytes, len);
    return frames_apply(world->client);
}

TEST(frames, are_the_same_however_they_are_cut) {
    Out body = {0}, stream = {0};
    World world;
    EXPECT_EQ(world_open(&world), LC_OK);
    uint32_t id = world.subscription->id;
    lc_client_free(&world.client);
    out_le(&body, 0, 1);
    put_introduction(&body);
    put_applied(&body, id, "keyed", "1:a 2:b 3:c 4:d 5:e 6:f 7:g");
    put_frame(&stream, 0x02, body.data, 10);
    put_frame(&stream, 0x89, "ping", 4);
    put_frame(&stream, 0x00, body.data + 10, 5);
    put_frame(&stream, 0x80, body.data + 15, body.len - 15);
    for (size_t step = 1; step <= stream.len; step = step * 2 + 1) {
        EXPECT_EQ(world_open(&world), LC_OK);
        EXPECT_EQ(world.client->ids, id);
        for (size_t at = 0; at < stream.len; at += step)
            EXPECT_EQ(
                receive(&world, stream.data + at, step < stream.len - at ? step : stream.len - at),
                LC_OK);
        EXPECT_EQ(world.client->raw.len, 0);
        expect_heard(&world, "hello(token) +1:a +2:b +3:c +4:d +5:e +6:f +7:g applied ");
        // The pong came first, masked.
        const uint8_t *out = world.client->out.data;
        EXPECT_EQ(out[0], 0x8a);
        EXPECT_EQ(out[1], 0x84);
        EXPECT_EQ((char)(out[6] ^ out[2]), 'p');
        EXPECT_EQ((char)(out[9] ^ out[5]), 'g');
        lc_client_free(&world.client);
    }
    out_free(&body);
    out_free(&stream);
}

TEST(frames, that_no_server_may_send_end_the_connection) {
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {
        {"\x82\x81....x", 7},                              // masked
        {"\xc2\x01\x00", 3},                               // an extension's bit
        {"\x81\x01x", 3},                                  // text
        {"\x83\x00", 2},                                   // an opcode that does not exist
        {"\x09\x00", 2},                                   // a ping in pieces
        {"\x89\x7e\x00\x7e", 4},                           // a ping of 126 bytes
        {"\x80\x01\x00", 3},                               // the rest of nothing
        {"\x02\x01\x00\x82\x01\x00", 6},                   // a message within a message
        {"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", 10},  // more than there is
        {"\x82\x00", 2},                                   // an empty message
        {"\x82\x02\x02\x00", 4},                           // compressed
        {"\x82\x02\x00\x09", 4},                           // a message that does not exist
        {"\x82\x02\x00\x04", 4},                           // rows before the introduction
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        World world;
        EXPECT_EQ(world_open(&world), LC_OK);
        LcError error = receive(&world, (const uint8_t *)bad[i].bytes, bad[i].len);
        if (error != LC_MALFORMED) fail_msg("case %zu: %s", i, lc_error_text(error));
        lc_client_free(&world.client);
    }
}

TEST(frames, of_a_close_are_answered_and_give_the_reason) {
    World world;
    EXPECT_EQ(world_open(&world), LC_OK);
    LcError error = receive(&world, (const uint8_t *)"\x88\x0f\x03\xe9module exited", 17);
    EXPECT_EQ(error, LC_CLOSED);
    EXPECT_EQ(world.client->out.data[0], 0x88);
    link_failed(world.client, error);
    expect_heard(&world, "lost(the server closed: module exited) ");
    lc_client_free(&world.client);
}

TEST(handshake, answers_are_those_of_the_rfc) {
    char accept[29];
    accept_of("dGhlIHNhbXBsZSBub25jZQ==", accept);
    EXPECT_STR(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

static void answered(World *world, const char *head) {
    EXPECT_EQ(world_open(world), LC_OK);
    world->client->state = LINK_UPGRADING;
    memcpy(world->client->accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 29);
    out_bytes(&world->client->raw, head, strlen(head));
    input_apply(world->client, true);
}

TEST(handshake, only_a_server_that_knows_the_key_and_the_protocol_will_do) {
    World world;
    answered(
        &world,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nsec-websocket-accept:  "
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo= \r\nSec-WebSocket-Protocol: v3.bsatn.spacetimedb\r\n\r\n\x89");
    EXPECT_EQ(world.client->state, LINK_OPEN);
    EXPECT_EQ(world.client->raw.len, 1);
    lc_client_free(&world.client);
#define TO_V3 "Sec-WebSocket-Protocol: v3.bsatn.spacetimedb\r\n\r\n"
    static const char *const bad[] = {
        ("HTTP/1.1 101 x\r\nSec-WebSocket-Accept: AAAPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" TO_V3),
        "HTTP/1.1 101 x\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "HTTP/1.1 \r\n\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        answered(&world, bad[i]);
        expect_heard(&world, "lost(the server sent what is no message) ");
        lc_client_free(&world.client);
    }
    answered(&world, "HTTP/1.1 404 Not Found\r\nContent-Length: 7\r\n\r\nno `x`\n and more");
    expect_heard(&world, "lost(the server refused (404): no `x`, for good) ");
    lc_client_free(&world.client);
    answered(&world, "HTTP/1.1 503 Busy\r\n\r\n");
    expect_heard(&world, "lost(the server refused with status 503) ");
    lc_client_free(&world.client);
}

TEST(addresses, are_read_or_refused) {
    static const struct {
        const char *url, *database, *host, *port, *path;
    } good[] = {
        {"http://localhost:3000",
         "chat",
         "localhost",
         "3000",
         "/v1/database/chat/subscribe?compression=None"},
        {"ws://[::1]:80/base/",
         "a b",
         "::1",
         "80",
         "/base/v1/database/a%20b/subscribe?compression=None"},
        {"http://h", "x/..", "h", "80", "/v1/database/x%2F../subscribe?compression=None"},
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        LcClient *client;
        LcOptions options = {.url = good[i].url, .database = good[i].database, .module = &module};
        EXPECT_EQ(lc_client_open(&options, &client), LC_OK);
        EXPECT_STR(client->host, good[i].host);
        EXPECT_STR(client->port, good[i].port);
        EXPECT_STR(client->path, good[i].path);
        lc_client_free(&client);
    }
    static const char *const bad[] = {"localhost:3000",
                                      "ftp://x",
                                      "http://",
                                      "http://[::1",
                                      "http://x:",
                                      "http://x:1x",
                                      "http://x:123456",
                                      "http://x/\r\nEvil: 1",
                                      "http://:80"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        LcClient *client;
        LcOptions options = {.url = bad[i], .database = "x", .module = &module};
        EXPECT_EQ(lc_client_open(&options, &client), LC_BAD_ARGUMENT);
        EXPECT(client == NULL);
    }
}

TEST(backoff, grows_and_a_refusal_ends_it) {
    World world;
    EXPECT_EQ(world_open(&world), LC_OK);
    int64_t last = 0;
    for (int i = 0; i < 20; i++) {
        link_lost(world.client, "x", false);
        int64_t wait = world.client->deadline - now_ms();
        EXPECT(wait <= WAIT_MOST_MS &&
               wait >= (i < 6 ? (WAIT_FIRST_MS << i) / 2 : WAIT_MOST_MS / 2) - 50);
        EXPECT(i == 0 || i > 6 || wait >= last / 2);
        last = wait;
    }
    link_lost(world.client, "x", true);
    EXPECT_EQ(lc_client_step(world.client), LC_CLOSED);
    EXPECT_EQ(lc_call_reducer(world.client, "x", &lc_type_unit, NULL, NULL, NULL), LC_CLOSED);
    lc_client_free(&world.client);
}

// ── names ──────────────────────────────────────────────────────────────────────────────────────

// Names ending in .test: `here` is this machine, others do not exist. While the gate is shut nothing is answered.
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_moved = PTHREAD_COND_INITIALIZER;
static bool gate_is_shut;
static int lookups_begun, lookups_under_way;

static int getaddrinfo_or_wait(const char *host,
                               const char *port,
                               const struct addrinfo *hints,
                               struct addrinfo **found) {
    pthread_mutex_lock(&gate);
    lookups_begun++;
    lookups_under_way++;
    while (gate_is_shut)
        pthread_cond_wait(&gate_moved, &gate);
    lookups_under_way--;
    pthread_cond_broadcast(&gate_moved);
    pthread_mutex_unlock(&gate);
    if (strcmp(host, "here.test") == 0) return getaddrinfo("127.0.0.1", port, hints, found);
    return EAI_NONAME;
}

static void gate_set(bool is_shut) {
    pthread_mutex_lock(&gate);
    gate_is_shut = is_shut;
    pthread_cond_broadcast(&gate_moved);
    while (!is_shut && lookups_under_way > 0)
        pthread_cond_wait(&gate_moved, &gate);
    pthread_mutex_unlock(&gate);
}

static void world_at(World *world, const char *url) {
    *world = (World){0};
    LcOptions options = {.url = url,
                         .database = "test",
                         .module = &module,
                         .on_disconnect = on_disconnect,
                         .context = world};
    EXPECT_EQ(lc_client_open(&options, &world->client), LC_OK);
}

// Poll until the client is no longer in this state.
static void poll_out_of(World *world, LinkState state) {
    for (int i = 0; i < 100 && world->client->state == state; i++)
        EXPECT_EQ(lc_client_poll(world->client, 100), LC_OK);
    EXPECT(world->client->state != state);
}

TEST(names, that_are_never_found_hold_up_nobody) {
    World world;
    int64_t began = now_ms();
    lookups_begun = 0;
    gate_set(true);
    world_at(&world, "http://nowhere.test");
    EXPECT_EQ(lc_client_poll(world.client, 0), LC_OK);
    EXPECT_EQ(world.client->state, LINK_RESOLVING);
    EXPECT(lc_client_fd(world.client) >= 0);
    EXPECT_EQ(lc_client_events(world.client), POLLIN);
    int left = lc_client_timeout_ms(world.client);
    EXPECT(left > 0 && left <= OPEN_MS);
    EXPECT_EQ(lc_client_poll(world.client, 20), LC_OK);  // nothing to be seen at the descriptor
    // The next try waits for the same look-up.
    world.client->deadline = 0;
    EXPECT_EQ(lc_client_step(world.client), LC_OK);
    expect_heard(&world, "lost(looking up the server's name takes too long) ");
    EXPECT_EQ(lc_client_fd(world.client), -1);
    world.client->deadline = 0;
    EXPECT_EQ(lc_client_step(world.client), LC_OK);
    EXPECT_EQ(world.client->state, LINK_RESOLVING);
    // Neither closing nor freeing waits.
    lc_client_close(world.client);
    EXPECT_EQ(lc_client_step(world.client), LC_CLOSED);
    expect_heard(&world, "lost(closed, for good) ");
    lc_client_free(&world.client);
    world_at(&world, "http://nowhere.test");
    EXPECT_EQ(lc_client_poll(world.client, 0), LC_OK);
    lc_client_free(&world.client);
    EXPECT(now_ms() - began < 2000);
    gate_set(false);
    EXPECT(lookups_begun <= 2);
}

TEST(names, that_do_not_exist_are_said) {
    World world;
    world_at(&world, "http://nowhere.test");
    EXPECT_EQ(lc_client_poll(world.client, 0), LC_OK);
    poll_out_of(&world, LINK_RESOLVING);
    EXPECT_EQ(world.client->state, LINK_WAITING);
    char want[200];
    snprintf(want, sizeof want, "lost(cannot find nowhere.test: %s) ", gai_strerror(EAI_NONAME));
    expect_heard(&world, want);
    lc_client_free(&world.client);
}

TEST(names, that_are_found_late_serve_the_next_try) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    EXPECT_EQ(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    EXPECT_EQ(listen(listener, 1), 0);
    EXPECT_EQ(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    char url[64];
    snprintf(url, sizeof url, "http://here.test:%d", ntohs(address.sin_port));
    World world;
    gate_set(true);
    world_at(&world, url);
    EXPECT_EQ(lc_client_poll(world.client, 0), LC_OK);
    world.client->deadline = 0;
    EXPECT_EQ(lc_client_step(world.client), LC_OK);
    EXPECT_EQ(world.client->state, LINK_WAITING);
    gate_set(false);
    poll_out_of(&world, LINK_WAITING);
    poll_out_of(&world, LINK_RESOLVING);
    poll_out_of(&world, LINK_CONNECTING);
    EXPECT_EQ(world.client->state, LINK_UPGRADING);
    EXPECT(world.client->lookup == NULL);
    lc_client_free(&world.client);
    close(listener);
}

TEST(names, need_memory_and_no_more_is_lost_without) {
    World world;
    world_at(&world, "http://here.test");
    fault_on = true;
    fault_at = 0;
    EXPECT_EQ(lc_client_step(world.client), LC_OK);
    fault_on = false;
    EXPECT_EQ(world.client->state, LINK_WAITING);
    EXPECT(strncmp(world.heard, "lost(", 5) == 0);
    lc_client_free(&world.client);
}

TEST_MAIN()
