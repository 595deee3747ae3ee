// code.h: which instructions a module uses.
#pragma once
#include "host/wasm/binary.h"
#include "host/wasm/reader.h"

// Walk the code section and refuse, by name, what wasm2c cannot translate.
MUST_USE Err wasm_code_check(WasmReader *section, const WasmBinary *binary, Diag *diag);

// Skip one constant expression, `end` included; same refusals.
MUST_USE Err wasm_constant_skip(WasmReader *r, Diag *diag);

// Append a value type's letter ('i', 'l', 'f', 'd', 'r', 'e') as in WasmBinary.types.
MUST_USE Err wasm_value_type(WasmReader *r, char *out, Diag *diag);

Err wasm_malformed(Diag *diag);
Err wasm_feature(Diag *diag, const char *feature);
