// cmd_call.c: `lightcone call` and `lightcone describe`. Spec: cli-and-codegen §6, §6.1.
#include <stdio.h>

#include "cli/commands.h"
#include "cli/schema_json.h"
#include "cli/similar.h"

enum { NAMES_SHOWN = 10 };

static size_t names_collect(const DbSchema *schema, bool procedures, const char **out) {
    size_t count = 0;
    for (size_t i = 0; i < schema->function_count; i++) {
        const SchemaFunction *function = &schema->functions[i];
        if (function->is_procedure == procedures && !function->is_lifecycle)
            out[count++] = function->name;
    }
    return count;
}

static void names_list(Buf *out,
                       const char *kind,
                       const char *word,
                       const char **names,
                       size_t count) {
    if (count == 0) {
        buf_printf(out, "\nThe database has no %ss.", kind);
        return;
    }
    similar_sort(word, names, count);
    buf_printf(out, "\nHere are some existing %ss:", kind);
    for (size_t i = 0; i < MIN(count, NAMES_SHOWN); i++)
        buf_printf(out, "\n- %s", names[i]);
    size_t more = count > NAMES_SHOWN ? count - NAMES_SHOWN : 0;
    if (more) buf_printf(out, "\n... (%zu %s%s not shown)", more, kind, more == 1 ? "" : "s");
}

// The project file named the database, so what was meant for one has been taken for the function.
static void hint_database(Buf *out, const DbArg *db) {
    const char *file = strrchr(db->config, '/');
    bool more = db->rest_count > 1;
    buf_printf(
        out,
        "\n\n%s names the database `%s`, so `%s` was taken for the function. For a function of "
        "another database: lightcone call --no-config %s %s …",
        file ? file + 1 : db->config,
        db->target.name,
        db->rest[0],
        more ? db->rest[0] : "DATABASE",
        more ? db->rest[1] : "FUNCTION");
}

static NORETURN void no_such_function(const DbSchema *schema, const DbArg *db) {
    const CliTarget *target = &db->target;
    const char *name = db->rest[0];
    const char **names = arena_array(cli_arena(), const char *, schema->function_count * 2 + 1);
    if (!names) cli_die("out of memory");
    size_t reducers = names_collect(schema, false, names);
    const char **procedure_names = names + reducers;
    size_t procedures = names_collect(schema, true, procedure_names);
    Buf out = {0};
    buf_printf(&out,
               "No such reducer OR procedure `%s` for database `%s` resolving to identity `%s`.\n",
               name,
               target->name,
               target->identity);
    const char *reducer = similar_find(name, names, reducers);
    const char *procedure = similar_find(name, procedure_names, procedures);
    if (reducer) {
        buf_printf(&out, "\nA reducer with a similar name exists: `%s`", reducer);
    } else if (procedure) {
        buf_printf(&out, "\nA procedure with a similar name exists: `%s`", procedure);
    } else {
        names_list(&out, "reducer", name, names, reducers);
        buf_put_u8(&out, '\n');
        names_list(&out, "procedure", name, procedure_names, procedures);
    }
    if (db->config && !reducer && !procedure) hint_database(&out, db);
    cli_die("%s", cli_buf_text(&out));
}

// Text as a JSON string, unless it is one already: 'Hello' and '"Hello"' mean the same.
static const char *text_json(const char *word) {
    json_t *value = word[0] == '"' ? json_loads(word, JSON_DECODE_ANY, NULL) : json_string(word);
    if (!value) value = json_string(word);
    if (!value) cli_die("an argument is not valid UTF-8");
    return json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
}

// One word of the command line as the JSON of its parameter.
static const char *argument_json(const DbSchema *schema, json_t *type, const char *word) {
    if (strcmp(schema_kind(schema, type), "String") == 0) return text_json(word);
    if (!schema_is_identity(schema, type)) return word;
    size_t len = strlen(word);
    bool quoted = len >= 2 && word[0] == '"' && word[len - 1] == '"';
    const char *bare = quoted ? cli_copy((Str){word + 1, len - 2}) : word;
    if (strncmp(bare, "0x", 2) == 0) return cli_format("[\"%s\"]", bare);
    if (strncmp(bare, "c200", 4) == 0) return cli_format("[\"0x%s\"]", bare);
    return word;
}

static const char *arguments_json(const SchemaFunction *function,
                                  const char *const *words,
                                  int count) {
    const char *all = "";
    int params = (int)json_array_size(function->params);
    for (int i = 0; i < count; i++) {
        json_t *param = json_array_get(function->params, (size_t)i);
        // One word too many is still sent: the server's answer says how many were expected.
        const char *word = i >= params ? text_json(words[i])
                                       : argument_json(function->module,
                                                       json_object_get(param, "algebraic_type"),
                                                       words[i]);
        all = cli_format("%s%s%s", all, i ? ", " : "", word);
    }
    return cli_format("[%s]", all);
}

static NORETURN void invalid_arguments(const SchemaFunction *function,
                                       const CliTarget *target,
                                       const HttpReply *reply) {
    const char *kind = function->is_procedure ? "procedure" : "reducer";
    const char *numbers = "";
    const char *got = strstr(reply->body, "invalid length ");
    const char *want = got ? strstr(got, " with ") : NULL;
    int provided, expected;
    if (want && sscanf(got, "invalid length %d", &provided) == 1 &&
        sscanf(want, " with %d elements", &expected) == 1)
        numbers = cli_format("%d parameter%s expected, but %d %s provided.\n\n",
                             expected,
                             expected == 1 ? " was" : "s were",
                             provided,
                             provided == 1 ? "was" : "were");
    const char *detail = *numbers ? "" : cli_format("%s\n\n", reply->body);
    cli_die("Invalid arguments provided for %s `%s` for database `%s` resolving to identity "
            "`%s`.\n\n%s%sThe %s has the following signature:\n\t%s",
            kind,
            function->name,
            target->name,
            target->identity,
            numbers,
            detail,
            kind,
            schema_signature(function));
}

static int call_run(const Args *args) {
    DbArg db = session_database(args, DB_ARG_REST, "function_name");
    const DbSchema *schema = schema_fetch(&db.target);
    const SchemaFunction *function = schema_function(schema, db.rest[0], false);
    if (!function) function = schema_function(schema, db.rest[0], true);
    if (!function) no_such_function(schema, &db);
    const char *body = arguments_json(function, db.rest + 1, db.rest_count - 1);
    HttpReply reply = http_send(&(HttpCall){
        .method = "POST",
        .url = target_url(&db.target, cli_format("/call/%s", http_encode(function->name))),
        .token = db.target.token,
        .content_type = "application/json",
        .body = str_bytes(str_from(body)),
    });
    if (!http_ok(&reply)) {
        if (strncmp(reply.body, "invalid arguments", 17) == 0)
            invalid_arguments(function, &db.target, &reply);
        cli_die_cause(http_status_line(&reply), "Response text: %s", reply.body);
    }
    if (function->is_procedure) puts(reply.body);
    return 0;
}

static json_t *table_find(const DbSchema *schema, const char *name) {
    size_t i;
    json_t *table;
    json_array_foreach(schema_section(schema, schema->is_v10 ? "Tables" : "tables"), i, table) {
        const char *source = json_text_at(table, schema->is_v10 ? "source_name" : "name");
        if (!source) continue;
        if (strcmp(source, name) == 0) return table;
        if (strcmp(schema_canonical(schema, "Table", source), name) == 0) return table;
    }
    json_t *submodule;
    json_array_foreach(schema->is_v10 ? schema_section(schema, "Submodules") : NULL, i, submodule) {
        const char *space = json_text_at(submodule, "namespace");
        size_t len = space ? strlen(space) : 0;
        if (!space || strncmp(name, space, len) != 0 || name[len] != '.') continue;
        table = table_find(schema_submodule(schema, submodule), name + len + 1);
        if (table) return table;
    }
    return NULL;
}

static int describe_run(const Args *args) {
    DbArg db = session_database(args, DB_ARG_DESCRIBE, NULL);
    if (args_has(args, "settings")) {
        settings_show(&db.target, args_has(args, "json"));
        return 0;
    }
    if (!args_has(args, "json"))
        args_fail(args->command, "the following required arguments were not provided:\n  --json");
    if (db.rest_count != 0 && db.rest_count != 2)
        args_fail(args->command, "say what to describe: `reducer NAME` or `table NAME`");
    const DbSchema *schema = schema_fetch(&db.target);
    json_t *shown = schema->definition;
    if (db.rest_count == 2 && strcmp(db.rest[0], "reducer") == 0) {
        const SchemaFunction *function = schema_function(schema, db.rest[1], false);
        if (!function)
            cli_die("no such reducer: %s. `lightcone describe --json %s` shows those there are.",
                    db.rest[1],
                    db.target.name);
        shown = function->declaration;
    } else if (db.rest_count == 2 && strcmp(db.rest[0], "table") == 0) {
        shown = table_find(schema, db.rest[1]);
        if (!shown)
            cli_die("no such table: %s. `lightcone describe --json %s` shows those there are.",
                    db.rest[1],
                    db.target.name);
    } else if (db.rest_count == 2) {
        args_fail(args->command, "invalid value '%s': say reducer or table", db.rest[0]);
    }
    puts(json_dumps(shown, JSON_INDENT(2) | JSON_ENCODE_ANY));
    return 0;
}

static const ArgSpec call_specs[] = {
    SPEC_ANON,
    SPEC_SERVER,
    SPEC_YES,
    SPEC_NO_CONFIG,
    ARG_SPECS_END,
};
static const ArgSpec describe_specs[] = {
    {"json", NULL, 0, ARG_FLAG, NULL, "Print JSON (the only form there is)"},
    {"settings", NULL, 0, ARG_FLAG, NULL, "Print its settings and what they did instead"},
    SPEC_ANON,
    SPEC_SERVER,
    SPEC_YES,
    SPEC_NO_CONFIG,
    ARG_SPECS_END,
};
const CliCommand command_call = {
    .name = "call",
    .usage = "[OPTIONS] [DATABASE] <FUNCTION> [ARGUMENTS]...",
    .summary = "Call a reducer or a procedure",
    .about =
        "Arguments are JSON; a string needs no quotes. Put `--` before one that begins with a dash.\n"
        "Where lightcone.json names the database, it is left out; --no-config is for another one.\n\n"
        "Examples:\n"
        "  lightcone call my-db send_message 'Hello'\n"
        "  lightcone call my-db move_to '{\"x\": 1, \"y\": 2}' true\n",
    .specs = call_specs,
    .run = call_run,
    .unstable = true,
};
const CliCommand command_describe = {
    .name = "describe",
    .usage = "[OPTIONS] --json [DATABASE] [reducer|table NAME]",
    .summary = "Print what a database declares",
    .about = "Examples:\n"
             "  lightcone describe --json my-db\n"
             "  lightcone describe --json my-db table user\n"
             "  lightcone describe --settings my-db\n",
    .specs = describe_specs,
    .run = describe_run,
    .unstable = true,
};
