// run.c: the scheduler, and what has to be true whatever it chose.
//
//   draw a step ──> transaction on the head, a step of an overlay, of a snapshot's reader, of the
//        ▲          checkpoint; a flush; time passes; something breaks; the end comes
//        │                                   │
//        │                                   ▼ the power goes, the process dies, or it stops
//        └── compare everything <── open again
//
// ALWAYS TRUE, or the run fails
//   (1) Every answer of a transaction that committed is right at its commit, and every answer of an
//       overlay at its snapshot (txns.c): the order of commits explains it all.
//   (2) After an opening the tables hold the state of some commit, none before the last that was
//       flushed: `unsafe` has the states it may be.
//   (3) Nothing answers an error while nothing was broken.
//   (4) What is damaged is told with its place, or it is whole. One thing may be lost to rot, with
//       bytes reported as cut: the last batch of the log, which looks like one never finished.
//
// Everything runs in one thread, checkpoints included: a run is a function of its seed.
#include "tests/sim/run.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"

// ── telling ────────────────────────────────────────────────────────────────────────────────────

uint32_t run_draw(Run *run, uint32_t below) {
    run->random += 0x9e3779b97f4a7c15u;
    uint64_t z = run->random;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)((z ^ z >> 31) % below);
}

bool run_chance(Run *run, uint32_t one_in) {
    return run_draw(run, one_in) == 0;
}

void run_note(Run *run, const char *fmt, ...) {
    char line[400];
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    for (int i = 0; i < len && i < (int)sizeof line; i++)
        run->digest = run->digest * 1099511628211u ^ (uint8_t)line[i];
    if (run->trace) fprintf(stderr, "%4u  %s\n", run->step, line);
}

void run_fail(Run *run, const char *fmt, ...) {
    va_list args;
    fprintf(stderr, "# seed %llu, step %u: ", (unsigned long long)run->seed, run->step);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr,
            "\n# again, with all that happened: make sim SEED=%llu STEPS=%u TRACE=1\n",
            (unsigned long long)run->seed,
            run->steps_max);
    fflush(stderr);
    _exit(1);
}

void run_excuse(Run *run, Err err, const char *what, const Diag *diag) {
    const char *text = diag && diag->text[0] ? diag->text : err_text(err);
    if (!run->excused) run_fail(run, "%s failed and nothing was broken: %s", what, text);
    run_note(run, "  %s: %s: %s", what, err_name(err), text);
    run->tally.reported++;
}

// ── what may be found after the end ────────────────────────────────────────────────────────────

static void unsafe_drop_first(Run *run, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        mem_free(run->unsafe[i].state);
    run->unsafe_count -= count;
    memmove(run->unsafe, run->unsafe + count, run->unsafe_count * sizeof *run->unsafe);
}

static void unsafe_add(Run *run, uint64_t offset) {
    ASSERT(run->unsafe_count < UNSAFE_MAX);
    State *state = mem_alloc(sizeof *state);
    ASSERT(state);
    model_copy(state, run->head);
    run->unsafe[run->unsafe_count++] = (Unsafe){offset, state};
}

// A commit that wrote nothing but where a sequence stands moves the log and not the state.
void run_advanced(Run *run) {
    uint64_t end = log_end(db_log(run->db)).v;
    const Unsafe *last = &run->unsafe[run->unsafe_count - 1];
    if (end > last->offset + 1) run_fail(run, "one commit took more than one offset");
    if (end > last->offset) unsafe_add(run, end);
}

// Some that are older than what is safe are kept, see (4).
static void unsafe_forget(Run *run) {
    if (run->unsafe_count > UNFLUSHED_MAX + KEPT_MAX)
        unsafe_drop_first(run, run->unsafe_count - UNFLUSHED_MAX - KEPT_MAX);
}

static void safety_look(Run *run) {
    run->safe = MAX(run->safe, log_durable_end(db_log(run->db)).v);
    unsafe_forget(run);
}

static const Unsafe *unsafe_at(const Run *run, uint64_t offset) {
    for (uint32_t i = 0; i < run->unsafe_count; i++) {
        if (run->unsafe[i].offset == offset) return &run->unsafe[i];
    }
    return NULL;
}

static void close_count(Run *run) {
    DbCheckpointStats stats;
    db_checkpoint_stats(run->db, &stats);
    run->tally.checkpoints += stats.done;
    run->tally.evictions += store_stats(db_store(run->db)).pages_evicted;
    db_close(&run->db);
}

// ── opening ────────────────────────────────────────────────────────────────────────────────────

static Err try_open(Run *run, Diag *diag) {
    diag_clear(diag);
    Err err = db_open(&run->options, &run->db, &run->torn, diag);
    run_note(run, "open: %s %s", err_name(err), err == OK ? "" : diag->text);
    return err;
}

// Damage is told with a place: a file, and a byte, page or offset in it.
static void expect_place(Run *run, Err err, const Diag *diag) {
    if (err != ERR_CORRUPT) return;
    bool file = strstr(diag->text, "db") || strstr(diag->text, "page");
    if (!file || strcspn(diag->text, "0123456789") == strlen(diag->text))
        run_fail(run, "damage without a place: %s", diag->text);
}

// Looking only: the durable state and nothing else, and no file is touched. Then it is closed again.
static void look_only(Run *run) {
    Diag diag;
    DbOptions options = run->options;
    options.read_only = ERR_DISK_FULL;
    options.end.v = run->safe;
    uint64_t writes = sim_disk_count(run->sim, SIM_WRITE), torn;
    diag_clear(&diag);
    Err err = db_open(&options, &run->db, &torn, &diag);
    run_note(run, "open to look: %s %s", err_name(err), err == OK ? "" : diag.text);
    if (err == OK) {
        State *head = run->head;
        run->head = unsafe_at(run, run->safe)->state;
        txns_check_all(run);
        txns_refused(run);
        txns_check_all(run);
        run->head = head;
        close_count(run);
    } else {
        expect_place(run, err, &diag);
        run_excuse(run, err, "looking", &diag);
    }
    if (sim_disk_count(run->sim, SIM_WRITE) != writes) run_fail(run, "looking has written");
}

static void open_again(Run *run) {
    Diag diag;
    bool mended = !run_chance(run, 3);
    if (mended) faults_mend(run);
    Err err = try_open(run, &diag);
    if (err != OK && (mended || !run->excused))
        run_fail(run, "it does not open again: %s", diag.text);
    if (err != OK) {
        run->tally.reported++;
        expect_place(run, err, &diag);
        if (sim_disk_is_off(run->sim)) sim_disk_reboot(run->sim, run->random);
        faults_mend(run);
        mended = true;
        if (try_open(run, &diag) != OK)
            run_fail(run, "an opening that failed has spoilt it: %s", diag.text);
    }
    run->excused = !mended;
}

static void found_check(Run *run) {
    uint64_t found = log_end(db_log(run->db)).v;
    const Unsafe *state = unsafe_at(run, found);
    bool cut = run->log_rotten && run->torn > 0;
    if (!state || (found < run->safe && !cut))
        run_fail(run,
                 "commits below %llu were safe; %llu were found",
                 (unsigned long long)run->safe,
                 (unsigned long long)found);
    run->tally.lost += run->unsafe[run->unsafe_count - 1].offset - found;
    model_copy(run->head, state->state);
    while (run->unsafe[run->unsafe_count - 1].offset > found)
        mem_free(run->unsafe[--run->unsafe_count].state);
    run->safe = found;
    run_note(run, "%llu commits are there", (unsigned long long)found);
    txns_check_all(run);
    Diag diag = {0};
    Err err = run->excused ? OK : store_check(db_store(run->db), &diag);
    if (err != OK) run_fail(run, "the tables do not agree with themselves: %s", diag.text);
}

static void stop(Run *run) {
    Diag diag = {0};
    Err err = db_checkpoint_now(run->db, &diag);
    run_note(run, "stop: %s", err_name(err));
    if (err != OK) run_excuse(run, err, "the last checkpoint", &diag);
}

static void reopen(Run *run) {
    uint32_t how = run_draw(run, 4);
    run->tally.reopens++;
    txns_abandon_all(run);
    if (how == 0 && !sim_disk_is_off(run->sim)) stop(run);
    safety_look(run);
    close_count(run);
    if (how >= 2 || sim_disk_is_off(run->sim)) {
        run->tally.power_cuts++;
        run_note(run, "the power is gone");
        sim_disk_reboot(run->sim, run->random);
    } else {
        run_note(run, "the process is gone");
    }
    if (run_chance(run, 2)) look_only(run);
    open_again(run);
    found_check(run);
}

// ── steps ──────────────────────────────────────────────────────────────────────────────────────

// At once, or beside what comes next; then some other step finds that it has landed.
static void flush(Run *run) {
    Diag diag = {0};
    Err err;
    if (db_flush_in_flight(run->db)) {
        err = db_flush_poll(run->db, run_chance(run, 4), &diag);
        run_note(run, "flush asked: %s", err_name(err));
    } else if (run_chance(run, 2)) {
        err = db_flush_start(run->db, &diag);
        run_note(run, "flush started: %s", err_name(err));
    } else {
        err = db_flush(run->db, &diag);
        run_note(run, "flush: %s", err_name(err));
    }
    if (err != OK) run_excuse(run, err, "a flush", &diag);
}

static void checkpoint(Run *run) {
    Diag diag = {0};
    if (!run->options.page_file) return;
    if (!db_checkpoint_running(run->db) && run_chance(run, 4)) {
        Err err = db_checkpoint_begin(run->db, &diag);
        run_note(run, "checkpoint begun: %s", err_name(err));
        if (err != OK) run_excuse(run, err, "the begin of a checkpoint", &diag);
        return;
    }
    size_t bytes = run_chance(run, 3) ? 1u << 30 : 1 + run_draw(run, 60000);
    run_note(run, "checkpoint written on, %zu", bytes);
    db_checkpoint_step(run->db, bytes);
    if (run_chance(run, 2)) db_checkpoint_tick(run->db);
}

static void clock_moves(Run *run) {
    Sim *sim = run->sim;
    const Io *io = sim_io(sim);
    int64_t us = (int64_t)run_draw(run, 60) * 1000 * 1000;
    if (run_chance(run, 4)) {
        int64_t far = us * (run_chance(run, 2) ? 100000 : -100000);
        run_note(run, "somebody sets the clock by %lld us", (long long)far);
        sim_clock_set_wall(sim, io->clock_wall(io->world) + far);
    } else {
        run_note(run, "%lld us pass", (long long)us);
        sim_clock_advance(sim, us);
    }
}

static void step(Run *run) {
    bool stopped = sim_disk_is_off(run->sim) || log_failed(db_log(run->db)) != OK;
    bool crowded = log_end(db_log(run->db)).v - run->safe > UNFLUSHED_MAX - 8;
    if (stopped && run_chance(run, 3)) {
        reopen(run);
        return;
    }
    if (crowded) {
        stopped ? reopen(run) : flush(run);
        if (!stopped) flush(run);
        return;
    }
    if (run->calm_max && run_chance(run, run->calm_max)) {
        faults_arm(run);
        return;
    }
    switch (run_draw(run, 32)) {
    case 0 ... 6: txns_head(run); break;
    case 7 ... 17: txns_overlay_step(run); break;
    case 18 ... 20: txns_snapshot_step(run); break;
    case 21 ... 24: flush(run); break;
    case 25 ... 27: checkpoint(run); break;
    case 28: clock_moves(run); break;
    case 29:
        run_note(run, "breathe");
        store_breathe(db_store(run->db));
        break;
    case 30:
        if (run_chance(run, 6)) reopen(run);
        break;
    default:
        if (run_chance(run, 3)) txns_check_all(run);
        if (run->excused && run_chance(run, 3)) faults_mend(run);
        break;
    }
}

// ── a whole run ────────────────────────────────────────────────────────────────────────────────

static void begin(Run *run) {
    static const uint32_t segments[] = {4096, 16384, 65536};
    static const uint32_t calms[] = {0, 10, 40, 150};
    ASSERT(sim_new(run->seed, &run->sim) == OK);
    testdef_init(&run->def);
    run->calm_max = calms[run_draw(run, ARRAY_LEN(calms))];
    run->options = (DbOptions){
        .io = sim_io(run->sim),
        .dir = "db",
        .page_file = run_chance(run, 8) ? NULL : "pages",
        .segment_bytes = segments[run_draw(run, ARRAY_LEN(segments))],
        .log_large_bytes = run_chance(run, 2) ? 1 + run_draw(run, 2000) : 0,
        .history_max = run_chance(run, 4) ? 3000 : 0,
        .checkpoint_bytes = 2000 + run_draw(run, 40000),
        .checkpoint_by_hand = true,
        .log_keep = {.bytes = run_chance(run, 4) ? 30000 : 0,
                     .us = run_chance(run, 4) ? 100 * 1000 * 1000 : 0},
    };
    if (run->options.page_file && !run_chance(run, 3))
        run->options.memory_max = (size_t)(60 + run_draw(run, 400)) << 10;
    if (run_chance(run, 3)) sim_disk_set_latency(run->sim, 20000);
    run->head = MEM_NEW(State);
    ASSERT(run->head);
    Diag diag;
    if (try_open(run, &diag) != OK) run_fail(run, "it does not open: %s", diag.text);
    if (testdef_create(run->db, &run->def) != OK) run_fail(run, "no schema");
    run->safe = log_durable_end(db_log(run->db)).v;
    unsafe_add(run, run->safe);
}

// The newest meta page goes bad: what is then still there is opened, or the damage is told.
static void spoil_meta(Run *run) {
    Diag diag;
    uint64_t at = (store_checkpoints(db_store(run->db)) % 2) * 8192 + run_draw(run, 64);
    txns_abandon_all(run);
    close_count(run);
    faults_mend(run);
    if (sim_disk_is_off(run->sim)) sim_disk_reboot(run->sim, run->random);
    if (sim_disk_flip(run->sim, "pages", at, 4) != OK) return;
    run->excused = true;
    run_note(run, "the newest meta page is spoilt");
    Err err = try_open(run, &diag);
    if (err == OK) {
        run->tally.reported++;
        txns_check_all(run);
        return;
    }
    expect_place(run, err, &diag);
    ASSERT(sim_disk_flip(run->sim, "pages", at, 4) == OK);
    if (try_open(run, &diag) != OK)
        run_fail(run, "an opening that failed has spoilt it: %s", diag.text);
}

static void end(Run *run) {
    if (run->db && log_failed(db_log(run->db)) == OK && !sim_disk_is_off(run->sim)) {
        faults_mend(run);
        txns_check_all(run);
    }
    reopen(run);
    if (run->options.page_file && run_chance(run, 4)) spoil_meta(run);
    if (run->db) close_count(run);
    unsafe_drop_first(run, run->unsafe_count);
    mem_free(run->head);
    testdef_deinit(&run->def);
    sim_free(&run->sim);
}

static void tally_add(Tally *to, const Tally *from) {
    uint64_t *sum = (uint64_t *)to;
    const uint64_t *more = (const uint64_t *)from;
    for (size_t i = 0; i < sizeof *to / sizeof *sum; i++)
        sum[i] += more[i];
}

void run_seed(uint64_t seed, uint32_t steps_max, bool trace, Tally *tally, uint64_t *digest) {
    static Run run;
    run = (Run){.seed = seed, .random = seed, .steps_max = steps_max, .trace = trace};
    begin(&run);
    for (run.step = 1; run.step <= steps_max; run.step++) {
        step(&run);
        safety_look(&run);
    }
    end(&run);
    run.tally.runs = 1;
    run.tally.steps = steps_max;
    tally_add(tally, &run.tally);
    *digest = run.digest;
}
