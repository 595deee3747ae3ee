#include "base/bytes.h"

#include "base/test.h"

enum { LONGEST = 80 };

TEST(bytes, copies_of_any_length_are_whole_and_touch_nothing_else) {
    uint8_t from[LONGEST], to[LONGEST + 2];
    for (int i = 0; i < LONGEST; i++)
        from[i] = (uint8_t)(i + 1);
    for (size_t len = 0; len <= LONGEST; len++) {
        memset(to, 0xee, sizeof to);
        bytes_copy(to + 1, from, len);
        EXPECT_BYTES(BYTES(to + 1, len), BYTES(from, len));
        EXPECT_EQ(to[0], 0xee);
        EXPECT_EQ(to[len + 1], 0xee);
    }
    bytes_copy(to, NULL, 0);
}

TEST(bytes, the_same_are_equal_and_one_byte_makes_a_difference) {
    uint8_t a[LONGEST], b[LONGEST];
    for (size_t len = 0; len <= LONGEST; len++) {
        memset(a, 7, sizeof a);
        memset(b, 7, sizeof b);
        EXPECT(bytes_same(BYTES(a, len), BYTES(b, len)));
        if (len < LONGEST) EXPECT(!bytes_same(BYTES(a, len), BYTES(b, len + 1)));
        for (size_t at = 0; at < len; at++) {
            b[at] = 8;
            EXPECT(!bytes_same(BYTES(a, len), BYTES(b, len)));
            b[at] = 7;
        }
    }
    EXPECT(bytes_same(BYTES_NONE, BYTES("", 0)));
}

TEST_MAIN()
