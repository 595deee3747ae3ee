// Stories of one commit each: spec sql-and-subscriptions §6.5, one table. The property behind them is
// in property_test.c.
#include "live/live.h"

#include "base/mem.h"
#include "base/test.h"
#include "live/world_testing.h"

// ── stories ────────────────────────────────────────────────────────────────────────────────────

TEST(live, sends_only_rows_that_match) {  // §6.5 86
    World w = world_open();
    SimClient a;
    sim_open(&w, &a, 1);
    SimSet *set = SUBSCRIBE(&w, &a, 7, "select * from notes where x = 0");
    world_begin(&w);
    put_note(&w, 1, 1);
    world_commit(&w);
    EXPECT_EQ(a.heard, 0);
    world_begin(&w);
    put_note(&w, 0, 1);
    world_commit(&w);
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
    world_begin(&w);
    put_user(&w, 5, 1, "ann", 1);
    world_commit(&w);
    world_begin(&w);
    put_user(&w, 5, 1, "eve", 1);
    changes_end(&w, &world_changes);
    EXPECT_EQ(world_changes.count, 1);
    const LiveUpdate *updates;
    size_t count;
    EXPECT_OK(live_commit(w.live, world_changes.list, world_changes.count, &updates, &count));
    EXPECT_EQ(count, 1);
    EXPECT_EQ(updates[0].set_count, 1);
    Bag gained = {0}, lost = {0};
    EXPECT(rows_apply(&gained, USERS, updates[0].sets[0].delta->inserts, 1));
    EXPECT(rows_apply(&lost, USERS, updates[0].sets[0].delta->deletes, 1));
    EXPECT(gained.count == 1 && lost.count == 1);
    bag_clear(&gained);
    bag_clear(&lost);
    sim_update(&w, &updates[0]);
    changes_free(&world_changes);
    expect_current(&w, &a);
    world_begin(&w);
    remove_user(&w, 5);
    world_commit(&w);
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
    world_begin(&w);
    put_user(&w, 1, 0, "a", 1);
    put_user(&w, 2, 0, "b", 2);
    world_commit(&w);
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
    world_begin(&w);
    put_user(&w, 5, 1, "ann", 1);
    world_commit(&w);
    EXPECT(one->rows.count == 1 && two->rows.count == 0);
    world_begin(&w);
    put_user(&w, 5, 2, "ann", 1);
    world_commit(&w);
    EXPECT_EQ(a.heard, 2);
    EXPECT(one->rows.count == 0 && two->rows.count == 1);
    world_begin(&w);
    put_user(&w, 5, 3, "ann", 1);
    world_commit(&w);
    world_begin(&w);
    put_user(&w, 5, 4, "ann", 1);  // outside stays outside
    world_commit(&w);
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
    world_begin(&w);
    put_note(&w, 1, 1);
    world_commit(&w);
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
    world_begin(&w);
    put_note(&w, 1, 1);
    world_commit(&w);
    SimSet *one = SUBSCRIBE(&w, &a, 1, "select * from notes", "  select * from notes\n");
    SimSet *two = SUBSCRIBE(&w, &a, 2, "select * from notes");
    SimSet *spelled = SUBSCRIBE(&w, &a, 3, "select * from notes", "SELECT * FROM notes");
    EXPECT_EQ(one->rows.entries[0].count, 1);
    EXPECT_EQ(two->rows.entries[0].count, 1);
    EXPECT_EQ(spelled->rows.entries[0].count, 2);
    EXPECT_EQ(live_stats(w.live).groups, 1);
    world_begin(&w);
    put_note(&w, 2, 2);
    remove_note(&w, 1, 1);
    world_commit(&w);
    EXPECT_EQ(one->rows.entries[0].count, 1);
    EXPECT_EQ(spelled->rows.entries[0].count, 2);
    sim_unsubscribe(&w, &a, two, false);
    world_begin(&w);
    put_note(&w, 3, 3);
    world_commit(&w);
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
    world_begin(&w);
    put_note(&w, 1, 1);
    world_commit(&w);
    sim_unsubscribe(&w, &b, &b.sets[0], true);
    sim_close(&c);
    world_begin(&w);
    put_note(&w, 2, 1);
    world_commit(&w);
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
    world_begin(&w);
    put_note(&w, 1, 1);
    world_commit(&w);
    EXPECT_EQ(a.heard, 0);
    sim_close(&a);
    world_close(&w);
}

TEST(live, answers_with_an_entry_a_query_but_none_for_an_empty_table) {  // 104
    World w = world_open();
    SimClient a;
    sim_open(&w, &a, 1);
    world_begin(&w);
    put_note(&w, 1, 1);
    world_commit(&w);
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
    world_begin(&w);
    put_user(&w, 1, 1, "a", 1);
    put_note(&w, 1, 1);
    put_event(&world_changes, 1, 1);
    world_commit(&w);
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
    world_begin(&w);
    put_event(&world_changes, 1, 5);
    put_event(&world_changes, 2, 6);
    put_event(&world_changes, 1, 7);
    world_commit(&w);
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
    world_begin(&w);
    put_user(&w, 7 * EACH + 1, 3, "ann", 1);
    world_commit(&w);
    LiveStats after = live_stats(w.live);
    EXPECT_EQ(after.groups_tested - before.groups_tested, 1);
    EXPECT_EQ(after.groups_hit - before.groups_hit, 1);
    EXPECT_EQ(clients[7].heard, 1);

    world_begin(&w);
    put_note(&w, 9 * EACH, 1);      // two columns fix it
    put_note(&w, 9 * EACH + 1, 1);  // nobody
    put_user(&w, 7 * EACH + 1, 4, "ann", 1);
    world_commit(&w);
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
    world_begin(&w);
    put_note(&w, 1, 1);
    changes_end(&w, &world_changes);
    const LiveUpdate *updates;
    size_t count;
    EXPECT_OK(live_commit(w.live, world_changes.list, world_changes.count, &updates, &count));
    EXPECT_EQ(count, CLIENTS);
    EXPECT_EQ(live_stats(w.live).rows_encoded, 1);
    for (size_t i = 0; i < count; i++) {
        EXPECT(updates[i].sets[0].delta == updates[0].sets[0].delta);
        sim_update(&w, &updates[i]);
    }
    changes_free(&world_changes);
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
    world_begin(&w);
    put_note(&w, 1, 1);
    world_commit(&w);
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
    world_begin(&w);
    put_note(&w, 2, 1);
    world_commit(&w);
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
    world_begin(&w);
    put_note(&w, 1, 1);
    put_user(&w, 1, 1, "ann", 1);
    world_commit(&w);
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
    world_begin(&w);
    for (uint32_t i = 0; i < ARRAY_LEN(clients); i++) {
        put_user(&w, i, i, "somebody with a longer name", 1);
        put_note(&w, i, i);
    }
    changes_end(&w, &world_changes);
    const LiveUpdate *updates;
    size_t count;
    int64_t failures = 0;
    for (;; failures++) {
        mem_fault_arm(failures);
        Err err = live_commit(w.live, world_changes.list, world_changes.count, &updates, &count);
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
    changes_free(&world_changes);
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

TEST_MAIN()
