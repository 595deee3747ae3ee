// pool.h: an arena that takes pieces back, for structures that change often and end all at once.
//
// Pieces are powers of two; one that was given back is handed out again to the next who asks for its
// size. Ending the pool costs a free for each of the arena's blocks, not for each piece.
#pragma once
#include "base/arena.h"

enum { POOL_CLASS_MIN = 5, POOL_CLASSES = 64 };

typedef struct Pool {
    Arena arena;
    struct PoolPiece *free[POOL_CLASSES];
} Pool;  // a zeroed Pool is ready to use

MUST_USE void *pool_alloc(Pool *pool, size_t bytes);    // uninitialised, 16-byte aligned, or NULL
void pool_give(Pool *pool, void *piece, size_t bytes);  // `bytes` as asked for
size_t pool_room(size_t bytes);  // how much a piece of that size can really hold
size_t pool_bytes(const Pool *pool);
void pool_deinit(Pool *pool);
