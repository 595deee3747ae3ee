// view_private.h: the inside of view.h, shared by view.c, view_rows.c and watch.c.
#pragma once
#include "live/live_private.h"
#include "live/view.h"
#include "txn/reader.h"
#include "txn/watch.h"

typedef enum ViewState {
    VIEW_STALE,    // its rows mean nothing; nobody watches what it read
    VIEW_CURRENT,  // (1) of view.h
    VIEW_LATE,     // its rows are of an earlier commit; it runs or waits for that
    VIEW_FAILED,   // whoever asked for it has not been told why yet
} ViewState;

struct View {
    Views *views;
    View *next, **link;
    uint32_t table_id;
    QueryViewKey key;
    Identity sender;
    ViewState state;
    ViewUse *uses;  // who watches it
    Watch *watch;   // of what it read; NULL unless current
    Micros used;    // when it was last asked for or watched
    bool queued;
    View *next_queued;
    bool slow;           // it was late, and has not been quick since
    bool late_queued;    // on the list of those that wait
    bool late_running;   // named by views_next_late
    uint8_t late_tries;  // of which nothing came, since something did
    bool alone;          // to be run on the head and waited for
    bool failed_late;    // VIEW_FAILED, and those who waited are to hear it
    View *next_late;
    uint64_t as_of;  // version that the rows of a late result are of; 0: it has none
    // Of the open transaction:
    bool touched, failed, deferred, stays_late;
    uint64_t as_of_new;
    View *next_touched;
    Watch *watch_new;
    char *reason;  // of the failure; owned. NULL: out of memory
};

// Of one view of the module, whoever's its results are.
typedef struct ViewHistory {
    uint8_t runs;  // within commits, up to a few
    bool slow;     // its last result was: one that is new begins as it
} ViewHistory;

struct Views {
    Db *db;
    const QueryCatalog *catalog;
    const ModuleDef *def;
    ViewHistory *history;  // of each of def's views; NULL: out of memory
    Watchers *watchers;
    LiveMap map;  // hash of table and key -> View
    View *all;
    uint32_t watch_count;
    uint32_t idle_count;  // results that nobody watches
    View *queue, **queue_end;
    View *late, **late_end;
    View *touched;
    uint64_t since;
    Micros now;
    ViewsStats stats;
    WriteSet writes;
    View **hit;  // scratch of views_find_stale
    uint32_t hit_count, hit_cap;
    // The run at hand:
    View *running;
    const ViewDef *running_def;
    ReadSet *reads;
    DbReader *reader;
    Buf rows;  // it returned: u32 length and row, key included, one after another
    uint32_t row_count;
};

// ── view.c ──
// Remember that the group watches this result, too. ERR_NOMEM.
MUST_USE Err view_watch(Views *views,
                        uint32_t table_id,
                        const QueryViewKey *key,
                        const Identity *caller,
                        Group *group);
void view_unwatch(GroupMore *more);                // all of them
const CatalogTable *view_table(const View *view);  // NULL: a migration removed it

// ── view_rows.c ──
// Decode what was returned into views->rows; of a query, run it and note what it reads.
MUST_USE Err view_rows_take(Views *views, const CatalogTable *table, Bytes returned, Diag *diag);
// Make the table hold exactly views->rows for the key, by the fewest changes; or nothing at all
// changed.
MUST_USE Err view_rows_store(Views *views, const CatalogTable *table, Diag *diag);
// Delete all rows of a key; *deleted counts them.
MUST_USE Err view_rows_delete(Views *views,
                              const CatalogTable *table,
                              const QueryViewKey *key,
                              uint64_t *deleted);
