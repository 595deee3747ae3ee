// parse_write.c: statements that are not SELECT: INSERT, UPDATE, DELETE, SET, SHOW (spec §1.5).
//
// Their values are literals with a sign at most; what the original's grammar knows beyond that is
// refused with its words.
#include "query/parse.h"

static Err unsupported_from_here(Parser *p, const char *what) {
    return parse_unsupported(p, what, parse_span(p, p->at, p->count - 1));
}

// [+|-] number | string | hex | TRUE | FALSE, followed by what may follow it.
static Err parse_value(Parser *p, const char *what, SqlValue *out) {
    uint32_t begin = p->at, end;
    const SqlToken *token = parser_token(p, 0);
    *out = (SqlValue){.text = token->text, .from_driver = p->params && p->params->from_driver};
    Err err = parser_driver_literal(p, token, &out->param);
    if (err != OK) return err;
    bool known = true, is_signed = token->kind == TOK_PLUS || token->kind == TOK_MINUS;
    if (is_signed) {
        const SqlToken *number = parser_token(p, 1);
        known = number->kind == TOK_NUMBER;
        Str sign = token->kind == TOK_MINUS ? STR("-") : STR("+");
        out->text = arena_printf(p->arena, "%s" STR_FMT, sign.ptr, STR_ARG(number->text));
        if (!out->text.ptr) return ERR_NOMEM;
    } else if (out->param) {
        out->kind = SQL_PARAM;
    } else if (token->kind == TOK_NUMBER) {
        out->kind = SQL_NUMBER;
    } else if (token->kind == TOK_HEX) {
        out->kind = SQL_HEX_NUMBER;
    } else if (token->kind == TOK_STRING) {
        out->kind = SQL_TEXT;
    } else if ((out->param = parser_param(p, token)) != NULL) {
        out->kind = SQL_PARAM;
    } else {
        out->kind = SQL_TRUTH;
        out->truth = sql_token_is(token, "TRUE");
        known = out->truth || sql_token_is(token, "FALSE");
    }
    if (token->kind == TOK_END) return parse_expected(p, "an expression:");
    p->at += is_signed ? 2 : 1;
    if (known) p->at += parser_driver_cast(p);
    const SqlToken *next = parser_token(p, 0);
    known = known &&
            (next->kind == TOK_COMMA || next->kind == TOK_RPAREN || next->kind == TOK_SEMICOLON ||
             next->kind == TOK_END || sql_token_is(next, "WHERE") ||
             sql_token_is(next, "RETURNING") || sql_token_is(next, "FROM"));
    if (known) return OK;
    size_t depth = 0;
    for (end = begin;; end++) {
        const SqlToken *at = &p->tokens[end];
        if (at->kind == TOK_END || at->kind == TOK_SEMICOLON) break;
        if (depth == 0 && (at->kind == TOK_COMMA || at->kind == TOK_RPAREN)) break;
        if (depth == 0 && sql_token_is(at, "WHERE")) break;
        if (at->kind == TOK_LPAREN) depth++;
        if (at->kind == TOK_RPAREN) depth--;
    }
    return parse_unsupported(p, what, parse_span(p, begin, MIN(end, p->count - 1)));
}

static Err names_reserve(Parser *p, SqlWrite *out) {
    out->names = arena_array(p->arena, Str, p->count - p->at);
    out->values = arena_array(p->arena, SqlValue, p->count - p->at);
    out->tuples = arena_array(p->arena, uint32_t, p->count - p->at);
    return out->names && out->values && out->tuples ? OK : ERR_NOMEM;
}

static Err parse_ident(Parser *p, Str *out) {
    if (!token_is_ident(parser_token(p, 0))) return parse_expected(p, "identifier");
    *out = parser_token(p, 0)->text;
    p->at++;
    return OK;
}

static Err parse_kind(Parser *p, SqlTokenKind kind, const char *what) {
    if (parser_token(p, 0)->kind != kind) return parse_expected(p, what);
    p->at++;
    return OK;
}

// "(" ident {"," ident} ")"; a missing list is a list of none, which compiling refuses.
static Err parse_columns(Parser *p, SqlWrite *out) {
    if (parser_token(p, 0)->kind != TOK_LPAREN) return OK;
    for (;;) {
        p->at++;
        Err err = parse_ident(p, &out->names[out->name_count++]);
        if (err != OK) return err;
        if (parser_token(p, 0)->kind != TOK_COMMA) return parse_kind(p, TOK_RPAREN, "',' or ')'");
    }
}

static Err parse_tuple(Parser *p, SqlWrite *out, uint32_t *value_count) {
    Err err = parse_kind(p, TOK_LPAREN, "(");
    for (uint32_t *count = &out->tuples[out->tuple_count++]; err == OK; p->at++) {
        err = parse_value(p, "Unsupported INSERT expression", &out->values[(*value_count)++]);
        ++*count;
        if (err == OK && parser_token(p, 0)->kind != TOK_COMMA)
            return parse_kind(p, TOK_RPAREN, "',' or ')'");
    }
    return err;
}

static Err parse_insert(Parser *p, SqlWrite *out) {
    uint32_t value_count = 0;
    Err err = OK;
    p->at++;
    if (sql_token_is(parser_token(p, 0), "INTO")) p->at++;
    if ((err = names_reserve(p, out)) != OK) return err;
    if ((err = parse_table_name(p, &out->table)) != OK) return err;
    if ((err = parse_columns(p, out)) != OK) return err;
    if (sql_token_is(parser_token(p, 0), "SELECT") || sql_token_is(parser_token(p, 0), "WITH") ||
        sql_token_is(parser_token(p, 0), "DEFAULT") || parser_token(p, 0)->kind == TOK_LPAREN)
        return unsupported_from_here(p, "Unsupported INSERT value");
    if (!sql_token_is(parser_token(p, 0), "VALUES"))
        return token_is_ident(parser_token(p, 0)) ? parse_unsupported_statement(p)
                                                  : parse_expected(p, "VALUES");
    do {
        p->at++;
        if ((err = parse_tuple(p, out, &value_count)) != OK) return err;
    } while (parser_token(p, 0)->kind == TOK_COMMA);
    if (parser_token(p, 0)->kind == TOK_WORD) return parse_unsupported_statement(p);
    return OK;
}

static Err parse_assignments(Parser *p, const char *what, SqlWrite *out) {
    for (;; p->at++) {
        uint32_t i = out->name_count++;
        Err err = parse_ident(p, &out->names[i]);
        if (err == OK) err = parse_kind(p, TOK_EQ, "=");
        if (err == OK) err = parse_value(p, what, &out->values[i]);
        if (err != OK || parser_token(p, 0)->kind != TOK_COMMA) return err;
    }
}

static const char assignment[] = "Unsupported column/variable assignment expression";

static void one_relation(SqlSelect *select, SqlRelation *relation, Str table) {
    *relation = (SqlRelation){.table = table, .alias = table};
    select->table = select->alias = table;
    select->relations = relation;
    select->relation_count = 1;
    select->projection = QPROJECT_ROW;
}

static Err parse_target(Parser *p, SqlStatement *out) {
    Err err = parse_table_name(p, &out->write.table);
    SqlRelation *relation = arena_new(p->arena, SqlRelation);
    if (err == OK && !relation) err = ERR_NOMEM;
    if (err == OK) one_relation(&out->select, relation, out->write.table);
    return err;
}

static Err parse_update(Parser *p, SqlStatement *out) {
    Err err = OK;
    p->at++;
    if ((err = names_reserve(p, &out->write)) != OK) return err;
    if ((err = parse_target(p, out)) != OK) return err;
    if (!sql_token_is(parser_token(p, 0), "SET"))
        return unsupported_from_here(p, "Unsupported table expression in UPDATE");
    p->at++;
    if ((err = parse_assignments(p, assignment, &out->write)) != OK) return err;
    if ((err = parse_where(p, &out->select)) != OK) return err;
    if (parser_token(p, 0)->kind == TOK_WORD) return parse_unsupported_statement(p);
    return OK;
}

static Err parse_delete(Parser *p, SqlStatement *out) {
    Err err = OK;
    p->at++;
    if (!sql_token_is(parser_token(p, 0), "FROM"))
        return token_is_ident(parser_token(p, 0))
                   ? parse_refuse(p, ERR_UNSUPPORTED, "Multi-table DELETE is not supported")
                   : parse_expected(p, "FROM");
    p->at++;
    if ((err = parse_target(p, out)) != OK) return err;
    const SqlToken *next = parser_token(p, 0);
    if (next->kind == TOK_COMMA)
        return parse_refuse(p, ERR_UNSUPPORTED, "Multi-table DELETE is not supported");
    if (sql_token_is(next, "USING") || sql_token_is(next, "RETURNING"))
        return parse_unsupported_statement(p);
    if (token_is_ident(next) && !sql_token_is(next, "WHERE"))
        return unsupported_from_here(p, "Unsupported table expression in DELETE");
    if ((err = parse_where(p, &out->select)) != OK) return err;
    if (parser_token(p, 0)->kind == TOK_WORD) return parse_unsupported_statement(p);
    return OK;
}

static Err parse_set(Parser *p, SqlWrite *out) {
    p->at++;
    Err err = names_reserve(p, out);
    if (err != OK) return err;
    out->name_count = 1;
    if ((err = parse_ident(p, &out->names[0])) != OK) return err;
    if (parser_token(p, 0)->kind != TOK_EQ && !sql_token_is(parser_token(p, 0), "TO"))
        return parse_unsupported_statement(p);
    p->at++;
    return parse_value(p, assignment, &out->values[0]);
}

static Err parse_show(Parser *p, SqlWrite *out) {
    p->at++;
    Err err = names_reserve(p, out);
    out->name_count = 1;
    return err == OK ? parse_ident(p, &out->names[0]) : err;
}

Err parse_write(Parser *p, SqlStatement *out, bool *known) {
    const SqlToken *token = parser_token(p, 0);
    *known = true;
    if (sql_token_is(token, "INSERT")) {
        out->verb = SQL_INSERT;
        return parse_insert(p, &out->write);
    }
    if (sql_token_is(token, "UPDATE")) {
        out->verb = SQL_UPDATE;
        return parse_update(p, out);
    }
    if (sql_token_is(token, "DELETE")) {
        out->verb = SQL_DELETE;
        return parse_delete(p, out);
    }
    if (sql_token_is(token, "SET")) {
        out->verb = SQL_SET;
        return parse_set(p, &out->write);
    }
    if (sql_token_is(token, "SHOW")) {
        out->verb = SQL_SHOW;
        return parse_show(p, &out->write);
    }
    *known = false;
    return OK;
}
