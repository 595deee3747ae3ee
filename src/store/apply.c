// apply.c: the steps of a change that cannot fail. Everything that may be refused was refused
// before (change.c), so that rows and indexes always agree.
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
            entry_delete(table, i, old_entry);
            entry_insert(table, i, entry, key);
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
        if (LIKELY(in_place)) fingers_keep(table);
    } else {
        rows_delete(table, path, old_key, old_len);
        TreePath to;
        bool found = tree_seek(pages_of(table), &table->state.rows, key, &to);
        ASSERT(!found);
        rows_insert(table, &to, key, row);
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
