// store.c: opening, closing, numbers.
#include "base/mem.h"
#include "store/inside.h"
#include "store/testing.h"

Err store_open(const StoreOptions *options, Store **out) {
    Store *store = MEM_NEW(Store);
    if (!store) return ERR_NOMEM;
    store->hash_mask = UINT64_MAX;
    store->io = options->io;
    // With a page file the limit is on what is in memory, not on what there is.
    size_t used_max = options->page_file ? 0 : options->memory_max;
    Err err = pages_open(&store->pages, options->address_bytes, used_max);
    if (err == OK && options->page_file) err = store_load(store, options);
    if (err != OK) {
        store_close(&store);
        return err;
    }
    *out = store;
    return OK;
}

void store_close(Store **handle) {
    Store *store = *handle;
    *handle = NULL;
    if (!store) return;
    ASSERT(store->snapshots_live == 0 && !store->checkpoint && store->images == 0);
    if (store->in_transaction) store_rollback(store);
    store_settle(store);
    guard_lower();
    for (uint32_t i = 0; i < store->table_count; i++) {
        table_free(store->by_id[i]);
    }
    mem_free(store->slots);
    mem_free(store->by_id);
    mem_free(store->changes);
    mem_free(store->ddl);
    mem_free(store->before.spans);
    mem_free(store->after.spans);
    buf_deinit(&store->before.bytes);
    buf_deinit(&store->after.bytes);
    buf_deinit(&store->row_key);
    arena_deinit(&store->arena);
    arena_deinit(&store->types);
    mem_free(store->durable);  // its view goes with the pages
    pages_close(&store->pages);
    mem_free(store);
}

bool store_memory_max(Store *store, size_t bytes) {
    Pages *pages = &store->pages;
    if (!pages->cache) {
        pages->used_max = bytes ? bytes / PAGE_BYTES : UINT64_MAX;
        return true;
    }
    cache_limit(pages->cache, bytes);
    return pages->paged || !bytes;
}

StoreStats store_stats(const Store *store) {
    const Pages *pages = &store->pages;
    StoreStats stats = {
        .pages_used = pages->used,
        .pages_free = pages->free,
        .pages_copied = pages->copied,
        .snapshots_live = store->snapshots_live,
        .version = store->version,
        .snapshot_oldest = store->oldest ? store->oldest->version : store->version,
        .snapshot_oldest_ns = store->oldest ? store->oldest->taken_ns : 0,
        .snapshot_bytes = pages->kept * PAGE_BYTES,
        .memory_bytes = pages->used * PAGE_BYTES,
    };
    const PageCache *cache = pages->cache;
    if (!cache) return stats;
    if (pages->paged) stats.memory_bytes = atomic_load(&cache->resident) * PAGE_BYTES;
    stats.dirty_bytes = cache->dirty_pages * PAGE_BYTES;
    stats.file_bytes = pagefile_place(pages->end);
    stats.page_reads = atomic_load(&cache->reads);
    stats.page_read_errors = atomic_load(&cache->read_errors);
    stats.pages_evicted = atomic_load(&cache->evicted);
    stats.pages_spilled = atomic_load(&cache->spilled);
    stats.page_reads_owner = atomic_load(&cache->owner_reads);
    stats.page_waits = atomic_load(&cache->waits);
    stats.page_wait_ns = atomic_load(&cache->wait_ns);
    stats.spill_waits = cache->spill.waits;
    stats.spill_wait_ns = cache->spill.wait_ns;
    return stats;
}

void store_replayed(Store *store) {
    Pages *pages = &store->pages;
    bool limited = pages->cache && pages->cache->resident_max != UINT64_MAX;
    if (pages->paged && !limited) pages_large(pages, true);
}

// ── reading from a page file ───────────────────────────────────────────────────────────────────

void store_breathe(Store *store) {
    if (LIKELY(!store->pages.paged)) return;
    // Somebody has the rows that a clear took away, as they stand in their pages.
    if (store->rows_borrowed) return;
    guard_lower();
    if (UNLIKELY(cache_is_over(&store->pages))) cache_relieve(&store->pages);
}

void snapshot_breathe(const Snapshot *snapshot) {
    Pages *pages = &snapshot->store->pages;
    if (LIKELY(!pages->paged)) return;
    guard_lower();
    if (UNLIKELY(cache_is_over(pages))) cache_make_room(pages);
}

void table_breathe(const Table *table, const Snapshot *snapshot) {
    if (snapshot) {
        snapshot_breathe(snapshot);
    } else {
        store_breathe(table->store);
    }
}

bool store_is_paged(const Store *store) {
    return store->pages.paged;
}

void store_set_patient(Store *store, bool patient) {
    PageCache *cache = store->pages.cache;
    if (LIKELY(!store->pages.paged)) return;
    cache_owner_is_here(cache);
    cache->hurried = !patient;
    if (!patient) cache->fetcher.missed_count = 0;
}

Store *table_store(const Table *table) {
    return table->store;
}

void store_guard_lower(void) {
    guard_lower();
}

Err fault_take(Store *store, bool head) {
    Err err = page_fault()->err;
    if (head && store->fault.err == OK) store->fault = *page_fault();
    page_fault_clear();
    return err;
}

Err store_fault(const Store *store, Diag *diag) {
    if (LIKELY(store->fault.err == OK)) return OK;
    return diag_fail(diag, store->fault.err, "%s", store->fault.text);
}

bool store_wants_checkpoint(const Store *store) {
    const PageCache *cache = store->pages.cache;
    return cache && cache->failed == OK && cache->dirty_pages > cache->resident_max / 4;
}

uint64_t store_log_offset(const Store *store) {
    const PageCache *cache = store->pages.cache;
    return cache ? cache->file.meta.log_offset : 0;
}

uint64_t store_checkpoints(const Store *store) {
    const PageCache *cache = store->pages.cache;
    return cache ? cache->file.meta.sequence : 0;
}

Micros store_checkpoint_time(const Store *store) {
    const PageCache *cache = store->pages.cache;
    return cache ? cache->file.meta.time : 0;
}

void store_test_weaken_hash(Store *store, unsigned bits) {
    ASSERT(store->table_count == 0);
    store->hash_mask = bits < 64 ? ((uint64_t)1 << bits) - 1 : UINT64_MAX;
}

void store_test_fail_pages(Store *store, int64_t countdown) {
    store->pages.fault_countdown = countdown;
    store->pages.fault_hit = false;
}

bool store_test_pages_failed(const Store *store) {
    return store->pages.fault_hit;
}
