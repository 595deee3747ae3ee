#define _GNU_SOURCE  // memmem
#include "node/outbound.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/test.h"
#include "node/http_value.h"

static bool is_public(const char *text) {
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
        return outbound_address_public((const struct sockaddr *)&in);
    EXPECT_EQ(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
    return outbound_address_public((const struct sockaddr *)&in6);
}

TEST(outbound, only_addresses_of_the_public_internet_are_public) {
    static const char *const open[] = {
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.1",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2606:4700:4700::1111",
        "2001:4860:4860::8888",
        "2a00:1450:4001:82a::200e",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
        "2002:808:808::1",
    };
    static const char *const closed[] = {
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.0",
        "10.255.255.255",
        "100.64.0.0",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.255",
        "169.254.0.0",
        "169.254.169.254",
        "172.16.0.0",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "192.168.255.255",
        "198.18.0.0",
        "198.19.255.255",
        "198.51.100.7",
        "203.0.113.7",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:20::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:a00:1::",
        "2002:c0a8:101::1",
        "3fff::1",
        "4000::1",
        "5f00::1",
        "fc00::1",
        "fdff:ffff::1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "ff02::1",
        "ffff::1",
    };
    for (size_t i = 0; i < ARRAY_LEN(open); i++) {
        if (!is_public(open[i])) fail_msg("%s is public", open[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(closed); i++) {
        if (is_public(closed[i])) fail_msg("%s is not public", closed[i]);
    }
    struct sockaddr local = {.sa_family = AF_UNIX};
    EXPECT(!outbound_address_public(&local));
}

// ── a server of one answer ─────────────────────────────────────────────────────────────────────

typedef struct Server {
    int listener;
    uint16_t port;
    const char *answer;
    char heard[4096];
    pthread_t thread;
} Server;

static void *server_main(void *arg) {
    Server *server = arg;
    int client = accept(server->listener, NULL, NULL);
    if (client < 0) return NULL;
    size_t len = 0;
    ssize_t got;
    while (len < sizeof server->heard - 1 && !strstr(server->heard, "\r\n\r\n") &&
           (got = read(client, server->heard + len, sizeof server->heard - 1 - len)) > 0) {
        len += (size_t)got;
        server->heard[len] = 0;
    }
    if (server->answer) {
        size_t left = strlen(server->answer);
        for (const char *at = server->answer; left && (got = write(client, at, left)) > 0;) {
            at += got;
            left -= (size_t)got;
        }
    } else {
        while (read(client, server->heard, 1) > 0) {
        }
    }
    close(client);
    return NULL;
}

static void server_start(Server *server, const char *answer) {
    *server = (Server){.answer = answer, .listener = socket(AF_INET, SOCK_STREAM, 0)};
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof in;
    EXPECT_EQ(bind(server->listener, (struct sockaddr *)&in, sizeof in), 0);
    EXPECT_EQ(listen(server->listener, 4), 0);
    EXPECT_EQ(getsockname(server->listener, (struct sockaddr *)&in, &len), 0);
    server->port = ntohs(in.sin_port);
    EXPECT_EQ(pthread_create(&server->thread, NULL, server_main, server), 0);
}

static void server_stop(Server *server) {
    shutdown(server->listener, SHUT_RDWR);
    close(server->listener);
    pthread_join(server->thread, NULL);
}

typedef struct Asked {
    AbiErrno result;
    Buf response, body;
} Asked;

static Asked ask(const OutboundLimits *limits, const HttpValue *request, Bytes body) {
    Asked asked = {0};
    Buf bytes = {0};
    http_value_put_request(&bytes, request);
    asked.result = outbound_request(limits, buf_bytes(&bytes), body, &asked.response, &asked.body);
    buf_deinit(&bytes);
    return asked;
}

static void asked_free(Asked *asked) {
    buf_deinit(&asked->response);
    buf_deinit(&asked->body);
}

static const OutboundLimits all = {.access = OUTBOUND_ALL, .response_max = 1000};

static Str url_of(const Server *server, char out[64], const char *path) {
    snprintf(out, 64, "http://127.0.0.1:%u%s", server->port, path);
    return str_from(out);
}

static bool contains(const Buf *text, const char *part) {
    return memmem(text->ptr, text->len, part, strlen(part)) != NULL;
}

TEST(outbound, says_exactly_what_the_module_said) {
    Server server;
    char url[64];
    server_start(
        &server,
        "HTTP/1.1 418 Teapot\r\nX-One: 1\r\nx-two:  b c \r\ncontent-length: 5\r\n\r\nhello");
    HttpHeader headers[] = {{STR("X-Mine"), STR("yes")}, {STR("x-empty"), STR("")}};
    HttpValue request = {.method = STR("POST"),
                         .uri = url_of(&server, url, "/p?q=1"),
                         .headers = headers,
                         .header_count = 2};
    Asked asked = ask(&all, &request, BYTES("body", 4));
    server_stop(&server);
    EXPECT_EQ(asked.result, ABI_OK);
    EXPECT_BYTES(buf_bytes(&asked.body), BYTES("hello", 5));
    EXPECT(str_starts(str_from(server.heard), STR("POST /p?q=1 HTTP/1.1\r\n")));
    EXPECT(strstr(server.heard, "X-Mine: yes\r\n") && strstr(server.heard, "x-empty:\r\n"));
    EXPECT(strstr(server.heard, "Content-Length: 4\r\n"));
    EXPECT(!strstr(server.heard, "Expect") && !strstr(server.heard, "Content-Type"));
    Arena arena = {0};
    HttpValue response;
    EXPECT_OK(http_value_get_response(buf_bytes(&asked.response), &arena, &response));
    EXPECT_EQ(response.code, 418);
    EXPECT_EQ(response.header_count, 3);
    EXPECT(str_eq(response.headers[0].name, STR("x-one")));
    EXPECT(str_eq(response.headers[1].value, STR("b c")));
    arena_deinit(&arena);
    asked_free(&asked);
}

TEST(outbound, refuses_private_addresses_however_they_are_written) {
    OutboundLimits limits = {.access = OUTBOUND_PUBLIC, .response_max = 1000};
    static const char *const urls[] = {"http://127.0.0.1:1/?token=1",
                                       "http://localhost:1/",
                                       "http://[::1]:1/",
                                       "http://0x7f000001:1/",
                                       "http://0177.1:1/",
                                       "http://2130706433:1/",
                                       "http://[::ffff:127.0.0.1]:1/"};
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        HttpValue request = {.method = STR("GET"), .uri = str_from(urls[i])};
        Asked asked = ask(&limits, &request, BYTES_NONE);
        EXPECT_EQ(asked.result, ABI_HTTP_ERROR);
        EXPECT(contains(&asked.response,
                        "refusing to connect to private or special-purpose addresses"));
        EXPECT(!contains(&asked.response, "token"));
        asked_free(&asked);
    }
}

TEST(outbound, follows_redirects_to_http_only) {
    Server server;
    char url[64];
    server_start(&server,
                 "HTTP/1.1 302 Found\r\nlocation: file:///etc/passwd\r\ncontent-length: 0\r\n\r\n");
    HttpValue request = {.method = STR("GET"), .uri = url_of(&server, url, "/")};
    Asked asked = ask(&all, &request, BYTES_NONE);
    server_stop(&server);
    EXPECT_EQ(asked.result, ABI_HTTP_ERROR);
    EXPECT_EQ(asked.body.len, 0);
    asked_free(&asked);
}

TEST(outbound, a_body_beyond_the_limit_is_an_error_and_nothing_of_it_is_kept) {
    static char answer[2200];
    Server server;
    char url[64];
    int head = snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n");
    memset(answer + head, 'x', 2000);
    server_start(&server, answer);
    HttpValue request = {.method = STR("GET"), .uri = url_of(&server, url, "/?secret")};
    Asked asked = ask(&all, &request, BYTES_NONE);
    server_stop(&server);
    EXPECT_EQ(asked.result, ABI_HTTP_ERROR);
    EXPECT(contains(&asked.response, "larger than this server allows"));
    EXPECT(!contains(&asked.response, "secret"));
    EXPECT_EQ(asked.body.len, 0);
    asked_free(&asked);
}

TEST(outbound, a_server_that_says_nothing_is_given_up) {
    Server server;
    char url[64];
    server_start(&server, NULL);
    HttpValue request = {.method = STR("GET"),
                         .uri = url_of(&server, url, "/"),
                         .has_timeout = true,
                         .timeout = 50000};
    Asked asked = ask(&all, &request, BYTES_NONE);
    server_stop(&server);
    EXPECT_EQ(asked.result, ABI_HTTP_ERROR);
    EXPECT(contains(&asked.response, "operation timed out"));
    asked_free(&asked);
}

static bool yes(void *ctx) {
    (void)ctx;
    return true;
}

TEST(outbound, a_server_that_stops_does_not_wait_for_answers) {
    Server server;
    char url[64];
    server_start(&server, NULL);
    OutboundLimits limits = {.access = OUTBOUND_ALL, .response_max = 1000, .cancelled = yes};
    HttpValue request = {.method = STR("GET"), .uri = url_of(&server, url, "/")};
    Asked asked = ask(&limits, &request, BYTES_NONE);
    server_stop(&server);
    EXPECT_EQ(asked.result, ABI_HTTP_ERROR);
    EXPECT(contains(&asked.response, "the server is stopping"));
    asked_free(&asked);
}

TEST(outbound, what_is_not_a_request_is_not_made) {
    Buf response = {0}, body = {0};
    EXPECT_EQ(outbound_request(&all, BYTES("\x63", 1), BYTES_NONE, &response, &body),
              ABI_BSATN_DECODE_ERROR);
    OutboundLimits off = {.access = OUTBOUND_OFF};
    HttpHeader split = {STR("a"), STR("b\r\nc: d")};
    static const char *const odd[] = {"ftp://127.0.0.1/", "file:///etc/passwd", "nonsense", ""};
    HttpValue request = {.method = STR("GET"), .uri = STR("http://127.0.0.1:1/")};
    Asked asked = ask(&off, &request, BYTES_NONE);
    EXPECT_EQ(asked.result, ABI_HTTP_ERROR);
    EXPECT(contains(&asked.response, "module outbound HTTP requests are disabled"));
    asked_free(&asked);
    request.headers = &split;
    request.header_count = 1;
    asked = ask(&all, &request, BYTES_NONE);
    EXPECT_EQ(asked.result, ABI_HTTP_ERROR);
    EXPECT(contains(&asked.response, "invalid header"));
    asked_free(&asked);
    request.header_count = 0;
    for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
        request.uri = str_from(odd[i]);
        asked = ask(&all, &request, BYTES_NONE);
        EXPECT_EQ(asked.result, ABI_HTTP_ERROR);
        asked_free(&asked);
    }
    buf_deinit(&response);
    buf_deinit(&body);
}

TEST_MAIN()
