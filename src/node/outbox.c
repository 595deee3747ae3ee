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
    box->shared_bytes = 0;
    box->is_part = false;
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
    box->shared_bytes += frame->len;
    *item = (OutItem){.shared = frame};
}

void outbox_hold(Outbox *box) {
    ASSERT(!box->held);
    OutItem *item = item_add(box);
    if (!item) return;
    *item = (OutItem){.held = true};
    box->held = box->count;
}

void outbox_fill(Outbox *box, NetFrame *frame) {
    if (!box->held) return;  // there was no memory for the place: the connection ends
    net_frame_retain(frame);
    box->shared_bytes += frame->len;
    box->items[box->held - 1] = (OutItem){.shared = frame};
    box->held = 0;
}

void outbox_cut(Outbox *box) {
    if (!box->held) return;
    uint32_t place = box->held - 1, end = 0;
    for (uint32_t i = 0; i < box->count; i++) {
        OutItem *item = &box->items[i];
        if (i < place) {
            end = MAX(end, item->end);
        } else if (item->shared) {
            box->shared_bytes -= item->shared->len;
            net_frame_release(&item->shared);
        }
    }
    box->count = place;
    box->bytes.len = end;
    box->held = 0;
}

size_t outbox_bytes(const Outbox *box) {
    return box->bytes.len + box->shared_bytes;
}

bool outbox_is_empty(const Outbox *box) {
    return box->count == 0 && !box->failed;
}

NetFrame *outbox_frame(Bytes message, WireProtocol protocol) {
    static const uint8_t tag = WIRE_PLAIN;
    Bytes parts[2] = {{&tag, 1}, message};
    return protocol == WIRE_V1_JSON ? net_frame_ws_text(message) : net_frame_ws_parts(parts, 2);
}

NetFrame *outbox_frame_packed(Bytes message, WireProtocol protocol, WirePacking *how) {
    Buf packed = {0};
    if (protocol == WIRE_V1_JSON) *how = WIRE_PLAIN;
    if (*how != WIRE_PLAIN) *how = wire_pack(&packed, message, *how);
    uint8_t tag = (uint8_t)*how;
    Bytes parts[2] = {{&tag, 1}, buf_bytes(&packed)};
    NetFrame *frame =
        *how == WIRE_PLAIN ? outbox_frame(message, protocol) : net_frame_ws_parts(parts, 2);
    buf_deinit(&packed);
    return frame;
}

static bool send_range(NetConn *conn,
                       WireProtocol protocol,
                       const Buf *bytes,
                       uint32_t from,
                       uint32_t to) {
    NetFrame *frame = outbox_frame(BYTES(bytes->ptr + from, to - from), protocol);
    if (!frame) return false;
    bool sent = ws_send(conn, frame);
    net_frame_release(&frame);
    return sent;
}

// What stands before the held place was sent.
static void outbox_shift(Outbox *box, uint32_t sent_bytes) {
    uint32_t sent = box->held - 1;
    for (uint32_t i = 0; i < sent; i++) {
        if (!box->items[i].shared) continue;
        box->shared_bytes -= box->items[i].shared->len;
        net_frame_release(&box->items[i].shared);
    }
    box->count -= sent;
    memmove(box->items, box->items + sent, box->count * sizeof *box->items);
    for (uint32_t i = 0; i < box->count; i++) {
        if (box->items[i].end) box->items[i].end -= sent_bytes;
    }
    if (box->bytes.len > sent_bytes)
        memmove(box->bytes.ptr, box->bytes.ptr + sent_bytes, box->bytes.len - sent_bytes);
    box->bytes.len -= sent_bytes;
    box->held = 1;
}

bool outbox_split(Outbox *box, Outbox *front) {
    Outbox empty = *front;
    if (!box->held || box->failed) {
        *front = *box;
        *box = empty;
        return true;
    }
    uint32_t end = 0, count = box->held - 1;
    front->is_part = true;
    for (uint32_t i = 0; i < count; i++) {
        end = MAX(end, box->items[i].end);
    }
    for (uint32_t i = 0; i < count; i++) {
        const OutItem *item = &box->items[i];
        OutItem *copy = item_add(front);
        if (!copy) break;
        *copy = *item;
        if (item->shared) {
            net_frame_retain(item->shared);
            front->shared_bytes += item->shared->len;
        }
    }
    buf_put(&front->bytes, box->bytes.ptr, end);
    if (!buf_ok(&front->bytes)) front->failed = true;
    if (count) outbox_shift(box, end);
    return count > 0;
}

bool outbox_send(Outbox *box, NetConn *conn, WireProtocol protocol) {
    if (box->held == 1 && !box->failed) return true;
    bool ok = !box->failed;
    uint32_t frame_max = protocol == WIRE_V3 ? OUTBOX_FRAME_BYTES : 0;
    uint32_t from = 0, to = 0, messages = 0;  // encoded messages gathered for one frame
    uint32_t count = box->held ? box->held - 1 : box->count;
    for (uint32_t i = 0; ok && i < count; i++) {
        const OutItem *item = &box->items[i];
        bool full = messages && (item->shared || item->end - from > frame_max ||
                                 messages == OUTBOX_FRAME_MESSAGES);
        if (full) {
            ok = send_range(conn, protocol, &box->bytes, from, to);
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
    if (ok && messages) ok = send_range(conn, protocol, &box->bytes, from, to);
    if (ok && box->held) {
        outbox_shift(box, to);
        return true;
    }
    outbox_cut(box);
    outbox_clear(box);
    box->failed = false;
    return ok;
}
