// foresee.h: the rows that a call will look up, asked for from memory before it does.
//
// A row that was not touched lately is three cache lines away, each of which says where the next is, and the
// module waits for all of them. But most reducers look rows up by what they were called with:
//
//   transfer(from, to, amount)     args   07 00 00 00 │ 2a 00 00 00 │ 10 27 00 00
//                                         └─ account.id  └─ account.id
//
// So who has seen a few calls of a reducer knows which bytes of the arguments (or the caller's identity) are
// keys of which index, and can tell the store of them when the call begins. The lines of all rows are then on
// their way at once, while the module is entered.
//
// LESSONS
//   One call in LESSON_EVERY is watched: each key that it looks up is sought in what the call came with, and
//   each rule is told whether it held. All others only use the rules. A rule is used from the third time on
//   that it held, and one that fails more than once in three times is forgotten.
//
// ALWAYS TRUE
//   (1) It is a hint. No result depends on it, whatever a reducer does.
//   (2) A call that is not watched pays for the rules in use and nothing for looking rows up.
//
// CALLERS   abi.c. What is done with a hint: txn/head.c, store/finger.c. START AT  foresee_test.c.
#pragma once
#include "host/host.h"

enum {
    FORESEE_RULES = 4,      // of a reducer
    FORESEE_KEY_MAX = 32,   // bytes: an identity
    FORESEE_ARGS_MAX = 256  // bytes of the arguments that keys are sought in
};

typedef struct ForeseeRule {
    uint32_t index;
    uint16_t at;  // in the arguments
    uint8_t len;
    uint8_t score;
    bool is_sender;  // the key is the caller's identity, not in the arguments
    bool is_idle;    // the store had no use for it; asked again after the next lesson
    bool held;       // in the lesson under way
} ForeseeRule;

typedef struct ForeseeReducer {
    ForeseeRule rules[FORESEE_RULES];
    uint8_t rule_count;
    uint8_t lessons;  // had so far, up to LESSONS_FIRST
    uint8_t until;    // calls before the next lesson
} ForeseeReducer;

// One for each instance; zeroed is ready.
typedef struct Foresee {
    ForeseeReducer *reducers;  // by id
    uint32_t reducer_count;
    ForeseeReducer *lesson;  // of the running call; NULL: it is not watched
    const HostCall *call;    // of the lesson
} Foresee;

void foresee_deinit(Foresee *foresee);
// A call begins. It stays valid until foresee_end().
void foresee_begin(Foresee *foresee, const HostCall *call);
void foresee_look(Foresee *foresee, uint32_t index, Bytes point);
void foresee_learn(Foresee *foresee);

// It looks up a row.
static inline void foresee_saw(Foresee *foresee, uint32_t index, Bytes point) {
    if (UNLIKELY(foresee->lesson != NULL)) foresee_look(foresee, index, point);
}
static inline void foresee_end(Foresee *foresee) {
    if (UNLIKELY(foresee->lesson != NULL)) foresee_learn(foresee);
}
