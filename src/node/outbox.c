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
    box->begun = box->bytes.len;
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

static void frame_put(Outbox *box, NetFrame *frame, uint32_t pieces) {
    OutItem *item = item_add(box);
    if (!item) return;
    net_frame_retain(frame);
    box->shared_bytes += frame->len;
    *item = (OutItem){.shared = frame, .pieces = pieces};
}

void outbox_put_shared(Outbox *box, const OutMessage *message) {
    for (uint32_t i = 0; i < message->count; i++)
        frame_put(box, message->frames[i], i == 0 ? message->count : 0);
}

void outbox_end_apart(Outbox *box, const Buf *gaps, WireProtocol protocol) {
    if (gaps->len == 0 || !buf_ok(&box->bytes)) {
        outbox_end(box);
        return;
    }
    OutMessage message;
    Bytes bytes = BYTES(box->bytes.ptr + box->begun, box->bytes.len - box->begun);
    if (outmessage_make(bytes, gaps, protocol, &message)) {
        outbox_put_shared(box, &message);
    } else {
        box->failed = true;
    }
    outmessage_release(&message);
    box->bytes.len = box->begun;
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
    box->items[box->held - 1] = (OutItem){.shared = frame, .pieces = 1};
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

static const uint8_t plain_tag = WIRE_PLAIN;

NetFrame *outbox_frame(Bytes message, WireProtocol protocol) {
    Bytes parts[2] = {{&plain_tag, 1}, message};
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

// ── messages with gaps ─────────────────────────────────────────────────────────────────────────

typedef struct Pieces {
    OutMessage *out;
    bool is_text;
    bool ok;
} Pieces;

// NULL: no memory. The reference is taken over.
static void piece_put(Pieces *p, NetFrame *frame) {
    if (frame)
        p->out->frames[p->out->count++] = frame;
    else
        p->ok = false;
}

// The first piece, with the tag before the message.
static NetFrame *first_piece(Bytes bytes, bool is_text) {
    if (is_text) return net_frame_ws_piece(bytes, NET_FIRST_TEXT);
    Buf tagged = {0};
    buf_put_u8(&tagged, WIRE_PLAIN);
    buf_put_bytes(&tagged, bytes);
    NetFrame *frame =
        buf_ok(&tagged) ? net_frame_ws_piece(buf_bytes(&tagged), NET_FIRST_BINARY) : NULL;
    buf_deinit(&tagged);
    return frame;
}

static void pieces_put(Pieces *p, Bytes bytes, const WireGap *gaps, size_t count) {
    size_t at = 0;
    for (size_t i = 0; i < count && p->ok; i++) {
        Bytes before = BYTES(bytes.ptr + at, gaps[i].at - at);
        if (i == 0)
            piece_put(p, first_piece(before, p->is_text));
        else if (before.len)
            piece_put(p, net_frame_ws_piece(before, NET_FURTHER));
        net_frame_retain(gaps[i].of);
        piece_put(p, gaps[i].of);
        at = gaps[i].at;
    }
    if (p->ok) piece_put(p, net_frame_ws_piece(BYTES(bytes.ptr + at, bytes.len - at), NET_LAST));
}

bool outmessage_make(Bytes bytes, const Buf *gaps, WireProtocol protocol, OutMessage *out) {
    size_t count = gaps->len / sizeof(WireGap);
    *out = (OutMessage){.frames = mem_alloc((2 * count + 1) * sizeof *out->frames)};
    if (!out->frames) return false;
    Pieces p = {.out = out, .is_text = protocol == WIRE_V1_JSON, .ok = true};
    if (count == 0)
        piece_put(&p, outbox_frame(bytes, protocol));
    else
        pieces_put(&p, bytes, (const WireGap *)(const void *)gaps->ptr, count);
    if (!p.ok) outmessage_release(out);
    return p.ok;
}

void outmessage_release(OutMessage *message) {
    for (uint32_t i = 0; i < message->count; i++)
        net_frame_release(&message->frames[i]);
    mem_free(message->frames);
    *message = (OutMessage){0};
}

// ── sending ────────────────────────────────────────────────────────────────────────────────────

// Encoded messages that stand one behind another, as one frame: under v3 they are one message, under the
// others each is its own.
typedef struct Run {
    const OutItem *items;
    uint32_t messages;
    uint32_t from, to;  // in the box's bytes
} Run;

static NetFrame *run_frame(const Run *run, const uint8_t *bytes, WireProtocol protocol) {
    bool is_text = protocol == WIRE_V1_JSON;
    uint32_t from = run->from;
    if (protocol == WIRE_V3 || run->messages == 1)
        return outbox_frame(BYTES(bytes + from, run->to - from), protocol);
    size_t room = run->to - from + (is_text ? 0 : run->messages);
    NetFrame *frame = net_frame_ws_room(room, run->messages);
    for (uint32_t i = 0; frame && i < run->messages; i++) {
        uint32_t end = run->items[i].end;
        Bytes parts[2] = {{&plain_tag, 1}, {bytes + from, end - from}};
        net_frame_ws_add(frame, is_text, parts + is_text, 2 - is_text);
        from = end;
    }
    return frame;
}

static bool run_send(Run *run, const Outbox *box, NetConn *conn, WireProtocol protocol) {
    if (run->messages == 0) return true;
    NetFrame *frame = run_frame(run, box->bytes.ptr, protocol);
    bool sent = frame && ws_send(conn, frame);
    if (frame) net_frame_release(&frame);
    *run = (Run){.from = run->to, .to = run->to};
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

// Of the message that begins here; 0: none does.
static size_t message_bytes(const OutItem *item) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < item->pieces; i++)
        bytes += item[i].shared->len;
    return bytes;
}

bool outbox_send(Outbox *box, NetConn *conn, WireProtocol protocol) {
    if (box->held == 1 && !box->failed) return true;
    bool ok = !box->failed;
    uint32_t frame_max = protocol == WIRE_V3 ? OUTBOX_FRAME_BYTES : OUTBOX_RUN_BYTES;
    Run run = {0};
    uint32_t count = box->held ? box->held - 1 : box->count;
    for (uint32_t i = 0; ok && i < count; i++) {
        const OutItem *item = &box->items[i];
        bool full = item->shared || item->end - run.from > frame_max ||
                    run.messages == OUTBOX_FRAME_MESSAGES;
        if (full) ok = run_send(&run, box, conn, protocol);
        if (!ok) break;
        if (item->shared) {
            ok = ws_send_piece(conn, item->shared, message_bytes(item));
            continue;
        }
        if (run.messages++ == 0) run.items = item;
        run.to = item->end;
    }
    if (ok) ok = run_send(&run, box, conn, protocol);
    if (ok && box->held) {
        outbox_shift(box, run.to);
        return true;
    }
    outbox_cut(box);
    outbox_clear(box);
    box->failed = false;
    return ok;
}
