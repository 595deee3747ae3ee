// sorted.c: see sorted.h.
//
// ALWAYS TRUE
//   (1) No page is empty. A map of more than LIST_MAX entries has pages, and keeps them until it is empty.
//   (2) An entry of an inner page names the first node below it, and has its prefix.
//   (3) Each step of a split leaves a map that has everything, so memory may run out between any two.
#include "txn/sorted.h"

#include <stddef.h>

// With 31 entries a leaf is 504 bytes. To be as high as HEIGHT_MAX takes 16^11 insertions.
enum { PAGE_MAX = 31, HEIGHT_MAX = 12, LIST_MAX = 6 };

struct SortedPage {
    uint32_t count;
    uint64_t prefix[PAGE_MAX];
    SortedNode *node[PAGE_MAX];
    SortedPage *down[];  // PAGE_MAX, in inner pages
};

typedef struct Path {  // from the root
    SortedPage *page[HEIGHT_MAX];
    uint32_t at[HEIGHT_MAX];
} Path;

static size_t page_bytes(bool is_leaf) {
    return sizeof(SortedPage) + (is_leaf ? 0 : PAGE_MAX * sizeof(SortedPage *));
}

static size_t node_bytes(size_t key_len) {
    return offsetof(SortedNode, key) + key_len;
}

// Numbers in the order of the keys, as far as they go.
static uint64_t prefix_of(Bytes key) {
    if (LIKELY(key.len >= 8)) return __builtin_bswap64(load_u64(key.ptr));
    uint64_t prefix = 0;
    for (size_t i = 0; i < 8; i++)
        prefix = prefix << 8 | (i < key.len ? key.ptr[i] : 0);
    return prefix;
}

// How many entries are before the key, or with `or_same` not behind it.
static uint32_t page_seek(const SortedPage *page, uint64_t prefix, Bytes key, bool or_same) {
    uint32_t low = 0, high = page->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        int order = page->prefix[middle] < prefix ? -1 : page->prefix[middle] > prefix;
        if (UNLIKELY(order == 0)) order = bytes_cmp(sorted_key(page->node[middle]), key);
        if (order < 0 || (or_same && order == 0))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// Of an inner page: below which entry the key is or would be.
static uint32_t page_below(const SortedPage *page, uint64_t prefix, Bytes key) {
    uint32_t before = page_seek(page, prefix, key, true);
    return before ? before - 1 : 0;
}

static void page_put(SortedPage *page,
                     uint32_t at,
                     uint64_t prefix,
                     SortedNode *node,
                     SortedPage *down) {
    size_t behind = page->count - at;
    memmove(&page->prefix[at + 1], &page->prefix[at], behind * sizeof *page->prefix);
    memmove(&page->node[at + 1], &page->node[at], behind * sizeof *page->node);
    page->prefix[at] = prefix;
    page->node[at] = node;
    if (down) {
        memmove(&page->down[at + 1], &page->down[at], behind * sizeof *page->down);
        page->down[at] = down;
    }
    page->count++;
}

static void page_cut(SortedPage *page, uint32_t at, bool is_leaf) {
    size_t behind = --page->count - at;
    memmove(&page->prefix[at], &page->prefix[at + 1], behind * sizeof *page->prefix);
    memmove(&page->node[at], &page->node[at + 1], behind * sizeof *page->node);
    if (!is_leaf) memmove(&page->down[at], &page->down[at + 1], behind * sizeof *page->down);
}

// ── looking ────────────────────────────────────────────────────────────────────────────────────

// Without pages: what leads to the first node whose key is at least this.
static SortedNode **list_seek(Sorted *map, Bytes key) {
    SortedNode **link = &map->first;
    while (*link && bytes_cmp(sorted_key(*link), key) < 0)
        link = &(*link)->next;
    return link;
}

// The leaf, and in *at how many of its entries are before the key.
static const SortedPage *leaf_seek(const Sorted *map, uint64_t prefix, Bytes key, uint32_t *at) {
    const SortedPage *page = map->root;
    for (uint32_t level = 1; level < map->height; level++)
        page = page->down[page_below(page, prefix, key)];
    *at = page_seek(page, prefix, key, false);
    return page;
}

SortedNode *sorted_seek(const Sorted *map, Bytes key) {
    uint32_t at;
    if (!map->root) return *list_seek((Sorted *)map, key);
    const SortedPage *leaf = leaf_seek(map, prefix_of(key), key, &at);
    return at < leaf->count ? leaf->node[at] : leaf->node[at - 1]->next;
}

SortedNode *sorted_find(const Sorted *map, Bytes key) {
    SortedNode *node;
    if (map->root) {
        uint32_t at;
        uint64_t prefix = prefix_of(key);
        const SortedPage *leaf = leaf_seek(map, prefix, key, &at);
        node = at < leaf->count && leaf->prefix[at] == prefix ? leaf->node[at] : NULL;
    } else {
        node = *list_seek((Sorted *)map, key);
    }
    return node && bytes_same(sorted_key(node), key) ? node : NULL;
}

// The last node before the one at the end of the path; NULL: it is the first.
static SortedNode *node_before(const Sorted *map, const Path *path) {
    uint32_t leaf = map->height - 1, level = leaf;
    while (path->at[level] == 0) {
        if (level-- == 0) return NULL;
    }
    const SortedPage *page = path->page[level];
    uint32_t at = path->at[level] - 1;
    for (; level < leaf; level++) {
        page = page->down[at];
        at = page->count - 1;
    }
    return page->node[at];
}

// ── changing ───────────────────────────────────────────────────────────────────────────────────

// (2) Where the path leads to at this level, something came or went.
static void changed_at(const Path *path, uint32_t level) {
    for (; level > 0 && path->at[level] == 0; level--) {
        SortedPage *above = path->page[level - 1];
        above->node[path->at[level - 1]] = path->page[level]->node[0];
        above->prefix[path->at[level - 1]] = path->page[level]->prefix[0];
    }
}

static SortedPage *page_new(Pool *pool, bool is_leaf) {
    SortedPage *page = pool_alloc(pool, page_bytes(is_leaf));
    if (page) page->count = 0;
    return page;
}

static bool root_raise(Sorted *map, Pool *pool) {
    ASSERT(map->height < HEIGHT_MAX);
    SortedPage *root = page_new(pool, false);
    if (!root) return false;
    page_put(root, 0, map->root->prefix[0], map->root->node[0], map->root);
    map->root = root;
    map->height++;
    return true;
}

static bool root_begin(Sorted *map, Pool *pool) {
    SortedPage *root = page_new(pool, true);
    if (!root) return false;
    for (SortedNode *node = map->first; node; node = node->next)
        page_put(root, root->count, prefix_of(sorted_key(node)), node, NULL);
    map->root = root;
    map->height = 1;
    return true;
}

// Make two of a full page, the entry `at` of the page above it; that has room.
static bool page_split(SortedPage *above, uint32_t at, bool is_leaf, Pool *pool, bool at_end) {
    SortedPage *page = above->down[at], *right = page_new(pool, is_leaf);
    if (!right) return false;
    uint32_t keep = at_end ? PAGE_MAX - 1 : PAGE_MAX / 2;
    right->count = page->count - keep;
    memcpy(right->prefix, page->prefix + keep, right->count * sizeof *right->prefix);
    memcpy(right->node, page->node + keep, right->count * sizeof *right->node);
    if (!is_leaf) memcpy(right->down, page->down + keep, right->count * sizeof *right->down);
    page->count = keep;
    page_put(above, at + 1, right->prefix[0], right->node[0], right);
    return true;
}

// The way down to where the key belongs, with room for one more in each page.
static bool path_for_one_more(Sorted *map, Pool *pool, uint64_t prefix, Bytes key, Path *path) {
    if (map->root->count == PAGE_MAX && !root_raise(map, pool)) return false;
    SortedPage *page = map->root;
    for (uint32_t level = 0;; level++) {
        bool is_leaf = level == map->height - 1;
        path->page[level] = page;
        path->at[level] =
            is_leaf ? page_seek(page, prefix, key, false) : page_below(page, prefix, key);
        if (is_leaf) return true;
        SortedPage *below = page->down[path->at[level]];
        if (below->count == PAGE_MAX) {
            bool at_end = page_seek(below, prefix, key, false) == PAGE_MAX;
            if (!page_split(page, path->at[level], level + 2 == map->height, pool, at_end))
                return false;
            path->at[level] = page_below(page, prefix, key);
        }
        page = page->down[path->at[level]];
    }
}

// Among the pages; *link leads to where it belongs in the list.
static bool pages_add(Sorted *map, Pool *pool, SortedNode *node, SortedNode ***link) {
    Path path;
    Bytes key = sorted_key(node);
    uint64_t prefix = prefix_of(key);
    if (!map->root && !root_begin(map, pool)) return false;
    if (!path_for_one_more(map, pool, prefix, key, &path)) return false;
    SortedNode *before = node_before(map, &path);
    *link = before ? &before->next : &map->first;
    page_put(path.page[map->height - 1], path.at[map->height - 1], prefix, node, NULL);
    changed_at(&path, map->height - 1);
    return true;
}

SortedNode *sorted_insert(Sorted *map, Pool *pool, Bytes key, void *value) {
    SortedNode **link, *node = pool_alloc(pool, node_bytes(key.len));
    if (!node) return NULL;
    node->value = value;
    node->key_len = (uint32_t)key.len;
    if (key.len) memcpy(node->key, key.ptr, key.len);
    if (!map->root && map->count < LIST_MAX) {
        link = list_seek(map, key);
    } else if (!pages_add(map, pool, node, &link)) {
        pool_give(pool, node, node_bytes(key.len));
        return NULL;
    }
    node->next = *link;
    *link = node;
    map->count++;
    return node;
}

// A root of one page is not needed; nor one of nothing.
static void root_lower(Sorted *map, Pool *pool) {
    while (map->height && map->root->count <= (map->height > 1)) {
        SortedPage *root = map->root;
        bool is_leaf = map->height == 1, is_last = root->count == 0;
        map->root = is_last ? NULL : root->down[0];
        map->height = is_last ? 0 : map->height - 1;
        pool_give(pool, root, page_bytes(is_leaf));
    }
}

// (1) An entry of the leaf at the end of the path is gone.
static void entry_gone(Sorted *map, Pool *pool, const Path *path) {
    uint32_t leaf = map->height - 1, level = leaf;
    while (level > 0 && path->page[level]->count == 0) {
        pool_give(pool, path->page[level], page_bytes(level == leaf));
        level--;
        page_cut(path->page[level], path->at[level], false);
    }
    changed_at(path, level);
    root_lower(map, pool);
}

// From the pages; what leads to it in the list.
static SortedNode **pages_take(Sorted *map, Pool *pool, SortedNode *node) {
    Path path;
    Bytes key = sorted_key(node);
    uint64_t prefix = prefix_of(key);
    uint32_t leaf = map->height - 1;
    SortedPage *page = map->root;
    for (uint32_t level = 0; level < leaf; level++) {
        path.page[level] = page;
        path.at[level] = page_below(page, prefix, key);
        page = page->down[path.at[level]];
    }
    path.page[leaf] = page;
    path.at[leaf] = page_seek(page, prefix, key, false);
    ASSERT(page->node[path.at[leaf]] == node);
    SortedNode *before = node_before(map, &path);
    page_cut(page, path.at[leaf], true);
    entry_gone(map, pool, &path);
    return before ? &before->next : &map->first;
}

void sorted_remove(Sorted *map, Pool *pool, SortedNode *node) {
    SortedNode **link = map->root ? pages_take(map, pool, node) : list_seek(map, sorted_key(node));
    ASSERT(*link == node);
    *link = node->next;
    map->count--;
    pool_give(pool, node, node_bytes(node->key_len));
}

static void page_give(Pool *pool, SortedPage *page, uint32_t height) {
    for (uint32_t i = 0; height > 1 && i < page->count; i++)
        page_give(pool, page->down[i], height - 1);
    pool_give(pool, page, page_bytes(height == 1));
}

void sorted_clear(Sorted *map, Pool *pool) {
    for (SortedNode *node = map->first; node;) {
        SortedNode *next = node->next;
        pool_give(pool, node, node_bytes(node->key_len));
        node = next;
    }
    if (map->root) page_give(pool, map->root, map->height);
    *map = (Sorted){0};
}
