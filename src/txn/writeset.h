// writeset.h: what a transaction did, net: one entry for each row that is different afterwards.
//
// The write set is the currency of DESIGN §2: the log stores it, subscriptions are matched with it,
// later running transactions are validated against it. A row deleted and inserted again unchanged,
// or inserted and deleted again, is not in it. An update of a row with a primary key is one entry
// with both versions.
#pragma once
#include "txn/catalog.h"

typedef struct TxnChange {
    Table *table;
    uint32_t table_id;
    bool is_event;
    bool is_view;      // a row of a view's results: subscribers see it, the log does not
    bool is_replaced;  // the log has one operation for it, see db_commit
    Bytes key;         // the clustering key
    Bytes old_row;     // ptr NULL: there was none
    Bytes new_row;     // ptr NULL: there is none
} TxnChange;

typedef struct WriteSet {
    TxnChange *changes;  // ascending by table id, then in order of first touch
    size_t count;
    size_t cap;
    uint32_t *slots;  // scratch: hash of (table, key) -> position + 1, for large transactions
    size_t slot_count;
} WriteSet;

// Reduce the store's change list to its net effect. Rows and keys borrow from the store until its
// next store_begin. ERR_NOMEM.
MUST_USE Err writeset_collect(WriteSet *set, const Store *store, const Catalog *catalog);
void writeset_deinit(WriteSet *set);
