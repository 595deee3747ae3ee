// store_twin.h: for tests only: a store of three tables, each beside its slow twin, and random
// transactions on both.
#pragma once
#include "base/test.h"
#include "store/store.h"
#include "store/testing.h"
#include "store/tree_twin.h"

// Three tables, each beside its twin (a sorted array of rows):
//   PEOPLE  (id u64, group u32, name string)  primary key id, unique name, index on group
//   NOTES   (text string, group u32)          no primary key, index on group
//   SEATS   (place u32, person u64, text string)  no primary key, unique place, unique (text, place)
enum { PEOPLE, NOTES, SEATS, TABLES };
enum { BY_ID = 1, BY_NAME, BY_GROUP, NOTES_BY_GROUP, BY_PLACE, BY_TEXT, EXTRA };

typedef struct World {
    Arena arena;  // types
    Store *store;
    Table *tables[TABLES];
    Twin rows[TABLES];  // row -> nothing
    Random random;
} World;

static inline const Type *product_of(Arena *arena, TypeKind a, TypeKind b, TypeKind c) {
    TypeKind kinds[] = {a, b, c};
    TypeField fields[3];
    uint32_t count = 0;
    for (; count < 3 && kinds[count]; count++) {
        fields[count] = (TypeField){STR("x"), type_simple(kinds[count])};
    }
    const Type *type = type_product(arena, fields, count);
    EXPECT(type);
    return type;
}

static const uint16_t columns[] = {0, 1, 2};
static const uint16_t text_place[] = {2, 0};

static inline Err tables_create(World *world) {
    StoreIndexSpec people[] = {
        {BY_ID, &columns[0], 1, true},
        {BY_NAME, &columns[2], 1, true},
        {BY_GROUP, &columns[1], 1, false},
    };
    StoreIndexSpec notes[] = {{NOTES_BY_GROUP, &columns[1], 1, false}};
    StoreIndexSpec seats[] = {{BY_PLACE, &columns[0], 1, true}, {BY_TEXT, text_place, 2, true}};
    Arena *arena = &world->arena;
    StoreTableSpec specs[] = {
        {100, product_of(arena, TYPE_U64, TYPE_U32, TYPE_STRING), 0, people, 3},
        {50, product_of(arena, TYPE_STRING, TYPE_U32, 0), -1, notes, 1},
        {75, product_of(arena, TYPE_U32, TYPE_U64, TYPE_STRING), -1, seats, 2},
    };
    Err err = OK;
    for (int i = 0; err == OK && i < TABLES; i++) {
        err = store_table_create(world->store, &specs[i], &world->tables[i]);
    }
    return err;
}

static inline World *world_open_with(const StoreOptions *options, unsigned hash_bits) {
    World *world = calloc(1, sizeof *world);
    EXPECT(world);
    EXPECT_OK(store_open(options, &world->store));
    store_test_weaken_hash(world->store, hash_bits);
    store_begin(world->store);
    EXPECT_OK(tables_create(world));
    store_commit(world->store);
    return world;
}

static inline World *world_open(unsigned hash_bits, size_t memory_max) {
    StoreOptions options = {.memory_max = memory_max, .address_bytes = (uint64_t)4 << 30};
    return world_open_with(&options, hash_bits);
}

static inline void world_close(World *world) {
    for (int i = 0; i < TABLES; i++) {
        twin_clear(&world->rows[i]);
    }
    store_close(&world->store);
    arena_deinit(&world->arena);
    free(world);
}

static inline void expect_sound(const World *world) {
    Diag diag;
    Err err = store_check(world->store, &diag);
    if (err != OK) print_error("%s\n", diag.text);
    EXPECT_OK(err);
}

// ── rows ────────────────────────────────────────────────────────────────────────────────────────

static inline void put_text(Buf *row, uint64_t number, size_t padding) {
    char text[32];
    int len = snprintf(text, sizeof text, "n%llu", (unsigned long long)number);
    buf_put_u32(row, (uint32_t)((size_t)len + padding));
    buf_put(row, text, (size_t)len);
    for (size_t i = 0; i < padding; i++) {
        buf_put_u8(row, (uint8_t)('a' + i % 23));
    }
}

static inline Bytes person(Buf *row, uint64_t id, uint32_t group, uint64_t name, size_t padding) {
    buf_clear(row);
    buf_put_u64(row, id);
    buf_put_u32(row, group);
    put_text(row, name, padding);
    return buf_bytes(row);
}

static inline Bytes note(Buf *row, uint64_t text, size_t padding, uint32_t group) {
    buf_clear(row);
    put_text(row, text, padding);
    buf_put_u32(row, group);
    return buf_bytes(row);
}

static inline Bytes seat(Buf *row, uint32_t place, uint64_t who, uint64_t text, size_t padding) {
    buf_clear(row);
    buf_put_u32(row, place);
    buf_put_u64(row, who);
    put_text(row, text, padding);
    return buf_bytes(row);
}

static inline size_t random_padding(Random *random) {
    switch (random_below(random, 40)) {
    case 0: return random_below(random, 60000);
    case 1: return 900 + random_below(random, 3000);
    default: return random_below(random, 3) * 20;
    }
}

static inline Bytes random_row(Random *random, int table, Buf *row) {
    uint64_t a = random_below(random, 600), b = random_below(random, 600);
    uint32_t group = (uint32_t)random_below(random, 6);
    size_t padding = random_padding(random);
    switch (table) {
    case PEOPLE: return person(row, a, group, b, padding);
    case NOTES: return note(row, a, padding, group);
    default: return seat(row, (uint32_t)a, b, b, padding);
    }
}

// ── the twin's rules ────────────────────────────────────────────────────────────────────────────

static inline Bytes column(const World *world, int table, Bytes row, uint32_t at) {
    return row_column(table_layout(world->tables[table]), row, at);
}

// Whether two rows have the same key in an index.
static inline bool same_key(const World *world,
                            int table,
                            const StoreIndexInfo *index,
                            Bytes a,
                            Bytes b) {
    for (uint32_t i = 0; i < index->column_count; i++) {
        uint32_t at = index->columns[i];
        if (!bytes_eq(column(world, table, a, at), column(world, table, b, at))) return false;
    }
    return true;
}

// The row that stands in the way of `row`, other than `except`; or nothing.
static inline Bytes twin_holder(const World *world, int table, Bytes row, Bytes except) {
    for (uint32_t i = 0; i < table_index_count(world->tables[table]); i++) {
        StoreIndexInfo index = table_index_at(world->tables[table], i);
        for (size_t n = 0; index.unique && n < world->rows[table].count; n++) {
            Bytes other = world->rows[table].pairs[n].key;
            if (other.ptr == except.ptr) continue;
            if (same_key(world, table, &index, row, other)) return other;
        }
    }
    return BYTES_NONE;
}

// ── one step on both ────────────────────────────────────────────────────────────────────────────

// Looking changes nothing, but the store remembers where it found the row.
static inline void step_look(World *world, int table, Bytes row) {
    bool there;
    Buf key = {0};
    Bytes found;
    twin_search(&world->rows[table], row, &there);
    table_row_key(world->tables[table], row, &key);
    Err err = table_get(world->tables[table], NULL, buf_bytes(&key), &found);
    if (there) EXPECT_OK(err);
    if (!there && err != OK) EXPECT_ERR(err, ERR_NOT_FOUND);
    if (err == OK) EXPECT_EQ(bytes_eq(found, row), there);
    buf_deinit(&key);
}

static inline void step_insert(World *world, int table, Bytes row) {
    Twin *twin = &world->rows[table];
    bool there, inserted;
    twin_search(twin, row, &there);
    bool refused = !there && twin_holder(world, table, row, BYTES_NONE).ptr;
    Diag diag;
    Err err = table_insert(world->tables[table], row, &inserted, &diag);
    EXPECT_ERR(err, refused ? ERR_UNIQUE : OK);
    if (!refused) EXPECT_EQ(inserted, !there);
    if (!refused) twin_put(twin, row, BYTES_NONE);
}

static inline void step_delete(World *world, int table, Bytes row, bool by_key) {
    Twin *twin = &world->rows[table];
    bool there;
    size_t at = twin_search(twin, row, &there);
    if (there && by_key) {
        Buf key = {0};
        table_row_key(world->tables[table], row, &key);
        EXPECT_OK(table_delete_key(world->tables[table], buf_bytes(&key)));
        EXPECT_ERR(table_delete_key(world->tables[table], buf_bytes(&key)), ERR_NOT_FOUND);
        buf_deinit(&key);
    } else {
        EXPECT_ERR(table_delete_row(world->tables[table], row), there ? OK : ERR_NOT_FOUND);
    }
    if (there) twin_remove_at(twin, at);
}

static inline void step_replace(World *world, int table, uint32_t index_id, Bytes row) {
    Twin *twin = &world->rows[table];
    StoreIndexInfo index;
    EXPECT(table_index(world->tables[table], index_id, &index));
    size_t at = 0;
    while (at < twin->count && !same_key(world, table, &index, row, twin->pairs[at].key)) {
        at++;
    }
    Err expected = OK;
    bool changed, differs = false;
    if (at == twin->count) {
        expected = ERR_NOT_FOUND;
    } else if (!bytes_eq(twin->pairs[at].key, row)) {
        differs = true;
        if (twin_holder(world, table, row, twin->pairs[at].key).ptr) expected = ERR_UNIQUE;
    }
    bool by_rows = index_id == BY_ID && random_below(&world->random, 2);
    if (by_rows) index_id = TABLE_ROWS;
    EXPECT_ERR(table_replace(world->tables[table], index_id, row, &changed, NULL), expected);
    if (expected != OK) return;
    EXPECT_EQ(changed, differs);
    if (differs) {
        twin_remove_at(twin, at);
        twin_put(twin, row, BYTES_NONE);
    }
}

static inline void step_clear(World *world, int table) {
    uint64_t deleted;
    EXPECT_OK(table_clear(world->tables[table], &deleted));
    EXPECT_EQ(deleted, world->rows[table].count);
    twin_clear(&world->rows[table]);
}

// An index that comes and goes: on (text) of NOTES, unique or not.
static inline void step_extra_index(World *world) {
    Table *notes = world->tables[NOTES];
    StoreIndexInfo info;
    if (table_index(notes, EXTRA, &info)) {
        EXPECT_OK(store_index_drop(world->store, notes, EXTRA));
        return;
    }
    StoreIndexSpec spec = {EXTRA, &columns[0], 1, random_below(&world->random, 2) == 0};
    bool collide = false;
    const Twin *twin = &world->rows[NOTES];
    for (size_t i = 1; spec.unique && i < twin->count; i++) {
        collide |= bytes_eq(column(world, NOTES, twin->pairs[i - 1].key, 0),
                            column(world, NOTES, twin->pairs[i].key, 0));
    }
    EXPECT_ERR(store_index_create(world->store, notes, &spec), collide ? ERR_UNIQUE : OK);
}

static inline void random_step(World *world) {
    static const uint32_t replace_by[TABLES][2] = {{BY_ID, BY_NAME}, {0, 0}, {BY_PLACE, BY_TEXT}};
    Random *random = &world->random;
    int table = (int)random_below(random, TABLES);
    store_breathe(world->store);
    Buf room = {0};
    Bytes row = random_row(random, table, &room);
    const Twin *twin = &world->rows[table];
    if (twin->count && random_below(random, 4) == 0) {  // a row that is there
        Bytes some = twin->pairs[random_below(random, twin->count)].key;
        buf_clear(&room);
        buf_put_bytes(&room, some);
        row = buf_bytes(&room);
    }
    for (uint64_t looks = random_below(random, 6); looks > 1 && twin->count; looks--) {
        step_look(world, table, twin->pairs[random_below(random, twin->count)].key);
    }
    if (random_below(random, 2)) step_look(world, table, row);
    uint64_t what = random_below(random, 100);
    if (what < 60) {
        step_insert(world, table, row);
    } else if (what < 72) {
        step_delete(world, table, row, random_below(random, 2));
    } else if (what < 96) {
        uint32_t by = replace_by[table][random_below(random, 2)];
        if (by) step_replace(world, table, by, row);
    } else if (what < 99) {
        step_extra_index(world);
    } else if (random_below(random, 10) == 0) {
        step_clear(world, table);
    }
    buf_deinit(&room);
}

// ── comparing ───────────────────────────────────────────────────────────────────────────────────

static inline void expect_rows(Table *table,
                               const Snapshot *snapshot,
                               uint32_t index_id,
                               const Twin *twin) {
    Twin found = {0};
    TableScan scan;
    Bytes row;
    table_scan_begin(&scan, table, snapshot, index_id, BYTES_NONE, BYTES_NONE);
    while (table_scan_next(&scan, &row)) {
        twin_put(&found, row, BYTES_NONE);
    }
    table_scan_end(&scan);
    EXPECT_EQ(found.count, twin->count);
    for (size_t i = 0; i < twin->count; i++) {
        EXPECT(bytes_eq(found.pairs[i].key, twin->pairs[i].key));
    }
    twin_clear(&found);
}

static inline void expect_table(const World *world,
                                int table,
                                const Snapshot *snapshot,
                                const Twin *twin) {
    EXPECT_EQ(table_row_count(world->tables[table], snapshot), twin->count);
    expect_rows(world->tables[table], snapshot, TABLE_ROWS, twin);
    for (size_t i = 0; i < twin->count; i++) {
        EXPECT(table_contains(world->tables[table], snapshot, twin->pairs[i].key));
    }
}

static inline void expect_same(const World *world) {
    for (int table = 0; table < TABLES; table++) {
        expect_table(world, table, NULL, &world->rows[table]);
        for (uint32_t i = 0; i < table_index_count(world->tables[table]); i++) {
            uint32_t index_id = table_index_at(world->tables[table], i).index_id;
            expect_rows(world->tables[table], NULL, index_id, &world->rows[table]);
        }
    }
}

typedef struct Saved {
    size_t savepoint;
    Twin rows[TABLES];
} Saved;

static inline Saved save(const World *world) {
    Saved saved = {0};
    if (store_in_transaction(world->store)) saved.savepoint = store_savepoint(world->store);
    for (int i = 0; i < TABLES; i++) {
        saved.rows[i] = twin_copy(&world->rows[i]);
    }
    return saved;
}

static inline void forget(Saved *saved) {
    for (int i = 0; i < TABLES; i++) {
        twin_clear(&saved->rows[i]);
    }
}

static inline void restore(World *world, Saved *saved) {
    for (int i = 0; i < TABLES; i++) {
        twin_clear(&world->rows[i]);
        world->rows[i] = saved->rows[i];
        saved->rows[i] = (Twin){0};
    }
}

static inline void random_transaction(World *world) {
    Random *random = &world->random;
    Saved begin = save(world);
    store_begin(world->store);
    int count = (int)random_below(random, 25);
    Saved middle = save(world);
    for (int i = 0; i < count; i++) {
        random_step(world);
        if (random_below(random, 12) == 0) {
            forget(&middle);
            middle = save(world);
        }
        if (random_below(random, 20) == 0) {
            store_rollback_to(world->store, middle.savepoint);
            restore(world, &middle);
            middle = save(world);
        }
    }
    if (random_below(random, 3) == 0) {
        store_rollback(world->store);
        restore(world, &begin);
    } else {
        store_commit(world->store);
    }
    forget(&begin);
    forget(&middle);
}
