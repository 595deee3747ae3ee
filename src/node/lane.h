// lane.h: calls that run away from the loop: reducers that outlived their slice, procedures, HTTP
// handlers. DESIGN §3 "Two lanes".
//
// PICTURE
//   loop                                              worker (worker.h)
//   ────                                              ─────────────────
//   lane_enter ─ queue of the database ─ lane_launch ──> an instance of the module, host_run
//                                                           │ lane_ask: begin, commit, values …
//   session's step <── arrived ─────────────────────────────┤     waits for lane_answer
//   session's step <── ended ───────────────────────────────┘
//
//   A lane call belongs to a session: the client whose reducer it is, or an agent made for one
//   procedure. Whatever the worker wants of the database becomes a step of that session, so it
//   happens in the database's own turn, between transactions, and in the order of the ready ring.
//
// ALWAYS TRUE
//   (1) A worker reaches a database's data only through the call's guard. lane_cancel shuts it, and
//       from then on no worker touches anything of the database; it may still be busy inside the
//       module, with an instance and a program that it holds itself.
//   (2) The loop never waits for a worker, but for the one that has the head to itself for a bounded
//       time (procedure.c), and then that hurries (os/background.h). A worker waits for the loop only
//       in lane_ask, which lane_cancel ends.
//   (3) What a try of a call logged is kept with the call until somebody decides that it counts.
//
//   instance.c     the program and running copies of it
//   lane.c         queues; a call's life, asking and answering
//   lane_guard.c   the guard
//   slow.c         reducers: slices, overlays, retries
//   sqlwrite.c     statements that write many rows
//   procedure.c    procedures and HTTP handlers and their transactions
#pragma once
#include "node/instance.h"
#include "node/session.h"
#include "node/tell.h"
#include "node/worker.h"
#include "txn/lookout.h"
#include "txn/overlay.h"

typedef struct Lanes Lanes;  // of one database

typedef enum LaneKind { LANE_REDUCER, LANE_PROCEDURE, LANE_VIEW, LANE_KINDS } LaneKind;

// ASK_RUN: a short piece of work that is the loop's, between transactions (lane_run).
typedef enum LaneAsk { ASK_NONE, ASK_BEGIN, ASK_COMMIT, ASK_ABORT, ASK_RUN } LaneAsk;

// An Access that can be shut while somebody holds it.
typedef struct LaneGuard {
    Access access;
    pthread_mutex_t mutex;  // held during every operation
    Access *inner;          // NULL: shut
    atomic_bool shutting;   // a scan in progress is to stop
    Buf jwt;                // handed out last
} LaneGuard;

struct LaneCall {
    WorkerJob job;
    LoopTask arrived, ended;
    atomic_uint refs;
    void (*destroy)(LaneCall *call);  // frees what surrounds it, and it
    // On the worker: what runs instead of the module (sqlwrite.h). Sets `status`. NULL: the module.
    void (*work)(LaneCall *call);
    NodeLoop *loop;
    LaneModule *module;

    // The loop's thread only.
    LaneKind kind;
    Session *session;  // NULL once cancelled
    LaneCall *next;    // in the lane's queue
    bool is_queued, is_active, may_launch, has_ended;
    Overlay *overlay;
    Tell *tell;        // of what the overlay will be committed as; NULL: nothing
    Lookout *lookout;  // of a view

    // Before the launch the loop's, then the worker's, from `ended` on the loop's again.
    HostCall host;
    Buf args, request_body;
    HostStatus status;
    Buf message, returned, body;
    int64_t elapsed_us;
    int64_t used_us;    // processor time, which says how long it is: a worker is often set aside
    int64_t worker_ns;  // processor time of all that the worker did for it
    bool stale;         // it was found out of date already
    Buf logs;           // lines
    Buf queued_calls;   // §1.11: name and arguments, each with its length
    LaneGuard guard;

    // Both, under `mutex`.
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool cancelled, was_stopped;
    ModuleInstance *instance;  // while it runs
    LaneAsk ask;               // not answered yet
    bool arrives;              // `arrived` is posted
    bool has_head;             // the loop waits for it: procedure.c
    AbiErrno answer;
    struct {
        Err (*run)(void *arg);
        void *arg;
        Err err;
    } task;
};

// ── of a database ──────────────────────────────────────────────────────────────────────────────

MUST_USE Err lanes_new(Database *database, Lanes **out);
void lanes_free(Lanes **lanes);  // after its sessions
// Calls run a module's program; it lives until the last worker that runs it is done. Takes *program
// on OK. lanes_module_set makes it the one that calls are for from now on.
MUST_USE Err lanes_module_new(Lanes *lanes, HostProgram **program, LaneModule **out);
void lanes_module_free(LaneModule **module);  // of one that was not set
HostProgram *lanes_program(const LaneModule *module);
HostProgram *lanes_module_set(Lanes *lanes, LaneModule **module);  // gives its program
// No worker touches the database any more. Reducers start again by themselves afterwards, procedures
// have ended with an error that says `why`.
void lanes_interrupt(Database *database, const char *why);
// The step of a session that has something away from the loop. False: it has not, or may go on.
bool lanes_step(Session *session, HostCall *call, bool *more, bool *begun);
// A session is about to be freed.
void lanes_session_gone(Session *session);
// Queue a call that asks to be run outside any transaction (§1.11).
void lanes_schedule_now(Database *database, Str function, Bytes args);
bool lanes_take_scheduled(Database *database, Buf *name, Buf *args);  // false: none waits

LaneModule *lanes_module(const Database *database);  // NULL in a trial
SlowHistory *lanes_history(const Database *database, const FunctionDef *reducer);

// Limits may be wider now; instances made from now on have the new heap limit.
void lanes_settings_changed(Database *database);

typedef struct LaneStats {
    uint64_t active, queued;
} LaneStats;
LaneStats lanes_stats(const Database *database, LaneKind kind);

// ── one call ───────────────────────────────────────────────────────────────────────────────────

// Prepare a zeroed call for a session; copies `host` with its arguments. refs is 1, the session's.
MUST_USE Err lane_call_init(LaneCall *call, LaneKind kind, Session *session, const HostCall *host);
void lane_call_deinit(LaneCall *call);
void lane_retain(LaneCall *call);
void lane_release(LaneCall *call);
// Queue it; its session is made ready when it may be launched. ERR_LIMIT: too many wait.
MUST_USE Err lane_enter(LaneCall *call, bool even_if_full);
// Run it on a worker. Its session is made ready when it has ended.
void lane_launch(LaneCall *call);
void lane_leave(LaneCall *call);   // its place goes to the next that waits
void lane_stop(LaneCall *call);    // end the module's run as soon as it can be ended
void lane_cancel(LaneCall *call);  // (1); drops the session's reference
// What it logged counts, or is forgotten. Once it has ended.
void lane_log_lines(LaneCall *call, bool count);

// On the worker's thread. False: the call was cancelled. Otherwise it was answered.
bool lane_ask(LaneCall *call, LaneAsk ask);
bool lane_is_cancelled(LaneCall *call);
void lane_validate(LaneCall *call);   // sets `stale`
void lane_log_flush(LaneCall *call);  // what it logged counts already, and is shown
// On the loop's thread.
LaneAsk lane_asked(LaneCall *call);
void lane_answer(LaneCall *call, AbiErrno answer);
void lane_serve_run(LaneCall *call);
// On the worker's thread: run it on the loop's, and wait for it. ERR_CLOSED: the call was cancelled.
MUST_USE Err lane_on_loop(LaneCall *call, Err (*run)(void *arg), void *arg);
bool lane_is_stopped(LaneCall *call);  // on the worker's thread: somebody waits for it to stop
// Apply its overlay (overlay_apply), which is gone then. OK: the transaction is open.
MUST_USE Err lane_apply(LaneCall *call, Diag *diag);
void lane_overlay_free(LaneCall *call);  // harmless if it has none

OverlayEnv lane_overlay_env(LaneCall *call);
void lane_guard_open(LaneCall *call, Access *inner);
void lane_guard_shut(LaneCall *call);  // returns when no operation is in progress

// ── slow.c ─────────────────────────────────────────────────────────────────────────────────────

int64_t slow_budget(Session *session);  // of a call on the loop, microseconds
// A call is about to be run on the loop. True: it runs in the slow lane instead, because calls of
// this reducer have been slow; its transaction was rolled back.
bool slow_divert(Session *session, const HostCall *call);
// A call on the loop is over. True: it used up its slice and goes on in the slow lane.
bool slow_intercept(Session *session, const HostCall *call, const HostOutcome *outcome);
// The step of a session whose call is in the slow lane. True: a call was begun on the loop.
bool slow_step(Session *session, HostCall *call, bool *more);
void slow_interrupt(Session *session);  // the module is about to change: it begins again after that
bool slow_redo(Session *session, HostCall *call);
bool slow_is_over(const Session *session);  // it was made for one call, and that has ended

// ── procedure.c ────────────────────────────────────────────────────────────────────────────────

typedef struct Procedure Procedure;
// May this client know that there is such a procedure?
bool procedure_visible(const Session *client, const FunctionDef *function);
void procedure_call_ws(Session *client, const ClientMessage *message);
// The client is an HTTP session; it is answered when the procedure has ended. `args` are checked.
void procedure_call_http(Session *client, const FunctionDef *function, Bytes args);
// A row of a scheduled table is due. False: its function is not a procedure.
bool procedure_fire(Database *database,
                    const ScheduleEntry *entry,
                    const CatalogTable *table,
                    Bytes row);
// An HTTP handler; `conn` is answered when it has ended.
void procedure_serve(Database *database,
                     uint32_t handler,
                     Str name,
                     Bytes request,
                     Bytes body,
                     NetConn *conn);
void procedure_step(Session *agent);
void procedure_deliver(Session *agent);  // after the sync
void procedure_interrupt(Session *agent, const char *why);
void procedure_client_gone(Session *client);

// ── viewlane.c ─────────────────────────────────────────────────────────────────────────────────

// Between transactions: begin to run what is late (view.h).
void viewlane_launch(Database *database);
void viewlane_step(Session *session);
void viewlane_interrupt(Session *session);
