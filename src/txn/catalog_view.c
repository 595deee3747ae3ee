// catalog_view.c: writing down a view: what it is called with, what it returns, and the table that
// holds its results (module-abi §5.9).
//
// PICTURE
//   view player(ctx) -> rows {id, level}            st_view, st_view_param, st_view_column
//   table player     {arg_hash, id, level}          st_table, st_column, st_index, st_constraint
//                     └ whose result the row belongs to
//
// The table looks like any other to whoever reads st_table; that it is a view's says st_view.
#include "txn/catalog_internal.h"

static Str view_column_source(const ModuleDef *def, const ViewDef *view, uint32_t column) {
    uint32_t ref = view->row_type_ref;
    while (def->typespace.types[ref]->kind == TYPE_REF)
        ref = def->typespace.types[ref]->ref;
    return def->typespace.types[ref]->fields[column].name;
}

static Err write_column(Catalog *catalog,
                        uint32_t st,
                        uint32_t of,
                        uint32_t position,
                        Str name,
                        const Type *type,
                        Diag *diag) {
    Buf encoded = {0};
    Err err = catalog_write_type(&encoded, type);
    if (err == OK) {
        st_column_write(&catalog->row,
                        &(StColumn){.table_id = of,
                                    .position = (uint16_t)position,
                                    .name = name,
                                    .type = buf_bytes(&encoded)});
        err = catalog_put_row(catalog, st, diag);
    }
    buf_deinit(&encoded);
    return err;
}

// The fields of a product as rows of `st`, the first at `position`.
static Err write_fields(Catalog *catalog,
                        uint32_t st,
                        uint32_t of,
                        uint32_t position,
                        const Type *product,
                        Diag *diag) {
    Err err = OK;
    for (uint32_t i = 0; err == OK && i < product->field_count; i++) {
        const TypeField *field = &product->fields[i];
        err = write_column(catalog, st, of, position + i, field->name, field->type, diag);
    }
    return err;
}

static Err write_names(Catalog *catalog, const ModuleDef *def, const ViewDef *view, Diag *diag) {
    st_accessor_write(&catalog->row, view->name, view->source);
    Err err = catalog_put_row(catalog, ST_TABLE_ACCESSOR, diag);
    for (uint32_t i = 0; err == OK && i < view->row_type->field_count; i++) {
        st_column_accessor_write(&catalog->row,
                                 view->name,
                                 view->row_type->fields[i].name,
                                 view_column_source(def, view, i));
        err = catalog_put_row(catalog, ST_COLUMN_ACCESSOR, diag);
    }
    return err;
}

// What st_view and its companions say, the table's columns, and the aliases of both.
static Err write_description(Catalog *catalog,
                             const ModuleDef *def,
                             const ViewDef *view,
                             uint32_t view_id,
                             uint32_t table_id,
                             Diag *diag) {
    // The original stores every view as public (§4); who may read it says st_table.
    st_view_write(&catalog->row,
                  &(StView){.view_id = view_id,
                            .name = view->name,
                            .table_id = table_id,
                            .is_public = true,
                            .is_anonymous = view->is_anonymous});
    const Type *row = view->row_type, *hash = type_simple(TYPE_U256);
    Err err = catalog_put_row(catalog, ST_VIEW, diag);
    if (err == OK) err = write_fields(catalog, ST_VIEW_PARAM, view_id, 0, view->params, diag);
    if (err == OK) err = write_fields(catalog, ST_VIEW_COLUMN, view_id, 0, row, diag);
    if (err == OK) err = write_column(catalog, ST_COLUMN, table_id, 0, STR("arg_hash"), hash, diag);
    if (err == OK) err = write_fields(catalog, ST_COLUMN, table_id, 1, row, diag);
    return err == OK ? write_names(catalog, def, view, diag) : err;
}

static Err out_of_memory(Diag *diag) {
    return diag_fail(diag, ERR_NOMEM, "out of memory");
}

// By whom, and with a primary key by whom and key: that one is unique.
static Err write_indexes(Catalog *catalog, const ViewDef *view, uint32_t table_id, Diag *diag) {
    Arena arena = {0};
    uint16_t columns[2] = {0, (uint16_t)(view->primary_key + 1)};
    IndexDef index = {.algorithm = INDEX_BTREE, .columns = columns, .column_count = 1};
    index.name = arena_printf(&arena, STR_FMT "_arg_hash_idx_btree", STR_ARG(view->name));
    Err err = index.name.ptr ? catalog_write_index_row(catalog, table_id, &index, diag)
                             : out_of_memory(diag);
    if (err == OK && view->primary_key >= 0) {
        Str key = view->row_type->fields[view->primary_key].name;
        Str stem =
            arena_printf(&arena, STR_FMT "_arg_hash_" STR_FMT, STR_ARG(view->name), STR_ARG(key));
        index.column_count = 2;
        index.name = arena_printf(&arena, STR_FMT "_idx_btree", STR_ARG(stem));
        ConstraintDef unique = {.columns = columns, .column_count = 2};
        unique.name = arena_printf(&arena, STR_FMT "_key", STR_ARG(stem));
        bool named = stem.ptr && index.name.ptr && unique.name.ptr;
        err =
            named ? catalog_write_index_row(catalog, table_id, &index, diag) : out_of_memory(diag);
        if (err == OK) err = catalog_write_constraint(catalog, table_id, &unique, diag);
    }
    arena_deinit(&arena);
    return err;
}

static void put_table_row(Catalog *catalog, const ViewDef *view, uint32_t table_id) {
    st_table_write(&catalog->row,
                   &(StTable){.table_id = table_id,
                              .name = view->name,
                              .is_public = view->is_public,
                              .primary_key = -1});
}

Err catalog_write_view(Catalog *catalog, const ModuleDef *def, const ViewDef *view, Diag *diag) {
    uint32_t view_id, table_id;
    Err err = catalog_take_id(catalog, SEQUENCE_VIEW, &view_id, diag);
    if (err == OK) err = catalog_take_id(catalog, SEQUENCE_TABLE, &table_id, diag);
    if (err != OK) return err;
    put_table_row(catalog, view, table_id);
    if ((err = catalog_put_row(catalog, ST_TABLE, diag)) != OK) return err;
    err = write_description(catalog, def, view, view_id, table_id, diag);
    return err == OK ? write_indexes(catalog, view, table_id, diag) : err;
}

// Its parameters may have other names, its columns other accessors or wider types, and another may
// read it now.
Err catalog_update_view(Catalog *catalog, const ModuleDef *def, const ViewDef *view, Diag *diag) {
    const CatalogTable *table = catalog_table_by_name(catalog, view->name);
    uint32_t view_id;
    Err err = catalog_erase_view_rows(catalog, view->name, &view_id, diag);
    if (err != OK) return err;
    if (!table || !table->is_view) return catalog_write_view(catalog, def, view, diag);
    put_table_row(catalog, view, table->table_id);
    if ((err = catalog_replace_row(catalog, ST_TABLE, ST_TABLE_BY_ID, diag)) != OK) return err;
    if ((err = catalog_erase_columns(catalog, table->table_id, diag)) != OK) return err;
    return write_description(catalog, def, view, view_id, table->table_id, diag);
}
