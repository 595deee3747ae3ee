// cgen_module.c: tables and functions from their marks. What is wrong with one of them is reported
// and the next is looked at, so that an author sees all of it at once.
#include "cli/cgen.h"

static const Mark *mark_find(const Decl *decl, const char *name) {
    for (uint32_t i = 0; i < decl->mark_count; i++)
        if (ctoken_is(decl->marks[i].name, name)) return &decl->marks[i];
    return NULL;
}

static bool single_word(Tokens item, const Token **out) {
    *out = item.at;
    return item.end - item.at == 1 && item.at->kind == TOKEN_WORD;
}

// ── tables ─────────────────────────────────────────────────────────────────────────────────────

static int32_t column_find(const CType *row, Str name) {
    for (uint32_t i = 0; i < row->field_count; i++)
        if (str_eq(row->fields[i].name, name)) return (int32_t)i;
    return -1;
}

static const char *columns_join(const CType *row, const CIndex *index, uint32_t count) {
    const char *all = "";
    for (uint32_t i = 0; i < count; i++)
        all = cli_format("%s%s" STR_FMT,
                         all,
                         i ? "_" : "",
                         STR_ARG(row->fields[index->columns[i]].name));
    return all;
}

static bool same_columns(const CIndex *a, const CIndex *b) {
    return a->column_count == b->column_count &&
           memcmp(a->columns, b->columns, a->column_count * sizeof a->columns[0]) == 0;
}

// An index that is there already is only made unique. Unique ones are btrees.
static void index_add(CTable *table, const CIndex *wanted) {
    CIndex **tail = &table->indexes;
    for (; *tail; tail = &(*tail)->next) {
        if ((*tail)->kind != wanted->kind || !same_columns(*tail, wanted)) continue;
        (*tail)->is_unique = (*tail)->is_unique || wanted->is_unique;
        return;
    }
    static const char *const kinds[] = {"btree", "hash", "direct"};
    CIndex *index = CGEN_NEW(CIndex);
    *index = *wanted;
    index->columns_name = columns_join(table->row, index, index->column_count);
    index->source_name = cli_format(STR_FMT "_%s_idx_%s",
                                    STR_ARG(table->name),
                                    index->columns_name,
                                    kinds[index->kind]);
    *tail = index;
}

static void index_option(Cgen *gen, CTable *table, const Mark *mark, CIndex index) {
    Tokens rest = mark->arguments, item;
    const Token *name;
    while (ctokens_item(&rest, &item)) {
        int32_t column = single_word(item, &name) ? column_find(table->row, name->text) : -1;
        if (column < 0) {
            cgen_fail(gen,
                      item.at < item.end ? item.at : mark->name,
                      "`%s` has no column `" STR_FMT "`",
                      table->row->spelling,
                      STR_ARG(item.at->text));
            return;
        }
        if (index.column_count == INDEX_COLUMNS_MAX) {
            cgen_fail(gen, mark->name, "more than %d columns in one index", INDEX_COLUMNS_MAX);
            return;
        }
        index.columns[index.column_count++] = (uint32_t)column;
    }
    if (index.column_count == 0 || (index.kind == CINDEX_DIRECT && index.column_count > 1)) {
        cgen_fail(gen,
                  mark->name,
                  index.column_count ? "DIRECT has one column" : "this index has no columns");
        return;
    }
    index_add(table, &index);
}

static void table_option(Cgen *gen, CTable *table, Tokens item) {
    Mark option = {.name = item.at++};
    bool has_arguments = ctokens_group(&item, '(', ')', &option.arguments);
    const Token *name;
    if (ctoken_is(option.name, "PUBLIC"))
        table->is_public = true;
    else if (ctoken_is(option.name, "EVENT"))
        table->is_event = true;
    else if (ctoken_is(option.name, "UNIQUE") && has_arguments)
        index_option(gen, table, &option, (CIndex){.kind = CINDEX_BTREE, .is_unique = true});
    else if (ctoken_is(option.name, "INDEX") && has_arguments)
        index_option(gen, table, &option, (CIndex){.kind = CINDEX_BTREE});
    else if (ctoken_is(option.name, "HASH") && has_arguments)
        index_option(gen, table, &option, (CIndex){.kind = CINDEX_HASH});
    else if (ctoken_is(option.name, "DIRECT") && has_arguments)
        index_option(gen, table, &option, (CIndex){.kind = CINDEX_DIRECT});
    else if (ctoken_is(option.name, "SCHEDULED") && has_arguments &&
             single_word(option.arguments, &name))
        table->scheduled = name;
    else
        cgen_fail(gen,
                  option.name,
                  "`" STR_FMT
                  "` is no option of a table: those are PUBLIC, EVENT, SCHEDULED(function), "
                  "UNIQUE(columns), INDEX(columns), HASH(columns) and DIRECT(column)",
                  STR_ARG(option.name->text));
    if (item.at != item.end) cgen_fail(gen, option.name, "a comma is missing behind this option");
}

static void column_marks_apply(Cgen *gen, CTable *table) {
    for (uint32_t i = 0; i < table->row->field_count; i++) {
        CField *field = &table->row->fields[i];
        if (field->is_primary && table->primary_key >= 0)
            cgen_fail(gen,
                      field->at,
                      "a table has one LC_PRIMARY_KEY; for several columns together write "
                      "LC_TABLE(" STR_FMT ", UNIQUE(a, b))",
                      STR_ARG(table->name));
        if (field->is_primary) table->primary_key = (int32_t)i;
        if (field->is_unique || field->is_indexed)
            index_add(table,
                      &(CIndex){.kind = CINDEX_BTREE,
                                .is_unique = field->is_unique,
                                .columns = {i},
                                .column_count = 1});
        CType *type = ctype_strip(field->type);
        TypeKind kind = type->kind == CTYPE_SCALAR ? type->algebraic->kind : TYPE_SUM;
        bool is_integer = kind >= TYPE_I8 && kind <= TYPE_U128;
        if (field->is_auto_inc && !is_integer)
            cgen_fail(
                gen,
                field->at,
                "LC_AUTO_INC numbers rows: the column must be an integer of at most 128 bits");
    }
}

static void schedule_check(Cgen *gen, CTable *table) {
    int32_t at = -1;
    for (uint32_t i = 0; i < table->row->field_count; i++)
        if (ctype_is(ctype_strip(table->row->fields[i].type), "ScheduleAt")) at = (int32_t)i;
    const CType *key =
        table->primary_key < 0 ? NULL : ctype_strip(table->row->fields[table->primary_key].type);
    if (at < 0 || !ctype_is(key, "uint64_t"))
        cgen_fail(
            gen,
            table->scheduled,
            "a scheduled table has a column of type ScheduleAt, and `uint64_t … LC_PRIMARY_KEY "
            "LC_AUTO_INC`");
    table->schedule_column = (uint32_t)at;
}

static void table_read(Cgen *gen, const Decl *decl, const Mark *mark) {
    Tokens rest = mark->arguments, item;
    const Token *name;
    if (!rest.at || !ctokens_item(&rest, &item) || !single_word(item, &name)) {
        cgen_fail(gen, mark->name, "LC_TABLE(name, options…): the name is missing");
        return;
    }
    if (decl->kind != DECL_STRUCT) {
        cgen_fail(gen, mark->name, "LC_TABLE stands before a struct: typedef struct Row {…} Row;");
        return;
    }
    Tokens type = {decl->name ? decl->name : decl->typedef_name, NULL};
    if (!type.at) {
        cgen_fail(gen, mark->name, "this struct needs a name");
        return;
    }
    type.end = type.at + 1;
    CType *row = ctype_read(gen, &type, "a table's row");
    if (!row) return;
    if (row->kind != CTYPE_STRUCT) {
        cgen_fail(gen,
                  name,
                  "a table's row is an ordinary struct, and `%s` is a tagged union",
                  row->spelling);
        return;
    }
    CTable *table = CGEN_NEW(CTable);
    *table = (CTable){.name = name->text, .row = row, .at = name, .primary_key = -1};
    *gen->tables_end = table;
    gen->tables_end = &table->next;
    column_marks_apply(gen, table);
    while (ctokens_item(&rest, &item)) {
        if (item.at < item.end)
            table_option(gen, table, item);
        else
            cgen_fail(gen, mark->name, "an option is missing between two commas");
    }
    if (table->scheduled) schedule_check(gen, table);
}

// ── functions ──────────────────────────────────────────────────────────────────────────────────

static bool param_read(Cgen *gen, Tokens item, CField *field) {
    field->at = item.at;
    field->type = ctype_read(gen, &item, "a parameter");
    if (!field->type) return false;
    if (item.end - item.at != 1 || item.at->kind != TOKEN_WORD) {
        cgen_fail(gen, field->at, "a parameter is a type and a name");
        return false;
    }
    field->name = field->member = item.at->text;
    return true;
}

// The first parameter, which every function has: "Ctx *ctx". Gives its type's name.
static bool context_read(Tokens item, Str *type) {
    if (item.end - item.at != 3 || !ctoken_is(item.at + 1, "*")) return false;
    *type = item.at->text;
    return true;
}

static bool params_read(Cgen *gen, CFunction *function, Tokens rest) {
    uint32_t most = 1;
    for (const Token *at = rest.at; at < rest.end; at++)
        most += ctoken_is(at, ",");
    function->params = cgen_alloc(sizeof(CField) * most);
    Tokens item;
    while (ctokens_item(&rest, &item)) {
        if (!param_read(gen, item, &function->params[function->param_count])) return false;
        function->param_count++;
    }
    return true;
}

typedef struct FunctionMark {
    const char *mark;
    CFunctionKind kind;
    int lifecycle;
    const char *context;
    const char *shape;  // what to write
} FunctionMark;

static const FunctionMark function_marks[] = {
    {"LC_REDUCER", CFUNCTION_REDUCER, -1, "Ctx", "Error name(Ctx *ctx, …)"},
    {"LC_INIT", CFUNCTION_REDUCER, 0, "Ctx", "Error name(Ctx *ctx)"},
    {"LC_CONNECT", CFUNCTION_REDUCER, 1, "Ctx", "Error name(Ctx *ctx)"},
    {"LC_DISCONNECT", CFUNCTION_REDUCER, 2, "Ctx", "Error name(Ctx *ctx)"},
    {"LC_VIEW",
     CFUNCTION_VIEW,
     -1,
     "ViewCtx",
     "Array(Row) name(ViewCtx *ctx), Row *name(…) or Query(Row) name(…)"},
    {"LC_PROCEDURE", CFUNCTION_PROCEDURE, -1, "ProcedureCtx", "T name(ProcedureCtx *ctx, …)"},
    {"LC_HTTP",
     CFUNCTION_HTTP,
     -1,
     "ProcedureCtx",
     "HttpResponse name(ProcedureCtx *ctx, const HttpRequest *request)"},
};

static const FunctionMark *function_mark(Cgen *gen, const Decl *decl) {
    const FunctionMark *found = NULL;
    for (size_t i = 0; i < ARRAY_LEN(function_marks); i++) {
        const Mark *mark = mark_find(decl, function_marks[i].mark);
        if (!mark) continue;
        if (found)
            cgen_fail(gen,
                      mark->name,
                      "a function is one thing: %s or %s",
                      found->mark,
                      function_marks[i].mark);
        found = &function_marks[i];
    }
    return found;
}

static bool known_function_mark(const Token *name) {
    for (size_t i = 0; i < ARRAY_LEN(function_marks); i++)
        if (ctoken_is(name, function_marks[i].mark)) return true;
    return ctoken_is(name, "LC_PRIVATE") || ctoken_is(name, "LC_VIEW_KEY");
}

static const char *const method_names[] =
    {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"};

static void routes_read(Cgen *gen, CFunction *function, const Decl *decl) {
    CRoute **tail = &function->routes;
    for (uint32_t i = 0; i < decl->mark_count; i++) {
        const Mark *mark = &decl->marks[i];
        if (!ctoken_is(mark->name, "LC_HTTP")) continue;
        Tokens rest = mark->arguments, method, path;
        const Token *name;
        CRoute *route = CGEN_NEW(CRoute);
        route->method = -2;
        if (rest.at && ctokens_item(&rest, &method) && single_word(method, &name)) {
            if (ctoken_is(name, "ANY")) route->method = -1;
            for (size_t k = 0; k < ARRAY_LEN(method_names); k++)
                if (ctoken_is(name, method_names[k])) route->method = (int)k;
        }
        if (route->method == -2 || !ctokens_item(&rest, &path) || path.end - path.at != 1 ||
            !ctokens_string(path.at, &route->path))
            cgen_fail(gen, mark->name, "LC_HTTP(GET, \"/path\"): a method or ANY, and a path");
        *tail = route;
        tail = &route->next;
    }
}

// The row of a view's result; NULL when it is none.
static CType *view_row(CType *returns) {
    returns = ctype_strip(returns);
    bool right = returns->kind == CTYPE_ARRAY || returns->kind == CTYPE_OPTION ||
                 returns->kind == CTYPE_QUERY;
    CType *row = right ? ctype_strip(returns->target) : NULL;
    return row && row->kind == CTYPE_STRUCT ? row : NULL;
}

static void view_key_read(Cgen *gen, CFunction *function, const Decl *decl) {
    const Mark *mark = mark_find(decl, "LC_VIEW_KEY");
    if (!mark) return;
    const Token *name;
    const CType *row = view_row(function->returns);
    if (!mark->arguments.at || !single_word(mark->arguments, &name) || !row ||
        column_find(row, name->text) < 0) {
        cgen_fail(gen, mark->name, "LC_VIEW_KEY(column): a column of the view's rows");
        return;
    }
    function->key = name->text;
}

static bool returns_right(Cgen *gen, CFunction *function, Tokens in, const Token *name) {
    if (function->kind == CFUNCTION_REDUCER || function->kind == CFUNCTION_HTTP) {
        const char *want = function->kind == CFUNCTION_HTTP ? "HttpResponse" : "Error";
        return in.end - in.at == 1 && ctoken_is(in.at, want);
    }
    function->returns = ctype_read(gen, &in, "a result");
    if (!function->returns || in.at != name) return false;
    return function->kind == CFUNCTION_PROCEDURE || view_row(function->returns) != NULL;
}

static bool context_right(CFunction *function, const FunctionMark *mark, Tokens *params) {
    Tokens item;
    Str context;
    if (!ctokens_item(params, &item) || !context_read(item, &context)) return false;
    if (function->kind == CFUNCTION_VIEW && str_eq(context, STR("AnonymousViewCtx"))) {
        function->kind = CFUNCTION_VIEW_ANON;
        return true;
    }
    return str_eq(context, str_from(mark->context));
}

static bool params_right(Cgen *gen, CFunction *function, Tokens params) {
    if (function->kind == CFUNCTION_HTTP)
        return params.end - params.at == 4 && ctokens_word(&params, "const") &&
               ctokens_word(&params, "HttpRequest") && ctokens_punct(&params, '*');
    if (function->kind == CFUNCTION_VIEW || function->kind == CFUNCTION_VIEW_ANON ||
        function->lifecycle >= 0)
        return params.at == params.end;
    uint32_t before = gen->error_count;
    return params_read(gen, function, params) || gen->error_count > before;
}

// The name is the word before the parameters, which are the last group at this level before the body.
static const Token *function_name(const Decl *decl, Tokens *params) {
    const Token *name = NULL;
    Tokens in = decl->all, inside;
    while (in.at < in.end && !ctoken_is(in.at, "{") && !ctoken_is(in.at, ";")) {
        const Token *before = in.at > decl->all.at ? in.at - 1 : NULL;
        if (ctokens_group(&in, '(', ')', &inside)) {
            if (before && before->kind == TOKEN_WORD) name = before, *params = inside;
        } else {
            in.at++;
        }
    }
    return name;
}

static void function_check_marks(Cgen *gen, const Decl *decl) {
    for (uint32_t i = 0; i < decl->mark_count; i++)
        if (!known_function_mark(decl->marks[i].name))
            cgen_fail(gen,
                      decl->marks[i].name,
                      "`" STR_FMT "` is no mark of a declaration: those are LC_TABLE, LC_REDUCER, "
                      "LC_VIEW, LC_VIEW_KEY, LC_PROCEDURE, LC_HTTP, LC_INIT, LC_CONNECT, "
                      "LC_DISCONNECT, LC_PRIVATE and LC_ROW_FILTER",
                      STR_ARG(decl->marks[i].name->text));
}

static bool function_known(const Cgen *gen, Str name) {
    for (const CFunction *function = gen->functions; function; function = function->next)
        if (str_eq(function->name, name)) return true;
    return false;
}

static uint32_t next_id(const Cgen *gen, CFunctionKind kind) {
    uint32_t id = 0;
    for (const CFunction *function = gen->functions; function; function = function->next)
        id += function->kind == kind;
    return id;
}

static void function_read(Cgen *gen, const Decl *decl) {
    function_check_marks(gen, decl);
    const FunctionMark *mark = function_mark(gen, decl);
    if (!mark) return;
    Tokens params = {0};
    const Token *name = function_name(decl, &params);
    if (!name) {
        cgen_fail(gen,
                  decl->marks[0].name,
                  "%s stands before a function: %s",
                  mark->mark,
                  mark->shape);
        return;
    }
    if (ctoken_is(decl->all.at, "static")) {
        cgen_fail(gen,
                  name,
                  "`" STR_FMT "` is called from outside: it cannot be static",
                  STR_ARG(name->text));
        return;
    }
    if (function_known(gen, name->text)) {
        cgen_fail(gen, name, "there is another `" STR_FMT "`", STR_ARG(name->text));
        return;
    }
    CFunction *function = CGEN_NEW(CFunction);
    *function = (CFunction){.kind = mark->kind,
                            .name = name->text,
                            .at = name,
                            .lifecycle = mark->lifecycle,
                            .is_private = mark_find(decl, "LC_PRIVATE") != NULL};
    uint32_t before = gen->error_count;
    bool right = returns_right(gen, function, (Tokens){decl->all.at, name}, name) &&
                 context_right(function, mark, &params) && params_right(gen, function, params);
    if (!right) {
        if (gen->error_count == before)
            cgen_fail(gen, name, "a function marked %s is: %s", mark->mark, mark->shape);
        return;
    }
    if (function->kind == CFUNCTION_HTTP) routes_read(gen, function, decl);
    view_key_read(gen, function, decl);
    function->id = next_id(gen, function->kind);
    *gen->functions_end = function;
    gen->functions_end = &function->next;
}

// ── all of it ──────────────────────────────────────────────────────────────────────────────────

static void row_filter_read(Cgen *gen, const Mark *mark) {
    Str *grown = cgen_alloc(sizeof(Str) * (gen->row_filter_count + 1));
    if (gen->row_filter_count) memcpy(grown, gen->row_filters, sizeof(Str) * gen->row_filter_count);
    gen->row_filters = grown;
    Tokens text = mark->arguments;
    if (!text.at || text.end - text.at != 1 ||
        !ctokens_string(text.at, &grown[gen->row_filter_count])) {
        cgen_fail(gen, mark->name, "LC_ROW_FILTER(\"SELECT …\"): one string with the SQL");
        return;
    }
    gen->row_filter_count++;
}

static void decl_read(Cgen *gen, Decl *decl) {
    bool has_table = false;
    for (uint32_t i = 0; i < decl->mark_count; i++) {
        const Mark *mark = &decl->marks[i];
        if (ctoken_is(mark->name, "LC_TABLE")) table_read(gen, decl, mark), has_table = true;
    }
    // A filter is a statement of its own, but for the generator it stands before what follows.
    uint32_t kept = 0;
    for (uint32_t i = 0; i < decl->mark_count; i++) {
        if (ctoken_is(decl->marks[i].name, "LC_ROW_FILTER"))
            row_filter_read(gen, &decl->marks[i]);
        else
            decl->marks[kept++] = decl->marks[i];
    }
    decl->mark_count = kept;
    if (!has_table && kept > 0) function_read(gen, decl);
}

static void schedules_check(Cgen *gen) {
    for (const CTable *table = gen->tables; table; table = table->next) {
        if (!table->scheduled) continue;
        const CFunction *function = gen->functions;
        while (function && !str_eq(function->name, table->scheduled->text))
            function = function->next;
        bool right = function && function->param_count == 1 &&
                     ctype_strip(function->params[0].type) == table->row &&
                     (function->kind == CFUNCTION_REDUCER || function->kind == CFUNCTION_PROCEDURE);
        if (!right)
            cgen_fail(gen,
                      table->scheduled,
                      "SCHEDULED(" STR_FMT
                      ") wants a reducer or procedure of that name with the row "
                      "as its parameter: Error " STR_FMT "(Ctx *ctx, %s row)",
                      STR_ARG(table->scheduled->text),
                      STR_ARG(table->scheduled->text),
                      table->row->spelling);
    }
}

void cgen_module(Cgen *gen) {
    for (Decl *decl = gen->decls; decl; decl = decl->next)
        decl_read(gen, decl);
    if (gen->error_count == 0) schedules_check(gen);
    if (gen->error_count > 0 || gen->tables || gen->functions) return;
    Token nowhere = {.source = gen->sources, .line = 1};
    cgen_fail(gen, &nowhere, "nothing here is marked LC_TABLE or LC_REDUCER: this is no module");
}
