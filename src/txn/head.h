// head.h: inside of db.h, shared by db.c, head.c and sequence.c.
#pragma once
#include "txn/db.h"
#include "txn/look.h"

// A sequence of which this transaction wrote st_sequence.allocated, and what it was before.
typedef struct SequenceDraw {
    uint32_t table_id, sequence_id;
    Int128 allocated_before;
} SequenceDraw;

struct Db {
    Look look;  // first: an Access* of the head is a Db*; open inside a transaction
    Store *store;
    Catalog *catalog;
    Log *log;
    CommitInfo info;
    WriteSet writes;
    Buf row;    // a row with its generated columns
    Buf found;  // keys to be deleted
    SequenceDraw *drawn;
    uint32_t drawn_count, drawn_cap;
};

void head_init(Db *db);
void head_deinit(Db *db);
bool head_touched_schema(const Db *db);

// Replace every sequence column of `row` whose value is zero by the next value, in place, and
// append the new values to `generated`. ABI_OK or ABI_FATAL.
AbiErrno head_sequences_fill(Db *db,
                             CatalogTable *table,
                             uint8_t *row,
                             size_t row_len,
                             Buf *generated);
bool head_sequences_wanted(const CatalogTable *table, Bytes row);
void head_sequences_restore(Db *db);  // after a rollback
