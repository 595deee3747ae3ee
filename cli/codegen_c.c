// codegen_c.c: functions of tables, reducers and procedures in C. See codegen_c.h.
#include "cli/codegen_c.h"

static void print_both(CGenerated *gen, const char *comment) {
    buf_printf(&gen->header, "// ── %s\n\n", comment);
    buf_printf(&gen->source, "// ── %s\n\n", comment);
}

#define LINE_CHARS_MAX 98

// One function: declared in the header, with its only line in the source.
static void function(CGenerated *gen, const char *signature, const char *body) {
    if (strlen(signature) > LINE_CHARS_MAX) {
        const char *open = strchr(signature, '(') + 1;
        signature = cli_format("%.*s\n    %s", (int)(open - signature), signature, open);
    }
    buf_printf(&gen->header, "%s;\n", signature);
    buf_printf(&gen->source, "%s {\n    %s\n}\n\n", signature, body);
}

// ---- tables

typedef struct CTable {
    const TsTable *of;
    const char *snake;   // chat_user
    const char *pascal;  // ChatUser: in front of Listener and Rows
    const char *row;     // the struct
    const char *info;    // the LcTable constant
    const char *listener, *rows;
    bool is_event;
} CTable;

static bool is_unique(const TsTable *table, uint32_t column) {
    if (table->primary_key == (int32_t)column) return true;
    for (uint32_t i = 0; table->table && i < table->table->constraint_count; i++) {
        const ConstraintDef *unique = &table->table->constraints[i];
        if (unique->column_count == 1 && unique->columns[0] == column) return true;
    }
    return false;
}

static void table_calls(CGenerated *gen, const CTable *t) {
    Buf *out = &gen->source;
    buf_printf(
        out,
        "static void %s_call_row(LcAnyFunction to, LcClient *client, const void *row, void *context) {\n"
        "    ((void (*)(LcClient *, const %s *, void *))to)(client, row, context);\n}\n",
        t->snake,
        t->row);
    if (t->of->primary_key >= 0)
        buf_printf(
            out,
            "static void %s_call_update(\n"
            "    LcAnyFunction to, LcClient *client, const void *old, const void *row, void *context) {\n"
            "    ((void (*)(LcClient *, const %s *, const %s *, void *))to)(client, old, row, context);\n}\n",
            t->snake,
            t->row,
            t->row);
    buf_printf(out,
               "static void %s_call_rows(LcAnyFunction to,\n"
               "                         LcClient *client,\n"
               "                         const LcResult *result,\n"
               "                         const void *const *rows,\n"
               "                         size_t count,\n"
               "                         void *context) {\n"
               "    ((%s)to)(client, result, (const %s *const *)rows, count, context);\n}\n",
               t->snake,
               t->rows,
               t->row);
}

static void table_info(CGenerated *gen, const CTable *t) {
    Buf *out = &gen->source;
    const char *unique = "";
    unsigned count = 0;
    for (uint32_t i = 0; i < t->of->row->field_count; i++)
        if (is_unique(t->of, i)) unique = cli_format("%s%s%u", unique, count++ ? ", " : "", i);
    if (count) buf_printf(out, "static const uint16_t %s_unique[] = {%s};\n", t->snake, unique);
    buf_printf(out,
               "static const LcTable %s = {\n"
               "    .name = \"" STR_FMT "\",\n"
               "    .row = %s,\n"
               "    .primary_key = %d,\n",
               t->info,
               STR_ARG(t->of->name),
               cc_constant(gen, t->of->row),
               (int)t->of->primary_key);
    if (count)
        buf_printf(out, "    .unique = %s_unique,\n    .unique_count = %u,\n", t->snake, count);
    if (t->is_event) buf_put_str(out, STR("    .is_event = true,\n"));
    buf_printf(out, "    .call_row = %s_call_row,\n", t->snake);
    if (t->of->primary_key >= 0) buf_printf(out, "    .call_update = %s_call_update,\n", t->snake);
    buf_printf(out, "    .call_rows = %s_call_rows,\n};\n\n", t->snake);
}

static void table_rows(CGenerated *gen, const CTable *t) {
    function(gen,
             cli_format("size_t %s_count(const LcClient *client)", t->snake),
             cli_format("return lc_table_count(client, &%s);", t->info));
    function(gen,
             cli_format("const %s *%s_first(const LcClient *client)", t->row, t->snake),
             cli_format("return lc_table_next(client, &%s, NULL);", t->info));
    function(gen,
             cli_format("const %s *%s_next(const LcClient *client, const %s *row)",
                        t->row,
                        t->snake,
                        t->row),
             cli_format("return row ? lc_table_next(client, &%s, row) : NULL;", t->info));
    unsigned which = 0;
    for (uint32_t i = 0; i < t->of->row->field_count; i++) {
        const TypeField *column = &t->of->row->fields[i];
        if (!is_unique(t->of, i)) continue;
        const char *member = cc_member(column->name);
        function(
            gen,
            cli_format("const %s *%s_find_by_%s(const LcClient *client, %s %s)",
                       t->row,
                       t->snake,
                       cc_item(column->name),
                       cc_type(gen, column->type),
                       member),
            cli_format("return lc_table_find(client, &%s, %u, &%s);", t->info, which++, member));
    }
}

static void table_listener(CGenerated *gen, const CTable *t) {
    bool has_update = t->of->primary_key >= 0 && !t->is_event;
    Buf *out = &gen->header;
    buf_printf(out,
               "typedef struct %s {\n"
               "    void (*on_insert)(LcClient *client, const %s *row, void *context);\n",
               t->listener,
               t->row);
    if (!t->is_event)
        buf_printf(out,
                   "    void (*on_delete)(LcClient *client, const %s *row, void *context);\n",
                   t->row);
    if (has_update)
        buf_printf(
            out,
            "    void (*on_update)(LcClient *client, const %s *old, const %s *row, void *context);\n",
            t->row,
            t->row);
    buf_printf(out, "    void *context;\n} %s;\n", t->listener);
    const char *more = t->is_event ? "" : ", .on_delete = (LcAnyFunction)listener.on_delete";
    if (has_update)
        more = cli_format(
            "%s,\n                        .on_update = (LcAnyFunction)listener.on_update",
            more);
    function(gen,
             cli_format("LcError %s_listen(LcClient *client, %s listener)", t->snake, t->listener),
             cli_format("LcListener any = {.on_insert = (LcAnyFunction)listener.on_insert%s,\n"
                        "                        .context = listener.context};\n"
                        "    return lc_table_listen(client, &%s, &any);",
                        more,
                        t->info));
}

static void table(CGenerated *gen, const TsTable *of) {
    const char *item = cc_item(of->name);
    CTable t = {.of = of,
                .snake = cli_format("%s_%s", gen->prefix, item),
                .pascal = cc_pascal(gen, item),
                .row = cc_type(gen, of->row),
                .info = cc_unique(gen, cli_format("%s_%s_table", gen->prefix, item)),
                .is_event = of->table && of->table->is_event};
    t.listener = cc_unique(gen, cli_format("%sListener", t.pascal));
    t.rows = cc_unique(gen, cli_format("%sRows", t.pascal));
    print_both(gen, cli_format("%s " STR_FMT, of->table ? "table" : "view", STR_ARG(of->name)));
    buf_printf(
        &gen->header,
        "typedef void (*%s)(\n"
        "    LcClient *client, const LcResult *result, const %s *const *rows, size_t count, void *context);\n",
        t.rows,
        t.row);
    table_calls(gen, &t);
    table_info(gen, &t);
    table_listener(gen, &t);
    if (!t.is_event) table_rows(gen, &t);
    function(
        gen,
        cli_format("LcError %s_query(LcClient *client, const char *sql, %s done, void *context)",
                   t.snake,
                   t.rows),
        cli_format("return lc_table_query(client, &%s, sql, (LcAnyFunction)done, context);",
                   t.info));
    buf_put_u8(&gen->header, '\n');
}

static void module_constant(CGenerated *gen) {
    Buf *out = &gen->source;
    const TsModule *module = gen->module;
    buf_printf(out, "// ── the module\n\n");
    if (module->table_count > 0) {
        buf_printf(out, "static const LcTable *const %s_tables[] = {\n", gen->prefix);
        for (size_t i = 0; i < module->table_count; i++)
            buf_printf(out, "    &%s_%s_table,\n", gen->prefix, cc_item(module->tables[i].name));
        buf_put_str(out, STR("};\n"));
        buf_printf(out,
                   "const LcModule %s_module = {.tables = %s_tables, .table_count = %zu};\n",
                   gen->prefix,
                   gen->prefix,
                   module->table_count);
    } else {
        buf_printf(out, "const LcModule %s_module = {.table_count = 0};\n", gen->prefix);
    }
}

// ---- functions

// "LcString name, uint32_t level, "
static const char *parameters(CGenerated *gen, const FunctionDef *f) {
    const char *list = "";
    for (uint32_t i = 0; i < f->params->field_count; i++) {
        const char *type = cc_type(gen, f->params->fields[i].type);
        bool is_pointer = type[strlen(type) - 1] == '*';
        list = cli_format("%s%s%s%s, ",
                          list,
                          type,
                          is_pointer ? "" : " ",
                          cc_member(f->params->fields[i].name));
    }
    return list;
}

// The struct of arguments, and the line that fills one.
static const char *arguments(CGenerated *gen, const FunctionDef *f, const char *name) {
    if (f->params->field_count == 0) return "";
    Buf *out = &gen->source;
    const char *args = cli_format("%sArgs", ts_pascal(str_from(name)));
    buf_printf(out, "typedef struct %s {\n", args);
    cc_members(gen, out, f->params);
    buf_printf(out, "} %s;\n", args);
    cc_product_constants(gen, args, cli_format("%s_args", name), f->params, false);
    const char *values = "";
    for (uint32_t i = 0; i < f->params->field_count; i++)
        values = cli_format("%s%s%s", values, i ? ", " : "", cc_member(f->params->fields[i].name));
    return cli_format("%s arguments = {%s};\n    ", args, values);
}

static const char *arguments_passed(const FunctionDef *f, const char *name) {
    return f->params->field_count ? cli_format("&%s_args, &arguments", name)
                                  : "&lc_type_unit, NULL";
}

static void reducer(CGenerated *gen, const FunctionDef *f) {
    const char *name = cc_unique(gen, cli_format("%s_call_%s", gen->prefix, cc_item(f->name)));
    const char *made = arguments(gen, f, name);
    function(gen,
             cli_format("LcError %s(LcClient *client, %sLcDone done, void *context)",
                        name,
                        parameters(gen, f)),
             cli_format("%sreturn lc_call_reducer(client, \"" STR_FMT "\", %s, done, context);",
                        made,
                        STR_ARG(f->name),
                        arguments_passed(f, name)));
}

// Its value comes to `done` as a pointer, which is NULL when there is none.
static void procedure(CGenerated *gen, const FunctionDef *f) {
    const char *name = cc_unique(gen, cli_format("%s_call_%s", gen->prefix, cc_item(f->name)));
    const char *done = cc_unique(gen, cli_format("%sDone", cc_pascal(gen, cc_item(f->name))));
    const char *type = cc_type(gen, f->returns);
    bool is_pointer = type[strlen(type) - 1] == '*';
    const char *value = is_pointer ? cli_format("%sconst *", type) : cli_format("const %s *", type);
    buf_printf(
        &gen->header,
        "typedef void (*%s)(LcClient *client, const LcResult *result, %svalue, void *context);\n",
        done,
        value);
    const char *made = arguments(gen, f, name);
    buf_printf(
        &gen->source,
        "static void %s_done(\n"
        "    LcAnyFunction to, LcClient *client, const LcResult *result, const void *value, void *context) {\n"
        "    ((%s)to)(client, result, value, context);\n}\n",
        name,
        done);
    function(gen,
             cli_format("LcError %s(LcClient *client, %s%s done, void *context)",
                        name,
                        parameters(gen, f),
                        done),
             cli_format("%sreturn lc_call_procedure(\n        client, \"" STR_FMT
                        "\", %s, %s, %s_done, (LcAnyFunction)done, context);",
                        made,
                        STR_ARG(f->name),
                        arguments_passed(f, name),
                        cc_constant(gen, f->returns),
                        name));
}

// ---- the files

static void types_use(CGenerated *gen) {
    const TsModule *module = gen->module;
    for (size_t i = 0; i < module->table_count; i++) {
        const TsTable *each = &module->tables[i];
        if (!ts_named(module->gen, each->row))
            cc_type_named(gen, each->row, cli_format("%sRow", cc_pascal(gen, cc_item(each->name))));
        cc_type(gen, each->row);
    }
    const FunctionDef *const *lists[] = {module->reducers, module->procedures};
    const size_t counts[] = {module->reducer_count, module->procedure_count};
    for (size_t list = 0; list < ARRAY_LEN(lists); list++)
        for (size_t i = 0; i < counts[list]; i++) {
            const FunctionDef *f = lists[list][i];
            if (!ts_in_index(f)) continue;
            for (uint32_t p = 0; p < f->params->field_count; p++)
                cc_type(gen, f->params->fields[p].type);
            if (f->returns) cc_type(gen, f->returns);
        }
}

static void file_begin(Buf *out) {
    buf_put_str(out,
                STR(CODEGEN_MARK_OWN ". CHANGE YOUR MODULE AND\n"
                                     "// GENERATE IT AGAIN: lightcone generate --lang c\n"));
}

static void header_begin(CGenerated *gen) {
    Buf *out = &gen->header;
    file_begin(out);
    buf_printf(out,
               "#ifndef %s_GENERATED_H\n"
               "#define %s_GENERATED_H\n"
               "#include \"lightcone_client.h\"\n\n"
               "#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n"
               "extern const LcModule %s_module;  // for LcOptions\n\n"
               "// ── types\n\n",
               cc_upper(gen->prefix),
               cc_upper(gen->prefix),
               gen->prefix);
}

static void functions(CGenerated *gen) {
    const TsModule *module = gen->module;
    print_both(gen, "reducers");
    for (size_t i = 0; i < module->reducer_count; i++)
        if (ts_in_index(module->reducers[i])) reducer(gen, module->reducers[i]);
    buf_put_u8(&gen->header, '\n');
    if (module->procedure_count > 0) print_both(gen, "procedures");
    for (size_t i = 0; i < module->procedure_count; i++)
        procedure(gen, module->procedures[i]);
    if (module->procedure_count > 0) buf_put_u8(&gen->header, '\n');
}

static void file_add(Codegen *gen, const char *path, Buf *out) {
    size_t len = out->len;
    gen->files[gen->file_count++] = (CodegenFile){path, cli_buf_text(out), len};
}

void codegen_c(Codegen *gen) {
    TsModule module = ts_module(gen);
    const char *prefix = ts_snake(str_from(gen->name ? gen->name : "module"));
    CGenerated made = {.module = &module, .prefix = prefix, .pascal = ts_pascal(str_from(prefix))};
    made.nodes_end = &made.nodes;
    cc_unique(&made, cli_format("%s_module", prefix));
    types_use(&made);
    header_begin(&made);
    file_begin(&made.source);
    buf_printf(&made.source, "#include \"%s.h\"\n\n// ── types\n\n", prefix);
    cc_types_header(&made);
    cc_types_source(&made);
    for (size_t i = 0; i < module.table_count; i++)
        table(&made, &module.tables[i]);
    functions(&made);
    module_constant(&made);
    buf_put_str(&made.header, STR("#ifdef __cplusplus\n}\n#endif\n#endif\n"));
    gen->files = arena_zalloc_array(cli_arena(), sizeof *gen->files, 2);
    if (!gen->files) cli_die("out of memory");
    file_add(gen, cli_format("%s.h", prefix), &made.header);
    file_add(gen, cli_format("%s.c", prefix), &made.source);
}
