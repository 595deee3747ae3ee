// plan_output.c: the answer's columns, GROUP BY and ORDER BY of a plan, with their names and types.
//
//   COUNT          U64
//   SUM            of integers to 32 bits I64 or U64, above that I128 or U128; of floats F64
//   AVG            F64
//   MIN, MAX       the column's type
//   a column behind LEFT JOIN, and SUM, AVG, MIN, MAX where there may be nothing:   Option<…>
#include <stdlib.h>

#include "query/plan.h"

typedef struct Outputs {
    PlanBuilder *b;
    Plan *plan;
} Outputs;

static Err outputs_column(Outputs *o, Str qualifier, Str name, PlanColumn *out, const Type **type) {
    Compiler c = {
        .select = o->b->select,
        .table = o->b->scope[0].table,
        .scope = o->b->scope,
        .scope_count = o->b->select->relation_count,
        .diag = o->b->diag,
    };
    Err err = compile_column(&c, qualifier, name, &out->relation, &out->column);
    if (err == OK) *type = o->b->scope[out->relation].table->columns[out->column].type;
    return err;
}

static bool is_nullable(const Outputs *o, uint32_t relation) {
    return o->b->select->relations[relation].join == SQL_JOIN_LEFT;
}

// An Option can say already that there is nothing.
static Err wrap(Outputs *o, PlanOutput *output) {
    if (output->type->special == SPECIAL_OPTION) return OK;
    output->wraps = true;
    output->type = type_option(o->b->arena, output->type);
    return output->type ? OK : ERR_NOMEM;
}

// ── aggregates ─────────────────────────────────────────────────────────────────────────────────

static Err refuse_aggregate(const Outputs *o, SqlFunction function, const Type *type) {
    static const char *const names[] =
        {[SQL_SUM] = "SUM", [SQL_MIN] = "MIN", [SQL_MAX] = "MAX", [SQL_AVG] = "AVG"};
    Buf name = {0};
    type_print(&name, type);
    Err err = diag_fail(o->b->diag,
                        ERR_INVALID,
                        "Invalid aggregate function `%s` for type `%.*s`",
                        names[function],
                        (int)utf8_cut(bytes_str(buf_bytes(&name)), 200),
                        (const char *)name.ptr);
    if (!buf_ok(&name)) err = ERR_NOMEM;
    buf_deinit(&name);
    return err;
}

static const Type *sum_type(const Type *of) {
    switch (of->kind) {
    case TYPE_I8:
    case TYPE_I16:
    case TYPE_I32: return type_simple(TYPE_I64);
    case TYPE_U8:
    case TYPE_U16:
    case TYPE_U32: return type_simple(TYPE_U64);
    case TYPE_I64:
    case TYPE_I128: return type_simple(TYPE_I128);
    case TYPE_U64:
    case TYPE_U128: return type_simple(TYPE_U128);
    case TYPE_F32:
    case TYPE_F64: return type_simple(TYPE_F64);
    default: return NULL;
    }
}

static Err aggregate_type(Outputs *o, PlanOutput *output) {
    const Type *of = output->column_type;
    switch (output->function) {
    case SQL_COUNT_ALL:
    case SQL_COUNT: output->type = type_simple(TYPE_U64); return OK;
    case SQL_SUM: output->type = sum_type(of); break;
    case SQL_AVG: output->type = sum_type(of) ? type_simple(TYPE_F64) : NULL; break;
    case SQL_MIN:
    case SQL_MAX: output->type = compile_comparable(of) ? of : NULL; break;
    case SQL_PLAIN: UNREACHABLE();
    }
    if (!output->type) return refuse_aggregate(o, output->function, of);
    // A group has rows; without GROUP BY, or with values that may be missing, there may be nothing.
    bool always = o->b->select->group_count > 0 && !is_nullable(o, output->column.relation);
    return always ? OK : wrap(o, output);
}

static Err find_group(Outputs *o, const SqlItem *item, PlanOutput *output) {
    for (uint32_t i = 0; i < o->plan->group_count; i++) {
        PlanColumn group = o->plan->groups[i];
        output->group = i;
        if (group.relation == output->column.relation && group.column == output->column.column)
            return OK;
    }
    return diag_fail(o->b->diag,
                     ERR_INVALID,
                     "Column `%.*s` must appear in the GROUP BY clause or be used in an aggregate "
                     "function",
                     (int)utf8_cut(item->column, 200),
                     item->column.ptr);
}

// ── items ──────────────────────────────────────────────────────────────────────────────────────

static Err output_item(Outputs *o, const SqlItem *item) {
    Plan *plan = o->plan;
    PlanOutput *output = &plan->outputs[plan->output_count++];
    Err err = OK;
    output->function = item->function;
    output->name = arena_str(o->b->arena, item->as.ptr ? item->as : item->column);
    if (!output->name.ptr) return ERR_NOMEM;
    if (item->function != SQL_COUNT_ALL)
        err =
            outputs_column(o, item->qualifier, item->column, &output->column, &output->column_type);
    if (err != OK) return err;
    if (item->function != SQL_PLAIN) return aggregate_type(o, output);
    output->type = output->column_type;
    if (plan->has_groups && (err = find_group(o, item, output)) != OK) return err;
    return is_nullable(o, output->column.relation) ? wrap(o, output) : OK;
}

static Err outputs_reserve(Outputs *o, uint32_t count) {
    o->plan->outputs = arena_array(o->b->arena, PlanOutput, count);
    return o->plan->outputs ? OK : ERR_NOMEM;
}

static Err whole_row(Outputs *o) {
    const SqlSelect *select = o->b->select;
    uint32_t r = 0;
    while (select->star_qualifier.ptr && r < select->relation_count &&
           !str_eq(select->relations[r].alias, select->star_qualifier)) {
        r++;
    }
    if (r == select->relation_count) {
        Compiler c = {.diag = o->b->diag};
        return compile_fail_name(&c, select->star_qualifier);
    }
    const CatalogTable *table = o->b->scope[r].table;
    o->plan->whole_row = !is_nullable(o, r) && !o->plan->has_groups;
    o->plan->shown = r;
    Err err = outputs_reserve(o, table->column_count);
    for (uint32_t i = compile_first_column(table); err == OK && i < table->column_count; i++) {
        PlanOutput *output = &o->plan->outputs[o->plan->output_count++];
        *output = (PlanOutput){
            .name = arena_str(o->b->arena, table->columns[i].name),
            .type = table->columns[i].type,
            .column = {r, (uint16_t)i},
            .column_type = table->columns[i].type,
        };
        if (!output->name.ptr) return ERR_NOMEM;
        SqlItem item = {.column = output->name};
        if (o->plan->has_groups) err = find_group(o, &item, output);
        if (err == OK && is_nullable(o, r)) err = wrap(o, output);
    }
    return err;
}

static int name_order(const void *a, const void *b) {
    return bytes_cmp(str_bytes(*(const Str *)a), str_bytes(*(const Str *)b));
}

static Err refuse_duplicates(const Outputs *o) {
    uint32_t count = o->plan->output_count;
    Str *names = arena_array(o->b->scratch, Str, count);
    if (!names) return ERR_NOMEM;
    for (uint32_t i = 0; i < count; i++)
        names[i] = o->plan->outputs[i].name;
    qsort(names, count, sizeof *names, name_order);
    for (uint32_t i = 1; i < count; i++) {
        if (!str_eq(names[i - 1], names[i])) continue;
        return diag_fail(o->b->diag,
                         ERR_INVALID,
                         "Duplicate name `%.*s`",
                         (int)utf8_cut(names[i], 200),
                         names[i].ptr);
    }
    return OK;
}

static Err items(Outputs *o) {
    const SqlSelect *select = o->b->select;
    if (select->projection == QPROJECT_ROW) return whole_row(o);
    Err err = outputs_reserve(o, select->item_count);
    for (uint32_t i = 0; err == OK && i < select->item_count; i++)
        err = output_item(o, &select->items[i]);
    return err == OK ? refuse_duplicates(o) : err;
}

// ── GROUP BY and ORDER BY ──────────────────────────────────────────────────────────────────────

static Err groups(Outputs *o) {
    const SqlSelect *select = o->b->select;
    Plan *plan = o->plan;
    plan->has_groups = select->group_count > 0;
    for (uint32_t i = 0; select->projection != QPROJECT_ROW && i < select->item_count; i++)
        plan->has_groups |= select->items[i].function != SQL_PLAIN;
    plan->groups = arena_array(o->b->arena, PlanColumn, select->group_count);
    plan->group_types = arena_array(o->b->arena, const Type *, select->group_count);
    if (!plan->groups || !plan->group_types) return ERR_NOMEM;
    for (uint32_t i = 0; i < select->group_count; i++) {
        const SqlItem *group = &select->groups[i];
        Err err = outputs_column(o,
                                 group->qualifier,
                                 group->column,
                                 &plan->groups[i],
                                 &plan->group_types[i]);
        if (err != OK) return err;
        plan->group_count++;
    }
    return OK;
}

static bool names_output(const PlanOutput *output, const SqlOrder *order) {
    return !order->qualifier.ptr && str_eq(output->name, order->column);
}

// The name of an item comes first, then a column of a relation.
static Err order_term(Outputs *o, const SqlOrder *order, PlanOrder *out) {
    Plan *plan = o->plan;
    out->descending = order->descending;
    out->nulls_first = order->nulls_first;
    out->of_output = true;
    if (!order->column.ptr) {
        out->output = (uint32_t)(order->position - 1);
        if (order->position <= plan->output_count) return OK;
        return diag_fail(o->b->diag,
                         ERR_INVALID,
                         "ORDER BY position %llu is not in the select list",
                         (unsigned long long)order->position);
    }
    for (out->output = 0; out->output < plan->output_count; out->output++) {
        if (names_output(&plan->outputs[out->output], order)) return OK;
    }
    if (!order->qualifier.ptr && o->b->select->relation_count > 1)
        return diag_fail(o->b->diag, ERR_INVALID, "Names must be qualified when using joins");
    Err err = outputs_column(o, order->qualifier, order->column, &out->column, &out->type);
    if (err != OK) return err;
    for (out->output = 0; out->output < plan->output_count; out->output++) {
        const PlanOutput *output = &plan->outputs[out->output];
        if (output->function == SQL_PLAIN && output->column.relation == out->column.relation &&
            output->column.column == out->column.column)
            return OK;
    }
    out->of_output = false;
    SqlItem item = {.column = order->column};
    PlanOutput probe = {.column = out->column};
    return plan->has_groups ? find_group(o, &item, &probe) : OK;
}

static Err orders(Outputs *o) {
    const SqlSelect *select = o->b->select;
    Plan *plan = o->plan;
    plan->orders = arena_array(o->b->arena, PlanOrder, select->order_count);
    if (!plan->orders) return ERR_NOMEM;
    for (uint32_t i = 0; i < select->order_count; i++) {
        PlanOrder *order = &plan->orders[plan->order_count++];
        Err err = order_term(o, &select->orders[i], order);
        if (err != OK) return err;
        if (plan->has_groups && !order->of_output)
            return diag_fail(o->b->diag,
                             ERR_UNSUPPORTED,
                             "Unsupported: ORDER BY a column that is not in the select list of a "
                             "query with groups");
        if (order->of_output) order->type = plan->outputs[order->output].type;
    }
    return OK;
}

Err outputs_build(PlanBuilder *b, Plan *plan) {
    Outputs o = {b, plan};
    Err err = groups(&o);
    if (err == OK) err = items(&o);
    if (err == OK) err = orders(&o);
    return err;
}
