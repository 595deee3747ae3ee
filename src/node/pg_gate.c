// pg_gate.c: the first messages of a connection that speaks PostgreSQL's protocol.
//
//   SSLRequest ─> S, and TLS from then on; N where the server has no certificate.   GSSENCRequest ─> N
//   CancelRequest ────────────────────────> the loop that the process id names; no answer, as it is
//   startup ─> "which password?" ─> password ─> the database is there? the token holds? ─> its loop
//                                                                       └─> a Session, from here on pg.h
//
// The password is a token, the user is whoever it says: the name that the client gives is not looked at.
// A wrong database is told before a wrong token, as in the original.
#include <stdio.h>

#include "base/mem.h"
#include "node/oidc.h"
#include "node/pg_private.h"
#include "node/routes.h"

#define TOKEN_MESSAGE_MAX (64u << 10)
#define QUESTIONS_MAX     2  // about encryption: each kind may be asked for once

typedef struct PgGate {
    ConnOwner owner;
    NetConn *conn;
    Arena arena;
    uint32_t questions, minor;
    bool asked;     // for the password
    bool verified;  // the token holds
    Str database, token;
    Identity identity;  // of the database
    AuthClaims caller;
} PgGate;

static void gate_free(PgGate *gate) {
    arena_deinit(&gate->arena);
    mem_free(gate);
}

static void conn_closed(void *self) {
    gate_free(self);
}

// Say this and, if `last`, no more. The gate is gone then.
static void say(PgGate *gate, Buf *out, bool last) {
    NetConn *conn = gate->conn;
    NetFrame *frame = buf_ok(out) ? net_frame_raw(buf_bytes(out)) : NULL;
    net_send(conn, frame);
    if (frame) net_frame_release(&frame);
    buf_deinit(out);
    if (!last) return;
    net_conn_set_data(conn, NULL);
    net_finish(conn);
    gate_free(gate);
}

static void refuse(PgGate *gate, const char *state, const char *text) {
    Buf out = {0};
    pg_put_error(&out, &(PgError){.severity = "FATAL", .state = state, .message = str_from(text)});
    say(gate, &out, true);
}

// ── cancelling ─────────────────────────────────────────────────────────────────────────────────

typedef struct CancelTask {
    LoopTask task;
    uint32_t pid, secret;
} CancelTask;

static void cancel_run(LoopTask *task, NodeLoop *loop) {
    CancelTask *self = CONTAINER_OF(task, CancelTask, task);
    for (Database *db = loop->databases; db; db = db->next) {
        for (Session *s = db->sessions; s; s = s->next) {
            if (s->kind == SESSION_PG && pg_pid(s) == self->pid) {
                pg_cancel(s, self->secret);
                break;
            }
        }
    }
    mem_free(self);
}

static void cancel(Node *node, const PgFirst *first) {
    CancelTask *task = MEM_NEW(CancelTask);
    NodeLoop *loop = NULL;
    uint32_t number = first->pid >> 18;
    if (!task) return;
    pthread_mutex_lock(&node->mutex);
    if (number < node->loop_count && !node->is_stopping) loop = node->loops[number];
    task->task.run = cancel_run;
    task->pid = first->pid;
    task->secret = first->secret;
    if (loop) loop_post(loop, &task->task);
    pthread_mutex_unlock(&node->mutex);
    if (!loop) mem_free(task);
}

// ── letting in ─────────────────────────────────────────────────────────────────────────────────

static void no_database(PgGate *gate) {
    char text[256];
    snprintf(text, sizeof text, "database \"%.100s\" does not exist", gate->database.ptr);
    refuse(gate, "3D000", text);
}

static void enter(NodeLoop *loop, PgGate *gate) {
    NetConn *conn = gate->conn;
    Database *db = loop_database(loop, &gate->identity);
    if (!db) {
        refuse(gate, "57P03", "the database could not be opened; the server's log says why");
        return;
    }
    if (db->failed) {
        refuse(gate, "57P03", db->failure);
        return;
    }
    SessionOptions options = {.kind = SESSION_PG,
                              .conn = conn,
                              .identity = gate->caller.identity,
                              .confirmed = true,
                              .protocol = WIRE_V3,
                              .token = gate->caller.token,
                              .claims = gate->caller.payload};
    loop->node->io->random_bytes(loop->node->io->world,
                                 options.connection.le,
                                 sizeof options.connection.le);
    Session *s = session_new(db, &options);
    if (!s || pg_session_init(s, gate->minor, gate->database) != OK) {
        session_free(&s);
        refuse(gate, "53200", err_text(ERR_NOMEM));
        return;
    }
    net_pg_named(conn, PG_MESSAGE_MAX);
    net_conn_set_data(conn, s);
    gate_free(gate);
    session_ready(s);
    net_resume(conn);
}

static Err database_find(const Node *node, PgGate *gate) {
    const char *why;
    ControlDatabase record;
    if (!identity_parse(gate->database, &gate->identity)) {
        if (!control_name_ok(gate->database, &why)) return ERR_NOT_FOUND;
        if (control_resolve(node->control, gate->database, &gate->identity) != OK)
            return ERR_NOT_FOUND;
    }
    bool there = control_find(node->control, &gate->identity, &record) == OK && record.exists;
    return there ? OK : ERR_NOT_FOUND;
}

// The token, and then the database's loop. False: an issuer's keys are fetched, and it comes again.
static bool login(NodeLoop *loop, PgGate *gate) {
    Node *node = loop->node;
    AuthClaims *caller = &gate->caller;
    Diag diag;
    diag_clear(&diag);
    if (database_find(node, gate) != OK) {
        no_database(gate);
        return true;
    }
    Err err = auth_verify(node->auth, gate->token, node_now(node), &gate->arena, caller, &diag);
    if (err == ERR_AGAIN) {
        err = oidc_fetch(node->oidc, caller->issuer, loop, gate->conn);
        if (err == OK) return false;
    } else if (err == OK && caller->renew) {
        // If that cannot be now, a later login will ask for it.
        (void)!oidc_fetch(node->oidc, caller->issuer, loop, NULL);
    }
    if (err != OK) {
        refuse(gate, pg_state(err, STR("")), diag.text[0] ? diag.text : err_text(err));
        return true;
    }
    gate->verified = true;
    NodeLoop *owner = node_find_place(node, &gate->identity);
    if (!owner)
        no_database(gate);
    else if (owner == loop)
        enter(loop, gate);
    else if (net_move(gate->conn, owner->net) != OK)
        refuse(gate, "53200", err_text(ERR_NOMEM));
    return true;
}

void pg_gate_moved(NodeLoop *loop, NetConn *conn) {
    PgGate *gate = net_conn_data(conn);
    if (gate && gate->verified)
        enter(loop, gate);
    else if (gate)
        (void)login(loop, gate);
}

static bool password(NodeLoop *loop, PgGate *gate, Bytes message) {
    PgMessage m;
    Diag diag;
    diag_clear(&diag);
    Err err = pg_message_read(message, &gate->arena, &m, &diag);
    if (err == OK) gate->token = arena_str(&gate->arena, m.text);
    if (err != OK || m.name != 'p')
        refuse(gate, "28000", "expected a password, which is a token");
    else if (!gate->token.ptr)
        refuse(gate, "53200", err_text(ERR_NOMEM));
    else
        return login(loop, gate);
    return true;
}

static void startup(PgGate *gate, const PgFirst *first) {
    Buf out = {0};
    gate->minor = first->minor;
    gate->database = arena_str(&gate->arena, first->database);
    if (!gate->database.ptr) {
        refuse(gate, "53200", err_text(ERR_NOMEM));
    } else if (!gate->database.len) {
        refuse(gate, "3D000", "Database name is required");
    } else if (net_pg_may_encrypt(gate->conn)) {
        refuse(gate, "28000", "this server has a certificate: connect with TLS (sslmode=require)");
    } else {
        gate->asked = true;
        net_pg_named(gate->conn, TOKEN_MESSAGE_MAX);
        pg_put_auth_password(&out);
        say(gate, &out, false);
    }
}

static void encryption(PgGate *gate, bool tls) {
    Buf out = {0};
    bool may = tls && net_pg_may_encrypt(gate->conn);
    buf_put_u8(&out, may ? 'S' : 'N');
    if (may) net_pg_encrypt(gate->conn);
    say(gate, &out, gate->questions++ >= QUESTIONS_MAX);
}

static void first_message(NodeLoop *loop, PgGate *gate, Bytes message) {
    PgFirst first;
    Diag diag;
    Buf out = {0};
    diag_clear(&diag);
    Err err = pg_first_read(message, &first, &diag);
    if (err != OK) {
        refuse(gate, pg_state(err, STR("")), diag.text);
        return;
    }
    switch (first.kind) {
    case PG_FIRST_SSL:
    case PG_FIRST_GSS: encryption(gate, first.kind == PG_FIRST_SSL); return;
    case PG_FIRST_CANCEL:
        cancel(loop->node, &first);
        say(gate, &out, true);
        return;
    case PG_FIRST_STARTUP: startup(gate, &first); return;
    }
    UNREACHABLE();
}

bool pg_gate_message(NodeLoop *loop, NetConn *conn, Bytes message) {
    PgGate *gate = net_conn_data(conn);
    if (!gate) {
        gate = MEM_NEW(PgGate);
        if (!gate) {
            net_finish(conn);
            return true;
        }
        gate->owner.conn_closed = conn_closed;
        gate->conn = conn;
        net_conn_set_data(conn, gate);
    }
    if (message.len == 0)
        refuse(gate, "08P01", "invalid length of a message");
    else if (gate->asked)
        return password(loop, gate, message);
    else
        first_message(loop, gate, message);
    return true;
}
