// typing.c: every node of the predicate gets a type, every literal a value (spec §1.8).
//
// The rule is written top-down, with an expected type handed to each operand. Since an expectation
// only ever comes from the sibling or is Bool, one loop over the nodes, children first, gives the
// same answers without recursion: a node is given what it is by itself, and its parent checks it
// against what it expects.
#include "query/compile.h"
#include "sats/key.h"

static Err fail_memory(Diag *diag) {
    return diag_fail(diag, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
}

static int cut(Str text) {
    return (int)utf8_cut(text, 200);
}

static Err fail_with_type(Diag *diag, const char *before, Str shown, const Type *type) {
    Buf name = {0};
    type_print(&name, type);
    Err err = diag_fail(diag,
                        ERR_INVALID,
                        "%s `%.*s` %s type `%.*s`",
                        before,
                        cut(shown),
                        shown.ptr,
                        before[0] == 'T' ? "cannot be parsed as" : "for",
                        cut(bytes_str(buf_bytes(&name))),
                        (const char *)name.ptr);
    bool ok = buf_ok(&name);
    buf_deinit(&name);
    return ok ? err : fail_memory(diag);
}

Err compile_fail_literal(Diag *diag, Str text, const Type *type) {
    return fail_with_type(diag, "The literal expression", text, type);
}

static Err fail_operator(const Compiler *c, QueryOp op, const Type *type) {
    static const char *const spelled[] = {"=", "<>", "<", "<=", ">", ">="};
    return fail_with_type(c->diag, "Invalid binary operator", str_from(spelled[op]), type);
}

Err compile_fail_type(Diag *diag, const Type *expected, const Type *inferred) {
    Buf a = {0}, b = {0};
    type_print(&a, expected);
    type_print(&b, inferred);
    Err err = diag_fail(diag,
                        ERR_INVALID,
                        "Unexpected type: (expected) %.*s != %.*s (inferred)",
                        cut(bytes_str(buf_bytes(&a))),
                        (const char *)a.ptr,
                        cut(bytes_str(buf_bytes(&b))),
                        (const char *)b.ptr);
    bool ok = buf_ok(&a) && buf_ok(&b);
    buf_deinit(&a);
    buf_deinit(&b);
    return ok ? err : fail_memory(diag);
}

static bool is_bytes(const Type *type) {
    return type->special == SPECIAL_BYTES;
}

// §1.9. Everything else cannot be compared, not even to itself.
bool compile_comparable(const Type *type) {
    switch (type->kind) {
    case TYPE_ARRAY: return is_bytes(type);
    case TYPE_PRODUCT:
        return type->special == SPECIAL_IDENTITY || type->special == SPECIAL_CONNECTION_ID ||
               type->special == SPECIAL_TIMESTAMP || type->special == SPECIAL_UUID;
    case TYPE_SUM:
    case TYPE_REF: return false;
    default: return true;
    }
}

static Err keep_value(Compiler *c, Typed *typed, Buf *value) {
    typed->value = arena_bytes(c->scratch, buf_bytes(value));
    bool ok = buf_ok(value) && typed->value.ptr;
    buf_deinit(value);
    return ok ? OK : fail_memory(c->diag);
}

static Err expect_literal(Compiler *c, const SqlNode *node, Typed *typed, const Type *expected) {
    Buf value = {0};
    Err err = OK;
    if (node->param)
        err = sql_param(node->param, expected, node->text, &value, c->diag);
    else if (!sql_literal(expected, node->text, &value))
        err = compile_fail_literal(c->diag, node->text, expected);
    if (err != OK) {
        buf_deinit(&value);
        return err;
    }
    typed->type = expected;
    return keep_value(c, typed, &value);
}

// :sender is an Identity, or its 32 bytes in the order of its hex text.
static Err expect_sender(Compiler *c, Typed *typed, const Type *expected) {
    if (expected->special == SPECIAL_IDENTITY) return OK;
    if (!is_bytes(expected)) return compile_fail_type(c->diag, expected, typed->type);
    Buf value = {0};
    buf_put_u32(&value, sizeof c->caller->identity.le);
    for (size_t i = sizeof c->caller->identity.le; i-- > 0;) {
        buf_put_u8(&value, c->caller->identity.le[i]);
    }
    typed->type = expected;
    return keep_value(c, typed, &value);
}

static Err expect(Compiler *c, uint32_t at, const Type *expected) {
    const SqlNode *node = &c->nodes[at];
    Typed *typed = &c->typed[at];
    if (node->kind == SQL_LITERAL) return expect_literal(c, node, typed, expected);
    if (node->kind == SQL_SENDER) return expect_sender(c, typed, expected);
    return type_eq(typed->type, expected) ? OK : compile_fail_type(c->diag, expected, typed->type);
}

static bool is_constant(const SqlNode *node) {
    return node->kind == SQL_LITERAL || node->kind == SQL_BOOL || node->kind == SQL_SENDER;
}

static Err type_compare(Compiler *c, const SqlNode *node) {
    bool from_right = is_constant(&c->nodes[node->left]);
    uint32_t anchor = from_right ? node->right : node->left;
    uint32_t other = from_right ? node->left : node->right;
    const Type *type = c->typed[anchor].type;
    if (!type) return diag_fail(c->diag, ERR_INVALID, "Cannot resolve type for literal expression");
    Err err = expect(c, other, type);
    if (err != OK) return err;
    return compile_comparable(type) ? OK : fail_operator(c, node->op, type);
}

Err compile_fail_name(const Compiler *c, Str name) {
    return diag_fail(c->diag, ERR_INVALID, "`%.*s` is not in scope", cut(name), name.ptr);
}

static bool column_find(const CatalogTable *table, Str name, uint16_t *out) {
    for (uint32_t pass = 0; pass < 2; pass++) {  // accessor first, then canonical (§1.3)
        for (uint32_t i = compile_first_column(table); i < table->column_count; i++) {
            const CatalogColumn *column = &table->columns[i];
            if (!str_eq(pass == 0 ? column->source : column->name, name)) continue;
            *out = (uint16_t)i;
            return true;
        }
    }
    return false;
}

Err compile_column(const Compiler *c, Str qualifier, Str name, uint32_t *relation, uint16_t *out) {
    const Scope alone = {c->select->alias, c->table};
    const Scope *scope = c->scope ? c->scope : &alone;
    uint32_t count = c->scope ? c->scope_count : 1, at = 0;
    while (qualifier.ptr && at < count && !str_eq(qualifier, scope[at].alias)) {
        at++;
    }
    if (at == count) return compile_fail_name(c, qualifier);
    *relation = at;
    return column_find(scope[at].table, name, out) ? OK : compile_fail_name(c, name);
}

static Err type_node(Compiler *c, uint32_t at) {
    static const uint8_t truth[] = {0, 1};
    const SqlNode *node = &c->nodes[at];
    Typed *typed = &c->typed[at];
    const Type *boolean = type_simple(TYPE_BOOL);
    const CatalogTable *table = c->table;
    Err err = OK;
    switch (node->kind) {
    case SQL_BOOL:
        *typed = (Typed){.type = boolean, .value = BYTES(&truth[node->value], 1)};
        return OK;
    case SQL_LITERAL: return OK;
    case SQL_SENDER:
        typed->type = type_special(SPECIAL_IDENTITY);
        typed->value = BYTES(c->caller->identity.le, sizeof c->caller->identity.le);
        if (c->query) c->query->mentions_sender = true;
        return OK;
    case SQL_COLUMN:
        err = compile_column(c, node->qualifier, node->text, &typed->relation, &typed->column);
        if (err == OK && c->scope) table = c->scope[typed->relation].table;
        if (err == OK) typed->type = table->columns[typed->column].type;
        return err;
    case SQL_COMPARE: err = type_compare(c, node); break;
    case SQL_AND:
    case SQL_OR:
        err = expect(c, node->left, boolean);
        if (err == OK) err = expect(c, node->right, boolean);
        break;
    case SQL_NOT: err = expect(c, node->left, boolean); break;
    case SQL_IS_NULL: break;  // of a column of whatever type
    }
    typed->type = boolean;
    return err;
}

Err compile_types(Compiler *c) {
    uint32_t count = c->node_count;
    c->typed = arena_array(c->scratch, Typed, count);
    if (!c->typed) return fail_memory(c->diag);
    for (uint32_t i = 0; i < count; i++) {
        Err err = type_node(c, i);
        if (err != OK) return err;
    }
    return count ? expect(c, count - 1, type_simple(TYPE_BOOL)) : OK;
}
