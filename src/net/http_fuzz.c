// http_fuzz.c: a request means the same however its bytes are cut.
//
// The first byte chooses the size of the pieces. The same bytes are parsed at once and in pieces,
// each time from an allocation of exactly their size, and must come to the same end.
#include <stdlib.h>

#include "net/http.h"

typedef struct Outcome {
    HttpStep step;
    int status;
    Buf view;  // method, path, query, headers, body, and what is left for the next request
} Outcome;

static void part_put(Buf *view, const void *ptr, size_t len) {
    buf_put_u32(view, (uint32_t)len);
    buf_put(view, ptr, len);
}

static void outcome_view(const HttpParser *parser, const uint8_t *bytes, Buf *view) {
    HttpHeader headers[HTTP_HEADERS_MAX];
    HttpRequest request;
    http_request_view(parser, bytes, headers, &request);
    part_put(view, request.method.ptr, request.method.len);
    part_put(view, request.path.ptr, request.path.len);
    part_put(view, request.query.ptr, request.query.len);
    for (uint32_t i = 0; i < request.header_count; i++) {
        part_put(view, headers[i].name.ptr, headers[i].name.len);
        part_put(view, headers[i].value.ptr, headers[i].value.len);
    }
    part_put(view, request.body.ptr, request.body.len);
}

static Outcome run(const uint8_t *data, size_t size, size_t piece, bool discard) {
    Outcome out = {.step = HTTP_MORE};
    HttpParser parser;
    http_parser_init(&parser, 1024);
    uint8_t *bytes = NULL;
    size_t len = 0, at = 0;
    while (out.step == HTTP_MORE && at < size) {
        size_t take = MIN(piece, size - at);
        uint8_t *grown = malloc(len + take);
        ASSERT(grown);
        if (len) memcpy(grown, bytes, len);
        memcpy(grown + len, data + at, take);
        free(bytes);
        bytes = grown;
        len += take;
        at += take;
        while ((out.step = http_parse(&parser, bytes, &len)) == HTTP_HEAD) {
            parser.body_max = 4096;
            parser.body_discard = discard;
        }
        ASSERT(parser.scan <= len);
    }
    out.status = parser.status;
    if (out.step == HTTP_WHOLE) {
        outcome_view(&parser, bytes, &out.view);
        ASSERT(parser.body_len <= 4096);
        buf_put(&out.view, bytes + parser.scan, len - parser.scan);
        buf_put(&out.view, data + at, size - at);
    }
    free(bytes);
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    bool discard = data[0] & 0x80;
    size_t piece = (size_t)(data[0] & 0x7f) + 1;
    Outcome whole = run(data + 1, size - 1, size, discard);
    Outcome pieces = run(data + 1, size - 1, piece, discard);
    ASSERT(whole.step == pieces.step);
    ASSERT(whole.status == pieces.status);
    ASSERT(bytes_eq(buf_bytes(&whole.view), buf_bytes(&pieces.view)));
    buf_deinit(&whole.view);
    buf_deinit(&pieces.view);
    return 0;
}
