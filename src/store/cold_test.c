// cold_test.c: more rows than memory, and an owner who does not want to wait for them.
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "sim/sim.h"
#include "store/pagefile.h"
#include "store/store_twin.h"

enum { ROWS = 3000, PADDING = 400, LIMIT_PAGES = 64 };

typedef struct Cold {
    Sim *sim;
    World *world;
    Store *store;
    Table *people;
    Buf row, key;
    size_t name_padding;  // of long_row
} Cold;

static Bytes row_of(Cold *cold, uint64_t id, uint32_t group) {
    return person(&cold->row, id, group, id, PADDING);
}

static Bytes key_of(Cold *cold, uint64_t id) {
    uint8_t le[8];
    store_u64(le, id);
    buf_clear(&cold->key);
    key_append(&cold->key, type_simple(TYPE_U64), le);
    return buf_bytes(&cold->key);
}

static void checkpoint(Cold *cold) {
    StoreCheckpoint *checkpoint;
    bool done;
    Diag diag;
    EXPECT_OK(store_checkpoint_begin(cold->store, 1, 1, &checkpoint, &diag));
    EXPECT_OK(store_checkpoint_write(checkpoint, SIZE_MAX / 2, &done, &diag));
    EXPECT(done);
    EXPECT_OK(store_checkpoint_end(cold->store, &checkpoint));
}

// ROWS people in a few times the memory there is, all of them as in the page file.
static void open_with(Cold *cold, const StoreOptions *options) {
    cold->world = world_open_with(options, 64);
    cold->store = cold->world->store;
    cold->people = cold->world->tables[PEOPLE];
    store_begin(cold->store);
    for (uint64_t id = 0; id < ROWS; id++) {
        EXPECT_OK(table_insert(cold->people, row_of(cold, id, (uint32_t)id % 7), NULL, NULL));
        store_breathe(cold->store);
    }
    store_commit(cold->store);
    checkpoint(cold);
    store_breathe(cold->store);
    EXPECT(store_stats(cold->store).pages_used > 3 * LIMIT_PAGES);
}

static void open_cold(Cold *cold) {
    *cold = (Cold){0};
    EXPECT_OK(sim_new(5, &cold->sim));
    StoreOptions options = {
        .memory_max = LIMIT_PAGES * PAGE_BYTES,
        .address_bytes = (uint64_t)1 << 30,
        .io = sim_io(cold->sim),
        .page_file = "pages",
    };
    open_with(cold, &options);
}

static void close_cold(Cold *cold) {
    expect_sound(cold->world);
    buf_deinit(&cold->row);
    buf_deinit(&cold->key);
    world_close(cold->world);
    if (cold->sim) sim_free(&cold->sim);
}

static void forget_line(void *ctx, Str line) {
    (void)ctx, (void)line;
}

static void hurry(Cold *cold, bool on) {
    sim_disk_set_cold(cold->sim, on ? 1 : 0);
    store_set_patient(cold->store, !on);
}

TEST(hurry, an_absent_page_is_an_error_at_once_and_can_be_waited_for_later) {
    Cold cold;
    Bytes row;
    open_cold(&cold);
    store_begin(cold.store);
    hurry(&cold, true);
    StoreStats before = store_stats(cold.store);
    uint64_t refused = 0;
    for (uint64_t id = 0; id < ROWS; id += 10) {
        Err err = table_get(cold.people, NULL, key_of(&cold, id), &row);
        EXPECT(err == OK || err == ERR_AGAIN);
        refused += err == ERR_AGAIN;
    }
    StoreStats after = store_stats(cold.store);
    EXPECT(refused > ROWS / 20);
    EXPECT_EQ(after.page_reads, before.page_reads);
    EXPECT_EQ(after.page_waits, before.page_waits);
    EXPECT_EQ(after.page_read_errors, 0);
    EXPECT_ERR(store_fault(cold.store, NULL), ERR_AGAIN);
    store_rollback(cold.store);

    store_set_patient(cold.store, true);
    store_begin(cold.store);
    EXPECT_OK(store_fault(cold.store, NULL));
    for (uint64_t id = 0; id < ROWS; id += 10) {
        EXPECT_OK(table_get(cold.people, NULL, key_of(&cold, id), &row));
        store_breathe(cold.store);
    }
    EXPECT(store_stats(cold.store).page_waits > 0);  // each is counted
    EXPECT_OK(store_fault(cold.store, NULL));
    store_rollback(cold.store);
    close_cold(&cold);
}

static void ignore(void *ctx, Bytes row) {
    *(uint64_t *)ctx += row.len;
}

TEST(hurry, a_guess_reads_no_page_and_is_no_fault) {
    Cold cold;
    uint64_t rows, bytes = 0;
    open_cold(&cold);
    store_begin(cold.store);
    StoreStats before = store_stats(cold.store);
    uint64_t refused = 0;
    for (uint32_t group = 0; group < 7; group++) {
        Buf key = {0}, above = {0};
        uint8_t le[4];
        store_u32(le, group);
        key_append(&key, type_simple(TYPE_U32), le);
        store_u32(le, group + 1);
        key_append(&above, type_simple(TYPE_U32), le);
        Bytes lower = buf_bytes(&key), upper = buf_bytes(&above);
        Err err = table_rows_between(cold.people, BY_GROUP, lower, upper, &rows);
        EXPECT(err == OK || err == ERR_AGAIN);
        err = table_sample(cold.people, TABLE_ROWS, BYTES_NONE, BYTES_NONE, 24, ignore, &bytes);
        refused += err == ERR_AGAIN;
        buf_deinit(&key);
        buf_deinit(&above);
    }
    EXPECT(refused > 0);
    EXPECT_EQ(store_stats(cold.store).page_reads, before.page_reads);
    EXPECT_OK(store_fault(cold.store, NULL));
    store_rollback(cold.store);
    store_breathe(cold.store);
    close_cold(&cold);
}

TEST(hurry, what_the_system_has_at_hand_is_read) {
    Cold cold;
    Bytes row;
    open_cold(&cold);
    store_begin(cold.store);
    store_set_patient(cold.store, false);
    for (uint64_t id = 0; id < ROWS; id += 10) {
        EXPECT_OK(table_get(cold.people, NULL, key_of(&cold, id), &row));
        store_breathe(cold.store);
    }
    StoreStats stats = store_stats(cold.store);
    EXPECT(stats.page_reads_owner > 50 && stats.page_waits == 0);
    store_rollback(cold.store);
    close_cold(&cold);
}

// ── fetched by another thread ──────────────────────────────────────────────────────────────────

typedef struct Toucher {
    Cold *cold;
    Snapshot *snapshot;
    uint64_t id;
    Err err;
} Toucher;

static void *touch_run(void *ctx) {
    Toucher *toucher = ctx;
    Buf row = {0};
    Bytes bytes = person(&row, toucher->id, (uint32_t)toucher->id % 7, toucher->id, PADDING);
    toucher->err = table_touch(toucher->cold->people, toucher->snapshot, bytes);
    store_guard_lower();
    buf_deinit(&row);
    return NULL;
}

TEST(hurry, a_change_finds_what_another_thread_has_touched_for_it) {
    Cold cold;
    uint64_t refused = 0;
    open_cold(&cold);
    for (uint64_t id = 0; id < ROWS; id += 100) {
        Toucher toucher = {.cold = &cold, .id = id};
        pthread_t thread;
        store_begin(cold.store);
        hurry(&cold, true);
        refused += table_delete_key(cold.people, key_of(&cold, id)) == ERR_AGAIN;
        store_rollback(cold.store);
        store_set_patient(cold.store, true);

        EXPECT_OK(store_snapshot(cold.store, &toucher.snapshot));
        EXPECT_EQ(pthread_create(&thread, NULL, touch_run, &toucher), 0);
        pthread_join(thread, NULL);
        EXPECT_OK(toucher.err);
        store_begin(cold.store);
        hurry(&cold, true);
        EXPECT_OK(table_delete_key(cold.people, key_of(&cold, id)));
        EXPECT_OK(table_insert(cold.people, row_of(&cold, id, (uint32_t)id % 7), NULL, NULL));
        hurry(&cold, false);
        store_commit(cold.store);
        snapshot_release(&toucher.snapshot);
    }
    EXPECT(refused > 10);
    EXPECT_EQ(table_row_count(cold.people, NULL), ROWS);
    close_cold(&cold);
}

// Changed, spilled, gone, and then given up by somebody in a hurry.
TEST(hurry, undoing_waits_for_what_it_needs) {
    Cold cold;
    Bytes row;
    open_cold(&cold);
    for (int round = 0; round < 5; round++) {
        store_begin(cold.store);
        for (uint64_t id = 0; id < ROWS; id += 5) {
            EXPECT_OK(table_replace(cold.people, BY_ID, row_of(&cold, id, 9), NULL, NULL));
            store_breathe(cold.store);
        }
        EXPECT(store_stats(cold.store).pages_spilled > 0);
        hurry(&cold, true);
        (void)!table_get(cold.people, NULL, key_of(&cold, 7), &row);
        store_rollback(cold.store);
        hurry(&cold, false);
        store_begin(cold.store);
        EXPECT_OK(store_fault(cold.store, NULL));
        for (uint64_t id = 0; id < ROWS; id += 5) {
            EXPECT_OK(table_get(cold.people, NULL, key_of(&cold, id), &row));
            EXPECT_EQ(load_u32(row.ptr + 8), id % 7);
            store_breathe(cold.store);
        }
        store_commit(cold.store);
    }
    close_cold(&cold);
}

// ── fetched by the store's own thread ──────────────────────────────────────────────────────────

// The real files, of which nothing is at hand before it was read once more by somebody who may wait.
static _Atomic bool is_cold;
static pthread_t owner;

static Err cold_read_now(void *world,
                         IoFile *file,
                         uint64_t offset,
                         void *into,
                         size_t len,
                         size_t *got) {
    EXPECT(pthread_equal(pthread_self(), owner));
    if (is_cold) return ERR_AGAIN;
    return io_real()->file_read(world, file, offset, into, len, got);
}

static void fetched(StoreFetch *fetch) {
    (void)fetch;
    EXPECT(!pthread_equal(pthread_self(), owner));
    is_cold = false;
}

TEST(hurry, what_was_missed_is_fetched_and_there_the_next_time) {
    char dir[] = "/tmp/lc-cold-test-XXXXXX", path[64];
    EXPECT(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/pages", dir);
    Io io = *io_real();
    io.file_read_now = cold_read_now;
    owner = pthread_self();
    Cold cold = {0};
    Bytes row;
    StoreOptions options = {
        .memory_max = LIMIT_PAGES * PAGE_BYTES,
        .address_bytes = (uint64_t)1 << 30,
        .io = &io,
        .page_file = path,
        .sweeper = true,
    };
    is_cold = false;
    open_with(&cold, &options);
    uint64_t missed = 0;
    for (uint64_t n = 0; n < ROWS; n += 7) {
        uint64_t id = n * 7919 % ROWS;
        StoreFetch fetch = {.done = fetched};
        store_begin(cold.store);
        is_cold = true;
        store_set_patient(cold.store, false);
        Err err = table_replace(cold.people, BY_ID, row_of(&cold, id, 8), NULL, NULL);
        store_set_patient(cold.store, true);
        if (err == OK) {
            store_commit(cold.store);
            continue;
        }
        EXPECT_ERR(err, ERR_AGAIN);
        store_rollback(cold.store);
        missed++;
        store_begin(cold.store);
        store_set_patient(cold.store, false);
        (void)!table_get(cold.people, NULL, key_of(&cold, id), &row);
        store_set_patient(cold.store, true);
        store_rollback(cold.store);
        if (!store_fetch(cold.store, &fetch)) is_cold = false;  // the page of an index it was
        while (is_cold) {
            sched_yield();
        }
        store_begin(cold.store);
        store_set_patient(cold.store, false);
        EXPECT_OK(table_replace(cold.people, BY_ID, row_of(&cold, id, 8), NULL, NULL));
        store_set_patient(cold.store, true);
        store_commit(cold.store);
    }
    EXPECT(missed > 20);
    EXPECT_EQ(store_stats(cold.store).page_waits, 0);
    is_cold = false;
    close_cold(&cold);
    unlink(path);
    rmdir(dir);
}

// ── looking at all of it ───────────────────────────────────────────────────────────────────────

TEST(check, of_more_than_fits_into_memory_keeps_to_the_limit) {
    Cold cold;
    Diag diag;
    open_cold(&cold);
    EXPECT(store_stats(cold.store).pages_used > 3 * LIMIT_PAGES);
    EXPECT_OK(store_check(cold.store, &diag));
    EXPECT(store_stats(cold.store).memory_bytes <= (LIMIT_PAGES + 8) * PAGE_BYTES);
    close_cold(&cold);
}

// ── long keys ──────────────────────────────────────────────────────────────────────────────────

// Names whose first bytes are all the same, longer than a node keeps: each is a run of its own, and which
// of two is greater is written in their runs alone.
enum { LONG_PADDING = 1500, LONG_ROWS = 400 };

static Bytes long_row(Cold *cold, uint64_t id, uint64_t name) {
    char text[LONG_PADDING + 16];
    memset(text, 'x', cold->name_padding);
    snprintf(text + cold->name_padding, 16, "%06llu", (unsigned long long)name);
    buf_clear(&cold->row);
    buf_put_u64(&cold->row, id);
    buf_put_u32(&cold->row, (uint32_t)id % 7);
    buf_put_u32(&cold->row, (uint32_t)strlen(text));
    buf_put(&cold->row, text, strlen(text));
    return buf_bytes(&cold->row);
}

// Even names from the first on, in no order; odd ones are for who comes later.
static uint64_t even_name(uint64_t id) {
    return id * 211 % 1000 * 2;
}

static void open_named(Cold *cold, size_t padding) {
    open_cold(cold);
    cold->name_padding = padding;
    store_begin(cold->store);
    EXPECT_OK(table_clear(cold->people, NULL));
    store_commit(cold->store);
    store_begin(cold->store);
    for (uint64_t id = 0; id < LONG_ROWS; id++) {
        EXPECT_OK(table_insert(cold->people, long_row(cold, id, even_name(id)), NULL, NULL));
        store_breathe(cold->store);
    }
    for (uint64_t n = 0; n < 150; n++) {
        Bytes row = note(&cold->row, n, 3900, 1);
        EXPECT_OK(table_insert(cold->world->tables[NOTES], row, NULL, NULL));
        store_breathe(cold->store);
    }
    store_commit(cold->store);
    checkpoint(cold);
    store_breathe(cold->store);
    EXPECT(store_stats(cold->store).pages_used > 3 * LIMIT_PAGES);
}

static void open_long(Cold *cold) {
    open_named(cold, LONG_PADDING);
}

// Other pages take the place of those that people are in.
static void forget_people(Cold *cold) {
    TableScan scan;
    Bytes row;
    store_breathe(cold->store);
    for (int round = 0; round < 2; round++) {
        const Table *notes = cold->world->tables[NOTES];
        table_scan_begin(&scan, notes, NULL, TABLE_ROWS, BYTES_NONE, BYTES_NONE);
        while (table_scan_next(&scan, &row)) {
            store_breathe(cold->store);
        }
        EXPECT_OK(scan.err);
        table_scan_end(&scan);
    }
}

TEST(long_keys, an_insert_reads_no_more_than_was_touched_for_it) {
    Cold cold;
    open_long(&cold);
    for (uint64_t id = LONG_ROWS; id < LONG_ROWS + 120; id++) {
        uint64_t name = even_name(id * 7) + 1;
        forget_people(&cold);
        store_begin(cold.store);
        if (table_touch(cold.people, NULL, long_row(&cold, id, name)) != OK) EXPECT(false);
        hurry(&cold, true);
        StoreStats before = store_stats(cold.store);
        Err err = table_insert(cold.people, long_row(&cold, id, name), NULL, NULL);
        if (err != OK) EXPECT_ERR(err, ERR_UNIQUE);  // the name comes again
        EXPECT_OK(store_fault(cold.store, NULL));
        EXPECT_EQ(store_stats(cold.store).page_reads, before.page_reads);
        hurry(&cold, false);
        store_commit(cold.store);
        store_breathe(cold.store);
        if (id % 20 == 0) expect_sound(cold.world);
    }
    EXPECT(table_row_count(cold.people, NULL) > LONG_ROWS + 50);
    close_cold(&cold);
}

TEST(long_keys, an_insert_among_pages_that_cannot_be_read_needs_none_of_them) {
    Cold cold;
    open_long(&cold);
    log_set_writer(forget_line, NULL);
    for (uint64_t id = LONG_ROWS; id < LONG_ROWS + 100; id++) {
        uint64_t name = even_name(id * 7) + 1;
        forget_people(&cold);
        store_begin(cold.store);
        EXPECT_OK(table_touch(cold.people, NULL, long_row(&cold, id, name)));
        sim_disk_fail_at(cold.sim, SIM_READ, 0, ERR_IO);
        Err err = table_insert(cold.people, long_row(&cold, id, name), NULL, NULL);
        sim_disk_disarm(cold.sim);
        if (err != OK) EXPECT_ERR(err, ERR_UNIQUE);
        EXPECT_OK(store_fault(cold.store, NULL));
        store_commit(cold.store);
        store_breathe(cold.store);
    }
    close_cold(&cold);
}

// The name's entry moves in its index, the row does not.
TEST(long_keys, entries_that_move_find_their_places_in_a_hurry) {
    Cold cold;
    Random random = random_seeded("moves", 21);
    uint64_t done = 0, names[LONG_ROWS];
    open_long(&cold);
    for (uint64_t id = 0; id < LONG_ROWS; id++) {
        names[id] = even_name(id);
    }
    for (int n = 0; n < 200; n++) {
        uint64_t id = random_below(&random, LONG_ROWS), name = random_below(&random, 2000);
        forget_people(&cold);
        store_begin(cold.store);
        EXPECT_OK(table_touch(cold.people, NULL, long_row(&cold, id, names[id])));
        EXPECT_OK(table_touch(cold.people, NULL, long_row(&cold, id, name)));
        hurry(&cold, true);
        Err err = table_replace(cold.people, BY_ID, long_row(&cold, id, name), NULL, NULL);
        EXPECT(err == OK || err == ERR_AGAIN || err == ERR_UNIQUE);
        Err fault = store_fault(cold.store, NULL);
        hurry(&cold, false);
        if (err == OK) EXPECT_OK(fault);
        done += err == OK;
        if (n % 20 == 0) expect_sound(cold.world);
        if (err == OK && n % 3) {
            store_commit(cold.store);
            names[id] = name;
        } else {
            store_rollback(cold.store);
        }
        store_breathe(cold.store);
    }
    EXPECT(done > 50);
    close_cold(&cold);
}

// Index entries of which nine fill a leaf. All but one of each go while their neighbours are absent, then
// that one moves: taking it out first would lead to a neighbour.
TEST(long_keys, an_entry_moves_within_a_leaf_that_has_no_other) {
    Cold cold;
    uint64_t moved = 0;
    open_named(&cold, 900);
    for (uint64_t id = 0; id < LONG_ROWS; id++) {
        uint64_t name = even_name(id);
        if (name % 60 == 0) continue;
        forget_people(&cold);
        store_begin(cold.store);
        EXPECT_OK(table_touch(cold.people, NULL, long_row(&cold, id, name)));
        hurry(&cold, true);
        EXPECT_OK(table_delete_key(cold.people, key_of(&cold, id)));
        hurry(&cold, false);
        store_commit(cold.store);
    }
    checkpoint(&cold);
    for (uint64_t id = 0; id < LONG_ROWS; id++) {
        uint64_t name = even_name(id);
        if (name % 60) continue;
        forget_people(&cold);
        store_begin(cold.store);
        EXPECT_OK(table_touch(cold.people, NULL, long_row(&cold, id, name)));
        EXPECT_OK(table_touch(cold.people, NULL, long_row(&cold, id, name + 1)));
        hurry(&cold, true);
        EXPECT_OK(table_replace(cold.people, BY_ID, long_row(&cold, id, name + 1), NULL, NULL));
        EXPECT_OK(store_fault(cold.store, NULL));
        hurry(&cold, false);
        store_commit(cold.store);
        moved++;
    }
    EXPECT(moved > 10);
    close_cold(&cold);
}

TEST(long_keys, a_scan_that_cannot_read_one_says_so) {
    Cold cold;
    TableScan scan;
    Bytes row;
    uint64_t seen = 0, refused = 0;
    open_long(&cold);
    store_begin(cold.store);
    EXPECT_OK(store_index_create(cold.store,
                                 cold.people,
                                 &(StoreIndexSpec){EXTRA, &columns[2], 1, false}));
    store_commit(cold.store);
    for (int n = 0; n < 20; n++) {
        forget_people(&cold);
        store_begin(cold.store);
        table_scan_begin(&scan, cold.people, NULL, EXTRA, BYTES_NONE, BYTES_NONE);
        while (table_scan_next(&scan, &row)) {
            EXPECT(row.len > LONG_PADDING);
            seen++;
            if (seen % 50 == (uint64_t)n) hurry(&cold, true);
        }
        if (scan.err != OK) EXPECT_ERR(scan.err, ERR_AGAIN);
        refused += scan.err != OK;
        table_scan_end(&scan);
        hurry(&cold, false);
        store_rollback(cold.store);
        store_breathe(cold.store);
    }
    EXPECT(refused > 10);
    close_cold(&cold);
}

// ── spills ─────────────────────────────────────────────────────────────────────────────────────

// Nobody else writes here, so what was begun lands when it is settled: all that happens to its pages
// in between happens while they are on their way.
TEST(spill, pages_that_change_on_their_way_are_written_again) {
    Cold cold;
    Bytes row;
    open_cold(&cold);
    for (uint32_t round = 1; round <= 6; round++) {
        store_begin(cold.store);
        for (uint64_t n = 0; n < ROWS; n++) {
            uint64_t id = n * 7919 % ROWS;
            EXPECT_OK(table_replace(cold.people, BY_ID, row_of(&cold, id, round), NULL, NULL));
            store_breathe(cold.store);
        }
        store_commit(cold.store);
        if (round % 2) checkpoint(&cold);
    }
    EXPECT(store_stats(cold.store).pages_spilled > 200);
    for (uint64_t id = 0; id < ROWS; id++) {
        EXPECT_OK(table_get(cold.people, NULL, key_of(&cold, id), &row));
        EXPECT_EQ(load_u32(row.ptr + 8), 6);
        store_breathe(cold.store);
    }
    EXPECT(store_stats(cold.store).memory_bytes <= (LIMIT_PAGES + 2) * PAGE_BYTES);
    close_cold(&cold);
}

TEST(spill, one_that_fails_leaves_its_pages_dirty_and_the_next_one_writes_them) {
    Cold cold;
    Bytes row;
    open_cold(&cold);
    log_set_writer(forget_line, NULL);
    for (uint32_t round = 1; round <= 3; round++) {
        store_begin(cold.store);
        for (uint64_t id = 0; id < ROWS; id++) {
            if (id % 200 == 0) sim_disk_fail_at(cold.sim, SIM_WRITE, 0, ERR_IO);
            EXPECT_OK(table_replace(cold.people, BY_ID, row_of(&cold, id, round), NULL, NULL));
            store_breathe(cold.store);
        }
        store_commit(cold.store);
    }
    sim_disk_disarm(cold.sim);
    for (int n = 0; n < 300; n++) {
        store_breathe(cold.store);
    }
    checkpoint(&cold);
    for (uint64_t id = 0; id < ROWS; id++) {
        EXPECT_OK(table_get(cold.people, NULL, key_of(&cold, id), &row));
        EXPECT_EQ(load_u32(row.ptr + 8), 3);
        store_breathe(cold.store);
    }
    close_cold(&cold);
}

TEST_MAIN()
