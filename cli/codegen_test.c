#include "cli/codegen.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/test.h"
#include "schema/golden_chat.h"

// tests/golden/rich.def is what tests/modules/rich describes itself as; tests/golden/rich/ and rich-lightcone/
// what must be generated from it. Generated code that is meant to change is replaced by running this test
// with UPDATE_GOLDEN=1 from the top of the repository, and read before it is committed.
static Codegen generate_for(void (*sdk)(Codegen *gen), Bytes raw, bool include_private) {
    ModuleDef *def = NULL;
    Diag diag = {0};
    EXPECT_OK(moduledef_decode(raw, &def, &diag));
    Codegen gen = {.def = def, .include_private = include_private, .name = "rich"};
    sdk(&gen);
    return gen;
}
static Codegen generate(Bytes raw, bool include_private) {
    return generate_for(codegen_typescript, raw, include_private);
}

static void generate_done(Codegen *gen) {
    ModuleDef *def = (ModuleDef *)gen->def;
    moduledef_free(&def);
}

static const CodegenFile *file_of(const Codegen *gen, const char *path) {
    for (size_t i = 0; i < gen->file_count; i++)
        if (strcmp(gen->files[i].path, path) == 0) return &gen->files[i];
    return NULL;
}

static Codegen generate_golden(const char *path, bool include_private) {
    size_t len = 0;
    const char *raw = cli_file_read(path, &len);
    EXPECT(raw != NULL);
    return generate(BYTES(raw, len), include_private);
}

static void expect_golden(Codegen *gen, const char *dir) {
    for (size_t i = 0; i < gen->file_count; i++) {
        const char *path = cli_join(dir, gen->files[i].path);
        if (getenv("UPDATE_GOLDEN"))
            cli_file_write(path, BYTES(gen->files[i].text, gen->files[i].len));
        const char *expected = cli_file_read(path, NULL);
        if (!expected) fail_msg("%s is missing", path);
        if (strcmp(gen->files[i].text, expected) != 0) fail_msg("%s differs", path);
    }
    generate_done(gen);
}

TEST(codegen, output_for_the_npm_package_is_the_golden_files_byte_for_byte) {
    Codegen gen = generate_golden("tests/golden/rich.def", false);
    EXPECT_EQ(gen.file_count, 11);
    expect_golden(&gen, "tests/golden/rich");
}

TEST(codegen, output_for_our_package_is_the_golden_files_byte_for_byte) {
    size_t len = 0;
    const char *raw = cli_file_read("tests/golden/rich.def", &len);
    EXPECT(raw != NULL);
    Codegen gen = generate_for(codegen_lightcone, BYTES(raw, len), false);
    EXPECT_EQ(gen.file_count, 4);
    expect_golden(&gen, "tests/golden/rich-lightcone");
}

TEST(codegen, output_for_c_is_the_golden_files_byte_for_byte) {
    size_t len = 0;
    const char *raw = cli_file_read("tests/golden/rich.def", &len);
    EXPECT(raw != NULL);
    Codegen gen = generate_for(codegen_c, BYTES(raw, len), false);
    EXPECT_EQ(gen.file_count, 2);
    expect_golden(&gen, "tests/golden/rich-c");
}

TEST(codegen, output_as_json_is_the_golden_file_byte_for_byte) {
    size_t len = 0;
    const char *raw = cli_file_read("tests/golden/rich.def", &len);
    EXPECT(raw != NULL);
    Codegen gen = generate_for(codegen_json, BYTES(raw, len), false);
    EXPECT_EQ(gen.file_count, 1);
    expect_golden(&gen, "tests/golden/rich-json");
}

TEST(codegen, private_tables_and_lifecycle_reducers_appear_only_on_demand) {
    Codegen open = generate_golden("tests/golden/rich.def", false);
    EXPECT(file_of(&open, "hidden_table.ts") == NULL);
    EXPECT(strstr(file_of(&open, "index.ts")->text, "HiddenRow") == NULL);
    generate_done(&open);
    Codegen all = generate_golden("tests/golden/rich.def", true);
    EXPECT(file_of(&all, "hidden_table.ts") != NULL);
    EXPECT(strstr(file_of(&all, "index.ts")->text, "HiddenRow") != NULL);
    generate_done(&all);
}

TEST(codegen, the_chat_has_its_two_tables_and_two_reducers) {
    uint8_t raw[GOLDEN_CHAT_BYTES];
    EXPECT(hex_read(str_from(golden_chat_hex), raw));
    Codegen gen = generate(BYTES(raw, sizeof raw), false);
    static const char *const paths[] = {"message_table.ts",
                                        "user_table.ts",
                                        "send_message_reducer.ts",
                                        "set_name_reducer.ts",
                                        "types.ts",
                                        "types/reducers.ts",
                                        "types/procedures.ts",
                                        "index.ts"};
    EXPECT_EQ(gen.file_count, ARRAY_LEN(paths));
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        const CodegenFile *file = file_of(&gen, paths[i]);
        EXPECT(file != NULL);
        EXPECT_EQ(strncmp(file->text, CODEGEN_MARK, strlen(CODEGEN_MARK)), 0);
    }
    EXPECT(strstr(file_of(&gen, "types.ts")->text, "SetName") == NULL);
    EXPECT(strstr(file_of(&gen, "user_table.ts")->text, "identity: __t.identity().primaryKey(),"));
    generate_done(&gen);
}

TEST_MAIN()
