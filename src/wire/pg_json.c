// pg_json.c: products, sums and what contains them, as PostgreSQL's json.
//
// Other than SATS-JSON (sats/json.h) this is for people and for json operators: fields have names, moments
// are RFC 3339, durations ISO 8601, ids are hex, a number that no JSON has is null.
#include <stdio.h>

#include "sats/json.h"
#include "sats/json_number.h"
#include "wire/pg.h"

static const uint8_t *put(Buf *out, const Type *type, const uint8_t *p);

static void put_hex(Buf *out, Bytes bytes, bool reversed) {
    buf_put_str(out, STR("\"0x"));
    for (size_t i = 0; i < bytes.len; i++)
        hex_append(out, BYTES(bytes.ptr + (reversed ? bytes.len - 1 - i : i), 1));
    buf_put_u8(out, '"');
}

// ISO 8601: PT1.5S. Hours are the largest unit, days being of no fixed length.
static void put_duration(Buf *out, int64_t micros) {
    uint64_t us = micros < 0 ? 0 - (uint64_t)micros : (uint64_t)micros;
    uint64_t hours = us / 3600000000u, minutes = us / 60000000 % 60;
    int seconds = (int)(us / 1000000 % 60), fraction = (int)(us % 1000000);
    buf_printf(out, "\"%s%s", micros < 0 ? "-" : "", us ? "PT" : "P0D");
    if (hours) buf_printf(out, "%lluH", (unsigned long long)hours);
    if (minutes) buf_printf(out, "%lluM", (unsigned long long)minutes);
    if (fraction)
        buf_printf(out, "%d.%06dS", seconds, fraction);
    else if (seconds)
        buf_printf(out, "%dS", seconds);
    buf_put_u8(out, '"');
}

static bool put_special(Buf *out, const Type *type, const uint8_t *p) {
    Buf text = {0};
    switch (type->special) {
    case SPECIAL_BYTES: put_hex(out, BYTES(p + 4, load_u32(p)), false); return true;
    case SPECIAL_IDENTITY:
    case SPECIAL_CONNECTION_ID: put_hex(out, BYTES(p, type->fixed_size), true); return true;
    case SPECIAL_TIME_DURATION: put_duration(out, (int64_t)load_u64(p)); return true;
    case SPECIAL_TIMESTAMP:
        buf_put_u8(out, '"');
        pg_put_moment(out, (int64_t)load_u64(p), true);
        buf_put_u8(out, '"');
        return true;
    case SPECIAL_UUID:
        pg_put_value(&text, type, p, 0);
        if (!buf_ok(&text))
            out->failed = true;
        else
            json_write_string(out, (Str){(const char *)text.ptr + 4, text.len - 4});
        buf_deinit(&text);
        return true;
    case SPECIAL_NONE:
    case SPECIAL_UNIT:
    case SPECIAL_SCHEDULE_AT:
    case SPECIAL_OPTION:
    case SPECIAL_RESULT: return false;
    }
    UNREACHABLE();
}

static void put_name(Buf *out, const TypeField *field, uint32_t at) {
    if (field->name.ptr)
        json_write_string(out, field->name);
    else
        buf_printf(out, "\"col_%u\"", at);
}

static const uint8_t *put_product(Buf *out, const Type *type, const uint8_t *p) {
    buf_put_u8(out, '{');
    for (uint32_t i = 0; i < type->field_count; i++) {
        if (i > 0) buf_put_str(out, STR(", "));
        put_name(out, &type->fields[i], i);
        buf_put_str(out, STR(": "));
        p = put(out, type->fields[i].type, p);
    }
    buf_put_u8(out, '}');
    return p;
}

static const uint8_t *put_sum(Buf *out, const Type *type, const uint8_t *p) {
    uint8_t tag = *p++;
    if (type_is_plain_enum(type)) {
        put_name(out, &type->fields[tag], tag);
        return p;
    }
    buf_put_u8(out, '{');
    put_name(out, &type->fields[tag], tag);
    buf_put_str(out, STR(": "));
    p = put(out, type->fields[tag].type, p);
    buf_put_u8(out, '}');
    return p;
}

static const uint8_t *put_array(Buf *out, const Type *type, const uint8_t *p) {
    uint32_t count = load_u32(p);
    p += 4;
    buf_put_u8(out, '[');
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0) buf_put_str(out, STR(", "));
        p = put(out, type->element, p);
    }
    buf_put_u8(out, ']');
    return p;
}

static void put_wide(Buf *out, const Type *type, const uint8_t *p) {
    Buf text = {0};
    pg_put_value(&text, type, p, 0);
    if (!buf_ok(&text))
        out->failed = true;
    else
        buf_put(out, text.ptr + 4, text.len - 4);
    buf_deinit(&text);
}

static const uint8_t *put(Buf *out, const Type *type, const uint8_t *p) {
    if (put_special(out, type, p)) return p + bsatn_len(type, p);
    switch (type->kind) {
    case TYPE_PRODUCT: return put_product(out, type, p);
    case TYPE_SUM: return put_sum(out, type, p);
    case TYPE_ARRAY: return put_array(out, type, p);
    case TYPE_I256:
    case TYPE_U256: put_wide(out, type, p); break;
    default: json_write(out, type, p, JSON_UNTYPED); break;
    }
    return p + bsatn_len(type, p);
}

void pg_put_json(Buf *out, const Type *type, const uint8_t *value) {
    put(out, type, value);
}
