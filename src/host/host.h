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
    // Tables and indexes with smaller ids are the server's own: modules may only read them.
    uint32_t first_writable_id;
} HostEnv;

// What a procedure or an HTTP handler can do beside working on data (§1.12). Each is called on the
// thread that runs the instance and may block it; that time is not counted against the call.
typedef struct HostProcedureOps {
    // Begin a transaction: its data and its timestamp. The caller keeps to one at a time.
    AbiErrno (*tx_begin)(void *ctx, Access **access, Micros *timestamp);
    // The transaction is over either way. ABI_HOST_CALL_FAILURE: it conflicted with others and was
    // undone (libraries run their body once more); ABI_FATAL: the call is lost.
    AbiErrno (*tx_commit)(void *ctx);
    void (*tx_abort)(void *ctx);
    // `request` is a BSATN Request. ABI_OK: a BSATN Response is appended to *response and its body
    // to *body_out; ABI_HTTP_ERROR: the reason, as text, to *response; ABI_BSATN_DECODE_ERROR.
    AbiErrno (*http)(void *ctx, Bytes request, Bytes body, Buf *response, Buf *body_out);
    Micros (*sleep_until)(void *ctx, Micros wake);  // returns the time then
} HostProcedureOps;

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
    Bytes args;         // BSATN (of HTTP: the Request); must stay valid until done()
    Bytes body;         // of HTTP: the request's body
    Access *access;     // this call's data; NULL of procedures and HTTP handlers
    int64_t budget_us;  // stop the call after this much time; 0: never
    // Outcome.elapsed_us is wanted to the microsecond, for the price of two looks at the clock. Else it
    // may be short by up to HOST_TICK_US: 0 of a call that took less.
    bool is_timed;
    const HostProcedureOps *procedure;  // of procedures and HTTP handlers; else NULL
    void *procedure_ctx;
} HostCall;

#define HOST_TICK_US 1000

typedef enum HostStatus {
    HOST_OK,
    HOST_USER_ERROR,  // SenderError: message is the module's
    HOST_FATAL,       // uncaught exception or trap; message is for the log
    HOST_DEADLINE,    // the budget was used up
    HOST_STOPPED,     // host_stop
} HostStatus;

typedef struct HostOutcome {
    HostStatus status;
    Str message;  // valid during done()
    // Valid during done(). A procedure's return value; a view's result, always with its header
    // (§1.13: 0 and an array of rows, or 1 and SQL text); an HTTP handler's Response.
    Bytes returned;
    Bytes body;  // of an HTTP handler's answer
    int64_t elapsed_us;
} HostOutcome;

typedef struct HostSource {
    void *ctx;
    bool (*next)(void *ctx, HostCall *call);  // false: nothing left, host_run returns
    void (*done)(void *ctx, const HostCall *call, const HostOutcome *outcome);
} HostSource;

typedef struct HostLoadOptions {
    // Where wasm modules are compiled and kept, by program hash; made when missing. NULL: a temporary
    // directory, nothing is kept.
    const char *cache_dir;
    // Only its description is wanted: compile as quickly as possible.
    bool describe_only;
} HostLoadOptions;

// Check a program, run it once as far as its description, and decode that. Slow (an engine is
// started); may run on any thread. On refusal diag says why, with the exception and its stack.
//   ERR_UNSUPPORTED  the kind of program has no engine here
//   ERR_INVALID      it does not compile, run or describe itself validly
MUST_USE Err host_program_load(HostKind kind,
                               Bytes program,
                               const HostLoadOptions *options,
                               HostProgram **out,
                               Diag *diag);
// When a server starts, on an ordinary thread: begins the thread that ends calls in time. Without this whoever
// makes the first instance does, and a worker in the background would have it in the background too.
void host_begin(void);
// When a server starts, before it loads anything: away with what a crash has left in its cache, and
// with what nobody has used for a month.
void host_cache_clean(const char *cache_dir);
void host_program_free(HostProgram **program);  // after its instances
const ModuleDef *host_program_def(const HostProgram *program);

// A running copy of the module. Made on any thread, then used by one at a time.
MUST_USE Err host_instance_new(HostProgram *program,
                               const HostEnv *env,
                               HostInstance **out,
                               Diag *diag);
void host_instance_free(HostInstance **instance);
// False after something that leaves the instance unusable: its heap is exhausted, or a call was torn
// out of it (deadline, stop, trap) and may have left things half done for good. Replace it.
bool host_instance_ok(const HostInstance *instance);
// Making one is a matter of microseconds.
bool host_instances_are_cheap(const HostProgram *program);
// Returns early when the instance is not ok any more; the source then has more.
void host_run(HostInstance *instance, const HostSource *source);
// End the running call with HOST_STOPPED as soon as it can be ended, or the next one if none runs.
// The one function that may be called from another thread; the instance must not be freed meanwhile.
void host_stop(HostInstance *instance);
// The engine's idle work (garbage collection), when the loop has nothing better to do.
void host_idle(HostInstance *instance);
