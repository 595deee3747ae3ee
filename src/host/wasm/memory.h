// memory.h: the address space of linear memories.
//
// PICTURE   [ committed: read and write ][ PROT_NONE … 8 GiB and a page ]
//           ^ address 0 of the module     ^ a 32-bit address plus a 32-bit offset ends here at most
//
// Generated code checks no address: what is not committed faults (stop.c). Reservations are kept
// after use, because making one costs more than emptying one.
#pragma once
#include "base/bytes.h"

typedef struct WasmMemory {
    uint8_t *base;  // NULL: none
    size_t committed;
} WasmMemory;

#define WASM_RESERVED (((size_t)8 << 30) + 65536)

// Zeroed memory of that many bytes (whole pages). False: the system gives no more.
MUST_USE bool wasm_memory_take(size_t bytes, WasmMemory *out);
MUST_USE bool wasm_memory_grow(WasmMemory *memory, size_t bytes);
void wasm_memory_give(WasmMemory *memory);  // its content is gone; harmless on none
