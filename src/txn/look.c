#include "txn/look.h"

#include "txn/range.h"

static Look *look_of(Access *access) {
    return (Look *)access;
}

void look_deinit(Look *look) {
    Buf *scratch[] = {&look->key, &look->lower, &look->upper, &look->saved};
    for (size_t i = 0; i < ARRAY_LEN(scratch); i++) {
        buf_deinit(scratch[i]);
    }
}

// ── the store's rows ───────────────────────────────────────────────────────────────────────────

static AbiErrno store_rows_scan(Look *look,
                                const CatalogTable *table,
                                uint32_t index_id,
                                Bytes lower,
                                Bytes upper,
                                RowSink sink) {
    TableScan cursor;
    Bytes row;
    bool wanted = true;
    table_scan_begin(&cursor, table->table, look->snapshot, index_id, lower, upper);
    for (uint32_t rows = 1; wanted && table_scan_next(&cursor, &row); rows++) {
        wanted = sink.row(sink.ctx, row);
        if (rows % TABLE_BREATHE_ROWS == 0) table_breathe(table->table, look->snapshot);
    }
    table_scan_end(&cursor);
    return wanted && cursor.err == OK ? ABI_OK : ABI_FATAL;
}

static Err store_rows_find(Look *look,
                           const CatalogTable *table,
                           uint32_t index_id,
                           Bytes key,
                           Bytes *row) {
    if (index_id == TABLE_ROWS) return table_get(table->table, look->snapshot, key, row);
    return table_find(table->table, look->snapshot, index_id, key, row);
}

static uint64_t store_rows_count(const Look *look, const CatalogTable *table) {
    return table_row_count(table->table, look->snapshot);
}

const LookRows look_store_rows = {
    .scan = store_rows_scan,
    .find = store_rows_find,
    .count = store_rows_count,
};

// ── what was read ──────────────────────────────────────────────────────────────────────────────

static uint32_t read_index(const CatalogTable *table, const CatalogIndex *index) {
    bool is_rows =
        index->column_count == 1 && index->columns[0] == table_primary_column(table->table);
    return is_rows ? TABLE_ROWS : index->index_id;
}

bool look_saw_table(Look *look, const CatalogTable *table) {
    return !look->reads || readset_table(look->reads, table->table_id) == OK;
}

bool look_saw_key(Look *look, const CatalogTable *table, const CatalogIndex *index, Bytes key) {
    if (!look->reads) return true;
    return readset_point(look->reads, table->table_id, read_index(table, index), key) == OK;
}

static bool saw_range(Look *look,
                      const CatalogTable *table,
                      const CatalogIndex *index,
                      Bytes lower,
                      Bytes upper) {
    if (!look->reads) return true;
    return readset_range(look->reads, table->table_id, read_index(table, index), lower, upper) ==
           OK;
}

// ── names and ids ──────────────────────────────────────────────────────────────────────────────

// Results of views are not for modules, whatever name or id they guess.
static bool is_seen(const CatalogTable *table) {
    return table && table->table && !table->is_view;
}

AbiErrno look_table(const Look *look, uint32_t id, CatalogTable **out) {
    if (!look->open) return ABI_NOT_IN_TRANSACTION;
    *out = catalog_table(look->catalog, id);
    return is_seen(*out) ? ABI_OK : ABI_NO_SUCH_TABLE;
}

AbiErrno look_index(const Look *look,
                    uint32_t id,
                    CatalogTable **table,
                    const CatalogIndex **index) {
    if (!look->open) return ABI_NOT_IN_TRANSACTION;
    *table = catalog_index_by_id(look->catalog, id, index);
    return is_seen(*table) ? ABI_OK : ABI_NO_SUCH_INDEX;
}

AbiErrno look_table_id(Access *access, Str name, uint32_t *out) {
    const Look *look = look_of(access);
    if (!look->open) return ABI_NOT_IN_TRANSACTION;
    const CatalogTable *table = catalog_table_by_name(look->catalog, name);
    if (!is_seen(table)) return ABI_NO_SUCH_TABLE;
    *out = table->table_id;
    return ABI_OK;
}

AbiErrno look_index_id(Access *access, Str name, uint32_t *out) {
    const Look *look = look_of(access);
    if (!look->open) return ABI_NOT_IN_TRANSACTION;
    const CatalogIndex *index;
    if (!is_seen(catalog_index_by_name(look->catalog, name, &index))) return ABI_NO_SUCH_INDEX;
    *out = index->index_id;
    return ABI_OK;
}

// ── reading ────────────────────────────────────────────────────────────────────────────────────

AbiErrno look_row_count(Access *access, uint32_t id, uint64_t *out) {
    Look *look = look_of(access);
    CatalogTable *table;
    AbiErrno status = look_table(look, id, &table);
    if (status != ABI_OK) return status;
    if (!look_saw_table(look, table)) return ABI_FATAL;
    *out = look->rows->count(look, table);
    return ABI_OK;
}

AbiErrno look_scan_table(Access *access, uint32_t id, RowSink sink) {
    Look *look = look_of(access);
    CatalogTable *table;
    AbiErrno status = look_table(look, id, &table);
    if (status != ABI_OK) return status;
    if (!look_saw_table(look, table)) return ABI_FATAL;
    status = look->rows->scan(look, table, TABLE_ROWS, BYTES_NONE, BYTES_NONE, sink);
    look_breathe(look);
    return status;
}

// All rows with this key, through a unique index by look-up, else by the range of keys it begins.
static AbiErrno scan_key(Look *look,
                         const CatalogTable *table,
                         const CatalogIndex *index,
                         RowSink sink) {
    Bytes key = buf_bytes(&look->key);
    if (!look_saw_key(look, table, index, key)) return ABI_FATAL;
    if (index->unique) {
        Bytes row;
        Err err = look->rows->find(look, table, index->index_id, key, &row);
        if (err == ERR_NOT_FOUND) return ABI_OK;
        if (err != OK) return ABI_FATAL;
        return sink.row(sink.ctx, row) ? ABI_OK : ABI_FATAL;
    }
    buf_clear(&look->upper);
    buf_put_bytes(&look->upper, key);
    if (!key_successor(&look->upper)) buf_clear(&look->upper);
    if (!buf_ok(&look->upper)) return ABI_FATAL;
    return look->rows->scan(look, table, index->index_id, key, buf_bytes(&look->upper), sink);
}

AbiErrno look_scan_point(Access *access, uint32_t id, Bytes point, RowSink sink) {
    Look *look = look_of(access);
    CatalogTable *table;
    const CatalogIndex *index;
    AbiErrno status = look_index(look, id, &table, &index);
    if (status != ABI_OK) return status;
    buf_clear(&look->key);
    status = range_point_key(table, index, point, &look->key);
    if (status == ABI_OK) status = scan_key(look, table, index, sink);
    look_breathe(look);
    return status;
}

AbiErrno look_scan_range(Access *access, uint32_t id, const AccessRange *range, RowSink sink) {
    Look *look = look_of(access);
    CatalogTable *table;
    const CatalogIndex *index;
    bool empty;
    AbiErrno status = look_index(look, id, &table, &index);
    if (status != ABI_OK) return status;
    buf_clear(&look->lower);
    buf_clear(&look->upper);
    status = range_keys(table, index, range, &look->lower, &look->upper, &empty);
    if (status != ABI_OK || empty) return status;
    Bytes lower = buf_bytes(&look->lower), upper = buf_bytes(&look->upper);
    bool noted = range_is_point(table, index, range) ? look_saw_key(look, table, index, lower)
                                                     : saw_range(look, table, index, lower, upper);
    if (!noted) return ABI_FATAL;
    status = look->rows->scan(look, table, index->index_id, lower, upper, sink);
    look_breathe(look);
    return status;
}

// st_connection_credentials is keyed by the connection id; its row is (u128, String).
AbiErrno look_jwt(Access *access, const ConnectionId *connection, Bytes *out) {
    Look *look = look_of(access);
    CatalogTable *table;
    AbiErrno status = look_table(look, ST_CONNECTION_CREDENTIALS, &table);
    if (status != ABI_OK) return status;
    *out = BYTES_NONE;
    buf_clear(&look->key);
    key_append(&look->key, type_simple(TYPE_U128), connection->le);
    if (!buf_ok(&look->key)) return ABI_FATAL;
    Bytes key = buf_bytes(&look->key), row;
    if (look->reads && readset_point(look->reads, table->table_id, TABLE_ROWS, key) != OK)
        return ABI_FATAL;
    Err err = look->rows->find(look, table, TABLE_ROWS, key, &row);
    buf_clear(&look->saved);
    if (err == OK) buf_put_bytes(&look->saved, row);
    look_breathe(look);
    if (err == ERR_NOT_FOUND) return ABI_OK;
    if (err != OK) return ABI_FATAL;
    if (!buf_ok(&look->saved)) return ABI_FATAL;
    *out = row_column(table_layout(table->table), buf_bytes(&look->saved), 1);
    out->ptr += 4;
    out->len -= 4;
    return ABI_OK;
}
