#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"

#define ARENA_ALIGN           16
#define ARENA_BLOCK_BYTES     4096
#define ARENA_BLOCK_BYTES_MAX (1u << 20)

struct ArenaBlock {
    ArenaBlock *older;
    size_t bytes;  // usable, behind this header
};

static_assert(sizeof(ArenaBlock) % ARENA_ALIGN == 0, "memory behind the header stays aligned");

static void block_enter(Arena *arena, ArenaBlock *block) {
    arena->block = block;
    arena->next = (uint8_t *)(block + 1);
    arena->end = arena->next + block->bytes;
}

void arena_deinit(Arena *arena) {
    for (ArenaBlock *block = arena->block; block;) {
        ArenaBlock *older = block->older;
        mem_free(block);
        block = older;
    }
    *arena = (Arena){0};
}

void arena_reset(Arena *arena) {
    arena->used_bytes = 0;
    if (!arena->block) return;
    if (LIKELY(!arena->block->older)) {
        block_enter(arena, arena->block);
        return;
    }
    ArenaBlock *largest = arena->block;
    for (ArenaBlock *block = arena->block; block; block = block->older) {
        if (block->bytes > largest->bytes) largest = block;
    }
    for (ArenaBlock *block = arena->block; block;) {
        ArenaBlock *older = block->older;
        if (block != largest) mem_free(block);
        block = older;
    }
    largest->older = NULL;
    block_enter(arena, largest);
}

static bool arena_grow(Arena *arena, size_t bytes) {
    size_t want = arena->block_bytes ? arena->block_bytes : ARENA_BLOCK_BYTES;
    arena->block_bytes = MIN(want * 2, (size_t)ARENA_BLOCK_BYTES_MAX);
    want = MAX(want, bytes);
    if (want > SIZE_MAX - sizeof(ArenaBlock)) return false;
    ArenaBlock *block = mem_alloc(sizeof(ArenaBlock) + want);
    if (!block) return false;
    block->older = arena->block;
    block->bytes = want;
    block_enter(arena, block);
    return true;
}

void *arena_alloc(Arena *arena, size_t bytes) {
    if (UNLIKELY(bytes > SIZE_MAX - ARENA_ALIGN)) return NULL;
    bytes = (bytes + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    if (UNLIKELY((size_t)(arena->end - arena->next) < bytes || !arena->block)) {
        if (!arena_grow(arena, bytes)) return NULL;
    }
    void *ptr = arena->next;
    arena->next += bytes;
    arena->used_bytes += bytes;
    return ptr;
}

void *arena_zalloc(Arena *arena, size_t bytes) {
    void *ptr = arena_alloc(arena, bytes);
    return ptr ? memset(ptr, 0, bytes) : NULL;
}

void *arena_zalloc_array(Arena *arena, size_t each, size_t count) {
    size_t bytes;
    if (__builtin_mul_overflow(each, count, &bytes)) return NULL;
    return arena_zalloc(arena, bytes);
}

Bytes arena_bytes(Arena *arena, Bytes bytes) {
    if (bytes.len == 0) return BYTES_NONE;
    uint8_t *copy = arena_alloc(arena, bytes.len);
    if (!copy) return BYTES_NONE;
    memcpy(copy, bytes.ptr, bytes.len);
    return (Bytes){copy, bytes.len};
}

Str arena_str(Arena *arena, Str str) {
    char *copy = arena_alloc(arena, str.len + 1);
    if (!copy) return STR_NONE;
    if (str.len) memcpy(copy, str.ptr, str.len);
    copy[str.len] = 0;
    return (Str){copy, str.len};
}

Str arena_printf(Arena *arena, const char *fmt, ...) {
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int need = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    Str out = STR_NONE;
    char *text = need < 0 ? NULL : arena_alloc(arena, (size_t)need + 1);
    if (text) {
        vsnprintf(text, (size_t)need + 1, fmt, again);
        out = (Str){text, (size_t)need};
    }
    va_end(again);
    return out;
}
