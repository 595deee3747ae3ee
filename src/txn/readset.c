// readset.c: points in a hash table, ranges in a sorted array, by table and index.
//
// ALWAYS TRUE
//   (1) The ranges of an index are ascending and neither overlap nor touch.
//   (2) Dropping precision is allowed, dropping a read is not: every merge covers what it replaces.
//   (3) A function that answers ERR_NOMEM left a set that reads at least what it did before.
//
// Keys live in the arena until readset_clear; a range that grew leaves its old end there.
#include "txn/readset.h"

#include "base/mem.h"

// Beyond this a table's reads become one: whole-table. What is that large conflicts with nearly
// anything anyway.
#define TABLE_BYTES_MAX ((size_t)32 << 20)
// Beyond this neighbouring ranges of an index are joined in pairs, gaps included.
#define RANGES_MAX 4096u

typedef struct ReadPoint {
    const uint8_t *ptr;  // NULL: an empty slot
    uint32_t len;
    uint32_t hash;
} ReadPoint;

typedef struct ReadSpan {
    Bytes lower, upper;  // empty: from the beginning, to the end
} ReadSpan;

typedef struct IndexReads {
    uint32_t index_id;
    ReadPoint *points;
    uint32_t slot_count, point_count;  // slots: a power of two, or 0
    ReadSpan *ranges;
    uint32_t range_count, range_cap;
} IndexReads;

typedef struct TableReads {
    uint32_t table_id;
    bool whole;
    size_t array_bytes, key_bytes;
    IndexReads *indexes;
    uint32_t index_count;
} TableReads;

struct ReadSet {
    TableReads *tables;  // ascending id
    uint32_t table_count, table_cap;
    Arena keys;
    size_t array_bytes;
    uint64_t version;
    Buf *scratch;  // keys of a change at hand; behind a pointer so that asking keeps the set const
};

static const uint8_t no_bytes[1];

Err readset_new(ReadSet **out) {
    ReadSet *set = MEM_NEW(ReadSet);
    if (!set) return ERR_NOMEM;
    set->scratch = MEM_NEW(Buf);
    if (!set->scratch) {
        mem_free(set);
        return ERR_NOMEM;
    }
    *out = set;
    return OK;
}

static void indexes_free(TableReads *table) {
    for (uint32_t i = 0; i < table->index_count; i++) {
        mem_free(table->indexes[i].points);
        mem_free(table->indexes[i].ranges);
    }
    mem_free(table->indexes);
    table->indexes = NULL;
    table->index_count = 0;
}

void readset_clear(ReadSet *set) {
    for (uint32_t i = 0; i < set->table_count; i++) {
        indexes_free(&set->tables[i]);
    }
    set->table_count = 0;
    set->version++;
    set->array_bytes = 0;
    arena_reset(&set->keys);
}

void readset_free(ReadSet **handle) {
    ReadSet *set = *handle;
    *handle = NULL;
    if (!set) return;
    readset_clear(set);
    arena_deinit(&set->keys);
    buf_deinit(set->scratch);
    mem_free(set->scratch);
    mem_free(set->tables);
    mem_free(set);
}

uint64_t readset_version(const ReadSet *set) {
    return set->version;
}

size_t readset_bytes(const ReadSet *set) {
    return sizeof *set + set->table_cap * sizeof *set->tables + set->array_bytes +
           set->keys.used_bytes;
}

// ── finding the place ──────────────────────────────────────────────────────────────────────────

static uint32_t table_reads_search(const ReadSet *set, uint32_t table_id, bool *found) {
    uint32_t low = 0, high = set->table_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (set->tables[middle].table_id < table_id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *found = low < set->table_count && set->tables[low].table_id == table_id;
    return low;
}

static TableReads *reads_of_table(const ReadSet *set, uint32_t table_id) {
    bool found;
    uint32_t at = table_reads_search(set, table_id, &found);
    return found ? &set->tables[at] : NULL;
}

static TableReads *table_reads_make(ReadSet *set, uint32_t table_id) {
    bool found;
    uint32_t at = table_reads_search(set, table_id, &found);
    if (found) return &set->tables[at];
    if (set->table_count == set->table_cap) {
        uint32_t cap = set->table_cap ? set->table_cap * 2 : 4;
        TableReads *tables = mem_realloc(set->tables, cap * sizeof *tables);
        if (!tables) return NULL;
        set->tables = tables;
        set->table_cap = cap;
    }
    memmove(&set->tables[at + 1], &set->tables[at], (set->table_count - at) * sizeof *set->tables);
    set->tables[at] = (TableReads){.table_id = table_id};
    set->table_count++;
    return &set->tables[at];
}

static void account(ReadSet *set, TableReads *table, size_t bytes) {
    set->array_bytes += bytes;
    table->array_bytes += bytes;
}

static IndexReads *index_reads_make(ReadSet *set, TableReads *table, uint32_t index_id) {
    for (uint32_t i = 0; i < table->index_count; i++) {
        if (table->indexes[i].index_id == index_id) return &table->indexes[i];
    }
    IndexReads *indexes =
        mem_realloc(table->indexes, (table->index_count + 1) * sizeof *table->indexes);
    if (!indexes) return NULL;
    table->indexes = indexes;
    account(set, table, sizeof *indexes);
    indexes[table->index_count] = (IndexReads){.index_id = index_id};
    return &indexes[table->index_count++];
}

static void widen_to_table(ReadSet *set, TableReads *table) {
    indexes_free(table);
    set->array_bytes -= table->array_bytes;
    table->array_bytes = table->key_bytes = 0;
    table->whole = true;
}

static bool key_copy(ReadSet *set, TableReads *table, Bytes key, Bytes *out) {
    if (key.len == 0) {
        *out = BYTES(no_bytes, 0);
        return true;
    }
    *out = arena_bytes(&set->keys, key);
    if (!out->ptr) return false;
    table->key_bytes += key.len;
    return true;
}

// ── points ─────────────────────────────────────────────────────────────────────────────────────

// The slot that holds the key, or the empty one where it belongs. There are empty slots.
static ReadPoint *point_slot(const IndexReads *reads, Bytes key, uint32_t hash) {
    uint32_t mask = reads->slot_count - 1;
    for (uint32_t at = hash & mask;; at = (at + 1) & mask) {
        ReadPoint *point = &reads->points[at];
        if (!point->ptr) return point;
        if (point->hash == hash && bytes_eq(BYTES(point->ptr, point->len), key)) return point;
    }
}

static bool points_grow(ReadSet *set, TableReads *table, IndexReads *reads) {
    if (reads->point_count < reads->slot_count / 4 * 3) return true;
    IndexReads bigger = *reads;
    bigger.slot_count = reads->slot_count ? reads->slot_count * 2 : 8;
    bigger.points = mem_zalloc(bigger.slot_count * sizeof *bigger.points);
    if (!bigger.points) return false;
    for (uint32_t i = 0; i < reads->slot_count; i++) {
        const ReadPoint *point = &reads->points[i];
        if (point->ptr) *point_slot(&bigger, BYTES(point->ptr, point->len), point->hash) = *point;
    }
    mem_free(reads->points);
    account(set, table, (bigger.slot_count - reads->slot_count) * sizeof *reads->points);
    *reads = bigger;
    return true;
}

static bool point_has(const IndexReads *reads, Bytes key) {
    return reads->point_count && point_slot(reads, key, (uint32_t)bytes_hash(key))->ptr;
}

// ── ranges ─────────────────────────────────────────────────────────────────────────────────────

// Whether `key` is below the end of a range.
static bool below_upper(Bytes key, Bytes upper) {
    return upper.len == 0 || bytes_cmp(key, upper) < 0;
}

// The first range that ends at or behind `key`: the only one that can contain it.
static uint32_t range_at_or_after(const IndexReads *reads, Bytes key) {
    uint32_t low = 0, high = reads->range_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        Bytes upper = reads->ranges[middle].upper;
        if (upper.len && bytes_cmp(upper, key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool range_has(const IndexReads *reads, Bytes key) {
    uint32_t at = range_at_or_after(reads, key);
    // One that ends exactly at the key does not contain it, and the next does not begin there (1).
    return at < reads->range_count && bytes_cmp(reads->ranges[at].lower, key) <= 0 &&
           below_upper(key, reads->ranges[at].upper);
}

static void ranges_halve(IndexReads *reads) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < reads->range_count; i += 2) {
        ReadSpan joined = reads->ranges[i];
        if (i + 1 < reads->range_count) joined.upper = reads->ranges[i + 1].upper;
        reads->ranges[kept++] = joined;
    }
    reads->range_count = kept;
}

static bool ranges_grow(ReadSet *set, TableReads *table, IndexReads *reads) {
    if (reads->range_count >= RANGES_MAX) ranges_halve(reads);
    if (reads->range_count < reads->range_cap) return true;
    uint32_t cap = reads->range_cap ? reads->range_cap * 2 : 4;
    ReadSpan *ranges = mem_realloc(reads->ranges, cap * sizeof *ranges);
    if (!ranges) return false;
    account(set, table, (cap - reads->range_cap) * sizeof *ranges);
    reads->ranges = ranges;
    reads->range_cap = cap;
    return true;
}

// Replace ranges [first, end) by one.
static void ranges_splice(IndexReads *reads, uint32_t first, uint32_t end, ReadSpan by) {
    memmove(&reads->ranges[first + 1],
            &reads->ranges[end],
            (reads->range_count - end) * sizeof *reads->ranges);
    reads->range_count = reads->range_count - (end - first) + 1;
    reads->ranges[first] = by;
}

static bool range_add(ReadSet *set,
                      TableReads *table,
                      IndexReads *reads,
                      Bytes lower,
                      Bytes upper) {
    if (!ranges_grow(set, table, reads)) return false;
    uint32_t first = range_at_or_after(reads, lower), end = first;
    while (end < reads->range_count &&
           (upper.len == 0 || bytes_cmp(reads->ranges[end].lower, upper) <= 0)) {
        end++;
    }
    ReadSpan span = {0};
    bool has_lower = false, has_upper = false;
    if (end > first) {
        ReadSpan left = reads->ranges[first], right = reads->ranges[end - 1];
        has_lower = bytes_cmp(left.lower, lower) <= 0;
        has_upper = right.upper.len == 0 || (upper.len && bytes_cmp(upper, right.upper) <= 0);
        if (has_lower) span.lower = left.lower;
        if (has_upper) span.upper = right.upper;
        if (has_lower && has_upper && end == first + 1) return true;
    }
    if (!has_lower && !key_copy(set, table, lower, &span.lower)) return false;
    if (!has_upper && !key_copy(set, table, upper, &span.upper)) return false;
    ranges_splice(reads, first, end, span);
    set->version++;
    return true;
}

// ── adding ─────────────────────────────────────────────────────────────────────────────────────

Err readset_table(ReadSet *set, uint32_t table_id) {
    TableReads *table = table_reads_make(set, table_id);
    if (!table) return ERR_NOMEM;
    if (!table->whole) set->version++;
    widen_to_table(set, table);
    return OK;
}

static void bound_table(ReadSet *set, TableReads *table) {
    if (UNLIKELY(table->array_bytes + table->key_bytes > TABLE_BYTES_MAX))
        widen_to_table(set, table);
}

Err readset_point(ReadSet *set, uint32_t table_id, uint32_t index_id, Bytes key) {
    TableReads *table = table_reads_make(set, table_id);
    if (!table) return ERR_NOMEM;
    if (table->whole) return OK;
    IndexReads *reads = index_reads_make(set, table, index_id);
    if (!reads || !points_grow(set, table, reads)) return ERR_NOMEM;
    uint32_t hash = (uint32_t)bytes_hash(key);
    ReadPoint *point = point_slot(reads, key, hash);
    if (point->ptr || range_has(reads, key)) return OK;
    Bytes kept;
    buf_clear(set->scratch);
    if (!buf_reserve(set->scratch, key.len))
        return ERR_NOMEM;  // for point_each, which must not fail
    if (!key_copy(set, table, key, &kept)) return ERR_NOMEM;
    *point = (ReadPoint){.ptr = kept.ptr, .len = (uint32_t)kept.len, .hash = hash};
    reads->point_count++;
    set->version++;
    bound_table(set, table);
    return OK;
}

Err readset_range(ReadSet *set, uint32_t table_id, uint32_t index_id, Bytes lower, Bytes upper) {
    if (lower.len == 0 && upper.len == 0) return readset_table(set, table_id);
    if (upper.len && bytes_cmp(lower, upper) >= 0) return OK;  // nothing can be inside
    TableReads *table = table_reads_make(set, table_id);
    if (!table) return ERR_NOMEM;
    if (table->whole) return OK;
    IndexReads *reads = index_reads_make(set, table, index_id);
    if (!reads || !range_add(set, table, reads, lower, upper)) return ERR_NOMEM;
    bound_table(set, table);
    return OK;
}

// ── asking ─────────────────────────────────────────────────────────────────────────────────────

static bool key_hits(const IndexReads *reads, Bytes key) {
    return point_has(reads, key) || (reads->range_count && range_has(reads, key));
}

static bool row_hits(const IndexReads *reads,
                     const Table *table,
                     const StoreIndexInfo *index,
                     Bytes row,
                     Buf *scratch) {
    if (!row.ptr) return false;
    buf_clear(scratch);
    key_append_columns(scratch, table_layout(table), row, index->columns, index->column_count);
    return !buf_ok(scratch) || key_hits(reads, buf_bytes(scratch));
}

static bool index_hits(const IndexReads *reads, const TxnChange *change, Buf *scratch) {
    if (reads->index_id == TABLE_ROWS) {
        return key_hits(reads, table_key_stem(change->table, change->key));
    }
    StoreIndexInfo index;
    if (!table_index(change->table, reads->index_id, &index)) return true;
    return row_hits(reads, change->table, &index, change->old_row, scratch) ||
           row_hits(reads, change->table, &index, change->new_row, scratch);
}

bool readset_hit(const ReadSet *set, const TxnChange *change) {
    const TableReads *table = reads_of_table(set, change->table_id);
    if (!table) return false;
    if (table->whole || change->is_clear) return true;
    for (uint32_t i = 0; i < table->index_count; i++) {
        if (index_hits(&table->indexes[i], change, set->scratch)) return true;
    }
    return false;
}

bool readset_reads_table(const ReadSet *set, uint32_t table_id) {
    return reads_of_table(set, table_id) != NULL;
}

// ── walking ────────────────────────────────────────────────────────────────────────────────────

static bool point_each(const ReadSet *set,
                       uint32_t table_id,
                       uint32_t index_id,
                       Bytes key,
                       ReadSetEach each,
                       void *ctx) {
    Buf *upper = set->scratch;
    buf_clear(upper);
    buf_put_bytes(upper, key);
    if (!key_successor(upper)) buf_clear(upper);
    ASSERT(buf_ok(upper));  // readset_point made room
    ReadRange range = {table_id, index_id, key, buf_bytes(upper), true};
    return each(ctx, table_id, &range);
}

static bool index_each(const ReadSet *set,
                       uint32_t table_id,
                       const IndexReads *reads,
                       ReadSetEach each,
                       void *ctx) {
    for (uint32_t i = 0; i < reads->slot_count; i++) {
        const ReadPoint *point = &reads->points[i];
        if (!point->ptr) continue;
        Bytes key = BYTES(point->ptr, point->len);
        if (!point_each(set, table_id, reads->index_id, key, each, ctx)) return false;
    }
    for (uint32_t i = 0; i < reads->range_count; i++) {
        const ReadSpan *span = &reads->ranges[i];
        ReadRange range = {table_id, reads->index_id, span->lower, span->upper, false};
        if (!each(ctx, table_id, &range)) return false;
    }
    return true;
}

void readset_each(const ReadSet *set, ReadSetEach each, void *ctx) {
    for (uint32_t t = 0; t < set->table_count; t++) {
        if (set->tables[t].whole && !each(ctx, set->tables[t].table_id, NULL)) return;
    }
    for (uint32_t t = 0; t < set->table_count; t++) {
        const TableReads *table = &set->tables[t];
        for (uint32_t i = 0; i < table->index_count; i++) {
            if (!index_each(set, table->table_id, &table->indexes[i], each, ctx)) return;
        }
    }
}

typedef struct Copy {
    ReadSet *into;
    Err err;
} Copy;

static bool copy_one(void *ctx, uint32_t table_id, const ReadRange *range) {
    Copy *copy = ctx;
    if (!range) {
        copy->err = readset_table(copy->into, table_id);
    } else if (range->is_point) {
        copy->err = readset_point(copy->into, table_id, range->index_id, range->lower);
    } else {
        copy->err =
            readset_range(copy->into, table_id, range->index_id, range->lower, range->upper);
    }
    return copy->err == OK;
}

Err readset_copy(const ReadSet *set, ReadSet **out) {
    Copy copy = {0};
    Err err = readset_new(&copy.into);
    if (err != OK) return err;
    readset_each(set, copy_one, &copy);
    if (copy.err != OK) {
        readset_free(&copy.into);
        return copy.err;
    }
    *out = copy.into;
    return OK;
}
