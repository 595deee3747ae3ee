// Maps by hand, and what is wrong with others.
#include "host/js/sourcemap.h"

#include "base/mem.h"
#include "base/test.h"

static SourceMap *map_with(const char *head, const char *mappings) {
    char json[512];
    snprintf(json,
             sizeof json,
             "{\"version\":3,%s,\"names\":[\"n\"],\"mappings\":\"%s\"}",
             head,
             mappings);
    SourceMap *map = NULL;
    EXPECT_OK(sourcemap_read(str_bytes(str_from(json)), &map));
    return map;
}
static SourceMap *map_of(const char *mappings) {
    return map_with("\"sourceRoot\":\"r/\",\"sources\":[\"a.ts\",\"b.ts\",null]", mappings);
}
static void expect_place(const SourceMap *map, uint32_t line, uint32_t column, const char *want) {
    Str file;
    uint32_t file_line;
    char got[128] = "-";
    if (sourcemap_lookup(map, line, column, &file, &file_line))
        snprintf(got, sizeof got, STR_FMT ":%u", STR_ARG(file), file_line);
    EXPECT_STR(got, want);
}

TEST(sourcemap, finds_the_segment_before_a_place) {
    // Line 1: column 0 is a.ts:1, column 8 b.ts:3, column 12 nobody's. Line 3: column 2 is a.ts:2.
    SourceMap *map = map_of("AAAA,QCEA,I;;EDDA");
    expect_place(map, 1, 1, "r/a.ts:1");
    expect_place(map, 1, 8, "r/a.ts:1");
    expect_place(map, 1, 9, "r/b.ts:3");
    expect_place(map, 1, 12, "r/b.ts:3");
    expect_place(map, 1, 13, "-");
    expect_place(map, 2, 1, "-");
    expect_place(map, 3, 1, "-");
    expect_place(map, 3, 2, "-");
    expect_place(map, 3, 3, "r/a.ts:2");
    expect_place(map, 3, 4000000, "r/a.ts:2");
    expect_place(map, 4, 1, "-");
    expect_place(map, 0, 1, "-");
    expect_place(map, 1, 0, "-");
    sourcemap_free(&map);
}

TEST(sourcemap, files_of_the_project_are_called_as_from_there) {
    SourceMap *map = map_with("\"sources\":[\"../src/index.ts\",\"../../lib/x.ts\"]", "AAAA,QCEA");
    expect_place(map, 1, 1, "src/index.ts:1");
    expect_place(map, 1, 9, "../lib/x.ts:3");
    sourcemap_free(&map);
}

TEST(sourcemap, reads_numbers_of_several_digits_and_names) {
    SourceMap *map = map_of("AAgCAA,gBE3BAA");  // a.ts:33; then 16 columns on, c, 27 lines back
    expect_place(map, 1, 1, "r/a.ts:33");
    expect_place(map, 1, 17, "<unknown>:6");
    sourcemap_free(&map);
}

TEST(sourcemap, refuses_what_is_not_a_map) {
    static const char *const texts[] = {
        "",
        "[]",
        "{}",
        "{\"version\":2,\"sources\":[],\"mappings\":\"\"}",
        "{\"version\":3,\"sources\":{},\"mappings\":\"\"}",
        "{\"version\":3,\"sources\":[],\"mappings\":7}",
        "{\"version\":3,\"sections\":[]}",
        "{\"version\":3,\"sources\":[\"a\"],\"mappings\":\"AAA\"}",       // two numbers short
        "{\"version\":3,\"sources\":[\"a\"],\"mappings\":\"AAAAAA\"}",    // one too many
        "{\"version\":3,\"sources\":[\"a\"],\"mappings\":\"ACAA\"}",      // no such source
        "{\"version\":3,\"sources\":[\"a\"],\"mappings\":\"D\"}",         // a negative column
        "{\"version\":3,\"sources\":[\"a\"],\"mappings\":\"AADA\"}",      // a negative line
        "{\"version\":3,\"sources\":[\"a\"],\"mappings\":\"g\"}",         // an unfinished number
        "{\"version\":3,\"sources\":[\"a\"],\"mappings\":\"gggggggB\"}",  // beyond 31 bits
        "{\"version\":3,\"sources\":[\"a\"],\"mappings\":\"!\"}",
        "{\"version\":3,\"sources\":[\"a\"],\"mappings\":\"IAAA,DAAA\"}",  // backwards
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        SourceMap *map = NULL;
        EXPECT_ERR(sourcemap_read(str_bytes(str_from(texts[i])), &map), ERR_MALFORMED);
        EXPECT(map == NULL);
    }
}

TEST(sourcemap, is_the_last_line_of_a_bundle) {
    static const struct {
        const char *bundle, *found;
    } cases[] = {
        {"x\n//# sourceMappingURL=data:application/json;base64,AAAA", "AAAA"},
        {"x\n//# sourceMappingURL=data:application/json;charset=utf-8;base64,AA==\n \n", "AA=="},
        {"//# sourceMappingURL=data:application/json;base64,", ""},
        {"//# sourceMappingURL=data:application/json;base64,AAAA\nx", ""},
        {"x\n//# sourceMappingURL=bundle.js.map", ""},
        {"x\n//# sourceMappingURL=data:application/json,{};base64,AA", ""},
        {"", ""},
        {"\n\n", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        EXPECT(str_eq(sourcemap_find(str_from(cases[i].bundle)), str_from(cases[i].found)));
}

TEST(sourcemap, comes_in_base64) {
    // {"version":3,"sources":["x"],"mappings":"AAAA"}
    SourceMap *map = NULL;
    EXPECT_OK(
        sourcemap_decode(STR("eyJ2ZXJzaW9uIjozLCJzb3VyY2VzIjpbIngiXSwibWFwcGluZ3MiOiJBQUFBIn0="),
                         &map));
    expect_place(map, 1, 5, "x:1");
    sourcemap_free(&map);
    EXPECT_ERR(sourcemap_decode(STR("ey*="), &map), ERR_MALFORMED);
    EXPECT_ERR(sourcemap_decode(STR_NONE, &map), ERR_MALFORMED);
}

TEST(sourcemap, memory_that_runs_out_is_an_error) {
    static const char json[] = "{\"version\":3,\"sources\":[\"x\"],\"mappings\":\"AAAA;AACA\"}";
    for (int64_t n = 0;; n++) {
        SourceMap *map = NULL;
        EXPECT(n < 100);
        mem_fault_arm(n);
        Err err = sourcemap_read(BYTES(json, sizeof json - 1), &map);
        mem_fault_arm(-1);
        EXPECT(err == OK || err == ERR_NOMEM);
        sourcemap_free(&map);
        if (err == OK) break;
    }
}

TEST_MAIN()
