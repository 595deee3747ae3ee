// catalog_write.c: writing and erasing the rows that describe tables, views and the module.
//
// Ids come from rows of st_sequence, whose `allocated` is the next id to be given out: they are never
// used twice, not even after a table is gone (module-abi §4).
#include "txn/catalog_internal.h"

static Err cannot_write(Diag *diag, Err err, uint32_t table_id, const Diag *why) {
    return diag_fail(diag,
                     err,
                     "cannot write " STR_FMT ": %s",
                     STR_ARG(system_table_name(table_id)),
                     why && why->text[0] ? why->text : err_text(err));
}

Err catalog_put_row(Catalog *catalog, uint32_t table_id, Diag *diag) {
    Diag why;
    diag_clear(&why);
    bool inserted = false;
    Err err = buf_ok(&catalog->row) ? OK : ERR_NOMEM;
    if (err == OK)
        err = table_insert(system_table(catalog, table_id),
                           buf_bytes(&catalog->row),
                           &inserted,
                           &why);
    buf_clear(&catalog->row);
    return err == OK ? OK : cannot_write(diag, err, table_id, &why);
}

Err catalog_replace_row(Catalog *catalog, uint32_t table_id, uint32_t index_id, Diag *diag) {
    Diag why;
    diag_clear(&why);
    Err err = buf_ok(&catalog->row) ? OK : ERR_NOMEM;
    if (err == OK)
        err = table_replace(system_table(catalog, table_id),
                            index_id,
                            buf_bytes(&catalog->row),
                            NULL,
                            &why);
    buf_clear(&catalog->row);
    return err == OK ? OK : cannot_write(diag, err, table_id, &why);
}

// A scan ends with the first change, so what matches is collected before anything is deleted.
Err catalog_delete_rows(Catalog *catalog,
                        uint32_t table_id,
                        RowMatch matches,
                        const void *ctx,
                        Diag *diag) {
    Table *table = system_table(catalog, table_id);
    Buf found = {0};
    TableScan scan;
    Bytes row;
    table_scan_begin(&scan, table, NULL, TABLE_ROWS, BYTES_NONE, BYTES_NONE);
    while (table_scan_next(&scan, &row)) {
        if (matches(ctx, row)) buf_put_lp(&found, row);
    }
    table_scan_end(&scan);
    Err err = buf_ok(&found) ? scan.err : ERR_NOMEM;
    Reader r = reader_of(buf_bytes(&found));
    while (err == OK && r.in.len > 0)
        err = table_delete_row(table, reader_lp(&r));
    buf_deinit(&found);
    return err == OK ? OK : cannot_write(diag, err, table_id, NULL);
}

// A copy of a row to be changed and replaced.
static Err take_row(Catalog *catalog, Bytes row) {
    buf_clear(&catalog->row);
    buf_put_bytes(&catalog->row, row);
    if (buf_ok(&catalog->row)) return OK;
    buf_clear(&catalog->row);
    return ERR_NOMEM;
}

Err catalog_take_id(Catalog *catalog, SystemSequence from, uint32_t *id, Diag *diag) {
    Bytes row;
    Err err = catalog_find_by_id(catalog, ST_SEQUENCE, ST_SEQUENCE_BY_ID, from, &row);
    if (err == OK) err = take_row(catalog, row);
    if (err != OK) return cannot_write(diag, err, ST_SEQUENCE, NULL);
    uint8_t *allocated = catalog->row.ptr + catalog->row.len - sizeof(Int128);
    *id = load_u32(allocated);
    if (*id == UINT32_MAX) {
        buf_clear(&catalog->row);
        return diag_fail(diag, ERR_LIMIT, "all ids are used up");
    }
    store_u32(allocated, *id + 1);
    return catalog_replace_row(catalog, ST_SEQUENCE, ST_SEQUENCE_BY_ID, diag);
}

// ── one table ──────────────────────────────────────────────────────────────────────────────────

Err catalog_write_type(Buf *scratch, const Type *type) {
    buf_clear(scratch);
    type_encode(scratch, type);  // with references written out: no typespace is stored
    return buf_ok(scratch) ? OK : ERR_NOMEM;
}

Err catalog_write_columns(Catalog *catalog, uint32_t table_id, const TableDef *table, Diag *diag) {
    Buf type = {0};
    Err err = OK;
    for (uint16_t i = 0; err == OK && i < table->column_count; i++) {
        err = catalog_write_type(&type, table->columns[i].type);
        if (err != OK) break;
        st_column_write(&catalog->row,
                        &(StColumn){.table_id = table_id,
                                    .position = i,
                                    .name = table->columns[i].name,
                                    .type = buf_bytes(&type)});
        err = catalog_put_row(catalog, ST_COLUMN, diag);
    }
    buf_deinit(&type);
    return err;
}

Err catalog_write_column_accessors(Catalog *catalog, const TableDef *table, Diag *diag) {
    Err err = OK;
    for (uint16_t i = 0; err == OK && i < table->column_count; i++) {
        st_column_accessor_write(&catalog->row,
                                 table->name,
                                 table->columns[i].name,
                                 table->columns[i].source);
        err = catalog_put_row(catalog, ST_COLUMN_ACCESSOR, diag);
    }
    return err;
}

static const uint8_t *column_bytes(const uint16_t *columns) {
    return (const uint8_t *)columns;  // little-endian machines only (base/bytes.c)
}

Err catalog_write_index_row(Catalog *catalog,
                            uint32_t table_id,
                            const IndexDef *index,
                            Diag *diag) {
    StIndex row = {.table_id = table_id,
                   .name = index->name,
                   .algorithm = index->algorithm,
                   .columns = column_bytes(index->columns),
                   .column_count = index->column_count};
    Err err = catalog_take_id(catalog, SEQUENCE_INDEX, &row.index_id, diag);
    if (err != OK) return err;
    st_index_write(&catalog->row, &row);
    return catalog_put_row(catalog, ST_INDEX, diag);
}

Err catalog_write_index(Catalog *catalog, uint32_t table_id, const IndexDef *index, Diag *diag) {
    Err err = catalog_write_index_row(catalog, table_id, index, diag);
    if (err != OK) return err;
    st_accessor_write(&catalog->row, index->name, index->source);
    return catalog_put_row(catalog, ST_INDEX_ACCESSOR, diag);
}

Err catalog_write_constraint(Catalog *catalog,
                             uint32_t table_id,
                             const ConstraintDef *constraint,
                             Diag *diag) {
    StConstraint row = {.table_id = table_id,
                        .name = constraint->name,
                        .columns = column_bytes(constraint->columns),
                        .column_count = constraint->column_count};
    Err err = catalog_take_id(catalog, SEQUENCE_CONSTRAINT, &row.constraint_id, diag);
    if (err != OK) return err;
    st_constraint_write(&catalog->row, &row);
    return catalog_put_row(catalog, ST_CONSTRAINT, diag);
}

// ── sequences ──────────────────────────────────────────────────────────────────────────────────

#define I128_MAX ((__int128)(((unsigned __int128)1 << 127) - 1))

static __int128 i128_get(const Int128 *from) {
    __int128 out;
    memcpy(&out, from->le, sizeof out);
    return out;
}

static Int128 i128_of(__int128 value) {
    Int128 out;
    memcpy(out.le, &value, sizeof value);
    return out;
}

// `allocated` is the last value that may have been given out. Where there is none before `start`,
// the start itself is skipped after a restart: better than handing it out twice.
static __int128 value_before(__int128 value, __int128 by) {
    __int128 before;
    return __builtin_sub_overflow(value, by, &before) ? value : before;
}

void sequence_bounds(const SequenceDef *def, StSequence *out) {
    __int128 min = def->has_min ? i128_get(&def->min) : 1;
    __int128 max = def->has_max ? i128_get(&def->max) : I128_MAX;
    __int128 start = def->has_start ? i128_get(&def->start) : 1;
    if (!def->has_start) start = start < min ? min : start > max ? max : start;
    out->increment = def->increment;
    out->min = i128_of(min);
    out->max = i128_of(max);
    out->start = i128_of(start);
    out->allocated = i128_of(value_before(start, i128_get(&def->increment)));
}

static const CatalogSequence *sequence_on(const CatalogTable *table, uint16_t column) {
    for (uint32_t i = 0; table && i < table->sequence_count; i++) {
        if (table->sequences[i].column == column) return &table->sequences[i];
    }
    return NULL;
}

Err catalog_write_sequence(Catalog *catalog,
                           uint32_t table_id,
                           const SequenceDef *sequence,
                           const CatalogTable *moved_from,
                           Diag *diag) {
    StSequence row = {.table_id = table_id, .name = sequence->name, .column = sequence->column};
    sequence_bounds(sequence, &row);
    const CatalogSequence *old = sequence_on(moved_from, sequence->column);
    if (old) row.allocated = i128_of(value_before(i128_get(&old->next), i128_get(&old->increment)));
    Err err = catalog_take_id(catalog, SEQUENCE_SEQUENCE, &row.sequence_id, diag);
    if (err != OK) return err;
    st_sequence_write(&catalog->row, &row);
    return catalog_put_row(catalog, ST_SEQUENCE, diag);
}

Err catalog_sequence_store(Catalog *catalog, CatalogTable *table, CatalogSequence *sequence) {
    (void)table;  // the row is found by the sequence's id alone
    Bytes row;
    Err err =
        catalog_find_by_id(catalog, ST_SEQUENCE, ST_SEQUENCE_BY_ID, sequence->sequence_id, &row);
    if (err == OK) err = take_row(catalog, row);
    if (err != OK) return err;
    memcpy(catalog->row.ptr + catalog->row.len - sizeof(Int128),
           &sequence->allocated,
           sizeof(Int128));
    return catalog_replace_row(catalog, ST_SEQUENCE, ST_SEQUENCE_BY_ID, NULL);
}

static Err write_schedule(Catalog *catalog,
                          uint32_t table_id,
                          const ScheduleDef *schedule,
                          Diag *diag) {
    StScheduled row = {.table_id = table_id,
                       .function = schedule->function,
                       .name = schedule->name,
                       .at_column = schedule->at_column};
    Err err = catalog_take_id(catalog, SEQUENCE_SCHEDULE, &row.schedule_id, diag);
    if (err != OK) return err;
    st_scheduled_write(&catalog->row, &row);
    return catalog_put_row(catalog, ST_SCHEDULED, diag);
}

static Err write_table_parts(Catalog *catalog,
                             const TableDef *table,
                             const CatalogTable *moved_from,
                             uint32_t table_id,
                             Diag *diag) {
    Err err = OK;
    for (uint32_t i = 0; err == OK && i < table->index_count; i++)
        err = catalog_write_index(catalog, table_id, &table->indexes[i], diag);
    for (uint32_t i = 0; err == OK && i < table->sequence_count; i++)
        err = catalog_write_sequence(catalog, table_id, &table->sequences[i], moved_from, diag);
    for (uint32_t i = 0; err == OK && i < table->constraint_count; i++)
        err = catalog_write_constraint(catalog, table_id, &table->constraints[i], diag);
    if (err == OK && table->schedule)
        err = write_schedule(catalog, table_id, table->schedule, diag);
    return err;
}

Err catalog_write_table(Catalog *catalog,
                        const TableDef *table,
                        const CatalogTable *moved_from,
                        uint32_t *table_id,
                        Diag *diag) {
    Err err = catalog_take_id(catalog, SEQUENCE_TABLE, table_id, diag);
    if (err != OK) return err;
    st_table_write(&catalog->row,
                   &(StTable){.table_id = *table_id,
                              .name = table->name,
                              .is_public = table->is_public,
                              .primary_key = table->primary_key});
    if ((err = catalog_put_row(catalog, ST_TABLE, diag)) != OK) return err;
    st_accessor_write(&catalog->row, table->name, table->source);
    if ((err = catalog_put_row(catalog, ST_TABLE_ACCESSOR, diag)) != OK) return err;
    if ((err = catalog_write_columns(catalog, *table_id, table, diag)) != OK) return err;
    if ((err = catalog_write_column_accessors(catalog, table, diag)) != OK) return err;
    if (table->is_event) {
        buf_put_u32(&catalog->row, *table_id);
        if ((err = catalog_put_row(catalog, ST_EVENT_TABLE, diag)) != OK) return err;
    }
    return write_table_parts(catalog, table, moved_from, *table_id, diag);
}

// ── row-level security, the module ──────────────────────────────────────────────────────

Err catalog_write_row_level_security(Catalog *catalog, Str sql, Diag *diag) {
    Str name = row_level_security_table(sql);
    if (name.len == 0) {
        return diag_fail(diag,
                         ERR_INVALID,
                         "Row-level security invalid: `sql parser error: Expected: SELECT … FROM a "
                         "table`, query: `" STR_FMT "`",
                         STR_ARG(sql));
    }
    const CatalogTable *table = catalog_table_by_name(catalog, name);
    if (!table || table->is_system) {
        return diag_fail(diag,
                         ERR_INVALID,
                         "Row-level security invalid: `no such table: `" STR_FMT
                         "``, query: `" STR_FMT "`",
                         STR_ARG(name),
                         STR_ARG(sql));
    }
    st_row_level_security_write(&catalog->row, table->table_id, sql);
    return catalog_put_row(catalog, ST_ROW_LEVEL_SECURITY, diag);
}

static bool any_row(const void *ctx, Bytes row) {
    (void)ctx;
    (void)row;
    return true;
}

Err catalog_write_module(Catalog *catalog, const CatalogModule *module, Diag *diag) {
    // Written down before the old row goes: the program may borrow from that.
    Buf row = {0};
    st_module_write(&row, module);
    Err err = catalog_delete_rows(catalog, ST_MODULE, any_row, NULL, diag);
    if (err == OK) {
        buf_deinit(&catalog->row);
        catalog->row = row;
        return catalog_put_row(catalog, ST_MODULE, diag);
    }
    buf_deinit(&row);
    return err;
}
