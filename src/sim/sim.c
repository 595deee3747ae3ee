// sim.c: one simulated world: its randomness, its clock, and the table over disk.c and net.c.
#include <stdlib.h>

#include "base/mem.h"
#include "sim/internal.h"

void *sim_alloc(size_t bytes) {
    void *ptr = calloc(1, bytes ? bytes : 1);
    ASSERT(ptr);
    return ptr;
}

void *sim_grow(void *ptr, size_t bytes) {
    ptr = realloc(ptr, bytes ? bytes : 1);
    ASSERT(ptr);
    return ptr;
}

char *sim_text(const char *text) {
    size_t size = strlen(text) + 1;
    return memcpy(sim_alloc(size), text, size);
}

uint64_t sim_random_next(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

uint64_t sim_random(Sim *sim) {
    return sim_random_next(&sim->random);
}

static Micros clock_wall(void *world) {
    return ((Sim *)world)->wall;
}

static int64_t clock_monotonic_ns(void *world) {
    return ((Sim *)world)->monotonic_ns;
}

void sim_clock_advance(Sim *sim, int64_t us) {
    ASSERT(us >= 0);
    sim->wall += us;
    sim->monotonic_ns += us * 1000;
}

void sim_clock_set_wall(Sim *sim, Micros wall) {
    sim->wall = wall;
}

static void random_bytes(void *world, void *into, size_t len) {
    uint8_t *p = into;
    for (size_t i = 0; i < len; i++) {
        p[i] = (uint8_t)sim_random(world);
    }
}

Err sim_new(uint64_t seed, Sim **out) {
    Sim *sim = sim_alloc(sizeof *sim);
    *sim = (Sim){
        .random = seed,
        .wall = 1767225600000000,    // 2026-01-01T00:00:00Z
        .monotonic_ns = 1000000000,  // not 0: nobody may take 0 for "never"
        .disk = sim_disk_new(),
        .net = sim_net_new(),
    };
    sim->io = (Io){
        .world = sim,
        .clock_wall = clock_wall,
        .clock_monotonic_ns = clock_monotonic_ns,
        .random_bytes = random_bytes,
    };
    sim_disk_fill_io(&sim->io);
    sim_net_fill_io(&sim->io);
    *out = sim;
    return OK;
}

void sim_free(Sim **sim) {
    if (!*sim) return;
    sim_disk_free((*sim)->disk);
    sim_net_free((*sim)->net);
    free(*sim);
    *sim = NULL;
}

const Io *sim_io(Sim *sim) {
    return &sim->io;
}
