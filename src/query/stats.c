#include "query/stats.h"

#include <stdlib.h>

#include "base/mem.h"
#include "sats/key.h"

enum {
    PLACES = 256,
    PREFIXES = 4,          // leading columns of an index that are told apart
    INDEX_SAMPLE = 24,     // rows
    COLUMN_SAMPLE = 48,    // likewise
    CHANGED_PARTS = 5,     // a fifth
    NO_INDEX = TABLE_ROWS  // a column of its own
};

typedef struct Known {
    const Table *table;  // NULL: nothing
    uint32_t index_id, column;
    uint64_t changes, rows;  // of the table then
    uint32_t count;
    uint64_t distinct[PREFIXES];
} Known;

struct QueryStats {
    uint32_t looks;  // left to this compilation
    Known *places;   // PLACES, from the first use on: many databases are never asked
};

QueryStats *query_stats_new(void) {
    return MEM_NEW(QueryStats);
}

void query_stats_free(QueryStats **stats) {
    if (!*stats) return;
    mem_free((*stats)->places);
    mem_free(*stats);
    *stats = NULL;
}

void stats_begin(QueryStats *stats) {
    if (stats) stats->looks = STATS_LOOKS;
}

bool stats_spend(QueryStats *stats, uint32_t looks) {
    if (stats->looks < looks) return false;
    stats->looks -= looks;
    return true;
}

// ── what is remembered ─────────────────────────────────────────────────────────────────────────

static Known *place_of(QueryStats *stats, const Table *table, uint32_t index_id, uint32_t column) {
    if (!stats->places) stats->places = mem_zalloc(PLACES * sizeof(Known));
    if (!stats->places) return NULL;
    uint32_t mixed = (table_id(table) * 31 + index_id) * 31 + column;
    return &stats->places[(mixed * 2654435761u) >> 24];
}
static_assert(PLACES == 1 << 8, "the upper 8 of 32 bits choose");

static bool is_of(const Known *known, const Table *table, uint32_t index_id, uint32_t column) {
    return known->table == table && known->index_id == index_id && known->column == column;
}

// Emptying a table is one change, however many rows it had.
static bool is_fresh(const Known *known, const Table *table) {
    uint64_t rows = table_row_count(table, NULL), most = known->rows / CHANGED_PARTS;
    uint64_t moved = rows > known->rows ? rows - known->rows : known->rows - rows;
    return moved <= most && table_changes(table) - known->changes <= most;
}

static Known known_now(const Table *table, uint32_t index_id, uint32_t column) {
    return (Known){
        .table = table,
        .index_id = index_id,
        .column = column,
        .changes = table_changes(table),
        .rows = table_row_count(table, NULL),
    };
}

// ── of an index ────────────────────────────────────────────────────────────────────────────────

// Each row's keys of 1, 2, … leading columns, which are prefixes of each other, are remembered by how
// long they are: the rows that share them are counted later, when no row is borrowed.
typedef struct IndexSample {
    const Table *table;
    const StoreIndexInfo *index;
    uint32_t prefixes;
    Buf keys;
    size_t ends[INDEX_SAMPLE][PREFIXES];
    uint32_t count;
} IndexSample;

static void index_take(void *ctx, Bytes row) {
    IndexSample *sample = ctx;
    for (uint32_t i = 0; i < sample->prefixes; i++) {
        key_append_columns(&sample->keys,
                           table_layout(sample->table),
                           row,
                           &sample->index->columns[i],
                           1);
        sample->ends[sample->count][i] = sample->keys.len;
    }
    sample->count++;
}

static Err rows_with(const IndexSample *sample, Bytes key, uint64_t *rows) {
    Buf above = {0};
    buf_put_bytes(&above, key);
    bool bounded = key_successor(&above);
    Err err = buf_ok(&above) ? OK : ERR_NOMEM;
    Bytes upper = bounded ? buf_bytes(&above) : BYTES_NONE;
    if (err == OK)
        err = table_rows_between(sample->table, sample->index->index_id, key, upper, rows);
    buf_deinit(&above);
    return err;
}

static Err distinct_of_prefix(const IndexSample *sample, uint32_t prefix, Known *known) {
    double shares = 0;
    for (uint32_t i = 0; i < sample->count; i++) {
        size_t from = i ? sample->ends[i - 1][sample->prefixes - 1] : 0;
        Bytes key = {sample->keys.ptr + from, sample->ends[i][prefix] - from};
        uint64_t rows;
        Err err = rows_with(sample, key, &rows);
        if (err != OK) return err;
        shares += 1.0 / (double)MAX(rows, 1);
    }
    double distinct = (double)known->rows * shares / MAX(sample->count, 1u);
    known->distinct[prefix] = MAX((uint64_t)(distinct + 0.5), 1);
    return OK;
}

static bool index_gather(QueryStats *stats, IndexSample *sample, Known *known) {
    uint32_t prefixes = sample->prefixes;
    if (!stats_spend(stats, INDEX_SAMPLE * 2 * (1 + prefixes))) return false;
    Err err = table_sample(sample->table,
                           sample->index->index_id,
                           BYTES_NONE,
                           BYTES_NONE,
                           INDEX_SAMPLE,
                           index_take,
                           sample);
    if (err == OK && !buf_ok(&sample->keys)) err = ERR_NOMEM;
    for (uint32_t i = 0; err == OK && i < prefixes; i++)
        err = distinct_of_prefix(sample, i, known);
    known->count = prefixes;
    return err == OK;
}

bool stats_index_distinct(QueryStats *stats,
                          const Table *table,
                          const StoreIndexInfo *index,
                          uint32_t columns,
                          uint64_t *out) {
    Known *place = place_of(stats, table, index->index_id, 0);
    if (!place) return false;
    bool is_ours = is_of(place, table, index->index_id, 0);
    if (!is_ours || !is_fresh(place, table)) {
        uint32_t prefixes = MIN(index->column_count, (uint32_t)PREFIXES);
        IndexSample sample = {.table = table, .index = index, .prefixes = prefixes};
        Known known = known_now(table, index->index_id, 0);
        bool gathered = index_gather(stats, &sample, &known);
        buf_deinit(&sample.keys);
        if (gathered) *place = known;
        if (!gathered && !is_ours) return false;
    }
    *out = place->distinct[MIN(columns, place->count) - 1];
    return true;
}

// ── of a column ────────────────────────────────────────────────────────────────────────────────

typedef struct ColumnSample {
    const Table *table;
    uint16_t column;
    Buf keys;
    size_t ends[COLUMN_SAMPLE];
    uint32_t count;
} ColumnSample;

static void column_take(void *ctx, Bytes row) {
    ColumnSample *sample = ctx;
    key_append_columns(&sample->keys, table_layout(sample->table), row, &sample->column, 1);
    sample->ends[sample->count++] = sample->keys.len;
}

static Bytes column_key(const ColumnSample *sample, uint32_t at) {
    size_t from = at ? sample->ends[at - 1] : 0;
    return (Bytes){sample->keys.ptr + from, sample->ends[at] - from};
}

// d different values among n of N rows, f of them once:  n·d / (n − f + f·n/N).
static uint64_t distinct_of_sample(const ColumnSample *sample, uint64_t rows) {
    uint32_t different = 0, once = 0, n = sample->count;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t before = 0, same = 0;
        for (uint32_t k = 0; k < n; k++) {
            bool equal = bytes_eq(column_key(sample, i), column_key(sample, k));
            before += equal && k < i;
            same += equal;
        }
        different += before == 0;
        once += same == 1;
    }
    if (n == 0) return 1;
    double below = (double)(n - once) + (double)once * n / (double)rows;
    return MAX((uint64_t)((double)n * different / below + 0.5), 1);
}

static bool column_gather(QueryStats *stats, ColumnSample *sample, Known *known) {
    if (!stats_spend(stats, COLUMN_SAMPLE)) return false;
    Err err = table_sample(sample->table,
                           TABLE_ROWS,
                           BYTES_NONE,
                           BYTES_NONE,
                           COLUMN_SAMPLE,
                           column_take,
                           sample);
    if (err != OK || !buf_ok(&sample->keys)) return false;
    known->count = 1;
    known->distinct[0] = distinct_of_sample(sample, known->rows);
    return true;
}

static bool sampled_distinct(QueryStats *stats,
                             const Table *table,
                             uint16_t column,
                             uint64_t *out) {
    Known *place = place_of(stats, table, NO_INDEX, column);
    if (!place) return false;
    bool is_ours = is_of(place, table, NO_INDEX, column);
    if (!is_ours || !is_fresh(place, table)) {
        ColumnSample sample = {.table = table, .column = column};
        Known known = known_now(table, NO_INDEX, column);
        bool gathered = column_gather(stats, &sample, &known);
        buf_deinit(&sample.keys);
        if (gathered) *place = known;
        if (!gathered && !is_ours) return false;
    }
    *out = place->distinct[0];
    return true;
}

bool stats_column_distinct(QueryStats *stats, const Table *table, uint16_t column, uint64_t *out) {
    for (uint32_t i = 0; i < table_index_count(table); i++) {
        StoreIndexInfo index = table_index_at(table, i);
        if (index.columns[0] != column) continue;
        if (!index.unique || index.column_count > 1)
            return stats_index_distinct(stats, table, &index, 1, out);
        *out = table_row_count(table, NULL);
        return true;
    }
    return sampled_distinct(stats, table, column, out);
}
