#include "txn/restore.h"

#include "base/mem.h"

enum { COPY_BYTES = 1 << 20, FLUSH_COMMITS = 4096 };

// ── the log ────────────────────────────────────────────────────────────────────────────────────

typedef struct LogCopy {
    const DbRestore *restore;
    DbRestored *out;
    Log *log;
    bool is_past;  // the point in time has been reached
} LogCopy;

static Err copy_commit(void *ctx, const Commit *commit, Diag *diag) {
    LogCopy *copy = ctx;
    const DbRestore *restore = copy->restore;
    copy->is_past |=
        commit->offset.v >= restore->until.v || commit->info.timestamp > restore->until_time;
    if (copy->is_past) return OK;
    Bytes ops = commit->ops;
    CommitOp op;
    TxOffset offset;
    log_commit_begin(copy->log, &commit->info);
    while (commit_next_op(&ops, &op)) {
        log_commit_op(copy->log, op.kind, op.table_id, op.bytes);
    }
    Err err = log_commit_end(copy->log, &offset);
    if (err != OK) return diag_fail(diag, err, "cannot copy the log: %s", err_text(err));
    ASSERT(offset.v == commit->offset.v);
    copy->out->time = commit->info.timestamp;
    return offset.v % FLUSH_COMMITS ? OK : log_flush(copy->log, diag);
}

static Err log_restore(const DbRestore *restore, DbRestored *out, Diag *diag) {
    LogCopy copy = {.restore = restore, .out = out};
    LogOptions to = {
        .io = restore->io,
        .dir = restore->log_to,
        .start = out->from,
        .begins = true,
    };
    LogOptions from = {.io = restore->io, .dir = restore->log_from, .start = out->from};
    LogVerified verified;
    Err err = log_open(&to, NULL, NULL, &copy.log, NULL, diag);
    if (err == OK && restore->log_from) {
        err = log_verify(&from, copy_commit, &copy, &verified, diag);
    }
    if (err == OK) err = log_flush(copy.log, diag);
    if (err == OK) out->end = log_end(copy.log);
    if (copy.log) log_close(&copy.log);
    return err;
}

// ── the page file ──────────────────────────────────────────────────────────────────────────────

static Err copy_bytes(const Io *io, IoFile *from, IoFile *to, uint64_t bytes) {
    uint8_t *piece = mem_alloc(COPY_BYTES);
    Err err = piece ? OK : ERR_NOMEM;
    for (uint64_t at = 0; err == OK && at < bytes;) {
        size_t want = (size_t)MIN((uint64_t)COPY_BYTES, bytes - at), got = 0;
        err = io->file_read(io->world, from, at, piece, want, &got);
        if (err == OK && got < want) err = ERR_CORRUPT;
        if (err == OK) err = io->file_write(io->world, to, at, piece, got);
        at += want;
    }
    mem_free(piece);
    return err;
}

static Err dir_of_sync(const Io *io, const char *path) {
    char dir[IO_PATH_MAX];
    if (strlen(path) >= sizeof dir) return ERR_TOO_LARGE;
    memcpy(dir, path, strlen(path) + 1);
    char *slash = strrchr(dir, '/');
    if (slash) *slash = 0;
    return io->dir_sync(io->world, slash ? dir : ".");
}

static Err pages_restore(const DbRestore *restore, uint64_t bytes, Diag *diag) {
    const Io *io = restore->io;
    IoFile *from = NULL, *to = NULL;
    int flags = IO_WRITE | IO_CREATE | IO_EXCLUSIVE;
    Err err = io->file_open(io->world, restore->image, IO_READ, &from);
    if (err == OK) err = io->file_open(io->world, restore->page_file, flags, &to);
    if (err == OK) err = copy_bytes(io, from, to, bytes);
    if (err == OK) err = io->file_sync(io->world, to);
    if (err == OK) err = dir_of_sync(io, restore->page_file);
    io->file_close(io->world, &from);
    io->file_close(io->world, &to);
    if (err == OK) return OK;
    return diag_fail(diag,
                     err,
                     "cannot copy %s to %s: %s",
                     restore->image,
                     restore->page_file,
                     err_text(err));
}

Err db_restore(const DbRestore *restore, DbRestored *out, Diag *diag) {
    StoreImageInfo info;
    const Io *io = restore->io;
    IoFile *there = NULL;
    Err err = store_image_info(io, restore->image, &info, diag);
    if (err != OK) return err;
    if (restore->until.v < info.log_offset || restore->until_time < info.time) {
        return diag_fail(diag,
                         ERR_INVALID,
                         "the backup is of a later moment: it holds every commit below %llu",
                         (unsigned long long)info.log_offset);
    }
    if (io->file_open(io->world, restore->page_file, IO_READ, &there) == OK) {
        io->file_close(io->world, &there);
        return diag_fail(diag, ERR_EXISTS, "there is a database already: %s", restore->page_file);
    }
    *out = (DbRestored){.from = {info.log_offset}, .end = {info.log_offset}, .time = info.time};
    // The page file is last: without it the log, which begins late, is nobody's.
    if ((err = log_restore(restore, out, diag)) != OK) return err;
    return pages_restore(restore, info.bytes, diag);
}
