// When a turn ends. What a whole turn does is seen in node_test.c.
#include "base/mem.h"
#include "base/test.h"
#include "node/database.h"

#define US     1000
#define MS     1000000
#define SECOND 1000000000LL

static void join(Fair *fair, FairEntry *entry, uint8_t name) {
    Identity identity = {{name}};
    EXPECT_OK(fair_join(fair, entry, &identity, true));
    entry->party->since_ns = -SECOND;  // it has been here for a while
}

// One has used 50 ms, two others nothing, and they want something now.
static int64_t two_that_are_sparse(Fair *fair, FairEntry entries[3]) {
    fair_init(fair);
    fair->share_ns = 250 * US;
    for (uint8_t i = 0; i < 3; i++)
        join(fair, &entries[i], i + 1);
    fair_ready(fair, &entries[0]);
    fair_turn_begin(fair);
    EXPECT(fair_take(fair, 0) == &entries[0]);
    fair_turn_end(fair, 50 * MS);
    fair_ready(fair, &entries[0]);
    fair_ready(fair, &entries[1]);
    fair_ready(fair, &entries[2]);
    return 50 * MS;
}

TEST(turn, ends_for_who_asks_for_little_when_all_such_have_been_served) {
    Database *db = MEM_NEW(Database);
    FairEntry entries[3];
    db->settings.turn = 4000;
    db->read_only = ERR_IO;  // so nothing is on its way to the disk, and an answer could leave
    int64_t now = db->turn_began_ns = two_that_are_sparse(&db->fair, entries);

    fair_turn_begin(&db->fair);
    EXPECT(fair_take(&db->fair, now) == &entries[1]);
    db->hurried = true;
    EXPECT(!turn_is_over(db, now + US));
    EXPECT(turn_is_over(db, now + 4 * MS));  // … but no turn is longer
    EXPECT(fair_take(&db->fair, now + US) == &entries[2]);
    EXPECT(turn_is_over(db, now + 2 * US));
    EXPECT_EQ(db->counters.hurried, 1);
    db->hurried = false;
    EXPECT(!turn_is_over(db, now + 2 * US));

    fair_turn_end(&db->fair, now + 2 * US);
    for (uint32_t i = 0; i < 3; i++)
        fair_leave(&db->fair, &entries[i], INT64_MAX);
    fair_deinit(&db->fair);
    mem_free(db);
}

TEST_MAIN()
