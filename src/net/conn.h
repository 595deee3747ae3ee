// conn.h: what a loop and its connections are made of. Only net/ includes this.
//
// PICTURE  the states of a connection
//
//   HTTP ──whole request──> ANSWERING ──http_respond────────> ANSWERED ──> HTTP (keep-alive)
//    │ ^                      │  └────http_stream_begin─> STREAMING ─end─> ANSWERED
//    │ └─ 10,000 idle ones    └──ws_accept──> WS ──ws_close, Close, slow──> WS_CLOSING
//    │    cost ~500 bytes                      └ paused: message() said no
//    └──refused, 408, 413──> DRAINING (the answer leaves; what still arrives is thrown away)
//
//   PG ──net_finish──> DRAINING                  a connection of the other listener (pg.c)
//
//   and from anywhere to DEAD: the socket is closed, closed() is owed, then the memory goes.
//
// ALWAYS TRUE
//   (1) A connection is on `all` or `dead` of one loop, or on its way to another (`moving`).
//   (2) Between turns an HTTP or WS connection without unfinished input owns no input buffer.
//   (3) It is watched for reading only if it could take what it reads, so a level-triggered poller
//       is quiet about everything else; one that waits for nothing is not watched at all.
#pragma once
#include <stdatomic.h>

#include "base/recent.h"
#include "net/http.h"
#include "net/tls.h"
#include "net/ws.h"

typedef struct NetLink {  // a member of a ring; alone when next is itself
    struct NetLink *prev, *next;
} NetLink;

static inline void link_init(NetLink *link) {
    link->prev = link->next = link;
}
static inline bool link_is_alone(const NetLink *link) {
    return link->next == link;
}
static inline void link_take_out(NetLink *link) {
    link->prev->next = link->next;
    link->next->prev = link->prev;
    link_init(link);
}
static inline void link_append(NetLink *ring, NetLink *link) {
    link->prev = ring->prev;
    link->next = ring;
    ring->prev->next = link;
    ring->prev = link;
}
// Move all of `from` behind `to`.
static inline void link_splice(NetLink *to, NetLink *from) {
    if (link_is_alone(from)) return;
    from->next->prev = to->prev;
    from->prev->next = to;
    to->prev->next = from->next;
    to->prev = from->prev;
    link_init(from);
}

typedef enum ConnState {
    CONN_HTTP,
    CONN_ANSWERING,
    CONN_STREAMING,
    CONN_ANSWERED,
    CONN_DRAINING,
    CONN_WS,
    CONN_WS_CLOSING,
    CONN_PG,
    CONN_DEAD,
} ConnState;

// Frames on their way out: a ring of references, the first perhaps sent in part.
typedef struct OutQueue {
    NetFrame **frames;
    uint32_t cap;  // a power of two, or 0
    uint32_t head;
    uint32_t count;
    uint32_t sent_bytes;  // of the first frame
    uint32_t pinned;      // the first so many may not be overtaken: the 101 must leave first
    size_t bytes;         // in all, without those sent
    uint32_t messages;    // of all frames
    uint32_t room;        // bytes that the last frame, a block of copies, has left; else 0
} OutQueue;

typedef struct HttpWork {  // only while a request is being read or answered
    HttpParser parser;
    HttpRequest request;
    HttpHeader headers[HTTP_HEADERS_MAX];
} HttpWork;

typedef struct NetTag {  // what the poller hands back
    bool is_listener, is_pg;
    int64_t went_ns;  // when it was read last
} NetTag;

struct NetConn {
    NetTag tag;  // first, so that a tag is a connection
    uint8_t state;
    bool paused;      // message() returned false
    bool peer_ended;  // it will not send any more
    bool watch_read, watch_write, is_watched;
    bool out_stuck;  // the socket took less than we had
    bool is_prompt;  // its turn comes before the others': who uses the loop says so
    bool is_light;   // … and order.c, when it was read last
    bool has_moved;  // to this loop, whose handler does not know yet
    bool yields;     // WS: its time was over, and whole frames may be in `in`
    bool stream_chunked, stream_bodyless, keep_alive;
    bool close_sent, close_seen;
    bool pong_owed;   // our last ping is not answered yet
    bool ws_failed;   // what the peer still sends cannot be understood
    bool was_slow;    // it left more unread than it may
    bool lingers;     // DRAINING: the peer may still be sending, so wait for its end
    bool pg_named;    // its messages have a name
    bool pg_encrypt;  // once what is queued has left
    NetTls *pg_tls;   // that it may ask for; NULL: none
    bool wants_room;
    uint32_t pg_bytes_max;  // of a message
    size_t room_bytes;      // queued at most, to be called room
    int socket;
    Tls *tls;  // NULL: plain
    NetLoop *loop;
    void *data;
    NetConn *inbox_next;  // on its way to another loop
    NetLoop *move_to;
    NetLink in_all;    // loop->all, ->dead or ->moving
    NetLink in_ready;  // loop->ready: has something to do without its socket
    NetLink in_dirty;  // loop->dirty or ->urgent: has something to send
    NetLink in_timer;  // a slot of the wheel
    int64_t timer_tick;
    Buf in;        // input that is not finished; HTTP: from the request's first byte
    size_t in_at;  // WS: in.ptr[0, in_at) is done with
    size_t need;   // WS: the frame at the front has so many bytes in all, if known
    OutQueue out;
    HttpWork *work;
    WsReader ws;
    Recent use;          // of the loop's time, in nanoseconds
    uint16_t address;    // HTTP: among those to whom it is charged
    int64_t adopted_ns;  // by this loop
    Micros active_at;    // something last arrived, or left
    Micros deadline;     // of the request, the draining or the closing
    Micros ping_at;      // WS: when the next ping is due
    uint64_t drained_bytes;
    size_t out_messages_max, out_bytes_max;  // of its queue; 0: the loop's
    const char *why;                         // static; why it ended
    char peer[56];
};

typedef struct NetListener {
    NetTag tag;
    int socket;
    NetTls *tls;  // not ours; NULL: plain
    bool is_watched;
} NetListener;

#define NET_LISTENERS_MAX 8
#define NET_READ_BYTES    (64 * 1024)           // one read, so that a flood waits its turn
#define NET_SCRATCH_BYTES (2 * NET_READ_BYTES)  // what was left over, and one read
#define NET_EVENTS_MAX    1024
#define NET_HASTY_NS      40000             // of reading, and of writing, in a hasty turn
#define NET_GO_NS         200000            // of reading one connection, in another
#define NET_ADDRESSES     1024              // a power of two; more than that share
#define NET_TICK          ((Micros)100000)  // timers are this coarse
#define NET_WHEEL_SLOTS   512               // a power of two

struct NetLoop {
    const Io *io;
    NetLimits limits;
    NetHandler handler;
    IoPoller *poller;
    NetListener listeners[NET_LISTENERS_MAX];
    uint32_t listener_count;
    Micros accept_again_at;  // after the process ran out of sockets
    NetLink all, ready, dirty, dead, moving;
    NetLink urgent;          // dirty, and prompt
    bool is_hasty;           // net_set_hasty
    bool others_wait;        // for the next turn: in this one somebody was first
    Recent most_use;         // of the connection, or address, that has most
    Recent most_http_use;    // of the connection of HTTP that has most
    Recent new_use;          // of those that are new, together
    int64_t looked_ns;       // at the clock: the last go began or ended
    int64_t go_until_ns;     // of the one that goes on
    int64_t light_until_ns;  // until then a light one is about
    uint32_t conn_count;
    _Atomic(NetConn *) inbox;  // a stack: pushed by other threads, taken whole by ours
    NetLink wheel[NET_WHEEL_SLOTS];
    int64_t tick;  // the slot that is due next
    Micros now;    // monotonic, of this turn
    char date[30];
    int64_t date_second;
    NetStats stats;
    uint64_t address_salt;
    Recent address_use[NET_ADDRESSES];
    IoEvent events[NET_EVENTS_MAX];
    uint8_t scratch[NET_SCRATCH_BYTES];
};

// Write what it has in the next flush.
static inline void conn_dirty(NetConn *conn) {
    if (!link_is_alone(&conn->in_dirty)) return;
    bool first = conn->is_prompt || conn->is_light;
    link_append(first ? &conn->loop->urgent : &conn->loop->dirty, &conn->in_dirty);
}

// loop.c
int64_t loop_clock_ns(const NetLoop *loop);      // monotonic
void conn_ready(NetConn *conn);                  // run conn_run in this turn or the next
void conn_timer(NetConn *conn);                  // the next deadline may have come closer
void conn_kill(NetConn *conn, const char *why);  // idempotent; memory stays until the reaping
void conn_watch(NetConn *conn);                  // tell the poller what we wait for now

void accept_some(NetLoop *loop, NetListener *listener);
void event_run(const IoEvent *event);  // of a connection

// order.c
void order_address(NetConn *conn);         // it has come, from its peer
void order_run(NetLoop *loop, int count);  // those that are ready, and so many events
bool order_is_hasty(const NetLoop *loop);
bool order_go_is_over(const NetLoop *loop);  // what is left waits for the connection's next go

// conn.c
NetConn *conn_new(NetLoop *loop, int socket, const char *peer);
void conn_free(NetConn **conn);
void conn_readable(NetConn *conn);
void conn_run(NetConn *conn);  // whatever needs no socket: buffered input, ends of answers
void conn_refuse(NetConn *conn, int status, const char *why);  // answer, then drain and close
bool conn_wants_read(const NetConn *conn);
// More has arrived than was read, and no event will tell: TLS has it.
bool conn_has_unread(const NetConn *conn);
Micros conn_deadline(const NetConn *conn);  // INT64_MAX: none
void conn_expire(NetConn *conn);            // do what is due

// out.c
bool out_push(NetConn *conn, NetFrame *frame);  // consumes the reference, also on failure
bool out_push_urgent(NetConn *conn,
                     NetFrame *frame);           // before messages that have not begun to leave
void out_clear(OutQueue *out, bool keep_begun);  // keep a frame that is half sent
void conn_write(NetConn *conn);
void drain_answered(NetConn *conn);  // DRAINING, and all that was queued has left
NetFrame *frame_new(size_t bytes);
NetFrame *frame_control(WsOpcode opcode, Bytes payload);
bool conn_cut_slow(NetConn *conn);  // always false: nothing was queued
void ws_close_begin(NetConn *conn, uint16_t code, Bytes reason, bool discard_queue);

void drain_begin(NetConn *conn);  // on with what is queued, then close
bool read_append(NetConn *conn);  // one read to the end of conn->in; false: nothing new

// pg.c
void pg_open(NetConn *conn, NetTls *tls);
void pg_readable(NetConn *conn);
void pg_run(NetConn *conn);
bool pg_wants_read(const NetConn *conn);
Micros pg_deadline(const NetConn *conn);
void pg_written(NetConn *conn);  // something has left

// answer.c
void answer_finish(NetConn *conn);  // the request is over: on to the next one, or close
