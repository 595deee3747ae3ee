// instance.h: running copies of a database's module: the one the loop uses, those of workers, and
// one in reserve.
//
// PICTURE
//                         ┌ in use by the loop ── torn ──> buried by a worker
//   LaneModule (program) ─┼ in reserve ──────────────────> the loop's, within microseconds
//     counted: whoever    │     ^ made by a worker, whenever there is none
//     runs it holds it    └ idle ones of workers
//
// An instance that a call was torn out of (by its slice, its deadline, a stop) is not used again
// (host.h). Making another costs tens of milliseconds in JavaScript and freeing one some; no loop
// spends them as long as a worker can. Those workers are the node's `makers`: a loop may be waiting
// for them, so they do not stand in line behind slow calls. Where an instance costs microseconds there
// is no reserve.
//
// ALWAYS TRUE
//   (1) An instance belongs to one thread at a time. It says where its log lines go: to the call of a
//       worker, or to the database whose loop uses it; to nobody while it is made for the reserve,
//       because the first instance has said the same.
//   (2) At most one worker at a time makes or buries for one module.
#pragma once
#include "node/database.h"
#include "node/worker.h"

typedef struct LaneCall LaneCall;
typedef struct LaneModule LaneModule;

// How long the last calls of a reducer took, whichever lane they ran in.
typedef struct SlowHistory {
    uint8_t overran;          // a bit a call, the newest lowest: it needed more than the slice
    uint8_t crowded_overran;  // the same, it needed more than the slice of a crowd
    uint8_t slow_in_a_row;    // calls that began in the slow lane since one was tried on the loop
    uint8_t cold_stops;       // even the longer slice of a cold call was not enough
    int64_t slow_us;          // the last call in the slow lane
    Bucket bucket;            // of Settings.reducer_rate
} SlowHistory;

typedef struct ModuleInstance {
    struct ModuleInstance *next;
    LaneModule *module;  // NULL in a trial
    HostInstance *host;
    const Node *node;
    LaneCall *call;      // that a worker runs on it
    Database *database;  // whose loop uses it
    size_t heap_max;     // its limit
    bool is_used;        // a call ran in it
    uint8_t runs[];      // a reducer: how often it ran to its end in here, up to a few
} ModuleInstance;

// ── modules ────────────────────────────────────────────────────────────────────────────────────

// Takes *program on OK.
MUST_USE Err module_new(const Database *database, HostProgram **program, LaneModule **out);
void module_retain(LaneModule *module);
void module_release(LaneModule *module);
void module_heap_max(LaneModule *module, size_t bytes);  // of instances from now on
void module_retire(LaneModule *module);  // releases it, and keeps no idle instance of it any more
HostProgram *module_program(const LaneModule *module);
SlowHistory *module_history(LaneModule *module, const FunctionDef *reducer);  // the loop's

// ── instances ──────────────────────────────────────────────────────────────────────────────────

// Make one for the loop of `database`, here and now. `module` NULL: a trial of `program`.
MUST_USE Err instance_new(Database *database,
                          LaneModule *module,
                          HostProgram *program,
                          ModuleInstance **out,
                          Diag *diag);
void instance_free(ModuleInstance **instance);
uint8_t *instance_runs(ModuleInstance *instance, const FunctionDef *reducer);

// For a call, on a worker's thread; made if there is no idle one.
MUST_USE Err instance_take(LaneModule *module, ModuleInstance **out, Diag *diag);
void instance_give(ModuleInstance *instance, bool reuse);

// ── the reserve; on the loop's thread ──────────────────────────────────────────────────────────

// See to it that there is one, or will be. The loop is woken when it has been made.
void reserve_want(LaneModule *module, NodeLoop *loop);
ModuleInstance *reserve_take(LaneModule *module, Database *database);  // NULL: there is none
// Have a worker free it.
void reserve_bury(ModuleInstance **instance, NodeLoop *loop);

typedef enum ReserveState {
    RESERVE_NONE,    // and none is being made: the last attempt failed, or no worker can be had
    RESERVE_QUEUED,  // no worker has begun
    RESERVE_MAKING,
    RESERVE_READY,
} ReserveState;
ReserveState reserve_state(LaneModule *module);
