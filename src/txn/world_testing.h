// world_testing.h: for tests only: a database with the tables of def_testing.h on a simulated disk. Nothing in
// here may fail.
#pragma once
#include "sim/sim.h"
#include "txn/def_testing.h"

typedef struct World {
    Sim *sim;
    Db *db;
    TestDef def;
} World;

// Open what is on the disk; `options` but for the disk itself.
static inline void world_open(World *w, DbOptions options) {
    uint64_t torn;
    Diag diag = {0};
    options.io = sim_io(w->sim);
    options.dir = "db";
    ASSERT(db_open(&options, &w->db, &torn, &diag) == OK);
}

static inline void world_init(World *w, DbOptions options) {
    *w = (World){0};
    ASSERT(sim_new(1, &w->sim) == OK);
    testdef_init(&w->def);
    world_open(w, options);
    ASSERT(testdef_create(w->db, &w->def) == OK);
}

static inline void world_deinit(World *w) {
    db_close(&w->db);
    testdef_deinit(&w->def);
    sim_free(&w->sim);
}
