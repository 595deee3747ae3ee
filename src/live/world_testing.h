// world_testing.h: a store, a catalog and subscribed clients, simulated as an SDK keeps them, for the
// tests of live/.
//
// A SimClient applies every message as the Rust SDK does (rows counted by their bytes; all inserts,
// then all deletes; a delete of an absent row is fatal) for each of its sets, and expect_current
// compares what it holds with its queries run afresh. The net changes of a commit are found by
// comparing all rows before and after, so that nothing here trusts what is tested.
#pragma once
#include "live/live.h"
#include "query/fake_testing.h"

// Rows with counts.
typedef struct BagEntry {
    uint32_t table;  // position of its name in the world
    Bytes row;       // owned
    int64_t count;
} BagEntry;

typedef struct Bag {
    BagEntry *entries;
    size_t count, cap;
} Bag;

bool bag_add(Bag *bag, uint32_t table, Bytes row, int64_t by);  // false: the count fell below zero
bool bag_eq(Bag *a, Bag *b);
void bag_clear(Bag *bag);
// Rows of a BsatnRowList, into a bag.
bool rows_apply(Bag *bag, uint32_t table, Bytes list, int64_t by);

enum { USERS, NOTES, EVENTS, SECRET, TABLES };

typedef struct World {
    FakeCatalog *fake;
    Store *store;
    Live *live;
    CatalogTable *tables[TABLES];
    uint64_t seed;
} World;

World world_open(void);
void world_close(World *w);
uint64_t world_random(World *w, uint64_t below);

enum { SETS = 4, QUERIES = 5, TEXT = 200 };

typedef struct SimSet {
    bool live;
    uint32_t id, count;
    char texts[QUERIES][TEXT];
    Bag rows;
    uint64_t events;  // rows of event tables received
} SimSet;

typedef struct SimClient {
    LiveClient *client;
    QueryCaller caller;
    SimSet sets[SETS];
    uint64_t heard;  // updates
} SimClient;

void sim_open(World *w, SimClient *c, uint8_t identity);
void sim_close(SimClient *c);
Err sim_subscribe(World *w, SimClient *c, SimSet *set, Diag *diag);
// Subscribe to texts given as arguments, in the first free place of the client.
#define SUBSCRIBE(w, c, id, ...) \
    sim_subscribe_texts((w), (c), (id), (const char *const[]){__VA_ARGS__, NULL})
SimSet *sim_subscribe_texts(World *w, SimClient *c, uint32_t id, const char *const *texts);
// Ends the set; with its rows, those must be exactly what the client held.
void sim_unsubscribe(World *w, SimClient *c, SimSet *set, bool want_rows);
void sim_update(World *w, const LiveUpdate *update);
void expect_current(World *w, SimClient *c);

typedef struct Rows {
    Bytes *rows;  // owned
    size_t count;
} Rows;

// Of the commit at hand.
typedef struct Changes {
    LiveChange list[4096];
    size_t count;
    Rows before[TABLES], after[TABLES];
    Bytes events[64];
    size_t event_count;
} Changes;
extern Changes world_changes;

void world_begin(World *w);   // a transaction
void world_commit(World *w);  // it, and deliver what clients must hear
// The halves of commit, for a test that looks at the updates itself.
void changes_end(World *w, Changes *c);
void changes_free(Changes *c);

// One of what may be done about a row, drawn: it is inserted, put in the place of the one with its id, or
// deleted (a note: inserted or deleted).
void world_change_user(World *w, uint64_t id, Bytes row);
void world_change_note(World *w, Bytes row);
Bytes user_row(Buf *row, uint64_t id, uint32_t room, const char *name, bool flag, uint8_t who);
Bytes note_row(Buf *row, uint32_t x, uint32_t y, const char *s);
void put_user(World *w, uint64_t id, uint32_t room, const char *name, uint8_t who);
void remove_user(World *w, uint64_t id);
void put_note(World *w, uint32_t x, uint32_t y);
void remove_note(World *w, uint32_t x, uint32_t y);
void put_event(Changes *c, uint64_t id, uint32_t k);
