// internal.h: inside src/sim only. What sim.c, disk.c and net.c know of each other.
#pragma once
#include "sim/sim.h"

typedef struct SimDisk SimDisk;
typedef struct SimNet SimNet;

struct Sim {
    Io io;
    uint64_t random;
    Micros wall;
    int64_t monotonic_ns;
    SimDisk *disk;
    SimNet *net;
};

// The simulator's own memory: taken past mem_fault_arm, so that an armed failure hits the code
// under test and never the world around it. Cannot fail. Freed with free().
void *sim_alloc(size_t bytes);  // zeroed
void *sim_grow(void *ptr, size_t bytes);
char *sim_text(const char *text);

uint64_t sim_random_next(uint64_t *state);  // splitmix64

SimDisk *sim_disk_new(void);
void sim_disk_free(SimDisk *disk);
void sim_disk_fill_io(Io *io);

SimNet *sim_net_new(void);
void sim_net_free(SimNet *net);
void sim_net_fill_io(Io *io);
