// What the owner of a database decides about it: GET and PUT /v1/database/NAME/settings.
//
//   GET  {"settings": [{"key", "value", "set", "default", "min", "max", "zero", "effect", "count",
//                       "help", "waits"?}, …],
//         "now": [{"metric", "value", "help"}, …]}      what they bound, as it is at this moment
//   PUT  {"slice_us": 1000, "deadline_ms": null}     null: the server's default again
//
// A PUT is all or nothing and answers what a GET would.
#include <jansson.h>

#include "node/metrics.h"
#include "node/routes.h"

static json_t *setting_json(const Database *db, const SettingRule *rule) {
    const Settings *set = &db->settings;
    uint64_t count;
    json_t *one = json_pack("{s:s, s:I, s:b, s:I, s:I, s:I, s:b, s:s}",
                            "key",
                            rule->key,
                            "value",
                            (json_int_t)setting_get(set, rule),
                            "set",
                            (int)setting_is_own(set, rule),
                            "default",
                            (json_int_t)setting_get(&db->loop->node->defaults, rule),
                            "min",
                            (json_int_t)rule->min,
                            "max",
                            (json_int_t)rule->max,
                            "zero",
                            (int)rule->zero,
                            "help",
                            rule->help);
    if (one && metrics_value(db, rule->effect, &count)) {
        json_object_set_new(one, "effect", json_string(rule->effect));
        json_object_set_new(one, "count", json_integer((json_int_t)count));
    }
    if (one && db->memory_max_waits && str_eq(str_from(rule->key), STR("memory_max")))
        json_object_set_new(one, "waits", json_string("holds from the server's next start on"));
    return one;
}

// One of a reducer, as if it were a setting by itself; its default is what holds for all.
static void reducer_json(const Database *db,
                         const char *key,
                         const char *name,
                         int64_t value,
                         json_t *list) {
    const SettingRule *rule = setting_find(str_from(key));
    json_t *one = setting_json(db, rule), *own = json_sprintf("%s.%s", key, name);
    if (one && own) {
        json_object_set_new(one, "default", json_integer(setting_get(&db->settings, rule)));
        json_object_set_new(one, "value", json_integer(value));
        json_object_set_new(one, "set", json_true());
        json_object_set(one, "key", own);
        json_array_append(list, one);
    }
    json_decref(own);
    json_decref(one);
}

static json_t *now_json(const Database *db) {
    static const char *const names[] = {
        "lightcone_slow_calls_active",
        "lightcone_slow_calls_queued",
        "lightcone_procedures_active",
        "lightcone_procedures_queued",
        "lightcone_views_active",
        "lightcone_reads_active",
        "lightcone_calls_waiting",
        "lightcone_inbox_messages",
        "lightcone_inbox_bytes",
        "lightcone_snapshots_live",
        "lightcone_snapshot_oldest_age_us",
        "lightcone_snapshot_bytes",
        "lightcone_store_bytes",
        "lightcone_page_file_bytes",
    };
    json_t *list = json_array();
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        uint64_t value;
        if (!metrics_value(db, names[i], &value)) continue;
        json_array_append_new(list,
                              json_pack("{s:s, s:I, s:s}",
                                        "metric",
                                        names[i],
                                        "value",
                                        (json_int_t)value,
                                        "help",
                                        metrics_help(names[i])));
    }
    return list;
}

static void settings_answer(Request *r) {
    json_t *list = json_array();
    const Settings *set = &r->db->settings;
    for (uint32_t i = 0; i < setting_count; i++)
        json_array_append_new(list, setting_json(r->db, &setting_rules[i]));
    for (uint32_t i = 0; i < set->reducer_count; i++) {
        const ReducerLimit *limit = &set->reducers[i];
        if (limit->has_rate) reducer_json(r->db, "reducer_rate", limit->name, limit->rate, list);
        if (limit->has_burst) reducer_json(r->db, "reducer_burst", limit->name, limit->burst, list);
    }
    json_t *all = json_pack("{s:o, s:o}", "settings", list, "now", now_json(r->db));
    char *text = all ? json_dumps(all, JSON_COMPACT) : NULL;
    Buf body = {0};
    if (text) {
        buf_put_str(&body, str_from(text));
        request_json(r, 200, &body);
    } else {
        request_err(r, ERR_NOMEM, NULL);
    }
    buf_deinit(&body);
    free(text);
    json_decref(all);
}

void route_settings_get(Request *r) {
    if (request_owner_only(r, "view settings")) settings_answer(r);
}

// False: it was answered.
static bool setting_change(Request *r, Settings *set, const char *key, const json_t *value) {
    Diag diag = {0};
    Str reducer = STR_NONE;
    const SettingRule *rule;
    if (!setting_of_reducer(str_from(key), &rule, &reducer)) {
        rule = setting_find(str_from(key));
        reducer = STR_NONE;
    }
    if (rule && reducer.ptr && !json_is_null(value) && !moduledef_reducer(r->db->def, reducer)) {
        request_text(r, 400, "there is no reducer `" STR_FMT "`", STR_ARG(reducer));
        return false;
    }
    if (!rule) {
        request_text(r, 400, "there is no setting `%s`", key);
        return false;
    }
    if (json_is_null(value)) {
        if (reducer.ptr) {
            setting_unset_reducer(set, rule, reducer);
        } else {
            setting_unset(set, rule, &r->node->defaults);
        }
        return true;
    }
    if (!json_is_integer(value)) {
        request_text(r, 400, "`%s` takes a whole number, or null for the server's default", key);
        return false;
    }
    Err err = reducer.ptr
                  ? setting_set_reducer(set, rule, reducer, json_integer_value(value), &diag)
                  : setting_set(set, rule, json_integer_value(value), &diag);
    if (err == OK) return true;
    request_text(r, 400, "%s", diag.text);
    return false;
}

static bool settings_read_json(Request *r, Settings *set) {
    json_error_t error;
    const Bytes body = r->http->body;
    json_t *wanted = json_loadb((const char *)body.ptr, body.len, JSON_REJECT_DUPLICATES, &error);
    bool ok = json_is_object(wanted);
    const char *key;
    json_t *value;
    if (!ok) request_text(r, 400, "expected a JSON object of settings: %s", error.text);
    json_object_foreach(wanted, key, value) {
        if (ok) ok = setting_change(r, set, key, value);
    }
    json_decref(wanted);
    return ok;
}

void route_settings_put(Request *r) {
    if (!request_owner_only(r, "change settings")) return;
    Settings set = r->db->settings;
    if (!settings_read_json(r, &set)) return;
    Buf text = {0};
    settings_write(&set, &text);
    Err err =
        buf_ok(&text)
            ? control_settings_put(r->node->control, &r->database, bytes_str(buf_bytes(&text)))
            : ERR_NOMEM;
    buf_deinit(&text);
    if (err != OK) {
        request_err(r, err, NULL);
        return;
    }
    database_settings_apply(r->db, &set);
    settings_answer(r);
}
