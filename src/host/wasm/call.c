// call.c: runs calls: arguments in, what the module answered out (§1.13).
//
// The jump for guests that end early is set once per host_run, not per call: a guest that was left
// that way never runs again, so its host_run is over.
#include <stdarg.h>
#include <stdio.h>

#include "host/wasm/wasm.h"

enum { CODE_OK = 0, CODE_ERROR = 1, CODE_WITH_HEADER = 2 };  // of views; the first two of all
enum { HEADER_ROWS = 0, HEADER_SQL = 1 };                    // ViewResultHeader

// As exactly as the call wants to know it. The watch sees all that run for a tick.
static int64_t elapsed_us(const WasmInstance *w) {
    if (LIKELY(!w->is_timed && !w->seen_ns)) return 0;
    uint64_t since_ns = w->is_timed ? w->started_ns : w->seen_ns;
    return (int64_t)((abi_monotonic_ns() - since_ns) / 1000);
}

static void call_done(WasmInstance *w, HostOutcome *outcome) {
    if (UNLIKELY(w->abi.fatal) &&
        (outcome->status == HOST_OK || outcome->status == HOST_USER_ERROR))
        *outcome =
            (HostOutcome){.status = HOST_FATAL, .message = str_from(abi_errno_text(ABI_FATAL))};
    outcome->elapsed_us = elapsed_us(w);
    abi_end(&w->abi);
    w->source->done(w->source->ctx, &w->call, outcome);
    abi_bytes_reset(&w->bytes);
}

static void call_answered(WasmInstance *w, Bytes returned, Bytes body) {
    HostOutcome outcome = {.status = HOST_OK, .returned = returned, .body = body};
    call_done(w, &outcome);
}

static void call_ended(WasmInstance *w, HostStatus status, Str message) {
    HostOutcome outcome = {.status = status, .message = message};
    call_done(w, &outcome);
}

static void call_failed(WasmInstance *w, const char *fmt, ...) PRINTF_LIKE(2, 3);

// Something the module did that the caller need not know; it is in the message, for the log.
static void call_failed(WasmInstance *w, const char *fmt, ...) {
    char text[GUEST_WHY_MAX + 128];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (!w->panicked)
        abi_log_panic(&w->abi, STR_NONE, UINT32_MAX, str_from(text), w->frames, w->frame_count);
    call_ended(w, HOST_FATAL, str_from(text));
}

// ---- answers

static void user_error(WasmInstance *w, uint32_t sink) {
    call_ended(w, HOST_USER_ERROR, wasm_text(w, 0, abi_sink_bytes(&w->bytes, sink)));
}

static void reducer_answered(WasmInstance *w, int code, uint32_t sink) {
    if (LIKELY(code == CODE_OK)) {
        HostOutcome outcome = {.status = HOST_OK};
        call_done(w, &outcome);
    } else if (code == CODE_ERROR) {
        user_error(w, sink);
    } else {
        call_failed(w, "unknown return code");
    }
}

// Old libraries answer with rows alone: they get the header of the others.
static void view_answered(WasmInstance *w, int code, uint32_t sink) {
    Bytes said = abi_sink_bytes(&w->bytes, sink);
    if (code == CODE_ERROR) {
        user_error(w, sink);
    } else if (code == CODE_OK) {
        buf_clear(&w->message);
        buf_put_u8(&w->message, HEADER_ROWS);
        buf_put_bytes(&w->message, said);
        if (buf_ok(&w->message))
            call_answered(w, buf_bytes(&w->message), BYTES_NONE);
        else
            call_failed(w, "%s", err_text(ERR_NOMEM));
    } else if (code != CODE_WITH_HEADER) {
        call_failed(w, "unknown return code");
    } else if (said.len < 2 || said.ptr[0] > HEADER_SQL) {
        call_failed(w, "the view's result has no valid header, or nothing behind it");
    } else {
        call_answered(w, said, BYTES_NONE);
    }
}

static void procedure_answered(WasmInstance *w, int code, uint32_t sink) {
    if (code == CODE_OK)
        call_answered(w, abi_sink_bytes(&w->bytes, sink), BYTES_NONE);
    else
        call_failed(w,
                    "__call_procedure__ returned unexpected code %d. "
                    "Procedures should return code 0 or trap.",
                    code);
}

static void http_answered(WasmInstance *w, int code, uint32_t sink, uint32_t body_sink) {
    if (code == CODE_OK)
        call_answered(w, abi_sink_bytes(&w->bytes, sink), abi_sink_bytes(&w->bytes, body_sink));
    else
        call_failed(w,
                    "__call_http_handler__ returned unexpected code %d. "
                    "HTTP handlers should return code 0 or trap.",
                    code);
}

// ---- calls

typedef struct Handles {
    uint32_t args, body, sink, body_sink;
} Handles;

static bool handles_make(WasmInstance *w, Handles *out) {
    const HostCall *call = &w->call;
    if (!abi_source_new(&w->bytes, call->args, &out->args)) return false;
    if (!abi_sink_new(&w->bytes, &out->sink)) return false;
    if (call->kind != HOST_HTTP) return true;
    return abi_source_new(&w->bytes, call->body, &out->body) &&
           abi_sink_new(&w->bytes, &out->body_sink);
}

// The export that a call needs is there, or what to say instead.
static bool callable(WasmInstance *w) {
    static const struct {
        const char *what;
        WasmExport export;
    } names[] = {
        [HOST_REDUCER] = {"reducer", WASM_REDUCER},
        [HOST_VIEW] = {"view", WASM_VIEW},
        [HOST_VIEW_ANON] = {"anonymous view", WASM_VIEW_ANON},
        [HOST_PROCEDURE] = {"procedure", WASM_PROCEDURE},
        [HOST_HTTP] = {"http handler", WASM_HTTP},
    };
    bool there = false;
    switch (w->call.kind) {
    case HOST_REDUCER: there = w->module->reducer; break;
    case HOST_VIEW: there = w->module->view; break;
    case HOST_VIEW_ANON: there = w->module->view_anon; break;
    case HOST_PROCEDURE: there = w->module->procedure; break;
    case HOST_HTTP: there = w->module->http; break;
    }
    if (LIKELY(there)) return true;
    call_failed(w,
                "Module defines %s " STR_FMT " but does not export `%s`",
                names[w->call.kind].what,
                STR_ARG(w->call.name),
                wasm_export_name(names[w->call.kind].export));
    return false;
}

static uint32_t guest_call(WasmInstance *w, const Handles *h) {
    const HostCall *call = &w->call;
    const uint8_t *s = call->sender.le, *c = call->connection.le;
    void *guest = wasm_guest(w);
    uint64_t s0 = load_u64(s), s1 = load_u64(s + 8), s2 = load_u64(s + 16), s3 = load_u64(s + 24);
    uint64_t c0 = load_u64(c), c1 = load_u64(c + 8), time = (uint64_t)call->timestamp;
    switch (call->kind) {
    case HOST_REDUCER:
        return w->module->reducer(guest, call->id, s0, s1, s2, s3, c0, c1, time, h->args, h->sink);
    case HOST_PROCEDURE:
        return w->module
            ->procedure(guest, call->id, s0, s1, s2, s3, c0, c1, time, h->args, h->sink);
    case HOST_VIEW: return w->module->view(guest, call->id, s0, s1, s2, s3, h->args, h->sink);
    case HOST_VIEW_ANON: return w->module->view_anon(guest, call->id, h->args, h->sink);
    case HOST_HTTP:
        return w->module->http(guest, call->id, time, h->args, h->body, h->sink, h->body_sink);
    }
    UNREACHABLE();
}

static void call_run(WasmInstance *w) {
    Handles h = {0};
    bool may_wait = w->call.kind == HOST_PROCEDURE || w->call.kind == HOST_HTTP;
    w->is_timed = w->call.is_timed || may_wait;
    w->seen_ns = 0;
    if (w->is_timed) w->started_ns = abi_monotonic_ns();
    w->panicked = false;
    w->frame_count = 0;
    abi_begin(&w->abi, &w->call);
    if (UNLIKELY(watch_stop_wanted(&w->watch)) && watch_stop_take(&w->watch)) {
        call_ended(w, HOST_STOPPED, STR_NONE);
        return;
    }
    if (!callable(w)) return;
    if (!handles_make(w, &h)) {
        call_failed(w, "%s", err_text(ERR_NOMEM));
        return;
    }
    guest_time_begin(w, w->call.budget_us);
    guest_enter(w);
    int code = (int16_t)guest_call(w, &h);
    guest_exit(w);
    guest_time_end(w);
    switch (w->call.kind) {
    case HOST_REDUCER: reducer_answered(w, code, h.sink); break;
    case HOST_VIEW:
    case HOST_VIEW_ANON: view_answered(w, code, h.sink); break;
    case HOST_PROCEDURE: procedure_answered(w, code, h.sink); break;
    case HOST_HTTP: http_answered(w, code, h.sink, h.body_sink); break;
    }
}

// The guest was left in the middle of the running call.
static void call_left(WasmInstance *w) {
    guest_time_end(w);
    w->ok = false;
    switch (w->end) {
    case GUEST_ENDED_TIME:
        if (watch_stop_take(&w->watch))
            call_ended(w, HOST_STOPPED, STR_NONE);
        else
            call_ended(w, HOST_DEADLINE, STR("the call ran longer than it may"));
        return;
    case GUEST_ENDED_TRAP: call_failed(w, "wasm trap: %s", w->why); return;
    case GUEST_ENDED_REFUSED: call_failed(w, "%s", w->why); return;
    case GUEST_NOT_ENDED: break;
    }
    UNREACHABLE();
}

void wasm_run(HostInstance *base, const HostSource *source) {
    WasmInstance *w = CONTAINER_OF(base, WasmInstance, base);
    if (!w->ok || guest_thread_start() != OK) return;
    ASSERT(!w->running);
    w->running = true;
    w->source = source;
    w->outer = guest_current();
    guest_current_set(w);
    atomic_store(&w->thread, guest_thread_number());
    w->header->stack_low = guest_stack_low();
    watch_begin(&w->watch, WATCH_RUN);
    if (sigsetjmp(w->jump, GUEST_SAVE_MASK) != 0) call_left(w);
    while (w->ok && source->next(source->ctx, &w->call))
        call_run(w);
    (void)watch_end(&w->watch);
    guest_current_set(w->outer);
    w->source = NULL;
    w->running = false;
}
