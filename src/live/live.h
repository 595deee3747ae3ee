// live.h: subscriptions. A commit finds the queries that its rows concern, and each distinct query
// encodes its delta once, whoever watches.
//
// PICTURE
//   query text ──query_compile──> template T + parameters p
//   template ──> groups g = (T, p) ──> subscribers (client, query set)
//   per table: guards   hash(values of T's equality columns) -> groups, by range      broadcast list -> groups
//   commit's rows ──stab──> groups ──residual test──> delta of g, encoded once ──> each subscriber
//
// Property that every test may use: what a client holds equals what its query would return if run
// now, at every commit, for every subscriber. Spec: sql-and-subscriptions §3, §4.3;
// websocket-and-data-model §7.
#pragma once
#include "live/view.h"
#include "query/standing.h"
#include "txn/writeset.h"

typedef struct Live Live;              // of one database; used by its loop's thread
typedef struct LiveClient LiveClient;  // one connection's subscriptions
typedef struct LivePrepare LivePrepare;

typedef struct LiveOptions {
    // Take what the original takes and no more: two tables, an index on the side that is probed, whole
    // rows. Else any join that can be followed by equal values, and groups.
    bool strict_index;
    // Each row as often as it has partners (the original's way), not once.
    bool bag;
    size_t
        arrangement_quota;  // bytes of rows by columns without an index, all subscriptions together
} LiveOptions;
#define LIVE_ARRANGEMENT_QUOTA ((size_t)64 << 20)

// `views` may be NULL where no table is a view's; it must outlive the Live.
MUST_USE Err live_open(const QueryCatalog *catalog, Views *views, Live **out);
void live_close(Live **live);
// From now on; `bag` only before the first subscription. What is subscribed already goes on as it was
// until live_schema_changed holds it to `strict_index` too.
void live_set_options(Live *live, const LiveOptions *options);
LiveOptions live_options(const Live *live);

// `owner` is handed back with each update. The client is alive until live_client_close.
MUST_USE Err live_client_open(Live *live, void *owner, const QueryCaller *caller, LiveClient **out);
void live_client_close(LiveClient **client);  // drops its subscriptions

// The connection speaks protocol v1 (websocket-and-data-model §7.5): a query, by its exact text, is
// watched once however many of its sets hold it. The first set that holds it gets its rows, updates
// name no set (0), the end of the last one takes them away. Event tables are refused; a set that ends
// by itself ends all of them. Before its first subscription.
void live_client_distinct(LiveClient *client);
// Ids from here on are for sets that are answered whole, whoever else holds their queries.
#define LIVE_SET_WHOLE (1ull << 32)

// Rows of one query of a subscription, as a finished BsatnRowList.
typedef struct LiveRows {
    Str table_name;
    Bytes rows;
    uint32_t table_id;
    uint32_t hidden_columns;  // of row_type, in front of what the rows show
    const Type *row_type;
    bool
        is_absent;  // no rows, no entry; told to distinct clients only, who may have to name the table
} LiveRows;

#define LIVE_SETS_MAX    4096   // query sets of one client
#define LIVE_QUERIES_MAX 16384  // queries of one client, all sets together

// Subscribe a set of queries, all or nothing, and produce the initial rows at the head (§7.5:
// duplicates by exact trimmed text removed, no entry for a query over an empty table). *out is
// valid until the next live_subscribe or live_unsubscribe of any client.
//   ERR_EXISTS   the id is in use (the old set stays)
//   ERR_INVALID… a query does not compile; diag has the message with ", executing: `…`"
//   ERR_LIMIT    more than LIVE_SETS_MAX or LIVE_QUERIES_MAX; diag names the limit
//   ERR_AGAIN    results of views must be computed first (views_next): then ask again
//   ERR_BUSY     results of views are late (views_check): ask again when they are there
//   ERR_NOMEM    nothing was registered
MUST_USE Err live_subscribe(LiveClient *client,
                            uint64_t query_set,
                            const Str *queries,
                            uint32_t count,
                            const LiveRows **out,
                            uint32_t *out_count,
                            Diag *diag);
// End a set. With `want_rows`, *out holds the rows its queries yield now. ERR_NOT_FOUND.
MUST_USE Err live_unsubscribe(LiveClient *client,
                              uint64_t query_set,
                              bool want_rows,
                              const LiveRows **out,
                              uint32_t *out_count,
                              Diag *diag);

// What a set's queries yield: the rows themselves, or where that is more than a loop should read, the
// queries that yield them, detached (standing.h) and in the order of the answer, for a snapshot that is
// taken now. A query over a table without rows gets no entry.
typedef struct LiveAnswer {
    const LiveRows *rows;  // valid until the next question of any client
    uint32_t count;
    // NULL: `rows` it is. Else the caller's, to be freed with live_queries_free; to be run with
    // standing_run and `bag` (standing.h).
    Standing **queries;
    uint32_t query_count;
    bool bag;
    LivePrepare *prepare;  // with ERR_BUSY, NULL: nothing, or somebody is at it. Else the caller's
} LiveAnswer;
void live_queries_free(Standing ***queries, uint32_t count);

// live_subscribe and live_unsubscribe (with its rows wanted) for who can read elsewhere: queries that
// would together look at more than `cost_max` rows are handed out in place of their rows, and what it
// would cost more than that to keep current is prepared first (LivePrepare).
// With LIVE_ELSEWHERE no row is looked at: the queries of all tables are handed out, the empty ones included.
#define LIVE_ELSEWHERE ((uint64_t)0)
MUST_USE Err live_subscribe_within(LiveClient *client,
                                   uint64_t query_set,
                                   const Str *queries,
                                   uint32_t count,
                                   uint64_t cost_max,
                                   LiveAnswer *out,
                                   Diag *diag);
MUST_USE Err live_unsubscribe_within(LiveClient *client,
                                     uint64_t query_set,
                                     bool want_rows,
                                     uint64_t cost_max,
                                     LiveAnswer *out,
                                     Diag *diag);

// What a subscription needs before it can be answered and is more than a loop should read: its groups
// counted, or the rows of a table arranged by columns without an index. It is made on a snapshot, and what
// commits meanwhile is made up for:
//
//   loop     ERR_BUSY, answer.prepare; a snapshot of now; live_prepare_begin
//   worker   live_prepare_run
//   loop     live_prepare_end ── true: there is much to make up for, have the worker run it once more
//            └─ ask the same question again; it may be busy with the next thing that it needs
//            live_prepare_release, once there was another answer than ERR_BUSY or ERR_AGAIN
//
// Whoever asks for the same meanwhile is told ERR_BUSY, too, without anything to begin.
void live_prepare_begin(LivePrepare *prepare);
// On any thread, while nothing else is done with it but by commits. ERR_CLOSED: `stop` was set; else as
// live_subscribe, and the question will be answered that way. Looks at `stop` and breathes as queries do.
MUST_USE Err live_prepare_run(LivePrepare *prepare,
                              const Snapshot *snapshot,
                              const atomic_bool *stop);
bool live_prepare_end(LivePrepare *prepare, Err err);
// What one question needed, one thing after another; harmless on an empty list. What nobody came to use
// is gone then. Not while a worker runs it.
void live_prepare_add(LivePrepare **list, LivePrepare *prepare);
void live_prepare_release(LivePrepare **list);

// One row that a commit removed or added, net: what txn/ collected (a row removed and added again
// is not in it; an update of a keyed row is one change with both).
typedef TxnChange LiveChange;

// A group's delta in one transaction: encoded once, shared by all who watch the group.
typedef struct LiveDelta {
    Str table_name;
    bool is_event;
    Bytes inserts;  // BsatnRowList; for an event table the events
    Bytes deletes;  // BsatnRowList
    uint64_t
        id;  // differs between deltas of one commit, counts from 0; for sharing what is made of it
    uint32_t table_id;
    uint32_t hidden_columns;  // as in LiveRows
    const Type *row_type;
    void *kept;  // by LiveTellEnv.keep; NULL: nothing
} LiveDelta;

typedef struct LiveSetDelta {
    uint32_t query_set;
    const LiveDelta *delta;
} LiveSetDelta;  // sorted by query set, then table name

typedef struct LiveUpdate {  // what one client must be told about one commit
    void *owner;
    const LiveSetDelta *sets;
    uint32_t set_count;
} LiveUpdate;

// There was a commit that live_commit could not be told of: clients are behind the truth, as after one
// that failed.
void live_missed(Live *live);
// Whether somebody watches rows of this table, in a query of its own or in a join.
bool live_watches(const Live *live, uint32_t table_id);
// The same, and live_commit must see them: it was not told of them otherwise (live_tell_use).
bool live_wants_rows(const Live *live, uint32_t table_id);

// Work out who must hear what. A change that is_clear or is_bulk has no rows to tell of: nobody may want those of its
// table (live_wants_rows, db_commit_rows). *out is valid until the next live_commit. A failure (ERR_NOMEM)
// leaves clients behind the truth: the caller must close their connections (live_clients_stale).
MUST_USE Err live_commit(Live *live,
                         const LiveChange *changes,
                         size_t count,
                         const LiveUpdate **out,
                         size_t *out_count);

// What the rows of a large transaction mean to queries of one table, worked out beside the loop before it
// commits. What they mean to joins and groups live_commit still has to find out from the rows.
//
//   loop     live_tell_begin ── who would now be the first to watch one of the tables in some way waits:
//            live_subscribe_within says ERR_BUSY, as if views were late
//   worker   live_tell_run, with all rows that will be different, each table's together; a table that will
//            have lost all its rows and got no others is one change that is_clear
//   loop     live_tell_use, live_commit of the transaction that changed exactly these rows …
//            live_tell_end, in any case, once nobody looks at its updates any more; then who waits asks again
//   anybody  live_tell_free
//
// There is one at a time.
typedef struct LiveTell LiveTell;
#define LIVE_TELL_LARGE ((size_t)64 << 10)  // bytes of rows
typedef struct LiveTellEnv {                // the worker's thread calls
    void *ctx;
    bool (*is_stopped)(void *ctx);  // may be NULL
    // A delta that is large: take its lists over, and let it point at what is there until live_tell_free.
    // May be NULL. An error ends live_tell_run. If this takes long, look at live_tell_is_stopped.
    Err (*keep)(void *ctx, LiveDelta *delta);
} LiveTellEnv;
// ERR_BUSY: there is one already. ERR_NOMEM.
MUST_USE Err live_tell_begin(Live *live,
                             const uint32_t *table_ids,
                             uint32_t count,
                             const LiveTellEnv *env,
                             LiveTell **out);
// `before` has the rows of tables that are emptied, and at the commit they have no others that this
// transaction takes away. It is breathed on (snapshot_breathe).
// ERR_CLOSED: it was stopped; ERR_NOMEM, ERR_IO, ERR_CORRUPT. Then live_commit has to be told of the rows.
MUST_USE Err live_tell_run(LiveTell *tell,
                           const LiveChange *changes,
                           size_t count,
                           const Snapshot *before);
// Whether there is anybody whom it would tell of rows of this table.
bool live_can_tell(const Live *live, uint32_t table_id);
// Nobody wants it any more, and the loop may be waiting for live_tell_run to return. That thread's.
bool live_tell_is_stopped(const LiveTell *tell);
// The next live_commit is that of its rows. False: it has nothing to say of them.
bool live_tell_use(LiveTell *tell);
void live_tell_end(LiveTell *tell);
void live_tell_free(LiveTell **tell);

// After a schema change: recompile everything against the catalog. Sets that no longer compile are
// dropped and reported, with the reason. Must be called before the first live_subscribe or
// live_commit after the change (asserted). On ERR_NOMEM sets are missing without a report: close
// every client. `dropped` must not call into live/.
typedef void (*LiveDropped)(void *ctx, void *owner, uint32_t query_set, const char *reason);
MUST_USE Err live_schema_changed(Live *live, LiveDropped dropped, void *ctx);

// Sets that the last live_commit could not keep current, because a sum has left its type: end them and
// report the reason. What it says of them is not in the updates. `dropped` must not call into live/.
void live_commit_ended(Live *live, LiveDropped dropped, void *ctx);

// A result of a view has failed: end every set that watches it and report the reason. `dropped` must
// not call into live/. Before the live_commit of the same transaction.
void live_view_ended(Live *live, View *view, const char *reason, LiveDropped dropped, void *ctx);

typedef struct LiveStats {
    uint64_t clients, query_sets, groups, templates;
    uint64_t commits, groups_tested, groups_hit, rows_encoded;
    uint64_t ranges_seen;  // nodes of ranges that a row was compared with
    uint64_t rows_probed;  // of other tables, for joins
    uint64_t state_bytes;  // of arrangements and groups
} LiveStats;
LiveStats live_stats(const Live *live);
