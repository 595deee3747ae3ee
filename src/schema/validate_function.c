// validate_function.c: reducers, procedures, and what calls them by itself: lifecycle events and
// schedules (module-abi §3.3, §3.8).
#include "schema/validate.h"

// ── reducers and procedures ────────────────────────────────────────────────────────────────────

static void check_params(Validator *v, const FunctionDef *function, const Type *params) {
    for (uint32_t i = 0; i < params->field_count; i++) {
        Str location =
            validate_printf(v, "function `" STR_FMT "` argument %u", STR_ARG(function->name), i);
        type_check_usable(v, params->fields[i].type, location);
    }
}

static void check_returns(Validator *v, const RawFunction *raw) {
    if (!raw->ok) return;  // V9 reducers do not say
    if (type_is_unit(raw->ok) && raw->err->kind == TYPE_STRING) return;
    invalid(v,
            "reducer " STR_FMT " has invalid return type: found Result<" STR_FMT ", " STR_FMT ">",
            STR_ARG(raw->name),
            STR_ARG(type_text(v, raw->ok)),
            STR_ARG(type_text(v, raw->err)));
}

static void fill_function(Validator *v, const RawFunction *raw, FunctionDef *function) {
    function->source = name_full(v, raw->name);
    function->submodule = v->scope->path;
    function->name = name_canonical(v, RAW_NAME_FUNCTION, raw->name);
    function->lifecycle = LIFECYCLE_NONE;
    function->is_private = raw->is_private;
    function_claim(v, function->name);
    check_params(v, function, raw->params);
    function->params = type_canonical(v, raw->params);
    check_returns(v, raw);
    if (!raw->returns) return;
    Str location =
        validate_printf(v, "procedure `" STR_FMT "` return value", STR_ARG(function->name));
    type_check_usable(v, raw->returns, location);
    function->returns = type_canonical(v, raw->returns);
}

static void fill_functions(Validator *v,
                           const RawFunction *raw,
                           uint32_t count,
                           uint32_t first,
                           FunctionDef *functions) {
    for (uint32_t i = 0; i < count && !v->nomem; i++) {
        functions[first + i].id = first + i;
        fill_function(v, &raw[i], &functions[first + i]);
    }
}

void validate_functions(Validator *v) {
    const RawModule *raw = v->raw;
    fill_functions(v, raw->reducers, raw->reducer_count, v->first.reducer, v->def->reducers);
    fill_functions(v,
                   raw->procedures,
                   raw->procedure_count,
                   v->first.procedure,
                   v->def->procedures);
    if (v->nomem) return;
    v->def->reducer_count += raw->reducer_count;
    v->def->procedure_count += raw->procedure_count;
}

// Of this module's own functions, which begin at `first`.
static FunctionDef *by_source(const Validator *v,
                              FunctionDef *functions,
                              uint32_t first,
                              uint32_t count,
                              Str source) {
    for (uint32_t i = first; i < first + count; i++) {
        if (str_eq(name_local(v, functions[i].source), source)) return &functions[i];
    }
    return NULL;
}

static FunctionDef *reducer_by_source(const Validator *v, Str source) {
    return by_source(v, v->def->reducers, v->first.reducer, v->raw->reducer_count, source);
}

static FunctionDef *procedure_by_source(const Validator *v, Str source) {
    return by_source(v, v->def->procedures, v->first.procedure, v->raw->procedure_count, source);
}

// ── lifecycle events ───────────────────────────────────────────────────────────────────────────

static const char *lifecycle_name(Lifecycle which) {
    switch (which) {
    case LIFECYCLE_INIT: return "Init";
    case LIFECYCLE_CONNECT: return "OnConnect";
    case LIFECYCLE_DISCONNECT: return "OnDisconnect";
    case LIFECYCLE_NONE: break;
    }
    UNREACHABLE();
}

typedef struct LifecycleSlots {
    FunctionDef *of[LIFECYCLE_DISCONNECT + 1];
} LifecycleSlots;

static void bind_lifecycle(Validator *v,
                           LifecycleSlots *slots,
                           Lifecycle which,
                           FunctionDef *reducer) {
    if (!reducer) {
        invalid(v, "lifecycle event %s without reducer", lifecycle_name(which));
    } else if (slots->of[which]) {
        invalid(v, "Multiple reducers defined for lifecycle event %s", lifecycle_name(which));
    } else {
        slots->of[which] = reducer;
        reducer->lifecycle = which;
    }
}

static void refuse_lifecycle(Validator *v, Lifecycle which) {
    invalid(v,
            "lifecycle event %s is not permitted in submodule under namespace `" STR_FMT
            "`; lifecycle reducers may only be declared in the root module",
            lifecycle_name(which),
            STR_ARG(v->scope->path));
}

void validate_lifecycles(Validator *v) {
    if (v->nomem) return;
    LifecycleSlots slots = {0};
    for (uint32_t i = 0; i < v->raw->reducer_count; i++) {
        Lifecycle which = v->raw->reducers[i].lifecycle;
        FunctionDef *reducer = &v->def->reducers[v->first.reducer + i];
        if (which != LIFECYCLE_NONE) bind_lifecycle(v, &slots, which, reducer);
    }
    for (uint32_t i = 0; i < v->raw->lifecycle_count; i++) {
        const RawLifecycle *raw = &v->raw->lifecycles[i];
        if (v->scope->prefix.len > 0) {
            refuse_lifecycle(v, raw->which);
            continue;
        }
        FunctionDef *reducer = reducer_by_source(v, raw->function);
        if (reducer) reducer->is_private = true;  // clients do not call it
        bind_lifecycle(v, &slots, raw->which, reducer);
    }
}

// ── schedules ──────────────────────────────────────────────────────────────────────────────────

static void check_schedule_columns(Validator *v, const TableDef *table, uint16_t at_column) {
    bool has_id =
        table->primary_key >= 0 && table->columns[table->primary_key].type->kind == TYPE_U64;
    bool has_at = at_column < table->column_count &&
                  table->columns[at_column].type->special == SPECIAL_SCHEDULE_AT;
    if (has_id && has_at) return;
    invalid(v,
            "A scheduled table must have columns `scheduled_id: u64` and `scheduled_at: "
            "ScheduledAt`, but table `" STR_FMT "` has columns " STR_FMT,
            STR_ARG(table->name),
            STR_ARG(table->row_type ? type_text(v, table->row_type) : STR("()")));
}

// The function is called with the row that came due.
static void check_target_params(Validator *v,
                                const RawFunction *raw,
                                const FunctionDef *function,
                                const TableDef *table) {
    const Type *row = product_at(&v->whole->typespace, table->row_type_ref);
    const Type *param = raw->params->field_count == 1 ? raw->params->fields[0].type : NULL;
    if (row && param && param->kind == TYPE_REF &&
        product_at(&v->whole->typespace, param->ref) == row)
        return;
    invalid(v,
            "Scheduled reducer " STR_FMT " expected to have type (&%u), but has type " STR_FMT,
            STR_ARG(function->name),
            table->row_type_ref,
            STR_ARG(type_text(v, raw->params)));
}

static void bind_target(Validator *v,
                        const RawSchedule *raw,
                        const TableDef *table,
                        ScheduleDef *schedule) {
    FunctionDef *function = reducer_by_source(v, raw->function);
    const RawFunction *from = function ? &v->raw->reducers[function->id - v->first.reducer] : NULL;
    if (!function) {
        function = procedure_by_source(v, raw->function);
        from = function ? &v->raw->procedures[function->id - v->first.procedure] : NULL;
        schedule->is_procedure = function != NULL;
    }
    if (!function) {
        invalid(v,
                "Schedule " STR_FMT " refers to a scheduled reducer or procedure " STR_FMT
                " that does not exist",
                STR_ARG(schedule->name),
                STR_ARG(raw->function));
        return;
    }
    schedule->function = function->name;
    // Only the scheduler calls it, since V10; 1.x modules rely on calling it themselves.
    if (v->raw->version >= 10) function->is_private = true;
    check_target_params(v, from, function, table);
}

static void fill_schedule(Validator *v, const RawSchedule *raw) {
    TableDef *table = table_by_source(v, raw->table);
    if (!table) {
        invalid(v, "Table " STR_FMT " not found", STR_ARG(raw->table));
        return;
    }
    if (table->schedule) {
        invalid(v, "table " STR_FMT " is assigned in multiple schedules", STR_ARG(table->name));
        return;
    }
    ScheduleDef *schedule = VALIDATE_ARRAY(v, ScheduleDef, 1);
    if (!schedule) return;
    bool is_given = v->raw->version == 9 && raw->name.ptr;
    schedule->name =
        is_given ? raw->name : validate_printf(v, STR_FMT "_sched", STR_ARG(table->name));
    schedule->at_column = raw->at_column;
    schedule->id_column = (uint16_t)MAX(table->primary_key, 0);
    entity_claim(v, schedule->name);
    check_schedule_columns(v, table, raw->at_column);
    bind_target(v, raw, table, schedule);
    table->schedule = schedule;
}

void validate_schedules(Validator *v) {
    for (uint32_t i = 0; i < v->raw->schedule_count && !v->nomem; i++)
        fill_schedule(v, &v->raw->schedules[i]);
}
