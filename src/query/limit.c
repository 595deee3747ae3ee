// limit.c: the row limit that the owner may set for others (spec §2.4).
//
// What is compared is how many rows a query looks at. Rows of an index are counted, up to the limit;
// a filter looks at its rows once more; joins multiply, or add what their look-ups find.
#include "query/statement_private.h"

static bool limit_of(const QueryCatalog *catalog, const QueryCaller *caller, uint64_t *limit) {
    return !caller->is_owner && catalog->row_limit && catalog->row_limit(catalog->ctx, limit);
}

static Err refuse(Diag *diag, uint64_t rows, uint64_t limit) {
    return diag_fail(diag,
                     ERR_INVALID,
                     "Estimated cardinality (%llu rows) exceeds limit (%llu rows)",
                     (unsigned long long)rows,
                     (unsigned long long)limit);
}

static Err rows_in_place(const Query *q, const Place *place, uint64_t limit, uint64_t *rows) {
    TableScan scan;
    Bytes row;
    *rows = 0;
    table_scan_begin(&scan,
                     q->table->table,
                     NULL,
                     place->index_id,
                     buf_bytes(&place->bounds.lower),
                     place_upper(place));
    while (*rows <= limit && table_scan_next(&scan, &row)) {
        if (++*rows % TABLE_BREATHE_ROWS == 0) table_breathe(q->table->table, NULL);
    }
    table_scan_end(&scan);
    return scan.err;
}

// Rows that the query looks at; more than the limit need not be exact.
static Err rows_looked_at(const Query *q, uint64_t limit, uint64_t *rows) {
    Place place = {0};
    *rows = 0;
    if (!q->table->table || q->entry == QUERY_REJECT) return OK;
    Err err = place_find(q, &place);
    if (err == OK && !place.narrowed)
        *rows = table_row_count(q->table->table, NULL);
    else if (err == OK && !place.empty)
        err = rows_in_place(q, &place, limit, rows);
    bool filters = q->test_count > place.equal + place.ranged;
    if (filters && *rows <= UINT64_MAX / 2) *rows *= 2;
    place_deinit(&place);
    return err;
}

Err query_check_limit(const QueryCatalog *catalog,
                      const QueryCaller *caller,
                      const Query *query,
                      Diag *diag) {
    uint64_t limit, rows;
    if (!limit_of(catalog, caller, &limit)) return OK;
    Err err = rows_looked_at(query, limit, &rows);
    if (err != OK) return diag_fail(diag, err, "%s", err_text(err));
    return rows > limit ? refuse(diag, rows, limit) : OK;
}

Err limit_check_plan(const QueryCatalog *catalog,
                     const QueryCaller *caller,
                     const Plan *plan,
                     Diag *diag) {
    uint64_t limit, total = 0;
    if (!limit_of(catalog, caller, &limit)) return OK;
    for (uint32_t i = 0; i < plan->join.count; i++) {
        const JoinStep *step = &plan->join.steps[i];
        uint64_t rows;
        Err err = rows_looked_at(plan->join.leaves[step->relation].query, limit, &rows);
        if (err != OK) return diag_fail(diag, err, "%s", err_text(err));
        bool overflow;
        if (i == 0)
            overflow = __builtin_add_overflow(total, rows, &total);
        else if (step->access == STEP_LOOKUP)
            overflow = __builtin_add_overflow(total, step->estimate, &total);
        else
            overflow = __builtin_mul_overflow(total, MAX(rows, 1), &total);
        if (overflow) total = UINT64_MAX;
    }
    return total > limit ? refuse(diag, total, limit) : OK;
}
