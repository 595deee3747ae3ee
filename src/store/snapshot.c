// snapshot.c: a copy of every table's roots, and a view that keeps their pages from changing.
#include "base/mem.h"
#include "store/inside.h"

// Pages freed at once by a release; the rest goes with the transactions that follow.
#define RELEASE_PAGES 256

static size_t trees_count(const Store *store) {
    size_t count = 0;
    for (uint32_t slot = 0; slot < store->slot_count; slot++) {
        if (store->slots[slot]) count += table_def(store->slots[slot])->index_count;
    }
    return count;
}

static void tables_copy(const Store *store, Snapshot *snapshot) {
    Tree *trees = (Tree *)(void *)&snapshot->tables[store->slot_count];
    for (uint32_t slot = 0; slot < store->slot_count; slot++) {
        Table *table = store->slots[slot];
        if (!table) continue;
        const TableDef *def = table_def(table);
        SnapshotTable *copy = &snapshot->tables[slot];
        *copy = (SnapshotTable){table, def, table->state};
        copy->state.indexes = trees;
        memcpy(trees, table->state.indexes, def->index_count * sizeof(Tree));
        trees += def->index_count;
        table->snapshots++;
    }
}

Err store_snapshot(Store *store, Snapshot **out) {
    ASSERT(!store->in_transaction);
    if (store->latest && store->latest->version == store->version) {
        store->latest->refs++;
        *out = store->latest;
        return OK;
    }
    size_t bytes = sizeof(Snapshot) + store->slot_count * sizeof(SnapshotTable) +
                   trees_count(store) * sizeof(Tree);
    Snapshot *snapshot = mem_zalloc(bytes);
    if (!snapshot) return ERR_NOMEM;
    snapshot->view = pages_view_open(&store->pages);
    if (!snapshot->view) {
        mem_free(snapshot);
        return ERR_NOMEM;
    }
    snapshot->store = store;
    snapshot->version = store->version;
    const Io *io = store->io;
    snapshot->taken_ns = io ? io->clock_monotonic_ns(io->world) : 0;
    snapshot->refs = 1;
    snapshot->slot_count = store->slot_count;
    tables_copy(store, snapshot);
    store->latest = snapshot;
    snapshot->older = store->newest;
    *(snapshot->older ? &snapshot->older->newer : &store->oldest) = snapshot;
    store->newest = snapshot;
    store->snapshots_live++;
    *out = snapshot;
    return OK;
}

void snapshot_release(Snapshot **handle) {
    Snapshot *snapshot = *handle;
    *handle = NULL;
    if (!snapshot || --snapshot->refs) return;
    Store *store = snapshot->store;
    if (store->latest == snapshot) store->latest = NULL;
    *(snapshot->older ? &snapshot->older->newer : &store->oldest) = snapshot->newer;
    *(snapshot->newer ? &snapshot->newer->older : &store->newest) = snapshot->older;
    for (uint32_t slot = 0; slot < snapshot->slot_count; slot++) {
        Table *table = snapshot->tables[slot].table;
        if (table && --table->snapshots == 0 && table->gone) table_free(table);
    }
    pages_view_end(&store->pages, snapshot->view);
    pages_tidy(&store->pages, RELEASE_PAGES);
    store->snapshots_live--;
    mem_free(snapshot);
}

uint64_t snapshot_version(const Snapshot *snapshot) {
    return snapshot->version;
}
