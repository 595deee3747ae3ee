// recover.h: inside src/log only. Reading the log back.
#pragma once
#include "log/segment.h"

// What the segments say, once all have been read. Nothing on the disk has been changed.
typedef struct Recovered {
    uint64_t next_offset;
    uint64_t epoch;  // the highest seen
    uint32_t chain;  // crc of the last batch
    uint64_t bytes;  // sizes of all files, without the one to be dropped
    bool has_last;   // there is a segment to go on with
    uint64_t last;   // its first offset, which names it
    uint64_t salt;   // of it
    uint64_t end;    // where its last whole frame ends
    uint64_t torn_bytes;
    bool has_dropped;  // the newest file was never finished being made: remove it
    uint64_t dropped;  // its first offset
} Recovered;

// Verify every segment in `dir` and give each commit to `replay` (NULL: only verify).
//   ERR_CORRUPT  damage that no power loss explains; file and offset in diag
MUST_USE Err
log_recover(const Io *io, const char *dir, LogReplay replay, void *ctx, Recovered *out, Diag *diag);
