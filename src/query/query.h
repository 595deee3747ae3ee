// query.h: a query of one table: what a subscription is, and what plans are made of. Spec:
// sql-and-subscriptions §1, §2. Whole statements (joins, groups, writes): statement.h.
//
//   text ──lex, parse──> SqlSelect ──resolve, type──> Query (template + parameters) ──> rows
//
// A Query is its *template* (the plan with every literal replaced by a parameter slot) and the
// parameter values: 10⁶ clients with `WHERE id = <their id>` share one
// template (§4.3). Queries know tables through a Catalog, so the same code serves the SQL door,
// one-off queries and subscriptions.
#pragma once
#include <stdatomic.h>

#include "base/ids.h"
#include "txn/readset.h"

// Who asks, and with which rights (§2.2).
typedef struct QueryCaller {
    Identity identity;
    bool is_owner;  // reads private tables, may run DML, row-level security does not bind him
} QueryCaller;

// What is remembered of the values in a database's tables, for choosing between ways to carry out a
// statement (stats.h). The owner's thread only; it holds nothing of any table. NULL: out of memory.
typedef struct QueryStats QueryStats;
QueryStats *query_stats_new(void);
void query_stats_free(QueryStats **stats);  // harmless on NULL

// How names are found. Answers NULL for a table that does not exist.
typedef struct QueryCatalog {
    void *ctx;
    const CatalogTable *(*table_by_name)(void *ctx, Str name);  // canonical first, then accessor
    // Every user table, for SELECT * FROM *: stops when `each` returns false.
    void (*each_table)(void *ctx, bool (*each)(void *ectx, const CatalogTable *table), void *ectx);
    uint64_t schema_version;  // changes whenever an answer could
    // The row-level security rules of a table, until `each` returns false. NULL: there are none.
    Err (*each_rule)(void *ctx,
                     const CatalogTable *table,
                     bool (*each)(void *ectx, Str sql),
                     void *ectx);
    // Rows that a query of anybody but the owner may look at (§2.4). False: as many as it likes.
    // NULL: always false.
    bool (*row_limit)(void *ctx, uint64_t *out);
    QueryStats *stats;  // NULL: row counts and rules of thumb have to do
} QueryCatalog;

typedef enum QueryDoor {
    QUERY_SQL,        // HTTP: the full dialect
    QUERY_ONE_OFF,    // subscription grammar
    QUERY_SUBSCRIBE,  // subscription grammar and its restrictions
} QueryDoor;

typedef enum QueryOp { QUERY_EQ, QUERY_NE, QUERY_LT, QUERY_LE, QUERY_GT, QUERY_GE } QueryOp;

// A predicate is a flat program of tests: begin at Query.entry, and each test names where to go
// when it holds and when it does not, until QUERY_ACCEPT or QUERY_REJECT. AND, OR and NOT are only
// jumps, so evaluating short-circuits and never recurses, however the text was nested.
typedef enum QueryTestKind {
    QTEST_COMPARE,  // column `op` parameter
    QTEST_COLUMNS,  // column `op` other_column
    QTEST_PUSH,     // remember `bit`: the left side of a comparison of two predicates
    QTEST_POP,      // remembered bit `op` `bit`
    QTEST_NONE,     // column, an Option, has no value (QUERY_EQ) or has one (QUERY_NE)
} QueryTestKind;

#define QUERY_ACCEPT UINT32_MAX
#define QUERY_REJECT (UINT32_MAX - 1)

typedef struct QueryTest {
    QueryTestKind kind;
    QueryOp op;
    bool bit;
    uint16_t column, other_column;
    uint32_t param;
    uint32_t if_true, if_false;  // a later test, or QUERY_ACCEPT or QUERY_REJECT
} QueryTest;

typedef struct QueryConjunct {  // a top-level conjunct `column op parameter`
    uint16_t column;
    QueryOp op;  // never QUERY_NE
    uint32_t param;
} QueryConjunct;

// One way to satisfy a predicate with an OR: `a = 1 OR (b = 2 AND c > 3)` has two.
typedef struct QueryBranch {
    QueryConjunct *conjuncts;  // all that must hold then, as in Query
    uint32_t conjunct_count;
} QueryBranch;

#define QUERY_BRANCHES_MAX 64u

typedef enum QueryProjection { QPROJECT_ROW, QPROJECT_COLUMNS, QPROJECT_COUNT } QueryProjection;

// Which result of a view: column 0 of its table (catalog.h).
typedef struct QueryViewKey {
    uint8_t hash[CATALOG_VIEW_HASH_BYTES];
} QueryViewKey;

// Where a query looks for its rows.
typedef struct QueryPath {
    uint32_t index_id;        // or TABLE_ROWS
    const uint16_t *columns;  // of it; they live as long as the Table
    uint32_t equal;           // leading columns fixed by equality
    bool ranged;              // the next one has a bound
} QueryPath;

typedef struct Query {
    Arena arena;
    QueryDoor door;
    const CatalogTable *table;  // borrows from the catalog: valid while schema_version is the same,
                                // unless the query was detached
    const RowLayout *layout;    // of its rows; likewise
    QueryTest *tests;
    uint32_t test_count;
    uint32_t entry;
    Bytes *values;  // of each parameter: BSATN of the column's type
    Bytes *keys;    // the same, memcomparable (sats/key.h)
    const Type **value_types;
    uint32_t param_count;
    QueryConjunct *conjuncts;  // by column, then operator: equality first
    uint32_t conjunct_count;
    // Of an OR that must hold, IN included, each of whose ways narrows some column more than `conjuncts`
    // do. None: there is no such, or it has more ways than QUERY_BRANCHES_MAX.
    QueryBranch *branches;
    uint32_t branch_count;
    bool mentions_sender;
    // Of a view (table->is_view) a query sees one result: that of its caller, or everybody's. To the
    // predicate that is a conjunct like any other, which is how subscriptions and scans find it.
    QueryViewKey view_key;
    Identity view_caller;   // whose key it is
    uint32_t hidden_bytes;  // of each row's beginning, not to be shown
    Bytes template_key;     // equal keys: the same template, parameters aside
    QueryProjection projection;
    Str *column_names;  // of the answer's columns
    uint16_t *projected;
    uint32_t projected_count;
    bool has_limit;
    uint64_t limit;
    // Detached, or settled when it was compiled by what values there were (estimate.c). Others find
    // their path as they run.
    bool has_path;
    QueryPath path;
    const atomic_bool *stop;  // may be NULL; set by another thread, it ends a run with ERR_CLOSED
    uint64_t rows_max;   // a run that yields more than these ends with ERR_TOO_LARGE; 0: no limit
    uint64_t bytes_max;  // of rows, 0: no limit
} Query;

#define QUERY_TEXT_MAX 50000  // bytes (§1.2)

// Compile one SELECT of one table: what subscriptions watch. Everything else is statement.h's. Errors are of §1.13's classes and wording: ERR_INVALID (parse, type, names),
// ERR_UNSUPPORTED, ERR_TOO_LARGE; diag holds the message.
MUST_USE Err query_compile(Str text,
                           QueryDoor door,
                           const QueryCatalog *catalog,
                           const QueryCaller *caller,
                           Query **out,
                           Diag *diag);
void query_free(Query **query);
// The row limit for others than the owner (§2.4), for who is about to run the query. ERR_INVALID.
MUST_USE Err query_check_limit(const QueryCatalog *catalog,
                               const QueryCaller *caller,
                               const Query *query,
                               Diag *diag);
// Is this a row-level security rule that the schema allows (§2.3)? ERR_INVALID with "Row-level
// security invalid: …". One with a join is applied by statements (statement.h); query_compile fails
// for everyone but the owner, with the rule in the message.
MUST_USE Err query_check_rule(Str text, const QueryCatalog *catalog, Diag *diag);

// The result of a view that a caller gets: spec module-abi §5.9.
QueryViewKey query_view_key(const CatalogTable *view, const Identity *caller);
// What a client may see of a row that query_run or a commit handed out.
static inline Bytes query_shown(const Query *query, Bytes row) {
    return (Bytes){row.ptr + query->hidden_bytes, row.len - query->hidden_bytes};
}

// Does the row satisfy the predicate? The hot path of subscriptions.
bool query_matches(const Query *query, Bytes row);
// The same with the parameters of another query of the same template.
bool query_matches_with(const Query *query, const Bytes *values, Bytes row);

// Run on the head (snapshot NULL) or a snapshot. The sink gets rows as they are stored (QPROJECT_ROW
// and QPROJECT_COLUMNS) or one u64 (QPROJECT_COUNT). Uses an index or the primary key where a
// conjunct allows it. Stops with ERR_LIMIT when the sink answers false. A row is the sink's during
// the call only; breathes (store.h).
typedef bool (*QuerySink)(void *ctx, Bytes row);
MUST_USE Err query_run(const Query *query, const Snapshot *snapshot, QuerySink sink, void *ctx);

// What query_run on the head would cost: about the rows it would look at, large ones counting for more.
// Counts no further than to `most` + 1, and costs no more than that itself.
uint64_t query_cost(const Query *query, uint64_t most);
// Make the query independent of the catalog, so that it can run on a snapshot on another thread
// whatever becomes of the schema meanwhile. The snapshot, taken now, keeps its table. ERR_NOMEM: the
// query is good for nothing but query_free.
MUST_USE Err query_detach(Query *query);

// Add to `reads` what query_run looks at, as narrowly as the index it uses allows. ERR_NOMEM.
MUST_USE Err query_reads(const Query *query, ReadSet *reads);
