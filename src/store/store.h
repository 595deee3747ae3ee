// store.h: the tables of one database: rows in clustered B+trees, indexes beside them.
//
// PICTURE
//   Store ── pages (one door: page_read, page_write) ── trees ── tables
//   Table 4097  rows    primary-key key, or 128-bit row hash  ->  row (its BSATN bytes)
//               index   key of the columns ++ row key          ->  nothing
//               unique  key of the columns                     ->  row key
//
//   The *head* is the state being changed by the loop's thread. A *snapshot* is a root: immutable,
//   readable from any thread, taken between transactions in O(tables). Pages are copied on write
//   only while a snapshot that can see them is alive; without readers nothing is copied.
//
// ALWAYS TRUE
//   (1) Only the owning thread touches the head. Snapshots are taken and released by that thread
//       too, but read by any.
//   (2) Between store_begin and store_commit every change to the head is in the change list, and
//       store_rollback restores the state of store_begin exactly, tables and indexes included.
//   (3) A table is a set: inserting a row that is there already changes nothing.
//
// The change list is undo log and write set in one: what a rollback reverses is what a commit
// publishes to the log and to subscribers.
#pragma once
#include "os/io.h"
#include "sats/key.h"

typedef struct Store Store;
typedef struct Table Table;
typedef struct Snapshot Snapshot;

typedef struct StoreIndexSpec {
    uint32_t index_id;
    const uint16_t *columns;
    uint16_t column_count;
    bool unique;
} StoreIndexSpec;

typedef struct StoreTableSpec {
    uint32_t table_id;
    const Type *row_type;    // resolved; must outlive the table
    int32_t primary_column;  // clusters the rows; -1: by row hash. Must have a unique spec below
    const StoreIndexSpec *indexes;
    uint32_t index_count;
} StoreTableSpec;

typedef struct StoreOptions {
    // Bytes of pages; 0: no limit. Without a page file reaching it is ERR_LIMIT on the change; with
    // one, pages that have not been used for a while leave memory.
    size_t memory_max;
    uint64_t address_bytes;  // address space to reserve; 0: as much as build and machine allow
    // A page file, for checkpoints and for more data than memory (checkpoint, below).
    const Io *io;
    const char *page_file;  // NULL: everything stays in memory
    bool read_only;         // of the page file: nothing is ever written to it
    bool sweeper;           // threads make room in memory and wait for pages, once they are needed
    Diag *diag;             // may be NULL: why the page file cannot be opened
} StoreOptions;

// With a page file the store opens as its newest checkpoint left it, reading no more than that
// one's root; the log from store_log_offset() on is the caller's to replay.
//   ERR_BUSY     another server has the file
//   ERR_CORRUPT  the checkpoint cannot be read
MUST_USE Err store_open(const StoreOptions *options, Store **out);
// The log was replayed. What a replay needs stands here and there in the page file, and comes into
// memory by the page; from now on new memory may come in large pieces.
void store_replayed(Store *store);
void store_close(Store **store);
// Another limit from now on. False: it holds from the next opening on, because this store was opened
// with every page in memory for good.
bool store_memory_max(Store *store, size_t bytes);

// ── transactions on the head ────────────────────────────────────────────────────────────────────

typedef enum ChangeKind { CHANGE_INSERT, CHANGE_DELETE } ChangeKind;
typedef struct Change {
    Table *table;
    ChangeKind kind;
    Bytes row;  // full BSATN row; owned by the store until the next store_begin
    Bytes key;  // its clustering key; likewise
} Change;

void store_begin(Store *store);     // exactly one transaction at a time
void store_commit(Store *store);    // cannot fail: everything was done when it was asked for
void store_rollback(Store *store);  // cannot fail
bool store_in_transaction(const Store *store);
// Changes of the open (or just committed) transaction in order, not netted. A no-op insert is not
// in it, nor are the rows that table_clear took away: those are asked for, because a table can be
// large and few want to hear of each row. Valid until the next store_begin.
const Change *store_changes(const Store *store, size_t *count);
typedef struct StoreClear {
    Table *table;
    uint64_t rows;   // that it took away; at least one
    size_t changes;  // of store_changes() came before it
} StoreClear;
// The next table_clear of the transaction, in order. *position begins at 0. False: there is no more.
bool store_next_clear(const Store *store, size_t *position, StoreClear *out);
// Every row of the clear that store_next_clear just returned for this *position, as a deletion, to
// `each`. Rows and keys last until the next store_begin, and until then store_breathe does nothing.
//   ERR_NOMEM, ERR_IO, ERR_CORRUPT  not all were told
typedef void (*StoreClearEach)(void *ctx, const Change *change);
MUST_USE Err store_clear_rows(Store *store, size_t position, StoreClearEach each, void *ctx);
// A mark in the open transaction and the way back to it (for one failed statement of several).
size_t store_savepoint(const Store *store);
void store_rollback_to(Store *store, size_t savepoint);

// ── tables (each is part of the open transaction and undone with it) ────────────────────────────

MUST_USE Err store_table_create(Store *store, const StoreTableSpec *spec, Table **out);
// The handle stays valid until the commit, and as long as a snapshot that has the table. These three
// can only fail with ERR_NOMEM, changing nothing.
MUST_USE Err store_table_drop(Store *store, Table *table);
// Build an index over the rows that are there. ERR_UNIQUE when two rows collide. Breathes (below).
MUST_USE Err store_index_create(Store *store, Table *table, const StoreIndexSpec *spec);
MUST_USE Err store_index_drop(Store *store, Table *table, uint32_t index_id);
// Give the table another row type with identical bytes for existing rows (a widened sum).
MUST_USE Err store_table_retype(Store *store, Table *table, const Type *row_type);
Table *store_table(const Store *store, uint32_t table_id);  // NULL when there is none
// Outside of a transaction: the table has no rows any more, and nobody is told.
void store_table_empty(Store *store, Table *table);

uint32_t table_id(const Table *table);
const RowLayout *table_layout(const Table *table);
int32_t table_primary_column(const Table *table);

// ── changing rows ──────────────────────────────────────────────────────────────────────────────

// Insert a checked row. *inserted (may be NULL) is false when the identical row was there.
//   ERR_UNIQUE  another row holds a unique key; nothing changed; diag (may be NULL) names the
//               index, and diag->at is its index_id
//   ERR_LIMIT, ERR_NOMEM  nothing changed
MUST_USE Err table_insert(Table *table, Bytes row, bool *inserted, Diag *diag);
// Delete the row with this clustering key. ERR_NOT_FOUND when there is none.
MUST_USE Err table_delete_key(Table *table, Bytes key);
MUST_USE Err table_delete_row(Table *table, Bytes row);  // the row with exactly these bytes
// Replace the row whose unique index `index_id` (TABLE_ROWS: the primary key) has the same key as
// `row` has there: the identical row is left alone (*changed false).
//   ERR_NOT_FOUND no such row   ERR_UNIQUE another unique index collides; nothing changed
MUST_USE Err table_replace(Table *table, uint32_t index_id, Bytes row, bool *changed, Diag *diag);
// Whether `row` can take the place of `old` whatever happens to other rows meanwhile: both have the
// same primary key, which the caller knows, and the same key in every other unique index.
bool table_uniques_same(const Table *table, Bytes old, Bytes row);
// Takes no longer for many rows than for few.
MUST_USE Err table_clear(Table *table, uint64_t *deleted);
// The clustering key of a row (appended).
void table_row_key(const Table *table, Bytes row, Buf *out);
// The stem of a clustering key is what the row alone decides: by primary key all of it, by hash all
// but the byte that tells rows with the same hash apart. Any thread may ask.
void table_row_stem(const Table *table, Bytes row, Buf *out);  // appended
Bytes table_key_stem(const Table *table, Bytes key);           // borrows from key

// ── reading, on the head (snapshot NULL) or on a snapshot ──────────────────────────────────────

uint64_t table_row_count(const Table *table, const Snapshot *snapshot);
uint64_t table_data_bytes(const Table *table);  // BSATN bytes of all rows at the head
// Whether an identical row is there; false when it cannot be read.
bool table_contains(const Table *table, const Snapshot *snapshot, Bytes row);
// The same for who must tell "no" from "cannot say": ERR_NOT_FOUND, and ERR_NOMEM, ERR_IO, ….
MUST_USE Err table_find_row(const Table *table, const Snapshot *snapshot, Bytes row);
// Find a row by its clustering key. The row borrows from the page: on the head valid until the
// next change of this store, on a snapshot until it is released, and in either case no longer than
// until this thread's next store_breathe(). ERR_NOT_FOUND.
//   ERR_IO, ERR_CORRUPT  a page cannot be read (this goes for everything that reads or changes rows)
MUST_USE Err table_get(const Table *table, const Snapshot *snapshot, Bytes key, Bytes *row);
// Find a row through a unique index by the index's key. ERR_NOT_FOUND.
MUST_USE Err
table_find(const Table *table, const Snapshot *snapshot, uint32_t index_id, Bytes key, Bytes *row);
// The head's row with this key (of a unique index, or the clustering key) will be looked up soon: ask
// the memory for it now. Only a hint: nothing depends on it, and no page is read that is not in memory.
// False: it would be no use, because the table is small, may be absent, or has its rows elsewhere.
bool table_foresee(const Table *table, uint32_t index_id, Bytes key);

typedef struct StoreIndexInfo {
    uint32_t index_id;
    const uint16_t *columns;
    uint16_t column_count;
    bool unique;
} StoreIndexInfo;
bool table_index(const Table *table, uint32_t index_id, StoreIndexInfo *out);
uint32_t table_index_count(const Table *table);
StoreIndexInfo table_index_at(const Table *table, uint32_t position);

// A scan in key order over [lower, upper): TABLE_ROWS walks the clustered tree, an index id walks
// that index. An empty lower starts at the beginning; an empty upper goes to the end. On the head
// the scan ends with the next change of the table (asserted): collect first, then change.
#define TABLE_ROWS 0u
typedef struct TableScan {
    Err err;  // after table_scan_next said false: OK at the end, or why it ended before
    const Table *table;
    const Snapshot *snapshot;
    uint32_t index_id;
    Bytes upper;  // borrowed; must outlive the scan
    struct {
        uint64_t state[48];
    } private_part;  // cursors; table.c asserts that they fit
} TableScan;
void table_scan_begin(TableScan *scan,
                      const Table *table,
                      const Snapshot *snapshot,
                      uint32_t index_id,
                      Bytes lower,
                      Bytes upper);
bool table_scan_next(TableScan *scan, Bytes *row);  // false at the end; borrows as table_get
// Append the key by which the rows stand in their tree, of the row that was found last: what table_get
// takes. Of a scan of TABLE_ROWS.
void table_scan_key(TableScan *scan, Buf *out);
void table_scan_end(TableScan *scan);  // harmless twice

// ── guessing, on the head ──────────────────────────────────────────────────────────────────────
//
// For who chooses between ways to read. Each costs a few descents and looks only at pages that are in
// memory: ERR_AGAIN when one is not, which is no fault of the transaction.

// About how many rows stand in [lower, upper) of an index (bounds as of a scan); few are counted
// exactly.
MUST_USE Err
table_rows_between(const Table *table, uint32_t index_id, Bytes lower, Bytes upper, uint64_t *rows);
// At most `most` rows from there, at even distances. A row is each's during the call only.
MUST_USE Err table_sample(const Table *table,
                          uint32_t index_id,
                          Bytes lower,
                          Bytes upper,
                          uint32_t most,
                          void (*each)(void *ctx, Bytes row),
                          void *ctx);
// How often the table was changed since the store was opened, changes undone included: a number to
// compare with an earlier one.
uint64_t table_changes(const Table *table);

// ── snapshots ──────────────────────────────────────────────────────────────────────────────────

// Not inside a transaction. Taking one costs O(tables), no copying; releasing frees what only it
// could see, a bounded step at a time.
MUST_USE Err store_snapshot(Store *store, Snapshot **out);
void snapshot_release(Snapshot **snapshot);
uint64_t snapshot_version(const Snapshot *snapshot);  // grows with every commit

// ── branches ───────────────────────────────────────────────────────────────────────────────────
//
// Tables changed beside the owner, on a snapshot, who then takes the result over in one step that does
// not grow with the number of rows: branch.h has the picture. Both sides must have made the same
// changes to a table of the branch by then: what the owner committed to it meanwhile is made again on
// the branch, in an order in which it commutes with the branch's own.
typedef struct StoreBranch StoreBranch;

// On the owner's thread, between transactions; no table may be made, dropped or altered until it is
// closed. ERR_BUSY: there is one already.
MUST_USE Err store_branch_open(Store *store, StoreBranch **out);
// On the owner's thread, adopted or not; not inside the transaction that adopts it.
void store_branch_close(StoreBranch **branch);
// On the owner's thread: lend it that many more pages. ERR_LIMIT.
MUST_USE Err store_branch_lend(StoreBranch *branch, uint32_t pages);

// On any one thread at a time. A branch asks for pages on the thread that changes it; `more` has
// store_branch_lend called on the owner's. NULL: this is the owner's.
void branch_set_lender(StoreBranch *branch, Err (*more)(void *ctx, uint32_t pages), void *ctx);
// A table of the head as it was when the branch was opened, or without rows; *out is for table_insert
// and the like and for reading without a snapshot. Changes of it are not listed anywhere. ERR_NOMEM.
MUST_USE Err branch_table_add(StoreBranch *branch, Table *table, bool is_empty, Table **out);
Table *branch_table(const StoreBranch *branch, const Table *table);  // NULL: it was not added
const Snapshot *branch_snapshot(const StoreBranch *branch);
// As store_breathe, and the memory of changes goes: every hundred or so.
void branch_breathe(StoreBranch *branch);

// On the owner's thread, inside a transaction that makes no other change to those tables: they are what
// they are in the branch. The change list has nothing of it. On error the transaction must be rolled
// back; ERR_NOMEM.
MUST_USE Err store_branch_adopt(StoreBranch *branch);

// ── more data than memory ──────────────────────────────────────────────────────────────────────

// With a page file, what a thread has found stays in memory until it says that it borrows nothing any
// more: no row or key of any store. Scans survive it, what they returned does not. Who reads much
// says it often; a thread that is done with reading must. Costs a branch when there is no limit.
void store_breathe(Store *store);                 // on the owner's thread
void snapshot_breathe(const Snapshot *snapshot);  // on any other
void store_guard_lower(void);                     // the same without a store at hand

// The owner reads absent pages, if it must, by waiting for the disk; or, while it is not patient, it
// does not: what needs a page that the system does not have at hand ends with ERR_AGAIN, and the disk
// begins to read it. Then nothing of this transaction is to be believed (store_fault), and it is undone.
// Undoing waits.
void store_set_patient(Store *store, bool patient);
Store *table_store(const Table *table);
// Have the pages read that were missed since the owner was last told to hurry, by a thread; `done` is
// called on that thread when the system has them at hand, or cannot have them. They may be gone again
// before they are used. The caller owns *fetch, which must not move before that. False: nothing was
// missed, or this store has no such thread (StoreOptions.sweeper).
enum { STORE_FETCH_PAGES = 16 };
typedef struct StoreFetch StoreFetch;
struct StoreFetch {
    StoreFetch *next;
    void (*done)(StoreFetch *fetch);
    uint32_t pages[STORE_FETCH_PAGES];
    uint32_t count;
};
MUST_USE bool store_fetch(Store *store, StoreFetch *fetch);
// On any thread: bring in what an insertion, a deletion or a replacement of this row would look at.
// ERR_NOMEM, and what cannot be read; either way the change itself will find out.
MUST_USE Err table_touch(const Table *table, const Snapshot *snapshot, Bytes row);
// Whether there is anything to touch: pages may be absent.
bool store_is_paged(const Store *store);

// Whichever of the two goes with a scan of the table; every so many rows it returned, say.
#define TABLE_BREATHE_ROWS 64u
void table_breathe(const Table *table, const Snapshot *snapshot);

// What could not be read on the head since store_begin, or in an undo. What was computed from it is
// not to be believed, so the transaction must not be committed. OK: nothing.
Err store_fault(const Store *store, Diag *diag);

// ── checkpoints ────────────────────────────────────────────────────────────────────────────────
//
// The store written down while it goes on: pages younger than the last checkpoint go to free places
// of the page file, then a meta page takes the place of the older of two. The owner begins and ends
// it; in between any one thread writes. After a crash at any moment the newest whole one counts.
typedef struct StoreCheckpoint StoreCheckpoint;

// Between transactions; like store_begin it ends what store_changes returned. Everything below
// `log_offset` is in it, and must be durable in the log, or it is held back until it is. Costs
// O(tables) and a bit a page.
MUST_USE Err store_checkpoint_begin(Store *store,
                                    uint64_t log_offset,
                                    Micros now,
                                    StoreCheckpoint **out,
                                    Diag *diag);
// Write at most about `bytes` and return; *done when it is safe. An error is final for this one.
MUST_USE Err store_checkpoint_write(StoreCheckpoint *checkpoint,
                                    size_t bytes,
                                    bool *done,
                                    Diag *diag);
// While it is held back everything is written but what makes it count: the log is not as far yet. The
// owner holds it, before anybody writes, and lets it go; any thread may ask.
void store_checkpoint_hold(StoreCheckpoint *checkpoint, bool hold);
bool store_checkpoint_is_held(const StoreCheckpoint *checkpoint);
bool store_checkpoint_is_written(const StoreCheckpoint *checkpoint);  // but for that; the writer's
uint64_t store_checkpoint_bytes(const StoreCheckpoint *checkpoint);   // written so far
double store_checkpoint_share(const StoreCheckpoint *checkpoint);     // of all there is to write
// When it was not done, it is as if it had not been begun, and another may be tried; unless a sync
// failed: then no further checkpoint is made until the store is opened again. Returns why.
Err store_checkpoint_end(Store *store, StoreCheckpoint **checkpoint);

// So much of the memory limit is dirty that a checkpoint should make it clean.
bool store_wants_checkpoint(const Store *store);
uint64_t store_log_offset(const Store *store);   // of the newest safe checkpoint; 0: there is none
uint64_t store_checkpoints(const Store *store);  // its number, from 1; 0: there is none
Micros store_checkpoint_time(const Store *store);  // when it was begun

// ── images ─────────────────────────────────────────────────────────────────────────────────────

// The newest checkpoint, kept for as long as somebody copies it: a page file with that one
// checkpoint in it and zeros where it has no pages, to be read from the start to the end. Between
// transactions, on the owner's thread. ERR_NOT_FOUND: there is no checkpoint.
typedef struct StoreImage StoreImage;
MUST_USE Err store_image_open(Store *store, StoreImage **out, Diag *diag);
void store_image_close(Store *store, StoreImage **image);  // on the owner's thread
uint64_t store_image_bytes(const StoreImage *image);
// On any one thread. `offset` and `len` are multiples of 8192, within the image. Every page is checked.
MUST_USE Err
store_image_read(StoreImage *image, uint64_t offset, uint8_t *into, size_t len, Diag *diag);

// What a file that may be such an image says about itself. ERR_CORRUPT: it is none.
typedef struct StoreImageInfo {
    uint64_t log_offset;  // commits below it are in it
    Micros time;
    uint64_t bytes;
} StoreImageInfo;
MUST_USE Err store_image_info(const Io *io, const char *path, StoreImageInfo *out, Diag *diag);

// ── looking after itself ───────────────────────────────────────────────────────────────────────

typedef struct StoreStats {
    uint64_t pages_used, pages_free, pages_copied, snapshots_live;
    uint64_t version;            // of the head: commits since it was opened
    uint64_t snapshot_oldest;    // version of the oldest live snapshot; `version` without one
    int64_t snapshot_oldest_ns;  // monotonic: when it was taken; 0 without one, or without an io
    uint64_t snapshot_bytes;     // of pages that only snapshots can see, or that wait to be freed
    uint64_t memory_bytes;       // of pages in memory
    uint64_t dirty_bytes;        // to be written by the next checkpoint
    uint64_t file_bytes;         // of the page file in use
    uint64_t page_reads, page_read_errors, pages_evicted, pages_spilled;
    uint64_t page_reads_owner;            // of page_reads, by the owner's thread
    uint64_t page_waits, page_wait_ns;    // of those, for which it waited for the disk
    uint64_t spill_waits, spill_wait_ns;  // the owner waited for dirty pages to be written
} StoreStats;
StoreStats store_stats(const Store *store);
// Walk everything: key order, fill, reference structure, index <-> row agreement. Aborts nothing;
// ERR_CORRUPT with an explanation. Breathes, so it needs no more memory than there may be.
MUST_USE Err store_check(const Store *store, Diag *diag);
// Read every page of the newest checkpoint from the page file and say of each that is damaged where
// and why, as a line to `each` (may be NULL). Returns how many there are.
typedef void (*StoreCheckLine)(void *ctx, const char *line);
uint64_t store_check_pages(const Store *store, StoreCheckLine each, void *ctx, uint64_t *checked);
