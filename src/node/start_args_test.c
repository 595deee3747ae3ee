#include "node/start_args.h"

#include <stdio.h>

#include "base/test.h"

static StartArgs read_args;

// The exit code; what it set is in read_args. What it says of mistakes is tested end to end (cli_errors).
static int read_words(int argc, const char **words) {
    char *argv[8] = {(char[]){"start"}};
    for (int i = 0; i < argc; i++)
        argv[i + 1] = (char *)(uintptr_t)words[i];
    read_args = (StartArgs){.node = {.port = 3000}};
    return start_args_read(argc + 1, argv, &read_args);
}

#define READ(...)                                                             \
    read_words((int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)), \
               (const char *[]){__VA_ARGS__})

TEST(start_args, sets_what_was_given_in_the_units_of_the_server) {
    EXPECT_EQ(READ("--loops", "7", "--reducer-deadline=250", "--log-keep-hours=2", "--in-memory"),
              0);
    EXPECT_EQ(read_args.node.loops_max, 7);
    EXPECT_EQ(read_args.node.deadline, 250000);
    EXPECT_EQ(read_args.node.log_keep.us, 7200000000);
    EXPECT(read_args.node.in_memory);
    EXPECT_EQ(READ("-l", "[::1]:4000", "--pg-port", "5432", "--data-dir", "here"), 0);
    EXPECT_STR(read_args.node.host, "::1");
    EXPECT_EQ(read_args.node.port, 4000);
    EXPECT(read_args.node.pg);
    EXPECT_EQ(read_args.node.pg_port, 5432);
    EXPECT_STR(read_args.node.data_dir, "here");
    EXPECT_EQ(READ("--idle-timeout", "9"), 0);
    EXPECT_EQ(read_args.node.limits.idle_timeout, 9000);
    EXPECT_EQ(read_args.node.limits.request_timeout, 9000);
}

TEST(start_args, tells_a_slice_of_nothing_from_none_at_all) {
    EXPECT_EQ(READ("--slice-ms", "0"), 0);
    EXPECT_EQ(read_args.node.slice, SLICE_OFF);
    EXPECT_EQ(READ("--slice-ms", "none"), 0);
    EXPECT_EQ(read_args.node.slice, SLICE_NONE);
    EXPECT_EQ(READ("--slice-ms", "3"), 0);
    EXPECT_EQ(read_args.node.slice, 3000);
}

TEST(start_args, reads_a_list_of_issuers) {
    EXPECT_EQ(READ("--issuers", "https://a,https://b"), 0);
    EXPECT_EQ(read_args.node.issuers.count, 2);
    EXPECT(str_eq(read_args.node.issuers.named[1], STR("https://b")));
    EXPECT_EQ(READ("--issuers", "none"), 0);
    EXPECT(!read_args.node.issuers.any && read_args.node.issuers.count == 0);
    EXPECT_EQ(READ("--issuers", "a,,b"), 2);
}

TEST(start_args, refuses_what_an_option_does_not_take) {
    static const char *const wrong[][2] = {{"--loops", "0"},
                                           {"--loops", "4097"},
                                           {"--loops", "x"},
                                           {"--loops", ""},
                                           {"--memory-max", "1048575"},
                                           {"--memory-max", "9223372036854775808"},
                                           {"--listen-addr", "3000"},
                                           {"--listen-addr", "h:65536"},
                                           {"--setting", "nothing=1"},
                                           {"--setting", "deadline_ms=0"},
                                           {"--view-failure", "ignore"},
                                           {"--tls-cert", "only"}};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        EXPECT_EQ(READ(wrong[i][0], wrong[i][1]), 2);
    EXPECT_EQ(READ("--nothing"), 2);
    EXPECT_EQ(READ("more"), 2);
    EXPECT_EQ(READ("--loops"), 2);
}

TEST_MAIN()
