// cgen_header.c: module.gen.h, which lightcone.h includes before the author's types are complete.
// So it may only name them: forward declarations, pointers, prototypes.
#include "cli/cgen.h"

static void declare_generic(Buf *out, const CType *type) {
    buf_printf(out, "typedef struct %s {\n", type->spelling);
    if (type->kind == CTYPE_ARRAY)
        buf_printf(out, "    %s;\n    size_t len, cap;\n", ctype_declare(type->target, "*items"));
    else if (type->kind == CTYPE_RESULT)
        buf_printf(out,
                   "    %s;\n    %s;\n",
                   ctype_declare(type->target, "*ok"),
                   ctype_declare(type->error, "*err"));
    else
        buf_printf(out, "    String sql;\n");
    buf_printf(out, "} %s;\n", type->spelling);
}

// What a typedef or a generic stands for comes before it.
static void declare(CType *type, Buf *out) {
    if (!type || type->is_declared) return;
    type->is_declared = true;
    switch (type->kind) {
    case CTYPE_STRUCT:
    case CTYPE_SUM:
        buf_printf(out, "typedef struct %s %s;\n", type->spelling, type->spelling);
        return;
    case CTYPE_ENUM:
        buf_printf(out, "typedef enum %s %s;\n", type->spelling, type->spelling);
        return;
    case CTYPE_ALIAS:
        declare(type->target, out);
        buf_printf(out, "typedef %s;\n", ctype_declare(type->target, type->spelling));
        return;
    case CTYPE_ARRAY:
    case CTYPE_RESULT:
    case CTYPE_QUERY:
        declare(type->target, out);
        declare(type->error, out);
        declare_generic(out, type);
        return;
    case CTYPE_OPTION: declare(type->target, out); return;
    case CTYPE_SCALAR:
    case CTYPE_VOID: return;
    }
}

static const char *params_text(const CFunction *function, const char *context) {
    const char *text = cli_format("%s *ctx", context);
    for (uint32_t i = 0; i < function->param_count; i++)
        text =
            cli_format("%s, %s",
                       text,
                       ctype_declare(function->params[i].type, cli_copy(function->params[i].name)));
    return text;
}

static void prototype(const CFunction *function, Buf *out) {
    const char *name = cli_copy(function->name);
    switch (function->kind) {
    case CFUNCTION_REDUCER:
        buf_printf(out, "Error %s(%s);\n", name, params_text(function, "Ctx"));
        return;
    case CFUNCTION_VIEW:
        buf_printf(out, "%s(ViewCtx *ctx);\n", ctype_declare(function->returns, name));
        return;
    case CFUNCTION_VIEW_ANON:
        buf_printf(out, "%s(AnonymousViewCtx *ctx);\n", ctype_declare(function->returns, name));
        return;
    case CFUNCTION_PROCEDURE:
        buf_printf(out,
                   "%s(%s);\n",
                   ctype_declare(function->returns, name),
                   params_text(function, "ProcedureCtx"));
        return;
    case CFUNCTION_HTTP:
        buf_printf(out, "HttpResponse %s(ProcedureCtx *ctx, const HttpRequest *request);\n", name);
        return;
    }
}

void cgen_header(const Cgen *gen, Buf *out) {
    buf_printf(
        out,
        "// module.gen.h: made by `lightcone build` from the marks in this module's sources.\n"
        "// lightcone.h includes it; changes made here are lost.\n#pragma once\n\n");
    for (CType *type = gen->types; type; type = type->next)
        declare(type, out);
    for (const CTable *table = gen->tables; table; table = table->next)
        cgen_table_prototypes(table, out);
    if (gen->functions) buf_printf(out, "\n// ── functions of this module\n");
    for (const CFunction *function = gen->functions; function; function = function->next)
        prototype(function, out);
}
