#include "sats/bsatn.h"

#include "base/mem.h"
#include "base/test.h"

// A type by its BSATN, or a value by its bytes; both live in the test's arena.
static Bytes unhex(Arena *arena, const char *hex) {
    size_t len = strlen(hex) / 2;
    uint8_t *bytes = arena_alloc(arena, len);
    EXPECT(bytes && hex_read(str_from(hex), bytes));
    return (Bytes){bytes, len};
}

static const Type *decode(Arena *arena, const char *hex) {
    const Type *type = NULL;
    Bytes in = unhex(arena, hex);
    EXPECT_OK(type_decode(&in, arena, &type, NULL));
    EXPECT_EQ(in.len, 0);
    return type;
}

// Types of the vectors that are not simple.
#define T_OPTION_U32 "01020000000004000000736f6d650b00040000006e6f6e650200000000"
#define T_RESULT                                  \
    "010200000000020000006f6b0400030000006572720" \
    "4"
#define T_SHAPE              \
    "0103000000"             \
    "0006000000436972636c65" \
    "12"                     \
    "0005000000506f696e74"   \
    "0200000000"             \
    "000400000052656374"     \
    "02020000000001000000770700010000006807"
#define T_IDENTITY "0201000000000c0000005f5f6964656e746974795f5f11"
#define T_SCHEDULE                                                                               \
    "01020000000008000000496e74657276616c020100000000180000005f5f74696d655f6475726174696f6e5f"   \
    "6d6963726f735f5f0c000400000054696d65020100000000250000005f5f74696d657374616d705f6d6963726f" \
    "735f73696e63655f756e69785f65706f63685f5f0c"

// §9.1: each is a value; every shorter input must be refused, and trailing bytes left alone.
static const struct {
    const char *type, *value;
} vectors[] = {
    {"05", "01"},
    {"06", "fe"},
    {"09", "3412"},
    {"0a", "feffffff"},
    {"0d", "0807060504030201"},
    {"0e", "feffffffffffffffffffffffffffffff"},
    {"0f", "0f0e0d0c0b0a09080706050403020100"},
    {"11", "0100000000000000000000000000000000000000000000000000000000000080"},
    {"10", "feffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"},
    {"12", "0000c03f"},
    {"13", "0000000000000080"},
    {"04", "0600000068c3a96c6c6f"},
    {"04", "00000000"},
    {"0307", "030000000102ff"},
    {"0309", "0200000001000200"},
    {"0304", "02000000010000006100000000"},
    {T_OPTION_U32, "0007000000"},
    {T_OPTION_U32, "01"},
    {T_RESULT, "000100000079"},
    {T_RESULT, "01010000006e"},
    {"0200000000", ""},
    {T_SHAPE, "000000c03f"},
    {T_SHAPE, "01"},
    {T_SHAPE, "020304"},
    {T_IDENTITY, "5d262a478b8f95220f3068040c203e32ac0eedc698d84435e9a25303603500c2"},
    {"020100000000110000005f5f636f6e6e656374696f6e5f69645f5f0f",
     "0f0e0d0c0b0a09080706050403020100"},
    {T_SCHEDULE, "00404b4c0000000000"},
    {T_SCHEDULE, "0140420f0000000000"},
    {"020100000000080000005f5f757569645f5f0f", "01000000000000800070005c6e8d8801"},
};

TEST(bsatn, measures_the_published_values_and_refuses_every_prefix) {
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        Arena arena = {0};
        const Type *type = decode(&arena, vectors[i].type);
        Bytes value = unhex(&arena, vectors[i].value);
        size_t len = SIZE_MAX;
        EXPECT_OK(bsatn_check(type, value, &len, NULL));
        EXPECT_EQ(len, value.len);
        EXPECT_EQ(bsatn_len(type, value.len ? value.ptr : (const uint8_t *)""), value.len);

        uint8_t longer[128] = {0};
        memset(longer, 0xff, sizeof longer);
        if (value.len) memcpy(longer, value.ptr, value.len);
        EXPECT_OK(bsatn_check(type, BYTES(longer, sizeof longer), &len, NULL));
        EXPECT_EQ(len, value.len);
        for (size_t cut = 0; cut < value.len; cut++) {
            Diag diag;
            EXPECT_ERR(bsatn_check(type, BYTES(value.ptr, cut), &len, &diag), ERR_MALFORMED);
            EXPECT(strstr(diag.text, "data too short for "));
            EXPECT(diag.at <= cut);
        }
        arena_deinit(&arena);
    }
}

TEST(bsatn, refuses_malformed_input_with_position_and_words) {
    static const struct {
        const char *type, *value;
        size_t at;
        const char *text;
    } cases[] = {
        {"05", "02", 0, "byte 2 not valid as `bool` (must be 0 or 1)"},
        {"0b", "010203", 0, "data too short for u32: Expected 4, given 3"},
        {"04", "0500000061", 4, "data too short for [u8]: Expected 5, given 1"},
        {"04", "ffffffff61", 4, "data too short for [u8]: Expected 4294967295, given 1"},
        {"04", "02000000c328", 4, "invalid utf8"},
        {"0307", "0300000001", 4, "data too short for [u8]: Expected 3, given 1"},
        {"0309", "03000000010002", 6, "data too short for u16: Expected 2, given 1"},
        {"0305", "03000000010003", 6, "byte 3 not valid as `bool` (must be 0 or 1)"},
        {T_OPTION_U32, "02", 0, "unknown tag 0x2 for sum type <unknown>"},
        {"0100000000", "ff", 0, "unknown tag 0xff for sum type <unknown>"},
        {T_SHAPE, "0203", 2, "data too short for u8: Expected 1, given 0"},
        {T_IDENTITY, "00", 0, "data too short for u256: Expected 32, given 1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Arena arena = {0};
        Diag diag;
        size_t len;
        EXPECT_ERR(
            bsatn_check(decode(&arena, cases[i].type), unhex(&arena, cases[i].value), &len, &diag),
            ERR_MALFORMED);
        EXPECT_STR(diag.text, cases[i].text);
        EXPECT_EQ(diag.at, cases[i].at);
        arena_deinit(&arena);
    }
}

TEST_MAIN()
