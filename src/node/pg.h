// pg.h: clients that speak PostgreSQL's protocol: psql, drivers, tools.
//
// PICTURE
//   net/pg.c ─ messages ─> PgGate: which database, whose token ─ net_move ─> Session (SESSION_PG)
//                                                                              │ inbox, one message a step
//                 Parse ─> PgPrepared   Bind ─> PgPortal   Execute, Query ─> run
//                                                                              ├ pg_say: SET, SELECT 1, \d …
//                                                                              ├ read here, or PgStream: on a
//                                                                              │ worker, as the client takes it
//                                                                              └ sqlwrite
//
//   A connection is one client of the database from its login to its end: the module's client_connected runs
//   once, and what it said is told when it is durable, as with any session.
//
// ALWAYS TRUE
//   (1) Messages are worked on one after another; while a statement runs nothing behind it is taken up.
//   (2) What a client that does not read costs is bounded: a window of rows, its snapshot, and the time
//       until it is cut off.
//   (3) Each statement is a transaction of its own. BEGIN is refused: nobody believes in a ROLLBACK that
//       would not happen.
//
//   pg_gate.c     the first messages of a connection; cancelling     pg_session.c  life and messages
//   pg_run.c      running a statement, giving its rows               pg_stream.c   rows from a worker
//   pg_say.c      statements that are no SQL of ours                 pg_catalog.c  what psql's \d asks
#pragma once
#include "node/session.h"
#include "wire/pg.h"

typedef struct PgSession PgSession;

// ── before there is a session (pg_gate.c) ──────────────────────────────────────────────────────

// A message of a connection that has no session yet.
bool pg_gate_message(NodeLoop *loop, NetConn *conn, Bytes message);
void pg_gate_moved(NodeLoop *loop, NetConn *conn);

// ── a session's (pg_session.c) ─────────────────────────────────────────────────────────────────

MUST_USE Err pg_session_init(Session *session, uint32_t minor, Str database);
void pg_session_deinit(Session *session);
void pg_let_in(Session *session);
void pg_refuse(Session *session, const char *text);  // it is not let in
bool pg_has_work(const Session *session);
bool pg_step(Session *session);  // false: it waits for something
void pg_conn_closed(Session *session);
void pg_stop(Session *session);    // rows that are being read will not be given
void pg_forget(Session *session);  // nothing of what it was about to be told is to be told
void pg_cancel(Session *session, uint32_t secret);
uint32_t pg_pid(const Session *session);
// What it has to say leaves: all of it, or what was sealed.
void pg_seal(Session *session);
void pg_deliver(Session *session);
void pg_deliver_sealed(Session *session);
