// What parses is written back byte for byte, and a value that is set reads back.
#include "cli/toml.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    Arena arena = {0};
    TomlDoc doc;
    Str text = {(const char *)bytes, len};
    if (toml_parse(&arena, text, &doc, NULL) == OK) {
        Buf out = {0};
        ASSERT(toml_write(&doc, &out) == OK);
        bool ends_in_newline = len == 0 || bytes[len - 1] == '\n';
        ASSERT(out.len == len + !ends_in_newline && (len == 0 || memcmp(out.ptr, bytes, len) == 0));
        ASSERT(toml_set(&doc, TOML_ROOT, STR("fuzz"), text) == OK);
        buf_clear(&out);
        ASSERT(toml_write(&doc, &out) == OK);
        TomlDoc again;
        ASSERT(toml_parse(&arena, bytes_str(buf_bytes(&out)), &again, NULL) == OK);
        ASSERT(str_eq(toml_get(&again, TOML_ROOT, STR("fuzz")), text));
        buf_deinit(&out);
    }
    arena_deinit(&arena);
    return 0;
}
