// abi.c: iterators, timers, log records and errors of the module ABI, under every engine.
//
// PICTURE
//   scan ──> rows serialised at once ──> [chunk >32K | chunk >32K | rest]  ──> advance, advance …
//                                            AbiIter, handle = slot + 1
//
// ALWAYS TRUE
//   (1) An iterator shows the rows as they were when its scan started: they were copied then.
//   (2) A closed slot is in the free list and nowhere else; handle 0 never exists.
//   (3) After ABI_FATAL the call is lost: every later function answers ABI_FATAL, so a module that
//       swallows the exception cannot commit what the server could not do.
//   (4) A transaction that a procedure began ends before abi_end returns: committed, aborted, or
//       found open there and aborted. No two are open at once.
//   (5) A module does not write to the server's own tables: rows of st_table that disagree with the
//       catalog would keep the database from starting. The node's own writes do not come this way.
//   (6) What a call's open iterators hold is bounded; one scan too many is ABI_FATAL.
//
// CALLERS   host/js/syscalls.c, host/wasm/. START AT  abi_test.c, "an iterator".
#include "host/abi.h"

#include <stdio.h>
#include <time.h>

#include "base/mem.h"

#define HOST_NAME "__spacetimedb__"  // of whatever the server logs itself

enum { LEVEL_ERROR = 0, LEVEL_INFO = 2, LEVEL_DEBUG = 3, LEVEL_TRACE = 4, LEVEL_PANIC = 101 };

enum {
    KEEP_BYTES = 1 << 20,         // memory of a closed iterator that is worth keeping …
    KEEP_ALL_BYTES = 8 << 20,     // … as long as all of them have no more
    ITER_BYTES = 256,             // what an open one costs without its rows
    ITERS_BYTES_MAX = 256 << 20,  // (6), unless the instance's memory has a limit
};

void abi_init(Abi *abi, const HostEnv *env) {
    *abi = (Abi){.env = env};
}

void abi_deinit(Abi *abi) {
    for (uint32_t i = 0; i < abi->iter_count; i++) {
        buf_deinit(&abi->iters[i].rows);
        buf_deinit(&abi->iters[i].ends);
    }
    for (uint32_t i = 0; i < abi->timer_count; i++)
        buf_deinit(&abi->timers[i].name);
    mem_free(abi->iters);
    mem_free(abi->timers);
    foresee_deinit(&abi->foresee);
    *abi = (Abi){0};
}

void abi_begin(Abi *abi, const HostCall *call) {
    ASSERT(!abi->running);
    abi->access = call->access;
    abi->function = call->name;
    abi->running = true;
    abi->fatal = false;
    abi->procedure = call->procedure;
    abi->procedure_ctx = call->procedure_ctx;
    abi->in_procedure_tx = false;
    abi->waited_ns = 0;
    foresee_begin(&abi->foresee, call);
}

static void iter_release(Abi *abi, AbiIter *iter) {
    iter->open = false;
    abi->open_count--;
    iter->next_free = abi->iter_free;
    abi->iter_free = (uint32_t)(iter - abi->iters) + 1;
    abi->iter_bytes -= iter->counted;
    if (iter->rows.cap > KEEP_BYTES || abi->iter_kept + iter->rows.cap > KEEP_ALL_BYTES)
        buf_deinit(&iter->rows);
    abi->iter_kept += iter->rows.cap;
}

static void timer_release(Abi *abi, AbiTimer *timer) {
    if (timer->open) abi->open_count--;
    timer->open = false;
    timer->next_free = abi->timer_free;
    abi->timer_free = (uint32_t)(timer - abi->timers) + 1;
}

// From the last to the first, so that the next call's handles count up from 1 again.
static void close_all(Abi *abi) {
    for (uint32_t i = abi->iter_count; i-- > 0;)
        if (abi->iters[i].open) iter_release(abi, &abi->iters[i]);
    for (uint32_t i = abi->timer_count; i-- > 0;)
        if (abi->timers[i].open) timer_release(abi, &abi->timers[i]);
    ASSERT(abi->open_count == 0);
}

static void tx_dangling(Abi *abi);

void abi_end(Abi *abi) {
    if (abi->in_procedure_tx) tx_dangling(abi);
    if (abi->open_count) close_all(abi);
    foresee_end(&abi->foresee);
    abi->access = NULL;
    abi->function = STR_NONE;
    abi->running = false;
    abi->fatal = false;
    abi->procedure = NULL;
    abi->procedure_ctx = NULL;
}

// May this call use the data at all?
static AbiErrno access_check(const Abi *abi) {
    if (UNLIKELY(abi->fatal)) return ABI_FATAL;
    return LIKELY(abi->access != NULL) ? ABI_OK : ABI_NOT_IN_TRANSACTION;
}

static AbiErrno remember(Abi *abi, AbiErrno result) {
    if (UNLIKELY(result == ABI_FATAL)) abi->fatal = true;  // (3)
    return result;
}

// (5) May it change this table, or what this index finds?
static AbiErrno write_check(const Abi *abi, uint32_t id) {
    AbiErrno result = access_check(abi);
    if (result != ABI_OK || LIKELY(id >= abi->env->first_writable_id)) return result;
    return ABI_TRANSACTION_IS_READ_ONLY;
}

static AbiErrno table_write_check(const Abi *abi, uint32_t table) {
    AbiErrno result = write_check(abi, table);
    if (LIKELY(result != ABI_TRANSACTION_IS_READ_ONLY)) return result;
    uint64_t count;  // one that is not there is told as such
    AbiErrno there = abi->access->ops->row_count(abi->access, table, &count);
    return there == ABI_NO_SUCH_TABLE ? there : result;
}

AbiErrno abi_table_id(Abi *abi, Str name, uint32_t *out) {
    AbiErrno result = access_check(abi);
    if (result != ABI_OK) return result;
    return remember(abi, abi->access->ops->table_id(abi->access, name, out));
}

AbiErrno abi_index_id(Abi *abi, Str name, uint32_t *out) {
    AbiErrno result = access_check(abi);
    if (result != ABI_OK) return result;
    return remember(abi, abi->access->ops->index_id(abi->access, name, out));
}

AbiErrno abi_row_count(Abi *abi, uint32_t table, uint64_t *out) {
    AbiErrno result = access_check(abi);
    if (result != ABI_OK) return result;
    return remember(abi, abi->access->ops->row_count(abi->access, table, out));
}

AbiErrno abi_insert(Abi *abi, uint32_t table, Bytes row, Buf *generated) {
    AbiErrno result = table_write_check(abi, table);
    if (result != ABI_OK) return result;
    return remember(abi, abi->access->ops->insert(abi->access, table, row, generated));
}

AbiErrno abi_update(Abi *abi, uint32_t table, uint32_t index, Bytes row, Buf *generated) {
    AbiErrno result = table_write_check(abi, table);
    if (result != ABI_OK) return result;
    return remember(abi, abi->access->ops->update(abi->access, table, index, row, generated));
}

AbiErrno abi_delete_point(Abi *abi, uint32_t index, Bytes point, uint32_t *deleted) {
    AbiErrno result = write_check(abi, index);
    if (result != ABI_OK) return result;
    foresee_saw(&abi->foresee, index, point);
    return remember(abi, abi->access->ops->delete_point(abi->access, index, point, deleted));
}

// A column position is 16 bits wide; the data layer checks it against the index.
static bool range_ok(const AccessRange *range) {
    return range->prefix_elems <= UINT16_MAX;
}

AbiErrno abi_delete_range(Abi *abi, uint32_t index, const AccessRange *range, uint32_t *deleted) {
    AbiErrno result = write_check(abi, index);
    if (result != ABI_OK) return result;
    if (!range_ok(range)) return ABI_BSATN_DECODE_ERROR;
    return remember(abi, abi->access->ops->delete_range(abi->access, index, range, deleted));
}

AbiErrno abi_delete_all_by_eq(Abi *abi, uint32_t table, Bytes relation, uint32_t *deleted) {
    AbiErrno result = table_write_check(abi, table);
    if (result != ABI_OK) return result;
    return remember(abi, abi->access->ops->delete_all_by_eq(abi->access, table, relation, deleted));
}

AbiErrno abi_clear(Abi *abi, uint32_t table, uint64_t *deleted) {
    AbiErrno result = table_write_check(abi, table);
    if (result != ABI_OK) return result;
    return remember(abi, abi->access->ops->clear(abi->access, table, deleted));
}

AbiErrno abi_jwt(Abi *abi, const ConnectionId *connection, Bytes *out) {
    AbiErrno result = access_check(abi);
    if (result != ABI_OK) return result;
    return remember(abi, abi->access->ops->jwt(abi->access, connection, out));
}

// ---- iterators

// Room for one more element of a slab; NULL when out of memory.
static void *slab_grow(void *slab, uint32_t *cap, uint32_t count, size_t each) {
    if (count < *cap) return slab;
    uint32_t wider = *cap ? *cap * 2 : 8;
    if (wider <= *cap) return NULL;
    void *grown = mem_realloc(slab, (size_t)wider * each);
    if (grown) *cap = wider;
    return grown;
}

static AbiIter *iter_acquire(Abi *abi) {
    if (abi->iter_free) {
        AbiIter *iter = &abi->iters[abi->iter_free - 1];
        abi->iter_free = iter->next_free;
        abi->iter_kept -= iter->rows.cap;
        return iter;
    }
    AbiIter *iters = slab_grow(abi->iters, &abi->iter_cap, abi->iter_count, sizeof *iters);
    if (!iters) return NULL;
    abi->iters = iters;
    AbiIter *iter = &iters[abi->iter_count++];
    *iter = (AbiIter){0};
    return iter;
}

static size_t iter_bytes_max(const Abi *abi) {
    return abi->env->memory_max ? abi->env->memory_max : ITERS_BYTES_MAX;
}

static bool iter_count_bytes(AbiIter *iter, size_t bytes) {
    Abi *abi = iter->abi;
    iter->counted += bytes;
    abi->iter_bytes += bytes;
    if (LIKELY(abi->iter_bytes <= iter_bytes_max(abi))) return true;
    abi->iter_overflow = true;
    return false;
}

static bool iter_add_row(void *ctx, Bytes row) {
    AbiIter *iter = ctx;
    if (!iter_count_bytes(iter, row.len)) return false;
    if (UNLIKELY(!buf_reserve(&iter->rows, row.len))) return false;
    if (row.len) bytes_copy(iter->rows.ptr + iter->rows.len, row.ptr, row.len);
    iter->rows.len += row.len;
    if (UNLIKELY(iter->rows.len - iter->at > ABI_CHUNK_BYTES)) {  // `at`: the open chunk's start
        buf_put_u64(&iter->ends, iter->rows.len);
        iter->at = iter->rows.len;
    }
    return buf_ok(&iter->ends);
}

static RowSink iter_open(Abi *abi, AbiIter *iter) {
    buf_clear(&iter->rows);
    buf_clear(&iter->ends);
    iter->abi = abi;
    iter->counted = 0;
    (void)iter_count_bytes(iter, ITER_BYTES);
    iter->at = 0;
    iter->next_chunk = 0;
    iter->open = true;
    abi->open_count++;
    return (RowSink){.row = iter_add_row, .ctx = iter};
}

static void iters_overflowed(Abi *abi) {
    char text[160];
    int len =
        snprintf(text,
                 sizeof text,
                 "the open iterators of this call hold more than %zu bytes of rows: read what "
                 "is needed, by an index, and close iterators early",
                 iter_bytes_max(abi));
    abi->iter_overflow = false;
    Str host = STR(HOST_NAME);
    abi_log(abi, LEVEL_ERROR, host, host, UINT32_MAX, (Str){text, (size_t)len});
}

// Give out the handle, or give the slot back.
static AbiErrno iter_finish(Abi *abi, AbiIter *iter, AbiErrno result, uint32_t *handle) {
    iter->at = 0;
    if (abi->iter_overflow) {
        iters_overflowed(abi);
        result = ABI_FATAL;
    }
    if (result != ABI_OK) {
        iter_release(abi, iter);
        return remember(abi, result);
    }
    *handle = (uint32_t)(iter - abi->iters) + 1;
    return ABI_OK;
}

AbiErrno abi_scan_table(Abi *abi, uint32_t table, uint32_t *handle) {
    AbiErrno result = access_check(abi);
    if (result != ABI_OK) return result;
    AbiIter *iter = iter_acquire(abi);
    if (!iter) return remember(abi, ABI_FATAL);
    result = abi->access->ops->scan_table(abi->access, table, iter_open(abi, iter));
    return iter_finish(abi, iter, result, handle);
}

AbiErrno abi_scan_point(Abi *abi, uint32_t index, Bytes point, uint32_t *handle) {
    AbiErrno result = access_check(abi);
    if (result != ABI_OK) return result;
    AbiIter *iter = iter_acquire(abi);
    if (!iter) return remember(abi, ABI_FATAL);
    foresee_saw(&abi->foresee, index, point);
    result = abi->access->ops->scan_point(abi->access, index, point, iter_open(abi, iter));
    return iter_finish(abi, iter, result, handle);
}

AbiErrno abi_scan_range(Abi *abi, uint32_t index, const AccessRange *range, uint32_t *handle) {
    AbiErrno result = access_check(abi);
    if (result != ABI_OK) return result;
    if (!range_ok(range)) return ABI_BSATN_DECODE_ERROR;
    AbiIter *iter = iter_acquire(abi);
    if (!iter) return remember(abi, ABI_FATAL);
    result = abi->access->ops->scan_range(abi->access, index, range, iter_open(abi, iter));
    return iter_finish(abi, iter, result, handle);
}

static AbiIter *iter_find(const Abi *abi, uint32_t handle) {
    if (handle == 0 || handle > abi->iter_count) return NULL;
    AbiIter *iter = &abi->iters[handle - 1];
    return iter->open ? iter : NULL;
}

// The last chunk ends where the rows do, and is not written down.
static size_t chunk_count(const AbiIter *iter) {
    size_t closed = iter->ends.len / sizeof(uint64_t);
    size_t closed_end = closed ? load_u64(iter->ends.ptr + iter->ends.len - sizeof(uint64_t)) : 0;
    return closed + (iter->rows.len > closed_end);
}
static size_t chunk_end(const AbiIter *iter, size_t chunk) {
    bool closed = chunk < iter->ends.len / sizeof(uint64_t);
    return closed ? load_u64(iter->ends.ptr + chunk * sizeof(uint64_t)) : iter->rows.len;
}

// How many bytes the whole chunks that fit `room` have; *chunk becomes the first that does not.
static size_t iter_fitting(const AbiIter *iter, size_t room, size_t *chunk) {
    size_t fitting = 0;
    for (*chunk = iter->next_chunk; *chunk < chunk_count(iter); (*chunk)++) {
        size_t with_it = chunk_end(iter, *chunk) - iter->at;
        if (with_it > room) break;
        fitting = with_it;
    }
    return fitting;
}

AbiErrno abi_iter_advance(Abi *abi,
                          uint32_t handle,
                          uint8_t *out,
                          size_t room,
                          size_t *len,
                          bool *exhausted) {
    AbiIter *iter = iter_find(abi, handle);
    if (!iter) return ABI_NO_SUCH_ITER;
    if (LIKELY(iter->ends.len == 0 && iter->rows.len <= room)) {  // one chunk, as of most look-ups
        *len = iter->rows.len;
        *exhausted = true;
        bytes_copy(out, iter->rows.ptr, *len);
        iter_release(abi, iter);
        return ABI_OK;
    }
    size_t chunk;
    *len = iter_fitting(iter, room, &chunk);
    *exhausted = chunk == chunk_count(iter);
    if (*len == 0 && !*exhausted) {
        *len = chunk_end(iter, chunk) - iter->at;
        return ABI_BUFFER_TOO_SMALL;
    }
    if (*len) memcpy(out, iter->rows.ptr + iter->at, *len);
    iter->at += *len;
    iter->next_chunk = chunk;
    if (*exhausted) iter_release(abi, iter);
    return ABI_OK;
}

size_t abi_iter_fitting(const Abi *abi, uint32_t handle, size_t room) {
    const AbiIter *iter = iter_find(abi, handle);
    size_t chunk;
    return iter ? iter_fitting(iter, room, &chunk) : 0;
}

bool abi_iter_whole(const Abi *abi, uint32_t handle, Bytes *out) {
    const AbiIter *iter = iter_find(abi, handle);
    if (!iter || iter->at != 0 || chunk_count(iter) > 1) return false;
    *out = buf_bytes(&iter->rows);
    return true;
}

AbiErrno abi_iter_close(Abi *abi, uint32_t handle) {
    AbiIter *iter = iter_find(abi, handle);
    if (!iter) return ABI_NO_SUCH_ITER;
    iter_release(abi, iter);
    return ABI_OK;
}

// ---- procedures: transactions of their own, requests, sleep

// What a procedure's host functions block is not its own time.
static uint64_t wait_begin(void) {
    return abi_monotonic_ns();
}
static void wait_end(Abi *abi, uint64_t since_ns) {
    abi->waited_ns += abi_monotonic_ns() - since_ns;
}

AbiErrno abi_tx_begin(Abi *abi, Micros *timestamp) {
    if (UNLIKELY(abi->fatal)) return ABI_FATAL;
    if (abi->access || !abi->procedure) return ABI_WOULD_BLOCK_TRANSACTION;
    Access *access = NULL;
    uint64_t since_ns = wait_begin();
    AbiErrno result = abi->procedure->tx_begin(abi->procedure_ctx, &access, timestamp);
    wait_end(abi, since_ns);
    if (result != ABI_OK) return remember(abi, result);
    ASSERT(access);
    abi->access = access;
    abi->in_procedure_tx = true;
    return ABI_OK;
}

static void tx_forget(Abi *abi) {
    abi->access = NULL;
    abi->in_procedure_tx = false;
}

AbiErrno abi_tx_commit(Abi *abi) {
    if (UNLIKELY(abi->fatal)) return ABI_FATAL;  // (3); abi_end aborts it
    if (!abi->in_procedure_tx) return ABI_TRANSACTION_NOT_ANONYMOUS;
    tx_forget(abi);
    uint64_t since_ns = wait_begin();
    AbiErrno result = abi->procedure->tx_commit(abi->procedure_ctx);
    wait_end(abi, since_ns);
    return remember(abi, result);
}

AbiErrno abi_tx_abort(Abi *abi) {
    if (UNLIKELY(abi->fatal)) return ABI_FATAL;
    if (!abi->in_procedure_tx) return ABI_TRANSACTION_NOT_ANONYMOUS;
    tx_forget(abi);
    abi->procedure->tx_abort(abi->procedure_ctx);
    return ABI_OK;
}

AbiErrno abi_http(Abi *abi, Bytes request, Bytes body, Buf *response, Buf *body_out) {
    if (UNLIKELY(abi->fatal)) return ABI_FATAL;
    if (abi->access || !abi->procedure) return ABI_WOULD_BLOCK_TRANSACTION;
    AbiErrno result = ABI_HTTP_ERROR;
    if (abi->procedure->http) {
        uint64_t since_ns = wait_begin();
        result = abi->procedure->http(abi->procedure_ctx, request, body, response, body_out);
        wait_end(abi, since_ns);
    } else {
        buf_put_str(response, STR("module outbound HTTP requests are disabled"));
    }
    if (!buf_ok(response) || !buf_ok(body_out)) result = ABI_FATAL;
    return remember(abi, result);
}

bool abi_may_block(const Abi *abi) {
    return abi->procedure != NULL;
}

bool abi_sleep_until(Abi *abi, Micros wake, Micros *now, const char **why) {
    *why = NULL;
    if (UNLIKELY(abi->fatal))
        *why = abi_errno_text(ABI_FATAL);
    else if (!abi_may_block(abi) || !abi->procedure->sleep_until)
        *why = "procedure_sleep_until is only available in async instances";
    else if (abi->access)
        *why = abi_errno_text(ABI_WOULD_BLOCK_TRANSACTION);
    if (*why) return false;
    uint64_t since_ns = wait_begin();
    *now = abi->procedure->sleep_until(abi->procedure_ctx, wake);
    wait_end(abi, since_ns);
    return true;
}

// ---- console

static void emit(Abi *abi, HostLogRecord *record) {
    if (!abi->env->log) return;
    record->ts = abi->env->now ? abi->env->now(abi->env->ctx) : 0;
    record->function = abi->function;
    abi->env->log(abi->env->ctx, record);
}

void abi_log(Abi *abi, uint8_t level, Str target, Str filename, uint32_t line, Str message) {
    bool known = level <= LEVEL_TRACE || level == LEVEL_PANIC;
    HostLogRecord record = {.level = known ? level : LEVEL_DEBUG,
                            .target = target,
                            .filename = filename,
                            .line = line,
                            .message = message};
    emit(abi, &record);
}

// The module went away with its transaction open.
static void tx_dangling(Abi *abi) {
    Buf text = {0};
    buf_put_str(&text, STR("aborting dangling anonymous transaction in procedure "));
    buf_put_str(&text, abi->function);
    if (buf_ok(&text)) {
        Str host = STR(HOST_NAME);
        abi_log(abi, LEVEL_ERROR, host, host, UINT32_MAX, bytes_str(buf_bytes(&text)));
    }
    buf_deinit(&text);
    tx_forget(abi);
    abi->procedure->tx_abort(abi->procedure_ctx);
}

void abi_log_panic(Abi *abi,
                   Str filename,
                   uint32_t line,
                   Str message,
                   const Str *frames,
                   uint32_t frame_count) {
    HostLogRecord record = {.level = LEVEL_PANIC,
                            .filename = filename,
                            .line = line,
                            .message = message,
                            .frames = frames,
                            .frame_count = frame_count};
    emit(abi, &record);
}

AbiErrno abi_timer_start(Abi *abi, Str name, uint32_t *handle) {
    AbiTimer *timer;
    if (abi->timer_free) {
        timer = &abi->timers[abi->timer_free - 1];
    } else {
        AbiTimer *timers = slab_grow(abi->timers, &abi->timer_cap, abi->timer_count, sizeof *timer);
        if (!timers) return remember(abi, ABI_FATAL);
        abi->timers = timers;
        timer = &timers[abi->timer_count++];
        *timer = (AbiTimer){0};
        timer_release(abi, timer);
    }
    buf_clear(&timer->name);
    buf_put_str(&timer->name, name);
    if (!buf_ok(&timer->name)) return remember(abi, ABI_FATAL);
    abi->timer_free = timer->next_free;
    timer->open = true;
    abi->open_count++;
    timer->started_ns = abi_monotonic_ns();
    *handle = (uint32_t)(timer - abi->timers) + 1;
    return ABI_OK;
}

AbiErrno abi_timer_end(Abi *abi, uint32_t handle) {
    if (handle == 0 || handle > abi->timer_count) return ABI_NO_SUCH_CONSOLE_TIMER;
    AbiTimer *timer = &abi->timers[handle - 1];
    if (!timer->open) return ABI_NO_SUCH_CONSOLE_TIMER;
    char elapsed[32];
    abi_duration_text(abi_monotonic_ns() - timer->started_ns, elapsed);
    Buf text = {0};
    buf_put_str(&text, STR("Timing span \""));
    buf_put_bytes(&text, buf_bytes(&timer->name));
    buf_put_str(&text, STR("\": "));
    buf_put_str(&text, str_from(elapsed));
    timer_release(abi, timer);
    if (buf_ok(&text))
        abi_log(abi, LEVEL_INFO, STR_NONE, STR_NONE, UINT32_MAX, bytes_str(buf_bytes(&text)));
    buf_deinit(&text);
    return ABI_OK;
}

// The whole part, then the digits of the fraction without their trailing zeros.
static void duration_write(char out[32], uint64_t whole, uint64_t part, int digits, const char *u) {
    while (digits > 0 && part % 10 == 0) {
        part /= 10;
        digits--;
    }
    if (digits == 0)
        snprintf(out, 32, "%llu%s", (unsigned long long)whole, u);
    else
        snprintf(out,
                 32,
                 "%llu.%0*llu%s",
                 (unsigned long long)whole,
                 digits,
                 (unsigned long long)part,
                 u);
}

void abi_duration_text(uint64_t ns, char out[32]) {
    if (ns >= 1000000000)
        duration_write(out, ns / 1000000000, ns % 1000000000, 9, "s");
    else if (ns >= 1000000)
        duration_write(out, ns / 1000000, ns % 1000000, 6, "ms");
    else if (ns >= 1000)
        duration_write(out, ns / 1000, ns % 1000, 3, "µs");
    else
        duration_write(out, ns, 0, 0, "ns");
}

uint64_t abi_monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
