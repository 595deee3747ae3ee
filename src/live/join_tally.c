// join_tally.c: what a commit means to groups: which combinations of rows came and which went.
//
// Of inner joins the combinations of each changed row are found beginning with it, against the nodes
// before it as they are now and those behind it as they were: summed over all nodes that is exactly the
// difference, whatever else changed (the product rule of finite differences). Other shapes are counted
// anew for each row of the root that is concerned, as it was and as it is.
#include "live/join.h"
#include "live/prepare.h"

// ── a row of the root, as it was and as it is ──────────────────────────────────────────────────

static void changed(Eval *e, Group *group) {
    GroupMore *more = group_more(group);
    if (more->tallied_in == e->live->stats.commits) return;
    more->tallied_in = e->live->stats.commits;
    more->next_tallied = e->live->tallied;
    e->live->tallied = group;
}

// Of groups that are still being counted it is noted.
static Err change(Eval *e, Group *group, bool adds) {
    const GroupMore *more = group_more(group);
    if (!more->tally) {
        prepare_note(more->prepare, adds, e->x->rows, e->s->blocks[0].count);
        return OK;
    }
    changed(e, group);
    return (adds ? tally_add : tally_remove)(more->tally, e->x->rows);
}

static void add_combination(Eval *e) {
    e->err = change(e, e->group, true);
}
static void remove_combination(Eval *e) {
    e->err = change(e, e->group, false);
}

Err join_tally_settle(Eval *e, Group *group, Bytes old, Bytes new) {
    e->group = group;
    e->values = group_values(group);
    if (old.ptr) {
        e->version = BEFORE;
        e->each = remove_combination;
        (void)eval_members(e, old, UINT64_MAX);
    }
    if (new.ptr && e->err == OK) {
        e->version = NOW;
        e->each = add_combination;
        (void)eval_members(e, new, UINT64_MAX);
    }
    e->each = NULL;
    return e->err;
}

// ── combinations of one changed row ────────────────────────────────────────────────────────────

typedef struct Product {
    uint32_t pivot;  // the node of the changed row
    const StandingBlock *block;
    bool adds;
    Group *group;  // NULL: not known yet
} Product;

static void product(Eval *e, Product *p, uint32_t at);

static bool conditions_hold(const Eval *e, const Product *p, const StandingStep *step) {
    const StandingNode *node = &e->s->nodes[step->node];
    return standing_leaf_holds(node, e->values, e->x->rows[step->node]) &&
           (!step->on || standing_holds(e->s, p->block, step->on, e->x->rows, e->values)) &&
           (!step->filter || standing_holds(e->s, p->block, step->filter, e->x->rows, e->values));
}

typedef struct ProductAt {
    Product *product;
    uint32_t at;
} ProductAt;

// The group is known from step `at` on: what was put off is tested now.
static void with_group(void *ctx, Eval *e, Group *group) {
    const ProductAt *a = ctx;
    Product *p = a->product;
    p->group = group;
    e->values = group_values(group);
    bool holds = true;
    for (uint32_t i = 0; holds && i <= a->at; i++)
        holds = conditions_hold(e, p, &p->block->steps[i]);
    if (holds) product(e, p, a->at + 1);
    p->group = NULL;
}

// With a row at the step.
static void product_row(Eval *e, Product *p, uint32_t at) {
    const StandingStep *step = &p->block->steps[at];
    const Finder *finder = p->group ? NULL : join_finder_at(e->join, step->node);
    ProductAt here = {p, at};
    if (finder) {
        join_stab(e, finder, e->x->rows[step->node], with_group, &here);
    } else if (!p->group || conditions_hold(e, p, step)) {
        product(e, p, at + 1);
    }
}

static void product(Eval *e, Product *p, uint32_t at) {
    if (at == p->block->count) {
        e->err = change(e, p->group, p->adds);
        return;
    }
    const StandingStep *step = &p->block->steps[at];
    Probe *probe = &e->x->steps[step->node];
    const ProbePlan *plan = &e->join->from_plans[p->pivot * p->block->count + at];
    (void)eval_key(e, step, probe);  // of inner joins nothing is missing
    probe_open(probe, &e->live->delta, plan, step->node < p->pivot ? NOW : BEFORE);
    Bytes row;
    while (e->err == OK && probe_next(probe, &row)) {
        e->live->stats.rows_probed++;
        e->x->rows[step->node] = row;
        product_row(e, p, at);
    }
    if (e->err == OK) e->err = probe->err;
    probe_close(probe);
}

static void row_product(Eval *e, uint32_t pivot, Bytes row, bool adds) {
    Product p = {.pivot = pivot, .block = &e->s->from[pivot], .adds = adds};
    e->x->rows[pivot] = row;
    if (e->join->finder_count > 0) {
        product_row(e, &p, 0);
        return;
    }
    ProductAt here = {&p, 0};
    for (WatchEntry *at = e->join->groups; at && e->err == OK; at = at->next) {
        e->live->stats.groups_tested++;
        e->x->rows[pivot] = row;
        with_group(&here, e, entry_group(at));
    }
}

void join_tally_changes(Eval *e) {
    for (uint32_t n = 0; n < e->s->node_count && e->err == OK; n++) {
        const DeltaTable *delta =
            delta_table(&e->live->delta, e->s->nodes[n].leaf->table->table_id);
        for (size_t i = 0; delta && i < delta->count && e->err == OK; i++) {
            const LiveChange *change = &delta->changes[i];
            if (join_same_to_others(e, n, change)) continue;
            if (change->old_row.ptr) row_product(e, n, change->old_row, false);
            if (change->new_row.ptr && e->err == OK) row_product(e, n, change->new_row, true);
        }
    }
}

// ── what subscribers hear ──────────────────────────────────────────────────────────────────────

typedef struct Flush {
    Live *live;
    Group *group;
} Flush;

static Err lose(void *ctx, Bytes row) {
    const Flush *f = ctx;
    return group_lose(f->live, f->group, row, 1);
}
static Err gain(void *ctx, Bytes row) {
    const Flush *f = ctx;
    return group_gain(f->live, f->group, row, 1);
}

Err join_tally_flush(Live *live) {
    Err err = OK;
    while (err == OK && live->tallied) {
        Group *group = live->tallied;
        GroupMore *more = group_more(group);
        live->tallied = more->next_tallied;
        more->tallied_in = 0;
        Flush flush = {live, group};
        Diag diag;
        diag_clear(&diag);
        err = tally_flush(more->tally, lose, gain, &flush, &diag);
        if (err != ERR_INVALID) continue;
        err = group_fail(live, group, diag.text);
    }
    return err;
}

static Err ignore(void *ctx, Bytes row) {
    (void)ctx;
    (void)row;
    return OK;
}

Err join_tally_begin(Live *live, Group *group, const Standing *standing, Diag *diag) {
    const LiveOptions *options = &live->options;
    if (prepare_is_needed(live, standing_cost(standing, live->answer_cost_left)))
        return prepare_group(live, group);
    Tally **tally = &group_more(group)->tally;
    Err err = tally_new(group->template->standing, &live->arranged.used, tally);
    if (err == OK) err = tally_fill(*tally, standing, NULL, options->arrangement_quota, diag);
    if (err == OK) err = tally_flush(*tally, ignore, ignore, NULL, diag);
    if (err == ERR_TOO_LARGE)
        return diag_fail(diag,
                         ERR_LIMIT,
                         "The groups of this subscription need more memory than is left of %zu MiB",
                         options->arrangement_quota >> 20);
    return err;
}
