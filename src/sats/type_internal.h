// type_internal.h: what the files type*.c share. Nobody else includes it.
#pragma once
#include "sats/type.h"

// Fill in what follows from the shape: special, fixed_size, weight, height, any_bits. The parts
// must be finished before. Returns whether fixed_size became known by it.
bool type_finish_sizes(Type *type);
TypeSpecial type_recognise(const Type *type);
// A composite node copied into the arena with its fields, not finished. NULL when out of memory.
Type *type_node(Arena *arena, TypeKind kind, const TypeField *fields, uint32_t count);
