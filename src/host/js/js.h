// js.h: one JavaScriptCore virtual machine with a module in it. Private to host/js.
//
//   program.c    a bundle becomes a script; what it exports and says of itself
//   instance.c   the virtual machine: made, entered, left, watched, freed; the driver of calls
//   terminate.c  ends a running script from another thread
//   syscalls.c   what trap(), text() and native() of prelude.js do
//   bundle.c     ES module text to script text
//   sourcemap.c  from a place in the bundle to the file it was made from
#pragma once
#include <JavaScriptCore/JavaScript.h>
#include <pthread.h>
#include <stdatomic.h>

#include "host/abi.h"
#include "host/engine.h"
#include "host/js/sourcemap.h"
#include "host/watch.h"

// Exported by the library, declared in no public header. `may_end` runs on the VM's own thread when
// about `seconds` of its CPU time have gone by since it was entered; false: go on, ask again.
void JSContextGroupSetExecutionTimeLimit(JSContextGroupRef group,
                                         double seconds,
                                         bool (*may_end)(JSContextRef ctx, void *context),
                                         void *context);
int jsc_options_set_boolean(const char *option, int value);  // of the library's GLib interface
void JSVMDelayMicrotasks(const void **vm)  // of its C++ interface; NULL when there is none
    __asm__("_ZN3JSC2VM24DrainMicrotaskDelayScope9incrementEv") __attribute__((weak));
// `collected` runs at the end of every garbage collection, on the thread that is in the VM.
void JSContextGroupAddHeapFinalizer(JSContextGroupRef group,
                                    void (*collected)(JSContextGroupRef group, void *context),
                                    void *context);
void JSContextGroupRemoveHeapFinalizer(JSContextGroupRef group,
                                       void (*collected)(JSContextGroupRef group, void *context),
                                       void *context);
unsigned jsc_get_major_version(void);  // of the GLib interface
unsigned jsc_get_minor_version(void);
void JSLock(JSContextRef ctx);
void JSUnlock(JSContextRef ctx);
JSObjectRef JSGetMemoryUsageStatistics(JSContextRef ctx);
void JSSynchronousGarbageCollectForDebugging(JSContextRef ctx);

// The mailbox, as prelude.js has it. u32 slots …
enum {
    MAIL_OP = 0,
    MAIL_STATUS = 1,
    MAIL_A0 = 2,
    MAIL_A1 = 3,
    MAIL_A2 = 4,
    MAIL_A3 = 5,
    MAIL_A4 = 6,
    MAIL_RESULT = 10,
    MAIL_PENDING = 11,
    MAIL_CONSUMED = 12,
    MAIL_KIND = 16,
    MAIL_ID = 17,
    MAIL_SENDER = 18,
    MAIL_SENDER_NEW = 19,
    MAIL_CONN = 20,
    MAIL_CONN_NEW = 21,
    MAIL_ARGS_LEN = 22,
    MAIL_SLOTS = 32,
};
// … and u64 slots.
enum {
    MAIL64_TIME = 0,
    MAIL64_SENDER = 1,
    MAIL64_CONN = 5,
    MAIL64_RESULT = 7,
    MAIL64_DATABASE = 8,
    MAIL64_ARG = 12,
    MAIL64_SLOTS = 16,
};
enum {  // values of MAIL_STATUS beside the errnos
    STATUS_INIT = 0xfffe,
    STATUS_FATAL = ABI_FATAL,
};
#define MAIL_NO_PENDING UINT32_MAX

enum { JS_TEXT_KEEP_BYTES = 1 << 20 };
enum { JS_SLOTS = 1024, JS_SCAN_BYTES = 65536, JS_ARGS_BYTES = 4096, JS_IO_BYTES = 65536 };

// What the virtual machine is doing, for those who end it.
typedef enum JsPhase {
    JS_IDLE,     // not entered
    JS_LOADING,  // evaluating the module, up to its description
    JS_BETWEEN,  // in the driver, no call runs
    JS_CALLING,  // a call runs
} JsPhase;

typedef enum JsEnd { JS_NOT_ENDED, JS_END_DEADLINE, JS_END_MEMORY, JS_END_STOPPED } JsEnd;

// Memory that JavaScript sees as an ArrayBuffer. Protected and pinned: it neither moves nor goes
// away before the instance, whatever the module does with the object.
typedef struct JsBlock {
    JSObjectRef buffer;
    uint8_t *bytes;
    size_t len;
} JsBlock;

typedef struct JsProgram {
    HostProgram base;
    JSStringRef script;        // shared by instances of any thread
    pthread_mutex_t map_lock;  // of the next two
    Buf map_text;              // base64; empty when there is none, or when it has been read
    SourceMap *map;
} JsProgram;

typedef struct JsInstance {
    HostInstance base;
    JsProgram *program;
    HostEnv env;
    Abi abi;
    JSContextGroupRef group;
    JSGlobalContextRef ctx;
    JSValueRef undefined;
    JSObjectRef load, run, explain;  // of prelude.js; protected

    JsBlock words, words64, scan, args, io;
    uint32_t *mail;  // words.bytes

    JsPhase phase;
    uint64_t phase_end_ns;    // monotonic; 0: no limit
    int64_t load_end_cpu_ns;  // while it loads: of its thread's processor time
    double period_s;          // how often the watchdog looks, usually
    double armed_s;           // what the library was told last
    HostWatch watch;          // ends calls that take too long, where the library can be asked to
    bool terminated;          // it was asked to and may not have obeyed yet
    bool looks_often;         // the running call takes long and makes garbage
    JsEnd end;                // why it ended the running call
    bool ok;

    const HostSource *source;
    HostCall call;
    uint64_t call_started_ns;
    bool call_running;
    uint32_t calls;             // of this batch
    uint32_t calls_since_look;  // at the heap
    uint64_t looked_ns;         // between calls; monotonic

    Buf text;                     // of the last text() or native()
    Buf message;                  // of the exception that ended the call
    Buf stack;                    // its stack, as the engine writes it
    Buf generated;                // columns
    Buf response, response_body;  // of the last request

    Identity senders[JS_SLOTS];  // whose bigint prelude.js has in this slot
    bool sender_known[JS_SLOTS];
    ConnectionId connections[JS_SLOTS];
    bool connection_known[JS_SLOTS];
} JsInstance;

// program.c
Err js_program_load(Bytes program,
                    const HostLoadOptions *options,
                    HostProgram **out,
                    Buf *description,
                    Diag *diag);
void js_program_unload(HostProgram *program);
JSStringRef js_string(Bytes utf8);  // NULL when out of memory; JSStringRelease

// instance.c
// Runs the module up to its hooks and, if `description` is not NULL, appends its description.
Err js_instance_make(JsProgram *program,
                     const HostEnv *env,
                     Buf *description,
                     JsInstance **out,
                     Diag *diag);
extern int js_load_ms;  // processor time for that; tests shorten it
void js_instance_free(HostInstance *instance);
JsInstance *js_instance_current(void);  // the one this thread has entered
// Replace `block` by one of at least `len` bytes (contents are lost). False: as it was.
bool js_block_make(JsInstance *js, JsBlock *block, size_t len);
void js_watch_call(JsInstance *js, int64_t budget_us);  // the call's time begins …
bool js_watch_end(JsInstance *js);    // … and ends; true: a termination was asked for
void js_watch_pause(JsInstance *js);  // while a procedure waits
void js_watch_resume(JsInstance *js, uint64_t waited_ns);
// End the running call from inside: no code of the module runs any more. False: that is not possible
// here.
bool js_call_abandon(JsInstance *js);

// terminate.c
bool js_terminate_init(void);  // once; false: the library is not known well enough
// Have the script that runs in `group`, or the next one, end with an exception that it cannot catch.
// From any thread, while the group exists.
void js_terminate(JSContextGroupRef group);
void js_terminate_clear(JSContextGroupRef group);  // take that back; on the thread that is in it

// direct.c
typedef int64_t (*JsDirect)(JSContextRef global, void *frame);  // returns the word of a JSValueRef
void js_direct_init(void);                                      // once
// A function without parameters that is called with the lock held. NULL: not with this library.
JSObjectRef js_direct_function(JsInstance *js, JsDirect function);

// syscalls.c
void js_step(JsInstance *js);  // the driver's: end the last call, begin the next
void js_call_end(JsInstance *js, HostStatus status, Bytes returned);
JSValueRef js_trap(JSContextRef ctx,
                   JSObjectRef function,
                   JSObjectRef this_object,
                   size_t argc,
                   const JSValueRef argv[],
                   JSValueRef *exception);
int64_t js_trap_direct(JSContextRef global, void *frame);  // the same, if it can be had
JSValueRef js_text(JSContextRef ctx,
                   JSObjectRef function,
                   JSObjectRef this_object,
                   size_t argc,
                   const JSValueRef argv[],
                   JSValueRef *exception);
JSValueRef js_native(JSContextRef ctx,
                     JSObjectRef function,
                     JSObjectRef this_object,
                     size_t argc,
                     const JSValueRef argv[],
                     JSValueRef *exception);

// stack.c
// One line of the engine's `stack` property. False for lines that are not the module's own code.
typedef struct JsFrame {
    Str function, file;
    uint32_t line, column;
} JsFrame;
#define JS_MODULE_FILE  "spacetimedb_module"
#define JS_PRELUDE_FILE "lightcone"
bool js_stack_next(Str *stack, JsFrame *frame);
// program.c: replace the place in the bundle by the one it was made from, where that is known. Valid
// as long as the program.
void js_frame_map(JsProgram *program, JsFrame *frame);
