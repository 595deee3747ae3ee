// plan_leaf.c: what one relation gives to a join: its own conditions, and what row-level security
// leaves of it (spec §2.3).
//
// PICTURE
//   rules without joins     OR-ed into the leaf's predicate, where they find indexes (rls.c)
//   a rule with joins       the leaf is scanned without rules; a row stays if a simple rule allows it
//                           or if one of the rules' joins, begun from that row, finds anything
//
//   Membership is an OR, so a row that two rules allow is there once.
//
// ALWAYS TRUE
//   (1) A relation of a rule is subject to its own table's rules, except where the table is the one
//       the rule is about. Coming back to a table whose rules are being applied is an error.
#include "base/mem.h"
#include "query/plan.h"

// ── conditions ─────────────────────────────────────────────────────────────────────────────────

// Everything that is about `r` alone. What WHERE says about a relation behind LEFT JOIN is said of
// the missing row too, so it has to wait.
static bool belongs(const PlanBuilder *b, uint32_t r, const Conjunct *c) {
    if (c->use_count != 1 || !relations_have(&c->uses, r)) return false;
    return b->select->relations[r].join == SQL_JOIN_LEFT ? c->left_join == r : c->left_join == 0;
}

static Err leaf_nodes(PlanBuilder *b, uint32_t r, Conjunct *list, RowsQuery *what) {
    size_t most = 0;
    for (const Conjunct *c = list; c; c = c->next) {
        if (belongs(b, r, c)) most += c->root - c->first + 2;
    }
    what->nodes = arena_array(b->scratch, SqlNode, most);
    if (!what->nodes) return ERR_NOMEM;
    for (Conjunct *c = list; c; c = c->next) {
        if (!belongs(b, r, c)) continue;
        uint32_t base = what->node_count, before = base - 1;
        for (uint32_t i = c->first; i <= c->root; i++) {
            SqlNode node = c->source[i];
            node.left += base - c->first;
            node.right += base - c->first;
            node.qualifier = STR_NONE;
            what->nodes[what->node_count++] = node;
        }
        if (base > 0) {
            SqlNode both = {.kind = SQL_AND, .left = before, .right = what->node_count - 1};
            what->nodes[what->node_count++] = both;
        }
        c->done = true;
    }
    return OK;
}

// ── rules ──────────────────────────────────────────────────────────────────────────────────────

typedef struct RuleList {
    PlanBuilder *b;
    Buf texts;  // Str each, in scratch
    bool joins;
    Err err;
} RuleList;

static bool rule_asks_for_join(PlanBuilder *b, Str text) {
    SqlSelect rule;
    Diag ignored;
    diag_clear(&ignored);
    return sql_parse_select(text, QUERY_SUBSCRIBE, b->scratch, &rule, &ignored) == OK &&
           !sql_select_is_plain(&rule);
}

static bool rule_note(void *ctx, Str sql) {
    RuleList *list = ctx;
    Str copy = arena_str(list->b->scratch, sql);
    buf_put(&list->texts, &copy, sizeof copy);
    if (!copy.ptr || !buf_ok(&list->texts)) {
        list->err = ERR_NOMEM;
        return false;
    }
    list->joins = list->joins || rule_asks_for_join(list->b, copy);
    return true;
}

static Err rule_fail(const PlanBuilder *b, const CatalogTable *table, Str text, const Diag *why) {
    return diag_fail(b->diag,
                     ERR_INVALID,
                     "Row-level security rule `%.*s` of table `%.*s` cannot be applied: %.600s",
                     (int)utf8_cut(text, 300),
                     text.ptr,
                     (int)utf8_cut(table->name, 200),
                     table->name.ptr,
                     why->text);
}

// Which relation a rule returns: by its `name.*`.
static Err rule_returns(const PlanBuilder *rule, const SqlSelect *select, uint32_t *out) {
    for (*out = 0; *out < select->relation_count; ++*out) {
        if (str_eq(select->relations[*out].alias, select->star_qualifier)) return OK;
    }
    return diag_fail(rule->diag,
                     ERR_INVALID,
                     "`%.*s` is not in scope",
                     (int)utf8_cut(select->star_qualifier, 200),
                     select->star_qualifier.ptr);
}

static Err rule_build(PlanBuilder *b, const CatalogTable *table, Str text, Join **out) {
    const CatalogTable **path = arena_array(b->scratch, const CatalogTable *, b->path_len + 1);
    SqlSelect *select = arena_new(b->scratch, SqlSelect);
    *out = arena_new(b->arena, Join);
    if (!path || !select || !*out) return ERR_NOMEM;
    for (uint32_t i = 0; i < b->path_len; i++)
        path[i] = b->path[i];
    path[b->path_len] = table;
    Diag why;
    diag_clear(&why);
    PlanBuilder rule = *b;
    rule.diag = &why;
    rule.door = QUERY_SUBSCRIBE;
    rule.scope = NULL;
    rule.select = select;
    rule.path = path;
    rule.path_len = b->path_len + 1;
    rule.in_rule = true;
    uint32_t given = 0;
    Err err = sql_parse_select(text, QUERY_SUBSCRIBE, b->scratch, select, &why);
    if (err == OK && select->star_qualifier.ptr) err = rule_returns(&rule, select, &given);
    if (err == OK) err = join_build(&rule, given, *out);
    if (err == OK && (*out)->leaves[given].query->table != table)
        err = diag_fail(&why, ERR_INVALID, "it is about another table");
    if (err == OK || err == ERR_NOMEM) return err;
    if (str_starts(str_from(why.text), STR("Discovered cyclic")))
        return diag_fail(b->diag, ERR_INVALID, "%s", why.text);
    return rule_fail(b, table, text, &why);
}

// The rules without joins alone, as a catalog would give them.
typedef struct SimpleRules {
    PlanBuilder *b;
    const RuleList *list;
} SimpleRules;

static Err simple_each(void *ctx,
                       const CatalogTable *table,
                       bool (*each)(void *ectx, Str sql),
                       void *ectx) {
    const SimpleRules *simple = ctx;
    const Str *texts = (const Str *)(const void *)simple->list->texts.ptr;
    (void)table;
    for (size_t i = 0; i < simple->list->texts.len / sizeof *texts; i++) {
        if (rule_asks_for_join(simple->b, texts[i])) continue;
        if (!each(ectx, texts[i])) break;
    }
    return OK;
}

static const CatalogTable *simple_table(void *ctx, Str name) {
    const QueryCatalog *catalog = ((const SimpleRules *)ctx)->b->catalog;
    return catalog->table_by_name(catalog->ctx, name);
}

static Err allowed_build(PlanBuilder *b, const RuleList *list, RowsQuery what, PlanLeaf *leaf) {
    SimpleRules simple = {b, list};
    QueryCatalog narrowed = {
        .ctx = &simple,
        .table_by_name = simple_table,
        .schema_version = b->catalog->schema_version,
        .each_rule = simple_each,
    };
    SqlNode nothing = {.kind = SQL_BOOL, .value = false};
    const Str *texts = (const Str *)(const void *)list->texts.ptr;
    bool any = false;
    for (size_t i = 0; i < list->texts.len / sizeof *texts; i++)
        any = any || !rule_asks_for_join(b, texts[i]);
    what.nodes = any ? NULL : &nothing;
    what.node_count = any ? 0 : 1;
    what.rules = any ? &narrowed : NULL;
    return compile_rows(&what, &leaf->allowed, b->diag);
}

static Err joined_rules(PlanBuilder *b, const RuleList *list, RowsQuery what, PlanLeaf *leaf) {
    const Str *texts = (const Str *)(const void *)list->texts.ptr;
    size_t count = list->texts.len / sizeof *texts;
    leaf->rules = arena_array(b->arena, Join *, count);
    if (!leaf->rules) return ERR_NOMEM;
    Err err = allowed_build(b, list, what, leaf);
    for (size_t i = 0; err == OK && i < count; i++) {
        if (!rule_asks_for_join(b, texts[i])) continue;
        Join **rule = &leaf->rules[leaf->rule_count];
        err = rule_build(b, what.table, texts[i], rule);
        if (*rule) leaf->rule_count++;
    }
    return err;
}

static Err refuse_cycle(const PlanBuilder *b, const CatalogTable *table) {
    for (uint32_t i = 0; i < b->path_len; i++) {
        if (b->path[i] != table) continue;
        return diag_fail(b->diag,
                         ERR_INVALID,
                         "Discovered cyclic dependency when resolving RLS rules for table id `%u`",
                         table->table_id);
    }
    return OK;
}

// ── together ───────────────────────────────────────────────────────────────────────────────────

static Err leaf_compile(PlanBuilder *b, RowsQuery *what, PlanLeaf *leaf) {
    bool own = b->path_len > 0 && b->path[b->path_len - 1] == what->table;
    if (b->caller->is_owner || !b->catalog->each_rule || own)
        return compile_rows(what, &leaf->query, b->diag);
    Err err = refuse_cycle(b, what->table);
    if (err != OK) return err;
    RuleList list = {.b = b};
    err = b->catalog->each_rule(b->catalog->ctx, what->table, rule_note, &list);
    if (err == OK) err = list.err;
    if (!list.joins) what->rules = b->catalog;
    if (err == OK) err = compile_rows(what, &leaf->query, b->diag);
    if (err == OK && list.joins) err = joined_rules(b, &list, *what, leaf);
    buf_deinit(&list.texts);
    return err;
}

Err leaf_build(PlanBuilder *b, uint32_t relation, Conjunct *conjuncts, PlanLeaf *leaf) {
    RowsQuery what = {
        .door = QUERY_ONE_OFF,
        .table = b->scope[relation].table,
        .alias = b->scope[relation].alias,
        .caller = b->caller,
    };
    leaf->alias = arena_str(b->arena, what.alias);
    Err err = leaf->alias.ptr ? leaf_nodes(b, relation, conjuncts, &what) : ERR_NOMEM;
    if (err == OK) err = leaf_compile(b, &what, leaf);
    if (err != OK) return err;
    const Table *table = what.table->table;
    leaf->rows = table ? table_row_count(table, NULL) : 0;
    if ((err = estimate_settle(leaf->query, b->stats)) != OK) return err;
    leaf->estimate = estimate_query(leaf->query, b->stats, &leaf->looked_at);
    return OK;
}
