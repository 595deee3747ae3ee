// lane_private.h: inside of lane.h, shared by lane*.c.
#pragma once
#include "node/lane.h"

// lane_guard.c
void lane_guard_init(LaneGuard *guard);
void lane_guard_deinit(LaneGuard *guard);
