// ws.c: frames in, frames out, and the handshake's arithmetic.
//
// PICTURE
//   0 1 2 3 4 5 6 7 | 0 | 1..7      |            |         |
//   F R R R opcode  | M | len or 126, 127 ─> 2 or 8 bytes | mask 4 | payload, masked
//
// ALWAYS TRUE
//   (1) A frame is taken only when all of it is here; until then nothing is touched, so the caller
//       may move its bytes about.
//   (2) Whatever a peer claims, memory follows what has arrived.
//   (3) Control frames are short and whole, and may stand between the fragments of a message.
//   (4) A message is at most message_bytes_max, over all of its fragments.
//   (5) Text that is handed up is UTF-8.
//
// CALLERS   conn.c, ws_fuzz.c
// NOT HERE  timers, limits of queues, what messages mean.
#include "net/ws.h"

#include <openssl/evp.h>

void ws_reader_deinit(WsReader *reader) {
    buf_deinit(&reader->fragments);
}

void ws_unmask(uint8_t *bytes, size_t len, const uint8_t mask[4]) {
    uint32_t four;
    memcpy(&four, mask, sizeof four);
    uint64_t eight = (uint64_t)four << 32 | four;
    size_t i = 0;
    for (; i + 8 <= len; i += 8) {
        uint64_t word = load_u64(bytes + i) ^ eight;
        store_u64(bytes + i, word);
    }
    for (; i < len; i++)
        bytes[i] ^= mask[i & 3];
}

static WsStep fail(WsEvent *out, uint16_t code, const char *why) {
    out->code = code;
    out->why = why;
    return WS_STEP_FAILED;
}

typedef struct WsHead {
    bool fin;
    WsOpcode opcode;
    size_t bytes;  // of the head, mask included
    uint64_t payload_bytes;
} WsHead;

// What can be refused by the first two bytes is refused by them.
static WsStep head_check(const WsReader *reader, uint8_t first, uint8_t second, WsEvent *out) {
    uint8_t opcode = first & 15;
    if (first & 0x70) return fail(out, WS_CODE_PROTOCOL, "reserved bits are set");
    if ((opcode > WS_BINARY && opcode < WS_CLOSE) || opcode > WS_PONG)
        return fail(out, WS_CODE_PROTOCOL, "unknown opcode");
    if (!(second & 0x80)) return fail(out, WS_CODE_PROTOCOL, "a client's frame must be masked");
    if (opcode >= WS_CLOSE) {  // (3)
        if (!(first & 0x80)) return fail(out, WS_CODE_PROTOCOL, "a control frame is fragmented");
        if ((second & 0x7f) > WS_CONTROL_MAX)
            return fail(out, WS_CODE_PROTOCOL, "a control frame is too long");
    } else if (opcode == WS_CONTINUATION && !reader->in_message) {
        return fail(out, WS_CODE_PROTOCOL, "a continuation without a beginning");
    } else if (opcode != WS_CONTINUATION && reader->in_message) {
        return fail(out, WS_CODE_PROTOCOL, "a message begins inside another");
    }
    return WS_STEP_NOTHING;
}

static WsStep head_read(const WsReader *reader,
                        const uint8_t *bytes,
                        size_t len,
                        WsHead *head,
                        WsEvent *out) {
    if (len < 2) return WS_STEP_MORE;
    WsStep step = head_check(reader, bytes[0], bytes[1], out);
    if (step != WS_STEP_NOTHING) return step;
    uint8_t short_len = bytes[1] & 0x7f;
    size_t extra = short_len == 126 ? 2 : short_len == 127 ? 8 : 0;
    if (len < 2 + extra) return WS_STEP_MORE;
    uint64_t payload_bytes = extra ? 0 : short_len;
    for (size_t i = 0; i < extra; i++)
        payload_bytes = payload_bytes << 8 | bytes[2 + i];
    if (payload_bytes >> 63) return fail(out, WS_CODE_PROTOCOL, "malformed length");
    *head = (WsHead){.fin = bytes[0] & 0x80,
                     .opcode = (WsOpcode)(bytes[0] & 15),
                     .bytes = 2 + extra + 4,
                     .payload_bytes = payload_bytes};
    // (4), refused as soon as it is announced. fragments.len is at most the maximum.
    if (head->opcode < WS_CLOSE &&
        payload_bytes > reader->message_bytes_max - reader->fragments.len)
        return fail(out, WS_CODE_TOO_BIG, "the message is too large");
    return len < head->bytes ? WS_STEP_MORE : WS_STEP_NOTHING;
}

static WsStep message_end(Bytes payload, bool text, WsEvent *out) {
    if (text && !utf8_valid(payload)) return fail(out, WS_CODE_NOT_UTF8, "the text is not UTF-8");
    out->payload = payload;
    out->text = text;
    return WS_STEP_MESSAGE;
}

static WsStep data_take(WsReader *reader, const WsHead *head, Bytes payload, WsEvent *out) {
    if (head->opcode != WS_CONTINUATION) {
        if (head->fin) return message_end(payload, head->opcode == WS_TEXT, out);
        reader->in_message = true;
        reader->is_text = head->opcode == WS_TEXT;
    }
    buf_put_bytes(&reader->fragments, payload);
    if (!buf_ok(&reader->fragments)) return fail(out, WS_CODE_INTERNAL, "out of memory");
    if (!head->fin) return WS_STEP_NOTHING;
    reader->in_message = false;
    reader->handed = true;
    return message_end(buf_bytes(&reader->fragments), reader->is_text, out);
}

bool ws_code_is_legal(uint16_t code) {
    if (code >= 3000 && code <= 4999) return true;
    return code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006;
}

static WsStep close_take(Bytes payload, WsEvent *out) {
    out->code = 0;
    out->payload = payload;
    if (payload.len == 0) return WS_STEP_CLOSE;
    if (payload.len == 1) return fail(out, WS_CODE_PROTOCOL, "malformed close");
    out->code = (uint16_t)(payload.ptr[0] << 8 | payload.ptr[1]);
    if (!ws_code_is_legal(out->code)) return fail(out, WS_CODE_PROTOCOL, "illegal close code");
    if (!utf8_valid(BYTES(payload.ptr + 2, payload.len - 2)))
        return fail(out, WS_CODE_NOT_UTF8, "the close reason is not UTF-8");
    return WS_STEP_CLOSE;
}

WsStep ws_read_frame(WsReader *reader, uint8_t *bytes, size_t len, size_t *used, WsEvent *out) {
    if (UNLIKELY(reader->handed)) {
        buf_deinit(&reader->fragments);
        reader->handed = false;
    }
    *used = 0;
    reader->need = 0;
    WsHead head;
    WsStep step = head_read(reader, bytes, len, &head, out);
    if (step != WS_STEP_NOTHING) return step;
    reader->need = head.bytes + (size_t)head.payload_bytes;
    if (len < reader->need) return WS_STEP_MORE;  // (1)

    uint8_t *payload = bytes + head.bytes;
    Bytes view = {payload, (size_t)head.payload_bytes};
    ws_unmask(payload, view.len, payload - 4);
    *used = reader->need;
    switch (head.opcode) {
    case WS_CONTINUATION:
    case WS_TEXT:
    case WS_BINARY: return data_take(reader, &head, view, out);
    case WS_CLOSE: return close_take(view, out);
    case WS_PING: out->payload = view; return WS_STEP_PING;
    case WS_PONG: return WS_STEP_PONG;
    }
    UNREACHABLE();
}

size_t ws_head_write(uint8_t out[WS_HEAD_MAX], WsOpcode opcode, uint64_t payload_bytes) {
    out[0] = (uint8_t)(0x80 | opcode);
    if (payload_bytes < 126) {
        out[1] = (uint8_t)payload_bytes;
        return 2;
    }
    size_t extra = payload_bytes <= UINT16_MAX ? 2 : 8;
    out[1] = extra == 2 ? 126 : 127;
    for (size_t i = 0; i < extra; i++)
        out[2 + i] = (uint8_t)(payload_bytes >> 8 * (extra - 1 - i));
    return 2 + extra;
}

bool ws_accept_key(Str key, char out[29]) {
    static const char magic[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    unsigned char digest[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *sha1 = EVP_MD_CTX_new();
    bool ok = sha1 && EVP_DigestInit_ex(sha1, EVP_sha1(), NULL) &&
              EVP_DigestUpdate(sha1, key.ptr, key.len) &&
              EVP_DigestUpdate(sha1, magic, sizeof magic - 1) &&
              EVP_DigestFinal_ex(sha1, digest, NULL);
    EVP_MD_CTX_free(sha1);
    if (ok) EVP_EncodeBlock((unsigned char *)out, digest, 20);
    return ok;
}

Err ws_check_upgrade(const HttpRequest *request, int *status, Diag *diag) {
    *status = 405;
    if (!str_eq(request->method, STR("GET")))
        return diag_fail(diag, ERR_INVALID, "a WebSocket is opened with GET");
    *status = 426;
    if (!request->is_upgrade)
        return diag_fail(diag, ERR_INVALID, "This service requires use of the websocket protocol");
    *status = 400;
    if (!str_eq(http_header(request, STR("sec-websocket-version")), STR("13")))
        return diag_fail(diag, ERR_INVALID, "`Sec-WebSocket-Version` header did not include '13'");
    if (http_header(request, STR("sec-websocket-key")).len == 0)
        return diag_fail(diag, ERR_INVALID, "`Sec-WebSocket-Key` header missing");
    return OK;
}

static bool list_has_exact(Str list, Str item) {
    while (list.len) {
        const char *comma = memchr(list.ptr, ',', list.len);
        Str one = {list.ptr, comma ? (size_t)(comma - list.ptr) : list.len};
        size_t skip = one.len + (comma ? 1 : 0);
        list = (Str){list.ptr + skip, list.len - skip};
        while (one.len && (one.ptr[0] == ' ' || one.ptr[0] == '\t'))
            one = (Str){one.ptr + 1, one.len - 1};
        while (one.len && (one.ptr[one.len - 1] == ' ' || one.ptr[one.len - 1] == '\t'))
            one.len--;
        if (str_eq(one, item)) return true;
    }
    return false;
}

bool ws_offers(const HttpRequest *request, Str protocol) {
    for (uint32_t i = 0; i < request->header_count; i++) {
        const HttpHeader *header = &request->headers[i];
        if (str_eq_nocase(header->name, STR("sec-websocket-protocol")) &&
            list_has_exact(header->value, protocol))
            return true;
    }
    return false;
}
