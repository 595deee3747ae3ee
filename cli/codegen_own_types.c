// codegen_own_types.c: types.ts: each type twice, for the compiler and as bytes. See codegen_own.h.
#include <ctype.h>

#include "cli/codegen_own.h"

// ---- names

const char *own_type_name(const TypeNameDef *type) {
    return cli_format("%s%s", ts_prefix(type->submodule), ts_type_name(type));
}

static bool is_declared(const Codegen *gen, const char *name) {
    for (uint32_t i = 0; i < gen->def->type_count; i++)
        if (strcmp(own_type_name(&gen->def->types[i]), name) == 0) return true;
    return false;
}

// A name of ours must not be one that the module has declared.
static const char *free_name(const Codegen *gen, const char *name) {
    while (is_declared(gen, name))
        name = cli_format("%s_", name);
    return name;
}

const char *own_row_name(const Codegen *gen, const TsTable *table) {
    const TypeNameDef *named = ts_named(gen, table->row);
    if (named) return own_type_name(named);
    return free_name(
        gen,
        cli_format("%s%sRow", ts_prefix(table->submodule), ts_pascal(table->accessor)));
}
const char *own_params_name(const Codegen *gen, const FunctionDef *f) {
    return free_name(gen, cli_format("%sParams", ts_function_name(f)));
}
const char *own_args_name(const Codegen *gen, const FunctionDef *f) {
    return free_name(gen, cli_format("%sArgs", ts_function_name(f)));
}
const char *own_result_name(const Codegen *gen, const FunctionDef *f) {
    return free_name(gen, cli_format("%sResult", ts_function_name(f)));
}

static bool needs_quotes(const char *key) {
    return *key == '\0' || isdigit((unsigned char)*key);
}
const char *own_key(Str name) {
    const char *key = ts_camel(name);
    return needs_quotes(key) ? cli_format("\"%s\"", key) : key;
}
const char *own_member(const char *value, Str name) {
    const char *key = ts_camel(name);
    return needs_quotes(key) ? cli_format("%s[\"%s\"]", value, key)
                             : cli_format("%s.%s", value, key);
}

// ---- one type as an expression

// The method of Reader and Writer for it, or NULL when it is made of other types.
static const char *method_of(const Type *type) {
    return type->special == SPECIAL_BYTES ? "bytes" : ts_simple_name(type);
}

static const char *scalar_text(const Type *type) {
    switch (type->special) {
    case SPECIAL_UNIT: return "__lc.Unit";
    case SPECIAL_BYTES: return "Uint8Array";
    case SPECIAL_IDENTITY: return "__lc.Identity";
    case SPECIAL_CONNECTION_ID: return "__lc.ConnectionId";
    case SPECIAL_TIMESTAMP: return "__lc.Timestamp";
    case SPECIAL_TIME_DURATION: return "__lc.TimeDuration";
    case SPECIAL_UUID: return "__lc.Uuid";
    case SPECIAL_SCHEDULE_AT: return "__lc.ScheduleAt";
    case SPECIAL_OPTION:
    case SPECIAL_RESULT:
    case SPECIAL_NONE: break;
    }
    if (type->kind == TYPE_STRING) return "string";
    if (type->kind == TYPE_BOOL) return "boolean";
    if (type->kind == TYPE_SUM) return "never";
    bool wide = type->kind == TYPE_I64 || type->kind == TYPE_U64 || type->kind == TYPE_I128 ||
                type->kind == TYPE_U128 || type->kind == TYPE_I256 || type->kind == TYPE_U256;
    return wide ? "bigint" : "number";
}

static void unnameable(void) {
    cli_die("A type of the module is neither simple nor declared; clients cannot name it.");
}

// As TypeScript has it.
static const char *type_text(const Codegen *gen, const Type *type) {
    const TypeNameDef *named = ts_named(gen, type);
    if (named) return own_type_name(named);
    if (method_of(type)) return scalar_text(type);
    if (type->special == SPECIAL_OPTION)
        return cli_format("%s | undefined", type_text(gen, type->fields[0].type));
    if (type->special == SPECIAL_RESULT)
        return cli_format("__lc.Result<%s, %s>",
                          type_text(gen, type->fields[0].type),
                          type_text(gen, type->fields[1].type));
    if (type->kind != TYPE_ARRAY) unnameable();
    const char *element = type_text(gen, type->element);
    return strstr(element, " | ") ? cli_format("Array<%s>", element) : cli_format("%s[]", element);
}

// What reads one from `r`.
static const char *read_text(const Codegen *gen, const Type *type) {
    const TypeNameDef *named = ts_named(gen, type);
    if (named) return cli_format("%s.read(r)", own_type_name(named));
    const char *method = method_of(type);
    if (method) return cli_format("r.%s()", method);
    if (type->special == SPECIAL_OPTION)
        return cli_format("r.some() ? %s : undefined", read_text(gen, type->fields[0].type));
    if (type->special == SPECIAL_RESULT)
        return cli_format("r.ok() ? { ok: %s } : { err: %s }",
                          read_text(gen, type->fields[0].type),
                          read_text(gen, type->fields[1].type));
    if (type->kind != TYPE_ARRAY) unnameable();
    return cli_format("r.array(r => %s)", read_text(gen, type->element));
}

// What writes `value` to `w`.
static const char *write_text(const Codegen *gen, const Type *type, const char *value) {
    const TypeNameDef *named = ts_named(gen, type);
    if (named) return cli_format("%s.write(w, %s)", own_type_name(named), value);
    const char *method = method_of(type);
    if (method) return cli_format("w.%s(%s)", method, value);
    if (type->special == SPECIAL_RESULT)
        return cli_format("w.result(%s, (w, v) => %s, (w, v) => %s)",
                          value,
                          write_text(gen, type->fields[0].type, "v"),
                          write_text(gen, type->fields[1].type, "v"));
    bool option = type->special == SPECIAL_OPTION;
    if (!option && type->kind != TYPE_ARRAY) unnameable();
    const Type *inner = option ? type->fields[0].type : type->element;
    return cli_format("w.%s(%s, (w, v) => %s)",
                      option ? "option" : "array",
                      value,
                      write_text(gen, inner, "v"));
}

// ---- a product: an object with fields

static void product_reader(Buf *out, const Codegen *gen, const Type *product) {
    if (product->field_count == 0) {
        buf_put_str(out, STR("  read: () => ({}),\n"));
        return;
    }
    buf_put_str(out, STR("  read: r => ({\n"));
    for (uint32_t i = 0; i < product->field_count; i++)
        buf_printf(out,
                   "    %s: %s,\n",
                   own_key(product->fields[i].name),
                   read_text(gen, product->fields[i].type));
    buf_put_str(out, STR("  }),\n"));
}

static void product_writer(Buf *out, const Codegen *gen, const Type *product) {
    if (product->field_count == 0) {
        buf_put_str(out, STR("  write: () => {},\n"));
        return;
    }
    buf_put_str(out, STR("  write: (w, v) => {\n"));
    for (uint32_t i = 0; i < product->field_count; i++) {
        const char *member = own_member("v", product->fields[i].name);
        buf_printf(out, "    %s;\n", write_text(gen, product->fields[i].type, member));
    }
    buf_put_str(out, STR("  },\n"));
}

// Clients write arguments and never read them.
typedef enum Ways { WAYS_WRITE, WAYS_BOTH } Ways;

static void product_block(Buf *out,
                          const Codegen *gen,
                          const char *name,
                          const Type *product,
                          Ways ways) {
    if (product->field_count == 0) {
        buf_printf(out, "export type %s = {};\n", name);
    } else {
        buf_printf(out, "export type %s = {\n", name);
        for (uint32_t i = 0; i < product->field_count; i++)
            buf_printf(out,
                       "  %s: %s;\n",
                       own_key(product->fields[i].name),
                       type_text(gen, product->fields[i].type));
        buf_put_str(out, STR("};\n"));
    }
    bool both = ways == WAYS_BOTH;
    buf_printf(out, "export const %s: __lc.%s<%s> = {\n", name, both ? "Codec" : "Encoder", name);
    if (both) product_reader(out, gen, product);
    product_writer(out, gen, product);
    buf_put_str(out, STR("};\n\n"));
}

// ---- a sum: { tag, value }

static bool is_unit(const Type *type) {
    return type->special == SPECIAL_UNIT;
}

static void sum_makers(Buf *out, const Codegen *gen, const char *name, const Type *sum) {
    for (uint32_t i = 0; i < sum->field_count; i++) {
        const char *tag = ts_pascal(sum->fields[i].name);
        if (is_unit(sum->fields[i].type))
            buf_printf(out, "  %s: { tag: \"%s\" } as %s,\n", tag, tag, name);
        else
            buf_printf(out,
                       "  %s: (value: %s): %s => ({ tag: \"%s\", value }),\n",
                       tag,
                       type_text(gen, sum->fields[i].type),
                       name,
                       tag);
    }
}

static void sum_reader(Buf *out, const Codegen *gen, const char *name, const Type *sum) {
    buf_printf(out,
               "  read(r: __lc.Reader): %s {\n"
               "    const tag = r.u8();\n"
               "    switch (tag) {\n",
               name);
    for (uint32_t i = 0; i < sum->field_count; i++) {
        const Type *type = sum->fields[i].type;
        const char *value = is_unit(type) ? "" : cli_format(", value: %s", read_text(gen, type));
        buf_printf(out,
                   "      case %u:\n        return { tag: \"%s\"%s };\n",
                   i,
                   ts_pascal(sum->fields[i].name),
                   value);
    }
    buf_printf(out, "    }\n    return r.badTag(tag, \"%s\");\n  },\n", name);
}

static void sum_writer(Buf *out, const Codegen *gen, const char *name, const Type *sum) {
    buf_printf(out, "  write(w: __lc.Writer, v: %s): void {\n    switch (v.tag) {\n", name);
    for (uint32_t i = 0; i < sum->field_count; i++) {
        const Type *type = sum->fields[i].type;
        buf_printf(out,
                   "      case \"%s\":\n        w.u8(%u);\n",
                   ts_pascal(sum->fields[i].name),
                   i);
        if (!is_unit(type)) buf_printf(out, "        %s;\n", write_text(gen, type, "v.value"));
        buf_put_str(out, STR("        return;\n"));
    }
    buf_printf(out, "    }\n    w.badTag(v, \"%s\");\n  },\n", name);
}

static void sum_block(Buf *out, const Codegen *gen, const char *name, const Type *sum) {
    buf_printf(out, "export type %s =", name);
    for (uint32_t i = 0; i < sum->field_count; i++) {
        const Type *type = sum->fields[i].type;
        const char *value =
            is_unit(type) ? "value?: undefined" : cli_format("value: %s", type_text(gen, type));
        buf_printf(out, "\n  | { tag: \"%s\"; %s }", ts_pascal(sum->fields[i].name), value);
    }
    buf_printf(out, ";\nexport const %s = {\n", name);
    sum_makers(out, gen, name, sum);
    sum_reader(out, gen, name, sum);
    sum_writer(out, gen, name, sum);
    buf_put_str(out, STR("};\n\n"));
}

// ---- the file

// TypeScript modules declare a type for the parameters of each function; it is of use only where
// something else names it.
static bool mentions(const Codegen *gen, const Type *type, const TypeNameDef *wanted) {
    const TypeNameDef *named = ts_named(gen, type);
    if (named) return named == wanted;
    if (type->kind == TYPE_ARRAY) return mentions(gen, type->element, wanted);
    if (type->kind != TYPE_PRODUCT && type->kind != TYPE_SUM) return false;
    for (uint32_t i = 0; i < type->field_count; i++)
        if (mentions(gen, type->fields[i].type, wanted)) return true;
    return false;
}

static bool fields_mention(const Codegen *gen, const Type *type, const TypeNameDef *wanted) {
    for (uint32_t i = 0; i < type->field_count; i++)
        if (mentions(gen, type->fields[i].type, wanted)) return true;
    return false;
}

static bool is_mentioned(const TsModule *module, const TypeNameDef *wanted) {
    const Codegen *gen = module->gen;
    const ModuleDef *def = gen->def;
    for (size_t i = 0; i < module->table_count; i++)
        if (mentions(gen, module->tables[i].row, wanted)) return true;
    for (uint32_t i = 0; i < def->type_count; i++) {
        const Type *shape = def->resolved[def->types[i].ref];
        bool parts = shape->kind == TYPE_PRODUCT || shape->kind == TYPE_SUM;
        if (parts && fields_mention(gen, shape, wanted)) return true;
    }
    for (uint32_t i = 0; i < def->reducer_count; i++)
        if (fields_mention(gen, def->reducers[i].params, wanted)) return true;
    for (uint32_t i = 0; i < def->procedure_count; i++)
        if (fields_mention(gen, def->procedures[i].params, wanted) ||
            mentions(gen, def->procedures[i].returns, wanted))
            return true;
    return false;
}

static bool is_parameters(const ModuleDef *def, const TypeNameDef *type) {
    const char *name = own_type_name(type);
    for (uint32_t i = 0; i < def->reducer_count; i++)
        if (strcmp(name, ts_function_name(&def->reducers[i])) == 0) return true;
    for (uint32_t i = 0; i < def->procedure_count; i++)
        if (strcmp(name, ts_function_name(&def->procedures[i])) == 0) return true;
    for (uint32_t i = 0; i < def->view_count; i++) {
        const ViewDef *view = &def->views[i];
        const char *local = ts_pascal(ts_local(view->source, view->submodule));
        if (strcmp(name, cli_format("%s%s", ts_prefix(view->submodule), local)) == 0) return true;
    }
    return false;
}

static void declared_types(Buf *out, const TsModule *module) {
    const Codegen *gen = module->gen;
    const ModuleDef *def = gen->def;
    for (size_t i = 0; i < module->all_type_count; i++) {
        const TypeNameDef *type = module->all_types[i];
        const Type *shape = def->resolved[type->ref];
        if (is_parameters(def, type) && !is_mentioned(module, type)) continue;
        // A sum without variants has no name of its own in use: it is `never`.
        if (shape->kind == TYPE_PRODUCT)
            product_block(out, gen, own_type_name(type), shape, WAYS_BOTH);
        if (shape->kind == TYPE_SUM) sum_block(out, gen, own_type_name(type), shape);
    }
}

static void procedure_types(Buf *out, const Codegen *gen, const FunctionDef *procedure) {
    const char *name = own_result_name(gen, procedure);
    product_block(out, gen, own_args_name(gen, procedure), procedure->params, WAYS_WRITE);
    buf_printf(out,
               "export type %s = %s;\n"
               "export const %s: __lc.Decoder<%s> = {\n"
               "  read: r => %s,\n"
               "};\n\n",
               name,
               type_text(gen, procedure->returns),
               name,
               name,
               read_text(gen, procedure->returns));
}

void own_types_file(Buf *out, const TsModule *module) {
    const Codegen *gen = module->gen;
    own_header(out);
    buf_put_str(out, STR("import type * as __lc from \"lightcone\";\n\n"));
    declared_types(out, module);
    for (size_t i = 0; i < module->table_count; i++)
        if (!ts_named(gen, module->tables[i].row))
            product_block(out,
                          gen,
                          own_row_name(gen, &module->tables[i]),
                          module->tables[i].row,
                          WAYS_BOTH);
    for (size_t i = 0; i < module->reducer_count; i++)
        if (ts_in_index(module->reducers[i]))
            product_block(out,
                          gen,
                          own_params_name(gen, module->reducers[i]),
                          module->reducers[i]->params,
                          WAYS_WRITE);
    for (size_t i = 0; i < module->procedure_count; i++)
        procedure_types(out, gen, module->procedures[i]);
}
