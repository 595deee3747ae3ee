// live_private.h: the structures of live/, shared by its files.
//
// PICTURE
//   Live ── LiveTable (per watched table)
//             ├─ broadcast: groups without a predicate
//             ├─ residual:  groups without an equality or a range; each is tested on every changed row
//             ├─ RangeGuard (per column) ── ranges -> groups
//             └─ Guard (per set of equality columns) ── key of those columns' values -> groups
//        ── LiveTemplate (plan, shared) ── Group (template + parameters) ── Sub ── Sub …
//        ── LiveClient ── QuerySet ── its Subs
//
// ALWAYS TRUE
//   (1) A group has at least one Sub; a template, a guard and a table have at least one group
//       (tables and guards whose last group left are gone too).
//   (2) A group of one table stands in exactly one place of it: one guard's chain, the ranges of a
//       column, the residual list or the broadcast list; one that can never match stands nowhere. A
//       group of a join stands in the finders of its template (join.h).
//   (3) A Sub is in its group's list and in its set's array, from live_subscribe to the end.
//   (4) Between two live_commits no group and no client refers to commit memory.
//   (5) The Subs of a distinct client's sets are in no group. Each holds a Held, whose own Sub is: it
//       belongs to the client's set `all`, which has no id and no array.
#pragma once
#include "base/mem.h"
#include "live/arrange.h"
#include "live/delta.h"
#include "live/live.h"
#include "live/map.h"
#include "live/ranges.h"
#include "live/view.h"
#include "query/standing.h"
#include "query/tally.h"

typedef struct LiveTable LiveTable;
typedef struct LiveTemplate LiveTemplate;
typedef struct Guard Guard;
typedef struct Group Group;
typedef struct Sub Sub;
typedef struct Held Held;
typedef struct QuerySet QuerySet;
typedef struct JoinTemplate JoinTemplate;  // join.h
typedef struct JoinUse JoinUse;
typedef struct FindLink FindLink;
typedef struct JoinScratch JoinScratch;

typedef enum GroupPlace {
    PLACE_NOWHERE,
    PLACE_BROADCAST,
    PLACE_RESIDUAL,
    PLACE_GUARD,
    PLACE_RANGE,  // among the ranges of a column
    PLACE_JOIN,   // in the finders of its template
} GroupPlace;

struct Guard {  // of one set of columns
    LiveTable *table;
    Guard *next;
    LiveMap chains;  // hash of the columns' keys -> first Group of a chain with equal keys
    uint32_t group_count;
    uint32_t column_count;
    uint16_t columns[];  // ascending
};

typedef struct RangeGuard RangeGuard;  // of one column
struct RangeGuard {
    RangeGuard *next;
    uint16_t column;
    uint32_t group_count;
    RangeNode *root;
};

typedef struct TableArrangement TableArrangement;
struct TableArrangement {
    Arrangement *arrangement;
    uint32_t refs;
    TableArrangement *next;
};

struct LiveTable {
    uint32_t table_id;
    uint32_t group_count;  // groups of this table alone, and nodes of joins that are this table
    Guard *guards;
    RangeGuard *ranges;
    Group *residual, *broadcast;
    JoinUse *joins;
    TableArrangement *arrangements;
};

struct LiveTemplate {
    Standing *standing;  // the plan; its own params are those of whoever came first
    const Query *query;  // of one table: standing->query. Of a join: its root's, for how rows look
    JoinTemplate *join;  // NULL: of one table
    uint64_t hash;
    LiveTable *table;    // of one table
    Guard *guard;        // NULL unless place is PLACE_GUARD
    RangeGuard *ranges;  // likewise PLACE_RANGE
    GroupPlace place;
    uint32_t group_count;
};

typedef struct ViewUse ViewUse;  // a group watches a result of a view
struct ViewUse {
    View *view;
    Group *group;
    ViewUse *next, **link;  // of the result
    ViewUse *more;          // of the group
};

struct Group {
    LiveTemplate *template;
    Group *next, **link;  // in its place: what points here
    uint64_t hash;        // of template and parameters
    uint64_t guard_hash;
    Bytes guard_key;  // keys of the guard's columns
    Sub *subs;
    uint64_t dirty_in;  // the commit in which `delta` is an index
    uint32_t delta;     // of Live.pending
    char *failure;      // why it cannot be kept current; owned
    Group **is_ending;  // to be told that it is gone; NULL: nobody waits
    ViewUse *views;     // the results that it watches; NULL of a query over tables
    FindLink *links;    // of a join
    RangeNode *range;   // among ranges
    Tally *tally;       // of a join with groups
    Bytes values[];     // of the parameters; their bytes stand behind
};

struct Sub {
    Group *group;
    QuerySet *set;
    union {
        Sub *next;   // in the group
        Held *held;  // (5)
    };
    Sub **link;
    Str text;  // trimmed; in the set's memory
};

struct QuerySet {
    LiveClient *client;
    uint64_t id;
    uint32_t count;
    Arena texts;
    Sub *subs;
};

struct Held {  // a query of a distinct client
    Sub sub;
    uint32_t holders;  // sets; gone with the last
    char text[];
};

struct LiveClient {
    Live *live;
    void *owner;
    QueryCaller caller;
    LiveClient *next, **link;
    LiveMap sets;
    uint32_t query_count;
    bool is_distinct;
    LiveMap held;  // hash of the text -> Held
    QuerySet all;  // (5)
    // During live_commit:
    uint64_t touched_in;
    uint32_t update;  // index of its LiveUpdate
    uint32_t delta_count;
};

// What a group gained and lost in the running commit. Kept between commits for its memory.
typedef struct Pending {
    Group *group;
    RowList inserts, deletes;
    bool is_event;
    size_t inserts_at, deletes_at;  // in Live.encoded
    LiveDelta delta;
} Pending;

struct Live {
    const QueryCatalog *catalog;
    LiveOptions options;
    Views *views;             // NULL where there are none
    uint64_t schema_version;  // that every template was compiled against
    LiveMap tables, templates, groups;
    LiveClient *clients;
    LiveStats stats;
    ArrangeMemory arranged;
    uint32_t join_count;  // templates
    bool is_behind;  // a commit was missed: what joins keep is wrong until all of them are gone
    Delta delta;
    JoinScratch *joining;
    Group *tallied;  // groups whose tallies the running commit changed
    Buf failed;      // Group *: those that it could not keep current
    // The running commit, or what the last one left for its caller.
    Arena commit;
    Pending *pending;
    uint32_t pending_count, pending_cap;
    Buf encoded;
    uint64_t priorities;     // state of the treaps' random numbers
    Buf key_old, key_new;    // guard keys of the row at hand
    uint32_t touched_count;  // clients
    // The last answer of live_subscribe or live_unsubscribe.
    Buf answer_bytes;
    Buf answer_rows;            // LiveRows
    uint64_t answer_cost_left;  // rows that may still be looked at for it
    bool answer_elsewhere;
    bool
        answer_may_move;  // to a worker, who may wait for pages      // they were not enough: somebody else reads
};

// ── watch.c ──
// The group of this compiled query, made if need be. Takes the query over, also on failure.
//   ERR_LIMIT  it would need more arrangements, or groups, than the quota allows
//   ERR_INVALID  a sum is too large for its type; diag says which
MUST_USE Err group_obtain(Live *live, Standing **standing, Group **out, Diag *diag);
void group_release(Live *live, Group *group);  // gone when it has no Sub
bool group_matches(const Group *group, Bytes row);
LiveTable *live_table(const Live *live, uint32_t table_id);  // NULL: nobody watches
LiveTable *table_obtain(Live *live, uint32_t table_id);      // NULL: no memory
void table_release(Live *live, LiveTable *table);            // gone when nobody watches
uint64_t guard_key_of(const Guard *guard, const RowLayout *layout, Bytes row, Buf *key);
Group *guard_find(const Guard *guard, uint64_t hash, Bytes key);
Str group_name(const Group *group);  // of its rows

// ── subscribe.c ──
QuerySet *client_set(const LiveClient *client, uint64_t id);
void client_remove_set(LiveClient *client, QuerySet *set);  // and free it
void client_remove_all(LiveClient *client);
void queryset_leave(QuerySet *set);  // every Sub leaves its group
// Compile the set's texts and let its Subs, who are in no group, join theirs; all or nothing. With
// `answers`, the rows they yield are appended to the live's answer.
MUST_USE Err queryset_join(QuerySet *set, bool answers, Diag *diag);

// ── commit.c ──
void pending_free(Live *live);
// The group gains or loses `copies` of a row in the running commit. ERR_NOMEM.
MUST_USE Err group_gain(Live *live, Group *group, Bytes shown, uint64_t copies);
// It cannot be kept current any more: its sets end with this commit. ERR_NOMEM.
MUST_USE Err group_fail(Live *live, Group *group, const char *why);
MUST_USE Err group_lose(Live *live, Group *group, Bytes shown, uint64_t copies);
