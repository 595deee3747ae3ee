// Any bytes are a module or refused; what is read can be rewritten, and reads the same again.
#include "host/wasm/binary.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static Diag diag;
    Arena arena = {0};
    WasmBinary binary, again;
    Buf rewritten = {0};
    if (wasm_binary_read(BYTES(data, size), &arena, &binary, &diag) == OK) {
        if (!wasm_function_names(binary.names, binary.func_count, &arena)) abort();
        wasm_binary_rewrite(&binary, &rewritten);
        // Its own exports are gone, which is found out last.
        Err err = wasm_binary_read(buf_bytes(&rewritten), &arena, &again, &diag);
        if (err != ERR_INVALID || again.func_count != binary.func_count) abort();
        for (uint32_t i = 0; i < binary.preinit_count; i++)
            if (binary.preinits[i].func >= binary.func_count) abort();
    } else if (!diag.text[0]) {
        abort();
    }
    buf_deinit(&rewritten);
    arena_deinit(&arena);
    return 0;
}
