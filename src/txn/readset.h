// readset.h: what somebody looked at: keys, key ranges, whole tables.
//
// DESIGN §2: a commit's write set is matched with read sets, and that one mechanism serves a running
// transaction (its reads are stale: it retries), a view (its inputs changed: run it again) and,
// later, caches. An absent key is a read too: a read set remembers where it looked, not what it saw.
//
// Keys are memcomparable keys of an index's columns (sats/key.h), as range.h makes them. Index 0 is
// the clustering key, of which only the stem counts (table_row_stem in store.h): where rows are
// clustered by hash, a look for one row is a look for every row that has its hash.
//
// PICTURE
//   table 4097 ── whole? ─ yes: everything hits
//              ── per index:  points  hash table of keys
//                             ranges  sorted, disjoint: [a, c) [f, k) …
//
// A read set belongs to one thread at a time, also for readset_hit, which uses its scratch memory.
#pragma once
#include "txn/writeset.h"

typedef struct ReadRange {
    uint32_t table_id;
    uint32_t index_id;  // 0: the clustering key
    Bytes lower,
        upper;  // [lower, upper); an empty upper: to the end. Of a point: its key, and upper
                // is its successor
    bool is_point;
} ReadRange;

typedef struct ReadSet ReadSet;

MUST_USE Err readset_new(ReadSet **out);
void readset_free(ReadSet **set);
void readset_clear(ReadSet *set);
MUST_USE Err readset_copy(const ReadSet *set, ReadSet **out);

// Add a read. Adjacent and repeated reads may be merged; a set that has grown large may widen to
// whole tables (correct, only coarser). ERR_NOMEM.
MUST_USE Err readset_table(ReadSet *set, uint32_t table_id);
MUST_USE Err readset_point(ReadSet *set, uint32_t table_id, uint32_t index_id, Bytes key);
MUST_USE Err
readset_range(ReadSet *set, uint32_t table_id, uint32_t index_id, Bytes lower, Bytes upper);

// Would this change have been seen by one of the reads? The index's columns are taken from
// change->table; an index that is gone counts as hit, and so does running out of memory.
bool readset_hit(const ReadSet *set, const TxnChange *change);

size_t readset_bytes(const ReadSet *set);
uint64_t readset_version(const ReadSet *set);  // another number whenever the set reads more
bool readset_reads_table(const ReadSet *set, uint32_t table_id);  // anything of it
// Every read, for the watchers' index: tables first. `range` is NULL for a whole table; keys borrow
// from the set, of a point only until `each` returns. Return false to stop.
typedef bool (*ReadSetEach)(void *ctx, uint32_t table_id, const ReadRange *range);
void readset_each(const ReadSet *set, ReadSetEach each, void *ctx);
