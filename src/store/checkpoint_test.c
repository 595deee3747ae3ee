#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "sim/sim.h"
#include "store/pagefile.h"
#include "store/store_twin.h"

// A store with a page file on a simulated disk, its twin as it is now, and the twin as it was when the
// checkpoints were begun that a crash may leave.
typedef struct Disk {
    Sim *sim;
    World *world;
    size_t memory_max;
    Saved safe;   // what the newest safe checkpoint holds
    Saved begun;  // and the one being written
    StoreCheckpoint *checkpoint;
    uint64_t count;  // checkpoints begun
} Disk;

static StoreOptions options_of(Disk *disk, Diag *diag) {
    return (StoreOptions){
        .memory_max = disk->memory_max,
        .address_bytes = (uint64_t)1 << 30,
        .io = sim_io(disk->sim),
        .page_file = "pages",
        .diag = diag,
    };
}

static void disk_open(Disk *disk, uint64_t seed, size_t memory_max) {
    *disk = (Disk){.memory_max = memory_max};
    EXPECT_OK(sim_new(seed, &disk->sim));
    StoreOptions options = options_of(disk, NULL);
    disk->world = world_open_with(&options, 64);
    disk->world->random.state = seed;
}

static void disk_close(Disk *disk) {
    forget(&disk->safe);
    forget(&disk->begun);
    if (disk->checkpoint) (void)store_checkpoint_end(disk->world->store, &disk->checkpoint);
    world_close(disk->world);
    sim_free(&disk->sim);
}

static void store_left(Disk *disk) {
    if (disk->checkpoint) (void)store_checkpoint_end(disk->world->store, &disk->checkpoint);
    store_close(&disk->world->store);
}

// Open what the disk has. The tables are those of the checkpoint, or none.
static Err store_again(Disk *disk, Diag *diag) {
    static const uint32_t ids[TABLES] = {100, 50, 75};
    StoreOptions options = options_of(disk, diag);
    Err err = store_open(&options, &disk->world->store);
    for (int i = 0; err == OK && i < TABLES; i++) {
        disk->world->tables[i] = store_table(disk->world->store, ids[i]);
    }
    return err;
}

static Err checkpoint_begin(Disk *disk) {
    Diag diag;
    Err err =
        store_checkpoint_begin(disk->world->store, ++disk->count, 1, &disk->checkpoint, &diag);
    if (err != OK) {
        disk->count--;
        return err;
    }
    forget(&disk->begun);
    disk->begun = save(disk->world);
    return OK;
}

static void checkpoint_is_safe(Disk *disk) {
    EXPECT_OK(store_checkpoint_end(disk->world->store, &disk->checkpoint));
    forget(&disk->safe);
    disk->safe = disk->begun;
    disk->begun = (Saved){0};
}

static Err checkpoint_whole(Disk *disk) {
    bool done = false;
    Diag diag;
    Err err = checkpoint_begin(disk);
    if (err != OK) return err;
    err = store_checkpoint_write(disk->checkpoint, SIZE_MAX / 2, &done, &diag);
    EXPECT(done == (err == OK));
    if (err == OK) {
        checkpoint_is_safe(disk);
    } else {
        EXPECT_ERR(store_checkpoint_end(disk->world->store, &disk->checkpoint), err);
    }
    return err;
}

// Some transactions with a checkpoint written a little at a time between them. Stops when the disk
// does.
static void run(Disk *disk, int rounds) {
    Random *random = &disk->world->random;
    for (int round = 0; round < rounds; round++) {
        random_transaction(disk->world);
        if (!disk->checkpoint && random_below(random, 4) == 0 && checkpoint_begin(disk) != OK)
            return;
        if (!disk->checkpoint || random_below(random, 2)) continue;
        bool done;
        Err err = store_checkpoint_write(disk->checkpoint,
                                         random_below(random, 200000),
                                         &done,
                                         &(Diag){0});
        if (err != OK) return;
        if (done) checkpoint_is_safe(disk);
    }
}

static void expect_state(Disk *disk, Saved *expected) {
    restore(disk->world, expected);
    expect_same(disk->world);
    expect_sound(disk->world);
}

// After the store was left or lost: it is as one of the two says.
static void expect_after_crash(Disk *disk) {
    Diag diag = {0};
    Err err = store_again(disk, &diag);
    if (err != OK) print_error("%s\n", diag.text);
    EXPECT_OK(err);
    uint64_t found = store_log_offset(disk->world->store);
    EXPECT(found == disk->count || found + 1 == disk->count);
    bool is_begun = disk->begun.rows[0].pairs && found == disk->count;
    if (found == 0) {
        EXPECT(disk->world->tables[0] == NULL);
        return;
    }
    expect_state(disk, is_begun ? &disk->begun : &disk->safe);
}

TEST(checkpoint, opens_again_as_it_was_when_it_was_begun) {
    for (uint64_t seed = 1; seed <= 12; seed++) {
        Disk disk;
        disk_open(&disk, seed, seed % 2 ? 0 : 64 * PAGE_BYTES);
        for (int life = 0; life < 4; life++) {
            run(&disk, 40);
            if (disk.checkpoint)
                EXPECT_ERR(store_checkpoint_end(disk.world->store, &disk.checkpoint), ERR_CLOSED);
            expect_same(disk.world);
            expect_sound(disk.world);
            EXPECT_OK(checkpoint_whole(&disk));
            store_left(&disk);
            EXPECT_OK(store_again(&disk, NULL));
            EXPECT_EQ(store_log_offset(disk.world->store), disk.count);
            Saved expected = disk.safe;
            disk.safe = (Saved){0};
            expect_state(&disk, &expected);
        }
        disk_close(&disk);
    }
}

TEST(checkpoint, keeps_few_pages_in_memory_under_a_small_limit) {
    Disk disk;
    disk_open(&disk, 78, 64 * PAGE_BYTES);
    run(&disk, 300);
    StoreStats stats = store_stats(disk.world->store);
    EXPECT(stats.pages_used > 2 * 64);
    EXPECT(stats.pages_evicted > 100 && stats.pages_spilled > 10 && stats.page_reads > 100);
    store_breathe(disk.world->store);
    EXPECT(store_stats(disk.world->store).memory_bytes <= 66 * PAGE_BYTES);
    expect_same(disk.world);
    expect_sound(disk.world);
    disk_close(&disk);
}

static void forget_line(void *ctx, Str line) {
    (void)ctx, (void)line;
}

static void cut_everywhere(SimOp op, uint64_t seed, size_t memory_max) {
    for (uint64_t nth = 0;; nth++) {
        Disk disk;
        disk_open(&disk, seed, memory_max);
        sim_disk_cut_at(disk.sim, op, nth);
        run(&disk, 25);
        bool was_cut = sim_disk_is_off(disk.sim);
        store_left(&disk);
        sim_disk_reboot(disk.sim, seed + nth);
        expect_after_crash(&disk);
        disk_close(&disk);
        if (!was_cut) return;
    }
}

TEST(power, cut_at_every_write_leaves_one_whole_checkpoint) {
    for (uint64_t seed = 1; seed <= 5; seed++) {
        cut_everywhere(SIM_WRITE, seed, 0);
    }
}

TEST(power, cut_at_every_sync_leaves_one_whole_checkpoint) {
    for (uint64_t seed = 1; seed <= 12; seed++) {
        cut_everywhere(SIM_SYNC, seed, 0);
    }
}

// ── what goes wrong ────────────────────────────────────────────────────────────────────────────

// Checkpoint after checkpoint, each met by a failure a step later than the last one.
static void fail_everywhere(SimOp op, Err err) {
    bool hit = true;
    uint64_t unsure_count = 0;
    for (uint64_t nth = 0; hit; nth++) {
        Disk disk;
        disk_open(&disk, 9, 0);
        run(&disk, 30);
        if (disk.checkpoint) (void)store_checkpoint_end(disk.world->store, &disk.checkpoint);
        EXPECT_OK(checkpoint_whole(&disk));
        random_transaction(disk.world);
        random_transaction(disk.world);
        sim_disk_fail_at(disk.sim, op, nth, err);
        Err got = checkpoint_whole(&disk);
        hit = got != OK;
        if (hit) EXPECT_EQ(got, err);
        sim_disk_fail_at(disk.sim, op, UINT64_MAX / 2, OK);
        random_transaction(disk.world);
        expect_same(disk.world);
        expect_sound(disk.world);
        // A write that failed is tried again; but after a sync, or the write of the meta page, nobody
        // knows what is there.
        Saved before = save(disk.world);
        Err again = checkpoint_whole(&disk);
        bool unsure = again != OK;
        if (unsure) EXPECT_EQ(again, err);
        EXPECT(!unsure || hit);
        EXPECT(!hit || unsure || op == SIM_WRITE);
        unsure_count += unsure;
        store_left(&disk);
        EXPECT_OK(store_again(&disk, NULL));
        if (!unsure) expect_state(&disk, &before);
        forget(&before);
        disk_close(&disk);
    }
    if (op == SIM_WRITE) EXPECT_EQ(unsure_count, 1);
}

TEST(checkpoint, that_cannot_write_is_given_up_and_the_next_one_does) {
    fail_everywhere(SIM_WRITE, ERR_DISK_FULL);
    fail_everywhere(SIM_WRITE, ERR_IO);
}

TEST(checkpoint, that_cannot_sync_is_the_last_one_until_the_next_start) {
    fail_everywhere(SIM_SYNC, ERR_IO);
}

TEST(checkpoint, any_failed_allocation_leaves_everything_as_it_was) {
    bool hit = true;
    for (int64_t nth = 0; hit; nth++) {
        Disk disk;
        disk_open(&disk, 21, 0);
        run(&disk, 20);
        if (disk.checkpoint) (void)store_checkpoint_end(disk.world->store, &disk.checkpoint);
        mem_fault_arm(nth);
        Err err = checkpoint_whole(&disk);
        hit = mem_fault_hit();
        mem_fault_arm(-1);
        EXPECT_ERR(err, hit ? ERR_NOMEM : OK);
        expect_same(disk.world);
        expect_sound(disk.world);
        EXPECT_OK(checkpoint_whole(&disk));
        disk_close(&disk);
    }
}

TEST(checkpoint, any_failed_allocation_of_an_opening_is_reported) {
    Disk disk;
    disk_open(&disk, 22, 0);
    run(&disk, 20);
    if (disk.checkpoint) (void)store_checkpoint_end(disk.world->store, &disk.checkpoint);
    EXPECT_OK(checkpoint_whole(&disk));
    store_left(&disk);
    Err err = ERR_NOMEM;
    for (int64_t nth = 0; err != OK; nth++) {
        mem_fault_arm(nth);
        err = store_again(&disk, NULL);
        bool hit = mem_fault_hit();
        mem_fault_arm(-1);
        EXPECT_ERR(err, hit ? ERR_NOMEM : OK);
    }
    expect_same(disk.world);
    disk_close(&disk);
}

// A byte of every page in turn goes bad. Whoever needs the page is told, with its place; nobody is
// told something wrong; what does not need it works.
TEST(checkpoint, a_damaged_page_is_an_error_for_those_who_need_it) {
    Disk disk;
    disk_open(&disk, 31, 0);
    run(&disk, 60);
    if (disk.checkpoint) (void)store_checkpoint_end(disk.world->store, &disk.checkpoint);
    EXPECT_OK(checkpoint_whole(&disk));
    log_set_writer(forget_line, NULL);
    uint64_t end = store_stats(disk.world->store).file_bytes / PAGE_BYTES, told = 0;
    store_left(&disk);
    for (uint64_t place = 2; place < end; place++) {
        uint64_t at = place * PAGE_BYTES + random_below(&disk.world->random, PAGE_BYTES);
        EXPECT_OK(sim_disk_flip(disk.sim, "pages", at, 0x10));
        Diag diag = {0};
        Err err = store_again(&disk, &diag);
        for (int i = 0; err == OK && i < TABLES; i++) {
            TableScan scan;
            Bytes row;
            uint64_t count = 0;
            table_scan_begin(&scan,
                             disk.world->tables[i],
                             NULL,
                             TABLE_ROWS,
                             BYTES_NONE,
                             BYTES_NONE);
            while (table_scan_next(&scan, &row)) {
                bool there;
                (void)twin_search(&disk.world->rows[i], row, &there);
                EXPECT(there);
                count++;
            }
            err = scan.err;
            if (err == OK) EXPECT_EQ(count, disk.world->rows[i].count);
            if (err != OK) EXPECT_ERR(store_fault(disk.world->store, &diag), err);
        }
        if (err != OK) {
            EXPECT_ERR(err, ERR_CORRUPT);
            EXPECT(strstr(diag.text, "pages: page"));
            told++;
        }
        if (disk.world->store) store_close(&disk.world->store);
        EXPECT_OK(sim_disk_flip(disk.sim, "pages", at, 0x10));
    }
    EXPECT(told > 5);
    log_set_writer(NULL, NULL);
    EXPECT_OK(store_again(&disk, NULL));
    expect_same(disk.world);
    disk_close(&disk);
}

// Changes on a damaged store: each says OK and is right, or says that it cannot and changes nothing.
TEST(checkpoint, changes_beside_damaged_pages_are_made_whole_or_not_at_all) {
    Disk disk;
    disk_open(&disk, 33, 0);
    run(&disk, 60);
    if (disk.checkpoint) (void)store_checkpoint_end(disk.world->store, &disk.checkpoint);
    EXPECT_OK(checkpoint_whole(&disk));
    uint64_t end = store_stats(disk.world->store).file_bytes / PAGE_BYTES, failed = 0;
    store_left(&disk);
    log_set_writer(forget_line, NULL);
    Random *random = &disk.world->random;
    for (int life = 0; life < 40; life++) {
        uint64_t at = (2 + random_below(random, end - 2)) * PAGE_BYTES + 100;
        EXPECT_OK(sim_disk_flip(disk.sim, "pages", at, 0x10));
        Err err = store_again(&disk, NULL);
        for (int n = 0; err == OK && n < 30; n++) {
            Buf room = {0};
            int table = (int)random_below(random, TABLES);
            Bytes row = random_row(random, table, &room);
            store_begin(disk.world->store);
            Err did = random_below(random, 2)
                          ? table_insert(disk.world->tables[table], row, NULL, NULL)
                          : table_delete_row(disk.world->tables[table], row);
            failed += did == ERR_CORRUPT;
            EXPECT((store_fault(disk.world->store, NULL) != OK) == (did == ERR_CORRUPT));
            store_rollback(disk.world->store);
            buf_deinit(&room);
        }
        if (disk.world->store) store_close(&disk.world->store);
        EXPECT_OK(sim_disk_flip(disk.sim, "pages", at, 0x10));
    }
    log_set_writer(NULL, NULL);
    EXPECT(failed > 5);
    EXPECT_OK(store_again(&disk, NULL));
    expect_same(disk.world);
    disk_close(&disk);
}

// The power goes while a checkpoint is being written, and with it the meta page of the one before it
// goes bad. The one before that has lost places to the unfinished one. Wherever that matters it is
// found out; where it does not, what it says is true.
TEST(checkpoint, an_older_meta_page_is_found_out_where_its_pages_were_used_again) {
    uint64_t found_out = 0;
    log_set_writer(forget_line, NULL);
    for (uint64_t seed = 41; seed < 49; seed++) {
        Disk disk;
        disk_open(&disk, seed, 0);
        Saved older = {0};
        for (int i = 0; i < 6; i++) {
            run(&disk, 10);
            if (disk.checkpoint) (void)store_checkpoint_end(disk.world->store, &disk.checkpoint);
            forget(&older);
            older = disk.safe;
            disk.safe = (Saved){0};
            EXPECT_OK(checkpoint_whole(&disk));
        }
        uint64_t newest = store_checkpoints(disk.world->store);
        for (int i = 0; i < 20; i++) {
            random_transaction(disk.world);
        }
        EXPECT_OK(checkpoint_begin(&disk));
        sim_disk_cut_at(disk.sim, SIM_SYNC, 0);
        bool done;
        (void)!store_checkpoint_write(disk.checkpoint, SIZE_MAX / 2, &done, &(Diag){0});
        store_left(&disk);
        sim_disk_reboot(disk.sim, seed);
        EXPECT_OK(sim_disk_flip(disk.sim, "pages", newest % 2 * PAGE_BYTES + 20, 1));
        Diag diag = {0};
        Err err = store_again(&disk, &diag);
        if (err == OK && store_checkpoints(disk.world->store) == newest - 1) {
            err = store_check(disk.world->store, &diag);
            if (err == OK) expect_state(&disk, &older);
        }
        EXPECT(err == OK || err == ERR_CORRUPT);
        found_out += err == ERR_CORRUPT;
        forget(&older);
        disk_close(&disk);
    }
    log_set_writer(NULL, NULL);
    EXPECT(found_out > 2);
}

TEST(checkpoint, places_are_used_again_and_the_file_shrinks_when_rows_go) {
    Disk disk;
    disk_open(&disk, 51, 0);
    Buf row = {0};
    uint64_t first = 0, most = 0, size;
    for (uint64_t round = 0; round < 30; round++) {
        store_begin(disk.world->store);
        for (uint64_t i = 0; i < 2000; i++) {
            Bytes bytes = person(&row, i, (uint32_t)round, i, 900);
            Table *people = disk.world->tables[PEOPLE];
            EXPECT_OK(round ? table_replace(people, BY_ID, bytes, NULL, NULL)
                            : table_insert(people, bytes, NULL, NULL));
        }
        store_commit(disk.world->store);
        EXPECT_OK(checkpoint_whole(&disk));
        size = store_stats(disk.world->store).file_bytes;
        if (!first) first = size;
        most = MAX(most, size);
    }
    EXPECT(most < first * 7 / 2);
    store_begin(disk.world->store);
    EXPECT_OK(table_clear(disk.world->tables[PEOPLE], NULL));
    store_commit(disk.world->store);
    for (int i = 0; i < 120; i++) {
        store_begin(disk.world->store);
        store_commit(disk.world->store);
        if (i % 30 == 29) EXPECT_OK(checkpoint_whole(&disk));
    }
    EXPECT(store_stats(disk.world->store).file_bytes < most / 2);
    buf_deinit(&row);
    disk_close(&disk);
}

// An image is taken while transactions and checkpoints go on, a piece at a time.
TEST(image, is_the_checkpoint_it_was_opened_on_whatever_happens_meanwhile) {
    for (uint64_t seed = 61; seed < 67; seed++) {
        Disk disk;
        disk_open(&disk, seed, seed % 2 ? 0 : 64 * PAGE_BYTES);
        run(&disk, 30);
        if (disk.checkpoint) (void)store_checkpoint_end(disk.world->store, &disk.checkpoint);
        EXPECT_OK(checkpoint_whole(&disk));
        StoreImage *image;
        Diag diag = {0};
        EXPECT_OK(store_image_open(disk.world->store, &image, &diag));
        Saved expected = save(disk.world);
        uint64_t offset = store_log_offset(disk.world->store);
        const Io *io = sim_io(disk.sim);
        IoFile *copy;
        EXPECT_OK(io->file_open(io->world, "copy", IO_WRITE | IO_CREATE, &copy));
        static uint8_t piece[8 * PAGE_BYTES];
        for (uint64_t at = 0; at < store_image_bytes(image);) {
            size_t len = (size_t)MIN(sizeof piece, store_image_bytes(image) - at);
            EXPECT_OK(store_image_read(image, at, piece, len, &diag));
            EXPECT_OK(io->file_write(io->world, copy, at, piece, len));
            at += len;
            run(&disk, 2);
        }
        store_image_close(disk.world->store, &image);
        io->file_close(io->world, &copy);
        store_left(&disk);

        StoreImageInfo info;
        EXPECT_OK(store_image_info(io, "copy", &info, &diag));
        EXPECT_EQ(info.log_offset, offset);
        StoreOptions options = options_of(&disk, &diag);
        options.page_file = "copy";
        EXPECT_OK(store_open(&options, &disk.world->store));
        static const uint32_t ids[TABLES] = {100, 50, 75};
        for (int i = 0; i < TABLES; i++) {
            disk.world->tables[i] = store_table(disk.world->store, ids[i]);
        }
        expect_state(&disk, &expected);
        disk_close(&disk);
    }
}

// ── many threads ───────────────────────────────────────────────────────────────────────────────

typedef struct SnapshotReader {
    const World *world;
    const Snapshot *snapshot;
    uint64_t count, sum;  // of the ids it must see
    bool wrong;
} SnapshotReader;

enum { BORROWED = 48 };

static void *reader_run(void *ctx) {
    SnapshotReader *reader = ctx;
    Bytes borrowed[BORROWED];
    uint64_t hashes[BORROWED];
    const Table *people = reader->world->tables[PEOPLE];
    for (int round = 0; round < 6; round++) {
        uint64_t count = 0, sum = 0;
        TableScan scan;
        Bytes row;
        table_scan_begin(&scan,
                         people,
                         reader->snapshot,
                         round % 2 ? TABLE_ROWS : BY_GROUP,
                         BYTES_NONE,
                         BYTES_NONE);
        while (table_scan_next(&scan, &row)) {
            sum += load_u64(row.ptr);
            reader->wrong |= !table_contains(people, reader->snapshot, row);
            borrowed[count % BORROWED] = row;
            hashes[count % BORROWED] = bytes_hash(row);
            if (++count % BORROWED) continue;
            // Whatever the others evicted meanwhile, what this thread found is still there.
            sched_yield();
            for (int i = 0; i < BORROWED; i++) {
                reader->wrong |= bytes_hash(borrowed[i]) != hashes[i];
            }
            snapshot_breathe(reader->snapshot);
        }
        table_scan_end(&scan);
        reader->wrong |= count != reader->count || sum != reader->sum || scan.err != OK;
    }
    store_guard_lower();
    return NULL;
}

static void *writer_run(void *ctx) {
    bool done = false;
    Diag diag;
    while (!done) {
        if (store_checkpoint_write(ctx, 100000, &done, &diag) != OK) break;
    }
    return NULL;
}

static void pages_dir(char dir[64], char path[80]) {
    snprintf(dir, 64, "/tmp/lc-checkpoint-test-XXXXXX");
    EXPECT(mkdtemp(dir));
    snprintf(path, 80, "%s/pages", dir);
}

static void expect_threads_agree(size_t memory_max, bool sweeper) {
    char dir[64], path[80];
    pages_dir(dir, path);
    StoreOptions options = {
        .memory_max = memory_max,
        .address_bytes = (uint64_t)1 << 30,
        .io = io_real(),
        .page_file = path,
        .sweeper = sweeper,
    };
    World *world = world_open_with(&options, 64);
    world->random.state = 61;
    for (int i = 0; i < 60; i++) {
        random_transaction(world);
    }
    for (int round = 0; round < 6; round++) {
        pthread_t threads[3];
        SnapshotReader readers[2];
        Snapshot *snapshots[2];
        StoreCheckpoint *checkpoint;
        EXPECT_OK(store_checkpoint_begin(world->store, 1, 1, &checkpoint, NULL));
        EXPECT_EQ(pthread_create(&threads[2], NULL, writer_run, checkpoint), 0);
        for (int i = 0; i < 2; i++) {
            EXPECT_OK(store_snapshot(world->store, &snapshots[i]));
            readers[i] = (SnapshotReader){.world = world, .snapshot = snapshots[i]};
            const Twin *twin = &world->rows[PEOPLE];
            readers[i].count = twin->count;
            for (size_t n = 0; n < twin->count; n++) {
                readers[i].sum += load_u64(twin->pairs[n].key.ptr);
            }
            EXPECT_EQ(pthread_create(&threads[i], NULL, reader_run, &readers[i]), 0);
            for (int n = 0; n < 15; n++) {
                random_transaction(world);
            }
        }
        for (int i = 0; i < 3; i++) {
            pthread_join(threads[i], NULL);
        }
        EXPECT_OK(store_checkpoint_end(world->store, &checkpoint));
        for (int i = 0; i < 2; i++) {
            EXPECT(!readers[i].wrong);
            snapshot_release(&snapshots[i]);
        }
    }
    if (memory_max) EXPECT(store_stats(world->store).pages_evicted > 50);
    expect_same(world);
    expect_sound(world);
    world_close(world);
    unlink(path);
    rmdir(dir);
}

TEST(threads, read_write_and_evict_at_once) {
    expect_threads_agree(64 * PAGE_BYTES, false);
}

TEST(threads, a_sweeper_evicts_and_spills_beside_all_of_them) {
    expect_threads_agree(64 * PAGE_BYTES, true);
}

TEST(threads, write_a_checkpoint_while_the_head_changes) {
    expect_threads_agree(0, false);
}

TEST_MAIN()
