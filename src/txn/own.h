// own.h: one table as an overlay sees it: the snapshot's rows, and private rows over them.
//
// PICTURE
//   identity of a row   by primary key: its clustering key          by hash: the hash, then the row
//
//   rows      identity -> OwnRow   `there`: visible   `was`: the snapshot has a row of this identity,
//                                                     which the OwnRow hides, visible or not
//   indexes   key of the columns (++ stem, if not unique) -> OwnRow, only those that are `there`
//
// ALWAYS TRUE
//   (1) What is visible: every row that is `there`, and every row of the snapshot that no OwnRow
//       hides (none at all once the table was cleared).
//   (2) Scans give rows in the order in which the head would: by index key, then by stem.
//   (3) An OwnRow that is neither `there` nor `was` does not exist.
//
// Nothing here knows about read sets; overlay.c notes what is asked.
#pragma once
#include "txn/access.h"
#include "txn/catalog.h"
#include "txn/sorted.h"
#include "txn/writeset.h"

typedef struct OwnRow {
    Bytes row;  // the visible version, in the pool. By hash it is the end of the identity
    uint64_t serial;
    bool there, was;
} OwnRow;

typedef struct OwnTable OwnTable;
struct OwnTable {
    const CatalogTable *table;
    const Snapshot *snapshot;
    Pool *pool;
    bool cleared;
    int64_t added;     // rows visible now, less those visible in the snapshot or after the clear
    uint64_t serials;  // of OwnRows, to tell apart those with one hash in an index
    Buf key, other_key, identity, stem;  // scratch
    Sorted rows;
    uint32_t index_count;
    Sorted indexes[];  // in the table's order; unused where the clustering key serves
};

MUST_USE Err own_new(const CatalogTable *table,
                     const Snapshot *snapshot,
                     Pool *pool,
                     OwnTable **out);
void own_free(OwnTable **own);  // its rows stay in the pool

void own_identity(const OwnTable *own, Bytes row, Buf *out);  // replaces *out
Bytes own_stem(const OwnTable *own, Bytes identity);
bool own_index_is_rows(const OwnTable *own, const StoreIndexInfo *index);

// Reading. Rows borrow until the next change.
MUST_USE Err own_get(OwnTable *own, Bytes identity, Bytes *row);  // ERR_NOT_FOUND
MUST_USE Err own_find(OwnTable *own, uint32_t index_id, Bytes key, Bytes *row);
AbiErrno own_scan(OwnTable *own, uint32_t index_id, Bytes lower, Bytes upper, RowSink sink);
uint64_t own_count(const OwnTable *own);

// Changing; constraints were checked. ERR_NOMEM leaves the table unusable.
// Make `row` the visible row of its identity. `replaces`: a row of this identity is visible now.
MUST_USE Err own_put(OwnTable *own, Bytes identity, Bytes row, bool replaces);
MUST_USE Err own_drop(OwnTable *own, Bytes identity);  // which is visible
void own_clear(OwnTable *own);
// On the thread that made it: bring in the pages that own_apply will look at on the head, which are
// mostly the snapshot's. Without effect where nothing is ever absent.
void own_touch(OwnTable *own);
// The index on the primary column alone, if no other index can refuse a row: then a replacement needs
// no look at the others' order.
bool own_replaceable(const OwnTable *own, uint32_t *index_id);
// Whether the overlay deleted every row of its snapshot one by one and added none: if the head has no
// others, they need not go one by one.
bool own_empties(const OwnTable *own);
// How many rows its snapshot has, if all of them go, in whatever way, and none comes; else 0. Of a table of
// events always 0.
uint64_t own_emptied(const OwnTable *own);
TxnChange own_emptied_change(const OwnTable *own);  // for all of them: is_clear
// Make the changes to the head, inside the open transaction, of which this table's reads still hold.
// ERR_NOMEM, ERR_LIMIT, ERR_IO, ERR_CORRUPT.
// Adds to *rows how many were changed one by one.
MUST_USE Err own_apply(const OwnTable *own, uint64_t *rows);
