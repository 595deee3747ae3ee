// resume.h: clients that come back and want to hear only what they missed. docs/internals/protocols-ext.md.
//
// PICTURE
//   what was told, durable up to here ── progress_put ──> Progress { history, offset }      (a place in the log)
//                                                             ┆ the connection is lost, or the server dies
//   loop     Resume { history, offset, sets } ── sets registered, a snapshot, a place in the outbox held
//   later    … once the log has everything that the snapshot shows
//   worker   the log from there on (log/tail.h) ── since.h ──> what is different, into its place
//
// ALWAYS TRUE
//   (1) `history` names the client and the batch that ends at `offset`: after a lost end of the log, a
//       restore, a clear, or as somebody else, it is no place of this log and Resume is refused.
//   (2) Resume is the first thing that a connection asks, so what stands behind its place in the outbox
//       are updates of its sets, and nobody misses them when it is refused.
//   (3) A session that waits for a part of its outbox is not told a place: what it has is of none.
#pragma once
#include "node/session.h"

typedef struct Resume Resume;  // one client's return; of a SessionRead (read.h)

// Take up the message. It is answered, or under way, or will be taken up again.
void resume_step(Session *session, const ClientMessage *message);
void resume_refuse(Session *session, const ClientMessage *message, Err err, const char *text);

// ── for read.c ─────────────────────────────────────────────────────────────────────────────────

typedef struct ResumeWork {
    Standing **queries;
    uint32_t query_count;
    const Snapshot *snapshot;
    const atomic_bool *stop;
    uint64_t rows_max, bytes_max;
    bool bag;
    uint32_t request;
} ResumeWork;
// On a worker: the answer into *message.
MUST_USE Err resume_run(Resume *resume, const ResumeWork *work, Buf *message, Diag *diag);
// On the loop: the log has what the snapshot shows.
bool resume_may_run(const Resume *resume, const Database *database);
// … it was answered, or (err not OK) refused: its sets end.
void resume_ended(Session *session, Resume *resume, Err err);
void resume_free(Resume **resume);  // harmless on NULL

// ── telling how far it is ──────────────────────────────────────────────────────────────────────

// `box`, of what the log covers, is about to leave: where the client is then becomes its last message.
void progress_put(Session *session, Outbox *box);
// Now and then: tell those who heard nothing of theirs, and forget what nobody came back for.
void resume_tick(Database *database);
int64_t resume_next_due_ns(const Database *database);  // monotonic, INT64_MAX: nothing is due
