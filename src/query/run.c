// run.c: a query's rows, from the head or a snapshot: every row of its place (place.h) that matches.
#include "query/place.h"

// ── running ────────────────────────────────────────────────────────────────────────────────────

typedef struct Run {
    const Query *query;
    QuerySink sink;
    void *ctx;
    uint64_t taken;
} Run;

static Err scan(Run *run, const Snapshot *snapshot, uint32_t index_id, Bytes lower, Bytes upper) {
    const Query *q = run->query;
    bool counts = q->projection == QPROJECT_COUNT;
    TableScan cursor;
    Bytes row;
    Err err = OK;
    table_scan_begin(&cursor, q->table->table, snapshot, index_id, lower, upper);
    for (uint32_t seen = 1; err == OK && table_scan_next(&cursor, &row); seen++) {
        bool matches = query_matches(q, row);
        if (matches) run->taken++;
        if (matches && !counts && !run->sink(run->ctx, row)) err = ERR_LIMIT;
        if (seen % TABLE_BREATHE_ROWS == 0) table_breathe(q->table->table, snapshot);
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
