#include "txn/own.h"

#include "base/mem.h"
#include "txn/look.h"

Err own_new(const CatalogTable *table, const Snapshot *snapshot, Pool *pool, OwnTable **out) {
    uint32_t indexes = table_index_count(table->table);
    OwnTable *own = mem_zalloc(sizeof *own + indexes * sizeof *own->indexes);
    if (!own) return ERR_NOMEM;
    own->table = table;
    own->snapshot = snapshot;
    own->pool = pool;
    own->index_count = indexes;
    *out = own;
    return OK;
}

void own_free(OwnTable **handle) {
    OwnTable *own = *handle;
    *handle = NULL;
    if (!own) return;
    Buf *scratch[] = {&own->key, &own->other_key, &own->identity, &own->stem};
    for (size_t i = 0; i < ARRAY_LEN(scratch); i++) {
        buf_deinit(scratch[i]);
    }
    mem_free(own);
}

// ── keys ───────────────────────────────────────────────────────────────────────────────────────

static Table *table_of(const OwnTable *own) {
    return own->table->table;
}

static bool by_hash(const OwnTable *own) {
    return table_primary_column(table_of(own)) < 0;
}

void own_identity(const OwnTable *own, Bytes row, Buf *out) {
    buf_clear(out);
    table_row_stem(table_of(own), row, out);
    if (by_hash(own)) buf_put_bytes(out, row);
}

Bytes own_stem(const OwnTable *own, Bytes identity) {
    return table_key_stem(table_of(own), identity);
}

bool own_index_is_rows(const OwnTable *own, const StoreIndexInfo *index) {
    return index->column_count == 1 && index->columns[0] == table_primary_column(table_of(own));
}

static void columns_key(const OwnTable *own, const StoreIndexInfo *index, Bytes row, Buf *out) {
    buf_clear(out);
    key_append_columns(out, table_layout(table_of(own)), row, index->columns, index->column_count);
}

// The key of an own row in an index.
static bool entry_key(const OwnTable *own,
                      const StoreIndexInfo *index,
                      Bytes row,
                      uint64_t serial,
                      Buf *out) {
    columns_key(own, index, row, out);
    if (!index->unique) {
        table_row_stem(table_of(own), row, out);
        if (by_hash(own)) buf_put_u64(out, serial);
    }
    return buf_ok(out);
}

static OwnRow *row_of(const OwnTable *own, Bytes identity) {
    const SortedNode *node = sorted_find(&own->rows, identity);
    return node ? node->value : NULL;
}

// ── reading ────────────────────────────────────────────────────────────────────────────────────

static Err snapshot_get(const OwnTable *own, Bytes identity, Bytes *row) {
    if (own->cleared) return ERR_NOT_FOUND;
    if (!by_hash(own)) return table_get(table_of(own), own->snapshot, identity, row);
    size_t stem = own_stem(own, identity).len;
    *row = (Bytes){identity.ptr + stem, identity.len - stem};
    return table_find_row(table_of(own), own->snapshot, *row);
}

Err own_get(OwnTable *own, Bytes identity, Bytes *row) {
    const OwnRow *mine = row_of(own, identity);
    if (!mine) return snapshot_get(own, identity, row);
    *row = mine->row;
    return mine->there ? OK : ERR_NOT_FOUND;
}

static int64_t index_position(const OwnTable *own, uint32_t index_id, StoreIndexInfo *out) {
    for (uint32_t i = 0; i < own->index_count; i++) {
        *out = table_index_at(table_of(own), i);
        if (out->index_id == index_id) return i;
    }
    return -1;
}

// Whether a row of the snapshot is still visible. False also when memory ran out: *err says so.
static bool shines_through(OwnTable *own, Bytes row, Err *err) {
    *err = OK;
    if (own->rows.count == 0) return true;
    own_identity(own, row, &own->identity);
    *err = buf_ok(&own->identity) ? OK : ERR_NOMEM;
    return *err == OK && !row_of(own, buf_bytes(&own->identity));
}

Err own_find(OwnTable *own, uint32_t index_id, Bytes key, Bytes *row) {
    if (index_id == TABLE_ROWS) return own_get(own, key, row);
    StoreIndexInfo index;
    int64_t at = index_position(own, index_id, &index);
    ASSERT(at >= 0 && index.unique);
    if (own_index_is_rows(own, &index)) return own_get(own, key, row);
    const SortedNode *node = sorted_find(&own->indexes[at], key);
    if (node) {
        *row = ((const OwnRow *)node->value)->row;
        return OK;
    }
    if (own->cleared) return ERR_NOT_FOUND;
    Err err = table_find(table_of(own), own->snapshot, index_id, key, row);
    if (err != OK) return err;
    if (shines_through(own, *row, &err)) return OK;
    return err == OK ? ERR_NOT_FOUND : err;
}

uint64_t own_count(const OwnTable *own) {
    uint64_t before = own->cleared ? 0 : table_row_count(table_of(own), own->snapshot);
    return before + (uint64_t)own->added;
}

// ── scans ──────────────────────────────────────────────────────────────────────────────────────

// Two streams in the same order, the smaller front first.
typedef struct Merge {
    OwnTable *own;
    const StoreIndexInfo *index;  // NULL: by clustering key
    Bytes upper;
    const SortedNode *mine;  // the front of the own rows; NULL at the end
    TableScan scan;
    Bytes theirs;  // the front of the snapshot's; ptr NULL at the end
    uint32_t steps;
    Err err;
} Merge;

static void mine_settle(Merge *merge) {
    while (merge->mine && !((const OwnRow *)merge->mine->value)->there) {
        merge->mine = merge->mine->next;
    }
    if (merge->mine && merge->upper.len && bytes_cmp(sorted_key(merge->mine), merge->upper) >= 0) {
        merge->mine = NULL;
    }
}

static void theirs_step(Merge *merge) {
    while (!merge->own->cleared) {
        // The row before is done with, so nothing of the snapshot's pages is held here.
        if (++merge->steps % TABLE_BREATHE_ROWS == 0) snapshot_breathe(merge->own->snapshot);
        if (!table_scan_next(&merge->scan, &merge->theirs)) break;
        if (shines_through(merge->own, merge->theirs, &merge->err) || merge->err != OK) return;
    }
    if (!merge->own->cleared && merge->err == OK) merge->err = merge->scan.err;
    merge->theirs = BYTES_NONE;
}

// Whether the snapshot's front row goes before the own one.
static bool theirs_first(Merge *merge) {
    Buf *key = &merge->own->key;
    if (!merge->mine) return true;
    if (merge->index) {
        columns_key(merge->own, merge->index, merge->theirs, key);
    } else {
        buf_clear(key);
    }
    table_row_stem(table_of(merge->own), merge->theirs, key);
    if (!buf_ok(key)) merge->err = ERR_NOMEM;
    return bytes_cmp(buf_bytes(key), sorted_key(merge->mine)) < 0;
}

static bool merge_run(Merge *merge, RowSink sink) {
    mine_settle(merge);
    theirs_step(merge);
    while (merge->err == OK && (merge->mine || merge->theirs.ptr)) {
        if (merge->theirs.ptr && theirs_first(merge)) {
            if (!sink.row(sink.ctx, merge->theirs)) return false;
            theirs_step(merge);
        } else if (merge->err == OK) {
            if (!sink.row(sink.ctx, ((const OwnRow *)merge->mine->value)->row)) return false;
            merge->mine = merge->mine->next;
            mine_settle(merge);
        }
    }
    return merge->err == OK;
}

AbiErrno own_scan(OwnTable *own, uint32_t index_id, Bytes lower, Bytes upper, RowSink sink) {
    Merge merge = {.own = own, .upper = upper};
    StoreIndexInfo index;
    const Sorted *map = &own->rows;
    if (index_id != TABLE_ROWS) {
        int64_t at = index_position(own, index_id, &index);
        ASSERT(at >= 0);
        if (!own_index_is_rows(own, &index)) {
            merge.index = &index;
            map = &own->indexes[at];
        }
    }
    merge.mine = sorted_seek(map, lower);
    table_scan_begin(&merge.scan, table_of(own), own->snapshot, index_id, lower, upper);
    bool done = merge_run(&merge, sink);
    table_scan_end(&merge.scan);
    return done ? ABI_OK : ABI_FATAL;
}

// ── changing ───────────────────────────────────────────────────────────────────────────────────

static Err entry_add(OwnTable *own, uint32_t i, Bytes entry, OwnRow *mine) {
    return sorted_insert(&own->indexes[i], own->pool, entry, mine) ? OK : ERR_NOMEM;
}

static void entry_remove(OwnTable *own, uint32_t i, Bytes entry) {
    SortedNode *node = sorted_find(&own->indexes[i], entry);
    ASSERT(node);
    sorted_remove(&own->indexes[i], own->pool, node);
}

// Move a row's entries from one version to another; BYTES_NONE stands for no version.
static Err entries_move(OwnTable *own, OwnRow *mine, Bytes from, Bytes to) {
    for (uint32_t i = 0; i < own->index_count; i++) {
        StoreIndexInfo index = table_index_at(table_of(own), i);
        if (own_index_is_rows(own, &index)) continue;
        if (from.ptr && !entry_key(own, &index, from, mine->serial, &own->key)) return ERR_NOMEM;
        if (to.ptr && !entry_key(own, &index, to, mine->serial, &own->other_key)) return ERR_NOMEM;
        Bytes old = buf_bytes(&own->key), new = buf_bytes(&own->other_key);
        if (from.ptr && to.ptr && bytes_eq(old, new)) continue;
        if (from.ptr) entry_remove(own, i, old);
        if (to.ptr && entry_add(own, i, new, mine) != OK) return ERR_NOMEM;
    }
    return OK;
}

static Err row_make(OwnTable *own, Bytes identity, OwnRow **out) {
    OwnRow *mine = pool_alloc(own->pool, sizeof *mine);
    if (!mine) return ERR_NOMEM;
    *mine = (OwnRow){.serial = own->serials++};
    SortedNode *node = sorted_insert(&own->rows, own->pool, identity, mine);
    if (!node) return ERR_NOMEM;
    if (by_hash(own)) {
        size_t stem = own_stem(own, identity).len;
        mine->row = (Bytes){sorted_key(node).ptr + stem, identity.len - stem};
    }
    *out = mine;
    return OK;
}

// By primary key a row's bytes are a piece of their own, used again while they fit.
static Err row_store(OwnTable *own, OwnRow *mine, Bytes row) {
    if (by_hash(own)) return OK;
    if (!mine->row.ptr || pool_room(mine->row.len) != pool_room(row.len)) {
        if (mine->row.ptr) pool_give(own->pool, (void *)mine->row.ptr, mine->row.len);
        mine->row.ptr = pool_alloc(own->pool, row.len);
        if (!mine->row.ptr) return ERR_NOMEM;
    }
    memmove((void *)mine->row.ptr, row.ptr, row.len);
    mine->row.len = row.len;
    return OK;
}

static void row_free(OwnTable *own, OwnRow *mine) {
    if (!by_hash(own) && mine->row.ptr) pool_give(own->pool, (void *)mine->row.ptr, mine->row.len);
    pool_give(own->pool, mine, sizeof *mine);
}

Err own_put(OwnTable *own, Bytes identity, Bytes row, bool replaces) {
    OwnRow *mine = row_of(own, identity);
    Err err = OK;
    if (!mine) {
        if ((err = row_make(own, identity, &mine)) != OK) return err;
        mine->was = replaces;
    }
    Bytes before = mine->there ? mine->row : BYTES_NONE;
    if ((err = entries_move(own, mine, before, row)) != OK) return err;
    if ((err = row_store(own, mine, row)) != OK) return err;
    if (!replaces) own->added++;
    mine->there = true;
    return OK;
}

Err own_drop(OwnTable *own, Bytes identity) {
    OwnRow *mine = row_of(own, identity);
    Err err = OK;
    own->added--;
    if (!mine) {
        if ((err = row_make(own, identity, &mine)) != OK) return err;
        mine->was = true;
        return OK;
    }
    ASSERT(mine->there);
    if ((err = entries_move(own, mine, mine->row, BYTES_NONE)) != OK) return err;
    mine->there = false;
    if (mine->was) return OK;
    sorted_remove(&own->rows, own->pool, sorted_find(&own->rows, identity));  // (3)
    row_free(own, mine);
    return OK;
}

void own_clear(OwnTable *own) {
    for (const SortedNode *node = own->rows.first; node; node = node->next) {
        row_free(own, node->value);
    }
    sorted_clear(&own->rows, own->pool);
    for (uint32_t i = 0; i < own->index_count; i++) {
        sorted_clear(&own->indexes[i], own->pool);
    }
    own->cleared = true;
    own->added = 0;
}

// ── before applying ────────────────────────────────────────────────────────────────────────────

// What is more than this is not applied in an instant either way, and may not fit into memory.
#define TOUCHED_ROWS_MAX 16384

// What cannot be read, or not now, own_apply will meet and report.
static void touch(const OwnTable *own, Bytes row) {
    (void)!table_touch(table_of(own), own->snapshot, row);
}

void own_touch(OwnTable *own) {
    uint32_t rows = 0;
    for (const SortedNode *node = own->rows.first; node; node = node->next) {
        const OwnRow *mine = node->value;
        Bytes old;
        if (++rows > TOUCHED_ROWS_MAX) return;
        if (mine->was && snapshot_get(own, sorted_key(node), &old) == OK) touch(own, old);
        if (mine->there) touch(own, mine->row);
        if (rows % TABLE_BREATHE_ROWS == 0) snapshot_breathe(own->snapshot);
    }
    snapshot_breathe(own->snapshot);
}

// ── applying ───────────────────────────────────────────────────────────────────────────────────

bool own_replaceable(const OwnTable *own, uint32_t *index_id) {
    uint32_t uniques = 0;
    for (uint32_t i = 0; i < own->index_count; i++) {
        StoreIndexInfo index = table_index_at(table_of(own), i);
        if (!index.unique) continue;
        uniques++;
        if (own_index_is_rows(own, &index)) *index_id = index.index_id;
    }
    return uniques == 1 && !by_hash(own);
}

// Rows that go, and rows that only change where that cannot collide with another row's change.
static Err apply_old(const OwnTable *own, bool replace, uint32_t index_id) {
    Table *table = table_of(own);
    Err err = OK;
    for (const SortedNode *node = own->rows.first; node && err == OK; node = node->next) {
        const OwnRow *mine = node->value;
        if (!mine->was) continue;
        if (mine->there && by_hash(own)) continue;  // deleted and inserted again
        if (mine->there && replace) {
            err = table_replace(table, index_id, mine->row, NULL, NULL);
        } else if (by_hash(own)) {
            err = table_delete_row(table, mine->row);
        } else {
            err = table_delete_key(table, sorted_key(node));
        }
    }
    return err;
}

static Err apply_new(const OwnTable *own, bool replaced) {
    Err err = OK;
    for (const SortedNode *node = own->rows.first; node && err == OK; node = node->next) {
        const OwnRow *mine = node->value;
        bool done = mine->was && (replaced || by_hash(own));
        if (mine->there && !done) err = table_insert(table_of(own), mine->row, NULL, NULL);
    }
    return err;
}

bool own_empties(const OwnTable *own) {
    return !own->cleared && own->rows.count > 0 && own_count(own) == 0 &&
           own->rows.count == table_row_count(table_of(own), own->snapshot);
}

uint64_t own_emptied(const OwnTable *own) {
    bool is_emptied = own->cleared ? own->rows.count == 0 : own_empties(own);
    return is_emptied && !own->table->is_event ? table_row_count(table_of(own), own->snapshot) : 0;
}

TxnChange own_emptied_change(const OwnTable *own) {
    return (TxnChange){.table = table_of(own), .table_id = own->table->table_id, .is_clear = true};
}

// The head has exactly the rows that go, of which each is as it was when it was read.
static bool empties(const OwnTable *own) {
    return own_empties(own) && own->rows.count == table_row_count(table_of(own), NULL);
}

Err own_apply(const OwnTable *own, uint64_t *rows) {
    uint32_t index_id = 0;
    if (empties(own)) return table_clear(table_of(own), NULL);
    bool replace = own_replaceable(own, &index_id);
    *rows += own->rows.count;
    Err err = own->cleared ? table_clear(table_of(own), NULL) : OK;
    if (err == OK) err = apply_old(own, replace, index_id);
    if (err == OK) err = apply_new(own, replace);
    // Everything else was refused when the call asked for it, and what it read has not changed.
    ASSERT(err != ERR_UNIQUE && err != ERR_NOT_FOUND);
    return err;
}
