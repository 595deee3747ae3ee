#include "cli/args.h"

#include "base/test.h"
#include "cli/cli.h"

static const ArgSpec specs[] = {
    {"server", NULL, 's', ARG_VALUE, "URL", ""},
    {"yes", NULL, 'y', ARG_OPTIONAL_VALUE, "LIST", ""},
    {"follow", NULL, 'f', ARG_FLAG, NULL, ""},
    {"template", NULL, 't', ARG_MAYBE_VALUE, "NAME", ""},
    {"clear", "wipe", 'c', ARG_OPTIONAL_VALUE, "MODE", ""},
    ARG_SPECS_END,
};
static const CliCommand command = {.name = "test", .usage = "", .specs = specs};

static Args parse(int count, const char **words) {
    Args args;
    args_parse(&args, &command, count, (char **)words);
    return args;
}
#define PARSE(...) \
    parse((int)ARRAY_LEN(((const char *[]){__VA_ARGS__})), (const char *[]){__VA_ARGS__})

TEST(args, values_are_taken_from_the_next_word_or_the_same) {
    Args args = PARSE("--server", "a", "x");
    EXPECT_STR(args_value(&args, "server"), "a");
    EXPECT_EQ(args.word_count, 1);
    args = PARSE("--server=b");
    EXPECT_STR(args_value(&args, "server"), "b");
    args = PARSE("-sc");
    EXPECT_STR(args_value(&args, "server"), "c");
    args = PARSE("-s", "d", "--server", "e");
    EXPECT_STR(args_value(&args, "server"), "e");
}

TEST(args, an_optional_value_needs_an_equals_sign) {
    Args args = PARSE("--yes", "my-db");
    EXPECT(args_has(&args, "yes") && args_value(&args, "yes") == NULL);
    EXPECT_STR(args.words[0], "my-db");
    args = PARSE("--yes=remote", "--yes=migrate");
    EXPECT_STR(args_value(&args, "yes"), "remote,migrate");
    args = PARSE("-c=always", "-fy");
    EXPECT_STR(args_value(&args, "clear"), "always");
    EXPECT(args_has(&args, "follow") && args_has(&args, "yes"));
    args = PARSE("--wipe=never");
    EXPECT_STR(args_value(&args, "clear"), "never");
}

TEST(args, a_value_that_may_be_missing_is_the_next_word_unless_that_is_an_option) {
    Args args = PARSE("--template", "chat", "x");
    EXPECT_STR(args_value(&args, "template"), "chat");
    EXPECT_EQ(args.word_count, 1);
    args = PARSE("--template");
    EXPECT(args_has(&args, "template") && args_value(&args, "template") == NULL);
    args = PARSE("-t", "--follow");
    EXPECT(args_has(&args, "template") && args_value(&args, "template") == NULL);
    EXPECT(args_has(&args, "follow"));
    args = PARSE("-t", "game");
    EXPECT_STR(args_value(&args, "template"), "game");
}

TEST(args, negative_numbers_and_words_after_two_dashes_are_not_options) {
    Args args = PARSE("add", "-5", "--", "--server", "-x");
    EXPECT_EQ(args.word_count, 4);
    EXPECT_STR(args.words[1], "-5");
    EXPECT_STR(args.words[2], "--server");
    EXPECT(!args_has(&args, "server"));
}

TEST(args, help_is_known_to_every_command) {
    Args args = PARSE("x", "--help");
    EXPECT(args.help);
    args = PARSE("-h");
    EXPECT(args.help);
}

TEST_MAIN()
