#include "store/spill.h"

#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "os/thread.h"
#include "store/cache.h"

enum {
    NEARBY_PAGES = 8192,  // looked at for dirty ones by a spill that is not urgent
    FAILURE_PAUSE = 256,  // calls
    BYTES_KEPT = SPILL_PAGES * PAGE_BYTES,
};

static uint8_t state_of(const Pages *pages, PageNo no) {
    return atomic_load(&pages->state[no]);
}

static bool state_move(const Pages *pages, PageNo no, PageState from, PageState to) {
    uint8_t expected = (uint8_t)from;
    return atomic_compare_exchange_strong(&pages->state[no], &expected, (uint8_t)to);
}

// ── writing a batch ────────────────────────────────────────────────────────────────────────────

static Err copies_write(Spill *spill, PageFile *file) {
    Err err = spill->batch.bytes ? OK : pagefile_batch_begin(file, &spill->batch);
    size_t at = 0;
    for (uint32_t i = 0; err == OK && i < spill->count; i++) {
        err = pagefile_batch_put(&spill->batch, spill->bytes + at);
        at += (size_t)spill->list[i].run * PAGE_BYTES;
    }
    if (err == OK) err = pagefile_batch_flush(&spill->batch);
    spill->batch.len = 0;
    return err;
}

// (2). The sweeper's, or the owner's who has none.
static void batch_write(const Pages *pages) {
    PageCache *cache = pages->cache;
    Spill *spill = &cache->spill;
    spill->err = copies_write(spill, &cache->file);
    if (spill->err != OK) {
        snprintf(spill->why, sizeof spill->why, "%.100s", io_last_error_text());
    } else {
        atomic_fetch_add(&cache->spilled, spill->count);
    }
    for (uint32_t i = 0; i < spill->count; i++) {
        PageState to = spill->err == OK ? PAGE_HERE : PAGE_DIRTY;
        (void)state_move(pages, spill->list[i].no, PAGE_WRITING, to);
    }
}

// ── the sweeper ────────────────────────────────────────────────────────────────────────────────

static void *sweeper_run(void *ctx) {
    Pages *pages = ctx;
    Spill *spill = &pages->cache->spill;
    thread_become("spill", THREAD_ORDINARY);
    pthread_mutex_lock(&spill->mutex);
    for (;;) {
        if (spill->ended < spill->begun) {
            pthread_mutex_unlock(&spill->mutex);
            batch_write(pages);
            pthread_mutex_lock(&spill->mutex);
            spill->ended++;
            pthread_cond_broadcast(&spill->changed);
        } else if (spill->stop) {
            break;
        } else if (atomic_load(&spill->asked)) {
            pthread_mutex_unlock(&spill->mutex);
            atomic_store(&spill->asked, false);
            cache_make_room(pages);
            pthread_mutex_lock(&spill->mutex);
        } else {
            pthread_cond_wait(&spill->changed, &spill->mutex);
        }
    }
    pthread_mutex_unlock(&spill->mutex);
    return NULL;
}

bool spill_has_sweeper(const PageCache *cache) {
    return cache->spill.has_sweeper;
}

static bool sweeper_start(Pages *pages) {
    Spill *spill = &pages->cache->spill;
    if (spill->has_sweeper || !spill->may_have_sweeper) return spill->has_sweeper;
    spill->has_sweeper = pthread_create(&spill->sweeper, NULL, sweeper_run, pages) == 0;
    spill->may_have_sweeper = spill->has_sweeper;  // one refusal is enough
    return spill->has_sweeper;
}

bool spill_sweep(Pages *pages) {
    Spill *spill = &pages->cache->spill;
    if (!sweeper_start(pages)) return false;
    if (atomic_load(&spill->asked)) return true;
    pthread_mutex_lock(&spill->mutex);
    atomic_store(&spill->asked, true);
    pthread_cond_broadcast(&spill->changed);
    pthread_mutex_unlock(&spill->mutex);
    return true;
}

void spill_open(Spill *spill) {
    pthread_mutex_init(&spill->mutex, NULL);
    pthread_cond_init(&spill->changed, NULL);
}

void spill_close(Pages *pages) {
    Spill *spill = &pages->cache->spill;
    if (spill->has_sweeper) {
        pthread_mutex_lock(&spill->mutex);
        spill->stop = true;
        pthread_cond_broadcast(&spill->changed);
        pthread_mutex_unlock(&spill->mutex);
        pthread_join(spill->sweeper, NULL);
        spill->has_sweeper = false;
    }
    pagefile_batch_end(&spill->batch);
    mem_free(spill->bytes);
    pthread_cond_destroy(&spill->changed);
    pthread_mutex_destroy(&spill->mutex);
}

// ── the owner ──────────────────────────────────────────────────────────────────────────────────

static bool copies_room(Spill *spill, size_t more) {
    if (spill->len + more <= spill->cap) return true;
    if (spill->count) return false;
    size_t cap = MAX(more, (size_t)BYTES_KEPT);
    uint8_t *bytes = mem_realloc(spill->bytes, cap);
    if (!bytes) return false;
    spill->bytes = bytes;
    spill->cap = cap;
    return true;
}

// False: it has to wait for the next batch.
static bool copy_add(Pages *pages, PageNo no) {
    Spill *spill = &pages->cache->spill;
    uint32_t run = page_header(page_at(pages, no))->run;
    size_t len = (size_t)run * PAGE_BYTES;
    if (!copies_room(spill, len)) return false;
    memcpy(spill->bytes + spill->len, page_at(pages, no), len);
    spill->len += len;
    spill->list[spill->count++] = (SpillPage){no, run};
    return state_move(pages, no, PAGE_DIRTY, PAGE_WRITING);
}

// Dirty pages from the place where the last call stopped, in the order of their numbers.
static void copies_collect(Pages *pages, bool far) {
    Spill *spill = &pages->cache->spill;
    uint32_t steps = far ? pages->end : MIN(pages->end, (uint32_t)NEARBY_PAGES);
    for (uint32_t step = 1; step < steps && spill->count < SPILL_PAGES; step++) {
        PageNo no = spill->hand + 1 < pages->end ? spill->hand + 1 : 1;
        if (state_of(pages, no) == PAGE_DIRTY && !copy_add(pages, no)) return;
        spill->hand = no;
    }
}

bool spill_begin(Pages *pages, bool far) {
    PageCache *cache = pages->cache;
    Spill *spill = &cache->spill;
    if (cache->failed != OK || spill->on_its_way) return false;
    if (spill->pause && spill->pause--) return false;
    atomic_store(&spill->wanted, false);
    spill->count = 0;
    spill->len = 0;
    copies_collect(pages, far);
    if (spill->count == 0) return false;
    spill->on_its_way = true;
    pthread_mutex_lock(&spill->mutex);
    spill->begun++;
    pthread_cond_broadcast(&spill->changed);
    pthread_mutex_unlock(&spill->mutex);
    return true;
}

static void batch_ended(Spill *spill) {
    pthread_mutex_lock(&spill->mutex);
    spill->ended++;
    pthread_cond_broadcast(&spill->changed);
    pthread_mutex_unlock(&spill->mutex);
}

static bool has_ended(Spill *spill) {
    pthread_mutex_lock(&spill->mutex);
    bool ended = spill->ended == spill->begun;
    pthread_mutex_unlock(&spill->mutex);
    return ended;
}

// True: it has been waited for.
static bool owner_waits(PageCache *cache) {
    const Io *io = cache->file.io;
    Spill *spill = &cache->spill;
    int64_t began = io->clock_monotonic_ns(io->world);
    spill_wait(cache, spill->begun);
    spill->waits++;
    spill->wait_ns += (uint64_t)(io->clock_monotonic_ns(io->world) - began);
    return true;
}

static void bits_settle(Pages *pages) {
    Spill *spill = &pages->cache->spill;
    for (uint32_t i = 0; i < spill->count; i++) {
        uint8_t state = state_of(pages, spill->list[i].no);
        if (state != PAGE_DIRTY) dirty_unmark(pages->cache, spill->list[i].no, spill->list[i].run);
    }
}

bool spill_settle(Pages *pages, bool wait) {
    PageCache *cache = pages->cache;
    Spill *spill = &cache->spill;
    if (!spill->on_its_way) return false;
    if (!spill->has_sweeper) {
        batch_write(pages);
        batch_ended(spill);
    } else if (!has_ended(spill) && !(wait && owner_waits(cache))) {
        return false;
    }
    spill->on_its_way = false;
    if (spill->cap > BYTES_KEPT) {
        mem_free(spill->bytes);
        spill->bytes = NULL;
        spill->cap = 0;
    }
    if (spill->err == OK) {
        bits_settle(pages);
        return true;
    }
    spill->pause = FAILURE_PAUSE;
    log_warn("%s: a page cannot be written out, memory will exceed its limit: %s %s",
             cache->file.path,
             err_text(spill->err),
             spill->why);
    return false;
}

uint64_t spill_count(PageCache *cache) {
    return cache->spill.begun;
}

void spill_wait(PageCache *cache, uint64_t count) {
    Spill *spill = &cache->spill;
    pthread_mutex_lock(&spill->mutex);
    while (spill->ended < count) {
        pthread_cond_wait(&spill->changed, &spill->mutex);
    }
    pthread_mutex_unlock(&spill->mutex);
}
