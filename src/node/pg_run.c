// pg_run.c: statements of PostgreSQL clients: described, run, and their rows given.
//
// PICTURE
//   NEW ── pg_say answers ─────────────────────────────> ROWS ── all given ─> DONE
//    │ compiled with its parameters                       ^  └ rows_max given: suspended, goes on later
//    ├── reads, few rows: run here ───────────────────────┤
//    ├── reads, many: a stream (pg_stream.c) ─────────────┘
//    └── writes: WRITING (sqlwrite.h) ── committed ─> DONE
//
//   What has to wait (for a view's result, for its rate) leaves the portal NEW: it begins again.
#include <inttypes.h>
#include <stdio.h>

#include "node/commit.h"
#include "node/pg_private.h"
#include "node/sqlwrite.h"

#define PARAMS_MAX 65535u

// ── what a text is about ───────────────────────────────────────────────────────────────────────

// The highest $n in the text, whatever it stands in.
static uint32_t params_bound(Str text) {
    uint32_t most = 0;
    for (size_t i = 0; i + 1 < text.len; i++) {
        uint32_t n = 0;
        if (text.ptr[i] != '$') continue;
        for (size_t at = i + 1; at < text.len && text.ptr[at] >= '0' && text.ptr[at] <= '9'; at++)
            n = MIN(n * 10 + (uint32_t)(text.ptr[at] - '0'), PARAMS_MAX);
        most = MAX(most, n);
    }
    return most;
}

static bool is_blank(Str text) {
    Str first;
    return !statement_split(&text, &first);
}

static Err columns_from(Arena *arena,
                        const Statement *statement,
                        const uint16_t *formats,
                        uint32_t format_count,
                        PgColumn **out,
                        uint32_t *count) {
    const StatementColumn *columns = statement_columns(statement, count);
    *out = arena_array(arena, PgColumn, *count + 1);
    if (!*out) return ERR_NOMEM;
    for (uint32_t i = 0; i < *count; i++) {
        (*out)[i] = (PgColumn){.name = arena_str(arena, columns[i].name),
                               .oid = pg_type_oid(columns[i].type),
                               .format = pg_format_at(formats, format_count, i)};
        if (!(*out)[i].name.ptr) return ERR_NOMEM;
    }
    return OK;
}

static Err param_types(const uint32_t *declared,
                       uint32_t declared_count,
                       const StatementParams *params,
                       PgPrepared *prepared) {
    uint32_t count = MAX(params->count, declared_count);
    prepared->param_oids = arena_array(&prepared->arena, uint32_t, count + 1);
    if (!prepared->param_oids) return ERR_NOMEM;
    prepared->param_count = count;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t oid = i < declared_count ? declared[i] : 0;
        bool known = oid && oid != PG_UNKNOWN;
        if (!known && i < params->count && params->items[i].type)
            oid = pg_type_oid(params->items[i].type);
        prepared->param_oids[i] = oid ? oid : PG_TEXT;
    }
    return OK;
}

static Err describe_said(const PgAnswer *answer, PgPrepared *prepared) {
    prepared->has_rows = answer->has_rows;
    prepared->columns = answer->columns;
    prepared->column_count = answer->column_count;
    prepared->param_oids = arena_array(&prepared->arena, uint32_t, 1);
    return prepared->param_oids && buf_ok(&answer->cells) ? OK : ERR_NOMEM;
}

Err pg_describe(Session *s,
                const uint32_t *declared,
                uint32_t declared_count,
                PgPrepared *prepared,
                Diag *diag) {
    Database *db = s->database;
    Err err = OK;
    PgAnswer answer = {.arena = &prepared->arena};
    bool said = is_blank(prepared->text) || pg_say(s, prepared->text, &answer, &err, diag);
    if (said && err == OK) err = describe_said(&answer, prepared);
    buf_deinit(&answer.cells);
    if (said) return err;

    Arena scratch = {0};
    Statement *statement = NULL;
    QueryCaller caller = pg_caller(s);
    StatementParams params = {.max = params_bound(prepared->text), .from_driver = true};
    params.items = arena_array(&scratch, StatementParam, params.max + 1);
    err = params.items ? statement_compile_with(prepared->text,
                                                QUERY_SQL,
                                                &db->query_catalog,
                                                &caller,
                                                &params,
                                                &statement,
                                                diag)
                       : ERR_NOMEM;
    if (err == OK) err = param_types(declared, declared_count, &params, prepared);
    if (err == OK && !statement_writes(statement)) {
        prepared->has_rows = true;
        err = columns_from(&prepared->arena,
                           statement,
                           NULL,
                           0,
                           &prepared->columns,
                           &prepared->column_count);
    }
    statement_free(&statement);
    arena_deinit(&scratch);
    return err;
}

// ── answers made of texts ──────────────────────────────────────────────────────────────────────

static void put_said_cell(Buf *rows, const PgColumn *column, Str cell) {
    bool number = column->oid == PG_INT4 || column->oid == PG_OID;
    if (!cell.ptr) {
        static const uint8_t null[] = {255, 255, 255, 255};
        buf_put(rows, null, sizeof null);
    } else if (column->format && column->oid == PG_BOOL) {
        char truth = cell.ptr[0] == 't';
        pg_put_text_value(rows, (Str){&truth, 1});
    } else if (column->format && number) {
        int32_t value;
        char bytes[4];
        sscanf(cell.ptr, "%" SCNd32, &value);
        for (int i = 0; i < 4; i++)
            bytes[i] = (char)(value >> (24 - 8 * i));
        pg_put_text_value(rows, (Str){bytes, 4});
    } else {
        pg_put_text_value(rows, cell);
    }
}

static void take_said(Session *s, PgPortal *portal, const PgAnswer *answer) {
    PgSession *p = s->pg;
    const Str *cells = (const Str *)(const void *)answer->cells.ptr;
    if (answer->warning) pg_put_warning(&p->out, answer->warning_state, str_from(answer->warning));
    if (answer->report_name.len)
        pg_put_parameter(&p->out, answer->report_name, answer->report_value);
    if (answer->discards) pg_prepared_drop(p, answer->discarded);
    portal->has_rows = answer->has_rows;
    portal->columns = answer->columns;
    portal->column_count = answer->column_count;
    for (uint32_t i = 0; i < answer->column_count; i++)
        portal->columns[i].format = pg_format_at(portal->formats, portal->format_count, i);
    for (uint32_t row = 0; row < answer->row_count; row++) {
        size_t begin = pg_row_begin(&portal->rows, answer->column_count);
        for (uint32_t i = 0; i < answer->column_count; i++)
            put_said_cell(&portal->rows, &portal->columns[i], *cells++);
        pg_row_end(&portal->rows, begin);
    }
    snprintf(portal->tag, sizeof portal->tag, "%s", answer->tag);
    portal->counts = answer->counts;
    portal->complete = true;
    portal->state = PORTAL_ROWS;
}

// ── reading ────────────────────────────────────────────────────────────────────────────────────

typedef struct Rows {
    const StatementColumn *columns;
    uint32_t count;
    PgPortal *portal;
} Rows;

static bool take_row(void *ctx, Bytes row) {
    Rows *rows = ctx;
    Buf *out = &rows->portal->rows;
    const uint8_t *at = row.ptr;
    size_t begin = pg_row_begin(out, rows->count);
    for (uint32_t i = 0; i < rows->count; i++) {
        pg_put_value(out, rows->columns[i].type, at, rows->portal->columns[i].format);
        at += bsatn_len(rows->columns[i].type, at);
    }
    pg_row_end(out, begin);
    return buf_ok(out);
}

// On the loop, if that takes no time. ERR_AGAIN: it does.
static Err read_here(Session *s, PgPortal *portal, Statement *statement, Diag *diag) {
    Rows rows = {.portal = portal};
    uint64_t most = read_cost_max(s->database);
    Store *store = db_store(s->database->db);
    if (most != UINT64_MAX && statement_cost(statement, most) > most) return ERR_AGAIN;
    rows.columns = statement_columns(statement, &rows.count);
    read_limit(s->database, statement);
    store_set_patient(store, most == UINT64_MAX);
    Err err = statement_run(statement, NULL, take_row, &rows, diag);
    store_set_patient(store, true);
    if (err == ERR_AGAIN) {
        buf_clear(&portal->rows);
        diag_clear(diag);
        return err;
    }
    if (!buf_ok(&portal->rows)) err = ERR_NOMEM;
    if (err == ERR_TOO_LARGE) read_too_large(s->database, diag);
    portal->complete = true;
    return err;
}

// A portal was promised certain columns; a new version of the module may give others.
static Err check_columns(Session *s, PgPortal *portal, const Statement *statement, Diag *diag) {
    PgColumn *columns;
    uint32_t count;
    Err err = columns_from(&portal->arena,
                           statement,
                           portal->formats,
                           portal->format_count,
                           &columns,
                           &count);
    if (err != OK) return err;
    bool same = count == portal->column_count;
    for (uint32_t i = 0; same && portal->described && i < count; i++)
        same = columns[i].oid == portal->columns[i].oid;
    (void)s;
    if (portal->described && !same)
        return diag_fail(diag, ERR_UNSUPPORTED, "cached plan must not change result type");
    portal->columns = columns;
    portal->column_count = count;
    portal->has_rows = true;
    return OK;
}

static Err read_begin_portal(Session *s, PgPortal *portal, Statement **statement, Diag *diag) {
    Err err = check_columns(s, portal, *statement, diag);
    if (err != OK) return err;
    const char *verb = statement_verb(*statement);
    snprintf(portal->tag, sizeof portal->tag, "%s", verb);
    portal->counts = strcmp(verb, "SELECT") == 0;
    portal->state = PORTAL_ROWS;
    if (!s->conn) {
        portal->complete = true;  // nobody would hear it
        return OK;
    }
    err = read_here(s, portal, *statement, diag);
    return err == ERR_AGAIN ? pg_stream_begin(s, portal, statement) : err;
}

// ── writing ────────────────────────────────────────────────────────────────────────────────────

static void written(Session *s, Err err, const StatementStats *stats, const Diag *diag) {
    PgPortal *portal = s->pg->running;
    if (!portal) return;  // the client left
    if (err == ERR_AGAIN) {
        portal->state = PORTAL_NEW;
        session_ready(s);
        return;
    }
    if (err != OK) {
        pg_fail_err(s, NULL, err, diag);
        return;
    }
    uint64_t rows = stats->inserted + stats->updated + stats->deleted;
    if (strcmp(portal->tag, "SET") != 0) {
        size_t len = strlen(portal->tag);
        snprintf(portal->tag + len,
                 sizeof portal->tag - len,
                 "%s %" PRIu64,
                 strcmp(portal->tag, "INSERT") == 0 ? " 0" : "",
                 rows);
    }
    portal->complete = true;
    portal->counts = false;
    portal->state = PORTAL_ROWS;  // of which it has none
    session_dirty(s);
    session_ready(s);
}

static void write_begin(Session *s, PgPortal *portal, Statement **statement) {
    char text[256];
    switch (sqlwrite_admit(s, text, sizeof text)) {
    case FAIR_WAIT: return;
    case FAIR_REFUSE: pg_fail(s, "53400", str_from(text), 0); return;
    case FAIR_PASS: break;
    }
    portal->state = PORTAL_WRITING;
    snprintf(portal->tag, sizeof portal->tag, "%s", statement_verb(*statement));
    sqlwrite_begin(s, statement, written);
}

// ── beginning ──────────────────────────────────────────────────────────────────────────────────

typedef struct ViewCheck {
    Views *views;
    Diag *diag;
} ViewCheck;

static Err view_check(void *ctx, const Query *query) {
    const ViewCheck *check = ctx;
    return views_check(check->views, query, check->diag);
}

static void views_ran(Session *s, Err err, const LiveUpdate *own) {
    Diag diag;
    diag_clear(&diag);
    (void)own;
    if (!s->pg->running) return;
    if (err != OK) pg_fail_err(s, NULL, err, &diag);
    session_ready(s);
}

static bool begin_said(Session *s, PgPortal *portal) {
    PgSession *p = s->pg;
    PgAnswer answer = {.arena = &portal->arena};
    Diag diag;
    Err err = OK;
    diag_clear(&diag);
    if (is_blank(portal->text)) {
        pg_put_plain(&p->out, PG_EMPTY_QUERY);
        portal->state = PORTAL_DONE;
        pg_run_over(s);
        return true;
    }
    bool said = pg_say(s, portal->text, &answer, &err, &diag);
    if (said && err == OK && !buf_ok(&answer.cells)) err = ERR_NOMEM;
    if (said && err == OK) take_said(s, portal, &answer);
    if (said && err != OK) {
        if (answer.warning_state)
            pg_fail(s, answer.warning_state, str_from(diag.text), 0);
        else
            pg_fail_err(s, portal, err, &diag);
    }
    buf_deinit(&answer.cells);
    return said;
}

static void begin(Session *s, PgPortal *portal) {
    Database *db = s->database;
    Diag diag;
    Statement *statement = NULL;
    QueryCaller caller = pg_caller(s);
    ViewCheck views = {db->views, &diag};
    StatementParams params = {.items = portal->params,
                              .max = portal->param_count,
                              .from_driver = true};
    if (begin_said(s, portal)) return;
    diag_clear(&diag);
    for (uint32_t i = 0; i < params.max; i++)
        params.items[i].type = NULL;
    Err err = statement_compile_with(portal->text,
                                     QUERY_SQL,
                                     &db->query_catalog,
                                     &caller,
                                     &params,
                                     &statement,
                                     &diag);
    if (err == OK) err = statement_each_query(statement, view_check, &views);
    if (err == ERR_AGAIN) {
        commit_views(s, views_ran);
    } else if (err == ERR_BUSY) {
        session_await_views(s);
    } else if (err != OK) {
        pg_fail_err(s, portal, err, &diag);
    } else if (statement_writes(statement)) {
        write_begin(s, portal, &statement);
    } else {
        err = read_begin_portal(s, portal, &statement, &diag);
        if (err != OK) pg_fail_err(s, portal, err, &diag);
    }
    if (portal == s->pg->running && portal->state != PORTAL_NEW) db->counters.sql_queries++;
    statement_free(&statement);
}

// ── giving rows ────────────────────────────────────────────────────────────────────────────────

static size_t row_len(const Buf *rows, size_t at) {
    bool malformed;
    Bytes rest = {rows->ptr + at, rows->len - at};
    return pg_message_len(rest, true, INT32_MAX, &malformed);
}

// As many as are there, the client wants and has room for.
static void give(PgSession *p, PgPortal *portal, size_t room) {
    size_t from = portal->rows_at, at = from;
    while (at < portal->rows.len && at - from < room) {
        if (p->rows_max && p->rows_given == p->rows_max) break;
        at += row_len(&portal->rows, at);
        p->rows_given++;
    }
    buf_put(&p->out, portal->rows.ptr + from, at - from);
    portal->rows_at = at;
    if (at < portal->rows.len) return;
    buf_clear(&portal->rows);
    portal->rows_at = 0;
}

static void complete(Session *s, PgPortal *portal) {
    char tag[96];
    if (portal->counts)
        snprintf(tag, sizeof tag, "%s %" PRIu64, portal->tag, s->pg->rows_given);
    else
        snprintf(tag, sizeof tag, "%s", portal->tag);
    pg_put_complete(&s->pg->out, str_from(tag));
    pg_stream_cancel(&portal->stream);
    portal->state = PORTAL_DONE;
    pg_run_over(s);
}

static size_t room_for(const Session *s) {
    size_t queued = s->pg->out.len + (s->conn ? net_conn_queued_bytes(s->conn) : 0);
    return queued < PG_ROOM_BYTES ? PG_ROOM_BYTES - queued : 0;
}

// False: it waits, for the client or for the worker.
static bool give_rows(Session *s, PgPortal *portal) {
    PgSession *p = s->pg;
    Diag diag;
    diag_clear(&diag);
    if (!portal->described && portal->has_rows)
        pg_put_columns(&p->out, portal->columns, portal->column_count);
    portal->described = true;
    for (;;) {
        size_t room = room_for(s);
        if (room == 0) {
            p->wants_room = true;
            return false;
        }
        give(p, portal, room);
        bool more = portal->rows_at < portal->rows.len;
        if (p->rows_max && p->rows_given == p->rows_max) {
            pg_put_plain(&p->out, PG_SUSPENDED);
            pg_run_over(s);
            return true;
        }
        if (more) continue;
        if (portal->complete || !portal->stream) {
            complete(s, portal);
            return true;
        }
        Err err;
        if (!pg_stream_take(portal->stream, &portal->rows, &portal->complete, &err, &diag))
            return false;
        if (err == ERR_TOO_LARGE) read_too_large(s->database, &diag);
        if (err != OK) {
            pg_fail_err(s, NULL, err, &diag);
            return true;
        }
    }
}

bool pg_execute(Session *s) {
    PgPortal *portal = s->pg->running;
    if (portal->state == PORTAL_NEW) {
        begin(s, portal);
        return portal != s->pg->running || portal->state == PORTAL_ROWS;
    }
    if (portal->state == PORTAL_WRITING) return false;
    if (portal->state == PORTAL_DONE) {  // it was run to its end before
        complete(s, portal);
        return true;
    }
    return give_rows(s, portal);
}
