// key.c: values as bytes that memcmp can order.
//
// PICTURE (on disk in every tree: this never changes)
//
//   Bool, U8            the byte
//   U16 .. U256         most significant byte first
//   I8 .. I256          the same, with the sign bit flipped: -1 = 7f ff, 0 = 80 00, 1 = 80 01
//   F32, F64            -0 becomes +0 and every NaN becomes 7fc00000 (7ff8000000000000); then
//                       positive: the bits with the sign flipped; negative: all bits inverted;
//                       most significant byte first
//   String, Array<U8>   the bytes, 00 written 01 01 and 01 written 01 02; then 00
//   Array<T>            each element as 01 key; then 00
//   Array of elements   count:4, most significant byte first
//    that take no bytes
//   Product             the keys of its fields, one after another
//   Sum                 tag:1, the key of the payload
//
// ALWAYS TRUE
//   (1) memcmp(key(a), key(b)) has the sign of bsatn_cmp(a, b), for values of one type.
//   (2) No key is a proper prefix of another of its type: what has no fixed length ends in 00, and
//       where one text ends the other goes on with 01 or more. Hence keys can be concatenated and
//       the first columns of a key are a prefix to search by.
//
// Why one byte ends a text, not the usual 00 00: texts without 00 and 01 are nearly all there are,
// and each of their index entries is a byte shorter.
//
// CALLERS   store and txn make keys of rows; query and live make keys of literals and bounds.
#include "sats/key.h"

#define TEXT_END   0x00
#define TEXT_ESC   0x01
#define ARRAY_MORE 0x01
#define ARRAY_END  0x00

#define SIGN32 ((uint32_t)1 << 31)
#define SIGN64 ((uint64_t)1 << 63)

static uint32_t float_order(uint32_t bits) {
    if ((bits & ~SIGN32) > 0x7f800000) bits = 0x7fc00000;  // NaN
    if (bits == SIGN32) bits = 0;                          // -0
    return bits & SIGN32 ? ~bits : bits ^ SIGN32;
}

static uint64_t double_order(uint64_t bits) {
    if ((bits & ~SIGN64) > 0x7ff0000000000000) bits = 0x7ff8000000000000;
    if (bits == SIGN64) bits = 0;
    return bits & SIGN64 ? ~bits : bits ^ SIGN64;
}

// Two or four words; flip is the sign bit of the topmost one, or 0.
static inline void wide_key(uint8_t *p, const uint8_t *le, size_t words, uint64_t flip) {
    for (size_t i = words; i-- > 0; p += 8) {
        store_u64(p, __builtin_bswap64(load_u64(le + i * 8) ^ flip));
        flip = 0;
    }
}

// The key of a number takes as many bytes as the number.
static inline void number_key(uint8_t *p, TypeKind kind, const uint8_t *value) {
    switch (kind) {
    case TYPE_BOOL:
    case TYPE_U8: *p = *value; return;
    case TYPE_I8: *p = *value ^ 0x80; return;
    case TYPE_U16: store_u16(p, __builtin_bswap16(load_u16(value))); return;
    case TYPE_I16: store_u16(p, __builtin_bswap16(load_u16(value) ^ 0x8000)); return;
    case TYPE_U32: store_u32(p, __builtin_bswap32(load_u32(value))); return;
    case TYPE_I32: store_u32(p, __builtin_bswap32(load_u32(value) ^ SIGN32)); return;
    case TYPE_U64: store_u64(p, __builtin_bswap64(load_u64(value))); return;
    case TYPE_I64: store_u64(p, __builtin_bswap64(load_u64(value) ^ SIGN64)); return;
    case TYPE_U128: wide_key(p, value, 2, 0); return;
    case TYPE_I128: wide_key(p, value, 2, SIGN64); return;
    case TYPE_U256: wide_key(p, value, 4, 0); return;
    case TYPE_I256: wide_key(p, value, 4, SIGN64); return;
    case TYPE_F32: store_u32(p, __builtin_bswap32(float_order(load_u32(value)))); return;
    case TYPE_F64: store_u64(p, __builtin_bswap64(double_order(load_u64(value)))); return;
    default: UNREACHABLE();
    }
}

// How many bytes at the front need no escape. Eight at a time: a byte of x is zero where the
// byte of v is 00 or 01, and the usual trick finds zero bytes.
static size_t plain_run(const uint8_t *p, size_t len) {
    const uint64_t ones = 0x0101010101010101;
    size_t i = 0;
    for (; i + 8 <= len; i += 8) {
        uint64_t x = load_u64(p + i) & ~ones;
        if ((x - ones) & ~x & ones << 7) break;
    }
    while (i < len && p[i] > TEXT_ESC)
        i++;
    return i;
}

static void put_text(Buf *out, Bytes text) {
    for (;;) {
        size_t run = plain_run(text.ptr, text.len);
        buf_put(out, text.ptr, run);
        if (run == text.len) break;
        buf_put_u8(out, TEXT_ESC);
        buf_put_u8(out, (uint8_t)(text.ptr[run] + 1));
        text = (Bytes){text.ptr + run + 1, text.len - run - 1};
    }
    buf_put_u8(out, TEXT_END);
}

static const uint8_t *put_value(Buf *out, const Type *type, const uint8_t *value);

static const uint8_t *put_array(Buf *out, const Type *type, const uint8_t *value) {
    uint32_t count = load_u32(value);
    value += 4;
    if (type->special == SPECIAL_BYTES) {
        put_text(out, (Bytes){value, count});
        return value + count;
    }
    if (type->element->fixed_size == 0) {
        uint8_t *p = buf_extend(out, sizeof count);
        if (p) store_u32(p, __builtin_bswap32(count));
        return value;
    }
    for (; count > 0; count--) {
        buf_put_u8(out, ARRAY_MORE);
        value = put_value(out, type->element, value);
    }
    buf_put_u8(out, ARRAY_END);
    return value;
}

static const uint8_t *put_composite(Buf *out, const Type *type, const uint8_t *value) {
    switch (type->kind) {
    case TYPE_PRODUCT:
        if (type->fixed_size == 0) return value;
        for (uint32_t i = 0; i < type->field_count; i++) {
            value = put_value(out, type->fields[i].type, value);
        }
        return value;
    case TYPE_SUM:
        buf_put_u8(out, *value);
        return put_value(out, type->fields[*value].type, value + 1);
    case TYPE_ARRAY: return put_array(out, type, value);
    case TYPE_STRING: {
        uint32_t len = load_u32(value);
        put_text(out, (Bytes){value + 4, len});
        return value + 4 + len;
    }
    default: UNREACHABLE();
    }
}

// Identity and its kin are products of one field: they are their number.
static inline const Type *unwrap(const Type *type) {
    while (type->kind == TYPE_PRODUCT && type->field_count == 1)
        type = type->fields[0].type;
    return type;
}

// The usual case of an indexed column, in line: room is there and the value is a number.
static inline bool put_number(Buf *out, const Type *type, const uint8_t *value) {
    if (type->kind <= TYPE_STRING || type->fixed_size > out->cap - out->len || out->failed)
        return false;
    number_key(out->ptr + out->len, type->kind, value);
    out->len += type->fixed_size;
    return true;
}

// Append the key and return where the value ends.
static const uint8_t *put_value(Buf *out, const Type *type, const uint8_t *value) {
    type = unwrap(type);
    if (type->kind <= TYPE_STRING) return put_composite(out, type, value);
    uint8_t *p = buf_extend(out, type->fixed_size);
    if (p) number_key(p, type->kind, value);
    return value + type->fixed_size;
}

void key_append(Buf *out, const Type *type, const uint8_t *value) {
    type = unwrap(type);
    if (!put_number(out, type, value)) put_value(out, type, value);
}

void key_append_columns(Buf *out,
                        const RowLayout *layout,
                        Bytes row,
                        const uint16_t *columns,
                        uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        uint32_t offset = layout->fixed_offset[columns[i]];
        const uint8_t *value =
            offset != TYPE_SIZE_VARIES ? row.ptr + offset : row_column(layout, row, columns[i]).ptr;
        key_append(out, layout->row_type->fields[columns[i]].type, value);
    }
}

bool key_type_ok(const Type *type) {
    (void)type;
    return true;
}

bool key_successor(Buf *key) {
    while (key->len > 0 && key->ptr[key->len - 1] == 0xff)
        key->len--;
    if (key->len == 0) return false;
    key->ptr[key->len - 1]++;
    return true;
}

// ── back ───────────────────────────────────────────────────────────────────────────────────────

static bool read_value(Buf *out, const Type *type, Bytes *key);

static bool key_take(Bytes *key, size_t len, const uint8_t **out) {
    if (key->len < len) return false;
    *out = key->ptr;
    *key = (Bytes){key->ptr + len, key->len - len};
    return true;
}

// Numbers but floats: the bytes the other way round, the sign put back.
static bool read_number(Buf *out, const Type *type, Bytes *key) {
    const uint8_t *from;
    size_t len = type->fixed_size;
    bool is_signed = type->kind == TYPE_I8 || type->kind == TYPE_I16 || type->kind == TYPE_I32 ||
                     type->kind == TYPE_I64 || type->kind == TYPE_I128 || type->kind == TYPE_I256;
    if (type->kind == TYPE_F32 || type->kind == TYPE_F64) return false;
    if (!key_take(key, len, &from)) return false;
    uint8_t *p = buf_extend(out, len);
    if (!p) return true;  // out says so
    for (size_t i = 0; i < len; i++) {
        p[i] = from[len - 1 - i];
    }
    if (is_signed) p[len - 1] ^= 0x80;
    return true;
}

// The length stands in front of what it counts, so it is written when that is there.
static void count_set(Buf *out, size_t at, size_t count) {
    if (buf_ok(out)) store_u32(out->ptr + at, (uint32_t)count);
}

static bool read_text(Buf *out, Bytes *key) {
    const uint8_t *p;
    size_t at = out->len;
    buf_put_u32(out, 0);
    for (;;) {
        if (!key_take(key, 1, &p)) return false;
        if (*p == TEXT_END) break;
        uint8_t byte = *p;
        if (byte == TEXT_ESC) {
            if (!key_take(key, 1, &p) || (*p != 1 && *p != 2)) return false;
            byte = (uint8_t)(*p - 1);
        }
        buf_put_u8(out, byte);
    }
    count_set(out, at, out->len - at - 4);
    return true;
}

static bool read_array(Buf *out, const Type *type, Bytes *key) {
    const uint8_t *p;
    if (type->special == SPECIAL_BYTES) return read_text(out, key);
    if (type->element->fixed_size == 0) {
        if (!key_take(key, 4, &p)) return false;
        buf_put_u32(out, __builtin_bswap32(load_u32(p)));
        return true;
    }
    size_t at = out->len, count = 0;
    buf_put_u32(out, 0);
    for (;; count++) {
        if (!key_take(key, 1, &p)) return false;
        if (*p == ARRAY_END) break;
        if (*p != ARRAY_MORE || !read_value(out, type->element, key)) return false;
    }
    count_set(out, at, count);
    return true;
}

static bool read_sum(Buf *out, const Type *type, Bytes *key) {
    const uint8_t *tag;
    if (!key_take(key, 1, &tag) || *tag >= type->field_count) return false;
    buf_put_u8(out, *tag);
    return read_value(out, type->fields[*tag].type, key);
}

static bool read_value(Buf *out, const Type *type, Bytes *key) {
    type = unwrap(type);
    switch (type->kind) {
    case TYPE_PRODUCT:
        for (uint32_t i = 0; i < type->field_count; i++) {
            if (!read_value(out, type->fields[i].type, key)) return false;
        }
        return true;
    case TYPE_SUM: return read_sum(out, type, key);
    case TYPE_ARRAY: return read_array(out, type, key);
    case TYPE_STRING: return read_text(out, key);
    default: return read_number(out, type, key);
    }
}

bool key_read(Buf *out, const Type *type, Bytes key) {
    return read_value(out, type, &key) && key.len == 0;
}
