// json_number.h: numbers as text and back; what json_write.c and json_read.c share.
#pragma once
#include "base/bytes.h"

typedef unsigned __int128 U128;

static inline U128 u128_load(const uint8_t *le) {
    return (U128)load_u64(le + 8) << 64 | load_u64(le);
}
static inline void u128_store(uint8_t *le, U128 v) {
    store_u64(le, (uint64_t)v);
    store_u64(le + 8, (uint64_t)(v >> 64));
}

void number_put_u128(Buf *out, U128 v);  // decimal
// "0x…" without leading zeros, "-0x…" for a negative number if signed; no quotes.
void number_put_256(Buf *out, const uint8_t le[32], bool is_signed);
// The shortest decimal that reads back as the same number, as "1.0", "0.1", "1e16"; null when it
// is not a number of JSON.
void number_put_f64(Buf *out, double v);
void number_put_f32(Buf *out, float v);

// Decimal digits only. False when the value does not fit 128 bits.
bool number_read_u128(Str digits, U128 *out);
// Optional sign, 0x, digits; false when it is not that or does not fit.
bool number_read_256(Str text, bool is_signed, uint8_t le[32]);
// A JSON number token; terminated by anything that cannot be part of a number. False if infinite.
bool number_read_f64(const char *terminated, double *out);
bool number_read_f32(const char *terminated, float *out);
