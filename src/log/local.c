// local.c: the sink that keeps batches in segment files of one directory.
//
//   dir/LOCK                        held while open: two servers never append to one log
//   dir/00000000000000000000.log    sealed: never written again
//   dir/00000000000000041872.log    the newest, being appended to
//
// A small batch is written by the owner, and synced by him or beside him. A large one goes beside him as a
// whole: making room for it, summing it up, writing it, syncing; one of BESIDE_BYTES if its sync does.
//
//   owner    append ── large ──────────────────────────────────── poll: the books
//   syncer       └── a segment or more room, frame, sync, memory ──┘
#include "base/mem.h"
#include "log/recover.h"

// What making room did to the files, for the books.
typedef struct Room {
    bool begun;  // another segment
    uint64_t first_offset;
    uint64_t bytes;  // more than before
} Room;

typedef struct LocalSink {
    LogSink sink;  // first
    const Io *io;
    char dir[IO_PATH_MAX];
    uint64_t segment_bytes;
    size_t large_bytes;  // of a batch
    IoFile *lock;
    Segment segment;     // being appended to; by `large`, while that is in flight
    SegmentFile *files;  // all of them, ascending; the last is being appended to
    size_t file_count, file_cap;
    uint64_t bytes;  // sizes of all segments
    uint64_t epoch;  // of this opening: one more than any before it
    TxOffset written_end;
    TxOffset durable_end;
    LogMark durable;   // the place of durable_end
    IoSyncer *syncer;  // of the segment's file, while durable_end < written_end
    uint32_t chain;    // as `segment`
    struct {
        bool in_flight;
        LogBatch batch;
        Room room;
    } large;
    uint64_t syncs;
    Err failed;
} LocalSink;

// What so many bytes take to be summed up and written is worth having done by who is woken for the sync anyway.
#define BESIDE_BYTES ((size_t)64 << 10)

static const char cannot_write[] = "cannot write the log";

static Err fail(Diag *diag, Err err, const char *what, const char *dir) {
    const char *system = err == ERR_NOMEM ? "" : io_last_error_text();
    const char *open = system[0] ? " (" : "", *close = system[0] ? ")" : "";
    return diag_fail(diag,
                     err,
                     "%s in %s: %s%s%s%s",
                     what,
                     dir,
                     err_text(err),
                     open,
                     system,
                     close);
}

static uint64_t bytes_for(size_t payload_len) {
    return SEGMENT_HEAD_BYTES + SEGMENT_FRAME_BYTES + (uint64_t)payload_len;
}

static Err files_reserve(LocalSink *local) {
    if (local->file_count < local->file_cap) return OK;
    size_t cap = local->file_count * 2 + 16;
    SegmentFile *files = mem_realloc(local->files, cap * sizeof *files);
    if (!files) return ERR_NOMEM;
    local->files = files;
    local->file_cap = cap;
    return OK;
}

// Begin the next segment, large enough for a frame with this payload.
static Err segment_begin(LocalSink *local, uint64_t first_offset, size_t payload_len, Room *room) {
    SegmentHead head = {
        .first_offset = first_offset,
        .epoch = local->epoch,
        .chain = local->chain,
        .created = local->io->clock_wall(local->io->world),
    };
    local->io->random_bytes(local->io->world, &head.salt, sizeof head.salt);
    uint64_t size = MAX(local->segment_bytes, bytes_for(payload_len));
    Segment segment;
    Err err = segment_create(local->io, local->dir, &head, size, &segment);
    if (err != OK) return err;
    segment_close(&local->segment);
    local->segment = segment;
    *room = (Room){.begun = true, .first_offset = first_offset, .bytes = size};
    return OK;
}

// An empty segment grows to hold what it has no room for: a next one would get the same name.
static Err room_make(LocalSink *local, uint64_t first_offset, size_t payload_len, Room *room) {
    if (local->segment.end > SEGMENT_HEAD_BYTES)
        return segment_begin(local, first_offset, payload_len, room);
    uint64_t before = local->segment.size;
    Err err = segment_grow(&local->segment, MAX(local->segment_bytes, bytes_for(payload_len)));
    room->bytes = local->segment.size - before;
    return err;
}

// The owner's part of it. There is a place in `files`.
static void room_note(LocalSink *local, const Room *room) {
    if (room->begun) {
        local->files[local->file_count++] = (SegmentFile){room->first_offset, room->bytes};
        local->syncs++;
    } else {
        local->files[local->file_count - 1].bytes += room->bytes;
    }
    local->bytes += room->bytes;
}

static SegmentFrame frame_of(const LocalSink *local, const LogBatch *batch) {
    return (SegmentFrame){
        .first_offset = batch->first.v,
        .epoch = local->epoch,
        .payload_len = batch->bytes,
        .commits = batch->commits,
        .chain = local->chain,
    };
}

static Err batch_write(LocalSink *local, const LogBatch *batch) {
    if (UNLIKELY(!segment_has_room(&local->segment, batch->payload_len))) {
        Room room = {0};
        Err err = files_reserve(local);
        if (err == OK) err = room_make(local, batch->first.v, batch->payload_len, &room);
        if (err != OK) return err;
        room_note(local, &room);
    }
    SegmentFrame frame = frame_of(local, batch);
    Err err = segment_write(&local->segment, &frame, batch->payload);
    if (err != OK) return err;
    local->chain = frame.crc;
    local->written_end.v += batch->commits;
    return OK;
}

static void durable_here(LocalSink *local) {
    local->durable_end = local->written_end;
    local->durable = (LogMark){local->durable_end, local->segment.salt, local->chain};
}

static void batch_durable(LocalSink *local) {
    local->syncs++;
    durable_here(local);
}

// ── large batches ──────────────────────────────────────────────────────────────────────────────

// All that grows with the batch's bytes. Beside the owner, who looks at nothing that changes here.
static Err large_write(void *ctx) {
    LocalSink *local = ctx;
    const LogBatch *batch = &local->large.batch;
    const Io *io = local->io;
    SegmentFrame frame = frame_of(local, batch);
    Err err = OK;
    if (!segment_has_room(&local->segment, batch->bytes))
        err = room_make(local, batch->first.v, batch->bytes, &local->large.room);
    if (err == OK) err = segment_write_large(&local->segment, &frame, batch);
    if (err == OK) err = io->file_sync(io->world, local->segment.file);
    if (err == OK) local->chain = frame.crc;
    for (uint32_t i = 0; i < batch->piece_count; i++) {
        buf_deinit(&batch->pieces[i].bytes);  // here, since that takes milliseconds too
    }
    return err;
}

static void large_landed(LocalSink *local) {
    local->large.in_flight = false;
    room_note(local, &local->large.room);
}

static Err large_append(LocalSink *local, const LogBatch *batch, bool beside) {
    bool fits = segment_has_room(&local->segment, batch->bytes);
    Err err = fits ? OK : files_reserve(local);
    if (err != OK) return err;
    local->large.batch = *batch;
    local->large.room = (Room){0};
    local->written_end.v += batch->commits;
    if (beside) {
        local->large.in_flight = true;
        local->io->work_start(local->io->world, local->syncer, large_write, local);
        return OK;
    }
    err = large_write(local);
    large_landed(local);
    if (err == OK) batch_durable(local);
    return err;
}

// ── appending ──────────────────────────────────────────────────────────────────────────────────

// After a failed write or sync nobody knows what the disk holds, and a second sync would say OK
// without having written it (the kernel has dropped the pages). So the first failure is the last.
static Err local_append(LogSink *sink, const LogBatch *batch, bool beside, Diag *diag) {
    LocalSink *local = (LocalSink *)sink;
    const Io *io = local->io;
    if (local->failed != OK) return local->failed;
    ASSERT(local->durable_end.v == local->written_end.v);  // one in flight, (2) of segment.c
    ASSERT(batch->first.v == local->written_end.v);        // offsets are dense
    ASSERT(batch->commits > 0);
    if (batch->bytes >= local->large_bytes || (beside && batch->bytes >= BESIDE_BYTES)) {
        local->failed = large_append(local, batch, beside);
        return local->failed == OK ? OK : fail(diag, local->failed, cannot_write, local->dir);
    }
    local->failed = batch_write(local, batch);
    if (local->failed == OK && beside) {
        io->sync_start(io->world, local->syncer, local->segment.file);
    } else if (local->failed == OK) {
        local->failed = io->file_sync(io->world, local->segment.file);
        if (local->failed == OK) batch_durable(local);
    }
    return local->failed == OK ? OK : fail(diag, local->failed, cannot_write, local->dir);
}

static Err local_poll(LogSink *sink, bool wait, TxOffset *durable_end, Diag *diag) {
    LocalSink *local = (LocalSink *)sink;
    const Io *io = local->io;
    if (local->failed != OK) return local->failed;
    if (local->durable_end.v < local->written_end.v &&
        io->sync_ended(io->world, local->syncer, wait, &local->failed)) {
        if (UNLIKELY(local->large.in_flight)) large_landed(local);
        if (local->failed != OK) return fail(diag, local->failed, cannot_write, local->dir);
        batch_durable(local);
    }
    *durable_end = local->durable_end;
    return OK;
}

static void local_close(LogSink **sink) {
    LocalSink *local = (LocalSink *)*sink;
    if (!local) return;
    local->io->syncer_close(local->io->world, &local->syncer);
    segment_close(&local->segment);
    local->io->file_close(local->io->world, &local->lock);
    mem_free(local->files);
    mem_free(local);
    *sink = NULL;
}

static uint64_t local_bytes(const LogSink *sink) {
    return ((const LocalSink *)sink)->bytes;
}

static uint64_t local_syncs(const LogSink *sink) {
    return ((const LocalSink *)sink)->syncs;
}

// ── the front ──────────────────────────────────────────────────────────────────────────────────

// When the segment was begun, and so the one before it ended; the far future when nobody knows.
static Micros created_at(const LocalSink *local, const SegmentFile *of) {
    const Io *io = local->io;
    char name[SEGMENT_NAME_LEN + 1], path[IO_PATH_MAX];
    uint8_t bytes[SEGMENT_HEAD_BYTES];
    size_t got = 0;
    IoFile *file = NULL;
    SegmentHead head = {.created = INT64_MAX};
    segment_name_write(of->first_offset, name);
    if (path_join(path, local->dir, name) == OK &&
        io->file_open(io->world, path, IO_READ, &file) == OK) {
        (void)!io->file_read(io->world, file, 0, bytes, sizeof bytes, &got);
        if (!segment_head_read(BYTES(bytes, got), &head)) head.created = INT64_MAX;
        io->file_close(io->world, &file);
    }
    return head.created;
}

static void local_trim_plan(const LogSink *sink,
                            TxOffset offset,
                            const LogKeep *keep,
                            LogTrim *out) {
    const LocalSink *local = (const LocalSink *)sink;
    Micros now = local->io->clock_wall(local->io->world);
    uint64_t left = local->bytes;
    out->io = local->io;
    memcpy(out->dir, local->dir, sizeof out->dir);
    for (size_t i = 0; i + 1 < local->file_count && out->count < ARRAY_LEN(out->first); i++) {
        const SegmentFile *file = &local->files[i], *next = &local->files[i + 1];
        left -= file->bytes;
        if (next->first_offset > offset.v || left < keep->bytes) return;
        if (keep->us > 0 && created_at(local, next) > now - keep->us) return;
        out->first[out->count++] = file->first_offset;
    }
}

static void local_trim_end(LogSink *sink, const LogTrim *trim) {
    LocalSink *local = (LocalSink *)sink;
    ASSERT(trim->removed < MAX(local->file_count, 1u));
    for (uint32_t i = 0; i < trim->removed; i++) {
        ASSERT(local->files[i].first_offset == trim->first[i]);
        local->bytes -= local->files[i].bytes;
    }
    local->file_count -= trim->removed;
    memmove(local->files, local->files + trim->removed, local->file_count * sizeof *local->files);
}

static TxOffset local_begin(const LogSink *sink) {
    return (TxOffset){((const LocalSink *)sink)->files[0].first_offset};
}

Err log_trim_run(LogTrim *trim) {
    Err err = OK;
    for (uint32_t i = 0; err == OK && i < trim->count; i++) {
        char name[SEGMENT_NAME_LEN + 1], path[IO_PATH_MAX];
        segment_name_write(trim->first[i], name);
        err = path_join(path, trim->dir, name);
        if (err == OK) err = trim->io->file_remove(trim->io->world, path);
        if (err == OK) trim->removed++;
    }
    // Were the names to come back, the next opening would find no gap and the next trim remove them.
    if (err == OK && trim->removed) err = trim->io->dir_sync(trim->io->world, trim->dir);
    return err;
}

static LogMark local_mark(const LogSink *sink) {
    return ((const LocalSink *)sink)->durable;
}

static const LogSinkOps local_ops = {
    .append = local_append,
    .poll = local_poll,
    .close = local_close,
    .bytes = local_bytes,
    .syncs = local_syncs,
    .trim_plan = local_trim_plan,
    .trim_end = local_trim_end,
    .begin = local_begin,
    .mark = local_mark,
};

static Err local_new(const LogOptions *options, LocalSink **out) {
    enum { SEGMENT_BYTES_DEFAULT = 64 << 20 };
    LocalSink *local = MEM_NEW(LocalSink);
    if (!local) return ERR_NOMEM;
    local->sink.ops = &local_ops;
    local->io = options->io;
    local->segment_bytes = options->segment_bytes ? options->segment_bytes : SEGMENT_BYTES_DEFAULT;
    local->large_bytes = log_large_bytes(options);
    if (strlen(options->dir) >= sizeof local->dir) {
        mem_free(local);
        return ERR_TOO_LARGE;
    }
    memcpy(local->dir, options->dir, strlen(options->dir) + 1);
    const Io *io = local->io;
    Err err = io->syncer_open(io->world, options->wake, options->wake_ctx, &local->syncer);
    if (err != OK) {
        mem_free(local);
        return err;
    }
    *out = local;
    return OK;
}

static Err dir_take(LocalSink *local, Diag *diag) {
    const Io *io = local->io;
    char path[IO_PATH_MAX];
    Err err = io->dir_make(io->world, local->dir);
    if (err == OK) err = path_join(path, local->dir, "LOCK");
    if (err == OK) {
        err = io->file_open(io->world, path, IO_READ | IO_WRITE | IO_CREATE, &local->lock);
    }
    if (err != OK) return fail(diag, err, "cannot open the log", local->dir);
    err = io->file_lock(io->world, local->lock);
    if (err == ERR_BUSY) {
        return diag_fail(diag, err, "the log in %s is in use by another server", local->dir);
    }
    return err == OK ? OK : fail(diag, err, "cannot lock the log", local->dir);
}

static Err unfinished_remove(LocalSink *local, uint64_t first_offset) {
    char name[SEGMENT_NAME_LEN + 1], path[IO_PATH_MAX];
    segment_name_write(first_offset, name);
    Err err = path_join(path, local->dir, name);
    if (err == OK) err = local->io->file_remove(local->io->world, path);
    return err;
}

static Err last_open(LocalSink *local, const Recovered *found) {
    char name[SEGMENT_NAME_LEN + 1], path[IO_PATH_MAX];
    segment_name_write(found->last, name);
    Err err = path_join(path, local->dir, name);
    if (err != OK) return err;
    return segment_open(local->io, path, found, &local->segment);
}

// Make the disk agree with what was recovered, and be ready to go on.
static Err continue_from(LocalSink *local, const Recovered *found) {
    const Io *io = local->io;
    Err err = OK;
    if (found->has_dropped && (err = unfinished_remove(local, found->dropped)) != OK) return err;
    if (found->has_last && (err = last_open(local, found)) != OK) return err;
    // Names too may be known to the kernel only, when the process before us was killed.
    if ((err = io->dir_sync(io->world, local->dir)) != OK) return err;
    local->bytes = found->bytes;
    local->chain = found->chain;
    local->epoch = found->epoch + 1;
    local->written_end.v = found->next_offset;
    if (!found->has_last) {
        Room room = {0};
        if ((err = files_reserve(local)) != OK) return err;
        if ((err = segment_begin(local, found->next_offset, 0, &room)) != OK) return err;
        room_note(local, &room);
    }
    durable_here(local);
    return err;
}

Err log_local_open(const LogOptions *options,
                   LogReplay replay,
                   void *ctx,
                   LogSink **out,
                   LogOpened *opened,
                   Diag *diag) {
    LocalSink *local = NULL;
    Recovered found;
    Err err = local_new(options, &local);
    if (err != OK) return diag_fail(diag, err, "cannot open the log: %s", err_text(err));
    LogSink *sink = &local->sink;

    if ((err = dir_take(local, diag)) != OK) goto done;
    LogOptions look = *options;
    if (options->begins) look.start.v = 0;
    err = log_recover(&look, false, replay, ctx, &found, diag);
    if (err == OK && options->begins && found.file_count) {
        mem_free(found.files);
        err = diag_fail(diag, ERR_EXISTS, "there is a log in %s", local->dir);
    }
    if (err != OK) goto done;
    if (options->begins) found.next_offset = options->start.v;
    local->files = found.files;
    local->file_count = local->file_cap = found.file_count;
    if ((err = continue_from(local, &found)) != OK) {
        fail(diag, err, "cannot continue the log", local->dir);
        goto done;
    }
    *opened = (LogOpened){
        .end = local->durable_end,
        .torn_bytes = found.torn_bytes,
        .replayed_bytes = found.replayed_bytes,
        .replayed_operations = found.replayed_operations,
    };
    *out = sink;
    sink = NULL;
done:
    local_close(&sink);
    return err;
}
