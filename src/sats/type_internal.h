// type_internal.h: what the files type*.c share. Nobody else includes it.
#pragma once
#include "sats/type.h"

// Fill in what follows from the shape: special, fixed_size, weight, height, any_bits. The parts
// must be finished before. Returns whether fixed_size became known by it.
bool type_finish_sizes(Type *type);
TypeSpecial type_recognise(const Type *type);
// A composite node copied into the arena with its fields, not finished. NULL when out of memory.
Type *type_node(Arena *arena, TypeKind kind, const TypeField *fields, uint32_t count);

// Where a walk that writes a type out stands: the types around it.
typedef struct TypeLevel {
    const Type *type;
    const struct TypeLevel *outer;
    int depth;
} TypeLevel;

static inline TypeLevel type_level(const Type *type, const TypeLevel *outer) {
    return (TypeLevel){type, outer, outer ? outer->depth + 1 : 0};
}
// Whether `type` has to be written as a reference for the writing to end: it contains itself, or
// it is nested absurdly deep, or `bytes` have been written for one type already.
bool type_must_be_ref(const Type *type, const TypeLevel *outer, size_t bytes);
