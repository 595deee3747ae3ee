#include "node/settings.h"

#include <stdio.h>

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

TEST(settings, a_reducer_may_have_its_own) {
    Settings s, read;
    Diag diag = {0};
    Buf text = {0};
    const SettingRule *rule;
    Str name;
    int64_t rate, burst;
    settings_standard(&s);
    EXPECT(!setting_of_reducer(STR("reducer_rate"), &rule, &name));
    EXPECT(!setting_of_reducer(STR("reducer_rate."), &rule, &name));
    EXPECT(!setting_of_reducer(STR("slice_us.move"), &rule, &name));
    EXPECT(setting_of_reducer(STR("reducer_rate.move"), &rule, &name));
    EXPECT_OK(setting_set_reducer(&s, rule, name, 60, &diag));
    EXPECT_ERR(setting_set_reducer(&s, rule, name, -1, &diag), ERR_INVALID);
    EXPECT_STR(diag.text, "`reducer_rate.move` takes a number from 0 to 1000000, not -1");
    EXPECT(setting_of_reducer(STR("reducer_burst.say"), &rule, &name));
    EXPECT_OK(setting_set_reducer(&s, rule, name, 3, &diag));
    EXPECT_OK(setting_set(&s, setting_find(STR("reducer_rate")), 7, &diag));

    settings_write(&s, &text);
    EXPECT_BYTES(buf_bytes(&text),
                 str_bytes(STR("reducer_rate=7\nreducer_rate.move=60\nreducer_burst.say=3\n")));
    settings_standard(&read);
    settings_read(&read, bytes_str(buf_bytes(&text)));
    EXPECT(memcmp(&read, &s, sizeof s) == 0);
    settings_reducer(&read, STR("move"), &rate, &burst);
    EXPECT(rate == 60 && burst == 1000);
    settings_reducer(&read, STR("say"), &rate, &burst);
    EXPECT(rate == 7 && burst == 3);
    settings_reducer(&read, STR("other"), &rate, &burst);
    EXPECT(rate == 7 && burst == 1000);

    EXPECT(setting_of_reducer(STR("reducer_rate.move"), &rule, &name));
    setting_unset_reducer(&read, rule, name);
    EXPECT_EQ(read.reducer_count, 1);
    settings_reducer(&read, STR("move"), &rate, &burst);
    EXPECT_EQ(rate, 7);
    buf_deinit(&text);
}

TEST(settings, only_so_many_reducers_have_their_own) {
    Settings s;
    Diag diag = {0};
    char name[16];
    const SettingRule *rule = setting_find(STR("reducer_rate"));
    settings_standard(&s);
    for (int i = 0; i < REDUCER_LIMITS_MAX; i++) {
        snprintf(name, sizeof name, "r%d", i);
        EXPECT_OK(setting_set_reducer(&s, rule, str_from(name), i, &diag));
    }
    EXPECT_OK(setting_set_reducer(&s, rule, STR("r0"), 9, &diag));
    EXPECT_ERR(setting_set_reducer(&s, rule, STR("another"), 9, &diag), ERR_LIMIT);
}

TEST(settings, lines_that_mean_nothing_here_are_skipped) {
    static const char *const odd[] = {"",
                                      "\n\n",
                                      "slice_us",
                                      "=5",
                                      "slice_us=",
                                      "slice_us=7x\n",
                                      "from_the_future=3\n",
                                      "reducer_rate.=5\n",
                                      "reducer_rate.a=-5\n",
                                      "slice_us.a=5\n",
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
