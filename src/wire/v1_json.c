// v1_json.c: messages of v1.json: those of v1.bsatn as SATS-JSON. Spec §6.5, forms §3.
//
// Reading needs no parser of its own: the messages are values of one type, which json_read knows how to
// read leniently (§3.3) and writes as BSATN; v1_decode does the rest. Two things are spelt differently:
// arguments are a string with JSON in it, and a message id is hexadecimal, which is how bytes are
// written anyway.
//
// Writing is by hand, form T for the envelope; rows and arguments are strings with JSON in them.
#include "sats/json.h"
#include "wire/v1.h"

// ── the type of a client message ───────────────────────────────────────────────────────────────

#define FIELD(field_name, t) \
    { {"" field_name, sizeof(field_name) - 1}, &t }
#define COMPOUND(type_kind, list)                                          \
    {                                                                      \
        .kind = type_kind, .field_count = ARRAY_LEN(list), .fields = list, \
        .fixed_size = TYPE_SIZE_VARIES, .source_ref = TYPE_NO_REF          \
    }
#define SIMPLE(type_kind, size)                                                        \
    {                                                                                  \
        .kind = type_kind, .fixed_size = size, .source_ref = TYPE_NO_REF, .weight = 1, \
        .any_bits = true                                                               \
    }

static const Type u8_type = SIMPLE(TYPE_U8, 1);
static const Type u32_type = SIMPLE(TYPE_U32, 4);
static const Type text_type = {.kind = TYPE_STRING,
                               .fixed_size = TYPE_SIZE_VARIES,
                               .source_ref = TYPE_NO_REF};
static const Type bytes_type = {.kind = TYPE_ARRAY,
                                .special = SPECIAL_BYTES,
                                .element = &u8_type,
                                .fixed_size = TYPE_SIZE_VARIES,
                                .source_ref = TYPE_NO_REF};
static const Type texts_type = {.kind = TYPE_ARRAY,
                                .element = &text_type,
                                .fixed_size = TYPE_SIZE_VARIES,
                                .source_ref = TYPE_NO_REF};
static const TypeField query_id_fields[] = {FIELD("id", u32_type)};
static const Type query_id_type = {.kind = TYPE_PRODUCT,
                                   .field_count = 1,
                                   .fields = query_id_fields,
                                   .fixed_size = 4,
                                   .source_ref = TYPE_NO_REF,
                                   .weight = 2,
                                   .height = 1,
                                   .any_bits = true};

static const TypeField call_reducer_fields[] = {FIELD("reducer", text_type),
                                                FIELD("args", text_type),
                                                FIELD("request_id", u32_type),
                                                FIELD("flags", u8_type)};
static const TypeField subscribe_fields[] = {FIELD("query_strings", texts_type),
                                             FIELD("request_id", u32_type)};
static const TypeField one_off_fields[] = {FIELD("message_id", bytes_type),
                                           FIELD("query_string", text_type)};
static const TypeField single_fields[] = {FIELD("query", text_type),
                                          FIELD("request_id", u32_type),
                                          FIELD("query_id", query_id_type)};
static const TypeField multi_fields[] = {FIELD("query_strings", texts_type),
                                         FIELD("request_id", u32_type),
                                         FIELD("query_id", query_id_type)};
static const TypeField unsubscribe_fields[] = {FIELD("request_id", u32_type),
                                               FIELD("query_id", query_id_type)};
static const TypeField call_procedure_fields[] = {FIELD("procedure", text_type),
                                                  FIELD("args", text_type),
                                                  FIELD("request_id", u32_type),
                                                  FIELD("flags", u8_type)};
static const Type call_reducer_type = COMPOUND(TYPE_PRODUCT, call_reducer_fields);
static const Type subscribe_type = COMPOUND(TYPE_PRODUCT, subscribe_fields);
static const Type one_off_type = COMPOUND(TYPE_PRODUCT, one_off_fields);
static const Type single_type = COMPOUND(TYPE_PRODUCT, single_fields);
static const Type multi_type = COMPOUND(TYPE_PRODUCT, multi_fields);
static const Type unsubscribe_type = {.kind = TYPE_PRODUCT,
                                      .field_count = 2,
                                      .fields = unsubscribe_fields,
                                      .fixed_size = 8,
                                      .source_ref = TYPE_NO_REF,
                                      .weight = 4,
                                      .height = 2,
                                      .any_bits = true};
static const Type call_procedure_type = COMPOUND(TYPE_PRODUCT, call_procedure_fields);
static const TypeField message_variants[] = {FIELD("CallReducer", call_reducer_type),
                                             FIELD("Subscribe", subscribe_type),
                                             FIELD("OneOffQuery", one_off_type),
                                             FIELD("SubscribeSingle", single_type),
                                             FIELD("SubscribeMulti", multi_type),
                                             FIELD("Unsubscribe", unsubscribe_type),
                                             FIELD("UnsubscribeMulti", unsubscribe_type),
                                             FIELD("CallProcedure", call_procedure_type)};
static const Type message_type = COMPOUND(TYPE_SUM, message_variants);

Err wire_decode_v1(Bytes payload, bool text, Buf *scratch, ClientMessage *out, Diag *diag) {
    if (!text) return v1_decode(payload, false, out, diag);
    buf_clear(scratch);
    Err err = json_read(&message_type, bytes_str(payload), scratch, diag);
    return err == OK ? v1_decode(buf_bytes(scratch), true, out, diag) : err;
}

// ── server to client ───────────────────────────────────────────────────────────────────────────

static void put(Buf *out, const char *text) {
    buf_put_str(out, str_from(text));
}

static void put_key_u64(Buf *out, const char *key, uint64_t value) {
    buf_printf(out, "\"%s\":%llu", key, (unsigned long long)value);
}

static void put_key_text(Buf *out, const char *key, Str value) {
    buf_printf(out, "\"%s\":", key);
    json_write_string(out, value);
}

static void put_special(Buf *out, const char *key, TypeSpecial kind, const uint8_t *value) {
    buf_printf(out, "\"%s\":", key);
    json_write(out, type_special(kind), value, JSON_TYPED);
}

static void put_micros(Buf *out, const char *key, TypeSpecial kind, int64_t micros) {
    uint8_t le[8];
    store_u64(le, (uint64_t)micros);
    put_special(out, key, kind, le);
}

// One update of a table: rows that came, rows that went.
static void put_query_update(Buf *out, const WireTableUpdate *u) {
    put(out, "{\"deletes\":");
    wire_put_rows(out, u->deletes_json, u->apart, false);
    put(out, ",\"inserts\":");
    wire_put_rows(out, u->inserts_json, u->apart, true);
    put(out, "}");
}

static void put_table_head(Buf *out, uint32_t id, Str name, uint64_t rows) {
    put(out, "{");
    put_key_u64(out, "table_id", id);
    put(out, ",");
    put_key_text(out, "table_name", name);
    put(out, ",");
    put_key_u64(out, "num_rows", rows);
    put(out, ",\"updates\":[");
}

static void put_table_rows(Buf *out, const WireTableRows *table, bool as_deletes) {
    put_table_head(out,
                   table->table_id,
                   table->table_name,
                   table->is_absent ? 0 : wire_rows(table->rows).count);
    if (!table->is_absent) {
        put(out, as_deletes ? "{\"deletes\":" : "{\"deletes\":[],\"inserts\":");
        wire_rows_json(out, table->rows, &table->type, true);
        put(out, as_deletes ? ",\"inserts\":[]}" : "}");
    }
    put(out, "]}");
}

static void put_tables(Buf *out, const WireTableRows *tables, uint32_t count, bool as_deletes) {
    bool first = true;
    put(out, "{\"tables\":[");
    for (uint32_t i = 0; i < count; i++) {
        if (tables[i].is_absent) continue;
        if (!first) put(out, ",");
        put_table_rows(out, &tables[i], as_deletes);
        first = false;
    }
    put(out, "]}");
}

static void put_update(Buf *out, const WireTableUpdate *u, uint32_t count) {
    put_table_head(out, u[0].table_id, u[0].table_name, v1_row_count(u, count));
    for (uint32_t i = 0; i < count; i++) {
        if (i) put(out, ",");
        put_query_update(out, &u[i]);
    }
    put(out, "]}");
}

static void put_database_update(Buf *out, const WireTableUpdate *u, uint32_t count) {
    put(out, "{\"tables\":[");
    for (uint32_t i = 0, n; i < count; i += n) {
        n = v1_run_of_table(u + i, count - i);
        if (i) put(out, ",");
        put_update(out, u + i, n);
    }
    put(out, "]}");
}

static void connected(Buf *out,
                      const Identity *identity,
                      const ConnectionId *connection,
                      Str token) {
    put(out, "{\"IdentityToken\":{");
    put_special(out, "identity", SPECIAL_IDENTITY, identity->le);
    put(out, ",");
    put_key_text(out, "token", token);
    put(out, ",");
    put_special(out, "connection_id", SPECIAL_CONNECTION_ID, connection->le);
    put(out, "}}");
}

static void put_answer_head(Buf *out, const char *name, const WireAsk *ask, int64_t us) {
    buf_printf(out, "{\"%s\":{", name);
    put_key_u64(out, "request_id", ask->request);
    put(out, ",");
    put_key_u64(out, "total_host_execution_duration_micros", (uint64_t)us);
    buf_printf(out, ",\"query_id\":{\"id\":%u},", ask->query_set);
}

static void put_single(Buf *out, const WireTableRows *table, bool as_deletes) {
    put(out, "\"rows\":{");
    put_key_u64(out, "table_id", table->table_id);
    put(out, ",");
    put_key_text(out, "table_name", table->table_name);
    put(out, ",\"table_rows\":");
    put_table_rows(out, table, as_deletes);
    put(out, "}}}");
}

static void put_multi(Buf *out, const WireTableRows *tables, uint32_t count, bool as_deletes) {
    put(out, "\"update\":");
    put_tables(out, tables, count, as_deletes);
    put(out, "}}");
}

static void subscribed(Buf *out,
                       const WireAsk *ask,
                       int64_t us,
                       const WireTableRows *tables,
                       uint32_t count) {
    switch (ask->set_kind) {
    case WIRE_SET:
        put_answer_head(out, "SubscribeMultiApplied", ask, us);
        put_multi(out, tables, count, false);
        return;
    case WIRE_SET_SINGLE:
        ASSERT(count == 1);
        put_answer_head(out, "SubscribeApplied", ask, us);
        put_single(out, &tables[0], false);
        return;
    case WIRE_SET_LEGACY:
        put(out, "{\"InitialSubscription\":{\"database_update\":");
        put_tables(out, tables, count, false);
        put(out, ",");
        put_key_u64(out, "request_id", ask->request);
        put(out, ",");
        put_micros(out, "total_host_execution_duration", SPECIAL_TIME_DURATION, us);
        put(out, "}}");
        return;
    }
    UNREACHABLE();
}

static void unsubscribed(Buf *out,
                         const WireAsk *ask,
                         int64_t us,
                         bool has_rows,
                         const WireTableRows *tables,
                         uint32_t count) {
    (void)has_rows;
    if (ask->set_kind == WIRE_SET_SINGLE && count == 1) {
        put_answer_head(out, "UnsubscribeApplied", ask, us);
        put_single(out, &tables[0], true);
        return;
    }
    put_answer_head(out, "UnsubscribeMultiApplied", ask, us);
    put_multi(out, tables, count, true);
}

static void put_option_u32(Buf *out, const char *key, const uint32_t *value) {
    buf_printf(out, ",\"%s\":", key);
    if (value) {
        buf_printf(out, "{\"some\":%u}", *value);
    } else {
        put(out, "{\"none\":[]}");
    }
}

static void put_error(Buf *out,
                      const uint32_t *request,
                      const uint32_t *set,
                      int64_t us,
                      Str text) {
    put(out, "{\"SubscriptionError\":{");
    put_key_u64(out, "total_host_execution_duration_micros", (uint64_t)us);
    put_option_u32(out, "request_id", request);
    put_option_u32(out, "query_id", set);
    put_option_u32(out, "table_id", NULL);
    put(out, ",");
    put_key_text(out, "error", text);
    put(out, "}}");
}

static void refused(Buf *out, const WireAsk *ask, int64_t us, Str error) {
    bool has_id = ask->set_kind != WIRE_SET_LEGACY;
    put_error(out, &ask->request, has_id ? &ask->query_set : NULL, us, error);
}

static void ended(Buf *out, uint32_t query_set, Str error) {
    (void)query_set;
    put_error(out, NULL, NULL, 0, error);
}

static void put_one_off_head(Buf *out, const WireAsk *ask) {
    put(out, "{\"OneOffQueryResponse\":{\"message_id\":\"");
    hex_append(out, ask->message_id);
    put(out, "\",\"error\":");
}

static void put_one_off_tail(Buf *out, int64_t us) {
    put(out, "],");
    put_micros(out, "total_host_execution_duration", SPECIAL_TIME_DURATION, us);
    put(out, "}}");
}

static void rows(Buf *out, const WireAsk *ask, int64_t us, const WireTableRows *table) {
    put_one_off_head(out, ask);
    put(out, "{\"none\":[]},\"tables\":[{");
    put_key_text(out, "table_name", table->table_name);
    put(out, ",\"rows\":");
    wire_rows_json(out, table->rows, &table->type, true);
    put(out, "}");
    put_one_off_tail(out, us);
}

static void no_rows(Buf *out, const WireAsk *ask, int64_t us, Str error) {
    put_one_off_head(out, ask);
    put(out, "{\"some\":");
    json_write_string(out, error);
    put(out, "},\"tables\":[");
    put_one_off_tail(out, us);
}

// Arguments as a string with JSON in it: the caller's own text, or form U.
static void put_args(Buf *out, const WireCall *call) {
    put(out, "\"args\":");
    if (call->args_text.ptr) {
        json_write_string(out, call->args_text);
        return;
    }
    Buf text = {0};
    if (call->params) {
        json_write(&text, call->params, call->args.ptr, JSON_UNTYPED);
    } else {
        put(&text, "[]");
    }
    if (!buf_ok(&text)) out->failed = true;
    json_write_string(out, bytes_str(buf_bytes(&text)));
    buf_deinit(&text);
}

static void put_call(Buf *out, const WireCall *call) {
    put_micros(out, "timestamp", SPECIAL_TIMESTAMP, call->timestamp);
    put(out, ",");
    put_special(out, "caller_identity", SPECIAL_IDENTITY, call->caller.le);
    put(out, ",");
    put_special(out, "caller_connection_id", SPECIAL_CONNECTION_ID, call->connection.le);
    put(out, ",\"reducer_call\":{");
    put_key_text(out, "reducer_name", call->reducer);
    put(out, ",");
    put_key_u64(out, "reducer_id", call->reducer_id);
    put(out, ",");
    put_args(out, call);
    put(out, ",");
    put_key_u64(out, "request_id", call->request);
    put(out, "},\"energy_quanta_used\":{\"quanta\":0},");
    put_micros(out, "total_host_execution_duration", SPECIAL_TIME_DURATION, call->duration_us);
    put(out, "}}");
}

static void called(Buf *out, const WireCall *call, const WireTableUpdate *u, uint32_t count) {
    put(out, "{\"TransactionUpdate\":{\"status\":{\"Committed\":");
    put_database_update(out, u, count);
    put(out, "},");
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
    put(out, "{\"TransactionUpdateLight\":{");
    put_key_u64(out, "request_id", call->request);
    put(out, ",\"update\":");
    put_database_update(out, u, count);
    put(out, "}}");
}

static void failed(Buf *out, const WireCall *call, bool by_reducer, Str error) {
    (void)by_reducer;
    put(out, "{\"TransactionUpdate\":{\"status\":{");
    put_key_text(out, "Failed", error);
    put(out, "},");
    put_call(out, call);
}

static void put_procedure_tail(Buf *out, uint32_t request, Micros timestamp, int64_t us) {
    put(out, "},");
    put_micros(out, "timestamp", SPECIAL_TIMESTAMP, timestamp);
    put(out, ",");
    put_micros(out, "total_host_execution_duration", SPECIAL_TIME_DURATION, us);
    put(out, ",");
    put_key_u64(out, "request_id", request);
    put(out, "}}");
}

static void returned(Buf *out,
                     uint32_t request,
                     Micros timestamp,
                     int64_t us,
                     const Type *type,
                     Bytes value) {
    Buf text = {0};
    json_write(&text, type, value.ptr, JSON_UNTYPED);
    if (!buf_ok(&text)) out->failed = true;
    put(out, "{\"ProcedureResult\":{\"status\":{");
    put_key_text(out, "Returned", bytes_str(buf_bytes(&text)));
    put_procedure_tail(out, request, timestamp, us);
    buf_deinit(&text);
}

static void not_returned(Buf *out, uint32_t request, Str error) {
    put(out, "{\"ProcedureResult\":{\"status\":{");
    put_key_text(out, "InternalError", error);
    put_procedure_tail(out, request, 0, 0);
}

const WireCodec v1_json_codec = {
    .is_text = true,
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
