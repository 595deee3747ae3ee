// arrange.h: rows of a table by columns that have no index, for subscriptions that must find them.
// Inside this room only.
//
// PICTURE
//   key of the columns ──hash──> entries: (key, clustering key of the row)
//
// Shared by all templates that look for the same columns, and gone with the last of them. It is of the
// head: a commit brings it up to date before anybody looks. What all of them take is bounded by a quota
// (spec §4.5): a subscription that would need more is refused.
#pragma once
#include "live/live.h"

typedef struct Arrangement Arrangement;

typedef struct ArrangeMemory {
    size_t used, max;  // bytes, of all arrangements
} ArrangeMemory;

// An empty one, to be filled.
MUST_USE Err arrangement_new(const Table *table,
                             const uint16_t *columns,
                             uint32_t count,
                             ArrangeMemory *memory,
                             Arrangement **out);
// From a snapshot, or the head (NULL). Until that is done nothing else may be asked of it but its columns,
// and with a snapshot it may be done on any thread. ERR_LIMIT: the quota is exhausted. ERR_CLOSED: `stop`,
// which may be NULL.
MUST_USE Err arrangement_fill(Arrangement *arrangement,
                              const Snapshot *snapshot,
                              const atomic_bool *stop);
void arrangement_free(Arrangement **arrangement);  // harmless on NULL
// Count what it takes somewhere else from now on; nothing is added or subtracted.
void arrangement_count_in(Arrangement *arrangement, ArrangeMemory *memory);
MUST_USE Err arrangement_change(Arrangement *arrangement, bool adds, Bytes row, Bytes key);
bool arrangement_is_of(const Arrangement *arrangement, const uint16_t *columns, uint32_t count);
// A commit of its table. ERR_NOMEM: it is wrong from now on and must be freed. The quota does not stop
// what is there already from growing.
MUST_USE Err arrangement_apply(Arrangement *arrangement, const LiveChange *change);

// The entries that may have the key; *row is one that has, ptr NULL at the end.
const void *arrangement_first(const Arrangement *arrangement, Bytes key);
MUST_USE Err arrangement_next(const Arrangement *arrangement,
                              Bytes key,
                              const void **entry,
                              Bytes *row);
// Its columns, as long as it lives.
const uint16_t *arrangement_columns(const Arrangement *arrangement);
