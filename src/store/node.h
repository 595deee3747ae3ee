// node.h: one page of a tree: sorted entries of key and value.
//
// PICTURE
//   header                 slots, 8 bytes each             free       cells, in no order
//   [ 80 bytes            ][ s0 | s1 | s2 | ...  ->        ......  <- | c2 | c0 | c1    ]
//
//   header, after the 24 bytes of page.h:
//     24  cells_at:2    lowest byte used by cells
//     26  dead:2        bytes in the cell area that belong to nothing any more
//     28  first:4       inner nodes: the child left of all separators
//     leaf nodes keep in the same place: 28 last:2    where the last entry was put,
//                                        30 streak:2  how many went side by side there
//     32  low:4 high:4  about the first and the last entry's head: where a search begins to look
//     40  prefix_len:2  bytes that all keys begin with; they are not repeated in the cells
//     42  prefix:38     (in the header, so that a search finds them in the line it reads anyway)
//   slot:  head:4   the next four key bytes after the prefix as a number, zero-padded
//          at:2     where the cell is
//          key:2    bit 15 long key, bit 14 long value, low bits: key bytes in the cell
//   cell:  value_len:2  key bytes after the prefix  [run reference:8 of a long key]  value
//
//   An inner node's value is a child's page number:4, holding keys >= the entry's key. A long key
//   (over NODE_KEY_MAX) keeps its first NODE_KEY_HEAD bytes here and the whole of it in a run; a
//   long value is a run reference.
//
// ALWAYS TRUE
//   (1) Keys ascend strictly. An equal head says nothing; different heads order as their keys do.
//   (2) cells_at + live cell bytes + dead == PAGE_BYTES; slots never reach cells_at.
//   (3) No entry is larger than a quarter of the page, so a full node can always be split in two.
//
// The search looks at heads first: with a prefix taken off, four bytes nearly always tell the
// keys of one page apart, and a slot is found without touching a cell.
#pragma once
#include "store/run.h"

enum {
    NODE_KEY_MAX = PAGE_BYTES / 8,  // longer keys are long keys
    NODE_KEY_HEAD = 128,            // bytes of a long key kept in the node
    NODE_PREFIX_MAX = 38,
    NODE_HEADER_BYTES = 80,
    NODE_ENTRY_MAX = (PAGE_BYTES - NODE_HEADER_BYTES) / 4,
    NODE_SLOT_BYTES = 8,
    NODE_KEY_LONG = 0x8000,
    NODE_VALUE_LONG = 0x4000,
    NODE_KEY_BYTES = 0x3fff,
    TREE_LEVELS_MAX = 16,
};

typedef struct NodeSlot {
    uint32_t head;
    uint16_t at;
    uint16_t key;
} NodeSlot;

typedef struct NodeHeader {
    PageHeader page;
    uint16_t cells_at;
    uint16_t dead;
    union {
        PageNo first;
        struct {
            uint16_t last;
            uint16_t streak;
        };
    };
    uint32_t low;
    uint32_t high;
    uint16_t prefix_len;
    uint8_t prefix[NODE_PREFIX_MAX];
} NodeHeader;

static_assert(offsetof(NodeHeader, cells_at) == 24 && offsetof(NodeHeader, dead) == 26 &&
                  offsetof(NodeHeader, first) == 28 && offsetof(NodeHeader, prefix_len) == 40 &&
                  sizeof(NodeHeader) == NODE_HEADER_BYTES,
              "the drawing above is the format");
static_assert(NODE_PREFIX_MAX + 4 <= NODE_KEY_HEAD, "a long key's head is made of its own bytes");
static_assert(sizeof(NodeSlot) == NODE_SLOT_BYTES && NODE_ENTRY_MAX <= NODE_KEY_BYTES &&
                  PAGE_BYTES <= UINT16_MAX,
              "offsets fit 16 bits, key lengths 14");

// An entry outside of a node, or one in a node seen apart from its slot. The key in the node is
// `prefix` then `suffix`; everything is borrowed.
typedef struct NodeCell {
    Bytes prefix;
    Bytes suffix;
    uint16_t flags;          // NODE_KEY_LONG, NODE_VALUE_LONG
    const uint8_t *key_ref;  // of a long key
    Bytes value;             // as stored: a long value's run reference
} NodeCell;

static inline const NodeHeader *node_header(const uint8_t *node) {
    return (const NodeHeader *)node;
}
static inline unsigned node_count(const uint8_t *node) {
    return node_header(node)->page.count;
}
static inline bool node_is_leaf(const uint8_t *node) {
    return node_header(node)->page.kind == PAGE_LEAF;
}
static inline const NodeSlot *node_slots(const uint8_t *node) {
    return (const NodeSlot *)(node + NODE_HEADER_BYTES);
}
static inline Bytes node_prefix(const uint8_t *node) {
    return (Bytes){node_header(node)->prefix, node_header(node)->prefix_len};
}
static inline size_t slot_value_at(NodeSlot slot) {
    size_t ref = slot.key & NODE_KEY_LONG ? RUN_REF_BYTES : 0;
    return slot.at + 2u + (slot.key & NODE_KEY_BYTES) + ref;
}

size_t node_live_bytes(const uint8_t *node);  // what its entries take, slots included
void node_init(uint8_t *node);                // an empty node in a page just taken

// The first entry whose key is >= key. *equal says whether it is the key itself.
unsigned node_search(const Pages *pages, const uint8_t *node, Bytes key, bool *equal);
// Children of an inner node are numbered 0 .. count.
static inline PageNo node_child(const uint8_t *node, unsigned child) {
    if (UNLIKELY(child == 0)) return node_header(node)->first;
    return load_u32(node + slot_value_at(node_slots(node)[child - 1]));
}
void node_set_child(uint8_t *node, unsigned child, PageNo no);
unsigned node_child_for(const Pages *pages, const uint8_t *node, Bytes key);

NodeCell node_cell(const uint8_t *node, unsigned at);
Bytes node_value(const Pages *pages, const uint8_t *node, unsigned at);  // long values resolved
// The whole key. `scratch` (NODE_KEY_MAX bytes) is used unless the key is long or stands in one
// piece.
Bytes node_key(const Pages *pages, const uint8_t *node, unsigned at, uint8_t *scratch);

// Put a cell at its place. False when it does not fit; the node is as it was.
bool node_insert(uint8_t *node, unsigned at, const NodeCell *cell);
void node_remove(uint8_t *node, unsigned at);  // runs are the caller's
// Put another value of at most the same length in place; both are short values.
void node_shrink_value(uint8_t *node, unsigned at, Bytes value);
uint8_t *node_value_stored(uint8_t *node, unsigned at, size_t *len);

// Entries of one node or of two neighbours as they were, with one more among them: what a split
// distributes.
typedef struct NodeEntries {
    const uint8_t *node;  // not the one being built
    const uint8_t *more;  // its right neighbour, or NULL
    const NodeCell *extra;
    unsigned extra_at;
    unsigned count;  // the extra one included
} NodeEntries;
NodeCell node_entry(const NodeEntries *entries, unsigned at);
size_t node_entry_bytes(const NodeEntries *entries, unsigned at);  // what it takes where it is
// Fill an empty node with entries [from, to). False when they do not fit (the node is then empty).
bool node_build(uint8_t *node, const NodeEntries *entries, unsigned from, unsigned to);
// Append all entries of `more`, whose keys are greater, if they fit; else the node is as it was.
bool node_absorb(uint8_t *node, const uint8_t *more);

// Whether a node that comes from outside stays within itself, and its references below `end`. Whatever
// else may be wrong with it, looking at it is safe.
bool node_is_sane(const uint8_t *node, PageNo end);
MUST_USE Err node_check(const Pages *pages, const uint8_t *node, Diag *diag);
