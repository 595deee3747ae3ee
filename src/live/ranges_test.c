#include "live/ranges.h"

#include "base/mem.h"
#include "base/test.h"

enum { MANY = 300, KEYS = 40 };

static uint64_t seed = 11;
static uint64_t random_below(uint64_t below) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (seed >> 33) % below;
}

static uint8_t keys[KEYS];
static union Room {
    RangeNode node;
    uint64_t words[(sizeof(RangeNode) + 2 + 7) / 8];
} nodes[MANY];
static bool linked[MANY], found[MANY];

static Err mark(void *ctx, Group *group, const RangeNode *node) {
    size_t at = (size_t)((const union Room *)(const void *)node - nodes);
    (void)group;
    EXPECT(!found[at]);  // each once
    found[at] = true;
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
    Bytes lower = random_below(5) ? BYTES(&keys[a], 1) : BYTES_NONE;
    Bytes upper = random_below(5) ? BYTES(&keys[b], 1) : BYTES_NONE;
    range_init(node, NULL, lower, upper, (uint32_t)random_below(1u << 30));
}

TEST(ranges, finds_exactly_those_that_have_the_key) {
    RangeNode *root = NULL;
    uint64_t seen = 0;
    for (uint8_t i = 0; i < KEYS; i++)
        keys[i] = (uint8_t)(i * 3 + 1);
    for (int step = 0; step < 20000; step++) {
        size_t at = random_below(MANY);
        if (linked[at]) {
            ranges_remove(&root, &nodes[at].node);
        } else {
            random_ends(&nodes[at].node);
            ranges_add(&root, &nodes[at].node);
        }
        linked[at] = !linked[at];
        uint8_t key = (uint8_t)random_below(KEYS * 3 + 3);
        int count = 0;
        memset(found, 0, sizeof found);
        EXPECT_OK(ranges_each(root, BYTES(&key, 1), mark, &count, &seen));
        for (size_t i = 0; i < MANY; i++)
            EXPECT_EQ(found[i], linked[i] && range_has(&nodes[i].node, BYTES(&key, 1)));
        int stopped = 0;
        if (count >= 3)
            EXPECT_ERR(ranges_each(root, BYTES(&key, 1), stop, &stopped, &seen), ERR_LIMIT);
    }
    for (size_t i = 0; i < MANY; i++) {
        if (linked[i]) ranges_remove(&root, &nodes[i].node);
    }
    EXPECT(root == NULL);
}

// ── how many are looked at ─────────────────────────────────────────────────────────────────────

typedef struct Many {
    RangeNode *root;
    uint8_t *room;
    size_t each;
} Many;

static void put_key(uint8_t out[4], uint32_t value) {
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(value >> (24 - 8 * i));
}

static RangeNode *node_of(const Many *m, uint32_t i) {
    return (RangeNode *)(void *)(m->room + i * m->each);
}

static Many many_of(uint32_t count, void (*ends)(uint32_t i, uint32_t *lower, uint32_t *upper)) {
    uint8_t a[4], b[4];
    Many m = {.each = sizeof(RangeNode) + 8};
    m.room = mem_zalloc(count * m.each);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t lower, upper;
        ends(i, &lower, &upper);
        put_key(a, lower);
        put_key(b, upper);
        RangeNode *node = node_of(&m, i);
        range_init(node, NULL, BYTES(a, 4), BYTES(b, 4), (uint32_t)random_below(1u << 30));
        ranges_add(&m.root, node);
    }
    return m;
}

static Err count_one(void *ctx, Group *group, const RangeNode *node) {
    (void)group;
    (void)node;
    ++*(uint64_t *)ctx;
    return OK;
}

// Nodes that a look for the key sees; *hit: how many have it.
static uint64_t look(const Many *m, uint32_t value, uint64_t *hit) {
    uint8_t key[4];
    uint64_t seen = 0;
    *hit = 0;
    put_key(key, value);
    EXPECT_OK(ranges_each(m->root, BYTES(key, 4), count_one, hit, &seen));
    return seen;
}

enum { LOTS = 100000 };

static void nested(uint32_t i,
                   uint32_t *lower,
                   uint32_t *upper) {  // all but the outermost end early
    *lower = i;
    *upper = i == 0 ? 1000 * LOTS : LOTS;
}
TEST(ranges, that_overlap_each_other_but_not_the_key_are_passed_over) {
    uint64_t hit;
    Many m = many_of(LOTS, nested);
    EXPECT(look(&m, 2 * LOTS, &hit) < 200);
    EXPECT_EQ(hit, 1);
    mem_free(m.room);
}

static void short_and_long(uint32_t i, uint32_t *lower, uint32_t *upper) {
    *lower = i;
    *upper = i % 1000 == 0 ? 1000 * LOTS : i;
}
TEST(ranges, that_end_late_do_not_make_those_between_them_be_looked_at) {
    uint64_t hit;
    Many m = many_of(LOTS, short_and_long);
    uint64_t seen = look(&m, 2 * LOTS, &hit);
    EXPECT_EQ(hit, LOTS / 1000);
    EXPECT(seen < hit * 100);
    mem_free(m.room);
}

static void alike(uint32_t i, uint32_t *lower, uint32_t *upper) {
    (void)i;
    *lower = 5;
    *upper = 9;
}
TEST(ranges, that_are_all_alike_are_passed_over_together) {
    uint64_t hit;
    Many m = many_of(LOTS, alike);
    EXPECT(look(&m, 10, &hit) < 10);
    EXPECT_EQ(hit, 0);
    EXPECT(look(&m, 4, &hit) < 200);
    EXPECT_EQ(hit, 0);
    for (uint32_t i = 0; i < LOTS; i++)
        ranges_remove(&m.root, node_of(&m, i));
    EXPECT(m.root == NULL);
    mem_free(m.room);
}

TEST_MAIN()
