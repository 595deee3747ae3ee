// segment.c: one file of the log, byte by byte.
//
//   0          64                                                                 size
//   │ header   │ frame payload │ frame payload │ …            │ zeros             │
//
//   header, 64 bytes                            frame, 48 bytes, then its payload
//    0  8  "lclog\r\n\0"                          0  4  0x48544142 ("BATH")
//    8  4  version, 1                             4  4  crc: crc32c of salt, frame[8..48]
//   12  4  chain                                  8  8  offset of the first commit
//   16  8  first offset                          16  8  epoch
//   24  8  epoch                                 24  8  payload bytes
//   32  8  salt                                  32  4  commits in the payload
//   40  8  created, microseconds since 1970      36  4  chain: crc of the frame before it
//   48 12  zeros
//   60  4  crc32c of header[0..60]               40  4  crc32c of salt, payload
//                                                44  4  zero
//                                                       payload: commits as commit.h has them
//
// All little-endian. Files are named by their first offset, in 20 digits, ".log". They are
// preallocated, so that zeros are a clean end and a full disk is met when a segment is begun and
// not in the middle of it. A batch that is larger than a segment gets a segment of its size.
//
// ALWAYS TRUE
//   (1) The header and the file's name are durable before the first frame is written.
//   (2) A frame is durable before the next one is written, here or in the next segment. So only
//       the last frame of the last segment can be torn.
//   (3) A frame's chain is the crc of the one before it, across segments. Its checksums are seeded
//       with the salt of its file: bytes of another file, an older life of this one, or a copy of
//       a log stored as somebody's data never pass for a frame.
//   (4) We rewrite the last sector of a durable frame when we append the next one to it. That
//       relies, as SQLite's and PostgreSQL's logs do, on a sector write that is cut off by a power
//       loss leaving the sector's unchanged bytes alone.
#include "log/segment.h"

#include <stdio.h>

#include "base/crc32c.h"
#include "base/mem.h"
#include "log/recover.h"

enum { VERSION = 1, FRAME_MAGIC = 0x48544142 };

static const uint8_t head_magic[8] = "lclog\r\n";

void segment_name_write(uint64_t first_offset, char out[SEGMENT_NAME_LEN + 1]) {
    snprintf(out, SEGMENT_NAME_LEN + 1, "%020llu.log", (unsigned long long)first_offset);
}

bool segment_name_parse(const char *name, uint64_t *first_offset) {
    uint64_t v = 0;
    if (strlen(name) != SEGMENT_NAME_LEN || strcmp(name + 20, ".log") != 0) return false;
    for (int i = 0; i < 20; i++) {
        if (name[i] < '0' || name[i] > '9') return false;
        if (__builtin_mul_overflow(v, 10u, &v)) return false;
        if (__builtin_add_overflow(v, (uint64_t)(name[i] - '0'), &v)) return false;
    }
    *first_offset = v;
    return true;
}

void segment_head_write(const SegmentHead *head, uint8_t out[SEGMENT_HEAD_BYTES]) {
    memset(out, 0, SEGMENT_HEAD_BYTES);
    memcpy(out, head_magic, sizeof head_magic);
    store_u32(out + 8, VERSION);
    store_u32(out + 12, head->chain);
    store_u64(out + 16, head->first_offset);
    store_u64(out + 24, head->epoch);
    store_u64(out + 32, head->salt);
    store_u64(out + 40, (uint64_t)head->created);
    store_u32(out + 60, crc32c(0, BYTES(out, 60)));
}

bool segment_head_read(Bytes file, SegmentHead *out) {
    if (file.len < SEGMENT_HEAD_BYTES) return false;
    const uint8_t *p = file.ptr;
    if (memcmp(p, head_magic, sizeof head_magic) != 0 || load_u32(p + 8) != VERSION) return false;
    if (load_u32(p + 60) != crc32c(0, BYTES(p, 60))) return false;
    *out = (SegmentHead){
        .chain = load_u32(p + 12),
        .first_offset = load_u64(p + 16),
        .epoch = load_u64(p + 24),
        .salt = load_u64(p + 32),
        .created = (Micros)load_u64(p + 40),
    };
    return true;
}

static uint32_t salted_crc(uint64_t salt, Bytes bytes) {
    return crc32c(crc32c(0, BYTES(&salt, sizeof salt)), bytes);
}

// Of a payload whose checksum is known.
static void frame_head_write(uint64_t salt, SegmentFrame *frame, uint8_t out[SEGMENT_FRAME_BYTES]) {
    store_u32(out, FRAME_MAGIC);
    store_u64(out + 8, frame->first_offset);
    store_u64(out + 16, frame->epoch);
    store_u64(out + 24, frame->payload_len);
    store_u32(out + 32, frame->commits);
    store_u32(out + 36, frame->chain);
    store_u32(out + 40, frame->payload_crc);
    store_u32(out + 44, 0);
    frame->crc = salted_crc(salt, BYTES(out + 8, SEGMENT_FRAME_BYTES - 8));
    store_u32(out + 4, frame->crc);
}

void segment_frame_write(uint64_t salt, SegmentFrame *frame, uint8_t out[SEGMENT_FRAME_BYTES]) {
    Bytes payload = {out + SEGMENT_FRAME_BYTES, frame->payload_len};
    frame->payload_crc = salted_crc(salt, payload);
    frame_head_write(salt, frame, out);
}

// The header has a checksum of its own, so that its length can be believed before the payload is
// summed up, and a search through megabytes of somebody's data stays linear whatever is in them.
bool segment_frame_head_read(uint64_t salt, Bytes file, uint64_t at, SegmentFrame *out) {
    if (at > file.len || file.len - at < SEGMENT_FRAME_BYTES) return false;
    const uint8_t *p = file.ptr + at;
    if (load_u32(p) != FRAME_MAGIC) return false;
    *out = (SegmentFrame){
        .crc = load_u32(p + 4),
        .first_offset = load_u64(p + 8),
        .epoch = load_u64(p + 16),
        .payload_len = load_u64(p + 24),
        .commits = load_u32(p + 32),
        .chain = load_u32(p + 36),
        .payload_crc = load_u32(p + 40),
    };
    return out->crc == salted_crc(salt, BYTES(p + 8, SEGMENT_FRAME_BYTES - 8));
}

bool segment_frame_read(uint64_t salt, Bytes file, uint64_t at, SegmentFrame *out) {
    if (!segment_frame_head_read(salt, file, at, out)) return false;
    if (out->payload_len > file.len - at - SEGMENT_FRAME_BYTES) return false;
    Bytes payload = {file.ptr + at + SEGMENT_FRAME_BYTES, out->payload_len};
    return out->payload_crc == salted_crc(salt, payload);
}

uint64_t segment_frame_find(uint64_t salt, Bytes file, uint64_t from) {
    SegmentFrame frame;
    while (from < file.len && file.len - from >= SEGMENT_FRAME_BYTES) {
        const uint8_t *first = memchr(file.ptr + from, FRAME_MAGIC & 255, file.len - from);
        if (!first) break;
        from = (uint64_t)(first - file.ptr);
        if (segment_frame_head_read(salt, file, from, &frame)) return from;
        from++;
    }
    return file.len;
}

Err segment_create(const Io *io,
                   const char *dir,
                   const SegmentHead *head,
                   uint64_t size,
                   Segment *out) {
    char name[SEGMENT_NAME_LEN + 1], path[IO_PATH_MAX];
    uint8_t bytes[SEGMENT_HEAD_BYTES];
    IoFile *file = NULL;
    segment_name_write(head->first_offset, name);
    segment_head_write(head, bytes);
    Err err = path_join(path, dir, name);
    if (err != OK) return err;
    err = io->file_open(io->world, path, IO_READ | IO_WRITE | IO_CREATE | IO_EXCLUSIVE, &file);
    if (err == OK) err = io->file_preallocate(io->world, file, size);
    if (err == OK) err = io->file_write(io->world, file, 0, bytes, sizeof bytes);
    if (err == OK) err = io->file_sync(io->world, file);
    if (err == OK) err = io->dir_sync(io->world, dir);  // (1)
    if (err != OK) {
        io->file_close(io->world, &file);
        return err;
    }
    *out = (Segment){
        .io = io,
        .file = file,
        .salt = head->salt,
        .size = size,
        .end = SEGMENT_HEAD_BYTES,
        .zeroed_end = SEGMENT_HEAD_BYTES,
    };
    return OK;
}

// Cutting is shrinking and growing again: what comes back is zeros, whatever stood there.
static Err tail_cut(const Io *io, IoFile *file, uint64_t end, uint64_t size) {
    Err err = io->file_truncate(io->world, file, end);
    if (err == OK) err = io->file_preallocate(io->world, file, size);
    return err;
}

// The same bytes in the same place: a power loss in the middle of it changes nothing.
static Err write_again(const Io *io, IoFile *file, uint64_t from, uint64_t end) {
    uint8_t *bytes = mem_alloc(end - from);
    size_t got = 0;
    if (!bytes) return ERR_NOMEM;
    Err err = io->file_read(io->world, file, from, bytes, end - from, &got);
    if (err == OK && got < end - from) err = ERR_IO;  // it was there a moment ago
    if (err == OK) err = io->file_write(io->world, file, from, bytes, got);
    mem_free(bytes);
    return err;
}

Err segment_open(const Io *io, const char *path, const Recovered *found, Segment *out) {
    Segment segment = {.io = io, .salt = found->salt, .end = found->end, .zeroed_end = found->end};
    Err err = io->file_open(io->world, path, IO_READ | IO_WRITE, &segment.file);
    if (err == OK) err = io->file_size(io->world, segment.file, &segment.size);
    if (err == OK && found->torn_bytes > 0)
        err = tail_cut(io, segment.file, found->end, segment.size);
    if (err == OK) err = write_again(io, segment.file, found->last_frame, found->end);
    if (err == OK) err = io->file_sync(io->world, segment.file);
    if (err != OK) {
        segment_close(&segment);
        return err;
    }
    *out = segment;
    return OK;
}

void segment_close(Segment *segment) {
    if (segment->file) segment->io->file_close(segment->io->world, &segment->file);
}

bool segment_has_room(const Segment *segment, size_t payload_len) {
    uint64_t room = segment->size - MIN(segment->size, segment->end);
    return room >= SEGMENT_FRAME_BYTES && room - SEGMENT_FRAME_BYTES >= payload_len;
}

Err segment_grow(Segment *segment, uint64_t size) {
    Err err = segment->io->file_preallocate(segment->io->world, segment->file, size);
    if (err == OK) segment->size = MAX(segment->size, size);
    return err;
}

// Syncing a write into space that is only preallocated makes the file system record that the space
// is now written: 250 µs on ext4 here against 165 µs into space that holds zeros already. So small
// batches write zeros ahead of themselves now and then; for large ones it would not pay.
enum { ZERO_AHEAD_BYTES = 256 * 1024, ZERO_AHEAD_BATCH_MAX = ZERO_AHEAD_BYTES / 8 };
static uint8_t zeros[ZERO_AHEAD_BYTES];

static Err zero_ahead(Segment *segment, uint64_t end) {
    if (end <= segment->zeroed_end || end - segment->end > ZERO_AHEAD_BATCH_MAX) return OK;
    uint64_t until = MIN(segment->size, end + sizeof zeros);
    const Io *io = segment->io;
    Err err = io->file_write(io->world, segment->file, end, zeros, until - end);
    if (err == OK) segment->zeroed_end = until;
    return err;
}

Err segment_write(Segment *segment, SegmentFrame *frame, uint8_t *payload) {
    ASSERT(segment_has_room(segment, frame->payload_len));
    const Io *io = segment->io;
    uint8_t *start = payload - SEGMENT_FRAME_BYTES;
    uint64_t len = SEGMENT_FRAME_BYTES + frame->payload_len;
    segment_frame_write(segment->salt, frame, start);
    Err err = io->file_write(io->world, segment->file, segment->end, start, len);
    if (err == OK) err = zero_ahead(segment, segment->end + len);
    if (err == OK) segment->end += len;
    return err;
}

// ── large batches ──────────────────────────────────────────────────────────────────────────────

// What was summed up is in the processor's cache when it is written.
enum { STEP_BYTES = 256 * 1024 };

typedef struct LargeWrite {
    Segment *segment;
    uint64_t at;  // in the file
    uint32_t crc;
} LargeWrite;

static Err part_write(LargeWrite *to, const uint8_t *bytes, size_t len) {
    const Io *io = to->segment->io;
    Err err = OK;
    for (size_t step; err == OK && len > 0; bytes += step, len -= step) {
        step = MIN(len, (size_t)STEP_BYTES);
        to->crc = crc32c(to->crc, BYTES(bytes, step));
        err = io->file_write(io->world, to->segment->file, to->at, bytes, step);
        to->at += step;
    }
    return err;
}

// The header, which has the checksum, comes last, and with it what stands in its sector.
Err segment_write_large(Segment *segment, SegmentFrame *frame, const LogBatch *batch) {
    ASSERT(segment_has_room(segment, frame->payload_len) && frame->payload_len == batch->bytes);
    const Io *io = segment->io;
    uint8_t *start = batch->payload - SEGMENT_FRAME_BYTES;
    size_t whole = batch->piece_count ? batch->pieces[0].at : batch->payload_len;
    size_t from = MIN(whole, (size_t)STEP_BYTES), first = SEGMENT_FRAME_BYTES + from;
    LargeWrite to = {
        .segment = segment,
        .at = segment->end + first,
        .crc = salted_crc(segment->salt, BYTES(batch->payload, from)),
    };
    Err err = OK;
    for (uint32_t i = 0; err == OK && i < batch->piece_count; i++) {
        const LogPiece *piece = &batch->pieces[i];
        err = part_write(&to, batch->payload + from, piece->at - from);
        if (err == OK) err = part_write(&to, piece->bytes.ptr, piece->bytes.len);
        from = piece->at;
    }
    if (err == OK) err = part_write(&to, batch->payload + from, batch->payload_len - from);
    frame->payload_crc = to.crc;
    frame_head_write(segment->salt, frame, start);
    if (err == OK) err = io->file_write(io->world, segment->file, segment->end, start, first);
    if (err == OK) err = zero_ahead(segment, to.at);
    if (err == OK) segment->end = to.at;
    return err;
}
