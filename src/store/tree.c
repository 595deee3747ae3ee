// tree.c: finding, inserting, replacing, deleting. Splits are in split.c, walking in cursor.c.
#include "store/tree.h"

#include "store/split.h"

// ── finding ─────────────────────────────────────────────────────────────────────────────────────

static Bytes key_not_null(Bytes key) {
    return key.ptr ? key : (Bytes){(const uint8_t *)"", 0};
}

bool tree_seek(const Pages *pages, const Tree *tree, Bytes key, TreePath *path) {
    if (tree->height == 0) return false;
    SearchKey search = search_key(key_not_null(key));
    PageNo no = tree->root;
    uint32_t leaf = tree->height - 1;
    for (uint32_t level = 0; level < leaf; level++) {
        const uint8_t *node = page_read(pages, no);
        unsigned child = search_child(pages, node, &search);
        path->page[level] = no;
        path->at[level] = (uint16_t)child;
        no = node_child(node, child);
    }
    bool found;
    path->page[leaf] = no;
    path->at[leaf] = (uint16_t)search_node(pages, page_read(pages, no), &search, &found);
    return found;
}

// From the root to above the leaf, whose number is in the path then.
static inline void approach(const Pages *pages,
                            const Tree *tree,
                            const SearchKey *key,
                            const LeafShape *shape,
                            TreePath *path,
                            Foresight *foresight) {
    PageNo no = tree->root;
    uint32_t leaf = tree->height - 1;
    for (uint32_t level = 0; level < leaf; level++) {
        const uint8_t *node = page_read(pages, no);
        unsigned child = search_child(pages, node, key);
        path->page[level] = no;
        path->at[level] = (uint16_t)child;
        no = node_child(node, child);
        if (level + 1 == leaf) {
            *foresight = search_foresee(node, child, key, shape, page_at(pages, no));
        }
    }
    path->page[leaf] = no;
}

static inline bool arrive(const Pages *pages,
                          const Tree *tree,
                          const SearchKey *key,
                          LeafShape *shape,
                          TreePath *path,
                          const Foresight *foresight) {
    bool found;
    uint32_t leaf = tree->height - 1;
    const uint8_t *node = page_read(pages, path->page[leaf]);
    unsigned at = foresight->at;
    found = search_hits(node, key, at);
    if (!found) at = search_node(pages, node, key, &found);
    path->at[leaf] = (uint16_t)at;
    search_learn(shape, node, foresight, at);
    return found;
}

bool tree_seek_like(const Pages *pages,
                    const Tree *tree,
                    Bytes key,
                    LeafShape *shape,
                    TreePath *path) {
    if (tree->height < 2) return tree_seek(pages, tree, key, path);
    SearchKey search = search_key(key_not_null(key));
    Foresight foresight;
    approach(pages, tree, &search, shape, path, &foresight);
    return arrive(pages, tree, &search, shape, path, &foresight);
}

void tree_approach(const Pages *pages,
                   const Tree *tree,
                   Bytes key,
                   const LeafShape *shape,
                   TreePath *path,
                   Foresight *foresight) {
    DEBUG_ASSERT(tree->height >= 2 && !pages->paged);
    SearchKey search = search_key(key_not_null(key));
    approach(pages, tree, &search, shape, path, foresight);
    // Its header in any case. Where the slot is may not be known, then the cell is not either.
    __builtin_prefetch(page_at(pages, path->page[tree->height - 1]));
}

bool tree_arrive(const Pages *pages,
                 const Tree *tree,
                 Bytes key,
                 LeafShape *shape,
                 TreePath *path,
                 const Foresight *foresight) {
    SearchKey search = search_key(key_not_null(key));
    return arrive(pages, tree, &search, shape, path, foresight);
}

Bytes tree_value(const Pages *pages, const Tree *tree, const TreePath *path) {
    uint32_t leaf = tree->height - 1;
    return node_value(pages, page_read(pages, path->page[leaf]), path->at[leaf]);
}

bool tree_get(const Pages *pages, const Tree *tree, Bytes key, Bytes *value) {
    if (tree->height == 0) return false;
    SearchKey search = search_key(key_not_null(key));
    PageNo no = tree->root;
    for (uint32_t level = 1; level < tree->height; level++) {
        const uint8_t *node = page_read(pages, no);
        no = node_child(node, search_child(pages, node, &search));
    }
    bool found;
    const uint8_t *leaf = page_read(pages, no);
    unsigned at = search_node(pages, leaf, &search, &found);
    if (found) *value = node_value(pages, leaf, at);
    return found;
}

// ── how much a change may take ──────────────────────────────────────────────────────────────────

uint64_t tree_insert_pages(const Tree *tree, size_t key_len, size_t value_len) {
    // On each level a copy and a split, and a new root; a neighbour's copy; the key and the value in
    // runs; a long separator, which may be the key and one byte more.
    uint32_t key_pages = key_len > NODE_KEY_MAX ? run_pages(key_len) : 0;
    uint32_t separator_pages = key_len + 1 > NODE_KEY_MAX ? run_pages(key_len + 1) : 0;
    uint32_t value_pages = value_len > NODE_ENTRY_MAX / 2 ? run_pages(value_len) : 0;
    return 2 * (uint64_t)tree->height + 3 + key_pages + value_pages +
           MAX(separator_pages, tree->key_pages_max);
}

uint64_t tree_delete_pages(const Pages *pages, const Tree *tree) {
    return pages->frozen ? tree->height : 0;
}

// ── changing ────────────────────────────────────────────────────────────────────────────────────

// Make every page of the path one that may be changed. By (3) of tree.h the leaf tells whether
// there is anything to do. False when there was.
static bool path_own(Pages *pages, Tree *tree, TreePath *path) {
    if (LIKELY(!page_is_frozen(pages, path->page[tree->height - 1]))) return true;
    for (uint32_t level = 0; level < tree->height; level++) {
        PageNo own = page_own(pages, path->page[level]);
        if (own == path->page[level]) continue;
        path->page[level] = own;
        if (level == 0) {
            tree->root = own;
        } else {
            node_set_child(page_write(pages, path->page[level - 1]), path->at[level - 1], own);
        }
    }
    return false;
}

// The value as an entry stores it: itself, or a reference to a run made for it.
static Bytes value_stored(Pages *pages, Bytes key, Bytes value, uint8_t *ref, uint16_t *flags) {
    size_t key_len = key.len > NODE_KEY_MAX ? NODE_KEY_HEAD + RUN_REF_BYTES : key.len;
    if (NODE_SLOT_BYTES + 2 + key_len + value.len <= NODE_ENTRY_MAX) return value;
    run_write(pages, value, ref);
    *flags |= NODE_VALUE_LONG;
    return (Bytes){ref, RUN_REF_BYTES};
}

static void root_make(Pages *pages, Tree *tree, TreePath *path) {
    tree->root = page_take(pages, PAGE_LEAF, 0, 1);
    tree->height = 1;
    node_init(page_write(pages, tree->root));
    path->page[0] = tree->root;
    path->at[0] = 0;
}

void tree_insert(Pages *pages, Tree *tree, TreePath *path, Bytes key, Bytes value) {
    if (tree->height == 0) {
        root_make(pages, tree, path);
    } else {
        path_own(pages, tree, path);
    }
    uint8_t key_ref[RUN_REF_BYTES], value_ref[RUN_REF_BYTES];
    NodeCell cell = {.suffix = key_not_null(key)};
    if (key.len > NODE_KEY_MAX) {
        run_write(pages, key, key_ref);
        cell.key_ref = key_ref;
        cell.suffix.len = NODE_KEY_HEAD;
        cell.flags |= NODE_KEY_LONG;
        tree->key_pages_max = MAX(tree->key_pages_max, run_pages(key.len));
    }
    cell.value = value_stored(pages, key, value, value_ref, &cell.flags);
    tree_put_cell(pages, tree, path, &cell, key_not_null(key));
}

// Drop the entry from the node, whatever becomes of the node. Its runs must have been dealt with.
static void leaf_reinsert(Pages *pages, Tree *tree, TreePath *path, Bytes key, Bytes value) {
    uint32_t leaf = tree->height - 1;
    uint8_t *node = page_write(pages, path->page[leaf]);
    unsigned at = path->at[leaf];
    uint8_t key_ref[RUN_REF_BYTES], value_ref[RUN_REF_BYTES];
    NodeCell had = node_cell(node, at);
    NodeCell cell = {.suffix = key_not_null(key), .flags = had.flags & NODE_KEY_LONG};
    if (had.key_ref) {
        memcpy(key_ref, had.key_ref, RUN_REF_BYTES);
        cell.key_ref = key_ref;
        cell.suffix.len = NODE_KEY_HEAD;
    }
    cell.value = value_stored(pages, key, value, value_ref, &cell.flags);
    node_remove(node, at);
    tree_put_cell(pages, tree, path, &cell, key_not_null(key));
}

bool tree_replace(Pages *pages, Tree *tree, TreePath *path, Bytes key, Bytes value) {
    bool in_place = path_own(pages, tree, path);
    uint32_t leaf = tree->height - 1;
    uint8_t *node = page_write(pages, path->page[leaf]);
    unsigned at = path->at[leaf];
    size_t had;
    uint8_t *stored = node_value_stored(node, at, &had);
    if (node_slots(node)[at].key & NODE_VALUE_LONG) {
        if (value.len > NODE_ENTRY_MAX && run_rewrite(pages, stored, value)) return in_place;
        run_retire(pages, stored);
    } else if (LIKELY(value.len <= had)) {
        node_shrink_value(node, at, value);
        return in_place;
    }
    leaf_reinsert(pages, tree, path, key, value);
    return false;
}

// ── deleting ────────────────────────────────────────────────────────────────────────────────────

// A node is worth joining with a neighbour when it is this empty; the join must leave room, or the
// next insert would split it again.
#define MERGE_BELOW_BYTES (PAGE_BYTES / 4)
#define MERGE_RESULT_MAX  (PAGE_BYTES * 3 / 4)

static void key_run_retire(Pages *pages, const uint8_t *node, unsigned at) {
    NodeCell cell = node_cell(node, at);
    if (cell.key_ref) run_retire(pages, cell.key_ref);
}

// Take child `child` out of the inner node at `level`, with the separator that led to it.
static void child_remove(Pages *pages, Tree *tree, TreePath *path, uint32_t level, unsigned child) {
    uint8_t *node = page_write(pages, path->page[level]);
    if (node_count(node) == 0) {  // it was the only child: the node goes too
        page_retire(pages, path->page[level], 1);
        if (level == 0) {
            *tree = (Tree){.key_pages_max = tree->key_pages_max};
        } else {
            child_remove(pages, tree, path, level - 1, path->at[level - 1]);
        }
        return;
    }
    unsigned separator = child ? child - 1 : 0;
    if (child == 0) node_set_child(node, 0, node_child(node, 1));
    key_run_retire(pages, node, separator);
    node_remove(node, separator);
}

// A root with a single child is no use. One that is absent may stay: a change reads nothing more once
// it has begun, since from there on it must not fail.
static void root_lower(Pages *pages, Tree *tree) {
    while (tree->height > 1 && page_is_here(pages, tree->root)) {
        const uint8_t *node = page_read(pages, tree->root);
        if (node_count(node) > 0) return;
        PageNo child = node_child(node, 0);
        page_retire(pages, tree->root, 1);
        tree->root = child;
        tree->height--;
    }
}

// Join two neighbouring leaves, children `left` and `left` + 1 of the inner node at `parent`, if both
// fit with room to spare. The left one takes the entries, so it must not be frozen: a merge is not
// worth a copy. Nor a read.
static bool leaves_join(Pages *pages, Tree *tree, TreePath *path, uint32_t parent, unsigned left) {
    const uint8_t *above = page_read(pages, path->page[parent]);
    PageNo into = node_child(above, left), from = node_child(above, left + 1);
    if (page_is_frozen(pages, into)) return false;
    if (!page_is_here(pages, into) || !page_is_here(pages, from)) return false;
    const uint8_t *more = page_read(pages, from);
    size_t live = node_live_bytes(page_read(pages, into)) + node_live_bytes(more);
    if (live > MERGE_RESULT_MAX || !node_absorb(page_write(pages, into), more)) return false;
    page_retire(pages, from, 1);
    child_remove(pages, tree, path, parent, left + 1);
    return true;
}

static void leaf_merge(Pages *pages, Tree *tree, TreePath *path) {
    uint32_t parent = tree->height - 2;
    unsigned child = path->at[parent];
    if (child < node_count(page_read(pages, path->page[parent])) &&
        leaves_join(pages, tree, path, parent, child)) {
        return;
    }
    if (child > 0) leaves_join(pages, tree, path, parent, child - 1);
}

void tree_delete(Pages *pages, Tree *tree, TreePath *path) {
    path_own(pages, tree, path);
    uint32_t leaf = tree->height - 1;
    uint8_t *node = page_write(pages, path->page[leaf]);
    unsigned at = path->at[leaf];
    NodeCell cell = node_cell(node, at);
    if (cell.key_ref) run_retire(pages, cell.key_ref);
    if (cell.flags & NODE_VALUE_LONG) run_retire(pages, cell.value.ptr);
    node_remove(node, at);
    if (node_count(node) == 0) {
        page_retire(pages, path->page[leaf], 1);
        if (leaf == 0) {
            *tree = (Tree){.key_pages_max = tree->key_pages_max};
        } else {
            child_remove(pages, tree, path, leaf - 1, path->at[leaf - 1]);
        }
    } else if (leaf > 0 && node_live_bytes(node) < MERGE_BELOW_BYTES) {
        leaf_merge(pages, tree, path);
    }
    root_lower(pages, tree);
}

// ── dropping ────────────────────────────────────────────────────────────────────────────────────

static void fell(Pages *pages, PageNo no) {
    pages->meta[no].next = pages->fallen;
    pages->fallen = no;
}

void tree_drop(Pages *pages, Tree *tree) {
    if (tree->height) fell(pages, tree->root);
    *tree = (Tree){0};
}

static void node_take_apart(Pages *pages, const uint8_t *node) {
    unsigned count = node_count(node);
    for (unsigned at = 0; at < count; at++) {
        NodeCell cell = node_cell(node, at);
        if (cell.key_ref) run_retire(pages, cell.key_ref);
        if (cell.flags & NODE_VALUE_LONG) run_retire(pages, cell.value.ptr);
    }
    if (node_is_leaf(node)) return;
    for (unsigned child = 0; child <= count; child++) {
        fell(pages, node_child(node, child));
    }
}

bool tree_tidy(Pages *pages, uint32_t budget) {
    while (pages->fallen && budget--) {
        PageNo no = pages->fallen;
        pages->fallen = pages->meta[no].next;
        node_take_apart(pages, page_read(pages, no));
        page_retire(pages, no, 1);
    }
    return pages->fallen == PAGE_NONE;
}
