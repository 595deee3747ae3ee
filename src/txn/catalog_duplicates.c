// catalog_duplicates.c: which rows would break a unique constraint that is to be added, told so that
// a person can find them (module-abi §6.4).
#include <stdlib.h>

#include "sats/json.h"
#include "txn/catalog_rewrite.h"

enum { GROUPS_SHOWN = 10 };

// The key of each row and where its columns begin, sorted by key: equal keys become neighbours.
typedef struct KeyedRow {
    Bytes key;
    Bytes row;
} KeyedRow;

typedef struct KeyedRows {
    Arena arena;
    KeyedRow *at;
    size_t count;
} KeyedRows;

static int by_key(const void *a, const void *b) {
    const KeyedRow *x = a, *y = b;
    return bytes_cmp(x->key, y->key);
}

static Err keyed_row(KeyedRows *rows,
                     const RowLayout *layout,
                     const ConstraintDef *constraint,
                     Bytes row,
                     Buf *key) {
    buf_clear(key);
    key_append_columns(key, layout, row, constraint->columns, constraint->column_count);
    KeyedRow *out = &rows->at[rows->count++];
    out->key = arena_bytes(&rows->arena, buf_bytes(key));
    out->row = arena_bytes(&rows->arena, row);
    bool ok = buf_ok(key) && out->key.len == key->len && out->row.len == row.len;
    return ok ? OK : ERR_NOMEM;
}

static Err collect(KeyedRows *rows, const CatalogTable *table, const ConstraintDef *constraint) {
    uint64_t count = table_row_count(table->table, NULL);
    rows->at = arena_array(&rows->arena, KeyedRow, count);
    if (!rows->at) return ERR_NOMEM;
    TableScan scan;
    Bytes row;
    Buf key = {0};
    Err err = OK;
    table_scan_begin(&scan, table->table, NULL, TABLE_ROWS, BYTES_NONE, BYTES_NONE);
    while (err == OK && rows->count < count && table_scan_next(&scan, &row))
        err = keyed_row(rows, table_layout(table->table), constraint, row, &key);
    table_scan_end(&scan);
    buf_deinit(&key);
    if (err == OK) err = scan.err;
    if (err == OK && rows->count) qsort(rows->at, rows->count, sizeof *rows->at, by_key);
    return err;
}

static void put_value(Buf *out,
                      const CatalogTable *table,
                      const ConstraintDef *constraint,
                      Bytes row) {
    bool several = constraint->column_count > 1;
    if (several) buf_put_u8(out, '(');
    for (uint32_t i = 0; i < constraint->column_count; i++) {
        uint16_t column = constraint->columns[i];
        if (i) buf_put_str(out, STR(", "));
        Bytes value = row_column(table_layout(table->table), row, column);
        json_write(out, table->columns[column].type, value.ptr, JSON_UNTYPED);
    }
    if (several) buf_put_u8(out, ')');
}

// Append a line for each of the first groups of equal keys; returns how many groups there are.
static size_t put_groups(Buf *out,
                         const KeyedRows *rows,
                         const CatalogTable *table,
                         const ConstraintDef *constraint) {
    size_t groups = 0;
    for (size_t begin = 0, end; begin < rows->count; begin = end) {
        for (end = begin + 1; end < rows->count; end++) {
            if (!bytes_eq(rows->at[begin].key, rows->at[end].key)) break;
        }
        if (end - begin == 1) continue;
        if (groups++ >= GROUPS_SHOWN) continue;
        buf_put_str(out, STR("\n  - "));
        put_value(out, table, constraint, rows->at[begin].row);
        buf_printf(out, " appears %zu times", end - begin);
    }
    if (groups > GROUPS_SHOWN) buf_put_str(out, STR("\n  ... and more"));
    return groups;
}

static void put_column_ids(Buf *out, const ConstraintDef *constraint) {
    for (uint32_t i = 0; i < constraint->column_count; i++)
        buf_printf(out, "%s%u", i ? ", " : "", constraint->columns[i]);
}

static Err report(const CatalogTable *table,
                  const ConstraintDef *constraint,
                  const KeyedRows *rows,
                  Diag *diag) {
    Buf groups = {0}, columns = {0};
    size_t count = put_groups(&groups, rows, table, constraint);
    put_column_ids(&columns, constraint);
    Err err = buf_ok(&groups) && buf_ok(&columns) ? OK : ERR_NOMEM;
    if (err != OK)
        diag_fail(diag, err, "out of memory");
    else if (count > 0)
        err = diag_fail(diag,
                        ERR_INVALID,
                        "Cannot add unique constraint on table %u column(s) " STR_FMT
                        " (committed state):\n%zu duplicate group(s) found." STR_FMT,
                        table->table_id,
                        STR_ARG(bytes_str(buf_bytes(&columns))),
                        count,
                        STR_ARG(bytes_str(buf_bytes(&groups))));
    buf_deinit(&groups);
    buf_deinit(&columns);
    return err;
}

Err precheck_unique(const CatalogTable *table, const TableDef *to, Str name, Diag *diag) {
    const ConstraintDef *constraint = to->constraints;
    while (!str_eq(constraint->name, name))
        constraint++;  // the plan took the name from here
    KeyedRows rows = {0};
    // A constraint over a column that is only being added, all at one default value, is refused by
    // the copy when there are two rows.
    for (uint32_t i = 0; i < constraint->column_count; i++) {
        if (constraint->columns[i] >= table->column_count) return OK;
    }
    Err err = collect(&rows, table, constraint);
    if (err == OK)
        err = report(table, constraint, &rows, diag);
    else
        diag_fail(diag, err, "out of memory");
    arena_deinit(&rows.arena);
    return err;
}
