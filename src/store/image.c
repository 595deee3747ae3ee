// image.c: a safe checkpoint, read out beside the owner while the store goes on.
//
// An image shares the checkpoint's view, so that none of its pages is changed or its place used again
// however many checkpoints follow. It reads the page file, never memory, and so leaves no trace
// there. Its meta page is the one the checkpoint had; the other meta page is zeros, and so are the
// places of pages that are not in it.
#include "base/mem.h"
#include "store/root.h"

struct StoreImage {
    Store *store;
    Durable *durable;
    PageFile *file;
    PageFileMeta meta;
    uint64_t *live;
    PageNo next;  // page numbers below were checked
};

static Err live_copy(StoreImage *image, Diag *diag) {
    Store *store = image->store;
    const Pages *pages = &store->pages;
    reading(store);
    const uint8_t *page = page_read(pages, image->meta.root);
    if (page_fault()->err != OK) {
        Err err = diag_fail(diag, page_fault()->err, "%s", page_fault()->text);
        page_fault_clear();
        return err;
    }
    const uint8_t *root = page + PAGE_HEADER_BYTES;
    size_t words = load_u32(root + 8);
    image->live = mem_alloc(MAX(words, (size_t)1) * 8);
    if (!image->live) return diag_fail(diag, ERR_NOMEM, "out of memory");
    memcpy(image->live, root + 16 + 4 * (size_t)load_u32(root + 4), words * 8);
    return OK;
}

Err store_image_open(Store *store, StoreImage **out, Diag *diag) {
    PageCache *cache = store->pages.cache;
    if (!cache || !store->durable) return diag_fail(diag, ERR_NOT_FOUND, "there is no checkpoint");
    StoreImage *image = MEM_NEW(StoreImage);
    if (!image) return diag_fail(diag, ERR_NOMEM, "out of memory");
    *image = (StoreImage){
        .store = store,
        .file = &cache->file,
        .meta = cache->file.meta,
        .next = 1,
    };
    Err err = live_copy(image, diag);
    if (err != OK) {
        mem_free(image);
        return err;
    }
    image->durable = store->durable;
    image->durable->refs++;
    store->images++;
    *out = image;
    return OK;
}

void store_image_close(Store *store, StoreImage **handle) {
    StoreImage *image = *handle;
    *handle = NULL;
    if (!image) return;
    durable_release(store, &image->durable);
    store->images--;
    mem_free(image->live);
    mem_free(image);
}

uint64_t store_image_bytes(const StoreImage *image) {
    return pagefile_place(image->meta.end);
}

// What no page of the checkpoint has is not the image's to show: pages of later ones, or of nobody.
static void blank(const StoreImage *image, uint64_t offset, uint8_t *into, size_t len) {
    for (size_t at = 0; at < len; at += PAGE_BYTES) {
        uint64_t block = (offset + at) / PAGE_BYTES;
        bool shown = block >= 2 && bit_get(image->live, (PageNo)(block - 1));
        if (!shown) memset(into + at, 0, PAGE_BYTES);
        if (block == image->meta.sequence % 2) pagefile_meta_write(&image->meta, into + at);
    }
}

// Check the pages that begin in what was read. A run that goes beyond it is checked as far as its
// header goes; its checksum is for whoever opens the image.
static Err judge(StoreImage *image, uint64_t offset, const uint8_t *bytes, size_t len, Diag *diag) {
    PageNo end = (PageNo)((offset + len) / PAGE_BYTES - 1);
    image->next = MAX(image->next, (PageNo)(offset / PAGE_BYTES > 1 ? offset / PAGE_BYTES - 1 : 1));
    while (image->next < end) {
        PageNo no = image->next++;
        if (!bit_get(image->live, no)) continue;
        const uint8_t *page = bytes + (pagefile_place(no) - offset);
        PageFileRead read = {.epoch = image->meta.epoch, .room = image->meta.end - no};
        uint32_t run = page_header(page)->run;
        if (run > end - no && run <= read.room) {
            image->next = no + run;
            continue;
        }
        Bytes whole = {page, (size_t)MIN(MAX(run, 1u), end - no) * PAGE_BYTES};
        Err err = pagefile_judge(image->meta.salt, no, &read, whole, diag);
        if (err != OK) return err;
        image->next = no + run;
    }
    return OK;
}

Err store_image_read(StoreImage *image, uint64_t offset, uint8_t *into, size_t len, Diag *diag) {
    const Io *io = image->file->io;
    size_t got;
    ASSERT(offset % PAGE_BYTES == 0 && len % PAGE_BYTES == 0 && len > 0);
    ASSERT(offset + len <= store_image_bytes(image));
    Err err = io->file_read(io->world, image->file->file, offset, into, len, &got);
    if (err != OK) {
        return diag_fail(diag, err, "cannot read %s: %s", image->file->path, io_last_error_text());
    }
    memset(into + got, 0, len - got);  // places behind the last page that was ever written
    if ((err = judge(image, offset, into, len, diag)) != OK) return err;
    blank(image, offset, into, len);
    return OK;
}

Err store_image_info(const Io *io, const char *path, StoreImageInfo *out, Diag *diag) {
    PageFile file;
    uint64_t size = 0;
    Err err = pagefile_open(io, path, true, &file, diag);
    if (err != OK) return err;
    err = io->file_size(io->world, file.file, &size);
    if (err == OK && file.meta.sequence == 0) {
        err = diag_fail(diag, ERR_CORRUPT, "%s has no checkpoint: it is not a backup", path);
    } else if (err == OK && size < pagefile_place(file.meta.end)) {
        err = diag_fail(diag, ERR_CORRUPT, "%s is cut off", path);
    }
    *out = (StoreImageInfo){file.meta.log_offset, file.meta.time, pagefile_place(file.meta.end)};
    pagefile_close(&file);
    return err;
}
