// codegen_types.c: types and fields as expressions of the npm package's `t`. Spec §17.3.
#include "cli/codegen_ts.h"

static const char *converted(Str name, CaseStyle style) {
    Str text = case_convert(cli_arena(), name, style);
    if (!text.ptr && name.len > 0) cli_die("out of memory");
    return cli_copy(text);
}

const char *ts_snake(Str name) {
    return converted(name, CASE_STYLE_SNAKE);
}
const char *ts_camel(Str name) {
    return converted(name, CASE_STYLE_CAMEL);
}
const char *ts_pascal(Str name) {
    return converted(name, CASE_STYLE_PASCAL);
}

Str ts_local(Str full, Str submodule) {
    size_t skip = submodule.len ? submodule.len + 1 : 0;
    return (Str){full.ptr + skip, full.len - skip};
}

const char *ts_directory(Str submodule) {
    char *directory = cli_format(STR_FMT "%s", STR_ARG(submodule), submodule.len ? "/" : "");
    for (char *at = directory; *at; at++)
        if (*at == '.') *at = '/';
    return directory;
}

const char *ts_prefix(Str submodule) {
    const char *prefix = "";
    while (submodule.len > 0) {
        const char *dot = memchr(submodule.ptr, '.', submodule.len);
        size_t len = dot ? (size_t)(dot - submodule.ptr) : submodule.len;
        prefix = cli_format("%s%s_", prefix, ts_pascal((Str){submodule.ptr, len}));
        len += dot != NULL;
        submodule = (Str){submodule.ptr + len, submodule.len - len};
    }
    return prefix;
}

const char *ts_function_name(const FunctionDef *function) {
    Str local = ts_local(function->source, function->submodule);
    return cli_format("%s%s", ts_prefix(function->submodule), ts_pascal(local));
}

const char *ts_function_file(const FunctionDef *function) {
    Str local = ts_local(function->source, function->submodule);
    return cli_format("%s%s", ts_directory(function->submodule), ts_snake(local));
}

const char *ts_type_name(const TypeNameDef *type) {
    const char *name = "";
    for (uint32_t i = 0; i < type->scope_count; i++)
        name = cli_format("%s%s", name, ts_pascal(type->scope[i]));
    return cli_format("%s%s", name, ts_pascal(type->name));
}

const TypeNameDef *ts_named(const Codegen *gen, const Type *type) {
    if (type->source_ref == TYPE_NO_REF) return NULL;
    for (uint32_t i = 0; i < gen->def->type_count; i++)
        if (gen->def->types[i].ref == type->source_ref) return &gen->def->types[i];
    return NULL;
}

// Does the expression for `type` name a declared type? Then it must wait in a getter until all
// types exist. Stops at names, so recursion ends.
static bool mentions_named(const Codegen *gen, const Type *type) {
    if (ts_named(gen, type)) return true;
    if (type->kind == TYPE_ARRAY) return mentions_named(gen, type->element);
    bool arguments = type->special == SPECIAL_OPTION || type->special == SPECIAL_RESULT;
    for (uint32_t i = 0; arguments && i < type->field_count; i++)
        if (mentions_named(gen, type->fields[i].type)) return true;
    return false;
}

const char *ts_simple_name(const Type *type) {
    switch (type->special) {
    case SPECIAL_UNIT: return "unit";
    case SPECIAL_BYTES: return "byteArray";
    case SPECIAL_IDENTITY: return "identity";
    case SPECIAL_CONNECTION_ID: return "connectionId";
    case SPECIAL_TIMESTAMP: return "timestamp";
    case SPECIAL_TIME_DURATION: return "timeDuration";
    case SPECIAL_UUID: return "uuid";
    case SPECIAL_SCHEDULE_AT: return "scheduleAt";
    case SPECIAL_OPTION:
    case SPECIAL_RESULT:
    case SPECIAL_NONE: break;
    }
    switch (type->kind) {
    case TYPE_STRING: return "string";
    case TYPE_BOOL: return "bool";
    case TYPE_I8: return "i8";
    case TYPE_U8: return "u8";
    case TYPE_I16: return "i16";
    case TYPE_U16: return "u16";
    case TYPE_I32: return "i32";
    case TYPE_U32: return "u32";
    case TYPE_I64: return "i64";
    case TYPE_U64: return "u64";
    case TYPE_I128: return "i128";
    case TYPE_U128: return "u128";
    case TYPE_I256: return "i256";
    case TYPE_U256: return "u256";
    case TYPE_F32: return "f32";
    case TYPE_F64: return "f64";
    case TYPE_SUM: return type->field_count == 0 ? "never" : NULL;
    case TYPE_REF:
    case TYPE_PRODUCT:
    case TYPE_ARRAY: return NULL;
    }
    UNREACHABLE();
}

void ts_type(Buf *out, const Codegen *gen, const Type *type) {
    const TypeNameDef *named = ts_named(gen, type);
    const char *simple = named ? NULL : ts_simple_name(type);
    if (named) {
        buf_printf(out, "%s", ts_type_name(named));
    } else if (simple) {
        buf_printf(out, "__t.%s()", simple);
    } else if (type->special == SPECIAL_OPTION) {
        buf_put_str(out, STR("__t.option("));
        ts_type(out, gen, type->fields[0].type);
        buf_put_u8(out, ')');
    } else if (type->special == SPECIAL_RESULT) {
        buf_put_str(out, STR("__t.result("));
        ts_type(out, gen, type->fields[0].type);
        buf_put_str(out, STR(", "));
        ts_type(out, gen, type->fields[1].type);
        buf_put_u8(out, ')');
    } else if (type->kind == TYPE_ARRAY) {
        buf_put_str(out, STR("__t.array("));
        ts_type(out, gen, type->element);
        buf_put_u8(out, ')');
    } else {
        cli_die("A type of the module is neither simple nor declared; clients cannot name it.");
    }
}

// "key: expression" or a getter, and a comma.
static void entry(Buf *out,
                  const Codegen *gen,
                  const char *key,
                  const Type *type,
                  const char *after) {
    bool getter = mentions_named(gen, type);
    buf_printf(out, getter ? "  get %s() {\n    return " : "  %s: ", key);
    ts_type(out, gen, type);
    buf_printf(out, getter ? "%s;\n  },\n" : "%s,\n", after);
}

void ts_fields(Buf *out, const Codegen *gen, const Type *product, bool row, int32_t primary_key) {
    for (uint32_t i = 0; i < product->field_count; i++) {
        const TypeField *field = &product->fields[i];
        const char *key = ts_camel(field->name);
        bool renamed = row && !str_eq(field->name, str_from(key));
        const char *name =
            renamed ? cli_format(".name(\"" STR_FMT "\")", STR_ARG(field->name)) : "";
        const char *primary = row && (int32_t)i == primary_key ? ".primaryKey()" : "";
        entry(out, gen, key, field->type, cli_format("%s%s", primary, name));
    }
}

void ts_variants(Buf *out, const Codegen *gen, const Type *sum) {
    for (uint32_t i = 0; i < sum->field_count; i++)
        entry(out, gen, ts_pascal(sum->fields[i].name), sum->fields[i].type, "");
}
