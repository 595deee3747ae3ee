// loop.c: the turn.
//
//   net_turn       read every ready socket: parse, authenticate, bound-check; messages go to inboxes
//   tasks          what other threads handed over (publish, stop)
//   database_turn  for each database with work: run calls round-robin, one log batch, one sync, then
//                  everything that was waiting for it goes to the sockets' queues
//   net_flush      one writev a socket
//
// A turn is a function, so a simulation can simply call it. The thread sleeps in net_turn until a
// socket, a task or a schedule wants it.
#include "node/loop.h"

#include <sched.h>

#include "base/log.h"
#include "base/mem.h"
#include "node/mend.h"
#include "node/node_private.h"
#include "os/thread.h"

#define IDLE_WAIT_US 1000000  // the longest sleep: a wall clock that jumps is noticed by then

Err loop_init(NodeLoop *loop, Node *node, uint32_t number, const NetHandler *handler, Diag *diag) {
    loop->node = node;
    loop->number = number;
    Err err = net_open(node->io, &node->options.limits, handler, &loop->net);
    return err == OK ? OK : diag_fail(diag, err, "cannot start a loop: %s", io_last_error_text());
}

void loop_deinit(NodeLoop *loop) {
    // A task may have been the last thing that node_stop waited for, and whoever posted it is on his way.
    while (atomic_load_explicit(&loop->posting, memory_order_acquire)) {
        sched_yield();
    }
    if (loop->net) net_close(&loop->net);
}

void loop_post(NodeLoop *loop, LoopTask *task) {
    atomic_fetch_add_explicit(&loop->posting, 1, memory_order_relaxed);
    LoopTask *newest = atomic_load_explicit(&loop->tasks, memory_order_relaxed);
    do {
        task->next = newest;
    } while (!atomic_compare_exchange_weak_explicit(&loop->tasks,
                                                    &newest,
                                                    task,
                                                    memory_order_release,
                                                    memory_order_relaxed));
    net_wake(loop->net);
    atomic_fetch_sub_explicit(&loop->posting, 1, memory_order_release);
}

// Tasks run in the order in which they were posted.
bool loop_tasks_run(NodeLoop *loop) {
    LoopTask *newest = atomic_exchange_explicit(&loop->tasks, NULL, memory_order_acquire);
    bool any = newest != NULL;
    LoopTask *oldest = NULL;
    while (newest) {
        LoopTask *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest) {
        LoopTask *task = oldest;
        oldest = task->next;
        task->run(task, loop);
    }
    return any;
}

static int64_t wait_us(const NodeLoop *loop) {
    const Io *io = loop->node->io;
    int64_t now = io->clock_monotonic_ns(io->world), until = now + (int64_t)IDLE_WAIT_US * 1000;
    for (const Database *db = loop->databases; db; db = db->next) {
        if (database_has_work(db)) return 0;
        until = MIN(until, database_next_due_ns(db));
    }
    return until <= now ? 0 : (until - now + 999) / 1000;
}

static bool is_hasty(const NodeLoop *loop) {
    for (const Database *db = loop->databases; db; db = db->next) {
        if (database_has_sparse(db)) return true;
    }
    return false;
}

static void loop_turn(NodeLoop *loop) {
    Err err = net_turn(loop->net, wait_us(loop));
    if (err != OK)
        log_error("loop %u: waiting for sockets failed: %s", loop->number, io_last_error_text());
    loop_tasks_run(loop);
    for (Database *db = loop->databases, *next; db; db = next) {
        next = db->next;
        database_turn(db);
        mend_after_turn(loop, db);
    }
    net_set_hasty(loop->net, is_hasty(loop));
    net_flush(loop->net);
}

static void databases_close(NodeLoop *loop) {
    while (loop->databases) {
        Database *db = loop->databases;
        loop->databases = db->next;
        database_close(&db, "module exited", false);
    }
}

static void *loop_main(void *arg) {
    NodeLoop *loop = arg;
    thread_become("loop", THREAD_PROMPT);
    const Io *io = loop->node->io;
    PulseMeter meter;
    pulse_meter_open(&meter, io->clock_monotonic_ns(io->world));
    while (!atomic_load_explicit(&loop->stopping, memory_order_acquire)) {
        loop_turn(loop);
        pulse_feel(loop->node->pulse, &meter, io->clock_monotonic_ns(io->world));
    }
    pulse_meter_close(&meter);
    loop_tasks_run(loop);
    databases_close(loop);
    net_flush(loop->net);
    return NULL;
}

Err loop_start(NodeLoop *loop, Diag *diag) {
    if (pthread_create(&loop->thread, NULL, loop_main, loop) != 0)
        return diag_fail(diag, ERR_NOMEM, "cannot start a thread");
    loop->thread_started = true;
    return OK;
}

void loop_stop(NodeLoop *loop) {
    if (!loop->thread_started) return;
    atomic_store_explicit(&loop->stopping, true, memory_order_release);
    net_wake(loop->net);
    pthread_join(loop->thread, NULL);
    loop->thread_started = false;
}

Database *loop_database(NodeLoop *loop, const Identity *identity) {
    for (Database *db = loop->databases; db; db = db->next) {
        if (identity_eq(&db->identity, identity)) return db;
    }
    return NULL;
}
