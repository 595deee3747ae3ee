// names.c: a set of names, to notice the second of two equal ones. It lives in the arena of the
// definition being checked; old tables are left there when it grows, which costs as much again.
#include "schema/names.h"

static Str *slot_of(const NameSet *set, Str name) {
    uint32_t mask = set->capacity - 1;
    uint32_t at = (uint32_t)bytes_hash(str_bytes(name)) & mask;
    while (set->slots[at].ptr && !str_eq(set->slots[at], name))
        at = (at + 1) & mask;
    return &set->slots[at];
}

static Err nameset_grow(NameSet *set, Arena *arena) {
    NameSet larger = {.capacity = set->capacity ? set->capacity * 2 : 64, .count = set->count};
    larger.slots = arena_array(arena, Str, larger.capacity);
    if (!larger.slots) return ERR_NOMEM;
    for (uint32_t i = 0; i < set->capacity; i++) {
        if (set->slots[i].ptr) *slot_of(&larger, set->slots[i]) = set->slots[i];
    }
    *set = larger;
    return OK;
}

Err nameset_add(NameSet *set, Arena *arena, Str name, bool *added) {
    if (set->count * 2 >= set->capacity) {
        Err err = nameset_grow(set, arena);
        if (err != OK) return err;
    }
    Str *slot = slot_of(set, name);
    *added = slot->ptr == NULL;
    if (!*added) return OK;
    *slot = name.ptr ? name : STR("");  // an empty name is a name too
    set->count++;
    return OK;
}

bool nameset_has(const NameSet *set, Str name) {
    return set->capacity > 0 && slot_of(set, name)->ptr != NULL;
}
