// catalog_system.h: what the twenty system tables of the specification are, and one of ours: names, columns,
// keys, fixed ids. Private to the catalog. Spec: module-abi §4.
//
// The shapes here are seen by SQL and by every client that subscribes to a system table: they never
// change.
#pragma once
#include "txn/catalog.h"

enum {
    // Those that st_table, st_column, st_index and st_constraint speak of, and all there are.
    SYSTEM_TABLES_TOLD = 20,
    SYSTEM_TABLES = 21,
    SYSTEM_INDEXES_TOLD = 29,
    SYSTEM_INDEXES = 31,
    SYSTEM_CONSTRAINTS_TOLD = 25,
    SYSTEM_CONSTRAINTS = 26,
    SYSTEM_SEQUENCES = 7,
    SYSTEM_COLUMNS_MAX = 9,
    SYSTEM_KEY_MAX = 3,
};

// Indexes by which rows of the system tables are found.
enum {
    ST_TABLE_BY_ID = 1,
    ST_TABLE_BY_NAME = 2,
    ST_COLUMN_BY_POSITION = 3,
    ST_SEQUENCE_BY_ID = 4,
    ST_VIEW_BY_NAME = 15,
    ST_VIEW_PARAM_BY_POSITION = 16,
    ST_VIEW_COLUMN_BY_POSITION = 17,
    ST_TABLE_ACCESSOR_BY_NAME = 24,
    ST_INDEX_ACCESSOR_BY_NAME = 26,
    ST_COLUMN_ACCESSOR_BY_NAME = 28,
};

// Where new ids come from: rows of st_sequence.
typedef enum SystemSequence {
    SEQUENCE_TABLE = 1,
    SEQUENCE_INDEX = 2,
    SEQUENCE_CONSTRAINT = 3,
    SEQUENCE_SCHEDULE = 4,
    SEQUENCE_SEQUENCE = 5,
    SEQUENCE_VIEW = 6,
    SEQUENCE_VIEW_ARG = 7,
} SystemSequence;

typedef struct SystemKey {  // of an index, a unique constraint, a sequence
    uint8_t table_id;
    uint8_t column_count;
    uint16_t columns[SYSTEM_KEY_MAX];
} SystemKey;

extern const SystemKey system_indexes[SYSTEM_INDEXES];          // id - 1
extern const SystemKey system_constraints[SYSTEM_CONSTRAINTS];  // id - 1
extern const SystemKey system_sequences[SYSTEM_SEQUENCES];      // id - 1

Str system_table_name(uint32_t table_id);
bool system_table_is_public(uint32_t table_id);
int32_t system_table_primary_key(uint32_t table_id);
// The row type, in the arena. NULL when out of memory.
const Type *system_table_row_type(Arena *arena, uint32_t table_id);
bool system_index_is_unique(uint32_t index_id);
// {table}_{column}_{column}{suffix}, in the arena. ptr NULL when out of memory.
Str system_key_name(Arena *arena, const SystemKey *key, const Type *row_type, const char *suffix);
