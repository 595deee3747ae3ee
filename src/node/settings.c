#include "node/settings.h"

#include <stdio.h>
#include <stdlib.h>

#define MS  1000
#define MIB (1 << 20)

#define FIELD(name)  .key = #name, .offset = offsetof(Settings, name), .scale = 1
#define US(name)     .key = #name "_us", .offset = offsetof(Settings, name), .scale = 1
#define MILLIS(name) .key = #name "_ms", .offset = offsetof(Settings, name), .scale = MS

// clang-format off
const SettingRule setting_rules[] = {
    {US(slice), .min = 1, .max = 10000000, .zero = true, .standard = 2000,
     .effect = "lightcone_slices_used_up_total",
     .help = "a reducer that needs longer goes on beside the others; 0: it is waited for, 1: every reducer begins there"},
    {US(crowded_slice), .min = 50, .max = 10000000, .zero = true, .standard = 500,
     .effect = "lightcone_slow_calls_total",
     .help = "a reducer that needs longer begins beside the others when its client always has calls waiting and others do not; 0: it does not"},
    {MILLIS(deadline), .min = 1, .max = 86400000, .standard = 10000,
     .effect = "lightcone_calls_deadline_total",
     .help = "a reducer or view that runs longer is stopped"},
    {MILLIS(exclusive), .min = 1, .max = 60000, .standard = 1000,
     .effect = "lightcone_exclusive_runs_total",
     .help = "how long a reducer that keeps conflicting may have the database to itself"},
    {MILLIS(procedure_deadline), .min = 1, .max = 86400000, .standard = 60000,
     .effect = "lightcone_procedures_deadline_total",
     .help = "a procedure or HTTP handler that computes longer is stopped; waiting does not count"},
    {MILLIS(procedure_exclusive), .min = 1, .max = 60000, .standard = 250,
     .effect = "lightcone_exclusive_runs_total",
     .help = "how long a transaction of a procedure that conflicted may have the database to itself"},
    {FIELD(view_failure_aborts), .min = 0, .max = 1, .standard = 0,
     .effect = "lightcone_view_failures_total",
     .help = "1: a view that fails undoes the transaction that made it run; 0: it ends its own subscriptions"},
    {US(view_slice), .min = 1, .max = 60000000, .zero = true, .standard = 10000,
     .effect = "lightcone_view_late_total",
     .help = "a view that needs longer is computed beside the others, and its subscribers hear of it later; 0: it is waited for"},
    {FIELD(result_bytes_max), .min = 1024, .max = (int64_t)4095 * MIB, .standard = 256 * MIB,
     .effect = "lightcone_reads_refused_total",
     .help = "bytes of the largest answer of a query or subscription"},
    {FIELD(result_rows_max), .min = 1, .max = INT64_MAX, .zero = true, .standard = 0,
     .effect = "lightcone_reads_refused_total",
     .help = "rows of the largest answer; 0: no limit"},
    {FIELD(resume_bytes_max), .min = 64 << 10, .max = (int64_t)4096 * MIB, .zero = true, .standard = 64 * MIB,
     .effect = "lightcone_resumes_too_much_total",
     .help = "bytes of log since a client was cut off, up to which it is told only what it missed; 0: it is always told everything"},
    {FIELD(compression), .min = 0, .max = 2, .standard = 1,
     .effect = "lightcone_compression_saved_bytes_total",
     .help = "whose answers of more than a kilobyte that a worker makes are compressed, if they asked for it; 0: nobody's, 1: of Lightcone's own clients, 2: everybody's (other SDKs may take messages out of order then)"},
    {FIELD(strict_index), .min = 0, .max = 1, .standard = 0,
     .help = "1: subscriptions may be what SpacetimeDB takes and no more: two tables, an index on the probed side, whole rows"},
    {FIELD(subscription_bag), .min = 0, .max = 1, .standard = 0,
     .help = "1: subscribers of a join get a row as often as it has partners; 0: once. From the next opening of the database on"},
    {FIELD(subscription_memory_max), .min = 0, .max = (int64_t)65536 * MIB, .standard = 64 * MIB,
     .effect = "lightcone_subscription_state_bytes",
     .help = "bytes that subscriptions may take for groups and for join columns without an index; more of them are refused"},
    {FIELD(slow_calls_max), .min = 1, .max = 256, .standard = 2,
     .effect = "lightcone_slow_calls_active",
     .help = "slow reducers that run at once"},
    {FIELD(slow_queue_max), .min = 0, .max = 100000, .standard = 1024,
     .effect = "lightcone_lane_refused_total",
     .help = "slow reducers that wait; more are refused"},
    {FIELD(procedures_max), .min = 1, .max = 1024, .standard = 64,
     .effect = "lightcone_procedures_active",
     .help = "procedures and HTTP handlers under way at once, those that wait for something included"},
    {FIELD(procedure_queue_max), .min = 0, .max = 100000, .standard = 1024,
     .effect = "lightcone_lane_refused_total",
     .help = "procedures and HTTP handlers that wait to begin; more are refused"},
    {FIELD(identity_workers_max), .min = 0, .max = 1024, .standard = 0,
     .effect = "lightcone_worker_jobs_passed_over_total",
     .help = "workers that one identity's slow reducers and procedures may keep busy at once; 0: all but one"},
    {FIELD(memory_max), .min = MIB, .max = INT64_MAX, .zero = true, .standard = 0,
     .effect = "lightcone_pages_evicted_total",
     .help = "bytes of memory for the tables, the rest stays on disk; 0: no limit"},
    {FIELD(heap_max), .min = 16 * MIB, .max = (int64_t)4096 * MIB, .standard = 1024 * MIB,
     .effect = "lightcone_module_instances_made_total",
     .help = "bytes of heap of one instance of the module; a call that needs more ends with an error"},
    {FIELD(transaction_max), .min = MIB, .max = (int64_t)4096 * MIB, .standard = 256 * MIB,
     .effect = "lightcone_calls_fatal_total",
     .help = "bytes that a transaction away from the loop may write and remember as read"},
    {FIELD(module_log_max), .min = 64 << 10, .max = INT64_MAX, .zero = true, .standard = 256 * MIB,
     .effect = "spacetime_module_log_file_size_bytes",
     .help = "bytes of what the module prints that are kept, the newest; 0: no limit"},
    {FIELD(inbox_bytes_max), .min = 64 << 10, .max = 1024 * MIB, .standard = MIB,
     .effect = "lightcone_inboxes_full_total",
     .help = "bytes of one client waiting to be worked on, beyond which its socket is not read"},
    {FIELD(inbox_messages_max), .min = 16, .max = 1000000, .standard = 16384,
     .effect = "lightcone_inboxes_full_total",
     .help = "messages of one client waiting to be worked on, beyond which its socket is not read"},
    {US(turn), .min = 100, .max = 100000, .standard = 4000,
     .effect = "lightcone_turns_total",
     .help = "the longest that answers are held back so that more calls share one sync"},
    {US(share), .min = 50, .max = 100000, .standard = 250,
     .effect = "lightcone_turns_held_back_total",
     .help = "time of the database's thread that each identity gets in a turn while others are connected"},
    {FIELD(identity_rate), .min = 0, .max = 1000000, .standard = 0,
     .effect = "lightcone_calls_delayed_total",
     .help = "calls a second of one identity, over all its connections; more wait; 0: no limit"},
    {FIELD(identity_burst), .min = 1, .max = 1000000, .standard = 100,
     .effect = "lightcone_calls_delayed_total",
     .help = "calls that an identity which was silent may make at once"},
    {FIELD(reducer_rate), .min = 0, .max = 1000000, .standard = 0,
     .effect = "lightcone_calls_delayed_total",
     .help = "calls a second of one reducer, of all clients together; more wait; 0: no limit; reducer_rate.NAME: of that one"},
    {FIELD(reducer_burst), .min = 1, .max = 1000000, .standard = 1000,
     .effect = "lightcone_calls_delayed_total",
     .help = "calls at once of a reducer that was not called for a while; reducer_burst.NAME: of that one"},
    {MILLIS(call_wait_max), .min = 0, .max = 600000, .standard = 10000,
     .effect = "lightcone_calls_over_rate_total",
     .help = "a call that these rates would let wait longer is refused"},
    {FIELD(unread_bytes_max), .min = 64 << 10, .max = (int64_t)4096 * MIB, .standard = 64 * MIB,
     .effect = "lightcone_slow_clients_total",
     .help = "bytes of what one client has not read yet; more, and it is cut off"},
    {FIELD(unread_messages_max), .min = 16, .max = 1000000, .standard = 16384,
     .effect = "lightcone_slow_clients_total",
     .help = "messages that one client has not read yet; more, and it is cut off"},
};
// clang-format on
const uint32_t setting_count = ARRAY_LEN(setting_rules);
static_assert(ARRAY_LEN(setting_rules) <= 64, "Settings.own has a bit each");

static int64_t *field(Settings *s, const SettingRule *rule) {
    return (int64_t *)(void *)((char *)s + rule->offset);
}

static uint64_t bit(const SettingRule *rule) {
    return (uint64_t)1 << (rule - setting_rules);
}

const SettingRule *setting_find(Str key) {
    for (uint32_t i = 0; i < setting_count; i++) {
        if (str_eq(key, str_from(setting_rules[i].key))) return &setting_rules[i];
    }
    return NULL;
}

int64_t setting_get(const Settings *s, const SettingRule *rule) {
    return *(const int64_t *)(const void *)((const char *)s + rule->offset) / rule->scale;
}

bool setting_is_own(const Settings *s, const SettingRule *rule) {
    return s->own & bit(rule);
}

Err setting_set(Settings *s, const SettingRule *rule, int64_t value, Diag *diag) {
    bool ok = (value >= rule->min && value <= rule->max) || (rule->zero && value == 0);
    if (!ok)
        return diag_fail(diag,
                         ERR_INVALID,
                         "`%s` takes a number from %lld to %lld%s, not %lld",
                         rule->key,
                         (long long)rule->min,
                         (long long)rule->max,
                         rule->zero ? ", or 0" : "",
                         (long long)value);
    *field(s, rule) = value * rule->scale;
    s->own |= bit(rule);
    return OK;
}

void setting_unset(Settings *s, const SettingRule *rule, const Settings *defaults) {
    *field(s, rule) = setting_get(defaults, rule) * rule->scale;
    s->own &= ~bit(rule);
}

void settings_standard(Settings *s) {
    *s = (Settings){0};
    for (uint32_t i = 0; i < setting_count; i++)
        *field(s, &setting_rules[i]) = setting_rules[i].standard * setting_rules[i].scale;
}

void settings_write(const Settings *s, Buf *text) {
    for (uint32_t i = 0; i < setting_count; i++) {
        const SettingRule *rule = &setting_rules[i];
        if (setting_is_own(s, rule))
            buf_printf(text, "%s=%lld\n", rule->key, (long long)setting_get(s, rule));
    }
    for (uint32_t i = 0; i < s->reducer_count; i++) {
        const ReducerLimit *limit = &s->reducers[i];
        if (limit->has_rate)
            buf_printf(text, "reducer_rate.%s=%lld\n", limit->name, (long long)limit->rate);
        if (limit->has_burst)
            buf_printf(text, "reducer_burst.%s=%lld\n", limit->name, (long long)limit->burst);
    }
}

static void line_read(Settings *s, Str line) {
    char number[32], *end;
    const char *equals = line.len ? memchr(line.ptr, '=', line.len) : NULL;
    if (!equals) return;
    size_t key_len = (size_t)(equals - line.ptr), len = line.len - key_len - 1;
    const SettingRule *rule;
    Str key = {line.ptr, key_len}, reducer = STR_NONE;
    if (!setting_of_reducer(key, &rule, &reducer)) {
        rule = setting_find(key);
        reducer = STR_NONE;
    }
    if (!rule || len == 0 || len >= sizeof number) return;
    memcpy(number, equals + 1, len);
    number[len] = 0;
    long long value = strtoll(number, &end, 10);
    Diag ignored = {0};
    if (*end) return;
    if (reducer.ptr) {
        (void)!setting_set_reducer(s, rule, reducer, value, &ignored);
    } else {
        (void)!setting_set(s, rule, value, &ignored);
    }
}

void settings_read(Settings *s, Str text) {
    while (text.len) {
        const char *newline = memchr(text.ptr, '\n', text.len);
        size_t len = newline ? (size_t)(newline - text.ptr) : text.len;
        line_read(s, (Str){text.ptr, len});
        len += newline != NULL;
        text = (Str){text.ptr + len, text.len - len};
    }
}
