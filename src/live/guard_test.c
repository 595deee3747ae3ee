// That a row finds whom it concerns without looking at the others, however often they would be found.
#include "live/guard.h"

#include "base/mem.h"
#include "base/test.h"
#include "live/world_testing.h"

enum { MANY = 600 };

typedef struct Crowd {
    World w;
    SimClient clients[2];  // the second has what may match
} Crowd;

static void begin(Crowd *c) {
    c->w = world_open();
    sim_open(&c->w, &c->clients[0], 1);
    sim_open(&c->w, &c->clients[1], 2);
}

static void end(Crowd *c) {
    sim_close(&c->clients[0]);
    sim_close(&c->clients[1]);
    EXPECT_EQ(live_stats(c->w.live).groups, 0);
    world_close(&c->w);
}

// Subscriptions of the first client which differ by a number, from 1 to MANY.
static void crowd(Crowd *c, const char *form) {
    static char texts[MANY][TEXT];
    Str queries[MANY];
    const LiveRows *rows;
    uint32_t count;
    Diag diag;
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(texts[i], TEXT, form, i + 1);
        queries[i] = str_from(texts[i]);
    }
    EXPECT_OK(live_subscribe(c->clients[0].client, 1, queries, MANY, &rows, &count, &diag));
}

static uint64_t looked_at(const Crowd *c) {
    LiveStats stats = live_stats(c->w.live);
    return stats.groups_tested + stats.ranges_seen;
}

// What a new user costs, of whom only `text` speaks.
static uint64_t cost_of_one(const char *form, const char *text) {
    static Crowd c;
    begin(&c);
    crowd(&c, form);
    SimSet *set = SUBSCRIBE(&c.w, &c.clients[1], 1, text);
    uint64_t before = looked_at(&c);
    world_begin(&c.w);
    put_user(&c.w, 5000, 3, "ann", 1);
    world_commit(&c.w);
    uint64_t cost = looked_at(&c) - before;
    EXPECT_EQ(c.clients[0].heard, 0);
    EXPECT_EQ(c.clients[1].heard, 1);
    EXPECT_EQ(set->rows.count, 1);
    expect_current(&c.w, &c.clients[1]);
    world_begin(&c.w);
    put_user(&c.w, 5000, 3, "eve", 2);
    world_commit(&c.w);
    expect_current(&c.w, &c.clients[1]);
    end(&c);
    return cost;
}

TEST(guards, find_one_of_many_by_a_range_beside_an_equality) {
    EXPECT(cost_of_one("select * from users where room = 3 and id < %u",
                       "select * from users where room = 3 and id > 4000") < 60);
    EXPECT(cost_of_one("select * from users where room = 3 and id > 100 and id <= %u",
                       "select * from users where room = 3 and id > 4000 and id <= 5000") < 60);
    EXPECT(cost_of_one("select * from users where name = 'ann' and room = 3 and id < %u",
                       "select * from users where name = 'ann' and room = 3 and id > 4000") < 60);
}

TEST(guards, find_one_of_many_by_each_way_of_an_or) {
    EXPECT(cost_of_one("select * from users where id in (%u, 900, 901)",
                       "select * from users where id in (2, 5000, 7)") <= 2);
    EXPECT(cost_of_one("select * from users where id = %u or room = 77",
                       "select * from users where id = 9999 or room = 3") <= 2);
    EXPECT(cost_of_one("select * from users where room = 3 and id in (%u, 900)",
                       "select * from users where room = 3 and id in (5000, 900)") <= 2);
    EXPECT(cost_of_one("select * from users where id = %u or (room = 3 and id < 800)",
                       "select * from users where id = 1 or (room = 3 and id > 800)") < 60);
}

TEST(guards, tell_a_row_once_that_they_find_in_several_ways) {
    static Crowd c;
    begin(&c);
    SUBSCRIBE(&c.w,
              &c.clients[1],
              1,
              "select * from users where (room = 3 and id > 10) or (room = 3 and id > 20)",
              "select * from users where room = 3 or id = 30 or name = 'ann'",
              "select * from users where id > 5 or id < 100",
              "select * from users where room in (3, 3, 4)");
    static const uint64_t ids[] = {15, 30, 1000};
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
            world_begin(&c.w);
            put_user(&c.w, ids[i], round == 1 ? 4 : 3, round ? "ann" : "eve", 1);
            world_commit(&c.w);
            expect_current(&c.w, &c.clients[1]);
        }
    }
    world_begin(&c.w);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        remove_user(&c.w, ids[i]);
    world_commit(&c.w);
    expect_current(&c.w, &c.clients[1]);
    EXPECT_EQ(c.clients[1].sets[0].rows.count, 0);
    end(&c);
}

TEST(guards, know_what_they_cannot_narrow) {
    static const QueryConjunct nothing[] = {{0}}, level[] = {{2, QUERY_GT, 0}},
                               both[] = {{1, QUERY_GT, 0}, {2, QUERY_GT, 1}, {2, QUERY_LE, 2}},
                               zone[] = {{1, QUERY_EQ, 0}, {1, QUERY_EQ, 1}, {3, QUERY_LT, 2}};
    GuardShape shape;
    EXPECT(!guard_shape(nothing, 0, &shape));
    EXPECT(guard_shape(level, 1, &shape));
    EXPECT(shape.column_count == 0 && shape.has_range && shape.range_column == 2);
    EXPECT(guard_shape(both, 3, &shape));  // the column that has both ends
    EXPECT_EQ(shape.range_column, 2);
    EXPECT(guard_shape(zone, 3, &shape));
    EXPECT(shape.column_count == 1 && shape.columns[0] == 1 && shape.range_column == 3);
}

// Entries of one hash whose heads come and go, in whatever order.
TEST(guards, keep_their_chains_whole_whoever_leaves_first) {
    enum { ENTRIES = 7 };
    static const QueryConjunct equal[] = {{0, QUERY_EQ, 0}};
    Guard *guards = NULL;
    GuardShape shape;
    uint64_t seed = 5;
    EXPECT(guard_shape(equal, 1, &shape));
    Guard *guard = guard_obtain(&guards, &shape);
    EXPECT(guard && guard_obtain(&guards, &shape) == guard);
    GuardWay way = {guard, equal, 1, 0};
    WatchEntry entries[ENTRIES];
    bool in[ENTRIES] = {0};
    for (uint32_t i = 0; i < ENTRIES; i++)
        entries[i] = (WatchEntry){.hash = i % 2};
    for (int step = 0; step < 5000; step++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        size_t i = (seed >> 33) % ENTRIES;
        if (in[i]) {
            way_leave(&way, &entries[i]);
            entries[i].next = NULL;
            entries[i].link = NULL;
        } else {
            EXPECT_OK(way_enter(&way, &entries[i]));
        }
        in[i] = !in[i];
        bool found[ENTRIES] = {0};
        for (uint32_t hash = 0; hash < 2; hash++) {
            for (WatchEntry *at = way_chain(&way, hash); at; at = at->next)
                found[at - entries] = true;
        }
        EXPECT(memcmp(found, in, sizeof in) == 0);
    }
    for (size_t i = 0; i < ENTRIES; i++) {
        if (in[i]) way_leave(&way, &entries[i]);
    }
    guards_tidy(&guards);
    EXPECT(!guards);
}

TEST_MAIN()
