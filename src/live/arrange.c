#include "live/arrange.h"

#include "base/mem.h"

typedef struct Entry Entry;
struct Entry {
    Entry *next;
    uint64_t hash;
    uint32_t key_len, place_len;
    uint8_t bytes[];  // key of the columns, clustering key
};

struct Arrangement {
    const Table *table;
    const RowLayout *layout;  // as it was when it was made
    ArrangeMemory *memory;
    Entry **buckets;
    uint64_t mask, count;
    Buf key, place;
    uint32_t column_count;
    uint16_t columns[];
};

static size_t entry_bytes(const Entry *entry) {
    return sizeof *entry + entry->key_len + entry->place_len + sizeof(Entry *);
}

static Err grow(Arrangement *a) {
    if (a->count <= a->mask) return OK;
    uint64_t size = (a->mask + 1) * 2;
    Entry **buckets = mem_zalloc(size * sizeof *buckets);
    if (!buckets) return ERR_NOMEM;
    for (uint64_t i = 0; i <= a->mask; i++) {
        for (Entry *entry = a->buckets[i], *next; entry; entry = next) {
            next = entry->next;
            entry->next = buckets[entry->hash & (size - 1)];
            buckets[entry->hash & (size - 1)] = entry;
        }
    }
    mem_free(a->buckets);
    a->buckets = buckets;
    a->mask = size - 1;
    return OK;
}

static Err key_of(Arrangement *a, Bytes row) {
    buf_clear(&a->key);
    key_append_columns(&a->key, a->layout, row, a->columns, a->column_count);
    return buf_ok(&a->key) ? OK : ERR_NOMEM;
}

static Err add(Arrangement *a, Bytes row, Bytes place) {
    Err err = key_of(a, row);
    if (err == OK) err = grow(a);
    if (err != OK) return err;
    Entry *entry = mem_alloc(sizeof *entry + a->key.len + place.len);
    if (!entry) return ERR_NOMEM;
    entry->hash = bytes_hash(buf_bytes(&a->key));
    entry->key_len = (uint32_t)a->key.len;
    entry->place_len = (uint32_t)place.len;
    if (a->key.len) memcpy(entry->bytes, a->key.ptr, a->key.len);
    if (place.len) memcpy(entry->bytes + a->key.len, place.ptr, place.len);
    Entry **bucket = &a->buckets[entry->hash & a->mask];
    entry->next = *bucket;
    *bucket = entry;
    a->count++;
    a->memory->used += entry_bytes(entry);
    return OK;
}

static Bytes entry_key(const Entry *entry) {
    return BYTES(entry->bytes, entry->key_len);
}
static Bytes entry_place(const Entry *entry) {
    return BYTES(entry->bytes + entry->key_len, entry->place_len);
}

static Err drop(Arrangement *a, Bytes row, Bytes place) {
    Err err = key_of(a, row);
    if (err != OK) return err;
    uint64_t hash = bytes_hash(buf_bytes(&a->key));
    Entry **link = &a->buckets[hash & a->mask];
    while (*link && !((*link)->hash == hash && bytes_eq(entry_place(*link), place) &&
                      bytes_eq(entry_key(*link), buf_bytes(&a->key)))) {
        link = &(*link)->next;
    }
    Entry *entry = *link;
    ASSERT(entry);
    *link = entry->next;
    a->count--;
    a->memory->used -= entry_bytes(entry);
    mem_free(entry);
    return OK;
}

Err arrangement_fill(Arrangement *a, const Snapshot *snapshot, const atomic_bool *stop) {
    TableScan scan;
    Bytes row;
    Err err = OK;
    uint64_t seen = 0;
    table_scan_begin(&scan, a->table, snapshot, TABLE_ROWS, BYTES_NONE, BYTES_NONE);
    while (err == OK && table_scan_next(&scan, &row)) {
        buf_clear(&a->place);
        table_scan_key(&scan, &a->place);
        err = buf_ok(&a->place) ? add(a, row, buf_bytes(&a->place)) : ERR_NOMEM;
        if (err == OK && a->memory->used > a->memory->max) err = ERR_LIMIT;
        if (++seen % TABLE_BREATHE_ROWS) continue;
        table_breathe(a->table, snapshot);
        if (stop && atomic_load_explicit(stop, memory_order_relaxed)) err = ERR_CLOSED;
    }
    if (err == OK) err = scan.err;
    table_scan_end(&scan);
    return err;
}

void arrangement_count_in(Arrangement *a, ArrangeMemory *memory) {
    a->memory = memory;
}

Err arrangement_new(const Table *table,
                    const uint16_t *columns,
                    uint32_t count,
                    ArrangeMemory *memory,
                    Arrangement **out) {
    Arrangement *a = mem_zalloc(sizeof *a + count * sizeof *columns);
    if (!a) return ERR_NOMEM;
    a->table = table;
    a->layout = table_layout(table);
    a->memory = memory;
    a->column_count = count;
    memcpy(a->columns, columns, count * sizeof *columns);
    a->mask = 15;
    a->buckets = mem_zalloc((a->mask + 1) * sizeof *a->buckets);
    if (a->buckets)
        *out = a;
    else
        arrangement_free(&a);
    return a ? OK : ERR_NOMEM;
}

void arrangement_free(Arrangement **arrangement) {
    Arrangement *a = *arrangement;
    if (!a) return;
    for (uint64_t i = 0; a->buckets && i <= a->mask; i++) {
        for (Entry *entry = a->buckets[i], *next; entry; entry = next) {
            next = entry->next;
            a->memory->used -= entry_bytes(entry);
            mem_free(entry);
        }
    }
    mem_free(a->buckets);
    buf_deinit(&a->key);
    buf_deinit(&a->place);
    mem_free(a);
    *arrangement = NULL;
}

bool arrangement_is_of(const Arrangement *a, const uint16_t *columns, uint32_t count) {
    return a->column_count == count && memcmp(a->columns, columns, count * sizeof *columns) == 0;
}

const uint16_t *arrangement_columns(const Arrangement *a) {
    return a->columns;
}

Err arrangement_change(Arrangement *a, bool adds, Bytes row, Bytes key) {
    return (adds ? add : drop)(a, row, key);
}

Err arrangement_apply(Arrangement *a, const LiveChange *change) {
    Err err = OK;
    if (change->is_event) return OK;
    if (change->old_row.ptr) err = drop(a, change->old_row, change->key);
    if (err == OK && change->new_row.ptr) err = add(a, change->new_row, change->key);
    return err;
}

const void *arrangement_first(const Arrangement *a, Bytes key) {
    return a->buckets[bytes_hash(key) & a->mask];
}

Err arrangement_next(const Arrangement *a, Bytes key, const void **at, Bytes *row) {
    *row = BYTES_NONE;
    for (const Entry *entry = *at; entry; entry = entry->next) {
        if (!bytes_eq(entry_key(entry), key)) continue;
        *at = entry->next;
        return table_get(a->table, NULL, entry_place(entry), row);
    }
    *at = NULL;
    return OK;
}
