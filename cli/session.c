#include "cli/session.h"

#include <stdio.h>

#include "base/ids.h"
#include "cli/config.h"

static int base64url_digit(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '-' || c == '+') return 62;
    if (c == '_' || c == '/') return 63;
    return -1;
}

// The middle part of a token, decoded. NULL when it is not one.
static const char *token_payload(const char *token) {
    const char *first = strchr(token, '.');
    const char *second = first ? strchr(first + 1, '.') : NULL;
    if (!second) return NULL;
    Buf out = {0};
    uint32_t bits = 0;
    int count = 0;
    for (const char *at = first + 1; at < second && *at != '='; at++) {
        int digit = base64url_digit(*at);
        if (digit < 0) {
            buf_deinit(&out);
            return NULL;
        }
        bits = bits << 6 | (uint32_t)digit;
        count += 6;
        if (count < 8) continue;
        count -= 8;
        buf_put_u8(&out, (uint8_t)(bits >> count));
    }
    return cli_buf_text(&out);
}

const char *session_token_identity(const char *token) {
    const char *payload = token_payload(token);
    json_t *claims = payload ? json_from(payload, NULL) : NULL;
    const char *issuer = json_text_at(claims, "iss");
    const char *subject = json_text_at(claims, "sub");
    if (!issuer || !subject) return NULL;
    Identity identity = identity_derive(str_from(issuer), str_from(subject));
    char hex[IDENTITY_HEX_LEN + 1];
    identity_hex(&identity, hex);
    return cli_copy(str_from(hex));
}

const char *session_login(const char *base_url, FILE *say) {
    HttpReply reply = http_send(&(HttpCall){.method = "POST",
                                            .url = cli_format("%s/v1/identity", base_url),
                                            .timeout_s = 30});
    http_expect_json(&reply);
    json_t *body = json_from(reply.body, NULL);
    const char *token = json_text_at(body, "token");
    const char *identity = json_text_at(body, "identity");
    if (!token || !identity) cli_die("The server's answer holds no token: %s", reply.body);
    config_set("spacetimedb_token", token);
    config_save();
    fprintf(say,
            "We have logged in directly to your target server.\n"
            "WARNING: This login will NOT work for any other servers.\n"
            "Logged in with identity %s\n",
            identity);
    return identity;
}

const char *session_token(const char *base_url) {
    const char *token = config_get("spacetimedb_token");
    if (token) return token;
    session_login(base_url, stderr);
    return config_get("spacetimedb_token");
}

static bool is_identity(const char *name) {
    Identity identity;
    return strlen(name) == IDENTITY_HEX_LEN && identity_parse(str_from(name), &identity);
}

// `hint` goes on behind what to do when there is no such database.
static CliTarget target_find(const char *name,
                             const char *server,
                             bool anonymous,
                             const char *hint) {
    CliTarget target = {.base_url = config_server_url(server), .name = name};
    target.token = anonymous ? NULL : session_token(target.base_url);
    if (is_identity(name)) {
        target.identity = name;
        return target;
    }
    HttpReply reply = http_send(&(HttpCall){
        .method = "GET",
        .url = cli_format("%s/v1/database/%s/identity", target.base_url, http_encode(name)),
        .timeout_s = 30,
    });
    if (reply.status == 404)
        cli_die("failed to find database `%s`.\n"
                "`lightcone list` shows yours, `lightcone publish %s` makes one of this name.%s",
                name,
                name,
                hint);
    http_expect_ok(&reply);
    target.identity = cli_copy((Str){reply.body, strcspn(reply.body, " \r\n")});
    if (!is_identity(target.identity))
        cli_die("The server's answer is not an identity: %s", reply.body);
    return target;
}

CliTarget session_target(const char *name, const char *server, bool anonymous) {
    return target_find(name, server, anonymous, "");
}

const char *target_url(const CliTarget *target, const char *after) {
    return cli_format("%s/v1/database/%s%s", target->base_url, target->identity, after);
}

static NORETURN void words_missing(const Args *args, const char *what) {
    args_fail(args->command, "the following required arguments were not provided:\n  <%s>", what);
}

static const Project *project_of(const Args *args) {
    return project_load(args_has(args, "no-config"), NULL);
}

static json_t *target_named(const Project *project, const char *name) {
    for (int i = 0; name && i < project->target_count; i++)
        if (strcmp(project_text(project->targets[i], "database"), name) == 0)
            return project->targets[i];
    return NULL;
}

static NORETURN void not_in_project(const Project *project, const char *name) {
    if (project->target_count == 1)
        cli_die("Database '%s' is not in the config file. If you want to run against a database "
                "outside of the current project, pass --no-config.",
                name);
    cli_die("Multiple databases found in config: %s. Please specify which database to use, or pass "
            "--no-config to use '%s' directly.",
            project_databases(project),
            name);
}

// `describe` with one target: do the words name something in it rather than a database?
static bool words_imply_target(const Args *args, DbArgForm form) {
    if (form != DB_ARG_DESCRIBE) return false;
    return args->word_count == 0 ||
           (args->word_count == 2 &&
            (strcmp(args->words[0], "reducer") == 0 || strcmp(args->words[0], "table") == 0));
}

// Decide the database (NULL: the only target of the project) and how many words it took.
static int database_words(const Args *args,
                          DbArgForm form,
                          const Project *project,
                          const char *missing) {
    const char *first = args->word_count > 0 ? args->words[0] : NULL;
    bool rest = form == DB_ARG_REST || form == DB_ARG_REST_ANY;
    int count = project->target_count;
    if (count == 0) {
        if (!first) words_missing(args, "database");
        if (rest && args->word_count < 2) words_missing(args, missing);
        return 1;
    }
    if (count == 1) {
        if (target_named(project, first)) return 1;
        if (rest && !first) words_missing(args, missing);
        if (rest || words_imply_target(args, form) || !first) return 0;
        if (form == DB_ARG_DESCRIBE) not_in_project(project, first);
        return 1;
    }
    if (!first) words_missing(args, "database");
    if (target_named(project, first)) return 1;
    bool outside_ok = form == DB_ARG_ONE || (form == DB_ARG_REST_ANY && args->word_count >= 2);
    if (!outside_ok) not_in_project(project, first);
    return 1;
}

// Outside of a project the first word is the database, which surprises who means the function.
static const char *hint_first_word(const Project *project, const char *word) {
    if (project->target_count > 0) return "";
    return cli_format("\nNo lightcone.json here names a database, so `%s` was taken for one.",
                      word);
}

DbArg session_database(const Args *args, DbArgForm form, const char *missing) {
    const Project *project = project_of(args);
    int taken = database_words(args, form, project, missing);
    const char *name = taken ? args->words[0] : project_text(project->targets[0], "database");
    json_t *target = target_named(project, name);
    DbArg result = {.rest = args->words + taken, .rest_count = args->word_count - taken};
    bool rest = form == DB_ARG_REST || form == DB_ARG_REST_ANY;
    if (rest && result.rest_count == 0) words_missing(args, missing);
    if (form == DB_ARG_ONE && result.rest_count > 0)
        args_fail(args->command, "unexpected argument '%s' found", result.rest[0]);
    const char *server = args_value(args, "server");
    if (!server && target) server = project_text(target, "server");
    if (!taken) result.config = project->path;
    const char *hint = rest && taken ? hint_first_word(project, name) : "";
    result.target = target_find(name, server, args_has(args, "anonymous"), hint);
    return result;
}
