// http_test.c: requests as bytes.
#include "net/http.h"

#include "base/mem.h"
#include "base/test.h"

typedef struct Parsed {
    HttpParser parser;
    HttpHeader headers[HTTP_HEADERS_MAX];
    HttpRequest request;
    uint8_t bytes[256 * 1024];
    size_t len;
    HttpStep step;
    int heads;
} Parsed;

// Feed `text` in pieces of `piece` bytes.
static Parsed *parse_pieces(Str text, size_t piece, size_t body_max, bool discard) {
    Parsed *p = mem_zalloc(sizeof *p);
    ASSERT(p);
    http_parser_init(&p->parser, 4096);
    p->step = HTTP_MORE;
    for (size_t at = 0; at < text.len && p->step == HTTP_MORE; at += piece) {
        size_t take = MIN(piece, text.len - at);
        memcpy(p->bytes + p->len, text.ptr + at, take);
        p->len += take;
        while ((p->step = http_parse(&p->parser, p->bytes, &p->len)) == HTTP_HEAD) {
            p->heads++;
            p->parser.body_max = body_max;
            p->parser.body_discard = discard;
        }
    }
    http_request_view(&p->parser, p->bytes, p->headers, &p->request);
    return p;
}

static Parsed *parse(const char *text) {
    return parse_pieces(str_from(text), SIZE_MAX / 2, 1000, false);
}

static void expect_refused(const char *text, int status) {
    Parsed *p = parse(text);
    if (p->step != HTTP_REFUSED || p->parser.status != status)
        print_error("%s\nstep %d status %d\n", text, p->step, p->parser.status);
    EXPECT_EQ(p->step, HTTP_REFUSED);
    EXPECT_EQ(p->parser.status, status);
    mem_free(p);
}

TEST(http, a_request_is_a_view_of_its_bytes) {
    Parsed *p = parse("POST /v1/database/x/call/add?token=a%20b&confirmed=true HTTP/1.1\r\n"
                      "Host: a\r\nX-Empty:\r\nX-Padded: \t two words \r\nContent-Length: 5\r\n\r\n"
                      "hello");
    EXPECT_EQ(p->step, HTTP_WHOLE);
    EXPECT_EQ(p->heads, 1);
    EXPECT(str_eq(p->request.method, STR("POST")));
    EXPECT(str_eq(p->request.path, STR("/v1/database/x/call/add")));
    EXPECT(str_eq(p->request.query, STR("token=a%20b&confirmed=true")));
    EXPECT(str_eq(http_header(&p->request, STR("x-padded")), STR("two words")));
    EXPECT(http_header(&p->request, STR("x-empty")).ptr != NULL);
    EXPECT(http_header(&p->request, STR("x-absent")).ptr == NULL);
    EXPECT_BYTES(p->request.body, BYTES("hello", 5));
    EXPECT(p->request.keep_alive);
    mem_free(p);
}

TEST(http, chunks_are_joined_however_they_arrive) {
    Str text = STR("PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                   "5;name=value\r\nhello\r\n1\r\n \r\n00A\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"
                   "GET /next HTTP/1.1\r\n");
    for (size_t piece = 1; piece <= text.len; piece++) {
        Parsed *p = parse_pieces(text, piece, 1000, false);
        EXPECT_EQ(p->step, HTTP_WHOLE);
        EXPECT_BYTES(p->request.body, BYTES("hello 0123456789", 16));
        Str next = {(char *)p->bytes + p->parser.scan, p->len - p->parser.scan};
        EXPECT(str_starts(STR("GET /next HTTP/1.1\r\n"), next));
        mem_free(p);
    }
}

TEST(http, a_discarded_body_is_counted_and_not_kept) {
    static char text[100000];
    int head =
        snprintf(text, sizeof text, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 99000\r\n\r\n");
    memset(text + head, 'x', sizeof text - (size_t)head);
    size_t extra = sizeof text - (size_t)head - 99000;
    Parsed *p = parse_pieces((Str){text, sizeof text}, 1000, 10, true);
    EXPECT_EQ(p->step, HTTP_WHOLE);
    EXPECT_EQ(p->request.body.len, 0);
    EXPECT(p->len <= (size_t)head + 1000);
    EXPECT(extra < 1000);
    EXPECT_EQ(p->parser.body_seen, 99000);
    mem_free(p);
}

TEST(http, absolute_targets_lose_their_origin) {
    Parsed *p = parse("GET HTTP://host:80/a?b#c HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT(str_eq(p->request.path, STR("/a")));
    EXPECT(str_eq(p->request.query, STR("b")));
    mem_free(p);
    p = parse("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT(str_eq(p->request.path, STR("*")));
    mem_free(p);
}

TEST(http, keep_alive_follows_version_and_header) {
    const struct {
        const char *text;
        bool keep;
    } cases[] = {
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", true},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n", false},
        {"GET / HTTP/1.0\r\n\r\n", false},
        {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Parsed *p = parse(cases[i].text);
        EXPECT_EQ(p->step, HTTP_WHOLE);
        EXPECT_EQ(p->request.keep_alive, cases[i].keep);
        mem_free(p);
    }
}

TEST(http, what_two_readers_could_read_differently_is_refused) {
#define POST "POST / HTTP/1.1\r\nHost: a\r\n"
    expect_refused(POST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
    expect_refused(POST "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", 400);
    expect_refused(POST "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", 400);
    expect_refused(POST "Content-Length: 1, 1\r\n\r\n", 400);
    expect_refused(POST "Content-Length: -1\r\n\r\n", 400);
    expect_refused(POST "Content-Length: +1\r\n\r\n", 400);
    expect_refused(POST "Content-Length: 0x1\r\n\r\n", 400);
    expect_refused(POST "Content-Length:\r\n\r\n", 400);
    expect_refused(POST "Content-Length: 99999999999999999999\r\n\r\n", 400);
    expect_refused(POST "Content-Length : 1\r\n\r\n", 400);
    expect_refused(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
    expect_refused(POST "Transfer-Encoding: gzip, chunked\r\n\r\n", 501);
    expect_refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
    expect_refused(POST " folded: x\r\n\r\n", 400);
    expect_refused(POST "A: b\n\r\n", 400);
    expect_refused(POST "A: b\rC: d\r\n\r\n", 400);
    expect_refused("GET / HTTP/1.1\nHost: a\n\n", 400);
    expect_refused("GET / HTTP/1.1\r\n\r\n", 400);
    expect_refused("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400);
    expect_refused(POST "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n", 400);
    expect_refused(POST "Transfer-Encoding: chunked\r\n\r\n\r\n", 400);
    expect_refused(POST "Transfer-Encoding: chunked\r\n\r\n-1\r\n", 400);
    expect_refused(POST "Transfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n", 400);
    expect_refused(POST "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n", 413);
}

TEST(http, malformed_and_foreign_requests_are_named) {
    expect_refused("GET /\r\n\r\n", 400);
    expect_refused("GET  / HTTP/1.1\r\n", 400);
    expect_refused("G@T / HTTP/1.1\r\n", 400);
    expect_refused("GET nowhere HTTP/1.1\r\n", 400);
    expect_refused("GET http://host HTTP/1.1\r\n", 400);
    expect_refused("GET / HTTP/1.1 \r\n", 400);
    expect_refused("PRI * HTTP/2.0\r\n", 505);
    expect_refused("CONNECT /x HTTP/1.1\r\n", 501);
    expect_refused(POST "Expect: miracles\r\n\r\n", 417);
    expect_refused(POST "Content-Length: 1001\r\n\r\n", 413);
    expect_refused(POST "Transfer-Encoding: chunked\r\n\r\n3e9\r\n", 413);
}

TEST(http, a_head_has_a_size_and_a_number_of_lines) {
    static char text[8192];
    memcpy(text, "GET / HTTP/1.1\r\nA: ", 19);
    memset(text + 19, 'x', sizeof text - 20);
    expect_refused(text, 431);
    Buf many = {0};
    buf_put_str(&many, STR("GET / HTTP/1.1\r\n"));
    for (int i = 0; i <= HTTP_HEADERS_MAX; i++)
        buf_put_str(&many, STR("a: b\r\n"));
    buf_put_u8(&many, 0);
    expect_refused((char *)many.ptr, 431);
    buf_deinit(&many);
    Buf trailers = {0};
    buf_put_str(&trailers, STR(POST "Transfer-Encoding: chunked\r\n\r\n0\r\n"));
    for (int i = 0; i < 10000; i++)
        buf_put_str(&trailers, STR("trailer: b\r\n"));
    for (size_t piece = 7; piece < 40000; piece *= 7) {
        Parsed *p = parse_pieces(bytes_str(buf_bytes(&trailers)), piece, 10, false);
        EXPECT_EQ(p->step, HTTP_REFUSED);
        mem_free(p);
    }
    buf_deinit(&trailers);
}

TEST(http, query_values_are_decoded) {
    Arena arena = {0};
    Str query = STR("a=1&b%20c=x+y%2B&flag&a=2&bad=%zz&=e");
    Str out;
    EXPECT(http_query_value(query, STR("a"), &arena, &out));
    EXPECT(str_eq(out, STR("1")));
    EXPECT(http_query_value(query, STR("b c"), &arena, &out));
    EXPECT(str_eq(out, STR("x y+")));
    EXPECT(http_query_value(query, STR("flag"), &arena, &out));
    EXPECT_EQ(out.len, 0);
    EXPECT(!http_query_value(query, STR("bad"), &arena, &out));
    EXPECT(!http_query_value(query, STR("absent"), &arena, &out));
    EXPECT_OK(http_percent_decode(STR("a+b%2fc"), &arena, &out));
    EXPECT(str_eq(out, STR("a+b/c")));
    EXPECT_ERR(http_percent_decode(STR("a%2"), &arena, &out), ERR_INVALID);
    EXPECT_ERR(http_percent_decode(STR("%ff"), &arena, &out), ERR_INVALID);
    arena_deinit(&arena);
}

TEST(http, dates_are_those_of_the_standard) {
    char out[30];
    http_date((Micros)784111777 * 1000000, out);
    EXPECT_STR(out, "Sun, 06 Nov 1994 08:49:37 GMT");
    http_date((Micros)951782400 * 1000000, out);
    EXPECT_STR(out, "Tue, 29 Feb 2000 00:00:00 GMT");
    http_date(0, out);
    EXPECT_STR(out, "Thu, 01 Jan 1970 00:00:00 GMT");
}

TEST_MAIN()
