// catalog_internal.h: the inside of a Catalog, shared by catalog*.c.
//
// PICTURE
//   catalog.c          open, close, look-ups
//   catalog_system.c   what the system tables are        catalog_rows.c  their rows as C values
//   catalog_sync.c     rows -> entries and store tables  catalog_image.c reading the rows
//   catalog_write.c    writing the rows of one table     catalog_apply.c replay
//   catalog_view.c     the same of one view
//   catalog_create.c   first publish                     catalog_migrate.c, catalog_rewrite.c  later ones
//
// An *entry* is a CatalogTable with the memory behind it and the rows it was made from. It never
// changes except in its sequences: a table that changed gets a new entry and the old one is kept
// aside until the catalog closes. Whoever still holds a pointer to it, the store's table that still
// uses its row type, and a rollback that wants it back all find it alive; the price is a few hundred
// bytes a migration.
#pragma once
#include "txn/catalog_rows.h"
#include "txn/catalog_system.h"

typedef struct CatalogEntry {
    CatalogTable table;  // first: a CatalogTable* of the catalog is an entry
    Arena arena;
    Bytes fingerprint;  // the rows it was made from; empty for system tables
} CatalogEntry;

typedef struct EntryList {
    CatalogEntry **at;
    uint32_t count, cap;
} EntryList;

typedef struct IndexSlot {
    CatalogTable *table;
    const CatalogIndex *index;
} IndexSlot;

struct Catalog {
    Store *store;
    EntryList live;     // ascending table id, system tables first
    EntryList retired;  // were live once
    uint64_t schema_version;
    bool pending;  // replay changed rows that sync has not looked at yet
    // By id, for look-ups on every call of a module: user ids are dense from CATALOG_FIRST_USER_ID.
    CatalogTable **tables_by_id;
    uint32_t tables_by_id_count;
    IndexSlot *indexes_by_id;
    uint32_t indexes_by_id_count;
    Buf row;  // scratch of writers
    Buf key;  // scratch of look-ups
};

// ── entries ────────────────────────────────────────────────────────────────────────────────────
MUST_USE bool entry_list_reserve(EntryList *list, uint32_t more);
void entry_free(CatalogEntry *entry);
// Make the look-ups by id of these entries. On ERR_NOMEM the old ones stay.
MUST_USE Err catalog_index_entries(Catalog *catalog, const EntryList *entries);

// ── rows ───────────────────────────────────────────────────────────────────────────────────────
Table *system_table(const Catalog *catalog, uint32_t table_id);
// Insert what is in catalog->row into a system table and clear it.
MUST_USE Err catalog_put_row(Catalog *catalog, uint32_t table_id, Diag *diag);
// Delete the rows of a system table for which `matches` says so.
typedef bool (*RowMatch)(const void *ctx, Bytes row);
MUST_USE Err catalog_delete_rows(Catalog *catalog,
                                 uint32_t table_id,
                                 RowMatch matches,
                                 const void *ctx,
                                 Diag *diag);
// The row of a system table that has the texts as the key of its index. Borrows as table_get.
MUST_USE Err catalog_find_by_names(Catalog *catalog,
                                   uint32_t table_id,
                                   uint32_t index_id,
                                   const Str *names,
                                   uint32_t count,
                                   Bytes *row);
// The same by an id.
MUST_USE Err
catalog_find_by_id(Catalog *catalog, uint32_t table_id, uint32_t index_id, uint32_t id, Bytes *row);
// Replace the row that has the same key in a unique index by what is in catalog->row; clears it.
MUST_USE Err catalog_replace_row(Catalog *catalog,
                                 uint32_t table_id,
                                 uint32_t index_id,
                                 Diag *diag);
MUST_USE Err catalog_take_id(Catalog *catalog, SystemSequence from, uint32_t *id, Diag *diag);

// ── sync ───────────────────────────────────────────────────────────────────────────────────────
// What the rows say about one table; everything borrows from the image's arena.
typedef struct TableImage {
    Bytes table;  // row of st_table
    uint32_t table_id;
    Bytes *columns, *indexes, *constraints, *sequences;
    uint32_t column_count, index_count, constraint_count, sequence_count;
    Bytes scheduled;  // empty: not a scheduled table
    Bytes view;       // row of st_view; empty: not the rows of a view
    bool is_event;
    Bytes fingerprint;
} TableImage;

typedef struct CatalogImage {
    TableImage *tables;  // user tables, ascending id
    uint32_t count;
} CatalogImage;

MUST_USE Err catalog_image_read(Catalog *catalog, Arena *arena, CatalogImage *out, Diag *diag);
// The accessor of something by its name, or the name itself when it has none.
MUST_USE Err catalog_accessor(Catalog *catalog,
                              Arena *arena,
                              uint32_t st,
                              uint32_t index_id,
                              const Str *names,
                              uint32_t count,
                              Str *out);
// As catalog_sync, but store tables that are gone from the rows stay until the next sync, so that
// their rows can still be read.
MUST_USE Err catalog_sync_keeping(Catalog *catalog, Diag *diag);

// ── the module log ─────────────────────────────────────────────────────────────────────────────
typedef struct CatalogLog {
    CatalogLogLine line;  // NULL: nobody listens
    void *ctx;
} CatalogLog;
void catalog_log(const CatalogLog *log, const char *fmt, ...) PRINTF_LIKE(2, 3);

// ── writing the rows of one table ──────────────────────────────────────────────────────────────
// All rows of a new table. `moved_from` (may be NULL) is the table it replaces: sequences go on.
MUST_USE Err catalog_write_table(Catalog *catalog,
                                 const TableDef *table,
                                 const CatalogTable *moved_from,
                                 uint32_t *table_id,
                                 Diag *diag);
MUST_USE Err catalog_write_index(Catalog *catalog,
                                 uint32_t table_id,
                                 const IndexDef *index,
                                 Diag *diag);
// The same without an accessor: no module ever looks for it.
MUST_USE Err catalog_write_index_row(Catalog *catalog,
                                     uint32_t table_id,
                                     const IndexDef *index,
                                     Diag *diag);
MUST_USE Err catalog_write_constraint(Catalog *catalog,
                                      uint32_t table_id,
                                      const ConstraintDef *constraint,
                                      Diag *diag);
MUST_USE Err catalog_write_sequence(Catalog *catalog,
                                    uint32_t table_id,
                                    const SequenceDef *sequence,
                                    const CatalogTable *moved_from,
                                    Diag *diag);
MUST_USE Err catalog_write_columns(Catalog *catalog,
                                   uint32_t table_id,
                                   const TableDef *table,
                                   Diag *diag);
MUST_USE Err catalog_write_column_accessors(Catalog *catalog, const TableDef *table, Diag *diag);
MUST_USE Err catalog_write_view(Catalog *catalog,
                                const ModuleDef *def,
                                const ViewDef *view,
                                Diag *diag);
// What changed in a view that kept its columns, kind and key; its rows stay where they are.
MUST_USE Err catalog_update_view(Catalog *catalog,
                                 const ModuleDef *def,
                                 const ViewDef *view,
                                 Diag *diag);
MUST_USE Err catalog_write_type(Buf *scratch, const Type *type);  // st_column's form, replaces
MUST_USE Err catalog_write_row_level_security(Catalog *catalog, Str sql, Diag *diag);
MUST_USE Err catalog_write_module(Catalog *catalog, const CatalogModule *module, Diag *diag);
MUST_USE Err catalog_write_system(Catalog *catalog, Diag *diag);

// ── taking rows away ───────────────────────────────────────────────────────────────────────────
// All rows that describe a table, and nothing else: its own rows are not touched.
MUST_USE Err catalog_erase_table(Catalog *catalog, const CatalogTable *table, Diag *diag);
// The row of st_table_accessor or st_index_accessor that has the name.
MUST_USE Err catalog_erase_alias(Catalog *catalog, uint32_t table_id, Str name, Diag *diag);
MUST_USE Err catalog_erase_index(Catalog *catalog, Str name, Diag *diag);
MUST_USE Err catalog_erase_constraint(Catalog *catalog, Str name, Diag *diag);
MUST_USE Err catalog_erase_sequence(Catalog *catalog, Str name, Diag *diag);
MUST_USE Err catalog_erase_columns(Catalog *catalog, uint32_t table_id, Diag *diag);
MUST_USE Err catalog_erase_column_accessors(Catalog *catalog, Str table, Diag *diag);
MUST_USE Err catalog_erase_view(Catalog *catalog, Str name, Diag *diag);
// The same but for its table: the rows of st_view and the like, and its aliases.
MUST_USE Err catalog_erase_view_rows(Catalog *catalog, Str name, uint32_t *view_id, Diag *diag);
MUST_USE Err catalog_erase_row_level_security(Catalog *catalog, Str sql, Diag *diag);

// Which of `table`'s columns a constraint or index covers, as a set.
bool columns_same_set(const uint16_t *a, uint32_t a_count, const uint16_t *b, uint32_t b_count);
// The table whose rows a row-level-security query returns: the name, or an empty text.
Str row_level_security_table(Str sql);
// module-abi §5.10: start 1, min 1, max of i128 when not given.
void sequence_bounds(const SequenceDef *def, StSequence *out);
