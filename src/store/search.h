// search.h: where a key is in a node. The part that every look-up runs through stands here, to be compiled
// into those who descend; the rest is in search.c.
//
// PICTURE   a key of 8 bytes in a node whose keys begin with the same 5
//   key        00 00 00 00 00 | 07 a1 20
//   first      0x000000000007a120         its first 8 bytes as a number, made once for all nodes
//   head                      0x07a12000   the 4 after the prefix, as slots have them
//   slots      ... 07a11e00 07a11f00 [07a12000] 07a12100 ...
//                      guess ^          found: compare the cell
//
// WHAT IT COSTS
//   Not instructions but cache lines, one leading to the next: the header says where to guess, the slot
//   there where the cell is. In a table of a million rows the nodes above the leaves are in the second cache
//   and the leaves are not. So who searches one tree again and again remembers how dense its leaves are
//   (LeafShape), tells from the separators above where in the leaf the key must be, and asks for the slot and
//   the cell when it asks for the header. Where rows have one size and ids ascend that is nearly always
//   right; where it is not, it is not believed, and later not asked for.
#pragma once
#include <limits.h>

#include "store/node.h"

// A key on its way down.
typedef struct SearchKey {
    Bytes key;
    uint64_t first;           // its first 8 bytes as a number, zeros where it has fewer
    unsigned prefix_longest;  // a prefix up to so long is in `first`, and the 4 bytes behind it too
} SearchKey;

uint64_t search_short_first(Bytes key);  // of a key of less than 4 bytes

static inline SearchKey search_key(Bytes key) {
    if (LIKELY(key.len >= 8)) {
        return (SearchKey){key, __builtin_bswap64(load_u64(key.ptr)), key.len == 8 ? 7 : 4};
    }
    if (LIKELY(key.len >= 4)) {  // its first four bytes and its last, which are some of them again
        uint64_t first = __builtin_bswap32(load_u32(key.ptr));
        uint64_t last = __builtin_bswap32(load_u32(key.ptr + key.len - 4));
        return (SearchKey){key, first << 32 | last << (8 * (8 - key.len)), (unsigned)key.len};
    }
    return (SearchKey){key, search_short_first(key), (unsigned)key.len};
}

enum { SEARCH_WINDOW = 8 };

// How a key compares with the node's prefix: 0: it begins with it, and *head is set.
int search_prefix(const NodeHeader *header, Bytes key, uint32_t *head);
// The first slot whose head is >= head, in a node of few entries, or going out from slot `from`.
unsigned search_few(const uint8_t *node, uint32_t head);
unsigned search_from(const uint8_t *node, unsigned from, uint32_t head);
// The first entry whose key is >= key, when `low` is the first with its head.
unsigned search_equal_heads(const Pages *pages,
                            const uint8_t *node,
                            unsigned low,
                            Bytes key,
                            bool *equal);

// The same as search_prefix(), without a call for keys of at most 8 bytes and short prefixes.
static inline int search_head(const SearchKey *key, const NodeHeader *header, uint32_t *head) {
    size_t prefix = header->prefix_len;
    if (UNLIKELY(prefix > key->prefix_longest)) return search_prefix(header, key->key, head);
    uint64_t differs = key->first ^ __builtin_bswap64(load_u64(header->prefix));
    if (UNLIKELY(differs >> 1 >> (63 - 8 * prefix))) return search_prefix(header, key->key, head);
    *head = (uint32_t)(key->first << (8 * prefix) >> 32);
    return 0;
}

// Where the head would be if heads were spread evenly between the node's first and last.
static inline unsigned search_guess(const NodeHeader *header, uint32_t head) {
    unsigned last = header->page.count - 1u;
    if (UNLIKELY(head <= header->low)) return 0;
    if (UNLIKELY(head >= header->high)) return last;
    float share = (float)(head - header->low) / (float)(header->high - header->low);
    return (unsigned)(share * (float)last);
}

// The first of the slots that stand in one cache line with slot `at`, all of them entries.
static inline unsigned search_line(unsigned at, unsigned count) {
    enum { BEFORE = NODE_HEADER_BYTES / NODE_SLOT_BYTES };
    static_assert(SEARCH_WINDOW * NODE_SLOT_BYTES == 64, "a line is a window");
    unsigned first = (at + BEFORE) & ~(SEARCH_WINDOW - 1u);
    first = MAX(first, (unsigned)BEFORE) - BEFORE;
    return MIN(first, count - SEARCH_WINDOW);
}

// How many of a line's heads are below. No branches: which one it is cannot be foretold.
static inline unsigned search_below(const NodeSlot *slots, uint32_t head) {
    static_assert(SEARCH_WINDOW == 8, "one term each");
    return (unsigned)(slots[0].head < head) + (slots[1].head < head) + (slots[2].head < head) +
           (slots[3].head < head) + (slots[4].head < head) + (slots[5].head < head) +
           (slots[6].head < head) + (slots[7].head < head);
}

// Whether an entry, whose head is the key's, has that key. False: perhaps not.
static inline bool search_is_it(const uint8_t *node, NodeSlot slot, Bytes key) {
    size_t rest = key.len - node_header(node)->prefix_len;
    if ((slot.key & ~(size_t)NODE_VALUE_LONG) != rest) return false;
    if (LIKELY(rest <= 4)) return true;
    return memcmp(node + slot.at + 2, key.ptr + key.len - rest, rest) == 0;
}

// Whether it is entry `at`, for who has an idea.
static inline bool search_hits(const uint8_t *node, const SearchKey *key, unsigned at) {
    const NodeHeader *header = node_header(node);
    uint32_t head;
    if (at >= header->page.count || search_head(key, header, &head) != 0) return false;
    NodeSlot slot = node_slots(node)[at];
    return slot.head == head && search_is_it(node, slot, key->key);
}

// node_search() for who searches one node after another.
static inline unsigned search_node(const Pages *pages,
                                   const uint8_t *node,
                                   const SearchKey *key,
                                   bool *equal) {
    const NodeHeader *header = node_header(node);
    const NodeSlot *slots = node_slots(node);
    unsigned count = header->page.count, at;
    uint32_t head;
    *equal = false;
    int c = search_head(key, header, &head);
    if (UNLIKELY(c != 0)) return c < 0 ? 0 : count;
    if (UNLIKELY(count < SEARCH_WINDOW)) {
        at = search_few(node, head);
        if (at == count) return at;
    } else {
        unsigned guess = search_guess(header, head), from = search_line(guess, count);
        at = from + search_below(slots + from, head);
        if (at == from + SEARCH_WINDOW && at < count) at = search_from(node, at, head);
        if (at == count) return at;
        if (slots[at].head == head && search_is_it(node, slots[at], key->key)) {
            *equal = true;
            return at;
        }
        // Not the key itself, so what stands in front of the line matters.
        if (at == from && from > 0) at = search_from(node, from, head);
    }
    if (slots[at].head != head) return at;
    return search_equal_heads(pages, node, at, key->key, equal);
}

static inline unsigned search_child(const Pages *pages, const uint8_t *node, const SearchKey *key) {
    bool equal;
    unsigned at = search_node(pages, node, key, &equal);
    return at + equal;
}

// ── what a leaf will look like ──────────────────────────────────────────────────────────────────

typedef struct LeafShape {
    float density;     // entries, by the first 8 bytes of their keys as a number
    float cell_bytes;  // of a cell if nothing of its key were prefix
    uint16_t trust;    // foresights that came true lately
} LeafShape;

enum { SEARCH_TRUST = 2, SEARCH_TRUST_MAX = 4 };

typedef struct Foresight {
    unsigned at;          // the entry; UINT_MAX: nothing is foreseen
    const uint8_t *cell;  // its cell
} Foresight;

// A head behind a prefix of n bytes counts so many of a key's first 8 bytes.
static inline float search_unit(unsigned prefix) {
    static const float units[8] =
        {0x1p32f, 0x1p24f, 0x1p16f, 0x1p8f, 1, 0x1p-8f, 0x1p-16f, 0x1p-24f};
    return units[prefix & 7];
}

// Of the leaf below child `child` of `node`, from what separates it from its neighbours.
static inline Foresight search_foresee(const uint8_t *node,
                                       unsigned child,
                                       const SearchKey *key,
                                       const LeafShape *shape,
                                       const uint8_t *leaf) {
    Foresight none = {UINT_MAX, NULL};
    const NodeSlot *slots = node_slots(node);
    unsigned prefix = node_header(node)->prefix_len;
    if (UNLIKELY(child == 0 || child == node_count(node) || prefix > 7)) return none;
    uint32_t low = slots[child - 1].head, high = slots[child].head, head;
    if (UNLIKELY(low >= high || search_head(key, node_header(node), &head) != 0)) return none;
    float at = (float)(head - low) * search_unit(prefix) * shape->density;
    at = MIN(at, (float)(PAGE_BYTES / NODE_SLOT_BYTES));
    prefix += (unsigned)__builtin_clz((low ^ (high - 1)) | 1) / 8;
    Foresight foresight = {.at = (unsigned)(at + 0.25f)};
    float cell_bytes = MAX(shape->cell_bytes - (float)prefix, 0.0f);
    float from_end = MIN((float)(foresight.at + 1) * cell_bytes, (float)PAGE_BYTES);
    foresight.cell = leaf + PAGE_BYTES - (unsigned)from_end;
    if (shape->trust >= SEARCH_TRUST) {
        __builtin_prefetch(leaf + NODE_HEADER_BYTES + foresight.at * NODE_SLOT_BYTES);
        __builtin_prefetch(foresight.cell);
        __builtin_prefetch(foresight.cell + (unsigned)cell_bytes - 1);
    }
    return foresight;
}

// The search ended at entry `at` of the leaf: was it so?
void search_relearn(LeafShape *shape, const uint8_t *leaf, bool right);
static inline void search_learn(LeafShape *shape,
                                const uint8_t *leaf,
                                const Foresight *foresight,
                                unsigned at) {
    unsigned count = node_count(leaf);
    if (UNLIKELY(foresight->at == UINT_MAX || count < SEARCH_WINDOW || at == count)) return;
    bool right = foresight->at == at || search_line(foresight->at, count) == search_line(at, count);
    bool all = right && foresight->cell == leaf + node_slots(leaf)[at].at;
    if (LIKELY(all && shape->trust == SEARCH_TRUST_MAX)) return;
    search_relearn(shape, leaf, right);
}
