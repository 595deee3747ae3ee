// Calls, queries and the WebSocket: everything that becomes a session. Spec: http-api-and-auth §8.7,
// §8.8, §11; websocket-and-data-model §5.
#include <stdio.h>

#include "node/routes.h"
#include "node/session.h"

static Session *session_of_request(Request *r, SessionKind kind) {
    Identity party = session_party_of_address(r->conn);
    SessionOptions options = {
        .kind = kind,
        .conn = r->conn,
        .identity = r->caller.identity,
        .party = r->is_new_caller ? &party : NULL,
        .confirmed = true,
        .token = r->caller.token,
        .claims = r->caller.payload,
        .began_ns = r->began_ns,
    };
    r->node->io->random_bytes(r->node->io->world,
                              options.connection.le,
                              sizeof options.connection.le);
    Session *s = session_new(r->db, &options);
    if (!s) request_err(r, ERR_NOMEM, NULL);
    return s;
}

bool request_is_json(Request *r) {
    Str type = http_header(r->http, STR("content-type"));
    if (!type.ptr) {
        request_text(r, 400, "Header of type `content-type` was missing");
    } else if (!str_eq(type, STR("application/json"))) {
        request_text(r, 415, "Expected request with `Content-Type: application/json`");
    } else if (!utf8_valid(r->http->body)) {
        request_text(r, 400, "Request body didn't contain valid UTF-8");
    } else {
        return true;
    }
    return false;
}

// In the session's arena; an absent text stays absent.
static bool text_keep(Session *s, Str from, Str *to) {
    *to = from.ptr ? arena_str(&s->arena, from) : STR_NONE;
    return !from.ptr || to->ptr;
}

void request_session(Request *r, HttpWork work, Str name, Str text, Str mcp_id) {
    Session *s = session_of_request(r, SESSION_HTTP);
    if (!s) return;
    s->http.work = work;
    if (!text_keep(s, name, &s->http.name) || !text_keep(s, text, &s->http.text) ||
        !text_keep(s, mcp_id, &s->http.mcp_id)) {
        session_free(&s);
        request_err(r, ERR_NOMEM, NULL);
        return;
    }
    if (r->is_unconfirmed) s->confirmed = false;
    net_conn_set_data(r->conn, s);
    session_limit(s);
    session_ready(s);
}

void route_call(Request *r) {
    if (!request_is_json(r)) return;
    request_session(r, HTTP_CALL, r->params[1], bytes_str(r->http->body), STR_NONE);
}

void route_sql(Request *r) {
    bool confirmed;
    if (!request_query_bool(r, "confirmed", true, &confirmed)) return;
    if (!utf8_valid(r->http->body)) {
        request_text(r, 400, "Request body didn't contain valid UTF-8");
        return;
    }
    r->is_unconfirmed = !confirmed;
    request_session(r, HTTP_SQL, STR_NONE, bytes_str(r->http->body), STR_NONE);
}

// ── the WebSocket ──────────────────────────────────────────────────────────────────────────────

typedef struct SubscribeParams {
    ConnectionId connection;
    bool has_connection;
    bool has_confirmed, confirmed;
    bool light;
    WirePacking packing;
} SubscribeParams;

static bool packing_param(Request *r, WirePacking *out) {
    Str text;
    *out = WIRE_BROTLI;  // who says nothing can unpack that (§5.3)
    if (!request_query(r, "compression", &text)) return true;
    if (str_eq(text, STR("None")))
        *out = WIRE_PLAIN;
    else if (str_eq(text, STR("Gzip")))
        *out = WIRE_GZIP;
    else if (!str_eq(text, STR("Brotli"))) {
        request_text(r,
                     400,
                     "Failed to deserialize query string: compression: unknown variant `" STR_FMT
                     "`, expected one of `None`, `Brotli`, `Gzip`",
                     STR_ARG(text));
        return false;
    }
    return true;
}

static bool subscribe_params(Request *r, SubscribeParams *out) {
    Str text;
    out->has_confirmed = request_query(r, "confirmed", &text);
    if (request_query(r, "connection_id", &text)) {
        if (!connection_id_parse(text, &out->connection)) {
            request_text(
                r,
                400,
                "Failed to deserialize query string: connection_id: expected 32 hexadecimal digits");
            return false;
        }
        out->has_connection = true;
    }
    return packing_param(r, &out->packing) && request_query_bool(r, "light", false, &out->light) &&
           request_query_bool(r, "confirmed", true, &out->confirmed);
}

// One id, one connection, whoever's: st_connection_credentials is keyed by it alone.
static bool connection_is_taken(const Database *db, const ConnectionId *connection) {
    for (const Session *s = db->sessions; s; s = s->next) {
        if (s->kind == SESSION_WS && s->state != SESSION_ENDED &&
            connection_id_eq(&s->connection, connection))
            return true;
    }
    return false;
}

// The one that the server likes best of those offered (§5.4). *ours: v1.bsatn.lightcone, v3 with more.
static bool protocol_choose(const HttpRequest *http, WireProtocol *out, bool *ours) {
    *out = WIRE_V3;
    *ours = ws_offers(http, STR(WIRE_OURS_NAME));
    if (*ours) return true;
    for (int p = WIRE_V3; p >= WIRE_V1_JSON; p--) {
        *out = (WireProtocol)p;
        if (ws_offers(http, wire_protocol_name(*out))) return true;
    }
    return false;
}

// The order of refusals is websocket-and-data-model §5.5.
void route_subscribe(Request *r) {
    SubscribeParams params = {0};
    Diag diag = {0};
    int status = 400;
    if (!subscribe_params(r, &params)) return;
    if (ws_check_upgrade(r->http, &status, &diag) != OK) {
        request_text(r, status, "%s", diag.text);
        return;
    }
    if (params.has_connection && connection_id_is_zero(&params.connection)) {
        request_text(r, 400, "Invalid connection ID: the all-zeros ConnectionId is reserved.");
        return;
    }
    if (!r->target_known) {
        request_text(r, 404, "`" STR_FMT "` not found", STR_ARG(r->target));
        return;
    }
    if (!r->record_known || !r->db) {
        request_text(r,
                     r->record_known ? 503 : 404,
                     r->record_known ? "error starting database: the server's log says why"
                                     : "No such database.");
        return;
    }
    if (r->db->failed) {
        request_text(r, 503, "%s", r->db->failure);
        return;
    }
    WireProtocol protocol;
    bool ours;
    if (!protocol_choose(r->http, &protocol, &ours)) {
        request_text(r, 400, "no valid protocol selected");
        return;
    }
    if (!params.has_connection)
        r->node->io->random_bytes(r->node->io->world,
                                  params.connection.le,
                                  sizeof params.connection.le);
    if (connection_is_taken(r->db, &params.connection)) {
        request_text(r, 400, "a live connection has the same connection id");
        return;
    }

    SessionOptions options = {
        .kind = SESSION_WS,
        .conn = r->conn,
        .identity = r->caller.identity,
        .connection = params.connection,
        .confirmed = params.has_confirmed ? params.confirmed : !wire_is_v1(protocol),
        .protocol = protocol,
        .is_light = params.light,
        .speaks_ours = ours,
        .packing = params.packing,
        .token = r->caller.token,
        .claims = r->caller.payload,
        .began_ns = r->began_ns,
    };
    Session *s = session_new(r->db, &options);
    if (!s) {
        request_err(r, ERR_NOMEM, NULL);
        return;
    }
    char hex[IDENTITY_HEX_LEN + 1];
    identity_hex(&r->caller.identity, hex);
    const HttpHeader headers[] = {{STR("spacetime-identity"), str_from(hex)},
                                  {STR("spacetime-identity-token"), r->caller.token}};
    Str name = ours ? STR(WIRE_OURS_NAME) : wire_protocol_name(protocol);
    Err err = ws_accept(r->conn, name, headers, 2, &status, &diag);
    if (err != OK) {
        session_free(&s);
        request_text(r, status, "%s", diag.text);
        return;
    }
    net_conn_set_data(r->conn, s);
    session_ready(s);
}
