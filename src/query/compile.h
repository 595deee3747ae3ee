// compile.h: what the passes of the compiler hand to each other. Inside this room only.
//
//   sql_parse ──> SqlSelect ──typing──> Typed[] ──predicate──> Query (tests, params, template)
#pragma once
#include "query/sql.h"

// What a node of the syntax tree is, once names and types are known.
typedef struct Typed {
    const Type *type;   // NULL: a literal that has not met a column yet
    Bytes value;        // constants: BSATN of `type`
    uint16_t column;    // SQL_COLUMN
    uint32_t relation;  // likewise: in the scope
} Typed;

// What a name before a dot can mean.
typedef struct Scope {
    Str alias;
    const CatalogTable *table;
} Scope;

typedef struct Compiler {
    const SqlSelect *select;
    const CatalogTable *table;  // of the query that is being made
    const Scope *scope;         // NULL: the table is all there is
    uint32_t scope_count;
    const SqlNode *nodes;  // of the predicate that is being typed or laid out
    uint32_t node_count;
    const QueryCaller *caller;
    Arena *scratch;  // ends with the compilation
    Query *query;    // its arena lasts
    Typed *typed;    // of each node
    Diag *diag;
} Compiler;

// The first column that a text can name: a view's table has one in front that is nobody's business.
static inline uint16_t compile_first_column(const CatalogTable *table) {
    return table->is_view ? 1 : 0;
}
// A column by its accessor or else canonical name; `qualifier` (may be NONE with one relation) must
// be an alias in scope.
MUST_USE Err
compile_column(const Compiler *c, Str qualifier, Str name, uint32_t *relation, uint16_t *out);
Err compile_fail_name(const Compiler *c, Str name);

// The text's size and encoding (§1.2).
MUST_USE Err compile_check_text(Str text, Diag *diag);
// A table that the caller may read, or "no such table".
MUST_USE Err compile_table(const QueryCatalog *catalog,
                           const QueryCaller *caller,
                           Str name,
                           const CatalogTable **out,
                           Diag *diag);
// A query that yields whole rows of one table, of which the caller's rights were checked.
typedef struct RowsQuery {
    QueryDoor door;
    const CatalogTable *table;
    Str alias;
    SqlNode *nodes;  // of this table only, without qualifiers; count 0: every row
    uint32_t node_count;
    const QueryCaller *caller;
    const QueryCatalog *rules;  // those of the table apply; NULL: none do
} RowsQuery;
// The same for a SELECT that was parsed: its projection, LIMIT and predicate; plain (sql.h).
MUST_USE Err compile_select(SqlSelect *select, const RowsQuery *what, Query **out, Diag *diag);
MUST_USE Err compile_rows(const RowsQuery *what, Query **out, Diag *diag);

// Add what row-level security demands to the predicate (rls.c). A rule with a join is ERR_UNSUPPORTED.
MUST_USE Err compile_rules(Compiler *c, const QueryCatalog *catalog, SqlSelect *select);
// Fill c->typed: every node a type, every literal a value (§1.8).
MUST_USE Err compile_types(Compiler *c);
// §1.9: types whose values can be compared.
bool compile_comparable(const Type *type);
// Normalise the typed predicate and lay it out as the query's tests, params and template.
MUST_USE Err compile_predicate(Compiler *c);
// Does `a op b` hold for two values of a comparable type? (match.c)
bool query_values_hold(const Type *type, QueryOp op, Bytes a, Bytes b);
// A copy of a type: the catalog's goes with its table (run.c).
MUST_USE Err query_type_own(Arena *arena, const Type *type, const Type **out);
Err compile_fail_literal(Diag *diag, Str text, const Type *type);
Err compile_fail_type(Diag *diag, const Type *expected, const Type *inferred);
