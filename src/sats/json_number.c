// json_number.c: numbers as text. JSON parsers go through a double; 128-bit numbers must not.
//
// The shortest decimal of a float is found with the C library, which rounds correctly: print with
// growing precision until the text reads back as the same number. A number that came from a
// decimal of at most 15 digits (6 for F32) gets that decimal back at once, by the definition of
// DBL_DIG; only subnormal numbers, which have fewer bits, must begin with one digit. The program
// runs in the C locale, so the decimal point is a point.
#include "sats/json_number.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

void number_put_u128(Buf *out, U128 v) {
    char digits[40];
    size_t at = sizeof digits;
    for (; v > UINT64_MAX; v /= 10) {
        digits[--at] = (char)('0' + (unsigned)(v % 10));
    }
    uint64_t low = (uint64_t)v;  // the usual case, without divisions of 128 bits
    do {
        digits[--at] = (char)('0' + low % 10);
        low /= 10;
    } while (low != 0);
    buf_put(out, digits + at, sizeof digits - at);
}

static void negate_256(uint8_t le[32]) {
    unsigned carry = 1;
    for (size_t i = 0; i < 32; i++) {
        carry += (uint8_t)~le[i];
        le[i] = (uint8_t)carry;
        carry >>= 8;
    }
}

void number_put_256(Buf *out, const uint8_t le[32], bool is_signed) {
    uint8_t magnitude[32], be[32];
    memcpy(magnitude, le, sizeof magnitude);
    bool negative = is_signed && le[31] & 0x80;
    if (negative) negate_256(magnitude);
    for (size_t i = 0; i < 32; i++) {
        be[i] = magnitude[31 - i];
    }
    char hex[64];
    hex_write(hex, BYTES(be, sizeof be));
    size_t zeros = 0;
    while (zeros < sizeof hex - 1 && hex[zeros] == '0')
        zeros++;
    buf_put_str(out, negative ? STR("-0x") : STR("0x"));
    buf_put(out, hex + zeros, sizeof hex - zeros);
}

// A positive decimal number d.ddd · 10^exponent, the digits without trailing zeros.
typedef struct Decimal {
    char digits[20];
    int count;
    int exponent;
} Decimal;

static void decimal_trim(Decimal *d) {
    while (d->count > 1 && d->digits[d->count - 1] == '0')
        d->count--;
}

// `v` correctly rounded to so many digits.
static Decimal decimal_of(double v, int digits) {
    char text[40];
    snprintf(text, sizeof text, "%.*e", digits - 1, v);
    Decimal d = {.digits = {text[0]}, .count = 1};
    char *p = text + 1;
    if (digits > 1) p++;  // the point
    for (; *p != 'e'; p++) {
        d.digits[d.count++] = *p;
    }
    d.exponent = atoi(p + 1);
    return d;
}

// The next larger number of as many digits.
static Decimal decimal_next(Decimal d) {
    for (int i = d.count - 1; i >= 0; i--) {
        if (d.digits[i]++ != '9') return d;
        d.digits[i] = '0';
    }
    d.digits[0] = '1';  // 9.99 -> 10.0
    d.exponent++;
    return d;
}

static bool decimal_is(const Decimal *d, double v, bool is_f32) {
    char text[40];
    snprintf(text,
             sizeof text,
             "%c.%.*se%d",
             d->digits[0],
             d->count - 1,
             d->digits + 1,
             d->exponent);
    return is_f32 ? strtof(text, NULL) == (float)v : strtod(text, NULL) == v;
}

static Decimal decimal_shortest(double v, bool is_f32) {
    bool subnormal = v < (is_f32 ? (double)FLT_MIN : DBL_MIN);
    int sure = is_f32 ? FLT_DIG : DBL_DIG, most = is_f32 ? FLT_DECIMAL_DIG : DBL_DECIMAL_DIG;
    Decimal d = {0};
    for (int digits = subnormal ? 1 : sure; digits <= most; digits++) {
        d = decimal_of(v, digits);
        if (decimal_is(&d, v, is_f32)) break;
        // Just above a power of two the numbers are twice as far apart as below it, so the
        // nearest decimal, below, may miss while the next one, above, hits.
        Decimal above = decimal_next(d);
        if (decimal_is(&above, v, is_f32)) {
            d = above;
            break;
        }
    }
    decimal_trim(&d);
    return d;
}

// Plain notation up to `plain_max` digits before the point and `zeros_max` zeros behind it.
static void decimal_put(Buf *out, const Decimal *d, int plain_max, int zeros_max) {
    int point = d->exponent + 1;  // digits before the point
    const char *digits = d->digits;
    if (point > plain_max || point <= -zeros_max) {
        buf_put(out, digits, 1);
        if (d->count > 1) buf_printf(out, ".%.*s", d->count - 1, digits + 1);
        buf_printf(out, "e%d", d->exponent);
    } else if (point <= 0) {
        buf_printf(out, "0.%.*s%.*s", -point, "00000000", d->count, digits);
    } else if (point >= d->count) {
        buf_printf(out, "%.*s%.*s.0", d->count, digits, point - d->count, "0000000000000000");
    } else {
        buf_printf(out, "%.*s.%.*s", point, digits, d->count - point, digits + point);
    }
}

static void put_float(Buf *out, double v, bool is_f32) {
    if (!isfinite(v)) {
        buf_put_str(out, STR("null"));
        return;
    }
    if (signbit(v)) buf_put_u8(out, '-');
    v = fabs(v);
    if (v == 0) {
        buf_put_str(out, STR("0.0"));
        return;
    }
    Decimal d = decimal_shortest(v, is_f32);
    decimal_put(out, &d, is_f32 ? 13 : 16, is_f32 ? 6 : 5);
}

void number_put_f64(Buf *out, double v) {
    put_float(out, v, false);
}

void number_put_f32(Buf *out, float v) {
    put_float(out, (double)v, true);
}

bool number_read_u128(Str digits, U128 *out) {
    U128 v = 0;
    for (size_t i = 0; i < digits.len; i++) {
        unsigned digit = (unsigned)(digits.ptr[i] - '0');
        if (__builtin_mul_overflow(v, (U128)10, &v)) return false;
        if (__builtin_add_overflow(v, (U128)digit, &v)) return false;
    }
    *out = v;
    return true;
}

bool number_read_256(Str text, bool is_signed, uint8_t le[32]) {
    bool negative = false;
    if (text.len && (text.ptr[0] == '+' || (is_signed && text.ptr[0] == '-'))) {
        negative = text.ptr[0] == '-';
        text = (Str){text.ptr + 1, text.len - 1};
    }
    if (text.len < 3 || text.ptr[0] != '0' || text.ptr[1] != 'x') return false;
    text = (Str){text.ptr + 2, text.len - 2};
    while (text.len > 1 && text.ptr[0] == '0')
        text = (Str){text.ptr + 1, text.len - 1};
    if (text.len > 64) return false;

    char padded[64];
    uint8_t be[32];
    memset(padded, '0', sizeof padded);
    memcpy(padded + sizeof padded - text.len, text.ptr, text.len);
    if (!hex_read((Str){padded, sizeof padded}, be)) return false;
    for (size_t i = 0; i < 32; i++) {
        le[i] = be[31 - i];
    }
    if (negative) negate_256(le);
    bool is_zero = text.len == 1 && text.ptr[0] == '0';
    return !is_signed || is_zero || (le[31] >> 7 == 1) == negative;
}

bool number_read_f64(const char *terminated, double *out) {
    *out = strtod(terminated, NULL);
    return isfinite(*out);
}

bool number_read_f32(const char *terminated, float *out) {
    *out = strtof(terminated, NULL);
    return isfinite(*out);
}
