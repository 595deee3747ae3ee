// host.c: chooses the engine of a program and decodes what the program says of itself.
#include "host/host.h"

#include "host/engine.h"
#include "host/wasm/object.h"
#include "host/watch.h"

static const HostEngine *engine_of(HostKind kind) {
    switch (kind) {
    case HOST_WASM: return &wasm_engine;
    case HOST_JS: return &js_engine;
    }
    return NULL;  // a number from a stored row
}

Err host_program_load(HostKind kind,
                      Bytes bytes,
                      const HostLoadOptions *options,
                      HostProgram **out,
                      Diag *diag) {
    static const HostLoadOptions defaults = {0};
    const HostEngine *engine = engine_of(kind);
    if (!engine)
        return diag_fail(diag, ERR_UNSUPPORTED, "no engine here runs programs of this kind");
    HostProgram *program = NULL;
    Buf description = {0};
    Err err = OK;
    if ((err = engine->load(bytes, options ? options : &defaults, &program, &description, diag)) !=
        OK)
        goto done;
    if ((err = moduledef_decode(buf_bytes(&description), &program->def, diag)) != OK) goto done;
    *out = program;
    program = NULL;
done:
    host_program_free(&program);
    buf_deinit(&description);
    return err == OK || err == ERR_NOMEM || err == ERR_UNSUPPORTED ? err : ERR_INVALID;
}

void host_program_free(HostProgram **program) {
    if (!*program) return;
    moduledef_free(&(*program)->def);
    (*program)->engine->unload(*program);
    *program = NULL;
}

const ModuleDef *host_program_def(const HostProgram *program) {
    return program->def;
}

Err host_instance_new(HostProgram *program, const HostEnv *env, HostInstance **out, Diag *diag) {
    return program->engine->instance_new(program, env, out, diag);
}

void host_instance_free(HostInstance **instance) {
    if (!*instance) return;
    (*instance)->engine->instance_free(*instance);
    *instance = NULL;
}

bool host_instance_ok(const HostInstance *instance) {
    return instance->engine->ok(instance);
}

bool host_instances_are_cheap(const HostProgram *program) {
    return program->engine->cheap_instances;
}

void host_run(HostInstance *instance, const HostSource *source) {
    instance->engine->run(instance, source);
}

void host_idle(HostInstance *instance) {
    instance->engine->idle(instance);
}

void host_stop(HostInstance *instance) {
    instance->engine->stop(instance);
}

void host_begin(void) {
    watch_start();
}

void host_cache_clean(const char *cache_dir) {
    wasm_cache_clean(cache_dir);
}
