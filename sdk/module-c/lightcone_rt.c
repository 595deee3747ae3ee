// lightcone_rt.c: what clang calls without being asked: memory functions and 128-bit arithmetic.
// A native build has them in its C library and compiler.
#ifdef __wasm__
#include "lightcone.h"

// A loop that clang may not turn into a call of itself.
#define PLAIN __attribute__((no_builtin))

PLAIN void *memcpy(void *restrict to, const void *restrict from, size_t len) {
    uint8_t *a = to;
    const uint8_t *b = from;
    for (; len >= 8; len -= 8, a += 8, b += 8) {
        uint64_t word;
        __builtin_memcpy(&word, b, 8);
        __builtin_memcpy(a, &word, 8);
    }
    for (; len > 0; len--)
        *a++ = *b++;
    return to;
}

PLAIN void *memmove(void *to, const void *from, size_t len) {
    uint8_t *a = to;
    const uint8_t *b = from;
    if (a <= b || a >= b + len) {
        for (size_t i = 0; i < len; i++)
            a[i] = b[i];
    } else {
        while (len-- > 0)
            a[len] = b[len];
    }
    return to;
}

PLAIN void *memset(void *at, int byte, size_t len) {
    uint8_t *a = at;
    uint64_t word = 0x0101010101010101u * (uint8_t)byte;
    for (; len >= 8; len -= 8, a += 8)
        __builtin_memcpy(a, &word, 8);
    for (; len > 0; len--)
        *a++ = (uint8_t)byte;
    return at;
}

PLAIN int memcmp(const void *a, const void *b, size_t len) {
    const uint8_t *x = a, *y = b;
    for (; len > 0; len--, x++, y++)
        if (*x != *y) return *x - *y;
    return 0;
}

PLAIN size_t strlen(const char *text) {
    size_t len = 0;
    while (text[len])
        len++;
    return len;
}

PLAIN int strcmp(const char *a, const char *b) {
    while (*a && *a == *b)
        a++, b++;
    return (uint8_t)*a - (uint8_t)*b;
}

// ── 128 bits ───────────────────────────────────────────────────────────────────────────────────

typedef union Wide {
    U128 all;
    struct {
        uint64_t low, high;
    };
} Wide;

I128 __multi3(I128 a, I128 b);
U128 __ashlti3(U128 value, int by);
U128 __lshrti3(U128 value, int by);
I128 __ashrti3(I128 value, int by);
U128 __udivti3(U128 a, U128 b);
U128 __umodti3(U128 a, U128 b);
I128 __divti3(I128 a, I128 b);
I128 __modti3(I128 a, I128 b);

// By halves of 32 bits, because a product of two 64-bit numbers is itself a call of __multi3.
static Wide product_64(uint64_t a, uint64_t b) {
    uint64_t a0 = (uint32_t)a, a1 = a >> 32, b0 = (uint32_t)b, b1 = b >> 32;
    uint64_t low = a0 * b0, middle = a1 * b0 + (low >> 32);
    uint64_t cross = a0 * b1 + (uint32_t)middle;
    Wide out;
    out.low = cross << 32 | (uint32_t)low;
    out.high = a1 * b1 + (middle >> 32) + (cross >> 32);
    return out;
}

I128 __multi3(I128 a, I128 b) {
    Wide x = {.all = (U128)a}, y = {.all = (U128)b};
    Wide out = product_64(x.low, y.low);
    out.high += x.low * y.high + x.high * y.low;
    return (I128)out.all;
}

U128 __ashlti3(U128 value, int by) {
    Wide v = {.all = value}, out = {.all = value};
    if (by >= 64) {
        out.high = v.low << (by - 64);
        out.low = 0;
    } else if (by > 0) {
        out.high = v.high << by | v.low >> (64 - by);
        out.low = v.low << by;
    }
    return out.all;
}

U128 __lshrti3(U128 value, int by) {
    Wide v = {.all = value}, out = {.all = value};
    if (by >= 64) {
        out.low = v.high >> (by - 64);
        out.high = 0;
    } else if (by > 0) {
        out.low = v.low >> by | v.high << (64 - by);
        out.high = v.high >> by;
    }
    return out.all;
}

I128 __ashrti3(I128 value, int by) {
    U128 v = (U128)value;
    return value < 0 ? (I128)~__lshrti3(~v, by) : (I128)__lshrti3(v, by);
}

// Bit by bit, as on paper. Dividing by zero traps, as the machine's own division does.
static U128 divide(U128 a, U128 b, U128 *rest) {
    U128 quotient = 0, remainder = 0;
    if (b == 0) __builtin_trap();
    for (int bit = 127; bit >= 0; bit--) {
        bool carry = remainder >> 127 != 0;
        remainder = remainder << 1 | (a >> bit & 1);
        if (carry || remainder >= b) {
            remainder -= b;
            quotient |= (U128)1 << bit;
        }
    }
    *rest = remainder;
    return quotient;
}

static U128 size_of(I128 value) {
    return value < 0 ? 0 - (U128)value : (U128)value;
}

U128 __udivti3(U128 a, U128 b) {
    U128 rest;
    return divide(a, b, &rest);
}

U128 __umodti3(U128 a, U128 b) {
    U128 rest;
    divide(a, b, &rest);
    return rest;
}

I128 __divti3(I128 a, I128 b) {
    U128 rest, quotient = divide(size_of(a), size_of(b), &rest);
    return (a < 0) != (b < 0) ? (I128)(0 - quotient) : (I128)quotient;
}

I128 __modti3(I128 a, I128 b) {
    U128 rest;
    divide(size_of(a), size_of(b), &rest);
    return a < 0 ? (I128)(0 - rest) : (I128)rest;
}
#endif
