// shape.h: the type of module definitions, as a SATS type like any other, and definitions written
// in either version. Private to this room.
#pragma once
#include "schema/def.h"

// The product that follows the tag of a RawModuleDef of version 9 or 10. NULL when out of memory.
const Type *definition_shape(Arena *arena, uint32_t version);

// Append that product for a definition, whichever version it came from (encode.c).
void definition_encode(Buf *out, const ModuleDef *def, uint32_t version);
