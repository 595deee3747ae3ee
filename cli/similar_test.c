#include "cli/similar.h"

#include "base/test.h"

TEST(similar, distance_counts_edits_and_swaps) {
    EXPECT_EQ(similar_distance("", ""), 0);
    EXPECT_EQ(similar_distance("abc", ""), 3);
    EXPECT_EQ(similar_distance("say_helo", "say_hello"), 1);
    EXPECT_EQ(similar_distance("ab", "ba"), 1);
    EXPECT_EQ(similar_distance("kitten", "sitting"), 3);
}

TEST(similar, finds_case_then_distance_then_word_order) {
    const char *const names[] = {"say_hello", "say_hallo", "send_message", "add"};
    EXPECT_STR(similar_find("SAY_HALLO", names, 4), "say_hallo");
    EXPECT_STR(similar_find("say_hell", names, 4), "say_hello");
    EXPECT_STR(similar_find("message_send", names, 4), "send_message");
    EXPECT(similar_find("drop_everything", names, 4) == NULL);
    EXPECT(similar_find("xyz", names, 4) == NULL);
}

TEST(similar, sorting_keeps_equal_distances_in_order) {
    const char *names[] = {"zzzz", "bb", "cc", "aa"};
    similar_sort("aa", names, 4);
    EXPECT_STR(names[0], "aa");
    EXPECT_STR(names[1], "bb");
    EXPECT_STR(names[2], "cc");
    EXPECT_STR(names[3], "zzzz");
}

TEST_MAIN()
