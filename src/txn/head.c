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
#include "txn/incoming.h"
#include "txn/range.h"

static Db *head_of(Access *access) {
    return (Db *)access;
}

// ── writing ────────────────────────────────────────────────────────────────────────────────────

static AbiErrno row_take(Db *db, CatalogTable *table, Bytes *row, Buf *generated) {
    SequenceSource source = {head_sequence_draw, db};
    return incoming_row(table, source, *row, &db->row, generated, row);
}

// db_set_aside
static AbiErrno go_aside(Db *db) {
    db->aside.is = true;
    return ABI_FATAL;
}

static AbiErrno head_insert(Access *access, uint32_t id, Bytes row, Buf *generated) {
    Db *db = head_of(access);
    CatalogTable *table;
    AbiErrno status = look_table(&db->look, id, &table);
    if (status != ABI_OK) return status;
    look_breathe(&db->look);
    if (UNLIKELY(db->aside.cleared == table && access->may_begin_again)) return go_aside(db);
    if ((status = row_take(db, table, &row, generated)) != ABI_OK) return status;
    if ((status = incoming_status(table_insert(table->table, row, NULL, NULL))) != ABI_OK)
        return status;
    return incoming_schedule(table, row, db->info.timestamp);
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
    look_breathe(&db->look);
    if ((status = look_index(&db->look, index_id, &index_table, &index)) != ABI_OK) return status;
    if (index_table != table) return ABI_NO_SUCH_INDEX;
    if (!index->unique) return ABI_INDEX_NOT_UNIQUE;
    if ((status = row_take(db, table, &row, generated)) != ABI_OK) return status;
    bool changed;
    if ((status = incoming_status(table_replace(table->table, index_id, row, &changed, NULL))) !=
        ABI_OK)
        return status;
    return incoming_schedule(table, row, db->info.timestamp);
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
    look_breathe(&head_of(access)->look);
    IncomingRows rows;
    Bytes row;
    if ((status = incoming_rows(&rows, table, relation)) != ABI_OK) return status;
    *deleted = 0;
    while (incoming_next(&rows, &row)) {
        Err err = table_delete_row(table->table, row);
        if (err == OK) (*deleted)++;
        if (err != OK && err != ERR_NOT_FOUND) return ABI_FATAL;
    }
    return status;
}

static bool is_changed(const Db *db, const CatalogTable *table) {
    size_t count;
    const Change *changes = store_changes(db->store, &count);
    for (size_t i = 0; i < count; i++) {
        if (changes[i].table == table->table) return true;
    }
    return false;
}

static bool is_told(const Db *db, const CatalogTable *table) {
    return db->aside.wanted && db->aside.wanted(db->aside.ctx, table->table_id);
}

static AbiErrno head_clear(Access *access, uint32_t id, uint64_t *deleted) {
    CatalogTable *table;
    Db *db = head_of(access);
    AbiErrno status = look_table(&db->look, id, &table);
    if (status != ABI_OK) return status;
    bool is_large = table_row_count(table->table, NULL) >= DB_LARGE_ROWS && !table->is_event;
    if (is_large && access->may_begin_again && (is_told(db, table) || is_changed(db, table)))
        return go_aside(db);
    if (is_large) db->aside.cleared = table;
    return incoming_status(table_clear(table->table, deleted));
}

static bool head_foresee(Access *access, uint32_t id, Bytes point) {
    Db *db = head_of(access);
    CatalogTable *table;
    const CatalogIndex *index;
    if (look_index(&db->look, id, &table, &index) != ABI_OK || !index->unique) return false;
    buf_clear(&db->look.key);
    return range_point_key(table, index, point, &db->look.key) == ABI_OK &&
           table_foresee(table->table, index->index_id, buf_bytes(&db->look.key));
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
    .foresee = head_foresee,
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

static bool is_schema_of(const Table *table) {
    uint32_t id = table_id(table);
    // Where a sequence stands is put back by head_sequences_restore.
    return id != ST_SEQUENCE && catalog_is_schema_table(id);
}

bool head_touched_schema(const Db *db) {
    size_t count, position = 0;
    StoreClear clear;
    const Change *changes = store_changes(db->store, &count);
    for (size_t i = 0; i < count; i++) {
        if (is_schema_of(changes[i].table)) return true;
    }
    while (store_next_clear(db->store, &position, &clear)) {
        if (is_schema_of(clear.table)) return true;
    }
    return false;
}
