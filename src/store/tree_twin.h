// tree_twin.h: for tests only: the slow, obvious twin of a tree (a sorted array of owned pairs),
// and a small random generator.
#pragma once
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"

typedef struct TwinPair {
    Bytes key, value;  // owned
} TwinPair;

typedef struct Twin {
    TwinPair *pairs;
    size_t count, cap;
} Twin;

static inline Bytes twin_own(Bytes bytes) {
    uint8_t *copy = malloc(bytes.len + 1);
    ASSERT(copy);
    if (bytes.len) memcpy(copy, bytes.ptr, bytes.len);
    return (Bytes){copy, bytes.len};
}

// The first pair >= key.
static inline size_t twin_search(const Twin *twin, Bytes key, bool *found) {
    size_t low = 0, high = twin->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (bytes_cmp(twin->pairs[middle].key, key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *found = low < twin->count && bytes_eq(twin->pairs[low].key, key);
    return low;
}

static inline void twin_put(Twin *twin, Bytes key, Bytes value) {
    bool found;
    size_t at = twin_search(twin, key, &found);
    if (found) {
        free((void *)twin->pairs[at].value.ptr);
        twin->pairs[at].value = twin_own(value);
        return;
    }
    if (twin->count == twin->cap) {
        twin->cap = twin->cap * 2 + 16;
        twin->pairs = realloc(twin->pairs, twin->cap * sizeof(TwinPair));
        ASSERT(twin->pairs);
    }
    memmove(twin->pairs + at + 1, twin->pairs + at, (twin->count - at) * sizeof(TwinPair));
    twin->pairs[at] = (TwinPair){twin_own(key), twin_own(value)};
    twin->count++;
}

static inline void twin_remove_at(Twin *twin, size_t at) {
    free((void *)twin->pairs[at].key.ptr);
    free((void *)twin->pairs[at].value.ptr);
    twin->count--;
    memmove(twin->pairs + at, twin->pairs + at + 1, (twin->count - at) * sizeof(TwinPair));
}

static inline void twin_clear(Twin *twin) {
    while (twin->count) {
        twin_remove_at(twin, twin->count - 1);
    }
    free(twin->pairs);
    *twin = (Twin){0};
}

static inline Twin twin_copy(const Twin *twin) {
    Twin copy = {.cap = twin->count, .count = twin->count};
    copy.pairs = malloc(sizeof(TwinPair) * (twin->count + 1));
    ASSERT(copy.pairs);
    for (size_t i = 0; i < twin->count; i++) {
        copy.pairs[i] = (TwinPair){twin_own(twin->pairs[i].key), twin_own(twin->pairs[i].value)};
    }
    return copy;
}

typedef struct Random {
    uint64_t state;
} Random;

static inline uint64_t random_next(Random *random) {  // splitmix64 (Vigna, public domain)
    uint64_t z = random->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}
static inline uint64_t random_below(Random *random, uint64_t limit) {
    return random_next(random) % limit;
}
// The seed of a random test: SEED from the environment, or a fixed one.
static inline Random random_seeded(const char *what, uint64_t fallback) {
    const char *seed = getenv("SEED");
    Random random = {seed ? strtoull(seed, NULL, 10) : fallback};
    fprintf(stderr, "%s: SEED=%llu\n", what, (unsigned long long)random.state);
    return random;
}
