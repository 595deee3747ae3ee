#include "store/run.h"

#include "store/cache.h"

// Where the bytes of a run of `len` go.
static uint8_t *run_begin(Pages *pages, PageNo no, size_t len, uint8_t *ref) {
    uint8_t *page = page_write(pages, no);
    store_u32(page + sizeof(PageHeader), (uint32_t)len);
    store_u32(page + sizeof(PageHeader) + 4, 0);
    store_u32(ref, no);
    store_u32(ref + 4, (uint32_t)len);
    return page + PAGE_HEADER_BYTES;
}

uint8_t *run_make(Pages *pages, size_t len, uint8_t ref[RUN_REF_BYTES]) {
    ASSERT(len <= RUN_BYTES_MAX);
    return run_begin(pages, page_take(pages, PAGE_RUN, 0, run_pages(len)), len, ref);
}

void run_write(Pages *pages, Bytes bytes, uint8_t ref[RUN_REF_BYTES]) {
    memcpy(run_make(pages, bytes.len, ref), bytes.ptr, bytes.len);
}

bool run_rewrite(Pages *pages, uint8_t *ref, Bytes bytes) {
    PageNo no = load_u32(ref);
    if (page_is_frozen(pages, no) || !page_is_here(pages, no)) return false;
    if (run_pages(bytes.len) != run_pages(load_u32(ref + 4))) return false;
    memcpy(run_begin(pages, no, bytes.len, ref), bytes.ptr, bytes.len);
    return true;
}

void run_retire(Pages *pages, const uint8_t *ref) {
    page_retire(pages, load_u32(ref), run_pages(load_u32(ref + 4)));
}

Bytes run_lost(PageNo no, uint32_t len) {
    if (no) page_fault_set(ERR_CORRUPT, "page %u is not a run of %u bytes", no, len);
    return (Bytes){(const uint8_t *)"", 0};
}
