// binary.h: what the server reads of a wasm module before anything is compiled or run.
//
// wasm2c validates a module completely; this reader decides whether it is one that we run (versions,
// imports, exports, features, in words that a person understands), and writes the module that wasm2c
// is given: without names and custom sections, with exports named by us. Text of a stranger's choosing
// never reaches the C compiler (wasm2c 1.0.32 copies export names into comments as they are).
#pragma once
#include "base/arena.h"
#include "base/bytes.h"

typedef enum WasmExport {
    WASM_INITIALIZE,
    WASM_SETUP,
    WASM_DESCRIBE,
    WASM_REDUCER,
    WASM_PROCEDURE,
    WASM_VIEW,
    WASM_VIEW_ANON,
    WASM_HTTP,
    WASM_EXPORTS
} WasmExport;

#define WASM_PREINIT   "__preinit__"
#define WASM_NO_FUNC   UINT32_MAX
#define WASM_TYPES_MAX 10000  // of functions in one module
#define WASM_LOCALS    50000  // of one function; what engines agree on
#define WASM_PAGE      65536u

typedef struct WasmPreinit {
    Str name;  // whole: "__preinit__20_…"
    uint32_t func;
} WasmPreinit;

// Everything borrows from the program's bytes or lives in the arena.
typedef struct WasmBinary {
    Bytes program;
    Str *types;  // as in rt/guest.h: "il>i"; f, d: floats, r, e: references
    uint32_t type_count;
    uint32_t *func_types;  // by function index: imports first
    uint32_t func_count, import_count;
    uint32_t minors;  // bit n: something is imported from spacetime_10.n
    uint32_t memories;
    uint64_t memory_pages;
    uint32_t exports[WASM_EXPORTS];  // function indexes; WASM_NO_FUNC: absent
    WasmPreinit *preinits;           // in the order they are called
    uint32_t preinit_count;
    bool starts;  // has a start function
    Bytes names;  // the name section's content
} WasmBinary;

const char *wasm_export_name(WasmExport which);

// Read `program` and refuse what this server does not run.
//   ERR_INVALID      malformed, or not a module of this ABI; diag says it in the spec's words (§1.2, §1.14)
//   ERR_UNSUPPORTED  it needs a feature that the engine lacks; diag names it
MUST_USE Err wasm_binary_read(Bytes program, Arena *arena, WasmBinary *out, Diag *diag);

// The module for wasm2c: exports are `memory` and `e<function index>` for every function in exports[]
// and preinits[].
void wasm_binary_rewrite(const WasmBinary *binary, Buf *out);

// Names of functions by index, func_count of them, in the arena; ptr NULL where there is none. NULL
// when out of memory. The bytes are borrowed.
Str *wasm_function_names(Bytes names, uint32_t func_count, Arena *arena);
