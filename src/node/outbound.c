// outbound.c: libcurl, kept from going where a module has no business.
//
// A module is code of somebody else's that runs inside our network. The address of every connection
// is looked at after the name was resolved, for redirects too, so that no name and no redirect leads
// to this machine or its neighbours. Proxies of the environment are not used: behind one we would not
// see the address.
#include "node/outbound.h"

#include <curl/curl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/http_value.h"

#define TIMEOUT_US_DEFAULT 30000000
#define TIMEOUT_US_MAX     180000000
#define REDIRECTS_MAX      10
#define HEAD_BYTES_MAX     (256u << 10)

// ── addresses ──────────────────────────────────────────────────────────────────────────────────

typedef struct Net4 {
    uint32_t address;
    int bits;
} Net4;

#define IP4(a, b, c, d) ((uint32_t)(a) << 24 | (b) << 16 | (c) << 8 | (d))

// IANA's special-purpose registry: everything that is not globally reachable.
static const Net4 special4[] = {
    {IP4(0, 0, 0, 0), 8},        // this network
    {IP4(10, 0, 0, 0), 8},       // private
    {IP4(100, 64, 0, 0), 10},    // shared by carriers
    {IP4(127, 0, 0, 0), 8},      // loopback
    {IP4(169, 254, 0, 0), 16},   // link-local: also where clouds keep credentials
    {IP4(172, 16, 0, 0), 12},    // private
    {IP4(192, 0, 0, 0), 24},     // protocol assignments
    {IP4(192, 0, 2, 0), 24},     // documentation
    {IP4(192, 88, 99, 0), 24},   // 6to4 relays
    {IP4(192, 168, 0, 0), 16},   // private
    {IP4(198, 18, 0, 0), 15},    // benchmarks
    {IP4(198, 51, 100, 0), 24},  // documentation
    {IP4(203, 0, 113, 0), 24},   // documentation
    {IP4(224, 0, 0, 0), 4},      // multicast
    {IP4(240, 0, 0, 0), 4},      // reserved, broadcast
};

static bool public4(uint32_t address) {
    for (size_t i = 0; i < ARRAY_LEN(special4); i++) {
        if ((address ^ special4[i].address) >> (32 - special4[i].bits) == 0) return false;
    }
    return true;
}

static bool starts6(const uint8_t *a, const char *prefix, int bits) {
    uint8_t want[16] = {0};
    memcpy(want, prefix, (size_t)(bits + 7) / 8);
    for (int i = 0; i < bits; i++) {
        if ((a[i / 8] ^ want[i / 8]) >> (7 - i % 8) & 1) return false;
    }
    return true;
}

static uint32_t embedded4(const uint8_t *at) {
    return IP4(at[0], at[1], at[2], at[3]);
}

static bool public6(const uint8_t *a) {
    // IPv4 in other clothes: what counts is where it leads.
    if (starts6(a, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 96)) return public4(embedded4(a + 12));
    if (starts6(a, "\0\x64\xff\x9b\0\0\0\0\0\0\0\0", 96)) return public4(embedded4(a + 12));
    if (starts6(a, "\x20\x02", 16)) return public4(embedded4(a + 2));
    if (!starts6(a, "\x20", 3)) return false;              // only 2000::/3 is given out
    if (starts6(a, "\x20\x01\x00", 23)) return false;      // protocol assignments, Teredo
    if (starts6(a, "\x20\x01\x0d\xb8", 32)) return false;  // documentation
    return !starts6(a, "\x3f\xff\x00", 20);                // documentation
}

bool outbound_address_public(const struct sockaddr *address) {
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        return public4(ntohl(in.sin_addr.s_addr));
    }
    if (address->sa_family != AF_INET6) return false;
    struct sockaddr_in6 in6;
    memcpy(&in6, address, sizeof in6);
    return public6(in6.sin6_addr.s6_addr);
}

// ── a transfer ─────────────────────────────────────────────────────────────────────────────────

typedef struct Transfer {
    const OutboundLimits *limits;
    Buf *body;
    size_t body_start;
    Buf head;  // names and values, each with its length
    uint32_t header_count;
    bool refused, body_too_large, head_too_large, cancelled;
} Transfer;

static curl_socket_t on_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *address) {
    Transfer *t = ctx;
    (void)purpose;
    if (t->limits->access != OUTBOUND_ALL && !outbound_address_public(&address->addr)) {
        t->refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static size_t on_body(char *bytes, size_t each, size_t count, void *ctx) {
    Transfer *t = ctx;
    size_t len = each * count;
    if (t->body->len - t->body_start + len > t->limits->response_max) {
        t->body_too_large = true;
        return 0;
    }
    buf_put(t->body, bytes, len);
    return buf_ok(t->body) ? len : 0;
}

static Str trimmed(Str s) {
    while (s.len && (s.ptr[0] == ' ' || s.ptr[0] == '\t')) {
        s.ptr++;
        s.len--;
    }
    while (s.len && strchr(" \t\r\n", s.ptr[s.len - 1])) {
        s.len--;
    }
    return s;
}

static size_t on_head(char *bytes, size_t each, size_t count, void *ctx) {
    Transfer *t = ctx;
    Str line = {bytes, each * count};
    if (str_starts(line, STR("HTTP/"))) {  // another answer begins: after a redirect, after a 100
        buf_clear(&t->head);
        t->header_count = 0;
        t->body->len = t->body_start;
        return line.len;
    }
    const char *colon = memchr(line.ptr, ':', line.len);
    if (!colon) return line.len;
    size_t name_len = (size_t)(colon - line.ptr);
    Str value = trimmed((Str){colon + 1, line.len - name_len - 1});
    if (t->head.len + line.len > HEAD_BYTES_MAX) {
        t->head_too_large = true;
        return 0;
    }
    size_t at = t->head.len;
    buf_put_lp(&t->head, BYTES(line.ptr, name_len));
    for (uint8_t *c = t->head.ptr + at + 4; buf_ok(&t->head) && c < t->head.ptr + t->head.len; c++)
        if (*c >= 'A' && *c <= 'Z') *c = (uint8_t)(*c | 0x20);  // names are lower case for modules
    buf_put_lp(&t->head, str_bytes(value));
    t->header_count++;
    return buf_ok(&t->head) ? line.len : 0;
}

static int on_progress(void *ctx, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) {
    Transfer *t = ctx;
    (void)a, (void)b, (void)c, (void)d;
    t->cancelled = t->limits->cancelled && t->limits->cancelled(t->limits->ctx);
    return t->cancelled ? 1 : 0;
}

// ── asking ─────────────────────────────────────────────────────────────────────────────────────

static bool list_add(struct curl_slist **list, const char *line) {
    struct curl_slist *more = curl_slist_append(*list, line);
    if (more) *list = more;
    return more != NULL;
}

static bool has_header(const HttpValue *v, Str name) {
    for (uint32_t i = 0; i < v->header_count; i++) {
        if (str_eq_nocase(v->headers[i].name, name)) return true;
    }
    return false;
}

// What the module said, and nothing that libcurl would add by itself. NULL: *why says why.
static struct curl_slist *head_lines(const HttpValue *v, Arena *arena, const char **why) {
    struct curl_slist *list = NULL;
    *why = "out of memory";
    bool ok = list_add(&list, "Expect:");
    if (ok && !has_header(v, STR("content-type"))) ok = list_add(&list, "Content-Type:");
    for (uint32_t i = 0; ok && i < v->header_count; i++) {
        Str name = v->headers[i].name, value = v->headers[i].value;
        if (!http_value_name_ok(name) || !http_value_text_ok(value)) {
            *why = "builder error: invalid header";
            ok = false;
            break;
        }
        // "Name;" is how libcurl is told of a header without a value.
        Str line = value.len
                       ? arena_printf(arena, STR_FMT ": " STR_FMT, STR_ARG(name), STR_ARG(value))
                       : arena_printf(arena, STR_FMT ";", STR_ARG(name));
        ok = line.ptr && list_add(&list, line.ptr);
    }
    if (ok) return list;
    curl_slist_free_all(list);
    return NULL;
}

static long timeout_ms(const HttpValue *v) {
    Micros us = v->has_timeout ? v->timeout : TIMEOUT_US_DEFAULT;
    us = MAX(MIN(us, (Micros)TIMEOUT_US_MAX), (Micros)1000);
    return (long)(us / 1000);
}

static bool method_set(CURL *curl, const HttpValue *v, Arena *arena, Bytes body) {
    Str method = arena_str(arena, v->method);
    if (!method.ptr || !http_value_name_ok(method)) return false;
    if (str_eq(method, STR("HEAD"))) return curl_easy_setopt(curl, CURLOPT_NOBODY, 1L) == CURLE_OK;
    bool posts = str_eq(method, STR("POST"));
    if (posts || body.len) {
        curl_easy_setopt(curl, CURLOPT_POST, 1L);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.len ? (const char *)body.ptr : "");
    }
    if (posts || str_eq(method, STR("GET"))) {
        if (posts || !body.len) return true;
    }
    return curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method.ptr) == CURLE_OK;
}

static void options_set(CURL *curl, const HttpValue *v, Transfer *t, char *error) {
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    const char *protocols = t->limits->https_only ? "https" : "http,https";
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, protocols);
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, protocols);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(curl, CURLOPT_MAXREDIRS, (long)REDIRECTS_MAX);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, timeout_ms(v));
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, on_socket);
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, t);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_head);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, t);
}

// ── answering ──────────────────────────────────────────────────────────────────────────────────

static uint8_t version_of(CURL *curl) {
    long version = 0;
    curl_easy_getinfo(curl, CURLINFO_HTTP_VERSION, &version);
    switch (version) {
    case CURL_HTTP_VERSION_1_0: return HTTP_VERSION_1_0;
    case CURL_HTTP_VERSION_2_0: return HTTP_VERSION_2;
    case CURL_HTTP_VERSION_3: return HTTP_VERSION_3;
    default: return HTTP_VERSION_1_1;
    }
}

static Err put_answer(CURL *curl, Transfer *t, Arena *arena, Buf *response) {
    long code = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &code);
    HttpValue v = {.code = (uint16_t)code,
                   .version = version_of(curl),
                   .headers = arena_array(arena, HttpHeader, t->header_count + 1),
                   .header_count = t->header_count};
    if (!v.headers) return ERR_NOMEM;
    Reader r = reader_of(buf_bytes(&t->head));
    for (uint32_t i = 0; i < v.header_count; i++) {
        v.headers[i].name = bytes_str(reader_lp(&r));
        v.headers[i].value = bytes_str(reader_lp(&r));
    }
    http_value_put_response(response, &v);
    return buf_ok(response) ? OK : ERR_NOMEM;
}

// Query strings carry keys and secrets, and errors are logged: from '?' to the end of the word.
static void put_without_queries(Buf *out, Str text) {
    bool in_query = false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '?') in_query = true;
        if (strchr(" \t\n\"'<>()", c)) in_query = false;
        if (!in_query) buf_put_u8(out, (uint8_t)c);
    }
}

static AbiErrno fail(Buf *response, Str uri, const char *cause) {
    buf_put_str(response, STR("error sending request for url ("));
    put_without_queries(response, uri);
    buf_put_str(response, STR("): "));
    put_without_queries(response, str_from(cause));
    return buf_ok(response) ? ABI_HTTP_ERROR : ABI_FATAL;
}

static const char *cause_of(const Transfer *t, CURLcode code, const char *error) {
    if (t->refused) return "refusing to connect to private or special-purpose addresses";
    if (t->body_too_large) return "the response's body is larger than this server allows";
    if (t->head_too_large) return "the response's head is too large";
    if (t->cancelled) return "the server is stopping";
    if (code == CURLE_OPERATION_TIMEDOUT) return "operation timed out";
    return error[0] ? error : curl_easy_strerror(code);
}

static AbiErrno perform(CURL *curl,
                        const HttpValue *v,
                        Bytes body,
                        Transfer *t,
                        Arena *arena,
                        Buf *response) {
    char error[CURL_ERROR_SIZE] = {0};
    const char *why = NULL;
    Str uri = arena_str(arena, v->uri);
    if (!uri.ptr) return ABI_FATAL;
    if (memchr(uri.ptr, 0, uri.len) || !http_value_text_ok(uri))
        return fail(response, STR(""), "builder error: invalid URL");
    struct curl_slist *lines = head_lines(v, arena, &why);
    if (!lines) return fail(response, uri, why);
    AbiErrno result = ABI_OK;
    options_set(curl, v, t, error);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, lines);
    if (curl_easy_setopt(curl, CURLOPT_URL, uri.ptr) != CURLE_OK ||
        !method_set(curl, v, arena, body)) {
        result = fail(response, uri, "builder error: invalid method or URL");
    } else {
        CURLcode code = curl_easy_perform(curl);
        if (!buf_ok(t->body) || !buf_ok(&t->head)) {
            result = ABI_FATAL;
        } else if (code != CURLE_OK) {
            result = fail(response, uri, cause_of(t, code, error));
        } else if (put_answer(curl, t, arena, response) != OK) {
            result = ABI_FATAL;
        }
    }
    curl_slist_free_all(lines);
    return result;
}

static void library_start(void) {
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

AbiErrno outbound_request(const OutboundLimits *limits,
                          Bytes request,
                          Bytes body,
                          Buf *response,
                          Buf *body_out) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    Arena arena = {0};
    HttpValue v;
    Transfer t = {.limits = limits, .body = body_out, .body_start = body_out->len};
    AbiErrno result = ABI_FATAL;
    CURL *curl = NULL;
    Err err = http_value_get_request(request, &arena, &v);
    if (err == ERR_MALFORMED) result = ABI_BSATN_DECODE_ERROR;
    if (err != OK) goto done;
    if (limits->access == OUTBOUND_OFF) {
        buf_put_str(response, STR("module outbound HTTP requests are disabled"));
        result = ABI_HTTP_ERROR;
        goto done;
    }
    pthread_once(&once, library_start);
    if (!(curl = curl_easy_init())) goto done;
    result = perform(curl, &v, body, &t, &arena, response);
done:
    if (curl) curl_easy_cleanup(curl);
    if (result != ABI_OK) body_out->len = MIN(body_out->len, t.body_start);
    buf_deinit(&t.head);
    arena_deinit(&arena);
    return result;
}
