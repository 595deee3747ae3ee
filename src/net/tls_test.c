// tls_test.c: a loop that speaks TLS over the simulated network, and OpenSSL as its client.
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/test.h"
#include "net/conn.h"
#include "sim/sim.h"

// ── a certificate ──────────────────────────────────────────────────────────────────────────────

static char folder[64], cert_path[96], key_path[96], other_key_path[96];

static EVP_PKEY *key_write(const char *path) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    FILE *file = fopen(path, "w");
    EXPECT(key && file);
    EXPECT_EQ(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
    EXPECT_EQ(fclose(file), 0);
    return key;
}

static void cert_write(EVP_PKEY *key, const char *name) {
    X509 *cert = X509_new();
    X509_gmtime_adj(X509_getm_notBefore(cert), 0);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    X509_NAME *subject = X509_get_subject_name(cert);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const uint8_t *)name, -1, -1, 0);
    X509_set_issuer_name(cert, subject);
    EXPECT(X509_sign(cert, key, EVP_sha256()) > 0);
    FILE *file = fopen(cert_path, "w");
    EXPECT(file != NULL);
    EXPECT_EQ(PEM_write_X509(file, cert), 1);
    EXPECT_EQ(fclose(file), 0);
    X509_free(cert);
}

static void files_make(void) {
    snprintf(folder, sizeof folder, "/tmp/tls-test-XXXXXX");
    EXPECT(mkdtemp(folder) != NULL);
    snprintf(cert_path, sizeof cert_path, "%s/cert.pem", folder);
    snprintf(key_path, sizeof key_path, "%s/key.pem", folder);
    snprintf(other_key_path, sizeof other_key_path, "%s/other.pem", folder);
    EVP_PKEY_free(key_write(other_key_path));
    EVP_PKEY *key = key_write(key_path);
    cert_write(key, "first");
    EVP_PKEY_free(key);
}

static void files_remove(void) {
    unlink(cert_path);
    unlink(key_path);
    unlink(other_key_path);
    rmdir(folder);
}

// ── the server: answers with as many bytes as the path says, and echoes messages ───────────────

typedef struct Server {
    Sim *sim;
    const Io *io;
    NetLoop *loop;
    NetTls *tls;
    uint16_t port;
    bool pause;
    NetConn *ws;
    int closes;
    char why[64];
} Server;

static void on_request(void *ctx, NetConn *conn, const HttpRequest *request) {
    Server *server = ctx;
    if (request->is_upgrade) {
        int status;
        EXPECT_OK(ws_accept(conn, STR("v2.test"), NULL, 0, &status, NULL));
        server->ws = conn;
        return;
    }
    size_t bytes = (size_t)strtoul(request->path.ptr + 1, NULL, 10);
    uint8_t *body = mem_alloc(bytes + 1);
    for (size_t i = 0; i < bytes; i++)
        body[i] = (uint8_t)('a' + i % 26);
    http_respond(conn, 200, NULL, 0, STR("text/plain"), BYTES(body, bytes));
    mem_free(body);
}

static bool on_message(void *ctx, NetConn *conn, Bytes payload, bool text) {
    (void)text;
    ws_send_copy(conn, payload);
    return !((Server *)ctx)->pause;
}

static void on_closed(void *ctx, NetConn *conn, const char *why) {
    Server *server = ctx;
    server->closes++;
    snprintf(server->why, sizeof server->why, "%s", why);
    if (server->ws == conn) server->ws = NULL;
}

static void server_open(Server *server) {
    *server = (Server){0};
    files_make();
    Diag diag = {0};
    EXPECT_OK(net_tls_open(cert_path, key_path, &server->tls, &diag));
    EXPECT_OK(sim_new(11, &server->sim));
    server->io = sim_io(server->sim);
    NetHandler handler = {.ctx = server,
                          .request = on_request,
                          .message = on_message,
                          .closed = on_closed};
    EXPECT_OK(net_open(server->io, NULL, &handler, &server->loop));
    EXPECT_OK(net_listen(server->loop, "127.0.0.1", 0, server->tls, &server->port, NULL));
}

static void server_close(Server *server) {
    net_close(&server->loop);
    net_tls_free(&server->tls);
    sim_free(&server->sim);
    files_remove();
}

static void turn(Server *server) {
    EXPECT_OK(net_turn(server->loop, 0));
    net_flush(server->loop);
}

// ── the client: OpenSSL between two memory buffers, carried to the socket in steps ─────────────

typedef struct Client {
    Server *server;
    SSL_CTX *context;
    SSL *ssl;
    int socket;
    size_t step;  // bytes carried at once
    bool ended;   // the server closed
    bool deaf;    // carries nothing from the server
    Buf got;
} Client;

static void client_open(Client *client, Server *server, size_t step) {
    *client = (Client){.server = server, .step = step};
    client->context = SSL_CTX_new(TLS_client_method());
    client->ssl = SSL_new(client->context);
    SSL_set_bio(client->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(client->ssl);
    EXPECT_OK(sim_net_connect(server->sim, server->port, &client->socket));
}

static void client_close(Client *client) {
    client->server->io->net_close(client->server->io->world, client->socket);
    SSL_free(client->ssl);
    SSL_CTX_free(client->context);
    buf_deinit(&client->got);
    turn(client->server);
    turn(client->server);
}

static void carry_out(Client *client) {
    const Io *io = client->server->io;
    char *bytes;
    size_t len = (size_t)BIO_get_mem_data(SSL_get_wbio(client->ssl), &bytes);
    struct iovec part = {bytes, MIN(len, client->step)};
    size_t wrote = 0;
    if (len == 0 || io->net_write(io->world, client->socket, &part, 1, &wrote) != OK) return;
    char gone[4096];
    while (wrote) {
        int n = BIO_read(SSL_get_wbio(client->ssl), gone, (int)MIN(wrote, sizeof gone));
        wrote -= (size_t)n;
    }
}

static void carry_in(Client *client) {
    const Io *io = client->server->io;
    uint8_t bytes[65536];
    size_t got = 0;
    Err err = io->net_read(io->world, client->socket, bytes, MIN(sizeof bytes, client->step), &got);
    if (err == ERR_AGAIN) return;
    if (err != OK || got == 0) client->ended = true;
    if (got) BIO_write(SSL_get_rbio(client->ssl), bytes, (int)got);
}

static void client_step(Client *client) {
    uint8_t bytes[16384];
    int n;
    while ((n = SSL_read(client->ssl, bytes, sizeof bytes)) > 0)
        buf_put(&client->got, bytes, (size_t)n);
    carry_out(client);
    turn(client->server);
    if (!client->deaf) carry_in(client);
}

static void client_say(Client *client, Bytes bytes) {
    for (int tries = 0; tries < 10000; tries++) {
        if (SSL_write(client->ssl, bytes.ptr, (int)bytes.len) > 0) return;
        client_step(client);
    }
    EXPECT(false);
}

static void client_await(Client *client, size_t bytes) {
    for (int tries = 0; client->got.len < bytes && !client->ended && tries < 2000000; tries++)
        client_step(client);
    EXPECT(client->got.len >= bytes);
}

static void client_ask(Client *client, size_t bytes) {
    char request[96];
    int len = snprintf(request, sizeof request, "GET /%zu HTTP/1.1\r\nHost: x\r\n\r\n", bytes);
    client_say(client, BYTES(request, (size_t)len));
}

// The answer's head and body, and nothing behind it.
static void expect_body(Client *client, size_t bytes) {
    client_await(client, bytes + 1);
    for (int i = 0; i < 20; i++)
        client_step(client);
    EXPECT(client->got.len > bytes && client->got.len < bytes + 400);
    const uint8_t *body = client->got.ptr + client->got.len - bytes;
    EXPECT(memcmp(body - 4, "\r\n\r\n", 4) == 0);
    bool same = true;
    for (size_t i = 0; i < bytes; i++)
        same &= body[i] == (uint8_t)('a' + i % 26);
    EXPECT(same);
    buf_clear(&client->got);
}

TEST(tls, answers_of_any_size_arrive_whole_however_the_bytes_are_cut) {
    Server server;
    server_open(&server);
    size_t steps[] = {1, 7, 1000, 65536};
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        Client client;
        client_open(&client, &server, steps[i]);
        size_t sizes[] = {0, 1, 16384, 70000, steps[i] < 1000 ? 0 : 3000000};
        for (size_t j = 0; j < ARRAY_LEN(sizes); j++) {
            client_ask(&client, sizes[j]);
            expect_body(&client, sizes[j]);
        }
        EXPECT(tls_is_open(CONTAINER_OF(server.loop->all.next, NetConn, in_all)->tls));
        client_close(&client);
    }
    EXPECT_EQ(server.closes, 4);
    server_close(&server);
}

TEST(tls, an_idle_connection_holds_no_buffers) {
    Server server;
    server_open(&server);
    Client client;
    client_open(&client, &server, 65536);
    client_ask(&client, 100000);
    expect_body(&client, 100000);
    NetConn *conn = CONTAINER_OF(server.loop->all.next, NetConn, in_all);
    EXPECT_EQ(conn->in.cap, 0);
    EXPECT(!tls_unread(conn->tls));
    EXPECT(!tls_unsent(conn->tls));
    client_close(&client);
    server_close(&server);
}

#define UPGRADE                                                                    \
    "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" \
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" \
    "Sec-WebSocket-Protocol: v2.test\r\n\r\n"

static void say_message(Client *client, size_t bytes) {
    Buf out = {0};
    uint8_t head[WS_HEAD_MAX];
    size_t len = ws_head_write(head, WS_BINARY, bytes);
    head[1] |= 0x80;
    buf_put(&out, head, len);
    buf_put(&out, "\0\0\0\0", 4);
    for (size_t i = 0; i < bytes; i++)
        buf_put_u8(&out, (uint8_t)('0' + i % 10));
    client_say(client, buf_bytes(&out));
    buf_deinit(&out);
}

static void upgrade(Client *client) {
    client_say(client, BYTES(UPGRADE, strlen(UPGRADE)));
    client_await(client, 100);
    for (int i = 0; i < 10; i++)
        client_step(client);
    buf_clear(&client->got);
}

TEST(tls, messages_behind_a_pause_are_read_though_the_socket_is_quiet) {
    Server server;
    server_open(&server);
    Client client;
    client_open(&client, &server, 65536);
    upgrade(&client);
    server.pause = true;
    // One record of the client holds them all: what is decrypted lies in OpenSSL when we pause.
    for (int i = 0; i < 3; i++)
        say_message(&client, 9000);
    for (int i = 0; i < 10; i++)
        client_step(&client);
    size_t first = client.got.len;
    EXPECT(first >= 9000 && first < 18000);
    server.pause = false;
    net_resume(server.ws);
    client_await(&client, 27000);
    client_close(&client);
    server_close(&server);
}

TEST(tls, who_does_not_read_holds_back_only_themselves) {
    Server server;
    server_open(&server);
    Client slow, quick;
    client_open(&slow, &server, 65536);
    client_ask(&slow, 1);
    expect_body(&slow, 1);
    slow.deaf = true;
    client_ask(&slow, 20000000);
    for (int i = 0; i < 50; i++)
        client_step(&slow);
    NetConn *conn = CONTAINER_OF(server.loop->all.next, NetConn, in_all);
    EXPECT(conn->out_stuck);
    EXPECT(conn->out.bytes > 15000000);  // not sealed ahead of the socket
    client_open(&quick, &server, 65536);
    client_ask(&quick, 500000);
    expect_body(&quick, 500000);
    slow.deaf = false;
    expect_body(&slow, 20000000);
    client_close(&slow);
    client_close(&quick);
    server_close(&server);
}

TEST(tls, http_in_the_clear_is_told_what_is_spoken_here) {
    Server server;
    server_open(&server);
    int socket;
    EXPECT_OK(sim_net_connect(server.sim, server.port, &socket));
    char text[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    struct iovec part = {text, sizeof text - 1};
    size_t wrote, got = 0;
    EXPECT_OK(server.io->net_write(server.io->world, socket, &part, 1, &wrote));
    for (int i = 0; i < 4; i++)
        turn(&server);
    char answer[1024] = "";
    EXPECT_OK(server.io->net_read(server.io->world, socket, answer, sizeof answer - 1, &got));
    EXPECT(strncmp(answer, "HTTP/1.1 400 ", 13) == 0);
    EXPECT(strstr(answer, "use https://") != NULL);
    server.io->net_close(server.io->world, socket);
    turn(&server);
    server_close(&server);
}

TEST(tls, records_that_are_broken_end_the_connection_with_a_reason) {
    Server server;
    server_open(&server);
    for (uint8_t byte = 0; byte < 3; byte++) {
        int socket;
        EXPECT_OK(sim_net_connect(server.sim, server.port, &socket));
        uint8_t record[] = {0x16, 3, 1, 0, 4, 1, 0, 0, byte};
        struct iovec part = {record, sizeof record};
        size_t wrote;
        EXPECT_OK(server.io->net_write(server.io->world, socket, &part, 1, &wrote));
        for (int i = 0; i < 4; i++)
            turn(&server);
        server.io->net_close(server.io->world, socket);
        turn(&server);
    }
    EXPECT_EQ(server.closes, 3);
    EXPECT(server.why[0]);
    server_close(&server);
}

TEST(tls, a_goodbye_is_said_so_that_an_end_cannot_be_forged) {
    Server server;
    server_open(&server);
    Client client;
    client_open(&client, &server, 65536);
    client_say(&client, BYTES("GET /5 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 48));
    client_await(&client, 5);
    const Io *io = server.io;
    io->net_finish(io->world, client.socket);
    for (int i = 0; i < 20; i++)
        client_step(&client);
    EXPECT(client.ended);
    EXPECT(SSL_get_shutdown(client.ssl) & SSL_RECEIVED_SHUTDOWN);
    client_close(&client);
    server_close(&server);
}

static int certificate_seen(Client *client) {
    X509 *cert = SSL_get1_peer_certificate(client->ssl);
    char name[32] = "";
    X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, name, sizeof name);
    X509_free(cert);
    return strcmp(name, "second") == 0 ? 2 : strcmp(name, "first") == 0 ? 1 : 0;
}

TEST(tls, a_certificate_is_replaced_while_connections_go_on) {
    Server server;
    server_open(&server);
    Client before, after;
    client_open(&before, &server, 65536);
    client_ask(&before, 1);
    expect_body(&before, 1);
    EVP_PKEY *key = key_write(key_path);
    Diag diag = {0};
    EXPECT_ERR(net_tls_reload(server.tls, &diag), ERR_INVALID);  // the certificate is still the old
    EXPECT(strstr(diag.text, "key values mismatch") != NULL);
    cert_write(key, "second");
    EVP_PKEY_free(key);
    EXPECT_OK(net_tls_reload(server.tls, &diag));
    client_open(&after, &server, 65536);
    client_ask(&after, 1);
    expect_body(&after, 1);
    client_ask(&before, 1);
    expect_body(&before, 1);
    EXPECT_EQ(certificate_seen(&before), 1);
    EXPECT_EQ(certificate_seen(&after), 2);
    client_close(&before);
    client_close(&after);
    server_close(&server);
}

TEST(tls, files_that_cannot_be_used_are_named) {
    files_make();
    NetTls *tls = NULL;
    Diag diag = {0};
    EXPECT_ERR(net_tls_open(cert_path, other_key_path, &tls, &diag), ERR_INVALID);
    EXPECT(strstr(diag.text, other_key_path) != NULL);
    EXPECT_ERR(net_tls_open(key_path, key_path, &tls, &diag), ERR_INVALID);
    EXPECT(strstr(diag.text, "cannot use the certificate") != NULL);
    EXPECT_ERR(net_tls_open("/nowhere/at/all", key_path, &tls, &diag), ERR_INVALID);
    EXPECT(strstr(diag.text, "/nowhere/at/all") != NULL);
    EXPECT(tls == NULL);
    files_remove();
}

TEST_MAIN()
