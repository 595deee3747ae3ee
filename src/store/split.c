// split.c: a full leaf shares with a neighbour, a full node becomes two, and the parent learns of it.
//
// SHARE OR SPLIT
//   Keys that come in no order would leave leaves half empty wherever they split: 69 % full on average,
//   and less whenever many split at once. So a full leaf first looks left and right, below the same
//   parent, for a leaf with room, and the two even out:
//
//       parent     ... | g | t | ...                 ... | g | q | ...
//                        |   |                             |   |
//       leaves     [g h .. s] [t .. z    ]   + x ──> [g .. p   ] [q .. x .. z ]
//
//   It splits when neither has room enough to be worth the work. The new halves are then what their
//   neighbours share with, so that one split serves several leaves.
//   Not where entries arrive side by side: there the leaves behind are full anyway. A frozen neighbour is
//   copied (a split would have taken a page too); an absent one is not read. Inner nodes only split: they
//   are one page in hundreds.
//
// WHERE TO CUT
//   In the middle by bytes; but where entries keep arriving side by side (ascending keys, or
//   descending) the cut is where they arrive, which leaves the pages behind them full instead of
//   half empty.
//   A key that does not share the node's prefix is outside of all its keys (they all do share it).
//   Taking it in could blow up every other entry, so when that does not fit it gets a node of its
//   own at that edge.
//
// LONG KEYS
//   The parent is told a key that parts the halves, and a node has only the first bytes of a long key.
//   The rest may be absent from memory, and a change reads nothing once it has begun. So a leaf is cut
//   only
//     (1) where these bytes show how the two neighbours differ,
//     (2) where their runs are in memory, or
//     (3) beside the new entry, whose key is known: in front of it that key parts the halves, behind it
//         the next greater key does.
//   (3) always works, in front or behind. The entries there were, L bytes in front and R behind, fitted a
//   page of C bytes, L + R <= C, and the new one takes N <= C / 4. If it fitted neither half,
//   L + N > C and R + N > C, then L + R > 2C - 2N >= 3C / 2. Prefixes only get longer, unless the key is a
//   stranger, which then stands alone on one side of the cut.
#include "store/split.h"

// This many entries side by side count as a pattern.
#define STREAK_MIN 4
// Free bytes in a neighbour that are worth sharing: each of the two gets half of them.
#define SHARE_ROOM_MIN (PAGE_BYTES / 10)

// What the parent is told: from `key` on, go to `right`.
typedef struct Separator {
    NodeCell cell;
    uint8_t key[NODE_KEY_MAX];
    uint8_t key_ref[RUN_REF_BYTES];
    uint8_t child[4];
} Separator;

static void separator_set_child(Separator *separator, PageNo right) {
    store_u32(separator->child, right);
    separator->cell.value = (Bytes){separator->child, sizeof separator->child};
}

// The separator becomes `key`, and a zero behind it if it is to be the least key that is greater.
static void separator_set_key(Pages *pages, Separator *separator, Bytes key, bool greater) {
    size_t len = key.len + greater, here = len;
    separator->cell = (NodeCell){0};
    if (len > NODE_KEY_MAX) {
        uint8_t *run = run_make(pages, len, separator->key_ref);
        memcpy(run, key.ptr, key.len);
        if (greater) run[key.len] = 0;
        separator->cell.key_ref = separator->key_ref;
        separator->cell.flags = NODE_KEY_LONG;
        here = NODE_KEY_HEAD;
    }
    if (key.len) memcpy(separator->key, key.ptr, MIN(key.len, here));
    if (here > key.len) separator->key[key.len] = 0;
    separator->cell.suffix = (Bytes){separator->key, here};
}

// An inner node's middle entry moves up; its key (and the run of a long one) with it.
static void separator_move_up(Separator *separator, const NodeCell *cell) {
    separator->cell = (NodeCell){.flags = cell->flags & NODE_KEY_LONG};
    size_t prefix = cell->prefix.len, suffix = cell->suffix.len;
    if (prefix) memcpy(separator->key, cell->prefix.ptr, prefix);
    if (suffix) memcpy(separator->key + prefix, cell->suffix.ptr, suffix);
    separator->cell.suffix = (Bytes){separator->key, prefix + suffix};
    if (cell->key_ref) {
        memcpy(separator->key_ref, cell->key_ref, RUN_REF_BYTES);
        separator->cell.key_ref = separator->key_ref;
    }
}

// ── where two entries part ──────────────────────────────────────────────────────────────────────

// Two neighbours that a cut parts, the new entry perhaps among them.
typedef struct Parting {
    NodeCell low, high;
    Bytes key;  // of the new entry, whole
    bool low_new, high_new;
    Bytes left, right;  // what the leaves have of both keys
    size_t same;        // bytes that these begin with in common
    uint8_t scratch[2][NODE_KEY_MAX];
} Parting;

// What stands of a key in its cell: all of a short one, a long one's head.
static Bytes cell_key_here(const NodeCell *cell, uint8_t *scratch) {
    size_t prefix = cell->prefix.len, suffix = cell->suffix.len;
    if (prefix) memcpy(scratch, cell->prefix.ptr, prefix);
    if (suffix) memcpy(scratch + prefix, cell->suffix.ptr, suffix);
    return (Bytes){scratch, prefix + suffix};
}

static size_t same_bytes(Bytes a, Bytes b) {
    size_t n = MIN(a.len, b.len), same = 0;
    while (same < n && a.ptr[same] == b.ptr[same]) {
        same++;
    }
    return same;
}

static void parting_at(Parting *parting, const NodeEntries *entries, unsigned cut, Bytes key) {
    parting->low = node_entry(entries, cut - 1);
    parting->high = node_entry(entries, cut);
    parting->key = key;
    parting->low_new = cut - 1 == entries->extra_at;
    parting->high_new = cut == entries->extra_at;
    parting->left = cell_key_here(&parting->low, parting->scratch[0]);
    parting->right = cell_key_here(&parting->high, parting->scratch[1]);
    parting->same = same_bytes(parting->left, parting->right);
}

// Whether what stands in the leaf shows where the keys part: in a byte, or at the end of the lower one.
static bool parts_here(const Parting *parting) {
    if (parting->same == parting->right.len) return false;
    return parting->same < parting->left.len || !parting->low.key_ref;
}

static bool runs_are_held(const Pages *pages, const Parting *parting) {
    const NodeCell *low = &parting->low, *high = &parting->high;
    if (low->key_ref && !run_is_held(pages, low->key_ref)) return false;
    return !high->key_ref || run_is_held(pages, high->key_ref);
}

// Whether a separator can be made without reading anything.
static bool parting_is_known(const Pages *pages, const Parting *parting) {
    if (LIKELY(parts_here(parting)) || parting->low_new || parting->high_new) return true;
    return runs_are_held(pages, parting);
}

// The shortest key that is greater than the lower one and not greater than the higher one. Where only
// the new entry's is known, that one or the next after it.
static void separator_make(Pages *pages, Separator *separator, const Parting *parting) {
    Bytes left = parting->left, right = parting->right;
    size_t same = parting->same;
    if (UNLIKELY(!parts_here(parting))) {
        if (!runs_are_held(pages, parting)) {
            separator_set_key(pages, separator, parting->key, parting->low_new);
            return;
        }
        if (parting->low.key_ref) left = run_read(pages, parting->low.key_ref);
        if (parting->high.key_ref) right = run_read(pages, parting->high.key_ref);
        same = same_bytes(left, right);
        ASSERT(same < right.len);
    }
    separator_set_key(pages, separator, BYTES(right.ptr, same + 1), false);
}

// ── where to cut ────────────────────────────────────────────────────────────────────────────────

static size_t entries_bytes(const NodeEntries *entries) {
    size_t bytes = node_live_bytes(entries->node) + node_entry_bytes(entries, entries->extra_at);
    return entries->more ? bytes + node_live_bytes(entries->more) : bytes;
}

// The first entry of the right half, when the halves are to weigh the same.
static unsigned cut_in_the_middle(const NodeEntries *entries) {
    size_t half = entries_bytes(entries) / 2, left = 0;
    unsigned cut = 0;
    for (; cut < entries->count; cut++) {
        size_t bytes = node_entry_bytes(entries, cut);
        if (left + bytes / 2 >= half) break;
        left += bytes;
    }
    return MIN(MAX(cut, 1u), entries->count - 1);
}

// Whether entries arrive side by side in this leaf, the one for `at` included.
static bool leaf_fills_in_order(const uint8_t *leaf, unsigned at) {
    const NodeHeader *header = node_header(leaf);
    return header->streak >= STREAK_MIN && (at == header->last || at == header->last + 1u);
}

static unsigned cut_leaf(const NodeEntries *entries) {
    unsigned at = entries->extra_at;
    if (leaf_fills_in_order(entries->node, at)) {
        if (at > node_header(entries->node)->last) return at;
        if (at + 1 < entries->count) return at + 1;
    }
    return cut_in_the_middle(entries);
}

static bool leaf_build_halves(uint8_t *left,
                              uint8_t *right,
                              const NodeEntries *entries,
                              unsigned cut) {
    return node_build(left, entries, 0, cut) && node_build(right, entries, cut, entries->count);
}

// ── sharing ─────────────────────────────────────────────────────────────────────────────────────

// Make the leaf that is child `child` one that may be changed.
static uint8_t *child_own(Pages *pages, uint8_t *above, unsigned child) {
    PageNo no = page_own(pages, node_child(above, child));
    node_set_child(above, child, no);
    return page_write(pages, no);
}

static void separator_remove(Pages *pages, uint8_t *above, unsigned at) {
    NodeCell cell = node_cell(above, at);
    if (cell.key_ref) run_retire(pages, cell.key_ref);
    node_remove(above, at);
}

// Even out the leaves that are children `left` and `left` + 1, with `cell` among their entries. False,
// with their entries as they were: a prefix that gets shorter makes them too large, or the separator
// would have to be found in long keys that are not in memory.
static bool leaves_even_out(Pages *pages,
                            uint8_t *above,
                            unsigned left,
                            unsigned at,
                            const NodeCell *cell,
                            Bytes key,
                            Separator *separator) {
    alignas(8) uint8_t old[2][PAGE_BYTES];
    uint8_t *leaf[2];
    for (unsigned i = 0; i < 2; i++) {
        leaf[i] = child_own(pages, above, left + i);
        memcpy(old[i], leaf[i], PAGE_BYTES);
        node_init(leaf[i]);
    }
    NodeEntries entries = {old[0], old[1], cell, at, node_count(old[0]) + node_count(old[1]) + 1};
    unsigned cut = cut_in_the_middle(&entries);
    Parting parting;
    parting_at(&parting, &entries, cut, key);
    if (!parting_is_known(pages, &parting) || !leaf_build_halves(leaf[0], leaf[1], &entries, cut)) {
        memcpy(leaf[0], old[0], PAGE_BYTES);
        memcpy(leaf[1], old[1], PAGE_BYTES);
        return false;
    }
    separator_make(pages, separator, &parting);
    separator_set_child(separator, node_child(above, left + 1));
    separator_remove(pages, above, left);
    return true;
}

// What is free in a leaf; nothing in one that is absent: a change reads nothing more once it has begun.
static size_t leaf_room(const Pages *pages, PageNo no) {
    if (!page_is_here(pages, no)) return 0;
    return PAGE_BYTES - NODE_HEADER_BYTES - node_live_bytes(page_read(pages, no));
}

// Put `cell` into a full leaf with a neighbour's help. The path then leads to where the separator goes in
// the parent.
static bool leaf_share(Pages *pages,
                       const Tree *tree,
                       TreePath *path,
                       const NodeCell *cell,
                       Bytes key,
                       Separator *separator) {
    uint32_t level = tree->height - 1;
    unsigned at = path->at[level];
    if (level == 0 || leaf_fills_in_order(page_read(pages, path->page[level]), at)) return false;
    uint8_t *above = page_write(pages, path->page[level - 1]);
    unsigned child = path->at[level - 1];
    size_t before = child > 0 ? leaf_room(pages, node_child(above, child - 1)) : 0;
    size_t behind = child < node_count(above) ? leaf_room(pages, node_child(above, child + 1)) : 0;
    if (MAX(before, behind) < SHARE_ROOM_MIN) return false;
    if (before > behind) {
        child--;
        at += node_count(page_read(pages, node_child(above, child)));
    }
    if (!leaves_even_out(pages, above, child, at, cell, key, separator)) return false;
    path->at[level - 1] = (uint16_t)child;
    return true;
}

// ── splitting ───────────────────────────────────────────────────────────────────────────────────

static bool leaf_cut(Pages *pages,
                     uint8_t *left,
                     uint8_t *right,
                     const NodeEntries *entries,
                     unsigned cut,
                     Bytes key,
                     Separator *separator) {
    Parting parting;
    if (cut == 0 || cut == entries->count) return false;
    parting_at(&parting, entries, cut, key);
    if (!parting_is_known(pages, &parting)) return false;
    if (!leaf_build_halves(left, right, entries, cut)) return false;
    separator_make(pages, separator, &parting);
    return true;
}

// Split the leaf while putting `cell` in at `at`.
static void leaf_split(Pages *pages,
                       PageNo no,
                       unsigned at,
                       const NodeCell *cell,
                       Bytes key,
                       Separator *separator) {
    alignas(8) uint8_t old[PAGE_BYTES];
    uint8_t *left = page_write(pages, no);
    memcpy(old, left, PAGE_BYTES);
    NodeEntries entries = {old, NULL, cell, at, node_count(old) + 1};
    PageNo right_no = page_take(pages, PAGE_LEAF, 0, 1);
    uint8_t *right = page_write(pages, right_no);
    node_init(right);

    // By pattern, else by weight, else beside the new entry.
    unsigned cuts[] = {cut_leaf(&entries), cut_in_the_middle(&entries), at, at + 1}, attempt = 0;
    while (!leaf_cut(pages, left, right, &entries, cuts[attempt], key, separator)) {
        attempt++;
        ASSERT(attempt < ARRAY_LEN(cuts));
    }
    separator_set_child(separator, right_no);
}

// Entries [0, cut) stay, entry `cut` moves up, the rest goes right.
static bool inner_build_halves(uint8_t *left,
                               uint8_t *right,
                               const NodeEntries *entries,
                               unsigned cut) {
    return node_build(left, entries, 0, cut) && node_build(right, entries, cut + 1, entries->count);
}

static void inner_split(Pages *pages,
                        PageNo no,
                        unsigned at,
                        const NodeCell *cell,
                        Separator *separator) {
    alignas(8) uint8_t old[PAGE_BYTES];
    uint8_t *left = page_write(pages, no);
    memcpy(old, left, PAGE_BYTES);
    NodeEntries entries = {old, NULL, cell, at, node_count(old) + 1};
    PageNo right_no = page_take(pages, PAGE_INNER, node_header(old)->page.level, 1);
    uint8_t *right = page_write(pages, right_no);
    node_init(right);

    // Ascending keys always split at the right edge: leave the left node full then.
    unsigned cut = at == entries.count - 1 ? entries.count - 2 : cut_in_the_middle(&entries);
    if (!inner_build_halves(left, right, &entries, cut)) {
        cut = at == 0 ? 0 : entries.count - 1;  // the stranger moves up by itself
        bool fits = inner_build_halves(left, right, &entries, cut);
        ASSERT(fits);
    }
    NodeCell middle = node_entry(&entries, cut);
    node_set_child(right, 0, load_u32(middle.value.ptr));
    separator_move_up(separator, &middle);
    separator_set_child(separator, right_no);
}

static void root_raise(Pages *pages, Tree *tree, const Separator *separator) {
    ASSERT(tree->height < TREE_HEIGHT_MAX);
    PageNo root = page_take(pages, PAGE_INNER, (uint8_t)tree->height, 1);
    uint8_t *node = page_write(pages, root);
    node_init(node);
    node_set_child(node, 0, tree->root);
    bool fits = node_insert(node, 0, &separator->cell);
    ASSERT(fits);
    tree->root = root;
    tree->height++;
}

void tree_put_cell(Pages *pages, Tree *tree, TreePath *path, const NodeCell *cell, Bytes key) {
    uint32_t level = tree->height - 1;
    if (LIKELY(node_insert(page_write(pages, path->page[level]), path->at[level], cell))) return;

    Separator separators[2];  // one being put in, the one that comes of it
    unsigned turn = 0;
    if (!leaf_share(pages, tree, path, cell, key, &separators[turn])) {
        leaf_split(pages, path->page[level], path->at[level], cell, key, &separators[turn]);
    }
    while (level > 0) {
        level--;
        const NodeCell *up = &separators[turn].cell;
        uint8_t *node = page_write(pages, path->page[level]);
        if (node_insert(node, path->at[level], up)) return;
        inner_split(pages, path->page[level], path->at[level], up, &separators[!turn]);
        turn = !turn;
    }
    root_raise(pages, tree, &separators[turn]);
}
