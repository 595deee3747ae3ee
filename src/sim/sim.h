// sim.h: the world of io.h, simulated, so that the rare happens on command.
//
//   Sim *sim = NULL;
//   EXPECT_OK(sim_new(seed, &sim));
//   sim_disk_cut_at(sim, SIM_WRITE, n);      // the n-th write from now is the last thing it does
//   … run the code under test over sim_io(sim) until it reports ERR_IO …
//   sim_disk_reboot(sim, seed);              // what was not synced is lost, kept or torn
//   … open again, and compare with what was acknowledged …
//   sim_free(&sim);
//
// Everything is decided by seeds: the same seed gives the same run. One Sim is used from one
// thread, except that net_wake may come from any. Nothing ever blocks: net_poll returns at once.
//
// WHAT THE DISK PROMISES (and nothing beyond it)
//   A file's bytes and size survive from file_sync on, its name from dir_sync of its directory on;
//   removing and renaming are names too. Directories survive when dir_make returns.
// WHAT IT DOES ON A POWER LOSS
//   Each write or change of size since the last sync is, by seed: lost, kept, or torn: kept in
//   some of its 512-byte sectors and not in others (lost sectors of new space read as zeros).
//   Of each directory's unsynced name changes a first part, by seed, is kept. Locks are gone, open
//   files are dead (every use is ERR_IO; close them).
// WHAT A FAILED CALL LEAVES
//   A failed write has written a part, by seed. A failed sync has thrown its dirty bytes away, by
//   seed, as Linux does: a second sync that succeeds does not bring them back.
#pragma once
#include "os/io.h"

typedef struct Sim Sim;

MUST_USE Err sim_new(uint64_t seed, Sim **out);
void sim_free(Sim **sim);
const Io *sim_io(Sim *sim);  // lives as long as the Sim
uint64_t sim_random(Sim *sim);

// Disk. Writes: file_write, file_truncate, file_preallocate, file_remove, file_rename, and
// file_open where it makes or empties a file. Syncs: file_sync, dir_sync, and dir_make for each
// directory that it makes.
// Reads: file_read, and file_read_now where it does read.
typedef enum SimOp { SIM_WRITE, SIM_SYNC, SIM_READ } SimOp;
enum { SIM_OPS = SIM_READ + 1 };

uint64_t sim_disk_count(const Sim *sim, SimOp op);  // calls since sim_new
// Cut the power in the nth such call from now (0: the next). It and all later file calls fail with
// ERR_IO until the reboot. A cut write may have reached the disk, like any unsynced one.
void sim_disk_cut_at(Sim *sim, SimOp op, uint64_t nth);
// Fail the nth such call from now with `err`; the calls after it work again.
void sim_disk_fail_at(Sim *sim, SimOp op, uint64_t nth, Err err);
// From now on at most this many bytes of file sizes in all; beyond: ERR_DISK_FULL. UINT64_MAX: off.
void sim_disk_limit(Sim *sim, uint64_t bytes_max);
// Every counted call takes up to so much of the simulated time. 0: none, as at first.
void sim_disk_set_latency(Sim *sim, int64_t us_max);
// A sync in flight (sync_start) ends after its owner has asked at most so many times in vain, by seed
// (at first 3; 0: with the first question). It takes effect, and counts as a SIM_SYNC, when it ends.
// Nobody is woken: in here nobody sleeps.
void sim_disk_delay(Sim *sim, uint64_t asks_max);
// One in so many reads that must not wait (file_read_now) would have to, by seed. 0: none, as at first;
// 1: all of them.
void sim_disk_set_cold(Sim *sim, uint64_t one_in);
bool sim_disk_is_off(const Sim *sim);
uint64_t sim_disk_used(const Sim *sim);  // bytes of file sizes
void sim_disk_disarm(Sim *sim);          // forget cuts and failures to come
// Lose power now, if it is not lost already, and start again. Armed faults are cleared.
void sim_disk_reboot(Sim *sim, uint64_t seed);
// Spoil a stored file behind everybody's back, as a dying disk does. Survives reboots.
//   ERR_NOT_FOUND  no such file
//   ERR_INVALID    beyond its end
MUST_USE Err sim_disk_flip(Sim *sim, const char *path, uint64_t offset, uint8_t xor_mask);
// The same of a medium that forgets rather than of bytes that change: the byte reads wrongly until
// somebody writes it again, or until all such places are healed. Errors as above.
MUST_USE Err sim_disk_rot(Sim *sim, const char *path, uint64_t offset, uint8_t xor_mask);
uint64_t sim_disk_rotten(const Sim *sim);  // places that read wrongly now
void sim_disk_heal(Sim *sim);

// Clock. Starts at 2026-01-01T00:00:00Z and moves only when told.
void sim_clock_advance(Sim *sim, int64_t us);    // time passes
void sim_clock_set_wall(Sim *sim, Micros wall);  // somebody sets the clock; monotonic time stays

// Network: stream sockets inside this Sim. The test plays the peer: it connects, then uses net_read,
// net_write and net_close of sim_io() on its own end.
//   ERR_NOT_FOUND  nobody listens on that port
MUST_USE Err sim_net_connect(Sim *sim, uint16_t port, int *out);
// Bytes one direction holds before its writer gets ERR_AGAIN (at first 64 KiB).
void sim_net_set_capacity(Sim *sim, size_t bytes);
// Reads and writes take a random part of what they could (off at first).
void sim_net_set_partial(Sim *sim, bool partial);
// The connection breaks: unread bytes are lost, both ends get ERR_CLOSED.
void sim_net_cut(Sim *sim, int socket);
