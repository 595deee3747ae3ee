// incoming.h: rows as modules hand them in, on their way to becoming changes (module-abi §1.9).
#pragma once
#include "txn/sequence.h"

AbiErrno incoming_status(Err err);  // of a change, in the module's language

// Check a row and give it its generated columns, whose values are appended to `generated`. *out
// borrows from `row`, or from `filled` when there were any.
AbiErrno incoming_row(CatalogTable *table,
                      SequenceSource source,
                      Bytes row,
                      Buf *filled,
                      Buf *generated,
                      Bytes *out);
// A row of a scheduled table must not lie too far ahead (§5.8).
AbiErrno incoming_schedule(const CatalogTable *table, Bytes row, Micros now);

// Walks the rows of a relation, BSATN Array of rows. All of it is checked first: a relation with a
// malformed row does nothing.
typedef struct IncomingRows {
    const CatalogTable *table;
    Bytes rest;
    uint32_t left;
} IncomingRows;
AbiErrno incoming_rows(IncomingRows *rows, const CatalogTable *table, Bytes relation);
bool incoming_next(IncomingRows *rows, Bytes *row);
