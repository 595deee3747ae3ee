// sql.h: SQL text as tokens and as a syntax tree. Inside this room only.
//
// PICTURE
//   text ──sql_lex──> tokens ──sql_parse──> SqlStatement
//                                             SqlSelect: relations, items, nodes of the predicate
//                                             SqlWrite: a table, columns, values
//
//   The nodes of a predicate stand in one array, children before parents and each subtree in one
//   piece, so that every later pass is a loop over the array and no depth of nesting costs stack.
//   IN and BETWEEN are comparisons by the time they are nodes.
//
// Everything lives in the arena given to sql_parse and borrows from the text.
#pragma once
#include "query/statement.h"

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
    SQL_NOT,      // operand in `left`
    SQL_IS_NULL,  // likewise: a column
} SqlNodeKind;

typedef struct SqlNode {
    SqlNodeKind kind;
    QueryOp op;             // SQL_COMPARE
    bool value;             // SQL_BOOL
    uint32_t left, right;   // below this node's own index
    Str text;               // literal with its sign, column name
    Str qualifier;          // SQL_COLUMN; ptr NULL when there is none
    StatementParam *param;  // SQL_LITERAL: it is a parameter, and its text only its name
} SqlNode;

typedef enum SqlFunction {
    SQL_PLAIN,  // no function: the column
    SQL_COUNT_ALL,
    SQL_COUNT,
    SQL_SUM,
    SQL_MIN,
    SQL_MAX,
    SQL_AVG,
} SqlFunction;

typedef struct SqlItem {
    SqlFunction function;
    Str qualifier;  // ptr NULL when there is none
    Str column;     // not of SQL_COUNT_ALL
    Str as;         // ptr NULL when there is none
} SqlItem;

typedef enum SqlJoin { SQL_JOIN_FIRST, SQL_JOIN_INNER, SQL_JOIN_LEFT } SqlJoin;

typedef struct SqlRelation {
    Str table;  // parts joined with '.'
    Str alias;  // the table text unless another was given
    SqlJoin join;
    SqlNode *on;  // its condition; on_count 0: none
    uint32_t on_count;
} SqlRelation;

typedef struct SqlOrder {
    Str qualifier, column;  // or the name of an item
    uint64_t position;      // or its number, from 1; 0: it was named
    bool descending, nulls_first;
} SqlOrder;

typedef struct SqlSelect {
    QueryProjection projection;
    Str star_qualifier;  // QPROJECT_ROW as `name.*`; ptr NULL for `*`
    SqlItem *items;      // QPROJECT_COLUMNS; of QPROJECT_COUNT the one there is
    uint32_t item_count;
    Str count_name;          // QPROJECT_COUNT
    Str table, alias;        // of the first relation
    SqlRelation *relations;  // all of them
    uint32_t relation_count;
    SqlNode *nodes;
    uint32_t node_count;  // 0: no WHERE; otherwise the root is the last
    SqlItem *groups;      // GROUP BY
    uint32_t group_count;
    SqlOrder *orders;  // ORDER BY
    uint32_t order_count;
    bool has_limit;
    uint64_t limit;
    uint64_t offset;
} SqlSelect;

// A value as INSERT, UPDATE and SET write it. Unlike in a predicate its own kind matters (§1.7).
typedef enum SqlValueKind {
    SQL_NUMBER,
    SQL_HEX_NUMBER,
    SQL_TEXT,
    SQL_TRUTH,
    SQL_PARAM,
} SqlValueKind;
typedef struct SqlValue {
    SqlValueKind kind;
    bool truth;
    Str text;               // with its sign
    StatementParam *param;  // SQL_PARAM
    bool from_driver;       // StatementParams: what is no string may be an Option's value as well
} SqlValue;

typedef struct SqlWrite {
    Str table;
    Str *names;  // of columns, as written; of SET and SHOW the variable
    uint32_t name_count;
    SqlValue *values;  // INSERT: of all tuples, one behind another; UPDATE: of each name
    uint32_t *tuples;  // INSERT: how many values each has
    uint32_t tuple_count;
} SqlWrite;

typedef enum SqlVerb {
    SQL_SELECT,
    SQL_INSERT,
    SQL_UPDATE,
    SQL_DELETE,
    SQL_SET,
    SQL_SHOW,
} SqlVerb;

typedef struct SqlStatement {
    SqlVerb verb;
    bool explain, analyze;
    Str subscription;  // of EXPLAIN SUBSCRIBE: its text; ptr NULL: it is none
    SqlSelect select;  // SELECT; of UPDATE and DELETE the table and the predicate
    SqlWrite write;    // the others
} SqlStatement;

#define SQL_NODES_MAX     (64u << 10)
#define SQL_RELATIONS_MAX 256u

// At any door but QUERY_SQL nothing but SELECT passes, in the subscription grammar. `params` may be NULL:
// then $1 is a literal that is not supported.
MUST_USE Err sql_parse(Str text,
                       QueryDoor door,
                       StatementParams *params,
                       Arena *arena,
                       SqlStatement *out,
                       Diag *diag);
// SELECT only: what row-level security rules and queries of one table are.
MUST_USE Err sql_parse_select(Str text, QueryDoor door, Arena *arena, SqlSelect *out, Diag *diag);
// Whether it is more than query.h's Query can say: joins, groups, order, offset.
bool sql_select_is_plain(const SqlSelect *select);

// Encode a literal's text as a value of `type` (spec §1.7) in BSATN. False when it is not one.
// Memory failures are remembered in *out.
bool sql_literal(const Type *type, Str text, Buf *out);
// Encode a parameter as a value of `type`, which becomes its type if it has none yet. ERR_INVALID.
MUST_USE Err sql_param(StatementParam *param, const Type *type, Str name, Buf *out, Diag *diag);
// The value of an unsigned number token as LIMIT wants it.
bool sql_literal_u64(Str text, uint64_t *out);
