// validate.c: from what a module wrote to a definition that everybody may rely on (module-abi §3.8).
//
// START AT  raw_validate(); validate.h has the map.
#include "schema/validate.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

// More than this nobody reads, and a Diag would not hold it.
enum { ERRORS_BYTES_MAX = 2 * DIAG_TEXT_MAX };

enum { NAMESPACE_BYTES_MAX = 63 };

void invalid(Validator *v, const char *fmt, ...) {
    v->error_count++;
    if (v->errors.len > ERRORS_BYTES_MAX) return;
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (v->errors.len > 0) buf_put_u8(&v->errors, '\n');
    buf_put_str(&v->errors, str_from(text));
}

void *validate_alloc(Validator *v, size_t each, size_t count) {
    void *array = arena_zalloc_array(v->arena, each, count);
    if (!array) v->nomem = true;
    return array;
}

Str validate_printf(Validator *v, const char *fmt, ...) {
    char text[512];
    va_list args;
    va_start(args, fmt);
    int need = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (need >= 0 && (size_t)need < sizeof text) {
        Str copy = arena_str(v->arena, (Str){text, (size_t)need});
        if (copy.ptr) return copy;
        v->nomem = true;
        return STR("");
    }
    char *longer = need < 0 ? NULL : validate_alloc(v, 1, (size_t)need + 1);
    if (!longer) {
        v->nomem = true;
        return STR("");
    }
    va_start(args, fmt);
    vsnprintf(longer, (size_t)need + 1, fmt, args);
    va_end(args);
    return (Str){longer, (size_t)need};
}

Str type_text(Validator *v, const Type *type) {
    Buf text = {0};
    type_print(&text, type);
    Str copy = buf_ok(&text) ? arena_str(v->arena, bytes_str(buf_bytes(&text))) : STR_NONE;
    buf_deinit(&text);
    if (copy.ptr) return copy;
    v->nomem = true;
    return STR("");
}

// ── names ──────────────────────────────────────────────────────────────────────────────────────

Str name_convert(Validator *v, Str source, CaseStyle style) {
    if (v->raw->case_policy == CASE_NONE) return source;
    Str converted = case_convert(v->arena, source, style);
    if (converted.ptr) return converted;
    v->nomem = true;
    return STR("");
}

Str name_explicit(const Validator *v, RawNameKind kind, Str source) {
    for (uint32_t i = 0; i < v->raw->explicit_name_count; i++) {
        const RawExplicitName *name = &v->raw->explicit_names[i];
        if (name->kind == kind && str_eq(name->source, source)) return name->canonical;
    }
    return STR_NONE;
}

Str name_canonical(Validator *v, RawNameKind kind, Str source) {
    Str given = name_explicit(v, kind, source);
    Str name = given.ptr ? given : name_convert(v, source, CASE_STYLE_SNAKE);
    name_check(v, name);
    return name_full(v, name);
}

Str name_full(Validator *v, Str name) {
    if (v->scope->prefix.len == 0) return name;
    return validate_printf(v, STR_FMT STR_FMT, STR_ARG(v->scope->prefix), STR_ARG(name));
}

Str name_local(const Validator *v, Str full) {
    size_t skip = v->scope->prefix.len;
    ASSERT(full.len >= skip);
    return (Str){full.ptr + skip, full.len - skip};
}

void name_check(Validator *v, Str name) {
    Buf reason = {0};
    if (!ident_check(name, &reason)) {
        if (!buf_ok(&reason)) v->nomem = true;
        invalid(v,
                "module contains invalid identifier: " STR_FMT,
                STR_ARG(bytes_str(buf_bytes(&reason))));
    }
    buf_deinit(&reason);
}

static bool claim(Validator *v, NameSet *set, Str name) {
    bool added = false;
    if (nameset_add(set, v->arena, name, &added) != OK) {
        v->nomem = true;
        return true;
    }
    return added;
}

void entity_claim(Validator *v, Str name) {
    if (claim(v, &v->entities, name)) return;
    invalid(v, "name `" STR_FMT "` is used for multiple entities", STR_ARG(name));
}

void entity_claim_both(Validator *v, Str canonical, Str source) {
    entity_claim(v, canonical);
    if (!str_eq(canonical, source)) entity_claim(v, source);
}

void function_claim(Validator *v, Str name) {
    if (claim(v, &v->functions, name)) return;
    invalid(v,
            "Name " STR_FMT " is used for multiple reducers, procedures and/or views",
            STR_ARG(name));
}

// ── the whole ──────────────────────────────────────────────────────────────────────────────────

static void check_count(Validator *v, uint32_t count, const char *what) {
    if (count > MODULE_ITEMS_MAX)
        invalid(v,
                "the module declares %u %s; at most %u are possible",
                count,
                what,
                MODULE_ITEMS_MAX);
}

// Of the whole module: what its parts declare adds up.
static uint32_t total(const Validator *v, size_t offset) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < v->whole->scope_count; i++)
        sum += *(const uint32_t *)((const char *)v->whole->scopes[i].module + offset);
    return (uint32_t)MIN(sum, UINT32_MAX);
}
#define TOTAL(v, member) total((v), offsetof(RawModule, member))

static void check_counts(Validator *v) {
    check_count(v, v->whole->typespace.count, "types");
    check_count(v, TOTAL(v, type_count), "type names");
    check_count(v, TOTAL(v, table_count), "tables");
    check_count(v, TOTAL(v, reducer_count), "reducers");
    check_count(v, TOTAL(v, procedure_count), "procedures");
    check_count(v, TOTAL(v, view_count), "views");
    check_count(v, TOTAL(v, schedule_count), "schedules");
    check_count(v, TOTAL(v, lifecycle_count), "lifecycle reducers");
    check_count(v, TOTAL(v, default_count), "default values");
    check_count(v, TOTAL(v, explicit_name_count), "explicit names");
    check_count(v, TOTAL(v, http_handler_count), "HTTP handlers");
    check_count(v, TOTAL(v, http_route_count), "HTTP routes");
    check_count(v, TOTAL(v, view_key_count), "view primary keys");
    check_count(v, TOTAL(v, row_level_security_count), "row-level security rules");
}

// Room for what all modules declare.
static void reserve_all(Validator *v) {
    ModuleDef *def = v->def;
    def->types = VALIDATE_ARRAY(v, TypeNameDef, TOTAL(v, type_count));
    def->tables = VALIDATE_ARRAY(v, TableDef, TOTAL(v, table_count));
    def->reducers = VALIDATE_ARRAY(v, FunctionDef, TOTAL(v, reducer_count));
    def->procedures = VALIDATE_ARRAY(v, FunctionDef, TOTAL(v, procedure_count));
    def->views = VALIDATE_ARRAY(v, ViewDef, TOTAL(v, view_count));
    def->http_handlers = VALIDATE_ARRAY(v, Str, TOTAL(v, http_handler_count));
    def->row_level_security = VALIDATE_ARRAY(v, Str, TOTAL(v, row_level_security_count));
}

static Err finish(Validator *v, Diag *diag) {
    if (v->nomem || !buf_ok(&v->errors)) return diag_fail(diag, ERR_NOMEM, "out of memory");
    if (v->error_count == 0) return OK;
    return diag_fail(diag, ERR_INVALID, STR_FMT, STR_ARG(bytes_str(buf_bytes(&v->errors))));
}

static void validate_namespace(Validator *v) {
    Str name = v->scope->name;
    bool added = true;
    name_check(v, name);
    if (name.len > NAMESPACE_BYTES_MAX) {
        invalid(v,
                "submodule namespace `" STR_FMT "` is %zu bytes, which exceeds the %d-byte limit",
                STR_ARG(name),
                name.len,
                NAMESPACE_BYTES_MAX);
    }
    if (nameset_add(&v->namespaces, v->arena, v->scope->path, &added) != OK) v->nomem = true;
    if (!added)
        invalid(v, "name `" STR_FMT "` is used for multiple entities", STR_ARG(v->scope->path));
}

static void validate_rules(Validator *v) {
    for (uint32_t i = 0; i < v->raw->row_level_security_count; i++)
        v->def->row_level_security[v->def->row_level_security_count++] =
            v->raw->row_level_security[i];
}

static uint32_t views_of_kind(const Validator *v, bool anonymous) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < v->def->view_count; i++)
        count += v->def->views[i].is_anonymous == anonymous;
    return count;
}

static void validate_scope(Validator *v, const RawScope *scope) {
    const ModuleDef *def = v->def;
    v->scope = scope;
    v->raw = scope->module;
    v->first = (ScopeFirst){.type = def->type_count,
                            .table = def->table_count,
                            .reducer = def->reducer_count,
                            .procedure = def->procedure_count,
                            .view = def->view_count,
                            .handler = def->http_handler_count,
                            .sender_view = views_of_kind(v, false),
                            .anonymous_view = views_of_kind(v, true)};
    if (scope->prefix.len > 0) validate_namespace(v);
    validate_type_names(v);
    validate_tables(v);
    validate_functions(v);
    validate_lifecycles(v);
    validate_views(v);
    validate_schedules(v);
    validate_http(v);
    validate_rules(v);
}

static Err validate(Validator *v, Diag *diag) {
    check_counts(v);
    if (v->error_count > 0) return finish(v, diag);
    // Without resolved types nothing else can be looked at.
    Err err = validate_typespace(v, diag);
    if (err != OK) return err;
    reserve_all(v);
    for (uint32_t i = 0; i < v->whole->scope_count && !v->nomem; i++)
        validate_scope(v, &v->whole->scopes[i]);
    return finish(v, diag);
}

Err raw_validate(const RawWhole *whole, ModuleDef *def, Diag *diag) {
    const RawScope *root = &whole->scopes[0];
    Validator v = {.whole = whole,
                   .scope = root,
                   .raw = root->module,
                   .def = def,
                   .arena = def->arena};
    def->version = root->module->version;
    def->case_policy = root->module->case_policy;
    def->typespace = whole->typespace;
    Err err = validate(&v, diag);
    buf_deinit(&v.errors);
    return err;
}
