// statement.h: one SQL statement, whatever it is, for the doors that take SQL (spec §1.5, §1.10).
//
// PICTURE
//   text ──statement_compile──> a query of one table     run.c, as subscriptions know it
//                               a plan                    joins, groups, order: plan.h
//                               a write                   INSERT, UPDATE, DELETE, SET
//                               an explanation            EXPLAIN
//
//   reads    statement_run on the head or on a snapshot: rows of statement_columns
//   writes   statement_execute inside a transaction of the head, which the caller commits
//
// Subscriptions compile their queries themselves (query.h): what they watch is one table.
#pragma once
#include "query/query.h"
#include "txn/db.h"

typedef struct Statement Statement;

typedef struct StatementColumn {
    Str name;
    const Type *type;
} StatementColumn;

typedef struct StatementStats {
    uint64_t inserted, deleted, updated;
} StatementStats;

// The full dialect at QUERY_SQL, the subscription grammar with joins of any number of relations at
// QUERY_ONE_OFF. Errors are of §1.13's classes and wording: ERR_INVALID (parse, type, names),
// ERR_UNSUPPORTED, ERR_TOO_LARGE, ERR_DENIED (a write by somebody else than the owner); diag holds the message. Borrows from the catalog: valid while its schema_version is the same.
MUST_USE Err statement_compile(Str text,
                               QueryDoor door,
                               const QueryCatalog *catalog,
                               const QueryCaller *caller,
                               Statement **out,
                               Diag *diag);
void statement_free(Statement **statement);

bool statement_writes(const Statement *statement);
// Every relation that the statement reads, those of row-level security included, as a query of its
// own: whoever keeps results of views asks about each of them. Until `each` answers an error.
MUST_USE Err statement_each_query(const Statement *statement,
                                  Err (*each)(void *ctx, const Query *query),
                                  void *ctx);
// Of the answer; none for a write. Valid as long as the statement.
const StatementColumn *statement_columns(const Statement *statement, uint32_t *count);
// The table whose rows the answer consists of; NULL if it is not whole rows of one.
const CatalogTable *statement_table(const Statement *statement);

// What statement_run on the head would cost, in query_cost's units and with its `most`.
uint64_t statement_cost(const Statement *statement, uint64_t most);
// As query_detach (query.h): it may run on a snapshot on another thread. Not for writes.
MUST_USE Err statement_detach(Statement *statement);
// Ends of a run (query.h): by `stop` (may be NULL) with ERR_CLOSED, with more rows or bytes than these
// with ERR_TOO_LARGE; 0: no limit.
void statement_limit(Statement *statement,
                     const atomic_bool *stop,
                     uint64_t rows_max,
                     uint64_t bytes_max);

// The answer's rows: BSATN of the columns one behind another, the sink's during the call only. Not for
// writes. ERR_LIMIT: the sink answered false. ERR_INVALID, with a text in diag: memory or a sum ran over.
MUST_USE Err statement_run(const Statement *statement,
                           const Snapshot *snapshot,
                           QuerySink sink,
                           void *ctx,
                           Diag *diag);
// Make a write, inside an open transaction of the head. On error the caller rolls back.
// ERR_UNIQUE, ERR_LIMIT and what the store says, with a text.
MUST_USE Err statement_execute(const Statement *statement,
                               Db *db,
                               StatementStats *stats,
                               Diag *diag);

// HTTP's answer (§2.1): the JSON object {schema, rows, total_duration_micros, stats}. Runs what reads;
// of a write (stats not NULL) it tells what was done.
MUST_USE Err statement_write_json(const Statement *statement,
                                  const Snapshot *snapshot,
                                  const StatementStats *stats,
                                  int64_t micros,
                                  Buf *out,
                                  Diag *diag);
