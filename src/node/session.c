#include "node/session.h"

#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "node/lifecycle.h"
#include "node/node_private.h"
#include "query/query.h"
#include "sats/json.h"

// A client may be this far ahead of us before we stop reading from it; resumed at half.
#define INBOX_BYTES_MAX    (1u << 20)
#define INBOX_MESSAGES_MAX 16384u

static const char fatal_text[] = "The instance encountered a fatal error.";

// ── life ───────────────────────────────────────────────────────────────────────────────────────

static void session_conn_closed(void *self) {
    Session *s = self;
    s->conn = NULL;
    s->closing = true;
    session_ready(s);
}

static bool session_conn_message(void *self, Bytes payload, bool text) {
    Session *s = self;
    Database *db = s->database;
    db->counters.messages_in++;
    if (s->closing) return true;
    if (text) {
        session_close(s, 1011, "text messages are not part of this protocol");
        return true;
    }
    if (s->inbox_at > (64u << 10) && s->inbox_at > s->inbox.len / 2) {
        memmove(s->inbox.ptr, s->inbox.ptr + s->inbox_at, s->inbox.len - s->inbox_at);
        s->inbox.len -= s->inbox_at;
        s->inbox_at = 0;
    }
    buf_put_lp(&s->inbox, payload);
    if (!buf_ok(&s->inbox)) {
        session_close(s, 1011, "the server is out of memory");
        return true;
    }
    s->inbox_count++;
    session_ready(s);
    s->paused = s->inbox.len - s->inbox_at > INBOX_BYTES_MAX || s->inbox_count > INBOX_MESSAGES_MAX;
    return !s->paused;
}

Session *session_new(Database *db, const SessionOptions *o) {
    Session *s = MEM_NEW(Session);
    if (!s) return NULL;
    s->conn_closed = session_conn_closed;
    s->conn_message = session_conn_message;
    s->database = db;
    s->kind = o->kind;
    s->conn = o->conn;
    s->identity = o->identity;
    s->connection = o->connection;
    s->is_owner = identity_eq(&o->identity, &db->owner);
    s->confirmed = o->confirmed;
    s->protocol = o->protocol;
    s->token = arena_str(&s->arena, o->token);
    s->claims = arena_str(&s->arena, o->claims);
    if (!s->token.ptr || !s->claims.ptr) {
        arena_deinit(&s->arena);
        mem_free(s);
        return NULL;
    }
    s->next = db->sessions;
    if (s->next) s->next->prev = s;
    db->sessions = s;
    return s;
}

void session_free(Session **handle) {
    Session *s = *handle;
    if (!s) return;
    *handle = NULL;
    if (s->prev) s->prev->next = s->next;
    if (s->next) s->next->prev = s->prev;
    if (s->database->sessions == s) s->database->sessions = s->next;
    if (s->live) live_client_close(&s->live);
    outbox_deinit(&s->out);
    buf_deinit(&s->inbox);
    buf_deinit(&s->call_args);
    buf_deinit(&s->http.body);
    arena_deinit(&s->arena);
    mem_free(s);
}

void session_ready(Session *s) {
    if (s->is_ready || s->state == SESSION_ENDED) return;
    Database *db = s->database;
    s->is_ready = true;
    s->next_ready = NULL;
    if (db->ready_last) {
        db->ready_last->next_ready = s;
    } else {
        db->ready_first = s;
    }
    db->ready_last = s;
}

void session_dirty(Session *s) {
    if (s->is_dirty) return;
    s->is_dirty = true;
    s->next_dirty = s->database->dirty;
    s->database->dirty = s;
}

void session_close(Session *s, uint16_t code, const char *why) {
    s->closing = true;
    // What was received and not worked on is dropped: the stream ends here. What was answered
    // before still goes out, so the Close frame itself waits for the delivery.
    buf_clear(&s->inbox);
    s->inbox_at = s->inbox_in = s->inbox_count = 0;
    if (!s->close_code) {
        s->close_code = code;
        snprintf(s->close_why, sizeof s->close_why, "%s", why);
    }
    session_dirty(s);
    session_ready(s);
}

// ── what a client asks, answered on the spot ───────────────────────────────────────────────────

static QueryCaller caller_of(const Session *s) {
    return (QueryCaller){.identity = s->identity, .is_owner = s->is_owner};
}

static const WireTableRows *wire_rows(Session *s, const LiveRows *rows, uint32_t count, bool *ok) {
    Arena *arena = &s->database->turn_arena;
    WireTableRows *out = arena_array(arena, WireTableRows, count + 1);
    *ok = out != NULL;
    for (uint32_t i = 0; out && i < count; i++) {
        out[i] = (WireTableRows){.table_name = rows[i].table_name, .rows = rows[i].rows};
    }
    return out;
}

static void answer_subscribe(Session *s, const ClientMessage *m) {
    Arena *arena = &s->database->turn_arena;
    Str *queries = arena_array(arena, Str, m->query_count + 1);
    const LiveRows *rows;
    uint32_t count, n = 0;
    Diag diag = {0};
    Bytes rest = m->queries;
    while (queries && n < m->query_count && wire_next_query(&rest, &queries[n])) {
        n++;
    }
    Err err = queries ? live_subscribe(s->live, m->query_set, queries, n, &rows, &count, &diag)
                      : ERR_NOMEM;
    Buf *out = outbox_begin(&s->out);
    bool ok = err == OK;
    const WireTableRows *tables = ok ? wire_rows(s, rows, count, &ok) : NULL;
    if (ok) {
        wire_subscribe_applied(out, m->request_id, m->query_set, tables, count);
    } else {
        wire_subscription_error(out,
                                &m->request_id,
                                m->query_set,
                                str_from(diag.text[0] ? diag.text : err_text(err)));
    }
    outbox_end(&s->out);
}

static void answer_unsubscribe(Session *s, const ClientMessage *m) {
    const LiveRows *rows = NULL;
    uint32_t count = 0;
    Diag diag = {0};
    Err err = live_unsubscribe(s->live, m->query_set, m->send_dropped_rows, &rows, &count, &diag);
    Buf *out = outbox_begin(&s->out);
    bool ok = err == OK;
    const WireTableRows *tables = ok ? wire_rows(s, rows, count, &ok) : NULL;
    if (ok) {
        wire_unsubscribe_applied(out,
                                 m->request_id,
                                 m->query_set,
                                 m->send_dropped_rows,
                                 tables,
                                 count);
    } else {
        wire_subscription_error(out,
                                &m->request_id,
                                m->query_set,
                                str_from(diag.text[0] ? diag.text : err_text(err)));
    }
    outbox_end(&s->out);
}

static bool rowlist_sink(void *ctx, Bytes row) {
    rowlist_add(ctx, row);
    return rowlist_ok(ctx);
}

static void answer_one_off(Session *s, const ClientMessage *m) {
    Database *db = s->database;
    Diag diag = {0};
    Query *query = NULL;
    RowList rows;
    Buf encoded = {0};
    rowlist_init(&rows);
    QueryCaller caller = caller_of(s);
    Err err = query_compile(m->text, QUERY_ONE_OFF, &db->query_catalog, &caller, &query, &diag);
    if (err == OK) err = query_run(query, NULL, rowlist_sink, &rows);
    if (err == OK) {
        rowlist_encode(&encoded, &rows);
        if (!buf_ok(&encoded)) err = ERR_NOMEM;
    }
    Buf *out = outbox_begin(&s->out);
    if (err == OK) {
        WireTableRows table = {.table_name = query->table->name, .rows = buf_bytes(&encoded)};
        wire_one_off_result(out, m->request_id, &table);
    } else {
        wire_one_off_error(out, m->request_id, str_from(diag.text[0] ? diag.text : err_text(err)));
    }
    outbox_end(&s->out);
    db->counters.sql_queries++;
    query_free(&query);
    rowlist_deinit(&rows);
    buf_deinit(&encoded);
}

// ── calls ──────────────────────────────────────────────────────────────────────────────────────

static void refuse_call(Session *s, const char *text) {
    s->database->counters.calls_refused++;
    Buf *out = outbox_begin(&s->out);
    wire_reducer_internal_error(out, s->request_id, s->call_timestamp, str_from(text));
    outbox_end(&s->out);
}

// Fill in the call and open its transaction.
void session_call_begin(Session *s,
                        SessionCall what,
                        const FunctionDef *function,
                        Bytes args,
                        HostCall *call) {
    Database *db = s->database;
    s->call = what;
    s->function = function;
    *call = (HostCall){
        .kind = HOST_REDUCER,
        .id = function->id,
        .name = function->name,
        .sender = s->identity,
        .connection = s->connection,
        .timestamp = s->call_timestamp,
        .args = args,
        .access = db_access(db->db),
        .budget_us = db->loop->node->options.deadline,
    };
    db->running = s;
}

void session_transaction_begin(Session *s, Str name) {
    CommitInfo info = {.timestamp = s->call_timestamp,
                       .caller = s->identity,
                       .connection = s->connection,
                       .name = name};
    db_begin(s->database->db, &info);
}

static const char *lifecycle_word(Lifecycle which) {
    switch (which) {
    case LIFECYCLE_INIT: return "Init";
    case LIFECYCLE_CONNECT: return "OnConnect";
    case LIFECYCLE_DISCONNECT: return "OnDisconnect";
    case LIFECYCLE_NONE: break;
    }
    UNREACHABLE();
}

// May this session call the reducer with these arguments? Fills text with the reason if not.
static const FunctionDef *reducer_admit(Session *s,
                                        Str name,
                                        Bytes args,
                                        char *text,
                                        size_t text_size) {
    Database *db = s->database;
    const FunctionDef *f = moduledef_reducer(db->def, name);
    Buf line = {0};
    if (f && f->lifecycle != LIFECYCLE_NONE) {
        snprintf(text,
                 text_size,
                 "can't directly call special %s lifecycle reducer",
                 lifecycle_word(f->lifecycle));
        return NULL;
    }
    if (!f || (f->is_private && !s->is_owner)) {
        snprintf(text, text_size, "no such reducer");
        buf_printf(&line,
                   "External attempt to call nonexistent reducer \"" STR_FMT
                   "\" failed. Have you run `spacetime generate` recently?",
                   STR_ARG(name));
        f = NULL;
    } else {
        Diag diag = {0};
        size_t len;
        if (bsatn_check(f->params, args, &len, &diag) != OK) {
            snprintf(text,
                     text_size,
                     "invalid arguments for reducer " STR_FMT ": %s",
                     STR_ARG(name),
                     diag.text);
            buf_printf(
                &line,
                "External attempt to call reducer \"" STR_FMT
                "\" failed, invalid arguments.\nThis is likely due to a mismatched client schema, have you run `spacetime generate` recently?",
                STR_ARG(name));
            f = NULL;
        }
    }
    if (line.len) database_log_line(db, 0, NULL, bytes_str(buf_bytes(&line)));
    buf_deinit(&line);
    return f;
}

static bool step_call(Session *s, const ClientMessage *m, HostCall *call) {
    char text[DIAG_TEXT_MAX + 512];
    s->request_id = m->request_id;
    const FunctionDef *f = reducer_admit(s, m->text, m->args, text, sizeof text);
    if (!f) {
        refuse_call(s, text);
        return false;
    }
    session_transaction_begin(s, f->name);
    session_call_begin(s, CALL_REDUCER, f, m->args, call);
    return true;
}

// The message at the front of the inbox. False when the inbox is empty or the message was bad.
static bool inbox_next(Session *s, ClientMessage *m) {
    if (s->inbox_count == 0) return false;
    uint32_t len = load_u32(s->inbox.ptr + s->inbox_at);
    Bytes rest = {s->inbox.ptr + s->inbox_at + 4 + s->inbox_in, len - s->inbox_in};
    Diag diag = {0};
    Err err = OK;
    if (len == 0 && s->protocol == WIRE_V3) {
        err = diag_fail(&diag,
                        ERR_MALFORMED,
                        "v3 websocket binary payload must contain at least one v2 client message");
    } else {
        err = wire_decode(&rest, m, &diag);
    }
    if (err != OK) {
        session_close(s, 1011, diag.text[0] ? diag.text : err_text(err));
        return false;
    }
    if (s->protocol == WIRE_V3 && rest.len) {
        s->inbox_in = len - rest.len;
        return true;
    }
    s->inbox_at += 4 + len;
    s->inbox_in = 0;
    s->inbox_count--;
    return true;
}

static void inbox_tidy(Session *s) {
    if (s->inbox_count == 0) {
        if (s->inbox.cap > (256u << 10)) {
            buf_deinit(&s->inbox);
        } else {
            buf_clear(&s->inbox);
        }
        s->inbox_at = 0;
    }
    if (s->paused && s->conn && s->inbox.len - s->inbox_at < INBOX_BYTES_MAX / 2 &&
        s->inbox_count < INBOX_MESSAGES_MAX / 2) {
        s->paused = false;
        net_resume(s->conn);
    }
}

// Take up one message. True: a call was begun.
static bool step_message(Session *s, HostCall *call) {
    ClientMessage m;
    if (!inbox_next(s, &m)) return false;
    session_dirty(s);
    switch (m.kind) {
    case CLIENT_SUBSCRIBE: answer_subscribe(s, &m); return false;
    case CLIENT_UNSUBSCRIBE: answer_unsubscribe(s, &m); return false;
    case CLIENT_ONE_OFF_QUERY: answer_one_off(s, &m); return false;
    case CLIENT_CALL_REDUCER: return step_call(s, &m, call);
    case CLIENT_CALL_PROCEDURE: {
        Buf *out = outbox_begin(&s->out);
        wire_procedure_internal_error(out, m.request_id, STR("No such procedure"));
        outbox_end(&s->out);
        return false;
    }
    }
    UNREACHABLE();
}

// ── HTTP: one call or one query, between a connect and a disconnect ────────────────────────────

void session_http_answer(Session *s, int status, const char *text) {
    s->http.done = true;
    s->http.status = status;
    s->http.content_type = STR("text/plain; charset=utf-8");
    buf_clear(&s->http.body);
    buf_put_str(&s->http.body, str_from(text));
    s->closing = true;
    session_dirty(s);
}

static bool step_http_call(Session *s, HostCall *call) {
    Database *db = s->database;
    char text[DIAG_TEXT_MAX + 512];
    const FunctionDef *f = moduledef_reducer(db->def, s->http.name);
    if (f && f->lifecycle != LIFECYCLE_NONE) {
        snprintf(text,
                 sizeof text,
                 "can't directly call special %s lifecycle reducer",
                 lifecycle_word(f->lifecycle));
        session_http_answer(s, 400, text);
        return false;
    }
    if (!f || (f->is_private && !s->is_owner)) {
        reducer_admit(s, s->http.name, BYTES_NONE, text, sizeof text);
        session_http_answer(s, 404, "No such procedure");
        return false;
    }
    Diag diag = {0};
    buf_clear(&s->call_args);
    if (json_read_args(f->params, f->name, s->http.text, &s->call_args, &diag) != OK) {
        snprintf(text,
                 sizeof text,
                 "invalid arguments for reducer " STR_FMT ": %s",
                 STR_ARG(f->name),
                 diag.text);
        Buf line = {0};
        buf_printf(
            &line,
            "External attempt to call reducer \"" STR_FMT
            "\" failed, invalid arguments.\nThis is likely due to a mismatched client schema, have you run `spacetime generate` recently?",
            STR_ARG(f->name));
        database_log_line(db, 0, NULL, bytes_str(buf_bytes(&line)));
        buf_deinit(&line);
        session_http_answer(s, 400, text);
        return false;
    }
    session_transaction_begin(s, f->name);
    session_call_begin(s, CALL_REDUCER, f, buf_bytes(&s->call_args), call);
    return true;
}

static void step_http_sql(Session *s) {
    Database *db = s->database;
    const Io *io = db->loop->node->io;
    int64_t began = io->clock_monotonic_ns(io->world);
    Diag diag = {0};
    Query *query = NULL;
    QueryCaller caller = caller_of(s);
    Buf *body = &s->http.body;
    db->counters.sql_queries++;
    Err err = query_compile(s->http.text, QUERY_SQL, &db->query_catalog, &caller, &query, &diag);
    buf_put_u8(body, '[');
    if (err == OK) {
        int64_t micros = (io->clock_monotonic_ns(io->world) - began) / 1000;
        err = query_write_json(query, NULL, micros, body, &diag);
    }
    buf_put_u8(body, ']');
    query_free(&query);
    if (err == OK && !buf_ok(body)) err = ERR_NOMEM;
    if (err != OK) {
        int status = err == ERR_NOMEM ? 503 : 400;
        session_http_answer(s, status, diag.text[0] ? diag.text : err_text(err));
        return;
    }
    s->http.done = true;
    s->http.status = 200;
    s->http.content_type = STR("application/json");
    s->http.has_duration = true;
    s->http.duration_us = (io->clock_monotonic_ns(io->world) - began) / 1000;
    s->closing = true;
    session_dirty(s);
}

// ── one step ───────────────────────────────────────────────────────────────────────────────────

// The session's next piece of work. True: a call was begun. *more: it has something left to do.
static bool session_step(Session *s, HostCall *call, bool *more) {
    s->call_timestamp = s->database->now;
    bool begun = false;
    *more = true;
    if (s->kind == SESSION_SYSTEM) return lifecycle_step_system(s, call, more);
    if (s->state == SESSION_CONNECTING) {
        // A client that left before it was let in never was here.
        if (s->kind == SESSION_WS && s->closing && !s->conn) {
            s->state = SESSION_ENDED;
            *more = false;
            return false;
        }
        return lifecycle_step_connect(s, call);
    }
    if (s->kind == SESSION_HTTP && !s->http.done) {
        if (s->http.work == HTTP_CALL) return step_http_call(s, call);
        step_http_sql(s);
        return false;
    }
    inbox_tidy(s);
    begun = step_message(s, call);
    if (begun || s->inbox_count) return begun;
    if (s->closing) return lifecycle_step_disconnect(s, call, more);
    *more = false;
    return false;
}

static Session *ready_take(Database *db) {
    Session *s = db->ready_first;
    if (!s) return NULL;
    db->ready_first = s->next_ready;
    if (!db->ready_first) db->ready_last = NULL;
    s->is_ready = false;
    return s;
}

bool session_next_call(void *ctx, HostCall *call) {
    Database *db = ctx;
    const Io *io = db->loop->node->io;
    for (;;) {
        if (db->failed) return false;
        if (io->clock_monotonic_ns(io->world) >= db->turn_ends_ns) return false;
        Session *s = ready_take(db);
        if (!s) return false;
        db->now = io->clock_wall(io->world);
        bool more;
        bool begun = session_step(s, call, &more);
        // One at a time and back to the end of the ring: a flood from one client delays that client.
        if (more) session_ready(s);
        if (begun) return true;
        if (s->state == SESSION_ENDED) session_dirty(s);  // the delivery frees it
    }
}

// ── outcomes ───────────────────────────────────────────────────────────────────────────────────

const WireTableUpdate *session_wire_updates(Database *db, const LiveUpdate *own, uint32_t *count) {
    *count = own ? own->set_count : 0;
    WireTableUpdate *out = arena_array(&db->turn_arena, WireTableUpdate, *count + 1);
    if (!out) *count = 0;
    for (uint32_t i = 0; i < *count; i++) {
        const LiveDelta *delta = own->sets[i].delta;
        out[i] = (WireTableUpdate){
            .query_set = own->sets[i].query_set,
            .table_name = delta->table_name,
            .is_event = delta->is_event,
            .inserts = delta->inserts,
            .deletes = delta->deletes,
        };
    }
    return out;
}

static void reducer_committed(Session *s, const LiveUpdate *own, const HostOutcome *outcome) {
    s->database->counters.calls_ok++;
    if (s->kind == SESSION_HTTP) {
        session_http_answer(s, 200, "");
        s->http.has_duration = true;
        s->http.duration_us = outcome->elapsed_us;
        return;
    }
    uint32_t count;
    const WireTableUpdate *updates = session_wire_updates(s->database, own, &count);
    if (!updates) s->out.failed = true;
    Buf *out = outbox_begin(&s->out);
    wire_reducer_ok(out, s->request_id, s->call_timestamp, updates, count);
    outbox_end(&s->out);
}

static void reducer_failed(Session *s, const HostOutcome *outcome, Str text, bool user_error) {
    if (s->kind == SESSION_HTTP) {
        session_http_answer(s, 530, "");
        buf_put_str(&s->http.body, text);
        s->http.has_duration = true;
        s->http.duration_us = outcome->elapsed_us;
        return;
    }
    Buf *out = outbox_begin(&s->out);
    if (user_error) {
        wire_reducer_err(out, s->request_id, s->call_timestamp, text);
    } else {
        wire_reducer_internal_error(out, s->request_id, s->call_timestamp, text);
    }
    outbox_end(&s->out);
}

// What the caller and the log are told about a call that did not commit. Borrows from outcome or
// from the turn's arena.
Str session_failure_text(Session *s, const HostOutcome *outcome) {
    Database *db = s->database;
    switch (outcome->status) {
    case HOST_USER_ERROR:
        db->counters.calls_user_error++;
        database_log_record(db, 0, s->function->name, outcome->message, s->call_timestamp);
        return outcome->message;
    case HOST_DEADLINE: {
        db->counters.calls_deadline++;
        Str text = arena_printf(&db->turn_arena,
                                "reducer `" STR_FMT
                                "` was stopped: it ran longer than its deadline of %lld ms",
                                STR_ARG(s->function->name),
                                (long long)(db->loop->node->options.deadline / 1000));
        database_log_record(db, 0, s->function->name, text, s->call_timestamp);
        return text.ptr ? text : str_from(fatal_text);
    }
    case HOST_FATAL: db->counters.calls_fatal++; return str_from(fatal_text);
    case HOST_OK: break;
    }
    UNREACHABLE();
}

void session_done(void *ctx, const HostCall *call, const HostOutcome *outcome) {
    Database *db = ctx;
    Session *s = db->running;
    (void)call;
    db->running = NULL;
    SessionCall what = s->call;
    s->call = CALL_NONE;
    if (s->kind != SESSION_SYSTEM) session_dirty(s);
    if (what != CALL_REDUCER) {
        lifecycle_done(s, what, outcome);
        return;
    }
    if (outcome->status != HOST_OK) {
        db_rollback(db->db);
        Str text = session_failure_text(s, outcome);
        reducer_failed(s, outcome, text, outcome->status == HOST_USER_ERROR);
        return;
    }
    const WriteSet *writes;
    bool changed;
    const LiveUpdate *own = NULL;
    Err err = db_commit(db->db, &writes, &changed);
    if (err != OK) {
        db->counters.calls_fatal++;
        reducer_failed(s, outcome, str_from(err_text(err)), false);
        return;
    }
    if (changed) database_publish(db, writes, s, &own);
    reducer_committed(s, own, outcome);
}

// ── delivery, after the sync ───────────────────────────────────────────────────────────────────

static void http_deliver(Session *s) {
    if (!s->http.done || !s->conn) return;
    HttpHeader headers[2];
    uint32_t count = 0;
    char duration[32];
    if (s->http.has_duration) {
        snprintf(duration, sizeof duration, "%lld", (long long)s->http.duration_us);
        headers[count++] =
            (HttpHeader){STR("spacetime-execution-duration-micros"), str_from(duration)};
        if (s->http.work == HTTP_CALL)
            headers[count++] = (HttpHeader){STR("spacetime-energy-used"), STR("0")};
    }
    NetConn *conn = s->conn;
    s->conn = NULL;
    net_conn_set_data(conn, NULL);
    routes_respond_as(conn,
                      &s->identity,
                      s->token,
                      s->http.status,
                      headers,
                      count,
                      s->http.content_type,
                      buf_bytes(&s->http.body));
}

static void ws_deliver(Session *s) {
    if (!s->conn) return;
    if (!outbox_is_empty(&s->out) && !outbox_send(&s->out, s->conn, s->protocol)) {
        session_close(s, 1008, "the client reads too slowly");
    }
    if (!s->close_code) return;
    NetConn *conn = s->conn;
    s->conn = NULL;
    net_conn_set_data(conn, NULL);
    ws_close(conn, s->close_code, str_from(s->close_why));
}

void session_deliver(Database *db, bool confirmed) {
    Session *keep = NULL;
    Session *dirty = db->dirty;
    db->dirty = NULL;
    while (dirty) {
        Session *s = dirty;
        dirty = s->next_dirty;
        bool waits = s->kind == SESSION_HTTP || s->confirmed;
        if (waits != confirmed) {
            s->next_dirty = keep;
            keep = s;
            continue;
        }
        if (s->kind == SESSION_HTTP) http_deliver(s);
        if (s->kind == SESSION_WS) ws_deliver(s);
        s->is_dirty = false;
        if (s->state == SESSION_ENDED) session_free(&s);
    }
    db->dirty = keep;
}
