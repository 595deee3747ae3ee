// sorted.h: an ordered map from bytes to pointers, in a pool: a list in the order of its keys, and a B+tree that finds
// places in it.
//
//   pages     [ . . ]                         the first 8 bytes of keys, which decide nearly always, and nodes
//            /       \.
//         [ . . . ] [ . . ]
//          |  |  |   |  |
//   nodes  a->b->c-->d->e                     stay where they are until they are removed
//
// For private writes, and for a group's values: an empty one is a few zeroed words, a few entries have no pages (they are
// looked through), and a million find their place with a few cache misses. Pages that are full split in the middle, or behind their last entry if the new one comes after it, so keys
// that come in order fill them; those that are empty go, and others are not joined.
#pragma once
#include "txn/pool.h"

typedef struct SortedNode SortedNode;
struct SortedNode {
    void *value;
    SortedNode *next;  // NULL at the end
    uint32_t key_len;
    uint8_t key[];
};

typedef struct SortedPage SortedPage;

typedef struct Sorted {
    SortedNode *first;
    SortedPage *root;  // NULL: none
    uint32_t height;   // of pages
    size_t count;
} Sorted;  // a zeroed Sorted is empty

static inline Bytes sorted_key(const SortedNode *node) {
    return BYTES(node->key, node->key_len);
}
// The first node whose key is at least `key`; NULL at the end.
SortedNode *sorted_seek(const Sorted *map, Bytes key);
SortedNode *sorted_find(const Sorted *map, Bytes key);  // exactly; NULL
// Add a key that is not there; it is copied. NULL when out of memory.
MUST_USE SortedNode *sorted_insert(Sorted *map, Pool *pool, Bytes key, void *value);
void sorted_remove(Sorted *map, Pool *pool, SortedNode *node);
// Forget everything; the memory goes back to the pool.
void sorted_clear(Sorted *map, Pool *pool);
