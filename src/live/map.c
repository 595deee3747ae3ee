#include "live/map.h"

#include "base/mem.h"

#define SLOT_BYTES (sizeof(void *) + sizeof(uint32_t))

void livemap_deinit(LiveMap *map) {
    mem_free(map->items);
    *map = (LiveMap){0};
}

size_t livemap_bytes(const LiveMap *map) {
    return map->size * SLOT_BYTES;
}

static uint32_t home(const LiveMap *map, uint32_t hash) {
    return (uint32_t)((uint64_t)hash * map->size >> 32);
}

static uint32_t behind(const LiveMap *map, uint32_t at) {
    return at + 1 == map->size ? 0 : at + 1;
}

// How far the item in a slot is from its home.
static uint32_t distance(const LiveMap *map, uint32_t at) {
    uint32_t from = home(map, map->hashes[at]);
    return at >= from ? at - from : at + map->size - from;
}

static void put(LiveMap *map, uint32_t hash, void *item) {
    uint32_t at = home(map, hash);
    for (uint32_t far = 0; map->items[at]; far++, at = behind(map, at)) {
        uint32_t its = distance(map, at);
        if (its >= far) continue;  // whoever is nearer to his home goes on
        void *moved = map->items[at];
        uint32_t moved_hash = map->hashes[at];
        map->items[at] = item;
        map->hashes[at] = hash;
        item = moved;
        hash = moved_hash;
        far = its;
    }
    map->items[at] = item;
    map->hashes[at] = hash;
}

bool livemap_reserve(LiveMap *map) {
    if (map->count < map->size / 8 * 7) return true;
    uint64_t bigger = map->size ? (uint64_t)map->size / 2 * 3 : 8;
    bigger = (bigger + 7) / 8 * 8;
    if (bigger >= UINT32_MAX) return false;
    LiveMap next = {.size = (uint32_t)bigger, .count = map->count};
    next.items = mem_zalloc(bigger * SLOT_BYTES);
    if (!next.items) return false;
    next.hashes = (uint32_t *)(void *)&next.items[bigger];
    for (uint32_t i = 0; i < map->size; i++) {
        if (map->items[i]) put(&next, map->hashes[i], map->items[i]);
    }
    mem_free(map->items);
    *map = next;
    return true;
}

void livemap_insert(LiveMap *map, uint64_t hash, void *item) {
    ASSERT(map->count < map->size);
    put(map, livemap_fold(hash), item);
    map->count++;
}

// From a slot that is `far` from the hash's home.
static uint32_t walk(const LiveMap *map, uint32_t hash, uint32_t at, uint32_t far) {
    for (; far < map->size && map->items[at]; far++, at = behind(map, at)) {
        if (map->hashes[at] == hash) return at;
        if (distance(map, at) < far) break;
    }
    return LIVEMAP_END;
}

uint32_t livemap_first(const LiveMap *map, uint64_t hash) {
    if (map->count == 0) return LIVEMAP_END;
    uint32_t folded = livemap_fold(hash);
    return walk(map, folded, home(map, folded), 0);
}

uint32_t livemap_next(const LiveMap *map, uint64_t hash, uint32_t at) {
    return walk(map, livemap_fold(hash), behind(map, at), distance(map, at) + 1);
}

void livemap_remove(LiveMap *map, uint64_t hash, const void *item) {
    uint32_t at = livemap_first(map, hash);
    while (livemap_at(map, at) != item) {
        ASSERT(at != LIVEMAP_END);
        at = livemap_next(map, hash, at);
    }
    map->count--;
    // Everybody behind who is not at home moves one nearer to it.
    for (;;) {
        uint32_t next = behind(map, at);
        if (!map->items[next] || distance(map, next) == 0) break;
        map->items[at] = map->items[next];
        map->hashes[at] = map->hashes[next];
        at = next;
    }
    map->items[at] = NULL;
}
