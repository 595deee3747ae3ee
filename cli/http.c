#include "cli/http.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "net/http.h"

typedef struct Receiver {
    const HttpCall *call;
    CURL *curl;
    Buf body;
} Receiver;

static size_t on_bytes(char *bytes, size_t size, size_t count, void *ctx) {
    Receiver *to = ctx;
    long status = 0;
    curl_easy_getinfo(to->curl, CURLINFO_RESPONSE_CODE, &status);
    if (to->call->on_piece && status >= 200 && status < 300)
        to->call->on_piece(to->call->ctx, BYTES(bytes, size * count));
    else
        buf_put(&to->body, bytes, size * count);
    return size * count;
}

// ---- the line that says how long it takes

typedef struct Waiting {
    const char *what;
    int64_t began_s;
    int64_t shown_s;  // -1: nothing was shown
    bool is_terminal;
} Waiting;

#define LOG_EVERY_S 3  // without a terminal, each time is a line of its own

static int64_t seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

// libcurl calls this about once a second. Whoever waits less than that never sees a line.
static int on_progress(void *ctx,
                       curl_off_t down_total,
                       curl_off_t down,
                       curl_off_t up_total,
                       curl_off_t up) {
    Waiting *waiting = ctx;
    (void)down_total;
    (void)down;
    int64_t seconds = seconds_now() - waiting->began_s;
    if (seconds < MAX(waiting->shown_s, 0) + (waiting->is_terminal ? 1 : LOG_EVERY_S)) return 0;
    waiting->shown_s = seconds;
    fputs(waiting->is_terminal ? "\r\033[K" : "", stderr);
    if (up < up_total)
        fprintf(stderr, "Uploading … %d %%", (int)(up * 100 / up_total));
    else
        fprintf(stderr, "%s … %lld s", waiting->what, (long long)seconds);
    fputs(waiting->is_terminal ? "" : "\n", stderr);
    return 0;
}

static void waiting_prepare(CURL *curl, Waiting *waiting) {
    if (!waiting->what) return;
    waiting->is_terminal = isatty(STDERR_FILENO) != 0;
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, waiting);
}

static void waiting_end(const Waiting *waiting) {
    if (waiting->is_terminal && waiting->shown_s >= 0) fputs("\r\033[K", stderr);
}

// ---- the request

static struct curl_slist *headers_make(const HttpCall *call) {
    struct curl_slist *list = NULL;
    if (call->token)
        list = curl_slist_append(list, cli_format("Authorization: Bearer %s", call->token));
    // An empty value stops curl from inventing a form's content type, or from waiting for 100.
    list = curl_slist_append(list,
                             cli_format("Content-Type:%s%s",
                                        call->content_type ? " " : "",
                                        call->content_type ? call->content_type : ""));
    return curl_slist_append(list, "Expect:");
}

// Debian's libcurl does not look at this, though all else that speaks TLS by OpenSSL does.
static void trust_prepare(CURL *curl) {
    const char *file = getenv("SSL_CERT_FILE");
    if (file && *file) curl_easy_setopt(curl, CURLOPT_CAINFO, file);
}

static void request_prepare(CURL *curl, const HttpCall *call, struct curl_slist *headers) {
    trust_prepare(curl);
    curl_easy_setopt(curl, CURLOPT_URL, call->url);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, call->method);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "lightcone/" CLI_VERSION);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 10L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, call->timeout_s);
    bool has_body = strcmp(call->method, "GET") != 0 && strcmp(call->method, "DELETE") != 0;
    if (has_body) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body.len);
        curl_easy_setopt(curl,
                         CURLOPT_POSTFIELDS,
                         call->body.len > 0 ? (const char *)call->body.ptr : "");
    }
}

bool http_try(const HttpCall *call, HttpReply *reply, const char **why) {
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = headers_make(call);
    if (!curl || !headers) cli_die("out of memory");
    Receiver to = {.call = call, .curl = curl};
    Waiting waiting = {.what = call->waiting, .began_s = seconds_now(), .shown_s = -1};
    request_prepare(curl, call, headers);
    waiting_prepare(curl, &waiting);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &to);
    CURLcode code = curl_easy_perform(curl);
    waiting_end(&waiting);
    *why = curl_easy_strerror(code);
    if (code == CURLE_OK) {
        long status = 0;
        char *type = NULL;
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
        curl_easy_getinfo(curl, CURLINFO_CONTENT_TYPE, &type);
        *reply = (HttpReply){.status = (int)status, .url = call->url, .len = to.body.len};
        reply->content_type = type ? cli_copy(str_from(type)) : "";
        reply->body = cli_buf_text(&to.body);
    }
    buf_deinit(&to.body);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    return code == CURLE_OK;
}

HttpReply http_send(const HttpCall *call) {
    HttpReply reply;
    const char *why;
    if (!http_try(call, &reply, &why))
        cli_die_cause(
            why,
            "Could not reach the server: error sending request for url (%s)\n"
            "Start one with `lightcone start`, or say which with --server; `lightcone server list` "
            "shows those you know.",
            call->url);
    return reply;
}

const char *http_status_text(int status) {
    const char *reason = http_reason(status);
    return *reason ? reason : "<unknown status code>";
}

const char *http_status_line(const HttpReply *reply) {
    return cli_format("HTTP status %s error (%d %s) for url (%s)",
                      reply->status < 500 ? "client" : "server",
                      reply->status,
                      http_status_text(reply->status),
                      reply->url);
}

// "http://127.0.0.1:3000" of what lies below it.
static const char *base_of(const char *url) {
    const char *host = strstr(url, "://");
    host = host ? host + 3 : url;
    return cli_copy((Str){url, (size_t)(host - url) + strcspn(host, "/")});
}

// A token is signed by the server that gave it; to any other it is a stranger's.
static NORETURN void token_refused(const HttpReply *reply) {
    const char *base = base_of(reply->url);
    bool foreign = strstr(reply->body, "InvalidSignature") || strstr(reply->body, "InvalidIssuer");
    cli_die_cause(
        http_status_line(reply),
        "%s\n%s Become somebody whom %s knows with:\n"
        "\tlightcone login --server %s\n"
        "That replaces the saved token; `lightcone login show --token` prints it, to keep it.",
        reply->len ? reply->body : "Unauthorized",
        foreign ? "The saved token belongs to another server."
                : "The server does not accept the saved token.",
        base,
        base);
}

void http_expect_ok(const HttpReply *reply) {
    if (http_ok(reply)) return;
    if (reply->status == 401) token_refused(reply);
    if (reply->status == 403 && strstr(reply->body, "locked"))
        cli_die_cause(http_status_line(reply), "%s", reply->body);
    if (reply->status == 403)
        cli_die_cause(
            http_status_line(reply),
            "%s\nIt belongs to another identity. `lightcone login show` says who you are, "
            "`lightcone list` what is yours.",
            reply->len ? reply->body : "The server does not allow you that.");
    if (reply->len == 0) cli_die("%s", http_status_line(reply));
    cli_die_cause(http_status_line(reply), "%s", reply->body);
}

void http_expect_json(const HttpReply *reply) {
    http_expect_ok(reply);
    if (strcmp(reply->content_type, "application/json") != 0)
        cli_die("HTTP response from url (%s) was success but did not have content-type: "
                "application/json",
                reply->url);
}

const char *http_encode(const char *text) {
    Buf out = {0};
    for (const char *at = text; *at; at++) {
        bool plain = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') ||
                     (*at >= '0' && *at <= '9') || *at == '_' || *at == '-';
        if (plain)
            buf_put_u8(&out, (uint8_t)*at);
        else
            buf_printf(&out, "%%%02X", (unsigned char)*at);
    }
    return cli_buf_text(&out);
}
