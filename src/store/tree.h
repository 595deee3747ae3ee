// tree.h: a B+tree: keys to values, both plain bytes of any length, ordered by memcmp.
//
// PICTURE
//   Tree {root, height}          height 3:   root ── inner ── leaf
//
//   A path is how a key was reached: at each level a page, and the child taken in it. Changes go
//   through a path: seek, look, then insert, replace or delete at it, without a second search.
//
// ALWAYS TRUE
//   (1) root is PAGE_NONE exactly when the tree is empty; a leaf is never empty.
//   (2) The child at c holds keys from separator c-1 (inclusive) to separator c.
//   (3) Below a frozen page everything is frozen: a page made since the newest live view was opened
//       had to be written into its parent since then, so the parent was made since then too. So a
//       leaf that is not frozen has no frozen page above it.
//
// Changes cannot fail: ask tree_insert_pages() or tree_delete_pages() how many pages they may take
// and reserve them (page.h) before the first of them.
#pragma once
#include "store/search.h"

enum { TREE_HEIGHT_MAX = TREE_LEVELS_MAX };

typedef struct Tree {
    PageNo root;
    uint32_t height;         // levels; 0 when empty
    uint32_t key_pages_max;  // pages of the longest long key there ever was: a separator may be
                             // as long
} Tree;

typedef struct TreePath {
    PageNo page[TREE_HEIGHT_MAX];  // from the root down to the leaf
    uint16_t at[TREE_HEIGHT_MAX];  // child taken; in the leaf the entry
} TreePath;

// Go to where the key is or would be. True when it is there.
bool tree_seek(const Pages *pages, const Tree *tree, Bytes key, TreePath *path);
// The same for who seeks in this tree again and again: sooner if its leaves look like `shape`, which
// learns from them. Begins with zeros.
bool tree_seek_like(const Pages *pages,
                    const Tree *tree,
                    Bytes key,
                    LeafShape *shape,
                    TreePath *path);
// The two halves of tree_seek_like(), for who knows a key before it needs the row: go to above the leaf
// and ask the memory for what of the leaf will be looked at; later, while the tree is what it was, look.
// Not of a tree whose pages may be absent.
void tree_approach(const Pages *pages,
                   const Tree *tree,
                   Bytes key,
                   const LeafShape *shape,
                   TreePath *path,
                   Foresight *foresight);
bool tree_arrive(const Pages *pages,
                 const Tree *tree,
                 Bytes key,
                 LeafShape *shape,
                 TreePath *path,
                 const Foresight *foresight);
// The value at a path that was found. Borrowed until the next change of this tree.
Bytes tree_value(const Pages *pages, const Tree *tree, const TreePath *path);
bool tree_get(const Pages *pages, const Tree *tree, Bytes key, Bytes *value);

uint64_t tree_insert_pages(const Tree *tree, size_t key_len, size_t value_len);
uint64_t tree_delete_pages(const Pages *pages, const Tree *tree);  // only copies take any

// The path must come from tree_seek for this key and nothing in the tree changed since; it is
// spent. Insert: the key was not there. Replace, delete: it was.
void tree_insert(Pages *pages, Tree *tree, TreePath *path, Bytes key, Bytes value);
// True: in its place. Other paths into this tree lead where they led.
bool tree_replace(Pages *pages, Tree *tree, TreePath *path, Bytes key, Bytes value);
void tree_delete(Pages *pages, Tree *tree, TreePath *path);
// Whether replacing the entry at the path by a value of that length only writes over it: no page is
// taken then.
static inline bool tree_fits_in_place(const Pages *pages,
                                      const Tree *tree,
                                      const TreePath *path,
                                      size_t len) {
    PageNo leaf = path->page[tree->height - 1];
    if (page_is_frozen(pages, leaf)) return false;
    const uint8_t *node = page_at(pages, leaf);  // our guard is up since it was found
    NodeSlot slot = node_slots(node)[path->at[tree->height - 1]];
    return !(slot.key & NODE_VALUE_LONG) && len <= load_u16(node + slot.at);
}

// Give up a whole tree. Its pages are freed little by little by tree_tidy(); until that is called,
// what was read from it stays readable.
void tree_drop(Pages *pages, Tree *tree);
bool tree_tidy(Pages *pages, uint32_t budget);  // true when nothing is left to do

// ── walking in key order ────────────────────────────────────────────────────────────────────────

typedef struct TreeCursor {
    const Pages *pages;
    Bytes upper;  // exclusive; empty: to the end. Borrowed
    uint32_t height;
    bool last_leaf;  // the leaf that holds the end, when there is an upper bound
    uint16_t end;    // entries of the leaf that are below upper
    TreePath path;
} TreeCursor;

// Stand before the first entry >= lower (empty: the first of all).
void cursor_open(TreeCursor *cursor,
                 const Pages *pages,
                 const Tree *tree,
                 Bytes lower,
                 Bytes upper);
// Step onto the next entry; false at the end. The leaf and the entry in it stay readable as values
// do.
static inline const uint8_t *cursor_leaf(const TreeCursor *cursor) {
    return page_read(cursor->pages, cursor->path.page[cursor->height - 1]);
}
bool cursor_next(TreeCursor *cursor, unsigned *at);

// Visit every page of a tree, parents first; for store_check.
typedef struct TreeVisit {
    Err (*page)(void *ctx, PageNo no, uint32_t run, Diag *diag);  // nodes and runs
    void *ctx;
    void (*rest)(void *ctx);  // may be NULL: after each leaf, when nothing is borrowed
} TreeVisit;
// Key order over the whole tree, levels, versions, separators. *entries counts leaf entries.
MUST_USE Err tree_check(const Pages *pages,
                        const Tree *tree,
                        const TreeVisit *visit,
                        uint64_t *entries,
                        Diag *diag);
