// session_v1.c: what protocol v1 wants from a session and later protocols do not. Spec:
// websocket-and-data-model §6.4, §7.3 to §7.6.
//
//   causes       an update says which call made it, at least by its request id
//   legacy sets  Subscribe replaces the set before; both exist while it does, under two ids of live/
//   JSON         the rows of a delta as text, made once a commit whoever watches it
//
// Everything else that differs is in the codec (wire/v1.c) and in live_client_distinct (live.h).
#include "node/session_private.h"

// ── causes ─────────────────────────────────────────────────────────────────────────────────────

static WireCall cause_of(const Session *s, const HostCall *call, int64_t elapsed_us) {
    bool here = s->kind == SESSION_WS && call->kind == HOST_REDUCER;
    return (WireCall){
        .request = here ? s->request_id : 0,
        .timestamp = call->timestamp,
        .duration_us = elapsed_us,
        .reducer = call->name,
        .reducer_id = call->id,
        .args = call->args,
        .params = s->function->params,
        .args_text = here ? s->v1.args_text : STR_NONE,
        .caller = call->sender,
        .connection = call->connection,
    };
}

void session_cause_note(Session *s, const HostCall *call, int64_t elapsed_us) {
    Database *db = s->database;
    s->v1.cause = NULL;
    if (!db->v1_count) return;
    WireCall *cause = arena_new(&db->turn_arena, WireCall);
    if (!cause) return;
    *cause = cause_of(s, call, elapsed_us);
    // What the call was made with may be gone before its views have run.
    cause->args = str_bytes(arena_str(&db->turn_arena, bytes_str(call->args)));
    cause->reducer = arena_str(&db->turn_arena, call->name);
    if (cause->args.ptr && cause->reducer.ptr) s->v1.cause = cause;
}

WireCall session_cause(const Database *db, const Session *by) {
    if (by && by->v1.cause) return *by->v1.cause;
    bool is_procedure = by && by->kind == SESSION_AGENT;
    return (WireCall){
        .timestamp = by ? by->call_timestamp : db->now,
        .reducer = STR(""),
        .reducer_id = is_procedure ? 0 : WIRE_NO_REDUCER,
        .caller = by ? by->identity : db->identity,
    };
}

// ── sets ───────────────────────────────────────────────────────────────────────────────────────

uint64_t session_set_id(const Session *s, const ClientMessage *m) {
    bool is_legacy = m->set_kind == WIRE_SET_LEGACY;
    return is_legacy ? LIVE_SET_WHOLE + (s->v1.legacy ^ 1u) : m->query_set;
}

void session_set_began(Session *s, const ClientMessage *m) {
    if (m->set_kind != WIRE_SET_LEGACY) return;
    LiveAnswer none;
    Diag diag;
    diag_clear(&diag);
    // There is none before the first one.
    (void)!live_unsubscribe_within(s->live, LIVE_SET_WHOLE + s->v1.legacy, false, 0, &none, &diag);
    s->v1.legacy ^= 1;
}

Err session_set_check(const Session *s, const ClientMessage *m, Diag *diag) {
    if (m->set_kind != WIRE_SET_SINGLE) return OK;
    Bytes rest = m->queries;
    Str text;
    Query *query;
    QueryCaller caller = {.identity = s->identity, .is_owner = s->is_owner};
    if (!wire_next_query(&rest, &text)) return OK;
    const QueryCatalog *catalog = &s->database->query_catalog;
    Err err = query_compile(text, QUERY_SUBSCRIBE, catalog, &caller, &query, diag);
    if (err == OK) query_free(&query);
    return err;
}

int64_t session_took_us(const Session *s) {
    const Io *io = s->database->loop->node->io;
    if (!wire_is_v1(s->protocol)) return 0;
    return (io->clock_monotonic_ns(io->world) - s->took_ns) / 1000;
}

// ── rows as JSON ───────────────────────────────────────────────────────────────────────────────

typedef struct DeltaJson {
    Bytes inserts, deletes;  // ptr NULL: not made yet
} DeltaJson;

static bool room_for(Database *db, uint64_t id) {
    if (id < db->delta_json.count) return true;
    uint64_t count = MAX(id + 1, db->delta_json.count * 2);
    DeltaJson *list = arena_array(&db->turn_arena, DeltaJson, count);
    if (!list) return false;
    if (db->delta_json.count)
        memcpy(list, db->delta_json.list, db->delta_json.count * sizeof *list);
    db->delta_json.list = list;
    db->delta_json.count = count;
    return true;
}

static Bytes rows_json(Database *db, const LiveDelta *delta, Bytes rows) {
    Buf text = {0};
    WireRowType type = {.row_type = delta->row_type, .hidden_columns = delta->hidden_columns};
    wire_rows_json(&text, rows, &type, false);
    Bytes copy = BYTES_NONE;
    if (buf_ok(&text)) copy = arena_bytes(&db->turn_arena, buf_bytes(&text));
    buf_deinit(&text);
    return copy;
}

bool session_wire_json(Database *db, const LiveDelta *delta, WireTableUpdate *update) {
    if (!room_for(db, delta->id)) return false;
    DeltaJson *json = &db->delta_json.list[delta->id];
    const WireApart *apart = update->apart;  // there are pieces of it already
    bool inserts = !apart || !apart->inserts, deletes = !apart || !apart->deletes;
    if (inserts && !json->inserts.ptr) json->inserts = rows_json(db, delta, delta->inserts);
    if (deletes && !json->deletes.ptr) json->deletes = rows_json(db, delta, delta->deletes);
    update->inserts_json = json->inserts;
    update->deletes_json = json->deletes;
    return (!inserts || json->inserts.ptr) && (!deletes || json->deletes.ptr);
}
