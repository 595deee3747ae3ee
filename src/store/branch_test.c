// A head and a branch of it are changed in turns, in rows that do not concern each other; what the head
// committed is made again on the branch. Whatever else happens meanwhile (transactions undone,
// snapshots, checkpoints), adopting the branch gives the tables that both changes give, and every page
// has one owner.
#include <pthread.h>

#include "base/mem.h"
#include "sim/sim.h"
#include "store/store_twin.h"

enum { KEPT = 3, STEPS = 220 };

typedef struct Pair {
    Sim *sim;  // NULL: in memory
    World *head;
    StoreBranch *branch;
    World beside;    // the branch's tables and its twin
    World repeated;  // the head's twin as far as the branch has it
    StoreCheckpoint *checkpoint;
    struct {
        Snapshot *snapshot;
        Saved rows;
    } kept[KEPT];
    int whole;  // the table that the branch began without rows; TABLES: none
} Pair;

static Bytes row_of(Random *random, int table, uint64_t parity, Buf *room) {
    uint64_t a = random_below(random, 400) * 2 + parity, b = random_below(random, 400) * 2 + parity;
    uint32_t group = (uint32_t)random_below(random, 6);
    size_t padding = random_padding(random);
    switch (table) {
    case PEOPLE: return person(room, a, group, b, padding);
    case NOTES: return note(room, a, padding, group);
    default: return seat(room, (uint32_t)a, b, b, padding);
    }
}

// A row that this side put there, if the random one it looks from meets one.
static Bytes own_row(World *world, int table, uint64_t parity, Buf *room) {
    const Twin *twin = &world->rows[table];
    Bytes row = row_of(&world->random, table, parity, room);
    bool found;
    size_t at = twin_search(twin, row, &found);
    for (; at < twin->count; at++) {
        Bytes there = twin->pairs[at].key;
        Bytes text = column(world, table, there, table == NOTES ? 0 : 2);
        uint8_t last = 0;  // digits of the number that the text begins with
        for (size_t i = 5; i < text.len && text.ptr[i] >= '0' && text.ptr[i] <= '9'; i++)
            last = text.ptr[i];
        if ((last - '0') % 2 != (int)parity) continue;
        buf_clear(room);
        buf_put_bytes(room, there);
        return buf_bytes(room);
    }
    return row;
}

static void step(World *world, int table, uint64_t parity) {
    static const uint32_t replace_by[TABLES] = {BY_ID, 0, BY_PLACE};
    Random *random = &world->random;
    Buf room = {0};
    uint64_t what = random_below(random, 10);
    Bytes row =
        what < 6 ? row_of(random, table, parity, &room) : own_row(world, table, parity, &room);
    if (what < 5 || (what < 6 && !replace_by[table])) {
        step_insert(world, table, row);
    } else if (what < 6) {
        step_replace(world, table, replace_by[table], row);
    } else {
        step_delete(world, table, row, what == 6);
    }
    buf_deinit(&room);
}

static void head_transaction(Pair *pair) {
    World *head = pair->head;
    Saved before = save(head);
    store_begin(head->store);
    for (uint64_t i = random_below(&head->random, 12); i > 0; i--) {
        int table = (int)random_below(&head->random, TABLES);
        if (table != pair->whole) step(head, table, 1);
    }
    if (random_below(&head->random, 4) == 0) {
        store_rollback(head->store);
        restore(head, &before);
    } else {
        store_commit(head->store);
    }
    forget(&before);
}

static void missing_in(const Twin *from, const Twin *in, Twin *out) {
    for (size_t i = 0; i < from->count; i++) {
        bool found;
        twin_search(in, from->pairs[i].key, &found);
        if (!found) twin_put(out, from->pairs[i].key, BYTES_NONE);
    }
}

// What the head did since the last time is done on the branch: first what went, then what came.
static void catch_up(Pair *pair) {
    for (int table = 0; table < TABLES; table++) {
        Twin gone = {0}, come = {0};
        if (table == pair->whole) continue;
        missing_in(&pair->repeated.rows[table], &pair->head->rows[table], &gone);
        missing_in(&pair->head->rows[table], &pair->repeated.rows[table], &come);
        for (size_t i = 0; i < gone.count; i++)
            step_delete(&pair->beside, table, gone.pairs[i].key, i % 2);
        for (size_t i = 0; i < come.count; i++)
            step_insert(&pair->beside, table, come.pairs[i].key);
        twin_clear(&gone);
        twin_clear(&come);
        twin_clear(&pair->repeated.rows[table]);
        pair->repeated.rows[table] = twin_copy(&pair->head->rows[table]);
    }
    branch_breathe(pair->branch);
}

static void snapshot_step(Pair *pair) {
    World *head = pair->head;
    size_t i = random_below(&head->random, KEPT);
    if (!pair->kept[i].snapshot) {
        EXPECT_OK(store_snapshot(head->store, &pair->kept[i].snapshot));
        pair->kept[i].rows = save(head);
        return;
    }
    for (int table = 0; table < TABLES; table++) {
        expect_table(head, table, pair->kept[i].snapshot, &pair->kept[i].rows.rows[table]);
    }
    snapshot_release(&pair->kept[i].snapshot);
    forget(&pair->kept[i].rows);
}

static void checkpoint_step(Pair *pair) {
    Diag diag;
    bool done = false;
    if (!pair->sim) return;
    if (!pair->checkpoint) {
        EXPECT_OK(store_checkpoint_begin(pair->head->store, 1, 1, &pair->checkpoint, &diag));
        return;
    }
    EXPECT_OK(store_checkpoint_write(pair->checkpoint, 65536, &done, &diag));
    if (done) EXPECT_OK(store_checkpoint_end(pair->head->store, &pair->checkpoint));
}

static void branch_begin(Pair *pair) {
    World *head = pair->head;
    EXPECT_OK(store_branch_open(head->store, &pair->branch));
    StoreBranch *second;
    EXPECT_ERR(store_branch_open(head->store, &second), ERR_BUSY);
    pair->whole = (int)random_below(&head->random, TABLES * 3);
    if (pair->whole > TABLES) pair->whole = TABLES;
    pair->beside = (World){.random = {random_next(&head->random)}};
    pair->repeated = (World){0};
    for (int table = 0; table < TABLES; table++) {
        bool empty = table == pair->whole;
        EXPECT_OK(branch_table_add(pair->branch,
                                   head->tables[table],
                                   empty,
                                   &pair->beside.tables[table]));
        EXPECT(branch_table(pair->branch, head->tables[table]) == pair->beside.tables[table]);
        if (!empty) pair->beside.rows[table] = twin_copy(&head->rows[table]);
        if (!empty) pair->repeated.rows[table] = twin_copy(&head->rows[table]);
    }
}

static void branch_end(Pair *pair) {
    World *head = pair->head;
    uint64_t how = random_below(&head->random, 8);
    catch_up(pair);
    if (how > 0) {
        store_begin(head->store);
        EXPECT_OK(store_branch_adopt(pair->branch));
        for (int table = 0; table < TABLES; table++)
            expect_table(head, table, NULL, &pair->beside.rows[table]);
        if (how > 1) {
            store_commit(head->store);
            for (int table = 0; table < TABLES; table++) {
                twin_clear(&head->rows[table]);
                head->rows[table] = twin_copy(&pair->beside.rows[table]);
            }
        } else {
            store_rollback(head->store);
        }
    }
    expect_sound(head);
    store_branch_close(&pair->branch);
    expect_sound(head);
    expect_same(head);
    for (int table = 0; table < TABLES; table++) {
        twin_clear(&pair->beside.rows[table]);
        twin_clear(&pair->repeated.rows[table]);
    }
    pair->whole = TABLES;
}

static void pair_step(Pair *pair) {
    uint64_t what = random_below(&pair->head->random, 100);
    if (what < 40 && pair->branch) {
        step(&pair->beside, (int)random_below(&pair->head->random, TABLES), 0);
    } else if (what < 75) {
        head_transaction(pair);
    } else if (what < 85 && pair->branch) {
        catch_up(pair);
    } else if (what < 90) {
        snapshot_step(pair);
    } else {
        checkpoint_step(pair);
    }
    if (what % 16 == 0) expect_sound(pair->head);
}

static void pair_end(Pair *pair) {
    for (size_t i = 0; i < KEPT; i++) {
        snapshot_release(&pair->kept[i].snapshot);
        forget(&pair->kept[i].rows);
    }
    if (pair->checkpoint) (void)store_checkpoint_end(pair->head->store, &pair->checkpoint);
}

// The newest checkpoint, if there is one, opens: every page it consists of is in the file as it was.
static void expect_opens_again(Pair *pair) {
    World *head = pair->head;
    Diag diag;
    bool done = false;
    EXPECT_OK(store_checkpoint_begin(head->store, 2, 1, &pair->checkpoint, &diag));
    while (!done)
        EXPECT_OK(store_checkpoint_write(pair->checkpoint, 1 << 20, &done, &diag));
    EXPECT_OK(store_checkpoint_end(head->store, &pair->checkpoint));
    store_close(&head->store);
    StoreOptions options = {.address_bytes = (uint64_t)1 << 30,
                            .io = sim_io(pair->sim),
                            .page_file = "pages",
                            .diag = &diag};
    EXPECT_OK(store_open(&options, &head->store));
    head->tables[PEOPLE] = store_table(head->store, 100);
    head->tables[NOTES] = store_table(head->store, 50);
    head->tables[SEATS] = store_table(head->store, 75);
    expect_sound(head);
    expect_same(head);
}

static void expect_agree(uint64_t seed, size_t memory_max, bool on_disk, int rounds) {
    Pair pair = {.whole = TABLES};
    StoreOptions options = {.address_bytes = (uint64_t)1 << 30};
    if (on_disk) {
        EXPECT_OK(sim_new(seed, &pair.sim));
        options.io = sim_io(pair.sim);
        options.page_file = "pages";
        options.memory_max = memory_max;
    }
    pair.head = world_open_with(&options, 64);
    pair.head->random = random_seeded("branch", seed);
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < STEPS / 4; i++)
            pair_step(&pair);
        branch_begin(&pair);
        for (int i = 0; i < STEPS; i++)
            pair_step(&pair);
        branch_end(&pair);
        if (on_disk && round % 4 == 3) {
            pair_end(&pair);
            expect_opens_again(&pair);
        }
    }
    pair_end(&pair);
    world_close(pair.head);
    if (pair.sim) sim_free(&pair.sim);
}

TEST(branch, adopted_beside_the_head_that_went_on_gives_what_both_did) {
    expect_agree(1, 0, false, 12);
    expect_agree(2, 0, false, 12);
}

TEST(branch, and_so_with_a_page_file_and_checkpoints) {
    expect_agree(3, 0, true, 8);
}

TEST(branch, and_so_with_less_memory_than_data) {
    expect_agree(4, (size_t)24 << 20, true, 8);
}

// ── refusals ───────────────────────────────────────────────────────────────────────────────────

TEST(branch, closed_without_being_adopted_leaves_nothing) {
    World *world = world_open(64, 0);
    Buf room = {0};
    StoreBranch *branch;
    Table *people;
    store_begin(world->store);
    for (uint64_t id = 0; id < 2000; id++)
        step_insert(world, PEOPLE, person(&room, id, 1, id, 10));
    store_commit(world->store);
    uint64_t used = store_stats(world->store).pages_used;
    EXPECT_OK(store_branch_open(world->store, &branch));
    EXPECT_OK(branch_table_add(branch, world->tables[PEOPLE], false, &people));
    for (uint64_t id = 0; id < 2000; id++)
        EXPECT_OK(table_replace(people, BY_ID, person(&room, id, 2, id, 40), NULL, NULL));
    EXPECT(store_stats(world->store).pages_used > used);
    expect_same(world);
    store_branch_close(&branch);
    EXPECT_EQ(store_stats(world->store).pages_used, used);
    expect_sound(world);
    expect_same(world);
    buf_deinit(&room);
    world_close(world);
}

TEST(branch, any_failed_allocation_leaves_everything_as_it_was) {
    for (int64_t n = 0;; n++) {
        World *world = world_open(64, 0);
        Buf room = {0};
        StoreBranch *branch = NULL;
        Table *people = NULL;
        store_begin(world->store);
        for (uint64_t id = 0; id < 300; id++)
            step_insert(world, PEOPLE, person(&room, id, 1, id, 10));
        store_commit(world->store);
        (void)person(&room, 0, 2, 0, 40);
        mem_fault_arm(n);
        Err err = store_branch_open(world->store, &branch);
        if (err == OK) err = branch_table_add(branch, world->tables[PEOPLE], false, &people);
        for (uint64_t id = 0; err == OK && id < 300; id++)
            err = table_replace(people, BY_ID, person(&room, id, 2, id, 40), NULL, NULL);
        store_begin(world->store);
        if (err == OK) err = store_branch_adopt(branch);
        bool failed = mem_fault_hit();
        mem_fault_arm(0);
        EXPECT(failed ? err == ERR_NOMEM || err == OK : err == OK);
        store_rollback(world->store);
        EXPECT(!mem_fault_hit());  // undoing does not allocate
        mem_fault_arm(-1);
        expect_sound(world);
        store_branch_close(&branch);
        expect_sound(world);
        expect_same(world);
        buf_deinit(&room);
        world_close(world);
        if (!failed) return;
    }
}

// ── two threads ────────────────────────────────────────────────────────────────────────────────

typedef struct Worker {
    World *world;
    StoreBranch *branch;
    Table *people;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    uint32_t wanted;
    Err answer;
    bool ended;
} Worker;

static Err ask(void *ctx, uint32_t pages) {
    Worker *worker = ctx;
    pthread_mutex_lock(&worker->mutex);
    worker->wanted = pages;
    while (worker->wanted)
        pthread_cond_wait(&worker->changed, &worker->mutex);
    Err answer = worker->answer;
    pthread_mutex_unlock(&worker->mutex);
    return answer;
}

static void *worker_run(void *ctx) {
    Worker *worker = ctx;
    Buf room = {0};
    for (uint64_t id = 0; id < 6000; id += 2) {
        EXPECT_OK(table_replace(worker->people, BY_ID, person(&room, id, 2, id, 60), NULL, NULL));
        if (id % 64 == 0) branch_breathe(worker->branch);
    }
    store_guard_lower();
    buf_deinit(&room);
    pthread_mutex_lock(&worker->mutex);
    worker->ended = true;
    pthread_mutex_unlock(&worker->mutex);
    return NULL;
}

static bool serve(Worker *worker) {
    pthread_mutex_lock(&worker->mutex);
    if (worker->wanted) {
        worker->answer = store_branch_lend(worker->branch, worker->wanted);
        worker->wanted = 0;
        pthread_cond_signal(&worker->changed);
    }
    bool ended = worker->ended;
    pthread_mutex_unlock(&worker->mutex);
    return ended;
}

TEST(branch, is_changed_by_a_thread_while_the_head_is_changed_by_its_owner) {
    World *world = world_open(64, 0);
    Worker worker = {.world = world};
    Buf room = {0};
    pthread_t thread;
    uint64_t done = 1;
    store_begin(world->store);
    for (uint64_t id = 0; id < 6000; id++)
        EXPECT_OK(table_insert(world->tables[PEOPLE], person(&room, id, 1, id, 20), NULL, NULL));
    store_commit(world->store);
    pthread_mutex_init(&worker.mutex, NULL);
    pthread_cond_init(&worker.changed, NULL);
    EXPECT_OK(store_branch_open(world->store, &worker.branch));
    EXPECT_OK(branch_table_add(worker.branch, world->tables[PEOPLE], false, &worker.people));
    branch_set_lender(worker.branch, ask, &worker);
    EXPECT(pthread_create(&thread, NULL, worker_run, &worker) == 0);
    while (!serve(&worker)) {
        store_begin(world->store);
        Bytes row = person(&room, done % 6000, 3, done % 6000, 0);
        EXPECT_OK(table_replace(world->tables[PEOPLE], BY_ID, row, NULL, NULL));
        store_commit(world->store);
        done += 2;
    }
    pthread_join(thread, NULL);
    branch_set_lender(worker.branch, NULL, NULL);
    for (uint64_t id = 1; id < done && id < 6000; id += 2)
        EXPECT_OK(table_replace(worker.people, BY_ID, person(&room, id, 3, id, 0), NULL, NULL));
    store_begin(world->store);
    EXPECT_OK(store_branch_adopt(worker.branch));
    store_commit(world->store);
    store_branch_close(&worker.branch);
    expect_sound(world);
    for (uint64_t id = 0; id < 6000; id++) {
        bool theirs = id % 2 == 0, ours = !theirs && id < done;
        uint32_t group = theirs ? 2 : ours ? 3 : 1;
        Bytes row = person(&room, id, group, id, theirs ? 60 : ours ? 0 : 20);
        EXPECT(table_contains(world->tables[PEOPLE], NULL, row));
    }
    pthread_cond_destroy(&worker.changed);
    pthread_mutex_destroy(&worker.mutex);
    buf_deinit(&room);
    world_close(world);
}

TEST_MAIN()
