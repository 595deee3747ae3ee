// catalog_apply.c: replay, one operation of the log at a time.
//
// A commit's deletes come before its inserts, and operations are ordered by table, system tables
// first. So when the first row of a new table arrives, every row that describes it is there: the
// catalog catches up at that moment, and again at the end of the commit.
#include "txn/catalog_internal.h"

static Err corrupt(Diag *diag, const CommitOp *op, const char *why) {
    return diag_fail(diag, ERR_CORRUPT, "the log does not fit: table %u: %s", op->table_id, why);
}

static Err row_check(const Table *table, const CommitOp *op, Diag *diag) {
    size_t len = 0;
    Diag why;
    diag_clear(&why);
    Err err = bsatn_check(table_layout(table)->row_type, op->bytes, &len, &why);
    if (err != OK) return corrupt(diag, op, why.text);
    return len == op->bytes.len ? OK : corrupt(diag, op, "a row is longer than its type");
}

static Err apply_row(Table *table, const CommitOp *op, Diag *diag) {
    bool replaces = op->kind == COMMIT_REPLACE, changed = false;
    Diag why;
    diag_clear(&why);
    Err err = row_check(table, op, diag);
    if (err != OK) return err;
    if (replaces && table_primary_column(table) < 0)
        return corrupt(diag, op, "a row is replaced in a table without a primary key");
    err = replaces ? table_replace(table, TABLE_ROWS, op->bytes, &changed, &why)
                   : table_insert(table, op->bytes, &changed, &why);
    if (err == ERR_UNIQUE) return corrupt(diag, op, why.text);
    if (err == ERR_NOT_FOUND) return corrupt(diag, op, "a replaced row was not there");
    if (err != OK) return diag_fail(diag, err, "cannot replay a row: %s", err_text(err));
    return changed ? OK : corrupt(diag, op, "a row was there already");
}

static Err apply_delete(Table *table, const CommitOp *op, Diag *diag) {
    bool keyed = op->kind == COMMIT_DELETE;
    Err err = keyed ? table_delete_key(table, op->bytes) : table_delete_row(table, op->bytes);
    if (err == ERR_NOT_FOUND) return corrupt(diag, op, "a deleted row was not there");
    return err == OK ? OK : diag_fail(diag, err, "cannot replay a delete: %s", err_text(err));
}

static Err apply_clear(Table *table, Diag *diag) {
    uint64_t deleted;
    Err err = table_clear(table, &deleted);
    return err == OK ? OK : diag_fail(diag, err, "cannot replay a clear: %s", err_text(err));
}

Err catalog_apply(Catalog *catalog, const CommitOp *op, Diag *diag) {
    bool is_user = op->table_id >= CATALOG_FIRST_USER_ID;
    bool is_row = op->kind == COMMIT_INSERT || op->kind == COMMIT_REPLACE;
    if (is_user && catalog->pending && is_row) {
        Err err = catalog_sync(catalog, diag);
        if (err != OK) return err;
    }
    const CatalogTable *table = catalog_table(catalog, op->table_id);
    if (!table) return corrupt(diag, op, "there is no such table");
    // A sequence that moves changes nothing that a row depends on.
    if (catalog_is_schema_table(op->table_id) && op->table_id != ST_SEQUENCE)
        catalog->pending = true;
    switch (op->kind) {
    case COMMIT_INSERT:
    case COMMIT_REPLACE: return apply_row(table->table, op, diag);
    case COMMIT_DELETE:
    case COMMIT_DELETE_ROW: return apply_delete(table->table, op, diag);
    case COMMIT_TRUNCATE: return apply_clear(table->table, diag);
    case COMMIT_EVENT: return OK;  // history only
    }
    return corrupt(diag, op, "unknown kind of operation");
}
