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
//       expressed, which today is one with a join, makes the query fail for him; it never vanishes.
//   (2) A rule's columns are columns of the table it is about: their qualifier was checked against
//       the rule's own alias and is taken off.
#include "query/compile.h"

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
    Err err = sql_parse(copy, QUERY_SUBSCRIBE, r->c->scratch, &rule, &why);
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

// Whether the text asks for a join, outside of quotes. The parser has refused it already.
static bool asks_for_join(Str text) {
    Arena scratch = {0};
    SqlToken *tokens = NULL;
    uint32_t count = 0;
    Diag ignored;
    bool found = false;
    if (sql_lex(text, &scratch, &tokens, &count, &ignored) != OK) count = 0;
    for (uint32_t i = 0; i < count && !found; i++)
        found = tokens[i].kind == TOK_WORD && str_eq_nocase(tokens[i].text, STR("JOIN"));
    arena_deinit(&scratch);
    return found;
}

Err query_check_rule(Str text, const QueryCatalog *catalog, Diag *diag) {
    QueryCatalog bare = *catalog;
    bare.each_rule = NULL;  // what a rule says is not subject to rules
    QueryCaller anybody = {.is_owner = false};
    Query *query = NULL;
    Diag why;
    diag_clear(&why);
    Err err = query_compile(text, QUERY_SUBSCRIBE, &bare, &anybody, &query, &why);
    query_free(&query);
    if (err == OK || err == ERR_NOMEM) return err;
    if (err == ERR_UNSUPPORTED && asks_for_join(text)) return OK;
    return diag_fail(diag,
                     ERR_INVALID,
                     "Row-level security invalid: `%.800s`, query: `%.*s`",
                     why.text,
                     (int)utf8_cut(text, 600),
                     text.ptr);
}
