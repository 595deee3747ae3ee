// lightcone_client.h: a Lightcone database in a program written in C.
//
//     lightcone generate --lang c --namespace chat --out-dir src      writes chat.h and chat.c
//     cc src/*.c lightcone_client.c                                   that is all there is to link
//
//     static void joined(LcClient *client, const ChatUser *user, void *context) { … }
//
//     LcClient *client;
//     lc_client_open(&(LcOptions){.url = "http://localhost:3000", .database = "chat",
//                                 .module = &chat_module}, &client);
//     chat_user_listen(client, (ChatUserListener){.on_insert = joined});
//     lc_subscribe(client, &(LcSubscribe){.query = "SELECT * FROM user"}, NULL);
//     chat_call_set_name(client, lc_string("ada"), NULL, NULL);
//     while (lc_client_poll(client, 1000) == LC_OK) {}
//     lc_client_free(&client);
//
// PICTURE
//   socket ─> frames ─> messages ─> tables: rows, each once, with how many queries brought it
//                          │           └─ when a whole message is in: on_delete, on_update, on_insert
//                          └─> results of calls and queries: `done`
//
// ALWAYS TRUE
//   (1) Callbacks run inside lc_client_poll, lc_client_step and lc_client_free, and nowhere else.
//   (2) What a callback sees in the tables is the state after a whole transaction.
//   (3) A connection that is lost comes back by itself. The rows stay meanwhile; when all subscriptions
//       are answered again, what has changed is reported as one change. A server of ours is asked for
//       that change alone, and sends all rows only if it cannot tell.
//   (4) `done` is called exactly once for each call that was accepted with LC_OK.
//
// MEMORY    A row, and what it points to, stays valid until its table changes: keep it no longer than
//           to the next poll or step. An old row lives until its callback returns. What is passed in is
//           copied, but for the module and the texts inside it, which are constants.
// THREADS   One client belongs to one thread at a time. Nothing waits: a host's name is looked up by a thread
//           of the library's own, which lives that long and calls nothing of the program.
// BUILD     C17, POSIX sockets and threads. For https:// define LC_CLIENT_TLS and link -lssl -lcrypto.
//
// The manual is docs/client-c.md.
#ifndef LIGHTCONE_CLIENT_H
#define LIGHTCONE_CLIENT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct LcClient LcClient;
typedef struct LcModule LcModule;

typedef enum LcError {
    LC_OK,
    LC_NO_MEMORY,     // nothing has happened
    LC_BAD_ARGUMENT,  // an address that is none, a missing option, more than the server takes (32 MiB)
    LC_CLOSED,        // lc_client_close was called, or the server refuses this client for good
    LC_BUSY,          // poll or step out of a callback
    LC_MALFORMED,     // lc_decode: these bytes are no value of that type
    LC_SYSTEM,        // the system call that errno tells about failed
} LcError;
const char *lc_error_text(LcError error);

// ── values ─────────────────────────────────────────────────────────────────────────────────────
// An option is a pointer, NULL for none. An array is { items, len }, a result { ok, err } of which one
// is set, an enum with contents { tag, union }. Generated headers spell them out.

typedef struct LcString {
    const char *ptr;  // UTF-8. From the server it has a 0 behind it, which `len` does not count
    size_t len;
} LcString;
typedef struct LcBytes {
    const uint8_t *ptr;
    size_t len;
} LcBytes;
typedef struct LcU128 {
    uint64_t word[2];  // the least significant first
} LcU128;
typedef struct LcI128 {
    uint64_t word[2];  // two's complement
} LcI128;
typedef struct LcU256 {
    uint64_t word[4];
} LcU256;
typedef struct LcI256 {
    uint64_t word[4];
} LcI256;
typedef struct LcIdentity {
    uint8_t bytes[32];  // as it is written: the most significant first
} LcIdentity;
typedef struct LcConnectionId {
    uint8_t bytes[16];
} LcConnectionId;
typedef struct LcUuid {
    uint8_t bytes[16];
} LcUuid;
typedef struct LcTimestamp {
    int64_t micros;  // since 1970
} LcTimestamp;
typedef struct LcTimeDuration {
    int64_t micros;
} LcTimeDuration;
typedef enum LcScheduleTag { LC_SCHEDULE_INTERVAL, LC_SCHEDULE_TIME } LcScheduleTag;
typedef struct LcScheduleAt {
    LcScheduleTag tag;
    union {
        LcTimeDuration interval;
        LcTimestamp time;
    };
} LcScheduleAt;
typedef struct LcUnit {
    uint8_t unused;
} LcUnit;

typedef int LcNever;  // there is no value of it

#define LC_ARG(string) (int)(string).len, (string).ptr  // printf("%.*s", LC_ARG(user->name))
LcString lc_string(const char *text);                   // the same bytes, not a copy
bool lc_string_eq(LcString a, LcString b);
bool lc_identity_eq(LcIdentity a, LcIdentity b);
#define LC_IDENTITY_HEX_BYTES 65  // with the 0 at the end
void lc_identity_hex(LcIdentity identity, char hex[LC_IDENTITY_HEX_BYTES]);
bool lc_identity_from_hex(const char *hex, LcIdentity *out);

// ── a client ───────────────────────────────────────────────────────────────────────────────────

typedef struct LcOptions {
    const char *url;         // "http://localhost:3000"; https, ws and wss too
    const char *database;    // name or identity
    const char *token;       // who this is; NULL: somebody new, see lc_client_token
    const LcModule *module;  // generated: &chat_module
    // Connected, also again: this client has an identity, and what was asked meanwhile is under way.
    void (*on_connect)(LcClient *client, void *context);
    // Not connected any more, or a try to connect has failed. retry_ms: the next one begins then; < 0: never.
    void (*on_disconnect)(LcClient *client, const char *why, int retry_ms, void *context);
    // Something is odd, and the connection goes on: a table that the module does not name.
    void (*on_error)(LcClient *client, const char *text, void *context);
    void *context;             // of these three
    bool once;                 // a lost connection is the end
    bool unconfirmed;          // hear of transactions before they are on the server's disk
    size_t message_bytes_max;  // of one message of the server; 0: 1 GiB
    const char *tls_ca_file;  // who may sign the server's certificate; NULL: whom the system trusts
    bool tls_unverified;      // take any certificate. For tests
} LcOptions;

// Connecting begins with the first poll or step.
LcError lc_client_open(const LcOptions *options, LcClient **out);
// Say goodbye and stay away. Polls go on until LC_CLOSED, at most a second.
void lc_client_close(LcClient *client);
// The end at once. `done` of what is unanswered is called with LC_CALL_LOST. Not from a callback.
void lc_client_free(LcClient **client);  // leaves NULL

// Our loop: wait for at most timeout_ms (< 0: as long as it takes) until something happens, and do it.
LcError lc_client_poll(LcClient *client, int timeout_ms);
// Your loop: wait for `events` (of <poll.h>) on `fd` for at most `timeout_ms`, then step. Ask all three
// again after each step and each call. fd may be -1, timeout_ms -1 for no limit.
int lc_client_fd(const LcClient *client);
short lc_client_events(const LcClient *client);
int lc_client_timeout_ms(const LcClient *client);
LcError lc_client_step(LcClient *client);

bool lc_client_is_connected(const LcClient *client);
LcIdentity lc_client_identity(const LcClient *client);  // zero before on_connect
LcConnectionId lc_client_connection_id(const LcClient *client);
// Keep it and pass it as `token` to be the same user tomorrow. NULL before on_connect; valid until free.
const char *lc_client_token(const LcClient *client);
size_t lc_client_pending(const LcClient *client);  // calls and queries that are not answered

// ── subscriptions ──────────────────────────────────────────────────────────────────────────────

typedef struct LcSubscription LcSubscription;
typedef struct LcSubscribe {
    const char *query;           // SQL; or several:
    const char *const *queries;  // looked at when query is NULL
    size_t query_count;
    // All its rows are there: for the first time, and after each reconnect.
    void (*on_applied)(LcClient *client, LcSubscription *subscription, void *context);
    // It is over and the handle is gone. error: why the server refused it, or NULL after lc_unsubscribe.
    void (*on_end)(LcClient *client,
                   LcSubscription *subscription,
                   const char *error,
                   void *context);
    void *context;
} LcSubscribe;
// *out, which may be NULL, lives until on_end or the end of the client.
LcError lc_subscribe(LcClient *client, const LcSubscribe *subscribe, LcSubscription **out);
LcError lc_unsubscribe(LcClient *client, LcSubscription *subscription);

// ── calls ──────────────────────────────────────────────────────────────────────────────────────
// Made while there is no connection they wait for one.

typedef enum LcCallStatus {
    LC_CALL_OK,
    LC_CALL_REFUSED,  // a reducer returned an error: `message`, meant for people
    LC_CALL_FAILED,   // no such function, wrong arguments, a crash, bad SQL
    LC_CALL_LOST,     // the connection was lost first: it may have happened or not
} LcCallStatus;
typedef struct LcResult {
    LcCallStatus status;
    LcString message;       // empty when OK
    LcTimestamp timestamp;  // when it began; 0 where the server does not say
} LcResult;
typedef void (*LcDone)(LcClient *client, const LcResult *result, void *context);

// ── what generated code consists of ────────────────────────────────────────────────────────────
// A module is described by constants; the functions here read them. Programs use the typed functions
// of the generated header, which are each one line around one of these.

typedef enum LcKind {
    LC_BOOL,
    LC_I8,
    LC_U8,
    LC_I16,
    LC_U16,
    LC_I32,
    LC_U32,
    LC_I64,
    LC_U64,
    LC_I128,
    LC_U128,
    LC_I256,
    LC_U256,
    LC_F32,
    LC_F64,
    LC_STRING,
    LC_BYTES,
    LC_ID,       // bytes written the other way round: LcIdentity, LcConnectionId, LcUuid
    LC_UNIT,     // no bytes
    LC_PRODUCT,  // a struct
    LC_ENUM,     // a C enum
    LC_SUM,      // a struct that begins with an enum; fields without type have no content
    LC_ARRAY,    // { const T *items; size_t len; }
    LC_OPTION,   // const T *
    LC_RESULT,   // { const T *ok; const E *err; }
} LcKind;

typedef struct LcType LcType;
typedef struct LcField {
    const char *name;
    const LcType *type;
    size_t offset;
    bool is_pointer;  // a sum that contains itself points to its content
} LcField;
struct LcType {
    LcKind kind;
    size_t size;            // of the C value
    const LcField *fields;  // of LC_PRODUCT, LC_SUM, LC_RESULT
    size_t field_count;     // also the variants of LC_ENUM
    const LcType *element;  // of LC_ARRAY, LC_OPTION
};

// clang-format off
extern const LcType lc_type_bool, lc_type_i8, lc_type_u8, lc_type_i16, lc_type_u16, lc_type_i32, lc_type_u32,
    lc_type_i64, lc_type_u64, lc_type_i128, lc_type_u128, lc_type_i256, lc_type_u256, lc_type_f32, lc_type_f64,
    lc_type_string, lc_type_bytes, lc_type_identity, lc_type_connection_id, lc_type_uuid, lc_type_timestamp,
    lc_type_time_duration, lc_type_schedule_at, lc_type_unit, lc_type_never;
// clang-format on

typedef void (*LcAnyFunction)(void);  // one with its real type forgotten; only `call_…` calls it
typedef struct LcTable {
    const char *name;
    const LcType *row;
    int primary_key;         // a column, or -1
    const uint16_t *unique;  // columns that rows are found by; the primary key is one of them
    size_t unique_count;
    bool is_event;
    void (*call_row)(LcAnyFunction to, LcClient *client, const void *row, void *context);
    void (*call_update)(LcAnyFunction to,
                        LcClient *client,
                        const void *old,
                        const void *row,
                        void *context);
    void (*call_rows)(LcAnyFunction to,
                      LcClient *client,
                      const LcResult *result,
                      const void *const *rows,
                      size_t count,
                      void *context);
} LcTable;
struct LcModule {
    const LcTable *const *tables;
    size_t table_count;
};

typedef struct LcListener {
    LcAnyFunction on_insert, on_delete, on_update;
    void *context;
} LcListener;
// For as long as the client lives. Listeners of a table are called in the order of their coming.
LcError lc_table_listen(LcClient *client, const LcTable *table, const LcListener *listener);
size_t lc_table_count(const LcClient *client, const LcTable *table);
// Rows in the order of their coming. row NULL: the first. NULL: there are no more.
const void *lc_table_next(const LcClient *client, const LcTable *table, const void *row);
// The row whose column `table->unique[which]` is *key, or NULL. (Also when there is no memory for a key of
// more than 256 bytes.)
const void *lc_table_find(const LcClient *client,
                          const LcTable *table,
                          size_t which,
                          const void *key);
// Ask once. `done` is called through table->call_rows; its rows live until it returns.
LcError lc_table_query(LcClient *client,
                       const LcTable *table,
                       const char *sql,
                       LcAnyFunction done,
                       void *context);

LcError lc_call_reducer(LcClient *client,
                        const char *name,
                        const LcType *type,
                        const void *arguments,
                        LcDone done,
                        void *context);
typedef void (*LcCallValue)(LcAnyFunction to,
                            LcClient *client,
                            const LcResult *result,
                            const void *value,
                            void *context);
LcError lc_call_procedure(LcClient *client,
                          const char *name,
                          const LcType *type,
                          const void *arguments,
                          const LcType *returns,
                          LcCallValue call,
                          LcAnyFunction done,
                          void *context);

// A value as its bytes and back, for files of your own. Each gives one block for free().
LcError lc_encode(const LcType *type, const void *value, uint8_t **bytes, size_t *len);
LcError lc_decode(const LcType *type, const void *bytes, size_t len, void **value);

#ifdef __cplusplus
}
#endif
#endif
