// catalog_migrate.c: carrying out a plan (module-abi §6.1 step 4, §6.2, §6.4).
//
// PICTURE
//   check    what only the data can tell: is a removed table empty, are there duplicates, …
//   describe each step changes rows of the system tables, in the plan's order
//   rewrite  tables whose rows change shape get a new id; their rows are copied (catalog_rewrite.c)
//   sync     store and memory follow
//
// Everything is inside the caller's transaction: after an error it rolls back, and nothing happened.
#include "txn/catalog_rewrite.h"

typedef struct Migration {
    Catalog *catalog;
    const MigratePlan *plan;
    const ModuleDef *new_def;
    CatalogLog log;
    Diag *diag;
    RewriteList rewrites;
} Migration;

static CatalogTable *stored_table(const Migration *m, Str name) {
    CatalogTable *table = catalog_table_by_name(m->catalog, name);
    return table && str_eq(table->name, name) ? table : NULL;
}

static Err not_there(const Migration *m, const char *what, Str name) {
    return diag_fail(m->diag,
                     ERR_INVALID,
                     "the database has no %s `" STR_FMT "`: it is not what the old module declared",
                     what,
                     STR_ARG(name));
}

// ── before anything is changed ─────────────────────────────────────────────────────────────────

static Err check_step(Migration *m, const MigrateStep *step) {
    if (!step->old_table) return OK;
    const CatalogTable *table = stored_table(m, step->table);
    if (!table) return not_there(m, "table", step->table);
    switch (step->kind) {
    case MIGRATE_REMOVE_TABLE:
        if (table_row_count(table->table, NULL) == 0) return OK;
        return diag_fail(
            m->diag,
            ERR_INVALID,
            "Cannot remove table `" STR_FMT
            "`: table contains data. Clear the table's rows (e.g. via a reducer) before "
            "removing it from your schema.",
            STR_ARG(step->table));
    case MIGRATE_ADD_SEQUENCE:
        return precheck_sequence(table, step->new_table, step->name, m->diag);
    case MIGRATE_ADD_CONSTRAINT:
        return precheck_unique(table, step->new_table, step->name, m->diag);
    case MIGRATE_ADD_SCHEDULE:
        return diag_fail(m->diag, ERR_INVALID, "Adding schedules is not yet implemented");
    case MIGRATE_REMOVE_SCHEDULE:
        return diag_fail(m->diag, ERR_INVALID, "Removing schedules is not yet implemented");
    default: return OK;  // needs nothing but the rows it changes
    }
}

static Err check_all(Migration *m) {
    Err err = OK;
    for (uint32_t i = 0; err == OK && i < m->plan->step_count; i++)
        err = check_step(m, &m->plan->steps[i]);
    return err;
}

// ── steps that change descriptions ─────────────────────────────────────────────────────────────

static Err replace_table_row(Migration *m, const CatalogTable *table, bool is_public, int32_t key) {
    st_table_write(&m->catalog->row,
                   &(StTable){.table_id = table->table_id,
                              .name = table->name,
                              .is_public = is_public,
                              .primary_key = key});
    return catalog_replace_row(m->catalog, ST_TABLE, ST_TABLE_BY_ID, m->diag);
}

// Access and primary key are one row and change one after the other: read what is there now.
static Err change_table_row(Migration *m, const MigrateStep *step) {
    const CatalogTable *table = stored_table(m, step->table);
    Bytes row;
    Err err = catalog_find_by_id(m->catalog, ST_TABLE, ST_TABLE_BY_ID, table->table_id, &row);
    if (err != OK) return not_there(m, "table", step->table);
    StTable now = st_table_read(row);
    if (step->kind == MIGRATE_CHANGE_ACCESS)
        return replace_table_row(m, table, step->new_table->is_public, now.primary_key);
    return replace_table_row(m, table, now.is_public, step->new_table->primary_key);
}

static Err change_columns(Migration *m, const MigrateStep *step) {
    uint32_t table_id = stored_table(m, step->table)->table_id;
    Err err = catalog_erase_columns(m->catalog, table_id, m->diag);
    return err == OK ? catalog_write_columns(m->catalog, table_id, step->new_table, m->diag) : err;
}

static Err change_table_accessor(Migration *m, const MigrateStep *step) {
    st_accessor_write(&m->catalog->row, step->table, step->new_table->source);
    return catalog_put_row(m->catalog, ST_TABLE_ACCESSOR, m->diag);
}

// All columns at once: two that swap their accessors would be in each other's way.
static Err change_column_accessors(Migration *m, const MigrateStep *step) {
    Err err = catalog_erase_column_accessors(m->catalog, step->table, m->diag);
    return err == OK ? catalog_write_column_accessors(m->catalog, step->new_table, m->diag) : err;
}

static const IndexDef *index_def(const TableDef *table, Str name) {
    for (uint32_t i = 0; i < table->index_count; i++) {
        if (str_eq(table->indexes[i].name, name)) return &table->indexes[i];
    }
    UNREACHABLE();  // the plan was made from this definition
}

static const ConstraintDef *constraint_def(const TableDef *table, Str name) {
    for (uint32_t i = 0; i < table->constraint_count; i++) {
        if (str_eq(table->constraints[i].name, name)) return &table->constraints[i];
    }
    UNREACHABLE();
}

static const SequenceDef *sequence_def(const TableDef *table, Str name) {
    for (uint32_t i = 0; i < table->sequence_count; i++) {
        if (str_eq(table->sequences[i].name, name)) return &table->sequences[i];
    }
    UNREACHABLE();
}

static Err change_index_source(Migration *m, const MigrateStep *step) {
    const IndexDef *index = index_def(step->new_table, step->name);
    st_accessor_write(&m->catalog->row, index->name, index->source);
    return catalog_put_row(m->catalog, ST_INDEX_ACCESSOR, m->diag);
}

static const ViewDef *view_def(const Migration *m, Str name) {
    for (uint32_t i = 0; i < m->new_def->view_count; i++) {
        if (str_eq(m->new_def->views[i].name, name)) return &m->new_def->views[i];
    }
    UNREACHABLE();
}

// Steps that are about a table which is rewritten anyway: the new table has it all.
static bool is_covered(const Migration *m, const MigrateStep *step) {
    return step->old_table && step->new_table && rewrite_of(&m->rewrites, step->table) != NULL;
}

static Err table_step(Migration *m, const MigrateStep *step) {
    Catalog *catalog = m->catalog;
    const TableDef *to = step->new_table;
    const CatalogTable *table = stored_table(m, step->table);
    uint32_t id = table ? table->table_id : 0;
    switch (step->kind) {
    case MIGRATE_REMOVE_INDEX: return catalog_erase_index(catalog, step->name, m->diag);
    case MIGRATE_REMOVE_CONSTRAINT: return catalog_erase_constraint(catalog, step->name, m->diag);
    case MIGRATE_REMOVE_SEQUENCE: return catalog_erase_sequence(catalog, step->name, m->diag);
    case MIGRATE_REMOVE_TABLE: return catalog_erase_table(catalog, table, m->diag);
    case MIGRATE_CHANGE_COLUMNS: return change_columns(m, step);
    case MIGRATE_CHANGE_INDEX_SOURCE_NAME: return change_index_source(m, step);
    case MIGRATE_CHANGE_TABLE_ACCESSOR: return change_table_accessor(m, step);
    case MIGRATE_CHANGE_COLUMN_ACCESSOR: return change_column_accessors(m, step);
    case MIGRATE_ADD_TABLE: return catalog_write_table(catalog, to, NULL, &id, m->diag);
    case MIGRATE_ADD_INDEX:
        return catalog_write_index(catalog, id, index_def(to, step->name), m->diag);
    case MIGRATE_ADD_CONSTRAINT:
        return catalog_write_constraint(catalog, id, constraint_def(to, step->name), m->diag);
    case MIGRATE_ADD_SEQUENCE:
        return catalog_write_sequence(catalog, id, sequence_def(to, step->name), NULL, m->diag);
    case MIGRATE_CHANGE_ACCESS:
    case MIGRATE_CHANGE_PRIMARY_KEY: return change_table_row(m, step);
    default: UNREACHABLE();  // run_step has the others
    }
}

static Err run_step(Migration *m, const MigrateStep *step) {
    if (is_covered(m, step)) return OK;
    switch (step->kind) {
    case MIGRATE_REMOVE_VIEW: return catalog_erase_view(m->catalog, step->name, m->diag);
    case MIGRATE_REMOVE_RLS:
        return catalog_erase_row_level_security(m->catalog, step->name, m->diag);
    case MIGRATE_ADD_VIEW:
        return catalog_write_view(m->catalog, m->new_def, view_def(m, step->name), m->diag);
    case MIGRATE_UPDATE_VIEW:
        return catalog_update_view(m->catalog, m->new_def, view_def(m, step->name), m->diag);
    case MIGRATE_CHANGE_ACCESS:
        // A view's is written with everything else about it, by MIGRATE_UPDATE_VIEW.
        return step->new_table ? table_step(m, step) : OK;
    case MIGRATE_ADD_RLS:      // after sync: they refer to tables that exist only then
    case MIGRATE_ADD_COLUMNS:  // rewritten
    case MIGRATE_RESCHEMA_EVENT_TABLE:
    case MIGRATE_DISCONNECT_ALL:  // the caller's
    case MIGRATE_ADD_SCHEDULE:    // refused by the checks
    case MIGRATE_REMOVE_SCHEDULE: return OK;
    default: return table_step(m, step);
    }
}

static Err run_rules(Migration *m) {
    Err err = OK;
    for (uint32_t i = 0; err == OK && i < m->plan->step_count; i++) {
        if (m->plan->steps[i].kind == MIGRATE_ADD_RLS)
            err = catalog_write_row_level_security(m->catalog, m->plan->steps[i].name, m->diag);
    }
    return err;
}

// ── the whole ──────────────────────────────────────────────────────────────────────────────────

static void log_step(Migration *m, const MigrateStep *step) {
    Buf line = {0};
    migrate_step_log_line(step, &line);
    if (line.len > 0) catalog_log(&m->log, STR_FMT, STR_ARG(bytes_str(buf_bytes(&line))));
    buf_deinit(&line);
}

// A table is rewritten when its rows change shape, or when the key that clusters them stops being
// unique: the tree could not hold two rows with the same key.
static Err find_rewrites(Migration *m) {
    Err err = OK;
    for (uint32_t i = 0; err == OK && i < m->plan->step_count; i++) {
        const MigrateStep *step = &m->plan->steps[i];
        if (!step->old_table || !step->new_table) continue;
        CatalogTable *table = stored_table(m, step->table);
        bool wanted = step->kind == MIGRATE_ADD_COLUMNS ||
                      step->kind == MIGRATE_RESCHEMA_EVENT_TABLE ||
                      loses_clustering_key(table, step->new_table);
        if (wanted) err = rewrite_add(&m->rewrites, table, step->new_table, m->diag);
    }
    return err;
}

// Aliases are unique, and tables may swap theirs: those that change are gone before any is written.
static Err erase_aliases(Migration *m) {
    Err err = OK;
    for (uint32_t i = 0; err == OK && i < m->plan->step_count; i++) {
        const MigrateStep *step = &m->plan->steps[i];
        if (is_covered(m, step)) continue;
        if (step->kind == MIGRATE_CHANGE_TABLE_ACCESSOR)
            err = catalog_erase_alias(m->catalog, ST_TABLE_ACCESSOR, step->table, m->diag);
        if (step->kind == MIGRATE_CHANGE_INDEX_SOURCE_NAME)
            err = catalog_erase_alias(m->catalog, ST_INDEX_ACCESSOR, step->name, m->diag);
    }
    return err;
}

static Err run_steps(Migration *m, MigrateKind first, MigrateKind last) {
    Err err = OK;
    for (uint32_t i = 0; err == OK && i < m->plan->step_count; i++) {
        const MigrateStep *step = &m->plan->steps[i];
        if (step->kind < first || step->kind > last) continue;
        log_step(m, step);
        err = run_step(m, step);
    }
    return err;
}

static Err migrate(Migration *m, const CatalogModule *module) {
    Err err = OK;
    if ((err = check_all(m)) != OK) return err;
    if ((err = find_rewrites(m)) != OK) return err;
    if ((err = erase_aliases(m)) != OK) return err;
    if ((err = run_steps(m, MIGRATE_REMOVE_INDEX, MIGRATE_REMOVE_TABLE)) != OK) return err;
    if ((err = rewrite_describe(m->catalog, &m->rewrites, m->diag)) != OK) return err;
    if ((err = run_steps(m, MIGRATE_CHANGE_COLUMNS, MIGRATE_DISCONNECT_ALL)) != OK) return err;
    if ((err = catalog_write_module(m->catalog, module, m->diag)) != OK) return err;
    if ((err = catalog_sync_keeping(m->catalog, m->diag)) != OK) return err;
    if ((err = rewrite_copy(m->catalog, &m->rewrites, m->diag)) != OK) return err;
    if ((err = catalog_sync(m->catalog, m->diag)) != OK) return err;
    return run_rules(m);
}

Err catalog_migrate(Catalog *catalog,
                    const MigratePlan *plan,
                    const ModuleDef *new_def,
                    const CatalogModule *module,
                    CatalogLogLine log_line,
                    void *ctx,
                    Diag *diag) {
    Migration m = {.catalog = catalog,
                   .plan = plan,
                   .new_def = new_def,
                   .log = {log_line, ctx},
                   .diag = diag};
    Err err = migrate(&m, module);
    rewrite_list_deinit(&m.rewrites);
    return err;
}
