// plan_order.c: in which order relations are joined, and how each finds its rows.
//
// Greedy, from every relation that may stand first (from the smallest, where there are many): of the
// relations that are left, the one that costs least comes next, and of all beginnings the cheapest
// counts. What it costs is known from row counts, from what is unique and from how many different
// values there are (estimate.c); where that is not known a rule of thumb stands for it. A wrong guess
// costs time, never a row.
#include "query/plan.h"

enum {
    ROWS_A_KEY = 10,   // that an index which is not unique finds
    STARTS_TRIED = 8,  // beyond that many relations only the smallest begins
    COST_LOOKUP = 2,   // of an index look-up, in rows read in order
};

static uint64_t times(uint64_t a, uint64_t b) {
    uint64_t out;
    return __builtin_mul_overflow(a, b, &out) ? UINT64_MAX : out;
}
static uint64_t plus(uint64_t a, uint64_t b) {
    uint64_t out;
    return __builtin_add_overflow(a, b, &out) ? UINT64_MAX : out;
}

// ── how one relation joins those before it ─────────────────────────────────────────────────────

typedef struct Ordering {
    PlanBuilder *b;
    Conjunct *conjuncts;
    Join *join;
    RelationSet there;  // relations before
    uint64_t rows, cost;
    bool by_links;  // who is linked to those before comes before who is not, whatever it costs
} Ordering;

// May this conjunct help to find rows of `r`? Of a LEFT JOIN only its own condition.
static bool usable(const Ordering *o, uint32_t r, const Conjunct *c) {
    bool left = o->b->select->relations[r].join == SQL_JOIN_LEFT;
    return c->left_join == (left ? r : 0);
}

// The conjunct that says `r.column = column of a relation before`.
static Conjunct *link_of(const Ordering *o, uint32_t r, uint16_t column, PlanColumn *outer) {
    for (Conjunct *c = o->conjuncts; c; c = c->next) {
        uint16_t own;
        if (usable(o, r, c) && conjunct_links(c, r, &own, outer) && own == column &&
            relations_have(&o->there, outer->relation))
            return c;
    }
    return NULL;
}

static bool any_link(const Ordering *o, uint32_t r) {
    for (Conjunct *c = o->conjuncts; c; c = c->next) {
        uint16_t own;
        PlanColumn outer;
        if (usable(o, r, c) && conjunct_links(c, r, &own, &outer) &&
            relations_have(&o->there, outer.relation))
            return true;
    }
    return false;
}

typedef struct Lookup {
    uint32_t index_id;
    const uint16_t *columns;
    uint32_t count;  // leading columns whose values are known; 0: there is no such index
    bool unique;     // and all of them, so that one row is found at most
    bool known;
    double found;  // rows by one look-up, if that is known
} Lookup;

static void lookup_guess(const Ordering *o,
                         uint32_t r,
                         const StoreIndexInfo *index,
                         const PlanColumn *outer,
                         Lookup *lookup) {
    EstimateLink link = {
        .table = o->join->leaves[r].query->table->table,
        .index = index->index_id == TABLE_ROWS ? NULL : index,
        .columns = lookup->count,
        .column = lookup->columns[0],
        .outer = o->join->leaves[outer->relation].query->table->table,
        .outer_column = outer->column,
    };
    lookup->known = o->b->stats && estimate_link(&link, o->b->stats, &lookup->found);
}

static bool lookup_better(const Lookup *a, const Lookup *b) {
    if (b->count == 0) return true;
    if (a->unique != b->unique) return a->unique;
    if (a->known && b->known && a->found != b->found) return a->found < b->found;
    return a->count > b->count;
}

static void lookup_consider(const Ordering *o,
                            uint32_t r,
                            const StoreIndexInfo *index,
                            Lookup *best) {
    const Query *q = o->join->leaves[r].query;
    Lookup found = {.index_id = index->index_id, .columns = index->columns};
    bool linked = false;
    PlanColumn outer = {0};
    for (; found.count < index->column_count; found.count++) {
        PlanColumn other;
        uint16_t column = index->columns[found.count];
        bool link = link_of(o, r, column, &other) != NULL;
        if (link) outer = other;
        if (!link && (o->b->links_only || !place_equality(q, column))) break;
        linked |= link;
    }
    if (!linked) return;
    found.unique = index->unique && found.count == index->column_count;
    lookup_guess(o, r, index, &outer, &found);
    if (lookup_better(&found, best)) *best = found;
}

static Lookup lookup_find(const Ordering *o, uint32_t r) {
    Lookup best = {0};
    const CatalogTable *table = o->join->leaves[r].query->table;
    if (!table->table) return best;
    uint16_t primary = table->primary_key < 0 ? 0 : (uint16_t)table->primary_key;
    for (uint32_t i = 0; i < table_index_count(table->table); i++) {
        StoreIndexInfo index = table_index_at(table->table, i);
        // The index of a primary key is the table itself, without a step in between.
        if (table->primary_key >= 0 && index.column_count == 1 && index.columns[0] == primary)
            index.index_id = TABLE_ROWS;
        lookup_consider(o, r, &index, &best);
    }
    return best;
}

static uint64_t times_part(uint64_t rows, double part) {
    double out = (double)rows * part + 0.5;
    return out >= 1e18 ? UINT64_MAX : MAX((uint64_t)out, 1);
}

// How many rows one row before finds in a hash table over everything that links the relation to those
// before: the closest link tells most.
static bool hashed(const Ordering *o, uint32_t r, double *found) {
    const Table *table = o->join->leaves[r].query->table->table;
    bool known = false;
    if (!o->b->stats || !table) return false;
    for (Conjunct *c = o->conjuncts; c; c = c->next) {
        uint16_t own;
        PlanColumn outer;
        double rows;
        if (!usable(o, r, c) || !conjunct_links(c, r, &own, &outer)) continue;
        if (!relations_have(&o->there, outer.relation)) continue;
        EstimateLink link = {
            .table = table,
            .column = own,
            .outer = o->join->leaves[outer.relation].query->table->table,
            .outer_column = outer.column,
        };
        if (!estimate_link(&link, o->b->stats, &rows)) continue;
        *found = known ? MIN(*found, rows) : rows;
        known = true;
    }
    return known;
}

static bool by_constants_too(const Ordering *o, uint32_t r, const Lookup *lookup) {
    for (uint32_t i = 0; i < lookup->count; i++) {
        PlanColumn outer;
        if (!link_of(o, r, lookup->columns[i], &outer)) return true;
    }
    return false;
}

// What taking `r` next costs, and how many rows there are then.
static void weigh(const Ordering *o, uint32_t r, uint64_t *cost, uint64_t *rows) {
    const PlanLeaf *leaf = &o->join->leaves[r];
    Lookup lookup = lookup_find(o, r);
    double found;
    double kept = leaf->rows ? (double)leaf->estimate / (double)leaf->rows : 1;
    if (lookup.known) {
        *cost = times_part(o->rows, COST_LOOKUP + lookup.found);
        // The key's constants are in what was found already.
        *rows = times_part(o->rows, lookup.found * (by_constants_too(o, r, &lookup) ? 1 : kept));
    } else if (lookup.count > 0) {
        uint64_t some = lookup.unique ? 1 : MIN(ROWS_A_KEY, MAX(leaf->rows, 1));
        *cost = times(o->rows, COST_LOOKUP + some);
        uint64_t share = leaf->estimate >= leaf->rows ? some : (some + 1) / 2;
        *rows = times(o->rows, MAX(share, 1));
    } else if (any_link(o, r)) {
        *cost = plus(o->rows, leaf->looked_at);
        *rows =
            hashed(o, r, &found) ? times_part(o->rows, found * kept) : MAX(o->rows, leaf->estimate);
    } else {
        *cost = times(o->rows, MAX(leaf->looked_at, 1));
        *rows = times(o->rows, MAX(leaf->estimate, 1));
    }
    if (o->b->select->relations[r].join == SQL_JOIN_LEFT) *rows = MAX(*rows, o->rows);
}

// ── the order ──────────────────────────────────────────────────────────────────────────────────

// Relations [0, free) may be put in any order.
static uint32_t free_count(const PlanBuilder *b) {
    uint32_t r = 1;
    while (r < b->select->relation_count && b->select->relations[r].join != SQL_JOIN_LEFT) {
        r++;
    }
    return r;
}

static void put_next(Ordering *o, uint32_t *order, uint32_t at, uint32_t r) {
    uint64_t cost, rows;
    weigh(o, r, &cost, &rows);
    order[at] = r;
    o->cost = plus(o->cost, cost);
    o->rows = rows;
    relations_add(&o->there, r);
}

// Nobody of those that are left is linked to those before: who comes next must not depend on how many
// rows there are, because whether a query can stand does (standing_compile.c).
static uint32_t unlinked_next(const Ordering *o, uint32_t free) {
    uint32_t best = UINT32_MAX, best_rank = 0;
    for (uint32_t r = 0; r < free; r++) {
        const Query *q = o->join->leaves[r].query;
        uint16_t primary = q->table->primary_key < 0 ? 0 : (uint16_t)q->table->primary_key;
        if (relations_have(&o->there, r)) continue;
        uint32_t rank = q->entry == QUERY_ACCEPT ? 1 : 2;
        if (q->table->table && place_choose(q, &primary).equal > 0) rank = 0;
        if (best != UINT32_MAX && rank >= best_rank) continue;
        best = r;
        best_rank = rank;
    }
    return best;
}

static void order_from(Ordering *o, uint32_t *order, uint32_t start) {
    uint32_t free = free_count(o->b), count = o->join->count;
    const PlanLeaf *leaf = &o->join->leaves[start];
    o->there = (RelationSet){0};
    o->rows = MAX(leaf->estimate, 1);
    o->cost = o->b->stats ? MAX(leaf->looked_at, 1) : o->rows;
    order[0] = start;
    relations_add(&o->there, start);
    uint32_t at = 1, choices = start < free ? free : free + 1;
    for (; at < choices; at++) {
        uint32_t best = UINT32_MAX;
        uint64_t best_cost = 0, best_rows = 0;
        bool linked = false;
        for (uint32_t r = 0; o->by_links && r < free; r++)
            linked = linked || (!relations_have(&o->there, r) && any_link(o, r));
        if (o->by_links && !linked) {
            put_next(o, order, at, unlinked_next(o, free));
            continue;
        }
        for (uint32_t r = 0; r < free; r++) {
            uint64_t cost, rows;
            if (relations_have(&o->there, r) || (linked && !any_link(o, r))) continue;
            weigh(o, r, &cost, &rows);
            if (best == UINT32_MAX || cost < best_cost || (cost == best_cost && rows < best_rows)) {
                best = r;
                best_cost = cost;
                best_rows = rows;
            }
        }
        put_next(o, order, at, best);
    }
    // One that is given and stands behind a LEFT JOIN is an inner relation, whose conditions can wait.
    for (uint32_t r = free; r < count; r++) {
        if (r != start) put_next(o, order, at++, r);
    }
}

static uint32_t smallest(const Join *join, uint32_t count) {
    uint32_t best = 0;
    for (uint32_t r = 1; r < count; r++) {
        if (join->leaves[r].estimate < join->leaves[best].estimate) best = r;
    }
    return best;
}

static Err order_choose(Ordering *o, uint32_t given, uint32_t *best) {
    uint32_t count = o->join->count, free = free_count(o->b);
    uint32_t *order = arena_array(o->b->scratch, uint32_t, count);
    if (!order) return ERR_NOMEM;
    if (given != UINT32_MAX || free > STARTS_TRIED) {
        order_from(o, best, given != UINT32_MAX ? given : smallest(o->join, free));
        return OK;
    }
    uint64_t least = UINT64_MAX;
    for (uint32_t start = 0; start < free; start++) {
        order_from(o, order, start);
        if (start > 0 && o->cost >= least) continue;
        least = o->cost;
        memcpy(best, order, count * sizeof *order);
    }
    return OK;
}

// ── the steps ──────────────────────────────────────────────────────────────────────────────────

static Err expr_add(Ordering *o, const Conjunct *c, PlanExpr **list) {
    Arena *arena = o->b->arena;
    PlanExpr *expr = arena_new(arena, PlanExpr);
    uint32_t count = c->root - c->first + 1, constant = c->constant;
    PlanNode *nodes = arena_array(arena, PlanNode, count);
    if (!expr || !nodes) return ERR_NOMEM;
    for (uint32_t i = 0; i < count; i++) {
        const SqlNode *node = &c->source[c->first + i];
        const Typed *typed = &c->typed[c->first + i];
        nodes[i] = (PlanNode){
            .kind = node->kind,
            .op = node->op,
            .left = node->left - c->first,
            .right = node->right - c->first,
            .column = {typed->relation, typed->column},
            .type = typed->type,
        };
        if (!typed->value.ptr) continue;
        nodes[i].constant = constant++;
        nodes[i].value = o->join->constants[nodes[i].constant];
    }
    *expr = (PlanExpr){.next = *list, .nodes = nodes, .count = count};
    *list = expr;
    o->join->node_max = MAX(o->join->node_max, count);
    return OK;
}

static Err keys_reserve(Ordering *o, JoinStep *step) {
    uint32_t count = o->join->leaves[step->relation].query->table->column_count;
    step->keys = arena_array(o->b->arena, StepKey, count);
    return step->keys ? OK : ERR_NOMEM;
}

static Err lookup_keys(Ordering *o, JoinStep *step, const Lookup *lookup) {
    const Query *q = o->join->leaves[step->relation].query;
    Err err = keys_reserve(o, step);
    step->access = STEP_LOOKUP;
    step->index_id = lookup->index_id;
    step->is_unique = lookup->unique;
    for (uint32_t i = 0; err == OK && i < lookup->count; i++) {
        StepKey *key = &step->keys[step->key_count++];
        key->column = lookup->columns[i];
        Conjunct *link = link_of(o, step->relation, key->column, &key->outer);
        if (link) {
            link->done = true;
            continue;
        }
        key->param = place_equality(q, key->column)->param;
        key->constant = arena_bytes(o->b->arena, q->keys[key->param]);
        if (!key->constant.ptr) err = ERR_NOMEM;
    }
    return err;
}

static Err hash_keys(Ordering *o, JoinStep *step) {
    uint32_t columns = o->join->leaves[step->relation].query->table->column_count;
    Err err = keys_reserve(o, step);
    step->access = STEP_HASH;
    for (uint32_t column = 0; err == OK && column < columns; column++) {
        PlanColumn outer;
        Conjunct *link = link_of(o, step->relation, (uint16_t)column, &outer);
        if (!link) continue;
        step->keys[step->key_count++] = (StepKey){.column = (uint16_t)column, .outer = outer};
        link->done = true;
    }
    return err;
}

static Err step_access(Ordering *o, JoinStep *step, uint32_t at, uint32_t given) {
    step->left = o->b->select->relations[step->relation].join == SQL_JOIN_LEFT;
    if (at == 0) {
        step->access = given == step->relation ? STEP_GIVEN : STEP_SCAN;
        return OK;
    }
    Lookup lookup = lookup_find(o, step->relation);
    if (lookup.count > 0) return lookup_keys(o, step, &lookup);
    if (any_link(o, step->relation)) return hash_keys(o, step);
    step->access = STEP_SCAN;
    return OK;
}

// Whatever can be said now and has not been said by an index or a leaf.
static Err step_conditions(Ordering *o, JoinStep *step) {
    for (Conjunct *c = o->conjuncts; c; c = c->next) {
        if (c->done || !relations_within(&c->uses, &o->there)) continue;
        bool on = step->left && c->left_join == step->relation;
        if (c->left_join != 0 && !on) continue;
        Err err = expr_add(o, c, on ? &step->on : &step->filter);
        if (err != OK) return err;
        c->done = true;
    }
    return OK;
}

// ── what is said of several relations ──────────────────────────────────────────────────────────

static uint32_t count_constants(const Conjunct *list) {
    uint32_t count = 0;
    for (const Conjunct *c = list; c; c = c->next) {
        for (uint32_t i = c->first; !c->done && i <= c->root; i++)
            count += c->typed[i].value.ptr != NULL;
    }
    return count;
}

static void shape_add(Buf *shape, const Conjunct *c, uint32_t i) {
    const SqlNode *node = &c->source[i];
    const Typed *typed = &c->typed[i];
    buf_put_u8(shape, (uint8_t)node->kind);
    buf_put_u8(shape, (uint8_t)node->op);
    buf_put_u32(shape, node->left - c->first);
    buf_put_u32(shape, node->right - c->first);
    buf_put_u32(shape, node->kind == SQL_COLUMN ? typed->relation : UINT32_MAX);
    buf_put_u16(shape, node->kind == SQL_COLUMN ? typed->column : 0);
}

// Before a step takes any of it: the order of steps depends on how many rows there are.
static Err conditions_note(PlanBuilder *b, Conjunct *list, Join *join) {
    Buf shape = {0};
    uint32_t most = count_constants(list);
    join->constants = arena_array(b->arena, Bytes, most);
    join->constant_types = arena_array(b->arena, const Type *, most);
    bool ok = join->constants && join->constant_types;
    for (Conjunct *c = list; ok && c; c = c->next) {
        if (c->done) continue;
        c->constant = join->constant_count;
        buf_put_u32(&shape, c->left_join);
        buf_put_u32(&shape, c->root - c->first);
        for (uint32_t i = c->first; ok && i <= c->root; i++) {
            shape_add(&shape, c, i);
            if (!c->typed[i].value.ptr) continue;
            Bytes copy = arena_bytes(b->arena, c->typed[i].value);
            join->constant_types[join->constant_count] = c->typed[i].type;
            join->constants[join->constant_count++] = copy;
            ok = copy.ptr != NULL;
        }
    }
    if (ok && shape.len) join->shape = arena_bytes(b->arena, buf_bytes(&shape));
    ok = ok && buf_ok(&shape) && (shape.len == 0 || join->shape.ptr);
    buf_deinit(&shape);
    return ok ? OK : ERR_NOMEM;
}

// ── together ───────────────────────────────────────────────────────────────────────────────────

Err steps_build(PlanBuilder *b, uint32_t given, Conjunct *conjuncts, Join *join) {
    Ordering o = {.b = b, .conjuncts = conjuncts, .join = join, .by_links = given != UINT32_MAX};
    uint32_t *order = arena_array(b->scratch, uint32_t, join->count);
    if (!order) return ERR_NOMEM;
    Err err = conditions_note(b, conjuncts, join);
    if (err == OK) err = order_choose(&o, given, order);
    if (err != OK) return err;
    join->cost = join->leaves[order[0]].rows;
    o.there = (RelationSet){0};
    o.rows = MAX(join->leaves[order[0]].estimate, 1);
    for (uint32_t at = 0; err == OK && at < join->count; at++) {
        JoinStep *step = &join->steps[at];
        uint64_t cost;
        step->relation = order[at];
        if (at > 0) {
            weigh(&o, order[at], &cost, &o.rows);
            join->cost = plus(join->cost, cost);
        }
        step->estimate = o.rows;
        if ((err = step_access(&o, step, at, given)) != OK) break;
        relations_add(&o.there, order[at]);
        err = step_conditions(&o, step);
    }
    return err;
}
