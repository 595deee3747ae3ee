// map.h: a hash table from a 64-bit hash to a pointer. Inside this room only.
//
// Open addressing with linear probing; removing shifts the run behind back, so there are no
// tombstones and a miss ends at the first free slot. The map does not know keys: a lookup walks
// the items that have the hash, and the caller compares.
//
//   for (uint32_t at = livemap_first(&map, hash); (item = livemap_at(&map, at)); at = livemap_next(…))
#pragma once
#include "base/bytes.h"

typedef struct LiveSlot {
    uint64_t hash;
    void *item;  // NULL: free
} LiveSlot;

typedef struct LiveMap {
    LiveSlot *slots;
    uint32_t mask;  // slot count - 1; slots NULL: none
    uint32_t count;
} LiveMap;

#define LIVEMAP_END UINT32_MAX

void livemap_deinit(LiveMap *map);  // a zeroed map is ready to use
// Make room for one more item, so that the next insert cannot fail.
MUST_USE bool livemap_reserve(LiveMap *map);
void livemap_insert(LiveMap *map, uint64_t hash, void *item);        // after livemap_reserve
void livemap_remove(LiveMap *map, uint64_t hash, const void *item);  // which is there
// The place of the first item with this hash, or LIVEMAP_END; and the next behind a place.
uint32_t livemap_first(const LiveMap *map, uint64_t hash);
uint32_t livemap_next(const LiveMap *map, uint64_t hash, uint32_t at);
static inline void *livemap_at(const LiveMap *map, uint32_t at) {
    return at == LIVEMAP_END ? NULL : map->slots[at].item;
}
