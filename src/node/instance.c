// instance.c: see instance.h.
#include "node/instance.h"

#include "base/log.h"
#include "base/mem.h"
#include "node/lane.h"
#include "node/session_private.h"

#define IDLE_MAX          4  // kept for the next call of a worker
#define SCHEDULED_NOW_MAX (1u << 20)

struct LaneModule {
    atomic_uint refs;
    HostProgram *program;
    const FunctionDef *reducers;  // of its definition
    uint32_t reducer_count;
    Identity database;
    const Node *node;
    SlowHistory *history;  // of each reducer; the loop's

    WorkerJob job;       // makes the reserve, buries the dead
    LoopTask done;       // wakes the loop
    NodeLoop *job_loop;  // that waits for the job

    pthread_mutex_t mutex;  // guards what follows
    size_t heap_max;        // of instances made from now on
    ModuleInstance *idle;
    uint32_t idle_count;
    ModuleInstance *reserve, *dead;
    ReserveState making;  // RESERVE_NONE, _QUEUED or _MAKING
    bool wanted;          // the job is to make one
    bool retired;
};

// ── what a module needs from us ────────────────────────────────────────────────────────────────

static void instance_log(void *ctx, const HostLogRecord *record) {
    ModuleInstance *instance = ctx;
    if (instance->call) {
        modulelog_format(&instance->call->logs, record);
    } else if (instance->database) {
        modulelog_add(instance->database->log, record);
    }
}

static Micros instance_now(void *ctx) {
    return node_now(((ModuleInstance *)ctx)->node);
}

static void instance_schedule_now(void *ctx, Str function, Bytes args) {
    const ModuleInstance *instance = ctx;
    LaneCall *call = instance->call;
    if (!call) {
        Database *db = instance->database;
        if (db && db->lanes) lanes_schedule_now(db, function, args);
        return;
    }
    if (call->queued_calls.len > SCHEDULED_NOW_MAX) return;
    size_t start = call->queued_calls.len;
    buf_put_lp(&call->queued_calls, str_bytes(function));
    buf_put_lp(&call->queued_calls, args);
    if (buf_ok(&call->queued_calls)) return;
    call->queued_calls.failed = false;  // forget this one only
    call->queued_calls.len = start;
}

// ── modules ────────────────────────────────────────────────────────────────────────────────────

static void job_run(WorkerJob *job);
static void job_done(LoopTask *task, NodeLoop *loop);

Err module_new(const Database *db, HostProgram **program, LaneModule **out) {
    const ModuleDef *def = host_program_def(*program);
    LaneModule *module = MEM_NEW(LaneModule);
    SlowHistory *history = module ? mem_zalloc((def->reducer_count + 1) * sizeof *history) : NULL;
    if (!history) {
        mem_free(module);
        return ERR_NOMEM;
    }
    atomic_init(&module->refs, 1);
    module->program = *program;
    module->reducers = def->reducers;
    module->reducer_count = def->reducer_count;
    module->history = history;
    module->database = db->identity;
    module->heap_max = (size_t)db->settings.heap_max;
    module->node = db->loop->node;
    module->job.run = job_run;
    module->done.run = job_done;
    pthread_mutex_init(&module->mutex, NULL);
    *program = NULL;
    *out = module;
    return OK;
}

void module_retain(LaneModule *module) {
    atomic_fetch_add_explicit(&module->refs, 1, memory_order_relaxed);
}

void module_release(LaneModule *module) {
    if (atomic_fetch_sub_explicit(&module->refs, 1, memory_order_acq_rel) != 1) return;
    host_program_free(&module->program);
    mem_free(module->history);
    pthread_mutex_destroy(&module->mutex);
    mem_free(module);
}

static void list_free(ModuleInstance *list) {
    while (list) {
        ModuleInstance *next = list->next;
        instance_free(&list);
        list = next;
    }
}

// Instances hold the module, so they go first.
void module_retire(LaneModule *module) {
    pthread_mutex_lock(&module->mutex);
    ModuleInstance *idle = module->idle, *reserve = module->reserve, *dead = module->dead;
    module->idle = module->reserve = module->dead = NULL;
    module->retired = true;
    pthread_mutex_unlock(&module->mutex);
    list_free(idle);
    list_free(dead);
    instance_free(&reserve);
    module_release(module);
}

// Those with another limit go when they have nothing to do.
void module_heap_max(LaneModule *module, size_t bytes) {
    ModuleInstance *idle = NULL, *reserve = NULL;
    pthread_mutex_lock(&module->mutex);
    if (module->heap_max != bytes) {
        idle = module->idle;
        reserve = module->reserve;
        module->idle = module->reserve = NULL;
        module->idle_count = 0;
        module->heap_max = bytes;
    }
    pthread_mutex_unlock(&module->mutex);
    list_free(idle);
    instance_free(&reserve);
}

HostProgram *module_program(const LaneModule *module) {
    return module->program;
}

// Ids are the module's own and may have gaps (submodules); positions have none.
static size_t reducer_position(const LaneModule *module, const FunctionDef *reducer) {
    size_t at = (size_t)(reducer - module->reducers);
    ASSERT(at < module->reducer_count);
    return at;
}

SlowHistory *module_history(LaneModule *module, const FunctionDef *reducer) {
    return &module->history[reducer_position(module, reducer)];
}

uint8_t *instance_runs(ModuleInstance *instance, const FunctionDef *reducer) {
    return &instance->runs[reducer_position(instance->module, reducer)];
}

// ── instances ──────────────────────────────────────────────────────────────────────────────────

static Err instance_make(const Node *node,
                         const Identity *identity,
                         Database *db,
                         LaneModule *module,
                         HostProgram *program,
                         size_t heap_max,
                         ModuleInstance **out,
                         Diag *diag) {
    uint32_t reducers = host_program_def(program)->reducer_count;
    ModuleInstance *instance = mem_zalloc(sizeof *instance + reducers);
    if (!instance) return diag_fail(diag, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    instance->node = node;
    instance->database = db;
    instance->module = module;
    instance->heap_max = heap_max;
    if (module) module_retain(module);
    HostEnv env = {.ctx = instance,
                   .database = *identity,
                   .log = instance_log,
                   .now = instance_now,
                   .schedule_now = instance_schedule_now,
                   .memory_max = heap_max,
                   .first_writable_id = CATALOG_FIRST_USER_ID};
    Err err = host_instance_new(program, &env, &instance->host, diag);
    if (err != OK) instance_free(&instance);
    *out = instance;
    return err;
}

Err instance_new(Database *db,
                 LaneModule *module,
                 HostProgram *program,
                 ModuleInstance **out,
                 Diag *diag) {
    db->instances_made++;
    size_t heap_max = (size_t)db->settings.heap_max;
    return instance_make(db->loop->node, &db->identity, db, module, program, heap_max, out, diag);
}

static Err instance_make_unbound(LaneModule *module, ModuleInstance **out, Diag *diag) {
    pthread_mutex_lock(&module->mutex);
    size_t heap_max = module->heap_max;
    pthread_mutex_unlock(&module->mutex);
    return instance_make(module->node,
                         &module->database,
                         NULL,
                         module,
                         module->program,
                         heap_max,
                         out,
                         diag);
}

void instance_free(ModuleInstance **handle) {
    ModuleInstance *instance = *handle;
    if (!instance) return;
    *handle = NULL;
    LaneModule *module = instance->module;
    host_instance_free(&instance->host);
    mem_free(instance);
    if (module) module_release(module);
}

Err instance_take(LaneModule *module, ModuleInstance **out, Diag *diag) {
    pthread_mutex_lock(&module->mutex);
    ModuleInstance *instance = module->idle;
    if (instance) {
        module->idle = instance->next;
        module->idle_count--;
    }
    pthread_mutex_unlock(&module->mutex);
    *out = instance;
    return instance ? OK : instance_make_unbound(module, out, diag);
}

void instance_give(ModuleInstance *instance, bool reuse) {
    LaneModule *module = instance->module;
    instance->call = NULL;
    if (reuse) host_idle(instance->host);
    pthread_mutex_lock(&module->mutex);
    bool keep = reuse && !module->retired && module->idle_count < IDLE_MAX &&
                instance->heap_max == module->heap_max;
    if (keep) {
        instance->next = module->idle;
        module->idle = instance;
        module->idle_count++;
    }
    pthread_mutex_unlock(&module->mutex);
    if (!keep) instance_free(&instance);
}

// ── the reserve ────────────────────────────────────────────────────────────────────────────────

static void job_submit(LaneModule *module, NodeLoop *loop, bool wanted) {
    bool submit = false;
    if (!loop->node->makers) return;
    pthread_mutex_lock(&module->mutex);
    module->wanted |= wanted && !module->reserve;
    if (module->making == RESERVE_NONE && (module->wanted || module->dead)) {
        module->making = RESERVE_QUEUED;
        submit = true;
    }
    pthread_mutex_unlock(&module->mutex);
    if (!submit) return;
    module->job_loop = loop;
    module_retain(module);  // until job_done
    if (worker_submit(loop->node->makers, &module->job) == OK) return;
    pthread_mutex_lock(&module->mutex);
    module->making = RESERVE_NONE;
    pthread_mutex_unlock(&module->mutex);
    module_release(module);
}

void reserve_want(LaneModule *module, NodeLoop *loop) {
    job_submit(module, loop, true);
}

ModuleInstance *reserve_take(LaneModule *module, Database *db) {
    pthread_mutex_lock(&module->mutex);
    ModuleInstance *instance = module->reserve;
    module->reserve = NULL;
    pthread_mutex_unlock(&module->mutex);
    if (instance) instance->database = db;
    return instance;
}

void reserve_bury(ModuleInstance **handle, NodeLoop *loop) {
    ModuleInstance *instance = *handle;
    LaneModule *module = instance ? instance->module : NULL;
    if (!module || !loop->node->makers) {
        instance_free(handle);
        return;
    }
    *handle = NULL;
    instance->database = NULL;
    pthread_mutex_lock(&module->mutex);
    instance->next = module->dead;
    module->dead = instance;
    pthread_mutex_unlock(&module->mutex);
    job_submit(module, loop, false);
}

ReserveState reserve_state(LaneModule *module) {
    pthread_mutex_lock(&module->mutex);
    ReserveState state = module->reserve  ? RESERVE_READY
                         : module->wanted ? module->making
                                          : RESERVE_NONE;
    pthread_mutex_unlock(&module->mutex);
    return state;
}

static bool job_begin(LaneModule *module) {
    pthread_mutex_lock(&module->mutex);
    module->making = RESERVE_MAKING;
    bool make = module->wanted && !module->retired;
    pthread_mutex_unlock(&module->mutex);
    return make;
}

static void job_end(LaneModule *module, ModuleInstance *made) {
    pthread_mutex_lock(&module->mutex);
    ModuleInstance *dead = module->dead;
    module->dead = NULL;
    module->wanted = false;
    if (!module->retired && made && made->heap_max == module->heap_max) {
        module->reserve = made;
        made = NULL;
    }
    pthread_mutex_unlock(&module->mutex);
    list_free(dead);
    instance_free(&made);
}

// The living come first: somebody may wait for it.
static void job_run(WorkerJob *job) {
    LaneModule *module = CONTAINER_OF(job, LaneModule, job);
    ModuleInstance *made = NULL;
    Diag diag = {0};
    if (job_begin(module) && instance_make_unbound(module, &made, &diag) != OK)
        log_warn("a spare instance of a module could not be made: %s", diag.text);
    job_end(module, made);
    loop_post(module->job_loop, &module->done);
}

static void job_done(LoopTask *task, NodeLoop *loop) {
    LaneModule *module = CONTAINER_OF(task, LaneModule, done);
    pthread_mutex_lock(&module->mutex);
    module->making = RESERVE_NONE;
    bool retired = module->retired;
    pthread_mutex_unlock(&module->mutex);
    // Somebody may have died or been asked for meanwhile.
    if (!retired) job_submit(module, loop, false);
    module_release(module);
}
