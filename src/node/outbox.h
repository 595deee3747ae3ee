// outbox.h: what a client will be told, in order, once the log has been synced.
//
// Small messages are encoded straight into one buffer and leave together: under v3 as one message, under
// the others framed one behind another. A message that many clients get alike is one finished, shared NetFrame.
//
// An answer that is still being made elsewhere (read.h) holds its place: what is said after it waits
// behind it, so that the client hears everything in the order in which it became true.
#pragma once
#include "net/net.h"
#include "wire/pack.h"
#include "wire/wire.h"

#define OUTBOX_FRAME_BYTES    (512u << 10)  // v3 coalescing target (spec §5.8)
#define OUTBOX_FRAME_MESSAGES 4096u
#define OUTBOX_RUN_BYTES      (16u << 10)  // of messages that leave together under the other protocols

typedef struct OutItem {
    uint32_t end;      // of an encoded message in `bytes`; 0 when `shared` is set
    NetFrame *shared;  // a reference
    uint32_t pieces;   // of the message whose first one `shared` is; 0: it is a further one
    bool held;         // a place without a message
} OutItem;

// A message, as one frame or in pieces (net.h).
typedef struct OutMessage {
    NetFrame **frames;  // references
    uint32_t count;     // 0: there is none
} OutMessage;

typedef struct Outbox {
    Buf bytes;
    OutItem *items;
    uint32_t count, cap;
    uint32_t held;        // 1 + index of the place that is held; 0: none
    size_t shared_bytes;  // of all shared frames
    size_t begun;         // where the message that is being encoded begins
    bool is_part;         // what was said behind it waits in another, for a place that is held
    bool failed;          // out of memory: the connection must be closed, it would miss something
} Outbox;

void outbox_deinit(Outbox *box);
// Encode a message: begin, append to the returned Buf, end.
Buf *outbox_begin(Outbox *box);
void outbox_end(Outbox *box);
// The same of a message with gaps (WireGap, `of` a NetFrame: a piece).
void outbox_end_apart(Outbox *box, const Buf *gaps, WireProtocol protocol);
void outbox_put_shared(Outbox *box, const OutMessage *message);  // takes references of its own
// Hold a place, one at a time, for a message that outbox_fill brings.
void outbox_hold(Outbox *box);
void outbox_fill(Outbox *box, NetFrame *frame);  // takes a reference of its own
// Move what stands before the held place (everything, where there is none) to an empty box. False:
// that is nothing, because of the held place.
bool outbox_split(Outbox *box, Outbox *front);
void outbox_cut(Outbox *box);            // forget the held place and all behind it
size_t outbox_bytes(const Outbox *box);  // waiting in it
bool outbox_is_empty(const Outbox *box);
// A message as it is sent, for one or many. False: no memory.
MUST_USE bool outmessage_make(Bytes bytes, const Buf *gaps, WireProtocol protocol, OutMessage *out);
void outmessage_release(OutMessage *message);  // harmless if there is none
// A message, or several under v3, as the protocol frames it. NULL: no memory.
NetFrame *outbox_frame(Bytes message, WireProtocol protocol);
// The same, packed where that makes it smaller and the protocol can say so: for one message, on a
// thread that may take its time. *how: what is allowed, then what was done.
NetFrame *outbox_frame_packed(Bytes message, WireProtocol protocol, WirePacking *how);
// Hand everything before the held place to the connection as WebSocket messages. False
// when something could not be sent: the connection is being cut off.
bool outbox_send(Outbox *box, NetConn *conn, WireProtocol protocol);
