// submodule.c: a module and the modules inside it as one (module-abi §3.3 section 14, §3.7).
//
// PICTURE
//   root { types 0..6, submodules { lib { types 0..2 }, net { types 0, submodules { … } } } }
//        │
//        ▼  depth first
//   scopes     root   lib    net   net.…
//   typespace  0..6   7..9   10    …        references inside lib are 7 more than they were
//
// ALWAYS TRUE
//   (1) A reference never leaves its module: one that was out of range stays out of range, wherever
//       it would have pointed to after the shift.
#include "schema/raw.h"

typedef struct Layout {
    Arena *arena;
    RawWhole *whole;
    uint32_t type_count;
    bool nomem;
} Layout;

// ── references ─────────────────────────────────────────────────────────────────────────────────

static uint32_t shift_ref(uint32_t ref, uint32_t own, uint32_t base) {
    return ref < own ? ref + base : UINT32_MAX;  // (1)
}

static const Type *shift(Layout *l, const Type *type, uint32_t own, uint32_t base);

static const Type *shift_fields(Layout *l, const Type *type, uint32_t own, uint32_t base) {
    TypeField *fields = arena_zalloc_array(l->arena, sizeof *fields, type->field_count);
    if (!fields) return NULL;
    for (uint32_t i = 0; i < type->field_count; i++) {
        fields[i].name = type->fields[i].name;
        fields[i].type = shift(l, type->fields[i].type, own, base);
    }
    Type *copy = arena_new(l->arena, Type);
    if (!copy) return NULL;
    *copy = *type;
    copy->fields = fields;
    return copy;
}

// A declared type is nested TYPE_DEPTH_MAX deep at most, and references are not followed.
static const Type *shift(Layout *l, const Type *type, uint32_t own, uint32_t base) {
    if (!type) return NULL;
    const Type *shifted = type;
    if (type->kind == TYPE_SUM || type->kind == TYPE_PRODUCT) {
        if (type->field_count > 0) shifted = shift_fields(l, type, own, base);
    } else if (type->kind == TYPE_ARRAY || type->kind == TYPE_REF) {
        Type *copy = arena_new(l->arena, Type);
        if (copy) {
            *copy = *type;
            if (type->kind == TYPE_REF)
                copy->ref = shift_ref(type->ref, own, base);
            else
                copy->element = shift(l, type->element, own, base);
        }
        shifted = copy;
    }
    if (shifted) return shifted;
    l->nomem = true;
    return type;
}

static void shift_functions(Layout *l,
                            RawFunction *functions,
                            uint32_t count,
                            uint32_t own,
                            uint32_t base) {
    for (uint32_t i = 0; i < count; i++) {
        functions[i].params = shift(l, functions[i].params, own, base);
        functions[i].returns = shift(l, functions[i].returns, own, base);
        functions[i].ok = shift(l, functions[i].ok, own, base);
        functions[i].err = shift(l, functions[i].err, own, base);
    }
}

static void shift_module(Layout *l, RawModule *module, uint32_t base) {
    uint32_t own = module->typespace.count;
    for (uint32_t i = 0; i < own; i++)
        module->typespace.types[i] = shift(l, module->typespace.types[i], own, base);
    for (uint32_t i = 0; i < module->type_count; i++)
        module->types[i].ref = shift_ref(module->types[i].ref, own, base);
    for (uint32_t i = 0; i < module->table_count; i++)
        module->tables[i].row_type_ref = shift_ref(module->tables[i].row_type_ref, own, base);
    shift_functions(l, module->reducers, module->reducer_count, own, base);
    shift_functions(l, module->procedures, module->procedure_count, own, base);
    for (uint32_t i = 0; i < module->view_count; i++) {
        module->views[i].params = shift(l, module->views[i].params, own, base);
        module->views[i].returns = shift(l, module->views[i].returns, own, base);
    }
}

// ── scopes ─────────────────────────────────────────────────────────────────────────────────────

static Str join(Layout *l, Str a, Str b) {
    char *text = arena_zalloc_array(l->arena, 1, a.len + b.len + 1);
    if (!text) {
        l->nomem = true;
        return STR("");
    }
    if (a.len) memcpy(text, a.ptr, a.len);
    if (b.len) memcpy(text + a.len, b.ptr, b.len);
    return (Str){text, a.len + b.len};
}

static uint32_t count_scopes(const RawModule *module) {
    uint32_t count = 1;
    for (uint32_t i = 0; i < module->submodule_count && count <= SUBMODULES_MAX; i++)
        count += count_scopes(module->submodules[i].module);
    return count;
}

// The decoder bounds the depth.
static void lay_out(Layout *l, RawModule *module, RawScope scope) {
    RawWhole *whole = l->whole;
    scope.module = module;
    whole->scopes[whole->scope_count++] = scope;
    l->type_count += module->typespace.count;
    for (uint32_t i = 0; i < module->submodule_count; i++) {
        RawScope inner = {.name = module->submodules[i].name};
        inner.path = join(l, scope.prefix, inner.name);
        inner.prefix = join(l, inner.path, STR("."));
        lay_out(l, module->submodules[i].module, inner);
    }
}

// With nothing inside, the root's references stay as they are, so that errors name what was written.
static void join_typespaces(Layout *l) {
    RawWhole *whole = l->whole;
    const Type **types = arena_zalloc_array(l->arena, sizeof(const Type *), l->type_count);
    if (!types) {
        l->nomem = true;
        return;
    }
    uint32_t base = 0;
    for (uint32_t i = 0; i < whole->scope_count; i++) {
        // The scopes were laid out from modules that the caller lets us change.
        RawModule *module = (RawModule *)(uintptr_t)whole->scopes[i].module;
        if (whole->scope_count > 1) shift_module(l, module, base);
        if (module->typespace.count)
            memcpy(types + base,
                   module->typespace.types,
                   module->typespace.count * sizeof(const Type *));
        base += module->typespace.count;
    }
    whole->typespace = (Typespace){.types = types, .count = base};
}

Err raw_whole(RawModule *root, Arena *arena, RawWhole *out, Diag *diag) {
    *out = (RawWhole){0};
    Layout l = {.arena = arena, .whole = out};
    uint32_t count = count_scopes(root);
    if (count > SUBMODULES_MAX)
        return diag_fail(diag,
                         ERR_INVALID,
                         "the module has more than %d submodules",
                         SUBMODULES_MAX);
    out->scopes = arena_zalloc_array(arena, sizeof *out->scopes, count);
    if (!out->scopes) return diag_fail(diag, ERR_NOMEM, "out of memory");
    lay_out(&l, root, (RawScope){.path = STR(""), .prefix = STR(""), .name = STR("")});
    join_typespaces(&l);
    return l.nomem ? diag_fail(diag, ERR_NOMEM, "out of memory") : OK;
}
