#include "txn/readset.h"

#include "base/mem.h"
#include "base/test.h"
#include "store/testing.h"

// A table (a U8 primary, b U8 with index 1, c U8 unique: index 2), never filled: changes are made by
// hand. And one without a key, whose rows are clustered by hash.
typedef struct World {
    Arena arena;
    Store *store;
    Table *keyed, *hashed;
} World;

enum { KEYED = 5000, HASHED = 5001, BY_B = 1, BY_C = 2 };

static void world_init(World *w) {
    *w = (World){0};
    static const uint16_t a[] = {0}, b[] = {1}, c[] = {2};
    const TypeField fields[] = {{STR("a"), type_simple(TYPE_U8)},
                                {STR("b"), type_simple(TYPE_U8)},
                                {STR("c"), type_simple(TYPE_U8)}};
    Type *type = type_product(&w->arena, fields, 3);
    StoreIndexSpec indexes[] = {{3, a, 1, true}, {BY_B, b, 1, false}, {BY_C, c, 1, true}};
    EXPECT_OK(store_open(&(StoreOptions){0}, &w->store));
    store_test_weaken_hash(w->store, 4);
    store_begin(w->store);
    EXPECT_OK(
        store_table_create(w->store, &(StoreTableSpec){KEYED, type, 0, indexes, 3}, &w->keyed));
    EXPECT_OK(store_table_create(w->store,
                                 &(StoreTableSpec){HASHED, type, -1, indexes + 1, 1},
                                 &w->hashed));
    store_commit(w->store);
}

static void world_deinit(World *w) {
    store_close(&w->store);
    arena_deinit(&w->arena);
}

typedef struct Made {
    uint8_t old_row[3], new_row[3];
    Buf key;
    TxnChange change;
} Made;

static void change_make(World *w, Made *m, bool keyed, const uint8_t *old, const uint8_t *new) {
    Table *table = keyed ? w->keyed : w->hashed;
    m->change = (TxnChange){.table = table, .table_id = table_id(table)};
    if (old) memcpy(m->old_row, old, 3), m->change.old_row = BYTES(m->old_row, 3);
    if (new) memcpy(m->new_row, new, 3), m->change.new_row = BYTES(m->new_row, 3);
    buf_clear(&m->key);
    table_row_key(table, old ? m->change.old_row : m->change.new_row, &m->key);
    m->change.key = buf_bytes(&m->key);
}

static uint64_t next_random(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

// The slow twin: a list of everything ever read.
typedef struct Twin {
    struct {
        uint32_t table_id, index_id;
        int kind;  // 0 table, 1 point, 2 range
        uint8_t lower[20], upper[20];
        size_t lower_len, upper_len;
    } at[400];
    size_t count;
} Twin;

static bool twin_key_in(const Twin *twin, size_t i, Bytes key) {
    Bytes lower = BYTES(twin->at[i].lower, twin->at[i].lower_len);
    Bytes upper = BYTES(twin->at[i].upper, twin->at[i].upper_len);
    if (twin->at[i].kind == 1) return bytes_eq(key, lower);
    return bytes_cmp(key, lower) >= 0 && (upper.len == 0 || bytes_cmp(key, upper) < 0);
}

static bool twin_hit(const Twin *twin, const TxnChange *change) {
    for (size_t i = 0; i < twin->count; i++) {
        if (twin->at[i].table_id != change->table_id) continue;
        if (twin->at[i].kind == 0) return true;
        uint32_t index = twin->at[i].index_id;
        const Bytes rows[] = {change->old_row, change->new_row};
        for (int r = 0; r < 2; r++) {
            if (!rows[r].ptr) continue;
            Bytes key = index == 0      ? table_key_stem(change->table, change->key)
                        : index == BY_B ? BYTES(rows[r].ptr + 1, 1)
                                        : BYTES(rows[r].ptr + 2, 1);
            if (twin_key_in(twin, i, key)) return true;
        }
    }
    return false;
}

static void random_row(uint64_t *state, uint8_t row[3]) {
    for (int i = 0; i < 3; i++)
        row[i] = (uint8_t)(next_random(state) % 64);
}

static void random_read(World *w, uint64_t *state, ReadSet *set, Twin *twin) {
    bool keyed = next_random(state) % 4 != 0;
    uint32_t table = keyed ? KEYED : HASHED;
    uint32_t index =
        keyed ? (uint32_t)(next_random(state) % 3) : (uint32_t)(next_random(state) % 2);
    uint8_t row[3];
    Buf key = {0};
    random_row(state, row);
    if (index == 0 && !keyed) {
        table_row_stem(w->hashed, BYTES(row, 3), &key);
    } else {
        buf_put_u8(&key, row[0]);
    }
    size_t i = twin->count++;
    twin->at[i].table_id = table;
    twin->at[i].index_id = index;
    twin->at[i].lower_len = key.len;
    memcpy(twin->at[i].lower, key.ptr, key.len);
    twin->at[i].upper_len = 0;
    switch (next_random(state) % 40) {
    case 0:
        twin->at[i].kind = 0;
        EXPECT_OK(readset_table(set, table));
        break;
    case 1 ... 9:
        twin->at[i].kind = 2;
        if (next_random(state) % 8) {
            twin->at[i].upper[0] = (uint8_t)(row[0] + next_random(state) % 6);
            twin->at[i].upper_len = 1;
        }
        if (next_random(state) % 16 == 0) twin->at[i].lower_len = 0;
        EXPECT_OK(readset_range(set,
                                table,
                                index,
                                BYTES(twin->at[i].lower, twin->at[i].lower_len),
                                BYTES(twin->at[i].upper, twin->at[i].upper_len)));
        break;
    default: twin->at[i].kind = 1; EXPECT_OK(readset_point(set, table, index, buf_bytes(&key)));
    }
    buf_deinit(&key);
}

TEST(readset, hits_what_a_list_of_all_reads_hits) {
    World w;
    world_init(&w);
    Made m = {0};
    for (uint64_t seed = 1; seed <= 300; seed++) {
        uint64_t state = seed;
        Twin twin = {0};
        ReadSet *set, *copy;
        EXPECT_OK(readset_new(&set));
        size_t reads = next_random(&state) % 60;
        for (size_t i = 0; i < reads; i++)
            random_read(&w, &state, set, &twin);
        EXPECT_OK(readset_copy(set, &copy));
        for (int i = 0; i < 200; i++) {
            uint8_t old[3], new[3];
            random_row(&state, old);
            random_row(&state, new);
            bool keyed = next_random(&state) % 3 != 0;
            uint64_t which = next_random(&state) % 3;
            if (keyed) new[0] = old[0];
            if (!keyed && which == 2) which = 1;
            change_make(&w, &m, keyed, which ? old : NULL, which == 1 ? NULL : new);
            bool want = twin_hit(&twin, &m.change);
            if (readset_hit(set, &m.change) != want || readset_hit(copy, &m.change) != want) {
                print_error("seed %llu: change %d should %s\n",
                            (unsigned long long)seed,
                            i,
                            want ? "hit" : "miss");
                fail();
            }
        }
        readset_free(&copy);
        readset_free(&set);
    }
    buf_deinit(&m.key);
    world_deinit(&w);
}

TEST(readset, an_absent_row_is_a_read_of_every_row_with_its_hash) {
    World w;
    ReadSet *set;
    Made m = {0};
    Buf stem = {0};
    const uint8_t row[3] = {1, 2, 3};
    world_init(&w);
    EXPECT_OK(readset_new(&set));
    table_row_stem(w.hashed, BYTES(row, 3), &stem);
    EXPECT_EQ(stem.len, 16);
    EXPECT_OK(readset_point(set, HASHED, 0, buf_bytes(&stem)));
    change_make(&w, &m, false, NULL, row);
    m.key.ptr[16] = 77;  // whichever place it gets among its like
    m.change.key = buf_bytes(&m.key);
    EXPECT(readset_hit(set, &m.change));
    EXPECT(readset_reads_table(set, HASHED) && !readset_reads_table(set, KEYED));
    readset_clear(set);
    EXPECT(!readset_hit(set, &m.change));
    buf_deinit(&stem);
    buf_deinit(&m.key);
    readset_free(&set);
    world_deinit(&w);
}

TEST(readset, an_index_that_is_gone_is_hit) {
    World w;
    ReadSet *set;
    Made m = {0};
    const uint8_t row[3] = {1, 2, 3};
    world_init(&w);
    EXPECT_OK(readset_new(&set));
    EXPECT_OK(readset_point(set, KEYED, 99, BYTES("x", 1)));
    change_make(&w, &m, true, NULL, row);
    EXPECT(readset_hit(set, &m.change));
    buf_deinit(&m.key);
    readset_free(&set);
    world_deinit(&w);
}

TEST(readset, stays_bounded_and_only_becomes_coarser) {
    World w;
    ReadSet *set;
    world_init(&w);
    EXPECT_OK(readset_new(&set));
    for (uint32_t i = 0; i < 20000; i++) {  // ranges far apart: joined in pairs, never lost
        uint8_t lower[4] = {(uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i, 1};
        uint8_t upper[4] = {(uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i, 2};
        EXPECT_OK(readset_range(set, KEYED, BY_B, BYTES(lower, 4), BYTES(upper, 4)));
    }
    size_t ranges_bytes = readset_bytes(set);
    EXPECT(ranges_bytes < 2 << 20);
    static uint8_t long_key[1 << 20];
    for (uint32_t i = 0; i < 100; i++) {
        memcpy(long_key, &i, sizeof i);
        EXPECT_OK(readset_point(set, KEYED, BY_B, BYTES(long_key, sizeof long_key)));
    }
    EXPECT(readset_bytes(set) < 40 << 20);
    Made m = {0};
    const uint8_t row[3] = {1, 2, 3};
    change_make(&w, &m, true, NULL, row);
    EXPECT(readset_hit(set, &m.change));  // by now the whole table
    buf_deinit(&m.key);
    readset_free(&set);
    world_deinit(&w);
}

TEST(readset, the_nth_allocation_failing_loses_no_earlier_read) {
    World w;
    Made m = {0};
    world_init(&w);
    for (int64_t nth = 0;; nth++) {
        uint64_t state = 5;
        ReadSet *set = NULL, *copy = NULL;
        uint8_t done[64];
        int count = 0;
        mem_fault_arm(nth);
        Err err = readset_new(&set);
        for (int i = 0; err == OK && i < 60; i++) {
            uint8_t key = (uint8_t)(next_random(&state) % 64), end = (uint8_t)(key + 1);
            err = i % 3 ? readset_point(set, KEYED, BY_B, BYTES(&key, 1))
                        : readset_range(set, KEYED, BY_B, BYTES(&key, 1), BYTES(&end, 1));
            if (err == OK) done[count++] = key;
        }
        if (err == OK) err = readset_copy(set, &copy);
        bool hit = mem_fault_hit();
        mem_fault_arm(-1);
        EXPECT(hit == (err != OK));
        for (int i = 0; i < count; i++) {
            const uint8_t row[3] = {0, done[i], 0};
            change_make(&w, &m, true, row, NULL);
            EXPECT(readset_hit(set, &m.change));
            EXPECT(!copy || readset_hit(copy, &m.change));
        }
        readset_free(&copy);
        readset_free(&set);
        if (!hit) break;
    }
    buf_deinit(&m.key);
    world_deinit(&w);
}

TEST_MAIN()
