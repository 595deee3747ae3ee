// plan_run.c: from the join's rows to the answer: groups, order, offset and limit.
#include "query/plan.h"

typedef struct PlanRun {
    const Plan *plan;
    PlanMemory memory;
    JoinRun *join;
    Groups *groups;
    Sorter *sorter;
    QuerySink sink;
    void *ctx;
    Buf row;
    uint64_t skipped, given, given_bytes;
} PlanRun;

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

static Err take(PlanRun *run) {
    Bytes row;
    if (run->groups) return groups_add(run->groups, run->join);
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
        .memory = {.max = plan->memory_max, .diag = diag, .stop = plan->stop},
        .sink = sink,
        .ctx = ctx,
    };
    Err err = plan->has_limit && plan->limit == 0 ? OK : run_all(&run, snapshot);
    if (stats && run.join) stats_take(&run, stats);
    sorter_free(&run.sorter);
    groups_free(&run.groups);
    join_run_free(&run.join);
    buf_deinit(&run.row);
    return err;
}
