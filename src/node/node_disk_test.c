// Disks that break and disks that take their time, under a whole server: node_testing.h's.
#include "node/node_testing.h"

#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/test.h"

// ── a disk that breaks ─────────────────────────────────────────────────────────────────────────

// The real one, which answers an error when told to: to everything that changes a file, to syncs, or
// to opening a database's files for writing.
static atomic_int breaks_writes, breaks_syncs, breaks_opens;

static Err broken_write(void *w, IoFile *file, uint64_t at, const void *bytes, size_t len) {
    Err err = (Err)atomic_load(&breaks_writes);
    return err == OK ? io_real()->file_write(w, file, at, bytes, len) : err;
}

static Err broken_preallocate(void *w, IoFile *file, uint64_t size) {
    Err err = (Err)atomic_load(&breaks_writes);
    return err == OK ? io_real()->file_preallocate(w, file, size) : err;
}

static Err broken_sync(void *w, IoFile *file) {
    Err err = io_real()->file_sync(w, file);
    return atomic_load(&breaks_syncs) ? (Err)atomic_load(&breaks_syncs) : err;
}

static bool broken_sync_ended(void *w, IoSyncer *syncer, bool wait, Err *err) {
    bool ended = io_real()->sync_ended(w, syncer, wait, err);
    if (ended && atomic_load(&breaks_syncs)) *err = (Err)atomic_load(&breaks_syncs);
    return ended;
}

static Err broken_open(void *w, const char *path, int flags, IoFile **out) {
    bool hit = flags & IO_WRITE && strstr(path, "/databases/");
    Err err = hit ? (Err)atomic_load(&breaks_opens) : OK;
    return err == OK ? io_real()->file_open(w, path, flags, out) : err;
}

static const Io *breakable(void) {
    static Io io;
    io = *io_real();
    io.file_write = broken_write;
    io.file_preallocate = broken_preallocate;
    io.file_sync = broken_sync;
    io.sync_ended = broken_sync_ended;
    io.file_open = broken_open;
    atomic_store(&breaks_writes, OK);
    atomic_store(&breaks_syncs, OK);
    atomic_store(&breaks_opens, OK);
    return &io;
}

static int call_add(const World *world, Buf *body) {
    return http(world->port, "POST /v1/database/d/call/add", BYTES("[1]", 3), body);
}

static void expect_read_only(const World *world, int status, const char *why) {
    Buf body = {0};
    for (int tries = 0; tries < 300 && call_add(world, &body) != status; tries++)
        usleep(10000);
    EXPECT_EQ(call_add(world, &body), status);
    buf_put_u8(&body, 0);
    EXPECT(strstr((const char *)body.ptr, "read-only because"));
    EXPECT(strstr((const char *)body.ptr, why));
    buf_deinit(&body);
    Client *c = MEM_NEW(Client);  // clients are let in, told no, and not thrown out
    ws_open(c, world->port);
    for (uint32_t i = 0; i < 2; i++) {
        EXPECT(ws_call(c, 3, i, "add", 1, 1));
        EXPECT_EQ(ws_result(c), 0);
    }
    close(c->socket);
    mem_free(c);
}

static void expect_writable_soon(const World *world) {
    int status = 0;
    for (int tries = 0; tries < 800 && status != 200; tries++) {
        status = call_add(world, NULL);
        if (status != 200) usleep(10000);
    }
    EXPECT_EQ(status, 200);
}

TEST(node, a_full_disk_makes_it_read_only_until_there_is_room) {
    World world = {.io = breakable()};
    world_start(&world);
    EXPECT_EQ(publish(&world, 0), 200);
    for (int i = 0; i < 3; i++)
        EXPECT_EQ(call_add(&world, NULL), 200);
    Client *c = MEM_NEW(Client);
    ws_open(c, world.port);
    atomic_store(&breaks_writes, ERR_DISK_FULL);
    EXPECT(ws_call(c, 3, 0, "add", 1, 1));
    EXPECT_EQ(ws_result(c), -1);  // what became of it nobody can say
    close(c->socket);
    mem_free(c);
    expect_read_only(&world, 507, "the disk is full");
    EXPECT_EQ(counter(&world, 1), 3);
    EXPECT(publish(&world, 1) >= 500);
    atomic_store(&breaks_writes, OK);
    expect_writable_soon(&world);
    EXPECT_EQ(counter(&world, 1), 4);
    EXPECT_EQ(publish(&world, 1), 200);
    world_end(&world);
}

TEST(node, nobody_sees_what_a_failed_sync_may_have_lost) {
    World world = {.io = breakable()};
    world_start(&world);
    EXPECT_EQ(publish(&world, 0), 200);
    for (int i = 0; i < 3; i++)
        EXPECT_EQ(call_add(&world, NULL), 200);
    atomic_store(&breaks_syncs, ERR_IO);
    EXPECT_EQ(call_add(&world, NULL), 503);
    expect_read_only(&world, 503, "an input or output operation failed");
    EXPECT_EQ(counter(&world, 1), 3);
    atomic_store(&breaks_syncs, OK);
    expect_writable_soon(&world);
    uint64_t count = counter(&world, 1);
    EXPECT(count == 4 || count == 5);  // the one in doubt was found in the log, or was not
    node_stop(&world.node);
    world_start_again(&world);
    EXPECT_EQ(counter(&world, 1), count);
    world_end(&world);
}

TEST(node, files_that_may_not_be_written_are_served_from_the_start) {
    World world = {.io = breakable()};
    world_start(&world);
    EXPECT_EQ(publish(&world, 0), 200);
    for (int i = 0; i < 3; i++)
        EXPECT_EQ(call_add(&world, NULL), 200);
    node_stop(&world.node);
    atomic_store(&breaks_opens, ERR_DENIED);
    world_start_again(&world);
    expect_read_only(&world, 503, "may not be written");
    EXPECT_EQ(counter(&world, 1), 3);
    atomic_store(&breaks_opens, OK);
    expect_writable_soon(&world);
    EXPECT_EQ(counter(&world, 1), 4);
    world_end(&world);
}

// ── a disk that takes its time ─────────────────────────────────────────────────────────────────

static atomic_bool disk_holds, disk_fails;
static atomic_int disk_started;

static void slow_sync_start(void *world, IoSyncer *syncer, IoFile *file) {
    io_real()->sync_start(world, syncer, file);
    atomic_fetch_add(&disk_started, 1);
}

static bool slow_sync_ended(void *world, IoSyncer *syncer, bool wait, Err *err) {
    if (!wait && atomic_load(&disk_holds)) return false;
    bool ended = io_real()->sync_ended(world, syncer, wait, err);
    if (ended && atomic_load(&disk_fails)) *err = ERR_IO;
    return ended;
}

static bool hears_nothing(Client *c) {
    uint8_t byte;
    usleep(50000);
    return c->len == 0 && recv(c->socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0;
}

// A server with such a disk and one client, of whose calls a batch is in flight. Returns how many
// were answered: those that arrived while there was nothing else to do.
static uint32_t held_start(World *world, Io *io, Client *c, uint32_t calls) {
    *io = *io_real();
    io->sync_start = slow_sync_start;
    io->sync_ended = slow_sync_ended;
    *world = (World){.io = io};
    atomic_store(&disk_fails, false);
    atomic_store(&disk_holds, false);
    world_start(world);
    EXPECT_EQ(publish(world, 0), 200);
    ws_open(c, world->port);
    usleep(50000);  // until whoever published is gone
    atomic_store(&disk_started, 0);
    atomic_store(&disk_holds, true);
    EXPECT(ws_call(c, 3, 0, "add", 1, 2));
    EXPECT_EQ(ws_result(c), 1);  // nothing else to do: it did not go beside anything
    EXPECT_EQ(atomic_load(&disk_started), 0);
    for (uint32_t i = 0; i < calls; i++)
        EXPECT(ws_call(c, 3, i, "slow_add", 2, 1, 300));
    for (int i = 0; i < 2000 && !atomic_load(&disk_started); i++)
        usleep(1000);
    EXPECT_EQ(atomic_load(&disk_started), 1);
    uint32_t answered = 0;
    for (; !hears_nothing(c); answered++)
        EXPECT_EQ(ws_result(c), 1);
    EXPECT(answered < calls);
    return answered;
}

TEST(node, what_a_batch_in_flight_holds_is_answered_when_it_has_landed) {
    enum { CALLS = 40 };
    Client *c = MEM_NEW(Client);
    World world = {0};
    Io io;
    uint32_t answered = held_start(&world, &io, c, CALLS);
    EXPECT_EQ(atomic_load(&disk_started), 1);  // one in flight, whatever waits
    atomic_store(&disk_holds, false);
    EXPECT(ws_call(c, 3, CALLS, "add", 1, 1));
    for (uint32_t i = answered; i <= CALLS; i++)
        EXPECT_EQ(ws_result(c), 1);
    EXPECT_EQ(counter(&world, 1), CALLS + 1);
    close(c->socket);
    mem_free(c);
    world_end(&world);
}

TEST(node, a_batch_lost_in_flight_is_never_answered_nor_seen) {
    Client *c = MEM_NEW(Client);
    World world = {0};
    Io io;
    uint32_t answered = held_start(&world, &io, c, 40);
    atomic_store(&disk_fails, true);
    atomic_store(&disk_holds, false);
    ws_call(c, 3, 40, "add", 1, 1);
    EXPECT_EQ(ws_result(c), -1);
    EXPECT_EQ(counter(&world, 1), answered);
    EXPECT_EQ(counter(&world, 2), 1);
    close(c->socket);
    mem_free(c);
    world_end(&world);
}

TEST(node, a_server_that_stops_waits_for_the_batch_in_flight) {
    Client *c = MEM_NEW(Client);
    World world = {0};
    Io io;
    held_start(&world, &io, c, 40);
    node_stop(&world.node);
    for (int i = 0; i < 3; i++)  // a turn's worth of them at least
        EXPECT_EQ(ws_result(c), 1);
    close(c->socket);
    mem_free(c);
    world_end(&world);
}

TEST_MAIN()
