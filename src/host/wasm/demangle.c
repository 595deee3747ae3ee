// demangle.c: see demangle.h. Lengths in a name are the module's word: each is checked against what is
// there.
#include "host/wasm/demangle.h"

enum { HASH_LEN = 17 };  // 'h' and 16 digits

static bool begins(Str text, Str with) {
    return text.len >= with.len && memcmp(text.ptr, with.ptr, with.len) == 0;
}
static void skip(Str *text, size_t len) {
    *text = (Str){text->ptr + len, text->len - len};
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
static bool is_alnum(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_hash(Str part) {
    if (part.len != HASH_LEN || part.ptr[0] != 'h') return false;
    for (size_t i = 1; i < part.len; i++)
        if (!is_digit(part.ptr[i]) && (part.ptr[i] < 'a' || part.ptr[i] > 'f')) return false;
    return true;
}

// A number and as many bytes; in the newer form perhaps with a '_' between them.
static bool take_part(Str *text, bool is_new, Str *part) {
    size_t len = 0;
    if (!text->len || !is_digit(text->ptr[0])) return false;
    while (text->len && is_digit(text->ptr[0])) {
        len = len * 10 + (size_t)(text->ptr[0] - '0');
        if (len > text->len) return false;
        skip(text, 1);
    }
    if (is_new && len && begins(*text, STR("_"))) skip(text, 1);
    if (len > text->len) return false;
    *part = (Str){text->ptr, len};
    skip(text, len);
    return true;
}

static void put_joint(Buf *out, size_t start) {
    if (out->len > start) buf_put_str(out, STR("::"));
}

// ---- the older form

// What stands at the start of `part` for a character that a symbol cannot have. 0: nothing.
static size_t escape(Str part, Str *meaning) {
    static const struct {
        const char *code, *meaning;
    } escapes[] = {{"$SP$", "@"},
                   {"$BP$", "*"},
                   {"$RF$", "&"},
                   {"$LT$", "<"},
                   {"$GT$", ">"},
                   {"$LP$", "("},
                   {"$RP$", ")"},
                   {"$C$", ","},
                   {"$u20$", " "},
                   {"$u27$", "'"},
                   {"$u5b$", "["},
                   {"$u5d$", "]"},
                   {"$u7b$", "{"},
                   {"$u7d$", "}"},
                   {"$u3b$", ";"},
                   {"$u2b$", "+"},
                   {"$u22$", "\""},
                   {"..", "::"}};
    for (size_t i = 0; i < ARRAY_LEN(escapes); i++) {
        Str code = str_from(escapes[i].code);
        if (!begins(part, code)) continue;
        *meaning = str_from(escapes[i].meaning);
        return code.len;
    }
    return 0;
}

static void put_part(Buf *out, Str part) {
    if (begins(part, STR("_$"))) skip(&part, 1);  // a part may not begin with what is escaped
    while (part.len) {
        Str meaning;
        size_t len = escape(part, &meaning);
        buf_put_str(out, len ? meaning : (Str){part.ptr, 1});
        skip(&part, len ? len : 1);
    }
}

static bool put_old(Str text, Buf *out, size_t start) {
    Str part = STR_NONE;
    bool hashed = false;
    while (text.len && text.ptr[0] != 'E') {
        if (!take_part(&text, false, &part)) return false;
        hashed = is_hash(part);
        if (hashed) continue;
        put_joint(out, start);
        put_part(out, part);
    }
    return hashed;  // without it is C++
}

// ---- the newer form

static void skip_base62(Str *text) {
    size_t len = 0;
    while (len < text->len && is_alnum(text->ptr[len]))
        len++;
    if (len < text->len && text->ptr[len] == '_') skip(text, len + 1);
}

static bool put_new(Str text, Buf *out, size_t start) {
    while (text.len) {
        char c = text.ptr[0];
        Str part;
        if (is_digit(c)) {
            if (!take_part(&text, true, &part)) return false;
            if (!part.len) continue;  // of a closure
            put_joint(out, start);
            buf_put_str(out, part);
            continue;
        }
        if (!is_alnum(c)) break;  // what a linker or LLVM has added
        skip(&text, 1);
        if (c == 's' || c == 'B') skip_base62(&text);  // which of several; a repetition
    }
    return out->len > start;
}

bool wasm_demangle(Str name, Buf *out) {
    size_t start = out->len;
    bool done = false;
    Str rest = name;
    if (begins(name, STR("_ZN"))) {
        skip(&rest, 3);
        done = put_old(rest, out, start);
    } else if (begins(name, STR("_R")) && name.len > 2 && name.ptr[2] >= 'A' &&
               name.ptr[2] <= 'Z') {
        skip(&rest, 2);
        done = put_new(rest, out, start);
    } else if (name.len > HASH_LEN + 2) {
        skip(&rest, name.len - HASH_LEN - 2);
        done = begins(rest, STR("::")) && is_hash((Str){rest.ptr + 2, HASH_LEN});
        if (done) buf_put_str(out, (Str){name.ptr, name.len - HASH_LEN - 2});
    }
    if (!done) out->len = start;
    return done;
}
