// table.c: reading rows, and what a table says about itself.
#include "store/inside.h"

uint32_t table_id(const Table *table) {
    return table->table_id;
}

const RowLayout *table_layout(const Table *table) {
    return &table_def(table)->layout;
}

int32_t table_primary_column(const Table *table) {
    return table->primary_column;
}

bool table_index(const Table *table, uint32_t index_id, StoreIndexInfo *out) {
    const TableDef *def = table_def(table);
    int64_t position = table_def_find(def, index_id);
    if (position < 0) return false;
    *out = def->indexes[position].info;
    return true;
}

uint32_t table_index_count(const Table *table) {
    return table_def(table)->index_count;
}

StoreIndexInfo table_index_at(const Table *table, uint32_t position) {
    const TableDef *def = table_def(table);
    ASSERT(position < def->index_count);
    return def->indexes[position].info;
}

uint64_t table_row_count(const Table *table, const Snapshot *snapshot) {
    const TableDef *def;
    const TableState *state = table_state(table, snapshot, &def);
    return state ? state->row_count : 0;
}

uint64_t table_data_bytes(const Table *table) {
    return table->state.data_bytes;
}

static bool rows_find(const Table *table,
                      const TableState *state,
                      const Snapshot *snapshot,
                      Bytes key,
                      Bytes *row) {
    if (!snapshot) return finger_find(table, key, row);
    return tree_get(&table->store->pages, &state->rows, key, row);
}

Err table_get(const Table *table, const Snapshot *snapshot, Bytes key, Bytes *row) {
    const TableDef *def;
    const TableState *state = table_state(table, snapshot, &def);
    if (!state) return ERR_NOT_FOUND;
    bool found = rows_find(table, state, snapshot, key, row);
    Err err = read_result(table->store, !snapshot);
    return err != OK ? err : found ? OK : ERR_NOT_FOUND;
}

Err table_find(const Table *table,
               const Snapshot *snapshot,
               uint32_t index_id,
               Bytes key,
               Bytes *row) {
    const Pages *pages = &table->store->pages;
    const TableDef *def;
    const TableState *state = table_state(table, snapshot, &def);
    if (!state) return ERR_NOT_FOUND;
    int64_t position = table_def_find(def, index_id);
    ASSERT(position >= 0 && def->indexes[position].info.unique);
    bool found =
        def->indexes[position].is_rows || tree_get(pages, &state->indexes[position], key, &key);
    if (found) found = rows_find(table, state, snapshot, key, row);
    Err err = read_result(table->store, !snapshot);
    return err != OK ? err : found ? OK : ERR_NOT_FOUND;
}

// What fits a second-level cache is there already, and asking for it would only cost.
#define FORESEE_BYTES_LEAST (1u << 20)
#define ROW_OVERHEAD_BYTES  20  // slot, lengths and key of a row, about

bool table_foresee(const Table *table, uint32_t index_id, Bytes key) {
    const TableState *state = &table->state;
    uint64_t bytes = state->data_bytes + state->row_count * ROW_OVERHEAD_BYTES;
    if (bytes < FORESEE_BYTES_LEAST || state->rows.height < 2 || key.len > AHEAD_KEY_MAX ||
        table->store->pages.paged)
        return false;
    if (index_id != TABLE_ROWS) {
        const TableDef *def = table_def(table);
        int64_t position = table_def_find(def, index_id);
        if (position < 0 || !def->indexes[position].is_rows) return false;
    }
    finger_foresee(table, key);
    return true;
}

Err table_find_row(const Table *table, const Snapshot *snapshot, Bytes row) {
    const TableDef *def;
    const TableState *state = table_state(table, snapshot, &def);
    if (!state) return ERR_NOT_FOUND;
    Buf key = {0};
    RowPlace place;
    Err err = row_place(table, def, state, row, &key, &place);
    bool same = err == OK && place.found &&
                bytes_eq(tree_value(&table->store->pages, &state->rows, &place.path), row);
    buf_deinit(&key);
    Err fault = read_result(table->store, !snapshot);
    if (fault != OK || same) return fault;
    return err == OK || err == ERR_LIMIT ? ERR_NOT_FOUND : err;  // 256 others have its hash
}

bool table_contains(const Table *table, const Snapshot *snapshot, Bytes row) {
    return table_find_row(table, snapshot, row) == OK;
}
