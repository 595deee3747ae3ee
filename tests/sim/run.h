// run.h: one life of a database, from a seed: a disk that fails, and every order of events that the
// scheduler can think of. START AT run.c.
#pragma once
#include "sim/sim.h"
#include "tests/sim/model.h"
#include "txn/def_testing.h"
#include "txn/overlay.h"

enum {
    RUNNING_MAX = 4,
    SNAPSHOTS_MAX = 3,
    OPS_MAX = 10,
    UNSAFE_MAX = 128,
    UNFLUSHED_MAX = 50,
    KEPT_MAX = 60
};

typedef struct Running {  // an overlay
    Overlay *overlay;     // NULL: none
    State *seen;          // the model at its snapshot
    Op ops[OPS_MAX];
    uint32_t op_count;
    bool is_ready;  // made ready: it is only to be ended
} Running;

typedef struct Looking {  // a snapshot's reader
    Snapshot *snapshot;   // NULL: none
    State *seen;
} Looking;

typedef struct Unsafe {  // what the tables hold when the log ends at an offset
    uint64_t offset;
    State *state;
} Unsafe;

typedef struct Tally {
    uint64_t runs, steps, commits, conflicts, reads, reopens, power_cuts, faults, checkpoints;
    uint64_t reported, evictions,
        lost;  // damage told; pages out of memory; commits nobody was told of
} Tally;

typedef struct Run {
    uint64_t seed, random;
    uint32_t steps_max, step;
    bool trace;
    uint64_t digest;  // of all that happened: the same seed gives the same
    Sim *sim;
    Db *db;
    TestDef def;
    DbOptions options;

    State *head;                // what the database should hold now
    uint64_t safe;              // commits below it must never be missing
    Unsafe unsafe[UNSAFE_MAX];  // ascending
    uint32_t unsafe_count;
    uint64_t torn;  // bytes cut off the log by the last opening

    Running running[RUNNING_MAX];
    Looking looking[SNAPSHOTS_MAX];
    uint32_t calm_max;  // how rarely something breaks: one step in so many; 0: never
    bool excused;       // something was broken since the last opening: errors may be answered
    bool log_rotten;    // in particular the log
    uint32_t names;     // texts given out
    Tally tally;
} Run;

// Runs it, ends the process with the reason when something is not as it should be.
void run_seed(uint64_t seed, uint32_t steps_max, bool trace, Tally *tally, uint64_t *digest);

// ── for the parts of a run ─────────────────────────────────────────────────────────────────────

uint32_t run_draw(Run *run, uint32_t below);
bool run_chance(Run *run, uint32_t one_in);
void run_note(Run *run, const char *fmt, ...) PRINTF_LIKE(2, 3);  // what happens, for a trace
_Noreturn void run_fail(Run *run, const char *fmt, ...) PRINTF_LIKE(2, 3);
// An error that is only right when something was broken.
void run_excuse(Run *run, Err err, const char *what, const Diag *diag);
void run_advanced(Run *run);  // the head or the log's end moved: keep the state for this offset

// txns.c: transactions, and checking their answers.
void txns_head(Run *run);
void txns_overlay_step(Run *run);
void txns_overlay_end(Run *run, uint32_t which, bool commit);
void txns_refused(Run *run);  // on the head, of a database that may only be looked at
void txns_snapshot_step(Run *run);
void txns_abandon_all(Run *run);  // before the database is closed
void txns_check_all(Run *run);    // the head holds what the model holds

// faults.c: what goes wrong.
void faults_arm(Run *run);
void faults_mend(Run *run);
