// session_ws.c: what a WebSocket client asks: its inbox, and the answers given on the spot.
#include "base/mem.h"
#include "node/commit.h"
#include "node/session_private.h"
#include "query/statement.h"

// A client may be this far ahead of us before we stop reading from it; resumed at half.
#define INBOX_BYTES_MAX    (1u << 20)
#define INBOX_MESSAGES_MAX 16384u

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

static void ask_again(Session *s, Err err, const LiveUpdate *own);

// The question is about results of views that are not there: they come first.
static void ask_later(Session *s, const ClientMessage *m) {
    s->asked = *m;
    commit_views(s, ask_again);
}

void session_subscription_dropped(void *ctx, void *owner, uint32_t query_set, const char *reason) {
    Session *s = owner;
    (void)ctx;
    Buf *out = outbox_begin(&s->out);
    wire_subscription_error(out, NULL, query_set, str_from(reason));
    outbox_end(&s->out);
    session_dirty(s);
}

static void refuse_subscribe(Session *s, const ClientMessage *m, const char *text) {
    Buf *out = outbox_begin(&s->out);
    wire_subscription_error(out, &m->request_id, m->query_set, str_from(text));
    outbox_end(&s->out);
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
    if (err == ERR_AGAIN) {
        ask_later(s, m);
        return;
    }
    bool ok = err == OK;
    const WireTableRows *tables = ok ? wire_rows(s, rows, count, &ok) : NULL;
    if (!ok) {
        refuse_subscribe(s, m, diag.text[0] ? diag.text : err_text(err));
        return;
    }
    Buf *out = outbox_begin(&s->out);
    wire_subscribe_applied(out, m->request_id, m->query_set, tables, count);
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

static bool one_off_row(void *ctx, Bytes row) {
    RowList *list = ctx;
    rowlist_add(list, row);
    return rowlist_ok(list);
}

typedef struct OneOffViews {
    Views *views;
    Diag *diag;
} OneOffViews;

static Err one_off_view(void *ctx, const Query *query) {
    const OneOffViews *check = ctx;
    return views_check(check->views, query, check->diag);
}

static void refuse_one_off(Session *s, const ClientMessage *m, const char *text) {
    Buf *out = outbox_begin(&s->out);
    wire_one_off_error(out, m->request_id, str_from(text));
    outbox_end(&s->out);
}

static void answer_one_off(Session *s, const ClientMessage *m) {
    Database *db = s->database;
    Diag diag = {0};
    Statement *statement = NULL;
    RowList rows;
    Buf encoded = {0};
    rowlist_init(&rows);
    QueryCaller caller = caller_of(s);
    OneOffViews views = {db->views, &diag};
    Err err =
        statement_compile(m->text, QUERY_ONE_OFF, &db->query_catalog, &caller, &statement, &diag);
    if (err == OK) err = statement_each_query(statement, one_off_view, &views);
    if (err == OK) err = statement_run(statement, NULL, one_off_row, &rows, &diag);
    if (err == OK) {
        rowlist_encode(&encoded, &rows);
        if (!buf_ok(&encoded)) err = ERR_NOMEM;
    }
    if (err == OK) {
        Buf *out = outbox_begin(&s->out);
        WireTableRows table = {.table_name = statement_table(statement)->name,
                               .rows = buf_bytes(&encoded)};
        wire_one_off_result(out, m->request_id, &table);
        outbox_end(&s->out);
    } else if (err == ERR_AGAIN) {
        ask_later(s, m);
    } else {
        refuse_one_off(s, m, diag.text[0] ? diag.text : err_text(err));
    }
    if (err != ERR_AGAIN) db->counters.sql_queries++;
    statement_free(&statement);
    rowlist_deinit(&rows);
    buf_deinit(&encoded);
}

// The views that a question waited for were run; which of them failed it will hear now.
static void ask_again(Session *s, Err err, const LiveUpdate *own) {
    const ClientMessage *m = &s->asked;
    (void)own;
    session_dirty(s);
    if (m->kind == CLIENT_SUBSCRIBE) {
        if (err == OK)
            answer_subscribe(s, m);
        else
            refuse_subscribe(s, m, err_text(err));
    } else if (err == OK) {
        answer_one_off(s, m);
    } else {
        refuse_one_off(s, m, err_text(err));
    }
}

// ── calls ──────────────────────────────────────────────────────────────────────────────────────

static void refuse_call(Session *s, const char *text) {
    s->database->counters.calls_refused++;
    Buf *out = outbox_begin(&s->out);
    wire_reducer_internal_error(out, s->request_id, s->call_timestamp, str_from(text));
    outbox_end(&s->out);
}
static bool step_call(Session *s, const ClientMessage *m, HostCall *call) {
    char text[DIAG_TEXT_MAX + 512];
    s->request_id = m->request_id;
    const FunctionDef *f = session_admit(s, m->text, m->args, text, sizeof text);
    if (!f) {
        refuse_call(s, text);
        return false;
    }
    session_transaction_begin(s, f->name);
    session_call_begin(s, CALL_REDUCER, f, m->args, call);
    return true;
}
// ── the inbox ──────────────────────────────────────────────────────────────────────────────────

bool session_ws_message(void *self, Bytes payload, bool text) {
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

void session_ws_tidy(Session *s) {
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
bool session_ws_step(Session *s, HostCall *call) {
    ClientMessage m;
    if (!inbox_next(s, &m)) return false;
    session_dirty(s);
    // Calls count even when the caller left; questions do not.
    if (!s->conn && m.kind != CLIENT_CALL_REDUCER) return false;
    switch (m.kind) {
    case CLIENT_SUBSCRIBE: answer_subscribe(s, &m); return false;
    case CLIENT_UNSUBSCRIBE: answer_unsubscribe(s, &m); return false;
    case CLIENT_ONE_OFF_QUERY: answer_one_off(s, &m); return false;
    case CLIENT_CALL_REDUCER: return step_call(s, &m, call);
    case CLIENT_CALL_PROCEDURE: procedure_call_ws(s, m.request_id, m.text, m.args); return false;
    }
    UNREACHABLE();
}
