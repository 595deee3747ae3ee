// map.h: a hash table from a hash to a pointer. Inside this room only.
//
// PICTURE
//   items   [ptr][ptr][   ][ptr] …     12 bytes a slot; the hash, folded to 32 bits, stands beside the
//   hashes  [u32][u32][   ][u32] …     items, so that growing touches none of them
//
// Open addressing with linear probing, ordered by how far each item is from its home (Celis' Robin Hood):
// a miss ends as soon as somebody there is nearer to his, so the table may be 7/8 full; it grows by half.
// Removing shifts the run behind back, so there are no tombstones. The map does not know keys: a lookup
// walks the items that have the hash, and the caller compares.
//
//   for (uint32_t at = livemap_first(&map, hash); (item = livemap_at(&map, at)); at = livemap_next(…))
#pragma once
#include "base/bytes.h"

typedef struct LiveMap {
    void **items;      // NULL: free
    uint32_t *hashes;  // behind the items, in their memory
    uint32_t size;     // slots
    uint32_t count;
} LiveMap;

#define LIVEMAP_END UINT32_MAX

// What of a hash the map keeps; of that it is the same again.
static inline uint32_t livemap_fold(uint64_t hash) {
    return (uint32_t)(hash >> 32 ^ hash);
}

void livemap_deinit(LiveMap *map);  // a zeroed map is ready to use
// Make room for one more item, so that the next insert cannot fail.
MUST_USE bool livemap_reserve(LiveMap *map);
void livemap_insert(LiveMap *map, uint64_t hash, void *item);        // after livemap_reserve
void livemap_remove(LiveMap *map, uint64_t hash, const void *item);  // which is there
// The place of the first item with this hash, or LIVEMAP_END; and the next behind a place.
uint32_t livemap_first(const LiveMap *map, uint64_t hash);
uint32_t livemap_next(const LiveMap *map, uint64_t hash, uint32_t at);
static inline void *livemap_at(const LiveMap *map, uint32_t at) {
    return at == LIVEMAP_END ? NULL : map->items[at];
}
// Another item with the same hash in the place of this one.
static inline void livemap_replace(LiveMap *map, uint32_t at, void *item) {
    map->items[at] = item;
}
// What is in a slot, below `size`; NULL: nothing. For who walks through all of them.
static inline void *livemap_slot(const LiveMap *map, uint32_t slot) {
    return map->items[slot];
}
size_t livemap_bytes(const LiveMap *map);
