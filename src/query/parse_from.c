// parse_from.c: FROM and its joins.
//
// The original joins on one equality of columns and nothing else, and so do the subscription doors.
// QUERY_SQL takes any predicate behind ON, and LEFT JOIN.
#include "query/parse.h"

static Err unsupported_from(Parser *p) {
    return parse_unsupported(p, "Unsupported FROM expression", parse_span(p, p->at, p->count - 1));
}

static Err not_inner(Parser *p) {
    return parse_refuse(p, ERR_UNSUPPORTED, "Non-inner joins are not supported");
}

static Err parse_relation(Parser *p, SqlRelation *out) {
    if (parser_token(p, 0)->kind == TOK_LPAREN || sql_token_is(parser_token(p, 0), "LATERAL") ||
        (token_is_ident(parser_token(p, 0)) && parser_token(p, 1)->kind == TOK_LPAREN))
        return unsupported_from(p);
    Err err = parse_table_name(p, &out->table);
    if (err != OK) return err;
    out->alias = out->table;
    err = parse_table_alias(p, &out->alias);
    if (err != OK) return err;
    if (out->alias.ptr != out->table.ptr && parser_token(p, 0)->kind == TOK_LPAREN)
        return unsupported_from(p);
    return OK;
}

// column = column, and nothing behind it that would go on.
static Err parse_on_equality(Parser *p, SqlRelation *out) {
    static const char *const more[] = {"AND", "OR", "IS", "IN", "NOT", "BETWEEN", "LIKE"};
    SqlNode *nodes = arena_array(p->arena, SqlNode, 3);
    if (!nodes) return ERR_NOMEM;
    for (uint32_t i = 0; i < 2; i++) {
        if (!token_is_ident(parser_token(p, 0)) || expr_word_is_reserved(parser_token(p, 0)))
            return not_inner(p);
        nodes[i].kind = SQL_COLUMN;
        Err err = parse_name(p, &nodes[i].qualifier, &nodes[i].text);
        if (err != OK) return err;
        if (i == 0 && parser_token(p, 0)->kind != TOK_EQ) return not_inner(p);
        if (i == 0) p->at++;
    }
    nodes[2] = (SqlNode){.kind = SQL_COMPARE, .op = QUERY_EQ, .left = 0, .right = 1};
    const SqlToken *next = parser_token(p, 0);
    if (token_is_one_of(next, more, ARRAY_LEN(more)) ||
        (next->kind >= TOK_EQ && next->kind <= TOK_MINUS))
        return not_inner(p);
    out->on = nodes;
    out->on_count = 3;
    return OK;
}

static Err parse_on(Parser *p, bool allowed, SqlRelation *out) {
    if (sql_token_is(parser_token(p, 0), "USING")) return not_inner(p);
    bool on = sql_token_is(parser_token(p, 0), "ON");
    if (!on) return out->join == SQL_JOIN_LEFT ? parse_expected(p, "ON") : OK;
    if (!allowed) return parse_expected(p, "end of statement");
    p->at++;
    return p->door == QUERY_SQL ? parse_expr(p, &out->on, &out->on_count)
                                : parse_on_equality(p, out);
}

// The words before a relation that is joined. *joins: there were any.
static Err parse_join_words(Parser *p, SqlJoin *join, bool *joins, bool *crosses) {
    static const char *const other_joins[] = {"RIGHT", "FULL", "NATURAL", "OUTER"};
    const SqlToken *token = parser_token(p, 0);
    *joins = false;
    *join = SQL_JOIN_INNER;
    if (token->kind == TOK_COMMA)
        return parse_refuse(p, ERR_UNSUPPORTED, "Implicit joins are not supported");
    if (token_is_one_of(token, other_joins, ARRAY_LEN(other_joins))) return not_inner(p);
    *crosses = sql_token_is(token, "CROSS");
    if (sql_token_is(token, "LEFT")) {
        if (p->door != QUERY_SQL) return not_inner(p);
        *join = SQL_JOIN_LEFT;
        p->at++;
        if (sql_token_is(parser_token(p, 0), "OUTER")) p->at++;
        if (!sql_token_is(parser_token(p, 0), "JOIN")) return not_inner(p);
    } else if (sql_token_is(token, "INNER") || *crosses) {
        p->at++;
        if (!sql_token_is(parser_token(p, 0), "JOIN")) return parse_expected(p, "JOIN");
    } else if (!sql_token_is(token, "JOIN")) {
        return OK;
    }
    p->at++;
    *joins = true;
    return OK;
}

static Err parse_joins(Parser *p, SqlSelect *out) {
    for (;;) {
        SqlJoin join;
        bool joins, crosses = false;
        Err err = parse_join_words(p, &join, &joins, &crosses);
        if (err != OK || !joins) return err;
        if (out->relation_count == SQL_RELATIONS_MAX)
            return parse_refuse(p, ERR_TOO_LARGE, "Too many tables in one query");
        SqlRelation *relation = &out->relations[out->relation_count++];
        if ((err = parse_relation(p, relation)) != OK) return err;
        relation->join = join;
        if ((err = parse_on(p, !crosses, relation)) != OK) return err;
    }
}

Err parse_from(Parser *p, SqlSelect *out) {
    if (!sql_token_is(parser_token(p, 0), "FROM")) {
        const SqlToken *token = parser_token(p, 0);
        if (token->kind == TOK_END || token->kind == TOK_SEMICOLON ||
            sql_token_is(token, "WHERE") || sql_token_is(token, "LIMIT"))
            return parse_refuse(p, ERR_INVALID, "A FROM clause is required");
        return sql_token_is(token, "INTO") ? parse_unsupported_statement(p)
                                           : parse_expected(p, "end of statement");
    }
    p->at++;
    uint32_t most = MIN(p->count - p->at, SQL_RELATIONS_MAX);
    out->relations = arena_array(p->arena, SqlRelation, most);
    if (!out->relations) return ERR_NOMEM;
    out->relation_count = 1;
    Err err = parse_relation(p, &out->relations[0]);
    if (err == OK) err = parse_joins(p, out);
    out->table = out->relations[0].table;
    out->alias = out->relations[0].alias;
    return err;
}
