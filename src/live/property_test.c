// What a client holds equals what its queries return if run now: after every commit, for everyone.
// `SEED=7 build/…/property_test` repeats a run.
#include "base/test.h"
#include "live/world_testing.h"

// ── the property ───────────────────────────────────────────────────────────────────────────────

enum { PEOPLE = 8, ROOMS = 4, IDS = 30 };
static const char *const names[] = {"", "a", "ab", "b", "it's"};

static void random_condition(World *w, Buf *sql, bool users) {
    static const char *const ops[] = {"=", "=", "=", "<>", "<", "<=", ">", ">="};
    const char *op = ops[world_random(w, ARRAY_LEN(ops))];
    if (users) {
        unsigned a = (unsigned)world_random(w, IDS), b = (unsigned)world_random(w, IDS);
        switch (world_random(w, 10)) {
        case 7: buf_printf(sql, "id IN (%u, %u, 3)", a, b); break;
        case 8: buf_printf(sql, "id BETWEEN %u AND %u", MIN(a, b), MAX(a, b)); break;
        case 9: buf_printf(sql, "room = %u AND id > %u", a % ROOMS, b); break;
        case 0: buf_printf(sql, "id %s %u", op, (unsigned)world_random(w, IDS)); break;
        case 1: buf_printf(sql, "%u = users.room", (unsigned)world_random(w, ROOMS)); break;
        case 2: buf_printf(sql, "room %s %u", op, (unsigned)world_random(w, ROOMS)); break;
        case 3: buf_printf(sql, "name %s '%s'", op, names[world_random(w, 4)]); break;
        case 4: buf_printf(sql, world_random(w, 2) ? "flag" : "\"flag\" = FALSE"); break;
        case 5: buf_printf(sql, "owner = :sender"); break;
        default: buf_printf(sql, "owner %s 0x%064x", op, (unsigned)world_random(w, PEOPLE)); break;
        }
    } else {
        switch (world_random(w, 4)) {
        case 0: buf_printf(sql, "x %s %u", op, (unsigned)world_random(w, 6)); break;
        case 1: buf_printf(sql, "y %s %u", op, (unsigned)world_random(w, 6)); break;
        case 2: buf_printf(sql, "x %s y", op); break;
        default: buf_printf(sql, "s %s '%s'", op, names[world_random(w, 4)]); break;
        }
    }
}

static void random_predicate(World *w, Buf *sql, bool users, int depth) {
    uint64_t kind = depth == 0 ? 0 : world_random(w, 8);
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
        uint64_t table = world_random(w, 9);
        bool users = table < 5;
        buf_printf(&sql,
                   world_random(w, 2) ? "SELECT * FROM %s" : "select  * from %s",
                   users       ? "users"
                   : table < 8 ? "notes"
                               : "events");
        if (table == 8) {
            if (world_random(w, 2)) buf_printf(&sql, " where k = %u", (unsigned)world_random(w, 4));
        } else if (world_random(w, 8)) {
            buf_printf(&sql, " where ");
            random_predicate(w, &sql, users, (int)world_random(w, 3));
        }
    } while (sql.len >= TEXT);
    memcpy(out, sql.ptr, sql.len);
    out[sql.len] = 0;
    buf_deinit(&sql);
}

static void random_subscribe(World *w, SimClient *c) {
    SimSet *set = &c->sets[world_random(w, SETS)];
    if (set->live) {
        sim_unsubscribe(w, c, set, world_random(w, 2));
        return;
    }
    set->id = (uint32_t)(set - c->sets) + 10 * (uint32_t)world_random(w, 3);
    set->count = (uint32_t)world_random(w, QUERIES + 1);
    for (uint32_t i = 0; i < set->count; i++) {
        bool again = i > 0 && world_random(w, 6) == 0;
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
    uint64_t id = world_random(w, IDS);
    Bytes bytes = user_row(row,
                           id,
                           (uint32_t)world_random(w, ROOMS),
                           names[world_random(w, ARRAY_LEN(names))],
                           world_random(w, 2),
                           (uint8_t)world_random(w, PEOPLE));
    world_change_user(w, id, bytes);
}

static void random_note_change(World *w, Buf *row) {
    world_change_note(w,
                      note_row(row,
                               (uint32_t)world_random(w, 6),
                               (uint32_t)world_random(w, 6),
                               names[world_random(w, 3)]));
}

static void random_commit(World *w) {
    Buf row = {0};
    world_begin(w);
    uint64_t count = world_random(w, 20) ? 1 + world_random(w, 5) : 60;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t what = world_random(w, 12);
        if (what < 7)
            random_user_change(w, &row);
        else if (what < 11)
            random_note_change(w, &row);
        else if (world_changes.event_count < ARRAY_LEN(world_changes.events))
            put_event(&world_changes, world_random(w, 5), (uint32_t)world_random(w, 4));
    }
    uint64_t cleared;
    if (world_random(w, 100) == 0) EXPECT_OK(table_clear(w->tables[NOTES]->table, &cleared));
    world_commit(w);
    buf_deinit(&row);
}

static void count_dropped(void *ctx, void *owner, uint32_t query_set, const char *reason) {
    (void)owner;
    (void)query_set;
    (void)reason;
    ++*(uint32_t *)ctx;
}

static void live_run(uint64_t seed, uint32_t commits) {
    enum { CLIENTS = 8 };
    World w = world_open();
    w.seed = seed;
    static SimClient clients[CLIENTS];
    for (uint32_t i = 0; i < CLIENTS; i++) {
        sim_open(&w, &clients[i], (uint8_t)i);
    }
    uint32_t dropped = 0;
    uint64_t heard = 0;
    for (uint32_t n = 0; n < commits; n++) {
        SimClient *c = &clients[world_random(&w, CLIENTS)];
        if (world_random(&w, 2)) random_subscribe(&w, c);
        if (world_random(&w, 150) == 0) {
            heard += c->heard;
            sim_close(c);
            sim_open(&w, c, (uint8_t)world_random(&w, PEOPLE));
        }
        if (world_random(&w, 100) == 0) {
            w.fake->door.schema_version++;
            EXPECT_OK(live_schema_changed(w.live, count_dropped, &dropped));
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
    EXPECT_EQ(dropped, 0);
    EXPECT(heard > commits);  // somebody was listening
    LiveStats stats = live_stats(w.live);
    EXPECT(stats.groups == 0 && stats.templates == 0 && stats.query_sets == 0 &&
           stats.clients == 0);
    world_close(&w);
}

// Conformance case 110.
TEST(live, what_clients_hold_equals_their_queries_after_every_commit) {
    const char *given = getenv("SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : 20261122;
    print_message("seed %llu\n", (unsigned long long)seed);
    for (uint64_t i = 0; i < 6; i++) {
        live_run(seed + i, 400);
    }
}

TEST_MAIN()
