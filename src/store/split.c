// split.c: a full node becomes two, and its parent learns of it.
//
// WHERE TO CUT
//   In the middle by bytes; but where entries keep arriving side by side (ascending keys, or
//   descending) the cut is where they arrive, which leaves the pages behind them full instead of
//   half empty.
//   A key that does not share the node's prefix is outside of all its keys (they all do share it).
//   Taking it in could blow up every other entry, so when that does not fit it gets a node of its
//   own at that edge.
#include "store/split.h"

// This many entries side by side count as a pattern.
#define STREAK_MIN 4

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

// The whole key of a cell: in its run, or put together in `scratch`.
static Bytes cell_whole_key(const Pages *pages, const NodeCell *cell, uint8_t *scratch) {
    if (cell->key_ref) return run_read(pages, cell->key_ref);
    size_t prefix = cell->prefix.len, suffix = cell->suffix.len;
    if (prefix) memcpy(scratch, cell->prefix.ptr, prefix);
    if (suffix) memcpy(scratch + prefix, cell->suffix.ptr, suffix);
    return (Bytes){scratch, prefix + suffix};
}

// The shortest key that is greater than `low` and not greater than `high`.
static void separator_between(Pages *pages,
                              Separator *separator,
                              const NodeCell *low,
                              const NodeCell *high) {
    uint8_t scratch[NODE_KEY_MAX];
    Bytes left = cell_whole_key(pages, low, scratch);
    Bytes right = cell_whole_key(pages, high, separator->key);
    size_t len = 0;
    while (len < left.len && left.ptr[len] == right.ptr[len]) {
        len++;
    }
    Bytes key = {right.ptr, len + 1};
    separator->cell = (NodeCell){.suffix = {separator->key, key.len}};
    if (key.len > NODE_KEY_MAX) {
        run_write(pages, key, separator->key_ref);
        separator->cell.key_ref = separator->key_ref;
        separator->cell.flags = NODE_KEY_LONG;
        separator->cell.suffix.len = NODE_KEY_HEAD;
    }
    if (key.ptr != separator->key) memcpy(separator->key, key.ptr, separator->cell.suffix.len);
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

// The first entry of the right half, when the halves are to weigh the same.
static unsigned cut_in_the_middle(const NodeEntries *entries) {
    size_t total = 0, left = 0;
    for (unsigned at = 0; at < entries->count; at++) {
        total += node_entry_bytes(entries, at);
    }
    unsigned cut = 0;
    while (left + node_entry_bytes(entries, cut) / 2 < total / 2) {
        left += node_entry_bytes(entries, cut++);
    }
    return MIN(MAX(cut, 1u), entries->count - 1);
}

static unsigned cut_leaf(const NodeEntries *entries) {
    const NodeHeader *header = node_header(entries->node);
    unsigned at = entries->extra_at;
    if (header->streak >= STREAK_MIN) {
        if (at == header->last + 1u) return at;
        if (at == header->last && at + 1u < entries->count) return at + 1;
    }
    return cut_in_the_middle(entries);
}

static bool leaf_build_halves(uint8_t *left,
                              uint8_t *right,
                              const NodeEntries *entries,
                              unsigned cut) {
    return node_build(left, entries, 0, cut) && node_build(right, entries, cut, entries->count);
}

// Split the leaf while putting `cell` in at `at`.
static void leaf_split(Pages *pages,
                       PageNo no,
                       unsigned at,
                       const NodeCell *cell,
                       Separator *separator) {
    alignas(8) uint8_t old[PAGE_BYTES];
    uint8_t *left = page_write(pages, no);
    memcpy(old, left, PAGE_BYTES);
    NodeEntries entries = {old, cell, at, node_count(old) + 1};
    PageNo right_no = page_take(pages, PAGE_LEAF, 0, 1);
    uint8_t *right = page_write(pages, right_no);
    node_init(right);

    // By pattern, else by weight, else the stranger by itself.
    unsigned cuts[] = {cut_leaf(&entries),
                       cut_in_the_middle(&entries),
                       at == 0 ? 1 : entries.count - 1};
    unsigned cut = 0, attempt = 0;
    do {
        ASSERT(attempt < ARRAY_LEN(cuts));
        cut = cuts[attempt++];
    } while (!leaf_build_halves(left, right, &entries, cut));
    NodeCell low = node_entry(&entries, cut - 1), high = node_entry(&entries, cut);
    separator_between(pages, separator, &low, &high);
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
    NodeEntries entries = {old, cell, at, node_count(old) + 1};
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

void tree_put_cell(Pages *pages, Tree *tree, TreePath *path, const NodeCell *cell) {
    uint32_t level = tree->height - 1;
    if (LIKELY(node_insert(page_write(pages, path->page[level]), path->at[level], cell))) return;

    Separator separators[2];  // one being put in, the one that comes of it
    unsigned turn = 0;
    leaf_split(pages, path->page[level], path->at[level], cell, &separators[turn]);
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
