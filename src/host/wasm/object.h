// object.h: a module as machine code: built by wasm2c and the C compiler, kept on disk, loaded.
#pragma once
#include "host/host.h"
#include "host/wasm/binary.h"
#include "host/wasm/rt/guest.h"

// Where a function's code is; a function may have several pieces.
typedef struct WasmCode {
    uint32_t offset, len;  // in the loaded object
    uint32_t func;
} WasmCode;

typedef struct WasmObject {
    void *handle;
    const GuestModule *module;
    uintptr_t base;
    WasmCode *codes;  // by offset
    size_t code_count;
    bool from_cache;
    int64_t compile_us;  // 0: from the cache
} WasmObject;

// Find the machine code of `binary` in options->cache_dir, or make it, and load it. Takes seconds for
// a large module; its compilers run as children of low priority.
//   ERR_UNSUPPORTED  the tools are not installed
//   ERR_INVALID      they refused the module; diag has their words
MUST_USE Err wasm_object_load(const WasmBinary *binary,
                              const HostLoadOptions *options,
                              WasmObject *out,
                              Diag *diag);
void wasm_object_unload(WasmObject *object);
// Remove what a crash left in the cache and objects that nothing has loaded for 30 days. Nothing may
// be using it.
void wasm_cache_clean(const char *path);

// The function whose code `address` is in; WASM_NO_FUNC: none of this object.
uint32_t wasm_object_func(const WasmObject *object, uintptr_t address);
