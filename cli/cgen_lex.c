// cgen_lex.c: C source as tokens. Comments vanish; a preprocessor line is one token, because the
// generator does not look inside but must not overlook one in the middle of a declaration.
#include <stdarg.h>
#include <stdio.h>

#include "cli/cgen.h"

void *cgen_alloc(size_t bytes) {
    void *at = arena_zalloc(cli_arena(), bytes);
    if (!at) cli_die("out of memory");
    return at;
}

void cgen_fail(Cgen *gen, const Token *at, const char *fmt, ...) {
    va_list arguments;
    char text[1024];
    va_start(arguments, fmt);
    vsnprintf(text, sizeof text, fmt, arguments);
    va_end(arguments);
    buf_printf(&gen->errors, "%s:%u: error: %s\n", at->source->path, at->line, text);
    gen->error_count++;
}

typedef struct Lexer {
    Cgen *gen;
    const CgenSource *source;
    const char *at, *end;
    uint32_t line;
    bool at_line_start;
    size_t cap;
} Lexer;

static void token_add(Lexer *lexer, TokenKind kind, const char *from, uint32_t line) {
    Cgen *gen = lexer->gen;
    if (gen->token_count == lexer->cap) {
        size_t cap = lexer->cap ? lexer->cap * 2 : 1024;
        Token *grown = cgen_alloc(cap * sizeof *grown);
        if (gen->token_count) memcpy(grown, gen->tokens, gen->token_count * sizeof *grown);
        gen->tokens = grown;
        lexer->cap = cap;
    }
    gen->tokens[gen->token_count++] = (Token){.kind = kind,
                                              .text = {from, (size_t)(lexer->at - from)},
                                              .source = lexer->source,
                                              .line = line};
}

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80;
}
static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool looking_at(const Lexer *lexer, const char *text) {
    size_t len = strlen(text);
    return (size_t)(lexer->end - lexer->at) >= len && memcmp(lexer->at, text, len) == 0;
}

static void step(Lexer *lexer) {
    if (*lexer->at == '\n') lexer->line++;
    lexer->at++;
}

static void comment_skip(Lexer *lexer) {
    bool is_block = lexer->at[1] == '*';
    lexer->at += 2;
    while (lexer->at < lexer->end) {
        if (!is_block && *lexer->at == '\n') return;
        if (is_block && looking_at(lexer, "*/")) {
            lexer->at += 2;
            return;
        }
        step(lexer);
    }
}

// A directive ends with its line, unless a backslash or a comment carries it on.
static void directive_take(Lexer *lexer) {
    const char *from = lexer->at;
    uint32_t line = lexer->line;
    while (lexer->at < lexer->end && *lexer->at != '\n') {
        if (looking_at(lexer, "/*")) {
            comment_skip(lexer);
            continue;
        }
        if (looking_at(lexer, "\\\n")) step(lexer);
        step(lexer);
    }
    token_add(lexer, TOKEN_DIRECTIVE, from, line);
}

static void literal_take(Lexer *lexer) {
    const char *from = lexer->at;
    uint32_t line = lexer->line;
    char quote = *lexer->at++;
    while (lexer->at < lexer->end && *lexer->at != quote && *lexer->at != '\n') {
        if (*lexer->at == '\\' && lexer->at + 1 < lexer->end) step(lexer);
        step(lexer);
    }
    if (lexer->at < lexer->end && *lexer->at == quote)
        lexer->at++;
    else
        cgen_fail(lexer->gen,
                  &(Token){.source = lexer->source, .line = line},
                  "this literal has no end");
    token_add(lexer, quote == '"' ? TOKEN_TEXT : TOKEN_NUMBER, from, line);
}

static void word_take(Lexer *lexer) {
    const char *from = lexer->at;
    TokenKind kind = is_digit(*from) ? TOKEN_NUMBER : TOKEN_WORD;
    // In a number a sign may follow an exponent, and a point may stand anywhere.
    while (lexer->at < lexer->end) {
        char c = *lexer->at, before = lexer->at > from ? lexer->at[-1] : 0;
        bool exponent = kind == TOKEN_NUMBER && (c == '-' || c == '+') &&
                        (before == 'e' || before == 'E') && !(from[0] == '0' && from[1] == 'x');
        if (!is_letter(c) && !is_digit(c) && !exponent && !(kind == TOKEN_NUMBER && c == '.'))
            break;
        lexer->at++;
    }
    token_add(lexer, kind, from, lexer->line);
}

static void token_take(Lexer *lexer) {
    char c = *lexer->at;
    if (c == '\n' || c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v') {
        if (c == '\n') lexer->at_line_start = true;
        step(lexer);
        return;
    }
    if (looking_at(lexer, "\\\n")) {
        lexer->at++;
        step(lexer);
        return;
    }
    if (looking_at(lexer, "/*") || looking_at(lexer, "//")) {
        comment_skip(lexer);
        return;
    }
    bool is_first = lexer->at_line_start;
    lexer->at_line_start = false;
    if (c == '#' && is_first) {
        directive_take(lexer);
    } else if (c == '"' || c == '\'') {
        literal_take(lexer);
    } else if (is_letter(c) || is_digit(c)) {
        word_take(lexer);
    } else {
        lexer->at++;
        token_add(lexer, TOKEN_PUNCT, lexer->at - 1, lexer->line);
    }
}

void cgen_lex(Cgen *gen) {
    Lexer lexer = {.gen = gen};
    for (uint32_t i = 0; i < gen->source_count; i++) {
        lexer.source = &gen->sources[i];
        lexer.at = lexer.source->text.ptr;
        lexer.end = lexer.at + lexer.source->text.len;
        lexer.line = 1;
        lexer.at_line_start = true;
        while (lexer.at < lexer.end)
            token_take(&lexer);
        token_add(&lexer, TOKEN_END, lexer.at, lexer.line);
    }
}

// ── reading tokens ─────────────────────────────────────────────────────────────────────────────

bool ctoken_is(const Token *token, const char *text) {
    return str_eq(token->text, str_from(text)) && token->kind != TOKEN_TEXT;
}

bool ctokens_word(Tokens *in, const char *word) {
    if (in->at == in->end || in->at->kind != TOKEN_WORD || !ctoken_is(in->at, word)) return false;
    in->at++;
    return true;
}

bool ctokens_punct(Tokens *in, char punct) {
    if (in->at == in->end || in->at->kind != TOKEN_PUNCT || in->at->text.ptr[0] != punct)
        return false;
    in->at++;
    return true;
}

bool ctokens_group(Tokens *in, char open, char close, Tokens *inside) {
    Tokens at = *in;
    if (!ctokens_punct(&at, open)) return false;
    inside->at = at.at;
    for (uint32_t depth = 1; at.at < at.end && at.at->kind != TOKEN_END; at.at++) {
        if (at.at->kind != TOKEN_PUNCT) continue;
        char c = at.at->text.ptr[0];
        depth += c == open;
        depth -= c == close;
        if (depth > 0) continue;
        inside->end = at.at;
        in->at = at.at + 1;
        return true;
    }
    return false;
}

bool ctokens_item(Tokens *in, Tokens *item) {
    if (in->at == in->end) return false;
    item->at = in->at;
    int depth = 0;
    for (; in->at < in->end; in->at++) {
        if (in->at->kind != TOKEN_PUNCT) continue;
        char c = in->at->text.ptr[0];
        depth += c == '(' || c == '{' || c == '[';
        depth -= c == ')' || c == '}' || c == ']';
        if (c == ',' && depth == 0) break;
    }
    item->end = in->at;
    ctokens_punct(in, ',');
    return true;
}

static char unescaped(char c) {
    switch (c) {
    case 'n': return '\n';
    case 't': return '\t';
    case 'r': return '\r';
    case '0': return '\0';
    default: return c;
    }
}

bool ctokens_string(const Token *token, Str *out) {
    if (token->kind != TOKEN_TEXT || token->text.len < 2) return false;
    char *text = cgen_alloc(token->text.len);
    size_t len = 0;
    for (size_t i = 1; i + 1 < token->text.len; i++) {
        char c = token->text.ptr[i];
        if (c == '\\') c = unescaped(token->text.ptr[++i]);
        text[len++] = c;
    }
    *out = (Str){text, len};
    return true;
}
