#include "auth/base64url.h"

#include "base/test.h"

static void expect_pair(Str plain, const char *text) {
    Buf out = {0};
    base64url_append(&out, str_bytes(plain));
    EXPECT_BYTES(buf_bytes(&out), str_bytes(str_from(text)));
    uint8_t back[64];
    size_t len;
    EXPECT(base64url_decode(str_from(text), back, &len));
    EXPECT_BYTES(BYTES(back, len), str_bytes(plain));
    buf_deinit(&out);
}

TEST(base64url, agrees_with_rfc_4648_without_its_padding) {
    expect_pair(STR(""), "");
    expect_pair(STR("f"), "Zg");
    expect_pair(STR("fo"), "Zm8");
    expect_pair(STR("foo"), "Zm9v");
    expect_pair(STR("foob"), "Zm9vYg");
    expect_pair(STR("fooba"), "Zm9vYmE");
    expect_pair(STR("foobar"), "Zm9vYmFy");
    expect_pair(STR("\xfb\xff\xfe"), "-__-");
    expect_pair(STR("{\"typ\":\"JWT\",\"alg\":\"ES256\"}"), "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9");
}

TEST(base64url, refuses_every_second_spelling) {
    static const char *const wrong[] =
        {"Zg==", "Zm8=", "Z", "Zm9vY", "Zh", "Zm9", "+//+", "Zm 8", "Zm8\n", "Zm9v!A"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        uint8_t out[16];
        size_t len;
        EXPECT(!base64url_decode(str_from(wrong[i]), out, &len));
    }
}

TEST(base64url, goes_both_ways_for_every_length) {
    uint8_t bytes[70], back[80];
    for (size_t len = 0; len <= sizeof bytes; len++) {
        for (size_t i = 0; i < len; i++) {
            bytes[i] = (uint8_t)(i * 89 + len);
        }
        Buf text = {0};
        size_t got;
        base64url_append(&text, BYTES(bytes, len));
        EXPECT(base64url_decode(bytes_str(buf_bytes(&text)), back, &got));
        EXPECT(got <= base64url_decoded_max(text.len));
        EXPECT_BYTES(BYTES(back, got), BYTES(bytes, len));
        buf_deinit(&text);
    }
}

TEST_MAIN()
