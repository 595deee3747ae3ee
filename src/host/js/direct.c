// direct.c: functions that a script calls without giving up the lock of its virtual machine.
//
// A function made by the C interface gives up the lock and takes it again around every call, some ten
// locked instructions: an eighth of what a transfer costs. The library's own functions do not; they
// are made by JSFunction::create, a C++ function that it exports. What is passed to it is plain words
// in registers, but nothing declares that to C, so this file makes one only for the versions whose
// code it has been compared with, and believes it only after trying one on a throw-away VM: through
// all the compilers, across collections, with the C interface used inside.
// For any other version the C interface's functions have to do.
//
// To add a version: `objdump -d --demangle` of the library; before JSObject::putDirectNativeFunction
// calls JSFunction::create it loads, in this order, the VM, the global object, the number of
// parameters, the address of the name, the function; then visibility and intrinsic as numbers, the
// function for `new`, and a signature, NULL.
//
// ALWAYS TRUE
//   (1) What such a function does must not wait for long: a collection of this VM's garbage waits for
//       it. It may use the C interface, which takes the lock once more.
//
// CALLERS   instance.c. START AT  instance_test.c, any host call.
#include "host/js/js.h"

JSObjectRef JSFunctionCreate(
    JSContextGroupRef vm,
    JSContextRef global,
    unsigned parameters,
    const void *const *name,  // a WTF::String: a pointer to a StringImpl
    JsDirect function,
    uint8_t visibility,
    uint8_t intrinsic,
    JsDirect constructor,
    const void *
        signature) __asm__("_ZN3JSC10JSFunction6createERNS_2VMEPNS_14JSGlobalObjectEjRKN3WTF6StringENS5_"
                           "11FunctionPtrILNS5_6PtrTagE1EFlS4_PNS_9CallFrameEELNS5_"
                           "18FunctionAttributesE2EEENS_24ImplementationVisibilityENS_9IntrinsicESF_"
                           "PKNS_6DOMJIT9SignatureE") __attribute__((weak));
int64_t JSNotAConstructor(JSContextRef, void *) __asm__(
    "_ZN3JSC29callHostFunctionAsConstructorEPNS_14JSGlobalObjectEPNS_9CallFrameE")
    __attribute__((weak));
extern const char JSEmptyString[] __asm__("_ZN3WTF10StringImpl17s_emptyAtomStringE")
    __attribute__((weak));

enum { VERSION_MAJOR = 2, VERSION_MINOR = 50 };
static bool works;

static JSObjectRef make(JSContextGroupRef group, JSContextRef ctx, JsDirect function) {
    const void *name = JSEmptyString;
    return JSFunctionCreate(group, ctx, 0, &name, function, 0, 0, JSNotAConstructor, NULL);
}

JSObjectRef js_direct_function(JsInstance *js, JsDirect function) {
    return works ? make(js->group, js->ctx, function) : NULL;
}

// ---- the trial

static _Thread_local unsigned calls;

static JSValueRef evaluate(JSContextRef ctx, const char *text) {
    JSStringRef script = JSStringCreateWithUTF8CString(text);
    JSValueRef exception = NULL;
    JSValueRef value = JSEvaluateScript(ctx, script, NULL, NULL, 1, &exception);
    JSStringRelease(script);
    return exception ? NULL : value;
}

static int64_t count_call(JSContextRef global, void *frame) {
    (void)frame;
    if (++calls % 1000 == 0) (void)evaluate(global, "[1, 2, 3].map(x => ({x}))");
    if (calls % 5000 == 0) JSGarbageCollect(global);
    return (int64_t)(intptr_t)JSValueMakeUndefined(global);
}

static bool try(JSContextGroupRef group, JSContextRef ctx) {
    enum { CALLS = 20000 };
    JSLock(ctx);
    JSObjectRef function = make(group, ctx, count_call);
    JSObjectRef global = JSContextGetGlobalObject(ctx);
    JSStringRef name = JSStringCreateWithUTF8CString("direct");
    JSObjectSetProperty(ctx, global, name, function, 0, NULL);
    JSStringRelease(name);
    calls = 0;
    JSValueRef sum =
        evaluate(ctx,
                 "let n = 0, kept = [];"
                 "function step(i) { kept[i % 100] = [i]; n += direct() === undefined; }"
                 "for (let i = 0; i < 20000; i++) step(i);"
                 "let refused = false; try { new direct(); } catch { refused = true; }"
                 "refused ? n + kept[99][0] : 0");
    double result = sum ? JSValueToNumber(ctx, sum, NULL) : 0;
    JSUnlock(ctx);
    return calls == CALLS && result == CALLS + CALLS - 1;
}

void js_direct_init(void) {
    bool known = jsc_get_major_version() == VERSION_MAJOR &&
                 jsc_get_minor_version() == VERSION_MINOR && JSFunctionCreate &&
                 JSNotAConstructor && JSEmptyString;
    JSContextGroupRef group = known ? JSContextGroupCreate() : NULL;
    JSGlobalContextRef ctx = group ? JSGlobalContextCreateInGroup(group, NULL) : NULL;
    works = ctx && try(group, ctx);
    if (ctx) JSGlobalContextRelease(ctx);
    if (group) JSContextGroupRelease(group);
}
