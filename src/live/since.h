// since.h: what became of the answers of queries between a place in the log and a snapshot.
//
// PICTURE
//   commits since ── since_commit ──> per table: key -> was it there, what is there now
//   queries, snapshot ── since_end ──> per table of the answer, the shortest of
//        nothing        it is as it was
//        SINCE_ROWS     these rows went, these came                    (tables without a primary key)
//        SINCE_KEYS     forget what you hold under these keys; these rows came
//        SINCE_WHOLE    forget all; these rows it is                   (joins, views, groups)
//
// The log says of a keyed row that went its key and no more, and nobody remembers what a client held. So
// the client is told the keys and looks itself: it has the rows, and what it holds is exactly the
// answer of these queries at the place that it names. A client can read rows, and perhaps nothing else; so
// a key is told as a row that has it, whose other columns mean nothing.
//
// ALWAYS TRUE
//   (1) Who holds the answers of all queries, each row as often as queries have it, and does what it
//       is told, holds the answers on the snapshot.
//   (2) Keys of rows that rules hide are told to nobody: such a table is answered whole.
//
// On any thread; the queries are detached and alive until since_free. START AT since_test.c.
#pragma once
#include <stdatomic.h>

#include "log/commit.h"
#include "query/standing.h"

typedef struct Since Since;

typedef struct SinceQuery {
    Standing *standing;  // detached, and none of an event table
    bool is_guarded;     // rules decide what its caller sees of its table
} SinceQuery;

typedef struct SinceOptions {
    bool bag;                      // as standing_run
    uint64_t rows_max, bytes_max;  // of answers given whole, all together; 0: no limit
    uint64_t operations_max;       // on tables of the queries; one that has more is answered whole
    const atomic_bool
        *stop;  // may be NULL; set by another thread, it ends the work with ERR_CLOSED
} SinceOptions;

typedef enum SinceKind { SINCE_ROWS, SINCE_KEYS, SINCE_WHOLE } SinceKind;
typedef struct SinceTable {
    Str name;
    SinceKind kind;
    Bytes gone, rows;  // BsatnRowLists
} SinceTable;

MUST_USE Err since_new(const SinceQuery *queries,
                       uint32_t count,
                       const SinceOptions *options,
                       Since **out);
void since_free(Since **since);  // harmless on NULL
// The next commit; what it borrows from must stay until since_free. A LogReplay whose ctx is the Since.
//   ERR_UNSUPPORTED  what tables look like or who may see what has changed: there is no answer
MUST_USE Err since_commit(void *since, const Commit *commit, Diag *diag);
// The snapshot is of the moment behind the last commit. *out is valid until since_free.
//   ERR_TOO_LARGE  more rows or bytes than the options allow
MUST_USE Err since_end(Since *since,
                       const Snapshot *snapshot,
                       const SinceTable **out,
                       uint32_t *count,
                       Diag *diag);
