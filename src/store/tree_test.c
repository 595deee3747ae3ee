#include "store/tree.h"

#include "base/test.h"
#include "store/tree_twin.h"

// A tree beside its twin, with the check that every page is accounted for exactly once.
typedef struct Pair {
    Pages pages;
    Tree tree;
    Twin twin;
    uint8_t *seen;
} Pair;

static Pair *pair_open(void) {
    Pair *pair = calloc(1, sizeof *pair);
    EXPECT(pair);
    EXPECT_OK(pages_open(&pair->pages, (uint64_t)4 << 30, 0));
    return pair;
}

static void pair_close(Pair *pair) {
    twin_clear(&pair->twin);
    pages_close(&pair->pages);
    free(pair);
}

// Into the tree alone.
static bool tree_put(Pair *pair, Bytes key, Bytes value) {
    TreePath path;
    bool found = tree_seek(&pair->pages, &pair->tree, key, &path);
    uint64_t most = tree_insert_pages(&pair->tree, key.len, value.len);
    EXPECT_OK(pages_reserve(&pair->pages, most));
    most += pair->pages.used;
    if (found) {
        tree_replace(&pair->pages, &pair->tree, &path, key, value);
    } else {
        tree_insert(&pair->pages, &pair->tree, &path, key, value);
    }
    EXPECT(pair->pages.used <= most);
    return !found;
}

static bool pair_put(Pair *pair, Bytes key, Bytes value) {
    twin_put(&pair->twin, key, value);
    return tree_put(pair, key, value);
}

static bool pair_remove(Pair *pair, Bytes key) {
    TreePath path;
    bool found = tree_seek(&pair->pages, &pair->tree, key, &path);
    bool expected;
    size_t at = twin_search(&pair->twin, key, &expected);
    EXPECT_EQ(found, expected);
    if (!found) return false;
    tree_delete(&pair->pages, &pair->tree, &path);
    twin_remove_at(&pair->twin, at);
    return true;
}

static void expect_same(const Pages *pages, const Tree *tree, const Twin *twin) {
    TreeCursor cursor;
    cursor_open(&cursor, pages, tree, BYTES_NONE, BYTES_NONE);
    uint8_t scratch[NODE_KEY_MAX];
    unsigned at;
    size_t i = 0;
    for (; cursor_next(&cursor, &at); i++) {
        EXPECT(i < twin->count);
        EXPECT(bytes_eq(node_key(pages, cursor_leaf(&cursor), at, scratch), twin->pairs[i].key));
        EXPECT(bytes_eq(node_value(pages, cursor_leaf(&cursor), at), twin->pairs[i].value));
    }
    EXPECT_EQ(i, twin->count);
}

static void mark(void *ctx, PageNo no, uint32_t run) {
    Pair *pair = ctx;
    for (uint32_t i = 0; i < run; i++) {
        EXPECT(no + i < pair->pages.end);
        EXPECT(!pair->seen[no + i]++);
    }
}

static Err mark_page(void *ctx, PageNo no, uint32_t run, Diag *diag) {
    (void)diag;
    mark(ctx, no, run);
    return OK;
}

static void expect_sound(Pair *pair) {
    Diag diag;
    pair->seen = calloc(1, pair->pages.end);
    TreeVisit visit = {.page = mark_page, .ctx = pair};
    uint64_t entries;
    Err err = tree_check(&pair->pages, &pair->tree, &visit, &entries, &diag);
    if (err != OK) print_error("%s\n", diag.text);
    EXPECT_OK(err);
    EXPECT_EQ(entries, pair->twin.count);
    pages_walk_free(&pair->pages, mark, pair);
    pages_walk_retired(&pair->pages, mark, pair);
    for (PageNo no = 1; no < pair->pages.end; no++) {
        EXPECT_EQ(pair->seen[no], 1);
    }
    EXPECT_EQ(pair->pages.used + pair->pages.free + 1, pair->pages.end);
    free(pair->seen);
}

static Bytes key_of_number(uint64_t number, uint8_t out[8]) {
    for (int i = 0; i < 8; i++) {
        out[i] = (uint8_t)(number >> (56 - 8 * i));
    }
    return BYTES(out, 8);
}

enum { ORDER_COUNT = 20000 };

static double fill_of(const Pair *pair) {
    size_t bytes = 0;
    for (size_t i = 0; i < pair->twin.count; i++) {
        bytes += NODE_SLOT_BYTES + pair->twin.pairs[i].key.len + pair->twin.pairs[i].value.len;
    }
    return (double)bytes / ((double)pair->pages.used * PAGE_BYTES);
}

static Pair *pair_filled(uint64_t start, uint64_t step) {
    Pair *pair = pair_open();
    uint8_t key[8];
    char value[32];
    for (uint64_t i = 0, number = start; i < ORDER_COUNT; i++, number += step) {
        memset(value, (int)i, sizeof value);
        EXPECT(pair_put(pair, key_of_number(number, key), BYTES(value, sizeof value)));
    }
    expect_sound(pair);
    expect_same(&pair->pages, &pair->tree, &pair->twin);
    return pair;
}

TEST(tree, fills_pages_when_keys_ascend_or_descend) {
    Pair *up = pair_filled(0, 1), *down = pair_filled(ORDER_COUNT, (uint64_t)-1);
    EXPECT(fill_of(up) > 0.95);
    EXPECT(fill_of(down) > 0.95);
    pair_close(up);
    pair_close(down);
}

// Keys dense, scattered, longer than a number, of one beginning; with a shape that learns, and with
// ones that are wrong.
TEST(tree, guesses_about_leaves_change_no_answer) {
    Random random = random_seeded("shapes", 31);
    static const LeafShape wrong[] = {{0, 0, 4},
                                      {1e30f, 1e30f, 4},
                                      {-1, -1, 4},
                                      {__builtin_nanf(""), __builtin_nanf(""), 4},
                                      {1, 8192, 4}};
    for (int kind = 0; kind < 4; kind++) {
        Pair *pair = pair_open();
        LeafShape learnt = {0};
        for (uint64_t i = 0; i < 6000; i++) {
            uint8_t key[24] = "http://x";
            uint64_t number = kind == 1 ? random_next(&random) : i * (kind == 3 ? 3 : 1);
            key_of_number(number, key + (kind == 2 ? 9 : 0));
            tree_put(pair,
                     BYTES(key, kind == 2 ? 20 : 8),
                     BYTES(key, 8 + (kind == 3 ? i % 16 : 8)));
        }
        for (int i = 0; i < 20000; i++) {
            uint8_t key[24] = "http://x";
            TreePath there = {0}, like = {0};
            uint64_t number = kind == 1 ? random_next(&random) : random_below(&random, 7000);
            key_of_number(number, key + (kind == 2 ? 9 : 0));
            Bytes wanted = BYTES(key, kind == 2 ? 20 : 8 - (size_t)(i % 50 == 0));
            LeafShape shape = i % 4 ? learnt : wrong[random_below(&random, ARRAY_LEN(wrong))];
            bool found = tree_seek(&pair->pages, &pair->tree, wanted, &there);
            EXPECT_EQ(tree_seek_like(&pair->pages, &pair->tree, wanted, &shape, &like), found);
            uint32_t leaf = pair->tree.height - 1;
            EXPECT_EQ(like.page[leaf], there.page[leaf]);
            EXPECT_EQ(like.at[leaf], there.at[leaf]);
            if (i % 4) learnt = shape;
        }
        if (kind == 0) EXPECT(learnt.trust >= 2);
        pair_close(pair);
    }
}

typedef struct LeafFill {
    const Pages *pages;
    uint64_t leaves, bytes;
} LeafFill;

static Err leaf_weigh(void *ctx, PageNo no, uint32_t run, Diag *diag) {
    (void)run, (void)diag;
    LeafFill *fill = ctx;
    const uint8_t *page = page_read(fill->pages, no);
    if (!node_is_leaf(page)) return OK;
    fill->leaves++;
    fill->bytes += node_live_bytes(page);
    return OK;
}

// The share of the leaves' room that entries take.
static double leaf_fill(const Pair *pair) {
    LeafFill fill = {.pages = &pair->pages};
    uint64_t entries;
    TreeVisit visit = {.page = leaf_weigh, .ctx = &fill};
    EXPECT_OK(tree_check(&pair->pages, &pair->tree, &visit, &entries, NULL));
    return (double)fill.bytes / ((double)fill.leaves * (PAGE_BYTES - NODE_HEADER_BYTES));
}

// Fill comes and goes in waves, many leaves being full at once: so look again whenever there are 5 % more.
static void expect_full_leaves(size_t value_min, size_t value_max) {
    static uint8_t value[1000];
    Random random = random_seeded("leaves", 11);
    Pair *pair = pair_open();
    double worst = 1, sum = 0;
    int looks = 0;
    for (uint64_t i = 1, look = 4000; i <= 60000; i++) {
        uint8_t key[8];
        size_t len = value_min + random_below(&random, value_max - value_min + 1);
        tree_put(pair, key_of_number(random_next(&random), key), BYTES(value, len));
        if (i < look) continue;
        double fill = leaf_fill(pair);
        worst = MIN(worst, fill);
        sum += fill;
        looks++;
        look += look / 20;
    }
    EXPECT(sum / looks >= 0.8);
    EXPECT(worst >= 0.74);
    pair_close(pair);
}

TEST(tree, keeps_leaves_four_fifths_full_when_keys_come_in_random_order) {
    expect_full_leaves(32, 32);
    expect_full_leaves(0, 200);
    expect_full_leaves(0, 800);
}

TEST(tree, fills_leaves_that_a_view_sees_by_copying_them) {
    Random random = random_seeded("leaves and views", 12);
    Pair *pair = pair_open();
    PageView *view = NULL;
    Tree seen = {0};
    Twin twin = {0};
    for (int i = 0; i < 8000; i++) {
        uint8_t key[8];
        pair_put(pair, key_of_number(random_next(&random), key), BYTES("0123456789012345", 16));
        if (i % 1000 != 500) continue;
        if (view) {
            expect_same(&pair->pages, &seen, &twin);
            pages_view_end(&pair->pages, view);
            twin_clear(&twin);
        }
        view = pages_view_open(&pair->pages);
        seen = pair->tree;
        twin = twin_copy(&pair->twin);
        expect_sound(pair);
    }
    expect_same(&pair->pages, &seen, &twin);
    expect_same(&pair->pages, &pair->tree, &pair->twin);
    pages_view_end(&pair->pages, view);
    EXPECT(pages_tidy(&pair->pages, UINT32_MAX));
    expect_sound(pair);
    EXPECT(leaf_fill(pair) >= 0.75);
    twin_clear(&twin);
    pair_close(pair);
}

// Each leaf's keys share a prefix of their own, which evening out makes shorter.
TEST(tree, shares_leaves_of_other_prefixes_or_splits_them) {
    Random random = random_seeded("prefixes", 13);
    Pair *pair = pair_open();
    uint8_t key[NODE_KEY_MAX + 200];
    for (int i = 0; i < 6000; i++) {
        memset(key, 'm', sizeof key);
        key[3] = (uint8_t)('a' + random_below(&random, 6));
        size_t len = random_below(&random, 200) ? 36 : NODE_KEY_MAX + random_below(&random, 200);
        key[len - 2] = (uint8_t)random_next(&random);
        key[len - 1] = (uint8_t)random_next(&random);
        pair_put(pair, BYTES(key, len), BYTES(key, random_below(&random, 40)));
        if (i % 500 == 0) expect_sound(pair);
    }
    expect_sound(pair);
    expect_same(&pair->pages, &pair->tree, &pair->twin);
    pair_close(pair);
}

TEST(tree, gives_every_page_back_when_everything_is_deleted) {
    Pair *pair = pair_filled(7, 0x9e3779b97f4a7c15u);
    uint8_t key[8];
    for (uint64_t i = 0, number = 7; i < ORDER_COUNT; i++, number += 0x9e3779b97f4a7c15u) {
        EXPECT(pair_remove(pair, key_of_number(number, key)));
        if (i % 4000 == 0) expect_sound(pair);
    }
    expect_sound(pair);
    EXPECT_EQ(pair->pages.used, 0);
    EXPECT_EQ(pair->tree.height, 0);
    pair_close(pair);
}

TEST(tree, merges_leaves_that_deletes_have_thinned_out) {
    Pair *pair = pair_filled(0, 1);
    uint64_t full = pair->pages.used;
    uint8_t key[8];
    for (uint64_t i = 0; i < ORDER_COUNT; i++) {
        if (i % 10) EXPECT(pair_remove(pair, key_of_number(i, key)));
    }
    expect_sound(pair);
    expect_same(&pair->pages, &pair->tree, &pair->twin);
    EXPECT(pair->pages.used < full / 3);
    pair_close(pair);
}

// ── random operations ───────────────────────────────────────────────────────────────────────────

enum { BIG = 70000 };
static uint8_t filler[BIG];

// Keys that share long prefixes, differ in length only, contain zeros, are empty, are very long.
static Bytes random_key(Random *random, uint8_t out[BIG]) {
    size_t len;
    memset(out, 0, 64);
    switch (random_below(random, 12)) {
    case 0: return BYTES(out, random_below(random, 12));  // zeros only
    case 1:
        len = 200 + random_below(random, 3);
        memset(out, 'p', len);
        out[len - 1] = (uint8_t)random_next(random);
        return BYTES(out, len);
    case 2:
        len =
            random_below(random, 40) == 0 ? random_below(random, BIG) : random_below(random, 3000);
        memset(out, 'q', len);
        if (len) out[random_below(random, len)] = (uint8_t)random_next(random);
        return BYTES(out, len);
    case 3:
    case 4:
    case 5: return key_of_number(random_below(random, 500), out);
    default:
        len = 1 + random_below(random, 6);
        for (size_t i = 0; i < len; i++) {
            out[i] = (uint8_t)(random_below(random, 3) * 127);
        }
        return BYTES(out, len);
    }
}

static Bytes random_value(Random *random) {
    size_t len = random_below(random, 60);
    if (random_below(random, 8) == 0) len = random_below(random, 2500);
    if (random_below(random, 64) == 0) len = random_below(random, BIG);
    size_t at = random_below(random, BIG - len + 1);
    return BYTES(filler + at, len);
}

static void random_step(Pair *pair, Random *random, bool shrinking) {
    static uint8_t room[BIG];
    Bytes key = random_key(random, room);
    if (random_below(random, 10) < (shrinking ? 7 : 3)) {
        if (pair->twin.count && random_below(random, 2)) {
            Bytes some = pair->twin.pairs[random_below(random, pair->twin.count)].key;
            memcpy(room, some.ptr, some.len);
            key = BYTES(room, some.len);
        }
        pair_remove(pair, key);
    } else {
        pair_put(pair, key, random_value(random));
    }
}

static void expect_range(Pair *pair, Random *random) {
    static uint8_t low_room[BIG], high_room[BIG];
    Bytes low = random_key(random, low_room), high = random_key(random, high_room);
    bool found;
    size_t i = low.len ? twin_search(&pair->twin, low, &found) : 0;
    size_t end = high.len ? twin_search(&pair->twin, high, &found) : pair->twin.count;
    TreeCursor cursor;
    cursor_open(&cursor, &pair->pages, &pair->tree, low, high);
    unsigned at;
    uint8_t scratch[NODE_KEY_MAX];
    while (cursor_next(&cursor, &at)) {
        EXPECT(i < end);
        Bytes key = node_key(&pair->pages, cursor_leaf(&cursor), at, scratch);
        EXPECT(bytes_eq(key, pair->twin.pairs[i].key));
        i++;
    }
    EXPECT(i >= end);
    EXPECT(!cursor_next(&cursor, &at));
}

static void filler_init(Random *random) {
    for (size_t i = 0; i < BIG; i++) {
        filler[i] = (uint8_t)random_next(random);
    }
}

TEST(tree, agrees_with_a_sorted_array_under_random_operations) {
    Random random = random_seeded("tree", 1);
    filler_init(&random);
    Pair *pair = pair_open();
    for (int batch = 0; batch < 60; batch++) {
        for (int i = 0; i < 200; i++) {
            random_step(pair, &random, batch % 20 > 12);
        }
        expect_sound(pair);
        expect_same(&pair->pages, &pair->tree, &pair->twin);
        for (int i = 0; i < 20; i++) {
            expect_range(pair, &random);
        }
    }
    pair_close(pair);
}

typedef struct Kept {
    PageView *view;
    Tree tree;
    Twin twin;
} Kept;

TEST(tree, views_keep_what_they_saw_while_the_head_moves_on) {
    Random random = random_seeded("tree views", 2);
    filler_init(&random);
    Pair *pair = pair_open();
    Kept kept[4] = {0};
    for (int round = 0; round < 300; round++) {
        for (int i = 0; i < 30; i++) {
            random_step(pair, &random, round % 50 > 35);
        }
        Kept *one = &kept[random_below(&random, ARRAY_LEN(kept))];
        if (one->view) {
            expect_same(&pair->pages, &one->tree, &one->twin);
            pages_view_end(&pair->pages, one->view);
            twin_clear(&one->twin);
            *one = (Kept){0};
        } else {
            *one = (Kept){pages_view_open(&pair->pages), pair->tree, twin_copy(&pair->twin)};
        }
        pages_tidy(&pair->pages, (uint32_t)random_below(&random, 20));
        if (round % 30 == 0) expect_same(&pair->pages, &pair->tree, &pair->twin);
    }
    for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
        if (!kept[i].view) continue;
        expect_same(&pair->pages, &kept[i].tree, &kept[i].twin);
        pages_view_end(&pair->pages, kept[i].view);
        twin_clear(&kept[i].twin);
    }
    EXPECT(pages_tidy(&pair->pages, UINT32_MAX));
    EXPECT(pair->pages.copied > 0);
    expect_sound(pair);
    pair_close(pair);
}

TEST(tree, copies_nothing_without_a_view_and_each_page_once_with_one) {
    Pair *pair = pair_filled(0, 1);
    EXPECT_EQ(pair->pages.copied, 0);
    PageView *view = pages_view_open(&pair->pages);
    uint8_t key[8];
    for (int i = 0; i < 100; i++) {
        pair_put(pair, key_of_number(5, key), BYTES(filler, 32));
    }
    EXPECT_EQ(pair->pages.copied, pair->tree.height);
    pages_view_end(&pair->pages, view);
    EXPECT(pages_tidy(&pair->pages, UINT32_MAX));
    expect_sound(pair);
    pair_close(pair);
}

TEST(tree, dropped_is_taken_apart_in_bounded_steps) {
    Pair *pair = pair_filled(0, 1);
    uint64_t used = pair->pages.used;
    tree_drop(&pair->pages, &pair->tree);
    EXPECT(!tree_tidy(&pair->pages, 10));
    EXPECT_EQ(pair->pages.used, used - 10);
    EXPECT(tree_tidy(&pair->pages, UINT32_MAX));
    EXPECT_EQ(pair->pages.used, 0);
    pair_close(pair);
}

TEST(tree, gives_a_stranger_among_keys_with_a_long_prefix_a_leaf_of_its_own) {
    Pair *pair = pair_open();
    uint8_t key[36];
    memset(key, 'm', sizeof key);
    for (int i = 0; i < 1500; i++) {
        key[34] = (uint8_t)(i >> 8), key[35] = (uint8_t)i;
        pair_put(pair, BYTES(key, sizeof key), BYTES("v", 1));
    }
    EXPECT(pair->pages.used < 5);  // 54,000 bytes of keys in a few pages: prefixes are shared
    pair_put(pair, BYTES("a", 1), BYTES("low", 3));
    pair_put(pair, BYTES("z", 1), BYTES("high", 4));
    expect_sound(pair);
    expect_same(&pair->pages, &pair->tree, &pair->twin);
    pair_close(pair);
}

TEST(pages, refuses_more_than_the_limit_and_recovers_when_pages_come_back) {
    Pages pages;
    EXPECT_OK(pages_open(&pages, (uint64_t)1 << 30, 10 * PAGE_BYTES));
    PageNo taken[10];
    for (int i = 0; i < 10; i++) {
        EXPECT_OK(pages_reserve(&pages, 1));
        taken[i] = page_take(&pages, PAGE_LEAF, 0, 1);
    }
    EXPECT_ERR(pages_reserve(&pages, 1), ERR_LIMIT);
    page_retire(&pages, taken[3], 1);
    EXPECT_OK(pages_reserve(&pages, 1));
    EXPECT_EQ(page_take(&pages, PAGE_LEAF, 0, 1), taken[3]);
    pages_close(&pages);
}

TEST(pages, joins_free_neighbours_so_that_long_runs_find_room_again) {
    Pages pages;
    EXPECT_OK(pages_open(&pages, (uint64_t)1 << 30, 0));
    PageNo taken[64];
    for (int i = 0; i < 64; i++) {
        taken[i] = page_take(&pages, PAGE_LEAF, 0, 1);
    }
    for (int i = 0; i < 64; i += 2) {
        page_retire(&pages, taken[i], 1);
    }
    for (int i = 1; i < 64; i += 2) {
        page_retire(&pages, taken[i], 1);
    }
    EXPECT_EQ(page_take(&pages, PAGE_RUN, 0, 64), taken[0]);
    EXPECT_EQ(pages.end, 65);
    pages_close(&pages);
}

TEST_MAIN()
