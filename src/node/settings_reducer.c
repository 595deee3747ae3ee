// settings_reducer.c: settings of one reducer: `reducer_rate.NAME` and `reducer_burst.NAME` stand for
// `reducer_rate` and `reducer_burst` where it is called.
#include <string.h>

#include "node/settings.h"

bool setting_of_reducer(Str key, const SettingRule **rule, Str *reducer) {
    const char *dot = key.len ? memchr(key.ptr, '.', key.len) : NULL;
    if (!dot) return false;
    size_t len = (size_t)(dot - key.ptr);
    *rule = setting_find((Str){key.ptr, len});
    *reducer = (Str){dot + 1, key.len - len - 1};
    bool is_rate = *rule && (*rule)->offset == offsetof(Settings, reducer_rate);
    bool is_burst = *rule && (*rule)->offset == offsetof(Settings, reducer_burst);
    return (is_rate || is_burst) && reducer->len > 0 && reducer->len < REDUCER_NAME_MAX &&
           !memchr(reducer->ptr, '=', reducer->len) && !memchr(reducer->ptr, '\n', reducer->len);
}

static bool is_rate(const SettingRule *rule) {
    return rule->offset == offsetof(Settings, reducer_rate);
}

static ReducerLimit *find(const Settings *s, Str reducer) {
    for (uint32_t i = 0; i < s->reducer_count; i++) {
        const ReducerLimit *limit = &s->reducers[i];
        if (str_eq(reducer, str_from(limit->name))) return (ReducerLimit *)limit;
    }
    return NULL;
}

Err setting_set_reducer(Settings *s,
                        const SettingRule *rule,
                        Str reducer,
                        int64_t value,
                        Diag *diag) {
    if (value < rule->min || value > rule->max)
        return diag_fail(diag,
                         ERR_INVALID,
                         "`%s." STR_FMT "` takes a number from %lld to %lld, not %lld",
                         rule->key,
                         STR_ARG(reducer),
                         (long long)rule->min,
                         (long long)rule->max,
                         (long long)value);
    ReducerLimit *limit = find(s, reducer);
    if (!limit) {
        if (s->reducer_count == REDUCER_LIMITS_MAX)
            return diag_fail(diag,
                             ERR_LIMIT,
                             "at most %d reducers have settings of their own",
                             REDUCER_LIMITS_MAX);
        limit = &s->reducers[s->reducer_count++];
        *limit = (ReducerLimit){0};
        memcpy(limit->name, reducer.ptr, reducer.len);
    }
    if (is_rate(rule)) {
        limit->rate = value;
        limit->has_rate = true;
    } else {
        limit->burst = value;
        limit->has_burst = true;
    }
    return OK;
}

void setting_unset_reducer(Settings *s, const SettingRule *rule, Str reducer) {
    ReducerLimit *limit = find(s, reducer);
    if (!limit) return;
    if (is_rate(rule)) {
        limit->has_rate = false;
        limit->rate = 0;
    } else {
        limit->has_burst = false;
        limit->burst = 0;
    }
    if (limit->has_rate || limit->has_burst) return;
    *limit = s->reducers[--s->reducer_count];
    s->reducers[s->reducer_count] = (ReducerLimit){0};
}

void settings_reducer(const Settings *s, Str reducer, int64_t *rate, int64_t *burst) {
    const ReducerLimit *limit = find(s, reducer);
    *rate = limit && limit->has_rate ? limit->rate : s->reducer_rate;
    *burst = limit && limit->has_burst ? limit->burst : s->reducer_burst;
}
