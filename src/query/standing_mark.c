// standing_mark.c: what a change of one node's row can mean to the others.
#include "query/standing_private.h"

typedef struct NodeSet {
    uint64_t bits;  // STANDING_NODES_MAX of them
} NodeSet;

static bool set_has(NodeSet set, uint32_t node) {
    return set.bits >> node & 1;
}
static NodeSet set_of(uint32_t node) {
    return (NodeSet){(uint64_t)1 << node};
}

static void use(StandingNode *node, uint16_t column) {
    if (column < sizeof node->used * 8)
        node->used[column / 64] |= (uint64_t)1 << (column % 64);
    else
        memset(node->used, 0xff, sizeof node->used);
}

// Whom conditions name; with `marks`, their columns are noted as used.
static NodeSet expr_names(Standing *s, const StandingBlock *block, const StandingExpr *list) {
    NodeSet names = {0};
    for (const PlanExpr *expr = standing_expr(list); expr; expr = expr->next) {
        for (uint32_t i = 0; i < expr->count; i++) {
            const PlanNode *node = &expr->nodes[i];
            if (node->kind == SQL_COLUMN)
                names.bits |= set_of(block->first + node->column.relation).bits;
        }
    }
    (void)s;
    return names;
}

static void expr_uses(Standing *s, const StandingBlock *block, const StandingExpr *list) {
    for (const PlanExpr *expr = standing_expr(list); expr; expr = expr->next) {
        for (uint32_t i = 0; i < expr->count; i++) {
            const PlanNode *node = &expr->nodes[i];
            if (node->kind == SQL_COLUMN)
                use(&s->nodes[block->first + node->column.relation], node->column.column);
        }
    }
}

static void query_uses(StandingNode *node, const Query *query) {
    for (uint32_t i = 0; query && i < query->test_count; i++) {
        const QueryTest *test = &query->tests[i];
        if (test->kind == QTEST_PUSH || test->kind == QTEST_POP) continue;
        use(node, test->column);
        if (test->kind == QTEST_COLUMNS) use(node, test->other_column);
    }
}

// Of the groups of the answer.
static void outputs_use(Standing *s) {
    const Plan *plan = s->plan;
    for (uint32_t i = 0; i < plan->group_count; i++)
        use(&s->nodes[plan->groups[i].relation], plan->groups[i].column);
    for (uint32_t i = 0; i < plan->output_count; i++) {
        const PlanOutput *output = &plan->outputs[i];
        if (output->function != SQL_COUNT_ALL)
            use(&s->nodes[output->column.relation], output->column.column);
    }
}

static void mark_used(Standing *s, const StandingBlock *block) {
    for (uint32_t i = 0; i < block->count; i++) {
        const StandingStep *step = &block->steps[i];
        for (uint32_t k = 0; k < step->key_count; k++) {
            use(&s->nodes[step->node], step->keys[k].column);
            if (!step->keys[k].is_param)
                use(&s->nodes[step->keys[k].outer.node], step->keys[k].outer.column);
        }
        expr_uses(s, block, step->on);
        expr_uses(s, block, step->filter);
    }
}

// The node and all below it in its own block.
static NodeSet subtree(const Standing *s, const StandingBlock *block, uint32_t top) {
    NodeSet set = set_of(top);
    for (uint32_t i = 1; i < block->count; i++) {  // parents come before their children
        uint32_t node = block->steps[i].node;
        if (set_has(set, s->nodes[node].parent)) set.bits |= set_of(node).bits;
    }
    return set;
}

static bool mixes(NodeSet names, NodeSet inside) {
    return (names.bits & inside.bits) && (names.bits & ~inside.bits);
}

static bool is_separable(Standing *s, const StandingBlock *block, uint32_t top) {
    NodeSet inside = subtree(s, block, top);
    for (uint32_t i = 1; i < block->count; i++) {
        const StandingStep *step = &block->steps[i];
        if (mixes(expr_names(s, block, step->on), inside) ||
            mixes(expr_names(s, block, step->filter), inside))
            return false;
        // A condition that looks at the subtree from behind it is asked once it was found.
        if (!set_has(inside, step->node) && (expr_names(s, block, step->filter).bits & inside.bits))
            return false;
        for (uint32_t k = 0; k < step->key_count; k++) {
            const StandingKey *key = &step->keys[k];
            bool link = step->node == top && key->outer.node == s->nodes[top].parent;
            if (key->is_param || link) continue;
            if (set_has(inside, step->node) != set_has(inside, key->outer.node)) return false;
        }
    }
    return !block->steps[s->nodes[top].step].optional;
}

static bool is_silent(Standing *s, const StandingBlock *block, uint32_t top) {
    NodeSet inside = subtree(s, block, top);
    if (!block->steps[s->nodes[top].step].optional) return false;
    for (uint32_t i = 1; i < block->count; i++) {
        const StandingStep *step = &block->steps[i];
        bool in = set_has(inside, step->node);
        if (expr_names(s, block, step->filter).bits & inside.bits) return false;
        if (!in && (expr_names(s, block, step->on).bits & inside.bits)) return false;
        if (in && !step->optional) return false;
        for (uint32_t k = 0; k < step->key_count && !in; k++) {
            const StandingKey *key = &step->keys[k];
            if (!key->is_param && set_has(inside, key->outer.node)) return false;
        }
    }
    return true;
}

void standing_mark(Standing *s) {
    for (uint32_t b = 0; b < s->block_count; b++) {
        const StandingBlock *block = &s->blocks[b];
        mark_used(s, block);
        for (uint32_t i = 1; i < block->count; i++) {
            StandingNode *node = &s->nodes[block->steps[i].node];
            node->separable = is_separable(s, block, block->steps[i].node);
            node->silent = is_silent(s, block, block->steps[i].node);
        }
    }
    if (s->has_groups) outputs_use(s);
    // What a rule says of a row may be about any of its columns.
    for (uint32_t n = 0; n < s->node_count; n++) {
        query_uses(&s->nodes[n], s->nodes[n].leaf);
        if (s->nodes[n].rule_count > 0) memset(s->nodes[n].used, 0xff, sizeof s->nodes[n].used);
    }
}
