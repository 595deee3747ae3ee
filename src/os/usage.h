// usage.h: what this process takes of the machine.
#pragma once
#include "base/err.h"

// Bytes of memory that it has touched and not given back, in memory or swapped out: what any part of it
// takes is not more. Some 20 µs. INT64_MAX where the system does not say.
int64_t usage_memory_bytes(void);

// Whether the system gives this process only so much processor time, however many cores are idle (the quota of a
// control group, of version 1 or 2, its own or one above): what waits for a core then does not wait for others.
// `groups` is "/proc/self/cgroup" and `root` "/sys/fs/cgroup". False where the system does not say.
bool usage_cpu_is_limited(const char *groups, const char *root);
