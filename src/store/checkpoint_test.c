#include <pthread.h>
#include <unistd.h>

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
    disk_open(&disk, 77, 64 * PAGE_BYTES);
    run(&disk, 300);
    StoreStats stats = store_stats(disk.world->store);
    EXPECT(stats.pages_used > 3 * 64);
    EXPECT(stats.pages_evicted > 100 && stats.pages_spilled > 10 && stats.page_reads > 100);
    store_breathe(disk.world->store);
    EXPECT(store_stats(disk.world->store).memory_bytes <= 66 * PAGE_BYTES);
    expect_same(disk.world);
    expect_sound(disk.world);
    disk_close(&disk);
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

TEST_MAIN()
