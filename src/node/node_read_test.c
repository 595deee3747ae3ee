// Who reads while others write: what a subscriber holds is what his query says, and views that are slow
// follow. The server is node_testing.h's.
#include "node/node_testing.h"

#include <unistd.h>

#include "base/mem.h"
#include "base/test.h"

enum { COUNTERS = 3000, MESSAGE_APPLIED = 1, MESSAGE_UPDATE = 4 };

// What a subscriber of all counters holds.
typedef struct Held {
    uint64_t value[COUNTERS];
    uint32_t count;
} Held;

// Rows of 12 bytes: into what is held, or out of it, where they must be exactly what is there.
static void held_rows(Held *held, Reader *r, bool enter) {
    if (reader_u8(r) == 1) {  // of no row: no offsets, no bytes
        EXPECT_EQ(reader_u32(r), 0);
        EXPECT_EQ(reader_u32(r), 0);
        return;
    }
    EXPECT_EQ(reader_u16(r), 12);
    Bytes rows = reader_lp(r);
    EXPECT(reader_ok(r));
    for (; rows.len; rows.ptr += 12, rows.len -= 12) {
        uint32_t id = load_u32(rows.ptr);
        uint64_t value = load_u64(rows.ptr + 4);
        EXPECT(id < COUNTERS);
        EXPECT_EQ(held->value[id], enter ? 0 : value);
        held->value[id] = enter ? value : 0;
        held->count += enter ? 1u : UINT32_MAX;
    }
}

static void held_update(Held *held, Bytes message) {
    Reader r = reader_of((Bytes){message.ptr + 1, message.len - 1});
    uint32_t sets = reader_u32(&r);
    for (uint32_t i = 0; i < sets; i++) {
        EXPECT_EQ(reader_u32(&r), 1);
        EXPECT_EQ(reader_u32(&r), 1);
        reader_lp(&r);
        EXPECT_EQ(reader_u32(&r), 1);
        EXPECT_EQ(reader_u8(&r), 0);
        Held *both = held;
        Reader inserts = r;  // what is removed must go first
        reader_take(&r, reader_u8(&r) == 1 ? 4 : 2);
        reader_lp(&r);
        held_rows(both, &r, false);
        held_rows(both, &inserts, true);
    }
}

static void ws_ask(Client *c, uint8_t kind, const char *sql) {
    Buf m = {0}, frame = {0};
    buf_put_u8(&m, kind);
    buf_put_u32(&m, 1);
    if (kind == 0) {
        buf_put_u32(&m, 1);
        buf_put_u32(&m, 1);
    }
    buf_put_lp(&m, str_bytes(str_from(sql)));
    uint8_t head[6] = {0x82, (uint8_t)(0x80 | m.len)};
    EXPECT(m.len < 126);
    buf_put(&frame, head, sizeof head);
    buf_put_bytes(&frame, buf_bytes(&m));
    EXPECT(client_send(c, buf_bytes(&frame)));
    buf_deinit(&m);
    buf_deinit(&frame);
}

static void held_begin(Held *held, Client *c, Buf *message) {
    memset(held, 0, sizeof *held);
    ws_ask(c, 0, "SELECT * FROM counter WHERE id < 3000");
    do {
        EXPECT(ws_next(c, message));
    } while (message->ptr[0] == 0);  // who it is
    EXPECT_EQ(message->ptr[0], MESSAGE_APPLIED);
    Reader r = reader_of(BYTES(message->ptr + 1, message->len - 1));
    reader_take(&r, 8);
    if (reader_u32(&r) == 0) return;  // no table has rows
    reader_lp(&r);
    held_rows(held, &r, true);
    EXPECT_EQ(held->count, COUNTERS);
}

typedef struct Follower {
    pthread_t thread;
    const World *world;
    uint32_t rounds, updates;
    bool leaves_early;
    atomic_bool has_ended;
} Follower;

// Subscribe, follow for a while, leave; and again, while others write.
static void *follower_main(void *arg) {
    Follower *f = arg;
    Held *held = MEM_NEW(Held);
    Buf message = {0};
    for (uint32_t round = 0; round < f->rounds; round++) {
        Client *c = MEM_NEW(Client);
        ws_open(c, f->world->port);
        if (f->leaves_early) {
            ws_ask(c, 0, "SELECT * FROM counter");
            ws_ask(c, 2, "SELECT * FROM counter");
        } else {
            held_begin(held, c, &message);
            for (uint32_t i = 0; i < f->updates && ws_next(c, &message); i++) {
                EXPECT_EQ(message.ptr[0], MESSAGE_UPDATE);
                held_update(held, buf_bytes(&message));
            }
        }
        close(c->socket);
        mem_free(c);
    }
    buf_deinit(&message);
    mem_free(held);
    atomic_store(&f->has_ended, true);
    return NULL;
}

static void fill_counters(const World *world) {
    Client *c = MEM_NEW(Client);
    ws_open(c, world->port);
    EXPECT(ws_call(c, 3, 1, "fill", 1, COUNTERS));
    EXPECT_EQ(ws_result(c), 1);
    close(c->socket);
    mem_free(c);
}

TEST(node, who_subscribes_while_others_write_holds_what_the_query_says) {
    World world = {0};
    world_start(&world);
    EXPECT_EQ(publish(&world, 0), 200);
    fill_counters(&world);
    Worker writers[] = {{.kind = 3, .name = "add", .id = 1, .count = UINT32_MAX},
                        {.kind = 3, .name = "add", .id = 2, .count = UINT32_MAX},
                        {.kind = 3, .name = "slow_add", .id = 3, .us = 2000, .count = UINT32_MAX}};
    Follower followers[] = {{.rounds = 6, .updates = 20},
                            {.rounds = 6, .updates = 5},
                            {.rounds = 12, .leaves_early = true}};
    workers_start(writers, ARRAY_LEN(writers), &world);
    for (size_t i = 0; i < ARRAY_LEN(followers); i++) {
        followers[i].world = &world;
        EXPECT_EQ(pthread_create(&followers[i].thread, NULL, follower_main, &followers[i]), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(followers); i++)
        pthread_join(followers[i].thread, NULL);
    atomic_store(&workers_stop, true);
    workers_join(writers, ARRAY_LEN(writers));
    atomic_store(&workers_stop, false);
    for (uint32_t i = 0; i < ARRAY_LEN(writers); i++)
        EXPECT_EQ(counter(&world, i + 1), 1 + writers[i].succeeded);
    world_end(&world);
}

TEST(node, who_watches_what_changes_at_once_is_told_of_every_row) {
    World world = {0};
    world_start(&world);
    EXPECT_EQ(publish(&world, 0), 200);
    fill_counters(&world);
    Worker writers[] = {{.kind = 3, .name = "add", .id = COUNTERS + 1, .count = UINT32_MAX},
                        {.kind = 3, .name = "add", .id = COUNTERS + 2, .count = UINT32_MAX}};
    Follower followers[] = {{.rounds = 2, .updates = 8}, {.rounds = 6, .updates = 2}};
    workers_start(writers, ARRAY_LEN(writers), &world);
    for (size_t i = 0; i < ARRAY_LEN(followers); i++) {
        followers[i].world = &world;
        EXPECT_EQ(pthread_create(&followers[i].thread, NULL, follower_main, &followers[i]), 0);
    }
    uint32_t updates = 0;
    for (size_t i = 0; i < ARRAY_LEN(followers); i++) {
        while (!atomic_load(&followers[i].has_ended)) {
            char text[96];
            snprintf(text,
                     sizeof text,
                     "UPDATE counter SET value = %u WHERE id < %u",
                     ++updates + 1000,
                     (unsigned)COUNTERS);
            EXPECT_EQ(sql(&world, text), 200);
        }
        pthread_join(followers[i].thread, NULL);
    }
    atomic_store(&workers_stop, true);
    workers_join(writers, ARRAY_LEN(writers));
    atomic_store(&workers_stop, false);
    EXPECT_EQ(metric(&world, "lightcone_bulk_told_total"), updates);
    for (uint32_t i = 0; i < ARRAY_LEN(writers); i++)
        EXPECT_EQ(counter(&world, writers[i].id), writers[i].succeeded);
    world_end(&world);
}

// All rows go and come again, by calls that begin on the loop and go on beside it, and by SQL.
TEST(node, who_watches_what_is_emptied_is_told_of_every_row) {
    World world = {0};
    world_start(&world);
    EXPECT_EQ(publish(&world, 0), 200);
    Client *c = MEM_NEW(Client);  // is told of its own calls, too
    ws_open(c, world.port);
    ws_ask(c, 0, "SELECT * FROM counter");
    Follower followers[] = {{.rounds = 2, .updates = 8},
                            {.rounds = 4, .updates = 3},
                            {.rounds = 12, .leaves_early = true}};
    for (size_t i = 0; i < ARRAY_LEN(followers); i++) {
        followers[i].world = &world;
        EXPECT_EQ(pthread_create(&followers[i].thread, NULL, follower_main, &followers[i]), 0);
    }
    uint32_t emptied = 0;
    for (size_t i = 0; i < ARRAY_LEN(followers); i++) {
        while (!atomic_load(&followers[i].has_ended)) {
            EXPECT(ws_call(c, 3, 1, "fill", 1, COUNTERS));
            EXPECT_EQ(ws_result(c), 1);
            EXPECT_EQ(counter(&world, 7), 1);
            if (++emptied % 2) {
                EXPECT(ws_call(c, 3, 1, "clear", 0));
                EXPECT_EQ(ws_result(c), 1);
            } else {
                EXPECT_EQ(sql(&world, "DELETE FROM counter"), 200);
            }
            EXPECT_EQ(counter(&world, 7), 0);
        }
        pthread_join(followers[i].thread, NULL);
    }
    EXPECT(metric(&world, "lightcone_bulk_told_total") >= emptied);
    close(c->socket);
    mem_free(c);
    world_end(&world);
}

// The one row of the view in an update or a first answer, or 0.
static uint64_t shown_total(const Buf *message) {
    bool first = message->ptr[0] == MESSAGE_APPLIED;
    if (!first && message->ptr[0] != MESSAGE_UPDATE) return 0;
    Reader r = reader_of(BYTES(message->ptr + 1, message->len - 1));
    reader_take(&r, first ? 12 : 8);
    if (!first) reader_take(&r, 4);
    reader_lp(&r);
    if (!first) reader_take(&r, 5);
    reader_take(&r, 3);
    Bytes rows = reader_lp(&r);
    EXPECT(reader_ok(&r));
    EXPECT_EQ(rows.len, 8);
    return load_u64(rows.ptr);
}

TEST(node, a_slow_view_follows_the_writers_and_ends_where_they_do) {
    World world = {0};
    world_start(&world);
    EXPECT_EQ(publish(&world, 0), 200);
    Worker pace = {.kind = 3, .name = "add", .id = PACE, .count = 60};  // ms
    workers_start(&pace, 1, &world);
    workers_join(&pace, 1);
    Worker writers[] = {{.kind = 3, .name = "add", .id = 1, .count = 300},
                        {.kind = 3, .name = "add", .id = 2, .count = 300}};
    workers_start(writers, ARRAY_LEN(writers), &world);
    Client *c = MEM_NEW(Client);
    Buf message = {0};
    ws_open(c, world.port);
    ws_ask(c, 0, "SELECT * FROM total");
    for (uint64_t total = 0, next; total < 600; total = next) {
        EXPECT(ws_next(c, &message));
        next = shown_total(&message);
        EXPECT(next == 0 || next > total);  // each a later moment than the one before
        next = MAX(next, total);
    }
    workers_join(writers, ARRAY_LEN(writers));
    EXPECT_EQ(writers[0].succeeded + writers[1].succeeded, 600);
    // A new version of the module comes while the view runs.
    Worker more = {.kind = 3, .name = "add", .id = 1, .count = 1};
    workers_start(&more, 1, &world);
    workers_join(&more, 1);
    EXPECT_EQ(publish(&world, 1), 200);
    while (ws_next(c, &message) && shown_total(&message) < 601) {
    }
    EXPECT_EQ(shown_total(&message), 601);
    close(c->socket);
    mem_free(c);
    buf_deinit(&message);
    world_end(&world);
}

TEST_MAIN()
