// oidc.c: the keys of foreign issuers come from the network, so requests wait for them.
//
// PICTURE
//   loop: token of an unknown issuer ─> Waiter on a Fetch ─┐        (the connection stays unanswered)
//   worker:                GET …/.well-known/openid-configuration ─> jwks_uri ─> GET it ─> auth_issuer_learn
//   loop: <─ each Waiter's task: the request arrives again, and now its token can be judged
//
// ALWAYS TRUE
//   (1) `lock` guards the list of fetches, and the waiters of those that are on it. A fetch leaves the
//       list before its waiters are told.
//   (2) Waiter.conn is touched by its loop's thread only.
//   (3) A stranger chooses the address, by writing it into a token. So: https and public addresses,
//       unless the administrator named the issuer; a few seconds, a few hundred kilobytes, and
//       FETCHES_MAX at once. And the outcome, good or bad, is remembered for a while.
#include "node/oidc.h"

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "node/http_value.h"
#include "node/node_private.h"
#include "node/routes.h"

#define FETCHES_MAX    16
#define WAITERS_MAX    1024
#define DOCUMENT_BYTES ((size_t)512 << 10)
#define FETCH_TIMEOUT  ((Micros)5000000)

typedef struct Waiter Waiter;
struct Waiter {
    ConnOwner owner;
    LoopTask task;
    Waiter *next;
    NodeLoop *loop;
    NetConn *conn;      // NULL: it is gone
    ConnOwner *before;  // whose it was, and will be again; NULL: nobody's
    Oidc *oidc;
};

typedef struct Fetch Fetch;
struct Fetch {
    WorkerJob job;
    Oidc *oidc;
    Fetch *next;
    Waiter *waiters;
    Buf issuer;
};

struct Oidc {
    Node *node;
    pthread_mutex_t lock;
    Fetch *fetches;
    uint32_t fetch_count, waiter_count;
};

Err oidc_open(Node *node, Oidc **out) {
    Oidc *oidc = MEM_NEW(Oidc);
    if (!oidc) return ERR_NOMEM;
    oidc->node = node;
    pthread_mutex_init(&oidc->lock, NULL);
    *out = oidc;
    return OK;
}

void oidc_close(Oidc **oidc) {
    if (!*oidc) return;
    ASSERT(!(*oidc)->fetches && (*oidc)->waiter_count == 0);
    pthread_mutex_destroy(&(*oidc)->lock);
    mem_free(*oidc);
    *oidc = NULL;
}

// ── fetching, on a worker ──────────────────────────────────────────────────────────────────────

static bool node_is_stopping(void *ctx) {
    Node *node = ctx;
    pthread_mutex_lock(&node->mutex);
    bool stopping = node->is_stopping;
    pthread_mutex_unlock(&node->mutex);
    return stopping;
}

// The body of an address, which must be answered with 200.
static Err document_get(const Fetch *f, Str url, Buf *body, Diag *diag) {
    bool trusted = auth_issuer_trusted(f->oidc->node->auth, bytes_str(buf_bytes(&f->issuer)));
    OutboundLimits limits = {
        .access = trusted ? OUTBOUND_ALL : OUTBOUND_PUBLIC,
        .https_only = !trusted,
        .response_max = DOCUMENT_BYTES,
        .cancelled = node_is_stopping,
        .ctx = f->oidc->node,
    };
    HttpHeader accept = {STR("accept"), STR("application/json")};
    HttpValue ask = {.method = STR("GET"),
                     .uri = url,
                     .has_timeout = true,
                     .timeout = FETCH_TIMEOUT,
                     .version = HTTP_VERSION_1_1,
                     .headers = &accept,
                     .header_count = 1};
    Buf request = {0}, response = {0};
    Arena arena = {0};
    HttpValue got = {0};
    Err err = ERR_IO;
    http_value_put_request(&request, &ask);
    AbiErrno result =
        buf_ok(&request)
            ? outbound_request(&limits, buf_bytes(&request), BYTES_NONE, &response, body)
            : ABI_FATAL;
    if (result != ABI_OK) {
        Str why = result == ABI_HTTP_ERROR ? bytes_str(buf_bytes(&response)) : STR("out of memory");
        diag_fail(diag, err, STR_FMT, STR_ARG(why));
    } else if ((err = http_value_get_response(buf_bytes(&response), &arena, &got)) == OK &&
               got.code != 200) {
        err = diag_fail(diag, ERR_IO, STR_FMT " answered with status %u", STR_ARG(url), got.code);
    }
    buf_deinit(&request);
    buf_deinit(&response);
    arena_deinit(&arena);
    return err;
}

static Str without_slash(Str s) {
    while (s.len && s.ptr[s.len - 1] == '/')
        s.len--;
    return s;
}

// Where the keys are, as the issuer's configuration says.
static Err keys_address(const Fetch *f, Bytes configuration, Arena *arena, Str *out, Diag *diag) {
    Str issuer = bytes_str(buf_bytes(&f->issuer));
    json_error_t error;
    json_t *json = json_loadb((const char *)configuration.ptr, configuration.len, 0, &error);
    const char *says = json_string_value(json_object_get(json, "issuer"));
    const char *uri = json_string_value(json_object_get(json, "jwks_uri"));
    Err err = OK;
    if (!uri) {
        err = diag_fail(diag, ERR_INVALID, "its openid-configuration names no jwks_uri");
    } else if (says && !str_eq(without_slash(str_from(says)), without_slash(issuer))) {
        err = diag_fail(diag,
                        ERR_INVALID,
                        "Issuer mismatch: got \"%s\", expected \"" STR_FMT "\"",
                        says,
                        STR_ARG(issuer));
    } else {
        *out = arena_str(arena, str_from(uri));
        if (!out->ptr) err = ERR_NOMEM;
    }
    json_decref(json);
    return err;
}

static Err keys_fetch(const Fetch *f, Diag *diag) {
    Node *node = f->oidc->node;
    Str issuer = bytes_str(buf_bytes(&f->issuer));
    Arena arena = {0};
    Buf configuration = {0}, keys = {0};
    Str address = STR_NONE;
    Str root = without_slash(issuer);
    Str where = arena_printf(&arena, STR_FMT "/.well-known/openid-configuration", STR_ARG(root));
    Err err = where.ptr ? document_get(f, where, &configuration, diag) : ERR_NOMEM;
    if (err == OK) err = keys_address(f, buf_bytes(&configuration), &arena, &address, diag);
    if (err == OK) err = document_get(f, address, &keys, diag);
    if (err == OK)
        err = auth_issuer_learn(node->auth,
                                issuer,
                                bytes_str(buf_bytes(&keys)),
                                node_now(node),
                                diag);
    buf_deinit(&configuration);
    buf_deinit(&keys);
    arena_deinit(&arena);
    return err;
}

static Waiter *fetch_leave(Fetch *f) {
    Oidc *oidc = f->oidc;
    pthread_mutex_lock(&oidc->lock);
    Fetch **at = &oidc->fetches;
    while (*at != f)
        at = &(*at)->next;
    *at = f->next;
    oidc->fetch_count--;
    Waiter *waiters = f->waiters;
    pthread_mutex_unlock(&oidc->lock);
    return waiters;
}

static void fetch_run(WorkerJob *job) {
    Fetch *f = CONTAINER_OF(job, Fetch, job);
    Node *node = f->oidc->node;
    Str issuer = bytes_str(buf_bytes(&f->issuer));
    Diag diag = {0};
    worker_wait_begin(node->workers);
    Err err = keys_fetch(f, &diag);
    worker_wait_end(node->workers);
    if (err == OK) {
        log_info("the keys of the issuer " STR_FMT " were fetched", STR_ARG(issuer));
    } else {
        const char *why = diag.text[0] ? diag.text : err_text(err);
        log_warn("the keys of the issuer " STR_FMT " could not be fetched: %s",
                 STR_ARG(issuer),
                 why);
        auth_issuer_failed(node->auth, issuer, why, node_now(node));
    }
    for (Waiter *w = fetch_leave(f), *next; w; w = next) {
        next = w->next;
        loop_post(w->loop, &w->task);
    }
    buf_deinit(&f->issuer);
    mem_free(f);
}

// ── waiting, on loops ──────────────────────────────────────────────────────────────────────────

static void waiter_closed(void *self) {
    Waiter *w = self;
    w->conn = NULL;
    if (w->before) w->before->conn_closed(w->before);
}

static void waiter_told(LoopTask *task, NodeLoop *loop) {
    Waiter *w = CONTAINER_OF(task, Waiter, task);
    NetConn *conn = w->conn;
    ConnOwner *before = w->before;
    (void)loop;
    pthread_mutex_lock(&w->oidc->lock);
    w->oidc->waiter_count--;
    pthread_mutex_unlock(&w->oidc->lock);
    mem_free(w);
    if (!conn) return;
    net_conn_set_data(conn, before);
    net_request_again(conn);
}

static Waiter *waiter_new(Oidc *oidc, NodeLoop *loop, NetConn *conn) {
    Waiter *w = MEM_NEW(Waiter);
    if (!w) return NULL;
    *w = (Waiter){.owner = {.conn_closed = waiter_closed},
                  .task = {.run = waiter_told},
                  .loop = loop,
                  .conn = conn,
                  .before = net_conn_data(conn),
                  .oidc = oidc};
    return w;
}

static Fetch *fetch_find(Oidc *oidc, Str issuer) {
    for (Fetch *f = oidc->fetches; f; f = f->next)
        if (str_eq(bytes_str(buf_bytes(&f->issuer)), issuer)) return f;
    return NULL;
}

static Err fetch_begin(Oidc *oidc, Str issuer, Fetch **out) {
    if (oidc->fetch_count == FETCHES_MAX) return ERR_BUSY;
    Fetch *f = MEM_NEW(Fetch);
    if (!f) return ERR_NOMEM;
    f->oidc = oidc;
    f->job.run = fetch_run;
    buf_put_str(&f->issuer, issuer);
    f->next = oidc->fetches;
    // Whoever runs it waits for the lock before it looks at the list.
    Err err = buf_ok(&f->issuer) ? worker_submit(oidc->node->workers, &f->job) : ERR_NOMEM;
    if (err != OK) {
        buf_deinit(&f->issuer);
        mem_free(f);
        return err == ERR_LIMIT ? ERR_BUSY : err;
    }
    oidc->fetches = f;
    oidc->fetch_count++;
    *out = f;
    return OK;
}

Err oidc_fetch(Oidc *oidc, Str issuer, NodeLoop *loop, NetConn *conn) {
    Waiter *w = conn ? waiter_new(oidc, loop, conn) : NULL;
    if (conn && !w) return ERR_NOMEM;
    pthread_mutex_lock(&oidc->lock);
    Fetch *f = fetch_find(oidc, issuer);
    Err err = w && oidc->waiter_count == WAITERS_MAX ? ERR_BUSY : OK;
    if (err == OK && !f) err = fetch_begin(oidc, issuer, &f);
    if (err == OK && w) {
        w->next = f->waiters;
        f->waiters = w;
        oidc->waiter_count++;
    }
    pthread_mutex_unlock(&oidc->lock);
    if (err != OK) {
        mem_free(w);
        return err;
    }
    if (w) net_conn_set_data(conn, &w->owner);
    return OK;
}
