// reader.c: a cursor for messages that are decoded by hand. The first failure sticks, so a decoder
// reads like the message's definition and asks once at the end.
#include "sats/bsatn.h"

Reader reader_of(Bytes in) {
    return (Reader){.in = in};
}

bool reader_ok(const Reader *r) {
    return !r->failed;
}

static const uint8_t *take(Reader *r, size_t len, const char *expected) {
    if (UNLIKELY(r->failed)) return NULL;
    if (UNLIKELY(len > r->in.len)) {
        r->failed = true;
        r->expected = expected;
        r->needed = len;
        return NULL;
    }
    const uint8_t *p = r->in.ptr;
    r->in.ptr += len;
    r->in.len -= len;
    r->at += len;
    return p;
}

uint8_t reader_u8(Reader *r) {
    const uint8_t *p = take(r, 1, "u8");
    return p ? *p : 0;
}

uint16_t reader_u16(Reader *r) {
    const uint8_t *p = take(r, 2, "u16");
    return p ? load_u16(p) : 0;
}

uint32_t reader_u32(Reader *r) {
    const uint8_t *p = take(r, 4, "u32");
    return p ? load_u32(p) : 0;
}

uint64_t reader_u64(Reader *r) {
    const uint8_t *p = take(r, 8, "u64");
    return p ? load_u64(p) : 0;
}

Bytes reader_take(Reader *r, size_t len) {
    if (len == 0) return BYTES_NONE;
    const uint8_t *p = take(r, len, "[u8]");
    return p ? (Bytes){p, len} : BYTES_NONE;
}

Bytes reader_lp(Reader *r) {
    return reader_take(r, reader_u32(r));
}

Str reader_str(Reader *r) {
    Bytes bytes = reader_lp(r);
    if (bytes.len && !utf8_valid(bytes)) {
        r->failed = true;
        r->expected = NULL;  // enough bytes, but not text
        r->at -= bytes.len;
        return STR_NONE;
    }
    return bytes_str(bytes);
}

Err reader_err(const Reader *r, Diag *diag) {
    if (!r->failed) return OK;
    if (!r->expected) return diag_fail_at(diag, ERR_MALFORMED, r->at, "invalid utf8");
    return diag_fail_at(diag,
                        ERR_MALFORMED,
                        r->at,
                        "data too short for %s: Expected %zu, given %zu",
                        r->expected,
                        r->needed,
                        r->in.len);
}
