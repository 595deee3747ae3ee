// pg_type.c: values of ours in PostgreSQL's types, as text and in binary.
//
//   Bool                     bool          Timestamp        timestamptz: a moment, shown in UTC
//   I8 U8 I16                int2          TimeDuration     interval
//   U16 I32                  int4          Uuid             uuid
//   U32 I64                  int8          Identity, …      bytea, in the order of its hex digits
//   U64 and wider            numeric       Array<U8>        bytea
//   F32, F64                 float4, 8     Array of these   an array
//   String, plain enums      varchar       anything else    json
//   Option<T>                T, and NULL where there is nothing
//
// Widths are such that every value fits. Binary forms are those of PostgreSQL's own send functions.
#include "wire/pg.h"

#include <stdio.h>

#include "sats/bsatn.h"
#include "sats/json_number.h"

typedef struct OidInfo {
    uint32_t oid, array;
    int16_t size;
    const char *name, *sql_name;
} OidInfo;

static const OidInfo infos[] = {
    {PG_BOOL, 1000, 1, "bool", "boolean"},
    {PG_BYTEA, 1001, -1, "bytea", "bytea"},
    {PG_NAME, 1003, 64, "name", "name"},
    {PG_INT8, 1016, 8, "int8", "bigint"},
    {PG_INT2, 1005, 2, "int2", "smallint"},
    {PG_INT4, 1007, 4, "int4", "integer"},
    {PG_TEXT, 1009, -1, "text", "text"},
    {PG_OID, 1028, 4, "oid", "oid"},
    {PG_JSON, 199, -1, "json", "json"},
    {PG_FLOAT4, 1021, 4, "float4", "real"},
    {PG_FLOAT8, 1022, 8, "float8", "double precision"},
    {PG_VARCHAR, 1015, -1, "varchar", "character varying"},
    {PG_DATE, 1182, 4, "date", "date"},
    {PG_TIMESTAMP, 1115, 8, "timestamp", "timestamp without time zone"},
    {PG_TIMESTAMPTZ, 1185, 8, "timestamptz", "timestamp with time zone"},
    {PG_INTERVAL, 1187, 16, "interval", "interval"},
    {PG_NUMERIC, 1231, -1, "numeric", "numeric"},
    {PG_UUID, 2951, 16, "uuid", "uuid"},
};

static const OidInfo *info_of(uint32_t oid) {
    for (size_t i = 0; i < ARRAY_LEN(infos); i++) {
        if (infos[i].oid == oid || infos[i].array == oid) return &infos[i];
    }
    return NULL;
}

int16_t pg_oid_size(uint32_t oid) {
    const OidInfo *info = info_of(oid);
    return info && info->oid == oid ? info->size : -1;
}

uint32_t pg_oid_element(uint32_t oid) {
    const OidInfo *info = info_of(oid);
    return info && info->array == oid ? info->oid : 0;
}

uint32_t pg_oid_at(uint32_t at, uint32_t *array) {
    if (at >= ARRAY_LEN(infos)) return 0;
    *array = infos[at].array;
    return infos[at].oid;
}

const char *pg_oid_name(uint32_t oid) {
    const OidInfo *info = info_of(oid);
    return info ? info->name : "unknown";
}

const char *pg_oid_sql_name(uint32_t oid) {
    const OidInfo *info = info_of(oid);
    return info ? info->sql_name : "unknown";
}

// ── which type ─────────────────────────────────────────────────────────────────────────────────

static const Type *option_inside(const Type *type) {
    return type->special == SPECIAL_OPTION ? type->fields[0].type : NULL;
}

static uint32_t special_oid(const Type *type) {
    switch (type->special) {
    case SPECIAL_BYTES:
    case SPECIAL_IDENTITY:
    case SPECIAL_CONNECTION_ID: return PG_BYTEA;
    case SPECIAL_TIMESTAMP: return PG_TIMESTAMPTZ;
    case SPECIAL_TIME_DURATION: return PG_INTERVAL;
    case SPECIAL_UUID: return PG_UUID;
    case SPECIAL_NONE:
    case SPECIAL_UNIT:
    case SPECIAL_SCHEDULE_AT:
    case SPECIAL_OPTION:
    case SPECIAL_RESULT: return 0;
    }
    UNREACHABLE();
}

static uint32_t scalar_oid(const Type *type) {
    uint32_t special = special_oid(type);
    if (special) return special;
    switch (type->kind) {
    case TYPE_BOOL: return PG_BOOL;
    case TYPE_STRING: return PG_VARCHAR;
    case TYPE_I8:
    case TYPE_U8:
    case TYPE_I16: return PG_INT2;
    case TYPE_U16:
    case TYPE_I32: return PG_INT4;
    case TYPE_U32:
    case TYPE_I64: return PG_INT8;
    case TYPE_U64:
    case TYPE_I128:
    case TYPE_U128:
    case TYPE_I256:
    case TYPE_U256: return PG_NUMERIC;
    case TYPE_F32: return PG_FLOAT4;
    case TYPE_F64: return PG_FLOAT8;
    case TYPE_SUM: return type_is_plain_enum(type) ? PG_VARCHAR : PG_JSON;
    case TYPE_ARRAY:
    case TYPE_PRODUCT:
    case TYPE_REF: return PG_JSON;
    }
    UNREACHABLE();
}

// The type of an array's elements, if it is an array of something simple; 0 otherwise.
static uint32_t element_oid(const Type *type) {
    if (type->kind != TYPE_ARRAY || type->special == SPECIAL_BYTES) return 0;
    const Type *inside = option_inside(type->element);
    uint32_t oid = scalar_oid(inside ? inside : type->element);
    return oid == PG_JSON ? 0 : oid;
}

uint32_t pg_type_oid(const Type *type) {
    const Type *inside = option_inside(type);
    if (inside) type = inside;
    uint32_t element = element_oid(type);
    return element ? info_of(element)->array : scalar_oid(type);
}

// ── text ───────────────────────────────────────────────────────────────────────────────────────

// A little-endian number of 256 bits in decimal.
static void put_wide(Buf *out, const uint8_t *le, bool is_signed) {
    uint64_t limb[4];
    char digits[80];
    size_t at = sizeof digits;
    for (int i = 0; i < 4; i++)
        limb[i] = load_u64(le + 8 * i);
    bool negative = is_signed && limb[3] >> 63;
    if (negative) {
        U128 carry = 1;
        for (int i = 0; i < 4; i++) {
            carry += ~limb[i];
            limb[i] = (uint64_t)carry;
            carry >>= 64;
        }
    }
    do {
        U128 rest = 0;
        for (int i = 3; i >= 0; i--) {
            rest = rest << 64 | limb[i];
            limb[i] = (uint64_t)(rest / 10);
            rest %= 10;
        }
        digits[--at] = (char)('0' + (int)rest);
    } while (limb[0] | limb[1] | limb[2] | limb[3]);
    if (negative) buf_put_u8(out, '-');
    buf_put(out, digits + at, sizeof digits - at);
}

static void put_signed(Buf *out, __int128 v) {
    if (v < 0) buf_put_u8(out, '-');
    number_put_u128(out, v < 0 ? -(U128)v : (U128)v);
}

static void put_float(Buf *out, double v, bool single) {
    if (v != v) {
        buf_put_str(out, STR("NaN"));
    } else if (v - v != 0) {
        buf_put_str(out, v < 0 ? STR("-Infinity") : STR("Infinity"));
    } else {
        if (single)
            number_put_f32(out, (float)v);
        else
            number_put_f64(out, v);
        if (buf_ok(out) && memcmp(out->ptr + out->len - 2, ".0", 2) == 0) out->len -= 2;
    }
}

// Days from 1970-01-01 as a date. Years begin in March, so that a leap day is the last of its year.
static void civil(int64_t days, int64_t *year, int *month, int *day) {
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t of_era = days - era * 146097;
    int64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * y + y / 4 - y / 100);
    int64_t m = (5 * of_year + 2) / 153;
    *day = (int)(of_year - (153 * m + 2) / 5 + 1);
    *month = (int)(m < 10 ? m + 3 : m - 9);
    *year = y + era * 400 + (*month <= 2);
}

static void put_fraction(Buf *out, int64_t micros) {
    char digits[8];
    int len = snprintf(digits, sizeof digits, "%06d", (int)(micros % 1000000));
    while (len > 0 && digits[len - 1] == '0')
        len--;
    if (len > 0) buf_printf(out, ".%.*s", len, digits);
}

void pg_put_moment(Buf *out, int64_t micros, bool rfc3339) {
    int64_t day_us = INT64_C(86400000000);
    int64_t days = micros / day_us, in_day = micros % day_us, year;
    int month, day;
    if (in_day < 0) {
        in_day += day_us;
        days--;
    }
    civil(days, &year, &month, &day);
    bool bc = year <= 0 && !rfc3339;  // there is no year 0
    int seconds = (int)(in_day / 1000000);
    buf_printf(out,
               "%04lld-%02d-%02d%c%02d:%02d:%02d",
               (long long)(bc ? 1 - year : year),
               month,
               day,
               rfc3339 ? 'T' : ' ',
               seconds / 3600,
               seconds / 60 % 60,
               seconds % 60);
    put_fraction(out, in_day);
    buf_put_str(out, rfc3339 ? STR("+00:00") : STR("+00"));
    if (bc) buf_put_str(out, STR(" BC"));
}

static void put_interval(Buf *out, int64_t micros) {
    uint64_t us = micros < 0 ? 0 - (uint64_t)micros : (uint64_t)micros;
    buf_printf(out,
               "%s%02llu:%02d:%02d",
               micros < 0 ? "-" : "",
               (unsigned long long)(us / 3600000000u),
               (int)(us / 60000000 % 60),
               (int)(us / 1000000 % 60));
    put_fraction(out, (int64_t)(us % 1000000));
}

static void put_reversed(Buf *out, const uint8_t *le, size_t len) {
    for (size_t i = len; i-- > 0;)
        buf_put_u8(out, le[i]);
}

static void put_hex_reversed(Buf *out, const uint8_t *le, size_t len) {
    for (size_t i = len; i-- > 0;)
        hex_append(out, BYTES(le + i, 1));
}

static void put_uuid(Buf *out, const uint8_t *le) {
    static const size_t ends[] = {12, 10, 8, 6, 0};
    size_t from = 16;
    for (size_t part = 0; part < ARRAY_LEN(ends); part++) {
        if (part > 0) buf_put_u8(out, '-');
        put_hex_reversed(out, le + ends[part], from - ends[part]);
        from = ends[part];
    }
}

static void text_simple(Buf *out, TypeKind kind, const uint8_t *p) {
    float single;
    double number;
    switch (kind) {
    case TYPE_BOOL: buf_put_u8(out, *p ? 't' : 'f'); return;
    case TYPE_I8: put_signed(out, (int8_t)*p); return;
    case TYPE_U8: put_signed(out, *p); return;
    case TYPE_I16: put_signed(out, (int16_t)load_u16(p)); return;
    case TYPE_U16: put_signed(out, load_u16(p)); return;
    case TYPE_I32: put_signed(out, (int32_t)load_u32(p)); return;
    case TYPE_U32: put_signed(out, load_u32(p)); return;
    case TYPE_I64: put_signed(out, (int64_t)load_u64(p)); return;
    case TYPE_U64: put_signed(out, load_u64(p)); return;
    case TYPE_I128: put_signed(out, (__int128)u128_load(p)); return;
    case TYPE_U128: number_put_u128(out, u128_load(p)); return;
    case TYPE_I256:
    case TYPE_U256: put_wide(out, p, kind == TYPE_I256); return;
    case TYPE_F32:
        memcpy(&single, p, sizeof single);
        put_float(out, single, true);
        return;
    case TYPE_F64:
        memcpy(&number, p, sizeof number);
        put_float(out, number, false);
        return;
    case TYPE_STRING: buf_put(out, p + 4, load_u32(p)); return;
    case TYPE_REF:
    case TYPE_SUM:
    case TYPE_PRODUCT:
    case TYPE_ARRAY: break;
    }
    UNREACHABLE();
}

static void text_scalar(Buf *out, const Type *type, const uint8_t *p) {
    switch (type->special) {
    case SPECIAL_BYTES:
        buf_put_str(out, STR("\\x"));
        hex_append(out, BYTES(p + 4, load_u32(p)));
        return;
    case SPECIAL_IDENTITY:
    case SPECIAL_CONNECTION_ID:
        buf_put_str(out, STR("\\x"));
        put_hex_reversed(out, p, type->fixed_size);
        return;
    case SPECIAL_TIMESTAMP: pg_put_moment(out, (int64_t)load_u64(p), false); return;
    case SPECIAL_TIME_DURATION: put_interval(out, (int64_t)load_u64(p)); return;
    case SPECIAL_UUID: put_uuid(out, p); return;
    default: break;
    }
    if (type_is_plain_enum(type)) {
        Str name = type->fields[*p].name;
        if (name.ptr)
            buf_put_str(out, name);
        else
            buf_printf(out, "%u", *p);
    } else if (scalar_oid(type) == PG_JSON) {
        pg_put_json(out, type, p);
    } else {
        text_simple(out, type->kind, p);
    }
}

// ── binary ─────────────────────────────────────────────────────────────────────────────────────

static void put_be(Buf *out, uint64_t v, size_t bytes) {
    for (size_t i = bytes; i-- > 0;)
        buf_put_u8(out, (uint8_t)(v >> (8 * i)));
}

// Digits to the base 10,000, of an integer that stands in `text`.
static void put_numeric(Buf *out, Str text) {
    bool negative = text.ptr[0] == '-';
    if (negative) text = (Str){text.ptr + 1, text.len - 1};
    size_t groups = (text.len + 3) / 4, first = text.len - (groups - 1) * 4;
    bool zero = str_eq(text, STR("0"));
    put_be(out, zero ? 0 : groups, 2);
    put_be(out, zero ? 0 : groups - 1, 2);  // how many groups follow the first
    put_be(out, negative ? 0x4000 : 0, 2);
    put_be(out, 0, 2);  // digits behind the point
    for (size_t at = 0, len = first; !zero && at < text.len; at += len, len = at ? 4 : first) {
        unsigned digits = 0;
        for (size_t i = 0; i < len; i++)
            digits = digits * 10 + (unsigned)(text.ptr[at + i] - '0');
        put_be(out, digits, 2);
    }
}

#define PG_EPOCH_US INT64_C(946684800000000)  // 2000-01-01

static int64_t integer_of(TypeKind kind, const uint8_t *p) {
    switch (kind) {
    case TYPE_I8: return (int8_t)*p;
    case TYPE_U8: return *p;
    case TYPE_I16: return (int16_t)load_u16(p);
    case TYPE_U16: return load_u16(p);
    case TYPE_I32: return (int32_t)load_u32(p);
    case TYPE_U32: return load_u32(p);
    default: return (int64_t)load_u64(p);
    }
}

static void binary_scalar(Buf *out, const Type *type, const uint8_t *p) {
    Buf text = {0};
    uint32_t oid = scalar_oid(type);
    switch (oid) {
    case PG_BOOL: buf_put_u8(out, *p != 0); return;
    case PG_INT2:
    case PG_INT4:
    case PG_INT8:
        put_be(out, (uint64_t)integer_of(type->kind, p), (size_t)pg_oid_size(oid));
        return;
    case PG_FLOAT4: put_be(out, load_u32(p), 4); return;
    case PG_FLOAT8: put_be(out, load_u64(p), 8); return;
    case PG_NUMERIC:
        text_simple(&text, type->kind, p);
        if (!buf_ok(&text)) out->failed = true;
        if (text.len) put_numeric(out, bytes_str(buf_bytes(&text)));
        buf_deinit(&text);
        return;
    case PG_BYTEA:
        if (type->special == SPECIAL_BYTES)
            buf_put(out, p + 4, load_u32(p));
        else
            put_reversed(out, p, type->fixed_size);
        return;
    case PG_UUID: put_reversed(out, p, 16); return;
    case PG_TIMESTAMPTZ: {
        int64_t since;  // a moment too early for PostgreSQL is its earliest
        if (__builtin_sub_overflow((int64_t)load_u64(p), PG_EPOCH_US, &since)) since = INT64_MIN;
        put_be(out, (uint64_t)since, 8);
        return;
    }
    case PG_INTERVAL:
        put_be(out, load_u64(p), 8);
        put_be(out, 0, 8);  // days and months
        return;
    default: text_scalar(out, type, p); return;  // texts are the same in both
    }
}

// ── values ─────────────────────────────────────────────────────────────────────────────────────

static size_t value_begin(Buf *out) {
    put_be(out, 0, 4);
    return out->len;
}

static void value_end(Buf *out, size_t begin) {
    if (!buf_ok(out)) return;
    size_t len = out->len - begin;
    if (len > INT32_MAX) {
        out->failed = true;
        return;
    }
    for (int i = 0; i < 4; i++)
        out->ptr[begin - 1 - (size_t)i] = (uint8_t)(len >> (8 * i));
}

void pg_put_text_value(Buf *out, Str text) {
    size_t begin = value_begin(out);
    buf_put_str(out, text);
    value_end(out, begin);
}

static void put_null(Buf *out) {
    put_be(out, UINT32_MAX, 4);
}

// What stands in braces needs quotes if it could be taken for something else.
static void put_element(Buf *out, Str text) {
    bool plain = text.len > 0 && !str_eq_nocase(text, STR("NULL"));
    for (size_t i = 0; plain && i < text.len; i++)
        plain = !strchr("{},\"\\ \t\n\r\v\f", text.ptr[i]);
    if (plain) {
        buf_put_str(out, text);
        return;
    }
    buf_put_u8(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '"' || text.ptr[i] == '\\') buf_put_u8(out, '\\');
        buf_put_u8(out, (uint8_t)text.ptr[i]);
    }
    buf_put_u8(out, '"');
}

typedef struct Elements {
    const Type *type;  // of an element, without its Option
    bool optional;
    uint32_t left;
    const uint8_t *at;
} Elements;

static Elements elements_of(const Type *type, const uint8_t *value) {
    const Type *inside = option_inside(type->element);
    return (Elements){inside ? inside : type->element, inside != NULL, load_u32(value), value + 4};
}

// The next element; ptr NULL: it is nothing.
static const uint8_t *elements_next(Elements *e) {
    e->left--;
    if (e->optional && *e->at++) return NULL;
    const uint8_t *value = e->at;
    e->at += bsatn_len(e->type, value);
    return value;
}

static void text_array(Buf *out, const Type *type, const uint8_t *value) {
    Elements e = elements_of(type, value);
    Buf text = {0};
    buf_put_u8(out, '{');
    for (bool first = true; e.left; first = false) {
        const uint8_t *element = elements_next(&e);
        if (!first) buf_put_u8(out, ',');
        buf_clear(&text);
        if (element) text_scalar(&text, e.type, element);
        if (element)
            put_element(out, bytes_str(buf_bytes(&text)));
        else
            buf_put_str(out, STR("NULL"));
        if (!buf_ok(&text)) out->failed = true;
    }
    buf_put_u8(out, '}');
    buf_deinit(&text);
}

static void binary_array(Buf *out, const Type *type, const uint8_t *value) {
    Elements e = elements_of(type, value);
    put_be(out, e.left > 0, 4);  // dimensions
    put_be(out, e.optional, 4);  // there may be NULLs
    put_be(out, element_oid(type), 4);
    if (e.left > 0) {
        put_be(out, e.left, 4);
        put_be(out, 1, 4);  // the first one's number
    }
    while (e.left) {
        const uint8_t *element = elements_next(&e);
        if (!element) {
            put_null(out);
            continue;
        }
        size_t begin = value_begin(out);
        binary_scalar(out, e.type, element);
        value_end(out, begin);
    }
}

void pg_put_value(Buf *out, const Type *type, const uint8_t *value, uint16_t format) {
    const Type *inside = option_inside(type);
    if (inside) {
        if (*value++) {
            put_null(out);
            return;
        }
        type = inside;
    }
    size_t begin = value_begin(out);
    bool array = element_oid(type) != 0;
    if (array && format)
        binary_array(out, type, value);
    else if (array)
        text_array(out, type, value);
    else if (format)
        binary_scalar(out, type, value);
    else
        text_scalar(out, type, value);
    value_end(out, begin);
}
