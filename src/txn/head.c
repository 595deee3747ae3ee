// head.c: Access on the head: what a call in the fast lane reads and writes.
//
// The loop's thread runs one call at a time directly against the head, with the store's change list
// to undo it. Rows come and go as BSATN; a row from a module is checked against the table's type
// before anything else, so a store never holds bytes that are not a row. Reading is look.c's; scans
// hand each row to the host's sink before anything can change, deletes collect keys first, then
// delete.
//
// Spec: module-abi §1.8, §1.9. The slow lane's overlay.c is the other implementation that writes.
#include "txn/head.h"

#include "base/mem.h"
#include "txn/range.h"

// §5.8: schedules further ahead than this are refused (64^6 ms, less one).
#define SCHEDULE_DELAY_MAX_US ((((int64_t)1 << 36) - 1) * 1000)

static Db *head_of(Access *access) {
    return (Db *)access;
}

static AbiErrno status_of(Err err) {
    switch (err) {
    case OK: return ABI_OK;
    case ERR_UNIQUE: return ABI_UNIQUE_ALREADY_EXISTS;
    case ERR_NOT_FOUND: return ABI_NO_SUCH_ROW;
    case ERR_MALFORMED: return ABI_BSATN_DECODE_ERROR;
    default: return ABI_FATAL;
    }
}

// ── writing ────────────────────────────────────────────────────────────────────────────────────

static Micros schedule_delay(const Db *db, const CatalogTable *table, Bytes row) {
    Bytes at = row_column(table_layout(table->table), row, table->schedule_at_column);
    int64_t micros = (int64_t)load_u64(at.ptr + 1);
    if (at.ptr[0] == 0) return micros == INT64_MIN ? INT64_MAX : micros < 0 ? -micros : micros;
    int64_t delay;
    if (__builtin_sub_overflow(micros, db->info.timestamp, &delay))
        return micros < 0 ? 0 : INT64_MAX;
    return delay;
}

// Check the row and give it its generated columns. *out borrows from `row` or from db->row.
static AbiErrno row_prepare(Db *db, CatalogTable *table, Bytes row, Buf *generated, Bytes *out) {
    size_t len;
    if (bsatn_check(table->row_type, row, &len, NULL) != OK) return ABI_BSATN_DECODE_ERROR;
    *out = BYTES(row.ptr, len);
    if (table->sequence_count && head_sequences_wanted(table, *out)) {
        buf_clear(&db->row);
        buf_put_bytes(&db->row, *out);
        if (!buf_ok(&db->row)) return ABI_FATAL;
        AbiErrno status = head_sequences_fill(db, table, db->row.ptr, db->row.len, generated);
        if (status != ABI_OK) return status;
        if (!buf_ok(generated)) return ABI_FATAL;
        *out = buf_bytes(&db->row);
    }
    return ABI_OK;
}

static AbiErrno schedule_check(const Db *db, const CatalogTable *table, Bytes row) {
    if (!table->schedule_id) return ABI_OK;
    return schedule_delay(db, table, row) > SCHEDULE_DELAY_MAX_US ? ABI_SCHEDULE_AT_DELAY_TOO_LONG
                                                                  : ABI_OK;
}

static AbiErrno head_insert(Access *access, uint32_t id, Bytes row, Buf *generated) {
    Db *db = head_of(access);
    CatalogTable *table;
    AbiErrno status = look_table(&db->look, id, &table);
    if (status != ABI_OK) return status;
    if ((status = row_prepare(db, table, row, generated, &row)) != ABI_OK) return status;
    if ((status = status_of(table_insert(table->table, row, NULL, NULL))) != ABI_OK) return status;
    return schedule_check(db, table, row);
}

static AbiErrno head_update(Access *access,
                            uint32_t id,
                            uint32_t index_id,
                            Bytes row,
                            Buf *generated) {
    Db *db = head_of(access);
    CatalogTable *table, *index_table;
    const CatalogIndex *index;
    AbiErrno status = look_table(&db->look, id, &table);
    if (status != ABI_OK) return status;
    if ((status = look_index(&db->look, index_id, &index_table, &index)) != ABI_OK) return status;
    if (index_table != table) return ABI_NO_SUCH_INDEX;
    if (!index->unique) return ABI_INDEX_NOT_UNIQUE;
    if ((status = row_prepare(db, table, row, generated, &row)) != ABI_OK) return status;
    bool changed;
    if ((status = status_of(table_replace(table->table, index_id, row, &changed, NULL))) != ABI_OK)
        return status;
    return schedule_check(db, table, row);
}

typedef struct KeyCollector {
    const Table *table;
    Buf *keys;  // u32 length and key, one after another
    uint32_t count;
} KeyCollector;

static bool collect_key(void *ctx, Bytes row) {
    KeyCollector *collector = ctx;
    size_t at = collector->keys->len;
    buf_put_u32(collector->keys, 0);
    table_row_key(collector->table, row, collector->keys);
    if (!buf_ok(collector->keys)) return false;
    store_u32(collector->keys->ptr + at, (uint32_t)(collector->keys->len - at - 4));
    collector->count++;
    return true;
}

static AbiErrno delete_collected(Table *table, const Buf *keys) {
    for (size_t at = 0; at < keys->len;) {
        uint32_t len = load_u32(keys->ptr + at);
        Err err = table_delete_key(table, BYTES(keys->ptr + at + 4, len));
        if (err != OK) return ABI_FATAL;
        at += 4 + len;
    }
    return ABI_OK;
}

static AbiErrno head_delete_point(Access *access, uint32_t id, Bytes point, uint32_t *deleted) {
    Db *db = head_of(access);
    CatalogTable *table;
    const CatalogIndex *index;
    AbiErrno status = look_index(&db->look, id, &table, &index);
    if (status != ABI_OK) return status;
    buf_clear(&db->found);
    KeyCollector collector = {.table = table->table, .keys = &db->found};
    status = look_scan_point(access, id, point, (RowSink){collect_key, &collector});
    if (status != ABI_OK) return status;
    *deleted = collector.count;
    return delete_collected(table->table, &db->found);
}

static AbiErrno head_delete_range(Access *access,
                                  uint32_t id,
                                  const AccessRange *range,
                                  uint32_t *deleted) {
    Db *db = head_of(access);
    CatalogTable *table;
    const CatalogIndex *index;
    AbiErrno status = look_index(&db->look, id, &table, &index);
    if (status != ABI_OK) return status;
    buf_clear(&db->found);
    KeyCollector collector = {.table = table->table, .keys = &db->found};
    status = look_scan_range(access, id, range, (RowSink){collect_key, &collector});
    if (status != ABI_OK) return status;
    *deleted = collector.count;
    return delete_collected(table->table, &db->found);
}

static AbiErrno head_delete_all_by_eq(Access *access,
                                      uint32_t id,
                                      Bytes relation,
                                      uint32_t *deleted) {
    CatalogTable *table;
    AbiErrno status = look_table(&head_of(access)->look, id, &table);
    if (status != ABI_OK) return status;
    if (relation.len < 4) return ABI_BSATN_DECODE_ERROR;
    uint32_t count = load_u32(relation.ptr);
    Bytes rest = {relation.ptr + 4, relation.len - 4};
    *deleted = 0;
    for (uint32_t i = 0; i < count; i++) {
        size_t len;
        if (bsatn_check(table->row_type, rest, &len, NULL) != OK) return ABI_BSATN_DECODE_ERROR;
        Err err = table_delete_row(table->table, BYTES(rest.ptr, len));
        if (err == OK) (*deleted)++;
        if (err != OK && err != ERR_NOT_FOUND) return ABI_FATAL;
        rest = (Bytes){rest.ptr + len, rest.len - len};
    }
    return ABI_OK;
}

static AbiErrno head_clear(Access *access, uint32_t id, uint64_t *deleted) {
    CatalogTable *table;
    AbiErrno status = look_table(&head_of(access)->look, id, &table);
    return status == ABI_OK ? status_of(table_clear(table->table, deleted)) : status;
}

static const AccessOps head_ops = {
    .table_id = look_table_id,
    .index_id = look_index_id,
    .row_count = look_row_count,
    .scan_table = look_scan_table,
    .scan_point = look_scan_point,
    .scan_range = look_scan_range,
    .insert = head_insert,
    .update = head_update,
    .delete_point = head_delete_point,
    .delete_range = head_delete_range,
    .delete_all_by_eq = head_delete_all_by_eq,
    .clear = head_clear,
    .jwt = look_jwt,
};

void head_init(Db *db) {
    db->look.access.ops = &head_ops;
    db->look.rows = &look_store_rows;
}

void head_deinit(Db *db) {
    look_deinit(&db->look);
    buf_deinit(&db->row);
    buf_deinit(&db->found);
    mem_free(db->drawn);
}

Access *db_access(Db *db) {
    return &db->look.access;
}

bool head_touched_schema(const Db *db) {
    size_t count;
    const Change *changes = store_changes(db->store, &count);
    for (size_t i = 0; i < count; i++) {
        if (catalog_is_schema_table(table_id(changes[i].table))) return true;
    }
    return false;
}
