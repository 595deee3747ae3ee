// inside.h: what store.h hides, shared by the files of this room only.
//
// PICTURE
//   Store ── pages
//     ├── slots[]      every table once; a snapshot has the same places
//     ├── by_id[]      the same tables, sorted by id
//     ├── changes[]    rows inserted and deleted by the open transaction ─┐ undone newest first,
//     ├── ddl[]        tables and indexes made and dropped by it ─────────┘ in one order
//     └── arena        bytes that changes[] and ddl[] point to; lives until the next store_begin
//
//   Table ── def ── layout, indexes (never changed once published: readers hold it)
//     └── state ── row tree, index trees, counts (the head's; a snapshot has its own copy)
//
// WHERE KEYS COME FROM
//   A row's clustering key is its primary column's key, or 16 bytes of row_hash() and one byte that
//   tells rows with the same hash apart, 0 for the first.
//   An index entry is, in a unique index, columns' key -> row key; in any other, columns' key ++ row
//   key -> the row key's length (one byte, or 255 and four), so that it can be cut off again.
//   An index on exactly the primary column has no tree: the row tree is it.
#pragma once
#include <stdatomic.h>

#include "store/branch.h"
#include "store/cache.h"
#include "store/guard.h"
#include "store/store.h"
#include "store/tree.h"

enum { ROW_HASH_BYTES = 16, ROW_HASH_KEY_BYTES = ROW_HASH_BYTES + 1 };

typedef struct TableIndex {
    StoreIndexInfo info;
    bool is_rows;  // served by the row tree
} TableIndex;

typedef struct TableDef TableDef;
struct TableDef {
    TableDef *older;  // all defs a table ever had are freed with it: a reader may still look
    RowLayout layout;
    Bytes type_bytes;  // the row type as a checkpoint has it
    TableIndex *indexes;
    uint32_t index_count;
    uint32_t trees;  // of the indexes: those that the rows do not serve
    // Of the primary key, where it is an id at one place in all rows (key_id_bytes): its length and place; else 0.
    uint8_t id_bytes;
    uint32_t id_at;
    Arena arena;
};

typedef struct TableState {
    Tree rows;
    Tree *indexes;  // in the def's order; unused where is_rows
    uint64_t row_count;
    uint64_t data_bytes;
    uint64_t collisions;  // rows whose clustering key ends in something other than 0
} TableState;

struct Table {
    Store *store;
    uint32_t table_id;
    uint32_t slot;
    int32_t primary_column;
    _Atomic(const TableDef *) def;
    TableDef *defs;  // newest first
    TableState state;
    uint32_t index_cap;   // room in state.indexes
    uint64_t generation;  // counts changes, so that a scan notices
    uint64_t overwrites;  // of those, the ones that moved no entry and copied no page
    uint32_t snapshots;   // that hold this table
    bool dropped;         // no longer part of the head
    bool gone;            // nor of the last transaction: free it when no snapshot holds it
    Table *next_dead;
};

typedef struct SnapshotTable {
    Table *table;  // NULL: an empty slot
    const TableDef *def;
    TableState state;
} SnapshotTable;

struct Snapshot {
    Store *store;
    Snapshot *newer, *older;  // of the live ones
    PageView *view;
    uint64_t version;
    int64_t taken_ns;  // monotonic; 0: the store was given no clock
    uint32_t refs;
    uint32_t slot_count;
    SnapshotTable tables[];  // followed by the index trees
};

typedef enum DdlKind {
    DDL_TABLE_CREATE,
    DDL_TABLE_DROP,
    DDL_INDEX_CREATE,
    DDL_INDEX_DROP,
    DDL_RETYPE,
    DDL_CLEAR,
    DDL_ADOPT,
} DdlKind;

typedef struct Ddl {
    DdlKind kind;
    Table *table;
    size_t changes_before;  // rows changed before it
    const TableDef *def;    // the one before
    uint32_t position;      // of the index
    Tree tree;              // of the dropped index
    TableState state;       // what a clear took away, or a branch took the place of
} Ddl;

// The index entries' keys of one row, back to back.
typedef struct KeySpan {
    size_t at, len;
    bool same;  // not built: the entry is the same before and after
} KeySpan;
typedef struct KeySet {
    Buf bytes;
    KeySpan *spans;
    uint32_t cap;
} KeySet;

// A safe checkpoint's view, shared by the store and the images of it.
typedef struct Durable {
    PageView *view;
    uint32_t refs;
} Durable;

// Where a row was found: see finger.c.
enum { FINGERS = 4, SHAPES = 64, AHEAD_KEY_MAX = 32 };
typedef struct Finger {
    const Table *table;  // NULL: none
    const Table
        *ahead;  // not NULL: a row of that table will be looked for; the path ends above the leaf
    uint64_t moves;  // of its table, when it was found
    size_t key_len;
    uint64_t key_tail;  // its last 8 bytes
    Foresight foresight;
    TreePath path;
    uint8_t ahead_key[AHEAD_KEY_MAX];
} Finger;

struct Store {
    Pages pages;
    const Io *io;  // may be NULL
    Table **slots;
    uint32_t slot_count, slot_cap;
    Table **by_id;
    uint32_t table_count, table_cap;

    bool in_transaction;
    uint64_t version;  // commits
    Change *changes;
    size_t change_count, change_cap;
    Ddl *ddl;
    size_t ddl_count, ddl_cap;
    Arena arena;
    Table *dead;       // created and undone; freed at the next begin
    Snapshot *oldest;  // live snapshots are linked from here to the newest
    Snapshot *newest;
    Snapshot *latest;  // the newest snapshot, if it is alive; shared while nothing changed
    uint64_t snapshots_live;

    StoreBranch *branch;    // open; NULL: none
    StoreBranch *adopting;  // by the open transaction

    Durable *durable;             // what the newest checkpoint consists of; NULL: there is none
    uint32_t images;              // that are open
    StoreCheckpoint *checkpoint;  // being written
    PageNo root;                  // of the newest checkpoint begun
    uint32_t root_run;
    Arena types;      // of tables that came with the page file
    PageFault fault;  // what could not be read since store_begin
    bool broken;  // an undo, or applying a change, could not read what it needed: the head is not
                  // what it should be
    bool rows_borrowed;  // who asked for a clear's rows has them as they stand in pages

    Finger fingers[FINGERS];
    unsigned finger_next;
    // Of tables' rows, by slot. Tables that share one spoil each other's guesses, no more.
    LeafShape shapes[SHAPES];

    Buf row_key;           // of the row at hand
    KeySet before, after;  // entries to remove and to add
    uint64_t hash_mask;    // tests: fewer different hashes
};

static inline const TableDef *table_def(const Table *table) {
    return atomic_load_explicit(&table->def, memory_order_acquire);
}
// Changes after which a path into the rows' tree may lead elsewhere.
static inline uint64_t table_moves(const Table *table) {
    return table->generation - table->overwrites;
}

// ── def.c ───────────────────────────────────────────────────────────────────────────────────────
MUST_USE Err table_def_new(Table *table,
                           const Type *row_type,
                           const TableIndex *indexes,
                           uint32_t count,
                           TableDef **out);  // belongs to the table, not yet published
MUST_USE Err table_index_make(const Table *table, const StoreIndexSpec *spec, TableIndex *out);
int64_t table_def_find(const TableDef *def, uint32_t index_id);  // position or -1
void table_free(Table *table);

// ── place.c: finding rows, making keys ──────────────────────────────────────────────────────────
typedef struct RowPlace {
    TreePath path;
    bool found;  // the key is there
} RowPlace;
void row_hash(Bytes row, uint8_t out[ROW_HASH_BYTES]);
const TableState *snapshot_state(const Table *table,
                                 const Snapshot *snapshot,
                                 const TableDef **def);
// Where the row is or belongs; its key replaces *key. With a primary key the row found there may be
// another one; by hash it is this one. ERR_NOMEM; ERR_LIMIT when 256 rows have the same hash.
MUST_USE Err row_place(const Table *table,
                       const TableDef *def,
                       const TableState *state,
                       Bytes row,
                       Buf *key,
                       RowPlace *place);
// Build the index entries' keys of a row. ERR_NOMEM.
MUST_USE Err keyset_build(KeySet *set, const TableDef *def, Bytes row, Bytes row_key);
// The same for a row and the one that takes its place; entries that stay as they are are not built.
MUST_USE Err keyset_build_both(KeySet *before,
                               KeySet *after,
                               const TableDef *def,
                               Bytes old_row,
                               Bytes old_key,
                               Bytes row,
                               Bytes row_key);
// Bring in the pages on the way to these entries, so that changing them cannot fail. No effect
// when everything is in memory.
void keyset_touch(const Table *table, const KeySet *set);
MUST_USE Err keysets_reserve(Store *store, uint32_t index_count);
static inline Bytes keyset_at(const KeySet *set, uint32_t i) {
    return (Bytes){set->bytes.ptr + set->spans[i].at, set->spans[i].len};
}
// An index entry's value, and the row key it leads to (borrowed from the page or `scratch`,
// NODE_KEY_MAX bytes).
size_t index_value_bytes(const TableIndex *index, Bytes row_key);
Bytes index_value(const TableIndex *index, Bytes row_key, uint8_t scratch[5]);
Bytes index_entry_row_key(const Pages *pages,
                          const TableIndex *index,
                          const uint8_t *leaf,
                          unsigned at,
                          uint8_t *scratch);

// ── finger.c: the head's rows by clustering key ─────────────────────────────────────────────────
// The row borrows as table_get's does. Remembers where it was.
bool finger_find(const Table *table, Bytes key, Bytes *row);
bool finger_seek(const Table *table, Bytes key, TreePath *path);  // as tree_seek
void finger_foresee(const Table *table, Bytes key);               // it will be looked for soon
// Where the row's bytes stand, if it was found lately and a row of `len` bytes takes its place by being
// written over it: there are as many, and no view and no page file has to be thought of. NULL: look for it.
uint8_t *finger_overwritable(const Table *table, Bytes key, size_t len);
void fingers_forget(const Table *table);

// ── apply.c: steps that cannot fail, for changes and for undoing them ───────────────────────────
// Pages were reserved (or it is an undo) and the key sets built.
void apply_insert(Table *table, TreePath *path, Bytes key, Bytes row, const KeySet *after);
void apply_delete(Table *table, TreePath *path, Bytes key, size_t row_len, const KeySet *before);
void apply_replace(Table *table,
                   TreePath *path,
                   Bytes old_key,
                   size_t old_len,
                   Bytes key,
                   Bytes row,
                   const KeySet *before,
                   const KeySet *after);
uint64_t apply_insert_pages(const Table *table, Bytes key, Bytes row, const KeySet *after);
uint64_t apply_delete_pages(const Table *table);

// ── undo.c ──────────────────────────────────────────────────────────────────────────────────────
MUST_USE Err changes_reserve(Store *store, size_t more);
MUST_USE Err ddl_reserve(Store *store);
Ddl *ddl_record(Store *store, DdlKind kind, Table *table);
void store_settle(Store *store);  // let go of what the last transaction dropped

// ── branch.c ────────────────────────────────────────────────────────────────────────────────────
void branch_settle(StoreBranch *branch);  // what it was adopted by has been committed
// Pages lent to it, which are in nobody's trees yet. `branch` may be NULL.
void branch_each_piece(const StoreBranch *branch,
                       void (*each)(void *, PageNo, uint32_t),
                       void *ctx);

// ── store.c, load.c ─────────────────────────────────────────────────────────────────────────────
// checkpoint.c. Ends the view with its last reference.
void durable_release(Store *store, Durable **durable);
MUST_USE Err store_load(Store *store, const StoreOptions *options);  // from its page file
// Called by whatever reads pages, before it does: what it finds stays until the guard is lowered.
static inline void reading(const Store *store) {
    if (UNLIKELY(store->pages.paged)) guard_raise();
}
// And after it did: OK, or what could not be read, in which case nothing it found may be believed.
// On the head this is remembered until the next store_begin.
Err fault_take(Store *store, bool head);
static inline Err read_result(Store *store, bool head) {
    if (LIKELY(!store->pages.paged) || page_fault()->err == OK) return OK;
    return fault_take(store, head);
}

// What the table is on the head or in a snapshot. NULL when the snapshot does not have it.
static inline const TableState *table_state(const Table *table,
                                            const Snapshot *snapshot,
                                            const TableDef **def) {
    reading(table->store);
    if (snapshot) return snapshot_state(table, snapshot, def);
    *def = table_def(table);
    return &table->state;
}

// ── schema.c ────────────────────────────────────────────────────────────────────────────────────
void schema_link(Store *store, Table *table);  // there is room
// Make a table and give it its places, outside of any transaction.
MUST_USE Err schema_table_link(Store *store, const StoreTableSpec *spec, Table **out);
void schema_unlink(Store *store, Table *table);  // the slot is free again
void state_drop_trees(Store *store, TableState *state, uint32_t index_count);
