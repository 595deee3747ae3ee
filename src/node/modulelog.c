#include "node/modulelog.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/mem.h"
#include "sats/json.h"

#define MEMORY_LOG_MAX (8u << 20)   // of a server without files: older lines are dropped
#define PENDING_MAX    (1u << 20)   // a reducer that does nothing but print writes before it ends
#define TAIL_BYTES_MAX (64u << 20)  // of an answer with history, however many lines were asked for

struct LogFollower {
    LogFollower *next;
    ModuleLog *log;
    bool (*each)(void *ctx, Bytes lines);
    void (*ended)(void *ctx);
    void *ctx;
};

struct ModuleLog {
    const Io *io;
    char dir[IO_PATH_MAX];
    bool in_memory;
    IoFile *file;
    int64_t day;     // of the open file: days since the epoch
    uint64_t limit;  // of all files; 0: none
    uint64_t bytes;  // of the open file
    Buf pending;     // lines not written yet
    Buf memory;      // everything, when there are no files
    LogFollower *followers;
    uint64_t flushes;  // of pending lines
    bool failure_reported;
};

static const char *level_name(int level) {
    switch (level) {
    case 0: return "Error";
    case 1: return "Warn";
    case 2: return "Info";
    case 4: return "Trace";
    case 101: return "Panic";
    default: return "Debug";
    }
}

static void member(Buf *out, const char *name, Str value) {
    if (!value.ptr) return;
    buf_printf(out, ",\"%s\":", name);
    json_write_string(out, value);
}

void modulelog_format(Buf *out, const HostLogRecord *r) {
    size_t start = out->len;
    buf_printf(out, "{\"level\":\"%s\",\"ts\":%lld", level_name(r->level), (long long)r->ts);
    member(out, "target", r->target);
    member(out, "filename", r->filename);
    if (r->line != UINT32_MAX) buf_printf(out, ",\"line_number\":%u", r->line);
    member(out, "function", r->function);
    member(out, "message", r->message.ptr ? r->message : STR(""));
    if (r->frame_count) {
        buf_put_str(out, STR(",\"trace\":["));
        for (uint32_t i = 0; i < r->frame_count; i++) {
            buf_put_str(out, i ? STR(",{\"func_name\":") : STR("{\"func_name\":"));
            json_write_string(out, r->frames[i]);
            buf_put_u8(out, '}');
        }
        buf_put_u8(out, ']');
    }
    buf_put_str(out, STR("}\n"));
    if (!buf_ok(out)) {  // forget this line only
        out->failed = false;
        out->len = start;
    }
}

void modulelog_add(ModuleLog *log, const HostLogRecord *r) {
    modulelog_format(&log->pending, r);
    if (log->pending.len > PENDING_MAX) modulelog_flush(log);
}

void modulelog_add_lines(ModuleLog *log, Bytes lines) {
    buf_put_bytes(&log->pending, lines);
    log->pending.failed = false;  // forget these lines only
    if (log->pending.len > PENDING_MAX) modulelog_flush(log);
}

ModuleLogMark modulelog_mark(const ModuleLog *log) {
    return (ModuleLogMark){.flushes = log->flushes, .len = log->pending.len};
}

void modulelog_rewind(ModuleLog *log, ModuleLogMark mark) {
    if (mark.flushes != log->flushes) mark.len = 0;
    log->pending.len = MIN(log->pending.len, mark.len);
}

Err modulelog_open(const Io *io, const char *dir, bool in_memory, ModuleLog **out, Diag *diag) {
    ModuleLog *log = MEM_NEW(ModuleLog);
    if (!log) return ERR_NOMEM;
    log->io = io;
    log->in_memory = in_memory;
    log->day = -1;
    Err err = path_join(log->dir, dir, "");
    if (err == OK && !in_memory) err = io->dir_make(io->world, dir);
    if (err != OK) {
        mem_free(log);
        return diag_fail(diag,
                         err,
                         "cannot make the directory of module logs %s: %s",
                         dir,
                         io_last_error_text());
    }
    *out = log;
    return OK;
}

void modulelog_close(ModuleLog **handle) {
    ModuleLog *log = *handle;
    if (!log) return;
    *handle = NULL;
    modulelog_flush(log);
    for (LogFollower *f = log->followers; f;) {
        LogFollower *next = f->next;
        f->ended(f->ctx);
        mem_free(f);
        f = next;
    }
    if (log->file) log->io->file_close(log->io->world, &log->file);
    buf_deinit(&log->pending);
    buf_deinit(&log->memory);
    mem_free(log);
}

void modulelog_limit(ModuleLog *log, uint64_t bytes) {
    log->limit = bytes;
}

static void day_path(const ModuleLog *log, int64_t day, bool old, char out[IO_PATH_MAX]) {
    time_t seconds = (time_t)(day * 86400);
    struct tm tm;
    char name[32];
    gmtime_r(&seconds, &tm);
    strftime(name, sizeof name, old ? "%Y-%m-%d.old.log" : "%Y-%m-%d.log", &tm);
    if (path_join(out, log->dir, name) != OK) out[0] = 0;
}

#define DAY_CHARS 10  // 2026-11-22

typedef struct LogSweep {
    const ModuleLog *log;
    uint64_t bytes;   // of all files
    char oldest[64];  // name
} LogSweep;

// Of one day the old part comes before the other.
static bool is_older(const char *name, const char *than) {
    int order = strncmp(name, than, DAY_CHARS);
    return order < 0 || (order == 0 && strlen(name) > strlen(than));
}

static Err sweep_each(void *ctx, const char *name) {
    LogSweep *sweep = ctx;
    const Io *io = sweep->log->io;
    char path[IO_PATH_MAX];
    IoFile *file;
    uint64_t size = 0;
    if (strlen(name) >= sizeof sweep->oldest || path_join(path, sweep->log->dir, name) != OK ||
        io->file_open(io->world, path, IO_READ, &file) != OK)
        return OK;
    if (io->file_size(io->world, file, &size) == OK) sweep->bytes += size;
    io->file_close(io->world, &file);
    if (sweep->oldest[0] && !is_older(name, sweep->oldest)) return OK;
    snprintf(sweep->oldest, sizeof sweep->oldest, "%s", name);
    return OK;
}

// Before the file of a day is begun: those before it have half of the limit.
static void old_files_remove(const ModuleLog *log) {
    if (!log->limit) return;
    for (;;) {
        LogSweep sweep = {.log = log};
        char path[IO_PATH_MAX];
        Err err = log->io->dir_list(log->io->world, log->dir, sweep_each, &sweep);
        if (err != OK || sweep.bytes <= log->limit / 2 || !sweep.oldest[0]) return;
        if (path_join(path, log->dir, sweep.oldest) != OK) return;
        if (log->io->file_remove(log->io->world, path) != OK) return;
    }
}

// The file is as large as it may be: it becomes the old one.
static void file_set_aside(ModuleLog *log) {
    char from[IO_PATH_MAX], to[IO_PATH_MAX];
    day_path(log, log->day, false, from);
    day_path(log, log->day, true, to);
    log->io->file_close(log->io->world, &log->file);
    (void)!log->io->file_rename(log->io->world, from, to);
    old_files_remove(log);
}

static int64_t today(const ModuleLog *log) {
    return log->io->clock_wall(log->io->world) / 86400000000;
}

static Err file_of_today(ModuleLog *log) {
    int64_t day = today(log);
    if (log->file && log->day == day) return OK;
    if (log->file) log->io->file_close(log->io->world, &log->file);
    old_files_remove(log);
    char path[IO_PATH_MAX];
    day_path(log, day, false, path);
    Err err = log->io->file_open(log->io->world, path, IO_READ | IO_WRITE | IO_CREATE, &log->file);
    if (err == OK) err = log->io->file_size(log->io->world, log->file, &log->bytes);
    if (err == OK) log->day = day;
    return err;
}

static Err pending_write(ModuleLog *log) {
    if (log->in_memory) {
        if (log->memory.len > MEMORY_LOG_MAX) buf_clear(&log->memory);
        buf_put_bytes(&log->memory, buf_bytes(&log->pending));
        return buf_ok(&log->memory) ? OK : ERR_NOMEM;
    }
    Err err = file_of_today(log);
    bool full = log->limit && log->bytes + log->pending.len > log->limit / 2;
    if (err == OK && full && log->bytes) {
        file_set_aside(log);
        err = file_of_today(log);
    }
    if (err == OK)
        err = log->io->file_write(log->io->world,
                                  log->file,
                                  log->bytes,
                                  log->pending.ptr,
                                  log->pending.len);
    if (err == OK) log->bytes += log->pending.len;
    return err;
}

void modulelog_flush(ModuleLog *log) {
    if (log->pending.len == 0) return;
    log->flushes++;
    Err err = pending_write(log);
    if (err != OK && !log->failure_reported) {
        log_error("module log in %s: %s; lines are lost until this is mended",
                  log->dir,
                  io_last_error_text());
    }
    log->failure_reported = err != OK;
    for (LogFollower **link = &log->followers; *link;) {
        LogFollower *f = *link;
        if (f->each(f->ctx, buf_bytes(&log->pending))) {
            link = &f->next;
            continue;
        }
        *link = f->next;
        f->ended(f->ctx);
        mem_free(f);
    }
    buf_clear(&log->pending);
}

// Where the last `lines` lines of `text` begin.
static size_t tail_start(Bytes text, uint32_t lines) {
    size_t at = text.len;
    for (uint32_t seen = 0; at > 0; at--) {
        if (text.ptr[at - 1] == '\n' && at != text.len && ++seen == lines) break;
    }
    return lines == 0 ? text.len : at;
}

// The last `len` bytes of a file of `size`, behind what is in `text`.
static Err end_read(const ModuleLog *log, IoFile *file, uint64_t size, size_t len, Buf *text) {
    size_t got = 0, before = text->len;
    uint8_t *room = buf_extend(text, len);
    if (!room) return ERR_NOMEM;
    Err err = log->io->file_read(log->io->world, file, size - len, room, len, &got);
    text->len = before + (err == OK ? got : 0);
    return err;
}

// What was set aside today, as far as `room` allows. *cut: there was more.
static Err old_tail(const ModuleLog *log, size_t room, Buf *text, bool *cut) {
    char path[IO_PATH_MAX];
    IoFile *file;
    uint64_t size;
    day_path(log, log->day, true, path);
    if (log->io->file_open(log->io->world, path, IO_READ, &file) != OK) return OK;  // none
    Err err = log->io->file_size(log->io->world, file, &size);
    size_t len = err == OK ? (size_t)MIN(size, (uint64_t)room) : 0;
    *cut = len < size;
    if (len) err = end_read(log, file, size, len, text);
    log->io->file_close(log->io->world, &file);
    return err;
}

// The end of today's lines, from the beginning of one.
static Err file_tail(ModuleLog *log, Buf *text) {
    Err err = file_of_today(log);
    if (err != OK) return err;
    bool skip = log->bytes > TAIL_BYTES_MAX;
    size_t len = (size_t)MIN(log->bytes, (uint64_t)TAIL_BYTES_MAX);
    if (!skip) err = old_tail(log, TAIL_BYTES_MAX - len, text, &skip);
    if (err == OK && len) err = end_read(log, log->file, log->bytes, len, text);
    const uint8_t *first = skip && text->len ? memchr(text->ptr, '\n', text->len) : NULL;
    if (first) {
        size_t cut = (size_t)(first + 1 - text->ptr);
        text->len -= cut;
        memmove(text->ptr, text->ptr + cut, text->len);
    }
    return err;
}

Err modulelog_tail(ModuleLog *log, uint32_t lines, Buf *out) {
    modulelog_flush(log);
    Buf text = {0};
    Err err = OK;
    if (log->in_memory) {
        buf_put_bytes(&text, buf_bytes(&log->memory));
        if (!buf_ok(&text)) err = ERR_NOMEM;
    } else {
        err = file_tail(log, &text);
    }
    if (err == OK) {
        size_t start = lines == UINT32_MAX ? 0 : tail_start(buf_bytes(&text), lines);
        buf_put(out, text.ptr + start, text.len - start);
        if (!buf_ok(out)) err = ERR_NOMEM;
    }
    buf_deinit(&text);
    return err;
}

LogFollower *modulelog_follow(ModuleLog *log,
                              bool (*each)(void *ctx, Bytes lines),
                              void (*ended)(void *ctx),
                              void *ctx) {
    LogFollower *f = MEM_NEW(LogFollower);
    if (!f) return NULL;
    *f =
        (LogFollower){.next = log->followers, .log = log, .each = each, .ended = ended, .ctx = ctx};
    log->followers = f;
    return f;
}

void modulelog_unfollow(LogFollower **handle) {
    LogFollower *f = *handle;
    if (!f) return;
    *handle = NULL;
    for (LogFollower **link = &f->log->followers; *link; link = &(*link)->next) {
        if (*link == f) {
            *link = f->next;
            break;
        }
    }
    mem_free(f);
}

uint64_t modulelog_bytes(const ModuleLog *log) {
    return log->in_memory ? log->memory.len : log->bytes;
}
