#include "store/cache.h"

#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>

#include "base/log.h"
#include "base/mem.h"
#include "store/guard.h"
#include "store/node.h"

enum {
    QUEUE_MIN = 8,
    QUEUE_MAX = 1 << 16,
    ROUNDS_MAX = 64,         // of making room at a time
    SLACK_PAGES = 1024,      // beyond one and a half times the limit: changes are refused
    RUN_KEPT_PAGES_MAX = 16  // a freed run longer than this gives its memory back at once
};

// ── what could not be read ─────────────────────────────────────────────────────────────────────

static _Thread_local PageFault fault;

void page_fault_set(Err err, const char *fmt, ...) {
    if (fault.err != OK) return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(fault.text, sizeof fault.text, fmt, args);
    va_end(args);
    fault.err = err;
}

const PageFault *page_fault(void) {
    return &fault;
}

void page_fault_clear(void) {
    fault.err = OK;
}

// ── states ─────────────────────────────────────────────────────────────────────────────────────

static uint8_t state_of(const Pages *pages, PageNo no) {
    return atomic_load(&pages->state[no]);
}

static bool state_move(const Pages *pages, PageNo no, PageState from, PageState to) {
    uint8_t expected = (uint8_t)from;
    return atomic_compare_exchange_strong(&pages->state[no], &expected, (uint8_t)to);
}

// Another thread is about to be done with it: a read takes a disk's time, leaving a microsecond.
static void wait_a_little(unsigned *turns) {
    if (++*turns < 32) {
        sched_yield();
        return;
    }
    nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
}

static bool is_owner(const PageCache *cache) {
    return atomic_load_explicit(&cache->owner, memory_order_relaxed) == pthread_self();
}

void cache_owner_is_here(PageCache *cache) {
    atomic_store_explicit(&cache->owner, pthread_self(), memory_order_relaxed);
}

// ── in ─────────────────────────────────────────────────────────────────────────────────────────

static const uint8_t *lost(const Pages *pages, PageNo no, Err err, const char *why) {
    PageCache *cache = pages->cache;
    page_fault_set(err, "%s: %s", cache->file.path, why);
    // Once a page is enough for the operator; who needs it is told each time.
    static _Atomic PageNo last;
    atomic_fetch_add(&cache->read_errors, 1);
    if (atomic_exchange(&last, no) != no) log_error("%s: %s", cache->file.path, why);
    return page_at(pages, PAGE_NONE);
}

// The owner does not want to wait for it: who asked ends with ERR_AGAIN, and the disk begins.
static const uint8_t *later(const Pages *pages, PageNo no) {
    cache_hint(pages, &no, 1);
    fetcher_missed(&pages->cache->fetcher, no);
    page_fault_set(ERR_AGAIN, "page %u is not in memory", no);
    return page_at(pages, PAGE_NONE);
}

static Err owner_waits(PageCache *cache, PageNo no, PageFileRead *read, uint8_t *into, Diag *diag) {
    const Io *io = cache->file.io;
    int64_t began = io->clock_monotonic_ns(io->world);
    read->now = false;
    Err err = pagefile_read(&cache->file, no, read, into, diag);
    uint64_t waited = (uint64_t)(io->clock_monotonic_ns(io->world) - began);
    atomic_fetch_add_explicit(&cache->waits, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&cache->wait_ns, waited, memory_order_relaxed);
    return err;
}

static const uint8_t *load(const Pages *pages, PageNo no) {
    PageCache *cache = pages->cache;
    Diag diag;
    uint64_t version = pages->meta[no].version;
    bool owner = is_owner(cache);
    PageFileRead read = {
        .epoch = version ? UINT64_MAX : cache->opened_epoch,
        .version = version,
        .room = pages->capacity - no,
        .now = owner,
    };
    diag_clear(&diag);
    Err err = pagefile_read(&cache->file, no, &read, page_at(pages, no), &diag);
    if (err == ERR_AGAIN && !cache->hurried) {
        err = owner_waits(cache, no, &read, page_at(pages, no), &diag);
    }
    if (err != OK) {
        size_t bytes = (size_t)MAX(read.run, 1u) * PAGE_BYTES;
        madvise(page_at(pages, no), bytes, MADV_DONTNEED);
        atomic_store(&pages->state[no], PAGE_ABSENT);
        return err == ERR_AGAIN ? later(pages, no) : lost(pages, no, err, diag.text);
    }
    atomic_fetch_add_explicit(&cache->reads, 1, memory_order_relaxed);
    if (owner) atomic_fetch_add_explicit(&cache->owner_reads, 1, memory_order_relaxed);
    atomic_fetch_add(&cache->resident, read.run);
    atomic_store(&pages->state[no], PAGE_HERE);
    return page_at(pages, no);
}

const uint8_t *page_fetch(const Pages *pages, PageNo no) {
    DEBUG_ASSERT(guard_is_up());
    for (unsigned turns = 0;;) {
        switch ((PageState)state_of(pages, no)) {
        case PAGE_HERE:
        case PAGE_WRITING:
        case PAGE_PRIVATE:
        case PAGE_DIRTY: return page_at(pages, no);
        case PAGE_COOLING:
            if (state_move(pages, no, PAGE_COOLING, PAGE_HERE)) return page_at(pages, no);
            break;
        case PAGE_ABSENT:
            if (state_move(pages, no, PAGE_ABSENT, PAGE_LOADING)) return load(pages, no);
            break;
        case PAGE_SPARE: return lost(pages, no, ERR_CORRUPT, "a page that is not in use is read");
        case PAGE_LOADING:
            if (is_owner(pages->cache) && pages->cache->hurried) return later(pages, no);
            wait_a_little(&turns);
            break;
        case PAGE_LEAVING: wait_a_little(&turns); break;
        }
    }
}

// What is here cannot leave: our guard was up before it is marked. What was marked may, unless the mark
// is taken off in time.
bool page_keep(const Pages *pages, PageNo no) {
    DEBUG_ASSERT(guard_is_up());
    if (state_move(pages, no, PAGE_COOLING, PAGE_HERE)) return true;
    uint8_t state = state_of(pages, no);
    return state == PAGE_HERE || state == PAGE_DIRTY || state == PAGE_WRITING;
}

void cache_hint(const Pages *pages, const PageNo *list, uint32_t count) {
    const PageFile *file = &pages->cache->file;
    for (uint32_t i = 0; i < count; i++) {
        if (atomic_load(&pages->state[list[i]]) != PAGE_ABSENT) continue;
        file->io->file_hint(file->io->world, file->file, pagefile_place(list[i]), PAGE_BYTES);
    }
}

// ── the owner's changes ────────────────────────────────────────────────────────────────────────

static void dirty_mark(PageCache *cache, PageNo no, uint32_t run) {
    if (bit_get(cache->dirty, no)) return;
    bit_set(cache->dirty, no);
    cache->dirty_pages += run;
}

void dirty_unmark(PageCache *cache, PageNo no, uint32_t run) {
    if (!bit_get(cache->dirty, no)) return;
    bit_clear(cache->dirty, no);
    cache->dirty_pages -= run;
}

void page_soil(Pages *pages, PageNo no) {
    uint8_t now = state_of(pages, no);
    if (LIKELY(now == PAGE_DIRTY) || now == PAGE_PRIVATE) return;
    // It was read in this operation, so our guard keeps it from leaving.
    uint8_t before = atomic_exchange(&pages->state[no], PAGE_DIRTY);
    ASSERT(before == PAGE_HERE || before == PAGE_COOLING || before == PAGE_DIRTY ||
           before == PAGE_WRITING);
    dirty_mark(pages->cache, no, page_header(page_at(pages, no))->run);
}

// The page's memory becomes the owner's, whatever it was: spare, absent, or leaving just now.
static void state_seize(Pages *pages, PageNo no, PageState to) {
    for (unsigned turns = 0;;) {
        uint8_t now = state_of(pages, no);
        if (now == PAGE_LEAVING || now == PAGE_LOADING) {
            wait_a_little(&turns);
        } else if (atomic_compare_exchange_strong(&pages->state[no], &now, (uint8_t)to)) {
            if (now == PAGE_SPARE) atomic_fetch_sub(&pages->cache->resident, 1);
            return;
        }
    }
}

void cache_take(Pages *pages, PageNo no, uint32_t run) {
    PageCache *cache = pages->cache;
    for (uint32_t i = 0; i < run; i++) {
        bit_set(cache->live, no + i);
        if (pages->paged) state_seize(pages, no + i, i == 0 ? PAGE_DIRTY : PAGE_ABSENT);
    }
    dirty_mark(cache, no, run);
    if (!pages->paged) return;
    atomic_fetch_add(&cache->resident, run);
    atomic_store_explicit(&cache->end, pages->end, memory_order_relaxed);
}

void cache_retire(Pages *pages, PageNo no, uint32_t run) {
    for (uint32_t i = 0; i < run; i++) {
        bit_clear(pages->cache->live, no + i);
    }
    dirty_unmark(pages->cache, no, run);
}

// Whether the file has it is to be seen from its state; without states it has to be written again.
void cache_restore(Pages *pages, PageNo no, uint32_t run) {
    for (uint32_t i = 0; i < run; i++) {
        bit_set(pages->cache->live, no + i);
    }
    if (cache_is_dirty(pages, no)) dirty_mark(pages->cache, no, run);
}

void cache_lend(Pages *pages, PageNo no, uint32_t count) {
    if (!pages->paged) return;
    for (uint32_t i = 0; i < count; i++) {
        state_seize(pages, no + i, PAGE_PRIVATE);
    }
    atomic_fetch_add(&pages->cache->resident, count);
    atomic_store_explicit(&pages->cache->end, pages->end, memory_order_relaxed);
}

void cache_adopt(Pages *pages, PageNo no, uint32_t run) {
    for (uint32_t i = 0; i < run; i++) {
        bit_set(pages->cache->live, no + i);
        if (pages->paged) atomic_store(&pages->state[no + i], i == 0 ? PAGE_DIRTY : PAGE_ABSENT);
    }
    dirty_mark(pages->cache, no, run);
}

void cache_take_back(Pages *pages, PageNo no, uint32_t count) {
    for (uint32_t i = 0; pages->paged && i < count; i++) {
        atomic_store(&pages->state[no + i], PAGE_SPARE);
    }
}

void cache_free(Pages *pages, PageNo no, uint32_t run) {
    PageCache *cache = pages->cache;
    bool keep = run <= RUN_KEPT_PAGES_MAX;
    for (unsigned turns = 0;;) {
        uint8_t now = state_of(pages, no);
        if (now == PAGE_ABSENT) return;
        if (now == PAGE_LEAVING || now == PAGE_LOADING) {
            wait_a_little(&turns);
        } else if (state_move(pages, no, (PageState)now, keep ? PAGE_SPARE : PAGE_LEAVING)) {
            break;
        }
    }
    for (uint32_t i = 1; keep && i < run; i++) {
        atomic_store(&pages->state[no + i], PAGE_SPARE);
    }
    if (keep) return;
    madvise(page_at(pages, no), (size_t)run * PAGE_BYTES, MADV_DONTNEED);
    atomic_fetch_sub(&cache->resident, run);
    atomic_store(&pages->state[no], PAGE_ABSENT);
}

void cache_trim(Pages *pages, PageNo no, uint32_t run) {
    for (uint32_t i = 0; pages->paged && i < run; i++) {
        state_seize(pages, no + i, PAGE_ABSENT);
    }
    atomic_store(&pages->cache->end, pages->end);
    madvise(page_at(pages, no), (size_t)run * PAGE_BYTES, MADV_DONTNEED);
}

bool cache_has_room(const Pages *pages, uint64_t count) {
    const PageCache *cache = pages->cache;
    uint64_t max = cache->resident_max;
    if (max == UINT64_MAX) return true;
    uint64_t most = max + max / 2 + SLACK_PAGES;
    return atomic_load(&cache->resident) + count <= most;
}

void cache_written(const Pages *pages, PageNo no) {
    if (!pages->paged || state_move(pages, no, PAGE_DIRTY, PAGE_HERE)) return;
    (void)state_move(pages, no, PAGE_WRITING, PAGE_HERE);
}

// ── out ────────────────────────────────────────────────────────────────────────────────────────

// Neighbours whose memory goes in one call.
typedef struct Leaving {
    PageNo first;
    uint32_t count;
} Leaving;

static void leaving_flush(const Pages *pages, Leaving *leaving) {
    if (leaving->count == 0) return;
    madvise(page_at(pages, leaving->first), (size_t)leaving->count * PAGE_BYTES, MADV_DONTNEED);
    atomic_fetch_sub(&pages->cache->resident, leaving->count);
    for (uint32_t i = 0; i < leaving->count; i++) {
        (void)state_move(pages, leaving->first + i, PAGE_LEAVING, PAGE_ABSENT);
    }
    leaving->count = 0;
}

static void leaving_put(const Pages *pages, Leaving *leaving, PageNo no, uint32_t run) {
    if (leaving->count && no == leaving->first + leaving->count) {
        leaving->count += run;
        return;
    }
    leaving_flush(pages, leaving);
    *leaving = (Leaving){no, run};
}

static uint64_t resident_with(const PageCache *cache, const Leaving *leaving) {
    return atomic_load(&cache->resident) - leaving->count;
}

// What has cooled for long enough leaves, the longest first.
static void queue_drain(const Pages *pages, uint64_t target) {
    PageCache *cache = pages->cache;
    Leaving leaving = {0};
    uint64_t passed = 0;
    while (cache->queue_count && resident_with(cache, &leaving) > target) {
        Cooling *oldest = &cache->queue[cache->queue_first % cache->queue_cap];
        if (oldest->marked > passed) {
            if (!guards_passed(oldest->marked)) break;
            passed = oldest->marked;
        }
        PageNo no = oldest->no;
        // An entry that is not the page's newest is of an earlier life of it.
        if (cache->marked[no] == oldest->marked &&
            state_move(pages, no, PAGE_COOLING, PAGE_LEAVING)) {
            leaving_put(pages, &leaving, no, page_header(page_at(pages, no))->run);
            atomic_fetch_add_explicit(&cache->evicted, 1, memory_order_relaxed);
        }
        cache->queue_first++;
        cache->queue_count--;
    }
    leaving_flush(pages, &leaving);
}

// The hand goes on until `want` pages are in the queue, at most once round. Spare memory goes at once.
static void hand_move(const Pages *pages, uint32_t want) {
    PageCache *cache = pages->cache;
    PageNo end = atomic_load(&cache->end);
    uint32_t from = cache->queue_count;
    Leaving leaving = {0};
    for (PageNo steps = 1; steps < end && cache->queue_count < want; steps++) {
        cache->hand = cache->hand + 1 < end ? cache->hand + 1 : 1;
        PageNo no = cache->hand;
        uint8_t now = state_of(pages, no);
        if (now == PAGE_SPARE && state_move(pages, no, PAGE_SPARE, PAGE_LEAVING)) {
            leaving_put(pages, &leaving, no, 1);
        } else if (now == PAGE_HERE && state_move(pages, no, PAGE_HERE, PAGE_COOLING)) {
            uint32_t at = cache->queue_first + cache->queue_count++;
            cache->queue[at % cache->queue_cap].no = no;
        }
    }
    leaving_flush(pages, &leaving);
    uint64_t time = guards_tick();
    for (uint32_t i = from; i < cache->queue_count; i++) {
        Cooling *cooling = &cache->queue[(cache->queue_first + i) % cache->queue_cap];
        cooling->marked = cache->marked[cooling->no] = time;
    }
}

// ── making room ────────────────────────────────────────────────────────────────────────────────

// A little less than the limit, so that not every operation has to make room.
static uint64_t resident_target(const PageCache *cache) {
    uint64_t max = cache->resident_max;
    return max - MIN(max / 32, (uint64_t)SPILL_PAGES);
}

// Beyond this the owner waits for what makes room, lest changes be refused (cache_has_room).
static bool is_far_over(const PageCache *cache) {
    uint64_t max = cache->resident_max;
    return atomic_load(&cache->resident) > max + max / 4 + SPILL_PAGES;
}

static bool is_over_target(const PageCache *cache) {
    return atomic_load(&cache->resident) > resident_target(cache);
}

// Pages that are as in the file go, at most one round of the hand.
static void clean_leave(const Pages *pages) {
    PageCache *cache = pages->cache;
    uint64_t target = resident_target(cache), resident = atomic_load(&cache->resident);
    if (resident <= target) return;
    uint64_t want = MIN(resident - target + cache->queue_cap / 2, (uint64_t)cache->queue_cap);
    hand_move(pages, (uint32_t)want);
    queue_drain(pages, target);
}

void cache_make_room(const Pages *pages) {
    PageCache *cache = pages->cache;
    if (pthread_mutex_trylock(&cache->evicting) != 0) return;
    queue_drain(pages, resident_target(cache));
    for (int round = 0; round < ROUNDS_MAX && is_over_target(cache); round++) {
        uint64_t before = atomic_load(&cache->resident);
        clean_leave(pages);
        if (atomic_load(&cache->resident) == before) break;
    }
    if (is_over_target(cache)) atomic_store(&cache->spill.wanted, true);
    pthread_mutex_unlock(&cache->evicting);
}

// Without a sweeper the owner does it all, and with one when that has fallen far behind.
static void owner_makes_room(Pages *pages) {
    PageCache *cache = pages->cache;
    for (int round = 0; round < ROUNDS_MAX && is_over_target(cache); round++) {
        uint64_t before = atomic_load(&cache->resident);
        cache_make_room(pages);
        if (!is_over_target(cache)) return;
        if (spill_has_sweeper(cache) && !is_far_over(cache)) return;
        bool written = spill_settle(pages, true);
        bool begun = spill_begin(pages, true);
        if (!written && !begun && atomic_load(&cache->resident) >= before) return;
    }
}

void cache_relieve(Pages *pages) {
    PageCache *cache = pages->cache;
    (void)spill_settle(pages, false);
    if (!spill_sweep(pages) || is_far_over(cache)) {
        owner_makes_room(pages);
    } else if (atomic_load(&cache->spill.wanted)) {
        (void)spill_begin(pages, false);
    }
}

// ── life ───────────────────────────────────────────────────────────────────────────────────────

static void *range_new(size_t bytes) {
    void *range = mmap(NULL,
                       bytes,
                       PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                       -1,
                       0);
    return range == MAP_FAILED ? NULL : range;
}

static void range_free(void *range, size_t bytes) {
    if (range) munmap(range, bytes);
}

static size_t bits_bytes(const Pages *pages) {
    return ((size_t)pages->capacity / 64 + 1) * 8;
}

static Err paging_open(Pages *pages, PageCache *cache) {
    cache->queue_cap = (uint32_t)MAX(MIN(cache->resident_max / 8, (uint64_t)QUEUE_MAX), QUEUE_MIN);
    cache->queue = mem_alloc(cache->queue_cap * sizeof *cache->queue);
    cache->marked = range_new(pages->capacity * sizeof *cache->marked);
    pages->state = range_new(pages->capacity);
    if (!cache->queue || !cache->marked || !pages->state) return ERR_NOMEM;
    // Memory comes and goes by the page here; large pages would bring 256 when one is read.
    if (cache->resident_max != UINT64_MAX) {
        madvise(pages->base, (size_t)pages->capacity * PAGE_BYTES, MADV_NOHUGEPAGE);
    }
    // What is found where a page could not be read: an empty leaf that leads nowhere.
    uint8_t *nothing = page_at(pages, PAGE_NONE);
    *(PageHeader *)nothing = (PageHeader){.kind = PAGE_LEAF, .run = 1};
    node_init(nothing);
    atomic_store(&pages->state[PAGE_NONE], PAGE_HERE);
    pages->paged = true;
    return OK;
}

void cache_limit(PageCache *cache, uint64_t memory_max) {
    cache->resident_max = memory_max ? MAX(memory_max / PAGE_BYTES, 16u) : UINT64_MAX;
}

Err cache_open(Pages *pages, PageFile *file, uint64_t memory_max, bool paged) {
    PageCache *cache = MEM_NEW(PageCache);
    if (!cache) return ERR_NOMEM;
    pages->cache = cache;
    pthread_mutex_init(&cache->evicting, NULL);
    spill_open(&cache->spill);
    fetcher_open(&cache->fetcher);
    cache_limit(cache, memory_max);
    cache->opened_epoch = file->meta.epoch;
    cache->live = range_new(bits_bytes(pages));
    cache->dirty = range_new(bits_bytes(pages));
    cache->dirty_spare = range_new(bits_bytes(pages));
    atomic_store(&cache->end, 1);
    Err err = cache->live && cache->dirty && cache->dirty_spare ? OK : ERR_NOMEM;
    if (err == OK && paged) err = paging_open(pages, cache);
    if (err != OK) {
        cache_close(pages);
        return err;
    }
    cache->file = *file;
    *file = (PageFile){0};
    return OK;
}

void cache_close(Pages *pages) {
    PageCache *cache = pages->cache;
    if (!cache) return;
    spill_close(pages);
    fetcher_close(cache);
    pagefile_close(&cache->file);
    range_free(cache->live, bits_bytes(pages));
    range_free(cache->dirty, bits_bytes(pages));
    range_free(cache->dirty_spare, bits_bytes(pages));
    range_free(cache->dirty_spent, bits_bytes(pages));
    range_free(cache->marked, pages->capacity * sizeof *cache->marked);
    range_free(pages->state, pages->capacity);
    pthread_mutex_destroy(&cache->evicting);
    mem_free(cache->queue);
    mem_free(cache);
    pages->cache = NULL;
    pages->state = NULL;
    pages->paged = false;
}
