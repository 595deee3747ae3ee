// database.h: a database that is open: its data, its module, its clients.
#pragma once
#include "host/host.h"
#include "live/live.h"
#include "node/expect.h"
#include "node/fair.h"
#include "node/loop.h"
#include "node/modulelog.h"
#include "node/schedule.h"
#include "node/settings.h"
#include "node/syncway.h"
#include "txn/db.h"

typedef struct Session Session;
typedef struct Lanes Lanes;

// A transaction whose end has begun (commit.h).
typedef struct CommitPending {
    Session *session;  // NULL: none
    void (*finish)(Session *session, Err err, const LiveUpdate *own);
    bool own_part;
    bool is_write;    // it does somebody's work, and more than views
    bool view_alone;  // the view that runs is waited for, whatever it takes of its time (view.h)
} CommitPending;

// Sessions that wait for something other than their turn (read.h): a place to read in, a view's result.
typedef enum ParkKind { PARK_NONE, PARK_READ, PARK_VIEWS, PARK_KINDS } ParkKind;
typedef struct ParkList {
    Session *first, *last;
} ParkList;

typedef struct DatabaseCounters {
    uint64_t calls_ok, calls_user_error, calls_fatal, calls_deadline, calls_refused, calls_repeated;
    uint64_t commits, flushes, turns, messages_in, sql_queries;
    uint64_t calls_missed_page;  // began again because a page was not in memory
    uint64_t slices_used_up, slow_calls, conflicts, exclusive_runs;
    uint64_t procedures, procedures_failed, procedures_deadline;
    uint64_t retries, calls_delayed, calls_over_rate, lane_refused, inboxes_full;
    uint64_t reads, reads_cancelled, reads_refused;
    uint64_t resumes, resumes_other_history, resumes_log_gone, resumes_too_much;
    uint64_t resumes_other_schema, resumes_failed;
    uint64_t packing_saved;  // bytes
    uint64_t slow_clients;   // cut off
    uint64_t told;           // commits whose updates were made beside the loop
    uint64_t hurried, syncs_here_hurried, batches_held;
    uint64_t away_ns;  // turn_away_ns
    uint64_t instances_inline, instance_wait_ns;
} DatabaseCounters;

struct Database {
    NodeLoop *loop;
    Database *next;  // in loop->databases
    Identity identity, owner;
    uint64_t generation;
    char dir[IO_PATH_MAX];

    Db *db;
    Settings settings;
    Views *views;
    Micros views_checked;  // when results nobody watches were last looked through
    Live *live;
    QueryCatalog query_catalog;
    HostProgram *program;
    struct ModuleInstance *instance;  // instance.h; NULL while there is none: no call is begun
    int64_t mend_began_ns;            // monotonic: when the last one was lost …
    int64_t mend_wake_ns;             // … and while there is none, when to look again
    bool mend_failed;
    const ModuleDef *def;  // of program
    ModuleLog *log;
    struct Backup *backups;  // being streamed
    Schedule *schedule;
    Lanes *lanes;  // owns `program`; NULL: nothing leaves the loop (a trial)

    Session *sessions;      // all, doubly linked
    uint32_t client_count;  // WebSocket sessions that are connected
    uint32_t ours_count;    // sessions of v1.bsatn.lightcone
    uint32_t v1_count;      // sessions of protocol v1, who want to know more of each transaction
    Fair fair;              // who has something to do, and whose turn it is
    Session *dirty;         // have something to say once what they did is durable
    Session *sealed;        // whose words wait for the batch in flight
    bool hurried;           // somebody who asks for little is among the dirty: turn.c
    bool hurried_sealed;    // … among the sealed
    int64_t sync_began_ns;  // of the batch in flight
    int64_t log_asked_ns;   // when a turn last asked whether it has landed
    bool has_asked;         // … for what the sockets have, before its batch starts
    SyncWay sync_way;       // of batches in which somebody is hurried
    Expect expect;          // of those who ask for little
    bool holds_batch;       // for one of them
    Session *system;        // runs scheduled reducers and clean-up
    Session *running;       // whose call is in the module now
    ParkList parks[PARK_KINDS];
    uint32_t reads_active;        // on workers, or about to begin
    struct SessionRead *resumes;  // that wait for the log (read.c)
    struct LogTail *tail;         // that clients who came back have read; NULL: none
    int64_t tail_used_ns;
    // Telling idle clients how far it is (resume.c).
    Session *progress_next;    // of the round under way; NULL: none is
    uint64_t progress_offset;  // when the last one began
    int64_t progress_round_ns, progress_step_ns;
    uint32_t streams;              // answers that PostgreSQL clients are reading
    int64_t snapshots_noticed_ns;  // when a log line last spoke of an old one
    CommitPending commit;          // while it is pending no other call begins
    struct Tell *tell;             // of the transaction that is open or being committed (tell.h)
    struct {                       // rows of the running commit's deltas as v1.json shows them
        struct DeltaJson *list;    // by LiveDelta.id; in the turn arena
        uint64_t count;
    } delta_json;
    int64_t turn_began_ns;  // monotonic
    Micros turn_began;      // the same moment by the wall clock
    int64_t looked_ns,
        looked_cpu_ns;     // turn_away_ns: the clock, and what the loop had used, at its last look
    Micros once_sweep_at;  // once.h
    Micros now;            // wall clock of the running call
    bool failed;  // its log cannot be written: what was computed is not on the disk (mend.h)
    char failure[256];
    Err read_only;  // not OK: why nothing can be written; the state is the durable one (mend.h)
    char read_only_why[256];
    int64_t mend_ns, mend_delay_ns;  // monotonic: when to try to write again
    DatabaseCounters counters;
    Arena turn_arena;  // until the next turn
    bool has_schedules;
    struct {
        Identity identity;
        ConnectionId connection;
    } * orphans;  // clients of the process before, to be said goodbye to
    uint32_t orphan_count;
    uint64_t instances_made;
    bool memory_max_waits;  // for the next start (store_memory_max)
};

typedef struct DatabaseOpen {
    NodeLoop *loop;
    Identity identity, owner;
    uint64_t generation;
    Err read_only;    // not OK: open it to be looked at (db.h)
    TxOffset end;     // with it: the state is that of the commits below; 0: of all there are
    const char *why;  // with it: for clients; copied
} DatabaseOpen;

// Directory of a database's data.
Err database_dir(const Node *node,
                 const Identity *identity,
                 uint64_t generation,
                 char out[IO_PATH_MAX]);

// Delete a generation's files, if there are any.
void database_files_remove(const Node *node, const Identity *identity, uint64_t generation);
// Delete the files of generations before the record's: what a reset or deletion was about to remove
// when the process ended. Younger ones stay: one may be a reset about to be recorded.
void database_files_sweep(const Node *node, const ControlDatabase *record);
// What pre-publish hands out and publish checks (http §9.5).
void database_migration_token(const Identity *identity,
                              const uint8_t old_hash[32],
                              const uint8_t new_hash[32],
                              uint8_t out[32]);

// Open one that was published before: replay its log, start its module. On the loop's thread.
MUST_USE Err database_open(const DatabaseOpen *open, Database **out, Diag *diag);
// Make a new one from a program that was loaded: tables, init, all in one transaction that is
// durable on OK. Consumes *program and *instance-making rights in any case.
MUST_USE Err database_create(const DatabaseOpen *open,
                             HostProgram **program,
                             Bytes program_bytes,
                             HostKind kind,
                             Database **out,
                             Diag *diag);
// Replace its module (module-abi §6). Consumes *program. On refusal the old module goes on.
MUST_USE Err database_update(Database *database,
                             HostProgram **program,
                             Bytes program_bytes,
                             HostKind kind,
                             bool break_clients,
                             const uint8_t *token,
                             Diag *diag);
// Stop: sessions are closed with 1001 and `why`, files closed. `remove_files` deletes its data.
void database_close(Database **database, const char *why, bool remove_files);

// How long the oldest snapshot has been held; 0: there is none.
int64_t database_snapshot_age_ns(const Database *database);

// turn.c. One turn's work: run calls of ready sessions, sync, and hand out what may leave.
void database_turn(Database *database);
bool database_has_work(const Database *database);
// Somebody who asks for little (sparse, in fair.h) was here a moment ago, or is expected to ask in a moment
// (expect.h).
bool database_has_sparse(const Database *database);
bool database_expects(const Database *database);
// Nanoseconds (monotonic) when the next schedule is due, INT64_MAX when there is none.
int64_t database_next_due_ns(const Database *database);
// No further call is begun in this turn.
bool turn_is_over(Database *database, int64_t now_ns);
// How long the machine ran somebody else since the last look, or since the turn began. Looks.
int64_t turn_away_ns(Database *database, int64_t now_ns);
void turn_call_over(Database *database,
                    int64_t now_ns);  // looks if the call seems to have been long

// Run `init` of a program in a database in memory, so that a broken module never creates one.
MUST_USE Err database_try_init(const Node *node,
                               HostProgram *program,
                               Bytes program_bytes,
                               HostKind kind,
                               const Identity *identity,
                               const Identity *owner,
                               Diag *diag);

// What the owner decided, or the server's defaults. Applied from the next call on; a heap limit makes
// new instances.
void database_settings_load(Database *database);
void database_settings_apply(Database *database, const Settings *settings);

// Replace the module's instance if it is not fit to run any more. False: there is none yet, or it
// could not be made. `now`: it cannot wait until one has been made elsewhere.
bool database_mend(Database *database, bool now);

// After a commit: tell schedules and subscribers. `by` (may be NULL) did it; where `own` is not NULL, it
// gets its part as *own (valid until the next commit) instead of a message.
void database_publish(Database *database,
                      const WriteSet *writes,
                      Session *by,
                      const LiveUpdate **own);
// A line of the module's log in the server's own name, or in a reducer's.
void database_log_line(Database *database, int level, const char *function, Str message);
void database_log_record(Database *database, int level, Str function, Str message, Micros ts);
// The log cannot be written any more: refuse everything, close every client.
void database_fail(Database *database, const Diag *diag);
