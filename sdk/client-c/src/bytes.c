// bytes.c: bytes that grow and bytes that are read, both of which remember their first failure.
//
// So a message is written or read without an `if` behind every field: an Out that ran out of memory takes
// nothing more, an In that came to its end gives zeros, and who began asks once, at the end.
//
// ALWAYS TRUE  (3) of client.h: a length from outside is compared with what is there before it is used.
#include "client.h"

LC_PRIVATE void *mem_new(size_t bytes) {
    void *memory = LC_CLIENT_REALLOC(NULL, bytes ? bytes : 1);
    if (memory) memset(memory, 0, bytes);
    return memory;
}

LC_PRIVATE char *text_copy(const char *text) {
    size_t len = strlen(text);
    char *copy = mem_new(len + 1);
    if (copy) memcpy(copy, text, len);
    return copy;
}

LC_PRIVATE uint8_t *out_room(Out *out, size_t bytes) {
    if (out->error) return NULL;
    if (!out->data || bytes > out->cap - out->len) {
        size_t cap = out->cap ? out->cap : 256;
        while (cap - out->len < bytes && cap <= SIZE_MAX / 4)
            cap *= 2;
        uint8_t *old = out->is_borrowed ? NULL : out->data;
        uint8_t *data = cap - out->len < bytes ? NULL : LC_CLIENT_REALLOC(old, cap);
        if (!data) {
            out->error = LC_NO_MEMORY;
            return NULL;
        }
        if (out->is_borrowed) memcpy(data, out->data, out->len);
        out->is_borrowed = false;
        out->data = data;
        out->cap = cap;
    }
    return out->data + out->len;
}

LC_PRIVATE void out_bytes(Out *out, const void *bytes, size_t len) {
    uint8_t *room = out_room(out, len);
    if (!room || len == 0) return;
    memcpy(room, bytes, len);
    out->len += len;
}

LC_PRIVATE void out_le(Out *out, uint64_t value, size_t width) {
    uint8_t bytes[8];
    for (size_t i = 0; i < width; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
    out_bytes(out, bytes, width);
}

LC_PRIVATE void out_sized(Out *out, const void *bytes, size_t len) {
    if (len > UINT32_MAX || (len > 0 && !bytes)) {
        if (!out->error) out->error = LC_BAD_ARGUMENT;
        return;
    }
    out_le(out, len, 4);
    out_bytes(out, bytes, len);
}

LC_PRIVATE void out_drop(Out *out, size_t bytes) {
    out->len -= bytes;
    if (out->len > 0) memmove(out->data, out->data + bytes, out->len);
}

LC_PRIVATE void out_free(Out *out) {
    if (!out->is_borrowed) free(out->data);
    *out = (Out){0};
}

LC_PRIVATE size_t in_left(const In *in) {
    return (size_t)(in->end - in->at);
}

LC_PRIVATE const uint8_t *in_bytes(In *in, size_t len) {
    static const uint8_t nothing[32];
    if (in->failed || len > in_left(in)) {
        in->failed = true;
        in->at = in->end;
        return nothing;
    }
    const uint8_t *bytes = in->at;
    in->at += len;
    return bytes;
}

LC_PRIVATE uint64_t le_read(const uint8_t *bytes, size_t width) {
    uint64_t value = 0;
    for (size_t i = 0; i < width; i++)
        value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

LC_PRIVATE uint64_t in_le(In *in, size_t width) {
    return le_read(in_bytes(in, width), width);  // width <= 8
}

LC_PRIVATE In in_sized(In *in) {
    size_t len = (size_t)in_le(in, 4);
    if (len > in_left(in)) in->failed = true;
    if (in->failed) return (In){.at = in->end, .end = in->end, .failed = true};
    const uint8_t *bytes = in_bytes(in, len);
    return (In){.at = bytes, .end = bytes + len};
}

LC_PRIVATE bool is_utf8(const uint8_t *at, size_t len) {
    for (const uint8_t *end = at + len; at < end;) {
        uint8_t lead = *at++;
        if (lead < 0x80) continue;
        int more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
        if (lead < 0xc2 || lead > 0xf4 || end - at < more) return false;
        // Overlong, a surrogate, or beyond U+10FFFF: told by the second byte.
        uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
        uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
        if (*at < low || *at > high) return false;
        for (int i = 1; i < more; i++)
            if ((at[i] & 0xc0) != 0x80) return false;
        at += more;
    }
    return true;
}
