// commit.h: from "the module is done" to "everybody is told".
//
// PICTURE
//   a call succeeded ── commit_start ──> db_commit ──> schedules, subscribers ──> finish
//                            └─ views that the transaction made stale run first: one call each,
//                               given out by commit_step, ended by commit_call_done
//
// ALWAYS TRUE
//   (1) From commit_start to its finish function the database's transaction is open or just
//       committed, and no other call begins: whoever begins one asks commit_pending first.
//   (2) A view that fails never undoes somebody else's write: its subscribers are told. Only where the
//       server was started with `--view-failure abort` it does, as the incumbent has it.
//   (3) A commit that waits for views ends within the turn (commit_settle).
#pragma once
#include "node/session.h"
#include "txn/lookout.h"

// The transaction is committed (err OK, `own` is the session's part of it when it asked for that,
// NULL when it has none; valid during the call) or it was rolled back (err says why; ERR_MODULE: a
// view failed, see (2)). It may begin another transaction and start its commit.
typedef void (*CommitFinish)(Session *session, Err err, const LiveUpdate *own);

// Take the open transaction of the session's call to its end. `own_part`: the session's own updates
// go to `finish` instead of into its outbox. finish may be called before this returns. Called outside
// a turn, follow with commit_settle.
void commit_start(Session *session, bool own_part, CommitFinish finish);

// Compute the results of views that views_check put on the list, in a transaction of their own, then
// go on with `finish`. Where that is ERR_OK, ask views_check again: it knows which of them failed.
void commit_views(Session *session, CommitFinish finish);

// A view that is late is run on the head instead, and waited for (views_late_alone).
void commit_view_alone(Session *session, View *view, CommitFinish finish);
// A view has run beside the loop, on what `lookout` saw: its result, or its failure, in a transaction of
// its own.
void commit_late_view(Session *session,
                      View *view,
                      Lookout *lookout,
                      bool fresh,
                      const HostCall *call,
                      const HostOutcome *outcome,
                      CommitFinish finish);

bool commit_pending(const Database *database);
// Name the next view to run. False: there was none left; the commit is finished.
bool commit_step(Database *database, HostCall *call);
// The outcome of a call that commit_step named.
void commit_call_done(Database *database, const HostCall *call, const HostOutcome *outcome);
// End what is pending now.
void commit_settle(Database *database);

// Inside the open transaction of a publish: compute everything that is watched anew, with this
// instance. ERR_MODULE with the reason of the view that failed; the caller rolls back.
MUST_USE Err commit_views_renewed(Database *database, HostInstance *instance, Diag *diag);
// Every transaction's end, if commit_start did not bring it about.
void commit_views_ended(Database *database, bool committed);
