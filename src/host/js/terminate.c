// terminate.c: ends the script that a virtual machine runs, from another thread.
//
// The library can do this (a browser's Worker.terminate), but only through a C++ interface of inline
// functions: set a bit that running code polls, then call VMTraps::requestThreadStopIfNeeded, which
// is exported. The bit's place in the VM is not, so this file knows it for the versions it has been
// looked up for, and believes it only after trying it on a throw-away VM: that the library's own
// watchdog sets the one byte, and that our bit ends a loop, after which the VM goes on to work.
// For any other version the library's watchdog has to do (instance.c): right, but it throws compiled
// code away at every look.
//
// To add a version: `objdump -d --demangle` of the library; in VMTraps::requestThreadStopIfNeeded
// `lea -T(this),VM` gives `traps`, in VMTraps::deferTerminationSlow `cmpb $0,R(this)` gives
// `requested` = T + R. The bits are at the start of VMTraps, in the order of VMTraps.h.
//
// CALLERS   instance.c. START AT  instance_test.c, "slice".
#include <stdatomic.h>

#include "host/js/js.h"

void JSVMTrapsRequest(void *traps,
                      uint32_t event) __asm__("_ZN3JSC7VMTraps25requestThreadStopIfNeededEj")
    __attribute__((weak));
void JSVMTrapsCancel(void *traps) __asm__("_ZN3JSC7VMTraps24cancelThreadStopIfNeededEv")
    __attribute__((weak));

enum { NEED_TERMINATION = 1 << 1 };  // of VMTraps::Event

typedef struct VmLayout {
    unsigned major, minor;
    size_t traps;      // offset of VM::m_traps, which begins with its bits
    size_t requested;  // offset of VM::m_hasTerminationRequest
} VmLayout;

static const VmLayout layouts[] = {{2, 50, 0x40, 0x20061}};
static const VmLayout *layout;

static _Atomic uint32_t *bits_of(JSContextGroupRef group) {
    return (_Atomic uint32_t *)(void *)((char *)(uintptr_t)group + layout->traps);
}
static _Atomic uint8_t *requested_of(JSContextGroupRef group) {
    return (_Atomic uint8_t *)(void *)((char *)(uintptr_t)group + layout->requested);
}

void js_terminate(JSContextGroupRef group) {
    atomic_store(requested_of(group), 1);  // the library asserts it when it meets the exception
    atomic_fetch_or(bits_of(group), NEED_TERMINATION);
    JSVMTrapsRequest(bits_of(group), NEED_TERMINATION);
}

void js_terminate_clear(JSContextGroupRef group) {
    atomic_fetch_and(bits_of(group), ~(uint32_t)NEED_TERMINATION);
    JSVMTrapsCancel(bits_of(group));
    atomic_store(requested_of(group), 0);
}

// The value of a script as a number; negative after an exception.
static double number_of(JSContextRef ctx, const char *text) {
    JSStringRef script = JSStringCreateWithUTF8CString(text);
    JSValueRef exception = NULL;
    JSValueRef value = JSEvaluateScript(ctx, script, NULL, NULL, 1, &exception);
    JSStringRelease(script);
    return exception || !value ? -1 : JSValueToNumber(ctx, value, NULL);
}

static bool give_up(JSContextRef ctx, void *gave_up) {
    (void)ctx;
    *(bool *)gave_up = true;
    return true;
}

typedef struct Trial {
    JSContextGroupRef group;
    bool gave_up;
    uint8_t before, after;
} Trial;
static _Thread_local Trial *trial;

// Called from a script: the request of a termination is known until the outermost one has ended.
static JSValueRef end_inner_loop(JSContextRef ctx,
                                 JSObjectRef function,
                                 JSObjectRef this_object,
                                 size_t argc,
                                 const JSValueRef argv[],
                                 JSValueRef *exception) {
    (void)function, (void)this_object, (void)argc, (void)argv, (void)exception;
    trial->before = atomic_load(requested_of(trial->group));
    (void)number_of(ctx, "for (;;) ;");
    trial->after = atomic_load(requested_of(trial->group));
    return JSValueMakeNumber(ctx, 1);
}

// Only reads: is `requested` the byte that the library sets when its watchdog ends a script?
static bool request_is_seen(JSGlobalContextRef ctx, Trial *t) {
    trial = t;
    JSContextGroupSetExecutionTimeLimit(t->group, 0.001, give_up, &t->gave_up);
    JSObjectRef function = JSObjectMakeFunctionWithCallback(ctx, NULL, end_inner_loop);
    JSObjectRef global = JSContextGetGlobalObject(ctx);
    JSStringRef name = JSStringCreateWithUTF8CString("end_inner_loop");
    JSObjectSetProperty(ctx, global, name, function, 0, NULL);
    JSStringRelease(name);
    (void)number_of(ctx, "end_inner_loop()");
    trial = NULL;
    return t->gave_up && t->before == 0 && t->after == 1 &&
           atomic_load(requested_of(t->group)) == 0;
}

// Does a request end a loop, at once? And one that was taken back, nothing?
static bool request_is_obeyed(JSGlobalContextRef ctx, JSContextGroupRef group) {
    bool gave_up = false;
    JSContextGroupSetExecutionTimeLimit(group, 0.5, give_up, &gave_up);
    js_terminate(group);
    bool ended = number_of(ctx, "for (;;) try { for (;;) ; } catch {}") < 0 && !gave_up;
    js_terminate_clear(group);
    bool goes_on = number_of(ctx, "let n = 0; for (let i = 0; i < 100; i++) n += i; n") == 4950;
    js_terminate(group);
    js_terminate_clear(group);
    return ended && goes_on && number_of(ctx, "for (let i = 0; i < 50; i++) n += i; n") == 6175;
}

static bool works(void) {
    JSContextGroupRef group = JSContextGroupCreate();
    JSGlobalContextRef ctx = group ? JSGlobalContextCreateInGroup(group, NULL) : NULL;
    Trial t = {.group = group};
    bool result = ctx && request_is_seen(ctx, &t) && request_is_obeyed(ctx, group);
    if (ctx) JSGlobalContextRelease(ctx);
    if (group) JSContextGroupRelease(group);
    return result;
}

bool js_terminate_init(void) {
    if (!JSVMTrapsRequest || !JSVMTrapsCancel) return false;
    for (size_t i = 0; i < ARRAY_LEN(layouts) && !layout; i++)
        if (jsc_get_major_version() == layouts[i].major &&
            jsc_get_minor_version() == layouts[i].minor)
            layout = &layouts[i];
    if (layout && !works()) layout = NULL;
    return layout != NULL;
}
