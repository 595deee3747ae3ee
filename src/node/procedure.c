// procedure.c: procedures and HTTP handlers: code that may wait, with transactions of its own.
//
// PICTURE
//   client, schedule, request ─> Procedure and its agent (a session in the ready ring)
//                                   │ lane_launch
//   worker   host_run ── tx_begin ──┼──> overlay_new
//                 ├───── tx_commit ─┼──> overlay_apply, commit_start … the sync ─> goes on
//                 │         stale: the library runs its body once more, and that time
//                 ├───── tx_begin ──┼──> the head itself, the loop waiting: cannot be stale
//                 ├───── http, sleep: the worker's place is free for others
//                 └─ ended ─────────┴──> the answer
//
// ALWAYS TRUE
//   (1) A transaction is on disk before the procedure goes on, so whatever it does next, outside or
//       inside, may rely on it. Its subscribers have been sent their updates.
//   (2) The loop waits for a procedure only while that has the head, after a conflict, and at most
//       as long as the settings say; then its transaction is undone and the procedure ended.
//   (3) A schedule's row for one time is deleted, on disk, before its procedure starts: at most once.
//
// Spec: module-abi §1.12, §5.7, §5.8; http-api-and-auth §8.7, §10; websocket-and-data-model §7.9.
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "base/log.h"
#include "base/mem.h"
#include "node/commit.h"
#include "node/http_value.h"
#include "node/lane.h"
#include "node/outbound.h"
#include "node/routes.h"
#include "node/session_private.h"
#include "sats/json.h"

typedef enum Transaction { TX_NONE, TX_OVERLAY, TX_HEAD } Transaction;

// What is to happen once everything committed so far is on disk.
typedef enum AfterSync { SYNC_NOTHING, SYNC_ANSWER, SYNC_ENTER, SYNC_RESPOND } AfterSync;

struct Procedure {
    LaneCall lane;
    FunctionDef function;  // what it points to belongs to lane.module
    int64_t began_ns;      // monotonic

    // Who is told. None: a schedule.
    Session *client;
    Procedure *next_of_client;
    uint32_t request;
    ConnOwner owner;
    NetConn *conn;  // of an HTTP handler

    ScheduleEntry entry;  // of a schedule with an interval: when it is due next

    Transaction tx;
    Micros tx_timestamp;
    bool alone_next;  // its last transaction was stale
    bool committing;
    AfterSync after_sync;
    const char *lost;  // why it was ended, if it was
    char lost_text[160];
    HttpValue response;
    Arena arena;
};

static Procedure *procedure_of(const Session *agent) {
    return CONTAINER_OF(agent->lane, Procedure, lane);
}

static const NodeOptions *options_of(const Procedure *p) {
    return &p->lane.loop->node->options;
}

static const Settings *settings_of(const Procedure *p) {
    return &p->lane.session->database->settings;  // on the loop's thread
}

static int64_t monotonic_ns(const Procedure *p) {
    const Io *io = p->lane.loop->node->io;
    return io->clock_monotonic_ns(io->world);
}

// ── the answer ─────────────────────────────────────────────────────────────────────────────────

static void client_forget(Procedure *p) {
    if (!p->client) return;
    for (Procedure **link = &p->client->procedures; *link; link = &(*link)->next_of_client) {
        if (*link != p) continue;
        *link = p->next_of_client;
        break;
    }
    p->client = NULL;
}

static void respond_text(Procedure *p, int status, const char *text) {
    NetConn *conn = p->conn;
    if (!conn) return;
    p->conn = NULL;
    net_conn_set_data(conn, NULL);
    http_respond(conn,
                 status,
                 NULL,
                 0,
                 STR("text/plain; charset=utf-8"),
                 str_bytes(str_from(text)));
}

static void tell_failure(Procedure *p, int status, const char *text) {
    Session *client = p->client;
    client_forget(p);
    respond_text(p, status, text);
    if (!client) return;
    if (client->kind == SESSION_HTTP) {
        session_http_answer(client, status, text);
        session_ready(client);
        return;
    }
    client->codec->not_returned(outbox_begin(&client->out), p->request, str_from(text));
    outbox_end(&client->out);
    session_dirty(client);
}

static void tell_value(Procedure *p) {
    Session *client = p->client;
    Bytes value = buf_bytes(&p->lane.returned);
    int64_t duration_us = (monotonic_ns(p) - p->began_ns) / 1000;
    client_forget(p);
    if (!client) return;
    if (client->kind == SESSION_HTTP) {
        session_http_answer(client, 200, "");
        client->http.content_type = STR("application/json");
        json_write(&client->http.body, p->function.returns, value.ptr, JSON_UNTYPED);
        client->http.has_duration = true;
        client->http.duration_us = duration_us;
        session_ready(client);
        return;
    }
    client->codec->returned(outbox_begin(&client->out),
                            p->request,
                            p->lane.host.timestamp,
                            duration_us,
                            p->function.returns,
                            value);
    outbox_end(&client->out);
    session_dirty(client);
}

static bool is_hop_header(Str name) {
    static const char *const own[] =
        {"content-length", "connection", "transfer-encoding", "date", "keep-alive", "upgrade"};
    for (size_t i = 0; i < ARRAY_LEN(own); i++) {
        if (str_eq_nocase(name, str_from(own[i]))) return true;
    }
    return false;
}

// The handler's Response, if it can be sent as it is. NULL, or why not.
static const char *response_read(Procedure *p) {
    HttpValue *v = &p->response;
    if (http_value_get_response(buf_bytes(&p->lane.returned), &p->arena, v) != OK)
        return "the HTTP handler returned something that is not a Response";
    if (v->code < 200 || v->code > 999) return "the HTTP handler returned an invalid status";
    uint32_t kept = 0;
    for (uint32_t i = 0; i < v->header_count; i++) {
        if (!http_value_name_ok(v->headers[i].name) || !http_value_text_ok(v->headers[i].value))
            return "the HTTP handler returned an invalid header";
        if (!is_hop_header(v->headers[i].name)) v->headers[kept++] = v->headers[i];
    }
    v->header_count = kept;
    return NULL;
}

static void respond(Procedure *p) {
    NetConn *conn = p->conn;
    const HttpValue *v = &p->response;
    if (!conn) return;
    p->conn = NULL;
    net_conn_set_data(conn, NULL);
    http_respond(conn, v->code, v->headers, v->header_count, STR_NONE, buf_bytes(&p->lane.body));
}

static void conclude_failed(Procedure *p, HostStatus status) {
    DatabaseCounters *counters = &p->lane.session->database->counters;
    Buf text = {0};
    int http_status = 500;
    counters->procedures_failed++;
    if (p->lost) {
        buf_printf(&text, "%s", p->lost);
    } else if (status == HOST_DEADLINE) {
        http_status = 402;
        counters->procedures_deadline++;
        buf_printf(&text, "Procedure terminated due to insufficient budget");
    } else {
        buf_printf(&text, "The module instance encountered a fatal error: ");
        buf_put_bytes(&text, buf_bytes(&p->lane.message));
    }
    buf_put_u8(&text, 0);
    tell_failure(p, http_status, buf_ok(&text) ? (const char *)text.ptr : err_text(ERR_NOMEM));
    buf_deinit(&text);
}

static void lost_because(Procedure *p, const char *why) {
    snprintf(p->lost_text, sizeof p->lost_text, "%.*s", (int)sizeof p->lost_text - 1, why);
    p->lost = p->lost_text;
}

// A schedule with an interval goes on, unless the row was given another time meanwhile.
static void schedule_go_on(Procedure *p) {
    Database *db = p->lane.session->database;
    if (!p->entry.interval || schedule_has(db->schedule, p->entry.table_id, p->entry.row_id))
        return;
    if (schedule_put(db->schedule, &p->entry) != OK)
        log_error("out of memory: an interval of a scheduled table stops until the next start");
}

static void conclude(Session *agent) {
    Procedure *p = procedure_of(agent);
    LaneCall *lane = &p->lane;
    Diag diag = {0};
    size_t len;
    lane_log_lines(lane, true);
    lane_leave(lane);
    schedule_go_on(p);
    p->after_sync = SYNC_RESPOND;
    agent->state = SESSION_ENDED;
    session_dirty(agent);
    if (lane->status != HOST_OK) {
        conclude_failed(p, lane->status);
    } else if (lane->host.kind == HOST_HTTP) {
        const char *why = response_read(p);
        if (why) tell_failure(p, 500, why);
    } else if (bsatn_check(p->function.returns, buf_bytes(&lane->returned), &len, &diag) != OK) {
        buf_clear(&lane->message);
        buf_printf(&lane->message, "its return value cannot be decoded: %s", diag.text);
        conclude_failed(p, HOST_FATAL);
    } else {
        lane->returned.len = len;
        tell_value(p);
    }
}

void procedure_interrupt(Session *agent, const char *why) {
    if (!agent->lane) return;
    Procedure *p = procedure_of(agent);
    if (agent->state == SESSION_ENDED) return;  // its answer is on the way
    char text[256];
    snprintf(text,
             sizeof text,
             "procedure `%.*s` was ended: %s",
             (int)MIN(p->function.name.len, (size_t)120),
             p->function.name.ptr,
             why);
    agent->database->counters.procedures_failed++;
    schedule_go_on(p);
    tell_failure(p, 503, text);
    lane_cancel(agent->lane);
    agent->state = SESSION_ENDED;
    session_dirty(agent);
}

void procedure_client_gone(Session *client) {
    while (client->procedures) {
        client_forget(client->procedures);
    }
}

// ── transactions, on the loop's thread ─────────────────────────────────────────────────────────

static CommitInfo transaction_info(const Procedure *p) {
    const Database *db = p->lane.session->database;
    return (CommitInfo){.timestamp = p->tx_timestamp, .caller = db->identity, .name = STR("")};
}

static void commit_finished(Session *agent, Err err, const LiveUpdate *own) {
    Procedure *p = procedure_of(agent);
    (void)own;
    p->committing = false;
    if (err != OK) {
        lost_because(p, err_text(err));
        lane_answer(&p->lane, ABI_FATAL);
        return;
    }
    p->after_sync = SYNC_ANSWER;  // (1)
    session_dirty(agent);
}

static void commit_begin(Session *agent) {
    Procedure *p = procedure_of(agent);
    agent->call_timestamp = p->tx_timestamp;
    agent->function = &p->function;
    p->committing = true;
    commit_start(agent, false, commit_finished);
}

static void serve_begin(Session *agent) {
    Procedure *p = procedure_of(agent);
    Db *db = agent->database->db;
    p->tx_timestamp = MAX(node_now(agent->database->loop->node), p->tx_timestamp);
    CommitInfo info = transaction_info(p);
    OverlayEnv env = lane_overlay_env(&p->lane);
    Err err = overlay_new(db, &info, &env, &p->lane.overlay);
    if (err != OK) {
        lost_because(p, err_text(err));
        lane_answer(&p->lane, ABI_FATAL);
        return;
    }
    p->tx = TX_OVERLAY;
    lane_guard_open(&p->lane, overlay_access(p->lane.overlay));
    lane_answer(&p->lane, ABI_OK);
}

static struct timespec monotonic_in(Micros micros) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += micros / 1000000;
    t.tv_nsec += (micros % 1000000) * 1000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

// Wait while the worker has the head. ASK_NONE: its time is up.
static LaneAsk wait_for_worker(Procedure *p) {
    LaneCall *lane = &p->lane;
    struct timespec end = monotonic_in(settings_of(p)->procedure_exclusive);
    Background *worker = atomic_load(&lane->job.runner);
    background_hurry(worker);  // all of the database waits for it
    pthread_mutex_lock(&lane->mutex);
    lane->has_head = true;
    lane->answer = ABI_OK;
    lane->ask = ASK_NONE;
    pthread_cond_broadcast(&lane->changed);
    while (lane->ask == ASK_NONE) {
        if (pthread_cond_timedwait(&lane->changed, &lane->mutex, &end) == ETIMEDOUT) break;
    }
    lane->has_head = false;
    LaneAsk ask = lane->ask;
    pthread_mutex_unlock(&lane->mutex);
    background_hurry_end(worker);
    return ask;
}

static void out_of_time(Session *agent) {
    Procedure *p = procedure_of(agent);
    char text[160];
    snprintf(text,
             sizeof text,
             "the procedure was ended: its transaction had the database to itself for %lld ms and "
             "did not end",
             (long long)(settings_of(p)->procedure_exclusive / 1000));
    lost_because(p, text);
    lane_stop(&p->lane);
    db_rollback(agent->database->db);
}

// (2)
static void serve_begin_alone(Session *agent) {
    Procedure *p = procedure_of(agent);
    Database *db = agent->database;
    db->counters.exclusive_runs++;
    p->alone_next = false;
    p->tx_timestamp = MAX(node_now(db->loop->node), p->tx_timestamp);
    CommitInfo info = transaction_info(p);
    db_begin(db->db, &info);
    p->tx = TX_HEAD;
    lane_guard_open(&p->lane, db_access(db->db));
    LaneAsk ask = wait_for_worker(p);
    lane_guard_shut(&p->lane);
    p->tx = TX_NONE;
    switch (ask) {
    case ASK_COMMIT: commit_begin(agent); return;
    case ASK_ABORT:
        db_rollback(db->db);
        lane_answer(&p->lane, ABI_OK);
        return;
    case ASK_NONE: out_of_time(agent); return;
    case ASK_BEGIN:
    case ASK_RUN: break;
    }
    UNREACHABLE();  // one transaction at a time; values come from the head itself
}

static void serve_commit(Session *agent) {
    Procedure *p = procedure_of(agent);
    LaneCall *lane = &p->lane;
    Diag diag = {0};
    if (p->tx != TX_OVERLAY) {  // it had the head and lost it
        lane_answer(lane, ABI_FATAL);
        return;
    }
    lane_guard_shut(lane);
    Err err = lane_apply(lane, &diag);
    p->tx = TX_NONE;
    if (err == OK) {
        commit_begin(agent);
    } else if (err == ERR_CONFLICT) {
        agent->database->counters.conflicts++;
        p->alone_next = true;
        lane_answer(lane, ABI_HOST_CALL_FAILURE);
    } else {
        lost_because(p, diag.text[0] ? diag.text : err_text(err));
        lane_answer(lane, ABI_FATAL);
    }
}

static void serve_abort(Session *agent) {
    Procedure *p = procedure_of(agent);
    lane_guard_shut(&p->lane);
    lane_overlay_free(&p->lane);
    p->tx = TX_NONE;
    lane_answer(&p->lane, ABI_OK);
}

static void row_deleted(Session *agent, Err err, const LiveUpdate *own) {
    Procedure *p = procedure_of(agent);
    (void)own;
    p->committing = false;
    if (err != OK) {
        log_error("a scheduled procedure did not start: %s", err_text(err));
        agent->state = SESSION_ENDED;
    }
    p->after_sync = SYNC_ENTER;  // (3)
    session_dirty(agent);
}

void procedure_step(Session *agent) {
    if (!agent->lane || agent->state == SESSION_ENDED) return;
    Procedure *p = procedure_of(agent);
    if (p->committing || p->after_sync != SYNC_NOTHING) return;
    if (p->lane.may_launch) {
        lane_launch(&p->lane);
        return;
    }
    if (p->lane.has_ended) {
        conclude(agent);
        return;
    }
    switch (lane_asked(&p->lane)) {
    case ASK_NONE: return;
    case ASK_BEGIN:
        if (p->alone_next) {
            serve_begin_alone(agent);
        } else {
            serve_begin(agent);
        }
        return;
    case ASK_COMMIT: serve_commit(agent); return;
    case ASK_ABORT: serve_abort(agent); return;
    case ASK_RUN: lane_serve_run(&p->lane); return;
    }
    UNREACHABLE();
}

void procedure_deliver(Session *agent) {
    if (!agent->lane) return;
    Procedure *p = procedure_of(agent);
    AfterSync what = p->after_sync;
    p->after_sync = SYNC_NOTHING;
    switch (what) {
    case SYNC_NOTHING: return;
    case SYNC_ANSWER: lane_answer(&p->lane, ABI_OK); return;
    case SYNC_ENTER:
        if (agent->state != SESSION_ENDED && lane_enter(&p->lane, true) != OK)
            log_error("a scheduled procedure did not start: the lane is full");
        return;
    case SYNC_RESPOND: respond(p); return;
    }
    UNREACHABLE();
}

// ── what a procedure may ask for, on the worker's thread ───────────────────────────────────────

static AbiErrno ops_tx_begin(void *ctx, Access **access, Micros *timestamp) {
    Procedure *p = ctx;
    if (!lane_ask(&p->lane, ASK_BEGIN)) return ABI_FATAL;
    if (p->lane.answer != ABI_OK) return p->lane.answer;
    *access = &p->lane.guard.access;
    *timestamp = p->tx_timestamp;
    return ABI_OK;
}

static AbiErrno ops_tx_commit(void *ctx) {
    Procedure *p = ctx;
    lane_validate(&p->lane);
    return lane_ask(&p->lane, ASK_COMMIT) ? p->lane.answer : ABI_FATAL;
}

static void ops_tx_abort(void *ctx) {
    Procedure *p = ctx;
    (void)lane_ask(&p->lane, ASK_ABORT);
}

static bool ops_cancelled(void *ctx) {
    return lane_is_cancelled(&((Procedure *)ctx)->lane);
}

static AbiErrno ops_http(void *ctx, Bytes request, Bytes body, Buf *response, Buf *body_out) {
    Procedure *p = ctx;
    const NodeOptions *o = options_of(p);
    OutboundLimits limits = {.access = o->outbound,
                             .response_max = o->outbound_response_max,
                             .cancelled = ops_cancelled,
                             .ctx = p};
    lane_log_flush(&p->lane);
    worker_wait_begin(p->lane.loop->node->workers);
    AbiErrno result = outbound_request(&limits, request, body, response, body_out);
    worker_wait_end(p->lane.loop->node->workers);
    return result;
}

static Micros ops_sleep_until(void *ctx, Micros wake) {
    Procedure *p = ctx;
    const Node *node = p->lane.loop->node;
    lane_log_flush(&p->lane);
    worker_wait_begin(node->workers);
    for (Micros now; (now = node_now(node)) < wake && !lane_is_cancelled(&p->lane);) {
        // In pieces: the wall clock may jump.
        struct timespec end = monotonic_in(MIN(wake - now, 1000000));
        pthread_mutex_lock(&p->lane.mutex);
        if (!p->lane.cancelled) pthread_cond_timedwait(&p->lane.changed, &p->lane.mutex, &end);
        pthread_mutex_unlock(&p->lane.mutex);
    }
    worker_wait_end(node->workers);
    return node_now(node);
}

static const HostProcedureOps procedure_ops = {
    .tx_begin = ops_tx_begin,
    .tx_commit = ops_tx_commit,
    .tx_abort = ops_tx_abort,
    .http = ops_http,
    .sleep_until = ops_sleep_until,
};

// ── beginning ──────────────────────────────────────────────────────────────────────────────────

static void procedure_destroy(LaneCall *lane) {
    Procedure *p = CONTAINER_OF(lane, Procedure, lane);
    lane_call_deinit(lane);
    arena_deinit(&p->arena);
    mem_free(p);
}

static void conn_closed(void *owner) {
    CONTAINER_OF(owner, Procedure, owner)->conn = NULL;
}

// A procedure with its agent, not entered yet. NULL: out of memory.
static Procedure *procedure_new(Database *db,
                                const FunctionDef *function,
                                HostCall host,
                                const Identity *party) {
    if (!db->lanes) return NULL;
    SessionOptions options = {.kind = SESSION_AGENT,
                              .party = party,
                              .identity = db->identity,
                              .confirmed = true,
                              .token = STR(""),
                              .claims = STR("")};
    Session *agent = session_new(db, &options);
    Procedure *p = agent ? MEM_NEW(Procedure) : NULL;
    if (!p) {
        session_free(&agent);
        return NULL;
    }
    agent->state = SESSION_LIVE;
    p->lane.destroy = procedure_destroy;
    p->owner.conn_closed = conn_closed;
    p->function = *function;
    host.id = function->id;
    host.name = function->name;
    host.budget_us = db->settings.procedure_deadline;
    host.procedure = &procedure_ops;
    host.procedure_ctx = p;
    Err err = lane_call_init(&p->lane, LANE_PROCEDURE, agent, &host);
    agent->lane = &p->lane;
    p->began_ns = monotonic_ns(p);
    db->counters.procedures++;
    if (err == OK) return p;
    session_free(&agent);  // and with it p
    return NULL;
}

static void procedure_enter(Procedure *p) {
    Session *agent = p->lane.session;
    bool is_scheduled = !p->client && !p->conn;  // those cannot be refused
    if (lane_enter(&p->lane, is_scheduled) == OK) return;
    tell_failure(p, 503, "the server is busy: too many procedures wait in this database");
    agent->state = SESSION_ENDED;
    session_dirty(agent);
}

bool procedure_visible(const Session *client, const FunctionDef *f) {
    return f && (!f->is_private || client->is_owner);
}

static void client_link(Procedure *p, Session *client) {
    p->client = client;
    p->next_of_client = client->procedures;
    client->procedures = p;
}

static HostCall client_call(const Session *client, Bytes args) {
    return (HostCall){.kind = HOST_PROCEDURE,
                      .sender = client->identity,
                      .connection = client->connection,
                      .timestamp = client->call_timestamp,
                      .args = args};
}

static Procedure *procedure_for(Session *client, const FunctionDef *f, Bytes args) {
    HostCall host = client_call(client, args);
    return procedure_new(client->database, f, host, &client->fair.party->identity);
}

static void ws_refuse(Session *client, uint32_t request, const char *text) {
    client->database->counters.calls_refused++;
    client->codec->not_returned(outbox_begin(&client->out), request, str_from(text));
    outbox_end(&client->out);
}

static void log_refusal(Database *db, const char *fmt, Str name) {
    Buf line = {0};
    buf_printf(&line, fmt, STR_ARG(name));
    database_log_line(db, 0, NULL, bytes_str(buf_bytes(&line)));
    buf_deinit(&line);
}

void procedure_call_ws(Session *client, const ClientMessage *m) {
    Database *db = client->database;
    Diag diag;
    uint32_t request = m->request_id;
    Str name = m->text;
    Bytes args = m->args;
    const FunctionDef *f = moduledef_procedure(db->def, name);
    if (!procedure_visible(client, f)) {
        log_refusal(db,
                    "External attempt to call nonexistent procedure \"" STR_FMT
                    "\" failed. Have you run `spacetime generate` recently?",
                    name);
        ws_refuse(client, request, "No such procedure");
        return;
    }
    if (session_args(client, f, m->args_as_json, &args, &diag) != OK) {
        char text[DIAG_TEXT_MAX + 256];
        snprintf(text,
                 sizeof text,
                 "invalid arguments for procedure " STR_FMT ": %s",
                 STR_ARG(name),
                 diag.text);
        log_refusal(
            db,
            "External attempt to call procedure \"" STR_FMT
            "\" failed, invalid arguments.\nThis is likely due to a mismatched client schema, have you run `spacetime generate` recently?",
            name);
        ws_refuse(client, request, text);
        return;
    }
    Procedure *p = procedure_for(client, f, args);
    if (!p) {
        ws_refuse(client, request, err_text(ERR_NOMEM));
        return;
    }
    p->request = request;
    client_link(p, client);
    procedure_enter(p);
}

void procedure_call_http(Session *client, const FunctionDef *f, Bytes args) {
    Procedure *p = procedure_for(client, f, args);
    if (!p) {
        session_http_answer(client, 503, err_text(ERR_NOMEM));
        return;
    }
    client->http.work = HTTP_PROCEDURE;
    client_link(p, client);
    procedure_enter(p);
}

void procedure_serve(Database *db,
                     uint32_t handler,
                     Str name,
                     Bytes request,
                     Bytes body,
                     NetConn *conn) {
    FunctionDef function = {.name = name, .source = name, .id = handler};
    HostCall host = {.kind = HOST_HTTP,
                     .timestamp = node_now(db->loop->node),
                     .args = request,
                     .body = body};
    Identity party = session_party_of_address(conn);
    Procedure *p = procedure_new(db, &function, host, &party);
    if (!p) {
        http_respond(conn,
                     503,
                     NULL,
                     0,
                     STR("text/plain; charset=utf-8"),
                     str_bytes(str_from(err_text(ERR_NOMEM))));
        return;
    }
    p->conn = conn;
    net_conn_set_data(conn, &p->owner);
    procedure_enter(p);
}

bool procedure_fire(Database *db,
                    const ScheduleEntry *entry,
                    const CatalogTable *table,
                    Bytes row) {
    const FunctionDef *f = moduledef_procedure(db->def, table->schedule_function);
    if (!f) return false;
    HostCall host = {.kind = HOST_PROCEDURE,
                     .sender = db->identity,
                     .timestamp = MAX(db->now, entry->due),
                     .args = row};
    Procedure *p = procedure_new(db, f, host, &db->identity);
    if (!p) {
        log_error("out of memory: a scheduled procedure did not start");
        return true;
    }
    if (schedule_row_is_interval(table, row)) {
        p->entry = *entry;
        p->entry.due = schedule_following(entry, node_now(db->loop->node));
        procedure_enter(p);
        return true;
    }
    Session *agent = p->lane.session;
    p->tx_timestamp = host.timestamp;
    db_begin(db->db,
             &(CommitInfo){.timestamp = host.timestamp,
                           .caller = db->identity,
                           .name = STR("<schedule>")});
    if (table_delete_row(table->table, buf_bytes(&p->lane.args)) != OK) {
        db_rollback(db->db);
        log_error("a scheduled procedure did not start: its row could not be removed");
        agent->state = SESSION_ENDED;
        session_dirty(agent);
        return true;
    }
    agent->call_timestamp = host.timestamp;
    agent->function = &p->function;
    p->committing = true;
    commit_start(agent, false, row_deleted);
    return true;
}
