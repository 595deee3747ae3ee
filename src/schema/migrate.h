// migrate.h: from one module definition to the next, or the reasons why not. Spec: module-abi §6.
#pragma once
#include "schema/def.h"

typedef enum MigrateKind {
    MIGRATE_REMOVE_INDEX,
    MIGRATE_REMOVE_CONSTRAINT,
    MIGRATE_REMOVE_SEQUENCE,
    MIGRATE_REMOVE_SCHEDULE,
    MIGRATE_REMOVE_VIEW,
    MIGRATE_REMOVE_RLS,
    MIGRATE_REMOVE_TABLE,
    MIGRATE_CHANGE_COLUMNS,
    MIGRATE_RESCHEMA_EVENT_TABLE,
    MIGRATE_ADD_COLUMNS,
    MIGRATE_CHANGE_INDEX_SOURCE_NAME,
    MIGRATE_CHANGE_TABLE_ACCESSOR,
    MIGRATE_CHANGE_COLUMN_ACCESSOR,
    MIGRATE_ADD_TABLE,
    MIGRATE_ADD_INDEX,
    MIGRATE_ADD_CONSTRAINT,
    MIGRATE_ADD_SEQUENCE,
    MIGRATE_ADD_SCHEDULE,
    MIGRATE_ADD_VIEW,
    MIGRATE_ADD_RLS,
    MIGRATE_CHANGE_ACCESS,
    MIGRATE_CHANGE_PRIMARY_KEY,
    MIGRATE_UPDATE_VIEW,
    MIGRATE_DISCONNECT_ALL,
} MigrateKind;  // in the order in which steps are carried out

typedef struct MigrateStep {
    MigrateKind kind;
    Str table;  // canonical name of the table concerned, or empty
    Str name;   // of the index, constraint, sequence, view …, or the RLS text
    uint32_t column;
    const TableDef *old_table;  // borrows from the old definition; NULL when there is none
    const TableDef *new_table;  // borrows from the new definition
} MigrateStep;

typedef struct MigratePlan {
    Arena arena;
    MigrateStep *steps;
    uint32_t step_count;
    bool breaks_clients;         // a MIGRATE_DISCONNECT_ALL is among them
    bool major_version_upgrade;  // V9 -> V10
} MigratePlan;

// Both definitions must outlive the plan. On refusal diag holds
// "Errors occurred:\n<reason>\n\n<reason>…" (§6.4) and plan->major_version_upgrade is still set.
MUST_USE Err migrate_plan(const ModuleDef *old_def,
                          const ModuleDef *new_def,
                          MigratePlan **out,
                          Diag *diag);
void migrate_plan_free(MigratePlan **plan);
// What publish shows before it asks (http §8.10). `colour` uses ANSI escapes.
void migrate_plan_print(const MigratePlan *plan, bool colour, Buf *out);
// The module log's line for a step, empty when the step has none (§6.4 last paragraph).
void migrate_step_log_line(const MigrateStep *step, Buf *out);
