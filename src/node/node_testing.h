// node_testing.h: a whole server in this process, driven through sockets, with an engine of ours in place
// of the real ones: modules are C functions here, so that ThreadSanitizer sees everything that runs.
//
// The functions of host.h are defined in node_testing.c, which is linked with the tests that want them and
// is no part of the library; the linker then takes nothing of host/.
//
// The module: a table counter (id, value); reducers add(id), slow_add(id, µs), for_ever, later(id: as add, in
// a while), fill(count), clear; procedures deposit(id, µs), nap(ms); the view total of all counters; a handler.
#pragma once
#include <pthread.h>
#include <stdatomic.h>

#include "node/node.h"

typedef struct World {
    const Io *io;  // NULL: the real one, and nothing on disk
    char dir[64];
    Node *node;
    uint16_t port;
} World;

enum { PACE = 1000000 };  // the counter that says for how many µs the view computes
enum { VERSIONS = 8 };    // of the module
enum { MESSAGE_REDUCER = 6, MESSAGE_PROCEDURE = 7 };

int64_t now_ns(void);  // monotonic
void world_start(World *world);
void world_start_again(World *world);  // on the data that is there
void world_end(World *world);
// The module as database `d`. Each version has one table more than the one before. Gives the status.
int publish(const World *world, uint32_t version);
uint64_t counter(const World *world, uint32_t id);
int sql(const World *world, const char *text);          // as the owner; gives the status
uint64_t metric(const World *world, const char *name);  // UINT64_MAX: there is none

typedef struct Client {
    int socket;
    uint8_t in[1 << 18];
    size_t len;
} Client;

void client_connect(Client *c, uint16_t port);
bool client_send(Client *c, Bytes bytes);
bool client_more(Client *c);  // waits for something; false: the connection is over
void client_drop(Client *c, size_t bytes);
// One request; gives the status, and the body in *body.
int http(uint16_t port, const char *head, Bytes sent, Buf *body);
void ws_open(Client *c, uint16_t port);
// The next message (its kind and what follows it); false: the connection is over.
bool ws_next(Client *c, Buf *message);
// Call a reducer (kind 3) or procedure (kind 4) with words as arguments.
bool ws_call(Client *c, uint8_t kind, uint32_t request, const char *name, int n, ...);
// Wait for a result; 1: it succeeded, 0: it did not, -1: the connection is over.
int ws_result(Client *c);

// Transactions of procedures that had the database to themselves, so that all waited for them, on a thread that
// leaves its core to anybody.
extern atomic_uint idle_alone;

// A client on a thread of its own that makes so many calls, one after another.
typedef struct Worker {
    pthread_t thread;
    const World *world;
    uint8_t kind;
    const char *name;
    uint32_t id, us, count;
    uint32_t succeeded;
} Worker;
extern atomic_bool workers_stop;  // before they have made all their calls
void workers_start(Worker *workers, size_t count, const World *world);
void workers_join(Worker *workers, size_t count);
