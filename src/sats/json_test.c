#include "sats/json.h"

#include <math.h>

#include "base/mem.h"
#include "base/test.h"
#include "sats/value_gen_testing.h"

static const Type *decode(Arena *arena, const char *hex) {
    uint8_t bytes[256];
    const Type *type = NULL;
    EXPECT(strlen(hex) / 2 <= sizeof bytes && hex_read(str_from(hex), bytes));
    Bytes in = {bytes, strlen(hex) / 2};
    EXPECT_OK(type_decode(&in, arena, &type, NULL));
    return type;
}

// Write `hex`, a value, in one form; expect the text and the way back.
static void expect_json(const Type *type, const char *hex, JsonForm form, const char *want) {
    uint8_t value[128];
    Buf text = {0}, back = {0};
    Diag diag = {0};
    EXPECT(strlen(hex) / 2 <= sizeof value && hex_read(str_from(hex), value));
    json_write(&text, type, value, form);
    buf_put_u8(&text, 0);
    EXPECT_STR((char *)text.ptr, want);
    Err err = json_read(type, str_from((char *)text.ptr), &back, &diag);
    if (err != OK) print_error("%s: %s at %zu\n", want, diag.text, diag.at);
    EXPECT_OK(err);
    EXPECT_HEX(buf_bytes(&back), hex);
    buf_deinit(&text);
    buf_deinit(&back);
}

static void expect_forms(const Type *type,
                         const char *hex,
                         const char *typed,
                         const char *untyped,
                         const char *row) {
    expect_json(type, hex, JSON_TYPED, typed);
    expect_json(type, hex, JSON_UNTYPED, untyped);
    expect_json(type, hex, JSON_ROW, row);
}

static void expect_same(const Type *type, const char *hex, const char *text) {
    expect_forms(type, hex, text, text, text);
}

static void expect_reads(const Type *type, const char *text, const char *hex) {
    Buf out = {0};
    Diag diag = {0};
    Err err = json_read(type, str_from(text), &out, &diag);
    if (err != OK) print_error("%s: %s at %zu\n", text, diag.text, diag.at);
    EXPECT_OK(err);
    EXPECT_HEX(buf_bytes(&out), hex);
    buf_deinit(&out);
}

static void expect_refuses(const Type *type, const char *text, size_t at, const char *words) {
    Buf out = {0};
    Diag diag = {0};
    buf_put_u8(&out, 0xee);
    Err err = json_read(type, str_from(text), &out, &diag);
    if (err == OK) print_error("accepted: %s\n", text);
    EXPECT_ERR(err, ERR_MALFORMED);
    EXPECT_STR(diag.text, words);
    EXPECT_EQ(diag.at, at);
    EXPECT_HEX(buf_bytes(&out), "ee");
    buf_deinit(&out);
}

#define T_RESULT                                 \
    "010200000000020000006f6b040003000000657272" \
    "04"
#define T_SHAPE                            \
    "0103000000"                           \
    "0006000000436972636c65"               \
    "12"                                   \
    "0005000000506f696e74"                 \
    "0200000000"                           \
    "000400000052656374"                   \
    "020200000000010000007707000100000068" \
    "07"

// §9.1, every value both ways.
TEST(json, writes_and_reads_the_published_values) {
    Arena arena = {0};
    expect_same(type_simple(TYPE_BOOL), "01", "true");
    expect_same(type_simple(TYPE_BOOL), "00", "false");
    expect_same(type_simple(TYPE_I8), "fe", "-2");
    expect_same(type_simple(TYPE_U16), "3412", "4660");
    expect_same(type_simple(TYPE_I32), "feffffff", "-2");
    expect_same(type_simple(TYPE_U64), "0807060504030201", "72623859790382856");
    expect_same(type_simple(TYPE_I128), "feffffffffffffffffffffffffffffff", "-2");
    expect_same(type_simple(TYPE_U128),
                "0f0e0d0c0b0a09080706050403020100",
                "5233100606242806050955395731361295");
    expect_same(type_simple(TYPE_U256),
                "0100000000000000000000000000000000000000000000000000000000000080",
                "\"0x8000000000000000000000000000000000000000000000000000000000000001\"");
    expect_same(type_simple(TYPE_I256),
                "feffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
                "\"-0x2\"");
    expect_same(type_simple(TYPE_F32), "0000c03f", "1.5");
    expect_same(type_simple(TYPE_F64), "0000000000000080", "-0.0");
    expect_same(type_simple(TYPE_STRING), "0600000068c3a96c6c6f", "\"h\xc3\xa9llo\"");
    expect_same(type_simple(TYPE_STRING), "00000000", "\"\"");
    expect_same(type_special(SPECIAL_BYTES), "030000000102ff", "\"0102ff\"");
    expect_same(type_array(&arena, type_simple(TYPE_U16)), "0200000001000200", "[1,2]");
    expect_same(type_array(&arena, type_simple(TYPE_STRING)),
                "02000000010000006100000000",
                "[\"a\",\"\"]");
    const Type *shape = decode(&arena, T_SHAPE);
    expect_forms(shape, "000000c03f", "{\"Circle\":1.5}", "[0,1.5]", "[0,1.5]");
    expect_forms(shape, "01", "{\"Point\":[]}", "[1,[]]", "[1,{}]");
    expect_forms(shape,
                 "020304",
                 "{\"Rect\":{\"w\":3,\"h\":4}}",
                 "[2,[3,4]]",
                 "[2,{\"w\":3,\"h\":4}]");
    expect_forms(type_special(SPECIAL_UNIT), "", "[]", "[]", "{}");
    arena_deinit(&arena);
}

// §3.4's table.
TEST(json, writes_special_types_in_three_forms) {
    Arena arena = {0};
    expect_forms(type_special(SPECIAL_IDENTITY),
                 "5d262a478b8f95220f3068040c203e32ac0eedc698d84435e9a25303603500c2",
                 "{\"__identity__\":"
                 "\"0xc20035600353a2e93544d898c6ed0eac323e200c0468300f22958f8b472a265d\"}",
                 "[\"0xc20035600353a2e93544d898c6ed0eac323e200c0468300f22958f8b472a265d\"]",
                 "{\"__identity__\":"
                 "\"0xc20035600353a2e93544d898c6ed0eac323e200c0468300f22958f8b472a265d\"}");
    expect_forms(type_special(SPECIAL_CONNECTION_ID),
                 "0f0e0d0c0b0a09080706050403020100",
                 "{\"__connection_id__\":5233100606242806050955395731361295}",
                 "[5233100606242806050955395731361295]",
                 "{\"__connection_id__\":5233100606242806050955395731361295}");
    expect_forms(type_special(SPECIAL_TIMESTAMP),
                 "40420f0000000000",
                 "{\"__timestamp_micros_since_unix_epoch__\":1000000}",
                 "[1000000]",
                 "{\"__timestamp_micros_since_unix_epoch__\":1000000}");
    expect_forms(type_special(SPECIAL_TIME_DURATION),
                 "fa00000000000000",
                 "{\"__time_duration_micros__\":250}",
                 "[250]",
                 "{\"__time_duration_micros__\":250}");
    expect_forms(type_special(SPECIAL_TIME_DURATION),
                 "ffffffffffffffff",
                 "{\"__time_duration_micros__\":-1}",
                 "[-1]",
                 "{\"__time_duration_micros__\":-1}");
    expect_forms(type_special(SPECIAL_UUID),
                 "01000000000000800070005c6e8d8801",
                 "{\"__uuid__\":2038248931870793702824066173118709761}",
                 "[2038248931870793702824066173118709761]",
                 "{\"__uuid__\":2038248931870793702824066173118709761}");
    expect_forms(type_special(SPECIAL_SCHEDULE_AT),
                 "00404b4c0000000000",
                 "{\"Interval\":{\"__time_duration_micros__\":5000000}}",
                 "[0,[5000000]]",
                 "[0,{\"__time_duration_micros__\":5000000}]");
    expect_forms(type_special(SPECIAL_SCHEDULE_AT),
                 "0140420f0000000000",
                 "{\"Time\":{\"__timestamp_micros_since_unix_epoch__\":1000000}}",
                 "[1,[1000000]]",
                 "[1,{\"__timestamp_micros_since_unix_epoch__\":1000000}]");
    const Type *option = type_option(&arena, type_simple(TYPE_U32));
    expect_forms(option, "0007000000", "{\"some\":7}", "[0,7]", "[0,7]");
    expect_forms(option, "01", "{\"none\":[]}", "[1,[]]", "[1,{}]");
    const Type *result = decode(&arena, T_RESULT);
    EXPECT_EQ(result->special, SPECIAL_RESULT);
    expect_forms(result, "000100000079", "{\"ok\":\"y\"}", "[0,\"y\"]", "[0,\"y\"]");
    expect_forms(result, "01010000006e", "{\"err\":\"n\"}", "[1,\"n\"]", "[1,\"n\"]");
    arena_deinit(&arena);
}

TEST(json, row_form_turns_untyped_inside_arrays) {
    Arena arena = {0};
    TypeField point[] = {{STR("x"), type_simple(TYPE_U8)}};
    const Type *inner = type_product(&arena, point, 1);
    TypeField columns[] = {
        {STR("one"), inner},
        {STR("many"), type_array(&arena, inner)},
        {STR("maybe"), type_array(&arena, type_option(&arena, type_simple(TYPE_U8)))},
    };
    const Type *row = type_product(&arena, columns, 3);
    expect_forms(row,
                 "0702000000080902000000000501",
                 "{\"one\":{\"x\":7},\"many\":[{\"x\":8},{\"x\":9}],"
                 "\"maybe\":[{\"some\":5},{\"none\":[]}]}",
                 "[[7],[[8],[9]],[[0,5],[1,[]]]]",
                 "{\"one\":{\"x\":7},\"many\":[[8],[9]],\"maybe\":[[0,5],[1,[]]]}");
    arena_deinit(&arena);
}

static void expect_f64(double v, const char *want) {
    Buf text = {0};
    json_write(&text, type_simple(TYPE_F64), (const uint8_t *)&v, JSON_TYPED);
    buf_put_u8(&text, 0);
    EXPECT_STR((char *)text.ptr, want);
    buf_deinit(&text);
}

static void expect_f32(float v, const char *want) {
    Buf text = {0};
    json_write(&text, type_simple(TYPE_F32), (const uint8_t *)&v, JSON_TYPED);
    buf_put_u8(&text, 0);
    EXPECT_STR((char *)text.ptr, want);
    buf_deinit(&text);
}

TEST(json, writes_the_shortest_decimal_of_a_float) {
    expect_f64(0.0, "0.0");
    expect_f64(1.0, "1.0");
    expect_f64(-1.5, "-1.5");
    expect_f64(0.1, "0.1");
    expect_f64(0.1 + 0.2, "0.30000000000000004");
    expect_f64(100.0, "100.0");
    expect_f64(123456789.125, "123456789.125");
    expect_f64(1e15, "1000000000000000.0");
    expect_f64(1e16, "1e16");
    expect_f64(1.5e300, "1.5e300");
    expect_f64(0.00001, "0.00001");
    expect_f64(0.000001, "1e-6");
    expect_f64(1.25e-7, "1.25e-7");
    expect_f64(5e-324, "5e-324");
    expect_f64(1.7976931348623157e308, "1.7976931348623157e308");
    expect_f64(2.2250738585072014e-308, "2.2250738585072014e-308");
    expect_f64(0x1p-44, "5.684341886080802e-14");  // its nearest 16 digits miss it
    expect_f64(9007199254740993.0, "9007199254740992.0");
    expect_f64((double)NAN, "null");
    expect_f64((double)INFINITY, "null");
    expect_f64(-(double)INFINITY, "null");
    expect_f32(0.1f, "0.1");
    expect_f32(16777216.0f, "16777216.0");
    expect_f32(3.4028235e38f, "3.4028235e38");
    expect_f32(1e-45f, "1e-45");
    expect_f32(1e13f, "1e13");
    expect_f32((float)NAN, "null");
}

TEST(json, writes_numbers_at_the_edges_of_their_types) {
    expect_same(type_simple(TYPE_I8), "80", "-128");
    expect_same(type_simple(TYPE_U8), "ff", "255");
    expect_same(type_simple(TYPE_I64), "0000000000000080", "-9223372036854775808");
    expect_same(type_simple(TYPE_U64), "ffffffffffffffff", "18446744073709551615");
    expect_same(type_simple(TYPE_I128),
                "00000000000000000000000000000080",
                "-170141183460469231731687303715884105728");
    expect_same(type_simple(TYPE_I128),
                "ffffffffffffffffffffffffffffff7f",
                "170141183460469231731687303715884105727");
    expect_same(type_simple(TYPE_U128),
                "ffffffffffffffffffffffffffffffff",
                "340282366920938463463374607431768211455");
    expect_same(type_simple(TYPE_U256),
                "0000000000000000000000000000000000000000000000000000000000000000",
                "\"0x0\"");
    expect_same(type_simple(TYPE_I256),
                "0000000000000000000000000000000000000000000000000000000000000080",
                "\"-0x8000000000000000000000000000000000000000000000000000000000000000\"");
}

TEST(json, escapes_exactly_what_must_be_escaped) {
    Buf out = {0};
    json_write_string(&out, (Str){"\"\\/\b\f\n\r\t\x01\x1f\x7f\xc3\xa9\0z", 15});
    buf_put_u8(&out, 0);
    EXPECT_STR((char *)out.ptr, "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\xc3\xa9\\u0000z\"");
    buf_deinit(&out);
    const Type *string = type_simple(TYPE_STRING);
    expect_reads(string, "\"\\u0041\\/\\u00e9\\uD83D\\ude00\"", "08000000412fc3a9f09f9880");
    expect_refuses(string, "\"a", 0, "this string does not end");
    expect_refuses(string, "\"a\\", 2, "invalid escape in a string");
    expect_refuses(string, "\"\\x41\"", 1, "invalid escape in a string");
    expect_refuses(string, "\"\\ud83d\"", 1, "invalid escape in a string");
    expect_refuses(string, "\"\\ude00\"", 1, "invalid escape in a string");
    expect_refuses(string, "\"a\nb\"", 2, "control character in a string");
    expect_refuses(string, "\"\xc3(\"", 0, "invalid utf8");
}

TEST(json, reads_integers_strictly) {
    const Type *u8 = type_simple(TYPE_U8), *i8 = type_simple(TYPE_I8);
    const Type *u128 = type_simple(TYPE_U128), *i128 = type_simple(TYPE_I128);
    expect_reads(u8, " 255 ", "ff");
    expect_reads(i8, "-128", "80");
    expect_refuses(u8, "256", 0, "number out of range: `256`, expected U8");
    expect_refuses(u8, "-1", 0, "number out of range: `-1`, expected U8");
    expect_refuses(i8, "128", 0, "number out of range: `128`, expected I8");
    expect_refuses(i8, "-129", 0, "number out of range: `-129`, expected I8");
    expect_refuses(u8, "1.0", 0, "invalid type: floating point `1.0`, expected U8");
    expect_refuses(u8, "1e3", 0, "invalid type: floating point `1e3`, expected U8");
    expect_refuses(u8, "\"1\"", 0, "expected U8, found a string");
    expect_refuses(u8, "01", 0, "invalid number");
    expect_refuses(u8, "", 0, "expected U8, found the end");
    expect_refuses(u8, " null", 1, "expected U8, found null");
    expect_refuses(u8, "7 8", 2, "trailing characters");
    expect_refuses(u8, "7x", 1, "trailing characters");
    expect_refuses(u8, "-", 0, "invalid number");
    expect_refuses(u128,
                   "340282366920938463463374607431768211456",
                   0,
                   "number out of range: `340282366920938463463374607431768211456`, expected U128");
    expect_refuses(i128,
                   "-170141183460469231731687303715884105729",
                   0,
                   "number out of range: `-170141183460469231731687303715884105729`, "
                   "expected I128");
}

TEST(json, reads_256_bit_numbers_from_hex_only) {
    const Type *u = type_simple(TYPE_U256), *i = type_simple(TYPE_I256);
    const char *ten = "0a00000000000000000000000000000000000000000000000000000000000000";
    expect_reads(u, "\"0xA\"", ten);
    expect_reads(u,
                 "\"+0x000000000000000000000000000000000000000000000000000000000000000000a\"",
                 ten);
    expect_reads(i, "\"-0x1\"", "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff");
    expect_reads(i, "\"-0x0\"", "0000000000000000000000000000000000000000000000000000000000000000");
    expect_refuses(u, "\"-0x1\"", 0, "not a hexadecimal U256 with 0x in front: \"-0x1\"");
    expect_refuses(u, "\"10\"", 0, "not a hexadecimal U256 with 0x in front: \"10\"");
    expect_refuses(u, "\"0x\"", 0, "not a hexadecimal U256 with 0x in front: \"0x\"");
    expect_refuses(u, "\"0xg\"", 0, "not a hexadecimal U256 with 0x in front: \"0xg\"");
    expect_refuses(u, "10", 0, "expected U256 as \"0x…\", found a number");
    expect_refuses(u,
                   "\"0x10000000000000000000000000000000000000000000000000000000000000000\"",
                   0,
                   "not a hexadecimal U256 with 0x in front: "
                   "\"0x10000000000000000000000000000000000000000000000000000000000000000\"");
    expect_refuses(i,
                   "\"0x8000000000000000000000000000000000000000000000000000000000000000\"",
                   0,
                   "not a hexadecimal I256 with 0x in front: "
                   "\"0x8000000000000000000000000000000000000000000000000000000000000000\"");
}

TEST(json, reads_floats_and_bytes_leniently) {
    const Type *f32 = type_simple(TYPE_F32), *f64 = type_simple(TYPE_F64);
    const Type *bytes = type_special(SPECIAL_BYTES);
    expect_reads(f64, "1", "000000000000f03f");
    expect_reads(f64, "1E0", "000000000000f03f");
    expect_reads(f32, "15e-1", "0000c03f");
    expect_refuses(f64, "null", 0, "expected F64, found null");
    expect_refuses(f64, "1e400", 0, "number out of range: `1e400`, expected F64");
    expect_refuses(f32, "1e40", 0, "number out of range: `1e40`, expected F32");
    expect_refuses(f64, "1.", 0, "invalid number");
    expect_refuses(f64, "1e", 0, "invalid number");
    expect_refuses(f64, ".5", 0, "expected F64, found `.`");
    expect_refuses(f64, "NaN", 0, "expected F64, found `N`");
    expect_reads(bytes, "\"0102fF\"", "030000000102ff");
    expect_reads(bytes, "[1, 2, 255]", "030000000102ff");
    expect_reads(bytes, "[]", "00000000");
    expect_refuses(bytes, "[256]", 1, "number out of range: `256`, expected U8");
    expect_refuses(bytes, "\"012\"", 0, "not an even number of hexadecimal digits");
    expect_refuses(bytes, "\"0x12\"", 0, "not an even number of hexadecimal digits");
    expect_refuses(bytes, "7", 0, "expected hex or an array, found a number");
    expect_refuses(bytes, "[1", 2, "expected `,` or `]`, found the end");
    expect_refuses(bytes, "[1,]", 3, "expected U8, found `]`");
}

TEST(json, reads_products_by_order_or_by_name) {
    Arena arena = {0};
    TypeField fields[] = {
        {STR("name"), type_simple(TYPE_STRING)},
        {STR("n"), type_simple(TYPE_U8)},
        {STR("o"), type_option(&arena, type_simple(TYPE_U8))},
    };
    const Type *type = type_product(&arena, fields, 3);
    const char *want = "0100000061"
                       "07"
                       "01";
    expect_reads(type, "[\"a\",7,null]", want);
    expect_reads(type, "{\"name\":\"a\",\"n\":7,\"o\":null}", want);
    expect_reads(type, " { \"o\" : [1,[]] , \"n\" : 7 , \"\\u006eame\" : \"a\" } ", want);
    expect_refuses(type, "{\"name\":\"a\",\"n\":7}", 0, "missing field `o`");
    expect_refuses(type, "{\"n\":7,\"n\":7}", 7, "duplicate field `n`");
    expect_refuses(type, "{\"m\":7}", 1, "unknown field `m`");
    expect_refuses(type, "{}", 0, "missing field `name`");
    expect_refuses(type, "[]", 0, "invalid length 0, expected a product with 3 elements");
    expect_refuses(type, "[\"a\",7]", 0, "invalid length 2, expected a product with 3 elements");
    expect_refuses(type,
                   "[\"a\",7,null,{\"]\":[1,2]},5]",
                   0,
                   "invalid length 5, expected a product with 3 elements");
    expect_refuses(type, "[\"a\" 7]", 5, "expected `,` or `]`, found a number");
    expect_refuses(type, "{\"n\" 7}", 5, "expected `:`, found a number");
    expect_refuses(type, "{\"n\":7;", 6, "expected `,` or `}`, found `;`");
    expect_refuses(type, "null", 0, "expected a product as an array or object, found null");
    const Type *unit = type_special(SPECIAL_UNIT);
    expect_reads(unit, "[]", "");
    expect_reads(unit, "{ }", "");
    expect_refuses(unit, "null", 0, "expected a product as an array or object, found null");
    expect_refuses(unit, "[1]", 0, "invalid length 1, expected a product with 0 elements");
    expect_refuses(unit, "{\"a\":1}", 1, "unknown field `a`");
    arena_deinit(&arena);
}

TEST(json, reads_sums_by_name_or_tag) {
    Arena arena = {0};
    const Type *shape = decode(&arena, T_SHAPE);
    expect_reads(shape, "{\"Circle\":1.5}", "000000c03f");
    expect_reads(shape, "{\"0\":1.5}", "000000c03f");
    expect_reads(shape, "[\"Circle\",1.5]", "000000c03f");
    expect_reads(shape, "[0,1.5]", "000000c03f");
    expect_reads(shape, "[1,{}]", "01");
    expect_reads(shape, "{\"Rect\":[3,4]}", "020304");
    expect_refuses(shape,
                   "\"Point\"",
                   0,
                   "expected a sum as {\"variant\": value} or [tag, value], "
                   "found a string");
    expect_refuses(shape, "[1]", 0, "invalid length 1, expected [tag, value]");
    expect_refuses(shape, "[1,[],2]", 5, "expected `]`, as a sum has two items, found `,`");
    expect_refuses(shape,
                   "{\"Point\":[],\"Circle\":1}",
                   11,
                   "expected `}`, as a sum has one key, "
                   "found `,`");
    expect_refuses(shape, "{}", 1, "expected a string, found `}`");
    expect_refuses(shape, "{\"Square\":1}", 1, "unknown variant `Square`");
    expect_refuses(shape, "{\"3\":1}", 1, "unknown variant `3`");
    expect_refuses(shape, "[3,1]", 1, "unknown tag 3 for a sum of 3 variants");
    expect_refuses(shape, "[-1,1]", 1, "unknown tag -1 for a sum of 3 variants");
    expect_refuses(shape, "[1,null]", 3, "expected a product as an array or object, found null");
    const Type *option = type_option(&arena, type_simple(TYPE_U32));
    expect_reads(option, "null", "01");
    expect_reads(option, "{\"some\":7}", "0007000000");
    expect_refuses(option,
                   "7",
                   0,
                   "expected a sum as {\"variant\": value} or [tag, value], found a "
                   "number");
    arena_deinit(&arena);
}

TEST(json, counts_the_arguments_of_a_function) {
    TypeField fields[] = {{STR("name"), type_simple(TYPE_STRING)},
                          {STR("n"), type_simple(TYPE_U32)}};
    Arena arena = {0};
    const Type *params = type_product(&arena, fields, 2);
    Buf out = {0};
    Diag diag;
    EXPECT_OK(json_read_args(params, STR("add"), STR("[\"bob\",7]"), &out, &diag));
    EXPECT_HEX(buf_bytes(&out), "03000000626f6207000000");
    buf_clear(&out);
    EXPECT_OK(json_read_args(params, STR("add"), STR("{\"n\":7,\"name\":\"bob\"}"), &out, &diag));
    EXPECT_HEX(buf_bytes(&out), "03000000626f6207000000");
    EXPECT_ERR(json_read_args(params, STR("add"), STR("[\"bob\"]"), &out, &diag), ERR_MALFORMED);
    EXPECT_STR(diag.text, "invalid length 1, expected args for add with 2 elements");
    EXPECT_ERR(json_read_args(params, STR("add"), STR("[\"bob\",7,8]"), &out, &diag),
               ERR_MALFORMED);
    EXPECT_STR(diag.text, "invalid length 3, expected args for add with 2 elements");
    EXPECT_ERR(json_read_args(params, STR("add"), STR("[\"bob\",7] x"), &out, &diag),
               ERR_MALFORMED);
    EXPECT_STR(diag.text, "trailing characters");
    buf_deinit(&out);
    arena_deinit(&arena);
}

static void expect_type_json(const Type *type, bool as_refs, const char *want) {
    Buf out = {0};
    json_write_type(&out, type, as_refs);
    buf_put_u8(&out, 0);
    EXPECT_STR((char *)out.ptr, want);
    buf_deinit(&out);
}

TEST(json, writes_types) {
    Arena arena = {0};
    TypeField id[] = {{STR("id"), type_simple(TYPE_U64)}};
    TypeField unnamed[] = {{STR_NONE, type_simple(TYPE_U8)}};
    expect_type_json(type_simple(TYPE_U64), false, "{\"U64\":[]}");
    expect_type_json(type_array(&arena, type_simple(TYPE_STRING)),
                     false,
                     "{\"Array\":{\"String\":[]}}");
    expect_type_json(type_product(&arena, id, 1),
                     false,
                     "{\"Product\":{\"elements\":[{\"name\":{\"some\":\"id\"},"
                     "\"algebraic_type\":{\"U64\":[]}}]}}");
    expect_type_json(type_sum(&arena, unnamed, 1),
                     false,
                     "{\"Sum\":{\"variants\":[{\"name\":{\"none\":[]},"
                     "\"algebraic_type\":{\"U8\":[]}}]}}");
    expect_type_json(decode(&arena, "0001000000"), false, "{\"Ref\":1}");

    TypeField list[] = {{STR("rest"), type_array(&arena, decode(&arena, "0000000000"))}};
    const Type *declared[] = {type_product(&arena, list, 1)};
    const Type **resolved;
    EXPECT_OK(typespace_resolve(&(Typespace){declared, 1}, &arena, &resolved, NULL));
    expect_type_json(resolved[0], true, "{\"Ref\":0}");
    expect_type_json(resolved[0],
                     false,
                     "{\"Product\":{\"elements\":[{\"name\":{\"some\":\"rest\"},"
                     "\"algebraic_type\":{\"Array\":{\"Ref\":0}}}]}}");
    arena_deinit(&arena);
}

TEST(json, random_values_come_back_from_every_form) {
    enum { TYPES = 1500 };
    print_message("seeds 0 to %d\n", TYPES - 1);
    for (uint64_t seed = 0; seed < TYPES; seed++) {
        ValueGen gen = value_gen(seed);
        gen.json = true;
        Arena arena = {0};
        const Type *type = value_gen_type(&gen, &arena, (uint32_t)(seed % 5));
        for (int i = 0; i < 5; i++) {
            for (JsonForm form = JSON_TYPED; form <= JSON_ROW; form++) {
                Buf value = {0}, text = {0}, back = {0};
                Diag diag = {0};
                value_gen_value(&gen, type, &value);
                buf_reserve(&value, 1);
                json_write(&text, type, value.ptr, form);
                Err err = json_read(type, bytes_str(buf_bytes(&text)), &back, &diag);
                if (err != OK) print_error("seed %d: %s\n", (int)seed, diag.text);
                EXPECT_OK(err);
                EXPECT_BYTES(buf_bytes(&back), buf_bytes(&value));
                buf_deinit(&value);
                buf_deinit(&text);
                buf_deinit(&back);
            }
        }
        arena_deinit(&arena);
    }
}

TEST(json, depth_is_bounded_in_text_and_in_values) {
    Arena arena = {0};
    const Type *declared[] = {type_array(&arena, decode(&arena, "0000000000"))};
    const Type **resolved;
    EXPECT_OK(typespace_resolve(&(Typespace){declared, 1}, &arena, &resolved, NULL));
    for (size_t depth = VALUE_DEPTH_MAX - 1; depth <= VALUE_DEPTH_MAX + 1; depth++) {
        Buf text = {0}, out = {0};
        Diag diag;
        for (size_t i = 0; i < depth; i++) {
            buf_put_u8(&text, '[');
        }
        for (size_t i = 0; i < depth; i++) {
            buf_put_u8(&text, ']');
        }
        Err err = json_read(resolved[0], bytes_str(buf_bytes(&text)), &out, &diag);
        EXPECT_EQ(err, depth <= VALUE_DEPTH_MAX ? OK : ERR_LIMIT);
        size_t len = 0;
        if (err == OK) EXPECT_OK(bsatn_check(resolved[0], buf_bytes(&out), &len, &diag));
        EXPECT_EQ(len, out.len);
        buf_deinit(&text);
        buf_deinit(&out);
    }
    arena_deinit(&arena);
}

TEST(json, survives_every_failed_allocation) {
    Arena arena = {0};
    TypeField fields[20];
    for (uint32_t i = 0; i < 20; i++) {
        fields[i] = (TypeField){arena_printf(&arena, "f%u", i), type_simple(TYPE_STRING)};
    }
    const Type *type = type_product(&arena, fields, 20);
    Buf text = {0};
    buf_put_u8(&text, '{');
    for (int i = 19; i >= 0; i--) {
        buf_printf(&text, "\"f%d\":\"\\n some text that takes room %d\"%s", i, i, i ? "," : "}");
    }
    for (int64_t n = 0;; n++) {
        Buf out = {0}, again = {0};
        mem_fault_arm(n);
        Err err = json_read(type, bytes_str(buf_bytes(&text)), &out, NULL);
        if (err == OK) json_write(&again, type, out.ptr, JSON_TYPED);
        bool hit = mem_fault_hit();
        mem_fault_arm(-1);
        EXPECT(err == OK || err == ERR_NOMEM);
        EXPECT_EQ(err == OK && buf_ok(&again), !hit);
        buf_deinit(&out);
        buf_deinit(&again);
        if (!hit) break;
    }
    buf_deinit(&text);
    arena_deinit(&arena);
}

TEST_MAIN()
