// head.h: inside of db.h, shared by db.c, head.c and sequence.c.
#pragma once
#include <pthread.h>
#include <stdatomic.h>

#include "txn/bulk.h"
#include "txn/db.h"
#include "txn/history.h"
#include "txn/look.h"
#include "txn/sequence.h"

// A sequence of which this transaction wrote st_sequence.allocated, and what it was before.
typedef struct SequenceDraw {
    uint32_t table_id, sequence_id;
    Int128 allocated_before;
} SequenceDraw;

// checkpoint.c
typedef enum CheckpointStage {
    CHECKPOINT_IDLE,
    CHECKPOINT_WRITING,  // `running`, `trim` and what comes of them are the writer's
    CHECKPOINT_WRITTEN,  // or failed: the owner may end it
} CheckpointStage;

typedef struct Checkpointer {
    const Io *io;
    uint64_t due_bytes, rate;
    LogKeep keep;
    bool by_hand;
    void (*wake)(void *ctx);
    void *wake_ctx;
    _Atomic int stage;
    _Atomic bool stop;      // the writer gives up
    pthread_mutex_t mutex;  // between the owner who ends the wait for the log and the writer in it
    pthread_cond_t changed;
    TxOffset offset;  // of the running one: it holds what is below
    bool held;        // the owner's: not all of that is durable in the log yet
    pthread_t thread;
    StoreCheckpoint *running;
    LogTrim trim;
    Err err;
    Diag diag;
    int64_t began_ns, retry_ns;
    uint64_t log_mark;         // replay_work() when the last one was begun
    _Atomic uint64_t log_now;  // and now, for the writer
    uint64_t begun_mark;
    DbCheckpointStats stats;
} Checkpointer;

void checkpointer_init(Db *db, const DbOptions *options);  // once the log is open
void checkpointer_log_landed(Db *db);                      // more of the log may be durable
void checkpointer_deinit(Db *db);                          // gives up what is being written

struct Db {
    Look look;  // first: an Access* of the head is a Db*; open inside a transaction
    Store *store;
    Catalog *catalog;
    Log *log;
    CommitInfo info;
    WriteSet writes;
    DbApplied applied;
    History history;  // what committed while overlays run
    Bulk *bulk;       // adopted by the open transaction or the one before; NULL: nothing
    struct {          // db_set_aside
        bool (*wanted)(void *ctx, uint32_t table_id);
        void *ctx;
        const CatalogTable *cleared;  // a large one, by this transaction; NULL: none
        bool is;
    } aside;
    Buf row;    // a row with its generated columns
    Buf found;  // keys to be deleted
    SequenceDraw *drawn;
    uint32_t drawn_count, drawn_cap;
    Checkpointer checkpointer;
};

// A LogReplay; ctx is a Db with store and catalog.
Err db_replay_commit(void *ctx, const Commit *commit, Diag *diag);

void head_init(Db *db);
void head_deinit(Db *db);
bool head_touched_schema(const Db *db);

// A SequenceSource's draw; ctx is the Db.
AbiErrno head_sequence_draw(void *ctx,
                            CatalogTable *table,
                            CatalogSequence *sequence,
                            __int128 *out);
CatalogSequence *head_sequence(Db *db, uint32_t table_id, uint32_t sequence_id);  // NULL
// Of blocks that db_sequence_reserve gave out. Cover inside the open transaction: ERR_NOMEM, ERR_LIMIT.
MUST_USE Err head_sequence_cover(Db *db,
                                 CatalogTable *table,
                                 CatalogSequence *sequence,
                                 __int128 last);
void head_sequence_give_back(CatalogSequence *sequence, __int128 from, uint32_t left);
void head_sequences_restore(Db *db);  // after a rollback
