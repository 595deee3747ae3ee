// catalog_rewrite.h: giving the rows of a table another shape, and the questions a migration asks of
// the data. Private to the catalog.
#pragma once
#include "txn/catalog_internal.h"

// A table that gets a new id. Its old rows are read from the old store table, which lives until the
// sync after the copy.
typedef struct Rewrite {
    CatalogTable *from;
    const TableDef *to;
    uint32_t table_id;  // the new one
} Rewrite;

typedef struct RewriteList {
    Rewrite *at;
    uint32_t count, cap;
} RewriteList;

void rewrite_list_deinit(RewriteList *list);
const Rewrite *rewrite_of(const RewriteList *list, Str table);
MUST_USE Err rewrite_add(RewriteList *list, CatalogTable *from, const TableDef *to, Diag *diag);
// Replace the rows that describe each table by those of the new one.
MUST_USE Err rewrite_describe(Catalog *catalog, RewriteList *list, Diag *diag);
// Copy the rows, the new columns at their default values.
MUST_USE Err rewrite_copy(Catalog *catalog, const RewriteList *list, Diag *diag);

// Whether the column that clusters the stored rows is no longer unique in `to`.
bool loses_clustering_key(const CatalogTable *table, const TableDef *to);
// ERR_INVALID when a value is in the range of the sequence to be added.
MUST_USE Err precheck_sequence(const CatalogTable *table, const TableDef *to, Str name, Diag *diag);
// ERR_INVALID with the duplicates when there are any under the constraint to be added.
MUST_USE Err precheck_unique(const CatalogTable *table, const TableDef *to, Str name, Diag *diag);
