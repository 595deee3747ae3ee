// catalog_create.c: the first publish: the system tables describe themselves, then the module's
// tables, views and rules are written down in the order of their names (module-abi §4).
#include "txn/catalog_internal.h"

#include <stdlib.h>

// ── the system tables' own rows ────────────────────────────────────────────────────────────────

static Err write_system_table(Catalog *catalog, const CatalogTable *table, Diag *diag) {
    st_table_write(&catalog->row,
                   &(StTable){.table_id = table->table_id,
                              .name = table->name,
                              .is_system = true,
                              .is_public = table->is_public,
                              .primary_key = table->primary_key});
    Err err = catalog_put_row(catalog, ST_TABLE, diag);
    Buf type = {0};
    for (uint32_t i = 0; err == OK && i < table->column_count; i++) {
        buf_clear(&type);
        type_encode(&type, table->columns[i].type);
        catalog->row.failed |= !buf_ok(&type);
        st_column_write(&catalog->row,
                        &(StColumn){.table_id = table->table_id,
                                    .position = (uint16_t)i,
                                    .name = table->columns[i].name,
                                    .type = buf_bytes(&type)});
        err = catalog_put_row(catalog, ST_COLUMN, diag);
    }
    buf_deinit(&type);
    return err;
}

static Err write_system_index(Catalog *catalog, uint32_t id, Diag *diag) {
    const CatalogIndex *index = NULL;
    const CatalogTable *table = catalog_index_by_id(catalog, id, &index);
    st_index_write(&catalog->row,
                   &(StIndex){.index_id = id,
                              .table_id = table->table_id,
                              .name = index->name,
                              .algorithm = INDEX_BTREE,
                              .columns = (const uint8_t *)index->columns,
                              .column_count = index->column_count});
    return catalog_put_row(catalog, ST_INDEX, diag);
}

static Str key_name(Catalog *catalog, Arena *arena, const SystemKey *key, const char *suffix) {
    const CatalogTable *table = catalog_table(catalog, key->table_id);
    Str name = system_key_name(arena, key, table->row_type, suffix);
    if (!name.ptr) catalog->row.failed = true;  // catalog_put_row reports it
    return name;
}

static Err write_system_constraint(Catalog *catalog, Arena *arena, uint32_t id, Diag *diag) {
    const SystemKey *key = &system_constraints[id - 1];
    st_constraint_write(&catalog->row,
                        &(StConstraint){.constraint_id = id,
                                        .name = key_name(catalog, arena, key, "_key"),
                                        .table_id = key->table_id,
                                        .columns = (const uint8_t *)key->columns,
                                        .column_count = key->column_count});
    return catalog_put_row(catalog, ST_CONSTRAINT, diag);
}

static Err write_system_sequence(Catalog *catalog, Arena *arena, uint32_t id, Diag *diag) {
    const SystemKey *key = &system_sequences[id - 1];
    SequenceDef def = {.has_start = true};
    store_u32(def.start.le, CATALOG_FIRST_USER_ID + 1);
    store_u32(def.increment.le, 1);
    StSequence row = {.sequence_id = id,
                      .name = key_name(catalog, arena, key, "_seq"),
                      .table_id = key->table_id,
                      .column = key->columns[0]};
    sequence_bounds(&def, &row);
    st_sequence_write(&catalog->row, &row);
    return catalog_put_row(catalog, ST_SEQUENCE, diag);
}

Err catalog_write_system(Catalog *catalog, Diag *diag) {
    Arena arena = {0};
    Err err = OK;
    for (uint32_t id = 1; err == OK && id <= SYSTEM_TABLES_TOLD; id++)
        err = write_system_table(catalog, catalog_table(catalog, id), diag);
    for (uint32_t id = 1; err == OK && id <= SYSTEM_INDEXES_TOLD; id++)
        err = write_system_index(catalog, id, diag);
    for (uint32_t id = 1; err == OK && id <= SYSTEM_CONSTRAINTS_TOLD; id++)
        err = write_system_constraint(catalog, &arena, id, diag);
    for (uint32_t id = 1; err == OK && id <= SYSTEM_SEQUENCES; id++)
        err = write_system_sequence(catalog, &arena, id, diag);
    arena_deinit(&arena);
    return err;
}

// ── the module's ───────────────────────────────────────────────────────────────────────────────

static int by_name_tables(const void *a, const void *b) {
    const TableDef *const *x = a, *const *y = b;
    return bytes_cmp(str_bytes((*x)->name), str_bytes((*y)->name));
}

static int by_name_views(const void *a, const void *b) {
    const ViewDef *const *x = a, *const *y = b;
    return bytes_cmp(str_bytes((*x)->name), str_bytes((*y)->name));
}

static Err write_tables(Catalog *catalog,
                        const ModuleDef *def,
                        Arena *arena,
                        const CatalogLog *log,
                        Diag *diag) {
    const TableDef **tables = arena_array(arena, const TableDef *, def->table_count);
    if (!tables) return diag_fail(diag, ERR_NOMEM, "out of memory");
    for (uint32_t i = 0; i < def->table_count; i++)
        tables[i] = &def->tables[i];
    qsort(tables, def->table_count, sizeof(const TableDef *), by_name_tables);
    Err err = OK;
    for (uint32_t i = 0; err == OK && i < def->table_count; i++) {
        uint32_t table_id;
        catalog_log(log, "Creating table `" STR_FMT "`", STR_ARG(tables[i]->name));
        err = catalog_write_table(catalog, tables[i], NULL, &table_id, diag);
    }
    return err;
}

static Err write_views(Catalog *catalog,
                       const ModuleDef *def,
                       Arena *arena,
                       const CatalogLog *log,
                       Diag *diag) {
    const ViewDef **views = arena_array(arena, const ViewDef *, def->view_count);
    if (!views) return diag_fail(diag, ERR_NOMEM, "out of memory");
    for (uint32_t i = 0; i < def->view_count; i++)
        views[i] = &def->views[i];
    qsort(views, def->view_count, sizeof(const ViewDef *), by_name_views);
    Err err = OK;
    for (uint32_t i = 0; err == OK && i < def->view_count; i++) {
        catalog_log(log, "Creating table for view `" STR_FMT "`", STR_ARG(views[i]->name));
        err = catalog_write_view(catalog, def, views[i], diag);
    }
    return err;
}

static Err write_rules(Catalog *catalog, const ModuleDef *def, const CatalogLog *log, Diag *diag) {
    Err err = OK;
    for (uint32_t i = 0; err == OK && i < def->row_level_security_count; i++) {
        catalog_log(log,
                    "Creating row level security `" STR_FMT "`",
                    STR_ARG(def->row_level_security[i]));
        err = catalog_write_row_level_security(catalog, def->row_level_security[i], diag);
    }
    return err;
}

Err catalog_create(Catalog *catalog,
                   const ModuleDef *def,
                   const CatalogModule *module,
                   CatalogLogLine log_line,
                   void *ctx,
                   Diag *diag) {
    CatalogLog log = {log_line, ctx};
    Arena arena = {0};
    Err err = OK;
    if ((err = catalog_write_system(catalog, diag)) != OK) goto done;
    if ((err = write_tables(catalog, def, &arena, &log, diag)) != OK) goto done;
    if ((err = write_views(catalog, def, &arena, &log, diag)) != OK) goto done;
    if ((err = catalog_write_module(catalog, module, diag)) != OK) goto done;
    if ((err = catalog_sync(catalog, diag)) != OK) goto done;
    err = write_rules(catalog, def, &log, diag);  // finds the tables by name
done:
    arena_deinit(&arena);
    return err;
}
