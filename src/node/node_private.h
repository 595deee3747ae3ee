// node_private.h: inside of node.h, shared by the files of this room.
#pragma once
#include "node/database.h"
#include "node/loop.h"
#include "node/node.h"
#include "node/worker.h"
#include "os/pulse.h"

struct Node {
    NodeOptions options;
    Settings defaults;  // of every database
    const Io *io;
    Auth *auth;
    NetTls *tls;  // NULL: in the clear
    struct Oidc *oidc;
    Control *control;
    IoFile *lock;
    WorkerPool *workers;  // NULL in a trial (database_try_init): nothing leaves the loop
    WorkerPool *makers;   // of instances (instance.h): loops wait for those
    Pulse *pulse;         // NULL: there is none
    char data_dir[IO_PATH_MAX];
    char cache_dir[IO_PATH_MAX];  // of compiled modules (host.h); may be deleted at any time
    uint16_t port, pg_port;
    Micros started;

    pthread_mutex_t mutex;  // guards what follows
    NodeLoop **loops;       // [0] is the front loop; the others own databases
    uint32_t loop_count;
    // Which loop has which database open, or is opening it. Looked up by every loop.
    // A place is held by the database's record (from its creation to its deletion, even when it
    // could not be opened) and by every publish in flight, so that all of them meet on one loop.
    struct NodePlace {
        Identity identity;
        NodeLoop *loop;
        uint32_t holds;
    } * places;
    uint32_t place_count, place_cap;
    uint32_t jobs;        // publishes in flight
    bool is_stopping;     // no job begins and no loop is made any more
    pthread_cond_t idle;  // the last job has ended
};

// Hold the place of a database; one without a place gets one. NULL: out of memory or stopping.
NodeLoop *node_place(Node *node, const Identity *identity);
void node_unplace(Node *node, const Identity *identity);  // end one hold
// The loop that owns a database; NULL when it has no place.
NodeLoop *node_find_place(Node *node, const Identity *identity);
Micros node_now(const Node *node);
// Where compiled modules are kept; NULL: this server writes nothing to disk.
static inline const char *node_cache_dir(const Node *node) {
    return node->options.in_memory ? NULL : node->cache_dir;
}

// An open database of this loop; NULL when it is not open here.
Database *loop_database(NodeLoop *loop, const Identity *identity);

// Answer in the name of a caller: adds the spacetime-identity headers (http §1.4) and CORS.
void routes_respond_as(NetConn *conn,
                       const Identity *identity,
                       Str token,
                       int status,
                       const HttpHeader *headers,
                       uint32_t header_count,
                       Str content_type,
                       Bytes body);
// The same with a body that was made elsewhere (net.h: http_respond_frame).
void routes_respond_frame_as(NetConn *conn,
                             const Identity *identity,
                             Str token,
                             int status,
                             const HttpHeader *headers,
                             uint32_t header_count,
                             Str content_type,
                             NetFrame *frame);
NetHandler routes_handler(NodeLoop *loop);
