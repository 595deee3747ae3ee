#include "node/commit.h"

#include "node/instance.h"
#include "node/session_private.h"

// ── the end of a transaction ───────────────────────────────────────────────────────────────────

static void view_ended(void *ctx, View *view, const char *reason) {
    Database *db = ctx;
    live_view_ended(db->live, view, reason, session_subscription_dropped, db);
}

void commit_views_ended(Database *db, bool committed) {
    if (committed) {
        views_committed(db->views, view_ended, db);
    } else {
        views_rolled_back(db->views);
    }
}

static void end(Database *db, Err err) {
    CommitPending commit = db->commit;
    Tell *tell = db->tell;
    const WriteSet *writes;
    bool changed = false;
    const LiveUpdate *own = NULL;
    db->commit = (CommitPending){0};
    if (err == OK) {
        err = db_commit(db->db, &writes, &changed);
    } else {
        db_rollback(db->db);
    }
    // Who must stop listening is told before the rest hears what changed.
    commit_views_ended(db, err == OK);
    if (err == OK && changed) {
        database_publish(db, writes, commit.session, commit.own_part ? &own : NULL);
    }
    db->tell = NULL;
    viewlane_launch(db);
    commit.finish(commit.session, err, own);
    tell_over(&tell, db);
    commit.session->v1.cause = NULL;  // the turn's memory
}

void commit_start(Session *s, bool own_part, CommitFinish finish) {
    Database *db = s->database;
    ASSERT(!commit_pending(db));
    db->commit =
        (CommitPending){.session = s, .finish = finish, .own_part = own_part, .is_write = true};
    Err err = views_find_stale(db->views);
    if (err != OK || !views_waiting(db->views)) end(db, err);
}

void commit_views(Session *s, CommitFinish finish) {
    Database *db = s->database;
    ASSERT(!commit_pending(db) && views_waiting(db->views));
    session_transaction_begin(s, STR("<view>"));
    db->commit = (CommitPending){.session = s, .finish = finish};
}

bool commit_pending(const Database *db) {
    return db->commit.session != NULL;
}

// ── running views ──────────────────────────────────────────────────────────────────────────────

// What is late is not part of its cause's update, so the first runs, which say little, get more time.
#define COLD_FACTOR 10

// How long a view may run within a commit. Beyond that it is computed beside the loop, unless its
// failure has to undo the transaction, or there is no other place.
static Micros view_slice(const Database *db) {
    const Settings *set = &db->settings;
    bool beside = db->lanes && !set->view_failure_aborts && set->slice && set->view_slice;
    return beside ? MIN(set->view_slice, set->deadline) : set->deadline;
}

static bool next_view(Database *db, Micros budget, HostCall *call) {
    ViewRun run;
    Micros deadline = db->settings.deadline;
    if (!views_next(db->views, &run)) return false;
    *call = (HostCall){
        .kind = run.def->is_anonymous ? HOST_VIEW_ANON : HOST_VIEW,
        .id = run.def->index,
        .name = run.def->name,
        .sender = run.sender,
        .timestamp = db->now,
        .args = BYTES("", 0),
        .access = run.access,
        .budget_us = run.is_cold ? MIN(budget * COLD_FACTOR, deadline) : budget,
    };
    db->commit.view_alone = run.is_alone;
    if (run.is_alone) call->budget_us = MIN(db->settings.exclusive, deadline);
    return true;
}

// Why a view that ran has no result; in the turn's arena or static.
static Str failure_text(Database *db, const HostCall *call, const HostOutcome *outcome) {
    Str why = outcome->message;
    Str text;
    if (outcome->status == HOST_DEADLINE) {
        text = arena_printf(&db->turn_arena,
                            "view `" STR_FMT
                            "` was stopped: it ran longer than its deadline of %lld ms",
                            STR_ARG(call->name),
                            (long long)(call->budget_us / 1000));
    } else {
        text = arena_printf(&db->turn_arena,
                            "view `" STR_FMT "` failed: " STR_FMT,
                            STR_ARG(call->name),
                            STR_ARG(why));
    }
    return text.ptr ? text : STR("a view failed");
}

// Take the outcome. OK: there is a result. ERR_MODULE: there is none, and *reason, which is in the
// module's log by now, says why.
static Err view_outcome(Database *db,
                        const HostCall *call,
                        const HostOutcome *outcome,
                        Str *reason) {
    Diag diag;
    diag_clear(&diag);
    if (outcome->status != HOST_OK) {
        *reason = failure_text(db, call, outcome);
    } else if (views_returned(db->views, outcome->returned, &diag) != OK) {
        *reason = arena_str(&db->turn_arena, str_from(diag.text));
        if (!reason->ptr) *reason = STR("a view failed");
    } else {
        return OK;
    }
    database_log_record(db, 0, call->name, *reason, call->timestamp);
    return ERR_MODULE;
}

bool commit_step(Database *db, HostCall *call) {
    if (next_view(db, view_slice(db), call)) return true;
    end(db, OK);
    return false;
}

void commit_call_done(Database *db, const HostCall *call, const HostOutcome *outcome) {
    Str reason;
    bool sliced = call->budget_us < db->settings.deadline && !db->commit.view_alone;
    if (sliced && outcome->status == HOST_DEADLINE) {
        views_defer(db->views);
    } else if (view_outcome(db, call, outcome, &reason) != OK) {
        views_failed(db->views, reason);
        if (db->commit.is_write && db->settings.view_failure_aborts) {
            end(db, ERR_MODULE);
            return;
        }
    }
    if (!views_waiting(db->views)) end(db, OK);
}

void commit_view_alone(Session *s, View *view, CommitFinish finish) {
    Database *db = s->database;
    ASSERT(!commit_pending(db));
    session_transaction_begin(s, STR("<view>"));
    db->commit = (CommitPending){.session = s, .finish = finish};
    db->counters.exclusive_runs++;
    views_late_alone(view);
    if (!views_waiting(db->views)) end(db, OK);
}

void commit_late_view(Session *s,
                      View *view,
                      Lookout *lookout,
                      bool fresh,
                      const HostCall *call,
                      const HostOutcome *outcome,
                      CommitFinish finish) {
    Database *db = s->database;
    ASSERT(!commit_pending(db));
    Str reason = str_from(err_text(ERR_NOMEM));
    session_transaction_begin(s, STR("<view>"));
    db->commit = (CommitPending){.session = s, .finish = finish};
    uint64_t version = lookout_version(lookout);
    Err err = views_late_begin(view, lookout_reads(lookout), version, fresh);
    if (err == OK) err = view_outcome(db, call, outcome, &reason);
    if (err != OK) views_failed(db->views, reason);
    end(db, OK);
}

static bool settle_next(void *ctx, HostCall *call) {
    Database *db = ctx;
    while (commit_pending(db)) {
        if (commit_step(db, call)) return true;
    }
    return false;
}

static void settle_done(void *ctx, const HostCall *call, const HostOutcome *outcome) {
    commit_call_done(ctx, call, outcome);
}

void commit_settle(Database *db) {
    while (commit_pending(db)) {
        if (database_mend(db, true)) {
            host_run(db->instance->host,
                     &(HostSource){.ctx = db, .next = settle_next, .done = settle_done});
        } else {
            views_fail_waiting(db->views, STR("the module cannot be started again"));
            end(db, OK);
        }
    }
}

// ── a new version of the module ────────────────────────────────────────────────────────────────

typedef struct Renewal {
    Database *db;
    Err err;
    Diag *diag;
} Renewal;

static bool renewal_next(void *ctx, HostCall *call) {
    Renewal *renewal = ctx;
    Database *db = renewal->db;
    return renewal->err == OK && next_view(db, db->settings.deadline, call);
}

static void renewal_done(void *ctx, const HostCall *call, const HostOutcome *outcome) {
    Renewal *renewal = ctx;
    Str reason;
    if (view_outcome(renewal->db, call, outcome, &reason) == OK) return;
    views_failed(renewal->db->views, reason);
    renewal->err = diag_fail(renewal->diag, ERR_MODULE, STR_FMT, STR_ARG(reason));
}

Err commit_views_renewed(Database *db, HostInstance *instance, Diag *diag) {
    Renewal renewal = {.db = db, .diag = diag};
    views_all_stale(db->views);
    if (!views_waiting(db->views)) return OK;
    host_run(instance, &(HostSource){.ctx = &renewal, .next = renewal_next, .done = renewal_done});
    if (renewal.err == OK && views_waiting(db->views))
        renewal.err = diag_fail(diag, ERR_MODULE, "the module stopped while its views were run");
    return renewal.err;
}
