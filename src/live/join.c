// join.c: from the rows of a commit to those of an answer that came or went (spec §4.4, §4.5).
//
// Each changed row is followed from its node to the root: rows of the parent that its link names, their
// parents', … On the way a node whose rows are bound to the others by its link alone (separable) is asked
// whether there is a row with that link at all, before and now: if that is the same, nothing above can
// tell the difference, and the way ends there. A hub with 10⁵ partners is thus of no concern until its
// first partner comes or its last one goes.
//
// Which groups it is about is known as soon as a node with a finder was passed; if there is none on the
// way, at the root, by going down from there. Where parameters bound no column of any node, every group
// is tested.
#include "live/join.h"
#include "live/prepare.h"

#include "base/mem.h"

// ── scratch ────────────────────────────────────────────────────────────────────────────────────

static void probes_free(Probe *probes, uint32_t count) {
    for (uint32_t i = 0; probes && i < count; i++)
        probe_deinit(&probes[i]);
    mem_free(probes);
}

void join_scratch_free(Live *live) {
    JoinScratch *x = live->joining;
    if (!x) return;
    probes_free(x->steps, x->node_count);
    probes_free(x->ups, x->node_count);
    probes_free(x->walks, x->node_count);
    mem_free(x->rows);
    mem_free(x->seen);
    arena_deinit(&x->arena);
    mem_free(x);
    live->joining = NULL;
}

Err join_scratch_reserve(Live *live, uint32_t node_count) {
    if (live->joining && live->joining->node_count >= node_count) return OK;
    JoinScratch *x = MEM_NEW(JoinScratch);
    if (!x) return ERR_NOMEM;
    x->node_count = node_count;
    x->steps = mem_zalloc(node_count * sizeof *x->steps);
    x->ups = mem_zalloc(node_count * sizeof *x->ups);
    x->walks = mem_zalloc(node_count * sizeof *x->walks);
    x->rows = mem_zalloc(node_count * sizeof *x->rows);
    JoinScratch *before = live->joining;
    bool ok = x->steps && x->ups && x->walks && x->rows;
    live->joining = x;
    if (!ok) {
        join_scratch_free(live);
        live->joining = before;
        return ERR_NOMEM;
    }
    if (before) {
        live->joining = before;
        join_scratch_free(live);
        live->joining = x;
    }
    return OK;
}

// ── what was met ───────────────────────────────────────────────────────────────────────────────

static void seen_clear(JoinScratch *x) {
    enum { KEEP_BYTES = 1 << 20 };
    if (x->seen_count > 0) memset(x->seen, 0, (x->seen_mask + 1) * sizeof *x->seen);
    x->seen_count = 0;
    if (x->arena.used_bytes > KEEP_BYTES) arena_deinit(&x->arena);
    arena_reset(&x->arena);
}

static Err seen_grow(JoinScratch *x) {
    if (x->seen && x->seen_count <= x->seen_mask) return OK;
    uint64_t size = x->seen ? (x->seen_mask + 1) * 2 : 64;
    JoinSeen **seen = mem_zalloc(size * sizeof *seen);
    if (!seen) return ERR_NOMEM;
    for (uint64_t i = 0; x->seen && i <= x->seen_mask; i++) {
        for (JoinSeen *one = x->seen[i], *next; one; one = next) {
            next = one->next;
            one->next = seen[one->hash & (size - 1)];
            seen[one->hash & (size - 1)] = one;
        }
    }
    mem_free(x->seen);
    x->seen = seen;
    x->seen_mask = size - 1;
    return OK;
}

bool join_seen(Eval *e, const Group *group, uint32_t node, Bytes bytes) {
    JoinScratch *x = e->x;
    uint64_t words[3] = {(uint64_t)(uintptr_t)group, node, bytes_hash(bytes)};
    uint64_t hash = bytes_hash(BYTES(words, sizeof words));
    if (seen_grow(x) != OK) {
        e->err = ERR_NOMEM;
        return true;
    }
    for (const JoinSeen *one = x->seen[hash & x->seen_mask]; one; one = one->next) {
        if (one->hash == hash && one->group == group && one->node == node &&
            bytes_eq(one->bytes, bytes))
            return true;
    }
    JoinSeen *one = arena_new(&x->arena, JoinSeen);
    Bytes copy = one && bytes.len ? arena_bytes(&x->arena, bytes) : BYTES("", 0);
    if (!one || !copy.ptr) {
        e->err = ERR_NOMEM;
        return true;
    }
    *one = (JoinSeen){x->seen[hash & x->seen_mask], group, node, copy, hash};
    x->seen[hash & x->seen_mask] = one;
    x->seen_count++;
    return false;
}

// ── rows to groups ─────────────────────────────────────────────────────────────────────────────

typedef struct JoinStab {
    Eval *e;
    uint64_t number;
    JoinEach each;
    void *ctx;
} JoinStab;

// A group may be found by several of its ways. No look-up begins while another goes on.
static Err stab_each(void *ctx, Group *group) {
    const JoinStab *s = ctx;
    GroupMore *more = group_more(group);
    if (more->stabbed_in == s->number) return OK;
    more->stabbed_in = s->number;
    s->e->live->stats.groups_tested++;
    s->each(s->ctx, s->e, group);
    return s->e->err;
}

void join_stab(Eval *e, const Finder *finder, Bytes row, JoinEach each, void *ctx) {
    Live *live = e->live;
    JoinStab stab = {e, ++live->stab, each, ctx};
    const RowLayout *layout = e->s->nodes[finder->node].leaf->layout;
    Buf room = {0};
    for (const Guard *guard = finder->guards; guard && e->err == OK; guard = guard->next) {
        GuardKey key;
        Err err = guard_key(guard, layout, row, &room, &key);
        if (err == OK)
            err = guard_each(guard, &key, NULL, stab_each, &stab, &live->stats.ranges_seen);
        e->err = err;
    }
    buf_deinit(&room);
}

const Finder *join_finder_at(const JoinTemplate *join, uint32_t node) {
    for (uint32_t i = 0; i < join->finder_count; i++) {
        const Finder *finder = &join->finders[i];
        if (finder->node == node && !finder->is_one_of_several) return finder;
    }
    return NULL;
}

static void all_groups(Eval *e, JoinEach each, void *ctx) {
    for (WatchEntry *at = e->join->groups; at && e->err == OK; at = at->next) {
        e->live->stats.groups_tested++;
        each(ctx, e, entry_group(at));
    }
}

typedef struct Discovery {
    const Finder *finder;
    JoinEach each;
    void *ctx;
} Discovery;

// Down the path of the finder, with rows of either version: a group found in vain is tested in vain.
static void walk_down(Eval *e, const Discovery *d, uint32_t depth, Bytes row) {
    if (depth == d->finder->path_len) {
        join_stab(e, d->finder, row, d->each, d->ctx);
        return;
    }
    uint32_t n = d->finder->path[depth];
    const StandingNode *node = &e->s->nodes[n];
    if (node->up == STANDING_SAME) {
        walk_down(e, d, depth + 1, row);
        return;
    }
    Probe *probe = &e->x->walks[n];
    const ProbePlan *plan = &e->join->walk_plans[n];
    const RowLayout *layout = e->s->nodes[node->parent].leaf->layout;
    buf_clear(&probe->key);
    for (uint32_t i = 0; i < plan->column_count; i++) {
        uint32_t k = 0;
        while (node->links[k].column != plan->columns[i]) {
            k++;
        }
        key_append(&probe->key,
                   node->leaf->layout->row_type->fields[plan->columns[i]].type,
                   row_column(layout, row, node->links[k].parent_column).ptr);
    }
    probe_open(probe, &e->live->delta, plan, EITHER);
    Bytes next;
    while (e->err == OK && probe_next(probe, &next)) {
        e->live->stats.rows_probed++;
        walk_down(e, d, depth + 1, next);
    }
    if (e->err == OK) e->err = probe->err;
    probe_close(probe);
}

// A path that would lead through all rows of a table is worth it only if they are few.
static bool is_long_way(const Eval *e, const Finder *finder) {
    for (uint32_t i = 0; i < finder->path_len; i++) {
        const StandingNode *node = &e->s->nodes[finder->path[i]];
        if (node->up == STANDING_CROSS &&
            table_row_count(node->leaf->table->table, NULL) > e->join->template->group_count)
            return true;
    }
    return false;
}

void join_discover(Eval *e, Bytes row, JoinEach each, void *ctx) {
    bool all = e->join->finder_count == 0;
    for (uint32_t i = 0; i < e->join->finder_count; i++)
        all = all || is_long_way(e, &e->join->finders[i]);
    if (all) {
        all_groups(e, each, ctx);
        return;
    }
    for (uint32_t i = 0; i < e->join->finder_count && e->err == OK; i++) {
        Discovery d = {&e->join->finders[i], each, ctx};
        walk_down(e, &d, 0, row);
    }
}

// ── members ────────────────────────────────────────────────────────────────────────────────────

static uint64_t members(Eval *e, const Group *group, Version version, Bytes row) {
    if (!row.ptr) return 0;
    e->values = group_values(group);
    e->version = version;
    return eval_members(e, row, e->live->options.bag ? UINT64_MAX : 1);
}

// What the group's answer gains and loses by one row of the root, as it was and as it is.
static void settle(Eval *e, Group *group, Bytes old, Bytes new) {
    uint64_t before = members(e, group, BEFORE, old), after = members(e, group, NOW, new);
    if (e->err != OK) return;
    if (old.ptr && new.ptr && old.ptr == new.ptr) {  // the row is what it was
        uint64_t common = MIN(before, after);
        before -= common;
        after -= common;
    }
    const Query *shown = e->s->nodes[e->s->root].leaf;
    if (before > 0) e->err = group_lose(e->live, group, query_shown(shown, old), before);
    if (after > 0 && e->err == OK)
        e->err = group_gain(e->live, group, query_shown(shown, new), after);
}

typedef struct RowPair {
    Bytes old, new;
} RowPair;

static void settle_each(void *ctx, Eval *e, Group *group) {
    const RowPair *pair = ctx;
    uint32_t root = e->s->root;
    if (!join_seen(e, group, root, pair->old.ptr ? pair->old : pair->new) && e->err == OK) {
        if (e->s->has_groups)
            e->err = join_tally_settle(e, group, pair->old, pair->new);
        else
            settle(e, group, pair->old, pair->new);
    }
}

// (2): a row of the root that the commit changed is no candidate, it comes by itself.
static void candidate(Eval *e, Group *group, Bytes row) {
    const DeltaTable *delta =
        delta_table(&e->live->delta, e->s->nodes[e->s->root].leaf->table->table_id);
    if (delta && (delta_added(delta, row) || delta_removed(delta, row))) return;
    RowPair pair = {row, row};
    if (group)
        settle_each(&pair, e, group);
    else if (!join_seen(e, NULL, e->s->root, row))
        join_discover(e, row, settle_each, &pair);
}

// ── up the tree ────────────────────────────────────────────────────────────────────────────────

static void follow(Eval *e, uint32_t n, Bytes row, Group *group);

typedef struct Follow {
    uint32_t node;
    Bytes row;
} Follow;

static void climb(Eval *e, uint32_t n, Bytes row, Group *group);

static void follow_each(void *ctx, Eval *e, Group *group) {
    const Follow *f = ctx;
    climb(e, f->node, f->row, group);
}

// Nothing above the node can tell that its row changed.
static bool is_unseen(Eval *e, uint32_t n, Bytes row, const Group *group) {
    const StandingNode *node = &e->s->nodes[n];
    if (!node->separable || (!group && !e->join->constant_below[n])) return false;
    if (e->s->has_groups) return false;
    uint64_t most = e->live->options.bag ? UINT64_MAX : 1;
    e->values = group ? group_values(group) : e->s->values;
    e->version = BEFORE;
    uint64_t before = eval_below(e, n, row, most);
    e->version = NOW;
    return e->err == OK && before == eval_below(e, n, row, most);
}

// Was a row with this link followed before? The whole link, of which a look-up may use less.
static bool link_seen(Eval *e, uint32_t n, Bytes row, const Group *group) {
    const StandingNode *node = &e->s->nodes[n];
    Buf *key = &e->live->key_new;
    buf_clear(key);
    for (uint32_t i = 0; i < node->link_count; i++) {
        uint16_t column = node->links[i].column;
        key_append(key,
                   node->leaf->layout->row_type->fields[column].type,
                   row_column(node->leaf->layout, row, column).ptr);
    }
    if (!buf_ok(key)) e->err = ERR_NOMEM;
    return e->err != OK || join_seen(e, group, n, buf_bytes(key));
}

// Rows of the parent that the row's link names.
static void climb_rows(Eval *e, uint32_t n, Bytes row, Group *group) {
    const StandingNode *node = &e->s->nodes[n];
    Probe *probe = &e->x->ups[n];
    const ProbePlan *plan = &e->join->up_plans[n];
    if (!plan->table) return;  // events are there for their own commit only
    buf_clear(&probe->key);
    for (uint32_t i = 0; i < plan->column_count; i++) {
        uint32_t k = 0;
        while (node->links[k].parent_column != plan->columns[i]) {
            k++;
        }
        Bytes value = row_column(node->leaf->layout, row, node->links[k].column);
        key_append(&probe->key,
                   e->s->nodes[node->parent].leaf->layout->row_type->fields[plan->columns[i]].type,
                   value.ptr);
    }
    if (!buf_ok(&probe->key)) e->err = ERR_NOMEM;
    if (e->err != OK || link_seen(e, n, row, group) || is_unseen(e, n, row, group)) return;
    probe_open(probe, &e->live->delta, plan, EITHER);
    Bytes parent;
    while (e->err == OK && probe_next(probe, &parent)) {
        e->live->stats.rows_probed++;
        follow(e, node->parent, parent, group);
    }
    if (e->err == OK) e->err = probe->err;
    probe_close(probe);
}

static void climb(Eval *e, uint32_t n, Bytes row, Group *group) {
    const StandingNode *node = &e->s->nodes[n];
    if (group && !standing_leaf_holds(node, group_values(group), row)) return;
    if (node->up == STANDING_SAME)
        follow(e, node->parent, row, group);
    else
        climb_rows(e, n, row, group);
}

// A row of node n was changed, or a partner of it: who hears of that?
static void follow(Eval *e, uint32_t n, Bytes row, Group *group) {
    if (e->err != OK) return;
    if (n == e->s->root) {
        candidate(e, group, row);
        return;
    }
    const Finder *finder = group ? NULL : join_finder_at(e->join, n);
    if (!finder) {
        climb(e, n, row, group);
        return;
    }
    Follow f = {n, row};
    join_stab(e, finder, row, follow_each, &f);
}

// ── a template ─────────────────────────────────────────────────────────────────────────────────

bool join_same_to_others(const Eval *e, uint32_t n, const LiveChange *change) {
    const StandingNode *node = &e->s->nodes[n];
    const RowLayout *layout = node->leaf->layout;
    if (!change->old_row.ptr || !change->new_row.ptr) return false;
    for (uint32_t c = 0; c < layout->column_count; c++) {
        bool used = c >= 256 || (node->used[c / 64] >> (c % 64) & 1);
        if (used && !bytes_eq(row_column(layout, change->old_row, c),
                              row_column(layout, change->new_row, c)))
            return false;
    }
    return true;
}

static void root_change(Eval *e, const LiveChange *change) {
    RowPair pair = {change->is_event ? BYTES_NONE : change->old_row, change->new_row};
    if (pair.old.ptr) join_discover(e, pair.old, settle_each, &pair);
    if (pair.new.ptr && e->err == OK) join_discover(e, pair.new, settle_each, &pair);
}

static void node_changes(Eval *e, uint32_t n) {
    const StandingNode *node = &e->s->nodes[n];
    const DeltaTable *delta = delta_table(&e->live->delta, node->leaf->table->table_id);
    if (!delta || node->up == STANDING_SAME) return;  // its row is the parent's, and comes as that
    bool silent = node->silent && !e->live->options.bag && !e->s->has_groups;
    for (size_t i = 0; i < delta->count && e->err == OK && !silent; i++) {
        const LiveChange *change = &delta->changes[i];
        if (n == e->s->root) {
            root_change(e, change);
        } else if (!join_same_to_others(e, n, change)) {
            if (change->old_row.ptr) follow(e, n, change->old_row, NULL);
            if (change->new_row.ptr && e->err == OK) follow(e, n, change->new_row, NULL);
        }
    }
}

static Err template_commit(Live *live, JoinTemplate *join) {
    Eval e = {.live = live, .join = join, .s = join->standing, .x = live->joining};
    seen_clear(e.x);
    if (e.s->from) {
        join_tally_changes(&e);
    } else {
        for (uint32_t n = 0; n < e.s->node_count && e.err == OK; n++)
            node_changes(&e, n);
    }
    return e.err;
}

Err join_commit(Live *live) {
    Err err = OK;
    for (size_t i = 0; err == OK && i < live->delta.count; i++) {
        const LiveTable *table = live_table(live, live->delta.tables[i].table_id);
        for (JoinUse *use = table ? table->joins : NULL; err == OK && use; use = use->next) {
            if (use->join->dirty_in == live->stats.commits) continue;
            use->join->dirty_in = live->stats.commits;
            err = template_commit(live, use->join);
        }
    }
    return err == OK ? join_tally_flush(live) : err;
}

// One that is still being filled is told later.
static Err arrange(const TableArrangement *a, const LiveChange *change) {
    Diag ignored;
    if (prepare_state(a->prepare, &ignored) == OK) return arrangement_apply(a->arrangement, change);
    if (change->is_event) return OK;
    Bytes old[] = {change->old_row, change->key}, new[] = {change->new_row, change->key};
    if (change->old_row.ptr) prepare_note(a->prepare, false, old, 2);
    if (change->new_row.ptr) prepare_note(a->prepare, true, new, 2);
    return OK;
}

Err join_arrange(Live *live, const LiveChange *changes, size_t count) {
    const LiveTable *table = NULL;
    Err err = OK;
    for (size_t i = 0; err == OK && i < count; i++) {
        if (i == 0 || changes[i].table_id != changes[i - 1].table_id)
            table = live_table(live, changes[i].table_id);
        const TableArrangement *a = table ? table->arrangements : NULL;
        for (; err == OK && a; a = a->next)
            err = arrange(a, &changes[i]);
    }
    return err;
}
