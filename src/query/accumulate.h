// accumulate.h: COUNT, SUM and AVG of values that come and, where somebody watches, go again. Exact, so
// that the order does not matter: what was added one by one and partly taken back is what a fresh sum
// of the rest is. In particular sums of floats are the true sum, rounded once.
#pragma once
#include "sats/type.h"

typedef struct ExactSum ExactSum;

typedef struct Accumulator {
    uint64_t count;  // of values
    // Of integers: 192 bits, two's complement; a count of 64 bits cannot make it overflow.
    unsigned __int128 low;
    int64_t high;
    ExactSum *floats;  // of floats; NULL: none yet
} Accumulator;         // a zeroed one is empty

void accumulator_deinit(Accumulator *acc);
// Values of a column whose SUM has a type. False: out of memory, nothing changed.
MUST_USE bool accumulator_add(Accumulator *acc, const Type *type, const uint8_t *value);
void accumulator_remove(Accumulator *acc, const Type *type, const uint8_t *value);  // was added
// Append the sum as a value of `sum`. False: it is too large for that, and nothing was appended.
MUST_USE bool accumulator_sum(const Accumulator *acc, const Type *type, const Type *sum, Buf *out);
double accumulator_average(const Accumulator *acc, const Type *type);  // count > 0
// Bytes that a sum of floats takes beside the Accumulator.
size_t accumulator_float_bytes(void);
