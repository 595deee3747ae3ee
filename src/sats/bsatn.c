// bsatn.c: values as bytes: check, measure, compare, take apart.
//
// PICTURE
//   All integers little-endian, no padding, nothing describes itself:
//
//     Bool  00|01        I8..U256, F32, F64  their bytes
//     String             len:4 utf8
//     Array<T>           count:4, that many T
//     Product            the fields
//     Sum                tag:1, that variant's value
//
// ALWAYS TRUE
//   (1) bsatn_check is the only function here that may be given bytes of unknown origin. What it
//       accepted, all others walk without looking at an end.
//   (2) A checked value nests at most VALUE_DEPTH_MAX levels, so recursion over it is bounded.
//   (3) There is one encoding per value: equal bytes are equal values. The reverse fails only for
//       floats (-0 = +0, all NaN are one).
//
// CALLERS   wire and host check what comes in; store, query and live measure and compare.
// NOT HERE  keys (key.c), JSON (json*.c), row lists (rowlist.c), hand-written decoding (reader.c).
#include "sats/bsatn.h"

#include <math.h>

// Stands in for the missing address of an empty input, so that walking it is pointer arithmetic
// inside an object.
static const uint8_t nothing[1];

typedef struct Checker {
    const uint8_t *start, *at, *end;
    Diag *diag;
} Checker;

static Err short_of(Checker *c, const char *what, size_t need) {
    return diag_fail_at(c->diag,
                        ERR_MALFORMED,
                        (size_t)(c->at - c->start),
                        "data too short for %s: Expected %zu, given %zu",
                        what,
                        need,
                        (size_t)(c->end - c->at));
}

static Err too_deep(Checker *c) {
    return diag_fail_at(c->diag,
                        ERR_LIMIT,
                        (size_t)(c->at - c->start),
                        "a value is nested deeper than %d levels",
                        VALUE_DEPTH_MAX);
}

// As the decoder of the original reads them: by the integer that carries the bits.
static const char *carrier_name(TypeKind kind) {
    static const char *const names[] = {
        [TYPE_STRING] = "u32",
        [TYPE_BOOL] = "u8",
        [TYPE_I8] = "i8",
        [TYPE_U8] = "u8",
        [TYPE_I16] = "i16",
        [TYPE_U16] = "u16",
        [TYPE_I32] = "i32",
        [TYPE_U32] = "u32",
        [TYPE_I64] = "i64",
        [TYPE_U64] = "u64",
        [TYPE_I128] = "i128",
        [TYPE_U128] = "u128",
        [TYPE_I256] = "i256",
        [TYPE_U256] = "u256",
        [TYPE_F32] = "u32",
        [TYPE_F64] = "u64",
    };
    return names[kind];
}

static inline size_t left(const Checker *c) {
    return (size_t)(c->end - c->at);
}

static Err check_value(Checker *c, const Type *type, int depth);

static Err check_len(Checker *c, uint32_t *len) {
    if (left(c) < 4) return short_of(c, "u32", 4);
    *len = load_u32(c->at);
    c->at += 4;
    return OK;
}

static Err check_string(Checker *c) {
    uint32_t len = 0;
    Err err = check_len(c, &len);
    if (err != OK) return err;
    if (len > left(c)) return short_of(c, "[u8]", len);
    if (!utf8_valid((Bytes){c->at, len}))
        return diag_fail_at(c->diag, ERR_MALFORMED, (size_t)(c->at - c->start), "invalid utf8");
    c->at += len;
    return OK;
}

static Err check_bool(Checker *c) {
    if (left(c) < 1) return short_of(c, "u8", 1);
    if (*c->at > 1) {
        return diag_fail_at(c->diag,
                            ERR_MALFORMED,
                            (size_t)(c->at - c->start),
                            "byte %u not valid as `bool` (must be 0 or 1)",
                            *c->at);
    }
    c->at++;
    return OK;
}

static Err check_array(Checker *c, const Type *type, int depth) {
    const Type *element = type->element;
    uint32_t count = 0;
    Err err = check_len(c, &count);
    if (err != OK) return err;
    if (type->special == SPECIAL_BYTES) {
        if (count > left(c)) return short_of(c, "[u8]", count);
        c->at += count;
        return OK;
    }
    if (element->fixed_size == 0 && count > ARRAY_EMPTY_COUNT_MAX) {
        return diag_fail_at(c->diag,
                            ERR_LIMIT,
                            (size_t)(c->at - c->start) - 4,
                            "an array of %u elements that take no bytes: at most %d",
                            count,
                            ARRAY_EMPTY_COUNT_MAX);
    }
    // Any bits will do and all are there: nothing to look at.
    if (element->any_bits && depth + element->height <= VALUE_DEPTH_MAX &&
        (uint64_t)count * element->fixed_size <= left(c)) {
        c->at += (size_t)count * element->fixed_size;
        return OK;
    }
    for (uint32_t i = 0; i < count; i++) {
        if ((err = check_value(c, element, depth)) != OK) return err;
    }
    return OK;
}

static Err check_sum(Checker *c, const Type *type, int depth) {
    if (left(c) < 1) return short_of(c, "u8", 1);
    uint8_t tag = *c->at;
    if (tag >= type->field_count) {
        return diag_fail_at(c->diag,
                            ERR_MALFORMED,
                            (size_t)(c->at - c->start),
                            "unknown tag %#x for sum type <unknown>",
                            tag);
    }
    c->at++;
    return check_value(c, type->fields[tag].type, depth);
}

static Err check_product(Checker *c, const Type *type, int depth) {
    for (uint32_t i = 0; i < type->field_count; i++) {
        Err err = check_value(c, type->fields[i].type, depth);
        if (err != OK) return err;
    }
    return OK;
}

// `depth` composites stand around this value.
static Err check_value(Checker *c, const Type *type, int depth) {
    if (type->any_bits && type->fixed_size <= left(c) && depth + type->height <= VALUE_DEPTH_MAX) {
        c->at += type->fixed_size;
        return OK;
    }
    if (type->kind == TYPE_STRING) return check_string(c);
    if (type->kind == TYPE_BOOL) return check_bool(c);
    if (type->kind > TYPE_BOOL) return short_of(c, carrier_name(type->kind), type->fixed_size);
    if (depth + 1 > VALUE_DEPTH_MAX) return too_deep(c);
    switch (type->kind) {
    case TYPE_ARRAY: return check_array(c, type, depth + 1);
    case TYPE_SUM: return check_sum(c, type, depth + 1);
    case TYPE_PRODUCT: return check_product(c, type, depth + 1);
    default: UNREACHABLE();  // a reference: the type was not resolved
    }
}

Err bsatn_check(const Type *type, Bytes in, size_t *len, Diag *diag) {
    if (type->any_bits && type->fixed_size <= in.len && type->height <= VALUE_DEPTH_MAX) {
        *len = type->fixed_size;
        return OK;
    }
    const uint8_t *start = in.len ? in.ptr : nothing;
    Checker c = {.start = start, .at = start, .end = start + in.len, .diag = diag};
    Err err = check_value(&c, type, 0);
    if (err == OK) *len = (size_t)(c.at - c.start);
    return err;
}

static const uint8_t *skip(const Type *type, const uint8_t *p) {
    if (type->fixed_size != TYPE_SIZE_VARIES) return p + type->fixed_size;
    switch (type->kind) {
    case TYPE_STRING: return p + 4 + load_u32(p);
    case TYPE_PRODUCT:
        for (uint32_t i = 0; i < type->field_count; i++) {
            p = skip(type->fields[i].type, p);
        }
        return p;
    case TYPE_SUM: return skip(type->fields[*p].type, p + 1);
    case TYPE_ARRAY: {
        uint32_t count = load_u32(p);
        p += 4;
        if (type->element->fixed_size != TYPE_SIZE_VARIES)
            return p + (size_t)count * type->element->fixed_size;
        for (; count > 0; count--) {
            p = skip(type->element, p);
        }
        return p;
    }
    default: UNREACHABLE();
    }
}

size_t bsatn_len(const Type *type, const uint8_t *value) {
    return (size_t)(skip(type, value) - value);
}

// Order. Both cursors move past the values when these are equal; after a difference nobody looks.

#define COMPARE(x, y) ((x) < (y) ? -1 : (x) > (y))

// Integers of 1 to 8 bytes.
#define CMP_INT(name, ctype)                              \
    static int name(const uint8_t *a, const uint8_t *b) { \
        ctype x, y;                                       \
        memcpy(&x, a, sizeof x);                          \
        memcpy(&y, b, sizeof y);                          \
        return COMPARE(x, y);                             \
    }
CMP_INT(cmp_i8, int8_t)
CMP_INT(cmp_i16, int16_t)
CMP_INT(cmp_u16, uint16_t)
CMP_INT(cmp_i32, int32_t)
CMP_INT(cmp_u32, uint32_t)
CMP_INT(cmp_i64, int64_t)
CMP_INT(cmp_u64, uint64_t)
#undef CMP_INT

// Integers of several words: the most significant one carries the sign.
static int cmp_wide(const uint8_t *a, const uint8_t *b, size_t words, bool is_signed) {
    size_t top = (words - 1) * 8;
    int c = is_signed ? cmp_i64(a + top, b + top) : cmp_u64(a + top, b + top);
    for (size_t i = words - 1; c == 0 && i > 0; i--) {
        c = cmp_u64(a + (i - 1) * 8, b + (i - 1) * 8);
    }
    return c;
}

static int cmp_double(double x, double y) {
    if (isnan(x) || isnan(y)) return (isnan(x) != 0) - (isnan(y) != 0);
    return COMPARE(x, y);
}

static int cmp_float_bits(const Type *type, const uint8_t *a, const uint8_t *b) {
    if (type->kind == TYPE_F64) {
        double x, y;
        memcpy(&x, a, sizeof x);
        memcpy(&y, b, sizeof y);
        return cmp_double(x, y);
    }
    float x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return cmp_double((double)x, (double)y);
}

static int cmp_number(const Type *type, const uint8_t *a, const uint8_t *b) {
    switch (type->kind) {
    case TYPE_BOOL:
    case TYPE_U8: return COMPARE(*a, *b);
    case TYPE_I8: return cmp_i8(a, b);
    case TYPE_I16: return cmp_i16(a, b);
    case TYPE_U16: return cmp_u16(a, b);
    case TYPE_I32: return cmp_i32(a, b);
    case TYPE_U32: return cmp_u32(a, b);
    case TYPE_I64: return cmp_i64(a, b);
    case TYPE_U64: return cmp_u64(a, b);
    case TYPE_I128: return cmp_wide(a, b, 2, true);
    case TYPE_U128: return cmp_wide(a, b, 2, false);
    case TYPE_I256: return cmp_wide(a, b, 4, true);
    case TYPE_U256: return cmp_wide(a, b, 4, false);
    case TYPE_F32:
    case TYPE_F64: return cmp_float_bits(type, a, b);
    default: UNREACHABLE();
    }
}

static int cmp_value(const Type *type, const uint8_t **a, const uint8_t **b);

static int cmp_blob(const uint8_t **a, const uint8_t **b) {
    Bytes x = {*a + 4, load_u32(*a)}, y = {*b + 4, load_u32(*b)};
    *a += 4 + x.len;
    *b += 4 + y.len;
    return bytes_cmp(x, y);
}

static int cmp_array(const Type *element, const uint8_t **a, const uint8_t **b) {
    uint32_t x = load_u32(*a), y = load_u32(*b);
    *a += 4;
    *b += 4;
    for (uint32_t i = 0; i < MIN(x, y); i++) {
        int c = cmp_value(element, a, b);
        if (c != 0) return c;
    }
    return COMPARE(x, y);
}

static int cmp_value(const Type *type, const uint8_t **a, const uint8_t **b) {
    if (type->fixed_size == 0) return 0;
    switch (type->kind) {
    case TYPE_STRING: return cmp_blob(a, b);
    case TYPE_ARRAY:
        return type->special == SPECIAL_BYTES ? cmp_blob(a, b) : cmp_array(type->element, a, b);
    case TYPE_PRODUCT:
        for (uint32_t i = 0; i < type->field_count; i++) {
            int c = cmp_value(type->fields[i].type, a, b);
            if (c != 0) return c;
        }
        return 0;
    case TYPE_SUM: {
        uint8_t x = *(*a)++, y = *(*b)++;
        return x != y ? COMPARE(x, y) : cmp_value(type->fields[x].type, a, b);
    }
    default: {
        int c = cmp_number(type, *a, *b);
        *a += type->fixed_size;
        *b += type->fixed_size;
        return c;
    }
    }
}

int bsatn_cmp(const Type *type, const uint8_t *a, const uint8_t *b) {
    return cmp_value(type, &a, &b);
}

Err row_layout_init(RowLayout *layout, const Type *row_type, Arena *arena) {
    ASSERT(row_type->kind == TYPE_PRODUCT);
    uint32_t count = row_type->field_count;
    uint32_t *offsets = arena_array(arena, uint32_t, count);
    if (!offsets) return ERR_NOMEM;
    uint64_t at = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t size = row_type->fields[i].type->fixed_size;
        offsets[i] = at < TYPE_SIZE_VARIES ? (uint32_t)at : TYPE_SIZE_VARIES;
        at = at >= TYPE_SIZE_VARIES || size == TYPE_SIZE_VARIES ? TYPE_SIZE_VARIES : at + size;
    }
    *layout = (RowLayout){.row_type = row_type, .column_count = count, .fixed_offset = offsets};
    return OK;
}

Bytes row_column(const RowLayout *layout, Bytes row, uint32_t column) {
    DEBUG_ASSERT(column < layout->column_count);
    const TypeField *fields = layout->row_type->fields;
    uint32_t near = column;  // the closest column before it that begins at a known place
    while (layout->fixed_offset[near] == TYPE_SIZE_VARIES)
        near--;
    const uint8_t *p = (row.len ? row.ptr : nothing) + layout->fixed_offset[near];
    for (; near < column; near++) {
        p = skip(fields[near].type, p);
    }
    return (Bytes){p, bsatn_len(fields[column].type, p)};
}
