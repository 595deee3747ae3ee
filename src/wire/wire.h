// wire.h: protocol messages as bytes, for each protocol. Spec: websocket-and-data-model §6, vectors §9.
//
// PICTURE
//   payload ── wire_decode (v2, v3) ──────┐
//           ── wire_decode_v1 (binary) ───┼─> ClientMessage ─> the session, who knows no protocol
//           ── wire_decode_v1 (text) ─────┘                         │
//                                                                   v
//   payload <── WireCodec: connected, subscribed, update, called … ─┘
//
// Decoding borrows from the input. Encoding appends to a Buf without the compression tag byte; a
// WebSocket payload is the tag 00 and one (v1, v2) or more (v3) messages; under v1.json it is one
// message as text, without a tag.
//
//   wire.c      v2 and v3              v1.c        v1.bsatn
//   codec.c     which codec is whose   v1_json.c   v1.json      rows.c  row lists, one row at a time
#pragma once
#include "base/ids.h"
#include "sats/bsatn.h"

// In the order in which a server prefers them, the last first (§5.4).
typedef enum WireProtocol {
    WIRE_NONE,  // not a WebSocket
    WIRE_V1_JSON,
    WIRE_V1_BSATN,
    WIRE_V2,
    WIRE_V3,
} WireProtocol;
static inline bool wire_is_v1(WireProtocol protocol) {
    return protocol == WIRE_V1_JSON || protocol == WIRE_V1_BSATN;
}
Str wire_protocol_name(WireProtocol protocol);  // in Sec-WebSocket-Protocol: "v3.bsatn.spacetimedb"
#define WIRE_MESSAGE_MAX (32u << 20)            // bytes of an incoming message after reassembly

typedef enum ClientMessageKind {
    CLIENT_SUBSCRIBE = 0,
    CLIENT_UNSUBSCRIBE = 1,
    CLIENT_ONE_OFF_QUERY = 2,
    CLIENT_CALL_REDUCER = 3,
    CLIENT_CALL_PROCEDURE = 4,
    // Of v1.bsatn.lightcone, which is v3 otherwise (docs/internals/protocols-ext.md):
    CLIENT_CALL_ONCE = 5,
    CLIENT_RESUME = 6,
} ClientMessageKind;

// How a set was subscribed decides how it is answered. v2 and v3 know one kind.
typedef enum WireSetKind {
    WIRE_SET,         // v1: SubscribeMulti
    WIRE_SET_SINGLE,  // v1: SubscribeSingle, one query
    WIRE_SET_LEGACY,  // v1: Subscribe, which replaces the one before and has no id
} WireSetKind;

// As of when a client's rows are. What `history` means is the server's business.
typedef struct WirePoint {
    uint8_t history[16];
    uint64_t offset;
} WirePoint;

typedef struct WireSet {
    uint32_t query_set;
    Bytes queries;  // walk with wire_next_query
    uint32_t query_count;
} WireSet;

typedef struct ClientMessage {
    ClientMessageKind kind;
    WireSetKind set_kind;
    uint32_t request_id;
    uint32_t query_set;
    bool send_dropped_rows;
    bool is_quiet;      // v1 calls: nothing is to be said of a success that changed nothing it sees
    bool args_as_json;  // `args` is the text of a JSON array or object
    Bytes message_id;   // v1 one-off queries: in place of request_id
    Bytes queries;      // SUBSCRIBE: count already checked; walk with wire_next_query
    uint32_t query_count;
    Str text;    // query, reducer or procedure name
    Bytes args;  // BSATN argument product
    // CALL_ONCE:
    const uint8_t *session;    // 16 bytes
    uint64_t number, settled;  // all calls below `settled` were answered
    // RESUME:
    WirePoint point;
    Bytes sets;  // counts already checked; walk with wire_next_set
    uint32_t set_count;
} ClientMessage;

// Decode the first message of *in and advance past it. ERR_MALFORMED with the original's words
// (§2.3) in diag. v2: what follows is ignored by the caller; v3: call again until *in is empty.
MUST_USE Err wire_decode(Bytes *in, ClientMessage *out, Diag *diag);
// The same of v1.bsatn.lightcone.
MUST_USE Err wire_decode_ours(Bytes *in, ClientMessage *out, Diag *diag);
#define WIRE_OURS_NAME "v1.bsatn.lightcone"
bool wire_next_query(Bytes *queries, Str *out);
bool wire_next_set(Bytes *sets, WireSet *out);

// Decode one message of v1, `text` from a text frame (§5.9). A JSON message is first written into
// *scratch as BSATN, and borrows from there. What follows a binary message is ignored.
MUST_USE Err wire_decode_v1(Bytes payload, bool text, Buf *scratch, ClientMessage *out, Diag *diag);

// The columns of rows, for who writes them as JSON: all of row_type's but the hidden ones in front.
typedef struct WireRowType {
    const Type *row_type;
    uint32_t hidden_columns;
} WireRowType;

typedef struct WireTableRows {
    Str table_name;
    Bytes rows;  // BsatnRowList
    // What only v1 shows:
    bool is_absent;  // there is no entry, unless the answer cannot do without (SubscribeSingle)
    uint32_t table_id;
    WireRowType type;
} WireTableRows;

// A list that is not copied into the message: whoever sends it puts it where it was left out.
typedef struct WireGap {
    size_t at;  // in what was appended to; ascending
    void *of;   // as given
} WireGap;

typedef struct WireApart {
    Buf *gaps;                // WireGap: appended to
    void *inserts, *deletes;  // NULL: it is copied like others
} WireApart;

typedef struct WireTableUpdate {  // sorted by query set, then table name
    uint32_t query_set;
    Str table_name;
    bool is_event;
    Bytes inserts, deletes;  // BsatnRowList; events are in `inserts`
    // What only v1 shows:
    uint32_t table_id;
    Bytes inserts_json, deletes_json;  // the same rows as wire_rows_json writes them, for v1.json
    const WireApart *apart;            // NULL: everything is copied
} WireTableUpdate;

// A BsatnRowList that we made, row by row.
typedef struct WireRows {
    Bytes data;
    const uint8_t *offsets;  // NULL: every row has `row_bytes`
    uint32_t row_bytes;
    uint32_t count, at;
} WireRows;
WireRows wire_rows(Bytes list);
bool wire_rows_next(WireRows *rows, Bytes *row);
// The list as v1.json has it: an array of strings, each the JSON text of a row. `named`: columns by
// name (form R), else by position (form U).
void wire_rows_json(Buf *out, Bytes list, const WireRowType *type, bool named);
// The same in parts, of `most` rows each: true when it is whole. `rows` is where it goes on, at first
// wire_rows(list).
bool wire_rows_json_some(Buf *out,
                         WireRows *rows,
                         const WireRowType *type,
                         bool named,
                         uint32_t most);
// Append a list of an update, or leave a gap.
void wire_put_rows(Buf *out, Bytes rows, const WireApart *apart, bool inserts);

// ── answers, whatever the protocol ─────────────────────────────────────────────────────────────

typedef struct WireAsk {  // what is answered
    uint32_t request;
    uint32_t query_set;
    WireSetKind set_kind;
    Bytes message_id;
} WireAsk;

#define WIRE_NO_REDUCER UINT32_MAX  // as reducer_id: SQL, changes of the schema

// A call, or whatever else made a transaction. v2 and v3 show request and timestamp only.
typedef struct WireCall {
    uint32_t request;  // 0: it came over no connection
    Micros timestamp;
    int64_t duration_us;
    Str reducer;
    uint32_t reducer_id;
    Bytes args;          // BSATN of `params`
    const Type *params;  // NULL: there are none
    Str args_text;       // the caller's own words, when it came as JSON; else ptr is NULL
    Identity caller;
    ConnectionId connection;
} WireCall;

// How a protocol says things. Each appends one message; `us` is how long the work took.
typedef struct WireCodec {
    bool is_text;
    void (*connected)(Buf *out, const Identity *, const ConnectionId *, Str token);
    void (
        *subscribed)(Buf *out, const WireAsk *, int64_t us, const WireTableRows *, uint32_t count);
    void (*unsubscribed)(Buf *out,
                         const WireAsk *,
                         int64_t us,
                         bool has_rows,
                         const WireTableRows *,
                         uint32_t count);
    void (*refused)(Buf *out, const WireAsk *, int64_t us, Str error);  // a set, or its end
    void (*ended)(Buf *out, uint32_t query_set, Str error);  // a set, by itself; v1: all sets
    void (*rows)(Buf *out, const WireAsk *, int64_t us, const WireTableRows *table);  // one-off
    void (*no_rows)(Buf *out, const WireAsk *, int64_t us, Str error);
    // What somebody else's transaction changed. `full`: with the call that did it (v1).
    void (*update)(Buf *out, const WireCall *, bool full, const WireTableUpdate *, uint32_t count);
    void (*called)(Buf *out, const WireCall *, const WireTableUpdate *, uint32_t count);
    void (*failed)(Buf *out, const WireCall *, bool by_reducer, Str error);
    void (*returned)(Buf *out,
                     uint32_t request,
                     Micros timestamp,
                     int64_t us,
                     const Type *type,
                     Bytes value);
    void (*not_returned)(Buf *out, uint32_t request, Str error);
} WireCodec;
const WireCodec *wire_codec(WireProtocol protocol);  // static; NULL of WIRE_NONE

// ── v2 and v3 ──────────────────────────────────────────────────────────────────────────────────

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

// ── v1.bsatn.lightcone ─────────────────────────────────────────────────────────────────────────

typedef enum WireSinceKind {
    WIRE_SINCE_ROWS = 0,   // the rows of `gone` are gone
    WIRE_SINCE_KEYS = 1,   // `gone` are primary keys: forget what has one of them
    WIRE_SINCE_WHOLE = 2,  // forget all rows of the table
} WireSinceKind;
typedef struct WireSince {  // of one table; then `rows` came
    Str table_name;
    WireSinceKind kind;
    Bytes gone, rows;  // BsatnRowList
} WireSince;
void wire_resumed(Buf *out, uint32_t request, const WireSince *tables, uint32_t count);
void wire_resume_refused(Buf *out, uint32_t request, Str error);
void wire_progress(Buf *out, const WirePoint *point);
