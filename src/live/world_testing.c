#include "live/world_testing.h"

#include <stdio.h>
#include <stdlib.h>

static void expect_ok(Err err) {
    ASSERT(err == OK);
}

// ── bags of rows ──

static BagEntry *bag_entry(Bag *bag, uint32_t table, Bytes row) {
    for (size_t i = 0; i < bag->count; i++) {
        if (bag->entries[i].table == table && bytes_eq(bag->entries[i].row, row))
            return &bag->entries[i];
    }
    if (bag->count == bag->cap) {
        bag->cap = bag->cap ? bag->cap * 2 : 16;
        bag->entries = realloc(bag->entries, bag->cap * sizeof *bag->entries);
    }
    uint8_t *copy = malloc(row.len + 1);
    ASSERT(bag->entries && copy);
    memcpy(copy, row.ptr, row.len);
    bag->entries[bag->count] = (BagEntry){table, {copy, row.len}, 0};
    return &bag->entries[bag->count++];
}

bool bag_add(Bag *bag, uint32_t table, Bytes row, int64_t by) {
    BagEntry *entry = bag_entry(bag, table, row);
    entry->count += by;
    bool ok = entry->count >= 0;
    if (entry->count == 0) {
        free((void *)entry->row.ptr);
        *entry = bag->entries[--bag->count];
    }
    return ok;
}

void bag_clear(Bag *bag) {
    for (size_t i = 0; i < bag->count; i++) {
        free((void *)bag->entries[i].row.ptr);
    }
    free(bag->entries);
    *bag = (Bag){0};
}

bool bag_eq(Bag *a, Bag *b) {
    if (a->count != b->count) return false;
    for (size_t i = 0; i < a->count; i++) {
        const BagEntry *x = &a->entries[i];
        size_t before = b->count;
        const BagEntry *y = bag_entry(b, x->table, x->row);
        if (b->count != before || y->count != x->count) return false;
    }
    return true;
}

// ── the world: a store, a catalog, the live queries ────────────────────────────────────────────

uint64_t world_random(World *w, uint64_t below) {
    w->seed = w->seed * 6364136223846793005u + 1442695040888963407u;
    return (w->seed >> 33) % below;
}

World world_open(void) {
    World w = {.fake = fake_new()};
    expect_ok(store_open(&(StoreOptions){.address_bytes = (uint64_t)1 << 31}, &w.store));
    const Type *u64 = type_simple(TYPE_U64), *u32 = type_simple(TYPE_U32);
    const Type *string = type_simple(TYPE_STRING), *boolean = type_simple(TYPE_BOOL);
    w.tables[USERS] = FAKE_TABLE(w.fake,
                                 "users",
                                 {"id", u64, NULL},
                                 {"room", u32, NULL},
                                 {"name", string, NULL},
                                 {"flag", boolean, NULL},
                                 {"owner", type_special(SPECIAL_IDENTITY), NULL});
    w.tables[NOTES] =
        FAKE_TABLE(w.fake, "notes", {"x", u32, NULL}, {"y", u32, NULL}, {"s", string, NULL});
    w.tables[EVENTS] = FAKE_TABLE(w.fake, "events", {"id", u64, NULL}, {"k", u32, NULL});
    w.tables[EVENTS]->is_event = true;
    w.tables[SECRET] = FAKE_TABLE(w.fake, "secret", {"answer", u32, NULL});
    w.tables[SECRET]->is_public = false;
    store_begin(w.store);
    fake_store_table(w.tables[USERS], w.store, 0, (const char *const[]){"1"}, 1);
    fake_store_table(w.tables[NOTES], w.store, -1, (const char *const[]){"01"}, 1);
    fake_store_table(w.tables[EVENTS], w.store, 0, NULL, 0);
    fake_store_table(w.tables[SECRET], w.store, 0, NULL, 0);
    store_commit(w.store);
    expect_ok(live_open(&w.fake->door, NULL, &w.live));
    return w;
}

void world_close(World *w) {
    live_close(&w->live);
    store_close(&w->store);
    fake_free(&w->fake);
}

static uint32_t table_named(const World *w, Str name) {
    for (uint32_t i = 0; i < TABLES; i++) {
        if (str_eq(w->tables[i]->name, name)) return i;
    }
    UNREACHABLE();
}

// False when a count went below zero.
bool rows_apply(Bag *bag, uint32_t table, Bytes list, int64_t by) {
    Reader r = reader_of(list);
    uint8_t hint = reader_u8(&r);
    uint32_t each = hint == 0 ? reader_u16(&r) : 0;
    uint32_t count = hint == 1 ? reader_u32(&r) : 0;
    Bytes offsets = hint == 1 ? reader_take(&r, (size_t)count * 8) : BYTES_NONE;
    Bytes rows = reader_lp(&r);
    ASSERT(reader_ok(&r) && r.in.len == 0 && hint <= 1);
    if (hint == 0) count = (uint32_t)rows.len / each;
    bool ok = true;
    for (uint32_t i = 0; i < count; i++) {
        size_t at = hint == 0 ? (size_t)i * each : load_u64(offsets.ptr + i * 8);
        size_t end = rows.len;
        if (hint == 0)
            end = at + each;
        else if (i + 1 < count)
            end = load_u64(offsets.ptr + (i + 1) * 8);
        ok &= bag_add(bag, table, (Bytes){rows.ptr + at, end - at}, by);
    }
    return ok;
}

// ── clients as an SDK would keep them ──────────────────────────────────────────────────────────

void sim_open(World *w, SimClient *c, uint8_t identity) {
    *c = (SimClient){.caller.identity.le[0] = identity};
    expect_ok(live_client_open(w->live, c, &c->caller, &c->client));
}

static SimSet *sim_set(SimClient *c, uint32_t id) {
    for (uint32_t i = 0; i < SETS; i++) {
        if (c->sets[i].live && c->sets[i].id == id) return &c->sets[i];
    }
    return NULL;
}

void sim_close(SimClient *c) {
    live_client_close(&c->client);
    for (uint32_t i = 0; i < SETS; i++) {
        bag_clear(&c->sets[i].rows);
    }
}

static void sim_apply_rows(World *w,
                           SimSet *set,
                           const LiveRows *rows,
                           uint32_t count,
                           int64_t by) {
    for (uint32_t i = 0; i < count; i++) {
        ASSERT(rows_apply(&set->rows, table_named(w, rows[i].table_name), rows[i].rows, by));
    }
}

Err sim_subscribe(World *w, SimClient *c, SimSet *set, Diag *diag) {
    Str texts[QUERIES];
    const LiveRows *rows;
    uint32_t count;
    for (uint32_t i = 0; i < set->count; i++) {
        texts[i] = str_from(set->texts[i]);
    }
    Err err = live_subscribe(c->client, set->id, texts, set->count, &rows, &count, diag);
    if (err != OK) return err;
    set->live = true;
    set->events = 0;
    sim_apply_rows(w, set, rows, count, 1);
    return OK;
}

SimSet *sim_subscribe_texts(World *w, SimClient *c, uint32_t id, const char *const *texts) {
    SimSet *set = c->sets;
    while (set->live) {
        set++;
    }
    set->id = id;
    for (set->count = 0; texts[set->count]; set->count++) {
        ASSERT(strlen(texts[set->count]) < TEXT);
        strcpy(set->texts[set->count], texts[set->count]);
    }
    Diag diag;
    diag_clear(&diag);
    Err err = sim_subscribe(w, c, set, &diag);
    if (err != OK) fprintf(stderr, "%s\n", diag.text);
    ASSERT(err == OK);
    return set;
}

void sim_unsubscribe(World *w, SimClient *c, SimSet *set, bool want_rows) {
    const LiveRows *rows;
    uint32_t count;
    Diag diag;
    expect_ok(live_unsubscribe(c->client, set->id, want_rows, &rows, &count, &diag));
    if (want_rows) {
        sim_apply_rows(w, set, rows, count, -1);
        ASSERT(set->rows.count == 0);  // exactly what it held
    } else {
        ASSERT(count == 0);
    }
    bag_clear(&set->rows);
    set->live = false;
}

// One message: per set all inserts, then all deletes; order and shape as the protocol wants them.
void sim_update(World *w, const LiveUpdate *update) {
    SimClient *c = update->owner;
    c->heard++;
    ASSERT(update->set_count > 0);
    for (uint32_t i = 0; i < update->set_count; i++) {
        const LiveSetDelta *now = &update->sets[i], *before = i ? &update->sets[i - 1] : NULL;
        if (before) {
            ASSERT(before->query_set <= now->query_set);
            if (before->query_set == now->query_set)
                ASSERT(bytes_cmp(str_bytes(before->delta->table_name),
                                 str_bytes(now->delta->table_name)) <= 0);
        }
        SimSet *set = sim_set(c, now->query_set);
        ASSERT(set);
        uint32_t table = table_named(w, now->delta->table_name);
        ASSERT(now->delta->is_event == (table == EVENTS));
        if (now->delta->is_event) {
            Bag events = {0};
            ASSERT(rows_apply(&events, table, now->delta->inserts, 1) && events.count > 0);
            for (size_t e = 0; e < events.count; e++) {
                set->events += (uint64_t)events.entries[e].count;
            }
            ASSERT(now->delta->deletes.len == 0);
            bag_clear(&events);
        } else {
            ASSERT(rows_apply(&set->rows, table, now->delta->inserts, 1));
        }
    }
    for (uint32_t i = 0; i < update->set_count; i++) {
        const LiveSetDelta *now = &update->sets[i];
        if (now->delta->is_event) continue;
        SimSet *set = sim_set(c, now->query_set);
        // A delete of what was never sent is fatal in the Rust SDK.
        ASSERT(rows_apply(&set->rows,
                          table_named(w, now->delta->table_name),
                          now->delta->deletes,
                          -1));
    }
}

typedef struct Collect {
    Bag *bag;
    uint32_t table;
} Collect;

static bool collect(void *ctx, Bytes row) {
    Collect *c = ctx;
    return bag_add(c->bag, c->table, row, 1);
}

// Trimmed text decides whether two queries of a set are one.
static bool text_seen(const SimSet *set, uint32_t upto) {
    for (uint32_t i = 0; i < upto; i++) {
        if (strcmp(set->texts[i], set->texts[upto]) == 0) return true;
    }
    return false;
}

// What the set's queries return now, compiled and run afresh.
void expect_current(World *w, SimClient *c) {
    for (uint32_t s = 0; s < SETS; s++) {
        SimSet *set = &c->sets[s];
        if (!set->live) continue;
        Bag fresh = {0};
        for (uint32_t i = 0; i < set->count; i++) {
            if (text_seen(set, i)) continue;
            Standing *query;
            Diag diag;
            expect_ok(standing_compile(str_from(set->texts[i]),
                                       false,
                                       &w->fake->door,
                                       &c->caller,
                                       &query,
                                       &diag));
            Collect into = {&fresh, table_named(w, standing_rows(query).name)};
            expect_ok(standing_run(query, NULL, false, collect, &into, &diag));
            standing_free(&query);
        }
        bool same = bag_eq(&fresh, &set->rows);
        for (uint32_t i = 0; !same && i < set->count; i++) {
            fprintf(stderr, "set %u: %s\n", set->id, set->texts[i]);
        }
        ASSERT(same);
        bag_clear(&fresh);
    }
}

// ── commits: net changes by comparing all rows before and after ────────────────────────────────

static Rows rows_of(const CatalogTable *table) {
    Rows all = {calloc(table_row_count(table->table, NULL) + 1, sizeof(Bytes)), 0};
    TableScan scan;
    Bytes row;
    table_scan_begin(&scan, table->table, NULL, TABLE_ROWS, BYTES_NONE, BYTES_NONE);
    while (table_scan_next(&scan, &row)) {
        uint8_t *copy = malloc(row.len);
        memcpy(copy, row.ptr, row.len);
        all.rows[all.count++] = (Bytes){copy, row.len};
    }
    table_scan_end(&scan);
    return all;
}

static void rows_free(Rows *all) {
    for (size_t i = 0; i < all->count; i++) {
        free((void *)all->rows[i].ptr);
    }
    free(all->rows);
    *all = (Rows){0};
}

static const Bytes *row_with_key(const Rows *all, const CatalogTable *table, Bytes row) {
    for (size_t i = 0; i < all->count; i++) {
        size_t len = table->primary_key >= 0 ? 8 : row.len;  // users.id comes first
        if (all->rows[i].len >= len && memcmp(all->rows[i].ptr, row.ptr, len) == 0 &&
            (table->primary_key >= 0 || all->rows[i].len == row.len))
            return &all->rows[i];
    }
    return NULL;
}

static void changes_begin(World *w, Changes *c) {
    c->count = c->event_count = 0;
    for (uint32_t t = 0; t < TABLES; t++) {
        c->before[t] = rows_of(w->tables[t]);
    }
    store_begin(w->store);
}

static void changes_add(Changes *c, const CatalogTable *table, Bytes old, Bytes new) {
    ASSERT(c->count < ARRAY_LEN(c->list));
    c->list[c->count++] = (LiveChange){
        .table = table->table,
        .table_id = table->table_id,
        .is_event = table->is_event,
        .old_row = old,
        .new_row = new,
    };
}

static void changes_of_table(Changes *c, const CatalogTable *table, Rows *before, Rows *after) {
    for (size_t i = 0; i < before->count; i++) {
        const Bytes *now = row_with_key(after, table, before->rows[i]);
        if (now && bytes_eq(*now, before->rows[i])) continue;
        changes_add(c, table, before->rows[i], now ? *now : BYTES_NONE);
    }
    for (size_t i = 0; i < after->count; i++) {
        if (!row_with_key(before, table, after->rows[i]))
            changes_add(c, table, BYTES_NONE, after->rows[i]);
    }
}

void changes_end(World *w, Changes *c) {
    store_commit(w->store);
    for (uint32_t t = 0; t < TABLES; t++) {
        c->after[t] = rows_of(w->tables[t]);
        changes_of_table(c, w->tables[t], &c->before[t], &c->after[t]);
        for (size_t i = 0; t == EVENTS && i < c->event_count; i++) {
            changes_add(c, w->tables[t], BYTES_NONE, c->events[i]);
        }
    }
}

void changes_free(Changes *c) {
    for (uint32_t t = 0; t < TABLES; t++) {
        rows_free(&c->before[t]);
        rows_free(&c->after[t]);
    }
    for (size_t i = 0; i < c->event_count; i++) {
        free((void *)c->events[i].ptr);
    }
}

static void changes_deliver(World *w, Changes *c) {
    const LiveUpdate *updates;
    size_t count;
    expect_ok(live_commit(w->live, c->list, c->count, &updates, &count));
    for (size_t i = 0; i < count; i++) {
        sim_update(w, &updates[i]);
    }
}

Changes world_changes;  // large

void world_commit(World *w) {
    changes_end(w, &world_changes);
    changes_deliver(w, &world_changes);
    changes_free(&world_changes);
}

void world_begin(World *w) {
    changes_begin(w, &world_changes);
}

Bytes user_row(Buf *row, uint64_t id, uint32_t room, const char *name, bool flag, uint8_t who) {
    Identity owner = {{who}};
    buf_clear(row);
    buf_put_u64(row, id);
    buf_put_u32(row, room);
    buf_put_lp(row, str_bytes(str_from(name)));
    buf_put_u8(row, flag);
    buf_put(row, owner.le, sizeof owner.le);
    return buf_bytes(row);
}

Bytes note_row(Buf *row, uint32_t x, uint32_t y, const char *s) {
    buf_clear(row);
    buf_put_u32(row, x);
    buf_put_u32(row, y);
    buf_put_lp(row, str_bytes(str_from(s)));
    return buf_bytes(row);
}

void put_user(World *w, uint64_t id, uint32_t room, const char *name, uint8_t who) {
    Buf row = {0};
    Bytes bytes = user_row(&row, id, room, name, false, who);
    uint32_t index = table_index_at(w->tables[USERS]->table, 0).index_id;
    bool changed;
    Err err = table_replace(w->tables[USERS]->table, index, bytes, &changed, NULL);
    if (err == ERR_NOT_FOUND) err = table_insert(w->tables[USERS]->table, bytes, NULL, NULL);
    expect_ok(err);
    buf_deinit(&row);
}

void remove_user(World *w, uint64_t id) {
    Buf key = {0};
    key_append(&key, type_simple(TYPE_U64), (const uint8_t *)&id);
    expect_ok(table_delete_key(w->tables[USERS]->table, buf_bytes(&key)));
    buf_deinit(&key);
}

void put_note(World *w, uint32_t x, uint32_t y) {
    Buf row = {0};
    expect_ok(table_insert(w->tables[NOTES]->table, note_row(&row, x, y, "n"), NULL, NULL));
    buf_deinit(&row);
}

void remove_note(World *w, uint32_t x, uint32_t y) {
    Buf row = {0};
    expect_ok(table_delete_row(w->tables[NOTES]->table, note_row(&row, x, y, "n")));
    buf_deinit(&row);
}

void put_event(Changes *c, uint64_t id, uint32_t k) {
    Buf row = {0};
    buf_put_u64(&row, id);
    buf_put_u32(&row, k);
    uint8_t *copy = malloc(row.len);
    memcpy(copy, row.ptr, row.len);
    c->events[c->event_count++] = (Bytes){copy, row.len};
    buf_deinit(&row);
}

void world_change_user(World *w, uint64_t id, Bytes row) {
    Table *table = w->tables[USERS]->table;
    Buf key = {0};
    key_append(&key, type_simple(TYPE_U64), (const uint8_t *)&id);
    Err err;
    switch (world_random(w, 3)) {
    case 0: err = table_insert(table, row, NULL, NULL); break;
    case 1: err = table_delete_key(table, buf_bytes(&key)); break;
    default: err = table_replace(table, table_index_at(table, 0).index_id, row, NULL, NULL); break;
    }
    ASSERT(err == OK || err == ERR_UNIQUE || err == ERR_NOT_FOUND);
    buf_deinit(&key);
}

void world_change_note(World *w, Bytes row) {
    Table *table = w->tables[NOTES]->table;
    Err err =
        world_random(w, 2) ? table_insert(table, row, NULL, NULL) : table_delete_row(table, row);
    ASSERT(err == OK || err == ERR_NOT_FOUND);
}
