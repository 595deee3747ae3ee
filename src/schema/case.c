// case.c: OneU8 -> one_u_8. The canonical spelling of names (module-abi §3.5).
//
// PICTURE
//   getURLs2   ── words ──>  get | UR | Ls | 2   ── join ──>  get_ur_ls_2   getUrLs2   GetUrLs2
//
// Words end at `_`, `-` and blanks, which vanish, and before a character where the case or kind
// changes: aB, a1, 1a, and before the last capital of a run that goes on in small letters (HTTPServer
// is HTTP|Server). Digits are 0-9 only. A letter counts as upper or lower only if its two forms
// differ, so letters of scripts without case never start a word.
//
// CALLERS   validate*.c for canonical names; the code generator for identifiers.
// NOT HERE  whether the result may be a name at all (ident.c).
#include <stdlib.h>
#include <unicase.h>
#include <unistr.h>

#include "schema/def.h"

typedef enum CharKind { CHAR_OTHER, CHAR_SEPARATOR, CHAR_DIGIT, CHAR_UPPER, CHAR_LOWER } CharKind;

typedef struct Char {
    CharKind kind;
    uint32_t bytes;
} Char;

static CharKind ascii_kind(char c) {
    if (c >= 'a' && c <= 'z') return CHAR_LOWER;
    if (c >= 'A' && c <= 'Z') return CHAR_UPPER;
    if (c >= '0' && c <= '9') return CHAR_DIGIT;
    return c == '_' || c == '-' || c == ' ' ? CHAR_SEPARATOR : CHAR_OTHER;
}

// The full mappings, because one letter may become several (ß is SS in capitals). The scratch holds
// the longest of them; had it not, the library would allocate and the pointer would differ.
static bool maps_to_itself(ucs4_t c, bool upper) {
    uint32_t scratch[16];
    size_t len = ARRAY_LEN(scratch);
    uint32_t *mapped = upper ? u32_toupper(&c, 1, NULL, NULL, scratch, &len)
                             : u32_tolower(&c, 1, NULL, NULL, scratch, &len);
    bool same = mapped && len == 1 && mapped[0] == c;
    if (mapped && mapped != scratch) free(mapped);
    return same;
}

static CharKind unicode_kind(ucs4_t c) {
    bool is_upper_form = maps_to_itself(c, true);
    bool is_lower_form = maps_to_itself(c, false);
    if (is_upper_form == is_lower_form) return CHAR_OTHER;
    return is_upper_form ? CHAR_UPPER : CHAR_LOWER;
}

static Char char_at(Str text, size_t at) {
    unsigned char c = (unsigned char)text.ptr[at];
    if (c < 0x80) return (Char){ascii_kind((char)c), 1};
    ucs4_t wide;
    int bytes = u8_mbtouc(&wide, (const uint8_t *)text.ptr + at, text.len - at);
    return (Char){unicode_kind(wide), (uint32_t)bytes};
}

// Whether a word ends between `previous` and `c`, given the kind of what follows c.
static bool is_boundary(CharKind previous, CharKind c, CharKind next) {
    bool letter_before = previous == CHAR_UPPER || previous == CHAR_LOWER;
    bool letter_here = c == CHAR_UPPER || c == CHAR_LOWER;
    if (previous == CHAR_LOWER && c == CHAR_UPPER) return true;
    if (letter_before && c == CHAR_DIGIT) return true;
    if (previous == CHAR_DIGIT && letter_here) return true;
    return previous == CHAR_UPPER && c == CHAR_UPPER && next == CHAR_LOWER;
}

static void append_mapped(Buf *out, Str text, bool upper) {
    size_t len = 0;
    const uint8_t *in = (const uint8_t *)text.ptr;
    uint8_t *mapped = upper ? u8_toupper(in, text.len, NULL, NULL, NULL, &len)
                            : u8_tolower(in, text.len, NULL, NULL, NULL, &len);
    if (!mapped && text.len > 0) out->failed = true;
    if (mapped) buf_put(out, mapped, len);
    free(mapped);  // the library's allocation, not ours
}

static void append_word(Buf *out, Str word, CaseStyle style, bool is_first) {
    if (word.len == 0) return;
    if (style == CASE_STYLE_SNAKE && !is_first) buf_put_u8(out, '_');
    bool capital = style == CASE_STYLE_PASCAL || (style == CASE_STYLE_CAMEL && !is_first);
    size_t head = capital ? char_at(word, 0).bytes : 0;
    if (head > 0) append_mapped(out, (Str){word.ptr, head}, true);
    if (word.len > head) append_mapped(out, (Str){word.ptr + head, word.len - head}, false);
}

static void append_converted(Buf *out, Str name, CaseStyle style) {
    CharKind previous = CHAR_SEPARATOR;
    size_t word_start = 0;
    for (size_t at = 0; at < name.len;) {
        Char c = char_at(name, at);
        size_t end = at + c.bytes;
        CharKind next = end < name.len ? char_at(name, end).kind : CHAR_SEPARATOR;
        if (c.kind == CHAR_SEPARATOR || is_boundary(previous, c.kind, next)) {
            append_word(out, (Str){name.ptr + word_start, at - word_start}, style, out->len == 0);
            word_start = c.kind == CHAR_SEPARATOR ? end : at;
        }
        previous = c.kind;
        at = end;
    }
    append_word(out, (Str){name.ptr + word_start, name.len - word_start}, style, out->len == 0);
}

Str case_convert(Arena *arena, Str name, CaseStyle style) {
    if (name.len == 0) return arena_str(arena, STR(""));
    Buf converted = {0};
    append_converted(&converted, name, style);
    Str out = STR_NONE;
    if (buf_ok(&converted)) out = arena_str(arena, bytes_str(buf_bytes(&converted)));
    buf_deinit(&converted);
    return out;
}
