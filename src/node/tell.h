// tell.h: what a large transaction means to its subscribers, and the bytes they are sent, made on the
// worker that makes the transaction ready (txn/bulk.h, live/tell.h).
//
// PICTURE
//   worker   rows of the branch, or of a table that is emptied
//               └──live_tell_run──> a delta for each group ──large ones──> NetFrame pieces
//   loop     adopt or empty, commit ──> message of each client: a few bytes of its own around those pieces (outbox.h)
//
// ALWAYS TRUE
//   (1) A Tell is its LaneCall's until the transaction is applied, then the database's until its commit
//       is over. It ends on the loop's thread, so the frames' references are counted there.
//   (2) Without one, or when it was stopped, the loop tells of the rows itself. Nobody hears the difference.
#pragma once
#include "live/live.h"
#include "net/net.h"
#include "node/database.h"

typedef struct Tell Tell;
typedef struct LaneCall LaneCall;

// BulkEnv.made of a LaneCall, on the worker's thread.
void tell_make(void *lane_call, const TxnChange *changes, size_t count, const Snapshot *before);
// The database's next live_commit is that of its rows. Harmless on NULL.
void tell_use(Tell *tell, Database *database);
// Who waited for it asks again. Harmless on NULL.
void tell_over(Tell **tell, Database *database);

// The lists of a large delta (LiveDelta.kept), as pieces of messages. NULL: to be copied.
typedef struct TellKept TellKept;
struct TellKept {
    TellKept *next;
    NetFrame *inserts, *deletes;
    NetFrame *inserts_json, *deletes_json;  // for v1.json, if anybody spoke it
};
