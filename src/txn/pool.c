#include "txn/pool.h"

typedef struct PoolPiece {
    struct PoolPiece *next;
} PoolPiece;

static unsigned class_of(size_t bytes) {
    if (bytes <= (size_t)1 << POOL_CLASS_MIN) return POOL_CLASS_MIN;
    return 64 - (unsigned)__builtin_clzll(bytes - 1);
}

void *pool_alloc(Pool *pool, size_t bytes) {
    unsigned class = class_of(bytes);
    PoolPiece *piece = pool->free[class];
    if (!piece) return arena_alloc(&pool->arena, (size_t)1 << class);
    pool->free[class] = piece->next;
    return piece;
}

void pool_give(Pool *pool, void *piece, size_t bytes) {
    PoolPiece *given = piece;
    unsigned class = class_of(bytes);
    given->next = pool->free[class];
    pool->free[class] = given;
}

size_t pool_room(size_t bytes) {
    return (size_t)1 << class_of(bytes);
}

size_t pool_bytes(const Pool *pool) {
    return pool->arena.used_bytes;
}

void pool_deinit(Pool *pool) {
    arena_deinit(&pool->arena);
    *pool = (Pool){0};
}
