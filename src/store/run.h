// run.h: bytes too long for a node, in consecutive pages of their own.
//
// A reference to a run, as it stands in a node:   page:4  length in bytes:4
//
// A run is written once. Each is owned by exactly one entry of one tree; copies of a node share it,
// because the entry in a frozen copy is only read.
#pragma once
#include "store/page.h"

enum { RUN_REF_BYTES = 8 };
#define RUN_BYTES_MAX ((uint64_t)1 << 31)

static inline uint32_t run_pages(size_t len) {
    return (uint32_t)((PAGE_HEADER_BYTES + len + PAGE_BYTES - 1) / PAGE_BYTES);
}
Bytes run_lost(PageNo no, uint32_t len);  // nothing, and a PageFault unless there is one already
static inline Bytes run_read(const Pages *pages, const uint8_t *ref) {
    PageNo no = load_u32(ref);
    uint32_t len = load_u32(ref + 4);
    const uint8_t *page = page_read(pages, no);
    const PageHeader *header = page_header(page);
    if (UNLIKELY(header->kind != PAGE_RUN || header->run < run_pages(len))) {
        return run_lost(header->number, len);
    }
    return (Bytes){page + PAGE_HEADER_BYTES, len};
}
void run_write(Pages *pages, Bytes bytes, uint8_t ref[RUN_REF_BYTES]);
// A run whose bytes are yet to be written, and where they go.
uint8_t *run_make(Pages *pages, size_t len, uint8_t ref[RUN_REF_BYTES]);
// Whether run_read would find it in memory, and goes on to while our guard is up. Reads nothing.
static inline bool run_is_held(const Pages *pages, const uint8_t *ref) {
    return page_hold(pages, load_u32(ref));
}
// Put other bytes into a run in place, if it is not frozen and of the right number of pages.
bool run_rewrite(Pages *pages, uint8_t *ref, Bytes bytes);
void run_retire(Pages *pages, const uint8_t *ref);
