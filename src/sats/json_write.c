// json_write.c: values as JSON text.
//
// Three forms, because the original has three (§3.1):
//
//             product            unit   sum                inside an array
//   TYPED     {"name": value}    []     {"Name": payload}  the same
//   UNTYPED   [value]            []     [tag, payload]     the same
//   ROW       {"name": value}    {}     [tag, payload]     UNTYPED
//
// Everything else is alike in all of them. No spaces, non-ASCII characters as they are.
#include "sats/json.h"
#include "sats/json_number.h"
#include "sats/type_internal.h"

// What stands for a byte in a string: 0 itself, 'u' \u00xx, otherwise a backslash and the letter.
static char escape_of(uint8_t c) {
    switch (c) {
    case '"':
    case '\\': return (char)c;
    case '\b': return 'b';
    case '\f': return 'f';
    case '\n': return 'n';
    case '\r': return 'r';
    case '\t': return 't';
    default: return c < 0x20 ? 'u' : 0;
    }
}

void json_write_string(Buf *out, Str text) {
    buf_put_u8(out, '"');
    size_t from = 0;  // where the run of characters that need no escape began
    for (size_t i = 0; i < text.len; i++) {
        char escape = escape_of((uint8_t)text.ptr[i]);
        if (escape == 0) continue;
        buf_put(out, text.ptr + from, i - from);
        from = i + 1;
        if (escape == 'u') {
            buf_printf(out, "\\u%04x", text.ptr[i]);
        } else {
            char pair[2] = {'\\', escape};
            buf_put(out, pair, 2);
        }
    }
    if (from < text.len) buf_put(out, text.ptr + from, text.len - from);
    buf_put_u8(out, '"');
}

// An element or variant without a name goes by its number.
static void write_name(Buf *out, const TypeField *field, uint32_t index) {
    if (field->name.ptr) {
        json_write_string(out, field->name);
    } else {
        buf_printf(out, "\"%u\"", index);
    }
    buf_put_u8(out, ':');
}

static void write_signed(Buf *out, __int128 v) {
    if (v < 0) buf_put_u8(out, '-');
    number_put_u128(out, v < 0 ? -(U128)v : (U128)v);
}

static void write_simple(Buf *out, TypeKind kind, const uint8_t *value) {
    switch (kind) {
    case TYPE_BOOL: buf_put_str(out, *value ? STR("true") : STR("false")); return;
    case TYPE_I8: write_signed(out, (int8_t)*value); return;
    case TYPE_I16: write_signed(out, (int16_t)load_u16(value)); return;
    case TYPE_I32: write_signed(out, (int32_t)load_u32(value)); return;
    case TYPE_I64: write_signed(out, (int64_t)load_u64(value)); return;
    case TYPE_I128: write_signed(out, (__int128)u128_load(value)); return;
    case TYPE_U8: number_put_u128(out, *value); return;
    case TYPE_U16: number_put_u128(out, load_u16(value)); return;
    case TYPE_U32: number_put_u128(out, load_u32(value)); return;
    case TYPE_U64: number_put_u128(out, load_u64(value)); return;
    case TYPE_U128: number_put_u128(out, u128_load(value)); return;
    case TYPE_I256:
    case TYPE_U256:
        buf_put_u8(out, '"');
        number_put_256(out, value, kind == TYPE_I256);
        buf_put_u8(out, '"');
        return;
    case TYPE_F32: {
        float v;
        memcpy(&v, value, sizeof v);
        number_put_f32(out, v);
        return;
    }
    case TYPE_F64: {
        double v;
        memcpy(&v, value, sizeof v);
        number_put_f64(out, v);
        return;
    }
    default: UNREACHABLE();
    }
}

static const uint8_t *write_value(Buf *out, const Type *type, const uint8_t *p, JsonForm form);

static const uint8_t *write_product(Buf *out, const Type *type, const uint8_t *p, JsonForm form) {
    bool as_object = form == JSON_ROW || (form == JSON_TYPED && type->field_count > 0);
    buf_put_u8(out, as_object ? '{' : '[');
    for (uint32_t i = 0; i < type->field_count; i++) {
        if (i) buf_put_u8(out, ',');
        if (as_object) write_name(out, &type->fields[i], i);
        p = write_value(out, type->fields[i].type, p, form);
    }
    buf_put_u8(out, as_object ? '}' : ']');
    return p;
}

static const uint8_t *write_sum(Buf *out, const Type *type, const uint8_t *p, JsonForm form) {
    uint8_t tag = *p;
    const TypeField *variant = &type->fields[tag];
    if (form == JSON_TYPED) {
        buf_put_u8(out, '{');
        write_name(out, variant, tag);
    } else {
        buf_printf(out, "[%u,", tag);
    }
    p = write_value(out, variant->type, p + 1, form);
    buf_put_u8(out, form == JSON_TYPED ? '}' : ']');
    return p;
}

static const uint8_t *write_array(Buf *out, const Type *type, const uint8_t *p, JsonForm form) {
    uint32_t count = load_u32(p);
    p += 4;
    if (type->special == SPECIAL_BYTES) {
        buf_put_u8(out, '"');
        hex_append(out, BYTES(p, count));
        buf_put_u8(out, '"');
        return p + count;
    }
    if (form == JSON_ROW) form = JSON_UNTYPED;  // tables store arrays as opaque bytes
    buf_put_u8(out, '[');
    for (uint32_t i = 0; i < count; i++) {
        if (i) buf_put_u8(out, ',');
        p = write_value(out, type->element, p, form);
    }
    buf_put_u8(out, ']');
    return p;
}

static const uint8_t *write_value(Buf *out, const Type *type, const uint8_t *p, JsonForm form) {
    switch (type->kind) {
    case TYPE_PRODUCT: return write_product(out, type, p, form);
    case TYPE_SUM: return write_sum(out, type, p, form);
    case TYPE_ARRAY: return write_array(out, type, p, form);
    case TYPE_STRING: {
        uint32_t len = load_u32(p);
        json_write_string(out, (Str){(const char *)p + 4, len});
        return p + 4 + len;
    }
    default: write_simple(out, type->kind, p); return p + type->fixed_size;
    }
}

void json_write(Buf *out, const Type *type, const uint8_t *value, JsonForm form) {
    write_value(out, type, value, form);
}

static void write_type(Buf *out,
                       const Type *type,
                       bool as_refs,
                       size_t start,
                       const TypeLevel *outer) {
    if ((as_refs && type->source_ref != TYPE_NO_REF) ||
        type_must_be_ref(type, outer, out->len - start)) {
        buf_printf(out, "{\"Ref\":%u}", type->source_ref);
        return;
    }
    TypeLevel here = type_level(type, outer);
    buf_printf(out, "{\"%s\":", type_kind_name(type->kind));
    switch (type->kind) {
    case TYPE_REF: buf_printf(out, "%u", type->ref); break;
    case TYPE_ARRAY: write_type(out, type->element, as_refs, start, &here); break;
    case TYPE_SUM:
    case TYPE_PRODUCT:
        buf_put_str(out, type->kind == TYPE_SUM ? STR("{\"variants\":[") : STR("{\"elements\":["));
        for (uint32_t i = 0; i < type->field_count; i++) {
            Str name = type->fields[i].name;
            buf_put_str(out, i ? STR(",{\"name\":") : STR("{\"name\":"));
            if (name.ptr) {
                buf_put_str(out, STR("{\"some\":"));
                json_write_string(out, name);
            } else {
                buf_put_str(out, STR("{\"none\":[]"));
            }
            buf_put_str(out, STR("},\"algebraic_type\":"));
            write_type(out, type->fields[i].type, as_refs, start, &here);
            buf_put_u8(out, '}');
        }
        buf_put_str(out, STR("]}"));
        break;
    default: buf_put_str(out, STR("[]")); break;
    }
    buf_put_u8(out, '}');
}

void json_write_type(Buf *out, const Type *type, bool as_refs) {
    write_type(out, type, as_refs, out->len, NULL);
}
