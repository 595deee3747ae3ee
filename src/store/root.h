// root.h: what a checkpoint says about the store as a whole, in the run its meta page leads to.
//
// Little-endian, widths in bytes:
//   tables:4 fallen:4 words:4 zero:4
//   then `fallen` page numbers:4 each, roots of dropped trees that are still being taken apart
//   then `words` words:8, a bit for each page number from 0: it is in use
//   then each table, by ascending id:
//     id:4 primary column:4 (-1: none) rows:8 bytes of rows:8 rows not first of their hash:8
//     row tree:12  type:4 bytes, then a SATS type (spec/websocket-and-data-model)  indexes:4
//     and each index: id:4 unique:1 columns:2 columns:2 each tree:12 (zeros: the row tree serves it)
//   a tree: root:4 height:4 pages of its longest key:4
#pragma once
#include "store/inside.h"

typedef struct RootIndex {
    uint32_t index_id;
    bool unique;
    uint16_t *columns;
    uint16_t column_count;
    Tree tree;
} RootIndex;

typedef struct RootTable {
    uint32_t table_id;
    int32_t primary_column;
    uint64_t row_count, data_bytes, collisions;
    Tree rows;
    const Type *row_type;
    RootIndex *indexes;
    uint32_t index_count;
} RootTable;

typedef struct Root {
    PageNo *fallen;
    uint32_t fallen_count;
    const uint8_t *live;  // `words` words; borrows from the bytes decoded
    uint32_t words;
    RootTable *tables;
    uint32_t table_count;
} Root;

// How many bytes it takes to write down the store as it is, when pages are below `end`.
size_t root_bytes(const Store *store, PageNo end);
void root_encode(const Store *store, PageNo end, uint8_t *out);  // that many

// Everything in *out but `live` is in the arena. Whatever the bytes are, what is given out is
// consistent in itself and leads to pages below `end` that are in use.
//   ERR_CORRUPT, ERR_NOMEM
MUST_USE Err root_decode(Bytes bytes, PageNo end, Arena *arena, Root *out, Diag *diag);
