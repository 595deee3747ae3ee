// mem.h: the one door to the heap, so that a test can make the n-th allocation fail.
//
// mem_* behave like malloc and friends. In production they cost one predictable branch on top of
// the allocator the binary is linked with (mimalloc in release builds).
#pragma once
#include "base/base.h"

MUST_USE void *mem_alloc(size_t bytes);               // uninitialised; NULL when out of memory
MUST_USE void *mem_zalloc(size_t bytes);              // zeroed
MUST_USE void *mem_realloc(void *ptr, size_t bytes);  // NULL leaves ptr as it was
void mem_free(void *ptr);                             // harmless on NULL

#define MEM_NEW(type) ((type *)mem_zalloc(sizeof(type)))

// Tests only: let `countdown` allocations of this thread succeed and fail the next one. -1 turns
// it off. mem_fault_hit() tells whether a failure was delivered since it was armed.
void mem_fault_arm(int64_t countdown);
bool mem_fault_hit(void);
