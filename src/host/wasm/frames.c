// frames.c: the functions a guest is in, by name, for panics and traps.
#include <execinfo.h>
#include <stdio.h>

#include "host/wasm/wasm.h"

enum { ADDRESSES_MAX = 256 };

uint32_t guest_frames(const WasmInstance *w, Str *out, uint32_t max) {
    void *addresses[ADDRESSES_MAX];
    int depth = backtrace(addresses, ADDRESSES_MAX);
    uint32_t count = 0;
    for (int i = 0; i < depth && count < max; i++) {
        // A return address is behind its call, perhaps behind its function.
        uint32_t func = wasm_object_func(&w->program->object, (uintptr_t)addresses[i] - 1);
        if (func == WASM_NO_FUNC || func >= w->program->func_count) continue;
        Str name = w->program->names[func];
        out[count++] = name.ptr ? name : STR("<wasm function>");
    }
    return count;
}
