// values.c: C values from BSATN and back, as an LcType describes them.
//
// PICTURE
//   bytes ──> value_read, measuring ──> how much memory, or malformed
//        ──> value_read, storing   ──> one block: the value, then all it points to
//
//   A value is read twice: first to see that it is well-formed and how much memory it takes, then into one
//   block of that size. So a row is one allocation and nothing is half made.
//
// CALLERS  rows.c (a row's columns, keys), requests.c (arguments), messages.c (what procedures return), and the
//          program: lc_encode, lc_decode.
#include "client.h"

#define SCALAR(name, kind_, ctype) \
    const LcType lc_type_##name = {.kind = kind_, .size = sizeof(ctype)}
SCALAR(bool, LC_BOOL, bool);
SCALAR(i8, LC_I8, int8_t);
SCALAR(u8, LC_U8, uint8_t);
SCALAR(i16, LC_I16, int16_t);
SCALAR(u16, LC_U16, uint16_t);
SCALAR(i32, LC_I32, int32_t);
SCALAR(u32, LC_U32, uint32_t);
SCALAR(i64, LC_I64, int64_t);
SCALAR(u64, LC_U64, uint64_t);
SCALAR(i128, LC_I128, LcI128);
SCALAR(u128, LC_U128, LcU128);
SCALAR(i256, LC_I256, LcI256);
SCALAR(u256, LC_U256, LcU256);
SCALAR(f32, LC_F32, float);
SCALAR(f64, LC_F64, double);
SCALAR(string, LC_STRING, LcString);
SCALAR(bytes, LC_BYTES, LcBytes);
SCALAR(identity, LC_ID, LcIdentity);
SCALAR(connection_id, LC_ID, LcConnectionId);
SCALAR(uuid, LC_ID, LcUuid);
SCALAR(timestamp, LC_I64, LcTimestamp);
SCALAR(time_duration, LC_I64, LcTimeDuration);
SCALAR(unit, LC_UNIT, LcUnit);
SCALAR(never, LC_ENUM, LcNever);
static const LcField schedule_at_fields[] = {
    {"interval", &lc_type_time_duration, offsetof(LcScheduleAt, interval), false},
    {"time", &lc_type_timestamp, offsetof(LcScheduleAt, time), false},
};
const LcType lc_type_schedule_at = {.kind = LC_SUM,
                                    .size = sizeof(LcScheduleAt),
                                    .fields = schedule_at_fields,
                                    .field_count = 2};

// What arrays, options and results look like to those who do not know what of.
typedef struct AnyArray {
    const void *items;
    size_t len;
} AnyArray;
typedef const void *AnyOption;
typedef struct AnyResult {
    const void *ok, *err;
} AnyResult;

LC_PRIVATE uint8_t *place_take(Place *place, size_t count, size_t each) {
    size_t at = (place->used + 7) & ~(size_t)7;
    if (each > 0 && count > (SIZE_MAX / 4 - at) / each) {
        place->too_large = true;
        return NULL;
    }
    place->used = at + count * each;
    return place->base ? place->base + at : NULL;
}

static void number_store(uint8_t *to, uint64_t value, size_t width) {
    uint8_t v8 = (uint8_t)value;
    uint16_t v16 = (uint16_t)value;
    uint32_t v32 = (uint32_t)value;
    if (!to) return;
    memcpy(to,
           width == 1   ? (void *)&v8
           : width == 2 ? (void *)&v16
           : width == 4 ? (void *)&v32
                        : (void *)&value,
           width);
}

static uint64_t number_load(const uint8_t *from, size_t width) {
    uint16_t v16;
    uint32_t v32;
    uint64_t v64;
    switch (width) {
    case 1: return *from;
    case 2: return memcpy(&v16, from, 2), v16;
    case 4: return memcpy(&v32, from, 4), v32;
    default: return memcpy(&v64, from, 8), v64;
    }
}

// Into a place of its own; *slot points there.
static bool pointer_read(In *in, const LcType *type, uint8_t *slot, Place *place, unsigned depth) {
    uint8_t *inner = place_take(place, 1, type->size);
    if (slot) memcpy(slot, &(const void *){inner}, sizeof(void *));
    return value_read(in, type, inner, place, depth);
}

static bool text_read(In *in, const LcType *type, uint8_t *to, Place *place) {
    In bytes = in_sized(in);
    size_t len = in_left(&bytes);
    if (in->failed || (type->kind == LC_STRING && !is_utf8(bytes.at, len))) return false;
    uint8_t *copy = place_take(place, len + 1, 1);
    if (!to || !copy) return !place->too_large;
    memcpy(copy, bytes.at, len);
    copy[len] = 0;
    if (type->kind == LC_STRING)
        memcpy(to, &(LcString){(const char *)copy, len}, sizeof(LcString));
    else
        memcpy(to, &(LcBytes){copy, len}, sizeof(LcBytes));
    return true;
}

static bool array_read(In *in, const LcType *type, uint8_t *to, Place *place, unsigned depth) {
    size_t len = (size_t)in_le(in, 4);
    if (in->failed || (len > in_left(in) && len > EMPTY_ELEMENTS_MAX)) return false;
    uint8_t *items = place_take(place, len, type->element->size);
    if (place->too_large) return false;
    for (size_t i = 0; i < len; i++) {
        const uint8_t *before = in->at;
        uint8_t *item = items ? items + i * type->element->size : NULL;
        if (!value_read(in, type->element, item, place, depth)) return false;
        if (in->at == before && len > EMPTY_ELEMENTS_MAX) return false;
    }
    if (to) memcpy(to, &(AnyArray){items, len}, sizeof(AnyArray));
    return true;
}

static bool sum_read(In *in, const LcType *type, uint8_t *to, Place *place, unsigned depth) {
    size_t tag = (size_t)in_le(in, 1);
    if (in->failed || tag >= type->field_count) return false;
    number_store(to, tag, sizeof(int));
    if (type->kind == LC_ENUM) return true;
    const LcField *variant = &type->fields[tag];
    if (!variant->type) return true;
    uint8_t *at = to ? to + variant->offset : NULL;
    return variant->is_pointer ? pointer_read(in, variant->type, at, place, depth)
                               : value_read(in, variant->type, at, place, depth);
}

static bool option_read(In *in, const LcType *type, uint8_t *to, Place *place, unsigned depth) {
    size_t tag = (size_t)in_le(in, 1);
    if (in->failed || tag > 1) return false;
    if (type->kind == LC_RESULT)
        return pointer_read(in,
                            type->fields[tag].type,
                            to ? to + tag * sizeof(void *) : NULL,
                            place,
                            depth);
    return tag == 1 || pointer_read(in, type->element, to, place, depth);
}

// `to` was zeroed. False: malformed, or place->too_large.
LC_PRIVATE bool value_read(In *in, const LcType *type, uint8_t *to, Place *place, unsigned depth) {
    if (depth > DEPTH_MAX || place->too_large) return false;
    switch (type->kind) {
    case LC_BOOL: {
        uint64_t byte = in_le(in, 1);
        if (to) memcpy(to, &(bool){byte == 1}, sizeof(bool));
        return !in->failed && byte <= 1;
    }
    case LC_I8:
    case LC_U8:
    case LC_I16:
    case LC_U16:
    case LC_I32:
    case LC_U32:
    case LC_I64:
    case LC_U64:
    case LC_F32:
    case LC_F64: number_store(to, in_le(in, type->size), type->size); return !in->failed;
    case LC_I128:
    case LC_U128:
    case LC_I256:
    case LC_U256:
        for (size_t i = 0; i < type->size; i += 8)
            number_store(to ? to + i : NULL, in_le(in, 8), 8);
        return !in->failed;
    case LC_ID: {
        const uint8_t *bytes = in_bytes(in, type->size);
        for (size_t i = 0; to && i < type->size; i++)
            to[i] = bytes[type->size - 1 - i];
        return !in->failed;
    }
    case LC_STRING:
    case LC_BYTES: return text_read(in, type, to, place);
    case LC_UNIT: return true;
    case LC_PRODUCT:
        for (size_t i = 0; i < type->field_count; i++) {
            const LcField *field = &type->fields[i];
            if (!value_read(in, field->type, to ? to + field->offset : NULL, place, depth + 1))
                return false;
        }
        return true;
    case LC_ENUM:
    case LC_SUM: return sum_read(in, type, to, place, depth + 1);
    case LC_ARRAY: return array_read(in, type, to, place, depth + 1);
    case LC_OPTION:
    case LC_RESULT: return option_read(in, type, to, place, depth + 1);
    }
    return false;
}

static void bad_argument(Out *out) {
    if (!out->error) out->error = LC_BAD_ARGUMENT;
}

static void pointer_write(Out *out, const LcType *type, const void *to, unsigned depth) {
    if (to)
        value_write(out, type, to, depth);
    else
        bad_argument(out);
}

static void sum_write(Out *out, const LcType *type, const uint8_t *value, unsigned depth) {
    size_t tag = (size_t)number_load(value, sizeof(int));
    if (tag >= type->field_count) {
        bad_argument(out);
        return;
    }
    out_le(out, tag, 1);
    if (type->kind == LC_ENUM || !type->fields[tag].type) return;
    const LcField *variant = &type->fields[tag];
    const void *at = value + variant->offset;
    if (variant->is_pointer) memcpy(&at, value + variant->offset, sizeof at);
    pointer_write(out, variant->type, at, depth);
}

static void parts_write(Out *out, const LcType *type, const uint8_t *value, unsigned depth) {
    AnyArray array;
    AnyResult result;
    AnyOption some;
    switch (type->kind) {
    case LC_PRODUCT:
        for (size_t i = 0; i < type->field_count; i++)
            value_write(out, type->fields[i].type, value + type->fields[i].offset, depth);
        return;
    case LC_ARRAY:
        memcpy(&array, value, sizeof array);
        if (array.len > UINT32_MAX || (array.len > 0 && !array.items)) {
            bad_argument(out);
            return;
        }
        out_le(out, array.len, 4);
        for (size_t i = 0; i < array.len && !out->error; i++)
            value_write(out,
                        type->element,
                        (const uint8_t *)array.items + i * type->element->size,
                        depth);
        return;
    case LC_OPTION:
        memcpy(&some, value, sizeof some);
        out_le(out, some ? 0 : 1, 1);
        if (some) value_write(out, type->element, some, depth);
        return;
    case LC_RESULT:
        memcpy(&result, value, sizeof result);
        out_le(out, result.ok ? 0 : 1, 1);
        pointer_write(out,
                      type->fields[result.ok ? 0 : 1].type,
                      result.ok ? result.ok : result.err,
                      depth);
        return;
    default: sum_write(out, type, value, depth);
    }
}

LC_PRIVATE void value_write(Out *out, const LcType *type, const uint8_t *value, unsigned depth) {
    LcString text;
    bool flag;
    if (depth > DEPTH_MAX) bad_argument(out);
    if (out->error) return;
    switch (type->kind) {
    case LC_BOOL:
        memcpy(&flag, value, sizeof flag);
        out_le(out, flag, 1);
        return;
    case LC_I8:
    case LC_U8:
    case LC_I16:
    case LC_U16:
    case LC_I32:
    case LC_U32:
    case LC_I64:
    case LC_U64:
    case LC_F32:
    case LC_F64: out_le(out, number_load(value, type->size), type->size); return;
    case LC_I128:
    case LC_U128:
    case LC_I256:
    case LC_U256:
        for (size_t i = 0; i < type->size; i += 8)
            out_le(out, number_load(value + i, 8), 8);
        return;
    case LC_ID:
        for (size_t i = type->size; i > 0; i--)
            out_le(out, value[i - 1], 1);
        return;
    case LC_STRING:
    case LC_BYTES:  // LcString and LcBytes differ in what a char is called
        memcpy(&text, value, sizeof text);
        out_sized(out, text.ptr, text.len);
        return;
    case LC_UNIT: return;
    case LC_PRODUCT:
    case LC_ENUM:
    case LC_SUM:
    case LC_ARRAY:
    case LC_OPTION:
    case LC_RESULT: parts_write(out, type, value, depth + 1);
    }
}

LcError lc_encode(const LcType *type, const void *value, uint8_t **bytes, size_t *len) {
    Out out = {0};
    *bytes = NULL;
    *len = 0;
    out_room(&out, 1);
    value_write(&out, type, value, 0);
    if (out.error) {
        LcError error = out.error;
        out_free(&out);
        return error;
    }
    *bytes = out.data;
    *len = out.len;
    return LC_OK;
}

LC_PRIVATE LcError value_new(const LcType *type, In in, void **value) {
    Place place = {0};
    In measured = in;
    place_take(&place, 1, type->size);
    if (!value_read(&measured, type, NULL, &place, 0))
        return place.too_large ? LC_NO_MEMORY : LC_MALFORMED;
    if (in_left(&measured) > 0) return LC_MALFORMED;
    uint8_t *block = mem_new(place.used);
    if (!block) return LC_NO_MEMORY;
    place = (Place){.base = block};
    value_read(&in, type, place_take(&place, 1, type->size), &place, 0);
    *value = block;
    return LC_OK;
}

LcError lc_decode(const LcType *type, const void *bytes, size_t len, void **value) {
    static const uint8_t nothing;
    const uint8_t *at = bytes ? bytes : &nothing;
    *value = NULL;
    return value_new(type, (In){.at = at, .end = at + len}, value);
}

LcString lc_string(const char *text) {
    return (LcString){text, strlen(text)};
}
bool lc_string_eq(LcString a, LcString b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}
bool lc_identity_eq(LcIdentity a, LcIdentity b) {
    return memcmp(a.bytes, b.bytes, sizeof a.bytes) == 0;
}
void lc_identity_hex(LcIdentity identity, char hex[LC_IDENTITY_HEX_BYTES]) {
    for (size_t i = 0; i < sizeof identity.bytes; i++)
        snprintf(hex + 2 * i, 3, "%02x", identity.bytes[i]);
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}
bool lc_identity_from_hex(const char *hex, LcIdentity *out) {
    if (hex[0] == '0' && hex[1] == 'x') hex += 2;
    if (strlen(hex) != 2 * sizeof out->bytes) return false;
    for (size_t i = 0; i < sizeof out->bytes; i++) {
        int high = hex_digit(hex[2 * i]), low = hex_digit(hex[2 * i + 1]);
        if (high < 0 || low < 0) return false;
        out->bytes[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

const char *lc_error_text(LcError error) {
    switch (error) {
    case LC_OK: return "ok";
    case LC_NO_MEMORY: return "out of memory";
    case LC_BAD_ARGUMENT: return "bad argument";
    case LC_CLOSED: return "the client is closed";
    case LC_BUSY: return "not from a callback";
    case LC_MALFORMED: return "malformed bytes";
    case LC_SYSTEM: return "a system call failed";
    }
    return "unknown error";
}
