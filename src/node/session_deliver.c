// session_deliver.c: what sessions have to say leaves, after the sync (or before it, for those who
// asked not to wait).
#include <stdio.h>

#include "node/session_private.h"

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

// What may wait behind an answer that is still being made: as much as a client may leave unread.
static size_t held_max(const Session *s) {
    size_t max = s->database->loop->node->options.limits.out_bytes_max;
    return max ? max : (size_t)64 << 20;
}

static void ws_deliver(Session *s) {
    if (!s->conn) {
        outbox_deinit(&s->out);  // what it asked is still worked on; nobody listens
        return;
    }
    if (!outbox_is_empty(&s->out) && !outbox_send(&s->out, s->conn, s->protocol)) {
        session_close(s, 1008, "the client reads too slowly");
    }
    if (s->out.held && outbox_bytes(&s->out) > held_max(s))
        session_close(s, 1008, "too much happened while the rows that were asked for were read");
    if (!s->close_code) return;
    NetConn *conn = s->conn;
    s->conn = NULL;
    net_conn_set_data(conn, NULL);
    ws_close(conn, s->close_code, str_from(s->close_why));
}

void session_deliver(Database *db, bool confirmed) {
    Session *keep = NULL;
    Session *dirty = db->dirty;
    db->dirty = NULL;
    while (dirty) {
        Session *s = dirty;
        dirty = s->next_dirty;
        bool waits = s->kind == SESSION_HTTP || s->confirmed;
        if (waits != confirmed) {
            s->next_dirty = keep;
            keep = s;
            continue;
        }
        if (s->kind == SESSION_HTTP) http_deliver(s);
        if (s->kind == SESSION_WS) ws_deliver(s);
        if (s->kind == SESSION_AGENT) procedure_deliver(s);
        s->is_dirty = false;
        // One that is still in the ring comes back when its turn does.
        if (s->state == SESSION_ENDED && !s->is_ready) session_free(&s);
    }
    db->dirty = keep;
}
