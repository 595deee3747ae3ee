#include "node/schedule.h"

#include "base/test.h"

TEST(schedule, gives_entries_in_order_of_time_and_replaces_a_row) {
    Schedule *s = schedule_new();
    for (uint64_t i = 0; i < 1000; i++) {
        ScheduleEntry entry = {.table_id = 4096, .row_id = i, .due = (Micros)((i * 7919) % 1000)};
        EXPECT_OK(schedule_put(s, &entry));
    }
    for (uint64_t i = 0; i < 1000; i += 2) {  // half are moved far away, then most of those removed
        ScheduleEntry entry = {.table_id = 4096, .row_id = i, .due = 5000 + (Micros)i};
        EXPECT_OK(schedule_put(s, &entry));
        if (i % 10) schedule_remove(s, 4096, i);
    }
    ScheduleEntry out;
    Micros last = -1;
    int taken = 0;
    while (schedule_take_due(s, 4999, &out)) {
        EXPECT(out.due >= last && out.row_id % 2 == 1);
        last = out.due;
        taken++;
    }
    EXPECT_EQ(taken, 500);
    EXPECT_EQ(schedule_next_due(s), 5000);
    for (taken = 0; schedule_take_due(s, INT64_MAX - 1, &out); taken++) {
        EXPECT(out.row_id % 10 == 0);
    }
    EXPECT_EQ(taken, 100);
    EXPECT_EQ(schedule_next_due(s), INT64_MAX);
    schedule_free(&s);
}

TEST(schedule, an_interval_keeps_its_phase_and_skips_missed_ticks) {
    ScheduleEntry entry = {.due = 1000, .interval = 250};
    EXPECT_EQ(schedule_following(&entry, 1000), 1250);
    EXPECT_EQ(schedule_following(&entry, 1010), 1250);
    EXPECT_EQ(schedule_following(&entry, 1700), 1750);
    EXPECT_EQ(schedule_following(&entry, 1750), 2000);
}

TEST_MAIN()
