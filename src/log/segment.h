// segment.h: one file of the log. Its format is at the top of segment.c.
#pragma once
#include "log/sink.h"

enum { SEGMENT_HEAD_BYTES = 64, SEGMENT_FRAME_BYTES = 48 };
static_assert((int)SEGMENT_FRAME_BYTES <= (int)LOG_BATCH_ROOM_BYTES, "it fits the batch's room");

typedef struct SegmentHead {
    uint64_t first_offset;
    uint64_t epoch;
    uint64_t salt;  // random, of this file: seeds its checksums
    Micros created;
    uint32_t chain;  // crc of the last frame before this file; 0 when there is none
} SegmentHead;

typedef struct SegmentFrame {
    uint64_t first_offset;
    uint64_t epoch;
    uint64_t payload_len;
    uint32_t commits;
    uint32_t chain;        // crc of the frame before it
    uint32_t payload_crc;  // set by segment_frame_write, like crc
    uint32_t crc;          // of the header, and so of everything
} SegmentFrame;

// "00000000000000000042.log": sorts by offset.
#define SEGMENT_NAME_LEN 24
void segment_name_write(uint64_t first_offset, char out[SEGMENT_NAME_LEN + 1]);
bool segment_name_parse(const char *name, uint64_t *first_offset);

// Bytes to fields and back. Reading answers whether the bytes are whole and their checksum right;
// whether they belong here (offset, epoch, chain) is the caller's question.
void segment_head_write(const SegmentHead *head, uint8_t out[SEGMENT_HEAD_BYTES]);
bool segment_head_read(Bytes file, SegmentHead *out);
// Seal a payload that stands right behind `out`.
void segment_frame_write(uint64_t salt, SegmentFrame *frame, uint8_t out[SEGMENT_FRAME_BYTES]);
bool segment_frame_read(uint64_t salt, Bytes file, uint64_t at, SegmentFrame *out);
// The same of its header alone: whether the payload is whole is not looked at.
bool segment_frame_head_read(uint64_t salt, Bytes file, uint64_t at, SegmentFrame *out);
// Where the first frame with a whole header at or after `from` stands; file.len: there is none.
uint64_t segment_frame_find(uint64_t salt, Bytes file, uint64_t from);

// A segment open for appending.
typedef struct Segment {
    const Io *io;
    IoFile *file;
    uint64_t salt;
    uint64_t size;        // of the file
    uint64_t end;         // where the next frame goes
    uint64_t zeroed_end;  // up to here zeros have been written, not only preallocated
} Segment;

// Make a segment: file, space, header, all of it durable with its name.
//   ERR_EXISTS  the file is there
MUST_USE Err
segment_create(const Io *io, const char *dir, const SegmentHead *head, uint64_t size, Segment *out);
// Open one that was read. What stands after its last whole frame is cut off, if anything does. The
// frame itself (or the header, when there is none) is written again and synced: whoever wrote it may
// have died before syncing it, or been told that the sync failed, after which the kernel calls its
// pages clean and another sync would write nothing.
typedef struct Recovered Recovered;
MUST_USE Err segment_open(const Io *io, const char *path, const Recovered *found, Segment *out);
void segment_close(Segment *segment);  // harmless on a zeroed one
bool segment_has_room(const Segment *segment, size_t payload_len);
// More space; durable with the next append.
MUST_USE Err segment_grow(Segment *segment, uint64_t size);
// Write a frame; its header goes into the room before the payload. It is durable once the file has
// been synced, and only then may the next one be written.
MUST_USE Err segment_write(Segment *segment, SegmentFrame *frame, uint8_t *payload);
// The same of a large batch, or one with pieces: summed up and written some at a time.
MUST_USE Err segment_write_large(Segment *segment, SegmentFrame *frame, const LogBatch *batch);
