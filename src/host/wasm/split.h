// split.h: cuts the C that wasm2c wrote into parts that compilers can work on side by side.
//
// wasm2c 1.0.32 writes one file in which everything is static. Out of it come one header (macros,
// helpers, declarations) and parts with about the same amount of functions each; the first also
// has the data and all that exists once. Its shape is that version's: another one is refused.
#pragma once
#include "base/bytes.h"

// `parts` has part_count Bufs, which receive C to follow `header`. ERR_UNSUPPORTED: not the C we know.
MUST_USE Err wasm_split(Bytes generated, Buf *header, Buf *parts, uint32_t part_count, Diag *diag);
