#include "live/ranges.h"

#include "base/test.h"

enum { MANY = 300, KEYS = 40 };

static uint64_t seed = 11;
static uint64_t random_below(uint64_t below) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (seed >> 33) % below;
}

static uint8_t keys[KEYS];
static RangeNode nodes[MANY];
static bool linked[MANY], found[MANY];

static Err mark(void *ctx, Group *group, const RangeNode *node) {
    (void)group;
    EXPECT(!found[node - nodes]);  // each once
    found[node - nodes] = true;
    ++*(int *)ctx;
    return OK;
}

static Err stop(void *ctx, Group *group, const RangeNode *node) {
    (void)group;
    (void)node;
    return ++*(int *)ctx == 3 ? ERR_LIMIT : OK;
}

static void random_ends(RangeNode *node) {
    uint64_t a = random_below(KEYS), b = a + random_below(KEYS - a);
    *node = (RangeNode){.priority = random_below(1u << 30)};
    if (random_below(5)) node->lower = BYTES(&keys[a], 1);
    if (random_below(5)) node->upper = BYTES(&keys[b], 1);
}

TEST(ranges, finds_exactly_those_that_have_the_key) {
    RangeNode *root = NULL;
    for (uint8_t i = 0; i < KEYS; i++)
        keys[i] = (uint8_t)(i * 3 + 1);
    for (int step = 0; step < 20000; step++) {
        size_t at = random_below(MANY);
        if (linked[at]) {
            ranges_remove(&root, &nodes[at]);
        } else {
            random_ends(&nodes[at]);
            ranges_add(&root, &nodes[at]);
        }
        linked[at] = !linked[at];
        uint8_t key = (uint8_t)random_below(KEYS * 3 + 3);
        int count = 0;
        memset(found, 0, sizeof found);
        EXPECT_OK(ranges_each(root, BYTES(&key, 1), mark, &count));
        for (size_t i = 0; i < MANY; i++)
            EXPECT_EQ(found[i], linked[i] && range_has(&nodes[i], BYTES(&key, 1)));
        int stopped = 0;
        if (count >= 3) EXPECT_ERR(ranges_each(root, BYTES(&key, 1), stop, &stopped), ERR_LIMIT);
    }
    for (size_t i = 0; i < MANY; i++) {
        if (linked[i]) ranges_remove(&root, &nodes[i]);
    }
    EXPECT(root == NULL);
}

TEST_MAIN()
