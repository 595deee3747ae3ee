// bytes.h: borrowed bytes, borrowed text, and a buffer that grows.
//
// `Bytes` is a view passed by value; it owns nothing, and each function that returns one says how
// long it stays valid. `Str` is the same for UTF-8 text; it is not terminated. `Buf` owns its
// memory. Appending to a Buf cannot fail at the call: a failed allocation is remembered in
// `failed`, later appends do nothing, and whoever finishes the buffer asks buf_ok() once. That
// keeps encoders readable without losing the error.
#pragma once
#include "base/err.h"

typedef struct Bytes {
    const uint8_t *ptr;
    size_t len;
} Bytes;

typedef struct Str {
    const char *ptr;
    size_t len;
} Str;

#define BYTES_NONE   ((Bytes){NULL, 0})
#define BYTES(p, n)  ((Bytes){(const uint8_t *)(p), (n)})
#define STR(literal) ((Str){"" literal, sizeof(literal) - 1})
#define STR_NONE     ((Str){NULL, 0})
#define STR_FMT      "%.*s"  // printf("…" STR_FMT "…", STR_ARG(str))
#define STR_ARG(str) ((int)(str).len), ((str).ptr)

static inline Str str_from(const char *terminated) {
    return (Str){terminated, terminated ? strlen(terminated) : 0};
}
static inline Bytes str_bytes(Str str) {
    return (Bytes){(const uint8_t *)str.ptr, str.len};
}
static inline Str bytes_str(Bytes bytes) {
    return (Str){(const char *)bytes.ptr, bytes.len};
}
static inline bool bytes_eq(Bytes a, Bytes b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}
static inline bool str_eq(Str a, Str b) {
    return bytes_eq(str_bytes(a), str_bytes(b));
}
int bytes_cmp(Bytes a, Bytes b);   // memcmp order, the shorter prefix first
bool str_eq_nocase(Str a, Str b);  // ASCII only
bool str_starts(Str text, Str prefix);
bool utf8_valid(Bytes text);
// Length of the longest prefix of at most `max` bytes that does not cut a character.
size_t utf8_cut(Str text, size_t max);
// A 64-bit hash for tables in memory. Never stored, may change between versions.
uint64_t bytes_hash(Bytes bytes);

typedef struct Buf {
    uint8_t *ptr;
    size_t len;
    size_t cap;
    bool failed;  // an allocation failed; the content is incomplete
} Buf;

void buf_deinit(Buf *buf);             // frees; leaves an empty, usable Buf
bool buf_grow(Buf *buf, size_t more);  // buf_reserve, where room is not there yet
static inline bool buf_reserve(Buf *buf, size_t more) {
    return LIKELY(more <= buf->cap - buf->len && !buf->failed) || buf_grow(buf, more);
}
static inline uint8_t *buf_extend(Buf *buf, size_t len) {  // uninitialised; NULL after a failure
    if (UNLIKELY(!buf_reserve(buf, len))) return NULL;
    uint8_t *room = buf->ptr + buf->len;
    buf->len += len;
    return room;
}
void buf_put(Buf *buf, const void *bytes, size_t len);
void buf_printf(Buf *buf, const char *fmt, ...) PRINTF_LIKE(2, 3);

static inline void buf_clear(Buf *buf) {  // keeps the memory, forgets content and failure
    buf->len = 0;
    buf->failed = false;
}
static inline bool buf_ok(const Buf *buf) {
    return !buf->failed;
}
static inline Bytes buf_bytes(const Buf *buf) {  // valid until the next append
    return (Bytes){buf->ptr, buf->len};
}
static inline void buf_put_bytes(Buf *buf, Bytes bytes) {
    buf_put(buf, bytes.ptr, bytes.len);
}
static inline void buf_put_str(Buf *buf, Str str) {
    buf_put(buf, str.ptr, str.len);
}
static inline void buf_put_u8(Buf *buf, uint8_t v) {
    if (LIKELY(buf->len < buf->cap)) {
        buf->ptr[buf->len++] = v;
        return;
    }
    buf_put(buf, &v, 1);
}

// Little-endian words, wherever they stand. We support little-endian machines only (asserted in
// bytes.c), so these are loads and stores.
static inline uint16_t load_u16(const void *p) {
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline uint32_t load_u32(const void *p) {
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline uint64_t load_u64(const void *p) {
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void store_u16(void *p, uint16_t v) {
    memcpy(p, &v, sizeof v);
}
static inline void store_u32(void *p, uint32_t v) {
    memcpy(p, &v, sizeof v);
}
static inline void store_u64(void *p, uint64_t v) {
    memcpy(p, &v, sizeof v);
}
// memcpy() for who copies rows and keys, which are short as a rule: words in line, without a call.
static inline void bytes_copy(uint8_t *to, const uint8_t *from, size_t len) {
    if (LIKELY(len >= 8 && len <= 32)) {
        uint64_t first = load_u64(from), last = load_u64(from + len - 8);
        if (len > 16) {
            uint64_t second = load_u64(from + 8), third = load_u64(from + len - 16);
            store_u64(to + 8, second);
            store_u64(to + len - 16, third);
        }
        store_u64(to, first);
        store_u64(to + len - 8, last);
    } else if (len >= 4 && len < 8) {
        uint32_t first = load_u32(from), last = load_u32(from + len - 4);
        store_u32(to, first);
        store_u32(to + len - 4, last);
    } else if (len) {
        memcpy(to, from, len);
    }
}
// bytes_eq() for the same. Of up to 32 bytes memcmp() is one wide masked load, and where something was written
// there a moment ago, by narrower stores, it waits until those have left the store buffer. So it is with a row
// that a module has just made. Words are forwarded from there.
static inline bool bytes_same(Bytes a, Bytes b) {
    if (a.len != b.len) return false;
    const uint8_t *a_end = a.ptr + a.len, *b_end = b.ptr + b.len;
    if (LIKELY(a.len >= 8 && a.len <= 32)) {
        if (load_u64(a.ptr) != load_u64(b.ptr) || load_u64(a_end - 8) != load_u64(b_end - 8))
            return false;
        return a.len <= 16 || (load_u64(a.ptr + 8) == load_u64(b.ptr + 8) &&
                               load_u64(a_end - 16) == load_u64(b_end - 16));
    }
    if (a.len >= 4 && a.len < 8)
        return load_u32(a.ptr) == load_u32(b.ptr) && load_u32(a_end - 4) == load_u32(b_end - 4);
    return a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0;
}
// `len` is a constant: where there is room, this is one store.
static inline void buf_put_word(Buf *buf, const void *word, size_t len) {
    if (UNLIKELY(buf->cap - buf->len < len)) {
        buf_put(buf, word, len);
        return;
    }
    memcpy(buf->ptr + buf->len, word, len);
    buf->len += len;
}
static inline void buf_put_u16(Buf *buf, uint16_t v) {
    buf_put_word(buf, &v, sizeof v);
}
static inline void buf_put_u32(Buf *buf, uint32_t v) {
    buf_put_word(buf, &v, sizeof v);
}
static inline void buf_put_u64(Buf *buf, uint64_t v) {
    buf_put_word(buf, &v, sizeof v);
}
// u32 length, then the bytes: BSATN's form of strings and byte arrays.
static inline void buf_put_lp(Buf *buf, Bytes bytes) {
    buf_put_u32(buf, (uint32_t)bytes.len);
    buf_put_bytes(buf, bytes);
}

// Hex. Encoding is lower case; decoding takes either case and refuses odd lengths.
void hex_append(Buf *buf, Bytes bytes);
void hex_write(char *out /* 2 * len, not terminated */, Bytes bytes);
bool hex_read(Str text, uint8_t *out /* text.len / 2 */);
