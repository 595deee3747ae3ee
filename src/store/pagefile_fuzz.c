// Bytes that claim to be a page file: the first is taken for the two meta pages, the rest for pages.
// Whatever they are, judging and decoding them reads nothing outside of them.
#include "base/mem.h"
#include "store/node.h"
#include "store/pagefile.h"
#include "store/root.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void meta_try(Bytes bytes) {
    PageFileMeta meta;
    uint8_t again[PAGEFILE_META_BYTES];
    if (!pagefile_meta_read(bytes, &meta)) return;
    pagefile_meta_write(&meta, again);
    ASSERT(bytes_eq(BYTES(again, sizeof again), BYTES(bytes.ptr, sizeof again)));
}

// Everything a look at a node may touch, once it was found sane.
static void node_look(const uint8_t *page) {
    uint32_t sum = 0;
    for (unsigned at = 0; at < node_count(page); at++) {
        NodeCell cell = node_cell(page, at);
        for (size_t i = 0; i < cell.suffix.len; i++) {
            sum += cell.suffix.ptr[i];
        }
        for (size_t i = 0; i < cell.value.len; i++) {
            sum += cell.value.ptr[i];
        }
    }
    bool equal;
    Bytes key = {page, 8};
    Pages none = {0};
    bool has_runs = false;
    for (unsigned at = 0; at < node_count(page); at++) {
        has_runs |= node_cell(page, at).key_ref != NULL;
    }
    if (!has_runs) sum += node_search(&none, page, key, &equal);
    __asm__ volatile("" ::"r"(sum));  // used, as far as the compiler knows
}

static void page_try(Bytes bytes) {
    alignas(8) uint8_t page[PAGE_BYTES] = {0};
    if (bytes.len) memcpy(page, bytes.ptr, MIN(bytes.len, sizeof page));
    PageHeader *header = (PageHeader *)(void *)page;
    header->number = 7;
    header->checksum = pagefile_checksum(1, BYTES(page, sizeof page));
    PageFileRead read = {.epoch = UINT64_MAX, .room = 100};
    if (pagefile_judge(1, 7, &read, BYTES(page, sizeof page), NULL) != OK) return;
    if (header->kind != PAGE_RUN) node_look(page);
}

static void root_try(Bytes bytes) {
    Arena arena = {0};
    Root root;
    (void)!root_decode(bytes, 200, &arena, &root, NULL);
    arena_deinit(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    Bytes rest = {data + 1, size - 1};
    switch (data[0] % 3) {
    case 0: meta_try(rest); break;
    case 1: page_try(rest); break;
    default: root_try(rest); break;
    }
    return 0;
}
