// json_token.c: strings, numbers and punctuation of JSON (RFC 8259), strictly.
//
// There is no tree and no event stream: a type drives the reading, so the reader always knows what
// it wants next and asks for that. Numbers stay text, because 128 bits do not fit a double.
#include "sats/json_token.h"

JsonText json_text(Str text, Diag *diag) {
    const char *start = text.len ? text.ptr : "";
    return (JsonText){.start = start, .at = start, .end = start + text.len, .diag = diag};
}

void json_text_deinit(JsonText *t) {
    buf_deinit(&t->scratch);
}

char json_peek(JsonText *t) {
    while (t->at < t->end && (*t->at == ' ' || *t->at == '\n' || *t->at == '\r' || *t->at == '\t'))
        t->at++;
    return (char)(t->at < t->end ? *t->at : 0);
}

bool json_take(JsonText *t, char c) {
    if (json_peek(t) != c || t->at == t->end) return false;
    t->at++;
    return true;
}

bool json_take_word(JsonText *t, Str word) {
    json_peek(t);
    if (!str_starts((Str){t->at, (size_t)(t->end - t->at)}, word)) return false;
    t->at += word.len;
    return true;
}

static Err nomem(JsonText *t) {
    return diag_fail(t->diag, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
}

Err json_expected(JsonText *t, const char *wanted) {
    char c = json_peek(t);
    if (t->at == t->end) return json_fail_at(t, t->at, "expected %s, found the end", wanted);
    const char *what = NULL;
    switch (c) {
    case '"': what = "a string"; break;
    case '{': what = "an object"; break;
    case '[': what = "an array"; break;
    case 't':
    case 'f': what = "a boolean"; break;
    case 'n': what = "null"; break;
    case '-': what = "a number"; break;
    default:
        if (c >= '0' && c <= '9') what = "a number";
    }
    if (what) return json_fail_at(t, t->at, "expected %s, found %s", wanted, what);
    if (c > ' ' && c < 0x7f) return json_fail_at(t, t->at, "expected %s, found `%c`", wanted, c);
    return json_fail_at(t, t->at, "expected %s, found byte 0x%02x", wanted, (uint8_t)c);
}

static bool read_hex4(const char *p, const char *end, uint32_t *out) {
    uint8_t pair[2];
    if (end - p < 4 || !hex_read((Str){p, 4}, pair)) return false;
    *out = (uint32_t)pair[0] << 8 | pair[1];
    return true;
}

static void put_utf8(Buf *out, uint32_t c) {
    if (c < 0x80) {
        buf_put_u8(out, (uint8_t)c);
        return;
    }
    int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const uint8_t lead[] = {0, 0xc0, 0xe0, 0xf0};
    buf_put_u8(out, (uint8_t)(lead[more] | c >> (6 * more)));
    while (more-- > 0)
        buf_put_u8(out, (uint8_t)(0x80 | (c >> (6 * more) & 0x3f)));
}

// \uXXXX, or two of them that form one character; *p stands behind the first 'u'.
static bool unescape_unicode(Buf *out, const char **p, const char *end) {
    uint32_t c, low;
    if (!read_hex4(*p, end, &c)) return false;
    *p += 4;
    if (c >= 0xdc00 && c <= 0xdfff) return false;
    if (c >= 0xd800 && c <= 0xdbff) {
        if (end - *p < 6 || (*p)[0] != '\\' || (*p)[1] != 'u') return false;
        if (!read_hex4(*p + 2, end, &low) || low < 0xdc00 || low > 0xdfff) return false;
        *p += 6;
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
    put_utf8(out, c);
    return true;
}

// *p stands behind the backslash.
static bool unescape(Buf *out, const char **p, const char *end) {
    if (*p == end) return false;
    char c = *(*p)++;
    switch (c) {
    case '"':
    case '\\':
    case '/': break;
    case 'b': c = '\b'; break;
    case 'f': c = '\f'; break;
    case 'n': c = '\n'; break;
    case 'r': c = '\r'; break;
    case 't': c = '\t'; break;
    case 'u': return unescape_unicode(out, p, end);
    default: return false;
    }
    buf_put_u8(out, (uint8_t)c);
    return true;
}

// The end of the run of characters that stand for themselves.
static const char *plain_end(const char *p, const char *end) {
    while (p < end && *p != '"' && *p != '\\' && (uint8_t)*p >= 0x20)
        p++;
    return p;
}

Err json_text_string(JsonText *t, Str *out) {
    if (!json_take(t, '"')) return json_expected(t, "a string");
    const char *open = t->at - 1, *run = t->at, *p = plain_end(run, t->end);
    bool borrowed = p < t->end && *p == '"';
    buf_clear(&t->scratch);
    while (!borrowed) {
        buf_put(&t->scratch, run, (size_t)(p - run));
        if (p == t->end) return json_fail_at(t, open, "this string does not end");
        if (*p == '"') break;
        const char *bad = p;
        if ((uint8_t)*p++ < 0x20) return json_fail_at(t, bad, "control character in a string");
        if (!unescape(&t->scratch, &p, t->end))
            return json_fail_at(t, bad, "invalid escape in a string");
        run = p;
        p = plain_end(run, t->end);
    }
    if (!buf_ok(&t->scratch)) return nomem(t);
    *out = borrowed ? (Str){run, (size_t)(p - run)} : bytes_str(buf_bytes(&t->scratch));
    t->at = p + 1;
    if (out->len && !utf8_valid(str_bytes(*out))) return json_fail_at(t, open, "invalid utf8");
    return OK;
}

static const char *digits_end(const char *p, const char *end) {
    while (p < end && *p >= '0' && *p <= '9')
        p++;
    return p;
}

Err json_number(JsonText *t, JsonNumber *out) {
    json_peek(t);
    const char *p = t->at, *end = t->end;
    bool is_integer = true;
    if (p < end && *p == '-') p++;
    const char *digits = p;
    p = digits_end(p, end);
    if (p == digits && p == t->at) return json_expected(t, "a number");
    if (p == digits) return json_fail_at(t, t->at, "invalid number");
    if (p - digits > 1 && *digits == '0') return json_fail_at(t, t->at, "invalid number");
    if (p < end && *p == '.') {
        const char *fraction = ++p;
        p = digits_end(p, end);
        if (p == fraction) return json_fail_at(t, t->at, "invalid number");
        is_integer = false;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < end && (*p == '+' || *p == '-')) p++;
        const char *exponent = p;
        p = digits_end(p, end);
        if (p == exponent) return json_fail_at(t, t->at, "invalid number");
        is_integer = false;
    }
    *out = (JsonNumber){.token = {t->at, (size_t)(p - t->at)}, .is_integer = is_integer};
    t->at = p;
    return OK;
}

Err json_number_terminated(JsonText *t, const char **out) {
    JsonNumber number;
    Err err = json_number(t, &number);
    if (err != OK) return err;
    buf_clear(&t->scratch);
    buf_put_str(&t->scratch, number.token);
    buf_put_u8(&t->scratch, 0);
    if (!buf_ok(&t->scratch)) return nomem(t);
    *out = (const char *)t->scratch.ptr;
    return OK;
}

Err json_count_rest(JsonText *t, uint32_t *out) {
    uint32_t items = 1;
    size_t depth = 0;
    for (;;) {
        char c = json_peek(t);
        if (t->at == t->end) return json_expected(t, "`]`");
        if (c == '"') {
            Str ignored;
            Err err = json_text_string(t, &ignored);
            if (err != OK) return err;
            continue;
        }
        t->at++;
        if (c == '[' || c == '{') depth++;
        if (c == ',' && depth == 0) items++;
        if ((c == ']' || c == '}') && depth-- == 0) break;
    }
    *out = items;
    return OK;
}
