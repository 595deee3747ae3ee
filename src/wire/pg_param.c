// pg_param.c: parameters that come in binary, as the text that the same value would have.
//
// Everything after this knows only text (query/param.c), so that a parameter means the same whichever way
// a driver sends it.
#include "wire/pg.h"

static uint64_t get_be(const uint8_t *p, size_t bytes) {
    uint64_t v = 0;
    for (size_t i = 0; i < bytes; i++)
        v = v << 8 | p[i];
    return v;
}

static Err wrong_size(Diag *diag, uint32_t oid) {
    return diag_fail(diag,
                     ERR_MALFORMED,
                     "incorrect binary data format for a parameter of type %s",
                     pg_oid_name(oid));
}

static void put_double(Buf *out, double v, bool single) {
    if (v - v != 0)
        buf_put_str(out, v != v ? STR("NaN") : v < 0 ? STR("-Infinity") : STR("Infinity"));
    else
        buf_printf(out, single ? "%.9g" : "%.17g", v);
}

static void put_real(Buf *out, Bytes value, bool single) {
    uint64_t bits = get_be(value.ptr, value.len);
    uint32_t low = (uint32_t)bits;
    double number;
    float narrow;
    memcpy(&number, &bits, sizeof number);
    memcpy(&narrow, &low, sizeof narrow);
    put_double(out, single ? (double)narrow : number, single);
}

// Groups of four decimal digits, `weight` of them before the point beyond the first.
static bool put_numeric(Buf *out, Bytes value) {
    if (value.len < 8) return false;
    size_t groups = get_be(value.ptr, 2);
    int weight = (int16_t)get_be(value.ptr + 2, 2);
    uint64_t sign = get_be(value.ptr + 4, 2);
    if (value.len != 8 + groups * 2 || weight < -100 || weight > 100 || groups > 200) return false;
    if (sign != 0 && sign != 0x4000) return false;  // NaN and the infinities
    if (sign) buf_put_u8(out, '-');
    if (weight < 0) buf_put_u8(out, '0');
    for (int i = 0; i <= weight; i++) {
        uint64_t digits = (size_t)i < groups ? get_be(value.ptr + 8 + (size_t)i * 2, 2) : 0;
        if (digits > 9999) return false;
        buf_printf(out, "%0*u", i ? 4 : 1, (unsigned)digits);
    }
    bool point = false;
    for (int i = MIN(weight + 1, 0); i < (int)groups; i++) {
        if (i <= weight) continue;
        uint64_t digits = i >= 0 ? get_be(value.ptr + 8 + (size_t)i * 2, 2) : 0;
        if (digits > 9999) return false;
        buf_printf(out, "%s%04u", point ? "" : ".", (unsigned)digits);
        point = true;
    }
    return true;
}

#define PG_EPOCH_US INT64_C(946684800000000)  // 2000-01-01

static bool put_time(Buf *out, Bytes value) {
    int64_t micros;
    if (__builtin_add_overflow((int64_t)get_be(value.ptr, 8), PG_EPOCH_US, &micros)) return false;
    pg_put_moment(out, micros, true);
    return true;
}

// Its midnight, in days since that day.
static bool put_date(Buf *out, Bytes value) {
    int64_t micros, days = (int32_t)get_be(value.ptr, 4);
    if (__builtin_mul_overflow(days, INT64_C(86400000000), &micros) ||
        __builtin_add_overflow(micros, PG_EPOCH_US, &micros))
        return false;
    pg_put_moment(out, micros, true);
    return true;
}

// False: the bytes are not a value of the type.
static bool put(uint32_t oid, Bytes value, Buf *out, bool *known) {
    int16_t size = pg_oid_size(oid);
    *known = true;
    if (size > 0 && oid != PG_NAME && value.len != (size_t)size) return false;
    switch (oid) {
    case PG_BOOL: buf_put_str(out, value.ptr[0] ? STR("true") : STR("false")); return true;
    case PG_INT2: buf_printf(out, "%d", (int16_t)get_be(value.ptr, 2)); return true;
    case PG_INT4: buf_printf(out, "%d", (int32_t)get_be(value.ptr, 4)); return true;
    case PG_INT8: buf_printf(out, "%lld", (long long)get_be(value.ptr, 8)); return true;
    case PG_OID: buf_printf(out, "%u", (unsigned)get_be(value.ptr, 4)); return true;
    case PG_FLOAT4:
    case PG_FLOAT8: put_real(out, value, oid == PG_FLOAT4); return true;
    case PG_NUMERIC: return put_numeric(out, value);
    case PG_TIMESTAMP:
    case PG_TIMESTAMPTZ: return put_time(out, value);
    case PG_DATE: return put_date(out, value);
    case PG_BYTEA:
        buf_put_str(out, STR("\\x"));
        hex_append(out, value);
        return true;
    case PG_UUID: hex_append(out, value); return true;
    case PG_JSONB:
        if (value.len == 0 || value.ptr[0] != 1) return false;
        buf_put(out, value.ptr + 1, value.len - 1);
        return true;
    case PG_NAME:
    case PG_TEXT:
    case PG_VARCHAR:
    case PG_BPCHAR:
    case PG_UNKNOWN:
    case PG_JSON: buf_put_bytes(out, value); return true;
    default: *known = false; return false;
    }
}

Err pg_param_text(uint32_t oid, Bytes value, Arena *arena, Str *out, Diag *diag) {
    Buf text = {0};
    bool known;
    Err err = OK;
    if (!put(oid, value, &text, &known))
        err = known ? wrong_size(diag, oid)
                    : diag_fail(diag,
                                ERR_UNSUPPORTED,
                                "a parameter of type %u cannot be read in binary: send it as text",
                                oid);
    if (err == OK) *out = arena_str(arena, bytes_str(buf_bytes(&text)));
    if (err == OK && (!buf_ok(&text) || !out->ptr)) err = ERR_NOMEM;
    buf_deinit(&text);
    return err;
}
