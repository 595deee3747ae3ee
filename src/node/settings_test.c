#include "node/settings.h"

#include "base/test.h"

TEST(settings, every_standard_is_within_its_own_bounds) {
    Settings s;
    Diag diag = {0};
    settings_standard(&s);
    for (uint32_t i = 0; i < setting_count; i++) {
        const SettingRule *rule = &setting_rules[i];
        EXPECT(!setting_is_own(&s, rule));
        EXPECT_EQ(setting_get(&s, rule), rule->standard);
        EXPECT_OK(setting_set(&s, rule, rule->standard, &diag));
        EXPECT(rule->max <= INT64_MAX / rule->scale);
        EXPECT(setting_find(str_from(rule->key)) == rule);
    }
}

TEST(settings, what_was_written_is_read_and_the_rest_follows_the_server) {
    Settings defaults, s, read;
    Diag diag = {0};
    Buf text = {0};
    settings_standard(&defaults);
    defaults.slice = 5000;
    s = defaults;
    EXPECT_OK(setting_set(&s, setting_find(STR("deadline_ms")), 1500, &diag));
    EXPECT_OK(setting_set(&s, setting_find(STR("slice_us")), 0, &diag));
    settings_write(&s, &text);
    EXPECT_BYTES(buf_bytes(&text), str_bytes(STR("slice_us=0\ndeadline_ms=1500\n")));
    read = defaults;
    settings_read(&read, bytes_str(buf_bytes(&text)));
    EXPECT_EQ(read.deadline, 1500000);
    EXPECT_EQ(read.slice, 0);
    setting_unset(&read, setting_find(STR("slice_us")), &defaults);
    EXPECT_EQ(read.slice, 5000);
    EXPECT(!setting_is_own(&read, setting_find(STR("slice_us"))));
    EXPECT(setting_is_own(&read, setting_find(STR("deadline_ms"))));
    buf_deinit(&text);
}

TEST(settings, out_of_bounds_is_refused_by_name) {
    Settings s;
    Diag diag = {0};
    settings_standard(&s);
    EXPECT_ERR(setting_set(&s, setting_find(STR("deadline_ms")), 0, &diag), ERR_INVALID);
    EXPECT_STR(diag.text, "`deadline_ms` takes a number from 1 to 86400000, not 0");
    EXPECT_ERR(setting_set(&s, setting_find(STR("memory_max")), 1, &diag), ERR_INVALID);
    EXPECT_OK(setting_set(&s, setting_find(STR("memory_max")), 0, &diag));
    EXPECT_EQ(s.deadline, 10000000);
    EXPECT(!setting_find(STR("deadline")));
}

TEST(settings, lines_that_mean_nothing_here_are_skipped) {
    static const char *const odd[] = {"",
                                      "\n\n",
                                      "slice_us",
                                      "=5",
                                      "slice_us=",
                                      "slice_us=7x\n",
                                      "from_the_future=3\n",
                                      "slice_us=99999999999999999999\n",
                                      "deadline_ms=0\n",
                                      "slice_us=1234567890123456789012345678901234567890\n"};
    for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
        Settings s, standard;
        settings_standard(&s);
        settings_standard(&standard);
        settings_read(&s, str_from(odd[i]));
        EXPECT(memcmp(&s, &standard, sizeof s) == 0);
    }
}

TEST_MAIN()
