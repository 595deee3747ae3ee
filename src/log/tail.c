// tail.c: following batches through the segments, keeping those somebody asked for.
//
//   segment 0 [head│frame│frame│frame]      segment 1 [head│frame│frame│ 0 0 0 …
//                   skipped ┘  └ frames[0] …                └ frames[n-1]  └ here: `next`, `chain`
//
// Up to the first mark that was asked for only the headers of frames are looked at. A mark names the
// segment that its batch stands in. Where a segment begins, that is the one before it, or, if the log
// was opened there anew, the segment itself: both names are right.
#include "log/tail.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "base/mem.h"
#include "log/recover.h"

enum { WINDOW_BYTES = 1 << 20 };

// A place between two batches, as marks know it.
typedef struct Place {
    uint64_t next;   // the offset of what follows
    uint32_t chain;  // of the batch before
    uint64_t salt,
        salt_of;  // of the segment that the place is in, and of that with the batch before
} Place;

typedef struct TailFrame TailFrame;
struct TailFrame {
    Place before;
    uint64_t end;  // the offset behind its commits
    Bytes payload;
    TailFrame *next;  // set once, before anybody may look at it
};

struct LogTail {
    const Io *io;
    char dir[IO_PATH_MAX];
    uint64_t bytes_max;
    atomic_uint refs;

    pthread_mutex_t mutex;  // for all below; frames that are linked do not change any more
    IoFile *file;           // NULL: nothing was read yet
    uint64_t file_bytes;
    uint64_t at;  // in the file: where `here` is
    Place here;
    Buf window;  // bytes of the file, from …
    uint64_t window_at;
    Arena arena;
    TailFrame **frames;
    size_t count, cap;
};

Err log_tail_new(const Io *io, const char *dir, uint64_t bytes_max, LogTail **out) {
    LogTail *tail = MEM_NEW(LogTail);
    if (!tail) return ERR_NOMEM;
    if (strlen(dir) >= sizeof tail->dir) {
        mem_free(tail);
        return ERR_TOO_LARGE;
    }
    memcpy(tail->dir, dir, strlen(dir) + 1);
    tail->io = io;
    tail->bytes_max = bytes_max;
    atomic_init(&tail->refs, 1);
    pthread_mutex_init(&tail->mutex, NULL);
    *out = tail;
    return OK;
}

LogTail *log_tail_retain(LogTail *tail) {
    atomic_fetch_add_explicit(&tail->refs, 1, memory_order_relaxed);
    return tail;
}

void log_tail_release(LogTail **handle) {
    LogTail *tail = *handle;
    *handle = NULL;
    if (!tail || atomic_fetch_sub_explicit(&tail->refs, 1, memory_order_acq_rel) != 1) return;
    tail->io->file_close(tail->io->world, &tail->file);
    buf_deinit(&tail->window);
    arena_deinit(&tail->arena);
    mem_free(tail->frames);
    pthread_mutex_destroy(&tail->mutex);
    mem_free(tail);
}

// ── the file ───────────────────────────────────────────────────────────────────────────────────

// Bytes of the file that are there; fewer than `len` where it ends. Valid until the next call.
static Err file_bytes(LogTail *tail, uint64_t at, uint64_t len, Bytes *out) {
    uint64_t there = tail->window_at + tail->window.len;
    len = MIN(len, tail->file_bytes - MIN(at, tail->file_bytes));
    if (at < tail->window_at || at + len > there) {
        uint64_t want = MIN(MAX(len, (uint64_t)WINDOW_BYTES), tail->file_bytes - at);
        size_t got = 0;
        buf_clear(&tail->window);
        uint8_t *to = buf_extend(&tail->window, want);
        if (!to) return ERR_NOMEM;
        Err err = tail->io->file_read(tail->io->world, tail->file, at, to, want, &got);
        if (err == OK && got < len) err = ERR_IO;
        tail->window.len = err == OK ? got : 0;
        tail->window_at = at;
        if (err != OK) return err;
    }
    *out = BYTES(tail->window.ptr + (at - tail->window_at), len);
    return OK;
}

// What was read before may have been zeros then.
static void window_forget(LogTail *tail) {
    buf_clear(&tail->window);
    tail->window_at = 0;
}

static Err segment_enter(LogTail *tail, uint64_t first, bool is_first, Diag *diag) {
    const Io *io = tail->io;
    char name[SEGMENT_NAME_LEN + 1], path[IO_PATH_MAX];
    SegmentHead head;
    Bytes bytes;
    IoFile *file = NULL;
    segment_name_write(first, name);
    Err err = path_join(path, tail->dir, name);
    if (err == OK) err = io->file_open(io->world, path, IO_READ, &file);
    if (err != OK) return diag_fail(diag, err, "cannot open %s: %s", path, err_text(err));
    io->file_close(io->world, &tail->file);
    tail->file = file;
    window_forget(tail);
    err = io->file_size(io->world, file, &tail->file_bytes);
    if (err == OK) err = file_bytes(tail, 0, SEGMENT_HEAD_BYTES, &bytes);
    if (err == OK && !segment_head_read(bytes, &head)) err = ERR_CORRUPT;
    if (err == OK && head.first_offset != first) err = ERR_CORRUPT;
    if (err == OK && !is_first && head.chain != tail->here.chain) err = ERR_CORRUPT;
    if (err != OK) return diag_fail(diag, err, "cannot read %s: %s", path, err_text(err));
    tail->at = SEGMENT_HEAD_BYTES;
    tail->here.salt = head.salt;
    if (is_first) tail->here = (Place){first, head.chain, head.salt, head.salt};
    return OK;
}

// The header of the batch at `here`, in the next segment if this one has ended.
static Err frame_find(LogTail *tail, SegmentFrame *frame, Diag *diag) {
    Bytes bytes;
    for (;;) {
        Err err = file_bytes(tail, tail->at, SEGMENT_FRAME_BYTES, &bytes);
        if (err != OK) return diag_fail(diag, err, "cannot read the log: %s", err_text(err));
        if (segment_frame_head_read(tail->here.salt, bytes, 0, frame)) break;
        bool is_new = tail->at == SEGMENT_HEAD_BYTES;
        if (is_new) return diag_fail(diag, ERR_CORRUPT, "the log ends before its end");
        if ((err = segment_enter(tail, tail->here.next, false, diag)) != OK) return err;
    }
    if (frame->first_offset != tail->here.next || frame->chain != tail->here.chain ||
        !frame->commits)
        return diag_fail(diag, ERR_CORRUPT, "a batch of the log does not follow the one before it");
    return OK;
}

static void frame_pass(LogTail *tail, const SegmentFrame *frame) {
    tail->at += SEGMENT_FRAME_BYTES + frame->payload_len;
    tail->here.next += frame->commits;
    tail->here.chain = frame->crc;
    tail->here.salt_of = tail->here.salt;
}

static Err frames_reserve(LogTail *tail) {
    if (tail->count < tail->cap) return OK;
    size_t cap = tail->cap * 2 + 64;
    TailFrame **frames = mem_realloc(tail->frames, cap * sizeof(TailFrame *));
    if (!frames) return ERR_NOMEM;
    tail->frames = frames;
    tail->cap = cap;
    return OK;
}

static Err frame_keep(LogTail *tail, const SegmentFrame *found, Diag *diag) {
    SegmentFrame frame;
    Bytes bytes;
    uint64_t len = SEGMENT_FRAME_BYTES + found->payload_len;
    if (found->payload_len > tail->bytes_max - MIN(tail->bytes_max, tail->arena.used_bytes))
        return diag_fail(diag, ERR_TOO_LARGE, "too much has happened since");
    Err err = file_bytes(tail, tail->at, len, &bytes);
    if (err == OK && !segment_frame_read(tail->here.salt, bytes, 0, &frame)) err = ERR_CORRUPT;
    if (err == OK) err = frames_reserve(tail);
    if (err != OK) return diag_fail(diag, err, "cannot read the log: %s", err_text(err));
    TailFrame *kept = arena_new(&tail->arena, TailFrame);
    if (!kept) return ERR_NOMEM;
    kept->before = tail->here;
    kept->end = tail->here.next + found->commits;
    kept->payload =
        arena_bytes(&tail->arena, BYTES(bytes.ptr + SEGMENT_FRAME_BYTES, found->payload_len));
    if (!kept->payload.ptr) return ERR_NOMEM;
    if (tail->count) tail->frames[tail->count - 1]->next = kept;
    tail->frames[tail->count++] = kept;
    return OK;
}

// ── places ─────────────────────────────────────────────────────────────────────────────────────

static bool is_place(const Place *place, const LogMark *mark) {
    bool salted = mark->salt == place->salt || mark->salt == place->salt_of;
    return place->next == mark->offset.v && place->chain == mark->chain && salted;
}

static Err none_of_ours(Diag *diag) {
    return diag_fail(diag, ERR_CONFLICT, "that is a place in another history");
}

// To where the first mark is, without keeping what comes before it.
static Err begin(LogTail *tail, uint64_t offset, Diag *diag) {
    OffsetList offsets = {0};
    Err err = segments_list(tail->io, tail->dir, &offsets);
    if (err != OK) diag_fail(diag, err, "cannot list %s: %s", tail->dir, err_text(err));
    size_t at = 0;
    while (err == OK && at + 1 < offsets.count && offsets.list[at + 1] < offset) {
        at++;
    }
    bool is_gone = err == OK && (offsets.count == 0 || offsets.list[at] > offset);
    if (is_gone) err = diag_fail(diag, ERR_NOT_FOUND, "the log does not reach back so far");
    if (err == OK) err = segment_enter(tail, offsets.list[at], true, diag);
    mem_free(offsets.list);
    while (err == OK && tail->here.next < offset) {
        SegmentFrame frame;
        err = frame_find(tail, &frame, diag);
        if (err == OK) frame_pass(tail, &frame);
    }
    if (err == OK && tail->here.next > offset) err = none_of_ours(diag);  // within a batch
    if (err != OK) tail->io->file_close(tail->io->world, &tail->file);
    return err;
}

static Err extend(LogTail *tail, uint64_t to, Diag *diag) {
    Err err = OK;
    window_forget(tail);
    while (err == OK && tail->here.next < to) {
        SegmentFrame frame;
        err = frame_find(tail, &frame, diag);
        if (err == OK) err = frame_keep(tail, &frame, diag);
        if (err == OK) frame_pass(tail, &frame);
    }
    return err;
}

static uint64_t first_kept(const LogTail *tail) {
    return tail->count ? tail->frames[0]->before.next : tail->here.next;
}

// The first batch that begins at the mark; *out NULL: there is none yet.
static Err find(LogTail *tail, const LogMark *mark, TailFrame **out, Diag *diag) {
    size_t low = 0, high = tail->count;
    *out = NULL;
    if (mark->offset.v < first_kept(tail))
        return diag_fail(diag, ERR_NOT_FOUND, "only later commits are kept in memory");
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (tail->frames[middle]->before.next < mark->offset.v)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == tail->count) return is_place(&tail->here, mark) ? OK : none_of_ours(diag);
    if (!is_place(&tail->frames[low]->before, mark)) return none_of_ours(diag);
    *out = tail->frames[low];
    return OK;
}

static Err locate(LogTail *tail, const LogMark *from, TxOffset to, TailFrame **first, Diag *diag) {
    Err err = OK;
    if (from->offset.v > to.v) return none_of_ours(diag);
    if (!tail->file) err = begin(tail, from->offset.v, diag);
    if (err == OK) err = extend(tail, to.v, diag);
    if (err == OK) err = find(tail, from, first, diag);
    return err;
}

bool log_tail_is_later(LogTail *tail, TxOffset offset) {
    pthread_mutex_lock(&tail->mutex);
    bool is = tail->file && offset.v < first_kept(tail);
    pthread_mutex_unlock(&tail->mutex);
    return is;
}

static Err frame_give(const TailFrame *frame, TxOffset to, LogReplay each, void *ctx, Diag *diag) {
    Bytes rest = frame->payload;
    while (rest.len > 0) {
        Commit commit;
        if (commit_read(&rest, &commit) != OK)
            return diag_fail(diag, ERR_CORRUPT, "a batch of the log holds what is no commit");
        if (commit.offset.v >= to.v) return OK;
        Err err = each(ctx, &commit, diag);
        if (err != OK) return err;
    }
    return OK;
}

Err log_tail_read(LogTail *tail,
                  const LogMark *from,
                  TxOffset to,
                  LogReplay each,
                  void *ctx,
                  Diag *diag) {
    TailFrame *frame = NULL;
    pthread_mutex_lock(&tail->mutex);
    Err err = locate(tail, from, to, &frame, diag);
    pthread_mutex_unlock(&tail->mutex);
    // `next` of the last batch that concerns us may be set just now; it is not looked at.
    for (bool more = frame && frame->before.next < to.v; err == OK && more;) {
        err = frame_give(frame, to, each, ctx, diag);
        more = frame->end < to.v;
        if (more) frame = frame->next;
    }
    return err;
}
