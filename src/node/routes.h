// routes.h: the HTTP API: which request is whose business. Spec: http-api-and-auth.
//
//   request ── match path and method ── move to the loop of its database ── authenticate ── handler
//
// A handler answers at once, or leaves a ConnOwner on the connection and answers later.
#pragma once
#include "node/node_private.h"

// What a connection's data points at while somebody waits to answer it, or speaks WebSocket on it.
typedef struct ConnOwner {
    void (*conn_closed)(void *self);  // the connection is gone; forget it
    bool (*conn_message)(void *self, Bytes payload, bool text);  // NULL: not a WebSocket
    void (*conn_room)(void *self);                               // NULL: it never asked for any
} ConnOwner;

typedef enum AuthMode {
    AUTH_NONE,       // credentials are ignored
    AUTH_OPTIONAL,   // refused when invalid
    AUTH_REQUIRED,   // 401 when missing
    AUTH_ANONYMOUS,  // a caller without any becomes a new identity
} AuthMode;

typedef enum DatabaseMode {
    DB_NONE,
    DB_NAMED,     // the path names one; it need not exist
    DB_RESOLVED,  // it exists and is open, or the answer is 404 or 503
} DatabaseMode;

typedef struct Request {
    NodeLoop *loop;
    Node *node;
    NetConn *conn;
    const HttpRequest *http;
    int64_t began_ns;  // of the monotonic clock, when it was looked at first
    Arena *arena;      // until the request was handled
    Str params[2];     // of the path, percent-decoded
    uint32_t param_count;
    bool has_caller, is_new_caller;  // new: of no name, it was given one for this request
    AuthClaims caller;
    bool tell_caller;  // the answer carries the spacetime-identity headers
    Str target;        // :name_or_identity as written
    bool target_is_name;
    bool target_known;  // `database` is set
    Identity database;
    bool record_known;  // `record` is set: it was published
    ControlDatabase record;
    Database *db;         // open on this loop
    bool is_unconfirmed;  // what the answer says need not be on disk
} Request;

typedef void (*RouteHandler)(Request *request);

// Answers. Text bodies are text/plain.
void request_text(Request *r, int status, const char *fmt, ...) PRINTF_LIKE(3, 4);
void request_json(Request *r, int status, const Buf *body);
void request_empty(Request *r, int status);
void request_err(Request *r, Err err, const Diag *diag);    // status and text of the error
bool request_query(Request *r, const char *key, Str *out);  // false: absent
// A query parameter that is a bool; answers 400 and returns false when it is malformed.
bool request_query_bool(Request *r, const char *key, bool absent, bool *out);
bool request_is_owner(const Request *r);
// 403 "… is not authorized to perform action on database …: <action>"; true when the caller may.
bool request_owner_only(Request *r, const char *action);

// The identity in the path; answers 400 and returns false when it is none.
bool request_identity_param(Request *r, Identity *out);

// The body is said to be JSON and is UTF-8; answers 400 or 415 and returns false when not.
bool request_is_json(Request *r);
// As the database of a path: sets r->db. ERR_AGAIN: the request goes on in another loop, where its handler is
// called again. Else diag says why not.
MUST_USE Err request_database(Request *r, Str name, Diag *diag);
// A tool's result out of what a session answered over HTTP (route_mcp.c). `id` is JSON.
void mcp_wrap(Buf *out, Str id, int status, Bytes body);

// The table of routes, for the test that compares it with the document. False: there are fewer.
bool routes_at(uint32_t i, const char **method, const char **path);
Bytes routes_openapi(void);

// Handlers, by file.
void route_openapi(Request *r);
void route_prometheus_targets(Request *r);
void route_energy_get(Request *r);
void route_energy_add(Request *r);
void route_energy_set(Request *r);
void route_internal(Request *r);

void route_ping(Request *r);
void route_health(Request *r);
void route_metrics(Request *r);
void route_identity_new(Request *r);
void route_public_key(Request *r);
void route_websocket_token(Request *r);
void route_verify(Request *r);
void route_identity_databases(Request *r);

void route_info(Request *r);
void route_delete(Request *r);
void route_names_get(Request *r);
void route_names_add(Request *r);
void route_names_set(Request *r);
void route_identity_of(Request *r);
void route_schema(Request *r);
void route_lock(Request *r);
void route_unlock(Request *r);
void route_timestamp(Request *r);
void route_settings_get(Request *r);
void route_settings_put(Request *r);
void route_logs(Request *r);
void route_backup(Request *r);

void route_call(Request *r);
void route_sql(Request *r);
void route_subscribe(Request *r);
void route_mcp(Request *r);
void route_handler(Request *r);

void route_publish(Request *r);
void route_pre_publish(Request *r);
void route_reset(Request *r);

void route_static(Request *r);
