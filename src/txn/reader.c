#include "txn/reader.h"

#include "base/mem.h"
#include "txn/look.h"

struct DbReader {
    Look look;
};

static AbiErrno refuse_insert(Access *access, uint32_t table, Bytes row, Buf *generated) {
    (void)access, (void)table, (void)row, (void)generated;
    return ABI_TRANSACTION_IS_READ_ONLY;
}

static AbiErrno refuse_update(Access *access,
                              uint32_t table,
                              uint32_t index,
                              Bytes row,
                              Buf *generated) {
    (void)access, (void)table, (void)index, (void)row, (void)generated;
    return ABI_TRANSACTION_IS_READ_ONLY;
}

// Deleting by a point and deleting a relation's rows have one form.
static AbiErrno refuse_delete(Access *access, uint32_t of, Bytes what, uint32_t *deleted) {
    (void)access, (void)of, (void)what, (void)deleted;
    return ABI_TRANSACTION_IS_READ_ONLY;
}

static AbiErrno refuse_delete_range(Access *access,
                                    uint32_t index,
                                    const AccessRange *range,
                                    uint32_t *deleted) {
    (void)access, (void)index, (void)range, (void)deleted;
    return ABI_TRANSACTION_IS_READ_ONLY;
}

static AbiErrno refuse_clear(Access *access, uint32_t table, uint64_t *deleted) {
    (void)access, (void)table, (void)deleted;
    return ABI_TRANSACTION_IS_READ_ONLY;
}

static const AccessOps reader_ops = {
    .table_id = look_table_id,
    .index_id = look_index_id,
    .row_count = look_row_count,
    .scan_table = look_scan_table,
    .scan_point = look_scan_point,
    .scan_range = look_scan_range,
    .insert = refuse_insert,
    .update = refuse_update,
    .delete_point = refuse_delete,
    .delete_range = refuse_delete_range,
    .delete_all_by_eq = refuse_delete,
    .clear = refuse_clear,
    .jwt = look_jwt,
};

Err reader_new(Db *db, const Snapshot *snapshot, ReadSet *reads, DbReader **out) {
    DbReader *reader = MEM_NEW(DbReader);
    if (!reader) return ERR_NOMEM;
    reader->look = (Look){
        .access = {.ops = &reader_ops},
        .rows = &look_store_rows,
        .catalog = db_catalog(db),
        .snapshot = snapshot,
        .reads = reads,
        .open = true,
    };
    *out = reader;
    return OK;
}

void reader_free(DbReader **handle) {
    DbReader *reader = *handle;
    *handle = NULL;
    if (!reader) return;
    look_deinit(&reader->look);
    mem_free(reader);
}

Access *reader_access(DbReader *reader) {
    return &reader->look.access;
}
