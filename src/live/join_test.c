// Stories of subscriptions over more than one table: spec sql-and-subscriptions §6.5, and what clients may
// rely on, G1 to G12 of §5.3, as far as it is this room's. The property behind them is in
// differential_test.c.
#include "base/mem.h"
#include "base/test.h"
#include "live/live.h"
#include "query/fake_testing.h"

// Tables of numbers; a client holds rows as their numbers, counted.
enum { TABLES_MAX = 4, CHANGES = 64, HELD = 64, WIDTH = 3 };

typedef struct Numbers {
    uint64_t n[WIDTH];
} Numbers;

typedef struct Told {  // by the last commit, to one client
    Numbers gained[HELD], lost[HELD];
    uint32_t sets[HELD];
    uint32_t gained_count, lost_count, messages;
} Told;

typedef struct World {
    FakeCatalog *fake;
    Store *store;
    Live *live;
    LiveClient *clients[3];
    Told told[3];
    LiveChange changes[CHANGES];
    uint32_t count;
    Arena arena;
    Diag diag;
    char dropped[300];
} World;

static CatalogTable *table_of(World *w,
                              const char *name,
                              int32_t primary,
                              const char *const *indexes,
                              uint32_t count) {
    static const FakeColumn columns[] = {{"i", NULL, NULL}, {"a", NULL, NULL}, {"b", NULL, NULL}};
    FakeColumn typed[WIDTH];
    for (int c = 0; c < WIDTH; c++)
        typed[c] = (FakeColumn){columns[c].name, type_simple(TYPE_U64), NULL};
    CatalogTable *table = fake_table(w->fake, name, typed, WIDTH);
    fake_store_table(table, w->store, primary, indexes, count);
    return table;
}

static World world_with(LiveOptions options) {
    World w = {.fake = fake_new()};
    EXPECT_OK(store_open(&(StoreOptions){.address_bytes = (uint64_t)1 << 30}, &w.store));
    store_begin(w.store);
    table_of(&w, "u", -1, (const char *const[]){"0"}, 1);
    table_of(&w, "v", -1, (const char *const[]){"0", "1"}, 2);
    table_of(&w, "e", -1, (const char *const[]){"1"}, 1)->is_event = true;
    table_of(&w, "bare", -1, NULL, 0);
    store_commit(w.store);
    if (options.arrangement_quota == 0) options.arrangement_quota = LIVE_ARRANGEMENT_QUOTA;
    EXPECT_OK(live_open(&w.fake->door, NULL, &w.live));
    live_set_options(w.live, &options);
    return w;
}

static void world_clients(World *w) {
    for (uint8_t i = 0; i < 3; i++) {
        QueryCaller caller = {.identity.le[0] = i, .is_owner = i == 0};
        EXPECT_OK(live_client_open(w->live, &w->told[i], &caller, &w->clients[i]));
    }
    store_begin(w->store);
}

static void world_close(World *w) {
    if (store_in_transaction(w->store)) store_commit(w->store);
    for (int i = 0; i < 3; i++)
        live_client_close(&w->clients[i]);
    LiveStats stats = live_stats(w->live);
    EXPECT(stats.groups == 0 && stats.templates == 0 && stats.state_bytes == 0);
    live_close(&w->live);
    store_close(&w->store);
    fake_free(&w->fake);
    arena_deinit(&w->arena);
}

static CatalogTable *named(const World *w, const char *name) {
    for (uint32_t i = 0; i < w->fake->count; i++) {
        if (str_eq(w->fake->tables[i]->name, str_from(name))) return w->fake->tables[i];
    }
    UNREACHABLE();
}

static Bytes row_bytes(World *w, Numbers row) {
    Bytes copy = arena_bytes(&w->arena, BYTES(row.n, sizeof row.n));
    ASSERT(copy.ptr);
    return copy;
}

static Bytes key_bytes(World *w, const CatalogTable *table, Bytes row) {
    Buf key = {0};
    table_row_key(table->table, row, &key);
    Bytes copy = arena_bytes(&w->arena, buf_bytes(&key));
    buf_deinit(&key);
    return copy;
}

static void note(World *w, const CatalogTable *table, Bytes old, Bytes new, Bytes key) {
    ASSERT(w->count < CHANGES);
    uint32_t at = w->count++;
    while (at > 0 && w->changes[at - 1].table_id > table->table_id) {
        w->changes[at] = w->changes[at - 1];
        at--;
    }
    w->changes[at] = (LiveChange){.table = table->table,
                                  .table_id = table->table_id,
                                  .is_event = table->is_event,
                                  .key = key,
                                  .old_row = old,
                                  .new_row = new};
}

#define ROW(i, a, b) ((Numbers){{(i), (a), (b)}})
static void put(World *w, const char *name, Numbers row) {
    const CatalogTable *table = named(w, name);
    Bytes bytes = row_bytes(w, row);
    if (!table->is_event) EXPECT_OK(table_insert(table->table, bytes, NULL, NULL));
    note(w, table, BYTES_NONE, bytes, key_bytes(w, table, bytes));
}

static void take(World *w, const char *name, Numbers row) {
    const CatalogTable *table = named(w, name);
    Bytes bytes = row_bytes(w, row), key = key_bytes(w, table, bytes);
    EXPECT_OK(table_delete_row(table->table, bytes));
    note(w, table, bytes, BYTES_NONE, key);
}

static uint32_t numbers_of(Bytes list, Numbers *out) {
    Reader r = reader_of(list);
    if (list.len == 0) return 0;
    uint8_t hint = reader_u8(&r);
    uint32_t each = hint == 0 ? reader_u16(&r) : 0;
    uint32_t count = hint == 1 ? reader_u32(&r) : 0;
    (void)reader_take(&r, (size_t)count * 8);
    Bytes rows = reader_lp(&r);
    EXPECT(reader_ok(&r));
    if (hint == 0) count = (uint32_t)rows.len / each;
    if (count == 0) return 0;
    size_t width = rows.len / count;  // all of them are as long
    for (uint32_t i = 0; i < count; i++) {
        out[i] = (Numbers){0};
        memcpy(out[i].n, rows.ptr + i * width, MIN(width, sizeof out[i].n));
    }
    return count;
}

static void drop(void *ctx, void *owner, uint32_t set, const char *why) {
    World *w = ctx;
    (void)owner;
    (void)set;
    snprintf(w->dropped, sizeof w->dropped, "%s", why);
}

static void commit(World *w) {
    const LiveUpdate *updates;
    size_t count;
    memset(w->told, 0, sizeof w->told);
    store_commit(w->store);
    EXPECT_OK(live_commit(w->live, w->changes, w->count, &updates, &count));
    live_commit_ended(w->live, drop, w);
    for (size_t i = 0; i < count; i++) {
        Told *told = updates[i].owner;
        told->messages++;
        for (uint32_t s = 0; s < updates[i].set_count; s++) {
            const LiveDelta *delta = updates[i].sets[s].delta;
            told->sets[s] = updates[i].sets[s].query_set;
            told->gained_count += numbers_of(delta->inserts, told->gained + told->gained_count);
            told->lost_count += numbers_of(delta->deletes, told->lost + told->lost_count);
        }
    }
    w->count = 0;
    arena_reset(&w->arena);
    store_begin(w->store);
}

// Rows in the first answer. UINT32_MAX: refused, w->diag says why.
static uint32_t subscribe(World *w, int client, uint32_t set, const char *text) {
    const LiveRows *rows;
    uint32_t count, total = 0;
    Numbers held[HELD];
    Str sql = str_from(text);
    store_commit(w->store);
    diag_clear(&w->diag);
    Err err = live_subscribe(w->clients[client], set, &sql, 1, &rows, &count, &w->diag);
    for (uint32_t i = 0; err == OK && i < count; i++)
        total += numbers_of(rows[i].rows, held);
    store_begin(w->store);
    return err == OK ? total : UINT32_MAX;
}

static bool gained(const World *w, int client, Numbers row) {
    const Told *told = &w->told[client];
    return told->gained_count == 1 && memcmp(&told->gained[0], &row, sizeof row) == 0;
}
static bool lost(const World *w, int client, Numbers row) {
    const Told *told = &w->told[client];
    return told->lost_count == 1 && memcmp(&told->lost[0], &row, sizeof row) == 0;
}
static bool silent(const World *w, int client) {
    return w->told[client].messages == 0;
}

static void fill_f8(World *w) {
    world_clients(w);
    put(w, "u", ROW(0, 1, 1));
    put(w, "u", ROW(1, 2, 2));
    put(w, "u", ROW(2, 3, 3));
    put(w, "v", ROW(0, 4, 4));
    put(w, "v", ROW(1, 5, 5));
    commit(w);
}

#define JOIN(value) "select u.* from u join v on u.i = v.i where v.a = " #value

// ── the cases of §6.5 ──────────────────────────────────────────────────────────────────────────

TEST(joins, tell_only_whose_partner_counts) {  // 90, 91
    World w = world_with((LiveOptions){0});
    fill_f8(&w);
    EXPECT_EQ(subscribe(&w, 1, 4, JOIN(4)), 1);
    EXPECT_EQ(subscribe(&w, 1, 6, JOIN(6)), 0);
    EXPECT_EQ(subscribe(&w, 1, 5, JOIN(5)), 1);
    EXPECT_EQ(subscribe(&w, 1, 7, JOIN(7)), 0);
    EXPECT_EQ(live_stats(w.live).templates, 1);
    EXPECT_EQ(live_stats(w.live).groups, 4);
    take(&w, "v", ROW(1, 5, 5));
    put(&w, "v", ROW(1, 5, 6));
    commit(&w);
    EXPECT(silent(&w, 1));
    put(&w, "v", ROW(2, 6, 6));
    commit(&w);
    EXPECT(gained(&w, 1, ROW(2, 3, 3)) && w.told[1].sets[0] == 6);
    take(&w, "u", ROW(1, 2, 2));
    put(&w, "u", ROW(1, 2, 3));
    commit(&w);
    EXPECT(gained(&w, 1, ROW(1, 2, 3)) && lost(&w, 1, ROW(1, 2, 2)) && w.told[1].sets[0] == 5);
    EXPECT_EQ(w.told[1].messages, 1);
    put(&w, "u", ROW(3, 0, 0));
    commit(&w);
    EXPECT(silent(&w, 1));
    world_close(&w);
}

TEST(joins, move_a_row_between_queries_when_its_partner_changes) {  // 92, 93
    World w = world_with((LiveOptions){0});
    world_clients(&w);
    for (uint64_t n = 1; n <= 5; n++)
        put(&w, "v", ROW(n, n, n));
    commit(&w);
    subscribe(&w, 1, 1, JOIN(1));
    subscribe(&w, 1, 2, JOIN(2));
    subscribe(&w, 1, 4, JOIN(4));
    put(&w, "u", ROW(1, 2, 3));
    commit(&w);
    EXPECT(gained(&w, 1, ROW(1, 2, 3)) && w.told[1].sets[0] == 1);
    take(&w, "v", ROW(1, 1, 1));
    put(&w, "v", ROW(1, 1, 9));
    commit(&w);
    EXPECT(silent(&w, 1));
    take(&w, "v", ROW(1, 1, 9));
    put(&w, "v", ROW(1, 2, 9));
    commit(&w);
    EXPECT(gained(&w, 1, ROW(1, 2, 3)) && lost(&w, 1, ROW(1, 2, 3)) && w.told[1].messages == 1);
    put(&w, "u", ROW(3, 4, 5));
    take(&w, "v", ROW(3, 3, 3));
    put(&w, "v", ROW(3, 4, 3));
    commit(&w);
    EXPECT(gained(&w, 1, ROW(3, 4, 5)) && w.told[1].sets[0] == 4);
    take(&w, "v", ROW(3, 4, 3));
    put(&w, "v", ROW(3, 0, 3));
    commit(&w);
    EXPECT(lost(&w, 1, ROW(3, 4, 5)) && w.told[1].gained_count == 0);
    put(&w, "u", ROW(5, 6, 7));
    take(&w, "v", ROW(5, 5, 5));
    put(&w, "v", ROW(5, 6, 5));
    commit(&w);
    EXPECT(silent(&w, 1));
    world_close(&w);
}

TEST(joins, give_a_row_once_or_with_bags_as_often_as_it_has_partners) {  // 94
    for (int bag = 0; bag < 2; bag++) {
        World w = world_with((LiveOptions){.bag = bag});
        fill_f8(&w);
        EXPECT_EQ(subscribe(&w, 1, 1, JOIN(4)), 1);
        put(&w, "v", ROW(0, 4, 9));
        commit(&w);
        EXPECT(bag ? gained(&w, 1, ROW(0, 1, 1)) : silent(&w, 1));
        EXPECT_EQ(subscribe(&w, 2, 1, JOIN(4)), bag ? 2 : 1);
        take(&w, "v", ROW(0, 4, 9));
        commit(&w);
        EXPECT(bag ? lost(&w, 1, ROW(0, 1, 1)) : silent(&w, 1));
        world_close(&w);
    }
}

TEST(joins, of_a_table_with_itself_miss_nothing) {  // 95
    World w = world_with((LiveOptions){0});
    world_clients(&w);
    put(&w, "v", ROW(1, 0, 0));
    commit(&w);
    EXPECT_EQ(subscribe(&w, 1, 1, "select x.* from v x join v y on x.i = y.a where x.i = 1"), 0);
    put(&w, "v", ROW(7, 1, 0));
    commit(&w);
    EXPECT(gained(&w, 1, ROW(1, 0, 0)));
    take(&w, "v", ROW(7, 1, 0));
    commit(&w);
    EXPECT(lost(&w, 1, ROW(1, 0, 0)));
    world_close(&w);
}

TEST(joins, need_an_index_when_strict_and_make_their_own_when_not) {  // 96, 97
    static const char without[] = "select bare.* from bare join u on bare.a = u.a";
    static const char three[] = "select u.* from u join v on u.i = v.i join bare on bare.i = v.i";
    World w = world_with((LiveOptions){.strict_index = true});
    fill_f8(&w);
    EXPECT_EQ(subscribe(&w, 1, 1, without), UINT32_MAX);
    EXPECT(strstr(w.diag.text, "Subscriptions require indexes on join columns"));
    EXPECT_EQ(subscribe(&w, 1, 1, three), UINT32_MAX);
    EXPECT(strstr(w.diag.text, "Invalid number of tables in subscription: 3"));
    live_set_options(w.live, &(LiveOptions){.arrangement_quota = 1 << 20});
    EXPECT_EQ(subscribe(&w, 1, 1, without), 0);
    EXPECT_EQ(subscribe(&w, 1, 2, three), 0);
    EXPECT(live_stats(w.live).state_bytes > 0);
    put(&w, "bare", ROW(1, 2, 3));
    commit(&w);
    EXPECT_EQ(w.told[1].gained_count, 2);
    EXPECT_EQ(w.told[1].messages, 1);
    live_set_options(w.live, &(LiveOptions){.arrangement_quota = 0});
    EXPECT_EQ(subscribe(&w, 1, 3, "select bare.* from bare join u on bare.b = u.b"), UINT32_MAX);
    EXPECT(strstr(w.diag.text, "Subscriptions require indexes on join columns"));
    EXPECT_EQ(subscribe(&w, 1, 3, "select u.* from u join v on u.a < v.a"), UINT32_MAX);
    EXPECT(strstr(w.diag.text, "Subscriptions require indexes on join columns"));
    world_close(&w);
}

// A new schema, one index of a table poorer.
static void drop_index(World *w, const char *name, uint32_t at) {
    const CatalogTable *table = named(w, name);
    EXPECT_OK(store_index_drop(w->store, table->table, table->table_id * 10 + at));
    store_commit(w->store);
    w->fake->door.schema_version++;
    EXPECT_OK(live_schema_changed(w->live, drop, w));
    store_begin(w->store);
}

TEST(joins, whose_index_goes_are_planned_anew) {  // 105
    World w = world_with((LiveOptions){0});
    fill_f8(&w);
    EXPECT_EQ(subscribe(&w, 1, 1, JOIN(4)), 1);
    EXPECT_EQ(subscribe(&w, 2, 1, "select * from v where a = 4"), 1);
    EXPECT_EQ(live_stats(w.live).state_bytes, 0);
    drop_index(&w, "v", 0);
    drop_index(&w, "v", 1);
    drop_index(&w, "u", 0);
    EXPECT(live_stats(w.live).state_bytes > 0);  // what indexes knew, it knows itself
    take(&w, "v", ROW(0, 4, 4));
    put(&w, "v", ROW(2, 4, 4));
    commit(&w);
    EXPECT(gained(&w, 1, ROW(2, 3, 3)) && lost(&w, 1, ROW(0, 1, 1)));
    EXPECT(gained(&w, 2, ROW(2, 4, 4)) && lost(&w, 2, ROW(0, 4, 4)));
    put(&w, "u", ROW(2, 7, 7));
    commit(&w);
    EXPECT(gained(&w, 1, ROW(2, 7, 7)) && silent(&w, 2));
    EXPECT(!w.dropped[0]);
    world_close(&w);
}

TEST(joins, whose_index_goes_end_when_strict) {  // 97, 105
    World w = world_with((LiveOptions){.strict_index = true});
    fill_f8(&w);
    EXPECT_EQ(subscribe(&w, 1, 1, JOIN(4)), 1);
    EXPECT_EQ(subscribe(&w, 2, 1, "select * from v where a = 4"), 1);
    drop_index(&w, "u", 0);
    EXPECT(strstr(w.dropped, "Subscriptions require indexes on join columns, executing: `"));
    take(&w, "v", ROW(0, 4, 4));
    commit(&w);
    EXPECT(silent(&w, 1) && lost(&w, 2, ROW(0, 4, 4)));
    live_set_options(w.live, &(LiveOptions){.arrangement_quota = 1 << 20});
    EXPECT_EQ(subscribe(&w, 1, 1, JOIN(5)), 1);
    memset(w.dropped, 0, sizeof w.dropped);
    live_set_options(w.live, &(LiveOptions){.strict_index = true, .arrangement_quota = 1 << 20});
    store_commit(w.store);
    EXPECT_OK(live_schema_changed(w.live, drop, &w));  // what asks more than is allowed now
    store_begin(w.store);
    EXPECT(strstr(w.dropped, "Subscriptions require indexes on join columns, executing: `"));
    put(&w, "u", ROW(1, 8, 8));
    commit(&w);
    EXPECT(silent(&w, 1));
    world_close(&w);
}

TEST(joins, tell_events_with_the_partners_of_their_commit) {  // 116, 117
    World w = world_with((LiveOptions){0});
    fill_f8(&w);
    EXPECT_EQ(subscribe(&w, 1, 1, "select e.* from e join u on e.a = u.i"), 0);
    EXPECT_EQ(subscribe(&w, 1, 2, "select u.* from u join e on e.a = u.i"), UINT32_MAX);
    EXPECT(strstr(w.diag.text, "Event tables cannot be used as the lookup table"));
    put(&w, "e", ROW(1, 0, 0));
    put(&w, "e", ROW(2, 77, 0));
    commit(&w);
    EXPECT(gained(&w, 1, ROW(1, 0, 0)) && w.told[1].lost_count == 0);
    put(&w, "u", ROW(77, 0, 0));
    take(&w, "u", ROW(0, 1, 1));
    put(&w, "e", ROW(1, 0, 0));
    put(&w, "e", ROW(2, 77, 0));
    commit(&w);
    EXPECT(gained(&w, 1, ROW(2, 77, 0)));
    take(&w, "u", ROW(77, 0, 0));
    commit(&w);
    EXPECT(silent(&w, 1));  // an event is never taken back
    world_close(&w);
}

TEST(joins, keep_what_left_joins_did_not_find) {
    World w = world_with((LiveOptions){0});
    fill_f8(&w);
    EXPECT_EQ(subscribe(&w, 1, 1, "select u.* from u left join v on u.i = v.i where v.i is null"),
              1);
    EXPECT_EQ(subscribe(&w, 1, 2, "select v.* from u left join v on u.i = v.i"), UINT32_MAX);
    put(&w, "v", ROW(2, 0, 0));
    commit(&w);
    EXPECT(lost(&w, 1, ROW(2, 3, 3)));
    take(&w, "v", ROW(2, 0, 0));
    take(&w, "v", ROW(0, 4, 4));
    commit(&w);
    EXPECT_EQ(w.told[1].gained_count, 2);
    world_close(&w);
}

// ── groups ─────────────────────────────────────────────────────────────────────────────────────

TEST(groups, change_as_their_rows_do) {
    World w = world_with((LiveOptions){0});
    fill_f8(&w);
    EXPECT_EQ(
        subscribe(
            &w,
            1,
            1,
            "select v.a, count(*) as n, max(u.b) as m from u join v on u.i = v.i group by v.a"),
        2);
    EXPECT_EQ(subscribe(&w, 2, 1, "select count(*) as n from u where a > 1"), 1);
    put(&w, "u", ROW(0, 0, 7));
    commit(&w);
    EXPECT(lost(&w, 1, ROW(4, 1, 1)) && gained(&w, 1, ROW(4, 2, 7)));
    EXPECT(silent(&w, 2));
    take(&w, "u", ROW(0, 0, 7));
    take(&w, "u", ROW(1, 2, 2));
    commit(&w);
    EXPECT_EQ(w.told[1].lost_count, 2);  // one group is smaller, one is gone
    EXPECT(w.told[1].gained_count == 1 && w.told[1].gained[0].n[2] == 1);
    EXPECT(lost(&w, 2, ROW(2, 0, 0)) && gained(&w, 2, ROW(1, 0, 0)));
    world_close(&w);
}

TEST(groups, are_told_at_the_end_by_a_name_and_type_that_outlive_them) {
    static const char text[] = "select a, count(*) as n from v group by a";
    const LiveRows *rows;
    uint32_t count;
    World w = world_with((LiveOptions){0});
    fill_f8(&w);
    EXPECT_EQ(subscribe(&w, 1, 1, text), 2);
    store_commit(w.store);
    EXPECT_OK(live_unsubscribe(w.clients[1], 1, true, &rows, &count, &w.diag));
    store_begin(w.store);
    EXPECT_EQ(count, 1);
    EXPECT(str_eq(rows[0].table_name, str_from(text)) && rows[0].rows.len > 0);
    EXPECT_EQ(rows[0].row_type->field_count, 2);
    EXPECT(str_eq(rows[0].row_type->fields[1].name, STR("n")));
    EXPECT_EQ(live_stats(w.live).templates, 0);
    world_close(&w);
}

TEST(groups, are_refused_when_they_would_take_more_memory_than_there_is) {
    World w = world_with((LiveOptions){.arrangement_quota = 1000});
    world_clients(&w);
    for (uint64_t i = 0; i < 40; i++)
        put(&w, "u", ROW(i, i, i));
    commit(&w);
    EXPECT_EQ(subscribe(&w, 1, 1, "select i, count(*) as n from u group by i"), UINT32_MAX);
    EXPECT(strstr(w.diag.text, "need more memory"));
    EXPECT_EQ(live_stats(w.live).groups, 0);
    world_close(&w);
}

// ── rules with joins ───────────────────────────────────────────────────────────────────────────

TEST(rules, with_joins_hold_for_subscribers_at_every_commit) {  // 84, 138, 139
    World w = world_with((LiveOptions){0});
    const CatalogTable *u = named(&w, "u");
    fake_rule(w.fake, u, "select u.* from u join v on u.i = v.i where v.a = 9");
    fake_rule(w.fake, u, "select * from u where a = 1");
    world_clients(&w);
    put(&w, "u", ROW(0, 1, 0));
    put(&w, "u", ROW(5, 2, 0));
    commit(&w);
    EXPECT_EQ(subscribe(&w, 1, 1, "select * from u"), 1);
    EXPECT_EQ(subscribe(&w, 0, 1, "select * from u"), 2);  // the owner sees them all
    put(&w, "v", ROW(5, 9, 0));
    commit(&w);
    EXPECT(gained(&w, 1, ROW(5, 2, 0)) && silent(&w, 0));
    put(&w, "v", ROW(0, 9, 0));
    commit(&w);
    EXPECT(silent(&w, 1));  // both rules let it through: once
    take(&w, "v", ROW(0, 9, 0));
    take(&w, "v", ROW(5, 9, 0));
    commit(&w);
    EXPECT(lost(&w, 1, ROW(5, 2, 0)));
    world_close(&w);
}

// ── what clients may rely on (§5.3) ────────────────────────────────────────────────────────────

TEST(promise, G3_and_G4_first_rows_and_updates_meet_without_gap_or_overlap) {
    World w = world_with((LiveOptions){0});
    fill_f8(&w);
    for (uint32_t n = 1; n < 30; n++) {
        EXPECT_EQ(subscribe(&w, 1, n, JOIN(4)),
                  n);  // what was committed before is in the first rows,
        put(&w, "u", ROW(0, n + 100, 0));
        commit(&w);
        EXPECT_EQ(w.told[1].gained_count, n);  // and what comes is told to each set, once
    }
    world_close(&w);
}

TEST(promise, G4_one_message_a_commit_with_all_sets_or_none) {
    World w = world_with((LiveOptions){0});
    fill_f8(&w);
    subscribe(&w, 1, 1, JOIN(4));
    subscribe(&w, 1, 2, "select * from u");
    subscribe(&w, 1, 3, "select count(*) as n from v");
    put(&w, "u", ROW(0, 9, 9));
    put(&w, "v", ROW(9, 9, 9));
    commit(&w);
    EXPECT_EQ(w.told[1].messages, 1);
    EXPECT(w.told[1].gained_count == 3 && w.told[1].lost_count == 1);
    EXPECT(w.told[1].sets[0] == 1 && w.told[1].sets[1] == 2 && w.told[1].sets[2] == 3);
    commit(&w);
    EXPECT(silent(&w, 1));
    world_close(&w);
}

TEST(promise, G5_deltas_are_minimal) {
    World w = world_with((LiveOptions){0});
    fill_f8(&w);
    subscribe(&w, 1, 1, JOIN(4));
    take(&w, "v", ROW(0, 4, 4));
    put(&w, "v", ROW(0, 4, 8));  // another partner in its place
    commit(&w);
    EXPECT(silent(&w, 1));
    take(&w, "u", ROW(0, 1, 1));
    put(&w, "u", ROW(0, 2, 2));
    commit(&w);
    EXPECT(gained(&w, 1, ROW(0, 2, 2)) && lost(&w, 1, ROW(0, 1, 1)));
    world_close(&w);
}

TEST(promise, G10_a_schema_that_changes_ends_only_what_cannot_go_on) {
    World w = world_with((LiveOptions){0});
    fill_f8(&w);
    subscribe(&w, 1, 1, JOIN(4));
    subscribe(&w, 2, 1, "select bare.* from bare join v on bare.i = v.i");
    store_commit(w.store);
    named(&w, "bare")->is_public = false;
    w.fake->door.schema_version++;
    EXPECT_OK(live_schema_changed(w.live, drop, &w));
    store_begin(w.store);
    EXPECT(strstr(w.dropped, "no such table: `bare`"));
    put(&w, "u", ROW(0, 8, 8));
    put(&w, "bare", ROW(0, 8, 8));
    commit(&w);
    EXPECT(gained(&w, 1, ROW(0, 8, 8)) && silent(&w, 2));
    world_close(&w);
}

TEST(promise, G11_a_hub_costs_nothing_until_it_is_empty) {
    World w = world_with((LiveOptions){0});
    world_clients(&w);
    for (uint64_t n = 0; n < 50; n++) {
        put(&w, "u", ROW(1, n, 0));
    }
    commit(&w);
    put(&w, "v", ROW(1, 1, 0));
    put(&w, "v", ROW(1, 2, 0));
    commit(&w);
    EXPECT_EQ(subscribe(&w, 1, 1, "select u.* from u join v on u.i = v.i"), 50);
    uint64_t before = live_stats(w.live).rows_probed;
    take(&w, "v", ROW(1, 2, 0));
    commit(&w);
    EXPECT(silent(&w, 1));
    EXPECT(live_stats(w.live).rows_probed - before < 10);
    take(&w, "v", ROW(1, 1, 0));
    commit(&w);
    EXPECT_EQ(w.told[1].lost_count, 50);
    world_close(&w);
}

TEST(promise, G12_the_same_commits_are_told_the_same_way) {
    Numbers first[2][HELD];
    for (int run = 0; run < 2; run++) {
        World w = world_with((LiveOptions){0});
        fill_f8(&w);
        subscribe(&w, 1, 1, "select u.* from u join v on u.i = v.i");
        for (uint64_t n = 0; n < 20; n++) {
            put(&w, "u", ROW(n % 3, n + 10, n));
            put(&w, "v", ROW(n % 4, n + 10, n));
        }
        commit(&w);
        memcpy(first[run], w.told[1].gained, sizeof first[run]);
        EXPECT(w.told[1].gained_count > 10);
        world_close(&w);
    }
    EXPECT(memcmp(first[0], first[1], sizeof first[0]) == 0);
}

TEST(joins, that_missed_a_commit_say_so_until_they_are_gone) {
    World w = world_with((LiveOptions){0});
    fill_f8(&w);
    const LiveUpdate *updates;
    size_t count;
    EXPECT_EQ(subscribe(&w, 1, 1, "select bare.* from bare join u on bare.a = u.a"), 0);
    EXPECT_EQ(subscribe(&w, 1, 2, "select b, min(a) as m from u group by b"), 3);
    put(&w, "u", ROW(9, 9, 9));
    store_commit(w.store);
    mem_fault_arm(0);
    EXPECT_ERR(live_commit(w.live, w.changes, w.count, &updates, &count), ERR_NOMEM);
    mem_fault_arm(-1);
    w.count = 0;
    store_begin(w.store);
    take(&w, "u", ROW(9, 9, 9));
    store_commit(w.store);
    EXPECT_ERR(live_commit(w.live, w.changes, w.count, &updates, &count), ERR_NOMEM);
    w.count = 0;
    live_client_close(&w.clients[1]);
    QueryCaller caller = {.identity.le[0] = 1};
    EXPECT_OK(live_client_open(w.live, &w.told[1], &caller, &w.clients[1]));
    store_begin(w.store);
    EXPECT_EQ(subscribe(&w, 1, 1, "select bare.* from bare join u on bare.a = u.a"), 0);
    put(&w, "bare", ROW(0, 1, 0));
    commit(&w);
    EXPECT(gained(&w, 1, ROW(0, 1, 0)));
    world_close(&w);
}

TEST(joins, without_memory_fail_whole_and_are_right_afterwards) {
    static const char *const texts[] = {
        "select u.* from u join v on u.i = v.i where v.a = 4",
        "select bare.* from bare left join u on bare.a = u.a where u.i is null",
        "select v.a, count(*) as n, min(u.b) as m, sum(u.a) as s from u join v on u.i = v.i group by v.a",
    };
    for (size_t t = 0; t < ARRAY_LEN(texts); t++) {
        World w = world_with((LiveOptions){0});
        fill_f8(&w);
        uint32_t want = subscribe(&w, 2, 1, texts[t]);
        bool failed = true;
        for (int64_t n = 0; failed; n++) {
            const LiveRows *rows;
            uint32_t count;
            Str sql = str_from(texts[t]);
            mem_fault_arm(n);
            Err err = live_subscribe(w.clients[1], 1, &sql, 1, &rows, &count, &w.diag);
            failed = mem_fault_hit();
            mem_fault_arm(-1);
            EXPECT(err == OK || (failed && err == ERR_NOMEM));
            if (err == OK)
                EXPECT_OK(live_unsubscribe(w.clients[1], 1, false, &rows, &count, &w.diag));
        }
        EXPECT_EQ(subscribe(&w, 1, 1, texts[t]), want);
        put(&w, "u", ROW(1, 50, 50));
        put(&w, "v", ROW(0, 4, 60));
        put(&w, "bare", ROW(1, 99, 1));
        commit(&w);
        EXPECT(w.told[1].messages == 1 || t == 0);
        EXPECT(memcmp(&w.told[1], &w.told[2], sizeof w.told[1]) == 0);
        world_close(&w);
    }
}

TEST_MAIN()
