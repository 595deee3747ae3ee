// cmd_settings.c: `lightcone settings`, and `describe --settings`: what the owner of a database decides.
#include <stdio.h>
#include <stdlib.h>

#include "cli/commands.h"
#include "cli/session.h"
#include "cli/table_print.h"

static json_t *settings_request(const CliTarget *target, const char *method, const char *body) {
    HttpCall call = {
        .method = method,
        .url = target_url(target, "/settings"),
        .token = target->token,
        .timeout_s = 60,
    };
    if (body) {
        call.content_type = "application/json";
        call.body = str_bytes(str_from(body));
    }
    HttpReply reply = http_send(&call);
    if (reply.status == 400)
        cli_die_cause(http_status_line(&reply),
                      "%s\n`lightcone settings %s` shows the settings there are.",
                      reply.body,
                      target->name);
    http_expect_json(&reply);
    return json_from(reply.body, NULL);
}

static const char *number_at(json_t *object, const char *key) {
    json_t *value = json_object_get(object, key);
    return json_is_integer(value) ? cli_format("%lld", (long long)json_integer_value(value)) : "";
}

static void settings_table(json_t *list) {
    enum { COLUMNS = 5 };
    size_t count = json_array_size(list), i;
    json_t *one;
    const char **cells = arena_array(cli_arena(), const char *, COLUMNS *(count + 1));
    if (!cells) cli_die("out of memory");
    static const char *const head[COLUMNS] = {"setting", "value", "default", "effect", "count"};
    memcpy(cells, head, sizeof head);
    json_array_foreach(list, i, one) {
        const char **row = &cells[COLUMNS * (i + 1)], *effect = json_text_at(one, "effect");
        bool set = json_is_true(json_object_get(one, "set"));
        const char *key = json_text_at(one, "key"), *waits = json_text_at(one, "waits");
        row[0] = key ? key : "?";
        row[1] = cli_format("%s%s", number_at(one, "value"), set ? " *" : "");
        row[2] = number_at(one, "default");
        row[3] = effect ? effect : "";
        row[4] = number_at(one, "count");
        if (waits) row[1] = cli_format("%s (%s)", row[1], waits);
    }
    Buf out = {0};
    table_print(&out, cells, COLUMNS, count);
    fputs(cli_buf_text(&out), stdout);
    puts("* set by the owner. docs/server.md tells what each means.");
}

// What is bounded, as it is now.
static void now_table(json_t *list) {
    enum { COLUMNS = 3 };
    size_t count = json_array_size(list), i;
    json_t *one;
    const char **cells = arena_array(cli_arena(), const char *, COLUMNS *(count + 1));
    if (!cells) cli_die("out of memory");
    static const char *const head[COLUMNS] = {"now", "value", "meaning"};
    memcpy(cells, head, sizeof head);
    json_array_foreach(list, i, one) {
        const char **row = &cells[COLUMNS * (i + 1)], *metric = json_text_at(one, "metric"),
                   *help = json_text_at(one, "help");
        row[0] = metric ? metric : "?";
        row[1] = number_at(one, "value");
        row[2] = help ? help : "";
    }
    Buf out = {0};
    table_print(&out, cells, COLUMNS, count);
    fputs(cli_buf_text(&out), stdout);
}

static void answer_print(json_t *answer, bool json, bool now) {
    json_t *list = json_at(answer, "settings");
    if (json) {
        puts(json_dumps(list, JSON_INDENT(2)));
        return;
    }
    settings_table(list);
    if (now) now_table(json_at(answer, "now"));
}

void settings_show(const CliTarget *target, bool json) {
    answer_print(settings_request(target, "GET", NULL), json, true);
}

// KEY=NUMBER or KEY=default.
static void change_add(const Args *args, json_t *changes, const char *word) {
    const char *equals = strchr(word, '=');
    char *end;
    if (!equals || equals == word) args_fail(args->command, "`%s` is not KEY=VALUE", word);
    const char *key = cli_format("%.*s", (int)(equals - word), word);
    if (strcmp(equals + 1, "default") == 0) {
        json_object_set_new(changes, key, json_null());
        return;
    }
    long long value = strtoll(equals + 1, &end, 10);
    if (!equals[1] || *end)
        args_fail(args->command, "`%s`: the value is a whole number, or `default`", word);
    json_object_set_new(changes, key, json_integer(value));
}

static int settings_run(const Args *args) {
    Args words = *args;
    int database = args->word_count > 0 && !strchr(args->words[0], '=');
    words.word_count = database;
    DbArg db = session_database(&words, DB_ARG_ONE, NULL);
    json_t *changes = json_object();
    for (int i = database; i < args->word_count; i++)
        change_add(args, changes, args->words[i]);
    bool json = args_has(args, "json");
    if (json_object_size(changes) == 0) {
        settings_show(&db.target, json);
        return 0;
    }
    answer_print(settings_request(&db.target, "PUT", json_dumps(changes, JSON_COMPACT)),
                 json,
                 false);
    return 0;
}

static const ArgSpec settings_specs[] = {
    {"json", NULL, 0, ARG_FLAG, NULL, "Print JSON, with the limits and the meaning of each"},
    SPEC_ANON,
    SPEC_SERVER,
    SPEC_NO_CONFIG,
    ARG_SPECS_END,
};
const CliCommand command_settings = {
    .name = "settings",
    .usage = "[OPTIONS] [DATABASE] [KEY=VALUE]...",
    .summary = "Show or change what the server allows a database and its clients",
    .about = "A value is a whole number, or `default` for the server's. Changes hold at once.\n\n"
             "Examples:\n"
             "  lightcone settings my-db\n"
             "  lightcone settings my-db identity_rate=50 identity_burst=200\n"
             "  lightcone settings my-db slice_us=default\n",
    .specs = settings_specs,
    .run = settings_run,
};
