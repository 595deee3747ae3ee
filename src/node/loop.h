// loop.h: one thread, its sockets and its databases; and how other threads reach it.
#pragma once
#include <pthread.h>
#include <stdatomic.h>

#include "net/net.h"
#include "node/node.h"

typedef struct Database Database;
typedef struct NodeLoop NodeLoop;

// Work handed to a loop's thread; run between turns, then freed by whoever owns it.
typedef struct LoopTask LoopTask;
struct LoopTask {
    LoopTask *next;
    void (*run)(LoopTask *task, NodeLoop *loop);
};

struct NodeLoop {
    Node *node;
    uint32_t number;  // 0 is the front loop
    NetLoop *net;
    pthread_t thread;
    bool thread_started;
    atomic_bool stopping;
    // A stack without a lock: whoever posts may be in the background, and the loop must not wait for
    // what such a thread holds until the machine has time for it (os/thread.h).
    _Atomic(LoopTask *) tasks;  // newest first
    atomic_uint posting;        // who is between his task and the wake-up for it
    Database *databases;        // owned by this loop's thread
    uint32_t database_count;    // guarded by the node's mutex
};

MUST_USE Err
loop_init(NodeLoop *loop, Node *node, uint32_t number, const NetHandler *handler, Diag *diag);
MUST_USE Err loop_start(NodeLoop *loop, Diag *diag);
void loop_stop(NodeLoop *loop);  // joins the thread; its databases are closed by then
void loop_deinit(NodeLoop *loop);
// Hand over a task; any thread. Runs even when the loop is stopping: node_stop runs what is left.
void loop_post(NodeLoop *loop, LoopTask *task);
// Run what was posted, on the loop's thread or when there is none. False: there was nothing.
bool loop_tasks_run(NodeLoop *loop);
