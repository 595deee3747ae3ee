// tail.h: the newest part of a log, read back while the log goes on being written.
//
// PICTURE
//                 from (a LogMark)           to           durable end
//   segments  ──────┼─[batch][batch][batch]──┼──────────────┤
//                   └── kept in memory ──────┘<── read on as others ask for more
//
// Clients that come back after a restart come all at once and ask for nearly the same: one LogTail reads
// the disk once for all of them. It only ever grows at its end; who wants to know of an earlier place, or
// of so much that it would not fit, begins another.
//
// ALWAYS TRUE
//   (1) Nothing at or behind `to` is looked at, and `to` is durable: what is being written meanwhile
//       is of no concern.
//   (2) A batch that was read stays as it is for as long as anybody holds the tail.
//
// On any thread, several at once. Files that the owner lets go meanwhile are missing; that is an error
// like any other.
#pragma once
#include "log/log.h"

typedef struct LogTail LogTail;

// Reads nothing yet. Keeps at most so many bytes of batches.
MUST_USE Err log_tail_new(const Io *io, const char *dir, uint64_t bytes_max, LogTail **out);
LogTail *log_tail_retain(LogTail *tail);
void log_tail_release(LogTail **tail);  // harmless on NULL

// Give the commits from the mark on, below `to`, to `each`, whose errors are handed on. `*commit`
// borrows from the tail and is valid as long as that is held.
//   ERR_CONFLICT   the mark is none of this log's
//   ERR_NOT_FOUND  it lies before the begin of the log, or of what this tail has kept
//   ERR_TOO_LARGE  more than the tail may keep
//   ERR_IO, ERR_CORRUPT, ERR_NOMEM
MUST_USE Err log_tail_read(LogTail *tail,
                           const LogMark *from,
                           TxOffset to,
                           LogReplay each,
                           void *ctx,
                           Diag *diag);
// Is the place before everything that the tail has kept? Then another one has to be begun.
bool log_tail_is_later(LogTail *tail, TxOffset offset);
