// catalog_rows.h: rows of the system tables as C values, both ways. Private to the catalog.
//
// Reading borrows from the row. A row that was stored was checked, so reading one cannot fail except
// where its meaning is wrong, such as an algorithm that does not exist.
#pragma once
#include "txn/catalog.h"

typedef struct StTable {
    uint32_t table_id;
    Str name;
    bool is_system, is_public;
    int32_t primary_key;  // -1: none
} StTable;

typedef struct StColumn {  // of st_column and st_view_column; of st_view_param too
    uint32_t table_id;
    uint16_t position;
    Str name;
    Bytes type;  // BSATN AlgebraicType
} StColumn;

typedef struct StSequence {
    uint32_t sequence_id;
    Str name;
    uint32_t table_id;
    uint16_t column;
    Int128 increment, start, min, max, allocated;
} StSequence;

typedef struct StIndex {
    uint32_t index_id, table_id;
    Str name;
    IndexAlgorithm algorithm;
    const uint8_t *columns;  // u16 each, unaligned
    uint32_t column_count;
} StIndex;

typedef struct StConstraint {
    uint32_t constraint_id;
    Str name;
    uint32_t table_id;
    const uint8_t *columns;  // u16 each, unaligned
    uint32_t column_count;
} StConstraint;

typedef struct StScheduled {
    uint32_t schedule_id, table_id;
    Str function;
    Str name;
    uint16_t at_column;
} StScheduled;

typedef struct StView {
    uint32_t view_id;
    Str name;
    uint32_t table_id;  // 0: none, as databases of before views ran have it
    bool is_public, is_anonymous;
} StView;

void st_table_write(Buf *out, const StTable *row);
void st_column_write(Buf *out, const StColumn *row);
void st_sequence_write(Buf *out, const StSequence *row);
void st_index_write(Buf *out, const StIndex *row);
void st_constraint_write(Buf *out, const StConstraint *row);
void st_scheduled_write(Buf *out, const StScheduled *row);
void st_view_write(Buf *out, const StView *row);
void st_accessor_write(Buf *out, Str name, Str accessor);  // of tables and indexes
void st_column_accessor_write(Buf *out, Str table, Str column, Str accessor);
void st_row_level_security_write(Buf *out, uint32_t table_id, Str sql);
void st_module_write(Buf *out, const CatalogModule *module);

StTable st_table_read(Bytes row);
StColumn st_column_read(Bytes row);
StSequence st_sequence_read(Bytes row);
bool st_index_read(Bytes row, StIndex *out);            // false: not an algorithm
bool st_constraint_read(Bytes row, StConstraint *out);  // false: not a unique constraint
StScheduled st_scheduled_read(Bytes row);
StView st_view_read(Bytes row);
CatalogModule st_module_read(Bytes row);
