// wire.h: protocol messages v2 and v3 as bytes. Spec: websocket-and-data-model §6, vectors §9.
//
// Decoding borrows from the input. Encoding appends to a Buf without the compression tag byte; a
// WebSocket payload is the tag 00 and one (v2) or more (v3) messages.
#pragma once
#include "base/ids.h"
#include "sats/bsatn.h"

typedef enum WireProtocol { WIRE_V2 = 2, WIRE_V3 = 3 } WireProtocol;
#define WIRE_TAG_PLAIN   0
#define WIRE_MESSAGE_MAX (32u << 20)  // bytes of an incoming message after reassembly

typedef enum ClientMessageKind {
    CLIENT_SUBSCRIBE = 0,
    CLIENT_UNSUBSCRIBE = 1,
    CLIENT_ONE_OFF_QUERY = 2,
    CLIENT_CALL_REDUCER = 3,
    CLIENT_CALL_PROCEDURE = 4,
} ClientMessageKind;

typedef struct ClientMessage {
    ClientMessageKind kind;
    uint32_t request_id;
    uint32_t query_set;
    bool send_dropped_rows;
    Bytes queries;  // SUBSCRIBE: count already checked; walk with wire_next_query
    uint32_t query_count;
    Str text;    // query, reducer or procedure name
    Bytes args;  // BSATN argument product
} ClientMessage;

// Decode the first message of *in and advance past it. ERR_MALFORMED with the original's words
// (§2.3) in diag. v2: what follows is ignored by the caller; v3: call again until *in is empty.
MUST_USE Err wire_decode(Bytes *in, ClientMessage *out, Diag *diag);
bool wire_next_query(Bytes *queries, Str *out);

typedef struct WireTableRows {
    Str table_name;
    Bytes rows;  // BsatnRowList
} WireTableRows;

typedef struct WireTableUpdate {  // sorted by query set, then table name
    uint32_t query_set;
    Str table_name;
    bool is_event;
    Bytes inserts, deletes;  // BsatnRowList; events are in `inserts`
} WireTableUpdate;

void wire_initial_connection(Buf *out,
                             const Identity *identity,
                             const ConnectionId *connection,
                             Str token);
void wire_subscribe_applied(Buf *out,
                            uint32_t request,
                            uint32_t query_set,
                            const WireTableRows *tables,
                            uint32_t count);
void wire_unsubscribe_applied(Buf *out,
                              uint32_t request,
                              uint32_t query_set,
                              bool has_rows,
                              const WireTableRows *tables,
                              uint32_t count);
void wire_subscription_error(Buf *out, const uint32_t *request, uint32_t query_set, Str error);
void wire_transaction_update(Buf *out, const WireTableUpdate *updates, uint32_t count);
void wire_one_off_result(Buf *out, uint32_t request, const WireTableRows *table);
void wire_one_off_error(Buf *out, uint32_t request, Str error);
void wire_reducer_ok(Buf *out,
                     uint32_t request,
                     Micros timestamp,
                     const WireTableUpdate *updates,
                     uint32_t count);
void wire_reducer_err(Buf *out, uint32_t request, Micros timestamp, Str error);
void wire_reducer_internal_error(Buf *out, uint32_t request, Micros timestamp, Str error);
void wire_procedure_returned(Buf *out,
                             uint32_t request,
                             Micros timestamp,
                             int64_t duration_us,
                             Bytes value);
void wire_procedure_internal_error(Buf *out, uint32_t request, Str error);
