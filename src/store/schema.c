// schema.c: tables and indexes come and go, inside the open transaction.
#include "base/mem.h"
#include "store/inside.h"

// ── the lists of tables ─────────────────────────────────────────────────────────────────────────

static uint32_t by_id_search(const Store *store, uint32_t table_id, bool *found) {
    uint32_t low = 0, high = store->table_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (store->by_id[middle]->table_id < table_id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *found = low < store->table_count && store->by_id[low]->table_id == table_id;
    return low;
}

Table *store_table(const Store *store, uint32_t table_id) {
    bool found;
    uint32_t at = by_id_search(store, table_id, &found);
    return found ? store->by_id[at] : NULL;
}

static Err array_reserve(Table ***array, uint32_t *cap, uint32_t count) {
    if (count < *cap) return OK;
    uint32_t more = *cap * 2 + 16;
    Table **bigger = mem_realloc(*array, more * sizeof(Table *));
    if (!bigger) return ERR_NOMEM;
    *array = bigger;
    *cap = more;
    return OK;
}

void schema_link(Store *store, Table *table) {
    bool found;
    uint32_t at = by_id_search(store, table->table_id, &found);
    ASSERT(!found && store->slots[table->slot] == NULL);
    memmove(store->by_id + at + 1, store->by_id + at, (store->table_count - at) * sizeof(Table *));
    store->by_id[at] = table;
    store->table_count++;
    store->slots[table->slot] = table;
}

void schema_unlink(Store *store, Table *table) {
    bool found;
    uint32_t at = by_id_search(store, table->table_id, &found);
    ASSERT(found && store->slots[table->slot] == table);
    store->table_count--;
    memmove(store->by_id + at, store->by_id + at + 1, (store->table_count - at) * sizeof(Table *));
    store->slots[table->slot] = NULL;
}

static uint32_t slot_find(Store *store) {
    for (uint32_t slot = 0; slot < store->slot_count; slot++) {
        if (!store->slots[slot]) return slot;
    }
    store->slots[store->slot_count] = NULL;
    return store->slot_count++;
}

void state_drop_trees(Store *store, TableState *state, uint32_t index_count) {
    tree_drop(&store->pages, &state->rows);
    for (uint32_t i = 0; i < index_count; i++) {
        tree_drop(&store->pages, &state->indexes[i]);
    }
}

void store_table_empty(Store *store, Table *table) {
    ASSERT(!store->in_transaction);
    Tree *indexes = table->state.indexes;
    state_drop_trees(store, &table->state, table_def(table)->index_count);
    table->state = (TableState){.indexes = indexes};
    table->generation++;
}

// ── tables ──────────────────────────────────────────────────────────────────────────────────────

static Err indexes_of_spec(const Table *table, const StoreTableSpec *spec, TableIndex **out) {
    TableIndex *indexes = mem_alloc(MAX(spec->index_count, 1u) * sizeof(TableIndex));
    if (!indexes) return ERR_NOMEM;
    bool has_primary = table->primary_column < 0;
    for (uint32_t i = 0; i < spec->index_count; i++) {
        Err err = table_index_make(table, &spec->indexes[i], &indexes[i]);
        if (err != OK) {
            mem_free(indexes);
            return err;
        }
        has_primary |= indexes[i].is_rows && indexes[i].info.unique;
    }
    ASSERT(has_primary);
    *out = indexes;
    return OK;
}

static Err table_new(Store *store, const StoreTableSpec *spec, Table **out) {
    Table *table = MEM_NEW(Table);
    TableIndex *indexes = NULL;
    TableDef *def;
    Err err = OK;
    if (!table) return ERR_NOMEM;
    table->store = store;
    table->table_id = spec->table_id;
    table->primary_column = spec->primary_column;
    table->index_cap = MAX(spec->index_count, 4u);
    table->state.indexes = mem_zalloc(table->index_cap * sizeof(Tree));
    err = table->state.indexes ? OK : ERR_NOMEM;
    if (err != OK || (err = indexes_of_spec(table, spec, &indexes)) != OK) goto done;
    err = table_def_new(table, spec->row_type, indexes, spec->index_count, &def);
    if (err != OK) goto done;
    atomic_store_explicit(&table->def, def, memory_order_release);
    *out = table;
    table = NULL;
done:
    mem_free(indexes);
    if (table) table_free(table);
    return err;
}

Err schema_table_link(Store *store, const StoreTableSpec *spec, Table **out) {
    Err err = OK;
    Table *table = NULL;
    if (store_table(store, spec->table_id)) return ERR_EXISTS;
    if ((err = keysets_reserve(store, spec->index_count)) != OK) return err;
    if ((err = array_reserve(&store->by_id, &store->table_cap, store->table_count)) != OK)
        return err;
    if ((err = array_reserve(&store->slots, &store->slot_cap, store->slot_count)) != OK) return err;
    if ((err = table_new(store, spec, &table)) != OK) return err;
    table->slot = slot_find(store);
    schema_link(store, table);
    *out = table;
    return OK;
}

Err store_table_create(Store *store, const StoreTableSpec *spec, Table **out) {
    ASSERT(store->in_transaction);
    Err err = ddl_reserve(store);
    if (err == OK) err = schema_table_link(store, spec, out);
    if (err == OK) ddl_record(store, DDL_TABLE_CREATE, *out);
    return err;
}

Err store_table_drop(Store *store, Table *table) {
    ASSERT(store->in_transaction && !table->dropped);
    Err err = ddl_reserve(store);
    if (err != OK) return err;
    ddl_record(store, DDL_TABLE_DROP, table);
    table->dropped = true;
    schema_unlink(store, table);
    return OK;
}

// ── indexes ─────────────────────────────────────────────────────────────────────────────────────

// A def like the present one with `add` more at the end (or none) and without the index at `skip`.
static Err def_derive(Table *table,
                      const Type *row_type,
                      const TableIndex *add,
                      int64_t skip,
                      TableDef **out) {
    const TableDef *def = table_def(table);
    TableIndex *indexes = mem_alloc((def->index_count + 1) * sizeof(TableIndex));
    if (!indexes) return ERR_NOMEM;
    uint32_t count = 0;
    for (uint32_t i = 0; i < def->index_count; i++) {
        if (i != skip) indexes[count++] = def->indexes[i];
    }
    if (add) indexes[count++] = *add;
    Err err = table_def_new(table, row_type, indexes, count, out);
    mem_free(indexes);
    return err;
}

static Err trees_reserve(Table *table, uint32_t count) {
    if (count <= table->index_cap) return OK;
    Tree *indexes = mem_realloc(table->state.indexes, count * sizeof(Tree));
    if (!indexes) return ERR_NOMEM;
    table->state.indexes = indexes;
    table->index_cap = count;
    return OK;
}

static Err entry_build(Table *table, const TableDef *def, Tree *tree, Bytes row_key, Bytes row) {
    Store *store = table->store;
    const TableIndex *index = &def->indexes[def->index_count - 1];
    const StoreIndexInfo *info = &index->info;
    Buf *entry = &store->after.bytes;
    buf_clear(entry);
    key_append_columns(entry, &def->layout, row, info->columns, info->column_count);
    if (!info->unique) buf_put_bytes(entry, row_key);
    if (!buf_ok(entry)) return ERR_NOMEM;

    TreePath path;
    uint8_t scratch[5];
    Bytes value = index_value(index, row_key, scratch);
    Err err = pages_reserve(&store->pages, tree_insert_pages(tree, entry->len, value.len));
    if (err != OK) return err;
    bool taken = tree_seek(&store->pages, tree, buf_bytes(entry), &path);
    if ((err = read_result(store, true)) != OK) return err;
    if (taken) return ERR_UNIQUE;
    tree_insert(&store->pages, tree, &path, buf_bytes(entry), value);
    return OK;
}

// Undoing a change of this transaction that was made before the index was will need keys of all
// the table's indexes but this one, which it built before; and the rows that come later build this
// one's too. So the buffers need no more room here.
static Err index_build(Table *table, const TableDef *def, Tree *tree) {
    Store *store = table->store;
    TreeCursor cursor;
    unsigned at;
    uint8_t scratch[NODE_KEY_MAX];
    reading(store);
    cursor_open(&cursor, &store->pages, &table->state.rows, BYTES_NONE, BYTES_NONE);
    while (cursor_next(&cursor, &at)) {
        const uint8_t *leaf = cursor_leaf(&cursor);
        Bytes key = node_key(&store->pages, leaf, at, scratch);
        Bytes row = node_value(&store->pages, leaf, at);
        Err err = read_result(store, true);
        if (err == OK) err = entry_build(table, def, tree, key, row);
        if (err != OK) return err;
        store_breathe(store);
        reading(store);
    }
    return read_result(store, true);
}

Err store_index_create(Store *store, Table *table, const StoreIndexSpec *spec) {
    Err err = OK;
    TableIndex index;
    TableDef *def;
    ASSERT(store->in_transaction && !table->dropped);
    uint32_t count = table_def(table)->index_count;
    if (table_def_find(table_def(table), spec->index_id) >= 0) return ERR_EXISTS;
    if ((err = table_index_make(table, spec, &index)) != OK) return err;
    if ((err = ddl_reserve(store)) != OK) return err;
    if ((err = keysets_reserve(store, count + 1)) != OK) return err;
    if ((err = trees_reserve(table, count + 1)) != OK) return err;
    const Type *row_type = table_def(table)->layout.row_type;
    if ((err = def_derive(table, row_type, &index, -1, &def)) != OK) return err;

    Tree tree = {0};
    if (!index.is_rows && (err = index_build(table, def, &tree)) != OK) {
        tree_drop(&store->pages, &tree);
        return err;
    }
    ddl_record(store, DDL_INDEX_CREATE, table);
    table->state.indexes[count] = tree;
    table->generation++;
    atomic_store_explicit(&table->def, def, memory_order_release);
    return OK;
}

Err store_index_drop(Store *store, Table *table, uint32_t index_id) {
    Err err = OK;
    TableDef *def;
    ASSERT(store->in_transaction && !table->dropped);
    int64_t position = table_def_find(table_def(table), index_id);
    ASSERT(position >= 0);
    const Type *row_type = table_def(table)->layout.row_type;
    if ((err = ddl_reserve(store)) != OK) return err;
    if ((err = def_derive(table, row_type, NULL, position, &def)) != OK) return err;

    Tree *indexes = table->state.indexes;
    uint32_t at = (uint32_t)position;
    Ddl *ddl = ddl_record(store, DDL_INDEX_DROP, table);
    ddl->position = at;
    ddl->tree = indexes[at];
    memmove(indexes + at, indexes + at + 1, (def->index_count - at) * sizeof(Tree));
    table->generation++;
    atomic_store_explicit(&table->def, def, memory_order_release);
    return OK;
}

Err store_table_retype(Store *store, Table *table, const Type *row_type) {
    Err err = OK;
    TableDef *def;
    ASSERT(store->in_transaction && !table->dropped);
    if ((err = ddl_reserve(store)) != OK) return err;
    if ((err = def_derive(table, row_type, NULL, -1, &def)) != OK) return err;
    ddl_record(store, DDL_RETYPE, table);
    atomic_store_explicit(&table->def, def, memory_order_release);
    return OK;
}
