// undo.c: transactions on the head: the change list backwards, and what waits for its end.
//
// Rows (changes[]) and tables and indexes (ddl[]) are undone in one order, newest first: a row that
// was inserted before an index was made must lose its entries in the index's absence. So each Ddl
// says how many changes came before it.
#include "base/mem.h"
#include "store/inside.h"

// A transaction that grew beyond this gives its memory back at the next begin.
#define ARENA_KEEP_BYTES   ((size_t)4 << 20)
#define CHANGES_KEEP_COUNT ((size_t)1 << 16)
// Pages freed on behalf of ended snapshots and dropped trees at each begin.
#define TIDY_PAGES 64

Err changes_reserve(Store *store, size_t more) {
    if (LIKELY(more <= store->change_cap - store->change_count)) return OK;
    size_t cap = MAX(store->change_cap * 2, store->change_count + more);
    cap = MAX(cap, (size_t)64);
    Change *changes = mem_realloc(store->changes, cap * sizeof(Change));
    if (!changes) return ERR_NOMEM;
    store->changes = changes;
    store->change_cap = cap;
    return OK;
}

Err ddl_reserve(Store *store) {
    if (LIKELY(store->ddl_count < store->ddl_cap)) return OK;
    size_t cap = store->ddl_cap * 2 + 8;
    Ddl *ddl = mem_realloc(store->ddl, cap * sizeof(Ddl));
    if (!ddl) return ERR_NOMEM;
    store->ddl = ddl;
    store->ddl_cap = cap;
    return OK;
}

Ddl *ddl_record(Store *store, DdlKind kind, Table *table) {
    Ddl *ddl = &store->ddl[store->ddl_count++];
    *ddl = (Ddl){
        .kind = kind,
        .table = table,
        .changes_before = store->change_count,
        .def = table_def(table),
    };
    return ddl;
}

// ── undoing rows ────────────────────────────────────────────────────────────────────────────────

static void must(Err err) {
    ASSERT(err == OK);  // the same keys were built in the same buffers when the change was made
}

// A page that an undo needs was changed by this transaction, and has left memory since. If it cannot
// be read back, the head is not what it was, and store_fault() says so from now on.
static bool undo_can_go_on(Table *table, bool as_expected) {
    Store *store = table->store;
    if (read_result(store, true) != OK) store->broken = true;
    ASSERT(as_expected || store->broken);
    return !store->broken;
}

static bool seek_row(Table *table, Bytes key, TreePath *path) {
    return tree_seek(&table->store->pages, &table->state.rows, key, path);
}

static void undo_insert(Table *table, const Change *change) {
    KeySet *before = &table->store->before;
    TreePath path;
    must(keyset_build(before, table_def(table), change->row, change->key));
    bool found = seek_row(table, change->key, &path);
    keyset_touch(table, before);
    if (!undo_can_go_on(table, found)) return;
    apply_delete(table, &path, change->key, change->row.len, before);
}

static void undo_delete(Table *table, const Change *change) {
    KeySet *after = &table->store->after;
    TreePath path;
    must(keyset_build(after, table_def(table), change->row, change->key));
    bool found = seek_row(table, change->key, &path);
    keyset_touch(table, after);
    if (!undo_can_go_on(table, !found)) return;
    apply_insert(table, &path, change->key, change->row, after);
}

// A replaced row whose key stayed: put the old bytes back where the new ones are.
static void undo_replace(Table *table, const Change *old, const Change *new) {
    Store *store = table->store;
    TreePath path;
    must(keyset_build_both(&store->before,
                           &store->after,
                           table_def(table),
                           new->row,
                           new->key,
                           old->row,
                           old->key));
    bool found = seek_row(table, new->key, &path);
    keyset_touch(table, &store->before);
    keyset_touch(table, &store->after);
    if (!undo_can_go_on(table, found)) return;
    apply_replace(table,
                  &path,
                  new->key,
                  new->row.len,
                  old->key,
                  old->row,
                  &store->before,
                  &store->after);
}

static void undo_changes(Store *store, size_t down_to) {
    while (store->change_count > down_to) {
        const Change *last = &store->changes[--store->change_count];
        const Change *prior = store->change_count > down_to ? last - 1 : NULL;
        // Only a replacement that kept the key makes two changes share a key's bytes.
        if (prior && last->kind == CHANGE_INSERT && prior->kind == CHANGE_DELETE &&
            prior->key.ptr == last->key.ptr) {
            store->change_count--;
            undo_replace(last->table, prior, last);
        } else if (last->kind == CHANGE_INSERT) {
            undo_insert(last->table, last);
        } else {
            undo_delete(last->table, last);
        }
    }
}

// ── undoing tables and indexes ──────────────────────────────────────────────────────────────────

static void def_publish(Table *table, const TableDef *def) {
    atomic_store_explicit(&table->def, def, memory_order_release);
}

static void undo_table_create(Store *store, Table *table) {
    state_drop_trees(store, &table->state, table_def(table)->index_count);
    schema_unlink(store, table);
    table->dropped = true;
    table->next_dead = store->dead;
    store->dead = table;
}

static void undo_index_create(Store *store, Table *table, const TableDef *def) {
    tree_drop(&store->pages, &table->state.indexes[def->index_count]);
    def_publish(table, def);
}

static void undo_index_drop(Table *table, const Ddl *ddl) {
    Tree *indexes = table->state.indexes;
    uint32_t after = ddl->def->index_count - ddl->position - 1;
    memmove(indexes + ddl->position + 1, indexes + ddl->position, after * sizeof(Tree));
    indexes[ddl->position] = ddl->tree;
    def_publish(table, ddl->def);
}

static void undo_clear(Table *table, const Ddl *ddl) {
    Tree *indexes = table->state.indexes;
    ASSERT(table->state.row_count == 0);
    memcpy(indexes, ddl->state.indexes, ddl->def->index_count * sizeof(Tree));
    table->state = ddl->state;
    table->state.indexes = indexes;
    table->generation++;
}

static void undo_adopt(Table *table, const Ddl *ddl) {
    Tree *indexes = table->state.indexes;
    memcpy(indexes, ddl->state.indexes, ddl->def->index_count * sizeof(Tree));
    table->state = ddl->state;
    table->state.indexes = indexes;
    table->generation++;
    table->store->adopting = NULL;
}

static void undo_ddl(Store *store, const Ddl *ddl) {
    Table *table = ddl->table;
    switch (ddl->kind) {
    case DDL_TABLE_CREATE: undo_table_create(store, table); return;
    case DDL_TABLE_DROP:
        table->dropped = false;
        schema_link(store, table);
        return;
    case DDL_INDEX_CREATE: undo_index_create(store, table, ddl->def); return;
    case DDL_INDEX_DROP: undo_index_drop(table, ddl); return;
    case DDL_RETYPE: def_publish(table, ddl->def); return;
    case DDL_CLEAR: undo_clear(table, ddl); return;
    case DDL_ADOPT: undo_adopt(table, ddl); return;
    }
    UNREACHABLE();
}

static size_t steps(const Store *store) {
    return store->change_count + store->ddl_count;
}

// What an undo needs it must have, whatever the owner was told.
static void undo_to(Store *store, size_t savepoint) {
    PageCache *cache = store->pages.cache;
    if (cache) cache->hurried = false;
    reading(store);
    while (steps(store) > savepoint) {
        const Ddl *ddl = store->ddl_count ? &store->ddl[store->ddl_count - 1] : NULL;
        size_t room = steps(store) - savepoint;  // steps that are to go
        size_t since = store->change_count - (ddl ? ddl->changes_before : 0);
        undo_changes(store, store->change_count - MIN(since, room));
        if (steps(store) == savepoint) return;
        store->ddl_count--;
        undo_ddl(store, ddl);
    }
    ASSERT(steps(store) == savepoint);
}

// ── the transaction ─────────────────────────────────────────────────────────────────────────────

static void dead_free(Store *store) {
    while (store->dead) {
        Table *table = store->dead;
        store->dead = table->next_dead;
        table->gone = true;
        if (table->snapshots == 0) table_free(table);
    }
}

// The last transaction's change list dies now, and with it what it kept readable.
void store_settle(Store *store) {
    for (size_t i = 0; i < store->ddl_count; i++) {
        Ddl *ddl = &store->ddl[i];
        uint32_t index_count = ddl->def->index_count;
        switch (ddl->kind) {
        case DDL_TABLE_CREATE:
        case DDL_INDEX_CREATE:
        case DDL_RETYPE:
        case DDL_ADOPT: break;
        case DDL_INDEX_DROP: tree_drop(&store->pages, &ddl->tree); break;
        case DDL_CLEAR: state_drop_trees(store, &ddl->state, index_count); break;
        case DDL_TABLE_DROP:
            state_drop_trees(store, &ddl->table->state, index_count);
            ddl->table->next_dead = store->dead;
            store->dead = ddl->table;
            break;
        }
    }
    store->ddl_count = 0;
    store->change_count = 0;
    store->rows_borrowed = false;
    dead_free(store);
}

static void memory_reset(Store *store) {
    if (UNLIKELY(store->arena.used_bytes > ARENA_KEEP_BYTES)) {
        arena_deinit(&store->arena);
    } else {
        arena_reset(&store->arena);
    }
    if (UNLIKELY(store->change_cap > CHANGES_KEEP_COUNT)) {
        mem_free(store->changes);
        store->changes = NULL;
        store->change_cap = 0;
    }
}

void store_begin(Store *store) {
    ASSERT(!store->in_transaction);
    if (UNLIKELY(store->pages.paged)) cache_owner_is_here(store->pages.cache);
    store_settle(store);
    memory_reset(store);
    store_breathe(store);
    reading(store);
    if (UNLIKELY(store->pages.fallen)) {
        tree_tidy(&store->pages, TIDY_PAGES);
        page_fault_clear();  // the pages below one that cannot be read are lost
    }
    pages_tidy(&store->pages, TIDY_PAGES);
    if (UNLIKELY(store->fault.err != OK) && !store->broken) store->fault.err = OK;
    store->in_transaction = true;
}

void store_commit(Store *store) {
    ASSERT(store->in_transaction);
    if (UNLIKELY(store->adopting)) branch_settle(store->adopting);
    store->in_transaction = false;
    store->version++;
}

void store_rollback(Store *store) {
    ASSERT(store->in_transaction);
    undo_to(store, 0);
    store->in_transaction = false;
}

bool store_in_transaction(const Store *store) {
    return store->in_transaction;
}

const Change *store_changes(const Store *store, size_t *count) {
    *count = store->change_count;
    return store->changes;
}

size_t store_savepoint(const Store *store) {
    ASSERT(store->in_transaction);
    return steps(store);
}

void store_rollback_to(Store *store, size_t savepoint) {
    ASSERT(store->in_transaction && savepoint <= steps(store));
    undo_to(store, savepoint);
}
