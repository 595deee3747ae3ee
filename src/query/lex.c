// lex.c: SQL text to tokens (spec §1.2).
//
// The whole text is cut at once: it is at most QUERY_TEXT_MAX bytes, and a parser that can look at
// any token needs no memory of where it was. Identifiers keep their case; keywords are recognised
// by the parser. Only Unicode's idea of a letter and of white space comes from a library.
#include <unictype.h>
#include <unistr.h>

#include "query/sql.h"

typedef struct Lexer {
    Str text;
    size_t at;
    Arena *arena;
    Buf tokens;  // SqlToken each
    Diag *diag;
} Lexer;

static void text_place(Str text, size_t at, unsigned *line, unsigned *column) {
    *line = 1;
    *column = 1;
    for (size_t i = 0; i < at; i++) {
        if (text.ptr[i] == '\n') {
            ++*line;
            *column = 1;
        } else if (((uint8_t)text.ptr[i] & 0xc0) != 0x80) {
            ++*column;
        }
    }
}

static Err lex_fail(const Lexer *lex, size_t at, const char *what) {
    unsigned line, column;
    text_place(lex->text, at, &line, &column);
    return diag_fail_at(lex->diag,
                        ERR_INVALID,
                        at,
                        "sql parser error: %s at Line: %u, Column %u",
                        what,
                        line,
                        column);
}

static char peek(const Lexer *lex, size_t ahead) {  // 0 past the end
    return ahead < lex->text.len - lex->at ? lex->text.ptr[lex->at + ahead] : 0;
}

// The character at the cursor and its length; text was checked to be UTF-8.
static ucs4_t rune(const Lexer *lex, size_t *len) {
    ucs4_t c = 0;
    const uint8_t *p = (const uint8_t *)lex->text.ptr + lex->at;
    *len = (size_t)u8_mbtouc(&c, p, lex->text.len - lex->at);
    return c;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
static bool is_hex(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool ident_starts(const Lexer *lex, size_t *len) {
    char c = peek(lex, 0);
    *len = 1;
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_') return true;
    if ((uint8_t)c < 0x80) return false;
    return uc_is_property_alphabetic(rune(lex, len));
}

static bool ident_goes_on(const Lexer *lex, size_t *len) {
    char c = peek(lex, 0);
    if (is_digit(c) || c == '$') {
        *len = 1;
        return true;
    }
    return lex->at < lex->text.len && ident_starts(lex, len);
}

static Err token_add(Lexer *lex, SqlTokenKind kind, size_t at, Str text) {
    SqlToken token = {.kind = kind, .at = (uint32_t)at, .end = (uint32_t)lex->at, .text = text};
    buf_put(&lex->tokens, &token, sizeof token);
    return buf_ok(&lex->tokens) ? OK : ERR_NOMEM;
}

static Str text_since(const Lexer *lex, size_t at) {
    return (Str){lex->text.ptr + at, lex->at - at};
}

static Err skip_block_comment(Lexer *lex) {
    size_t at = lex->at;
    size_t depth = 0;
    do {
        if (lex->at >= lex->text.len) return lex_fail(lex, at, "Unexpected EOF while in a comment");
        if (peek(lex, 0) == '/' && peek(lex, 1) == '*') {
            depth++;
            lex->at += 2;
        } else if (peek(lex, 0) == '*' && peek(lex, 1) == '/') {
            depth--;
            lex->at += 2;
        } else {
            lex->at++;
        }
    } while (depth > 0);
    return OK;
}

static Err skip_blank(Lexer *lex) {
    while (lex->at < lex->text.len) {
        char c = peek(lex, 0);
        size_t len = 1;
        if (c == '-' && peek(lex, 1) == '-') {
            while (lex->at < lex->text.len && peek(lex, 0) != '\n') {
                lex->at++;
            }
        } else if (c == '/' && peek(lex, 1) == '*') {
            Err err = skip_block_comment(lex);
            if (err != OK) return err;
        } else if (uc_is_property_white_space(rune(lex, &len))) {
            lex->at += len;
        } else {
            return OK;
        }
    }
    return OK;
}

// The body of a quoted token whose opening quote is at the cursor; a doubled quote stands for one.
static Err quoted_body(Lexer *lex, char quote, const char *unterminated, Str *out) {
    size_t opened = lex->at++;
    size_t begin = lex->at, doubled = 0;
    for (;; lex->at++) {
        if (lex->at >= lex->text.len) return lex_fail(lex, opened, unterminated);
        if (peek(lex, 0) != quote) continue;
        if (peek(lex, 1) != quote) break;
        doubled++;
        lex->at++;
    }
    *out = text_since(lex, begin);
    lex->at++;
    if (doubled == 0) return OK;

    char *plain = arena_alloc(lex->arena, out->len);
    if (!plain) return ERR_NOMEM;
    size_t n = 0;
    for (size_t i = 0; i < out->len; i++) {
        plain[n++] = out->ptr[i];
        if (out->ptr[i] == quote) i++;
    }
    *out = (Str){plain, n};
    return OK;
}

static Err lex_quoted(Lexer *lex, SqlTokenKind kind, size_t at) {
    char quote = peek(lex, 0);
    Str body;
    Err err = quoted_body(lex,
                          quote,
                          quote == '"' ? "Expected close delimiter '\"' before EOF."
                                       : "Unterminated string literal",
                          &body);
    if (err != OK) return err;
    if (kind == TOK_ODD_LITERAL) body = text_since(lex, at);
    return token_add(lex, kind, at, body);
}

static Err lex_number(Lexer *lex) {
    size_t at = lex->at;
    while (is_digit(peek(lex, 0))) {
        lex->at++;
    }
    if (peek(lex, 0) == '.') {
        lex->at++;
        while (is_digit(peek(lex, 0))) {
            lex->at++;
        }
    }
    if (peek(lex, 0) == 'e' || peek(lex, 0) == 'E') {
        size_t sign = peek(lex, 1) == '+' || peek(lex, 1) == '-';
        if (is_digit(peek(lex, 1 + sign))) {
            lex->at += 2 + sign;
            while (is_digit(peek(lex, 0))) {
                lex->at++;
            }
        }
    }
    Str text = text_since(lex, at);
    if (peek(lex, 0) == 'L') lex->at++;
    return token_add(lex, TOK_NUMBER, at, text);
}

static Err lex_hex(Lexer *lex) {
    size_t at = lex->at;
    lex->at += 2;
    while (is_hex(peek(lex, 0))) {
        lex->at++;
    }
    return token_add(lex, TOK_HEX, at, text_since(lex, at + 2));
}

static Err lex_word(Lexer *lex) {
    size_t at = lex->at, len;
    while (ident_goes_on(lex, &len)) {
        lex->at += len;
    }
    return token_add(lex, TOK_WORD, at, text_since(lex, at));
}

// $$…$$, $tag$…$tag$ and $1: none is supported, all must be recognised to be named in the error.
static Err lex_dollar(Lexer *lex) {
    size_t at = lex->at++, len;
    while (ident_goes_on(lex, &len) && peek(lex, 0) != '$') {
        lex->at += len;
    }
    if (peek(lex, 0) != '$') return token_add(lex, TOK_ODD_LITERAL, at, text_since(lex, at));
    lex->at++;
    Str tag = text_since(lex, at);
    for (;; lex->at++) {
        if (lex->text.len - lex->at < tag.len)
            return lex_fail(lex, at, "Unterminated dollar-quoted string");
        if (memcmp(lex->text.ptr + lex->at, tag.ptr, tag.len) == 0) break;
    }
    lex->at += tag.len;
    return token_add(lex, TOK_ODD_LITERAL, at, text_since(lex, at));
}

static Err lex_at_name(Lexer *lex) {
    size_t at = lex->at++, len;
    while (ident_goes_on(lex, &len)) {
        lex->at += len;
    }
    return token_add(lex, TOK_ODD_LITERAL, at, text_since(lex, at));
}

static Err lex_symbol(Lexer *lex) {
    static const struct {
        char text[3];
        SqlTokenKind kind;
    } symbols[] = {
        // The longer ones first.
        {"==", TOK_EQ},    {"<>", TOK_NE},    {"!=", TOK_NE},       {"<=", TOK_LE},
        {">=", TOK_GE},    {"||", TOK_OTHER}, {"::", TOK_OTHER},    {"=", TOK_EQ},
        {"<", TOK_LT},     {">", TOK_GT},     {"+", TOK_PLUS},      {"-", TOK_MINUS},
        {"(", TOK_LPAREN}, {")", TOK_RPAREN}, {",", TOK_COMMA},     {".", TOK_PERIOD},
        {"*", TOK_STAR},   {":", TOK_COLON},  {";", TOK_SEMICOLON}, {"?", TOK_ODD_LITERAL},
    };
    size_t at = lex->at;
    for (size_t i = 0; i < ARRAY_LEN(symbols); i++) {
        size_t len = strlen(symbols[i].text);
        if (peek(lex, 0) != symbols[i].text[0] || (len == 2 && peek(lex, 1) != symbols[i].text[1]))
            continue;
        lex->at += len;
        return token_add(lex, symbols[i].kind, at, text_since(lex, at));
    }
    size_t len;
    rune(lex, &len);
    lex->at += len;
    return token_add(lex, TOK_OTHER, at, text_since(lex, at));
}

static Err lex_one(Lexer *lex) {
    char c = peek(lex, 0), next = peek(lex, 1);
    size_t at = lex->at, len;
    if (next == '\'' && c && strchr("xXnNeEbB", c)) {
        lex->at++;
        return lex_quoted(lex, c == 'x' || c == 'X' ? TOK_HEX : TOK_ODD_LITERAL, at);
    }
    if (c == '\'') return lex_quoted(lex, TOK_STRING, at);
    if (c == '"') return lex_quoted(lex, TOK_QUOTED, at);
    if (c == '0' && next == 'x') return lex_hex(lex);
    if (is_digit(c) || (c == '.' && is_digit(next))) return lex_number(lex);
    if (c == '$') return lex_dollar(lex);
    if (c == '@') return lex_at_name(lex);
    if (ident_starts(lex, &len)) return lex_word(lex);
    return lex_symbol(lex);
}

static Err lex_all(Lexer *lex) {
    for (;;) {
        Err err = skip_blank(lex);
        if (err != OK) return err;
        if (lex->at >= lex->text.len) return token_add(lex, TOK_END, lex->at, STR("EOF"));
        if ((err = lex_one(lex)) != OK) return err;
    }
}

Err sql_lex(Str text, Arena *arena, SqlToken **out, uint32_t *count, Diag *diag) {
    Lexer lex = {.text = text, .arena = arena, .diag = diag};
    Err err = lex_all(&lex);
    if (err == OK) {
        Bytes copy = arena_bytes(arena, buf_bytes(&lex.tokens));
        *out = (SqlToken *)(void *)copy.ptr;
        *count = (uint32_t)(copy.len / sizeof(SqlToken));
        if (!copy.ptr) err = ERR_NOMEM;
    }
    buf_deinit(&lex.tokens);
    return err;
}

bool statement_split(Str *rest, Str *first) {
    Arena scratch = {0};
    Diag diag;
    Lexer lex = {.text = *rest, .arena = &scratch, .diag = &diag};
    size_t begin = 0, end = rest->len;
    bool any = false;
    for (;;) {
        // What cannot be cut is left whole: whoever compiles it says what is wrong.
        if (skip_blank(&lex) != OK) {
            any = true;
            break;
        }
        size_t at = lex.at;
        if (at >= lex.text.len) break;
        bool semicolon = peek(&lex, 0) == ';';
        if (semicolon && any) {
            end = lex.at++;
            break;
        }
        if (!any) begin = semicolon ? at + 1 : at;
        any |= !semicolon;
        lex.tokens.len = 0;
        if (lex_one(&lex) != OK) {
            lex.at = lex.text.len;
            break;
        }
    }
    buf_deinit(&lex.tokens);
    arena_deinit(&scratch);
    size_t next = end < rest->len ? lex.at : rest->len;
    *first = (Str){rest->ptr + begin, end - begin};
    *rest = (Str){rest->ptr + next, rest->len - next};
    return any;
}
