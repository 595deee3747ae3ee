// client.h: what the parts of the C client share. Programs see lightcone_client.h only.
//
// PICTURE
//   lost ────────────────────────────────────────────────────────────────────────────┐
//    v                                                                               │
//   WAITING ──> RESOLVING ──> CONNECTING ──> SECURING (TLS) ──> UPGRADING (HTTP) ──> OPEN ──> ENDED
//
//   client.c      the life of a client, one turn of its loop
//   link.c        the connection      lookup.c   handshake.c, frames.c: WebSocket   tls.c
//   messages.c    what the server says
//   requests.c    what the program asks
//   batches.c     a whole transaction becomes visible, and is told
//   rows.c        the rows that are held
//   values.c      C values from bytes and back      bytes.c
//
//   A message of the server is applied as one batch: first it changes counts, then batch_commit compares
//   each row's count with what the program has been shown, and calls back. A reconnect is one large
//   batch: all counts begin at 0, and it is committed when every subscription is answered again. Where
//   the server can say what has changed since the place that we know, they begin as they were shown.
//
// ALWAYS TRUE
//   (1) Between batches row->shown == row->count for every row. The program sees rows with shown > 0.
//   (2) A batch allocates only while counts change. Committing it cannot fail, so callbacks come for all
//       of a transaction or, when the connection is given up in its middle, for nothing of it.
//   (3) Nothing the server sends is believed: every length is compared with what is there, and what is
//       no message ends the connection, not the program.
//
// Programs take the parts in as one file, which tools/client-c makes: this header, then the parts. There
// LC_PRIVATE is `static`, so nothing in here has a name that the program's own could meet.
// Spec: the WebSocket protocol v3.bsatn (docs/internals/protocols.md), Resume and Progress of
// v1.bsatn.lightcone (protocols-ext.md), RFC 6455.
#pragma once
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE  // getaddrinfo, getentropy
#endif
#include "lightcone_client.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#ifdef __APPLE__
#include <sys/random.h>
#endif
#ifdef LC_CLIENT_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#endif

#ifndef LC_PRIVATE  // the parts one by one
#define LC_PRIVATE __attribute__((visibility("hidden")))
#endif
#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0  // macOS: SO_NOSIGPIPE
#endif
#ifndef LC_CLIENT_REALLOC  // tests let it fail
#define LC_CLIENT_REALLOC realloc
#endif
#ifndef LC_CLIENT_GETADDRINFO  // tests let it wait
#define LC_CLIENT_GETADDRINFO getaddrinfo
#endif

#define DEPTH_MAX             128          // of values that contain themselves
#define EMPTY_ELEMENTS_MAX    4096         // of an array whose elements take no bytes
#define REQUEST_BYTES_MAX     (32u << 20)  // the server takes no larger message
#define MESSAGE_BYTES_DEFAULT ((size_t)1 << 30)
#define HEAD_BYTES_MAX        (16u << 10)  // of the answer to the upgrade
#define READ_BYTES            (64u << 10)
#define STEP_READS_MAX        16     // then the program has its turn again
#define OPEN_MS               15000  // a server that does not answer by then is taken for dead
#define QUIET_MS              30000  // this long without a byte: ask
#define ANSWER_MS             10000  // and this long without an answer: dead
#define CLOSE_MS              1000
#define WAIT_FIRST_MS         250
#define WAIT_MOST_MS          15000
#define WHY_BYTES             256
#define POINT_BYTES           24  // of Progress: history, offset

// ── bytes.c ────────────────────────────────────────────────────────────────────────────────────

// Zeroed, freed with free(); NULL when there is none.
LC_PRIVATE void *mem_new(size_t bytes);
LC_PRIVATE char *text_copy(const char *text);

// Bytes that grow. The first error stays; bytes behind it are not kept.
typedef struct Out {
    uint8_t *data;
    size_t len, cap;
    LcError error;
    bool is_borrowed;  // data belongs to somebody else: it is copied when it grows
} Out;

// Room for so many bytes behind out->len, or NULL. The others append.
LC_PRIVATE uint8_t *out_room(Out *out, size_t bytes);
LC_PRIVATE void out_bytes(Out *out, const void *bytes, size_t len);
LC_PRIVATE void out_le(Out *out, uint64_t value, size_t width);
LC_PRIVATE void out_sized(Out *out, const void *bytes, size_t len);
LC_PRIVATE void out_drop(Out *out, size_t bytes);  // from the front
LC_PRIVATE void out_free(Out *out);

// What is left of bytes from outside. After the first lack `failed` is set and all is 0.
typedef struct In {
    const uint8_t *at, *end;
    bool failed;
} In;

LC_PRIVATE size_t in_left(const In *in);
LC_PRIVATE const uint8_t *in_bytes(In *in,
                                   size_t len);  // len <= 32, or the caller looks at in->failed
LC_PRIVATE uint64_t in_le(In *in, size_t width);
LC_PRIVATE In in_sized(In *in);
LC_PRIVATE uint64_t le_read(const uint8_t *bytes, size_t width);
LC_PRIVATE bool is_utf8(const uint8_t *at, size_t len);

// ── values.c ───────────────────────────────────────────────────────────────────────────────────

// A block that values are put into; base NULL: it is being measured.
typedef struct Place {
    uint8_t *base;
    size_t used;
    bool too_large;
} Place;

LC_PRIVATE uint8_t *place_take(Place *place, size_t count, size_t each);
// `to` was zeroed, or is NULL to measure. False: malformed, or place->too_large.
LC_PRIVATE bool value_read(In *in, const LcType *type, uint8_t *to, Place *place, unsigned depth);
LC_PRIVATE void value_write(Out *out, const LcType *type, const uint8_t *value, unsigned depth);
// All of `in` as one block, freed with free(). LC_MALFORMED, LC_NO_MEMORY.
LC_PRIVATE LcError value_new(const LcType *type, In in, void **value);

// ── rows.c ─────────────────────────────────────────────────────────────────────────────────────

typedef struct Row Row;
typedef struct Link {
    Row *next;
    uint64_t hash;
    const uint8_t *key;  // in the row's bytes
    size_t len;
} Link;

struct Row {
    Row *previous, *next;  // in the table, in the order of their coming
    Row *next_touched;
    Row *old;        // which it takes the place of
    uint32_t count;  // how many copies the queries have brought
    uint32_t shown;  // …and had when the program was told last
    bool is_touched, is_replaced, is_event;
    void *value;
    struct Table *table;
    Link links[];  // its bytes, then its unique columns
};

typedef struct Table {
    const LcTable *info;
    Row *first, *last;
    size_t row_count, shown_count;
    Row **slots;  // (1 + unique_count) maps of `cap` chains
    size_t cap;
    LcListener *listeners;
    size_t listener_count;
} Table;

LC_PRIVATE uint64_t hash_bytes(const uint64_t seed[2], const uint8_t *at, size_t len);
LC_PRIVATE Table *table_named(LcClient *client, const uint8_t *name, size_t len);
LC_PRIVATE Table *table_of(const LcClient *client, const LcTable *info);
LC_PRIVATE bool table_grow(Table *table);
// A row that is in no table yet. It belongs to the caller, who frees it with free().
LC_PRIVATE LcError row_new(const uint64_t seed[2], Table *table, In in, Row **out);
LC_PRIVATE void row_link(Table *table, Row *row);
LC_PRIVATE void row_unlink(Table *table, Row *row);
// In map 0 by its bytes, in map k + 1 by unique column k.
LC_PRIVATE Row *row_find(const Table *table,
                         size_t map,
                         uint64_t hash,
                         const uint8_t *key,
                         size_t len);
LC_PRIVATE Row **chain_of(const Table *table, size_t map, uint64_t hash);
LC_PRIVATE Row *row_of(const void *value);

// ── batches.c ──────────────────────────────────────────────────────────────────────────────────

typedef enum Change { CHANGE_INSERT, CHANGE_DELETE, CHANGE_EVENT } Change;

LC_PRIVATE LcError row_insert(LcClient *client, Table *table, In bytes, Change change);
LC_PRIVATE LcError row_delete(LcClient *client, Table *table, In bytes);
// Making up for a lost connection: the rows count again as often as they were shown. All of a table count
// for nothing, or those with the primary key of a row that is otherwise of no meaning.
LC_PRIVATE void rows_restore(LcClient *client);
LC_PRIVATE void table_forget(LcClient *client, Table *table);
LC_PRIVATE LcError key_forget(LcClient *client, Table *table, In bytes);
// `whole`: rows that were not touched may have changed as well.
LC_PRIVATE void batch_commit(LcClient *client, bool whole);
LC_PRIVATE void batch_abandon(LcClient *client);

// ── requests.c ─────────────────────────────────────────────────────────────────────────────────

struct LcSubscription {
    LcSubscription *next;
    LcSubscribe options;  // queries aside
    Out message;          // the list of queries, encoded
    uint32_t id;
    bool is_sent, is_applied, is_due;  // due: on_applied is to be called
    bool is_awaited;                   // the large batch after a reconnect waits for its answer
    bool is_held;                      // its rows were here when the connection was lost
    bool is_resumed;                   // it is among those whose answer is one to Resume
    bool is_ending, end_sent;
};

typedef enum RequestKind { REQUEST_REDUCER, REQUEST_PROCEDURE, REQUEST_QUERY } RequestKind;

typedef struct Request {
    struct Request *next;
    RequestKind kind;
    uint32_t id;
    Out message;  // until it is sent
    bool is_sent;
    LcDone reducer_done;
    LcAnyFunction done;  // of the others, and who knows its type
    LcCallValue call;
    const LcType *returns;
    const LcTable *table;
    void *context;
} Request;

LC_PRIVATE LcSubscription *subscription_find(const LcClient *client, uint32_t id);
LC_PRIVATE void subscription_end(LcClient *client, LcSubscription *subscription, const char *error);
LC_PRIVATE void subscription_free(LcSubscription *subscription);
LC_PRIVATE void subscriptions_sweep(LcClient *client);
LC_PRIVATE bool has_sweep(const LcClient *client);
// A message is applied: show what it has changed, unless that belongs to the large batch.
LC_PRIVATE void batch_end(LcClient *client);
LC_PRIVATE void requests_send(LcClient *client);
// After a reconnect: ask what has changed, if that can be answered. Else nothing is sent.
LC_PRIVATE LcError resume_send(LcClient *client);
// The request with this id leaves the list and is the caller's, who answers it or frees it.
LC_PRIVATE Request *request_take(LcClient *client, uint32_t id, RequestKind kind);
LC_PRIVATE void request_answer(LcClient *client,
                               Request *request,
                               const LcResult *result,
                               const void *value);
LC_PRIVATE void request_free(Request *request);
LC_PRIVATE void requests_lose(LcClient *client, bool all);

// ── messages.c, frames.c, handshake.c ──────────────────────────────────────────────────────────

enum { OP_MORE = 0, OP_TEXT = 1, OP_BINARY = 2, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };

LC_PRIVATE LcError messages_apply(LcClient *client, const uint8_t *bytes, size_t len);
LC_PRIVATE LcError frames_apply(LcClient *client);
LC_PRIVATE void frame_send(LcClient *client, uint8_t opcode, const void *bytes, size_t len);
LC_PRIVATE void upgrade_send(LcClient *client);
LC_PRIVATE void upgrade_read(LcClient *client, bool at_end);

// ── lookup.c ───────────────────────────────────────────────────────────────────────────────────

typedef struct Lookup Lookup;
// Look up host and port; both are copied. NULL: errno says why it cannot begin.
LC_PRIVATE Lookup *lookup_begin(const char *host, const char *port);
// Readable when the look-up is done. It belongs to the look-up.
LC_PRIVATE int lookup_fd(const Lookup *lookup);
// False: it is not done. Else it is over, *error is that of getaddrinfo, and *addresses is the caller's.
LC_PRIVATE bool lookup_take(Lookup **lookup, int *error, struct addrinfo **addresses);
LC_PRIVATE void lookup_abandon(Lookup **lookup);

// ── link.c, tls.c ──────────────────────────────────────────────────────────────────────────────

// Bytes of ours towards the socket, through TLS when there is TLS; and bytes of the socket's.
LC_PRIVATE void link_put(LcClient *client, const void *bytes, size_t len);
LC_PRIVATE bool link_take(LcClient *client, const uint8_t *bytes, size_t len);
LC_PRIVATE void link_open(LcClient *client);
LC_PRIVATE void link_resolving(LcClient *client);
LC_PRIVATE void link_connecting(LcClient *client);
LC_PRIVATE bool link_write(LcClient *client);
// This connection is over. `final`: there will be no other.
LC_PRIVATE void link_lost(LcClient *client, const char *why, bool final);
LC_PRIVATE void link_failed(LcClient *client, LcError error);
LC_PRIVATE void link_close(LcClient *client);
#ifdef LC_CLIENT_TLS
LC_PRIVATE bool tls_prepare(LcClient *client);
LC_PRIVATE bool tls_start(LcClient *client);
LC_PRIVATE bool tls_receive(LcClient *client, const uint8_t *bytes, size_t len);
LC_PRIVATE void tls_drain(LcClient *client);
#endif

// ── client.c ───────────────────────────────────────────────────────────────────────────────────

typedef enum LinkState {
    LINK_WAITING,
    LINK_RESOLVING,
    LINK_CONNECTING,
    LINK_SECURING,
    LINK_UPGRADING,
    LINK_OPEN,
    LINK_ENDED,
} LinkState;

struct LcClient {
    LcOptions options;  // texts are copies
    bool is_tls;
    char *host, *port, *path;
    char *token;
    LcIdentity identity;
    LcConnectionId connection_id;
    uint64_t seed[2];  // of hashes
    uint64_t chance;   // of masks and waits

    Table *tables;
    Row *touched, *touched_last;
    bool is_stale;   // the rows are those of an earlier connection
    size_t awaited;  // subscriptions that the large batch waits for
    // Of v1.bsatn.lightcone: as of when the rows are, for Resume. Rows that come behind it undo it.
    bool speaks_ours, has_point;
    uint8_t point[POINT_BYTES];
    uint32_t resume;  // the request that is not answered; 0: none
    uint32_t ids;
    LcSubscription *subscriptions;
    Request *requests, **requests_end;
    size_t request_count;

    LinkState state;
    int fd;                                // the socket, from CONNECTING on; else -1
    Lookup *lookup;                        // of the host; it may outlive the try that began it
    struct addrinfo *addresses, *address;  // those of the host, and the one being tried
    int64_t deadline;                      // of the state; INT64_MAX: none
    int64_t heard_at, asked_at;
    unsigned tries;
    bool is_ready;    // the server has introduced itself
    bool is_closing;  // by lc_client_close
    bool close_sent;
    bool has_more;  // there is input that was not looked at
    bool in_step;
    char accept[29];  // what the server must answer to our key
    Out raw;          // from the socket, not yet taken apart
    Out fragments;    // of a message that comes in several frames
    bool in_message;
    Out out;  // to the socket
    char why[WHY_BYTES];
#ifdef LC_CLIENT_TLS
    SSL_CTX *tls_context;
    SSL *tls;
#endif
};

LC_PRIVATE int64_t now_ms(void);
LC_PRIVATE uint32_t chance_next(LcClient *client);
LC_PRIVATE void odd(LcClient *client, const char *text);
LC_PRIVATE bool is_over(const LcClient *client);
