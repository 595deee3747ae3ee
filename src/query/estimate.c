// estimate.c: how many rows: of a query, of an index that its conditions lead to, of a join's look-up.
//
// PICTURE
//   x = 3 AND y < 9 AND NOT z      index (x, y): its range is found by two descents, so 3 counts as often as
//                                  it is there. NOT z: tested on some rows of that range
//   a.x = b.y                      rows of a / different values of a.x; fewer if b.y has more of them
//
// Without statistics row counts and what is unique have to do, and rules of thumb. Numbers are guesses:
// they choose between ways that all give the same rows.
#include "query/plan.h"
#include "query/stats.h"

enum {
    ROWS_A_KEY = 10,  // that an index which is not unique finds, if nothing is known
    PART_KEPT = 4,    // of rows a range or a condition leaves one in so many
    SAMPLE = 24,      // rows on which conditions are tested
    COST_ROW = 2,     // of a row behind an index entry, in rows read where they stand
};

static uint64_t part_kept(uint64_t rows) {
    return rows / PART_KEPT + (rows > 0);
}

// ── by rules of thumb ──────────────────────────────────────────────────────────────────────────

static bool finds_one(const Query *q, const QueryPath *path) {
    StoreIndexInfo index;
    if (path->index_id == TABLE_ROWS) return path->equal == 1;
    return table_index(q->table->table, path->index_id, &index) && index.unique &&
           path->equal == index.column_count;
}

static uint64_t thumb(const Query *q, const QueryPath *path, uint64_t rows, uint64_t *looked_at) {
    if (finds_one(q, path)) return *looked_at = MIN(rows, 1);
    *looked_at = rows;
    if (path->equal > 0) rows = MIN(rows, ROWS_A_KEY);
    if (path->ranged) rows = part_kept(rows);
    if (path->equal > 0 || path->ranged) *looked_at = rows;
    return q->conjunct_count > path->equal + path->ranged ? part_kept(rows) : rows;
}

// ── by looking ─────────────────────────────────────────────────────────────────────────────────

static bool rows_along(const Query *q, const QueryPath *path, QueryStats *stats, uint64_t *rows) {
    Place place = {0};
    bool known = stats_spend(stats, 2) && place_at(q, path, &place) == OK;
    *rows = 0;
    if (known && !place.empty)
        known = table_rows_between(q->table->table,
                                   place.index_id,
                                   buf_bytes(&place.bounds.lower),
                                   place_upper(&place),
                                   rows) == OK;
    place_deinit(&place);
    return known;
}

typedef struct Sample {
    const Query *query;
    uint32_t count, kept;
} Sample;

static void sample_take(void *ctx, Bytes row) {
    Sample *sample = ctx;
    sample->count++;
    sample->kept += query_matches(sample->query, row);
}

// Of `rows` along the path, those that the whole predicate keeps.
static bool rows_kept(const Query *q,
                      const QueryPath *path,
                      QueryStats *stats,
                      uint64_t rows,
                      uint64_t *kept) {
    Place place = {0};
    Sample sample = {.query = q};
    bool known = stats_spend(stats, SAMPLE * 2) && place_at(q, path, &place) == OK &&
                 table_sample(q->table->table,
                              place.index_id,
                              buf_bytes(&place.bounds.lower),
                              place_upper(&place),
                              SAMPLE,
                              sample_take,
                              &sample) == OK;
    place_deinit(&place);
    // Where none or all of a few rows are kept it is not to be believed to the last row.
    double part = (sample.kept + 0.5) / (sample.count + 1.0);
    *kept = sample.count >= rows ? sample.kept : (uint64_t)((double)rows * part + 0.5);
    return known && sample.count > 0;
}

uint64_t estimate_query(const Query *q, QueryStats *stats, uint64_t *looked_at) {
    const Table *table = q->table->table;
    uint64_t rows = table ? table_row_count(table, NULL) : 0, ignored;
    if (!looked_at) looked_at = &ignored;
    *looked_at = 0;
    if (rows == 0 || q->entry == QUERY_REJECT) return 0;
    uint16_t primary = q->table->primary_key < 0 ? 0 : (uint16_t)q->table->primary_key;
    QueryPath path = place_choose(q, &primary);
    uint64_t guess = thumb(q, &path, rows, looked_at), kept;
    if (!stats || finds_one(q, &path) || q->entry == QUERY_ACCEPT) return guess;
    bool narrowed = path.equal > 0 || path.ranged;
    if (narrowed && !rows_along(q, &path, stats, &rows)) return guess;
    *looked_at = rows;
    bool filters = q->test_count > path.equal + path.ranged;
    if (!filters || rows == 0) return rows;
    return rows_kept(q, &path, stats, rows, &kept) ? kept : part_kept(rows);
}

// ── choosing an index ──────────────────────────────────────────────────────────────────────────

typedef struct Settling {
    const Query *query;
    QueryStats *stats;
    QueryPath best;
    uint64_t best_cost;
    uint32_t candidates;
    bool unknown;  // something was not to be found out
} Settling;

static void settle_try(Settling *s, QueryPath path) {
    uint64_t rows;
    if (path.equal == 0 && !path.ranged) return;
    s->candidates++;
    if (finds_one(s->query, &path)) {
        rows = 1;
    } else if (!rows_along(s->query, &path, s->stats, &rows)) {
        s->unknown = true;
        return;
    }
    uint64_t cost = path.index_id == TABLE_ROWS ? rows : rows * COST_ROW;
    bool better = cost < s->best_cost || (cost == s->best_cost && path.equal > s->best.equal);
    if (s->candidates > 1 && !better) return;
    s->best = path;
    s->best_cost = cost;
}

// An index is never given up for the whole table: what a transaction read would be the whole table too.
Err estimate_settle(Query *q, QueryStats *stats) {
    const Table *table = q->table->table;
    if (!stats || !table || q->has_path || q->conjunct_count < 2) return OK;
    uint16_t *primary = arena_new(&q->arena, uint16_t);
    if (!primary) return ERR_NOMEM;
    *primary = q->table->primary_key < 0 ? 0 : (uint16_t)q->table->primary_key;
    Settling s = {.query = q, .stats = stats, .best_cost = UINT64_MAX};
    if (q->table->primary_key >= 0) settle_try(&s, place_along(q, TABLE_ROWS, primary, 1));
    for (uint32_t i = 0; i < table_index_count(table); i++) {
        StoreIndexInfo index = table_index_at(table, i);
        settle_try(&s, place_along(q, index.index_id, index.columns, index.column_count));
    }
    if (s.candidates < 2 || s.unknown) return OK;
    q->path = s.best;
    q->has_path = true;
    return OK;
}

// ── links ──────────────────────────────────────────────────────────────────────────────────────

static bool is_unique_here(const EstimateLink *link) {
    return link->index && link->index->unique && link->columns == link->index->column_count;
}

bool estimate_link(const EstimateLink *link, QueryStats *stats, double *out) {
    uint64_t rows = table_row_count(link->table, NULL), distinct, outside;
    *out = 0;
    if (rows == 0) return true;
    if (is_unique_here(link))
        distinct = rows;
    else if (link->index) {
        if (!stats_index_distinct(stats, link->table, link->index, link->columns, &distinct))
            return false;
    } else if (!stats_column_distinct(stats, link->table, link->column, &distinct)) {
        return false;
    }
    // Values of the one with fewer are thought to be among those of the one with more.
    if (link->outer && link->columns <= 1 &&
        stats_column_distinct(stats, link->outer, link->outer_column, &outside))
        distinct = MAX(distinct, outside);
    *out = (double)rows / (double)distinct;
    return true;
}
