// parse.c: tokens to a syntax tree (spec §1.4 to §1.6): names, the statement and its end.
//
// Its parts have files of their own: the predicate parse_expr.c, the items parse_items.c, FROM
// parse_from.c, statements that write parse_write.c. What the original's grammar knows but its
// engine refuses is refused with the same class of error (§1.13), unless we can do it: at the door
// QUERY_SQL our dialect is larger (joins with any condition, LEFT JOIN, GROUP BY, ORDER BY, OFFSET,
// EXPLAIN). The subscription doors keep to the original's grammar.
#include "query/parse.h"

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

Err parse_unsupported_statement(Parser *p) {
    uint32_t last = p->count - 1;
    while (last > 0 && p->tokens[last - 1].kind == TOK_SEMICOLON) {
        last--;
    }
    return parse_unsupported(p,
                             p->door == QUERY_SQL ? "Unsupported" : "Unsupported SELECT",
                             parse_span(p, p->begin, last));
}

Err parse_refuse(Parser *p, Err err, const char *text) {
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
Err parse_names_join(Parser *p, Str a, Str b, Str *out) {
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
            err = parse_names_join(p, *qualifier, *last, qualifier);
        else
            *qualifier = *last;
        if (err != OK) return err;
        *last = parser_token(p, 1)->text;
        p->at += 2;
    }
    return OK;
}

Err parse_table_name(Parser *p, Str *out) {
    Str qualifier, last;
    Err err = parse_name(p, &qualifier, &last);
    if (err != OK) return err;
    *out = last;
    return qualifier.ptr ? parse_names_join(p, qualifier, last, out) : OK;
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

Err parse_table_alias(Parser *p, Str *out) {
    return parse_alias(p, not_table_aliases, ARRAY_LEN(not_table_aliases), out);
}
Err parse_column_alias(Parser *p, Str *out) {
    return parse_alias(p, not_column_aliases, ARRAY_LEN(not_column_aliases), out);
}

// ── behind FROM ────────────────────────────────────────────────────────────────────────────────

Err parse_where(Parser *p, SqlSelect *out) {
    if (!sql_token_is(parser_token(p, 0), "WHERE")) return OK;
    p->at++;
    return parse_expr(p, &out->nodes, &out->node_count);
}

StatementParam *parser_param(const Parser *p, const SqlToken *token) {
    uint64_t n = 0;
    if (!p->params || token->kind != TOK_ODD_LITERAL || token->text.ptr[0] != '$') return NULL;
    Str digits = {token->text.ptr + 1, token->text.len - 1};
    if (digits.len == 0 || digits.len > 5) return NULL;
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.ptr[i] < '0' || digits.ptr[i] > '9') return NULL;
        n = n * 10 + (uint64_t)(digits.ptr[i] - '0');
    }
    if (n == 0 || n > p->params->max) return NULL;
    p->params->count = MAX(p->params->count, (uint32_t)n);
    return &p->params->items[n - 1];
}

Err parser_driver_literal(const Parser *p, const SqlToken *token, StatementParam **out) {
    bool is_null = sql_token_is(token, "NULL");
    *out = NULL;
    if (!p->params || !p->params->from_driver || (token->kind != TOK_STRING && !is_null)) return OK;
    *out = arena_new(p->arena, StatementParam);
    if (!*out) return ERR_NOMEM;
    **out = (StatementParam){.known = true, .text = is_null ? (Str){0} : token->text};
    return OK;
}

uint32_t parser_driver_cast(const Parser *p) {
    static const char *const types[] = {
        "bool",    "boolean", "bytea",  "bpchar",  "date",    "float4",    "float8",      "int2",
        "int4",    "int8",    "bigint", "int",     "integer", "smallint",  "interval",    "numeric",
        "decimal", "real",    "text",   "varchar", "uuid",    "timestamp", "timestamptz",
    };
    const SqlToken *colons = parser_token(p, 0), *type = parser_token(p, 1);
    if (!p->params || !p->params->from_driver || colons->kind != TOK_OTHER) return 0;
    bool is_cast = str_eq(colons->text, STR("::")) && type->kind == TOK_WORD;
    return is_cast && token_is_one_of(type, types, ARRAY_LEN(types)) ? 2 : 0;
}

static Err param_count(Parser *p, const SqlToken *token, StatementParam *param, uint64_t *out) {
    Buf value = {0};
    Err err = sql_param(param, type_simple(TYPE_U64), token->text, &value, p->diag);
    if (err == OK && !buf_ok(&value)) err = ERR_NOMEM;
    if (err == OK) *out = load_u64(value.ptr);
    buf_deinit(&value);
    p->at++;
    return err;
}

Err parse_count(Parser *p, uint64_t *out) {
    const SqlToken *token = parser_token(p, 0);
    StatementParam *param = parser_param(p, token);
    if (param) return param_count(p, token, param, out);
    if (token->kind == TOK_END) return parse_expected(p, "an expression:");
    if (token->kind != TOK_NUMBER) return parse_unsupported_statement(p);
    if (!sql_literal_u64(token->text, out))
        return diag_fail_at(p->diag,
                            ERR_INVALID,
                            token->at,
                            "The literal expression `" STR_FMT "` cannot be parsed as type `U64`",
                            (int)MIN(token->text.len, (size_t)200),
                            token->text.ptr);
    p->at++;
    return OK;
}

// LIMIT and OFFSET, in either order.
static Err parse_limit(Parser *p, SqlSelect *out) {
    bool has_offset = false, has_limit = false;
    for (;;) {
        const SqlToken *token = parser_token(p, 0);
        Err err = OK;
        if (!has_limit && sql_token_is(token, "LIMIT")) {
            has_limit = true;
            p->at++;
            out->has_limit = !sql_token_is(parser_token(p, 0), "ALL");
            if (out->has_limit)
                err = parse_count(p, &out->limit);
            else
                p->at++;
        } else if (!has_offset && sql_token_is(token, "OFFSET")) {
            has_offset = true;
            p->at++;
            err = parse_count(p, &out->offset);
        } else {
            return OK;
        }
        if (err != OK) return err;
    }
}

static bool takes_two(Parser *p, const char *first, const char *second) {
    if (!sql_token_is(parser_token(p, 0), first) || !sql_token_is(parser_token(p, 1), second))
        return false;
    p->at += 2;
    return true;
}

static Err parse_groups(Parser *p, SqlSelect *out) {
    if (!takes_two(p, "GROUP", "BY")) return OK;
    out->groups = arena_array(p->arena, SqlItem, p->count - p->at);
    if (!out->groups) return ERR_NOMEM;
    for (;; p->at++) {
        SqlItem *group = &out->groups[out->group_count++];
        const SqlToken *token = parser_token(p, 0);
        if (token->kind == TOK_NUMBER || parser_token(p, 1)->kind == TOK_LPAREN)
            return parse_unsupported_statement(p);
        Err err = parse_name(p, &group->qualifier, &group->column);
        if (err != OK) return err;
        if (parser_token(p, 0)->kind != TOK_COMMA) return OK;
    }
}

static Err parse_order(Parser *p, SqlOrder *order) {
    Err err = parser_token(p, 0)->kind == TOK_NUMBER
                  ? parse_count(p, &order->position)
                  : parse_name(p, &order->qualifier, &order->column);
    if (err != OK) return err;
    if (parser_token(p, 0)->kind == TOK_LPAREN) return parse_unsupported_statement(p);
    if (!order->column.ptr && order->position == 0)
        return parse_refuse(p, ERR_INVALID, "ORDER BY position 0 is not in the select list");
    order->descending = sql_token_is(parser_token(p, 0), "DESC");
    if (order->descending || sql_token_is(parser_token(p, 0), "ASC")) p->at++;
    order->nulls_first =
        order->descending;  // a value that is not there is greater than any that is
    if (takes_two(p, "NULLS", "FIRST")) order->nulls_first = true;
    if (takes_two(p, "NULLS", "LAST")) order->nulls_first = false;
    return OK;
}

static Err parse_orders(Parser *p, SqlSelect *out) {
    if (!takes_two(p, "ORDER", "BY")) return OK;
    out->orders = arena_array(p->arena, SqlOrder, p->count - p->at);
    if (!out->orders) return ERR_NOMEM;
    for (;; p->at++) {
        Err err = parse_order(p, &out->orders[out->order_count++]);
        if (err != OK) return err;
        if (parser_token(p, 0)->kind != TOK_COMMA) return OK;
    }
}

Err parse_statement_end(Parser *p) {
    static const char *const clauses[] = {
        "GROUP", "HAVING",  "ORDER", "SORT",   "LIMIT",     "OFFSET",     "FETCH",
        "FOR",   "WINDOW",  "TOP",   "UNION",  "EXCEPT",    "QUALIFY",    "CLUSTER",
        "INTO",  "LATERAL", "PIVOT", "SELECT", "INTERSECT", "DISTRIBUTE",
    };
    const SqlToken *token = parser_token(p, 0);
    if (token_is_one_of(token, clauses, ARRAY_LEN(clauses))) return parse_unsupported_statement(p);
    if (token->kind == TOK_END) return OK;
    if (token->kind != TOK_SEMICOLON) return parse_expected(p, "end of statement");
    while (parser_token(p, 0)->kind == TOK_SEMICOLON) {
        p->at++;
    }
    if (parser_token(p, 0)->kind != TOK_END)
        return parse_refuse(p, ERR_INVALID, "Multiple SQL statements are not supported");
    return OK;
}

// With several relations a bare name could be anybody's (§1.3). ORDER BY may name an item.
static Err check_qualified(Parser *p, const SqlSelect *s) {
    bool bare = false;
    if (s->relation_count < 2) return OK;
    if (s->projection == QPROJECT_ROW && !s->star_qualifier.ptr)
        return parse_refuse(p, ERR_UNSUPPORTED, "SELECT * is not supported for joins");
    for (uint32_t i = 0; i < s->item_count; i++)
        bare |= s->items[i].column.ptr && !s->items[i].qualifier.ptr;
    for (uint32_t i = 0; i < s->group_count; i++)
        bare |= !s->groups[i].qualifier.ptr;
    for (uint32_t i = 0; i < s->node_count; i++)
        bare |= s->nodes[i].kind == SQL_COLUMN && !s->nodes[i].qualifier.ptr;
    for (uint32_t r = 1; r < s->relation_count; r++) {
        const SqlRelation *relation = &s->relations[r];
        for (uint32_t i = 0; i < relation->on_count; i++)
            bare |= relation->on[i].kind == SQL_COLUMN && !relation->on[i].qualifier.ptr;
    }
    return bare ? parse_refuse(p, ERR_INVALID, "Names must be qualified when using joins") : OK;
}

// COUNT(*) alone has a way of its own; every other aggregate is a group.
static void recognise_count(SqlSelect *s) {
    if (s->projection != QPROJECT_COLUMNS || s->item_count != 1 || s->group_count > 0) return;
    if (s->items[0].function != SQL_COUNT_ALL) return;
    s->projection = QPROJECT_COUNT;
    s->count_name = s->items[0].as;
}

static Err parse_select(Parser *p, SqlSelect *out) {
    Err err = OK;
    p->at++;
    const SqlToken *token = parser_token(p, 0);
    if (sql_token_is(token, "DISTINCT") || sql_token_is(token, "TOP"))
        return parse_unsupported_statement(p);
    if (sql_token_is(token, "ALL")) p->at++;
    if ((err = parse_items(p, out)) != OK) return err;
    if ((err = parse_from(p, out)) != OK) return err;
    if ((err = parse_where(p, out)) != OK) return err;
    if (p->door == QUERY_SQL) {
        if ((err = parse_groups(p, out)) != OK) return err;
        if ((err = parse_orders(p, out)) != OK) return err;
        if ((err = parse_limit(p, out)) != OK) return err;
    }
    recognise_count(out);
    if ((err = parse_statement_end(p)) != OK) return err;
    return check_qualified(p, out);
}

bool sql_select_is_plain(const SqlSelect *s) {
    if (s->relation_count > 1 || s->group_count || s->order_count || s->offset) return false;
    for (uint32_t i = 0; s->projection == QPROJECT_COLUMNS && i < s->item_count; i++) {
        if (s->items[i].function != SQL_PLAIN) return false;
    }
    return true;
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
    if (p->door != QUERY_SQL)
        return parse_refuse(p, ERR_UNSUPPORTED, "Unsupported: Non-SELECT queries");
    return parse_unsupported_statement(p);
}

static void parse_explain(Parser *p, SqlStatement *out) {
    if (p->door != QUERY_SQL || !sql_token_is(parser_token(p, 0), "EXPLAIN")) return;
    out->explain = true;
    p->at++;
    out->analyze = sql_token_is(parser_token(p, 0), "ANALYZE");
    if (out->analyze) p->at++;
    if (out->analyze || !sql_token_is(parser_token(p, 0), "SUBSCRIBE")) return;
    p->at++;
    uint32_t last = p->count - 1;
    while (last > p->at && p->tokens[last - 1].kind == TOK_SEMICOLON) {
        last--;
    }
    out->subscription = parse_span(p, p->at, last);
}

static Err parse_statement(Parser *p, SqlStatement *out) {
    while (parser_token(p, 0)->kind == TOK_SEMICOLON) {
        p->at++;
    }
    p->begin = p->at;
    const SqlToken *token = parser_token(p, 0);
    if (token->kind == TOK_END || sql_token_is(token, "END"))
        return parse_refuse(p, ERR_INVALID, "Empty SQL query");
    parse_explain(p, out);
    if (sql_token_is(parser_token(p, 0), "SELECT")) return parse_select(p, &out->select);
    bool known = false;
    Err err = p->door == QUERY_SQL ? parse_write(p, out, &known) : OK;
    if (err == OK) err = known ? parse_statement_end(p) : refuse_statement(p);
    if (err == OK && out->explain && (out->verb == SQL_SET || out->verb == SQL_SHOW))
        err = parse_unsupported_statement(p);
    return err;
}

Err sql_parse(Str text,
              QueryDoor door,
              StatementParams *params,
              Arena *arena,
              SqlStatement *out,
              Diag *diag) {
    Parser p = {.text = text, .door = door, .params = params, .arena = arena, .diag = diag};
    *out = (SqlStatement){0};
    Err err = sql_lex(text, arena, &p.tokens, &p.count, diag);
    if (err == OK) err = parse_statement(&p, out);
    return err;
}

Err sql_parse_select(Str text, QueryDoor door, Arena *arena, SqlSelect *out, Diag *diag) {
    SqlStatement statement;
    Err err = sql_parse(text, door, NULL, arena, &statement, diag);
    if (err != OK) return err;
    *out = statement.select;
    if (statement.verb == SQL_SELECT && !statement.explain) return OK;
    return diag_fail(diag, ERR_UNSUPPORTED, "Unsupported: Non-SELECT queries");
}
