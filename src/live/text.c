#include "live/text.h"

#include "base/mem.h"

#define GAP            1      // in a shape: something of its own stands here
#define TEXT_BYTES_MAX 65535  // a longer one is not cut; nor is one that has a GAP in it

struct TextShape {
    uint64_t refs, hash;
    bool is_whole;  // no gaps
    size_t len;
    char text[];
};

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
static bool is_word(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           c == '$' || (uint8_t)c >= 0x80;
}

// The end of what is quoted from `at` on; a doubled quote is none.
static size_t quoted_end(Str text, size_t at) {
    char quote = text.ptr[at++];
    while (at < text.len) {
        if (text.ptr[at++] != quote) continue;
        if (at == text.len || text.ptr[at] != quote) break;
        at++;
    }
    return at;
}

static size_t token_end(Str text, size_t at) {
    char c = text.ptr[at];
    if (c == '\'' || c == '"') return quoted_end(text, at);
    bool number = is_digit(c);
    if (!is_word(c)) return at + 1;
    while (at < text.len && (is_word(text.ptr[at]) || (number && text.ptr[at] == '.'))) {
        at++;
    }
    return at;
}

static void cut(Str text, Buf *shape, Buf *own) {
    for (size_t at = 0, end; at < text.len; at = end) {
        end = token_end(text, at);
        if (text.ptr[at] == '\'' || is_digit(text.ptr[at])) {
            buf_put_u8(shape, GAP);
            buf_put_u16(own, (uint16_t)(end - at));
            buf_put(own, text.ptr + at, end - at);
        } else {
            buf_put(shape, text.ptr + at, end - at);
        }
    }
}

static Err intern(LiveMap *shapes, Bytes text, bool is_whole, TextShape **out) {
    uint64_t hash = bytes_hash(text) + is_whole;
    uint32_t at = livemap_first(shapes, hash);
    TextShape *shape;
    while ((shape = livemap_at(shapes, at)) &&
           !(shape->is_whole == is_whole && bytes_eq(BYTES(shape->text, shape->len), text))) {
        at = livemap_next(shapes, hash, at);
    }
    if (!shape) {
        if (!livemap_reserve(shapes) || !(shape = mem_alloc(sizeof *shape + text.len)))
            return ERR_NOMEM;
        *shape = (TextShape){.hash = hash, .is_whole = is_whole, .len = text.len};
        if (text.len) memcpy(shape->text, text.ptr, text.len);
        livemap_insert(shapes, hash, shape);
    }
    shape->refs++;
    *out = shape;
    return OK;
}

Err text_cut(LiveMap *shapes, Str text, TextShape **out, Buf *own) {
    bool is_whole = text.len > TEXT_BYTES_MAX || (text.len && memchr(text.ptr, GAP, text.len));
    if (is_whole) return intern(shapes, str_bytes(text), true, out);
    Buf shape = {0};
    cut(text, &shape, own);
    Err err = buf_ok(&shape) && buf_ok(own) ? OK : ERR_NOMEM;
    if (err == OK) err = intern(shapes, buf_bytes(&shape), false, out);
    buf_deinit(&shape);
    return err;
}

TextShape *text_again(TextShape *shape) {
    shape->refs++;
    return shape;
}

void text_release(LiveMap *shapes, TextShape **handle) {
    TextShape *shape = *handle;
    *handle = NULL;
    if (!shape || --shape->refs > 0) return;
    livemap_remove(shapes, shape->hash, shape);
    mem_free(shape);
}

void text_put(const TextShape *shape, Bytes own, Buf *out) {
    const uint8_t *at = own.ptr;
    for (size_t i = 0; i < shape->len; i++) {
        if (shape->is_whole || shape->text[i] != GAP) {
            buf_put_u8(out, (uint8_t)shape->text[i]);
            continue;
        }
        uint16_t len = load_u16(at);
        buf_put(out, at + 2, len);
        at += 2 + len;
    }
}
