// store.c: opening, closing, numbers.
#include "base/mem.h"
#include "store/inside.h"
#include "store/testing.h"

Err store_open(const StoreOptions *options, Store **out) {
    Store *store = MEM_NEW(Store);
    if (!store) return ERR_NOMEM;
    store->hash_mask = UINT64_MAX;
    Err err = pages_open(&store->pages, options->address_bytes, options->memory_max);
    if (err != OK) {
        mem_free(store);
        return err;
    }
    *out = store;
    return OK;
}

void store_close(Store **handle) {
    Store *store = *handle;
    *handle = NULL;
    if (!store) return;
    ASSERT(store->snapshots_live == 0);
    if (store->in_transaction) store_rollback(store);
    store_settle(store);
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
    pages_close(&store->pages);
    mem_free(store);
}

StoreStats store_stats(const Store *store) {
    const Pages *pages = &store->pages;
    return (StoreStats){
        .pages_used = pages->used,
        .pages_free = pages->free,
        .pages_copied = pages->copied,
        .snapshots_live = store->snapshots_live,
        .memory_bytes = pages->used * PAGE_BYTES,
    };
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
