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

// What is large and goes again soon, an answer of megabytes, is had of the system itself: it grows without being
// copied (mremap(2)), and is the system's again at once when it is freed, on whichever thread. An allocator with
// a heap for each thread would keep it for that thread, which may have nothing to do for hours.
//
// From MEM_LARGE bytes on, and with the size that was asked for last: callers know it. Uninitialised.
#define MEM_LARGE ((size_t)1 << 20)
// A sanitizer watches what malloc gives: then it is malloc's.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MEM_IS_WATCHED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define MEM_IS_WATCHED 1
#endif
#endif
MUST_USE void *mem_large_alloc(size_t bytes);
MUST_USE void *mem_large_resize(void *ptr, size_t from, size_t to);  // NULL leaves ptr as it was
void mem_large_free(void *ptr, size_t bytes);

// Give back to the system what the calling thread's part of the allocator keeps for later and has no block in, as an
// empty page of each size of block: up to 14 MiB after blocks of all sizes. The first call of a thread only prepares that, and
// what was freed in the last 25 ms is for the next call. For a thread that may have nothing to do for long, or something else
// than so far; takes a microsecond where there is little, 0.1 ms a MiB. False: this allocator cannot.
bool mem_settle(void);

#define MEM_NEW(type) ((type *)mem_zalloc(sizeof(type)))

// Tests only: let `countdown` allocations of this thread succeed and fail the next one. -1 turns
// it off. mem_fault_hit() tells whether a failure was delivered since it was armed.
void mem_fault_arm(int64_t countdown);
bool mem_fault_hit(void);
