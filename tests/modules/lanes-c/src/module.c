// Slow reducers in C: what tests/e2e/lanes.test.mjs does in TypeScript, as far as an engine may differ.
#include "lightcone.h"

LC_TABLE(counter, PUBLIC)
typedef struct Counter {
    uint32_t id LC_PRIMARY_KEY;
    uint64_t value;
} Counter;

static void compute(uint32_t millions) {
    for (volatile uint64_t i = (uint64_t)millions * 1000000; i > 0; i--) {
    }
}

// The pause is between the look and the leap: others may be faster.
static Error add(uint32_t id, uint32_t millions) {
    Counter *found = counter_find_by_id(id);
    Counter next = {.id = id, .value = found ? found->value + 1 : 1};
    compute(millions);
    return found ? counter_update_by_id(&next) : counter_insert(&next);
}

LC_REDUCER
Error increment(Ctx *ctx, uint32_t id) {
    (void)ctx;
    return add(id, 0);
}

LC_REDUCER
Error slow_increment(Ctx *ctx, uint32_t id, uint32_t millions) {
    (void)ctx;
    return add(id, millions);
}

LC_REDUCER
Error for_ever(Ctx *ctx) {
    (void)ctx;
    for (volatile uint32_t i = 0;; i++) {
    }
    return OK;
}

LC_REDUCER
Error fill(Ctx *ctx, uint32_t count) {
    (void)ctx;
    for (uint32_t id = 0; id < count; id++) {
        counter_insert(&(Counter){.id = id});
    }
    return OK;
}

LC_REDUCER
Error empty(Ctx *ctx) {
    (void)ctx;
    counter_clear();
    return OK;
}
