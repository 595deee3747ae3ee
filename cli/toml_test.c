#include "cli/toml.h"

#include "base/mem.h"
#include "base/test.h"

static const char *const sample = "# mine\n"
                                  "default_server = \"local\"\n"
                                  "future = [1, 2]  # kept\n"
                                  "\n"
                                  "[[server_configs]]\n"
                                  "nickname = 'local'\n"
                                  "host = \"127.0.0.1:3000\"\n"
                                  "ecdsa_public_key = \"\"\"\n-----BEGIN\nabc\n\"\"\"\n"
                                  "\n"
                                  "[[server_configs]]\n"
                                  "nickname = \"a \\\"b\\\" \\u00e9\"\n";

static void expect_text(const TomlDoc *doc, const char *text) {
    Buf out = {0};
    EXPECT_OK(toml_write(doc, &out));
    buf_put_u8(&out, 0);
    EXPECT_STR((char *)out.ptr, text);
    buf_deinit(&out);
}
static void expect_key(const TomlDoc *doc, size_t section, const char *key, const char *value) {
    Str got = toml_get(doc, section, str_from(key));
    EXPECT(got.ptr != NULL && str_eq(got, str_from(value)));
}

TEST(toml, unchanged_text_comes_back_byte_for_byte) {
    Arena arena = {0};
    TomlDoc doc;
    EXPECT_OK(toml_parse(&arena, str_from(sample), &doc, NULL));
    expect_text(&doc, sample);
    arena_deinit(&arena);
}

TEST(toml, reads_all_three_kinds_of_strings) {
    Arena arena = {0};
    TomlDoc doc;
    EXPECT_OK(toml_parse(&arena, str_from(sample), &doc, NULL));
    expect_key(&doc, TOML_ROOT, "default_server", "local");
    size_t first = toml_next_item(&doc, STR("server_configs"), TOML_NONE);
    expect_key(&doc, first, "nickname", "local");
    expect_key(&doc, first, "ecdsa_public_key", "-----BEGIN\nabc\n");
    size_t second = toml_next_item(&doc, STR("server_configs"), first);
    expect_key(&doc, second, "nickname", "a \"b\" é");
    EXPECT(toml_get(&doc, second, STR("host")).ptr == NULL);
    EXPECT_EQ(toml_next_item(&doc, STR("server_configs"), second), TOML_NONE);
    arena_deinit(&arena);
}

TEST(toml, a_change_touches_only_its_line) {
    Arena arena = {0};
    TomlDoc doc;
    EXPECT_OK(toml_parse(&arena, STR("# c\na = \"1\"\nn = 5\n\n[t]\nb = \"2\"\n"), &doc, NULL));
    EXPECT_OK(toml_set(&doc, TOML_ROOT, STR("a"), STR("x\"y")));
    EXPECT_OK(toml_set(&doc, TOML_ROOT, STR("z"), STR("new")));
    expect_text(&doc, "# c\na = \"x\\\"y\"\nn = 5\nz = \"new\"\n\n[t]\nb = \"2\"\n");
    toml_remove(&doc, TOML_ROOT, STR("a"));
    expect_text(&doc, "# c\nn = 5\nz = \"new\"\n\n[t]\nb = \"2\"\n");
    arena_deinit(&arena);
}

TEST(toml, what_is_written_reads_back_whatever_it_contains) {
    Arena arena = {0};
    TomlDoc doc, again;
    const Str values[] = {STR(""),
                          STR("a\nb\n"),
                          STR("tab\t\\ \"q\" \x01"),
                          STR("\n\nx"),
                          STR("é")};
    EXPECT_OK(toml_parse(&arena, STR(""), &doc, NULL));
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        size_t section;
        EXPECT_OK(toml_add_item(&doc, STR("s"), &section));
        EXPECT_OK(toml_set(&doc, section, STR("v"), values[i]));
    }
    Buf out = {0};
    EXPECT_OK(toml_write(&doc, &out));
    EXPECT_OK(toml_parse(&arena, bytes_str(buf_bytes(&out)), &again, NULL));
    size_t section = TOML_NONE;
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        section = toml_next_item(&again, STR("s"), section);
        EXPECT(str_eq(toml_get(&again, section, STR("v")), values[i]));
    }
    buf_deinit(&out);
    arena_deinit(&arena);
}

TEST(toml, removing_an_item_takes_its_keys_with_it) {
    Arena arena = {0};
    TomlDoc doc;
    EXPECT_OK(toml_parse(&arena, STR("[[s]]\na = \"1\"\n[[s]]\na = \"2\"\n"), &doc, NULL));
    toml_remove_item(&doc, toml_next_item(&doc, STR("s"), TOML_NONE));
    expect_text(&doc, "[[s]]\na = \"2\"\n");
    arena_deinit(&arena);
}

TEST(toml, refuses_what_is_not_toml_with_its_place) {
    const struct {
        const char *text;
        size_t at;
    } bad[] = {{"a\n", 0}, {"a = \"1\"\nb = \"open\n", 8}, {"[x\n", 0}, {"a = \"\\q\"", 0}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        Arena arena = {0};
        TomlDoc doc;
        Diag diag = {0};
        EXPECT_ERR(toml_parse(&arena, str_from(bad[i].text), &doc, &diag), ERR_MALFORMED);
        EXPECT_EQ(diag.at, bad[i].at);
        arena_deinit(&arena);
    }
}

TEST(toml, survives_running_out_of_memory_at_any_allocation) {
    for (int64_t n = 0;; n++) {
        Arena arena = {0};
        TomlDoc doc;
        Buf out = {0};
        mem_fault_arm(n);
        Err err = toml_parse(&arena, str_from(sample), &doc, NULL);
        if (err == OK) err = toml_set(&doc, TOML_ROOT, STR("k"), STR("v"));
        if (err == OK) err = toml_write(&doc, &out);
        bool hit = mem_fault_hit();
        mem_fault_arm(-1);
        buf_deinit(&out);
        arena_deinit(&arena);
        if (!hit) {
            EXPECT_OK(err);
            return;
        }
        EXPECT_ERR(err, ERR_NOMEM);
    }
}

TEST_MAIN()
