// program.c: a published WebAssembly program, and the engine's table.
#include "base/mem.h"
#include "host/wasm/demangle.h"
#include "host/wasm/wasm.h"

// What the module logs before it belongs to a database goes nowhere.
static const HostEnv no_env = {.ctx = NULL};

// As a person wrote them; what cannot be made nicer stays as it is.
static void names_demangle(WasmProgram *program) {
    Buf text = {0};
    for (uint32_t i = 0; i < program->func_count; i++) {
        buf_clear(&text);
        if (!wasm_demangle(program->names[i], &text) || !buf_ok(&text)) continue;
        Str name = arena_str(&program->arena, bytes_str(buf_bytes(&text)));
        if (name.ptr) program->names[i] = name;
    }
    buf_deinit(&text);
}

// Names outlive the program's bytes, which are the caller's.
static Err names_keep(WasmProgram *program, const WasmBinary *binary) {
    Arena *arena = &program->arena;
    Bytes section = arena_bytes(arena, binary->names);
    program->func_count = binary->func_count;
    program->names = wasm_function_names(section, binary->func_count, arena);
    program->preinits = arena_array(arena, Str, MAX(binary->preinit_count, 1));
    if (section.len != binary->names.len || !program->names || !program->preinits) return ERR_NOMEM;
    for (uint32_t i = 0; i < binary->preinit_count; i++) {
        program->preinits[i] = arena_str(arena, binary->preinits[i].name);
        if (!program->preinits[i].ptr) return ERR_NOMEM;
    }
    names_demangle(program);
    return OK;
}

static void wasm_program_unload(HostProgram *base) {
    WasmProgram *program = CONTAINER_OF(base, WasmProgram, base);
    wasm_object_unload(&program->object);
    arena_deinit(&program->arena);
    mem_free(program);
}

static Err wasm_program_load(Bytes bytes,
                             const HostLoadOptions *options,
                             HostProgram **out,
                             Buf *description,
                             Diag *diag) {
    WasmProgram *program = MEM_NEW(WasmProgram);
    WasmInstance *first = NULL;
    WasmBinary binary;
    Arena arena = {0};
    Err err = OK;
    if (!program) return diag_fail(diag, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    program->base.engine = &wasm_engine;
    if ((err = wasm_binary_read(bytes, &arena, &binary, diag)) != OK) goto done;
    if ((err = names_keep(program, &binary)) != OK) goto done;
    if ((err = wasm_object_load(&binary, options, &program->object, diag)) != OK) goto done;
    if ((err = wasm_instance_make(program, &no_env, description, &first, diag)) != OK) goto done;
    *out = &program->base;
    program = NULL;
done:
    if (err == ERR_NOMEM) diag_fail(diag, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    if (first) wasm_instance_free(&first->base);
    if (program) wasm_program_unload(&program->base);
    arena_deinit(&arena);
    return err;
}

static bool wasm_ok(const HostInstance *base) {
    return CONTAINER_OF(base, WasmInstance, base)->ok;
}

static void wasm_idle(HostInstance *base) {
    (void)base;  // nothing is ever put off
}

static void wasm_stop(HostInstance *base) {
    watch_stop(&CONTAINER_OF(base, WasmInstance, base)->watch);
}

const HostEngine wasm_engine = {
    .load = wasm_program_load,
    .unload = wasm_program_unload,
    .instance_new = wasm_instance_new,
    .instance_free = wasm_instance_free,
    .ok = wasm_ok,
    .run = wasm_run,
    .idle = wasm_idle,
    .stop = wasm_stop,
    .cheap_instances = true,
};
