#include "node/routes.h"

#include "node/pg.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "node/oidc.h"

typedef struct Route {
    const char *method;  // "*": any
    const char *path;    // ':' stands for one segment, '**' for whatever is left
    AuthMode auth;
    DatabaseMode database;
    bool large_body;  // a module: not bound by the ordinary limit
    RouteHandler handle;
} Route;

#define MODULE_BYTES_MAX (256u << 20)

// clang-format off
static const Route routes[] = {
    {"GET",    "/v1/ping",                        AUTH_OPTIONAL,  DB_NONE,     false, route_ping},
    {"GET",    "/v1/health",                      AUTH_NONE,      DB_NONE,     false, route_health},
    {"GET",    "/v1/metrics",                     AUTH_NONE,      DB_NONE,     false, route_metrics},
    {"GET",    "/v1/openapi.json",                AUTH_NONE,      DB_NONE,     false, route_openapi},
    {"GET",    "/v1/prometheus/sd_config",        AUTH_NONE,      DB_NONE,     false, route_prometheus_targets},
    {"GET",    "/v1/energy/:",                    AUTH_NONE,      DB_NONE,     false, route_energy_get},
    {"POST",   "/v1/energy/:",                    AUTH_REQUIRED,  DB_NONE,     false, route_energy_add},
    {"PUT",    "/v1/energy/:",                    AUTH_REQUIRED,  DB_NONE,     false, route_energy_set},
    {"GET",    "/internal/heap",                  AUTH_NONE,      DB_NONE,     false, route_internal},
    {"GET",    "/internal/heap/settings",         AUTH_NONE,      DB_NONE,     false, route_internal},
    {"POST",   "/internal/heap/settings",         AUTH_NONE,      DB_NONE,     false, route_internal},
    {"GET",    "/internal/task-dump",             AUTH_NONE,      DB_NONE,     false, route_internal},
    {"POST",   "/v1/identity",                    AUTH_NONE,      DB_NONE,     false, route_identity_new},
    {"GET",    "/v1/identity/public-key",         AUTH_NONE,      DB_NONE,     false, route_public_key},
    {"POST",   "/v1/identity/websocket-token",    AUTH_REQUIRED,  DB_NONE,     false, route_websocket_token},
    {"GET",    "/v1/identity/:/verify",           AUTH_REQUIRED,  DB_NONE,     false, route_verify},
    {"GET",    "/v1/identity/:/databases",        AUTH_NONE,      DB_NONE,     false, route_identity_databases},
    {"POST",   "/v1/database",                    AUTH_ANONYMOUS, DB_NONE,     true,  route_publish},
    {"PUT",    "/v1/database/:",                  AUTH_ANONYMOUS, DB_NAMED,    true,  route_publish},
    {"GET",    "/v1/database/:",                  AUTH_ANONYMOUS, DB_RESOLVED, false, route_info},
    {"DELETE", "/v1/database/:",                  AUTH_ANONYMOUS, DB_NAMED,    false, route_delete},
    {"GET",    "/v1/database/:/names",            AUTH_ANONYMOUS, DB_RESOLVED, false, route_names_get},
    {"POST",   "/v1/database/:/names",            AUTH_ANONYMOUS, DB_RESOLVED, false, route_names_add},
    {"PUT",    "/v1/database/:/names",            AUTH_ANONYMOUS, DB_RESOLVED, false, route_names_set},
    {"GET",    "/v1/database/:/identity",         AUTH_ANONYMOUS, DB_NAMED,    false, route_identity_of},
    {"GET",    "/v1/database/:/schema",           AUTH_ANONYMOUS, DB_RESOLVED, false, route_schema},
    {"POST",   "/v1/database/:/call/:",           AUTH_ANONYMOUS, DB_RESOLVED, false, route_call},
    {"POST",   "/v1/database/:/sql",              AUTH_ANONYMOUS, DB_RESOLVED, false, route_sql},
    {"GET",    "/v1/database/:/logs",             AUTH_ANONYMOUS, DB_RESOLVED, false, route_logs},
    {"GET",    "/v1/database/:/backup",           AUTH_ANONYMOUS, DB_RESOLVED, false, route_backup},
    {"POST",   "/v1/database/:/pre_publish",      AUTH_ANONYMOUS, DB_RESOLVED, true,  route_pre_publish},
    {"PUT",    "/v1/database/:/reset",            AUTH_ANONYMOUS, DB_RESOLVED, true,  route_reset},
    {"POST",   "/v1/database/:/lock",             AUTH_ANONYMOUS, DB_RESOLVED, false, route_lock},
    {"POST",   "/v1/database/:/unlock",           AUTH_ANONYMOUS, DB_RESOLVED, false, route_unlock},
    {"GET",    "/v1/database/:/settings",         AUTH_ANONYMOUS, DB_RESOLVED, false, route_settings_get},
    {"PUT",    "/v1/database/:/settings",         AUTH_ANONYMOUS, DB_RESOLVED, false, route_settings_put},
    {"GET",    "/v1/database/:/unstable/timestamp", AUTH_ANONYMOUS, DB_RESOLVED, false, route_timestamp},
    {"POST",   "/v1/mcp",                         AUTH_ANONYMOUS, DB_NONE,     false, route_mcp},
    {"POST",   "/v1/database/:/mcp",              AUTH_ANONYMOUS, DB_RESOLVED, false, route_mcp},
    {"*",      "/v1/database/:/route",            AUTH_NONE,      DB_RESOLVED, false, route_handler},
    {"*",      "/v1/database/:/route/**",         AUTH_NONE,      DB_RESOLVED, false, route_handler},
    {"GET",    "/v1/database/:/subscribe",        AUTH_ANONYMOUS, DB_NAMED,    false, route_subscribe},
};
// clang-format on

bool routes_at(uint32_t i, const char **method, const char **path) {
    if (i >= ARRAY_LEN(routes)) return false;
    *method = routes[i].method;
    *path = routes[i].path;
    return true;
}

// ── matching ───────────────────────────────────────────────────────────────────────────────────

static Str segment_take(Str *path) {
    path->ptr++;  // the slash
    path->len--;
    const char *slash = path->len ? memchr(path->ptr, '/', path->len) : NULL;
    Str segment = {path->ptr, slash ? (size_t)(slash - path->ptr) : path->len};
    path->ptr += segment.len;
    path->len -= segment.len;
    return segment;
}

static bool path_matches(const char *pattern, Str path, Str params[2], uint32_t *param_count) {
    Str rest = str_from(pattern);
    *param_count = 0;
    while (rest.len && path.len && path.ptr[0] == '/') {
        if (str_eq(rest, STR("/**"))) return true;
        Str want = segment_take(&rest), got = segment_take(&path);
        if (str_eq(want, STR(":"))) {
            if (got.len == 0) return false;
            params[(*param_count)++] = got;
        } else if (!str_eq(want, got)) {
            return false;
        }
    }
    return rest.len == 0 && path.len == 0;
}

static bool method_matches(Str method, const char *route) {
    // OPTIONS is answered by the server, everywhere (http §1.1).
    if (strcmp(route, "*") == 0) return !str_eq(method, STR("OPTIONS"));
    return str_eq(method, str_from(route)) ||
           (str_eq(method, STR("HEAD")) && strcmp(route, "GET") == 0);
}

// The route of a request; NULL with *allowed (comma-separated methods) when only the path exists.
static const Route *route_find(const HttpRequest *http,
                               Str params[2],
                               uint32_t *count,
                               char *allowed,
                               size_t allowed_size) {
    allowed[0] = 0;
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        if (!path_matches(routes[i].path, http->path, params, count)) continue;
        if (method_matches(http->method, routes[i].method)) return &routes[i];
        size_t used = strlen(allowed);
        const char *method = strcmp(routes[i].method, "GET") == 0 ? "GET,HEAD" : routes[i].method;
        snprintf(allowed + used, allowed_size - used, "%s%s", used ? "," : "", method);
    }
    return NULL;
}

// ── answers ────────────────────────────────────────────────────────────────────────────────────

enum { CALLER_HEADERS_MAX = 8 };

// What an answer in the name of a caller says first; `hex` is what it borrows.
static uint32_t caller_headers(HttpHeader all[CALLER_HEADERS_MAX],
                               char hex[IDENTITY_HEX_LEN + 1],
                               const Identity *identity,
                               Str token,
                               const HttpHeader *headers,
                               uint32_t header_count) {
    uint32_t count = 0;
    identity_hex(identity, hex);
    all[count++] = (HttpHeader){STR("spacetime-identity"), str_from(hex)};
    all[count++] = (HttpHeader){STR("spacetime-identity-token"), token};
    for (uint32_t i = 0; i < header_count && count < CALLER_HEADERS_MAX; i++) {
        all[count++] = headers[i];
    }
    return count;
}

void routes_respond_as(NetConn *conn,
                       const Identity *identity,
                       Str token,
                       int status,
                       const HttpHeader *headers,
                       uint32_t header_count,
                       Str content_type,
                       Bytes body) {
    HttpHeader all[CALLER_HEADERS_MAX];
    char hex[IDENTITY_HEX_LEN + 1];
    uint32_t count = caller_headers(all, hex, identity, token, headers, header_count);
    http_respond(conn, status, all, count, content_type, body);
}

void routes_respond_frame_as(NetConn *conn,
                             const Identity *identity,
                             Str token,
                             int status,
                             const HttpHeader *headers,
                             uint32_t header_count,
                             Str content_type,
                             NetFrame *frame) {
    HttpHeader all[CALLER_HEADERS_MAX];
    char hex[IDENTITY_HEX_LEN + 1];
    uint32_t count = caller_headers(all, hex, identity, token, headers, header_count);
    http_respond_frame(conn, status, all, count, content_type, frame);
}

static void answer(Request *r, int status, Str content_type, Bytes body) {
    if (r->tell_caller) {
        routes_respond_as(r->conn,
                          &r->caller.identity,
                          r->caller.token,
                          status,
                          NULL,
                          0,
                          content_type,
                          body);
    } else {
        http_respond(r->conn, status, NULL, 0, content_type, body);
    }
}

void request_text(Request *r, int status, const char *fmt, ...) {
    char text[DIAG_TEXT_MAX + 512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    answer(r, status, STR("text/plain; charset=utf-8"), str_bytes(str_from(text)));
}

void request_empty(Request *r, int status) {
    answer(r, status, STR_NONE, BYTES_NONE);
}

void request_json(Request *r, int status, const Buf *body) {
    if (!buf_ok(body)) {
        request_err(r, ERR_NOMEM, NULL);
        return;
    }
    answer(r, status, STR("application/json"), buf_bytes(body));
}

void request_err(Request *r, Err err, const Diag *diag) {
    request_text(r, err_http_status(err), "%s", diag && diag->text[0] ? diag->text : err_text(err));
}

bool request_query(Request *r, const char *key, Str *out) {
    return http_query_value(r->http->query, str_from(key), r->arena, out);
}

bool request_query_bool(Request *r, const char *key, bool absent, bool *out) {
    Str value;
    *out = absent;
    if (!request_query(r, key, &value)) return true;
    if (str_eq(value, STR("true"))) {
        *out = true;
    } else if (str_eq(value, STR("false"))) {
        *out = false;
    } else {
        request_text(
            r,
            400,
            "Failed to deserialize query string: %s: provided string was not `true` or `false`",
            key);
        return false;
    }
    return true;
}

bool request_is_owner(const Request *r) {
    return r->record_known && r->has_caller && identity_eq(&r->caller.identity, &r->record.owner);
}

bool request_owner_only(Request *r, const char *action) {
    if (request_is_owner(r)) return true;
    char caller[IDENTITY_HEX_LEN + 1], database[IDENTITY_HEX_LEN + 1];
    identity_hex(&r->caller.identity, caller);
    identity_hex(&r->database, database);
    request_text(r,
                 403,
                 "%s is not authorized to perform action on database %s: %s",
                 caller,
                 database,
                 action);
    return false;
}

// ── who is asking ──────────────────────────────────────────────────────────────────────────────

// The token of a request (http §3.1). False: the header is there and not a Bearer credential.
static bool token_of(Request *r, Str *token) {
    *token = STR_NONE;
    Str header = http_header(r->http, STR("authorization"));
    if (!header.ptr) {
        (void)request_query(r, "token", token);
        return true;
    }
    static const char bearer[] = "Bearer ";
    if (header.len <= strlen(bearer) ||
        !str_eq_nocase((Str){header.ptr, strlen(bearer)}, STR("Bearer ")))
        return false;
    *token = (Str){header.ptr + strlen(bearer), header.len - strlen(bearer)};
    while (token->len && token->ptr[0] == ' ') {
        token->ptr++;
        token->len--;
    }
    return token->len > 0;
}

static bool authenticate(Request *r, AuthMode mode) {
    if (mode == AUTH_NONE) return true;
    Str token;
    Diag diag = {0};
    Err err = OK;
    if (!token_of(r, &token)) {
        request_text(r, 400, "Authorization is invalid: malformed token");
        return false;
    }
    if (token.ptr) {
        err = auth_verify(r->node->auth, token, node_now(r->node), r->arena, &r->caller, &diag);
        r->has_caller = err == OK;
        if (err == ERR_AGAIN) {  // the request comes again when the issuer's keys are here
            err = oidc_fetch(r->node->oidc, r->caller.issuer, r->loop, r->conn);
            if (err == OK) return false;
        } else if (r->has_caller && r->caller.renew) {
            // If that cannot be now, a later request will ask for it.
            (void)!oidc_fetch(r->node->oidc, r->caller.issuer, r->loop, NULL);
        }
    } else if (mode == AUTH_REQUIRED) {
        request_text(r, 401, "Authorization required");
        return false;
    } else if (mode == AUTH_ANONYMOUS) {
        err = auth_mint(r->node->auth, node_now(r->node), r->arena, &r->caller, &diag);
        r->has_caller = r->is_new_caller = err == OK;
    }
    if (err != OK) {
        request_err(r, err, &diag);
        return false;
    }
    r->tell_caller = mode == AUTH_ANONYMOUS;
    return true;
}

// ── which database ─────────────────────────────────────────────────────────────────────────────

// Look the target up. False: the path is not a name at all; *why says so.
static bool target_resolve(Request *r, const char **why) {
    r->target = r->params[0];
    *why = NULL;
    if (identity_parse(r->target, &r->database)) {
        r->target_known = true;
    } else {
        r->target_is_name = true;
        if (!control_name_ok(r->target, why)) return false;
        r->target_known = control_resolve(r->node->control, r->target, &r->database) == OK;
    }
    if (r->target_known) {
        r->record_known =
            control_find(r->node->control, &r->database, &r->record) == OK && r->record.exists;
    }
    return true;
}

static const char *database_missing(const Request *r, int *status, Diag *diag) {
    *status = 404;
    if (!r->target_known) {
        (void)!diag_fail(diag, ERR_NOT_FOUND, "`" STR_FMT "` not found", STR_ARG(r->target));
        return diag->text;
    }
    if (!r->record_known) return "No such database.";
    *status = 503;
    if (!r->db) return "error starting database: it could not be opened; the server's log says why";
    return r->db->failed ? r->db->failure : NULL;
}

static bool database_require(Request *r, DatabaseMode mode) {
    int status;
    Diag diag = {0};
    const char *why = mode == DB_RESOLVED ? database_missing(r, &status, &diag) : NULL;
    if (why) request_text(r, status, "%s", why);
    return !why;
}

// Everything about an open database happens on its loop. ERR_AGAIN: it is another one's.
static Err database_reach(Request *r) {
    if (!r->record_known) return OK;
    NodeLoop *owner = node_find_place(r->node, &r->database);
    if (owner && owner != r->loop) {
        Err err = net_move(r->conn, owner->net);
        return err == OK ? ERR_AGAIN : ERR_NOMEM;
    }
    if (owner) {
        r->db = loop_database(r->loop, &r->database);
    } else {
        r->record_known = false;  // deleted since we looked
    }
    return OK;
}

Err request_database(Request *r, Str name, Diag *diag) {
    const char *why;
    int status;
    r->params[0] = name;
    if (!target_resolve(r, &why)) return diag_fail(diag, ERR_INVALID, "%s", why);
    Err err = database_reach(r);
    if (err == ERR_NOMEM) return diag_fail(diag, err, "%s", err_text(err));
    if (err != OK) return err;
    why = database_missing(r, &status, diag);
    if (why && why != diag->text) return diag_fail(diag, ERR_NOT_FOUND, "%s", why);
    return why ? ERR_NOT_FOUND : OK;
}

// ── a request ──────────────────────────────────────────────────────────────────────────────────

static void request_handle(Request *r, const Route *route) {
    const char *why = NULL;
    bool named = true;
    for (uint32_t i = 0; i < r->param_count; i++) {
        if (http_percent_decode(r->params[i], r->arena, &r->params[i]) != OK) {
            request_text(r, 400, "Invalid URL: malformed percent-encoding");
            return;
        }
    }
    if (route->database != DB_NONE) {
        named = target_resolve(r, &why);
        Err err = database_reach(r);
        if (err == ERR_NOMEM) request_err(r, err, NULL);
        if (err != OK) return;
    }
    if (!authenticate(r, route->auth)) return;
    if (!named) {
        request_text(r, 400, "Invalid URL: %s", why);
        return;
    }
    if (database_require(r, route->database)) route->handle(r);
}

static void on_request(void *ctx, NetConn *conn, const HttpRequest *http) {
    NodeLoop *loop = ctx;
    Arena arena = {0};
    Request r = {.loop = loop, .node = loop->node, .conn = conn, .http = http, .arena = &arena};
    r.began_ns = loop->node->io->clock_monotonic_ns(loop->node->io->world);
    char allowed[128];
    const Route *route = route_find(http, r.params, &r.param_count, allowed, sizeof allowed);
    if (route) {
        request_handle(&r, route);
    } else if (allowed[0] && str_eq(http->method, STR("OPTIONS"))) {
        http_respond_preflight(conn);
    } else if (allowed[0]) {
        HttpHeader allow = {STR("allow"), str_from(allowed)};
        http_respond(conn, 405, &allow, 1, STR_NONE, BYTES_NONE);
    } else {
        route_static(&r);
    }
    arena_deinit(&arena);
}

// Modules are large, so a body that will be refused for its sender is not kept in memory first: what
// the head says about who sends it to which database is looked at before the body is.
static bool large_body_wanted(Request *r, const Route *route) {
    const char *why;
    Str token;
    for (uint32_t i = 0; i < r->param_count; i++) {
        if (http_percent_decode(r->params[i], r->arena, &r->params[i]) != OK) return false;
    }
    if (route->database != DB_NONE && !target_resolve(r, &why)) return false;
    if (!token_of(r, &token)) return false;
    if (token.ptr) {
        Diag diag = {0};
        Err err = auth_verify(r->node->auth, token, node_now(r->node), r->arena, &r->caller, &diag);
        // An issuer whose keys are not here yet: the body is kept as for anybody who is new.
        if (err == ERR_AGAIN) return true;
        r->has_caller = err == OK;
        if (!r->has_caller) return false;
    }
    if (r->record_known) return request_is_owner(r);
    if (route->database == DB_RESOLVED) return false;  // 404
    if (!r->target_known) return true;                 // a new database, which anybody may make
    return r->has_caller &&
           control_may_create(r->node->control, &r->database, &r->caller.identity) == OK;
}

static size_t on_body_limit(void *ctx, const HttpRequest *head) {
    NodeLoop *loop = ctx;
    Arena arena = {0};
    Request r = {.loop = loop, .node = loop->node, .http = head, .arena = &arena};
    char allowed[128];
    const Route *route = route_find(head, r.params, &r.param_count, allowed, sizeof allowed);
    size_t limit = 0;  // the ordinary one
    if (!route)
        limit = HTTP_BODY_DISCARD;
    else if (route->large_body)
        limit = large_body_wanted(&r, route) ? MODULE_BYTES_MAX : HTTP_BODY_DISCARD;
    arena_deinit(&arena);
    return limit;
}

static bool on_message(void *ctx, NetConn *conn, Bytes payload, bool text) {
    ConnOwner *owner = net_conn_data(conn);
    if (net_conn_is_pg(conn) && !(owner && owner->conn_message))
        return pg_gate_message(ctx, conn, payload);
    return owner && owner->conn_message ? owner->conn_message(owner, payload, text) : true;
}

static void on_closed(void *ctx, NetConn *conn, const char *why) {
    ConnOwner *owner = net_conn_data(conn);
    (void)ctx;
    log_debug("connection from %s is over: %s", net_conn_peer(conn), why);
    net_conn_set_data(conn, NULL);
    if (owner) owner->conn_closed(owner);
}

static void on_room(void *ctx, NetConn *conn) {
    ConnOwner *owner = net_conn_data(conn);
    (void)ctx;
    if (owner && owner->conn_room) owner->conn_room(owner);
}

static void on_moved(void *ctx, NetConn *conn) {
    pg_gate_moved(ctx, conn);
}

NetHandler routes_handler(NodeLoop *loop) {
    return (NetHandler){.ctx = loop,
                        .body_limit = on_body_limit,
                        .request = on_request,
                        .message = on_message,
                        .room = on_room,
                        .moved = on_moved,
                        .closed = on_closed};
}
