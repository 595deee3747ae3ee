// plan_run.c: from the join's rows to the answer: groups, order, offset and limit.
#include "base/mem.h"
#include "query/plan.h"

// Keys that were met: each in an arena, found by its hash.
typedef struct SeenKey SeenKey;
struct SeenKey {
    SeenKey *next;
    uint64_t hash;
    Bytes key;
};

typedef struct Seen {
    Arena arena;
    SeenKey **buckets;
    uint64_t mask, count;
} Seen;

typedef struct PlanRun {
    const Plan *plan;
    Seen seen;  // distinct
    PlanMemory memory;
    JoinRun *join;
    Groups *groups;
    Sorter *sorter;
    QuerySink sink;
    void *ctx;
    Buf row;
    uint64_t skipped, given, given_bytes;
} PlanRun;

// ── each row once ──────────────────────────────────────────────────────────────────────────────

static Err seen_grow(Seen *seen) {
    if (seen->buckets && seen->count <= seen->mask) return OK;
    uint64_t size = seen->buckets ? (seen->mask + 1) * 2 : 64;
    SeenKey **buckets = mem_zalloc(size * sizeof *buckets);
    if (!buckets) return ERR_NOMEM;
    for (uint64_t i = 0; seen->buckets && i <= seen->mask; i++) {
        for (SeenKey *key = seen->buckets[i], *next; key; key = next) {
            next = key->next;
            key->next = buckets[key->hash & (size - 1)];
            buckets[key->hash & (size - 1)] = key;
        }
    }
    mem_free(seen->buckets);
    seen->buckets = buckets;
    seen->mask = size - 1;
    return OK;
}

static Err seen_add(Seen *seen, PlanMemory *memory, Bytes bytes, bool *before) {
    uint64_t hash = bytes_hash(bytes);
    Err err = seen_grow(seen);
    if (err != OK) return err;
    const SeenKey *found = seen->buckets[hash & seen->mask];
    while (found && !(found->hash == hash && bytes_eq(found->key, bytes))) {
        found = found->next;
    }
    *before = found != NULL;
    if (found) return OK;
    if ((err = plan_memory_take(memory, sizeof(SeenKey) + bytes.len + 16)) != OK) return err;
    SeenKey *key = arena_new(&seen->arena, SeenKey);
    if (!key) return ERR_NOMEM;
    *key = (SeenKey){seen->buckets[hash & seen->mask], hash, arena_bytes(&seen->arena, bytes)};
    if (!key->key.ptr) return ERR_NOMEM;
    seen->buckets[hash & seen->mask] = key;
    seen->count++;
    return OK;
}

// ── one row ────────────────────────────────────────────────────────────────────────────────────

static bool is_full(const PlanRun *run) {
    return run->plan->has_limit && run->given == run->plan->limit;
}

// ERR_LIMIT: the sink wants no more.
static Err give(PlanRun *run, Bytes row) {
    if (run->skipped < run->plan->offset) {
        run->skipped++;
        return OK;
    }
    if (is_full(run)) return OK;
    run->given++;
    run->given_bytes += row.len;
    if (run->plan->rows_max && run->given > run->plan->rows_max) return ERR_TOO_LARGE;
    if (run->plan->bytes_max && run->given_bytes > run->plan->bytes_max) return ERR_TOO_LARGE;
    return run->sink(run->ctx, row) ? OK : ERR_LIMIT;
}

// The answer row of the join's present rows. Borrows from the run.
static Err answer_row(PlanRun *run, Bytes *out) {
    const Plan *plan = run->plan;
    if (plan->whole_row) {
        *out =
            query_shown(plan->join.leaves[plan->shown].query, join_run_row(run->join, plan->shown));
        return OK;
    }
    buf_clear(&run->row);
    for (uint32_t i = 0; i < plan->output_count; i++) {
        const PlanOutput *output = &plan->outputs[i];
        Bytes value = join_run_value(run->join, output->column);
        plan_put_value(&run->row, output, value);
    }
    *out = buf_bytes(&run->row);
    return buf_ok(&run->row) ? OK : ERR_NOMEM;
}

// Was the row given before? By the stem of its clustering key, which no other row of the table has.
static Err seen_before(PlanRun *run, bool *out) {
    const Query *q = run->plan->join.leaves[run->plan->shown].query;
    buf_clear(&run->row);
    table_row_stem(q->table->table, join_run_row(run->join, run->plan->shown), &run->row);
    if (!buf_ok(&run->row)) return ERR_NOMEM;
    return seen_add(&run->seen, &run->memory, buf_bytes(&run->row), out);
}

static Err take(PlanRun *run) {
    Bytes row;
    const Plan *plan = run->plan;
    if (run->groups) return groups_add(run->groups, run->join);
    if (plan->distinct && plan->join.steps[0].relation == plan->shown) {
        join_run_skip(run->join);  // the next one has another row
    } else if (plan->distinct) {
        bool before;
        Err err = seen_before(run, &before);
        if (err != OK || before) return err;
    }
    Err err = answer_row(run, &row);
    if (err != OK) return err;
    return run->sorter ? sorter_add(run->sorter, run->join, row) : give(run, row);
}

static Err take_all(PlanRun *run) {
    join_run_start(run->join, BYTES_NONE);
    while (join_run_next(run->join)) {
        Err err = take(run);
        if (err != OK) return err;
        if (!run->groups && !run->sorter && is_full(run)) return OK;
    }
    return join_run_err(run->join);
}

static Err give_groups(PlanRun *run) {
    Err err = groups_end(run->groups);
    for (uint64_t i = 0; err == OK && i < groups_count(run->groups); i++) {
        buf_clear(&run->row);
        if ((err = groups_row(run->groups, i, &run->row)) != OK) break;
        Bytes row = buf_bytes(&run->row);
        err = run->sorter ? sorter_add(run->sorter, NULL, row) : give(run, row);
    }
    return err;
}

static Err give_sorted(PlanRun *run) {
    Err err = OK;
    sorter_sort(run->sorter);
    for (uint64_t i = 0; err == OK && i < sorter_count(run->sorter); i++)
        err = give(run, sorter_row(run->sorter, i));
    return err;
}

static void stats_take(const PlanRun *run, PlanStats *stats) {
    for (uint32_t i = 0; stats->steps && i < run->plan->join.count; i++)
        stats->steps[i] = join_run_stats(run->join, i);
    stats->groups = run->groups ? groups_count(run->groups) : 0;
    stats->sorted = run->sorter ? sorter_count(run->sorter) : 0;
    stats->memory_bytes = run->memory.used;
}

static Err run_all(PlanRun *run, const Snapshot *snapshot) {
    const Plan *plan = run->plan;
    Err err = join_run_new(&plan->join, snapshot, &run->memory, &run->join);
    if (err == OK && plan->has_groups) err = groups_new(plan, &run->memory, &run->groups);
    if (err == OK && plan->order_count) err = sorter_new(plan, &run->memory, &run->sorter);
    if (err == OK) err = take_all(run);
    if (err == OK && run->groups) err = give_groups(run);
    if (err == OK && run->sorter) err = give_sorted(run);
    return err;
}

Err plan_run(const Plan *plan,
             const Snapshot *snapshot,
             QuerySink sink,
             void *ctx,
             PlanStats *stats,
             Diag *diag) {
    PlanRun run = {
        .plan = plan,
        .memory = {.max = plan->memory_max,
                   .diag = diag,
                   .stop = plan->stop,
                   .tries_max = plan->tries_max},
        .sink = sink,
        .ctx = ctx,
    };
    Err err = plan->has_limit && plan->limit == 0 ? OK : run_all(&run, snapshot);
    if (stats && run.join) stats_take(&run, stats);
    sorter_free(&run.sorter);
    groups_free(&run.groups);
    join_run_free(&run.join);
    buf_deinit(&run.row);
    arena_deinit(&run.seen.arena);
    mem_free(run.seen.buckets);
    return err;
}
