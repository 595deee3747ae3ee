// page.c: the reserved range, versions, and who may see what. Free space is in extent.c.
#include "store/page.h"

#include <sys/mman.h>

#include "base/mem.h"
#include "store/branch.h"
#include "store/cache.h"
#include "store/extent.h"

// A sanitizer's shadow of a huge reservation is itself huge, and thread sanitizer leaves little
// address space to the program.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ADDRESS_BYTES_DEFAULT ((uint64_t)16 << 30)
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define ADDRESS_BYTES_DEFAULT ((uint64_t)16 << 30)
#endif
#endif
#ifndef ADDRESS_BYTES_DEFAULT
#define ADDRESS_BYTES_DEFAULT ((uint64_t)1 << 40)
#endif
#define ADDRESS_BYTES_MIN ((uint64_t)64 << 20)

// Freed runs of this size give their memory back at once: they are long rows, whose next owner
// writes all of it anyway, and keeping them would double the memory of a table of pictures.
#define RUN_GIVES_BACK_PAGES 16u

#define TIDY_PAGES 64

// The last part of the range is for undo only, (3) in page.h.
#define UNDO_SHARE 16

struct PageView {
    uint64_t epoch;
    PageView *older;
    PageView *newer;
    PageNo retired;  // first of the pages that this view is the newest to see
    bool ended;
};

static void *range_reserve(uint64_t bytes) {
    void *range = mmap(NULL,
                       bytes,
                       PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                       -1,
                       0);
    return range == MAP_FAILED ? NULL : range;
}

static bool ranges_reserve(Pages *pages, uint64_t bytes) {
    uint64_t count = MIN(bytes / PAGE_BYTES, (uint64_t)UINT32_MAX);
    pages->base = range_reserve(count * PAGE_BYTES);
    if (!pages->base) return false;
    pages->meta = range_reserve(count * sizeof(PageMeta));
    if (!pages->meta) {
        munmap(pages->base, count * PAGE_BYTES);
        pages->base = NULL;
        return false;
    }
    pages->capacity = (uint32_t)count;
    pages_large(pages, true);
    return true;
}

void pages_large(Pages *pages, bool wanted) {
    int advice = wanted ? MADV_HUGEPAGE : MADV_NOHUGEPAGE;
    madvise(pages->base, (size_t)pages->capacity * PAGE_BYTES, advice);
}

Err pages_open(Pages *pages, uint64_t address_bytes, uint64_t used_max_bytes) {
    *pages = (Pages){.end = 1, .epoch = 1, .used_max = UINT64_MAX, .fault_countdown = -1};
    if (used_max_bytes) pages->used_max = used_max_bytes / PAGE_BYTES;
    uint64_t bytes = address_bytes ? address_bytes : ADDRESS_BYTES_DEFAULT;
    // A machine that does not overcommit grants less: take what it gives.
    while (!ranges_reserve(pages, bytes)) {
        if (bytes <= ADDRESS_BYTES_MIN) return ERR_NOMEM;
        bytes /= 2;
    }
    return OK;
}

void pages_close(Pages *pages) {
    for (PageView *view = pages->newest; view;) {
        PageView *older = view->older;
        mem_free(view);
        view = older;
    }
    cache_close(pages);
    if (pages->base) munmap(pages->base, (size_t)pages->capacity * PAGE_BYTES);
    if (pages->meta) munmap(pages->meta, (size_t)pages->capacity * sizeof(PageMeta));
    *pages = (Pages){0};
}

static bool fault_due(Pages *pages) {
    if (LIKELY(pages->fault_countdown < 0)) return false;
    if (pages->fault_countdown-- > 0) return false;
    pages->fault_hit = true;
    return true;
}

static bool room_for(const Pages *pages, uint64_t count) {
    if (count == 0) return true;  // whatever an undo may have left us with
    uint64_t undo = pages->capacity / UNDO_SHARE;
    if (pages->paged && !cache_has_room(pages, count)) return false;
    return pages->used + count <= pages->used_max && pages->end + count + undo <= pages->capacity;
}

Err pages_reserve(Pages *pages, uint64_t count) {
    if (fault_due(pages)) return ERR_LIMIT;
    if (UNLIKELY(pages->lease)) return lease_reserve(pages, count);
    if (LIKELY(room_for(pages, count))) return OK;
    // No more at once than is wanted: what an old snapshot kept may be all there is.
    while (!pages_tidy(pages, TIDY_PAGES) && !room_for(pages, count)) {
    }
    return room_for(pages, count) ? OK : ERR_LIMIT;
}

static PageHeader *header_of(Pages *pages, PageNo no) {
    return (PageHeader *)(pages->base + (size_t)no * PAGE_BYTES);
}

PageNo page_take(Pages *pages, PageKind kind, uint8_t level, uint32_t run) {
    PageNo no;
    if (UNLIKELY(pages->lease)) {
        no = lease_take(pages, run);
    } else {
        no = extent_take(pages, run);
        pages->used += run;
        if (pages->cache) cache_take(pages, no, run);
        if (UNLIKELY(pages->watch)) watch_taken(pages, no, run);
    }
    pages->meta[no].version = pages->epoch;
    *header_of(pages, no) = (PageHeader){
        .kind = (uint8_t)kind,
        .level = level,
        .version = pages->epoch,
        .number = no,
        .run = run,
    };
    return no;
}

static void page_free(Pages *pages, PageNo no, uint32_t run) {
    pages->used -= run;
    if (pages->paged) {
        cache_free(pages, no, run);
    } else if (run >= RUN_GIVES_BACK_PAGES) {
        madvise(page_at(pages, no), (size_t)run * PAGE_BYTES, MADV_DONTNEED);
    }
    extent_give(pages, no, run);
}

PageNo page_own(Pages *pages, PageNo no) {
    if (LIKELY(!page_is_frozen(pages, no))) return no;
    const uint8_t *from = page_read(pages, no);
    const PageHeader *header = page_header(from);
    ASSERT(header->run == 1);  // runs are replaced, never copied
    PageNo copy = page_take(pages, (PageKind)header->kind, header->level, 1);
    uint8_t *to = page_write(pages, copy);
    ((PageHeader *)to)->count = header->count;
    memcpy(to + sizeof(PageHeader), from + sizeof(PageHeader), PAGE_BYTES - sizeof(PageHeader));
    pages->copied++;
    page_retire(pages, no, 1);
    return copy;
}

// ── views ───────────────────────────────────────────────────────────────────────────────────────

static PageView *view_live_before(PageView *view) {
    while (view && view->ended) {
        view = view->older;
    }
    return view;
}

static void view_keeps(Pages *pages, PageView *view, PageNo no) {
    pages->meta[no].next = view->retired;
    pages->meta[no].prev = PAGE_NONE;
    if (view->retired) pages->meta[view->retired].prev = no;
    view->retired = no;
}

static void view_lets_go(Pages *pages, PageView *view, PageNo no) {
    const PageMeta *meta = &pages->meta[no];
    if (view->retired == no) {
        view->retired = meta->next;
    } else {
        pages->meta[meta->prev].next = meta->next;
    }
    if (meta->next) pages->meta[meta->next].prev = meta->prev;
}

// Only the first of a list is asked for by its view; any other knows the one before it.
static PageView *view_of(const Pages *pages, PageNo no) {
    PageView *view = pages->newest;
    if (pages->meta[no].prev) return view;
    while (view->retired != no) {
        view = view->older;
    }
    return view;
}

void page_restore(Pages *pages, PageNo no) {
    uint32_t run = pages->meta[no].run;
    view_lets_go(pages, view_of(pages, no), no);
    pages->kept -= run;
    if (pages->cache) cache_restore(pages, no, run);
}

void page_retire(Pages *pages, PageNo no, uint32_t run) {
    if (UNLIKELY(pages->lease)) {
        lease_retire(pages, no, run);
        return;
    }
    if (UNLIKELY(pages->watch)) watch_retired(pages, no, run);
    if (pages->cache) cache_retire(pages, no, run);
    if (LIKELY(pages->meta[no].version > pages->frozen)) {
        page_free(pages, no, run);
        return;
    }
    pages->meta[no].run = run;
    pages->kept += run;
    view_keeps(pages, view_live_before(pages->newest), no);
}

PageView *pages_view_open(Pages *pages) {
    PageView *view = MEM_NEW(PageView);
    if (!view) return NULL;
    view->epoch = pages->epoch++;
    view->older = pages->newest;
    if (view->older) view->older->newer = view;
    pages->newest = view;
    pages->frozen = view->epoch;
    pages->views_live++;
    return view;
}

void pages_view_end(Pages *pages, PageView *view) {
    ASSERT(!view->ended);
    view->ended = true;
    pages->views_live--;
    pages->views_ended++;
    PageView *live = view_live_before(pages->newest);
    pages->frozen = live ? live->epoch : 0;
}

uint64_t pages_view_epoch(const PageView *view) {
    return view->epoch;
}

static void view_unlink(Pages *pages, PageView *view) {
    if (view->newer) {
        view->newer->older = view->older;
    } else {
        pages->newest = view->older;
    }
    if (view->older) view->older->newer = view->newer;
    pages->views_ended--;
    mem_free(view);
}

// Free the pages that only this ended view could see; the others go to the next older live view.
// A page is seen by the views from its own epoch to the one whose list it is on.
static uint32_t view_drain(Pages *pages, PageView *view, uint32_t budget) {
    PageView *older = view_live_before(view->older);
    while (view->retired && budget) {
        PageNo no = view->retired;
        view_lets_go(pages, view, no);
        const PageMeta *meta = &pages->meta[no];
        if (older && meta->version <= older->epoch) {
            view_keeps(pages, older, no);
        } else {
            pages->kept -= meta->run;
            page_free(pages, no, meta->run);
        }
        budget--;
    }
    return budget;
}

bool pages_tidy(Pages *pages, uint32_t budget) {
    if (LIKELY(pages->views_ended == 0)) return true;
    for (PageView *view = pages->newest; view && budget;) {
        PageView *older = view->older;
        if (view->ended) {
            budget = view_drain(pages, view, budget);
            if (!view->retired) view_unlink(pages, view);
        }
        view = older;
    }
    return pages->views_ended == 0;
}

void pages_walk_retired(const Pages *pages, void (*each)(void *, PageNo, uint32_t), void *ctx) {
    for (const PageView *view = pages->newest; view; view = view->older) {
        for (PageNo no = view->retired; no; no = pages->meta[no].next) {
            each(ctx, no, pages->meta[no].run);
        }
    }
}
