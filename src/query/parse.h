// parse.h: what parse.c and parse_expr.c share: a cursor over the tokens. Inside this room only.
#pragma once
#include "query/sql.h"

typedef struct Parser {
    Str text;
    QueryDoor door;
    StatementParams *params;  // NULL: there are none
    Arena *arena;
    Diag *diag;
    SqlToken *tokens;  // the last is TOK_END
    uint32_t count;
    uint32_t at;
    uint32_t begin;  // of the statement
} Parser;

// The token `ahead` places on; past the end it is TOK_END.
static inline const SqlToken *parser_token(const Parser *p, uint32_t ahead) {
    uint32_t at = p->at + ahead;
    return &p->tokens[MIN(at, p->count - 1)];
}

// The parameter that the token names; NULL: it names none.
StatementParam *parser_param(const Parser *p, const SqlToken *token);
// Where literals are those of drivers (StatementParams), the one that the token is, as a parameter; *out NULL: it is none.
MUST_USE Err parser_driver_literal(const Parser *p, const SqlToken *token, StatementParam **out);
// How many tokens from here on are a cast of the literal before them, which says nothing new there: 0 or 2.
uint32_t parser_driver_cast(const Parser *p);
bool sql_token_is(const SqlToken *token, const char *keyword);  // unquoted, any case
bool token_is_one_of(const SqlToken *token, const char *const *keywords, size_t count);
bool token_is_ident(const SqlToken *token);
// A word that begins something other than a column in an expression (§1.2).
bool expr_word_is_reserved(const SqlToken *token);

Err parse_refuse(Parser *p, Err err, const char *text);
Str parse_span(const Parser *p, uint32_t first, uint32_t behind_last);  // the text they cover
Err parse_expected(Parser *p, const char *what);                        // ERR_INVALID
Err parse_unsupported(Parser *p, const char *what, Str text);           // ERR_UNSUPPORTED
Err parse_unsupported_statement(Parser *p);                             // likewise, all of it

// ident {"." ident}: the last part, and the parts before it joined (ptr NULL when there are none).
MUST_USE Err parse_name(Parser *p, Str *qualifier, Str *last);
MUST_USE Err parse_names_join(Parser *p, Str a, Str b, Str *out);  // a "." b
// The same as one name.
MUST_USE Err parse_table_name(Parser *p, Str *out);
MUST_USE Err parse_where(Parser *p, SqlSelect *out);
MUST_USE Err parse_statement_end(Parser *p);
// A number without a sign, as LIMIT wants it; steps behind it.
MUST_USE Err parse_count(Parser *p, uint64_t *out);
// [AS] ident for a relation; stays as it is when there is none.
MUST_USE Err parse_table_alias(Parser *p, Str *out);
// [AS] ident for an item; stays as it is when there is none.
MUST_USE Err parse_column_alias(Parser *p, Str *out);

// parse_items.c: what stands between SELECT and FROM.
MUST_USE Err parse_items(Parser *p, SqlSelect *out);
// parse_from.c: FROM and its joins.
MUST_USE Err parse_from(Parser *p, SqlSelect *out);
// parse_write.c: everything but SELECT. At its verb; the caller ends the statement.
MUST_USE Err parse_write(Parser *p, SqlStatement *out, bool *known);

// A predicate up to the first token that cannot belong to it.
MUST_USE Err parse_expr(Parser *p, SqlNode **nodes, uint32_t *count);
