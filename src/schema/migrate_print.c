// migrate_print.c: a plan as a person reads it: before publishing (http-api-and-auth §8.10) and in
// the module's log (module-abi §6.4).
#include "sats/json.h"
#include "schema/planner.h"

// ── colours ────────────────────────────────────────────────────────────────────────────────────

typedef enum Paint {
    PAINT_TITLE,
    PAINT_CREATED,
    PAINT_REMOVED,
    PAINT_CHANGED,
    PAINT_WARNING
} Paint;

typedef struct Printer {
    Buf *out;
    bool colour;
} Printer;

static const char *paint_code(Paint paint) {
    switch (paint) {
    case PAINT_TITLE: return "\x1b[1;36m";
    case PAINT_CREATED: return "\x1b[32m";
    case PAINT_REMOVED: return "\x1b[31m";
    case PAINT_CHANGED: return "\x1b[33m";
    case PAINT_WARNING: return "\x1b[1;31m";
    }
    UNREACHABLE();
}

static void put_painted(Printer *p, Paint paint, const char *text) {
    if (p->colour) buf_put_str(p->out, str_from(paint_code(paint)));
    buf_put_str(p->out, str_from(text));
    if (p->colour) buf_put_str(p->out, STR("\x1b[0m"));
}

static void put_bullet(Printer *p, Paint paint, const char *verb) {
    buf_put_str(p->out, STR("▸ "));
    put_painted(p, paint, verb);
}

// ── pieces ─────────────────────────────────────────────────────────────────────────────────────

static Str column_name(const TableDef *table, uint32_t column) {
    return table->columns[column].name;
}

static void put_columns(Buf *out, const TableDef *table, const uint16_t *columns, uint32_t count) {
    buf_put_u8(out, '[');
    for (uint32_t i = 0; i < count; i++) {
        if (i) buf_put_str(out, STR(", "));
        buf_put_str(out, column_name(table, columns[i]));
    }
    buf_put_u8(out, ']');
}

static const IndexDef *find_index(const TableDef *table, Str name) {
    for (uint32_t i = 0; i < table->index_count; i++) {
        if (str_eq(table->indexes[i].name, name)) return &table->indexes[i];
    }
    UNREACHABLE();  // the step was made from it
}

static const ConstraintDef *find_constraint(const TableDef *table, Str name) {
    for (uint32_t i = 0; i < table->constraint_count; i++) {
        if (str_eq(table->constraints[i].name, name)) return &table->constraints[i];
    }
    UNREACHABLE();
}

static const SequenceDef *find_sequence(const TableDef *table, Str name) {
    for (uint32_t i = 0; i < table->sequence_count; i++) {
        if (str_eq(table->sequences[i].name, name)) return &table->sequences[i];
    }
    UNREACHABLE();
}

// ── a new table with all its parts ─────────────────────────────────────────────────────────────

static void put_table_columns(Buf *out, const TableDef *table) {
    buf_put_str(out, STR("    Columns:\n"));
    for (uint32_t i = 0; i < table->column_count; i++) {
        buf_printf(out, "        • " STR_FMT ": ", STR_ARG(table->columns[i].name));
        type_print(out, table->columns[i].type);
        buf_put_u8(out, '\n');
    }
}

static void put_table_keys(Buf *out, const TableDef *table) {
    if (table->constraint_count) buf_put_str(out, STR("    Unique constraints:\n"));
    for (uint32_t i = 0; i < table->constraint_count; i++) {
        const ConstraintDef *constraint = &table->constraints[i];
        buf_printf(out, "        • " STR_FMT " on ", STR_ARG(constraint->name));
        put_columns(out, table, constraint->columns, constraint->column_count);
        buf_put_u8(out, '\n');
    }
    if (table->index_count) buf_put_str(out, STR("    Indexes:\n"));
    for (uint32_t i = 0; i < table->index_count; i++) {
        const IndexDef *index = &table->indexes[i];
        buf_printf(out, "        • " STR_FMT " on ", STR_ARG(index->name));
        put_columns(out, table, index->columns, index->column_count);
        buf_put_u8(out, '\n');
    }
}

static void put_table_rest(Buf *out, const TableDef *table) {
    if (table->sequence_count) buf_put_str(out, STR("    Auto-increment constraints:\n"));
    for (uint32_t i = 0; i < table->sequence_count; i++) {
        buf_printf(out,
                   "        • " STR_FMT " on " STR_FMT "\n",
                   STR_ARG(table->sequences[i].name),
                   STR_ARG(column_name(table, table->sequences[i].column)));
    }
    if (!table->schedule) return;
    buf_printf(out,
               "    Schedule:\n        • Calls %s: " STR_FMT "\n",
               table->schedule->is_procedure ? "procedure" : "reducer",
               STR_ARG(table->schedule->function));
}

static void print_new_table(Printer *p, const TableDef *table) {
    put_bullet(p, PAINT_CREATED, "Created");
    buf_printf(p->out,
               " user table: " STR_FMT " (%s)\n",
               STR_ARG(table->name),
               table->is_public ? "public" : "private");
    put_table_columns(p->out, table);
    put_table_keys(p->out, table);
    put_table_rest(p->out, table);
    buf_put_u8(p->out, '\n');
}

// ── changes ────────────────────────────────────────────────────────────────────────────────────

static void print_index(Printer *p, const MigrateStep *step, bool created) {
    const TableDef *table = created ? step->new_table : step->old_table;
    const IndexDef *index = find_index(table, step->name);
    put_bullet(p, created ? PAINT_CREATED : PAINT_REMOVED, created ? "Created" : "Removed");
    buf_printf(p->out, " index " STR_FMT " on ", STR_ARG(step->name));
    put_columns(p->out, table, index->columns, index->column_count);
    buf_printf(p->out, " of table " STR_FMT "\n", STR_ARG(step->table));
}

static void print_constraint(Printer *p, const MigrateStep *step, bool created) {
    const TableDef *table = created ? step->new_table : step->old_table;
    const ConstraintDef *constraint = find_constraint(table, step->name);
    put_bullet(p, created ? PAINT_CREATED : PAINT_REMOVED, created ? "Created" : "Removed");
    buf_printf(p->out, " unique constraint " STR_FMT " on ", STR_ARG(step->name));
    put_columns(p->out, table, constraint->columns, constraint->column_count);
    buf_printf(p->out, " of table " STR_FMT "\n", STR_ARG(step->table));
}

static void print_sequence(Printer *p, const MigrateStep *step, bool created) {
    const TableDef *table = created ? step->new_table : step->old_table;
    const SequenceDef *sequence = find_sequence(table, step->name);
    put_bullet(p, created ? PAINT_CREATED : PAINT_REMOVED, created ? "Created" : "Removed");
    buf_printf(p->out,
               " auto-increment constraint " STR_FMT " on column " STR_FMT " of table " STR_FMT
               "\n",
               STR_ARG(step->name),
               STR_ARG(column_name(table, sequence->column)),
               STR_ARG(step->table));
}

static void print_named(Printer *p, Paint paint, const char *verb, const char *what, Str name) {
    put_bullet(p, paint, verb);
    buf_printf(p->out, " %s" STR_FMT "\n", what, STR_ARG(name));
}

static void print_rule(Printer *p, const MigrateStep *step, bool created) {
    put_bullet(p, created ? PAINT_CREATED : PAINT_REMOVED, created ? "Created" : "Removed");
    buf_printf(p->out, " row level security policy:\n    `" STR_FMT "`\n", STR_ARG(step->name));
}

static void print_access(Printer *p, const MigrateStep *step) {
    put_bullet(p, PAINT_CHANGED, "Changed");
    if (!step->new_table) {
        buf_printf(p->out, " access for view " STR_FMT "\n", STR_ARG(step->name));
        return;
    }
    bool is_public = step->new_table->is_public;
    buf_printf(p->out,
               " access for table " STR_FMT " (%s → %s)\n",
               STR_ARG(step->table),
               is_public ? "private" : "public",
               is_public ? "public" : "private");
}

static void print_primary_key(Printer *p, const MigrateStep *step) {
    int32_t before = step->old_table->primary_key, after = step->new_table->primary_key;
    put_bullet(p, PAINT_CHANGED, "Changed");
    buf_printf(p->out, " primary key on table " STR_FMT " (", STR_ARG(step->table));
    if (after < 0)
        buf_put_str(p->out, STR("removed"));
    else
        buf_printf(p->out,
                   "%s column " STR_FMT,
                   before < 0 ? "added on" : "changed to",
                   STR_ARG(column_name(step->new_table, (uint32_t)after)));
    buf_put_str(p->out, STR(")\n"));
}

static void print_changed_columns(Printer *p, const MigrateStep *step) {
    put_bullet(p, PAINT_CHANGED, "Changed");
    buf_printf(p->out, " columns for table " STR_FMT "\n", STR_ARG(step->table));
    for (uint32_t i = 0; i < step->old_table->column_count; i++) {
        const ColumnDef *from = &step->old_table->columns[i], *to = &step->new_table->columns[i];
        if (type_eq(from->type, to->type)) continue;
        buf_printf(p->out, "    ~ Modified: " STR_FMT " (", STR_ARG(to->name));
        type_print(p->out, from->type);
        buf_put_str(p->out, STR(" → "));
        type_print(p->out, to->type);
        buf_put_str(p->out, STR(")\n"));
    }
}

static void print_added_columns(Printer *p, const MigrateStep *step) {
    put_bullet(p, PAINT_CREATED, "Created");
    buf_printf(p->out, " column in table " STR_FMT "\n", STR_ARG(step->table));
    for (uint32_t i = step->old_table->column_count; i < step->new_table->column_count; i++) {
        const ColumnDef *column = &step->new_table->columns[i];
        buf_printf(p->out, "    + " STR_FMT ": ", STR_ARG(column->name));
        type_print(p->out, column->type);
        if (column->has_default) {
            buf_put_str(p->out, STR(" (default: "));
            json_write(p->out, column->type, column->default_value.ptr, JSON_TYPED);
            buf_put_u8(p->out, ')');
        }
        buf_put_u8(p->out, '\n');
    }
}

static void print_step(Printer *p, const MigrateStep *step) {
    switch (step->kind) {
    case MIGRATE_REMOVE_INDEX: print_index(p, step, false); return;
    case MIGRATE_REMOVE_CONSTRAINT: print_constraint(p, step, false); return;
    case MIGRATE_REMOVE_SEQUENCE: print_sequence(p, step, false); return;
    case MIGRATE_REMOVE_SCHEDULE:
        print_named(p, PAINT_REMOVED, "Removed", "schedule for table ", step->table);
        return;
    case MIGRATE_REMOVE_VIEW:
        print_named(p, PAINT_REMOVED, "▸ Removed", "view: ", step->name);
        return;
    case MIGRATE_REMOVE_RLS: print_rule(p, step, false); return;
    case MIGRATE_REMOVE_TABLE:
        print_named(p, PAINT_REMOVED, "Removed", "table: ", step->table);
        return;
    case MIGRATE_CHANGE_COLUMNS: print_changed_columns(p, step); return;
    case MIGRATE_RESCHEMA_EVENT_TABLE:
        print_named(p, PAINT_CHANGED, "Changed", "schema of event table ", step->table);
        return;
    case MIGRATE_ADD_COLUMNS: print_added_columns(p, step); return;
    case MIGRATE_CHANGE_INDEX_SOURCE_NAME:
        print_named(p, PAINT_CHANGED, "Changed", "source name for index ", step->name);
        return;
    case MIGRATE_CHANGE_TABLE_ACCESSOR:
        print_named(p, PAINT_CHANGED, "Changed", "table accessor name for ", step->table);
        return;
    case MIGRATE_CHANGE_COLUMN_ACCESSOR:
        put_bullet(p, PAINT_CHANGED, "Changed");
        buf_printf(p->out,
                   " column accessor name for " STR_FMT "." STR_FMT "\n",
                   STR_ARG(step->table),
                   STR_ARG(column_name(step->new_table, step->column)));
        return;
    case MIGRATE_ADD_TABLE: print_new_table(p, step->new_table); return;
    case MIGRATE_ADD_INDEX: print_index(p, step, true); return;
    case MIGRATE_ADD_CONSTRAINT: print_constraint(p, step, true); return;
    case MIGRATE_ADD_SEQUENCE: print_sequence(p, step, true); return;
    case MIGRATE_ADD_SCHEDULE:
        print_named(p, PAINT_CREATED, "Created", "schedule for table ", step->table);
        return;
    case MIGRATE_ADD_VIEW: print_named(p, PAINT_CREATED, "▸ Created", "view: ", step->name); return;
    case MIGRATE_ADD_RLS: print_rule(p, step, true); return;
    case MIGRATE_CHANGE_ACCESS: print_access(p, step); return;
    case MIGRATE_CHANGE_PRIMARY_KEY: print_primary_key(p, step); return;
    case MIGRATE_UPDATE_VIEW: return;  // nothing a person would want to know
    case MIGRATE_DISCONNECT_ALL:
        put_painted(
            p,
            PAINT_WARNING,
            "!!! Warning: All clients will be disconnected due to breaking schema changes\n");
        return;
    }
    UNREACHABLE();
}

static void print_rule_line(Buf *out) {
    for (int i = 0; i < 60; i++)
        buf_put_str(out, STR("━"));
    buf_put_u8(out, '\n');
}

void migrate_plan_print(const MigratePlan *plan, bool colour, Buf *out) {
    Printer p = {.out = out, .colour = colour};
    print_rule_line(out);
    put_painted(&p, PAINT_TITLE, "Database Migration Plan");
    buf_put_u8(out, '\n');
    print_rule_line(out);
    buf_put_u8(out, '\n');
    for (uint32_t i = 0; i < plan->step_count; i++)
        print_step(&p, &plan->steps[i]);
}

// ── the module's log ───────────────────────────────────────────────────────────────────────────

static void put_on_table(Buf *out,
                         const char *what,
                         const MigrateStep *step,
                         const char *preposition) {
    buf_printf(out,
               "%s `" STR_FMT "` %s table `" STR_FMT "`",
               what,
               STR_ARG(step->name),
               preposition,
               STR_ARG(step->table));
}

static void put_table(Buf *out, const char *what, const MigrateStep *step) {
    buf_printf(out, "%s `" STR_FMT "`", what, STR_ARG(step->table));
}

void migrate_step_log_line(const MigrateStep *step, Buf *out) {
    switch (step->kind) {
    case MIGRATE_REMOVE_INDEX: put_on_table(out, "Dropping index", step, "on"); return;
    case MIGRATE_REMOVE_CONSTRAINT: put_on_table(out, "Dropping constraint", step, "on"); return;
    case MIGRATE_REMOVE_SEQUENCE: put_on_table(out, "Dropping sequence", step, "from"); return;
    case MIGRATE_REMOVE_RLS:
        buf_printf(out, "Removing row-level security `" STR_FMT "`", STR_ARG(step->name));
        return;
    case MIGRATE_REMOVE_TABLE: put_table(out, "Dropping table", step); return;
    case MIGRATE_CHANGE_COLUMNS: put_table(out, "Changing columns of table", step); return;
    case MIGRATE_RESCHEMA_EVENT_TABLE:
        put_table(out, "Changing schema of event table", step);
        return;
    case MIGRATE_CHANGE_INDEX_SOURCE_NAME:
        put_on_table(out, "Changing index source name for", step, "on");
        buf_printf(out,
                   " from `" STR_FMT "` to `" STR_FMT "`",
                   STR_ARG(find_index(step->old_table, step->name)->source),
                   STR_ARG(find_index(step->new_table, step->name)->source));
        return;
    case MIGRATE_CHANGE_TABLE_ACCESSOR:
        put_table(out, "Changing table accessor name for", step);
        buf_printf(out, " to `" STR_FMT "`", STR_ARG(step->new_table->source));
        return;
    case MIGRATE_CHANGE_COLUMN_ACCESSOR:
        put_table(out, "Changing column accessor name for", step);
        buf_printf(out,
                   ".`" STR_FMT "` to `" STR_FMT "`",
                   STR_ARG(column_name(step->new_table, step->column)),
                   STR_ARG(step->new_table->columns[step->column].source));
        return;
    case MIGRATE_ADD_TABLE: put_table(out, "Creating table", step); return;
    case MIGRATE_ADD_INDEX: put_on_table(out, "Creating index", step, "on"); return;
    case MIGRATE_ADD_CONSTRAINT: put_on_table(out, "Adding constraint", step, "on"); return;
    case MIGRATE_ADD_SEQUENCE: put_on_table(out, "Adding sequence", step, "to"); return;
    case MIGRATE_ADD_RLS:
        buf_printf(out, "Adding row-level security `" STR_FMT "`", STR_ARG(step->name));
        return;
    case MIGRATE_CHANGE_PRIMARY_KEY: put_table(out, "Changing primary key for table", step); return;
    case MIGRATE_DISCONNECT_ALL: buf_put_str(out, STR("Disconnecting all users")); return;
    case MIGRATE_REMOVE_SCHEDULE:
    case MIGRATE_REMOVE_VIEW:
    case MIGRATE_ADD_COLUMNS:
    case MIGRATE_ADD_SCHEDULE:
    case MIGRATE_ADD_VIEW:
    case MIGRATE_CHANGE_ACCESS:
    case MIGRATE_UPDATE_VIEW: return;  // the original writes nothing for these
    }
    UNREACHABLE();
}
