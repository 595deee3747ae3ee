// plan_detach.c: a plan for another thread. What it knows of the catalog it copies, because tables may
// come and go while it runs; the snapshot keeps their rows.
#include "query/plan.h"

static Err join_detach(Arena *arena, Join *join);

static Err leaf_detach(Arena *arena, PlanLeaf *leaf) {
    Err err = query_detach(leaf->query);
    if (err == OK && leaf->allowed) err = query_detach(leaf->allowed);
    for (uint32_t i = 0; err == OK && i < leaf->rule_count; i++)
        err = join_detach(arena, leaf->rules[i]);
    return err;
}

static const Type *column_type(const Join *join, PlanColumn column) {
    return join->leaves[column.relation].query->table->columns[column.column].type;
}

static Err exprs_detach(Arena *arena, const Join *join, PlanExpr *expr) {
    Err err = OK;
    for (; expr; expr = expr->next) {
        for (uint32_t i = 0; err == OK && i < expr->count; i++) {
            PlanNode *node = &expr->nodes[i];
            if (node->kind == SQL_COLUMN)
                node->type = column_type(join, node->column);
            else
                err = query_type_own(arena, node->type, &node->type);
        }
    }
    return err;
}

static Err join_detach(Arena *arena, Join *join) {
    Err err = OK;
    for (uint32_t r = 0; err == OK && r < join->count; r++)
        err = leaf_detach(arena, &join->leaves[r]);
    for (uint32_t i = 0; err == OK && i < join->count; i++) {
        err = exprs_detach(arena, join, join->steps[i].on);
        if (err == OK) err = exprs_detach(arena, join, join->steps[i].filter);
    }
    return err;
}

static Err output_detach(Plan *plan, PlanOutput *output) {
    Err err = query_type_own(&plan->arena, output->type, &output->type);
    if (err == OK && output->column_type)
        output->column_type = column_type(&plan->join, output->column);
    return err;
}

Err plan_detach(Plan *plan) {
    Err err = join_detach(&plan->arena, &plan->join);
    for (uint32_t i = 0; err == OK && i < plan->output_count; i++)
        err = output_detach(plan, &plan->outputs[i]);
    if (err != OK) return err;
    for (uint32_t i = 0; i < plan->group_count; i++)
        plan->group_types[i] = column_type(&plan->join, plan->groups[i]);
    for (uint32_t i = 0; i < plan->order_count; i++) {
        PlanOrder *order = &plan->orders[i];
        order->type = order->of_output ? plan->outputs[order->output].type
                                       : column_type(&plan->join, order->column);
    }
    return OK;
}

uint64_t plan_cost(const Plan *plan, uint64_t most) {
    const Join *join = &plan->join;
    // One small beginning may still lead far, so the guess counts as well as what is known.
    uint64_t cost = join->cost;
    for (uint32_t r = 0; r < join->count && cost <= most; r++) {
        const PlanLeaf *leaf = &join->leaves[r];
        if (leaf->rule_count > 0) cost = MAX(cost, leaf->rows);
    }
    uint64_t first = query_cost(join->leaves[join->steps[0].relation].query, most);
    return MIN(MAX(cost, first), most + 1);
}
