// accumulate.c: exact sums.
//
// PICTURE
//   double = mantissa * 2^exponent;  the sum is one number of 2272 bits in digits of 32:
//
//     digit 0 = 2^-1152 …   … digit 36 = 2^0 …   … digit 70 = 2^1088
//
//   A digit is 64 bits wide, so that a billion additions need no carry. (Malcolm's accumulator, in
//   the size that doubles need.)
#include "query/accumulate.h"

#include <math.h>

#include "base/mem.h"

enum {
    DIGITS = 71,
    DIGIT_BITS = 32,
    LOWEST = -1152,         // exponent of the lowest bit, below 2^-1126 of a denormal's 53 bits
    CARRY_AFTER = 1 << 28,  // additions: each changes a digit by less than 2^33
};

struct ExactSum {
    int64_t digits[DIGITS];
    uint32_t additions;  // since the last carry
    uint64_t nans, infinite, minus_infinite;
};

size_t accumulator_float_bytes(void) {
    return sizeof(ExactSum);
}

void accumulator_deinit(Accumulator *acc) {
    mem_free(acc->floats);
    *acc = (Accumulator){0};
}

// ── floats ─────────────────────────────────────────────────────────────────────────────────────

// Every digit but the last into [0, 2^32); the last carries the sign.
static void carry(int64_t *digits) {
    for (uint32_t i = 0; i + 1 < DIGITS; i++) {
        int64_t up = digits[i] >> DIGIT_BITS;
        digits[i] -= up * ((int64_t)1 << DIGIT_BITS);
        digits[i + 1] += up;
    }
}

static void exact_add(ExactSum *sum, double value, int sign) {
    uint64_t by = (uint64_t)(int64_t)sign;
    if (isnan(value)) {
        sum->nans += by;
    } else if (isinf(value)) {
        *(value > 0 ? &sum->infinite : &sum->minus_infinite) += by;
    } else if (value != 0) {
        int exponent;
        int64_t mantissa = (int64_t)ldexp(frexp(value, &exponent), 53) * sign;
        uint32_t at = (uint32_t)(exponent - 53 - LOWEST);
        __int128 shifted = (__int128)mantissa * ((__int128)1 << (at % DIGIT_BITS));
        int64_t *digit = &sum->digits[at / DIGIT_BITS];
        for (uint32_t i = 0; i < 2; i++) {
            int64_t low = (int64_t)(shifted & UINT32_MAX);
            digit[i] += low;
            shifted = (shifted - low) / ((__int128)1 << DIGIT_BITS);
        }
        digit[2] += (int64_t)shifted;
        if (++sum->additions < CARRY_AFTER) return;
        carry(sum->digits);
        sum->additions = 0;
    }
}

static uint64_t top_bits(const int64_t *digits, int top, int *exponent, bool *rest) {
    // The highest three digits hold at least 65 bits below the leading one.
    unsigned __int128 bits = 0;
    for (int i = top; i > top - 3; i--)
        bits = bits << DIGIT_BITS | (uint64_t)(i >= 0 ? digits[i] : 0);
    *rest = false;
    for (int i = top - 3; i >= 0; i--)
        *rest = *rest || digits[i] != 0;
    *exponent = LOWEST + (top - 2) * DIGIT_BITS;
    while (bits >> 64) {
        *rest = *rest || (bits & 1);
        bits >>= 1;
        ++*exponent;
    }
    return (uint64_t)bits;
}

// Round half to even, at the bit where a double of this size ends.
static double rounded(uint64_t bits, int exponent, bool rest) {
    int width = 64 - __builtin_clzll(bits);
    int cut = MAX(width - 53, -1074 - exponent);
    if (cut > 0 && cut <= 64) {
        uint64_t half = (uint64_t)1 << (cut - 1);
        uint64_t below = cut == 64 ? bits : bits & (2 * half - 1);
        uint64_t kept = cut == 64 ? 0 : bits >> cut;
        bool up = below > half || (below == half && (rest || (kept & 1)));
        return ldexp((double)(kept + up), exponent + cut);
    }
    return cut > 64 ? 0 : ldexp((double)bits, exponent);
}

static double exact_value(const ExactSum *sum) {
    if (sum->nans || (sum->infinite && sum->minus_infinite)) return NAN;
    if (sum->infinite) return INFINITY;
    if (sum->minus_infinite) return -INFINITY;
    int64_t digits[DIGITS];
    memcpy(digits, sum->digits, sizeof digits);
    carry(digits);
    bool negative = digits[DIGITS - 1] < 0;
    for (uint32_t i = 0; negative && i < DIGITS; i++)
        digits[i] = -digits[i];
    carry(digits);
    int top = DIGITS - 1;
    while (top >= 0 && digits[top] == 0) {
        top--;
    }
    if (top < 0) return 0;
    int exponent;
    bool rest;
    uint64_t bits = top_bits(digits, top, &exponent, &rest);
    double value = rounded(bits, exponent, rest);
    return negative ? -value : value;
}

static bool is_float(const Type *type) {
    return type->kind == TYPE_F32 || type->kind == TYPE_F64;
}

static double float_of(const Type *type, const uint8_t *value) {
    float narrow;
    double wide;
    if (type->kind == TYPE_F64) {
        memcpy(&wide, value, sizeof wide);
        return wide;
    }
    memcpy(&narrow, value, sizeof narrow);
    return narrow;
}

// ── integers ───────────────────────────────────────────────────────────────────────────────────

typedef struct Wide {
    unsigned __int128 low;
    int64_t high;
} Wide;

static Wide wide_of(const Type *type, const uint8_t *value) {
    __int128 wide;
    switch (type->kind) {
    case TYPE_I8: wide = (int8_t)value[0]; break;
    case TYPE_U8: wide = value[0]; break;
    case TYPE_I16: wide = (int16_t)load_u16(value); break;
    case TYPE_U16: wide = load_u16(value); break;
    case TYPE_I32: wide = (int32_t)load_u32(value); break;
    case TYPE_U32: wide = load_u32(value); break;
    case TYPE_I64: wide = (int64_t)load_u64(value); break;
    case TYPE_U64: wide = load_u64(value); break;
    default: memcpy(&wide, value, sizeof wide); break;
    }
    bool negative = wide < 0 && type->kind != TYPE_U128;
    return (Wide){(unsigned __int128)wide, negative ? -1 : 0};
}

static void wide_add(Accumulator *acc, Wide by) {
    acc->low += by.low;
    acc->high += by.high + (acc->low < by.low);
}

static Wide wide_negated(Wide w) {
    return (Wide){~w.low + 1, ~w.high + (w.low == 0)};
}

// ── both ───────────────────────────────────────────────────────────────────────────────────────

bool accumulator_add(Accumulator *acc, const Type *type, const uint8_t *value) {
    if (!is_float(type)) {
        wide_add(acc, wide_of(type, value));
    } else {
        if (!acc->floats && !(acc->floats = MEM_NEW(ExactSum))) return false;
        exact_add(acc->floats, float_of(type, value), 1);
    }
    acc->count++;
    return true;
}

void accumulator_remove(Accumulator *acc, const Type *type, const uint8_t *value) {
    if (is_float(type))
        exact_add(acc->floats, float_of(type, value), -1);
    else
        wide_add(acc, wide_negated(wide_of(type, value)));
    acc->count--;
}

static bool fits(const Accumulator *acc, const Type *sum) {
    bool top = acc->low >> 127;
    switch (sum->kind) {
    case TYPE_I64:
        return acc->high == 0 ? acc->low <= INT64_MAX
                              : acc->high == -1 && (__int128)acc->low >= INT64_MIN && top;
    case TYPE_U64: return acc->high == 0 && acc->low <= UINT64_MAX;
    case TYPE_I128: return acc->high == (top ? -1 : 0);
    default: return acc->high == 0;
    }
}

bool accumulator_sum(const Accumulator *acc, const Type *type, const Type *sum, Buf *out) {
    if (is_float(type)) {
        double value = acc->floats ? exact_value(acc->floats) : 0;
        buf_put(out, &value, sizeof value);
        return true;
    }
    if (!fits(acc, sum)) return false;
    buf_put(out, &acc->low, sum->fixed_size);
    return true;
}

double accumulator_average(const Accumulator *acc, const Type *type) {
    double count = (double)acc->count;
    if (is_float(type)) return exact_value(acc->floats) / count;
    bool negative = acc->high < 0;
    Wide w = {acc->low, acc->high};
    if (negative) w = wide_negated(w);
    double sum = ldexp((double)w.high, 128) + (double)w.low;
    return (negative ? -sum : sum) / count;
}
