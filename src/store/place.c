// place.c: where a row is or belongs, and the keys that lead there.
#include "base/mem.h"
#include "store/inside.h"

const TableState *snapshot_state(const Table *table,
                                 const Snapshot *snapshot,
                                 const TableDef **def) {
    if (table->slot >= snapshot->slot_count) return NULL;
    const SnapshotTable *there = &snapshot->tables[table->slot];
    if (there->table != table) return NULL;
    *def = there->def;
    return &there->state;
}

// ── rows ────────────────────────────────────────────────────────────────────────────────────────

static void primary_key_append(const Table *table, const TableDef *def, Bytes row, Buf *key) {
    if (LIKELY(def->id_bytes)) {
        key_append_id(key, def->id_bytes, row.ptr + def->id_at);
        return;
    }
    uint16_t column = (uint16_t)table->primary_column;
    key_append_columns(key, &def->layout, row, &column, 1);
}

static bool seek_hash(const Table *table,
                      const TableState *state,
                      Buf *key,
                      int n,
                      Bytes row,
                      RowPlace *place,
                      bool *taken) {
    const Pages *pages = &table->store->pages;
    key->ptr[ROW_HASH_BYTES] = (uint8_t)n;
    *taken = tree_seek(pages, &state->rows, buf_bytes(key), &place->path);
    place->found = *taken && bytes_eq(tree_value(pages, &state->rows, &place->path), row);
    return place->found;
}

static void hash_append(const Table *table, Bytes row, Buf *key) {
    uint8_t *hash = buf_extend(key, ROW_HASH_BYTES);
    if (!hash) return;
    row_hash(row, hash);
    uint64_t mask = table->store->hash_mask;
    store_u64(hash, load_u64(hash) & mask);
    store_u64(hash + 8, load_u64(hash + 8) & (mask == UINT64_MAX ? mask : 0));
}

// Rows with the same hash carry 0, 1, 2 … behind it, with gaps where some were deleted, and the row
// asked for may be behind any of them. While the table has no such rows the first look decides.
static Err place_by_hash(const Table *table,
                         const TableState *state,
                         Bytes row,
                         Buf *key,
                         RowPlace *place) {
    bool taken;
    hash_append(table, row, key);
    buf_put_u8(key, 0);
    if (!buf_ok(key)) return ERR_NOMEM;
    if (seek_hash(table, state, key, 0, row, place, &taken)) return OK;
    if (LIKELY(!taken && state->collisions == 0)) return OK;
    int free_at = taken ? -1 : 0;
    for (int n = 1; n <= UINT8_MAX; n++) {
        if (seek_hash(table, state, key, n, row, place, &taken)) return OK;
        if (!taken && free_at < 0) free_at = n;
    }
    if (free_at < 0) return ERR_LIMIT;
    seek_hash(table, state, key, free_at, row, place, &taken);
    return OK;
}

Err row_place(const Table *table,
              const TableDef *def,
              const TableState *state,
              Bytes row,
              Buf *key,
              RowPlace *place) {
    buf_clear(key);
    if (table->primary_column < 0) return place_by_hash(table, state, row, key, place);
    primary_key_append(table, def, row, key);
    if (!buf_ok(key)) return ERR_NOMEM;
    place->found = tree_seek(&table->store->pages, &state->rows, buf_bytes(key), &place->path);
    return OK;
}

void table_row_key(const Table *table, Bytes row, Buf *out) {
    const TableDef *def = table_def(table);
    if (table->primary_column >= 0) {
        primary_key_append(table, def, row, out);
        return;
    }
    Buf key = {0};
    RowPlace place;
    reading(table->store);
    Err err = row_place(table, def, &table->state, row, &key, &place);
    if (err == OK) err = read_result(table->store, true);
    if (err == OK) {
        buf_put_bytes(out, buf_bytes(&key));
    } else {
        out->failed = true;
    }
    buf_deinit(&key);
}

void table_row_stem(const Table *table, Bytes row, Buf *out) {
    if (table->primary_column >= 0) {
        primary_key_append(table, table_def(table), row, out);
    } else {
        hash_append(table, row, out);
    }
}

Bytes table_key_stem(const Table *table, Bytes key) {
    return table->primary_column >= 0 ? key : BYTES(key.ptr, ROW_HASH_BYTES);
}

// ── index entries ───────────────────────────────────────────────────────────────────────────────

Err keysets_reserve(Store *store, uint32_t index_count) {
    KeySet *sets[] = {&store->before, &store->after};
    for (size_t i = 0; i < ARRAY_LEN(sets); i++) {
        if (sets[i]->cap >= index_count) continue;
        KeySpan *spans = mem_realloc(sets[i]->spans, index_count * sizeof(KeySpan));
        if (!spans) return ERR_NOMEM;
        sets[i]->spans = spans;
        sets[i]->cap = index_count;
    }
    return OK;
}

static void keyset_add(KeySet *set, const TableDef *def, uint32_t i, Bytes row, Bytes row_key) {
    const StoreIndexInfo *info = &def->indexes[i].info;
    size_t at = set->bytes.len;
    key_append_columns(&set->bytes, &def->layout, row, info->columns, info->column_count);
    if (!info->unique) buf_put_bytes(&set->bytes, row_key);
    set->spans[i] = (KeySpan){at, set->bytes.len - at, false};
}

Err keyset_build(KeySet *set, const TableDef *def, Bytes row, Bytes row_key) {
    buf_clear(&set->bytes);
    for (uint32_t i = 0; i < def->index_count; i++) {
        if (!def->indexes[i].is_rows) keyset_add(set, def, i, row, row_key);
    }
    return buf_ok(&set->bytes) ? OK : ERR_NOMEM;
}

static bool columns_same(const TableDef *def, const TableIndex *index, Bytes a, Bytes b) {
    for (uint32_t i = 0; i < index->info.column_count; i++) {
        uint32_t column = index->info.columns[i];
        if (!bytes_eq(row_column(&def->layout, a, column), row_column(&def->layout, b, column))) {
            return false;
        }
    }
    return true;
}

Err keyset_build_both(KeySet *before,
                      KeySet *after,
                      const TableDef *def,
                      Bytes old_row,
                      Bytes old_key,
                      Bytes row,
                      Bytes row_key) {
    buf_clear(&before->bytes);
    buf_clear(&after->bytes);
    bool moves = !bytes_eq(old_key, row_key);
    for (uint32_t i = 0; i < def->index_count; i++) {
        const TableIndex *index = &def->indexes[i];
        if (index->is_rows) continue;
        if (!moves && columns_same(def, index, old_row, row)) {
            before->spans[i].same = after->spans[i].same = true;
            continue;
        }
        keyset_add(before, def, i, old_row, old_key);
        keyset_add(after, def, i, row, row_key);
    }
    if (!buf_ok(&before->bytes) || !buf_ok(&after->bytes)) return ERR_NOMEM;
    return OK;
}

bool table_uniques_same(const Table *table, Bytes old, Bytes row) {
    const TableDef *def = table_def(table);
    if (LIKELY(def->trees == 0)) return true;
    for (uint32_t i = 0; i < def->index_count; i++) {
        const TableIndex *index = &def->indexes[i];
        if (index->is_rows || !index->info.unique) continue;
        if (!columns_same(def, index, old, row)) return false;
    }
    return true;
}

void keyset_touch(const Table *table, const KeySet *set) {
    const TableDef *def = table_def(table);
    TreePath path;
    if (LIKELY(!table->store->pages.paged)) return;
    for (uint32_t i = 0; i < def->index_count; i++) {
        if (def->indexes[i].is_rows || set->spans[i].same) continue;
        (void)tree_seek(&table->store->pages, &table->state.indexes[i], keyset_at(set, i), &path);
    }
}

Err table_touch(const Table *table, const Snapshot *snapshot, Bytes row) {
    const TableDef *def;
    const TableState *state = table_state(table, snapshot, &def);
    const Pages *pages = &table->store->pages;
    if (!state) return OK;
    Buf key = {0};
    RowPlace place;
    KeySet entries = {.spans = mem_zalloc(MAX(def->index_count, 1u) * sizeof(KeySpan))};
    Err err = entries.spans ? OK : ERR_NOMEM;
    if (err == OK) err = row_place(table, def, state, row, &key, &place);
    if (err == OK) err = keyset_build(&entries, def, row, buf_bytes(&key));
    for (uint32_t i = 0; err == OK && i < def->index_count; i++) {
        TreePath path;
        if (def->indexes[i].is_rows) continue;
        (void)tree_seek(pages, &state->indexes[i], keyset_at(&entries, i), &path);
    }
    Err fault = read_result(table->store, !snapshot);
    mem_free(entries.spans);
    buf_deinit(&entries.bytes);
    buf_deinit(&key);
    return fault != OK ? fault : err;
}

// ── entries' values ─────────────────────────────────────────────────────────────────────────────

size_t index_value_bytes(const TableIndex *index, Bytes row_key) {
    if (index->info.unique) return row_key.len;
    return row_key.len < UINT8_MAX ? 1 : 5;
}

Bytes index_value(const TableIndex *index, Bytes row_key, uint8_t scratch[5]) {
    if (index->info.unique) return row_key;
    if (row_key.len < UINT8_MAX) {
        scratch[0] = (uint8_t)row_key.len;
        return BYTES(scratch, 1);
    }
    scratch[0] = UINT8_MAX;
    store_u32(scratch + 1, (uint32_t)row_key.len);
    return BYTES(scratch, 5);
}

Bytes index_entry_row_key(const Pages *pages,
                          const TableIndex *index,
                          const uint8_t *leaf,
                          unsigned at,
                          uint8_t *scratch) {
    Bytes value = node_value(pages, leaf, at);
    if (index->info.unique) return value;
    size_t len = value.ptr[0] < UINT8_MAX ? value.ptr[0] : load_u32(value.ptr + 1);
    Bytes key = node_key(pages, leaf, at, scratch);
    if (UNLIKELY(key.len < len)) return key;  // it could not be read
    return (Bytes){key.ptr + key.len - len, len};
}
