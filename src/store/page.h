// page.h: fixed-size pages behind one door.
//
// PICTURE
//   One reserved range of addresses; a page number is a place in it, memory is committed by use:
//
//     page   0        1      2      3 ...                       end          capacity
//          [meta*] [ leaf ][ run      ][ free ][ inner ] ...     |  never used  |
//
//     * page 0 belongs to checkpoints; here it only makes 0 mean "no page".
//
//   With a page file (pagefile.h) a page's number is its place there too. Its bytes may be absent from
//   memory: page_read brings them in (cache.h).
//
//   Every page handed out begins with this header (little-endian, in memory and in a page file):
//
//      0  checksum:4    CRC32C of the rest; only meaningful in a file
//      4  kind:1        PageKind
//      5  level:1       nodes: 0 for a leaf, else the distance to the leaves
//      6  count:2       nodes: entries
//      8  version:8     the epoch that made it
//     16  number:4      its own number
//     20  run:4         pages in the run that begins here; 1 for nodes
//     24  ...           by kind: node.h; a run has its length in bytes here:4, 4 zeros, then bytes
//
//   A run is consecutive pages with one header, so that what it holds is contiguous.
//
// VERSIONS
//   Opening a view freezes every page there is: the view gets the present epoch and the epoch moves
//   on. A page is *frozen* when the newest live view may see it (version <= view's epoch). A frozen
//   page is never changed: page_own() copies it, and the old one is *retired* to the newest live
//   view's list. When a view ends, each page on its list is freed, or handed to the next older view
//   if that one can see it too. Without a live view nothing is frozen and nothing is copied.
//
// ALWAYS TRUE
//   (1) Every page is one of: in a tree, retired on exactly one view's list, fallen (being freed
//       with its tree), or free.
//   (2) A frozen page's bytes do not change until the last view that sees it has ended. So a view
//       is read from any thread without a lock; all calls here are the owner's thread's, except
//       page_read.
//   (3) Taking pages cannot fail once pages_reserve() has said yes. Undoing a change does not ask:
//       it may exceed the limit for the moment, because rollback must not fail.
//
// NOT HERE  what is in a node (node.h), long keys and values (run.h), trees (tree.h).
#pragma once
#include <stdatomic.h>

#include "base/bytes.h"

typedef uint32_t PageNo;

#define PAGE_BYTES        8192u
#define PAGE_HEADER_BYTES 32u
#define PAGE_NONE         0u

typedef enum PageKind { PAGE_LEAF = 1, PAGE_INNER = 2, PAGE_RUN = 3 } PageKind;

typedef struct PageHeader {
    uint32_t checksum;
    uint8_t kind;
    uint8_t level;
    uint16_t count;
    uint64_t version;
    uint32_t number;
    uint32_t run;
} PageHeader;

static_assert(offsetof(PageHeader, kind) == 4 && offsetof(PageHeader, count) == 6 &&
                  offsetof(PageHeader, version) == 8 && offsetof(PageHeader, number) == 16 &&
                  offsetof(PageHeader, run) == 20 && sizeof(PageHeader) == 24,
              "the drawing above is the format");

// What is kept about a page beside the page, because a frozen page cannot be written to, and an
// absent one cannot be asked.
typedef struct PageMeta {
    PageNo next;       // on a list: retired, fallen or free
    PageNo prev;       // likewise; not of fallen pages
    uint32_t extent;   // at the first and last page of a free extent: its pages; else 0
    uint32_t run;      // of a retired page, and of one in a branch's use
    uint64_t version;  // of a page taken since the store was opened; 0: older than that
} PageMeta;

typedef struct PageView PageView;    // what one snapshot keeps alive
typedef struct PageCache PageCache;  // the page file and what of it is in memory: cache.h
typedef struct PageLease PageLease;  // where a branch's pages come from: branch.h
typedef struct PageWatch PageWatch;  // what the head does to pages meanwhile: branch.h

typedef enum PageState {
    PAGE_ABSENT,   // no memory; its bytes are in the page file, or it is not in use
    PAGE_HERE,     // as in the page file
    PAGE_DIRTY,    // younger than what the page file has
    PAGE_PRIVATE,  // a branch's (branch.h): nobody else looks at it
    PAGE_WRITING,  // here; a copy of it is on its way to the page file (spill.h)
    PAGE_COOLING,  // here, and will be absent soon unless somebody wants it
    PAGE_LOADING,  // a thread is reading it
    PAGE_LEAVING,  // a thread is giving its memory back
    PAGE_SPARE,    // not in use, its memory kept for the next owner
} PageState;

enum { PAGE_BINS_EXACT = 32, PAGE_BINS = 64 };

typedef struct Pages {
    uint8_t *base;
    PageMeta *meta;
    uint32_t capacity;  // pages in the reserved range
    uint32_t end;       // pages below were handed out at least once
    uint64_t used;      // in trees, retired or fallen
    uint64_t free;      // below end and not used
    uint64_t used_max;  // the memory limit in pages
    uint64_t copied;    // since the store was opened
    uint64_t kept;      // retired, but a view sees them or they wait for pages_tidy()
    uint64_t epoch;     // given to new pages
    uint64_t frozen;    // the newest live view's epoch; 0 without one
    PageView *newest;   // all views, newest first, also ended ones that still have pages
    uint32_t views_live;
    uint32_t views_ended;
    PageNo fallen;  // first of the pages of dropped trees that tree_tidy() has yet to take apart
    uint64_t bins_filled;
    PageNo bins[PAGE_BINS];
    // With a page file; else false and NULL.
    bool paged;              // a page may be absent: look at its state first. Never changes
    _Atomic uint8_t *state;  // PageState of each page, when paged
    PageCache *cache;
    PageLease *lease;         // these are a branch's pages; NULL: the head's
    PageWatch *watch;         // of the head, while there is a branch; else NULL
    uint32_t changing;        // the table whose trees are being changed; 0: none
    int64_t fault_countdown;  // tests: this many reservations succeed, the next fails; -1: off
    bool fault_hit;
} Pages;

// Reserve address space for `address_bytes` (0: as much as this build and machine allow). `used_max_bytes`
// 0 means no limit. ERR_NOMEM.
MUST_USE Err pages_open(Pages *pages, uint64_t address_bytes, uint64_t used_max_bytes);
void pages_close(Pages *pages);  // harmless on a zeroed Pages
// Whether memory is to come by the system's large pages. Random reads of a large table miss the TLB at
// every page otherwise; but the first touch of one clears 2 MiB. Only a wish.
void pages_large(Pages *pages, bool wanted);

// ── the door ────────────────────────────────────────────────────────────────────────────────────

// Where a page is, absent or not.
static inline uint8_t *page_at(const Pages *pages, PageNo no) {
    return pages->base + (size_t)no * PAGE_BYTES;
}
// cache.c: bring an absent page in. What cannot be read, or only by waiting where that was not wanted,
// is an empty leaf instead, and the thread's PageFault says why.
const uint8_t *page_fetch(const Pages *pages, PageNo no);
void page_soil(Pages *pages, PageNo no);  // cache.c: its bytes differ from the file's from now on

static inline bool page_is_here(const Pages *pages, PageNo no) {
    if (LIKELY(!pages->paged)) return true;
    uint8_t state = atomic_load(&pages->state[no]);
    return state == PAGE_HERE || state == PAGE_DIRTY || state == PAGE_PRIVATE;
}
// cache.c: whether it is in memory and stays there, our guard being up: one that is cooling or on its way
// to the file as well. Reads nothing.
bool page_keep(const Pages *pages, PageNo no);
static inline bool page_hold(const Pages *pages, PageNo no) {
    return page_is_here(pages, no) || page_keep(pages, no);
}
static inline const uint8_t *page_read(const Pages *pages, PageNo no) {
    if (UNLIKELY(!page_is_here(pages, no))) return page_fetch(pages, no);
    return page_at(pages, no);
}
static inline bool page_is_frozen(const Pages *pages, PageNo no) {
    if (UNLIKELY(pages->paged)) return pages->meta[no].version <= pages->frozen;
    return ((const PageHeader *)page_at(pages, no))->version <= pages->frozen;
}
// A page to change. It must not be frozen, and was read in this operation.
static inline uint8_t *page_write(Pages *pages, PageNo no) {
    DEBUG_ASSERT(!page_is_frozen(pages, no));
    if (UNLIKELY(pages->paged)) page_soil(pages, no);
    return page_at(pages, no);
}
static inline const PageHeader *page_header(const uint8_t *page) {
    return (const PageHeader *)page;
}

// ── taking and giving back ──────────────────────────────────────────────────────────────────────

// Whether `count` more pages may be taken. ERR_LIMIT when the memory limit or the address space is
// reached; with a page file, when far more than the limit is in memory because nothing can be written
// out. Tries to tidy up first.
MUST_USE Err pages_reserve(Pages *pages, uint64_t count);
// Take `run` consecutive pages. The header is filled in, the rest is whatever was there before.
PageNo page_take(Pages *pages, PageKind kind, uint8_t level, uint32_t run);
// A page with the same content that may be changed: itself, or a copy (the old one is retired).
PageNo page_own(Pages *pages, PageNo no);
// The head no longer refers to this page, or run of that many: free it now or when the last view that
// sees it ends. It need not be here.
void page_retire(Pages *pages, PageNo no, uint32_t run);
// It does again: the page is on a live view's list, which it leaves.
void page_restore(Pages *pages, PageNo no);

// ── views ───────────────────────────────────────────────────────────────────────────────────────

// Freeze what there is. NULL when out of memory.
MUST_USE PageView *pages_view_open(Pages *pages);
void pages_view_end(Pages *pages, PageView *view);  // its pages are freed by pages_tidy()
uint64_t pages_view_epoch(const PageView *view);
// Free at most `budget` pages of ended views. True when none are left.
bool pages_tidy(Pages *pages, uint32_t budget);

// For store_check: calls `each` for every free extent and every retired page or run.
void pages_walk_free(const Pages *pages, void (*each)(void *, PageNo, uint32_t), void *ctx);
void pages_walk_retired(const Pages *pages, void (*each)(void *, PageNo, uint32_t), void *ctx);
