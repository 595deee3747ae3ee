#include "txn/bulk.h"

#include <stdlib.h>

#include "base/mem.h"
#include "txn/head.h"

enum {
    BREATHE_ROWS = 128,
    STOP_ROWS = 1024,  // between two looks whether to stop
    DISCARD_BYTES_MIN = 1 << 20,
};

// ── life ───────────────────────────────────────────────────────────────────────────────────────

Err bulk_new(Db *db, Bulk **out) {
    ASSERT(!db_in_transaction(db));
    Bulk *p = MEM_NEW(Bulk);
    if (!p) return ERR_NOMEM;
    p->db = db;
    Err err = store_branch_open(db->store, &p->branch);
    if (err == OK) err = history_open(&db->history, &p->reader);
    p->has_reader = err == OK;
    p->history.bytes_max = SIZE_MAX / 4;
    if (err != OK) {
        bulk_free(&p);
        return err;
    }
    *out = p;
    return OK;
}

static void reader_close(Bulk *p) {
    if (p->has_reader) history_close(&p->db->history, &p->reader);
    p->has_reader = false;
}

// What is only memory.
static void bulk_end(Discard *self) {
    Bulk *p = CONTAINER_OF(self, Bulk, discard);
    history_deinit(&p->history);
    mem_free(p->tables);
    mem_free(p->changes);
    mem_free(p->others);
    arena_deinit(&p->bytes);
    buf_deinit(&p->deletes);
    buf_deinit(&p->inserts);
    mem_free(p);
}

void bulk_free(Bulk **handle) {
    Bulk *p = *handle;
    *handle = NULL;
    if (!p) return;
    reader_close(p);
    store_branch_close(&p->branch);
    if (p->cap * sizeof *p->changes + p->history.bytes < DISCARD_BYTES_MIN) {
        bulk_end(&p->discard);
    } else {
        discard_later(&p->discard, bulk_end);
    }
}

// ── rows ───────────────────────────────────────────────────────────────────────────────────────

typedef struct Making {
    Bulk *p;
    const BulkEnv *env;
    OwnTable *own;
    Table *table;  // of the branch
    Buf key;
    uint32_t rows;
} Making;

static bool by_hash(const OwnTable *own) {
    return table_primary_column(own->table->table) < 0;
}

// Between two rows: nothing is borrowed.
static Err pause(Making *m) {
    m->rows++;
    if (m->rows % BREATHE_ROWS == 0) branch_breathe(m->p->branch);
    return m->rows % STOP_ROWS == 0 && m->env->is_stopped(m->env->ctx) ? ERR_CLOSED : OK;
}

static void op_put(Bulk *p, Buf *ops, CommitOpKind kind, const TxnChange *change, Bytes bytes) {
    commit_op_put(ops, kind, change->table_id, bytes);
    p->op_count++;
}

static void log_note(Bulk *p, TxnChange *change) {
    bool is_delete = change_is_logged_delete(change);
    change->is_replaced = change->old_row.ptr && !is_delete;
    if (is_delete && table_primary_column(change->table) >= 0) {
        op_put(p, &p->deletes, COMMIT_DELETE, change, change->key);
    } else if (is_delete) {
        op_put(p, &p->deletes, COMMIT_DELETE_ROW, change, change->old_row);
    }
    if (!change->new_row.ptr) return;
    CommitOpKind kind = change->is_replaced ? COMMIT_REPLACE : COMMIT_INSERT;
    op_put(p, &p->inserts, kind, change, change->new_row);
}

static bool changes_reserve(Bulk *p, size_t more) {
    if (p->cap - p->count >= more) return true;
    size_t cap = p->cap * 2 + 1024 + more;
    TxnChange *grown = mem_realloc(p->changes, cap * sizeof *grown);
    if (!grown) return false;
    p->changes = grown;
    p->cap = cap;
    return true;
}

static bool copy(Arena *arena, Bytes *bytes) {
    if (!bytes->ptr) return true;
    *bytes = arena_bytes(arena, *bytes);
    return bytes->ptr != NULL;
}

// One row that is different afterwards. Of a table that was cleared the log has one operation and all
// rows that there are then (make_cleared).
static Err note(Making *m, Bytes key, Bytes old_row, Bytes new_row) {
    Bulk *p = m->p;
    TxnChange change = {.table = m->own->table->table,
                        .table_id = m->own->table->table_id,
                        .key = key,
                        .old_row = old_row,
                        .new_row = new_row};
    if (!changes_reserve(p, 1)) return ERR_NOMEM;
    if (!copy(&p->bytes, &change.key) || !copy(&p->bytes, &change.old_row) ||
        !copy(&p->bytes, &change.new_row) || !history_put(&p->history, &change)) {
        return ERR_NOMEM;
    }
    if (!m->own->cleared) log_note(p, &change);
    p->changes[p->count++] = change;
    return buf_ok(&p->deletes) && buf_ok(&p->inserts) ? OK : ERR_NOMEM;
}

// The key under which the branch has the row, or would.
static Err key_of(Making *m, Bytes row, Bytes *key) {
    buf_clear(&m->key);
    table_row_key(m->table, row, &m->key);
    *key = buf_bytes(&m->key);
    return buf_ok(&m->key) ? OK : ERR_NOMEM;
}

// A row of the snapshot that the overlay hides: it goes, or changes where it is.
static Err old_row_make(Making *m, const SortedNode *node, bool replace, uint32_t index_id) {
    const OwnRow *mine = node->value;
    Bytes identity = sorted_key(node), old = mine->row, key = identity;
    Err err = OK;
    if (by_hash(m->own)) {
        if (mine->there) return OK;  // deleted and inserted again
        if ((err = key_of(m, old, &key)) != OK) return err;
        if ((err = note(m, key, old, BYTES_NONE)) != OK) return err;
        return table_delete_row(m->table, old);
    }
    if ((err = table_get(m->table, NULL, identity, &old)) != OK) return err;
    bool same = mine->there && bytes_eq(old, mine->row);
    if (!same && (err = note(m, key, old, mine->there ? mine->row : BYTES_NONE)) != OK) return err;
    if (!mine->there || !replace) return table_delete_key(m->table, identity);
    return same ? OK : table_replace(m->table, index_id, mine->row, NULL, NULL);
}

static Err new_row_make(Making *m, const SortedNode *node, bool replaced) {
    const OwnRow *mine = node->value;
    Bytes key = sorted_key(node);
    if (!mine->there || (mine->was && (replaced || by_hash(m->own)))) return OK;
    Err err = table_insert(m->table, mine->row, NULL, NULL);
    if (err != OK || mine->was) return err;
    if (by_hash(m->own)) err = key_of(m, mine->row, &key);
    return err == OK ? note(m, key, BYTES_NONE, mine->row) : err;
}

static Err make_changed(Making *m) {
    uint32_t index_id = 0;
    bool replace = own_replaceable(m->own, &index_id);
    const SortedNode *first = m->own->rows.first;
    Err err = OK;
    for (const SortedNode *node = first; node && err == OK; node = node->next) {
        if (((const OwnRow *)node->value)->was) err = old_row_make(m, node, replace, index_id);
        if (err == OK) err = pause(m);
    }
    for (const SortedNode *node = first; node && err == OK; node = node->next) {
        err = new_row_make(m, node, replace);
        if (err == OK) err = pause(m);
    }
    return err;
}

// ── a table that was cleared, and what came then ───────────────────────────────────────────────

static Err cleared_old_rows(Making *m) {
    TableScan scan;
    Table *real = m->own->table->table;
    const Snapshot *before = branch_snapshot(m->p->branch);
    Buf identity = {0};
    Bytes row, key;
    Err err = OK;
    table_scan_begin(&scan, real, before, TABLE_ROWS, BYTES_NONE, BYTES_NONE);
    while (err == OK && (err = pause(m)) == OK && table_scan_next(&scan, &row)) {
        own_identity(m->own, row, &identity);
        if (!buf_ok(&identity)) err = ERR_NOMEM;
        const SortedNode *node = sorted_find(&m->own->rows, buf_bytes(&identity));
        Bytes now = node ? ((const OwnRow *)node->value)->row : BYTES_NONE;
        if (now.ptr && bytes_eq(now, row)) continue;
        if (err == OK) err = key_of(m, row, &key);
        if (err == OK) err = note(m, key, row, now);
    }
    if (err == OK) err = scan.err;
    table_scan_end(&scan);
    buf_deinit(&identity);
    return err;
}

static Err cleared_new_row(Making *m, const SortedNode *node) {
    Table *real = m->own->table->table;
    const Snapshot *before = branch_snapshot(m->p->branch);
    Bytes row = ((const OwnRow *)node->value)->row, key = sorted_key(node), old;
    TxnChange logged = {.table_id = m->own->table->table_id};
    Err err = table_insert(m->table, row, NULL, NULL);
    if (err != OK) return err;
    op_put(m->p, &m->p->inserts, COMMIT_INSERT, &logged, row);
    err = by_hash(m->own) ? table_find_row(real, before, row) : table_get(real, before, key, &old);
    if (err != ERR_NOT_FOUND) return err;  // told with the old one, if it differs from that
    if (by_hash(m->own) && (err = key_of(m, row, &key)) != OK) return err;
    return note(m, key, BYTES_NONE, row);
}

static Err make_cleared(Making *m) {
    TxnChange logged = {.table_id = m->own->table->table_id};
    op_put(m->p, &m->p->deletes, COMMIT_TRUNCATE, &logged, BYTES_NONE);
    Err err = cleared_old_rows(m);
    for (const SortedNode *node = m->own->rows.first; node && err == OK; node = node->next) {
        err = cleared_new_row(m, node);
        if (err == OK) err = pause(m);
    }
    return err;
}

// ── tables ─────────────────────────────────────────────────────────────────────────────────────

static bool is_bulk_commit(const OwnTable *own) {
    return own->rows.count > 0 && !own->table->is_event && !own_empties(own);
}

static int by_id(const void *a, const void *b) {
    uint32_t x = ((const BulkTable *)a)->own->table->table_id;
    uint32_t y = ((const BulkTable *)b)->own->table->table_id;
    return x < y ? -1 : x > y;
}

static Err tables_take(Bulk *p, OwnTable **tables, uint32_t count) {
    p->tables = mem_zalloc(MAX(count, 1u) * sizeof *p->tables);
    if (!p->tables) return ERR_NOMEM;
    for (uint32_t i = 0; i < count; i++) {
        if (is_bulk_commit(tables[i])) p->tables[p->table_count++].own = tables[i];
    }
    qsort(p->tables, p->table_count, sizeof *p->tables, by_id);
    Err err = OK;
    for (uint32_t i = 0; err == OK && i < p->table_count; i++) {
        BulkTable *t = &p->tables[i];
        err = branch_table_add(p->branch, t->own->table->table, t->own->cleared, &t->table);
    }
    return err;
}

bool bulk_has(const Bulk *p, const OwnTable *own) {
    for (uint32_t i = 0; p && i < p->table_count; i++) {
        if (p->tables[i].own == own) return true;
    }
    return false;
}

// Behind its own changes, for the moment, are the tables that are only emptied.
static Err made(Bulk *p, OwnTable **tables, uint32_t count, const BulkEnv *env) {
    size_t all = p->count;
    if (!changes_reserve(p, count)) return ERR_NOMEM;
    for (uint32_t i = 0; i < count; i++) {
        if (own_emptied(tables[i])) p->changes[all++] = own_emptied_change(tables[i]);
    }
    store_guard_lower();  // it takes its time
    env->made(env->ctx, p->changes, all, tables[0]->snapshot);
    return OK;
}

typedef struct Loan {
    StoreBranch *branch;
    uint32_t pages;
    const BulkEnv *env;
} Loan;

static Err lend(void *arg) {
    const Loan *loan = arg;
    return store_branch_lend(loan->branch, loan->pages);
}

static Err borrow(void *ctx, uint32_t pages) {
    Loan *loan = ctx;
    loan->pages = pages;
    return loan->env->on_loop(loan->env->ctx, lend, loan);
}

Err bulk_make(Bulk *p, OwnTable **tables, uint32_t count, const BulkEnv *env) {
    Loan loan = {.branch = p->branch, .env = env};
    Making m = {.p = p, .env = env};
    branch_set_lender(p->branch, borrow, &loan);
    Err err = tables_take(p, tables, count);
    for (uint32_t i = 0; err == OK && i < p->table_count; i++) {
        BulkTable *t = &p->tables[i];
        m.own = t->own;
        m.table = t->table;
        t->first = p->count;
        err = t->own->cleared ? make_cleared(&m) : make_changed(&m);
        t->count = p->count - t->first;
    }
    buf_deinit(&m.key);
    if (err == OK && !history_put_end(&p->history)) err = ERR_NOMEM;
    if (err == OK && env->made) err = made(p, tables, count, env);
    // While others' rows are made on it, too, a page or two is asked for here and there.
    uint64_t repeated;
    do {
        repeated = p->repeated;
        if (err == OK) err = bulk_catch_up(p);
    } while (err == OK && p->repeated - repeated > BREATHE_ROWS && !env->is_stopped(env->ctx));
    branch_set_lender(p->branch, NULL, NULL);
    store_guard_lower();
    p->err = err;
    return err;
}

// ── what others commit meanwhile ───────────────────────────────────────────────────────────────

static Err other_delete(Table *table, const TxnChange *change) {
    if (table_primary_column(table) >= 0) return table_delete_key(table, change->key);
    return table_delete_row(table, change->old_row);
}

static bool is_replacement(const Table *table, const TxnChange *change) {
    return change->old_row.ptr && change->new_row.ptr && table_primary_column(table) >= 0 &&
           table_uniques_same(table, change->old_row, change->new_row);
}

// One commit: what went goes before what came, so that no unique key is there twice.
static Err others_make(Bulk *p) {
    Err err = OK;
    for (size_t i = 0; err == OK && i < p->other_count; i++) {
        const TxnChange *change = &p->others[i];
        if (change->old_row.ptr && !is_replacement(change->table, change))
            err = other_delete(change->table, change);
        if (i % BREATHE_ROWS == 0) branch_breathe(p->branch);
    }
    for (size_t i = 0; err == OK && i < p->other_count; i++) {
        const TxnChange *change = &p->others[i];
        if (is_replacement(change->table, change)) {
            err = table_replace(change->table, TABLE_ROWS, change->new_row, NULL, NULL);
        } else if (change->new_row.ptr) {
            err = table_insert(change->table, change->new_row, NULL, NULL);
        }
        if (i % BREATHE_ROWS == 0) branch_breathe(p->branch);
    }
    p->repeated += p->other_count;
    p->other_count = 0;
    return err;
}

// Rows of a commit that is still being told wait for its end. True: this does not go on.
static bool take_other(const void *ctx, const TxnChange *change) {
    Bulk *p = (Bulk *)ctx;
    if (!change->table) {
        p->err = others_make(p);
        return p->err != OK;
    }
    Table *table = branch_table(p->branch, change->table);
    if (!table) return false;
    if (change->is_clear) p->err = ERR_CONFLICT;
    if (p->other_count == p->other_cap) {
        size_t cap = p->other_cap * 2 + 64;
        TxnChange *grown = mem_realloc(p->others, cap * sizeof *grown);
        if (!grown) {
            p->err = ERR_NOMEM;
        } else {
            p->others = grown;
            p->other_cap = cap;
        }
    }
    if (p->err != OK) return true;
    p->others[p->other_count] = *change;
    p->others[p->other_count++].table = table;
    return false;
}

Err bulk_catch_up(Bulk *p) {
    if (p->err != OK) return p->err;
    Err err = history_check(&p->reader, false, take_other, p);
    if (p->err == OK) p->err = err;
    branch_breathe(p->branch);
    return p->err;
}

// ── adopting ───────────────────────────────────────────────────────────────────────────────────

Err bulk_adopt(Bulk *p) {
    ASSERT(p->err == OK && p->other_count == 0);
    reader_close(p);
    return store_branch_adopt(p->branch);
}
