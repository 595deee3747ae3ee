// read.h: questions whose answers take longer than a loop has time for: SQL, one-off queries, the
// first and the last rows of a subscription. DESIGN P2: they never wait for writers, nor writers for
// them.
//
// PICTURE
//   loop    a question ── cheap ──> answered on the spot
//              └ READ_COST_MAX and more, or _CROWDED: a snapshot, its place in the outbox held
//                     │                                               ^ answer into its place,
//   worker            └──> queries on the snapshot, encoded ──────────┘ snapshot released
//
// ALWAYS TRUE
//   (1) The snapshot is taken at a transaction boundary on the loop; a subscription is registered at the
//       same one. What commits afterwards reaches the session's outbox behind the held place, so the
//       client hears of it after the answer, once and in order.
//   (2) Nothing behind the question is taken up before it is answered.
//   (3) The worker reads only while it holds the read's mutex and nobody has told it to stop; so
//       read_cancel, which waits for that mutex, waits for TABLE_BREATHE_ROWS rows at most.
//   (4) Queries are detached (query.h): a new schema does not concern a read that has begun.
#pragma once
#include "node/session.h"
#include "query/statement.h"

// In the units of query_cost. A hand-over costs about 100 µs, and so does this; to write much of it as text takes
// several times as long, which others should not wait for who have less done for them (fair_is_crowded).
#define READ_COST_MAX     1000
#define READ_COST_CROWDED 200

typedef enum ReadKind {
    READ_SQL,
    READ_ONE_OFF,
    READ_SUBSCRIBE,
    READ_UNSUBSCRIBE,
    READ_PREPARE,  // what a subscription needs first (live.h): then its message is taken up again
    READ_RESUME,
} ReadKind;

typedef struct ReadAsk {
    ReadKind kind;
    WireAsk asked;  // not of READ_SQL and READ_PREPARE; its bytes are copied
    uint64_t set;   // as live/ knows it
    // Detached; taken over by read_begin.
    Statement *statement;  // READ_SQL, READ_ONE_OFF
    Standing **queries;    // READ_SUBSCRIBE, READ_UNSUBSCRIBE, READ_RESUME
    LivePrepare *prepare;  // READ_PREPARE
    uint32_t query_count;
    bool bag;               // likewise, as LiveAnswer says
    struct Resume *resume;  // READ_RESUME: what else it is about (resume.h); likewise
} ReadAsk;

// What a question may cost on the loop: everything where there are no workers.
uint64_t read_cost_max(const Database *database);
// May the session begin a read now? False: too many are under way, it is parked and will be made ready;
// the question must be taken up again.
bool read_place(Session *session);
void read_place_unused(Session *session);  // it does not need it after all; harmless
// Begin it, between transactions. The session waits until it is answered. On an error it is the
// caller who answers.
//   ERR_LIMIT  the server is too busy    ERR_NOMEM
MUST_USE Err read_begin(Session *session, ReadAsk *ask);
// The log has got further: those who waited for that begin.
void read_landed(Database *database);
// Whoever asked is gone or will not be answered; harmless when the session has no read.
void read_cancel(Session *session);
// Text of an answer that is larger than it may be, in `diag`.
void read_too_large(Database *database, Diag *diag);
// The limits of an answer, for a statement that is about to run on the loop. Where there are workers a join that
// was thought to be cheap and is not ends with ERR_AGAIN: it is read beside the loop as if that had been known.
void read_limit(const Database *database, Statement *statement);

// ── sessions that wait for something other than their turn ────────────────────────────────────

void park(Session *session, ParkKind why);
void park_leave(Session *session);  // harmless
void park_wake(Database *database, ParkKind why, bool all);
