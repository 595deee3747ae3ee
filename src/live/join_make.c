// join_make.c: a standing query made ready: how each node's rows are found, in both directions, and by
// which columns the groups of the template are found.
#include "base/mem.h"
#include "live/join.h"
#include "live/prepare.h"
#include "query/place.h"

typedef struct Maker {
    Live *live;
    JoinTemplate *join;
    const Standing *s;
    Diag *diag;
    Err err;
} Maker;

// ── arrangements ───────────────────────────────────────────────────────────────────────────────

// On the loop, or by somebody else who has more time.
static Err arrangement_begin(Maker *m, const CatalogTable *table, TableArrangement *a) {
    LiveTable *t = live_table(m->live, table->table_id);  // a node of this join, so it is there
    a->next = t->arrangements;
    t->arrangements = a;
    a->refs = 1;
    Err err = prepare_is_needed(m->live, table_row_count(table->table, NULL))
                  ? prepare_arrangement(m->live, t, a)
                  : arrangement_fill(a->arrangement, NULL, NULL);
    if (err != OK) table_arrangement_release(t, a, a->prepare == NULL);
    return err;
}

static Err arrangement_make(Maker *m,
                            const CatalogTable *table,
                            const uint16_t *columns,
                            uint32_t count,
                            Arrangement **out) {
    TableArrangement *a = MEM_NEW(TableArrangement);
    if (!a) return ERR_NOMEM;
    Err err = arrangement_new(table->table, columns, count, &m->live->arranged, &a->arrangement);
    if (err != OK) {
        mem_free(a);
        return err;
    }
    *out = a->arrangement;
    return arrangement_begin(m, table, a);
}

static Arrangement *arrangement_obtain(Maker *m,
                                       const CatalogTable *table,
                                       const uint16_t *columns,
                                       uint32_t count) {
    LiveTable *t = live_table(m->live, table->table_id);
    Arrangement *made = NULL;
    for (TableArrangement *a = t->arrangements; a; a = a->next) {
        if (!arrangement_is_of(a->arrangement, columns, count)) continue;
        m->err = prepare_state(a->prepare, m->diag);
        if (m->err != OK) return NULL;
        a->refs++;
        return a->arrangement;
    }
    m->err = arrangement_make(m, table, columns, count, &made);
    return m->err == OK ? made : NULL;
}

void table_arrangement_release(LiveTable *table, TableArrangement *a, bool frees) {
    if (--a->refs > 0) return;
    TableArrangement **link = &table->arrangements;
    while (*link != a) {
        link = &(*link)->next;
    }
    *link = a->next;
    if (frees) arrangement_free(&a->arrangement);
    mem_free(a);
}

static void arrangement_release(LiveTable *table, const ProbePlan *plan) {
    if (!plan->arrangement) return;
    TableArrangement *a = table->arrangements;
    while (a->arrangement != plan->arrangement) {
        a = a->next;
    }
    table_arrangement_release(table, a, true);
}

// ── finding rows ───────────────────────────────────────────────────────────────────────────────

static ProbePlan plan_of(const StandingNode *node) {
    return (ProbePlan){
        .table = node->leaf->table->table,
        .layout = node->leaf->layout,
        .index_id = TABLE_ROWS,
    };
}

static bool is_among(const uint16_t *columns, uint32_t count, uint16_t column) {
    for (uint32_t i = 0; i < count; i++) {
        if (columns[i] == column) return true;
    }
    return false;
}

// The index that begins with the most of the columns, in whatever order; else an arrangement.
static void plan_choose(Maker *m,
                        const StandingNode *node,
                        uint16_t *columns,
                        uint32_t count,
                        ProbePlan *plan) {
    const CatalogTable *table = node->leaf->table;
    uint16_t *own = arena_array(&m->join->arena, uint16_t, MAX(count, 1u));
    *plan = plan_of(node);
    plan->columns = own;
    if (!own) m->err = ERR_NOMEM;
    if (m->err != OK || count == 0) return;
    if (table->primary_key >= 0 && is_among(columns, count, (uint16_t)table->primary_key)) {
        own[0] = (uint16_t)table->primary_key;
        plan->column_count = 1;
    }
    for (uint32_t i = 0; i < table_index_count(table->table); i++) {
        StoreIndexInfo index = table_index_at(table->table, i);
        uint32_t used = 0;
        while (used < index.column_count && used < count &&
               is_among(columns, count, index.columns[used])) {
            used++;
        }
        if (used <= plan->column_count) continue;
        plan->index_id = index.index_id;
        plan->column_count = used;
        memcpy(own, index.columns, used * sizeof *own);
    }
    if (plan->column_count > 0) return;
    plan->arrangement = arrangement_obtain(m, table, columns, count);
    if (!plan->arrangement) return;
    memcpy(own, columns, count * sizeof *own);
    plan->column_count = count;
}

static void step_plan(Maker *m, const StandingStep *step, ProbePlan *plan) {
    const StandingNode *node = &m->s->nodes[step->node];
    uint16_t *columns = arena_array(&m->join->arena, uint16_t, MAX(step->key_count, 1u));
    *plan = plan_of(node);
    plan->columns = columns;
    plan->column_count = step->key_count;
    if (!columns) m->err = ERR_NOMEM;
    for (uint32_t i = 0; m->err == OK && i < step->key_count; i++)
        columns[i] = step->keys[i].column;
    if (step->has_index)
        plan->index_id = step->index_id;
    else if (m->err == OK && step->key_count > 0)
        plan->arrangement = arrangement_obtain(m, node->leaf->table, columns, step->key_count);
}

static void link_plans(Maker *m, uint32_t n) {
    const StandingNode *node = &m->s->nodes[n];
    uint16_t *columns = arena_array(&m->join->arena, uint16_t, MAX(node->link_count, 1u));
    if (!columns) {
        m->err = ERR_NOMEM;
        return;
    }
    for (uint32_t i = 0; i < node->link_count; i++)
        columns[i] = node->links[i].parent_column;
    if (!m->s->nodes[node->parent].leaf->table->is_event)
        plan_choose(m,
                    &m->s->nodes[node->parent],
                    columns,
                    node->link_count,
                    &m->join->up_plans[n]);
    for (uint32_t i = 0; i < node->link_count; i++)
        columns[i] = node->links[i].column;
    if (m->err == OK) plan_choose(m, node, columns, node->link_count, &m->join->walk_plans[n]);
}

static void make_plans(Maker *m) {
    const Standing *s = m->s;
    for (uint32_t b = 0; b < s->block_count; b++) {
        const StandingBlock *block = &s->blocks[b];
        for (uint32_t i = 1; m->err == OK && i < block->count; i++) {
            uint32_t n = block->steps[i].node;
            step_plan(m, &block->steps[i], &m->join->step_plans[n]);
            if (m->err == OK) link_plans(m, n);
        }
    }
    uint32_t count = s->blocks[0].count;
    for (uint32_t f = 0; s->from && f < count; f++) {
        for (uint32_t i = 1; m->err == OK && i < count; i++)
            step_plan(m, &s->from[f].steps[i], &m->join->from_plans[f * count + i]);
    }
}

// ── below a node ───────────────────────────────────────────────────────────────────────────────

static void make_below(Maker *m, const StandingBlock *block, uint32_t top) {
    const Standing *s = m->s;
    JoinTemplate *join = m->join;
    uint32_t *list = arena_array(&join->arena, uint32_t, block->count);
    bool inside[STANDING_NODES_MAX] = {0};
    if (!list) {
        m->err = ERR_NOMEM;
        return;
    }
    join->below[top] = list;
    join->constant_below[top] = block->constant_count == 0;
    for (uint32_t i = 1; i < block->count; i++) {
        uint32_t n = block->steps[i].node;
        const StandingNode *node = &s->nodes[n];
        if (n != top && !inside[node->parent]) continue;
        inside[n] = true;
        list[join->below_count[top]++] = i;
        if (node->leaf->param_count > 0 || node->rule_count > 0) join->constant_below[top] = false;
    }
}

// ── finders ────────────────────────────────────────────────────────────────────────────────────

static bool shapes_narrow(const Query *q, bool by_equality) {
    GuardShape shape;
    for (uint32_t i = 0; i < q->branch_count; i++) {
        const QueryBranch *branch = &q->branches[i];
        bool any = guard_shape(branch->conjuncts, branch->conjunct_count, &shape);
        if (!any || (by_equality && shape.column_count == 0)) return false;
    }
    if (q->branch_count > 0) return true;
    bool any = guard_shape(q->conjuncts, q->conjunct_count, &shape);
    return any && (!by_equality || shape.column_count > 0);
}

static void way_add(Maker *m, Finder *finder, GuardWay way) {
    GuardShape shape;
    (void)guard_shape(way.conjuncts, way.count, &shape);
    way.guard = guard_obtain(&finder->guards, &shape);
    m->err = way.guard ? template_add_way(m->join->template, way) : ERR_NOMEM;
}

static void path_make(const Maker *m, Finder *finder) {
    for (uint32_t at = finder->node; at != m->s->root; at = m->s->nodes[at].parent)
        finder->path_len++;
    for (uint32_t at = finder->node, i = finder->path_len; i-- > 0; at = m->s->nodes[at].parent)
        finder->path[i] = at;
}

// By what a query asks of the node; false: of no column, or not by equality.
static bool finder_add(Maker *m,
                       uint32_t n,
                       const Query *q,
                       uint32_t params_at,
                       bool is_one_of_several,
                       bool by_equality) {
    JoinTemplate *join = m->join;
    if (m->err != OK || !shapes_narrow(q, by_equality)) return false;
    Finder *finder = &join->finders[join->finder_count];
    *finder = (Finder){.node = n, .is_one_of_several = is_one_of_several};
    finder->path = arena_array(&join->arena, uint32_t, STANDING_NODES_MAX);
    if (!finder->path) {
        m->err = ERR_NOMEM;
        return false;
    }
    join->finder_count++;
    path_make(m, finder);
    for (uint32_t i = 0; i < q->branch_count && m->err == OK; i++) {
        const QueryBranch *branch = &q->branches[i];
        way_add(m, finder, (GuardWay){NULL, branch->conjuncts, branch->conjunct_count, params_at});
    }
    if (q->branch_count == 0)
        way_add(m, finder, (GuardWay){NULL, q->conjuncts, q->conjunct_count, params_at});
    return m->err == OK;
}

// Back to fewer finders, no group having been looked for by the others.
static void finders_drop(const Maker *m, uint32_t count, uint32_t way_count) {
    JoinTemplate *join = m->join;
    join->template->way_count = way_count;
    while (join->finder_count > count) {
        guards_tidy(&join->finders[--join->finder_count].guards);
    }
}

// A row that may be missing decides nothing.
static bool is_required(const Standing *s, uint32_t n) {
    for (;; n = s->nodes[n].parent) {
        const StandingNode *node = &s->nodes[n];
        if (node->step == 0) return true;
        if (s->blocks[node->block].steps[node->step].optional) return false;
    }
}

static bool finders_of_block(Maker *m, const StandingBlock *block, bool by_equality);

// All that lets a row of the node through names a parameter: each of these finds its groups.
static bool finders_of_rules(Maker *m, uint32_t n, bool by_equality) {
    const StandingNode *node = &m->s->nodes[n];
    uint32_t before = m->join->finder_count, ways = m->join->template->way_count;
    bool all = node->allowed->entry == QUERY_REJECT ||
               finder_add(m, n, node->allowed, node->allowed_at, true, by_equality);
    for (uint32_t i = 0; all && i < node->rule_count; i++)
        all = finders_of_block(m, &m->s->blocks[node->rules[i]], by_equality);
    if (!all) finders_drop(m, before, ways);
    return all;
}

static bool finders_of_block(Maker *m, const StandingBlock *block, bool by_equality) {
    const Standing *s = m->s;
    for (uint32_t i = 0; i < block->count; i++) {  // near the root first
        const StandingNode *node = &s->nodes[block->steps[i].node];
        if (is_required(s, block->steps[i].node) &&
            finder_add(m, block->steps[i].node, node->leaf, node->leaf_at, false, by_equality))
            return true;
    }
    for (uint32_t i = 0; i < block->count; i++) {
        uint32_t n = block->steps[i].node;
        if (s->nodes[n].allowed && is_required(s, n) && finders_of_rules(m, n, by_equality))
            return true;
    }
    return false;
}

// ── together ───────────────────────────────────────────────────────────────────────────────────

static Err reserve(JoinTemplate *join, const Standing *s) {
    uint32_t count = s->node_count, first = s->blocks[0].count;
    Arena *arena = &join->arena;
    join->step_plans = arena_array(arena, ProbePlan, count);
    join->up_plans = arena_array(arena, ProbePlan, count);
    join->walk_plans = arena_array(arena, ProbePlan, count);
    join->from_plans = arena_array(arena, ProbePlan, first * first);
    join->below = arena_array(arena, uint32_t *, count);
    join->below_count = arena_array(arena, uint32_t, count);
    join->constant_below = arena_array(arena, bool, count);
    join->finders = arena_array(arena, Finder, 2 * count);
    join->uses = arena_array(arena, JoinUse, count);
    bool ok = join->step_plans && join->up_plans && join->walk_plans && join->from_plans &&
              join->below && join->below_count && join->constant_below && join->finders &&
              join->uses;
    return ok ? OK : ERR_NOMEM;
}

static Err uses_add(Live *live, JoinTemplate *join) {
    for (uint32_t n = 0; n < join->standing->node_count; n++) {
        JoinUse *use = &join->uses[n];
        LiveTable *table = table_obtain(live, join->standing->nodes[n].leaf->table->table_id);
        if (!table) return ERR_NOMEM;
        table->group_count++;
        *use = (JoinUse){join, table->joins, &table->joins};
        if (use->next) use->next->link = &use->next;
        table->joins = use;
    }
    return OK;
}

Err join_new(Live *live, LiveTemplate *template, JoinTemplate **out, Diag *diag) {
    JoinTemplate *join = MEM_NEW(JoinTemplate);
    if (!join) return ERR_NOMEM;
    const Standing *s = template->standing;
    join->template = template;
    join->standing = s;
    live->join_count++;
    Maker m = {.live = live, .join = join, .s = s, .diag = diag};
    m.err = reserve(join, s);
    if (m.err == OK) m.err = uses_add(live, join);
    if (m.err == OK) make_plans(&m);
    for (uint32_t b = 0; b < s->block_count; b++) {
        const StandingBlock *block = &s->blocks[b];
        for (uint32_t i = 1; m.err == OK && i < block->count; i++)
            make_below(&m, block, block->steps[i].node);
    }
    if (m.err == OK && !finders_of_block(&m, &s->blocks[0], true) && m.err == OK)
        (void)finders_of_block(&m, &s->blocks[0], false);
    if (m.err == OK) m.err = join_scratch_reserve(live, s->node_count);
    if (m.err == OK)
        *out = join;
    else
        join_free(live, &join);
    return m.err;
}

static void plans_release(Live *live, const JoinTemplate *join) {
    const Standing *s = join->standing;
    uint32_t count = s->blocks[0].count;
    for (uint32_t n = 0; n < s->node_count; n++) {
        LiveTable *table = live_table(live, s->nodes[n].leaf->table->table_id);
        arrangement_release(table, &join->step_plans[n]);
        arrangement_release(table, &join->walk_plans[n]);
        LiveTable *parent = live_table(live, s->nodes[s->nodes[n].parent].leaf->table->table_id);
        arrangement_release(parent, &join->up_plans[n]);
    }
    for (uint32_t f = 0; s->from && f < count; f++) {
        for (uint32_t i = 1; i < count; i++) {
            const StandingNode *node = &s->nodes[s->from[f].steps[i].node];
            arrangement_release(live_table(live, node->leaf->table->table_id),
                                &join->from_plans[f * count + i]);
        }
    }
}

void join_free(Live *live, JoinTemplate **handle) {
    JoinTemplate *join = *handle;
    if (!join) return;
    bool reserved = join->uses != NULL;
    if (reserved && join->uses[join->standing->node_count - 1].link) plans_release(live, join);
    for (uint32_t n = 0; reserved && n < join->standing->node_count; n++) {
        JoinUse *use = &join->uses[n];
        if (!use->link) continue;
        *use->link = use->next;
        if (use->next) use->next->link = use->link;
        LiveTable *table = live_table(live, join->standing->nodes[n].leaf->table->table_id);
        table->group_count--;
        table_release(live, table);
    }
    for (uint32_t i = 0; i < join->finder_count; i++)
        guards_tidy(&join->finders[i].guards);
    if (--live->join_count == 0) live->is_behind = false;
    arena_deinit(&join->arena);
    mem_free(join);
    *handle = NULL;
}
