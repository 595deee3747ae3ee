// compile.c: SQL text to a Query: limits, the rules of each door, names of tables and columns; the
// predicate's types and normal form are typing.c's and predicate.c's.
//
// Checks come in the order clients rely on (spec §6): length, parse, shape of the dialect, names,
// types. A table that the caller may not read does not exist for him.
#include "query/compile.h"

#include <stdlib.h>

#include "base/blake3.h"
#include "base/mem.h"

Err compile_check_text(Str text, Diag *diag) {
    if (text.len > QUERY_TEXT_MAX)
        return diag_fail(diag,
                         ERR_TOO_LARGE,
                         "SQL query exceeds maximum allowed length: \"%.*s...\"",
                         (int)utf8_cut(text, 120),
                         text.ptr);
    if (text.len > 0 && !utf8_valid(str_bytes(text)))
        return diag_fail(diag, ERR_INVALID, "sql parser error: invalid utf8");
    return OK;
}

QueryViewKey query_view_key(const CatalogTable *view, const Identity *caller) {
    static const char domain[] = "spacetimedb::view::args::v1";  // with its NUL
    QueryViewKey key;
    Blake3 hash;
    blake3_init(&hash);
    blake3_add(&hash, BYTES(domain, sizeof domain));
    if (!view->is_anonymous_view) blake3_add(&hash, BYTES(caller->le, sizeof caller->le));
    blake3_end(&hash, key.hash);
    return key;
}

static void resolve_view(Compiler *c) {
    Query *q = c->query;
    q->view_key = query_view_key(c->table, &c->caller->identity);
    q->view_caller = c->caller->identity;
    q->hidden_bytes = sizeof q->view_key.hash;
}

Err compile_table(const QueryCatalog *catalog,
                  const QueryCaller *caller,
                  Str name,
                  const CatalogTable **out,
                  Diag *diag) {
    const CatalogTable *table = catalog->table_by_name(catalog->ctx, name);
    if (table && (table->is_public || caller->is_owner)) {
        *out = table;
        return OK;
    }
    return diag_fail(diag,
                     ERR_INVALID,
                     "no such table: `%.*s`. If the table exists, it may be marked private.",
                     (int)utf8_cut(name, 200),
                     name.ptr);
}

static Err take_table(Compiler *c, const CatalogTable *table) {
    c->table = c->query->table = table;
    if (c->table->is_view) resolve_view(c);
    RowLayout *layout = arena_new(&c->query->arena, RowLayout);
    if (!layout) return ERR_NOMEM;
    c->query->layout = layout;
    return row_layout_init(layout, c->table->row_type, &c->query->arena);
}

// ── the answer's columns (§2.1) ────────────────────────────────────────────────────────────────

static Err columns_reserve(Query *q, uint32_t count) {
    q->column_names = arena_array(&q->arena, Str, count);
    q->projected = arena_array(&q->arena, uint16_t, count);
    return q->column_names && q->projected ? OK : ERR_NOMEM;
}

static Err column_add(Query *q, uint16_t column, Str name) {
    Str copy = arena_str(&q->arena, name);
    if (!copy.ptr) return ERR_NOMEM;
    q->projected[q->projected_count] = column;
    q->column_names[q->projected_count++] = copy;
    return OK;
}

static Err project_row(Compiler *c) {
    Str qualifier = c->select->star_qualifier;
    if (qualifier.ptr && !str_eq(qualifier, c->select->alias))
        return compile_fail_name(c, qualifier);
    Err err = columns_reserve(c->query, c->table->column_count);
    for (uint32_t i = compile_first_column(c->table); err == OK && i < c->table->column_count;
         i++) {
        err = column_add(c->query, (uint16_t)i, c->table->columns[i].name);
    }
    return err;
}

static int name_order(const void *a, const void *b) {
    return bytes_cmp(str_bytes(*(const Str *)a), str_bytes(*(const Str *)b));
}

static Err refuse_duplicates(const Compiler *c) {
    const Query *q = c->query;
    Str *sorted = arena_array(c->scratch, Str, q->projected_count);
    if (!sorted) return ERR_NOMEM;
    memcpy(sorted, q->column_names, q->projected_count * sizeof *sorted);
    qsort(sorted, q->projected_count, sizeof *sorted, name_order);
    for (uint32_t i = 1; i < q->projected_count; i++) {
        Str name = sorted[i];
        if (str_eq(sorted[i - 1], name))
            return diag_fail(c->diag,
                             ERR_INVALID,
                             "Duplicate name `%.*s`",
                             (int)utf8_cut(name, 200),
                             name.ptr);
    }
    return OK;
}

// As written: an accessor keeps its spelling.
static Err project_columns(Compiler *c) {
    Err err = columns_reserve(c->query, c->select->item_count);
    for (uint32_t i = 0; err == OK && i < c->select->item_count; i++) {
        const SqlItem *item = &c->select->items[i];
        uint32_t relation;
        uint16_t column;
        if ((err = compile_column(c, item->qualifier, item->column, &relation, &column)) != OK)
            break;
        err = column_add(c->query, column, item->as.ptr ? item->as : item->column);
    }
    return err == OK ? refuse_duplicates(c) : err;
}

static Err project_count(Compiler *c) {
    Err err = columns_reserve(c->query, 1);
    return err == OK ? column_add(c->query, 0, c->select->count_name) : err;
}

static Err project(Compiler *c) {
    c->query->projection = c->select->projection;
    switch (c->select->projection) {
    case QPROJECT_ROW: return project_row(c);
    case QPROJECT_COLUMNS: return project_columns(c);
    case QPROJECT_COUNT: return project_count(c);
    }
    UNREACHABLE();
}

static Err check_returns_table(const Compiler *c) {
    if (c->query->door == QUERY_SQL || c->select->projection == QPROJECT_ROW) return OK;
    return diag_fail(c->diag,
                     ERR_INVALID,
                     "Column projections are not supported in subscriptions; Subscriptions must "
                     "return a table type");
}

// ── the passes in their order ──────────────────────────────────────────────────────────────────

// From names that are known to the program.
static Err finish(Compiler *c, const QueryCatalog *rules, SqlSelect *select) {
    Err err = OK;
    c->select = select;
    c->query->has_limit = select->has_limit;
    c->query->limit = select->limit;
    if ((err = project(c)) != OK) return err;
    if (rules && (err = compile_rules(c, rules, select)) != OK) return err;
    c->nodes = select->nodes;
    c->node_count = select->node_count;
    if ((err = compile_types(c)) != OK) return err;
    if ((err = check_returns_table(c)) != OK) return err;
    return compile_predicate(c);
}

static Err refuse_fancy(const Compiler *c, Str text, const SqlSelect *select) {
    if (sql_select_is_plain(select)) return OK;
    return diag_fail(c->diag,
                     ERR_UNSUPPORTED,
                     select->relation_count > 1 ? "Unsupported: JOIN: %.*s" : "Unsupported: %.*s",
                     (int)utf8_cut(text, 1000),
                     text.ptr);
}

static Err compile(Compiler *c, Str text, const QueryCatalog *catalog) {
    SqlSelect select;
    const CatalogTable *table;
    Err err = OK;
    if ((err = compile_check_text(text, c->diag)) != OK) return err;
    if ((err = sql_parse_select(text, c->query->door, c->scratch, &select, c->diag)) != OK)
        return err;
    if ((err = refuse_fancy(c, text, &select)) != OK) return err;
    if ((err = compile_table(catalog, c->caller, select.table, &table, c->diag)) != OK) return err;
    if ((err = take_table(c, table)) != OK) return err;
    return finish(c, catalog, &select);
}

static Err compile_end(Compiler *c, Err err, Query **out) {
    if (err == ERR_NOMEM) diag_fail(c->diag, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    arena_deinit(c->scratch);
    if (err == OK)
        *out = c->query;
    else
        query_free(&c->query);
    return err;
}

Err query_compile(Str text,
                  QueryDoor door,
                  const QueryCatalog *catalog,
                  const QueryCaller *caller,
                  Query **out,
                  Diag *diag) {
    Arena scratch = {0};
    Query *query = MEM_NEW(Query);
    if (!query) return diag_fail(diag, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    query->door = door;
    Compiler c = {.caller = caller, .scratch = &scratch, .query = query, .diag = diag};
    return compile_end(&c, compile(&c, text, catalog), out);
}

Err compile_select(SqlSelect *select, const RowsQuery *what, Query **out, Diag *diag) {
    Arena scratch = {0};
    Query *query = MEM_NEW(Query);
    if (!query) return diag_fail(diag, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    query->door = what->door;
    Compiler c = {.caller = what->caller, .scratch = &scratch, .query = query, .diag = diag};
    Err err = take_table(&c, what->table);
    if (err == OK) err = finish(&c, what->rules, select);
    return compile_end(&c, err, out);
}

Err compile_rows(const RowsQuery *what, Query **out, Diag *diag) {
    SqlSelect select = {
        .projection = QPROJECT_ROW,
        .table = what->table->name,
        .alias = what->alias,
        .nodes = what->nodes,
        .node_count = what->node_count,
    };
    return compile_select(&select, what, out, diag);
}

void query_free(Query **query) {
    if (!*query) return;
    arena_deinit(&(*query)->arena);
    mem_free(*query);
    *query = NULL;
}
