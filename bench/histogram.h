// histogram.h: how long things took, to within 1.6 %, in a few kilobytes.
//
// A value falls into one of 64 equal parts of its power of two, so small and large values have the
// same relative precision; recording is a shift and an increment. Not thread-safe.
#pragma once
#include "base/base.h"

#define HISTOGRAM_PARTS_LOG2 6
#define HISTOGRAM_PARTS      (1u << HISTOGRAM_PARTS_LOG2)
#define HISTOGRAM_BUCKETS    (HISTOGRAM_PARTS * (64 - HISTOGRAM_PARTS_LOG2 + 1))

typedef struct Histogram {
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t total;
    uint64_t max;
} Histogram;

// Values below PARTS are their own bucket; above, the top PARTS_LOG2 + 1 bits choose one.
static inline uint32_t histogram_bucket(uint64_t value) {
    if (value < HISTOGRAM_PARTS) return (uint32_t)value;
    uint32_t shift = 63u - (uint32_t)__builtin_clzll(value) - HISTOGRAM_PARTS_LOG2;
    return (shift + 1) * HISTOGRAM_PARTS + (uint32_t)((value >> shift) - HISTOGRAM_PARTS);
}

// The largest value of a bucket.
static inline uint64_t histogram_bucket_end(uint32_t bucket) {
    if (bucket < HISTOGRAM_PARTS) return bucket;
    uint32_t shift = bucket / HISTOGRAM_PARTS - 1;
    uint64_t part = bucket % HISTOGRAM_PARTS + HISTOGRAM_PARTS + 1;
    return (part << shift) - 1;
}

static inline void histogram_add(Histogram *histogram, uint64_t value) {
    histogram->counts[histogram_bucket(value)]++;
    histogram->total++;
    if (value > histogram->max) histogram->max = value;
}

// The value that a share of all values does not exceed; share in 0..1. 0 when nothing was added.
static inline uint64_t histogram_at(const Histogram *histogram, double share) {
    uint64_t rank = (uint64_t)(share * (double)histogram->total), seen = 0;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->counts[i];
        if (seen > rank) return MIN(histogram_bucket_end(i), histogram->max);
    }
    return histogram->max;
}
