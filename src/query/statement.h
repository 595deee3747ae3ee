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
// Subscriptions are standing.h's.
#pragma once
#include "query/query.h"
#include "txn/db.h"
#include "txn/overlay.h"

typedef struct Statement Statement;

typedef struct StatementColumn {
    Str name;
    const Type *type;
} StatementColumn;

// A value that a text leaves open: $1, $2, … Compiling finds out its type.
typedef struct StatementParam {
    const Type *type;  // what it is compared with or assigned to; NULL: nothing. The catalog's
    bool known;        // otherwise the statement is compiled to be described, not to be run
    Str text;          // its value as text; ptr NULL: none
} StatementParam;

typedef struct StatementParams {
    StatementParam *items;  // the caller's
    uint32_t max;           // so many items there are
    uint32_t count;         // the highest that the text names; found by compiling
    // Literals are as drivers of PostgreSQL write values into a text: a string takes the type of what it
    // meets, as a parameter does, `'…'::type` says no more than that, and NULL is a value.
    bool from_driver;
} StatementParams;

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
// The same with parameters.
MUST_USE Err statement_compile_with(Str text,
                                    QueryDoor door,
                                    const QueryCatalog *catalog,
                                    const QueryCaller *caller,
                                    StatementParams *params,
                                    Statement **out,
                                    Diag *diag);
// Cut the first statement off `rest`, without the semicolon behind it, as the lexer sees them. False:
// only blanks are left.
bool statement_split(Str *rest, Str *first);
// What kind of statement it is: its first word in capitals ("SELECT", "EXPLAIN"), static.
const char *statement_verb(const Statement *statement);
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

// It should be short: a join that has tried more combinations of rows than this ends with ERR_AGAIN, whatever it was
// thought to cost. Until statement_limit is called again.
void statement_limit_tries(Statement *statement, uint64_t tries_max);

// The answer's rows: BSATN of the columns one behind another, the sink's during the call only. Not for
// writes. ERR_LIMIT: the sink answered false. ERR_INVALID, with a text in diag: memory or a sum ran over.
MUST_USE Err statement_run(const Statement *statement,
                           const Snapshot *snapshot,
                           QuerySink sink,
                           void *ctx,
                           Diag *diag);
// Do the rows that the sink gets, and all that the run keeps meanwhile, point at nothing in the store? Then
// the sink may breathe (store.h).
bool statement_gives_copies(const Statement *statement);
// Make a write, inside an open transaction of the head. On error the caller rolls back.
// ERR_UNIQUE, ERR_LIMIT and what the store says, with a text.
MUST_USE Err statement_execute(const Statement *statement,
                               Db *db,
                               StatementStats *stats,
                               Diag *diag);

// How long a write may take, and who may end it; checked every so many rows.
typedef struct StatementPatience {
    const atomic_bool *stop;  // may be NULL; set by another thread: ERR_CLOSED
    const Io *io;
    int64_t until_ns;  // monotonic; 0: no limit. Beyond it: ERR_DEADLINE
} StatementPatience;
// The same with a limit, on the head.
MUST_USE Err statement_execute_within(const Statement *statement,
                                      Db *db,
                                      StatementPatience patience,
                                      StatementStats *stats,
                                      Diag *diag);
// The same on an overlay, on the thread of who has it; the statement borrows from the catalog, which does
// not change while an overlay lives. INSERT, UPDATE and DELETE.
MUST_USE Err statement_execute_beside(const Statement *statement,
                                      Overlay *overlay,
                                      StatementPatience patience,
                                      StatementStats *stats,
                                      Diag *diag);
bool statement_may_go_beside(const Statement *statement);

// HTTP's answer (§2.1): the JSON object {schema, rows, total_duration_micros, stats}. Runs what reads;
// of a write (stats not NULL) it tells what was done.
MUST_USE Err statement_write_json(const Statement *statement,
                                  const Snapshot *snapshot,
                                  const StatementStats *stats,
                                  int64_t micros,
                                  Buf *out,
                                  Diag *diag);
// The same of a write, when the statement is no longer at hand.
void statement_write_stats(const StatementStats *stats, int64_t micros, Buf *out);
