#include "sats/bsatn.h"

#include "base/mem.h"
#include "base/test.h"
#include "sats/value_gen_testing.h"

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

TEST(bsatn, random_values_are_measured_exactly_and_no_prefix_passes) {
    enum { TYPES = 2000 };
    print_message("seeds 0 to %d\n", TYPES - 1);
    for (uint64_t seed = 0; seed < TYPES; seed++) {
        ValueGen gen = value_gen(seed);
        Arena arena = {0};
        Buf value = {0};
        const Type *type = value_gen_type(&gen, &arena, (uint32_t)(seed % 5));
        value_gen_value(&gen, type, &value);
        size_t len = SIZE_MAX;
        EXPECT_OK(bsatn_check(type, buf_bytes(&value), &len, NULL));
        EXPECT_EQ(len, value.len);
        if (value.len) {
            EXPECT_EQ(bsatn_len(type, value.ptr), value.len);
            EXPECT_EQ(bsatn_cmp(type, value.ptr, value.ptr), 0);
        }
        if (type->fixed_size != TYPE_SIZE_VARIES) EXPECT_EQ(type->fixed_size, value.len);
        for (size_t cut = 0; cut < value.len; cut++) {
            EXPECT_ERR(bsatn_check(type, BYTES(value.ptr, cut), &len, NULL), ERR_MALFORMED);
        }
        buf_deinit(&value);
        arena_deinit(&arena);
    }
}

// The checker without its short cuts: every leaf is looked at, whatever the sizes say.
static bool slow_check(const Type *type, Bytes in, size_t *at) {
    size_t left = in.len - *at;
    if (type->kind == TYPE_PRODUCT) {
        for (uint32_t i = 0; i < type->field_count; i++) {
            if (!slow_check(type->fields[i].type, in, at)) return false;
        }
        return true;
    }
    if (type->kind == TYPE_SUM) {
        if (left < 1 || in.ptr[*at] >= type->field_count) return false;
        return slow_check(type->fields[in.ptr[(*at)++]].type, in, at);
    }
    if (type->kind == TYPE_STRING || type->kind == TYPE_ARRAY) {
        if (left < 4) return false;
        uint32_t count = load_u32(in.ptr + *at);
        *at += 4;
        if (type->kind == TYPE_STRING) {
            if (count > left - 4 || !utf8_valid(BYTES(in.ptr + *at, count))) return false;
            *at += count;
            return true;
        }
        if (type->element->fixed_size == 0 && count > ARRAY_EMPTY_COUNT_MAX) return false;
        for (uint32_t i = 0; i < count; i++) {
            if (!slow_check(type->element, in, at)) return false;
        }
        return true;
    }
    if (left < type->fixed_size) return false;
    if (type->kind == TYPE_BOOL && in.ptr[*at] > 1) return false;
    *at += type->fixed_size;
    return true;
}

TEST(bsatn, check_agrees_with_its_slow_twin_on_damaged_values) {
    enum { ROUNDS = 20000 };
    print_message("seeds 0 to %d\n", ROUNDS - 1);
    int accepted = 0;
    for (uint64_t seed = 0; seed < ROUNDS; seed++) {
        ValueGen gen = value_gen(seed);
        Arena arena = {0};
        Buf value = {0};
        const Type *type = value_gen_type(&gen, &arena, 3);
        value_gen_value(&gen, type, &value);
        for (uint32_t hits = value_gen_below(&gen, 3); hits > 0 && value.len; hits--) {
            value.ptr[value_gen_below(&gen, (uint32_t)value.len)] =
                (uint8_t)value_gen_below(&gen, 4);
        }
        size_t slow = 0, fast = 0;
        bool want = slow_check(type, buf_bytes(&value), &slow);
        EXPECT_EQ(bsatn_check(type, buf_bytes(&value), &fast, NULL) == OK, want);
        if (want) EXPECT_EQ(fast, slow);
        accepted += want;
        buf_deinit(&value);
        arena_deinit(&arena);
    }
    EXPECT(accepted > ROUNDS / 10 && accepted < ROUNDS);
}

TEST(bsatn, claims_without_bytes_are_refused) {
    Arena arena = {0};
    size_t len;
    Diag diag;
    // Four bytes that claim 2^32-1 elements of nothing.
    const Type *units = type_array(&arena, type_special(SPECIAL_UNIT));
    EXPECT_ERR(bsatn_check(units, unhex(&arena, "ffffffff"), &len, &diag), ERR_LIMIT);
    EXPECT_EQ(diag.at, 0);
    EXPECT_OK(bsatn_check(units, unhex(&arena, "00100000"), &len, &diag));
    // A size that wraps in 32 bits: 2^28 numbers of 32 bytes.
    const Type *wide = type_array(&arena, type_simple(TYPE_U256));
    EXPECT_ERR(bsatn_check(wide, unhex(&arena, "00000010"), &len, &diag), ERR_MALFORMED);
    EXPECT_STR(diag.text, "data too short for u256: Expected 32, given 0");
    arena_deinit(&arena);
}

TEST(bsatn, nesting_of_a_value_is_bounded) {
    Arena arena = {0};
    const Type *declared[] = {decode(&arena, "030000000000"),
                              decode(&arena, "0201000000010001000000")};
    const Type **types;
    EXPECT_OK(typespace_resolve(&(Typespace){declared, 2}, &arena, &types, NULL));
    for (size_t depth = VALUE_DEPTH_MAX - 1; depth <= VALUE_DEPTH_MAX + 1; depth++) {
        uint8_t value[4 * (VALUE_DEPTH_MAX + 1)] = {0};
        for (size_t i = 0; i + 1 < depth; i++) {
            value[4 * i] = 1;
        }
        size_t len;
        EXPECT_EQ(bsatn_check(types[0], BYTES(value, 4 * depth), &len, NULL),
                  depth <= VALUE_DEPTH_MAX ? OK : ERR_LIMIT);
    }
    // A product that contains itself and nothing else has no finite value.
    size_t len;
    EXPECT_ERR(bsatn_check(types[1], BYTES_NONE, &len, NULL), ERR_LIMIT);
    arena_deinit(&arena);
}

static int cmp_hex(const Type *type, const char *a, const char *b) {
    uint8_t x[64], y[64];
    EXPECT(hex_read(str_from(a), x) && hex_read(str_from(b), y));
    int c = bsatn_cmp(type, x, y);
    return (c > 0) - (c < 0);
}

TEST(bsatn, order_is_that_of_values_not_of_bytes) {
    Arena arena = {0};
    const Type *f64 = type_simple(TYPE_F64), *string = type_simple(TYPE_STRING);
    EXPECT_EQ(cmp_hex(type_simple(TYPE_U16), "0001", "ff00"), 1);
    EXPECT_EQ(cmp_hex(type_simple(TYPE_I16), "ffff", "0000"), -1);
    EXPECT_EQ(cmp_hex(f64, "0000000000000080", "0000000000000000"), 0);   // -0 = +0
    EXPECT_EQ(cmp_hex(f64, "000000000000f8ff", "000000000000f07f"), 1);   // NaN > inf
    EXPECT_EQ(cmp_hex(f64, "000000000000f8ff", "010000000000f87f"), 0);   // NaN = NaN
    EXPECT_EQ(cmp_hex(f64, "000000000000f0ff", "000000000000f0bf"), -1);  // -inf < -1
    EXPECT_EQ(cmp_hex(string, "0100000062", "020000006161"), 1);          // b > aa
    EXPECT_EQ(cmp_hex(string, "0100000061", "020000006100"), -1);         // a < a\0
    const Type *array = type_array(&arena, type_simple(TYPE_I8));
    EXPECT_EQ(cmp_hex(array, "01000000ff", "020000000000"), -1);
    EXPECT_EQ(cmp_hex(array, "0100000000", "020000000000"), -1);
    const Type *option = decode(&arena, T_OPTION_U32);
    EXPECT_EQ(cmp_hex(option, "01", "0007000000"), 1);
    EXPECT_EQ(cmp_hex(type_simple(TYPE_I128),
                      "ffffffffffffffffffffffffffffffff",
                      "00000000000000000000000000000000"),
              -1);
    arena_deinit(&arena);
}

TEST(row_layout, finds_every_column) {
    for (uint64_t seed = 0; seed < 500; seed++) {
        ValueGen gen = value_gen(seed);
        Arena arena = {0};
        Buf row = {0};
        RowLayout layout;
        const Type *type = value_gen_row_type(&gen, &arena, 8, 2);
        EXPECT_OK(row_layout_init(&layout, type, &arena));
        EXPECT_EQ(layout.column_count, type->field_count);
        value_gen_value(&gen, type, &row);
        size_t at = 0;
        for (uint32_t i = 0; i < type->field_count; i++) {
            Bytes column = row_column(&layout, buf_bytes(&row), i);
            size_t len;
            EXPECT_OK(
                bsatn_check(type->fields[i].type, BYTES(row.ptr + at, row.len - at), &len, NULL));
            if (row.len) EXPECT(column.ptr == row.ptr + at);
            EXPECT_EQ(column.len, len);
            at += len;
        }
        EXPECT_EQ(at, row.len);
        buf_deinit(&row);
        arena_deinit(&arena);
    }
    mem_fault_arm(0);
    RowLayout layout;
    EXPECT_ERR(row_layout_init(&layout, type_special(SPECIAL_TIMESTAMP), &(Arena){0}), ERR_NOMEM);
    mem_fault_arm(-1);
}

TEST(reader, the_first_failure_sticks) {
    Reader r = reader_of(BYTES("\x01\x02\x00\x03\x00\x00\x00"
                               "abc\xff",
                               11));
    EXPECT_EQ(reader_u8(&r), 1);
    EXPECT_EQ(reader_u16(&r), 2);
    EXPECT(str_eq(reader_str(&r), STR("abc")));
    EXPECT_EQ(r.at, 10);
    EXPECT_OK(reader_err(&r, NULL));
    EXPECT_EQ(reader_u64(&r), 0);
    EXPECT_EQ(reader_u8(&r), 0);
    EXPECT(!reader_ok(&r));
    Diag diag;
    EXPECT_ERR(reader_err(&r, &diag), ERR_MALFORMED);
    EXPECT_STR(diag.text, "data too short for u64: Expected 8, given 1");
    EXPECT_EQ(diag.at, 10);

    r = reader_of(BYTES("\xff\xff\xff\xff"
                        "a",
                        5));
    EXPECT_EQ(reader_lp(&r).len, 0);
    EXPECT_ERR(reader_err(&r, &diag), ERR_MALFORMED);
    EXPECT_STR(diag.text, "data too short for [u8]: Expected 4294967295, given 1");

    r = reader_of(BYTES("\x01\x00\x00\x00\xff"
                        "a",
                        6));
    EXPECT_EQ(reader_str(&r).len, 0);
    EXPECT_EQ(reader_u8(&r), 0);
    EXPECT_ERR(reader_err(&r, &diag), ERR_MALFORMED);
    EXPECT_STR(diag.text, "invalid utf8");
    EXPECT_EQ(diag.at, 4);
}

static void expect_rowlist(const char *const *rows, uint32_t count, const char *want) {
    RowList list;
    rowlist_init(&list);
    for (int round = 0; round < 2; round++) {  // a cleared list is as good as a new one
        Arena arena = {0};
        Buf out = {0};
        rowlist_clear(&list);
        for (uint32_t i = 0; i < count; i++) {
            rowlist_add(&list, unhex(&arena, rows[i]));
        }
        EXPECT(rowlist_ok(&list));
        rowlist_encode(&out, &list);
        EXPECT_HEX(buf_bytes(&out), want);
        buf_deinit(&out);
        arena_deinit(&arena);
    }
    rowlist_deinit(&list);
}

// §9.4
TEST(rowlist, encodes_the_published_lists) {
    expect_rowlist(NULL, 0, "010000000000000000");
    expect_rowlist((const char *[]){"07000000", "08000000"}, 2, "000400080000000700000008000000");
    expect_rowlist((const char *[]){"0100000061", "03000000626364"},
                   2,
                   "0102000000000000000000000005000000000000000c000000010000006103000000626364");
}

TEST(rowlist, hints_follow_the_actual_lengths) {
    expect_rowlist((const char *[]){"0100000061", "0100000062"},
                   2,
                   "0005000a00000001000000610100000062");
    expect_rowlist((const char *[]){"", ""},
                   2,
                   "01020000000000000000000000000000000000000000000000");
    expect_rowlist((const char *[]){"aa", "bb", ""},
                   3,
                   "0103000000"
                   "0000000000000000"
                   "0100000000000000"
                   "0200000000000000"
                   "02000000aabb");
    expect_rowlist((const char *[]){"", "aa"},
                   2,
                   "0102000000"
                   "0000000000000000"
                   "0000000000000000"
                   "01000000aa");
    // 65535 is the longest a hint can say.
    for (size_t len = UINT16_MAX; len <= UINT16_MAX + 1; len++) {
        uint8_t *row = mem_zalloc(len);
        RowList list;
        Buf out = {0};
        rowlist_init(&list);
        rowlist_add(&list, BYTES(row, len));
        rowlist_add(&list, BYTES(row, len));
        rowlist_encode(&out, &list);
        size_t head = len == UINT16_MAX ? 3 : 5 + 16;
        EXPECT_EQ(out.len, head + 4 + 2 * len);
        EXPECT_EQ(out.ptr[0], len == UINT16_MAX ? 0 : 1);
        if (len > UINT16_MAX) EXPECT_EQ(load_u64(out.ptr + 5 + 8), len);
        EXPECT_EQ(load_u32(out.ptr + head), 2 * len);
        buf_deinit(&out);
        rowlist_deinit(&list);
        mem_free(row);
    }
}

TEST(rowlist, remembers_a_failed_allocation) {
    for (int64_t n = 0;; n++) {
        RowList list;
        Buf out = {0};
        rowlist_init(&list);
        mem_fault_arm(n);
        for (int i = 0; i < 40; i++) {
            rowlist_add(&list, BYTES("0123456789", i % 2 ? 10 : 9));
        }
        rowlist_encode(&out, &list);
        bool hit = mem_fault_hit();
        mem_fault_arm(-1);
        EXPECT_EQ(buf_ok(&out), !hit);
        buf_deinit(&out);
        rowlist_deinit(&list);
        if (!hit) break;
    }
}

TEST(bsatn, a_least_value_is_one_of_its_type) {
    uint64_t found = 0;
    for (uint64_t seed = 0; seed < 2000; seed++) {
        ValueGen gen = value_gen(seed);
        Arena arena = {0};
        Buf value = {0};
        Diag diag;
        size_t len;
        const Type *type = value_gen_type(&gen, &arena, (uint32_t)(seed % 4));
        if (bsatn_put_least(&value, type)) {
            if (!value.ptr) buf_reserve(&value, 1);
            EXPECT_OK(bsatn_check(type, buf_bytes(&value), &len, &diag));
            EXPECT_EQ(len, value.len);
            found++;
        }
        buf_deinit(&value);
        arena_deinit(&arena);
    }
    EXPECT(found > 1900);
}

TEST_MAIN()
