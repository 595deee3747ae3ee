#include <pthread.h>

#include "base/mem.h"
#include "store/store_twin.h"

static void expect_twins_agree(unsigned hash_bits, uint64_t seed, int rounds) {
    World *world = world_open(hash_bits, 0);
    world->random = random_seeded("store", seed);
    for (int round = 0; round < rounds; round++) {
        random_transaction(world);
        if (round % 8) continue;
        expect_sound(world);
        expect_same(world);
    }
    world_close(world);
}

TEST(store, agrees_with_its_twin_under_random_transactions) {
    expect_twins_agree(64, 3, 500);
}

TEST(store, keeps_rows_apart_whose_hashes_collide) {
    expect_twins_agree(4, 4, 250);
}

TEST(store, snapshots_show_what_was_committed_when_they_were_taken) {
    World *world = world_open(64, 0);
    world->random = random_seeded("store snapshots", 5);
    struct {
        Snapshot *snapshot;
        Saved rows;
    } kept[5] = {0};
    for (int round = 0; round < 600; round++) {
        random_transaction(world);
        size_t i = random_below(&world->random, 40);
        if (i >= ARRAY_LEN(kept)) continue;
        if (kept[i].snapshot) {
            for (int table = 0; table < TABLES; table++) {
                expect_table(world, table, kept[i].snapshot, &kept[i].rows.rows[table]);
            }
            snapshot_release(&kept[i].snapshot);
            forget(&kept[i].rows);
        } else {
            EXPECT_OK(store_snapshot(world->store, &kept[i].snapshot));
            kept[i].rows = save(world);
            expect_sound(world);
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
        snapshot_release(&kept[i].snapshot);
        forget(&kept[i].rows);
    }
    expect_sound(world);
    EXPECT_EQ(store_stats(world->store).snapshots_live, 0);
    world_close(world);
}

// ── refusals leave nothing behind ───────────────────────────────────────────────────────────────

// What a failing step must not have changed.
static void expect_unchanged(World *world, size_t changes) {
    size_t count;
    store_changes(world->store, &count);
    EXPECT_EQ(count, changes);
    expect_sound(world);
    expect_same(world);
}

static void insert_must(World *world, int table, Bytes row) {
    EXPECT_OK(table_insert(world->tables[table], row, NULL, NULL));
    twin_put(&world->rows[table], row, BYTES_NONE);
}

TEST(store, a_unique_violation_names_the_index_and_changes_nothing) {
    World *world = world_open(64, 0);
    Buf room = {0};
    Diag diag;
    store_begin(world->store);
    insert_must(world, PEOPLE, person(&room, 1, 10, 1, 0));
    insert_must(world, PEOPLE, person(&room, 2, 10, 2, 0));
    Table *people = world->tables[PEOPLE];
    EXPECT_ERR(table_insert(people, person(&room, 1, 11, 3, 0), NULL, &diag), ERR_UNIQUE);
    EXPECT_EQ(diag.at, BY_ID);
    EXPECT_ERR(table_insert(people, person(&room, 3, 11, 2, 0), NULL, &diag), ERR_UNIQUE);
    EXPECT_EQ(diag.at, BY_NAME);
    EXPECT_ERR(table_replace(people, BY_ID, person(&room, 1, 9, 2, 0), NULL, &diag), ERR_UNIQUE);
    EXPECT_EQ(diag.at, BY_NAME);
    EXPECT_ERR(table_replace(people, BY_NAME, person(&room, 1, 9, 2, 0), NULL, &diag), ERR_UNIQUE);
    EXPECT_EQ(diag.at, BY_ID);
    EXPECT_ERR(table_replace(people, BY_ID, person(&room, 7, 9, 7, 0), NULL, &diag), ERR_NOT_FOUND);
    expect_unchanged(world, 2);
    store_commit(world->store);
    buf_deinit(&room);
    world_close(world);
}

TEST(store, an_update_that_keeps_its_own_unique_keys_is_not_a_violation) {
    World *world = world_open(64, 0);
    Buf room = {0};
    bool changed;
    store_begin(world->store);
    insert_must(world, SEATS, seat(&room, 5, 1, 8, 0));
    EXPECT_OK(
        table_replace(world->tables[SEATS], BY_PLACE, seat(&room, 5, 2, 8, 0), &changed, NULL));
    EXPECT(changed);
    EXPECT_OK(
        table_replace(world->tables[SEATS], BY_PLACE, seat(&room, 5, 2, 8, 0), &changed, NULL));
    EXPECT(!changed);
    size_t count;
    const Change *changes = store_changes(world->store, &count);
    EXPECT_EQ(count, 3);
    EXPECT_EQ(changes[1].kind, CHANGE_DELETE);
    EXPECT_EQ(changes[2].kind, CHANGE_INSERT);
    EXPECT(bytes_eq(changes[2].row, seat(&room, 5, 2, 8, 0)));
    store_commit(world->store);
    buf_deinit(&room);
    world_close(world);
}

// One of everything that can fail, on a world that has rows, up to the first failure. `room` has
// the memory for any of the rows.
static Err one_of_everything(World *world, Buf *room) {
    Err err = OK;
    Table **tables = world->tables;
    StoreIndexSpec extra = {EXTRA, &columns[0], 1, false};
    Table *another;
    StoreIndexSpec key = {BY_ID, &columns[0], 1, true};
    StoreTableSpec spec = {60, table_layout(tables[PEOPLE])->row_type, 0, &key, 1};
    if ((err = table_insert(tables[PEOPLE], person(room, 900, 1, 900, 5000), NULL, NULL)) != OK ||
        (err = table_insert(tables[NOTES], note(room, 900, 40, 1), NULL, NULL)) != OK ||
        (err =
             table_replace(tables[PEOPLE], BY_NAME, person(room, 901, 2, 900, 5000), NULL, NULL)) !=
            OK ||
        (err = table_replace(tables[PEOPLE], BY_ID, person(room, 3, 2, 3, 700), NULL, NULL)) ||
        (err = table_delete_row(tables[PEOPLE], person(room, 4, 4, 4, 0))) != OK ||
        (err = store_index_create(world->store, tables[NOTES], &extra)) != OK ||
        (err = table_insert(tables[NOTES], note(room, 901, 40, 1), NULL, NULL)) != OK ||
        (err = table_clear(tables[SEATS], NULL)) != OK ||
        (err = table_insert(tables[SEATS], seat(room, 1, 1, 1, 3000), NULL, NULL)) != OK ||
        (err = store_table_create(world->store, &spec, &another)) != OK ||
        (err = table_insert(another, person(room, 1, 1, 1, 0), NULL, NULL)) != OK ||
        (err = store_index_drop(world->store, tables[PEOPLE], BY_GROUP)) != OK ||
        (err = table_delete_row(tables[PEOPLE], person(room, 5, 0, 5, 0))) != OK ||
        (err = store_table_retype(world->store,
                                  tables[NOTES],
                                  table_layout(tables[NOTES])->row_type)) != OK ||
        (err = store_table_drop(world->store, tables[SEATS])) != OK) {
        return err;
    }
    return OK;
}

static World *world_with_rows(void) {
    World *world = world_open(64, 0);
    Buf room = {0};
    store_begin(world->store);
    for (uint32_t i = 0; i < 300; i++) {
        insert_must(world, PEOPLE, person(&room, i, i % 5, i, 0));
        insert_must(world, NOTES, note(&room, i, i % 7, i % 5));
        insert_must(world, SEATS, seat(&room, i, i, i, i % 20 ? 0 : 4000));
    }
    store_commit(world->store);
    buf_deinit(&room);
    return world;
}

TEST(store, any_failed_allocation_is_undone_by_rollback) {
    World *world = world_with_rows();
    Snapshot *snapshot;
    Buf room = {0};
    EXPECT(buf_reserve(&room, 20000));
    for (int64_t n = 0;; n++) {
        EXPECT_OK(store_snapshot(world->store, &snapshot));
        store_begin(world->store);
        mem_fault_arm(n);
        Err err = one_of_everything(world, &room);
        bool hit = mem_fault_hit();
        mem_fault_arm(0);
        store_rollback(world->store);
        EXPECT(!mem_fault_hit());  // undoing does not allocate
        mem_fault_arm(-1);
        if (n % 3 == 0 || !hit) {
            expect_sound(world);
            expect_same(world);
        }
        snapshot_release(&snapshot);
        if (!hit) {
            EXPECT_OK(err);
            break;
        }
        EXPECT_ERR(err, ERR_NOMEM);
    }
    buf_deinit(&room);
    world_close(world);
}

TEST(store, any_failed_page_reservation_is_undone_by_rollback) {
    World *world = world_with_rows();
    Buf room = {0};
    EXPECT(buf_reserve(&room, 20000));
    for (int64_t n = 0;; n++) {
        store_begin(world->store);
        store_test_fail_pages(world->store, n);
        Err err = one_of_everything(world, &room);
        bool hit = store_test_pages_failed(world->store);
        EXPECT_ERR(err, hit ? ERR_LIMIT : OK);
        store_rollback(world->store);
        store_test_fail_pages(world->store, -1);
        expect_sound(world);
        expect_same(world);
        if (!hit) break;
    }
    buf_deinit(&room);
    world_close(world);
}

// Rows in no order into leaves that are nearly full, so that they share with neighbours a snapshot sees.
static Err scattered_inserts(World *world, Buf *room) {
    for (uint32_t i = 0; i < 120; i++) {
        uint32_t n = 1000 + (i * 2654435761u) % 1000000;
        Err err = table_insert(world->tables[PEOPLE],
                               person(room, n, n % 5, n, 20 + n % 300),
                               NULL,
                               NULL);
        if (err != OK) return err;
    }
    return OK;
}

static World *world_with_scattered_rows(void) {
    World *world = world_open(64, 0);
    Buf room = {0};
    store_begin(world->store);
    for (uint32_t i = 0; i < 400; i++) {
        uint32_t n = 1000 + (i * 2246822519u) % 1000000;
        Bytes row = person(&room, n * (uint64_t)4 + 1, n % 5, n + 2000000, n % 200);
        insert_must(world, PEOPLE, row);
    }
    store_commit(world->store);
    buf_deinit(&room);
    return world;
}

TEST(store, any_failure_while_leaves_share_is_undone_by_rollback) {
    World *world = world_with_scattered_rows();
    Snapshot *snapshot;
    Buf room = {0};
    EXPECT(buf_reserve(&room, 2000));
    bool more[2] = {true, true};  // of page reservations, of allocations
    for (int64_t n = 0; more[0] || more[1]; n++) {
        for (int what = 0; what < 2; what++) {
            if (!more[what]) continue;
            EXPECT_OK(store_snapshot(world->store, &snapshot));
            store_begin(world->store);
            store_test_fail_pages(world->store, what == 0 ? n : -1);
            mem_fault_arm(what == 1 ? n : -1);
            Err err = scattered_inserts(world, &room);
            more[what] = what == 0 ? store_test_pages_failed(world->store) : mem_fault_hit();
            EXPECT_ERR(err, !more[what] ? OK : what == 0 ? ERR_LIMIT : ERR_NOMEM);
            mem_fault_arm(0);
            store_rollback(world->store);
            EXPECT(!mem_fault_hit());
            mem_fault_arm(-1);
            store_test_fail_pages(world->store, -1);
            expect_sound(world);
            expect_same(world);
            expect_table(world, PEOPLE, snapshot, &world->rows[PEOPLE]);
            snapshot_release(&snapshot);
        }
    }
    buf_deinit(&room);
    world_close(world);
}

TEST(store, a_full_store_refuses_rows_but_lets_them_go) {
    World *world = world_open(64, 600 * 1024);
    Buf room = {0};
    Err err = OK;
    uint32_t count = 0;
    while (err == OK) {
        store_begin(world->store);
        for (int i = 0; err == OK && i < 20; i++, count++) {
            Bytes row = person(&room, count, count, count, 60);
            err = table_insert(world->tables[PEOPLE], row, NULL, NULL);
            if (err == OK) twin_put(&world->rows[PEOPLE], row, BYTES_NONE);
        }
        store_commit(world->store);
    }
    EXPECT_ERR(err, ERR_LIMIT);
    EXPECT(count > 1000);
    EXPECT(store_stats(world->store).memory_bytes <= 600 * 1024);
    expect_sound(world);
    expect_same(world);
    store_begin(world->store);
    for (uint32_t i = 0; i < 500; i++) {
        step_delete(world, PEOPLE, person(&room, i, i, i, 60), false);
    }
    insert_must(world, PEOPLE, person(&room, 1, 1, 1, 60));
    store_commit(world->store);
    expect_sound(world);
    buf_deinit(&room);
    world_close(world);
}

// ── long rows, long keys ────────────────────────────────────────────────────────────────────────

TEST(store, holds_rows_of_32_mib_and_keys_as_long_and_gives_their_memory_back) {
    World *world = world_open(64, 0);
    Buf room = {0};
    size_t big = (32u << 20) - 64;
    uint64_t before = store_stats(world->store).pages_used;
    store_begin(world->store);
    for (uint64_t i = 0; i < 3; i++) {  // the name is a unique key of the same length
        EXPECT_OK(table_insert(world->tables[PEOPLE], person(&room, i, 7, 5, big + i), NULL, NULL));
    }
    Bytes row, last = person(&room, 2, 7, 5, big + 2);
    EXPECT_ERR(table_insert(world->tables[PEOPLE], person(&room, 9, 7, 5, big + 1), NULL, NULL),
               ERR_UNIQUE);
    last = person(&room, 2, 7, 5, big + 2);
    uint8_t key[8] = {0, 0, 0, 0, 0, 0, 0, 2};
    EXPECT_OK(table_find(world->tables[PEOPLE], NULL, BY_ID, BYTES(key, 8), &row));
    EXPECT(bytes_eq(row, last));
    expect_sound(world);
    store_rollback(world->store);
    EXPECT_EQ(store_stats(world->store).pages_used, before);
    expect_sound(world);
    buf_deinit(&room);
    world_close(world);
}

TEST(store, costs_at_most_half_more_than_rows_and_keys_when_they_come_in_order) {
    World *world = world_open(64, 0);
    Arena *arena = &world->arena;
    StoreIndexSpec key = {BY_ID, &columns[0], 1, true};
    StoreTableSpec spec = {1, product_of(arena, TYPE_U64, TYPE_U32, TYPE_STRING), 0, &key, 1};
    Buf room = {0};
    Table *table;
    store_begin(world->store);
    EXPECT_OK(store_table_create(world->store, &spec, &table));
    for (uint32_t i = 0; i < 20000; i++) {
        EXPECT_OK(table_insert(table, person(&room, i, i, i, 10), NULL, NULL));
    }
    store_commit(world->store);
    uint64_t rows = table_data_bytes(table), keys = 20000 * 8;
    EXPECT(store_stats(world->store).memory_bytes < rows + rows / 2 + keys);
    buf_deinit(&room);
    world_close(world);
}

// ── scans and finds ─────────────────────────────────────────────────────────────────────────────

static Bytes key_u32(uint32_t number, uint8_t out[4]) {
    store_u32(out, __builtin_bswap32(number));
    return BYTES(out, 4);
}

TEST(store, scans_a_range_of_an_index_in_key_order) {
    World *world = world_with_rows();
    uint8_t low[4], high[4];
    TableScan scan;
    Bytes row;
    uint32_t count = 0, group = 0;
    Table *people = world->tables[PEOPLE];
    table_scan_begin(&scan, people, NULL, BY_GROUP, key_u32(1, low), key_u32(3, high));
    while (table_scan_next(&scan, &row)) {
        uint32_t now = load_u32(row.ptr + 8);
        EXPECT(now >= group && now >= 1 && now < 3);
        group = now;
        count++;
    }
    table_scan_end(&scan);
    table_scan_end(&scan);
    EXPECT_EQ(count, 120);
    EXPECT_OK(table_find(world->tables[SEATS], NULL, BY_PLACE, key_u32(7, low), &row));
    EXPECT_EQ(load_u32(row.ptr), 7);
    EXPECT_ERR(table_find(world->tables[SEATS], NULL, BY_PLACE, key_u32(700, low), &row),
               ERR_NOT_FOUND);
    world_close(world);
}

typedef struct Seen {
    size_t count;
    Change last;
} Seen;

static void see_change(void *ctx, const Change *change) {
    Seen *seen = ctx;
    seen->count++;
    seen->last = *change;
}

TEST(store, cleared_and_dropped_tables_come_back_on_rollback_and_go_on_commit) {
    World *world = world_with_rows();
    uint64_t used = store_stats(world->store).pages_used;
    store_begin(world->store);
    EXPECT_OK(table_clear(world->tables[PEOPLE], NULL));
    EXPECT_OK(store_table_drop(world->store, world->tables[SEATS]));
    EXPECT(store_table(world->store, 75) == NULL);
    store_rollback(world->store);
    EXPECT(store_table(world->store, 75) == world->tables[SEATS]);
    EXPECT_EQ(store_stats(world->store).pages_used, used);
    expect_same(world);

    store_begin(world->store);
    step_clear(world, PEOPLE);
    store_commit(world->store);
    size_t count, position = 0;
    StoreClear clear;
    Seen seen = {0};
    (void)store_changes(world->store, &count);
    EXPECT_EQ(count, 0);
    EXPECT(store_next_clear(world->store, &position, &clear));
    EXPECT(clear.table == world->tables[PEOPLE] && clear.rows == 300 && clear.changes == 0);
    EXPECT_OK(store_clear_rows(world->store, position, see_change, &seen));
    EXPECT_EQ(seen.count, 300);
    EXPECT(seen.last.kind == CHANGE_DELETE && seen.last.table == world->tables[PEOPLE]);
    EXPECT_EQ(load_u64(seen.last.row.ptr), 299);
    EXPECT(!store_next_clear(world->store, &position, &clear));
    for (int i = 0; i < 20; i++) {  // dropped pages go little by little
        store_begin(world->store);
        store_commit(world->store);
    }
    EXPECT(store_stats(world->store).pages_used < used);
    expect_sound(world);
    expect_same(world);
    world_close(world);
}

TEST(store, a_snapshot_still_has_the_table_that_was_dropped) {
    World *world = world_with_rows();
    Snapshot *snapshot;
    EXPECT_OK(store_snapshot(world->store, &snapshot));
    store_begin(world->store);
    EXPECT_OK(store_table_drop(world->store, world->tables[SEATS]));
    store_commit(world->store);
    store_begin(world->store);
    Table *again;
    StoreTableSpec spec = {75, table_layout(world->tables[NOTES])->row_type, -1, NULL, 0};
    EXPECT_OK(store_table_create(world->store, &spec, &again));
    store_commit(world->store);
    expect_table(world, SEATS, snapshot, &world->rows[SEATS]);
    EXPECT_EQ(table_row_count(again, snapshot), 0);
    snapshot_release(&snapshot);
    world_close(world);
}

TEST(store, commits_number_snapshots_and_nothing_in_between_shares_one) {
    World *world = world_with_rows();
    Snapshot *one, *two, *three;
    EXPECT_OK(store_snapshot(world->store, &one));
    EXPECT_OK(store_snapshot(world->store, &two));
    EXPECT(one == two);
    store_begin(world->store);
    store_commit(world->store);
    EXPECT_OK(store_snapshot(world->store, &three));
    EXPECT(snapshot_version(three) > snapshot_version(one));
    snapshot_release(&one);
    EXPECT(one == NULL);
    expect_table(world, PEOPLE, two, &world->rows[PEOPLE]);
    snapshot_release(&two);
    snapshot_release(&three);
    world_close(world);
}

// ── readers on other threads ────────────────────────────────────────────────────────────────────

typedef struct SnapshotReader {
    const World *world;
    const Snapshot *snapshot;
    uint64_t count, sum;  // of the ids it must see
    bool wrong;
} SnapshotReader;

static void *reader_run(void *ctx) {
    SnapshotReader *reader = ctx;
    const Table *people = reader->world->tables[PEOPLE];
    for (int round = 0; round < 20; round++) {
        uint32_t by = round % 2 ? TABLE_ROWS : BY_GROUP;
        uint64_t count = 0, sum = 0;
        TableScan scan;
        Bytes row;
        table_scan_begin(&scan, people, reader->snapshot, by, BYTES_NONE, BYTES_NONE);
        while (table_scan_next(&scan, &row)) {
            count++;
            sum += load_u64(row.ptr);
            reader->wrong |= !table_contains(people, reader->snapshot, row);
        }
        table_scan_end(&scan);
        reader->wrong |= count != reader->count || sum != reader->sum;
        reader->wrong |= table_row_count(people, reader->snapshot) != reader->count;
    }
    return NULL;
}

static SnapshotReader snapshot_reader(const World *world, const Snapshot *snapshot) {
    SnapshotReader reader = {.world = world, .snapshot = snapshot};
    const Twin *twin = &world->rows[PEOPLE];
    reader.count = twin->count;
    for (size_t i = 0; i < twin->count; i++) {
        reader.sum += load_u64(twin->pairs[i].key.ptr);
    }
    return reader;
}

TEST(store, readers_on_other_threads_see_their_snapshot_while_the_head_changes) {
    World *world = world_with_rows();
    world->random = random_seeded("store threads", 6);
    for (int round = 0; round < 6; round++) {
        Snapshot *snapshots[2];
        SnapshotReader readers[2];
        pthread_t threads[2];
        for (int i = 0; i < 2; i++) {
            EXPECT_OK(store_snapshot(world->store, &snapshots[i]));
            readers[i] = snapshot_reader(world, snapshots[i]);
            EXPECT_EQ(pthread_create(&threads[i], NULL, reader_run, &readers[i]), 0);
            for (int n = 0; n < 30; n++) {
                random_transaction(world);
            }
        }
        for (int i = 0; i < 2; i++) {
            pthread_join(threads[i], NULL);
            EXPECT(!readers[i].wrong);
            snapshot_release(&snapshots[i]);
        }
    }
    expect_sound(world);
    expect_same(world);
    world_close(world);
}

TEST(store, tells_how_old_the_oldest_snapshot_is_and_what_only_snapshots_keep) {
    World *world = world_with_rows();
    Snapshot *old, *young;
    uint64_t version = store_stats(world->store).version;
    EXPECT_EQ(store_stats(world->store).snapshot_oldest, version);
    EXPECT_OK(store_snapshot(world->store, &old));
    world->random = random_seeded("store stats", 8);
    random_transaction(world);
    EXPECT_OK(store_snapshot(world->store, &young));
    for (int i = 0; i < 20; i++)
        random_transaction(world);
    StoreStats stats = store_stats(world->store);
    EXPECT_EQ(stats.snapshot_oldest, version);
    EXPECT(stats.version > version);
    EXPECT(stats.snapshot_bytes > 0 && stats.snapshot_bytes < stats.memory_bytes);

    uint64_t kept = stats.snapshot_bytes, young_version = snapshot_version(young);
    snapshot_release(&old);
    stats = store_stats(world->store);
    EXPECT_EQ(stats.snapshot_oldest, young_version);
    EXPECT(stats.snapshot_bytes <= kept);
    snapshot_release(&young);
    random_transaction(world);  // what is left of them goes with the next transactions
    random_transaction(world);
    stats = store_stats(world->store);
    EXPECT_EQ(stats.snapshot_oldest, stats.version);
    EXPECT_EQ(stats.snapshot_bytes, 0);
    world_close(world);
}

TEST_MAIN()
