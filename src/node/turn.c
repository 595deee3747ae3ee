// turn.c: one turn of a database: run calls, give the log its batch, let leave what it covers.
//
//   turn k     calls ─ batch k ──> disk ┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┐ landed
//   turn k+1                        calls ┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄ answers of k leave ─ batch k+1 ──> disk
//
// While there is more to do, a batch is synced beside the next turn. When there is not (a turn that took
// long has the sockets read once more, to know), the turn syncs itself: handing the sync to another thread
// and being woken by it would only add to what the one who waits has to wait for.
//
// Somebody who asks for little (sparse, in fair.h) beside others who always have something to do must not
// wait for what these want next. When all such have been served, the turn ends as soon as the log could
// take its batch, and again as soon as that has landed; and their batch is synced here if that has been
// quicker, as it is where the cores are busy and a thread that is woken has to wait for one. When such a one has
// been answered and mostly asks again at once, the next batch waits for that (expect.h).
//
// ALWAYS TRUE
//   (1) What a confirmed session says leaves when the log covers everything committed before it was
//       said. One batch is in flight at most; `sealed` is what waits for it, `dirty` for the next.
//   (2) When a batch is lost, nothing that was sealed or said after it has left (database_fail).
#include "base/log.h"
#include "node/backup.h"
#include "node/commit.h"
#include "node/lane.h"
#include "node/resume.h"
#include "node/session_private.h"
#include "os/thread.h"

// A loop that is set aside by the machine in the middle of a call cannot know it without asking, which costs as
// much as a short call. So it asks when a call seems to have taken longer than nearly all do.
#define AWAY_LOOK_NS 200000

// From then on a turn ends as soon as the log could take its batch, and sooner while somebody is about who asks
// for little; Settings.turn is the longest that it runs calls, and so holds answers back for the sake of a
// larger batch.
#define TURN_SHORT_NS  1000000
#define TURN_SPARSE_NS 30000
// While such a one is expected to ask, it ends after this, log or not: the sockets are to be looked at.
#define TURN_EXPECTING_NS 20000
// … whether it could is asked so often, not at every call.
#define LOG_ASK_NS 10000
// Of a turn that took so long, clients have read and written meanwhile: before the loop sits down to wait
// for the disk it looks whether there is more to do.
#define TURN_ASKS_NS 100000
// A disk that is so far behind is waited for. More than what one transaction writes that was made ready
// beside the loop, as a rule.
#define BATCH_WAITING_BYTES_MAX (256u << 20)
// A batch that the disk takes long for is synced beside the loop even if nobody wants it just now: somebody
// may, before it has landed.
#define BATCH_LARGE_BYTES (1u << 20)

// ── when there is something to do ─────────────────────────────────────────────────────────────

static bool schedule_due(const Database *db) {
    return db->has_schedules && schedule_next_due(db->schedule) <= node_now(db->loop->node);
}

static Micros views_due(const Database *db) {
    if (views_crowded(db->views)) return 0;
    return views_any(db->views) ? db->views_checked + VIEWS_KEEP_US : INT64_MAX;
}

static int64_t clock_ns(const Database *db) {
    const Io *io = db->loop->node->io;
    return io->clock_monotonic_ns(io->world);
}

bool database_expects(const Database *db) {
    return db->expect.until_ns && expect_is_on(&db->expect, clock_ns(db));
}

bool database_has_work(const Database *db) {
    // What has to wait for an instance of the module is no work for now.
    if (fair_any_ready(&db->fair) && !db->failed && db->instance) return true;
    if (db->has_asked) return true;  // its batch may have been made by somebody who says nothing
    // What is said while a batch is in flight waits for it, and so do we.
    bool may_leave = db->failed || !db_flush_in_flight(db->db);
    return may_leave && (db->dirty || db->sealed) && !database_expects(db);
}

static int64_t calls_due_ns(const Database *db) {
    // One that failed runs nothing: what is due stays due, and must not keep the loop awake.
    if (db->failed) return INT64_MAX;
    if (db->read_only != OK) return db->mend_ns;
    if (!db->instance) return db->mend_wake_ns;
    Micros due = views_due(db), wall = node_now(db->loop->node);
    int64_t parked = fair_next_due_ns(&db->fair);
    if (db->has_schedules) due = MIN(due, schedule_next_due(db->schedule));
    if (due == INT64_MAX) return parked;
    int64_t now = clock_ns(db);
    if (due <= wall) return now;  // compared first: a module may ask for any instant there is
    Micros wait = due - wall;
    return wait > INT64_MAX / 2000 ? parked : MIN(parked, now + wait * 1000);
}

int64_t database_next_due_ns(const Database *db) {
    int64_t due = calls_due_ns(db);
    if (database_expects(db)) due = MIN(due, db->expect.until_ns);
    return db->failed || db->read_only != OK ? due : MIN(due, resume_next_due_ns(db));
}

// ── the turn ──────────────────────────────────────────────────────────────────────────────────

int64_t database_snapshot_age_ns(const Database *db) {
    const Io *io = db->loop->node->io;
    int64_t taken_ns = store_stats(db_store(db->db)).snapshot_oldest_ns;
    return taken_ns ? io->clock_monotonic_ns(io->world) - taken_ns : 0;
}

#define SNAPSHOT_OLD_NS 60000000000ll

// What a snapshot can see stays in memory, so one that is held for long is worth a line.
static void snapshots_notice(Database *db) {
    int64_t age = database_snapshot_age_ns(db);
    if (age < SNAPSHOT_OLD_NS) return;
    const Io *io = db->loop->node->io;
    int64_t now = io->clock_monotonic_ns(io->world);
    if (now < db->snapshots_noticed_ns + SNAPSHOT_OLD_NS) return;
    db->snapshots_noticed_ns = now;
    log_warn("%s: something has been reading, or running beside the others, for %lld s: what was "
             "changed since is kept for it, %llu bytes",
             db->dir,
             (long long)(age / 1000000000),
             (unsigned long long)store_stats(db_store(db->db)).snapshot_bytes);
}

// Between turns nothing is borrowed from the tables: memory may go, a checkpoint may begin or end.
static void rest(Database *db) {
    if (!db->failed && !db_in_transaction(db->db)) db_checkpoint_tick(db->db);
    backups_tick(db);
    store_breathe(db_store(db->db));
    snapshots_notice(db);
}

// What was in flight may have landed. True: nothing is in flight.
static bool log_is_free(Database *db, bool wait) {
    if (db->read_only != OK || db->failed || !db_flush_in_flight(db->db)) return true;
    Diag diag;
    diag_clear(&diag);
    if (db_flush_poll(db->db, wait, &diag) != OK) database_fail(db, &diag);
    bool landed = !db->failed && !db_flush_in_flight(db->db);
    // Only where it is looked for often enough.
    if (landed && db->hurried_sealed) {
        int64_t took_ns = clock_ns(db) - db->sync_began_ns;
        expect_window(&db->expect, syncway_beside_took(&db->sync_way, took_ns));
    }
    return db->failed || landed;
}

// Who asked a moment ago is likely to ask again, and would have to wait for what is in flight then. Where
// that takes many times longer, "a moment" is longer too.
#define SPARSE_WITHIN_NS      5000000
#define SPARSE_WITHIN_BUSY_NS 100000000

static bool sparse_are_about(const Database *db, int64_t now_ns) {
    int64_t within_ns = syncway_is_busy(&db->sync_way) ? SPARSE_WITHIN_BUSY_NS : SPARSE_WITHIN_NS;
    return fair_sparse_within(&db->fair, within_ns, now_ns);
}

bool database_has_sparse(const Database *db) {
    return sparse_are_about(db, clock_ns(db));
}

// Somebody's answer is ready, as far as we are concerned.
static bool is_hurried(Database *db) {
    return (db->hurried || db->hurried_sealed) && log_is_free(db, false);
}

// The machine's clock goes on while it runs somebody else; what the loop has used of it does not.
int64_t turn_away_ns(Database *db, int64_t now_ns) {
    int64_t used_ns = thread_cpu_ns();
    int64_t away_ns = now_ns - db->looked_ns - (used_ns - db->looked_cpu_ns);
    db->looked_ns = now_ns;
    db->looked_cpu_ns = used_ns;
    away_ns = MAX(away_ns, 0);
    fair_excuse(&db->fair, away_ns);
    db->counters.away_ns += (uint64_t)away_ns;
    return away_ns;
}

void turn_call_over(Database *db, int64_t now_ns) {
    if (now_ns - db->fair.served_since_ns > AWAY_LOOK_NS) (void)turn_away_ns(db, now_ns);
}

bool turn_is_over(Database *db, int64_t now_ns) {
    int64_t ran_ns = now_ns - db->turn_began_ns;
    if (ran_ns >= db->settings.turn * 1000) return true;
    if (fair_any_sparse_ready(&db->fair))
        return false;  // it is for their sake that a turn is short
    if (is_hurried(db)) {
        db->counters.hurried++;
        return true;
    }
    if (ran_ns >= TURN_EXPECTING_NS && expect_is_on(&db->expect, now_ns)) return true;
    if (ran_ns < TURN_SPARSE_NS || now_ns < db->log_asked_ns + LOG_ASK_NS) return false;
    db->log_asked_ns = now_ns;
    if (ran_ns < TURN_SHORT_NS && !sparse_are_about(db, now_ns)) return false;
    return log_is_free(db, false);
}

// Commits wait for the log, which is free. True: their batch is in flight.
static bool batch_send(Database *db) {
    Diag diag = {0};
    bool large = log_pending(db_log(db->db)) > BATCH_LARGE_BYTES;
    bool beside = large || fair_any_ready(&db->fair);
    if (beside && !large && database_has_sparse(db) && syncway_is_here(&db->sync_way)) {
        db->counters.syncs_here_hurried++;
        beside = false;
    }
    Err err = OK;
    db->holds_batch = false;
    db->counters.flushes++;
    if (beside) {
        session_seal(db);
        db->sync_began_ns = clock_ns(db);
        err = db_flush_start(db->db, &diag);
    } else {
        net_flush(db->loop->net);  // what may leave already does not wait for this
        int64_t began_ns = clock_ns(db);
        err = db_flush(db->db, &diag);
        if (db->hurried)
            expect_window(&db->expect, syncway_here_took(&db->sync_way, clock_ns(db) - began_ns));
    }
    if (err != OK) database_fail(db, &diag);
    return beside && err == OK;
}

// Nothing is known to be left to do; but what came since the sockets were read last is not known.
static bool asks_first(const Database *db) {
    if (fair_any_ready(&db->fair) || db->hurried || database_has_sparse(db)) return false;
    return clock_ns(db) - db->turn_began_ns >= TURN_ASKS_NS;
}

// Somebody is about to ask, whose call should be in the batch (expect.h).
static bool batch_is_held(Database *db) {
    if (!database_expects(db)) return false;
    if (!db->holds_batch) db->counters.batches_held++;
    db->holds_batch = true;
    return true;
}

static void let_leave(Database *db, bool may_ask) {
    session_deliver(db, false);
    if (!log_is_free(db, log_pending(db_log(db->db)) > BATCH_WAITING_BYTES_MAX)) return;
    session_deliver_sealed(db);
    if (!db->failed && db_needs_flush(db->db)) {
        if (batch_is_held(db)) return;
        db->has_asked = may_ask && asks_first(db);
        if (db->has_asked || batch_send(db)) return;
    }
    session_deliver_sealed(db);  // of a batch that could not be sent: these are closed
    session_deliver(db, true);
}

// A call that is torn out of its instance ends that, not the turn: those behind it go on in another.
static void module_run(Database *db) {
    HostSource source = {.ctx = db, .next = session_next_call, .done = session_done};
    do {
        host_run(db->instance->host, &source);
    } while (!host_instance_ok(db->instance->host) && database_mend(db, false));
    commit_settle(db);
    bool wants_reserve = db->lanes && db->instance && db->instance->is_used;
    if (wants_reserve && !host_instances_are_cheap(db->program))
        reserve_want(lanes_module(db), db->loop);
}

static void calls_run(Database *db) {
    const Io *io = db->loop->node->io;
    db->counters.turns++;
    arena_reset(&db->turn_arena);
    db->turn_began_ns = io->clock_monotonic_ns(io->world);
    db->turn_began = node_now(db->loop->node);
    db->looked_ns = db->turn_began_ns;
    db->looked_cpu_ns = thread_cpu_ns();
    views_set_now(db->views, db->turn_began);
    if (db->failed || !database_mend(db, false)) return;
    fair_turn_begin(&db->fair);
    module_run(db);
    int64_t now_ns = io->clock_monotonic_ns(io->world);
    turn_call_over(db, now_ns);
    fair_turn_end(&db->fair, now_ns);
}

void database_turn(Database *db) {
    bool is_due = schedule_due(db) || views_due(db) <= node_now(db->loop->node);
    if (!db->failed && is_due) session_ready(db->system);
    if (!db->failed && db->fair.heap_count) {
        const Io *io = db->loop->node->io;
        fair_wake(&db->fair, io->clock_monotonic_ns(io->world));
    }
    (void)log_is_free(db, false);
    resume_tick(db);
    if (!db->failed && !db->instance) (void)database_mend(db, false);
    if (db->has_asked) {  // the sockets were read: the batch starts now, and then what they brought
        db->has_asked = false;
        let_leave(db, false);
    }
    if (database_has_work(db)) {
        calls_run(db);
        let_leave(db, true);
        modulelog_flush(db->log);
    }
    read_landed(db);
    rest(db);
}
