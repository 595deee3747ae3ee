// live_private.h: the structures of live/, shared by its files.
//
// PICTURE
//   Live ── LiveTable (per watched table)
//             ├─ broadcast: groups without a predicate
//             ├─ residual:  groups of which no column says anything; each is tested on every changed row
//             └─ Guard (per set of equality columns and a range) ── entries of groups (guard.h)
//        ── LiveTemplate (plan, shared) ── Group (template + parameters) ── Sub ── Sub …
//        ── LiveClient ── QuerySet ── its Subs
//
// MEMORY
//   A million subscriptions with a parameter of their own are a million of each of these two, and an
//   entry in two hash tables of 12 bytes a slot:
//
//     Group     header 24 │ entry 24 │ values, packed                      56 bytes with a u64
//     QuerySet  header 24 │ Sub 48   │ what its text has of its own        80
//
// ALWAYS TRUE
//   (1) A group has at least one Sub, or is held by a LivePrepare or a LiveTell; a template, a guard and a table have at least one group
//       (tables and guards whose last group left are gone too).
//   (2) A group stands in the list of its template, if there is one (broadcast, residual, all groups of a
//       join), and has an entry in a guard for each way of its template; one that can never match stands
//       nowhere. Who is looked for by a row and stands in several places may be found in each.
//   (3) A Sub is in its group's list and in its set's array, from live_subscribe to the end.
//   (4) Between two live_commits no group and no client refers to commit memory.
//   (5) The Subs of a distinct client's sets are in no group. Each holds a Held, whose own Sub is: it
//       belongs to the client's set `all`, which has no id and no array.
#pragma once
#include "base/mem.h"
#include "live/arrange.h"
#include "live/delta.h"
#include "live/guard.h"
#include "live/live.h"
#include "live/map.h"
#include "live/text.h"
#include "live/view.h"
#include "query/standing.h"
#include "query/tally.h"

typedef struct LiveTable LiveTable;
typedef struct LiveTemplate LiveTemplate;
typedef struct GroupMore GroupMore;
typedef struct Sub Sub;
typedef struct Held Held;
typedef struct QuerySet QuerySet;
typedef struct JoinTemplate JoinTemplate;  // join.h
typedef struct JoinUse JoinUse;
typedef struct JoinScratch JoinScratch;

typedef struct TableArrangement TableArrangement;
struct TableArrangement {
    Arrangement *arrangement;
    uint32_t refs;
    LivePrepare *prepare;  // NULL: it is ready, and nobody holds it for a question
    TableArrangement *next;
};

struct LiveTable {
    uint32_t table_id;
    uint32_t group_count;  // groups of this table alone, and nodes of joins that are this table
    Guard *guards;
    WatchEntry *residual, *broadcast;
    JoinUse *joins;
    TableArrangement *arrangements;
};

struct LiveTemplate {
    Standing *standing;  // the plan; its own params are those of whoever came first
    const Query *query;  // of one table: standing->query. Of a join: its root's, for how rows look
    JoinTemplate *join;  // NULL: of one table
    uint64_t hash;
    LiveTable *table;   // of one table
    WatchEntry **list;  // in which its groups stand; NULL: none
    GuardWay *ways;     // by which rows find them
    uint32_t way_count, way_cap;
    bool by_guard;  // a group's values are its key in the only guard: it is looked for there
    bool has_more;  // its groups have a GroupMore
    uint32_t group_count;
    uint32_t value_count;
    const Type **value_types;  // value_count of them; NULL: text
    Bytes *values;             // scratch of group_values
};

typedef struct ViewUse ViewUse;  // a group watches a result of a view
struct ViewUse {
    View *view;
    Group *group;
    ViewUse *next, **link;  // of the result
    ViewUse *more;          // of the group
};

struct Group {  // lists and guards: entries behind it, then its values
    LiveTemplate *template;
    Sub *subs;
    uint32_t pending;    // perhaps its place in Live.pending: see there
    uint32_t values_at;  // bytes from here
};

// What only groups of joins and of views have; it stands in front of them.
struct GroupMore {
    ViewUse *views;     // the results that it watches
    char *failure;      // why it cannot be kept current; owned
    Group **is_ending;  // to be told that it is gone; NULL: nobody waits
    Tally *tally;       // of a join with groups; NULL: it is prepared
    LivePrepare *prepare;
    Group *next_tallied;  // in Live.tallied
    uint64_t tallied_in;  // the commit in which it was put there
    uint64_t stabbed_in;  // the last look-up that found it
};

static inline GroupMore *group_more(const Group *group) {  // NULL: it has none
    return group->template->has_more ? (GroupMore *)(uintptr_t)group - 1 : NULL;
}

struct Sub {
    Group *group;
    QuerySet *set;
    union {
        Sub *next;   // in the group
        Held *held;  // (5)
    };
    Sub **link;
    TextShape *shape;  // the text, trimmed
    uint32_t own_at;   // what of it is its own: bytes from here
    uint32_t own_len;
};

struct QuerySet {  // its Subs behind it, then their texts' bytes
    LiveClient *client;
    uint64_t id;
    uint32_t count;
};

static inline Sub *queryset_sub(const QuerySet *set, uint32_t at) {
    ASSERT(at < set->count);
    return (Sub *)(uintptr_t)(set + 1) + at;
}

struct Held {  // a query of a distinct client
    Sub sub;
    uint32_t holders;  // sets; gone with the last
    uint8_t own[];     // of its text
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
    const LiveChange *last;  // that a row was taken from; for groups that are found twice
    const LiveDelta *told;   // NULL: what it says is in the lists
    bool is_event;
    size_t inserts_at, deletes_at;  // in Live.encoded
    LiveDelta delta;
} Pending;

struct Live {
    const QueryCatalog *catalog;
    LiveOptions options;
    Views *views;             // NULL where there are none
    uint64_t schema_version;  // that every template was compiled against
    LiveMap tables, templates;
    LiveMap groups;  // hash of template and parameters -> Group, unless its guard finds it
    LiveMap shapes;  // of texts
    Buf text;        // the last one that was put together
    LiveClient *clients;
    LiveStats stats;
    ArrangeMemory arranged;
    uint32_t join_count;  // templates
    LivePrepare *prepares;
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
    uint64_t stab;           // look-ups in finders
    Buf key_old, key_new;    // of what is looked for
    struct Stab *matching;   // stab.h
    LiveTell *tell;          // NULL: none
    uint32_t touched_count;  // clients
    // The last answer of live_subscribe or live_unsubscribe.
    Buf answer_bytes;
    Buf answer_rows;              // LiveRows
    Buf answer_kept;              // Standing *: what they borrow from, of groups
    uint64_t answer_cost_left;    // rows that may still be looked at for it
    bool answer_elsewhere;        // they were not enough: somebody else reads
    bool answer_may_move;         // to a worker, who may wait for pages
    LivePrepare *answer_prepare;  // that it waits for
};

// ── watch.c ──
// The group of this compiled query, made if need be. Takes the query over, also on failure.
//   ERR_BUSY   something must be prepared, or is (prepare.h)
//   ERR_LIMIT  it would need more arrangements, or groups, than the quota allows
//   ERR_INVALID  a sum is too large for its type; diag says which
MUST_USE Err group_obtain(Live *live, Standing **standing, Group **out, Diag *diag);
void group_release(Live *live, Group *group);  // gone when it has no Sub
// The values of its parameters, until the next group of its template is asked.
const Bytes *group_values(const Group *group);
// The same, for which there is room; on any thread.
const Bytes *group_values_in(const Group *group, Bytes *room);
// Another way in which rows find the groups of a template that is being made. ERR_NOMEM.
MUST_USE Err template_add_way(LiveTemplate *template, GuardWay way);
LiveTable *live_table(const Live *live, uint32_t table_id);  // NULL: nobody watches
LiveTable *table_obtain(Live *live, uint32_t table_id);      // NULL: no memory
void table_release(Live *live, LiveTable *table);            // gone when nobody watches
Str group_name(const Group *group);                          // of its rows

// ── subscribe.c ──
Str sub_text(const Sub *sub);  // until the next call; ptr NULL: no memory
// Free what the last answer borrows from.
void answer_forget(Live *live);
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
