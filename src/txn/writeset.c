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
    if (want > set->slot_cap) {
        uint32_t *slots = mem_realloc(set->slots, want * sizeof *slots);
        if (!slots) return false;
        set->slots = slots;
        set->slot_cap = want;
    }
    set->slot_count = want;  // what a larger one before it needed is not cleared again
    memset(set->slots, 0, want * sizeof *set->slots);
    return true;
}

static bool change_is(const TxnChange *entry, const Change *change) {
    return entry->table == change->table && bytes_same(entry->key, change->key);
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
    if (entry->is_clear) return true;
    if (!entry->old_row.ptr && !entry->new_row.ptr) return false;
    return !(entry->old_row.ptr && entry->new_row.ptr &&
             bytes_same(entry->old_row, entry->new_row));
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

// ── clears ─────────────────────────────────────────────────────────────────────────────────────

// Of so many clears it is worth asking whether anything else happened to their tables.
#define WHOLE_CLEARS_MAX 16

typedef struct Collecting {
    WriteSet *set;
    Store *store;
    const Change *changes;
    size_t count;
    bool whole;  // entries for whole tables are wanted
    bool hashed;
} Collecting;

static bool is_whole(const Collecting *c, const Catalog *catalog, const StoreClear *clear) {
    const CatalogTable *table = catalog_table(catalog, table_id(clear->table));
    if (!c->whole || !table || table->is_event || table->is_view) return false;
    for (size_t i = 0; i < c->count; i++) {
        if (c->changes[i].table == clear->table) return false;
    }
    return true;
}

static void clear_each(void *ctx, const Change *change) {
    Collecting *c = ctx;
    entry_of(c->set, change, c->hashed)->new_row = BYTES_NONE;
}

static Err clear_collect(Collecting *c,
                         const Catalog *catalog,
                         const StoreClear *clear,
                         size_t position) {
    if (!is_whole(c, catalog, clear)) return store_clear_rows(c->store, position, clear_each, c);
    c->set->changes[c->set->count++] =
        (TxnChange){.table = clear->table, .table_id = table_id(clear->table), .is_clear = true};
    return OK;
}

// How many entries there can be.
static size_t entries_max(Collecting *c, const Catalog *catalog) {
    size_t position = 0, clears = 0, most = c->count;
    StoreClear clear;
    while (store_next_clear(c->store, &position, &clear))
        clears++;
    c->whole &= clears <= WHOLE_CLEARS_MAX;
    for (position = 0; store_next_clear(c->store, &position, &clear);)
        most += is_whole(c, catalog, &clear) ? 1 : clear.rows;
    return most;
}

// ── collecting ─────────────────────────────────────────────────────────────────────────────────

static Err entries_collect(Collecting *c, const Catalog *catalog) {
    const Change *changes = c->changes;
    TxnChange *entry = NULL;
    StoreClear clear;
    size_t position = 0;
    bool has_clear = store_next_clear(c->store, &position, &clear);
    for (size_t i = 0; i < c->count || has_clear; i++) {
        for (; has_clear && clear.changes == i; entry = NULL) {
            Err err = clear_collect(c, catalog, &clear, position);
            if (err != OK) return err;
            has_clear = store_next_clear(c->store, &position, &clear);
        }
        if (i == c->count) break;
        if (!entry || !same_key_bytes(&changes[i - 1], &changes[i]))
            entry = entry_of(c->set, &changes[i], c->hashed);
        entry->new_row = changes[i].kind == CHANGE_INSERT ? changes[i].row : BYTES_NONE;
    }
    return OK;
}

static bool entries_reserve(WriteSet *set, size_t most) {
    if (LIKELY(most <= set->cap)) return true;
    TxnChange *grown = mem_realloc(set->changes, most * sizeof *grown);
    if (!grown) return false;
    set->changes = grown;
    set->cap = most;
    return true;
}

// Few changes and no clear, as of nearly every call.
static Err few_collect(WriteSet *set, const Catalog *catalog, const Change *changes, size_t count) {
    TxnChange *entry = NULL;
    if (!entries_reserve(set, count)) return ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        if (!entry || !same_key_bytes(&changes[i - 1], &changes[i]))
            entry = entry_of(set, &changes[i], false);
        entry->new_row = changes[i].kind == CHANGE_INSERT ? changes[i].row : BYTES_NONE;
    }
    if (!net_keep(set, catalog)) sort_by_table(set->changes, set->count);
    return OK;
}

static Err collect(WriteSet *set, Store *store, const Catalog *catalog, bool whole) {
    Collecting c = {.set = set, .store = store, .whole = whole};
    size_t position = 0;
    StoreClear clear;
    c.changes = store_changes(store, &c.count);
    if (whole) set->of = c.count;
    c.count = set->of;
    set->count = 0;
    if (LIKELY(c.count <= LINEAR_MAX && !store_next_clear(store, &position, &clear)))
        return few_collect(set, catalog, c.changes, c.count);
    size_t most = entries_max(&c, catalog);
    if (most == 0) return OK;
    if (!entries_reserve(set, most)) return ERR_NOMEM;
    c.hashed = most > LINEAR_MAX;
    if (c.hashed && !slots_reserve(set, most)) return ERR_NOMEM;
    Err err = entries_collect(&c, catalog);
    if (err != OK) {
        set->count = 0;
        return err;
    }
    if (!net_keep(set, catalog)) sort_by_table(set->changes, set->count);
    return OK;
}

Err writeset_reserve(WriteSet *set, size_t more) {
    if (set->count + more <= set->cap) return OK;
    TxnChange *grown = mem_realloc(set->changes, (set->count + more) * sizeof *grown);
    if (!grown) return ERR_NOMEM;
    set->changes = grown;
    set->cap = set->count + more;
    return OK;
}

void writeset_add(WriteSet *set, const TxnChange *change) {
    size_t at = set->count++;
    ASSERT(set->count <= set->cap);
    for (; at > 0 && set->changes[at - 1].table_id > change->table_id; at--) {
        set->changes[at] = set->changes[at - 1];
    }
    set->changes[at] = *change;
}

bool change_is_logged_delete(const TxnChange *change) {
    if (!change->old_row.ptr || change->is_event || change->is_view) return false;
    if (!change->new_row.ptr) return true;
    return table_primary_column(change->table) < 0 ||
           !table_uniques_same(change->table, change->old_row, change->new_row);
}

Err writeset_collect(WriteSet *set, Store *store, const Catalog *catalog) {
    return collect(set, store, catalog, true);
}

Err writeset_collect_rows(WriteSet *set, Store *store, const Catalog *catalog) {
    return collect(set, store, catalog, false);
}

bool writeset_has_clear(const WriteSet *set) {
    for (size_t i = 0; i < set->count; i++) {
        if (set->changes[i].is_clear) return true;
    }
    return false;
}
