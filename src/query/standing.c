// standing.c: a parsed SELECT to a Standing: what the joins of a plan look for, seen from the root.
//
// A plan says how to find all rows of an answer; here the root is given, and the same machinery
// (plan_order.c) says how to find out whether it has partners. The joins of row-level security are
// built that way already, so the two become one tree of nodes.
#include "query/standing_private.h"

#include "base/mem.h"

typedef struct Builder {
    Standing *s;
    uint32_t params, blocks;
} Builder;

// ── how much there is ──────────────────────────────────────────────────────────────────────────

typedef struct Size {
    uint32_t nodes, blocks, params;
} Size;

static void measure(const Join *join, Size *size) {
    size->blocks++;
    size->nodes += join->count;
    size->params += join->constant_count;
    for (uint32_t r = 0; r < join->count; r++) {
        const PlanLeaf *leaf = &join->leaves[r];
        size->params += leaf->query->param_count;
        if (leaf->allowed) size->params += leaf->allowed->param_count;
        for (uint32_t i = 0; i < leaf->rule_count; i++)
            measure(leaf->rules[i], size);
    }
}

static Err reserve(Standing *s, const Size *size) {
    s->nodes = arena_array(&s->arena, StandingNode, size->nodes);
    s->blocks = arena_array(&s->arena, StandingBlock, size->blocks);
    s->values = arena_array(&s->arena, Bytes, size->params);
    s->value_types = arena_array(&s->arena, const Type *, size->params);
    return s->nodes && s->blocks && s->values && s->value_types ? OK : ERR_NOMEM;
}

// ── parameters ─────────────────────────────────────────────────────────────────────────────────

static uint32_t take_query(Builder *b, const Query *query) {
    uint32_t at = b->params;
    Standing *s = b->s;
    for (uint32_t i = 0; i < query->param_count; i++) {
        s->values[b->params] = query->values[i];
        s->value_types[b->params++] = query->value_types[i];
    }
    return at;
}

static uint32_t take_constants(Builder *b, const Join *join) {
    uint32_t at = b->params;
    Standing *s = b->s;
    for (uint32_t i = 0; i < join->constant_count; i++) {
        s->values[b->params] = join->constants[i];
        s->value_types[b->params++] = join->constant_types[i];
    }
    return at;
}

// ── steps ──────────────────────────────────────────────────────────────────────────────────────

static const StandingExpr *expr_of(const PlanExpr *expr) {
    return (const StandingExpr *)expr;
}
const PlanExpr *standing_expr(const StandingExpr *expr) {
    return (const PlanExpr *)expr;
}

static Err take_step(Standing *s, const StandingBlock *block, const JoinStep *from, uint32_t at) {
    StandingStep *to = &block->steps[at];
    *to = (StandingStep){
        .node = block->first + from->relation,
        .optional = from->left,
        .has_index = from->access == STEP_LOOKUP,
        .index_id = from->index_id,
        .key_count = from->key_count,
        .on = expr_of(from->on),
        .filter = expr_of(from->filter),
    };
    to->keys = arena_array(&s->arena, StandingKey, from->key_count);
    if (!to->keys) return ERR_NOMEM;
    for (uint32_t i = 0; i < from->key_count; i++) {
        const StepKey *key = &from->keys[i];
        to->keys[i] = (StandingKey){
            .column = key->column,
            .is_param = key->constant.ptr != NULL,
            .param = s->nodes[to->node].leaf_at + key->param,
            .outer = {block->first + key->outer.relation, key->outer.column},
        };
    }
    return OK;
}

// A relation that nothing links: at least its own conditions may have an index.
static Err take_place(Standing *s, StandingStep *step) {
    const StandingNode *node = &s->nodes[step->node];
    const Query *q = node->leaf;
    uint16_t primary = q->table->primary_key < 0 ? 0 : (uint16_t)q->table->primary_key;
    QueryPath path = place_choose(q, &primary);
    if (path.equal == 0) return OK;
    step->keys = arena_array(&s->arena, StandingKey, path.equal);
    if (!step->keys) return ERR_NOMEM;
    step->has_index = true;
    step->index_id = path.index_id;
    for (; step->key_count < path.equal; step->key_count++) {
        uint16_t column = path.columns[step->key_count];
        step->keys[step->key_count] =
            (StandingKey){.column = column,
                          .is_param = true,
                          .param = node->leaf_at + place_equality(q, column)->param};
    }
    return OK;
}

Err standing_take_steps(Standing *s, StandingBlock *block, const Join *join) {
    block->steps = arena_array(&s->arena, StandingStep, join->count);
    if (!block->steps) return ERR_NOMEM;
    Err err = OK;
    for (uint32_t i = 0; err == OK && i < join->count; i++) {
        err = take_step(s, block, &join->steps[i], i);
        if (err == OK && i > 0 && join->steps[i].access == STEP_SCAN)
            err = take_place(s, &block->steps[i]);
    }
    return err;
}

// ── the tree ───────────────────────────────────────────────────────────────────────────────────

static Err take_parent(Standing *s, const StandingBlock *block, uint32_t at) {
    const StandingStep *step = &block->steps[at];
    StandingNode *node = &s->nodes[step->node];
    node->up = STANDING_CROSS;
    node->parent = block->steps[0].node;
    node->links = arena_array(&s->arena, StandingLink, step->key_count);
    if (!node->links) return ERR_NOMEM;
    for (uint32_t i = 0; i < step->key_count; i++) {
        const StandingKey *key = &step->keys[i];
        if (key->is_param) continue;
        if (node->up == STANDING_CROSS) {
            node->up = STANDING_LINK;
            node->parent = key->outer.node;
        }
        if (key->outer.node == node->parent)
            node->links[node->link_count++] = (StandingLink){key->column, key->outer.column};
    }
    return OK;
}

static Err take_join(Builder *b, const Join *join, uint32_t *out);

static Err take_rules(Builder *b, const PlanLeaf *leaf, uint32_t at) {
    Standing *s = b->s;
    StandingNode *node = &s->nodes[at];
    node->rules = arena_array(&s->arena, uint32_t, leaf->rule_count);
    if (!node->rules) return ERR_NOMEM;
    Err err = OK;
    for (uint32_t i = 0; err == OK && i < leaf->rule_count; i++) {
        uint32_t block;
        err = take_join(b, leaf->rules[i], &block);
        if (err != OK) break;
        node->rules[node->rule_count++] = block;
        StandingNode *given = &s->nodes[s->blocks[block].steps[0].node];
        given->up = STANDING_SAME;
        given->parent = at;
    }
    return err;
}

// Everything that it says of relations is kept, not copied: the joins live in the same arena.
static Err take_join(Builder *b, const Join *join, uint32_t *out) {
    Standing *s = b->s;
    uint32_t at = s->block_count++;
    StandingBlock *block = &s->blocks[at];
    block->first = s->node_count;
    block->count = join->count;
    s->node_count += join->count;
    s->node_max = MAX(s->node_max, join->node_max);
    *out = at;
    for (uint32_t r = 0; r < join->count; r++) {
        const PlanLeaf *leaf = &join->leaves[r];
        StandingNode *node = &s->nodes[block->first + r];
        node->leaf = leaf->query;
        node->leaf_at = take_query(b, leaf->query);
        node->allowed = leaf->allowed;
        if (leaf->allowed) node->allowed_at = take_query(b, leaf->allowed);
        node->block = at;
    }
    block->constants_at = take_constants(b, join);
    block->constant_count = join->constant_count;
    Err err = standing_take_steps(s, block, join);
    for (uint32_t i = 0; err == OK && i < join->count; i++) {
        s->nodes[block->steps[i].node].step = i;
        if (i > 0) err = take_parent(s, block, i);
    }
    for (uint32_t r = 0; err == OK && r < join->count; r++)
        err = take_rules(b, &join->leaves[r], block->first + r);
    return err;
}

// ── the template's key ─────────────────────────────────────────────────────────────────────────

static void key_join(Buf *key, const Join *join) {
    buf_put_u32(key, join->count);
    buf_put_u32(key, join->steps[0].relation);
    buf_put_lp(key, join->shape);
    for (uint32_t r = 0; r < join->count; r++) {
        const PlanLeaf *leaf = &join->leaves[r];
        buf_put_lp(key, leaf->query->template_key);
        buf_put_u8(key, leaf->nullable);
        buf_put_lp(key, leaf->allowed ? leaf->allowed->template_key : BYTES_NONE);
        buf_put_u32(key, leaf->rule_count);
        for (uint32_t i = 0; i < leaf->rule_count; i++)
            key_join(key, leaf->rules[i]);
    }
}

static void key_outputs(Buf *key, const Plan *plan) {
    buf_put_u8(key, plan->has_groups);
    if (!plan->has_groups) return;
    buf_put_u32(key, plan->group_count);
    for (uint32_t i = 0; i < plan->group_count; i++) {
        buf_put_u32(key, plan->groups[i].relation);
        buf_put_u16(key, plan->groups[i].column);
    }
    for (uint32_t i = 0; i < plan->output_count; i++) {
        const PlanOutput *output = &plan->outputs[i];
        buf_put_u8(key, (uint8_t)output->function);
        buf_put_u32(key, output->column.relation);
        buf_put_u16(key, output->column.column);
        buf_put_u32(key, output->group);
    }
}

static Err take_key(Standing *s, const Join *join) {
    Buf key = {0};
    key_join(&key, join);
    key_outputs(&key, s->plan);
    s->key = arena_bytes(&s->arena, buf_bytes(&key));
    bool ok = buf_ok(&key) && s->key.ptr;
    buf_deinit(&key);
    return ok ? OK : ERR_NOMEM;
}

Err standing_take(Standing *s, const Join *join) {
    Size size = {0};
    uint32_t block;
    measure(join, &size);
    Builder b = {.s = s};
    Err err = reserve(s, &size);
    if (err == OK) err = take_join(&b, join, &block);
    if (err != OK) return err;
    s->param_count = b.params;
    s->root = s->blocks[0].steps[0].node;
    s->nodes[s->root].up = STANDING_ROOT;
    s->scratch = arena_array(&s->arena, Bytes, s->node_max + 1);
    if (!s->scratch) return ERR_NOMEM;
    standing_mark(s);
    return take_key(s, join);
}

// ── conditions ─────────────────────────────────────────────────────────────────────────────────

static Bytes truth_bytes(bool value) {
    static const uint8_t truths[] = {0, 1};
    return BYTES(&truths[value], 1);
}

typedef struct Holding {
    const Standing *s;
    const StandingBlock *block;
    const Bytes *rows, *values;
} Holding;

static Bytes column_value(const Holding *h, PlanColumn column) {
    uint32_t node = h->block->first + column.relation;
    Bytes row = h->rows[node];
    return row.ptr ? row_column(h->s->nodes[node].leaf->layout, row, column.column) : BYTES_NONE;
}

static Bytes node_value(const Holding *h, const PlanNode *nodes, const PlanNode *node) {
    const Bytes *known = h->s->scratch;
    Bytes a = node->kind >= SQL_COMPARE ? known[node->left] : BYTES_NONE;
    switch (node->kind) {
    case SQL_BOOL:
    case SQL_LITERAL:
    case SQL_SENDER: return h->values[h->block->constants_at + node->constant];
    case SQL_COLUMN: return column_value(h, node->column);
    case SQL_COMPARE: {
        Bytes b = known[node->right];
        if (!a.ptr || !b.ptr) return BYTES_NONE;
        return truth_bytes(query_values_hold(nodes[node->left].type, node->op, a, b));
    }
    case SQL_AND:
    case SQL_OR: return plan_and_or(a, known[node->right], node->kind == SQL_AND);
    case SQL_NOT: return a.ptr ? truth_bytes(!a.ptr[0]) : a;
    case SQL_IS_NULL:
        if (!a.ptr) return truth_bytes(true);
        return truth_bytes(nodes[node->left].type->special == SPECIAL_OPTION && a.ptr[0] == 1);
    }
    UNREACHABLE();
}

bool standing_holds(const Standing *s,
                    const StandingBlock *block,
                    const StandingExpr *list,
                    const Bytes *rows,
                    const Bytes *values) {
    Holding h = {s, block, rows, values};
    for (const PlanExpr *expr = standing_expr(list); expr; expr = expr->next) {
        for (uint32_t i = 0; i < expr->count; i++)
            s->scratch[i] = node_value(&h, expr->nodes, &expr->nodes[i]);
        Bytes result = s->scratch[expr->count - 1];
        if (!result.ptr || !result.ptr[0]) return false;
    }
    return true;
}
