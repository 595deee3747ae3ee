// sample.c: how many rows stand in a range, and some of them, without walking there: for who has to
// guess before he reads.
//
// PICTURE
//   a descent to a key      child 3 of 5, child 0 of 8, entry 40 of 160
//   is a share of the tree  (3 + (0 + 40/160) / 8) / 5: so much of it stands in front
//   and back                that share leads to the same place, each child counted as one of equals
//
// Two shares make a range. Where both ends are in neighbouring leaves entries are counted instead, so
// what matters most, a range of few rows, is exact.
//
// ALWAYS TRUE
//   (1) Only pages that are in memory are looked at, and never is one waited for: a guess is not worth
//       a read, and what is missing here is no fault of the transaction (fault_take).
#include "store/inside.h"

enum { LEAVES_COUNTED = 8 };  // between those of the two ends

// A place between two entries.
typedef struct Spot {
    TreePath path;
    double share;   // of the tree that stands in front of it
    uint32_t left;  // entries of its leaf that do not
} Spot;

static const uint8_t *page_if_here(const Pages *pages, PageNo no) {
    return page_is_here(pages, no) ? page_at(pages, no) : NULL;
}

// Looking for a long key, or at one, reads its run, which may be absent.
static bool may_look(const Pages *pages, const Tree *tree) {
    return !pages->paged || tree->key_pages_max == 0;
}

// Where `key` is or would be; without one in front of everything, or behind it.
static bool spot_find(const Pages *pages, const Tree *tree, Bytes key, bool behind, Spot *out) {
    uint16_t counts[TREE_HEIGHT_MAX];
    PageNo no = tree->root;
    uint32_t leaf = tree->height - 1;
    for (uint32_t level = 0; level <= leaf; level++) {
        const uint8_t *node = page_if_here(pages, no);
        if (!node) return false;
        unsigned at = behind ? node_count(node) : 0;
        bool equal;
        if (key.len > 0)
            at = level < leaf ? node_child_for(pages, node, key)
                              : node_search(pages, node, key, &equal);
        counts[level] = (uint16_t)(node_count(node) + (level < leaf));
        out->path.page[level] = no;
        out->path.at[level] = (uint16_t)at;
        if (level < leaf) no = node_child(node, at);
    }
    out->left = (uint32_t)(counts[leaf] - out->path.at[leaf]);
    out->share = 0;
    for (uint32_t level = tree->height; level-- > 0;)
        out->share = (out->path.at[level] + out->share) / counts[level];
    return true;
}

// Entries between two spots of one leaf or of leaves close to each other. False: they are not.
static bool count_between(const Pages *pages,
                          const Tree *tree,
                          const Spot *from,
                          const Spot *to,
                          uint64_t *rows) {
    uint32_t leaf = tree->height - 1;
    if (from->path.page[leaf] == to->path.page[leaf]) {
        *rows = MAX(to->path.at[leaf], from->path.at[leaf]) - from->path.at[leaf];
        return true;
    }
    unsigned first = from->path.at[leaf - 1] + 1u, end = to->path.at[leaf - 1];
    if (from->path.page[leaf - 1] != to->path.page[leaf - 1]) return false;
    if (end < first || end - first > LEAVES_COUNTED) return false;
    const uint8_t *above = page_if_here(pages, from->path.page[leaf - 1]);
    *rows = from->left + to->path.at[leaf];
    for (; above && first < end; first++) {
        const uint8_t *between = page_if_here(pages, node_child(above, first));
        if (!between) return false;
        *rows += node_count(between);
    }
    return above != NULL;
}

static uint64_t rows_between(const Pages *pages,
                             const Tree *tree,
                             uint64_t total,
                             const Spot *from,
                             const Spot *to) {
    uint64_t rows;
    if (count_between(pages, tree, from, to, &rows)) return rows;
    double share = MAX(to->share - from->share, 0.0);
    uint64_t seen = from->left + to->path.at[tree->height - 1];
    uint64_t about = (uint64_t)(share * (double)total + 0.5);
    return MIN(MAX(about, seen), total);
}

// The entry that a share leads to.
static const uint8_t *entry_at(const Pages *pages, const Tree *tree, double share, unsigned *at) {
    PageNo no = tree->root;
    for (uint32_t level = 1;; level++) {
        const uint8_t *node = page_if_here(pages, no);
        if (!node) return NULL;
        unsigned count = node_count(node) + (level < tree->height);
        share *= count;
        *at = MIN((unsigned)share, count - 1);
        share -= *at;
        if (level == tree->height) return node;
        no = node_child(node, *at);
    }
}

// The row of an index entry, or of an entry of the row tree. False: something is absent.
static bool entry_row(const Table *table,
                      const TableIndex *index,
                      const uint8_t *leaf,
                      unsigned at,
                      Bytes *row) {
    const Pages *pages = &table->store->pages;
    const Tree *rows = &table->state.rows;
    if (index) {
        Spot spot;
        uint8_t scratch[NODE_KEY_MAX];
        Bytes key = index_entry_row_key(pages, index, leaf, at, scratch);
        if (!spot_find(pages, rows, key, false, &spot)) return false;
        leaf = page_if_here(pages, spot.path.page[rows->height - 1]);
        at = spot.path.at[rows->height - 1];
        if (!leaf || at >= node_count(leaf)) return false;
    }
    if (pages->paged && node_cell(leaf, at).flags & NODE_VALUE_LONG) return false;
    *row = node_value(pages, leaf, at);
    return true;
}

// What serves the index. NULL: the row tree does.
static const TableIndex *tree_of(const Table *table, uint32_t index_id, const Tree **tree) {
    const TableDef *def = table_def(table);
    *tree = &table->state.rows;
    if (index_id == TABLE_ROWS) return NULL;
    int64_t position = table_def_find(def, index_id);
    ASSERT(position >= 0);
    if (def->indexes[position].is_rows) return NULL;
    *tree = &table->state.indexes[position];
    return &def->indexes[position];
}

static Err range_find(const Table *table,
                      const Tree *tree,
                      Bytes lower,
                      Bytes upper,
                      Spot *from,
                      Spot *to) {
    const Pages *pages = &table->store->pages;
    reading(table->store);
    bool found = may_look(pages, tree) && may_look(pages, &table->state.rows) &&
                 spot_find(pages, tree, lower, false, from) &&
                 spot_find(pages, tree, upper, true, to);
    return found ? OK : ERR_AGAIN;
}

Err table_rows_between(const Table *table,
                       uint32_t index_id,
                       Bytes lower,
                       Bytes upper,
                       uint64_t *rows) {
    const Tree *tree;
    Spot from, to;
    (void)tree_of(table, index_id, &tree);
    *rows = 0;
    if (tree->height == 0) return OK;
    Err err = range_find(table, tree, lower, upper, &from, &to);
    if (err == OK)
        *rows = rows_between(&table->store->pages, tree, table->state.row_count, &from, &to);
    return err;
}

Err table_sample(const Table *table,
                 uint32_t index_id,
                 Bytes lower,
                 Bytes upper,
                 uint32_t most,
                 void (*each)(void *ctx, Bytes row),
                 void *ctx) {
    const Pages *pages = &table->store->pages;
    const Tree *tree;
    Spot from, to;
    const TableIndex *index = tree_of(table, index_id, &tree);
    if (tree->height == 0) return OK;
    Err err = range_find(table, tree, lower, upper, &from, &to);
    if (err != OK) return err;
    uint64_t rows = rows_between(pages, tree, table->state.row_count, &from, &to);
    uint32_t count = (uint32_t)MIN(rows, (uint64_t)most);
    for (uint32_t i = 0; i < count; i++) {
        Bytes row;
        unsigned at;
        double share = from.share + (to.share - from.share) * (i + 0.5) / count;
        const uint8_t *leaf = entry_at(pages, tree, share, &at);
        if (!leaf || !entry_row(table, index, leaf, at, &row)) return ERR_AGAIN;
        each(ctx, row);
    }
    return OK;
}

uint64_t table_changes(const Table *table) {
    return table->generation;
}
