// stop.c: how a guest that may not go on is left: traps, faults, deadlines.
//
// PICTURE
//   trap in generated code ──> guest_trap_code ─┐
//   import refuses         ──> guest_trap ──────┤
//   fault in guest code    ──> on_fault ────────┼─> siglongjmp(w->jump): host_run goes on behind the call
//   time is over ─ signal ──> on_time ──────────┘   (in an import: w->pending, obeyed on its return)
//
// ALWAYS TRUE
//   (1) A fault is ours only if the thread is in guest code and the address is in that guest's memory
//       or at the end of this thread's stack. Any other goes to whoever handled faults before us
//       (AddressSanitizer, the default: the end of the process).
//   (2) Handlers run on a stack of their own, with no signal blocked, so that leaving them by a jump
//       restores everything there is to restore.
//   (3) A signal that arrives late finds a call of another number and does nothing.
//
// JavaScriptCore in the same process polls for its own traps and uses neither signal.
#define _GNU_SOURCE
#include <execinfo.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host/wasm/wasm.h"
#include "os/thread.h"

enum {
    HANDLER_STACK = 64 << 10,
    GUEST_STACK = 1 << 20,     // what a guest's frames may take …
    HOST_RESERVE = 512 << 10,  // … leaving this much for the functions it calls
    STACK_GUARD = 1 << 20,     // a fault this far below the end of a stack is an overflow
};

#define TIME_SIGNAL (SIGRTMIN + 7)

static _Thread_local WasmInstance *current;
static _Thread_local int thread_number;
static _Thread_local uintptr_t thread_low;  // the lowest address of this thread's stack

int guest_thread_number(void) {
    return thread_number;
}

WasmInstance *guest_current(void) {
    return current;
}

void guest_current_set(WasmInstance *w) {
    current = w;
}

uintptr_t guest_stack_low(void) {
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    uintptr_t wanted = here - GUEST_STACK, possible = thread_low + HOST_RESERVE;
    return MAX(wanted, possible);
}

// ---- leaving

void guest_leave(WasmInstance *w, GuestEnd end) {
    w->in_guest = 0;
    w->end = end;
    siglongjmp(w->jump, 1);
}

void guest_trap(WasmInstance *w, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    vsnprintf(w->why, sizeof w->why, fmt, args);
    va_end(args);
    w->frame_count = guest_frames(w, w->frames, GUEST_FRAMES_MAX);
    guest_leave(w, GUEST_ENDED_REFUSED);
}

static const char *const trap_texts[] = {
    [GUEST_TRAP_NONE] = "unknown",
    [GUEST_TRAP_OOB] = "out of bounds memory access",
    [GUEST_TRAP_INT_OVERFLOW] = "integer overflow",
    [GUEST_TRAP_DIV_BY_ZERO] = "integer divide by zero",
    [GUEST_TRAP_INVALID_CONVERSION] = "invalid conversion to integer",
    [GUEST_TRAP_UNREACHABLE] = "wasm `unreachable` instruction executed",
    [GUEST_TRAP_CALL_INDIRECT] = "indirect call to no function of that type",
    [GUEST_TRAP_EXHAUSTION] = "call stack exhausted",
};

static void why_set(WasmInstance *w, uint32_t code) {
    const char *text = trap_texts[code < ARRAY_LEN(trap_texts) ? code : GUEST_TRAP_NONE];
    memcpy(w->why, text, strlen(text) + 1);
}

void guest_trap_code(uint32_t code) {
    WasmInstance *w = current;
    w->in_guest = 0;
    why_set(w, code);
    w->frame_count = guest_frames(w, w->frames, GUEST_FRAMES_MAX);
    guest_leave(w, GUEST_ENDED_TRAP);
}

// ---- faults

static struct sigaction before_segv, before_bus;

static void fault_pass_on(int signal, siginfo_t *info, void *context) {
    const struct sigaction *before = signal == SIGBUS ? &before_bus : &before_segv;
    if (before->sa_flags & SA_SIGINFO) {
        before->sa_sigaction(signal, info, context);
    } else if (before->sa_handler != SIG_DFL && before->sa_handler != SIG_IGN) {
        before->sa_handler(signal);
    } else {
        // Nobody wants it: the faulting instruction runs again and ends the process, with its core.
        struct sigaction fall = {.sa_handler = SIG_DFL};
        sigaction(signal, &fall, NULL);
    }
}

static bool fault_in_memory(const WasmInstance *w, uintptr_t address) {
    return w->reserved.base && address - (uintptr_t)w->reserved.base < WASM_RESERVED;
}

// Frames are checked as they are made, and a huge one is probed page by page: it faults at the
// first page that is not the stack's.
static bool fault_in_stack(uintptr_t address) {
    return address - (thread_low - STACK_GUARD) < STACK_GUARD + 65536;
}

static void on_fault(int signal, siginfo_t *info, void *context) {
    WasmInstance *w = current;
    uintptr_t address = (uintptr_t)info->si_addr;
    bool memory = w && w->in_guest && fault_in_memory(w, address);
    bool stack = w && w->in_guest && fault_in_stack(address);
    if (!memory && !stack) {  // (1)
        fault_pass_on(signal, info, context);
        return;
    }
    w->frame_count = 0;  // a handler cannot walk the stack
    why_set(w, memory ? GUEST_TRAP_OOB : GUEST_TRAP_EXHAUSTION);
    guest_leave(w, GUEST_ENDED_TRAP);
}

// ---- time

// Loading may use so much of its thread (instance.c), however long that takes where the machine is busy. True: it
// has used less, and is asked again when what is left has passed. Of what a handler may call.
static bool load_goes_on(WasmInstance *w) {
    if (!w->load_end_cpu_ns || watch_stop_wanted(&w->watch)) return false;
    int64_t left_ns = w->load_end_cpu_ns - thread_cpu_ns();
    if (left_ns <= 0) return false;
    (void)watch_call_end(&w->watch);
    watch_call_begin(&w->watch, (uint64_t)left_ns);
    return true;
}

static void on_time(int signal) {
    WasmInstance *w = current;
    (void)signal;
    if (!w || !watch_call_is_fired(&w->watch)) return;  // (3)
    if (w->in_guest && load_goes_on(w)) return;
    w->pending = 1;
    if (w->in_guest) guest_leave(w, GUEST_ENDED_TIME);
}

void guest_obey(WasmInstance *w) {
    if (!load_goes_on(w)) guest_leave(w, GUEST_ENDED_TIME);
    w->pending = 0;
}

void guest_fire(void *instance) {
    WasmInstance *w = instance;
    syscall(SYS_tgkill, getpid(), atomic_load(&w->thread), TIME_SIGNAL);
}

// If it was fired before, `pending` ends the call when the import returns; if not, the rest of its
// time is that of a call by itself. Only those that may wait are worth it, and those are timed.
void guest_time_pause(WasmInstance *w) {
    if (w->is_timed) (void)watch_call_end(&w->watch);
}

void guest_time_resume(WasmInstance *w) {
    if (!w->is_timed) return;
    uint64_t used_ns = abi_monotonic_ns() - w->started_ns - w->abi.waited_ns;
    uint64_t left_ns = used_ns < w->budget_ns ? w->budget_ns - used_ns : 0;
    watch_call_begin(&w->watch, w->budget_ns == UINT64_MAX ? UINT64_MAX : left_ns);
}

// ---- once per process and thread

static pthread_once_t engine_once = PTHREAD_ONCE_INIT;
static bool engine_started;
static pthread_key_t handler_stack_key;

static void handler_stack_free(void *stack) {
    stack_t none = {.ss_flags = SS_DISABLE};
    sigaltstack(&none, NULL);
    munmap(stack, HANDLER_STACK);
}

static void engine_start(void) {
    void *here;
    backtrace(&here, 1);  // loads the library it needs now, not in the middle of a trap
    engine_started = pthread_key_create(&handler_stack_key, handler_stack_free) == 0;
}

// Faults are asked for again whenever an instance is made: a library or a test runner may have put
// its own handler over ours, which then is the one we pass on to.
static bool fault_catch(int signal, struct sigaction *before) {
    struct sigaction now;
    struct sigaction ours = {.sa_sigaction = on_fault,
                             .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    if (sigaction(signal, NULL, &now) != 0) return false;
    if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_fault) return true;
    *before = now;
    return sigaction(signal, &ours, NULL) == 0;
}

static bool signals_catch(void) {
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static bool time_caught;
    struct sigaction time = {.sa_handler = on_time,
                             .sa_flags = SA_ONSTACK | SA_NODEFER | SA_RESTART};
    pthread_mutex_lock(&mutex);
    if (!time_caught) time_caught = sigaction(TIME_SIGNAL, &time, NULL) == 0;
    bool caught =
        time_caught && fault_catch(SIGSEGV, &before_segv) && fault_catch(SIGBUS, &before_bus);
    pthread_mutex_unlock(&mutex);
    return caught;
}

Err guest_engine_start(void) {
    pthread_once(&engine_once, engine_start);
    return engine_started && signals_catch() ? OK : ERR_NOMEM;
}

static Err handler_stack_make(void) {
    stack_t old;
    if (sigaltstack(NULL, &old) == 0 && !(old.ss_flags & SS_DISABLE)) return OK;  // a sanitizer's
    void *stack =
        mmap(NULL, HANDLER_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack == MAP_FAILED) return ERR_NOMEM;
    stack_t made = {.ss_sp = stack, .ss_size = HANDLER_STACK};
    sigaltstack(&made, NULL);
    pthread_setspecific(handler_stack_key, stack);
    return OK;
}

Err guest_thread_start(void) {
    pthread_attr_t attributes;
    void *low;
    size_t size;
    if (LIKELY(thread_low)) return OK;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0) return ERR_NOMEM;
    pthread_attr_getstack(&attributes, &low, &size);
    pthread_attr_destroy(&attributes);
    Err err = handler_stack_make();
    thread_number = (int)syscall(SYS_gettid);
    if (err == OK) thread_low = (uintptr_t)low;
    return err;
}
