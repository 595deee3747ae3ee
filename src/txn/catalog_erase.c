// catalog_erase.c: taking away the rows that describe something. See catalog_write.c.
#include "txn/catalog_internal.h"

// ── rows that belong to a table, by its id ─────────────────────────────────────────────────────

static bool first_is_id(const void *ctx, Bytes row) {
    return load_u32(row.ptr) == *(const uint32_t *)ctx;
}

static bool second_is_id(const void *ctx, Bytes row) {
    return load_u32(row.ptr + 4) == *(const uint32_t *)ctx;
}

static bool is_sequence_of(const void *ctx, Bytes row) {
    return st_sequence_read(row).table_id == *(const uint32_t *)ctx;
}

static bool is_constraint_of(const void *ctx, Bytes row) {
    StConstraint constraint;
    return st_constraint_read(row, &constraint) && constraint.table_id == *(const uint32_t *)ctx;
}

// ── rows by a name ─────────────────────────────────────────────────────────────────────────────

static bool first_is_name(const void *ctx, Bytes row) {  // of the accessor tables
    Reader r = reader_of(row);
    return str_eq(bytes_str(reader_lp(&r)), *(const Str *)ctx);
}

static bool is_index_named(const void *ctx, Bytes row) {
    StIndex index;
    return st_index_read(row, &index) && str_eq(index.name, *(const Str *)ctx);
}

static bool is_constraint_named(const void *ctx, Bytes row) {
    StConstraint constraint;
    return st_constraint_read(row, &constraint) && str_eq(constraint.name, *(const Str *)ctx);
}

static bool is_sequence_named(const void *ctx, Bytes row) {
    return str_eq(st_sequence_read(row).name, *(const Str *)ctx);
}

static bool is_rule(const void *ctx, Bytes row) {
    Reader r = reader_of(row);
    (void)reader_u32(&r);
    return str_eq(bytes_str(reader_lp(&r)), *(const Str *)ctx);
}

// ── parts ──────────────────────────────────────────────────────────────────────────────────────

Err catalog_erase_index(Catalog *catalog, Str name, Diag *diag) {
    Err err = catalog_delete_rows(catalog, ST_INDEX, is_index_named, &name, diag);
    if (err != OK) return err;
    return catalog_delete_rows(catalog, ST_INDEX_ACCESSOR, first_is_name, &name, diag);
}

Err catalog_erase_alias(Catalog *catalog, uint32_t table_id, Str name, Diag *diag) {
    return catalog_delete_rows(catalog, table_id, first_is_name, &name, diag);
}

Err catalog_erase_constraint(Catalog *catalog, Str name, Diag *diag) {
    return catalog_delete_rows(catalog, ST_CONSTRAINT, is_constraint_named, &name, diag);
}

Err catalog_erase_sequence(Catalog *catalog, Str name, Diag *diag) {
    return catalog_delete_rows(catalog, ST_SEQUENCE, is_sequence_named, &name, diag);
}

Err catalog_erase_columns(Catalog *catalog, uint32_t table_id, Diag *diag) {
    return catalog_delete_rows(catalog, ST_COLUMN, first_is_id, &table_id, diag);
}

Err catalog_erase_column_accessors(Catalog *catalog, Str table, Diag *diag) {
    return catalog_delete_rows(catalog, ST_COLUMN_ACCESSOR, first_is_name, &table, diag);
}

Err catalog_erase_row_level_security(Catalog *catalog, Str sql, Diag *diag) {
    return catalog_delete_rows(catalog, ST_ROW_LEVEL_SECURITY, is_rule, &sql, diag);
}

// ── whole tables and views ─────────────────────────────────────────────────────────────────────

static Err erase_names(Catalog *catalog, Str name, Diag *diag) {
    Err err = catalog_delete_rows(catalog, ST_TABLE_ACCESSOR, first_is_name, &name, diag);
    if (err != OK) return err;
    return catalog_erase_column_accessors(catalog, name, diag);
}

Err catalog_erase_table(Catalog *catalog, const CatalogTable *table, Diag *diag) {
    static const struct {
        uint32_t st;
        RowMatch belongs;
    } parts[] = {
        {ST_TABLE, first_is_id},
        {ST_COLUMN, first_is_id},
        {ST_SEQUENCE, is_sequence_of},
        {ST_INDEX, second_is_id},
        {ST_CONSTRAINT, is_constraint_of},
        {ST_SCHEDULED, second_is_id},
        {ST_EVENT_TABLE, first_is_id},
    };
    Err err = OK;
    for (size_t i = 0; err == OK && i < ARRAY_LEN(parts); i++)
        err = catalog_delete_rows(catalog, parts[i].st, parts[i].belongs, &table->table_id, diag);
    for (uint32_t i = 0; err == OK && i < table->index_count; i++)
        err = catalog_delete_rows(catalog,
                                  ST_INDEX_ACCESSOR,
                                  first_is_name,
                                  &table->indexes[i].name,
                                  diag);
    return err == OK ? erase_names(catalog, table->name, diag) : err;
}

Err catalog_erase_view_rows(Catalog *catalog, Str name, uint32_t *view_id, Diag *diag) {
    Bytes row;
    Err err = catalog_find_by_names(catalog, ST_VIEW, ST_VIEW_BY_NAME, &name, 1, &row);
    if (err != OK) return diag_fail(diag, err, "no view `" STR_FMT "`", STR_ARG(name));
    *view_id = st_view_read(row).view_id;
    static const uint32_t tables[] = {ST_VIEW, ST_VIEW_PARAM, ST_VIEW_COLUMN};
    for (size_t i = 0; err == OK && i < ARRAY_LEN(tables); i++)
        err = catalog_delete_rows(catalog, tables[i], first_is_id, view_id, diag);
    return err == OK ? erase_names(catalog, name, diag) : err;
}

Err catalog_erase_view(Catalog *catalog, Str name, Diag *diag) {
    uint32_t view_id;
    const CatalogTable *table = catalog_table_by_name(catalog, name);
    Err err = catalog_erase_view_rows(catalog, name, &view_id, diag);
    if (err != OK || !table || !table->is_view) return err;
    return catalog_erase_table(catalog, table, diag);
}
