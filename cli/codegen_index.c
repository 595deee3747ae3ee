// codegen_index.c: index.ts, everything that a client imports. Spec: cli-and-codegen §17.5, §17.6.
#include <stdlib.h>

#include "cli/codegen_ts.h"

// A table whose accessor is not camelCase keeps its old name as a deprecated alias.
typedef struct Alias {
    const char *old;
    const char *key;
} Alias;

typedef struct IndexFile {
    Buf *out;
    const TsModule *module;
    Alias *aliases;
    size_t alias_count;
} IndexFile;

static void put(IndexFile *file, const char *text) {
    buf_put_str(file->out, str_from(text));
}

static void *list_new(size_t each, size_t count) {
    void *list = arena_zalloc_array(cli_arena(), each, count + 1);
    if (!list) cli_die("out of memory");
    return list;
}

static const char *table_key(const TsTable *table) {
    return ts_camel(table->accessor);
}

static void aliases_find(IndexFile *file) {
    const TsModule *module = file->module;
    if (module->has_submodules) return;  // their `tables` is made otherwise (§17.6)
    file->aliases = list_new(sizeof *file->aliases, module->table_count);
    for (size_t i = 0; i < module->table_count; i++) {
        const char *old = cli_copy(module->tables[i].accessor);
        const char *key = table_key(&module->tables[i]);
        bool taken = strcmp(old, key) == 0;
        for (size_t other = 0; other < module->table_count; other++)
            taken = taken || strcmp(old, table_key(&module->tables[other])) == 0;
        if (!taken) file->aliases[file->alias_count++] = (Alias){old, key};
    }
}

static void package_import(IndexFile *file) {
    static const char *const values[] = {
        "DbConnectionBuilder",
        "DbConnectionImpl",
        "SubscriptionBuilderImpl",
        "TypeBuilder",
        "Uuid",
        "convertToAccessorMap",
        "makeQueryBuilder",
        "procedureSchema",
        "procedures",
        "reducerSchema",
        "reducers",
        "schema",
        "t",
        "table",
    };
    static const char *const types[] = {
        "AlgebraicTypeType",
        "DbConnectionConfig",
        "ErrorContextInterface",
        "Event",
        "EventContextInterface",
        "Infer",
        "QueryBuilder",
        "ReducerEventContextInterface",
        "RemoteModule",
        "SubscriptionEventContextInterface",
        "SubscriptionHandleImpl",
    };
    put(file, "import {\n");
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        buf_printf(file->out, "  %s as __%s,\n", values[i], values[i]);
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        buf_printf(file->out, "  type %s as __%s,\n", types[i], types[i]);
    put(file, "} from \"spacetimedb\";\n\n");
}

static int accessor_order(const void *a, const void *b) {
    const TsTable *x = *(const TsTable *const *)a, *y = *(const TsTable *const *)b;
    return bytes_cmp(str_bytes(x->accessor), str_bytes(y->accessor));
}

static void reducer_imports(IndexFile *file, bool submodules) {
    const TsModule *module = file->module;
    for (size_t i = 0; i < module->reducer_count; i++) {
        const FunctionDef *reducer = module->reducers[i];
        if (!ts_in_index(reducer) || (reducer->submodule.len > 0) != submodules) continue;
        buf_printf(file->out,
                   "import %sReducer from \"./%s_reducer\";\n",
                   ts_function_name(reducer),
                   ts_function_file(reducer));
    }
}

static void procedure_imports(IndexFile *file, bool submodules) {
    const TsModule *module = file->module;
    for (size_t i = 0; i < module->procedure_count; i++) {
        const FunctionDef *procedure = module->procedures[i];
        if ((procedure->submodule.len > 0) != submodules) continue;
        buf_printf(file->out,
                   "import * as %sProcedure from \"./%s_procedure\";\n",
                   ts_function_name(procedure),
                   ts_function_file(procedure));
    }
}

static const char *row_name(const TsTable *table) {
    return cli_format("%s%sRow", ts_prefix(table->submodule), ts_pascal(table->accessor));
}

static void table_imports(IndexFile *file, bool submodules) {
    const TsModule *module = file->module;
    const TsTable **sorted = list_new(sizeof *sorted, module->table_count);
    for (size_t i = 0; i < module->table_count; i++)
        sorted[i] = &module->tables[i];
    qsort(sorted, module->table_count, sizeof *sorted, accessor_order);
    for (size_t i = 0; i < module->table_count; i++) {
        if ((sorted[i]->submodule.len > 0) != submodules) continue;
        buf_printf(file->out,
                   "import %s from \"./%s%s_table\";\n",
                   row_name(sorted[i]),
                   ts_directory(sorted[i]->submodule),
                   ts_snake(sorted[i]->accessor));
    }
}

static void schema_imports(IndexFile *file) {
    put(file, "// Import all reducer arg schemas\n");
    reducer_imports(file, false);
    put(file, "\n// Import all procedure arg schemas\n");
    procedure_imports(file, false);
    put(file, "\n// Import all table schema definitions\n");
    table_imports(file, false);
    if (file->module->has_submodules) {
        put(file, "\n// Import namespace table schema definitions\n");
        table_imports(file, true);
        put(file, "\n// Import namespace reducer arg schemas\n");
        reducer_imports(file, true);
        put(file, "\n// Import namespace procedure arg schemas\n");
        procedure_imports(file, true);
    }
    put(file, "\n/** Type-only namespace exports for generated type groups. */\n\n");
}

static const char *column_key(const TsTable *table, uint16_t column) {
    return ts_camel(table->row->fields[column].name);
}

static int index_order(const void *a, const void *b) {
    const IndexDef *x = *(const IndexDef *const *)a, *y = *(const IndexDef *const *)b;
    return bytes_cmp(str_bytes(x->name), str_bytes(y->name));
}
static int constraint_order(const void *a, const void *b) {
    const ConstraintDef *x = *(const ConstraintDef *const *)a,
                        *y = *(const ConstraintDef *const *)b;
    return bytes_cmp(str_bytes(x->name), str_bytes(y->name));
}

// An index without an accessor was made by the system: clients have no name for it.
static void table_indexes(IndexFile *file, const TsTable *table) {
    uint32_t count = table->table ? table->table->index_count : 0;
    const IndexDef **sorted = list_new(sizeof *sorted, count);
    for (uint32_t i = 0; i < count; i++)
        sorted[i] = &table->table->indexes[i];
    qsort(sorted, count, sizeof *sorted, index_order);
    put(file, "    indexes: [\n");
    for (uint32_t i = 0; i < count; i++) {
        const IndexDef *index = sorted[i];
        if (!index->accessor.ptr) continue;
        buf_printf(file->out,
                   "      { accessor: '" STR_FMT "', name: '" STR_FMT
                   "', algorithm: 'btree', columns: [\n",
                   STR_ARG(index->accessor),
                   STR_ARG(index->name));
        for (uint16_t c = 0; c < index->column_count; c++)
            buf_printf(file->out, "        '%s',\n", column_key(table, index->columns[c]));
        put(file, "      ] },\n");
    }
    put(file, "    ],\n");
}

static void table_constraints(IndexFile *file, const TsTable *table) {
    uint32_t count = table->table ? table->table->constraint_count : 0;
    const ConstraintDef **sorted = list_new(sizeof *sorted, count);
    for (uint32_t i = 0; i < count; i++)
        sorted[i] = &table->table->constraints[i];
    qsort(sorted, count, sizeof *sorted, constraint_order);
    put(file, "    constraints: [\n");
    for (uint32_t i = 0; i < count; i++) {
        buf_printf(file->out,
                   "      { name: '" STR_FMT "', constraint: 'unique', columns: [",
                   STR_ARG(sorted[i]->name));
        for (uint16_t c = 0; c < sorted[i]->column_count; c++)
            buf_printf(file->out,
                       "%s'%s'",
                       c ? ", " : "",
                       column_key(table, sorted[i]->columns[c]));
        put(file, "] },\n");
    }
    put(file, "    ],\n");
}

// The key of a table of a submodule: "lib.fruitBasket".
static const char *full_key(const TsTable *table) {
    return cli_format(STR_FMT ".%s", STR_ARG(table->submodule), table_key(table));
}

static void tables_schema(IndexFile *file) {
    const TsModule *module = file->module;
    put(file, "/** The schema information for all tables in this module. */\n");
    put(file, "const tablesSchema = __schema({\n");
    for (size_t i = 0; i < module->table_count; i++) {
        const TsTable *table = &module->tables[i];
        buf_printf(file->out,
                   "  %s: __table({\n    name: '" STR_FMT "',\n",
                   table->submodule.len ? cli_format("\"%s\"", full_key(table)) : table_key(table),
                   STR_ARG(table->name));
        table_indexes(file, table);
        table_constraints(file, table);
        if (table->table && table->table->is_event) put(file, "    event: true,\n");
        buf_printf(file->out, "  }, %s),\n", row_name(table));
    }
    put(file, "});\n\n");
}

static void function_schemas(IndexFile *file) {
    const TsModule *module = file->module;
    put(file, "/** The schema information for all reducers in this module. */\n");
    put(file, "const reducersSchema = __reducers(\n");
    for (size_t i = 0; i < module->reducer_count; i++) {
        const FunctionDef *reducer = module->reducers[i];
        if (ts_in_index(reducer))
            buf_printf(file->out,
                       "  __reducerSchema(\"" STR_FMT "\", %sReducer),\n",
                       STR_ARG(reducer->name),
                       ts_function_name(reducer));
    }
    put(file, ");\n\n/** The schema information for all procedures in this module. */\n");
    put(file, "const proceduresSchema = __procedures(\n");
    for (size_t i = 0; i < module->procedure_count; i++) {
        const FunctionDef *procedure = module->procedures[i];
        const char *name = ts_function_name(procedure);
        buf_printf(file->out,
                   "  __procedureSchema(\"" STR_FMT
                   "\", %sProcedure.params, %sProcedure.returnType),\n",
                   STR_ARG(procedure->name),
                   name,
                   name);
    }
    put(file, ");\n\n");
}

static void alias_members(IndexFile *file, const char *base, const char *indent) {
    for (size_t i = 0; i < file->alias_count; i++) {
        const Alias *alias = &file->aliases[i];
        buf_printf(file->out,
                   "%s/** @deprecated Use `%s` instead. The old spelling will go away. */\n"
                   "%sreadonly \"%s\": %s[\"%s\"];\n",
                   indent,
                   alias->key,
                   indent,
                   alias->old,
                   base,
                   alias->key);
    }
}

static void alias_schema(IndexFile *file) {
    if (file->alias_count == 0) return;
    put(file,
        "type __SchemaWithTableAccessorAliases = Omit<typeof tablesSchema.schemaType, \"tables\"> & "
        "{\n  tables: typeof tablesSchema.schemaType.tables & {\n");
    for (size_t i = 0; i < file->alias_count; i++) {
        const Alias *alias = &file->aliases[i];
        buf_printf(file->out,
                   "    /** @deprecated Use `%s` instead. The old spelling will go away. */\n"
                   "    readonly \"%s\": Omit<typeof tablesSchema.schemaType.tables[\"%s\"], "
                   "\"accessorName\"> & { readonly accessorName: \"%s\" };\n",
                   alias->key,
                   alias->old,
                   alias->key,
                   alias->old);
    }
    put(file, "  };\n};\n\n");
}

static void remote_module(IndexFile *file) {
    bool aliases = file->alias_count > 0;
    put(file, "/** The remote module schema, both runtime and type information. */\n");
    buf_printf(file->out,
               "const REMOTE_MODULE = {\n"
               "  versionInfo: {\n"
               "    cliVersion: \"%s\" as const,\n"
               "  },\n"
               "  tables: tablesSchema.schemaType.tables%s,\n"
               "  reducers: reducersSchema.reducersType.reducers,\n"
               "  ...proceduresSchema,\n"
               "} satisfies __RemoteModule<\n"
               "  %s,\n"
               "  typeof reducersSchema.reducersType,\n"
               "  typeof proceduresSchema\n"
               ">;\n\n",
               CLI_COMPAT_VERSION,
               aliases ? " as __SchemaWithTableAccessorAliases[\"tables\"]" : "",
               aliases ? "__SchemaWithTableAccessorAliases" : "typeof tablesSchema.schemaType");
}

static void alias_helpers(IndexFile *file) {
    if (file->alias_count == 0) return;
    put(file, "const tableAccessorAliases = {\n");
    for (size_t i = 0; i < file->alias_count; i++)
        buf_printf(file->out, "  \"%s\": \"%s\",\n", file->aliases[i].old, file->aliases[i].key);
    put(file,
        "} as const;\n\n"
        "function __withTableAccessorAliases<T extends object>(target: T, freeze = false): T {\n"
        "  const copy = Object.create(Object.getPrototypeOf(target), "
        "Object.getOwnPropertyDescriptors(target));\n"
        "  for (const [alias, accessor] of Object.entries(tableAccessorAliases)) {\n"
        "    if (alias in copy) continue;\n"
        "    Object.defineProperty(copy, alias, { enumerable: true, get: () => copy[accessor] });\n"
        "  }\n"
        "  return freeze ? Object.freeze(copy) : copy;\n"
        "}\n\n"
        "type __DbViewBase = __DbConnectionImpl<typeof REMOTE_MODULE>[\"db\"];\n"
        "/** The tables of a connection. */\n"
        "export type DbView = __DbViewBase & {\n");
    alias_members(file, "__DbViewBase", "  ");
    put(file,
        "};\n\n"
        "type __TablesBase = __QueryBuilder<typeof tablesSchema.schemaType>;\n"
        "/** The tables available in this module. */\n"
        "export type Tables = __TablesBase & {\n");
    alias_members(file, "__TablesBase", "  ");
    put(file, "};\n\n");
}

static void flat_accessors(IndexFile *file) {
    if (file->alias_count > 0)
        put(file,
            "const tablesBase: __TablesBase = __makeQueryBuilder(tablesSchema.schemaType);\n"
            "/** The tables available in this module, for queries. */\n"
            "export const tables: Tables = __withTableAccessorAliases(tablesBase, true) as "
            "Tables;\n\n");
    else
        put(file,
            "/** The tables available in this module, for queries. */\n"
            "export const tables: __QueryBuilder<typeof tablesSchema.schemaType> = "
            "__makeQueryBuilder(tablesSchema.schemaType);\n\n");
    put(file,
        "/** The reducers available in this module. */\n"
        "export const reducers = "
        "__convertToAccessorMap(reducersSchema.reducersType.reducers);\n\n"
        "/** The procedures available in this module. */\n"
        "export const procedures = __convertToAccessorMap(proceduresSchema.procedures);\n\n");
}

// ---- accessors of modules inside modules: { item, lib: { fruit, deep: { … } } }

typedef struct Accessor {
    Str submodule;
    const char *key;
    const char *full;  // what it is called among all: "lib.fruit"
} Accessor;

static int accessor_depth_order(const void *a, const void *b) {
    const Accessor *x = a, *y = b;
    int order = bytes_cmp(str_bytes(x->submodule), str_bytes(y->submodule));
    return order != 0 ? order : strcmp(x->full, y->full);
}

static bool is_inside(Str submodule, Str outer) {
    if (outer.len == 0) return true;
    return str_starts(submodule, outer) &&
           (submodule.len == outer.len || submodule.ptr[outer.len] == '.');
}

// The items of list[at…] that are in `outer` or deeper, as the members of an object. Sorted by
// submodule, so that a module's own items come before those of modules inside it.
static size_t members(IndexFile *file,
                      const Accessor *list,
                      size_t count,
                      size_t at,
                      Str outer,
                      const char *source,
                      const char *indent) {
    while (at < count && is_inside(list[at].submodule, outer)) {
        if (str_eq(list[at].submodule, outer)) {
            buf_printf(file->out,
                       "%s%s: %s[\"%s\"],\n",
                       indent,
                       list[at].key,
                       source,
                       list[at].full);
            at++;
            continue;
        }
        Str inner = list[at].submodule;
        size_t from = outer.len ? outer.len + 1 : 0;
        const char *dot = memchr(inner.ptr + from, '.', inner.len - from);
        if (dot) inner.len = (size_t)(dot - inner.ptr);
        Str name = {inner.ptr + from, inner.len - from};
        buf_printf(file->out, "%s" STR_FMT ": {\n", indent, STR_ARG(name));
        at = members(file, list, count, at, inner, source, cli_format("%s  ", indent));
        buf_printf(file->out, "%s},\n", indent);
    }
    return at;
}

static void nested(IndexFile *file,
                   const char *comment,
                   const char *name,
                   const char *source,
                   Accessor *list,
                   size_t count) {
    qsort(list, count, sizeof *list, accessor_depth_order);
    buf_printf(file->out, "/** %s */\nexport const %s = {\n", comment, name);
    members(file, list, count, 0, STR(""), source, "  ");
    put(file, "} as const;\n\n");
}

static Accessor function_accessor(const FunctionDef *function) {
    const char *key = ts_camel(ts_local(function->name, function->submodule));
    bool inner = function->submodule.len > 0;
    return (Accessor){function->submodule,
                      key,
                      inner ? cli_format(STR_FMT ".%s", STR_ARG(function->submodule), key) : key};
}

static void nested_accessors(IndexFile *file) {
    const TsModule *module = file->module;
    Accessor *tables = list_new(sizeof *tables, module->table_count);
    Accessor *reducers = list_new(sizeof *reducers, module->reducer_count);
    Accessor *procedures = list_new(sizeof *procedures, module->procedure_count);
    size_t reducer_count = 0;
    for (size_t i = 0; i < module->table_count; i++) {
        const TsTable *table = &module->tables[i];
        tables[i] = (Accessor){table->submodule,
                               table_key(table),
                               table->submodule.len ? full_key(table) : table_key(table)};
    }
    for (size_t i = 0; i < module->reducer_count; i++)
        if (ts_in_index(module->reducers[i]))
            reducers[reducer_count++] = function_accessor(module->reducers[i]);
    for (size_t i = 0; i < module->procedure_count; i++)
        procedures[i] = function_accessor(module->procedures[i]);
    put(file,
        "const __qb = __makeQueryBuilder(tablesSchema.schemaType);\n"
        "const __reducerAccessors = "
        "__convertToAccessorMap(reducersSchema.reducersType.reducers);\n"
        "const __procedureAccessors = __convertToAccessorMap(proceduresSchema.procedures);\n\n");
    nested(file,
           "The tables available in this module, for queries.",
           "tables",
           "__qb",
           tables,
           module->table_count);
    nested(file,
           "The reducers available in this module.",
           "reducers",
           "__reducerAccessors",
           reducers,
           reducer_count);
    nested(file,
           "The procedures available in this module.",
           "procedures",
           "__procedureAccessors",
           procedures,
           module->procedure_count);
}

static void context_types(IndexFile *file) {
    static const struct {
        const char *name, *comment;
    } contexts[] = {
        {"EventContext", "The context of callbacks for rows"},
        {"ReducerEventContext", "The context of callbacks for reducers"},
        {"SubscriptionEventContext", "The context of callbacks for subscriptions"},
        {"ErrorContext", "The context of callbacks for errors"},
    };
    for (size_t i = 0; i < ARRAY_LEN(contexts); i++) {
        const char *base = cli_format("__%sInterface<typeof REMOTE_MODULE>", contexts[i].name);
        if (file->alias_count > 0) base = cli_format("Omit<%s, \"db\"> & { db: DbView }", base);
        buf_printf(file->out,
                   "/** %s. */\nexport type %s = %s;\n",
                   contexts[i].comment,
                   contexts[i].name,
                   base);
    }
    put(file,
        "/** A subscription that was asked for. */\n"
        "export type SubscriptionHandle = __SubscriptionHandleImpl<typeof REMOTE_MODULE>;\n\n");
}

static void classes(IndexFile *file) {
    put(file,
        "/** Makes subscriptions. */\n"
        "export class SubscriptionBuilder extends __SubscriptionBuilderImpl<typeof REMOTE_MODULE> "
        "{}\n\n"
        "/** Makes connections. */\n"
        "export class DbConnectionBuilder extends __DbConnectionBuilder<DbConnection> {}\n\n"
        "/** A connection to the database, with its tables and reducers. */\n"
        "export class DbConnection extends __DbConnectionImpl<typeof REMOTE_MODULE> {\n");
    if (file->alias_count > 0)
        put(file,
            "  declare db: DbView;\n\n"
            "  constructor(config: __DbConnectionConfig<typeof REMOTE_MODULE>) {\n"
            "    super(config);\n"
            "    this.db = __withTableAccessorAliases(this.db) as DbView;\n"
            "  }\n\n");
    put(file,
        "  /** A builder for a connection. */\n"
        "  static builder = (): DbConnectionBuilder => {\n"
        "    return new DbConnectionBuilder(REMOTE_MODULE, (config: __DbConnectionConfig<typeof "
        "REMOTE_MODULE>) => new DbConnection(config));\n"
        "  };\n\n"
        "  /** A builder for a subscription. */\n"
        "  override subscriptionBuilder = (): SubscriptionBuilder => {\n"
        "    return new SubscriptionBuilder(this);\n"
        "  };\n"
        "}\n\n");
}

void ts_index_file(Buf *out, const TsModule *module) {
    IndexFile file = {.out = out, .module = module};
    aliases_find(&file);
    ts_header(out);
    buf_printf(out,
               "// This was generated using spacetimedb cli version %s (commit lightcone-%s).\n\n",
               CLI_COMPAT_VERSION,
               CLI_VERSION);
    put(&file, "/* eslint-disable */\n/* tslint:disable */\n");
    package_import(&file);
    schema_imports(&file);
    tables_schema(&file);
    function_schemas(&file);
    alias_schema(&file);
    remote_module(&file);
    alias_helpers(&file);
    if (module->has_submodules)
        nested_accessors(&file);
    else
        flat_accessors(&file);
    context_types(&file);
    classes(&file);
}
