// migrate.c: from one module definition to the next (module-abi §6).
//
// PICTURE
//   old ModuleDef ─┐ matched by canonical names     ┌─ steps, in the order they are carried out
//   new ModuleDef ─┴──────────────────────────────> └─ or every reason why not
//
// A renamed table is one removed and one added; whether the removed one is empty is seen only when
// the plan is carried out (txn/catalog_migrate.c).
// START AT  migrate_test.c: one test for each row of §6.2.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "schema/planner.h"

// ── collecting ─────────────────────────────────────────────────────────────────────────────────

void plan_step(Planner *p, MigrateStep step) {
    MigratePlan *plan = p->plan;
    if (plan->step_count == p->step_cap) {
        uint32_t cap = p->step_cap ? p->step_cap * 2 : 16;
        MigrateStep *steps = arena_array(&plan->arena, MigrateStep, cap);
        if (!steps) {
            p->nomem = true;
            return;
        }
        if (plan->step_count) memcpy(steps, plan->steps, plan->step_count * sizeof *steps);
        plan->steps = steps;
        p->step_cap = cap;
    }
    plan->steps[plan->step_count++] = step;
}

void plan_disconnect(Planner *p) {
    if (p->plan->breaks_clients) return;
    p->plan->breaks_clients = true;
    plan_step(p, (MigrateStep){.kind = MIGRATE_DISCONNECT_ALL});
}

void plan_refuse(Planner *p, const char *fmt, ...) {
    p->error_count++;
    if (p->errors.len > DIAG_TEXT_MAX) return;  // nobody could read more of it
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (p->errors.len > 0) buf_put_str(&p->errors, STR("\n\n"));
    buf_put_str(&p->errors, str_from(text));
}

// ── tables ─────────────────────────────────────────────────────────────────────────────────────

static void plan_tables(Planner *p, const ModuleDef *old_def, const ModuleDef *new_def) {
    for (uint32_t i = 0; i < old_def->table_count; i++) {
        const TableDef *old_table = &old_def->tables[i];
        const TableDef *new_table = moduledef_table(new_def, old_table->name);
        if (new_table) {
            plan_table(p, old_table, new_table);
            continue;
        }
        plan_step(p,
                  (MigrateStep){.kind = MIGRATE_REMOVE_TABLE,
                                .table = old_table->name,
                                .old_table = old_table});
        plan_disconnect(p);
    }
    for (uint32_t i = 0; i < new_def->table_count; i++) {
        const TableDef *table = &new_def->tables[i];
        if (moduledef_table(old_def, table->name)) continue;
        plan_step(
            p,
            (MigrateStep){.kind = MIGRATE_ADD_TABLE, .table = table->name, .new_table = table});
    }
}

// ── views ──────────────────────────────────────────────────────────────────────────────────────

static const ViewDef *view_by_name(const ModuleDef *def, Str name) {
    for (uint32_t i = 0; i < def->view_count; i++) {
        if (str_eq(def->views[i].name, name)) return &def->views[i];
    }
    return NULL;
}

static bool same_columns(const ViewDef *a, const ViewDef *b) {
    if (a->row_type->field_count != b->row_type->field_count) return false;
    for (uint32_t i = 0; i < a->row_type->field_count; i++) {
        const TypeField *x = &a->row_type->fields[i], *y = &b->row_type->fields[i];
        if (!str_eq(x->name, y->name)) return false;
        if (!plan_type(NULL, a->name, x->name, x->type, y->type)) return false;
    }
    return true;
}

static bool same_view(const ViewDef *a, const ViewDef *b) {
    return a->is_anonymous == b->is_anonymous && a->primary_key == b->primary_key &&
           type_eq(a->params, b->params) && same_columns(a, b);
}

static void plan_view_step(Planner *p, MigrateKind kind, const ViewDef *view) {
    plan_step(p, (MigrateStep){.kind = kind, .name = view->name});
}

static void plan_views(Planner *p, const ModuleDef *old_def, const ModuleDef *new_def) {
    for (uint32_t i = 0; i < old_def->view_count; i++) {
        const ViewDef *old_view = &old_def->views[i];
        const ViewDef *new_view = view_by_name(new_def, old_view->name);
        if (new_view && old_view->is_public != new_view->is_public)
            plan_view_step(p, MIGRATE_CHANGE_ACCESS, new_view);
        if (new_view && same_view(old_view, new_view)) {
            plan_view_step(p, MIGRATE_UPDATE_VIEW, new_view);
            continue;
        }
        plan_view_step(p, MIGRATE_REMOVE_VIEW, old_view);
        if (new_view) plan_view_step(p, MIGRATE_ADD_VIEW, new_view);
        plan_disconnect(p);
    }
    for (uint32_t i = 0; i < new_def->view_count; i++) {
        if (!view_by_name(old_def, new_def->views[i].name))
            plan_view_step(p, MIGRATE_ADD_VIEW, &new_def->views[i]);
    }
}

// ── row-level security ─────────────────────────────────────────────────────────────────────────

static bool has_rule(const ModuleDef *def, Str sql) {
    for (uint32_t i = 0; i < def->row_level_security_count; i++) {
        if (str_eq(def->row_level_security[i], sql)) return true;
    }
    return false;
}

// Every old rule goes and every new one comes, because a rule's text may mean another table now.
static void plan_rules(Planner *p, const ModuleDef *old_def, const ModuleDef *new_def) {
    for (uint32_t i = 0; i < old_def->row_level_security_count; i++) {
        Str sql = old_def->row_level_security[i];
        plan_step(p, (MigrateStep){.kind = MIGRATE_REMOVE_RLS, .name = sql});
        if (!has_rule(new_def, sql)) plan_disconnect(p);
    }
    for (uint32_t i = 0; i < new_def->row_level_security_count; i++) {
        Str sql = new_def->row_level_security[i];
        plan_step(p, (MigrateStep){.kind = MIGRATE_ADD_RLS, .name = sql});
        if (!has_rule(old_def, sql)) plan_disconnect(p);
    }
}

// ── the plan ───────────────────────────────────────────────────────────────────────────────────

static bool is_rule(const MigrateStep *step) {
    return step->kind == MIGRATE_ADD_RLS || step->kind == MIGRATE_REMOVE_RLS;
}

// "a.b" of "a.b.name". The names themselves hold no dots.
static Bytes namespace_of(const MigrateStep *step, Str name) {
    size_t len = is_rule(step) ? 0 : name.len;
    while (len > 0 && name.ptr[len - 1] != '.')
        len--;
    return BYTES(name.ptr, len);
}

// By kind, then by namespace, then by name.
static int step_order(const void *a, const void *b) {
    const MigrateStep *x = a, *y = b;
    if (x->kind != y->kind) return x->kind < y->kind ? -1 : 1;
    Str x_name = x->name.len ? x->name : x->table;
    Str y_name = y->name.len ? y->name : y->table;
    int order = bytes_cmp(namespace_of(x, x_name), namespace_of(y, y_name));
    if (order == 0) order = bytes_cmp(str_bytes(x_name), str_bytes(y_name));
    if (order != 0) return order;
    return x->column < y->column ? -1 : x->column > y->column;
}

static Err finish(Planner *p, Diag *diag) {
    MigratePlan *plan = p->plan;
    if (p->nomem || !buf_ok(&p->errors)) return diag_fail(diag, ERR_NOMEM, "out of memory");
    if (plan->step_count) qsort(plan->steps, plan->step_count, sizeof *plan->steps, step_order);
    if (p->error_count == 0) return OK;
    return diag_fail(diag,
                     ERR_INVALID,
                     "Errors occurred:\n" STR_FMT,
                     STR_ARG(bytes_str(buf_bytes(&p->errors))));
}

Err migrate_plan(const ModuleDef *old_def,
                 const ModuleDef *new_def,
                 MigratePlan **out,
                 Diag *diag) {
    *out = MEM_NEW(MigratePlan);
    if (!*out) return diag_fail(diag, ERR_NOMEM, "out of memory");
    Planner p = {.plan = *out};
    p.plan->major_version_upgrade = old_def->version < 10 && new_def->version >= 10;
    plan_tables(&p, old_def, new_def);
    plan_views(&p, old_def, new_def);
    plan_rules(&p, old_def, new_def);
    Err err = finish(&p, diag);
    buf_deinit(&p.errors);
    if (err == ERR_NOMEM) migrate_plan_free(out);
    return err;
}

void migrate_plan_free(MigratePlan **plan) {
    if (!*plan) return;
    arena_deinit(&(*plan)->arena);
    mem_free(*plan);
    *plan = NULL;
}
