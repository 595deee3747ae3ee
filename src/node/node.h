// node.h: one server process: its databases, its loops, its HTTP API.
//
// PICTURE
//   Node ── Control (which databases, their names and owners)
//        ── Auth (keys)
//        ── NodeLoop 0 (front)  accepts, answers what concerns no database, moves the rest
//        ── NodeLoop 1…         each a thread owning databases and the sockets of their clients
//             Database ── Db (tables, log) ── Live (subscriptions) ── HostInstance (the module)
//                      ── Sessions (one a client) ── Schedule ── ModuleLog
//
// ALWAYS TRUE
//   (1) A Database and everything below it is touched by its loop's thread only; other threads post
//       it a LoopTask.
//   (2) Nothing that depends on a commit leaves before the log's sync of its turn (loop.c).
//
// START AT  loop.c (a turn), session.c (what a client may ask), README.md.
#pragma once
#include "auth/auth.h"
#include "net/net.h"
#include "node/control.h"
#include "node/outbound.h"
#include "node/settings.h"

typedef struct Node Node;

#define SLICE_OFF  (-1)
#define SLICE_NONE 1  // µs: no reducer is even tried on the loop

typedef struct NodeOptions {
    const Io *io;
    const char *data_dir;
    const char *host;
    uint16_t port;        // 0: a free one
    bool pg;              // PostgreSQL's protocol is spoken too …
    const char *pg_host;  // … here; NULL: `host`
    uint16_t pg_port;     // 0: a free one
    const char *key_dir;  // NULL: data_dir/keys
    const char *private_key_path, *public_key_path;
    AuthIssuers issuers;             // whose tokens are accepted besides our own
    const char *static_dir;          // files served at /; NULL: none
    const char *tls_cert, *tls_key;  // PEM files; NULL, both: in the clear
    bool in_memory;
    uint32_t loops_max;        // database loops; 0: 64
    Micros deadline;           // of one reducer or view; 0: 10 s
    bool view_failure_aborts;  // a view that fails undoes the transaction that made it run
    // Two lanes (lane.h). A reducer that needs more than its slice goes on beside the others.
    Micros slice;       // 0: 2 ms; SLICE_OFF: everything runs on the loop; SLICE_NONE: nothing does
    Micros cold_slice;  // of a reducer that is new to its instance of the module; 0: 50 ms
    Micros exclusive;   // a reducer that keeps conflicting has the head so long; 0: 1 s
    Micros procedure_deadline;     // of a procedure, waiting not counted; 0: 60 s
    Micros procedure_exclusive;    // a procedure's transaction after a conflict; 0: 250 ms
    OutboundAccess outbound;       // HTTP requests of modules
    size_t outbound_response_max;  // bytes of a response's body; 0: 64 MiB
    size_t memory_max;             // pages of one database in memory; 0: no limit
    uint64_t checkpoint_bytes;     // of log between two checkpoints (txn/db.h); 0: 64 MiB
    uint64_t checkpoint_rate;      // bytes a second that one writes at most; 0: 64 MiB
    LogKeep log_keep;              // of the log, although a checkpoint covers it
    NetLimits limits;
    Settings settings;  // those whose `own` bit is set, for databases whose owners say nothing else
} NodeOptions;

// Start everything: databases are open and the socket listens when it returns.
MUST_USE Err node_start(const NodeOptions *options, Node **out, Diag *diag);
uint16_t node_port(const Node *node);
uint16_t node_pg_port(const Node *node);  // 0: it is not spoken
// Read the certificate again, if there is one. ERR_INVALID: the old one stays.
MUST_USE Err node_reload(Node *node, Diag *diag);
// Stop: clients get 1001, logs are flushed, threads joined.
void node_stop(Node **node);

// The `start` command: parse arguments, run until SIGINT or SIGTERM. Returns the exit code.
int node_start_command(int argc, char **argv);
