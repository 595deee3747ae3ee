// view.h: the results of views: computed at first use, kept current while somebody watches them.
//
// PICTURE
//   view table 4100   arg_hash │ id level        a *result* is the rows with one hash: of one caller,
//                     a91f…    │ 42  7           or of everybody for an anonymous view
//                     a91f…    │ 43  9
//   result ── what its function read ── Watchers      (txn/watch.h)
//
//   a query wants it     views_check ─ ERR_AGAIN ─┐    a commit is about to happen
//                                                 │    views_find_stale
//                                                 ▼          ▼
//                       views_next: whom to run, on which data  ── the caller runs it ──┐
//                                                 ▲                                     │
//                                                 └── views_returned or views_failed <──┘
//                       then views_committed or views_rolled_back, as the transaction ends
//
//   Running module code is the caller's: nothing here knows about engines.
//
//   A view that takes too long for a commit is *late*: its old rows stay, the commit goes on, and it is
//   run beside the loop on what was committed by then:
//
//       views_defer ── commit ──> views_next_late ── run on a snapshot ──> views_late_begin,
//                                      ^                                   views_returned, commit
//                                      └────── what it read has changed meanwhile ──┘
//
// ALWAYS TRUE
//   (1) A result that is current holds exactly the rows that its function would return now, at every
//       commit. One that is not is read by nobody: queries ask views_check first. One that is late
//       holds what its function returned for an earlier commit, later ones as time goes on; who watches
//       it sees that, who asks now waits for one that is no older than his question.
//   (2) Between views_find_stale and the end of the transaction everything that a commit made stale
//       is either on the list or was recomputed.
//   (3) A function reads tables, never results of views; so one round is enough.
//
// Spec: module-abi §5.9; sql-and-subscriptions §3.9, §4.7.
#pragma once
#include "query/query.h"
#include "schema/def.h"
#include "txn/db.h"

typedef struct Views Views;
typedef struct View View;  // one result

#define VIEWS_KEEP_US  (600ll * 1000 * 1000)  // a result nobody watches is kept this long,
#define VIEWS_KEEP_MAX 10000                  // unless there are more of them than this

MUST_USE Err views_open(Db *db, const QueryCatalog *catalog, Views **out);
void views_close(Views **views);  // after live_close
// The module whose functions views_next names; it must outlive its use here. Between transactions,
// or in the one that publishes it.
void views_define(Views *views, const ModuleDef *def);
void views_set_now(Views *views, Micros now);  // the time, for VIEWS_KEEP_US

// Is the result that this query reads current? Queries over other tables always are.
//   ERR_AGAIN  it must be computed first and is on the list now: in a transaction run what
//              views_next gives, commit, ask again
//   ERR_BUSY   it is late: ask again when views_late_begin's transaction is over
//   ERR_MODULE, … that was tried, and failed: diag says why. Asking again tries again.
MUST_USE Err views_check(Views *views, const Query *query, Diag *diag);

// What views_check is asked for: a result that is late will do if it is of this version of the store or
// a younger one, because that was the head when the question came. UINT64_MAX: the question comes now.
void views_since(Views *views, uint64_t version);

// ── inside an open transaction ─────────────────────────────────────────────────────────────────

// Put every watched result that the transaction made stale on the list. ERR_NOMEM: not all.
MUST_USE Err views_find_stale(Views *views);
// After a migration in this transaction: everything that is watched must be computed anew.
void views_all_stale(Views *views);
bool views_waiting(const Views *views);  // something is on the list

typedef struct ViewRun {
    const ViewDef *def;
    Identity sender;  // of a view that is not anonymous
    Access *access;   // until views_returned or views_failed
    bool is_cold;     // the engine has hardly seen this function: its time says little
    bool is_alone;  // of views_late_alone: it is waited for, and if that is too long it has failed
} ViewRun;
// Take the next one off the list. False: it is empty. Each run is followed by views_returned or
// views_failed before the next.
bool views_next(Views *views, ViewRun *out);
// What the function returned, with its header (module-abi §1.13). When the rows are not what was
// declared, diag has the reason: go on with views_failed.
//   ERR_INVALID, ERR_UNIQUE, ERR_MALFORMED, ERR_NOMEM, ERR_LIMIT
MUST_USE Err views_returned(Views *views, Bytes returned, Diag *diag);
// It has no result: its rows go, and at the commit whoever watches it is told.
void views_failed(Views *views, Str reason);

// It took too long: it is late from the commit on.
void views_defer(Views *views);

// Everything on the list: there is nothing to run it with.
void views_fail_waiting(Views *views, Str reason);

// The transaction has ended. `ended` is called for each result that failed while it was watched,
// before views_committed returns; afterwards nobody must watch it any more (live_view_ended).
typedef void (*ViewsEnded)(void *ctx, View *view, const char *reason);
void views_committed(Views *views, ViewsEnded ended, void *ctx);
void views_rolled_back(Views *views);

// ── late results ───────────────────────────────────────────────────────────────────────────────

typedef struct ViewLate {
    View *view;
    const ViewDef *def;
    Identity sender;
} ViewLate;
// Between transactions: the next result to be run beside the loop; it is not named again before
// views_late_begin or views_late_again. False: none waits.
bool views_next_late(Views *views, ViewLate *out);
void views_late_again(View *view);  // nothing came of it
// Nothing came of it again and again, because what it read kept changing? Counts; true when it is enough.
bool views_late_is_hopeless(View *view);
// In an open transaction, instead of views_late_begin: views_next names it, on the head.
void views_late_alone(View *view);
// In an open transaction: the run has ended; go on with views_returned or views_failed, and commit.
// `version` is the data that it saw; `fresh`: that is still what the head says. ERR_NOMEM: go on with
// views_failed.
MUST_USE Err views_late_begin(View *view, const ReadSet *reads, uint64_t version, bool fresh);
// Will it be late again? Then it is not even tried within a commit.
void views_set_slow(View *view, bool slow);

// ── results nobody watches ─────────────────────────────────────────────────────────────────────

// When the next of them is due to be forgotten; INT64_MAX: there is none. Looks at all of them.
Micros views_next_expiry(const Views *views);
bool views_any(const Views *views);
bool views_crowded(const Views *views);  // more than VIEWS_KEEP_MAX: all of them are due
// Forget what is due, in an open transaction. Stops after a bounded number of rows.
MUST_USE Err views_expire(Views *views);

typedef struct ViewsStats {
    uint64_t results, watched, runs, failures, expired, late;
} ViewsStats;
ViewsStats views_stats(const Views *views);
