#include "base/crc32c.h"

#include "base/test.h"

// RFC 3720, appendix B.4, and the check value of every CRC catalogue.
TEST(crc32c, agrees_with_published_values) {
    uint8_t bytes[32];
    EXPECT_EQ(crc32c(0, BYTES("123456789", 9)), 0xe3069283);
    memset(bytes, 0, sizeof bytes);
    EXPECT_EQ(crc32c(0, BYTES(bytes, 32)), 0x8a9136aa);
    memset(bytes, 0xff, sizeof bytes);
    EXPECT_EQ(crc32c(0, BYTES(bytes, 32)), 0x62a8ab43);
    for (int i = 0; i < 32; i++) {
        bytes[i] = (uint8_t)i;
    }
    EXPECT_EQ(crc32c(0, BYTES(bytes, 32)), 0x46dd794e);
    EXPECT_EQ(crc32c(0, BYTES_NONE), 0);
}

TEST(crc32c, is_the_same_by_instruction_and_by_table_in_any_two_pieces) {
    uint8_t bytes[100];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i * 7 + 3);
    }
    for (size_t len = 0; len <= sizeof bytes; len++) {
        uint32_t whole = crc32c(0, BYTES(bytes, len));
        EXPECT_EQ(crc32c_portable(0, BYTES(bytes, len)), whole);
        for (size_t cut = 0; cut <= len; cut++) {
            uint32_t first = crc32c(0, BYTES(bytes, cut));
            EXPECT_EQ(crc32c(first, BYTES(bytes + cut, len - cut)), whole);
        }
    }
}

TEST_MAIN()
