#include "store/fetch.h"

#include "base/mem.h"
#include "os/thread.h"
#include "store/inside.h"

enum { PIECE_BYTES = 16 * PAGE_BYTES };

// ── the thread ─────────────────────────────────────────────────────────────────────────────────

// Errors are for whoever needs the page.
static bool piece_read(const PageFile *file, uint64_t at, uint8_t *into, size_t len) {
    size_t got;
    const Io *io = file->io;
    return io->file_read(io->world, file->file, at, into, len, &got) == OK && got == len;
}

static void page_warm(const PageFile *file, PageNo no, uint8_t *piece) {
    if (!piece_read(file, pagefile_place(no), piece, PAGE_BYTES)) return;
    const PageHeader *header = page_header(piece);
    uint64_t left = header->number == no && header->kind == PAGE_RUN ? header->run - 1 : 0;
    uint64_t at = pagefile_place(no + 1);
    for (left *= PAGE_BYTES; left > 0;) {
        size_t len = MIN((size_t)left, (size_t)PIECE_BYTES);
        if (!piece_read(file, at, piece, len)) return;
        at += len;
        left -= len;
    }
}

static void *fetcher_run(void *ctx) {
    PageCache *cache = ctx;
    Fetcher *fetcher = &cache->fetcher;
    thread_become("fetch", THREAD_PROMPT);
    alignas(8) static _Thread_local uint8_t piece[PIECE_BYTES];
    pthread_mutex_lock(&fetcher->mutex);
    for (;;) {
        StoreFetch *fetch = fetcher->first;
        if (!fetch && fetcher->stop) break;
        if (!fetch) {
            pthread_cond_wait(&fetcher->changed, &fetcher->mutex);
            continue;
        }
        fetcher->first = fetch->next;
        bool wanted = !fetcher->stop;
        pthread_mutex_unlock(&fetcher->mutex);
        for (uint32_t i = 0; wanted && i < fetch->count; i++) {
            page_warm(&cache->file, fetch->pages[i], piece);
        }
        fetch->done(fetch);
        pthread_mutex_lock(&fetcher->mutex);
    }
    pthread_mutex_unlock(&fetcher->mutex);
    return NULL;
}

void fetcher_open(Fetcher *fetcher) {
    pthread_mutex_init(&fetcher->mutex, NULL);
    pthread_cond_init(&fetcher->changed, NULL);
}

void fetcher_close(PageCache *cache) {
    Fetcher *fetcher = &cache->fetcher;
    if (fetcher->has_thread) {
        pthread_mutex_lock(&fetcher->mutex);
        fetcher->stop = true;
        pthread_cond_broadcast(&fetcher->changed);
        pthread_mutex_unlock(&fetcher->mutex);
        pthread_join(fetcher->thread, NULL);
    }
    pthread_cond_destroy(&fetcher->changed);
    pthread_mutex_destroy(&fetcher->mutex);
}

// ── the owner ──────────────────────────────────────────────────────────────────────────────────

void fetcher_missed(Fetcher *fetcher, uint32_t page) {
    for (uint32_t i = 0; i < fetcher->missed_count; i++) {
        if (fetcher->missed[i] == page) return;
    }
    if (fetcher->missed_count < STORE_FETCH_PAGES) fetcher->missed[fetcher->missed_count++] = page;
}

static bool thread_start(PageCache *cache) {
    Fetcher *fetcher = &cache->fetcher;
    if (fetcher->has_thread || !fetcher->may_have_thread) return fetcher->has_thread;
    fetcher->has_thread = pthread_create(&fetcher->thread, NULL, fetcher_run, cache) == 0;
    fetcher->may_have_thread = fetcher->has_thread;  // one refusal is enough
    return fetcher->has_thread;
}

bool store_fetch(Store *store, StoreFetch *fetch) {
    PageCache *cache = store->pages.cache;
    Fetcher *fetcher = cache ? &cache->fetcher : NULL;
    if (!fetcher || fetcher->missed_count == 0 || !thread_start(cache)) return false;
    fetch->next = NULL;
    fetch->count = fetcher->missed_count;
    memcpy(fetch->pages, fetcher->missed, fetch->count * sizeof fetch->pages[0]);
    pthread_mutex_lock(&fetcher->mutex);
    *(fetcher->first ? &fetcher->last->next : &fetcher->first) = fetch;
    fetcher->last = fetch;
    pthread_cond_broadcast(&fetcher->changed);
    pthread_mutex_unlock(&fetcher->mutex);
    return true;
}
