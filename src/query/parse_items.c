// parse_items.c: what a SELECT asks for: a star, columns, aggregates with names.
#include "query/parse.h"

// The first token at this nesting that is a comma, FROM or the end.
static uint32_t item_end(const Parser *p) {
    uint32_t at = p->at;
    size_t depth = 0;
    for (;; at++) {
        const SqlToken *token = &p->tokens[at];
        if (token->kind == TOK_END) return at;
        if (token->kind == TOK_LPAREN) depth++;
        if (token->kind == TOK_RPAREN && depth > 0) depth--;
        if (depth > 0) continue;
        if (token->kind == TOK_COMMA || token->kind == TOK_SEMICOLON || sql_token_is(token, "FROM"))
            return at;
    }
}

static bool from_follows(const Parser *p) {
    for (uint32_t at = p->at; at < p->count; at++) {
        if (sql_token_is(&p->tokens[at], "FROM")) return true;
    }
    return false;
}

static Err unsupported_item(Parser *p) {
    if (!from_follows(p)) return parse_refuse(p, ERR_INVALID, "A FROM clause is required");
    return parse_unsupported(p,
                             "Unsupported projection expression",
                             parse_span(p, p->at, item_end(p)));
}

static SqlFunction function_of(const SqlToken *name) {
    static const struct {
        const char *name;
        SqlFunction function;
    } known[] = {
        {"COUNT", SQL_COUNT},
        {"SUM", SQL_SUM},
        {"MIN", SQL_MIN},
        {"MAX", SQL_MAX},
        {"AVG", SQL_AVG},
    };
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (sql_token_is(name, known[i].name)) return known[i].function;
    }
    return SQL_PLAIN;
}

// The parenthesis that closes the one behind the name. False: there is none; the parser is there.
static bool closing(Parser *p, uint32_t *close) {
    size_t depth = 0;
    for (*close = p->at + 1; p->tokens[*close].kind != TOK_END; ++*close) {
        if (p->tokens[*close].kind == TOK_LPAREN) depth++;
        if (p->tokens[*close].kind == TOK_RPAREN && --depth == 0) return true;
    }
    p->at = *close;
    return false;
}

// What stands in the parentheses: a star or a column. False: something else.
static bool argument(Parser *p, uint32_t close, SqlItem *item) {
    p->at += 2;
    if (item->function == SQL_COUNT && parser_token(p, 0)->kind == TOK_STAR) {
        item->function = SQL_COUNT_ALL;
        p->at++;
    } else if (item->function == SQL_PLAIN || !token_is_ident(parser_token(p, 0)) ||
               expr_word_is_reserved(parser_token(p, 0)) ||
               parse_name(p, &item->qualifier, &item->column) != OK) {
        return false;
    }
    return p->at == close;
}

// name ( … ) [AS] ident
static Err parse_function_item(Parser *p, SqlSelect *out) {
    uint32_t begin = p->at, close;
    SqlItem *item = &out->items[out->item_count];
    *item = (SqlItem){.function = function_of(parser_token(p, 0))};
    if (!closing(p, &close)) return parse_expected(p, ")");
    bool known = argument(p, close, item);
    p->at = close + 1;
    Err err = parse_column_alias(p, &item->as);
    if (err != OK) return err;
    const SqlToken *next = parser_token(p, 0);
    if (next->kind != TOK_COMMA && !(item->as.ptr == NULL && next->kind == TOK_END) &&
        !sql_token_is(next, "FROM")) {
        p->at = begin;
        return unsupported_item(p);
    }
    if (!item->as.ptr)
        return parse_refuse(p, ERR_UNSUPPORTED, "Aggregate expressions must have column aliases");
    if (!known)
        return parse_unsupported(p,
                                 "Unsupported aggregate function",
                                 parse_span(p, begin, close + 1));
    out->item_count++;
    return OK;
}

// name "." "*": where the star stands, or 0.
static uint32_t qualified_star(const Parser *p) {
    uint32_t at = p->at;
    while (token_is_ident(&p->tokens[at]) && p->tokens[at + 1].kind == TOK_PERIOD) {
        at += 2;
    }
    return at > p->at && p->tokens[at].kind == TOK_STAR ? at : 0;
}

static Err parse_star(Parser *p, uint32_t star, SqlSelect *out) {
    if (out->item_count > 0 || p->tokens[star + 1].kind == TOK_COMMA)
        return parse_refuse(p, ERR_UNSUPPORTED, "Mixed wildcard projections are not supported");
    out->projection = QPROJECT_ROW;
    if (star > p->at) {
        Str name = STR_NONE;
        for (; p->at < star; p->at += 2) {
            Err err = OK;
            if (name.ptr)
                err = parse_names_join(p, name, parser_token(p, 0)->text, &name);
            else
                name = parser_token(p, 0)->text;
            if (err != OK) return err;
        }
        out->star_qualifier = name;
    }
    p->at = star + 1;
    return OK;
}

static Err parse_column_item(Parser *p, SqlSelect *out) {
    uint32_t begin = p->at;
    SqlItem *item = &out->items[out->item_count];
    *item = (SqlItem){0};
    Err err = parse_name(p, &item->qualifier, &item->column);
    if (err == OK) err = parse_column_alias(p, &item->as);
    if (err != OK) return err;
    const SqlToken *next = parser_token(p, 0);
    if (next->kind != TOK_COMMA && next->kind != TOK_END && next->kind != TOK_SEMICOLON &&
        !sql_token_is(next, "FROM") && !sql_token_is(next, "INTO")) {
        p->at = begin;
        return unsupported_item(p);
    }
    out->item_count++;
    return OK;
}

Err parse_items(Parser *p, SqlSelect *out) {
    // One item takes at least one token, so this cannot be exceeded.
    out->items = arena_array(p->arena, SqlItem, p->count - p->at);
    if (!out->items) return ERR_NOMEM;
    out->projection = QPROJECT_COLUMNS;
    for (;;) {
        const SqlToken *token = parser_token(p, 0);
        Err err;
        uint32_t star = token->kind == TOK_STAR ? p->at : qualified_star(p);
        if (token->kind == TOK_END || token->kind == TOK_SEMICOLON || sql_token_is(token, "FROM"))
            return parse_expected(p, "an expression:");
        if (star) return parse_star(p, star, out);
        bool plain =
            token->kind == TOK_QUOTED || (token->kind == TOK_WORD && !expr_word_is_reserved(token));
        if (token->kind == TOK_WORD && parser_token(p, 1)->kind == TOK_LPAREN)
            err = parse_function_item(p, out);
        else
            err = plain ? parse_column_item(p, out) : unsupported_item(p);
        if (err != OK) return err;
        if (parser_token(p, 0)->kind != TOK_COMMA) return OK;
        p->at++;
    }
}
