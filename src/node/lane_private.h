// lane_private.h: inside of lane.h, shared by lane*.c.
#pragma once
#include "node/lane.h"

struct LaneInstance {
    LaneInstance *next;
    LaneModule *module;
    HostInstance *host;
    LaneCall *call;  // running on it
    size_t heap_max;
};

// lane_module.c
void lane_module_retain(LaneModule *module);
void lane_module_release(LaneModule *module);
void lane_module_retire(LaneModule *module);  // release, and keep no spare instances any more
void lane_module_heap_max(LaneModule *module, size_t bytes);  // of instances made from now on
SlowHistory *lane_module_history(const LaneModule *module, const FunctionDef *reducer);
// On a worker's thread: making one costs tens of milliseconds in JavaScript.
MUST_USE Err lane_instance_take(LaneModule *module, LaneInstance **out, Diag *diag);
void lane_instance_give(LaneInstance *instance, bool reuse);

// lane_guard.c
void lane_guard_init(LaneGuard *guard);
void lane_guard_deinit(LaneGuard *guard);
