// lex.c: see lex.h.
//
// The one hard question is whether a slash divides or begins a regular expression, and it hangs on
// another: whether a closing brace ended a block or an object. Both are answered from the tokens
// before, which is right for everything that compilers and people write; a mistake makes the
// engine refuse the script, it does not change its meaning silently.
#include "host/js/lex.h"

#include "base/mem.h"

typedef struct Lexer {
    Tokens *tokens;
    Buf open;  // u32 each: indices of the brackets not yet closed
    Diag *diag;
    size_t at;
    bool newline;
    bool case_pending;  // `case` or `default` was read, its colon was not
} Lexer;

static Err lex_fail(Lexer *lex, size_t at, const char *what) {
    return diag_fail_at(lex->diag, ERR_INVALID, at, "SyntaxError: %s", what);
}

static uint8_t peek(const Lexer *lex, size_t ahead) {  // 0 beyond the end
    size_t at = lex->at + ahead;
    return at < lex->tokens->source.len ? (uint8_t)lex->tokens->source.ptr[at] : 0;
}

static bool at_end(const Lexer *lex) {
    return lex->at >= lex->tokens->source.len;
}

static bool is_name_byte(uint8_t c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '$' || c == '\\' || c >= 0x80;
}

// U+2028, U+2029 (E2 80 A8, A9), U+00A0 (C2 A0), U+FEFF (EF BB BF): not parts of names.
static size_t wide_space(const Lexer *lex, bool *newline) {
    uint8_t a = peek(lex, 0), b = peek(lex, 1), c = peek(lex, 2);
    if (a == 0xe2 && b == 0x80 && (c == 0xa8 || c == 0xa9)) {
        *newline = true;
        return 3;
    }
    if (a == 0xc2 && b == 0xa0) return 2;
    return a == 0xef && b == 0xbb && c == 0xbf ? 3 : 0;
}

// ---- looking back

Str token_text(const Tokens *tokens, uint32_t at) {
    if (at >= tokens->count) return STR_NONE;
    const Token *token = &tokens->list[at];
    return (Str){tokens->source.ptr + token->start, token->end - token->start};
}

bool token_is_kind(const Tokens *tokens, uint32_t at, TokenKind kind) {
    return at < tokens->count && tokens->list[at].kind == kind;
}

bool token_is(const Tokens *tokens, uint32_t at, const char *text) {
    if (at >= tokens->count) return false;
    uint8_t kind = tokens->list[at].kind;
    if (kind != TOKEN_NAME && kind != TOKEN_PUNCT) return false;
    return str_eq(token_text(tokens, at), str_from(text));
}

bool token_is_word(const Tokens *tokens, uint32_t at, const char *text) {
    if (!token_is(tokens, at, text)) return false;
    return at == 0 || !(token_is(tokens, at - 1, ".") || token_is(tokens, at - 1, "?."));
}

static bool word_among(const Tokens *tokens, uint32_t at, const char *const *words, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (token_is_word(tokens, at, words[i])) return true;
    return false;
}

// `of` between the two sides of a for loop, not a variable of that name.
static bool is_loop_of(const Tokens *tokens, uint32_t at) {
    static const char *const declares[] = {"const", "let", "var", "using"};
    if (at == 0 || !token_is(tokens, at, "of")) return false;
    if (token_is_kind(tokens, at - 1, TOKEN_NAME))
        return !word_among(tokens, at - 1, declares, ARRAY_LEN(declares));
    return token_is(tokens, at - 1, "]") || token_is(tokens, at - 1, "}");
}

// Keywords after which an expression begins.
static bool is_operator_word(const Tokens *tokens, uint32_t at) {
    static const char *const words[] = {"return",
                                        "typeof",
                                        "instanceof",
                                        "in",
                                        "new",
                                        "delete",
                                        "void",
                                        "throw",
                                        "case",
                                        "do",
                                        "else",
                                        "yield",
                                        "await",
                                        "extends",
                                        "default"};
    return word_among(tokens, at, words, ARRAY_LEN(words)) || is_loop_of(tokens, at);
}

static bool is_control_paren(const Tokens *tokens, uint32_t close) {  // of if (…), while (…), …
    static const char *const words[] = {"if", "while", "for", "with"};
    uint32_t open = tokens->list[close].partner;
    if (open > 1 && token_is(tokens, open - 1, "await")) open--;  // for await (…)
    return open > 0 && word_among(tokens, open - 1, words, ARRAY_LEN(words));
}

static bool ends_operand(const Tokens *tokens, uint32_t at) {
    const Token *token = &tokens->list[at];
    switch ((TokenKind)token->kind) {
    case TOKEN_NAME: return !is_operator_word(tokens, at);
    case TOKEN_NUMBER:
    case TOKEN_STRING:
    case TOKEN_REGEX:
    case TOKEN_TEMPLATE:
    case TOKEN_TEMPLATE_CLOSE: return true;
    case TOKEN_TEMPLATE_OPEN:
    case TOKEN_TEMPLATE_MIDDLE: return false;
    case TOKEN_PUNCT: break;
    }
    if (token_is(tokens, at, "]")) return true;
    if (token_is(tokens, at, ")")) return !is_control_paren(tokens, at);
    if (token_is(tokens, at, "}")) return token->object;
    if (token_is(tokens, at, "++") || token_is(tokens, at, "--"))
        return at > 0 && ends_operand(tokens, at - 1);
    return false;
}

static bool regex_may_start(const Tokens *tokens) {
    return tokens->count == 0 || !ends_operand(tokens, tokens->count - 1);
}

static const Token *innermost(const Lexer *lex) {  // the open bracket around this place, or NULL
    if (!lex->open.len) return NULL;
    return &lex->tokens->list[load_u32(lex->open.ptr + lex->open.len - sizeof(uint32_t))];
}

static bool inside_block(const Lexer *lex) {
    const Token *open = innermost(lex);
    return !open || (lex->tokens->source.ptr[open->start] == '{' && !open->object);
}

// `name:` where a statement begins, in a block.
static bool is_label_colon(const Lexer *lex) {
    const Tokens *tokens = lex->tokens;
    uint32_t n = tokens->count;
    if (!inside_block(lex) || n == 0 || !token_is_kind(tokens, n - 1, TOKEN_NAME)) return false;
    return n == 1 || token_is(tokens, n - 2, "{") || token_is(tokens, n - 2, "}") ||
           token_is(tokens, n - 2, ";") || token_is(tokens, n - 2, ")");
}

static bool brace_opens_object(const Lexer *lex) {
    static const char *const block_words[] = {"else", "do", "try", "finally"};
    static const char *const pattern_words[] = {"const", "let", "var", "import", "export"};
    const Tokens *tokens = lex->tokens;
    if (tokens->count == 0) return false;
    uint32_t before = tokens->count - 1;
    const Token *token = &tokens->list[before];
    if (token->kind == TOKEN_NAME) {
        if (word_among(tokens, before, block_words, ARRAY_LEN(block_words))) return false;
        if (word_among(tokens, before, pattern_words, ARRAY_LEN(pattern_words))) return true;
        bool ended = lex->newline && token_is_word(tokens, before, "return");
        return is_operator_word(tokens, before) && !ended;
    }
    if (token->kind == TOKEN_TEMPLATE_OPEN || token->kind == TOKEN_TEMPLATE_MIDDLE) return true;
    if (token->kind != TOKEN_PUNCT) return false;
    static const char *const block_marks[] = {")", "]", ";", "{", "}", "=>", "++", "--"};
    for (size_t i = 0; i < ARRAY_LEN(block_marks); i++)
        if (token_is(tokens, before, block_marks[i])) return false;
    return !token->colon;
}

bool token_starts_statement(const Tokens *tokens, uint32_t at) {
    if (at == 0 || at >= tokens->count || !tokens->list[at].newline) return false;
    bool closes = token_is(tokens, at - 1, "}") || token_is(tokens, at - 1, ")");
    if (!closes && !ends_operand(tokens, at - 1)) return false;
    switch ((TokenKind)tokens->list[at].kind) {
    case TOKEN_NAME: return !token_is(tokens, at, "in") && !token_is(tokens, at, "instanceof");
    case TOKEN_NUMBER:
    case TOKEN_STRING:
    case TOKEN_REGEX: return true;
    case TOKEN_TEMPLATE:
    case TOKEN_TEMPLATE_OPEN:
    case TOKEN_TEMPLATE_MIDDLE:
    case TOKEN_TEMPLATE_CLOSE: return false;
    case TOKEN_PUNCT: break;
    }
    if (token_is(tokens, at, "!")) return !token_is(tokens, at + 1, "=");
    return token_is(tokens, at, "{") || token_is(tokens, at, "~") || token_is(tokens, at, "@") ||
           token_is(tokens, at, "++") || token_is(tokens, at, "--");
}

// ---- taking tokens

static Err token_add(Lexer *lex, TokenKind kind, size_t start, size_t end) {
    Tokens *tokens = lex->tokens;
    if (tokens->count == tokens->cap) {
        uint32_t cap = tokens->cap ? tokens->cap * 2 : 1024;
        Token *list = mem_realloc(tokens->list, cap * sizeof *list);
        if (!list) return diag_fail(lex->diag, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
        tokens->list = list;
        tokens->cap = cap;
    }
    tokens->list[tokens->count] = (Token){.start = (uint32_t)start,
                                          .end = (uint32_t)end,
                                          .partner = tokens->count,
                                          .kind = (uint8_t)kind,
                                          .newline = lex->newline};
    tokens->count++;
    lex->at = end;
    lex->newline = false;
    return OK;
}

static Err bracket_open(Lexer *lex) {  // the last token
    buf_put_u32(&lex->open, lex->tokens->count - 1);
    return buf_ok(&lex->open) ? OK : diag_fail(lex->diag, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
}

// The last token closes the innermost bracket, which must be `wanted`.
static Err bracket_close(Lexer *lex, char wanted) {
    Tokens *tokens = lex->tokens;
    const Token *open = innermost(lex);
    uint32_t last = tokens->count - 1;
    // `}…${` stands as an opening template too, and begins with its brace
    if (!open)
        return lex_fail(lex, tokens->list[last].start, "a bracket closes that was not opened");
    char mark = tokens->source.ptr[open->start];
    if (open->kind == TOKEN_TEMPLATE_OPEN || open->kind == TOKEN_TEMPLATE_MIDDLE) mark = '`';
    if (mark != wanted) return lex_fail(lex, tokens->list[last].start, "brackets do not match");
    uint32_t first = (uint32_t)(open - tokens->list);
    tokens->list[first].partner = last;
    tokens->list[last].partner = first;
    tokens->list[last].object = tokens->list[first].object;
    lex->open.len -= sizeof(uint32_t);
    return OK;
}

static Err lex_string(Lexer *lex) {
    size_t start = lex->at, at = start + 1, len = lex->tokens->source.len;
    const char *text = lex->tokens->source.ptr;
    while (at < len && text[at] != text[start] && text[at] != '\n') {
        if (text[at] == '\\' && len - at > 2 && text[at + 1] == '\r' && text[at + 2] == '\n') at++;
        at += text[at] == '\\' || text[at] == '\r' ? 2 : 1;
    }
    if (at >= len || text[at] == '\n') return lex_fail(lex, start, "a string does not end");
    return token_add(lex, TOKEN_STRING, start, at + 1);
}

// From a backquote, or from the brace that ends a substitution.
static Err lex_template(Lexer *lex, bool continues) {
    size_t start = lex->at, at = start + 1, len = lex->tokens->source.len;
    const char *text = lex->tokens->source.ptr;
    while (at < len && text[at] != '`' && !(text[at] == '$' && at + 1 < len && text[at + 1] == '{'))
        at += text[at] == '\\' ? 2 : 1;
    if (at >= len) return lex_fail(lex, start, "a template does not end");
    bool closes = text[at] == '`';
    Err err = OK;
    if (!continues && closes) return token_add(lex, TOKEN_TEMPLATE, start, at + 1);
    TokenKind kind = !continues ? TOKEN_TEMPLATE_OPEN
                     : closes   ? TOKEN_TEMPLATE_CLOSE
                                : TOKEN_TEMPLATE_MIDDLE;
    if ((err = token_add(lex, kind, start, at + (closes ? 1 : 2))) != OK) return err;
    if (continues && (err = bracket_close(lex, '`')) != OK) return err;
    return closes ? OK : bracket_open(lex);
}

static Err lex_regex(Lexer *lex) {
    size_t start = lex->at, at = start + 1, len = lex->tokens->source.len;
    const char *text = lex->tokens->source.ptr;
    bool in_class = false;
    while (at < len && text[at] != '\n' && (in_class || text[at] != '/')) {
        if (text[at] == '[') in_class = true;
        if (text[at] == ']') in_class = false;
        at += text[at] == '\\' ? 2 : 1;
    }
    if (at >= len || text[at] == '\n')
        return lex_fail(lex, start, "a regular expression does not end");
    at++;
    while (at < len && is_name_byte((uint8_t)text[at]))
        at++;
    return token_add(lex, TOKEN_REGEX, start, at);
}

static Err lex_name(Lexer *lex) {
    size_t start = lex->at, at = start + 1, len = lex->tokens->source.len;
    const char *text = lex->tokens->source.ptr;
    while (at < len && is_name_byte((uint8_t)text[at])) {
        bool escape = text[at] == '\\' && at + 2 < len && text[at + 2] == '{';  // \u{61}
        const char *close = escape ? memchr(text + at, '}', len - at) : NULL;
        at = close ? (size_t)(close - text) + 1 : at + 1;
    }
    Err err = token_add(lex, TOKEN_NAME, start, at);
    if (err != OK) return err;
    uint32_t last = lex->tokens->count - 1;
    if (token_is_word(lex->tokens, last, "case") || token_is_word(lex->tokens, last, "default"))
        lex->case_pending = inside_block(lex);
    return OK;
}

static Err lex_number(Lexer *lex) {
    size_t start = lex->at, at = start, len = lex->tokens->source.len;
    const char *text = lex->tokens->source.ptr;
    bool hex = len - at > 1 && text[at] == '0' && (text[at + 1] | 0x20) == 'x';
    while (at < len) {
        uint8_t c = (uint8_t)text[at];
        bool sign = (c == '+' || c == '-') && !hex && at > start && (text[at - 1] | 0x20) == 'e';
        if (!is_name_byte(c) && c != '.' && !sign) break;
        at++;
    }
    return token_add(lex, TOKEN_NUMBER, start, at);
}

static size_t punct_len(const Lexer *lex) {
    uint8_t a = peek(lex, 0), b = peek(lex, 1), c = peek(lex, 2);
    if (a == '.' && b == '.' && c == '.') return 3;
    if (a == '=' && b == '>') return 2;
    if ((a == '+' || a == '-') && a == b) return 2;
    if (a == '?' && b == '.' && !(c >= '0' && c <= '9')) return 2;
    return 1;
}

static Err lex_punct(Lexer *lex) {
    uint8_t c = peek(lex, 0);
    bool object = c == '{' && brace_opens_object(lex);
    bool colon = c == ':' && (is_label_colon(lex) || (lex->case_pending && inside_block(lex)));
    Err err = token_add(lex, TOKEN_PUNCT, lex->at, lex->at + punct_len(lex));
    if (err != OK) return err;
    Token *token = &lex->tokens->list[lex->tokens->count - 1];
    token->object = object;
    token->colon = colon;
    if (colon) lex->case_pending = false;
    switch (c) {
    case '(':
    case '[':
    case '{': return bracket_open(lex);
    case ')': return bracket_close(lex, '(');
    case ']': return bracket_close(lex, '[');
    case '}': return bracket_close(lex, '{');
    default: return OK;
    }
}

// ---- between tokens

static void skip_line(Lexer *lex) {
    size_t start = lex->at;
    Str rest = {lex->tokens->source.ptr + start, lex->tokens->source.len - start};
    const char *newline = memchr(rest.ptr, '\n', rest.len);
    lex->at = newline ? start + (size_t)(newline - rest.ptr) : lex->tokens->source.len;
    if (!str_starts(rest, STR("//# sourceMappingURL="))) return;
    lex->tokens->map_start = (uint32_t)start;
    lex->tokens->map_end = (uint32_t)lex->at;
}

static Err skip_comment(Lexer *lex) {
    size_t start = lex->at;
    for (lex->at += 2; !(peek(lex, 0) == '*' && peek(lex, 1) == '/'); lex->at++) {
        if (at_end(lex)) return lex_fail(lex, start, "a comment does not end");
        if (peek(lex, 0) == '\n') lex->newline = true;
    }
    lex->at += 2;
    return OK;
}

static Err skip_space(Lexer *lex) {
    Err err = OK;
    while (!at_end(lex)) {
        uint8_t c = peek(lex, 0);
        size_t wide = c >= 0x80 ? wide_space(lex, &lex->newline) : 0;
        if (c == '\n' || c == '\r') lex->newline = true;
        if (c == '/' && peek(lex, 1) == '/')
            skip_line(lex);
        else if (c == '/' && peek(lex, 1) == '*') {
            if ((err = skip_comment(lex)) != OK) return err;
        } else if (c == ' ' || (c >= '\t' && c <= '\r'))
            lex->at++;
        else if (wide)
            lex->at += wide;
        else
            break;
    }
    return OK;
}

static Err lex_token(Lexer *lex) {
    uint8_t c = peek(lex, 0);
    const Token *open = innermost(lex);
    bool in_template =
        open && (open->kind == TOKEN_TEMPLATE_OPEN || open->kind == TOKEN_TEMPLATE_MIDDLE);
    if (c == '\'' || c == '"') return lex_string(lex);
    if (c == '`') return lex_template(lex, false);
    if (c == '}' && in_template) return lex_template(lex, true);
    if ((c >= '0' && c <= '9') || (c == '.' && peek(lex, 1) >= '0' && peek(lex, 1) <= '9'))
        return lex_number(lex);
    if (is_name_byte(c) || c == '#') return lex_name(lex);
    if (c == '/' && regex_may_start(lex->tokens)) return lex_regex(lex);
    return lex_punct(lex);
}

Err tokens_read(Str source, Tokens *out, Diag *diag) {
    *out = (Tokens){.source = source};
    if (source.len > UINT32_MAX / 2) return diag_fail(diag, ERR_INVALID, "the module is too large");
    Lexer lex = {.tokens = out, .diag = diag};
    Err err = OK;
    if (str_starts(source, STR("#!"))) skip_line(&lex);
    for (;;) {
        if ((err = skip_space(&lex)) != OK || at_end(&lex)) break;
        if ((err = lex_token(&lex)) != OK) break;
    }
    const Token *open = err == OK ? innermost(&lex) : NULL;
    if (open) err = lex_fail(&lex, open->start, "a bracket is not closed");
    buf_deinit(&lex.open);
    return err;
}

void tokens_deinit(Tokens *tokens) {
    mem_free(tokens->list);
    *tokens = (Tokens){0};
}
