// lex.h: the words of a JavaScript module, as far as bundle.c has to know them.
//
// Not a parser: it knows strings, templates, comments, regular expressions and which bracket
// closes which, and that is all that rewriting imports, exports and `using` needs.
#pragma once
#include "base/bytes.h"

typedef enum TokenKind {
    TOKEN_NAME,  // identifiers, keywords, #private names
    TOKEN_NUMBER,
    TOKEN_STRING,
    TOKEN_REGEX,
    TOKEN_TEMPLATE,         // `…` without substitutions
    TOKEN_TEMPLATE_OPEN,    // `…${
    TOKEN_TEMPLATE_MIDDLE,  // }…${
    TOKEN_TEMPLATE_CLOSE,   // }…`
    TOKEN_PUNCT,            // one character, or one of => ++ -- ... ?.
} TokenKind;

typedef struct Token {
    uint32_t start, end;  // bytes of the source
    uint32_t partner;     // of brackets and templates: the token that closes or opens; else itself
    uint8_t kind;
    bool newline;  // a line ends between the token before and this one
    bool object;   // of braces: an object literal or a pattern, not a block
    bool colon;    // of ':' after case, default or a label: a statement follows
} Token;

typedef struct Tokens {
    Str source;
    Token *list;
    uint32_t count, cap;
    uint32_t map_start, map_end;  // a `//# sourceMappingURL=` comment; equal: none
} Tokens;

//   ERR_INVALID  an unfinished string, comment, …, or brackets that do not match; diag->at
MUST_USE Err tokens_read(Str source, Tokens *out, Diag *diag);
void tokens_deinit(Tokens *tokens);

Str token_text(const Tokens *tokens, uint32_t at);                   // empty beyond the end
bool token_is(const Tokens *tokens, uint32_t at, const char *text);  // a name or punctuation
bool token_is_kind(const Tokens *tokens, uint32_t at, TokenKind kind);
// Is `at` a name that stands for itself, not a property (`x.name`)?
bool token_is_word(const Tokens *tokens, uint32_t at, const char *text);
// Does a statement end before `at` although no semicolon says so?
bool token_starts_statement(const Tokens *tokens, uint32_t at);
