// compile.h: what the passes of the compiler hand to each other. Inside this room only.
//
//   sql_parse ──> SqlSelect ──typing──> Typed[] ──predicate──> Query (tests, params, template)
#pragma once
#include "query/sql.h"

// What a node of the syntax tree is, once names and types are known.
typedef struct Typed {
    const Type *type;  // NULL: a literal that has not met a column yet
    Bytes value;       // constants: BSATN of `type`
    uint16_t column;   // SQL_COLUMN
} Typed;

typedef struct Compiler {
    const SqlSelect *select;
    const CatalogTable *table;
    const QueryCaller *caller;
    Arena *scratch;  // ends with the compilation
    Query *query;    // its arena lasts
    Typed *typed;    // of each node
    Diag *diag;
} Compiler;

// A column by its accessor or else canonical name; `qualifier` (may be NONE) must be the alias.
// The first column that a text can name: a view's table has one in front that is nobody's business.
static inline uint16_t compile_first_column(const Compiler *c) {
    return c->table->is_view ? 1 : 0;
}
MUST_USE Err compile_column(const Compiler *c, Str qualifier, Str name, uint16_t *out);
Err compile_fail_name(const Compiler *c, Str name);

// Add what row-level security demands to the predicate (rls.c).
MUST_USE Err compile_rules(Compiler *c, const QueryCatalog *catalog, SqlSelect *select);
// Give every node its type and every literal its value (§1.8).
MUST_USE Err compile_types(Compiler *c);
// Normalise the typed predicate and lay it out as the query's tests, params and template.
MUST_USE Err compile_predicate(Compiler *c);
