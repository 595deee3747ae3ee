// session_http.c: one call or one query that came over HTTP, between a connect and a disconnect.
#include <stdio.h>

#include "node/commit.h"
#include "node/session_private.h"
#include "node/sqlwrite.h"
#include "query/statement.h"
#include "sats/json.h"

static QueryCaller caller_of(const Session *s) {
    return (QueryCaller){.identity = s->identity, .is_owner = s->is_owner};
}

void session_http_answer(Session *s, int status, const char *text) {
    s->http.done = true;
    s->http.status = status;
    s->http.content_type = STR("text/plain; charset=utf-8");
    buf_clear(&s->http.body);
    buf_put_str(&s->http.body, str_from(text));
    s->closing = true;
    session_dirty(s);
}

// Before the client is even let in, so that a flood of requests costs little more than their answers.
bool session_http_admit(Session *s) {
    char text[256];
    if (s->http.work != HTTP_CALL) return true;
    const FunctionDef *f = moduledef_reducer(s->database->def, s->http.name);
    switch (session_admit_rate(s, f, text, sizeof text)) {
    case FAIR_PASS: return true;
    case FAIR_WAIT: return false;
    case FAIR_REFUSE: break;
    }
    s->database->counters.calls_refused++;
    session_http_answer(s, 429, text);
    s->state = SESSION_ENDED;
    return false;
}

static void step_http_procedure(Session *s, const FunctionDef *f) {
    Diag diag = {0};
    buf_clear(&s->call_args);
    if (json_read_args(f->params, f->name, s->http.text, &s->call_args, &diag) == OK) {
        procedure_call_http(s, f, buf_bytes(&s->call_args));
        return;
    }
    char text[DIAG_TEXT_MAX + 256];
    snprintf(text,
             sizeof text,
             "invalid arguments for procedure " STR_FMT ": %s",
             STR_ARG(f->name),
             diag.text);
    session_http_answer(s, 400, text);
}

static bool step_http_call(Session *s, HostCall *call) {
    Database *db = s->database;
    char text[DIAG_TEXT_MAX + 512];
    const FunctionDef *f = moduledef_reducer(db->def, s->http.name);
    if (f && db->read_only != OK) {
        session_http_answer(s, db->read_only == ERR_DISK_FULL ? 507 : 503, db->read_only_why);
        return false;
    }
    if (f && f->lifecycle != LIFECYCLE_NONE) {
        snprintf(text,
                 sizeof text,
                 "can't directly call special %s lifecycle reducer",
                 session_lifecycle_word(f->lifecycle));
        session_http_answer(s, 400, text);
        return false;
    }
    if (!f || (f->is_private && !s->is_owner)) {
        const FunctionDef *procedure = moduledef_procedure(db->def, s->http.name);
        if (procedure_visible(s, procedure)) {
            step_http_procedure(s, procedure);
            return false;
        }
        session_admit(s, s->http.name, BYTES_NONE, false, text, sizeof text);
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

static void step_http_sql(Session *s);

static void sql_again(Session *s, Err err, const LiveUpdate *own) {
    (void)own;
    if (err == OK) {
        step_http_sql(s);
    } else {
        session_http_answer(s, err_http_status(err), err_text(err));
    }
}

// `ran`: its answer was at fault, not its text.
static void sql_refuse(Session *s, Err err, bool ran, const Diag *diag) {
    int status = err == ERR_NOMEM || err == ERR_LIMIT ? 503 : 400;
    if (ran && err == ERR_TOO_LARGE) status = 413;
    session_http_answer(s, status, diag->text[0] ? diag->text : err_text(err));
}

// True: it was begun, or will be when there is a place. False: *err says why not.
static bool sql_elsewhere(Session *s, Statement **statement, Err *err) {
    if (!read_place(s)) return true;
    if ((*err = statement_detach(*statement)) != OK) {
        read_place_unused(s);
        return false;
    }
    ReadAsk ask = {.kind = READ_SQL, .statement = *statement};
    *statement = NULL;
    *err = read_begin(s, &ask);
    return *err == OK;
}

static int64_t sql_micros(const Session *s) {
    const Io *io = s->database->loop->node->io;
    return (io->clock_monotonic_ns(io->world) - s->http.began_ns) / 1000;
}

// What is in the body is the answer.
static void sql_answered(Session *s) {
    s->http.done = true;
    s->http.status = 200;
    s->http.content_type = STR("application/json");
    s->http.has_duration = true;
    s->http.duration_us = sql_micros(s);
    s->closing = true;
    session_dirty(s);
}

static Err sql_read(Session *s, Statement *statement, Diag *diag) {
    Buf *body = &s->http.body;
    read_limit(s->database, statement);
    buf_clear(body);
    buf_put_u8(body, '[');
    Err err = statement_write_json(statement, NULL, NULL, sql_micros(s), body, diag);
    buf_put_u8(body, ']');
    if (err == OK && !buf_ok(body)) err = ERR_NOMEM;
    if (err == ERR_TOO_LARGE) read_too_large(s->database, diag);
    if (err == OK) sql_answered(s);
    return err;
}

static void sql_written(Session *s, Err err, const StatementStats *stats, const Diag *diag) {
    if (err == ERR_AGAIN) return;  // it is taken up again
    if (err == OK) {
        buf_clear(&s->http.body);
        buf_put_u8(&s->http.body, '[');
        statement_write_stats(stats, sql_micros(s), &s->http.body);
        buf_put_u8(&s->http.body, ']');
        sql_answered(s);
    } else if (err == ERR_DISK_FULL || !diag->text[0]) {
        session_http_answer(s, err_http_status(err), diag->text[0] ? diag->text : err_text(err));
    } else if (s->database->read_only != OK) {
        session_http_answer(s, 503, diag->text);
    } else {
        sql_refuse(s, err, true, diag);
    }
}

static void sql_write(Session *s, Statement **statement) {
    char text[256];
    switch (sqlwrite_admit(s, text, sizeof text)) {
    case FAIR_PASS: sqlwrite_begin(s, statement, sql_written); return;
    case FAIR_WAIT: return;
    case FAIR_REFUSE: session_http_answer(s, 429, text); return;
    }
    UNREACHABLE();
}

typedef struct SqlViews {
    Views *views;
    Diag *diag;
} SqlViews;

static Err view_check(void *ctx, const Query *query) {
    const SqlViews *check = ctx;
    return views_check(check->views, query, check->diag);
}

// Read it on the loop, if that takes no time: ERR_AGAIN, it does.
static Err sql_here(Session *s, Statement *statement, Diag *diag) {
    uint64_t most = read_cost_max(s->database);
    Store *store = db_store(s->database->db);
    if (most != UINT64_MAX && statement_cost(statement, most) > most) return ERR_AGAIN;
    store_set_patient(store, most == UINT64_MAX);
    Err err = sql_read(s, statement, diag);
    store_set_patient(store, true);
    return err;
}

static void sql_run(Session *s, Statement **statement) {
    Database *db = s->database;
    Diag diag;
    diag_clear(&diag);
    if (statement_writes(*statement)) {
        sql_write(s, statement);
        if (!s->fair.parked) db->counters.sql_queries++;
        return;
    }
    Err err = sql_here(s, *statement, &diag);
    if (err == ERR_AGAIN) {
        diag_clear(&diag);
        err = OK;
        (void)sql_elsewhere(s, statement, &err);
    }
    if (s->parked == PARK_NONE) db->counters.sql_queries++;
    if (err != OK) sql_refuse(s, err, true, &diag);
}

static void step_http_sql(Session *s) {
    Database *db = s->database;
    const Io *io = db->loop->node->io;
    Diag diag;
    Statement *statement = NULL;
    QueryCaller caller = caller_of(s);
    SqlViews views = {db->views, &diag};
    diag_clear(&diag);
    if (!s->http.began_ns) s->http.began_ns = io->clock_monotonic_ns(io->world);
    Err err =
        statement_compile(s->http.text, QUERY_SQL, &db->query_catalog, &caller, &statement, &diag);
    if (err == OK) err = statement_each_query(statement, view_check, &views);
    if (err == ERR_AGAIN) {
        commit_views(s, sql_again);
    } else if (err == ERR_BUSY) {
        session_await_views(s);
    } else if (err == OK) {
        sql_run(s, &statement);
    } else {
        db->counters.sql_queries++;
        sql_refuse(s, err, false, &diag);
    }
    statement_free(&statement);
}

bool session_http_step(Session *s, HostCall *call) {
    if (s->http.work == HTTP_CALL) return step_http_call(s, call);
    step_http_sql(s);
    return false;
}
