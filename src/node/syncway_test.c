#include "node/syncway.h"

#include "base/test.h"

#define US 1000ll
#define MS 1000000ll

// So many syncs, of which one that the loop does takes `here_ns` and another `beside_ns`. How many the loop did.
static uint32_t syncs(SyncWay *way, uint32_t count, int64_t here_ns, int64_t beside_ns) {
    uint32_t here = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (syncway_is_here(way)) {
            here++;
            (void)syncway_here_took(way, here_ns);
        } else {
            (void)syncway_beside_took(way, beside_ns);
        }
    }
    return here;
}

TEST(syncway, the_quicker_one_is_taken_and_the_other_now_and_then) {
    SyncWay way = {0};
    EXPECT_EQ(syncs(&way, 1, 0, 0) + syncs(&way, 1, 0, 0), 1);  // neither is known: both are tried
    way = (SyncWay){0};
    uint32_t count = 10 * SYNCWAY_OTHER_EVERY;
    uint32_t here = syncs(&way, count, 100 * US, 300 * US);
    EXPECT(here >= count - 11 && here < count);
    way = (SyncWay){0};
    here = syncs(&way, count, 300 * US, 100 * US);
    EXPECT(here > 0 && here <= 11);
}

TEST(syncway, what_becomes_quicker_is_found_out) {
    SyncWay way = {0};
    (void)syncs(&way, 2 * SYNCWAY_OTHER_EVERY, 100 * US, 300 * US);
    (void)syncs(&way, 40 * SYNCWAY_OTHER_EVERY, 900 * US, 300 * US);
    EXPECT(syncs(&way, SYNCWAY_OTHER_EVERY, 900 * US, 300 * US) <= 1);
}

TEST(syncway, one_that_took_very_long_does_not_decide_about_those_after_it) {
    SyncWay way = {0};
    (void)syncs(&way, 2 * SYNCWAY_OTHER_EVERY, 100 * US, 200 * US);
    (void)syncway_here_took(&way, 900 * MS);
    EXPECT(syncs(&way, SYNCWAY_OTHER_EVERY, 100 * US, 200 * US) >= SYNCWAY_OTHER_EVERY - 1);
    for (int i = 0; i < 40; i++)  // but many are no accident
        (void)syncway_here_took(&way, 900 * MS);
    EXPECT(syncs(&way, SYNCWAY_OTHER_EVERY - 1, 900 * MS, 200 * US) <= 1);
}

TEST(syncway, a_machine_is_busy_where_beside_takes_many_times_longer) {
    SyncWay way = {0};
    EXPECT(!syncway_is_busy(&way));
    EXPECT_EQ(syncway_here_took(&way, 100 * US), 100 * US);
    EXPECT(!syncway_is_busy(&way));
    (void)syncway_beside_took(&way, 300 * US);
    EXPECT(!syncway_is_busy(&way));
    for (int i = 0; i < 40; i++)
        (void)syncway_beside_took(&way, 2 * MS);
    EXPECT(syncway_is_busy(&way));
}

TEST_MAIN()
