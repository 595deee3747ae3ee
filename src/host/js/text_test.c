#include "host/js/text.h"

#include "base/test.h"

static void expect_units(const char *utf8, size_t len, const char *units_be, bool valid) {
    Buf units = {0}, shown = {0};
    EXPECT_EQ(text_to_utf16(&units, BYTES(utf8, len)), valid);
    for (size_t i = 0; i + 1 < units.len; i += 2) {
        uint8_t pair[2] = {units.ptr[i + 1], units.ptr[i]};
        hex_append(&shown, BYTES(pair, 2));
    }
    buf_put_u8(&shown, 0);
    EXPECT_STR((char *)shown.ptr, units_be);
    buf_deinit(&units);
    buf_deinit(&shown);
}

TEST(text, ill_formed_bytes_are_replaced_one_for_each_longest_part) {
    expect_units("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 10, "006100e920acd83dde00", true);
    expect_units("", 0, "", true);
    expect_units("\xff", 1, "fffd", false);
    expect_units("\xc0\x80", 2, "fffdfffd", false);          // overlong
    expect_units("\xed\xa0\x80", 3, "fffdfffdfffd", false);  // a surrogate
    expect_units("\xf0\x80\x80\x80", 4, "fffdfffdfffdfffd", false);
    expect_units("\xe2\x82", 2, "fffd", false);  // cut
    expect_units("\xf0\x9f\x98z", 4, "fffd007a", false);
    expect_units("\xf4\x90\x80\x80", 4, "fffdfffdfffdfffd", false);  // beyond the last
    expect_units("\x80", 1, "fffd", false);
    expect_units("a\0b", 3, "006100000062", true);
}

TEST(text, lone_surrogates_are_replaced) {
    static const uint16_t units[] = {0x61, 0xd800, 0x62, 0xdc00, 0xd83d, 0xde00, 0xd83d};
    Buf utf8 = {0};
    text_from_utf16(&utf8, units, ARRAY_LEN(units));
    EXPECT_HEX(buf_bytes(&utf8), "61efbfbd62efbfbdf09f9880efbfbd");
    buf_deinit(&utf8);
}

TEST(text, every_character_survives_the_round_trip) {
    for (uint32_t c = 0; c < 0x110000; c += 37) {
        if (c >= 0xd800 && c < 0xe000) continue;
        uint16_t units[2] = {(uint16_t)c, 0};
        size_t count = 1;
        if (c >= 0x10000) {
            units[0] = (uint16_t)(0xd7c0 + (c >> 10));
            units[1] = (uint16_t)(0xdc00 | (c & 0x3ff));
            count = 2;
        }
        Buf utf8 = {0}, back = {0};
        text_from_utf16(&utf8, units, count);
        EXPECT(utf8_valid(buf_bytes(&utf8)));
        EXPECT(text_to_utf16(&back, buf_bytes(&utf8)));
        EXPECT_BYTES(buf_bytes(&back), BYTES(units, count * 2));
        buf_deinit(&utf8);
        buf_deinit(&back);
    }
}

TEST_MAIN()
