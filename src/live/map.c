#include "live/map.h"

#include "base/mem.h"

void livemap_deinit(LiveMap *map) {
    mem_free(map->slots);
    *map = (LiveMap){0};
}

static uint32_t home(const LiveMap *map, uint64_t hash) {
    return (uint32_t)(hash >> 32 ^ hash) & map->mask;
}

static void put(LiveMap *map, uint64_t hash, void *item) {
    uint32_t at = home(map, hash);
    while (map->slots[at].item) {
        at = (at + 1) & map->mask;
    }
    map->slots[at] = (LiveSlot){hash, item};
}

bool livemap_reserve(LiveMap *map) {
    uint64_t size = map->slots ? (uint64_t)map->mask + 1 : 0;
    if ((uint64_t)map->count + 1 <= size / 4 * 3) return true;
    uint64_t bigger = size ? size * 2 : 8;
    if (bigger > UINT32_MAX / 2) return false;
    LiveMap next = {mem_zalloc(bigger * sizeof(LiveSlot)), (uint32_t)bigger - 1, map->count};
    if (!next.slots) return false;
    for (uint64_t i = 0; i < size; i++) {
        if (map->slots[i].item) put(&next, map->slots[i].hash, map->slots[i].item);
    }
    mem_free(map->slots);
    *map = next;
    return true;
}

void livemap_insert(LiveMap *map, uint64_t hash, void *item) {
    ASSERT(map->slots && map->count < map->mask);
    put(map, hash, item);
    map->count++;
}

static uint32_t walk(const LiveMap *map, uint64_t hash, uint32_t at) {
    for (; map->slots[at].item; at = (at + 1) & map->mask) {
        if (map->slots[at].hash == hash) return at;
    }
    return LIVEMAP_END;
}

uint32_t livemap_first(const LiveMap *map, uint64_t hash) {
    return map->slots ? walk(map, hash, home(map, hash)) : LIVEMAP_END;
}

uint32_t livemap_next(const LiveMap *map, uint64_t hash, uint32_t at) {
    return walk(map, hash, (at + 1) & map->mask);
}

void livemap_remove(LiveMap *map, uint64_t hash, const void *item) {
    uint32_t at = livemap_first(map, hash);
    while (livemap_at(map, at) != item) {
        ASSERT(at != LIVEMAP_END);
        at = livemap_next(map, hash, at);
    }
    map->count--;
    // Move back whatever behind the hole would no longer be found across it.
    for (uint32_t hole = at;;) {
        map->slots[hole].item = NULL;
        uint32_t next = hole;
        for (;;) {
            next = (next + 1) & map->mask;
            if (!map->slots[next].item) return;
            uint32_t from_home = (next - home(map, map->slots[next].hash)) & map->mask;
            if (from_home >= ((next - hole) & map->mask)) break;
        }
        map->slots[hole] = map->slots[next];
        hole = next;
    }
}
