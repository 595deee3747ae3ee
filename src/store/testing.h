// testing.h: what tests may do to a store that nobody else may.
#pragma once
#include "store/store.h"

// Leave only `bits` bits of the row hash, so that rows collide. On an empty store.
void store_test_weaken_hash(Store *store, unsigned bits);
// Let `countdown` reservations of pages succeed and the next one fail with ERR_LIMIT; -1: off.
void store_test_fail_pages(Store *store, int64_t countdown);
bool store_test_pages_failed(const Store *store);
