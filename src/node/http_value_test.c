#include "node/http_value.h"

#include "base/mem.h"
#include "base/test.h"

TEST(http_value, a_request_is_written_as_the_specification_shows) {
    Buf out = {0};
    HttpValue get = {.method = STR("GET"), .uri = STR("http://a/"), .version = HTTP_VERSION_1_1};
    http_value_put_request(&out, &get);
    EXPECT_HEX(buf_bytes(&out),
               "0000000000010900000068747470"
               "3a2f2f612f02");
    buf_deinit(&out);
}

static const char *const methods[] =
    {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PURGE"};

TEST(http_value, every_method_comes_back) {
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        Arena arena = {0};
        Buf out = {0};
        HttpValue back, v = {.method = str_from(methods[i]),
                             .uri = STR("http://a/b?c=d"),
                             .has_timeout = i % 2,
                             .timeout = 1234567,
                             .version = HTTP_VERSION_2,
                             .headers = (HttpHeader[]){{STR("a"), STR("1")}, {STR("a"), STR("")}},
                             .header_count = 2};
        http_value_put_request(&out, &v);
        EXPECT_EQ(out.ptr[0], i);
        EXPECT_OK(http_value_get_request(buf_bytes(&out), &arena, &back));
        EXPECT(str_eq(back.method, v.method) && str_eq(back.uri, v.uri));
        EXPECT_EQ(back.has_timeout, i % 2);
        if (back.has_timeout) EXPECT_EQ(back.timeout, 1234567);
        EXPECT_EQ(back.header_count, 2);
        EXPECT(str_eq(back.headers[0].value, STR("1")) && back.headers[1].value.len == 0);
        EXPECT_EQ(back.version, HTTP_VERSION_2);
        buf_deinit(&out);
        arena_deinit(&arena);
    }
}

TEST(http_value, whatever_is_cut_short_is_refused) {
    Buf request = {0}, response = {0};
    HttpHeader header = {STR("name"), STR("value")};
    HttpValue v = {.method = STR("ODD"),
                   .uri = STR("u"),
                   .code = 200,
                   .headers = &header,
                   .header_count = 1};
    http_value_put_request(&request, &v);
    http_value_put_response(&response, &v);
    Arena arena = {0};
    HttpValue back;
    for (size_t len = 0; len < request.len; len++)
        EXPECT_ERR(http_value_get_request(BYTES(request.ptr, len), &arena, &back), ERR_MALFORMED);
    for (size_t len = 0; len < response.len; len++)
        EXPECT_ERR(http_value_get_response(BYTES(response.ptr, len), &arena, &back), ERR_MALFORMED);
    EXPECT_OK(http_value_get_response(buf_bytes(&response), &arena, &back));
    EXPECT_EQ(back.code, 200);
    arena_deinit(&arena);
    buf_deinit(&request);
    buf_deinit(&response);
}

TEST(http_value, unknown_tags_and_impossible_counts_are_refused) {
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {
        {"\x0a\0\0\0\0\1\0\0\0\0\2", 11},              // a method of no kind
        {"\0\0\0\0\0\2\0\0\0\0\2", 11},                // neither some nor none
        {"\0\0\0\0\0\1\0\0\0\0\5", 11},                // HTTP/6
        {"\0\xff\xff\xff\xff\1\0\0\0\0\2", 11},        // four billion headers
        {"\x09\1\0\0\0\xff\0\0\0\0\1\0\0\0\0\2", 16},  // not UTF-8
    };
    Arena arena = {0};
    HttpValue back;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        EXPECT_ERR(http_value_get_request(BYTES(bad[i].bytes, bad[i].len), &arena, &back),
                   ERR_MALFORMED);
    arena_deinit(&arena);
}

TEST(http_value, reading_survives_every_failed_allocation) {
    Buf request = {0};
    HttpHeader header = {STR("name"), STR("value")};
    HttpValue back,
        v = {.method = STR("GET"), .uri = STR("u"), .headers = &header, .header_count = 1};
    http_value_put_request(&request, &v);
    for (int64_t n = 0;; n++) {
        Arena arena = {0};
        mem_fault_arm(n);
        Err err = http_value_get_request(buf_bytes(&request), &arena, &back);
        mem_fault_arm(-1);
        arena_deinit(&arena);
        if (err == OK) break;
        EXPECT_EQ(err, ERR_NOMEM);
    }
    buf_deinit(&request);
}

TEST(http_value, heads_cannot_be_split) {
    EXPECT(http_value_name_ok(STR("X-Name_1!")));
    EXPECT(!http_value_name_ok(STR("")));
    EXPECT(!http_value_name_ok(STR("a b")));
    EXPECT(!http_value_name_ok(STR("a:b")));
    EXPECT(!http_value_name_ok((Str){"a\0b", 3}));
    EXPECT(!http_value_name_ok(STR("na\xc3\xafve")));
    EXPECT(http_value_text_ok(STR("")));
    EXPECT(http_value_text_ok(STR("a\tb \xc3\xaf")));
    EXPECT(!http_value_text_ok(STR("a\r\nset-cookie: b")));
    EXPECT(!http_value_text_ok((Str){"a\0b", 3}));
    EXPECT(!http_value_text_ok(STR("\x7f")));
}

TEST_MAIN()
