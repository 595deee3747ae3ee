// planner.h: the state of one comparison of two definitions. Private to migrate*.c.
//
//   migrate.c        the plan: tables, views, rules; order of steps
//   migrate_table.c  what changed about one table
//   migrate_type.c   whether a column's type may become another one
//   migrate_print.c  the plan as a person reads it
#pragma once
#include "schema/migrate.h"

typedef struct Planner {
    MigratePlan *plan;
    uint32_t step_cap;
    Buf errors;
    uint32_t error_count;
    bool nomem;
} Planner;

void plan_step(Planner *p, MigrateStep step);
void plan_disconnect(Planner *p);  // once, however often it is asked for
void plan_refuse(Planner *p, const char *fmt, ...) PRINTF_LIKE(2, 3);

void plan_table(Planner *p, const TableDef *old_table, const TableDef *new_table);
// Whether values of `from` may stay as they are when the type becomes `to` (module-abi §6.3).
// Reports why not, unless `p` is NULL.
bool plan_type(Planner *p, Str table, Str column, const Type *from, const Type *to);
