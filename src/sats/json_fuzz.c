// The first byte picks a type, the rest is JSON text. What is read must be a value of the type, and
// writing and reading it again must give the same bytes.
#include "base/mem.h"
#include "sats/json.h"
#include "sats/value_gen_testing.h"

#define TYPES 64

// A type for each number: the simple ones, a recursive one, then random ones, always the same.
static const Type *pick_type(uint8_t number, Arena *arena) {
    if (number < TYPE_STRING) {
        // Sum{ leaf: F64, many: Array<itself>, pair: Product{ name: String, rest: itself } }
        static const uint8_t tree[] = "\x01\x03\0\0\0\0\x04\0\0\0leaf\x13"
                                      "\0\x04\0\0\0many\x03\0\0\0\0\0"
                                      "\0\x04\0\0\0pair\x02\x02\0\0\0\0\x04\0\0\0name\x04"
                                      "\0\x04\0\0\0rest\0\0\0\0\0";
        Bytes in = {tree, sizeof tree - 1};
        const Type *declared, **types;
        if (type_decode(&in, arena, &declared, NULL) != OK) return NULL;
        Typespace space = {&declared, 1};
        return typespace_resolve(&space, arena, &types, NULL) == OK ? types[0] : NULL;
    }
    if (number <= TYPE_F64) return type_simple((TypeKind)number);
    ValueGen gen = value_gen(number % TYPES);
    return value_gen_type(&gen, arena, 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    Arena arena = {0};
    Buf value = {0}, text = {0}, again = {0};
    Diag diag;
    const Type *type = pick_type(data[0], &arena);
    ASSERT(type != NULL);
    if (json_read(type, (Str){(const char *)data + 1, size - 1}, &value, &diag) == OK) {
        size_t len;
        ASSERT(bsatn_check(type, buf_bytes(&value), &len, &diag) == OK && len == value.len);
        for (JsonForm form = JSON_TYPED; form <= JSON_ROW; form++) {
            buf_clear(&text);
            buf_clear(&again);
            json_write(&text, type, value.len ? value.ptr : data, form);
            ASSERT(json_read(type, bytes_str(buf_bytes(&text)), &again, &diag) == OK);
            ASSERT(bytes_eq(buf_bytes(&value), buf_bytes(&again)));
        }
    } else {
        ASSERT(diag.at <= size - 1);
    }
    buf_deinit(&value);
    buf_deinit(&text);
    buf_deinit(&again);
    arena_deinit(&arena);
    return 0;
}
