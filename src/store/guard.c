// guard.c: one slot a thread, and a clock.
//
// The order that matters: a reader stores its slot, then loads a page's state; an evictor stores the
// state, then loads the slots. All four are sequentially consistent, so one of them sees the other:
// either the reader finds the page marked, or the evictor finds the reader's guard up.
#include "store/guard.h"

#include <pthread.h>
#include <stdatomic.h>

enum { SLOTS = 1024, NO_SLOT = -1, OVERFLOW_SLOT = SLOTS };

#define DOWN UINT64_MAX

typedef struct Slot {
    alignas(64) _Atomic uint64_t raised;  // the time, or DOWN; 0: belongs to nobody
} Slot;

static Slot slots[SLOTS];
static _Atomic uint64_t now = 1;
static _Atomic uint32_t slots_end;  // slots from here on were never used
// Threads beyond SLOTS that have their guards up: while there are any, nothing passes.
static _Atomic uint32_t overflow_up;

static _Thread_local int my_slot = NO_SLOT;
static _Thread_local bool my_guard_up;

static pthread_key_t thread_end;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void slot_free(void *value) {
    (void)value;
    guard_lower();
    if (my_slot >= 0 && my_slot < SLOTS) atomic_store(&slots[my_slot].raised, 0);
    my_slot = NO_SLOT;
}

static void prepare(void) {
    int failed = pthread_key_create(&thread_end, slot_free);
    ASSERT(!failed);
}

static void slot_take(void) {
    pthread_once(&once, prepare);
    my_slot = OVERFLOW_SLOT;
    for (int i = 0; i < SLOTS; i++) {
        uint64_t free = 0;
        if (!atomic_compare_exchange_strong(&slots[i].raised, &free, DOWN)) continue;
        uint32_t end = atomic_load(&slots_end);
        while (end <= (uint32_t)i &&
               !atomic_compare_exchange_weak(&slots_end, &end, (uint32_t)i + 1)) {
        }
        my_slot = i;
        break;
    }
    pthread_setspecific(thread_end, &my_slot);  // any value but NULL: slot_free is called
}

void guard_raise(void) {
    if (LIKELY(my_guard_up)) return;
    if (UNLIKELY(my_slot == NO_SLOT)) slot_take();
    my_guard_up = true;
    if (LIKELY(my_slot != OVERFLOW_SLOT)) {
        atomic_store(&slots[my_slot].raised, atomic_load(&now));
    } else {
        atomic_fetch_add(&overflow_up, 1);
    }
}

void guard_lower(void) {
    if (!my_guard_up) return;
    my_guard_up = false;
    if (LIKELY(my_slot != OVERFLOW_SLOT)) {
        atomic_store_explicit(&slots[my_slot].raised, DOWN, memory_order_release);
    } else {
        atomic_fetch_sub(&overflow_up, 1);
    }
}

bool guard_is_up(void) {
    return my_guard_up;
}

uint64_t guards_tick(void) {
    return atomic_fetch_add(&now, 1);
}

bool guards_passed(uint64_t time) {
    if (atomic_load(&overflow_up)) return false;
    uint32_t end = atomic_load(&slots_end);
    for (uint32_t i = 0; i < end; i++) {
        uint64_t raised = atomic_load(&slots[i].raised);
        if (raised && raised <= time) return false;
    }
    return true;
}
