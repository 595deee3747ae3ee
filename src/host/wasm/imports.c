// imports.c: the functions a module may import, from a guest's words to abi.h and back (§1.3, §1.5).
//
// PICTURE   each is  static … name(WasmInstance *w, its parameters)  and gets, by the table at the end,
//           a wrapper that leaves and enters the guest around it.
//
// ALWAYS TRUE
//   (1) Every address is checked against the memory as it is now, before anything is done: a refusal
//       has no effect, and results have a place to go.
//   (2) Nothing here keeps a pointer into guest memory: it is looked up again after whatever could
//       have run the guest. (Nothing that is called here does.)
#include "host/wasm/wasm.h"

// ---- guest addresses

// The bytes at `at`, for reading or writing. (0, 0) is accepted as nothing.
static inline uint8_t *guest_at(WasmInstance *w, uint32_t at, uint32_t len) {
    static uint8_t nothing;
    if (UNLIKELY(at == 0)) {
        if (len == 0) return &nothing;
        guest_trap(w, "null pointer passed to a spacetime function");
    }
    if (UNLIKELY((uint64_t)at + len > w->memory->size))
        guest_trap(w, "out of bounds pointer passed to a spacetime function");
    return w->memory->data + at;
}

static inline Bytes guest_bytes(WasmInstance *w, uint32_t at, uint32_t len) {
    return BYTES(guest_at(w, at, len), len);
}

static Str guest_name(WasmInstance *w, uint32_t at, uint32_t len) {
    Bytes bytes = guest_bytes(w, at, len);
    if (!utf8_valid(bytes)) guest_trap(w, "invalid utf8 passed to a spacetime function");
    return bytes_str(bytes);
}

NORETURN static void fatal(WasmInstance *w, const char *function) {
    guest_trap(w, "runtime error calling %s: %s", function, abi_errno_text(ABI_FATAL));
}

// An errno as the guest sees it; what the server could not do is no errno.
static inline uint32_t answer(WasmInstance *w, const char *function, AbiErrno result) {
    if (UNLIKELY(result == ABI_FATAL)) fatal(w, function);
    return (uint32_t)result;
}

static inline uint32_t answer_u32(WasmInstance *w,
                                  const char *function,
                                  AbiErrno result,
                                  uint8_t *out,
                                  uint32_t value) {
    if (result == ABI_OK) store_u32(out, value);
    return answer(w, function, result);
}

static inline uint32_t answer_u64(WasmInstance *w,
                                  const char *function,
                                  AbiErrno result,
                                  uint8_t *out,
                                  uint64_t value) {
    if (result == ABI_OK) store_u64(out, value);
    return answer(w, function, result);
}

static const uint32_t MINUS_ONE = UINT32_MAX;  // i16 -1, sign-extended

// ---- tables and indexes

static uint32_t table_id_from_name(WasmInstance *w, uint32_t name, uint32_t len, uint32_t out) {
    uint8_t *to = guest_at(w, out, 4);
    uint32_t id = 0;
    AbiErrno result = abi_table_id(&w->abi, guest_name(w, name, len), &id);
    return answer_u32(w, __func__, result, to, id);
}

static uint32_t index_id_from_name(WasmInstance *w, uint32_t name, uint32_t len, uint32_t out) {
    uint8_t *to = guest_at(w, out, 4);
    uint32_t id = 0;
    AbiErrno result = abi_index_id(&w->abi, guest_name(w, name, len), &id);
    return answer_u32(w, __func__, result, to, id);
}

static uint32_t datastore_table_row_count(WasmInstance *w, uint32_t table, uint32_t out) {
    uint8_t *to = guest_at(w, out, 8);
    uint64_t count = 0;
    AbiErrno result = abi_row_count(&w->abi, table, &count);
    return answer_u64(w, __func__, result, to, count);
}

static uint32_t datastore_clear(WasmInstance *w, uint32_t table, uint32_t out) {
    uint8_t *to = guest_at(w, out, 8);
    uint64_t count = 0;
    AbiErrno result = abi_clear(&w->abi, table, &count);
    return answer_u64(w, __func__, result, to, count);
}

// ---- scans

static uint32_t datastore_table_scan_bsatn(WasmInstance *w, uint32_t table, uint32_t out) {
    uint8_t *to = guest_at(w, out, 4);
    uint32_t iter = 0;
    AbiErrno result = abi_scan_table(&w->abi, table, &iter);
    return answer_u32(w, __func__, result, to, iter);
}

// §1.8: without prefix columns the prefix's address and length mean nothing.
static AccessRange range_read(WasmInstance *w,
                              uint32_t prefix,
                              uint32_t prefix_len,
                              uint32_t prefix_elems,
                              uint32_t start,
                              uint32_t start_len,
                              uint32_t end,
                              uint32_t end_len) {
    if (prefix_elems > UINT16_MAX) guest_trap(w, "ABI violation, a `ColId` must be a `u16`");
    return (AccessRange){.prefix = prefix_elems ? guest_bytes(w, prefix, prefix_len) : BYTES_NONE,
                         .prefix_elems = prefix_elems,
                         .lower = guest_bytes(w, start, start_len),
                         .upper = guest_bytes(w, end, end_len)};
}

static uint32_t scan_range(WasmInstance *w,
                           const char *function,
                           uint32_t index,
                           const AccessRange *range,
                           uint32_t out) {
    uint8_t *to = guest_at(w, out, 4);
    uint32_t iter = 0;
    AbiErrno result = abi_scan_range(&w->abi, index, range, &iter);
    return answer_u32(w, function, result, to, iter);
}

static uint32_t delete_range(WasmInstance *w,
                             const char *function,
                             uint32_t index,
                             const AccessRange *range,
                             uint32_t out) {
    uint8_t *to = guest_at(w, out, 4);
    uint32_t deleted = 0;
    AbiErrno result = abi_delete_range(&w->abi, index, range, &deleted);
    return answer_u32(w, function, result, to, deleted);
}

// Each under its own name and the deprecated one.
#define RANGE_FUNCTION(name, does)                              \
    static uint32_t name(WasmInstance *w GUEST_I(GUEST_P9)) {   \
        AccessRange range = range_read(w, b, c, d, e, f, g, h); \
        return does(w, #name, a, &range, i);                    \
    }
RANGE_FUNCTION(datastore_index_scan_range_bsatn, scan_range)
RANGE_FUNCTION(datastore_btree_scan_bsatn, scan_range)
RANGE_FUNCTION(datastore_delete_by_index_scan_range_bsatn, delete_range)
RANGE_FUNCTION(datastore_delete_by_btree_scan_bsatn, delete_range)

static uint32_t datastore_index_scan_point_bsatn(WasmInstance *w,
                                                 uint32_t index,
                                                 uint32_t point,
                                                 uint32_t len,
                                                 uint32_t out) {
    uint8_t *to = guest_at(w, out, 4);
    uint32_t iter = 0;
    AbiErrno result = abi_scan_point(&w->abi, index, guest_bytes(w, point, len), &iter);
    return answer_u32(w, __func__, result, to, iter);
}

static uint32_t datastore_delete_by_index_scan_point_bsatn(WasmInstance *w,
                                                           uint32_t index,
                                                           uint32_t point,
                                                           uint32_t len,
                                                           uint32_t out) {
    uint8_t *to = guest_at(w, out, 4);
    uint32_t deleted = 0;
    AbiErrno result = abi_delete_point(&w->abi, index, guest_bytes(w, point, len), &deleted);
    return answer_u32(w, __func__, result, to, deleted);
}

static uint32_t datastore_delete_all_by_eq_bsatn(WasmInstance *w,
                                                 uint32_t table,
                                                 uint32_t relation,
                                                 uint32_t len,
                                                 uint32_t out) {
    uint8_t *to = guest_at(w, out, 4);
    uint32_t deleted = 0;
    AbiErrno result = abi_delete_all_by_eq(&w->abi, table, guest_bytes(w, relation, len), &deleted);
    return answer_u32(w, __func__, result, to, deleted);
}

static uint32_t row_iter_bsatn_advance(WasmInstance *w,
                                       uint32_t iter,
                                       uint32_t buf,
                                       uint32_t buf_len) {
    uint8_t *len_at = guest_at(w, buf_len, 4);
    uint32_t room = load_u32(len_at);
    uint8_t *to = guest_at(w, buf, room);
    size_t len = 0;
    bool exhausted = false;
    AbiErrno result = abi_iter_advance(&w->abi, iter, to, room, &len, &exhausted);
    if (result == ABI_OK || result == ABI_BUFFER_TOO_SMALL) store_u32(len_at, (uint32_t)len);
    return result == ABI_OK && exhausted ? MINUS_ONE : answer(w, __func__, result);
}

static uint32_t row_iter_bsatn_close(WasmInstance *w, uint32_t iter) {
    return answer(w, __func__, abi_iter_close(&w->abi, iter));
}

// ---- writes

// The generated columns go where the row was, and their length where its length was.
static uint32_t generated_answer(WasmInstance *w,
                                 const char *function,
                                 AbiErrno result,
                                 uint8_t *row,
                                 uint32_t row_len,
                                 uint8_t *len_at) {
    if (result != ABI_OK) return answer(w, function, result);
    if (!buf_ok(&w->generated) || w->generated.len > row_len) fatal(w, function);
    if (w->generated.len) memcpy(row, w->generated.ptr, w->generated.len);
    store_u32(len_at, (uint32_t)w->generated.len);
    return ABI_OK;
}

static uint32_t datastore_insert_bsatn(WasmInstance *w,
                                       uint32_t table,
                                       uint32_t row,
                                       uint32_t row_len) {
    uint8_t *len_at = guest_at(w, row_len, 4);
    uint32_t len = load_u32(len_at);
    uint8_t *bytes = guest_at(w, row, len);
    buf_clear(&w->generated);
    AbiErrno result = abi_insert(&w->abi, table, BYTES(bytes, len), &w->generated);
    return generated_answer(w, __func__, result, bytes, len, len_at);
}

static uint32_t datastore_update_bsatn(WasmInstance *w,
                                       uint32_t table,
                                       uint32_t index,
                                       uint32_t row,
                                       uint32_t row_len) {
    uint8_t *len_at = guest_at(w, row_len, 4);
    uint32_t len = load_u32(len_at);
    uint8_t *bytes = guest_at(w, row, len);
    buf_clear(&w->generated);
    AbiErrno result = abi_update(&w->abi, table, index, BYTES(bytes, len), &w->generated);
    return generated_answer(w, __func__, result, bytes, len, len_at);
}

// ---- bytes

static uint32_t bytes_source_read(WasmInstance *w,
                                  uint32_t source,
                                  uint32_t buf,
                                  uint32_t buf_len) {
    uint8_t *len_at = guest_at(w, buf_len, 4);
    uint32_t room = load_u32(len_at);
    uint8_t *to = guest_at(w, buf, room);
    size_t len = 0;
    bool exhausted = false;
    AbiErrno result = abi_source_read(&w->bytes, source, to, room, &len, &exhausted);
    if (result != ABI_OK) return answer(w, __func__, result);
    store_u32(len_at, (uint32_t)len);
    return exhausted ? MINUS_ONE : ABI_OK;
}

static uint32_t bytes_source_remaining_length(WasmInstance *w, uint32_t source, uint32_t out) {
    uint8_t *to = guest_at(w, out, 4);
    size_t left = 0;
    AbiErrno result = abi_source_left(&w->bytes, source, &left);
    return answer_u32(w, __func__, result, to, (uint32_t)left);
}

static uint32_t bytes_sink_write(WasmInstance *w, uint32_t sink, uint32_t buf, uint32_t buf_len) {
    uint32_t len = load_u32(guest_at(w, buf_len, 4));  // all of it is taken, so it stays as it is
    return answer(w, __func__, abi_sink_write(&w->bytes, sink, guest_bytes(w, buf, len)));
}

static uint32_t get_jwt(WasmInstance *w, uint32_t connection, uint32_t out) {
    uint8_t *to = guest_at(w, out, 4);
    ConnectionId id;
    memcpy(id.le, guest_at(w, connection, sizeof id.le), sizeof id.le);
    Bytes payload = BYTES_NONE;
    uint32_t source = 0;
    AbiErrno result = abi_jwt(&w->abi, &id, &payload);
    if (result == ABI_OK) {
        Buf copy = {0};  // the data layer's bytes last until its next call only
        buf_put_bytes(&copy, payload);
        if (!abi_source_take(&w->bytes, &copy, &source)) fatal(w, __func__);
    }
    return answer_u32(w, __func__, result, to, source);
}

// ---- console

// §1.10: a text that may be absent.
static Str text_or_none(WasmInstance *w, int slot, uint32_t at, uint32_t len) {
    return at ? wasm_text(w, slot, guest_bytes(w, at, len)) : STR_NONE;
}

enum { LEVEL_PANIC = 101 };

static void console_log(WasmInstance *w GUEST_I(GUEST_P8)) {
    uint8_t level = (uint8_t)a;
    Str target = text_or_none(w, 0, b, c), filename = text_or_none(w, 1, d, e);
    bool readable = (g || !h) && (uint64_t)g + h <= w->memory->size;
    if (!readable) return;  // of the message alone, silently
    Str message = wasm_text(w, 2, guest_bytes(w, g, h));
    if (level != LEVEL_PANIC) {
        abi_log(&w->abi, level, target, filename, f, message);
        return;
    }
    w->panicked = true;
    w->frame_count = guest_frames(w, w->frames, GUEST_FRAMES_MAX);
    abi_log_panic(&w->abi, filename, f, message, w->frames, w->frame_count);
}

static uint32_t console_timer_start(WasmInstance *w, uint32_t name, uint32_t len) {
    uint32_t timer = 0;
    AbiErrno result = abi_timer_start(&w->abi, wasm_text(w, 0, guest_bytes(w, name, len)), &timer);
    if (result != ABI_OK) fatal(w, __func__);
    return timer;
}

static uint32_t console_timer_end(WasmInstance *w, uint32_t timer) {
    return answer(w, __func__, abi_timer_end(&w->abi, timer));
}

// ---- the rest

static void identity(WasmInstance *w, uint32_t out) {
    memcpy(guest_at(w, out, sizeof w->env.database.le),
           w->env.database.le,
           sizeof w->env.database.le);
}

static void volatile_nonatomic_schedule_immediate(WasmInstance *w,
                                                  uint32_t name,
                                                  uint32_t name_len,
                                                  uint32_t args,
                                                  uint32_t args_len) {
    Str function = guest_name(w, name, name_len);
    Bytes bytes = guest_bytes(w, args, args_len);
    if (w->env.schedule_now) w->env.schedule_now(w->env.ctx, function, bytes);
}

// ---- procedures: what waits is not counted

static uint64_t procedure_sleep_until(WasmInstance *w, uint64_t wake) {
    const char *why = NULL;
    Micros now = 0;
    guest_time_pause(w);
    bool slept = abi_sleep_until(&w->abi, (Micros)wake, &now, &why);
    guest_time_resume(w);
    if (!slept) guest_trap(w, "%s", why);
    return (uint64_t)now;
}

static uint32_t procedure_start_mut_tx(WasmInstance *w, uint32_t out) {
    uint8_t *to = guest_at(w, out, 8);
    Micros timestamp = 0;
    guest_time_pause(w);
    AbiErrno result = abi_tx_begin(&w->abi, &timestamp);
    guest_time_resume(w);
    return answer_u64(w, __func__, result, to, (uint64_t)timestamp);
}

static uint32_t procedure_commit_mut_tx(WasmInstance *w) {
    guest_time_pause(w);
    AbiErrno result = abi_tx_commit(&w->abi);
    guest_time_resume(w);
    return answer(w, __func__, result);
}

static uint32_t procedure_abort_mut_tx(WasmInstance *w) {
    return answer(w, __func__, abi_tx_abort(&w->abi));
}

static uint32_t procedure_http_request(WasmInstance *w,
                                       uint32_t request,
                                       uint32_t request_len,
                                       uint32_t body,
                                       uint32_t body_len,
                                       uint32_t out) {
    uint8_t *to = guest_at(w, out, 8);
    Bytes asked = guest_bytes(w, request, request_len), sent = guest_bytes(w, body, body_len);
    if (!abi_may_block(&w->abi))
        guest_trap(w, "procedure_http_request is only available in async instances");
    uint32_t sources[2] = {0, 0};
    buf_clear(&w->response);
    buf_clear(&w->response_body);
    guest_time_pause(w);
    AbiErrno result = abi_http(&w->abi, asked, sent, &w->response, &w->response_body);
    guest_time_resume(w);
    if (result != ABI_OK && result != ABI_HTTP_ERROR) return answer(w, __func__, result);
    if (result == ABI_HTTP_ERROR) {  // the reason, as a BSATN string
        Buf reason = {0};
        buf_put_lp(&reason, buf_bytes(&w->response));
        if (!abi_source_take(&w->bytes, &reason, &sources[0])) fatal(w, __func__);
        store_u32(to, sources[0]);
        return ABI_HTTP_ERROR;
    }
    bool taken = abi_source_take(&w->bytes, &w->response, &sources[0]) &&
                 abi_source_take(&w->bytes, &w->response_body, &sources[1]);
    if (!taken) fatal(w, __func__);
    store_u32(to, sources[0]);
    store_u32(to + 4, sources[1]);
    return ABI_OK;
}

// ---- the table

#define RESULT_void
#define RESULT_uint32_t uint32_t result =
#define RESULT_uint64_t uint64_t result =
#define RETURN_void
#define RETURN_uint32_t return result
#define RETURN_uint64_t return result

#define X(minor, name, type, params, args, signature) \
    static type name##_import(void *host params) {    \
        WasmInstance *w = host;                       \
        guest_exit(w);                                \
        RESULT_##type name(w args);                   \
        guest_enter(w);                               \
        RETURN_##type;                                \
    }
GUEST_IMPORTS(X)
#undef X

const GuestHost guest_host = {.trap = guest_trap_code,
                              .memory_new = guest_memory_new,
                              .memory_grow = guest_memory_grow,
                              .table_resize = guest_table_resize,
#define X(minor, name, type, params, args, signature) .name = name##_import,
                              GUEST_IMPORTS(X)
#undef X
};
