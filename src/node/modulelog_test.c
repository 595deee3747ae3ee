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

static uint64_t sizes;
static const Io *sizes_io;
static Err size_add(void *ctx, const char *name) {
    char path[IO_PATH_MAX];
    IoFile *file;
    uint64_t size;
    EXPECT_OK(path_join(path, ctx, name));
    EXPECT_OK(sizes_io->file_open(sizes_io->world, path, IO_READ, &file));
    EXPECT_OK(sizes_io->file_size(sizes_io->world, file, &size));
    sizes_io->file_close(sizes_io->world, &file);
    sizes += size;
    return OK;
}

static uint64_t files_bytes(const Io *io) {
    static char dir[] = "logs/";
    sizes = 0;
    sizes_io = io;
    EXPECT_OK(io->dir_list(io->world, dir, size_add, dir));
    return sizes;
}

TEST(modulelog, keeps_to_its_limit_and_the_newest_lines) {
    Sim *sim;
    ModuleLog *log;
    Diag diag = {0};
    const uint64_t limit = 256u << 10;
    EXPECT_OK(sim_new(1, &sim));
    EXPECT_OK(modulelog_open(sim_io(sim), "logs", false, &log, &diag));
    modulelog_limit(log, limit);
    for (int day = 0; day < 5; day++) {
        for (int i = 0; i < 20000; i++) {
            char text[32];
            snprintf(text, sizeof text, "line %d of %d", i, day);
            say(log, text);
            if (i % 100 == 0) modulelog_flush(log);
        }
        Buf got = {0};
        EXPECT_OK(modulelog_tail(log, 1000, &got));
        char first[32];
        snprintf(first, sizeof first, "\"line 19000 of %d\"", day);
        *(char *)memchr(got.ptr, '\n', got.len) = 0;
        EXPECT(strstr((const char *)got.ptr, first));
        buf_deinit(&got);
        EXPECT(files_bytes(sim_io(sim)) <= limit);
        EXPECT(files_bytes(sim_io(sim)) > limit / 4);
        sim_clock_advance(sim, (int64_t)86400 * 1000000);
    }
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
