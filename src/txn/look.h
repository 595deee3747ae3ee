// look.h: the reading half of an Access, written once: for the head (head.c), for views and queries
// (reader.c) and for a snapshot with private writes over it (overlay.c).
//
// PICTURE
//   Access ops ──> look_*      names, ids, BSATN bounds -> keys; what is read is written down
//                    │
//                    └──> LookRows    rows by key and range: the store's head or snapshot, or an
//                                     overlay's merge of a snapshot with its own rows
#pragma once
#include "txn/access.h"
#include "txn/catalog.h"
#include "txn/readset.h"

typedef struct Look Look;

// Where rows come from. Index 0 (TABLE_ROWS) is the clustering key.
typedef struct LookRows {
    // Every row with a key in [lower, upper), in order; an empty upper goes to the end.
    AbiErrno (*scan)(Look *look,
                     const CatalogTable *table,
                     uint32_t index_id,
                     Bytes lower,
                     Bytes upper,
                     RowSink sink);
    // The row with this key in a unique index. ERR_NOT_FOUND. Borrows until the next change.
    Err (*find)(Look *look, const CatalogTable *table, uint32_t index_id, Bytes key, Bytes *row);
    uint64_t (*count)(const Look *look, const CatalogTable *table);
} LookRows;

struct Look {
    Access access;  // first: the Access of a Look is a Look
    const LookRows *rows;
    const Catalog *catalog;
    const Snapshot *snapshot;      // NULL: the head
    ReadSet *reads;                // NULL: nobody wants to know
    bool open;                     // inside a transaction
    Buf key, lower, upper, saved;  // scratch; `saved` holds the row of the last jwt
};

// A call is over: nothing of a snapshot's pages is looked at any more. The head's owner does the
// same for the head (store_breathe).
static inline void look_breathe(const Look *look) {
    if (look->snapshot) snapshot_breathe(look->snapshot);
}

extern const LookRows look_store_rows;  // the store's, at look->snapshot
void look_deinit(Look *look);

// The open table or index behind an id.
AbiErrno look_table(const Look *look, uint32_t id, CatalogTable **out);
AbiErrno look_index(const Look *look,
                    uint32_t id,
                    CatalogTable **table,
                    const CatalogIndex **index);

// Write down a read. An index on exactly the primary column is the clustering key.
MUST_USE bool look_saw_table(Look *look, const CatalogTable *table);
MUST_USE bool look_saw_key(Look *look,
                           const CatalogTable *table,
                           const CatalogIndex *index,
                           Bytes key);

// As in AccessOps.
AbiErrno look_table_id(Access *access, Str name, uint32_t *out);
AbiErrno look_index_id(Access *access, Str name, uint32_t *out);
AbiErrno look_row_count(Access *access, uint32_t id, uint64_t *out);
AbiErrno look_scan_table(Access *access, uint32_t id, RowSink sink);
AbiErrno look_scan_point(Access *access, uint32_t id, Bytes point, RowSink sink);
AbiErrno look_scan_range(Access *access, uint32_t id, const AccessRange *range, RowSink sink);
AbiErrno look_jwt(Access *access, const ConnectionId *connection, Bytes *out);
