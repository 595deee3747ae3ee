// pagefile.h: the page file, byte by byte.
//
// PICTURE
//     0         8192      16384                24576
//     │ meta    │ meta    │ page 1             │ page 2 …          little-endian, all of it
//
//   A page stands at its number: page n at (n + 1) * 8192. There is no table that says where a page
//   is, because a page that a checkpoint refers to is never written again: it is frozen (page.h), a
//   change copies it to another number, and its place is free once the next checkpoint is safe. So
//   every write goes to a place that no valid meta page leads to.
//
//   A checkpoint is a meta page. They take turns, so that the older is whole while the younger is
//   being written:
//      0  8  "lcpage\r\n"
//      8  4  version, 1
//     12  4  bytes of a page, 8192
//     16  8  sequence: the checkpoint's number, from 1; it stands in meta page sequence % 2
//     24  8  salt: random, of this file
//     32  8  epoch: no page of the checkpoint is younger
//     40  8  log offset: commits below it are in the checkpoint
//     48  8  wall clock, microseconds since 1970
//     56  4  pages: numbers of pages in use are below it
//     60  4  root: page number of the run described in root.h
//     64  4  crc32c of bytes 0 to 64
//
//   A page (page.h) or run begins with crc32c(salt, the rest of its bytes). The salt keeps pages of
//   another file, or of an older life of this one, from passing for pages of this.
//
// ALWAYS TRUE
//   (1) A meta page is written after all pages it leads to have been synced, and synced before any
//       of the places only the older one leads to is used again.
//   (2) A page in use by checkpoint c has a version <= c's epoch; a place that was used again since
//       carries a greater one. So a meta page that should not be believed any more is found out.
#pragma once
#include "os/io.h"
#include "store/page.h"

enum { PAGEFILE_META_BYTES = 68 };

typedef struct PageFileMeta {
    uint64_t sequence;
    uint64_t salt;
    uint64_t epoch;
    uint64_t log_offset;
    Micros time;
    PageNo end;
    PageNo root;
} PageFileMeta;

typedef struct PageFile {
    const Io *io;  // NULL: closed
    IoFile *file;
    char path[IO_PATH_MAX];
    PageFileMeta meta;  // the newest valid one; sequence 0: there is none yet
    bool meta_torn;     // the other place holds something that is no meta page
} PageFile;

// Bytes to fields and back, of a meta page.
void pagefile_meta_write(const PageFileMeta *meta, uint8_t out[PAGEFILE_META_BYTES]);
bool pagefile_meta_read(Bytes bytes, PageFileMeta *out);

// Open, and lock against other servers; made when it is not there unless `read_only`.
//   ERR_BUSY  another server has it
MUST_USE Err
pagefile_open(const Io *io, const char *path, bool read_only, PageFile *out, Diag *diag);
void pagefile_close(PageFile *file);  // harmless on a zeroed one

// The checksum of a page or run as it belongs in its first four bytes.
uint32_t pagefile_checksum(uint64_t salt, Bytes page);
// Read page `no` to `into`: its first page, and if it is a run whose length is below `room` pages,
// the rest of it. Checks the checksum, the number, and that it is not younger than `epoch`, and of a
// node that it does not point outside of itself. `version` 0: any; else it must be exactly this.
typedef struct PageFileRead {
    uint64_t epoch;
    uint64_t version;
    uint32_t room;
    bool now;      // ERR_AGAIN rather than wait for the disk
    uint32_t run;  // out: how many pages it has
} PageFileRead;
MUST_USE Err
pagefile_read(const PageFile *file, PageNo no, PageFileRead *read, uint8_t *into, Diag *diag);
// How many pages the page or run has; 1 where none can be seen.
MUST_USE Err pagefile_run_length(const PageFile *file,
                                 PageNo no,
                                 const PageFileRead *read,
                                 uint32_t *out);
// What pagefile_read says of bytes that were read; for the fuzzer too.
MUST_USE Err
pagefile_judge(uint64_t salt, PageNo no, const PageFileRead *read, Bytes page, Diag *diag);

// Pages on their way out: neighbours leave in one write.
enum { PAGEFILE_BATCH_BYTES = 512 * 1024 };
typedef struct PageFileBatch {
    PageFile *file;
    uint8_t *bytes;  // PAGEFILE_BATCH_BYTES
    PageNo first;
    size_t len;
    uint64_t written;  // bytes, in all
} PageFileBatch;
MUST_USE Err pagefile_batch_begin(PageFile *file, PageFileBatch *batch);  // ERR_NOMEM
// The page or run is copied, and sealed in the copy. After an error it is not known which of the
// batch's pages were written.
MUST_USE Err pagefile_batch_put(PageFileBatch *batch, const uint8_t *page);
MUST_USE Err pagefile_batch_flush(PageFileBatch *batch);
void pagefile_batch_end(PageFileBatch *batch);

// The place of a page; also how large the file must be for pages below `no`.
static inline uint64_t pagefile_place(PageNo no) {
    return ((uint64_t)no + 1) * PAGE_BYTES;
}
MUST_USE Err pagefile_sync(PageFile *file);
MUST_USE Err pagefile_meta_replace(PageFile *file, const PageFileMeta *meta);  // and syncs it
