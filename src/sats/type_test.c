#include "sats/type.h"

#include "base/mem.h"
#include "base/test.h"
#include "sats/bsatn.h"
#include "sats/value_gen_testing.h"

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

static void expect_print(const Type *type, const char *want) {
    Buf out = {0};
    type_print(&out, type);
    buf_put_u8(&out, 0);
    EXPECT_STR((char *)out.ptr, want);
    buf_deinit(&out);
}

// §9.2
static const struct {
    const char *hex, *print;
    TypeSpecial special;
    uint32_t size;
} vectors[] = {
    {"04", "String", SPECIAL_NONE, TYPE_SIZE_VARIES},
    {"13", "F64", SPECIAL_NONE, 8},
    {"0001000000", "&1", SPECIAL_NONE, TYPE_SIZE_VARIES},
    {"0307", "Array<U8>", SPECIAL_BYTES, TYPE_SIZE_VARIES},
    {"0200000000", "()", SPECIAL_UNIT, 0},
    {"0100000000", "(|)", SPECIAL_NONE, TYPE_SIZE_VARIES},
    {"0201000000000200000069640d", "(id: U64)", SPECIAL_NONE, 8},
    {"02010000000107", "(0: U8)", SPECIAL_NONE, 1},
    {"01020000000004000000736f6d650b00040000006e6f6e650200000000",
     "(some: U32 | none: ())",
     SPECIAL_OPTION,
     TYPE_SIZE_VARIES},
    {"0201000000000c0000005f5f6964656e746974795f5f11",
     "(__identity__: U256)",
     SPECIAL_IDENTITY,
     32},
    {"020100000000110000005f5f636f6e6e656374696f6e5f69645f5f0f",
     "(__connection_id__: U128)",
     SPECIAL_CONNECTION_ID,
     16},
    {"020100000000250000005f5f74696d657374616d705f6d6963726f735f73696e63655f756e69785f65706f6368"
     "5f5f0c",
     "(__timestamp_micros_since_unix_epoch__: I64)",
     SPECIAL_TIMESTAMP,
     8},
    {"020100000000180000005f5f74696d655f6475726174696f6e5f6d6963726f735f5f0c",
     "(__time_duration_micros__: I64)",
     SPECIAL_TIME_DURATION,
     8},
    {"020100000000080000005f5f757569645f5f0f", "(__uuid__: U128)", SPECIAL_UUID, 16},
    {"01020000000008000000496e74657276616c020100000000180000005f5f74696d655f6475726174696f6e5f6d69"
     "63726f735f5f0c000400000054696d65020100000000250000005f5f74696d657374616d705f6d6963726f735f73"
     "696e63655f756e69785f65706f63685f5f0c",
     "(Interval: (__time_duration_micros__: I64) | Time: (__timestamp_micros_since_unix_epoch__: "
     "I64))",
     SPECIAL_SCHEDULE_AT,
     9},
};

TEST(type, published_types_go_both_ways) {
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        Arena arena = {0};
        Buf out = {0};
        const Type *type = decode(&arena, vectors[i].hex);
        type_encode(&out, type);
        EXPECT_HEX(buf_bytes(&out), vectors[i].hex);
        EXPECT_EQ(type->special, vectors[i].special);
        EXPECT_EQ(type->fixed_size, vectors[i].size);
        expect_print(type, vectors[i].print);
        TypeSpecial special = vectors[i].special;
        if (special > SPECIAL_NONE && special < SPECIAL_OPTION) {
            const Type *ready = type_special(special);
            EXPECT(type_eq(type, ready));
            EXPECT_EQ(ready->special, special);
            EXPECT_EQ(ready->fixed_size, type->fixed_size);
            EXPECT_EQ(ready->any_bits, type->any_bits);
            EXPECT_EQ(ready->height, type->height);
            EXPECT_EQ(ready->weight, type->weight);
        }
        buf_deinit(&out);
        arena_deinit(&arena);
    }
}

TEST(type, specials_need_the_exact_name_and_inner_type) {
    Arena arena = {0};
    static const char *const near_misses[] = {
        "0201000000000c0000005f5f6964656e746974795f5f0f",              // U128, not U256
        "020100000000080000006964656e7469747911",                      // another name
        "0201000000000c0000005f5f6964656e746974795f5f0000000000",      // through a reference
        "01020000000004000000536f6d650b00040000004e6f6e650200000000",  // Some, None
        "010200000000040000006e6f6e6502000000000004000000736f6d650b",  // none, some
        "01020000000004000000736f6d650b00040000006e6f6e650b",          // none carries something
    };
    for (size_t i = 0; i < ARRAY_LEN(near_misses); i++) {
        EXPECT_EQ(decode(&arena, near_misses[i])->special, SPECIAL_NONE);
    }
    EXPECT(!type_is_plain_enum(decode(&arena, "0100000000")));
    EXPECT(type_is_plain_enum(decode(&arena,
                                     "010100000001"
                                     "0200000000")));
    EXPECT(!type_is_plain_enum(decode(&arena,
                                      "010100000001"
                                      "07")));
    arena_deinit(&arena);
}

TEST(type, refuses_malformed_bytes_with_position_and_words) {
    static const struct {
        const char *hex;
        size_t at;
        const char *text;
    } cases[] = {
        {"", 0, "data too short for u8: Expected 1, given 0"},
        {"14", 0, "unknown tag 0x14 for sum type AlgebraicType"},
        {"ff", 0, "unknown tag 0xff for sum type AlgebraicType"},
        {"000100", 1, "data too short for u32: Expected 4, given 2"},
        {"03", 1, "data too short for u8: Expected 1, given 0"},
        {"0201000000020d", 5, "unknown tag 0x2 for sum type Option"},
        {"02010000000002000000690d", 12, "data too short for u8: Expected 1, given 0"},
        {"0201000000000200000069", 10, "data too short for [u8]: Expected 2, given 1"},
        {"02010000000001000000ff0d", 10, "invalid utf8"},
        {"02ffffffff0107", 1, "data too short for 4294967295 elements of a type: given 2"},
        {"0101010000", 1, "a sum type of 257 variants: at most 256 fit a tag"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Arena arena = {0};
        Diag diag;
        const Type *type = NULL;
        Bytes in = unhex(&arena, cases[i].hex), before = in;
        EXPECT_ERR(type_decode(&in, &arena, &type, &diag), ERR_MALFORMED);
        EXPECT_STR(diag.text, cases[i].text);
        EXPECT_EQ(diag.at, cases[i].at);
        EXPECT(in.ptr == before.ptr);
        arena_deinit(&arena);
    }
}

TEST(type, nesting_is_bounded) {
    for (size_t depth = TYPE_DEPTH_MAX - 1; depth <= TYPE_DEPTH_MAX; depth++) {
        Arena arena = {0};
        uint8_t bytes[TYPE_DEPTH_MAX + 1];
        memset(bytes, TYPE_ARRAY, sizeof bytes);
        bytes[depth] = TYPE_U16;
        Bytes in = {bytes, depth + 1};
        const Type *type;
        EXPECT_EQ(type_decode(&in, &arena, &type, NULL), depth < TYPE_DEPTH_MAX ? OK : ERR_LIMIT);
        arena_deinit(&arena);
    }
}

TEST(type, sizes_follow_from_the_parts) {
    Arena arena = {0};
    const Type *u32 = type_simple(TYPE_U32), *boolean = type_simple(TYPE_BOOL);
    TypeField numbers[] = {{STR("a"), u32}, {STR("b"), type_special(SPECIAL_IDENTITY)}};
    const Type *product = type_product(&arena, numbers, 2);
    EXPECT_EQ(product->fixed_size, 36);
    EXPECT(product->any_bits);
    EXPECT_EQ(product->height, 2);
    TypeField mixed[] = {{STR("a"), u32}, {STR("b"), boolean}};
    EXPECT_EQ(type_product(&arena, mixed, 2)->fixed_size, 5);
    EXPECT(!type_product(&arena, mixed, 2)->any_bits);
    TypeField same[] = {{STR("a"), u32}, {STR("b"), type_simple(TYPE_F32)}};
    EXPECT_EQ(type_sum(&arena, same, 2)->fixed_size, 5);
    EXPECT_EQ(type_sum(&arena, mixed, 2)->fixed_size, TYPE_SIZE_VARIES);
    EXPECT_EQ(type_array(&arena, u32)->fixed_size, TYPE_SIZE_VARIES);
    EXPECT_EQ(type_option(&arena, type_special(SPECIAL_UNIT))->fixed_size, 1);
    // 32 GiB: no number of 32 bits says that, so such values are walked (and never exist).
    const Type *huge = type_simple(TYPE_U256);
    for (int i = 0; i < 30; i++) {
        TypeField twice[] = {{STR("a"), huge}, {STR("b"), huge}};
        huge = type_product(&arena, twice, 2);
    }
    EXPECT_EQ(huge->fixed_size, TYPE_SIZE_VARIES);
    arena_deinit(&arena);
}

// Resolve entries given as hex; the caller owns the arena.
static Err resolve(Arena *arena,
                   const char *const *entries,
                   uint32_t count,
                   const Type ***out,
                   Diag *diag) {
    const Type **declared = arena_array(arena, const Type *, count);
    for (uint32_t i = 0; i < count; i++) {
        declared[i] = decode(arena, entries[i]);
    }
    return typespace_resolve(&(Typespace){declared, count}, arena, out, diag);
}

TEST(typespace, a_recursive_type_becomes_a_cycle) {
    Arena arena = {0};
    // 0: Product{ value: I32, next: Ref 1 }; 1: Sum{ some: Ref 0, none: unit }; 2: Ref 1; 3: U64
    static const char *const list[] = {
        "0202000000000500000076616c75650a00040000006e6578740001000000",
        "01020000000004000000736f6d65000000000000040000006e6f6e650200000000",
        "0001000000",
        "0d",
    };
    const Type **types;
    EXPECT_OK(resolve(&arena, list, 4, &types, NULL));
    EXPECT(types[0]->fields[1].type == types[1]);
    EXPECT(types[1]->fields[0].type == types[0]);
    EXPECT(types[2] == types[1]);
    EXPECT_EQ(types[1]->special, SPECIAL_OPTION);
    EXPECT_EQ(types[0]->source_ref, 0);
    EXPECT_EQ(types[1]->source_ref, 1);
    EXPECT_EQ(types[3]->source_ref, 3);
    EXPECT_EQ(types[3]->fixed_size, 8);
    EXPECT_EQ(types[0]->fixed_size, TYPE_SIZE_VARIES);
    expect_print(types[0], "(value: I32, next: (some: &0 | none: ()))");

    Buf out = {0};
    type_encode_refs(&out, types[0]);
    EXPECT_HEX(buf_bytes(&out), "0000000000");
    buf_clear(&out);
    type_encode(&out, types[0]);
    EXPECT_HEX(buf_bytes(&out),
               "0202000000000500000076616c75650a00040000006e657874"
               "01020000000004000000736f6d65000000000000040000006e6f6e650200000000");
    buf_deinit(&out);

    const Type *column;
    EXPECT_OK(type_resolve(decode(&arena, "030000000000"), types, 4, &arena, &column, NULL));
    EXPECT(column->element == types[0]);
    EXPECT_OK(type_resolve(decode(&arena, "0003000000"), types, 4, &arena, &column, NULL));
    EXPECT(column == types[3]);
    EXPECT_ERR(type_resolve(decode(&arena, "0004000000"), types, 4, &arena, &column, NULL),
               ERR_INVALID);
    arena_deinit(&arena);
}

TEST(typespace, equality_sees_through_cycles) {
    Arena arena = {0};
    static const char *const list[] = {"020100000000010000006e"
                                       "0300"
                                       "00000000"};
    static const char *const moved[] = {"04",
                                        "020100000000010000006e"
                                        "0300"
                                        "01000000"};
    static const char *const renamed[] = {"020100000000010000006d"
                                          "0300"
                                          "00000000"};
    const Type **a, **b, **c;
    EXPECT_OK(resolve(&arena, list, 1, &a, NULL));
    EXPECT_OK(resolve(&arena, moved, 2, &b, NULL));
    EXPECT_OK(resolve(&arena, renamed, 1, &c, NULL));
    EXPECT(type_eq(a[0], b[1]));
    EXPECT(!type_eq(a[0], c[0]));
    EXPECT(!type_eq(a[0], b[0]));
    arena_deinit(&arena);
}

TEST(typespace, sizes_come_out_in_any_order_of_declaration) {
    Arena arena = {0};
    // Each a product of the previous one, then each of the next.
    enum { N = 60 };
    for (int order = 0; order < 2; order++) {
        const Type *declared[N];
        for (uint32_t i = 0; i < N; i++) {
            Type *ref = arena_new(&arena, Type);
            *ref = (Type){.kind = TYPE_REF, .ref = order ? i + 1 : i - 1};
            ref->fixed_size = TYPE_SIZE_VARIES;
            ref->source_ref = TYPE_NO_REF;
            bool end = order ? i == N - 1 : i == 0;
            TypeField fields[] = {{STR("x"), end ? type_simple(TYPE_U16) : ref}};
            declared[i] = type_product(&arena, fields, 1);
        }
        const Type **types;
        EXPECT_OK(typespace_resolve(&(Typespace){declared, N}, &arena, &types, NULL));
        for (uint32_t i = 0; i < N; i++) {
            EXPECT_EQ(types[i]->fixed_size, 2);
            EXPECT_EQ(types[i]->height, order ? N - i : i + 1);
        }
    }
    arena_deinit(&arena);
}

TEST(typespace, refuses_dangling_and_circular_references) {
    Arena arena = {0};
    const Type **types;
    Diag diag;
    static const char *const dangling[] = {"0307", "030002000000"};
    EXPECT_ERR(resolve(&arena, dangling, 2, &types, &diag), ERR_INVALID);
    EXPECT_STR(diag.text, "type reference &2: there are only 2 types");
    static const char *const self[] = {"0000000000"};
    EXPECT_ERR(resolve(&arena, self, 1, &types, &diag), ERR_INVALID);
    EXPECT_STR(diag.text, "type &0 is only a reference to itself");
    static const char *const pair[] = {"07", "0002000000", "0001000000"};
    EXPECT_ERR(resolve(&arena, pair, 3, &types, &diag), ERR_INVALID);
    arena_deinit(&arena);
}

// {a: next, b: next} forty levels deep: no bytes, a million million parts.
TEST(typespace, refuses_types_that_are_everything_and_nothing) {
    Arena arena = {0};
    enum { N = 40 };
    const Type *declared[N + 1];
    for (uint32_t i = 0; i < N; i++) {
        char hex[64];
        snprintf(hex, sizeof hex, "02020000000100%02x0000000100%02x000000", i + 1, i + 1);
        declared[i] = decode(&arena, hex);
    }
    const Type **types;
    declared[N] = type_special(SPECIAL_UNIT);
    EXPECT_ERR(typespace_resolve(&(Typespace){declared, N + 1}, &arena, &types, NULL), ERR_LIMIT);
    // With bytes at the bottom it is merely absurd, and nothing takes exponential time.
    declared[N] = type_simple(TYPE_BOOL);
    EXPECT_OK(typespace_resolve(&(Typespace){declared, N + 1}, &arena, &types, NULL));
    const Type **again;
    EXPECT_OK(typespace_resolve(&(Typespace){declared, N + 1}, &arena, &again, NULL));
    EXPECT(type_eq(types[0], again[0]));
    Buf out = {0};
    type_print(&out, types[0]);
    EXPECT(out.len < 100000);
    buf_clear(&out);
    type_encode(&out, types[0]);
    EXPECT(buf_ok(&out) && out.len < 2 << 20);
    size_t len;
    uint8_t zeros[100] = {0};
    EXPECT_ERR(bsatn_check(types[0], BYTES(zeros, 100), &len, NULL), ERR_MALFORMED);
    buf_deinit(&out);
    arena_deinit(&arena);
}

TEST(type, random_types_go_both_ways) {
    for (uint64_t seed = 0; seed < 1000; seed++) {
        ValueGen gen = value_gen(seed);
        Arena arena = {0};
        Buf out = {0}, again = {0};
        const Type *type = value_gen_type(&gen, &arena, 5), *back;
        type_encode(&out, type);
        Bytes in = buf_bytes(&out);
        EXPECT_OK(type_decode(&in, &arena, &back, NULL));
        EXPECT_EQ(in.len, 0);
        EXPECT(type_eq(type, back));
        EXPECT_EQ(type->fixed_size, back->fixed_size);
        EXPECT_EQ(type->special, back->special);
        type_encode(&again, back);
        EXPECT_BYTES(buf_bytes(&again), buf_bytes(&out));
        buf_deinit(&out);
        buf_deinit(&again);
        arena_deinit(&arena);
    }
}

TEST(type, survives_every_failed_allocation) {
    static const char *const schedule =
        "01020000000008000000496e74657276616c020100000000180000005f5f74696d655f6475726174696f6e5f"
        "6d6963726f735f5f0c000400000054696d650000000000";
    uint8_t bytes[128];
    EXPECT(hex_read(str_from(schedule), bytes));
    for (int64_t n = 0;; n++) {
        // A block for nearly every allocation, so that each of them can be the one that fails.
        Arena arena = {.block_bytes = 16};
        const Type *type, **types;
        Bytes in = {bytes, strlen(schedule) / 2};
        mem_fault_arm(n);
        Err err = type_decode(&in, &arena, &type, NULL);
        Typespace space = {&type, 1};
        if (err == OK) err = typespace_resolve(&space, &arena, &types, NULL);
        bool hit = mem_fault_hit();
        mem_fault_arm(-1);
        EXPECT_EQ(err, hit ? ERR_NOMEM : OK);
        arena_deinit(&arena);
        if (!hit) break;
    }
    EXPECT(type_option(&(Arena){0}, NULL) == NULL);
    EXPECT(type_array(&(Arena){0}, NULL) == NULL);
}

TEST_MAIN()
