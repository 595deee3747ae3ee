#include "store/branch.h"

#include "base/mem.h"
#include "store/extent.h"
#include "store/inside.h"

enum {
    LEASE_PAGES = 256,  // lent at a time, and more …
    LEASE_SHARE = 4,    // … as one part in so many of what was lent before, up to
    LEASE_PAGES_MAX = 2048,
    MEMORY_SHARE = 4,    // of what may be in memory a branch may have one part in so many
    CHANGES_KEPT = 256,  // of the change list, which nobody reads here
};

typedef struct BranchTable {
    Table copy;
    Table *real;
    bool is_whole;  // it began empty: it shares no page with the head
    uint64_t generation;
} BranchTable;

struct StoreBranch {
    Store *store;
    Snapshot *snapshot;
    Store copy;  // whose tables are changed beside the head
    PageLease lease;
    PageWatch watch;
    BranchTable **tables;
    uint32_t table_count, table_cap;
    uint64_t *replaced, *taken;  // a bit a page, from adoption on
    bool is_settled;
};

// ── pages of a branch ──────────────────────────────────────────────────────────────────────────

static bool grow(void **array, size_t *cap, size_t want, size_t each) {
    if (LIKELY(want <= *cap)) return true;
    size_t grown = MAX(MAX(*cap * 2, want), (size_t)256);
    void *memory = mem_realloc(*array, grown * each);
    if (!memory) return false;
    *array = memory;
    *cap = grown;
    return true;
}

// Without memory to remember it by, it is not used again before the branch ends.
static void spare_push(PageLease *lease, PageNo no) {
    void **array = (void **)&lease->spare;
    if (!grow(array, &lease->spare_cap, lease->spare_count + 1, sizeof(PageNo))) return;
    lease->spare[lease->spare_count++] = no;
}

// A change gives up no more pages than a few for each that it may take, and a few more.
static bool replaced_reserve(PageLease *lease, uint64_t count) {
    size_t want = lease->replaced_count + (size_t)count * 8 + 256;
    return grow((void **)&lease->replaced, &lease->replaced_cap, want, sizeof(PageRun));
}

Err lease_reserve(Pages *pages, uint64_t count) {
    PageLease *lease = pages->lease;
    if (!replaced_reserve(lease, count)) return ERR_NOMEM;
    if (LIKELY(lease->left >= count)) return OK;
    for (; lease->left; lease->left--) {
        spare_push(lease, lease->next++);
    }
    uint64_t usual = MIN(MAX(lease->pages / LEASE_SHARE, LEASE_PAGES), LEASE_PAGES_MAX);
    return lease->more(lease->ctx, (uint32_t)MAX(count, usual));
}

PageNo lease_take(Pages *pages, uint32_t run) {
    PageLease *lease = pages->lease;
    PageNo no;
    if (run == 1 && lease->spare_count) {
        no = lease->spare[--lease->spare_count];
    } else {
        ASSERT(lease->left >= run);
        no = lease->next;
        lease->next += run;
        lease->left -= run;
    }
    pages->meta[no].run = run;
    return no;
}

void lease_retire(Pages *pages, PageNo no, uint32_t run) {
    PageLease *lease = pages->lease;
    if (pages->meta[no].version > pages->frozen) {
        pages->meta[no].run = 0;
        for (uint32_t i = 0; i < run; i++) {
            spare_push(lease, no + i);
        }
        return;
    }
    ASSERT(lease->replaced_count < lease->replaced_cap);
    lease->replaced[lease->replaced_count++] = (PageRun){no, run};
}

// ── what the head does meanwhile ───────────────────────────────────────────────────────────────

static void watch_push(Pages *pages, WatchedRun run) {
    PageWatch *watch = pages->watch;
    if (run.table_id == 0) return;
    if (grow((void **)&watch->runs, &watch->cap, watch->count + 1, sizeof(WatchedRun))) {
        watch->runs[watch->count++] = run;
    } else {
        watch->is_broken = true;
    }
}

void watch_taken(Pages *pages, PageNo no, uint32_t run) {
    watch_push(pages, (WatchedRun){no, run, pages->changing, true});
}

void watch_retired(Pages *pages, PageNo no, uint32_t run) {
    watch_push(pages, (WatchedRun){no, run, pages->changing, false});
}

// ── opening and closing ────────────────────────────────────────────────────────────────────────

static Err lend_here(void *ctx, uint32_t pages) {
    return store_branch_lend(ctx, pages);
}

static void copy_init(StoreBranch *branch) {
    const Pages *head = &branch->store->pages;
    Store *copy = &branch->copy;
    copy->hash_mask = branch->store->hash_mask;
    copy->in_transaction = true;
    copy->pages = *head;
    Pages *pages = &copy->pages;
    pages->frozen = pages_view_epoch(branch->snapshot->view);
    pages->newest = NULL;
    pages->views_live = pages->views_ended = 0;
    pages->fallen = PAGE_NONE;
    pages->lease = &branch->lease;
    pages->watch = NULL;
    pages->changing = 0;
    pages->fault_countdown = -1;
    branch->lease.more = lend_here;
    branch->lease.ctx = branch;
}

Err store_branch_open(Store *store, StoreBranch **out) {
    ASSERT(!store->in_transaction);
    if (store->branch) return ERR_BUSY;
    StoreBranch *branch = MEM_NEW(StoreBranch);
    if (!branch) return ERR_NOMEM;
    branch->store = store;
    // One that was taken before may show pages that a transaction has copied since, which was undone.
    store->latest = NULL;
    Err err = store_snapshot(store, &branch->snapshot);
    if (err != OK) {
        mem_free(branch);
        return err;
    }
    copy_init(branch);
    store->branch = branch;
    store->pages.watch = &branch->watch;
    *out = branch;
    return OK;
}

static bool within_memory(const StoreBranch *branch, uint32_t pages) {
    const PageCache *cache = branch->store->pages.cache;
    if (!cache || cache->resident_max == UINT64_MAX) return true;
    return branch->lease.pages + pages <= cache->resident_max / MEMORY_SHARE;
}

Err store_branch_lend(StoreBranch *branch, uint32_t count) {
    Pages *head = &branch->store->pages;
    PageLease *lease = &branch->lease;
    size_t want = lease->piece_count + 1;
    if (!within_memory(branch, count)) return ERR_LIMIT;
    if (!grow((void **)&lease->pieces, &lease->piece_cap, want, sizeof(PageRun))) return ERR_NOMEM;
    Err err = pages_reserve(head, count);
    if (err != OK) return err;
    PageNo no = extent_take(head, count);
    head->used += count;
    memset(head->meta + no, 0, count * sizeof(PageMeta));
    if (head->cache) cache_lend(head, no, count);
    lease->pieces[lease->piece_count++] = (PageRun){no, count};
    lease->pages += count;
    lease->next = no;
    lease->left = count;
    branch->copy.pages.end = head->end;
    return OK;
}

static void give_back(Pages *head, PageNo no, uint32_t count) {
    if (count == 0) return;
    if (head->cache) cache_take_back(head, no, count);
    head->used -= count;
    extent_give(head, no, count);
}

static void copy_deinit(Store *copy) {
    mem_free(copy->changes);
    mem_free(copy->before.spans);
    mem_free(copy->after.spans);
    buf_deinit(&copy->before.bytes);
    buf_deinit(&copy->after.bytes);
    buf_deinit(&copy->row_key);
    arena_deinit(&copy->arena);
}

void store_branch_close(StoreBranch **handle) {
    StoreBranch *branch = *handle;
    *handle = NULL;
    if (!branch) return;
    Store *store = branch->store;
    ASSERT(store->adopting != branch);
    store->branch = NULL;
    store->pages.watch = NULL;
    for (size_t i = 0; i < branch->lease.piece_count && !branch->is_settled; i++) {
        give_back(&store->pages, branch->lease.pieces[i].no, branch->lease.pieces[i].run);
    }
    snapshot_release(&branch->snapshot);
    copy_deinit(&branch->copy);
    for (uint32_t i = 0; i < branch->table_count; i++) {
        mem_free(branch->tables[i]->copy.state.indexes);
        mem_free(branch->tables[i]);
    }
    mem_free(branch->tables);
    mem_free(branch->lease.spare);
    mem_free(branch->lease.pieces);
    mem_free(branch->lease.replaced);
    mem_free(branch->watch.runs);
    mem_free(branch->replaced);
    mem_free(branch->taken);
    mem_free(branch);
}

void branch_each_piece(const StoreBranch *branch,
                       void (*each)(void *, PageNo, uint32_t),
                       void *ctx) {
    for (size_t i = 0; branch && i < branch->lease.piece_count && !branch->is_settled; i++) {
        each(ctx, branch->lease.pieces[i].no, branch->lease.pieces[i].run);
    }
}

// ── changing it ────────────────────────────────────────────────────────────────────────────────

void branch_set_lender(StoreBranch *branch, Err (*more)(void *ctx, uint32_t pages), void *ctx) {
    branch->lease.more = more ? more : lend_here;
    branch->lease.ctx = more ? ctx : branch;
}

static Table *table_of(const StoreBranch *branch, const Table *real) {
    for (uint32_t i = 0; i < branch->table_count; i++) {
        if (branch->tables[i]->real == real) return &branch->tables[i]->copy;
    }
    return NULL;
}

Table *branch_table(const StoreBranch *branch, const Table *table) {
    return table_of(branch, table);
}

static bool tables_reserve(StoreBranch *branch) {
    if (branch->table_count < branch->table_cap) return true;
    uint32_t cap = branch->table_cap * 2 + 4;
    BranchTable **tables = mem_realloc(branch->tables, cap * sizeof *tables);
    if (!tables) return false;
    branch->tables = tables;
    branch->table_cap = cap;
    return true;
}

Err branch_table_add(StoreBranch *branch, Table *table, bool is_empty, Table **out) {
    const TableDef *def;
    const TableState *state = table_state(table, branch->snapshot, &def);
    ASSERT(state && !table_of(branch, table));
    if (!tables_reserve(branch)) return ERR_NOMEM;
    if (keysets_reserve(&branch->copy, def->index_count) != OK) return ERR_NOMEM;
    BranchTable *made = MEM_NEW(BranchTable);
    Tree *indexes = mem_zalloc(MAX(def->index_count, 1u) * sizeof(Tree));
    if (!made || !indexes) {
        mem_free(made);
        mem_free(indexes);
        return ERR_NOMEM;
    }
    made->real = table;
    made->is_whole = is_empty;
    made->copy.store = &branch->copy;
    made->copy.table_id = table->table_id;
    made->copy.primary_column = table->primary_column;
    atomic_init(&made->copy.def, def);
    if (!is_empty) {
        made->copy.state = *state;
        memcpy(indexes, state->indexes, def->index_count * sizeof(Tree));
    }
    made->copy.state.indexes = indexes;
    branch->tables[branch->table_count++] = made;
    *out = &made->copy;
    return OK;
}

void branch_breathe(StoreBranch *branch) {
    Store *copy = &branch->copy;
    copy->change_count = 0;
    if (copy->arena.used_bytes > (size_t)1 << 16) arena_reset(&copy->arena);
    if (LIKELY(!copy->pages.paged)) return;
    guard_lower();
    if (UNLIKELY(cache_is_over(&copy->pages))) cache_make_room(&copy->pages);
}

// ── adopting it ────────────────────────────────────────────────────────────────────────────────

static uint64_t *bits_for(const StoreBranch *branch) {
    PageNo end = branch->store->pages.end;
    for (size_t i = 0; i < branch->watch.count; i++) {
        end = MAX(end, branch->watch.runs[i].no + 1);
    }
    return mem_zalloc(((size_t)end / 64 + 1) * 8);
}

static Err table_adopt(StoreBranch *branch, BranchTable *from) {
    Store *store = branch->store;
    Table *table = from->real;
    uint32_t index_count = table_def(table)->index_count;
    Tree *indexes = arena_array(&store->arena, Tree, MAX(index_count, 1u));
    ASSERT(table_def(table) == table_def(&from->copy));
    if (!indexes || ddl_reserve(store) != OK) return ERR_NOMEM;
    Ddl *ddl = ddl_record(store, DDL_ADOPT, table);
    memcpy(indexes, table->state.indexes, index_count * sizeof(Tree));
    ddl->state = table->state;
    ddl->state.indexes = indexes;
    memcpy(table->state.indexes, from->copy.state.indexes, index_count * sizeof(Tree));
    indexes = table->state.indexes;
    table->state = from->copy.state;
    table->state.indexes = indexes;
    table->generation += from->copy.generation + 1;  // fingers, and who counts changes
    from->generation = table->generation;
    return OK;
}

Err store_branch_adopt(StoreBranch *branch) {
    Store *store = branch->store;
    ASSERT(store->in_transaction && store->branch == branch && !store->adopting);
    if (branch->watch.is_broken) return ERR_NOMEM;
    branch->replaced = bits_for(branch);
    branch->taken = bits_for(branch);
    if (!branch->replaced || !branch->taken) return ERR_NOMEM;
    Err err = OK;
    for (uint32_t i = 0; err == OK && i < branch->table_count; i++) {
        err = table_adopt(branch, branch->tables[i]);
    }
    if (err == OK) store->adopting = branch;
    return err;
}

// ── accounts ───────────────────────────────────────────────────────────────────────────────────

// What it was lent and has used is the head's, the rest is free.
static void lease_settle(StoreBranch *branch) {
    Pages *head = &branch->store->pages;
    for (size_t i = 0; i < branch->lease.piece_count; i++) {
        PageNo no = branch->lease.pieces[i].no, end = no + branch->lease.pieces[i].run;
        PageNo free_from = no;
        while (no < end) {
            uint32_t run = head->meta[no].run;
            if (run == 0) {
                no++;
                continue;
            }
            give_back(head, free_from, no - free_from);
            if (head->cache) cache_adopt(head, no, run);
            no += run;
            free_from = no;
        }
        give_back(head, free_from, no - free_from);
    }
}

static bool is_shared(const StoreBranch *branch, uint32_t table_id) {
    for (uint32_t i = 0; i < branch->table_count; i++) {
        const BranchTable *table = branch->tables[i];
        if (table->real->table_id == table_id) return !table->is_whole;
    }
    return false;
}

// What the head gave up and the branch kept is in use again; what both gave up stays as it is.
static void watched_replay(StoreBranch *branch) {
    Pages *head = &branch->store->pages;
    for (size_t i = 0; i < branch->watch.count; i++) {
        const WatchedRun *run = &branch->watch.runs[i];
        if (!is_shared(branch, run->table_id)) continue;
        if (run->is_taken) {
            bit_set(branch->taken, run->no);
        } else if (bit_get(branch->taken, run->no)) {
            bit_clear(branch->taken, run->no);
        } else if (bit_get(branch->replaced, run->no)) {
            bit_clear(branch->replaced, run->no);
        } else {
            page_restore(head, run->no);
        }
    }
}

// What the head took since and still had goes with it. Of a page that was taken twice the last counts.
static void taken_retire(StoreBranch *branch) {
    for (size_t i = branch->watch.count; i-- > 0;) {
        const WatchedRun *run = &branch->watch.runs[i];
        if (!run->is_taken || !is_shared(branch, run->table_id)) continue;
        if (!bit_get(branch->taken, run->no)) continue;
        bit_clear(branch->taken, run->no);
        page_retire(&branch->store->pages, run->no, run->run);
    }
}

static void replaced_retire(StoreBranch *branch) {
    for (size_t i = 0; i < branch->lease.replaced_count; i++) {
        const PageRun *run = &branch->lease.replaced[i];
        if (bit_get(branch->replaced, run->no))
            page_retire(&branch->store->pages, run->no, run->run);
    }
}

static void whole_drop(StoreBranch *branch) {
    Store *store = branch->store;
    for (size_t i = 0; i < store->ddl_count; i++) {
        Ddl *ddl = &store->ddl[i];
        if (ddl->kind == DDL_ADOPT && !is_shared(branch, ddl->table->table_id))
            state_drop_trees(store, &ddl->state, ddl->def->index_count);
    }
}

void branch_settle(StoreBranch *branch) {
    Store *store = branch->store;
    for (uint32_t i = 0; i < branch->table_count; i++) {
        const BranchTable *table = branch->tables[i];
        ASSERT(table->generation == table->real->generation);
    }
    store->pages.watch = NULL;
    store->adopting = NULL;
    branch->is_settled = true;
    for (size_t i = 0; i < branch->lease.replaced_count; i++) {
        bit_set(branch->replaced, branch->lease.replaced[i].no);
    }
    lease_settle(branch);
    watched_replay(branch);
    taken_retire(branch);
    replaced_retire(branch);
    whole_drop(branch);
}

const Snapshot *branch_snapshot(const StoreBranch *branch) {
    return branch->snapshot;
}
