// change.c: inserting, deleting and replacing rows.
//
// Each change is made in this order: refuse (constraints, memory), record (in the change list, with
// copies that outlive the pages), then apply, which cannot fail (apply.c).
#include "store/inside.h"

static Err unique_refuse(const TableDef *def, uint32_t i, Diag *diag) {
    uint32_t index_id = def->indexes[i].info.index_id;
    return diag_fail_at(diag,
                        ERR_UNIQUE,
                        index_id,
                        "another row has this key in the unique index %u",
                        index_id);
}

static Err primary_refuse(const TableDef *def, Diag *diag) {
    for (uint32_t i = 0; i < def->index_count; i++) {
        if (def->indexes[i].is_rows) return unique_refuse(def, i, diag);
    }
    return diag_fail(diag, ERR_UNIQUE, "another row has this primary key");
}

// Does any unique index hold one of these keys for a row other than the one at `own_key`?
static Err uniques_check(const Table *table, const KeySet *after, Bytes own_key, Diag *diag) {
    const TableDef *def = table_def(table);
    const Pages *pages = &table->store->pages;
    for (uint32_t i = 0; i < def->index_count; i++) {
        const TableIndex *index = &def->indexes[i];
        if (!index->info.unique || index->is_rows || after->spans[i].same) continue;
        Bytes holder;
        if (!tree_get(pages, &table->state.indexes[i], keyset_at(after, i), &holder)) continue;
        if (own_key.ptr && bytes_eq(holder, own_key)) continue;
        Err err = read_result(table->store, true);  // the holder's key, if that is long
        return err != OK ? err : unique_refuse(def, i, diag);
    }
    return OK;
}

// Undo builds the same keys again, in either set, and must not allocate then.
static Err keysets_level(Store *store) {
    Buf *a = &store->before.bytes, *b = &store->after.bytes;
    if (LIKELY(a->cap == b->cap)) return OK;
    Buf *small = a->cap < b->cap ? a : b;
    size_t cap = MAX(a->cap, b->cap);
    small->failed = false;  // scratch: what failed before is no reason to fail now
    return buf_reserve(small, cap - small->len) ? OK : ERR_NOMEM;
}

// ── recording ───────────────────────────────────────────────────────────────────────────────────

static Err change_copy(Store *store, Bytes key, Bytes row, Change *out) {
    uint8_t *bytes = arena_alloc(&store->arena, key.len + row.len);
    if (!bytes) return ERR_NOMEM;
    if (row.len) memcpy(bytes, row.ptr, row.len);
    if (key.len) memcpy(bytes + row.len, key.ptr, key.len);
    out->row = (Bytes){bytes, row.len};
    out->key = (Bytes){bytes + row.len, key.len};
    return OK;
}

static void change_push(Store *store, Change change) {
    store->changes[store->change_count++] = change;
}

// ── insert ──────────────────────────────────────────────────────────────────────────────────────

Err table_insert(Table *table, Bytes row, bool *inserted, Diag *diag) {
    Store *store = table->store;
    const TableDef *def = table_def(table);
    Change change = {.table = table, .kind = CHANGE_INSERT};
    RowPlace place;
    Err err = OK;
    ASSERT(store->in_transaction && !table->dropped);
    if (inserted) *inserted = false;

    reading(store);
    if ((err = row_place(table, def, &table->state, row, &store->row_key, &place)) != OK) {
        return err;
    }
    if (place.found) {
        bool same = bytes_eq(tree_value(&store->pages, &table->state.rows, &place.path), row);
        if ((err = read_result(store, true)) != OK) return err;
        return same ? OK : primary_refuse(def, diag);
    }
    Bytes key = buf_bytes(&store->row_key);
    if ((err = keyset_build(&store->after, def, row, key)) != OK) return err;
    if ((err = uniques_check(table, &store->after, BYTES_NONE, diag)) != OK) return err;
    keyset_touch(table, &store->after);
    if ((err = read_result(store, true)) != OK) return err;
    uint64_t pages = apply_insert_pages(table, key, row, &store->after);
    if ((err = pages_reserve(&store->pages, pages)) != OK) return err;
    if ((err = keysets_level(store)) != OK) return err;
    if ((err = changes_reserve(store, 1)) != OK) return err;
    if ((err = change_copy(store, key, row, &change)) != OK) return err;

    change_push(store, change);
    apply_insert(table, &place.path, change.key, change.row, &store->after);
    if (inserted) *inserted = true;
    return OK;
}

// ── delete ──────────────────────────────────────────────────────────────────────────────────────

static Err delete_at(Table *table, TreePath *path, Bytes key, Bytes row) {
    Store *store = table->store;
    Change change = {.table = table, .kind = CHANGE_DELETE};
    Err err = OK;
    if ((err = read_result(store, true)) != OK) return err;  // the row, then
    if ((err = keyset_build(&store->before, table_def(table), row, key)) != OK) return err;
    keyset_touch(table, &store->before);
    if ((err = read_result(store, true)) != OK) return err;
    if ((err = pages_reserve(&store->pages, apply_delete_pages(table))) != OK) return err;
    if ((err = keysets_level(store)) != OK) return err;
    if ((err = changes_reserve(store, 1)) != OK) return err;
    if ((err = change_copy(store, key, row, &change)) != OK) return err;

    change_push(store, change);
    apply_delete(table, path, change.key, change.row.len, &store->before);
    return OK;
}

Err table_delete_key(Table *table, Bytes key) {
    Store *store = table->store;
    ASSERT(store->in_transaction && !table->dropped);
    TreePath path;
    reading(store);
    if (!finger_seek(table, key, &path)) {
        Err err = read_result(store, true);
        return err != OK ? err : ERR_NOT_FOUND;
    }
    return delete_at(table, &path, key, tree_value(&store->pages, &table->state.rows, &path));
}

Err table_delete_row(Table *table, Bytes row) {
    Store *store = table->store;
    RowPlace place;
    ASSERT(store->in_transaction && !table->dropped);
    reading(store);
    Err err = row_place(table, table_def(table), &table->state, row, &store->row_key, &place);
    if (err == ERR_LIMIT) return ERR_NOT_FOUND;  // 256 others have this hash
    if (err == OK) err = read_result(store, true);
    if (err != OK) return err;
    if (!place.found) return ERR_NOT_FOUND;
    Bytes there = tree_value(&store->pages, &table->state.rows, &place.path);
    if (!bytes_eq(there, row)) {
        err = read_result(store, true);
        return err != OK ? err : ERR_NOT_FOUND;
    }
    return delete_at(table, &place.path, buf_bytes(&store->row_key), there);
}

// ── replace ─────────────────────────────────────────────────────────────────────────────────────

// The unique index to look in; -1: the rows themselves, by primary key.
static int64_t replaced_by(const Table *table, const TableDef *def, uint32_t index_id) {
    if (index_id == TABLE_ROWS) {
        ASSERT(table->primary_column >= 0);
        return -1;
    }
    int64_t position = table_def_find(def, index_id);
    ASSERT(position >= 0 && def->indexes[position].info.unique);
    return def->indexes[position].is_rows ? -1 : position;
}

// The key that `row` has in that index.
static Err replaced_key(Table *table,
                        const TableDef *def,
                        int64_t position,
                        Bytes row,
                        Bytes *key) {
    Buf *out = &table->store->row_key;
    buf_clear(out);
    if (LIKELY(position < 0)) {
        table_row_stem(table, row, out);
    } else {
        const StoreIndexInfo *info = &def->indexes[position].info;
        key_append_columns(out, &def->layout, row, info->columns, info->column_count);
    }
    *key = buf_bytes(out);
    return buf_ok(out) ? OK : ERR_NOMEM;
}

// Find the row that has this key there. *key becomes its clustering key, borrowed from the page.
static bool replaced_find(Table *table, int64_t position, Bytes *key, TreePath *path) {
    const Pages *pages = &table->store->pages;
    if (position >= 0 && !tree_get(pages, &table->state.indexes[position], *key, key)) return false;
    return finger_seek(table, *key, path);
}

// The key the new row will have. It differs from the old one when the primary column changes, and
// in a table without one.
static Err replaced_new_key(Table *table,
                            bool by_primary,
                            const Change *old,
                            Bytes row,
                            Change *change,
                            Diag *diag) {
    Store *store = table->store;
    const TableDef *def = table_def(table);
    RowPlace place;
    if (LIKELY(by_primary)) {  // it was found by the key it has
        if (change_copy(store, BYTES_NONE, row, change) != OK) return ERR_NOMEM;
        change->key = old->key;
        return OK;
    }
    Err err = row_place(table, def, &table->state, row, &store->row_key, &place);
    if (err != OK) return err;
    Bytes key = buf_bytes(&store->row_key);
    bool stays = bytes_eq(key, old->key);
    if (place.found && !stays) return primary_refuse(def, diag);
    if ((err = change_copy(store, stays ? BYTES_NONE : key, row, change)) != OK) return err;
    if (stays) change->key = old->key;
    return OK;
}

// The entries that the two rows have in indexes, which a change can go on to change.
static Err entries_prepare(Table *table, const Change *old, const Change *new, Diag *diag) {
    Store *store = table->store;
    KeySet *before = &store->before, *after = &store->after;
    const TableDef *def = table_def(table);
    Err err = keyset_build_both(before, after, def, old->row, old->key, new->row, new->key);
    if (err == OK) err = uniques_check(table, after, old->key, diag);
    if (err != OK) return err;
    keyset_touch(table, before);
    keyset_touch(table, after);
    return read_result(store, true);
}

// Usually none: the row stays where it is, and no index has an entry of its own.
static uint64_t replace_pages(const Table *table,
                              const TreePath *path,
                              const Change *old,
                              const Change *new) {
    const Store *store = table->store;
    bool stays = new->key.ptr == old->key.ptr &&table_def(table)->trees == 0;
    if (stays && tree_fits_in_place(&store->pages, &table->state.rows, path, new->row.len))
        return 0;
    return apply_delete_pages(table) + apply_insert_pages(table, new->key, new->row, &store->after);
}

static Err replace_at(Table *table,
                      bool by_primary,
                      TreePath *path,
                      Bytes key,
                      Bytes old_row,
                      Bytes row,
                      Diag *diag) {
    Store *store = table->store;
    const TableDef *def = table_def(table);
    Change old = {.table = table, .kind = CHANGE_DELETE};
    Change new = {.table = table, .kind = CHANGE_INSERT};
    Err err = OK;
    if ((err = read_result(store, true)) != OK) return err;  // the old row
    if ((err = change_copy(store, key, old_row, &old)) != OK) return err;
    if ((err = replaced_new_key(table, by_primary, &old, row, &new, diag)) != OK) return err;
    if (def->trees && (err = entries_prepare(table, &old, &new, diag)) != OK) return err;
    uint64_t pages = replace_pages(table, path, &old, &new);
    if ((err = pages_reserve(&store->pages, pages)) != OK) return err;
    if ((err = keysets_level(store)) != OK) return err;
    if ((err = changes_reserve(store, 2)) != OK) return err;

    change_push(store, old);
    change_push(store, new);
    apply_replace(table,
                  path,
                  old.key,
                  old.row.len,
                  new.key,
                  new.row,
                  &store->before,
                  &store->after);
    return LIKELY(!store->broken) ? OK : store->fault.err;
}

// What nearly every update is: the row was looked up a moment ago, it keeps its place, and no index has an
// entry of its own. All that can fail is remembering what was there.
static Err row_overwrite(Table *table, Bytes key, uint8_t *there, Bytes row, bool *changed) {
    Store *store = table->store;
    if (bytes_same(BYTES(there, row.len), row)) return OK;
    uint8_t *old = arena_alloc(&store->arena, 2 * row.len + key.len);
    if (!old || changes_reserve(store, 2) != OK) return ERR_NOMEM;
    uint8_t *new = old + row.len, *kept_key = new + row.len;
    bytes_copy(old, there, row.len);
    bytes_copy(new, row.ptr, row.len);
    bytes_copy(kept_key, key.ptr, key.len);
    Change *change = &store->changes[store->change_count];
    change[0] = (Change){table, CHANGE_DELETE, {old, row.len}, {kept_key, key.len}};
    change[1] = (Change){table, CHANGE_INSERT, {new, row.len}, {kept_key, key.len}};
    store->change_count += 2;

    bytes_copy(there, new, row.len);
    table->generation++;
    table->overwrites++;
    if (changed) *changed = true;
    return OK;
}

Err table_replace(Table *table, uint32_t index_id, Bytes row, bool *changed, Diag *diag) {
    Store *store = table->store;
    const TableDef *def = table_def(table);
    int64_t position = replaced_by(table, def, index_id);
    ASSERT(store->in_transaction && !table->dropped);
    if (changed) *changed = false;

    Bytes key;
    TreePath path;
    Err err = replaced_key(table, def, position, row, &key);
    if (err != OK) return err;
    if (LIKELY(position < 0 && def->trees == 0)) {
        uint8_t *there = finger_overwritable(table, key, row.len);
        if (LIKELY(there)) return row_overwrite(table, key, there, row, changed);
    }
    reading(store);
    if (!replaced_find(table, position, &key, &path)) {
        err = read_result(store, true);
        return err != OK ? err : ERR_NOT_FOUND;
    }
    Bytes old_row = tree_value(&store->pages, &table->state.rows, &path);
    if (bytes_same(old_row, row)) return OK;
    err = replace_at(table, position < 0, &path, key, old_row, row, diag);
    if (err != OK) return err;
    if (changed) *changed = true;
    return OK;
}

// ── clear ───────────────────────────────────────────────────────────────────────────────────────

// The trees are set aside whole, and nobody changes their pages until the next store_begin gives them
// up. So who wants the rows can read them there, and who does not need not pay for them.
Err table_clear(Table *table, uint64_t *deleted) {
    Store *store = table->store;
    TableState *state = &table->state;
    uint32_t index_count = table_def(table)->index_count;
    Err err = OK;
    ASSERT(store->in_transaction && !table->dropped);
    if (deleted) *deleted = state->row_count;
    if (state->row_count == 0) return OK;

    Tree *indexes = arena_array(&store->arena, Tree, MAX(index_count, 1u));
    if (!indexes) return ERR_NOMEM;
    if ((err = ddl_reserve(store)) != OK) return err;

    Ddl *ddl = ddl_record(store, DDL_CLEAR, table);
    memcpy(indexes, state->indexes, index_count * sizeof(Tree));
    memset(state->indexes, 0, index_count * sizeof(Tree));
    ddl->state = *state;
    ddl->state.indexes = indexes;
    *state = (TableState){.indexes = state->indexes};
    table->generation++;
    return OK;
}

bool store_next_clear(const Store *store, size_t *position, StoreClear *out) {
    while (*position < store->ddl_count) {
        const Ddl *ddl = &store->ddl[(*position)++];
        if (ddl->kind != DDL_CLEAR) continue;
        *out = (StoreClear){ddl->table, ddl->state.row_count, ddl->changes_before};
        return true;
    }
    return false;
}

// The rows stay where they are, in the set-aside pages. Only keys are copied.
Err store_clear_rows(Store *store, size_t position, StoreClearEach each, void *ctx) {
    const Ddl *ddl = &store->ddl[position - 1];
    uint8_t scratch[NODE_KEY_MAX];
    TreeCursor cursor;
    unsigned at;
    Err err = OK;
    ASSERT(ddl->kind == DDL_CLEAR);
    reading(store);
    store->rows_borrowed = true;
    cursor_open(&cursor, &store->pages, &ddl->state.rows, BYTES_NONE, BYTES_NONE);
    while (err == OK && cursor_next(&cursor, &at)) {
        const uint8_t *leaf = cursor_leaf(&cursor);
        Bytes key = node_key(&store->pages, leaf, at, scratch);
        Bytes kept = arena_bytes(&store->arena, key);
        if (key.len && !kept.ptr) return ERR_NOMEM;
        Change change = {
            .table = ddl->table,
            .kind = CHANGE_DELETE,
            .row = node_value(&store->pages, leaf, at),
            .key = kept,
        };
        err = read_result(store, true);
        if (err == OK) each(ctx, &change);
    }
    return err == OK ? read_result(store, true) : err;
}
