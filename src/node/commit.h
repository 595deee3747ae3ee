// commit.h: from "the module is done" to "everybody is told".
//
// PICTURE
//   a call succeeded ── commit_start ──> db_commit ──> schedules, subscribers ──> finish
//                            └─ views that the transaction made stale run first: one call each,
//                               given out by commit_step, ended by commit_call_done
//
// ALWAYS TRUE
//   (1) From commit_start to its finish function the database's transaction is open or just
//       committed, and no other call begins.
//   (2) A view that fails never undoes somebody else's write: its subscribers are told.
#pragma once
#include "node/session.h"

// The transaction is committed (err OK, `own` is the session's part of it when it asked for that,
// NULL when it has none; valid during the call) or it was rolled back (err says why).
typedef void (*CommitFinish)(Session *session, Err err, const LiveUpdate *own);

// Take the open transaction of the session's call to its end. `own_part`: the session's own updates
// go to `finish` instead of into its outbox. finish may be called before this returns.
void commit_start(Session *session, bool own_part, CommitFinish finish);
