// sourcemap_fuzz.c: a map with these mappings, or this JSON; and every place it may be asked for.
#include <stdio.h>

#include "host/js/sourcemap.h"

static void ask_everywhere(const SourceMap *map) {
    Str file;
    uint32_t line;
    for (uint32_t l = 0; l < 12; l++)
        for (uint32_t c = 0; c < 40; c += 1 + c / 8)
            if (sourcemap_lookup(map, l, c, &file, &line)) ASSERT(line >= 1 && file.len <= 1000000);
    (void)sourcemap_lookup(map, UINT32_MAX, UINT32_MAX, &file, &line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    SourceMap *map = NULL;
    Buf json = {0};
    if (size && data[0] == '{') {
        buf_put(&json, data, size);
    } else {  // the mappings of a map that is right otherwise
        buf_put_str(&json, STR("{\"version\":3,\"sources\":[\"a\",null,\"b\"],\"mappings\":\""));
        for (size_t i = 0; i < size; i++)
            if (data[i] >= ' ' && data[i] < 127 && data[i] != '"' && data[i] != '\\')
                buf_put_u8(&json, data[i]);
        buf_put_str(&json, STR("\"}"));
    }
    if (sourcemap_read(buf_bytes(&json), &map) == OK) ask_everywhere(map);
    sourcemap_free(&map);
    Str text = bytes_str(BYTES(data, size));
    if (sourcemap_decode(sourcemap_find(text), &map) == OK) ask_everywhere(map);
    sourcemap_free(&map);
    buf_deinit(&json);
    return 0;
}
