// codegen.c: which files there are and what stands in each but index.ts. Spec §17.2, §17.4.
#include "cli/codegen.h"

#include <stdlib.h>

#include "cli/codegen_ts.h"

void ts_header(Buf *out) {
    buf_put_str(out,
                STR(CODEGEN_MARK ". EDITS TO THIS FILE\n"
                                 "// WILL NOT BE SAVED. MODIFY TABLES IN YOUR MODULE SOURCE CODE "
                                 "INSTEAD.\n\n"));
}

static void lints(Buf *out) {
    buf_put_str(out, STR("/* eslint-disable */\n/* tslint:disable */\n"));
}

static void builder_import(Buf *out) {
    ts_header(out);
    lints(out);
    buf_put_str(out,
                STR("import {\n"
                    "  TypeBuilder as __TypeBuilder,\n"
                    "  t as __t,\n"
                    "  type AlgebraicTypeType as __AlgebraicTypeType,\n"
                    "  type Infer as __Infer,\n"
                    "} from \"spacetimedb\";\n"));
}

// ---- what is visible, and in which order

static int str_cmp(Str a, Str b) {
    return bytes_cmp(str_bytes(a), str_bytes(b));
}
static int module_order(Str a, Str b) {
    if (!a.len != !b.len) return a.len ? 1 : -1;
    return 0;
}
static int table_order(const void *a, const void *b) {
    const TsTable *x = a, *y = b;
    int order = module_order(x->submodule, y->submodule);
    if (order != 0) return order;
    if (!x->table != !y->table) return x->table ? -1 : 1;
    return str_cmp(x->name, y->name);
}
static int function_order(const void *a, const void *b) {
    int order = module_order((*(const FunctionDef *const *)a)->submodule,
                             (*(const FunctionDef *const *)b)->submodule);
    if (order != 0) return order;
    return str_cmp((*(const FunctionDef *const *)a)->name, (*(const FunctionDef *const *)b)->name);
}
static int type_order(const void *a, const void *b) {
    const TypeNameDef *x = *(const TypeNameDef *const *)a, *y = *(const TypeNameDef *const *)b;
    int modules = str_cmp(x->submodule, y->submodule);
    if (modules != 0) return modules;
    for (uint32_t i = 0; i < x->scope_count && i < y->scope_count; i++) {
        int order = str_cmp(x->scope[i], y->scope[i]);
        if (order != 0) return order;
    }
    if (x->scope_count != y->scope_count) return x->scope_count < y->scope_count ? -1 : 1;
    return str_cmp(x->name, y->name);
}

static void *list_new(size_t each, size_t count) {
    void *list = arena_zalloc_array(cli_arena(), each, count + 1);
    if (!list) cli_die("out of memory");
    return list;
}

static void tables_collect(TsModule *module) {
    const ModuleDef *def = module->gen->def;
    module->tables = list_new(sizeof(TsTable), (size_t)def->table_count + def->view_count);
    for (uint32_t i = 0; i < def->table_count; i++) {
        const TableDef *table = &def->tables[i];
        if (!table->is_public && !module->gen->include_private) continue;
        module->has_submodules |= table->submodule.len > 0;
        module->tables[module->table_count++] =
            (TsTable){.name = table->name,
                      .accessor = ts_local(table->source, table->submodule),
                      .submodule = table->submodule,
                      .row = table->row_type,
                      .primary_key = table->primary_key,
                      .table = table};
    }
    for (uint32_t i = 0; i < def->view_count; i++) {
        const ViewDef *view = &def->views[i];
        module->has_submodules |= view->submodule.len > 0;
        module->tables[module->table_count++] =
            (TsTable){.name = view->name,
                      .accessor = ts_local(view->source, view->submodule),
                      .submodule = view->submodule,
                      .row = view->row_type,
                      .primary_key = view->primary_key};
    }
    qsort(module->tables, module->table_count, sizeof *module->tables, table_order);
}

static void functions_collect(TsModule *module) {
    const ModuleDef *def = module->gen->def;
    bool all = module->gen->include_private;
    module->reducers = list_new(sizeof *module->reducers, def->reducer_count);
    for (uint32_t i = 0; i < def->reducer_count; i++) {
        const FunctionDef *reducer = &def->reducers[i];
        if ((all || !reducer->is_private) && reducer->lifecycle != LIFECYCLE_INIT)
            module->reducers[module->reducer_count++] = reducer;
    }
    module->procedures = list_new(sizeof *module->procedures, def->procedure_count);
    for (uint32_t i = 0; i < def->procedure_count; i++)
        if (all || !def->procedures[i].is_private)
            module->procedures[module->procedure_count++] = &def->procedures[i];
    qsort(module->procedures, module->procedure_count, sizeof *module->procedures, function_order);
    for (uint32_t i = 0; i < module->reducer_count; i++)
        module->has_submodules |= module->reducers[i]->submodule.len > 0;
    for (uint32_t i = 0; i < module->procedure_count; i++)
        module->has_submodules |= module->procedures[i]->submodule.len > 0;
}

static bool reducer_shadows(const ModuleDef *def, const TypeNameDef *type) {
    for (uint32_t i = 0; i < def->reducer_count; i++) {
        const FunctionDef *reducer = &def->reducers[i];
        if (!str_eq(reducer->submodule, type->submodule)) continue;
        const char *name = ts_pascal(ts_local(reducer->source, reducer->submodule));
        if (strcmp(name, ts_type_name(type)) == 0) return true;
    }
    return false;
}

static void types_collect(TsModule *module) {
    const ModuleDef *def = module->gen->def;
    module->types = list_new(sizeof *module->types, def->type_count);
    module->all_types = list_new(sizeof *module->all_types, def->type_count);
    for (uint32_t i = 0; i < def->type_count; i++) {
        module->all_types[module->all_type_count++] = &def->types[i];
        if (!reducer_shadows(def, &def->types[i]))
            module->types[module->type_count++] = &def->types[i];
    }
    qsort(module->types, module->type_count, sizeof *module->types, type_order);
    qsort(module->all_types, module->all_type_count, sizeof *module->all_types, type_order);
}

TsModule ts_module(const Codegen *gen) {
    TsModule module = {.gen = gen};
    tables_collect(&module);
    functions_collect(&module);
    types_collect(&module);
    return module;
}

bool ts_in_index(const FunctionDef *reducer) {
    return reducer->lifecycle == LIFECYCLE_NONE;
}

// ---- the declared types that some types name directly, for an import

typedef struct UsedTypes {
    const Codegen *gen;
    bool *used;  // by position in def->types
    bool any;
} UsedTypes;

static void used_add(UsedTypes *used, const Type *type) {
    const TypeNameDef *named = ts_named(used->gen, type);
    if (named) {
        used->used[named - used->gen->def->types] = true;
        used->any = true;
    } else if (type->kind == TYPE_ARRAY) {
        used_add(used, type->element);
    } else if (type->special == SPECIAL_OPTION || type->special == SPECIAL_RESULT) {
        for (uint32_t i = 0; i < type->field_count; i++)
            used_add(used, type->fields[i].type);
    }
}

static UsedTypes used_by(const Codegen *gen, const Type *product, const Type *other) {
    UsedTypes used = {.gen = gen, .used = list_new(sizeof(bool), gen->def->type_count)};
    for (uint32_t i = 0; i < product->field_count; i++)
        used_add(&used, product->fields[i].type);
    if (other) used_add(&used, other);
    return used;
}

static void used_import(Buf *out, const UsedTypes *used) {
    const ModuleDef *def = used->gen->def;
    buf_put_str(out, STR("import {\n"));
    for (uint32_t ref = 0; ref < def->typespace.count; ref++)
        for (uint32_t i = 0; i < def->type_count; i++)
            if (def->types[i].ref == ref && used->used[i])
                buf_printf(out, "  %s,\n", ts_type_name(&def->types[i]));
    buf_put_str(out, STR("} from \"./types\";\n"));
}

// ---- one file each

static void file_add(Codegen *gen, const char *path, Buf *out) {
    size_t len = out->len;
    gen->files[gen->file_count++] = (CodegenFile){path, cli_buf_text(out), len};
}

static void table_file(Codegen *gen, const TsTable *table) {
    Buf out = {0};
    UsedTypes used = used_by(gen, table->row, NULL);
    builder_import(&out);
    if (used.any) used_import(&out, &used);
    buf_put_str(&out, used.any ? STR("\n\n") : STR("\n"));
    buf_put_str(&out, STR("export default __t.row({\n"));
    ts_fields(&out, gen, table->row, true, table->primary_key);
    buf_put_str(&out, STR("});\n"));
    file_add(gen,
             cli_format("%s%s_table.ts", ts_directory(table->submodule), ts_snake(table->accessor)),
             &out);
}

static void imports_before_params(Buf *out, const Codegen *gen, const FunctionDef *function) {
    UsedTypes used = used_by(gen, function->params, function->returns);
    builder_import(out);
    buf_put_u8(out, '\n');
    if (!used.any) return;
    used_import(out, &used);
    buf_put_u8(out, '\n');
}

static void reducer_file(Codegen *gen, const FunctionDef *reducer) {
    Buf out = {0};
    imports_before_params(&out, gen, reducer);
    buf_put_str(&out,
                reducer->params->field_count ? STR("export default {\n") : STR("export default {"));
    ts_fields(&out, gen, reducer->params, false, -1);
    buf_put_str(&out, STR("};\n"));
    file_add(gen, cli_format("%s_reducer.ts", ts_function_file(reducer)), &out);
}

static void procedure_file(Codegen *gen, const FunctionDef *procedure) {
    Buf out = {0};
    imports_before_params(&out, gen, procedure);
    buf_put_str(&out, STR("export const params = {\n"));
    ts_fields(&out, gen, procedure->params, false, -1);
    buf_put_str(&out, STR("};\nexport const returnType = "));
    ts_type(&out, gen, procedure->returns);
    file_add(gen, cli_format("%s_procedure.ts", ts_function_file(procedure)), &out);
}

static void type_block(Buf *out, const Codegen *gen, const TypeNameDef *type) {
    const char *name = ts_type_name(type);
    const Type *shape = gen->def->resolved[type->ref];
    bool sum = shape->kind == TYPE_SUM;
    bool self_describing = sum && strcmp(name, "AlgebraicType") == 0;
    if (sum)
        buf_printf(out, "// The tagged union or sum type for the algebraic type `%s`.\n", name);
    buf_printf(out,
               "export const %s%s = __t.%s(\"%s\", {",
               name,
               self_describing ? ": __TypeBuilder<__AlgebraicTypeType, __AlgebraicTypeType>" : "",
               sum ? "enum" : "object",
               name);
    if (shape->field_count > 0) buf_put_u8(out, '\n');
    if (sum)
        ts_variants(out, gen, shape);
    else
        ts_fields(out, gen, shape, false, -1);
    buf_printf(out, "});\nexport type %s = __Infer<typeof %s>;\n\n", name, name);
}

// The types of one module, which are types[*at] and those behind it; the root has a file in any case.
static void types_file(Codegen *gen, const TsModule *module, Str submodule, size_t *at) {
    Buf out = {0};
    builder_import(&out);
    buf_put_u8(&out, '\n');
    for (; *at < module->type_count; ++*at) {
        const TypeNameDef *type = module->types[*at];
        if (!str_eq(type->submodule, submodule)) break;
        TypeKind kind = gen->def->resolved[type->ref]->kind;
        if (kind == TYPE_SUM || kind == TYPE_PRODUCT) type_block(&out, gen, type);
    }
    file_add(gen, cli_format("%stypes.ts", ts_directory(submodule)), &out);
}

static void types_files(Codegen *gen, const TsModule *module) {
    size_t at = 0;
    types_file(gen, module, STR(""), &at);
    while (at < module->type_count)
        types_file(gen, module, module->types[at]->submodule, &at);
}

static void reducer_types_file(Codegen *gen, const TsModule *module) {
    Buf out = {0};
    ts_header(&out);
    lints(&out);
    buf_put_str(&out,
                STR("import { type Infer as __Infer } from \"spacetimedb\";\n\n"
                    "// Import all reducer arg schemas\n"));
    for (size_t i = 0; i < module->reducer_count; i++) {
        if (module->reducers[i]->submodule.len > 0) continue;
        buf_printf(&out,
                   "import %sReducer from \"../%s_reducer\";\n",
                   ts_function_name(module->reducers[i]),
                   ts_function_file(module->reducers[i]));
    }
    buf_put_u8(&out, '\n');
    for (size_t i = 0; i < module->reducer_count; i++) {
        if (module->reducers[i]->submodule.len > 0) continue;
        const char *name = ts_function_name(module->reducers[i]);
        buf_printf(&out, "export type %sParams = __Infer<typeof %sReducer>;\n", name, name);
    }
    buf_put_u8(&out, '\n');
    file_add(gen, "types/reducers.ts", &out);
}

static void procedure_types_file(Codegen *gen, const TsModule *module) {
    Buf out = {0};
    ts_header(&out);
    lints(&out);
    buf_put_str(&out,
                STR("import { type Infer as __Infer } from \"spacetimedb\";\n\n"
                    "// Import all procedure arg schemas\n"));
    for (size_t i = 0; i < module->procedure_count; i++) {
        if (module->procedures[i]->submodule.len > 0) continue;
        buf_printf(&out,
                   "import * as %sProcedure from \"../%s_procedure\";\n",
                   ts_function_name(module->procedures[i]),
                   ts_function_file(module->procedures[i]));
    }
    buf_put_u8(&out, '\n');
    for (size_t i = 0; i < module->procedure_count; i++) {
        if (module->procedures[i]->submodule.len > 0) continue;
        const char *name = ts_function_name(module->procedures[i]);
        buf_printf(&out,
                   "export type %sArgs = __Infer<typeof %sProcedure.params>;\n"
                   "export type %sResult = __Infer<typeof %sProcedure.returnType>;\n",
                   name,
                   name,
                   name,
                   name);
    }
    buf_put_u8(&out, '\n');
    file_add(gen, "types/procedures.ts", &out);
}

void codegen_typescript(Codegen *gen) {
    TsModule module = ts_module(gen);
    // One for each item, at most one of types for each type, and four that are always there.
    size_t most =
        module.table_count + module.reducer_count + module.procedure_count + module.type_count + 4;
    gen->files = list_new(sizeof *gen->files, most);
    for (size_t i = 0; i < module.table_count; i++)
        table_file(gen, &module.tables[i]);
    for (size_t i = 0; i < module.reducer_count; i++)
        reducer_file(gen, module.reducers[i]);
    for (size_t i = 0; i < module.procedure_count; i++)
        procedure_file(gen, module.procedures[i]);
    types_files(gen, &module);
    reducer_types_file(gen, &module);
    procedure_types_file(gen, &module);
    Buf index = {0};
    ts_index_file(&index, &module);
    file_add(gen, "index.ts", &index);
}
