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

static Err node_walk(Walk *walk, PageNo no, unsigned level, bool frozen, Bounds bounds);

// The pages above a leaf may go while it is looked at, so keys are copies and nodes are read again.
static Err children_walk(Walk *walk, PageNo no, unsigned level, bool frozen, Bounds bounds) {
    Err err = OK;
    Buf low = {0}, high = {0};
    unsigned count = node_count(page_read(walk->pages, no));
    for (unsigned child = 0; child <= count && err == OK; child++) {
        const uint8_t *node = page_read(walk->pages, no);
        uint8_t scratch[NODE_KEY_MAX];
        Bounds within = bounds;
        buf_clear(&low);
        buf_clear(&high);
        if (node_count(node) != count) err = corrupt(walk, no, "cannot be read again");
        if (err != OK) break;
        if (child > 0) buf_put_bytes(&low, node_key(walk->pages, node, child - 1, scratch));
        if (child < count) buf_put_bytes(&high, node_key(walk->pages, node, child, scratch));
        if (!buf_ok(&low) || !buf_ok(&high)) err = ERR_NOMEM;
        if (child > 0) within.low = buf_bytes(&low);
        if (child < count) within.high = buf_bytes(&high);
        if (err == OK) err = node_walk(walk, node_child(node, child), level - 1, frozen, within);
    }
    buf_deinit(&low);
    buf_deinit(&high);
    return err;
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
    if (level > 0) return children_walk(walk, no, level, frozen, bounds);
    walk->entries += header->count;
    if (header->count == 0) return corrupt(walk, no, "an empty leaf");
    if (walk->visit->rest) walk->visit->rest(walk->visit->ctx);
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
