// overlay.c: the life of an overlay, and Access on it. Private rows are own.c's, the commits it is
// validated against history.c's.
//
// WHY IT IS SERIALIZABLE
//   Commits are made one after another by the loop; each is as if it ran at its place in that order.
//   For what runs on the head that is plain. An overlay ran on a snapshot, and overlay_apply accepts
//   it only if no commit since wrote anything that its read set covers. Everything the call could
//   notice is a function of what the read set covers, so it would have done the same on the head as
//   it is now. Looks that are implied by writes are noted as reads too: a row that is inserted looks
//   at its clustering key and at its key in every unique index, an update at the row it replaces, a
//   delete at the rows it finds, a clear at the whole table. So applying cannot meet anything that
//   the call did not meet.
#include "txn/overlay.h"

#include <time.h>

#include "base/mem.h"
#include "txn/head.h"
#include "txn/incoming.h"
#include "txn/own.h"

#define MEMORY_MAX_DEFAULT ((size_t)256 << 20)
#define BLOCK_FIRST        16u
#define BLOCK_MAX          4096u

// Values of a sequence that are this overlay's alone.
typedef struct OwnSequence {
    CatalogTable *table;
    CatalogSequence *sequence;
    __int128 next, last;  // `last`: the newest one drawn
    uint32_t left, block;
} OwnSequence;

struct Overlay {
    Look look;  // first: the Access of an overlay is an Overlay
    Db *db;
    CommitInfo info;
    OverlayEnv env;
    Snapshot *snapshot;
    uint64_t schema_version;
    HistoryReader reader;
    Bulk *bulk;
    uint64_t checked_version;  // of the read set, when it was last checked
    Pool pool;
    OwnTable **tables;
    uint32_t table_count, table_cap;
    OwnSequence *sequences;
    uint32_t sequence_count, sequence_cap;
    Buf row, found, key, identity;
    bool wrote, broken;
};

static Overlay *overlay_of(Access *access) {
    return (Overlay *)access;
}

// ── rows ───────────────────────────────────────────────────────────────────────────────────────

static OwnTable *own_of(const Overlay *overlay, const CatalogTable *table) {
    for (uint32_t i = 0; i < overlay->table_count; i++) {
        if (overlay->tables[i]->table == table) return overlay->tables[i];
    }
    return NULL;
}

static bool room_for_pointer(Overlay *overlay) {
    if (overlay->table_count < overlay->table_cap) return true;
    uint32_t cap = overlay->table_cap ? overlay->table_cap * 2 : 4;
    OwnTable **tables = mem_realloc(overlay->tables, cap * sizeof *tables);
    if (!tables) return false;
    overlay->tables = tables;
    overlay->table_cap = cap;
    return true;
}

static OwnTable *own_make(Overlay *overlay, const CatalogTable *table) {
    OwnTable *own = own_of(overlay, table);
    if (own) return own;
    if (!room_for_pointer(overlay)) return NULL;
    if (own_new(table, overlay->snapshot, &overlay->pool, &own) != OK) return NULL;
    overlay->tables[overlay->table_count++] = own;
    return own;
}

static bool within_memory(const Overlay *overlay) {
    return overlay_bytes(overlay) <= overlay->env.memory_max;
}

static AbiErrno overlay_rows_scan(Look *look,
                                  const CatalogTable *table,
                                  uint32_t index_id,
                                  Bytes lower,
                                  Bytes upper,
                                  RowSink sink) {
    Overlay *overlay = overlay_of(&look->access);
    if (!within_memory(overlay)) return ABI_FATAL;
    OwnTable *own = own_of(overlay, table);
    if (!own) return look_store_rows.scan(look, table, index_id, lower, upper, sink);
    return own_scan(own, index_id, lower, upper, sink);
}

static Err overlay_rows_find(Look *look,
                             const CatalogTable *table,
                             uint32_t index_id,
                             Bytes key,
                             Bytes *row) {
    Overlay *overlay = overlay_of(&look->access);
    if (!within_memory(overlay)) return ERR_LIMIT;
    OwnTable *own = own_of(overlay, table);
    if (!own) return look_store_rows.find(look, table, index_id, key, row);
    return own_find(own, index_id, key, row);
}

static uint64_t overlay_rows_count(const Look *look, const CatalogTable *table) {
    const OwnTable *own = own_of((const Overlay *)look, table);
    return own ? own_count(own) : look_store_rows.count(look, table);
}

static const LookRows overlay_rows = {
    .scan = overlay_rows_scan,
    .find = overlay_rows_find,
    .count = overlay_rows_count,
};

// ── sequences ──────────────────────────────────────────────────────────────────────────────────

static OwnSequence *own_sequence(Overlay *overlay, CatalogTable *table, CatalogSequence *sequence) {
    for (uint32_t i = 0; i < overlay->sequence_count; i++) {
        if (overlay->sequences[i].sequence == sequence) return &overlay->sequences[i];
    }
    if (overlay->sequence_count == overlay->sequence_cap) {
        uint32_t cap = overlay->sequence_cap ? overlay->sequence_cap * 2 : 4;
        OwnSequence *grown = mem_realloc(overlay->sequences, cap * sizeof *grown);
        if (!grown) return NULL;
        overlay->sequences = grown;
        overlay->sequence_cap = cap;
    }
    OwnSequence *own = &overlay->sequences[overlay->sequence_count++];
    *own = (OwnSequence){.table = table, .sequence = sequence};
    return own;
}

static AbiErrno overlay_draw(void *ctx,
                             CatalogTable *table,
                             CatalogSequence *sequence,
                             __int128 *out) {
    Overlay *overlay = ctx;
    OwnSequence *own = own_sequence(overlay, table, sequence);
    if (!own) return ABI_FATAL;
    if (own->left == 0) {
        uint32_t block = own->block ? MIN(own->block * 4, BLOCK_MAX) : BLOCK_FIRST;
        Int128 first;
        Err err = overlay->env.reserve(overlay->env.ctx,
                                       table->table_id,
                                       sequence->sequence_id,
                                       block,
                                       &first);
        if (err != OK) return ABI_FATAL;
        own->next = int128_get(&first);
        own->left = own->block = block;
    }
    *out = own->last = own->next;
    own->next = sequence_step(sequence, own->next);
    own->left--;
    overlay->wrote = true;  // a value that a client may have seen must be on disk
    return ABI_OK;
}

// ── writing ────────────────────────────────────────────────────────────────────────────────────

static bool saw_stem(Overlay *overlay, const OwnTable *own, Bytes identity) {
    Bytes stem = own_stem(own, identity);
    return readset_point(overlay->look.reads, own->table->table_id, TABLE_ROWS, stem) == OK;
}

// After a change: what failed half-way must never be applied.
static AbiErrno changed(Overlay *overlay, Err err) {
    overlay->wrote = true;
    overlay->broken |= err != OK;
    return err == OK && within_memory(overlay) ? ABI_OK : ABI_FATAL;
}

// Does another row hold a key that `row` would have in a unique index? `old` (ptr NULL: none) is the
// row it takes the place of: a key that stays the same is held by that.
static Err uniques_check(Overlay *overlay, OwnTable *own, Bytes row, Bytes old) {
    const RowLayout *layout = table_layout(own->table->table);
    Buf *key = &overlay->key;
    for (uint32_t i = 0; i < own->index_count; i++) {
        StoreIndexInfo index = table_index_at(own->table->table, i);
        if (!index.unique || own_index_is_rows(own, &index)) continue;
        buf_clear(key);
        key_append_columns(key, layout, row, index.columns, index.column_count);
        size_t len = key->len;
        if (old.ptr) key_append_columns(key, layout, old, index.columns, index.column_count);
        if (!buf_ok(key)) return ERR_NOMEM;
        if (bytes_eq(BYTES(key->ptr, len), BYTES(key->ptr + len, key->len - len))) continue;
        key->len = len;
        Bytes holder;
        uint32_t table_id = own->table->table_id;
        if (readset_point(overlay->look.reads, table_id, index.index_id, buf_bytes(key)) != OK)
            return ERR_NOMEM;
        Err err = own_find(own, index.index_id, buf_bytes(key), &holder);
        if (err == OK) return ERR_UNIQUE;
        if (err != ERR_NOT_FOUND) return err;
    }
    return OK;
}

static AbiErrno row_insert(Overlay *overlay, OwnTable *own, Bytes row) {
    Buf *identity = &overlay->identity;
    own_identity(own, row, identity);
    if (!buf_ok(identity)) return ABI_FATAL;
    if (!saw_stem(overlay, own, buf_bytes(identity))) return ABI_FATAL;
    Bytes there;
    Err err = own_get(own, buf_bytes(identity), &there);
    if (err == OK) return bytes_eq(there, row) ? ABI_OK : ABI_UNIQUE_ALREADY_EXISTS;
    if (err != ERR_NOT_FOUND) return ABI_FATAL;
    if ((err = uniques_check(overlay, own, row, BYTES_NONE)) != OK) return incoming_status(err);
    return changed(overlay, own_put(own, buf_bytes(identity), row, false));
}

// Make `row` take the place of `old`, which is visible.
static AbiErrno row_replace(Overlay *overlay, OwnTable *own, Bytes old, Bytes row) {
    Buf *identity = &overlay->identity, *old_identity = &overlay->found;
    own_identity(own, old, old_identity);
    own_identity(own, row, identity);
    if (!buf_ok(identity) || !buf_ok(old_identity)) return ABI_FATAL;
    bool stays = bytes_eq(buf_bytes(identity), buf_bytes(old_identity));
    Err err;
    if (!stays) {
        Bytes there;
        if (!saw_stem(overlay, own, buf_bytes(identity))) return ABI_FATAL;
        err = own_get(own, buf_bytes(identity), &there);
        if (err != ERR_NOT_FOUND) return err == OK ? ABI_UNIQUE_ALREADY_EXISTS : ABI_FATAL;
    }
    if ((err = uniques_check(overlay, own, row, old)) != OK) return incoming_status(err);
    if (!stays) err = own_drop(own, buf_bytes(old_identity));
    if (err == OK) err = own_put(own, buf_bytes(identity), row, stays);
    return changed(overlay, err);
}

static AbiErrno row_take(Overlay *overlay, CatalogTable *table, Bytes *row, Buf *generated) {
    SequenceSource source = {overlay_draw, overlay};
    return incoming_row(table, source, *row, &overlay->row, generated, row);
}

static AbiErrno overlay_insert(Access *access, uint32_t id, Bytes row, Buf *generated) {
    Overlay *overlay = overlay_of(access);
    CatalogTable *table;
    AbiErrno status = look_table(&overlay->look, id, &table);
    if (status != ABI_OK) return status;
    if ((status = row_take(overlay, table, &row, generated)) != ABI_OK) return status;
    OwnTable *own = own_make(overlay, table);
    if (!own) return ABI_FATAL;
    status = row_insert(overlay, own, row);
    look_breathe(&overlay->look);
    return status == ABI_OK ? incoming_schedule(table, row, overlay->info.timestamp) : status;
}

static AbiErrno overlay_update(Access *access,
                               uint32_t id,
                               uint32_t index_id,
                               Bytes row,
                               Buf *generated) {
    Overlay *overlay = overlay_of(access);
    CatalogTable *table, *index_table;
    const CatalogIndex *index;
    AbiErrno status = look_table(&overlay->look, id, &table);
    if (status != ABI_OK) return status;
    if ((status = look_index(&overlay->look, index_id, &index_table, &index)) != ABI_OK)
        return status;
    if (index_table != table) return ABI_NO_SUCH_INDEX;
    if (!index->unique) return ABI_INDEX_NOT_UNIQUE;
    if ((status = row_take(overlay, table, &row, generated)) != ABI_OK) return status;
    OwnTable *own = own_make(overlay, table);
    if (!own) return ABI_FATAL;

    Buf *key = &overlay->key;
    buf_clear(key);
    key_append_columns(key, table_layout(table->table), row, index->columns, index->column_count);
    if (!buf_ok(key) || !look_saw_key(&overlay->look, table, index, buf_bytes(key)))
        return ABI_FATAL;
    Bytes old;
    Err err = own_find(own, index_id, buf_bytes(key), &old);
    status = incoming_status(err);
    if (err == OK && !bytes_eq(old, row)) status = row_replace(overlay, own, old, row);
    look_breathe(&overlay->look);
    return status == ABI_OK ? incoming_schedule(table, row, overlay->info.timestamp) : status;
}

typedef struct Collector {
    const OwnTable *own;
    Buf *identities;  // u32 length and identity, one after another
    Buf *one;
    uint32_t count;
} Collector;

static bool collect(void *ctx, Bytes row) {
    Collector *collector = ctx;
    own_identity(collector->own, row, collector->one);
    if (!buf_ok(collector->one)) return false;
    buf_put_lp(collector->identities, buf_bytes(collector->one));
    collector->count++;
    return buf_ok(collector->identities);
}

static AbiErrno delete_collected(Overlay *overlay, OwnTable *own, uint32_t count) {
    const uint8_t *at = overlay->found.ptr;
    AbiErrno status = ABI_OK;
    for (uint32_t i = 0; i < count && status == ABI_OK; i++) {
        uint32_t len = load_u32(at);
        status = changed(overlay, own_drop(own, BYTES(at + 4, len)));
        at += 4 + len;
    }
    return status;
}

// Delete what a scan by point (range NULL) or by range finds.
static AbiErrno delete_found(Access *access,
                             uint32_t id,
                             Bytes point,
                             const AccessRange *range,
                             uint32_t *deleted) {
    Overlay *overlay = overlay_of(access);
    CatalogTable *table;
    const CatalogIndex *index;
    AbiErrno status = look_index(&overlay->look, id, &table, &index);
    if (status != ABI_OK) return status;
    OwnTable *own = own_make(overlay, table);
    if (!own) return ABI_FATAL;
    buf_clear(&overlay->found);
    Collector collector = {.own = own, .identities = &overlay->found, .one = &overlay->identity};
    RowSink sink = {collect, &collector};
    status =
        range ? look_scan_range(access, id, range, sink) : look_scan_point(access, id, point, sink);
    if (status != ABI_OK) return status;
    *deleted = collector.count;
    return delete_collected(overlay, own, collector.count);
}

static AbiErrno overlay_delete_point(Access *access, uint32_t id, Bytes point, uint32_t *deleted) {
    return delete_found(access, id, point, NULL, deleted);
}

static AbiErrno overlay_delete_range(Access *access,
                                     uint32_t id,
                                     const AccessRange *range,
                                     uint32_t *deleted) {
    return delete_found(access, id, BYTES_NONE, range, deleted);
}

static AbiErrno row_delete(Overlay *overlay, OwnTable *own, Bytes row, uint32_t *deleted) {
    Buf *identity = &overlay->identity;
    own_identity(own, row, identity);
    if (!buf_ok(identity) || !saw_stem(overlay, own, buf_bytes(identity))) return ABI_FATAL;
    Bytes there;
    Err err = own_get(own, buf_bytes(identity), &there);
    if (err == ERR_NOT_FOUND || (err == OK && !bytes_eq(there, row))) return ABI_OK;
    if (err != OK) return ABI_FATAL;
    ++*deleted;
    return changed(overlay, own_drop(own, buf_bytes(identity)));
}

static AbiErrno overlay_delete_all_by_eq(Access *access,
                                         uint32_t id,
                                         Bytes relation,
                                         uint32_t *deleted) {
    Overlay *overlay = overlay_of(access);
    CatalogTable *table;
    AbiErrno status = look_table(&overlay->look, id, &table);
    if (status != ABI_OK) return status;
    IncomingRows rows;
    Bytes row;
    if ((status = incoming_rows(&rows, table, relation)) != ABI_OK) return status;
    OwnTable *own = own_make(overlay, table);
    if (!own) return ABI_FATAL;
    *deleted = 0;
    while (incoming_next(&rows, &row)) {
        if (row_delete(overlay, own, row, deleted) != ABI_OK) return ABI_FATAL;
        look_breathe(&overlay->look);
    }
    return status;
}

static AbiErrno overlay_clear(Access *access, uint32_t id, uint64_t *deleted) {
    Overlay *overlay = overlay_of(access);
    CatalogTable *table;
    AbiErrno status = look_table(&overlay->look, id, &table);
    if (status != ABI_OK) return status;
    OwnTable *own = own_make(overlay, table);
    if (!own || !look_saw_table(&overlay->look, table)) return ABI_FATAL;
    *deleted = own_count(own);
    if (*deleted == 0) return ABI_OK;  // what others put there meanwhile is not this one's to clear
    own_clear(own);
    overlay->wrote = true;
    return ABI_OK;
}

static const AccessOps overlay_ops = {
    .table_id = look_table_id,
    .index_id = look_index_id,
    .row_count = look_row_count,
    .scan_table = look_scan_table,
    .scan_point = look_scan_point,
    .scan_range = look_scan_range,
    .insert = overlay_insert,
    .update = overlay_update,
    .delete_point = overlay_delete_point,
    .delete_range = overlay_delete_range,
    .delete_all_by_eq = overlay_delete_all_by_eq,
    .clear = overlay_clear,
    .jwt = look_jwt,
};

// ── life ───────────────────────────────────────────────────────────────────────────────────────

Err overlay_new(Db *db, const CommitInfo *info, const OverlayEnv *env, Overlay **out) {
    ASSERT(!db_in_transaction(db));
    Err err = OK;
    Overlay *overlay = MEM_NEW(Overlay);
    if (!overlay) return ERR_NOMEM;
    overlay->db = db;
    overlay->info = *info;
    overlay->env = *env;
    if (!overlay->env.memory_max) overlay->env.memory_max = MEMORY_MAX_DEFAULT;
    overlay->schema_version = catalog_schema_version(db->catalog);
    if ((err = readset_new(&overlay->look.reads)) != OK) goto failed;
    if ((err = store_snapshot(db->store, &overlay->snapshot)) != OK) goto failed;
    if ((err = history_open(&db->history, &overlay->reader)) != OK) goto failed;
    overlay->look.access.ops = &overlay_ops;
    overlay->look.rows = &overlay_rows;
    overlay->look.catalog = db->catalog;
    overlay->look.snapshot = overlay->snapshot;
    overlay->look.open = true;
    *out = overlay;
    return OK;
failed:
    snapshot_release(&overlay->snapshot);
    readset_free(&overlay->look.reads);
    mem_free(overlay);
    return err;
}

static void sequences_give_back(Overlay *overlay) {
    for (uint32_t i = 0; i < overlay->sequence_count; i++) {
        const OwnSequence *own = &overlay->sequences[i];
        head_sequence_give_back(own->sequence, own->next, own->left);
    }
}

void overlay_free(Overlay **handle) {
    Overlay *overlay = *handle;
    *handle = NULL;
    if (!overlay) return;
    bulk_free(&overlay->bulk);
    history_close(&overlay->db->history, &overlay->reader);
    sequences_give_back(overlay);
    snapshot_release(&overlay->snapshot);
    readset_free(&overlay->look.reads);
    look_deinit(&overlay->look);
    for (uint32_t i = 0; i < overlay->table_count; i++) {
        own_free(&overlay->tables[i]);
    }
    mem_free(overlay->tables);
    mem_free(overlay->sequences);
    Buf *scratch[] = {&overlay->row, &overlay->found, &overlay->key, &overlay->identity};
    for (size_t i = 0; i < ARRAY_LEN(scratch); i++) {
        buf_deinit(scratch[i]);
    }
    pool_deinit(&overlay->pool);
    mem_free(overlay);
}

Access *overlay_access(Overlay *overlay) {
    return &overlay->look.access;
}

const Snapshot *overlay_snapshot(const Overlay *overlay) {
    return overlay->snapshot;
}

ReadSet *overlay_reads(Overlay *overlay) {
    return overlay->look.reads;
}

bool overlay_wrote(const Overlay *overlay) {
    return overlay->wrote;
}

size_t overlay_bytes(const Overlay *overlay) {
    return pool_bytes(&overlay->pool) + readset_bytes(overlay->look.reads);
}

// ── validating and applying ────────────────────────────────────────────────────────────────────

static bool reads_hit(const void *ctx, const TxnChange *change) {
    return change->table && readset_hit(ctx, change);
}

Err overlay_validate(Overlay *overlay) {
    if (!overlay->wrote) return OK;
    const ReadSet *reads = overlay->look.reads;
    // What was read since the last check has to be compared with everything.
    bool again = overlay->checked_version != readset_version(reads);
    Err err = history_check(&overlay->reader, again, reads_hit, reads);
    // Whoever asks again after a conflict is told of it again.
    if (err == OK) overlay->checked_version = readset_version(reads);
    return err;
}

// ── making ready ───────────────────────────────────────────────────────────────────────────────

// Rows that the loop would have to look at one by one: of a table that is cleared and gets others then, those
// that go, too.
static uint64_t rows_to_apply(const Overlay *overlay) {
    uint64_t rows = 0;
    for (uint32_t i = 0; i < overlay->table_count; i++) {
        const OwnTable *own = overlay->tables[i];
        if (own->table->is_event || own_empties(own) || own->rows.count == 0) continue;
        rows += own->rows.count;
        if (own->cleared) rows += table_row_count(own->table->table, overlay->snapshot);
    }
    return rows;
}

// Those of tables that are only emptied.
static uint64_t rows_to_tell(const Overlay *overlay) {
    uint64_t rows = 0;
    for (uint32_t i = 0; i < overlay->table_count; i++)
        rows += own_emptied(overlay->tables[i]);
    return rows;
}

static Err emptied_made(Overlay *overlay) {
    const BulkEnv *env = &overlay->env.prepare;
    TxnChange *changes = mem_alloc(overlay->table_count * sizeof *changes);
    size_t count = 0;
    if (!changes) return OK;
    for (uint32_t i = 0; i < overlay->table_count; i++) {
        const OwnTable *own = overlay->tables[i];
        if (own_emptied(own)) changes[count++] = own_emptied_change(own);
    }
    env->made(env->ctx, changes, count, overlay->snapshot);
    mem_free(changes);
    return overlay_validate(overlay);
}

static Err prepare_begin(void *arg) {
    Overlay *overlay = arg;
    return bulk_new(overlay->db, &overlay->bulk);
}

#define PREPARE_WAIT_NS 2000000

static Err prepare_wait_and_begin(Overlay *overlay) {
    const BulkEnv *env = &overlay->env.prepare;
    for (;;) {
        Err err = env->on_loop(env->ctx, prepare_begin, overlay);
        if (err != ERR_BUSY || env->is_stopped(env->ctx)) return err;
        nanosleep(&(struct timespec){.tv_nsec = PREPARE_WAIT_NS}, NULL);
    }
}

Err overlay_prepare(Overlay *overlay) {
    const BulkEnv *env = &overlay->env.prepare;
    uint64_t rows_min = env->rows_min ? env->rows_min : BULK_ROWS_MIN;
    ASSERT(!overlay->bulk);
    if (!env->on_loop || overlay->broken) return OK;
    if (rows_to_apply(overlay) < rows_min)
        return env->made && rows_to_tell(overlay) >= rows_min ? emptied_made(overlay) : OK;
    if (prepare_wait_and_begin(overlay) != OK) return OK;
    // What was committed before the branch was opened is in it.
    Err err = overlay_validate(overlay);
    if (err != OK) return err;
    if (bulk_make(overlay->bulk, overlay->tables, overlay->table_count, env) != OK) return OK;
    return overlay_validate(overlay);
}

bool overlay_is_prepared(const Overlay *overlay) {
    return overlay->bulk && overlay->bulk->err == OK;
}

void overlay_touch(Overlay *overlay) {
    if (!store_is_paged(overlay->db->store) || overlay_is_prepared(overlay)) return;
    for (uint32_t i = 0; i < overlay->table_count; i++) {
        own_touch(overlay->tables[i]);
    }
}

static Err writes_apply(Overlay *overlay) {
    Err err = OK;
    Bulk *bulk = overlay->db->bulk;
    for (uint32_t i = 0; i < overlay->table_count && err == OK; i++) {
        if (bulk_has(bulk, overlay->tables[i])) continue;
        err = own_apply(overlay->tables[i], &overlay->db->applied.single_rows);
    }
    if (err == OK && bulk) err = bulk_adopt(bulk);
    for (uint32_t i = 0; i < overlay->sequence_count && err == OK; i++) {
        const OwnSequence *own = &overlay->sequences[i];
        if (own->block)
            err = head_sequence_cover(overlay->db, own->table, own->sequence, own->last);
    }
    return err;
}

Err overlay_apply(Overlay *overlay, Diag *diag) {
    Db *db = overlay->db;
    ASSERT(overlay->schema_version == catalog_schema_version(db->catalog));
    if (overlay->broken) return diag_fail(diag, ERR_NOMEM, "the transaction ran out of memory");
    Err err = overlay_validate(overlay);
    if (err != OK) return diag_fail(diag, err, "another transaction committed first");
    if (overlay->bulk && bulk_catch_up(overlay->bulk) != OK) bulk_free(&overlay->bulk);
    db_begin(db, &overlay->info);
    db->bulk = overlay->bulk;
    overlay->bulk = NULL;
    if ((err = writes_apply(overlay)) != OK) {
        db_rollback(db);
        return diag_fail(diag, err, "%s", err_text(err));
    }
    return OK;
}
