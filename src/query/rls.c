// rls.c: row-level security: which rows of a table its rules leave to a caller who is not the owner.
//
// PICTURE
//   SELECT * FROM note n WHERE n.id > 7        and the rules of `note`:
//                                                SELECT * FROM note WHERE note.by = :sender
//                                                SELECT x.* FROM note x WHERE x.open
//                    ──>  id > 7 AND (by = :sender OR open)
//
// The rules' predicates are put into the query's syntax tree before it is typed, so that everything
// behind it (templates, indexes, subscriptions, COUNT and LIMIT) treats them as if the caller had
// written them himself.
//
// ALWAYS TRUE
//   (1) A caller gets a row only if the whole query could be put together. A rule that cannot be
//       expressed makes the query fail for him; it never vanishes. Here that is one with a join:
//       statements and subscriptions of several relations carry it out (plan_leaf.c).
//   (2) A rule's columns are columns of the table it is about: their qualifier was checked against
//       the rule's own alias and is taken off.
#include "query/plan.h"

typedef struct Rules {
    Compiler *c;
    const QueryCatalog *catalog;
    const SqlSelect *query;
    Buf nodes;  // SqlNode: the query's, then those of each rule
    uint32_t root;
    bool any;
    Err err;
} Rules;

static Err fail_rule(const Rules *r, Str rule, Err err, const char *why) {
    return diag_fail(r->c->diag,
                     err,
                     "Row-level security rule `%.*s` of table `%.*s` cannot be applied: %.600s",
                     (int)utf8_cut(rule, 300),
                     rule.ptr,
                     (int)utf8_cut(r->c->table->name, 200),
                     r->c->table->name.ptr,
                     why);
}

static uint32_t add_node(Rules *r, const SqlNode *node) {
    buf_put(&r->nodes, node, sizeof *node);
    return (uint32_t)(r->nodes.len / sizeof *node) - 1;
}

static Err copy_nodes(Rules *r, Str text, const SqlSelect *rule) {
    uint32_t base = (uint32_t)(r->nodes.len / sizeof(SqlNode));
    for (uint32_t i = 0; i < rule->node_count; i++) {
        SqlNode node = rule->nodes[i];
        node.left += base;
        node.right += base;
        if (node.qualifier.ptr && !str_eq(node.qualifier, rule->alias))
            return fail_rule(r, text, ERR_INVALID, "it names a table that it does not read");
        node.qualifier = STR_NONE;  // (2)
        add_node(r, &node);
    }
    if (rule->node_count == 0) add_node(r, &(SqlNode){.kind = SQL_BOOL, .value = true});
    return OK;
}

static Err add_rule(Rules *r, Str text) {
    SqlSelect rule;
    Diag why;
    diag_clear(&why);
    // The syntax tree borrows from the text, which the catalog may move.
    Str copy = arena_str(r->c->scratch, text);
    if (!copy.ptr) return ERR_NOMEM;
    Err err = sql_parse_select(copy, QUERY_SUBSCRIBE, r->c->scratch, &rule, &why);
    if (err == OK && !sql_select_is_plain(&rule))
        err = diag_fail(&why, ERR_UNSUPPORTED, "Unsupported: JOIN: " STR_FMT, STR_ARG(text));
    if (err != OK) return err == ERR_NOMEM ? err : fail_rule(r, text, err, why.text);  // (1)
    if (r->catalog->table_by_name(r->catalog->ctx, rule.table) != r->c->table)
        return fail_rule(r, text, ERR_INVALID, "it is about another table");
    uint32_t before = r->root;
    if (!r->any) buf_put(&r->nodes, r->query->nodes, r->query->node_count * sizeof(SqlNode));
    if ((err = copy_nodes(r, copy, &rule)) != OK) return err;
    r->root = (uint32_t)(r->nodes.len / sizeof(SqlNode)) - 1;
    if (r->any) r->root = add_node(r, &(SqlNode){.kind = SQL_OR, .left = before, .right = r->root});
    r->any = true;
    if (r->nodes.len / sizeof(SqlNode) > SQL_NODES_MAX)
        return fail_rule(r, text, ERR_TOO_LARGE, "the rules and the query together are too large");
    return OK;
}

static bool each_rule(void *ctx, Str text) {
    Rules *r = ctx;
    r->err = add_rule(r, text);
    return r->err == OK;
}

Err compile_rules(Compiler *c, const QueryCatalog *catalog, SqlSelect *select) {
    if (c->caller->is_owner || !catalog->each_rule) return OK;
    Rules r = {.c = c, .catalog = catalog, .query = select};
    Err err = catalog->each_rule(catalog->ctx, c->table, each_rule, &r);
    if (err == OK) err = r.err;
    if (err == OK && r.any) {
        if (select->node_count > 0)
            add_node(&r,
                     &(SqlNode){.kind = SQL_AND, .left = select->node_count - 1, .right = r.root});
        select->node_count = (uint32_t)(r.nodes.len / sizeof(SqlNode));
        select->nodes = arena_array(c->scratch, SqlNode, select->node_count);
        if (!buf_ok(&r.nodes) || !select->nodes)
            err = ERR_NOMEM;
        else
            memcpy(select->nodes, r.nodes.ptr, r.nodes.len);
    }
    buf_deinit(&r.nodes);
    return err;
}

// It speaks for the owner, but what it returns is for everybody.
static Err check_returned(const QueryCatalog *catalog, const SqlSelect *rule, Diag *diag) {
    const QueryCaller anybody = {.is_owner = false};
    Str table = rule->table;
    const CatalogTable *found;
    for (uint32_t i = 0; rule->star_qualifier.ptr && i < rule->relation_count; i++) {
        if (str_eq(rule->relations[i].alias, rule->star_qualifier))
            table = rule->relations[i].table;
    }
    return compile_table(catalog, &anybody, table, &found, diag);
}

static Err check_rule(Str text, const QueryCatalog *catalog, Arena *scratch, Diag *diag) {
    const QueryCaller owner = {.is_owner = true};  // what a rule says is not subject to rules
    SqlSelect rule;
    Plan *plan = NULL;
    PlanBuilder builder = {
        .catalog = catalog,
        .caller = &owner,
        .door = QUERY_SUBSCRIBE,
        .scratch = scratch,
        .diag = diag,
        .in_rule = true,
    };
    Err err = compile_check_text(text, diag);
    if (err == OK) err = sql_parse_select(text, QUERY_SUBSCRIBE, scratch, &rule, diag);
    if (err == OK) err = check_returned(catalog, &rule, diag);
    if (err == OK) err = plan_new(&builder, &rule, &plan);
    plan_free(&plan);
    return err;
}

Err query_check_rule(Str text, const QueryCatalog *catalog, Diag *diag) {
    Arena scratch = {0};
    Diag why;
    diag_clear(&why);
    Err err = check_rule(text, catalog, &scratch, &why);
    arena_deinit(&scratch);
    if (err == OK || err == ERR_NOMEM) return err;
    return diag_fail(diag,
                     ERR_INVALID,
                     "Row-level security invalid: `%.800s`, query: `%.*s`",
                     why.text,
                     (int)utf8_cut(text, 600),
                     text.ptr);
}
