// Clients of protocol v1: a text is watched once, whichever of a client's sets hold it. What such a client
// holds equals what its distinct texts return if run now: after every commit, subscription and end of one.
// `SEED=7 build/…/distinct_test` repeats a run.
#include "base/test.h"
#include "live/live_private.h"
#include "live/world_testing.h"

static const char *const texts[] = {
    "select * from users",
    "SELECT * FROM users",  // another text, the same group
    "select * from users where room = 1",
    "select * from users where id < 4",
    "select * from notes",
    "select * from notes where x = 0",
    "select * from notes where y > 1",
    " select * from notes\n",  // the same as without blanks
    "select * from users where owner = :sender",
    "select users.* from users join notes on users.room = notes.x where notes.y > 1",
    "select users.* from users left join notes on users.room = notes.x where notes.y is null",
    "select room, count(*) as n from users group by room",
};
enum { TEXTS = ARRAY_LEN(texts), ONE_SET = 5 };

typedef struct Old {  // a client that counts rows as one of v1 does
    LiveClient *client;
    QueryCaller caller;
    bool used[ONE_SET];
    bool has[ONE_SET][TEXTS];
    Bag rows;
    uint32_t ended;
} Old;

static void old_open(World *w, Old *c) {
    *c = (Old){.caller = {.identity = {{1}}}};
    EXPECT_OK(live_client_open(w->live, c, &c->caller, &c->client));
    live_client_distinct(c->client);
}

static void old_close(Old *c) {
    bag_clear(&c->rows);
    live_client_close(&c->client);
}

// Groups are called by their text, and of no table.
static uint32_t table_of(Str name) {
    return str_eq(name, STR("users")) ? USERS : str_eq(name, STR("notes")) ? NOTES : SECRET;
}

static void take(Old *c, const LiveRows *rows, uint32_t count, int64_t by) {
    for (uint32_t i = 0; i < count; i++) {
        EXPECT(rows[i].row_type && !rows[i].table_id == (table_of(rows[i].table_name) == SECRET));
        if (rows[i].is_absent)
            EXPECT_EQ(rows[i].rows.len, 0);
        else
            EXPECT(rows_apply(&c->rows, table_of(rows[i].table_name), rows[i].rows, by));
    }
}

static bool holds(const Old *c, uint32_t text) {
    for (uint32_t s = 0; s < ONE_SET; s++) {
        if (c->used[s] && c->has[s][text]) return true;
    }
    return false;
}

typedef struct Collecting {
    Bag *bag;
    uint32_t table;
} Collecting;

static bool collect(void *ctx, Bytes row) {
    const Collecting *to = ctx;
    return bag_add(to->bag, to->table, row, 1);
}

static void expect_whole(World *w, Old *c) {
    Bag fresh = {0};
    for (uint32_t i = 0; i < TEXTS; i++) {
        if (i == 7 ? !holds(c, 7) || holds(c, 4) : !holds(c, i)) continue;  // 4 and 7 are one
        Standing *query;
        Diag diag;
        Str text = str_from(i == 7 ? texts[4] : texts[i]);
        EXPECT_OK(standing_compile(text, false, &w->fake->door, &c->caller, &query, &diag));
        Collecting to = {&fresh, table_of(standing_rows(query).name)};
        EXPECT_OK(standing_run(query, NULL, false, collect, &to, &diag));
        standing_free(&query);
    }
    EXPECT(bag_eq(&fresh, &c->rows));
    bag_clear(&fresh);
}

static void commit(World *w) {
    const LiveUpdate *updates;
    size_t count;
    changes_end(w, &world_changes);
    EXPECT_OK(live_commit(w->live, world_changes.list, world_changes.count, &updates, &count));
    for (size_t i = 0; i < count; i++) {
        Old *c = updates[i].owner;
        for (uint32_t n = 0; n < updates[i].set_count; n++) {
            const LiveSetDelta *set = &updates[i].sets[n];
            EXPECT_EQ(set->query_set, 0);
            EXPECT(rows_apply(&c->rows, table_of(set->delta->table_name), set->delta->inserts, 1));
        }
        for (uint32_t n = 0; n < updates[i].set_count; n++) {
            const LiveSetDelta *set = &updates[i].sets[n];
            EXPECT(rows_apply(&c->rows, table_of(set->delta->table_name), set->delta->deletes, -1));
        }
    }
    changes_free(&world_changes);
}

// What is there may go, what is not may come; the other two change nothing.
static void random_note(World *w) {
    Buf row = {0};
    Table *table = w->tables[NOTES]->table;
    Bytes bytes = note_row(&row, (uint32_t)world_random(w, 3), (uint32_t)world_random(w, 4), "n");
    Err err = world_random(w, 2) ? table_insert(table, bytes, NULL, NULL)
                                 : table_delete_row(table, bytes);
    EXPECT(err == OK || err == ERR_NOT_FOUND);
    buf_deinit(&row);
}

static void random_user(World *w) {
    Buf key = {0};
    uint64_t id = world_random(w, 8);
    key_append(&key, type_simple(TYPE_U64), (const uint8_t *)&id);
    if (world_random(w, 3)) {
        put_user(w, id, (uint32_t)world_random(w, 3), "x", (uint8_t)world_random(w, 3));
    } else {
        Err err = table_delete_key(w->tables[USERS]->table, buf_bytes(&key));
        EXPECT(err == OK || err == ERR_NOT_FOUND);
    }
    buf_deinit(&key);
}

static void random_commit(World *w) {
    world_begin(w);
    for (uint64_t n = world_random(w, 6); n; n--) {
        if (world_random(w, 2))
            random_note(w);
        else
            random_user(w);
    }
    commit(w);
}

static void begin_set(World *w, Old *c, uint32_t s) {
    Str asked[TEXTS];
    uint32_t count = 0;
    for (uint32_t i = 0; i < TEXTS; i++) {
        c->has[s][i] = world_random(w, 3) == 0;
        if (c->has[s][i]) asked[count++] = str_from(texts[i]);
    }
    const LiveRows *rows;
    uint32_t row_count;
    Diag diag;
    EXPECT_OK(live_subscribe(c->client, s, asked, count, &rows, &row_count, &diag));
    c->used[s] = true;
    take(c, rows, row_count, 1);
}

static void end_set(Old *c, uint32_t s) {
    const LiveRows *rows;
    uint32_t count;
    Diag diag;
    EXPECT_OK(live_unsubscribe(c->client, s, true, &rows, &count, &diag));
    c->used[s] = false;
    take(c, rows, count, -1);
}

static void dropped(void *ctx, void *owner, uint32_t query_set, const char *reason) {
    Old *c = owner;
    (void)ctx;
    (void)reason;
    EXPECT_EQ(query_set, 0);
    c->ended++;
}

TEST(distinct, clients_hold_what_their_texts_return_after_every_step) {
    const char *given = getenv("SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : 20261122;
    print_message("seed %llu\n", (unsigned long long)seed);
    World w = world_open();
    w.seed = seed;
    static Old clients[3];
    for (uint32_t i = 0; i < ARRAY_LEN(clients); i++)
        old_open(&w, &clients[i]);
    for (uint32_t n = 0; n < 1500; n++) {
        Old *c = &clients[world_random(&w, ARRAY_LEN(clients))];
        uint32_t s = (uint32_t)world_random(&w, ONE_SET);
        if (world_random(&w, 2)) {
            if (c->used[s])
                end_set(c, s);
            else
                begin_set(&w, c, s);
        } else if (world_random(&w, 40) == 0) {
            w.fake->door.schema_version++;
            EXPECT_OK(live_schema_changed(w.live, dropped, NULL));
        } else {
            random_commit(&w);
        }
        for (uint32_t i = 0; i < ARRAY_LEN(clients); i++)
            expect_whole(&w, &clients[i]);
    }
    for (uint32_t i = 0; i < ARRAY_LEN(clients); i++) {
        EXPECT_EQ(clients[i].ended, 0);
        old_close(&clients[i]);
    }
    LiveStats stats = live_stats(w.live);
    EXPECT(stats.groups == 0 && stats.templates == 0 && stats.query_sets == 0);
    world_close(&w);
}

TEST(distinct, a_set_that_is_answered_whole_replaces_another) {
    World w = world_open();
    Old c;
    old_open(&w, &c);
    world_begin(&w);
    put_note(&w, 0, 1);
    commit(&w);
    const LiveRows *rows;
    uint32_t count;
    Diag diag;
    Str text = STR("select * from notes");
    EXPECT_OK(live_subscribe(c.client, LIVE_SET_WHOLE, &text, 1, &rows, &count, &diag));
    EXPECT(count == 1 && !rows[0].is_absent);
    EXPECT_OK(live_subscribe(c.client, LIVE_SET_WHOLE + 1, &text, 1, &rows, &count, &diag));
    EXPECT(count == 1 && !rows[0].is_absent);
    // Beside it, another set's answer has none of them.
    EXPECT_OK(live_subscribe(c.client, 0, &text, 1, &rows, &count, &diag));
    EXPECT(count == 1 && rows[0].is_absent);
    EXPECT_OK(live_unsubscribe(c.client, LIVE_SET_WHOLE, false, &rows, &count, &diag));
    EXPECT_OK(live_unsubscribe(c.client, 0, true, &rows, &count, &diag));
    EXPECT(count == 1 && rows[0].is_absent);
    EXPECT_OK(live_unsubscribe(c.client, LIVE_SET_WHOLE + 1, true, &rows, &count, &diag));
    EXPECT(count == 1 && !rows[0].is_absent);
    old_close(&c);
    world_close(&w);
}

TEST(distinct, event_tables_are_refused_and_nothing_is_kept) {
    World w = world_open();
    Old c;
    old_open(&w, &c);
    const LiveRows *rows;
    uint32_t count;
    Diag diag;
    Str asked[] = {STR("select * from notes"), STR("select * from events")};
    EXPECT_ERR(live_subscribe(c.client, 1, asked, 2, &rows, &count, &diag), ERR_INVALID);
    EXPECT(strstr(diag.text, "requires WebSocket v2") != NULL);
    EXPECT_EQ(live_stats(w.live).groups, 0);
    old_close(&c);
    world_close(&w);
}

TEST(distinct, one_set_that_cannot_go_on_ends_all_of_the_client_s) {
    World w = world_open();
    Old c;
    old_open(&w, &c);
    const LiveRows *rows;
    uint32_t count;
    Diag diag;
    for (uint32_t s = 0; s < 20; s++) {
        Str text = str_from(s == 7 ? texts[4] : texts[0]);
        EXPECT_OK(live_subscribe(c.client, s, &text, 1, &rows, &count, &diag));
    }
    w.tables[NOTES]->is_public = false;
    w.fake->door.schema_version++;
    EXPECT_OK(live_schema_changed(w.live, dropped, NULL));
    EXPECT_EQ(c.ended, 1);
    EXPECT_EQ(live_stats(w.live).query_sets, 0);
    EXPECT_EQ(live_stats(w.live).groups, 0);
    old_close(&c);
    world_close(&w);
}

TEST(distinct, a_subscription_without_memory_is_none) {
    World w = world_open();
    Old c;
    old_open(&w, &c);
    world_begin(&w);
    put_note(&w, 0, 1);
    put_user(&w, 1, 1, "x", 1);
    commit(&w);
    const LiveRows *rows;
    uint32_t count;
    Diag diag;
    Str first[] = {STR("select * from notes")};
    Str asked[] = {STR("select * from users"), first[0], STR("select * from notes where x = 0")};
    EXPECT_OK(live_subscribe(c.client, 1, first, 1, &rows, &count, &diag));
    for (int64_t n = 0;; n++) {
        mem_fault_arm(n);
        Err err = live_subscribe(c.client, 2, asked, 3, &rows, &count, &diag);
        bool hit = mem_fault_hit();
        mem_fault_arm(-1);
        if (!hit) {
            EXPECT_OK(err);
            break;
        }
        EXPECT(err == ERR_NOMEM);
        LiveStats stats = live_stats(w.live);
        EXPECT(stats.groups == 1 && stats.query_sets == 1);
    }
    EXPECT_EQ(count, 3);
    EXPECT(!rows[0].is_absent && rows[1].is_absent && !rows[2].is_absent);
    old_close(&c);
    world_close(&w);
}

TEST_MAIN()
