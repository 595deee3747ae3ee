// session.h: one client of one database: what it asked, in order, and what it will be told.
//
// PICTURE
//   WS frame ─> inbox ─┐                        ┌─ outbox ──> sealed ─(once it is durable)─> socket
//   HTTP call, sql ────┼─> ready ring ─> step ──┤
//   due schedules ─────┘   (round-robin)        └─ HTTP answer
//
//   What was said up to the moment a batch of the log starts for the disk is sealed: it leaves when
//   that batch has landed. What is said meanwhile waits for the next.
//
//   CONNECTING ─connect reducer─> LIVE ─socket closed, inbox empty─> disconnect reducer ─> ENDED
//        └──────── refused ───────────────────────────────────────────────────────────────┘
//
// A step takes up one message: either it is answered on the spot (subscribe, query) or it is a call
// into the module, for which a transaction is begun; the outcome comes back to session_done.
#pragma once
#include "node/database.h"
#include "node/outbox.h"
#include "query/statement.h"

// An agent stands for a procedure that runs on a worker, SESSION_VIEW for a view (lane.h).
typedef enum SessionKind {
    SESSION_WS,
    SESSION_HTTP,
    SESSION_PG,
    SESSION_SYSTEM,
    SESSION_AGENT,
    SESSION_VIEW
} SessionKind;
typedef enum SessionState { SESSION_CONNECTING, SESSION_LIVE, SESSION_ENDED } SessionState;
typedef enum SessionCall {
    CALL_NONE,
    CALL_CONNECT,
    CALL_REDUCER,
    CALL_DISCONNECT,
    CALL_SCHEDULED
} SessionCall;

typedef enum HttpWork { HTTP_CALL, HTTP_SQL, HTTP_PROCEDURE } HttpWork;

// An HTTP request that is being worked on, and its answer.
typedef struct HttpWorkItem {
    HttpWork work;
    Str name;    // reducer
    Str text;    // JSON arguments or SQL
    Str mcp_id;  // the answer is the result of a tool (route_mcp.c); ptr NULL: it is not
    bool done;   // worked on; the answer is below
    int status;
    Buf body;
    NetFrame *frame;  // in place of body, when it was made elsewhere; a reference
    Str content_type;
    bool has_duration;
    int64_t duration_us;
    int64_t began_ns;  // monotonic: when SQL was first looked at
} HttpWorkItem;

// What only the older protocol needs (session_v1.c).
typedef struct SessionV1 {
    bool is_light;    // never wants to hear whose transaction it was
    bool is_quiet;    // the call being worked on: NoSuccessNotify
    uint8_t legacy;   // which of its two ids the legacy set has
    Buf json;         // the message being worked on, as BSATN
    Str args_text;    // of the call being worked on, if it came as JSON; borrows from there
    WireCall *cause;  // of the transaction that is being committed; the turn arena's
} SessionV1;

struct Session {
    void (*conn_closed)(void *self);  // first: what a NetConn's data begins with (routes.h)
    bool (*conn_message)(void *self, Bytes payload, bool text);
    void (*conn_room)(void *self);

    Database *database;
    SessionKind kind;
    SessionState state;
    Session *prev, *next;  // in database->sessions
    FairEntry fair;        // its place among those that have something to do
    Session *next_dirty;
    Session *next_sealed;
    bool is_dirty, closing, paused;
    bool is_asking;  // asks for little, and was not answered yet (expect.h)
    NetConn *conn;   // NULL once it is gone
    Identity identity;
    ConnectionId connection;
    bool is_owner, confirmed;
    WireProtocol protocol;
    bool speaks_ours;        // WIRE_V3 and the messages of v1.bsatn.lightcone
    const WireCodec *codec;  // how that says things
    bool has_asked;          // anything; from then on it cannot resume (resume.h)
    bool progress_due;       // it was told rows, and not yet of when they are
    uint64_t progress_told;  // the offset that it was told last; 0: none
    WirePacking packing;     // what the client can unpack
    Arena arena;             // token, claims, an HTTP request's text
    Str token, claims;
    LiveClient *live;
    uint16_t close_code;  // not 0: close with this once everything said was sent
    char close_why[128];

    Buf inbox;        // u32 length (INBOX_TEXT set of a text frame) and payload, one after another
    size_t inbox_at;  // of the message being worked on
    size_t inbox_in;  // bytes of it already taken up (v3: several messages in one payload)
    uint32_t inbox_count;
    struct {
        size_t at, in;
        uint32_t count;
    } inbox_mark;  // before the message that was taken up last

    SessionCall call;     // in the module now
    uint32_t request_id;  // of that call
    struct {              // … if it is to happen once (once.h)
        bool is_asked;
        uint8_t session[16];
        uint64_t number, settled;
    } once;
    Micros call_timestamp;
    int64_t call_elapsed_us;  // of the call that ended last
    const FunctionDef *function;
    uint32_t called_last;  // the reducer's place in the definition: a guess, whatever was published
    Buf call_args;
    ClientMessage asked;  // a question that waits for views; borrows as it was decoded
    int64_t took_ns;      // v1: when the message being worked on was taken up
    SessionV1 v1;
    ScheduleEntry scheduled;

    // Away from the loop (lane.h).
    struct LaneCall *lane;         // of this session; until it ends nothing behind it is taken up
    struct Procedure *procedures;  // procedures it called that have not ended
    bool is_sliced;                // the call in the module has a slice, not its deadline
    bool is_cold;                  // … and a longer one, because it is new to its instance
    ModuleLogMark log_mark;        // where that call's log lines begin
    Str deadline_text;             // what HOST_DEADLINE means for this call, if not the usual
    Str redo;                      // the reducer to call again with call_args; ptr NULL: none

    // Waiting for an answer from a snapshot, or to be able to ask for one (read.h).
    struct SessionFetch *fetch;  // fetch.h; misses: of the call at hand
    uint32_t misses;
    struct SessionRead *read;
    LivePrepare *prepared;  // what its subscription needed, until that is answered
    bool read_granted;      // a place is reserved for it
    ParkKind parked;
    uint64_t asked_at;  // version of the data when the question came that is parked for a view; 0
    Session *prev_parked, *next_parked;

    struct {  // a write that is being committed (sqlwrite.c)
        void (*end)(Session *, Err, const StatementStats *, const Diag *);
        StatementStats stats;
    } sql;
    struct PgSession *pg;  // of a SESSION_PG (pg.h)

    Outbox out, sealed;
    HttpWorkItem http;
};

// A client that was accepted. Owned by the database, freed when it has ended.
typedef struct SessionOptions {
    SessionKind kind;
    NetConn *conn;
    Identity identity;
    ConnectionId connection;
    bool confirmed;
    WireProtocol protocol;
    bool is_light, speaks_ours;
    WirePacking packing;
    Str token, claims;      // copied
    const Identity *party;  // on whose account it is worked on; NULL: its own
    int64_t began_ns;       // from then on the loop's time is charged to it; 0: from its first turn
} SessionOptions;
Session *session_new(Database *database, const SessionOptions *options);  // NULL: no memory
// Who names nobody is somebody else in each HTTP request. What he asks for is done on his address's account.
Identity session_party_of_address(const NetConn *conn);
void session_free(Session **session);
// What it may leave unread, as its database's settings say; when they change, again.
void session_limit(Session *session);
void session_ready(Session *session);  // into the ring
void session_dirty(Session *session);  // onto the list of those with something to say
void session_close(Session *session, uint16_t code, const char *why);  // from our side

// Carry a call or a query out for an HTTP request, and answer that. Texts are copied; `name` is a call's;
// `mcp_id` as in HttpWorkItem.
struct Request;
void request_session(struct Request *r, HttpWork work, Str name, Str text, Str mcp_id);

// The host's source (host.h): the next call of this database, and its outcome.
bool session_next_call(void *database, HostCall *call);
void session_done(void *database, const HostCall *call, const HostOutcome *outcome);
// Deliver what sessions have to say: `confirmed` sessions only, or the others only. The former when
// everything is durable and nothing sealed.
void session_deliver(Database *database, bool confirmed);
// A batch starts for the disk: what confirmed sessions said so far is sealed. It has landed: that
// leaves.
void session_seal(Database *database);
void session_deliver_sealed(Database *database);
