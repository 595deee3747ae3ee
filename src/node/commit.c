#include "node/commit.h"

void commit_start(Session *s, bool own_part, CommitFinish finish) {
    const WriteSet *writes;
    bool changed;
    const LiveUpdate *own = NULL;
    Err err = db_commit(s->database->db, &writes, &changed);
    if (err == OK && changed) database_publish(s->database, writes, own_part ? s : NULL, &own);
    finish(s, err, own);
}
