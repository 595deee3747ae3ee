// plan.h: how a SELECT over any number of relations is carried out. Inside this room only.
//
// PICTURE
//   SELECT a.x, COUNT(*) AS n FROM a JOIN b ON a.id = b.a LEFT JOIN c ON …  WHERE … GROUP BY … ORDER BY …
//
//   leaf a    leaf b    leaf c         one Query each: its own conditions, its rules, its index
//     └─────────┴─────────┘
//   join      steps in an order of their own:     scan b ─> look up a by index ─> hash c
//   groups    one for each key
//   sort      by keys that compare as bytes
//   sink      offset, limit; a row is the BSATN of its columns
//
//   A row of the join is one borrowed row for each relation; that of a relation behind LEFT JOIN
//   may be missing (ptr NULL), and then its columns have no value.
//
// ALWAYS TRUE
//   (1) Every row that leaves a leaf is one that the caller may see: row-level security is the
//       leaf's business, so that no form of query can look past it. Rules with joins are plans of
//       their own: a row stays if one of them finds it a partner.
//   (2) The steps up to the first LEFT JOIN may be put in any order; from there on they are as
//       written, because what stands before a LEFT JOIN decides what is missing.
//   (3) A condition is tested as soon as everything it names is there. What cannot be said, since a
//       value is missing, does not hold.
//   (4) What a run remembers (hash tables, groups, rows to sort) is counted, and more than
//       memory_max ends it with ERR_INVALID.
#pragma once
#include "query/compile.h"
#include "query/place.h"
#include "query/standing.h"

typedef struct PlanColumn {
    uint32_t relation;  // as written
    uint16_t column;
} PlanColumn;

// A predicate over several relations, children before parents.
typedef struct PlanNode {
    SqlNodeKind kind;
    QueryOp op;
    uint32_t left, right;
    PlanColumn column;  // SQL_COLUMN
    const Type *type;
    Bytes value;        // constants
    uint32_t constant;  // likewise: which of Join.constants
} PlanNode;

typedef struct PlanExpr PlanExpr;
struct PlanExpr {
    PlanExpr *next;  // which must hold as well
    PlanNode *nodes;
    uint32_t count;
};

typedef struct PlanLeaf {
    Str alias;
    Query *query;    // owned; the rows of this relation that count
    Query *allowed;  // owned; what rules without joins allow. NULL: `query` says all there is
    Join **rules;    // each about a given row of this table
    uint32_t rule_count;
    bool nullable;                       // behind LEFT JOIN
    uint64_t rows, looked_at, estimate;  // of the table, where the query looks, of the query
} PlanLeaf;

typedef enum StepAccess {
    STEP_GIVEN,   // the one row that somebody asks about
    STEP_SCAN,    // the leaf's place
    STEP_LOOKUP,  // an index, by values of relations before
    STEP_HASH,    // a hash table of the leaf's rows, by values of relations before
} StepAccess;

typedef struct StepKey {
    uint16_t column;   // of this step's relation
    PlanColumn outer;  // the column of a relation before whose value it must have …
    Bytes constant;    // … or a memcomparable key, if ptr is not NULL
    uint32_t param;    // likewise: which parameter of the leaf's query
} StepKey;

typedef struct JoinStep {
    uint32_t relation;
    StepAccess access;
    uint32_t index_id;  // STEP_LOOKUP
    bool is_unique;     // and finds one row at most
    bool left;          // LEFT JOIN: where nothing is found, a missing row is
    StepKey *keys;      // LOOKUP: leading columns of the index; HASH: what is hashed
    uint32_t key_count;
    PlanExpr *on;       // what makes a row a match
    PlanExpr *filter;   // tested afterwards, also with a missing row
    uint64_t estimate;  // rows so far
} JoinStep;

struct Join {
    PlanLeaf *leaves;  // by relation
    JoinStep *steps;
    uint32_t count;     // of both
    uint32_t node_max;  // of the largest predicate
    uint64_t cost;      // in rows looked at, a guess
    // What is said of several relations, as written: for who compares joins (standing.c).
    Bytes shape;       // constants aside
    Bytes *constants;  // of those conditions, in their order
    const Type **constant_types;
    uint32_t constant_count;
};

typedef struct PlanOutput {
    Str name;
    const Type *type;      // of the answer
    SqlFunction function;  // SQL_PLAIN: the column itself
    PlanColumn column;
    const Type *column_type;
    bool wraps;      // `type` is an Option around what comes out
    uint32_t group;  // SQL_PLAIN among aggregates: which of the groups' columns
} PlanOutput;

typedef struct PlanOrder {
    bool of_output;
    uint32_t output;
    PlanColumn column;
    const Type *type;  // of the value, which may be an Option
    bool descending, nulls_first;
} PlanOrder;

struct Plan {
    Arena arena;
    Join join;
    bool whole_row;  // the answer is the row of `shown` as it is
    uint32_t shown;
    PlanOutput *outputs;
    uint32_t output_count;
    bool has_groups;  // aggregates or GROUP BY
    PlanColumn *groups;
    const Type **group_types;
    uint32_t group_count;
    PlanOrder *orders;
    uint32_t order_count;
    bool has_limit;
    uint64_t limit, offset;
    size_t memory_max;
    // As in Query.
    const atomic_bool *stop;
    uint64_t rows_max, bytes_max;
    uint64_t
        tries_max;  // combinations of rows that a run may try, then it ends with ERR_AGAIN; 0: any number
    bool distinct;  // of whole rows: each once, whatever its partners
};

#define PLAN_MEMORY_MAX ((size_t)256 << 20)

// ── making (plan_build.c, plan_leaf.c, plan_order.c, plan_output.c) ────────────────────────────

typedef struct PlanBuilder {
    const QueryCatalog *catalog;
    const QueryCaller *caller;
    QueryDoor door;
    Arena *arena;    // of the plan
    Arena *scratch;  // ends with the compilation
    Diag *diag;
    Scope *scope;
    const SqlSelect *select;
    // Inside of a rule: which tables' rules are being applied, and whose rule this is.
    const CatalogTable *const *path;
    uint32_t path_len;
    bool in_rule;
    bool links_only;  // look-ups by what relations before say, not by constants
    QueryStats
        *stats;  // NULL: row counts and rules of thumb. What stands must not depend on values
} PlanBuilder;

MUST_USE Err plan_new(const PlanBuilder *what, const SqlSelect *select, Plan **out);
void plan_free(Plan **plan);
// As query_detach, of everything in it (plan_detach.c).
MUST_USE Err plan_detach(Plan *plan);
// As query_cost.
uint64_t plan_cost(const Plan *plan, uint64_t most);

// A conjunct of WHERE or ON.
typedef struct RelationSet {
    uint64_t bits[SQL_RELATIONS_MAX / 64];
} RelationSet;
typedef struct Conjunct Conjunct;
struct Conjunct {
    Conjunct *next;
    const SqlNode *source;  // its nodes as parsed, from `first` to `root`
    const Typed *typed;
    uint32_t first, root;
    RelationSet uses;
    uint32_t use_count;
    uint32_t left_join;  // the relation behind LEFT JOIN whose condition it is; 0: none
    uint32_t constant;   // the first of its constants in the join's
    bool done;           // it has found its place
};

static inline bool relations_have(const RelationSet *set, uint32_t r) {
    return set->bits[r / 64] >> (r % 64) & 1;
}
static inline void relations_add(RelationSet *set, uint32_t r) {
    set->bits[r / 64] |= (uint64_t)1 << (r % 64);
}
bool relations_within(const RelationSet *part, const RelationSet *whole);
// `column = column` of two relations, one of which is `r`: the other. False: it is not that.
bool conjunct_links(const Conjunct *c, uint32_t r, uint16_t *own, PlanColumn *other);

// Scope, leaves and steps. `given` (UINT32_MAX: none) is the relation of which a row is given.
MUST_USE Err join_build(PlanBuilder *b, uint32_t given, Join *join);
void join_deinit(Join *join);  // the queries in it
// The Query of a relation, with its conjuncts and rules.
MUST_USE Err leaf_build(PlanBuilder *b, uint32_t relation, Conjunct *conjuncts, PlanLeaf *leaf);
MUST_USE Err steps_build(PlanBuilder *b, uint32_t given, Conjunct *conjuncts, Join *join);
MUST_USE Err outputs_build(PlanBuilder *b, Plan *plan);

// ── guessing (estimate.c) ──────────────────────────────────────────────────────────────────────

// `stats` may be NULL: row counts, what is unique, and rules of thumb have to do.

// Choose between the indexes that the query's conditions lead to, by how many rows stand there. Without
// statistics it keeps the choice of place.h. ERR_NOMEM.
MUST_USE Err estimate_settle(Query *query, QueryStats *stats);
// How many rows a query finds, and how many it looks at for that (may be NULL).
uint64_t estimate_query(const Query *query, QueryStats *stats, uint64_t *looked_at);
// How many rows of `table` have the value of a row's `outer_column`, on average over these rows: by
// the first `columns` columns of `index`, or by one column. False: that is not known.
typedef struct EstimateLink {
    const Table *table;
    const StoreIndexInfo *index;  // NULL: `column` alone
    uint32_t columns;             // likewise 1 or 0
    uint16_t column;
    const Table *outer;
    uint16_t outer_column;
} EstimateLink;
bool estimate_link(const EstimateLink *link, QueryStats *stats, double *out);  // stats not NULL

// ── running ────────────────────────────────────────────────────────────────────────────────────

// What each step did, for EXPLAIN.
typedef struct StepStats {
    uint64_t touched;  // rows looked at
    uint64_t kept;     // rows that went on
} StepStats;

typedef struct PlanStats {
    StepStats *steps;  // join.count of them, the caller's; NULL: nobody asks
    uint64_t groups, sorted, memory_bytes;
} PlanStats;

// The sink gets answer rows: the BSATN of the outputs one behind another. ERR_LIMIT when it answers false,
// ERR_INVALID with a text when memory_max is reached or a sum is too large for its type, and what
// query_run says.
MUST_USE Err plan_run(const Plan *plan,
                      const Snapshot *snapshot,
                      QuerySink sink,
                      void *ctx,
                      PlanStats *stats,
                      Diag *diag);

// A column's value as its output shows it; ptr NULL: missing.
static inline void plan_put_value(Buf *row, const PlanOutput *output, Bytes value) {
    if (!value.ptr || output->wraps) buf_put_u8(row, value.ptr ? 0 : 1);
    if (value.ptr) buf_put_bytes(row, value);
}

// Memory of a run: counts against plan->memory_max.
typedef struct PlanMemory {
    size_t used, max;
    Diag *diag;
    const atomic_bool *stop;
    uint64_t tries_max;  // Plan's
} PlanMemory;
MUST_USE Err plan_memory_take(PlanMemory *memory, size_t bytes);

// The join alone (join_run.c).
typedef struct JoinRun JoinRun;
MUST_USE Err join_run_new(const Join *join,
                          const Snapshot *snapshot,
                          PlanMemory *memory,
                          JoinRun **out);
void join_run_free(JoinRun **run);
// Begin anew; `given` is the row of the relation that is given. Hash tables stay.
void join_run_start(JoinRun *run, Bytes given);
// The next combination of rows. False: there is none, or join_run_err says why.
bool join_run_next(JoinRun *run);
Err join_run_err(const JoinRun *run);
Bytes join_run_row(const JoinRun *run, uint32_t relation);  // ptr NULL: missing
// What join_run_next finds next has another row at the first step.
void join_run_skip(JoinRun *run);
// The value of a column; ptr NULL: there is none. An Option that is there is an Option here.
Bytes join_run_value(const JoinRun *run, PlanColumn column);
StepStats join_run_stats(const JoinRun *run, uint32_t step);

// AND, OR of two truths; ptr NULL: it cannot be said.
Bytes plan_and_or(Bytes a, Bytes b, bool is_and);

// limit.c: §2.4. ERR_INVALID with its text.
MUST_USE Err limit_check_plan(const QueryCatalog *catalog,
                              const QueryCaller *caller,
                              const Plan *plan,
                              Diag *diag);

// Groups (group.c).
typedef struct Groups Groups;
MUST_USE Err groups_new(const Plan *plan, PlanMemory *memory, Groups **out);
void groups_free(Groups **groups);
MUST_USE Err groups_add(Groups *groups, const JoinRun *run);
MUST_USE Err groups_end(Groups *groups);  // a query without GROUP BY has one group in any case
uint64_t groups_count(const Groups *groups);
// The answer row of a group, appended. ERR_INVALID: a sum is too large for its type.
MUST_USE Err groups_row(Groups *groups, uint64_t at, Buf *out);

// Rows to be put in order (sort.c).
typedef struct Sorter Sorter;
MUST_USE Err sorter_new(const Plan *plan, PlanMemory *memory, Sorter **out);
void sorter_free(Sorter **sorter);
// `row` is an answer row; `run` may be NULL if no order asks for other columns.
MUST_USE Err sorter_add(Sorter *sorter, const JoinRun *run, Bytes row);
void sorter_sort(Sorter *sorter);
uint64_t sorter_count(const Sorter *sorter);
Bytes sorter_row(const Sorter *sorter, uint64_t at);
