#include "base/mem.h"
#include "base/test.h"
#include "schema/def.h"
#include "schema/names.h"

static void expect_case(const char *name, CaseStyle style, const char *want) {
    Arena arena = {0};
    Str got = case_convert(&arena, str_from(name), style);
    EXPECT_STR(got.ptr, want);
    arena_deinit(&arena);
}

// The golden pairs of module-abi §3.5.
static const struct {
    const char *name, *snake, *camel;
} golden[] = {
    {"OneU8", "one_u_8", "oneU8"},
    {"one_u8", "one_u_8", "oneU8"},
    {"table1", "table_1", "table1"},
    {"i128", "i_128", "i128"},
    {"_foo", "foo", "foo"},
    {"foo__bar", "foo_bar", "fooBar"},
    {"ABc", "a_bc", "aBc"},
    {"x2y", "x_2_y", "x2Y"},
    {"ÄpfelBaum", "äpfel_baum", "äpfelBaum"},
    {"HTTPServer", "http_server", "httpServer"},
    {"getURLs", "get_ur_ls", "getUrLs"},
    {"UserID2", "user_id_2", "userId2"},
    {"IOStream8Test", "io_stream_8_test", "ioStream8Test"},
    {"a1b2C3", "a_1_b_2_c_3", "a1B2C3"},
    {"PlayerV2State", "player_v_2_state", "playerV2State"},
    {"SCREAMING_SNAKE", "screaming_snake", "screamingSnake"},
    {"my_table_2", "my_table_2", "myTable2"},
    {"_", "", ""},
    {"", "", ""},
};

TEST(case_convert, gives_the_golden_pairs) {
    for (size_t i = 0; i < ARRAY_LEN(golden); i++) {
        expect_case(golden[i].name, CASE_STYLE_SNAKE, golden[i].snake);
        expect_case(golden[i].name, CASE_STYLE_CAMEL, golden[i].camel);
    }
}

TEST(case_convert, capitalises_every_word_of_a_type_name) {
    expect_case("player_id", CASE_STYLE_PASCAL, "PlayerId");
    expect_case("äpfel-baum two", CASE_STYLE_PASCAL, "ÄpfelBaumTwo");
    expect_case("HTTPServer", CASE_STYLE_PASCAL, "HttpServer");
    expect_case("_x", CASE_STYLE_PASCAL, "X");
}

TEST(case_convert, leaves_scripts_without_case_in_one_piece) {
    expect_case("表格", CASE_STYLE_SNAKE, "表格");
    expect_case("表A1", CASE_STYLE_SNAKE, "表a_1");
    expect_case("straßeNr", CASE_STYLE_SNAKE, "straße_nr");
    expect_case("ßa", CASE_STYLE_PASCAL, "SSa");
}

TEST(case_convert, says_when_memory_is_exhausted) {
    Arena arena = {0};
    mem_fault_arm(0);
    Str snake = case_convert(&arena, STR("Warm"), CASE_STYLE_SNAKE);
    mem_fault_arm(-1);
    EXPECT(snake.ptr == NULL);
    arena_deinit(&arena);
}

static bool ident_ok(const char *name, const char *part_of_reason) {
    Buf reason = {0};
    bool ok = ident_check(str_from(name), &reason);
    buf_put_u8(&reason, 0);
    if (!ok) EXPECT(strstr((char *)reason.ptr, part_of_reason) != NULL);
    buf_deinit(&reason);
    return ok;
}

TEST(ident, accepts_letters_digits_and_underscores) {
    EXPECT(ident_ok("a", ""));
    EXPECT(ident_ok("_1", ""));
    EXPECT(ident_ok("äpfel", ""));
    EXPECT(ident_ok("表", ""));
    EXPECT(ident_ok("select", ""));
}

TEST(ident, refuses_with_the_reason) {
    EXPECT(!ident_ok("", "Empty identifiers are forbidden."));
    EXPECT(!ident_ok("1a", "starting character '1'"));
    EXPECT(!ident_ok("a b", "contains a character ' '"));
    EXPECT(!ident_ok("a\u0308", "not in normalization form C"));
}

TEST(nameset, notices_the_second_of_two_equal_names) {
    Arena arena = {0};
    NameSet set = {0};
    bool added;
    for (int i = 0; i < 1000; i++) {
        EXPECT_OK(nameset_add(&set, &arena, arena_printf(&arena, "name%d", i), &added));
        EXPECT(added);
    }
    for (int i = 0; i < 1000; i++) {
        EXPECT_OK(nameset_add(&set, &arena, arena_printf(&arena, "name%d", i), &added));
        EXPECT(!added);
    }
    EXPECT(nameset_has(&set, STR("name999")));
    EXPECT(!nameset_has(&set, STR("name1000")));
    arena_deinit(&arena);
}

TEST_MAIN()
