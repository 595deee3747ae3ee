// view_rows.c: the rows of a result: from what a function returned to the view's table.
//
// PICTURE
//   returned   0 ‖ array of rows   ─┐                 rows, each behind its key, duplicates and all
//              1 ‖ SQL text ─ run ──┴─ view_rows_take ───────────────┐
//   table      rows with the key ──────── compared ──────────────────┴─> deletes, then inserts
//
// Only what differs is changed, so that subscribers hear of that and of nothing else.
#include "live/view_private.h"

// ── what was returned ──────────────────────────────────────────────────────────────────────────

static Err fail(const Views *views, Diag *diag, Err err, const char *why) {
    return diag_fail(diag, err, "view `" STR_FMT "` %s", STR_ARG(views->running_def->name), why);
}

static void put_row(Views *views, Bytes row) {
    const QueryViewKey *key = &views->running->key;
    buf_put_u32(&views->rows, (uint32_t)(sizeof key->hash + row.len));
    buf_put(&views->rows, key->hash, sizeof key->hash);
    buf_put_bytes(&views->rows, row);
    views->row_count++;
}

static Err take_array(Views *views, Bytes in, Diag *diag) {
    const Type *type = views->running_def->row_type;
    if (in.len < 4) return fail(views, diag, ERR_MALFORMED, "returned no rows, not even none");
    uint32_t count = load_u32(in.ptr);
    in = (Bytes){in.ptr + 4, in.len - 4};
    for (uint32_t i = 0; i < count; i++) {
        Diag why;
        size_t len;
        Err err = bsatn_check(type, in, &len, &why);
        if (err != OK) {
            Str name = views->running_def->name;
            return diag_fail(diag,
                             err,
                             "view `" STR_FMT
                             "` returned a row that is not what it declares: %.1000s",
                             STR_ARG(name),
                             why.text);
        }
        put_row(views, (Bytes){in.ptr, len});
        in = (Bytes){in.ptr + len, in.len - len};
        if (!buf_ok(&views->rows)) return ERR_NOMEM;
    }
    return in.len == 0 ? OK : fail(views, diag, ERR_MALFORMED, "returned more than its rows");
}

// ── a query instead of rows ────────────────────────────────────────────────────────────────────

static bool same_columns(const CatalogTable *view, const CatalogTable *table) {
    if (view->column_count != table->column_count + 1) return false;
    for (uint32_t i = 0; i < table->column_count; i++) {
        const CatalogColumn *a = &view->columns[i + 1], *b = &table->columns[i];
        if (!str_eq(a->name, b->name) || !type_eq(a->type, b->type)) return false;
    }
    return true;
}

static Err relation_refuse(const Views *views, const Query *query, Diag *diag) {
    if (query->table->is_view)
        return fail(views, diag, ERR_INVALID, "view definition cannot read from other views");
    if (query->table->is_event)
        return fail(views, diag, ERR_INVALID, "reads an event table, which has no rows to show");
    return OK;
}

typedef struct Reading {
    Views *views;
    Diag *diag;
} Reading;

// A row that does not satisfy what is said of its relation alone changes nothing.
static Err relation_read(void *ctx, const Query *query) {
    const Reading *reading = ctx;
    Err err = relation_refuse(reading->views, query, reading->diag);
    return err == OK ? query_reads(query, reading->views->reads) : err;
}

static Err query_refuse(const Views *views,
                        const CatalogTable *table,
                        const Standing *query,
                        Diag *diag) {
    const CatalogTable *shown = standing_table(query);
    if (query->mentions_sender)
        return fail(views, diag, ERR_INVALID, "has :sender in its query: put the identity there");
    if (!shown || !same_columns(table, shown))
        return fail(views,
                    diag,
                    ERR_INVALID,
                    "returned a query whose rows are not what it declares");
    return OK;
}

static bool put_stored_row(void *ctx, Bytes row) {
    Views *views = ctx;
    put_row(views, row);
    return buf_ok(&views->rows);
}

static Err take_query(Views *views, const CatalogTable *table, Str text, Diag *diag) {
    if (text.len == 0) return OK;
    // The owner's rights, nobody's identity: what is seen depends on the view alone.
    QueryCaller owner = {.is_owner = true};
    Standing *query = NULL;
    Reading reading = {views, diag};
    Diag why;
    diag_clear(&why);
    Err err = standing_compile(text, false, views->catalog, &owner, &query, &why);
    if (err != OK) {
        return diag_fail(diag,
                         err,
                         "view `" STR_FMT "` returned a query that does not compile: %.1000s",
                         STR_ARG(views->running_def->name),
                         why.text);
    }
    err = standing_each_query(query, relation_read, &reading);
    if (err == OK) err = query_refuse(views, table, query, diag);
    if (err == OK && standing_run(query, NULL, false, put_stored_row, views, &why) != OK)
        err = ERR_NOMEM;
    standing_free(&query);
    return err;
}

Err view_rows_take(Views *views, const CatalogTable *table, Bytes returned, Diag *diag) {
    enum { KEEP_BYTES = 1 << 20 };
    if (views->rows.cap > KEEP_BYTES) buf_deinit(&views->rows);
    buf_clear(&views->rows);
    views->row_count = 0;
    Reader r = reader_of(returned);
    uint8_t tag = reader_u8(&r);
    if (reader_ok(&r) && tag == 0) return take_array(views, r.in, diag);
    Str text = tag == 1 ? reader_str(&r) : STR_NONE;
    if (!reader_ok(&r) || tag > 1 || r.in.len > 0)
        return fail(views, diag, ERR_MALFORMED, "returned something that is not a view's result");
    return take_query(views, table, text, diag);
}

// ── into the table ─────────────────────────────────────────────────────────────────────────────

// The index whose key is the result's.
static uint32_t key_index(const CatalogTable *table) {
    for (uint32_t i = 0; i < table->index_count; i++) {
        if (table->indexes[i].column_count == 1 && table->indexes[i].columns[0] == 0)
            return table->indexes[i].index_id;
    }
    UNREACHABLE();  // catalog_view.c made it
}

// The rows that are there under a key, copied: u32 length and row each.
static Err present_rows(const CatalogTable *table, const QueryViewKey *key, Buf *out) {
    Err read = OK;
    Buf lower = {0}, upper = {0};
    key_append(&lower, table->columns[0].type, key->hash);
    buf_put_bytes(&upper, buf_bytes(&lower));
    if (!key_successor(&upper)) buf_clear(&upper);
    if (buf_ok(&lower) && buf_ok(&upper)) {
        TableScan scan;
        Bytes row;
        table_scan_begin(&scan,
                         table->table,
                         NULL,
                         key_index(table),
                         buf_bytes(&lower),
                         buf_bytes(&upper));
        while (table_scan_next(&scan, &row)) {
            buf_put_lp(out, row);
        }
        table_scan_end(&scan);
        read = scan.err;
    }
    Err err = buf_ok(&lower) && buf_ok(&upper) && buf_ok(out) ? read : ERR_NOMEM;
    buf_deinit(&lower);
    buf_deinit(&upper);
    return err;
}

static Err delete_rows(const CatalogTable *table, Bytes rows, uint64_t *deleted) {
    Reader r = reader_of(rows);
    Err err = OK;
    while (err == OK && r.in.len > 0) {
        err = table_delete_row(table->table, reader_lp(&r));
        if (err == OK) ++*deleted;
    }
    return err;
}

Err view_rows_delete(Views *views,
                     const CatalogTable *table,
                     const QueryViewKey *key,
                     uint64_t *deleted) {
    Buf present = {0};
    (void)views;
    *deleted = 0;
    Err err = present_rows(table, key, &present);
    if (err == OK) err = delete_rows(table, buf_bytes(&present), deleted);
    buf_deinit(&present);
    return err;
}

typedef struct NewRow {
    Bytes row;
    bool present;  // the table has it already
} NewRow;

typedef struct Difference {
    NewRow *rows;  // distinct
    uint32_t count;
    LiveMap map;  // hash of the row -> NewRow
    Buf gone;     // rows to delete: u32 length and row each
} Difference;

static NewRow *new_row(const Difference *d, Bytes row, uint64_t hash) {
    uint32_t at = livemap_first(&d->map, hash);
    NewRow *found;
    while ((found = livemap_at(&d->map, at)) && !bytes_eq(found->row, row)) {
        at = livemap_next(&d->map, hash, at);
    }
    return found;
}

// A result is a set: what was returned twice is there once.
static Err difference_new(Difference *d, const Views *views) {
    d->rows = mem_alloc(MAX(views->row_count, 1u) * sizeof *d->rows);
    if (!d->rows) return ERR_NOMEM;
    Reader r = reader_of(buf_bytes(&views->rows));
    while (r.in.len > 0) {
        Bytes row = reader_lp(&r);
        uint64_t hash = bytes_hash(row);
        if (new_row(d, row, hash)) continue;
        if (!livemap_reserve(&d->map)) return ERR_NOMEM;
        d->rows[d->count] = (NewRow){.row = row};
        livemap_insert(&d->map, hash, &d->rows[d->count++]);
    }
    return OK;
}

static Err difference_old(Difference *d, const CatalogTable *table, const QueryViewKey *key) {
    Buf present = {0};
    Err err = present_rows(table, key, &present);
    Reader r = reader_of(buf_bytes(&present));
    while (err == OK && r.in.len > 0) {
        Bytes row = reader_lp(&r);
        NewRow *stays = new_row(d, row, bytes_hash(row));
        if (stays)
            stays->present = true;
        else
            buf_put_lp(&d->gone, row);
    }
    buf_deinit(&present);
    return err == OK && buf_ok(&d->gone) ? OK : ERR_NOMEM;
}

static Err difference_apply(const Difference *d,
                            const Views *views,
                            const CatalogTable *table,
                            Diag *diag) {
    uint64_t deleted = 0;
    Err err = delete_rows(table, buf_bytes(&d->gone), &deleted);
    for (uint32_t i = 0; err == OK && i < d->count; i++) {
        if (!d->rows[i].present) err = table_insert(table->table, d->rows[i].row, NULL, NULL);
    }
    if (err == ERR_UNIQUE)
        return fail(views, diag, err, "returned two rows with the same primary key");
    return err == OK ? OK : diag_fail(diag, err, "%s", err_text(err));
}

Err view_rows_store(Views *views, const CatalogTable *table, Diag *diag) {
    Difference d = {0};
    Store *store = db_store(views->db);
    size_t savepoint = store_savepoint(store);
    Err err = difference_new(&d, views);
    if (err == OK) err = difference_old(&d, table, &views->running->key);
    if (err == OK) err = difference_apply(&d, views, table, diag);
    if (err != OK) store_rollback_to(store, savepoint);
    mem_free(d.rows);
    livemap_deinit(&d.map);
    buf_deinit(&d.gone);
    return err;
}
