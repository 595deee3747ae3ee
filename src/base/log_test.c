#include "base/log.h"

#include "base/test.h"

static void keep_line(void *ctx, Str line) {
    buf_put_str(ctx, line);
}

static void expect_time(Micros time, const char *text) {
    char out[RFC3339_LEN + 1];
    rfc3339_write(time, out);
    EXPECT_STR(out, text);
}

TEST(rfc3339, shows_moments_before_and_after_the_epoch) {
    expect_time(0, "1970-01-01T00:00:00.000000Z");
    expect_time(-1, "1969-12-31T23:59:59.999999Z");
    expect_time(951782400000000, "2000-02-29T00:00:00.000000Z");
    expect_time(1735689599123456, "2024-12-31T23:59:59.123456Z");
    expect_time(4107542400000000, "2100-03-01T00:00:00.000000Z");
    expect_time(INT64_MIN, "0001-01-01T00:00:00.000000Z");
    expect_time(INT64_MAX, "9999-12-31T23:59:59.999999Z");
}

TEST(log, writes_a_line_with_time_and_level) {
    Buf lines = {0};
    log_set_writer(keep_line, &lines);
    log_info("opened %s after %d ms", "chat", 7);
    log_set_writer(NULL, NULL);
    Str line = bytes_str(buf_bytes(&lines));
    Str tail = STR(" INFO opened chat after 7 ms\n");
    EXPECT_EQ(line.len, RFC3339_LEN + tail.len);
    EXPECT(str_starts(line, STR("20")));
    EXPECT(str_eq((Str){line.ptr + RFC3339_LEN, tail.len}, tail));
    buf_deinit(&lines);
}

TEST(log, leaves_out_what_is_too_detailed) {
    Buf lines = {0};
    log_set_writer(keep_line, &lines);
    log_debug("hidden");
    EXPECT_EQ(lines.len, 0);
    log_set_level(LOG_DEBUG);
    log_debug("shown");
    EXPECT(lines.len > 0);
    buf_clear(&lines);
    log_set_level(LOG_ERROR);
    log_warn("hidden");
    EXPECT_EQ(lines.len, 0);
    log_error("shown");
    EXPECT(lines.len > 0);
    log_set_level(LOG_INFO);
    log_set_writer(NULL, NULL);
    buf_deinit(&lines);
}

TEST(log, cuts_a_long_line_between_characters) {
    static char text[9001];
    for (size_t i = 0; i + 3 <= sizeof text - 1; i += 3) {
        memcpy(text + i, "\xe2\x82\xac", 3);
    }
    for (int shift = 0; shift < 3; shift++) {
        Buf lines = {0};
        log_set_writer(keep_line, &lines);
        log_info("%.*s%s", shift, "ab", text);
        log_set_writer(NULL, NULL);
        EXPECT(lines.len > 4000 && lines.len <= 4096);
        EXPECT_EQ(lines.ptr[lines.len - 1], '\n');
        EXPECT(utf8_valid(buf_bytes(&lines)));
        buf_deinit(&lines);
    }
}

TEST(log, knows_its_levels_by_name) {
    LogLevel level;
    EXPECT(log_level_parse(STR("Debug"), &level) && level == LOG_DEBUG);
    EXPECT(log_level_parse(STR("warn"), &level) && level == LOG_WARN);
    EXPECT(!log_level_parse(STR("loud"), &level));
}

TEST_MAIN()
