// metrics.h: the numbers of a database, by name.
#pragma once
#include "node/database.h"

// Of the loop's thread. False: there is no metric of this name.
bool metrics_value(const Database *database, const char *name, uint64_t *out);
const char *metrics_help(const char *name);  // "": there is none
