#define _GNU_SOURCE  // mremap
#include "base/mem.h"

#include <stdlib.h>
#include <sys/mman.h>

static _Thread_local int64_t fault_countdown = -1;
static _Thread_local bool fault_hit;

void mem_fault_arm(int64_t countdown) {
    fault_countdown = countdown;
    fault_hit = false;
}

bool mem_fault_hit(void) {
    return fault_hit;
}

static bool fault_due(void) {
    if (LIKELY(fault_countdown < 0)) return false;
    if (fault_countdown-- > 0) return false;
    fault_hit = true;
    return true;
}

void *mem_alloc(size_t bytes) {
    return fault_due() ? NULL : malloc(bytes ? bytes : 1);
}

void *mem_zalloc(size_t bytes) {
    return fault_due() ? NULL : calloc(1, bytes ? bytes : 1);
}

void *mem_realloc(void *ptr, size_t bytes) {
    return fault_due() ? NULL : realloc(ptr, bytes ? bytes : 1);
}

void mem_free(void *ptr) {
    free(ptr);
}

// mimalloc's. Weak, because the builds that a sanitizer watches have another allocator.
extern void mi_collect(bool force) __attribute__((weak));

// Pages without a block go back to their segment, which gives what it got to the system some milliseconds later; and
// it looks whether it is time only when it gets another (mimalloc 2.0, `decommit_delay`). So one is kept for next time:
// that of a block so large that hardly any other is in its page. A thread that ends leaves it.
#define KEPT_BYTES 200000

bool mem_settle(void) {
    static _Thread_local void *kept;
    if (!mi_collect) return false;
    free(kept);
    mi_collect(true);
    kept = malloc(KEPT_BYTES);
    return true;
}

// ── large blocks ───────────────────────────────────────────────────────────────────────────────

#ifdef MEM_IS_WATCHED

void *mem_large_alloc(size_t bytes) {
    ASSERT(bytes >= MEM_LARGE);
    return mem_alloc(bytes);
}

void *mem_large_resize(void *ptr, size_t from, size_t to) {
    ASSERT(from >= MEM_LARGE && to >= MEM_LARGE);
    return mem_realloc(ptr, to);
}

void mem_large_free(void *ptr, size_t bytes) {
    ASSERT(bytes >= MEM_LARGE);
    mem_free(ptr);
}

#else

static void *unless_failed(void *mapped) {
    return mapped == MAP_FAILED ? NULL : mapped;
}

void *mem_large_alloc(size_t bytes) {
    ASSERT(bytes >= MEM_LARGE);
    if (fault_due()) return NULL;
    return unless_failed(
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

void *mem_large_resize(void *ptr, size_t from, size_t to) {
    ASSERT(from >= MEM_LARGE && to >= MEM_LARGE);
    return fault_due() ? NULL : unless_failed(mremap(ptr, from, to, MREMAP_MAYMOVE));
}

void mem_large_free(void *ptr, size_t bytes) {
    ASSERT(bytes >= MEM_LARGE);
    munmap(ptr, bytes);
}

#endif
