#include "live/map.h"

#include "base/mem.h"
#include "base/test.h"

static bool map_has(const LiveMap *map, uint64_t hash, const void *item) {
    uint32_t at = livemap_first(map, hash);
    const void *found;
    while ((found = livemap_at(map, at)) && found != item) {
        at = livemap_next(map, hash, at);
    }
    return found != NULL;
}

// Few distinct hashes, many of them neighbours: long runs that wrap around and are cut anywhere.
TEST(map, finds_what_is_in_it_and_nothing_else) {
    enum { ITEMS = 300 };
    static char items[ITEMS];
    bool in[ITEMS] = {0};
    uint64_t hashes[ITEMS], seed = 20261122;
    print_message("seed %llu\n", (unsigned long long)seed);
    LiveMap map = {0};
    for (int i = 0; i < ITEMS; i++) {
        hashes[i] = i % 3 ? (uint64_t)i / 9 : UINT32_MAX - (uint64_t)i % 7;
    }
    for (int step = 0; step < 20000; step++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        size_t i = (seed >> 33) % ITEMS;
        if (in[i]) {
            livemap_remove(&map, hashes[i], &items[i]);
        } else {
            EXPECT(livemap_reserve(&map));
            livemap_insert(&map, hashes[i], &items[i]);
        }
        in[i] = !in[i];
        if (step % 50) continue;
        uint32_t count = 0;
        for (size_t k = 0; k < ITEMS; k++) {
            count += in[k];
            EXPECT_EQ(map_has(&map, hashes[k], &items[k]), in[k]);
        }
        EXPECT_EQ(map.count, count);
    }
    livemap_deinit(&map);
}

TEST(map, keeps_what_it_has_when_it_cannot_grow) {
    static char items[100];
    LiveMap map = {0};
    uint32_t n = 0;
    for (;; n++) {
        mem_fault_arm(n < 5 ? -1 : 0);
        bool room = livemap_reserve(&map);
        mem_fault_arm(-1);
        if (!room) break;
        livemap_insert(&map, n, &items[n]);
    }
    EXPECT(n >= 5);
    for (uint32_t i = 0; i < n; i++) {
        EXPECT(map_has(&map, i, &items[i]));
    }
    EXPECT(livemap_reserve(&map));
    livemap_deinit(&map);
}

TEST_MAIN()
