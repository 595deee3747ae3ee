// instance.c: a virtual machine with a module in it, and the driver that runs its calls.
//
// PICTURE
//   js_run: lock ─> enter the VM once ─> run() of prelude.js: step, call, step, call, …, step
//             a call over its time ends run() too: its outcome is told, and that was all (3)
//           unlock
//
// ALWAYS TRUE
//   (1) The watchdog ends only what has a limit: loading and calls. The driver itself and our own
//       functions are never cut in half.
//   (2) Promise jobs never run (§2.3), not even when the VM is freed. Nor can they be thrown away
//       between calls: the library empties its queue without running it only for a VM that was
//       forbidden, for good, to run anything, and otherwise runs it as soon as nobody delays it. What
//       a module queues therefore stays until its instance goes; a module that does so in every call
//       comes to the memory limit in the end, and its instance is replaced.
//   (3) An instance that a call was torn out of is not used again: module code was cut somewhere, and
//       what it was about to finish (libraries build things at first use) would be broken for good.
//
// SLICES    A call is ended by the watch (watch.h): its thread asks the VM to terminate
//           (terminate.c) when, and only when, a call has used up its time. So a budget of 2 ms costs
//           a call that ends in time as little as one of 10 s: one exchange and one comparison.
// WATCHDOG  The library's own, for memory, for loading, and for calls where it is a version that
//           terminate.c does not know. Each look costs: whatever compiled code is on the stack when
//           its timer fires is thrown away. Looking every 10 ms, a busy module's hot code ran half
//           optimised, and a second core did nothing but compile it again. So it looks seldom. Its
//           timers must also stay apart: two that fire within a microsecond can meet an assertion of
//           the library (2.50).
// MEMORY    JavaScriptCore has no limit of its own. The watchdog looks at the heap's size, often as
//           soon as a call takes long and makes garbage; host_run() and host_idle() look between
//           calls. Whoever allocates gigabytes between two looks is not stopped in time.
// TIME      One regular expression match or one native function over a huge array may overrun its
//           deadline by some seconds: the library looks up from them rarely.
#include <pthread.h>

#include "base/mem.h"
#include "host/js/js.h"
#include "os/thread.h"
#include "os/usage.h"

enum {
    LOOK_US = 1000000,     // how often the watchdog looks at a running call …
    LOOK_US_SOON = 10000,  // … once garbage was collected in a call as old as this
    LOOK_US_MIN = 500,     // … and at least that far apart
    CALLS_PER_IDLE = 512,  // idle time is used to collect what so many have left
};
static const size_t MEMORY_MAX_DEFAULT = (size_t)1 << 30;
int js_load_ms = 10000;

static _Thread_local JsInstance *current;

JsInstance *js_instance_current(void) {
    return current;
}

// ---- the script of prelude.js

__asm__(".section .rodata\n"
        ".globl prelude_text, prelude_text_end\n"
        "prelude_text: .incbin \"src/host/js/prelude.js\"\n"
        "prelude_text_end: .byte 0\n"
        ".previous\n");
extern const char prelude_text[];
extern const char prelude_text_end[];

static pthread_once_t engine_once = PTHREAD_ONCE_INIT;
static JSStringRef prelude_script;
static bool can_terminate;

static void engine_start(void) {
    // Before the first VM is made. The watchdog does not stop wasm loops; and a tail call takes its
    // caller out of stack traces and log lines, which no other engine does.
    jsc_options_set_boolean("useWasm", 0);
    jsc_options_set_boolean("useTailCalls", 0);
    // Otherwise a running loop is interrupted by a fault in its code, which needs SIGSEGV.
    jsc_options_set_boolean("usePollingTraps", 1);
    can_terminate = js_terminate_init();
    js_direct_init();
    prelude_script = js_string(BYTES(prelude_text, prelude_text_end - prelude_text));
}

// ---- the watchdog

static double heap_bytes(JSContextRef ctx) {
    JSObjectRef statistics = JSGetMemoryUsageStatistics(ctx);
    if (!statistics) return 0;
    JSStringRef name = JSStringCreateWithUTF8CString("heapSize");
    JSValueRef size = JSObjectGetProperty(ctx, statistics, name, NULL);
    JSStringRelease(name);
    return size ? JSValueToNumber(ctx, size, NULL) : 0;
}

// To ask for the heap's size is to walk the heap, for milliseconds in which a database answers nobody. As long
// as the whole process takes no more than the limit, it is not necessary.
static bool heap_full(JsInstance *js, JSContextRef ctx) {
    if (usage_memory_bytes() <= (int64_t)js->env.memory_max) return false;
    return heap_bytes(ctx) > (double)js->env.memory_max;
}

static bool may_end(JSContextRef ctx, void *context);

static void watch_set(JsInstance *js, double period_s) {
    js->armed_s = period_s;
    JSContextGroupSetExecutionTimeLimit(js->group, period_s, may_end, js);
}

static bool phase_limited(const JsInstance *js) {
    return js->phase == JS_LOADING || js->phase == JS_CALLING;
}

// A call's time goes by for who waits for it. Loading is what the module makes of its thread: on a machine that
// is busy, as at a start with many databases, a sound module takes long through no fault of its own.
static int64_t time_left_ns(const JsInstance *js) {
    if (js->phase == JS_LOADING) return js->load_end_cpu_ns - thread_cpu_ns();
    return js->phase_end_ns ? (int64_t)(js->phase_end_ns - abi_monotonic_ns()) : INT64_MAX;
}

static bool end_decide(JsInstance *js, JSContextRef ctx) {
    if (!phase_limited(js) || js->end != JS_NOT_ENDED) return phase_limited(js);
    if (watch_stop_wanted(&js->watch))
        js->end = JS_END_STOPPED;
    else if (time_left_ns(js) <= 0)
        js->end = JS_END_DEADLINE;
    else if (heap_full(js, ctx))
        js->end = JS_END_MEMORY;
    return js->end != JS_NOT_ENDED;
}

// The library asks again only if it is told to, in spite of what its own comments say. vm_leave()
// goes back to the usual period.
static void look_again(JsInstance *js) {
    double wait_s = js->looks_often ? LOOK_US_SOON / 1e6 : js->period_s;
    if (phase_limited(js)) {
        double left_s = (double)MAX(time_left_ns(js), 0) / 1e9;
        wait_s = MIN(wait_s, left_s + LOOK_US_MIN / 1e6);
    }
    watch_set(js, wait_s);
}

static bool may_end(JSContextRef ctx, void *context) {
    JsInstance *js = context;
    bool end = end_decide(js, ctx);
    look_again(js);
    return end;
}

// A garbage collection ends, on the thread that runs the module.
static void collected(JSContextGroupRef group, void *context) {
    JsInstance *js = context;
    (void)group;
    if (js->looks_often || (js->phase != JS_CALLING && js->phase != JS_LOADING)) return;
    uint64_t age_ns = abi_monotonic_ns() - js->call_started_ns;
    if (js->phase == JS_CALLING && age_ns < (uint64_t)LOOK_US_SOON * 1000) return;
    js->looks_often = true;
    look_again(js);
}

static void loading_begin(JsInstance *js) {
    js->phase_end_ns = 0;
    js->load_end_cpu_ns = thread_cpu_ns() + (int64_t)js_load_ms * 1000000;
    js->phase = JS_LOADING;
}

static void watch_fire(void *ctx) {  // on the watch's thread
    js_terminate(((JsInstance *)ctx)->group);
}

static void watch_resume(JsInstance *js) {
    watch_begin(&js->watch, js->phase_end_ns ? js->phase_end_ns : WATCH_NO_END);
    if (UNLIKELY(watch_stop_wanted(&js->watch))) watch_stop(&js->watch);  // meant for this call
}

void js_watch_call(JsInstance *js, int64_t budget_us) {
    js->end = JS_NOT_ENDED;
    js->phase_end_ns = budget_us > 0 ? js->call_started_ns + (uint64_t)budget_us * 1000 : 0;
    js->phase = JS_CALLING;
    if (LIKELY(can_terminate)) {
        watch_resume(js);
        return;
    }
    // The period only ever shrinks: setting it costs as much as a host call, and a caller that
    // uses short budgets uses them always.
    double period_s = (double)MAX(budget_us, LOOK_US_MIN) / 1e6;
    if (budget_us <= 0 || period_s >= js->period_s) return;
    js->period_s = period_s;
    watch_set(js, period_s);
}

bool js_watch_end(JsInstance *js) {
    bool ended = watch_end(&js->watch) || js->terminated;
    if (UNLIKELY(ended)) {
        js_terminate_clear(js->group);
        js->terminated = false;
    }
    return ended;
}

void js_watch_pause(JsInstance *js) {
    js->terminated |= watch_end(&js->watch);
}

void js_watch_resume(JsInstance *js, uint64_t waited_ns) {
    if (js->phase_end_ns) js->phase_end_ns += waited_ns;
    if (can_terminate) watch_resume(js);
}

bool js_call_abandon(JsInstance *js) {
    if (!can_terminate || js->phase != JS_CALLING) return false;
    js->terminated = true;
    js_terminate(js->group);
    return true;
}

// ---- entering and leaving

static void vm_enter(JsInstance *js) {
    ASSERT(!current);
    current = js;
    js->end = JS_NOT_ENDED;
    watch_thread(&js->watch);
    JSLock(js->ctx);
}

static void vm_leave(JsInstance *js) {
    js->phase = JS_IDLE;
    js->looks_often = false;
    if (js->armed_s != js->period_s) watch_set(js, js->period_s);
    JSUnlock(js->ctx);
    current = NULL;
}

// ---- making one

static void release_bytes(void *bytes, void *context) {
    (void)context;
    mem_free(bytes);
}

bool js_block_make(JsInstance *js, JsBlock *block, size_t len) {
    size_t rounded = (MAX(len, block->len) + 4095) & ~(size_t)4095;
    if (rounded > UINT32_MAX || rounded > js->env.memory_max) return false;
    uint8_t *bytes = mem_zalloc(rounded);
    if (!bytes) return false;
    JSValueRef exception = NULL;
    JSObjectRef buffer = JSObjectMakeArrayBufferWithBytesNoCopy(js->ctx,
                                                                bytes,
                                                                rounded,
                                                                release_bytes,
                                                                NULL,
                                                                &exception);
    if (!buffer || exception) return false;
    // Asking for the pointer pins the buffer: transfer() copies and leaves our bytes in place.
    if (JSObjectGetArrayBufferBytesPtr(js->ctx, buffer, &exception) != bytes) return false;
    JSValueProtect(js->ctx, buffer);
    if (block->buffer) JSValueUnprotect(js->ctx, block->buffer);
    *block = (JsBlock){.buffer = buffer, .bytes = bytes, .len = rounded};
    return true;
}

static Err evaluate(JsInstance *js,
                    JSStringRef script,
                    const char *file,
                    JSObjectRef *out,
                    JSValueRef *exception) {
    JSStringRef url = JSStringCreateWithUTF8CString(file);
    JSValueRef value = JSEvaluateScript(js->ctx, script, NULL, url, 1, exception);
    JSStringRelease(url);
    if (!value || *exception) return ERR_INVALID;
    *out = JSValueToObject(js->ctx, value, exception);
    return *out && !*exception ? OK : ERR_INVALID;
}

static JSObjectRef function_make(JsInstance *js, JSObjectCallAsFunctionCallback callback) {
    return JSObjectMakeFunctionWithCallback(js->ctx, NULL, callback);
}

static JSObjectRef property(JsInstance *js, JSObjectRef object, const char *name) {
    JSStringRef key = JSStringCreateWithUTF8CString(name);
    JSValueRef value = JSObjectGetProperty(js->ctx, object, key, NULL);
    JSStringRelease(key);
    JSObjectRef function = value ? JSValueToObject(js->ctx, value, NULL) : NULL;
    if (function) JSValueProtect(js->ctx, function);
    return function;
}

static Err blocks_make(JsInstance *js) {
    bool made = js_block_make(js, &js->words, MAIL_SLOTS * sizeof(uint32_t)) &&
                js_block_make(js, &js->words64, MAIL64_SLOTS * sizeof(uint64_t)) &&
                js_block_make(js, &js->scan, JS_SCAN_BYTES) &&
                js_block_make(js, &js->args, JS_ARGS_BYTES) &&
                js_block_make(js, &js->io, JS_IO_BYTES);
    if (!made) return ERR_NOMEM;
    js->mail = (uint32_t *)(void *)js->words.bytes;
    memcpy(js->words64.bytes + MAIL64_DATABASE * sizeof(uint64_t), js->env.database.le, 32);
    return OK;
}

static Err prelude_run(JsInstance *js) {
    JSValueRef exception = NULL;
    JSObjectRef prelude = NULL;
    Err err = evaluate(js, prelude_script, JS_PRELUDE_FILE, &prelude, &exception);
    if (err != OK) return ERR_NOMEM;  // our own script: only memory can be wrong
    JSObjectRef trap = js_direct_function(js, js_trap_direct);
    JSValueRef args[] = {
        trap ? trap : function_make(js, js_trap),
        function_make(js, js_text),
        function_make(js, js_native),
        js->words.buffer,
        js->words64.buffer,
        js->scan.buffer,
        js->args.buffer,
        js->io.buffer,
    };
    JSValueRef value =
        JSObjectCallAsFunction(js->ctx, prelude, NULL, ARRAY_LEN(args), args, &exception);
    JSObjectRef object = value ? JSValueToObject(js->ctx, value, &exception) : NULL;
    if (!object || exception) return ERR_NOMEM;
    js->load = property(js, object, "load");
    js->run = property(js, object, "run");
    js->explain = property(js, object, "explain");
    return js->load && js->run && js->explain ? OK : ERR_NOMEM;
}

// An exception while loading, for a person: its text, then the module's frames.
static Err load_failed(JsInstance *js, JSValueRef error, Diag *diag) {
    if (js->end == JS_END_DEADLINE)
        return diag_fail(diag,
                         ERR_INVALID,
                         "the module took longer than %d s of processor time to load",
                         js_load_ms / 1000);
    if (js->end == JS_END_MEMORY)
        return diag_fail(diag, ERR_INVALID, "JavaScript module exceeded memory limit");
    JSValueRef exception = NULL;
    buf_clear(&js->message);
    buf_clear(&js->stack);
    JSObjectCallAsFunction(js->ctx, js->explain, NULL, 1, &error, &exception);
    Buf text = {0};
    buf_put_bytes(&text, buf_bytes(&js->message));
    Str stack = bytes_str(buf_bytes(&js->stack));
    JsFrame frame;
    while (js_stack_next(&stack, &frame)) {
        js_frame_map(js->program, &frame);
        buf_printf(&text,
                   "\n    at " STR_FMT " (" STR_FMT ":%u)",
                   STR_ARG(frame.function.len ? frame.function : STR("<anonymous>")),
                   STR_ARG(frame.file),
                   frame.line);
    }
    diag_fail(diag, ERR_INVALID, STR_FMT, STR_ARG(bytes_str(buf_bytes(&text))));
    buf_deinit(&text);
    return ERR_INVALID;
}

static Err module_run(JsInstance *js, JSStringRef script, Buf *description, Diag *diag) {
    JSValueRef exception = NULL;
    JSObjectRef module = NULL;
    if (evaluate(js, script, JS_MODULE_FILE, &module, &exception) != OK)
        return load_failed(js, exception, diag);
    JSValueRef args[] = {module, JSValueMakeBoolean(js->ctx, description != NULL)};
    JSValueRef length = JSObjectCallAsFunction(js->ctx, js->load, NULL, 2, args, &exception);
    if (exception) return load_failed(js, exception, diag);
    if (!description) return OK;
    double bytes = JSValueToNumber(js->ctx, length, &exception);
    buf_put(description, js->io.bytes, MIN((size_t)bytes, js->io.len));
    return buf_ok(description) ? OK : ERR_NOMEM;
}

// (2) The library runs promise jobs whenever its lock is given up, as long as there are any: a chain
// without end would hold this thread for ever, and the watchdog does not see jobs that are short.
// A count of those who want them delayed is kept in the VM; ours is never taken back.
static void promises_stop(JsInstance *js) {
    const void *vm = js->group;  // the C interface's name for it
    if (JSVMDelayMicrotasks) JSVMDelayMicrotasks(&vm);
}

static Err vm_start(JsInstance *js) {
    js->group = JSContextGroupCreate();
    js->ctx = js->group ? JSGlobalContextCreateInGroup(js->group, NULL) : NULL;
    if (!js->ctx) return ERR_NOMEM;
    js->undefined = JSValueMakeUndefined(js->ctx);
    promises_stop(js);
    watch_set(js, js->period_s);
    JSContextGroupAddHeapFinalizer(js->group, collected, js);
    return can_terminate ? watch_init(&js->watch, watch_fire, js) : OK;
}

static Err instance_start(JsInstance *js, const JsProgram *program, Buf *description, Diag *diag) {
    Err err = OK;
    pthread_once(&engine_once, engine_start);
    if (!prelude_script) return ERR_NOMEM;
    if ((err = vm_start(js)) != OK) return err;
    vm_enter(js);
    if ((err = blocks_make(js)) != OK) goto done;
    if ((err = prelude_run(js)) != OK) goto done;
    loading_begin(js);
    err = module_run(js, program->script, description, diag);
done:
    vm_leave(js);
    return err;
}

Err js_instance_make(JsProgram *program,
                     const HostEnv *env,
                     Buf *description,
                     JsInstance **out,
                     Diag *diag) {
    JsInstance *js = MEM_NEW(JsInstance);
    if (!js) return diag_fail(diag, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    js->base.engine = &js_engine;
    js->program = program;
    js->env = *env;
    if (!js->env.memory_max) js->env.memory_max = MEMORY_MAX_DEFAULT;
    js->period_s = LOOK_US / 1e6;
    js->looked_ns = js->call_started_ns = abi_monotonic_ns();
    js->ok = true;
    abi_init(&js->abi, &js->env);
    Err err = instance_start(js, program, description, diag);
    if (err == ERR_NOMEM) diag_fail(diag, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    if (err == OK)
        *out = js;
    else
        js_instance_free(&js->base);
    return err;
}

static Err js_instance_new(HostProgram *base, const HostEnv *env, HostInstance **out, Diag *diag) {
    JsProgram *program = CONTAINER_OF(base, JsProgram, base);
    JsInstance *js = NULL;
    Err err = js_instance_make(program, env, NULL, &js, diag);
    if (err == OK) *out = &js->base;
    return err;
}

void js_instance_free(HostInstance *base) {
    JsInstance *js = CONTAINER_OF(base, JsInstance, base);
    watch_deinit(&js->watch);
    if (js->ctx) JSContextGroupRemoveHeapFinalizer(js->group, collected, js);
    if (js->ctx) JSGlobalContextRelease(js->ctx);
    if (js->group) JSContextGroupRelease(js->group);  // frees the blocks as well
    abi_deinit(&js->abi);
    buf_deinit(&js->text);
    buf_deinit(&js->message);
    buf_deinit(&js->stack);
    buf_deinit(&js->generated);
    buf_deinit(&js->response);
    buf_deinit(&js->response_body);
    mem_free(js);
}

static bool js_ok(const HostInstance *base) {
    return CONTAINER_OF(base, JsInstance, base)->ok;
}

// ---- running

// run() was left by an exception: the engine's own, because the driver catches the module's.
static void run_ended(JsInstance *js, JSValueRef exception) {
    js->ok = false;                 // (3)
    if (!js->call_running) return;  // the driver itself could not go on
    bool ended = js_watch_end(js);
    if (js->end == JS_NOT_ENDED && ended && !js->abi.fatal)
        js->end = watch_stop_wanted(&js->watch) ? JS_END_STOPPED : JS_END_DEADLINE;
    if (js->end == JS_END_DEADLINE) {
        js_call_end(js, HOST_DEADLINE, BYTES_NONE);
        return;
    }
    if (js->end == JS_END_STOPPED) {
        watch_stop_take(&js->watch);
        js_call_end(js, HOST_STOPPED, BYTES_NONE);
        return;
    }
    if (js->end == JS_END_MEMORY) {
        buf_clear(&js->message);
        buf_printf(&js->message,
                   "JavaScript module exceeded memory limit (current limit: %zu bytes)",
                   js->env.memory_max);
    } else {
        JSStringRef text = JSValueToStringCopy(js->ctx, exception, NULL);
        buf_clear(&js->message);
        if (text) {
            char *room = (char *)buf_extend(&js->message, 512);
            size_t len = room ? JSStringGetUTF8CString(text, room, 512) : 0;
            js->message.len = len ? len - 1 : 0;
            JSStringRelease(text);
        }
    }
    js_call_end(js, HOST_FATAL, BYTES_NONE);
}

static void collect(JsInstance *js) {
    js->calls_since_look = 0;
    js->looked_ns = abi_monotonic_ns();
    if (!heap_full(js, js->ctx)) return;
    JSSynchronousGarbageCollectForDebugging(js->ctx);
    if (heap_bytes(js->ctx) > 0.75 * (double)js->env.memory_max) js->ok = false;
}

static void js_run(HostInstance *base, const HostSource *source) {
    JsInstance *js = CONTAINER_OF(base, JsInstance, base);
    if (!js->ok) return;
    js->source = source;
    vm_enter(js);
    JSValueRef exception = NULL;
    js->phase = JS_BETWEEN;
    JSObjectCallAsFunction(js->ctx, js->run, NULL, 0, NULL, &exception);
    if (exception) run_ended(js, exception);
    js->end = JS_NOT_ENDED;
    js->calls_since_look += js->calls;
    js->calls = 0;
    // By the clock, not by calls: the library goes through every object to tell the heap's size.
    if (js->call_started_ns > js->looked_ns + (uint64_t)LOOK_US * 1000) collect(js);
    vm_leave(js);
    js->source = NULL;
}

static void js_idle(HostInstance *base) {
    JsInstance *js = CONTAINER_OF(base, JsInstance, base);
    if (!js->ok) return;
    if (js->calls_since_look < CALLS_PER_IDLE) return;
    vm_enter(js);
    collect(js);
    JSGarbageCollect(js->ctx);
    vm_leave(js);
}

static void js_stop(HostInstance *base) {
    watch_stop(&CONTAINER_OF(base, JsInstance, base)->watch);
}

const HostEngine js_engine = {
    .load = js_program_load,
    .unload = js_program_unload,
    .instance_new = js_instance_new,
    .instance_free = js_instance_free,
    .ok = js_ok,
    .run = js_run,
    .idle = js_idle,
    .stop = js_stop,
};
