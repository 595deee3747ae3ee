// codegen_own.c: index.ts and the files of names. See codegen_own.h.
#include "cli/codegen_own.h"

#include <stdlib.h>

void own_header(Buf *out) {
    buf_put_str(out,
                STR(CODEGEN_MARK_OWN ". CHANGE YOUR MODULE AND\n"
                                     "// GENERATE IT AGAIN: lightcone generate\n\n"
                                     "/* eslint-disable */\n\n"));
}

// ---- what is in a submodule is in an object of its name: { item, lib: { fruit, deep: { … } } }

typedef struct Item {
    Str submodule;
    const char *line;  // "item: __lc.table(…)"
} Item;

typedef struct Items {
    Item *list;
    size_t count;
} Items;

static Items items_new(size_t most) {
    Item *list = arena_zalloc_array(cli_arena(), sizeof *list, most + 1);
    if (!list) cli_die("out of memory");
    return (Items){.list = list};
}

static int item_order(const void *a, const void *b) {
    const Item *x = a, *y = b;
    int order = bytes_cmp(str_bytes(x->submodule), str_bytes(y->submodule));
    return order != 0 ? order : strcmp(x->line, y->line);
}

static bool is_inside(Str submodule, Str outer) {
    if (outer.len == 0) return true;
    return str_starts(submodule, outer) &&
           (submodule.len == outer.len || submodule.ptr[outer.len] == '.');
}

// The items from `at` that are in `outer` or deeper. Sorted, so a module's own come before those of
// modules inside it.
static size_t members(Buf *out, const Items *items, size_t at, Str outer, const char *indent) {
    while (at < items->count && is_inside(items->list[at].submodule, outer)) {
        Str inner = items->list[at].submodule;
        if (str_eq(inner, outer)) {
            buf_printf(out, "%s%s,\n", indent, items->list[at++].line);
            continue;
        }
        size_t from = outer.len ? outer.len + 1 : 0;
        const char *dot = memchr(inner.ptr + from, '.', inner.len - from);
        if (dot) inner.len = (size_t)(dot - inner.ptr);
        Str name = {inner.ptr + from, inner.len - from};
        buf_printf(out, "%s" STR_FMT ": {\n", indent, STR_ARG(name));
        at = members(out, items, at, inner, cli_format("%s  ", indent));
        buf_printf(out, "%s},\n", indent);
    }
    return at;
}

static void object(Buf *out, const char *comment, const char *name, Items *items) {
    if (items->count > 0) qsort(items->list, items->count, sizeof *items->list, item_order);
    buf_printf(out, "/** %s */\nexport const %s = {\n", comment, name);
    members(out, items, 0, STR(""), "  ");
    buf_put_str(out, STR("};\n\n"));
}

// ---- tables

static Str column_name(const TsTable *table, uint16_t column) {
    return table->row->fields[column].name;
}

static const char *list_add(const char *list, const char *more) {
    return *list ? cli_format("%s, %s", list, more) : more;
}

static const char *quoted_column(const TsTable *table, uint16_t column) {
    return cli_format("\"%s\"", ts_camel(column_name(table, column)));
}

// Columns that are unique by themselves, in the order of the table.
static const char *unique_columns(const TsTable *table) {
    const char *list = "";
    for (uint16_t column = 0; table->table && column < table->table->column_count; column++)
        for (uint32_t i = 0; i < table->table->constraint_count; i++) {
            const ConstraintDef *unique = &table->table->constraints[i];
            if (unique->column_count == 1 && unique->columns[0] == column) {
                list = list_add(list, quoted_column(table, column));
                break;
            }
        }
    return list;
}

static int index_order(const void *a, const void *b) {
    const IndexDef *x = *(const IndexDef *const *)a, *y = *(const IndexDef *const *)b;
    return bytes_cmp(str_bytes(x->accessor), str_bytes(y->accessor));
}

static bool is_unique_column(const TsTable *table, const IndexDef *index) {
    if (index->column_count != 1) return false;
    const char *key = ts_camel(column_name(table, index->columns[0]));
    const char *column = quoted_column(table, index->columns[0]);
    return strcmp(key, ts_camel(index->accessor)) == 0 && strstr(unique_columns(table), column);
}

// Those that have a name in code; the others were made by the system. One that is a unique column's is
// listed there.
static const char *indexes(const TsTable *table) {
    uint32_t count = table->table ? table->table->index_count : 0, named = 0;
    const IndexDef **sorted = arena_zalloc_array(cli_arena(), sizeof *sorted, count + 1);
    if (!sorted) cli_die("out of memory");
    for (uint32_t i = 0; i < count; i++)
        if (table->table->indexes[i].accessor.ptr &&
            !is_unique_column(table, &table->table->indexes[i]))
            sorted[named++] = &table->table->indexes[i];
    if (named > 0) qsort(sorted, named, sizeof *sorted, index_order);
    const char *list = "";
    for (uint32_t i = 0; i < named; i++) {
        const char *columns = "";
        for (uint16_t c = 0; c < sorted[i]->column_count; c++)
            columns = list_add(columns, quoted_column(table, sorted[i]->columns[c]));
        list = list_add(list, cli_format("%s: [%s]", own_key(sorted[i]->accessor), columns));
    }
    return list;
}

static const char *renamed_columns(const TsTable *table) {
    const char *list = "";
    for (uint32_t i = 0; i < table->row->field_count; i++) {
        Str name = table->row->fields[i].name;
        if (!str_eq(name, str_from(ts_camel(name))))
            list = list_add(list, cli_format("%s: \"" STR_FMT "\"", own_key(name), STR_ARG(name)));
    }
    return list;
}

static const char *option(const char *options, const char *pattern, const char *value) {
    return *value ? cli_format("%s    %s,\n", options, cli_format(pattern, value)) : options;
}

static const char *table_line(const Codegen *gen, const TsTable *table) {
    const char *options = "";
    if (table->primary_key >= 0)
        options =
            option(options, "primaryKey: %s", quoted_column(table, (uint16_t)table->primary_key));
    options = option(options, "unique: [%s]", unique_columns(table));
    options = option(options, "indexes: { %s }", indexes(table));
    options = option(options, "columns: { %s }", renamed_columns(table));
    if (table->table && table->table->is_event) options = option(options, "event: %s", "true");
    return cli_format("%s: __lc.table(\"" STR_FMT "\", __types.%s, {%s%s})",
                      own_key(table->accessor),
                      STR_ARG(table->name),
                      own_row_name(gen, table),
                      *options ? cli_format("\n%s", options) : "",
                      *options ? "  " : "");
}

static void tables(Buf *out, const TsModule *module) {
    Items items = items_new(module->table_count);
    for (size_t i = 0; i < module->table_count; i++)
        items.list[items.count++] =
            (Item){module->tables[i].submodule, table_line(module->gen, &module->tables[i])};
    object(out, "The tables and views: queries for all their rows.", "tables", &items);
}

// ---- functions

static const char *function_key(const FunctionDef *function) {
    return own_key(ts_local(function->name, function->submodule));
}

static void reducers(Buf *out, const TsModule *module) {
    Items items = items_new(module->reducer_count);
    for (size_t i = 0; i < module->reducer_count; i++) {
        const FunctionDef *reducer = module->reducers[i];
        if (!ts_in_index(reducer)) continue;
        const char *line = cli_format("%s: __lc.reducer(\"" STR_FMT "\", __types.%s)",
                                      function_key(reducer),
                                      STR_ARG(reducer->name),
                                      own_params_name(module->gen, reducer));
        items.list[items.count++] = (Item){reducer->submodule, line};
    }
    object(out, "The reducers: functions that are one transaction each.", "reducers", &items);
}

static void procedures(Buf *out, const TsModule *module) {
    Items items = items_new(module->procedure_count);
    for (size_t i = 0; i < module->procedure_count; i++) {
        const FunctionDef *procedure = module->procedures[i];
        const char *line = cli_format("%s: __lc.procedure(\"" STR_FMT "\", __types.%s, __types.%s)",
                                      function_key(procedure),
                                      STR_ARG(procedure->name),
                                      own_args_name(module->gen, procedure),
                                      own_result_name(module->gen, procedure));
        items.list[items.count++] = (Item){procedure->submodule, line};
    }
    object(out, "The procedures: functions that return something.", "procedures", &items);
}

// ---- files

static const char connection_text[] =
    "const remoteModule = { tables, reducers, procedures };\n"
    "type Module = typeof remoteModule;\n\n"
    "/** A connection to a database with this module. */\n"
    "export class DbConnection extends __lc.Connection<Module> {\n"
    "  static builder(): __lc.ConnectionBuilder<DbConnection> {\n"
    "    return new __lc.ConnectionBuilder((config, callbacks) => new DbConnection(remoteModule, config, "
    "callbacks));\n"
    "  }\n"
    "}\n\n"
    "export type DbView = __lc.Db<typeof tables>;\n"
    "export type EventContext = __lc.EventContext<Module>;\n"
    "export type ReducerEventContext = __lc.ReducerEventContext<Module>;\n"
    "export type SubscriptionEventContext = __lc.SubscriptionEventContext<Module>;\n"
    "export type ErrorContext = __lc.ErrorContext<Module>;\n"
    "export type SubscriptionHandle = __lc.SubscriptionHandle;\n";

void own_index_file(Buf *out, const TsModule *module) {
    own_header(out);
    buf_put_str(out,
                STR("import * as __lc from \"lightcone\";\n"
                    "import * as __types from \"./types\";\n\n"));
    tables(out, module);
    reducers(out, module);
    procedures(out, module);
    buf_put_str(out, str_from(connection_text));
}

static const char *name_line(const char *name) {
    return cli_format("  %s,\n", name);
}

static void names_file(Buf *out, const char *names) {
    own_header(out);
    if (*names)
        buf_printf(out, "export type {\n%s} from \"../types\";\n", names);
    else
        buf_put_str(out, STR("export {};\n"));
}

static void reducer_names(Buf *out, const TsModule *module) {
    const char *names = "";
    for (size_t i = 0; i < module->reducer_count; i++)
        if (ts_in_index(module->reducers[i]))
            names = cli_format("%s%s",
                               names,
                               name_line(own_params_name(module->gen, module->reducers[i])));
    names_file(out, names);
}

static void procedure_names(Buf *out, const TsModule *module) {
    const char *names = "";
    for (size_t i = 0; i < module->procedure_count; i++)
        names = cli_format("%s%s%s",
                           names,
                           name_line(own_args_name(module->gen, module->procedures[i])),
                           name_line(own_result_name(module->gen, module->procedures[i])));
    names_file(out, names);
}

void codegen_lightcone(Codegen *gen) {
    static const struct {
        const char *path;
        void (*write)(Buf *out, const TsModule *module);
    } made[] = {
        {"types.ts", own_types_file},
        {"types/reducers.ts", reducer_names},
        {"types/procedures.ts", procedure_names},
        {"index.ts", own_index_file},
    };
    TsModule module = ts_module(gen);
    gen->files = arena_zalloc_array(cli_arena(), sizeof *gen->files, ARRAY_LEN(made));
    if (!gen->files) cli_die("out of memory");
    for (size_t i = 0; i < ARRAY_LEN(made); i++) {
        Buf out = {0};
        made[i].write(&out, &module);
        size_t len = out.len;
        gen->files[gen->file_count++] = (CodegenFile){made[i].path, cli_buf_text(&out), len};
    }
}
