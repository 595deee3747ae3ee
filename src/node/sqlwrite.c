// sqlwrite.c: see sqlwrite.h.
//
// ALWAYS TRUE
//   (1) A statement is used by the loop, or by a worker that holds the call's guard: whoever changes the
//       schema shuts the guard first (lane.h), so the tables that it borrows outlive its use.
//   (2) Every try begins from nothing; what clients hear is what the try that was committed did.
#include "node/sqlwrite.h"

#include "base/mem.h"
#include "node/commit.h"
#include "node/session_private.h"

#define RETRIES_MAX 3

typedef struct SqlCall {
    LaneCall lane;
    Statement *statement;
    SqlWriteEnd end;
    uint32_t tries;
    Micros timestamp;
    // The worker's while it runs.
    StatementStats stats;
    Err err;
    Diag diag;
} SqlCall;

static SqlCall *call_of(const Session *s) {
    return CONTAINER_OF(s->lane, SqlCall, lane);
}

FairVerdict sqlwrite_admit(Session *s, char *text, size_t text_size) {
    return session_admit_rate(s, NULL, text, text_size);
}

static int64_t until(const Session *s, Micros patience) {
    const Io *io = s->database->loop->node->io;
    return io->clock_monotonic_ns(io->world) + patience * 1000;
}

// ── on the head ────────────────────────────────────────────────────────────────────────────────

static void committed(Session *s, Err err, const LiveUpdate *own) {
    SqlWriteEnd end = s->sql.end;
    Diag diag = {.at = DIAG_NOWHERE};
    (void)own;
    s->sql.end = NULL;
    end(s, err, &s->sql.stats, &diag);
}

static void refuse(Session *s, Err err, const Diag *diag, SqlWriteEnd end) {
    end(s, err, &(StatementStats){0}, diag);
}

// The transaction is open and did all it is to do.
static void commit(Session *s, const StatementStats *stats, SqlWriteEnd end) {
    s->sql.end = end;
    s->sql.stats = *stats;
    commit_start(s, false, committed);
}

static void write_here(Session *s,
                       const Statement *statement,
                       StatementPatience patience,
                       SqlWriteEnd end) {
    Database *db = s->database;
    StatementStats stats;
    Diag diag;
    session_transaction_begin(s, STR("<sql>"));
    Err err = statement_execute_within(statement, db->db, patience, &stats, &diag);
    if (err != OK) {
        db_rollback(db->db);
        refuse(s, err, &diag, end);
        return;
    }
    commit(s, &stats, end);
}

// ── beside the loop ────────────────────────────────────────────────────────────────────────────

static void call_destroy(LaneCall *lane) {
    SqlCall *c = CONTAINER_OF(lane, SqlCall, lane);
    lane_call_deinit(lane);
    statement_free(&c->statement);
    mem_free(c);
}

static void work(LaneCall *lane) {
    SqlCall *c = CONTAINER_OF(lane, SqlCall, lane);
    StatementPatience patience = {.stop = &lane->guard.shutting,
                                  .io = lane->loop->node->io,
                                  .until_ns = lane->host.budget_us};
    pthread_mutex_lock(&lane->guard.mutex);  // (1)
    lane->status = HOST_STOPPED;
    if (lane->guard.inner) {
        c->err =
            statement_execute_beside(c->statement, lane->overlay, patience, &c->stats, &c->diag);
        store_guard_lower();
        lane->status = c->err == OK ? HOST_OK : HOST_FATAL;
    }
    pthread_mutex_unlock(&lane->guard.mutex);
}

static Err enter(Session *s, Statement **statement, SqlWriteEnd end) {
    SqlCall *c = MEM_NEW(SqlCall);
    if (!c) return ERR_NOMEM;
    HostCall host = {.kind = HOST_REDUCER,
                     .sender = s->identity,
                     .connection = s->connection,
                     .timestamp = s->call_timestamp,
                     .args = BYTES("", 0)};
    c->lane.destroy = call_destroy;
    c->lane.work = work;
    c->statement = *statement;
    c->end = end;
    Err err = lane_call_init(&c->lane, LANE_REDUCER, s, &host);
    s->lane = &c->lane;
    if (err == OK) err = lane_enter(&c->lane, false);
    if (err != OK) {
        c->statement = NULL;  // it is still the caller's
        s->lane = NULL;
        lane_release(&c->lane);
        return err;
    }
    *statement = NULL;
    s->database->counters.slow_calls++;
    return OK;
}

// Leave the lane; what the call holds stays until lane_release.
static SqlCall *leave(Session *s) {
    SqlCall *c = call_of(s);
    lane_retain(&c->lane);
    lane_cancel(&c->lane);
    session_dirty(s);
    return c;
}

static void give_up(Session *s, Err err, const Diag *diag) {
    SqlCall *c = leave(s);
    Diag why = *diag;
    if (!why.text[0]) (void)diag_fail(&why, err, "%s", err_text(err));
    refuse(s, err, &why, c->end);
    lane_release(&c->lane);
}

static void try_begin(Session *s) {
    SqlCall *c = call_of(s);
    Diag diag = {.at = DIAG_NOWHERE};
    CommitInfo info = {.timestamp = c->lane.host.timestamp,
                       .caller = s->identity,
                       .connection = s->connection,
                       .name = STR("<sql>")};
    OverlayEnv env = lane_overlay_env(&c->lane);
    c->lane.may_launch = false;
    Err err = overlay_new(s->database->db, &info, &env, &c->lane.overlay);
    if (err != OK) {
        give_up(s, err, &diag);
        return;
    }
    if (c->tries++) s->database->counters.retries++;
    diag_clear(&c->diag);
    c->lane.host.budget_us = until(s, s->database->settings.deadline);
    lane_guard_open(&c->lane, overlay_access(c->lane.overlay));
    lane_launch(&c->lane);
}

// Others kept changing what it reads: nobody beside it, for a bounded time.
static void write_alone(Session *s) {
    SqlCall *c = leave(s);
    StatementPatience patience = {.io = s->database->loop->node->io,
                                  .until_ns = until(s, s->database->settings.exclusive)};
    s->database->counters.exclusive_runs++;
    write_here(s, c->statement, patience, c->end);
    lane_release(&c->lane);
}

static void ended(Session *s) {
    SqlCall *c = call_of(s);
    LaneCall *lane = &c->lane;
    Diag diag;
    diag_clear(&diag);
    lane_guard_shut(lane);
    Err err = c->err;
    if (lane->status == HOST_STOPPED) err = ERR_BUSY;
    if (lane->status == HOST_OK)
        err = lane_apply(lane, &diag);
    else
        lane_overlay_free(lane);
    if (err == OK) {
        s->call_timestamp = lane->host.timestamp;
        leave(s);
        commit(s, &c->stats, c->end);
        lane_release(lane);
    } else if (err != ERR_CONFLICT) {
        give_up(s, err, diag.text[0] ? &diag : &c->diag);
    } else {
        s->database->counters.conflicts++;
        if (c->tries > RETRIES_MAX)
            write_alone(s);
        else
            try_begin(s);
    }
}

void sqlwrite_step(Session *s) {
    LaneCall *lane = s->lane;
    if (lane->may_launch) {
        try_begin(s);
    } else if (lane->has_ended) {
        ended(s);
    } else if (lane_asked(lane) == ASK_RUN) {
        lane_serve_run(lane);
    }
}

void sqlwrite_interrupt(Session *s) {
    Diag diag = {.at = DIAG_NOWHERE};
    SqlCall *c = leave(s);
    refuse(s, ERR_AGAIN, &diag, c->end);
    lane_release(&c->lane);
    session_ready(s);
}

void sqlwrite_cancel(Session *s, const char *why) {
    Diag diag;
    (void)diag_fail(&diag, ERR_CLOSED, "%s", why);
    give_up(s, ERR_CLOSED, &diag);
}

void sqlwrite_begin(Session *s, Statement **statement, SqlWriteEnd end) {
    Database *db = s->database;
    Diag diag;
    diag_clear(&diag);
    s->call_timestamp = db->now;
    if (db->read_only != OK) {
        (void)diag_fail(&diag, db->read_only, "%s", db->read_only_why);
        refuse(s, db->read_only, &diag, end);
        statement_free(statement);
        return;
    }
    bool beside = db->lanes && db->settings.slice && statement_may_go_beside(*statement) &&
                  statement_cost(*statement, READ_COST_MAX) > READ_COST_MAX;
    if (beside) {
        Err err = enter(s, statement, end);
        if (err == OK) return;
        (void)diag_fail(&diag,
                        err,
                        "%s",
                        err == ERR_LIMIT
                            ? "the server is busy: too many slow calls wait in this database"
                            : err_text(err));
        refuse(s, err == ERR_LIMIT ? ERR_BUSY : err, &diag, end);
    } else {
        write_here(s, *statement, (StatementPatience){0}, end);
    }
    statement_free(statement);
}
