#include "txn/watch.h"

#include "base/mem.h"
#include "base/test.h"

// A table (a U8 primary, b U32 with index 1, c U32 unique: index 2); changes are made by hand.
typedef struct World {
    Arena arena;
    Store *store;
    Table *table;
    Watchers *watchers;
    uint64_t random;
} World;

enum { TABLE = 5000, OTHER = 5001, BY_B = 1, BY_C = 2, OWNERS = 40 };

static void world_init(World *w) {
    *w = (World){.random = 1};
    static const uint16_t a[] = {0}, b[] = {1}, c[] = {2};
    const TypeField fields[] = {{STR("a"), type_simple(TYPE_U8)},
                                {STR("b"), type_simple(TYPE_U32)},
                                {STR("c"), type_simple(TYPE_U32)}};
    Type *type = type_product(&w->arena, fields, 3);
    StoreIndexSpec indexes[] = {{3, a, 1, true}, {BY_B, b, 1, false}, {BY_C, c, 1, true}};
    EXPECT_OK(store_open(&(StoreOptions){0}, &w->store));
    store_begin(w->store);
    EXPECT_OK(
        store_table_create(w->store, &(StoreTableSpec){TABLE, type, 0, indexes, 3}, &w->table));
    store_commit(w->store);
    EXPECT_OK(watchers_new(&w->watchers));
}

static void world_deinit(World *w) {
    watchers_free(&w->watchers);
    store_close(&w->store);
    arena_deinit(&w->arena);
}

static uint64_t draw(World *w, uint64_t below) {
    w->random = w->random * 6364136223846793005u + 1442695040888963407u;
    return (w->random >> 33) % below;
}

static Bytes u32_key(uint8_t out[4], uint32_t v) {
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(v >> (24 - 8 * i));
    return BYTES(out, 4);
}

static void read_random(World *w, ReadSet *set, uint32_t domain) {
    uint8_t low[4], high[4];
    uint32_t v = (uint32_t)draw(w, domain);
    uint8_t a = (uint8_t)v;
    switch (draw(w, 20)) {
    case 0: EXPECT_OK(readset_table(set, draw(w, 4) ? OTHER : TABLE)); return;
    case 1 ... 6:
        EXPECT_OK(readset_range(set,
                                TABLE,
                                draw(w, 2) ? BY_B : BY_C,
                                draw(w, 9) ? u32_key(low, v) : BYTES_NONE,
                                u32_key(high, v + (uint32_t)draw(w, 12))));
        return;
    case 7: EXPECT_OK(readset_range(set, TABLE, BY_B, u32_key(low, v), BYTES_NONE)); return;
    case 8 ... 11: EXPECT_OK(readset_point(set, TABLE, 0, BYTES(&a, 1))); return;
    default: EXPECT_OK(readset_point(set, TABLE, draw(w, 2) ? BY_B : BY_C, u32_key(low, v)));
    }
}

typedef struct Made {
    uint8_t key[1], old_row[9], new_row[9];
} Made;

static TxnChange change_random(World *w, Made *m, uint32_t domain) {
    uint64_t which = draw(w, 3);
    m->key[0] = m->old_row[0] = m->new_row[0] = (uint8_t)draw(w, domain);
    for (int column = 0; column < 2; column++) {
        store_u32(m->old_row + 1 + 4 * column, (uint32_t)draw(w, domain));
        store_u32(m->new_row + 1 + 4 * column, (uint32_t)draw(w, domain));
    }
    return (TxnChange){.table = w->table,
                       .table_id = TABLE,
                       .key = BYTES(m->key, 1),
                       .old_row = which == 0 ? BYTES_NONE : BYTES(m->old_row, 9),
                       .new_row = which == 1 ? BYTES_NONE : BYTES(m->new_row, 9)};
}

typedef struct Owner {
    ReadSet *set;
    Watch *watch;
    int told;
} Owner;

static void tell(void *ctx, void *owner) {
    ++*(int *)ctx;
    ((Owner *)owner)->told++;
}

static void check_match(World *w, Owner *owners, uint64_t seed) {
    Made made[6];
    TxnChange changes[6];
    size_t count = 1 + draw(w, 6);
    int calls = 0;
    for (size_t i = 0; i < count; i++)
        changes[i] = change_random(w, &made[i], 100);
    for (int o = 0; o < OWNERS; o++)
        owners[o].told = 0;
    EXPECT_OK(watchers_match(w->watchers, changes, count, tell, &calls));
    for (int o = 0; o < OWNERS; o++) {
        bool want = false;
        for (size_t i = 0; owners[o].watch && i < count; i++)
            want |= readset_hit(owners[o].set, &changes[i]);
        if (owners[o].told == want) continue;
        print_error("seed %llu: owner %d told %d times\n",
                    (unsigned long long)seed,
                    o,
                    owners[o].told);
        fail();
    }
}

TEST(watch, tells_exactly_the_owners_whose_read_sets_are_hit) {
    for (uint64_t seed = 1; seed <= 60; seed++) {
        World w;
        Owner owners[OWNERS] = {0};
        world_init(&w);
        w.random = seed;
        for (int o = 0; o < OWNERS; o++)
            EXPECT_OK(readset_new(&owners[o].set));
        for (int step = 0; step < 400; step++) {
            Owner *owner = &owners[draw(&w, OWNERS)];
            uint64_t act = draw(&w, 4);
            if (act == 0 && owner->watch) {
                watch_remove(w.watchers, &owner->watch);
            } else if (act <= 1) {
                readset_clear(owner->set);
                for (uint64_t n = draw(&w, 8); n > 0; n--)
                    read_random(&w, owner->set, 100);
                if (owner->watch) {
                    EXPECT_OK(watch_replace(w.watchers, owner->watch, owner->set));
                } else {
                    EXPECT_OK(watch_add(w.watchers, owner->set, owner, &owner->watch));
                }
            } else {
                check_match(&w, owners, seed);
            }
        }
        for (int o = 0; o < OWNERS; o++) {
            watch_remove(w.watchers, &owners[o].watch);
            readset_free(&owners[o].set);
        }
        world_deinit(&w);
    }
}

// Nobody else's registration may be looked at: points by one hash chain, ranges by a path.
static uint64_t probes_of_one_commit(uint32_t watchers_count, bool ranges, int *calls) {
    World w;
    ReadSet *set;
    world_init(&w);
    EXPECT_OK(readset_new(&set));
    Watch **watches = mem_alloc(watchers_count * sizeof *watches);
    Owner owner = {0};
    for (uint32_t i = 0; i < watchers_count; i++) {
        uint8_t low[4], high[4];
        readset_clear(set);
        if (ranges) {
            EXPECT_OK(
                readset_range(set, TABLE, BY_B, u32_key(low, i * 10), u32_key(high, i * 10 + 5)));
        } else {
            EXPECT_OK(readset_point(set, TABLE, BY_B, u32_key(low, i * 10)));
        }
        EXPECT_OK(watch_add(w.watchers, set, &owner, &watches[i]));
    }
    uint64_t probes = 0;
    const uint32_t commits = 1000;
    for (uint32_t i = 0; i < commits; i++) {  // rows that nobody watches
        uint8_t row[9] = {1}, key[1] = {1};
        store_u32(row + 1, (uint32_t)draw(&w, watchers_count) * 10 + 7);
        TxnChange change = {.table = w.table,
                            .table_id = TABLE,
                            .key = BYTES(key, 1),
                            .new_row = BYTES(row, 9)};
        EXPECT_OK(watchers_match(w.watchers, &change, 1, tell, calls));
    }
    probes = watchers_probes(w.watchers);
    for (uint32_t i = 0; i < watchers_count; i++)
        watch_remove(w.watchers, &watches[i]);
    mem_free(watches);
    readset_free(&set);
    world_deinit(&w);
    return probes;
}

TEST(watch, a_commit_nobody_watches_costs_the_same_with_100000_watchers) {
    int calls = 0;
    uint64_t one = probes_of_one_commit(1, false, &calls);
    uint64_t many = probes_of_one_commit(100000, false, &calls);
    EXPECT_EQ(calls, 0);
    EXPECT(one <= 1000);
    EXPECT(many <= 1500);  // of 1,000 commits: a chain holds one registration on average
    uint64_t ranges = probes_of_one_commit(100000, true, &calls);
    EXPECT_EQ(calls, 0);
    EXPECT(ranges <= 1000 * 80);  // the height of a random tree of 100,000 and little beside it
}

TEST(watch, many_watchers_of_one_key_come_and_go_in_any_order) {
    World w;
    ReadSet *set;
    Watch *watches[1000];
    Owner owners[1000] = {0};
    uint8_t low[4];
    int calls = 0;
    world_init(&w);
    EXPECT_OK(readset_new(&set));
    EXPECT_OK(readset_point(set, TABLE, BY_C, u32_key(low, 7)));
    EXPECT_OK(readset_range(set, TABLE, BY_B, u32_key(low, 7), BYTES_NONE));
    EXPECT_OK(readset_table(set, OTHER));
    for (int i = 0; i < 1000; i++)
        EXPECT_OK(watch_add(w.watchers, set, &owners[i], &watches[i]));
    for (int i = 0; i < 1000; i += 2)
        watch_remove(w.watchers, &watches[(i * 7) % 1000]);
    uint8_t row[9] = {1, 9, 0, 0, 0, 7}, key[1] = {1};
    TxnChange change = {.table = w.table,
                        .table_id = TABLE,
                        .key = BYTES(key, 1),
                        .new_row = BYTES(row, 9)};
    EXPECT_OK(watchers_match(w.watchers, &change, 1, tell, &calls));
    EXPECT_EQ(calls, 500);
    for (int i = 0; i < 1000; i++)
        watch_remove(w.watchers, &watches[i]);
    readset_free(&set);
    world_deinit(&w);
}

TEST(watch, the_nth_allocation_failing_registers_nothing) {
    World w;
    ReadSet *set, *other;
    Owner owner = {0};
    Made made;
    world_init(&w);
    EXPECT_OK(readset_new(&set));
    EXPECT_OK(readset_new(&other));
    for (int i = 0; i < 40; i++)
        read_random(&w, set, 100);
    EXPECT_OK(readset_table(other, TABLE));
    for (int64_t nth = 0;; nth++) {
        int calls = 0;
        TxnChange change = change_random(&w, &made, 100);
        mem_fault_arm(nth);
        Err err = watch_add(w.watchers, set, &owner, &owner.watch);
        if (err == OK) err = watch_replace(w.watchers, owner.watch, other);
        bool hit = mem_fault_hit();
        mem_fault_arm(-1);
        EXPECT(hit || err == OK);
        EXPECT_OK(watchers_match(w.watchers, &change, 1, tell, &calls));
        bool want = err == OK || (owner.watch && readset_hit(set, &change));
        EXPECT_EQ(calls, want);
        watch_remove(w.watchers, &owner.watch);
        if (!hit) break;
    }
    readset_free(&other);
    readset_free(&set);
    world_deinit(&w);
}

TEST_MAIN()
