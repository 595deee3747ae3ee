// wire.c: messages v2 and v3 to and from bytes.
//
// Every message is an ordinary BSATN value (spec §6.1, §6.2): a tag byte, then the fields in the
// order the spec lists them. A client message is decoded once, here, and nothing behind this file
// looks at its bytes again. A server message is appended piece by piece; row lists arrive finished
// from whoever made them, so a row is copied and never re-encoded.
//
// ALWAYS TRUE
//   (1) A decoded message borrows only bytes that were checked to lie inside the input.
//   (2) A refused message leaves *in where it was.
//
// Callers: net/ for both directions. Not here: the compression tag, framing, request semantics.
#include "wire/wire.h"

enum {  // tags of server messages, §6.2
    SERVER_INITIAL_CONNECTION = 0,
    SERVER_SUBSCRIBE_APPLIED = 1,
    SERVER_UNSUBSCRIBE_APPLIED = 2,
    SERVER_SUBSCRIPTION_ERROR = 3,
    SERVER_TRANSACTION_UPDATE = 4,
    SERVER_ONE_OFF_RESULT = 5,
    SERVER_REDUCER_RESULT = 6,
    SERVER_PROCEDURE_RESULT = 7,
    SERVER_RESUMED = 8,  // these are ours
    SERVER_PROGRESS = 9,
};
enum { SOME = 0, NONE = 1 };                    // ?T
enum { RESULT_OK = 0, RESULT_ERR = 1 };         // Result<QueryRows, str>
enum { ROWS_PERSISTENT = 0, ROWS_EVENTS = 1 };  // TableUpdateRows
enum { REDUCER_OK = 0, REDUCER_ERR = 2, REDUCER_INTERNAL_ERROR = 3 };
enum { PROCEDURE_RETURNED = 0, PROCEDURE_INTERNAL_ERROR = 1 };

// ── client to server ───────────────────────────────────────────────────────────────────────────

static Err unknown_tag(Diag *diag, size_t at, uint8_t tag, const char *type) {
    return diag_fail_at(diag,
                        ERR_MALFORMED,
                        at,
                        "unknown tag 0x%x for sum type %s",
                        (unsigned)tag,
                        type);
}

// The texts are checked now and walked later. A count that promises more than the bytes hold fails at
// the first missing text, so it costs at most one step for each four bytes of input.
static Bytes decode_queries(Reader *r, uint32_t *count) {
    *count = reader_u32(r);
    const uint8_t *first = r->in.ptr;
    for (uint32_t i = 0; i < *count && reader_ok(r); i++) {
        reader_str(r);
    }
    return reader_ok(r) ? (Bytes){first, (size_t)(r->in.ptr - first)} : BYTES_NONE;
}

static Err decode_subscribe(Reader *r, ClientMessage *out, Diag *diag) {
    out->request_id = reader_u32(r);
    out->query_set = reader_u32(r);
    out->queries = decode_queries(r, &out->query_count);
    return reader_err(r, diag);
}

static Err decode_unsubscribe(Reader *r, ClientMessage *out, Diag *diag) {
    out->request_id = reader_u32(r);
    out->query_set = reader_u32(r);
    size_t at = r->at;
    uint8_t flags = reader_u8(r);
    if (reader_ok(r) && flags > 1) return unknown_tag(diag, at, flags, "UnsubscribeFlags");
    out->send_dropped_rows = flags == 1;
    return reader_err(r, diag);
}

static Err decode_one_off(Reader *r, ClientMessage *out, Diag *diag) {
    out->request_id = reader_u32(r);
    out->text = reader_str(r);
    return reader_err(r, diag);
}

// Reducers and procedures are called in the same shape.
static Err decode_call(Reader *r, const char *what, ClientMessage *out, Diag *diag) {
    out->request_id = reader_u32(r);
    size_t at = r->at;
    uint8_t flags = reader_u8(r);
    if (reader_ok(r) && flags != 0)
        return diag_fail_at(diag,
                            ERR_MALFORMED,
                            at,
                            "invalid call %s flag %u",
                            what,
                            (unsigned)flags);
    out->text = reader_str(r);
    out->args = reader_lp(r);
    return reader_err(r, diag);
}

static Err decode_call_once(Reader *r, ClientMessage *out, Diag *diag) {
    out->request_id = reader_u32(r);
    out->session = reader_take(r, 16).ptr;
    out->number = reader_u64(r);
    out->settled = reader_u64(r);
    out->text = reader_str(r);
    out->args = reader_lp(r);
    return reader_err(r, diag);
}

static Err decode_resume(Reader *r, ClientMessage *out, Diag *diag) {
    out->request_id = reader_u32(r);
    Bytes history = reader_take(r, sizeof out->point.history);
    if (reader_ok(r)) memcpy(out->point.history, history.ptr, sizeof out->point.history);
    out->point.offset = reader_u64(r);
    out->set_count = reader_u32(r);
    const uint8_t *first = r->in.ptr;
    for (uint32_t i = 0; i < out->set_count && reader_ok(r); i++) {
        uint32_t queries;
        reader_u32(r);
        decode_queries(r, &queries);
    }
    if (reader_ok(r)) out->sets = (Bytes){first, (size_t)(r->in.ptr - first)};
    return reader_err(r, diag);
}

static Err decode_body(Reader *r, ClientMessage *out, Diag *diag) {
    uint8_t tag = reader_u8(r);
    if (!reader_ok(r)) return reader_err(r, diag);
    out->kind = (ClientMessageKind)tag;
    switch (tag) {
    case CLIENT_SUBSCRIBE: return decode_subscribe(r, out, diag);
    case CLIENT_UNSUBSCRIBE: return decode_unsubscribe(r, out, diag);
    case CLIENT_ONE_OFF_QUERY: return decode_one_off(r, out, diag);
    case CLIENT_CALL_REDUCER: return decode_call(r, "reducer", out, diag);
    case CLIENT_CALL_PROCEDURE: return decode_call(r, "procedure", out, diag);
    default: return unknown_tag(diag, 0, tag, "ClientMessage");
    }
}

enum { CALL_HEAD_BYTES = 1 + 4 + 1 };

// What nearly every message is, in a few looks. False of whatever is odd about one: that is found, and
// said, by decode_body.
static bool decode_plain_call(Bytes *in, ClientMessage *out) {
    const uint8_t *p = in->ptr;
    size_t left = in->len;
    if (left < CALL_HEAD_BYTES + 4 + 4 || p[0] != CLIENT_CALL_REDUCER || p[5] != 0) return false;
    left -= CALL_HEAD_BYTES + 4 + 4;
    size_t name_len = load_u32(p + CALL_HEAD_BYTES);
    if (name_len == 0 || name_len > left) return false;
    const uint8_t *name = p + CALL_HEAD_BYTES + 4;
    size_t args_len = load_u32(name + name_len);
    if (args_len > left - name_len || !utf8_valid(BYTES(name, name_len))) return false;
    const uint8_t *args = name + name_len + 4;
    *out = (ClientMessage){.kind = CLIENT_CALL_REDUCER,
                           .request_id = load_u32(p + 1),
                           .text = {(const char *)name, name_len},
                           .args = args_len ? BYTES(args, args_len) : BYTES_NONE};
    *in = BYTES(args + args_len, left - name_len - args_len);
    return true;
}

Err wire_decode(Bytes *in, ClientMessage *out, Diag *diag) {
    if (LIKELY(decode_plain_call(in, out))) return OK;
    Reader r = reader_of(*in);
    *out = (ClientMessage){0};
    Err err = decode_body(&r, out, diag);
    if (err != OK) return err;
    *in = r.in;
    return OK;
}

Err wire_decode_ours(Bytes *in, ClientMessage *out, Diag *diag) {
    uint8_t tag = in->len ? in->ptr[0] : 0;
    if (tag != CLIENT_CALL_ONCE && tag != CLIENT_RESUME) return wire_decode(in, out, diag);
    Reader r = reader_of(BYTES(in->ptr + 1, in->len - 1));
    *out = (ClientMessage){.kind = (ClientMessageKind)tag};
    Err err = tag == CLIENT_RESUME ? decode_resume(&r, out, diag) : decode_call_once(&r, out, diag);
    if (err == OK) *in = r.in;
    return err;
}

bool wire_next_query(Bytes *queries, Str *out) {
    if (queries->len == 0) return false;
    uint32_t len = load_u32(queries->ptr);  // decode_subscribe walked the same steps
    ASSERT(queries->len >= 4 && len <= queries->len - 4);
    *out = (Str){(const char *)queries->ptr + 4, len};
    queries->ptr += 4 + (size_t)len;
    queries->len -= 4 + (size_t)len;
    return true;
}

bool wire_next_set(Bytes *sets, WireSet *out) {
    if (sets->len == 0) return false;
    Reader r = reader_of(*sets);
    out->query_set = reader_u32(&r);
    out->queries = decode_queries(&r, &out->query_count);
    ASSERT(reader_ok(&r));  // decode_resume walked the same steps
    *sets = r.in;
    return true;
}

// ── server to client ───────────────────────────────────────────────────────────────────────────

static void put_str(Buf *out, Str text) {
    buf_put_lp(out, str_bytes(text));
}

static void put_query_rows(Buf *out, const WireTableRows *tables, uint32_t count) {
    buf_put_u32(out, count);
    for (uint32_t i = 0; i < count; i++) {
        put_str(out, tables[i].table_name);
        buf_put_bytes(out, tables[i].rows);
    }
}

// The updates are sorted, so those of one query set, and within it those of one table, are a run.
static uint32_t run_of_set(const WireTableUpdate *u, uint32_t count) {
    uint32_t n = 1;
    while (n < count && u[n].query_set == u[0].query_set) {
        n++;
    }
    return n;
}

static uint32_t run_of_table(const WireTableUpdate *u, uint32_t count) {
    uint32_t n = 1;
    while (n < count && str_eq(u[n].table_name, u[0].table_name)) {
        n++;
    }
    return n;
}

static void put_table_update(Buf *out, const WireTableUpdate *u, uint32_t count) {
    put_str(out, u[0].table_name);
    buf_put_u32(out, count);
    for (uint32_t i = 0; i < count; i++) {
        buf_put_u8(out, u[i].is_event ? ROWS_EVENTS : ROWS_PERSISTENT);
        wire_put_rows(out, u[i].inserts, u[i].apart, true);
        if (!u[i].is_event) wire_put_rows(out, u[i].deletes, u[i].apart, false);
    }
}

static void put_set_update(Buf *out, const WireTableUpdate *u, uint32_t count) {
    uint32_t tables = 0;
    for (uint32_t i = 0; i < count; i += run_of_table(u + i, count - i)) {
        tables++;
    }
    buf_put_u32(out, u[0].query_set);
    buf_put_u32(out, tables);
    for (uint32_t i = 0, n; i < count; i += n) {
        n = run_of_table(u + i, count - i);
        put_table_update(out, u + i, n);
    }
}

static void put_transaction(Buf *out, const WireTableUpdate *u, uint32_t count) {
    uint32_t sets = 0;
    for (uint32_t i = 0; i < count; i += run_of_set(u + i, count - i)) {
        sets++;
    }
    buf_put_u32(out, sets);
    for (uint32_t i = 0, n; i < count; i += n) {
        n = run_of_set(u + i, count - i);
        put_set_update(out, u + i, n);
    }
}

void wire_initial_connection(Buf *out,
                             const Identity *identity,
                             const ConnectionId *connection,
                             Str token) {
    buf_put_u8(out, SERVER_INITIAL_CONNECTION);
    buf_put(out, identity->le, sizeof identity->le);
    buf_put(out, connection->le, sizeof connection->le);
    put_str(out, token);
}

void wire_subscribe_applied(Buf *out,
                            uint32_t request,
                            uint32_t query_set,
                            const WireTableRows *tables,
                            uint32_t count) {
    buf_put_u8(out, SERVER_SUBSCRIBE_APPLIED);
    buf_put_u32(out, request);
    buf_put_u32(out, query_set);
    put_query_rows(out, tables, count);
}

void wire_unsubscribe_applied(Buf *out,
                              uint32_t request,
                              uint32_t query_set,
                              bool has_rows,
                              const WireTableRows *tables,
                              uint32_t count) {
    buf_put_u8(out, SERVER_UNSUBSCRIBE_APPLIED);
    buf_put_u32(out, request);
    buf_put_u32(out, query_set);
    buf_put_u8(out, has_rows ? SOME : NONE);
    if (has_rows) put_query_rows(out, tables, count);
}

void wire_subscription_error(Buf *out, const uint32_t *request, uint32_t query_set, Str error) {
    buf_put_u8(out, SERVER_SUBSCRIPTION_ERROR);
    buf_put_u8(out, request ? SOME : NONE);
    if (request) buf_put_u32(out, *request);
    buf_put_u32(out, query_set);
    put_str(out, error);
}

void wire_transaction_update(Buf *out, const WireTableUpdate *updates, uint32_t count) {
    buf_put_u8(out, SERVER_TRANSACTION_UPDATE);
    put_transaction(out, updates, count);
}

void wire_one_off_result(Buf *out, uint32_t request, const WireTableRows *table) {
    buf_put_u8(out, SERVER_ONE_OFF_RESULT);
    buf_put_u32(out, request);
    buf_put_u8(out, RESULT_OK);
    put_query_rows(out, table, 1);
}

void wire_one_off_error(Buf *out, uint32_t request, Str error) {
    buf_put_u8(out, SERVER_ONE_OFF_RESULT);
    buf_put_u32(out, request);
    buf_put_u8(out, RESULT_ERR);
    put_str(out, error);
}

static void put_reducer_head(Buf *out, uint32_t request, Micros timestamp, uint8_t outcome) {
    buf_put_u8(out, SERVER_REDUCER_RESULT);
    buf_put_u32(out, request);
    buf_put_u64(out, (uint64_t)timestamp);
    buf_put_u8(out, outcome);
}

enum { REDUCER_OK_BYTES = 1 + 4 + 8 + 1 + 4 + 4 };  // of one that nobody's queries concern

void wire_reducer_ok(Buf *out,
                     uint32_t request,
                     Micros timestamp,
                     const WireTableUpdate *updates,
                     uint32_t count) {
    if (LIKELY(count == 0)) {
        uint8_t *at = buf_extend(out, REDUCER_OK_BYTES);
        if (!at) return;
        at[0] = SERVER_REDUCER_RESULT;
        store_u32(at + 1, request);
        store_u64(at + 5, (uint64_t)timestamp);
        at[13] = REDUCER_OK;
        store_u64(at + 14, 0);  // no ret_value, no sets
        return;
    }
    put_reducer_head(out, request, timestamp, REDUCER_OK);
    buf_put_u32(out, 0);  // ret_value: must be empty, the Rust client panics otherwise (§7.3)
    put_transaction(out, updates, count);
}

void wire_reducer_err(Buf *out, uint32_t request, Micros timestamp, Str error) {
    put_reducer_head(out, request, timestamp, REDUCER_ERR);
    // A BSATN string inside a byte array: the length stands there twice (P5).
    buf_put_u32(out, (uint32_t)error.len + 4);
    put_str(out, error);
}

void wire_reducer_internal_error(Buf *out, uint32_t request, Micros timestamp, Str error) {
    put_reducer_head(out, request, timestamp, REDUCER_INTERNAL_ERROR);
    put_str(out, error);
}

void wire_procedure_returned(Buf *out,
                             uint32_t request,
                             Micros timestamp,
                             int64_t duration_us,
                             Bytes value) {
    buf_put_u8(out, SERVER_PROCEDURE_RESULT);
    buf_put_u8(out, PROCEDURE_RETURNED);
    buf_put_lp(out, value);
    buf_put_u64(out, (uint64_t)timestamp);
    buf_put_u64(out, (uint64_t)duration_us);
    buf_put_u32(out, request);  // last, unlike everywhere else
}

void wire_procedure_internal_error(Buf *out, uint32_t request, Str error) {
    buf_put_u8(out, SERVER_PROCEDURE_RESULT);
    buf_put_u8(out, PROCEDURE_INTERNAL_ERROR);
    put_str(out, error);
    buf_put_u64(out, 0);        // timestamp and
    buf_put_u64(out, 0);        // duration are 0 for a failure (§7.9)
    buf_put_u32(out, request);  // last, unlike everywhere else
}

void wire_resumed(Buf *out, uint32_t request, const WireSince *tables, uint32_t count) {
    buf_put_u8(out, SERVER_RESUMED);
    buf_put_u32(out, request);
    buf_put_u8(out, RESULT_OK);
    buf_put_u32(out, count);
    for (uint32_t i = 0; i < count; i++) {
        put_str(out, tables[i].table_name);
        buf_put_u8(out, (uint8_t)tables[i].kind);
        buf_put_bytes(out, tables[i].gone);
        buf_put_bytes(out, tables[i].rows);
    }
}

void wire_progress(Buf *out, const WirePoint *point) {
    buf_put_u8(out, SERVER_PROGRESS);
    buf_put(out, point->history, sizeof point->history);
    buf_put_u64(out, point->offset);
}

void wire_resume_refused(Buf *out, uint32_t request, Str error) {
    buf_put_u8(out, SERVER_RESUMED);
    buf_put_u32(out, request);
    buf_put_u8(out, RESULT_ERR);
    put_str(out, error);
}
