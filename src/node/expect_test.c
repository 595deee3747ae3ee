#include "node/expect.h"

#include "base/test.h"

#define SYNC_NS 200000

// Somebody who asks `gap_ns` after he was answered, `times` times. How often he was expected in that time.
static uint32_t come_back(Expect *expect, int64_t *now_ns, int64_t gap_ns, uint32_t times) {
    uint32_t expected = 0;
    for (uint32_t i = 0; i < times; i++) {
        expect_answered(expect, *now_ns);
        *now_ns += gap_ns;
        expected += expect_is_on(expect, *now_ns);
        expect_asked(expect, *now_ns);
        EXPECT(!expect_is_on(expect, *now_ns));  // nobody else is awaited
        *now_ns += 2 * SYNC_NS;
    }
    return expected;
}

TEST(expect, who_asks_again_at_once_is_expected_after_a_few_times) {
    Expect expect = {0};
    int64_t now_ns = 1000000000;
    expect_window(&expect, SYNC_NS);
    come_back(&expect, &now_ns, SYNC_NS / 4, 100);
    EXPECT_EQ(come_back(&expect, &now_ns, SYNC_NS / 4, 100), 100);
}

TEST(expect, who_takes_longer_than_a_sync_is_not_waited_for) {
    Expect expect = {0};
    int64_t now_ns = 1000000000;
    expect_window(&expect, SYNC_NS);
    come_back(&expect, &now_ns, SYNC_NS / 4, 200);
    come_back(&expect, &now_ns, 3 * SYNC_NS, 100);  // and now he reads before he asks
    uint32_t waited = 0;
    for (uint32_t i = 0; i < 160; i++) {
        expect_answered(&expect, now_ns);
        waited += expect_is_on(&expect, now_ns + 1);
        now_ns += 3 * SYNC_NS;
        expect_asked(&expect, now_ns);
    }
    EXPECT_EQ(waited, 10);  // it is looked now and then whether that is still so
}

TEST(expect, one_who_never_asks_again_is_waited_for_only_so_often) {
    Expect expect = {0};
    int64_t now_ns = 1000000000;
    uint32_t waited = 0;
    expect_window(&expect, SYNC_NS);
    come_back(&expect, &now_ns, SYNC_NS / 4, 200);
    for (uint32_t i = 0; i < 200; i++) {
        expect_answered(&expect, now_ns);
        waited += expect_is_on(&expect, now_ns + 1);
        EXPECT(!expect_is_on(&expect, now_ns + SYNC_NS));
        now_ns += 10 * SYNC_NS;
    }
    EXPECT(waited < 50);
}

TEST(expect, all_who_were_answered_are_waited_for) {
    Expect expect = {0};
    int64_t now_ns = 1000000000;
    expect_window(&expect, SYNC_NS);
    come_back(&expect, &now_ns, SYNC_NS / 4, 200);
    for (int i = 0; i < 3; i++)
        expect_answered(&expect, now_ns);
    expect_asked(&expect, now_ns + 10);
    expect_asked(&expect, now_ns + 20);
    EXPECT(expect_is_on(&expect, now_ns + 20));
    expect_asked(&expect, now_ns + 30);
    EXPECT(!expect_is_on(&expect, now_ns + 30));
}

TEST(expect, a_question_that_was_not_awaited_teaches_nothing) {
    Expect expect = {0};
    expect_window(&expect, SYNC_NS);
    for (int64_t i = 1; i < 1000; i++)
        expect_asked(&expect, i * 1000);
    EXPECT_EQ(expect.in_time, 0);
}

TEST(expect, a_disk_that_takes_seconds_is_not_left_alone_for_seconds) {
    Expect expect = {0};
    int64_t now_ns = 1000000000;
    expect_window(&expect, 3000000000);
    come_back(&expect, &now_ns, SYNC_NS, 200);
    expect_answered(&expect, now_ns);
    EXPECT(!expect_is_on(&expect, now_ns + 2000000));
}

TEST_MAIN()
