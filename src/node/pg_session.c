// pg_session.c: a session that speaks PostgreSQL's protocol: its life, and its messages one by one.
//
//   Query      its statements one after another, each its own transaction; the first that fails ends it
//   Parse      a PgPrepared: what the text asks for and answers is found out at once
//   Bind       a PgPortal: the parameters as text
//   Execute    runs it, or goes on giving its rows
//   Sync       the end of a batch: portals end, errors are over, the client hears that we are ready
#include "node/pg.h"

#include <stdio.h>

#include "base/mem.h"
#include "node/pg_private.h"
#include "node/sqlwrite.h"
#include "node/version.h"

#define INBOX_BYTES  ((size_t)1 << 20)  // waiting; then the socket is left alone
#define PREPARED_MAX 10000
#define PORTALS_MAX  1000

static bool message_arrived(void *self, Bytes message, bool text) {
    Session *s = self;
    PgSession *p = s->pg;
    (void)text;
    if (p->finish) return true;
    p->malformed |= message.len == 0;
    buf_put_bytes(&p->inbox, message);
    session_ready(s);
    p->paused = p->inbox.len - p->inbox_at > INBOX_BYTES;
    return !p->paused;
}

static void room(void *self) {
    Session *s = self;
    s->pg->wants_room = false;
    session_ready(s);
}

// ── life ───────────────────────────────────────────────────────────────────────────────────────

Err pg_session_init(Session *s, uint32_t minor, Str database) {
    const NodeLoop *loop = s->database->loop;
    const Io *io = loop->node->io;
    PgSession *p = MEM_NEW(PgSession);
    if (!p) return ERR_NOMEM;
    io->random_bytes(io->world, &p->secret, sizeof p->secret);
    io->random_bytes(io->world, &p->pid, sizeof p->pid);
    // Whoever asks to cancel names nothing else, so the id says which loop to look on.
    p->pid = (loop->number << 18 | (p->pid & 0x3ffff)) & 0x7fffffff;
    p->minor = minor;
    snprintf(p->database,
             sizeof p->database,
             "%.*s",
             (int)MIN(database.len, sizeof p->database - 1),
             database.ptr);
    s->pg = p;
    s->conn_message = message_arrived;
    s->conn_room = room;
    return OK;
}

void pg_portal_free(PgPortal **handle) {
    PgPortal *portal = *handle;
    if (!portal) return;
    *handle = NULL;
    pg_stream_cancel(&portal->stream);
    buf_deinit(&portal->rows);
    arena_deinit(&portal->arena);
    mem_free(portal);
}

static void portals_free(PgSession *p) {
    while (p->portals) {
        PgPortal *portal = p->portals;
        p->portals = portal->next;
        pg_portal_free(&portal);
    }
    p->portal_count = 0;
}

static void prepared_free(PgPrepared *prepared) {
    arena_deinit(&prepared->arena);
    mem_free(prepared);
}

void pg_session_deinit(Session *s) {
    PgSession *p = s->pg;
    if (!p) return;
    s->pg = NULL;
    portals_free(p);
    pg_portal_free(&p->single);
    while (p->prepared) {
        PgPrepared *prepared = p->prepared;
        p->prepared = prepared->next;
        prepared_free(prepared);
    }
    Buf *all[] = {&p->inbox, &p->query, &p->out, &p->sealed};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        buf_deinit(all[i]);
    arena_deinit(&p->arena);
    mem_free(p);
}

uint32_t pg_pid(const Session *s) {
    return s->pg->pid;
}

void pg_let_in(Session *s) {
    PgSession *p = s->pg;
    char hex[IDENTITY_HEX_LEN + 1];
    identity_hex(&s->identity, hex);
    const struct {
        Str name, value;
    } parameters[] = {
        {STR("server_version"), STR(PG_SERVER_VERSION)},
        {STR("server_encoding"), STR("UTF8")},
        {STR("client_encoding"), STR("UTF8")},
        {STR("DateStyle"), STR("ISO, MDY")},
        {STR("IntervalStyle"), STR("postgres")},
        {STR("TimeZone"), STR("UTC")},
        {STR("integer_datetimes"), STR("on")},
        {STR("standard_conforming_strings"), STR("on")},
        {STR("application_name"), STR("")},
        {STR("in_hot_standby"), STR("off")},
        {STR("is_superuser"), s->is_owner ? STR("on") : STR("off")},
        {STR("session_authorization"), str_from(hex)},
    };
    pg_put_version(&p->out, &(PgFirst){.minor = p->minor});
    pg_put_auth_ok(&p->out);
    for (size_t i = 0; i < ARRAY_LEN(parameters); i++)
        pg_put_parameter(&p->out, parameters[i].name, parameters[i].value);
    pg_put_key(&p->out, p->pid, p->secret);
    pg_put_ready(&p->out, PG_IDLE);
    if (s->conn) net_pg_welcome(s->conn);
    session_dirty(s);
}

void pg_fatal(Session *s, const char *state, const char *text) {
    PgSession *p = s->pg;
    if (p->finish) return;
    pg_put_error(&p->out,
                 &(PgError){.severity = "FATAL", .state = state, .message = str_from(text)});
    p->finish = s->closing = true;
    buf_clear(&p->inbox);
    p->inbox_at = 0;
    session_dirty(s);
}

void pg_refuse(Session *s, const char *text) {
    pg_fatal(s, "28000", text);
}

void pg_forget(Session *s) {
    buf_deinit(&s->pg->out);
    buf_deinit(&s->pg->sealed);
}

void pg_stop(Session *s) {
    PgSession *p = s->pg;
    if (p->running && p->running != p->single) p->running = NULL;
    portals_free(p);
    if (p->single) pg_stream_cancel(&p->single->stream);
}

// Nobody hears what is read any more. What is written is written all the same, as in PostgreSQL.
void pg_conn_closed(Session *s) {
    pg_forget(s);
    pg_stop(s);
}

// ── errors ─────────────────────────────────────────────────────────────────────────────────────

static void simple_over(PgSession *p) {
    p->simple = false;
    buf_deinit(&p->query);
    p->query_at = 0;
    pg_put_ready(&p->out, PG_IDLE);
}

void pg_fail(Session *s, const char *state, Str text, uint32_t position) {
    PgSession *p = s->pg;
    pg_put_error(
        &p->out,
        &(PgError){.severity = "ERROR", .state = state, .message = text, .position = position});
    if (p->running) p->running->state = PORTAL_DONE;
    p->running = NULL;
    pg_portal_free(&p->single);
    if (p->simple)
        simple_over(p);
    else
        p->skipping = true;
    session_dirty(s);
    session_ready(s);
}

static uint32_t characters(Str text, size_t bytes) {
    uint32_t count = 0;
    for (size_t i = 0; i < MIN(bytes, text.len); i++)
        count += ((uint8_t)text.ptr[i] & 0xc0) != 0x80;
    return count;
}

static bool is_word(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           (uint8_t)c >= 0x80;
}

// Where the text has the name that the message quotes first: names are not found at a place of their own.
static size_t name_place(Str text, Str message) {
    const char *from = memchr(message.ptr, '`', message.len);
    size_t left = from ? (size_t)(message.ptr + message.len - ++from) : 0;
    const char *end = left ? memchr(from, '`', left) : NULL;
    size_t len = end ? (size_t)(end - from) : 0;
    for (size_t i = 0; len && i + len <= text.len; i++) {
        bool begins = i == 0 || !is_word(text.ptr[i - 1]);
        bool ends = i + len == text.len || !is_word(text.ptr[i + len]);
        if (begins && ends && memcmp(text.ptr + i, from, len) == 0) return i;
    }
    return DIAG_NOWHERE;
}

void pg_fail_err(Session *s, const PgPortal *portal, Err err, const Diag *diag) {
    Str text = str_from(diag->text[0] ? diag->text : err_text(err));
    const char *state = pg_state(err, text);
    uint32_t position = 0;
    size_t at = diag->at;
    bool names = strcmp(state, "42P01") == 0 || strcmp(state, "42703") == 0;
    if (portal && at == DIAG_NOWHERE && names) at = name_place(portal->text, text);
    if (portal && at != DIAG_NOWHERE) position = portal->text_at + characters(portal->text, at) + 1;
    pg_fail(s, state, text, position);
}

static void fail_memory(Session *s) {
    pg_fail(s, pg_state(ERR_NOMEM, STR("")), str_from(err_text(ERR_NOMEM)), 0);
}

// ── what was prepared ──────────────────────────────────────────────────────────────────────────

static PgPrepared *prepared_find(PgSession *p, Str name) {
    for (PgPrepared *one = p->prepared; one; one = one->next) {
        if (str_eq(one->name, name)) return one;
    }
    return NULL;
}

static void prepared_drop(PgSession *p, Str name) {
    for (PgPrepared **link = &p->prepared; *link; link = &(*link)->next) {
        PgPrepared *one = *link;
        if (!str_eq(one->name, name)) continue;
        *link = one->next;
        p->prepared_count--;
        prepared_free(one);
        return;
    }
}

void pg_prepared_drop(PgSession *p, Str name) {
    if (name.len) {
        prepared_drop(p, name);
        return;
    }
    while (p->prepared)
        prepared_drop(p, p->prepared->name);
}

static PgPortal *portal_find(PgSession *p, Str name) {
    for (PgPortal *one = p->portals; one; one = one->next) {
        if (str_eq(one->name, name)) return one;
    }
    return NULL;
}

static void portal_drop(PgSession *p, Str name) {
    for (PgPortal **link = &p->portals; *link; link = &(*link)->next) {
        PgPortal *one = *link;
        if (!str_eq(one->name, name)) continue;
        *link = one->next;
        p->portal_count--;
        pg_portal_free(&one);
        return;
    }
}

static void fail_named(Session *s, const char *state, const char *fmt, Str name) {
    char text[256];
    snprintf(text, sizeof text, fmt, (int)MIN(name.len, (size_t)100), name.ptr);
    pg_fail(s, state, str_from(text), 0);
}

static void parse(Session *s, const PgMessage *m) {
    PgSession *p = s->pg;
    Diag diag;
    diag_clear(&diag);
    if (m->statement.len && prepared_find(p, m->statement)) {
        fail_named(s, "42P05", "prepared statement \"%.*s\" already exists", m->statement);
        return;
    }
    if (!m->statement.len) prepared_drop(p, m->statement);
    if (p->prepared_count >= PREPARED_MAX) {
        pg_fail(s, "53400", STR("too many prepared statements in this connection"), 0);
        return;
    }
    PgPrepared *one = MEM_NEW(PgPrepared);
    if (!one) {
        fail_memory(s);
        return;
    }
    one->name = arena_str(&one->arena, m->statement);
    one->text = arena_str(&one->arena, m->text);
    Err err = one->name.ptr && one->text.ptr ? OK : ERR_NOMEM;
    if (err == OK) err = pg_describe(s, m->types, m->type_count, one, &diag);
    if (err != OK) {
        PgPortal where = {.text = m->text};
        pg_fail_err(s, &where, err, &diag);
        prepared_free(one);
        return;
    }
    one->next = p->prepared;
    p->prepared = one;
    p->prepared_count++;
    pg_put_plain(&p->out, PG_PARSE_COMPLETE);
}

// ── portals ────────────────────────────────────────────────────────────────────────────────────

static Err param_take(const PgMessage *m,
                      const PgPrepared *prepared,
                      uint32_t at,
                      PgPortal *portal,
                      Diag *diag) {
    StatementParam *param = &portal->params[at];
    Bytes value = m->values[at].bytes;
    param->known = true;
    if (!value.ptr) return OK;
    if (pg_format_at(m->formats, m->format_count, at))
        return pg_param_text(prepared->param_oids[at], value, &portal->arena, &param->text, diag);
    if (!utf8_valid(value))
        return diag_fail(diag, ERR_MALFORMED, "parameter $%u is not valid UTF-8", at + 1);
    param->text = arena_str(&portal->arena, bytes_str(value));
    return param->text.ptr ? OK : ERR_NOMEM;
}

static Err columns_copy(const PgPrepared *prepared, PgPortal *portal) {
    portal->has_rows = prepared->has_rows;
    portal->column_count = prepared->column_count;
    portal->columns = arena_array(&portal->arena, PgColumn, prepared->column_count + 1);
    if (!portal->columns) return ERR_NOMEM;
    for (uint32_t i = 0; i < prepared->column_count; i++) {
        portal->columns[i] = prepared->columns[i];
        portal->columns[i].name = arena_str(&portal->arena, prepared->columns[i].name);
        portal->columns[i].format = pg_format_at(portal->formats, portal->format_count, i);
        if (!portal->columns[i].name.ptr) return ERR_NOMEM;
    }
    return OK;
}

static Err portal_fill(const PgMessage *m,
                       const PgPrepared *prepared,
                       PgPortal *portal,
                       Diag *diag) {
    Arena *arena = &portal->arena;
    portal->name = arena_str(arena, m->portal);
    portal->text = arena_str(arena, prepared->text);
    portal->param_count = m->value_count;
    portal->params = arena_array(arena, StatementParam, m->value_count + 1);
    portal->format_count = m->result_format_count;
    portal->formats = arena_array(arena, uint16_t, m->result_format_count + 1);
    if (!portal->name.ptr || !portal->text.ptr || !portal->params || !portal->formats)
        return ERR_NOMEM;
    if (m->result_format_count)
        memcpy(portal->formats,
               m->result_formats,
               m->result_format_count * sizeof *portal->formats);
    Err err = columns_copy(prepared, portal);
    for (uint32_t i = 0; err == OK && i < m->value_count; i++)
        err = param_take(m, prepared, i, portal, diag);
    portal->described = true;
    return err;
}

static void bind(Session *s, const PgMessage *m) {
    PgSession *p = s->pg;
    const PgPrepared *prepared = prepared_find(p, m->statement);
    char text[256];
    Diag diag;
    diag_clear(&diag);
    if (!prepared) {
        fail_named(s, "26000", "prepared statement \"%.*s\" does not exist", m->statement);
        return;
    }
    if (m->value_count != prepared->param_count) {
        snprintf(
            text,
            sizeof text,
            "bind message supplies %u parameters, but prepared statement \"%.100s\" requires %u",
            m->value_count,
            prepared->name.ptr,
            prepared->param_count);
        pg_fail(s, "08P01", str_from(text), 0);
        return;
    }
    if (m->result_format_count > 1 && m->result_format_count != prepared->column_count) {
        snprintf(text,
                 sizeof text,
                 "bind message has %u result formats but query has %u columns",
                 m->result_format_count,
                 prepared->column_count);
        pg_fail(s, "08P01", str_from(text), 0);
        return;
    }
    if (m->portal.len && portal_find(p, m->portal)) {
        fail_named(s, "42P03", "cursor \"%.*s\" already exists", m->portal);
        return;
    }
    if (!m->portal.len) portal_drop(p, m->portal);
    PgPortal *portal = p->portal_count < PORTALS_MAX ? MEM_NEW(PgPortal) : NULL;
    Err err = portal ? portal_fill(m, prepared, portal, &diag) : ERR_NOMEM;
    if (err != OK) {
        pg_portal_free(&portal);
        pg_fail_err(s, NULL, err, &diag);
        return;
    }
    portal->next = p->portals;
    p->portals = portal;
    p->portal_count++;
    pg_put_plain(&p->out, PG_BIND_COMPLETE);
}

static void put_columns(PgSession *p, bool has_rows, const PgColumn *columns, uint32_t count) {
    if (has_rows)
        pg_put_columns(&p->out, columns, count);
    else
        pg_put_plain(&p->out, PG_NO_DATA);
}

static void describe(Session *s, const PgMessage *m) {
    PgSession *p = s->pg;
    if (m->kind == 'S') {
        const PgPrepared *one = prepared_find(p, m->statement);
        if (!one) {
            fail_named(s, "26000", "prepared statement \"%.*s\" does not exist", m->statement);
            return;
        }
        pg_put_parameter_types(&p->out, one->param_oids, one->param_count);
        put_columns(p, one->has_rows, one->columns, one->column_count);
        return;
    }
    const PgPortal *portal = portal_find(p, m->portal);
    if (portal)
        put_columns(p, portal->has_rows, portal->columns, portal->column_count);
    else
        fail_named(s, "34000", "portal \"%.*s\" does not exist", m->portal);
}

static void execute(Session *s, const PgMessage *m) {
    PgSession *p = s->pg;
    PgPortal *portal = portal_find(p, m->portal);
    if (!portal) {
        fail_named(s, "34000", "portal \"%.*s\" does not exist", m->portal);
        return;
    }
    p->running = portal;
    p->rows_max = m->rows_max;
    p->rows_given = 0;
}

static void close_one(PgSession *p, const PgMessage *m) {
    if (m->kind == 'S')
        prepared_drop(p, m->statement);
    else
        portal_drop(p, m->portal);
    pg_put_plain(&p->out, PG_CLOSE_COMPLETE);
}

// ── simple queries ─────────────────────────────────────────────────────────────────────────────

static void query(Session *s, Str text) {
    PgSession *p = s->pg;
    portals_free(p);
    prepared_drop(p, STR(""));
    p->simple = true;
    p->query_at = 0;
    buf_clear(&p->query);
    buf_put_str(&p->query, text);
    Str rest = bytes_str(buf_bytes(&p->query)), first;
    if (!buf_ok(&p->query)) {
        fail_memory(s);
    } else if (!utf8_valid(str_bytes(text))) {
        pg_fail(s, "22021", STR("the query is not valid UTF-8"), 0);
    } else if (!statement_split(&rest, &first)) {
        pg_put_plain(&p->out, PG_EMPTY_QUERY);
        simple_over(p);
    }
}

// The next statement of the query in hand.
static void query_next(Session *s) {
    PgSession *p = s->pg;
    Str whole = bytes_str(buf_bytes(&p->query)), first;
    Str rest = {whole.ptr + p->query_at, whole.len - p->query_at};
    pg_portal_free(&p->single);
    if (!statement_split(&rest, &first)) {
        simple_over(p);
        return;
    }
    p->query_at = (size_t)(rest.ptr - whole.ptr);
    p->single = MEM_NEW(PgPortal);
    if (!p->single) {
        fail_memory(s);
        return;
    }
    p->single->text = first;  // the query stays until it is over
    p->single->text_at = characters(whole, (size_t)(first.ptr - whole.ptr));
    p->running = p->single;
    p->rows_max = 0;
    p->rows_given = 0;
}

void pg_run_over(Session *s) {
    s->pg->running = NULL;
    session_dirty(s);
    session_ready(s);
}

// ── a message ──────────────────────────────────────────────────────────────────────────────────

static void sync(PgSession *p) {
    p->skipping = false;
    portals_free(p);
    pg_put_ready(&p->out, PG_IDLE);
}

static void message_run(Session *s, const PgMessage *m) {
    PgSession *p = s->pg;
    if (p->skipping && m->name != 'S' && m->name != 'X') return;
    switch (m->name) {
    case 'Q': query(s, m->text); return;
    case 'P': parse(s, m); return;
    case 'B': bind(s, m); return;
    case 'D': describe(s, m); return;
    case 'E': execute(s, m); return;
    case 'C': close_one(p, m); return;
    case 'S': sync(p); return;
    case 'H': return;  // what was said leaves at the end of the turn anyway
    case 'X':
        p->finish = s->closing = true;
        buf_clear(&p->inbox);
        p->inbox_at = 0;
        return;
    default: pg_fatal(s, "08P01", "a password was not asked for"); return;
    }
}

static void inbox_tidy(Session *s) {
    PgSession *p = s->pg;
    if (p->inbox_at == p->inbox.len) {
        if (p->inbox.cap > INBOX_BYTES)
            buf_deinit(&p->inbox);
        else
            buf_clear(&p->inbox);
        p->inbox_at = 0;
    }
    if (!p->paused || !s->conn || p->inbox.len - p->inbox_at > INBOX_BYTES / 2) return;
    p->paused = false;
    net_resume(s->conn);
}

static void message_take(Session *s) {
    PgSession *p = s->pg;
    Bytes rest = {p->inbox.ptr + p->inbox_at, p->inbox.len - p->inbox_at};
    bool malformed;
    PgMessage m;
    Diag diag;
    diag_clear(&diag);
    size_t len = pg_message_len(rest, true, PG_MESSAGE_MAX, &malformed);
    ASSERT(len > 0 && len <= rest.len);
    p->inbox_at += len;
    arena_reset(&p->arena);
    Err err = pg_message_read((Bytes){rest.ptr, len}, &p->arena, &m, &diag);
    if (err == OK) {
        message_run(s, &m);
    } else if (err == ERR_MALFORMED) {
        pg_fatal(s, "08P01", diag.text);
    } else if (m.name == 'F' || !strchr("dcf", m.name)) {
        pg_fail_err(s, NULL, err, &diag);
        if (m.name == 'F') sync(p);
    }
}

bool pg_has_work(const Session *s) {
    const PgSession *p = s->pg;
    if (s->state != SESSION_LIVE) return false;
    if (s->close_code) return false;
    return p->running || p->simple || p->inbox_at < p->inbox.len || p->malformed;
}

bool pg_step(Session *s) {
    PgSession *p = s->pg;
    session_dirty(s);
    if (!buf_ok(&p->inbox)) {
        p->inbox.failed = false;
        pg_fatal(s, "53200", "the server is out of memory");
        return true;
    }
    if (p->running) return pg_execute(s);
    if (p->simple) {
        query_next(s);
        return true;
    }
    if (s->conn && p->out.len + net_conn_queued_bytes(s->conn) > PG_ROOM_BYTES) {
        p->wants_room = true;
        return false;
    }
    if (p->inbox_at < p->inbox.len) {
        message_take(s);
    } else if (p->malformed) {
        p->malformed = false;
        pg_fatal(s, "08P01", "invalid message length");
    }
    inbox_tidy(s);
    return true;
}

void pg_cancel(Session *s, uint32_t secret) {
    static const char text[] = "canceling statement due to user request";
    PgSession *p = s->pg;
    if (p->secret != secret || !p->running || s->sql.end) return;
    park_leave(s);
    fair_unpark(&s->database->fair, &s->fair);
    if (s->lane)
        sqlwrite_cancel(s, text);
    else if (p->running->state == PORTAL_ROWS || p->running->state == PORTAL_NEW)
        pg_fail(s, "57014", str_from(text), 0);
    session_ready(s);
}

// ── delivery ───────────────────────────────────────────────────────────────────────────────────

static void say(Session *s, Buf *box) {
    if (s->conn && box->len) {
        NetFrame *frame = buf_ok(box) ? net_frame_raw(buf_bytes(box)) : NULL;
        net_send(s->conn, frame);
        if (frame) net_frame_release(&frame);
    }
    if (box->cap > PG_ROOM_BYTES || !s->conn)
        buf_deinit(box);
    else
        buf_clear(box);
}

static void end(Session *s) {
    NetConn *conn = s->conn;
    if (!conn) return;
    s->conn = NULL;
    net_conn_set_data(conn, NULL);
    net_finish(conn);
}

void pg_deliver_sealed(Session *s) {
    say(s, &s->pg->sealed);
}

void pg_deliver(Session *s) {
    PgSession *p = s->pg;
    if (s->close_code) pg_fatal(s, "57P01", s->close_why);
    say(s, &p->sealed);
    say(s, &p->out);
    if (p->finish)
        end(s);
    else if (p->wants_room && s->conn)
        net_want_room(s->conn, PG_ROOM_BYTES / 2);
}

void pg_seal(Session *s) {
    PgSession *p = s->pg;
    ASSERT(p->sealed.len == 0);
    Buf empty = p->sealed;
    p->sealed = p->out;
    p->out = empty;
}
