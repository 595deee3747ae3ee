// lane_module.c: a program that workers run, and its instances.
//
// ALWAYS TRUE
//   (1) A program lives as long as somebody runs it: the database holds it, every instance does, and
//       every call that waits for one. So a module may be replaced while workers are inside the old.
//   (2) An instance that was told to stop is not used again: the stop may not have been obeyed yet.
#include "base/mem.h"
#include "node/lane_private.h"
#include "node/node_private.h"

#define SPARE_INSTANCES  4  // kept for the next call
#define QUEUED_CALLS_MAX (1u << 20)

struct LaneModule {
    atomic_uint refs;
    HostProgram *program;
    Identity database;
    const Node *node;
    pthread_mutex_t mutex;
    LaneInstance *spare;
    uint32_t spare_count;
    size_t heap_max;
    SlowHistory *history;  // of each reducer; the loop's
};

static void instance_log(void *ctx, const HostLogRecord *record) {
    LaneInstance *instance = ctx;
    if (instance->call) modulelog_format(&instance->call->logs, record);
}

static Micros instance_now(void *ctx) {
    return node_now(((LaneInstance *)ctx)->module->node);
}

static void instance_schedule_now(void *ctx, Str function, Bytes args) {
    LaneCall *call = ((LaneInstance *)ctx)->call;
    if (!call || call->queued_calls.len > QUEUED_CALLS_MAX) return;
    size_t start = call->queued_calls.len;
    buf_put_lp(&call->queued_calls, str_bytes(function));
    buf_put_lp(&call->queued_calls, args);
    if (buf_ok(&call->queued_calls)) return;
    call->queued_calls.failed = false;  // forget this one only
    call->queued_calls.len = start;
}

static void instance_free(LaneInstance *instance) {
    LaneModule *module = instance->module;
    host_instance_free(&instance->host);
    mem_free(instance);
    lane_module_release(module);
}

void lane_module_retain(LaneModule *module) {
    atomic_fetch_add_explicit(&module->refs, 1, memory_order_relaxed);
}

void lane_module_release(LaneModule *module) {
    if (atomic_fetch_sub_explicit(&module->refs, 1, memory_order_acq_rel) != 1) return;
    host_program_free(&module->program);
    mem_free(module->history);
    pthread_mutex_destroy(&module->mutex);
    mem_free(module);
}

// Spare instances hold the module, so they go first.
void lane_module_retire(LaneModule *module) {
    pthread_mutex_lock(&module->mutex);
    LaneInstance *spare = module->spare;
    module->spare = NULL;
    module->spare_count = SPARE_INSTANCES;  // none is kept any more
    pthread_mutex_unlock(&module->mutex);
    while (spare) {
        LaneInstance *next = spare->next;
        instance_free(spare);
        spare = next;
    }
    lane_module_release(module);
}

void lane_module_heap_max(LaneModule *module, size_t bytes) {
    pthread_mutex_lock(&module->mutex);
    bool changed = module->heap_max != bytes;
    LaneInstance *spare = changed ? module->spare : NULL;
    module->heap_max = bytes;
    if (changed) {
        module->spare = NULL;
        module->spare_count = 0;
    }
    pthread_mutex_unlock(&module->mutex);
    while (spare) {
        LaneInstance *next = spare->next;
        instance_free(spare);
        spare = next;
    }
}

// On a worker's thread: making one costs tens of milliseconds in JavaScript.
Err lane_instance_take(LaneModule *module, LaneInstance **out, Diag *diag) {
    pthread_mutex_lock(&module->mutex);
    LaneInstance *instance = module->spare;
    size_t heap_max = module->heap_max;
    if (instance) {
        module->spare = instance->next;
        module->spare_count--;
    }
    pthread_mutex_unlock(&module->mutex);
    if (!instance) {
        instance = MEM_NEW(LaneInstance);
        if (!instance) return diag_fail(diag, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
        instance->module = module;
        instance->heap_max = heap_max;
        lane_module_retain(module);
        HostEnv env = {.ctx = instance,
                       .database = module->database,
                       .log = instance_log,
                       .now = instance_now,
                       .schedule_now = instance_schedule_now,
                       .memory_max = heap_max};
        Err err = host_instance_new(module->program, &env, &instance->host, diag);
        if (err != OK) {
            instance_free(instance);
            return err;
        }
    }
    *out = instance;
    return OK;
}

void lane_instance_give(LaneInstance *instance, bool reuse) {
    LaneModule *module = instance->module;
    instance->call = NULL;
    if (reuse) host_idle(instance->host);
    pthread_mutex_lock(&module->mutex);
    bool keep =
        reuse && module->spare_count < SPARE_INSTANCES && instance->heap_max == module->heap_max;
    if (keep) {
        instance->next = module->spare;
        module->spare = instance;
        module->spare_count++;
    }
    pthread_mutex_unlock(&module->mutex);
    if (!keep) instance_free(instance);
}
Err lanes_module_new(const Database *db, HostProgram **program, LaneModule **out) {
    uint32_t reducers = host_program_def(*program)->reducer_count;
    LaneModule *module = MEM_NEW(LaneModule);
    SlowHistory *history = module ? mem_zalloc((reducers + 1) * sizeof *history) : NULL;
    if (!history) {
        mem_free(module);
        return ERR_NOMEM;
    }
    atomic_init(&module->refs, 1);
    module->program = *program;
    module->history = history;
    module->database = db->identity;
    module->heap_max = (size_t)db->settings.heap_max;
    module->node = db->loop->node;
    pthread_mutex_init(&module->mutex, NULL);
    *program = NULL;
    *out = module;
    return OK;
}

void lanes_module_free(LaneModule **module) {
    if (*module) lane_module_release(*module);
    *module = NULL;
}

HostProgram *lanes_program(const LaneModule *module) {
    return module->program;
}

SlowHistory *lane_module_history(const LaneModule *module, const FunctionDef *reducer) {
    const ModuleDef *def = host_program_def(module->program);
    size_t at = (size_t)(reducer - def->reducers);
    ASSERT(at < def->reducer_count);
    return &module->history[at];
}
