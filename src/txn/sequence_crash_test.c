// Auto-increment under everything that may happen to it: draws on the head and on overlays that live
// side by side, commits, rollbacks, conflicts, blocks given back, power losses, checkpoints. What a
// durable commit has used never comes again (module-abi §5.10).
#include "base/mem.h"
#include "base/test.h"
#include "sim/sim.h"
#include "txn/bulk_testing.h"
#include "txn/def_testing.h"
#include "txn/overlay.h"

#define RUNS         60
#define STEPS        250
#define OVERLAYS_MAX 4
#define DRAWS_MAX    40

typedef struct Run {
    Sim *sim;
    Db *db;
    TestDef def;
    uint64_t seed, state;
    Overlay *overlays[OVERLAYS_MAX];
    uint32_t code;  // unique in every row
} Run;

static uint64_t pick(Run *run, uint64_t below) {
    run->state = run->state * 6364136223846793005u + 1442695040888963407u;
    return (run->state >> 33) % below;
}

static void expect(const Run *run, bool holds, const char *what) {
    if (holds) return;
    print_error("seed %llu: %s\n", (unsigned long long)run->seed, what);
    fail();
}

static const CommitInfo info = {.timestamp = 1, .name = {"draw", 4}};

static void open_db(Run *run) {
    uint64_t torn;
    Diag diag = {0};
    DbOptions options = {.io = sim_io(run->sim),
                         .dir = "db",
                         .page_file = "pages",
                         .segment_bytes = 64 << 10,
                         .checkpoint_by_hand = true};
    Err err = db_open(&options, &run->db, &torn, &diag);
    if (err != OK) print_error("seed %llu: %s\n", (unsigned long long)run->seed, diag.text);
    EXPECT_OK(err);
}

// Rows with values of the sequence. In a key of its own each: a value that comes again is refused.
static void draw(Run *run, Access *access, uint64_t count) {
    uint32_t table = testdef_table(run->db, TEST_ITEM)->table_id;
    for (uint64_t i = 0; i < count; i++) {
        Buf row = {0}, generated = {0};
        testdef_item(&row, 0, "x", 1, ++run->code);
        AbiErrno status = access->ops->insert(access, table, buf_bytes(&row), &generated);
        expect(run, status != ABI_UNIQUE_ALREADY_EXISTS, "a value came again");
        expect(run, status == ABI_OK, "an insert failed");
        buf_deinit(&row);
        buf_deinit(&generated);
    }
}

static void finish(Run *run, bool keep) {
    const WriteSet *writes;
    bool changed;
    if (keep) {
        EXPECT_OK(db_commit(run->db, &writes, &changed));
    } else {
        db_rollback(run->db);
    }
}

static void head_step(Run *run) {
    db_begin(run->db, &info);
    draw(run, db_access(run->db), pick(run, DRAWS_MAX));
    finish(run, pick(run, 4) != 0);
}

static void overlay_step(Run *run) {
    Overlay **slot = &run->overlays[pick(run, OVERLAYS_MAX)];
    if (!*slot) {
        OverlayEnv env = {.ctx = run->db, .reserve = reserve_here, .prepare = bulk_here()};
        EXPECT_OK(overlay_new(run->db, &info, &env, slot));
    }
    switch (pick(run, 5)) {
    case 0: overlay_free(slot); return;  // what a cancelled or a stale one does
    case 1: {
        Diag diag = {0};
        Err err = pick(run, 2) ? overlay_prepare(*slot) : OK;
        if (err == OK) err = overlay_apply(*slot, &diag);
        expect(run, err == OK || err == ERR_CONFLICT, "an overlay could not be applied");
        // As the slow lane does: freed while its transaction is open.
        overlay_free(slot);
        if (err == OK) finish(run, pick(run, 4) != 0);
        return;
    }
    default: draw(run, overlay_access(*slot), pick(run, DRAWS_MAX));
    }
}

static void overlays_free(Run *run) {
    for (int i = 0; i < OVERLAYS_MAX; i++) {
        overlay_free(&run->overlays[i]);
    }
}

static void crash_step(Run *run) {
    bool loses_power = pick(run, 2);
    overlays_free(run);
    db_close(&run->db);
    if (loses_power) sim_disk_reboot(run->sim, pick(run, UINT32_MAX));
    open_db(run);
}

static void checkpoint_step(Run *run) {
    Diag diag = {0};
    if (db_checkpoint_running(run->db)) {
        db_checkpoint_step(run->db, 1 << 20);
        db_checkpoint_tick(run->db);
    } else {
        EXPECT_OK(db_flush(run->db, &diag));
        EXPECT_OK(db_checkpoint_begin(run->db, &diag));
    }
}

static void step(Run *run) {
    switch (pick(run, 40)) {
    case 0: crash_step(run); return;
    case 1:
    case 2: checkpoint_step(run); return;
    case 3:
    case 4:
    case 5: EXPECT_OK(db_flush(run->db, NULL)); return;
    default: pick(run, 2) ? head_step(run) : overlay_step(run); return;
    }
}

TEST(sequence, hands_out_nothing_twice_whatever_happens) {
    for (uint64_t seed = 1; seed <= RUNS; seed++) {
        Run run = {.seed = seed, .state = seed};
        EXPECT_OK(sim_new(seed, &run.sim));
        testdef_init(&run.def);
        open_db(&run);
        EXPECT_OK(testdef_create(run.db, &run.def));
        for (int i = 0; i < STEPS; i++) {
            step(&run);
        }
        overlays_free(&run);
        db_close(&run.db);
        testdef_deinit(&run.def);
        sim_free(&run.sim);
    }
}

TEST_MAIN()
