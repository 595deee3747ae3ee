// faults.c: what goes wrong in a run. Each fault is armed for a moment that comes, or does not come,
// some calls later.
#include "tests/sim/run.h"

#include <stdio.h>

typedef struct Pick {
    Run *run;
    uint32_t count;
    char name[64];
} Pick;

// One of them all, any with the same chance.
static Err name_pick(void *ctx, const char *name) {
    Pick *pick = ctx;
    if (strcmp(name, "LOCK") == 0) return OK;
    pick->count++;
    if (run_chance(pick->run, pick->count)) snprintf(pick->name, sizeof pick->name, "%s", name);
    return OK;
}

static uint64_t size_of(Run *run, const char *path) {
    const Io *io = sim_io(run->sim);
    IoFile *file = NULL;
    uint64_t size = 0;
    if (io->file_open(io->world, path, IO_READ, &file) != OK) return 0;
    (void)!io->file_size(io->world, file, &size);
    io->file_close(io->world, &file);
    return size;
}

// A byte of a log segment or of a page. Meta pages are spoiled by run.c, at the end.
static void rot(Run *run) {
    Pick pick = {.run = run};
    const Io *io = sim_io(run->sim);
    char path[IO_PATH_MAX] = "pages";
    uint64_t from = 2 * 8192;
    // A log of one batch may lose all it has, and the schema with it: nothing to go on with.
    bool log = run_chance(run, 2) && run->safe > 1;
    if (log) {
        if (io->dir_list(io->world, "db", name_pick, &pick) != OK || !pick.count) return;
        snprintf(path, sizeof path, "db/%s", pick.name);
        from = 0;
    }
    uint64_t size = size_of(run, path);
    if (size <= from) return;
    uint64_t at = from + run_draw(run, (uint32_t)(size - from));
    if (log && run_chance(run, 2)) at = run_draw(run, (uint32_t)MIN(size, 2000u));
    uint8_t mask = (uint8_t)(1u << run_draw(run, 8));
    Err err = sim_disk_rot(run->sim, path, at, mask);
    run->log_rotten |= log;
    run_note(run, "rot: %s at %llu: %s", path, (unsigned long long)at, err_name(err));
}

void faults_arm(Run *run) {
    Sim *sim = run->sim;
    uint32_t nth = run_draw(run, run_chance(run, 2) ? 4 : 40);
    run->excused = true;
    run->tally.faults++;
    switch (run_draw(run, 8)) {
    case 0:
        run_note(run, "power cut in write %u", nth);
        sim_disk_cut_at(sim, SIM_WRITE, nth);
        break;
    case 1:
        run_note(run, "power cut in sync %u", nth);
        sim_disk_cut_at(sim, SIM_SYNC, nth);
        break;
    case 2: {
        Err err = run_chance(run, 2) ? ERR_IO : ERR_DISK_FULL;
        run_note(run, "write %u will be %s", nth, err_name(err));
        sim_disk_fail_at(sim, SIM_WRITE, nth, err);
        break;
    }
    case 3:
        run_note(run, "sync %u will fail", nth);
        sim_disk_fail_at(sim, SIM_SYNC, nth, ERR_IO);
        break;
    case 4:
        run_note(run, "read %u will fail", nth);
        sim_disk_fail_at(sim, SIM_READ, nth, ERR_IO);
        break;
    case 5: {
        uint64_t bytes = sim_disk_used(sim) + run_draw(run, 60000);
        run_note(run, "the disk ends at %llu", (unsigned long long)bytes);
        sim_disk_limit(sim, bytes);
        break;
    }
    default: rot(run); break;
    }
}

void faults_mend(Run *run) {
    run_note(run, "mended, %llu places were rotten", (unsigned long long)sim_disk_rotten(run->sim));
    sim_disk_limit(run->sim, UINT64_MAX);
    sim_disk_disarm(run->sim);
    sim_disk_heal(run->sim);
    run->log_rotten = false;
}
