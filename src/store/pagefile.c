#include "store/pagefile.h"

#include "base/crc32c.h"
#include "base/mem.h"
#include "store/node.h"

enum { VERSION = 1, META_CRC_AT = PAGEFILE_META_BYTES - 4 };

static const uint8_t magic[8] = "lcpage\r\n";

// ── meta pages ─────────────────────────────────────────────────────────────────────────────────

void pagefile_meta_write(const PageFileMeta *meta, uint8_t out[PAGEFILE_META_BYTES]) {
    memcpy(out, magic, sizeof magic);
    store_u32(out + 8, VERSION);
    store_u32(out + 12, PAGE_BYTES);
    store_u64(out + 16, meta->sequence);
    store_u64(out + 24, meta->salt);
    store_u64(out + 32, meta->epoch);
    store_u64(out + 40, meta->log_offset);
    store_u64(out + 48, (uint64_t)meta->time);
    store_u32(out + 56, meta->end);
    store_u32(out + 60, meta->root);
    store_u32(out + META_CRC_AT, crc32c(0, BYTES(out, META_CRC_AT)));
}

bool pagefile_meta_read(Bytes bytes, PageFileMeta *out) {
    if (bytes.len < PAGEFILE_META_BYTES) return false;
    const uint8_t *p = bytes.ptr;
    if (memcmp(p, magic, sizeof magic) != 0 || load_u32(p + 8) != VERSION) return false;
    if (load_u32(p + 12) != PAGE_BYTES) return false;
    if (load_u32(p + META_CRC_AT) != crc32c(0, BYTES(p, META_CRC_AT))) return false;
    *out = (PageFileMeta){
        .sequence = load_u64(p + 16),
        .salt = load_u64(p + 24),
        .epoch = load_u64(p + 32),
        .log_offset = load_u64(p + 40),
        .time = (Micros)load_u64(p + 48),
        .end = load_u32(p + 56),
        .root = load_u32(p + 60),
    };
    return out->sequence > 0 && out->epoch > 0 && out->root != PAGE_NONE && out->root < out->end;
}

static bool all_zero(Bytes bytes) {
    for (size_t i = 0; i < bytes.len; i++) {
        if (bytes.ptr[i]) return false;
    }
    return true;
}

static Err metas_read(PageFile *file, Diag *diag) {
    uint8_t page[PAGE_BYTES];
    for (uint64_t place = 0; place < 2; place++) {
        size_t got;
        PageFileMeta meta;
        Err err = file->io->file_read(file->io->world,
                                      file->file,
                                      place * PAGE_BYTES,
                                      page,
                                      sizeof page,
                                      &got);
        if (err != OK) {
            return diag_fail(diag, err, "cannot read %s: %s", file->path, io_last_error_text());
        }
        bool valid = pagefile_meta_read(BYTES(page, got), &meta) && meta.sequence % 2 == place;
        if (valid && meta.sequence > file->meta.sequence) file->meta = meta;
        if (!valid && !all_zero(BYTES(page, got))) file->meta_torn = true;
    }
    return OK;
}

// ── life ───────────────────────────────────────────────────────────────────────────────────────

Err pagefile_open(const Io *io, const char *path, bool read_only, PageFile *out, Diag *diag) {
    PageFile file = {.io = io};
    Err err = strlen(path) < sizeof file.path ? OK : ERR_TOO_LARGE;
    if (err != OK) return diag_fail(diag, err, "the page file's path is too long");
    memcpy(file.path, path, strlen(path) + 1);
    int flags = read_only ? IO_READ : IO_READ | IO_WRITE | IO_CREATE;
    if ((err = io->file_open(io->world, path, flags, &file.file)) != OK) {
        return diag_fail(diag, err, "cannot open %s: %s", path, io_last_error_text());
    }
    if (!read_only) err = io->file_lock(io->world, file.file);
    if (err == ERR_BUSY) diag_fail(diag, err, "%s is in use by another server", path);
    if (err != OK && err != ERR_BUSY) {
        diag_fail(diag, err, "cannot lock %s: %s", path, io_last_error_text());
    }
    if (err == OK) err = metas_read(&file, diag);
    // It may be known to the kernel only, if the sync failed that was to make it safe.
    if (err == OK && !read_only && file.meta.sequence) {
        err = pagefile_meta_replace(&file, &file.meta);
        if (err != OK) diag_fail(diag, err, "cannot write %s: %s", path, io_last_error_text());
    }
    if (err != OK) {
        pagefile_close(&file);
        return err;
    }
    if (file.meta.sequence == 0) {
        io->random_bytes(io->world, &file.meta.salt, sizeof file.meta.salt);
    }
    *out = file;
    return OK;
}

void pagefile_close(PageFile *file) {
    if (file->io) file->io->file_close(file->io->world, &file->file);
    *file = (PageFile){0};
}

// ── pages in ───────────────────────────────────────────────────────────────────────────────────

uint32_t pagefile_checksum(uint64_t salt, Bytes page) {
    uint32_t seed = crc32c(0, BYTES(&salt, sizeof salt));
    return crc32c(seed, BYTES(page.ptr + 4, page.len - 4));
}

static Err corrupt(Diag *diag, PageNo no, const char *what) {
    return diag_fail(diag,
                     ERR_CORRUPT,
                     "page %u, at byte %llu: %s",
                     no,
                     (unsigned long long)pagefile_place(no),
                     what);
}

// Enough of the header to know how much to read.
static Err head_judge(PageNo no, const PageFileRead *read, const uint8_t *page, Diag *diag) {
    const PageHeader *header = page_header(page);
    if (header->number != no) return corrupt(diag, no, "another page stands there, or none");
    if (header->run == 0 || header->run > read->room) return corrupt(diag, no, "not a page");
    bool is_node = header->kind == PAGE_LEAF || header->kind == PAGE_INNER;
    if (is_node ? header->run != 1 : header->kind != PAGE_RUN)
        return corrupt(diag, no, "not a page");
    return OK;
}

Err pagefile_judge(uint64_t salt, PageNo no, const PageFileRead *read, Bytes page, Diag *diag) {
    const PageHeader *header = page_header(page.ptr);
    Err err = head_judge(no, read, page.ptr, diag);
    if (err != OK) return err;
    if (page.len != (size_t)header->run * PAGE_BYTES) return corrupt(diag, no, "it is cut off");
    uint32_t checksum = pagefile_checksum(salt, page);
    if (header->checksum != checksum) {
        return diag_fail(diag,
                         ERR_CORRUPT,
                         "page %u, at byte %llu: its checksum is %08x, its bytes have %08x",
                         no,
                         (unsigned long long)pagefile_place(no),
                         header->checksum,
                         checksum);
    }
    if (header->version > read->epoch)
        return corrupt(diag, no, "it is younger than the checkpoint");
    if (read->version && header->version != read->version) {
        return corrupt(diag, no, "an older page stands there: a write was lost");
    }
    if (header->kind != PAGE_RUN && !node_is_sane(page.ptr, no + read->room)) {
        return corrupt(diag, no, "the checksum is right, but it is not a node");
    }
    return OK;
}

static Err read_bytes(const PageFile *file,
                      bool now,
                      uint64_t at,
                      uint8_t *into,
                      size_t len,
                      Diag *diag) {
    const Io *io = file->io;
    size_t got;
    Err err = now ? io->file_read_now(io->world, file->file, at, into, len, &got)
                  : io->file_read(io->world, file->file, at, into, len, &got);
    if (err == ERR_AGAIN) return err;
    if (err != OK) {
        return diag_fail(diag,
                         err,
                         "at byte %llu: %s %s",
                         (unsigned long long)at,
                         err_text(err),
                         io_last_error_text());
    }
    if (got == len) return OK;
    return diag_fail(diag,
                     ERR_CORRUPT,
                     "at byte %llu: the file ends after %zu of %zu bytes",
                     (unsigned long long)at,
                     got,
                     len);
}

Err pagefile_read(const PageFile *file, PageNo no, PageFileRead *read, uint8_t *into, Diag *diag) {
    Err err = OK;
    err = read_bytes(file, read->now, pagefile_place(no), into, PAGE_BYTES, diag);
    if (err != OK) return err;
    if ((err = head_judge(no, read, into, diag)) != OK) return err;
    read->run = page_header(into)->run;
    if (read->run > 1) {
        size_t rest = ((size_t)read->run - 1) * PAGE_BYTES;
        uint64_t at = pagefile_place(no + 1);
        err = read_bytes(file, read->now, at, into + PAGE_BYTES, rest, diag);
        if (err != OK) return err;
    }
    Bytes page = {into, (size_t)read->run * PAGE_BYTES};
    return pagefile_judge(file->meta.salt, no, read, page, diag);
}

Err pagefile_run_length(const PageFile *file, PageNo no, const PageFileRead *read, uint32_t *out) {
    alignas(8) uint8_t head[PAGE_HEADER_BYTES];
    *out = 1;
    Err err = read_bytes(file, false, pagefile_place(no), head, sizeof head, NULL);
    if (err == OK && head_judge(no, read, head, NULL) == OK) *out = page_header(head)->run;
    return err == ERR_CORRUPT ? OK : err;
}

// ── pages out ──────────────────────────────────────────────────────────────────────────────────

Err pagefile_batch_begin(PageFile *file, PageFileBatch *batch) {
    *batch = (PageFileBatch){.file = file, .bytes = mem_alloc(PAGEFILE_BATCH_BYTES)};
    return batch->bytes ? OK : ERR_NOMEM;
}

static Err batch_write(PageFileBatch *batch, PageNo first, Bytes bytes) {
    const Io *io = batch->file->io;
    batch->written += bytes.len;
    return io->file_write(io->world,
                          batch->file->file,
                          pagefile_place(first),
                          bytes.ptr,
                          bytes.len);
}

Err pagefile_batch_flush(PageFileBatch *batch) {
    if (batch->len == 0) return OK;
    size_t len = batch->len;
    batch->len = 0;
    return batch_write(batch, batch->first, BYTES(batch->bytes, len));
}

Err pagefile_batch_put(PageFileBatch *batch, const uint8_t *page) {
    const PageHeader *header = page_header(page);
    PageNo no = header->number;
    size_t len = (size_t)header->run * PAGE_BYTES;
    bool follows = no == batch->first + batch->len / PAGE_BYTES;
    size_t head = MIN(len, (size_t)PAGEFILE_BATCH_BYTES);
    if (!follows || batch->len + head > PAGEFILE_BATCH_BYTES) {
        Err err = pagefile_batch_flush(batch);
        if (err != OK) return err;
        batch->first = no;
    }
    // Nobody writes to the page now, but its checksum is not where others may look at it.
    uint8_t *copy = batch->bytes + batch->len;
    memcpy(copy, page, head);
    store_u32(copy, pagefile_checksum(batch->file->meta.salt, BYTES(page, len)));
    batch->len += head;
    if (head == len) return OK;
    Err err = pagefile_batch_flush(batch);
    if (err != OK) return err;
    PageNo next = no + (PageNo)(head / PAGE_BYTES);
    return batch_write(batch, next, BYTES(page + head, len - head));
}

void pagefile_batch_end(PageFileBatch *batch) {
    mem_free(batch->bytes);
    *batch = (PageFileBatch){0};
}

Err pagefile_sync(PageFile *file) {
    return file->io->file_sync(file->io->world, file->file);
}

Err pagefile_meta_replace(PageFile *file, const PageFileMeta *meta) {
    uint8_t page[PAGE_BYTES] = {0};
    pagefile_meta_write(meta, page);
    const Io *io = file->io;
    uint64_t at = meta->sequence % 2 * PAGE_BYTES;
    Err err = io->file_write(io->world, file->file, at, page, sizeof page);
    return err == OK ? pagefile_sync(file) : err;
}
