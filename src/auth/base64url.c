#include "auth/base64url.h"

static const char digits[64] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void base64url_append(Buf *out, Bytes bytes) {
    size_t whole = bytes.len / 3, rest = bytes.len % 3;
    uint8_t *to = buf_extend(out, whole * 4 + (rest ? rest + 1 : 0));
    if (!to) return;
    const uint8_t *p = bytes.ptr;
    for (size_t i = 0; i < whole; i++, p += 3) {
        uint32_t v = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
        *to++ = (uint8_t)digits[v >> 18];
        *to++ = (uint8_t)digits[v >> 12 & 63];
        *to++ = (uint8_t)digits[v >> 6 & 63];
        *to++ = (uint8_t)digits[v & 63];
    }
    if (rest == 0) return;
    uint32_t v = (uint32_t)p[0] << 16 | (rest == 2 ? (uint32_t)p[1] << 8 : 0);
    *to++ = (uint8_t)digits[v >> 18];
    *to++ = (uint8_t)digits[v >> 12 & 63];
    if (rest == 2) *to = (uint8_t)digits[v >> 6 & 63];
}

static int digit_value(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '-') return 62;
    if (c == '_') return 63;
    return -1;
}

bool base64url_decode(Str text, uint8_t *out, size_t *out_len) {
    uint32_t bits = 0;
    int held = 0;  // bits in `bits` that are not written yet
    size_t len = 0;
    if (text.len % 4 == 1) return false;
    for (size_t i = 0; i < text.len; i++) {
        int v = digit_value(text.ptr[i]);
        if (v < 0) return false;
        bits = (bits << 6 | (uint32_t)v) & 0xffff;
        held += 6;
        if (held < 8) continue;
        held -= 8;
        out[len++] = (uint8_t)(bits >> held);
    }
    if ((bits & ((1u << held) - 1)) != 0) return false;
    *out_len = len;
    return true;
}
