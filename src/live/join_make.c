// join_make.c: a standing query made ready: how each node's rows are found, in both directions, and by
// which columns the groups of the template are found.
#include "base/mem.h"
#include "live/join.h"
#include "query/place.h"

typedef struct Maker {
    Live *live;
    JoinTemplate *join;
    const Standing *s;
    Err err;
} Maker;

// ── arrangements ───────────────────────────────────────────────────────────────────────────────

static Arrangement *arrangement_obtain(Maker *m,
                                       const CatalogTable *table,
                                       const uint16_t *columns,
                                       uint32_t count) {
    LiveTable *t = live_table(m->live, table->table_id);  // a node of this join, so it is there
    for (TableArrangement *a = t->arrangements; a; a = a->next) {
        if (!arrangement_is_of(a->arrangement, columns, count)) continue;
        a->refs++;
        return a->arrangement;
    }
    TableArrangement *a = MEM_NEW(TableArrangement);
    m->err = a ? arrangement_new(table->table, columns, count, &m->live->arranged, &a->arrangement)
               : ERR_NOMEM;
    if (m->err != OK) {
        mem_free(a);
        return NULL;
    }
    a->refs = 1;
    a->next = t->arrangements;
    t->arrangements = a;
    return a->arrangement;
}

static void arrangement_release(LiveTable *table, const ProbePlan *plan) {
    if (!plan->arrangement) return;
    TableArrangement **link = &table->arrangements;
    while ((*link)->arrangement != plan->arrangement) {
        link = &(*link)->next;
    }
    TableArrangement *a = *link;
    if (--a->refs > 0) return;
    *link = a->next;
    arrangement_free(&a->arrangement);
    mem_free(a);
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

// The columns of a query that are fixed by equality, each once, with its parameter.
static uint32_t fixed_columns(const Query *q,
                              uint32_t params_at,
                              uint16_t *columns,
                              uint32_t *params) {
    uint32_t count = 0;
    for (uint32_t i = 0; q && i < q->conjunct_count; i++) {
        const QueryConjunct *c = &q->conjuncts[i];
        if (c->op != QUERY_EQ || (count > 0 && columns[count - 1] == c->column)) continue;
        columns[count] = c->column;
        params[count++] = params_at + c->param;
    }
    return count;
}

static bool finder_add(Maker *m,
                       uint32_t n,
                       const Query *q,
                       uint32_t params_at,
                       bool is_one_of_several) {
    enum { COLUMNS_MAX = 16 };
    JoinTemplate *join = m->join;
    Finder *finder = &join->finders[join->finder_count];
    *finder = (Finder){.node = n, .is_one_of_several = is_one_of_several};
    finder->columns = arena_array(&join->arena, uint16_t, q->conjunct_count + 1);
    finder->params = arena_array(&join->arena, uint32_t, q->conjunct_count + 1);
    finder->path = arena_array(&join->arena, uint32_t, STANDING_NODES_MAX);
    if (!finder->columns || !finder->params || !finder->path) {
        m->err = ERR_NOMEM;
        return false;
    }
    uint32_t count = fixed_columns(q, params_at, finder->columns, finder->params);
    finder->column_count = MIN(count, (uint32_t)COLUMNS_MAX);
    if (count == 0) return false;
    for (uint32_t at = n; at != m->s->root; at = m->s->nodes[at].parent)
        finder->path_len++;
    for (uint32_t at = n, i = finder->path_len; i-- > 0; at = m->s->nodes[at].parent)
        finder->path[i] = at;
    join->finder_count++;
    return true;
}

// A row that may be missing decides nothing.
static bool is_required(const Standing *s, uint32_t n) {
    for (;; n = s->nodes[n].parent) {
        const StandingNode *node = &s->nodes[n];
        if (node->step == 0) return true;
        if (s->blocks[node->block].steps[node->step].optional) return false;
    }
}

static bool finders_of_block(Maker *m, const StandingBlock *block);

// All that lets a row of the node through names a parameter: each of these finds its groups.
static bool finders_of_rules(Maker *m, uint32_t n) {
    const StandingNode *node = &m->s->nodes[n];
    uint32_t before = m->join->finder_count;
    bool all = node->allowed->entry == QUERY_REJECT ||
               finder_add(m, n, node->allowed, node->allowed_at, true);
    for (uint32_t i = 0; all && i < node->rule_count; i++)
        all = finders_of_block(m, &m->s->blocks[node->rules[i]]);
    if (!all) m->join->finder_count = before;
    return all;
}

static bool finders_of_block(Maker *m, const StandingBlock *block) {
    const Standing *s = m->s;
    for (uint32_t i = 0; i < block->count; i++) {  // near the root first
        const StandingNode *node = &s->nodes[block->steps[i].node];
        if (is_required(s, block->steps[i].node) &&
            finder_add(m, block->steps[i].node, node->leaf, node->leaf_at, false))
            return true;
    }
    for (uint32_t i = 0; i < block->count; i++) {
        uint32_t n = block->steps[i].node;
        if (s->nodes[n].allowed && is_required(s, n) && finders_of_rules(m, n)) return true;
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

Err join_new(Live *live, LiveTemplate *template, JoinTemplate **out) {
    JoinTemplate *join = MEM_NEW(JoinTemplate);
    if (!join) return ERR_NOMEM;
    const Standing *s = template->standing;
    join->template = template;
    join->standing = s;
    live->join_count++;
    Maker m = {.live = live, .join = join, .s = s};
    m.err = reserve(join, s);
    if (m.err == OK) m.err = uses_add(live, join);
    if (m.err == OK) make_plans(&m);
    for (uint32_t b = 0; b < s->block_count; b++) {
        const StandingBlock *block = &s->blocks[b];
        for (uint32_t i = 1; m.err == OK && i < block->count; i++)
            make_below(&m, block, block->steps[i].node);
    }
    if (m.err == OK) (void)finders_of_block(&m, &s->blocks[0]);
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
        livemap_deinit(&join->finders[i].chains);
    if (--live->join_count == 0) live->is_behind = false;
    arena_deinit(&join->arena);
    mem_free(join);
    *handle = NULL;
}

// ── groups ─────────────────────────────────────────────────────────────────────────────────────

// The keys that a group stands under, one finder after another.
static void find_keys(const JoinTemplate *join, const Bytes *values, uint32_t f, Buf *key) {
    const Finder *finder = &join->finders[f];
    for (uint32_t i = 0; i < finder->column_count; i++) {
        uint32_t param = finder->params[i];
        key_append(key, join->standing->value_types[param], values[param].ptr);
    }
}

size_t join_links_bytes(const JoinTemplate *join, const Bytes *values) {
    Buf keys = {0};
    for (uint32_t f = 0; f < join->finder_count; f++)
        find_keys(join, values, f, &keys);
    size_t bytes = (1 + join->finder_count) * sizeof(FindLink) + keys.len;
    bool ok = buf_ok(&keys);
    buf_deinit(&keys);
    return ok ? bytes : 0;
}

static void chain_push(FindLink **head, FindLink *link) {
    link->next = *head;
    link->link = head;
    if (link->next) link->next->link = &link->next;
    *head = link;
}

FindLink *finder_first(const Finder *finder, uint64_t hash, Bytes key) {
    uint32_t at = livemap_first(&finder->chains, hash);
    FindLink *first;
    while ((first = livemap_at(&finder->chains, at)) && !bytes_eq(first->key, key)) {
        at = livemap_next(&finder->chains, hash, at);
    }
    return first;
}

Err join_add(JoinTemplate *join, Group *group, void *room) {
    FindLink *links = room;
    uint8_t *keys = (uint8_t *)&links[1 + join->finder_count];
    Buf key = {0};
    for (uint32_t f = 0; f < join->finder_count; f++) {
        FindLink *link = &links[1 + f];
        buf_clear(&key);
        find_keys(join, group->values, f, &key);
        if (!buf_ok(&key) || !livemap_reserve(&join->finders[f].chains)) {
            buf_deinit(&key);
            return ERR_NOMEM;
        }
        if (key.len) memcpy(keys, key.ptr, key.len);
        *link = (FindLink){.group = group,
                           .hash = bytes_hash(buf_bytes(&key)),
                           .key = BYTES(keys, key.len)};
        keys += key.len;
    }
    buf_deinit(&key);
    links[0] = (FindLink){.group = group};
    chain_push(&join->groups, &links[0]);
    for (uint32_t f = 0; f < join->finder_count; f++) {
        FindLink *link = &links[1 + f], *first;
        first = finder_first(&join->finders[f], link->hash, link->key);
        if (first)
            chain_push(&first->next, link);
        else
            livemap_insert(&join->finders[f].chains, link->hash, link);
    }
    group->links = links;
    return OK;
}

static void chain_remove(FindLink *link) {
    *link->link = link->next;
    if (link->next) link->next->link = link->link;
}

void join_remove(JoinTemplate *join, Group *group) {
    chain_remove(&group->links[0]);
    for (uint32_t f = 0; f < join->finder_count; f++) {
        FindLink *link = &group->links[1 + f];
        if (link->link) {
            chain_remove(link);
            continue;
        }
        LiveMap *chains = &join->finders[f].chains;
        livemap_remove(chains, link->hash, link);
        if (!link->next) continue;
        link->next->link = NULL;
        livemap_insert(chains, link->next->hash, link->next);  // into the slot just freed
    }
}
