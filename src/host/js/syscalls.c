// syscalls.c: what a module's host calls do. The C half of prelude.js.
//
// ALWAYS TRUE
//   (1) Every number in the mailbox is checked here before it is an index or a length.
//   (2) No JavaScript runs while these functions run; no JSValueRef of theirs outlives them.
//
// CALLERS   prelude.js through trap(), text() and native(); instance.c for calls that were ended.
#include <string.h>

#include "base/mem.h"
#include "host/js/js.h"
#include "host/js/text.h"

// Numbers shared with prelude.js.
enum {
    OP_STEP = 1,
    OP_ROW_COUNT = 2,
    OP_SCAN_TABLE = 3,
    OP_SCAN_POINT = 4,
    OP_SCAN_RANGE = 5,
    OP_ADVANCE = 6,
    OP_CLOSE = 7,
    OP_INSERT = 8,
    OP_UPDATE = 9,
    OP_DELETE_POINT = 10,
    OP_DELETE_RANGE = 11,
    OP_DELETE_EQ = 12,
    OP_CLEAR = 13,
    OP_TIMER_END = 14,
    OP_JWT = 15,
    OP_START_TX = 16,
    OP_COMMIT_TX = 17,
    OP_ABORT_TX = 18,
    OP_ABANDON = 19,
};
enum {
    TEXT_TABLE_ID = 1,
    TEXT_INDEX_ID = 2,
    TEXT_LOG = 3,
    TEXT_TIMER_START = 4,
    TEXT_SCHEDULE = 5,
    TEXT_FAIL = 6,
    TEXT_STACK = 7,
    TEXT_ENCODE = 8,
};
enum {
    NATIVE_GROW = 1,
    NATIVE_ARGS = 2,
    NATIVE_ERROR_TEXT = 3,
    NATIVE_DECODE = 4,
    NATIVE_BODY = 5,
    NATIVE_HTTP = 6,
};
enum { KIND_NONE, KIND_REDUCER, KIND_VIEW, KIND_VIEW_ANON, KIND_PROCEDURE, KIND_HTTP };
enum { OUTCOME_OK, OUTCOME_USER, OUTCOME_FATAL, OUTCOME_NONE };

static void store64(JsInstance *js, uint32_t slot, const void *le, size_t words) {
    memcpy(js->words64.bytes + slot * sizeof(uint64_t), le, words * sizeof(uint64_t));
}

// ---- the driver: calls begin and end

// The bigint of an identity costs as much as a host call, so prelude.js keeps those of the last
// identities seen, in slots chosen by hash.
static void sender_write(JsInstance *js, const Identity *sender) {
    uint32_t slot = (uint32_t)(load_u64(sender->le) * 0x9e3779b97f4a7c15u >> 54);
    static_assert(JS_SLOTS == 1 << 10, "the hash has 10 bits");
    bool known = js->sender_known[slot] && identity_eq(&js->senders[slot], sender);
    js->mail[MAIL_SENDER] = slot;
    js->mail[MAIL_SENDER_NEW] = !known;
    if (known) return;
    store64(js, MAIL64_SENDER, sender->le, 4);
    js->senders[slot] = *sender;
    js->sender_known[slot] = true;
}

static void connection_write(JsInstance *js, const ConnectionId *connection) {
    uint32_t slot = (uint32_t)(load_u64(connection->le) * 0x9e3779b97f4a7c15u >> 54);
    bool known = js->connection_known[slot] && connection_id_eq(&js->connections[slot], connection);
    js->mail[MAIL_CONN] = slot;
    js->mail[MAIL_CONN_NEW] = !known;
    if (known) return;
    store64(js, MAIL64_CONN, connection->le, 2);
    js->connections[slot] = *connection;
    js->connection_known[slot] = true;
}

// Only what prelude.js will read: whoever is written counts as known from then on.
static void caller_write(JsInstance *js, const HostCall *call) {
    switch (call->kind) {
    case HOST_REDUCER:
    case HOST_PROCEDURE:
        sender_write(js, &call->sender);
        connection_write(js, &call->connection);
        return;
    case HOST_VIEW: sender_write(js, &call->sender); return;
    case HOST_VIEW_ANON:
    case HOST_HTTP: return;
    }
    UNREACHABLE();
}

// The driver was stopped between reading a new identity and keeping its bigint, perhaps.
static void slots_forget(JsInstance *js) {
    js->sender_known[js->mail[MAIL_SENDER] % JS_SLOTS] = false;
    js->connection_known[js->mail[MAIL_CONN] % JS_SLOTS] = false;
}

static uint32_t kind_number(HostCallKind kind) {
    switch (kind) {
    case HOST_REDUCER: return KIND_REDUCER;
    case HOST_VIEW: return KIND_VIEW;
    case HOST_VIEW_ANON: return KIND_VIEW_ANON;
    case HOST_PROCEDURE: return KIND_PROCEDURE;
    case HOST_HTTP: return KIND_HTTP;
    }
    UNREACHABLE();
}

static void call_begin(JsInstance *js) {
    const HostCall *call = &js->call;
    js->mail[MAIL_KIND] = kind_number(call->kind);
    js->mail[MAIL_ID] = call->id;
    js->mail[MAIL_CONSUMED] = 0;
    js->mail[MAIL_ARGS_LEN] = (uint32_t)call->args.len;
    caller_write(js, call);
    store64(js, MAIL64_TIME, &call->timestamp, 1);
    if (call->args.len && call->args.len <= JS_ARGS_BYTES)
        memcpy(js->args.bytes, call->args.ptr, call->args.len);
    buf_clear(&js->message);
    buf_clear(&js->stack);
    abi_begin(&js->abi, call);
    js->call_running = true;
    js->calls++;
    js->call_started_ns = abi_monotonic_ns();
    js_watch_call(js, call->budget_us);
}

// The frames of js->stack down to where the library marks the end of the interesting ones.
static void log_panic(JsInstance *js) {
    enum { FRAMES_MAX = 64 };
    Str names[FRAMES_MAX];
    uint32_t count = 0;
    JsFrame top = {.line = UINT32_MAX}, frame;
    Str stack = bytes_str(buf_bytes(&js->stack));
    while (count < FRAMES_MAX && js_stack_next(&stack, &frame)) {
        if (str_eq(frame.function, STR("__spacetimedb_end_short_backtrace"))) break;
        if (count == 0) top = frame;
        names[count++] = frame.function.len ? frame.function : STR("<anonymous>");
    }
    if (count) js_frame_map(js->program, &top);
    abi_log_panic(&js->abi, top.file, top.line, bytes_str(buf_bytes(&js->message)), names, count);
}

static void message_set(JsInstance *js, const char *text) {
    buf_clear(&js->message);
    buf_put_str(&js->message, str_from(text));
}

// What one call with long texts has used is not kept for the next.
static void texts_trim(JsInstance *js) {
    Buf *texts[] =
        {&js->text, &js->message, &js->stack, &js->generated, &js->response, &js->response_body};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (UNLIKELY(texts[i]->cap > JS_TEXT_KEEP_BYTES)) buf_deinit(texts[i]);
}

void js_call_end(JsInstance *js, HostStatus status, Bytes returned) {
    ASSERT(js->call_running);
    uint64_t elapsed_ns = abi_monotonic_ns() - js->call_started_ns;
    js->phase = JS_BETWEEN;
    if (js_watch_end(js)) (void)watch_stop_take(&js->watch);  // it came too late for this call
    if (js->abi.fatal && status != HOST_DEADLINE && status != HOST_STOPPED) {
        status = HOST_FATAL;
        message_set(js, abi_errno_text(ABI_FATAL));
    }
    if (status == HOST_DEADLINE) message_set(js, "the call ran longer than it may");
    if (status == HOST_STOPPED) message_set(js, "the call was stopped");
    if (status == HOST_FATAL) log_panic(js);
    if (status != HOST_OK && status != HOST_USER_ERROR) slots_forget(js);
    abi_end(&js->abi);
    js->call_running = false;
    HostOutcome outcome = {.status = status,
                           .message = bytes_str(buf_bytes(&js->message)),
                           .elapsed_us = (int64_t)(elapsed_ns / 1000)};
    if (status == HOST_OK) {
        size_t response = js->call.kind == HOST_HTTP ? js->mail[MAIL_A2] : returned.len;
        response = MIN(response, returned.len);  // (1)
        outcome.returned = BYTES(returned.ptr, response);
        outcome.body = BYTES(returned.ptr + response, returned.len - response);
    }
    js->source->done(js->source->ctx, &js->call, &outcome);
    texts_trim(js);
}

void js_step(JsInstance *js) {
    uint32_t code = js->mail[MAIL_A0], len = js->mail[MAIL_A1];
    if (js->call_running) {
        Bytes returned = BYTES(js->io.bytes, MIN(len, js->io.len));  // (1)
        HostStatus status = code == OUTCOME_OK     ? HOST_OK
                            : code == OUTCOME_USER ? HOST_USER_ERROR
                                                   : HOST_FATAL;
        js_call_end(js, status, returned);
    }
    js->mail[MAIL_KIND] = KIND_NONE;
    if (js->ok && js->source->next(js->source->ctx, &js->call)) call_begin(js);
}

// ---- trap(): arguments in the mailbox

// The first `len` bytes of io, or an error that ends the call: prelude.js never asks for more.
static bool io_bytes(JsInstance *js, uint64_t len, Bytes *out) {
    if (len > js->io.len) return false;
    *out = BYTES(js->io.bytes, len);
    return true;
}

static AbiErrno finish_generated(JsInstance *js, AbiErrno result) {
    if (result != ABI_OK) return result;
    if (!buf_ok(&js->generated) || js->generated.len > js->io.len) {
        js->abi.fatal = true;
        return ABI_FATAL;
    }
    if (js->generated.len) memcpy(js->io.bytes, js->generated.ptr, js->generated.len);
    js->mail[MAIL_RESULT] = (uint32_t)js->generated.len;
    return ABI_OK;
}

static AbiErrno do_insert(JsInstance *js) {
    Bytes row;
    if (!io_bytes(js, js->mail[MAIL_A1], &row)) return ABI_HOST_CALL_FAILURE;
    buf_clear(&js->generated);
    return finish_generated(js, abi_insert(&js->abi, js->mail[MAIL_A0], row, &js->generated));
}

static AbiErrno do_update(JsInstance *js) {
    Bytes row;
    if (!io_bytes(js, js->mail[MAIL_A1], &row)) return ABI_HOST_CALL_FAILURE;
    buf_clear(&js->generated);
    uint32_t table = js->mail[MAIL_A0], index = js->mail[MAIL_A2];
    return finish_generated(js, abi_update(&js->abi, table, index, row, &js->generated));
}

// The scan's handle, and its rows if they are few: the advance that follows finds them there.
static AbiErrno finish_scan(JsInstance *js, AbiErrno result, uint32_t iter) {
    if (result != ABI_OK) return result;
    Bytes rows;
    js->mail[MAIL_RESULT] = iter;
    js->mail[MAIL_PENDING] = MAIL_NO_PENDING;
    if (abi_iter_whole(&js->abi, iter, &rows) && rows.len <= js->scan.len) {
        if (rows.len) memcpy(js->scan.bytes, rows.ptr, rows.len);
        js->mail[MAIL_PENDING] = (uint32_t)rows.len;
    }
    return ABI_OK;
}

static AbiErrno do_scan_table(JsInstance *js) {
    uint32_t iter = 0;
    AbiErrno result = abi_scan_table(&js->abi, js->mail[MAIL_A0], &iter);
    return finish_scan(js, result, iter);
}

static AbiErrno do_scan_point(JsInstance *js) {
    Bytes point;
    if (!io_bytes(js, js->mail[MAIL_A1], &point)) return ABI_HOST_CALL_FAILURE;
    uint32_t iter = 0;
    AbiErrno result = abi_scan_point(&js->abi, js->mail[MAIL_A0], point, &iter);
    return finish_scan(js, result, iter);
}

// io holds prefix ‖ rstart ‖ rend; without rend it is rstart again (§2.4).
static AbiErrno range_read(JsInstance *js, AccessRange *range) {
    uint64_t prefix = js->mail[MAIL_A1], lower = js->mail[MAIL_A3], upper = js->mail[MAIL_A4];
    Bytes all;
    if (!io_bytes(js, prefix + lower + upper, &all)) return ABI_HOST_CALL_FAILURE;
    *range = (AccessRange){.prefix = BYTES(all.ptr, prefix),
                           .prefix_elems = js->mail[MAIL_A2],
                           .lower = BYTES(all.ptr + prefix, lower),
                           .upper = BYTES(all.ptr + prefix + lower, upper)};
    if (upper == 0) range->upper = range->lower;
    return range->prefix_elems == 0 && prefix > 0 ? ABI_BSATN_DECODE_ERROR : ABI_OK;
}

static AbiErrno do_scan_range(JsInstance *js) {
    AccessRange range;
    AbiErrno result = range_read(js, &range);
    if (result != ABI_OK) return result;
    uint32_t iter = 0;
    result = abi_scan_range(&js->abi, js->mail[MAIL_A0], &range, &iter);
    return finish_scan(js, result, iter);
}

// When io is smaller than what the module's buffer could take, prelude.js grows it and asks again.
static AbiErrno do_advance(JsInstance *js) {
    uint32_t iter = js->mail[MAIL_A0];
    size_t room = js->mail[MAIL_A1], len = 0;
    bool exhausted = false;
    size_t fitting = abi_iter_fitting(&js->abi, iter, room);
    if (fitting > js->io.len) {
        js->mail[MAIL_RESULT] = (uint32_t)fitting;
        return ABI_BUFFER_TOO_SMALL;
    }
    AbiErrno result = abi_iter_advance(&js->abi, iter, js->io.bytes, room, &len, &exhausted);
    js->mail[MAIL_RESULT] = (uint32_t)len;
    js->mail[MAIL_PENDING] = exhausted;
    return result;
}

static AbiErrno do_delete_point(JsInstance *js) {
    Bytes point;
    if (!io_bytes(js, js->mail[MAIL_A1], &point)) return ABI_HOST_CALL_FAILURE;
    return abi_delete_point(&js->abi, js->mail[MAIL_A0], point, &js->mail[MAIL_RESULT]);
}

static AbiErrno do_delete_range(JsInstance *js) {
    AccessRange range;
    AbiErrno result = range_read(js, &range);
    if (result != ABI_OK) return result;
    return abi_delete_range(&js->abi, js->mail[MAIL_A0], &range, &js->mail[MAIL_RESULT]);
}

static AbiErrno do_delete_eq(JsInstance *js) {
    Bytes relation;
    if (!io_bytes(js, js->mail[MAIL_A1], &relation)) return ABI_HOST_CALL_FAILURE;
    return abi_delete_all_by_eq(&js->abi, js->mail[MAIL_A0], relation, &js->mail[MAIL_RESULT]);
}

static AbiErrno do_row_count(JsInstance *js) {
    uint64_t count = 0;
    AbiErrno result = abi_row_count(&js->abi, js->mail[MAIL_A0], &count);
    store64(js, MAIL64_RESULT, &count, 1);
    return result;
}

static AbiErrno do_clear(JsInstance *js) {
    uint64_t deleted = 0;
    AbiErrno result = abi_clear(&js->abi, js->mail[MAIL_A0], &deleted);
    store64(js, MAIL64_RESULT, &deleted, 1);
    return result;
}

static AbiErrno do_jwt(JsInstance *js) {
    ConnectionId connection;
    memcpy(connection.le, js->words64.bytes + MAIL64_ARG * sizeof(uint64_t), sizeof connection.le);
    Bytes payload = BYTES_NONE;
    AbiErrno result = abi_jwt(&js->abi, &connection, &payload);
    if (result != ABI_OK) return result;
    if (payload.len > js->io.len) return ABI_HOST_CALL_FAILURE;  // a token has a few KiB at most
    if (payload.len) memcpy(js->io.bytes, payload.ptr, payload.len);
    js->mail[MAIL_RESULT] = (uint32_t)payload.len;
    return ABI_OK;
}

static AbiErrno do_transaction(JsInstance *js, uint32_t op) {
    if (op == OP_ABORT_TX) return abi_tx_abort(&js->abi);
    uint64_t waited_ns = js->abi.waited_ns;
    Micros timestamp = 0;
    js_watch_pause(js);
    AbiErrno result =
        op == OP_START_TX ? abi_tx_begin(&js->abi, &timestamp) : abi_tx_commit(&js->abi);
    js_watch_resume(js, js->abi.waited_ns - waited_ns);
    store64(js, MAIL64_RESULT, &timestamp, 1);
    return result;
}

// The server could not do what the module asked for: nothing it does can matter any more.
static AbiErrno do_abandon(JsInstance *js) {
    bool unwinds = js->call.access && js->call.access->may_begin_again;
    js->mail[MAIL_RESULT] = !unwinds && js_call_abandon(js);
    return ABI_OK;
}

static AbiErrno dispatch(JsInstance *js, uint32_t op) {
    switch (op) {
    case OP_ROW_COUNT: return do_row_count(js);
    case OP_SCAN_TABLE: return do_scan_table(js);
    case OP_SCAN_POINT: return do_scan_point(js);
    case OP_SCAN_RANGE: return do_scan_range(js);
    case OP_ADVANCE: return do_advance(js);
    case OP_CLOSE: return abi_iter_close(&js->abi, js->mail[MAIL_A0]);
    case OP_INSERT: return do_insert(js);
    case OP_UPDATE: return do_update(js);
    case OP_DELETE_POINT: return do_delete_point(js);
    case OP_DELETE_RANGE: return do_delete_range(js);
    case OP_DELETE_EQ: return do_delete_eq(js);
    case OP_CLEAR: return do_clear(js);
    case OP_TIMER_END: return abi_timer_end(&js->abi, js->mail[MAIL_A0]);
    case OP_JWT: return do_jwt(js);
    case OP_START_TX:
    case OP_COMMIT_TX:
    case OP_ABORT_TX: return do_transaction(js, op);
    case OP_ABANDON: return do_abandon(js);
    default: return ABI_HOST_CALL_FAILURE;  // (1)
    }
}

static JSValueRef trap(JsInstance *js) {
    uint32_t op = js->mail[MAIL_OP];
    if (js->mail[MAIL_CONSUMED]) {  // its rows were read from the scan block
        (void)abi_iter_close(&js->abi, js->mail[MAIL_CONSUMED]);
        js->mail[MAIL_CONSUMED] = 0;
    }
    if (op == OP_STEP && js->phase != JS_LOADING)
        js_step(js);
    else
        js->mail[MAIL_STATUS] = js->phase == JS_LOADING ? STATUS_INIT : dispatch(js, op);
    return js->undefined;
}

JSValueRef js_trap(JSContextRef ctx,
                   JSObjectRef function,
                   JSObjectRef this_object,
                   size_t argc,
                   const JSValueRef argv[],
                   JSValueRef *exception) {
    (void)ctx, (void)function, (void)this_object, (void)argc, (void)argv, (void)exception;
    return trap(js_instance_current());
}

int64_t js_trap_direct(JSContextRef global, void *frame) {
    (void)global, (void)frame;
    return (int64_t)(intptr_t)trap(js_instance_current());
}

// ---- text(): one or two strings beside the mailbox

// A string costs its module two bytes a character, at most three of ours: it has no more of them
// than of its own heap.
static bool text_read(JsInstance *js, JSValueRef value, Buf *out, JSValueRef *exception) {
    JSStringRef string = JSValueToStringCopy(js->ctx, value, exception);
    buf_clear(out);
    if (!string) return false;
    bool fits = JSStringGetLength(string) <= js->env.memory_max / 4;
    if (fits) text_from_utf16(out, JSStringGetCharactersPtr(string), JSStringGetLength(string));
    JSStringRelease(string);
    return fits && buf_ok(out);
}

// The caller of whoever called the host function (§2.4): frame 1 of the module's own.
static void do_log(JsInstance *js) {
    JsFrame frame = {.line = UINT32_MAX};
    Str stack = bytes_str(buf_bytes(&js->stack));
    for (int i = 0; i < 2; i++) {
        if (js_stack_next(&stack, &frame)) continue;
        frame = (JsFrame){.line = UINT32_MAX};
        break;
    }
    js_frame_map(js->program, &frame);
    Str message = bytes_str(buf_bytes(&js->text));
    abi_log(&js->abi, (uint8_t)js->mail[MAIL_A0], STR_NONE, frame.file, frame.line, message);
}

static AbiErrno do_schedule(JsInstance *js, Str function) {
    Bytes args;
    if (!io_bytes(js, js->mail[MAIL_A0], &args)) return ABI_HOST_CALL_FAILURE;
    if (!js->env.schedule_now) return ABI_HOST_CALL_FAILURE;
    js->env.schedule_now(js->env.ctx, function, args);
    return ABI_OK;
}

static AbiErrno do_encode(JsInstance *js) {
    if (js->text.len > js->io.len && !js_block_make(js, &js->io, js->text.len)) return ABI_FATAL;
    if (js->text.len) memcpy(js->io.bytes, js->text.ptr, js->text.len);
    js->mail[MAIL_RESULT] = (uint32_t)js->text.len;
    return ABI_OK;
}

static AbiErrno text_dispatch(JsInstance *js, uint32_t op) {
    Str text = bytes_str(buf_bytes(&js->text));
    switch (op) {
    case TEXT_TABLE_ID: return abi_table_id(&js->abi, text, &js->mail[MAIL_RESULT]);
    case TEXT_INDEX_ID: return abi_index_id(&js->abi, text, &js->mail[MAIL_RESULT]);
    case TEXT_LOG: do_log(js); return ABI_OK;
    case TEXT_TIMER_START: return abi_timer_start(&js->abi, text, &js->mail[MAIL_RESULT]);
    case TEXT_SCHEDULE: return do_schedule(js, text);
    case TEXT_FAIL:
        buf_clear(&js->message);
        buf_put_str(&js->message, text);
        return ABI_OK;
    case TEXT_STACK:
        buf_clear(&js->stack);
        buf_put_str(&js->stack, text);
        return ABI_OK;
    case TEXT_ENCODE: return do_encode(js);
    default: return ABI_HOST_CALL_FAILURE;  // (1)
    }
}

static bool allowed_while_loading(uint32_t op) {
    return op == TEXT_LOG || op == TEXT_FAIL || op == TEXT_STACK || op == TEXT_ENCODE;
}

JSValueRef js_text(JSContextRef ctx,
                   JSObjectRef function,
                   JSObjectRef this_object,
                   size_t argc,
                   const JSValueRef argv[],
                   JSValueRef *exception) {
    (void)function, (void)this_object;
    JsInstance *js = js_instance_current();
    if (argc < 2) return js->undefined;
    uint32_t op = (uint32_t)JSValueToNumber(ctx, argv[0], NULL);
    js->mail[MAIL_STATUS] = STATUS_FATAL;
    if (!text_read(js, argv[1], &js->text, exception)) return js->undefined;
    if (op == TEXT_LOG && argc > 2 && !text_read(js, argv[2], &js->stack, exception))
        return js->undefined;
    bool refused = js->phase == JS_LOADING && !allowed_while_loading(op);
    js->mail[MAIL_STATUS] = refused ? STATUS_INIT : text_dispatch(js, op);
    if (op == TEXT_ENCODE) return js->io.buffer;  // perhaps a new one
    return js->undefined;
}

// ---- native(): functions that answer with a value

static void throw_out_of_memory(JSContextRef ctx, JSValueRef *exception) {
    JSStringRef text = JSStringCreateWithUTF8CString("Out of memory");
    JSValueRef argument = JSValueMakeString(ctx, text);
    *exception = JSObjectMakeError(ctx, 1, &argument, NULL);
    JSStringRelease(text);
}

static JSValueRef string_value(JSContextRef ctx, const char *text) {
    JSStringRef string = JSStringCreateWithUTF8CString(text);
    JSValueRef value = JSValueMakeString(ctx, string);
    JSStringRelease(string);
    return value;
}

static void release_bytes(void *bytes, void *context) {
    (void)context;
    mem_free(bytes);
}

// Arguments too long for the shared block, or a request's body, in a buffer of their own.
static JSValueRef native_bytes(JsInstance *js,
                               JSContextRef ctx,
                               Bytes bytes,
                               JSValueRef *exception) {
    if (!js->call_running) bytes = BYTES_NONE;
    uint8_t *copy = mem_alloc(MAX(bytes.len, 1));
    if (!copy) {
        throw_out_of_memory(ctx, exception);
        return js->undefined;
    }
    if (bytes.len) memcpy(copy, bytes.ptr, bytes.len);
    return JSObjectMakeArrayBufferWithBytesNoCopy(ctx,
                                                  copy,
                                                  bytes.len,
                                                  release_bytes,
                                                  NULL,
                                                  exception);
}

// Both answers in io: the Response, then its body.
static AbiErrno http_answer(JsInstance *js) {
    size_t len = js->response.len + js->response_body.len;
    if (len > js->io.len && !js_block_make(js, &js->io, len)) {
        buf_clear(&js->response);
        buf_put_str(&js->response, STR("the response does not fit the module's memory"));
        return ABI_HTTP_ERROR;
    }
    if (js->response.len) memcpy(js->io.bytes, js->response.ptr, js->response.len);
    if (js->response_body.len)
        memcpy(js->io.bytes + js->response.len, js->response_body.ptr, js->response_body.len);
    js->mail[MAIL_RESULT] = (uint32_t)js->response.len;
    js->mail[MAIL_PENDING] = (uint32_t)js->response_body.len;
    return ABI_OK;
}

// io holds the Request, then its body.
static AbiErrno do_http(JsInstance *js) {
    uint64_t request = js->mail[MAIL_A0], body = js->mail[MAIL_A1];
    Bytes both;
    if (js->phase == JS_LOADING) return (AbiErrno)STATUS_INIT;
    if (!io_bytes(js, request + body, &both)) return ABI_HOST_CALL_FAILURE;
    buf_clear(&js->response);
    buf_clear(&js->response_body);
    uint64_t waited_ns = js->abi.waited_ns;
    js_watch_pause(js);
    AbiErrno result = abi_http(&js->abi,
                               BYTES(both.ptr, request),
                               BYTES(both.ptr + request, body),
                               &js->response,
                               &js->response_body);
    js_watch_resume(js, js->abi.waited_ns - waited_ns);
    return result == ABI_OK ? http_answer(js) : result;
}

static JSValueRef native_http(JsInstance *js) {
    js->mail[MAIL_STATUS] = do_http(js);
    return js->io.buffer;  // perhaps a new one
}

static bool is_ascii(Bytes text) {
    size_t at = 0;
    for (; at + 8 <= text.len; at += 8)
        if (load_u64(text.ptr + at) & 0x8080808080808080u) return false;
    for (; at < text.len; at++)
        if (text.ptr[at] & 0x80) return false;
    return true;
}

// A JavaScript string, of one byte a character where that is enough. NULL when out of memory.
static JSStringRef string_make(JsInstance *js, Bytes utf8, bool *valid) {
    buf_clear(&js->text);
    *valid = true;
    if (is_ascii(utf8) && !memchr(utf8.ptr, 0, utf8.len)) {
        buf_put_bytes(&js->text, utf8);
        buf_put_u8(&js->text, 0);
        return buf_ok(&js->text) ? JSStringCreateWithUTF8CString((const char *)js->text.ptr) : NULL;
    }
    *valid = text_to_utf16(&js->text, utf8);
    if (!buf_ok(&js->text)) return NULL;
    const void *units = js->text.ptr;
    return JSStringCreateWithCharacters(units, js->text.len / sizeof(JSChar));
}

static JSValueRef native_error_text(JsInstance *js, JSContextRef ctx, uint32_t status) {
    if (status != ABI_HTTP_ERROR) return string_value(ctx, abi_errno_text((AbiErrno)status));
    bool valid;
    JSStringRef string = string_make(js, buf_bytes(&js->response), &valid);
    if (!string) return string_value(ctx, abi_errno_text(ABI_HTTP_ERROR));
    JSValueRef value = JSValueMakeString(ctx, string);
    JSStringRelease(string);
    return value;
}

// io[0..len] as a string; undefined if it must be well-formed and is not.
static JSValueRef native_decode(JsInstance *js, JSContextRef ctx, JSValueRef *exception) {
    static const uint8_t bom[3] = {0xef, 0xbb, 0xbf};
    Bytes utf8;
    if (!io_bytes(js, js->mail[MAIL_A0], &utf8)) return js->undefined;
    if (utf8.len >= 3 && memcmp(utf8.ptr, bom, 3) == 0) utf8 = BYTES(utf8.ptr + 3, utf8.len - 3);
    bool valid;
    JSStringRef string = string_make(js, utf8, &valid);
    if (!string) {
        throw_out_of_memory(ctx, exception);
        return js->undefined;
    }
    bool refused = !valid && js->mail[MAIL_A1];
    JSValueRef value = refused ? js->undefined : JSValueMakeString(ctx, string);
    JSStringRelease(string);
    return value;
}

JSValueRef js_native(JSContextRef ctx,
                     JSObjectRef function,
                     JSObjectRef this_object,
                     size_t argc,
                     const JSValueRef argv[],
                     JSValueRef *exception) {
    (void)function, (void)this_object, (void)argc, (void)argv;
    JsInstance *js = js_instance_current();
    switch (js->mail[MAIL_OP]) {
    case NATIVE_GROW:
        if (js_block_make(js, &js->io, js->mail[MAIL_A0])) return js->io.buffer;
        throw_out_of_memory(ctx, exception);
        return js->undefined;
    case NATIVE_ARGS: return native_bytes(js, ctx, js->call.args, exception);
    case NATIVE_BODY: return native_bytes(js, ctx, js->call.body, exception);
    case NATIVE_HTTP: return native_http(js);
    case NATIVE_ERROR_TEXT: return native_error_text(js, ctx, js->mail[MAIL_A0]);
    case NATIVE_DECODE: return native_decode(js, ctx, exception);
    default: return js->undefined;  // (1)
    }
}
