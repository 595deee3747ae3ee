// modulelog.h: what a module prints, one JSON object a line. Spec: http-api-and-auth §17.
//
//   <dir>/2026-11-22.log       one file a UTC day, appended; written by the database's loop, buffered,
//                              flushed once a turn
//   <dir>/2026-11-22.old.log   what was in it before it became half as large as all may be
//
// All files together keep to a limit: the oldest go first.
//
// Followers (logs -f) get lines as they are flushed.
#pragma once
#include "host/host.h"
#include "os/io.h"

typedef struct ModuleLog ModuleLog;
typedef struct LogFollower LogFollower;

#define MODULELOG_SENTINEL \
    "__spacetimedb__"  // target, filename, function of the server's own lines

MUST_USE Err
modulelog_open(const Io *io, const char *dir, bool in_memory, ModuleLog **out, Diag *diag);
// Bytes that its files may have; 0: no limit. Holds from the next write on.
void modulelog_limit(ModuleLog *log, uint64_t bytes);
void modulelog_close(ModuleLog **log);  // ends all followers
void modulelog_add(ModuleLog *log, const HostLogRecord *record);
// A line as it stands in the file, without a log to put it into: of code that runs on other threads.
void modulelog_format(Buf *out, const HostLogRecord *record);
void modulelog_add_lines(ModuleLog *log, Bytes lines);  // as modulelog_format makes them
// Forget what was added since the mark, as far as it was not written yet.
typedef struct ModuleLogMark {
    uint64_t flushes;
    size_t len;
} ModuleLogMark;
ModuleLogMark modulelog_mark(const ModuleLog *log);
void modulelog_rewind(ModuleLog *log, ModuleLogMark mark);
// Write what was added. A failure is reported once on the server's own log; lines may be lost then,
// never a transaction.
void modulelog_flush(ModuleLog *log);
// The last `lines` of today's lines that are kept (UINT32_MAX: all), at most 64 MiB, appended to out.
MUST_USE Err modulelog_tail(ModuleLog *log, uint32_t lines, Buf *out);
// Call `each` with every chunk of whole lines from now on; returns false to stop following.
LogFollower *modulelog_follow(ModuleLog *log,
                              bool (*each)(void *ctx, Bytes lines),
                              void (*ended)(void *ctx),
                              void *ctx);
void modulelog_unfollow(LogFollower **follower);
uint64_t modulelog_bytes(const ModuleLog *log);
