// ws.h: RFC 6455 as bytes, server side, without sockets.
#pragma once
#include "net/net.h"

typedef enum WsOpcode {
    WS_CONTINUATION = 0,
    WS_TEXT = 1,
    WS_BINARY = 2,
    WS_CLOSE = 8,
    WS_PING = 9,
    WS_PONG = 10,
} WsOpcode;

enum {
    WS_CODE_NORMAL = 1000,
    WS_CODE_PROTOCOL = 1002,
    WS_CODE_NOT_UTF8 = 1007,
    WS_CODE_POLICY = 1008,
    WS_CODE_TOO_BIG = 1009,
    WS_CODE_INTERNAL = 1011,
};

#define WS_CONTROL_MAX 125    // payload of a control frame
#define WS_REASON_MAX  123    // a Close frame's payload begins with its code
#define WS_FINAL       0x80u  // of a frame's first byte
#define WS_HEAD_MAX    10     // of a frame we send: ours are not masked

typedef enum WsStep {
    WS_STEP_MORE,     // the frame is not complete: see WsReader.need
    WS_STEP_MESSAGE,  // event.payload is a whole message
    WS_STEP_PING,     // answer with event.payload
    WS_STEP_PONG,
    WS_STEP_CLOSE,    // the peer says goodbye with event.code; 0: it gave none
    WS_STEP_NOTHING,  // a fragment was taken; go on
    WS_STEP_FAILED,   // close with event.code and event.why
} WsStep;

typedef struct WsReader {
    size_t message_bytes_max;
    size_t need;      // bytes the frame at the front has in all; 0: its head is not complete
    bool in_message;  // between the first and the last fragment
    bool is_text;     // of that message
    Buf fragments;    // what has arrived of it
    bool handed;      // fragments was lent to the caller and is cleared by the next step
} WsReader;

typedef struct WsEvent {
    Bytes payload;  // valid until the next step, or until the input changes
    bool text;
    uint16_t code;
    const char *why;  // static
} WsEvent;

void ws_reader_deinit(WsReader *reader);

// Take one frame off the front of bytes[0, len). *used says how many bytes are done with; payloads
// are unmasked in place and borrow from the input, or from the reader when they came in fragments.
WsStep ws_read_frame(WsReader *reader, uint8_t *bytes, size_t len, size_t *used, WsEvent *out);

// The head of a frame that ends a message; returns its length.
size_t ws_head_write(uint8_t out[WS_HEAD_MAX], WsOpcode opcode, uint64_t payload_bytes);
void ws_unmask(uint8_t *bytes, size_t len, const uint8_t mask[4]);
// May this code be sent in a Close frame?
bool ws_code_is_legal(uint16_t code);
// Sec-WebSocket-Accept for a key: 28 characters, terminated. False: out of memory.
MUST_USE bool ws_accept_key(Str key, char out[29]);
