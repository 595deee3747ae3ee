#include "sats/key.h"

#include "base/mem.h"
#include "base/test.h"
#include "sats/value_gen_testing.h"

static int sign(int c) {
    return (c > 0) - (c < 0);
}

static void expect_key(const Type *type, const char *value_hex, const char *key_hex) {
    uint8_t value[64];
    EXPECT(hex_read(str_from(value_hex), value));
    Buf key = {0};
    key_append(&key, type, value);
    EXPECT_HEX(buf_bytes(&key), key_hex);
    buf_deinit(&key);
}

// These bytes are inside every database file.
TEST(key, encodings_on_disk_never_change) {
    expect_key(type_simple(TYPE_BOOL), "01", "01");
    expect_key(type_simple(TYPE_U8), "fe", "fe");
    expect_key(type_simple(TYPE_I8), "ff", "7f");
    expect_key(type_simple(TYPE_U16), "3412", "1234");
    expect_key(type_simple(TYPE_I16), "0100", "8001");
    expect_key(type_simple(TYPE_U32), "07000000", "00000007");
    expect_key(type_simple(TYPE_I32), "feffffff", "7ffffffe");
    expect_key(type_simple(TYPE_U64), "0807060504030201", "0102030405060708");
    expect_key(type_simple(TYPE_I64), "ffffffffffffffff", "7fffffffffffffff");
    expect_key(type_simple(TYPE_U128),
               "0f0e0d0c0b0a09080706050403020100",
               "000102030405060708090a0b0c0d0e0f");
    expect_key(type_simple(TYPE_I128),
               "feffffffffffffffffffffffffffffff",
               "7ffffffffffffffffffffffffffffffe");
    expect_key(type_special(SPECIAL_IDENTITY),
               "5d262a478b8f95220f3068040c203e32ac0eedc698d84435e9a25303603500c2",
               "c20035600353a2e93544d898c6ed0eac323e200c0468300f22958f8b472a265d");
    expect_key(type_simple(TYPE_I256),
               "0000000000000000000000000000000000000000000000000000000000000080",
               "0000000000000000000000000000000000000000000000000000000000000000");
    expect_key(type_simple(TYPE_F32), "0000c03f", "bfc00000");
    expect_key(type_simple(TYPE_F32), "0000c0bf", "403fffff");
    expect_key(type_simple(TYPE_F32), "0100c0ff", "ffc00000");                  // a NaN
    expect_key(type_simple(TYPE_F64), "0000000000000080", "8000000000000000");  // -0
    expect_key(type_simple(TYPE_STRING), "03000000616263", "61626300");
    expect_key(type_simple(TYPE_STRING),
               "0400000061000162",
               "610101010262"
               "00");
    expect_key(type_special(SPECIAL_BYTES), "00000000", "00");
    expect_key(type_special(SPECIAL_BYTES), "03000000000102", "010101020200");
    expect_key(type_special(SPECIAL_SCHEDULE_AT), "0140420f0000000000", "0180000000000f4240");
}

TEST(key, encodings_of_composites_on_disk_never_change) {
    Arena arena = {0};
    expect_key(type_array(&arena, type_simple(TYPE_U16)),
               "0200000001000200",
               "0100010100"
               "0200");
    expect_key(type_array(&arena, type_special(SPECIAL_UNIT)), "05000000", "00000005");
    expect_key(type_option(&arena, type_simple(TYPE_U32)), "0007000000", "0000000007");
    expect_key(type_option(&arena, type_simple(TYPE_U32)), "01", "01");
    TypeField fields[] = {{STR("s"), type_simple(TYPE_STRING)}, {STR("n"), type_simple(TYPE_I8)}};
    expect_key(type_product(&arena, fields, 2),
               "01000000"
               "61"
               "05",
               "6100"
               "85");
    arena_deinit(&arena);
}

// memcmp of keys is bsatn_cmp of values, and no key begins another.
static void expect_same_order(const Type *type, Bytes a, Bytes b) {
    Buf x = {0}, y = {0};
    key_append(&x, type, a.ptr);
    key_append(&y, type, b.ptr);
    int want = sign(bsatn_cmp(type, a.ptr, b.ptr));
    EXPECT_EQ(sign(bsatn_cmp(type, b.ptr, a.ptr)), -want);
    EXPECT_EQ(sign(bytes_cmp(buf_bytes(&x), buf_bytes(&y))), want);
    size_t shorter = MIN(x.len, y.len);
    if (want != 0) EXPECT(memcmp(x.ptr, y.ptr, shorter) != 0);
    if (want == 0) EXPECT_EQ(x.len, y.len);
    buf_deinit(&x);
    buf_deinit(&y);
}

TEST(key, orders_random_values_of_random_types_as_bsatn_cmp_does) {
    enum { TYPES = 1500, VALUES = 12 };
    print_message("seeds 0 to %d\n", TYPES - 1);
    uint64_t ties = 0;
    for (uint64_t seed = 0; seed < TYPES; seed++) {
        ValueGen gen = value_gen(seed);
        Arena arena = {0};
        Buf values[VALUES] = {0};
        const Type *type = value_gen_type(&gen, &arena, (uint32_t)(seed % 4));
        for (int i = 0; i < VALUES; i++) {
            value_gen_value(&gen, type, &values[i]);
            if (!values[i].ptr) buf_reserve(&values[i], 1);
        }
        for (int i = 0; i < VALUES; i++) {
            for (int j = 0; j < VALUES; j++) {
                expect_same_order(type, buf_bytes(&values[i]), buf_bytes(&values[j]));
                ties += i != j && bsatn_cmp(type, values[i].ptr, values[j].ptr) == 0;
            }
        }
        for (int i = 0; i < VALUES; i++) {
            buf_deinit(&values[i]);
        }
        arena_deinit(&arena);
    }
    EXPECT(ties > TYPES);  // the generator makes the cases that matter
}

static bool has_floats(const Type *type) {
    if (type->kind == TYPE_F32 || type->kind == TYPE_F64) return true;
    if (type->kind == TYPE_ARRAY) return has_floats(type->element);
    for (uint32_t i = 0; type->kind <= TYPE_PRODUCT && i < type->field_count; i++) {
        if (has_floats(type->fields[i].type)) return true;
    }
    return false;
}

TEST(key, leads_back_to_the_value_unless_there_are_floats) {
    uint64_t read = 0, refused = 0;
    for (uint64_t seed = 0; seed < 4000; seed++) {
        Arena arena = {0};
        Buf value = {0}, key = {0}, back = {0};
        ValueGen gen = value_gen(seed);
        const Type *type = value_gen_type(&gen, &arena, (uint32_t)(seed % 4));
        value_gen_value(&gen, type, &value);
        if (!value.ptr) buf_reserve(&value, 1);
        key_append(&key, type, value.ptr);
        bool ok = key_read(&back, type, buf_bytes(&key));
        EXPECT(ok || has_floats(type));
        if (ok) EXPECT(bytes_eq(buf_bytes(&back), buf_bytes(&value)));
        // A key that is cut off anywhere is none.
        for (size_t cut = 0; ok && cut < key.len; cut++) {
            buf_clear(&back);
            EXPECT(!key_read(&back, type, BYTES(key.ptr, cut)));
        }
        read += ok;
        refused += !ok;
        buf_deinit(&value);
        buf_deinit(&key);
        buf_deinit(&back);
        arena_deinit(&arena);
    }
    EXPECT(read > 1000 && refused > 50);
}

TEST(key, of_the_first_columns_begins_the_key_of_all) {
    for (uint64_t seed = 0; seed < 500; seed++) {
        ValueGen gen = value_gen(seed);
        Arena arena = {0};
        Buf row = {0}, whole = {0}, part = {0};
        const Type *type = value_gen_row_type(&gen, &arena, 6, 2);
        RowLayout layout;
        EXPECT_OK(row_layout_init(&layout, type, &arena));
        value_gen_value(&gen, type, &row);
        uint16_t columns[6];
        for (uint16_t i = 0; i < type->field_count; i++) {
            columns[i] = (uint16_t)(type->field_count - 1 - i);
        }
        key_append_columns(&whole, &layout, buf_bytes(&row), columns, type->field_count);
        for (uint32_t n = 0; n <= type->field_count; n++) {
            buf_clear(&part);
            key_append_columns(&part, &layout, buf_bytes(&row), columns, n);
            EXPECT(part.len <= whole.len);
            EXPECT(part.len == 0 || memcmp(part.ptr, whole.ptr, part.len) == 0);
            // Column by column is the same as all at once.
            Buf single = {0};
            for (uint32_t i = 0; i < n; i++) {
                Bytes column = row_column(&layout, buf_bytes(&row), columns[i]);
                key_append(&single, type->fields[columns[i]].type, column.ptr);
            }
            EXPECT_BYTES(buf_bytes(&single), buf_bytes(&part));
            buf_deinit(&single);
        }
        buf_deinit(&row);
        buf_deinit(&whole);
        buf_deinit(&part);
        arena_deinit(&arena);
    }
}

static void expect_successor(const char *key_hex, const char *next_hex) {
    Buf key = {0};
    uint8_t bytes[16];
    EXPECT(hex_read(str_from(key_hex), bytes));
    buf_put(&key, bytes, strlen(key_hex) / 2);
    EXPECT_EQ(key_successor(&key), next_hex != NULL);
    EXPECT_HEX(buf_bytes(&key), next_hex ? next_hex : "");
    buf_deinit(&key);
}

TEST(key, successor_is_the_first_key_without_the_prefix) {
    expect_successor("00", "01");
    expect_successor("61ff", "62");
    expect_successor("61ffff", "62");
    expect_successor("6100", "6101");
    expect_successor("ff", NULL);
    expect_successor("ffff", NULL);
    expect_successor("", NULL);
}

TEST(key, survives_a_failed_allocation) {
    ValueGen gen = value_gen(3);
    Arena arena = {0};
    const Type *type = value_gen_row_type(&gen, &arena, 8, 2);
    Buf value = {0}, want = {0};
    value_gen_value(&gen, type, &value);
    key_append(&want, type, value.ptr);
    for (int64_t n = 0;; n++) {
        Buf key = {0};
        mem_fault_arm(n);
        key_append(&key, type, value.ptr);
        bool hit = mem_fault_hit();
        mem_fault_arm(-1);
        EXPECT_EQ(buf_ok(&key), !hit);
        if (!hit) EXPECT_BYTES(buf_bytes(&key), buf_bytes(&want));
        buf_deinit(&key);
        if (!hit) break;
    }
    buf_deinit(&value);
    buf_deinit(&want);
    arena_deinit(&arena);
}

TEST_MAIN()
