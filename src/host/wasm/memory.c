// memory.c: see memory.h.
#define _GNU_SOURCE
#include "host/wasm/memory.h"

#include <pthread.h>
#include <sys/mman.h>

enum { KEPT_MAX = 16 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static WasmMemory kept[KEPT_MAX];  // all zeros
static int kept_count;

static bool kept_take(WasmMemory *out) {
    pthread_mutex_lock(&mutex);
    bool found = kept_count > 0;
    if (found) *out = kept[--kept_count];
    pthread_mutex_unlock(&mutex);
    return found;
}

static bool kept_give(const WasmMemory *memory) {
    pthread_mutex_lock(&mutex);
    bool room = kept_count < KEPT_MAX;
    if (room) kept[kept_count++] = *memory;
    pthread_mutex_unlock(&mutex);
    return room;
}

static bool reserve(WasmMemory *out) {
    void *base =
        mmap(NULL, WASM_RESERVED, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return false;
    // A huge page would be 2 MiB to clear and to keep for an instance that touches some kilobytes.
    madvise(base, WASM_RESERVED, MADV_NOHUGEPAGE);
    *out = (WasmMemory){.base = base};
    return true;
}

static bool commit(WasmMemory *memory, size_t bytes) {
    size_t from = MIN(memory->committed, bytes), to = MAX(memory->committed, bytes);
    int access = bytes > memory->committed ? PROT_READ | PROT_WRITE : PROT_NONE;
    if (to > from && mprotect(memory->base + from, to - from, access) != 0) return false;
    memory->committed = bytes;
    return true;
}

bool wasm_memory_take(size_t bytes, WasmMemory *out) {
    if (!kept_take(out) && !reserve(out)) return false;
    if (commit(out, bytes)) return true;
    wasm_memory_give(out);
    return false;
}

bool wasm_memory_grow(WasmMemory *memory, size_t bytes) {
    return commit(memory, bytes);
}

void wasm_memory_give(WasmMemory *memory) {
    if (!memory->base) return;
    bool empty = madvise(memory->base, memory->committed, MADV_DONTNEED) == 0;
    if (!empty || !kept_give(memory)) munmap(memory->base, WASM_RESERVED);
    *memory = (WasmMemory){0};
}
