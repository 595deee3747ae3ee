#include "cli/satn.h"

#include "base/test.h"

static void expect_satn(const char *type, const char *value, const char *text) {
    json_t *t = json_from(json_quote_numbers(type), NULL);
    json_t *v = json_from(json_quote_numbers(value), NULL);
    Buf out = {0};
    satn_write(&out, t, v);
    buf_put_u8(&out, 0);
    EXPECT_STR((char *)out.ptr, text);
    buf_deinit(&out);
    json_decref(t);
    json_decref(v);
}

#define ELEMENT(name, type) "{\"name\":{\"some\":\"" name "\"},\"algebraic_type\":" type "}"
#define PRODUCT(elements)   "{\"Product\":{\"elements\":[" elements "]}}"
#define SUM(variants)       "{\"Sum\":{\"variants\":[" variants "]}}"
#define I64                 "{\"I64\":[]}"
#define U128                "{\"U128\":[]}"
#define STRING              "{\"String\":[]}"
#define UNIT                PRODUCT("")
#define TIMESTAMP           PRODUCT(ELEMENT("__timestamp_micros_since_unix_epoch__", I64))

TEST(satn, numbers_keep_every_digit) {
    expect_satn("{\"U64\":[]}", "18446744073709551615", "18446744073709551615");
    expect_satn(U128,
                "340282366920938463463374607431768211455",
                "340282366920938463463374607431768211455");
    expect_satn("{\"F64\":[]}", "594806.56", "594806.56");
    expect_satn("{\"I32\":[]}", "-7", "-7");
    expect_satn("{\"Bool\":[]}", "true", "true");
}

TEST(satn, strings_are_quoted_and_escaped_even_when_they_look_like_numbers) {
    expect_satn(STRING, "\"5\"", "\"5\"");
    expect_satn(STRING, "\"a\\\"b\\n\\u0001 -1 é\"", "\"a\\\"b\\n\\u{1} -1 é\"");
}

TEST(satn, special_types_have_their_own_text) {
    expect_satn(PRODUCT(ELEMENT("__identity__", "{\"U256\":[]}")),
                "[\"0xc200abc\"]",
                "0x000000000000000000000000000000000000000000000000000000000c200abc");
    expect_satn(PRODUCT(ELEMENT("__connection_id__", U128)),
                "[5233100606242806050955395731361295]",
                "0x000102030405060708090a0b0c0d0e0f");
    expect_satn(PRODUCT(ELEMENT("__uuid__", U128)),
                "[5233100606242806050955395731361295]",
                "\"00010203-0405-0607-0809-0a0b0c0d0e0f\"");
    expect_satn(TIMESTAMP, "[0]", "1970-01-01T00:00:00+00:00");
    expect_satn(TIMESTAMP, "[1735000000123456]", "2024-12-24T00:26:40.123456+00:00");
    expect_satn(TIMESTAMP, "[-1]", "1969-12-31T23:59:59.999999+00:00");
    expect_satn(PRODUCT(ELEMENT("__time_duration_micros__", I64)), "[-1500000]", "-1.500000");
}

TEST(satn, composites_name_their_parts) {
    expect_satn(PRODUCT(ELEMENT("x", I64) "," ELEMENT("y", STRING)),
                "[1,\"b\"]",
                "(x = 1, y = \"b\")");
    expect_satn(PRODUCT("{\"name\":{\"none\":[]},\"algebraic_type\":" I64 "}"),
                "[1]",
                "(col_0 = 1)");
    expect_satn(SUM(ELEMENT("some", I64) "," ELEMENT("none", UNIT)), "[0,7]", "(some = 7)");
    expect_satn(SUM(ELEMENT("some", I64) "," ELEMENT("none", UNIT)), "[1,[]]", "(none = ())");
    expect_satn(SUM(ELEMENT("a", I64) "," ELEMENT("b", I64)), "{\"b\":2}", "(b = 2)");
    expect_satn("{\"Array\":" I64 "}", "[1,2]", "[1, 2]");
    expect_satn("{\"Array\":{\"U8\":[]}}", "\"0102\"", "0x0102");
    expect_satn(UNIT, "[]", "()");
}

TEST(satn, a_value_that_does_not_fit_its_type_is_shown_as_unknown) {
    expect_satn(PRODUCT(ELEMENT("x", I64) "," ELEMENT("y", I64)), "[1]", "(x = 1, y = ?)");
    expect_satn(SUM(ELEMENT("a", I64)), "[9,1]", "(? = ?)");
}

TEST(json5, comments_and_trailing_commas_become_blanks_outside_strings) {
    char text[] = "{ // c\n \"a\": \"//x,}\", /* d */ \"b\": [1, 2,],\n}";
    json5_blank(text);
    EXPECT_STR(text, "{     \n \"a\": \"//x,}\",         \"b\": [1, 2 ] \n}");
}

TEST_MAIN()
