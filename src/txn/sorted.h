// sorted.h: a small ordered map from bytes to pointers, in a pool: a skip list.
//
// For private writes: an empty one is a few zeroed words, ten entries cost ten allocations, a
// million still find their place in a path.
#pragma once
#include "txn/pool.h"

enum { SORTED_HEIGHT_MAX = 12 };

typedef struct SortedNode SortedNode;
struct SortedNode {
    void *value;
    size_t key_len;
    uint32_t height;
    SortedNode *next[];  // `height` of them, then the key
};

typedef struct Sorted {
    SortedNode *first[SORTED_HEIGHT_MAX];
    uint64_t random;
    size_t count;
} Sorted;  // a zeroed Sorted is empty

static inline Bytes sorted_key(const SortedNode *node) {
    return BYTES(&node->next[node->height], node->key_len);
}
// The first node whose key is at least `key`; NULL at the end. node->next[0] goes on.
SortedNode *sorted_seek(const Sorted *map, Bytes key);
SortedNode *sorted_find(const Sorted *map, Bytes key);  // exactly; NULL
// Add a key that is not there; it is copied. NULL when out of memory.
MUST_USE SortedNode *sorted_insert(Sorted *map, Pool *pool, Bytes key, void *value);
void sorted_remove(Sorted *map, Pool *pool, SortedNode *node);
// Forget everything; the memory goes back to the pool.
void sorted_clear(Sorted *map, Pool *pool);
