#include "txn/sorted.h"

// Where a key belongs: on each level the pointer that leads to the first node not before it.
static SortedNode **descend(const Sorted *map, Bytes key, SortedNode **path[]) {
    SortedNode **from = ((Sorted *)map)->first;
    for (int level = SORTED_HEIGHT_MAX - 1; level >= 0; level--) {
        while (from[level] && bytes_cmp(sorted_key(from[level]), key) < 0) {
            from = from[level]->next;
        }
        if (path) path[level] = &from[level];
    }
    return from;
}

SortedNode *sorted_seek(const Sorted *map, Bytes key) {
    return map->count ? *descend(map, key, NULL) : NULL;
}

SortedNode *sorted_find(const Sorted *map, Bytes key) {
    SortedNode *node = sorted_seek(map, key);
    return node && bytes_eq(sorted_key(node), key) ? node : NULL;
}

static uint32_t height_draw(Sorted *map) {
    map->random = map->random * 6364136223846793005u + 1442695040888963407u;
    uint32_t height = 1;
    for (uint64_t bits = map->random >> 33; height < SORTED_HEIGHT_MAX && bits % 4 == 0;
         bits /= 4) {
        height++;
    }
    return height;
}

static size_t node_bytes(uint32_t height, size_t key_len) {
    return sizeof(SortedNode) + height * sizeof(SortedNode *) + key_len;
}

SortedNode *sorted_insert(Sorted *map, Pool *pool, Bytes key, void *value) {
    SortedNode **path[SORTED_HEIGHT_MAX];
    uint32_t height = height_draw(map);
    SortedNode *node = pool_alloc(pool, node_bytes(height, key.len));
    if (!node) return NULL;
    node->value = value;
    node->key_len = key.len;
    node->height = height;
    if (key.len) memcpy(&node->next[height], key.ptr, key.len);
    descend(map, key, path);
    for (uint32_t level = 0; level < height; level++) {
        node->next[level] = *path[level];
        *path[level] = node;
    }
    map->count++;
    return node;
}

void sorted_remove(Sorted *map, Pool *pool, SortedNode *node) {
    SortedNode **path[SORTED_HEIGHT_MAX];
    descend(map, sorted_key(node), path);
    for (uint32_t level = 0; level < node->height; level++) {
        ASSERT(*path[level] == node);
        *path[level] = node->next[level];
    }
    map->count--;
    pool_give(pool, node, node_bytes(node->height, node->key_len));
}

void sorted_clear(Sorted *map, Pool *pool) {
    for (SortedNode *node = map->first[0]; node;) {
        SortedNode *next = node->next[0];
        pool_give(pool, node, node_bytes(node->height, node->key_len));
        node = next;
    }
    *map = (Sorted){.random = map->random};
}
