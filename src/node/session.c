// session.c: the life of a session, its turn, and what becomes of its calls.
#include <stdio.h>

#include "base/blake3.h"
#include "base/mem.h"
#include "node/commit.h"
#include "node/pg.h"
#include "node/read.h"
#include "node/session_private.h"
#include "sats/json.h"

static const char fatal_text[] = "The instance encountered a fatal error.";

// ── life ───────────────────────────────────────────────────────────────────────────────────────

static void session_conn_closed(void *self) {
    Session *s = self;
    s->conn = NULL;
    s->closing = true;
    if (s->pg) pg_conn_closed(s);
    read_cancel(s);  // nobody would hear it
    park_leave(s);
    session_ready(s);
}

Session *session_new(Database *db, const SessionOptions *o) {
    Session *s = MEM_NEW(Session);
    if (!s) return NULL;
    s->conn_closed = session_conn_closed;
    s->conn_message = session_ws_message;
    s->database = db;
    s->kind = o->kind;
    s->conn = o->conn;
    s->identity = o->identity;
    s->connection = o->connection;
    s->is_owner = identity_eq(&o->identity, &db->owner);
    s->confirmed = o->confirmed;
    s->protocol = o->protocol;
    s->codec = wire_codec(o->protocol);
    s->v1.is_light = o->is_light;
    s->speaks_ours = o->speaks_ours;
    s->packing = o->packing;
    s->token = arena_str(&s->arena, o->token);
    s->claims = arena_str(&s->arena, o->claims);
    bool is_client = o->kind == SESSION_WS || o->kind == SESSION_HTTP || o->kind == SESSION_PG;
    if (!s->token.ptr || !s->claims.ptr ||
        fair_join(&db->fair, &s->fair, o->party ? o->party : &o->identity, is_client) != OK) {
        arena_deinit(&s->arena);
        mem_free(s);
        return NULL;
    }
    if (o->began_ns) {
        const Io *io = db->loop->node->io;
        int64_t now_ns = io->clock_monotonic_ns(io->world);
        fair_used(&db->fair, &s->fair, now_ns - o->began_ns, now_ns);
    }
    db->v1_count += wire_is_v1(s->protocol);
    db->ours_count += s->speaks_ours;
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
    s->database->v1_count -= wire_is_v1(s->protocol);
    s->database->ours_count -= s->speaks_ours;
    if (s->database->progress_next == s) s->database->progress_next = s->next;
    buf_deinit(&s->v1.json);
    lanes_session_gone(s);
    fetch_cancel(s);
    read_cancel(s);
    park_leave(s);
    live_prepare_release(&s->prepared);
    if (s->live) live_client_close(&s->live);
    pg_session_deinit(s);
    const Io *io = s->database->loop->node->io;
    fair_leave(&s->database->fair, &s->fair, io->clock_monotonic_ns(io->world));
    outbox_deinit(&s->out);
    outbox_deinit(&s->sealed);
    buf_deinit(&s->inbox);
    buf_deinit(&s->call_args);
    buf_deinit(&s->http.body);
    if (s->http.frame) net_frame_release(&s->http.frame);
    arena_deinit(&s->arena);
    mem_free(s);
}

Identity session_party_of_address(const NetConn *conn) {
    Identity party;
    blake3(str_bytes(net_conn_address(conn)), party.le);
    return party;
}

void session_limit(Session *s) {
    const Settings *set = &s->database->settings;
    if (s->kind == SESSION_WS && s->conn)
        net_conn_limit(s->conn, (size_t)set->unread_messages_max, (size_t)set->unread_bytes_max);
}

void session_ready(Session *s) {
    if (s->state != SESSION_ENDED) fair_ready(&s->database->fair, &s->fair);
}

void session_dirty(Session *s) {
    if (s->is_dirty) return;
    s->is_dirty = true;
    s->next_dirty = s->database->dirty;
    s->database->dirty = s;
}

void session_close(Session *s, uint16_t code, const char *why) {
    s->closing = true;
    if (s->pg) pg_stop(s);
    read_cancel(s);
    park_leave(s);
    // What was received and not worked on is dropped: the stream ends here. What was answered
    // before still goes out, so the Close frame itself waits for the delivery.
    buf_clear(&s->inbox);
    s->inbox_at = s->inbox_in = s->inbox_count = 0;
    fair_unpark(&s->database->fair, &s->fair);
    if (!s->close_code) {
        s->close_code = code;
        snprintf(s->close_why, sizeof s->close_why, "%s", why);
    }
    session_dirty(s);
    session_ready(s);
}
// ── calls ──────────────────────────────────────────────────────────────────────────────────────

// May the session make a call now, as far as rates go? `reducer` is NULL of a procedure. FAIR_WAIT: it
// is parked, and comes back with the same call. FAIR_REFUSE: `text` says why.
FairVerdict session_admit_rate(Session *s,
                               const FunctionDef *reducer,
                               char *text,
                               size_t text_size) {
    Database *db = s->database;
    const Settings *set = &db->settings;
    const Io *io = db->loop->node->io;
    if (!set->identity_rate && !set->reducer_rate && !set->reducer_count) return FAIR_PASS;
    int64_t wait_ns;
    BucketRule rule = {0};
    if (reducer) settings_reducer(set, reducer->name, &rule.rate, &rule.burst);
    Bucket *bucket = reducer && db->lanes ? &lanes_history(db, reducer)->bucket : NULL;
    FairVerdict verdict = fair_admit(&db->fair,
                                     &s->fair,
                                     bucket,
                                     rule,
                                     set->call_wait_max * 1000,
                                     io->clock_monotonic_ns(io->world),
                                     &wait_ns);
    switch (verdict) {
    case FAIR_PASS: break;
    case FAIR_WAIT: db->counters.calls_delayed++; break;
    case FAIR_REFUSE:
        db->counters.calls_over_rate++;
        snprintf(
            text,
            text_size,
            "too many calls: this one would have to wait %lld ms for its turn, and at most %lld "
            "ms are allowed here",
            (long long)(wait_ns / 1000000),
            (long long)(set->call_wait_max / 1000));
        break;
    }
    return verdict;
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
        .budget_us = slow_budget(s),
        .is_timed = s->kind == SESSION_HTTP || db->settings.slice < HOST_TICK_US,
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
const char *session_lifecycle_word(Lifecycle which) {
    switch (which) {
    case LIFECYCLE_INIT: return "Init";
    case LIFECYCLE_CONNECT: return "OnConnect";
    case LIFECYCLE_DISCONNECT: return "OnDisconnect";
    case LIFECYCLE_NONE: break;
    }
    UNREACHABLE();
}

Err session_args(Session *s, const FunctionDef *f, bool as_json, Bytes *args, Diag *diag) {
    size_t len;
    diag_clear(diag);
    if (!as_json) return bsatn_check(f->params, *args, &len, diag);
    buf_clear(&s->call_args);
    Err err = json_read_args(f->params, f->name, bytes_str(*args), &s->call_args, diag);
    *args = buf_bytes(&s->call_args);
    return err;
}

// Clients call the same reducer again and again.
static const FunctionDef *reducer_named(Session *s, Str name) {
    const ModuleDef *def = s->database->def;
    if (LIKELY(s->called_last < def->reducer_count) &&
        str_eq(def->reducers[s->called_last].name, name))
        return &def->reducers[s->called_last];
    const FunctionDef *f = moduledef_reducer(def, name);
    if (f) s->called_last = (uint32_t)(f - def->reducers);
    return f;
}

// May this session call the reducer with these arguments? Fills text with the reason if not.
const FunctionDef *session_admit(Session *s,
                                 Str name,
                                 Bytes args,
                                 bool args_as_json,
                                 char *text,
                                 size_t text_size) {
    Database *db = s->database;
    const FunctionDef *f = reducer_named(s, name);
    Buf line = {0};
    if (db->read_only != OK) {
        snprintf(text, text_size, "%s", db->read_only_why);
        return NULL;
    }
    if (f && f->lifecycle != LIFECYCLE_NONE) {
        snprintf(text,
                 text_size,
                 "can't directly call special %s lifecycle reducer",
                 session_lifecycle_word(f->lifecycle));
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
        Diag diag;
        if (session_args(s, f, args_as_json, &args, &diag) != OK) {
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

void session_await_views(Session *s) {
    Database *db = s->database;
    if (!s->asked_at) s->asked_at = store_stats(db_store(db->db)).version;
    park(s, PARK_VIEWS);
    viewlane_launch(db);
}

static void question_over(Session *s) {
    if (s->parked == PARK_NONE && !commit_pending(s->database)) s->asked_at = 0;
}

// ── one step ───────────────────────────────────────────────────────────────────────────────────

// The session's next piece of work. True: a call was begun. *more: it has something left to do.
static bool session_step(Session *s, HostCall *call, bool *more) {
    bool begun = false;
    *more = false;
    if (s->read || s->fetch || s->parked != PARK_NONE) return false;
    *more = true;
    views_since(s->database->views, s->asked_at ? s->asked_at : UINT64_MAX);
    if (lanes_step(s, call, more, &begun)) return begun;
    if (s->fair.parked) {  // its call waits for its time; what brought it here comes after that
        *more = false;
        return false;
    }
    s->call_timestamp = s->database->now;
    if (s->kind == SESSION_SYSTEM) return lifecycle_step_system(s, call, more);
    if (s->state == SESSION_CONNECTING) {
        // A client that left before it was let in never was here.
        if ((s->kind == SESSION_WS || s->kind == SESSION_PG) && s->closing && !s->conn) {
            s->state = SESSION_ENDED;
            *more = false;
            return false;
        }
        if (s->kind == SESSION_HTTP && !session_http_admit(s)) {
            *more = false;
            return false;
        }
        return lifecycle_step_connect(s, call);
    }
    if (s->kind == SESSION_HTTP && !s->http.done) {
        begun = session_http_step(s, call);
        question_over(s);
        if (s->fair.parked || s->lane || s->read || s->parked != PARK_NONE) *more = false;
        return begun;
    }
    if (s->kind == SESSION_PG) {
        bool waits = pg_has_work(s) && !pg_step(s);
        question_over(s);
        if (waits || s->fair.parked || s->lane || s->parked != PARK_NONE) {
            *more = false;
        } else if (!pg_has_work(s)) {
            *more = false;
            if (s->closing) return lifecycle_step_disconnect(s, call, more);
        }
        return false;
    }
    session_ws_tidy(s);
    begun = session_ws_step(s, call);
    question_over(s);
    if (s->fair.parked || s->read || s->parked != PARK_NONE) *more = false;
    if (begun && session_ws_is_tidy(s)) *more = false;
    if (begun || s->inbox_count || s->read || s->parked != PARK_NONE) return begun;
    if (s->closing) return lifecycle_step_disconnect(s, call, more);
    *more = false;
    return false;
}

// Somebody who asks for little beside others who do not.
static void sparse_asks(Database *db, Session *s, int64_t now_ns) {
    db->hurried = true;
    if (!s->is_asking) expect_asked(&db->expect, now_ns);
    s->is_asking = true;
}

bool session_next_call(void *ctx, HostCall *call) {
    Database *db = ctx;
    const Io *io = db->loop->node->io;
    for (;;) {
        // Nothing else may begin, and the turn may not end, before what is pending has.
        if (commit_pending(db)) {
            if (commit_step(db, call)) return true;
            continue;
        }
        if (db->failed) return false;
        int64_t now_ns = io->clock_monotonic_ns(io->world);
        turn_call_over(db, now_ns);
        if (turn_is_over(db, now_ns)) return false;
        FairEntry *taken = fair_take(&db->fair, now_ns);
        if (!taken) return false;
        Session *s = CONTAINER_OF(taken, Session, fair);
        if (s->state == SESSION_ENDED) {
            session_dirty(s);  // refused by the module after it had been put back into the ring
            continue;
        }
        db->now = db->turn_began + (now_ns - db->turn_began_ns) / 1000;
        bool more;
        if (s->conn) net_conn_set_prompt(s->conn, taken->was_sparse);
        if (taken->was_sparse && taken->is_client) sparse_asks(db, s, now_ns);
        bool begun = session_step(s, call, &more);
        if (begun && slow_divert(s, call)) begun = false;
        if (more) {
            fair_again(&db->fair, taken);
        } else {
            taken->burst = 0;
        }
        if (begun) return true;
        if (s->state == SESSION_ENDED) session_dirty(s);  // the delivery frees it
    }
}
// ── outcomes ───────────────────────────────────────────────────────────────────────────────────

WireCall session_wire_call(const Session *s) {
    if (s->v1.cause) return *s->v1.cause;
    return (WireCall){.request = s->request_id, .timestamp = s->call_timestamp};
}

// False: no memory.
static bool update_apart(Database *db,
                         const WireCodec *codec,
                         const TellKept *kept,
                         Buf *gaps,
                         WireTableUpdate *update) {
    if (!kept || (codec->is_text && !kept->inserts_json && !kept->deletes_json)) return true;
    WireApart *apart = arena_new(&db->turn_arena, WireApart);
    if (!apart) return false;
    *apart = (WireApart){.gaps = gaps,
                         .inserts = codec->is_text ? kept->inserts_json : kept->inserts,
                         .deletes = codec->is_text ? kept->deletes_json : kept->deletes};
    update->apart = apart;
    return true;
}

const WireTableUpdate *session_wire_updates(Database *db,
                                            const WireCodec *codec,
                                            const LiveUpdate *own,
                                            Buf *gaps,
                                            uint32_t *count) {
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
            .table_id = delta->table_id,
        };
        if (!update_apart(db, codec, delta->kept, gaps, &out[i])) return NULL;
        if (codec->is_text && !session_wire_json(db, delta, &out[i])) return NULL;
    }
    return out;
}

static void reducer_committed(Session *s, const LiveUpdate *own) {
    s->database->counters.calls_ok++;
    if (s->kind == SESSION_HTTP) {
        session_http_answer(s, 200, "");
        s->http.has_duration = true;
        s->http.duration_us = s->call_elapsed_us;
        return;
    }
    if (s->v1.is_quiet) return;  // it heard what everybody hears
    uint32_t count = 0;
    const WireTableUpdate *updates = NULL;
    Buf gaps = {0};
    if (own) {
        updates = session_wire_updates(s->database, s->codec, own, &gaps, &count);
        if (!updates) s->out.failed = true;
    }
    WireCall call = session_wire_call(s);
    s->codec->called(outbox_begin(&s->out), &call, updates, count);
    outbox_end_apart(&s->out, &gaps, s->protocol);
    buf_deinit(&gaps);
    s->progress_due |= count > 0;
}

static void reducer_failed(Session *s, Str text, bool user_error) {
    if (s->kind == SESSION_HTTP) {
        session_http_answer(s, 530, "");
        buf_put_str(&s->http.body, text);
        s->http.has_duration = true;
        s->http.duration_us = s->call_elapsed_us;
        return;
    }
    WireCall call = session_wire_call(s);
    s->codec->failed(outbox_begin(&s->out), &call, user_error, text);
    outbox_end(&s->out);
}

// What the caller and the log are told about a call that did not commit. Borrows from outcome or
// from the turn's arena.
Str session_failure_text(Session *s, const HostOutcome *outcome) {
    Database *db = s->database;
    switch (outcome->status) {
    case HOST_USER_ERROR:
        db->counters.calls_user_error++;
        database_log_record(db, 0, s->function->name, outcome->message, node_now(db->loop->node));
        return outcome->message;
    case HOST_DEADLINE: {
        db->counters.calls_deadline++;
        Str text = s->deadline_text;
        s->deadline_text = STR_NONE;
        if (!text.ptr)
            text = arena_printf(&db->turn_arena,
                                "reducer `" STR_FMT
                                "` was stopped: it ran longer than its deadline of %lld ms",
                                STR_ARG(s->function->name),
                                (long long)(db->settings.deadline / 1000));
        database_log_record(db, 0, s->function->name, text, node_now(db->loop->node));
        return text.ptr ? text : str_from(fatal_text);
    }
    case HOST_STOPPED:
    case HOST_FATAL: db->counters.calls_fatal++; return str_from(fatal_text);
    case HOST_OK: break;
    }
    UNREACHABLE();
}

static void reducer_finish(Session *s, Err err, const LiveUpdate *own) {
    if (err == OK) {
        reducer_committed(s, own);
    } else {
        s->database->counters.calls_fatal++;
        reducer_failed(s, str_from(err == ERR_MODULE ? fatal_text : err_text(err)), false);
    }
}

void session_done(void *ctx, const HostCall *call, const HostOutcome *outcome) {
    Database *db = ctx;
    if (commit_pending(db)) {
        commit_call_done(db, call, outcome);
        return;
    }
    Session *s = db->running;
    db->running = NULL;
    session_cause_note(s, call, outcome->elapsed_us);  // before what it was called with is gone
    if (slow_intercept(s, call, outcome)) {
        s->v1.cause = NULL;
        return;
    }
    SessionCall what = s->call;
    s->call = CALL_NONE;
    if (s->kind != SESSION_SYSTEM) session_dirty(s);
    if (what != CALL_REDUCER) {
        lifecycle_done(s, what, outcome);
        if (!commit_pending(db)) s->v1.cause = NULL;
        return;
    }
    s->call_elapsed_us = outcome->elapsed_us;
    if (outcome->status != HOST_OK) {
        db_rollback(db->db);
        Str text = session_failure_text(s, outcome);
        reducer_failed(s, text, outcome->status == HOST_USER_ERROR);
        s->v1.cause = NULL;
        return;
    }
    commit_start(s, !s->v1.is_quiet, reducer_finish);
}
