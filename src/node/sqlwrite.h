// sqlwrite.h: SQL that writes, for every door: INSERT, UPDATE, DELETE, SET.
//
// PICTURE
//   sqlwrite_admit   the rates that hold for calls
//   sqlwrite_begin ── few rows ──> on the head, commit ─────────────────────────────> end
//        └ many: the slow lane (lane.h): an overlay on a worker ── overlay_apply ──> commit ─> end
//                     ^                                              │ stale
//                     └──────── a fresh overlay, 3 times ────────────┤
//                                                                    └ on the head, for a bounded time
//
//   Like a reducer that outlived its slice, only that what runs is a statement.
#pragma once
#include "node/lane.h"
#include "query/statement.h"

// It is over: committed (OK), or it left nothing. `diag` says why. ERR_AGAIN: there is a new version of the
// module, and the statement has to be compiled again; it may write then.
typedef void (*SqlWriteEnd)(Session *session,
                            Err err,
                            const StatementStats *stats,
                            const Diag *diag);

// May the session write now, as far as rates go? FAIR_WAIT: it is parked, and asks again when it is taken
// up next. FAIR_REFUSE: `text` says why.
FairVerdict sqlwrite_admit(Session *session, char *text, size_t text_size);
// Takes the statement. `end` is called once: before this returns, or later, and then the session has
// nothing else done for it meanwhile.
void sqlwrite_begin(Session *session, Statement **statement, SqlWriteEnd end);

// lane.c: the step of a session whose statement is in the slow lane.
void sqlwrite_step(Session *session);
void sqlwrite_interrupt(Session *session);
void sqlwrite_cancel(Session *session, const char *why);  // ERR_CLOSED
