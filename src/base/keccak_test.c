#include "base/keccak.h"

#include "base/test.h"

static void expect_hash(Str text, const char *hex) {
    uint8_t out[KECCAK256_LEN];
    keccak256(str_bytes(text), out);
    EXPECT_HEX(BYTES(out, sizeof out), hex);
}

TEST(keccak, agrees_with_well_known_hashes) {
    expect_hash(STR_NONE, "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470");
    expect_hash(STR("abc"), "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45");
    expect_hash(STR("The quick brown fox jumps over the lazy dog"),
                "4d741b6f1eb29cb2a9b9911c82f56fa8d73b04959d3d9d222895df6c0b28aa15");
}

// Lengths around the rate of 136, made with another implementation (pycryptodome): the input is
// 0, 1, …, 250, 0, 1, ….
static const struct {
    size_t len;
    const char *hex;
} around_the_rate[] = {
    {1, "bc36789e7a1e281436464229828f817d6612f7b477d66591ff96a9e064bcc98a"},
    {135, "cbdfd9dee5faad3818d6b06f95a219fd290b0e1706f6a82e5a595b9ce9faca62"},
    {136, "7ce759f1ab7f9ce437719970c26b0a66ff11fe3e38e17df89cf5d29c7d7f807e"},
    {137, "ac73d4fae68b8453f764007c1a20ce95994187861f0c3227a3a8e99a73a3b1db"},
    {271, "27eceb59ebc3dc8a04a5b135be641591a7278540e4556a2ba9f408194e666ec3"},
    {272, "8e2476e65823b24d96ebe239f2c1534cdf763e689e2410c3b1cb0c74e6177bfc"},
    {273, "3f02f134370e4debb95140ef49ddd3aed8c65ff1ed83a43f1b269421f179c5f9"},
    {1000, "af692982e84a5a9688359025660a7857cd28ee7c8d867cfa1677baf2e6d1f63b"},
};

TEST(keccak, pads_correctly_on_both_sides_of_a_block) {
    uint8_t input[1000];
    for (size_t i = 0; i < sizeof input; i++) {
        input[i] = (uint8_t)(i % 251);
    }
    for (size_t i = 0; i < ARRAY_LEN(around_the_rate); i++) {
        expect_hash((Str){(char *)input, around_the_rate[i].len}, around_the_rate[i].hex);
    }
}

TEST_MAIN()
