// sql.h: SQL text as tokens and as a syntax tree. Inside this room only.
//
// PICTURE
//   text ──sql_lex──> tokens ──sql_parse──> SqlSelect: a table, items, nodes of the predicate
//
//   The nodes stand in one array, children before parents, so that every later pass is a loop over
//   the array and no depth of nesting costs stack.
//
// Everything lives in the arena given to sql_parse and borrows from the text.
#pragma once
#include "query/query.h"

typedef enum SqlTokenKind {
    TOK_END,
    TOK_WORD,         // unquoted: a keyword or an identifier
    TOK_QUOTED,       // "…": always an identifier
    TOK_NUMBER,       // without sign
    TOK_STRING,       // '…'
    TOK_HEX,          // 0x…, x'…': text holds the digits
    TOK_ODD_LITERAL,  // E'…', N'…', B'…', $$…$$, ?, $1, @x: literals that nobody supports
    TOK_EQ,
    TOK_NE,
    TOK_LT,
    TOK_LE,
    TOK_GT,
    TOK_GE,
    TOK_PLUS,
    TOK_MINUS,
    TOK_LPAREN,
    TOK_RPAREN,
    TOK_COMMA,
    TOK_PERIOD,
    TOK_STAR,
    TOK_COLON,
    TOK_SEMICOLON,
    TOK_OTHER,  // a character that begins nothing above
} SqlTokenKind;

typedef struct SqlToken {
    SqlTokenKind kind;
    uint32_t at, end;  // bytes of the text
    Str text;          // without quotes and prefixes, doubled quotes undone
} SqlToken;

// The tokens of `text` with a TOK_END behind them. ERR_INVALID for what ends too early.
MUST_USE Err sql_lex(Str text, Arena *arena, SqlToken **out, uint32_t *count, Diag *diag);

typedef enum SqlNodeKind {
    SQL_BOOL,     // TRUE, FALSE
    SQL_LITERAL,  // number, string, hex: untyped text until a column gives it a type
    SQL_SENDER,
    SQL_COLUMN,
    SQL_COMPARE,
    SQL_AND,
    SQL_OR,
    SQL_NOT,  // operand in `left`
} SqlNodeKind;

typedef struct SqlNode {
    SqlNodeKind kind;
    QueryOp op;            // SQL_COMPARE
    bool value;            // SQL_BOOL
    uint32_t left, right;  // below this node's own index
    Str text;              // literal with its sign, column name
    Str qualifier;         // SQL_COLUMN; ptr NULL when there is none
} SqlNode;

typedef struct SqlItem {
    Str qualifier;  // ptr NULL when there is none
    Str column;
    Str as;  // ptr NULL when there is none
} SqlItem;

typedef struct SqlSelect {
    QueryProjection projection;
    Str star_qualifier;  // QPROJECT_ROW as `name.*`; ptr NULL for `*`
    SqlItem *items;      // QPROJECT_COLUMNS
    uint32_t item_count;
    Str count_name;  // QPROJECT_COUNT
    Str table;       // parts joined with '.'
    Str alias;       // the table text unless another was given
    SqlNode *nodes;
    uint32_t node_count;  // 0: no WHERE; otherwise the root is the last
    bool has_limit;
    uint64_t limit;
} SqlSelect;

#define SQL_NODES_MAX (64u << 10)

MUST_USE Err sql_parse(Str text, QueryDoor door, Arena *arena, SqlSelect *out, Diag *diag);

// Encode a literal's text as a value of `type` (spec §1.7) in BSATN. False when it is not one.
// Memory failures are remembered in *out.
bool sql_literal(const Type *type, Str text, Buf *out);
// The value of an unsigned number token as LIMIT wants it.
bool sql_literal_u64(Str text, uint64_t *out);
