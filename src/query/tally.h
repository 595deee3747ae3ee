// tally.h: the groups of one standing query, kept current: COUNT, SUM, MIN, MAX and AVG while
// combinations of rows come and go.
//
// PICTURE
//   combination ──key of GROUP BY──> group: how many combinations, an accumulator or an ordered bag of
//                                    values for each output, the row that was last given out
//
// ALWAYS TRUE
//   (1) A group that has no combination left is gone with the next tally_flush; a query without GROUP BY
//       has its one group in any case.
//   (2) What tally_flush gave out, all gains less all losses, is what standing_run would yield now.
//   (3) Sums are exact (accumulate.h), extremes are read from all the values that are there.
#pragma once
#include "query/standing.h"

typedef struct Tally Tally;

// `memory` is where the bytes that it takes are counted; it must outlive the tally.
MUST_USE Err tally_new(const Standing *standing, size_t *memory, Tally **out);
void tally_free(Tally **tally);
// Rows by node, ptr NULL: missing. What is removed was added. ERR_NOMEM: the tally is good for nothing
// but tally_free.
MUST_USE Err tally_add(Tally *tally, const Bytes *rows);
MUST_USE Err tally_remove(Tally *tally, const Bytes *rows);
// Every combination that there is, on a snapshot or the head (NULL), into an empty tally. ERR_TOO_LARGE:
// `memory` would exceed `max`. ERR_INVALID, with a text. ERR_CLOSED: as standing_limit says.
MUST_USE Err tally_fill(Tally *tally,
                        const Standing *standing,
                        const Snapshot *snapshot,
                        size_t max,
                        Diag *diag);
// It is of this standing from now on, which differs from its own by parameters at most; and what it takes,
// which is counted there already, is counted in `memory`.
void tally_move(Tally *tally, const Standing *standing, size_t *memory);

// What became of the rows since the last time: those that are no more and those that are new. ERR_INVALID
// with a text: a sum has left its type; nothing can be said any more. What `lost` and `gained` answer.
typedef Err (*TallyEach)(void *ctx, Bytes row);
MUST_USE Err tally_flush(Tally *tally, TallyEach lost, TallyEach gained, void *ctx, Diag *diag);
bool tally_is_changed(const Tally *tally);  // tally_flush has something to look at
// The rows as last given out.
MUST_USE Err tally_each(const Tally *tally, TallyEach each, void *ctx);
uint64_t tally_count(const Tally *tally);
