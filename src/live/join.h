// join.h: subscriptions whose answer depends on more than one row: joins, rules with joins, groups.
// Inside this room only.
//
// PICTURE
//   a commit's row of node z        SELECT p.* FROM player p JOIN zone z ON p.zone = z.id WHERE z.owner = $0
//     │ finder of z: owner ──> the groups whose $0 it is       (by ranges and ORs, too: guard.h)
//     │ did the existence of a z with this id flip for them?   no: nobody needs to know
//     └─ up: rows of p with p.zone = z.id ──> candidates
//   a commit's row of p ──────────────────────> candidate; its groups are found by going down to z
//   candidate ──> was it a member before, is it one now? ──> gained, lost
//
// ALWAYS TRUE
//   (1) A candidate may be found in vain, and more than once; none is missed. Whether a row was and is
//       a member is tested, not derived, so nothing that was said before can make it wrong.
//   (2) A row that the commit changed is tested as what it was and as what it is; one that it did not
//       change is looked at once for each group.
//   (3) Every group of a template stands in all of its finders, by one or several ways (guard.h).
#pragma once
#include "live/delta.h"
#include "live/live_private.h"
#include "query/standing.h"

typedef struct JoinTemplate JoinTemplate;

// Groups by what they ask of one node's columns.
typedef struct Finder {
    uint32_t node;
    // It finds the groups that let the node's row through by rules without joins; the others may do so
    // by another rule. False: who has another value there is not concerned by the row at all.
    bool is_one_of_several;
    Guard *guards;
    uint32_t *path;  // nodes from below the root to `node`
    uint32_t path_len;
} Finder;

typedef struct JoinUse JoinUse;  // a table is a node of a template
struct JoinUse {
    JoinTemplate *join;
    JoinUse *next, **link;
};

struct JoinTemplate {
    LiveTemplate *template;
    const Standing *standing;
    Arena arena;
    ProbePlan *step_plans;  // of each node: as its step looks for it
    ProbePlan *up_plans;    // the parent's rows of a row
    ProbePlan *walk_plans;  // a parent's rows of the node, without parameters
    ProbePlan *from_plans;  // of standing->from[i], step k: [i * count + k]
    uint32_t **below;       // of each node: the steps of its subtree, itself first; and how many
    uint32_t *below_count;
    bool *constant_below;  // no parameter in its subtree
    Finder *finders;       // 0: every group is looked at
    uint32_t finder_count;
    WatchEntry *groups;  // all
    JoinUse *uses;       // by node
    uint64_t dirty_in;
};

// Build it for the template, whose standing stays where it is. ERR_LIMIT: arrangements would need
// more than their quota. ERR_BUSY: one must be prepared (prepare.h). ERR_NOMEM.
// The ways by which rows find its groups are added to the template.
MUST_USE Err join_new(Live *live, LiveTemplate *template, JoinTemplate **out, Diag *diag);
// One user less of an arrangement; with `frees` the last one takes it along.
void table_arrangement_release(LiveTable *table, TableArrangement *arranged, bool frees);
void join_free(Live *live, JoinTemplate **join);  // harmless on NULL; its groups are gone

// The groups of the answer as they are now, for a group that was made of `standing`. ERR_LIMIT: they need
// more memory than there is for them; ERR_INVALID; diag says why. ERR_BUSY: they must be prepared.
MUST_USE Err join_tally_begin(Live *live, Group *group, const Standing *standing, Diag *diag);

// What a commit means to all joins: pending deltas of their groups. After delta_begin.
MUST_USE Err join_commit(Live *live);
// Bring every arrangement up to date. Before join_commit.
MUST_USE Err join_arrange(Live *live, const LiveChange *changes, size_t count);
void join_scratch_free(Live *live);

// ── inside: join.c, join_make.c, join_eval.c, join_tally.c ─────────────────────────────────────

typedef struct JoinSeen JoinSeen;
struct JoinSeen {
    JoinSeen *next;
    const Group *group;
    uint32_t node;
    Bytes bytes;
    uint64_t hash;
};

// Memory that a template needs while a commit is matched with it; one after another they use it.
struct JoinScratch {
    uint32_t node_count;  // there is room for
    Probe *steps, *ups, *walks;
    Bytes *rows;
    Arena arena;
    JoinSeen **seen;
    uint64_t seen_mask, seen_count;
};
MUST_USE Err join_scratch_reserve(Live *live, uint32_t node_count);

// What is asked about one group's rows.
typedef struct Eval Eval;
struct Eval {
    Live *live;
    const JoinTemplate *join;
    const Standing *s;
    JoinScratch *x;
    const Bytes *values;  // the group's
    Version version;
    // Called for every combination that is found, its rows in x->rows; may be NULL.
    void (*each)(Eval *e);
    Group *group;  // `each`'s
    Err err;
};

// How many combinations there are with this row of the root, but no more than `most`: is it a member?
uint64_t eval_members(Eval *e, Bytes row, uint64_t most);
// How many rows of the node's table, with what is below it, have the same link as `row`.
uint64_t eval_below(Eval *e, uint32_t node, Bytes row, uint64_t most);
// May the row be seen, as far as rules with joins go?
bool eval_allowed(Eval *e, uint32_t node, Bytes row);
// The look-up key of a step, from what is in e->x->rows. False: something is missing.
bool eval_key(Eval *e, const StandingStep *step, Probe *probe);

// Was this met before, by this template in this commit? Notes it.
bool join_seen(Eval *e, const Group *group, uint32_t node, Bytes bytes);

// Groups whose parameters a row of the root may satisfy through its partners, each at least once.
typedef void (*JoinEach)(void *ctx, Eval *e, Group *group);
void join_discover(Eval *e, Bytes row, JoinEach each, void *ctx);
void join_stab(Eval *e, const Finder *finder, Bytes row, JoinEach each, void *ctx);
// The finder by which a row of the node finds every group that it can concern. NULL: there is none.
const Finder *join_finder_at(const JoinTemplate *join, uint32_t node);
// Do the two rows of a change differ in nothing that a link, a condition or an output speaks of?
bool join_same_to_others(const Eval *e, uint32_t node, const LiveChange *change);

// Groups: the combinations of a root's row as it was and is; all that a commit changed, of inner joins.
MUST_USE Err join_tally_settle(Eval *e, Group *group, Bytes old, Bytes new);
void join_tally_changes(Eval *e);
// Tell the subscribers of all groups that were changed.
MUST_USE Err join_tally_flush(Live *live);
