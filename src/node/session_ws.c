// session_ws.c: what a WebSocket client asks: its inbox, and the answers given on the spot.
#include "base/mem.h"
#include "node/commit.h"
#include "node/once.h"
#include "node/resume.h"
#include "node/session_private.h"
#include "query/statement.h"

#define INBOX_TEXT (1u << 31)  // of a message's length in the inbox: it came in a text frame
static_assert(WIRE_MESSAGE_MAX < INBOX_TEXT, "a length and a bit share a word");
#define INBOX_UNTIDY_BYTES 4096  // that were worked on may stay in front

static const char busy_text[] = "the server is busy: too many queries wait for a worker";

// ── what a client asks, answered on the spot ───────────────────────────────────────────────────

static QueryCaller caller_of(const Session *s) {
    return (QueryCaller){.identity = s->identity, .is_owner = s->is_owner};
}

static WireAsk ask_of(const ClientMessage *m) {
    return (WireAsk){.request = m->request_id,
                     .query_set = m->query_set,
                     .set_kind = m->set_kind,
                     .message_id = m->message_id};
}

static const WireTableRows *tables_of(Session *s, const LiveRows *rows, uint32_t count, bool *ok) {
    Arena *arena = &s->database->turn_arena;
    WireTableRows *out = arena_array(arena, WireTableRows, count + 1);
    *ok = out != NULL;
    for (uint32_t i = 0; out && i < count; i++) {
        out[i] = (WireTableRows){.table_name = rows[i].table_name,
                                 .rows = rows[i].rows,
                                 .is_absent = rows[i].is_absent,
                                 .table_id = rows[i].table_id,
                                 .type = {rows[i].row_type, rows[i].hidden_columns}};
    }
    return out;
}

static void ask_again(Session *s, Err err, const LiveUpdate *own);
static void refuse_subscribe(Session *s, const ClientMessage *m, const char *text);

void session_ask_later(Session *s, const ClientMessage *m) {
    s->asked = *m;
    commit_views(s, ask_again);
}

// They are being computed beside the loop: the question is taken up again when one of them is there.
static void ask_when_there(Session *s) {
    session_ws_untake(s);
    session_await_views(s);
}

// It needs something first that takes long. It waits with its message, as if that had not been read yet.
static void prepare_first(Session *s, const ClientMessage *m, LivePrepare *prepare) {
    if (!read_place(s)) {
        live_prepare_release(&prepare);
        session_ws_untake(s);
        return;
    }
    ReadAsk ask = {.kind = READ_PREPARE, .prepare = prepare};
    Err err = read_begin(s, &ask);
    if (err == OK)
        session_ws_untake(s);
    else
        refuse_subscribe(s, m, err == ERR_LIMIT ? busy_text : err_text(err));
}

void session_subscription_dropped(void *ctx, void *owner, uint32_t query_set, const char *reason) {
    Session *s = owner;
    (void)ctx;
    s->codec->ended(outbox_begin(&s->out), query_set, str_from(reason));
    outbox_end(&s->out);
    session_dirty(s);
}

static void refuse_subscribe(Session *s, const ClientMessage *m, const char *text) {
    WireAsk ask = ask_of(m);
    s->codec->refused(outbox_begin(&s->out), &ask, session_took_us(s), str_from(text));
    outbox_end(&s->out);
}

// Begin to read elsewhere what the set yields. A subscription that cannot is none.
static void read_rows(Session *s,
                      const ClientMessage *m,
                      uint64_t set,
                      ReadKind kind,
                      LiveAnswer *answer) {
    LiveAnswer none;
    Diag diag = {0};
    bool subscribes = kind == READ_SUBSCRIBE;
    Err err = ERR_AGAIN;
    if (read_place(s)) {
        ReadAsk ask = {.kind = kind,
                       .asked = ask_of(m),
                       .set = set,
                       .queries = answer->queries,
                       .query_count = answer->query_count,
                       .bag = answer->bag};
        err = read_begin(s, &ask);
    } else {
        live_queries_free(&answer->queries, answer->query_count);
    }
    if (err == OK) {
        if (subscribes) session_set_began(s, m);
        return;
    }
    if (subscribes) (void)!live_unsubscribe_within(s->live, set, false, 0, &none, &diag);
    if (err == ERR_AGAIN) {
        session_ws_untake(s);
    } else {
        refuse_subscribe(s, m, err == ERR_LIMIT ? busy_text : err_text(err));
    }
}

static void answer_subscribe(Session *s, const ClientMessage *m) {
    Database *db = s->database;
    Str *queries = arena_array(&db->turn_arena, Str, m->query_count + 1);
    LiveAnswer answer = {0};
    uint32_t n = 0;
    Diag diag = {0};
    Bytes rest = m->queries;
    while (queries && n < m->query_count && wire_next_query(&rest, &queries[n])) {
        n++;
    }
    uint64_t set = session_set_id(s, m);
    Err err = queries ? session_set_check(s, m, &diag) : ERR_NOMEM;
    if (err == OK)
        err = live_subscribe_within(s->live, set, queries, n, read_cost_max(db), &answer, &diag);
    if (err == ERR_AGAIN) {
        session_ask_later(s, m);
        return;
    }
    if (err == ERR_BUSY) {
        if (answer.prepare)
            prepare_first(s, m, answer.prepare);
        else
            ask_when_there(s);
        return;
    }
    live_prepare_release(&s->prepared);
    if (err == OK && answer.queries) {
        read_rows(s, m, set, READ_SUBSCRIBE, &answer);
        return;
    }
    bool ok = err == OK;
    const WireTableRows *tables = ok ? tables_of(s, answer.rows, answer.count, &ok) : NULL;
    if (!ok) {
        refuse_subscribe(s, m, diag.text[0] ? diag.text : err_text(err));
        return;
    }
    WireAsk ask = ask_of(m);
    s->codec->subscribed(outbox_begin(&s->out), &ask, session_took_us(s), tables, answer.count);
    outbox_end(&s->out);
    s->progress_due = true;
    session_set_began(s, m);
}

static void answer_unsubscribe(Session *s, const ClientMessage *m) {
    LiveAnswer answer = {0};
    Diag diag = {0};
    uint64_t cost_max = read_cost_max(s->database);
    // The set ends with this message, so a place to read its rows from comes first.
    if (m->send_dropped_rows && cost_max != UINT64_MAX && !read_place(s)) {
        session_ws_untake(s);
        return;
    }
    Err err = live_unsubscribe_within(s->live,
                                      m->query_set,
                                      m->send_dropped_rows,
                                      cost_max,
                                      &answer,
                                      &diag);
    if (err == OK && answer.queries) {
        read_rows(s, m, m->query_set, READ_UNSUBSCRIBE, &answer);
        return;
    }
    read_place_unused(s);
    bool ok = err == OK;
    const WireTableRows *tables = ok ? tables_of(s, answer.rows, answer.count, &ok) : NULL;
    if (!ok) {
        refuse_subscribe(s, m, diag.text[0] ? diag.text : err_text(err));
        return;
    }
    WireAsk ask = ask_of(m);
    s->codec->unsubscribed(outbox_begin(&s->out),
                           &ask,
                           session_took_us(s),
                           m->send_dropped_rows,
                           tables,
                           answer.count);
    outbox_end(&s->out);
    s->progress_due = true;
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
    WireAsk ask = ask_of(m);
    s->codec->no_rows(outbox_begin(&s->out), &ask, session_took_us(s), str_from(text));
    outbox_end(&s->out);
}

static void one_off_elsewhere(Session *s, const ClientMessage *m, Statement **statement) {
    Err err = ERR_AGAIN;
    if (read_place(s)) {
        err = statement_detach(*statement);
        if (err != OK) read_place_unused(s);
    }
    if (err == OK) {
        ReadAsk ask = {.kind = READ_ONE_OFF, .asked = ask_of(m), .statement = *statement};
        *statement = NULL;
        err = read_begin(s, &ask);
    }
    if (err == ERR_AGAIN) {
        session_ws_untake(s);
    } else if (err != OK) {
        refuse_one_off(s, m, err == ERR_LIMIT ? busy_text : err_text(err));
    }
    if (err != ERR_AGAIN) s->database->counters.sql_queries++;
}

// ERR_AGAIN: it needs pages that are not in memory, and whoever reads elsewhere may wait for them.
static Err one_off_here(Session *s, const ClientMessage *m, Statement *statement, Diag *diag) {
    RowList rows;
    Buf encoded = {0};
    rowlist_init(&rows);
    read_limit(s->database, statement);
    bool may_move = read_cost_max(s->database) != UINT64_MAX;
    store_set_patient(db_store(s->database->db), !may_move);
    Err err = statement_run(statement, NULL, one_off_row, &rows, diag);
    store_set_patient(db_store(s->database->db), true);
    if (err == OK) {
        rowlist_encode(&encoded, &rows);
        if (!buf_ok(&encoded)) err = ERR_NOMEM;
    }
    if (err == OK) {
        WireAsk ask = ask_of(m);
        const CatalogTable *of = statement_table(statement);
        WireTableRows table = {.table_name = of->name,
                               .rows = buf_bytes(&encoded),
                               .table_id = of->table_id,
                               .type = {of->row_type, of->is_view ? 1 : 0}};
        s->codec->rows(outbox_begin(&s->out), &ask, session_took_us(s), &table);
        outbox_end(&s->out);
    }
    rowlist_deinit(&rows);
    buf_deinit(&encoded);
    return err;
}

static void answer_one_off(Session *s, const ClientMessage *m) {
    Database *db = s->database;
    Diag diag = {0};
    Statement *statement = NULL;
    QueryCaller caller = caller_of(s);
    uint64_t most = read_cost_max(db);
    OneOffViews views = {db->views, &diag};
    Err err =
        statement_compile(m->text, QUERY_ONE_OFF, &db->query_catalog, &caller, &statement, &diag);
    if (err == OK) err = statement_each_query(statement, one_off_view, &views);
    if (err == ERR_AGAIN) {
        statement_free(&statement);
        session_ask_later(s, m);
        return;
    }
    if (err == ERR_BUSY) {
        statement_free(&statement);
        ask_when_there(s);
        return;
    }
    bool elsewhere = most != UINT64_MAX && err == OK && statement_cost(statement, most) > most;
    if (err == OK && !elsewhere) {
        err = one_off_here(s, m, statement, &diag);
        elsewhere = err == ERR_AGAIN;
    }
    if (elsewhere) {
        one_off_elsewhere(s, m, &statement);
        statement_free(&statement);
        return;
    }
    if (err == ERR_TOO_LARGE) read_too_large(db, &diag);
    if (err != OK) refuse_one_off(s, m, diag.text[0] ? diag.text : err_text(err));
    db->counters.sql_queries++;
    statement_free(&statement);
}

// The views that a question waited for were run; which of them failed it will hear now.
static void ask_again(Session *s, Err err, const LiveUpdate *own) {
    const ClientMessage *m = &s->asked;
    (void)own;
    session_dirty(s);
    if (m->kind == CLIENT_RESUME) {
        if (err == OK)
            resume_step(s, m);
        else
            resume_refuse(s, m, err, err_text(err));
    } else if (m->kind == CLIENT_SUBSCRIBE) {
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

static void refuse_call(Session *s, Str name, const char *text) {
    s->database->counters.calls_refused++;
    const FunctionDef *f = moduledef_reducer(s->database->def, name);
    WireCall call = {.request = s->request_id,
                     .timestamp = s->call_timestamp,
                     .reducer = name,
                     .reducer_id = f ? f->id : WIRE_NO_REDUCER,
                     .caller = s->identity,
                     .connection = s->connection};
    s->codec->failed(outbox_begin(&s->out), &call, false, str_from(text));
    outbox_end(&s->out);
}

// Where the inbox is being read: a call that has to wait for its time stays in it.
typedef struct InboxPlace {
    size_t at, in;
    uint32_t count;
} InboxPlace;

static InboxPlace inbox_place(const Session *s) {
    return (InboxPlace){s->inbox_at, s->inbox_in, s->inbox_count};
}

static void inbox_back(Session *s, InboxPlace place) {
    s->inbox_at = place.at;
    s->inbox_in = place.in;
    s->inbox_count = place.count;
}

static bool step_call(Session *s, const ClientMessage *m, InboxPlace place, HostCall *call) {
    char text[DIAG_TEXT_MAX + 512];
    s->request_id = m->request_id;
    s->v1.is_quiet = m->is_quiet;
    s->v1.args_text = m->args_as_json ? bytes_str(m->args) : STR_NONE;
    s->once.is_asked = m->kind == CLIENT_CALL_ONCE;
    if (s->once.is_asked) {
        memcpy(s->once.session, m->session, sizeof s->once.session);
        s->once.number = m->number;
        s->once.settled = m->settled;
    }
    const FunctionDef *f = session_admit(s, m->text, m->args, m->args_as_json, text, sizeof text);
    if (!f) {
        refuse_call(s, m->text, text);
        return false;
    }
    switch (session_admit_rate(s, f, text, sizeof text)) {
    case FAIR_PASS: break;
    case FAIR_WAIT: inbox_back(s, place); return false;
    case FAIR_REFUSE: refuse_call(s, m->text, text); return false;
    }
    Bytes args = m->args_as_json ? buf_bytes(&s->call_args) : m->args;
    return once_call_begin(s, f, args, call);
}

static void step_procedure(Session *s, const ClientMessage *m, InboxPlace place) {
    char text[256];
    switch (session_admit_rate(s, NULL, text, sizeof text)) {
    case FAIR_PASS: procedure_call_ws(s, m); return;
    case FAIR_WAIT: inbox_back(s, place); return;
    case FAIR_REFUSE: break;
    }
    s->database->counters.calls_refused++;
    s->codec->not_returned(outbox_begin(&s->out), m->request_id, str_from(text));
    outbox_end(&s->out);
}

// ── the inbox ──────────────────────────────────────────────────────────────────────────────────

bool session_ws_message(void *self, Bytes payload, bool text) {
    Session *s = self;
    Database *db = s->database;
    db->counters.messages_in++;
    if (s->closing) return true;
    if (text && !wire_is_v1(s->protocol)) {
        session_close(s, 1011, "text messages are not part of this protocol");
        return true;
    }
    if (s->inbox_at > (64u << 10) && s->inbox_at > s->inbox.len / 2) {
        memmove(s->inbox.ptr, s->inbox.ptr + s->inbox_at, s->inbox.len - s->inbox_at);
        s->inbox.len -= s->inbox_at;
        s->inbox_at = 0;
    }
    buf_put_u32(&s->inbox, (uint32_t)payload.len | (text ? INBOX_TEXT : 0));
    buf_put_bytes(&s->inbox, payload);
    if (!buf_ok(&s->inbox)) {
        session_close(s, 1011, "the server is out of memory");
        return true;
    }
    s->inbox_count++;
    session_ready(s);
    s->paused = (int64_t)(s->inbox.len - s->inbox_at) > db->settings.inbox_bytes_max ||
                s->inbox_count > db->settings.inbox_messages_max;
    db->counters.inboxes_full += s->paused;
    return !s->paused;
}

// The message at the front of the inbox. False when the inbox is empty or the message was bad.
static bool inbox_next(Session *s, ClientMessage *m) {
    if (s->inbox_count == 0) return false;
    s->inbox_mark.at = s->inbox_at;
    s->inbox_mark.in = s->inbox_in;
    s->inbox_mark.count = s->inbox_count;
    uint32_t word = load_u32(s->inbox.ptr + s->inbox_at), len = word & ~INBOX_TEXT;
    Bytes rest = {s->inbox.ptr + s->inbox_at + 4 + s->inbox_in, len - s->inbox_in};
    Diag diag;
    diag_clear(&diag);  // not zeroed: that would cost more than all of the decoding
    Err err = OK;
    if (len == 0 && s->protocol == WIRE_V3) {
        err = diag_fail(&diag,
                        ERR_MALFORMED,
                        "v3 websocket binary payload must contain at least one v2 client message");
    } else if (wire_is_v1(s->protocol)) {
        err = wire_decode_v1(rest, word & INBOX_TEXT, &s->v1.json, m, &diag);
    } else {
        err = s->speaks_ours ? wire_decode_ours(&rest, m, &diag) : wire_decode(&rest, m, &diag);
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

void session_ws_untake(Session *s) {
    s->inbox_at = s->inbox_mark.at;
    s->inbox_in = s->inbox_mark.in;
    s->inbox_count = s->inbox_mark.count;
}

void session_ws_tidy(Session *s) {
    if (s->inbox_count == 0) {
        if (s->inbox.cap > (256u << 10)) {
            buf_deinit(&s->inbox);
        } else {
            buf_clear(&s->inbox);
        }
        s->inbox_at = 0;
        if (s->v1.json.cap > (256u << 10)) buf_deinit(&s->v1.json);
    }
    const Settings *set = &s->database->settings;
    if (s->paused && s->conn && (int64_t)(s->inbox.len - s->inbox_at) < set->inbox_bytes_max / 2 &&
        s->inbox_count < set->inbox_messages_max / 2) {
        s->paused = false;
        net_resume(s->conn);
    }
}

// Nothing is left to do for it until something arrives. One that stayed in line for that would not be new
// there when it does, and who asks for little is served first because he is.
bool session_ws_is_tidy(const Session *s) {
    return s->inbox_count == 0 && s->inbox_at <= INBOX_UNTIDY_BYTES && !s->paused && !s->closing;
}

// Take up one message. True: a call was begun.
bool session_ws_step(Session *s, HostCall *call) {
    ClientMessage m;
    InboxPlace place = inbox_place(s);
    const Io *io = s->database->loop->node->io;
    if (wire_is_v1(s->protocol)) s->took_ns = io->clock_monotonic_ns(io->world);
    if (!inbox_next(s, &m)) return false;
    session_dirty(s);
    if (m.kind != CLIENT_RESUME) s->has_asked = true;
    // Calls count even when the caller left; questions do not.
    if (!s->conn && m.kind != CLIENT_CALL_REDUCER && m.kind != CLIENT_CALL_ONCE) return false;
    switch (m.kind) {
    case CLIENT_SUBSCRIBE: answer_subscribe(s, &m); return false;
    case CLIENT_UNSUBSCRIBE: answer_unsubscribe(s, &m); return false;
    case CLIENT_ONE_OFF_QUERY: answer_one_off(s, &m); return false;
    case CLIENT_CALL_REDUCER:
    case CLIENT_CALL_ONCE: return step_call(s, &m, place, call);
    case CLIENT_RESUME: resume_step(s, &m); return false;
    case CLIENT_CALL_PROCEDURE: step_procedure(s, &m, place); return false;
    }
    UNREACHABLE();
}
