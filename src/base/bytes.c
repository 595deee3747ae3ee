#include "base/bytes.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "load_* and store_* are plain copies");

int bytes_cmp(Bytes a, Bytes b) {
    size_t n = MIN(a.len, b.len);
    int c = n ? memcmp(a.ptr, b.ptr, n) : 0;
    if (c != 0) return c;
    return a.len < b.len ? -1 : a.len > b.len;
}

static char ascii_lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

bool str_eq_nocase(Str a, Str b) {
    if (a.len != b.len) return false;
    for (size_t i = 0; i < a.len; i++) {
        if (ascii_lower(a.ptr[i]) != ascii_lower(b.ptr[i])) return false;
    }
    return true;
}

bool str_starts(Str text, Str prefix) {
    return text.len >= prefix.len && memcmp(text.ptr, prefix.ptr, prefix.len) == 0;
}

// Well-formed UTF-8 as the Unicode standard's table 3-7 has it: no overlong forms, no surrogates,
// nothing above U+10FFFF.
bool utf8_valid(Bytes text) {
    if (text.len == 0) return true;
    const uint8_t *p = text.ptr, *end = text.ptr + text.len;
    while (p < end) {
        if (end - p >= 8 && (load_u64(p) & 0x8080808080808080u) == 0) {
            p += 8;
            continue;
        }
        uint8_t c = *p;
        if (c < 0x80) {
            p++;
            continue;
        }
        size_t more;
        uint8_t low = 0x80, high = 0xbf;
        if (c >= 0xc2 && c <= 0xdf) {
            more = 1;
        } else if (c >= 0xe0 && c <= 0xef) {
            more = 2;
            if (c == 0xe0) low = 0xa0;
            if (c == 0xed) high = 0x9f;
        } else if (c >= 0xf0 && c <= 0xf4) {
            more = 3;
            if (c == 0xf0) low = 0x90;
            if (c == 0xf4) high = 0x8f;
        } else {
            return false;
        }
        if ((size_t)(end - p) <= more) return false;
        if (p[1] < low || p[1] > high) return false;
        for (size_t i = 2; i <= more; i++) {
            if ((p[i] & 0xc0) != 0x80) return false;
        }
        p += more + 1;
    }
    return true;
}

size_t utf8_cut(Str text, size_t max) {
    if (text.len <= max) return text.len;
    while (max > 0 && ((uint8_t)text.ptr[max] & 0xc0) == 0x80) {
        max--;
    }
    return max;
}

// wyhash's mixing step over 8-byte words (Wang Yi, public domain), seeded by the length.
static uint64_t mix(uint64_t a, uint64_t b) {
    unsigned __int128 m = (unsigned __int128)a * b;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

uint64_t bytes_hash(Bytes bytes) {
    const uint8_t *p = bytes.ptr;
    size_t n = bytes.len;
    uint64_t h = mix(n ^ 0xa0761d6478bd642fu, 0xe7037ed1a0b428dbu);
    for (; n >= 8; n -= 8, p += 8) {
        h = mix(h ^ load_u64(p), 0x8ebc6af09c88c6e3u);
    }
    uint64_t tail = 0;
    if (n) memcpy(&tail, p, n);
    return mix(h ^ tail, 0x589965cc75374cc3u);
}

void buf_deinit(Buf *buf) {
    if (buf->cap < MEM_LARGE)
        mem_free(buf->ptr);
    else
        mem_large_free(buf->ptr, buf->cap);
    *buf = (Buf){0};
}

static void *resize(Buf *buf, size_t cap) {
    if (cap < MEM_LARGE) return mem_realloc(buf->ptr, cap);
    if (buf->cap >= MEM_LARGE) return mem_large_resize(buf->ptr, buf->cap, cap);
    void *large = mem_large_alloc(cap);
    if (!large) return NULL;
    if (buf->len) memcpy(large, buf->ptr, buf->len);
    mem_free(buf->ptr);
    return large;
}

bool buf_grow(Buf *buf, size_t more) {
    if (buf->failed) return false;
    size_t cap = MAX(buf->cap + buf->cap / 2, buf->len + more);
    cap = MAX(cap, (size_t)64);
    void *ptr = cap < buf->len ? NULL : resize(buf, cap);
    if (!ptr) {
        buf->failed = true;
        return false;
    }
    buf->ptr = ptr;
    buf->cap = cap;
    return true;
}

void buf_put(Buf *buf, const void *bytes, size_t len) {
    if (len == 0 || !buf_reserve(buf, len)) return;
    memcpy(buf->ptr + buf->len, bytes, len);
    buf->len += len;
}

void buf_printf(Buf *buf, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    va_list again;
    va_copy(again, args);
    int need = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (need >= 0 && buf_reserve(buf, (size_t)need + 1)) {
        vsnprintf((char *)buf->ptr + buf->len, (size_t)need + 1, fmt, again);
        buf->len += (size_t)need;
    }
    va_end(again);
}

static const char hex_digits[] = "0123456789abcdef";

void hex_write(char *out, Bytes bytes) {
    for (size_t i = 0; i < bytes.len; i++) {
        out[2 * i] = hex_digits[bytes.ptr[i] >> 4];
        out[2 * i + 1] = hex_digits[bytes.ptr[i] & 15];
    }
}

void hex_append(Buf *buf, Bytes bytes) {
    uint8_t *room = buf_extend(buf, bytes.len * 2);
    if (room) hex_write((char *)room, bytes);
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

bool hex_read(Str text, uint8_t *out) {
    if (text.len % 2) return false;
    for (size_t i = 0; i < text.len / 2; i++) {
        int high = hex_digit(text.ptr[2 * i]), low = hex_digit(text.ptr[2 * i + 1]);
        if (high < 0 || low < 0) return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}
