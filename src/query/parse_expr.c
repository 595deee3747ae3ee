// parse_expr.c: a predicate from its tokens, by operator precedence with an explicit stack.
//
// PICTURE
//   a = 1 AND NOT (b OR c)      operands: node indices     operators: ( NOT = AND OR
//
//   An operand is pushed; before an operator is pushed, those on the stack that bind at least as
//   tightly are taken off and become nodes. So children always precede their parent, and a text of
//   50,000 opening parentheses costs 50,000 stack entries in the arena and no C stack.
//
// Not here: what the names mean and which types fit (compile.c).
#include "query/parse.h"

typedef enum OpKind { OP_PAREN, OP_OR, OP_AND, OP_NOT, OP_COMPARE } OpKind;  // loosest first

typedef struct Operator {
    OpKind kind;
    QueryOp op;  // OP_COMPARE
} Operator;

typedef struct Expr {
    Parser *p;
    SqlNode *nodes;
    uint32_t node_count;
    uint32_t *operands;
    uint32_t operand_count;
    Operator *operators;
    uint32_t operator_count;
    uint32_t open_parens;
    uint32_t begin;          // token
    uint32_t operand_begin;  // token where the newest operand begins
} Expr;

bool expr_word_is_reserved(const SqlToken *token) {
    static const char *const reserved[] = {
        "TRUE",
        "FALSE",
        "NULL",
        "NOT",
        "CASE",
        "CAST",
        "TRY_CAST",
        "SAFE_CAST",
        "EXISTS",
        "EXTRACT",
        "CEIL",
        "FLOOR",
        "POSITION",
        "SUBSTRING",
        "OVERLAY",
        "TRIM",
        "INTERVAL",
        "LISTAGG",
        "ARRAY_AGG",
        "USER",
        "SESSION_USER",
        "CURRENT_USER",
        "CURRENT_CATALOG",
        "CURRENT_TIME",
        "CURRENT_TIMESTAMP",
        "CURRENT_DATE",
        "LOCALTIME",
        "LOCALTIMESTAMP",
    };
    return token_is_one_of(token, reserved, ARRAY_LEN(reserved));
}

// The expression that begins at `first`, for a message: up to what ends it at its own nesting.
static Err unsupported_expr(Expr *e, uint32_t first) {
    Parser *p = e->p;
    size_t depth = 0;
    bool between = false;
    uint32_t at = first;
    for (;; at++) {
        const SqlToken *token = &p->tokens[at];
        if (token->kind == TOK_END || token->kind == TOK_SEMICOLON) break;
        if (token->kind == TOK_LPAREN) depth++;
        if (token->kind == TOK_RPAREN && depth-- == 0) break;
        if (depth > 0) continue;
        if (sql_token_is(token, "BETWEEN")) between = true;
        if (sql_token_is(token, "OR") || sql_token_is(token, "LIMIT")) break;
        if (sql_token_is(token, "AND") && !between) break;
        if (sql_token_is(token, "AND")) between = false;
    }
    return parse_unsupported(p, "Unsupported expression", parse_span(p, first, at));
}

static Err node_push(Expr *e, SqlNode node) {
    if (e->node_count == SQL_NODES_MAX)
        return diag_fail(e->p->diag,
                         ERR_TOO_LARGE,
                         "Recursion limit exceeded, `sql-parser::parse_expr`");
    e->nodes[e->node_count] = node;
    e->operands[e->operand_count++] = e->node_count++;
    return OK;
}

static void operator_push(Expr *e, OpKind kind, QueryOp op) {
    e->operators[e->operator_count++] = (Operator){kind, op};
}

// Turn the newest operator and its operands into a node.
static Err reduce(Expr *e) {
    Operator top = e->operators[--e->operator_count];
    SqlNode node = {.op = top.op};
    if (top.kind != OP_NOT) node.right = e->operands[--e->operand_count];
    node.left = e->operands[--e->operand_count];
    switch (top.kind) {
    case OP_OR: node.kind = SQL_OR; break;
    case OP_AND: node.kind = SQL_AND; break;
    case OP_NOT: node.kind = SQL_NOT; break;
    case OP_COMPARE: node.kind = SQL_COMPARE; break;
    case OP_PAREN: UNREACHABLE();
    }
    return node_push(e, node);
}

// Every operator here is left-associative, so equal precedence reduces too.
static Err reduce_down_to(Expr *e, OpKind kind) {
    while (e->operator_count > 0) {
        OpKind top = e->operators[e->operator_count - 1].kind;
        if (top == OP_PAREN || top < kind) return OK;
        Err err = reduce(e);
        if (err != OK) return err;
    }
    return OK;
}

// ── operands ───────────────────────────────────────────────────────────────────────────────────

static Err literal(Expr *e, Str text, uint32_t tokens) {
    e->p->at += tokens;
    return node_push(e, (SqlNode){.kind = SQL_LITERAL, .text = text});
}

static Err signed_number(Expr *e) {
    Parser *p = e->p;
    const SqlToken *sign = parser_token(p, 0), *number = parser_token(p, 1);
    if (number->kind == TOK_END) {
        p->at++;
        return parse_expected(p, "an expression:");
    }
    if (number->kind != TOK_NUMBER) return unsupported_expr(e, p->at);
    // The sign and the digits need not touch in the text.
    char *text = arena_alloc(p->arena, number->text.len + 1);
    if (!text) return ERR_NOMEM;
    text[0] = sign->kind == TOK_MINUS ? '-' : '+';
    memcpy(text + 1, number->text.ptr, number->text.len);
    return literal(e, (Str){text, number->text.len + 1}, 2);
}

static Err unsupported_literal(Expr *e, uint32_t tokens) {
    Parser *p = e->p;
    return parse_unsupported(p,
                             "Unsupported literal expression",
                             parse_span(p, p->at, p->at + tokens));
}

static Err odd_literal(Expr *e) {
    const SqlToken *token = parser_token(e->p, 0);
    StatementParam *param = parser_param(e->p, token);
    if (!param) return unsupported_literal(e, 1);
    e->p->at++;
    e->p->at += parser_driver_cast(e->p);
    return node_push(e, (SqlNode){.kind = SQL_LITERAL, .text = token->text, .param = param});
}

// As it stands, unless drivers write the literals.
static Err string(Expr *e) {
    const SqlToken *token = parser_token(e->p, 0);
    StatementParam *param;
    Err err = parser_driver_literal(e->p, token, &param);
    if (err != OK) return err;
    e->p->at++;
    if (param) e->p->at += parser_driver_cast(e->p);
    return node_push(e, (SqlNode){.kind = SQL_LITERAL, .text = token->text, .param = param});
}

static Err parameter(Expr *e) {
    Parser *p = e->p;
    const SqlToken *name = parser_token(p, 1);
    if (name->kind == TOK_END) return parse_expected(p, "an expression:");
    if (name->kind != TOK_WORD || !str_eq(name->text, STR("sender")))
        return unsupported_literal(e, 2);
    p->at += 2;
    return node_push(e, (SqlNode){.kind = SQL_SENDER});
}

static Err word(Expr *e) {
    Parser *p = e->p;
    const SqlToken *token = parser_token(p, 0);
    bool truth = sql_token_is(token, "TRUE");
    if (truth || sql_token_is(token, "FALSE")) {
        p->at++;
        return node_push(e, (SqlNode){.kind = SQL_BOOL, .value = truth});
    }
    if (sql_token_is(token, "NULL"))
        return p->params && p->params->from_driver ? string(e) : unsupported_literal(e, 1);
    if (expr_word_is_reserved(token) || parser_token(p, 1)->kind == TOK_LPAREN)
        return unsupported_expr(e, p->at);
    SqlNode node = {.kind = SQL_COLUMN};
    Err err = parse_name(p, &node.qualifier, &node.text);
    return err == OK ? node_push(e, node) : err;
}

static Err operand(Expr *e) {
    Parser *p = e->p;
    const SqlToken *token = parser_token(p, 0);
    e->operand_begin = p->at;
    switch (token->kind) {
    case TOK_NUMBER:
    case TOK_HEX: return literal(e, token->text, 1);
    case TOK_STRING: return string(e);
    case TOK_PLUS:
    case TOK_MINUS: return signed_number(e);
    case TOK_COLON: return parameter(e);
    case TOK_ODD_LITERAL: return odd_literal(e);
    case TOK_QUOTED:
    case TOK_WORD: return word(e);
    default: return parse_expected(p, "an expression:");
    }
}

// Opening parentheses and NOT stand before an operand.
static Err prefix(Expr *e, bool *took) {
    Parser *p = e->p;
    const SqlToken *token = parser_token(p, 0);
    *took = true;
    if (token->kind == TOK_LPAREN) {
        const SqlToken *next = parser_token(p, 1);
        if (sql_token_is(next, "SELECT") || sql_token_is(next, "WITH") ||
            sql_token_is(next, "VALUES"))
            return unsupported_expr(e, p->at);
        e->open_parens++;
        p->at++;
        operator_push(e, OP_PAREN, 0);
    } else if (sql_token_is(token, "NOT")) {
        p->at++;
        operator_push(e, OP_NOT, 0);
    } else {
        *took = false;
    }
    return OK;
}

// ── between operands ───────────────────────────────────────────────────────────────────────────

static bool token_compares(const SqlToken *token, QueryOp *op) {
    switch (token->kind) {
    case TOK_EQ: *op = QUERY_EQ; return true;
    case TOK_NE: *op = QUERY_NE; return true;
    case TOK_LT: *op = QUERY_LT; return true;
    case TOK_LE: *op = QUERY_LE; return true;
    case TOK_GT: *op = QUERY_GT; return true;
    case TOK_GE: *op = QUERY_GE; return true;
    default: return false;
    }
}

static Err refuse_operator(Expr *e) {
    static const char *const forms[] = {
        "IS",
        "IN",
        "BETWEEN",
        "LIKE",
        "ILIKE",
        "SIMILAR",
        "RLIKE",
        "REGEXP",
        "NOT",
        "COLLATE",
        "AT",
        "DIV",
        "XOR",
        "OVERLAPS",
    };
    Parser *p = e->p;
    const SqlToken *token = parser_token(p, 0);
    switch (token->kind) {
    case TOK_PLUS:
    case TOK_MINUS:
    case TOK_STAR:
    case TOK_OTHER:
        if (str_eq(token->text, STR("::")) || str_eq(token->text, STR("[")))
            return unsupported_expr(e, e->operand_begin);
        return parse_unsupported(p, "Unsupported binary operator", parse_span(p, p->at, p->at + 1));
    case TOK_COMMA: return e->open_parens ? unsupported_expr(e, e->begin) : OK;
    default:
        return token_is_one_of(token, forms, ARRAY_LEN(forms))
                   ? unsupported_expr(e, e->operand_begin)
                   : OK;
    }
}

// ── IS NULL, IN, BETWEEN ───────────────────────────────────────────────────────────────────────

static bool is_leaf(const SqlNode *node) {
    return node->kind <= SQL_COLUMN;
}

// `subject` again, then the next operand, then the comparison of both.
static Err compare_next(Expr *e, const SqlNode *subject, QueryOp op) {
    Err err = node_push(e, *subject);
    if (err == OK) err = operand(e);
    if (err != OK) return err;
    operator_push(e, OP_COMPARE, op);
    return reduce(e);
}

static Err in_list(Expr *e, const SqlNode *subject) {
    Parser *p = e->p;
    for (bool first = true;; first = false) {
        p->at++;  // the parenthesis or the comma
        Err err = compare_next(e, subject, QUERY_EQ);
        if (err == OK && !first) {
            operator_push(e, OP_OR, 0);
            err = reduce(e);
        }
        if (err != OK) return err;
        if (parser_token(p, 0)->kind == TOK_COMMA) continue;
        if (parser_token(p, 0)->kind != TOK_RPAREN) return parse_expected(p, "',' or ')'");
        p->at++;
        return OK;
    }
}

static Err between(Expr *e, const SqlNode *subject) {
    Parser *p = e->p;
    p->at++;
    Err err = compare_next(e, subject, QUERY_GE);
    if (err != OK) return err;
    if (!sql_token_is(parser_token(p, 0), "AND")) return parse_expected(p, "AND");
    p->at++;
    if ((err = compare_next(e, subject, QUERY_LE)) != OK) return err;
    operator_push(e, OP_AND, 0);
    return reduce(e);
}

static Err is_null(Expr *e, const SqlNode *subject, bool *negated) {
    Parser *p = e->p;
    p->at++;
    *negated = sql_token_is(parser_token(p, 0), "NOT");
    if (*negated) p->at++;
    if (!sql_token_is(parser_token(p, 0), "NULL")) return unsupported_expr(e, e->operand_begin);
    p->at++;
    Err err = node_push(e, *subject);
    if (err != OK) return err;
    uint32_t left = e->operands[--e->operand_count];
    return node_push(e, (SqlNode){.kind = SQL_IS_NULL, .left = left});
}

// What may stand behind an operand and is a predicate with it. The operand's node is given up: the
// form repeats it, so that each subtree stays in one piece.
static Err postfix(Expr *e, bool *took) {
    Parser *p = e->p;
    bool negated = sql_token_is(parser_token(p, 0), "NOT");
    const SqlToken *word = parser_token(p, negated);
    bool in = sql_token_is(word, "IN"), range = sql_token_is(word, "BETWEEN");
    bool null = !negated && sql_token_is(word, "IS");
    *took = in || range || null;
    if (!*took) return OK;
    uint32_t at = e->operands[e->operand_count - 1];
    SqlNode subject = e->nodes[at];
    const SqlToken *inside = parser_token(p, negated + 2);
    if (!is_leaf(&subject) || at != e->node_count - 1 || (null && subject.kind != SQL_COLUMN) ||
        (in && (parser_token(p, negated + 1)->kind != TOK_LPAREN ||
                sql_token_is(inside, "SELECT") || sql_token_is(inside, "WITH"))))
        return unsupported_expr(e, e->operand_begin);
    e->operand_count--;
    e->node_count--;
    p->at += negated;
    uint32_t begin = e->operand_begin;
    if (in) p->at++;
    Err err = in      ? in_list(e, &subject)
              : range ? between(e, &subject)
                      : is_null(e, &subject, &negated);
    e->operand_begin = begin;
    if (err != OK || !negated) return err;
    operator_push(e, OP_NOT, 0);
    return reduce(e);
}

typedef enum Step { STEP_OPERAND, STEP_OPERATOR, STEP_END } Step;

static Err close_paren(Expr *e, Step *next) {
    if (e->open_parens == 0) {
        *next = STEP_END;
        return OK;
    }
    Err err = reduce_down_to(e, OP_OR);
    if (err != OK) return err;
    e->operator_count--;  // the parenthesis, where reducing stopped
    e->open_parens--;
    e->p->at++;
    *next = STEP_OPERATOR;
    return OK;
}

static Err operator_step(Expr *e, Step *next) {
    const SqlToken *token = parser_token(e->p, 0);
    OpKind kind;
    QueryOp op = QUERY_EQ;
    bool took;
    Err err = postfix(e, &took);
    if (err != OK || took) return err;
    if (token->kind == TOK_RPAREN) return close_paren(e, next);
    if (token_compares(token, &op)) {
        kind = OP_COMPARE;
    } else if (sql_token_is(token, "AND")) {
        kind = OP_AND;
    } else if (sql_token_is(token, "OR")) {
        kind = OP_OR;
    } else {
        *next = STEP_END;
        return refuse_operator(e);
    }
    err = reduce_down_to(e, kind);
    if (err != OK) return err;
    operator_push(e, kind, op);
    e->p->at++;
    *next = STEP_OPERAND;
    return OK;
}

static Err operand_step(Expr *e, Step *next) {
    bool took;
    Err err = prefix(e, &took);
    if (err != OK || took) return err;
    *next = STEP_OPERATOR;
    return operand(e);
}

static Err expr_run(Expr *e) {
    Step next = STEP_OPERAND;
    while (next != STEP_END) {
        Err err = next == STEP_OPERAND ? operand_step(e, &next) : operator_step(e, &next);
        if (err != OK) return err;
    }
    if (e->open_parens > 0) return parse_expected(e->p, ")");
    return reduce_down_to(e, OP_OR);
}

Err parse_expr(Parser *p, SqlNode **nodes, uint32_t *count) {
    // Every node, operand and operator takes a token of its own, or half a one where IN and BETWEEN
    // repeat what stands before them.
    uint32_t most = 2 * (p->count - p->at + 1);
    Expr e = {
        .p = p,
        .nodes = arena_array(p->arena, SqlNode, most),
        .operands = arena_array(p->arena, uint32_t, most),
        .operators = arena_array(p->arena, Operator, most),
        .begin = p->at,
    };
    if (!e.nodes || !e.operands || !e.operators) return ERR_NOMEM;
    Err err = expr_run(&e);
    if (err != OK) return err;
    ASSERT(e.operand_count == 1 && e.operands[0] == e.node_count - 1);
    *nodes = e.nodes;
    *count = e.node_count;
    return OK;
}
