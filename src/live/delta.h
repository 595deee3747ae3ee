// delta.h: the tables of one commit, as they were before it and as they are now. Inside this room only.
//
// PICTURE
//   now      the head
//   before   the head, without the rows that the commit added, with those that it removed
//   either   both together
//
// No snapshot is taken for that and none pinned: a commit knows what it changed, so a look into the
// state before costs what a look into the head costs, and a comparison with the changes.
//
// ALWAYS TRUE
//   (1) The head is that of the commit's end as long as a Delta is in use: nothing runs in between.
//   (2) Rows borrow from the head's pages and from the commit until the next transaction.
#pragma once
#include "live/live.h"
#include "live/map.h"

typedef enum Version { BEFORE, NOW, EITHER } Version;

typedef struct DeltaIndex DeltaIndex;  // of the rows that went, by some columns

typedef struct DeltaTable {
    uint32_t table_id;
    const LiveChange *changes;
    size_t count;
    uint32_t *added;    // hash of a row that came -> change + 1; NULL: too few to be worth it
    uint32_t *removed;  // likewise, of those that went
    uint64_t mask;
    DeltaIndex *indexes;
} DeltaTable;

typedef struct Delta {
    Arena arena;  // until the next commit
    DeltaTable *tables;
    size_t count;
} Delta;

// Sorted by table, as a write set is. ERR_NOMEM.
MUST_USE Err delta_begin(Delta *delta, const LiveChange *changes, size_t count);
void delta_deinit(Delta *delta);
// NULL: the commit did not touch it.
DeltaTable *delta_table(const Delta *delta, uint32_t table_id);
bool delta_added(const DeltaTable *table, Bytes row);    // is it one that came?
bool delta_removed(const DeltaTable *table, Bytes row);  // … that went?

// ── looking rows up ────────────────────────────────────────────────────────────────────────────

typedef struct Arrangement Arrangement;  // arrange.h

// Where rows with certain values in certain columns are.
typedef struct ProbePlan {
    const Table *table;
    const RowLayout *layout;
    const uint16_t *columns;   // whose keys, one behind another, a look-up is for
    uint32_t column_count;     // 0: all rows of the table
    uint32_t index_id;         // or TABLE_ROWS: the leading columns of it
    Arrangement *arrangement;  // instead of an index; NULL: there is one
} ProbePlan;

typedef struct Probe {
    Buf key;  // the caller's, filled before probe_open
    Buf upper, scratch;
    Err err;  // after probe_next said false
    const ProbePlan *plan;
    Version version;
    bool scanning;
    TableScan scan;
    const void *entry;  // of an arrangement
    DeltaTable *delta;
    uint32_t delta_at;  // change + 1, of the rows that went; 0: none is left
    const DeltaIndex *delta_index;
} Probe;

// Rows whose columns have the key in probe->key. Rows of views and events are rows like others.
void probe_open(Probe *probe, Delta *delta, const ProbePlan *plan, Version version);
bool probe_next(Probe *probe, Bytes *row);
void probe_close(Probe *probe);  // harmless twice
void probe_deinit(Probe *probe);
