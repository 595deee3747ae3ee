// parse.c: tokens to a syntax tree (spec §1.4 to §1.6): the statement around the predicate.
//
// The predicate itself is parse_expr.c's. What the original's grammar knows but its engine refuses
// is refused here with the same class of error (§1.13), and what a later version of ours will
// accept (joins, INSERT …) is named in an "Unsupported: …".
#include "query/parse.h"

#include "query/sql.h"

// ── errors ─────────────────────────────────────────────────────────────────────────────────────

Err parse_expected(Parser *p, const char *what) {
    const SqlToken *token = parser_token(p, 0);
    unsigned line = 1, column = 1;
    for (size_t i = 0; i < token->at; i++) {
        column = p->text.ptr[i] == '\n' ? 1 : column + (((uint8_t)p->text.ptr[i] & 0xc0) != 0x80);
        line += p->text.ptr[i] == '\n';
    }
    Str found = token->kind == TOK_END ? STR("EOF") : parse_span(p, p->at, p->at + 1);
    return diag_fail_at(p->diag,
                        ERR_INVALID,
                        token->at,
                        "sql parser error: Expected %s, found: " STR_FMT " at Line: %u, Column %u",
                        what,
                        (int)MIN(found.len, (size_t)200),
                        found.ptr,
                        line,
                        column);
}

Err parse_unsupported(Parser *p, const char *what, Str text) {
    size_t len = utf8_cut(text, 1000);
    return diag_fail_at(p->diag,
                        ERR_UNSUPPORTED,
                        parser_token(p, 0)->at,
                        "%s: %.*s",
                        what,
                        (int)len,
                        text.ptr);
}

static Err unsupported_statement(Parser *p) {
    uint32_t last = p->count - 1;
    while (last > 0 && p->tokens[last - 1].kind == TOK_SEMICOLON) {
        last--;
    }
    return parse_unsupported(p,
                             p->door == QUERY_SQL ? "Unsupported" : "Unsupported SELECT",
                             parse_span(p, p->begin, last));
}

static Err refuse(Parser *p, Err err, const char *text) {
    return diag_fail_at(p->diag, err, parser_token(p, 0)->at, "%s", text);
}

// ── names ──────────────────────────────────────────────────────────────────────────────────────

bool sql_token_is(const SqlToken *token, const char *keyword) {
    return token->kind == TOK_WORD && str_eq_nocase(token->text, str_from(keyword));
}

bool token_is_one_of(const SqlToken *token, const char *const *keywords, size_t count) {
    if (token->kind != TOK_WORD) return false;
    for (size_t i = 0; i < count; i++) {
        if (str_eq_nocase(token->text, str_from(keywords[i]))) return true;
    }
    return false;
}

bool token_is_ident(const SqlToken *token) {
    return token->kind == TOK_WORD || token->kind == TOK_QUOTED || token->kind == TOK_STRING;
}

Str parse_span(const Parser *p, uint32_t first, uint32_t behind_last) {
    if (behind_last <= first) return STR("");
    uint32_t at = p->tokens[first].at, end = p->tokens[behind_last - 1].end;
    return (Str){p->text.ptr + at, end - at};
}

// Join parts with '.': "lib"."users", lib.users and "lib.users" are the same name (§1.3).
static Err names_join(Parser *p, Str a, Str b, Str *out) {
    char *joined = arena_alloc(p->arena, a.len + 1 + b.len);
    if (!joined) return ERR_NOMEM;
    memcpy(joined, a.ptr, a.len);
    joined[a.len] = '.';
    if (b.len) memcpy(joined + a.len + 1, b.ptr, b.len);
    *out = (Str){joined, a.len + 1 + b.len};
    return OK;
}

Err parse_name(Parser *p, Str *qualifier, Str *last) {
    *qualifier = STR_NONE;
    if (!token_is_ident(parser_token(p, 0))) return parse_expected(p, "identifier");
    *last = parser_token(p, 0)->text;
    p->at++;
    while (parser_token(p, 0)->kind == TOK_PERIOD && token_is_ident(parser_token(p, 1))) {
        Err err = OK;
        if (qualifier->ptr)
            err = names_join(p, *qualifier, *last, qualifier);
        else
            *qualifier = *last;
        if (err != OK) return err;
        *last = parser_token(p, 1)->text;
        p->at += 2;
    }
    return OK;
}

static Err parse_table_name(Parser *p, Str *out) {
    Str qualifier, last;
    Err err = parse_name(p, &qualifier, &last);
    if (err != OK) return err;
    *out = last;
    return qualifier.ptr ? names_join(p, qualifier, last, out) : OK;
}

// [AS] ident, where a bare word must not be one that the grammar needs here.
static Err parse_alias(Parser *p, const char *const *reserved, size_t count, Str *out) {
    bool as = sql_token_is(parser_token(p, 0), "AS");
    if (as) p->at++;
    const SqlToken *token = parser_token(p, 0);
    if (!token_is_ident(token)) return as ? parse_expected(p, "an identifier after AS") : OK;
    if (!as && token_is_one_of(token, reserved, count)) return OK;
    *out = token->text;
    p->at++;
    return OK;
}

static const char *const not_table_aliases[] = {
    "WITH",  "EXPLAIN", "ANALYZE", "SELECT",    "WHERE", "GROUP",     "SORT",       "HAVING",
    "ORDER", "PIVOT",   "TOP",     "LATERAL",   "VIEW",  "LIMIT",     "OFFSET",     "FETCH",
    "UNION", "EXCEPT",  "ON",      "JOIN",      "INNER", "INTERSECT", "CROSS",      "FULL",
    "LEFT",  "RIGHT",   "NATURAL", "USING",     "OUTER", "CLUSTER",   "DISTRIBUTE", "SET",
    "END",   "QUALIFY", "WINDOW",  "PARTITION",
};
static const char *const not_column_aliases[] = {
    "WITH",  "EXPLAIN", "ANALYZE", "SELECT", "WHERE",   "GROUP",     "SORT",       "HAVING",
    "ORDER", "TOP",     "LATERAL", "VIEW",   "LIMIT",   "OFFSET",    "FETCH",      "UNION",
    "FROM",  "EXCEPT",  "INTO",    "END",    "CLUSTER", "INTERSECT", "DISTRIBUTE",
};

// ── SELECT items ───────────────────────────────────────────────────────────────────────────────

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
    if (!from_follows(p)) return refuse(p, ERR_INVALID, "A FROM clause is required");
    return parse_unsupported(p,
                             "Unsupported projection expression",
                             parse_span(p, p->at, item_end(p)));
}

// name ( … ) [AS] ident: COUNT(*) with a name is the only aggregate.
static Err parse_function_item(Parser *p, SqlSelect *out) {
    uint32_t begin = p->at;
    bool is_count = sql_token_is(parser_token(p, 0), "COUNT") &&
                    parser_token(p, 2)->kind == TOK_STAR && parser_token(p, 3)->kind == TOK_RPAREN;
    uint32_t close = p->at + 1;
    for (size_t depth = 0; p->tokens[close].kind != TOK_END; close++) {
        if (p->tokens[close].kind == TOK_LPAREN) depth++;
        if (p->tokens[close].kind == TOK_RPAREN && --depth == 0) break;
    }
    if (p->tokens[close].kind == TOK_END) {
        p->at = close;
        return parse_expected(p, ")");
    }
    p->at = close + 1;
    Str as = STR_NONE;
    Err err = parse_alias(p, not_column_aliases, ARRAY_LEN(not_column_aliases), &as);
    if (err != OK) return err;
    bool alone = out->item_count == 0 && parser_token(p, 0)->kind != TOK_COMMA;
    if (!alone || (as.ptr && !sql_token_is(parser_token(p, 0), "FROM"))) {
        p->at = begin;
        return unsupported_item(p);
    }
    if (!as.ptr)
        return refuse(p, ERR_UNSUPPORTED, "Aggregate expressions must have column aliases");
    if (!is_count)
        return parse_unsupported(p,
                                 "Unsupported aggregate function",
                                 parse_span(p, begin, close + 1));
    out->projection = QPROJECT_COUNT;
    out->count_name = as;
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
        return refuse(p, ERR_UNSUPPORTED, "Mixed wildcard projections are not supported");
    out->projection = QPROJECT_ROW;
    if (star > p->at) {
        Str name = STR_NONE;
        for (; p->at < star; p->at += 2) {
            Err err = OK;
            if (name.ptr)
                err = names_join(p, name, parser_token(p, 0)->text, &name);
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
    if (err == OK)
        err = parse_alias(p, not_column_aliases, ARRAY_LEN(not_column_aliases), &item->as);
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

static Err parse_items(Parser *p, SqlSelect *out) {
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
        if (token->kind == TOK_WORD && parser_token(p, 1)->kind == TOK_LPAREN)
            return parse_function_item(p, out);
        bool plain =
            token->kind == TOK_QUOTED || (token->kind == TOK_WORD && !expr_word_is_reserved(token));
        err = plain ? parse_column_item(p, out) : unsupported_item(p);
        if (err != OK) return err;
        if (parser_token(p, 0)->kind != TOK_COMMA) return OK;
        p->at++;
    }
}

// ── FROM and what follows ──────────────────────────────────────────────────────────────────────

static Err refuse_joins(Parser *p) {
    static const char *const other_joins[] = {"LEFT", "RIGHT", "FULL", "NATURAL", "OUTER"};
    const SqlToken *token = parser_token(p, 0);
    if (token->kind == TOK_COMMA)
        return refuse(p, ERR_UNSUPPORTED, "Implicit joins are not supported");
    if (token_is_one_of(token, other_joins, ARRAY_LEN(other_joins)))
        return refuse(p, ERR_UNSUPPORTED, "Non-inner joins are not supported");
    if (sql_token_is(token, "JOIN") || sql_token_is(token, "INNER") || sql_token_is(token, "CROSS"))
        return parse_unsupported(p, "Unsupported: JOIN", parse_span(p, p->begin, p->count - 1));
    return OK;
}

static Err parse_from(Parser *p, SqlSelect *out) {
    if (!sql_token_is(parser_token(p, 0), "FROM")) {
        const SqlToken *token = parser_token(p, 0);
        if (token->kind == TOK_END || token->kind == TOK_SEMICOLON ||
            sql_token_is(token, "WHERE") || sql_token_is(token, "LIMIT"))
            return refuse(p, ERR_INVALID, "A FROM clause is required");
        return sql_token_is(token, "INTO") ? unsupported_statement(p)
                                           : parse_expected(p, "end of statement");
    }
    p->at++;
    if (parser_token(p, 0)->kind == TOK_LPAREN || sql_token_is(parser_token(p, 0), "LATERAL") ||
        (token_is_ident(parser_token(p, 0)) && parser_token(p, 1)->kind == TOK_LPAREN))
        return parse_unsupported(p,
                                 "Unsupported FROM expression",
                                 parse_span(p, p->at, p->count - 1));
    Err err = parse_table_name(p, &out->table);
    if (err != OK) return err;
    out->alias = out->table;
    err = parse_alias(p, not_table_aliases, ARRAY_LEN(not_table_aliases), &out->alias);
    if (err != OK) return err;
    if (out->alias.ptr != out->table.ptr && parser_token(p, 0)->kind == TOK_LPAREN)
        return parse_unsupported(p,
                                 "Unsupported FROM expression",
                                 parse_span(p, p->at, p->count - 1));
    return refuse_joins(p);
}

static Err parse_where(Parser *p, SqlSelect *out) {
    if (!sql_token_is(parser_token(p, 0), "WHERE")) return OK;
    p->at++;
    return parse_expr(p, &out->nodes, &out->node_count);
}

static Err parse_limit(Parser *p, SqlSelect *out) {
    if (!sql_token_is(parser_token(p, 0), "LIMIT") || p->door != QUERY_SQL) return OK;
    p->at++;
    const SqlToken *token = parser_token(p, 0);
    if (sql_token_is(token, "ALL")) {
        p->at++;
        return OK;
    }
    if (token->kind != TOK_NUMBER)
        return token->kind == TOK_END ? parse_expected(p, "an expression:")
                                      : unsupported_statement(p);
    if (!sql_literal_u64(token->text, &out->limit))
        return diag_fail_at(p->diag,
                            ERR_INVALID,
                            token->at,
                            "The literal expression `" STR_FMT "` cannot be parsed as type `U64`",
                            (int)MIN(token->text.len, (size_t)200),
                            token->text.ptr);
    out->has_limit = true;
    p->at++;
    return OK;
}

static Err parse_statement_end(Parser *p) {
    static const char *const clauses[] = {
        "GROUP", "HAVING",  "ORDER", "SORT",   "LIMIT",     "OFFSET",     "FETCH",
        "FOR",   "WINDOW",  "TOP",   "UNION",  "EXCEPT",    "QUALIFY",    "CLUSTER",
        "INTO",  "LATERAL", "PIVOT", "SELECT", "INTERSECT", "DISTRIBUTE",
    };
    const SqlToken *token = parser_token(p, 0);
    if (token_is_one_of(token, clauses, ARRAY_LEN(clauses))) return unsupported_statement(p);
    if (token->kind == TOK_END) return OK;
    if (token->kind != TOK_SEMICOLON) return parse_expected(p, "end of statement");
    while (parser_token(p, 0)->kind == TOK_SEMICOLON) {
        p->at++;
    }
    if (parser_token(p, 0)->kind != TOK_END)
        return refuse(p, ERR_INVALID, "Multiple SQL statements are not supported");
    return OK;
}

static Err parse_select(Parser *p, SqlSelect *out) {
    Err err = OK;
    p->at++;
    const SqlToken *token = parser_token(p, 0);
    if (sql_token_is(token, "DISTINCT") || sql_token_is(token, "TOP"))
        return unsupported_statement(p);
    if (sql_token_is(token, "ALL")) p->at++;
    if ((err = parse_items(p, out)) != OK) return err;
    if ((err = parse_from(p, out)) != OK) return err;
    if ((err = parse_where(p, out)) != OK) return err;
    if ((err = parse_limit(p, out)) != OK) return err;
    return parse_statement_end(p);
}

// ── statements ─────────────────────────────────────────────────────────────────────────────────

static Err refuse_statement(Parser *p) {
    static const char *const known[] = {
        "INSERT", "UPDATE", "DELETE",  "SET",    "SHOW",     "WITH",  "VALUES",
        "CREATE", "DROP",   "ALTER",   "MERGE",  "TRUNCATE", "GRANT", "BEGIN",
        "START",  "COMMIT", "EXPLAIN", "REVOKE", "ROLLBACK",
    };
    const SqlToken *token = parser_token(p, 0);
    if (!token_is_one_of(token, known, ARRAY_LEN(known)) && token->kind != TOK_LPAREN)
        return parse_expected(p, "an SQL statement");
    if (p->door != QUERY_SQL) return refuse(p, ERR_UNSUPPORTED, "Unsupported: Non-SELECT queries");
    return unsupported_statement(p);
}

static Err parse_statement(Parser *p, SqlSelect *out) {
    while (parser_token(p, 0)->kind == TOK_SEMICOLON) {
        p->at++;
    }
    p->begin = p->at;
    const SqlToken *token = parser_token(p, 0);
    if (token->kind == TOK_END || sql_token_is(token, "END"))
        return refuse(p, ERR_INVALID, "Empty SQL query");
    if (sql_token_is(token, "SELECT")) return parse_select(p, out);
    return refuse_statement(p);
}

Err sql_parse(Str text, QueryDoor door, Arena *arena, SqlSelect *out, Diag *diag) {
    Parser p = {.text = text, .door = door, .arena = arena, .diag = diag};
    *out = (SqlSelect){0};
    Err err = sql_lex(text, arena, &p.tokens, &p.count, diag);
    if (err == OK) err = parse_statement(&p, out);
    return err;
}
