// resuming_test.c: what a client does that comes back and is told what it missed.
#include "client_testing.h"

static void put_progress(Out *out, uint8_t place) {
    out_le(out, 9, 1);
    for (int i = 0; i < POINT_BYTES; i++)
        out_le(out, place, 1);
}

// The head of an answer that says what became of so many tables; then put_since for each.
static void put_resumed(Out *out, uint32_t request, size_t count) {
    out_le(out, 8, 1);
    out_le(out, request, 4);
    out_le(out, 0, 1);
    out_le(out, count, 4);
}

static void put_since(Out *out, const char *table, int kind, const char *gone, const char *rows) {
    put_text_of(out, table);
    out_le(out, (uint64_t)kind, 1);
    put_rows(out, gone);
    put_rows(out, rows);
}

// Connected, with rows as of a place; then the connection was lost and is there again.
static void world_back(World *world, const char *rows) {
    Out message = {0};
    EXPECT_EQ(world_open(world), LC_OK);
    world->client->speaks_ours = true;
    put_introduction(&message);
    put_applied(&message, world->subscription->id, "keyed", rows);
    put_progress(&message, 7);
    EXPECT_EQ(deliver(world, &message), LC_OK);
    EXPECT_EQ(update(world, "heap", "1:h 2:h", ""), LC_OK);
    EXPECT(!world->client->has_point);  // the rows are later than the place
    put_progress(&message, 8);
    EXPECT_EQ(deliver(world, &message), LC_OK);
    link_lost(world->client, "gone", false);
    link_up(world->client);
    world->heard[0] = 0;
    put_introduction(&message);
    EXPECT_EQ(deliver(world, &message), LC_OK);
    expect_heard(world, "hello(token) ");
}

// What the client has asked, without the masks of its frames.
static void asked_of(LcClient *client, Out *asked) {
    const Out *out = &client->out;
    for (size_t at = 0; at < out->len;) {
        size_t len = out->data[at + 1] & 127, head = 2;
        if (len == 126) {
            len = (size_t)out->data[at + 2] << 8 | out->data[at + 3];
            head = 4;
        }
        const uint8_t *mask = out->data + at + head;
        for (size_t i = 0; i < len; i++)
            out_le(asked, mask[4 + i] ^ mask[i & 3], 1);
        at += head + 4 + len;
    }
}

static void expect_asked(World *world, const uint8_t *want, size_t len) {
    Out asked = {0};
    asked_of(world->client, &asked);
    EXPECT_BYTES(BYTES(asked.data, asked.len), BYTES(want, len));
    out_free(&asked);
    out_drop(&world->client->out, world->client->out.len);
}

TEST(resuming, names_the_place_and_all_subscriptions) {
    World world;
    Out want = {0};
    world_back(&world, "1:a");
    out_le(&want, 6, 1);
    out_le(&want, world.client->resume, 4);
    for (int i = 0; i < POINT_BYTES; i++)
        out_le(&want, 8, 1);
    out_le(&want, 1, 4);
    out_le(&want, world.subscription->id, 4);
    out_le(&want, 1, 4);
    put_text_of(&want, "SELECT * FROM keyed");
    expect_asked(&world, want.data, want.len);
    out_free(&want);
    lc_client_free(&world.client);
}

TEST(resuming, tells_what_changed_and_nothing_else) {
    World world;
    Out message = {0};
    world_back(&world, "1:a 2:b 3:c 4:d");
    put_resumed(&message, world.client->resume, 2);
    put_since(&message, "keyed", SINCE_KEYS, "1: 2: 3: 9:", "1:a 3:z 5:e");
    put_since(&message, "heap", SINCE_ROWS, "2:h", "3:h");
    put_progress(&message, 9);
    EXPECT_EQ(deliver(&world, &message), LC_OK);
    expect_heard(&world, "-2:b 3:c>z +5:e -2:h +3:h applied ");
    EXPECT_EQ(lc_table_count(world.client, &keyed), 4);
    EXPECT_EQ(lc_table_count(world.client, &heap), 2);
    EXPECT(world.client->has_point && world.client->point[0] == 9);
    // Each row is held once again, as before.
    EXPECT_EQ(update(&world, "keyed", "", "1:a 4:d"), LC_OK);
    expect_heard(&world, "-1:a -4:d ");
    EXPECT_EQ(update(&world, "keyed", "", "1:a"), LC_MALFORMED);
    lc_client_free(&world.client);
}

TEST(resuming, replaces_a_table_that_is_told_whole) {
    World world;
    Out message = {0};
    world_back(&world, "1:a 2:b");
    put_resumed(&message, world.client->resume, 1);
    put_since(&message, "keyed", SINCE_WHOLE, "", "2:b 1:x");
    EXPECT_EQ(deliver(&world, &message), LC_OK);
    expect_heard(&world, "1:a>x applied ");
    EXPECT_EQ(lc_table_count(world.client, &heap), 2);
    lc_client_free(&world.client);
}

TEST(resuming, asks_for_everything_when_the_server_cannot) {
    World world;
    Out message = {0}, want = {0};
    world_back(&world, "1:a");
    out_drop(&world.client->out, world.client->out.len);
    out_le(&message, 8, 1);
    out_le(&message, world.client->resume, 4);
    out_le(&message, 1, 1);
    put_text_of(&message, "no");
    EXPECT_EQ(deliver(&world, &message), LC_OK);
    expect_heard(&world, "");
    out_le(&want, 0, 1);
    out_le(&want, world.client->ids, 4);
    out_le(&want, world.subscription->id, 4);
    out_le(&want, 1, 4);
    put_text_of(&want, "SELECT * FROM keyed");
    expect_asked(&world, want.data, want.len);
    put_progress(&message, 9);
    EXPECT_EQ(deliver(&world, &message), LC_OK);
    EXPECT(!world.client->has_point);  // what is shown is still the old
    put_applied(&message, world.subscription->id, "keyed", "1:b");
    put_progress(&message, 9);
    EXPECT_EQ(deliver(&world, &message), LC_OK);
    expect_heard(&world, "1:a>b -1:h -2:h applied ");
    EXPECT(world.client->has_point);
    out_free(&want);
    lc_client_free(&world.client);
}

TEST(resuming, is_of_all_that_is_here_or_of_nothing) {
    static const char *const what[] = {"an end", "a begin", "another server", "rows behind it"};
    for (size_t i = 0; i < ARRAY_LEN(what); i++) {
        World world;
        Out message = {0};
        world_back(&world, "1:a");
        put_resumed(&message, world.client->resume, 0);
        EXPECT_EQ(deliver(&world, &message), LC_OK);
        EXPECT(world.client->has_point);
        LcSubscribe heap_too = {.query = "SELECT * FROM heap"};
        if (i == 3) EXPECT_EQ(update(&world, "keyed", "2:b", ""), LC_OK);
        link_lost(world.client, "gone", false);
        if (i == 0) EXPECT_EQ(lc_unsubscribe(world.client, world.subscription), LC_OK);
        if (i == 0) subscriptions_sweep(world.client);
        if (i < 2) EXPECT_EQ(lc_subscribe(world.client, &heap_too, NULL), LC_OK);
        if (i == 2) world.client->speaks_ours = false;
        link_up(world.client);
        put_introduction(&message);
        EXPECT_EQ(deliver(&world, &message), LC_OK);
        EXPECT_EQ(world.client->resume, 0);
        EXPECT(!world.client->has_point);
        lc_client_free(&world.client);
    }
}

TEST(resuming, believes_no_answer_that_nobody_asked_for) {
    World world;
    Out message = {0};
    world_back(&world, "1:a");
    put_resumed(&message, world.client->resume + 1, 0);
    EXPECT_EQ(deliver(&world, &message), LC_MALFORMED);
    EXPECT_EQ(lc_table_count(world.client, &keyed), 1);
    lc_client_free(&world.client);
    world_back(&world, "1:a");
    put_resumed(&message, world.client->resume, 1);
    put_since(&message, "heap", SINCE_KEYS, "1:", "");  // which has none
    EXPECT_EQ(deliver(&world, &message), LC_MALFORMED);
    lc_client_free(&world.client);
}

TEST(resuming, survives_every_allocation_that_fails) {
    for (size_t at = 0;; at++) {
        World world;
        Out message = {0};
        world_back(&world, "1:a 2:b");
        put_resumed(&message, world.client->resume, 2);
        put_since(&message, "keyed", SINCE_KEYS, "1:", "1:c 3:d");
        put_since(&message, "heap", SINCE_WHOLE, "", "5:h");
        fault_on = true;
        fault_at = at;
        LcError error = deliver(&world, &message);
        fault_on = false;
        EXPECT(error == LC_OK || error == LC_NO_MEMORY);
        if (error) {  // nothing of it is shown
            EXPECT_EQ(lc_table_count(world.client, &keyed), 2);
            EXPECT_EQ(lc_table_count(world.client, &heap), 2);
        }
        lc_client_free(&world.client);
        out_free(&message);
        if (!error) break;
    }
}

TEST_MAIN()
