// The vectors of spec §9.5 and the examples of §6.5; then what no example shows.
#include "wire/v1.h"

#include "base/mem.h"
#include "base/test.h"

// ── helpers ────────────────────────────────────────────────────────────────────────────────────

static uint8_t hex_room[1024];
static Buf scratch;

static Bytes unhex(const char *hex) {  // valid until the next call
    Str text = str_from(hex);
    ASSERT(text.len / 2 <= sizeof hex_room && hex_read(text, hex_room));
    return (Bytes){hex_room, text.len / 2};
}

static ClientMessage binary(const char *hex) {
    ClientMessage m;
    EXPECT_OK(wire_decode_v1(unhex(hex), false, &scratch, &m, NULL));
    return m;
}

static ClientMessage json(const char *text) {
    ClientMessage m;
    Diag diag;
    Err err = wire_decode_v1(str_bytes(str_from(text)), true, &scratch, &m, &diag);
    if (err != OK) printf("%s: %s\n", text, diag.text);
    EXPECT_OK(err);
    return m;
}

static void expect_refused(Bytes payload, bool text, const char *why) {
    ClientMessage m;
    Diag diag;
    EXPECT_ERR(wire_decode_v1(payload, text, &scratch, &m, &diag), ERR_MALFORMED);
    EXPECT_STR(diag.text, why);
}

static void expect_str(Str got, const char *want) {
    EXPECT_BYTES(str_bytes(got), str_bytes(str_from(want)));
}

static void expect_sent(Buf *out, const char *hex) {
    EXPECT(buf_ok(out));
    EXPECT_HEX(buf_bytes(out), hex);
    buf_deinit(out);
}

static void expect_said(Buf *out, const char *text) {
    EXPECT(buf_ok(out));
    expect_str(bytes_str(buf_bytes(out)), text);
    buf_deinit(out);
}

static const Identity identity = {{0x5d, 0x26, 0x2a, 0x47, 0x8b, 0x8f, 0x95, 0x22, 0x0f, 0x30, 0x68,
                                   0x04, 0x0c, 0x20, 0x3e, 0x32, 0xac, 0x0e, 0xed, 0xc6, 0x98, 0xd8,
                                   0x44, 0x35, 0xe9, 0xa2, 0x53, 0x03, 0x60, 0x35, 0x00, 0xc2}};
static const ConnectionId connection = {{15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0}};
#define IDENTITY_HEX   "5d262a478b8f95220f3068040c203e32ac0eedc698d84435e9a25303603500c2"
#define CONNECTION_HEX "0f0e0d0c0b0a09080706050403020100"
#define IDENTITY_JSON \
    "{\"__identity__\":\"0xc20035600353a2e93544d898c6ed0eac323e200c0468300f22958f8b472a265d\"}"
#define CONNECTION_JSON "{\"__connection_id__\":5233100606242806050955395731361295}"
#define MICROS_JSON     "{\"__time_duration_micros__\":250}"

static Arena arena;

static const Type *row_type(void) {  // {id: U32}
    TypeField field = {STR("id"), type_simple(TYPE_U32)};
    return type_product(&arena, &field, 1);
}

static Buf list_room[2];

static Bytes list_of(int slot, const uint32_t *values, size_t count) {
    RowList list;
    rowlist_init(&list);
    for (size_t i = 0; i < count; i++) {
        rowlist_add(&list, BYTES(&values[i], 4));
    }
    buf_clear(&list_room[slot]);
    rowlist_encode(&list_room[slot], &list);
    rowlist_deinit(&list);
    return buf_bytes(&list_room[slot]);
}

static WireTableRows table_of(const uint32_t *values, size_t count) {
    return (WireTableRows){.table_name = STR("t"),
                           .rows = list_of(0, values, count),
                           .table_id = 4096,
                           .type = {.row_type = row_type()}};
}

// Table t, 7 goes and 9 comes; the JSON of both in `text`.
static WireTableUpdate update_of(Buf text[2]) {
    WireTableUpdate u = {.table_name = STR("t"), .table_id = 4096};
    WireRowType type = {.row_type = row_type()};
    u.deletes = list_of(0, (uint32_t[]){7}, 1);
    u.inserts = list_of(1, (uint32_t[]){9}, 1);
    wire_rows_json(&text[0], u.deletes, &type, false);
    wire_rows_json(&text[1], u.inserts, &type, false);
    u.deletes_json = buf_bytes(&text[0]);
    u.inserts_json = buf_bytes(&text[1]);
    return u;
}

static const uint8_t seven[4] = {7};

static WireCall call_of(void) {
    return (WireCall){.request = 5,
                      .timestamp = 1000000,
                      .duration_us = 250,
                      .reducer = STR("add"),
                      .reducer_id = 3,
                      .args = BYTES(seven, 4),
                      .params = row_type(),
                      .caller = identity,
                      .connection = connection};
}

static void forget(Buf text[2]) {
    for (int i = 0; i < 2; i++) {
        buf_deinit(&text[i]);
        buf_deinit(&list_room[i]);
    }
    buf_deinit(&scratch);
    arena_deinit(&arena);
}

static void forget_all(void) {
    forget((Buf[2]){{0}, {0}});
}

// ── client messages ────────────────────────────────────────────────────────────────────────────

#define QUERY_HEX "0f00000053454c454354202a2046524f4d2074"  // SELECT * FROM t

static void expect_call(const ClientMessage *m, bool quiet) {
    EXPECT_EQ(m->kind, CLIENT_CALL_REDUCER);
    expect_str(m->text, "add");
    EXPECT_EQ(m->request_id, 5);
    EXPECT_EQ(m->is_quiet, quiet);
}

TEST(v1, reads_calls_in_both_encodings) {
    ClientMessage m = binary("000300000061646404000000070000000500000000");
    expect_call(&m, false);
    EXPECT_HEX(m.args, "07000000");
    EXPECT(!m.args_as_json);
    m = binary("000300000061646404000000070000000500000001");
    expect_call(&m, true);
    m = json(
        "{\"CallReducer\":{\"reducer\":\"add\",\"args\":\"[7]\",\"request_id\":5,\"flags\":0}}");
    expect_call(&m, false);
    EXPECT(m.args_as_json);
    expect_str(bytes_str(m.args), "[7]");
    m = json("[0,[\"add\",\"[\\\"a\\\\n\\\"]\",5,1]]");  // the lenient form
    expect_call(&m, true);
    expect_str(bytes_str(m.args), "[\"a\\n\"]");
    m = binary("070100000070000000000600000000");
    EXPECT_EQ(m.kind, CLIENT_CALL_PROCEDURE);
    EXPECT_EQ(m.request_id, 6);
    m = json("{\"CallProcedure\":{\"procedure\":\"p\",\"args\":\"[]\",\"flags\":0,"
             "\"request_id\":6}}");
    EXPECT_EQ(m.kind, CLIENT_CALL_PROCEDURE);
    expect_str(m.text, "p");
    forget_all();
}

static void expect_set(ClientMessage m, ClientMessageKind kind, WireSetKind set, uint32_t request) {
    Str text;
    Bytes queries = m.queries;
    EXPECT_EQ(m.kind, kind);
    EXPECT_EQ(m.set_kind, set);
    EXPECT_EQ(m.request_id, request);
    EXPECT_EQ(m.query_set, set == WIRE_SET_LEGACY ? 0 : 2);
    EXPECT_EQ(m.send_dropped_rows, kind == CLIENT_UNSUBSCRIBE);
    EXPECT_EQ(m.query_count, kind == CLIENT_SUBSCRIBE);
    if (kind == CLIENT_UNSUBSCRIBE) return;
    EXPECT(wire_next_query(&queries, &text));
    expect_str(text, "SELECT * FROM t");
    EXPECT(!wire_next_query(&queries, &text));
}

TEST(v1, reads_the_five_ways_to_subscribe_and_to_end_it) {
    expect_set(binary("0101000000" QUERY_HEX "01000000"), CLIENT_SUBSCRIBE, WIRE_SET_LEGACY, 1);
    expect_set(binary("03" QUERY_HEX "0100000002000000"), CLIENT_SUBSCRIBE, WIRE_SET_SINGLE, 1);
    expect_set(binary("0401000000" QUERY_HEX "0100000002000000"), CLIENT_SUBSCRIBE, WIRE_SET, 1);
    expect_set(binary("050300000002000000"), CLIENT_UNSUBSCRIBE, WIRE_SET_SINGLE, 3);
    expect_set(binary("060300000002000000"), CLIENT_UNSUBSCRIBE, WIRE_SET, 3);
    expect_set(json("{\"Subscribe\":{\"query_strings\":[\"SELECT * FROM t\"],\"request_id\":1}}"),
               CLIENT_SUBSCRIBE,
               WIRE_SET_LEGACY,
               1);
    expect_set(json("{\"SubscribeSingle\":{\"query\":\"SELECT * FROM t\",\"request_id\":1,"
                    "\"query_id\":{\"id\":2}}}"),
               CLIENT_SUBSCRIBE,
               WIRE_SET_SINGLE,
               1);
    expect_set(json("{\"SubscribeMulti\":{\"query_strings\":[\"SELECT * FROM t\"],"
                    "\"request_id\":1,\"query_id\":{\"id\":2}}}"),
               CLIENT_SUBSCRIBE,
               WIRE_SET,
               1);
    expect_set(json("{\"Unsubscribe\":{\"request_id\":3,\"query_id\":[2]}}"),
               CLIENT_UNSUBSCRIBE,
               WIRE_SET_SINGLE,
               3);
    expect_set(json("{\"UnsubscribeMulti\":{\"query_id\":{\"id\":2},\"request_id\":3}}"),
               CLIENT_UNSUBSCRIBE,
               WIRE_SET,
               3);
    forget_all();
}

TEST(v1, reads_one_off_queries_with_their_message_id) {
    ClientMessage m = binary("020200000001020f00000053454c454354202a2046524f4d2074");
    EXPECT_EQ(m.kind, CLIENT_ONE_OFF_QUERY);
    EXPECT_HEX(m.message_id, "0102");
    expect_str(m.text, "SELECT * FROM t");
    m = json("{\"OneOffQuery\":{\"message_id\":\"0102\",\"query_string\":\"SELECT * FROM t\"}}");
    EXPECT_HEX(m.message_id, "0102");
    m = json("{\"OneOffQuery\":{\"message_id\":[1,2],\"query_string\":\"SELECT * FROM t\"}}");
    EXPECT_HEX(m.message_id, "0102");
    forget_all();
}

TEST(v1, refuses_in_the_original_s_words) {
    expect_refused(unhex("000300000061646404000000070000000500000002"),
                   false,
                   "invalid call reducer flag 2");
    expect_refused(unhex("070100000070000000000600000001"), false, "invalid call procedure flag 1");
    expect_refused(unhex("08"), false, "unknown tag 0x8 for sum type ClientMessage");
    expect_refused(unhex(""), false, "data too short for u8: Expected 1, given 0");
    expect_refused(BYTES("{\"CallReducer\":{}} x", 20), true, "missing field `reducer`");
    forget_all();
}

TEST(v1, ignores_what_follows_a_binary_message_and_no_text_behind_json) {
    ClientMessage m = binary("060300000002000000ffff");
    EXPECT_EQ(m.query_set, 2);
    Diag diag;
    Str text = STR("{\"UnsubscribeMulti\":{\"query_id\":{\"id\":2},\"request_id\":3}} 1");
    EXPECT_ERR(wire_decode_v1(str_bytes(text), true, &scratch, &m, &diag), ERR_MALFORMED);
    forget_all();
}

TEST(v1, reads_every_prefix_of_a_message_as_too_short) {
    static const char *const whole[] = {"000300000061646404000000070000000500000000",
                                        "0101000000" QUERY_HEX "01000000",
                                        "020200000001020f00000053454c454354202a2046524f4d2074",
                                        "0401000000" QUERY_HEX "0100000002000000",
                                        "050300000002000000"};
    for (size_t i = 0; i < ARRAY_LEN(whole); i++) {
        Bytes all = unhex(whole[i]);
        for (size_t len = 0; len < all.len; len++) {
            uint8_t *copy = mem_alloc(len + 1);  // its end is the sanitizer's
            memcpy(copy, all.ptr, len);
            ClientMessage m;
            Diag diag;
            EXPECT_ERR(v1_decode(BYTES(copy, len), false, &m, &diag), ERR_MALFORMED);
            mem_free(copy);
        }
    }
    forget_all();
}

// ── server messages ────────────────────────────────────────────────────────────────────────────

TEST(v1, introduces_itself) {
    Buf out = {0};
    v1_codec.connected(&out, &identity, &connection, STR("tok"));
    expect_sent(&out, "03" IDENTITY_HEX "03000000746f6b" CONNECTION_HEX);
    v1_json_codec.connected(&out, &identity, &connection, STR("tok"));
    expect_said(&out,
                "{\"IdentityToken\":{\"identity\":" IDENTITY_JSON ",\"token\":\"tok\","
                "\"connection_id\":" CONNECTION_JSON "}}");
}

TEST(v1, answers_a_set_of_queries) {
    Buf out = {0};
    WireAsk ask = {.request = 1, .query_set = 2};
    WireTableRows tables[] = {table_of((uint32_t[]){7, 8}, 2), {.is_absent = true}};
    v1_codec.subscribed(&out, &ask, 250, tables, 2);
    expect_sent(
        &out,
        "0801000000fa00000000000000020000000100000000100000010000007402000000000000000100000"
        "000010000000000000000000400080000000700000008000000");
    v1_json_codec.subscribed(&out, &ask, 250, tables, 2);
    expect_said(&out,
                "{\"SubscribeMultiApplied\":{\"request_id\":1,"
                "\"total_host_execution_duration_micros\":250,\"query_id\":{\"id\":2},"
                "\"update\":{\"tables\":[{\"table_id\":4096,\"table_name\":\"t\",\"num_rows\":2,"
                "\"updates\":[{\"deletes\":[],\"inserts\":[\"{\\\"id\\\":7}\",\"{\\\"id\\\":8}\"]}"
                "]}]}}}");
    v1_codec.unsubscribed(&out, &ask, 250, true, tables, 2);
    expect_sent(
        &out,
        "0901000000fa000000000000000200000001000000001000000100000074020000000000000001000000"
        "000004000800000007000000080000000100000000"
        "00000000");
    v1_json_codec.unsubscribed(&out, &ask, 250, true, tables, 1);
    expect_said(&out,
                "{\"UnsubscribeMultiApplied\":{\"request_id\":1,"
                "\"total_host_execution_duration_micros\":250,\"query_id\":{\"id\":2},"
                "\"update\":{\"tables\":[{\"table_id\":4096,\"table_name\":\"t\",\"num_rows\":2,"
                "\"updates\":[{\"deletes\":[\"{\\\"id\\\":7}\",\"{\\\"id\\\":8}\"],\"inserts\":[]}"
                "]}]}}}");
    forget_all();
}

TEST(v1, answers_a_single_query_also_when_there_is_nothing_to_show) {
    Buf out = {0};
    WireAsk ask = {.request = 1, .query_set = 2, .set_kind = WIRE_SET_SINGLE};
    WireTableRows table = {.table_name = STR("t"), .table_id = 4096, .is_absent = true};
    v1_codec.subscribed(&out, &ask, 250, &table, 1);
    expect_sent(&out,
                "0501000000fa0000000000000002000000"
                "00100000010000007400100000010000007400000000000000000000"
                "0000");
    v1_json_codec.unsubscribed(&out, &ask, 250, true, &table, 1);
    expect_said(&out,
                "{\"UnsubscribeApplied\":{\"request_id\":1,"
                "\"total_host_execution_duration_micros\":250,\"query_id\":{\"id\":2},"
                "\"rows\":{\"table_id\":4096,\"table_name\":\"t\",\"table_rows\":"
                "{\"table_id\":4096,\"table_name\":\"t\",\"num_rows\":0,\"updates\":[]}}}}");
}

TEST(v1, answers_a_legacy_subscription_without_a_set) {
    Buf out = {0};
    WireAsk ask = {.request = 1, .set_kind = WIRE_SET_LEGACY};
    v1_codec.subscribed(&out, &ask, 250, NULL, 0);
    expect_sent(&out, "000000000001000000fa00000000000000");
    v1_json_codec.subscribed(&out, &ask, 250, NULL, 0);
    expect_said(&out,
                "{\"InitialSubscription\":{\"database_update\":{\"tables\":[]},\"request_id\":1,"
                "\"total_host_execution_duration\":" MICROS_JSON "}}");
}

TEST(v1, says_why_a_subscription_is_refused_or_has_ended) {
    Buf out = {0};
    WireAsk ask = {.request = 1, .query_set = 2};
    v1_codec.refused(&out, &ask, 0, STR("bad"));
    expect_sent(&out, "070000000000000000000100000000020000000103000000626164");
    v1_json_codec.refused(&out, &ask, 0, STR("bad"));
    expect_said(&out,
                "{\"SubscriptionError\":{\"total_host_execution_duration_micros\":0,"
                "\"request_id\":{\"some\":1},\"query_id\":{\"some\":2},\"table_id\":{\"none\":[]},"
                "\"error\":\"bad\"}}");
    ask.set_kind = WIRE_SET_LEGACY;
    v1_codec.refused(&out, &ask, 0, STR("bad"));
    expect_sent(&out, "0700000000000000000001000000010103000000626164");
    v1_codec.ended(&out, 2, STR("bad"));
    expect_sent(&out, "07000000000000000001010103000000626164");
}

TEST(v1, tells_what_changed_with_the_call_or_without) {
    Buf out = {0}, text[2] = {{0}, {0}};
    WireCall call = {0};
    WireTableUpdate u = update_of(text);
    v1_codec.update(&out, &call, false, &u, 1);
    expect_sent(
        &out,
        "0200000000010000000010000001000000740200000000000000010000000000040004000000070000000004"
        "000400000009000000");
    v1_json_codec.update(&out, &call, false, &u, 1);
    expect_said(&out,
                "{\"TransactionUpdateLight\":{\"request_id\":0,\"update\":{\"tables\":["
                "{\"table_id\":4096,\"table_name\":\"t\",\"num_rows\":2,\"updates\":["
                "{\"deletes\":[\"[7]\"],\"inserts\":[\"[9]\"]}]}]}}}");
    call = call_of();
    v1_codec.update(&out, &call, true, NULL, 0);
    expect_sent(
        &out,
        "01000000000040420f0000000000" IDENTITY_HEX CONNECTION_HEX
        "030000006164640300000004000000070000000500000000000000000000000000000000000000fa00000000"
        "000000");
    v1_json_codec.called(&out, &call, &u, 1);
    expect_said(&out,
                "{\"TransactionUpdate\":{\"status\":{\"Committed\":{\"tables\":["
                "{\"table_id\":4096,\"table_name\":\"t\",\"num_rows\":2,\"updates\":["
                "{\"deletes\":[\"[7]\"],\"inserts\":[\"[9]\"]}]}]}},"
                "\"timestamp\":{\"__timestamp_micros_since_unix_epoch__\":1000000},"
                "\"caller_identity\":" IDENTITY_JSON ",\"caller_connection_id\":" CONNECTION_JSON
                ",\"reducer_call\":{\"reducer_name\":\"add\",\"reducer_id\":3,\"args\":\"[7]\","
                "\"request_id\":5},\"energy_quanta_used\":{\"quanta\":0},"
                "\"total_host_execution_duration\":" MICROS_JSON "}}");
    forget(text);
}

TEST(v1, says_why_a_call_failed) {
    Buf out = {0};
    WireCall call = call_of();
    v1_codec.failed(&out, &call, true, STR("no"));
    expect_sent(
        &out,
        "0101020000006e6f40420f0000000000" IDENTITY_HEX CONNECTION_HEX
        "030000006164640300000004000000070000000500000000000000000000000000000000000000fa00000000"
        "000000");
    call.args_text = STR("[ 7 ]");  // the caller's own words
    v1_json_codec.failed(&out, &call, true, STR("no"));
    expect_said(&out,
                "{\"TransactionUpdate\":{\"status\":{\"Failed\":\"no\"},"
                "\"timestamp\":{\"__timestamp_micros_since_unix_epoch__\":1000000},"
                "\"caller_identity\":" IDENTITY_JSON ",\"caller_connection_id\":" CONNECTION_JSON
                ",\"reducer_call\":{\"reducer_name\":\"add\",\"reducer_id\":3,\"args\":\"[ 7 ]\","
                "\"request_id\":5},\"energy_quanta_used\":{\"quanta\":0},"
                "\"total_host_execution_duration\":" MICROS_JSON "}}");
    forget_all();
}

TEST(v1, answers_one_off_queries) {
    Buf out = {0};
    WireAsk ask = {.message_id = BYTES("\1\2", 2)};
    WireTableRows table = table_of((uint32_t[]){7}, 1);
    v1_codec.rows(&out, &ask, 250, &table);
    expect_sent(&out, "04020000000102010100000001000000740004000400000007000000fa00000000000000");
    v1_json_codec.rows(&out, &ask, 250, &table);
    expect_said(&out,
                "{\"OneOffQueryResponse\":{\"message_id\":\"0102\",\"error\":{\"none\":[]},"
                "\"tables\":[{\"table_name\":\"t\",\"rows\":[\"{\\\"id\\\":7}\"]}],"
                "\"total_host_execution_duration\":" MICROS_JSON "}}");
    v1_codec.no_rows(&out, &ask, 250, STR("bad"));
    expect_sent(&out, "04020000000102000300000062616400000000fa00000000000000");
    v1_json_codec.no_rows(&out, &ask, 250, STR("b\"d"));
    expect_said(&out,
                "{\"OneOffQueryResponse\":{\"message_id\":\"0102\",\"error\":{\"some\":\"b\\\"d\"},"
                "\"tables\":[],\"total_host_execution_duration\":" MICROS_JSON "}}");
    forget_all();
}

TEST(v1, answers_procedures) {
    Buf out = {0};
    Bytes value = BYTES(seven, 4);
    v1_codec.returned(&out, 6, 1000000, 250, type_simple(TYPE_U32), value);
    expect_sent(&out, "0a00040000000700000040420f0000000000fa0000000000000006000000");
    v1_json_codec.returned(&out, 6, 1000000, 250, type_simple(TYPE_U32), value);
    expect_said(&out,
                "{\"ProcedureResult\":{\"status\":{\"Returned\":\"7\"},"
                "\"timestamp\":{\"__timestamp_micros_since_unix_epoch__\":1000000},"
                "\"total_host_execution_duration\":" MICROS_JSON ",\"request_id\":6}}");
    v1_codec.not_returned(&out, 6, STR("no"));  // a variant stands between, unlike in v2
    expect_sent(&out, "0a02020000006e6f0000000000000000000000000000000006000000");
    v1_json_codec.not_returned(&out, 6, STR("no"));
    expect_said(&out,
                "{\"ProcedureResult\":{\"status\":{\"InternalError\":\"no\"},"
                "\"timestamp\":{\"__timestamp_micros_since_unix_epoch__\":0},"
                "\"total_host_execution_duration\":{\"__time_duration_micros__\":0},"
                "\"request_id\":6}}");
}

// ── rows ───────────────────────────────────────────────────────────────────────────────────────

TEST(v1, writes_rows_by_name_or_position_without_hidden_columns) {
    TypeField inner_fields[] = {{STR("x"), type_simple(TYPE_U8)}};
    const Type *inner = type_product(&arena, inner_fields, 1);
    TypeField fields[] = {{STR("hash"), type_simple(TYPE_U256)},
                          {STR("name"), type_simple(TYPE_STRING)},
                          {STR("maybe"), type_option(&arena, inner)},
                          {STR("list"), type_array(&arena, inner)}};
    WireRowType type = {.row_type = type_product(&arena, fields, 4), .hidden_columns = 1};
    static const char *const rows[] = {"02000000c3a9"
                                       "0005"
                                       "0100000006",
                                       "00000000"
                                       "01"
                                       "00000000"};
    RowList list;
    Buf encoded = {0}, out = {0};
    rowlist_init(&list);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        rowlist_add(&list, unhex(rows[i]));
    }
    rowlist_encode(&encoded, &list);
    wire_rows_json(&out, buf_bytes(&encoded), &type, true);
    expect_said(
        &out,
        "[\"{\\\"name\\\":\\\"\u00e9\\\",\\\"maybe\\\":[0,{\\\"x\\\":5}],\\\"list\\\":[[6]]}\","
        "\"{\\\"name\\\":\\\"\\\",\\\"maybe\\\":[1,{}],\\\"list\\\":[]}\"]");
    wire_rows_json(&out, buf_bytes(&encoded), &type, false);
    static const char by_position[] =
        "[\"[\\\"\u00e9\\\",[0,[5]],[[6]]]\",\"[\\\"\\\",[1,[]],[]]\"]";
    expect_said(&out, by_position);
    WireRows left = wire_rows(buf_bytes(&encoded));
    EXPECT(!wire_rows_json_some(&out, &left, &type, false, 1));
    EXPECT(wire_rows_json_some(&out, &left, &type, false, 1));
    expect_said(&out, by_position);
    rowlist_deinit(&list);
    buf_deinit(&encoded);
    forget_all();
}

TEST(v1, finds_the_rows_of_a_list_again) {
    for (uint32_t count = 0; count < 5; count++) {
        for (int even = 0; even < 2; even++) {
            RowList list;
            Buf encoded = {0};
            rowlist_init(&list);
            for (uint32_t i = 0; i < count; i++) {
                rowlist_add(&list, BYTES("abcdef", even ? 3 : i));
            }
            rowlist_encode(&encoded, &list);
            WireRows rows = wire_rows(buf_bytes(&encoded));
            Bytes row;
            EXPECT_EQ(rows.count, count);
            for (uint32_t i = 0; i < count; i++) {
                EXPECT(wire_rows_next(&rows, &row));
                EXPECT_BYTES(row, BYTES("abcdef", even ? 3 : i));
            }
            EXPECT(!wire_rows_next(&rows, &row));
            rowlist_deinit(&list);
            buf_deinit(&encoded);
        }
    }
}

TEST(v1, reports_memory_that_ran_out_and_says_nothing_half) {
    for (int64_t n = 0;; n++) {
        Buf out = {0}, text[2] = {{0}, {0}};
        WireCall call = call_of();
        WireTableUpdate u = update_of(text);
        mem_fault_arm(n);
        v1_json_codec.called(&out, &call, &u, 1);
        bool hit = mem_fault_hit();
        mem_fault_arm(-1);
        EXPECT_EQ(buf_ok(&out), !hit);
        buf_deinit(&out);
        forget(text);
        if (!hit) break;
    }
}

TEST_MAIN()
