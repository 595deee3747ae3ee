// cgen_code.c: module.gen.c: the author's types again, how each becomes bytes and comes back, the
// accessors, and the way from a call's number to the author's function.
#include "cli/cgen.h"

// ── definitions ────────────────────────────────────────────────────────────────────────────────
// As the author wrote them, so that the two translation units agree (C17 6.2.7). A type comes after
// those that it holds by value; Array and Result hold pointers.

static void define(CType *type, Buf *out) {
    if (!type || type->is_defined) return;
    type->is_defined = true;
    if (type->kind == CTYPE_ALIAS) define(type->target, out);
    bool has_text =
        type->kind == CTYPE_STRUCT || type->kind == CTYPE_SUM || type->kind == CTYPE_ENUM;
    if (!has_text) return;
    for (uint32_t i = 0; i < type->field_count; i++)
        define(type->fields[i].type, out);
    const Token *first = type->decl->all.at, *last = type->decl->all.end - 1;
    size_t len = (size_t)(last->text.ptr + last->text.len - first->text.ptr);
    buf_printf(out, "// %s\n%.*s\n", first->source->path, (int)len, first->text.ptr);
}

// ── one value ──────────────────────────────────────────────────────────────────────────────────

static void put_value(Buf *out, CType *type, const char *value) {
    type = ctype_strip(type);
    buf_printf(out,
               "%sput_%s(out, %s%s);\n",
               type->kind == CTYPE_SCALAR ? "lc_" : "",
               type->codec,
               ctype_by_value(type) ? "" : "&",
               value);
}

static void get_value(Buf *out, CType *type, const char *value) {
    type = ctype_strip(type);
    if (type->kind == CTYPE_SCALAR)
        buf_printf(out, "%s = lc_get_%s(in);\n", value, type->codec);
    else if (type->kind == CTYPE_ENUM)
        buf_printf(out, "%s = get_%s(in);\n", value, type->codec);
    else
        buf_printf(out, "get_%s(in, &%s);\n", type->codec, value);
}

// ── one type ───────────────────────────────────────────────────────────────────────────────────

static void put_head(Buf *out, const CType *type) {
    bool is_option = type->kind == CTYPE_OPTION;
    const char *value = type->kind == CTYPE_ENUM ? "v" : is_option ? "const *v" : "*v";
    bool is_const = type->kind != CTYPE_ENUM && !is_option;
    buf_printf(out,
               "static LC_UNUSED void put_%s(LcWriter *out, %s%s)",
               type->codec,
               is_const ? "const " : "",
               ctype_declare(type, value));
}

static void get_head(Buf *out, const CType *type) {
    if (type->kind == CTYPE_ENUM)
        buf_printf(out, "static LC_UNUSED %s get_%s(LcReader *in)", type->spelling, type->codec);
    else
        buf_printf(out,
                   "static LC_UNUSED void get_%s(LcReader *in, %s)",
                   type->codec,
                   ctype_declare(type, "*v"));
}

static void put_body(Buf *out, const CType *type) {
    switch (type->kind) {
    case CTYPE_STRUCT:
        for (uint32_t i = 0; i < type->field_count; i++) {
            buf_printf(out, "    ");
            put_value(out,
                      type->fields[i].type,
                      cli_format("v->" STR_FMT, STR_ARG(type->fields[i].member)));
        }
        return;
    case CTYPE_ENUM:
        buf_printf(out,
                   "    if ((uint32_t)v >= %u) lc_bad_tag(\"%s\", (uint32_t)v);\n"
                   "    lc_put_uint8_t(out, (uint8_t)v);\n",
                   type->field_count,
                   type->spelling);
        return;
    case CTYPE_SUM:
        buf_printf(out,
                   "    if ((uint32_t)v->tag >= %u) lc_bad_tag(\"%s\", (uint32_t)v->tag);\n"
                   "    lc_put_uint8_t(out, (uint8_t)v->tag);\n",
                   type->field_count,
                   type->spelling);
        for (uint32_t i = 0; i < type->field_count; i++) {
            if (!type->fields[i].type) continue;
            buf_printf(out, "    if (v->tag == " STR_FMT ") ", STR_ARG(type->fields[i].constant));
            put_value(out,
                      type->fields[i].type,
                      cli_format("v->" STR_FMT, STR_ARG(type->fields[i].member)));
        }
        return;
    case CTYPE_OPTION:
        buf_printf(out, "    lc_put_uint8_t(out, *v ? 0 : 1);\n    if (*v) ");
        put_value(out, type->target, "**v");
        return;
    case CTYPE_ARRAY:
        buf_printf(out,
                   "    lc_put_uint32_t(out, (uint32_t)v->len);\n"
                   "    for (size_t i = 0; i < v->len; i++)\n        ");
        put_value(out, type->target, "v->items[i]");
        return;
    case CTYPE_RESULT:
        buf_printf(out,
                   "    if (!v->ok == !v->err) lc_panic(\"%s: one of ok and err is set\");\n"
                   "    lc_put_uint8_t(out, v->ok ? 0 : 1);\n    if (v->ok) ",
                   type->spelling);
        put_value(out, type->target, "*v->ok");
        buf_printf(out, "    if (v->err) ");
        put_value(out, type->error, "*v->err");
        return;
    case CTYPE_SCALAR:
    case CTYPE_ALIAS:
    case CTYPE_QUERY:
    case CTYPE_VOID: return;
    }
}

static void get_new(Buf *out, CType *type, const char *where) {
    buf_printf(out, "        %s = LC_NEW(%s);\n        ", where, type->spelling);
    get_value(out, type, cli_format("*%s", where));
}

static void get_body(Buf *out, const CType *type) {
    switch (type->kind) {
    case CTYPE_STRUCT:
        for (uint32_t i = 0; i < type->field_count; i++) {
            buf_printf(out, "    ");
            get_value(out,
                      type->fields[i].type,
                      cli_format("v->" STR_FMT, STR_ARG(type->fields[i].member)));
        }
        return;
    case CTYPE_ENUM:
        buf_printf(out, "    return (%s)lc_get_tag(in, %u);\n", type->spelling, type->field_count);
        return;
    case CTYPE_SUM:
        buf_printf(out, "    v->tag = lc_get_tag(in, %u);\n", type->field_count);
        for (uint32_t i = 0; i < type->field_count; i++) {
            if (!type->fields[i].type) continue;
            buf_printf(out, "    if (v->tag == " STR_FMT ") ", STR_ARG(type->fields[i].constant));
            get_value(out,
                      type->fields[i].type,
                      cli_format("v->" STR_FMT, STR_ARG(type->fields[i].member)));
        }
        return;
    case CTYPE_OPTION:
        buf_printf(out, "    *v = NULL;\n    if (lc_get_tag(in, 2) == 0) {\n");
        get_new(out, type->target, "*v");
        buf_printf(out, "    }\n");
        return;
    case CTYPE_ARRAY:
        buf_printf(out,
                   "    v->len = v->cap = lc_get_count(in, %u);\n"
                   "    v->items = LC_NEW_ARRAY(%s, v->len);\n"
                   "    for (size_t i = 0; i < v->len; i++)\n        ",
                   ctype_bytes_min(type->target),
                   type->target->spelling);
        get_value(out, type->target, "v->items[i]");
        return;
    case CTYPE_RESULT:
        buf_printf(out,
                   "    v->ok = NULL;\n    v->err = NULL;\n    if (lc_get_tag(in, 2) == 0) {\n");
        get_new(out, type->target, "v->ok");
        buf_printf(out, "    } else {\n");
        get_new(out, type->error, "v->err");
        buf_printf(out, "    }\n");
        return;
    case CTYPE_SCALAR:
    case CTYPE_ALIAS:
    case CTYPE_QUERY:
    case CTYPE_VOID: return;
    }
}

static bool has_codec(const CType *type) {
    return type->kind != CTYPE_SCALAR && type->kind != CTYPE_ALIAS && type->kind != CTYPE_QUERY &&
           type->kind != CTYPE_VOID;
}

static void codecs(const Cgen *gen, Buf *out) {
    buf_printf(out, "\n// ── types as bytes\n\n");
    for (const CType *type = gen->types; type; type = type->next) {
        if (!has_codec(type)) continue;
        put_head(out, type);
        buf_printf(out, ";\n");
        get_head(out, type);
        buf_printf(out, ";\n");
    }
    for (const CType *type = gen->types; type; type = type->next) {
        if (!has_codec(type)) continue;
        buf_printf(out, "\n");
        put_head(out, type);
        buf_printf(out,
                   " {\n%s",
                   type->field_count || type->kind != CTYPE_STRUCT ? ""
                                                                   : "    (void)out, (void)v;\n");
        put_body(out, type);
        buf_printf(out, "}\n");
        get_head(out, type);
        buf_printf(out,
                   " {\n%s",
                   type->field_count || type->kind != CTYPE_STRUCT ? ""
                                                                   : "    (void)in, (void)v;\n");
        get_body(out, type);
        buf_printf(out, "}\n");
    }
}

// ── calls ──────────────────────────────────────────────────────────────────────────────────────

static const char *arguments(const CFunction *function) {
    const char *all = "ctx";
    for (uint32_t i = 0; i < function->param_count; i++)
        all = cli_format("%s, arg_%u", all, i);
    return all;
}

static void get_params(const CFunction *function, Buf *out) {
    for (uint32_t i = 0; i < function->param_count; i++) {
        CType *type = function->params[i].type;
        buf_printf(out, "        %s;\n        ", ctype_declare(type, cli_format("arg_%u", i)));
        get_value(out, type, cli_format("arg_%u", i));
    }
}

static void call_reducer(const CFunction *function, Buf *out) {
    get_params(function, out);
    buf_printf(out,
               "        return " STR_FMT "(%s);\n",
               STR_ARG(function->name),
               arguments(function));
}

static void call_procedure(const CFunction *function, Buf *out) {
    get_params(function, out);
    if (ctype_strip(function->returns)->kind == CTYPE_VOID) {
        buf_printf(out,
                   "        " STR_FMT "(%s);\n        return;\n",
                   STR_ARG(function->name),
                   arguments(function));
        return;
    }
    buf_printf(out,
               "        %s = " STR_FMT "(%s);\n        ",
               ctype_declare(function->returns, "result"),
               STR_ARG(function->name),
               arguments(function));
    put_value(out, function->returns, "result");
    buf_printf(out, "        return;\n");
}

// An option is sent as an array of one row or none (§1.13).
static void call_view(const CFunction *function, Buf *out) {
    CType *returns = ctype_strip(function->returns);
    buf_printf(out,
               "        %s = " STR_FMT "(ctx);\n        lc_put_uint8_t(out, %d);\n        ",
               ctype_declare(function->returns, "result"),
               STR_ARG(function->name),
               returns->kind == CTYPE_QUERY);
    if (returns->kind == CTYPE_QUERY) {
        buf_printf(out, "lc_put_String(out, result.sql);\n");
    } else if (returns->kind == CTYPE_OPTION) {
        buf_printf(out, "lc_put_uint32_t(out, result ? 1 : 0);\n        if (result) ");
        put_value(out, returns->target, "*result");
    } else {
        put_value(out, returns, "result");
    }
    buf_printf(out, "        return;\n");
}

static void call_http(const CFunction *function, Buf *out) {
    buf_printf(out, "        return " STR_FMT "(ctx, request);\n", STR_ARG(function->name));
}

static void dispatch(const Cgen *gen,
                     Buf *out,
                     CFunctionKind kind,
                     const char *head,
                     const char *unused,
                     void (*call)(const CFunction *, Buf *)) {
    buf_printf(out, "\n%s {\n%s    switch (id) {\n", head, unused);
    for (const CFunction *function = gen->functions; function; function = function->next) {
        if (function->kind != kind) continue;
        buf_printf(out, "    case %u: {\n", function->id);
        call(function, out);
        buf_printf(out, "    }\n");
    }
    buf_printf(
        out,
        "    }\n    lc_panic(\"the module has no function %%u of this kind\", (unsigned)id);\n}\n");
}

static void dispatches(const Cgen *gen, Buf *out) {
    buf_printf(out, "\n// ── calls\n");
    dispatch(gen,
             out,
             CFUNCTION_REDUCER,
             "Error lc_module_reducer(uint32_t id, Ctx *ctx, LcReader *in)",
             "    (void)ctx, (void)in;\n",
             call_reducer);
    dispatch(
        gen,
        out,
        CFUNCTION_PROCEDURE,
        "void lc_module_procedure(uint32_t id, ProcedureCtx *ctx, LcReader *in, LcWriter *out)",
        "    (void)ctx, (void)in, (void)out;\n",
        call_procedure);
    dispatch(gen,
             out,
             CFUNCTION_VIEW,
             "void lc_module_view(uint32_t id, ViewCtx *ctx, LcWriter *out)",
             "    (void)ctx, (void)out;\n",
             call_view);
    dispatch(gen,
             out,
             CFUNCTION_VIEW_ANON,
             "void lc_module_view_anon(uint32_t id, AnonymousViewCtx *ctx, LcWriter *out)",
             "    (void)ctx, (void)out;\n",
             call_view);
    dispatch(
        gen,
        out,
        CFUNCTION_HTTP,
        "HttpResponse lc_module_http(uint32_t id, ProcedureCtx *ctx, const HttpRequest *request)",
        "    (void)ctx, (void)request;\n",
        call_http);
}

// ── all of it ──────────────────────────────────────────────────────────────────────────────────

static void definition_bytes(Bytes definition, Buf *out) {
    buf_printf(
        out,
        "\n// ── what the module tells the server about itself (BSATN of RawModuleDef, V10)\n\n"
        "const uint32_t lc_module_definition_bytes = %zu;\n"
        "const uint8_t lc_module_definition[] = {",
        definition.len);
    for (size_t i = 0; i < definition.len; i++)
        buf_printf(out, "%s0x%02x,", i % 20 ? "" : "\n    ", definition.ptr[i]);
    buf_printf(out, "\n};\n");
}

void cgen_code(Cgen *gen, Bytes definition, Buf *out) {
    buf_printf(
        out,
        "// module.gen.c: made by `lightcone build` from the marks in this module's sources.\n"
        "// Changes made here are lost.\n#include \"lightcone_gen.h\"\n\n"
        "#define LC_UNUSED __attribute__((unused))\n\n"
        "// ── the module's types, as its sources define them\n\n");
    for (CType *type = gen->types; type; type = type->next)
        define(type, out);
    codecs(gen, out);
    for (const CTable *table = gen->tables; table; table = table->next)
        cgen_table_code(table, out);
    dispatches(gen, out);
    definition_bytes(definition, out);
}
