// settings.h: what the owner of a database may decide about it.
//
// PICTURE
//   options of `lightcone start` ─> defaults of the server ─┐
//   PUT /v1/database/NAME/settings ─> control database ─────┴─> Settings of a Database, applied at once
//
// ALWAYS TRUE
//   (1) A value is in the bounds of its rule, wherever it came from.
//   (2) What the owner did not set follows the server's defaults, also those of its next start.
//   (3) Adding a setting is: a field, a line of the table in settings.c, a line of docs/server.md.
//
// START AT  the table in settings.c; settings_test.c.
#pragma once
#include "base/bytes.h"
#include "base/err.h"

// What the owner set for one reducer: `reducer_rate.NAME`, `reducer_burst.NAME`.
#define REDUCER_LIMITS_MAX 32
#define REDUCER_NAME_MAX   64  // with its terminating zero
typedef struct ReducerLimit {
    char name[REDUCER_NAME_MAX];
    int64_t rate, burst;
    bool has_rate, has_burst;
} ReducerLimit;

typedef struct Settings {
    // Lanes. Microseconds.
    int64_t slice, crowded_slice, deadline, exclusive, procedure_deadline, procedure_exclusive;
    int64_t view_failure_aborts;  // 0, 1
    int64_t view_slice;
    int64_t strict_index, subscription_bag;  // 0, 1
    int64_t subscription_memory_max;         // bytes
    int64_t slow_calls_max, slow_queue_max, procedures_max, procedure_queue_max;
    int64_t identity_workers_max;  // 0: all but one
    int64_t result_rows_max;       // 0: no limit
    int64_t compression;           // 0: for nobody, 1: clients of our own protocol, 2: all
    // Bytes; 0: no limit, or as it says in settings.c.
    int64_t result_bytes_max;
    int64_t memory_max, heap_max, transaction_max, module_log_max;
    int64_t resume_bytes_max;  // of log; 0: nobody resumes
    int64_t inbox_bytes_max, inbox_messages_max;
    // Turns. Microseconds.
    int64_t turn, share;
    // Buckets: calls a second and calls at once; rate 0: no limit.
    int64_t identity_rate, identity_burst, reducer_rate, reducer_burst;
    int64_t call_wait_max;  // microseconds
    // What a client has not read yet.
    int64_t unread_bytes_max, unread_messages_max;

    uint64_t own;  // a bit a setting: set by the owner
    ReducerLimit reducers[REDUCER_LIMITS_MAX];
    uint32_t reducer_count;
} Settings;

typedef struct SettingRule {
    const char *key;
    size_t offset;       // of an int64_t in Settings
    int64_t scale;       // of the value as it is shown: 1000 for milliseconds
    int64_t min, max;    // as shown
    bool zero;           // 0 is allowed too, below `min`
    int64_t standard;    // as shown, when the server says nothing
    const char *effect;  // the metric that counts what it did; NULL: none
    const char *help;
} SettingRule;

extern const SettingRule setting_rules[];
extern const uint32_t setting_count;

// NULL: there is none of this name.
const SettingRule *setting_find(Str key);
int64_t setting_get(const Settings *settings, const SettingRule *rule);  // as shown
bool setting_is_own(const Settings *settings, const SettingRule *rule);
// ERR_INVALID: it is out of bounds; diag names them.
MUST_USE Err setting_set(Settings *settings, const SettingRule *rule, int64_t value, Diag *diag);
void setting_unset(Settings *settings, const SettingRule *rule, const Settings *defaults);

// Settings of one reducer (settings_reducer.c). False: the key is none of those.
bool setting_of_reducer(Str key, const SettingRule **rule, Str *reducer);
// ERR_INVALID: out of bounds; ERR_LIMIT: too many reducers have their own.
MUST_USE Err setting_set_reducer(Settings *settings,
                                 const SettingRule *rule,
                                 Str reducer,
                                 int64_t value,
                                 Diag *diag);
void setting_unset_reducer(Settings *settings, const SettingRule *rule, Str reducer);
// What holds for a reducer, its own or that of all.
void settings_reducer(const Settings *settings, Str reducer, int64_t *rate, int64_t *burst);

void settings_standard(Settings *settings);
// As they are stored: `key=value` lines of those that the owner set. A key that this version does not
// know, or a value that it does not allow, is skipped: an older server opens a newer one's data.
void settings_write(const Settings *settings, Buf *text);
void settings_read(Settings *settings, Str text);
