// ws_test.c: frames as bytes.
#include "net/ws.h"

#include "base/mem.h"
#include "base/test.h"

// What a client would send: a masked frame.
static void put_frame(Buf *out, uint8_t first, Bytes payload) {
    uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    uint8_t head[WS_HEAD_MAX];
    size_t len = ws_head_write(head, WS_BINARY, payload.len);
    head[0] = first;
    head[1] |= 0x80;
    buf_put(out, head, len);
    buf_put(out, mask, 4);
    size_t at = out->len;
    buf_put_bytes(out, payload);
    for (size_t i = 0; i < payload.len; i++)
        out->ptr[at + i] ^= mask[i & 3];
}

static void put_text(Buf *out, uint8_t first, const char *text) {
    put_frame(out, first, BYTES(text, strlen(text)));
}

static WsStep read_one(WsReader *reader, Buf *in, WsEvent *event) {
    size_t used;
    return ws_read_frame(reader, in->ptr, in->len, &used, event);
}

static void expect_failure(uint8_t first, Bytes payload, uint16_t code) {
    WsReader reader = {.message_bytes_max = 1000};
    Buf in = {0};
    WsEvent event = {0};
    put_frame(&in, first, payload);
    EXPECT_EQ(read_one(&reader, &in, &event), WS_STEP_FAILED);
    EXPECT_EQ(event.code, code);
    buf_deinit(&in);
    ws_reader_deinit(&reader);
}

TEST(ws, unmasking_agrees_with_the_slow_way_at_every_length) {
    uint8_t mask[4] = {1, 2, 3, 250};
    for (size_t len = 0; len < 70; len++) {
        uint8_t fast[70], slow[70];
        for (size_t i = 0; i < len; i++) {
            fast[i] = slow[i] = (uint8_t)(i * 7);
            slow[i] ^= mask[i % 4];
        }
        ws_unmask(fast, len, mask);
        EXPECT_BYTES(BYTES(fast, len), BYTES(slow, len));
    }
}

TEST(ws, the_standards_example_is_understood) {
    uint8_t frame[] = {0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58};
    WsReader reader = {.message_bytes_max = 5};
    WsEvent event;
    size_t used;
    for (size_t len = 0; len < sizeof frame; len++)
        EXPECT_EQ(ws_read_frame(&reader, frame, len, &used, &event), WS_STEP_MORE);
    EXPECT_EQ(ws_read_frame(&reader, frame, sizeof frame, &used, &event), WS_STEP_MESSAGE);
    EXPECT_EQ(used, sizeof frame);
    EXPECT(event.text);
    EXPECT_BYTES(event.payload, BYTES("Hello", 5));
    EXPECT(event.payload.ptr == frame + 6);  // where it lay
}

TEST(ws, the_standards_key_is_accepted) {
    char out[29];
    EXPECT(ws_accept_key(STR("dGhlIHNhbXBsZSBub25jZQ=="), out));
    EXPECT_STR(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

TEST(ws, lengths_take_two_and_eight_bytes) {
    const size_t lens[] = {0, 1, 125, 126, 65535, 65536, 200000};
    for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
        uint8_t *payload = mem_zalloc(lens[i]);
        WsReader reader = {.message_bytes_max = 200000};
        Buf in = {0};
        WsEvent event;
        put_frame(&in, 0x82, BYTES(payload, lens[i]));
        EXPECT_EQ(read_one(&reader, &in, &event), WS_STEP_MESSAGE);
        EXPECT_EQ(reader.need, in.len);
        EXPECT_BYTES(event.payload, BYTES(payload, lens[i]));
        buf_deinit(&in);
        mem_free(payload);
    }
}

TEST(ws, fragments_are_joined_and_pings_stand_between_them) {
    WsReader reader = {.message_bytes_max = 100};
    Buf in = {0};
    put_text(&in, 0x01, "one \xc3");  // a character may be cut by a fragment
    put_text(&in, 0x89, "ping");
    put_text(&in, 0x00, "\xbc two ");
    put_text(&in, 0x80, "three");
    put_text(&in, 0x82, "next");
    const WsStep steps[] = {WS_STEP_NOTHING,
                            WS_STEP_PING,
                            WS_STEP_NOTHING,
                            WS_STEP_MESSAGE,
                            WS_STEP_MESSAGE};
    size_t at = 0;
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        WsEvent event;
        size_t used;
        EXPECT_EQ(ws_read_frame(&reader, in.ptr + at, in.len - at, &used, &event), steps[i]);
        at += used;
        if (i == 1) EXPECT_BYTES(event.payload, BYTES("ping", 4));
        if (i == 3) EXPECT_BYTES(event.payload, BYTES("one \xc3\xbc two three", 16));
        if (i == 4) EXPECT(!event.text);
    }
    EXPECT_EQ(at, in.len);
    buf_deinit(&in);
    ws_reader_deinit(&reader);
}

TEST(ws, violations_have_their_codes) {
    Bytes hi = BYTES("hi", 2);
    uint8_t long_payload[126] = {0};
    expect_failure(0xc2, hi, WS_CODE_PROTOCOL);  // reserved bit
    expect_failure(0xa2, hi, WS_CODE_PROTOCOL);
    expect_failure(0x92, hi, WS_CODE_PROTOCOL);
    expect_failure(0x83, hi, WS_CODE_PROTOCOL);  // unknown opcodes
    expect_failure(0x8b, hi, WS_CODE_PROTOCOL);
    expect_failure(0x09, hi, WS_CODE_PROTOCOL);  // a fragmented ping
    expect_failure(0x80, hi, WS_CODE_PROTOCOL);  // a continuation of nothing
    expect_failure(0x89, BYTES(long_payload, 126), WS_CODE_PROTOCOL);
    expect_failure(0x81, BYTES("\xff", 1), WS_CODE_NOT_UTF8);
    expect_failure(0x88, BYTES("\x03", 1), WS_CODE_PROTOCOL);
    expect_failure(0x88, BYTES("\x03\xed", 2), WS_CODE_PROTOCOL);  // 1005
    expect_failure(0x88, BYTES("\x03\xe8\xff", 3), WS_CODE_NOT_UTF8);
    uint8_t unmasked[] = {0x82, 0x02, 'h', 'i'};
    WsReader reader = {.message_bytes_max = 100};
    WsEvent event;
    size_t used;
    EXPECT_EQ(ws_read_frame(&reader, unmasked, 4, &used, &event), WS_STEP_FAILED);
    EXPECT_EQ(event.code, WS_CODE_PROTOCOL);
}

TEST(ws, a_message_begins_only_when_the_last_has_ended) {
    WsReader reader = {.message_bytes_max = 100};
    Buf in = {0};
    WsEvent event;
    put_text(&in, 0x02, "begun");
    EXPECT_EQ(read_one(&reader, &in, &event), WS_STEP_NOTHING);
    buf_clear(&in);
    put_text(&in, 0x82, "again");
    EXPECT_EQ(read_one(&reader, &in, &event), WS_STEP_FAILED);
    buf_deinit(&in);
    ws_reader_deinit(&reader);
}

TEST(ws, the_size_limit_holds_over_all_fragments) {
    WsReader reader = {.message_bytes_max = 10};
    Buf in = {0};
    WsEvent event;
    size_t used;
    put_text(&in, 0x02, "123456");
    EXPECT_EQ(read_one(&reader, &in, &event), WS_STEP_NOTHING);
    uint8_t head_only[] = {0x80, 0x85};  // five more: refused before they are sent
    EXPECT_EQ(ws_read_frame(&reader, head_only, 2, &used, &event), WS_STEP_FAILED);
    EXPECT_EQ(event.code, WS_CODE_TOO_BIG);
    uint8_t huge[] = {0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0};
    WsReader fresh = {.message_bytes_max = 10};
    EXPECT_EQ(ws_read_frame(&fresh, huge, sizeof huge, &used, &event), WS_STEP_FAILED);
    buf_deinit(&in);
    ws_reader_deinit(&reader);
}

TEST(ws, close_codes_that_may_be_sent_are_known) {
    const uint16_t legal[] = {1000, 1001, 1003, 1007, 1014, 3000, 4999};
    const uint16_t illegal[] = {0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000};
    for (size_t i = 0; i < ARRAY_LEN(legal); i++)
        EXPECT(ws_code_is_legal(legal[i]));
    for (size_t i = 0; i < ARRAY_LEN(illegal); i++)
        EXPECT(!ws_code_is_legal(illegal[i]));
}

static HttpRequest upgrade(HttpHeader *headers, uint32_t count) {
    return (HttpRequest){.method = STR("GET"),
                         .headers = headers,
                         .header_count = count,
                         .is_upgrade = true};
}

TEST(ws, a_refused_upgrade_says_what_is_missing_first) {
    HttpHeader headers[] = {{STR("Sec-WebSocket-Version"), STR("13")},
                            {STR("Sec-WebSocket-Key"), STR("dGhlIHNhbXBsZSBub25jZQ==")}};
    int status;
    Diag diag;
    HttpRequest request = upgrade(headers, 2);
    EXPECT_OK(ws_check_upgrade(&request, &status, &diag));
    request.header_count = 1;
    EXPECT_ERR(ws_check_upgrade(&request, &status, &diag), ERR_INVALID);
    EXPECT_EQ(status, 400);
    EXPECT_STR(diag.text, "`Sec-WebSocket-Key` header missing");
    request.header_count = 0;
    EXPECT_ERR(ws_check_upgrade(&request, &status, &diag), ERR_INVALID);
    EXPECT_EQ(status, 400);
    EXPECT_STR(diag.text, "`Sec-WebSocket-Version` header did not include '13'");
    request.is_upgrade = false;
    EXPECT_ERR(ws_check_upgrade(&request, &status, &diag), ERR_INVALID);
    EXPECT_EQ(status, 426);
    EXPECT_STR(diag.text, "This service requires use of the websocket protocol");
    request.method = STR("POST");
    EXPECT_ERR(ws_check_upgrade(&request, &status, &diag), ERR_INVALID);
    EXPECT_EQ(status, 405);
}

TEST(ws, protocols_are_offered_in_any_number_of_headers) {
    HttpHeader headers[] = {{STR("sec-websocket-protocol"), STR("v3.bsatn , v2.bsatn")},
                            {STR("Sec-WebSocket-Protocol"), STR("\tv1.json")}};
    HttpRequest request = upgrade(headers, 2);
    EXPECT(ws_offers(&request, STR("v3.bsatn")));
    EXPECT(ws_offers(&request, STR("v2.bsatn")));
    EXPECT(ws_offers(&request, STR("v1.json")));
    EXPECT(!ws_offers(&request, STR("V1.json")));
    EXPECT(!ws_offers(&request, STR("v1")));
}

TEST(ws, running_out_of_memory_in_a_fragment_is_a_failure) {
    WsReader reader = {.message_bytes_max = 100};
    Buf in = {0};
    WsEvent event;
    put_text(&in, 0x02, "begun");
    mem_fault_arm(0);
    WsStep step = read_one(&reader, &in, &event);
    mem_fault_arm(-1);
    EXPECT_EQ(step, WS_STEP_FAILED);
    EXPECT_EQ(event.code, WS_CODE_INTERNAL);
    buf_deinit(&in);
    ws_reader_deinit(&reader);
}

TEST_MAIN()
