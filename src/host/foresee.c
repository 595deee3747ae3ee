#include "host/foresee.h"

#include "base/mem.h"

enum {
    LESSONS_FIRST = 4,  // so many calls are watched at first
    LESSON_EVERY = 64,
    SCORE_USED = 3,  // a rule in use has it
    SCORE_MAX = 6,
    SCORE_FAILED = 2,  // what failing costs; having held brings 1
    REDUCERS_MAX = 4096,
};

void foresee_deinit(Foresee *foresee) {
    mem_free(foresee->reducers);
    *foresee = (Foresee){0};
}

static ForeseeReducer *reducer_of(Foresee *foresee, uint32_t id) {
    if (LIKELY(id < foresee->reducer_count)) return &foresee->reducers[id];
    if (id >= REDUCERS_MAX) return NULL;
    uint32_t count = MIN(MAX(id + 1, 2 * foresee->reducer_count), (uint32_t)REDUCERS_MAX);
    ForeseeReducer *grown = mem_realloc(foresee->reducers, count * sizeof *grown);
    if (!grown) return NULL;  // then without
    memset(grown + foresee->reducer_count,
           0,
           (count - foresee->reducer_count) * sizeof(ForeseeReducer));
    foresee->reducers = grown;
    foresee->reducer_count = count;
    return &grown[id];
}

// What the rule says of a call; false: nothing.
static bool rule_key(const ForeseeRule *rule, const HostCall *call, Bytes *key) {
    Bytes source = rule->is_sender ? BYTES(call->sender.le, sizeof call->sender.le) : call->args;
    if (UNLIKELY((size_t)rule->at + rule->len > source.len)) return false;
    *key = BYTES(source.ptr + rule->at, rule->len);
    return true;
}

// ── lessons ────────────────────────────────────────────────────────────────────────────────────

static void lesson_begin(Foresee *foresee, ForeseeReducer *reducer, const HostCall *call) {
    foresee->lesson = reducer;
    foresee->call = call;
    for (unsigned i = 0; i < reducer->rule_count; i++)
        reducer->rules[i].held = reducer->rules[i].is_idle = false;
}

static void rule_new(ForeseeReducer *reducer,
                     uint32_t index,
                     size_t at,
                     size_t len,
                     bool is_sender) {
    if (reducer->rule_count == FORESEE_RULES) return;
    reducer->rules[reducer->rule_count++] = (ForeseeRule){.index = index,
                                                          .at = (uint16_t)at,
                                                          .len = (uint8_t)len,
                                                          .is_sender = is_sender,
                                                          .held = true};
}

// Whether a rule explains it, and which of the rules do.
static bool rules_explain(ForeseeReducer *reducer,
                          const HostCall *call,
                          uint32_t index,
                          Bytes point) {
    bool explained = false;
    for (unsigned i = 0; i < reducer->rule_count; i++) {
        ForeseeRule *rule = &reducer->rules[i];
        Bytes key;
        if (rule->index != index || !rule_key(rule, call, &key) || !bytes_eq(key, point)) continue;
        rule->held = explained = true;
    }
    return explained;
}

// All places that might be where it comes from: those that were chance will fail.
static void rules_add(ForeseeReducer *reducer, const HostCall *call, uint32_t index, Bytes point) {
    if (bytes_eq(point, BYTES(call->sender.le, sizeof call->sender.le)))
        rule_new(reducer, index, 0, point.len, true);
    size_t end = MIN(call->args.len, (size_t)FORESEE_ARGS_MAX);
    for (size_t at = 0; at + point.len <= end; at++) {
        if (memcmp(call->args.ptr + at, point.ptr, point.len) == 0)
            rule_new(reducer, index, at, point.len, false);
    }
}

void foresee_look(Foresee *foresee, uint32_t index, Bytes point) {
    ForeseeReducer *reducer = foresee->lesson;
    if (point.len == 0 || point.len > FORESEE_KEY_MAX) return;
    if (!rules_explain(reducer, foresee->call, index, point))
        rules_add(reducer, foresee->call, index, point);
}

// Told whether it held. False: forget it.
static bool rule_judge(ForeseeRule *rule) {
    if (rule->held) {
        rule->score = (uint8_t)MIN(rule->score + 1, SCORE_MAX);
        return true;
    }
    if (rule->score <= SCORE_FAILED) return false;
    rule->score -= SCORE_FAILED;
    return true;
}

void foresee_learn(Foresee *foresee) {
    ForeseeReducer *reducer = foresee->lesson;
    unsigned kept = 0;
    for (unsigned i = 0; i < reducer->rule_count; i++) {
        ForeseeRule rule = reducer->rules[i];
        if (rule_judge(&rule)) reducer->rules[kept++] = rule;
    }
    reducer->rule_count = (uint8_t)kept;
    reducer->lessons = (uint8_t)MIN(reducer->lessons + 1, LESSONS_FIRST);
    reducer->until = reducer->lessons < LESSONS_FIRST ? 0 : LESSON_EVERY - 1;
    foresee->lesson = NULL;
    foresee->call = NULL;
}

// ── using what was learnt ──────────────────────────────────────────────────────────────────────

void foresee_begin(Foresee *foresee, const HostCall *call) {
    if (call->kind != HOST_REDUCER || !call->access || !call->access->ops->foresee) return;
    ForeseeReducer *reducer = reducer_of(foresee, call->id);
    if (UNLIKELY(!reducer)) return;
    for (unsigned i = 0; i < reducer->rule_count; i++) {
        ForeseeRule *rule = &reducer->rules[i];
        Bytes key;
        if (rule->score < SCORE_USED || rule->is_idle || !rule_key(rule, call, &key)) continue;
        rule->is_idle = !call->access->ops->foresee(call->access, rule->index, key);
    }
    if (LIKELY(reducer->until > 0)) {
        reducer->until--;
    } else {
        lesson_begin(foresee, reducer, call);
    }
}
