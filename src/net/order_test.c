// order_test.c: who is read first, and how much of one at a time.
#define _GNU_SOURCE  // memmem
#include "net/app_testing.h"

#define ASK "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"

// One request on each.
static void ask_all(App *app, const int *sockets, int count) {
    for (int i = 0; i < count; i++)
        put(app, sockets[i], ASK);
}

static void hang_up_all(App *app, const int *sockets, int count) {
    for (int i = 0; i < count; i++)
        hang_up(app, sockets[i]);
}

// A clock that goes on by a little each time it is looked at, over the simulated network.
static int64_t ticking_clock(void *world) {
    static int64_t looks;
    (void)world;
    return ++looks * 20000;
}

TEST(order, in_a_hurry_prompt_connections_come_first_and_the_others_in_parts) {
    enum { MANY = 40 };
    App app;
    app_open(&app, NULL);
    int sockets[MANY];
    NetConn *conns[MANY];
    Buf got = {0};
    for (int i = 0; i < MANY; i++) {
        sockets[i] = dial_ws(&app);
        conns[i] = app.waiting;
    }
    Io ticking = *app.io;
    ticking.clock_monotonic_ns = ticking_clock;
    app.loop->io = &ticking;
    net_conn_set_prompt(conns[MANY - 1], true);
    net_set_hasty(app.loop, true);
    app.echo = true;
    Buf message = {0};
    put_frame(&message, 0x82, BYTES("hello", 5));
    for (int i = 0; i < MANY; i++)
        EXPECT_EQ(put_some(&app, sockets[i], buf_bytes(&message)), message.len);
    EXPECT_OK(net_turn(app.loop, 0));
    EXPECT_EQ(app.messages, 1);
    EXPECT_EQ(conns[MANY - 1]->out.count, 1);
    net_flush(app.loop);
    turn(&app);
    EXPECT(app.messages > 1 && app.messages < MANY / 2);
    EXPECT(!get_some(&app, sockets[MANY - 1], &got) && got.len > 0);  // last in line, and served
    for (int i = 0; i < 20; i++)
        turn(&app);
    EXPECT_EQ(app.messages, MANY);
    for (int i = 0; i < MANY - 1; i++) {
        buf_clear(&got);
        EXPECT(!get_some(&app, sockets[i], &got) && got.len > 0);
    }
    buf_deinit(&got);
    buf_deinit(&message);
    hang_up_all(&app, sockets, MANY);
    app_close(&app);
}

TEST(order, a_connection_goes_on_for_as_long_as_its_go_lasts) {
    enum { MANY = 2000 };
    App app;
    Io io;
    app_open(&app, NULL);
    int socket = dial_ws(&app);
    by_hand(&app, &io, 1000);
    app.echo = true;
    Buf message = {0}, got = {0};
    for (int i = 0; i < MANY; i++)
        put_frame(&message, 0x82, BYTES("x", 1));
    put_frame(&message, 0x82, BYTES("last", 4));
    EXPECT_EQ(put_some(&app, socket, buf_bytes(&message)), message.len);
    turn(&app);
    EXPECT(app.messages >= NET_GO_NS / 1000 && app.messages < NET_GO_NS / 1000 + 20);
    EXPECT(!get_some(&app, socket, &got) && got.len > 0);  // answers leave meanwhile
    send_frame(&app, socket, 0x82, BYTES("later", 5));     // and what comes stays behind
    turns(&app, MANY * 1000 / NET_GO_NS / 2);
    EXPECT(app.messages < MANY);
    turns(&app, MANY * 1000 / NET_GO_NS);
    EXPECT_EQ(app.messages, MANY + 2);
    EXPECT_STR(app.last, "later");
    buf_deinit(&message);
    buf_deinit(&got);
    hang_up(&app, socket);
    app_close(&app);
}

TEST(order, requests_that_were_sent_together_are_not_all_answered_in_one_go) {
    enum { MANY = 30 };
    App app;
    Io io;
    app_open(&app, NULL);
    int socket = dial(&app);
    turn(&app);
    by_hand(&app, &io, 150000);
    Buf all = {0}, got = {0};
    for (int i = 0; i < MANY; i++)
        buf_printf(&all, "GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", i);
    EXPECT_EQ(put_some(&app, socket, buf_bytes(&all)), all.len);
    turn(&app);
    EXPECT_EQ(app.requests, 2);
    turn(&app);
    EXPECT_EQ(app.requests, 4);
    turns(&app, MANY / 2);
    EXPECT_EQ(app.requests, MANY);
    get_some(&app, socket, &got);
    const char *at = (const char *)got.ptr;
    for (int i = 0; i < MANY; i++) {  // each, in order
        char want[32];
        snprintf(want, sizeof want, "GET /%d? ", i);
        at = memmem(at, (size_t)((const char *)got.ptr + got.len - at), want, strlen(want));
        EXPECT(at);
    }
    buf_deinit(&all);
    buf_deinit(&got);
    hang_up(&app, socket);
    app_close(&app);
}

// One letter from each of so many connections, in the order of the poller; then a turn.
static void say(App *app, const int *sockets, const char *letters) {
    memset(app->order, 0, sizeof app->order);
    for (size_t i = 0; letters[i]; i++) {
        if (letters[i] != ' ') send_frame(app, sockets[i], 0x82, BYTES(letters + i, 1));
    }
    turn(app);
}

TEST(order, who_asks_for_little_is_read_before_those_who_ask_for_much) {
    enum { MANY = 6 };
    App app;
    Io io;
    int sockets[MANY];
    app_open(&app, NULL);
    for (int i = 0; i < MANY; i++)
        sockets[i] = dial_ws(&app);
    by_hand(&app, &io, 20000);
    say(&app, sockets, "abcdef");
    EXPECT_EQ(strlen(app.order), MANY);  // all alike, all of them
    for (int i = 0; i < 10; i++)
        say(&app, sockets, "DDD");  // 2 ms each
    say(&app, sockets, "abcdef");
    EXPECT_EQ(strspn(app.order, "def"), 3);
    EXPECT_EQ(strlen(app.order), 3);
    send_frame(&app, sockets[5], 0x82, BYTES("f", 1));
    turn(&app);
    EXPECT_EQ(app.order[3], 'f');
    EXPECT(strlen(app.order) > 4 && strlen(app.order) < 1 + MANY);  // and of the others some
    turns(&app, 5);
    EXPECT_EQ(strlen(app.order), 1 + MANY);
    say(&app, sockets, "   DD");  // of the light ones two use more, and are light all the same
    turns(&app, 3);
    say(&app, sockets, "   def");
    EXPECT_EQ(app.order[0], 'f');
    hand_ns += 3 * RECENT_WINDOW_NS;
    say(&app, sockets, "abcdef");
    EXPECT_EQ(strlen(app.order), MANY);  // long ago
    hang_up_all(&app, sockets, MANY);
    app_close(&app);
}

TEST(order, light_ones_that_are_dear_do_not_hold_up_a_turn) {
    enum { MANY = 8 };
    App app;
    Io io;
    int sockets[MANY];
    app_open(&app, NULL);
    for (int i = 0; i < MANY; i++)
        sockets[i] = dial_ws(&app);
    by_hand(&app, &io, 1000);
    for (int i = 0; i < 50; i++)
        say(&app, sockets, "D");  // 0.1 ms each
    say(&app, sockets, " DDDDDD");
    EXPECT_STR(app.order, "D");  // one of them, and nobody else wants anything
    say(&app, sockets, "       x");
    EXPECT(app.order[0] == 'x');  // who has asked for nothing is before the rest of them
    turns(&app, MANY);
    EXPECT_EQ(app.messages, 50 + 7);
    hang_up_all(&app, sockets, MANY);
    app_close(&app);
}

TEST(order, a_flood_of_connections_does_not_come_before_who_was_there) {
    enum { MANY = 30 };
    App app;
    Io io;
    int sockets[MANY + 1];
    app_open(&app, NULL);
    sockets[MANY] = dial_ws(&app);
    by_hand(&app, &io, 100000);  // each new one costs 0.1 ms to let in
    for (int i = 0; i < MANY; i++)
        sockets[i] = dial_ws(&app);
    say(&app, sockets, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaz");
    EXPECT(app.order[0] == 'z');
    EXPECT(strlen(app.order) < MANY / 2);
    turns(&app, MANY);
    EXPECT_EQ(strlen(app.order), MANY + 1);
    hang_up_all(&app, sockets, MANY + 1);
    app_close(&app);
}

TEST(order, requests_from_one_address_count_as_one_however_many_connections_bring_them) {
    enum { MANY = 30, ROUNDS = 10 };
    App app;
    Io io;
    int sockets[MANY];
    app_open(&app, NULL);
    int talker = dial_ws(&app);
    for (int i = 0; i < MANY; i++)
        sockets[i] = dial(&app);
    turn(&app);
    by_hand(&app, &io, 150000);
    hand_ns += 2 * RECENT_WINDOW_NS;
    for (int round = 0; round < ROUNDS; round++) {  // each takes as much as the talker
        int requests = app.requests, messages = app.messages;
        ask_all(&app, sockets, MANY);
        send_frame(&app, talker, 0x82, BYTES("z", 1));
        turn(&app);
        EXPECT_EQ(app.messages, messages + 1);
        if (round) EXPECT_EQ(app.requests, requests);
        turns(&app, MANY);
        EXPECT_EQ(app.requests, requests + MANY);
    }
    hang_up_all(&app, sockets, MANY);
    hang_up(&app, talker);
    app_close(&app);
}

TEST(order, of_the_connections_of_one_address_those_that_ask_for_little_are_first) {
    enum { MANY = 30, ROUNDS = 10 };
    App app;
    Io io;
    int sockets[MANY];
    Buf got = {0};
    app_open(&app, NULL);
    for (int i = 0; i < MANY; i++)
        sockets[i] = dial(&app);
    int rare = dial(&app);
    turn(&app);
    by_hand(&app, &io, 150000);
    hand_ns += 2 * RECENT_WINDOW_NS;
    for (int round = 0; round < ROUNDS; round++) {
        ask_all(&app, sockets, MANY);
        if (round == ROUNDS - 1) put(&app, rare, "GET /rare HTTP/1.1\r\nHost: a\r\n\r\n");
        int requests = app.requests;
        turn(&app);
        if (round == ROUNDS - 1) {
            get_some(&app, rare, &got);
            expect_has(&got, "GET /rare?");
            EXPECT(app.requests < requests + 5);
        }
        turns(&app, MANY);
    }
    EXPECT_EQ(app.requests, MANY * ROUNDS + 1);
    buf_deinit(&got);
    hang_up_all(&app, sockets, MANY);
    hang_up(&app, rare);
    app_close(&app);
}

TEST(order, in_hasty_turns_who_was_read_longest_ago_is_first) {
    enum { MANY = 5 };
    App app;
    Io io;
    int sockets[MANY];
    app_open(&app, NULL);
    for (int i = 0; i < MANY; i++)
        sockets[i] = dial_ws(&app);
    by_hand(&app, &io, NET_HASTY_NS);  // one a turn
    net_set_hasty(app.loop, true);
    say(&app, sockets, "abcde");
    for (int i = 0; i < 2 * MANY; i++) {  // and each of them asks again as soon as it was read
        int last = app.order[strlen(app.order) - 1] - 'a';
        send_frame(&app, sockets[last], 0x82, BYTES(&"abcde"[last], 1));
        turn(&app);
    }
    EXPECT_STR(app.order, "abcdeabcdea");
    hang_up_all(&app, sockets, MANY);
    app_close(&app);
}

TEST(order, connections_that_come_from_another_loop_wait_for_their_turn) {
    enum { MANY = 10 };
    App app, other = {0};
    Io io;
    int sockets[MANY];
    Buf got = {0};
    app_open(&app, NULL);
    NetHandler handler = app_handler(&other);
    EXPECT_OK(net_open(app.io, NULL, &handler, &other.loop));
    for (int i = 0; i < MANY; i++) {
        sockets[i] = dial(&app);
        put(&app, sockets[i], ASK);
        while (net_stats(app.loop).connections == 0)
            turn(&app);
        app.move_to = other.loop;
        turns(&app, 2);
        EXPECT_EQ(net_stats(app.loop).connections, 0);
    }
    other.io = app.io;
    by_hand(&other, &io, NET_HASTY_NS);
    net_set_hasty(other.loop, true);
    turn(&other);
    EXPECT_EQ(net_stats(other.loop).connections, MANY);
    EXPECT_EQ(other.requests, 1);
    turns(&other, MANY);
    EXPECT_EQ(other.requests, MANY);
    get_some(&app, sockets[MANY - 1], &got);
    expect_has(&got, "GET /a?");
    buf_deinit(&got);
    hang_up_all(&app, sockets, MANY);
    turns(&other, 3);
    EXPECT_EQ(other.closes, MANY);
    net_close(&other.loop);
    app_close(&app);
}

TEST_MAIN()
