// frames.c: WebSocket frames (RFC 6455), to and from the server.
//
// `raw` holds what has come and was not taken apart; frames_apply takes whole frames off its front. Pieces of a
// message gather in `fragments`. What we send is masked, as the RFC asks of clients.
//
// NOT HERE how a connection becomes a WebSocket: handshake.c.
#include "client.h"

LC_PRIVATE void frame_send(LcClient *client, uint8_t opcode, const void *bytes, size_t len) {
    uint8_t head[14], block[1024];
    size_t at = 2;
    head[0] = (uint8_t)(0x80 | opcode);
    head[1] = (uint8_t)(0x80 | (len < 126 ? len : len <= UINT16_MAX ? 126 : 127));
    size_t width = len < 126 ? 0 : len <= UINT16_MAX ? 2 : 8;
    for (size_t i = 0; i < width; i++)
        head[at++] = (uint8_t)((uint64_t)len >> (8 * (width - 1 - i)));
    uint32_t mask = chance_next(client);
    for (int i = 0; i < 4; i++)
        head[at++] = (uint8_t)(mask >> (8 * i));
    link_put(client, head, at);
    const uint8_t *from = bytes;
    for (size_t done = 0; done < len; done += sizeof block) {
        size_t part = len - done < sizeof block ? len - done : sizeof block;
        for (size_t i = 0; i < part; i++)
            block[i] = from[done + i] ^ head[at - 4 + i % 4];  // a block is a multiple of 4
        link_put(client, block, part);
    }
}

typedef struct Frame {
    uint8_t opcode;
    bool is_last;
    size_t head, len;
} Frame;

// LC_OK with frame->head 0: the head is not whole yet.
static LcError frame_read(const Out *raw, size_t from, size_t bytes_max, Frame *frame) {
    size_t left = raw->len - from;
    *frame = (Frame){0};
    if (left < 2) return LC_OK;
    const uint8_t *at = raw->data + from;
    size_t width = (at[1] & 0x7f) == 126 ? 2 : (at[1] & 0x7f) == 127 ? 8 : 0;
    if ((at[0] & 0x70) || (at[1] & 0x80)) return LC_MALFORMED;  // extensions, and a masked server
    if (left < 2 + width) return LC_OK;
    uint64_t len = width ? 0 : at[1];
    for (size_t i = 0; i < width; i++)
        len = len << 8 | at[2 + i];
    frame->opcode = at[0] & 0x0f;
    frame->is_last = at[0] & 0x80;
    bool is_control = frame->opcode >= OP_CLOSE;
    if (len > bytes_max || (is_control && (len > 125 || !frame->is_last))) return LC_MALFORMED;
    frame->head = 2 + width;
    frame->len = (size_t)len;
    return LC_OK;
}

static LcError closed_by_server(LcClient *client, const uint8_t *bytes, size_t len) {
    if (!client->close_sent) frame_send(client, OP_CLOSE, bytes, len < 2 ? 0 : 2);
    client->close_sent = true;
    if (len > 2 && is_utf8(bytes + 2, len - 2))
        snprintf(client->why,
                 sizeof client->why,
                 "the server closed: %.*s",
                 (int)(len - 2),
                 (const char *)bytes + 2);
    else
        snprintf(client->why, sizeof client->why, "the server closed the connection");
    return LC_CLOSED;
}

static LcError data_apply(LcClient *client, const Frame *frame, const uint8_t *bytes) {
    if (frame->opcode == (client->in_message ? OP_BINARY : OP_MORE)) return LC_MALFORMED;
    if (frame->is_last && !client->in_message) return messages_apply(client, bytes, frame->len);
    client->in_message = true;
    if (client->fragments.len + frame->len > client->options.message_bytes_max) return LC_MALFORMED;
    out_bytes(&client->fragments, bytes, frame->len);
    if (client->fragments.error) return LC_NO_MEMORY;
    if (!frame->is_last) return LC_OK;
    client->in_message = false;
    LcError error = messages_apply(client, client->fragments.data, client->fragments.len);
    out_free(&client->fragments);
    return error;
}

static LcError frame_apply(LcClient *client, const Frame *frame, const uint8_t *bytes) {
    switch (frame->opcode) {
    case OP_MORE:
    case OP_BINARY: return data_apply(client, frame, bytes);
    case OP_CLOSE: return closed_by_server(client, bytes, frame->len);
    case OP_PING:
        if (!client->close_sent) frame_send(client, OP_PONG, bytes, frame->len);
        return LC_OK;
    case OP_PONG: return LC_OK;
    default: return LC_MALFORMED;
    }
}

LC_PRIVATE LcError frames_apply(LcClient *client) {
    size_t at = 0;
    LcError error = client->raw.error;
    while (!error) {
        Frame frame;
        error = frame_read(&client->raw, at, client->options.message_bytes_max, &frame);
        if (error || frame.head == 0 || client->raw.len - at - frame.head < frame.len) break;
        error = frame_apply(client, &frame, client->raw.data + at + frame.head);
        at += frame.head + frame.len;
    }
    out_drop(&client->raw, at);
    return error;
}
