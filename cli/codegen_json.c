// codegen_json.c: what clients see of a module, as JSON Schema: for programs that make forms, check
// arguments or generate code for languages that we do not.
//
// PICTURE
//   { "$schema", "tables": { user: { row, primaryKey, unique, event, view } },
//     "reducers": { set_name: { params } }, "procedures": { add: { params, returns } }, "$defs": types }
//
// Values have the typed form of the HTTP API: objects by name, {"Variant": content} for sums, so that
// params are what POST /v1/database/NAME/call/REDUCER takes. Types that the module has named are in $defs.
#include <jansson.h>
#include <stdlib.h>

#include "cli/codegen_ts.h"

static json_t *schema(const Codegen *gen, const Type *type);

static void put(json_t *object, const char *key, json_t *value) {
    if (!object || !value || json_object_set_new(object, key, value) != 0) cli_die("out of memory");
}

static const char *text_of(Str name) {
    return cli_copy(name);
}

static json_t *typed(const char *name) {
    json_t *made = json_object();
    put(made, "type", json_string(name));
    return made;
}

static json_t *integer(int bits, bool is_signed) {
    json_t *made = typed("integer");
    if (!is_signed) put(made, "minimum", json_integer(0));
    if (is_signed && bits <= 64) put(made, "minimum", json_integer(INT64_MIN >> (64 - bits)));
    // The largest 64-bit number without a sign is not one that jansson knows.
    if (bits < 64 || (is_signed && bits == 64))
        put(made,
            "maximum",
            json_integer((json_int_t)(INT64_MAX >> (64 - bits)) * (is_signed ? 1 : 2) +
                         !is_signed));
    return made;
}

static json_t *pattern(const char *regex) {
    json_t *made = typed("string");
    put(made, "pattern", json_string(regex));
    return made;
}

static json_t *product(const Codegen *gen, const Type *type) {
    json_t *made = typed("object"), *properties = json_object(), *required = json_array();
    for (uint32_t i = 0; i < type->field_count; i++) {
        const char *name = text_of(type->fields[i].name);
        put(properties, name, schema(gen, type->fields[i].type));
        if (json_array_append_new(required, json_string(name)) != 0) cli_die("out of memory");
    }
    put(made, "properties", properties);
    put(made, "required", required);
    put(made, "additionalProperties", json_false());
    return made;
}

static json_t *sum(const Codegen *gen, const Type *type) {
    json_t *made = json_object(), *variants = json_array();
    for (uint32_t i = 0; i < type->field_count; i++) {
        Type one = {.kind = TYPE_PRODUCT, .field_count = 1, .fields = &type->fields[i]};
        if (json_array_append_new(variants, product(gen, &one)) != 0) cli_die("out of memory");
    }
    put(made, "oneOf", variants);
    return made;
}

static json_t *array(json_t *items) {
    json_t *made = typed("array");
    put(made, "items", items);
    return made;
}

// As it is spelled out, whatever its name.
static json_t *shape(const Codegen *gen, const Type *type) {
    if (type->special == SPECIAL_BYTES) return pattern("^([0-9a-fA-F]{2})*$");
    if (type->special == SPECIAL_UNIT) {
        json_t *made = typed("array");
        put(made, "maxItems", json_integer(0));
        return made;
    }
    switch (type->kind) {
    case TYPE_BOOL: return typed("boolean");
    case TYPE_STRING: return typed("string");
    case TYPE_I8: return integer(8, true);
    case TYPE_U8: return integer(8, false);
    case TYPE_I16: return integer(16, true);
    case TYPE_U16: return integer(16, false);
    case TYPE_I32: return integer(32, true);
    case TYPE_U32: return integer(32, false);
    case TYPE_I64: return integer(64, true);
    case TYPE_U64: return integer(64, false);
    case TYPE_I128: return integer(128, true);
    case TYPE_U128: return integer(128, false);
    case TYPE_I256: return pattern("^[+-]?0x[0-9a-fA-F]+$");
    case TYPE_U256: return pattern("^[+]?0x[0-9a-fA-F]+$");
    case TYPE_F32:
    case TYPE_F64: return typed("number");
    case TYPE_ARRAY: return array(schema(gen, type->element));
    case TYPE_PRODUCT: return product(gen, type);
    case TYPE_SUM: return sum(gen, type);
    case TYPE_REF: break;
    }
    UNREACHABLE();
}

static const char *def_name(const TypeNameDef *type) {
    return cli_format("%s%s", ts_prefix(type->submodule), ts_type_name(type));
}

static json_t *schema(const Codegen *gen, const Type *type) {
    const TypeNameDef *named = ts_named(gen, type);
    if (!named) return shape(gen, type);
    json_t *made = json_object();
    put(made, "$ref", json_string(cli_format("#/$defs/%s", def_name(named))));
    return made;
}

static json_t *table(const Codegen *gen, const TsTable *of) {
    json_t *made = json_object(), *unique = json_array();
    put(made, "row", schema(gen, of->row));
    if (of->primary_key >= 0)
        put(made, "primaryKey", json_string(text_of(of->row->fields[of->primary_key].name)));
    for (uint32_t i = 0; of->table && i < of->table->constraint_count; i++) {
        const ConstraintDef *constraint = &of->table->constraints[i];
        json_t *columns = json_array();
        for (uint16_t c = 0; c < constraint->column_count; c++)
            json_array_append_new(
                columns,
                json_string(text_of(of->row->fields[constraint->columns[c]].name)));
        if (json_array_append_new(unique, columns) != 0) cli_die("out of memory");
    }
    put(made, "unique", unique);
    put(made, "event", json_boolean(of->table && of->table->is_event));
    put(made, "view", json_boolean(!of->table));
    return made;
}

static json_t *function(const Codegen *gen, const FunctionDef *f) {
    json_t *made = json_object();
    put(made, "params", product(gen, f->params));
    if (f->returns) put(made, "returns", schema(gen, f->returns));
    return made;
}

void codegen_json(Codegen *gen) {
    TsModule module = ts_module(gen);
    json_t *tables = json_object(), *reducers = json_object(), *procedures = json_object(),
           *defs = json_object();
    for (size_t i = 0; i < module.table_count; i++)
        put(tables, text_of(module.tables[i].name), table(gen, &module.tables[i]));
    for (size_t i = 0; i < module.reducer_count; i++)
        if (ts_in_index(module.reducers[i]))
            put(reducers, text_of(module.reducers[i]->name), function(gen, module.reducers[i]));
    for (size_t i = 0; i < module.procedure_count; i++)
        put(procedures, text_of(module.procedures[i]->name), function(gen, module.procedures[i]));
    for (size_t i = 0; i < module.all_type_count; i++)
        put(defs,
            def_name(module.all_types[i]),
            shape(gen, gen->def->resolved[module.all_types[i]->ref]));
    json_t *whole = json_object();
    put(whole, "$schema", json_string("https://json-schema.org/draft/2020-12/schema"));
    put(whole, "$comment", json_string("Generated by lightcone generate --lang json"));
    put(whole, "tables", tables);
    put(whole, "reducers", reducers);
    put(whole, "procedures", procedures);
    put(whole, "$defs", defs);
    char *text = json_dumps(whole, JSON_INDENT(2));
    if (!text) cli_die("out of memory");
    const char *made = cli_format("%s\n", text);
    free(text);
    json_decref(whole);
    gen->files = arena_zalloc_array(cli_arena(), sizeof *gen->files, 1);
    if (!gen->files) cli_die("out of memory");
    const char *name = ts_snake(str_from(gen->name ? gen->name : "module"));
    gen->files[gen->file_count++] = (CodegenFile){cli_format("%s.json", name), made, strlen(made)};
}
