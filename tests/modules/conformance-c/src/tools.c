// tools.c: bytes, ids and rows for the cases that talk to the host itself.
#include "cases.h"

Blob blob(size_t room) {
    return (Blob){lc_alloc(room), 0};
}

void put(Blob *out, const void *bytes, size_t len) {
    memcpy(out->ptr + out->len, bytes, len);
    out->len += (uint32_t)len;
}
void put_u8(Blob *out, uint8_t value) {
    put(out, &value, sizeof value);
}
void put_u32(Blob *out, uint32_t value) {
    put(out, &value, sizeof value);
}
void put_i64(Blob *out, int64_t value) {
    put(out, &value, sizeof value);
}
void put_text(Blob *out, const char *text) {
    put_u32(out, (uint32_t)strlen(text));
    put(out, text, strlen(text));
}

const char *hex(const uint8_t *bytes, size_t len) {
    char *text = lc_alloc(2 * len + 1);
    for (size_t i = 0; i < len; i++) {
        text[2 * i] = "0123456789abcdef"[bytes[i] >> 4];
        text[2 * i + 1] = "0123456789abcdef"[bytes[i] & 15];
    }
    return text;
}

uint32_t table_of(const char *name) {
    uint32_t id = 0;
    if (lc_abi_table_id_from_name(name, (uint32_t)strlen(name), &id)) lc_panic("no table %s", name);
    return id;
}

uint32_t index_of(const char *name) {
    uint32_t id = 0;
    if (lc_abi_index_id_from_name(name, (uint32_t)strlen(name), &id)) lc_panic("no index %s", name);
    return id;
}

Blob pair_row(uint32_t a, const char *b, int64_t c) {
    Blob row = blob(16 + strlen(b));
    put_u32(&row, a);
    put_text(&row, b);
    put_i64(&row, c);
    return row;
}

LcErrno insert_raw(const char *table, Blob *row) {
    return lc_abi_datastore_insert_bsatn(table_of(table), row->ptr, &row->len);
}

void pair_fill(void) {
    static const struct {
        uint32_t a;
        const char *b;
        int64_t c;
    } rows[] = {{4, "u", 1}, {5, "v", 2}, {5, "x", 3}, {5, "y", 3}, {6, "z", 5}};
    pair_clear();
    for (size_t i = 0; i < 5; i++) {
        Blob row = pair_row(rows[i].a, rows[i].b, rows[i].c);
        if (insert_raw("pair", &row)) lc_panic("pair cannot be filled");
    }
}

// What the cases drain is small: pair, filled, or one row.
LcErrno drain(uint32_t iter, Blob *rows) {
    enum { ROOM = 65536 };
    *rows = blob(ROOM);
    for (;;) {
        uint32_t got = ROOM - rows->len;
        int32_t status = lc_abi_row_iter_bsatn_advance(iter, rows->ptr + rows->len, &got);
        if (status > 0) return (LcErrno)status;
        rows->len += got;
        if (status < 0) return LC_ERRNO_OK;
    }
}
