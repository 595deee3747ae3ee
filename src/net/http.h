// http.h: HTTP/1.1 requests as bytes, without sockets.
//
// A parser looks at the bytes of one request as they arrive, in the caller's buffer, and remembers
// places in it (not pointers: the buffer may move as it grows). It refuses whatever two parties
// could read differently: that is how requests are smuggled.
#pragma once
#include "net/net.h"

#define HTTP_HEADERS_MAX 100

typedef struct HttpSpan {  // a piece of the head; heads are far smaller than 4 GiB
    uint32_t at, len;
} HttpSpan;

typedef enum HttpStage {
    HTTP_STAGE_LINE,
    HTTP_STAGE_HEADERS,
    HTTP_STAGE_HEAD_READY,  // the caller may now set body_max and body_discard
    HTTP_STAGE_LENGTH,      // a body of body_left more bytes
    HTTP_STAGE_CHUNK_SIZE,
    HTTP_STAGE_CHUNK_DATA,
    HTTP_STAGE_CHUNK_END,
    HTTP_STAGE_TRAILERS,
    HTTP_STAGE_DONE,
    HTTP_STAGE_REFUSED,
} HttpStage;

typedef enum HttpStep {
    HTTP_MORE,     // append more bytes and call again
    HTTP_HEAD,     // once a request: the head is complete; call again for the body
    HTTP_WHOLE,    // bytes[0, scan) were this request, the rest is the next one's
    HTTP_REFUSED,  // answer `status` with `why` and close
} HttpStep;

typedef struct HttpParser {
    HttpStage stage;
    bool http_1_0;
    bool keep_alive;
    bool is_upgrade;
    bool is_chunked;
    bool has_length;
    bool expects_continue;
    bool body_discard;      // set by the caller after HTTP_HEAD: count the body, keep none of it
    uint32_t header_count;  // of headers[]
    uint32_t lines_bytes;   // taken so far of the head, the trailers or this chunk's size line
    HttpSpan method, path, query;
    size_t head_bytes_max;  // set by http_parser_init
    size_t body_max;        // set by the caller after HTTP_HEAD
    size_t scan;            // bytes[0, scan) are understood
    size_t looked;          // no line end in bytes[scan, looked)
    size_t body_at;         // the body is bytes[body_at, body_at + body_len)
    size_t body_len;
    uint64_t body_seen;  // bytes of body so far, kept or not
    uint64_t body_left;  // of the body or of the current chunk
    int status;          // HTTP_REFUSED: what to answer
    const char *why;     // static
    struct {
        HttpSpan name, value;
    } headers[HTTP_HEADERS_MAX];
} HttpParser;

void http_parser_init(HttpParser *parser, size_t head_bytes_max);

// Go on with a request whose bytes so far are bytes[0, *len). Chunked and discarded bodies are
// squeezed in place: *len may shrink, and what follows the body moves down with it.
HttpStep http_parse(HttpParser *parser, uint8_t *bytes, size_t *len);

// The request as pointers into bytes. `headers` has room for parser->header_count.
void http_request_view(const HttpParser *parser,
                       const uint8_t *bytes,
                       HttpHeader *headers,
                       HttpRequest *out);

// Is `token` in a comma-separated list such as Connection's? ASCII case does not matter.
bool http_list_has(Str list, Str token);
const char *http_reason(int status);  // "" for those nobody has named, such as 530
// "Sun, 06 Nov 1994 08:49:37 GMT", terminated.
void http_date(Micros wall, char out[30]);
