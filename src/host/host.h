// host.h: running modules. One ABI, written once over txn/access.h; engines under it.
//
// PICTURE
//   program bytes ── host_program_load ──> HostProgram ── host_instance_new ──> HostInstance
//                    (checked, ModuleDef)                  (its own globals, one thread at a time)
//
//   host_run(instance, source): the engine is entered once and works through all calls the source
//   has, so that the cost of entering it (locks, watchdog) is paid once a turn, not once a call:
//
//       next() begins a transaction, names the call  ─> module code, host calls on its Access
//       done() is told the outcome: commits or rolls back, answers
//
// A trap, an exception, a full memory or a deadline ends the call, never the process. Spec:
// module-abi §2 (JavaScript), §5 (semantics).
#pragma once
#include "schema/def.h"
#include "txn/access.h"

typedef enum HostKind { HOST_WASM = 0, HOST_JS = 1 } HostKind;  // st_module.program_kind

typedef struct HostProgram HostProgram;
typedef struct HostInstance HostInstance;

// One line of a module's log (§1.10). Text is borrowed during the call; ptr NULL is "absent".
typedef struct HostLogRecord {
    int level;  // 0 error, 1 warn, 2 info, 3 debug, 4 trace, 101 panic
    Micros ts;
    Str target, filename, function, message;
    uint32_t line;      // UINT32_MAX: absent
    const Str *frames;  // of a panic, innermost first: function names
    uint32_t frame_count;
} HostLogRecord;

// What instances of a program need from the world. Copied; ctx must outlive the instances.
typedef struct HostEnv {
    void *ctx;
    Identity database;
    void (*log)(void *ctx, const HostLogRecord *record);
    Micros (*now)(void *ctx);
    // §1.11: queue a reducer call outside the transaction. May be NULL.
    void (*schedule_now)(void *ctx, Str function, Bytes args);
    size_t memory_max;  // heap limit of one instance; 0: 1 GiB
} HostEnv;

typedef enum HostCallKind {
    HOST_REDUCER,
    HOST_VIEW,
    HOST_VIEW_ANON,
    HOST_PROCEDURE,
    HOST_HTTP
} HostCallKind;

typedef struct HostCall {
    HostCallKind kind;
    uint32_t id;
    Str name;  // canonical, for logs
    Identity sender;
    ConnectionId connection;  // zero: none
    Micros timestamp;
    Bytes args;         // BSATN; must stay valid until done()
    Access *access;     // this call's data
    int64_t budget_us;  // stop the call after this much time; 0: never
} HostCall;

typedef enum HostStatus {
    HOST_OK,
    HOST_USER_ERROR,  // SenderError: message is the module's
    HOST_FATAL,       // uncaught exception or trap; message is for the log
    HOST_DEADLINE,    // the budget was used up
} HostStatus;

typedef struct HostOutcome {
    HostStatus status;
    Str message;     // valid during done()
    Bytes returned;  // of views and procedures; valid during done()
    int64_t elapsed_us;
} HostOutcome;

typedef struct HostSource {
    void *ctx;
    bool (*next)(void *ctx, HostCall *call);  // false: nothing left, host_run returns
    void (*done)(void *ctx, const HostCall *call, const HostOutcome *outcome);
} HostSource;

// Check a program, run it once as far as its description, and decode that. Slow (an engine is
// started); may run on any thread. On refusal diag says why, with the exception and its stack.
//   ERR_UNSUPPORTED  the kind of program has no engine here
//   ERR_INVALID      it does not compile, run or describe itself validly
MUST_USE Err host_program_load(HostKind kind, Bytes program, HostProgram **out, Diag *diag);
void host_program_free(HostProgram **program);  // after its instances
const ModuleDef *host_program_def(const HostProgram *program);

// A running copy of the module. Made on any thread, then used by one at a time.
MUST_USE Err host_instance_new(HostProgram *program,
                               const HostEnv *env,
                               HostInstance **out,
                               Diag *diag);
void host_instance_free(HostInstance **instance);
// False after something that leaves the instance unusable (heap exhausted): replace it.
bool host_instance_ok(const HostInstance *instance);
void host_run(HostInstance *instance, const HostSource *source);
// The engine's idle work (garbage collection), when the loop has nothing better to do.
void host_idle(HostInstance *instance);
