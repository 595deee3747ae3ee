// run.c: a query's rows, from the head or a snapshot: every row of its place (place.h) that matches.
//
// A query that is to run on another thread is detached first: it takes its path and copies of what it
// needs of the catalog along, because the catalog may change while it runs.
#include "query/compile.h"
#include "query/place.h"

// ── running ────────────────────────────────────────────────────────────────────────────────────

typedef struct Run {
    const Query *query;
    QuerySink sink;
    void *ctx;
    uint64_t taken, taken_bytes;
} Run;

// False: the answer is larger than it may be.
static bool row_take(Run *run, Bytes row) {
    const Query *q = run->query;
    run->taken++;
    if (q->projection == QPROJECT_COUNT) return true;
    run->taken_bytes += row.len;
    return (!q->rows_max || run->taken <= q->rows_max) &&
           (!q->bytes_max || run->taken_bytes <= q->bytes_max);
}

static Err scan(Run *run, const Snapshot *snapshot, uint32_t index_id, Bytes lower, Bytes upper) {
    const Query *q = run->query;
    bool counts = q->projection == QPROJECT_COUNT;
    TableScan cursor;
    Bytes row;
    Err err = OK;
    table_scan_begin(&cursor, q->table->table, snapshot, index_id, lower, upper);
    for (uint32_t seen = 1; err == OK && table_scan_next(&cursor, &row); seen++) {
        bool matches = query_matches(q, row);
        if (matches && !row_take(run, row)) err = ERR_TOO_LARGE;
        if (err == OK && matches && !counts && !run->sink(run->ctx, row)) err = ERR_LIMIT;
        // A sink that wants no more may have given the snapshot back.
        if (err == OK && seen % TABLE_BREATHE_ROWS == 0) {
            table_breathe(q->table->table, snapshot);
            if (query_stopped(q)) err = ERR_CLOSED;
        }
        if (q->has_limit && run->taken == q->limit) break;
    }
    table_scan_end(&cursor);
    return err == OK ? cursor.err : err;
}

static Err run_rows(Run *run, const Snapshot *snapshot) {
    Place place = {0};
    Err err = place_find(run->query, &place);
    if (err == OK && !place.empty)
        err = scan(run,
                   snapshot,
                   place.index_id,
                   buf_bytes(&place.bounds.lower),
                   place_upper(&place));
    place_deinit(&place);
    return err;
}

Err query_reads(const Query *query, ReadSet *reads) {
    uint32_t table_id = query->table->table_id;
    if (query->entry == QUERY_REJECT) return OK;
    Place place = {0};
    Err err = place_find(query, &place);
    if (err == OK && !place.narrowed) {
        err = readset_table(reads, table_id);
    } else if (err == OK && !place.empty) {
        Bytes lower = buf_bytes(&place.bounds.lower), upper = place_upper(&place);
        err = readset_range(reads, table_id, place.index_id, lower, upper);
    }
    place_deinit(&place);
    return err;
}

static Err run_count(Run *run, const Snapshot *snapshot) {
    const Query *q = run->query;
    Err err = OK;
    if (q->has_limit && q->limit == 0) return OK;  // LIMIT bounds output rows, of which 0 are left
    if (q->entry == QUERY_ACCEPT)
        run->taken = table_row_count(q->table->table, snapshot);
    else
        err = run_rows(run, snapshot);
    uint64_t n = run->taken;
    if (err == OK && !run->sink(run->ctx, BYTES(&n, sizeof n))) err = ERR_LIMIT;
    return err;
}

Err query_run(const Query *query, const Snapshot *snapshot, QuerySink sink, void *ctx) {
    Run run = {.query = query, .sink = sink, .ctx = ctx};
    if (query->projection == QPROJECT_COUNT) return run_count(&run, snapshot);
    if (query->entry == QUERY_REJECT || (query->has_limit && query->limit == 0)) return OK;
    return run_rows(&run, snapshot);
}

// ── before running ─────────────────────────────────────────────────────────────────────────────

// A page that would have to be waited for costs more than anything.
static uint64_t place_count(const Query *q, const Place *place, uint64_t most) {
    Store *store = table_store(q->table->table);
    TableScan cursor;
    Bytes row;
    uint64_t seen = 0;
    if (place->empty) return 0;
    store_set_patient(store, false);
    table_scan_begin(&cursor,
                     q->table->table,
                     NULL,
                     place->index_id,
                     buf_bytes(&place->bounds.lower),
                     place_upper(place));
    while (seen <= most && table_scan_next(&cursor, &row)) {
        seen++;
    }
    table_scan_end(&cursor);
    store_set_patient(store, true);
    return cursor.err == ERR_AGAIN ? most + 1 : seen;
}

#define ROW_BYTES_USUAL 256

static uint64_t row_weight(const Table *table) {
    uint64_t rows = table_row_count(table, NULL);
    return 1 + (rows ? table_data_bytes(table) / rows / ROW_BYTES_USUAL : 0);
}

uint64_t query_cost(const Query *q, uint64_t most) {
    bool counts = q->projection == QPROJECT_COUNT;
    uint64_t rows = table_row_count(q->table->table, NULL);
    if (q->entry == QUERY_REJECT || (counts && q->entry == QUERY_ACCEPT)) return 0;
    if (q->entry == QUERY_ACCEPT && q->has_limit && !counts) rows = MIN(rows, q->limit);
    uint64_t weight = row_weight(q->table->table);
    if (most == UINT64_MAX || rows == 0 || rows <= most / weight) return rows * weight;
    Place place = {0};
    // Without bounds it is all of them; with bounds only looking tells.
    bool known = place_find(q, &place) == OK && place.narrowed;
    uint64_t cost = known ? place_count(q, &place, most / weight) * weight : most + 1;
    place_deinit(&place);
    return MIN(cost, most + 1);
}

Err query_type_own(Arena *arena, const Type *type, const Type **out) {
    Buf bytes = {0};
    type_encode(&bytes, type);
    Err err = buf_ok(&bytes) ? OK : ERR_NOMEM;
    Bytes in = buf_bytes(&bytes);
    const Type *declared;
    Diag diag;  // what is in the catalog decodes
    if (err == OK) err = type_decode(&in, arena, &declared, &diag);
    if (err == OK) err = type_resolve(declared, NULL, 0, arena, out, &diag);
    buf_deinit(&bytes);
    return err;
}

static Err table_own(Query *q, CatalogTable *own) {
    Arena *arena = &q->arena;
    *own = *q->table;
    own->name = arena_str(arena, own->name);
    CatalogColumn *columns = arena_array(arena, CatalogColumn, MAX(own->column_count, 1u));
    if (!own->name.ptr || !columns) return ERR_NOMEM;
    Err err = query_type_own(arena, q->table->row_type, &own->row_type);
    if (err != OK) return err;
    for (uint32_t i = 0; i < own->column_count; i++) {
        columns[i] = (CatalogColumn){
            .name = arena_str(arena, own->columns[i].name),
            .type = own->row_type->fields[i].type,
        };
        if (!columns[i].name.ptr) return ERR_NOMEM;
    }
    own->columns = columns;
    own->indexes = NULL;
    own->sequences = NULL;
    own->index_count = own->sequence_count = 0;
    return OK;
}

Err query_detach(Query *q) {
    CatalogTable *own = arena_new(&q->arena, CatalogTable);
    RowLayout *layout = arena_new(&q->arena, RowLayout);
    uint16_t *primary = arena_new(&q->arena, uint16_t);
    if (!own || !layout || !primary) return ERR_NOMEM;
    Err err = table_own(q, own);
    if (err == OK) err = row_layout_init(layout, own->row_type, &q->arena);
    if (err != OK) return err;
    *primary = q->table->primary_key < 0 ? 0 : (uint16_t)q->table->primary_key;
    q->path = place_choose(q, primary);
    q->table = own;
    q->layout = layout;
    q->has_path = true;
    return OK;
}
