// json_read.c: JSON text as a value of a known type. The rules are lenient about form (§3.2, §3.3):
//
//   product   [every field in order]  or  {"name": value, …} in any order, none missing or twice
//   sum       {"variant or tag": payload}  or  ["variant" or tag, payload]
//   Option    also null for none
//   bytes     "hex"  or  [numbers up to 255]
//
// and strict about content: no 1.0 for an integer, no string for a number, nothing after the end.
//
// The BSATN grows while the text is read. Fields of an object may come in any order: they are
// appended as they come, and put into the order of the type at its end if they were not.
#include <stdio.h>

#include "base/mem.h"
#include "sats/json.h"
#include "sats/json_number.h"
#include "sats/json_token.h"

typedef struct JsonReader {
    JsonText text;
    Buf *out;
} JsonReader;

static Err read_value(JsonReader *r, const Type *type, int depth);

static Err nomem(JsonReader *r) {
    return diag_fail(r->text.diag, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
}

// Numbers.

typedef struct IntRange {
    unsigned bits;
    bool is_signed;
} IntRange;

static IntRange int_range(TypeKind kind) {
    // The kinds from I8 to U128 alternate signed and unsigned and double their size.
    unsigned step = (unsigned)kind - TYPE_I8;
    return (IntRange){.bits = 8u << step / 2, .is_signed = step % 2 == 0};
}

static Err read_int(JsonReader *r, TypeKind kind) {
    JsonText *t = &r->text;
    JsonNumber number;
    char next = json_peek(t);
    const char *at = t->at;
    if (next != '-' && (next < '0' || next > '9')) return json_expected(t, type_kind_name(kind));
    Err err = json_number(t, &number);
    if (err != OK) return err;
    if (!number.is_integer) {
        return json_fail_at(t,
                            at,
                            "invalid type: floating point `" STR_FMT "`, expected %s",
                            (int)MIN(number.token.len, (size_t)40),
                            number.token.ptr,
                            type_kind_name(kind));
    }
    bool negative = number.token.ptr[0] == '-';
    Str digits = {number.token.ptr + negative, number.token.len - negative};
    IntRange range = int_range(kind);
    // The largest magnitude: 2^(bits-1) below zero, one less above it, 2^bits - 1 when unsigned.
    U128 v, most = ~(U128)0 >> (128 - range.bits + range.is_signed);
    if (negative) most = range.is_signed ? most + 1 : 0;
    if (!number_read_u128(digits, &v) || v > most) {
        return json_fail_at(t,
                            at,
                            "number out of range: `" STR_FMT "`, expected %s",
                            (int)MIN(number.token.len, (size_t)80),
                            number.token.ptr,
                            type_kind_name(kind));
    }
    uint8_t le[16];
    u128_store(le, negative ? -v : v);
    buf_put(r->out, le, range.bits / 8);
    return OK;
}

static Err read_256(JsonReader *r, TypeKind kind) {
    Str text;
    uint8_t le[32];
    if (json_peek(&r->text) != '"')
        return json_expected(&r->text, kind == TYPE_I256 ? "I256 as \"0x…\"" : "U256 as \"0x…\"");
    const char *at = r->text.at;
    Err err = json_text_string(&r->text, &text);
    if (err != OK) return err;
    if (!number_read_256(text, kind == TYPE_I256, le)) {
        return json_fail_at(&r->text,
                            at,
                            "not a hexadecimal %s with 0x in front: \"" STR_FMT "\"",
                            type_kind_name(kind),
                            (int)utf8_cut(text, 80),
                            text.ptr);
    }
    buf_put(r->out, le, sizeof le);
    return OK;
}

static Err read_float(JsonReader *r, TypeKind kind) {
    const char *token;
    char next = json_peek(&r->text);
    const char *at = r->text.at;
    if (next != '-' && (next < '0' || next > '9'))
        return json_expected(&r->text, type_kind_name(kind));
    Err err = json_number_terminated(&r->text, &token);
    if (err != OK) return err;
    bool fits;
    if (kind == TYPE_F32) {
        float v;
        fits = number_read_f32(token, &v);
        buf_put(r->out, &v, sizeof v);
    } else {
        double v;
        fits = number_read_f64(token, &v);
        buf_put(r->out, &v, sizeof v);
    }
    if (!fits) {
        return json_fail_at(&r->text,
                            at,
                            "number out of range: `%.80s`, expected %s",
                            token,
                            type_kind_name(kind));
    }
    return OK;
}

static Err read_bool(JsonReader *r) {
    if (json_take_word(&r->text, STR("true"))) {
        buf_put_u8(r->out, 1);
    } else if (json_take_word(&r->text, STR("false"))) {
        buf_put_u8(r->out, 0);
    } else {
        return json_expected(&r->text, "Bool");
    }
    return OK;
}

static Err too_long(JsonReader *r) {
    return json_fail_at(&r->text, r->text.at, "longer than 4294967295");
}

static Err read_string(JsonReader *r) {
    Str text;
    if (json_peek(&r->text) != '"') return json_expected(&r->text, "String");
    Err err = json_text_string(&r->text, &text);
    if (err != OK) return err;
    if (text.len > UINT32_MAX) return too_long(r);
    buf_put_lp(r->out, str_bytes(text));
    return OK;
}

// Arrays.

static Err read_hex_bytes(JsonReader *r) {
    Str hex;
    const char *at = r->text.at;
    Err err = json_text_string(&r->text, &hex);
    if (err != OK) return err;
    if (hex.len / 2 > UINT32_MAX) return too_long(r);
    buf_put_u32(r->out, (uint32_t)(hex.len / 2));
    uint8_t *bytes = buf_extend(r->out, hex.len / 2);
    if (!bytes) return nomem(r);
    if (!hex_read(hex, bytes))
        return json_fail_at(&r->text, at, "not an even number of hexadecimal digits");
    return OK;
}

static Err read_array(JsonReader *r, const Type *type, int depth) {
    Err err = OK;
    JsonText *t = &r->text;
    if (type->special == SPECIAL_BYTES && json_peek(t) == '"') return read_hex_bytes(r);
    if (!json_take(t, '['))
        return json_expected(t, type->special == SPECIAL_BYTES ? "hex or an array" : "an array");
    size_t count_at = r->out->len;
    uint32_t count = 0;
    uint32_t most = type->element->fixed_size == 0 ? ARRAY_EMPTY_COUNT_MAX : UINT32_MAX;
    buf_put_u32(r->out, 0);
    if (!json_take(t, ']')) {
        do {
            if (count == most)
                return json_fail_at(t, t->at, "an array has more than %u elements", most);
            if ((err = read_value(r, type->element, depth)) != OK) return err;
            count++;
        } while (json_take(t, ','));
        if (!json_take(t, ']')) return json_expected(t, "`,` or `]`");
    }
    if (!buf_ok(r->out)) return nomem(r);
    store_u32(r->out->ptr + count_at, count);
    return OK;
}

// Products. `function` is NULL, or the name of whom the product is the arguments.

static Err wrong_length(JsonReader *r,
                        const char *at,
                        uint32_t got,
                        const Type *type,
                        const Str *function) {
    if (function) {
        return json_fail_at(&r->text,
                            at,
                            "invalid length %u, expected args for " STR_FMT " with %u elements",
                            got,
                            STR_ARG(*function),
                            type->field_count);
    }
    return json_fail_at(&r->text,
                        at,
                        "invalid length %u, expected a product with %u elements",
                        got,
                        type->field_count);
}

static Err read_fields_in_order(JsonReader *r, const Type *type, int depth, const Str *function) {
    JsonText *t = &r->text;
    const char *open = t->at - 1;
    if (json_take(t, ']'))
        return type->field_count == 0 ? OK : wrong_length(r, open, 0, type, function);
    for (uint32_t i = 0; i < type->field_count; i++) {
        Err err = read_value(r, type->fields[i].type, depth);
        if (err != OK) return err;
        bool last = i + 1 == type->field_count;
        if (last && json_take(t, ']')) return OK;
        if (json_take(t, ',')) continue;
        if (json_take(t, ']')) return wrong_length(r, open, i + 1, type, function);
        return json_expected(t, "`,` or `]`");
    }
    uint32_t more;
    Err err = json_count_rest(t, &more);
    if (err != OK) return err;
    return wrong_length(r, open, type->field_count + more, type, function);
}

// Where in the output the value of each field of an object went.
#define FIELDS_LOCAL 16
typedef struct FieldSpan {
    size_t start, len;
    bool seen;
} FieldSpan;

// A field or variant by name; unnamed ones go by their number, as they are written. `hint` is
// where it probably is.
static bool field_find(const Type *type, Str name, uint32_t hint, uint32_t *out) {
    for (uint32_t i = 0; i < type->field_count; i++) {
        uint32_t at = (hint + i) % type->field_count;
        Str own = type->fields[at].name;
        char number[12];
        if (!own.ptr) {
            snprintf(number, sizeof number, "%u", at);
            own = str_from(number);
        }
        if (!str_eq(own, name)) continue;
        *out = at;
        return true;
    }
    return false;
}

static Err bad_field(JsonReader *r, const char *at, const char *what, Str name) {
    return json_fail_at(&r->text,
                        at,
                        "%s field `" STR_FMT "`",
                        what,
                        (int)utf8_cut(name, 200),
                        name.ptr);
}

// Put the values that begin at `base` into the order of the type.
static Err fields_reorder(JsonReader *r, const FieldSpan *spans, uint32_t count, size_t base) {
    Buf ordered = {0};
    for (uint32_t i = 0; i < count; i++) {
        buf_put(&ordered, r->out->ptr + spans[i].start, spans[i].len);
    }
    bool complete = buf_ok(&ordered);
    if (complete && ordered.len) memcpy(r->out->ptr + base, ordered.ptr, ordered.len);
    buf_deinit(&ordered);
    return complete ? OK : nomem(r);
}

static Err read_fields_by_name(JsonReader *r, const Type *type, int depth, FieldSpan *spans) {
    Err err = OK;
    JsonText *t = &r->text;
    const char *open = t->at - 1;
    size_t base = r->out->len;
    bool ordered = true;
    uint32_t next = 0;
    if (json_take(t, '}')) goto closed;
    do {
        Str name;
        uint32_t field;
        json_peek(t);
        const char *at = t->at;
        if ((err = json_text_string(t, &name)) != OK) return err;
        if (!field_find(type, name, next, &field)) return bad_field(r, at, "unknown", name);
        if (spans[field].seen) return bad_field(r, at, "duplicate", name);
        if (!json_take(t, ':')) return json_expected(t, "`:`");
        size_t start = r->out->len;
        if ((err = read_value(r, type->fields[field].type, depth)) != OK) return err;
        spans[field] = (FieldSpan){.start = start, .len = r->out->len - start, .seen = true};
        ordered = ordered && field == next;
        next = field + 1;
    } while (json_take(t, ','));
    if (!json_take(t, '}')) return json_expected(t, "`,` or `}`");
closed:
    for (uint32_t i = 0; i < type->field_count; i++) {
        if (!spans[i].seen) return bad_field(r, open, "missing", type->fields[i].name);
    }
    if (!buf_ok(r->out)) return nomem(r);
    return ordered ? OK : fields_reorder(r, spans, type->field_count, base);
}

static Err read_product(JsonReader *r, const Type *type, int depth, const Str *function) {
    if (json_take(&r->text, '[')) return read_fields_in_order(r, type, depth, function);
    if (!json_take(&r->text, '{')) {
        return json_expected(&r->text,
                             function ? "the arguments as an array or object"
                                      : "a product as an array or object");
    }
    FieldSpan local[FIELDS_LOCAL] = {0}, *spans = local;
    if (type->field_count > FIELDS_LOCAL) {
        spans = mem_zalloc(type->field_count * sizeof *spans);
        if (!spans) return nomem(r);
    }
    Err err = read_fields_by_name(r, type, depth, spans);
    if (spans != local) mem_free(spans);
    return err;
}

// Sums.

// A key names a variant by its tag in decimal or, failing that, by its name.
static bool variant_find(const Type *type, Str key, uint32_t *out) {
    Str digits = key;
    U128 tag;
    bool is_number = digits.len > 0 && digits.len <= 20;
    for (size_t i = 0; i < digits.len && is_number; i++) {
        is_number = digits.ptr[i] >= '0' && digits.ptr[i] <= '9';
    }
    if (is_number && number_read_u128(digits, &tag) && tag < type->field_count) {
        *out = (uint32_t)tag;
        return true;
    }
    return field_find(type, key, 0, out);
}

static Err read_variant_key(JsonReader *r, const Type *type, uint32_t *variant) {
    Str key;
    json_peek(&r->text);
    const char *at = r->text.at;
    Err err = json_text_string(&r->text, &key);
    if (err != OK) return err;
    if (variant_find(type, key, variant)) return OK;
    return json_fail_at(&r->text,
                        at,
                        "unknown variant `" STR_FMT "`",
                        (int)utf8_cut(key, 200),
                        key.ptr);
}

static Err read_variant_tag(JsonReader *r, const Type *type, uint32_t *variant) {
    JsonNumber number;
    U128 tag;
    if (json_peek(&r->text) == '"') return read_variant_key(r, type, variant);
    const char *at = r->text.at;
    Err err = json_number(&r->text, &number);
    if (err != OK) return err;
    if (!number.is_integer || number.token.ptr[0] == '-' || !number_read_u128(number.token, &tag) ||
        tag >= type->field_count) {
        return json_fail_at(&r->text,
                            at,
                            "unknown tag " STR_FMT " for a sum of %u variants",
                            (int)MIN(number.token.len, (size_t)40),
                            number.token.ptr,
                            type->field_count);
    }
    *variant = (uint32_t)tag;
    return OK;
}

static Err read_sum(JsonReader *r, const Type *type, int depth) {
    Err err = OK;
    JsonText *t = &r->text;
    uint32_t variant;
    if (type->special == SPECIAL_OPTION && json_take_word(t, STR("null"))) {
        buf_put_u8(r->out, 1);
        return OK;
    }
    bool by_name = json_take(t, '{');
    if (!by_name && !json_take(t, '['))
        return json_expected(t, "a sum as {\"variant\": value} or [tag, value]");
    const char *open = t->at - 1;
    err = by_name ? read_variant_key(r, type, &variant) : read_variant_tag(r, type, &variant);
    if (err != OK) return err;
    if (!by_name && json_take(t, ']'))
        return json_fail_at(t, open, "invalid length 1, expected [tag, value]");
    if (!json_take(t, by_name ? ':' : ',')) return json_expected(t, by_name ? "`:`" : "`,`");
    buf_put_u8(r->out, (uint8_t)variant);
    if ((err = read_value(r, type->fields[variant].type, depth)) != OK) return err;
    if (!json_take(t, by_name ? '}' : ']')) {
        return json_expected(t,
                             by_name ? "`}`, as a sum has one key" : "`]`, as a sum has two items");
    }
    return OK;
}

// `depth` composites stand around this value.
static Err read_value(JsonReader *r, const Type *type, int depth) {
    if (type->kind == TYPE_STRING) return read_string(r);
    if (type->kind < TYPE_STRING) {
        if (depth + 1 > VALUE_DEPTH_MAX) {
            return diag_fail_at(r->text.diag,
                                ERR_LIMIT,
                                (size_t)(r->text.at - r->text.start),
                                "a value is nested deeper than %d levels",
                                VALUE_DEPTH_MAX);
        }
        if (type->kind == TYPE_PRODUCT) return read_product(r, type, depth + 1, NULL);
        return type->kind == TYPE_SUM ? read_sum(r, type, depth + 1)
                                      : read_array(r, type, depth + 1);
    }
    if (type->kind == TYPE_BOOL) return read_bool(r);
    if (type->kind >= TYPE_F32) return read_float(r, type->kind);
    return type->kind >= TYPE_I256 ? read_256(r, type->kind) : read_int(r, type->kind);
}

static Err read_whole(const Type *type, const Str *function, Str text, Buf *bsatn, Diag *diag) {
    JsonReader r = {.text = json_text(text, diag), .out = bsatn};
    size_t before = bsatn->len;
    Err err = function ? read_product(&r, type, 1, function) : read_value(&r, type, 0);
    if (err == OK && !buf_ok(bsatn)) err = nomem(&r);
    json_peek(&r.text);
    if (err == OK && r.text.at < r.text.end)
        err = json_fail_at(&r.text, r.text.at, "trailing characters");
    json_text_deinit(&r.text);
    if (err != OK) bsatn->len = before;
    return err;
}

Err json_read(const Type *type, Str text, Buf *bsatn, Diag *diag) {
    return read_whole(type, NULL, text, bsatn, diag);
}

Err json_read_args(const Type *params, Str function_name, Str text, Buf *bsatn, Diag *diag) {
    ASSERT(params->kind == TYPE_PRODUCT);
    return read_whole(params, &function_name, text, bsatn, diag);
}
