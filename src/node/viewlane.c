// viewlane.c: views that take too long for a commit, on a worker and a snapshot.
//
// PICTURE
//   a commit ── the view overruns its slice ──> late: its old rows stay, the commit goes on
//        viewlane_launch ─> a session of its own ─> a lookout (snapshot and read set) ─> worker
//             ^                                                                            │
//             │ what it read has changed: once more   <── its rows, in their own transaction
//
// The result is committed also when what it read has changed meanwhile: it is right for the moment of its
// snapshot, no older than anything shown before, and a view whose inputs never rest would otherwise never
// be seen. Then it runs again at once, at the workers' priority.
//
// One that returns a query cannot be treated so: its query is run on the head, and with what the function
// found before, it may fit to no moment at all. It runs again while what it read keeps changing, eight
// times; then it is run on the head, and waited for as long as a reducer that conflicts (exclusive_ms).
//
// ALWAYS TRUE
//   (1) Results of one view are committed in the order of their snapshots: it runs once at a time.
//   (2) A new version of the module ends the run; what is still late begins again on the new version.
#include "base/mem.h"
#include "node/commit.h"
#include "node/lane.h"
#include "node/session_private.h"

typedef struct LateView {
    LaneCall lane;
    View *view;
} LateView;

static LateView *late_of(const Session *s) {
    return CONTAINER_OF(s->lane, LateView, lane);
}

static void late_destroy(LaneCall *lane) {
    lane_call_deinit(lane);
    mem_free(CONTAINER_OF(lane, LateView, lane));
}

static HostCall call_of(const Database *db, const ViewLate *late) {
    const ViewDef *def = late->def;
    return (HostCall){.kind = def->is_anonymous ? HOST_VIEW_ANON : HOST_VIEW,
                      .id = def->index,
                      .name = def->name,
                      .sender = late->sender,
                      .timestamp = node_now(db->loop->node),
                      .args = BYTES("", 0),
                      .budget_us = db->settings.deadline};
}

static Err launch(Database *db, const ViewLate *late) {
    SessionOptions options = {.kind = SESSION_VIEW,
                              .identity = db->identity,
                              .confirmed = true,
                              .token = STR(""),
                              .claims = STR("")};
    HostCall host = call_of(db, late);
    Session *s = session_new(db, &options);
    LateView *v = s ? MEM_NEW(LateView) : NULL;
    if (!v) {
        session_free(&s);
        return ERR_NOMEM;
    }
    s->state = SESSION_LIVE;
    v->lane.destroy = late_destroy;
    v->view = late->view;
    Err err = lane_call_init(&v->lane, LANE_VIEW, s, &host);
    s->lane = &v->lane;
    v->lane.host.access = &v->lane.guard.access;
    if (err == OK) err = lane_enter(&v->lane, true);
    if (err != OK) session_free(&s);  // and with it v
    return err;
}

void viewlane_launch(Database *db) {
    ViewLate late;
    if (!db->lanes || db->failed) return;
    while (views_next_late(db->views, &late)) {
        if (launch(db, &late) == OK) continue;
        // The next commit, or whoever asks next, tries again.
        views_late_again(late.view);
        return;
    }
}

static void over(Session *s) {
    lane_cancel(s->lane);
    s->state = SESSION_ENDED;
    session_dirty(s);
    park_wake(s->database, PARK_VIEWS, true);
}

void viewlane_interrupt(Session *s) {
    if (!s->lane) return;
    views_late_again(late_of(s)->view);
    over(s);
}

static void run(Session *s) {
    LaneCall *lane = s->lane;
    lane->may_launch = false;
    if (lookout_new(s->database->db, &lane->lookout) != OK) {
        views_late_again(late_of(s)->view);
        over(s);
        return;
    }
    lane_guard_open(lane, lookout_access(lane->lookout));
    lane_launch(lane);
}

static void committed(Session *s, Err err, const LiveUpdate *own) {
    (void)own;
    if (err != OK) views_late_again(late_of(s)->view);
    over(s);
}

static bool is_query(const LaneCall *lane) {
    return lane->returned.len && lane->returned.ptr[0] == 1;
}

static void conclude(Session *s) {
    LateView *v = late_of(s);
    LaneCall *lane = s->lane;
    lane_guard_shut(lane);
    lane_log_lines(lane, true);
    bool fresh = lookout_fresh(lane->lookout) == OK;
    if (lane->status == HOST_STOPPED || (lane->status == HOST_OK && !fresh && is_query(lane))) {
        if (lane->status == HOST_OK && views_late_is_hopeless(v->view)) {
            lookout_free(&lane->lookout);
            commit_view_alone(s, v->view, committed);
        } else {
            bool again = lane->status == HOST_OK;
            views_late_again(v->view);
            over(s);
            if (again) viewlane_launch(s->database);  // there may be no next commit
        }
        return;
    }
    HostOutcome outcome = {.status = lane->status,
                           .message = bytes_str(buf_bytes(&lane->message)),
                           .returned = buf_bytes(&lane->returned),
                           .elapsed_us = lane->elapsed_us};
    views_set_slow(v->view, lane->elapsed_us >= s->database->settings.view_slice);
    commit_late_view(s, v->view, lane->lookout, fresh, &lane->host, &outcome, committed);
}

void viewlane_step(Session *s) {
    if (!s->lane || s->state == SESSION_ENDED) return;
    if (s->lane->may_launch) {
        run(s);
    } else if (s->lane->has_ended) {
        conclude(s);
    }
}
