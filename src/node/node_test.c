// Calls in all lanes, new versions of the module, and the stop: nothing is lost, and nothing counts twice. The
// server is node_testing.h's.
#include "node/node_testing.h"

#include <stdatomic.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/test.h"

TEST(node, no_update_is_lost_between_short_calls_slow_ones_and_procedures) {
    World world = {0};
    world_start(&world);
    EXPECT_EQ(publish(&world, 0), 200);
    Worker workers[] = {
        {.kind = 3, .name = "add", .id = 1, .count = 300},
        {.kind = 3, .name = "add", .id = 1, .count = 300},
        {.kind = 3, .name = "slow_add", .id = 1, .us = 5000, .count = 4},
        {.kind = 3, .name = "slow_add", .id = 1, .us = 3000, .count = 5},
        {.kind = 4, .name = "deposit", .id = 1, .us = 100, .count = 30},
        {.kind = 4, .name = "deposit", .id = 1, .us = 3000, .count = 6},
        {.kind = 4, .name = "nap", .id = 20, .count = 5},
    };
    workers_start(workers, ARRAY_LEN(workers), &world);
    workers_join(workers, ARRAY_LEN(workers));
    uint32_t sum = 0;
    for (size_t i = 0; i < ARRAY_LEN(workers); i++) {
        EXPECT_EQ(workers[i].succeeded, workers[i].count);
        if (workers[i].id == 1) sum += workers[i].succeeded;
    }
    EXPECT_EQ(counter(&world, 1), sum);
    EXPECT_EQ(atomic_load(&idle_alone), 0);
    Buf body = {0};
    EXPECT_EQ(http(world.port, "GET /v1/database/d/route/hello", BYTES_NONE, &body), 200);
    EXPECT_BYTES(buf_bytes(&body), BYTES("hello", 5));
    EXPECT_EQ(counter(&world, 77), 1);
    buf_deinit(&body);
    world_end(&world);
}

TEST(node, slow_calls_begin_again_on_a_new_module_and_count_once) {
    World world = {0};
    world_start(&world);
    EXPECT_EQ(publish(&world, 0), 200);
    Worker workers[] = {
        {.kind = 3, .name = "add", .id = 1, .count = 400},
        {.kind = 3, .name = "slow_add", .id = 1, .us = 10000, .count = 6},
        {.kind = 3, .name = "slow_add", .id = 2, .us = 20000, .count = 6},
        {.kind = 4, .name = "nap", .id = 10, .count = 15},
        {.kind = 4, .name = "deposit", .id = 3, .us = 2000, .count = 30},
    };
    workers_start(workers, ARRAY_LEN(workers), &world);
    for (uint32_t version = 1; version < VERSIONS; version++) {
        usleep(30000);
        EXPECT_EQ(publish(&world, version), 200);
    }
    workers_join(workers, ARRAY_LEN(workers));
    for (size_t i = 0; i < 3; i++)
        EXPECT_EQ(workers[i].succeeded, workers[i].count);
    EXPECT_EQ(counter(&world, 1), workers[0].count + workers[1].count);
    EXPECT_EQ(counter(&world, 2), workers[2].count);
    EXPECT(counter(&world, 3) >= workers[4].succeeded);
    world_end(&world);
}

// Each of the slow calls costs the loop its instance. Those it had are never entered again (they would
// refuse), and no other is made on the loop.
TEST(node, an_instance_that_a_call_was_torn_out_of_is_replaced_beside_the_loop) {
    World world = {0};
    world_start(&world);
    EXPECT_EQ(publish(&world, 0), 200);
    Client *c = MEM_NEW(Client);
    ws_open(c, world.port);
    for (uint32_t i = 0; i < 20; i++) {
        EXPECT(ws_call(c, 3, i, i % 4 == 0 ? "slow_add" : "add", i % 4 == 0 ? 2 : 1, 1, 8000));
        EXPECT_EQ(ws_result(c), 1);
    }
    EXPECT_EQ(counter(&world, 1), 20);
    EXPECT(metric(&world, "lightcone_module_instances_made_total") >= 3);
    EXPECT_EQ(metric(&world, "lightcone_module_instances_inline_total"), 0);
    EXPECT(metric(&world, "lightcone_module_instance_wait_microseconds_total") < 4000000);
    close(c->socket);
    mem_free(c);
    world_end(&world);
}

// They are within their slice, but somebody else who calls all the time would have to wait for each of them.
TEST(node, calls_of_a_millisecond_run_beside_the_loop_while_somebody_makes_short_ones) {
    World world = {0};
    world_start(&world);
    EXPECT_EQ(publish(&world, 0), 200);
    enum { CALLS = 300 };
    Worker heavy = {.kind = 3, .name = "slow_add", .id = 2, .us = 1000, .count = CALLS};
    Worker polite = {.kind = 3, .name = "add", .id = 1, .count = UINT32_MAX};
    atomic_store(&workers_stop, false);
    workers_start(&polite, 1, &world);
    workers_start(&heavy, 1, &world);
    workers_join(&heavy, 1);
    atomic_store(&workers_stop, true);
    workers_join(&polite, 1);
    EXPECT_EQ(heavy.succeeded, CALLS);
    EXPECT(metric(&world, "lightcone_slow_calls_total") > CALLS / 2);
    world_end(&world);
}

TEST(node, a_call_for_now_runs_even_from_a_slow_lane) {
    World world = {0};
    world_start(&world);
    EXPECT_EQ(publish(&world, 0), 200);
    Client *c = MEM_NEW(Client);
    ws_open(c, world.port);
    for (uint32_t i = 0; i < 10; i++) {
        EXPECT(ws_call(c, 3, i, "later", 1, 5));
        EXPECT_EQ(ws_result(c), 1);
    }
    for (int i = 0; i < 500 && counter(&world, 5) < 10; i++)
        usleep(10000);
    EXPECT_EQ(counter(&world, 5), 10);
    close(c->socket);
    mem_free(c);
    world_end(&world);
}

TEST(node, a_full_lane_refuses_and_goes_on) {
    World world = {0};
    world_start(&world);
    EXPECT_EQ(publish(&world, 0), 200);
    Client *c = MEM_NEW(Client);
    ws_open(c, world.port);
    enum { CALLS = 1500, ROOM = 48 + 768 };  // three quarters of the lane: it is one identity
    for (uint32_t i = 0; i < CALLS; i++)
        EXPECT(ws_call(c, 4, i, "nap", 1, 60));
    uint32_t refused = 0, done = 0;
    for (uint32_t i = 0; i < CALLS; i++) {
        int result = ws_result(c);
        EXPECT(result >= 0);
        refused += result == 0;
        done += result == 1;
    }
    EXPECT(refused > 0 && done >= ROOM);
    EXPECT_EQ(refused + done, CALLS);
    EXPECT(ws_call(c, 4, 1, "nap", 1, 0));
    EXPECT_EQ(ws_result(c), 1);
    close(c->socket);
    mem_free(c);
    world_end(&world);
}

// A world in which the making of a connection's id, which is part of letting a client in, takes 3 ms.
static _Atomic int64_t let_in_ns;
static int64_t clock_with_that(void *world) {
    return io_real()->clock_monotonic_ns(world) + atomic_load(&let_in_ns);
}
static void random_that_takes_long(void *world, void *into, size_t len) {
    io_real()->random_bytes(world, into, len);
    if (len == sizeof(ConnectionId)) atomic_fetch_add(&let_in_ns, 3000000);
}

TEST(node, who_is_let_in_owes_what_it_took) {
    Io io = *io_real();
    io.clock_monotonic_ns = clock_with_that;
    io.random_bytes = random_that_takes_long;
    World world = {.io = &io};
    world_start(&world);
    EXPECT_EQ(publish(&world, 0), 200);
    Client *c = MEM_NEW(Client);
    uint64_t before = metric(&world, "lightcone_identities_in_debt_total");
    ws_open(c, world.port);
    EXPECT(metric(&world, "lightcone_identities_in_debt_total") > before);
    close(c->socket);
    mem_free(c);
    world_end(&world);
}

TEST(node, stops_with_everything_in_flight) {
    World world = {0};
    world_start(&world);
    EXPECT_EQ(publish(&world, 0), 200);
    enum { CLIENTS = 12 };
    Client *clients = mem_zalloc(CLIENTS * sizeof *clients);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        ws_open(&clients[i], world.port);
        if (i % 4 == 0) EXPECT(ws_call(&clients[i], 3, i, "for_ever", 0));
        if (i % 4 == 1) EXPECT(ws_call(&clients[i], 3, i, "slow_add", 2, 1, 2000000));
        if (i % 4 == 2) EXPECT(ws_call(&clients[i], 4, i, "nap", 1, 60000));
        if (i % 4 == 3) EXPECT(ws_call(&clients[i], 4, i, "deposit", 2, 1, 2000000));
    }
    usleep(100000);
    int64_t began = now_ns();
    world_end(&world);
    EXPECT(now_ns() - began < 4000000000);
    for (uint32_t i = 0; i < CLIENTS; i++)
        close(clients[i].socket);
    mem_free(clients);
}

TEST_MAIN()
