// engine.h: what host.c asks of an engine. JavaScriptCore is in js/, wasm in wasm/.
#pragma once
#include "host/host.h"

typedef struct HostEngine {
    // Check and compile `program`, run it once and append its description (BSATN RawModuleDef).
    Err (*load)(Bytes program,
                const HostLoadOptions *options,
                HostProgram **out,
                Buf *description,
                Diag *diag);
    void (*unload)(HostProgram *program);
    Err (*instance_new)(HostProgram *program, const HostEnv *env, HostInstance **out, Diag *diag);
    void (*instance_free)(HostInstance *instance);
    bool (*ok)(const HostInstance *instance);
    void (*run)(HostInstance *instance, const HostSource *source);
    void (*idle)(HostInstance *instance);
    void (*stop)(HostInstance *instance);  // any thread
    bool cheap_instances;
} HostEngine;

// The engines' own structures begin with these.
struct HostProgram {
    const HostEngine *engine;
    ModuleDef *def;  // set by host.c after load
};
struct HostInstance {
    const HostEngine *engine;
};

extern const HostEngine js_engine;
extern const HostEngine wasm_engine;
