// What is worked out beside the loop before a commit is what the commit itself would have found, byte for
// byte, whoever comes and goes meanwhile. `SEED=7 build/…/tell_test` repeats a run.
#include <pthread.h>

#include "base/test.h"
#include "live/tell.h"
#include "live/world_testing.h"

enum { CLIENTS = 6, IDS = 40, ROOMS = 5, PEOPLE = 6 };
static const char *const names[] = {"", "a", "ab", "b"};
static SimClient clients[CLIENTS];

// Broadcast, guards with and without ranges, several ways, and what must be tested on every row.
static void text_draw(World *w, char out[TEXT]) {
    unsigned a = (unsigned)world_random(w, IDS), b = (unsigned)world_random(w, IDS);
    unsigned room = (unsigned)world_random(w, ROOMS);
    static const char *const forms[] = {
        "select * from users",
        "select * from notes",
        "select * from users where room = %3$u",
        "select * from users where id >= %1$u and id <= %2$u",
        "select * from users where room = %3$u and id > %1$u",
        "select * from users where id in (%1$u, %2$u) or room = %3$u",
        "select * from users where name <> 'a'",
        "select * from users where owner = :sender",
        "select * from notes where x = %3$u",
        "select * from notes where x < y",
        "select * from events",
    };
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(out, TEXT, forms[world_random(w, ARRAY_LEN(forms))], a, b, room);
#pragma GCC diagnostic pop
}

// ERR_BUSY: somebody has to wait.
static Err subscribe(World *w, SimClient *c, SimSet *set) {
    set->id = (uint32_t)(set - c->sets) + 1;
    set->count = 1 + (uint32_t)world_random(w, QUERIES);
    for (uint32_t i = 0; i < set->count; i++)
        text_draw(w, set->texts[i]);
    Diag diag;
    diag_clear(&diag);
    return sim_subscribe(w, c, set, &diag);
}

static uint32_t come_and_go(World *w, uint32_t times) {
    uint32_t waited = 0;
    for (uint32_t i = 0; i < times; i++) {
        SimClient *c = &clients[world_random(w, CLIENTS)];
        SimSet *set = &c->sets[world_random(w, SETS)];
        if (set->live) {
            sim_unsubscribe(w, c, set, world_random(w, 2));
            continue;
        }
        Err err = subscribe(w, c, set);
        waited += err == ERR_BUSY;
        EXPECT(err == OK || err == ERR_BUSY);
    }
    return waited;
}

// ── a transaction that is known before it is made ──────────────────────────────────────────────

static void rows_make(World *w, bool forward) {
    store_begin(w->store);
    for (int step = 0; step < 2; step++) {
        for (size_t i = 0; i < world_changes.count; i++) {
            const LiveChange *change = &world_changes.list[i];
            Bytes gone = forward ? change->old_row : change->new_row;
            Bytes came = forward ? change->new_row : change->old_row;
            if (step == 0 && gone.ptr) EXPECT_OK(table_delete_row(change->table, gone));
            if (step == 1 && came.ptr) EXPECT_OK(table_insert(change->table, came, NULL, NULL));
        }
    }
    store_commit(w->store);
}

static bool is_emptied[TABLES];  // in the end, whatever was done to it before

static void changes_draw(World *w, uint64_t count) {
    Buf row = {0};
    world_begin(w);
    is_emptied[USERS] = world_random(w, 5) == 0;
    is_emptied[NOTES] = world_random(w, 5) == 0;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t id = world_random(w, IDS);
        const char *name = names[world_random(w, ARRAY_LEN(names))];
        uint32_t room = (uint32_t)world_random(w, ROOMS);
        if (world_random(w, 3)) {
            uint8_t who = (uint8_t)world_random(w, PEOPLE);
            world_change_user(w, id, user_row(&row, id, room, name, id % 2, who));
        } else {
            world_change_note(w, note_row(&row, room, (uint32_t)world_random(w, ROOMS), name));
        }
    }
    for (uint32_t t = 0; t < TABLES; t++) {
        if (is_emptied[t]) EXPECT_OK(table_clear(w->tables[t]->table, NULL));
    }
    changes_end(w, &world_changes);
    rows_make(w, false);
    buf_deinit(&row);
}

// Somebody else's, meanwhile.
static void event_commit(World *w) {
    Buf row = {0};
    buf_put_u64(&row, world_random(w, 5));
    buf_put_u32(&row, 3);
    LiveChange change = {.table = w->tables[EVENTS]->table,
                         .table_id = w->tables[EVENTS]->table_id,
                         .is_event = true,
                         .new_row = buf_bytes(&row)};
    const LiveUpdate *updates;
    size_t count;
    EXPECT_OK(live_commit(w->live, &change, 1, &updates, &count));
    for (size_t i = 0; i < count; i++)
        sim_update(w, &updates[i]);
    buf_deinit(&row);
}

// ── what everybody is told ─────────────────────────────────────────────────────────────────────

static void put_updates(Buf *out, const LiveUpdate *updates, size_t count) {
    for (size_t i = 0; i < count; i++) {
        buf_put(out, &updates[i].owner, sizeof updates[i].owner);
        buf_put_u32(out, updates[i].set_count);
        for (uint32_t s = 0; s < updates[i].set_count; s++) {
            const LiveDelta *delta = updates[i].sets[s].delta;
            buf_put_u32(out, updates[i].sets[s].query_set);
            buf_put_lp(out, str_bytes(delta->table_name));
            buf_put_u32(out, delta->table_id);
            buf_put_u64(out, delta->id);
            buf_put_lp(out, delta->inserts);
            buf_put_lp(out, delta->deletes);
        }
    }
    EXPECT(buf_ok(out));
}

static bool goes_whole(const World *w, const LiveChange *change) {
    for (uint32_t t = 0; t < TABLES; t++) {
        if (w->tables[t]->table == change->table) return is_emptied[t];
    }
    return false;
}

// One change for each table. `only_emptied`: where it loses all its rows, and the rows of the others.
static size_t short_list(const World *w, bool only_emptied, LiveChange *out) {
    size_t count = 0;
    for (size_t i = 0; i < world_changes.count; i++) {
        const LiveChange *change = &world_changes.list[i];
        bool is_clear = goes_whole(w, change);
        bool is_first = i == 0 || change[-1].table_id != change->table_id;
        if (only_emptied && !is_clear) {
            out[count++] = *change;
        } else if (is_first) {
            out[count++] = (LiveChange){.table = change->table,
                                        .table_id = change->table_id,
                                        .is_clear = is_clear,
                                        .is_bulk = !is_clear};
        }
    }
    return count;
}

// The commit: as its rows say, and then as it was told. False: it was not.
static bool commit_both(World *w, LiveTell *tell) {
    const LiveUpdate *updates;
    size_t count;
    Buf plain = {0}, told = {0};
    LiveChange bulk[TABLES];
    rows_make(w, true);
    EXPECT_OK(live_commit(w->live, world_changes.list, world_changes.count, &updates, &count));
    put_updates(&plain, updates, count);
    bool is_told = tell && live_tell_use(tell);
    if (is_told) {
        EXPECT(!live_wants_rows(w->live, w->tables[USERS]->table_id));
        EXPECT_OK(live_commit(w->live, bulk, short_list(w, false, bulk), &updates, &count));
        put_updates(&told, updates, count);
        EXPECT_BYTES(buf_bytes(&told), buf_bytes(&plain));
    }
    for (size_t i = 0; i < count; i++)
        sim_update(w, &updates[i]);
    buf_deinit(&plain);
    buf_deinit(&told);
    return is_told;
}

typedef struct Running {
    LiveTell *tell;
    Snapshot *before;
    LiveChange changes[ARRAY_LEN(world_changes.list)];
    size_t count;
    Err err;
} Running;

static void *run(void *ctx) {
    Running *r = ctx;
    r->err = live_tell_run(r->tell, r->changes, r->count, r->before);
    return NULL;
}

static Err begin_tell(World *w, LiveTell **out) {
    uint32_t ids[] = {w->tables[USERS]->table_id, w->tables[NOTES]->table_id};
    return live_tell_begin(w->live, ids, ARRAY_LEN(ids), &(LiveTellEnv){0}, out);
}

static Err begin(World *w, Running *r) {
    r->tell = NULL;
    r->before = NULL;
    r->count = short_list(w, true, r->changes);
    Err err = begin_tell(w, &r->tell);
    return err == OK ? store_snapshot(w->store, &r->before) : err;
}

static void over(Running *r) {
    snapshot_release(&r->before);
    if (!r->tell) return;
    live_tell_end(r->tell);
    live_tell_free(&r->tell);
}

static World open(void) {
    World w = world_open();
    const char *given = getenv("SEED");
    w.seed = given ? strtoull(given, NULL, 10) : 20261122;
    print_message("seed %llu\n", (unsigned long long)w.seed);
    for (uint32_t i = 0; i < CLIENTS; i++)
        sim_open(&w, &clients[i], (uint8_t)i);
    return w;
}

static void close_all(World *w) {
    for (uint32_t i = 0; i < CLIENTS; i++)
        sim_close(&clients[i]);
    LiveStats stats = live_stats(w->live);
    EXPECT(stats.groups == 0 && stats.templates == 0 && stats.query_sets == 0);
    world_close(w);
}

TEST(tell, finds_out_beside_the_loop_what_the_commit_would_have_found) {
    World w = open();
    uint64_t waited = 0, heard = 0, emptied = 0;
    for (int n = 0; n < 400; n++) {
        come_and_go(&w, 4);
        changes_draw(&w, 1 + world_random(&w, 60));
        static Running r;
        EXPECT_OK(begin(&w, &r));
        LiveTell *second;
        EXPECT_ERR(begin_tell(&w, &second), ERR_BUSY);
        pthread_t thread;
        EXPECT_EQ(pthread_create(&thread, NULL, run, &r), 0);
        waited += come_and_go(&w, (uint32_t)world_random(&w, 8));
        event_commit(&w);
        if (world_random(&w, 20) == 0) {
            sim_close(&clients[0]);
            sim_open(&w, &clients[0], 0);
        }
        EXPECT_EQ(pthread_join(thread, NULL), 0);
        EXPECT_OK(r.err);
        waited += come_and_go(&w, (uint32_t)world_random(&w, 4));
        EXPECT(commit_both(&w, r.tell));
        emptied += is_emptied[USERS] + is_emptied[NOTES];
        over(&r);
        for (uint32_t i = 0; i < CLIENTS; i++)
            expect_current(&w, &clients[i]);
        changes_free(&world_changes);
    }
    for (uint32_t i = 0; i < CLIENTS; i++)
        heard += clients[i].heard;
    EXPECT(waited > 50);
    EXPECT(emptied > 50);
    EXPECT(heard > 400);
    close_all(&w);
}

TEST(tell, makes_wait_who_would_be_the_first_and_nobody_else) {
    World w = open();
    SimSet *first = SUBSCRIBE(&w, &clients[0], 1, "select * from users where room = 1");
    LiveTell *tell;
    EXPECT_OK(begin_tell(&w, &tell));
    const LiveRows *rows;
    uint32_t count;
    Diag diag;
    Str known = STR("select * from users where room = 1");
    Str unknown = STR("select * from users where room = 2");
    EXPECT_OK(live_subscribe(clients[1].client, 5, &known, 1, &rows, &count, &diag));
    EXPECT_ERR(live_subscribe(clients[1].client, 6, &unknown, 1, &rows, &count, &diag), ERR_BUSY);
    EXPECT_OK(live_unsubscribe(clients[1].client, 5, false, &rows, &count, &diag));
    sim_unsubscribe(&w, &clients[0], first, false);
    EXPECT_EQ(live_stats(w.live).groups, 1);  // it is looked at
    EXPECT_OK(live_subscribe(clients[1].client, 5, &known, 1, &rows, &count, &diag));
    EXPECT_OK(live_unsubscribe(clients[1].client, 5, false, &rows, &count, &diag));
    live_tell_end(tell);
    EXPECT_EQ(live_stats(w.live).groups, 0);
    EXPECT_OK(live_subscribe(clients[1].client, 6, &unknown, 1, &rows, &count, &diag));
    EXPECT_OK(live_unsubscribe(clients[1].client, 6, false, &rows, &count, &diag));
    live_tell_free(&tell);
    close_all(&w);
}

static void nothing_dropped(void *ctx, void *owner, uint32_t query_set, const char *reason) {
    (void)ctx;
    (void)owner;
    (void)query_set;
    EXPECT(!reason);
}

TEST(tell, is_given_up_when_the_schema_changes) {
    World w = open();
    SUBSCRIBE(&w, &clients[0], 1, "select * from users", "select * from notes where x = 2");
    changes_draw(&w, 50);
    static Running r;
    EXPECT_OK(begin(&w, &r));
    run(&r);
    EXPECT_OK(r.err);
    w.fake->door.schema_version++;
    EXPECT_OK(live_schema_changed(w.live, nothing_dropped, NULL));
    EXPECT(!commit_both(&w, r.tell));
    over(&r);
    expect_current(&w, &clients[0]);
    changes_free(&world_changes);
    close_all(&w);
}

static void put_some(World *w) {
    world_begin(w);
    for (uint64_t id = 0; id < 10; id++)
        put_user(w, id, 1, "", 0);
    world_commit(w);
}

static bool at_once(void *ctx) {
    (void)ctx;
    return true;
}

TEST(tell, stops_when_it_is_told_to) {
    World w = open();
    SUBSCRIBE(&w, &clients[0], 1, "select * from users");
    uint32_t id = w.tables[USERS]->table_id;
    LiveTellEnv env = {.is_stopped = at_once};
    for (uint64_t emptied = 0; emptied < 2;) {  // by its rows, and as a whole
        static Running r;
        put_some(&w);
        changes_draw(&w, 50);
        r.count = short_list(&w, true, r.changes);
        EXPECT_OK(live_tell_begin(w.live, &id, 1, &env, &r.tell));
        EXPECT_OK(store_snapshot(w.store, &r.before));
        run(&r);
        EXPECT_ERR(r.err, ERR_CLOSED);
        EXPECT(!commit_both(&w, r.tell));
        over(&r);
        expect_current(&w, &clients[0]);
        changes_free(&world_changes);
        emptied += is_emptied[USERS] == (emptied > 0);
    }
    close_all(&w);
}

TEST(tell, leaves_the_rows_to_the_commit_where_there_is_no_memory) {
    World w = open();
    uint32_t told = 0, untold = 0;
    bool hit = true;
    for (int64_t n = 0; hit; n++) {
        for (uint32_t i = 0; i < CLIENTS; i++) {
            for (uint32_t s = 0; s < SETS; s++) {
                if (!clients[i].sets[s].live)
                    EXPECT_OK(subscribe(&w, &clients[i], &clients[i].sets[s]));
            }
        }
        changes_draw(&w, 30);
        static Running r;
        mem_fault_arm(n);
        Err err = begin(&w, &r);
        if (err == OK) run(&r);
        if (err == OK) err = r.err;
        for (uint32_t i = 0; i < CLIENTS; i++)  // some groups are left
            sim_unsubscribe(&w, &clients[i], &clients[i].sets[0], false);
        hit = mem_fault_hit();
        mem_fault_arm(-1);
        EXPECT(err == OK || (hit && err == ERR_NOMEM));
        bool is_told = commit_both(&w, r.tell);
        EXPECT(is_told || hit);
        told += is_told;
        untold += !is_told;
        over(&r);
        for (uint32_t i = 0; i < CLIENTS; i++)
            expect_current(&w, &clients[i]);
        changes_free(&world_changes);
    }
    EXPECT(untold > 20 && told > 0);
    close_all(&w);
}

TEST_MAIN()
