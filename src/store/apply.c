// apply.c: the steps of a change that cannot fail. Everything that may be refused was refused
// before (change.c), so that rows and indexes always agree.
//
// MOVING AN ENTRY
//   What a change reads it has read before, looking for its places in the trees as they were. Taking one
//   entry out of a tree and putting another in makes the second search one of a tree that has changed.
//   Usually the old entry goes first, which leaves room for the new one. But if it was the last of its
//   leaf, its range falls to a neighbour that nobody looked at; then the new one goes first, since what a
//   split makes is in memory. Likewise where keys are long: another search compares with others of them.
//   That one is for the old entry, and waits for what it needs.
#include "store/inside.h"

static Pages *pages_of(Table *table) {
    return &table->store->pages;
}

// Whose pages are taken and given up from here on: branch.h.
static void changing(Table *table, uint32_t table_id) {
    table->store->pages.changing = table_id;
}

static void rows_insert(Table *table, TreePath *path, Bytes key, Bytes row) {
    TableState *state = &table->state;
    tree_insert(pages_of(table), &state->rows, path, key, row);
    state->row_count++;
    state->data_bytes += row.len;
    if (table->primary_column < 0) state->collisions += key.ptr[ROW_HASH_BYTES] != 0;
    table->generation++;
}

static void rows_delete(Table *table, TreePath *path, Bytes key, size_t row_len) {
    TableState *state = &table->state;
    tree_delete(pages_of(table), &state->rows, path);
    state->row_count--;
    state->data_bytes -= row_len;
    if (table->primary_column < 0) state->collisions -= key.ptr[ROW_HASH_BYTES] != 0;
    table->generation++;
}

// Whether an entry can be taken out of the tree and what takes its place found in memory after that.
static bool may_go_first(const Pages *pages, const Tree *tree, const TreePath *path) {
    if (LIKELY(!pages->paged)) return true;
    return tree->key_pages_max == 0 &&
           node_count(page_read(pages, path->page[tree->height - 1])) > 1;
}

// Find an entry in a tree that has changed since it was looked for. If a key that it is compared with
// cannot be read, the head is not what it should be, as after an undo that met one.
static bool seek_again(Table *table, const Tree *tree, Bytes key, TreePath *path) {
    Store *store = table->store;
    PageCache *cache = store->pages.cache;
    bool hurried = cache->hurried;
    cache->hurried = false;
    bool found = tree_seek(&store->pages, tree, key, path);
    cache->hurried = hurried;
    if (read_result(store, true) != OK) store->broken = true;
    ASSERT(found || store->broken);
    return !store->broken;
}

static void entry_insert(Table *table, uint32_t i, Bytes entry, Bytes row_key) {
    Tree *tree = &table->state.indexes[i];
    TreePath path;
    bool found = tree_seek(pages_of(table), tree, entry, &path);
    ASSERT(!found);
    uint8_t scratch[5];
    Bytes value = index_value(&table_def(table)->indexes[i], row_key, scratch);
    tree_insert(pages_of(table), tree, &path, entry, value);
}

static void entry_delete(Table *table, uint32_t i, Bytes entry) {
    Tree *tree = &table->state.indexes[i];
    TreePath path;
    bool found = tree_seek(pages_of(table), tree, entry, &path);
    ASSERT(found);
    tree_delete(pages_of(table), tree, &path);
}

static void entry_move(Table *table, uint32_t i, Bytes from, Bytes to, Bytes row_key) {
    Tree *tree = &table->state.indexes[i];
    TreePath path;
    bool found = tree_seek(pages_of(table), tree, from, &path);
    ASSERT(found);
    if (LIKELY(may_go_first(pages_of(table), tree, &path))) {
        tree_delete(pages_of(table), tree, &path);
        entry_insert(table, i, to, row_key);
    } else {
        entry_insert(table, i, to, row_key);
        if (seek_again(table, tree, from, &path)) tree_delete(pages_of(table), tree, &path);
    }
}

static void rows_insert_new(Table *table, Bytes key, Bytes row) {
    TreePath path;
    bool found = tree_seek(pages_of(table), &table->state.rows, key, &path);
    ASSERT(!found);
    rows_insert(table, &path, key, row);
}

static void rows_move(Table *table,
                      TreePath *path,
                      Bytes old_key,
                      size_t old_len,
                      Bytes key,
                      Bytes row) {
    if (LIKELY(may_go_first(pages_of(table), &table->state.rows, path))) {
        rows_delete(table, path, old_key, old_len);
        rows_insert_new(table, key, row);
        return;
    }
    rows_insert_new(table, key, row);
    if (seek_again(table, &table->state.rows, old_key, path)) {
        rows_delete(table, path, old_key, old_len);
    }
}

// The entry stays where it is and leads to another row key (unique indexes only).
static void entry_point(Table *table, uint32_t i, Bytes entry, Bytes row_key) {
    Tree *tree = &table->state.indexes[i];
    TreePath path;
    bool found = tree_seek(pages_of(table), tree, entry, &path);
    ASSERT(found);
    tree_replace(pages_of(table), tree, &path, entry, row_key);
}

void apply_insert(Table *table, TreePath *path, Bytes key, Bytes row, const KeySet *after) {
    const TableDef *def = table_def(table);
    changing(table, table->table_id);
    rows_insert(table, path, key, row);
    for (uint32_t i = 0; i < def->index_count; i++) {
        if (!def->indexes[i].is_rows) entry_insert(table, i, keyset_at(after, i), key);
    }
    changing(table, 0);
}

void apply_delete(Table *table, TreePath *path, Bytes key, size_t row_len, const KeySet *before) {
    const TableDef *def = table_def(table);
    changing(table, table->table_id);
    for (uint32_t i = 0; i < def->index_count; i++) {
        if (!def->indexes[i].is_rows) entry_delete(table, i, keyset_at(before, i));
    }
    rows_delete(table, path, key, row_len);
    changing(table, 0);
}

static void entries_replace(Table *table, Bytes key, const KeySet *before, const KeySet *after) {
    const TableDef *def = table_def(table);
    for (uint32_t i = 0; i < def->index_count; i++) {
        if (def->indexes[i].is_rows || before->spans[i].same) continue;
        Bytes old_entry = keyset_at(before, i), entry = keyset_at(after, i);
        if (!bytes_eq(old_entry, entry)) {
            entry_move(table, i, old_entry, entry, key);
        } else if (def->indexes[i].info.unique) {
            entry_point(table, i, entry, key);
        }
    }
}

void apply_replace(Table *table,
                   TreePath *path,
                   Bytes old_key,
                   size_t old_len,
                   Bytes key,
                   Bytes row,
                   const KeySet *before,
                   const KeySet *after) {
    changing(table, table->table_id);
    if (LIKELY(old_key.ptr == key.ptr || bytes_eq(old_key, key))) {
        bool in_place = tree_replace(pages_of(table), &table->state.rows, path, key, row);
        table->state.data_bytes += row.len - old_len;
        table->generation++;
        if (LIKELY(in_place)) table->overwrites++;
    } else {
        rows_move(table, path, old_key, old_len, key, row);
    }
    if (table_def(table)->trees) entries_replace(table, key, before, after);
    changing(table, 0);
}

uint64_t apply_insert_pages(const Table *table, Bytes key, Bytes row, const KeySet *after) {
    const TableDef *def = table_def(table);
    uint64_t pages = tree_insert_pages(&table->state.rows, key.len, row.len);
    for (uint32_t i = 0; i < def->index_count; i++) {
        if (def->indexes[i].is_rows || after->spans[i].same) continue;
        size_t value = index_value_bytes(&def->indexes[i], key);
        pages += tree_insert_pages(&table->state.indexes[i], after->spans[i].len, value);
    }
    return pages;
}

uint64_t apply_delete_pages(const Table *table) {
    const TableDef *def = table_def(table);
    uint64_t pages = tree_delete_pages(&table->store->pages, &table->state.rows);
    for (uint32_t i = 0; i < def->index_count; i++) {
        if (!def->indexes[i].is_rows)
            pages += tree_delete_pages(&table->store->pages, &table->state.indexes[i]);
    }
    return pages;
}
