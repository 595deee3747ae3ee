// scan.c: rows in the order of a tree. An index is walked entry by entry, each leading to its row.
#include "store/inside.h"

typedef struct ScanState {
    TreeCursor cursor;
    const TableState *table;  // NULL: nothing to scan
    const TableIndex *index;  // NULL: the row tree
    uint64_t generation;
    unsigned at;  // in the cursor's leaf: the row that was found last, of the row tree
} ScanState;

static_assert(sizeof(ScanState) <= sizeof(((TableScan *)0)->private_part), "store.h has the room");
static_assert(alignof(ScanState) <= alignof(uint64_t), "and aligns it");

static ScanState *state_of(TableScan *scan) {
    return (ScanState *)(void *)&scan->private_part;
}

// Something could not be read: what was found since is not to be believed.
static bool scan_ends(TableScan *scan) {
    Err err = read_result(scan->table->store, !scan->snapshot);
    if (LIKELY(err == OK)) return false;
    scan->err = err;
    state_of(scan)->table = NULL;
    return true;
}

void table_scan_begin(TableScan *scan,
                      const Table *table,
                      const Snapshot *snapshot,
                      uint32_t index_id,
                      Bytes lower,
                      Bytes upper) {
    scan->err = OK;
    scan->table = table;
    scan->snapshot = snapshot;
    scan->index_id = index_id;
    scan->upper = upper;
    ScanState *state = state_of(scan);
    const TableDef *def;
    state->table = table_state(table, snapshot, &def);
    state->index = NULL;
    if (!snapshot) state->generation = table->generation;
    if (!state->table) return;
    const Tree *tree = &state->table->rows;
    if (index_id != TABLE_ROWS) {
        int64_t position = table_def_find(def, index_id);
        ASSERT(position >= 0);
        if (!def->indexes[position].is_rows) {
            state->index = &def->indexes[position];
            tree = &state->table->indexes[position];
        }
    }
    cursor_open(&state->cursor, &table->store->pages, tree, lower, upper);
    (void)scan_ends(scan);
}

bool table_scan_next(TableScan *scan, Bytes *row) {
    ScanState *state = state_of(scan);
    const Pages *pages = state->cursor.pages;
    unsigned at;
    if (!state->table) return false;
    if (!scan->snapshot) ASSERT(state->generation == scan->table->generation);
    reading(scan->table->store);
    if (!cursor_next(&state->cursor, &at)) {
        (void)scan_ends(scan);
        return false;
    }
    const uint8_t *leaf = cursor_leaf(&state->cursor);
    if (!state->index) {
        *row = node_value(pages, leaf, at);
        state->at = at;
        return !scan_ends(scan);
    }
    uint8_t scratch[NODE_KEY_MAX];
    Bytes key = index_entry_row_key(pages, state->index, leaf, at, scratch);
    bool found = tree_get(pages, &state->table->rows, key, row);
    if (scan_ends(scan)) return false;
    ASSERT(found);
    return true;
}

void table_scan_key(TableScan *scan, Buf *out) {
    const ScanState *state = state_of(scan);
    uint8_t scratch[NODE_KEY_MAX];
    ASSERT(state->table && !state->index);
    buf_put_bytes(out,
                  node_key(state->cursor.pages, cursor_leaf(&state->cursor), state->at, scratch));
}

void table_scan_end(TableScan *scan) {
    state_of(scan)->table = NULL;
}
