// ranges.h: groups by the range that they ask of one column: `level > 5`, `x BETWEEN 3 AND 9`. Inside
// this room only.
//
// PICTURE
//   a treap ordered by lower end; each node knows who below it ends last, so a look for the ranges
//   around a key skips whatever ends before it: O(log n), and as much again for each one found at worst
//
// Ends are memcomparable keys and count as inside: who is found is tested anyway.
#pragma once
#include "base/bytes.h"

typedef struct Group Group;

#define RANGE_OPEN UINT32_MAX  // in place of a length: no end

typedef struct RangeNode RangeNode;
struct RangeNode {
    RangeNode *left, *right;
    const RangeNode *last;  // of this one and all below: whose upper end is the greatest
    Group *group;
    uint32_t hash;  // the owner's, who may keep several treaps
    uint32_t priority;
    uint32_t lower_len, upper_len;
    uint8_t ends[];  // lower, upper
};

static inline Bytes range_lower(const RangeNode *node) {  // ptr NULL: none
    return node->lower_len == RANGE_OPEN ? BYTES_NONE : BYTES(node->ends, node->lower_len);
}
static inline Bytes range_upper(const RangeNode *node) {  // likewise
    size_t at = node->lower_len == RANGE_OPEN ? 0 : node->lower_len;
    return node->upper_len == RANGE_OPEN ? BYTES_NONE : BYTES(node->ends + at, node->upper_len);
}

// Bytes of a node with these ends, ptr NULL: none; and its filling in, in memory aligned for pointers.
size_t range_bytes(Bytes lower, Bytes upper);
void range_init(RangeNode *node, Group *group, Bytes lower, Bytes upper, uint32_t priority);

// Linking and unlinking cannot fail. The memory is the caller's, and stays.
void ranges_add(RangeNode **root, RangeNode *node);
void ranges_remove(RangeNode **root, RangeNode *node);
bool range_has(const RangeNode *node, Bytes key);
// Call `each` for every range that has the key, until it answers an error. *seen counts the nodes that
// were looked at.
typedef Err (*RangeEach)(void *ctx, Group *group, const RangeNode *node);
MUST_USE Err
ranges_each(const RangeNode *root, Bytes key, RangeEach each, void *ctx, uint64_t *seen);
