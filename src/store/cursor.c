// cursor.c: walking a tree in key order. There are no links between leaves (copy on write would
// have to chase them), so the path is the way to the next one.
#include "store/cache.h"
#include "store/tree.h"

// Arriving in a leaf: how many of its entries are below the upper bound?
static void leaf_enter(TreeCursor *cursor) {
    const uint8_t *leaf = cursor_leaf(cursor);
    cursor->end = (uint16_t)node_count(leaf);
    if (cursor->upper.len == 0) return;
    bool equal;
    unsigned end = node_search(cursor->pages, leaf, cursor->upper, &equal);
    if (end < cursor->end) cursor->last_leaf = true;
    cursor->end = (uint16_t)end;
}

static void descend_first(TreeCursor *cursor, uint32_t level, PageNo no) {
    for (; level < cursor->height - 1; level++) {
        cursor->path.page[level] = no;
        cursor->path.at[level] = 0;
        no = node_child(page_read(cursor->pages, no), 0);
    }
    cursor->path.page[level] = no;
    cursor->path.at[level] = 0;
    leaf_enter(cursor);
}

void cursor_open(TreeCursor *cursor,
                 const Pages *pages,
                 const Tree *tree,
                 Bytes lower,
                 Bytes upper) {
    cursor->pages = pages;
    cursor->upper = upper;
    cursor->height = tree->height;
    cursor->last_leaf = false;
    cursor->end = 0;
    if (tree->height == 0) return;
    if (lower.len == 0) {
        descend_first(cursor, 0, tree->root);
    } else {
        tree_seek(pages, tree, lower, &cursor->path);
        leaf_enter(cursor);
    }
}

// The leaves that come next are read meanwhile, a few at a time.
#define HINT_LEAVES 16u

static void leaves_hint(const TreeCursor *cursor, const uint8_t *node, unsigned child) {
    if (child > 1 && child % HINT_LEAVES) return;
    PageNo list[HINT_LEAVES];
    uint32_t count = 0;
    for (unsigned i = child; i <= node_count(node) && count < HINT_LEAVES; i++) {
        list[count++] = node_child(node, i);
    }
    cache_hint(cursor->pages, list, count);
}

static bool leaf_step(TreeCursor *cursor) {
    if (cursor->last_leaf || cursor->height == 0) return false;
    for (uint32_t level = cursor->height - 1; level-- > 0;) {
        const uint8_t *node = page_read(cursor->pages, cursor->path.page[level]);
        if (cursor->path.at[level] >= node_count(node)) continue;
        unsigned child = ++cursor->path.at[level];
        if (UNLIKELY(cursor->pages->paged) && level + 2 == cursor->height) {
            leaves_hint(cursor, node, child);
        }
        descend_first(cursor, level + 1, node_child(node, child));
        return true;
    }
    cursor->last_leaf = true;
    return false;
}

bool cursor_next(TreeCursor *cursor, unsigned *at) {
    if (UNLIKELY(cursor->height == 0)) return false;
    uint16_t *position = &cursor->path.at[cursor->height - 1];
    while (*position >= cursor->end) {
        if (!leaf_step(cursor)) return false;
    }
    *at = (*position)++;
    return true;
}
