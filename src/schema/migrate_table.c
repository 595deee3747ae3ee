// migrate_table.c: what changed about one table, and what that means (module-abi §6.2).
#include "schema/planner.h"

typedef struct TablePair {
    const TableDef *from, *to;
} TablePair;

static MigrateStep step_of(const TablePair *pair, MigrateKind kind, Str name) {
    return (MigrateStep){.kind = kind,
                         .table = pair->to->name,
                         .name = name,
                         .old_table = pair->from,
                         .new_table = pair->to};
}

static bool same_columns(const uint16_t *a, uint32_t a_count, const uint16_t *b, uint32_t b_count) {
    return a_count == b_count && memcmp(a, b, a_count * sizeof *a) == 0;
}

// ── columns ────────────────────────────────────────────────────────────────────────────────────

static int32_t column_by_name(const TableDef *table, Str name) {
    for (uint16_t i = 0; i < table->column_count; i++) {
        if (str_eq(table->columns[i].name, name)) return i;
    }
    return -1;
}

typedef struct ColumnChanges {
    bool type_changed, added, moved;
} ColumnChanges;

static void plan_old_columns(Planner *p, const TablePair *pair, ColumnChanges *changes) {
    int32_t expected = 0;  // where the next surviving column must stand
    for (uint16_t i = 0; i < pair->from->column_count; i++) {
        const ColumnDef *before = &pair->from->columns[i];
        int32_t at = column_by_name(pair->to, before->name);
        if (at < 0) {
            plan_refuse(p,
                        "Removing a column " STR_FMT " from table " STR_FMT
                        " requires a manual migration",
                        STR_ARG(before->name),
                        STR_ARG(pair->to->name));
            continue;
        }
        if (at != expected++) changes->moved = true;
        const ColumnDef *after = &pair->to->columns[at];
        bool may_change = plan_type(p, pair->to->name, after->name, before->type, after->type);
        if (may_change && !type_eq(before->type, after->type)) changes->type_changed = true;
        if (str_eq(before->source, after->source)) continue;
        MigrateStep step = step_of(pair, MIGRATE_CHANGE_COLUMN_ACCESSOR, STR_NONE);
        step.column = (uint32_t)at;
        plan_step(p, step);
    }
}

static void plan_new_columns(Planner *p, const TablePair *pair, ColumnChanges *changes) {
    for (uint16_t i = 0; i < pair->to->column_count; i++) {
        const ColumnDef *column = &pair->to->columns[i];
        if (column_by_name(pair->from, column->name) >= 0) continue;
        changes->added = true;
        if (column->has_default) continue;
        plan_refuse(p,
                    "Adding a column " STR_FMT " to table " STR_FMT
                    " requires a default value annotation",
                    STR_ARG(column->name),
                    STR_ARG(pair->to->name));
    }
}

static void plan_stored_columns(Planner *p, const TablePair *pair) {
    ColumnChanges changes = {0};
    plan_old_columns(p, pair, &changes);
    plan_new_columns(p, pair, &changes);
    if (changes.moved) {
        plan_refuse(p,
                    "Reordering table " STR_FMT " requires a manual migration",
                    STR_ARG(pair->to->name));
    }
    if (changes.added) {
        plan_step(p, step_of(pair, MIGRATE_ADD_COLUMNS, STR_NONE));
        plan_disconnect(p);  // rows have another shape from now on
    } else if (changes.type_changed) {
        plan_step(p, step_of(pair, MIGRATE_CHANGE_COLUMNS, STR_NONE));
    }
}

// An event table keeps no rows, so its columns may become anything.
static void plan_event_columns(Planner *p, const TablePair *pair) {
    if (!type_eq(pair->from->row_type, pair->to->row_type)) {
        plan_step(p, step_of(pair, MIGRATE_RESCHEMA_EVENT_TABLE, STR_NONE));
        plan_disconnect(p);
        return;
    }
    for (uint16_t i = 0; i < pair->to->column_count; i++) {
        if (str_eq(pair->from->columns[i].source, pair->to->columns[i].source)) continue;
        MigrateStep step = step_of(pair, MIGRATE_CHANGE_COLUMN_ACCESSOR, STR_NONE);
        step.column = i;
        plan_step(p, step);
    }
}

// ── indexes ────────────────────────────────────────────────────────────────────────────────────

static const IndexDef *index_by_name(const TableDef *table, Str name) {
    for (uint32_t i = 0; i < table->index_count; i++) {
        if (str_eq(table->indexes[i].name, name)) return &table->indexes[i];
    }
    return NULL;
}

// As the original prints an optional text: Some("x") or None.
static void option_text(Str text, char out[256]) {
    Buf buf = {0};
    if (text.ptr)
        buf_printf(&buf, "Some(\"" STR_FMT "\")", STR_ARG(text));
    else
        buf_put_str(&buf, STR("None"));
    size_t len = MIN(buf.len, (size_t)255);
    if (len) memcpy(out, buf.ptr, len);
    out[len] = 0;
    buf_deinit(&buf);
}

static bool same_accessor(Str a, Str b) {
    return (a.ptr == NULL) == (b.ptr == NULL) && str_eq(a, b);
}

static void plan_kept_index(Planner *p,
                            const TablePair *pair,
                            const IndexDef *from,
                            const IndexDef *to) {
    if (!same_accessor(from->accessor, to->accessor)) {
        char before[256], after[256];
        option_text(from->accessor, before);
        option_text(to->accessor, after);
        plan_refuse(p,
                    "Changing the accessor name on index " STR_FMT
                    " from %s to %s requires a manual migration",
                    STR_ARG(to->name),
                    before,
                    after);
    }
    if (from->algorithm != to->algorithm ||
        !same_columns(from->columns, from->column_count, to->columns, to->column_count)) {
        plan_step(p, step_of(pair, MIGRATE_REMOVE_INDEX, from->name));
        plan_step(p, step_of(pair, MIGRATE_ADD_INDEX, to->name));
    } else if (!str_eq(from->source, to->source)) {
        plan_step(p, step_of(pair, MIGRATE_CHANGE_INDEX_SOURCE_NAME, to->name));
    }
}

static void plan_indexes(Planner *p, const TablePair *pair) {
    for (uint32_t i = 0; i < pair->from->index_count; i++) {
        const IndexDef *from = &pair->from->indexes[i];
        const IndexDef *to = index_by_name(pair->to, from->name);
        if (to)
            plan_kept_index(p, pair, from, to);
        else
            plan_step(p, step_of(pair, MIGRATE_REMOVE_INDEX, from->name));
    }
    for (uint32_t i = 0; i < pair->to->index_count; i++) {
        Str name = pair->to->indexes[i].name;
        if (!index_by_name(pair->from, name)) plan_step(p, step_of(pair, MIGRATE_ADD_INDEX, name));
    }
}

// ── unique constraints ─────────────────────────────────────────────────────────────────────────

static const ConstraintDef *constraint_by_name(const TableDef *table, Str name) {
    for (uint32_t i = 0; i < table->constraint_count; i++) {
        if (str_eq(table->constraints[i].name, name)) return &table->constraints[i];
    }
    return NULL;
}

static void plan_constraints(Planner *p, const TablePair *pair) {
    for (uint32_t i = 0; i < pair->from->constraint_count; i++) {
        const ConstraintDef *from = &pair->from->constraints[i];
        const ConstraintDef *to = constraint_by_name(pair->to, from->name);
        if (!to) {
            plan_step(p, step_of(pair, MIGRATE_REMOVE_CONSTRAINT, from->name));
        } else if (!same_columns(from->columns,
                                 from->column_count,
                                 to->columns,
                                 to->column_count)) {
            plan_refuse(p,
                        "Changing a unique constraint " STR_FMT " requires a manual migration",
                        STR_ARG(from->name));
        }
    }
    for (uint32_t i = 0; i < pair->to->constraint_count; i++) {
        Str name = pair->to->constraints[i].name;
        if (!constraint_by_name(pair->from, name))
            plan_step(p, step_of(pair, MIGRATE_ADD_CONSTRAINT, name));
    }
}

// ── sequences ──────────────────────────────────────────────────────────────────────────────────

static const SequenceDef *sequence_by_name(const TableDef *table, Str name) {
    for (uint32_t i = 0; i < table->sequence_count; i++) {
        if (str_eq(table->sequences[i].name, name)) return &table->sequences[i];
    }
    return NULL;
}

static bool same_bound(bool has_a, const Int128 *a, bool has_b, const Int128 *b) {
    return has_a == has_b && (!has_a || memcmp(a, b, sizeof *a) == 0);
}

static bool same_sequence(const SequenceDef *a, const SequenceDef *b) {
    return a->column == b->column && same_bound(true, &a->increment, true, &b->increment) &&
           same_bound(a->has_start, &a->start, b->has_start, &b->start) &&
           same_bound(a->has_min, &a->min, b->has_min, &b->min) &&
           same_bound(a->has_max, &a->max, b->has_max, &b->max);
}

static void plan_sequences(Planner *p, const TablePair *pair) {
    for (uint32_t i = 0; i < pair->from->sequence_count; i++) {
        const SequenceDef *from = &pair->from->sequences[i];
        const SequenceDef *to = sequence_by_name(pair->to, from->name);
        if (to && same_sequence(from, to)) continue;
        plan_step(p, step_of(pair, MIGRATE_REMOVE_SEQUENCE, from->name));
        if (to) plan_step(p, step_of(pair, MIGRATE_ADD_SEQUENCE, to->name));
    }
    for (uint32_t i = 0; i < pair->to->sequence_count; i++) {
        Str name = pair->to->sequences[i].name;
        if (!sequence_by_name(pair->from, name))
            plan_step(p, step_of(pair, MIGRATE_ADD_SEQUENCE, name));
    }
}

// ── schedules ──────────────────────────────────────────────────────────────────────────────────

static bool same_schedule(const ScheduleDef *a, const ScheduleDef *b) {
    if (!a || !b) return a == b;
    return str_eq(a->name, b->name) && a->at_column == b->at_column &&
           str_eq(a->function, b->function);
}

static void plan_schedule(Planner *p, const TablePair *pair) {
    const ScheduleDef *from = pair->from->schedule, *to = pair->to->schedule;
    if (same_schedule(from, to)) return;
    if (from) plan_step(p, step_of(pair, MIGRATE_REMOVE_SCHEDULE, from->name));
    if (to) plan_step(p, step_of(pair, MIGRATE_ADD_SCHEDULE, to->name));
}

// ── the table ──────────────────────────────────────────────────────────────────────────────────

static void plan_flags(Planner *p, const TablePair *pair) {
    const TableDef *from = pair->from, *to = pair->to;
    if (from->is_event != to->is_event) {
        plan_refuse(p,
                    "Changing the event flag of table " STR_FMT " requires a manual migration",
                    STR_ARG(to->name));
    }
    if (from->is_system != to->is_system) {
        plan_refuse(p,
                    "Changing the table type of table " STR_FMT
                    " from %s to %s requires a manual migration",
                    STR_ARG(to->name),
                    from->is_system ? "System" : "User",
                    to->is_system ? "System" : "User");
    }
    if (from->is_public != to->is_public)
        plan_step(p, step_of(pair, MIGRATE_CHANGE_ACCESS, STR_NONE));
    if (from->primary_key != to->primary_key)
        plan_step(p, step_of(pair, MIGRATE_CHANGE_PRIMARY_KEY, STR_NONE));
    if (!str_eq(from->source, to->source))
        plan_step(p, step_of(pair, MIGRATE_CHANGE_TABLE_ACCESSOR, STR_NONE));
}

void plan_table(Planner *p, const TableDef *old_table, const TableDef *new_table) {
    TablePair pair = {old_table, new_table};
    plan_flags(p, &pair);
    if (old_table->is_event && new_table->is_event)
        plan_event_columns(p, &pair);
    else
        plan_stored_columns(p, &pair);
    plan_indexes(p, &pair);
    plan_constraints(p, &pair);
    plan_sequences(p, &pair);
    plan_schedule(p, &pair);
}
