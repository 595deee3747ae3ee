// validate_types.c: the typespace in canonical spelling, the names of types, and which types may
// stand where (module-abi §3.4, §3.5).
//
// PICTURE
//   v->whole         {Playing{levelId: U32}}     as declared; what the raw definition shows
//   v->renamed       {playing{level_id: U32}}    references still numbers
//   def->resolved    the same, references are pointers; what everybody else works with
//
// Special types keep their spelling, and so does everything inside them.
#include "schema/validate.h"

// ── canonical spelling ─────────────────────────────────────────────────────────────────────────

static const Type *renamed(Validator *v, const Type *type);

static TypeField *renamed_fields(Validator *v, const Type *type, CaseStyle style) {
    TypeField *fields = VALIDATE_ARRAY(v, TypeField, type->field_count);
    for (uint32_t i = 0; fields && i < type->field_count; i++) {
        fields[i].type = renamed(v, type->fields[i].type);
        if (type->fields[i].name.ptr) fields[i].name = name_convert(v, type->fields[i].name, style);
    }
    return fields;
}

static const Type *renamed_composite(Validator *v, const Type *type) {
    if (type->kind == TYPE_ARRAY) return type_array(v->arena, renamed(v, type->element));
    bool is_sum = type->kind == TYPE_SUM;
    TypeField *fields = renamed_fields(v, type, is_sum ? CASE_STYLE_CAMEL : CASE_STYLE_SNAKE);
    if (!fields || v->nomem) return NULL;
    return is_sum ? type_sum(v->arena, fields, type->field_count)
                  : type_product(v->arena, fields, type->field_count);
}

// A declared type is nested TYPE_DEPTH_MAX deep at most, and references are not followed.
static const Type *renamed(Validator *v, const Type *type) {
    bool is_composite =
        type->kind == TYPE_SUM || type->kind == TYPE_PRODUCT || type->kind == TYPE_ARRAY;
    if (!is_composite || type->special != SPECIAL_NONE) return type;
    if (v->raw->case_policy == CASE_NONE) return type;
    const Type *copy = renamed_composite(v, type);
    if (copy) return copy;
    v->nomem = true;
    return type;
}

static void check_field_names(Validator *v, const Type *type) {
    if (type->special != SPECIAL_NONE) return;
    if (type->kind == TYPE_ARRAY) check_field_names(v, type->element);
    if (type->kind != TYPE_SUM && type->kind != TYPE_PRODUCT) return;
    for (uint32_t i = 0; i < type->field_count; i++) {
        if (type->fields[i].name.ptr) name_check(v, type->fields[i].name);
        check_field_names(v, type->fields[i].type);
    }
}

Err validate_typespace(Validator *v, Diag *diag) {
    uint32_t count = v->whole->typespace.count, at = 0;
    const Type **types = VALIDATE_ARRAY(v, const Type *, count);
    v->declared = VALIDATE_ARRAY(v, bool, count);
    v->measures = VALIDATE_ARRAY(v, TypeMeasure, count);
    if (v->nomem) return diag_fail(diag, ERR_NOMEM, "out of memory");
    for (uint32_t s = 0; s < v->whole->scope_count; s++) {
        v->scope = &v->whole->scopes[s];
        v->raw = v->scope->module;  // each has its own policy
        for (uint32_t i = 0; i < v->raw->typespace.count; i++, at++) {
            types[at] = renamed(v, v->whole->typespace.types[at]);
            check_field_names(v, types[at]);
        }
    }
    if (v->nomem) return diag_fail(diag, ERR_NOMEM, "out of memory");
    v->renamed = (Typespace){.types = types, .count = count};
    v->def->canonical = v->renamed;
    return typespace_resolve(&v->renamed, v->arena, &v->def->resolved, diag);
}

const Type *type_canonical(Validator *v, const Type *type) {
    const Type *out = NULL;
    Diag diag;
    diag_clear(&diag);
    Err err =
        type_resolve(renamed(v, type), v->def->resolved, v->renamed.count, v->arena, &out, &diag);
    if (err == OK) return out;
    if (err == ERR_NOMEM)
        v->nomem = true;
    else
        invalid(v, "%s", diag.text);
    return NULL;
}

const Type *product_at(const Typespace *space, uint32_t ref) {
    // Aliases end: validate_typespace refused loops of nothing but references.
    while (ref < space->count && space->types[ref]->kind == TYPE_REF)
        ref = space->types[ref]->ref;
    if (ref >= space->count || space->types[ref]->kind != TYPE_PRODUCT) return NULL;
    return space->types[ref];
}

// ── type names ─────────────────────────────────────────────────────────────────────────────────

static bool is_sorted_by_name(const Type *type) {
    for (uint32_t i = 1; i < type->field_count; i++) {
        Str before = type->fields[i - 1].name;
        Str here = type->fields[i].name;
        if (before.ptr && !here.ptr) return false;  // unnamed ones come first
        if (before.ptr && bytes_cmp(str_bytes(before), str_bytes(here)) > 0) return false;
    }
    return true;
}

static Str scoped_name(Validator *v, const TypeNameDef *type) {
    Str full = v->scope->prefix;
    for (uint32_t i = 0; i < type->scope_count; i++)
        full = validate_printf(v, STR_FMT STR_FMT "::", STR_ARG(full), STR_ARG(type->scope[i]));
    return validate_printf(v, STR_FMT STR_FMT, STR_ARG(full), STR_ARG(type->name));
}

static void check_type_name(Validator *v, const RawTypeName *raw, const TypeNameDef *type) {
    Str full = scoped_name(v, type);
    bool added = true;
    if (nameset_add(&v->type_names, v->arena, full, &added) != OK) v->nomem = true;
    if (!added) invalid(v, "name `" STR_FMT "` is used for multiple types", STR_ARG(full));
    if (raw->ref >= v->renamed.count) {
        invalid(v, "Type `" STR_FMT "` has invalid ref: %u", STR_ARG(full), raw->ref);
        return;
    }
    v->declared[raw->ref] = true;
    const Type *entry = v->renamed.types[raw->ref];
    if (!raw->custom_ordering && !is_sorted_by_name(entry)) {
        invalid(v,
                "type `" STR_FMT
                "` is not annotated with a custom ordering, but uses one: " STR_FMT,
                STR_ARG(full),
                STR_ARG(type_text(v, entry)));
    }
}

static void fill_type_name(Validator *v, const RawTypeName *raw, TypeNameDef *type) {
    type->scope = VALIDATE_ARRAY(v, Str, raw->scope_count);
    if (!type->scope) return;
    type->scope_count = raw->scope_count;
    for (uint32_t i = 0; i < raw->scope_count; i++) {
        type->scope[i] = name_convert(v, raw->scope[i], CASE_STYLE_PASCAL);
        name_check(v, type->scope[i]);
    }
    type->name = name_convert(v, raw->name, CASE_STYLE_PASCAL);
    name_check(v, type->name);
    type->source = raw->name;
    type->submodule = v->scope->path;
    type->ref = raw->ref;
}

// The fields of a declared type are part of what clients see.
static void check_members_usable(Validator *v, const TypeNameDef *type) {
    const Type *entry = v->renamed.types[type->ref];
    if (entry->special != SPECIAL_NONE) return;
    if (entry->kind != TYPE_PRODUCT && entry->kind != TYPE_SUM) return;
    for (uint32_t i = 0; i < entry->field_count; i++) {
        Str location = validate_printf(v, "type `" STR_FMT "` element %u", STR_ARG(type->name), i);
        type_check_usable(v, entry->fields[i].type, location);
    }
}

void validate_type_names(Validator *v) {
    uint32_t count = v->raw->type_count;
    TypeNameDef *types = v->def->types + v->first.type;
    for (uint32_t i = 0; i < count && !v->nomem; i++) {
        fill_type_name(v, &v->raw->types[i], &types[i]);
        check_type_name(v, &v->raw->types[i], &types[i]);
    }
    // Only now is it known which entries have names.
    for (uint32_t i = 0; i < count && !v->nomem; i++) {
        if (types[i].ref < v->renamed.count) check_members_usable(v, &types[i]);
    }
    v->def->type_count += count;
}

// ── which types may stand where ────────────────────────────────────────────────────────────────

static bool is_usable(const Validator *v, const Type *type, uint32_t depth) {
    if (depth > TYPE_DEPTH_MAX) return false;
    switch (type->kind) {
    case TYPE_REF:
        if (type->ref >= v->renamed.count) return true;  // refused when it is resolved
        return v->declared[type->ref] || is_usable(v, v->renamed.types[type->ref], depth + 1);
    case TYPE_ARRAY: return is_usable(v, type->element, depth + 1);
    case TYPE_SUM:
    case TYPE_PRODUCT:
        if (type->field_count == 0) return true;  // unit, never
        if (type->special == SPECIAL_NONE) return false;
        if (type->special != SPECIAL_OPTION && type->special != SPECIAL_RESULT) return true;
        for (uint32_t i = 0; i < type->field_count; i++) {
            if (!is_usable(v, type->fields[i].type, depth + 1)) return false;
        }
        return true;
    default: return true;  // the simple kinds
    }
}

void type_check_usable(Validator *v, const Type *type, Str location) {
    if (is_usable(v, type, 0)) return;
    invalid(v,
            "error at " STR_FMT ": internal codegen error: the type " STR_FMT
            " must be declared and referred to by name",
            STR_ARG(location),
            STR_ARG(type_text(v, type)));
}

// Adds the size of `type` with references written out. False when it is recursive, nested too deep
// or too large; *recursive says which. Entries are measured once: a definition can double the size
// of a type with every entry, so walking it out would never end.
static bool measure(Validator *v,
                    const Type *type,
                    uint32_t level,
                    TypeMeasure *out,
                    bool *recursive);

static bool measure_entry(Validator *v,
                          uint32_t ref,
                          uint32_t level,
                          TypeMeasure *out,
                          bool *recursive) {
    if (ref >= v->renamed.count) return true;  // refused when it is resolved
    TypeMeasure *entry = &v->measures[ref];
    if (entry->is_open) {
        *recursive = true;
        return false;
    }
    if (entry->nodes == 0) {
        entry->is_open = true;
        TypeMeasure measured = {0};
        bool ok = measure(v, v->renamed.types[ref], level, &measured, recursive);
        entry->is_open = false;
        if (!ok) return false;
        *entry = measured;
    }
    out->nodes += entry->nodes;
    out->height = MAX(out->height, entry->height);
    return out->nodes <= COLUMN_TYPE_NODES && level + entry->height <= TYPE_DEPTH_MAX;
}

static bool measure(Validator *v,
                    const Type *type,
                    uint32_t level,
                    TypeMeasure *out,
                    bool *recursive) {
    if (level >= TYPE_DEPTH_MAX) return false;
    if (type->kind == TYPE_REF) return measure_entry(v, type->ref, level, out, recursive);
    TypeMeasure inner = {.nodes = 1};
    bool has_fields = type->kind == TYPE_SUM || type->kind == TYPE_PRODUCT;
    for (uint32_t i = 0; has_fields && i < type->field_count; i++) {
        if (!measure(v, type->fields[i].type, level + 1, &inner, recursive)) return false;
    }
    if (type->kind == TYPE_ARRAY && !measure(v, type->element, level + 1, &inner, recursive))
        return false;
    out->nodes += inner.nodes;
    out->height = MAX(out->height, inner.height + 1);
    return out->nodes <= COLUMN_TYPE_NODES;
}

void type_check_storable(Validator *v, const Type *type, Str table, Str column) {
    TypeMeasure total = {0};
    bool recursive = false;
    if (measure(v, type, 1, &total, &recursive)) return;
    invalid(v,
            "table `" STR_FMT "` column `" STR_FMT "` has a type that %s and cannot be stored",
            STR_ARG(table),
            STR_ARG(column),
            recursive ? "contains itself" : "is nested too deep or too large");
}
