// names.h: what names look like, and which are taken. Private to this room.
#pragma once
#include "schema/def.h"

// Whether `name` may name a table, column, function, variant or type (module-abi §3.5 end). When
// not, the reason is appended to *reason as a person reads it.
bool ident_check(Str name, Buf *reason);

// A set of names that notices the second of two equal ones.
typedef struct NameSet {
    Str *slots;  // open addressing; ptr NULL is free
    uint32_t capacity;
    uint32_t count;
} NameSet;

// Add a name, which must outlive the set. *added is false when it was there. ERR_NOMEM.
MUST_USE Err nameset_add(NameSet *set, Arena *arena, Str name, bool *added);
bool nameset_has(const NameSet *set, Str name);
