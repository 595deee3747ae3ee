// literal.c: the text of a literal as a value of the type it meets (spec §1.7).
//
// A literal has no type of its own: `'5'`, `5` and `0x5` are the same text to a U32 column. Numbers
// are read exactly: a decimal mantissa and an exponent become an integer of up to 256 bits or are
// refused; nothing passes through a double but what is to become one.
#include <stdlib.h>

#include "base/mem.h"
#include "query/sql.h"

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

// ── decimal numbers ────────────────────────────────────────────────────────────────────────────

enum { EXPONENT_MAX = 100000 };  // saturates here: far beyond any type, no overflow in sums

typedef struct Decimal {  // (-1)^negative * digits * 10^exponent
    bool negative;
    Str whole, fraction;  // digits before and behind the point
    int64_t exponent;     // as written
} Decimal;

static Str take_digits(Str *text) {
    Str digits = {text->ptr, 0};
    while (digits.len < text->len && is_digit(text->ptr[digits.len])) {
        digits.len++;
    }
    text->ptr += digits.len;
    text->len -= digits.len;
    return digits;
}

static bool take_char(Str *text, char a, char b) {
    if (text->len == 0 || (text->ptr[0] != a && text->ptr[0] != b)) return false;
    text->ptr++;
    text->len--;
    return true;
}

static bool decimal_read(Str text, Decimal *out) {
    *out = (Decimal){0};
    out->negative = text.len > 0 && text.ptr[0] == '-';
    take_char(&text, '-', '+');
    out->whole = take_digits(&text);
    if (take_char(&text, '.', '.')) out->fraction = take_digits(&text);
    if (out->whole.len + out->fraction.len == 0) return false;
    if (take_char(&text, 'e', 'E')) {
        bool down = text.len > 0 && text.ptr[0] == '-';
        take_char(&text, '-', '+');
        Str digits = take_digits(&text);
        if (digits.len == 0) return false;
        for (size_t i = 0; i < digits.len && out->exponent < EXPONENT_MAX; i++) {
            out->exponent = out->exponent * 10 + (digits.ptr[i] - '0');
        }
        if (down) out->exponent = -out->exponent;
    }
    return text.len == 0;
}

// 256 bits and a limb to notice that they were exceeded.
typedef struct Wide {
    uint64_t limb[5];
} Wide;

static bool wide_push_digit(Wide *n, unsigned digit) {
    unsigned __int128 carry = digit;
    for (int i = 0; i < 5; i++) {
        carry += (unsigned __int128)n->limb[i] * 10;
        n->limb[i] = (uint64_t)carry;
        carry >>= 64;
    }
    return n->limb[4] == 0;
}

// The digits with the exponent applied: false unless the number is an integer below 2^256.
static bool decimal_integer(const Decimal *d, Wide *out) {
    *out = (Wide){0};
    if (d->exponent > 90 || d->exponent < -90) return false;
    int64_t count = (int64_t)d->whole.len + (int64_t)d->fraction.len;
    int64_t integral = (int64_t)d->whole.len + d->exponent;  // digits before the moved point
    for (int64_t i = 0; i < MAX(count, integral); i++) {
        char digit = '0';
        if (i < (int64_t)d->whole.len)
            digit = d->whole.ptr[i];
        else if (i < count)
            digit = d->fraction.ptr[i - (int64_t)d->whole.len];
        if (i >= integral) {
            if (digit != '0') return false;  // something is left behind the point
        } else if (!wide_push_digit(out, (unsigned)(digit - '0'))) {
            return false;
        }
    }
    return true;
}

static bool wide_fits(const Wide *n, unsigned bits, bool is_signed, bool negative) {
    bool zero = (n->limb[0] | n->limb[1] | n->limb[2] | n->limb[3]) == 0;
    if (negative && !zero && !is_signed) return false;
    unsigned most = is_signed ? bits - 1 : bits;  // magnitude bits
    unsigned top = 0;                             // bits in use
    for (int i = 3; i >= 0 && top == 0; i--) {
        if (n->limb[i]) top = (unsigned)i * 64 + 64 - (unsigned)__builtin_clzll(n->limb[i]);
    }
    if (top <= most) return true;
    if (!negative || top != most + 1) return false;
    // -2^most is the one value with a bit more.
    for (unsigned i = 0; i < 4; i++) {
        if (n->limb[i] != (i == most / 64 ? 1ull << (most % 64) : 0)) return false;
    }
    return true;
}

static void wide_negate(Wide *n) {
    unsigned __int128 carry = 1;
    for (int i = 0; i < 5; i++) {
        carry += ~n->limb[i];
        n->limb[i] = (uint64_t)carry;
        carry >>= 64;
    }
}

static bool integer_literal(Str text, unsigned bits, bool is_signed, Buf *out) {
    Decimal d;
    Wide n;
    if (!decimal_read(text, &d) || !decimal_integer(&d, &n)) return false;
    if (!wide_fits(&n, bits, is_signed, d.negative)) return false;
    if (d.negative) wide_negate(&n);
    buf_put(out, n.limb, bits / 8);
    return true;
}

bool sql_literal_u64(Str text, uint64_t *out) {
    Decimal d;
    Wide n;
    if (!decimal_read(text, &d) || !decimal_integer(&d, &n)) return false;
    *out = n.limb[0];
    return wide_fits(&n, 64, false, d.negative);
}

// Overflow becomes an infinity, and -0 becomes 0 (§1.7). The C locale's point is the point: nobody
// here calls setlocale.
static bool float_literal(Str text, bool single, Buf *out) {
    Decimal d;
    if (!decimal_read(text, &d)) return false;
    char room[64], *copy = room;
    if (text.len >= sizeof room && !(copy = mem_alloc(text.len + 1))) {
        out->failed = true;
        return true;
    }
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = 0;
    if (single) {
        float f = strtof(copy, NULL);
        if (f == 0) f = 0;
        buf_put(out, &f, sizeof f);
    } else {
        double f = strtod(copy, NULL);
        if (f == 0) f = 0;
        buf_put(out, &f, sizeof f);
    }
    if (copy != room) mem_free(copy);
    return true;
}

// ── hexadecimal ────────────────────────────────────────────────────────────────────────────────

static Str without_0x(Str text) {
    if (!str_starts(text, STR("0x"))) return text;
    return (Str){text.ptr + 2, text.len - 2};
}

static bool bytes_literal(Str text, Buf *out) {
    text = without_0x(text);
    if (text.len % 2) return false;
    buf_put_u32(out, (uint32_t)(text.len / 2));
    uint8_t *room = buf_extend(out, text.len / 2);
    return !room || hex_read(text, room);
}

// Exactly `bytes` of digits, most significant first, as a little-endian number.
static bool number_from_hex(Str text, size_t bytes, Buf *out) {
    uint8_t big[32], little[32];
    ASSERT(bytes <= sizeof big);
    if (text.len != bytes * 2 || !hex_read(text, big)) return false;
    for (size_t i = 0; i < bytes; i++) {
        little[i] = big[bytes - 1 - i];
    }
    buf_put(out, little, bytes);
    return true;
}

// 8-4-4-4-12 digits, the same without hyphens, in braces, or behind urn:uuid:.
static bool uuid_literal(Str text, Buf *out) {
    static const size_t hyphens[] = {8, 13, 18, 23};
    if (str_starts(text, STR("urn:uuid:"))) {
        text = (Str){text.ptr + 9, text.len - 9};
    } else if (text.len >= 2 && text.ptr[0] == '{' && text.ptr[text.len - 1] == '}') {
        text = (Str){text.ptr + 1, text.len - 2};
    } else {
        text = without_0x(text);
    }
    if (text.len != 36) return number_from_hex(text, 16, out);
    char digits[32];
    size_t n = 0, hyphen = 0;
    for (size_t i = 0; i < 36; i++) {
        if (hyphen < 4 && i == hyphens[hyphen]) {
            if (text.ptr[i] != '-') return false;
            hyphen++;
        } else {
            digits[n++] = text.ptr[i];
        }
    }
    return number_from_hex((Str){digits, 32}, 16, out);
}

// ── time ───────────────────────────────────────────────────────────────────────────────────────

static bool take_number(Str *text, size_t digits, int64_t *out) {
    *out = 0;
    if (text->len < digits) return false;
    for (size_t i = 0; i < digits; i++) {
        if (!is_digit(text->ptr[i])) return false;
        *out = *out * 10 + (text->ptr[i] - '0');
    }
    text->ptr += digits;
    text->len -= digits;
    return true;
}

static bool is_leap(int64_t year) {
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int64_t days_in_month(int64_t year, int64_t month) {
    static const int64_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

// Days from 1970-01-01. Years begin in March, so that a leap day is the last day of its year.
static int64_t days_from_civil(int64_t year, int64_t month, int64_t day) {
    if (month <= 2) year--;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool take_fraction(Str *text, int64_t *micros) {
    *micros = 0;
    if (!take_char(text, '.', '.')) return true;
    Str digits = take_digits(text);
    for (size_t i = 0; i < 6; i++) {  // more than six are cut off
        *micros = *micros * 10 + (i < digits.len ? digits.ptr[i] - '0' : 0);
    }
    return digits.len > 0;
}

static bool take_zone(Str *text, int64_t *seconds) {
    *seconds = 0;
    if (take_char(text, 'Z', 'z')) return true;
    bool west = text->len > 0 && text->ptr[0] == '-';
    int64_t hours, minutes;
    if (!take_char(text, '+', '-') || !take_number(text, 2, &hours) || !take_char(text, ':', ':') ||
        !take_number(text, 2, &minutes) || hours > 23 || minutes > 59)
        return false;
    *seconds = (hours * 3600 + minutes * 60) * (west ? -1 : 1);
    return true;
}

// RFC 3339 with its zone; T, t or a space between date and time.
static bool timestamp_literal(Str text, Buf *out) {
    int64_t year, month, day, hour, minute, second, micros, zone;
    if (!take_number(&text, 4, &year) || !take_char(&text, '-', '-') ||
        !take_number(&text, 2, &month) || !take_char(&text, '-', '-') ||
        !take_number(&text, 2, &day))
        return false;
    if (!take_char(&text, 'T', 't') && !take_char(&text, ' ', ' ')) return false;
    if (!take_number(&text, 2, &hour) || !take_char(&text, ':', ':') ||
        !take_number(&text, 2, &minute) || !take_char(&text, ':', ':') ||
        !take_number(&text, 2, &second) || !take_fraction(&text, &micros) ||
        !take_zone(&text, &zone) || text.len > 0)
        return false;
    if (month < 1 || month > 12 || day < 1 || day > days_in_month(year, month)) return false;
    if (hour > 23 || minute > 59 || second > 60) return false;  // 60: a leap second
    int64_t days = days_from_civil(year, month, day);
    int64_t seconds = days * 86400 + hour * 3600 + minute * 60 + second - zone;
    buf_put_u64(out, (uint64_t)(seconds * 1000000 + micros));
    return true;
}

// ── by type ────────────────────────────────────────────────────────────────────────────────────

static bool special_literal(const Type *type, Str text, Buf *out) {
    switch (type->special) {
    case SPECIAL_BYTES: return bytes_literal(text, out);
    case SPECIAL_IDENTITY: return number_from_hex(without_0x(text), 32, out);
    case SPECIAL_CONNECTION_ID: return number_from_hex(without_0x(text), 16, out);
    case SPECIAL_UUID: return uuid_literal(text, out);
    case SPECIAL_TIMESTAMP: return timestamp_literal(text, out);
    default: return false;
    }
}

bool sql_literal(const Type *type, Str text, Buf *out) {
    switch (type->kind) {
    case TYPE_STRING: buf_put_lp(out, str_bytes(text)); return true;
    case TYPE_I8: return integer_literal(text, 8, true, out);
    case TYPE_U8: return integer_literal(text, 8, false, out);
    case TYPE_I16: return integer_literal(text, 16, true, out);
    case TYPE_U16: return integer_literal(text, 16, false, out);
    case TYPE_I32: return integer_literal(text, 32, true, out);
    case TYPE_U32: return integer_literal(text, 32, false, out);
    case TYPE_I64: return integer_literal(text, 64, true, out);
    case TYPE_U64: return integer_literal(text, 64, false, out);
    case TYPE_I128: return integer_literal(text, 128, true, out);
    case TYPE_U128: return integer_literal(text, 128, false, out);
    case TYPE_I256: return integer_literal(text, 256, true, out);
    case TYPE_U256: return integer_literal(text, 256, false, out);
    case TYPE_F32: return float_literal(text, true, out);
    case TYPE_F64: return float_literal(text, false, out);
    case TYPE_ARRAY:
    case TYPE_PRODUCT: return special_literal(type, text, out);
    case TYPE_BOOL:  // only the words TRUE and FALSE
    case TYPE_SUM:
    case TYPE_REF: return false;
    }
    UNREACHABLE();
}
