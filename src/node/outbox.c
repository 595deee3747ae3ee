#include "node/outbox.h"

#include "base/mem.h"

void outbox_deinit(Outbox *box) {
    for (uint32_t i = 0; i < box->count; i++) {
        if (box->items[i].shared) net_frame_release(&box->items[i].shared);
    }
    buf_deinit(&box->bytes);
    mem_free(box->items);
    *box = (Outbox){0};
}

static void outbox_clear(Outbox *box) {
    for (uint32_t i = 0; i < box->count; i++) {
        if (box->items[i].shared) net_frame_release(&box->items[i].shared);
    }
    box->count = 0;
    // A burst's memory is given back, an ordinary turn's is kept.
    if (box->bytes.cap > (1u << 20)) {
        buf_deinit(&box->bytes);
    } else {
        buf_clear(&box->bytes);
    }
}

static OutItem *item_add(Outbox *box) {
    if (box->count == box->cap) {
        uint32_t cap = box->cap ? box->cap * 2 : 16;
        OutItem *grown = mem_realloc(box->items, cap * sizeof *grown);
        if (!grown) {
            box->failed = true;
            return NULL;
        }
        box->items = grown;
        box->cap = cap;
    }
    return &box->items[box->count++];
}

Buf *outbox_begin(Outbox *box) {
    return &box->bytes;
}

void outbox_end(Outbox *box) {
    if (!buf_ok(&box->bytes) || box->bytes.len > UINT32_MAX) {
        box->failed = true;
        return;
    }
    OutItem *item = item_add(box);
    if (item) *item = (OutItem){.end = (uint32_t)box->bytes.len};
}

void outbox_put_shared(Outbox *box, NetFrame *frame) {
    OutItem *item = item_add(box);
    if (!item) return;
    net_frame_retain(frame);
    *item = (OutItem){.shared = frame};
}

bool outbox_is_empty(const Outbox *box) {
    return box->count == 0 && !box->failed;
}

static bool send_range(NetConn *conn, const Buf *bytes, uint32_t from, uint32_t to) {
    static const uint8_t tag = WIRE_TAG_PLAIN;
    Bytes parts[2] = {{&tag, 1}, {bytes->ptr + from, to - from}};
    NetFrame *frame = net_frame_ws_parts(parts, 2);
    if (!frame) return false;
    bool sent = ws_send(conn, frame);
    net_frame_release(&frame);
    return sent;
}

bool outbox_send(Outbox *box, NetConn *conn, WireProtocol protocol) {
    bool ok = !box->failed;
    uint32_t frame_max = protocol == WIRE_V3 ? OUTBOX_FRAME_BYTES : 0;
    uint32_t from = 0, to = 0, messages = 0;  // encoded messages gathered for one frame
    for (uint32_t i = 0; ok && i < box->count; i++) {
        const OutItem *item = &box->items[i];
        bool full = messages && (item->shared || item->end - from > frame_max ||
                                 messages == OUTBOX_FRAME_MESSAGES);
        if (full) {
            ok = send_range(conn, &box->bytes, from, to);
            from = to;
            messages = 0;
        }
        if (!ok) break;
        if (item->shared) {
            ok = ws_send(conn, item->shared);
        } else {
            to = item->end;
            messages++;
        }
    }
    if (ok && messages) ok = send_range(conn, &box->bytes, from, to);
    outbox_clear(box);
    box->failed = false;
    return ok;
}
