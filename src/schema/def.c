// def.c: a module definition from its bytes, and finding things in it.
//
// START AT  def_test.c, "the chat example's definition reads as documented".
#include "schema/def.h"

#include "base/mem.h"
#include "schema/raw.h"

static Err moduledef_new(Bytes raw, ModuleDef **out) {
    *out = NULL;
    Arena *arena = MEM_NEW(Arena);
    if (!arena) return ERR_NOMEM;
    ModuleDef *def = arena_new(arena, ModuleDef);
    if (def) {
        def->arena = arena;
        // The names of the definition borrow from its own copy of the bytes.
        def->raw = arena_bytes(arena, raw);
        if (def->raw.len == raw.len) {
            *out = def;
            return OK;
        }
    }
    arena_deinit(arena);
    mem_free(arena);
    return ERR_NOMEM;
}

Err moduledef_decode(Bytes raw, ModuleDef **out, Diag *diag) {
    *out = NULL;
    ModuleDef *def = NULL;
    RawModule module;
    RawWhole whole;
    Err err = moduledef_new(raw, &def);
    if (err != OK) return diag_fail(diag, err, "%s", err_text(err));

    if ((err = raw_decode(def->raw, def->arena, &module, diag)) != OK) goto done;
    if ((err = raw_whole(&module, def->arena, &whole, diag)) != OK) goto done;
    if ((err = raw_validate(&whole, def, diag)) != OK) goto done;

    *out = def;
    def = NULL;
done:
    moduledef_free(&def);
    return err;
}

void moduledef_free(ModuleDef **def) {
    if (!*def) return;
    Arena *arena = (*def)->arena;
    arena_deinit(arena);
    mem_free(arena);
    *def = NULL;
}

const TableDef *moduledef_table(const ModuleDef *def, Str name) {
    for (uint32_t i = 0; i < def->table_count; i++) {
        if (str_eq(def->tables[i].name, name)) return &def->tables[i];
    }
    return NULL;
}

static const FunctionDef *function_by_name(const FunctionDef *functions, uint32_t count, Str name) {
    for (uint32_t i = 0; i < count; i++) {
        if (str_eq(functions[i].name, name)) return &functions[i];
    }
    return NULL;
}

const FunctionDef *moduledef_reducer(const ModuleDef *def, Str name) {
    return function_by_name(def->reducers, def->reducer_count, name);
}

const FunctionDef *moduledef_procedure(const ModuleDef *def, Str name) {
    return function_by_name(def->procedures, def->procedure_count, name);
}

const FunctionDef *moduledef_lifecycle(const ModuleDef *def, Lifecycle which) {
    for (uint32_t i = 0; i < def->reducer_count; i++) {
        if (def->reducers[i].lifecycle == which) return &def->reducers[i];
    }
    return NULL;
}
