// wasm.h: programs and instances of WebAssembly modules, private to host/wasm.
//
// PICTURE   of one thread's time during host_run
//
//   source->next   guest code    import       guest code   source->done
//   ------------- ============= ------------ ============= -------------
//   in_guest = 0        1            0             1             0
//
// ALWAYS TRUE
//   (1) Only guest code is left from outside (a fault, a signal): it holds no lock and owns nothing of
//       ours. A signal that comes while the server's code runs is remembered in `pending` and obeyed
//       on the way back into the guest.
//   (2) An import that refuses leaves by guest_trap() before it has anything to release; its buffers
//       belong to the instance.
//   (3) A guest that was left in the middle never runs again: `ok` is false from then on.
#pragma once
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>

#include "host/abi.h"
#include "host/engine.h"
#include "host/wasm/memory.h"
#include "host/wasm/object.h"
#include "host/watch.h"

typedef struct WasmProgram {
    HostProgram base;
    WasmObject object;
    Arena arena;
    Str *names;  // of functions, by index; ptr NULL: nameless
    uint32_t func_count;
    Str *preinits;  // their names, in the order they run
} WasmProgram;

typedef enum GuestEnd {
    GUEST_NOT_ENDED,
    GUEST_ENDED_TRAP,     // the guest's own: `why` is one of WebAssembly's reasons
    GUEST_ENDED_REFUSED,  // an import did not accept its arguments, or the server could not go on
    GUEST_ENDED_TIME,     // deadline or host_stop
} GuestEnd;

// Handlers block no signal, so there is no mask to save; ThreadSanitizer's wrapper around them does.
#if defined(__SANITIZE_THREAD__)
#define GUEST_SAVE_MASK 1
#else
#define GUEST_SAVE_MASK 0
#endif

enum { GUEST_FRAMES_MAX = 64, GUEST_WHY_MAX = 256 };

typedef struct WasmInstance WasmInstance;
struct WasmInstance {
    HostInstance base;
    const WasmProgram *program;
    const GuestModule *module;
    GuestHeader *header;  // the guest's own structure is behind it
    GuestMemory *memory;  // in there
    volatile sig_atomic_t in_guest;
    volatile sig_atomic_t pending;  // (1)
    bool ok, running, panicked;     // panicked: this call logged a panic itself
    sigjmp_buf jump;                // where a guest that ends early goes
    GuestEnd end;
    char why[GUEST_WHY_MAX];
    Str frames[GUEST_FRAMES_MAX];  // where it trapped, innermost first
    uint32_t frame_count;

    HostWatch watch;
    atomic_int thread;        // the kernel's number of the thread in host_run
    bool is_timed;            // of the running call, or while loading: started_ns is known
    uint64_t started_ns;      // abi_monotonic_ns()
    uint64_t budget_ns;       // UINT64_MAX: no limit
    uint64_t seen_ns;         // of the call that ended: when the watch saw it first, 0: it did not
    int64_t load_end_cpu_ns;  // while it loads: of its thread's processor time; else 0

    HostEnv env;
    Abi abi;
    AbiBytes bytes;
    const HostSource *source;
    WasmInstance *outer;  // whose host_run this one runs inside of
    HostCall call;
    WasmMemory reserved;
    void **tables;  // blocks of table elements
    uint32_t table_count;
    size_t table_bytes;
    Buf generated, response, response_body;
    Buf text[3];  // lossily decoded
    Buf message;
};

extern const GuestHost guest_host;  // imports.c

// ---- stop.c: leaving guest code early

// Before an instance is made, and before a thread runs one; cheap when it is done already. ERR_NOMEM.
MUST_USE Err guest_engine_start(void);
MUST_USE Err guest_thread_start(void);

int guest_thread_number(void);      // the kernel's, of this thread
WasmInstance *guest_current(void);  // whose code this thread runs; NULL: none's
void guest_current_set(WasmInstance *w);
uintptr_t guest_stack_low(void);  // how far down a guest's frames may reach from here

NORETURN void guest_leave(WasmInstance *w, GuestEnd end);  // `why` is set
NORETURN void guest_trap(WasmInstance *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
NORETURN void guest_trap_code(uint32_t code);
void guest_obey(WasmInstance *w);  // what is pending: does not return, or the guest has time left
void guest_fire(void *instance);   // HostWatch.fire

// The server's code ends here and the guest's begins; or the other way round. Entering obeys what
// came meanwhile (1).
static inline void guest_enter(WasmInstance *w) {
    atomic_signal_fence(memory_order_seq_cst);
    w->in_guest = 1;
    atomic_signal_fence(memory_order_seq_cst);
    if (UNLIKELY(w->pending)) guest_obey(w);
}
static inline void guest_exit(WasmInstance *w) {
    atomic_signal_fence(memory_order_seq_cst);
    w->in_guest = 0;
    atomic_signal_fence(memory_order_seq_cst);
}

// Time limits: begin and end what may be ended; what an import waits does not count.
void guest_time_pause(WasmInstance *w);
void guest_time_resume(WasmInstance *w);
static inline void guest_time_begin(WasmInstance *w, int64_t budget_us) {  // 0: no limit
    w->pending = 0;  // in this order: what is late now finds another number
    w->budget_ns = budget_us > 0 ? (uint64_t)budget_us * 1000 : UINT64_MAX;
    watch_call_begin(&w->watch, w->budget_ns);
}
static inline void guest_time_end(WasmInstance *w) {
    w->seen_ns = watch_call_end(&w->watch);
}

// ---- instance.c

MUST_USE Err wasm_instance_make(const WasmProgram *program,
                                const HostEnv *env,
                                Buf *description,  // may be NULL
                                WasmInstance **out,
                                Diag *diag);
Err wasm_instance_new(HostProgram *program, const HostEnv *env, HostInstance **out, Diag *diag);
void wasm_instance_free(HostInstance *instance);
static inline void *wasm_guest(const WasmInstance *w) {
    return w->header + 1;
}

extern int wasm_load_ms;  // processor time for everything before the first call; tests shorten it

// What GuestHost promises of memories and tables.
void guest_memory_new(GuestMemory *memory, uint32_t pages, uint32_t max_pages);
uint32_t guest_memory_grow(GuestMemory *memory, uint32_t pages);
void *guest_table_resize(void *old, size_t old_bytes, size_t bytes);

// `bytes` as text, ill-formed parts replaced by U+FFFD; borrowed, or in text[slot] until its next use.
Str wasm_text(WasmInstance *w, int slot, Bytes bytes);

// ---- call.c

void wasm_run(HostInstance *instance, const HostSource *source);

// ---- frames.c: which functions of the guest are running

// Names from the innermost outwards; they live as long as the program. Not in a signal handler.
uint32_t guest_frames(const WasmInstance *w, Str *out, uint32_t max);
