// fetch.h: a thread that waits for the disk in the owner's place.
//
// PICTURE
//   owner    page_fetch: not at hand ─ noted as missed ─ ERR_AGAIN … begins again: at hand now, copied
//                                           └─ store_fetch ─┐                  ↑ done()
//   fetcher                                                 └─ reads them ─────┘
//
// What it reads it throws away: it only moves pages into the system's own cache, from where the owner
// copies them without waiting. So it touches neither pages nor their states, and a page that is freed or
// used again meanwhile needs no thought.
#pragma once
#include <pthread.h>

#include "store/store.h"

typedef struct Fetcher {
    // The owner's.
    uint32_t missed[STORE_FETCH_PAGES];  // since it was told to hurry
    uint32_t missed_count;
    bool may_have_thread, has_thread;
    pthread_t thread;

    pthread_mutex_t mutex;  // guards what follows
    pthread_cond_t changed;
    StoreFetch *first, *last;
    bool stop;
} Fetcher;

struct PageCache;
void fetcher_open(Fetcher *fetcher);
void fetcher_close(struct PageCache *cache);  // what waits is done, unread
void fetcher_missed(Fetcher *fetcher, uint32_t page);
