#include "cli/toml.h"

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

static Str str_trim(Str text) {
    while (text.len > 0 && is_blank(text.ptr[0]))
        text = (Str){text.ptr + 1, text.len - 1};
    while (text.len > 0 && is_blank(text.ptr[text.len - 1]))
        text.len--;
    return text;
}

static bool doc_insert(TomlDoc *doc, size_t at, TomlLine line) {
    if (doc->count == doc->cap) {
        size_t cap = doc->cap ? doc->cap * 2 : 32;
        TomlLine *lines = arena_array(doc->arena, TomlLine, cap);
        if (!lines) return false;
        if (doc->count > 0) memcpy(lines, doc->lines, doc->count * sizeof *lines);
        doc->lines = lines;
        doc->cap = cap;
    }
    memmove(doc->lines + at + 1, doc->lines + at, (doc->count - at) * sizeof *doc->lines);
    doc->lines[at] = line;
    doc->count++;
    return true;
}

// One escape of a basic string, after the backslash. Returns how many bytes it used, 0 if invalid.
static size_t unescape(Buf *out, Str rest) {
    static const char from[] = "btnfr\"\\";
    static const char to[] = "\b\t\n\f\r\"\\";
    if (rest.len == 0) return 0;
    const char *known = memchr(from, rest.ptr[0], sizeof from - 1);
    if (known) {
        buf_put_u8(out, (uint8_t)to[known - from]);
        return 1;
    }
    if (rest.ptr[0] != 'u' || rest.len < 5) return 0;
    uint8_t be[2];
    if (!hex_read((Str){rest.ptr + 1, 4}, be)) return 0;
    uint32_t c = (uint32_t)be[0] << 8 | be[1];
    if (c >= 0xD800 && c < 0xE000) return 0;
    if (c < 0x80) {
        buf_put_u8(out, (uint8_t)c);
    } else if (c < 0x800) {
        buf_put_u8(out, (uint8_t)(0xC0 | c >> 6));
        buf_put_u8(out, (uint8_t)(0x80 | (c & 0x3F)));
    } else {
        buf_put_u8(out, (uint8_t)(0xE0 | c >> 12));
        buf_put_u8(out, (uint8_t)(0x80 | ((c >> 6) & 0x3F)));
        buf_put_u8(out, (uint8_t)(0x80 | (c & 0x3F)));
    }
    return 5;
}

// A basic string's text up to its closing quotes. *used counts text and closing quotes.
static Err basic_string(Arena *arena, Str text, bool multi_line, Str *out, size_t *used) {
    Err err = ERR_MALFORMED;
    Buf buf = {0};
    size_t quotes = multi_line ? 3 : 1;
    size_t i = 0;
    if (multi_line && text.len > 0 && text.ptr[0] == '\n')
        i++;  // TOML: a first newline is no content
    while (i < text.len) {
        if (text.len - i >= quotes && memcmp(text.ptr + i, "\"\"\"", quotes) == 0) {
            err = OK;
            break;
        }
        if (text.ptr[i] == '\n' && !multi_line) break;
        if (text.ptr[i] != '\\') {
            buf_put_u8(&buf, (uint8_t)text.ptr[i++]);
            continue;
        }
        size_t escape = unescape(&buf, (Str){text.ptr + i + 1, text.len - i - 1});
        if (escape == 0) break;
        i += 1 + escape;
    }
    if (err == OK && !buf_ok(&buf)) err = ERR_NOMEM;
    if (err == OK) {
        *out = arena_str(arena, (Str){(const char *)buf.ptr, buf.len});
        if (!out->ptr) *out = (Str){"", 0};
        *used = i + quotes;
    }
    buf_deinit(&buf);
    return err;
}

// The value after `=`. *used is 0 for a kind of value that we do not interpret.
static Err value_parse(Arena *arena, Str text, Str *out, size_t *used) {
    *used = 0;
    if (text.len >= 3 && memcmp(text.ptr, "\"\"\"", 3) == 0) {
        Err err = basic_string(arena, (Str){text.ptr + 3, text.len - 3}, true, out, used);
        *used += 3;
        return err;
    }
    if (text.len >= 1 && text.ptr[0] == '"') {
        Err err = basic_string(arena, (Str){text.ptr + 1, text.len - 1}, false, out, used);
        *used += 1;
        return err;
    }
    if (text.len >= 1 && text.ptr[0] == '\'') {
        const char *line_end = memchr(text.ptr, '\n', text.len);
        size_t line = line_end ? (size_t)(line_end - text.ptr) : text.len;
        const char *close = memchr(text.ptr + 1, '\'', line - 1);
        if (!close) return ERR_MALFORMED;
        *out = (Str){text.ptr + 1, (size_t)(close - text.ptr - 1)};
        *used = out->len + 2;
    }
    return OK;
}

static Str header_name(Str line, size_t brackets) {
    Str inner = {line.ptr + brackets, line.len - brackets};
    const char *close = memchr(inner.ptr, ']', inner.len);
    return close ? str_trim((Str){inner.ptr, (size_t)(close - inner.ptr)}) : STR_NONE;
}

// One line (or a pair that spans several) at the front of `rest`. *used is its length without the newline.
static Err line_parse(Arena *arena, Str rest, TomlLine *out, size_t *used) {
    const char *newline = memchr(rest.ptr, '\n', rest.len);
    size_t len = newline ? (size_t)(newline - rest.ptr) : rest.len;
    Str line = str_trim((Str){rest.ptr, len});
    *out = (TomlLine){.kind = TOML_OTHER};
    *used = len;
    if (line.len > 0 && line.ptr[0] == '[') {
        bool item = line.len > 1 && line.ptr[1] == '[';
        out->kind = item ? TOML_ITEM : TOML_TABLE;
        out->name = header_name(line, item ? 2 : 1);
        return out->name.ptr ? OK : ERR_MALFORMED;
    }
    if (line.len == 0 || line.ptr[0] == '#') return OK;
    const char *equals = memchr(line.ptr, '=', line.len);
    if (!equals) return ERR_MALFORMED;
    size_t start = (size_t)(equals + 1 - rest.ptr);
    while (start < rest.len && is_blank(rest.ptr[start]))
        start++;
    size_t value_used = 0;
    Err err =
        value_parse(arena, (Str){rest.ptr + start, rest.len - start}, &out->value, &value_used);
    if (err != OK || value_used == 0) return err;
    out->kind = TOML_PAIR;
    out->name = str_trim((Str){line.ptr, (size_t)(equals - line.ptr)});
    newline = memchr(rest.ptr + start + value_used, '\n', rest.len - start - value_used);
    *used = newline ? (size_t)(newline - rest.ptr) : rest.len;
    return OK;
}

Err toml_parse(Arena *arena, Str text, TomlDoc *out, Diag *diag) {
    *out = (TomlDoc){.arena = arena};
    Str all = arena_str(arena, text);
    if (text.len > 0 && !all.ptr) return ERR_NOMEM;
    for (size_t at = 0; at < text.len;) {
        TomlLine line;
        size_t used;
        Err err = line_parse(arena, (Str){all.ptr + at, all.len - at}, &line, &used);
        if (err != OK) return diag_fail_at(diag, err, at, "this line is not valid TOML");
        line.raw = (Str){all.ptr + at, used};
        if (!doc_insert(out, out->count, line)) return ERR_NOMEM;
        at += used + 1;
    }
    return OK;
}

Err toml_write(const TomlDoc *doc, Buf *out) {
    for (size_t i = 0; i < doc->count; i++) {
        buf_put_str(out, doc->lines[i].raw);
        buf_put_u8(out, '\n');
    }
    return buf_ok(out) ? OK : ERR_NOMEM;
}

static bool is_header(const TomlLine *line) {
    return line->kind == TOML_TABLE || line->kind == TOML_ITEM;
}

static size_t section_begin(size_t section) {
    return section == TOML_ROOT ? 0 : section + 1;
}

static size_t section_end(const TomlDoc *doc, size_t section) {
    size_t i = section_begin(section);
    while (i < doc->count && !is_header(&doc->lines[i]))
        i++;
    return i;
}

static TomlLine *pair_find(const TomlDoc *doc, size_t section, Str key) {
    for (size_t i = section_begin(section); i < section_end(doc, section); i++)
        if (doc->lines[i].kind == TOML_PAIR && str_eq(doc->lines[i].name, key))
            return &doc->lines[i];
    return NULL;
}

Str toml_get(const TomlDoc *doc, size_t section, Str key) {
    const TomlLine *line = pair_find(doc, section, key);
    return line ? line->value : STR_NONE;
}

static Err pair_raw(Arena *arena, Str key, Str value, Str *out) {
    Buf raw = {0};
    bool multi_line = memchr(value.ptr, '\n', value.len) != NULL;
    buf_put_str(&raw, key);
    buf_put_str(&raw, multi_line ? STR(" = \"\"\"\n") : STR(" = \""));
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        if (c == '"' || c == '\\')
            buf_printf(&raw, "\\%c", c);
        else if (c < 0x20 && c != '\n')
            buf_printf(&raw, "\\u%04x", c);
        else
            buf_put_u8(&raw, c);
    }
    buf_put_str(&raw, multi_line ? STR("\"\"\"") : STR("\""));
    Err err = buf_ok(&raw) ? OK : ERR_NOMEM;
    if (err == OK) *out = arena_str(arena, (Str){(const char *)raw.ptr, raw.len});
    buf_deinit(&raw);
    return err == OK && !out->ptr ? ERR_NOMEM : err;
}

Err toml_set(TomlDoc *doc, size_t section, Str key, Str value) {
    TomlLine line = {.kind = TOML_PAIR};
    line.name = arena_str(doc->arena, key);
    line.value = arena_str(doc->arena, value.ptr ? value : STR(""));
    if (!line.name.ptr || (value.len > 0 && !line.value.ptr)) return ERR_NOMEM;
    Err err = pair_raw(doc->arena, key, value.ptr ? value : STR(""), &line.raw);
    if (err != OK) return err;
    TomlLine *old = pair_find(doc, section, key);
    if (old) {
        *old = line;
        return OK;
    }
    size_t at = section_end(doc, section);
    while (at > section_begin(section) && doc->lines[at - 1].kind == TOML_OTHER &&
           str_trim(doc->lines[at - 1].raw).len == 0)
        at--;  // before the blank lines that part this section from the next
    return doc_insert(doc, at, line) ? OK : ERR_NOMEM;
}

static void lines_remove(TomlDoc *doc, size_t from, size_t to) {
    memmove(doc->lines + from, doc->lines + to, (doc->count - to) * sizeof *doc->lines);
    doc->count -= to - from;
}

void toml_remove(TomlDoc *doc, size_t section, Str key) {
    const TomlLine *line = pair_find(doc, section, key);
    if (line) lines_remove(doc, (size_t)(line - doc->lines), (size_t)(line - doc->lines) + 1);
}

size_t toml_next_item(const TomlDoc *doc, Str name, size_t after) {
    for (size_t i = after == TOML_NONE ? 0 : after + 1; i < doc->count; i++)
        if (doc->lines[i].kind == TOML_ITEM && str_eq(doc->lines[i].name, name)) return i;
    return TOML_NONE;
}

Err toml_add_item(TomlDoc *doc, Str name, size_t *section) {
    TomlLine line = {.kind = TOML_ITEM, .name = arena_str(doc->arena, name)};
    line.raw = arena_printf(doc->arena, "[[" STR_FMT "]]", STR_ARG(name));
    if (!line.name.ptr || !line.raw.ptr) return ERR_NOMEM;
    if (doc->count > 0 && !doc_insert(doc, doc->count, (TomlLine){.kind = TOML_OTHER}))
        return ERR_NOMEM;
    if (!doc_insert(doc, doc->count, line)) return ERR_NOMEM;
    *section = doc->count - 1;
    return OK;
}

void toml_remove_item(TomlDoc *doc, size_t section) {
    lines_remove(doc, section, section_end(doc, section));
}
