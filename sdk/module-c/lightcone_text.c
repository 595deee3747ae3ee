// lightcone_text.c: text until the call ends: slices, comparing, hexadecimal, and a small printf.
#include "lightcone.h"

#define LC_SIZE_NONE SIZE_MAX

String lc_string(const char *c_string) {
    return (String){c_string, strlen(c_string)};
}

bool lc_string_eq(String a, String b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

int lc_string_cmp(String a, String b) {
    size_t shorter = a.len < b.len ? a.len : b.len;
    int order = shorter ? memcmp(a.ptr, b.ptr, shorter) : 0;
    if (order != 0) return order;
    return a.len < b.len ? -1 : a.len > b.len;
}

bool lc_string_starts(String text, String prefix) {
    return text.len >= prefix.len && (prefix.len == 0 || !memcmp(text.ptr, prefix.ptr, prefix.len));
}

bool lc_string_ends(String text, String suffix) {
    return text.len >= suffix.len &&
           lc_string_eq(lc_string_slice(text, text.len - suffix.len, text.len), suffix);
}

String lc_string_slice(String text, size_t from, size_t to) {
    if (to > text.len) to = text.len;
    if (from > to) from = to;
    return (String){text.ptr + from, to - from};
}

static bool is_white(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

String lc_string_trim(String text) {
    while (text.len > 0 && is_white(text.ptr[text.len - 1]))
        text.len--;
    while (text.len > 0 && is_white(text.ptr[0]))
        text = (String){text.ptr + 1, text.len - 1};
    return text;
}

size_t lc_string_find(String text, String part) {
    for (size_t at = 0; at + part.len <= text.len; at++)
        if (part.len == 0 || memcmp(text.ptr + at, part.ptr, part.len) == 0) return at;
    return LC_SIZE_NONE;
}

size_t lc_string_chars(String text) {
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++)
        count += ((uint8_t)text.ptr[i] & 0xc0) != 0x80;  // not a continuation byte
    return count;
}

// ── hexadecimal: the most significant first, as identities are printed everywhere ──────────────

static String hex_reversed(const uint8_t *le, size_t len) {
    static const char digits[] = "0123456789abcdef";
    char *text = lc_alloc(len * 2 + 1);
    for (size_t i = 0; i < len; i++) {
        text[2 * i] = digits[le[len - 1 - i] >> 4];
        text[2 * i + 1] = digits[le[len - 1 - i] & 15];
    }
    return (String){text, len * 2};
}

bool lc_identity_eq(Identity a, Identity b) {
    return memcmp(&a, &b, sizeof a) == 0;
}

bool lc_identity_is_zero(Identity identity) {
    return lc_identity_eq(identity, (Identity){0});
}

String lc_identity_hex(Identity identity) {
    return hex_reversed((const uint8_t *)&identity, sizeof identity);
}

String lc_connection_hex(ConnectionId connection) {
    return hex_reversed((const uint8_t *)&connection, sizeof connection);
}

// ── printf ─────────────────────────────────────────────────────────────────────────────────────
// One conversion is a Spec. Text is written into an array of chars that grows in the arena.

typedef struct Text {
    char *items;
    size_t len, cap;
} Text;

typedef struct Spec {
    bool left, zero, plus, space, alternate;
    int width;
    int precision;  // -1: none
    int size;       // 0 int, 1 long, 2 long long, 3 size_t, -1 short, -2 char
    char conversion;
} Spec;

static void put_char(Text *out, char c) {
    lc_push(out, c);
}

static void put_repeat(Text *out, char c, int count) {
    for (; count > 0; count--)
        put_char(out, c);
}

static void put_chars(Text *out, const char *text, size_t len) {
    for (size_t i = 0; i < len; i++)
        put_char(out, text[i]);
}

// `sign` (or 0x), zeros up to the precision, digits; padded to the width.
static void put_number(Text *out,
                       const Spec *spec,
                       const char *sign,
                       const char *digits,
                       size_t digit_count) {
    int zeros = spec->precision > (int)digit_count ? spec->precision - (int)digit_count : 0;
    int used = (int)strlen(sign) + zeros + (int)digit_count;
    int pad = spec->width > used ? spec->width - used : 0;
    bool pad_zero = spec->zero && !spec->left && spec->precision < 0;
    if (!spec->left && !pad_zero) put_repeat(out, ' ', pad);
    put_chars(out, sign, strlen(sign));
    if (pad_zero) put_repeat(out, '0', pad);
    put_repeat(out, '0', zeros);
    put_chars(out, digits, digit_count);
    if (spec->left) put_repeat(out, ' ', pad);
}

static size_t digits_of(uint64_t value, unsigned base, bool upper, char room[24]) {
    const char *set = upper ? "0123456789ABCDEF" : "0123456789abcdef";
    char reversed[24];
    size_t count = 0;
    do
        reversed[count++] = set[value % base];
    while ((value /= base) != 0);
    for (size_t i = 0; i < count; i++)
        room[i] = reversed[count - 1 - i];
    return count;
}

static const char *sign_of(const Spec *spec, bool negative) {
    return negative ? "-" : spec->plus ? "+" : spec->space ? " " : "";
}

static void put_signed(Text *out, const Spec *spec, int64_t value) {
    char digits[24];
    uint64_t size = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    put_number(out, spec, sign_of(spec, value < 0), digits, digits_of(size, 10, false, digits));
}

static void put_unsigned(Text *out, const Spec *spec, uint64_t value) {
    char digits[24];
    bool hex = spec->conversion == 'x' || spec->conversion == 'X' || spec->conversion == 'p';
    unsigned base = hex ? 16 : spec->conversion == 'o' ? 8 : 10;
    bool marked = spec->conversion == 'p' || (spec->alternate && hex && value);
    size_t count = digits_of(value, base, spec->conversion == 'X', digits);
    put_number(out, spec, marked ? spec->conversion == 'X' ? "0X" : "0x" : "", digits, count);
}

// Up to 9 digits behind the point, rounded half away from zero; beyond 2^63, an exponent is missing
// and the text is "huge". Enough for a log.
static void put_float(Text *out, Spec spec, double value) {
    if (value != value) {
        put_number(out,
                   &(Spec){.width = spec.width, .left = spec.left, .precision = -1},
                   "",
                   "nan",
                   3);
        return;
    }
    bool negative = value < 0;
    double size = negative ? -value : value;
    if (size >= 9.2e18) {
        bool infinite = size > 1.7976931348623157e308;
        spec = (Spec){.width = spec.width, .left = spec.left, .precision = -1};
        put_number(out,
                   &spec,
                   sign_of(&spec, negative),
                   infinite ? "inf" : "huge",
                   infinite ? 3 : 4);
        return;
    }
    int places = spec.precision < 0 ? 6 : spec.precision > 9 ? 9 : spec.precision;
    uint64_t scale = 1;
    for (int i = 0; i < places; i++)
        scale *= 10;
    uint64_t whole = (uint64_t)size;
    uint64_t part = (uint64_t)((size - (double)whole) * (double)scale + 0.5);
    if (part >= scale) {
        whole++;
        part -= scale;
    }
    char digits[48];
    size_t count = digits_of(whole, 10, false, digits);
    if (places > 0) {
        char behind[24];
        size_t some = digits_of(part, 10, false, behind);
        digits[count++] = '.';
        for (size_t i = some; i < (size_t)places; i++)
            digits[count++] = '0';
        memcpy(digits + count, behind, some);
        count += some;
    }
    spec.precision = -1;
    put_number(out, &spec, sign_of(&spec, negative), digits, count);
}

static void put_text(Text *out, const Spec *spec, const char *text) {
    size_t len = 0, most = spec->precision < 0 ? SIZE_MAX : (size_t)spec->precision;
    if (!text) text = "(null)";
    while (len < most && text[len])
        len++;
    int pad = spec->width > (int)len ? spec->width - (int)len : 0;
    if (!spec->left) put_repeat(out, ' ', pad);
    put_chars(out, text, len);
    if (spec->left) put_repeat(out, ' ', pad);
}

static bool flag_set(Spec *spec, char c) {
    switch (c) {
    case '-': return spec->left = true;
    case '0': return spec->zero = true;
    case '+': return spec->plus = true;
    case ' ': return spec->space = true;
    case '#': return spec->alternate = true;
    default: return false;
    }
}

static const char *size_read(Spec *spec, const char *at) {
    for (;; at++) {
        if (*at == 'l')
            spec->size++;
        else if (*at == 'h')
            spec->size--;
        else if (*at == 'z' || *at == 't')
            spec->size = 3;
        else if (*at == 'j')
            spec->size = 2;
        else
            return at;
    }
}

typedef struct Arguments {
    va_list list;  // in a struct, because a va_list parameter may decay
} Arguments;

static const char *number_read(const char *at, int *out, Arguments *arguments) {
    if (*at == '*') {
        *out = va_arg(arguments->list, int);
        return at + 1;
    }
    for (*out = 0; *at >= '0' && *at <= '9'; at++)
        if (*out < 100000) *out = *out * 10 + (*at - '0');
    return at;
}

// `at` is behind the '%'; returns where the conversion letter is.
static const char *spec_read(Spec *spec, const char *at, Arguments *arguments) {
    *spec = (Spec){.precision = -1};
    while (flag_set(spec, *at))
        at++;
    at = number_read(at, &spec->width, arguments);
    if (spec->width < 0) {
        spec->left = true;
        spec->width = -spec->width;
    }
    if (*at == '.') at = number_read(at + 1, &spec->precision, arguments);
    at = size_read(spec, at);
    spec->conversion = *at;
    return at;
}

static int64_t signed_next(const Spec *spec, Arguments *arguments) {
    switch (spec->size) {
    case 3: return va_arg(arguments->list, ptrdiff_t);
    case 2: return va_arg(arguments->list, long long);
    case 1: return va_arg(arguments->list, long);
    case -1: return (short)va_arg(arguments->list, int);
    case -2: return (signed char)va_arg(arguments->list, int);
    default: return va_arg(arguments->list, int);
    }
}

static uint64_t unsigned_next(const Spec *spec, Arguments *arguments) {
    switch (spec->size) {
    case 3: return va_arg(arguments->list, size_t);
    case 2: return va_arg(arguments->list, unsigned long long);
    case 1: return va_arg(arguments->list, unsigned long);
    case -1: return (unsigned short)va_arg(arguments->list, unsigned);
    case -2: return (unsigned char)va_arg(arguments->list, unsigned);
    default: return va_arg(arguments->list, unsigned);
    }
}

static void put_conversion(Text *out, const Spec *spec, Arguments *arguments) {
    switch (spec->conversion) {
    case 'd':
    case 'i': put_signed(out, spec, signed_next(spec, arguments)); return;
    case 'u':
    case 'x':
    case 'X':
    case 'o': put_unsigned(out, spec, unsigned_next(spec, arguments)); return;
    case 'p': put_unsigned(out, spec, (uint64_t)(uintptr_t)va_arg(arguments->list, void *)); return;
    case 'c': put_char(out, (char)va_arg(arguments->list, int)); return;
    case 's': put_text(out, spec, va_arg(arguments->list, const char *)); return;
    case 'f':
    case 'F':
    case 'g':
    case 'e': put_float(out, *spec, va_arg(arguments->list, double)); return;
    default: put_char(out, spec->conversion); return;  // %% and what is not known
    }
}

String lc_vformat(const char *format, va_list list) {
    Text out = {0};
    Arguments arguments;
    va_copy(arguments.list, list);
    for (const char *at = format; *at; at++) {
        Spec spec;
        if (*at != '%') {
            put_char(&out, *at);
            continue;
        }
        at = spec_read(&spec, at + 1, &arguments);
        if (!*at) break;
        put_conversion(&out, &spec, &arguments);
    }
    va_end(arguments.list);
    put_char(&out, 0);
    return (String){out.items, out.len - 1};
}

String lc_format(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    String text = lc_vformat(format, arguments);
    va_end(arguments);
    return text;
}
