// terminate.c: ends the script that a virtual machine runs, from another thread.
//
// The library can do this (a browser's Worker.terminate), but only through a C++ interface of inline
// functions: set a bit that running code polls, then call VMTraps::requestThreadStopIfNeeded, which
// is exported. The bit's place in the VM is not, so this file knows it for the versions it has been
// looked up for, and believes it only when a throw-away VM has been ended and has gone on to work.
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

unsigned jsc_get_major_version(void);  // of the library's GLib interface
unsigned jsc_get_minor_version(void);
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

// Does a request end a loop, at once? And one that was taken back, nothing?
static bool works(void) {
    bool gave_up = false;
    JSContextGroupRef group = JSContextGroupCreate();
    JSGlobalContextRef ctx = group ? JSGlobalContextCreateInGroup(group, NULL) : NULL;
    bool result = false;
    if (!ctx) goto done;
    JSContextGroupSetExecutionTimeLimit(group, 0.5, give_up, &gave_up);
    js_terminate(group);
    bool ended = number_of(ctx, "for (;;) try { for (;;) ; } catch {}") < 0 && !gave_up;
    js_terminate_clear(group);
    bool goes_on = number_of(ctx, "let n = 0; for (let i = 0; i < 100; i++) n += i; n") == 4950;
    js_terminate(group);
    js_terminate_clear(group);
    result = ended && goes_on && number_of(ctx, "for (let i = 0; i < 50; i++) n += i; n") == 6175;
done:
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
