#include "live/delta.h"

#include "live/arrange.h"

enum { FEW = 8 };  // changes of one table that are compared one by one

struct DeltaIndex {
    DeltaIndex *next;
    const uint16_t *columns;
    uint32_t column_count;
    uint64_t mask;
    uint32_t *first;   // hash of the columns' keys -> change + 1
    uint32_t *behind;  // of a change: the next one of its bucket
    uint64_t *hashes;
};

// ── the commit ─────────────────────────────────────────────────────────────────────────────────

static void set_put(uint32_t *slots, uint64_t mask, Bytes row, uint32_t value) {
    uint64_t at = bytes_hash(row) & mask;
    while (slots[at]) {
        at = (at + 1) & mask;
    }
    slots[at] = value;
}

static Err table_index_rows(Delta *delta, DeltaTable *table) {
    uint64_t size = 16;
    if (table->count <= FEW) return OK;
    while (size < table->count * 2) {
        size *= 2;
    }
    table->mask = size - 1;
    table->added = arena_array(&delta->arena, uint32_t, size);
    table->removed = arena_array(&delta->arena, uint32_t, size);
    if (!table->added || !table->removed) return ERR_NOMEM;
    for (size_t i = 0; i < table->count; i++) {
        const LiveChange *c = &table->changes[i];
        if (c->new_row.ptr) set_put(table->added, table->mask, c->new_row, (uint32_t)i + 1);
        if (c->old_row.ptr) set_put(table->removed, table->mask, c->old_row, (uint32_t)i + 1);
    }
    return OK;
}

Err delta_begin(Delta *delta, const LiveChange *changes, size_t count) {
    enum { KEEP_BYTES = 1 << 20 };
    if (delta->arena.used_bytes > KEEP_BYTES) arena_deinit(&delta->arena);
    arena_reset(&delta->arena);
    delta->count = 0;
    size_t tables = 0;
    for (size_t i = 0; i < count; i++)
        tables += i == 0 || changes[i].table_id != changes[i - 1].table_id;
    delta->tables = arena_array(&delta->arena, DeltaTable, tables);
    if (!delta->tables || count >= UINT32_MAX) return ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || changes[i].table_id != changes[i - 1].table_id)
            delta->tables[delta->count++] =
                (DeltaTable){.table_id = changes[i].table_id, .changes = &changes[i]};
        delta->tables[delta->count - 1].count++;
    }
    Err err = OK;
    for (size_t i = 0; err == OK && i < delta->count; i++)
        err = table_index_rows(delta, &delta->tables[i]);
    return err;
}

void delta_deinit(Delta *delta) {
    arena_deinit(&delta->arena);
}

DeltaTable *delta_table(const Delta *delta, uint32_t table_id) {
    size_t low = 0, high = delta->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (delta->tables[middle].table_id < table_id)
            low = middle + 1;
        else
            high = middle;
    }
    bool found = low < delta->count && delta->tables[low].table_id == table_id;
    return found ? &delta->tables[low] : NULL;
}

static Bytes side(const LiveChange *change, bool added) {
    return added ? change->new_row : change->old_row;
}

static bool has_row(const DeltaTable *table, bool added, Bytes row) {
    const uint32_t *slots = added ? table->added : table->removed;
    if (!slots) {
        for (size_t i = 0; i < table->count; i++) {
            Bytes other = side(&table->changes[i], added);
            if (other.ptr && bytes_eq(other, row)) return true;
        }
        return false;
    }
    for (uint64_t at = bytes_hash(row) & table->mask; slots[at]; at = (at + 1) & table->mask) {
        if (bytes_eq(side(&table->changes[slots[at] - 1], added), row)) return true;
    }
    return false;
}

bool delta_added(const DeltaTable *table, Bytes row) {
    return has_row(table, true, row);
}
bool delta_removed(const DeltaTable *table, Bytes row) {
    return has_row(table, false, row);
}

// ── rows that went, by their columns ───────────────────────────────────────────────────────────

static Err index_fill(Probe *p, DeltaIndex *index) {
    const DeltaTable *table = p->delta;
    for (size_t i = table->count; i-- > 0;) {  // so that a bucket begins with the first
        Bytes row = table->changes[i].old_row;
        if (!row.ptr) continue;
        buf_clear(&p->scratch);
        key_append_columns(&p->scratch, p->plan->layout, row, index->columns, index->column_count);
        if (!buf_ok(&p->scratch)) return ERR_NOMEM;
        index->hashes[i] = bytes_hash(buf_bytes(&p->scratch));
        uint32_t *first = &index->first[index->hashes[i] & index->mask];
        index->behind[i] = *first;
        *first = (uint32_t)i + 1;
    }
    return OK;
}

static Err index_obtain(Probe *p, Delta *delta, const DeltaIndex **out) {
    const ProbePlan *plan = p->plan;
    DeltaTable *table = p->delta;
    *out = NULL;
    if (table->count <= FEW || plan->column_count == 0) return OK;
    size_t bytes = plan->column_count * sizeof *plan->columns;
    for (*out = table->indexes; *out; *out = (*out)->next) {
        if ((*out)->column_count == plan->column_count &&
            memcmp((*out)->columns, plan->columns, bytes) == 0)
            return OK;
    }
    DeltaIndex *index = arena_new(&delta->arena, DeltaIndex);
    if (!index) return ERR_NOMEM;
    *index = (DeltaIndex){.columns = plan->columns,
                          .column_count = plan->column_count,
                          .mask = table->mask};
    index->first = arena_array(&delta->arena, uint32_t, table->mask + 1);
    index->behind = arena_array(&delta->arena, uint32_t, table->count);
    index->hashes = arena_array(&delta->arena, uint64_t, table->count);
    if (!index->first || !index->behind || !index->hashes) return ERR_NOMEM;
    Err err = index_fill(p, index);
    if (err != OK) return err;
    index->next = table->indexes;
    table->indexes = index;
    *out = index;
    return OK;
}

// ── probes ─────────────────────────────────────────────────────────────────────────────────────

static void open_head(Probe *p) {
    const ProbePlan *plan = p->plan;
    Bytes key = buf_bytes(&p->key);
    if (plan->arrangement) {
        p->entry = arrangement_first(plan->arrangement, key);
        return;
    }
    buf_clear(&p->upper);
    buf_put_bytes(&p->upper, key);
    bool bounded = plan->column_count > 0 && key_successor(&p->upper);
    if (!buf_ok(&p->upper)) {
        p->err = ERR_NOMEM;
        return;
    }
    table_scan_begin(&p->scan,
                     plan->table,
                     NULL,
                     plan->index_id,
                     plan->column_count ? key : BYTES_NONE,
                     bounded ? buf_bytes(&p->upper) : BYTES_NONE);
    p->scanning = true;
}

static void open_removed(Probe *p, Delta *delta) {
    p->err = index_obtain(p, delta, &p->delta_index);
    if (p->err != OK) return;
    p->delta_at = 1;
    if (p->delta_index)
        p->delta_at = p->delta_index->first[bytes_hash(buf_bytes(&p->key)) & p->delta_index->mask];
}

void probe_open(Probe *p, Delta *delta, const ProbePlan *plan, Version version) {
    probe_close(p);
    p->plan = plan;
    p->version = version;
    p->err = buf_ok(&p->key) ? OK : ERR_NOMEM;
    p->delta = version == NOW ? NULL : delta_table(delta, table_id(plan->table));
    p->delta_at = 0;
    p->entry = NULL;
    if (p->err == OK) open_head(p);
    if (p->err == OK && p->delta) open_removed(p, delta);
}

static bool head_next(Probe *p, Bytes *row) {
    if (p->plan->arrangement) {
        p->err = arrangement_next(p->plan->arrangement, buf_bytes(&p->key), &p->entry, row);
        return p->err == OK && row->ptr;
    }
    if (!p->scanning) return false;
    if (table_scan_next(&p->scan, row)) return true;
    p->err = p->scan.err;
    return false;
}

static bool has_key(Probe *p, Bytes row) {
    buf_clear(&p->scratch);
    key_append_columns(&p->scratch, p->plan->layout, row, p->plan->columns, p->plan->column_count);
    if (!buf_ok(&p->scratch)) p->err = ERR_NOMEM;
    return bytes_eq(buf_bytes(&p->scratch), buf_bytes(&p->key));
}

static bool removed_next(Probe *p, Bytes *row) {
    while (p->err == OK && p->delta_at > 0) {
        uint32_t at = p->delta_at - 1;
        if (p->delta_index)
            p->delta_at = p->delta_index->behind[at];
        else
            p->delta_at = at + 1 < p->delta->count ? at + 2 : 0;
        *row = p->delta->changes[at].old_row;
        if (row->ptr && has_key(p, *row)) return p->err == OK;
    }
    return false;
}

bool probe_next(Probe *p, Bytes *row) {
    while (p->err == OK && head_next(p, row)) {
        if (p->version != BEFORE || !p->delta || !delta_added(p->delta, *row)) return true;
    }
    return p->err == OK && removed_next(p, row);
}

void probe_close(Probe *p) {
    if (p->scanning) table_scan_end(&p->scan);
    p->scanning = false;
}

void probe_deinit(Probe *p) {
    probe_close(p);
    buf_deinit(&p->key);
    buf_deinit(&p->upper);
    buf_deinit(&p->scratch);
}
