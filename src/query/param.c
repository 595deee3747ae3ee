// param.c: parameters, $1 and so on, and literals that drivers wrote in their place, as values of what they meet.
//
// A value comes as text, in the forms in which PostgreSQL's drivers write it; beyond that it is a
// literal like any other (literal.c). Before it is known, a zero stands in its place: the statement can
// be compiled, so that its columns and the types of its parameters are found out, but not run.
#include "query/compile.h"

static bool text_is(Str text, const char *const *words, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (str_eq_nocase(text, str_from(words[i]))) return true;
    }
    return false;
}

static bool put_truth(Str text, Buf *out) {
    static const char *const yes[] = {"t", "true", "y", "yes", "on", "1"};
    static const char *const no[] = {"f", "false", "n", "no", "off", "0"};
    bool truth = text_is(text, yes, ARRAY_LEN(yes));
    buf_put_u8(out, truth);
    return truth || text_is(text, no, ARRAY_LEN(no));
}

static bool put_variant(const Type *type, Str text, Buf *out) {
    for (uint32_t i = 0; i < type->field_count; i++) {
        if (!str_eq(type->fields[i].name, text)) continue;
        buf_put_u8(out, (uint8_t)i);
        return true;
    }
    return false;
}

// A date alone is its midnight, no zone is UTC, and a zone may be hours alone or lack its colon.
static bool put_time(const Type *type, Str text, Buf *out) {
    char full[48];
    size_t len = text.len;
    if (len < 10 || len > 35) return false;
    memcpy(full, text.ptr, len);
    if (len == 10) {
        memcpy(full + len, "T00:00:00", 9);
        len += 9;
    }
    size_t sign = len;  // of the zone, which stands behind the seconds
    for (size_t i = 19; i < len; i++)
        if (full[i] == '+' || full[i] == '-') sign = i;
    bool zulu = full[len - 1] == 'Z' || full[len - 1] == 'z';
    if (sign == len && !zulu) full[len++] = 'Z';
    if (sign + 3 == len) {
        memcpy(full + len, ":00", 3);
        len += 3;
    } else if (sign + 5 == len) {
        memmove(full + sign + 4, full + sign + 3, 2);
        full[sign + 3] = ':';
        len++;
    }
    return sql_literal(type, (Str){full, len}, out);
}

static bool put_value(const Type *type, Str text, Buf *out) {
    if (type->kind == TYPE_BOOL) return put_truth(text, out);
    if (type_is_plain_enum(type)) return put_variant(type, text, out);
    if (type->special == SPECIAL_TIMESTAMP) return put_time(type, text, out);
    bool is_hex = type->special == SPECIAL_BYTES || type->special == SPECIAL_IDENTITY ||
                  type->special == SPECIAL_CONNECTION_ID;
    if (is_hex && str_starts(text, STR("\\x"))) text = (Str){text.ptr + 2, text.len - 2};
    return sql_literal(type, text, out);
}

// Any value of the type. False: there are no literals of it either.
static bool put_zero(const Type *type, Buf *out) {
    static const uint8_t zeros[32] = {0};
    if (type->special == SPECIAL_OPTION || type_is_plain_enum(type)) {
        buf_put_u8(out, type->special == SPECIAL_OPTION);
        return true;
    }
    if (type->kind == TYPE_STRING || type->special == SPECIAL_BYTES) {
        buf_put_u32(out, 0);
        return true;
    }
    if (type->kind == TYPE_SUM || type->fixed_size > sizeof zeros) return false;
    buf_put(out, zeros, type->fixed_size);
    return true;
}

Err sql_param(StatementParam *param, const Type *type, Str name, Buf *out, Diag *diag) {
    if (!param->type) param->type = type;
    if (!param->known) return put_zero(type, out) ? OK : compile_fail_literal(diag, name, type);
    if (type->special == SPECIAL_OPTION) {
        buf_put_u8(out, param->text.ptr ? 0 : 1);
        if (!param->text.ptr) return OK;
        type = type->fields[0].type;
    }
    if (!param->text.ptr)
        return diag_fail(diag,
                         ERR_INVALID,
                         "The parameter " STR_FMT
                         " is NULL; a column says that it has no value with "
                         "IS NULL, and only an Option can be set to NULL",
                         STR_ARG(name));
    return put_value(type, param->text, out) ? OK : compile_fail_literal(diag, param->text, type);
}
