// session_deliver.c: what sessions have to say leaves once the log covers it (or before that, for
// those who asked not to wait).
//
//   turn k     out ── seal, the batch of turn k starts for the disk ──> sealed
//   turn k+1   out: answers of turn k+1                                 sealed ── landed ──> socket
//
// What stands behind an answer that is being made elsewhere (outbox.h) is not sealed: it is for the turn
// in which the answer comes.
//
// Messages leave in parts, as they were sealed. Everything else (an HTTP answer, a closing, the end of
// the session) leaves whole: it waits until nothing was added after the sealing.
#include <stdio.h>

#include "node/pg.h"
#include "node/resume.h"
#include "node/routes.h"
#include "node/session_private.h"

static void mcp_deliver(Session *s, NetConn *conn) {
    const NetFrame *frame = s->http.frame;
    Bytes body = frame ? BYTES(frame->bytes, frame->len) : buf_bytes(&s->http.body);
    Buf out = {0};
    mcp_wrap(&out, s->http.mcp_id, s->http.status, body);
    int status = buf_ok(&out) ? 200 : 503;
    routes_respond_as(conn,
                      &s->identity,
                      s->token,
                      status,
                      NULL,
                      0,
                      STR("application/json"),
                      status == 200 ? buf_bytes(&out) : BYTES_NONE);
    buf_deinit(&out);
}

static void http_deliver(Session *s) {
    if (!s->http.done || !s->conn) return;
    HttpHeader headers[2];
    uint32_t count = 0;
    char duration[32];
    if (s->http.has_duration) {
        snprintf(duration, sizeof duration, "%lld", (long long)s->http.duration_us);
        headers[count++] =
            (HttpHeader){STR("spacetime-execution-duration-micros"), str_from(duration)};
        if (s->http.work == HTTP_CALL)
            headers[count++] = (HttpHeader){STR("spacetime-energy-used"), STR("0")};
    }
    NetConn *conn = s->conn;
    s->conn = NULL;
    net_conn_set_data(conn, NULL);
    if (s->http.mcp_id.ptr) {
        mcp_deliver(s, conn);
        return;
    }
    if (s->http.frame) {
        routes_respond_frame_as(conn,
                                &s->identity,
                                s->token,
                                s->http.status,
                                headers,
                                count,
                                s->http.content_type,
                                s->http.frame);
        return;
    }
    routes_respond_as(conn,
                      &s->identity,
                      s->token,
                      s->http.status,
                      headers,
                      count,
                      s->http.content_type,
                      buf_bytes(&s->http.body));
}

static void say(Session *s, Outbox *box) {
    if (!s->conn) {
        outbox_deinit(box);  // what it asked is still worked on; nobody listens
        return;
    }
    if (!outbox_is_empty(box)) progress_put(s, box);
    if (!outbox_is_empty(box) && !outbox_send(box, s->conn, s->protocol)) {
        s->database->counters.slow_clients += net_conn_was_slow(s->conn);
        session_close(s, 1008, "the client reads too slowly");
    }
}

static void ws_end(Session *s) {
    if (!s->close_code || !s->conn) return;
    NetConn *conn = s->conn;
    s->conn = NULL;
    net_conn_set_data(conn, NULL);
    ws_close(conn, s->close_code, str_from(s->close_why));
}

// Everything it has to say, the last of it in `box`.
static void deliver_whole(Session *s, Outbox *box) {
    s->is_dirty = true;  // so that a session_close in here does not put it onto the list
    if (s->kind == SESSION_HTTP) http_deliver(s);
    if (s->kind == SESSION_WS) {
        say(s, box);
        ws_end(s);
    }
    if (s->kind == SESSION_PG) pg_deliver(s);
    if (s->kind == SESSION_AGENT) procedure_deliver(s);
    s->is_dirty = false;
    // One that is still in the ring comes back when its turn does.
    if (s->state == SESSION_ENDED && !s->fair.is_ready) session_free(&s);
}

static bool waits(const Session *s) {
    return s->kind == SESSION_HTTP || s->confirmed;
}

static void answered(Session *s) {
    const Io *io = s->database->loop->node->io;
    if (waits(s)) expect_answered(&s->database->expect, io->clock_monotonic_ns(io->world));
    s->is_asking = false;
}

// Those who ask for little go first: what leaves is written in this order, a system call each.
static void deliver_some(Database *db, bool confirmed, bool sparse) {
    Session *keep = NULL;
    Session *dirty = db->dirty;
    db->dirty = NULL;
    while (dirty) {
        Session *s = dirty;
        dirty = s->next_dirty;
        if (waits(s) == confirmed && s->is_asking == sparse) {
            if (UNLIKELY(sparse)) answered(s);
            deliver_whole(s, &s->out);
        } else {
            s->next_dirty = keep;
            keep = s;
        }
    }
    db->dirty = keep;
}

void session_deliver(Database *db, bool confirmed) {
    ASSERT(!confirmed || !db->sealed);
    deliver_some(db, confirmed, true);
    deliver_some(db, confirmed, false);
    if (confirmed) db->hurried = false;
}

void session_seal(Database *db) {
    Session *keep = NULL;
    Session *dirty = db->dirty;
    ASSERT(!db->sealed);
    db->hurried_sealed = db->hurried;
    db->hurried = false;
    while (dirty) {
        Session *s = dirty;
        dirty = s->next_dirty;
        if (!waits(s)) {
            s->next_dirty = keep;
            keep = s;
            continue;
        }
        s->is_dirty = false;
        // What stands behind an answer that is still being made waits for that. Sealed all the same
        // when nothing stands before it: the session may have ended.
        (void)outbox_split(&s->out, &s->sealed);
        if (s->kind == SESSION_PG) pg_seal(s);
        s->next_sealed = db->sealed;
        db->sealed = s;
    }
    db->dirty = keep;
}

static void deliver_sealed_some(Database *db, bool sparse) {
    Session *keep = NULL;
    Session *sealed = db->sealed;
    db->sealed = NULL;
    while (sealed) {
        Session *s = sealed;
        sealed = s->next_sealed;
        if (s->is_asking != sparse) {
            s->next_sealed = keep;
            keep = s;
            continue;
        }
        if (UNLIKELY(sparse)) answered(s);
        if (s->is_dirty) {
            if (s->kind == SESSION_WS) say(s, &s->sealed);
            if (s->kind == SESSION_PG) pg_deliver_sealed(s);
        } else {
            deliver_whole(s, &s->sealed);
        }
    }
    db->sealed = keep;
}

void session_deliver_sealed(Database *db) {
    deliver_sealed_some(db, true);
    deliver_sealed_some(db, false);
    db->hurried_sealed = false;
}
