// isolation_testing.h: sessions, and every order in which their steps can happen.
//
// A session is a list of steps that call an Access and remember what they saw. It runs as an overlay,
// whose steps fall between those of others, or on the head, all at once as the loop would run it.
// For every interleaving the outcome (what the committed sessions saw, and the data at the end) must
// be that of some serial order of the committed ones, which also keeps the order of those that did
// not overlap. One session at least must commit, and all of them when none overlap.
#pragma once
#include "txn/overlay.h"

enum { SESSIONS_MAX = 4, STEPS_MAX = 6, SEEN_MAX = 12 };

typedef struct Session Session;
typedef void (*SessionStep)(Session *session);

struct Session {
    Db *db;
    Access *access;  // valid inside a step
    int64_t seen[SEEN_MAX];
    int seen_count;
};

typedef struct Program {
    SessionStep steps[STEPS_MAX];  // NULL ends
} Program;

typedef struct Scenario {
    const char *name;
    SessionStep setup;  // on an empty database
    Program sessions[SESSIONS_MAX];
    int session_count;
    bool
        ids_differ;  // which rows there are depends on sequences: compare how many timers there are
} Scenario;

// Run all interleavings in every mix of overlays and the head. Fails the test with the interleaving.
// Tells how many were run, and in how many of them a session had to give way.
typedef struct IsolationCount {
    uint64_t runs, conflicts;
} IsolationCount;
IsolationCount isolation_run(Db *db, const Scenario *scenario);

// ── what steps do ──────────────────────────────────────────────────────────────────────────────

void saw(Session *session, int64_t value);
int64_t item_get(Session *session, uint64_t id);  // its v, -1: none. Not remembered by itself
AbiErrno item_put(Session *session, uint64_t id, uint32_t v, uint32_t code);  // insert
AbiErrno item_set(Session *session, uint64_t id, uint32_t v);  // update v, code stays the id
uint32_t item_delete(Session *session, uint64_t id);
int64_t item_with_code(Session *session, uint32_t code);                // its id, -1: none
uint32_t items_between(Session *session, uint32_t low, uint32_t high);  // by v, both included
uint32_t items_with(Session *session, uint32_t v);
AbiErrno note_put(Session *session, const char *text, uint32_t n);
uint32_t note_delete(Session *session, const char *text, uint32_t n);
AbiErrno timer_put(Session *session);           // with an id from the sequence
uint64_t rows_of(Session *session, int table);  // row count
uint64_t clear_of(Session *session, int table);
uint32_t scan_of(Session *session, int table);  // rows counted by a scan
