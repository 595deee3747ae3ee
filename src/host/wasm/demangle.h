// demangle.h: the names of functions as a Rust programmer wrote them.
//
// The name section of a module has what the linker was given, or what it made of that:
//
//   _ZN4core3ptr13drop_in_place17h0123456789abcdefE    the older form
//   core::ptr::drop_in_place::h0123456789abcdef        the same, undone by wasm-ld
//   _RNvNtCs1a2b_4core3ptr13drop_in_place              the newer form
//
// Each becomes core::ptr::drop_in_place. Of the newer form only the names are kept, in their order:
// what stands for lifetimes, basic types and repetitions is left out.
#pragma once
#include "base/bytes.h"

// Append the name to *out. False: it is none of these, nothing was appended.
bool wasm_demangle(Str name, Buf *out);
