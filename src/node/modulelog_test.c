#include "node/modulelog.h"

#include "base/test.h"
#include "sim/sim.h"

static void say(ModuleLog *log, const char *message) {
    HostLogRecord record = {.level = 2,
                            .ts = 7,
                            .function = STR("f"),
                            .message = str_from(message),
                            .line = UINT32_MAX};
    modulelog_add(log, &record);
}

static void expect_tail(ModuleLog *log, uint32_t lines, const char *want) {
    Buf got = {0};
    EXPECT_OK(modulelog_tail(log, lines, &got));
    EXPECT_BYTES(buf_bytes(&got), BYTES(want, strlen(want)));
    buf_deinit(&got);
}

#define LINE(text) "{\"level\":\"Info\",\"ts\":7,\"function\":\"f\",\"message\":\"" text "\"}\n"

TEST(modulelog, tails_lines_and_begins_a_file_each_day) {
    Sim *sim;
    ModuleLog *log;
    Diag diag = {0};
    EXPECT_OK(sim_new(1, &sim));
    EXPECT_OK(modulelog_open(sim_io(sim), "logs", false, &log, &diag));
    expect_tail(log, 5, "");
    say(log, "one");
    say(log, "say \"two\"");
    say(log, "three");
    expect_tail(log, 1, LINE("three"));
    expect_tail(log, 0, "");
    Buf all = {0};
    EXPECT_OK(modulelog_tail(log, UINT32_MAX, &all));
    EXPECT(all.len > 100);
    buf_deinit(&all);
    sim_clock_advance(sim, (int64_t)86400 * 1000000);
    say(log, "tomorrow");
    expect_tail(log, UINT32_MAX, LINE("tomorrow"));
    modulelog_close(&log);
    sim_free(&sim);
}

TEST(modulelog, a_module_that_only_prints_fills_the_file_and_no_memory) {
    Sim *sim;
    ModuleLog *log;
    Diag diag = {0};
    EXPECT_OK(sim_new(1, &sim));
    EXPECT_OK(modulelog_open(sim_io(sim), "logs", false, &log, &diag));
    for (int i = 0; i < 100000; i++) {
        say(log, "the same old story");
    }
    EXPECT(modulelog_bytes(log) > 100000 * strlen(LINE("the same old story")) - (2u << 20));
    expect_tail(log, 1, LINE("the same old story"));
    modulelog_close(&log);
    sim_free(&sim);
}

typedef struct Follower {
    Buf got;
    int calls_left;
    bool ended;
} Follower;

static bool follow_each(void *ctx, Bytes lines) {
    Follower *f = ctx;
    buf_put_bytes(&f->got, lines);
    return --f->calls_left > 0;
}

static void follow_ended(void *ctx) {
    ((Follower *)ctx)->ended = true;
}

TEST(modulelog, followers_hear_what_is_flushed_until_they_stop) {
    Sim *sim;
    ModuleLog *log;
    Diag diag = {0};
    Follower short_lived = {.calls_left = 1}, steady = {.calls_left = 100};
    EXPECT_OK(sim_new(1, &sim));
    EXPECT_OK(modulelog_open(sim_io(sim), "logs", true, &log, &diag));
    EXPECT(modulelog_follow(log, follow_each, follow_ended, &short_lived) != NULL);
    EXPECT(modulelog_follow(log, follow_each, follow_ended, &steady) != NULL);
    say(log, "a");
    modulelog_flush(log);
    say(log, "b");
    modulelog_flush(log);
    EXPECT(short_lived.ended && !steady.ended);
    modulelog_close(&log);
    EXPECT(steady.ended);
    EXPECT_BYTES(buf_bytes(&short_lived.got), BYTES(LINE("a"), strlen(LINE("a"))));
    EXPECT_BYTES(buf_bytes(&steady.got), BYTES(LINE("a") LINE("b"), strlen(LINE("a") LINE("b"))));
    buf_deinit(&short_lived.got);
    buf_deinit(&steady.got);
    sim_free(&sim);
}

TEST_MAIN()
