// migrate_type.c: which column types may become which (module-abi §6.3).
//
// A sum may get further variants at its end if the row layout of the original server would keep its
// size and alignment. We have no such layout: rows are BSATN, and a wider variant would do no harm.
// The rule is kept because a plan must say the same as the original's.
#include "schema/planner.h"

// ── the original's row layout ──────────────────────────────────────────────────────────────────

typedef struct Layout {
    uint32_t size, align;
} Layout;

static uint32_t round_up(uint32_t size, uint32_t align) {
    return (size + align - 1) / align * align;
}

static Layout layout_of(const Type *type);

static Layout layout_product(const Type *type) {
    Layout all = {0, 1};
    for (uint32_t i = 0; i < type->field_count; i++) {
        Layout field = layout_of(type->fields[i].type);
        all.size = round_up(all.size, field.align) + field.size;
        all.align = MAX(all.align, field.align);
    }
    all.size = round_up(all.size, all.align);
    return all;
}

static Layout layout_sum(const Type *type) {
    Layout widest = {0, 1};
    for (uint32_t i = 0; i < type->field_count; i++) {
        Layout variant = layout_of(type->fields[i].type);
        widest.size = MAX(widest.size, variant.size);
        widest.align = MAX(widest.align, variant.align);
    }
    uint32_t payload = round_up(widest.size, widest.align);
    return (Layout){.size = widest.align + payload, .align = widest.align};
}

static Layout layout_of(const Type *type) {
    switch (type->kind) {
    case TYPE_SUM: return layout_sum(type);
    case TYPE_PRODUCT: return layout_product(type);
    case TYPE_ARRAY:
    case TYPE_STRING: return (Layout){4, 2};
    case TYPE_REF: UNREACHABLE();  // columns are resolved
    default: return (Layout){type->fixed_size, type->fixed_size};
    }
}

// ── comparing ──────────────────────────────────────────────────────────────────────────────────

typedef struct TypeChange {
    Planner *p;  // NULL: only the answer matters
    Str table, column;
    bool within;  // below the column's own type
} TypeChange;

// Each sentence is `<prefix> C in table T from A to B<tail>`.
static bool refuse(const TypeChange *change,
                   const Type *from,
                   const Type *to,
                   bool within,
                   const char *tail) {
    if (!change->p) return false;
    Buf before = {0}, after = {0};
    type_print(&before, from);
    type_print(&after, to);
    if (!buf_ok(&before) || !buf_ok(&after)) change->p->nomem = true;
    plan_refuse(change->p,
                "Changing %s column " STR_FMT " in table " STR_FMT " from " STR_FMT " to " STR_FMT
                "%s",
                within ? "a type within" : "the type of",
                STR_ARG(change->column),
                STR_ARG(change->table),
                STR_ARG(bytes_str(buf_bytes(&before))),
                STR_ARG(bytes_str(buf_bytes(&after))),
                tail);
    buf_deinit(&before);
    buf_deinit(&after);
    return false;
}

static bool compare(const TypeChange *change, const Type *from, const Type *to);

static bool compare_sum(const TypeChange *change, const Type *from, const Type *to) {
    TypeChange inner = *change;
    inner.within = true;
    if (to->field_count < from->field_count)
        return refuse(change,
                      from,
                      to,
                      change->within,
                      ", with fewer variants, requires a manual migration");
    bool ok = true;
    for (uint32_t i = 0; i < from->field_count; i++) {
        if (!str_eq(from->fields[i].name, to->fields[i].name))
            return refuse(change,
                          from,
                          to,
                          false,
                          ", with a renamed variant, requires a manual migration");
        ok = compare(&inner, from->fields[i].type, to->fields[i].type) && ok;
    }
    Layout before = layout_of(from), after = layout_of(to);
    if (before.size != after.size)
        ok = refuse(change,
                    from,
                    to,
                    change->within,
                    ", requires a manual migration, due to size mismatch");
    if (before.align != after.align)
        ok = refuse(change,
                    from,
                    to,
                    change->within,
                    ", requires a manual migration, due to alignment mismatch");
    return ok;
}

static bool compare_product(const TypeChange *change, const Type *from, const Type *to) {
    TypeChange inner = *change;
    inner.within = true;
    if (from->field_count != to->field_count)
        return refuse(change,
                      from,
                      to,
                      change->within,
                      ", with fewer fields, requires a manual migration");
    bool ok = true;
    for (uint32_t i = 0; i < from->field_count; i++) {
        if (!str_eq(from->fields[i].name, to->fields[i].name))
            return refuse(change,
                          from,
                          to,
                          false,
                          ", with a renamed field, requires a manual migration");
        ok = compare(&inner, from->fields[i].type, to->fields[i].type) && ok;
    }
    return ok;
}

static bool compare(const TypeChange *change, const Type *from, const Type *to) {
    if (from->kind != to->kind)
        return refuse(change, from, to, change->within, " requires a manual migration");
    TypeChange inner = *change;
    inner.within = true;
    switch (from->kind) {
    case TYPE_SUM: return compare_sum(change, from, to);
    case TYPE_PRODUCT: return compare_product(change, from, to);
    case TYPE_ARRAY: return compare(&inner, from->element, to->element);
    default: return true;  // the same simple kind
    }
}

bool plan_type(Planner *p, Str table, Str column, const Type *from, const Type *to) {
    TypeChange change = {.p = p, .table = table, .column = column};
    return compare(&change, from, to);
}
