// http.c: one request, from bytes to a view of them.
//
// PICTURE
//   LINE ─> HEADERS ─> HEAD_READY ─┬─> LENGTH ───────────────────────────────> DONE
//                                  ├─> CHUNK_SIZE ─> CHUNK_DATA ─> CHUNK_END ┐   ^
//                                  │        ^──────────────────────────────-─┘   │
//                                  │        └─(size 0)─> TRAILERS ───────────────┤
//                                  └─(no body)───────────────────────────────────┘
//   and from anywhere to REFUSED.
//
// ALWAYS TRUE
//   (1) Lines end in CR LF, both; no other CR, LF or NUL is in the head.
//   (2) A body has one length: Content-Length once and in digits, or chunked, never both.
//   (3) What is kept is bounded: the head by head_bytes_max and HTTP_HEADERS_MAX, the body by
//       body_max, a chunk's size line by CHUNK_LINE_MAX.
//   (4) Each byte is looked at a bounded number of times, however slowly they drip in.
//
// CALLERS   conn.c, http_fuzz.c
// NOT HERE  answers (answer.c); routes, tokens and CORS preflights (node/).
#include "net/http.h"

#include <stdio.h>

#define CHUNK_LINE_MAX   256
#define TRAILERS_MAX     (8 * 1024)
#define DISCARD_BODY_MAX (256ull << 20)  // thrown away, but the client's time is not ours

void http_parser_init(HttpParser *parser, size_t head_bytes_max) {
    // headers[] is only read below header_count: leave its kilobytes alone.
    memset(parser, 0, offsetof(HttpParser, headers));
    parser->head_bytes_max = head_bytes_max;
}

static HttpStep refuse(HttpParser *parser, int status, const char *why) {
    parser->stage = HTTP_STAGE_REFUSED;
    parser->keep_alive = false;
    parser->status = status;
    parser->why = why;
    return HTTP_REFUSED;
}

// RFC 9110 tchar.
static bool is_token_char(uint8_t c) {
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) return true;
    return c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

static bool is_token(const uint8_t *bytes, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (!is_token_char(bytes[i])) return false;
    return len > 0;
}

// The next line without its CR LF. HTTP_WHOLE stands for "there is one".
static HttpStep line_take(HttpParser *parser,
                          const uint8_t *bytes,
                          size_t len,
                          size_t max,
                          HttpSpan *out) {
    size_t from = MAX(parser->scan, parser->looked);
    const uint8_t *end = from < len ? memchr(bytes + from, '\n', len - from) : NULL;
    size_t used = (end ? (size_t)(end - bytes) + 1 : len) - parser->scan;
    if (used > max - parser->lines_bytes) {
        if (parser->stage <= HTTP_STAGE_HEADERS)
            return refuse(parser, 431, "the request's head is too large");
        return refuse(parser, 400, "a line in the request's body is too long");
    }
    if (!end) {
        parser->looked = len;
        return HTTP_MORE;
    }
    size_t at = parser->scan;
    size_t stop = (size_t)(end - bytes);
    if (stop == at || bytes[stop - 1] != '\r')
        return refuse(parser, 400, "a line does not end in CR LF");  // (1)
    *out = (HttpSpan){(uint32_t)at, (uint32_t)(stop - 1 - at)};
    parser->scan = stop + 1;
    parser->lines_bytes += (uint32_t)used;
    return HTTP_WHOLE;
}

static void target_split(HttpParser *parser, const uint8_t *bytes, HttpSpan target) {
    const uint8_t *hash = memchr(bytes + target.at, '#', target.len);
    if (hash) target.len = (uint32_t)(hash - bytes) - target.at;
    const uint8_t *mark = memchr(bytes + target.at, '?', target.len);
    parser->path = target;
    if (!mark) return;
    uint32_t at = (uint32_t)(mark - bytes);
    parser->path.len = at - target.at;
    parser->query = (HttpSpan){at + 1, target.at + target.len - at - 1};
}

// "http://host/path" becomes "/path"; "/path" and "*" stay. False: none of them.
static bool target_origin(const uint8_t *bytes, HttpSpan *target) {
    Str text = {(const char *)bytes + target->at, target->len};
    if (text.len == 0) return false;
    if (text.ptr[0] == '/' || (text.len == 1 && text.ptr[0] == '*')) return true;
    size_t scheme = 0;
    if (text.len > 7 && str_eq_nocase((Str){text.ptr, 7}, STR("http://"))) scheme = 7;
    if (text.len > 8 && str_eq_nocase((Str){text.ptr, 8}, STR("https://"))) scheme = 8;
    if (!scheme) return false;
    const char *path = memchr(text.ptr + scheme, '/', text.len - scheme);
    if (!path || path == text.ptr + scheme) return false;
    uint32_t skip = (uint32_t)(path - text.ptr);
    *target = (HttpSpan){target->at + skip, target->len - skip};
    return true;
}

static HttpStep line_version(HttpParser *parser, Str version) {
    if (str_eq(version, STR("HTTP/1.1"))) {
        parser->keep_alive = true;
    } else if (str_eq(version, STR("HTTP/1.0"))) {
        parser->http_1_0 = true;
    } else if (version.len == 8 && str_starts(version, STR("HTTP/"))) {
        return refuse(parser, 505, "only HTTP/1.1 is spoken here");
    } else {
        return refuse(parser, 400, "malformed request line");
    }
    return HTTP_WHOLE;
}

static HttpStep line_request(HttpParser *parser, const uint8_t *bytes, HttpSpan line) {
    if (line.len == 0) return HTTP_WHOLE;  // an empty line before a request means nothing
    const uint8_t *start = bytes + line.at;
    for (uint32_t i = 0; i < line.len; i++)
        if (start[i] < ' ' || start[i] == 0x7f)
            return refuse(parser, 400, "control character in the request line");

    const uint8_t *first = memchr(start, ' ', line.len);
    const uint8_t *last =
        first ? memchr(first + 1, ' ', line.len - (size_t)(first + 1 - start)) : NULL;
    if (!first || !last) return refuse(parser, 400, "malformed request line");

    HttpSpan method = {line.at, (uint32_t)(first - start)};
    HttpSpan target = {(uint32_t)(first + 1 - bytes), (uint32_t)(last - first - 1)};
    Str version = {(const char *)last + 1, line.len - (size_t)(last + 1 - start)};
    if (!is_token(start, method.len)) return refuse(parser, 400, "malformed method");
    HttpStep step = line_version(parser, version);
    if (step != HTTP_WHOLE) return step;
    if (str_eq((Str){(const char *)start, method.len}, STR("CONNECT")))
        return refuse(parser, 501, "CONNECT is not supported");
    if (!target_origin(bytes, &target)) return refuse(parser, 400, "malformed request target");

    parser->method = method;
    target_split(parser, bytes, target);
    parser->stage = HTTP_STAGE_HEADERS;
    return HTTP_WHOLE;
}

static HttpStep header_add(HttpParser *parser, const uint8_t *bytes, HttpSpan line) {
    const uint8_t *start = bytes + line.at;
    const uint8_t *colon = memchr(start, ':', line.len);
    // A name must touch its colon, and a line must not begin with a space (a folded one does).
    if (!colon || !is_token(start, (size_t)(colon - start)))
        return refuse(parser, 400, "malformed header");
    const uint8_t *from = colon + 1, *to = start + line.len;
    while (from < to && (*from == ' ' || *from == '\t'))
        from++;
    while (to > from && (to[-1] == ' ' || to[-1] == '\t'))
        to--;
    for (const uint8_t *c = from; c < to; c++)
        if ((*c < ' ' && *c != '\t') || *c == 0x7f)
            return refuse(parser, 400, "control character in a header");  // (1)
    if (parser->header_count == HTTP_HEADERS_MAX) return refuse(parser, 431, "too many headers");

    HttpSpan name = {line.at, (uint32_t)(colon - start)};
    HttpSpan value = {(uint32_t)(from - bytes), (uint32_t)(to - from)};
    parser->headers[parser->header_count].name = name;
    parser->headers[parser->header_count].value = value;
    parser->header_count++;
    return HTTP_WHOLE;
}

static bool length_read(Str text, uint64_t *out) {
    uint64_t value = 0;
    if (text.len == 0 || text.len > 18) return false;  // 18 digits cannot overflow
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9') return false;
        value = value * 10 + (uint64_t)(text.ptr[i] - '0');
    }
    *out = value;
    return true;
}

static Str list_item(Str *list) {
    const char *comma = list->len ? memchr(list->ptr, ',', list->len) : NULL;
    Str item = {list->ptr, comma ? (size_t)(comma - list->ptr) : list->len};
    size_t skip = item.len + (comma ? 1 : 0);
    *list = (Str){list->ptr + skip, list->len - skip};
    while (item.len && (item.ptr[0] == ' ' || item.ptr[0] == '\t'))
        item = (Str){item.ptr + 1, item.len - 1};
    while (item.len && (item.ptr[item.len - 1] == ' ' || item.ptr[item.len - 1] == '\t'))
        item.len--;
    return item;
}

bool http_list_has(Str list, Str token) {
    while (list.len)
        if (str_eq_nocase(list_item(&list), token)) return true;
    return false;
}

typedef struct HeadFacts {
    uint32_t hosts;
    bool upgrades, to_websocket;
    HttpStep step;
} HeadFacts;

static void header_weigh(HttpParser *parser, Str name, Str value, HeadFacts *facts) {
    if (str_eq_nocase(name, STR("host"))) {
        facts->hosts++;
    } else if (str_eq_nocase(name, STR("content-length"))) {
        if (parser->has_length || !length_read(value, &parser->body_left))
            facts->step = refuse(parser, 400, "malformed Content-Length");  // (2)
        parser->has_length = true;
    } else if (str_eq_nocase(name, STR("transfer-encoding"))) {
        if (parser->is_chunked) facts->step = refuse(parser, 400, "two Transfer-Encodings");  // (2)
        if (!str_eq_nocase(value, STR("chunked")))
            facts->step = refuse(parser, 501, "only chunked Transfer-Encoding is supported");
        parser->is_chunked = true;
    } else if (str_eq_nocase(name, STR("connection"))) {
        if (http_list_has(value, STR("close"))) {
            parser->keep_alive = false;
        } else if (parser->http_1_0 && http_list_has(value, STR("keep-alive"))) {
            parser->keep_alive = true;
        }
        if (http_list_has(value, STR("upgrade"))) facts->upgrades = true;
    } else if (str_eq_nocase(name, STR("upgrade"))) {
        if (http_list_has(value, STR("websocket"))) facts->to_websocket = true;
    } else if (str_eq_nocase(name, STR("expect"))) {
        if (!str_eq_nocase(value, STR("100-continue")))
            facts->step = refuse(parser, 417, "only 100-continue can be expected");
        parser->expects_continue = !parser->http_1_0;
    }
}

static HttpStep head_end(HttpParser *parser, const uint8_t *bytes) {
    HeadFacts facts = {.step = HTTP_HEAD};
    for (uint32_t i = 0; i < parser->header_count; i++) {
        HttpSpan name = parser->headers[i].name, value = parser->headers[i].value;
        header_weigh(parser,
                     (Str){(const char *)bytes + name.at, name.len},
                     (Str){(const char *)bytes + value.at, value.len},
                     &facts);
        if (facts.step == HTTP_REFUSED) return HTTP_REFUSED;
    }
    if (parser->is_chunked && (parser->has_length || parser->http_1_0))
        return refuse(parser, 400, "a body has one length, not two");  // (2)
    if (facts.hosts > 1 || (facts.hosts == 0 && !parser->http_1_0))
        return refuse(parser, 400, "one Host header is required");
    parser->is_upgrade = facts.upgrades && facts.to_websocket && !parser->http_1_0;
    parser->stage = HTTP_STAGE_HEAD_READY;
    parser->body_at = parser->scan;
    return HTTP_HEAD;
}

static HttpStep body_allow(HttpParser *parser, uint64_t more) {
    uint64_t max = parser->body_discard ? DISCARD_BODY_MAX : parser->body_max;
    if (more > max || parser->body_seen > max - more)
        return refuse(parser, 413, "Failed to buffer the request body: length limit exceeded");
    return HTTP_WHOLE;
}

static HttpStep body_begin(HttpParser *parser) {
    if (parser->is_chunked) {
        parser->stage = HTTP_STAGE_CHUNK_SIZE;
        return HTTP_WHOLE;
    }
    parser->stage = HTTP_STAGE_LENGTH;
    return body_allow(parser, parser->body_left);
}

// Take what has arrived of a run of body_left bytes, and put it right behind the body so far.
static HttpStep data_take(HttpParser *parser, uint8_t *bytes, size_t len) {
    size_t take = (size_t)MIN(parser->body_left, (uint64_t)(len - parser->scan));
    if (!parser->body_discard) {
        size_t end = parser->body_at + parser->body_len;
        if (end != parser->scan && take) memmove(bytes + end, bytes + parser->scan, take);
        parser->body_len += take;
    }
    parser->scan += take;
    parser->body_seen += take;
    parser->body_left -= take;
    return parser->body_left ? HTTP_MORE : HTTP_WHOLE;
}

static HttpStep chunk_size(HttpParser *parser, const uint8_t *bytes, size_t len) {
    HttpSpan line;
    parser->lines_bytes = 0;
    HttpStep step = line_take(parser, bytes, len, CHUNK_LINE_MAX, &line);
    if (step != HTTP_WHOLE) return step;
    uint64_t size = 0;
    uint32_t digits = 0;
    for (; digits < line.len; digits++) {
        uint8_t c = bytes[line.at + digits], lower = c | 0x20;
        uint8_t digit = c >= '0' && c <= '9'           ? (uint8_t)(c - '0')
                        : lower >= 'a' && lower <= 'f' ? (uint8_t)(lower - 'a' + 10)
                                                       : 16;
        if (digit == 16) break;
        if (digits == 15) return refuse(parser, 413, "a chunk is too large");
        size = size << 4 | digit;
    }
    bool extended = digits < line.len;
    if (digits == 0 || (extended && bytes[line.at + digits] != ';'))
        return refuse(parser, 400, "malformed chunk size");
    for (uint32_t i = digits; i < line.len; i++)
        if (bytes[line.at + i] < ' ') return refuse(parser, 400, "malformed chunk size");  // (1)
    parser->body_left = size;
    parser->stage = size ? HTTP_STAGE_CHUNK_DATA : HTTP_STAGE_TRAILERS;
    parser->lines_bytes = 0;
    return size ? body_allow(parser, size) : HTTP_WHOLE;
}

static HttpStep chunk_end(HttpParser *parser, const uint8_t *bytes, size_t len) {
    if (len - parser->scan < 2) return HTTP_MORE;
    if (memcmp(bytes + parser->scan, "\r\n", 2) != 0)
        return refuse(parser, 400, "a chunk does not end in CR LF");
    parser->scan += 2;
    parser->stage = HTTP_STAGE_CHUNK_SIZE;
    return HTTP_WHOLE;
}

static HttpStep stage_run(HttpParser *parser, uint8_t *bytes, size_t len) {
    HttpSpan line;
    HttpStep step;
    switch (parser->stage) {
    case HTTP_STAGE_LINE:
        step = line_take(parser, bytes, len, parser->head_bytes_max, &line);
        return step == HTTP_WHOLE ? line_request(parser, bytes, line) : step;
    case HTTP_STAGE_HEADERS:
        step = line_take(parser, bytes, len, parser->head_bytes_max, &line);
        if (step != HTTP_WHOLE) return step;
        return line.len ? header_add(parser, bytes, line) : head_end(parser, bytes);
    case HTTP_STAGE_HEAD_READY: return body_begin(parser);
    case HTTP_STAGE_LENGTH:
        step = data_take(parser, bytes, len);
        if (step == HTTP_WHOLE) parser->stage = HTTP_STAGE_DONE;
        return step;
    case HTTP_STAGE_CHUNK_SIZE: return chunk_size(parser, bytes, len);
    case HTTP_STAGE_CHUNK_DATA:
        step = data_take(parser, bytes, len);
        if (step == HTTP_WHOLE) parser->stage = HTTP_STAGE_CHUNK_END;
        return step;
    case HTTP_STAGE_CHUNK_END: return chunk_end(parser, bytes, len);
    case HTTP_STAGE_TRAILERS:  // read and forgotten
        step = line_take(parser, bytes, len, TRAILERS_MAX, &line);
        if (step == HTTP_WHOLE && line.len == 0) parser->stage = HTTP_STAGE_DONE;
        return step;
    case HTTP_STAGE_DONE: return HTTP_WHOLE;
    case HTTP_STAGE_REFUSED: return HTTP_REFUSED;
    }
    UNREACHABLE();
}

// Between the body and what is not understood yet lies what was understood and is not kept:
// chunk sizes, trailers, discarded bytes. Close that gap, so that the buffer holds no more than
// the body and one read.
static void gap_close(HttpParser *parser, uint8_t *bytes, size_t *len) {
    size_t end = parser->body_at + parser->body_len;
    size_t gap = parser->scan - end;
    if (gap == 0) return;
    memmove(bytes + end, bytes + parser->scan, *len - parser->scan);
    *len -= gap;
    parser->scan = end;
    parser->looked -= MIN(gap, parser->looked);
}

HttpStep http_parse(HttpParser *parser, uint8_t *bytes, size_t *len) {
    HttpStep step = HTTP_WHOLE;
    while (step == HTTP_WHOLE && parser->stage != HTTP_STAGE_DONE)
        step = stage_run(parser, bytes, *len);
    if (parser->stage > HTTP_STAGE_HEAD_READY && parser->stage <= HTTP_STAGE_DONE)
        gap_close(parser, bytes, len);
    return step;
}

void http_request_view(const HttpParser *parser,
                       const uint8_t *bytes,
                       HttpHeader *headers,
                       HttpRequest *out) {
    const char *text = (const char *)bytes;
    for (uint32_t i = 0; i < parser->header_count; i++) {
        HttpSpan name = parser->headers[i].name, value = parser->headers[i].value;
        headers[i] = (HttpHeader){{text + name.at, name.len}, {text + value.at, value.len}};
    }
    *out = (HttpRequest){
        .method = {text + parser->method.at, parser->method.len},
        .path = {text + parser->path.at, parser->path.len},
        .query = {text + parser->query.at, parser->query.len},
        .headers = headers,
        .header_count = parser->header_count,
        .body = {bytes + parser->body_at, parser->body_len},
        .keep_alive = parser->keep_alive,
        .is_upgrade = parser->is_upgrade,
        .is_http_1_0 = parser->http_1_0,
    };
}

Str http_header(const HttpRequest *request, Str name) {
    for (uint32_t i = 0; i < request->header_count; i++)
        if (str_eq_nocase(request->headers[i].name, name)) return request->headers[i].value;
    return STR_NONE;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

static Err percent_decode(Str text, bool plus_is_space, Arena *arena, Str *out) {
    char *into = arena_alloc(arena, text.len + 1);
    if (!into) return ERR_NOMEM;
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '%') {
            if (text.len - i < 3) return ERR_INVALID;
            int high = hex_digit(text.ptr[i + 1]), low = hex_digit(text.ptr[i + 2]);
            if (high < 0 || low < 0) return ERR_INVALID;
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        into[len++] = c;
    }
    into[len] = 0;
    if (!utf8_valid(BYTES(into, len))) return ERR_INVALID;
    *out = (Str){into, len};
    return OK;
}

Err http_percent_decode(Str text, Arena *arena, Str *out) {
    return percent_decode(text, false, arena, out);
}

bool http_query_value(Str query, Str key, Arena *arena, Str *out) {
    while (query.len) {
        const char *amp = memchr(query.ptr, '&', query.len);
        Str pair = {query.ptr, amp ? (size_t)(amp - query.ptr) : query.len};
        size_t skip = pair.len + (amp ? 1 : 0);
        query = (Str){query.ptr + skip, query.len - skip};
        const char *equals = pair.len ? memchr(pair.ptr, '=', pair.len) : NULL;
        Str name = {pair.ptr, equals ? (size_t)(equals - pair.ptr) : pair.len};
        Str value = equals ? (Str){equals + 1, pair.len - name.len - 1} : STR("");
        Str decoded;
        if (percent_decode(name, true, arena, &decoded) != OK || !str_eq(decoded, key)) continue;
        return percent_decode(value, true, arena, out) == OK;
    }
    return false;
}

const char *http_reason(int status) {
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {100, "Continue"},
        {101, "Switching Protocols"},
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {402, "Payment Required"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {411, "Length Required"},
        {413, "Payload Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Entity"},
        {426, "Upgrade Required"},
        {428, "Precondition Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        if (reasons[i].status == status) return reasons[i].reason;
    return "";
}

void http_date(Micros wall, char out[30]) {
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    int64_t seconds = wall / 1000000;
    if (seconds < 0) seconds = 0;
    int64_t day = seconds / 86400, rest = seconds % 86400;
    // Civil date from days: years begin in March, so the leap day is the last of its year.
    int64_t shifted = day + 719468, era = shifted / 146097, doe = shifted % 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    int month = (int)(mp < 10 ? mp + 2 : mp - 10);  // 0 is January
    int year = (int)((yoe + era * 400 + (month < 2 ? 1 : 0)) % 10000);
    snprintf(out,
             30,
             "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT",
             days + 3 * ((day + 4) % 7),
             (int)((unsigned)(doy - (153 * mp + 2) / 5 + 1) % 100),
             months + 3 * month,
             year,
             (int)((unsigned)(rest / 3600) % 100),
             (int)((unsigned)(rest % 3600 / 60) % 100),
             (int)((unsigned)(rest % 60) % 100));
}
