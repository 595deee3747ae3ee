// Random bytes as a client of PostgreSQL's protocol: the first message, then others, and each value of a
// Bind as a binary parameter of every type. Never a read outside the input; what a message shows is inside
// it; a refusal says why.
#include "wire/pg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(Bytes whole, Bytes part) {
    if (part.len == 0) return;
    ASSERT(part.ptr >= whole.ptr && part.ptr + part.len <= whole.ptr + whole.len);
}

static void value_look(Bytes value, Arena *arena) {
    Diag diag;
    Str text;
    uint32_t array, oid;
    if (!value.ptr) return;
    for (uint32_t i = 0; (oid = pg_oid_at(i, &array)) != 0; i++) {
        diag_clear(&diag);
        Err err = pg_param_text(oid, value, arena, &text, &diag);
        ASSERT(err == OK || diag.text[0]);
        ASSERT(err != OK || (text.ptr && text.ptr[text.len] == 0));
    }
}

static void message_look(Bytes whole) {
    Arena arena = {0};
    PgMessage m;
    Diag diag;
    diag_clear(&diag);
    Err err = pg_message_read(whole, &arena, &m, &diag);
    ASSERT(err == OK || diag.text[0]);
    if (err == OK) {
        inside(whole, str_bytes(m.text));
        inside(whole, str_bytes(m.statement));
        inside(whole, str_bytes(m.portal));
    }
    for (uint32_t i = 0; err == OK && i < m.value_count; i++) {
        inside(whole, m.values[i].bytes);
        value_look(m.values[i].bytes, &arena);
    }
    arena_deinit(&arena);
}

static void first_look(Bytes whole) {
    PgFirst first;
    Diag diag;
    diag_clear(&diag);
    Err err = pg_first_read(whole, &first, &diag);
    ASSERT(err == OK || diag.text[0]);
    if (err != OK) return;
    inside(whole, str_bytes(first.user));
    inside(whole, str_bytes(first.database));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Bytes in = {data, size};
    for (bool named = false; in.len; named = true) {
        bool malformed;
        size_t len = pg_message_len(in, named, 1 << 20, &malformed);
        if (malformed || len == 0 || len > in.len) return 0;
        Bytes one = {in.ptr, len};
        if (named)
            message_look(one);
        else
            first_look(one);
        in = (Bytes){in.ptr + len, in.len - len};
    }
    return 0;
}
