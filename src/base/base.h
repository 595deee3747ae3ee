// base.h: the few words every other file uses. No types of the domain live here.
#pragma once
#include <assert.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MUST_USE                        __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, first)         __attribute__((format(printf, fmt, first)))
#define NORETURN                        __attribute__((noreturn))
#define LIKELY(x)                       __builtin_expect(!!(x), 1)
#define UNLIKELY(x)                     __builtin_expect(!!(x), 0)
#define ARRAY_LEN(a)                    (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)                       ((a) < (b) ? (a) : (b))
#define MAX(a, b)                       ((a) > (b) ? (a) : (b))
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

// What only our own mistake could make false. Stays on in release: stopping beats going on with
// a wrong state. Prints the expression, the place, and base_operation() if one was set.
#define ASSERT(cond)  (LIKELY(cond) ? (void)0 : base_assert_failed(#cond, __FILE__, __LINE__))
#define UNREACHABLE() base_assert_failed("unreachable", __FILE__, __LINE__)

// Expensive checks, on in tests and simulation (-DLC_DEBUG=1).
#if defined(LC_DEBUG) && LC_DEBUG
#define DEBUG_ASSERT(cond) ASSERT(cond)
#else
#define DEBUG_ASSERT(cond) ((void)0)
#endif

NORETURN void base_assert_failed(const char *cond, const char *file, int line);

// Name what this thread is doing, for the message of a failed assertion. `what` is borrowed and
// must stay valid until the next call; NULL clears it.
void base_operation(const char *what);
