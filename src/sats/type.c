// type.c: the shapes of values: constants, builders, equality, printing.
//
// PICTURE
//   A type is a tree of nodes; once references are resolved (type_resolve.c) it is a graph, and a
//   recursive type is a cycle in it:
//
//       Product{ value: I32, next: Sum{ some: *, none: unit } }
//          ^                                  |
//          +----------------------------------+
//
//   Every node carries what the hot paths ask for: the number of bytes of its values if that is
//   always the same, and whether any bytes of that length will do.
//
// ALWAYS TRUE
//   (1) Types are immutable once made, so they are shared freely between threads.
//   (2) fixed_size is a number only for acyclic types: a cycle goes through a sum or an array,
//       whose size varies, or has no finite values at all.
//   (3) Special shapes are recognised in the type as declared; a reference is not looked through.
//
// NOT HERE  bytes of types (type_codec.c), references (type_resolve.c), values (bsatn.c).
#include "base/mem.h"
#include "sats/type_internal.h"

// Kinds in the order of their tags: name and bytes of a value.
static const struct {
    const char *name;
    uint32_t size;
} kinds[] = {
    [TYPE_REF] = {"Ref", TYPE_SIZE_VARIES},
    [TYPE_SUM] = {"Sum", TYPE_SIZE_VARIES},
    [TYPE_PRODUCT] = {"Product", TYPE_SIZE_VARIES},
    [TYPE_ARRAY] = {"Array", TYPE_SIZE_VARIES},
    [TYPE_STRING] = {"String", TYPE_SIZE_VARIES},
    [TYPE_BOOL] = {"Bool", 1},
    [TYPE_I8] = {"I8", 1},
    [TYPE_U8] = {"U8", 1},
    [TYPE_I16] = {"I16", 2},
    [TYPE_U16] = {"U16", 2},
    [TYPE_I32] = {"I32", 4},
    [TYPE_U32] = {"U32", 4},
    [TYPE_I64] = {"I64", 8},
    [TYPE_U64] = {"U64", 8},
    [TYPE_I128] = {"I128", 16},
    [TYPE_U128] = {"U128", 16},
    [TYPE_I256] = {"I256", 32},
    [TYPE_U256] = {"U256", 32},
    [TYPE_F32] = {"F32", 4},
    [TYPE_F64] = {"F64", 8},
};

// clang-format off
#define SIMPLE(k, size, any)                                                     \
    [k] = {.kind = (k), .fixed_size = (size), .source_ref = TYPE_NO_REF, .weight = 1, \
           .any_bits = (any)}
static const Type simple_types[] = {
    SIMPLE(TYPE_STRING, TYPE_SIZE_VARIES, false),
    SIMPLE(TYPE_BOOL, 1, false),
    SIMPLE(TYPE_I8, 1, true),    SIMPLE(TYPE_U8, 1, true),
    SIMPLE(TYPE_I16, 2, true),   SIMPLE(TYPE_U16, 2, true),
    SIMPLE(TYPE_I32, 4, true),   SIMPLE(TYPE_U32, 4, true),
    SIMPLE(TYPE_I64, 8, true),   SIMPLE(TYPE_U64, 8, true),
    SIMPLE(TYPE_I128, 16, true), SIMPLE(TYPE_U128, 16, true),
    SIMPLE(TYPE_I256, 32, true), SIMPLE(TYPE_U256, 32, true),
    SIMPLE(TYPE_F32, 4, true),   SIMPLE(TYPE_F64, 8, true),
};
#undef SIMPLE

#define FIELD(text, of) {.name = {"" text, sizeof(text) - 1}, .type = (of)}
static const TypeField
    identity_field[]   = {FIELD("__identity__", &simple_types[TYPE_U256])},
    connection_field[] = {FIELD("__connection_id__", &simple_types[TYPE_U128])},
    timestamp_field[]  = {FIELD("__timestamp_micros_since_unix_epoch__", &simple_types[TYPE_I64])},
    duration_field[]   = {FIELD("__time_duration_micros__", &simple_types[TYPE_I64])},
    uuid_field[]       = {FIELD("__uuid__", &simple_types[TYPE_U128])};

#define WRAPPER(what, field, size)                                                        \
    [what] = {.kind = TYPE_PRODUCT, .special = (what), .field_count = 1, .fields = (field), \
              .fixed_size = (size), .source_ref = TYPE_NO_REF, .weight = 2, .height = 1,    \
              .any_bits = true}
static const TypeField schedule_at_fields[2];
static const Type special_types[] = {
    [SPECIAL_UNIT] = {.kind = TYPE_PRODUCT, .special = SPECIAL_UNIT, .fixed_size = 0,
                      .source_ref = TYPE_NO_REF, .weight = 1, .height = 1, .any_bits = true},
    [SPECIAL_BYTES] = {.kind = TYPE_ARRAY, .special = SPECIAL_BYTES,
                       .element = &simple_types[TYPE_U8], .fixed_size = TYPE_SIZE_VARIES,
                       .source_ref = TYPE_NO_REF},
    WRAPPER(SPECIAL_IDENTITY, identity_field, 32),
    WRAPPER(SPECIAL_CONNECTION_ID, connection_field, 16),
    WRAPPER(SPECIAL_TIMESTAMP, timestamp_field, 8),
    WRAPPER(SPECIAL_TIME_DURATION, duration_field, 8),
    WRAPPER(SPECIAL_UUID, uuid_field, 16),
    [SPECIAL_SCHEDULE_AT] = {.kind = TYPE_SUM, .special = SPECIAL_SCHEDULE_AT, .field_count = 2,
                             .fields = schedule_at_fields, .fixed_size = 9,
                             .source_ref = TYPE_NO_REF, .weight = 3, .height = 2},
};
static const TypeField schedule_at_fields[2] = {
    FIELD("Interval", &special_types[SPECIAL_TIME_DURATION]),
    FIELD("Time", &special_types[SPECIAL_TIMESTAMP]),
};
#undef WRAPPER
#undef FIELD
// clang-format on

const char *type_kind_name(TypeKind kind) {
    ASSERT((size_t)kind < ARRAY_LEN(kinds));
    return kinds[kind].name;
}

const Type *type_simple(TypeKind kind) {
    ASSERT(kind >= TYPE_STRING && (size_t)kind < ARRAY_LEN(simple_types));
    return &simple_types[kind];
}

const Type *type_special(TypeSpecial kind) {
    ASSERT(kind > SPECIAL_NONE && kind < SPECIAL_OPTION);
    return &special_types[kind];
}

bool type_is_unit(const Type *type) {
    return type->kind == TYPE_PRODUCT && type->field_count == 0;
}

bool type_is_plain_enum(const Type *type) {
    if (type->kind != TYPE_SUM || type->field_count == 0) return false;
    for (uint32_t i = 0; i < type->field_count; i++) {
        if (!type_is_unit(type->fields[i].type)) return false;
    }
    return true;
}

static bool field_named(const TypeField *field, const char *name) {
    return field->name.ptr && str_eq(field->name, str_from(name));
}

static TypeSpecial product_recognise(const Type *type) {
    if (type->field_count == 0) return SPECIAL_UNIT;
    if (type->field_count != 1) return SPECIAL_NONE;
    const TypeField *field = &type->fields[0];
    for (TypeSpecial s = SPECIAL_IDENTITY; s <= SPECIAL_UUID; s++) {
        const TypeField *known = &special_types[s].fields[0];
        if (field->type->kind == known->type->kind && field->name.ptr &&
            str_eq(field->name, known->name)) {
            return s;
        }
    }
    return SPECIAL_NONE;
}

static TypeSpecial sum_recognise(const Type *type) {
    if (type->field_count != 2) return SPECIAL_NONE;
    const TypeField *first = &type->fields[0], *second = &type->fields[1];
    if (field_named(first, "some") && field_named(second, "none") && type_is_unit(second->type))
        return SPECIAL_OPTION;
    if (field_named(first, "ok") && field_named(second, "err")) return SPECIAL_RESULT;
    if (field_named(first, "Interval") && field_named(second, "Time") &&
        first->type->special == SPECIAL_TIME_DURATION && second->type->special == SPECIAL_TIMESTAMP)
        return SPECIAL_SCHEDULE_AT;
    return SPECIAL_NONE;
}

TypeSpecial type_recognise(const Type *type) {
    switch (type->kind) {
    case TYPE_PRODUCT: return product_recognise(type);
    case TYPE_SUM: return sum_recognise(type);
    case TYPE_ARRAY: return type->element->kind == TYPE_U8 ? SPECIAL_BYTES : SPECIAL_NONE;
    default: return SPECIAL_NONE;
    }
}

// All parts have a fixed size: add up what the whole has. Returns false when it is too large to
// say in 32 bits, which only means that values must be walked.
static bool product_sizes(Type *type) {
    uint64_t size = 0, weight = 1;
    uint8_t height = 0;
    bool any_bits = true;
    for (uint32_t i = 0; i < type->field_count; i++) {
        const Type *part = type->fields[i].type;
        if (part->fixed_size == TYPE_SIZE_VARIES) return false;
        size += part->fixed_size;
        weight += part->weight;
        height = MAX(height, part->height);
        any_bits = any_bits && part->any_bits;
    }
    if (size >= TYPE_SIZE_VARIES) return false;
    type->fixed_size = (uint32_t)size;
    type->weight = (uint32_t)MIN(weight, (uint64_t)UINT32_MAX);
    type->height = (uint8_t)MIN(height + 1, UINT8_MAX);
    type->any_bits = any_bits;
    return true;
}

static bool sum_sizes(Type *type) {
    if (type->field_count == 0) return false;  // never: no value, so no size
    uint32_t size = type->fields[0].type->fixed_size, weight = 0;
    uint8_t height = 0;
    for (uint32_t i = 0; i < type->field_count; i++) {
        const Type *part = type->fields[i].type;
        if (part->fixed_size != size) return false;
        weight = MAX(weight, part->weight);
        height = MAX(height, part->height);
    }
    if (size >= TYPE_SIZE_VARIES - 1) return false;
    type->fixed_size = 1 + size;
    type->weight = weight == UINT32_MAX ? weight : weight + 1;
    type->height = (uint8_t)MIN(height + 1, UINT8_MAX);
    type->any_bits = false;
    return true;
}

bool type_finish_sizes(Type *type) {
    if (type->fixed_size != TYPE_SIZE_VARIES) return false;
    if (type->kind == TYPE_PRODUCT) return product_sizes(type);
    if (type->kind == TYPE_SUM) return sum_sizes(type);
    return false;
}

Type *type_node(Arena *arena, TypeKind kind, const TypeField *fields, uint32_t count) {
    Type *type = arena_new(arena, Type);
    TypeField *copy = arena_array(arena, TypeField, count);
    if (!type || !copy) return NULL;
    if (count) memcpy(copy, fields, count * sizeof *fields);
    *type = (Type){
        .kind = kind,
        .field_count = count,
        .fields = copy,
        .fixed_size = kinds[kind].size,
        .source_ref = TYPE_NO_REF,
    };
    return type;
}

static Type *type_composite(Arena *arena, TypeKind kind, const TypeField *fields, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (!fields[i].type) return NULL;  // a builder inside failed
    }
    Type *type = type_node(arena, kind, fields, count);
    if (!type) return NULL;
    type->special = type_recognise(type);
    type_finish_sizes(type);
    return type;
}

Type *type_product(Arena *arena, const TypeField *fields, uint32_t count) {
    return type_composite(arena, TYPE_PRODUCT, fields, count);
}

Type *type_sum(Arena *arena, const TypeField *variants, uint32_t count) {
    ASSERT(count <= SUM_VARIANTS_MAX);
    return type_composite(arena, TYPE_SUM, variants, count);
}

Type *type_array(Arena *arena, const Type *element) {
    Type *type = element ? arena_new(arena, Type) : NULL;
    if (!type) return NULL;
    *type = (Type){
        .kind = TYPE_ARRAY,
        .element = element,
        .fixed_size = TYPE_SIZE_VARIES,
        .source_ref = TYPE_NO_REF,
    };
    type->special = type_recognise(type);
    return type;
}

Type *type_option(Arena *arena, const Type *some) {
    TypeField variants[] = {
        {.name = STR("some"), .type = some},
        {.name = STR("none"), .type = &special_types[SPECIAL_UNIT]},
    };
    return type_sum(arena, variants, 2);
}

// Equality. Two graphs are equal unless a walk along both at once finds a difference, so pairs
// met before may be taken for equal: if they were not, the walk that met them first says so. Only
// entries of a typespace can be met twice (by a cycle or by sharing), so only those are noted.
#define EQ_DEPTH_MAX   2000
#define EQ_PAIRS_LOCAL 64

typedef struct EqPair {
    const Type *a, *b;
} EqPair;

typedef struct EqWalk {
    EqPair local[EQ_PAIRS_LOCAL];
    EqPair *pairs;
    size_t count, cap;
} EqWalk;

static bool eq_grow(EqWalk *walk) {
    bool was_local = walk->pairs == walk->local;
    size_t cap = walk->cap * 2;
    EqPair *more = mem_realloc(was_local ? NULL : walk->pairs, cap * sizeof *more);
    if (!more) return false;
    if (was_local) memcpy(more, walk->local, sizeof walk->local);
    walk->pairs = more;
    walk->cap = cap;
    return true;
}

// Whether the pair is new and must be compared. *room is false when it cannot be noted.
static bool eq_note(EqWalk *walk, const Type *a, const Type *b, bool *room) {
    *room = true;
    for (size_t i = 0; i < walk->count; i++) {
        if (walk->pairs[i].a == a && walk->pairs[i].b == b) return false;
    }
    if (walk->count == walk->cap && !eq_grow(walk)) {
        *room = false;
        return true;
    }
    walk->pairs[walk->count++] = (EqPair){a, b};
    return true;
}

static bool eq_types(EqWalk *walk, const Type *a, const Type *b, int depth) {
    if (a == b) return true;
    if (a->kind != b->kind || depth > EQ_DEPTH_MAX) return false;
    if (a->kind >= TYPE_STRING) return true;
    if (a->kind == TYPE_REF) return a->ref == b->ref;
    if (a->source_ref != TYPE_NO_REF || b->source_ref != TYPE_NO_REF) {
        bool room;
        if (!eq_note(walk, a, b, &room)) return true;
        if (!room) return false;
    }
    if (a->kind == TYPE_ARRAY) return eq_types(walk, a->element, b->element, depth + 1);
    if (a->field_count != b->field_count) return false;
    for (uint32_t i = 0; i < a->field_count; i++) {
        Str x = a->fields[i].name, y = b->fields[i].name;
        if ((x.ptr == NULL) != (y.ptr == NULL) || !str_eq(x, y)) return false;
    }
    for (uint32_t i = 0; i < a->field_count; i++) {
        if (!eq_types(walk, a->fields[i].type, b->fields[i].type, depth + 1)) return false;
    }
    return true;
}

bool type_eq(const Type *a, const Type *b) {
    EqWalk walk = {.cap = EQ_PAIRS_LOCAL};
    walk.pairs = walk.local;
    bool equal = eq_types(&walk, a, b, 0);
    if (walk.pairs != walk.local) mem_free(walk.pairs);
    return equal;
}

#define WRITTEN_BYTES_MAX (1u << 20)

bool type_must_be_ref(const Type *type, const TypeLevel *outer, size_t bytes) {
    if (type->source_ref == TYPE_NO_REF) return false;
    if (bytes > WRITTEN_BYTES_MAX || (outer && outer->depth >= TYPE_DEPTH_MAX)) return true;
    for (const TypeLevel *level = outer; level; level = level->outer) {
        if (level->type == type) return true;
    }
    return false;
}

// Printing, for people: cut where it would go on for ever or for pages.
#define PRINT_BYTES_MAX 8192

static void print_type(Buf *out, size_t start, const Type *type, const TypeLevel *outer);

static void print_fields(Buf *out, size_t start, const Type *type, const TypeLevel *here) {
    bool is_sum = type->kind == TYPE_SUM;
    buf_put_u8(out, '(');
    if (is_sum && type->field_count == 0) buf_put_u8(out, '|');
    for (uint32_t i = 0; i < type->field_count; i++) {
        if (i) buf_put_str(out, is_sum ? STR(" | ") : STR(", "));
        Str name = type->fields[i].name;
        if (name.ptr) {
            buf_put_str(out, name);
        } else {
            buf_printf(out, "%u", i);
        }
        buf_put_str(out, STR(": "));
        print_type(out, start, type->fields[i].type, here);
    }
    buf_put_u8(out, ')');
}

static void print_type(Buf *out, size_t start, const Type *type, const TypeLevel *outer) {
    for (const TypeLevel *level = outer; level; level = level->outer) {
        if (level->type != type) continue;
        buf_printf(out, "&%u", type->source_ref);
        return;
    }
    TypeLevel here = type_level(type, outer);
    if (here.depth > TYPE_DEPTH_MAX || out->len - start > PRINT_BYTES_MAX) {
        buf_put_str(out, STR("..."));
    } else if (type->kind == TYPE_REF) {
        buf_printf(out, "&%u", type->ref);
    } else if (type->kind == TYPE_ARRAY) {
        buf_put_str(out, STR("Array<"));
        print_type(out, start, type->element, &here);
        buf_put_u8(out, '>');
    } else if (type->kind >= TYPE_STRING) {
        buf_put_str(out, str_from(kinds[type->kind].name));
    } else {
        print_fields(out, start, type, &here);
    }
}

void type_print(Buf *out, const Type *type) {
    print_type(out, out->len, type, NULL);
}
