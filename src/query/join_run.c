// join_run.c: a join's rows one after another, by walking its steps back and forth.
//
// PICTURE
//   step 0   scan a      row ─┐
//   step 1   look up b        ├─ row ─┐        forward: a row was found, open the next step
//   step 2   hash c                   └─ row   back:    none is left, the step before goes on
//
//   One position for each step is all the state there is, so 200 relations cost 200 positions and
//   no C stack. Rows of a step are copied before a later step may let go of the page they lie in.
#include "base/mem.h"
#include "query/plan.h"
#include "sats/key.h"

typedef struct HashRow HashRow;
struct HashRow {
    HashRow *next;
    uint64_t hash;
    uint32_t key_len, row_len;
    uint8_t bytes[];  // key, row
};

typedef struct HashTable {
    Arena arena;
    HashRow **buckets;
    uint64_t mask, count;
    bool built;
} HashTable;

typedef struct PlanValue {
    Bytes bytes;  // ptr NULL: there is none
} PlanValue;

typedef struct StepRun {
    RowsCursor cursor;  // SCAN, and to build HASH
    TableScan lookup;   // LOOKUP
    bool looking;
    uint64_t looked;
    Buf key, upper;  // LOOKUP and HASH
    HashTable hash;
    const HashRow *chain;
    Buf kept;  // this step's row
    JoinRun **rules;
    bool given;    // STEP_GIVEN: still to come
    bool matched;  // LEFT JOIN: something was found
    bool ended;
    StepStats stats;
} StepRun;

struct JoinRun {
    const Join *join;
    const Snapshot *snapshot;
    PlanMemory *memory;
    StepRun *steps;
    Bytes *rows;  // by relation
    PlanValue *values;
    Bytes given;
    uint32_t at;  // the step to go on with
    bool begun, done;
    uint64_t tried;
    Err err;
};

Err plan_memory_take(PlanMemory *memory, size_t bytes) {
    memory->used += bytes;
    if (memory->used <= memory->max) return OK;
    return diag_fail(memory->diag,
                     ERR_INVALID,
                     "The query needs more than %zu MiB of memory",
                     memory->max >> 20);
}

static const PlanLeaf *leaf_of(const JoinRun *run, uint32_t at) {
    return &run->join->leaves[run->join->steps[at].relation];
}

// ── life ───────────────────────────────────────────────────────────────────────────────────────

static Err rules_new(JoinRun *run, uint32_t at) {
    const PlanLeaf *leaf = leaf_of(run, at);
    StepRun *step = &run->steps[at];
    if (leaf->rule_count == 0) return OK;
    step->rules = mem_zalloc(leaf->rule_count * sizeof *step->rules);
    if (!step->rules) return ERR_NOMEM;
    Err err = OK;
    for (uint32_t i = 0; err == OK && i < leaf->rule_count; i++)
        err = join_run_new(leaf->rules[i], run->snapshot, run->memory, &step->rules[i]);
    return err;
}

Err join_run_new(const Join *join, const Snapshot *snapshot, PlanMemory *memory, JoinRun **out) {
    JoinRun *run = MEM_NEW(JoinRun);
    if (!run) return ERR_NOMEM;
    run->join = join;
    run->snapshot = snapshot;
    run->memory = memory;
    run->steps = mem_zalloc(join->count * sizeof *run->steps);
    run->rows = mem_zalloc(join->count * sizeof *run->rows);
    run->values = mem_zalloc((join->node_max + 1) * sizeof *run->values);
    Err err = run->steps && run->rows && run->values ? OK : ERR_NOMEM;
    for (uint32_t at = 0; err == OK && at < join->count; at++)
        err = rules_new(run, at);
    if (err == OK)
        *out = run;
    else
        join_run_free(&run);
    return err;
}

static void step_close(StepRun *step) {
    rows_end(&step->cursor);
    if (step->looking) table_scan_end(&step->lookup);
    step->looking = false;
    step->chain = NULL;
}

void join_run_free(JoinRun **out) {
    JoinRun *run = *out;
    if (!run) return;
    for (uint32_t at = 0; run->steps && at < run->join->count; at++) {
        StepRun *step = &run->steps[at];
        step_close(step);
        for (uint32_t i = 0; step->rules && i < leaf_of(run, at)->rule_count; i++)
            join_run_free(&step->rules[i]);
        mem_free(step->rules);
        buf_deinit(&step->key);
        buf_deinit(&step->upper);
        buf_deinit(&step->kept);
        arena_deinit(&step->hash.arena);
        mem_free(step->hash.buckets);
    }
    mem_free(run->steps);
    mem_free(run->rows);
    mem_free(run->values);
    mem_free(run);
    *out = NULL;
}

void join_run_start(JoinRun *run, Bytes given) {
    for (uint32_t at = 0; at < run->join->count; at++)
        step_close(&run->steps[at]);
    run->given = given;
    run->begun = run->done = false;
    run->err = OK;
}

void join_run_skip(JoinRun *run) {
    run->at = 0;  // opening the steps behind it closes what they had found
}

Err join_run_err(const JoinRun *run) {
    return run->err;
}
Bytes join_run_row(const JoinRun *run, uint32_t relation) {
    return run->rows[relation];
}
StepStats join_run_stats(const JoinRun *run, uint32_t at) {
    StepStats stats = run->steps[at].stats;
    stats.touched += run->steps[at].cursor.touched;
    return stats;
}

Bytes join_run_value(const JoinRun *run, PlanColumn column) {
    Bytes row = run->rows[column.relation];
    if (!row.ptr) return BYTES_NONE;
    return row_column(run->join->leaves[column.relation].query->layout, row, column.column);
}

// ── conditions ─────────────────────────────────────────────────────────────────────────────────

static Bytes truth_bytes(bool value) {
    static const uint8_t truths[] = {0, 1};
    return BYTES(&truths[value], 1);
}

// Three-valued: ptr NULL is "cannot be said".
Bytes plan_and_or(Bytes a, Bytes b, bool is_and) {
    if (a.ptr && (a.ptr[0] != 0) != is_and) return a;  // it decides alone
    if (b.ptr && (b.ptr[0] != 0) != is_and) return b;
    return a.ptr ? b : a;
}

static Bytes node_value(const JoinRun *run, const PlanNode *nodes, const PlanNode *node) {
    Bytes a = node->kind >= SQL_COMPARE ? run->values[node->left].bytes : BYTES_NONE;
    switch (node->kind) {
    case SQL_BOOL:
    case SQL_LITERAL:
    case SQL_SENDER: return node->value;
    case SQL_COLUMN: return join_run_value(run, node->column);
    case SQL_COMPARE: {
        Bytes b = run->values[node->right].bytes;
        if (!a.ptr || !b.ptr) return BYTES_NONE;
        return truth_bytes(query_values_hold(nodes[node->left].type, node->op, a, b));
    }
    case SQL_AND:
    case SQL_OR: return plan_and_or(a, run->values[node->right].bytes, node->kind == SQL_AND);
    case SQL_NOT: return a.ptr ? truth_bytes(!a.ptr[0]) : a;
    case SQL_IS_NULL:
        if (!a.ptr) return truth_bytes(true);
        return truth_bytes(nodes[node->left].type->special == SPECIAL_OPTION && a.ptr[0] == 1);
    }
    UNREACHABLE();
}

static bool holds(const JoinRun *run, const PlanExpr *expr) {
    for (; expr; expr = expr->next) {
        for (uint32_t i = 0; i < expr->count; i++)
            run->values[i].bytes = node_value(run, expr->nodes, &expr->nodes[i]);
        Bytes result = run->values[expr->count - 1].bytes;
        if (!result.ptr || !result.ptr[0]) return false;
    }
    return true;
}

// May the caller see the row? (plan_leaf.c)
static bool allowed(JoinRun *run, uint32_t at, Bytes row) {
    const PlanLeaf *leaf = leaf_of(run, at);
    if (!leaf->allowed || query_matches(leaf->allowed, row)) return true;
    for (uint32_t i = 0; i < leaf->rule_count; i++) {
        JoinRun *rule = run->steps[at].rules[i];
        join_run_start(rule, row);
        if (join_run_next(rule)) return true;
        if (join_run_err(rule) == OK) continue;
        run->err = join_run_err(rule);
        return false;
    }
    return false;
}

// ── finding rows ───────────────────────────────────────────────────────────────────────────────

// The key of what relations before say. False: one of them is missing, so nothing equals it.
static bool key_build(JoinRun *run, const JoinStep *step, Buf *key) {
    const CatalogTable *table = run->join->leaves[step->relation].query->table;
    buf_clear(key);
    for (uint32_t i = 0; i < step->key_count; i++) {
        const StepKey *part = &step->keys[i];
        if (part->constant.ptr) {
            buf_put_bytes(key, part->constant);
            continue;
        }
        Bytes value = join_run_value(run, part->outer);
        if (!value.ptr) return false;
        key_append(key, table->columns[part->column].type, value.ptr);
    }
    if (!buf_ok(key)) run->err = ERR_NOMEM;
    return buf_ok(key);
}

static void lookup_open(JoinRun *run, uint32_t at) {
    const JoinStep *step = &run->join->steps[at];
    StepRun *s = &run->steps[at];
    const Query *q = leaf_of(run, at)->query;
    if (q->entry == QUERY_REJECT || !key_build(run, step, &s->key)) return;
    buf_clear(&s->upper);
    buf_put_bytes(&s->upper, buf_bytes(&s->key));
    bool bounded = key_successor(&s->upper);
    if (!buf_ok(&s->upper)) {
        run->err = ERR_NOMEM;
        return;
    }
    table_scan_begin(&s->lookup,
                     q->table->table,
                     run->snapshot,
                     step->index_id,
                     buf_bytes(&s->key),
                     bounded ? buf_bytes(&s->upper) : BYTES_NONE);
    s->looking = true;
}

static bool lookup_next(JoinRun *run, uint32_t at, Bytes *row) {
    StepRun *s = &run->steps[at];
    const Query *q = leaf_of(run, at)->query;
    while (s->looking) {
        if (++s->looked % TABLE_BREATHE_ROWS == 0) table_breathe(q->table->table, run->snapshot);
        if (!table_scan_next(&s->lookup, row)) {
            run->err = s->lookup.err;
            return false;
        }
        s->stats.touched++;
        if (query_matches(q, *row)) return true;
    }
    return false;
}

static Err hash_put(JoinRun *run, uint32_t at, Bytes row) {
    const JoinStep *step = &run->join->steps[at];
    StepRun *s = &run->steps[at];
    const Query *q = leaf_of(run, at)->query;
    buf_clear(&s->key);
    for (uint32_t i = 0; i < step->key_count; i++) {
        uint16_t column = step->keys[i].column;
        key_append(&s->key, q->table->columns[column].type, row_column(q->layout, row, column).ptr);
    }
    size_t bytes = sizeof(HashRow) + s->key.len + row.len;
    Err err = plan_memory_take(run->memory, bytes + sizeof(HashRow *));
    if (err != OK) return err;
    HashRow *entry = arena_alloc(&s->hash.arena, bytes);
    if (!entry || !buf_ok(&s->key)) return ERR_NOMEM;
    *entry = (HashRow){.hash = bytes_hash(buf_bytes(&s->key)),
                       .key_len = (uint32_t)s->key.len,
                       .row_len = (uint32_t)row.len};
    memcpy(entry->bytes, s->key.ptr, s->key.len);
    if (row.len) memcpy(entry->bytes + s->key.len, row.ptr, row.len);
    entry->next = s->hash.buckets ? s->hash.buckets[0] : NULL;
    s->hash.buckets[0] = entry;
    s->hash.count++;
    return OK;
}

// Rows were collected in one chain, newest first: now there is a bucket for each.
static Err hash_spread(HashTable *hash) {
    uint64_t size = 16;
    while (size < hash->count) {
        size *= 2;
    }
    HashRow **buckets = mem_zalloc(size * sizeof *buckets);
    if (!buckets) return ERR_NOMEM;
    for (HashRow *entry = hash->buckets[0], *next; entry; entry = next) {
        next = entry->next;
        HashRow **bucket = &buckets[entry->hash & (size - 1)];
        entry->next = *bucket;
        *bucket = entry;
    }
    mem_free(hash->buckets);
    hash->buckets = buckets;
    hash->mask = size - 1;
    return OK;
}

static Err hash_build(JoinRun *run, uint32_t at) {
    StepRun *s = &run->steps[at];
    Bytes row;
    s->hash.built = true;
    s->hash.buckets = mem_zalloc(sizeof *s->hash.buckets);
    if (!s->hash.buckets) return ERR_NOMEM;
    rows_begin(&s->cursor, leaf_of(run, at)->query, run->snapshot);
    Err err = OK;
    while (err == OK && rows_next(&s->cursor, &row)) {
        err = hash_put(run, at, row);
    }
    if (err == OK) err = s->cursor.err;
    rows_end(&s->cursor);
    return err == OK ? hash_spread(&s->hash) : err;
}

static void hash_open(JoinRun *run, uint32_t at) {
    StepRun *s = &run->steps[at];
    if (!s->hash.built) run->err = hash_build(run, at);
    if (run->err != OK || !key_build(run, &run->join->steps[at], &s->key)) return;
    s->chain = s->hash.buckets[bytes_hash(buf_bytes(&s->key)) & s->hash.mask];
}

static bool hash_next(JoinRun *run, uint32_t at, Bytes *row) {
    StepRun *s = &run->steps[at];
    for (; s->chain; s->chain = s->chain->next) {
        const HashRow *entry = s->chain;
        if (!bytes_eq(BYTES(entry->bytes, entry->key_len), buf_bytes(&s->key))) continue;
        *row = BYTES(entry->bytes + entry->key_len, entry->row_len);
        s->chain = entry->next;
        return true;
    }
    return false;
}

static void step_open(JoinRun *run, uint32_t at) {
    StepRun *s = &run->steps[at];
    step_close(s);
    s->matched = s->ended = false;
    switch (run->join->steps[at].access) {
    case STEP_GIVEN: s->given = true; break;
    case STEP_SCAN: rows_begin(&s->cursor, leaf_of(run, at)->query, run->snapshot); break;
    case STEP_LOOKUP: lookup_open(run, at); break;
    case STEP_HASH: hash_open(run, at); break;
    }
}

static bool given_next(JoinRun *run, uint32_t at, Bytes *row) {
    StepRun *s = &run->steps[at];
    bool comes = s->given;
    s->given = false;
    *row = run->given;
    return comes && query_matches(leaf_of(run, at)->query, *row);
}

static bool scan_next(JoinRun *run, uint32_t at, Bytes *row) {
    RowsCursor *cursor = &run->steps[at].cursor;
    if (rows_next(cursor, row)) return true;
    run->err = cursor->err;
    return false;
}

static bool candidate(JoinRun *run, uint32_t at, Bytes *row) {
    switch (run->join->steps[at].access) {
    case STEP_GIVEN: return given_next(run, at, row);
    case STEP_SCAN: return scan_next(run, at, row);
    case STEP_LOOKUP: return lookup_next(run, at, row);
    case STEP_HASH: return hash_next(run, at, row);
    }
    UNREACHABLE();
}

// Where the row may stay while others are found; in place if nobody comes after it.
static Bytes keep(JoinRun *run, uint32_t at, Bytes row) {
    static const uint8_t empty[1];
    StepRun *s = &run->steps[at];
    if (row.len == 0) return BYTES(empty, 0);  // a row without bytes is not a missing one
    bool last = at + 1 == run->join->count && leaf_of(run, at)->rule_count == 0;
    StepAccess access = run->join->steps[at].access;
    if (last || access == STEP_HASH || access == STEP_GIVEN) return row;
    buf_clear(&s->kept);
    buf_put_bytes(&s->kept, row);
    if (!buf_ok(&s->kept)) run->err = ERR_NOMEM;
    return buf_bytes(&s->kept);
}

static bool is_stopped(JoinRun *run) {
    const atomic_bool *stop = run->memory->stop;
    if (!stop || !atomic_load_explicit(stop, memory_order_relaxed)) return false;
    run->err = ERR_CLOSED;
    return true;
}

// Every so many tries: is somebody tired of it?
static bool is_over(JoinRun *run) {
    uint64_t most = run->memory->tries_max;
    if (most && run->tried > most) run->err = ERR_AGAIN;
    return run->err != OK || is_stopped(run);
}

// The next row of a step that fits those before it. False: there is none, or run->err.
static bool step_next(JoinRun *run, uint32_t at) {
    const JoinStep *step = &run->join->steps[at];
    StepRun *s = &run->steps[at];
    Bytes row;
    while (!s->ended && candidate(run, at, &row)) {
        if (++run->tried % TABLE_BREATHE_ROWS == 0 && is_over(run)) return false;
        Bytes kept = keep(run, at, row);
        run->rows[step->relation] = kept;
        if (run->err != OK) return false;
        bool fits = holds(run, step->on) && allowed(run, at, kept);
        if (run->err != OK) return false;
        if (!fits) continue;
        s->matched = true;
        if (holds(run, step->filter)) return true;
    }
    if (run->err != OK || s->ended) return false;
    s->ended = true;
    run->rows[step->relation] = BYTES_NONE;
    return step->left && !s->matched && holds(run, step->filter);
}

bool join_run_next(JoinRun *run) {
    uint32_t count = run->join->count;
    if (run->done || run->err != OK) return false;
    if (!run->begun) {
        run->begun = true;
        run->at = 0;
        step_open(run, 0);
    }
    while (run->err == OK) {
        if (step_next(run, run->at)) {
            run->steps[run->at].stats.kept++;
            if (run->at + 1 == count) return true;
            step_open(run, ++run->at);
        } else if (run->at == 0) {
            break;
        } else {
            run->at--;
        }
    }
    run->done = true;
    return false;
}
