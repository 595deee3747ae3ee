// check.c: walk everything. Trees keep their order, rows and index entries agree, and every page is
// accounted for exactly once.
#include "base/mem.h"
#include "store/inside.h"

enum { SEEN_HEAD = 1, SEEN_SNAPSHOT = 2, SEEN_FREE = 4, SEEN_RETIRED = 8, SEEN_FALLEN = 16 };

typedef struct Check {
    const Store *store;
    uint8_t *seen;  // of each page
    uint8_t as;     // what pages visited now are seen as
    Err err;
    Diag *diag;
    KeySet keys;
    Buf row_key;
} Check;

// ── pages ───────────────────────────────────────────────────────────────────────────────────────

static Err see(Check *check, PageNo no, uint32_t run) {
    const Pages *pages = &check->store->pages;
    if (no == PAGE_NONE || run > pages->end - no) {
        return diag_fail(check->diag, ERR_CORRUPT, "page %u is outside of the store", no);
    }
    for (uint32_t i = 0; i < run; i++) {
        uint8_t *seen = &check->seen[no + i];
        bool again = check->as != SEEN_SNAPSHOT && (*seen & check->as);
        bool freed = check->as == SEEN_FREE && *seen;
        bool alive = check->as == SEEN_RETIRED && (*seen & SEEN_HEAD);
        if (again || freed || alive) {
            return diag_fail(check->diag, ERR_CORRUPT, "page %u has two owners", no + i);
        }
        *seen |= check->as;
    }
    return OK;
}

static Err see_page(void *ctx, PageNo no, uint32_t run, Diag *diag) {
    (void)diag;
    return see(ctx, no, run);
}

static void see_extent(void *ctx, PageNo no, uint32_t run) {
    Check *check = ctx;
    if (check->err == OK) check->err = see(check, no, run);
}

// Of all there is no more is in memory than may be. Nothing is borrowed here.
static void rest(void *ctx) {
    const Check *check = ctx;
    const Store *store = check->store;
    if (!store->pages.paged || store->rows_borrowed) return;
    guard_lower();
    if (cache_is_over(&store->pages)) cache_make_room(&store->pages);
    guard_raise();
}

static Err check_tree(Check *check, const Tree *tree, uint64_t *entries) {
    TreeVisit visit = {.page = see_page, .rest = rest, .ctx = check};
    return tree_check(&check->store->pages, tree, &visit, entries, check->diag);
}

static Err check_state_trees(Check *check, const TableState *state, uint32_t index_count) {
    uint64_t entries;
    Err err = check_tree(check, &state->rows, &entries);
    for (uint32_t i = 0; err == OK && i < index_count; i++) {
        err = check_tree(check, &state->indexes[i], &entries);
    }
    return err;
}

// Trees that the last or open transaction has dropped, but not yet for good.
static Err check_set_aside(Check *check) {
    Err err = OK;
    uint64_t entries;
    for (size_t i = 0; err == OK && i < check->store->ddl_count; i++) {
        const Ddl *ddl = &check->store->ddl[i];
        uint32_t count = ddl->def->index_count;
        if (ddl->kind == DDL_INDEX_DROP) err = check_tree(check, &ddl->tree, &entries);
        if (ddl->kind == DDL_CLEAR) err = check_state_trees(check, &ddl->state, count);
        if (ddl->kind == DDL_TABLE_DROP) err = check_state_trees(check, &ddl->table->state, count);
    }
    return err;
}

static Err check_fallen(Check *check) {
    const Pages *pages = &check->store->pages;
    Err err = OK;
    uint64_t entries;
    check->as = SEEN_FALLEN;
    for (PageNo no = pages->fallen; err == OK && no; no = pages->meta[no].next) {
        uint32_t level = page_header(page_read(pages, no))->level;
        err = check_tree(check, &(Tree){.root = no, .height = level + 1}, &entries);
    }
    return err;
}

static Err check_snapshot(Check *check, const Snapshot *snapshot) {
    Err err = OK;
    check->as = SEEN_SNAPSHOT;
    for (uint32_t slot = 0; err == OK && slot < snapshot->slot_count; slot++) {
        const SnapshotTable *there = &snapshot->tables[slot];
        if (there->table) err = check_state_trees(check, &there->state, there->def->index_count);
    }
    return err;
}

static Err check_accounts(Check *check) {
    const Pages *pages = &check->store->pages;
    Err err = OK;
    if ((err = check_fallen(check)) != OK) return err;
    if (check->store->latest && (err = check_snapshot(check, check->store->latest)) != OK)
        return err;
    check->as = SEEN_HEAD;
    if (check->store->root &&
        (err = see(check, check->store->root, check->store->root_run)) != OK) {
        return err;
    }
    check->as = SEEN_RETIRED;
    pages_walk_retired(pages, see_extent, check);
    branch_each_piece(check->store->branch, see_extent, check);
    check->as = SEEN_FREE;
    pages_walk_free(pages, see_extent, check);
    if (check->err != OK) return check->err;
    uint64_t free = 0;
    for (PageNo no = 1; no < pages->end; no++) {
        if (!check->seen[no]) return diag_fail(check->diag, ERR_CORRUPT, "page %u is lost", no);
        free += check->seen[no] == SEEN_FREE;
    }
    if (free != pages->free || pages->used + free + 1 != pages->end) {
        return diag_fail(check->diag, ERR_CORRUPT, "the page counts are wrong");
    }
    return OK;
}

// ── rows and entries ────────────────────────────────────────────────────────────────────────────

static Err row_corrupt(Check *check, const Table *table, const char *what) {
    return diag_fail(check->diag, ERR_CORRUPT, "table %u: %s", table->table_id, what);
}

static Err check_row_key(Check *check, const Table *table, Bytes key, Bytes row) {
    RowPlace place;
    Err err = row_place(table, table_def(table), &table->state, row, &check->row_key, &place);
    if (err != OK) return err;
    if (!place.found || !bytes_eq(buf_bytes(&check->row_key), key)) {
        return row_corrupt(check, table, "a row is not under its key");
    }
    return OK;
}

static Err check_row_entries(Check *check, const Table *table, Bytes key, Bytes row) {
    const TableDef *def = table_def(table);
    const Pages *pages = &check->store->pages;
    Err err = keyset_build(&check->keys, def, row, key);
    if (err != OK) return err;
    for (uint32_t i = 0; i < def->index_count; i++) {
        if (def->indexes[i].is_rows) continue;
        uint8_t scratch[5];
        Bytes value, expected = index_value(&def->indexes[i], key, scratch);
        if (!tree_get(pages, &table->state.indexes[i], keyset_at(&check->keys, i), &value) ||
            !bytes_eq(value, expected)) {
            return row_corrupt(check, table, "a row has no entry in an index");
        }
    }
    return OK;
}

static Err check_rows(Check *check, const Table *table) {
    const Pages *pages = &check->store->pages;
    TreeCursor cursor;
    unsigned at;
    uint8_t scratch[NODE_KEY_MAX];
    uint64_t bytes = 0, collisions = 0;
    cursor_open(&cursor, pages, &table->state.rows, BYTES_NONE, BYTES_NONE);
    for (uint64_t rows = 1; cursor_next(&cursor, &at); rows++) {
        Bytes key = node_key(pages, cursor_leaf(&cursor), at, scratch);
        Bytes row = node_value(pages, cursor_leaf(&cursor), at);
        Err err = page_fault()->err;  // there is no row to look at
        if (err != OK) return err;
        if ((err = check_row_key(check, table, key, row)) != OK) return err;
        if ((err = check_row_entries(check, table, key, row)) != OK) return err;
        bytes += row.len;
        if (table->primary_column < 0) collisions += key.ptr[ROW_HASH_BYTES] != 0;
        if (rows % TABLE_BREATHE_ROWS == 0) rest(check);
    }
    if (bytes != table->state.data_bytes || collisions != table->state.collisions) {
        return row_corrupt(check, table, "the row counts are wrong");
    }
    return OK;
}

static Err check_table(Check *check, const Table *table) {
    const TableDef *def = table_def(table);
    uint64_t entries;
    Err err = check_tree(check, &table->state.rows, &entries);
    if (err != OK) return err;
    if (entries != table->state.row_count) return row_corrupt(check, table, "rows are miscounted");
    for (uint32_t i = 0; i < def->index_count; i++) {
        if ((err = check_tree(check, &table->state.indexes[i], &entries)) != OK) return err;
        if (!def->indexes[i].is_rows && entries != table->state.row_count) {
            return row_corrupt(check, table, "an index has entries without a row");
        }
    }
    return check_rows(check, table);
}

static Err check_everything(Check *check) {
    const Store *store = check->store;
    Err err = OK;
    check->as = SEEN_HEAD;
    for (uint32_t i = 0; err == OK && i < store->table_count; i++) {
        err = check_table(check, store->by_id[i]);
    }
    if (err == OK) err = check_set_aside(check);
    if (err == OK) err = check_accounts(check);
    return err;
}

Err store_check(const Store *store, Diag *diag) {
    Check check = {.store = store, .diag = diag};
    check.seen = mem_zalloc(store->pages.end);
    check.keys.spans = mem_zalloc(MAX(store->before.cap, 1u) * sizeof(KeySpan));
    reading(store);
    Err err = check.seen && check.keys.spans ? check_everything(&check) : ERR_NOMEM;
    if (page_fault()->err != OK) err = diag_fail(diag, page_fault()->err, "%s", page_fault()->text);
    page_fault_clear();
    mem_free(check.seen);
    mem_free(check.keys.spans);
    buf_deinit(&check.keys.bytes);
    buf_deinit(&check.row_key);
    return err;
}
