#include "base/mem.h"

#include <stdlib.h>

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
