// recover.c: reading the log back, and telling a torn tail from damage.
//
//   file 1 [head│frame│frame│frame]   file 2 [head│frame│frame│ ??? ]
//            every frame follows the one before it:               │
//            offset, epoch, chain                                 │
//                                        zeros to the end: the log ends here
//                                        another frame further on: ERR_CORRUPT
//                                        neither, in the last file: a torn tail, cut
//
// Why that is right: a frame is written after the one before it was synced (segment.c, (2)). If a
// frame's header stands after a broken frame, the broken one was durable once. If none does, it may be
// the write that the power loss interrupted, and nobody was told that it had happened. One case
// cannot be told apart: the last durable frame itself going bad while nothing was being written.
// It is cut as a torn tail, and torn_bytes says that something was.
#include "log/recover.h"

#include <stdlib.h>

#include "base/mem.h"

typedef struct Reader {
    const Io *io;
    const char *dir;
    uint64_t start, end;
    LogReplay replay;
    void *ctx;
    Diag *diag;
    Recovered found;
    bool has_read;                    // a segment; the one before the first is not known
    char name[SEGMENT_NAME_LEN + 1];  // of the file being read
    Buf file;
} Reader;

static Err corrupt(const Reader *reader, uint64_t at, const char *what) {
    return diag_fail_at(reader->diag,
                        ERR_CORRUPT,
                        at,
                        "log segment %s/%s is damaged at byte %llu: %s",
                        reader->dir,
                        reader->name,
                        (unsigned long long)at,
                        what);
}

static Err name_collect(void *ctx, const char *name) {
    OffsetList *offsets = ctx;
    uint64_t first_offset;
    if (!segment_name_parse(name, &first_offset)) return OK;  // not ours
    if (offsets->count == offsets->cap) {
        size_t cap = offsets->cap * 2 + 16;
        uint64_t *list = mem_realloc(offsets->list, cap * sizeof *list);
        if (!list) return ERR_NOMEM;
        offsets->list = list;
        offsets->cap = cap;
    }
    offsets->list[offsets->count++] = first_offset;
    return OK;
}

static int offset_order(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

Err segments_list(const Io *io, const char *dir, OffsetList *out) {
    Err err = io->dir_list(io->world, dir, name_collect, out);
    if (err == OK && out->count > 1) {
        qsort(out->list, out->count, sizeof *out->list, offset_order);
    }
    return err;
}

// The length of the file without the zeros at its end, but at least `from`.
static uint64_t nonzero_end(Bytes file, uint64_t from) {
    uint64_t end = file.len;
    while (end - MIN(end, from) >= 8 && load_u64(file.ptr + end - 8) == 0) {
        end -= 8;
    }
    while (end > from && file.ptr[end - 1] == 0) {
        end--;
    }
    return MAX(end, from);
}

// The commits of one frame, to the replayer. `at` is where the frame's payload begins.
static Err frame_replay(Reader *reader, const SegmentFrame *frame, Bytes payload, uint64_t at) {
    size_t whole = payload.len;
    for (uint32_t i = 0; i < frame->commits; i++) {
        Commit commit;
        uint64_t here = at + (whole - payload.len);
        if (commit_read(&payload, &commit) != OK) {
            return corrupt(reader, here, "this is not a commit");
        }
        if (commit.offset.v != frame->first_offset + i) {
            return corrupt(reader, here, "the commit has another offset than its place says");
        }
        if (!reader->replay || commit.offset.v < reader->start) continue;
        if (commit.offset.v >= reader->end) continue;
        reader->found.replayed_operations += commit.op_count;
        Err err = reader->replay(reader->ctx, &commit, reader->diag);
        if (err != OK) return err;
    }
    return payload.len == 0 ? OK : corrupt(reader, at + (whole - payload.len), "bytes left over");
}

static Err frame_check(const Reader *reader, const SegmentFrame *frame, uint64_t at) {
    const Recovered *found = &reader->found;
    if (frame->chain != found->chain) return corrupt(reader, at, "the batch before it is missing");
    if (frame->first_offset != found->next_offset) return corrupt(reader, at, "a gap in offsets");
    if (frame->epoch < found->epoch) return corrupt(reader, at, "the epoch goes back");
    if (frame->commits == 0) return corrupt(reader, at, "a batch without commits");
    return OK;
}

// What stands at `at`, where no whole frame does: nothing, a torn frame, or damage.
static Err tail_judge(Reader *reader, const SegmentHead *head, uint64_t at, bool is_last) {
    Bytes file = buf_bytes(&reader->file);
    uint64_t end = nonzero_end(file, at);
    reader->found.end = at;
    if (end == at) return OK;
    if (segment_frame_find(head->salt, file, at + 1) < file.len) {
        return corrupt(reader, at, "a batch does not match its checksum, and others follow it");
    }
    if (!is_last) return corrupt(reader, at, "a batch does not match its checksum");
    reader->found.torn_bytes += end - at;
    return OK;
}

static Err frames_read(Reader *reader, const SegmentHead *head, bool is_last) {
    Bytes file = buf_bytes(&reader->file);
    uint64_t at = SEGMENT_HEAD_BYTES;
    SegmentFrame frame;
    while (segment_frame_read(head->salt, file, at, &frame)) {
        Err err = frame_check(reader, &frame, at);
        if (err != OK) return err;
        uint64_t payload_at = at + SEGMENT_FRAME_BYTES;
        Bytes payload = {file.ptr + payload_at, frame.payload_len};
        if (frame.first_offset + frame.commits > reader->start) {
            err = frame_replay(reader, &frame, payload, payload_at);
            reader->found.replayed_bytes += frame.payload_len;
        }
        if (err != OK) return err;
        reader->found.next_offset += frame.commits;
        reader->found.epoch = frame.epoch;
        reader->found.chain = frame.crc;
        reader->found.last_frame = at;
        at = payload_at + frame.payload_len;
    }
    return tail_judge(reader, head, at, is_last);
}

static Err head_check(Reader *reader, const SegmentHead *head, uint64_t named) {
    Recovered *found = &reader->found;
    if (head->first_offset != named) return corrupt(reader, 0, "it belongs under another name");
    if (!reader->has_read && named > 0) {  // what came before it is gone, or nobody asked for it
        found->next_offset = named;
        found->chain = head->chain;
        found->epoch = head->epoch;
    }
    if (head->first_offset != found->next_offset) {
        return diag_fail_at(reader->diag,
                            ERR_CORRUPT,
                            0,
                            "log segment %s/%s should begin at offset %llu: a segment is missing "
                            "or the one before it has lost its end",
                            reader->dir,
                            reader->name,
                            (unsigned long long)found->next_offset);
    }
    if (head->chain != found->chain) return corrupt(reader, 12, "it follows another segment");
    if (head->epoch < found->epoch) return corrupt(reader, 24, "the epoch goes back");
    return OK;
}

// A header is durable before the first frame is written. Without one, and with nothing behind it,
// the file was being made when the power went.
static Err head_missing(Reader *reader, uint64_t named, bool is_last) {
    Bytes file = buf_bytes(&reader->file);
    uint64_t end = nonzero_end(file, 0);
    if (!is_last || end > SEGMENT_HEAD_BYTES) return corrupt(reader, 0, "it has no valid header");
    reader->found.has_dropped = true;
    reader->found.dropped = named;
    reader->found.torn_bytes += end;
    return OK;
}

static Err segment_read(Reader *reader, uint64_t named, bool is_last) {
    char path[IO_PATH_MAX];
    segment_name_write(named, reader->name);
    buf_clear(&reader->file);
    Err err = path_join(path, reader->dir, reader->name);
    if (err == OK) err = io_read_file(reader->io, path, SIZE_MAX - 1, &reader->file);
    if (err != OK) {
        return diag_fail(reader->diag, err, "cannot read log segment %s: %s", path, err_text(err));
    }
    SegmentHead head;
    if (!segment_head_read(buf_bytes(&reader->file), &head)) {
        return head_missing(reader, named, is_last);
    }
    if ((err = head_check(reader, &head, named)) != OK) return err;
    reader->has_read = true;
    reader->found.has_last = true;
    reader->found.last = named;
    reader->found.salt = head.salt;
    reader->found.last_frame = 0;
    reader->found.epoch = head.epoch;
    return frames_read(reader, &head, is_last);
}

// Where to begin reading: at the newest segment that begins before `start`. One that begins exactly
// there would do, unless it is the last and was never finished.
static size_t first_needed(const OffsetList *offsets, uint64_t start) {
    size_t first = 0;
    while (first + 1 < offsets->count && offsets->list[first + 1] < start) {
        first++;
    }
    return first;
}

static Err range_check(const Reader *reader, const OffsetList *offsets) {
    unsigned long long start = reader->start, next = reader->found.next_offset;
    if (offsets->count && offsets->list[0] > start) {
        return diag_fail(reader->diag,
                         ERR_CORRUPT,
                         "the log in %s begins at offset %llu, but is needed from %llu on: its "
                         "first segments are missing, or the checkpoint is",
                         reader->dir,
                         (unsigned long long)offsets->list[0],
                         start);
    }
    if (next >= start) return OK;
    return diag_fail(reader->diag,
                     ERR_CORRUPT,
                     "the log in %s ends at offset %llu, but the checkpoint goes to %llu: the end "
                     "of the log is lost",
                     reader->dir,
                     next,
                     start);
}

static Err files_list(Reader *reader, const OffsetList *offsets) {
    Recovered *found = &reader->found;
    const Io *io = reader->io;
    found->files = mem_alloc(MAX(offsets->count, 1u) * sizeof *found->files);
    if (!found->files) return ERR_NOMEM;
    for (size_t i = 0; i < offsets->count; i++) {
        if (found->has_dropped && offsets->list[i] == found->dropped) continue;
        char path[IO_PATH_MAX];
        IoFile *file = NULL;
        uint64_t bytes = 0;
        segment_name_write(offsets->list[i], reader->name);
        Err err = path_join(path, reader->dir, reader->name);
        if (err == OK) err = io->file_open(io->world, path, IO_READ, &file);
        if (err == OK) err = io->file_size(io->world, file, &bytes);
        io->file_close(io->world, &file);
        if (err != OK)
            return diag_fail(reader->diag, err, "cannot open %s: %s", path, err_text(err));
        found->files[found->file_count++] = (SegmentFile){offsets->list[i], bytes};
        found->bytes += bytes;
    }
    return OK;
}

Err log_recover(const LogOptions *options,
                bool whole,
                LogReplay replay,
                void *ctx,
                Recovered *out,
                Diag *diag) {
    const Io *io = options->io;
    const char *dir = options->dir;
    uint64_t start = options->start.v;
    Reader reader = {
        .io = io,
        .dir = dir,
        .start = start,
        .end = options->end.v ? options->end.v : UINT64_MAX,
        .replay = replay,
        .ctx = ctx,
        .diag = diag,
    };
    OffsetList offsets = {0};
    Err err = segments_list(io, dir, &offsets);
    if (err != OK) diag_fail(diag, err, "cannot list %s: %s", dir, err_text(err));
    bool begins_late = offsets.count && offsets.list[0] > start;
    for (size_t i = whole ? 0 : first_needed(&offsets, start);
         !begins_late && i < offsets.count && err == OK;
         i++) {
        err = segment_read(&reader, offsets.list[i], i == offsets.count - 1);
    }
    if (err == OK) err = range_check(&reader, &offsets);
    if (err == OK) err = files_list(&reader, &offsets);
    if (err == OK) {
        *out = reader.found;
    } else {
        mem_free(reader.found.files);
    }
    mem_free(offsets.list);
    buf_deinit(&reader.file);
    return err;
}

Err log_verify(const LogOptions *options,
               LogReplay replay,
               void *ctx,
               LogVerified *out,
               Diag *diag) {
    Recovered found;
    Err err = log_recover(options, true, replay, ctx, &found, diag);
    if (err != OK) return err;
    *out = (LogVerified){
        .begin = {found.file_count ? found.files[0].first_offset : 0},
        .end = {found.next_offset},
        .segments = found.file_count,
        .bytes = found.bytes,
        .torn_bytes = found.torn_bytes,
    };
    mem_free(found.files);
    return OK;
}

Err log_look(const LogOptions *options,
             LogReplay replay,
             void *ctx,
             LogOpened *opened,
             Diag *diag) {
    Recovered found;
    Err err = log_recover(options, false, replay, ctx, &found, diag);
    if (err != OK) return err;
    mem_free(found.files);
    uint64_t end = options->end.v ? options->end.v : found.next_offset;
    if (found.next_offset < end) {
        return diag_fail(diag,
                         ERR_CORRUPT,
                         "the log in %s ends at offset %llu, but commits up to %llu were durable",
                         options->dir,
                         (unsigned long long)found.next_offset,
                         (unsigned long long)end);
    }
    *opened = (LogOpened){.end = {end}, .replayed_bytes = found.replayed_bytes};
    return OK;
}
