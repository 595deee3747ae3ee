// standing.h: a query that stands: somebody wants to hear of every change of its answer.
//
// PICTURE
//   text ──standing_compile──┬─> a Query of one table (query.h), to be matched with rows alone
//                            └─> nodes: one for each relation, those of row-level security included
//
//   SELECT p.* FROM player p JOIN zone z ON p.zone = z.id LEFT JOIN guild g ON … WHERE z.owner = $0
//
//        p   root: the relation whose rows the answer consists of
//       ╱ ╲       a child is linked to its parent by columns that must be equal
//      z   g      a rule with joins is a block of its own, whose first node is the row itself
//
//   block      nodes that are looked for together, in the order of its steps; the first is given
//   member     a row of the root is in the answer if its block finds a partner for every step
//
// What is looked for, and in which order, is the template. Constants are parameters: 10⁶ clients with a
// zone of their own share one template (spec §4.3). Whoever carries it out (live/) decides on which
// state of the tables.
//
// ALWAYS TRUE
//   (1) Equal `key`s: the same nodes, steps and conditions, parameters aside, up to what indexes and
//       row counts had to say about the order when each was compiled.
//   (2) Every node but those given has its parent among the nodes before it in its block.
#pragma once
#include "query/query.h"

typedef struct Plan Plan;
typedef struct Join Join;
typedef struct Standing Standing;
typedef struct StandingExpr StandingExpr;  // conditions, all of which must hold

typedef struct StandingColumn {
    uint32_t node;
    uint16_t column;
} StandingColumn;

// One column of a look-up, and whose value it must have.
typedef struct StandingKey {
    uint16_t column;  // of the node that is looked for
    bool is_param;
    uint32_t param;        // in Standing.values …
    StandingColumn outer;  // … or of a node before
} StandingKey;

typedef struct StandingStep {
    uint32_t node;
    bool optional;  // LEFT JOIN: where nothing is found, a missing row is
    bool has_index;
    uint32_t index_id;  // whose leading columns are the keys', in this order
    StandingKey *keys;  // none, not of the first step: every row of the table
    uint32_t key_count;
    const StandingExpr *on;      // what makes a row a match; NULL: nothing more
    const StandingExpr *filter;  // tested afterwards, also with a missing row; likewise
} StandingStep;

typedef struct StandingBlock {
    uint32_t first, count;                  // its nodes
    uint32_t constants_at, constant_count;  // what its conditions compare with, in values
    StandingStep *steps;                    // count of them; step 0 is the given node
} StandingBlock;

typedef enum StandingUp {
    STANDING_ROOT,
    STANDING_LINK,   // by the columns of `links`
    STANDING_CROSS,  // every row of the parent
    STANDING_SAME,   // it is the parent's row, of which a rule speaks
} StandingUp;

typedef struct StandingLink {
    uint16_t column, parent_column;
} StandingLink;

typedef struct StandingNode {
    const Query *leaf;     // its own conditions, and rules without joins unless there are others
    uint32_t leaf_at;      // of its parameters in values
    const Query *allowed;  // rules without joins of a node that has rules with joins; else NULL
    uint32_t allowed_at;
    uint32_t block, step;  // where it is looked for
    uint32_t *rules;       // blocks: one of them, or `allowed`, must let the row through
    uint32_t rule_count;
    StandingUp up;
    uint32_t parent;
    StandingLink *links;
    uint32_t link_count;
    // The nodes below it are bound to the others by `links` alone: to the parent it is all the same
    // which rows there are, as long as there is one.
    bool separable;
    // Behind LEFT JOIN, and nobody asks what was found: of no concern to who counts each row once.
    bool silent;
    uint64_t used[4];  // columns that links and conditions speak of, up to 256: bit sets
} StandingNode;

struct Standing {
    Arena arena;
    bool mentions_sender;  // the text, not the rules
    Query *query;          // of one table; then there is nothing below
    Plan *plan;            // to run it
    Join *join;            // its conditions are the steps'
    StandingNode *nodes;
    uint32_t node_count;
    StandingBlock *blocks;
    uint32_t block_count;  // block 0 is the query, its first step the root
    uint32_t root;
    Bytes *values;  // of each parameter: BSATN
    const Type **value_types;
    uint32_t param_count;
    Bytes key;
    Str text;  // trimmed: what its rows are called if they are of no table
    // COUNT, SUM, …: the answer consists of groups. Of inner joins without rules of their own,
    // `from[i]` is the block that begins with node i.
    bool has_groups;
    StandingBlock *from;
    const Type *row_type;  // of groups
    // Of standing_holds.
    uint32_t node_max;
    Bytes *scratch;
};

#define STANDING_NODES_MAX 64u

// What subscriptions may ask. `strict`: what the original takes and no more (spec §3.2, V16): two
// relations, an index on the side that is probed, whole rows. Else joins of any shape and aggregates, as
// long as a change of a row can be followed without looking at all rows of a table.
//   as query_compile; "Subscriptions require indexes on join columns", "Invalid number of tables in
//   subscription: …", "Event tables cannot be used as the lookup table in subscription joins"
MUST_USE Err standing_compile(Str text,
                              bool strict,
                              const QueryCatalog *catalog,
                              const QueryCaller *caller,
                              Standing **out,
                              Diag *diag);
void standing_free(Standing **standing);

// The table whose rows it yields; NULL where it has groups.
const CatalogTable *standing_table(const Standing *standing);
// What its rows look like. Groups are called by the query's own text, and belong to no table (0).
typedef struct StandingRows {
    Str name;
    uint32_t table_id;
    uint32_t hidden_columns;  // of row_type, in front of what is shown
    const Type *row_type;
} StandingRows;
StandingRows standing_rows(const Standing *standing);
bool standing_is_event(const Standing *standing);
// The queries of its relations, for who keeps results of views. Until `each` answers an error.
MUST_USE Err standing_each_query(const Standing *standing,
                                 Err (*each)(void *ctx, const Query *query),
                                 void *ctx);
// As query_check_limit, query_cost, query_detach.
MUST_USE Err standing_check_limit(const QueryCatalog *catalog,
                                  const QueryCaller *caller,
                                  const Standing *standing,
                                  Diag *diag);
uint64_t standing_cost(const Standing *standing, uint64_t most);
MUST_USE Err standing_detach(Standing *standing);
void standing_limit(Standing *standing, const atomic_bool *stop, uint64_t rows, uint64_t bytes);
// The answer now, as a client is to see it: each row once, or with `bag` as often as it has partners.
MUST_USE Err standing_run(const Standing *standing,
                          const Snapshot *snapshot,
                          bool bag,
                          QuerySink sink,
                          void *ctx,
                          Diag *diag);

// Do the conditions hold? `rows` by node, ptr NULL: missing. `values`: of the parameters.
bool standing_holds(const Standing *standing,
                    const StandingBlock *block,
                    const StandingExpr *expr,
                    const Bytes *rows,
                    const Bytes *values);
// Does a row satisfy the node's own conditions? Rules with joins aside.
static inline bool standing_leaf_holds(const StandingNode *node, const Bytes *values, Bytes row) {
    return query_matches_with(node->leaf, values + node->leaf_at, row);
}
