// outbox.h: what a client will be told, in order, once the log has been synced.
//
// Small messages are encoded straight into one buffer and, under v3, leave together as one frame;
// a message that many clients get alike is one finished, shared NetFrame.
#pragma once
#include "net/net.h"
#include "wire/wire.h"

#define OUTBOX_FRAME_BYTES    (512u << 10)  // v3 coalescing target (spec §5.8)
#define OUTBOX_FRAME_MESSAGES 4096u

typedef struct OutItem {
    uint32_t end;      // of an encoded message in `bytes`; 0 when `shared` is set
    NetFrame *shared;  // a reference
} OutItem;

typedef struct Outbox {
    Buf bytes;
    OutItem *items;
    uint32_t count, cap;
    bool failed;  // out of memory: the connection must be closed, it would miss something
} Outbox;

void outbox_deinit(Outbox *box);
// Encode a message: begin, append to the returned Buf, end.
Buf *outbox_begin(Outbox *box);
void outbox_end(Outbox *box);
void outbox_put_shared(Outbox *box, NetFrame *frame);  // takes a reference of its own
bool outbox_is_empty(const Outbox *box);
// Hand everything to the connection as WebSocket messages (each with its compression tag). False
// when something could not be sent: the connection is being cut off.
bool outbox_send(Outbox *box, NetConn *conn, WireProtocol protocol);
