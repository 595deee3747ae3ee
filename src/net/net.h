// net.h: sockets, HTTP/1.1 and WebSockets, in one loop that never blocks.
//
// PICTURE
//   accept ─> NetConn(HTTP) ─request─> handler: http_respond | http_stream_begin … | ws_accept
//                                                                └> NetConn(WS) ─message─> handler
//
// A NetLoop belongs to one thread. Everything that arrives is bounded (§ limits below) and every
// limit has an answer. What leaves is queued as references to shared, finished frames and goes out
// in one writev a socket in net_flush: the caller decides when, which is after the log's fsync.
// Spec: websocket-and-data-model §5, http-api-and-auth §1.
//
//   loop.c    a turn: accept, poll, timers, the mailbox, the reaping      start reading here
//   order.c   who is read first, and how much of one at a time
//   conn.c    one connection: what it reads, in which state               conn.h: its fields
//   out.c     what it sends: queues of frames, writev, slow clients
//   answer.c  HTTP answers and the 101          http.c, ws.c    the two protocols as bytes
//   pg.c      the third, PostgreSQL's: where its messages begin and end
//   tls.c     both of them encrypted
//
// ALWAYS TRUE
//   (1) closed() is called once for every connection, and only from net_turn and net_close; until
//       then a NetConn may be used, and using one that has ended does nothing.
//   (2) Handlers are called from net_turn only, never from inside ws_send, http_respond & co.
//   (3) Nothing is written to a socket outside net_flush.
#pragma once
#include "base/arena.h"
#include "os/io.h"

typedef struct NetLoop NetLoop;
typedef struct NetConn NetConn;

typedef struct NetLimits {     // zeros mean the defaults
    size_t head_bytes_max;     // 64 KiB
    size_t body_bytes_max;     // 2 MiB; handler->body_limit may raise it for a route
    size_t message_bytes_max;  // 32 MiB
    size_t out_messages_max;   // 16384 a connection, then it is cut off (1008); copies: by 4 KiB
    size_t out_bytes_max;      // 64 MiB a connection, likewise
    uint32_t connections_max;  // 20000
    Micros ping_interval;      // 15 s
    Micros idle_timeout;       // 30 s
    Micros close_timeout;      // 250 ms
    Micros request_timeout;    // 30 s from the first byte of a request to its last
} NetLimits;

typedef struct HttpHeader {
    Str name, value;
} HttpHeader;

typedef struct HttpRequest {  // borrows from the connection; valid until it is answered
    Str method, path, query;  // path as sent (not percent-decoded), without the query
    const HttpHeader *headers;
    uint32_t header_count;
    Bytes body;
    bool keep_alive;
    bool is_upgrade;
    bool is_http_1_0;
} HttpRequest;
Str http_header(const HttpRequest *request, Str name);  // first value, ptr NULL when absent
bool http_query_value(Str query, Str key, Arena *arena, Str *out);  // percent-decoded
Err http_percent_decode(Str text, Arena *arena, Str *out);          // ERR_INVALID when malformed

// Would ws_accept take this request, as far as the request itself goes (§5.5: method, upgrade,
// version, key, in this order)? So that a name is only looked up for a well-formed upgrade.
MUST_USE Err ws_check_upgrade(const HttpRequest *request, int *status, Diag *diag);
// Is this exact name among those offered in Sec-WebSocket-Protocol (§5.4)?
bool ws_offers(const HttpRequest *request, Str protocol);

// A finished frame or piece of a response, shared by all connections it is queued on.
typedef struct NetFrame {
    uint32_t refs;
    uint32_t len, cap;
    uint32_t messages;  // as a limit counts them: 1 unless they were put into it one by one
    // Who frees it, on the loop's thread; NULL: it is simply freed. Giving tens of megabytes back to the system
    // takes milliseconds.
    void (*bury)(void *ctx, struct NetFrame *frame);
    void *bury_ctx;
    uint8_t bytes[];
} NetFrame;
NetFrame *net_frame_ws_binary(Bytes payload);                 // framed, refs 1; NULL: no memory
NetFrame *net_frame_ws_parts(const Bytes *parts, int count);  // payload in parts, one frame
NetFrame *net_frame_ws_text(Bytes payload);                   // UTF-8
// Several messages for one connection, each framed, as one allocation and one piece of its writev: room for
// so many with so many bytes of payload in all, then one after another, its payload in parts.
NetFrame *net_frame_ws_room(size_t payload_bytes, uint32_t messages);
void net_frame_ws_add(NetFrame *frame, bool is_text, const Bytes *parts, int count);
// One of several frames that are one message, so that a large piece of it is in memory once, whoever is
// sent it and whatever stands around it. Between them only what RFC 6455 allows there is sent.
typedef enum NetPiece { NET_FIRST_BINARY, NET_FIRST_TEXT, NET_FURTHER, NET_LAST } NetPiece;
NetFrame *net_frame_ws_piece(Bytes payload, NetPiece which);
NetFrame *net_frame_raw(Bytes bytes);  // the body of an HTTP answer
void net_frame_retain(NetFrame *frame);
void net_frame_release(NetFrame **frame);
void net_frame_free(NetFrame *frame);  // what bury() does in the end

#define HTTP_BODY_DISCARD SIZE_MAX

typedef struct NetHandler {
    void *ctx;
    // How large may this request's body be? 0: the default. The head is complete, the body is not.
    // HTTP_BODY_DISCARD: read it and keep nothing, for a request that will be refused anyhow:
    // request() then sees an empty body, and the client is not cut off in the middle of sending.
    size_t (*body_limit)(void *ctx, const HttpRequest *head);
    // A whole request. Answer it, now or later, exactly once.
    void (*request)(void *ctx, NetConn *conn, const HttpRequest *request);
    // A whole message. Borrowed during the call. Return false to stop reading from this connection
    // until net_resume (backpressure); the message was taken all the same. Of PostgreSQL's protocol
    // with name and length; one without bytes means that what came is no message.
    bool (*message)(void *ctx, NetConn *conn, Bytes payload, bool text);
    // What was queued has left so far that net_want_room's caller may queue more.
    void (*room)(void *ctx, NetConn *conn);
    // A connection of PostgreSQL's protocol that net_move passed on is here, or net_request_again
    // brings it.
    void (*moved)(void *ctx, NetConn *conn);
    // The connection is over, however it ended. conn is freed after the call.
    void (*closed)(void *ctx, NetConn *conn, const char *why);
} NetHandler;

MUST_USE Err net_open(const Io *io,
                      const NetLimits *limits,
                      const NetHandler *handler,
                      NetLoop **out);
void net_close(NetLoop **loop);
// TLS 1.2 and 1.3 (tls.c). Files in PEM; the certificate's may hold the chain up to its root. One
// for all loops; must outlive them. ERR_INVALID names the file and what is wrong with it.
typedef struct NetTls NetTls;
MUST_USE Err net_tls_open(const char *cert_path, const char *key_path, NetTls **out, Diag *diag);
// Read the files again, for connections from now on; if they are bad, the old ones stay. Any thread.
MUST_USE Err net_tls_reload(NetTls *tls, Diag *diag);
void net_tls_free(NetTls **tls);

// `tls` NULL: in the clear.
MUST_USE Err net_listen(NetLoop *loop,
                        const char *host,
                        uint16_t port,
                        NetTls *tls,
                        uint16_t *bound,
                        Diag *diag);
// The same for clients that speak PostgreSQL's protocol, where `tls` is offered to those who ask for it.
MUST_USE Err net_listen_pg(NetLoop *loop,
                           const char *host,
                           uint16_t port,
                           NetTls *tls,
                           uint16_t *bound,
                           Diag *diag);
void net_stop_listening(NetLoop *loop);
// Wait for sockets (at most timeout_us) and handle all that is ready: handlers are called.
MUST_USE Err net_turn(NetLoop *loop, int64_t timeout_us);
// Send what is queued, one writev a socket. Call after the log's sync.
void net_flush(NetLoop *loop);
// Hasty: somebody who should not wait may have sent something. Of those that are not prompt only as many
// connections are read, and written, before sockets are looked at again, as can be in a short time. Prompt ones
// are always read and written first. Whom the caller cannot know to be prompt, order.c does.
void net_set_hasty(NetLoop *loop, bool hasty);
void net_conn_set_prompt(NetConn *conn, bool prompt);
void net_wake(NetLoop *loop);  // from any thread: ends a net_turn's wait
// Pass a connection whose request is not answered yet to another loop (its database lives there):
// its request handler is called there as if it had arrived there. Thread-safe hand-over.
MUST_USE Err net_move(NetConn *conn, NetLoop *to);

// Its request was put aside and can be handled now: the handler is called again, as if it had arrived
// just now. Between turns or from a handler of another connection.
void net_request_again(NetConn *conn);

// ── PostgreSQL's protocol: messages (wire/pg.h), the handler's business; bytes are ours ────────

bool net_conn_is_pg(const NetConn *conn);
bool net_pg_may_encrypt(const NetConn *conn);  // there is a certificate
bool net_pg_is_encrypted(const NetConn *conn);
// What is queued leaves in the clear; from then on the connection is TLS.
void net_pg_encrypt(NetConn *conn);
// The messages from here on have a name and at most so many bytes. The first have none.
void net_pg_named(NetConn *conn, uint32_t message_bytes_max);
// It is let in: it may be silent as long as it likes. Until then it has limits.request_timeout.
void net_pg_welcome(NetConn *conn);
// Queue bytes as they are (a reference is taken). False: the connection is being cut off.
bool net_send(NetConn *conn, NetFrame *frame);
// Call room() once at most `bytes` are queued, from the next turn on.
void net_want_room(NetConn *conn, size_t bytes);
// Close once everything queued has left.
void net_finish(NetConn *conn);

void *net_conn_data(const NetConn *conn);
void net_conn_set_data(NetConn *conn, void *data);
const char *net_conn_peer(const NetConn *conn);
Str net_conn_address(const NetConn *conn);  // the peer without its port; as long as the connection
NetLoop *net_conn_loop(const NetConn *conn);

// Answers. `headers` are added to Content-Length, Connection, Date and the CORS ones of §1.1 (for
// paths under /v1; a 426 also gets its Upgrade headers). All bytes are copied. An answer to a
// connection that is gone, but whose closed() has not been called yet, is dropped.
void http_respond(NetConn *conn,
                  int status,
                  const HttpHeader *headers,
                  uint32_t header_count,
                  Str content_type,
                  Bytes body);
// The same with a body that was finished elsewhere and is not copied; takes a reference.
void http_respond_frame(NetConn *conn,
                        int status,
                        const HttpHeader *headers,
                        uint32_t header_count,
                        Str content_type,
                        NetFrame *body);
// The permissive answer to OPTIONS on a path under /v1 that exists (§1.1).
void http_respond_preflight(NetConn *conn);
void http_stream_begin(NetConn *conn,
                       int status,
                       const HttpHeader *headers,
                       uint32_t header_count,
                       Str content_type);           // chunked
bool http_stream_send(NetConn *conn, Bytes chunk);  // false: the client is too slow or gone
void http_stream_end(NetConn *conn);
// Close without an end, so that the client notices that something is missing.
void http_stream_break(NetConn *conn, const char *why);
// What may wait to be sent on this one, instead of the loop's limits; 0: those.
void net_conn_limit(NetConn *conn, size_t out_messages_max, size_t out_bytes_max);
bool net_conn_was_slow(const NetConn *conn);  // it was cut off for that
size_t net_conn_queued(const NetConn *conn);  // bytes that wait to be sent

// Turn the request into a WebSocket: 101 with the chosen protocol. From here on message() is called.
// ERR_INVALID with status and text in *status/diag when the upgrade is not acceptable (§5.5).
MUST_USE Err ws_accept(NetConn *conn,
                       Str protocol,
                       const HttpHeader *headers,
                       uint32_t header_count,
                       int *status,
                       Diag *diag);
// Queue one message (a reference is taken). False: the connection is being cut off for slowness.
bool ws_send(NetConn *conn, NetFrame *frame);
// A piece of a message. With the first come the bytes of all of them, which decide whether it is taken;
// the others follow at once. False, likewise.
bool ws_send_piece(NetConn *conn, NetFrame *frame, size_t first_of_bytes);
// The same for a small message that goes to one connection only: it is copied behind those queued
// before it, so that a turn's answers to one client are one allocation and one piece of its writev.
bool ws_send_copy(NetConn *conn, Bytes payload);
void ws_close(NetConn *conn, uint16_t code, Str reason);  // reason cut to 123 bytes
void net_resume(NetConn *conn);
size_t net_conn_queued_bytes(const NetConn *conn);

typedef struct NetStats {
    uint64_t connections, accepted, refused, bytes_in, bytes_out, messages_in, messages_out,
        slow_cut, idle_cut;
} NetStats;
NetStats net_stats(const NetLoop *loop);
