#include "query/place.h"

#include "sats/key.h"

// ── choosing where to scan ─────────────────────────────────────────────────────────────────────

const QueryConjunct *place_equality(const Query *q, uint16_t column) {
    for (uint32_t i = 0; i < q->conjunct_count; i++) {
        const QueryConjunct *c = &q->conjuncts[i];
        if (c->column == column && c->op == QUERY_EQ) return c;
    }
    return NULL;
}

static bool has_range_on(const Query *q, uint16_t column) {
    for (uint32_t i = 0; i < q->conjunct_count; i++) {
        if (q->conjuncts[i].column == column && q->conjuncts[i].op != QUERY_EQ) return true;
    }
    return false;
}

QueryPath place_along(const Query *q, uint32_t index_id, const uint16_t *columns, uint32_t count) {
    QueryPath access = {.index_id = index_id, .columns = columns};
    while (access.equal < count && place_equality(q, columns[access.equal])) {
        access.equal++;
    }
    access.ranged = access.equal < count && has_range_on(q, columns[access.equal]);
    return access;
}

static void consider(const Query *q,
                     uint32_t index_id,
                     const uint16_t *columns,
                     uint32_t count,
                     QueryPath *best) {
    QueryPath access = place_along(q, index_id, columns, count);
    if (access.equal > best->equal || (access.equal == best->equal && access.ranged > best->ranged))
        *best = access;
}

QueryPath place_choose(const Query *q, const uint16_t *primary) {
    if (q->has_path) return q->path;
    const Table *table = q->table->table;
    QueryPath best = {.index_id = TABLE_ROWS};
    if (q->conjunct_count == 0) return best;
    // The clustered tree comes first: at equal merit it saves the step from key to row.
    if (q->table->primary_key >= 0) consider(q, TABLE_ROWS, primary, 1, &best);
    for (uint32_t i = 0; i < table_index_count(table); i++) {
        StoreIndexInfo index = table_index_at(table, i);
        consider(q, index.index_id, index.columns, index.column_count, &best);
    }
    return best;
}

// ── its bounds ─────────────────────────────────────────────────────────────────────────────────

// prefix ++ the parameter's key, stepped behind everything that begins with it when asked. False:
// there is no such key.
static bool bound_of(const Query *q,
                     const Buf *prefix,
                     const QueryConjunct *c,
                     bool step,
                     Buf *out) {
    buf_clear(out);
    buf_put_bytes(out, buf_bytes(prefix));
    buf_put_bytes(out, q->keys[c->param]);
    return !step || key_successor(out);
}

static void narrow(const Query *q, const Buf *prefix, const QueryConjunct *c, Bounds *b) {
    Buf bound = {0};
    bool is_lower = c->op == QUERY_GT || c->op == QUERY_GE;
    bool step = c->op == QUERY_GT || c->op == QUERY_LE;
    if (!bound_of(q, prefix, c, step, &bound)) {
        // Nothing is above: an upper bound says nothing, a lower one leaves no row, which
        // query_matches will find out.
    } else if (is_lower) {
        if (bytes_cmp(buf_bytes(&bound), buf_bytes(&b->lower)) > 0) {
            buf_clear(&b->lower);
            buf_put_bytes(&b->lower, buf_bytes(&bound));
        }
    } else if (b->unbounded || bytes_cmp(buf_bytes(&bound), buf_bytes(&b->upper)) < 0) {
        buf_clear(&b->upper);
        buf_put_bytes(&b->upper, buf_bytes(&bound));
        b->unbounded = false;
    }
    b->lower.failed |= bound.failed;
    buf_deinit(&bound);
}

static Err bounds_of(const Query *q, const QueryPath *access, Bounds *b) {
    Buf prefix = {0};
    for (uint32_t i = 0; i < access->equal; i++) {
        const QueryConjunct *c = place_equality(q, access->columns[i]);
        buf_put_bytes(&prefix, q->keys[c->param]);
    }
    buf_put_bytes(&b->lower, buf_bytes(&prefix));
    buf_put_bytes(&b->upper, buf_bytes(&prefix));
    b->unbounded = !key_successor(&b->upper);
    for (uint32_t i = 0; access->ranged && i < q->conjunct_count; i++) {
        const QueryConjunct *c = &q->conjuncts[i];
        if (c->column == access->columns[access->equal] && c->op != QUERY_EQ)
            narrow(q, &prefix, c, b);
    }
    bool ok = buf_ok(&prefix) && buf_ok(&b->lower) && buf_ok(&b->upper);
    buf_deinit(&prefix);
    return ok ? OK : ERR_NOMEM;
}

// ── together ───────────────────────────────────────────────────────────────────────────────────

Err place_at(const Query *q, const QueryPath *access, Place *place) {
    Err err = bounds_of(q, access, &place->bounds);
    const Bounds *b = &place->bounds;
    place->index_id = access->index_id;
    place->equal = access->equal;
    place->ranged = access->ranged;
    place->narrowed = access->equal > 0 || access->ranged;
    place->empty =
        err == OK && !b->unbounded && bytes_cmp(buf_bytes(&b->lower), buf_bytes(&b->upper)) >= 0;
    return err;
}

Err place_find(const Query *q, Place *place) {
    uint16_t primary = q->table->primary_key < 0 ? 0 : (uint16_t)q->table->primary_key;
    QueryPath access = place_choose(q, &primary);
    return place_at(q, &access, place);
}

Bytes place_upper(const Place *place) {
    return place->bounds.unbounded ? BYTES_NONE : buf_bytes(&place->bounds.upper);
}

void place_deinit(Place *place) {
    buf_deinit(&place->bounds.lower);
    buf_deinit(&place->bounds.upper);
}

// ── its rows ───────────────────────────────────────────────────────────────────────────────────

void rows_begin(RowsCursor *cursor, const Query *query, const Snapshot *snapshot) {
    cursor->query = query;
    cursor->snapshot = snapshot;
    cursor->place = (Place){0};
    cursor->open = false;
    cursor->err = OK;
    if (query->entry == QUERY_REJECT) return;
    cursor->err = place_find(query, &cursor->place);
    if (cursor->err != OK || cursor->place.empty) return;
    Bytes lower = buf_bytes(&cursor->place.bounds.lower), upper = place_upper(&cursor->place);
    table_scan_begin(&cursor->scan,
                     query->table->table,
                     snapshot,
                     cursor->place.index_id,
                     lower,
                     upper);
    cursor->open = true;
}

bool rows_next(RowsCursor *cursor, Bytes *row) {
    while (cursor->open) {
        // Before the next row is found, not after: the caller was done with the one before.
        if (++cursor->touched % TABLE_BREATHE_ROWS == 0) {
            table_breathe(cursor->query->table->table, cursor->snapshot);
            if (query_stopped(cursor->query)) {
                cursor->err = ERR_CLOSED;
                return false;
            }
        }
        if (!table_scan_next(&cursor->scan, row)) {
            cursor->touched--;
            break;
        }
        if (query_matches(cursor->query, *row)) return true;
    }
    if (cursor->open) cursor->err = cursor->scan.err;
    return false;
}

void rows_end(RowsCursor *cursor) {
    if (cursor->open) table_scan_end(&cursor->scan);
    cursor->open = false;
    place_deinit(&cursor->place);
    cursor->place = (Place){0};
}
