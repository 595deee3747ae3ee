// tree_check.c: does a tree keep its promises (tree.h, node.h)? Reads every page of it.
#include "store/tree.h"

typedef struct Walk {
    const Pages *pages;
    const TreeVisit *visit;
    uint64_t entries;
    Diag *diag;
} Walk;

typedef struct Bounds {
    Bytes low;   // inclusive; empty: none
    Bytes high;  // exclusive; ptr NULL: none
} Bounds;

static Err corrupt(Walk *walk, PageNo no, const char *what) {
    return diag_fail(walk->diag, ERR_CORRUPT, "page %u: %s", no, what);
}

static Err visit_run(Walk *walk, const uint8_t *ref) {
    PageNo no = load_u32(ref);
    const PageHeader *header = page_header(page_read(walk->pages, no));
    if (header->kind != PAGE_RUN || header->number != no) return corrupt(walk, no, "not a run");
    if (header->run != run_pages(load_u32(ref + 4))) return corrupt(walk, no, "wrong run length");
    return walk->visit->page(walk->visit->ctx, no, header->run, walk->diag);
}

static Err entries_walk(Walk *walk, const uint8_t *node, Bounds bounds) {
    PageNo no = node_header(node)->page.number;
    unsigned count = node_count(node);
    for (unsigned at = 0; at < count; at++) {
        NodeCell cell = node_cell(node, at);
        Err err = OK;
        if (cell.key_ref && (err = visit_run(walk, cell.key_ref)) != OK) return err;
        if (cell.flags & NODE_VALUE_LONG && (err = visit_run(walk, cell.value.ptr)) != OK) {
            return err;
        }
    }
    if (count == 0) return OK;
    uint8_t scratch[NODE_KEY_MAX];
    Bytes key = node_key(walk->pages, node, 0, scratch);
    if (bytes_cmp(key, bounds.low) < 0) return corrupt(walk, no, "a key is below its separator");
    key = node_key(walk->pages, node, count - 1, scratch);
    if (bounds.high.ptr && bytes_cmp(key, bounds.high) >= 0) {
        return corrupt(walk, no, "a key is above its separator");
    }
    return OK;
}

static Err node_walk(Walk *walk, PageNo no, unsigned level, bool frozen, Bounds bounds) {
    Err err = OK;
    const uint8_t *node = page_read(walk->pages, no);
    const PageHeader *header = page_header(node);
    if (header->number != no) return corrupt(walk, no, "carries another number");
    if (header->kind != (level ? PAGE_INNER : PAGE_LEAF)) return corrupt(walk, no, "wrong kind");
    if (header->level != level) return corrupt(walk, no, "wrong level");
    if (frozen && !page_is_frozen(walk->pages, no)) return corrupt(walk, no, "above it is frozen");
    frozen = page_is_frozen(walk->pages, no);
    if ((err = walk->visit->page(walk->visit->ctx, no, 1, walk->diag)) != OK) return err;
    if ((err = node_check(walk->pages, node, walk->diag)) != OK) return err;
    if ((err = entries_walk(walk, node, bounds)) != OK) return err;
    if (level == 0) {
        walk->entries += header->count;
        return header->count ? OK : corrupt(walk, no, "an empty leaf");
    }
    uint8_t low[NODE_KEY_MAX], high[NODE_KEY_MAX];
    for (unsigned child = 0; child <= header->count; child++) {
        Bounds within = bounds;
        if (child > 0) within.low = node_key(walk->pages, node, child - 1, low);
        if (child < header->count) within.high = node_key(walk->pages, node, child, high);
        err = node_walk(walk, node_child(node, child), level - 1, frozen, within);
        if (err != OK) return err;
    }
    return OK;
}

Err tree_check(const Pages *pages,
               const Tree *tree,
               const TreeVisit *visit,
               uint64_t *entries,
               Diag *diag) {
    *entries = 0;
    if ((tree->height == 0) != (tree->root == PAGE_NONE)) {
        return diag_fail(diag,
                         ERR_CORRUPT,
                         "a tree of height %u has root %u",
                         tree->height,
                         tree->root);
    }
    if (tree->height == 0) return OK;
    Walk walk = {.pages = pages, .visit = visit, .diag = diag};
    Err err = node_walk(&walk, tree->root, tree->height - 1, false, (Bounds){{NULL, 0}, {NULL, 0}});
    *entries = walk.entries;
    return err;
}
