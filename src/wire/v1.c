// v1.c: messages of v1.bsatn to and from bytes. Spec §6.4, vectors §9.5.
//
// The fields are those of v2 in another order: request ids stand behind, deletes before inserts, the
// token between the two ids. A transaction is one list of tables, because under v1 a query is watched
// once by a connection, whichever of its sets hold it (live.h).
//
// ALWAYS TRUE
//   (1) A decoded message borrows only bytes that were checked to lie inside the input.
#include "wire/v1.h"

enum {  // tags of client messages
    CALL_REDUCER = 0,
    SUBSCRIBE = 1,
    ONE_OFF_QUERY = 2,
    SUBSCRIBE_SINGLE = 3,
    SUBSCRIBE_MULTI = 4,
    UNSUBSCRIBE = 5,
    UNSUBSCRIBE_MULTI = 6,
    CALL_PROCEDURE = 7,
};
enum {  // tags of server messages
    INITIAL_SUBSCRIPTION = 0,
    TRANSACTION_UPDATE = 1,
    TRANSACTION_UPDATE_LIGHT = 2,
    IDENTITY_TOKEN = 3,
    ONE_OFF_QUERY_RESPONSE = 4,
    SUBSCRIBE_APPLIED = 5,
    UNSUBSCRIBE_APPLIED = 6,
    SUBSCRIPTION_ERROR = 7,
    SUBSCRIBE_MULTI_APPLIED = 8,
    UNSUBSCRIBE_MULTI_APPLIED = 9,
    PROCEDURE_RESULT = 10,
};
enum { SOME = 0, NONE = 1 };
enum { STATUS_COMMITTED = 0, STATUS_FAILED = 1 };
enum { PROCEDURE_RETURNED = 0, PROCEDURE_INTERNAL_ERROR = 2 };
enum { UNCOMPRESSED = 0 };

// ── client to server ───────────────────────────────────────────────────────────────────────────

static void decode_query(Reader *r, ClientMessage *out) {
    const uint8_t *first = r->in.ptr;
    reader_str(r);
    out->query_count = 1;
    if (reader_ok(r)) out->queries = BYTES(first, (size_t)(r->in.ptr - first));
}

// A count that promises more than the bytes hold fails at the first missing text.
static void decode_queries(Reader *r, ClientMessage *out) {
    out->query_count = reader_u32(r);
    const uint8_t *first = r->in.ptr;
    for (uint32_t i = 0; i < out->query_count && reader_ok(r); i++) {
        reader_str(r);
    }
    if (reader_ok(r)) out->queries = BYTES(first, (size_t)(r->in.ptr - first));
}

static Err decode_call(Reader *r, const char *what, uint8_t flag_max, ClientMessage *out, Diag *d) {
    out->text = reader_str(r);
    out->args = reader_lp(r);
    out->request_id = reader_u32(r);
    size_t at = r->at;
    uint8_t flag = reader_u8(r);
    if (reader_ok(r) && flag > flag_max)
        return diag_fail_at(d, ERR_MALFORMED, at, "invalid call %s flag %u", what, (unsigned)flag);
    out->is_quiet = flag != 0;
    return reader_err(r, d);
}

static void decode_set(Reader *r, uint8_t tag, ClientMessage *out) {
    out->kind =
        tag == UNSUBSCRIBE || tag == UNSUBSCRIBE_MULTI ? CLIENT_UNSUBSCRIBE : CLIENT_SUBSCRIBE;
    out->set_kind = tag == SUBSCRIBE                                ? WIRE_SET_LEGACY
                    : tag == SUBSCRIBE_SINGLE || tag == UNSUBSCRIBE ? WIRE_SET_SINGLE
                                                                    : WIRE_SET;
    out->send_dropped_rows = out->kind == CLIENT_UNSUBSCRIBE;
    if (tag == SUBSCRIBE_SINGLE) decode_query(r, out);
    if (tag == SUBSCRIBE || tag == SUBSCRIBE_MULTI) decode_queries(r, out);
    out->request_id = reader_u32(r);
    if (tag != SUBSCRIBE) out->query_set = reader_u32(r);
}

Err v1_decode(Bytes payload, bool args_as_json, ClientMessage *out, Diag *diag) {
    Reader r = reader_of(payload);
    *out = (ClientMessage){.args_as_json = args_as_json};
    uint8_t tag = reader_u8(&r);
    if (!reader_ok(&r)) return reader_err(&r, diag);
    switch (tag) {
    case CALL_REDUCER:
        out->kind = CLIENT_CALL_REDUCER;
        return decode_call(&r, "reducer", 1, out, diag);
    case CALL_PROCEDURE:
        out->kind = CLIENT_CALL_PROCEDURE;
        return decode_call(&r, "procedure", 0, out, diag);
    case ONE_OFF_QUERY:
        out->kind = CLIENT_ONE_OFF_QUERY;
        out->message_id = reader_lp(&r);
        out->text = reader_str(&r);
        break;
    case SUBSCRIBE:
    case SUBSCRIBE_SINGLE:
    case SUBSCRIBE_MULTI:
    case UNSUBSCRIBE:
    case UNSUBSCRIBE_MULTI: decode_set(&r, tag, out); break;
    default:
        return diag_fail_at(diag,
                            ERR_MALFORMED,
                            0,
                            "unknown tag 0x%x for sum type ClientMessage",
                            (unsigned)tag);
    }
    return reader_err(&r, diag);
}

// ── server to client ───────────────────────────────────────────────────────────────────────────

uint32_t v1_run_of_table(const WireTableUpdate *u, uint32_t count) {
    uint32_t n = 1;
    while (n < count && str_eq(u[n].table_name, u[0].table_name)) {
        n++;
    }
    return n;
}

uint64_t v1_row_count(const WireTableUpdate *u, uint32_t count) {
    uint64_t rows = 0;
    for (uint32_t i = 0; i < count; i++) {
        rows += wire_rows(u[i].deletes).count;
        rows += wire_rows(u[i].inserts).count;
    }
    return rows;
}

static void put_str(Buf *out, Str text) {
    buf_put_lp(out, str_bytes(text));
}

static void put_empty_list(Buf *out) {
    static const uint8_t empty[9] = {1};  // RowOffsets([]) and no data
    buf_put(out, empty, sizeof empty);
}

static void put_table_head(Buf *out, uint32_t id, Str name, uint64_t rows, uint32_t updates) {
    buf_put_u32(out, id);
    put_str(out, name);
    buf_put_u64(out, rows);
    buf_put_u32(out, updates);
}

// Rows that all came, or all went: what a set begins or ends with.
static void put_table_rows(Buf *out, const WireTableRows *table, bool as_deletes) {
    uint64_t rows = table->is_absent ? 0 : wire_rows(table->rows).count;
    put_table_head(out, table->table_id, table->table_name, rows, table->is_absent ? 0 : 1);
    if (table->is_absent) return;
    buf_put_u8(out, UNCOMPRESSED);
    if (!as_deletes) put_empty_list(out);
    buf_put_bytes(out, table->rows);
    if (as_deletes) put_empty_list(out);
}

static void put_tables(Buf *out, const WireTableRows *tables, uint32_t count, bool as_deletes) {
    uint32_t present = 0;
    for (uint32_t i = 0; i < count; i++) {
        present += !tables[i].is_absent;
    }
    buf_put_u32(out, present);
    for (uint32_t i = 0; i < count; i++) {
        if (!tables[i].is_absent) put_table_rows(out, &tables[i], as_deletes);
    }
}

static void put_update(Buf *out, const WireTableUpdate *u, uint32_t count) {
    put_table_head(out, u[0].table_id, u[0].table_name, v1_row_count(u, count), count);
    for (uint32_t i = 0; i < count; i++) {
        buf_put_u8(out, UNCOMPRESSED);
        wire_put_rows(out, u[i].deletes, u[i].apart, false);
        wire_put_rows(out, u[i].inserts, u[i].apart, true);
    }
}

static void put_database_update(Buf *out, const WireTableUpdate *u, uint32_t count) {
    uint32_t tables = 0;
    for (uint32_t i = 0; i < count; i += v1_run_of_table(u + i, count - i)) {
        tables++;
    }
    buf_put_u32(out, tables);
    for (uint32_t i = 0, n; i < count; i += n) {
        n = v1_run_of_table(u + i, count - i);
        put_update(out, u + i, n);
    }
}

static void connected(Buf *out,
                      const Identity *identity,
                      const ConnectionId *connection,
                      Str token) {
    buf_put_u8(out, IDENTITY_TOKEN);
    buf_put(out, identity->le, sizeof identity->le);
    put_str(out, token);
    buf_put(out, connection->le, sizeof connection->le);
}

static void put_answer_head(Buf *out, uint8_t tag, const WireAsk *ask, int64_t us) {
    buf_put_u8(out, tag);
    buf_put_u32(out, ask->request);
    buf_put_u64(out, (uint64_t)us);
    buf_put_u32(out, ask->query_set);
}

// SubscribeRows: of the one query of a set.
static void put_single(Buf *out, const WireTableRows *table, bool as_deletes) {
    buf_put_u32(out, table->table_id);
    put_str(out, table->table_name);
    put_table_rows(out, table, as_deletes);
}

static void subscribed(Buf *out,
                       const WireAsk *ask,
                       int64_t us,
                       const WireTableRows *tables,
                       uint32_t count) {
    switch (ask->set_kind) {
    case WIRE_SET:
        put_answer_head(out, SUBSCRIBE_MULTI_APPLIED, ask, us);
        put_tables(out, tables, count, false);
        return;
    case WIRE_SET_SINGLE:
        ASSERT(count == 1);
        put_answer_head(out, SUBSCRIBE_APPLIED, ask, us);
        put_single(out, &tables[0], false);
        return;
    case WIRE_SET_LEGACY:
        buf_put_u8(out, INITIAL_SUBSCRIPTION);
        put_tables(out, tables, count, false);
        buf_put_u32(out, ask->request);
        buf_put_u64(out, (uint64_t)us);
        return;
    }
    UNREACHABLE();
}

// A set of several queries that is ended with the message for one has no other answer than Multi's.
static void unsubscribed(Buf *out,
                         const WireAsk *ask,
                         int64_t us,
                         bool has_rows,
                         const WireTableRows *tables,
                         uint32_t count) {
    (void)has_rows;
    if (ask->set_kind == WIRE_SET_SINGLE && count == 1) {
        put_answer_head(out, UNSUBSCRIBE_APPLIED, ask, us);
        put_single(out, &tables[0], true);
        return;
    }
    put_answer_head(out, UNSUBSCRIBE_MULTI_APPLIED, ask, us);
    put_tables(out, tables, count, true);
}

static void put_option_u32(Buf *out, const uint32_t *value) {
    buf_put_u8(out, value ? SOME : NONE);
    if (value) buf_put_u32(out, *value);
}

static void put_error(Buf *out,
                      const uint32_t *request,
                      const uint32_t *set,
                      int64_t us,
                      Str text) {
    buf_put_u8(out, SUBSCRIPTION_ERROR);
    buf_put_u64(out, (uint64_t)us);
    put_option_u32(out, request);
    put_option_u32(out, set);
    put_option_u32(out, NULL);  // table_id
    put_str(out, text);
}

static void refused(Buf *out, const WireAsk *ask, int64_t us, Str error) {
    bool has_id = ask->set_kind != WIRE_SET_LEGACY;
    put_error(out, &ask->request, has_id ? &ask->query_set : NULL, us, error);
}

static void ended(Buf *out, uint32_t query_set, Str error) {
    (void)query_set;
    put_error(out, NULL, NULL, 0, error);
}

static void rows(Buf *out, const WireAsk *ask, int64_t us, const WireTableRows *table) {
    buf_put_u8(out, ONE_OFF_QUERY_RESPONSE);
    buf_put_lp(out, ask->message_id);
    buf_put_u8(out, NONE);
    buf_put_u32(out, 1);
    put_str(out, table->table_name);
    buf_put_bytes(out, table->rows);
    buf_put_u64(out, (uint64_t)us);
}

static void no_rows(Buf *out, const WireAsk *ask, int64_t us, Str error) {
    buf_put_u8(out, ONE_OFF_QUERY_RESPONSE);
    buf_put_lp(out, ask->message_id);
    buf_put_u8(out, SOME);
    put_str(out, error);
    buf_put_u32(out, 0);
    buf_put_u64(out, (uint64_t)us);
}

// What stands behind the status.
static void put_call(Buf *out, const WireCall *call) {
    static const uint8_t no_energy[16] = {0};
    buf_put_u64(out, (uint64_t)call->timestamp);
    buf_put(out, call->caller.le, sizeof call->caller.le);
    buf_put(out, call->connection.le, sizeof call->connection.le);
    put_str(out, call->reducer);
    buf_put_u32(out, call->reducer_id);
    buf_put_lp(out, call->args);
    buf_put_u32(out, call->request);
    buf_put(out, no_energy, sizeof no_energy);
    buf_put_u64(out, (uint64_t)call->duration_us);
}

static void called(Buf *out, const WireCall *call, const WireTableUpdate *u, uint32_t count) {
    buf_put_u8(out, TRANSACTION_UPDATE);
    buf_put_u8(out, STATUS_COMMITTED);
    put_database_update(out, u, count);
    put_call(out, call);
}

static void update(Buf *out,
                   const WireCall *call,
                   bool full,
                   const WireTableUpdate *u,
                   uint32_t count) {
    if (full) {
        called(out, call, u, count);
        return;
    }
    buf_put_u8(out, TRANSACTION_UPDATE_LIGHT);
    buf_put_u32(out, call->request);
    put_database_update(out, u, count);
}

static void failed(Buf *out, const WireCall *call, bool by_reducer, Str error) {
    (void)by_reducer;
    buf_put_u8(out, TRANSACTION_UPDATE);
    buf_put_u8(out, STATUS_FAILED);
    put_str(out, error);
    put_call(out, call);
}

static void put_procedure_tail(Buf *out, uint32_t request, Micros timestamp, int64_t us) {
    buf_put_u64(out, (uint64_t)timestamp);
    buf_put_u64(out, (uint64_t)us);
    buf_put_u32(out, request);
}

static void returned(Buf *out,
                     uint32_t request,
                     Micros timestamp,
                     int64_t us,
                     const Type *type,
                     Bytes value) {
    (void)type;
    buf_put_u8(out, PROCEDURE_RESULT);
    buf_put_u8(out, PROCEDURE_RETURNED);
    buf_put_lp(out, value);
    put_procedure_tail(out, request, timestamp, us);
}

static void not_returned(Buf *out, uint32_t request, Str error) {
    buf_put_u8(out, PROCEDURE_RESULT);
    buf_put_u8(out, PROCEDURE_INTERNAL_ERROR);
    put_str(out, error);
    put_procedure_tail(out, request, 0, 0);
}

const WireCodec v1_codec = {
    .connected = connected,
    .subscribed = subscribed,
    .unsubscribed = unsubscribed,
    .refused = refused,
    .ended = ended,
    .rows = rows,
    .no_rows = no_rows,
    .update = update,
    .called = called,
    .failed = failed,
    .returned = returned,
    .not_returned = not_returned,
};
