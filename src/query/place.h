// place.h: where a query's rows are: which index, from which key to which. Inside this room only.
//
// PICTURE
//   conjuncts   a = $0   b > $1   b <= $2            index (a, b, c)
//   place       [ key($0) key($1)⁺ , key($0) key($2)⁺ )    x⁺: the first key behind all that begin with x
//   then        query_matches on every row: the place only has to be wide enough
//
// The index that fixes the most columns by equality wins; one range column behind them narrows it
// further. Where statistics are kept, a statement takes the one with the fewest rows to look at
// (estimate.c). A primary key is an index over one column: the table itself is in its order.
#pragma once
#include "query/query.h"

typedef struct Bounds {
    Buf lower, upper;
    bool unbounded;  // above: no key is behind all that begin with the prefix
} Bounds;

typedef struct Place {
    uint32_t index_id;  // or TABLE_ROWS
    uint32_t equal;     // as in QueryPath
    bool ranged;
    Bounds bounds;
    bool narrowed, empty;
} Place;

// The conjunct `column = …`, or NULL.
const QueryConjunct *place_equality(const Query *query, uint16_t column);
// `primary` is the table's primary column; the answer may point at it. If the query has a path, that one.
QueryPath place_choose(const Query *query, const uint16_t *primary);
// How far a given index leads.
QueryPath place_along(const Query *query,
                      uint32_t index_id,
                      const uint16_t *columns,
                      uint32_t count);
MUST_USE Err place_find(const Query *query,
                        Place *place);  // a zeroed one; place_deinit in any case
// Likewise, along a path that may be another than the query's.
MUST_USE Err place_at(const Query *query, const QueryPath *path, Place *place);
Bytes place_upper(const Place *place);
void place_deinit(Place *place);

static inline bool query_stopped(const Query *query) {
    return query->stop && atomic_load_explicit(query->stop, memory_order_relaxed);
}

// The rows of a query one after another, LIMIT and projection aside.
typedef struct RowsCursor {
    const Query *query;
    const Snapshot *snapshot;  // NULL: the head
    Place place;
    TableScan scan;
    bool open;
    Err err;
    uint64_t touched;  // rows looked at, by all scans of this cursor
} RowsCursor;
// Also again, after rows_end. The query must outlive it.
void rows_begin(RowsCursor *cursor, const Query *query, const Snapshot *snapshot);
// False at the end: cursor->err, ERR_CLOSED when the query was stopped. The row borrows as table_get's; breathes (store.h).
bool rows_next(RowsCursor *cursor, Bytes *row);
void rows_end(RowsCursor *cursor);  // harmless twice
