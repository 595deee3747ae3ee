// Any bytes as a type followed by a value of it; Ref 0 in the type is the type itself. A value that
// is accepted must be measured, compared, made a key of and written as JSON without trouble, and
// come back from JSON as the same bytes.
#include "base/mem.h"
#include "sats/json.h"
#include "sats/key.h"

// NaN and infinity have no JSON; their null is refused on the way back, and that is all right.
static bool has_null(Bytes text) {
    for (size_t i = 0; i + 4 <= text.len; i++) {
        if (memcmp(text.ptr + i, "null", 4) == 0) return true;
    }
    return false;
}

static void try_json(const Type *type, Bytes value, JsonForm form) {
    Buf text = {0}, back = {0};
    Diag diag;
    json_write(&text, type, value.ptr, form);
    ASSERT(buf_ok(&text));
    Err err = json_read(type, bytes_str(buf_bytes(&text)), &back, &diag);
    if (form == JSON_UNTYPED && !has_null(buf_bytes(&text))) {
        ASSERT(err == OK);
        ASSERT(bytes_eq(buf_bytes(&back), value));
    }
    // The other forms go by names, which may be there twice. What comes back is still a value.
    size_t len;
    if (err == OK)
        ASSERT(bsatn_check(type, buf_bytes(&back), &len, &diag) == OK && len == back.len);
    buf_deinit(&text);
    buf_deinit(&back);
}

static void try_value(const Type *type, Bytes in) {
    size_t len;
    Diag diag;
    if (bsatn_check(type, in, &len, &diag) != OK) {
        ASSERT(diag.at <= in.len);
        return;
    }
    Bytes value = {len ? in.ptr : (const uint8_t *)"", len};
    ASSERT(bsatn_len(type, value.ptr) == len);
    ASSERT(bsatn_cmp(type, value.ptr, value.ptr) == 0);
    Buf key = {0};
    key_append(&key, type, value.ptr);
    ASSERT(buf_ok(&key));
    buf_deinit(&key);
    for (JsonForm form = JSON_TYPED; form <= JSON_ROW; form++) {
        try_json(type, value, form);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Arena arena = {0};
    Bytes in = {data, size};
    const Type *declared, **types;
    Diag diag;
    if (type_decode(&in, &arena, &declared, &diag) == OK &&
        typespace_resolve(&(Typespace){&declared, 1}, &arena, &types, &diag) == OK) {
        try_value(types[0], in);
    }
    arena_deinit(&arena);
    return 0;
}
