// arena.h: memory that ends with the thing it belongs to.
//
// An arena is a chain of blocks; allocating bumps a pointer, freeing frees all. It is named after
// the thing whose end frees it: `call->arena`, `txn->arena`, `def->arena`.
#pragma once
#include "base/bytes.h"

typedef struct ArenaBlock ArenaBlock;
typedef struct Arena {
    ArenaBlock *block;  // the newest, the one being filled
    uint8_t *next;
    uint8_t *end;
    size_t block_bytes;  // size of the next block; doubles up to 1 MiB
    size_t used_bytes;   // handed out since the last reset
} Arena;

void arena_deinit(Arena *arena);  // a zeroed Arena is ready to use
void arena_reset(Arena *arena);   // everything allocated is gone; keeps the largest block

MUST_USE void *arena_alloc(Arena *arena, size_t bytes);   // 16-byte aligned, uninitialised, or NULL
MUST_USE void *arena_zalloc(Arena *arena, size_t bytes);  // zeroed, or NULL
#define arena_new(arena, type)          ((type *)arena_zalloc((arena), sizeof(type)))
#define arena_array(arena, type, count) ((type *)arena_zalloc_array((arena), sizeof(type), (count)))
MUST_USE void *arena_zalloc_array(Arena *arena, size_t each, size_t count);  // NULL on overflow

// Copies. On failure ptr is NULL and, unless the source was empty, len is 0.
Bytes arena_bytes(Arena *arena, Bytes bytes);
Str arena_str(Arena *arena, Str str);  // terminated, so .ptr is a C string too
Str arena_printf(Arena *arena, const char *fmt, ...) PRINTF_LIKE(2, 3);
