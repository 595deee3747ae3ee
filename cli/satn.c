#include "cli/satn.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

typedef unsigned __int128 U128;

static const char *kind_of(json_t *type) {
    return json_object_iter_key(json_object_iter(type));
}

static const char *name_of(json_t *element) {
    return json_text_at(element, "name.some");
}

static void string_write(Buf *out, const char *text, size_t len) {
    buf_put_u8(out, '"');
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        static const char plain[] = "\"\\\n\r\t";
        static const char letters[] = "\"\\nrt";
        const char *special = c ? strchr(plain, c) : NULL;
        if (special)
            buf_printf(out, "\\%c", letters[special - plain]);
        else if (c < 0x20 || c == 0x7F)
            buf_printf(out, "\\u{%x}", c);
        else
            buf_put_u8(out, c);
    }
    buf_put_u8(out, '"');
}

static const char *number_text(json_t *value) {
    const char *text = json_string_value(value);
    return text ? text : "null";  // the server's word for NaN and the infinities
}

static U128 number_u128(json_t *value) {
    U128 n = 0;
    for (const char *at = number_text(value); *at >= '0' && *at <= '9'; at++)
        n = n * 10 + (U128)(*at - '0');
    return n;
}

static void u128_hex(char out[33], U128 n) {
    for (int i = 31; i >= 0; i--, n >>= 4)
        out[i] = "0123456789abcdef"[(int)(n & 15)];
    out[32] = 0;
}

void satn_write_time(Buf *out, int64_t micros, int digits) {
    int64_t seconds = micros / 1000000 - (micros % 1000000 < 0);
    int64_t fraction = micros - seconds * 1000000;
    time_t at = (time_t)seconds;
    struct tm tm = {0};
    gmtime_r(&at, &tm);
    buf_printf(out,
               "%04d-%02d-%02dT%02d:%02d:%02d",
               tm.tm_year + 1900,
               tm.tm_mon + 1,
               tm.tm_mday,
               tm.tm_hour,
               tm.tm_min,
               tm.tm_sec);
    char six[8];
    snprintf(six, sizeof six, "%06d", (int)fraction);
    if (digits > 0) buf_printf(out, ".%.*s", digits, six);
}

static void identity_write(Buf *out, json_t *value) {
    const char *hex = number_text(value);
    if (strncmp(hex, "0x", 2) == 0) hex += 2;
    buf_put_str(out, STR("0x"));
    for (size_t n = strlen(hex); n < 64; n++)
        buf_put_u8(out, '0');
    buf_put_str(out, str_from(hex));
}

static void timestamp_write(Buf *out, json_t *value) {
    int64_t micros = strtoll(number_text(value), NULL, 10);
    int digits = micros % 1000000 == 0 ? 0 : micros % 1000 == 0 ? 3 : 6;
    satn_write_time(out, micros, digits);
    buf_put_str(out, STR("+00:00"));
}

static void duration_write(Buf *out, json_t *value) {
    const char *text = number_text(value);
    uint64_t micros = strtoull(text + (text[0] == '-'), NULL, 10);
    buf_printf(out,
               "%c%llu.%06llu",
               text[0] == '-' ? '-' : '+',
               (unsigned long long)(micros / 1000000),
               (unsigned long long)(micros % 1000000));
}

static void connection_id_write(Buf *out, json_t *value) {
    char hex[33];
    u128_hex(hex, number_u128(value));
    buf_printf(out, "0x%s", hex);
}

static void uuid_write(Buf *out, json_t *value) {
    char hex[33];
    u128_hex(hex, number_u128(value));
    buf_printf(out, "\"%.8s-%.4s-%.4s-%.4s-%s\"", hex, hex + 8, hex + 12, hex + 16, hex + 20);
}

// The products with one field of a reserved name. False when this is not one.
static bool special_write(Buf *out, json_t *elements, json_t *value) {
    static const struct {
        const char *name;
        void (*write)(Buf *out, json_t *value);
    } specials[] = {
        {"__identity__", identity_write},
        {"__connection_id__", connection_id_write},
        {"__timestamp_micros_since_unix_epoch__", timestamp_write},
        {"__time_duration_micros__", duration_write},
        {"__uuid__", uuid_write},
    };
    const char *name = json_array_size(elements) == 1 ? name_of(json_array_get(elements, 0)) : NULL;
    for (size_t i = 0; name && i < ARRAY_LEN(specials); i++) {
        if (strcmp(name, specials[i].name) != 0) continue;
        json_t *inner =
            json_is_array(value) ? json_array_get(value, 0) : json_object_get(value, name);
        specials[i].write(out, inner);
        return true;
    }
    return false;
}

static void product_write(Buf *out, json_t *elements, json_t *value) {
    if (special_write(out, elements, value)) return;
    size_t i;
    json_t *element;
    buf_put_u8(out, '(');
    json_array_foreach(elements, i, element) {
        const char *name = name_of(element);
        json_t *field = json_is_array(value) ? json_array_get(value, i)
                                             : json_object_get(value, name ? name : "");
        if (!name) name = cli_format("col_%zu", i);
        buf_printf(out, "%s%s = ", i ? ", " : "", name);
        satn_write(out, json_object_get(element, "algebraic_type"), field);
    }
    buf_put_u8(out, ')');
}

static json_t *variant_chosen(json_t *variants, json_t *value, json_t **payload) {
    if (json_is_array(value)) {
        *payload = json_array_get(value, 1);
        return json_array_get(variants, (size_t)atoi(number_text(json_array_get(value, 0))));
    }
    const char *name = kind_of(value);
    *payload = json_object_get(value, name ? name : "");
    size_t i;
    json_t *variant;
    json_array_foreach(variants, i, variant) {
        if (name && name_of(variant) && strcmp(name_of(variant), name) == 0) return variant;
    }
    return NULL;
}

static void sum_write(Buf *out, json_t *variants, json_t *value) {
    json_t *payload = NULL;
    json_t *variant = variant_chosen(variants, value, &payload);
    const char *name = name_of(variant);
    buf_printf(out, "(%s = ", name ? name : "?");
    satn_write(out, json_object_get(variant, "algebraic_type"), payload);
    buf_put_u8(out, ')');
}

static void array_write(Buf *out, json_t *element, json_t *value) {
    if (json_is_string(value)) {  // bytes
        buf_printf(out, "0x%s", json_string_value(value));
        return;
    }
    size_t i;
    json_t *item;
    buf_put_u8(out, '[');
    json_array_foreach(value, i, item) {
        if (i) buf_put_str(out, STR(", "));
        satn_write(out, element, item);
    }
    buf_put_u8(out, ']');
}

void satn_write(Buf *out, json_t *type, json_t *value) {
    const char *kind = kind_of(type);
    if (!kind || !value) {
        buf_put_str(out, STR("?"));
    } else if (strcmp(kind, "Product") == 0) {
        product_write(out, json_at(type, "Product.elements"), value);
    } else if (strcmp(kind, "Sum") == 0) {
        sum_write(out, json_at(type, "Sum.variants"), value);
    } else if (strcmp(kind, "Array") == 0) {
        array_write(out, json_object_get(type, "Array"), value);
    } else if (strcmp(kind, "String") == 0) {
        string_write(out, json_string_value(value), json_string_length(value));
    } else if (json_is_boolean(value)) {
        buf_put_str(out, json_is_true(value) ? STR("true") : STR("false"));
    } else {
        buf_put_str(out, str_from(number_text(value)));
    }
}
