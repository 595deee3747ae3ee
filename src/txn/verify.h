// verify.h: is what a database has on disk in order? For `lightcone check`: nothing is changed, and no
// server may have it open.
#pragma once
#include "txn/db.h"

typedef struct DbVerify {
    const Io *io;
    const char *dir;        // of the log
    const char *page_file;  // need not exist
    // Told what is wrong, a line each, and nothing when nothing is.
    void (*line)(void *ctx, const char *line);
    void *ctx;
    size_t memory_max;  // bytes of pages, besides what is changed by the log; 0: 256 MiB
} DbVerify;

typedef struct DbVerified {
    uint64_t problems;
    uint64_t checkpoints;        // its number; 0: there is none
    uint64_t checkpoint_offset;  // commits below it are in the checkpoint
    uint64_t pages;              // checked
    LogVerified log;
    uint64_t tables, rows;
    uint64_t memory_bytes;  // of pages, after looking at all of them
} DbVerified;

// In order: the checkpoint's meta pages and root, every page's checksum, every tree and index, the
// system tables, the log's chain over all segments, its commits since the checkpoint applied to it,
// and the trees once more. Stops where the next would make no sense.
void db_verify(const DbVerify *verify, DbVerified *out);
