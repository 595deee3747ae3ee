// catalog.h: the tables of a database as the system tables describe them.
//
// PICTURE
//   st_table, st_column, st_index, … (rows in the store: the truth, logged like any row)
//        │ catalog_sync                      ▲ catalog_create, catalog_migrate write rows
//        ▼                                   │ and make the tables, inside one transaction
//   CatalogTable 4097 "user" ── columns, indexes, sequences, schedule ── Table* in the store
//
// ALWAYS TRUE
//   (1) Outside a transaction the in-memory catalog says what the system tables' rows say.
//   (2) Replaying the log's operations in order through catalog_apply gives the same store and the
//       same catalog: a table exists from the moment its rows in the system tables do.
//
// Spec: module-abi §4 (tables, ids, fixed names), §3.6 (aliases), §6 (migrations).
#pragma once
#include "log/commit.h"
#include "schema/migrate.h"
#include "store/store.h"

enum {  // ids of the system tables (§4)
    ST_TABLE = 1,
    ST_COLUMN = 2,
    ST_SEQUENCE = 3,
    ST_INDEX = 4,
    ST_CONSTRAINT = 5,
    ST_MODULE = 6,
    ST_CLIENT = 7,
    ST_VAR = 8,
    ST_SCHEDULED = 9,
    ST_ROW_LEVEL_SECURITY = 10,
    ST_CONNECTION_CREDENTIALS = 11,
    ST_VIEW = 12,
    ST_VIEW_PARAM = 13,
    ST_VIEW_COLUMN = 14,
    ST_VIEW_SUB = 15,
    ST_VIEW_ARG = 16,
    ST_EVENT_TABLE = 17,
    ST_TABLE_ACCESSOR = 18,
    ST_INDEX_ACCESSOR = 19,
    ST_COLUMN_ACCESSOR = 20,
    ST_CALL_ONCE = 21,  // ours: st_table and the others do not mention it
    CATALOG_FIRST_USER_ID = 4096,
};

enum {  // indexes of st_call_once
    ST_CALL_ONCE_BY_NUMBER = 30,
    ST_CALL_ONCE_BY_TIMESTAMP = 31,
};

typedef struct CatalogColumn {
    Str name;    // canonical
    Str source;  // accessor
    const Type *type;
} CatalogColumn;

typedef struct CatalogIndex {
    uint32_t index_id;
    Str name;
    Str source;
    IndexAlgorithm algorithm;
    uint16_t *columns;
    uint16_t column_count;
    bool unique;
    uint8_t id_bytes;  // of keys, where they are nothing but an id (key_id_bytes); else 0
} CatalogIndex;

typedef struct CatalogSequence {
    uint32_t sequence_id;
    uint16_t column;
    Int128 increment, start, min, max;
    Int128 allocated;  // st_sequence.allocated: values up to here were reserved on disk
    Int128 next;       // the next value to hand out; in memory only, never rolled back
} CatalogSequence;

typedef struct CatalogTable {
    uint32_t table_id;
    Str name;    // canonical
    Str source;  // accessor
    const CatalogColumn *columns;
    uint32_t column_count;
    const Type *row_type;
    int32_t primary_key;
    Table *table;  // its rows
    CatalogIndex *indexes;
    uint32_t index_count;
    CatalogSequence *sequences;
    uint32_t sequence_count;
    uint32_t schedule_id;  // 0: not a scheduled table
    uint16_t schedule_at_column;
    Str schedule_function;
    bool is_public, is_event, is_system;
    // The results of a view: column 0 says whose, the others are the view's.
    // Rows of these are never logged; modules and queries do not see the hash.
    bool is_view, is_anonymous_view;
} CatalogTable;

// Every row of a view's table begins with these bytes.
#define CATALOG_VIEW_HASH_BYTES 32

typedef struct Catalog Catalog;

// The row of st_module.
typedef struct CatalogModule {
    Identity database, owner;
    uint8_t program_kind;      // 0 wasm, 1 JavaScript
    uint8_t program_hash[32];  // Keccak-256, in order
    Bytes program;             // borrows from the store
} CatalogModule;

// Make the (empty) system tables in an empty store, or read those that came with its checkpoint. No
// transaction may be open.
MUST_USE Err catalog_open(Store *store, Catalog **out, Diag *diag);
void catalog_close(Catalog **catalog);

// Each of these works inside the store's open transaction; when that is rolled back the caller
// follows with catalog_sync, which puts the in-memory side back.

// First publish: the system tables' own rows, then the module's tables in name order (§4), views,
// row-level security, the st_module row. `log_line` (may be NULL) gets "Creating table `x`" ….
typedef void (*CatalogLogLine)(void *ctx, Str line);
MUST_USE Err catalog_create(Catalog *catalog,
                            const ModuleDef *def,
                            const CatalogModule *module,
                            CatalogLogLine log_line,
                            void *ctx,
                            Diag *diag);
// Carry out a plan (§6.1 step 4): prechecks, steps, st_module. ERR_INVALID with the refusal's text.
MUST_USE Err catalog_migrate(Catalog *catalog,
                             const MigratePlan *plan,
                             const ModuleDef *new_def,
                             const CatalogModule *module,
                             CatalogLogLine log_line,
                             void *ctx,
                             Diag *diag);
// Make memory agree with the system tables' rows. Raises the schema version if anything changed.
MUST_USE Err catalog_sync(Catalog *catalog, Diag *diag);
// Apply one operation of the log inside the store's open transaction (2). ERR_CORRUPT when it does
// not fit. Call catalog_sync after each commit that catalog_touched says changed the schema.
MUST_USE Err catalog_apply(Catalog *catalog, const CommitOp *op, Diag *diag);
bool catalog_is_schema_table(uint32_t table_id);  // a change of its rows may change the catalog

uint64_t catalog_schema_version(const Catalog *catalog);
CatalogTable *catalog_table(const Catalog *catalog, uint32_t table_id);  // NULL
CatalogTable *catalog_table_by_name(const Catalog *catalog, Str name);   // canonical, then source
CatalogTable *catalog_index_by_name(const Catalog *catalog, Str name, const CatalogIndex **index);
CatalogTable *catalog_index_by_id(const Catalog *catalog,
                                  uint32_t index_id,
                                  const CatalogIndex **index);
uint32_t catalog_table_count(const Catalog *catalog);
CatalogTable *catalog_table_at(const Catalog *catalog, uint32_t position);  // ascending id
// The st_module row; ERR_NOT_FOUND before the first publish. Borrows until the next change.
MUST_USE Err catalog_module(const Catalog *catalog, CatalogModule *out);
// The texts of a table's row-level security rules, until `each` returns false. They borrow from the
// store until the next change.
MUST_USE Err catalog_each_rule(const Catalog *catalog,
                               uint32_t table_id,
                               bool (*each)(void *ctx, Str sql),
                               void *ctx);
// Write `allocated` of a sequence into its st_sequence row, in the open transaction.
MUST_USE Err catalog_sequence_store(Catalog *catalog,
                                    CatalogTable *table,
                                    CatalogSequence *sequence);
