// compile.h: from a wasm module to a shared object, with wasm2c and the system's C compiler.
#pragma once
#include "host/wasm/binary.h"

// What the object depends on beside the program: our runtime, the flags and the versions of the
// tools. Asks the tools once per process. ERR_UNSUPPORTED: one is not installed.
MUST_USE Err wasm_compile_identity(Str *out, Diag *diag);

// Compile into *object, the bytes of a shared object. `quick`: compile fast rather than well. The work is
// done in a directory in `place` (NULL: TMPDIR), which only a crash leaves behind.
MUST_USE Err
wasm_compile(const WasmBinary *binary, bool quick, const char *place, Buf *object, Diag *diag);
