// group.c: rows into groups, and what is known of each: counts, sums, extremes.
//
// A group is found by the memcomparable keys of its columns, so that whatever compares equal is one
// group. The columns shown are those of the row that made it.
#include "base/mem.h"
#include "query/accumulate.h"
#include "query/plan.h"
#include "sats/key.h"

typedef struct Tally {
    Accumulator acc;
    Buf extreme;  // MIN, MAX
} Tally;

typedef struct Group Group;
struct Group {
    Group *next;
    uint64_t hash;
    Bytes key;
    Bytes *columns;   // of GROUP BY; ptr NULL: missing
    Tally tallies[];  // of each output
};

struct Groups {
    const Plan *plan;
    PlanMemory *memory;
    Arena arena;
    Group **buckets;
    uint64_t mask, count;
    Buf list;  // Group *, in the order of appearance
    Buf key;
};

Err groups_new(const Plan *plan, PlanMemory *memory, Groups **out) {
    Groups *groups = MEM_NEW(Groups);
    if (!groups) return ERR_NOMEM;
    groups->plan = plan;
    groups->memory = memory;
    groups->mask = 15;
    groups->buckets = mem_zalloc((groups->mask + 1) * sizeof *groups->buckets);
    if (!groups->buckets) {
        groups_free(&groups);
        return ERR_NOMEM;
    }
    *out = groups;
    return OK;
}

static Group *group_at(const Groups *groups, uint64_t at) {
    return ((Group *const *)(const void *)groups->list.ptr)[at];
}

static void tally_deinit(Tally *tally) {
    accumulator_deinit(&tally->acc);
    buf_deinit(&tally->extreme);
}

void groups_free(Groups **out) {
    Groups *groups = *out;
    if (!groups) return;
    for (uint64_t i = 0; i < groups->count; i++) {
        Group *group = group_at(groups, i);
        for (uint32_t t = 0; t < groups->plan->output_count; t++)
            tally_deinit(&group->tallies[t]);
    }
    buf_deinit(&groups->list);
    buf_deinit(&groups->key);
    mem_free(groups->buckets);
    arena_deinit(&groups->arena);
    mem_free(groups);
    *out = NULL;
}

uint64_t groups_count(const Groups *groups) {
    return groups->count;
}

// ── finding ────────────────────────────────────────────────────────────────────────────────────

static Err groups_grow(Groups *groups) {
    if (groups->count <= groups->mask) return OK;
    uint64_t size = (groups->mask + 1) * 2;
    Group **buckets = mem_zalloc(size * sizeof *buckets);
    if (!buckets) return ERR_NOMEM;
    for (uint64_t i = 0; i < groups->count; i++) {
        Group *group = group_at(groups, i), **bucket = &buckets[group->hash & (size - 1)];
        group->next = *bucket;
        *bucket = group;
    }
    mem_free(groups->buckets);
    groups->buckets = buckets;
    groups->mask = size - 1;
    return OK;
}

static Err group_new(Groups *groups, const JoinRun *run, uint64_t hash, Group **out) {
    const Plan *plan = groups->plan;
    size_t bytes = sizeof(Group) + plan->output_count * sizeof(Tally);
    Err err = groups_grow(groups);
    if (err == OK) err = plan_memory_take(groups->memory, bytes + 2 * groups->key.len + 64);
    if (err != OK) return err;
    Group *group = arena_zalloc(&groups->arena, bytes);
    if (!group) return ERR_NOMEM;
    group->hash = hash;
    group->key = arena_bytes(&groups->arena, buf_bytes(&groups->key));
    group->columns = arena_array(&groups->arena, Bytes, plan->group_count);
    if ((groups->key.len > 0 && !group->key.ptr) || !group->columns) return ERR_NOMEM;
    for (uint32_t i = 0; i < plan->group_count; i++) {
        Bytes value = join_run_value(run, plan->groups[i]);
        if (!value.ptr) continue;
        group->columns[i] = value.len ? arena_bytes(&groups->arena, value) : BYTES("", 0);
        if (!group->columns[i].ptr) return ERR_NOMEM;
    }
    buf_put(&groups->list, &group, sizeof(Group *));
    if (!buf_ok(&groups->list)) return ERR_NOMEM;
    groups->count++;
    group->next = groups->buckets[hash & groups->mask];
    groups->buckets[hash & groups->mask] = group;
    *out = group;
    return OK;
}

static Err group_find(Groups *groups, const JoinRun *run, Group **out) {
    const Plan *plan = groups->plan;
    buf_clear(&groups->key);
    for (uint32_t i = 0; run && i < plan->group_count; i++) {
        Bytes value = join_run_value(run, plan->groups[i]);
        buf_put_u8(&groups->key, value.ptr != NULL);
        if (value.ptr) key_append(&groups->key, plan->group_types[i], value.ptr);
    }
    if (!buf_ok(&groups->key)) return ERR_NOMEM;
    uint64_t hash = bytes_hash(buf_bytes(&groups->key));
    for (Group *group = groups->buckets[hash & groups->mask]; group; group = group->next) {
        if (group->hash != hash || !bytes_eq(group->key, buf_bytes(&groups->key))) continue;
        *out = group;
        return OK;
    }
    return group_new(groups, run, hash, out);
}

// ── counting ───────────────────────────────────────────────────────────────────────────────────

static Err tally_sum(Groups *groups, Tally *tally, const Type *type, const uint8_t *value) {
    bool is_float = type->kind == TYPE_F32 || type->kind == TYPE_F64;
    Err err = OK;
    if (is_float && !tally->acc.floats)
        err = plan_memory_take(groups->memory, accumulator_float_bytes());
    if (err == OK && !accumulator_add(&tally->acc, type, value)) err = ERR_NOMEM;
    return err;
}

static Err tally_extreme(Groups *groups, const PlanOutput *output, Tally *tally, Bytes value) {
    if (tally->acc.count > 1) {
        int order = bsatn_cmp(output->column_type, value.ptr, tally->extreme.ptr);
        if (output->function == SQL_MIN ? order >= 0 : order <= 0) return OK;
    }
    Err err = OK;
    if (value.len > tally->extreme.cap) err = plan_memory_take(groups->memory, value.len);
    if (err != OK) return err;
    buf_clear(&tally->extreme);
    buf_put_bytes(&tally->extreme, value);
    return buf_ok(&tally->extreme) ? OK : ERR_NOMEM;
}

static Err tally_add(Groups *groups, const PlanOutput *output, Tally *tally, const JoinRun *run) {
    if (output->function == SQL_PLAIN) return OK;
    if (output->function == SQL_COUNT_ALL) {
        tally->acc.count++;
        return OK;
    }
    Bytes value = join_run_value(run, output->column);
    bool none = !value.ptr || (output->column_type->special == SPECIAL_OPTION && value.ptr[0] == 1);
    if (none) return OK;
    if (output->function == SQL_SUM || output->function == SQL_AVG)
        return tally_sum(groups, tally, output->column_type, value.ptr);
    tally->acc.count++;
    if (output->function == SQL_MIN || output->function == SQL_MAX)
        return tally_extreme(groups, output, tally, value);
    return OK;
}

Err groups_add(Groups *groups, const JoinRun *run) {
    Group *group;
    Err err = group_find(groups, run, &group);
    for (uint32_t i = 0; err == OK && i < groups->plan->output_count; i++)
        err = tally_add(groups, &groups->plan->outputs[i], &group->tallies[i], run);
    return err;
}

Err groups_end(Groups *groups) {
    Group *group;
    if (groups->plan->group_count > 0 || groups->count > 0) return OK;
    return group_find(groups, NULL, &group);
}

// ── the answer ─────────────────────────────────────────────────────────────────────────────────

static Err put_sum(Groups *groups, const PlanOutput *output, const Tally *tally, Buf *out) {
    const Type *type = output->wraps ? output->type->fields[0].type : output->type;
    if (accumulator_sum(&tally->acc, output->column_type, type, out)) return OK;
    return diag_fail(groups->memory->diag,
                     ERR_INVALID,
                     "`%.*s` is too large for its type",
                     (int)utf8_cut(output->name, 200),
                     output->name.ptr);
}

static void put_average(const PlanOutput *output, const Tally *tally, Buf *out) {
    double average = accumulator_average(&tally->acc, output->column_type);
    buf_put(out, &average, sizeof average);
}

Err groups_row(Groups *groups, uint64_t at, Buf *out) {
    const Group *group = group_at(groups, at);
    Err err = OK;
    for (uint32_t i = 0; err == OK && i < groups->plan->output_count; i++) {
        const PlanOutput *output = &groups->plan->outputs[i];
        const Tally *tally = &group->tallies[i];
        bool counts = output->function == SQL_COUNT || output->function == SQL_COUNT_ALL;
        if (output->function == SQL_PLAIN) {
            plan_put_value(out, output, group->columns[output->group]);
            continue;
        }
        if (counts) {
            buf_put_u64(out, tally->acc.count);
            continue;
        }
        if (output->wraps) buf_put_u8(out, tally->acc.count ? 0 : 1);
        if (tally->acc.count == 0) continue;
        if (output->function == SQL_SUM) err = put_sum(groups, output, tally, out);
        if (output->function == SQL_AVG) put_average(output, tally, out);
        if (output->function == SQL_MIN || output->function == SQL_MAX)
            buf_put_bytes(out, buf_bytes(&tally->extreme));
    }
    return err == OK && !buf_ok(out) ? ERR_NOMEM : err;
}
