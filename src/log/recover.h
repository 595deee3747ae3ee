// recover.h: inside src/log only. Reading the log back.
#pragma once
#include "log/segment.h"

typedef struct SegmentFile {
    uint64_t first_offset;
    uint64_t bytes;
} SegmentFile;

typedef struct OffsetList {
    uint64_t *list;  // mem_free
    size_t count, cap;
} OffsetList;
// The first offsets of the segments in a directory, ascending, as their names say.
MUST_USE Err segments_list(const Io *io, const char *dir, OffsetList *out);

// What the segments say, once all have been read. Nothing on the disk has been changed.
struct Recovered {
    uint64_t next_offset;
    uint64_t epoch;       // the highest seen
    uint32_t chain;       // crc of the last batch
    uint64_t bytes;       // sizes of all files, without the one to be dropped
    bool has_last;        // there is a segment to go on with
    uint64_t last;        // its first offset, which names it
    uint64_t salt;        // of it
    uint64_t last_frame;  // where its last whole frame begins; 0: it has none
    uint64_t end;         // where that one ends
    uint64_t torn_bytes;
    uint64_t replayed_operations;
    uint64_t replayed_bytes;  // of commits given to replay
    SegmentFile *files;       // all of them, ascending, without the one to be dropped; mem_free
    size_t file_count;
    bool has_dropped;  // the newest file was never finished being made: remove it
    uint64_t dropped;  // its first offset
};

// Verify the segments in options->dir that may hold commits from options->start on (`whole`: all of
// them) and give each such commit below options->end to `replay` (NULL: only verify). With a start of
// 0 that is all of them, and the log begins at 0.
//   ERR_CORRUPT  damage that no power loss explains; file and offset in diag
MUST_USE Err log_recover(const LogOptions *options,
                         bool whole,
                         LogReplay replay,
                         void *ctx,
                         Recovered *out,
                         Diag *diag);
