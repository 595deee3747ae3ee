// watch.h: who watches what. Read sets of many owners, found by the rows that a commit changed.
//
// PICTURE
//   table 4097 ── whole-table list
//              ── per index: equality  hash(key) -> owners
//                            ranges    ordered by their ends -> owners
//
// A commit costs look-ups for the rows it changed, however many watch something else (promise P5).
#pragma once
#include "txn/readset.h"

typedef struct Watchers Watchers;
typedef struct Watch Watch;  // one owner's registration

MUST_USE Err watchers_new(Watchers **out);
void watchers_free(Watchers **watchers);  // all registrations are gone by then (asserted)

// Register; the set is copied. ERR_NOMEM: nothing was registered.
MUST_USE Err watch_add(Watchers *watchers, const ReadSet *set, void *owner, Watch **out);
void watch_remove(Watchers *watchers, Watch **watch);
// Replace what an owner watches. ERR_NOMEM: as it was.
MUST_USE Err watch_replace(Watchers *watchers, Watch *watch, const ReadSet *set);

// Call `each` once for every owner whose reads one of the changes hits. `each` must not add or
// remove watches. ERR_NOMEM: not all were told.
MUST_USE Err watchers_match(Watchers *watchers,
                            const TxnChange *changes,
                            size_t count,
                            void (*each)(void *ctx, void *owner),
                            void *ctx);
// More changes of the same transaction: who was told already is not told again.
MUST_USE Err watchers_match_more(Watchers *watchers,
                                 const TxnChange *changes,
                                 size_t count,
                                 void (*each)(void *ctx, void *owner),
                                 void *ctx);
bool watchers_want(Watchers *watchers, uint32_t table_id);  // anything of it
// Registrations looked at by watchers_match since the beginning: what a commit costs beyond its own
// rows. For tests and metrics.
uint64_t watchers_probes(const Watchers *watchers);
