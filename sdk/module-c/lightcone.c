// lightcone.c: calls into the module and what they use: memory, tables, procedures, logging.
//
// PICTURE
//   __call_reducer__ ─> memory forgotten ─> arguments read ─> module.gen.c ─> the author's function
//                                                                 │
//   host functions <── scans, inserts, deletes <── accessors <────┘
//
// ALWAYS TRUE
//   (1) The arena is reset when a call begins, never while one runs.
//   (2) Bytes of the host lie in `inbox` only until the next host call; what is read is copied.
//   (3) An errno that only a mistake of the program can cause panics; the others become an Error.
#include "lightcone_gen.h"

// ── memory ─────────────────────────────────────────────────────────────────────────────────────
// From the end of the program's data upwards. Memory that has grown is kept for the next call.

static size_t arena_at;
#ifdef __wasm__
extern uint8_t __heap_base;
#define WASM_PAGE 65536u
static uint8_t *arena_base(void) {
    return &__heap_base;
}
static bool arena_reach(size_t end) {
    size_t have = (size_t)__builtin_wasm_memory_size(0) * WASM_PAGE;
    size_t need = (size_t)&__heap_base + end;
    if (need <= have) return true;
    if (need < end) return false;  // wrapped
    size_t more = (need - have + WASM_PAGE - 1) / WASM_PAGE;
    size_t spare = have / WASM_PAGE / 4;  // a quarter more, so that growing is rare
    return __builtin_wasm_memory_grow(0, more + spare) != (size_t)-1 ||
           __builtin_wasm_memory_grow(0, more) != (size_t)-1;
}
#else
static _Alignas(16) uint8_t arena_bytes[64u << 20];
static uint8_t *arena_base(void) {
    return arena_bytes;
}
static bool arena_reach(size_t end) {
    return end <= sizeof arena_bytes;
}
#endif

static void *arena_take(size_t bytes) {
    size_t base = (size_t)arena_base();
    size_t start = ((base + arena_at + 15) & ~(size_t)15) - base;
    if (bytes > SIZE_MAX / 2 || !arena_reach(start + bytes))
        lc_panic("out of memory: %zu bytes more were asked for", bytes);
    arena_at = start + bytes;
    return arena_base() + start;
}

void *lc_alloc(size_t bytes) {
    return memset(arena_take(bytes), 0, bytes);
}

// Counts come from clients: their product must not wrap.
void *lc_alloc_array(size_t each, size_t count) {
    if (each > 0 && count > SIZE_MAX / 2 / each)
        lc_panic("out of memory: %zu items of %zu bytes were asked for", count, each);
    return lc_alloc(each * count);
}

size_t lc_memory_mark(void) {
    return arena_at;
}

void lc_memory_reset(size_t mark) {
    arena_at = mark;
}

void *lc_array_grow(void *items, size_t len, size_t *cap, size_t item_bytes) {
    if (len < *cap) return items;
    size_t want = len < 4 ? 8 : len * 2;
    if (want > SIZE_MAX / 2 / item_bytes) lc_panic("an array of %zu items cannot grow", len);
    void *grown = arena_take(want * item_bytes);
    if (len > 0) memcpy(grown, items, len * item_bytes);
    *cap = want;
    return grown;
}

// ── bytes in and out ───────────────────────────────────────────────────────────────────────────

#define BOX_BYTES 65536u
static _Alignas(16) uint8_t inbox[BOX_BYTES];
static _Alignas(16) uint8_t outboxes[4][BOX_BYTES / 4];

LcWriter lc_writer(int which) {
    return (LcWriter){outboxes[which], 0, sizeof outboxes[which]};
}

void lc_writer_grow(LcWriter *out, size_t more) {
    if (more > SIZE_MAX / 4) lc_panic("a value of %zu bytes", more);
    size_t cap = out->cap * 2 > out->len + more ? out->cap * 2 : out->len + more;
    uint8_t *grown = arena_take(cap);
    if (out->len > 0) memcpy(grown, out->ptr, out->len);
    out->ptr = grown;
    out->cap = cap;
}

void lc_reader_ended(void) {
    lc_panic("bytes from the host end too early: was the module generated from these sources?");
}

void lc_bad_tag(const char *type, uint32_t tag) {
    lc_panic("%s has no variant %u", type, tag);
}

uint8_t lc_get_tag(LcReader *in, uint32_t variants) {
    uint8_t tag = lc_get_uint8_t(in);
    if (tag >= variants) lc_bad_tag("a value from the host", tag);
    return tag;
}

uint32_t lc_get_count(LcReader *in, size_t item_bytes_min) {
    uint32_t count = lc_get_uint32_t(in);
    if (item_bytes_min > 0 && count > (size_t)(in->end - in->at) / item_bytes_min)
        lc_reader_ended();
    return count;
}

String lc_get_String(LcReader *in) {
    uint32_t len = lc_get_uint32_t(in);
    const uint8_t *from = lc_take(in, len);
    char *text = arena_take((size_t)len + 1);
    memcpy(text, from, len);
    text[len] = 0;
    return (String){text, len};
}

Bytes lc_get_Bytes(LcReader *in) {
    uint32_t len = lc_get_uint32_t(in);
    const uint8_t *from = lc_take(in, len);
    return (Bytes){memcpy(arena_take(len), from, len), len};
}

static void put_counted(LcWriter *out, const void *bytes, size_t len) {
    lc_put_uint32_t(out, (uint32_t)len);
    uint8_t *room = lc_room(out, len);
    if (len > 0) memcpy(room, bytes, len);
}

void lc_put_String(LcWriter *out, String v) {
    put_counted(out, v.ptr, v.len);
}

void lc_put_Bytes(LcWriter *out, Bytes v) {
    put_counted(out, v.ptr, v.len);
}

// Everything in a source; valid until the next host call when it fits the inbox, else in the arena.
static LcReader source_read(uint32_t source) {
    if (source == 0) return (LcReader){inbox, inbox};
    uint8_t *at = inbox;
    size_t len = 0, cap = sizeof inbox;
    for (;;) {
        uint32_t got = (uint32_t)(cap - len);
        int32_t status = lc_abi_bytes_source_read(source, at + len, &got);
        if (status > 0) lc_panic("bytes_source_read: errno %d", (int)status);
        len += got;
        if (status < 0) return (LcReader){at, at + len};
        if (len < cap) continue;
        uint8_t *grown = arena_take(cap * 2);
        memcpy(grown, at, len);
        at = grown;
        cap *= 2;
    }
}

static void sink_write(uint32_t sink, const void *bytes, size_t len) {
    const uint8_t *at = bytes;
    while (len > 0) {
        uint32_t taken = (uint32_t)len;
        LcErrno err = lc_abi_bytes_sink_write(sink, at, &taken);
        if (err != LC_ERRNO_OK || taken == 0) lc_panic("bytes_sink_write: errno %u", (unsigned)err);
        at += taken;
        len -= taken;
    }
}

// ── tables ─────────────────────────────────────────────────────────────────────────────────────

static void expect_ok(LcErrno err, const char *what, const char *name) {
    if (err == LC_ERRNO_OK) return;
    if (err == LC_ERRNO_NOT_IN_TRANSACTION)
        lc_panic("%s %s: no transaction is open; a procedure has data only in lc_transaction",
                 what,
                 name);
    lc_panic("%s %s: errno %u", what, name, (unsigned)err);
}

// Ids are stable while the instance lives.
static uint32_t table_id(LcTable *table) {
    if (table->id == 0)
        expect_ok(lc_abi_table_id_from_name(table->name, (uint32_t)strlen(table->name), &table->id),
                  "table",
                  table->name);
    return table->id;
}

static uint32_t index_id(LcIndex *index) {
    if (index->id == 0)
        expect_ok(lc_abi_index_id_from_name(index->name, (uint32_t)strlen(index->name), &index->id),
                  "index",
                  index->name);
    return index->id;
}

uint64_t lc_table_count(LcTable *table) {
    uint64_t count = 0;
    expect_ok(lc_abi_datastore_table_row_count(table_id(table), &count), "count", table->name);
    return count;
}

uint64_t lc_table_clear(LcTable *table) {
    uint64_t deleted = 0;
    expect_ok(lc_abi_datastore_clear(table_id(table), &deleted), "clear", table->name);
    return deleted;
}

static Error refused(LcErrno err, const LcTable *table, const char *verb) {
    ErrorText *error = LC_NEW(ErrorText);
    error->code = err;
    switch (err) {
    case LC_ERRNO_UNIQUE_ALREADY_EXISTS:
        error->message = lc_format("%s: a row with the same unique value exists", table->name);
        return error;
    case LC_ERRNO_SCHEDULE_AT_DELAY_TOO_LONG:
        error->message = lc_format("%s: the scheduled time is too far ahead", table->name);
        return error;
    case LC_ERRNO_NO_SUCH_ROW:
        error->message = lc_format("%s: there is no such row to update", table->name);
        return error;
    case LC_ERRNO_AUTO_INC_OVERFLOW:
        error->message = lc_format("%s: its numbers are used up", table->name);
        return error;
    default: expect_ok(err, verb, table->name); return OK;
    }
}

Error lc_table_insert(LcTable *table, LcWriter *row, LcReader *generated) {
    uint32_t len = (uint32_t)row->len;
    LcErrno err = lc_abi_datastore_insert_bsatn(table_id(table), row->ptr, &len);
    if (err != LC_ERRNO_OK) return refused(err, table, "insert into");
    *generated = (LcReader){row->ptr, row->ptr + len};
    return OK;
}

Error lc_table_update(LcTable *table, LcIndex *index, LcWriter *row, LcReader *generated) {
    uint32_t len = (uint32_t)row->len;
    LcErrno err = lc_abi_datastore_update_bsatn(table_id(table), index_id(index), row->ptr, &len);
    if (err != LC_ERRNO_OK) return refused(err, table, "update of");
    *generated = (LcReader){row->ptr, row->ptr + len};
    return OK;
}

bool lc_table_delete(LcTable *table, LcWriter *relation) {
    uint32_t deleted = 0;
    expect_ok(lc_abi_datastore_delete_all_by_eq_bsatn(table_id(table),
                                                      relation->ptr,
                                                      (uint32_t)relation->len,
                                                      &deleted),
              "delete from",
              table->name);
    return deleted > 0;
}

// ── scans ──────────────────────────────────────────────────────────────────────────────────────

// The next rows of an iterator: in the inbox (2), or in the arena when one chunk is larger.
static LcReader iter_advance(uint32_t iter, bool *more) {
    uint8_t *at = inbox;
    uint32_t len = sizeof inbox;
    int32_t status = lc_abi_row_iter_bsatn_advance(iter, at, &len);
    if (status == LC_ERRNO_BUFFER_TOO_SMALL) {
        at = arena_take(len);
        status = lc_abi_row_iter_bsatn_advance(iter, at, &len);
    }
    if (status > 0) lc_panic("row_iter_bsatn_advance: errno %d", (int)status);
    *more = status == 0;
    return (LcReader){at, at + len};
}

static LcReader kept(LcReader rows) {
    if (rows.at != inbox) return rows;
    size_t len = (size_t)(rows.end - rows.at);
    if (len == 0) return (LcReader){NULL, NULL};
    uint8_t *copy = memcpy(arena_take(len), rows.at, len);
    return (LcReader){copy, copy + len};
}

LcScan lc_table_scan(LcTable *table) {
    LcScan scan = {.more = true};
    expect_ok(lc_abi_datastore_table_scan_bsatn(table_id(table), &scan.iter), "scan", table->name);
    return scan;
}

LcScan lc_index_scan(LcIndex *index, const LcWriter *key) {
    LcScan scan = {.more = true};
    expect_ok(lc_abi_datastore_index_scan_point_bsatn(index_id(index),
                                                      key->ptr,
                                                      (uint32_t)key->len,
                                                      &scan.iter),
              "scan",
              index->name);
    return scan;
}

LcScan lc_index_scan_range(LcIndex *index,
                           const LcWriter *prefix,
                           uint32_t prefix_columns,
                           const LcWriter *from,
                           const LcWriter *to) {
    LcScan scan = {.more = true};
    expect_ok(lc_abi_datastore_index_scan_range_bsatn(index_id(index),
                                                      prefix->ptr,
                                                      (uint32_t)prefix->len,
                                                      prefix_columns,
                                                      from->ptr,
                                                      (uint32_t)from->len,
                                                      to->ptr,
                                                      (uint32_t)to->len,
                                                      &scan.iter),
              "scan",
              index->name);
    return scan;
}

bool lc_scan_row(LcScan *scan, LcReader *row) {
    while (scan->at == scan->end) {
        if (!scan->more) return false;
        LcReader rows = kept(iter_advance(scan->iter, &scan->more));
        scan->at = rows.at;
        scan->end = rows.end;
    }
    *row = (LcReader){scan->at, scan->end};
    return true;
}

bool lc_index_find(LcIndex *index, const LcWriter *key, LcReader *row) {
    uint32_t iter = 0;
    bool more = false;
    expect_ok(lc_abi_datastore_index_scan_point_bsatn(index_id(index),
                                                      key->ptr,
                                                      (uint32_t)key->len,
                                                      &iter),
              "find",
              index->name);
    *row = iter_advance(iter, &more);
    if (more) lc_abi_row_iter_bsatn_close(iter);
    return row->at != row->end;
}

uint32_t lc_index_delete(LcIndex *index, const LcWriter *key) {
    uint32_t deleted = 0;
    expect_ok(lc_abi_datastore_delete_by_index_scan_point_bsatn(index_id(index),
                                                                key->ptr,
                                                                (uint32_t)key->len,
                                                                &deleted),
              "delete",
              index->name);
    return deleted;
}

uint32_t lc_index_delete_range(LcIndex *index,
                               const LcWriter *prefix,
                               uint32_t prefix_columns,
                               const LcWriter *from,
                               const LcWriter *to) {
    uint32_t deleted = 0;
    expect_ok(lc_abi_datastore_delete_by_index_scan_range_bsatn(index_id(index),
                                                                prefix->ptr,
                                                                (uint32_t)prefix->len,
                                                                prefix_columns,
                                                                from->ptr,
                                                                (uint32_t)from->len,
                                                                to->ptr,
                                                                (uint32_t)to->len,
                                                                &deleted),
              "delete",
              index->name);
    return deleted;
}

bool lc_put_bound(LcWriter *out, Bound bound, bool is_lower) {
    Bound included = is_lower ? LC_FROM : LC_TO, excluded = is_lower ? LC_AFTER : LC_BEFORE;
    if (bound != included && bound != excluded && bound != LC_ANY)
        lc_panic(is_lower ? "a range begins with LC_FROM, LC_AFTER or LC_ANY"
                          : "a range ends with LC_TO, LC_BEFORE or LC_ANY");
    lc_put_uint8_t(out, bound == included ? 0 : bound == excluded ? 1 : 2);
    return bound != LC_ANY;
}

// ── calls ──────────────────────────────────────────────────────────────────────────────────────

enum { CALL_OK = 0, CALL_ERROR = 1, CALL_VIEW = 2 };

static uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static void random_seed(uint64_t state[2], Timestamp time, Identity sender) {
    state[0] = mix((uint64_t)time.micros ^ mix(sender.value.word[0] + sender.value.word[3]));
    state[1] = mix(state[0] + 0x9e3779b97f4a7c15u);
}

uint64_t lc_random_next(uint64_t state[2]) {  // xoroshiro128+
    uint64_t a = state[0], b = state[1] ^ state[0], sum = state[0] + state[1];
    state[0] = ((a << 24) | (a >> 40)) ^ b ^ (b << 16);
    state[1] = (b << 37) | (b >> 27);
    return sum;
}

uint64_t lc_random_next_below(uint64_t state[2], uint64_t below) {
    if (below == 0) lc_panic("lc_random_below(0)");
    uint64_t fair = UINT64_MAX - UINT64_MAX % below;  // values from here on would favour the small
    uint64_t drawn;
    do
        drawn = lc_random_next(state);
    while (drawn >= fair);
    return drawn % below;
}

static const ConnectionId *connection_from(ConnectionId *room, uint64_t low, uint64_t high) {
    room->value = (U128)high << 64 | low;
    return room->value ? room : NULL;
}

static int32_t call_end(Error error, uint32_t sink) {
    if (!error) return CALL_OK;
    sink_write(sink, error->message.ptr, error->message.len);
    return CALL_ERROR;
}

void lc_describe_module(uint32_t sink) {
    sink_write(sink, lc_module_definition, lc_module_definition_bytes);
}

int32_t lc_call_reducer(uint32_t id,
                        uint64_t s0,
                        uint64_t s1,
                        uint64_t s2,
                        uint64_t s3,
                        uint64_t c0,
                        uint64_t c1,
                        int64_t timestamp,
                        uint32_t args,
                        uint32_t error_sink) {
    lc_memory_reset(0);
    ConnectionId connection;
    Ctx ctx = {.sender = {{{s0, s1, s2, s3}}}, .timestamp = {timestamp}};
    ctx.connection = connection_from(&connection, c0, c1);
    random_seed(ctx.random, ctx.timestamp, ctx.sender);
    LcReader in = source_read(args);
    return call_end(lc_module_reducer(id, &ctx, &in), error_sink);
}

int32_t lc_call_view(uint32_t id,
                     uint64_t s0,
                     uint64_t s1,
                     uint64_t s2,
                     uint64_t s3,
                     uint32_t args,
                     uint32_t sink) {
    (void)args;  // views have no parameters
    lc_memory_reset(0);
    ViewCtx ctx = {.sender = {{{s0, s1, s2, s3}}}};
    LcWriter out = lc_writer(0);
    lc_module_view(id, &ctx, &out);
    if (ctx.error) return call_end(ctx.error, sink);
    sink_write(sink, out.ptr, out.len);
    return CALL_VIEW;
}

int32_t lc_call_view_anon(uint32_t id, uint32_t args, uint32_t sink) {
    (void)args;
    lc_memory_reset(0);
    AnonymousViewCtx ctx = {0};
    LcWriter out = lc_writer(0);
    lc_module_view_anon(id, &ctx, &out);
    if (ctx.error) return call_end(ctx.error, sink);
    sink_write(sink, out.ptr, out.len);
    return CALL_VIEW;
}

int32_t lc_call_procedure(uint32_t id,
                          uint64_t s0,
                          uint64_t s1,
                          uint64_t s2,
                          uint64_t s3,
                          uint64_t c0,
                          uint64_t c1,
                          int64_t timestamp,
                          uint32_t args,
                          uint32_t sink) {
    lc_memory_reset(0);
    ConnectionId connection;
    ProcedureCtx ctx = {.sender = {{{s0, s1, s2, s3}}}, .timestamp = {timestamp}};
    ctx.connection = connection_from(&connection, c0, c1);
    random_seed(ctx.random, ctx.timestamp, ctx.sender);
    LcReader in = source_read(args);
    LcWriter out = lc_writer(0);
    lc_module_procedure(id, &ctx, &in, &out);
    sink_write(sink, out.ptr, out.len);
    return CALL_OK;
}

// ── procedures ─────────────────────────────────────────────────────────────────────────────────

static Error transaction_once(ProcedureCtx *ctx,
                              Error (*body)(Ctx *ctx, void *argument),
                              void *argument,
                              LcErrno *committed) {
    uint64_t micros = 0;
    LcErrno err = lc_abi_procedure_start_mut_tx(&micros);
    if (err == LC_ERRNO_WOULD_BLOCK_TRANSACTION) lc_panic("lc_transaction inside lc_transaction");
    expect_ok(err, "procedure_start_mut_tx", "");
    Ctx tx = {.sender = ctx->sender, .connection = ctx->connection, .timestamp = {(int64_t)micros}};
    random_seed(tx.random, tx.timestamp, tx.sender);
    Error error = body(&tx, argument);
    *committed = LC_ERRNO_OK;
    if (error)
        expect_ok(lc_abi_procedure_abort_mut_tx(), "procedure_abort_mut_tx", "");
    else
        *committed = lc_abi_procedure_commit_mut_tx();
    return error;
}

Error lc_transaction(ProcedureCtx *ctx, Error (*body)(Ctx *ctx, void *argument), void *argument) {
    LcErrno committed = LC_ERRNO_OK;
    for (int attempt = 0; attempt < 2; attempt++) {
        Error error = transaction_once(ctx, body, argument, &committed);
        if (error || committed == LC_ERRNO_OK) return error;
    }
    return lc_error("the transaction could not be committed (errno %u)", (unsigned)committed);
}

Timestamp lc_sleep_until(ProcedureCtx *ctx, Timestamp wake) {
    (void)ctx;
    return (Timestamp){lc_abi_procedure_sleep_until(wake.micros)};
}

Timestamp lc_sleep(ProcedureCtx *ctx, TimeDuration duration) {
    Timestamp now = lc_sleep_until(ctx, (Timestamp){0});  // a time past: only asks for the clock
    return lc_sleep_until(ctx, lc_after(now, duration));
}

// ── HTTP ───────────────────────────────────────────────────────────────────────────────────────

enum { HTTP_VERSION_1_1 = 2, HTTP_HEADER_BYTES_MIN = 8 };

static void put_headers(LcWriter *out, const HttpHeader *headers, size_t count) {
    lc_put_uint32_t(out, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        lc_put_String(out, headers[i].name);
        lc_put_String(out, headers[i].value);
    }
}

static const HttpHeader *get_headers(LcReader *in, size_t *count) {
    *count = lc_get_count(in, HTTP_HEADER_BYTES_MIN);
    HttpHeader *headers = LC_NEW_ARRAY(HttpHeader, *count);
    for (size_t i = 0; i < *count; i++) {
        headers[i].name = lc_get_String(in);
        headers[i].value = lc_get_String(in);
    }
    return headers;
}

static void put_response(LcWriter *out, const HttpResponse *response) {
    put_headers(out, response->headers, response->header_count);
    lc_put_uint8_t(out, HTTP_VERSION_1_1);
    lc_put_uint16_t(out, response->status ? response->status : 200);
}

static HttpResponse get_response(LcReader *in) {
    HttpResponse response = {0};
    response.headers = get_headers(in, &response.header_count);
    lc_get_uint8_t(in);  // the version of HTTP
    response.status = lc_get_uint16_t(in);
    return response;
}

static void put_request(LcWriter *out, const HttpRequest *request) {
    lc_put_uint8_t(out, (uint8_t)request->method);
    if (request->method == HTTP_OTHER) lc_put_String(out, request->other_method);
    put_headers(out, request->headers, request->header_count);
    lc_put_uint8_t(out, request->timeout.micros ? 0 : 1);
    if (request->timeout.micros) lc_put_TimeDuration(out, request->timeout);
    lc_put_String(out, request->uri);
    lc_put_uint8_t(out, HTTP_VERSION_1_1);
}

static HttpRequest get_request(LcReader *in) {
    HttpRequest request = {.method = (HttpMethod)lc_get_tag(in, HTTP_OTHER + 1)};
    if (request.method == HTTP_OTHER) request.other_method = lc_get_String(in);
    request.headers = get_headers(in, &request.header_count);
    if (lc_get_uint8_t(in) == 0) request.timeout = lc_get_TimeDuration(in);
    request.uri = lc_get_String(in);
    lc_get_uint8_t(in);
    return request;
}

static Bytes body_read(uint32_t source) {
    LcReader in = kept(source_read(source));
    return (Bytes){in.at, (size_t)(in.end - in.at)};
}

Error lc_http(ProcedureCtx *ctx, const HttpRequest *request, HttpResponse *response) {
    (void)ctx;
    LcWriter out = lc_writer(0);
    put_request(&out, request);
    uint32_t sources[2] = {0, 0};
    LcErrno err = lc_abi_procedure_http_request(out.ptr,
                                                (uint32_t)out.len,
                                                request->body.ptr,
                                                (uint32_t)request->body.len,
                                                sources);
    if (err == LC_ERRNO_HTTP_ERROR) {
        LcReader in = source_read(sources[0]);
        ErrorText *error = LC_NEW(ErrorText);
        *error = (ErrorText){.code = err, .message = lc_get_String(&in)};
        return error;
    }
    if (err == LC_ERRNO_WOULD_BLOCK_TRANSACTION)
        lc_panic("lc_http inside lc_transaction: ask first, then open the transaction");
    expect_ok(err, "procedure_http_request", "");
    LcReader in = source_read(sources[0]);
    *response = get_response(&in);
    response->body = body_read(sources[1]);
    return OK;
}

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

String lc_http_header(const HttpHeader *headers, size_t count, const char *name) {
    String want = lc_string(name);
    for (size_t i = 0; i < count; i++) {
        if (headers[i].name.len != want.len) continue;
        size_t k = 0;
        while (k < want.len && lower(headers[i].name.ptr[k]) == lower(want.ptr[k]))
            k++;
        if (k == want.len) return headers[i].value;
    }
    return (String){0};
}

int32_t lc_call_http_handler(uint32_t id,
                             int64_t timestamp,
                             uint32_t request_source,
                             uint32_t body_source,
                             uint32_t response_sink,
                             uint32_t body_sink) {
    lc_memory_reset(0);
    ProcedureCtx ctx = {.timestamp = {timestamp}};
    random_seed(ctx.random, ctx.timestamp, ctx.sender);
    LcReader in = source_read(request_source);
    HttpRequest request = get_request(&in);
    request.body = body_read(body_source);
    HttpResponse response = lc_module_http(id, &ctx, &request);
    LcWriter out = lc_writer(0);
    put_response(&out, &response);
    sink_write(response_sink, out.ptr, out.len);
    sink_write(body_sink, response.body.ptr, response.body.len);
    return CALL_OK;
}

// ── who, and what is happening ─────────────────────────────────────────────────────────────────

Identity lc_database_identity(void) {
    Identity identity;
    lc_abi_identity(&identity);
    return identity;
}

String lc_jwt(const Ctx *ctx) {
    uint32_t source = 0;
    if (!ctx->connection) return (String){"", 0};
    expect_ok(lc_abi_get_jwt(ctx->connection, &source), "get_jwt", "");
    LcReader in = kept(source_read(source));
    return (String){(const char *)in.at, (size_t)(in.end - in.at)};
}

static void log_text(LogLevel level, const char *file, uint32_t line, String message) {
    lc_abi_console_log((uint32_t)level,
                       NULL,
                       0,
                       file,
                       (uint32_t)strlen(file),
                       line,
                       message.ptr,
                       (uint32_t)message.len);
}

void lc_log_at(LogLevel level, const char *file, uint32_t line, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    log_text(level, file, line, lc_vformat(format, arguments));
    va_end(arguments);
}

// Without memory the message itself cannot be made, and says so instead of panicking forever.
void lc_panic_at(const char *file, uint32_t line, const char *format, ...) {
    static bool panicking;
    if (!panicking) {
        panicking = true;
        va_list arguments;
        va_start(arguments, format);
        log_text(LOG_PANIC, file, line, lc_vformat(format, arguments));
        va_end(arguments);
    } else {
        log_text(LOG_PANIC, file, line, LC_STR("out of memory"));
    }
    __builtin_trap();
}

uint32_t lc_timer_start(const char *name) {
    return lc_abi_console_timer_start(name, (uint32_t)strlen(name));
}

void lc_timer_end(uint32_t timer) {
    expect_ok(lc_abi_console_timer_end(timer), "console_timer_end", "");
}

Error lc_error(const char *format, ...) {
    ErrorText *error = LC_NEW(ErrorText);
    va_list arguments;
    va_start(arguments, format);
    error->message = lc_vformat(format, arguments);
    va_end(arguments);
    return error;
}
