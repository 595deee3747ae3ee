#include "query/tally.h"

#include "base/mem.h"
#include "query/accumulate.h"
#include "query/plan.h"
#include "sats/key.h"
#include "txn/sorted.h"

typedef struct Extreme {  // a value that MIN or MAX may show, in an ordered bag
    uint64_t count;
    size_t len;
    uint8_t bytes[];
} Extreme;

typedef struct Slot {  // of one output
    Accumulator acc;
    Sorted extremes;  // of MIN by key, of MAX by the key's complement
} Slot;

typedef struct TallyGroup TallyGroup;
struct TallyGroup {
    TallyGroup *next;          // of its bucket
    TallyGroup *next_changed;  // likewise, of those to look at
    uint64_t hash, count;      // combinations
    Bytes key;
    Bytes *columns;  // of GROUP BY; ptr NULL: missing
    bool changed;
    bool given;  // `row` was
    Buf row;
    Slot slots[];
};

struct Tally {
    const Plan *plan;
    size_t *memory;
    size_t counted;  // of this one, in *memory
    Pool pool;
    TallyGroup **buckets;
    uint64_t mask, count;
    TallyGroup *changed;
    Buf key, value;
};

static void recount(Tally *t) {
    size_t now =
        sizeof *t + (t->buckets ? (t->mask + 1) * sizeof *t->buckets : 0) + pool_bytes(&t->pool);
    *t->memory += now - t->counted;
    t->counted = now;
}

// ── life ───────────────────────────────────────────────────────────────────────────────────────

static void group_close(Tally *t, TallyGroup *group) {
    for (uint32_t i = 0; i < t->plan->output_count; i++)
        accumulator_deinit(&group->slots[i].acc);
    buf_deinit(&group->row);
}

void tally_free(Tally **tally) {
    Tally *t = *tally;
    if (!t) return;
    for (uint64_t i = 0; t->buckets && i <= t->mask; i++) {
        for (TallyGroup *group = t->buckets[i]; group; group = group->next)
            group_close(t, group);
    }
    *t->memory -= t->counted;
    pool_deinit(&t->pool);
    mem_free(t->buckets);
    buf_deinit(&t->key);
    buf_deinit(&t->value);
    mem_free(t);
    *tally = NULL;
}

static Bytes value_of(const Tally *t, const Bytes *rows, PlanColumn column) {
    Bytes row = rows[column.relation];
    if (!row.ptr) return BYTES_NONE;
    return row_column(t->plan->join.leaves[column.relation].query->layout, row, column.column);
}

static size_t group_bytes(const Tally *t) {
    return sizeof(TallyGroup) + t->plan->output_count * sizeof(Slot);
}

static Err grow(Tally *t) {
    if (t->count <= t->mask) return OK;
    uint64_t size = (t->mask + 1) * 2;
    TallyGroup **buckets = mem_zalloc(size * sizeof *buckets);
    if (!buckets) return ERR_NOMEM;
    for (uint64_t i = 0; i <= t->mask; i++) {
        for (TallyGroup *group = t->buckets[i], *next; group; group = next) {
            next = group->next;
            group->next = buckets[group->hash & (size - 1)];
            buckets[group->hash & (size - 1)] = group;
        }
    }
    mem_free(t->buckets);
    t->buckets = buckets;
    t->mask = size - 1;
    return OK;
}

static Bytes pool_bytes_of(Pool *pool, Bytes bytes) {
    uint8_t *copy = pool_alloc(pool, MAX(bytes.len, (size_t)1));
    if (copy && bytes.len) memcpy(copy, bytes.ptr, bytes.len);
    return (Bytes){copy, bytes.len};
}

static Err group_new(Tally *t, const Bytes *rows, uint64_t hash, TallyGroup **out) {
    const Plan *plan = t->plan;
    Err err = grow(t);
    if (err != OK) return err;
    TallyGroup *group = pool_alloc(&t->pool, group_bytes(t));
    if (!group) return ERR_NOMEM;
    memset(group, 0, group_bytes(t));
    group->hash = hash;
    group->key = pool_bytes_of(&t->pool, buf_bytes(&t->key));
    group->columns = pool_alloc(&t->pool, MAX(plan->group_count, 1u) * sizeof(Bytes));
    if (!group->key.ptr || !group->columns) return ERR_NOMEM;
    for (uint32_t i = 0; i < plan->group_count; i++) {
        Bytes value = value_of(t, rows, plan->groups[i]);
        group->columns[i] = value.ptr ? pool_bytes_of(&t->pool, value) : BYTES_NONE;
        if (value.ptr && !group->columns[i].ptr) return ERR_NOMEM;
    }
    group->next = t->buckets[hash & t->mask];
    t->buckets[hash & t->mask] = group;
    t->count++;
    *out = group;
    return OK;
}

static void note_change(Tally *t, TallyGroup *group) {
    if (group->changed) return;
    group->changed = true;
    group->next_changed = t->changed;
    t->changed = group;
}

static Err group_find(Tally *t, const Bytes *rows, TallyGroup **out) {
    const Plan *plan = t->plan;
    buf_clear(&t->key);
    for (uint32_t i = 0; rows && i < plan->group_count; i++) {
        Bytes value = value_of(t, rows, plan->groups[i]);
        buf_put_u8(&t->key, value.ptr != NULL);
        if (value.ptr) key_append(&t->key, plan->group_types[i], value.ptr);
    }
    if (!buf_ok(&t->key)) return ERR_NOMEM;
    uint64_t hash = bytes_hash(buf_bytes(&t->key));
    *out = t->buckets[hash & t->mask];
    while (*out && !((*out)->hash == hash && bytes_eq((*out)->key, buf_bytes(&t->key)))) {
        *out = (*out)->next;
    }
    Err err = *out ? OK : group_new(t, rows, hash, out);
    if (err == OK) note_change(t, *out);
    return err;
}

Err tally_new(const Standing *standing, size_t *memory, Tally **out) {
    TallyGroup *group;
    Tally *t = MEM_NEW(Tally);
    if (!t) return ERR_NOMEM;
    t->plan = standing->plan;
    t->memory = memory;
    t->mask = 15;
    t->buckets = mem_zalloc((t->mask + 1) * sizeof(TallyGroup *));
    Err err = t->buckets ? OK : ERR_NOMEM;
    if (err == OK && t->plan->group_count == 0) err = group_find(t, NULL, &group);
    recount(t);
    if (err == OK)
        *out = t;
    else
        tally_free(&t);
    return err;
}

// ── combinations ───────────────────────────────────────────────────────────────────────────────

// The key by which the smallest is the one to show.
static Err extreme_key(Tally *t, const PlanOutput *output, Bytes value) {
    buf_clear(&t->key);
    key_append(&t->key, output->column_type, value.ptr);
    for (size_t i = 0; output->function == SQL_MAX && i < t->key.len; i++)
        t->key.ptr[i] = (uint8_t)~t->key.ptr[i];
    return buf_ok(&t->key) ? OK : ERR_NOMEM;
}

static Err extreme_add(Tally *t, const PlanOutput *output, Slot *slot, Bytes value) {
    Err err = extreme_key(t, output, value);
    if (err != OK) return err;
    SortedNode *node = sorted_find(&slot->extremes, buf_bytes(&t->key));
    if (node) {
        ((Extreme *)node->value)->count++;
        return OK;
    }
    Extreme *extreme = pool_alloc(&t->pool, sizeof *extreme + value.len);
    if (!extreme) return ERR_NOMEM;
    extreme->count = 1;
    extreme->len = value.len;
    if (value.len) memcpy(extreme->bytes, value.ptr, value.len);
    return sorted_insert(&slot->extremes, &t->pool, buf_bytes(&t->key), extreme) ? OK : ERR_NOMEM;
}

static Err extreme_remove(Tally *t, const PlanOutput *output, Slot *slot, Bytes value) {
    Err err = extreme_key(t, output, value);
    if (err != OK) return err;
    SortedNode *node = sorted_find(&slot->extremes, buf_bytes(&t->key));
    ASSERT(node);
    Extreme *extreme = node->value;
    if (--extreme->count > 0) return OK;
    pool_give(&t->pool, extreme, sizeof *extreme + extreme->len);
    sorted_remove(&slot->extremes, &t->pool, node);
    return OK;
}

static Err slot_change(Tally *t, const PlanOutput *output, Slot *slot, Bytes value, bool add) {
    bool none = !value.ptr || (output->column_type->special == SPECIAL_OPTION && value.ptr[0] == 1);
    if (none) return OK;
    switch (output->function) {
    case SQL_PLAIN:
    case SQL_COUNT_ALL: return OK;
    case SQL_COUNT: slot->acc.count += add ? 1 : UINT64_MAX; return OK;
    case SQL_SUM:
    case SQL_AVG:
        if (add)
            return accumulator_add(&slot->acc, output->column_type, value.ptr) ? OK : ERR_NOMEM;
        accumulator_remove(&slot->acc, output->column_type, value.ptr);
        return OK;
    case SQL_MIN:
    case SQL_MAX:
        slot->acc.count += add ? 1 : UINT64_MAX;
        return (add ? extreme_add : extreme_remove)(t, output, slot, value);
    }
    UNREACHABLE();
}

static Err change(Tally *t, const Bytes *rows, bool add) {
    TallyGroup *group;
    Err err = group_find(t, rows, &group);
    if (err != OK) return err;
    group->count += add ? 1 : UINT64_MAX;
    for (uint32_t i = 0; err == OK && i < t->plan->output_count; i++) {
        const PlanOutput *output = &t->plan->outputs[i];
        if (output->function <= SQL_COUNT_ALL) continue;
        err = slot_change(t, output, &group->slots[i], value_of(t, rows, output->column), add);
    }
    return err;
}

Err tally_add(Tally *t, const Bytes *rows) {
    return change(t, rows, true);
}
Err tally_remove(Tally *t, const Bytes *rows) {
    return change(t, rows, false);
}

void tally_move(Tally *t, const Standing *standing, size_t *memory) {
    t->plan = standing->plan;
    t->memory = memory;
}

Err tally_fill(Tally *t,
               const Standing *standing,
               const Snapshot *snapshot,
               size_t max,
               Diag *diag) {
    const Plan *plan = standing->plan;
    const Join *join = &plan->join;
    PlanMemory memory = {.max = plan->memory_max, .diag = diag, .stop = plan->stop};
    JoinRun *run = NULL;
    Bytes *rows = mem_alloc(join->count * sizeof *rows);
    Err err = rows ? join_run_new(join, snapshot, &memory, &run) : ERR_NOMEM;
    if (err == OK) join_run_start(run, BYTES_NONE);
    uint64_t combined = 0;
    while (err == OK && join_run_next(run)) {
        for (uint32_t r = 0; r < join->count; r++)
            rows[r] = join_run_row(run, r);
        err = tally_add(t, rows);
        if (++combined % 256 == 0) recount(t);
        if (err == OK && *t->memory > max) err = ERR_TOO_LARGE;
    }
    if (err == OK) err = join_run_err(run);
    join_run_free(&run);
    mem_free(rows);
    recount(t);
    return err == OK && *t->memory > max ? ERR_TOO_LARGE : err;
}

// ── rows ───────────────────────────────────────────────────────────────────────────────────────

static Err put_output(const TallyGroup *group,
                      const PlanOutput *output,
                      const Slot *slot,
                      Buf *out,
                      Diag *diag) {
    const Type *bare = output->wraps ? output->type->fields[0].type : output->type;
    switch (output->function) {
    case SQL_PLAIN: plan_put_value(out, output, group->columns[output->group]); return OK;
    case SQL_COUNT_ALL: buf_put_u64(out, group->count); return OK;
    case SQL_COUNT: buf_put_u64(out, slot->acc.count); return OK;
    default: break;
    }
    if (output->wraps) buf_put_u8(out, slot->acc.count ? 0 : 1);
    if (slot->acc.count == 0) return OK;
    if (output->function == SQL_AVG) {
        double average = accumulator_average(&slot->acc, output->column_type);
        buf_put(out, &average, sizeof average);
    } else if (output->function == SQL_SUM) {
        if (!accumulator_sum(&slot->acc, output->column_type, bare, out))
            return diag_fail(diag,
                             ERR_INVALID,
                             "`%.*s` is too large for its type",
                             (int)utf8_cut(output->name, 200),
                             output->name.ptr);
    } else {
        const Extreme *extreme = slot->extremes.first->value;
        buf_put(out, extreme->bytes, extreme->len);
    }
    return OK;
}

static Err row_build(Tally *t, const TallyGroup *group, Diag *diag) {
    Err err = OK;
    buf_clear(&t->value);
    for (uint32_t i = 0; err == OK && i < t->plan->output_count; i++)
        err = put_output(group, &t->plan->outputs[i], &group->slots[i], &t->value, diag);
    return err == OK && !buf_ok(&t->value) ? ERR_NOMEM : err;
}

static void group_drop(Tally *t, TallyGroup *group) {
    TallyGroup **link = &t->buckets[group->hash & t->mask];
    while (*link != group) {
        link = &(*link)->next;
    }
    *link = group->next;
    t->count--;
    for (uint32_t i = 0; i < t->plan->group_count; i++) {
        Bytes column = group->columns[i];
        if (column.ptr) pool_give(&t->pool, (void *)column.ptr, MAX(column.len, (size_t)1));
    }
    pool_give(&t->pool, group->columns, MAX(t->plan->group_count, 1u) * sizeof(Bytes));
    pool_give(&t->pool, (void *)group->key.ptr, MAX(group->key.len, (size_t)1));
    group_close(t, group);
    pool_give(&t->pool, group, group_bytes(t));
}

static Err group_flush(Tally *t,
                       TallyGroup *group,
                       TallyEach lost,
                       TallyEach gained,
                       void *ctx,
                       Diag *diag) {
    bool stays = group->count > 0 || t->plan->group_count == 0;
    Err err = stays ? row_build(t, group, diag) : OK;
    if (err != OK) return err;
    bool same = stays && group->given && bytes_eq(buf_bytes(&group->row), buf_bytes(&t->value));
    if (same) return OK;
    if (group->given) err = lost(ctx, buf_bytes(&group->row));
    group->given = stays;
    buf_clear(&group->row);
    if (!stays) {
        group_drop(t, group);
        return err;
    }
    buf_put_bytes(&group->row, buf_bytes(&t->value));
    if (!buf_ok(&group->row)) return ERR_NOMEM;
    return err == OK ? gained(ctx, buf_bytes(&group->row)) : err;
}

bool tally_is_changed(const Tally *t) {
    return t->changed != NULL;
}

Err tally_flush(Tally *t, TallyEach lost, TallyEach gained, void *ctx, Diag *diag) {
    Err err = OK;
    while (err == OK && t->changed) {
        TallyGroup *group = t->changed;
        t->changed = group->next_changed;
        group->changed = false;
        err = group_flush(t, group, lost, gained, ctx, diag);
    }
    recount(t);
    return err;
}

Err tally_each(const Tally *t, TallyEach each, void *ctx) {
    Err err = OK;
    for (uint64_t i = 0; i <= t->mask; i++) {
        for (const TallyGroup *group = t->buckets[i]; err == OK && group; group = group->next) {
            if (group->given) err = each(ctx, buf_bytes(&group->row));
        }
    }
    return err;
}

uint64_t tally_count(const Tally *t) {
    return t->count;
}
