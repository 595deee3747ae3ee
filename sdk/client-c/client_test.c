// client_test.c: the C client without a socket: rows, calls, subscriptions. With a server:
// tests/e2e/client_c.test.mjs.
#include "client_testing.h"

#include "../../tests/golden/rich-c/rich.c"

// ── rows ───────────────────────────────────────────────────────────────────────────────────────

TEST(rows, of_a_subscription_are_told_when_all_are_there) {
    World world;
    Out message = {0};
    EXPECT_EQ(world_open(&world), LC_OK);
    put_introduction(&message);
    put_applied(&message, world.subscription->id, "keyed", "1:a 2:b");
    EXPECT_EQ(deliver(&world, &message), LC_OK);
    expect_heard(&world, "hello(token) +1:a +2:b applied ");
    EXPECT_EQ(lc_table_count(world.client, &keyed), 2);
    EXPECT_STR(((const Pair *)lc_table_find(world.client, &keyed, 0, &(uint32_t){2}))->name.ptr,
               "b");
    EXPECT(lc_table_find(world.client, &keyed, 0, &(uint32_t){3}) == NULL);
    lc_client_free(&world.client);
}

TEST(rows, with_the_same_key_are_one_update) {
    World world;
    world_ready(&world, "1:a 2:b");
    EXPECT_EQ(update(&world, "keyed", "1:z 3:c", "2:b 1:a"), LC_OK);
    expect_heard(&world, "1:a>z +3:c -2:b ");
    EXPECT_EQ(update(&world, "keyed", "1:z", "1:z"), LC_OK);
    expect_heard(&world, "");
    lc_client_free(&world.client);
}

TEST(rows, without_a_key_are_never_updated) {
    World world;
    world_ready(&world, "");
    EXPECT_EQ(update(&world, "heap", "1:a 1:a 1:b", ""), LC_OK);
    expect_heard(&world, "+1:a +1:b ");
    EXPECT_EQ(update(&world, "heap", "1:c", "1:a 1:b"), LC_OK);
    expect_heard(&world, "+1:c -1:b ");
    EXPECT_EQ(lc_table_count(world.client, &heap), 2);
    lc_client_free(&world.client);
}

TEST(rows, that_two_queries_bring_stay_until_both_are_gone) {
    World world;
    Out message = {0};
    world_ready(&world, "1:a 2:b");
    LcSubscription *second;
    LcSubscribe more = {.query = "SELECT * FROM keyed WHERE id = 1",
                        .on_end = on_end,
                        .context = &world};
    EXPECT_EQ(lc_subscribe(world.client, &more, &second), LC_OK);
    put_applied(&message, second->id, "keyed", "1:a");
    EXPECT_EQ(deliver(&world, &message), LC_OK);
    expect_heard(&world, "");
    EXPECT_EQ(lc_unsubscribe(world.client, world.subscription), LC_OK);
    out_le(&message, 2, 1);
    out_le(&message, 9, 4);
    out_le(&message, world.subscription->id, 4);
    out_le(&message, 0, 1);
    out_le(&message, 1, 4);
    put_text_of(&message, "keyed");
    put_rows(&message, "1:a 2:b");
    EXPECT_EQ(deliver(&world, &message), LC_OK);
    expect_heard(&world, "-2:b end() ");
    EXPECT_EQ(lc_table_count(world.client, &keyed), 1);
    lc_client_free(&world.client);
}

TEST(rows, of_events_are_told_and_not_kept) {
    World world;
    world_ready(&world, "");
    EXPECT_EQ(update(&world, "happened", "1:a 1:a", NULL), LC_OK);
    expect_heard(&world, "+1:a +1:a ");
    EXPECT_EQ(lc_table_count(world.client, &happened), 0);
    EXPECT(lc_table_next(world.client, &happened, NULL) == NULL);
    lc_client_free(&world.client);
}

TEST(rows, of_unknown_tables_are_odd_and_no_more) {
    World world;
    world_ready(&world, "");
    EXPECT_EQ(update(&world, "new", "1:a", ""), LC_OK);
    expect_heard(&world, "odd(the module of this program has no table `new`; generate it again) ");
    lc_client_free(&world.client);
}

TEST(rows, that_never_came_cannot_go) {
    World world;
    world_ready(&world, "1:a");
    EXPECT_EQ(update(&world, "keyed", "2:b", "1:x"), LC_MALFORMED);
    expect_heard(&world, "lost(the server sent what is no message) ");
    EXPECT_EQ(lc_table_count(world.client, &keyed), 1);  // nothing of a broken transaction is shown
    lc_client_free(&world.client);
}

TEST(rows, after_a_reconnect_are_told_as_one_change) {
    World world;
    Out message = {0};
    world_ready(&world, "1:a 2:b 3:c");
    EXPECT_EQ(update(&world, "heap", "1:h", ""), LC_OK);
    world.heard[0] = 0;
    link_lost(world.client, "gone", false);
    expect_heard(&world, "lost(gone) ");
    EXPECT_EQ(lc_table_count(world.client, &keyed), 3);
    link_up(world.client);
    LcSubscription *second;
    EXPECT_EQ(lc_subscribe(world.client, &(LcSubscribe){.query = "SELECT * FROM heap"}, &second),
              LC_OK);
    put_introduction(&message);
    put_applied(&message, world.subscription->id, "keyed", "2:b 3:z 4:d");
    EXPECT_EQ(deliver(&world, &message), LC_OK);
    expect_heard(&world, "hello(token) ");
    EXPECT_EQ(update(&world, "keyed", "5:e", "4:d"), LC_OK);
    expect_heard(&world, "");
    EXPECT_EQ(lc_table_count(world.client, &keyed), 3);  // still what was there
    put_applied(&message, second->id, "heap", "1:h");
    EXPECT_EQ(deliver(&world, &message), LC_OK);
    expect_heard(&world, "3:c>z +5:e -1:a applied ");
    EXPECT_EQ(lc_table_count(world.client, &heap), 1);
    lc_client_free(&world.client);
}

// A twin that is slow and obvious: per row how many copies there are.
TEST(rows, are_those_of_a_slow_twin) {
    enum { IDS = 12, NAMES = 3 };
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    srand(seed);
    World world;
    world_ready(&world, "");
    int copies[IDS][NAMES] = {0};
    for (int round = 0; round < 3000; round++) {
        char inserts[256] = "", deletes[256] = "";
        for (int i = rand() % 6; i > 0; i--) {
            int id = rand() % IDS, name = rand() % NAMES;
            bool removes = copies[id][name] > 0 && rand() % 2;
            char *list = removes ? deletes : inserts;
            snprintf(list + strlen(list), 16, "%d:%c ", id, 'a' + name);
            copies[id][name] += removes ? -1 : 1;
        }
        EXPECT_EQ(update(&world, "heap", inserts, deletes), LC_OK);
        world.heard[0] = 0;
        size_t want = 0, seen = 0;
        for (int id = 0; id < IDS; id++)
            for (int name = 0; name < NAMES; name++)
                want += copies[id][name] > 0;
        for (const Pair *row = lc_table_next(world.client, &heap, NULL); row;
             row = lc_table_next(world.client, &heap, row), seen++)
            EXPECT(copies[row->id][row->name.ptr[0] - 'a'] > 0);
        EXPECT_EQ(seen, want);
        EXPECT_EQ(lc_table_count(world.client, &heap), want);
    }
    lc_client_free(&world.client);
}

// ── calls ──────────────────────────────────────────────────────────────────────────────────────

static uint32_t call(World *world, const char *name) {
    EXPECT_EQ(lc_call_reducer(world->client, name, &lc_type_unit, NULL, on_done, world), LC_OK);
    return world->client->ids;
}

static void put_result(Out *out, uint32_t id, uint8_t outcome) {
    out_le(out, 6, 1);
    out_le(out, id, 4);
    out_le(out, 5, 8);
    out_le(out, outcome, 1);
}

TEST(calls, are_answered_after_the_rows_they_changed) {
    World world;
    Out message = {0};
    world_ready(&world, "1:a");
    uint32_t first = call(&world, "one"), second = call(&world, "two"),
             third = call(&world, "three");
    EXPECT_EQ(lc_client_pending(world.client), 3);
    put_result(&message, first, 0);
    out_le(&message, 0, 4);
    put_update(&message, world.subscription->id, "keyed", "1:b", "1:a");
    put_result(&message, second, 2);
    out_le(&message, 6, 4);
    put_text_of(&message, "no");
    put_result(&message, third, 3);
    put_text_of(&message, "trap");
    EXPECT_EQ(deliver(&world, &message), LC_OK);
    expect_heard(&world, "1:a>b done(0 ) done(1 no) done(2 trap) ");
    EXPECT_EQ(lc_client_pending(world.client), 0);
    lc_client_free(&world.client);
}

TEST(calls, under_way_are_lost_with_the_connection_and_others_wait_for_the_next) {
    World world;
    Out message = {0};
    world_ready(&world, "");
    call(&world, "sent");
    link_lost(world.client, "gone", false);
    expect_heard(&world, "done(3 the connection was lost) lost(gone) ");
    uint32_t id = call(&world, "waits");
    EXPECT_EQ(world.client->out.len, 0);
    link_up(world.client);
    put_introduction(&message);
    EXPECT_EQ(deliver(&world, &message), LC_OK);
    EXPECT(world.client->out.len > 0);
    put_result(&message, id, 1);
    EXPECT_EQ(deliver(&world, &message), LC_OK);
    expect_heard(&world, "hello(token) done(0 ) ");
    call(&world, "late");
    lc_client_free(&world.client);
    expect_heard(&world, "done(3 the connection was lost) ");
}

static void on_rows(LcClient *client,
                    const LcResult *result,
                    const Pair *const *rows,
                    size_t count,
                    void *context) {
    (void)client;
    hear(context, "rows(%d", (int)result->status);
    for (size_t i = 0; i < count; i++)
        hear(context, " %u:%s", rows[i]->id, rows[i]->name.ptr);
    hear(context, ") ");
}

TEST(calls, of_queries_get_rows_that_are_in_no_table) {
    World world;
    Out message = {0};
    world_ready(&world, "");
    EXPECT_EQ(
        lc_table_query(world.client, &keyed, "SELECT * FROM keyed", (LcAnyFunction)on_rows, &world),
        LC_OK);
    out_le(&message, 5, 1);
    out_le(&message, world.client->ids, 4);
    out_le(&message, 0, 1);
    out_le(&message, 1, 4);
    put_text_of(&message, "keyed");
    put_rows(&message, "8:h 9:i");
    EXPECT_EQ(deliver(&world, &message), LC_OK);
    EXPECT_EQ(lc_table_query(world.client, &keyed, "SELECT", (LcAnyFunction)on_rows, &world),
              LC_OK);
    out_le(&message, 5, 1);
    out_le(&message, world.client->ids, 4);
    out_le(&message, 1, 1);
    put_text_of(&message, "bad");
    EXPECT_EQ(deliver(&world, &message), LC_OK);
    expect_heard(&world, "rows(0 8:h 9:i) rows(2) ");
    EXPECT_EQ(lc_table_count(world.client, &keyed), 0);
    lc_client_free(&world.client);
}

static void on_locate(LcClient *client,
                      const LcResult *result,
                      const RichPosition *value,
                      void *context) {
    (void)client;
    hear(context, "located(%d %g) ", (int)result->status, value ? (double)value->y : -1.0);
}

TEST(calls, of_procedures_give_a_value) {
    World world;
    Out message = {0};
    world_ready(&world, "");
    EXPECT_EQ(rich_call_locate(world.client, 5, on_locate, &world), LC_OK);
    out_le(&message, 7, 1);
    out_le(&message, 0, 1);
    out_sized(&message, "\0\0\x80\x3f\0\0\0\x40", 8);
    out_le(&message, 0, 8);
    out_le(&message, 0, 8);
    out_le(&message, world.client->ids, 4);
    EXPECT_EQ(deliver(&world, &message), LC_OK);
    expect_heard(&world, "located(0 2) ");
    lc_client_free(&world.client);
}

TEST(calls, with_an_argument_that_is_too_large_are_refused) {
    World world;
    world_ready(&world, "");
    uint8_t *large = calloc(1, REQUEST_BYTES_MAX);
    RichMoodArray none = {0};
    LcError error = rich_call_add_player(world.client,
                                         1,
                                         (RichPosition){0},
                                         none,
                                         (LcBytes){large, REQUEST_BYTES_MAX},
                                         on_done,
                                         &world);
    EXPECT_EQ(error, LC_BAD_ARGUMENT);
    EXPECT_EQ(lc_client_pending(world.client), 0);
    expect_heard(&world, "");
    free(large);
    lc_client_free(&world.client);
}

TEST(subscriptions, that_are_refused_end) {
    World world;
    Out message = {0};
    EXPECT_EQ(world_open(&world), LC_OK);
    put_introduction(&message);
    out_le(&message, 3, 1);
    out_le(&message, 0, 1);
    out_le(&message, 1, 4);
    out_le(&message, world.subscription->id, 4);
    put_text_of(&message, "no such table");
    EXPECT_EQ(deliver(&world, &message), LC_OK);
    expect_heard(&world, "hello(token) end(no such table) ");
    EXPECT(!world.client->is_stale);
    lc_client_free(&world.client);
}

TEST(subscriptions, that_break_later_begin_again_without_it) {
    World world;
    Out message = {0};
    world_ready(&world, "1:a");
    out_le(&message, 3, 1);
    out_le(&message, 1, 1);
    out_le(&message, world.subscription->id, 4);
    put_text_of(&message, "broken");
    EXPECT_EQ(deliver(&world, &message), LC_CLOSED);
    expect_heard(&world, "end(broken) lost(a subscription broke) ");
    link_up(world.client);
    put_introduction(&message);
    EXPECT_EQ(deliver(&world, &message), LC_OK);
    expect_heard(&world, "hello(token) -1:a ");
    lc_client_free(&world.client);
}

// ── memory ─────────────────────────────────────────────────────────────────────────────────────

// A life of a client in which the n-th allocation and all behind it fail, for every n until it is enough.
static LcError life(World *world) {
    LcError error = world_open(world);
    Out message = {0};
    if (error) return error;
    put_introduction(&message);
    put_applied(&message, world->subscription->id, "keyed", "1:a 2:b 3:c");
    error = message.error ? out_free(&message), message.error : deliver(world, &message);
    if (!error)
        error = update(world,
                       "keyed",
                       "1:z 4:d 5:e 6:f 7:g 8:h 9:i 10:j 11:k 12:l 13:m 14:n 15:o 16:p 17:q",
                       "2:b 1:a");
    if (!error) error = lc_call_reducer(world->client, "x", &lc_type_unit, NULL, on_done, world);
    if (!error) error = lc_table_query(world->client, &keyed, "x", (LcAnyFunction)on_rows, world);
    return error ? error : world->client->out.error;
}

TEST(memory, that_ends_anywhere_is_an_error_and_nothing_leaks) {
    for (size_t n = 0;; n++) {
        World world;
        fault_on = true;
        fault_at = n;
        LcError error = life(&world);
        fault_on = false;
        size_t count = world.client ? lc_table_count(world.client, &keyed) : 0;
        EXPECT(count == 0 || count == 3 || count == 16);  // whole transactions
        lc_client_free(&world.client);
        if (error == LC_OK) {
            EXPECT(n > 20 && count == 16);
            break;
        }
        EXPECT(error == LC_NO_MEMORY || error == LC_CLOSED || error == LC_MALFORMED);
    }
}

TEST_MAIN()
