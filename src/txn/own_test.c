// Private rows over a snapshot, beside the same changes made to the head. On a bare store whose row
// hash has two bits left, so that rows collide.
#include "txn/own.h"

#include <pthread.h>

#include "base/mem.h"
#include "base/test.h"
#include "sim/sim.h"
#include "store/testing.h"
#include "txn/look.h"

// hashed (a U8, b U8), by hash, an index on b; keyed (a U8 primary, b U8), indexes on a and b; and
// a third with b unique.
typedef struct World {
    Arena arena;
    Store *store;
    Table *tables[3];
    CatalogTable catalog[3];
    uint64_t random;
} World;

enum { HASHED, KEYED, UNIQUE, TABLES, BY_A = 1, BY_B = 2 };

static void world_init(World *w, uint64_t seed) {
    *w = (World){.random = seed};
    static const uint16_t a[] = {0}, b[] = {1};
    const TypeField fields[] = {{STR("a"), type_simple(TYPE_U8)}, {STR("b"), type_simple(TYPE_U8)}};
    Type *type = type_product(&w->arena, fields, 2);
    const StoreIndexSpec plain[] = {{BY_A, a, 1, true}, {BY_B, b, 1, false}};
    const StoreIndexSpec unique[] = {{BY_A, a, 1, true}, {BY_B, b, 1, true}};
    const StoreTableSpec specs[] = {{1, type, -1, plain + 1, 1},
                                    {2, type, 0, plain, 2},
                                    {3, type, 0, unique, 2}};
    EXPECT_OK(store_open(&(StoreOptions){0}, &w->store));
    store_test_weaken_hash(w->store, 2);
    store_begin(w->store);
    for (int i = 0; i < TABLES; i++) {
        EXPECT_OK(store_table_create(w->store, &specs[i], &w->tables[i]));
        w->catalog[i] = (CatalogTable){.table_id = specs[i].table_id, .table = w->tables[i]};
    }
    store_commit(w->store);
}

static void world_deinit(World *w) {
    store_close(&w->store);
    arena_deinit(&w->arena);
}

static uint64_t draw(World *w, uint64_t below) {
    w->random = w->random * 6364136223846793005u + 1442695040888963407u;
    return (w->random >> 33) % below;
}

static bool keep_row(void *ctx, Bytes row) {
    buf_put_bytes(ctx, row);
    return true;
}

static int row_order(const void *a, const void *b) {
    return memcmp(a, b, 2);
}

// Both scans, of two bytes a row. Rows with the same hash stand in any order among themselves.
static void expect_same_scan(World *w,
                             int which,
                             OwnTable *own,
                             uint32_t index,
                             Bytes low,
                             Bytes up) {
    Buf mine = {0}, twin = {0};
    TableScan scan;
    Bytes row;
    EXPECT_EQ(own_scan(own, index, low, up, (RowSink){keep_row, &mine}), ABI_OK);
    table_scan_begin(&scan, w->tables[which], NULL, index, low, up);
    while (table_scan_next(&scan, &row))
        buf_put_bytes(&twin, row);
    table_scan_end(&scan);
    EXPECT_EQ(mine.len, twin.len);
    if (which == HASHED && mine.len) {
        qsort(mine.ptr, mine.len / 2, 2, row_order);
        qsort(twin.ptr, twin.len / 2, 2, row_order);
    }
    EXPECT(bytes_eq(buf_bytes(&mine), buf_bytes(&twin)));
    buf_deinit(&mine);
    buf_deinit(&twin);
}

static void expect_same(World *w, int which, OwnTable *own) {
    uint8_t low = (uint8_t)draw(w, 20), up = (uint8_t)(low + draw(w, 8)),
            key = (uint8_t)draw(w, 20);
    Bytes row, twin;
    EXPECT_EQ(own_count(own), table_row_count(w->tables[which], NULL));
    expect_same_scan(w, which, own, TABLE_ROWS, BYTES_NONE, BYTES_NONE);
    expect_same_scan(w, which, own, BY_B, BYTES(&low, 1), BYTES(&up, draw(w, 2)));
    if (which == HASHED) return;
    expect_same_scan(w, which, own, BY_A, BYTES(&low, 1), BYTES(&up, draw(w, 2)));
    uint32_t index = which == UNIQUE && draw(w, 2) ? BY_B : BY_A;
    Err err = own_find(own, index, BYTES(&key, 1), &row);
    EXPECT_ERR(table_find(w->tables[which], NULL, index, BYTES(&key, 1), &twin), err);
    if (err == OK) EXPECT_BYTES(row, twin);
}

// The same change to both, if the head takes it: constraints are the caller's business.
static void change(World *w, int which, OwnTable *own) {
    Table *table = w->tables[which];
    uint8_t bytes[2] = {(uint8_t)draw(w, 20), (uint8_t)draw(w, 20)};
    Bytes row = BYTES(bytes, 2), old;
    Buf identity = {0};
    bool inserted = false, replaced = false;
    own_identity(own, row, &identity);
    uint64_t op = draw(w, 20);
    if (op == 0) {
        EXPECT_OK(table_clear(table, NULL));
        own_clear(own);
    } else if (op < 7 && own_get(own, buf_bytes(&identity), &old) == OK) {
        Buf copy = {0};
        buf_put_bytes(&copy, old);
        EXPECT_OK(table_delete_row(table, buf_bytes(&copy)));
        EXPECT_OK(own_drop(own, buf_bytes(&identity)));
        buf_deinit(&copy);
    } else if (op < 12 && which != HASHED) {
        if (table_replace(table, BY_A, row, &replaced, NULL) == OK && replaced)
            EXPECT_OK(own_put(own, buf_bytes(&identity), row, true));
    } else if (table_insert(table, row, &inserted, NULL) == OK && inserted) {
        EXPECT_OK(own_put(own, buf_bytes(&identity), row, false));
    }
    buf_deinit(&identity);
}

static void fill(World *w) {
    store_begin(w->store);
    for (int i = 0; i < 30; i++) {
        uint8_t bytes[2] = {(uint8_t)draw(w, 20), (uint8_t)draw(w, 20)};
        for (int t = 0; t < TABLES; t++) {
            Err err = table_insert(w->tables[t], BYTES(bytes, 2), NULL, NULL);
            EXPECT(err == OK || err == ERR_UNIQUE);
        }
    }
    store_commit(w->store);
}

TEST(own, shows_what_the_head_would_show_and_applies_to_it) {
    for (uint64_t seed = 1; seed <= 150; seed++) {
        World w;
        Snapshot *snapshot;
        Pool pool = {0};
        OwnTable *own[TABLES];
        uint64_t counts[TABLES];
        world_init(&w, seed);
        fill(&w);
        EXPECT_OK(store_snapshot(w.store, &snapshot));
        store_begin(w.store);
        for (int t = 0; t < TABLES; t++)
            EXPECT_OK(own_new(&w.catalog[t], snapshot, &pool, &own[t]));
        for (int i = 0; i < 150; i++) {
            int which = (int)draw(&w, TABLES);
            change(&w, which, own[which]);
            expect_same(&w, which, own[which]);
        }
        for (int t = 0; t < TABLES; t++)
            counts[t] = table_row_count(w.tables[t], NULL);
        store_rollback(w.store);  // and now the same from the private rows alone
        store_begin(w.store);
        uint64_t applied = 0;
        for (int t = 0; t < TABLES; t++) {
            EXPECT_OK(own_apply(own[t], &applied));
            EXPECT_EQ(table_row_count(w.tables[t], NULL), counts[t]);
            expect_same(&w, t, own[t]);
            own_free(&own[t]);
        }
        store_commit(w.store);
        pool_deinit(&pool);
        snapshot_release(&snapshot);
        Diag diag = {0};
        EXPECT_OK(store_check(w.store, &diag));
        world_deinit(&w);
    }
}

// ── more rows than memory ──────────────────────────────────────────────────────────────────────

enum { MANY = 30000, TEXT = 90, BY_V = 2 };

typedef struct Large {
    Arena arena;
    Sim *sim;
    Store *store;
    Table *table;
    CatalogTable catalog;
    Snapshot *snapshot;
    uint64_t rows, sum;  // what a scan must find
} Large;

// (id U32 primary, v U32 with an index, text String): v runs against id, so an index scan jumps.
static Bytes large_row(uint8_t out[12 + TEXT], uint32_t id, uint8_t fill) {
    store_u32(out, id);
    store_u32(out + 4, MANY - id);
    store_u32(out + 8, TEXT);
    memset(out + 12, fill, TEXT);
    return BYTES(out, 12 + TEXT);
}

static void checkpoint(Large *w) {
    StoreCheckpoint *checkpoint;
    Diag diag;
    bool done = false;
    EXPECT_OK(store_checkpoint_begin(w->store, 1, 1, &checkpoint, &diag));
    while (!done)
        EXPECT_OK(store_checkpoint_write(checkpoint, 1 << 20, &done, &diag));
    EXPECT_OK(store_checkpoint_end(w->store, &checkpoint));
}

static void large_init(Large *w) {
    *w = (Large){0};
    static const uint16_t id[] = {0}, v[] = {1};
    const TypeField fields[] = {{STR("id"), type_simple(TYPE_U32)},
                                {STR("v"), type_simple(TYPE_U32)},
                                {STR("text"), type_simple(TYPE_STRING)}};
    const StoreIndexSpec indexes[] = {{1, id, 1, true}, {BY_V, v, 1, false}};
    StoreTableSpec spec = {1, type_product(&w->arena, fields, 3), 0, indexes, 2};
    EXPECT_OK(sim_new(1, &w->sim));
    EXPECT_OK(store_open(&(StoreOptions){.memory_max = 1 << 20,
                                         .address_bytes = (uint64_t)1 << 30,
                                         .io = sim_io(w->sim),
                                         .page_file = "pages"},
                         &w->store));
    store_begin(w->store);
    EXPECT_OK(store_table_create(w->store, &spec, &w->table));
    store_commit(w->store);
    for (uint32_t i = 0; i < MANY; i++) {
        uint8_t row[12 + TEXT];
        store_begin(w->store);
        EXPECT_OK(table_insert(w->table, large_row(row, i, (uint8_t)i), NULL, NULL));
        store_commit(w->store);
        store_breathe(w->store);
        if (i % 5000 == 4999) checkpoint(w);
    }
    checkpoint(w);
    w->catalog = (CatalogTable){.table_id = 1, .table = w->table};
    EXPECT_OK(store_snapshot(w->store, &w->snapshot));
}

static bool add_up(void *ctx, Bytes row) {
    Large *w = ctx;
    w->rows++;
    w->sum += bytes_hash(row);
    return true;
}

static void expect_row(Large *want, uint32_t id, uint8_t fill) {
    uint8_t row[12 + TEXT];
    add_up(want, large_row(row, id, fill));
}

// On a thread that is not the owner's, as workers do. Every tenth row is gone, every eleventh changed.
static void *large_overlay(void *ctx) {
    Large *w = ctx, want = {0};
    OwnTable *own;
    Pool pool = {0};
    uint8_t bytes[12 + TEXT];
    Buf identity = {0};
    ASSERT(own_new(&w->catalog, w->snapshot, &pool, &own) == OK);
    for (uint32_t id = 0; id < MANY; id++) {
        Bytes row = large_row(bytes, id, (uint8_t)(id + 1));
        own_identity(own, row, &identity);
        if (id % 10 == 0) {
            ASSERT(own_drop(own, buf_bytes(&identity)) == OK);
        } else if (id % 11 == 0) {
            ASSERT(own_put(own, buf_bytes(&identity), row, true) == OK);
            expect_row(&want, id, (uint8_t)(id + 1));
        } else {
            expect_row(&want, id, (uint8_t)id);
        }
    }
    const uint32_t indexes[] = {TABLE_ROWS, BY_V};
    for (int i = 0; i < 2; i++) {
        w->rows = w->sum = 0;
        RowSink sink = {add_up, w};
        ASSERT(own_scan(own, indexes[i], BYTES_NONE, BYTES_NONE, sink) == ABI_OK);
        ASSERT(w->rows == want.rows && w->sum == want.sum);
    }
    own_free(&own);
    pool_deinit(&pool);
    buf_deinit(&identity);
    store_guard_lower();
    return NULL;
}

TEST(own, scans_more_rows_than_memory_holds_while_their_pages_come_and_go) {
    Large w;
    pthread_t thread;
    large_init(&w);
    EXPECT_EQ(pthread_create(&thread, NULL, large_overlay, &w), 0);
    pthread_join(thread, NULL);
    StoreStats stats = store_stats(w.store);
    EXPECT(stats.pages_evicted > 100 && stats.memory_bytes < 2 << 20);
    snapshot_release(&w.snapshot);
    store_close(&w.store);
    sim_free(&w.sim);
    arena_deinit(&w.arena);
}

TEST(pool, hands_pieces_out_again) {
    Pool pool = {0};
    void *pieces[64];
    for (int round = 0; round < 50; round++) {
        for (size_t i = 0; i < 64; i++) {
            pieces[i] = pool_alloc(&pool, i * 40);
            EXPECT(pieces[i] != NULL);
            memset(pieces[i], (int)i, i * 40);
        }
        for (size_t i = 0; i < 64; i++) {
            EXPECT(i == 0 || ((uint8_t *)pieces[i])[i * 40 - 1] == i);  // nobody else's
            pool_give(&pool, pieces[i], i * 40);
        }
    }
    EXPECT(pool_bytes(&pool) < 64 * 64 * 40 * 2);
    pool_deinit(&pool);
}

static uint64_t sorted_random;
static uint64_t sorted_draw(uint64_t below) {
    sorted_random = sorted_random * 6364136223846793005u + 1442695040888963407u;
    return (sorted_random >> 33) % below;
}

enum { KEYS = 40000 };

// Of 1 to 12 bytes, many with the same first 8.
static Bytes number_key(uint8_t room[12], uint32_t number) {
    static const uint8_t same[8] = "the same";
    uint32_t big = __builtin_bswap32(number);
    size_t at = number % 3 == 0 ? sizeof same : 0, skip = number % 3 == 1;
    memcpy(room, same, at);
    memcpy(room + at, (const uint8_t *)&big + skip, sizeof big - skip);
    return BYTES(room, at + sizeof big - skip);
}

typedef struct Numbers {
    Pool pool;
    Sorted map;
    bool there[KEYS];
    size_t count;
} Numbers;

static void number_flip(Numbers *n, uint32_t number) {
    uint8_t room[12];
    Bytes key = number_key(room, number);
    SortedNode *node = sorted_find(&n->map, key);
    EXPECT_EQ(node != NULL, n->there[number]);
    if (node) {
        EXPECT(node->value == &n->there[number]);
        sorted_remove(&n->map, &n->pool, node);
    } else {
        node = sorted_insert(&n->map, &n->pool, key, &n->there[number]);
        EXPECT(node && bytes_eq(sorted_key(node), key));
    }
    n->there[number] = !n->there[number];
    n->count = n->there[number] ? n->count + 1 : n->count - 1;
}

// Everything once, in order; each is found, and what is before it leads to it.
static void numbers_check(const Numbers *n) {
    size_t count = 0;
    for (const SortedNode *node = n->map.first; node; node = node->next, count++) {
        EXPECT(*(const bool *)node->value);
        EXPECT(sorted_find(&n->map, sorted_key(node)) == node);
        if (!node->next) continue;
        EXPECT(bytes_cmp(sorted_key(node), sorted_key(node->next)) < 0);
        uint8_t after[16];
        memcpy(after, node->key, node->key_len);
        after[node->key_len] = 0;  // the least key behind it
        EXPECT(sorted_seek(&n->map, BYTES(after, node->key_len + 1)) == node->next);
    }
    EXPECT_EQ(count, n->count);
    EXPECT_EQ(n->map.count, n->count);
}

TEST(sorted, keys_come_and_go_in_order_in_reverse_and_at_random) {
    static Numbers n;
    n = (Numbers){0};
    // Numbers of one kind (number_key) at a time come in order; mixed, the kinds take turns.
    for (int way = 0; way < 4; way++) {
        uint32_t step = way % 2 ? 1 : 3;
        for (uint32_t i = 0; i < KEYS; i += step)
            number_flip(&n, way < 2 ? i : KEYS - 1 - i);
        numbers_check(&n);
        for (uint32_t i = 0; i < KEYS; i += step)
            number_flip(&n, way % 3 ? i : KEYS - 1 - i);
        numbers_check(&n);
    }
    sorted_random = 7;
    for (uint32_t goal = KEYS / 2; goal > 0; goal /= 8) {  // fewer and fewer
        for (int i = 0; i < 100000; i++) {
            uint32_t number = (uint32_t)sorted_draw(KEYS);
            if (n.there[number] ? sorted_draw(goal + n.count) >= goal
                                : sorted_draw(goal + n.count) < goal)
                number_flip(&n, number);
        }
        numbers_check(&n);
    }
    sorted_clear(&n.map, &n.pool);
    EXPECT(!n.map.first && !n.map.root && n.map.count == 0);
    pool_deinit(&n.pool);
}

TEST(sorted, a_few_need_no_pages) {
    static Numbers n;
    n = (Numbers){0};
    for (uint32_t i = 0; i < 6; i++)
        number_flip(&n, 6 - i);
    EXPECT(!n.map.root);
    numbers_check(&n);
    number_flip(&n, 10);
    EXPECT(n.map.root);
    numbers_check(&n);
    for (uint32_t i = 0; i < 11; i++) {
        if (n.there[i]) number_flip(&n, i);
    }
    EXPECT(!n.map.root && !n.map.first);
    pool_deinit(&n.pool);
}

TEST(sorted, memory_may_run_out_at_any_block) {
    static Numbers n;
    bool hit = true;
    for (int fails = 0; hit; fails++) {
        n = (Numbers){0};
        mem_fault_arm(fails);
        for (uint32_t i = 0; i < KEYS; i++) {
            uint8_t room[12];
            uint32_t number = (uint32_t)((uint64_t)i * 7919 % KEYS);
            if (!sorted_insert(&n.map, &n.pool, number_key(room, number), &n.there[number])) break;
            n.there[number] = true;
            n.count++;
        }
        hit = mem_fault_hit();
        mem_fault_arm(-1);
        EXPECT_EQ(n.count < KEYS, hit);
        EXPECT(!hit || fails < 1000);
        numbers_check(&n);
        for (uint32_t i = 0; i < KEYS; i++) {
            if (n.there[i]) number_flip(&n, i);
        }
        numbers_check(&n);
        number_flip(&n, 5);
        numbers_check(&n);
        pool_deinit(&n.pool);
    }
}

TEST(sorted, agrees_with_a_sorted_array) {
    Pool pool = {0};
    Sorted map = {0};
    bool there[256] = {0};
    uint64_t random = 3;
    for (int step = 0; step < 20000; step++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        uint8_t key = (uint8_t)(random >> 33), low = (uint8_t)(random >> 41);
        Bytes bytes = BYTES(&key, 1);
        if (there[key]) {
            sorted_remove(&map, &pool, sorted_find(&map, bytes));
        } else {
            EXPECT(sorted_insert(&map, &pool, bytes, &there[key]) != NULL);
        }
        there[key] = !there[key];
        int next = low;
        while (next < 256 && !there[next])
            next++;
        const SortedNode *node = sorted_seek(&map, BYTES(&low, 1));
        EXPECT(next == 256 ? node == NULL : node && node->value == &there[next]);
    }
    sorted_clear(&map, &pool);
    EXPECT(sorted_seek(&map, BYTES_NONE) == NULL);
    pool_deinit(&pool);
}

TEST_MAIN()
