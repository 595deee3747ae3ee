// type_resolve.c: references become pointers.
//
// PICTURE
//   declared                              resolved
//     0: Product{ head: U8, tail: Ref 1 }    0: Product{ head: U8, tail: ---> 1 }
//     1: Sum{ cons: Ref 0, nil: unit }       1: Sum{ cons: ---> 0, nil: unit }
//     2: Ref 0                               2: the same pointer as 0
//
//   Every entry gets its node first, so that the others can point at it; then the nodes are
//   filled; then sizes spread from the simple kinds outwards, a round of all nodes at a time,
//   until nothing changes. Nodes of a cycle never get a size, which is right: theirs varies.
//
// The rounds are bounded by VALUE_DEPTH_MAX: a type that nests deeper has no value we would accept.
#include "sats/type_internal.h"

typedef struct Node {
    Type type;
    struct Node *older;
} Node;

typedef struct Resolver {
    const Type *const *resolved;
    uint32_t count;
    Arena *arena;
    Node *newest;
    Diag *diag;
} Resolver;

static Err nomem(Diag *diag) {
    return diag_fail(diag, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
}

static Err dangling(Diag *diag, uint32_t ref, uint32_t count) {
    return diag_fail(diag, ERR_INVALID, "type reference &%u: there are only %u types", ref, count);
}

static Node *node_new(Resolver *r, const Type *declared, uint32_t source_ref) {
    Node *node = arena_new(r->arena, Node);
    if (!node) return NULL;
    node->type = *declared;
    node->type.source_ref = source_ref;
    node->older = r->newest;
    r->newest = node;
    return node;
}

static Err part_resolve(Resolver *r, const Type *declared, int depth, const Type **out);

// Replace the parts of a node, which still are as declared, by resolved ones.
static Err node_fill(Resolver *r, Node *node, int depth) {
    Err err = OK;
    Type *type = &node->type;
    if (type->kind >= TYPE_STRING) return OK;
    type->fixed_size = TYPE_SIZE_VARIES;
    if (type->kind == TYPE_ARRAY) {
        if ((err = part_resolve(r, type->element, depth + 1, &type->element)) != OK) return err;
        type->special = type_recognise(type);  // Array<Ref to U8> is bytes like any other
        return OK;
    }
    TypeField *fields = arena_array(r->arena, TypeField, type->field_count);
    if (!fields) return nomem(r->diag);
    for (uint32_t i = 0; i < type->field_count; i++) {
        fields[i].name = type->fields[i].name;
        err = part_resolve(r, type->fields[i].type, depth + 1, &fields[i].type);
        if (err != OK) return err;
    }
    type->fields = fields;
    return OK;
}

static Err part_resolve(Resolver *r, const Type *declared, int depth, const Type **out) {
    if (depth > 2 * TYPE_DEPTH_MAX) {
        return diag_fail(r->diag, ERR_LIMIT, "a type is nested deeper than %d", 2 * TYPE_DEPTH_MAX);
    }
    if (declared->kind == TYPE_REF) {
        if (declared->ref >= r->count) return dangling(r->diag, declared->ref, r->count);
        *out = r->resolved[declared->ref];
        return OK;
    }
    if (declared->kind >= TYPE_STRING) {
        *out = declared;
        return OK;
    }
    Node *node = node_new(r, declared, TYPE_NO_REF);
    if (!node) return nomem(r->diag);
    *out = &node->type;
    return node_fill(r, node, depth);
}

static Err sizes_spread(Resolver *r) {
    bool changed = true;
    for (int round = 0; changed; round++) {
        if (round > VALUE_DEPTH_MAX) {
            return diag_fail(r->diag,
                             ERR_LIMIT,
                             "types are nested deeper than %d levels",
                             VALUE_DEPTH_MAX);
        }
        changed = false;
        for (Node *node = r->newest; node; node = node->older) {
            changed |= type_finish_sizes(&node->type);
        }
    }
    for (Node *node = r->newest; node; node = node->older) {
        if (node->type.fixed_size == 0 && node->type.weight > TYPE_EMPTY_PARTS_MAX) {
            return diag_fail(r->diag,
                             ERR_LIMIT,
                             "a type has more than %d parts and no bytes",
                             TYPE_EMPTY_PARTS_MAX);
        }
    }
    return OK;
}

// The entry that `entry` stands for when references to references are followed.
static Err alias_follow(const Typespace *space, uint32_t entry, uint32_t *out, Diag *diag) {
    uint32_t at = entry;
    for (uint32_t steps = 0; space->types[at]->kind == TYPE_REF; steps++) {
        uint32_t ref = space->types[at]->ref;
        if (ref >= space->count) return dangling(diag, ref, space->count);
        if (steps >= space->count || steps >= VALUE_DEPTH_MAX) {
            return diag_fail(diag, ERR_INVALID, "type &%u is only a reference to itself", entry);
        }
        at = ref;
    }
    *out = at;
    return OK;
}

Err typespace_resolve(const Typespace *space, Arena *arena, const Type ***resolved, Diag *diag) {
    Err err = OK;
    const Type **types = arena_array(arena, const Type *, space->count);
    Node **nodes = arena_array(arena, Node *, space->count);
    if (!types || !nodes) return nomem(diag);
    Resolver r = {.resolved = types, .count = space->count, .arena = arena, .diag = diag};

    for (uint32_t i = 0; i < space->count; i++) {
        if (space->types[i]->kind == TYPE_REF) continue;
        if (!(nodes[i] = node_new(&r, space->types[i], i))) return nomem(diag);
        types[i] = &nodes[i]->type;
    }
    for (uint32_t i = 0; i < space->count; i++) {
        uint32_t target = i;
        if ((err = alias_follow(space, i, &target, diag)) != OK) return err;
        types[i] = types[target];
    }
    for (uint32_t i = 0; i < space->count; i++) {
        if (nodes[i] && (err = node_fill(&r, nodes[i], 0)) != OK) return err;
    }
    if ((err = sizes_spread(&r)) != OK) return err;
    *resolved = types;
    return OK;
}

Err type_resolve(const Type *type,
                 const Type *const *resolved,
                 uint32_t resolved_count,
                 Arena *arena,
                 const Type **out,
                 Diag *diag) {
    Resolver r = {.resolved = resolved, .count = resolved_count, .arena = arena, .diag = diag};
    const Type *result;
    Err err = part_resolve(&r, type, 0, &result);
    if (err == OK) err = sizes_spread(&r);
    if (err == OK) *out = result;
    return err;
}
