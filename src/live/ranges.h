// ranges.h: groups by the range that they ask of one column: `level > 5`, `x BETWEEN 3 AND 9`. Inside
// this room only.
//
// PICTURE
//   a treap ordered by lower end; each node knows the greatest upper end below it, so a look for the
//   ranges around a key skips whatever ends before it: O(log n + found), where ends are spread
//
// Ends are memcomparable keys and count as inside: who is found is tested anyway.
#pragma once
#include "base/bytes.h"

typedef struct Group Group;

typedef struct RangeNode RangeNode;
struct RangeNode {
    RangeNode *left, *right;
    Group *group;
    Bytes lower, upper;  // ptr NULL: none
    Bytes max_upper;     // of this node and all below; ptr NULL: to the end
    uint64_t priority;
};

// Linking and unlinking cannot fail. The bytes are the caller's, and stay.
void ranges_add(RangeNode **root, RangeNode *node);
void ranges_remove(RangeNode **root, RangeNode *node);
bool range_has(const RangeNode *node, Bytes key);
// Call `each` for every range that has the key, until it answers an error.
typedef Err (*RangeEach)(void *ctx, Group *group, const RangeNode *node);
MUST_USE Err ranges_each(const RangeNode *root, Bytes key, RangeEach each, void *ctx);
