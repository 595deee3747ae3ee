// slow.c: reducers that need longer than their slice.
//
// PICTURE
//   on the loop, with a slice ── ends in time ──────────────────────────> as always
//        ├ a page it wanted is not in memory: undone, and again when it is (fetch.h)
//        ├ it empties a large table that is watched, or to be filled again: undone
//        └ used up, or too many pages: undone, its log lines forgotten
//          queue ─> a worker, on an overlay ─> loop: overlay_apply ─ OK ─> commit, answer
//                        ^                              │ stale
//                        └────── a fresh overlay, 3 times ┤
//                                                         └ then on the loop with nobody beside it,
//                                                           for a bounded time, and that is final
//
//   Its session waits meanwhile: what the same client asked behind it comes after it. Others go on.
//
// A reducer that overran in several of its last calls begins in the slow lane, where its time is taken
// all the same: when it has become short it comes back. Because an overlay is slower than the head,
// it is tried on the loop now and then.
//
// Who has much done for him should have short calls while others have little (fair_is_crowded): a call of
// his that has begun is what they wait for. So a reducer of his that needed more than `crowded_slice`
// in several of its last calls begins in the slow lane too. It is not stopped for that: that would cost
// the instance.
//
// ALWAYS TRUE
//   (1) Sender, connection, timestamp and arguments are the same in every try.
//   (2) Nothing of a try that was undone can be seen: rows, answers, log lines. Sequence values aside,
//       and calls scheduled for now, which are outside of transactions anyway.
//   (3) An error that a reducer answers on its overlay is an answer: what it saw was true at that time.
//
// START AT  slow_step.
#include <stdio.h>

#include "base/mem.h"
#include "node/lane.h"
#include "node/once.h"
#include "node/session_private.h"

#define RETRIES_MAX       3
#define OVERRUNS_TO_TRUST 3   // of the last 8: it begins in the slow lane
#define FAST_TRY_EVERY    16  // … but for each so manieth call

#define FAST_TRY_FACTOR 4  // … if it does not need many times its slice over there

#define COLD_CALLS     4  // that ran to their end in an instance, until it counts as warm there
#define COLD_STOPS_MAX 1

typedef struct SlowCall {
    LaneCall lane;
    SessionCall what;
    const FunctionDef *function;  // of lane.module
    uint32_t tries;
} SlowCall;

static SlowCall *slow_of(const Session *s) {
    return CONTAINER_OF(s->lane, SlowCall, lane);
}

static const Settings *settings_of(const Session *s) {
    return &s->database->settings;
}

// ── short or slow ──────────────────────────────────────────────────────────────────────────────

static void history_add(Session *s, const FunctionDef *f, bool overran, int64_t elapsed_us) {
    SlowHistory *history = lanes_history(s->database, f);
    bool crowded = overran || elapsed_us >= settings_of(s)->crowded_slice;
    history->overran = (uint8_t)(history->overran << 1 | overran);
    history->crowded_overran = (uint8_t)(history->crowded_overran << 1 | crowded);
    if (!overran) history->cold_stops = 0;
}

// Cold code is slow: an engine interprets before it compiles, libraries make things at first use. The
// first calls of a reducer in an instance say little about it; what they are given here they would
// pay again, twice, in an instance that has not seen it either; and a stop costs the instance. So they
// get longer, unless even that was not enough the last times.
static bool is_cold(const Session *s, const FunctionDef *f) {
    return *instance_runs(s->database->instance, f) < COLD_CALLS &&
           lanes_history(s->database, f)->cold_stops < COLD_STOPS_MAX;
}

static Micros slice_of(const Session *s, bool cold) {
    Micros slice = settings_of(s)->slice;
    return cold ? MAX(slice, s->database->loop->node->options.cold_slice) : slice;
}

// A call with a slice does not wait for a page that is not in memory either (store_set_patient).
static void set_hurried(Database *db, bool hurried) {
    db_access(db->db)->may_begin_again = hurried;
    store_set_patient(db_store(db->db), !hurried);
}

int64_t slow_budget(Session *s) {
    Database *db = s->database;
    s->is_sliced = false;
    db->instance->is_used = true;
    if (s->lane) return settings_of(s)->exclusive;
    if (!db->lanes || !settings_of(s)->slice) return settings_of(s)->deadline;
    s->is_sliced = true;
    s->is_cold = is_cold(s, s->function);
    s->log_mark = modulelog_mark(db->log);
    set_hurried(db, true);
    return slice_of(s, s->is_cold);
}

static bool is_too_long_here(const Session *s, const SlowHistory *history) {
    const Database *db = s->database;
    if (!settings_of(s)->crowded_slice) return false;
    if (__builtin_popcount(history->crowded_overran) < OVERRUNS_TO_TRUST) return false;
    return fair_is_crowded(&db->fair, db->fair.served_since_ns);
}

static bool begins_slow(const Session *s, const FunctionDef *f) {
    if (settings_of(s)->slice == SLICE_NONE) return true;
    SlowHistory *history = lanes_history(s->database, f);
    if (is_too_long_here(s, history)) return true;
    if (__builtin_popcount(history->overran) < OVERRUNS_TO_TRUST) return false;
    if (++history->slow_in_a_row < FAST_TRY_EVERY) return true;
    history->slow_in_a_row = 0;
    return history->slow_us >= settings_of(s)->slice * FAST_TRY_FACTOR;
}

// ── into the slow lane ─────────────────────────────────────────────────────────────────────────

static void slow_destroy(LaneCall *lane) {
    lane_call_deinit(lane);
    mem_free(CONTAINER_OF(lane, SlowCall, lane));
}

// What runs by itself goes on in a session of its own, so that what is due next need not wait for it.
static Session *system_session(const Session *s) {
    Session *own = session_new(s->database,
                               &(SessionOptions){.kind = SESSION_SYSTEM,
                                                 .identity = s->identity,
                                                 .connection = s->connection,
                                                 .token = STR(""),
                                                 .claims = STR("")});
    if (!own) return NULL;
    own->state = SESSION_LIVE;
    own->scheduled = s->scheduled;
    return own;
}

bool slow_is_over(const Session *s) {
    return s->kind == SESSION_SYSTEM && s != s->database->system;
}

static Err slow_enter(Session *s,
                      SessionCall what,
                      const FunctionDef *f,
                      const HostCall *host,
                      bool even_if_full) {
    if (s == s->database->system) {
        Session *own = system_session(s);
        Err err = own ? slow_enter(own, what, f, host, even_if_full) : ERR_NOMEM;
        if (own && err != OK) session_free(&own);
        return err;
    }
    SlowCall *c = MEM_NEW(SlowCall);
    if (!c) return ERR_NOMEM;
    c->lane.destroy = slow_destroy;
    c->what = what;
    c->function = f;
    Err err = lane_call_init(&c->lane, LANE_REDUCER, s, host);
    c->lane.host.access = &c->lane.guard.access;
    c->lane.host.budget_us = settings_of(s)->deadline;
    s->lane = &c->lane;
    // Arriving, leaving and scheduled work cannot be refused, nor can what is not slow itself, but its pages
    // are, or telling of it is; their number is bounded elsewhere.
    if (err == OK) err = lane_enter(&c->lane, even_if_full || what != CALL_REDUCER);
    if (err != OK) {
        s->lane = NULL;
        lane_release(&c->lane);
        return err;
    }
    s->database->counters.slow_calls++;
    return OK;
}

bool slow_divert(Session *s, const HostCall *call) {
    Database *db = s->database;
    if (!s->is_sliced || s->lane || !begins_slow(s, s->function)) return false;
    SessionCall what = s->call;
    if (slow_enter(s, what, s->function, call, false) != OK)
        return false;  // then it gets its slice
    set_hurried(db, false);
    db_rollback(db->db);
    db->running = NULL;
    s->call = CALL_NONE;
    s->is_sliced = false;
    return true;
}

// Only what the call itself used says how long it is. On a full machine the loop is set aside in the middle of
// calls, and a short one that was charged for that would go to the slow lane, where it takes longer still.
static int64_t used_us(Session *s, int64_t elapsed_us) {
    const Settings *set = settings_of(s);
    int64_t noticed_us = set->crowded_slice ? MIN(set->slice, set->crowded_slice) : set->slice;
    if (elapsed_us < noticed_us) return elapsed_us;
    const Io *io = s->database->loop->node->io;
    int64_t away_us = turn_away_ns(s->database, io->clock_monotonic_ns(io->world)) / 1000;
    return MAX(elapsed_us - away_us, 0);
}

static void ended_in_time(Session *s, int64_t elapsed_us) {
    uint8_t *runs = instance_runs(s->database->instance, s->function);
    elapsed_us = used_us(s, elapsed_us);
    bool overran = elapsed_us >= settings_of(s)->slice;
    if (*runs < COLD_CALLS) ++*runs;
    if (overran && s->is_cold) return;  // says nothing yet
    history_add(s, s->function, overran, s->is_cold ? 0 : elapsed_us);
}

bool slow_intercept(Session *s, const HostCall *call, const HostOutcome *outcome) {
    Database *db = s->database;
    if (s->lane) {  // it had the head to itself; what came of it is the answer
        SlowCall *c = slow_of(s);
        if (outcome->status == HOST_DEADLINE)
            s->deadline_text =
                arena_printf(&db->turn_arena,
                             "reducer `" STR_FMT
                             "` was stopped: others kept changing what it read, and it did not end "
                             "in the %lld ms it had the database to itself",
                             STR_ARG(c->function->name),
                             (long long)(settings_of(s)->exclusive / 1000));
        lane_cancel(&c->lane);
        return false;
    }
    if (!s->is_sliced) return false;
    s->is_sliced = false;
    set_hurried(db, false);
    // What it wanted was not in memory: whatever it made of that, it begins again where it may wait.
    bool missed = store_fault(db_store(db->db), NULL) == ERR_AGAIN;
    // It empties a large table whose rows would have to be looked at here when that is committed.
    bool aside = !missed && db_is_aside(db->db);
    if (!missed) s->misses = 0;
    if (!missed && !aside && outcome->status != HOST_DEADLINE) {
        ended_in_time(s, outcome->elapsed_us);
        return false;
    }
    if (missed) {
        db->counters.calls_missed_page++;
    } else if (!aside) {
        history_add(s, s->function, true, 0);
        lanes_history(db, s->function)->cold_stops += s->is_cold;
        db->counters.slices_used_up++;
    }
    modulelog_rewind(db->log, s->log_mark);
    bool waits = missed && s->call == CALL_REDUCER && fetch_begin(s, s->function, call->args);
    Err err = waits ? OK : slow_enter(s, s->call, s->function, call, missed || aside);
    if (err != OK) {
        s->deadline_text =
            err == ERR_LIMIT ? STR("the server is busy: too many slow calls wait in this database")
                             : str_from(err_text(err));
        return false;
    }
    db_rollback(db->db);
    s->call = CALL_NONE;
    return true;
}

// ── a try ──────────────────────────────────────────────────────────────────────────────────────

static CommitInfo info_of(const SlowCall *c) {
    return (CommitInfo){.timestamp = c->lane.host.timestamp,
                        .caller = c->lane.host.sender,
                        .connection = c->lane.host.connection,
                        .name = c->function->name};
}

static void put_back(Session *s, const SlowCall *c) {
    s->call = c->what;
    s->function = c->function;
    s->call_timestamp = c->lane.host.timestamp;
}

// Tell the session what became of its call, as if it had run on the loop. The transaction is open.
static void conclude(Session *s, HostOutcome outcome) {
    SlowCall *c = slow_of(s);
    LaneCall *lane = s->lane;
    Database *db = s->database;
    put_back(s, c);
    lane_log_lines(lane, true);
    lane_retain(lane);  // the outcome borrows from it
    lane_cancel(lane);
    db->running = s;
    session_done(db, &lane->host, &outcome);
    lane_release(lane);
}

static void conclude_failed(Session *s, HostStatus status, Str message) {
    session_transaction_begin(s, slow_of(s)->function->name);
    conclude(
        s,
        (HostOutcome){.status = status, .message = message, .elapsed_us = s->lane->elapsed_us});
}

static void try_begin(Session *s) {
    SlowCall *c = slow_of(s);
    CommitInfo info = info_of(c);
    OverlayEnv env = lane_overlay_env(&c->lane);
    Err err = overlay_new(s->database->db, &info, &env, &c->lane.overlay);
    if (err == OK && c->what == CALL_CONNECT) {
        err = lifecycle_client_insert(s, overlay_access(c->lane.overlay));
    }
    Micros when;
    s->call_timestamp = c->lane.host.timestamp;
    if (err == OK && c->what == CALL_REDUCER)
        err = once_begin(s, overlay_access(c->lane.overlay), &when);
    c->lane.may_launch = false;
    if (err == ERR_EXISTS) {
        lane_cancel(&c->lane);
        once_answer(s, when);
        return;
    }
    if (err != OK) {
        lane_overlay_free(&c->lane);
        c->lane.has_ended = true;
        conclude_failed(s, HOST_FATAL, str_from(err_text(err)));
        return;
    }
    if (c->tries++) s->database->counters.retries++;
    lane_guard_open(&c->lane, overlay_access(c->lane.overlay));
    lane_launch(&c->lane);
}

// Nobody beside it: on the loop, on the head, for a bounded time.
static bool alone_begin(Session *s, HostCall *call) {
    SlowCall *c = slow_of(s);
    s->database->counters.exclusive_runs++;
    s->call_timestamp = c->lane.host.timestamp;
    if (c->what == CALL_CONNECT) {
        bool begun = lifecycle_step_connect(s, call);
        if (!begun) lane_cancel(s->lane);
        return begun;
    }
    if (c->what == CALL_REDUCER) {
        bool begun = once_call_begin(s, c->function, c->lane.host.args, call);
        if (!begun) lane_cancel(s->lane);
        return begun;
    }
    session_transaction_begin(s, c->function->name);
    session_call_begin(s, c->what, c->function, c->lane.host.args, call);
    return true;
}

static bool was_stale(Session *s, HostCall *call) {
    SlowCall *c = slow_of(s);
    s->database->counters.conflicts++;
    lane_log_lines(&c->lane, false);
    if (c->tries > RETRIES_MAX) return alone_begin(s, call);
    try_begin(s);
    return false;
}

static bool ended(Session *s, HostCall *call) {
    SlowCall *c = slow_of(s);
    LaneCall *lane = &c->lane;
    Diag diag = {0};
    lane_guard_shut(lane);
    lanes_history(s->database, c->function)->slow_us = lane->used_us;
    history_add(s,
                c->function,
                lane->status == HOST_DEADLINE || lane->used_us >= settings_of(s)->slice,
                lane->used_us);
    Err err = OK;
    if (lane->status == HOST_OK)
        err = lane_apply(lane, &diag);
    else
        lane_overlay_free(lane);
    if (err == ERR_CONFLICT) return was_stale(s, call);
    if (lane->status != HOST_OK) {
        conclude_failed(s, lane->status, bytes_str(buf_bytes(&lane->message)));
    } else if (err != OK) {
        conclude_failed(s, HOST_FATAL, str_from(diag.text[0] ? diag.text : err_text(err)));
    } else {
        conclude(s, (HostOutcome){.status = HOST_OK, .elapsed_us = lane->elapsed_us});
    }
    return false;
}

// ── a new module ───────────────────────────────────────────────────────────────────────────────

// What it did so far had no effect, so it may simply begin again.
void slow_interrupt(Session *s) {
    SlowCall *c = slow_of(s);
    Database *db = s->database;
    s->call = CALL_NONE;
    s->call_timestamp = c->lane.host.timestamp;
    if (c->what == CALL_SCHEDULED && !s->scheduled.table_id) {
        lanes_schedule_now(db, c->function->name, buf_bytes(&c->lane.args));
    } else if (c->what == CALL_SCHEDULED) {
        // Whoever reads the scheduled tables again finds the row; this is for when nobody does.
        if (schedule_put(db->schedule, &s->scheduled) != OK)
            database_log_line(db, 0, NULL, STR("out of memory: a scheduled row was forgotten"));
    } else if (c->what == CALL_REDUCER) {
        buf_clear(&s->call_args);
        buf_put_bytes(&s->call_args, buf_bytes(&c->lane.args));
        s->redo = arena_str(&s->arena, c->function->name);
        if (!s->redo.ptr || !buf_ok(&s->call_args)) s->redo = STR("");
    }
    if (c->what == CALL_DISCONNECT && s->kind == SESSION_SYSTEM) lifecycle_orphan_again(s);
    lane_cancel(s->lane);
    session_ready(s);
}

bool slow_redo(Session *s, HostCall *call) {
    char text[DIAG_TEXT_MAX + 512];
    Str name = s->redo;
    s->redo = STR_NONE;
    const FunctionDef *f =
        session_admit(s, name, buf_bytes(&s->call_args), false, text, sizeof text);
    if (f) return once_call_begin(s, f, buf_bytes(&s->call_args), call);
    s->database->counters.calls_refused++;
    if (s->kind == SESSION_HTTP) {
        session_http_answer(s, 404, text);
        return false;
    }
    WireCall refused = session_wire_call(s);
    s->codec->failed(outbox_begin(&s->out), &refused, false, str_from(text));
    outbox_end(&s->out);
    session_dirty(s);
    return false;
}

// ── the step ───────────────────────────────────────────────────────────────────────────────────

bool slow_step(Session *s, HostCall *call, bool *more) {
    LaneCall *lane = s->lane;
    bool begun = false;
    if (lane->may_launch) {
        try_begin(s);
    } else if (lane->has_ended) {
        begun = ended(s, call);
    } else if (lane_asked(lane) == ASK_RUN) {
        lane_serve_run(lane);
    }
    *more = begun || !s->lane;  // what is behind the call waits for its end
    return begun;
}
