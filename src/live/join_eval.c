// join_eval.c: does a row have partners? The steps of a block, carried out on one version of the tables.
//
// Depth first, a step deeper with every row that fits, and back as soon as enough was found. A step's
// row borrows from pages that nobody lets go before the commit is done (delta.h), so nothing is copied.
#include "live/join.h"

// ── keys ───────────────────────────────────────────────────────────────────────────────────────

static void put_param(const Eval *e, const StandingKey *key, Buf *out) {
    key_append(out, e->s->value_types[key->param], e->values[key->param].ptr);
}

static const Type *key_type(const Eval *e, const StandingStep *step, const StandingKey *key) {
    return e->s->nodes[step->node].leaf->layout->row_type->fields[key->column].type;
}

bool eval_key(Eval *e, const StandingStep *step, Probe *probe) {
    buf_clear(&probe->key);
    for (uint32_t i = 0; i < step->key_count; i++) {
        const StandingKey *key = &step->keys[i];
        if (key->is_param) {
            put_param(e, key, &probe->key);
            continue;
        }
        Bytes row = e->x->rows[key->outer.node];
        if (!row.ptr) return false;
        const RowLayout *layout = e->s->nodes[key->outer.node].leaf->layout;
        Bytes value = row_column(layout, row, key->outer.column);
        key_append(&probe->key, key_type(e, step, key), value.ptr);
    }
    return true;
}

// The same, from a row of the node itself that has the link which is looked for.
static void key_like(Eval *e, const StandingStep *step, Bytes row, Probe *probe) {
    buf_clear(&probe->key);
    for (uint32_t i = 0; i < step->key_count; i++) {
        const StandingKey *key = &step->keys[i];
        if (key->is_param) {
            put_param(e, key, &probe->key);
            continue;
        }
        Bytes value = row_column(e->s->nodes[step->node].leaf->layout, row, key->column);
        key_append(&probe->key, key_type(e, step, key), value.ptr);
    }
}

// ── steps ──────────────────────────────────────────────────────────────────────────────────────

typedef struct Path {  // steps of a block, in this order
    const StandingBlock *block;
    const uint32_t *order;  // NULL: all but the first
    uint32_t count;
} Path;

static uint64_t steps(Eval *e, const Path *path, uint32_t at, uint64_t most);

static bool holds(const Eval *e, const StandingBlock *block, const StandingExpr *expr) {
    return !expr || standing_holds(e->s, block, expr, e->x->rows, e->values);
}

// With a row at the node: what follows from it.
static uint64_t behind(Eval *e,
                       const Path *path,
                       const StandingStep *step,
                       uint32_t at,
                       uint64_t most) {
    if (!holds(e, path->block, step->filter)) return 0;
    return steps(e, path, at + 1, most);
}

// The rows that the probe, which is open, yields.
static uint64_t step_rows(Eval *e,
                          const Path *path,
                          const StandingStep *step,
                          uint32_t at,
                          uint64_t most) {
    Probe *probe = &e->x->steps[step->node];
    const StandingNode *node = &e->s->nodes[step->node];
    bool matched = false;
    uint64_t found = 0;
    Bytes row;
    while (found < most && e->err == OK && probe->plan && probe_next(probe, &row)) {
        e->live->stats.rows_probed++;
        if (!standing_leaf_holds(node, e->values, row)) continue;
        e->x->rows[step->node] = row;
        if (!holds(e, path->block, step->on) || !eval_allowed(e, step->node, row)) continue;
        matched = true;
        found += behind(e, path, step, at, most - found);
    }
    if (e->err == OK && probe->plan) e->err = probe->err;
    probe_close(probe);
    if (matched || !step->optional || e->err != OK) return found;
    e->x->rows[step->node] = BYTES_NONE;
    return behind(e, path, step, at, most);
}

static uint64_t steps(Eval *e, const Path *path, uint32_t at, uint64_t most) {
    if (at == path->count) {
        if (e->each && path->block == e->s->blocks) e->each(e);
        return 1;
    }
    const StandingStep *step = &path->block->steps[path->order ? path->order[at] : at + 1];
    Probe *probe = &e->x->steps[step->node];
    probe->plan = NULL;  // nothing equals what is missing
    if (eval_key(e, step, probe))
        probe_open(probe, &e->live->delta, &e->join->step_plans[step->node], e->version);
    return step_rows(e, path, step, at, most);
}

static uint64_t block_members(Eval *e, const StandingBlock *block, Bytes row, uint64_t most) {
    Path path = {block, NULL, block->count - 1};
    const StandingStep *given = &block->steps[0];
    e->x->rows[given->node] = row;
    if (!standing_leaf_holds(&e->s->nodes[given->node], e->values, row)) return 0;
    if (!holds(e, block, given->on) || !eval_allowed(e, given->node, row)) return 0;
    if (!holds(e, block, given->filter)) return 0;
    return steps(e, &path, 0, most);
}

bool eval_allowed(Eval *e, uint32_t n, Bytes row) {
    const StandingNode *node = &e->s->nodes[n];
    if (!node->allowed) return true;
    if (query_matches_with(node->allowed, e->values + node->allowed_at, row)) return true;
    for (uint32_t i = 0; i < node->rule_count && e->err == OK; i++) {
        if (block_members(e, &e->s->blocks[node->rules[i]], row, 1) > 0) return true;
    }
    return false;
}

uint64_t eval_members(Eval *e, Bytes row, uint64_t most) {
    return block_members(e, &e->s->blocks[0], row, most);
}

uint64_t eval_below(Eval *e, uint32_t n, Bytes row, uint64_t most) {
    const StandingNode *node = &e->s->nodes[n];
    const StandingBlock *block = &e->s->blocks[node->block];
    Path path = {block, e->join->below[n], e->join->below_count[n]};
    const StandingStep *step = &block->steps[node->step];
    Probe *probe = &e->x->steps[n];
    key_like(e, step, row, probe);
    probe_open(probe, &e->live->delta, &e->join->step_plans[n], e->version);
    return step_rows(e, &path, step, 0, most);
}
