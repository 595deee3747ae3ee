// wasm-rt.h: stands in for wabt's header of that name when generated code is compiled (wabt 1.0.32).
//
// What wabt's runtime does with process-wide variables, allocation and its own signal handlers, the
// server does itself, behind GuestHost; rt/guest.c has the functions declared here.
#ifndef WASM_RT_H_
#define WASM_RT_H_

// All of the C library that generated code uses, before visibility is turned off: its functions are
// found in the library, everything else in this object.
#include <alloca.h>
#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "guest.h"

#pragma GCC visibility push(hidden)

#define UNLIKELY(x)         __builtin_expect(!!(x), 0)
#define LIKELY(x)           __builtin_expect(!!(x), 1)
#define wasm_rt_memcpy      __builtin_memcpy
#define wasm_rt_unreachable __builtin_unreachable

// Memory is guarded by its reservation; the stack by GuestHeader.stack_low.
#define WASM_RT_MEMCHECK_SIGNAL_HANDLER 1
#define WASM_RT_USE_STACK_DEPTH_COUNT   0

typedef enum {
    WASM_RT_TRAP_NONE = GUEST_TRAP_NONE,
    WASM_RT_TRAP_OOB = GUEST_TRAP_OOB,
    WASM_RT_TRAP_INT_OVERFLOW = GUEST_TRAP_INT_OVERFLOW,
    WASM_RT_TRAP_DIV_BY_ZERO = GUEST_TRAP_DIV_BY_ZERO,
    WASM_RT_TRAP_INVALID_CONVERSION = GUEST_TRAP_INVALID_CONVERSION,
    WASM_RT_TRAP_UNREACHABLE = GUEST_TRAP_UNREACHABLE,
    WASM_RT_TRAP_CALL_INDIRECT = GUEST_TRAP_CALL_INDIRECT,
    WASM_RT_TRAP_EXHAUSTION = GUEST_TRAP_EXHAUSTION,
} wasm_rt_trap_t;

typedef enum {
    WASM_RT_I32,
    WASM_RT_I64,
    WASM_RT_F32,
    WASM_RT_F64,
    WASM_RT_FUNCREF,
    WASM_RT_EXTERNREF,
} wasm_rt_type_t;

typedef void (*wasm_rt_function_ptr_t)(void);
typedef struct {
    uint32_t func_type;
    wasm_rt_function_ptr_t func;
    void *module_instance;
} wasm_rt_funcref_t;
static const wasm_rt_funcref_t wasm_rt_funcref_null_value = {0, NULL, NULL};
typedef void *wasm_rt_externref_t;
static const wasm_rt_externref_t wasm_rt_externref_null_value = NULL;

typedef GuestMemory wasm_rt_memory_t;
typedef struct {
    wasm_rt_funcref_t *data;
    uint32_t max_size, size;
} wasm_rt_funcref_table_t;
typedef struct {
    wasm_rt_externref_t *data;
    uint32_t max_size, size;
} wasm_rt_externref_table_t;

__attribute__((noreturn)) void wasm_rt_trap(wasm_rt_trap_t code);
uint32_t wasm_rt_register_func_type(uint32_t params, uint32_t results, ...);
void wasm_rt_allocate_memory(wasm_rt_memory_t *memory, uint32_t pages, uint32_t max_pages);
uint32_t wasm_rt_grow_memory(wasm_rt_memory_t *memory, uint32_t pages);
void wasm_rt_free_memory(wasm_rt_memory_t *memory);
void wasm_rt_allocate_funcref_table(wasm_rt_funcref_table_t *table, uint32_t size, uint32_t max);
void wasm_rt_free_funcref_table(wasm_rt_funcref_table_t *table);
void wasm_rt_allocate_externref_table(wasm_rt_externref_table_t *table,
                                      uint32_t size,
                                      uint32_t max);
void wasm_rt_free_externref_table(wasm_rt_externref_table_t *table);
uint32_t wasm_rt_grow_funcref_table(wasm_rt_funcref_table_t *table,
                                    uint32_t delta,
                                    wasm_rt_funcref_t init);
uint32_t wasm_rt_grow_externref_table(wasm_rt_externref_table_t *table,
                                      uint32_t delta,
                                      wasm_rt_externref_t init);

// In place of wasm2c's FUNC_PROLOGUE: too deep is a trap long before the thread's stack ends, and
// leaves the server's functions room to run. The register is read, never written.
#if defined(__x86_64__)
register uintptr_t guest_sp __asm__("rsp");
#elif defined(__aarch64__)
register uintptr_t guest_sp __asm__("sp");
#else
#error "name this machine's stack pointer here"
#endif
#define GUEST_PROLOGUE                                                                    \
    if (UNLIKELY(guest_sp < ((const GuestHeader *)(const void *)instance)[-1].stack_low)) \
    wasm_rt_trap(WASM_RT_TRAP_EXHAUSTION)

#endif
