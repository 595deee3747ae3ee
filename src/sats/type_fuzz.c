// Any bytes as a typespace: as many types as they hold. What is accepted must come back from its
// encoding byte for byte, and resolving, printing, comparing and writing must end.
#include "base/mem.h"
#include "sats/json.h"

#define ENTRIES_MAX 64

static void use(const Type *type, Buf *out) {
    buf_clear(out);
    type_print(out, type);
    type_encode(out, type);
    type_encode_refs(out, type);
    json_write_type(out, type, true);
    json_write_type(out, type, false);
    ASSERT(buf_ok(out));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Arena arena = {0};
    Buf out = {0};
    Bytes in = {data, size};
    const Type *declared[ENTRIES_MAX], **types, **again;
    uint32_t count = 0;
    Diag diag;
    while (count < ENTRIES_MAX && type_decode(&in, &arena, &declared[count], &diag) == OK) {
        use(declared[count], &out);
        buf_clear(&out);
        type_encode(&out, declared[count++]);
        ASSERT(out.len == 0 || memcmp(out.ptr, in.ptr - out.len, out.len) == 0);
    }
    Typespace space = {declared, count};
    if (typespace_resolve(&space, &arena, &types, &diag) == OK) {
        ASSERT(typespace_resolve(&space, &arena, &again, &diag) == OK);
        for (uint32_t i = 0; i < count; i++) {
            use(types[i], &out);
            ASSERT(type_eq(types[i], again[i]));
        }
    }
    buf_deinit(&out);
    arena_deinit(&arena);
    return 0;
}
