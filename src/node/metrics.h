// metrics.h: the numbers of a database, by name; route_metrics.c says them, and those of the process.
#pragma once
#include "node/database.h"

typedef struct MetricFamily {
    const char *name, *kind, *help;  // kind: as Prometheus has it, "counter" or "gauge"
} MetricFamily;

size_t metrics_count(void);
const MetricFamily *metrics_family(size_t which);  // below the count

// Of the loop's thread.
uint64_t metrics_of(const Database *database, size_t which);
// False: there is no metric of this name.
bool metrics_value(const Database *database, const char *name, uint64_t *out);
const char *metrics_help(const char *name);  // "": there is none
