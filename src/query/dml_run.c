// dml_run.c: carrying out INSERT, UPDATE, DELETE and SET.
//
// PICTURE
//   DELETE   collect the rows, then delete them
//   UPDATE   collect the rows, delete all of them, then insert them rewritten
//
//   head     statement_execute, inside a transaction of the head
//   beside   statement_execute_beside, on an overlay: rows are collected on its snapshot, where they were
//            looked for is noted in its read set, and what is to be written is its own until it is applied
//
// So UPDATE sees the state before it, never its own rows, and rows that become equal collapse: a table is a
// set.
#include "query/statement_private.h"

// Where rows go: the head or an overlay.
typedef struct Target {
    Db *db;  // NULL: `overlay`
    Overlay *overlay;
    StatementPatience patience;
    uint64_t ticks;
    Diag *diag;
} Target;

#define TICKS_BETWEEN_LOOKS 256

static Err fail_deadline(Diag *diag) {
    return diag_fail(diag, ERR_DEADLINE, "the statement was stopped: it ran longer than it may");
}

// Another row was dealt with: may it go on?
static Err tick(Target *t) {
    const StatementPatience *p = &t->patience;
    if (++t->ticks % TICKS_BETWEEN_LOOKS) return OK;
    if (p->stop && atomic_load_explicit(p->stop, memory_order_relaxed)) return ERR_CLOSED;
    if (p->until_ns && p->io->clock_monotonic_ns(p->io->world) > p->until_ns)
        return fail_deadline(t->diag);
    return OK;
}

// ── one row ────────────────────────────────────────────────────────────────────────────────────

static Err beside_err(const Target *t, const CatalogTable *table, AbiErrno status) {
    switch (status) {
    case ABI_OK: return OK;
    case ABI_UNIQUE_ALREADY_EXISTS:
        return diag_fail(t->diag,
                         ERR_UNIQUE,
                         "Unique constraint violation '" STR_FMT
                         "': another row has a value that must be unique",
                         STR_ARG(table->name));
    case ABI_FATAL:
        return diag_fail(t->diag,
                         ERR_LIMIT,
                         "the transaction is larger than this server allows: write less at once");
    default: return diag_fail(t->diag, ERR_INVALID, "%s", abi_errno_text(status));
    }
}

static Err row_insert(Target *t, const CatalogTable *table, Bytes row, bool *inserted) {
    if (t->db) return db_row_insert(t->db, table, row, inserted, t->diag);
    Access *access = overlay_access(t->overlay);
    Buf generated = {0};
    AbiErrno status = access->ops->insert(access, table->table_id, row, &generated);
    buf_deinit(&generated);
    *inserted = status == ABI_OK;
    return beside_err(t, table, status);
}

static Err row_delete(Target *t, const CatalogTable *table, Bytes row, Buf *relation) {
    if (t->db) return db_row_delete(t->db, table, row, t->diag);
    Access *access = overlay_access(t->overlay);
    uint32_t deleted;
    buf_clear(relation);
    buf_put_u32(relation, 1);
    buf_put_bytes(relation, row);
    if (!buf_ok(relation)) return ERR_NOMEM;
    return beside_err(
        t,
        table,
        access->ops->delete_all_by_eq(access, table->table_id, buf_bytes(relation), &deleted));
}

// ── many ───────────────────────────────────────────────────────────────────────────────────────

typedef struct Collected {
    Target *target;
    Buf rows;  // u32 length and row, one after another
    uint64_t count;
    Err err;
} Collected;

static bool collect(void *ctx, Bytes row) {
    Collected *c = ctx;
    buf_put_lp(&c->rows, row);
    c->count++;
    c->err = tick(c->target);
    return c->err == OK && buf_ok(&c->rows);
}

static bool collected_next(const Collected *c, size_t *at, Bytes *row) {
    if (*at == c->rows.len) return false;
    uint32_t len = load_u32(c->rows.ptr + *at);
    *row = BYTES(c->rows.ptr + *at + 4, len);
    *at += 4 + len;
    return true;
}

static Err collect_all(const Statement *s, Target *t, Collected *c) {
    const Snapshot *snapshot = t->db ? NULL : overlay_snapshot(t->overlay);
    Err err = t->db ? OK : query_reads(s->query, overlay_reads(t->overlay));
    if (err != OK) return err;
    s->query->stop = t->patience.stop;
    err = query_run(s->query, snapshot, collect, c);
    s->query->stop = NULL;
    if (c->err != OK) return c->err;
    return buf_ok(&c->rows) ? err : ERR_NOMEM;
}

static Err delete_all(Target *t, const CatalogTable *table, const Collected *c) {
    Bytes row;
    Buf relation = {0};
    Err err = OK;
    for (size_t at = 0; err == OK && collected_next(c, &at, &row);) {
        err = row_delete(t, table, row, &relation);
        if (err == OK) err = tick(t);
    }
    buf_deinit(&relation);
    return err;
}

static Err insert_rewritten(const Statement *s, Target *t, const Collected *c) {
    Bytes row;
    Buf rewritten = {0};
    Err err = OK;
    for (size_t at = 0; err == OK && collected_next(c, &at, &row);) {
        buf_clear(&rewritten);
        for (uint32_t i = 0; i < s->table->column_count; i++) {
            Bytes value =
                s->assigned[i].ptr ? s->assigned[i] : row_column(s->query->layout, row, i);
            buf_put_bytes(&rewritten, value);
        }
        bool inserted;
        err = buf_ok(&rewritten) ? row_insert(t, s->table, buf_bytes(&rewritten), &inserted)
                                 : ERR_NOMEM;
        if (err == OK) err = tick(t);
    }
    buf_deinit(&rewritten);
    return err;
}

// All of a table at once, which is not a matter of rows. Views of a write and subscribers hear of each.
static Err clear_beside(const Statement *s, Target *t, StatementStats *stats) {
    Access *access = overlay_access(t->overlay);
    return beside_err(t, s->table, access->ops->clear(access, s->table->table_id, &stats->deleted));
}

static Err execute_rows(const Statement *s, Target *t, StatementStats *stats) {
    Collected c = {.target = t};
    Err err = collect_all(s, t, &c);
    if (err == OK) err = delete_all(t, s->table, &c);
    if (err == OK && s->verb == SQL_UPDATE) err = insert_rewritten(s, t, &c);
    *(s->verb == SQL_UPDATE ? &stats->updated : &stats->deleted) = c.count;
    buf_deinit(&c.rows);
    return err;
}

static Err execute_insert(const Statement *s, Target *t, StatementStats *stats) {
    Err err = OK;
    for (uint32_t i = 0; err == OK && i < s->row_count; i++) {
        bool inserted = false;
        err = row_insert(t, s->table, s->rows[i], &inserted);
        stats->inserted += inserted;
        if (err == OK) err = tick(t);
    }
    return err;
}

static Err execute(const Statement *s, Target *t, StatementStats *stats) {
    bool changed;
    switch (s->verb) {
    case SQL_INSERT: return execute_insert(s, t, stats);
    case SQL_UPDATE: return execute_rows(s, t, stats);
    case SQL_DELETE:
        if (!t->db && s->query->entry == QUERY_ACCEPT) return clear_beside(s, t, stats);
        return execute_rows(s, t, stats);
    case SQL_SET: return db_row_upsert(t->db, s->table, s->rows[0], &changed, t->diag);
    case SQL_SELECT:
    case SQL_SHOW: break;
    }
    UNREACHABLE();
}

static Err execute_on(const Statement *s, Target *t, StatementStats *stats) {
    ASSERT(statement_writes(s));
    *stats = (StatementStats){0};
    diag_clear(t->diag);
    Err err = execute(s, t, stats);
    if (err == OK || t->diag->text[0]) return err;
    return diag_fail(t->diag, err, "%s", err_text(err));
}

Err statement_execute(const Statement *s, Db *db, StatementStats *stats, Diag *diag) {
    return statement_execute_within(s, db, (StatementPatience){0}, stats, diag);
}

Err statement_execute_within(const Statement *s,
                             Db *db,
                             StatementPatience patience,
                             StatementStats *stats,
                             Diag *diag) {
    Target target = {.db = db, .patience = patience, .diag = diag};
    return execute_on(s, &target, stats);
}

Err statement_execute_beside(const Statement *s,
                             Overlay *overlay,
                             StatementPatience patience,
                             StatementStats *stats,
                             Diag *diag) {
    Target target = {.overlay = overlay, .patience = patience, .diag = diag};
    ASSERT(statement_may_go_beside(s));
    return execute_on(s, &target, stats);
}

bool statement_may_go_beside(const Statement *s) {
    return s->verb == SQL_INSERT || s->verb == SQL_UPDATE || s->verb == SQL_DELETE;
}
