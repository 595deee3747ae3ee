// writeset.h: what a transaction did, net: one entry for each row that is different afterwards.
//
// The write set is the currency of DESIGN §2: the log stores it, subscriptions are matched with it,
// later running transactions are validated against it. A row deleted and inserted again unchanged,
// or inserted and deleted again, is not in it. An update of a row with a primary key is one entry
// with both versions.
//
// A table that lost all its rows and nothing else happened to it is one entry for all of them, so that
// it costs nothing to write down that a large table is empty now. Who has to tell of each row has the
// set collected with rows.
#pragma once
#include "txn/catalog.h"

typedef struct TxnChange {
    Table *table;
    uint32_t table_id;
    bool is_event;
    bool is_view;      // a row of a view's results: subscribers see it, the log does not
    bool is_replaced;  // the log has one operation for it, see db_commit
    bool is_clear;     // the table lost all its rows: no key, no rows
    bool is_bulk;      // many rows of it, prepared beside the loop: likewise (db_commit_rows)
    Bytes key;         // the clustering key
    Bytes old_row;     // ptr NULL: there was none
    Bytes new_row;     // ptr NULL: there is none
} TxnChange;

typedef struct WriteSet {
    TxnChange *changes;  // ascending by table id, then in order of first touch
    size_t count;
    size_t cap;
    uint32_t *slots;  // scratch: hash of (table, key) -> position + 1, for large transactions
    size_t slot_count, slot_cap;
    size_t of;  // so many changes of the store's list
} WriteSet;

// Reduce the store's change list to its net effect. Rows and keys borrow from the store until its
// next store_begin. ERR_NOMEM; ERR_IO, ERR_CORRUPT: rows that a clear took away cannot be read.
MUST_USE Err writeset_collect(WriteSet *set, Store *store, const Catalog *catalog);
// The same changes once more, without entries that are a clear: every row that went is one.
MUST_USE Err writeset_collect_rows(WriteSet *set, Store *store, const Catalog *catalog);
bool writeset_has_clear(const WriteSet *set);
// A change that the set did not have, at its place by table. The caller made room (writeset_reserve).
MUST_USE Err writeset_reserve(WriteSet *set, size_t more);
void writeset_add(WriteSet *set, const TxnChange *change);
// What the old row needs in the log before the new ones come: nothing when there is none, or when the
// new one takes its place.
bool change_is_logged_delete(const TxnChange *change);
void writeset_deinit(WriteSet *set);
