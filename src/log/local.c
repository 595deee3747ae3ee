// local.c: the sink that keeps batches in segment files of one directory.
//
//   dir/LOCK                        held while open: two servers never append to one log
//   dir/00000000000000000000.log    sealed: never written again
//   dir/00000000000000041872.log    the newest, being appended to
#include "base/mem.h"
#include "log/recover.h"

typedef struct LocalSink {
    LogSink sink;  // first
    const Io *io;
    char dir[IO_PATH_MAX];
    uint64_t segment_bytes;
    IoFile *lock;
    Segment segment;  // being appended to
    uint64_t bytes;   // sizes of all segments
    uint64_t epoch;   // of this opening: one more than any before it
    TxOffset durable_end;
    uint32_t chain;
    uint64_t syncs;
    Err failed;
} LocalSink;

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

// Begin the next segment, large enough for a frame with this payload.
static Err segment_begin(LocalSink *local, size_t payload_len) {
    SegmentHead head = {
        .first_offset = local->durable_end.v,
        .epoch = local->epoch,
        .chain = local->chain,
    };
    local->io->random_bytes(local->io->world, &head.salt, sizeof head.salt);
    uint64_t size = MAX(local->segment_bytes, bytes_for(payload_len));
    Segment segment;
    Err err = segment_create(local->io, local->dir, &head, size, &segment);
    if (err != OK) return err;
    segment_close(&local->segment);
    local->segment = segment;
    local->bytes += size;
    local->syncs++;
    return OK;
}

// An empty segment grows to hold what it has no room for: a next one would get the same name.
static Err room_make(LocalSink *local, size_t payload_len) {
    if (segment_has_room(&local->segment, payload_len)) return OK;
    if (local->segment.end > SEGMENT_HEAD_BYTES) return segment_begin(local, payload_len);
    uint64_t before = local->segment.size;
    Err err = segment_grow(&local->segment, MAX(local->segment_bytes, bytes_for(payload_len)));
    if (err == OK) local->bytes += local->segment.size - before;
    return err;
}

static Err batch_write(LocalSink *local, const LogBatch *batch) {
    Err err = room_make(local, batch->payload_len);
    if (err != OK) return err;
    SegmentFrame frame = {
        .first_offset = batch->first.v,
        .epoch = local->epoch,
        .payload_len = batch->payload_len,
        .commits = batch->commits,
        .chain = local->chain,
    };
    err = segment_append(&local->segment, &frame, batch->payload);
    if (err != OK) return err;
    local->syncs++;
    local->chain = frame.crc;
    local->durable_end.v += batch->commits;
    return OK;
}

// After a failed write or sync nobody knows what the disk holds, and a second sync would say OK
// without having written it (the kernel has dropped the pages). So the first failure is the last.
static Err local_append(LogSink *sink, const LogBatch *batch, Diag *diag) {
    LocalSink *local = (LocalSink *)sink;
    if (local->failed != OK) return local->failed;
    ASSERT(batch->first.v == local->durable_end.v);  // offsets are dense
    ASSERT(batch->commits > 0);
    local->failed = batch_write(local, batch);
    if (local->failed == OK) return OK;
    return fail(diag, local->failed, "cannot write the log", local->dir);
}

static Err local_poll(LogSink *sink, TxOffset *durable_end, Diag *diag) {
    (void)diag;
    const LocalSink *local = (const LocalSink *)sink;
    *durable_end = local->durable_end;
    return local->failed;
}

static void local_close(LogSink **sink) {
    LocalSink *local = (LocalSink *)*sink;
    if (!local) return;
    segment_close(&local->segment);
    local->io->file_close(local->io->world, &local->lock);
    mem_free(local);
    *sink = NULL;
}

static uint64_t local_bytes(const LogSink *sink) {
    return ((const LocalSink *)sink)->bytes;
}

static uint64_t local_syncs(const LogSink *sink) {
    return ((const LocalSink *)sink)->syncs;
}

static const LogSinkOps local_ops = {
    .append = local_append,
    .poll = local_poll,
    .close = local_close,
    .bytes = local_bytes,
    .syncs = local_syncs,
};

static Err local_new(const LogOptions *options, LocalSink **out) {
    enum { SEGMENT_BYTES_DEFAULT = 64 << 20 };
    LocalSink *local = MEM_NEW(LocalSink);
    if (!local) return ERR_NOMEM;
    local->sink.ops = &local_ops;
    local->io = options->io;
    local->segment_bytes = options->segment_bytes ? options->segment_bytes : SEGMENT_BYTES_DEFAULT;
    if (strlen(options->dir) >= sizeof local->dir) {
        mem_free(local);
        return ERR_TOO_LARGE;
    }
    memcpy(local->dir, options->dir, strlen(options->dir) + 1);
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
    bool cut = found->torn_bytes > 0;
    return segment_open(local->io, path, found->salt, found->end, cut, &local->segment);
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
    local->durable_end.v = found->next_offset;
    return found->has_last ? OK : segment_begin(local, 0);
}

Err log_local_open(const LogOptions *options,
                   LogReplay replay,
                   void *ctx,
                   LogSink **out,
                   TxOffset *end,
                   uint64_t *torn_bytes,
                   Diag *diag) {
    LocalSink *local = NULL;
    Recovered found;
    Err err = local_new(options, &local);
    if (err != OK) return diag_fail(diag, err, "cannot open the log: %s", err_text(err));
    LogSink *sink = &local->sink;

    if ((err = dir_take(local, diag)) != OK) goto done;
    if ((err = log_recover(local->io, local->dir, replay, ctx, &found, diag)) != OK) goto done;
    if ((err = continue_from(local, &found)) != OK) {
        fail(diag, err, "cannot continue the log", local->dir);
        goto done;
    }
    *end = local->durable_end;
    if (torn_bytes) *torn_bytes = found.torn_bytes;
    *out = sink;
    sink = NULL;
done:
    local_close(&sink);
    return err;
}
