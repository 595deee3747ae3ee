// Subscriptions that are prepared beside the loop hold what they would hold if they were not: whatever is
// committed, subscribed, given up or changed of the schema meanwhile.
#include <pthread.h>

#include "base/mem.h"
#include "base/test.h"
#include "live/world_testing.h"

enum { COST_MAX = 3 };  // rows that are looked at on the spot

static const char *const texts[] = {
    "SELECT room, COUNT(*) AS n FROM users GROUP BY room",
    "SELECT COUNT(*) AS n, MIN(id) AS low, MAX(id) AS high, SUM(id) AS total FROM users",
    "SELECT users.* FROM users JOIN notes ON users.room = notes.y WHERE notes.x < 4",
    "SELECT notes.y, COUNT(*) AS n FROM users JOIN notes ON users.room = notes.y GROUP BY notes.y",
    "SELECT u.room, MAX(v.id) AS high FROM users u JOIN users v ON u.room = v.room WHERE u.id > 9 GROUP BY u.room",
    "SELECT COUNT(n.s) AS n FROM users u LEFT JOIN notes n ON u.room = n.y",
};

typedef struct Held {  // a subscription of one of the texts, as its client holds it
    LiveClient *client;
    uint32_t text;
    bool live;
    Bag rows;
    LivePrepare *prepared, *running;  // while it waits
    Snapshot *snapshot;
    Err ran;
} Held;

enum { HELDS = 6 };

typedef struct Stage {
    World w;
    Held held[HELDS];
    uint64_t prepared, twice, failed;
} Stage;

static void run_fresh(const Stage *s, const Held *h, Bag *bag);

static bool add_to_bag(void *ctx, Bytes row) {
    return bag_add(ctx, 0, row, 1);
}

static void run_fresh(const Stage *s, const Held *h, Bag *bag) {
    Standing *standing;
    Diag diag;
    QueryCaller caller = {.is_owner = true};
    EXPECT_OK(standing_compile(str_from(texts[h->text]),
                               false,
                               &s->w.fake->door,
                               &caller,
                               &standing,
                               &diag));
    EXPECT_OK(standing_run(standing, NULL, false, add_to_bag, bag, &diag));
    standing_free(&standing);
}

static void expect_held(Stage *s) {
    for (int i = 0; i < HELDS; i++) {
        Held *h = &s->held[i];
        if (!h->live) continue;
        Bag fresh = {0};
        run_fresh(s, h, &fresh);
        EXPECT(bag_eq(&fresh, &h->rows));
        bag_clear(&fresh);
    }
}

static void answered(Held *h, const LiveAnswer *answer) {
    h->live = true;
    live_prepare_release(&h->prepared);
    for (uint32_t i = 0; i < answer->count; i++)
        EXPECT(rows_apply(&h->rows, 0, answer->rows[i].rows, 1));
    for (uint32_t i = 0; i < answer->query_count; i++) {  // as a worker would, now
        Diag diag;
        EXPECT_OK(standing_run(answer->queries[i], NULL, answer->bag, add_to_bag, &h->rows, &diag));
    }
    LiveAnswer done = *answer;
    live_queries_free(&done.queries, done.query_count);
}

// Ask, and begin what must be prepared.
static void ask(Stage *s, Held *h) {
    LiveAnswer answer;
    Diag diag;
    Str text = str_from(texts[h->text]);
    Err err = live_subscribe_within(h->client, 1, &text, 1, COST_MAX, &answer, &diag);
    if (err == OK) {
        answered(h, &answer);
    } else if (err == ERR_BUSY && answer.prepare) {
        s->prepared++;
        h->running = answer.prepare;
        EXPECT_OK(store_snapshot(s->w.store, &h->snapshot));
        live_prepare_begin(h->running);
    } else {
        if (err != ERR_BUSY) print_error("%s\n", diag.text);
        EXPECT_EQ(err, ERR_BUSY);
    }
}

static void *worker(void *ctx) {
    Held *h = ctx;
    atomic_bool stop = false;
    h->ran = live_prepare_run(h->running, h->snapshot, &stop);
    store_guard_lower();
    return NULL;
}

static void give_up(Held *h) {
    if (h->snapshot) snapshot_release(&h->snapshot);
    live_prepare_release(&h->running);
    live_prepare_release(&h->prepared);
    if (h->live) {
        const LiveRows *rows;
        uint32_t count;
        Diag diag;
        EXPECT_OK(live_unsubscribe(h->client, 1, false, &rows, &count, &diag));
    }
    h->live = false;
    bag_clear(&h->rows);
}

static void hear(Stage *s, const LiveUpdate *updates, size_t count) {
    for (size_t i = 0; i < count; i++) {
        Held *h = updates[i].owner;
        EXPECT(h->live);
        for (uint32_t k = 0; k < updates[i].set_count; k++) {
            const LiveDelta *delta = updates[i].sets[k].delta;
            EXPECT(rows_apply(&h->rows, 0, delta->inserts, 1));
            EXPECT(rows_apply(&h->rows, 0, delta->deletes, -1));
        }
    }
    expect_held(s);
}

static void commit_some(Stage *s, uint64_t changes) {
    World *w = &s->w;
    const LiveUpdate *updates;
    size_t count;
    Buf row = {0};
    world_begin(w);
    for (uint64_t i = 0; i < changes; i++) {
        uint32_t a = (uint32_t)world_random(w, 60), b = (uint32_t)world_random(w, 5);
        if (world_random(w, 2))
            world_change_user(w, a, user_row(&row, a, b, "ann", true, 1));
        else
            world_change_note(w, note_row(&row, a % 8, b, "n"));
    }
    buf_deinit(&row);
    changes_end(w, &world_changes);
    Arena keys = {0};
    for (size_t i = 0; i < world_changes.count; i++) {
        LiveChange *c = &world_changes.list[i];
        Buf key = {0};
        table_row_key(c->table, c->new_row.ptr ? c->new_row : c->old_row, &key);
        c->key = arena_bytes(&keys, buf_bytes(&key));
        buf_deinit(&key);
    }
    EXPECT_OK(live_commit(w->live, world_changes.list, world_changes.count, &updates, &count));
    hear(s, updates, count);
    changes_free(&world_changes);
    arena_deinit(&keys);
}

static void let_run(Stage *s, Held *h) {
    pthread_t thread;
    EXPECT_EQ(pthread_create(&thread, NULL, worker, h), 0);
    commit_some(s, 3);  // beside it
    EXPECT_EQ(pthread_join(thread, NULL), 0);
    EXPECT_OK(h->ran);
}

static void let_end(Stage *s, Held *h) {
    let_run(s, h);
    while (live_prepare_end(h->running, h->ran)) {
        s->twice++;
        let_run(s, h);
    }
    snapshot_release(&h->snapshot);
    live_prepare_add(&h->prepared, h->running);
    h->running = NULL;
    ask(s, h);
}

static Stage *stage_open(uint64_t seed, size_t quota) {
    static Stage s;
    s = (Stage){.w = world_open()};
    s.w.seed = seed;
    LiveOptions options = {.arrangement_quota = quota};
    live_set_options(s.w.live, &options);
    QueryCaller caller = {.is_owner = true};
    for (int i = 0; i < HELDS; i++)
        EXPECT_OK(live_client_open(s.w.live, &s.held[i], &caller, &s.held[i].client));
    commit_some(&s, 60);
    return &s;
}

static void stage_close(Stage *s) {
    for (int i = 0; i < HELDS; i++) {
        give_up(&s->held[i]);
        live_client_close(&s->held[i].client);
    }
    LiveStats stats = live_stats(s->w.live);
    EXPECT(stats.groups == 0 && stats.templates == 0 && stats.state_bytes == 0);
    world_close(&s->w);
}

static void none_dropped(void *ctx, void *owner, uint32_t query_set, const char *reason) {
    (void)ctx;
    (void)owner;
    (void)query_set;
    print_error("%s\n", reason);
    EXPECT(false);
}

TEST(prepare, ends_in_what_the_queries_say_whatever_happens_meanwhile) {
    const char *given = getenv("SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : 20261122;
    print_message("seed %llu\n", (unsigned long long)seed);
    Stage *s = stage_open(seed, LIVE_ARRANGEMENT_QUOTA);
    for (int step = 0; step < 3000; step++) {
        Held *h = &s->held[world_random(&s->w, HELDS)];
        uint64_t what = world_random(&s->w, 10);
        if (what < 4) {
            commit_some(s, 1 + world_random(&s->w, 6));
        } else if (h->running) {
            if (what < 9)
                let_end(s, h);
            else
                give_up(h);
        } else if (h->live) {
            if (what == 9) give_up(h);
        } else {
            h->text = (uint32_t)world_random(&s->w, ARRAY_LEN(texts));
            live_prepare_release(&h->prepared);
            ask(s, h);
        }
        if (world_random(&s->w, 200) == 0) {
            s->w.fake->door.schema_version++;
            EXPECT_OK(live_schema_changed(s->w.live, none_dropped, NULL));
        }
        expect_held(s);
    }
    EXPECT(s->prepared > 100);
    stage_close(s);
}

TEST(prepare, hands_a_long_log_to_the_worker_again) {
    Stage *s = stage_open(3, LIVE_ARRANGEMENT_QUOTA);
    Held *h = &s->held[0];
    h->text = 1;
    ask(s, h);
    EXPECT(h->running);
    for (int i = 0; i < 400; i++)
        commit_some(s, 20);
    let_end(s, h);
    EXPECT(s->twice >= 1);
    EXPECT(h->live);
    commit_some(s, 20);
    stage_close(s);
}

// Then the table that is arranged belongs to no template yet.
TEST(prepare, hears_of_commits_when_nobody_else_listens) {
    for (uint32_t text = 0; text < ARRAY_LEN(texts); text++) {
        Stage *s = stage_open(11 + text, LIVE_ARRANGEMENT_QUOTA);
        Held *h = &s->held[0];
        h->text = text;
        ask(s, h);
        EXPECT(h->running);
        while (h->running) {  // a join may need one arrangement after another
            for (int i = 0; i < 10; i++)
                commit_some(s, 6);
            let_end(s, h);
        }
        EXPECT(h->live);
        expect_held(s);
        commit_some(s, 6);
        stage_close(s);
    }
}

TEST(prepare, tells_who_asks_for_the_same_to_wait_and_lets_him_go_on_alone) {
    Stage *s = stage_open(5, LIVE_ARRANGEMENT_QUOTA);
    Held *a = &s->held[0], *b = &s->held[1];
    a->text = b->text = 0;
    ask(s, a);
    EXPECT(a->running);
    ask(s, b);
    EXPECT(!b->running && !b->live);
    let_end(s, a);
    EXPECT(a->live);
    ask(s, b);
    EXPECT(b->live && s->prepared == 1);
    give_up(a);
    commit_some(s, 6);
    give_up(b);
    ask(s, a);
    ask(s, b);
    give_up(a);  // nobody is at it any more
    ask(s, b);
    EXPECT(b->running);
    let_end(s, b);
    EXPECT(b->live);
    stage_close(s);
}

TEST(prepare, that_would_take_too_much_memory_is_refused_with_the_question) {
    Stage *s = stage_open(7, 500);
    static const uint32_t tried[] = {0, 2};
    for (size_t i = 0; i < ARRAY_LEN(tried); i++) {
        LiveAnswer answer;
        Diag diag;
        Str text = str_from(texts[tried[i]]);
        Held *h = &s->held[0];
        Err err = live_subscribe_within(h->client, 1, &text, 1, COST_MAX, &answer, &diag);
        EXPECT_EQ(err, ERR_BUSY);
        EXPECT(answer.prepare);
        h->running = answer.prepare;
        EXPECT_OK(store_snapshot(s->w.store, &h->snapshot));
        live_prepare_begin(h->running);
        pthread_t thread;
        EXPECT_EQ(pthread_create(&thread, NULL, worker, h), 0);
        EXPECT_EQ(pthread_join(thread, NULL), 0);
        EXPECT(!live_prepare_end(h->running, h->ran));
        snapshot_release(&h->snapshot);
        live_prepare_add(&h->prepared, h->running);
        h->running = NULL;
        commit_some(s, 6);
        err = live_subscribe_within(h->client, 1, &text, 1, COST_MAX, &answer, &diag);
        EXPECT_EQ(err, ERR_LIMIT);
        EXPECT(strstr(diag.text, "executing"));
        give_up(h);
    }
    stage_close(s);
}

TEST(prepare, that_is_stopped_or_misses_a_commit_leaves_nothing_behind) {
    Stage *s = stage_open(9, LIVE_ARRANGEMENT_QUOTA);
    for (uint32_t text = 0; text < ARRAY_LEN(texts); text++) {
        Held *h = &s->held[0];
        h->text = text;
        ask(s, h);
        EXPECT(h->running);
        live_missed(s->w.live);
        let_run(s, h);
        EXPECT(!live_prepare_end(h->running, OK));
        EXPECT_EQ(live_stats(s->w.live).groups, 0);
        give_up(h);
    }
    stage_close(s);
}

TEST(prepare, that_finds_no_memory_fails_with_the_question) {
    for (int64_t n = 0, done = 0; !done; n++) {
        Stage *s = stage_open(11, LIVE_ARRANGEMENT_QUOTA);
        Held *h = &s->held[0];
        LiveAnswer answer;
        Diag diag;
        Str text = str_from(texts[3]);
        Err err = ERR_BUSY;
        mem_fault_arm(n);
        for (int round = 0; err == ERR_BUSY && round < 9; round++) {
            err = live_subscribe_within(h->client, 1, &text, 1, COST_MAX, &answer, &diag);
            if (err != ERR_BUSY || !answer.prepare) break;
            Snapshot *snapshot;
            atomic_bool stop = false;
            if ((err = store_snapshot(s->w.store, &snapshot)) != OK) {
                live_prepare_release(&answer.prepare);
                break;
            }
            live_prepare_begin(answer.prepare);
            err = live_prepare_run(answer.prepare, snapshot, &stop);
            while (live_prepare_end(answer.prepare, err)) {
                err = live_prepare_run(answer.prepare, snapshot, &stop);
            }
            snapshot_release(&snapshot);
            live_prepare_add(&h->prepared, answer.prepare);
            err = ERR_BUSY;
        }
        mem_fault_arm(-1);
        EXPECT(err == OK || err == ERR_NOMEM);
        if (err == OK) {
            live_queries_free(&answer.queries, answer.query_count);
            h->live = true;
            done = 1;
        }
        give_up(h);
        stage_close(s);
    }
}

TEST_MAIN()
