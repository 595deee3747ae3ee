// extent.c: which pages are free, joined with their free neighbours as soon as they are.
//
// PICTURE
//   A free extent writes its size at its first and last page's meta (boundary tags), so that a page
//   being freed finds free neighbours on both sides in constant time:
//
//      meta   ... | 3 . 3 | used | 1 | used ...        . interior: 0
//
//   Extents hang in bins by size: one bin for each size below 32, then one for each power of two.
//
// ALWAYS TRUE
//   (1) Two free extents are never adjacent.
//   (2) meta.extent is non-zero exactly at the ends of free extents.
#include "store/extent.h"

static unsigned bin_of(uint32_t run) {
    if (run < PAGE_BINS_EXACT) return run;
    return (unsigned)(PAGE_BINS_EXACT + (31 - __builtin_clz(run)) - 5);
}

static void extent_link(Pages *pages, PageNo no, uint32_t run) {
    unsigned bin = bin_of(run);
    PageMeta *meta = pages->meta;
    meta[no] = (PageMeta){.next = pages->bins[bin], .extent = run};
    meta[no + run - 1].extent = run;
    if (pages->bins[bin]) meta[pages->bins[bin]].prev = no;
    pages->bins[bin] = no;
    pages->bins_filled |= (uint64_t)1 << bin;
    pages->free += run;
}

static void extent_unlink(Pages *pages, PageNo no) {
    PageMeta *meta = pages->meta;
    uint32_t run = meta[no].extent;
    unsigned bin = bin_of(run);
    if (meta[no].prev) {
        meta[meta[no].prev].next = meta[no].next;
    } else {
        pages->bins[bin] = meta[no].next;
        if (!meta[no].next) pages->bins_filled &= ~((uint64_t)1 << bin);
    }
    if (meta[no].next) meta[meta[no].next].prev = meta[no].prev;
    meta[no].extent = 0;
    meta[no + run - 1].extent = 0;
    pages->free -= run;
}

void extent_give(Pages *pages, PageNo no, uint32_t run) {
    const PageMeta *meta = pages->meta;
    if (meta[no - 1].extent) {  // page 0 is never free, so there is always a neighbour to ask
        PageNo before = no - meta[no - 1].extent;
        run += meta[before].extent;
        no = before;
        extent_unlink(pages, before);
    }
    if (no + run < pages->end && meta[no + run].extent) {
        PageNo after = no + run;
        run += meta[after].extent;
        extent_unlink(pages, after);
    }
    extent_link(pages, no, run);
}

// The first extent that is surely or, in the request's own bin of mixed sizes, actually big enough.
static PageNo extent_find(const Pages *pages, uint32_t run) {
    unsigned bin = bin_of(run);
    if (bin >= PAGE_BINS_EXACT) {
        for (PageNo no = pages->bins[bin]; no; no = pages->meta[no].next) {
            if (pages->meta[no].extent >= run) return no;
        }
        bin++;
    }
    uint64_t filled = bin < PAGE_BINS ? pages->bins_filled >> bin : 0;
    return filled ? pages->bins[bin + (unsigned)__builtin_ctzll(filled)] : PAGE_NONE;
}

PageNo extent_take(Pages *pages, uint32_t run) {
    PageNo no = extent_find(pages, run);
    if (!no) {
        no = pages->end;
        ASSERT(run <= pages->capacity - no);  // pages_reserve left a share for undo
        pages->end += run;
        return no;
    }
    uint32_t have = pages->meta[no].extent;
    extent_unlink(pages, no);
    if (have > run) extent_link(pages, no + run, have - run);
    return no;
}

void pages_walk_free(const Pages *pages, void (*each)(void *, PageNo, uint32_t), void *ctx) {
    for (unsigned bin = 0; bin < PAGE_BINS; bin++) {
        for (PageNo no = pages->bins[bin]; no; no = pages->meta[no].next) {
            each(ctx, no, pages->meta[no].extent);
        }
    }
}

void extent_restore(Pages *pages, const uint8_t *live) {
    PageNo from = 1;
    for (PageNo no = 1; no < pages->end; no++) {
        if (!(live[no / 8] >> (no % 8) & 1)) continue;
        if (no > from) extent_link(pages, from, no - from);
        from = no + 1;
    }
    if (pages->end > from) extent_link(pages, from, pages->end - from);
}

uint32_t extent_trim(Pages *pages, uint32_t min) {
    uint32_t run = pages->meta[pages->end - 1].extent;
    if (run < min || run == 0) return 0;
    PageNo no = pages->end - run;
    extent_unlink(pages, no);
    pages->end = no;
    return run;
}
