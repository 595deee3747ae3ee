// catalog_rewrite.c: see catalog_rewrite.h.
#include "txn/catalog_rewrite.h"

#include "base/mem.h"

void rewrite_list_deinit(RewriteList *list) {
    mem_free(list->at);
    *list = (RewriteList){0};
}

const Rewrite *rewrite_of(const RewriteList *list, Str table) {
    for (uint32_t i = 0; i < list->count; i++) {
        if (str_eq(list->at[i].to->name, table)) return &list->at[i];
    }
    return NULL;
}

Err rewrite_add(RewriteList *list, CatalogTable *from, const TableDef *to, Diag *diag) {
    if (rewrite_of(list, to->name)) return OK;
    if (list->count == list->cap) {
        uint32_t cap = list->cap ? list->cap * 2 : 4;
        Rewrite *at = mem_realloc(list->at, cap * sizeof *at);
        if (!at) return diag_fail(diag, ERR_NOMEM, "out of memory");
        list->at = at;
        list->cap = cap;
    }
    list->at[list->count++] = (Rewrite){.from = from, .to = to};
    return OK;
}

bool loses_clustering_key(const CatalogTable *table, const TableDef *to) {
    int32_t column = table_primary_column(table->table);
    if (column < 0) return false;
    for (uint32_t i = 0; i < to->constraint_count; i++) {
        if (to->constraints[i].column_count == 1 && to->constraints[i].columns[0] == column)
            return false;
    }
    return true;
}

Err rewrite_describe(Catalog *catalog, RewriteList *list, Diag *diag) {
    Err err = OK;
    for (uint32_t i = 0; err == OK && i < list->count; i++) {
        Rewrite *rewrite = &list->at[i];
        err = catalog_erase_table(catalog, rewrite->from, diag);
        if (err != OK) break;
        err = catalog_write_table(catalog, rewrite->to, rewrite->from, &rewrite->table_id, diag);
    }
    return err;
}

// Old columns come first and keep their bytes, even under a widened type; new ones have defaults.
static Err copy_rows(const Rewrite *rewrite, Table *to, Bytes defaults, Diag *diag) {
    TableScan scan;
    Bytes row;
    Buf copy = {0};
    Err err = OK;
    table_scan_begin(&scan, rewrite->from->table, NULL, TABLE_ROWS, BYTES_NONE, BYTES_NONE);
    while (err == OK && table_scan_next(&scan, &row)) {
        buf_clear(&copy);
        buf_put_bytes(&copy, row);
        buf_put_bytes(&copy, defaults);
        err = buf_ok(&copy) ? table_insert(to, buf_bytes(&copy), NULL, NULL) : ERR_NOMEM;
    }
    table_scan_end(&scan);
    buf_deinit(&copy);
    if (err == OK) err = scan.err;
    if (err == OK) return OK;
    // Two rows with the same default in a new column that is unique: the definition is at fault.
    return diag_fail(diag,
                     err == ERR_UNIQUE ? ERR_INVALID : err,
                     "cannot copy the rows of table `" STR_FMT "`: %s",
                     STR_ARG(rewrite->to->name),
                     err_text(err));
}

static Err rewrite_copy_one(Catalog *catalog, const Rewrite *rewrite, Diag *diag) {
    if (rewrite->to->is_event) return OK;  // no rows, and the columns need not fit
    const CatalogTable *to = catalog_table(catalog, rewrite->table_id);
    Buf defaults = {0};
    for (uint32_t i = rewrite->from->column_count; i < rewrite->to->column_count; i++)
        buf_put_bytes(&defaults, rewrite->to->columns[i].default_value);
    Err err = buf_ok(&defaults) ? copy_rows(rewrite, to->table, buf_bytes(&defaults), diag)
                                : diag_fail(diag, ERR_NOMEM, "out of memory");
    buf_deinit(&defaults);
    return err;
}

Err rewrite_copy(Catalog *catalog, const RewriteList *list, Diag *diag) {
    Err err = OK;
    for (uint32_t i = 0; err == OK && i < list->count; i++)
        err = rewrite_copy_one(catalog, &list->at[i], diag);
    return err;
}

// ── what only the data can tell ────────────────────────────────────────────────────────────────

// An integer column as 128 bits; wider ones are cut, as the sequence's values are when stored.
static __int128 integer_at(const Type *type, Bytes value) {
    bool is_signed = (type->kind - TYPE_I8) % 2 == 0;  // I8, U8, I16, U16 …
    bool negative = is_signed && value.len > 0 && (value.ptr[value.len - 1] & 0x80);
    __int128 out;
    uint8_t wide[sizeof out];
    memset(wide, negative ? 0xff : 0, sizeof wide);
    memcpy(wide, value.ptr, MIN(value.len, sizeof wide));
    memcpy(&out, wide, sizeof out);
    return out;
}

static __int128 bound(const Int128 *value) {
    __int128 out;
    memcpy(&out, value->le, sizeof out);
    return out;
}

Err precheck_sequence(const CatalogTable *table, const TableDef *to, Str name, Diag *diag) {
    const SequenceDef *sequence = to->sequences;
    while (!str_eq(sequence->name, name))
        sequence++;  // the plan took the name from here
    // A column that is only being added has no values yet.
    if (sequence->column >= table->column_count) return OK;
    StSequence bounds;
    sequence_bounds(sequence, &bounds);
    __int128 min = bound(&bounds.min), max = bound(&bounds.max);
    const RowLayout *layout = table_layout(table->table);
    TableScan scan;
    Bytes row;
    bool found = false;
    table_scan_begin(&scan, table->table, NULL, TABLE_ROWS, BYTES_NONE, BYTES_NONE);
    while (!found && table_scan_next(&scan, &row)) {
        Bytes value = row_column(layout, row, sequence->column);
        __int128 number = integer_at(table->columns[sequence->column].type, value);
        found = number >= min && number <= max;
    }
    table_scan_end(&scan);
    if (scan.err != OK) return diag_fail(diag, scan.err, "%s", err_text(scan.err));
    if (!found) return OK;
    return diag_fail(diag,
                     ERR_INVALID,
                     "Precheck failed: added sequence " STR_FMT " already has values in range",
                     STR_ARG(name));
}
