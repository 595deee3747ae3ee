// http.h: requests to a server, by libcurl. A server that cannot be reached ends the process with
// a sentence; what a status means is the caller's business.
#pragma once
#include "cli/cli.h"

typedef struct HttpReply {
    int status;
    const char *content_type;  // "" when absent
    const char *url;           // of the request
    const char *body;          // terminated; lives as long as the process
    size_t len;
} HttpReply;

typedef struct HttpCall {
    const char *method;
    const char *url;
    const char *token;         // NULL: none
    const char *content_type;  // NULL: none
    Bytes body;
    long timeout_s;  // 0: none
    // What the server is doing while a person waits: shown with the time it takes on stderr, each second on
    // a terminal, else a line every few.
    const char *waiting;  // "Compiling on the server"; NULL: nothing is shown
    // When set, a successful body is handed over piece by piece and reply.body stays empty.
    void (*on_piece)(void *ctx, Bytes piece);
    void *ctx;
} HttpCall;

HttpReply http_send(const HttpCall *call);
// The same, but false instead of the end of the process; *why is curl's reason.
bool http_try(const HttpCall *call, HttpReply *reply, const char **why);

static inline bool http_ok(const HttpReply *reply) {
    return reply->status >= 200 && reply->status < 300;
}
// "HTTP status client error (404 Not Found) for url (…)"
const char *http_status_line(const HttpReply *reply);
// End the process unless 2xx: the body is the message, the status its cause.
void http_expect_ok(const HttpReply *reply);
// The same, and the content type must be exactly application/json.
void http_expect_json(const HttpReply *reply);
const char *http_status_text(int status);  // "Not Found"

// Everything but alphanumerics, `_` and `-` as %XX.
const char *http_encode(const char *text);
