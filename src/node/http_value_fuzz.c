// What decodes, encodes to bytes that decode to the same; and what is refused is refused without harm.
#include "node/http_value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Arena arena = {0};
    HttpValue v;
    Buf again = {0};
    if (http_value_get_request(BYTES(data, size), &arena, &v) == OK) {
        http_value_put_request(&again, &v);
        HttpValue w;
        ASSERT(http_value_get_request(buf_bytes(&again), &arena, &w) == OK);
        ASSERT(str_eq(v.uri, w.uri) && str_eq(v.method, w.method) &&
               v.header_count == w.header_count);
    }
    buf_clear(&again);
    if (http_value_get_response(BYTES(data, size), &arena, &v) == OK) {
        http_value_put_response(&again, &v);
        ASSERT(again.len <= size && memcmp(again.ptr, data, again.len) == 0);
        for (uint32_t i = 0; i < v.header_count; i++) {
            (void)http_value_name_ok(v.headers[i].name);
            (void)http_value_text_ok(v.headers[i].value);
        }
    }
    buf_deinit(&again);
    arena_deinit(&arena);
    return 0;
}
