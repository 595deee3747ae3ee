// statement.c: which of the machines a statement is for, and its life.
#include "query/statement_private.h"

#include "base/mem.h"
#include "query/stats.h"

// ── compiling SELECT ───────────────────────────────────────────────────────────────────────────

typedef struct JoinSearch {
    Arena *scratch;
    bool found;
} JoinSearch;

static bool search_join(void *ctx, Str sql) {
    JoinSearch *search = ctx;
    SqlSelect rule;
    Diag ignored;
    Str copy = arena_str(search->scratch, sql);
    diag_clear(&ignored);
    search->found =
        copy.ptr &&
        sql_parse_select(copy, QUERY_SUBSCRIBE, search->scratch, &rule, &ignored) == OK &&
        !sql_select_is_plain(&rule);
    return !search->found;
}

// One table, and nothing that needs a plan; row-level security may.
static Err is_plain(const QueryCatalog *catalog,
                    const QueryCaller *caller,
                    const SqlSelect *select,
                    const CatalogTable *table,
                    Arena *scratch,
                    bool *out) {
    *out = sql_select_is_plain(select);
    if (!*out || caller->is_owner || !catalog->each_rule) return OK;
    JoinSearch search = {.scratch = scratch};
    Err err = catalog->each_rule(catalog->ctx, table, search_join, &search);
    *out = !search.found;
    return err;
}

static Err columns_reserve(Statement *s, uint32_t count) {
    s->columns = arena_array(&s->arena, StatementColumn, count);
    s->column_count = count;
    return s->columns ? OK : ERR_NOMEM;
}

static Err query_columns(Statement *s) {
    const Query *q = s->query;
    Err err = columns_reserve(s, q->projected_count);
    for (uint32_t i = 0; err == OK && i < q->projected_count; i++) {
        const Type *type = q->projection == QPROJECT_COUNT
                               ? type_simple(TYPE_U64)
                               : q->table->columns[q->projected[i]].type;
        s->columns[i] = (StatementColumn){q->column_names[i], type};
    }
    return err;
}

static Err plan_columns(Statement *s) {
    Err err = columns_reserve(s, s->plan->output_count);
    for (uint32_t i = 0; err == OK && i < s->plan->output_count; i++)
        s->columns[i] = (StatementColumn){s->plan->outputs[i].name, s->plan->outputs[i].type};
    return err;
}

static Err compile_plan(Statement *s,
                        SqlSelect *select,
                        const QueryCatalog *catalog,
                        const QueryCaller *caller,
                        Arena *scratch,
                        Diag *diag) {
    // COUNT(*) alone has a form of its own for one table; to a plan it is a group like any.
    if (select->projection == QPROJECT_COUNT) select->projection = QPROJECT_COLUMNS;
    PlanBuilder builder = {.catalog = catalog,
                           .caller = caller,
                           .door = s->door,
                           .scratch = scratch,
                           .diag = diag,
                           .stats = catalog->stats};
    Err err = plan_new(&builder, select, &s->plan);
    if (err == OK) err = plan_columns(s);
    return err == OK ? limit_check_plan(catalog, caller, s->plan, diag) : err;
}

static Err compile_select_statement(Statement *s,
                                    SqlSelect *select,
                                    const QueryCatalog *catalog,
                                    const QueryCaller *caller,
                                    Arena *scratch,
                                    Diag *diag) {
    RowsQuery what = {.door = s->door, .caller = caller, .rules = catalog};
    bool plain;
    Err err = compile_table(catalog, caller, select->table, &what.table, diag);
    if (err == OK) err = is_plain(catalog, caller, select, what.table, scratch, &plain);
    if (err != OK) return err;
    if (!plain) return compile_plan(s, select, catalog, caller, scratch, diag);
    err = compile_select(select, &what, &s->query, diag);
    if (err == OK) err = query_columns(s);
    if (err == OK) err = estimate_settle(s->query, catalog->stats);
    return err == OK ? query_check_limit(catalog, caller, s->query, diag) : err;
}

// ── together ───────────────────────────────────────────────────────────────────────────────────

static Err each_relation(const Statement *s, Err (*each)(void *ctx, const Query *query), void *ctx);

static bool has_rule(void *ctx, Str sql) {
    (void)sql;
    *(bool *)ctx = true;
    return false;
}

// May everybody who may read the table know how many rows it has? Not where rules or callers decide who
// sees which: EXPLAIN counts all of them, and names the rules' tables.
static Err relation_is_open(void *ctx, const Query *query) {
    const QueryCatalog *catalog = ctx;
    const CatalogTable *table = query->table;
    bool ruled = table->is_view && !table->is_anonymous_view;
    Err err = OK;
    if (!ruled && catalog->each_rule)
        err = catalog->each_rule(catalog->ctx, table, has_rule, &ruled);
    return err == OK && ruled ? ERR_DENIED : err;
}

static Err check_may_explain(const Statement *s,
                             const QueryCatalog *catalog,
                             const QueryCaller *caller,
                             Diag *diag) {
    char hex[IDENTITY_HEX_LEN + 1];
    QueryCatalog asked = *catalog;
    Err err = caller->is_owner ? OK : each_relation(s, relation_is_open, &asked);
    if (err != ERR_DENIED) return err;
    identity_hex(&caller->identity, hex);
    return diag_fail(diag,
                     ERR_DENIED,
                     "Caller %s is not authorized to run EXPLAIN of tables of which not everybody "
                     "sees every row",
                     hex);
}

static Err compile(Statement *s,
                   Str text,
                   const QueryCatalog *catalog,
                   const QueryCaller *caller,
                   StatementParams *params,
                   Arena *scratch,
                   Diag *diag) {
    SqlStatement syntax;
    Err err = compile_check_text(text, diag);
    if (err == OK) err = sql_parse(text, s->door, params, scratch, &syntax, diag);
    if (err != OK) return err;
    stats_begin(catalog->stats);
    s->verb = syntax.verb;
    s->explain = syntax.explain;
    s->analyze = syntax.analyze;
    if (syntax.subscription.ptr)
        err = standing_compile(syntax.subscription, false, catalog, caller, &s->standing, diag);
    else if (syntax.verb == SQL_SELECT)
        err = compile_select_statement(s, &syntax.select, catalog, caller, scratch, diag);
    else
        err = write_compile(s, &syntax, catalog, caller, scratch, diag);
    if (err == OK && s->verb == SQL_SHOW) err = query_columns(s);
    if (err != OK || !s->explain) return err;
    if ((err = check_may_explain(s, catalog, caller, diag)) != OK) return err;
    if (s->query) s->estimate = estimate_query(s->query, catalog->stats, NULL);
    return explain_columns(s);
}

Err statement_compile(Str text,
                      QueryDoor door,
                      const QueryCatalog *catalog,
                      const QueryCaller *caller,
                      Statement **out,
                      Diag *diag) {
    return statement_compile_with(text, door, catalog, caller, NULL, out, diag);
}

Err statement_compile_with(Str text,
                           QueryDoor door,
                           const QueryCatalog *catalog,
                           const QueryCaller *caller,
                           StatementParams *params,
                           Statement **out,
                           Diag *diag) {
    Arena scratch = {0};
    Statement *s = MEM_NEW(Statement);
    if (!s) return diag_fail(diag, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    s->door = door;
    if (params) params->count = 0;
    Err err = compile(s, text, catalog, caller, params, &scratch, diag);
    if (err == ERR_NOMEM) diag_fail(diag, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    arena_deinit(&scratch);
    if (err == OK)
        *out = s;
    else
        statement_free(&s);
    return err;
}

void statement_free(Statement **statement) {
    Statement *s = *statement;
    if (!s) return;
    query_free(&s->query);
    standing_free(&s->standing);
    plan_free(&s->plan);
    arena_deinit(&s->arena);
    mem_free(s);
    *statement = NULL;
}

// ── what it is ─────────────────────────────────────────────────────────────────────────────────

bool statement_writes(const Statement *s) {
    return s->verb != SQL_SELECT && s->verb != SQL_SHOW && !s->explain;
}

const char *statement_verb(const Statement *s) {
    static const char *const verbs[] = {
        [SQL_SELECT] = "SELECT",
        [SQL_INSERT] = "INSERT",
        [SQL_UPDATE] = "UPDATE",
        [SQL_DELETE] = "DELETE",
        [SQL_SET] = "SET",
        [SQL_SHOW] = "SHOW",
    };
    return s->explain ? "EXPLAIN" : verbs[s->verb];
}

const StatementColumn *statement_columns(const Statement *s, uint32_t *count) {
    *count = s->column_count;
    return s->columns;
}

const CatalogTable *statement_table(const Statement *s) {
    if (s->explain || s->verb != SQL_SELECT) return NULL;
    if (s->query) return s->query->projection == QPROJECT_ROW ? s->query->table : NULL;
    return s->plan->whole_row ? s->plan->join.leaves[s->plan->shown].query->table : NULL;
}

static Err join_each(const Join *join, Err (*each)(void *ctx, const Query *query), void *ctx) {
    Err err = OK;
    for (uint32_t r = 0; err == OK && r < join->count; r++) {
        const PlanLeaf *leaf = &join->leaves[r];
        err = each(ctx, leaf->query);
        for (uint32_t i = 0; err == OK && i < leaf->rule_count; i++)
            err = join_each(leaf->rules[i], each, ctx);
    }
    return err;
}

static Err each_relation(const Statement *s,
                         Err (*each)(void *ctx, const Query *query),
                         void *ctx) {
    if (s->query) return each(ctx, s->query);
    if (s->standing) return standing_each_query(s->standing, each, ctx);
    return s->plan ? join_each(&s->plan->join, each, ctx) : OK;
}

Err statement_each_query(const Statement *s,
                         Err (*each)(void *ctx, const Query *query),
                         void *ctx) {
    return s->explain && !s->analyze ? OK : each_relation(s, each, ctx);
}

// ── elsewhere ──────────────────────────────────────────────────────────────────────────────────

uint64_t statement_cost(const Statement *s, uint64_t most) {
    if (s->explain && !s->analyze) return 0;
    if (!s->plan && !s->query) return s->row_count;  // INSERT, SET
    return s->plan ? plan_cost(s->plan, most) : query_cost(s->query, most);
}

Err statement_detach(Statement *s) {
    ASSERT(!statement_writes(s));
    if (s->standing) return OK;  // it is read, not run, and not for long
    Err err = s->plan ? plan_detach(s->plan) : query_detach(s->query);
    if (err != OK || s->explain) return err;
    return s->plan ? plan_columns(s) : query_columns(s);
}

void statement_limit(Statement *s, const atomic_bool *stop, uint64_t rows_max, uint64_t bytes_max) {
    s->bytes_max = bytes_max;
    if (s->plan) {
        s->plan->stop = stop;
        s->plan->rows_max = rows_max;
        s->plan->bytes_max = bytes_max;
        s->plan->tries_max = 0;
    } else if (s->query) {
        s->query->stop = stop;
        s->query->rows_max = rows_max;
        s->query->bytes_max = bytes_max;
    }
}

void statement_limit_tries(Statement *s, uint64_t tries_max) {
    if (s->plan) s->plan->tries_max = tries_max;
}

bool statement_gives_copies(const Statement *s) {
    // A scan survives breathing, and looks at no row again after the sink. Joins do.
    return !s->explain && (s->query || s->plan->has_groups || s->plan->order_count);
}

// ── running ────────────────────────────────────────────────────────────────────────────────────

typedef struct Shown {
    const Query *query;
    QuerySink sink;
    void *ctx;
    Buf row;
} Shown;

static bool show(void *ctx, Bytes row) {
    Shown *shown = ctx;
    const Query *q = shown->query;
    if (q->projection == QPROJECT_COUNT) return shown->sink(shown->ctx, row);
    if (q->projection == QPROJECT_ROW) return shown->sink(shown->ctx, query_shown(q, row));
    buf_clear(&shown->row);
    for (uint32_t i = 0; i < q->projected_count; i++)
        buf_put_bytes(&shown->row, row_column(q->layout, row, q->projected[i]));
    return buf_ok(&shown->row) && shown->sink(shown->ctx, buf_bytes(&shown->row));
}

Err statement_run(const Statement *s,
                  const Snapshot *snapshot,
                  QuerySink sink,
                  void *ctx,
                  Diag *diag) {
    ASSERT(!statement_writes(s));
    if (s->explain) return explain_run(s, snapshot, sink, ctx, diag);
    if (s->plan) return plan_run(s->plan, snapshot, sink, ctx, NULL, diag);
    Shown shown = {.query = s->query, .sink = sink, .ctx = ctx};
    Err err = query_run(s->query, snapshot, show, &shown);
    if (!buf_ok(&shown.row)) err = ERR_NOMEM;
    buf_deinit(&shown.row);
    return err;
}
