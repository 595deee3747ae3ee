// pulse_test.c: it beats while somebody waits for a core, and only then.
#define _GNU_SOURCE
#include "os/pulse.h"

#include "os/sched_testing.h"
#include "os/thread.h"

static void busy_ms(int64_t ms) {
    for (int64_t until = now_ns() + ms * 1000000; now_ns() < until;) {
    }
}

static bool system_counts(void) {
    PulseMeter meter;
    pulse_meter_open(&meter, now_ns());
    bool counts = meter.fd >= 0;
    pulse_meter_close(&meter);
    return counts;
}

static void feel_for(Pulse *pulse, int64_t ms) {
    PulseMeter meter;
    pulse_meter_open(&meter, now_ns());
    for (int64_t until = now_ns() + ms * 1000000; now_ns() < until; busy_ms(1))
        pulse_feel(pulse, &meter, now_ns());
    pulse_meter_close(&meter);
}

static void feel_beside_rival(Pulse *pulse, int64_t ms) {
    Crowd rival;
    crowd_begin(&rival, 1);
    feel_for(pulse, ms);
    crowd_end(&rival);
}

TEST(pulse, beats_while_a_thread_that_feels_it_waits_for_a_core_and_then_ends_by_itself) {
    Pulse *pulse = pulse_new();
    if (!pulse || !system_counts()) return pulse_free(&pulse);
    feel_beside_rival(pulse, 300);
    EXPECT(pulse_beats(pulse) > 20);
    sleep_ms(PULSE_LASTS_NS / 1000000 + 100);
    uint64_t beats = pulse_beats(pulse);
    sleep_ms(50);
    EXPECT_EQ(pulse_beats(pulse), beats);
    pulse_free(&pulse);
}

TEST(pulse, does_not_begin_for_one_who_sleeps) {
    Pulse *pulse = pulse_new();
    PulseMeter meter;
    pulse_meter_open(&meter, now_ns());
    bool waited = false;
    for (int i = 0; i < 10; i++) {
        uint64_t before_ns = meter.waited_ns;
        sleep_ms(PULSE_LOOK_NS / 1000000 + 5);
        pulse_feel(pulse, &meter, now_ns());
        waited |= meter.waited_ns - before_ns > PULSE_WAIT_NS;
    }
    // On a busy machine whoever sleeps waits for a core when he wakes, and then the pulse is right.
    if (!waited) EXPECT_EQ(pulse_beats(pulse), 0);
    pulse_meter_close(&meter);
    pulse_free(&pulse);
}

TEST(pulse, is_nothing_where_there_is_none) {
    Pulse *none = NULL;
    PulseMeter meter = {.fd = -1};
    pulse_feel(none, &meter, now_ns());
    EXPECT_EQ(pulse_beats(none), 0);
    pulse_meter_close(&meter);
    pulse_free(&none);
    EXPECT(none == NULL);
}

TEST_MAIN()
