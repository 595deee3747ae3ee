#include "sdk/module-c/native/native.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "host/abi.h"
#include "sdk/module-c/lightcone_abi.h"
#include "txn/db.h"

const Identity native_sender = {{0x11, 0x22}};
static const Identity database_identity = {{0xdb}};

enum { SOURCES_MAX = 64, TIME = 1700000000 };

typedef struct Stream {
    Buf bytes;
    size_t at;
    bool open;
} Stream;

static struct {
    Db *db;
    ModuleDef *def;
    Abi abi;
    HostEnv env;
    Stream sources[SOURCES_MAX], sinks[2];
    uint32_t source_count;
    Buf message, result, body;
} native;

// ── sources and sinks ──────────────────────────────────────────────────────────────────────────

static uint32_t source_add(Bytes bytes) {
    if (bytes.len == 0) return 0;
    ASSERT(native.source_count < SOURCES_MAX);
    Stream *source = &native.sources[native.source_count++];
    buf_clear(&source->bytes);
    buf_put_bytes(&source->bytes, bytes);
    source->at = 0;
    source->open = true;
    return native.source_count;
}

static Stream *source_of(uint32_t id) {
    bool known = id >= 1 && id <= native.source_count && native.sources[id - 1].open;
    return known ? &native.sources[id - 1] : NULL;
}

static void call_begin(void) {
    native.source_count = 0;
    for (size_t i = 0; i < ARRAY_LEN(native.sinks); i++)
        buf_clear(&native.sinks[i].bytes);
}

int32_t lc_abi_bytes_source_read(uint32_t id, void *out, uint32_t *len) {
    Stream *source = source_of(id);
    if (!source) return ABI_NO_SUCH_BYTES;
    size_t left = source->bytes.len - source->at;
    *len = (uint32_t)MIN(left, *len);
    memcpy(out, source->bytes.ptr + source->at, *len);
    source->at += *len;
    source->open = source->at < source->bytes.len;
    return source->open ? 0 : -1;
}

int32_t lc_abi_bytes_source_remaining_length(uint32_t id, uint32_t *out) {
    Stream *source = source_of(id);
    if (!source) return ABI_NO_SUCH_BYTES;
    *out = (uint32_t)(source->bytes.len - source->at);
    return 0;
}

uint32_t lc_abi_bytes_sink_write(uint32_t sink, const void *bytes, uint32_t *len) {
    if (sink < 1 || sink > ARRAY_LEN(native.sinks)) return ABI_NO_SUCH_BYTES;
    buf_put(&native.sinks[sink - 1].bytes, bytes, *len);
    return ABI_OK;
}

// ── data ───────────────────────────────────────────────────────────────────────────────────────

static Abi *const abi = &native.abi;

static Str text(const void *ptr, uint32_t len) {
    return (Str){ptr, len};
}
uint32_t lc_abi_table_id_from_name(const void *name, uint32_t len, uint32_t *out) {
    return abi_table_id(abi, text(name, len), out);
}
uint32_t lc_abi_index_id_from_name(const void *name, uint32_t len, uint32_t *out) {
    return abi_index_id(abi, text(name, len), out);
}
uint32_t lc_abi_datastore_table_row_count(uint32_t table, uint64_t *out) {
    return abi_row_count(abi, table, out);
}
uint32_t lc_abi_datastore_table_scan_bsatn(uint32_t table, uint32_t *iter) {
    return abi_scan_table(abi, table, iter);
}
uint32_t lc_abi_datastore_index_scan_point_bsatn(uint32_t index,
                                                 const void *key,
                                                 uint32_t len,
                                                 uint32_t *iter) {
    return abi_scan_point(abi, index, BYTES(key, len), iter);
}
uint32_t lc_abi_datastore_delete_by_index_scan_point_bsatn(uint32_t index,
                                                           const void *key,
                                                           uint32_t len,
                                                           uint32_t *deleted) {
    return abi_delete_point(abi, index, BYTES(key, len), deleted);
}

uint32_t lc_abi_datastore_index_scan_range_bsatn(uint32_t index,
                                                 const void *prefix,
                                                 uint32_t prefix_len,
                                                 uint32_t prefix_elems,
                                                 const void *from,
                                                 uint32_t from_len,
                                                 const void *to,
                                                 uint32_t to_len,
                                                 uint32_t *iter) {
    AccessRange range = {BYTES(prefix, prefix_len),
                         prefix_elems,
                         BYTES(from, from_len),
                         BYTES(to, to_len)};
    return abi_scan_range(abi, index, &range, iter);
}
uint32_t lc_abi_datastore_delete_by_index_scan_range_bsatn(uint32_t index,
                                                           const void *prefix,
                                                           uint32_t prefix_len,
                                                           uint32_t prefix_elems,
                                                           const void *from,
                                                           uint32_t from_len,
                                                           const void *to,
                                                           uint32_t to_len,
                                                           uint32_t *deleted) {
    AccessRange range = {BYTES(prefix, prefix_len),
                         prefix_elems,
                         BYTES(from, from_len),
                         BYTES(to, to_len)};
    return abi_delete_range(abi, index, &range, deleted);
}
uint32_t lc_abi_datastore_delete_all_by_eq_bsatn(uint32_t table,
                                                 const void *rows,
                                                 uint32_t len,
                                                 uint32_t *deleted) {
    return abi_delete_all_by_eq(abi, table, BYTES(rows, len), deleted);
}
uint32_t lc_abi_datastore_clear(uint32_t table, uint64_t *deleted) {
    return abi_clear(abi, table, deleted);
}

static uint32_t generated_return(AbiErrno status, const Buf *generated, void *row, uint32_t *len) {
    if (status != ABI_OK) return status;
    ASSERT(generated->len <= *len);
    if (generated->len) memcpy(row, generated->ptr, generated->len);
    *len = (uint32_t)generated->len;
    return ABI_OK;
}
uint32_t lc_abi_datastore_insert_bsatn(uint32_t table, void *row, uint32_t *len) {
    Buf generated = {0};
    AbiErrno status = abi_insert(abi, table, BYTES(row, *len), &generated);
    uint32_t result = generated_return(status, &generated, row, len);
    buf_deinit(&generated);
    return result;
}
uint32_t lc_abi_datastore_update_bsatn(uint32_t table, uint32_t index, void *row, uint32_t *len) {
    Buf generated = {0};
    AbiErrno status = abi_update(abi, table, index, BYTES(row, *len), &generated);
    uint32_t result = generated_return(status, &generated, row, len);
    buf_deinit(&generated);
    return result;
}

int32_t lc_abi_row_iter_bsatn_advance(uint32_t iter, void *out, uint32_t *len) {
    size_t got = 0;
    bool exhausted = false;
    AbiErrno status = abi_iter_advance(abi, iter, out, *len, &got, &exhausted);
    if (status == ABI_OK || status == ABI_BUFFER_TOO_SMALL) *len = (uint32_t)got;
    return status != ABI_OK ? (int32_t)status : exhausted ? -1 : 0;
}
uint32_t lc_abi_row_iter_bsatn_close(uint32_t iter) {
    return abi_iter_close(abi, iter);
}

// ── the rest ───────────────────────────────────────────────────────────────────────────────────

void lc_abi_volatile_nonatomic_schedule_immediate(const void *name,
                                                  uint32_t name_len,
                                                  const void *args,
                                                  uint32_t args_len) {
    native.env.schedule_now(native.env.ctx, text(name, name_len), BYTES(args, args_len));
}
void lc_abi_console_log(uint32_t level,
                        const void *target,
                        uint32_t target_len,
                        const void *filename,
                        uint32_t filename_len,
                        uint32_t line,
                        const void *message,
                        uint32_t message_len) {
    abi_log(abi,
            (uint8_t)level,
            text(target, target_len),
            text(filename, filename_len),
            line,
            text(message, message_len));
}
uint32_t lc_abi_console_timer_start(const void *name, uint32_t len) {
    uint32_t timer = 0;
    return abi_timer_start(abi, text(name, len), &timer) == ABI_OK ? timer : 0;
}
uint32_t lc_abi_console_timer_end(uint32_t timer) {
    return abi_timer_end(abi, timer);
}
void lc_abi_identity(void *out) {
    memcpy(out, &database_identity, sizeof database_identity);
}
uint32_t lc_abi_get_jwt(const void *connection, uint32_t *source) {
    ConnectionId id;
    Bytes jwt = BYTES_NONE;
    memcpy(&id, connection, sizeof id);
    AbiErrno status = abi_jwt(abi, &id, &jwt);
    if (status == ABI_OK) *source = source_add(jwt);
    return status;
}

int64_t lc_abi_procedure_sleep_until(int64_t wake) {
    Micros now = 0;
    const char *why = NULL;
    if (!abi_sleep_until(abi, wake, &now, &why)) abort();
    return now;
}
uint32_t lc_abi_procedure_start_mut_tx(uint64_t *micros) {
    Micros timestamp = 0;
    AbiErrno status = abi_tx_begin(abi, &timestamp);
    if (status == ABI_OK) *micros = (uint64_t)timestamp;
    return status;
}
uint32_t lc_abi_procedure_commit_mut_tx(void) {
    return abi_tx_commit(abi);
}
uint32_t lc_abi_procedure_abort_mut_tx(void) {
    return abi_tx_abort(abi);
}
uint32_t lc_abi_procedure_http_request(const void *request,
                                       uint32_t request_len,
                                       const void *body,
                                       uint32_t body_len,
                                       uint32_t out[2]) {
    Buf response = {0}, response_body = {0}, reason = {0};
    AbiErrno status = abi_http(abi,
                               BYTES(request, request_len),
                               BYTES(body, body_len),
                               &response,
                               &response_body);
    if (status == ABI_OK) {
        out[0] = source_add(buf_bytes(&response));
        out[1] = source_add(buf_bytes(&response_body));
    } else if (status == ABI_HTTP_ERROR) {
        buf_put_lp(&reason, buf_bytes(&response));
        out[0] = source_add(buf_bytes(&reason));
    }
    buf_deinit(&response);
    buf_deinit(&response_body);
    buf_deinit(&reason);
    return status;
}

// ── what a procedure can do ────────────────────────────────────────────────────────────────────

static AbiErrno tx_begin(void *ctx, Access **access, Micros *timestamp) {
    (void)ctx;
    *timestamp = (Micros)TIME * 1000000;
    db_begin(native.db, &(CommitInfo){.timestamp = *timestamp, .name = STR("test")});
    *access = db_access(native.db);
    return ABI_OK;
}
static AbiErrno tx_commit(void *ctx) {
    const WriteSet *writes;
    bool changed;
    (void)ctx;
    return db_commit(native.db, &writes, &changed) == OK ? ABI_OK : ABI_FATAL;
}
static void tx_abort(void *ctx) {
    (void)ctx;
    db_rollback(native.db);
}
// Answers with what it was asked, so that a test sees both ways of the encoding.
static AbiErrno http(void *ctx, Bytes request, Bytes body, Buf *response, Buf *body_out) {
    (void)ctx;
    if (request.len <= 2) return ABI_BSATN_DECODE_ERROR;
    if (body.len == 0) {
        buf_put_str(response, STR("there is nobody here"));
        return ABI_HTTP_ERROR;
    }
    buf_put_u32(response, 1);  // one header
    buf_put_lp(response, str_bytes(STR("X-Bytes")));
    buf_put_lp(response, request);
    buf_put_u8(response, 2);
    buf_put_u16(response, 418);
    buf_put_bytes(body_out, body);
    return ABI_OK;
}
static Micros sleep_until(void *ctx, Micros wake) {
    static Micros now = (Micros)TIME * 1000000;
    (void)ctx;
    return now = MAX(now, wake);
}
static const HostProcedureOps procedure_ops = {
    .tx_begin = tx_begin,
    .tx_commit = tx_commit,
    .tx_abort = tx_abort,
    .http = http,
    .sleep_until = sleep_until,
};

// ── calls ──────────────────────────────────────────────────────────────────────────────────────

static uint64_t word(uint32_t i) {
    return load_u64((const uint8_t *)&native_sender + 8 * i);
}

static HostCall call_of(HostCallKind kind, const char *name) {
    bool waits = kind == HOST_PROCEDURE || kind == HOST_HTTP;
    return (HostCall){.kind = kind,
                      .name = str_from(name),
                      .sender = native_sender,
                      .timestamp = (Micros)TIME * 1000000,
                      .access = waits ? NULL : db_access(native.db),
                      .procedure = waits ? &procedure_ops : NULL};
}

static Bytes sink_keep(uint32_t sink, Buf *out) {
    buf_clear(out);
    buf_put_bytes(out, buf_bytes(&native.sinks[sink].bytes));
    return buf_bytes(out);
}

HostStatus native_reducer(const char *name, Bytes args, Str *message) {
    const FunctionDef *reducer = moduledef_reducer(native.def, str_from(name));
    ASSERT(reducer);
    call_begin();
    db_begin(native.db, &(CommitInfo){.timestamp = 1, .name = STR("test")});
    HostCall call = call_of(HOST_REDUCER, name);
    abi_begin(abi, &call);
    int32_t code = lc_call_reducer(reducer->id,
                                   word(0),
                                   word(1),
                                   word(2),
                                   word(3),
                                   7,
                                   0,
                                   call.timestamp,
                                   source_add(args),
                                   1);
    abi_end(abi);
    *message = bytes_str(sink_keep(0, &native.message));
    const WriteSet *writes;
    bool changed;
    if (code != 0) {
        db_rollback(native.db);
        return HOST_USER_ERROR;
    }
    return db_commit(native.db, &writes, &changed) == OK ? HOST_OK : HOST_FATAL;
}

Bytes native_procedure(const char *name, Bytes args) {
    const FunctionDef *procedure = moduledef_procedure(native.def, str_from(name));
    ASSERT(procedure);
    call_begin();
    HostCall call = call_of(HOST_PROCEDURE, name);
    abi_begin(abi, &call);
    int32_t code = lc_call_procedure(procedure->id,
                                     word(0),
                                     word(1),
                                     word(2),
                                     word(3),
                                     0,
                                     0,
                                     call.timestamp,
                                     source_add(args),
                                     1);
    abi_end(abi);
    ASSERT(code == 0);
    return sink_keep(0, &native.result);
}

static const ViewDef *view_of(const char *name) {
    for (uint32_t i = 0; i < native.def->view_count; i++)
        if (str_eq(native.def->views[i].name, str_from(name))) return &native.def->views[i];
    return NULL;
}

Bytes native_view(const char *name) {
    const ViewDef *view = view_of(name);
    ASSERT(view);
    call_begin();
    db_begin(native.db, &(CommitInfo){.timestamp = 1, .name = STR("test")});
    HostCall call = call_of(view->is_anonymous ? HOST_VIEW_ANON : HOST_VIEW, name);
    abi_begin(abi, &call);
    int32_t code = view->is_anonymous
                       ? lc_call_view_anon(view->index, 0, 1)
                       : lc_call_view(view->index, word(0), word(1), word(2), word(3), 0, 1);
    abi_end(abi);
    db_rollback(native.db);
    ASSERT(code == 2);
    return sink_keep(0, &native.result);
}

Bytes native_http(uint32_t id, Bytes request, Bytes body, Bytes *response_body) {
    call_begin();
    HostCall call = call_of(HOST_HTTP, "http");
    abi_begin(abi, &call);
    int32_t code =
        lc_call_http_handler(id, call.timestamp, source_add(request), source_add(body), 1, 2);
    abi_end(abi);
    ASSERT(code == 0);
    *response_body = sink_keep(1, &native.body);
    return sink_keep(0, &native.result);
}

typedef struct Rows {
    NativeRow row;
    void *ctx;
} Rows;
static bool row_give(void *ctx, Bytes row) {
    const Rows *rows = ctx;
    rows->row(rows->ctx, row);
    return true;
}

void native_rows(const char *table, NativeRow row, void *ctx) {
    uint32_t id;
    Rows rows = {row, ctx};
    db_begin(native.db, &(CommitInfo){.timestamp = 1, .name = STR("test")});
    Access *access = db_access(native.db);
    AbiErrno found = access->ops->table_id(access, str_from(table), &id);
    ASSERT(found == ABI_OK);
    access->ops->scan_table(access, id, (RowSink){row_give, &rows});
    db_rollback(native.db);
}

// ── open and close ─────────────────────────────────────────────────────────────────────────────

static void log_drop(void *ctx, const HostLogRecord *record) {
    (void)ctx;
    if (record->level == 101) fprintf(stderr, "panic: " STR_FMT "\n", STR_ARG(record->message));
}
static Micros now(void *ctx) {
    (void)ctx;
    return (Micros)TIME * 1000000;
}
static void schedule_drop(void *ctx, Str function, Bytes args) {
    (void)ctx;
    (void)function;
    (void)args;
}

static void tables_create(void) {
    const WriteSet *writes;
    bool changed;
    Diag diag = {0};
    CatalogModule module = {.program_kind = 0, .program = BYTES("native", 6)};
    db_begin(native.db, &(CommitInfo){.name = STR("<publish>")});
    Err err = catalog_create(db_catalog(native.db), native.def, &module, NULL, NULL, &diag);
    if (err == OK) err = db_commit(native.db, &writes, &changed);
    if (err != OK) {
        fprintf(stderr, "the module's tables cannot be made: %s\n", diag.text);
        abort();
    }
}

void native_open(void) {
    uint64_t torn;
    Diag diag = {0};
    native.env = (HostEnv){.database = database_identity,
                           .log = log_drop,
                           .now = now,
                           .schedule_now = schedule_drop};
    abi_init(abi, &native.env);
    call_begin();
    lc_describe_module(1);
    Err err = moduledef_decode(buf_bytes(&native.sinks[0].bytes), &native.def, &diag);
    if (err == OK) err = db_open(&(DbOptions){.in_memory = true}, &native.db, &torn, &diag);
    if (err != OK) {
        fprintf(stderr, "the module cannot be opened: %s\n", diag.text);
        abort();
    }
    tables_create();
}

void native_close(void) {
    db_close(&native.db);
    moduledef_free(&native.def);
    abi_deinit(abi);
    for (size_t i = 0; i < SOURCES_MAX; i++)
        buf_deinit(&native.sources[i].bytes);
    for (size_t i = 0; i < ARRAY_LEN(native.sinks); i++)
        buf_deinit(&native.sinks[i].bytes);
    buf_deinit(&native.message);
    buf_deinit(&native.result);
    buf_deinit(&native.body);
}

const ModuleDef *native_def(void) {
    return native.def;
}
