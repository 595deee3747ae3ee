#include "wire/pack.h"
#include "wire/wire.h"

#include "base/mem.h"
#include "base/test.h"

// ── helpers ────────────────────────────────────────────────────────────────────────────────────

static uint8_t hex_room[1024];

static Bytes unhex(const char *hex) {  // valid until the next call
    Str text = str_from(hex);
    ASSERT(text.len / 2 <= sizeof hex_room && hex_read(text, hex_room));
    return (Bytes){hex_room, text.len / 2};
}

static ClientMessage decode_whole(const char *hex) {
    Bytes in = unhex(hex);
    ClientMessage message;
    EXPECT_OK(wire_decode(&in, &message, NULL));
    EXPECT_EQ(in.len, 0);
    return message;
}

static void expect_str(Str got, const char *want) {
    EXPECT_BYTES(str_bytes(got), str_bytes(str_from(want)));
}

static void expect_sent(Buf *out, const char *hex) {
    EXPECT(buf_ok(out));
    EXPECT_HEX(buf_bytes(out), hex);
    buf_deinit(out);
}

static void expect_refused(const char *hex, const char *text, size_t at) {
    Bytes in = unhex(hex);
    size_t before = in.len;
    ClientMessage message;
    Diag diag;
    EXPECT_ERR(wire_decode(&in, &message, &diag), ERR_MALFORMED);
    EXPECT_STR(diag.text, text);
    EXPECT_EQ(diag.at, at);
    EXPECT_EQ(in.len, before);
}

// Row lists of U32 rows as the vectors use them.
typedef struct Rows {
    RowList list;
    Buf encoded;
} Rows;

static Bytes rows_of(Rows *rows, const uint32_t *values, size_t count) {
    rowlist_init(&rows->list);
    rows->encoded = (Buf){0};
    for (size_t i = 0; i < count; i++) {
        rowlist_add(&rows->list, BYTES(&values[i], 4));
    }
    rowlist_encode(&rows->encoded, &rows->list);
    EXPECT(rowlist_ok(&rows->list));
    return buf_bytes(&rows->encoded);
}

static void rows_end(Rows *rows) {
    rowlist_deinit(&rows->list);
    buf_deinit(&rows->encoded);
}

static const Identity identity = {{0x5d, 0x26, 0x2a, 0x47, 0x8b, 0x8f, 0x95, 0x22, 0x0f, 0x30, 0x68,
                                   0x04, 0x0c, 0x20, 0x3e, 0x32, 0xac, 0x0e, 0xed, 0xc6, 0x98, 0xd8,
                                   0x44, 0x35, 0xe9, 0xa2, 0x53, 0x03, 0x60, 0x35, 0x00, 0xc2}};
static const ConnectionId connection = {{15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0}};

#define ONE_SECOND ((Micros)1000000)

// ── client messages: spec §9.3 ─────────────────────────────────────────────────────────────────

#define SUBSCRIBE_HEX    "000100000002000000010000000f00000053454c454354202a2046524f4d2074"
#define CALL_REDUCER_HEX "030500000000030000006164640b00000003000000626f6207000000"

static void expect_subscribe(const ClientMessage *m) {
    EXPECT_EQ(m->kind, CLIENT_SUBSCRIBE);
    EXPECT_EQ(m->request_id, 1);
    EXPECT_EQ(m->query_set, 2);
    EXPECT_EQ(m->query_count, 1);
    Bytes queries = m->queries;
    Str query;
    EXPECT(wire_next_query(&queries, &query));
    expect_str(query, "SELECT * FROM t");
    EXPECT(!wire_next_query(&queries, &query));
}

static void expect_call_reducer(const ClientMessage *m) {
    EXPECT_EQ(m->kind, CLIENT_CALL_REDUCER);
    EXPECT_EQ(m->request_id, 5);
    expect_str(m->text, "add");
    EXPECT_HEX(m->args, "03000000626f6207000000");
}

TEST(wire, decodes_subscribe) {
    ClientMessage m = decode_whole(SUBSCRIBE_HEX);
    expect_subscribe(&m);
}

TEST(wire, decodes_unsubscribe_with_and_without_dropped_rows) {
    ClientMessage m = decode_whole("01030000000200000000");
    EXPECT_EQ(m.kind, CLIENT_UNSUBSCRIBE);
    EXPECT_EQ(m.request_id, 3);
    EXPECT_EQ(m.query_set, 2);
    EXPECT(!m.send_dropped_rows);
    m = decode_whole("01030000000200000001");
    EXPECT(m.send_dropped_rows);
}

TEST(wire, decodes_one_off_query) {
    ClientMessage m = decode_whole("02040000000f00000053454c454354202a2046524f4d2074");
    EXPECT_EQ(m.kind, CLIENT_ONE_OFF_QUERY);
    EXPECT_EQ(m.request_id, 4);
    expect_str(m.text, "SELECT * FROM t");
}

TEST(wire, decodes_call_reducer) {
    ClientMessage m = decode_whole(CALL_REDUCER_HEX);
    expect_call_reducer(&m);
}

TEST(wire, decodes_call_procedure) {
    ClientMessage m = decode_whole("040600000000010000007000000000");
    EXPECT_EQ(m.kind, CLIENT_CALL_PROCEDURE);
    EXPECT_EQ(m.request_id, 6);
    expect_str(m.text, "p");
    EXPECT_EQ(m.args.len, 0);
}

TEST(wire, decodes_one_message_after_another_as_v3_packs_them) {
    Bytes in = unhex(SUBSCRIBE_HEX CALL_REDUCER_HEX);
    ClientMessage m;
    EXPECT_OK(wire_decode(&in, &m, NULL));
    expect_subscribe(&m);
    EXPECT_OK(wire_decode(&in, &m, NULL));
    expect_call_reducer(&m);
    EXPECT_EQ(in.len, 0);
}

TEST(wire, leaves_what_follows_a_message_to_the_caller) {
    Bytes in = unhex("01030000000200000000"
                     "ffee");
    ClientMessage m;
    EXPECT_OK(wire_decode(&in, &m, NULL));
    EXPECT_HEX(in, "ffee");
}

TEST(wire, decodes_a_subscribe_of_nothing) {
    ClientMessage m = decode_whole("00010000000200000000000000");
    EXPECT_EQ(m.query_count, 0);
    Bytes queries = m.queries;
    Str query;
    EXPECT(!wire_next_query(&queries, &query));
}

TEST(wire, walks_queries_in_order_empty_ones_included) {
    ClientMessage m = decode_whole("0001000000020000000300000001000000610000000002000000c3a9");
    EXPECT_EQ(m.query_count, 3);
    Bytes queries = m.queries;
    Str query;
    EXPECT(wire_next_query(&queries, &query));
    expect_str(query, "a");
    EXPECT(wire_next_query(&queries, &query));
    expect_str(query, "");
    EXPECT(wire_next_query(&queries, &query));
    expect_str(query, "\xc3\xa9");
    EXPECT(!wire_next_query(&queries, &query));
}

TEST(wire, refuses_malformed_messages_with_the_reason_and_the_place) {
    expect_refused("05", "unknown tag 0x5 for sum type ClientMessage", 0);
    expect_refused("ff00000000", "unknown tag 0xff for sum type ClientMessage", 0);
    expect_refused("", "data too short for u8: Expected 1, given 0", 0);
    expect_refused("0001", "data too short for u32: Expected 4, given 1", 1);
    expect_refused("01030000000200000002", "unknown tag 0x2 for sum type UnsubscribeFlags", 9);
    expect_refused("0305000000010300000061646400000000", "invalid call reducer flag 1", 5);
    expect_refused("0406000000ff010000007000000000", "invalid call procedure flag 255", 5);
    expect_refused("020400000002000000c328", "invalid utf8", 9);
    expect_refused("020400000005000000616263", "data too short for [u8]: Expected 5, given 3", 9);
    // A count that the bytes cannot hold.
    expect_refused("000100000002000000ffffffff", "data too short for u32: Expected 4, given 0", 13);
    expect_refused("00010000000200000002000000"
                   "01000000"
                   "61",
                   "data too short for u32: Expected 4, given 0",
                   18);
}

TEST(wire, refuses_every_cut_of_every_message) {
    static const char *const whole[] = {
        SUBSCRIBE_HEX,
        "01030000000200000001",
        "02040000000f00000053454c454354202a2046524f4d2074",
        CALL_REDUCER_HEX,
        "040600000000010000007000000000",
    };
    for (size_t i = 0; i < ARRAY_LEN(whole); i++) {
        Bytes bytes = unhex(whole[i]);
        for (size_t cut = 0; cut < bytes.len; cut++) {
            uint8_t *exact = mem_alloc(cut);  // so that ASan sees a read past the end
            memcpy(exact, bytes.ptr, cut);
            Bytes in = {exact, cut};
            ClientMessage m;
            Diag diag;
            EXPECT_ERR(wire_decode(&in, &m, &diag), ERR_MALFORMED);
            EXPECT(diag.text[0] != 0);
            mem_free(exact);
        }
    }
}

// ── server messages: spec §9.4 ─────────────────────────────────────────────────────────────────

TEST(wire, row_lists_match_the_vectors) {
    Rows rows;
    EXPECT_HEX(rows_of(&rows, NULL, 0), "010000000000000000");
    rows_end(&rows);
    EXPECT_HEX(rows_of(&rows, (uint32_t[]){7, 8}, 2), "000400080000000700000008000000");
    rows_end(&rows);

    RowList strings;
    rowlist_init(&strings);
    rowlist_add(&strings, BYTES("\1\0\0\0a", 5));
    rowlist_add(&strings, BYTES("\3\0\0\0bcd", 7));
    Buf out = {0};
    rowlist_encode(&out, &strings);
    rowlist_deinit(&strings);
    expect_sent(&out, "0102000000000000000000000005000000000000000c000000010000006103000000626364");
}

#define INITIAL_CONNECTION_HEX                                                                     \
    "005d262a478b8f95220f3068040c203e32ac0eedc698d84435e9a25303603500c20f0e0d0c0b0a09080706050403" \
    "02010003000000746f6b"
#define SUBSCRIBE_APPLIED_HEX "010100000002000000010000000100000074000400080000000700000008000000"

TEST(wire, encodes_initial_connection) {
    Buf out = {0};
    wire_initial_connection(&out, &identity, &connection, STR("tok"));
    expect_sent(&out, INITIAL_CONNECTION_HEX);
}

TEST(wire, encodes_subscribe_applied) {
    Rows rows;
    Buf out = {0};
    WireTableRows table = {.table_name = STR("t"), .rows = rows_of(&rows, (uint32_t[]){7, 8}, 2)};
    wire_subscribe_applied(&out, 1, 2, &table, 1);
    expect_sent(&out, SUBSCRIBE_APPLIED_HEX);
    rows_end(&rows);
}

TEST(wire, encodes_unsubscribe_applied_with_rows_and_without) {
    Rows rows;
    Buf out = {0};
    WireTableRows table = {.table_name = STR("t"), .rows = rows_of(&rows, (uint32_t[]){7}, 1)};
    wire_unsubscribe_applied(&out, 3, 2, true, &table, 1);
    expect_sent(&out, "020300000002000000000100000001000000740004000400000007000000");
    rows_end(&rows);
    wire_unsubscribe_applied(&out, 3, 2, false, NULL, 0);
    expect_sent(&out, "02030000000200000001");
}

TEST(wire, encodes_subscription_errors) {
    Buf out = {0};
    uint32_t request = 1;
    wire_subscription_error(&out, &request, 2, STR("bad"));
    expect_sent(&out, "0300010000000200000003000000626164");
    wire_subscription_error(&out, NULL, 2, STR("bad"));
    expect_sent(&out, "03010200000003000000626164");
}

TEST(wire, encodes_transaction_updates) {
    Rows inserted, deleted;
    Buf out = {0};
    WireTableUpdate update = {
        .query_set = 2,
        .table_name = STR("t"),
        .inserts = rows_of(&inserted, (uint32_t[]){9}, 1),
        .deletes = rows_of(&deleted, (uint32_t[]){7}, 1),
    };
    wire_transaction_update(&out, &update, 1);
    expect_sent(&out,
                "04010000000200000001000000010000007401000000000004000400000009000000000400040000"
                "0007000000");
    wire_reducer_ok(&out, 5, ONE_SECOND, &update, 1);
    expect_sent(&out,
                "060500000040420f0000000000000000000001000000020000000100000001000000740100000000"
                "00040004000000090000000004000400000007000000");
    update.table_name = STR("e");
    update.is_event = true;
    wire_transaction_update(&out, &update, 1);
    expect_sent(&out, "04010000000200000001000000010000006501000000010004000400000009000000");
    rows_end(&inserted);
    rows_end(&deleted);
}

// What was left out, put where it belongs.
static void fill_gaps(Buf *out, const Buf *message, const Buf *gaps) {
    size_t at = 0;
    for (size_t i = 0; i < gaps->len; i += sizeof(WireGap)) {
        WireGap gap;
        memcpy(&gap, gaps->ptr + i, sizeof gap);
        buf_put(out, message->ptr + at, gap.at - at);
        buf_put_bytes(out, *(const Bytes *)gap.of);
        at = gap.at;
    }
    buf_put(out, message->ptr + at, message->len - at);
}

TEST(wire, leaves_gaps_where_rows_are_sent_from_elsewhere) {
    static const WireProtocol protocols[] = {WIRE_V1_JSON, WIRE_V1_BSATN, WIRE_V2, WIRE_V3};
    Rows inserted, deleted;
    WireTableUpdate plain[2] = {{
        .query_set = 2,
        .table_name = STR("t"),
        .inserts = rows_of(&inserted, (uint32_t[]){9, 10}, 2),
        .deletes = rows_of(&deleted, (uint32_t[]){7}, 1),
        .inserts_json = BYTES("[\"9\",\"10\"]", 10),
        .deletes_json = BYTES("[\"7\"]", 5),
    }};
    plain[1] = plain[0];
    plain[1].table_name = STR("u");
    for (size_t p = 0; p < ARRAY_LEN(protocols); p++) {
        const WireCodec *codec = wire_codec(protocols[p]);
        for (int which = 1; which < 4; which++) {
            for (int called = 0; called < 2; called++) {
                WireCall call = {.request = 5, .reducer = STR("r")};
                WireTableUpdate apart[2] = {plain[0], plain[1]};
                Buf whole = {0}, parts = {0}, gaps = {0}, filled = {0};
                WireTableUpdate *of = &plain[0];
                Bytes *inserts = codec->is_text ? &of->inserts_json : &of->inserts;
                Bytes *deletes = codec->is_text ? &of->deletes_json : &of->deletes;
                WireApart how = {.gaps = &gaps,
                                 .inserts = which & 1 ? inserts : NULL,
                                 .deletes = which & 2 ? deletes : NULL};
                apart[0].apart = apart[1].apart = &how;
                buf_put_u8(&whole, 77);  // something stands before it
                buf_put_u8(&parts, 77);
                if (called) {
                    codec->called(&whole, &call, plain, 2);
                    codec->called(&parts, &call, apart, 2);
                } else {
                    codec->update(&whole, &call, false, plain, 2);
                    codec->update(&parts, &call, false, apart, 2);
                }
                EXPECT_EQ(gaps.len / sizeof(WireGap), which == 3 ? 4 : 2);
                EXPECT(parts.len < whole.len);
                fill_gaps(&filled, &parts, &gaps);
                EXPECT_BYTES(buf_bytes(&filled), buf_bytes(&whole));
                buf_deinit(&whole);
                buf_deinit(&parts);
                buf_deinit(&gaps);
                buf_deinit(&filled);
            }
        }
    }
    rows_end(&inserted);
    rows_end(&deleted);
}

TEST(wire, groups_updates_by_set_and_then_by_table) {
    Rows rows, none;
    Bytes one = rows_of(&rows, (uint32_t[]){9}, 1), empty = rows_of(&none, NULL, 0);
    WireTableUpdate updates[] = {
        {.query_set = 1, .table_name = STR("a"), .inserts = one, .deletes = empty},
        {.query_set = 1, .table_name = STR("a"), .inserts = empty, .deletes = one},
        {.query_set = 1, .table_name = STR("b"), .is_event = true, .inserts = one},
        {.query_set = 7, .table_name = STR("b"), .is_event = true, .inserts = one},
    };
    Buf out = {0};
    wire_transaction_update(&out, updates, 4);
#define ONE   "0004000400000009000000"
#define EMPTY "010000000000000000"
    expect_sent(&out,
                "04"
                "02000000"
                "01000000"
                "02000000"
                "0100000061"
                "02000000"
                "00" ONE EMPTY "00" EMPTY ONE "0100000062"
                "01000000"
                "01" ONE "07000000"
                "01000000"
                "0100000062"
                "01000000"
                "01" ONE);
    rows_end(&rows);
    rows_end(&none);
}

TEST(wire, encodes_one_off_results) {
    Rows rows;
    Buf out = {0};
    WireTableRows table = {.table_name = STR("t"), .rows = rows_of(&rows, (uint32_t[]){7}, 1)};
    wire_one_off_result(&out, 4, &table);
    expect_sent(&out, "0504000000000100000001000000740004000400000007000000");
    rows_end(&rows);
    wire_one_off_error(&out, 4, STR("bad"));
    expect_sent(&out, "05040000000103000000626164");
}

TEST(wire, encodes_reducer_results_without_updates) {
    Buf out = {0};
    wire_reducer_ok(&out, 5, ONE_SECOND, NULL, 0);
    expect_sent(&out, "060500000040420f0000000000000000000000000000");
    wire_reducer_err(&out, 5, ONE_SECOND, STR("no"));
    expect_sent(&out, "060500000040420f00000000000206000000020000006e6f");
    wire_reducer_internal_error(&out, 5, ONE_SECOND, STR("no such reducer"));
    expect_sent(&out, "060500000040420f0000000000030f0000006e6f20737563682072656475636572");
}

TEST(wire, encodes_procedure_results_with_the_request_last) {
    Buf out = {0};
    wire_procedure_returned(&out, 6, 1000000, 250, BYTES("\7\0\0\0", 4));
    EXPECT_HEX(buf_bytes(&out),
               "07"
               "00040000000700000040420f0000000000fa0000000000000006000000");
    buf_deinit(&out);
}

TEST(wire, encodes_procedure_failures_with_the_request_last) {
    Buf out = {0};
    wire_procedure_internal_error(&out, 6, STR("No such procedure"));
    expect_sent(&out,
                "0701110000004e6f20737563682070726f6365647572650000000000000000000000000000000006"
                "000000");
}

TEST(wire, appends_so_that_one_v3_payload_carries_several) {
    Rows rows;
    Buf out = {0};
    WireTableRows table = {.table_name = STR("t"), .rows = rows_of(&rows, (uint32_t[]){7, 8}, 2)};
    buf_put_u8(&out, WIRE_PLAIN);
    wire_initial_connection(&out, &identity, &connection, STR("tok"));
    wire_subscribe_applied(&out, 1, 2, &table, 1);
    expect_sent(&out, "00" INITIAL_CONNECTION_HEX SUBSCRIBE_APPLIED_HEX);
    rows_end(&rows);
}

TEST(wire, remembers_in_the_buffer_that_memory_ran_out) {
    WireTableUpdate update = {.query_set = 2, .table_name = STR("t")};
    for (int64_t n = 0;; n++) {
        Buf out = {0};
        mem_fault_arm(n);
        wire_reducer_ok(&out, 5, ONE_SECOND, &update, 1);
        bool hit = mem_fault_hit();
        mem_fault_arm(-1);
        EXPECT_EQ(buf_ok(&out), !hit);
        buf_deinit(&out);
        if (!hit) break;
    }
}

TEST(wire, calls_that_happen_once_are_read_and_are_not_of_v3) {
    static const uint8_t bytes[] = {5,  7,  0,  0,  0, 1, 2, 3,   4,   5,   6, 7, 8, 9, 10, 11, 12,
                                    13, 14, 15, 16, 9, 0, 0, 0,   0,   0,   0, 0, 8, 0, 0,  0,  0,
                                    0,  0,  0,  3,  0, 0, 0, 'a', 'd', 'd', 2, 0, 0, 0, 42, 43};
    Bytes in = BYTES(bytes, sizeof bytes);
    ClientMessage m;
    Diag diag;
    EXPECT_OK(wire_decode_ours(&in, &m, &diag));
    EXPECT_EQ(in.len, 0);
    EXPECT_EQ(m.kind, CLIENT_CALL_ONCE);
    EXPECT_EQ(m.request_id, 7);
    EXPECT(m.session == bytes + 5);
    EXPECT_EQ(m.number, 9);
    EXPECT_EQ(m.settled, 8);
    EXPECT(str_eq(m.text, STR("add")));
    EXPECT_HEX(m.args, "2a2b");
    for (size_t cut = 0; cut < sizeof bytes; cut++) {
        in = BYTES(bytes, cut);
        EXPECT_ERR(wire_decode_ours(&in, &m, &diag), ERR_MALFORMED);
    }
    in = BYTES(bytes, sizeof bytes);
    EXPECT_ERR(wire_decode(&in, &m, &diag), ERR_MALFORMED);
}

TEST(wire, a_wish_to_resume_is_read_to_its_end) {
    static const uint8_t bytes[] = {6, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,   0, 0,
                                    0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1,   0, 0,
                                    0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 'q', 0, 7};
    Bytes in = BYTES(bytes, sizeof bytes);
    ClientMessage m;
    Diag diag;
    Buf out = {0};
    EXPECT_OK(wire_decode_ours(&in, &m, &diag));
    EXPECT_EQ(in.len, 2);  // the next message
    EXPECT_EQ(m.kind, CLIENT_RESUME);
    EXPECT_EQ(m.request_id, 1);
    wire_resume_refused(&out, 1, STR("no"));
    EXPECT_HEX(buf_bytes(&out), "080100000001020000006e6f");
    buf_deinit(&out);
}

TEST_MAIN()
