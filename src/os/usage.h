// usage.h: what this process takes of the machine.
#pragma once
#include "base/err.h"

// Bytes of memory that it has touched and not given back, in memory or swapped out: what any part of it
// takes is not more. Some 20 µs. INT64_MAX where the system does not say.
int64_t usage_memory_bytes(void);
