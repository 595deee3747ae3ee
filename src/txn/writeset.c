#include "txn/writeset.h"

#include <stdlib.h>

#include "base/mem.h"

// Few changes are compared one with another; beyond this a hash table finds the entry of a key.
#define LINEAR_MAX 16

void writeset_deinit(WriteSet *set) {
    mem_free(set->changes);
    mem_free(set->slots);
    *set = (WriteSet){0};
}

static uint64_t change_hash(const Table *table, Bytes key) {
    return bytes_hash(key) ^ (uint64_t)table_id(table) * 0x9e3779b97f4a7c15u;
}

static bool slots_reserve(WriteSet *set, size_t changes) {
    size_t want = 64;
    while (want < changes * 2) {
        want *= 2;
    }
    if (want > set->slot_count) {
        uint32_t *slots = mem_realloc(set->slots, want * sizeof *slots);
        if (!slots) return false;
        set->slots = slots;
        set->slot_count = want;
    }
    memset(set->slots, 0, set->slot_count * sizeof *set->slots);
    return true;
}

static bool change_is(const TxnChange *entry, const Change *change) {
    return entry->table == change->table && bytes_eq(entry->key, change->key);
}

// The entry of the row that `change` concerns; a new, empty one when it was not touched before.
static TxnChange *entry_of(WriteSet *set, const Change *change, bool hashed) {
    if (!hashed) {
        for (size_t i = 0; i < set->count; i++) {
            if (change_is(&set->changes[i], change)) return &set->changes[i];
        }
    } else {
        size_t slot = change_hash(change->table, change->key) & (set->slot_count - 1);
        for (; set->slots[slot]; slot = (slot + 1) & (set->slot_count - 1)) {
            TxnChange *entry = &set->changes[set->slots[slot] - 1];
            if (change_is(entry, change)) return entry;
        }
        set->slots[slot] = (uint32_t)set->count + 1;
    }
    TxnChange *entry = &set->changes[set->count++];
    *entry = (TxnChange){.table = change->table,
                         .table_id = table_id(change->table),
                         .key = change->key};
    if (change->kind == CHANGE_DELETE) entry->old_row = change->row;
    return entry;
}

static bool change_is_net(const TxnChange *entry) {
    if (!entry->old_row.ptr && !entry->new_row.ptr) return false;
    return !(entry->old_row.ptr && entry->new_row.ptr && bytes_eq(entry->old_row, entry->new_row));
}

// The two halves of a replacement: one key, not two that are alike.
static bool same_key_bytes(const Change *a, const Change *b) {
    return a->key.ptr == b->key.ptr && a->key.len == b->key.len && a->table == b->table;
}

// Keep what is different afterwards. True: its tables ascend.
static bool net_keep(WriteSet *set, const Catalog *catalog) {
    size_t kept = 0;
    bool ascends = true;
    const CatalogTable *table = NULL;
    for (size_t i = 0; i < set->count; i++) {
        TxnChange *entry = &set->changes[i];
        if (!change_is_net(entry)) continue;
        if (!table || table->table_id != entry->table_id)
            table = catalog_table(catalog, entry->table_id);
        entry->is_event = table && table->is_event;
        entry->is_view = table && table->is_view;
        ascends &= kept == 0 || set->changes[kept - 1].table_id <= entry->table_id;
        if (kept != i) set->changes[kept] = *entry;
        kept++;
    }
    set->count = kept;
    return ascends;
}

static int by_table(const void *a, const void *b) {
    const TxnChange *x = a, *y = b;
    return x->table_id < y->table_id ? -1 : x->table_id > y->table_id;
}

// Few by insertion: rows keep the order in which they were first touched.
static void sort_by_table(TxnChange *changes, size_t count) {
    if (count > 64) {
        qsort(changes, count, sizeof *changes, by_table);
        return;
    }
    for (size_t i = 1; i < count; i++) {
        TxnChange moving = changes[i];
        size_t at = i;
        for (; at > 0 && changes[at - 1].table_id > moving.table_id; at--) {
            changes[at] = changes[at - 1];
        }
        changes[at] = moving;
    }
}

Err writeset_collect(WriteSet *set, const Store *store, const Catalog *catalog) {
    size_t count;
    const Change *changes = store_changes(store, &count);
    set->count = 0;
    if (count == 0) return OK;
    if (count > set->cap) {
        TxnChange *grown = mem_realloc(set->changes, count * sizeof *grown);
        if (!grown) return ERR_NOMEM;
        set->changes = grown;
        set->cap = count;
    }
    bool hashed = count > LINEAR_MAX;
    if (hashed && !slots_reserve(set, count)) return ERR_NOMEM;

    TxnChange *entry = NULL;
    for (size_t i = 0; i < count; i++) {
        if (!entry || !same_key_bytes(&changes[i - 1], &changes[i]))
            entry = entry_of(set, &changes[i], hashed);
        entry->new_row = changes[i].kind == CHANGE_INSERT ? changes[i].row : BYTES_NONE;
    }
    if (!net_keep(set, catalog)) sort_by_table(set->changes, set->count);
    return OK;
}
