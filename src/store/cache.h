// cache.h: what of the page file is in memory. Behind the door of page.h; nobody else's business.
//
// PICTURE
//                  page_read finds it ABSENT                  the hand comes by
//      ABSENT ───────────> LOADING ───────────> HERE ──────────────────────────> COOLING
//        ↑                                     ↑  ↑ ↑──── page_read wants it ───────┘ │
//        │                  written out        │  │ page_write                        │ nobody did,
//        │  page_take ──> DIRTY ──> WRITING ───┘  └──> DIRTY                          │ guards passed
//        │                  ↑── page_write ┘                                          │
//        └───────────────────────── LEAVING <─────────────────────────────────────────┘
//
//   Cooling gives a page a second chance (LeanStore's and vmcache's way): the hand goes round and marks
//   pages, whoever reads a marked page takes the mark off, and what is still marked when its turn in
//   the queue comes gives its memory back. A dirty page is written to its own place first, which no
//   valid checkpoint leads to (pagefile.h): a checkpoint does that, or a spill (spill.h).
//
// THE OWNER'S TIME
//   Others wait for the disk when they read an absent page. The owner copies what the system has at hand
//   and, when it was told to hurry (store_set_patient), waits for nothing else: the page is hinted at
//   and the reader fails with ERR_AGAIN, so that whoever began can begin again where waiting hurts
//   nobody. Making room is the sweeper's work, a thread (spill.h); the owner only copies the dirty
//   pages that are to be written. Each time that it does wait is counted.
//
// ALWAYS TRUE
//   (1) Memory is given back only while no guard is up that was raised before the page was marked
//       (guard.h), and only by cache_make_room(), whose caller borrows nothing.
//   (2) The bytes of a page that is HERE or COOLING are those of the page file.
//   (3) The owner's thread takes, soils, frees and retires; any thread fetches and makes room.
//   (4) live and dirty are the owner's: the pages that a checkpoint begun now consists of, and those
//       of them that it must write.
//
// Pages are counted as in memory (`resident`) until their memory is given back, in use or spare. A
// run counts with all its pages, but only its first has a state.
#pragma once
#include <pthread.h>

#include "store/fetch.h"
#include "store/pagefile.h"
#include "store/spill.h"

typedef struct Cooling {
    PageNo no;
    uint64_t marked;  // when, as guards count time
} Cooling;

struct PageCache {
    PageFile file;
    uint64_t opened_epoch;  // pages that were there when the file was opened are not younger
    uint64_t *live;         // a bit a page; of a run all its pages
    uint64_t *dirty;        // of a run its first page
    uint64_t *dirty_spare;  // all zeros: takes the place of `dirty` when a checkpoint begins
    uint64_t *dirty_spent;  // of a checkpoint that ended in doubt
    uint64_t dirty_pages;
    // A sync failed: nobody knows what the file holds, so nothing is written any more; or it was opened
    // for reading.
    Err failed;

    _Atomic uint64_t resident_max;  // pages; UINT64_MAX: no limit
    _Atomic uint64_t resident;
    _Atomic uint32_t end;      // as Pages.end, for those who evict on other threads
    pthread_mutex_t evicting;  // guards what follows
    PageNo hand;
    Cooling *queue;
    uint32_t queue_cap, queue_first, queue_count;
    uint64_t *marked;  // of each page: its newest entry in the queue

    Spill spill;
    Fetcher fetcher;
    _Atomic pthread_t owner;  // the thread of the last store_begin
    bool hurried;             // the owner's: it does not want to wait for pages
    _Atomic uint64_t reads, owner_reads, evicted, spilled, read_errors;
    _Atomic uint64_t waits, wait_ns;  // of the owner, for a page
};

// Takes *file over on OK. `paged`: pages may be absent. ERR_NOMEM.
MUST_USE Err cache_open(Pages *pages, PageFile *file, uint64_t memory_max, bool paged);
void cache_limit(PageCache *cache, uint64_t memory_max);  // from now on; the owner's thread
void cache_close(Pages *pages);                           // harmless without a cache

void cache_take(Pages *pages, PageNo no, uint32_t run);     // it is in use from now on
void cache_retire(Pages *pages, PageNo no, uint32_t run);   // the head no longer refers to it
void cache_restore(Pages *pages, PageNo no, uint32_t run);  // it does again
void cache_free(Pages *pages, PageNo no, uint32_t run);     // nobody does; only when paged
// Pages on their way to a branch, which fills them beside the owner, and from there: `run` of them into
// the head, or free again.
void cache_lend(Pages *pages, PageNo no, uint32_t count);
void cache_adopt(Pages *pages, PageNo no, uint32_t run);
void cache_take_back(Pages *pages, PageNo no, uint32_t count);
void cache_trim(Pages *pages, PageNo no, uint32_t run);  // none of these is used any more
bool cache_has_room(const Pages *pages, uint64_t count);

// Give memory back until the limit is kept, as far as guards let it. On any thread; the caller borrows
// nothing.
void cache_make_room(const Pages *pages);
// The same by the owner's means: the sweeper is told, dirty pages are set on their way.
void cache_relieve(Pages *pages);
void cache_owner_is_here(PageCache *cache);  // this thread is it
void dirty_unmark(PageCache *cache, PageNo no, uint32_t run);
static inline bool cache_is_over(const Pages *pages) {
    return pages->paged && atomic_load_explicit(&pages->cache->resident, memory_order_relaxed) >
                               pages->cache->resident_max;
}
// A checkpoint has written it.
void cache_written(const Pages *pages, PageNo no);
// May a checkpoint write what stands in memory, or has the page been written out before? The guard is
// up.
static inline bool cache_is_dirty(const Pages *pages, PageNo no) {
    if (!pages->paged) return true;
    uint8_t state = atomic_load(&pages->state[no]);
    return state == PAGE_DIRTY || state == PAGE_WRITING;
}
// These pages will be read soon.
void cache_hint(const Pages *pages, const PageNo *list, uint32_t count);

// ── bits ───────────────────────────────────────────────────────────────────────────────────────
static inline bool bit_get(const uint64_t *bits, PageNo no) {
    return bits[no / 64] >> (no % 64) & 1;
}
static inline void bit_set(uint64_t *bits, PageNo no) {
    bits[no / 64] |= (uint64_t)1 << (no % 64);
}
static inline void bit_clear(uint64_t *bits, PageNo no) {
    bits[no / 64] &= ~((uint64_t)1 << (no % 64));
}

// ── what could not be read ─────────────────────────────────────────────────────────────────────
// page_read has no error to return. It gives an empty leaf, the operation ends finding nothing, and
// whoever began it asks here before believing that. Of this thread; the first one stays until taken.
typedef struct PageFault {
    Err err;
    char text[384];
} PageFault;
void page_fault_set(Err err, const char *fmt, ...) PRINTF_LIKE(2, 3);
const PageFault *page_fault(void);  // err OK: none
void page_fault_clear(void);
