// plan_build.c: a parsed SELECT to a Plan: names, types, conjuncts, and who takes which of them.
//
// Checks come in the order clients rely on (spec §6): names of tables, names of columns, types, and
// only then anything about the plan. Everything that can be said about one relation alone goes into
// its leaf, where indexes are; the rest waits in the steps of the join.
#include "query/plan.h"

#include "base/mem.h"

bool relations_within(const RelationSet *part, const RelationSet *whole) {
    for (uint32_t i = 0; i < ARRAY_LEN(part->bits); i++) {
        if (part->bits[i] & ~whole->bits[i]) return false;
    }
    return true;
}

// ── names ──────────────────────────────────────────────────────────────────────────────────────

static Err scope_build(PlanBuilder *b) {
    const SqlSelect *select = b->select;
    b->scope = arena_array(b->scratch, Scope, select->relation_count);
    if (!b->scope) return ERR_NOMEM;
    // A rule may look at tables that the caller cannot see: it speaks for the owner.
    const QueryCaller anybody = {.is_owner = true};
    const QueryCaller *who = b->in_rule ? &anybody : b->caller;
    for (uint32_t r = 0; r < select->relation_count; r++) {
        const SqlRelation *relation = &select->relations[r];
        Err err = compile_table(b->catalog, who, relation->table, &b->scope[r].table, b->diag);
        if (err != OK) return err;
        b->scope[r].alias = relation->alias;
        for (uint32_t i = 0; i < r; i++) {
            if (!str_eq(b->scope[i].alias, relation->alias)) continue;
            return diag_fail(b->diag,
                             ERR_INVALID,
                             "Duplicate name `%.*s`",
                             (int)utf8_cut(relation->alias, 200),
                             relation->alias.ptr);
        }
    }
    return OK;
}

// ── conjuncts ──────────────────────────────────────────────────────────────────────────────────

typedef struct Clause {  // WHERE, or ON of a relation
    const SqlNode *nodes;
    uint32_t count;
    uint32_t scope_count;  // relations that it may name
    uint32_t left_join;
} Clause;

static Err clause_types(PlanBuilder *b, const Clause *clause, const Typed **out) {
    Compiler c = {
        .select = b->select,
        .table = b->scope[0].table,
        .scope = b->scope,
        .scope_count = clause->scope_count,
        .nodes = clause->nodes,
        .node_count = clause->count,
        .caller = b->caller,
        .scratch = b->scratch,
        .diag = b->diag,
    };
    Err err = compile_types(&c);
    *out = c.typed;
    return err;
}

static bool has_right(const SqlNode *node) {
    return node->kind == SQL_COMPARE || node->kind == SQL_AND || node->kind == SQL_OR;
}
static bool has_left(const SqlNode *node) {
    return has_right(node) || node->kind == SQL_NOT || node->kind == SQL_IS_NULL;
}

// Of each node: the first of its subtree, and whom it names.
static Err subtrees(PlanBuilder *b,
                    const Clause *clause,
                    const Typed *typed,
                    uint32_t **first,
                    RelationSet **uses) {
    *first = arena_array(b->scratch, uint32_t, clause->count);
    *uses = arena_array(b->scratch, RelationSet, clause->count);
    if (!*first || !*uses) return ERR_NOMEM;
    for (uint32_t i = 0; i < clause->count; i++) {
        const SqlNode *node = &clause->nodes[i];
        RelationSet *set = &(*uses)[i];
        (*first)[i] = has_left(node) ? (*first)[node->left] : i;
        if (node->kind == SQL_COLUMN) relations_add(set, typed[i].relation);
        for (uint32_t w = 0; w < ARRAY_LEN(set->bits); w++) {
            if (has_left(node)) set->bits[w] |= (*uses)[node->left].bits[w];
            if (has_right(node)) set->bits[w] |= (*uses)[node->right].bits[w];
        }
    }
    return OK;
}

static uint32_t relations_count(const RelationSet *set) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < ARRAY_LEN(set->bits); i++) {
        count += (uint32_t)__builtin_popcountll(set->bits[i]);
    }
    return count;
}

// The operands of the ANDs at its root, in front of *list.
static Err clause_split(PlanBuilder *b, const Clause *clause, Conjunct **list) {
    const Typed *typed;
    uint32_t *first, *waiting = arena_array(b->scratch, uint32_t, clause->count);
    RelationSet *uses;
    if (clause->count == 0) return OK;
    Err err = waiting ? clause_types(b, clause, &typed) : ERR_NOMEM;
    if (err == OK) err = subtrees(b, clause, typed, &first, &uses);
    if (err != OK) return err;
    uint32_t left = 0;
    waiting[left++] = clause->count - 1;
    while (left > 0) {
        uint32_t at = waiting[--left];
        const SqlNode *node = &clause->nodes[at];
        if (node->kind == SQL_AND) {
            waiting[left++] = node->right;
            waiting[left++] = node->left;
            continue;
        }
        Conjunct *c = arena_new(b->scratch, Conjunct);
        if (!c) return ERR_NOMEM;
        *c = (Conjunct){
            .next = *list,
            .source = clause->nodes,
            .typed = typed,
            .first = first[at],
            .root = at,
            .uses = uses[at],
            .use_count = relations_count(&uses[at]),
            .left_join = clause->left_join,
        };
        *list = c;
    }
    return OK;
}

static Err conjuncts_build(PlanBuilder *b, Conjunct **out) {
    const SqlSelect *select = b->select;
    Err err = OK;
    for (uint32_t r = 1; err == OK && r < select->relation_count; r++) {
        const SqlRelation *relation = &select->relations[r];
        err = clause_split(b,
                           &(Clause){relation->on,
                                     relation->on_count,
                                     r + 1,
                                     relation->join == SQL_JOIN_LEFT ? r : 0},
                           out);
    }
    if (err == OK)
        err = clause_split(b,
                           &(Clause){select->nodes, select->node_count, select->relation_count, 0},
                           out);
    return err;
}

bool conjunct_links(const Conjunct *c, uint32_t r, uint16_t *own, PlanColumn *other) {
    const SqlNode *node = &c->source[c->root];
    if (node->kind != SQL_COMPARE || node->op != QUERY_EQ || c->use_count != 2) return false;
    if (c->source[node->left].kind != SQL_COLUMN || c->source[node->right].kind != SQL_COLUMN)
        return false;
    const Typed *a = &c->typed[node->left], *d = &c->typed[node->right];
    if (a->relation != r) {
        const Typed *swap = a;
        a = d;
        d = swap;
    }
    if (a->relation != r) return false;
    *own = a->column;
    *other = (PlanColumn){d->relation, d->column};
    return true;
}

// ── together ───────────────────────────────────────────────────────────────────────────────────

Err join_build(PlanBuilder *b, uint32_t given, Join *join) {
    Conjunct *conjuncts = NULL;
    Err err = b->scope ? OK : scope_build(b);
    if (err == OK) err = conjuncts_build(b, &conjuncts);
    if (err != OK) return err;
    uint32_t count = b->select->relation_count;
    join->leaves = arena_array(b->arena, PlanLeaf, count);
    join->steps = arena_array(b->arena, JoinStep, count);
    if (!join->leaves || !join->steps) return ERR_NOMEM;
    join->count = count;
    for (uint32_t r = 0; err == OK && r < count; r++) {
        join->leaves[r].nullable = b->select->relations[r].join == SQL_JOIN_LEFT;
        err = leaf_build(b, r, conjuncts, &join->leaves[r]);
    }
    return err == OK ? steps_build(b, given, conjuncts, join) : err;
}

void join_deinit(Join *join) {
    for (uint32_t r = 0; join->leaves && r < join->count; r++) {
        PlanLeaf *leaf = &join->leaves[r];
        for (uint32_t i = 0; i < leaf->rule_count; i++) {
            join_deinit(leaf->rules[i]);
        }
        query_free(&leaf->query);
        query_free(&leaf->allowed);
    }
}

static Err refuse_projection(const PlanBuilder *b) {
    if (b->door == QUERY_SQL || b->select->projection == QPROJECT_ROW) return OK;
    return diag_fail(b->diag,
                     ERR_INVALID,
                     "Column projections are not supported in subscriptions; Subscriptions must "
                     "return a table type");
}

static Err build(PlanBuilder *b, Plan *plan) {
    Err err = scope_build(b);
    if (err == OK) err = outputs_build(b, plan);
    if (err == OK) err = join_build(b, UINT32_MAX, &plan->join);
    if (err == OK) err = refuse_projection(b);
    plan->has_limit = b->select->has_limit;
    plan->limit = b->select->limit;
    plan->offset = b->select->offset;
    return err;
}

Err plan_new(const PlanBuilder *what, const SqlSelect *select, Plan **out) {
    Plan *plan = MEM_NEW(Plan);
    if (!plan) return ERR_NOMEM;
    PlanBuilder b = *what;
    b.arena = &plan->arena;
    b.select = select;
    plan->memory_max = PLAN_MEMORY_MAX;
    Err err = build(&b, plan);
    if (err == OK)
        *out = plan;
    else
        plan_free(&plan);
    return err;
}

void plan_free(Plan **plan) {
    if (!*plan) return;
    join_deinit(&(*plan)->join);
    arena_deinit(&(*plan)->arena);
    mem_free(*plan);
    *plan = NULL;
}
