// load.c: opening a store from its page file: the newest checkpoint's root, and no page more.
#include "base/mem.h"
#include "store/cache.h"
#include "store/extent.h"
#include "store/guard.h"
#include "store/root.h"

static void index_specs(const RootTable *from, StoreIndexSpec *specs) {
    for (uint32_t i = 0; i < from->index_count; i++) {
        const RootIndex *index = &from->indexes[i];
        specs[i] = (StoreIndexSpec){
            .index_id = index->index_id,
            .columns = index->columns,
            .column_count = index->column_count,
            .unique = index->unique,
        };
    }
}

static Err table_load(Store *store, const RootTable *from) {
    Table *table;
    StoreIndexSpec *specs = arena_array(&store->types, StoreIndexSpec, from->index_count);
    if (!specs) return ERR_NOMEM;
    index_specs(from, specs);
    StoreTableSpec spec = {
        .table_id = from->table_id,
        .row_type = from->row_type,
        .primary_column = from->primary_column,
        .indexes = specs,
        .index_count = from->index_count,
    };
    Err err = schema_table_link(store, &spec, &table);
    if (err != OK) return err;
    table->state.rows = from->rows;
    table->state.row_count = from->row_count;
    table->state.data_bytes = from->data_bytes;
    table->state.collisions = from->collisions;
    for (uint32_t i = 0; i < from->index_count; i++) {
        table->state.indexes[i] = from->indexes[i].tree;
    }
    return OK;
}

static uint64_t pages_live(const Root *root, uint64_t *live) {
    uint64_t count = 0;
    for (uint32_t i = 0; i < root->words; i++) {
        live[i] = load_u64(root->live + 8 * (size_t)i);
        count += (uint64_t)__builtin_popcountll(live[i]);
    }
    return count;
}

static Err store_fill(Store *store, const Root *root) {
    Pages *pages = &store->pages;
    Err err = OK;
    pages->used = pages_live(root, pages->cache->live);
    extent_restore(pages, root->live);
    for (uint32_t i = 0; i < root->fallen_count; i++) {
        pages->meta[root->fallen[i]].next = pages->fallen;
        pages->fallen = root->fallen[i];
    }
    for (uint32_t i = 0; err == OK && i < root->table_count; i++) {
        err = table_load(store, &root->tables[i]);
    }
    return err;
}

static Err root_load(Store *store, Diag *diag) {
    Pages *pages = &store->pages;
    const PageFileMeta *meta = &pages->cache->file.meta;
    const uint8_t *page = page_read(pages, meta->root);
    if (page_fault()->err != OK)
        return diag_fail(diag, page_fault()->err, "%s", page_fault()->text);
    const PageHeader *header = page_header(page);
    uint64_t len = load_u32(page + sizeof(PageHeader));
    if (header->kind != PAGE_RUN || run_pages(len) > header->run) {
        return diag_fail(diag, ERR_CORRUPT, "%s: the root is not one", pages->cache->file.path);
    }
    Root root;
    Err err =
        root_decode(BYTES(page + PAGE_HEADER_BYTES, len), meta->end, &store->types, &root, diag);
    if (err != OK) return err;
    store->root = meta->root;
    store->root_run = header->run;
    return store_fill(store, &root);
}

// The numbers of pages and epochs go on where the checkpoint left them, and all of it is frozen.
static Err checkpoint_load(Store *store, Diag *diag) {
    Pages *pages = &store->pages;
    const PageFileMeta *meta = &pages->cache->file.meta;
    if (meta->end >= pages->capacity) {
        return diag_fail(diag,
                         ERR_LIMIT,
                         "%s is larger than this machine's address space allows",
                         pages->cache->file.path);
    }
    pages->end = meta->end;
    pages->epoch = meta->epoch;
    atomic_store(&pages->cache->end, pages->end);
    guard_raise();
    page_fault_clear();
    Err err = root_load(store, diag);
    page_fault_clear();
    guard_lower();
    if (err != OK) return err;
    store->durable = MEM_NEW(Durable);
    if (!store->durable) return ERR_NOMEM;
    *store->durable = (Durable){pages_view_open(pages), 1};
    return store->durable->view ? OK : ERR_NOMEM;
}

Err store_load(Store *store, const StoreOptions *options) {
    PageFile file;
    Diag *diag = options->diag;
    Err err = pagefile_open(options->io, options->page_file, options->read_only, &file, diag);
    if (err != OK) return err;
    bool has_checkpoint = file.meta.sequence > 0;
    bool paged = has_checkpoint || options->memory_max;
    if (paged) pages_large(&store->pages, false);
    err = cache_open(&store->pages, &file, options->memory_max, paged);
    pagefile_close(&file);
    if (err == OK) {
        store->pages.cache->spill.may_have_sweeper = options->sweeper;
        store->pages.cache->fetcher.may_have_thread = options->sweeper;
    }
    if (err == OK && options->read_only) store->pages.cache->failed = ERR_DENIED;
    if (err == OK && has_checkpoint) err = checkpoint_load(store, diag);
    return err;
}

// A run's pages after its first are in use too, but do not say who they are: the first does.
uint64_t store_check_pages(const Store *store, StoreCheckLine each, void *ctx, uint64_t *checked) {
    const Pages *pages = &store->pages;
    const PageFile *file = &pages->cache->file;
    uint64_t damaged = 0;
    *checked = 0;
    Buf run = {0};
    for (PageNo no = 1; no < file->meta.end;) {
        PageFileRead read = {.epoch = pages->cache->opened_epoch, .room = file->meta.end - no};
        Diag diag = {0};
        uint32_t length = 1;
        if (!bit_get(pages->cache->live, no)) {
            no++;
            continue;
        }
        Err err = pagefile_run_length(file, no, &read, &length);
        buf_clear(&run);
        uint8_t *into = buf_extend(&run, (size_t)length * PAGE_BYTES);
        if (err == OK && !into) err = diag_fail(&diag, ERR_NOMEM, "page %u: out of memory", no);
        if (into) err = pagefile_read(file, no, &read, into, &diag);
        if (err != OK && each) each(ctx, diag.text);
        damaged += err != OK;
        *checked += length;
        no += length;
    }
    buf_deinit(&run);
    return damaged;
}
