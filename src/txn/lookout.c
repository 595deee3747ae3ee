#include "txn/lookout.h"

#include "base/mem.h"
#include "txn/head.h"

struct Lookout {
    Db *db;
    Snapshot *snapshot;
    ReadSet *reads;
    DbReader *reader;
    HistoryReader since;
    bool listed;  // `since` is the history's
};

Err lookout_new(Db *db, Lookout **out) {
    ASSERT(!db_in_transaction(db));
    Lookout *l = MEM_NEW(Lookout);
    if (!l) return ERR_NOMEM;
    l->db = db;
    Err err = readset_new(&l->reads);
    if (err == OK) err = store_snapshot(db->store, &l->snapshot);
    if (err == OK) err = reader_new(db, l->snapshot, l->reads, &l->reader);
    if (err == OK) err = history_open(&db->history, &l->since);
    if (err != OK) {
        lookout_free(&l);
        return err;
    }
    l->listed = true;
    *out = l;
    return OK;
}

void lookout_free(Lookout **handle) {
    Lookout *l = *handle;
    *handle = NULL;
    if (!l) return;
    if (l->listed) history_close(&l->db->history, &l->since);
    if (l->reader) reader_free(&l->reader);
    if (l->reads) readset_free(&l->reads);
    snapshot_release(&l->snapshot);
    mem_free(l);
}

Access *lookout_access(Lookout *l) {
    return reader_access(l->reader);
}

const ReadSet *lookout_reads(const Lookout *l) {
    return l->reads;
}

uint64_t lookout_version(const Lookout *l) {
    return snapshot_version(l->snapshot);
}

static bool reads_hit(const void *ctx, const TxnChange *change) {
    return change->table && readset_hit(ctx, change);
}

Err lookout_fresh(Lookout *l) {
    return history_check(&l->since, true, reads_hit, l->reads);
}
