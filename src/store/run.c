#include "store/run.h"

#include "store/cache.h"

static void run_fill(Pages *pages, PageNo no, Bytes bytes, uint8_t *ref) {
    uint8_t *page = page_write(pages, no);
    store_u32(page + sizeof(PageHeader), (uint32_t)bytes.len);
    store_u32(page + sizeof(PageHeader) + 4, 0);
    memcpy(page + PAGE_HEADER_BYTES, bytes.ptr, bytes.len);
    store_u32(ref, no);
    store_u32(ref + 4, (uint32_t)bytes.len);
}

void run_write(Pages *pages, Bytes bytes, uint8_t ref[RUN_REF_BYTES]) {
    ASSERT(bytes.len <= RUN_BYTES_MAX);
    run_fill(pages, page_take(pages, PAGE_RUN, 0, run_pages(bytes.len)), bytes, ref);
}

bool run_rewrite(Pages *pages, uint8_t *ref, Bytes bytes) {
    PageNo no = load_u32(ref);
    if (page_is_frozen(pages, no) || !page_is_here(pages, no)) return false;
    if (run_pages(bytes.len) != run_pages(load_u32(ref + 4))) return false;
    run_fill(pages, no, bytes, ref);
    return true;
}

void run_retire(Pages *pages, const uint8_t *ref) {
    page_retire(pages, load_u32(ref), run_pages(load_u32(ref + 4)));
}

Bytes run_lost(PageNo no, uint32_t len) {
    if (no) page_fault_set(ERR_CORRUPT, "page %u is not a run of %u bytes", no, len);
    return (Bytes){(const uint8_t *)"", 0};
}
