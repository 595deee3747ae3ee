// What is guessed about ranges, against counting them.
#include "base/test.h"
#include "store/inside.h"

typedef struct World {
    Arena arena;
    Store *store;
    Table *table;
} World;

enum { BY_KIND = 7, BY_ID = 8 };

// id (primary), kind (indexed), name.
static World world_open(void) {
    World w = {0};
    TypeField *fields = arena_array(&w.arena, TypeField, 3);
    fields[0] = (TypeField){STR("id"), type_simple(TYPE_U64)};
    fields[1] = (TypeField){STR("kind"), type_simple(TYPE_U32)};
    fields[2] = (TypeField){STR("name"), type_simple(TYPE_STRING)};
    static const uint16_t kind[] = {1}, id[] = {0};
    const StoreIndexSpec indexes[] = {{BY_KIND, kind, 1, false}, {BY_ID, id, 1, true}};
    EXPECT_OK(store_open(&(StoreOptions){.address_bytes = (uint64_t)1 << 30}, &w.store));
    store_begin(w.store);
    StoreTableSpec spec = {4096, type_product(&w.arena, fields, 3), 0, indexes, 2};
    EXPECT_OK(store_table_create(w.store, &spec, &w.table));
    store_commit(w.store);
    return w;
}

static void world_close(World *w) {
    store_close(&w->store);
    arena_deinit(&w->arena);
}

static void add(World *w, uint64_t id, uint32_t kind, size_t name_bytes) {
    Buf row = {0};
    buf_put_u64(&row, id);
    buf_put_u32(&row, kind);
    buf_put_u32(&row, (uint32_t)name_bytes);
    memset(buf_extend(&row, name_bytes), 'n', name_bytes);
    EXPECT_OK(table_insert(w->table, buf_bytes(&row), NULL, NULL));
    buf_deinit(&row);
}

static void key_of(Buf *key, const Type *type, uint64_t value) {
    uint8_t bytes[8];
    store_u64(bytes, value);
    buf_clear(key);
    key_append(key, type, bytes);
}

static uint64_t counted(World *w, uint32_t index_id, Bytes lower, Bytes upper) {
    TableScan scan;
    Bytes row;
    uint64_t rows = 0;
    table_scan_begin(&scan, w->table, NULL, index_id, lower, upper);
    while (table_scan_next(&scan, &row))
        rows++;
    table_scan_end(&scan);
    return rows;
}

static void take_id(void *ctx, Bytes row) {
    buf_put_u64(ctx, load_u64(row.ptr));
}

TEST(sample, an_empty_table_has_no_rows_anywhere) {
    World w = world_open();
    uint64_t rows = 1;
    Buf ids = {0};
    EXPECT_OK(table_rows_between(w.table, BY_KIND, BYTES_NONE, BYTES_NONE, &rows));
    EXPECT_EQ(rows, 0);
    EXPECT_OK(table_sample(w.table, BY_KIND, BYTES_NONE, BYTES_NONE, 9, take_id, &ids));
    EXPECT_EQ(ids.len, 0);
    world_close(&w);
}

// Every range by primary key and by index: few rows exactly, many within a tenth of the table.
TEST(sample, ranges_are_counted_or_about_right) {
    World w = world_open();
    enum { ROWS = 40000 };
    store_begin(w.store);
    for (uint64_t n = 0; n < ROWS; n++) {
        uint64_t id = n * 7919 % ROWS;  // each once, in no order
        add(&w, id, id % 10 < 9 ? 5 : (uint32_t)id, 20);
    }
    store_commit(w.store);
    EXPECT(w.table->state.rows.height > 1);
    uint64_t state = 11;
    Buf lower = {0}, upper = {0};
    for (uint32_t n = 0; n < 400; n++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        bool by_kind = n % 2;
        const Type *type = type_simple(by_kind ? TYPE_U32 : TYPE_U64);
        uint64_t from = (state >> 33) % ROWS, width = n % 4 < 2 ? n % 50 : (state >> 20) % ROWS;
        key_of(&lower, type, from);
        key_of(&upper, type, from + width);
        uint32_t index_id = by_kind ? BY_KIND : n % 4 ? BY_ID : TABLE_ROWS;
        uint64_t truth = counted(&w, index_id, buf_bytes(&lower), buf_bytes(&upper)), rows;
        EXPECT_OK(
            table_rows_between(w.table, index_id, buf_bytes(&lower), buf_bytes(&upper), &rows));
        if (truth < 60) EXPECT_EQ(rows, truth);
        EXPECT(rows <= truth + ROWS / 10 && truth <= rows + ROWS / 10);
    }
    uint64_t all;
    EXPECT_OK(table_rows_between(w.table, BY_KIND, BYTES_NONE, BYTES_NONE, &all));
    EXPECT_EQ(all, ROWS);
    buf_deinit(&lower);
    buf_deinit(&upper);
    world_close(&w);
}

TEST(sample, rows_come_from_the_range_at_even_distances) {
    World w = world_open();
    store_begin(w.store);
    for (uint64_t id = 0; id < 20000; id++)
        add(&w, id, (uint32_t)(id % 3), 20);
    store_commit(w.store);
    Buf lower = {0}, upper = {0}, ids = {0};
    key_of(&lower, type_simple(TYPE_U32), 1);
    key_of(&upper, type_simple(TYPE_U32), 2);
    EXPECT_OK(
        table_sample(w.table, BY_KIND, buf_bytes(&lower), buf_bytes(&upper), 10, take_id, &ids));
    EXPECT_EQ(ids.len, 10 * 8);
    for (uint32_t i = 0; i < 10; i++) {
        uint64_t id = load_u64(ids.ptr + (size_t)8 * i);
        EXPECT_EQ(id % 3, 1);
        EXPECT(id + 1500 > 2000 * i && id < 2000 * (i + 1) + 1500);
    }
    // Of few rows each.
    buf_clear(&ids);
    key_of(&lower, type_simple(TYPE_U64), 500);
    key_of(&upper, type_simple(TYPE_U64), 504);
    EXPECT_OK(
        table_sample(w.table, TABLE_ROWS, buf_bytes(&lower), buf_bytes(&upper), 10, take_id, &ids));
    EXPECT_EQ(ids.len, 4 * 8);
    for (uint32_t i = 0; i < 4; i++)
        EXPECT_EQ(load_u64(ids.ptr + (size_t)8 * i), 500 + i);
    buf_deinit(&lower);
    buf_deinit(&upper);
    buf_deinit(&ids);
    world_close(&w);
}

TEST(sample, changes_are_counted_and_undone_ones_too) {
    World w = world_open();
    uint64_t before = table_changes(w.table);
    store_begin(w.store);
    add(&w, 1, 1, 3);
    store_rollback(w.store);
    EXPECT(table_changes(w.table) > before);
    world_close(&w);
}

TEST_MAIN()
