// lane.c: the queues of a database, and the life of one call: see lane.h.
#include "base/log.h"
#include "base/mem.h"
#include "node/lane_private.h"
#include "node/session_private.h"
#include "node/sqlwrite.h"

#define SCHEDULED_NOW_MAX (1u << 20)

typedef struct Lane {
    LaneCall *first, *last;
    uint32_t queued, active;
} Lane;

struct Lanes {
    Database *database;
    LaneModule *module;
    Lane lane[LANE_KINDS];
    Buf scheduled_now;  // name and arguments, each with its length
    size_t scheduled_at;
};
// ── of a database ──────────────────────────────────────────────────────────────────────────────

Err lanes_new(Database *db, Lanes **out) {
    Lanes *lanes = MEM_NEW(Lanes);
    if (!lanes) return ERR_NOMEM;
    lanes->database = db;
    *out = lanes;
    return OK;
}

void lanes_free(Lanes **handle) {
    Lanes *lanes = *handle;
    if (!lanes) return;
    *handle = NULL;
    for (int i = 0; i < LANE_KINDS; i++) {
        ASSERT(!lanes->lane[i].first && lanes->lane[i].active == 0);
    }
    if (lanes->module) module_retire(lanes->module);
    buf_deinit(&lanes->scheduled_now);
    mem_free(lanes);
}

Err lanes_module_new(Lanes *lanes, HostProgram **program, LaneModule **out) {
    const Database *db = lanes->database;
    return module_new(db, program, out);
}

void lanes_module_free(LaneModule **module) {
    if (*module) module_release(*module);
    *module = NULL;
}

HostProgram *lanes_program(const LaneModule *module) {
    return module_program(module);
}

HostProgram *lanes_module_set(Lanes *lanes, LaneModule **module) {
    if (lanes->module) module_retire(lanes->module);
    lanes->module = *module;
    *module = NULL;
    return module_program(lanes->module);
}

void lanes_interrupt(Database *db, const char *why) {
    for (Session *s = db->sessions; s; s = s->next) {
        fetch_interrupt(s);
        if (s->kind == SESSION_AGENT) {
            procedure_interrupt(s, why);
        } else if (s->kind == SESSION_VIEW) {
            viewlane_interrupt(s);
        } else if (s->lane && s->lane->work) {
            sqlwrite_interrupt(s);
        } else if (s->lane) {
            slow_interrupt(s);
        }
    }
}

bool lanes_step(Session *s, HostCall *call, bool *more, bool *begun) {
    *begun = false;
    if (s->kind == SESSION_AGENT) {
        procedure_step(s);
        *more = false;
        return true;
    }
    if (s->kind == SESSION_VIEW) {
        viewlane_step(s);
        *more = false;
        return true;
    }
    if (s->lane && s->lane->work) {
        sqlwrite_step(s);
        *more = !s->lane;
        return true;
    }
    if (s->lane) {
        *begun = slow_step(s, call, more);
        return true;
    }
    if (slow_is_over(s)) {
        s->state = SESSION_ENDED;
        *more = false;
        return true;
    }
    if (s->redo.ptr) {
        *begun = slow_redo(s, call);
        return true;
    }
    // A WebSocket client's procedures run beside what it asks next; an HTTP client asked only this.
    *more = !(s->kind == SESSION_HTTP && s->procedures);
    return !*more;
}

void lanes_session_gone(Session *s) {
    if (s->lane) lane_cancel(s->lane);
    procedure_client_gone(s);
}

void lanes_schedule_now(Database *db, Str function, Bytes args) {
    Buf *waiting = &db->lanes->scheduled_now;
    size_t start = waiting->len;
    if (start > SCHEDULED_NOW_MAX) {
        database_log_line(db,
                          0,
                          NULL,
                          STR("too many calls are scheduled for now: one was dropped"));
        return;
    }
    buf_put_lp(waiting, str_bytes(function));
    buf_put_lp(waiting, args);
    if (!buf_ok(waiting)) {
        waiting->failed = false;
        waiting->len = start;
        database_log_line(db, 0, NULL, STR("out of memory: a call scheduled for now was dropped"));
        return;
    }
    session_ready(db->system);
}

bool lanes_take_scheduled(Database *db, Buf *name, Buf *args) {
    Lanes *lanes = db->lanes;
    if (!lanes || lanes->scheduled_now.len == 0) return false;
    Reader r = reader_of(BYTES(lanes->scheduled_now.ptr + lanes->scheduled_at,
                               lanes->scheduled_now.len - lanes->scheduled_at));
    Bytes word = reader_lp(&r);
    Bytes rest = reader_lp(&r);
    buf_clear(name);
    buf_clear(args);
    buf_put_bytes(name, word);
    buf_put_bytes(args, rest);
    lanes->scheduled_at += r.at;
    if (lanes->scheduled_at == lanes->scheduled_now.len) {
        buf_clear(&lanes->scheduled_now);
        lanes->scheduled_at = 0;
    }
    return buf_ok(name) && buf_ok(args);
}

SlowHistory *lanes_history(const Database *db, const FunctionDef *reducer) {
    return module_history(db->lanes->module, reducer);
}

LaneModule *lanes_module(const Database *db) {
    return db->lanes ? db->lanes->module : NULL;
}

LaneStats lanes_stats(const Database *db, LaneKind kind) {
    if (!db->lanes) return (LaneStats){0};
    const Lane *lane = &db->lanes->lane[kind];
    return (LaneStats){.active = lane->active, .queued = lane->queued};
}

// ── a call's life ──────────────────────────────────────────────────────────────────────────────

static void job_run(WorkerJob *job);
static void arrived_run(LoopTask *task, NodeLoop *loop);
static void ended_run(LoopTask *task, NodeLoop *loop);

static Lane *lane_of(const LaneCall *call) {
    return &call->session->database->lanes->lane[call->kind];
}

Err lane_call_init(LaneCall *call, LaneKind kind, Session *s, const HostCall *host) {
    Database *db = s->database;
    pthread_condattr_t attr;
    ASSERT(db->lanes && db->lanes->module);
    atomic_init(&call->refs, 1);
    call->job.run = job_run;
    call->arrived.run = arrived_run;
    call->ended.run = ended_run;
    call->loop = db->loop;
    call->module = db->lanes->module;
    module_retain(call->module);
    call->kind = kind;
    call->session = s;
    call->host = *host;
    call->host.is_timed = true;  // what it took decides where the next one runs
    pthread_mutex_init(&call->mutex, NULL);
    lane_guard_init(&call->guard);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&call->changed, &attr);
    pthread_condattr_destroy(&attr);
    buf_put_bytes(&call->args, host->args);
    buf_put_bytes(&call->request_body, host->body);
    call->host.args = buf_bytes(&call->args);
    call->host.body = buf_bytes(&call->request_body);
    return buf_ok(&call->args) && buf_ok(&call->request_body) ? OK : ERR_NOMEM;
}

void lane_call_deinit(LaneCall *call) {
    ASSERT(!call->overlay);
    Buf *all[] = {&call->args,
                  &call->request_body,
                  &call->message,
                  &call->returned,
                  &call->body,
                  &call->logs,
                  &call->queued_calls};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        buf_deinit(all[i]);
    }
    pthread_cond_destroy(&call->changed);
    pthread_mutex_destroy(&call->mutex);
    lane_guard_deinit(&call->guard);
    module_release(call->module);
}

void lane_retain(LaneCall *call) {
    atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed);
}

void lane_release(LaneCall *call) {
    if (atomic_fetch_sub_explicit(&call->refs, 1, memory_order_acq_rel) == 1) call->destroy(call);
}

// All of them are the database's own, of which a part stays free (may_begin): two run.
#define VIEWS_ACTIVE_MAX 3

// How many calls may be under way, and how many more wait. Slow reducers compute, so a few are enough
// to use the workers and one database cannot have all of them; procedures mostly wait.
static uint32_t active_max(const LaneCall *call) {
    const Settings *set = &call->session->database->settings;
    if (call->kind == LANE_VIEW) return VIEWS_ACTIVE_MAX;
    return (uint32_t)(call->kind == LANE_REDUCER ? set->slow_calls_max : set->procedures_max);
}

static uint32_t queued_max(const LaneCall *call) {
    const Settings *set = &call->session->database->settings;
    return (uint32_t)(call->kind == LANE_REDUCER ? set->slow_queue_max : set->procedure_queue_max);
}

static FairParty *party_of(const LaneCall *call) {
    return call->session->fair.party;
}

// One identity leaves a quarter of the places to others, at least one where there are two.
static bool may_begin(const Lane *lane, const LaneCall *call) {
    uint32_t max = active_max(call), left = max > 1 ? MAX(max / 4, 1) : 0;
    // Schedules are many parties that have one name: a long one does not delay the others.
    if (identity_eq(&party_of(call)->identity, &call->session->database->identity)) left = 0;
    return lane->active < max && party_of(call)->lane_active[call->kind] < max - left;
}

static void begin(Lane *lane, LaneCall *call) {
    lane->active++;
    party_of(call)->lane_active[call->kind]++;
    call->is_active = call->may_launch = true;
    session_ready(call->session);
}

Err lane_enter(LaneCall *call, bool even_if_full) {
    Lane *lane = lane_of(call);
    FairParty *party = party_of(call);
    if (may_begin(lane, call)) {
        begin(lane, call);
        return OK;
    }
    uint32_t max = queued_max(call);
    bool full = lane->queued >= max || party->lane_queued[call->kind] >= max - max / 4;
    if (full && !even_if_full) {
        call->session->database->counters.lane_refused++;
        return ERR_LIMIT;
    }
    LaneCall *last = lane->last;
    call->next = NULL;
    if (last) {
        last->next = call;
    } else {
        lane->first = call;
    }
    lane->last = call;
    lane->queued++;
    party->lane_queued[call->kind]++;
    call->is_queued = true;
    return OK;
}

static void lane_unqueue(Lane *lane, LaneCall *call) {
    LaneCall **link = &lane->first, *before = NULL;
    while (*link != call) {
        before = *link;
        link = &before->next;
    }
    *link = call->next;
    if (lane->last == call) lane->last = before;
    lane->queued--;
    party_of(call)->lane_queued[call->kind]--;
    call->is_queued = false;
}

// Of those that may begin, the one whose identity has the fewest under way; of these the first.
static LaneCall *lane_next(const Lane *lane) {
    LaneCall *best = NULL;
    for (LaneCall *call = lane->first; call; call = call->next) {
        if (!may_begin(lane, call)) continue;
        uint32_t active = party_of(call)->lane_active[call->kind];
        if (!best || active < party_of(best)->lane_active[best->kind]) best = call;
        if (active == 0) break;
    }
    return best;
}

static void lane_refill(Lane *lane) {
    for (LaneCall *next; (next = lane_next(lane));) {
        lane_unqueue(lane, next);
        begin(lane, next);
    }
}

void lane_leave(LaneCall *call) {
    Lane *lane = lane_of(call);
    if (call->is_queued) lane_unqueue(lane, call);
    if (!call->is_active) return;
    call->is_active = false;
    lane->active--;
    party_of(call)->lane_active[call->kind]--;
    lane_refill(lane);
}

void lanes_settings_changed(Database *db) {
    if (!db->lanes) return;
    if (db->lanes->module) module_heap_max(db->lanes->module, (size_t)db->settings.heap_max);
    for (int i = 0; i < LANE_KINDS; i++)
        lane_refill(&db->lanes->lane[i]);
}

void lane_launch(LaneCall *call) {
    call->may_launch = call->has_ended = call->stale = false;
    buf_clear(&call->message);
    buf_clear(&call->returned);
    buf_clear(&call->body);
    lane_retain(call);  // until ended_run
    const Identity *payer = &party_of(call)->identity;
    call->job.payer = (load_u64(payer->le) ^ load_u64(call->session->database->identity.le)) | 1;
    call->job.payer_max = (uint32_t)call->session->database->settings.identity_workers_max;
    if (worker_submit(call->loop->node->workers, &call->job) == OK) return;
    call->status = HOST_FATAL;
    buf_put_str(&call->message, STR("the server is busy: too many calls wait for a worker"));
    loop_post(call->loop, &call->ended);
}

void lane_stop(LaneCall *call) {
    pthread_mutex_lock(&call->mutex);
    call->was_stopped = true;
    if (call->instance) host_stop(call->instance->host);
    pthread_mutex_unlock(&call->mutex);
}

void lane_cancel(LaneCall *call) {
    Session *s = call->session;
    pthread_mutex_lock(&call->mutex);
    call->cancelled = true;
    call->ask = ASK_NONE;
    if (call->instance) host_stop(call->instance->host);
    pthread_cond_broadcast(&call->changed);
    pthread_mutex_unlock(&call->mutex);
    lane_guard_shut(call);
    lane_overlay_free(call);
    if (call->lookout) lookout_free(&call->lookout);
    if (s->database->lanes) lane_leave(call);
    s->lane = NULL;
    call->session = NULL;
    lane_release(call);
}

// The calls that a reducer or procedure asked for run whatever becomes of it (§1.11).
static void queued_calls_take(Database *db, Buf *calls) {
    Reader r = reader_of(buf_bytes(calls));
    while (r.in.len) {
        Str name = bytes_str(reader_lp(&r));
        Bytes args = reader_lp(&r);
        if (reader_ok(&r)) lanes_schedule_now(db, name, args);
    }
    buf_clear(calls);
}

void lane_log_lines(LaneCall *call, bool count) {
    ASSERT(call->has_ended);
    if (count) modulelog_add_lines(call->session->database->log, buf_bytes(&call->logs));
    buf_clear(&call->logs);
}

// ── on the worker's thread ─────────────────────────────────────────────────────────────────────

typedef struct Run {
    LaneCall *call;
    bool taken, done;
    int64_t began_cpu_ns;
} Run;

static bool run_next(void *ctx, HostCall *out) {
    Run *run = ctx;
    if (run->taken) return false;
    run->taken = true;
    run->began_cpu_ns = thread_cpu_ns();
    *out = run->call->host;
    return true;
}

static void run_done(void *ctx, const HostCall *host, const HostOutcome *outcome) {
    Run *run = ctx;
    LaneCall *call = run->call;
    (void)host;
    run->done = true;
    call->status = outcome->status;
    call->elapsed_us = outcome->elapsed_us;
    call->used_us = (thread_cpu_ns() - run->began_cpu_ns) / 1000;
    buf_put_str(&call->message, outcome->message);
    buf_put_bytes(&call->returned, outcome->returned);
    buf_put_bytes(&call->body, outcome->body);
    if (!buf_ok(&call->returned) || !buf_ok(&call->body)) {
        call->status = HOST_FATAL;
        buf_put_str(&call->message, str_from(err_text(ERR_NOMEM)));
    }
}

// Tie the call to the instance so that lane_cancel can stop it. False: it was cancelled before.
static bool instance_attach(LaneCall *call, ModuleInstance *instance) {
    pthread_mutex_lock(&call->mutex);
    bool go = !call->cancelled;
    if (go) call->instance = instance;
    pthread_mutex_unlock(&call->mutex);
    instance->call = go ? call : NULL;
    return go;
}

// False: it was stopped, and the stop may not have been obeyed yet: it would hit the next call.
static bool instance_detach(LaneCall *call) {
    pthread_mutex_lock(&call->mutex);
    call->instance = NULL;
    bool unharmed = !call->cancelled && !call->was_stopped;
    pthread_mutex_unlock(&call->mutex);
    return unharmed;
}

static void call_run(LaneCall *call) {
    Diag diag = {0};
    ModuleInstance *instance = NULL;
    Run run = {.call = call};
    call->status = HOST_STOPPED;
    if (lane_is_cancelled(call)) return;
    if (instance_take(call->module, &instance, &diag) != OK) {
        call->status = HOST_FATAL;
        buf_printf(&call->message, "the module cannot be started: %s", diag.text);
        return;
    }
    bool unharmed = true;
    if (instance_attach(call, instance)) {
        host_run(instance->host, &(HostSource){.ctx = &run, .next = run_next, .done = run_done});
        unharmed = instance_detach(call);
        if (!run.done) {
            call->status = HOST_FATAL;
            buf_put_str(&call->message, STR("the module did not take the call"));
        }
    }
    instance_give(instance, unharmed && host_instance_ok(instance->host));
}

static void job_run(WorkerJob *job) {
    LaneCall *call = CONTAINER_OF(job, LaneCall, job);
    int64_t began_cpu_ns = thread_cpu_ns();
    if (call->work)
        call->work(call);
    else
        call_run(call);
    if (call->kind == LANE_REDUCER && call->status == HOST_OK) lane_validate(call);
    call->worker_ns = thread_cpu_ns() - began_cpu_ns;
    loop_post(call->loop, &call->ended);
}

// Most of the checking is done here, so that the loop has only the newest commits to look at. So are
// the changes, when they are many, and the reading: what the loop then changes is in memory.
void lane_validate(LaneCall *call) {
    pthread_mutex_lock(&call->guard.mutex);
    if (call->guard.inner && call->overlay) {
        call->stale = overlay_validate(call->overlay) == ERR_CONFLICT ||
                      overlay_prepare(call->overlay) == ERR_CONFLICT;
        if (!call->stale) overlay_touch(call->overlay);
    }
    pthread_mutex_unlock(&call->guard.mutex);
}

bool lane_is_cancelled(LaneCall *call) {
    pthread_mutex_lock(&call->mutex);
    bool cancelled = call->cancelled;
    pthread_mutex_unlock(&call->mutex);
    return cancelled;
}

bool lane_ask(LaneCall *call, LaneAsk ask) {
    pthread_mutex_lock(&call->mutex);
    bool go = !call->cancelled;
    if (go) {
        call->ask = ask;
        if (call->has_head) {
            pthread_cond_broadcast(&call->changed);  // the loop is waiting for exactly this
        } else if (!call->arrives) {  // the loop may have answered before it saw the task
            call->arrives = true;
            lane_retain(call);
            loop_post(call->loop, &call->arrived);
        }
    }
    while (go && call->ask != ASK_NONE) {
        pthread_cond_wait(&call->changed, &call->mutex);
    }
    go = go && !call->cancelled;
    pthread_mutex_unlock(&call->mutex);
    return go;
}

typedef struct LogTask {
    LoopTask task;
    LaneCall *call;
    Buf lines, queued_calls;
} LogTask;

static void log_task_run(LoopTask *task, NodeLoop *loop) {
    LogTask *self = CONTAINER_OF(task, LogTask, task);
    (void)loop;
    if (self->call->session) {
        Database *db = self->call->session->database;
        modulelog_add_lines(db->log, buf_bytes(&self->lines));
        modulelog_flush(db->log);
        queued_calls_take(db, &self->queued_calls);
    }
    lane_release(self->call);
    buf_deinit(&self->lines);
    buf_deinit(&self->queued_calls);
    mem_free(self);
}

void lane_log_flush(LaneCall *call) {
    LogTask *task = call->logs.len || call->queued_calls.len ? MEM_NEW(LogTask) : NULL;
    if (!task) return;  // they go out when the call ends
    task->task.run = log_task_run;
    task->call = call;
    task->lines = call->logs;
    task->queued_calls = call->queued_calls;
    call->logs = call->queued_calls = (Buf){0};
    lane_retain(call);
    loop_post(call->loop, &task->task);
}

// ── on the loop's thread ───────────────────────────────────────────────────────────────────────

static void arrived_run(LoopTask *task, NodeLoop *loop) {
    LaneCall *call = CONTAINER_OF(task, LaneCall, arrived);
    (void)loop;
    pthread_mutex_lock(&call->mutex);
    call->arrives = false;
    pthread_mutex_unlock(&call->mutex);
    if (call->session) session_ready(call->session);
    lane_release(call);
}

static void ended_run(LoopTask *task, NodeLoop *loop) {
    LaneCall *call = CONTAINER_OF(task, LaneCall, ended);
    call->has_ended = true;
    if (call->session) {
        Database *db = call->session->database;
        const Io *io = loop->node->io;
        fair_worked(&db->fair,
                    &call->session->fair,
                    call->worker_ns,
                    io->clock_monotonic_ns(io->world));
        queued_calls_take(db, &call->queued_calls);
        session_ready(call->session);
    }
    lane_release(call);
}

LaneAsk lane_asked(LaneCall *call) {
    pthread_mutex_lock(&call->mutex);
    LaneAsk ask = call->ask;
    pthread_mutex_unlock(&call->mutex);
    return ask;
}

void lane_answer(LaneCall *call, AbiErrno answer) {
    pthread_mutex_lock(&call->mutex);
    call->answer = answer;
    call->ask = ASK_NONE;
    pthread_cond_broadcast(&call->changed);
    pthread_mutex_unlock(&call->mutex);
}

Err lane_on_loop(LaneCall *call, Err (*run)(void *arg), void *arg) {
    call->task.run = run;
    call->task.arg = arg;
    return lane_ask(call, ASK_RUN) ? call->task.err : ERR_CLOSED;
}

void lane_serve_run(LaneCall *call) {
    call->task.err = call->task.run(call->task.arg);
    lane_answer(call, ABI_OK);
}

static Err ask_run(void *ctx, Err (*run)(void *arg), void *arg) {
    return lane_on_loop(ctx, run, arg);
}

typedef struct Reserve {
    const LaneCall *call;
    uint32_t table, sequence, count;
    Int128 *first;
} Reserve;

static Err reserve_run(void *arg) {
    const Reserve *r = arg;
    Db *db = r->call->session->database->db;
    return db_sequence_reserve(db, r->table, r->sequence, r->count, r->first);
}

static Err ask_reserve(void *ctx,
                       uint32_t table,
                       uint32_t sequence,
                       uint32_t count,
                       Int128 *first) {
    Reserve reserve = {ctx, table, sequence, count, first};
    return ask_run(ctx, reserve_run, &reserve);
}

bool lane_is_stopped(LaneCall *call) {
    return atomic_load_explicit(&call->guard.shutting, memory_order_relaxed) ||
           lane_is_cancelled(call);
}

static bool is_stopped(void *ctx) {
    return lane_is_stopped(ctx);
}

OverlayEnv lane_overlay_env(LaneCall *call) {
    return (OverlayEnv){
        .ctx = call,
        .reserve = ask_reserve,
        .prepare = {.ctx = call, .on_loop = ask_run, .is_stopped = is_stopped, .made = tell_make},
        .memory_max = (size_t)call->session->database->settings.transaction_max};
}

Err lane_apply(LaneCall *call, Diag *diag) {
    Database *db = call->session->database;
    Err err = call->stale ? ERR_CONFLICT : overlay_apply(call->overlay, diag);
    if (err == OK) {
        ASSERT(!db->tell);
        db->tell = call->tell;
        call->tell = NULL;
    }
    lane_overlay_free(call);
    return err;
}

void lane_overlay_free(LaneCall *call) {
    if (call->tell) tell_over(&call->tell, call->session->database);
    if (call->overlay) overlay_free(&call->overlay);
}
