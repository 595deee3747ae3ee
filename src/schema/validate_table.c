// validate_table.c: tables, their columns, primary keys and default values (module-abi §3.8).
#include <stdio.h>

#include "schema/validate.h"

Str column_text(const TableDef *table, uint16_t column, char scratch[16]) {
    if (column < table->column_count && table->columns[column].name.ptr)
        return table->columns[column].name;
    snprintf(scratch, 16, "col_%u", column);
    return str_from(scratch);
}

Str columns_text(Validator *v, const uint16_t *columns, uint32_t count) {
    Buf text = {0};
    buf_put_u8(&text, '[');
    for (uint32_t i = 0; i < count; i++)
        buf_printf(&text, "%s%u", i ? ", " : "", columns[i]);
    buf_put_u8(&text, ']');
    Str copy = buf_ok(&text) ? arena_str(v->arena, bytes_str(buf_bytes(&text))) : STR_NONE;
    buf_deinit(&text);
    if (copy.ptr) return copy;
    v->nomem = true;
    return STR("");
}

// ── columns ────────────────────────────────────────────────────────────────────────────────────

static void check_column_names(Validator *v, const TableDef *table) {
    NameSet canonical = {0}, source = {0};
    for (uint32_t i = 0; i < table->column_count && !v->nomem; i++) {
        const ColumnDef *column = &table->columns[i];
        bool is_new = true, is_new_source = true;
        if (nameset_add(&canonical, v->arena, column->name, &is_new) != OK ||
            nameset_add(&source, v->arena, column->source, &is_new_source) != OK) {
            v->nomem = true;
        }
        if (!is_new || !is_new_source) {
            invalid(v,
                    "table `" STR_FMT "` has multiple columns named `" STR_FMT "`",
                    STR_ARG(table->name),
                    STR_ARG(column->name));
        }
    }
}

static void fill_column(Validator *v,
                        TableDef *table,
                        uint32_t at,
                        const Type *row,
                        const Type *source) {
    ColumnDef *column = &table->columns[at];
    const TypeField *field = &row->fields[at];
    column->type = table->row_type->fields[at].type;
    column->name = field->name.ptr ? field->name : STR("");
    column->source = field->name.ptr ? source->fields[at].name : STR("");
    if (!field->name.ptr) {
        invalid(v,
                "table `" STR_FMT "` has unnamed column `%u`, which is forbidden.",
                STR_ARG(table->name),
                at);
    }
    Str location = validate_printf(v,
                                   "table `" STR_FMT "` column `" STR_FMT "`",
                                   STR_ARG(table->name),
                                   STR_ARG(column->name));
    type_check_usable(v, field->type, location);
    type_check_storable(v, field->type, table->name, column->name);
}

static void fill_columns(Validator *v, TableDef *table) {
    const Type *row = product_at(&v->renamed, table->row_type_ref);
    const Type *source = product_at(&v->whole->typespace, table->row_type_ref);
    if (!row) {
        invalid(v,
                "Table " STR_FMT " has invalid product_type_ref %u",
                STR_ARG(table->name),
                table->row_type_ref);
        return;
    }
    table->row_type = v->def->resolved[table->row_type_ref];
    if (row->field_count == 0 || row->field_count > TABLE_COLUMNS_MAX) {
        invalid(v,
                "table `" STR_FMT "` has %u columns; it must have 1 to %u",
                STR_ARG(table->name),
                row->field_count,
                TABLE_COLUMNS_MAX);
        return;
    }
    table->columns = VALIDATE_ARRAY(v, ColumnDef, row->field_count);
    if (!table->columns) return;
    table->column_count = (uint16_t)row->field_count;
    for (uint32_t i = 0; i < row->field_count && !v->nomem; i++)
        fill_column(v, table, i, row, source);
    check_column_names(v, table);
}

// ── primary key ────────────────────────────────────────────────────────────────────────────────

static void fill_primary_key(Validator *v, const RawTable *raw, TableDef *table) {
    table->primary_key = -1;
    if (raw->primary_key.count == 0) return;
    if (raw->primary_key.count > 1) {
        invalid(v,
                "table `" STR_FMT "` has multiple primary key annotations",
                STR_ARG(table->name));
        return;
    }
    uint16_t column = raw->primary_key.at[0];
    if (column >= table->column_count) {
        invalid(v,
                "column `%u` referenced by def " STR_FMT " not found in table `" STR_FMT "`",
                column,
                STR_ARG(table->name),
                STR_ARG(table->name));
        return;
    }
    for (uint32_t i = 0; i < table->constraint_count; i++) {
        const ConstraintDef *unique = &table->constraints[i];
        if (unique->column_count == 1 && unique->columns[0] == column) table->primary_key = column;
    }
    if (table->primary_key < 0) {
        invalid(v,
                "table `" STR_FMT "` column `" STR_FMT
                "` is primary key but has no unique constraint",
                STR_ARG(table->name),
                STR_ARG(table->columns[column].name));
    }
}

// ── default values ─────────────────────────────────────────────────────────────────────────────

static void fill_default(Validator *v, TableDef *table, const RawDefault *raw) {
    if (raw->column >= table->column_count) {
        invalid(v,
                "column `%u` referenced by def default value not found in table `" STR_FMT "`",
                raw->column,
                STR_ARG(table->name));
        return;
    }
    ColumnDef *column = &table->columns[raw->column];
    if (column->has_default) {
        invalid(v,
                "Multiple default values for table " STR_FMT " column %u",
                STR_ARG(table->name),
                raw->column);
        return;
    }
    size_t len = 0;
    Diag diag;
    diag_clear(&diag);
    Err err = bsatn_check(column->type, raw->value, &len, &diag);
    if (err == OK && len < raw->value.len) {
        err = diag_fail(&diag, ERR_MALFORMED, "%zu bytes are left over", raw->value.len - len);
    }
    if (err != OK) {
        invalid(v,
                "Failed to deserialize default value for table " STR_FMT " column %u: %s",
                STR_ARG(table->name),
                raw->column,
                diag.text);
        return;
    }
    column->has_default = true;
    column->default_value = raw->value;
}

TableDef *table_by_source(const Validator *v, Str source) {
    for (uint32_t i = v->first.table; i < v->def->table_count; i++) {
        if (str_eq(name_local(v, v->def->tables[i].source), source)) return &v->def->tables[i];
    }
    return NULL;
}

static void fill_v9_defaults(Validator *v) {
    for (uint32_t i = 0; i < v->raw->default_count; i++) {
        const RawDefault *raw = &v->raw->defaults[i];
        TableDef *table = table_by_source(v, raw->table);
        if (table)
            fill_default(v, table, raw);
        else
            invalid(v, "Table " STR_FMT " not found", STR_ARG(raw->table));
    }
}

// ── tables ─────────────────────────────────────────────────────────────────────────────────────

static void fill_table(Validator *v, const RawTable *raw, TableDef *table) {
    table->source = name_full(v, raw->name);
    table->submodule = v->scope->path;
    table->name = name_canonical(v, RAW_NAME_TABLE, raw->name);
    table->row_type_ref = raw->row_type_ref;
    table->primary_key = -1;
    table->is_public = raw->is_public;
    table->is_event = raw->is_event;
    table->is_system = raw->is_system;
    entity_claim_both(v, table->name, table->source);
    if (str_starts(table->name, STR("st_")))
        invalid(v, "Table name is reserved for system use: " STR_FMT, STR_ARG(table->name));
    fill_columns(v, table);
    if (table->column_count == 0) return;  // reported; the rest refers to columns
    validate_indexes(v, raw, table);
    validate_constraints(v, raw, table);
    validate_sequences(v, raw, table);
    fill_primary_key(v, raw, table);
    for (uint32_t i = 0; i < raw->default_count; i++)
        fill_default(v, table, &raw->defaults[i]);
}

void validate_tables(Validator *v) {
    TableDef *tables = v->def->tables + v->first.table;
    v->def->table_count += v->raw->table_count;
    for (uint32_t i = 0; i < v->raw->table_count && !v->nomem; i++)
        fill_table(v, &v->raw->tables[i], &tables[i]);
    fill_v9_defaults(v);
}
