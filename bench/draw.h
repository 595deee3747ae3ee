// draw.h: random accounts, uniform or by Zipf's law, each draw in constant time.
//
// Zipf's law gives rank k a weight of 1 / k^s. The alias method (Walker, Vose) cuts the weights
// into n columns of equal height with at most two ranks in each: a draw picks a column, then one of
// its two.
#pragma once
#include <math.h>

#include "base/mem.h"

typedef struct Draw {
    uint64_t state;
    uint32_t count;
    double *keep;     // NULL: uniform. How much of column i is i's own
    uint32_t *alias;  // whose the rest is
} Draw;

static inline uint64_t draw_u64(Draw *draw) {  // splitmix64
    uint64_t z = draw->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline uint32_t draw_next(Draw *draw) {
    uint64_t bits = draw_u64(draw);
    uint32_t column = (uint32_t)((bits >> 32) * draw->count >> 32);
    if (!draw->keep) return column;
    double height = (double)(uint32_t)bits / 4294967296.0;
    return height < draw->keep[column] ? column : draw->alias[column];
}

static inline void draw_columns(Draw *draw, uint32_t *small, uint32_t *large) {
    uint32_t small_count = 0, large_count = 0;
    for (uint32_t i = 0; i < draw->count; i++)
        if (draw->keep[i] < 1) {
            small[small_count++] = i;
        } else {
            large[large_count++] = i;
        }
    while (small_count && large_count) {
        uint32_t low = small[--small_count], high = large[large_count - 1];
        draw->alias[low] = high;
        draw->keep[high] -= 1 - draw->keep[low];
        if (draw->keep[high] >= 1) continue;
        large_count--;
        small[small_count++] = high;
    }
    while (large_count)  // what is left is full, but for rounding
        draw->keep[large[--large_count]] = 1;
    while (small_count)
        draw->keep[small[--small_count]] = 1;
}

// False: out of memory. exponent 0 is uniform.
static inline bool draw_init(Draw *draw, uint64_t seed, uint32_t count, double exponent) {
    *draw = (Draw){.state = seed, .count = count};
    if (exponent == 0) return true;
    draw->keep = mem_alloc(count * sizeof *draw->keep);
    draw->alias = mem_zalloc(count * sizeof *draw->alias);
    uint32_t *small = mem_alloc(count * sizeof *small);
    uint32_t *large = mem_alloc(count * sizeof *large);
    bool ok = draw->keep && draw->alias && small && large;
    if (ok) {
        double sum = 0;
        for (uint32_t i = 0; i < count; i++)
            sum += draw->keep[i] = pow((double)i + 1, -exponent);
        for (uint32_t i = 0; i < count; i++)
            draw->keep[i] *= count / sum;
        draw_columns(draw, small, large);
    }
    mem_free(small);
    mem_free(large);
    return ok;
}

static inline void draw_deinit(Draw *draw) {
    mem_free(draw->keep);
    mem_free(draw->alias);
}
