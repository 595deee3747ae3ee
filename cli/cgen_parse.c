// cgen_parse.c: a file's declarations, with the marks before each. What stands inside functions is
// passed over; members of structs are read only when a table or a function needs the type, so that
// anything C may stand beside what concerns us.
#include "cli/cgen.h"

static bool is_mark(const Token *token) {
    return token->kind == TOKEN_WORD && str_starts(token->text, STR("LC_"));
}

static void marks_read(Cgen *gen, Tokens *in, Decl *decl) {
    while (in->at < in->end && is_mark(in->at)) {
        Mark mark = {.name = in->at++};
        if (!ctokens_group(in, '(', ')', &mark.arguments)) mark.arguments = (Tokens){0};
        if (decl->mark_count == DECL_MARKS_MAX) {
            cgen_fail(gen, mark.name, "more than %d marks before one declaration", DECL_MARKS_MAX);
            return;
        }
        decl->marks[decl->mark_count++] = mark;
    }
}

// A declaration ends with its semicolon, or with the braces of a function's body.
static bool declaration_skip(Cgen *gen, Tokens *in) {
    const Token *first = in->at;
    while (in->at < in->end && in->at->kind != TOKEN_END) {
        const Token *at = in->at;
        Tokens inside;
        if (ctokens_punct(in, ';')) return true;
        bool is_body = ctoken_is(at, "{") && at > first && ctoken_is(at - 1, ")");
        if (ctokens_group(in, '{', '}', &inside)) {
            if (is_body) return true;
        } else if (ctoken_is(at, "{")) {
            cgen_fail(gen, at, "this brace is never closed");
            return false;
        } else if (!ctokens_group(in, '(', ')', &inside)) {
            in->at++;
        }
    }
    return in->at > first;
}

static void type_decl_read(Decl *decl) {
    Tokens in = decl->all;
    bool is_typedef = ctokens_word(&in, "typedef");
    bool is_struct = ctokens_word(&in, "struct");
    bool is_enum = !is_struct && ctokens_word(&in, "enum");
    if (is_typedef && decl->all.end - decl->all.at > 2)
        decl->typedef_name = decl->all.end - 2;  // the word before the semicolon
    if (!is_struct && !is_enum) {
        if (is_typedef) decl->kind = DECL_ALIAS, decl->name = decl->typedef_name;
        return;
    }
    if (in.at < in.end && in.at->kind == TOKEN_WORD) decl->name = in.at++;
    if (!ctokens_group(&in, '{', '}', &decl->body)) {
        // A forward declaration, a variable, a function that returns a struct, or a second name.
        decl->kind = is_typedef ? DECL_ALIAS : DECL_OTHER;
        bool forward = is_typedef && decl->name && decl->typedef_name &&
                       str_eq(decl->name->text, decl->typedef_name->text);
        if (forward) decl->kind = DECL_OTHER;
        decl->name = decl->kind == DECL_ALIAS ? decl->typedef_name : NULL;
        return;
    }
    bool is_variable = !is_typedef && !ctokens_punct(&in, ';');
    decl->kind = is_variable ? DECL_OTHER : is_struct ? DECL_STRUCT : DECL_ENUM;
}

static void kind_find(Decl *decl) {
    decl->kind = DECL_OTHER;
    Tokens in = decl->all;
    if (in.at == in.end) return;
    bool is_type =
        ctoken_is(in.at, "typedef") || ctoken_is(in.at, "struct") || ctoken_is(in.at, "enum");
    if (is_type) type_decl_read(decl);
    if (decl->kind == DECL_OTHER && decl->mark_count > 0) decl->kind = DECL_FUNCTION;
}

static Decl *declaration_read(Cgen *gen, Tokens *in) {
    Decl *decl = CGEN_NEW(Decl);
    marks_read(gen, in, decl);
    decl->all.at = in->at;
    if (!declaration_skip(gen, in)) {
        in->at = in->end;
        return NULL;
    }
    decl->all.end = in->at;
    kind_find(decl);
    return decl;
}

void cgen_parse(Cgen *gen) {
    Decl **tail = &gen->decls;
    Tokens in = {gen->tokens, gen->tokens + gen->token_count};
    while (in.at < in.end) {
        if (in.at->kind == TOKEN_END || in.at->kind == TOKEN_DIRECTIVE) {
            in.at++;
            continue;
        }
        Decl *decl = declaration_read(gen, &in);
        if (!decl) return;
        *tail = decl;
        tail = &decl->next;
    }
}

const Decl *cgen_find_decl(const Cgen *gen, Str name) {
    for (const Decl *decl = gen->decls; decl; decl = decl->next) {
        if (decl->kind > DECL_ALIAS) continue;
        if (decl->name && str_eq(decl->name->text, name)) return decl;
        if (decl->typedef_name && str_eq(decl->typedef_name->text, name)) return decl;
    }
    return NULL;
}

bool cgen_read(Cgen *gen, const CgenSource *sources, uint32_t count) {
    *gen = (Cgen){.sources = sources, .source_count = count};
    gen->types_end = &gen->types;
    gen->tables_end = &gen->tables;
    gen->functions_end = &gen->functions;
    cgen_lex(gen);
    if (gen->error_count == 0) cgen_parse(gen);
    if (gen->error_count == 0) cgen_module(gen);
    return gen->error_count == 0;
}
