// statement_private.h: inside of statement.h, shared by statement.c, write.c, explain.c and limit.c.
#pragma once
#include "query/plan.h"
#include "query/standing_private.h"
#include "query/statement.h"

struct Statement {
    Arena arena;
    QueryDoor door;
    SqlVerb verb;
    bool explain, analyze;
    Query *query;        // SELECT of one table, SHOW; UPDATE and DELETE: the rows they are about
    Plan *plan;          // any other SELECT
    Standing *standing;  // EXPLAIN SUBSCRIBE
    StatementColumn *columns;
    uint32_t column_count;
    uint64_t estimate;   // of `query`, for EXPLAIN
    uint64_t bytes_max;  // of the text that statement_write_json makes; 0: no limit
    // Writes.
    const CatalogTable *table;
    Bytes *rows;  // INSERT: BSATN; SET: the row of st_var
    uint32_t row_count;
    Bytes *assigned;  // UPDATE: of each column the new value; ptr NULL: stays
};

// dml.c: from the syntax to what is to be written.
MUST_USE Err write_compile(Statement *statement,
                           const SqlStatement *syntax,
                           const QueryCatalog *catalog,
                           const QueryCaller *caller,
                           Arena *scratch,
                           Diag *diag);
// A value of a column's type. ERR_INVALID.
MUST_USE Err write_value(const Type *type, const SqlValue *value, Buf *out, Diag *diag);

// explain.c
MUST_USE Err explain_columns(Statement *statement);
MUST_USE Err explain_run(const Statement *statement,
                         const Snapshot *snapshot,
                         QuerySink sink,
                         void *ctx,
                         Diag *diag);
