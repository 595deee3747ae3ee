// What a client holds equals what its queries return if run now: after every commit, for everyone.
#include "live/live.h"

#include "base/mem.h"
#include "base/test.h"
#include "query/fake_testing.h"

// ── bags of rows: what a client holds, counted as the Rust SDK does ────────────────────────────

typedef struct BagEntry {
    uint32_t table;  // position of its name in the world
    Bytes row;       // owned
    int64_t count;
} BagEntry;

typedef struct Bag {
    BagEntry *entries;
    size_t count, cap;
} Bag;

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
    EXPECT(bag->entries && copy);
    memcpy(copy, row.ptr, row.len);
    bag->entries[bag->count] = (BagEntry){table, {copy, row.len}, 0};
    return &bag->entries[bag->count++];
}

static bool bag_add(Bag *bag, uint32_t table, Bytes row, int64_t by) {
    BagEntry *entry = bag_entry(bag, table, row);
    entry->count += by;
    bool ok = entry->count >= 0;
    if (entry->count == 0) {
        free((void *)entry->row.ptr);
        *entry = bag->entries[--bag->count];
    }
    return ok;
}

static void bag_clear(Bag *bag) {
    for (size_t i = 0; i < bag->count; i++) {
        free((void *)bag->entries[i].row.ptr);
    }
    free(bag->entries);
    *bag = (Bag){0};
}

static bool bag_eq(Bag *a, Bag *b) {
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

enum { USERS, NOTES, EVENTS, SECRET, TABLES };

typedef struct World {
    FakeCatalog *fake;
    Store *store;
    Live *live;
    CatalogTable *tables[TABLES];
    uint64_t seed;
} World;

static uint64_t random_below(World *w, uint64_t below) {
    w->seed = w->seed * 6364136223846793005u + 1442695040888963407u;
    return (w->seed >> 33) % below;
}

static World world_open(void) {
    World w = {.fake = fake_new()};
    EXPECT_OK(store_open(&(StoreOptions){.address_bytes = (uint64_t)1 << 31}, &w.store));
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
    EXPECT_OK(live_open(&w.fake->door, &w.live));
    return w;
}

static void world_close(World *w) {
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

// Rows of a BsatnRowList, into a bag. False when a count went below zero.
static bool rows_apply(Bag *bag, uint32_t table, Bytes list, int64_t by) {
    Reader r = reader_of(list);
    uint8_t hint = reader_u8(&r);
    uint32_t each = hint == 0 ? reader_u16(&r) : 0;
    uint32_t count = hint == 1 ? reader_u32(&r) : 0;
    Bytes offsets = hint == 1 ? reader_take(&r, (size_t)count * 8) : BYTES_NONE;
    Bytes rows = reader_lp(&r);
    EXPECT(reader_ok(&r) && r.in.len == 0 && hint <= 1);
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

enum { SETS = 4, QUERIES = 5, TEXT = 200 };

typedef struct SimSet {
    bool live;
    uint32_t id, count;
    char texts[QUERIES][TEXT];
    Bag rows;
    uint64_t events;  // rows of event tables received
} SimSet;

typedef struct SimClient {
    LiveClient *client;
    QueryCaller caller;
    SimSet sets[SETS];
    uint64_t heard;  // updates
} SimClient;

static void sim_open(World *w, SimClient *c, uint8_t identity) {
    *c = (SimClient){.caller.identity.le[0] = identity};
    EXPECT_OK(live_client_open(w->live, c, &c->caller, &c->client));
}

static SimSet *sim_set(SimClient *c, uint32_t id) {
    for (uint32_t i = 0; i < SETS; i++) {
        if (c->sets[i].live && c->sets[i].id == id) return &c->sets[i];
    }
    return NULL;
}

static void sim_close(SimClient *c) {
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
        EXPECT(rows_apply(&set->rows, table_named(w, rows[i].table_name), rows[i].rows, by));
    }
}

static Err sim_subscribe(World *w, SimClient *c, SimSet *set, Diag *diag) {
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

// Subscribe to texts given as arguments, in the first free place of the client.
#define SUBSCRIBE(w, c, id, ...) \
    sim_subscribe_texts((w), (c), (id), (const char *const[]){__VA_ARGS__, NULL})
static SimSet *sim_subscribe_texts(World *w, SimClient *c, uint32_t id, const char *const *texts) {
    SimSet *set = c->sets;
    while (set->live) {
        set++;
    }
    set->id = id;
    for (set->count = 0; texts[set->count]; set->count++) {
        EXPECT(strlen(texts[set->count]) < TEXT);
        strcpy(set->texts[set->count], texts[set->count]);
    }
    Diag diag;
    diag_clear(&diag);
    Err err = sim_subscribe(w, c, set, &diag);
    if (err != OK) print_error("%s\n", diag.text);
    EXPECT_EQ(err, OK);
    return set;
}

static void sim_unsubscribe(World *w, SimClient *c, SimSet *set, bool want_rows) {
    const LiveRows *rows;
    uint32_t count;
    Diag diag;
    EXPECT_OK(live_unsubscribe(c->client, set->id, want_rows, &rows, &count, &diag));
    if (want_rows) {
        sim_apply_rows(w, set, rows, count, -1);
        EXPECT_EQ(set->rows.count, 0);  // exactly what it held
    } else {
        EXPECT_EQ(count, 0);
    }
    bag_clear(&set->rows);
    set->live = false;
}

// One message: per set all inserts, then all deletes; order and shape as the protocol wants them.
static void sim_update(World *w, const LiveUpdate *update) {
    SimClient *c = update->owner;
    c->heard++;
    EXPECT(update->set_count > 0);
    for (uint32_t i = 0; i < update->set_count; i++) {
        const LiveSetDelta *now = &update->sets[i], *before = i ? &update->sets[i - 1] : NULL;
        if (before) {
            EXPECT(before->query_set <= now->query_set);
            if (before->query_set == now->query_set)
                EXPECT(bytes_cmp(str_bytes(before->delta->table_name),
                                 str_bytes(now->delta->table_name)) <= 0);
        }
        SimSet *set = sim_set(c, now->query_set);
        EXPECT(set);
        uint32_t table = table_named(w, now->delta->table_name);
        EXPECT_EQ(now->delta->is_event, table == EVENTS);
        if (now->delta->is_event) {
            Bag events = {0};
            EXPECT(rows_apply(&events, table, now->delta->inserts, 1) && events.count > 0);
            for (size_t e = 0; e < events.count; e++) {
                set->events += (uint64_t)events.entries[e].count;
            }
            EXPECT_EQ(now->delta->deletes.len, 0);
            bag_clear(&events);
        } else {
            EXPECT(rows_apply(&set->rows, table, now->delta->inserts, 1));
        }
    }
    for (uint32_t i = 0; i < update->set_count; i++) {
        const LiveSetDelta *now = &update->sets[i];
        if (now->delta->is_event) continue;
        SimSet *set = sim_set(c, now->query_set);
        // A delete of what was never sent is fatal in the Rust SDK.
        EXPECT(rows_apply(&set->rows,
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
static void expect_current(World *w, SimClient *c) {
    for (uint32_t s = 0; s < SETS; s++) {
        SimSet *set = &c->sets[s];
        if (!set->live) continue;
        Bag fresh = {0};
        for (uint32_t i = 0; i < set->count; i++) {
            if (text_seen(set, i)) continue;
            Query *query;
            Diag diag;
            EXPECT_OK(query_compile(str_from(set->texts[i]),
                                    QUERY_SUBSCRIBE,
                                    &w->fake->door,
                                    &c->caller,
                                    &query,
                                    &diag));
            Collect into = {&fresh, table_named(w, query->table->name)};
            EXPECT_OK(query_run(query, NULL, collect, &into));
            query_free(&query);
        }
        bool same = bag_eq(&fresh, &set->rows);
        for (uint32_t i = 0; !same && i < set->count; i++) {
            print_error("set %u: %s\n", set->id, set->texts[i]);
        }
        EXPECT(same);
        bag_clear(&fresh);
    }
}

// ── commits: net changes by comparing all rows before and after ────────────────────────────────

typedef struct Rows {
    Bytes *rows;  // owned
    size_t count;
} Rows;

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

typedef struct Changes {
    LiveChange list[4096];
    size_t count;
    Rows before[TABLES], after[TABLES];
    Bytes events[64];
    size_t event_count;
} Changes;

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

static void changes_end(World *w, Changes *c) {
    store_commit(w->store);
    for (uint32_t t = 0; t < TABLES; t++) {
        c->after[t] = rows_of(w->tables[t]);
        changes_of_table(c, w->tables[t], &c->before[t], &c->after[t]);
        for (size_t i = 0; t == EVENTS && i < c->event_count; i++) {
            changes_add(c, w->tables[t], BYTES_NONE, c->events[i]);
        }
    }
}

static void changes_free(Changes *c) {
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
    EXPECT_OK(live_commit(w->live, c->list, c->count, &updates, &count));
    for (size_t i = 0; i < count; i++) {
        sim_update(w, &updates[i]);
    }
}

static Changes changes;  // large

static void commit(World *w) {
    changes_end(w, &changes);
    changes_deliver(w, &changes);
    changes_free(&changes);
}

static void begin(World *w) {
    changes_begin(w, &changes);
}

static Bytes user_row(Buf *row,
                      uint64_t id,
                      uint32_t room,
                      const char *name,
                      bool flag,
                      uint8_t who) {
    Identity owner = {{who}};
    buf_clear(row);
    buf_put_u64(row, id);
    buf_put_u32(row, room);
    buf_put_lp(row, str_bytes(str_from(name)));
    buf_put_u8(row, flag);
    buf_put(row, owner.le, sizeof owner.le);
    return buf_bytes(row);
}

static Bytes note_row(Buf *row, uint32_t x, uint32_t y, const char *s) {
    buf_clear(row);
    buf_put_u32(row, x);
    buf_put_u32(row, y);
    buf_put_lp(row, str_bytes(str_from(s)));
    return buf_bytes(row);
}

static void put_user(World *w, uint64_t id, uint32_t room, const char *name, uint8_t who) {
    Buf row = {0};
    Bytes bytes = user_row(&row, id, room, name, false, who);
    uint32_t index = table_index_at(w->tables[USERS]->table, 0).index_id;
    bool changed;
    Err err = table_replace(w->tables[USERS]->table, index, bytes, &changed, NULL);
    if (err == ERR_NOT_FOUND) err = table_insert(w->tables[USERS]->table, bytes, NULL, NULL);
    EXPECT_OK(err);
    buf_deinit(&row);
}

static void remove_user(World *w, uint64_t id) {
    Buf key = {0};
    key_append(&key, type_simple(TYPE_U64), (const uint8_t *)&id);
    EXPECT_OK(table_delete_key(w->tables[USERS]->table, buf_bytes(&key)));
    buf_deinit(&key);
}

static void put_note(World *w, uint32_t x, uint32_t y) {
    Buf row = {0};
    EXPECT_OK(table_insert(w->tables[NOTES]->table, note_row(&row, x, y, "n"), NULL, NULL));
    buf_deinit(&row);
}

static void remove_note(World *w, uint32_t x, uint32_t y) {
    Buf row = {0};
    EXPECT_OK(table_delete_row(w->tables[NOTES]->table, note_row(&row, x, y, "n")));
    buf_deinit(&row);
}

static void put_event(Changes *c, uint64_t id, uint32_t k) {
    Buf row = {0};
    buf_put_u64(&row, id);
    buf_put_u32(&row, k);
    uint8_t *copy = malloc(row.len);
    memcpy(copy, row.ptr, row.len);
    c->events[c->event_count++] = (Bytes){copy, row.len};
    buf_deinit(&row);
}

// ── stories ────────────────────────────────────────────────────────────────────────────────────

TEST(live, sends_only_rows_that_match) {  // §6.5 86
    World w = world_open();
    SimClient a;
    sim_open(&w, &a, 1);
    SimSet *set = SUBSCRIBE(&w, &a, 7, "select * from notes where x = 0");
    begin(&w);
    put_note(&w, 1, 1);
    commit(&w);
    EXPECT_EQ(a.heard, 0);
    begin(&w);
    put_note(&w, 0, 1);
    commit(&w);
    EXPECT_EQ(a.heard, 1);
    EXPECT_EQ(set->rows.count, 1);
    expect_current(&w, &a);
    sim_close(&a);
    world_close(&w);
}

TEST(live, tells_an_update_as_a_delete_and_an_insert_in_one_message) {  // 87
    World w = world_open();
    SimClient a;
    sim_open(&w, &a, 1);
    SUBSCRIBE(&w, &a, 1, "select * from users");
    begin(&w);
    put_user(&w, 5, 1, "ann", 1);
    commit(&w);
    begin(&w);
    put_user(&w, 5, 1, "eve", 1);
    changes_end(&w, &changes);
    EXPECT_EQ(changes.count, 1);
    const LiveUpdate *updates;
    size_t count;
    EXPECT_OK(live_commit(w.live, changes.list, changes.count, &updates, &count));
    EXPECT_EQ(count, 1);
    EXPECT_EQ(updates[0].set_count, 1);
    Bag gained = {0}, lost = {0};
    EXPECT(rows_apply(&gained, USERS, updates[0].sets[0].delta->inserts, 1));
    EXPECT(rows_apply(&lost, USERS, updates[0].sets[0].delta->deletes, 1));
    EXPECT(gained.count == 1 && lost.count == 1);
    bag_clear(&gained);
    bag_clear(&lost);
    sim_update(&w, &updates[0]);
    changes_free(&changes);
    expect_current(&w, &a);
    begin(&w);
    remove_user(&w, 5);
    commit(&w);
    expect_current(&w, &a);
    EXPECT_EQ(a.sets[0].rows.count, 0);
    sim_close(&a);
    world_close(&w);
}

TEST(live, gives_each_caller_his_own_rows_for_sender) {  // 88
    World w = world_open();
    SimClient a, b;
    sim_open(&w, &a, 1);
    sim_open(&w, &b, 2);
    SUBSCRIBE(&w, &a, 1, "select * from users where owner = :sender");
    SUBSCRIBE(&w, &b, 1, "select * from users where owner = :sender");
    EXPECT_EQ(live_stats(w.live).templates, 1);
    EXPECT_EQ(live_stats(w.live).groups, 2);
    begin(&w);
    put_user(&w, 1, 0, "a", 1);
    put_user(&w, 2, 0, "b", 2);
    commit(&w);
    expect_current(&w, &a);
    expect_current(&w, &b);
    EXPECT(a.sets[0].rows.count == 1 && b.sets[0].rows.count == 1);
    sim_close(&a);
    sim_close(&b);
    world_close(&w);
}

TEST(live, moves_a_row_between_sets_in_one_message) {
    World w = world_open();
    SimClient a;
    sim_open(&w, &a, 1);
    SimSet *one = SUBSCRIBE(&w, &a, 9, "select * from users where room = 1");
    SimSet *two = SUBSCRIBE(&w, &a, 3, "select * from users where room = 2");
    begin(&w);
    put_user(&w, 5, 1, "ann", 1);
    commit(&w);
    EXPECT(one->rows.count == 1 && two->rows.count == 0);
    begin(&w);
    put_user(&w, 5, 2, "ann", 1);
    commit(&w);
    EXPECT_EQ(a.heard, 2);
    EXPECT(one->rows.count == 0 && two->rows.count == 1);
    begin(&w);
    put_user(&w, 5, 3, "ann", 1);
    commit(&w);
    begin(&w);
    put_user(&w, 5, 4, "ann", 1);  // outside stays outside
    commit(&w);
    EXPECT_EQ(a.heard, 3);
    EXPECT(one->rows.count == 0 && two->rows.count == 0);
    sim_close(&a);
    world_close(&w);
}

TEST(live, refuses_an_id_in_use_and_keeps_the_old_set) {  // 98
    World w = world_open();
    SimClient a;
    sim_open(&w, &a, 1);
    SUBSCRIBE(&w, &a, 7, "select * from notes");
    const LiveRows *rows;
    uint32_t count;
    Diag diag;
    Str text = STR("select * from users");
    EXPECT_ERR(live_subscribe(a.client, 7, &text, 1, &rows, &count, &diag), ERR_EXISTS);
    EXPECT(strstr(diag.text, "Subscription with id 7 already exists for client"));
    EXPECT_ERR(live_unsubscribe(a.client, 8, true, &rows, &count, &diag), ERR_NOT_FOUND);
    EXPECT(strstr(diag.text, "Subscription not found: 8"));
    begin(&w);
    put_note(&w, 1, 1);
    commit(&w);
    expect_current(&w, &a);
    EXPECT_EQ(a.heard, 1);
    sim_unsubscribe(&w, &a, &a.sets[0], true);
    EXPECT_ERR(live_unsubscribe(a.client, 7, true, &rows, &count, &diag), ERR_NOT_FOUND);
    EXPECT(strstr(diag.text, "Client not found: "));
    SUBSCRIBE(&w, &a, 7, "select * from notes");  // the id is free again
    sim_close(&a);
    world_close(&w);
}

TEST(live, counts_a_text_once_a_set_and_every_set_for_itself) {  // 99
    World w = world_open();
    SimClient a;
    sim_open(&w, &a, 1);
    begin(&w);
    put_note(&w, 1, 1);
    commit(&w);
    SimSet *one = SUBSCRIBE(&w, &a, 1, "select * from notes", "  select * from notes\n");
    SimSet *two = SUBSCRIBE(&w, &a, 2, "select * from notes");
    SimSet *spelled = SUBSCRIBE(&w, &a, 3, "select * from notes", "SELECT * FROM notes");
    EXPECT_EQ(one->rows.entries[0].count, 1);
    EXPECT_EQ(two->rows.entries[0].count, 1);
    EXPECT_EQ(spelled->rows.entries[0].count, 2);
    EXPECT_EQ(live_stats(w.live).groups, 1);
    begin(&w);
    put_note(&w, 2, 2);
    remove_note(&w, 1, 1);
    commit(&w);
    EXPECT_EQ(one->rows.entries[0].count, 1);
    EXPECT_EQ(spelled->rows.entries[0].count, 2);
    sim_unsubscribe(&w, &a, two, false);
    begin(&w);
    put_note(&w, 3, 3);
    commit(&w);
    EXPECT_EQ(one->rows.count, 2);
    EXPECT_EQ(spelled->rows.count, 2);
    sim_unsubscribe(&w, &a, spelled, true);
    sim_unsubscribe(&w, &a, one, true);
    sim_close(&a);
    world_close(&w);
}

TEST(live, falls_silent_after_unsubscribe_and_leaves_others_alone) {  // 100, 101, 103
    World w = world_open();
    SimClient a, b, c;
    sim_open(&w, &a, 1);
    sim_open(&w, &b, 2);
    sim_open(&w, &c, 3);
    SUBSCRIBE(&w, &a, 1, "select * from notes where x < 5");
    SUBSCRIBE(&w, &b, 1, "SELECT  *  FROM notes WHERE 5 > x");
    SUBSCRIBE(&w, &c, 1, "select * from notes where x < 5");
    EXPECT_EQ(live_stats(w.live).groups, 1);
    begin(&w);
    put_note(&w, 1, 1);
    commit(&w);
    sim_unsubscribe(&w, &b, &b.sets[0], true);
    sim_close(&c);
    begin(&w);
    put_note(&w, 2, 1);
    commit(&w);
    EXPECT_EQ(a.heard, 2);
    EXPECT_EQ(b.heard, 1);
    expect_current(&w, &a);
    sim_close(&a);
    sim_close(&b);
    EXPECT_EQ(live_stats(w.live).groups, 0);
    EXPECT_EQ(live_stats(w.live).templates, 0);
    world_close(&w);
}

TEST(live, registers_nothing_of_a_request_with_one_bad_query) {  // 102
    World w = world_open();
    SimClient a;
    sim_open(&w, &a, 1);
    Str texts[] = {STR("select * from notes"), STR(" select * from users where zz = 1 "), STR("x")};
    const LiveRows *rows;
    uint32_t count;
    Diag diag;
    EXPECT_ERR(live_subscribe(a.client, 1, texts, 3, &rows, &count, &diag), ERR_INVALID);
    EXPECT_STR(diag.text, "`zz` is not in scope, executing: `select * from users where zz = 1`");
    EXPECT_EQ(live_stats(w.live).groups, 0);
    EXPECT_EQ(live_stats(w.live).query_sets, 0);
    Str secret = STR("select * from secret");
    EXPECT_ERR(live_subscribe(a.client, 1, &secret, 1, &rows, &count, &diag), ERR_INVALID);
    EXPECT(strstr(diag.text, "no such table: `secret`") != NULL);
    begin(&w);
    put_note(&w, 1, 1);
    commit(&w);
    EXPECT_EQ(a.heard, 0);
    sim_close(&a);
    world_close(&w);
}

TEST(live, answers_with_an_entry_a_query_but_none_for_an_empty_table) {  // 104
    World w = world_open();
    SimClient a;
    sim_open(&w, &a, 1);
    begin(&w);
    put_note(&w, 1, 1);
    commit(&w);
    Str texts[] = {STR("select * from users"),
                   STR("select * from notes where x = 9"),
                   STR("select * from notes")};
    const LiveRows *rows;
    uint32_t count;
    Diag diag;
    EXPECT_OK(live_subscribe(a.client, 1, texts, 3, &rows, &count, &diag));
    EXPECT_EQ(count, 2);
    EXPECT(str_eq(rows[0].table_name, STR("notes")));
    EXPECT_HEX(rows[0].rows, "010000000000000000");
    EXPECT_HEX(rows[1].rows, "000d000d0000000100000001000000010000006e");
    EXPECT_OK(live_subscribe(a.client, 2, NULL, 0, &rows, &count, &diag));
    EXPECT_EQ(count, 0);
    sim_close(&a);
    world_close(&w);
}

TEST(live, expands_all_tables_to_the_public_persistent_ones) {  // 106
    World w = world_open();
    SimClient a;
    sim_open(&w, &a, 1);
    SimSet *set = SUBSCRIBE(&w, &a, 1, " Select * from * ", "SELECT * FROM notes");
    EXPECT_EQ(live_stats(w.live).groups, 2);
    begin(&w);
    put_user(&w, 1, 1, "a", 1);
    put_note(&w, 1, 1);
    put_event(&changes, 1, 1);
    commit(&w);
    EXPECT_EQ(set->rows.count, 2);
    EXPECT(set->rows.entries[0].count == 1 && set->rows.entries[1].count == 1);
    EXPECT_EQ(set->events, 0);
    sim_unsubscribe(&w, &a, set, true);
    sim_close(&a);
    world_close(&w);
}

TEST(live, sends_events_once_and_keeps_none) {  // 114
    World w = world_open();
    SimClient a;
    sim_open(&w, &a, 1);
    SimSet *all = SUBSCRIBE(&w, &a, 1, "select * from events");
    SimSet *some = SUBSCRIBE(&w, &a, 2, "select * from events where k = 5");
    EXPECT_EQ(all->rows.count, 0);
    begin(&w);
    put_event(&changes, 1, 5);
    put_event(&changes, 2, 6);
    put_event(&changes, 1, 7);
    commit(&w);
    EXPECT_EQ(all->events, 3);
    EXPECT_EQ(some->events, 1);
    EXPECT_EQ(a.heard, 1);
    sim_unsubscribe(&w, &a, all, true);
    sim_close(&a);
    world_close(&w);
}

TEST(live, keeps_its_limits_and_names_them) {
    World w = world_open();
    SimClient a;
    sim_open(&w, &a, 1);
    static char texts[LIVE_QUERIES_MAX + 1][40];
    static Str queries[LIVE_QUERIES_MAX + 1];
    for (uint32_t i = 0; i <= LIVE_QUERIES_MAX; i++) {
        snprintf(texts[i], sizeof texts[i], "select * from users where id = %u", i);
        queries[i] = str_from(texts[i]);
    }
    const LiveRows *rows;
    uint32_t count;
    Diag diag;
    EXPECT_ERR(live_subscribe(a.client, 1, queries, LIVE_QUERIES_MAX + 1, &rows, &count, &diag),
               ERR_LIMIT);
    EXPECT_STR(diag.text, "Too many queries: a client may have at most 16384");
    EXPECT_EQ(live_stats(w.live).groups, 0);
    EXPECT_OK(live_subscribe(a.client, 1, queries, LIVE_QUERIES_MAX, &rows, &count, &diag));
    EXPECT_EQ(live_stats(w.live).groups, LIVE_QUERIES_MAX);
    EXPECT_ERR(live_subscribe(a.client, 2, queries, 1, &rows, &count, &diag), ERR_LIMIT);
    EXPECT_OK(live_unsubscribe(a.client, 1, false, &rows, &count, &diag));
    EXPECT_EQ(live_stats(w.live).groups, 0);
    for (uint32_t i = 0; i < LIVE_SETS_MAX; i++) {
        EXPECT_OK(live_subscribe(a.client, i, queries, 1, &rows, &count, &diag));
    }
    EXPECT_ERR(live_subscribe(a.client, LIVE_SETS_MAX, queries, 1, &rows, &count, &diag),
               ERR_LIMIT);
    EXPECT_STR(diag.text, "Too many query sets: a client may have at most 4096");
    EXPECT_EQ(live_stats(w.live).groups, 1);
    sim_close(&a);
    world_close(&w);
}

// ── cost ───────────────────────────────────────────────────────────────────────────────────────

TEST(live, tests_one_group_of_a_hundred_thousand_when_one_matches) {
    enum { CLIENTS = 1000, EACH = 100 };
    World w = world_open();
    static SimClient clients[CLIENTS];
    for (uint32_t i = 0; i < CLIENTS; i++) {
        sim_open(&w, &clients[i], 1);
        static char texts[EACH][80];
        Str queries[EACH];
        for (uint32_t q = 0; q < EACH; q++) {
            snprintf(texts[q],
                     sizeof texts[q],
                     q % 2 ? "select * from users where id = %u"
                           : "select * from notes where x = %u and s = 'n'",
                     i * EACH + q);
            queries[q] = str_from(texts[q]);
        }
        const LiveRows *rows;
        uint32_t count;
        Diag diag;
        EXPECT_OK(live_subscribe(clients[i].client, 1, queries, EACH, &rows, &count, &diag));
        clients[i].sets[0].live = true;
        clients[i].sets[0].id = 1;
    }
    EXPECT_EQ(live_stats(w.live).groups, CLIENTS * EACH);
    EXPECT_EQ(live_stats(w.live).templates, 2);

    LiveStats before = live_stats(w.live);
    begin(&w);
    put_user(&w, 7 * EACH + 1, 3, "ann", 1);
    commit(&w);
    LiveStats after = live_stats(w.live);
    EXPECT_EQ(after.groups_tested - before.groups_tested, 1);
    EXPECT_EQ(after.groups_hit - before.groups_hit, 1);
    EXPECT_EQ(clients[7].heard, 1);

    begin(&w);
    put_note(&w, 9 * EACH, 1);      // two columns fix it
    put_note(&w, 9 * EACH + 1, 1);  // nobody
    put_user(&w, 7 * EACH + 1, 4, "ann", 1);
    commit(&w);
    EXPECT_EQ(live_stats(w.live).groups_tested - after.groups_tested, 2);
    EXPECT_EQ(clients[9].heard, 1);
    EXPECT_EQ(clients[7].heard, 2);
    EXPECT_EQ(clients[8].heard, 0);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        sim_close(&clients[i]);
    }
    EXPECT_EQ(live_stats(w.live).groups, 0);
    world_close(&w);
}

TEST(live, encodes_a_delta_once_for_all_who_watch) {
    enum { CLIENTS = 500 };
    World w = world_open();
    static SimClient clients[CLIENTS];
    for (uint32_t i = 0; i < CLIENTS; i++) {
        sim_open(&w, &clients[i], 1);
        SUBSCRIBE(&w, &clients[i], i, "select * from notes");
    }
    begin(&w);
    put_note(&w, 1, 1);
    changes_end(&w, &changes);
    const LiveUpdate *updates;
    size_t count;
    EXPECT_OK(live_commit(w.live, changes.list, changes.count, &updates, &count));
    EXPECT_EQ(count, CLIENTS);
    EXPECT_EQ(live_stats(w.live).rows_encoded, 1);
    for (size_t i = 0; i < count; i++) {
        EXPECT(updates[i].sets[0].delta == updates[0].sets[0].delta);
        sim_update(&w, &updates[i]);
    }
    changes_free(&changes);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        sim_close(&clients[i]);
    }
    world_close(&w);
}

// ── a new schema ───────────────────────────────────────────────────────────────────────────────

typedef struct Dropped {
    uint32_t count, set;
    void *owner;
    char reason[200];
} Dropped;

static void note_dropped(void *ctx, void *owner, uint32_t query_set, const char *reason) {
    Dropped *d = ctx;
    d->count++;
    d->set = query_set;
    d->owner = owner;
    snprintf(d->reason, sizeof d->reason, "%s", reason);
}

TEST(live, ends_sets_that_a_new_schema_forbids_and_carries_the_others_over) {  // 111
    World w = world_open();
    SimClient a;
    sim_open(&w, &a, 1);
    SimSet *notes = SUBSCRIBE(&w, &a, 1, "select * from notes");
    SimSet *users = SUBSCRIBE(&w, &a, 2, "select * from users", "select * from notes where x = 1");
    begin(&w);
    put_note(&w, 1, 1);
    commit(&w);
    w.tables[USERS]->is_public = false;
    w.fake->door.schema_version++;
    Dropped dropped = {0};
    EXPECT_OK(live_schema_changed(w.live, note_dropped, &dropped));
    EXPECT_EQ(dropped.count, 1);
    EXPECT_EQ(dropped.set, 2);
    EXPECT(dropped.owner == &a);
    EXPECT(strstr(dropped.reason, "no such table: `users`") != NULL);
    users->live = false;
    bag_clear(&users->rows);
    EXPECT_EQ(live_stats(w.live).query_sets, 1);
    begin(&w);
    put_note(&w, 2, 1);
    commit(&w);
    EXPECT_EQ(notes->rows.count, 2);
    expect_current(&w, &a);
    sim_close(&a);
    world_close(&w);
}

// ── memory that runs out ───────────────────────────────────────────────────────────────────────

TEST(live, subscribes_all_or_nothing_when_memory_runs_out) {
    World w = world_open();
    SimClient a, b;
    sim_open(&w, &a, 1);
    sim_open(&w, &b, 2);
    SUBSCRIBE(&w, &b, 1, "select * from users where room = 1");
    begin(&w);
    put_note(&w, 1, 1);
    put_user(&w, 1, 1, "ann", 1);
    commit(&w);
    Str texts[] = {
        STR("select * from *"),
        STR("select * from users where room = 1"),
        STR("select * from users where room = 2 and id > 5"),
        STR("select * from notes where x > 0 or s = 'q'"),
    };
    LiveStats before = live_stats(w.live);
    for (int64_t n = 0;; n++) {
        const LiveRows *rows;
        uint32_t count;
        Diag diag;
        mem_fault_arm(n);
        Err err = live_subscribe(a.client, 9, texts, ARRAY_LEN(texts), &rows, &count, &diag);
        bool hit = mem_fault_hit();
        mem_fault_arm(-1);
        EXPECT_EQ(err, hit ? ERR_NOMEM : OK);
        if (!hit) break;
        LiveStats after = live_stats(w.live);
        EXPECT_EQ(after.groups, before.groups);
        EXPECT_EQ(after.templates, before.templates);
        EXPECT_EQ(after.query_sets, before.query_sets);
    }
    EXPECT_EQ(live_stats(w.live).groups, before.groups + 4);
    for (int64_t n = 0;; n++) {
        const LiveRows *rows;
        uint32_t count;
        Diag diag;
        mem_fault_arm(n);
        Err err = live_unsubscribe(a.client, 9, true, &rows, &count, &diag);
        bool hit = mem_fault_hit();
        mem_fault_arm(-1);
        EXPECT_EQ(err, hit ? ERR_NOMEM : OK);
        if (!hit) break;
        EXPECT_EQ(live_stats(w.live).groups, before.groups + 4);
    }
    EXPECT_EQ(live_stats(w.live).groups, before.groups);
    sim_close(&a);
    sim_close(&b);
    world_close(&w);
}

TEST(live, works_a_commit_out_in_full_once_there_is_memory) {
    World w = world_open();
    static SimClient clients[20];
    for (uint32_t i = 0; i < ARRAY_LEN(clients); i++) {
        sim_open(&w, &clients[i], 1);
        char text[80];
        snprintf(text, sizeof text, "select * from users where room = %u", i);
        SUBSCRIBE(&w,
                  &clients[i],
                  1,
                  text,
                  "select * from notes where x < 100",
                  "select * from users");
    }
    begin(&w);
    for (uint32_t i = 0; i < ARRAY_LEN(clients); i++) {
        put_user(&w, i, i, "somebody with a longer name", 1);
        put_note(&w, i, i);
    }
    changes_end(&w, &changes);
    const LiveUpdate *updates;
    size_t count;
    int64_t failures = 0;
    for (;; failures++) {
        mem_fault_arm(failures);
        Err err = live_commit(w.live, changes.list, changes.count, &updates, &count);
        bool hit = mem_fault_hit();
        mem_fault_arm(-1);
        EXPECT_EQ(err, hit ? ERR_NOMEM : OK);
        if (!hit) break;
        EXPECT_EQ(count, 0);
    }
    EXPECT(failures >= 8);
    EXPECT_EQ(count, ARRAY_LEN(clients));
    for (size_t i = 0; i < count; i++) {
        sim_update(&w, &updates[i]);
    }
    changes_free(&changes);
    for (uint32_t i = 0; i < ARRAY_LEN(clients); i++) {
        expect_current(&w, &clients[i]);
        sim_close(&clients[i]);
    }
    world_close(&w);
}

TEST(live, loses_sets_but_never_its_order_when_a_new_schema_finds_no_memory) {
    for (int64_t n = 0;; n++) {
        World w = world_open();
        SimClient a;
        sim_open(&w, &a, 1);
        SUBSCRIBE(&w, &a, 1, "select * from users where room = 1");
        SUBSCRIBE(&w, &a, 2, "select * from notes", "select * from users");
        w.fake->door.schema_version++;
        Dropped dropped = {0};
        mem_fault_arm(n);
        Err err = live_schema_changed(w.live, note_dropped, &dropped);
        bool hit = mem_fault_hit();
        mem_fault_arm(-1);
        EXPECT_EQ(err, hit ? ERR_NOMEM : OK);
        EXPECT_EQ(dropped.count, 0);
        if (!hit) EXPECT_EQ(live_stats(w.live).groups, 3);
        sim_close(&a);
        EXPECT_EQ(live_stats(w.live).groups, 0);
        world_close(&w);
        if (!hit) break;
    }
}

// ── the property ───────────────────────────────────────────────────────────────────────────────

enum { PEOPLE = 8, ROOMS = 4, IDS = 30 };
static const char *const names[] = {"", "a", "ab", "b", "it's"};

static void random_condition(World *w, Buf *sql, bool users) {
    static const char *const ops[] = {"=", "=", "=", "<>", "<", "<=", ">", ">="};
    const char *op = ops[random_below(w, ARRAY_LEN(ops))];
    if (users) {
        switch (random_below(w, 7)) {
        case 0: buf_printf(sql, "id %s %u", op, (unsigned)random_below(w, IDS)); break;
        case 1: buf_printf(sql, "%u = users.room", (unsigned)random_below(w, ROOMS)); break;
        case 2: buf_printf(sql, "room %s %u", op, (unsigned)random_below(w, ROOMS)); break;
        case 3: buf_printf(sql, "name %s '%s'", op, names[random_below(w, 4)]); break;
        case 4: buf_printf(sql, random_below(w, 2) ? "flag" : "\"flag\" = FALSE"); break;
        case 5: buf_printf(sql, "owner = :sender"); break;
        default: buf_printf(sql, "owner %s 0x%064x", op, (unsigned)random_below(w, PEOPLE)); break;
        }
    } else {
        switch (random_below(w, 4)) {
        case 0: buf_printf(sql, "x %s %u", op, (unsigned)random_below(w, 6)); break;
        case 1: buf_printf(sql, "y %s %u", op, (unsigned)random_below(w, 6)); break;
        case 2: buf_printf(sql, "x %s y", op); break;
        default: buf_printf(sql, "s %s '%s'", op, names[random_below(w, 4)]); break;
        }
    }
}

static void random_predicate(World *w, Buf *sql, bool users, int depth) {
    uint64_t kind = depth == 0 ? 0 : random_below(w, 8);
    if (kind < 3) {
        random_condition(w, sql, users);
    } else if (kind < 7) {
        buf_printf(sql, "(");
        random_predicate(w, sql, users, depth - 1);
        buf_printf(sql, kind == 3 ? ") OR (" : ") AND (");
        random_predicate(w, sql, users, depth - 1);
        buf_printf(sql, ")");
    } else {
        buf_printf(sql, "NOT (");
        random_predicate(w, sql, users, depth - 1);
        buf_printf(sql, ")");
    }
}

static void random_text(World *w, char out[TEXT]) {
    Buf sql = {0};
    do {
        buf_clear(&sql);
        uint64_t table = random_below(w, 9);
        bool users = table < 5;
        buf_printf(&sql,
                   random_below(w, 2) ? "SELECT * FROM %s" : "select  * from %s",
                   users       ? "users"
                   : table < 8 ? "notes"
                               : "events");
        if (table == 8) {
            if (random_below(w, 2)) buf_printf(&sql, " where k = %u", (unsigned)random_below(w, 4));
        } else if (random_below(w, 8)) {
            buf_printf(&sql, " where ");
            random_predicate(w, &sql, users, (int)random_below(w, 3));
        }
    } while (sql.len >= TEXT);
    memcpy(out, sql.ptr, sql.len);
    out[sql.len] = 0;
    buf_deinit(&sql);
}

static void random_subscribe(World *w, SimClient *c) {
    SimSet *set = &c->sets[random_below(w, SETS)];
    if (set->live) {
        sim_unsubscribe(w, c, set, random_below(w, 2));
        return;
    }
    set->id = (uint32_t)(set - c->sets) + 10 * (uint32_t)random_below(w, 3);
    set->count = (uint32_t)random_below(w, QUERIES + 1);
    for (uint32_t i = 0; i < set->count; i++) {
        bool again = i > 0 && random_below(w, 6) == 0;
        if (again)
            strcpy(set->texts[i], set->texts[i - 1]);
        else
            random_text(w, set->texts[i]);
    }
    Diag diag;
    Err err = sim_subscribe(w, c, set, &diag);
    if (err != OK) print_error("%s\n", diag.text);
    EXPECT_EQ(err, OK);
}

static void random_user_change(World *w, Buf *row) {
    Table *table = w->tables[USERS]->table;
    uint64_t id = random_below(w, IDS);
    Buf key = {0};
    key_append(&key, type_simple(TYPE_U64), (const uint8_t *)&id);
    Bytes bytes = user_row(row,
                           id,
                           (uint32_t)random_below(w, ROOMS),
                           names[random_below(w, ARRAY_LEN(names))],
                           random_below(w, 2),
                           (uint8_t)random_below(w, PEOPLE));
    Err err;
    switch (random_below(w, 3)) {
    case 0: err = table_insert(table, bytes, NULL, NULL); break;
    case 1: err = table_delete_key(table, buf_bytes(&key)); break;
    default:
        err = table_replace(table, table_index_at(table, 0).index_id, bytes, NULL, NULL);
        break;
    }
    EXPECT(err == OK || err == ERR_UNIQUE || err == ERR_NOT_FOUND);
    buf_deinit(&key);
}

static void random_note_change(World *w, Buf *row) {
    Table *table = w->tables[NOTES]->table;
    Bytes bytes = note_row(row,
                           (uint32_t)random_below(w, 6),
                           (uint32_t)random_below(w, 6),
                           names[random_below(w, 3)]);
    Err err = random_below(w, 2) ? table_insert(table, bytes, NULL, NULL)
                                 : table_delete_row(table, bytes);
    EXPECT(err == OK || err == ERR_NOT_FOUND);
}

static void random_commit(World *w) {
    Buf row = {0};
    begin(w);
    uint64_t count = random_below(w, 20) ? 1 + random_below(w, 5) : 60;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t what = random_below(w, 12);
        if (what < 7)
            random_user_change(w, &row);
        else if (what < 11)
            random_note_change(w, &row);
        else if (changes.event_count < ARRAY_LEN(changes.events))
            put_event(&changes, random_below(w, 5), (uint32_t)random_below(w, 4));
    }
    uint64_t cleared;
    if (random_below(w, 100) == 0) EXPECT_OK(table_clear(w->tables[NOTES]->table, &cleared));
    commit(w);
    buf_deinit(&row);
}

static void live_run(uint64_t seed, uint32_t commits) {
    enum { CLIENTS = 8 };
    World w = world_open();
    w.seed = seed;
    static SimClient clients[CLIENTS];
    for (uint32_t i = 0; i < CLIENTS; i++) {
        sim_open(&w, &clients[i], (uint8_t)i);
    }
    Dropped dropped = {0};
    uint64_t heard = 0;
    for (uint32_t n = 0; n < commits; n++) {
        SimClient *c = &clients[random_below(&w, CLIENTS)];
        if (random_below(&w, 2)) random_subscribe(&w, c);
        if (random_below(&w, 150) == 0) {
            heard += c->heard;
            sim_close(c);
            sim_open(&w, c, (uint8_t)random_below(&w, PEOPLE));
        }
        if (random_below(&w, 100) == 0) {
            w.fake->door.schema_version++;
            EXPECT_OK(live_schema_changed(w.live, note_dropped, &dropped));
        }
        random_commit(&w);
        for (uint32_t i = 0; i < CLIENTS; i++) {
            expect_current(&w, &clients[i]);
        }
    }
    for (uint32_t i = 0; i < CLIENTS; i++) {
        heard += clients[i].heard;
        sim_close(&clients[i]);
    }
    EXPECT_EQ(dropped.count, 0);
    EXPECT(heard > commits);  // somebody was listening
    LiveStats stats = live_stats(w.live);
    EXPECT(stats.groups == 0 && stats.templates == 0 && stats.query_sets == 0 &&
           stats.clients == 0);
    world_close(&w);
}

TEST(live, what_clients_hold_equals_their_queries_after_every_commit) {
    const char *given = getenv("SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : 20261122;
    print_message("seed %llu\n", (unsigned long long)seed);
    for (uint64_t i = 0; i < 6; i++) {
        live_run(seed + i, 400);
    }
}

TEST_MAIN()
