// Rows that were foreseen are found as all others are, whatever happened in between.
#include "base/mem.h"
#include "store/store_twin.h"

enum { ROWS = 60000, ABSENT = 0 };

typedef struct Numbers {
    Arena arena;
    Store *store;
    Table *table;  // (id u32, value u32), primary key id, unique value
    Random random;
    uint32_t *value;     // by id
    Snapshot *snapshot;  // may be NULL: pages are copied while there is one
} Numbers;

static Bytes number_row(uint8_t room[8], uint32_t id, uint32_t value) {
    store_u32(room, id);
    store_u32(room + 4, value);
    return BYTES(room, 8);
}

static Bytes number_key(uint8_t room[4], uint32_t id) {
    store_u32(room, __builtin_bswap32(id));
    return BYTES(room, 4);
}

static void number_put(Numbers *n, uint32_t id, uint32_t value) {
    uint8_t room[8], key[4];
    Bytes row = number_row(room, id, value);
    if (value == ABSENT) {
        EXPECT_EQ(table_delete_key(n->table, number_key(key, id)),
                  n->value[id] == ABSENT ? ERR_NOT_FOUND : OK);
    } else if (n->value[id] == ABSENT) {
        EXPECT_OK(table_insert(n->table, row, NULL, NULL));
    } else {
        EXPECT_OK(table_replace(n->table, BY_ID, row, NULL, NULL));
    }
    n->value[id] = value;
}

static void number_check(const Numbers *n, uint32_t id) {
    uint8_t key[4], room[8];
    Bytes row = BYTES_NONE;
    Err err = table_find(n->table, NULL, BY_ID, number_key(key, id), &row);
    EXPECT_EQ(err, n->value[id] == ABSENT ? ERR_NOT_FOUND : OK);
    if (err == OK) EXPECT(bytes_eq(row, number_row(room, id, n->value[id])));
}

static uint32_t number_any(Numbers *n) {
    return (uint32_t)random_below(&n->random, ROWS);
}

static void numbers_open_with(Numbers *n, uint32_t rows, uint32_t index_count) {
    *n = (Numbers){.value = calloc(ROWS, sizeof *n->value)};
    EXPECT(n->value);
    StoreIndexSpec indexes[] = {{BY_ID, &columns[0], 1, true}, {BY_NAME, &columns[1], 1, false}};
    StoreTableSpec spec = {100,
                           product_of(&n->arena, TYPE_U32, TYPE_U32, 0),
                           0,
                           indexes,
                           index_count};
    EXPECT_OK(store_open(&(StoreOptions){.address_bytes = (uint64_t)4 << 30}, &n->store));
    store_begin(n->store);
    EXPECT_OK(store_table_create(n->store, &spec, &n->table));
    for (uint32_t id = 0; id < rows; id++)
        number_put(n, id, 1 + id);
    store_commit(n->store);
}

static void numbers_open(Numbers *n, uint32_t rows) {
    numbers_open_with(n, rows, 2);
}

static void numbers_close(Numbers *n) {
    snapshot_release(&n->snapshot);
    store_close(&n->store);
    arena_deinit(&n->arena);
    free(n->value);
}

// One thing that a call may do, between being foreseen to read some rows and reading them.
static void number_step(Numbers *n, const uint32_t seen[3]) {
    uint32_t id = random_below(&n->random, 2) ? seen[random_below(&n->random, 3)] : number_any(n);
    switch (random_below(&n->random, 8)) {
    case 0: number_put(n, id, ABSENT); break;
    case 1: number_put(n, id, 1 + number_any(n)); break;
    case 2:
        if (n->value[id] != ABSENT) number_put(n, id, n->value[id] + 1);  // in its place
        break;
    case 3:  // as reducers do: looked at and changed
        number_check(n, id);
        if (n->value[id] != ABSENT) number_put(n, id, n->value[id] + 1);
        break;
    default: number_check(n, id); break;
    }
}

static void number_snapshot(Numbers *n) {
    snapshot_release(&n->snapshot);
    if (random_below(&n->random, 2)) EXPECT_OK(store_snapshot(n->store, &n->snapshot));
}

// With an index of its own a row is replaced the long way; without, it is written over where it stands.
static void number_calls(uint32_t index_count) {
    Numbers n;
    numbers_open_with(&n, ROWS, index_count);
    n.random = random_seeded("fingers", 41);
    uint32_t *before = malloc(ROWS * sizeof *before);
    EXPECT(before);
    for (int round = 0; round < 300; round++) {
        memcpy(before, n.value, ROWS * sizeof *before);
        if (round % 16 == 0) number_snapshot(&n);
        store_begin(n.store);
        for (int call = 0; call < 20; call++) {
            uint32_t seen[3];
            uint8_t key[4];
            for (int i = 0; i < 3; i++) {
                seen[i] = number_any(&n);
                EXPECT(table_foresee(n.table, BY_ID, number_key(key, seen[i])));
            }
            for (uint64_t steps = random_below(&n.random, 6); steps; steps--)
                number_step(&n, seen);
            for (int i = 0; i < 3; i++)
                number_check(&n, seen[i]);
        }
        if (random_below(&n.random, 4)) {
            store_commit(n.store);
        } else {
            store_rollback(n.store);
            memcpy(n.value, before, ROWS * sizeof *before);
        }
    }
    Diag diag = {0};
    EXPECT_OK(store_check(n.store, &diag));
    free(before);
    numbers_close(&n);
}

TEST(finger, rows_that_were_foreseen_are_found_as_all_others_are) {
    number_calls(2);
    number_calls(1);
}

TEST(finger, what_a_snapshot_shows_is_not_written_over) {
    Numbers n;
    uint8_t key[4], room[8];
    Bytes row;
    numbers_open_with(&n, ROWS, 1);
    EXPECT_OK(store_snapshot(n.store, &n.snapshot));
    store_begin(n.store);
    for (int i = 0; i < 3; i++) {  // the second and third time the page is the head's own
        number_check(&n, 7);
        number_put(&n, 7, 100 + i);
    }
    EXPECT_OK(table_find(n.table, n.snapshot, BY_ID, number_key(key, 7), &row));
    EXPECT(bytes_eq(row, number_row(room, 7, 8)));
    number_check(&n, 7);
    size_t count;
    const Change *changes = store_changes(n.store, &count);
    EXPECT_EQ(count, 6);
    EXPECT(bytes_eq(changes[4].row, number_row(room, 7, 101)));
    EXPECT(bytes_eq(changes[5].row, number_row(room, 7, 102)));
    EXPECT_EQ(table_data_bytes(n.table), 8 * ROWS);
    store_rollback(n.store);
    n.value[7] = 8;
    number_check(&n, 7);
    numbers_close(&n);
}

TEST(finger, a_row_written_over_costs_memory_that_may_not_be_there) {
    Numbers n;
    numbers_open_with(&n, ROWS, 1);
    store_begin(n.store);  // lets go of what filling it took
    store_rollback(n.store);
    int fails = 0;
    for (bool hit = true; hit; fails++) {
        uint8_t room[8];
        bool changed = true;
        store_begin(n.store);
        mem_fault_arm(fails);
        for (uint32_t id = 0; id < ROWS; id++) {
            number_check(&n, id);
            Err err = table_replace(n.table, BY_ID, number_row(room, id, 9), &changed, NULL);
            if (err != OK) {
                EXPECT_ERR(err, ERR_NOMEM);
                EXPECT(!changed);
                number_check(&n, id);
                break;
            }
            n.value[id] = 9;
        }
        hit = mem_fault_hit();
        mem_fault_arm(-1);
        store_rollback(n.store);
        for (uint32_t id = 0; id < ROWS; id++) {
            n.value[id] = 1 + id;
            number_check(&n, id);
        }
    }
    EXPECT(fails > 2);
    numbers_close(&n);
}

TEST(finger, what_was_foreseen_before_a_clear_or_a_drop_is_forgotten) {
    Numbers n;
    uint8_t key[4];
    uint64_t gone;
    Bytes row;
    numbers_open(&n, ROWS);
    store_begin(n.store);
    EXPECT(table_foresee(n.table, BY_ID, number_key(key, 7)));
    EXPECT_OK(table_clear(n.table, &gone));
    EXPECT_ERR(table_find(n.table, NULL, BY_ID, number_key(key, 7), &row), ERR_NOT_FOUND);
    store_rollback(n.store);
    number_check(&n, 7);
    numbers_close(&n);
}

TEST(finger, small_tables_and_other_indexes_are_not_foreseen) {
    Numbers n;
    uint8_t key[4];
    numbers_open(&n, 1000);
    EXPECT(!table_foresee(n.table, BY_ID, number_key(key, 7)));
    numbers_close(&n);
    numbers_open(&n, ROWS);
    EXPECT(table_foresee(n.table, BY_ID, number_key(key, 7)));
    EXPECT(table_foresee(n.table, TABLE_ROWS, number_key(key, 7)));
    EXPECT(!table_foresee(n.table, BY_NAME, number_key(key, 7)));
    EXPECT(!table_foresee(n.table, EXTRA, number_key(key, 7)));
    numbers_close(&n);
}

TEST_MAIN()
