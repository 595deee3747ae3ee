// rows.c: single changes of rows with reasons that a person can read: what SQL's statements are made
// of. A module's changes go through an Access, which speaks in errnos (head.c).
#include "base/mem.h"
#include "sats/json.h"
#include "txn/head.h"
#include "txn/incoming.h"

static Err status_err(AbiErrno status, Diag *diag) {
    if (status == ABI_OK) return OK;
    Err err = status == ABI_FATAL || status == ABI_NO_SPACE ? ERR_NOMEM : ERR_INVALID;
    return diag_fail(diag, err, "%s", status == ABI_FATAL ? err_text(err) : abi_errno_text(status));
}

static void put_columns(Buf *out, const CatalogTable *table, const StoreIndexInfo *index) {
    for (uint16_t i = 0; i < index->column_count; i++) {
        Str name = table->columns[index->columns[i]].name;
        buf_printf(out, "%s" STR_FMT, i ? ", " : "", STR_ARG(name));
    }
}

static void put_values(Buf *out,
                       const CatalogTable *table,
                       const StoreIndexInfo *index,
                       Bytes row) {
    for (uint16_t i = 0; i < index->column_count; i++) {
        uint16_t column = index->columns[i];
        Bytes value = row_column(table_layout(table->table), row, column);
        if (i > 0) buf_put_str(out, STR(", "));
        json_write(out, table->columns[column].type, value.ptr, JSON_UNTYPED);
    }
}

// Unique constraint violation '…' in table '…': column(s): '…' value: …
static Err fail_unique(Db *db,
                       const CatalogTable *table,
                       uint32_t index_id,
                       Bytes row,
                       Diag *diag) {
    StoreIndexInfo info;
    const CatalogIndex *index = NULL;
    Buf columns = {0}, values = {0};
    catalog_index_by_id(db->catalog, index_id, &index);
    if (!table_index(table->table, index_id, &info)) return ERR_UNIQUE;
    put_columns(&columns, table, &info);
    put_values(&values, table, &info, row);
    Str name = index ? index->name : table->name;
    Err err = diag_fail(diag,
                        ERR_UNIQUE,
                        "Unique constraint violation '" STR_FMT "' in table '" STR_FMT
                        "': column(s): '%.*s' value: %.*s",
                        STR_ARG(name),
                        STR_ARG(table->name),
                        (int)MIN(columns.len, (size_t)300),
                        (const char *)columns.ptr,
                        (int)utf8_cut(bytes_str(buf_bytes(&values)), 300),
                        (const char *)values.ptr);
    if (!buf_ok(&columns) || !buf_ok(&values)) err = ERR_NOMEM;
    buf_deinit(&columns);
    buf_deinit(&values);
    return err;
}

Err db_row_insert(Db *db, const CatalogTable *table, Bytes row, bool *inserted, Diag *diag) {
    CatalogTable *own = catalog_table(db->catalog, table->table_id);
    SequenceSource source = {head_sequence_draw, db};
    Buf generated = {0};
    ASSERT(own && store_in_transaction(db->store));
    store_breathe(db->store);
    Err err = status_err(incoming_row(own, source, row, &db->row, &generated, &row), diag);
    buf_deinit(&generated);
    if (err != OK) return err;
    Diag why;
    diag_clear(&why);
    err = table_insert(own->table, row, inserted, &why);
    if (err == ERR_UNIQUE) return fail_unique(db, own, (uint32_t)why.at, row, diag);
    if (err != OK) return diag_fail(diag, err, "%s", err_text(err));
    return status_err(incoming_schedule(own, row, db->info.timestamp), diag);
}

Err db_row_delete(Db *db, const CatalogTable *table, Bytes row, Diag *diag) {
    store_breathe(db->store);
    Err err = table_delete_row(table->table, row);
    return err == OK ? OK : diag_fail(diag, err, "%s", err_text(err));
}

Err db_row_upsert(Db *db, const CatalogTable *table, Bytes row, bool *changed, Diag *diag) {
    StoreIndexInfo index = {0};
    for (uint32_t i = 0; i < table_index_count(table->table); i++) {
        index = table_index_at(table->table, i);
        if (index.unique && index.column_count == 1 &&
            index.columns[0] == (uint16_t)table->primary_key)
            break;
    }
    store_breathe(db->store);
    Err err = table_replace(table->table, index.index_id, row, changed, NULL);
    if (err == ERR_NOT_FOUND) return db_row_insert(db, table, row, changed, diag);
    return err == OK ? OK : diag_fail(diag, err, "%s", err_text(err));
}
