// cache.h: the directory of compiled modules stays small. See cache.c.
#pragma once
#include "base/base.h"

void wasm_cache_used(const char *path);                 // an entry was loaded just now
void wasm_cache_trim(const char *path, uint32_t keep);  // only the `keep` used last stay
