// stats.h: what is remembered about the values in tables, for who chooses how a statement is carried
// out (estimate.c). Inside this room only; who keeps it for a database sees query.h.
//
// PICTURE
//   index (a, b)     a sample of rows, evenly spread, and of each how many rows share its values
//                    row 1: a = 7 has 40, (7, 2) has 3     row 2: a = 9 has 1 …
//   distinct values  rows × the mean of 1 / how many share one: every value is counted once, however
//                    frequent it is, because a frequent one is met the more often
//
//   A column without an index is guessed from how often values repeat within a sample (Haas, Stokes 1998).
//
// What is known of single values, ranges and conditions is not remembered: it is looked up where it
// stands, whenever a statement asks (estimate.c), so a frequent value counts as what it is.
//
// ALWAYS TRUE
//   (1) Nothing is gathered by changes: it is gathered when a statement is compiled, if it was not before
//       or if more than a fifth of the table was changed since.
//   (2) One compilation takes no more than STATS_LOOKS descents, and none from disk. Beyond that what is
//       old counts, or nothing is known.
//   (3) A place has room for one answer and the next takes it: it never needs more memory.
// The owner's thread only.
#pragma once
#include "query/query.h"

enum { STATS_LOOKS = 2048 };

// A statement begins to be compiled. NULL: nothing is kept.
void stats_begin(QueryStats *stats);
// May so many descents be made? They count as made.
bool stats_spend(QueryStats *stats, uint32_t looks);
// How many different values the first `columns` columns of an index have. False: that is not known.
bool stats_index_distinct(QueryStats *stats,
                          const Table *table,
                          const StoreIndexInfo *index,
                          uint32_t columns,
                          uint64_t *out);
// And a column, by whatever index has it in front, or without.
bool stats_column_distinct(QueryStats *stats, const Table *table, uint16_t column, uint64_t *out);
