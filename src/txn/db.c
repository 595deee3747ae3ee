#include "txn/db.h"

#include <stdio.h>

#include "base/mem.h"
#include "txn/head.h"

#define HISTORY_BYTES_DEFAULT ((size_t)256 << 20)

Err db_replay_commit(void *ctx, const Commit *commit, Diag *diag) {
    Db *db = ctx;
    bool schema_touched = false;
    Bytes ops = commit->ops;
    CommitOp op;
    Err err = OK;
    store_begin(db->store);
    while (err == OK && commit_next_op(&ops, &op)) {
        if (op.kind == COMMIT_EVENT) continue;
        schema_touched |= catalog_is_schema_table(op.table_id);
        err = catalog_apply(db->catalog, &op, diag);
    }
    if (err == OK && schema_touched) err = catalog_sync(db->catalog, diag);
    Err fault = store_fault(db->store, diag);  // says which page, where others say what they wanted
    if (fault != OK) err = fault;
    if (err == OK) {
        store_commit(db->store);
    } else {
        store_rollback(db->store);
    }
    return err;
}

// Whoever wants the results of a view has it run again: after a start nobody keeps them current.
static void views_clear(Db *db) {
    for (uint32_t i = 0; i < catalog_table_count(db->catalog); i++) {
        const CatalogTable *table = catalog_table_at(db->catalog, i);
        if (table->is_view) store_table_empty(db->store, table->table);
    }
}

static bool is_file(const Io *io, const char *path) {
    IoFile *file = NULL;
    bool is = path && io->file_open(io->world, path, IO_READ, &file) == OK;
    if (is) io->file_close(io->world, &file);
    return is;
}

static Err files_open(Db *db, const DbOptions *options, uint64_t *torn_bytes, Diag *diag) {
    Err err = OK;
    const Io *io = options->io;
    StoreOptions store_options = {
        .memory_max = options->memory_max,
        .io = io,
        .page_file = options->in_memory ? NULL : options->page_file,
        .read_only = options->read_only != OK,
        .sweeper = !options->checkpoint_by_hand,
        .diag = diag,
    };
    if (store_options.read_only && !is_file(io, store_options.page_file)) {
        store_options.page_file = NULL;
    } else if (!store_options.read_only && store_options.page_file &&
               (err = io->dir_make(io->world, options->dir)) != OK) {
        return diag_fail(diag, err, "cannot make %s: %s", options->dir, err_text(err));
    }
    if (!store_options.page_file && store_options.read_only) store_options.memory_max = 0;
    if ((err = store_open(&store_options, &db->store)) != OK) return err;
    if ((err = catalog_open(db->store, &db->catalog, diag)) != OK) {
        (void)store_fault(db->store, diag);  // where, if it was a page
        return err;
    }
    db->look.catalog = db->catalog;
    LogOptions log_options = {
        .io = options->io,
        .dir = options->dir,
        .segment_bytes = options->segment_bytes,
        .large_bytes = options->log_large_bytes,
        .in_memory = options->in_memory,
        .start = {store_log_offset(db->store)},
        .read_only = options->read_only,
        .end = options->end,
        .wake = options->flush_wake,
        .wake_ctx = options->flush_wake_ctx,
    };
    return log_open(&log_options, db_replay_commit, db, &db->log, torn_bytes, diag);
}

Err db_open(const DbOptions *options, Db **out, uint64_t *torn_bytes, Diag *diag) {
    Err err = OK;
    Db *db = MEM_NEW(Db);
    if (!db) return ERR_NOMEM;
    head_init(db);
    db->history.bytes_max = options->history_max ? options->history_max : HISTORY_BYTES_DEFAULT;

    if ((err = files_open(db, options, torn_bytes, diag)) != OK) goto done;
    store_replayed(db->store);
    views_clear(db);
    checkpointer_init(db, options);

    *out = db;
    db = NULL;
done:
    db_close(&db);
    return err;
}

void db_close(Db **handle) {
    Db *db = *handle;
    if (!db) return;
    *handle = NULL;
    checkpointer_deinit(db);
    bulk_free(&db->bulk);
    if (db->log) log_close(&db->log);
    if (db->catalog) catalog_close(&db->catalog);
    if (db->store) store_close(&db->store);
    history_deinit(&db->history);
    writeset_deinit(&db->writes);
    head_deinit(db);
    mem_free(db);
}

Store *db_store(const Db *db) {
    return db->store;
}

Catalog *db_catalog(const Db *db) {
    return db->catalog;
}

Log *db_log(const Db *db) {
    return db->log;
}

bool db_in_transaction(const Db *db) {
    return db->look.open;
}

void db_begin(Db *db, const CommitInfo *info) {
    ASSERT(!db->look.open);
    bulk_free(&db->bulk);
    db->look.open = true;
    db->info = *info;
    db->drawn_count = 0;
    db->aside.is = false;
    db->aside.cleared = NULL;
    store_begin(db->store);
}

void db_rollback(Db *db) {
    ASSERT(db->look.open);
    bool schema_touched = head_touched_schema(db);
    store_rollback(db->store);
    bulk_free(&db->bulk);
    head_sequences_restore(db);
    // The rows are back; memory must follow. It was in agreement before, so this cannot fail for a
    // reason other than memory, and going on without a catalog would be worse than stopping.
    if (schema_touched) {
        Diag diag;
        ASSERT(catalog_sync(db->catalog, &diag) == OK);
    }
    db->look.open = false;
}

static bool is_bulk_commit(const Db *db) {
    return db->bulk && db->bulk->count > 0;
}

// Deletes go before rows, so that a replay never meets a unique value twice; the write set is
// sorted by table, so the system tables' rows come before the rows of a table they describe. What was
// prepared concerns tables of its own.
static Err log_write_set(Db *db) {
    log_commit_begin(db->log, &db->info);
    for (size_t i = 0; i < db->writes.count; i++) {
        TxnChange *change = &db->writes.changes[i];
        if (change->is_clear) {
            log_commit_op(db->log, COMMIT_TRUNCATE, change->table_id, BYTES_NONE);
            continue;
        }
        bool is_delete = change_is_logged_delete(change);
        change->is_replaced = change->old_row.ptr && !is_delete;
        if (!is_delete) continue;
        bool keyed = table_primary_column(change->table) >= 0;
        CommitOpKind kind = keyed ? COMMIT_DELETE : COMMIT_DELETE_ROW;
        log_commit_op(db->log, kind, change->table_id, keyed ? change->key : change->old_row);
    }
    for (size_t i = 0; i < db->writes.count; i++) {
        const TxnChange *change = &db->writes.changes[i];
        if (change->is_view || !change->new_row.ptr) continue;
        CommitOpKind kind = change->is_event      ? COMMIT_EVENT
                            : change->is_replaced ? COMMIT_REPLACE
                                                  : COMMIT_INSERT;
        log_commit_op(db->log, kind, change->table_id, change->new_row);
    }
    if (is_bulk_commit(db)) {
        log_commit_take_ops(db->log, &db->bulk->deletes, db->bulk->op_count);
        log_commit_take_ops(db->log, &db->bulk->inserts, 0);
    }
    TxOffset offset;
    return log_commit_end(db->log, &offset);
}

// Rows of event tables exist inside their transaction only.
static Err event_rows_remove(Db *db) {
    for (size_t i = 0; i < db->writes.count; i++) {
        const TxnChange *change = &db->writes.changes[i];
        if (!change->is_event || !change->new_row.ptr) continue;
        Err err = table_delete_key(change->table, change->key);
        if (err != OK) return err;
    }
    return OK;
}

// Results of views are made again when they are wanted: alone they are no history.
static bool is_history(const WriteSet *writes) {
    for (size_t i = 0; i < writes->count; i++) {
        if (!writes->changes[i].is_view) return true;
    }
    return false;
}

// One entry for each table: there is room.
static void bulk_tell(Db *db) {
    Bulk *bulk = db->bulk;
    db->applied.bulk_commits++;
    db->applied.bulk_rows += bulk->count;
    history_splice(&db->history, &bulk->history);
    for (uint32_t i = 0; i < bulk->table_count; i++) {
        const BulkTable *t = &bulk->tables[i];
        if (t->count == 0) continue;
        const TxnChange *first = &bulk->changes[t->first];
        writeset_add(
            &db->writes,
            &(TxnChange){.table = first->table, .table_id = first->table_id, .is_bulk = true});
    }
}

const TxnChange *db_bulk_changes(const Db *db, uint32_t *at, size_t *count) {
    const Bulk *bulk = db->bulk;
    while (bulk && *at < bulk->table_count) {
        const BulkTable *t = &bulk->tables[(*at)++];
        *count = t->count;
        if (t->count) return &bulk->changes[t->first];
    }
    return NULL;
}

Err db_commit(Db *db, const WriteSet **set, bool *changed) {
    ASSERT(db->look.open);
    Err err = store_fault(db->store, NULL);  // it may have decided on what it did not see
    if (err == OK) err = writeset_collect(&db->writes, db->store, db->catalog);
    if (err == OK && db->writes.count) err = event_rows_remove(db);
    if (err == OK && db->bulk) err = writeset_reserve(&db->writes, db->bulk->table_count);
    if (err == OK && (is_history(&db->writes) || is_bulk_commit(db))) err = log_write_set(db);
    if (err != OK) {
        db_rollback(db);
        return err;
    }
    store_commit(db->store);
    if (UNLIKELY(history_wanted(&db->history))) history_append(&db->history, &db->writes);
    if (UNLIKELY(db->bulk)) bulk_tell(db);
    db->look.open = false;
    *set = &db->writes;
    *changed = db->writes.count > 0;
    return OK;
}

// The rows that were prepared, between the others by table: from the end, since there are many.
static Err bulk_rows_merge(Db *db) {
    const Bulk *bulk = db->bulk;
    WriteSet *set = &db->writes;
    size_t kept = 0, more = bulk->count;
    for (size_t i = 0; i < set->count; i++) {
        if (!set->changes[i].is_bulk) set->changes[kept++] = set->changes[i];
    }
    set->count = kept;
    Err err = writeset_reserve(set, more);
    if (err != OK) {
        set->count = 0;
        return err;
    }
    TxnChange *to = set->changes + kept + more;
    set->count += more;
    while (more) {
        bool other = kept && set->changes[kept - 1].table_id > bulk->changes[more - 1].table_id;
        *--to = other ? set->changes[--kept] : bulk->changes[--more];
    }
    return OK;
}

Err db_commit_rows(Db *db, const WriteSet **set) {
    ASSERT(!db->look.open);
    Err err = OK;
    if (writeset_has_clear(&db->writes))
        err = writeset_collect_rows(&db->writes, db->store, db->catalog);
    if (err == OK && db->bulk) err = bulk_rows_merge(db);
    *set = &db->writes;
    return err;
}

void db_set_aside(Db *db, bool (*wanted)(void *ctx, uint32_t table_id), void *ctx) {
    db->aside.wanted = wanted;
    db->aside.ctx = ctx;
}

bool db_is_aside(const Db *db) {
    return db->aside.is;
}

DbApplied db_applied(const Db *db) {
    return db->applied;
}

bool db_needs_flush(const Db *db) {
    return log_pending(db->log) > 0;
}

Err db_flush(Db *db, Diag *diag) {
    Err err = log_flush(db->log, diag);
    checkpointer_log_landed(db);
    return err;
}

Err db_flush_start(Db *db, Diag *diag) {
    Err err = log_flush_start(db->log, diag);
    checkpointer_log_landed(db);  // one in memory only is done at once
    return err;
}

Err db_flush_poll(Db *db, bool wait, Diag *diag) {
    Err err = log_flush_poll(db->log, wait, diag);
    checkpointer_log_landed(db);
    return err;
}

bool db_flush_in_flight(const Db *db) {
    return log_in_flight(db->log);
}
