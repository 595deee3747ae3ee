// value_gen_testing.h: random types and random values from a seed, for the property tests of every
// room. Nothing in the server calls it; the archive's linker leaves it out.
//
// The values are chosen to hurt: zero, one, the extremes, NaN, -0, empty and one-character texts
// over an alphabet with 0x00 and 0x01, so that equal values, prefixes and ties happen all the time.
#pragma once
#include "sats/bsatn.h"

typedef struct ValueGen {
    uint64_t state;
    bool json;  // only what JSON carries: finite floats
} ValueGen;

ValueGen value_gen(uint64_t seed);
uint64_t value_gen_u64(ValueGen *gen);
uint32_t value_gen_below(ValueGen *gen, uint32_t bound);  // 0 <= result < bound

// A type with values, nested at most `depth` levels, no references. Names are distinct within a
// type and never numbers. NULL when out of memory.
const Type *value_gen_type(ValueGen *gen, Arena *arena, uint32_t depth);
// A product of 1 to `columns_max` columns named c0, c1 …
const Type *value_gen_row_type(ValueGen *gen, Arena *arena, uint32_t columns_max, uint32_t depth);
// Append one value. Recursive types are fine as long as they have finite values.
void value_gen_value(ValueGen *gen, const Type *type, Buf *out);
